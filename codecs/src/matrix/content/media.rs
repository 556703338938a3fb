//! What is no text, as text: files, places, polls, calls. People on other protocols read it.

use super::read::Look;
use crate::json::Json;
use crate::matrix::html::is_mxc;
use lavina_core::event::File;
use lavina_core::media::MediaId;
use lavina_core::text::{Rich, Str};

/// Bytes of a file's name that are shown.
const NAME_MAX: usize = 200;

/// Answers of a poll that are shown (MSC3381 allows 20).
const ANSWERS_MAX: usize = 20;

/// A file: its caption if it has one, then name, kind, length, size, link.
pub(super) fn file(content: &Json, what: &str, caption: Rich, look: &Look<'_>) -> Rich {
    let body = content.str_of("body").unwrap_or_default();
    let name = content.str_of("filename").unwrap_or(body);
    let mut details: Vec<String> = Vec::new();
    let voice = ["org.matrix.msc3245.voice", "m.voice", "org.matrix.msc3245.voice.v2"];
    let what = if voice.iter().any(|key| content.get(key).is_some()) { "voice message" } else { what };
    details.extend((!what.is_empty()).then(|| what.to_owned()));
    details.extend(content.int_at("info.duration").and_then(duration));
    details.extend(content.int_at("info.size").and_then(size));
    let link = link(content, name, look).map(|(_, link)| link);
    if content.get("file").is_some() {
        details.push("encrypted".to_owned());
    }
    let line = describe(name, &details, link.as_deref());
    if content.str_of("filename").is_none_or(|f| f == body) || caption.text.is_empty() {
        return Rich::plain(line);
    }
    // Spans of the caption stay where they are.
    Rich { text: Str::new(format!("{}\n{line}", caption.text)), spans: caption.spans }
}

fn link(content: &Json, name: &str, look: &Look<'_>) -> Option<(MediaId, String)> {
    content.str_of("url").filter(|url| is_mxc(url)).and_then(|url| (look.media)(url, &one_line(name)))
}

/// The file that a message is, if it is one of this server's uploads.
pub(super) fn shared(content: &Json, look: &Look<'_>) -> Option<File> {
    let kinds = ["m.image", "m.video", "m.audio", "m.file"];
    let body =
        content.str_of("body").filter(|_| content.str_of("msgtype").is_some_and(|t| kinds.contains(&t)))?;
    let name = one_line(content.str_of("filename").unwrap_or(body));
    let (id, link) = link(content, &name, look)?;
    let kind = content.str_at("info.mimetype").filter(|kind| kind.len() <= NAME_MAX).unwrap_or_default();
    let size = content.int_at("info.size").and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    Some(File { id, name: Str::new(name), kind: Str::new(kind), size, link: Str::new(link) })
}

/// A sticker: what it shows, and a link.
pub(super) fn sticker(content: &Json, look: &Look<'_>) -> Rich {
    let name = content.str_of("body").unwrap_or_default();
    let link = link(content, name, look).map(|(_, link)| link);
    Rich::plain(describe(name, &["sticker".to_owned()], link.as_deref()))
}

fn describe(name: &str, details: &[String], link: Option<&str>) -> String {
    let mut out = one_line(name);
    if out.is_empty() {
        out.push_str("a file");
    }
    if !details.is_empty() {
        out.push_str(&format!(" ({})", details.join(", ")));
    }
    if let Some(link) = link {
        out.push(' ');
        out.push_str(link);
    }
    out
}

/// A place: its description and its `geo:` URI (RFC 5870).
pub(super) fn location(content: &Json) -> Rich {
    let text = content.str_of("body").map(str::trim).filter(|b| !b.is_empty()).unwrap_or("Location");
    let legal = |uri: &&str| {
        uri.starts_with("geo:") && uri.len() <= NAME_MAX && uri.bytes().all(|b| b.is_ascii_graphic())
    };
    match content.str_of("geo_uri").filter(legal) {
        Some(uri) if !text.contains(uri) => Rich::plain(format!("{text} ({uri})")),
        _ => Rich::plain(text),
    }
}

/// A poll: the question and its numbered answers. Nothing if there is no question.
pub(super) fn poll(content: &Json) -> Option<Rich> {
    let poll = ["m.poll", "m.poll.start", "org.matrix.msc3381.poll.start"]
        .iter()
        .find_map(|key| content.get(key))?;
    let question = block(poll.get("question")?)?;
    let mut out = format!("Poll: {}", question.trim());
    let answers = poll.get("answers").and_then(Json::as_array).unwrap_or_default();
    for (n, answer) in answers.iter().take(ANSWERS_MAX).enumerate() {
        out.push_str(&format!("\n{}. {}", n + 1, block(answer).unwrap_or("?").trim()));
    }
    Some(Rich::plain(out))
}

/// The end of a poll, as its sender puts it.
pub(super) fn poll_end(content: &Json) -> Rich {
    Rich::plain(block(content).map(str::trim).filter(|t| !t.is_empty()).unwrap_or("The poll has ended."))
}

/// The plain text of an extensible event's text block, in one of its spellings (MSC1767).
fn block(value: &Json) -> Option<&str> {
    let text = ["m.text", "org.matrix.msc1767.text"].iter().find_map(|key| value.get(key));
    match text {
        Some(Json::Str(s)) => Some(s),
        Some(Json::Array(forms)) => {
            let plain = |f: &&Json| matches!(f.str_of("mimetype"), None | Some("text/plain"));
            forms.iter().find(plain).and_then(|f| f.str_of("body"))
        }
        _ => value.str_of("body"),
    }
}

/// A name as one line, without control characters, not too long.
fn one_line(name: &str) -> String {
    let line: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.trim();
    let end = (0..=line.len().min(NAME_MAX)).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
    if end < line.len() { format!("{}…", &line[..end]) } else { line.to_owned() }
}

/// A number of bytes, for people.
fn size(bytes: i64) -> Option<String> {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut left = u64::try_from(bytes).ok()?;
    if left < 1000 {
        return Some(format!("{left} bytes"));
    }
    let mut unit = 0;
    while left >= 999_500 && unit + 1 < UNITS.len() {
        left /= 1000;
        unit += 1;
    }
    let tenths = (left + 50) / 100;
    Some(match tenths {
        0..100 => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        _ => format!("{} {}", (left + 500) / 1000, UNITS[unit]),
    })
}

/// Milliseconds as minutes and seconds.
fn duration(ms: i64) -> Option<String> {
    let seconds = (u64::try_from(ms).ok()? + 500) / 1000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    Some(match hours {
        0 => format!("{minutes}:{:02}", seconds % 60),
        _ => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_for_people() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (27_253, "27 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (1_250_000, "1.3 MB"),
            (9_960_000, "10 MB"),
            (3_000_000_000, "3.0 GB"),
            (i64::MAX, "9223372 TB"),
        ] {
            assert_eq!(size(bytes).as_deref(), Some(text), "{bytes}");
        }
        assert_eq!(size(-1), None);
        assert_eq!(duration(12_000).as_deref(), Some("0:12"));
        assert_eq!(duration(3_725_400).as_deref(), Some("1:02:05"));
    }

    #[test]
    fn names_are_one_short_line() {
        assert_eq!(one_line(" a\nb\u{7}c "), "a b c");
        assert_eq!(one_line(&"é".repeat(200)).len(), NAME_MAX + '…'.len_utf8());
    }
}
