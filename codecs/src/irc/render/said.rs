//! What was said, as PRIVMSG and NOTICE: on one line, on several, or as a batch of lines (draft/multiline).

use lavina_core::event::{Event, Kind, Message};
use lavina_core::text::Rich;
use std::ops::Range;

use super::super::cap::Cap;
use super::super::format::{self, Style};
use super::super::write::{LineWriter, escape};
use super::super::{identity, native};
use super::{LINES_MAX, MULTILINE, Sink, View, tagmsg};

/// Writes the lines of a message.
pub(super) fn said(view: &View<'_>, event: &Event, message: &Message, mark: &str, sink: &mut impl Sink) {
    let own = native::unpack(message.native.as_ref());
    if message.gone || (message.kind == Kind::Payload && own.tags.is_empty() && own.text.is_empty()) {
        return;
    }
    if message.kind == Kind::Payload && own.text.is_empty() {
        return tagmsg(view, Some(event.at), Some(event.id()), &event.by, own.tags, sink);
    }
    let plain = message.kind != Kind::Emote && mark.is_empty();
    // What is simple and short, as nearly everything is, goes straight through.
    let text: &str = if own.text.is_empty() { &message.body.text } else { own.text };
    let whole = !own.text.is_empty() || (message.body.spans.is_empty() && message.kind != Kind::Emote);
    if whole && mark.is_empty() && is_simple(text, own.text.is_empty()) {
        let room = begin(view, event, message, own.tags, true, sink);
        if text.len() <= room {
            sink.buf().extend_from_slice(b" :");
            LineWriter::tail(sink.buf(), text);
            sink.end();
            return;
        }
        undo(sink);
        return lines(view, event, message, (text, own.tags), room, sink);
    }
    let many = text.contains(['\n', '\r']);
    // Its own lines, or those of the neutral text.
    let text = match own.text.is_empty() || !many {
        true => format!("{mark}{}", coded(&message.body)),
        false => format!("{mark}{}", own.text),
    };
    if many && plain && view.caps.has(Cap::Multiline) {
        return batch(view, event, message, (&text, own.tags), sink);
    }
    let room = begin(view, event, message, own.tags, true, sink);
    undo(sink);
    let tags = if many { own.tags } else { "" };
    lines(view, event, message, (&text.replace('\r', "\n"), tags), room, sink);
}

/// Writes a text as as many lines as it needs. `tags` are those of the other lines; the first has all.
fn lines(
    view: &View<'_>,
    event: &Event,
    message: &Message,
    (text, tags): (&str, &str),
    room: usize,
    sink: &mut impl Sink,
) {
    const ACTION: usize = "\u{1}ACTION \u{1}".len();
    let emote = message.kind == Kind::Emote;
    let mut lines = format::wrap(text, room.saturating_sub(if emote { ACTION } else { 0 }));
    if lines.len() > LINES_MAX {
        let left = lines.len() - (LINES_MAX - 1);
        lines.truncate(LINES_MAX - 1);
        lines.push(format!("… ({left} more lines)"));
    }
    for (at, line) in lines.iter().enumerate() {
        let first = native::unpack(message.native.as_ref()).tags;
        begin(view, event, message, if at == 0 { first } else { tags }, at == 0, sink);
        sink.buf().extend_from_slice(if emote { b" :\x01ACTION " } else { b" :" });
        sink.buf().extend_from_slice(line.as_bytes());
        sink.buf().extend_from_slice(if emote { b"\x01\r\n" } else { b"\r\n" });
        sink.end();
    }
}

/// A batch of lines, for those who take it so.
fn batch(
    view: &View<'_>,
    event: &Event,
    message: &Message,
    (text, tags): (&str, &str),
    sink: &mut impl Sink,
) {
    // Letters, digits and hyphens only (IRCv3 batch).
    let name = format!("m{:x}-{:x}", event.room.0, event.pos.0);
    let mut w = start(view, event, message, tags, true, sink);
    w.command("BATCH").param(&format!("+{name}")).param(MULTILINE).param(view.target).end();
    sink.end();
    let piece = |sink: &mut _, concat: bool| -> usize {
        let mut w = LineWriter::new(Sink::buf(sink));
        w.tag("batch", &name);
        if concat {
            w.tag("draft/multiline-concat", "");
        }
        identity::source(&mut w, &event.by, view.settings.0);
        w.command(command(message)).param(view.target);
        w.room()
    };
    for line in text.split('\n') {
        for (at, part) in line.split('\r').enumerate() {
            let (mut rest, mut concat) = (part, at > 0);
            loop {
                let room = piece(sink, concat);
                let (now, later) = rest.split_at(rest.floor_char_boundary(room.max(1)));
                sink.buf().extend_from_slice(b" :");
                LineWriter::tail(sink.buf(), now);
                sink.end();
                (rest, concat) = (later, true);
                if rest.is_empty() {
                    break;
                }
            }
        }
    }
    let mut w = LineWriter::new(sink.buf());
    w.source(view.server()).command("BATCH").param(&format!("-{name}")).end();
    sink.end();
}

fn command(message: &Message) -> &'static str {
    if message.kind == Kind::Notice { "NOTICE" } else { "PRIVMSG" }
}

/// A line up to its text; how much text it has room for.
fn begin(
    view: &View<'_>,
    event: &Event,
    message: &Message,
    tags: &str,
    first: bool,
    sink: &mut impl Sink,
) -> usize {
    let mut w = start(view, event, message, tags, first, sink);
    w.command(command(message)).param(view.target);
    w.room()
}

/// Tags and source. The id and what the message answers are the first line's alone.
fn start<'b>(
    view: &View<'_>,
    event: &Event,
    message: &Message,
    tags: &str,
    first: bool,
    sink: &'b mut impl Sink,
) -> LineWriter<'b> {
    // A label is for one line.
    let own = if first || !view.tags.starts_with("label=") { view.tags } else { "" };
    let view = View { tags: own, ..*view };
    let mut w = view.start(sink, Some(event.at), first.then(|| event.id()), &event.by);
    if view.caps.has(Cap::MessageTags) {
        w.raw_tags(tags);
        // What belongs to a thread answers its root: there are no threads here.
        let answers = message.reply.or(message.thread);
        if let Some(reply) = answers.filter(|_| first && !tags.contains("reply=")) {
            let id = reply.text();
            w.tag("+reply", &id).tag("+draft/reply", &id);
        }
    }
    identity::source(&mut w, &event.by, view.settings.0);
    w
}

/// Takes back the line begun.
fn undo(sink: &mut impl Sink) {
    let begin = memchr::memrchr(b'\n', sink.buf()).map_or(0, |at| at + 1);
    sink.buf().truncate(begin);
}

/// Whether a text is one line as it is. Text from elsewhere must hold no control characters.
fn is_simple(text: &str, foreign: bool) -> bool {
    !text.is_empty() && !text.bytes().any(|b| if foreign { b < 0x20 } else { matches!(b, b'\r' | b'\n' | 0) })
}

/// Black on black: what is hidden until it is selected. Both colours have two digits, so digits of the text are none.
const HIDE: &str = "\x0301,01";

/// The text's own colours again. The two toggles keep digits after it from being a colour.
const SHOW: &str = "\x03\x02\x02";

/// Neutral text with its styles as codes, quoted lines behind `> `.
pub(super) fn coded(text: &Rich) -> String {
    use lavina_core::text::Style as Neutral;
    let text = text.quoted();
    let mut spans: Vec<(Style, Range<usize>)> = Vec::new();
    let mut hidden: Vec<Range<usize>> = Vec::new();
    for span in &text.spans {
        let range = span.from as usize..span.to as usize;
        let style = match span.style {
            Neutral::Bold => Style::Bold,
            Neutral::Italic => Style::Italic,
            Neutral::Underline => Style::Underline,
            Neutral::Strike => Style::Strike,
            Neutral::Code => Style::Mono,
            Neutral::Spoiler => {
                hidden.push(range);
                continue;
            }
            Neutral::Block | Neutral::Quote => continue,
        };
        spans.push((style, range));
    }
    if hidden.is_empty() {
        return format::from_spans(&text.text, &spans);
    }
    let part = |of: Range<usize>| {
        let clip = |r: &Range<usize>| {
            r.start.clamp(of.start, of.end) - of.start..r.end.clamp(of.start, of.end) - of.start
        };
        let inside: Vec<_> = spans.iter().map(|(style, range)| (*style, clip(range))).collect();
        format::from_spans(text.text.get(of.clone()).unwrap_or_default(), &inside)
    };
    let (mut out, mut at) = (String::new(), 0);
    for range in hidden {
        let range = range.start.max(at)..range.end.max(at);
        out.push_str(&part(at..range.start));
        at = range.start;
        // Each line is hidden by itself, for each is a message.
        for line in text.text.get(range.clone()).unwrap_or_default().split_inclusive('\n') {
            let end = at + line.trim_end_matches('\n').len();
            if at < end {
                out.extend([HIDE, &part(at..end), SHOW]);
            }
            out.push_str(&line[end - at..]);
            at += line.len();
        }
    }
    out.push_str(&part(at..text.text.len()));
    out
}

/// The tags of a reaction made elsewhere.
pub(super) fn reaction(key: &str, on: bool, id: lavina_core::ids::MsgId) -> String {
    let mut made = if on { b"+draft/react=".to_vec() } else { b"+draft/unreact=".to_vec() };
    escape(key, &mut made);
    made.extend_from_slice(b";+draft/reply=");
    made.extend_from_slice(&id.digits());
    String::from_utf8_lossy(&made).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lavina_core::text::{Span, Str, Style as Neutral};

    #[test]
    fn quotations_are_marked_and_spoilers_hidden() {
        let rich = |text: &str, spans: &[(u32, u32, Neutral)]| Rich {
            text: Str::new(text),
            spans: spans
                .iter()
                .map(|(from, to, style)| Span { from: *from, to: *to, style: *style })
                .collect(),
        };
        assert_eq!(coded(&rich("a\nb", &[(0, 1, Neutral::Quote)])), "> a\nb");
        assert_eq!(coded(&rich("ab", &[(0, 1, Neutral::Bold)])), "\x02a\x02b");
        let hidden = rich("a b\nc 1", &[(0, 3, Neutral::Bold), (2, 5, Neutral::Spoiler)]);
        assert_eq!(coded(&hidden), "\x02a \x02\x0301,01\x02b\x02\x03\x02\x02\n\x0301,01c\x03\x02\x02 1");
        assert_eq!(format::plain(&coded(&hidden)), "a b\nc 1");
    }
}
