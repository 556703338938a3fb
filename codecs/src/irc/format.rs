//! mIRC formatting codes and neutral spans, and breaking long text into lines.
//!
//! The codes are those of modern.ircdocs.horse/formatting. Colour and reverse have no neutral form: for other
//! protocols they fall away.

use std::ops::Range;

/// A neutral style of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Style {
    /// `\x02`
    Bold,
    /// `\x1d`
    Italic,
    /// `\x1f`
    Underline,
    /// `\x1e`
    Strike,
    /// `\x11`
    Mono,
}

/// The least `max` that [`wrap`] works with: room for all re-opened codes and some text.
pub const WRAP_MIN: usize = 64;

const STYLES: [(Style, char); 5] = [
    (Style::Bold, '\x02'),
    (Style::Italic, '\x1d'),
    (Style::Underline, '\x1f'),
    (Style::Strike, '\x1e'),
    (Style::Mono, '\x11'),
];
const COLOUR: char = '\x03';
const HEX_COLOUR: char = '\x04';
const REVERSE: char = '\x16';
const RESET: char = '\x0f';

/// Takes the codes out of a line: the plain text, and where each style applies (byte ranges of that text, by
/// start). Other control characters fall away too.
#[must_use]
pub fn to_spans(line: &str) -> (String, Vec<(Style, Range<usize>)>) {
    let mut text = String::with_capacity(line.len());
    let mut spans: Vec<(Style, Range<usize>)> = Vec::new();
    let mut open: [Option<usize>; STYLES.len()] = [None; STYLES.len()];
    for token in tokens(line) {
        let code = token.chars().next().unwrap_or_default();
        if !is_code(code) {
            if !code.is_control() || matches!(code, '\t' | '\n') {
                text.push_str(token);
            }
            continue;
        }
        for (slot, (style, own)) in open.iter_mut().zip(STYLES) {
            if let Some(start) = *slot
                && (code == own || code == RESET)
            {
                *slot = None;
                if start < text.len() {
                    spans.push((style, start..text.len()));
                }
            } else if code == own {
                *slot = Some(text.len());
            }
        }
    }
    for (slot, (style, _)) in open.into_iter().zip(STYLES) {
        if let Some(start) = slot.filter(|start| *start < text.len()) {
            spans.push((style, start..text.len()));
        }
    }
    spans.sort_by_key(|(style, range)| (range.start, range.end, *style));
    (text, spans)
}

/// Puts codes into plain text. Ranges that overlap within a style are one; a range that is no part of the text, or
/// cuts a character, is passed over. Control characters of the text fall away, except line ends and tabs.
#[must_use]
pub fn from_spans(text: &str, spans: &[(Style, Range<usize>)]) -> String {
    let mut marks: Vec<(usize, usize, bool)> = Vec::new();
    for (style, range) in spans.iter().filter(|(_, r)| !r.is_empty() && text.get(r.clone()).is_some()) {
        let at = STYLES.iter().position(|(s, _)| s == style).unwrap_or_default();
        marks.push((range.start, at, true));
        marks.push((range.end, at, false));
    }
    // Beginnings before ends, so that a range that follows another directly does not toggle twice.
    marks.sort_by_key(|(pos, at, begins)| (*pos, *at, !begins));
    let mut out = String::with_capacity(text.len() + marks.len());
    let (mut depth, mut marks) = ([0usize; STYLES.len()], marks.into_iter().peekable());
    for (pos, c) in text.char_indices().chain([(text.len(), '\0')]) {
        while let Some((_, at, begins)) = marks.next_if(|(mark, _, _)| *mark <= pos) {
            let Some((level, (_, code))) = depth.get_mut(at).zip(STYLES.get(at)) else { continue };
            let before = *level > 0;
            *level = if begins { *level + 1 } else { level.saturating_sub(1) };
            if before != (*level > 0) {
                out.push(*code);
            }
        }
        if !c.is_control() || matches!(c, '\n' | '\t') {
            out.push(c);
        }
    }
    out
}

/// Takes all codes out of a line.
#[must_use]
pub fn plain(line: &str) -> String {
    to_spans(line).0
}

/// Breaks text (which may hold codes) into lines of at most `max` bytes ([`WRAP_MIN`] or more), none of them
/// empty: at line ends, then at spaces, else between characters. What was switched on is switched on again at the start of a
/// continuation.
#[must_use]
pub fn wrap(text: &str, max: usize) -> Vec<String> {
    let max = max.max(WRAP_MIN);
    let mut out = Vec::new();
    let mut state = State::default();
    for line in text.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        let mut rest = line;
        while !rest.is_empty() {
            let mut piece = state.codes(rest);
            let (head, tail) = cut(rest, max - piece.len());
            piece.push_str(head);
            state.follow(head);
            out.push(piece);
            rest = tail;
        }
    }
    out
}

/// The longest head of `line` within `max` bytes that ends before a space, or else between tokens, and what
/// follows it.
fn cut(line: &str, max: usize) -> (&str, &str) {
    if line.len() <= max {
        return (line, "");
    }
    let (mut end, mut space) = (0, None);
    for token in tokens(line) {
        if token == " " && end > 0 {
            space = Some(end);
        }
        if end + token.len() > max {
            break;
        }
        end += token.len();
    }
    let at = space.unwrap_or(end);
    let (head, tail) = line.split_at(at);
    (head, if space.is_some() { tail.strip_prefix(' ').unwrap_or(tail) } else { tail })
}

/// What is switched on.
#[derive(Default)]
struct State<'a> {
    on: [bool; STYLES.len()],
    reverse: bool,
    colour: Option<&'a str>,
}

impl<'a> State<'a> {
    /// What switches it on again in front of `text`.
    fn codes(&self, text: &str) -> String {
        let mut out: String =
            self.on.iter().zip(STYLES).filter(|(on, _)| **on).map(|(_, (_, code))| code).collect();
        if self.reverse {
            out.push(REVERSE);
        }
        if let Some(colour) = self.colour {
            out.push_str(colour);
            if text.starts_with(|c: char| c.is_ascii_digit() || c == ',') {
                // On and off again: keeps the text's own digits out of the colour.
                out.push_str("\x02\x02");
            }
        }
        out
    }

    fn follow(&mut self, text: &'a str) {
        for token in tokens(text) {
            match token.chars().next() {
                Some(RESET) => *self = State::default(),
                Some(REVERSE) => self.reverse = !self.reverse,
                Some(COLOUR | HEX_COLOUR) => self.colour = (token.len() > 1).then_some(token),
                Some(c) => {
                    for (on, _) in self.on.iter_mut().zip(STYLES).filter(|(_, (_, code))| *code == c) {
                        *on = !*on;
                    }
                }
                None => {}
            }
        }
    }
}

fn is_code(c: char) -> bool {
    matches!(c, COLOUR | HEX_COLOUR | REVERSE | RESET) || STYLES.iter().any(|(_, code)| *code == c)
}

/// A line as single characters and whole colour codes.
fn tokens(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let len = match first {
            COLOUR => 1 + colour_len(rest.get(1..).unwrap_or_default(), 1..=2, u8::is_ascii_digit),
            HEX_COLOUR => 1 + colour_len(rest.get(1..).unwrap_or_default(), 6..=6, u8::is_ascii_hexdigit),
            _ => first.len_utf8(),
        };
        let (token, tail) = rest.split_at(len);
        rest = tail;
        Some(token)
    })
}

/// Bytes of `foreground[,background]`.
fn colour_len(text: &str, digits: std::ops::RangeInclusive<usize>, is: fn(&u8) -> bool) -> usize {
    let count = |s: &[u8]| {
        let n = s.iter().take(*digits.end()).take_while(|b| is(b)).count();
        if digits.contains(&n) { n } else { 0 }
    };
    let bytes = text.as_bytes();
    let front = count(bytes);
    if front > 0 && bytes.get(front) == Some(&b',') {
        let back = count(bytes.get(front + 1..).unwrap_or_default());
        if back > 0 {
            return front + 1 + back;
        }
    }
    front
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_become_spans() {
        let (text, spans) = to_spans("a\x02b\x1dc\x02d\x0fe\x0304,12f\x03g\x11h");
        assert_eq!(text, "abcdefgh");
        assert_eq!(spans, [(Style::Bold, 1..3), (Style::Italic, 2..4), (Style::Mono, 7..8)]);
    }

    #[test]
    fn colours_take_their_digits_only() {
        assert_eq!(plain("\x03123"), "3");
        assert_eq!(plain("\x031,a"), ",a");
        assert_eq!(plain("\x04ff00FF,00ff001"), "1");
        assert_eq!(plain("\x04ff00"), "ff00");
        assert_eq!(plain("\x16a\x07b\tc"), "ab\tc");
    }

    #[test]
    fn spans_become_codes() {
        assert_eq!(from_spans("abc", &[(Style::Bold, 0..1), (Style::Bold, 1..2)]), "\x02ab\x02c");
        assert_eq!(from_spans("abc", &[(Style::Bold, 1..3), (Style::Mono, 2..3)]), "a\x02b\x11c\x02\x11");
        assert_eq!(from_spans("é", &[(Style::Bold, 0..1), (Style::Bold, 0..9)]), "é");
        assert_eq!(from_spans("a\x02b\x01", &[]), "ab");
    }

    #[test]
    fn wrapping_at_words() {
        let text = format!("{} {} tail", "a".repeat(40), "b".repeat(30));
        assert_eq!(wrap(&text, 64), ["a".repeat(40), format!("{} tail", "b".repeat(30))]);
        assert_eq!(wrap("one\n\ntwo\r\n", 64), ["one", "two"]);
    }

    #[test]
    fn wrapping_reopens_formats() {
        let text = format!("\x02\x0304{} {}\x0f", "a".repeat(50), "b".repeat(50));
        let lines = wrap(&text, 64);
        assert_eq!(lines[1], format!("\x02\x0304{}\x0f", "b".repeat(50)));
    }

    proptest! {
        #[test]
        fn spans_survive(text in "[a-cé ]{0,20}", cuts in prop::collection::vec((0usize..5, 0usize..20, 0usize..20), 0..4)) {
            let spans: Vec<_> = cuts.iter().map(|(s, a, b)| (STYLES[*s].0, *a..*b)).collect();
            let coded = from_spans(&text, &spans);
            let (back, found) = to_spans(&coded);
            prop_assert_eq!(&back, &text);
            // Once normalised, the form is stable.
            prop_assert_eq!(from_spans(&back, &found), coded);
        }

        #[test]
        fn wrapping_keeps_text_and_limit(text in "[ab é\x02\x1d\x0f\x031]{0,300}", max in 64usize..100) {
            let lines = wrap(&text, max);
            prop_assert!(lines.iter().all(|l| l.len() <= max && !l.is_empty()));
            let strip = |s: &str| plain(s).replace(' ', "");
            prop_assert_eq!(strip(&lines.join(" ")), strip(&text));
        }

        #[test]
        fn tokens_cover_everything(line in any::<String>()) {
            prop_assert_eq!(tokens(&line).collect::<String>(), line);
        }
    }
}
