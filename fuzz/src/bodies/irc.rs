//! IRC: lines, and the cutting of bytes into them.

use lavina_codecs::irc::framer::{Frame, Framer};
use lavina_codecs::irc::message::{Line, Message, unescape};
use lavina_codecs::irc::write::escape;

/// Any bytes as one line: what can be said strictly reads back as itself.
pub fn line(data: &[u8]) {
    let Ok(line) = Line::parse(data) else { return };
    for (_, value) in line.tags() {
        let plain = unescape(value);
        let mut again = Vec::new();
        escape(&plain, &mut again);
        let again = String::from_utf8(again).expect("escaping keeps text");
        // NUL is the one character that cannot be said; the framer lets none through.
        assert_eq!(unescape(&again), plain.replace('\0', ""), "what is escaped reads back");
    }
    assert!(line.client_tags().split(';').all(|tag| tag.is_empty() || tag.starts_with('+')));
    let Ok(message) = Message::from_line(&line) else { return };
    let mut out = Vec::new();
    message.encode(&mut out);
    let body = out.strip_suffix(b"\r\n").expect("one whole line");
    assert!(!body.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "nothing breaks out of a line");
    let again = Line::parse(body).expect("what was written can be read");
    assert_eq!(Message::from_line(&again).as_ref(), Ok(&message), "the strict form round-trips");
}

/// Any bytes as a stream: the cuts change nothing, and the framer never asks for ever more.
pub fn framer(data: &[u8]) {
    let whole = cut(data, data.len().max(1));
    assert_eq!(cut(data, 1), whole, "byte by byte");
    assert_eq!(cut(data, 7), whole, "in sevens");
}

/// The lines of a stream that arrives in chunks, and whether it ended as too long.
fn cut(data: &[u8], size: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut framer, mut buffer, mut lines) = (Framer::default(), Vec::new(), Vec::new());
    for chunk in data.chunks(size) {
        buffer.extend_from_slice(chunk);
        loop {
            match framer.next(&buffer) {
                Frame::Wait(used) => {
                    buffer.drain(..used);
                    break;
                }
                Frame::Line(line, used) => {
                    lines.push(line.to_vec());
                    buffer.drain(..used);
                }
                Frame::TooLong => return (lines, true),
            }
        }
    }
    (lines, false)
}
