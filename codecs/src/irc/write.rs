//! Writing lines into a byte buffer.

use super::limits::BODY_MAX;
use super::numeric::Numeric;

/// Appends one line to a buffer: tags, source, command, parameters, in that order, then [`LineWriter::last`]
/// or [`LineWriter::end`]. Nothing that is handed in can break out of its place: line ends become spaces, what
/// cannot be a middle parameter becomes `*`, and the body is cut between characters at [`BODY_MAX`] bytes.
#[derive(Debug)]
pub struct LineWriter<'b> {
    out: &'b mut Vec<u8>,
    /// Where the line began.
    start: usize,
    /// Where the body begins, after the tags.
    body: usize,
}

impl<'b> LineWriter<'b> {
    /// Begins a line at the end of `out`.
    pub fn new(out: &'b mut Vec<u8>) -> Self {
        let start = out.len();
        LineWriter { out, start, body: start }
    }

    /// Adds a tag, escaping its value. An empty value is left out with its `=`.
    pub fn tag(&mut self, key: &str, value: &str) -> &mut Self {
        self.tag_start();
        self.out.extend_from_slice(key.as_bytes());
        if !value.is_empty() {
            self.out.push(b'=');
            escape(value, self.out);
        }
        self.tag_stop()
    }

    /// Adds tags as they stood in another line (`key=value;…`, already escaped).
    pub fn raw_tags(&mut self, tags: &str) -> &mut Self {
        if tags.is_empty() {
            return self;
        }
        self.tag_start();
        self.out.extend(tags.bytes().filter(|b| !matches!(b, b' ' | b'\r' | b'\n' | 0)));
        self.tag_stop()
    }

    /// Names who speaks.
    pub fn source(&mut self, source: &str) -> &mut Self {
        self.out.push(b':');
        self.word(source);
        self
    }

    /// Names who speaks, as `nick!user@host`.
    pub fn source_user(&mut self, nick: &str, user: &str, host: &str) -> &mut Self {
        self.out.push(b':');
        for part in [nick, "!", user, "@", host] {
            self.word(part);
        }
        self
    }

    /// The command.
    pub fn command(&mut self, command: &str) -> &mut Self {
        self.gap();
        self.word(command);
        self
    }

    /// A numeric as command, with its target.
    pub fn numeric(&mut self, numeric: Numeric, target: &str) -> &mut Self {
        self.gap();
        let code = numeric.code;
        self.out.extend([100, 10, 1].map(|unit| b'0' + ((code / unit) % 10) as u8));
        self.param(target)
    }

    /// A parameter before the last: cut at its first space or line end; `*` if nothing is left or it begins
    /// with `:`.
    pub fn param(&mut self, param: &str) -> &mut Self {
        self.gap();
        let word = param.split([' ', '\r', '\n', '\0']).next().unwrap_or_default();
        let word = if word.is_empty() || word.starts_with(':') { "*" } else { word };
        self.out.extend_from_slice(word.as_bytes());
        self
    }

    /// The last parameter, always with its `:`, and the end of the line.
    pub fn last(&mut self, text: &str) {
        self.gap();
        self.out.push(b':');
        self.text(text);
        self.end();
    }

    /// The last parameter out of several pieces, and the end of the line.
    pub fn last_of(&mut self, pieces: &[&str]) {
        self.gap();
        self.out.push(b':');
        for piece in pieces {
            self.text(piece);
        }
        self.end();
    }

    /// Ends the line without a last parameter.
    pub fn end(&mut self) {
        let max = self.body + BODY_MAX;
        if self.out.len() > max {
            let mut cut = max;
            while cut > self.body && self.out.get(cut).is_some_and(|b| b & 0xC0 == 0x80) {
                cut -= 1;
            }
            self.out.truncate(cut);
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Bytes that the last parameter may still take, once its `:` and the space before are counted.
    #[must_use]
    pub fn room(&self) -> usize {
        (self.body + BODY_MAX).saturating_sub(self.out.len() + 2)
    }

    /// Ends a line that was left open in `out` with text, as [`LineWriter::last`] would: for lines with a part that
    /// is filled in later.
    pub fn tail(out: &mut Vec<u8>, text: &str) {
        let start = memchr::memrchr(b'\n', out).map_or(0, |at| at + 1);
        let line = out.get(start..).unwrap_or_default();
        let tags =
            if line.first() == Some(&b'@') { memchr::memchr(b' ', line).map_or(0, |at| at + 1) } else { 0 };
        let mut w = LineWriter { out, start, body: start + tags };
        w.text(text);
        w.end();
    }

    fn gap(&mut self) {
        if self.out.len() > self.body {
            self.out.push(b' ');
        }
    }

    /// Opens a tag: `@` for the first, `;` in place of the space after the one before.
    fn tag_start(&mut self) {
        if self.body == self.start {
            self.out.push(b'@');
        } else if let Some(last) = self.out.last_mut() {
            *last = b';';
        }
    }

    fn tag_stop(&mut self) -> &mut Self {
        self.out.push(b' ');
        self.body = self.out.len();
        self
    }

    fn word(&mut self, word: &str) {
        self.out.extend(word.bytes().filter(|b| !matches!(b, b' ' | b'\r' | b'\n' | 0)));
    }

    fn text(&mut self, text: &str) {
        let from = self.out.len();
        self.out.extend_from_slice(text.as_bytes());
        if memchr::memchr3(b'\r', b'\n', 0, text.as_bytes()).is_some() {
            for byte in self.out.iter_mut().skip(from).filter(|b| matches!(b, b'\r' | b'\n' | 0)) {
                *byte = b' ';
            }
        }
    }
}

/// Appends a tag's value with the escapes of IRCv3 message-tags. NUL is dropped.
pub fn escape(value: &str, out: &mut Vec<u8>) {
    for byte in value.bytes() {
        match byte {
            b';' => out.extend_from_slice(b"\\:"),
            b' ' => out.extend_from_slice(b"\\s"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0 => {}
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::irc::message::Line;
    use crate::irc::numeric;
    use proptest::prelude::*;

    #[test]
    fn a_full_line() {
        let mut out = b"before\r\n".to_vec();
        let mut w = LineWriter::new(&mut out);
        w.tag("a", "x y;").tag("b", "").raw_tags("+c=1;+d").source_user("n", "u", "h");
        w.command("PRIVMSG").param("#c").last("hi\r\nthere");
        assert_eq!(out, b"before\r\n@a=x\\sy\\:;b;+c=1;+d :n!u@h PRIVMSG #c :hi  there\r\n");
    }

    #[test]
    fn numerics_have_three_digits() {
        let mut out = Vec::new();
        LineWriter::new(&mut out).source("s").numeric(numeric::RPL_WELCOME, "*").last("x");
        assert_eq!(out, b":s 001 * :x\r\n");
    }

    #[test]
    fn a_long_body_is_cut_between_characters() {
        let mut out = Vec::new();
        LineWriter::new(&mut out).tag("t", "v").command("X").last(&"é".repeat(400));
        let line = Line::parse(out.strip_suffix(b"\r\n").unwrap()).unwrap();
        assert_eq!(line.param(0), "é".repeat(253));
    }

    proptest! {
        #[test]
        fn nothing_breaks_out(source in ".{0,40}", params in prop::collection::vec(".{0,40}", 0..5), last in ".{0,600}", tag in ".{0,40}") {
            let mut out = Vec::new();
            let mut w = LineWriter::new(&mut out);
            w.tag("t", &tag).source(&source).command("CMD");
            for param in &params {
                w.param(param);
            }
            w.last(&last);
            let bytes = out.strip_suffix(b"\r\n").unwrap();
            prop_assert!(memchr::memchr3(b'\r', b'\n', 0, bytes).is_none());
            let line = Line::parse(bytes).unwrap();
            prop_assert_eq!(line.command, "CMD");
            prop_assert!(line.params.len() <= params.len() + 1);
        }
    }
}
