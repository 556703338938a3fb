//! IRC over WebSocket (the IRCv3 `websocket` specification): one line a message, without its CRLF.
//!
//! The session knows nothing of it: what comes in becomes lines, and the lines it writes become messages.

use super::limits::LINE_MAX;
use crate::http::websocket::{Opcode, frame};

/// The subprotocols, and whether their messages are binary.
pub const SUBPROTOCOLS: [(&str, bool); 2] = [("text.ircv3.net", false), ("binary.ircv3.net", true)];

/// Most bytes of a message; a longer one ends the WebSocket.
pub const MESSAGE_MAX: usize = LINE_MAX;

/// Lines to messages and back. Clients that agree on no subprotocol are served text, which browsers show most easily;
/// both types are taken from all.
#[derive(Debug, Default)]
pub struct Lines {
    binary: bool,
    /// A line that is not whole yet.
    rest: Vec<u8>,
}

impl Lines {
    /// For a subprotocol of [`SUBPROTOCOLS`].
    #[must_use]
    pub fn new(binary: bool) -> Lines {
        Lines { binary, rest: Vec::new() }
    }

    /// A message came: appends the line. Line ends that are there against the specification are taken as such.
    pub fn inward(&mut self, message: &[u8], plain: &mut Vec<u8>) {
        let line = message.strip_suffix(b"\n").unwrap_or(message);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            plain.extend_from_slice(line);
            plain.extend_from_slice(b"\r\n");
        }
    }

    /// Lines are to be sent: appends a frame for each.
    pub fn outward(&mut self, plain: &[u8], frames: &mut Vec<u8>) {
        let opcode = if self.binary { Opcode::Binary } else { Opcode::Text };
        let mut rest = plain;
        while let Some(lf) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(lf + 1);
            rest = after;
            self.rest.extend_from_slice(line);
            let whole = self.rest.trim_ascii_end();
            if self.binary || std::str::from_utf8(whole).is_ok() {
                frame(opcode, whole, frames);
            } else {
                // A browser would end the connection.
                frame(opcode, String::from_utf8_lossy(whole).as_bytes(), frames);
            }
            self.rest.clear();
        }
        self.rest.extend_from_slice(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line() {
        let (mut lines, mut plain) = (Lines::new(false), Vec::new());
        for message in [&b"NICK a"[..], b"", b"PING x\r\n", b"PING y\n", b"\r\n"] {
            lines.inward(message, &mut plain);
        }
        assert_eq!(plain, b"NICK a\r\nPING x\r\nPING y\r\n");
    }

    #[test]
    fn a_line_is_a_message() {
        let (mut lines, mut frames) = (Lines::new(false), Vec::new());
        lines.outward(b"a\r\nb", &mut frames);
        lines.outward(b"c\r\n\xff\r\n", &mut frames);
        assert_eq!(frames, b"\x81\x01a\x81\x02bc\x81\x03\xef\xbf\xbd");
        frames.clear();
        Lines::new(true).outward(b"\xff\r\n", &mut frames);
        assert_eq!(frames, b"\x82\x01\xff");
    }
}
