//! Cutting a byte stream into lines.
//!
//! The framer holds no bytes: the connection's buffer stays where it is and the framer only remembers
//! how far it has looked, so a line that arrives one byte at a time costs one look at each byte.

use super::limits::LINE_MAX;

/// What [`Framer::next`] found at the front of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// No whole line yet. The first `usize` bytes are empty lines and may be dropped.
    Wait(usize),
    /// A line without its end, and how many bytes of the buffer it used up with everything before it.
    Line(&'a [u8], usize),
    /// More than [`LINE_MAX`] bytes without an end: the connection is to be closed.
    TooLong,
}

/// Finds lines ended by CR, LF or both (RFC 1459 section 2.3 wants both, clients do all three). NUL,
/// which no message may hold, ends one too. Empty lines are passed over.
///
/// The result does not depend on how the bytes were cut.
#[derive(Debug, Clone, Default)]
pub struct Framer {
    /// Bytes from the front of the buffer known to hold no line end.
    looked: usize,
}

impl Framer {
    /// Looks for the next line in `buf`, which begins with the first byte not used up so far. After
    /// [`Frame::Line`] or [`Frame::Wait`] the named number of bytes must be dropped from its front.
    pub fn next<'a>(&mut self, buf: &'a [u8]) -> Frame<'a> {
        let skip = if self.looked == 0 { buf.iter().take_while(|b| is_end(**b)).count() } else { 0 };
        let rest = buf.get(skip..).unwrap_or_default();
        let fresh = rest.get(self.looked..).unwrap_or_default();
        match memchr::memchr3(b'\n', b'\r', 0, fresh) {
            Some(at) if self.looked + at <= LINE_MAX => {
                let end = self.looked + at;
                self.looked = 0;
                Frame::Line(rest.get(..end).unwrap_or_default(), skip + end + 1)
            }
            None if rest.len() <= LINE_MAX => {
                self.looked = rest.len();
                Frame::Wait(skip)
            }
            _ => Frame::TooLong,
        }
    }
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `bytes` in pieces of the given sizes, as a connection would.
    fn lines(bytes: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, bool) {
        let (mut framer, mut buf, mut out) = (Framer::default(), Vec::new(), Vec::new());
        let (mut at, mut cut) = (0, cuts.iter().cycle());
        while at < bytes.len() {
            let n = cut.next().copied().unwrap_or(bytes.len()).clamp(1, bytes.len() - at);
            buf.extend_from_slice(&bytes[at..at + n]);
            at += n;
            loop {
                match framer.next(&buf) {
                    Frame::Line(line, used) => {
                        out.push(line.to_vec());
                        buf.drain(..used);
                    }
                    Frame::Wait(used) => {
                        buf.drain(..used);
                        break;
                    }
                    Frame::TooLong => return (out, true),
                }
            }
        }
        (out, false)
    }

    #[test]
    fn every_kind_of_end() {
        let (got, closed) = lines(b"a\nb\rc\r\n\r\n\n d \0e", &[]);
        assert_eq!(got, [&b"a"[..], b"b", b"c", b" d "]);
        assert!(!closed);
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_limit() {
        let mut bytes = vec![b'x'; LINE_MAX];
        assert_eq!(lines(&bytes, &[100]), (vec![], false));
        bytes.push(b'\n');
        assert_eq!(lines(&bytes, &[100]), (vec![vec![b'x'; LINE_MAX]], false));
        bytes.insert(0, b'x');
        assert_eq!(lines(&bytes, &[100]), (vec![], true));
        assert_eq!(lines(&bytes, &[]), (vec![], true));
    }

    proptest! {
        #[test]
        fn chunking_never_matters(
            bytes in prop::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'\r'), 1 => Just(b'\n')], 0..400),
            cuts in prop::collection::vec(1usize..40, 1..10),
        ) {
            prop_assert_eq!(lines(&bytes, &[]), lines(&bytes, &cuts));
            prop_assert_eq!(lines(&bytes, &[]), lines(&bytes, &[1]));
        }
    }
}
