//! The body of a request: how it is delimited (RFC 9112 §6), and the chunked coding (§7.1).

use super::headers::Headers;
use super::limits::{CHUNK_EXCESS, CHUNK_LINE, TRAILERS};
use super::request::Version;
use super::status::{Fault, Status};

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

impl Framing {
    /// No body.
    pub const NONE: Framing = Framing::Length(0);

    /// How the body after these fields is delimited (RFC 9112 §6.3).
    pub(super) fn of(headers: &Headers, version: Version) -> Result<Framing, Fault> {
        let length = content_length(headers)?;
        if headers.all("transfer-encoding").next().is_none() {
            return Ok(Framing::Length(length.unwrap_or(0)));
        }
        if length.is_some() {
            return Err(Fault::bad("there is both Content-Length and Transfer-Encoding"));
        }
        if version < Version::Http11 {
            return Err(Fault::bad("HTTP/1.0 has no Transfer-Encoding"));
        }
        let codings: Vec<&str> = headers.list("transfer-encoding").collect();
        match codings.split_last() {
            Some((last, [])) if last.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            // Its end could not be told (§6.1), or the name means nothing to anybody.
            Some((_, others)) if others.iter().any(|c| c.eq_ignore_ascii_case("chunked")) => {
                Err(Fault::bad("chunked must be the last transfer coding, once"))
            }
            Some(_) if codings.iter().all(|c| c.bytes().all(super::request::is_token)) => {
                Err(Fault::new(Status::NOT_IMPLEMENTED, "the only transfer coding is chunked"))
            }
            _ => Err(Fault::bad("Transfer-Encoding is malformed")),
        }
    }
}

/// The value of Content-Length; several must agree (RFC 9110 §8.6).
fn content_length(headers: &Headers) -> Result<Option<u64>, Fault> {
    let mut length = None;
    for value in headers.all("content-length").flat_map(|value| value.split(|b| *b == b',')) {
        let one = decimal(value.trim_ascii()).ok_or(Fault::bad("Content-Length is no number"))?;
        if length.is_some_and(|other| other != one) {
            return Err(Fault::bad("there are several lengths"));
        }
        length = Some(one);
    }
    Ok(length)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let whole = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| whole)?.parse().ok()
}

/// What comes next of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'b> {
    /// More bytes are needed.
    Wait,
    /// Something that is no content was passed over.
    Passed,
    /// Content.
    Data(&'b [u8]),
    /// The body is complete.
    End,
}

/// A body being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    state: State,
    /// Bytes of content that may still come.
    room: u64,
    /// Bytes of chunk lines beyond what sensible chunks need.
    excess: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes of content are left.
    Length(u64),
    /// Before the line of a chunk.
    Size,
    /// So many bytes of the chunk are left.
    Chunk(u64),
    /// Before the CRLF after a chunk.
    ChunkEnd,
    /// In the trailer section, of which so many bytes have come.
    Trailers(usize),
}

impl Body {
    /// A body of at most `room` bytes of content.
    pub(super) fn new(framing: Framing, room: u64) -> Body {
        let state = match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
        };
        Body { state, room, excess: 0 }
    }

    /// At most so many bytes of content may still come.
    pub(super) fn allow(&mut self, room: u64) {
        self.room = room;
    }

    /// Takes the next part from the front of `bytes`, and says how many bytes it took.
    pub(super) fn next<'b>(&mut self, bytes: &'b [u8]) -> Result<(Part<'b>, usize), Fault> {
        match self.state {
            State::Length(0) => Ok((Part::End, 0)),
            State::Length(left) if left > self.room => Err(TOO_LARGE),
            State::Length(left) => {
                let data = up_to(bytes, left);
                self.state = State::Length(left - data.len() as u64);
                self.room -= data.len() as u64;
                Ok((content(data), data.len()))
            }
            State::Size => self.size(bytes),
            State::Chunk(left) => {
                let data = up_to(bytes, left);
                let left = left - data.len() as u64;
                self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                Ok((content(data), data.len()))
            }
            State::ChunkEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.state = State::Size;
                    Ok((Part::Passed, 2))
                }
                [] | [b'\r'] => Ok((Part::Wait, 0)),
                _ => Err(Fault::bad("a chunk is longer than it says")),
            },
            State::Trailers(before) => {
                let room = TRAILERS - before;
                let too_long = Fault::new(Status::HEADER_FIELDS_TOO_LARGE, "the trailers are too long");
                let Some((line, used)) = line(bytes, room, too_long)? else { return Ok((Part::Wait, 0)) };
                if line.is_empty() {
                    return Ok((Part::End, used));
                }
                let name = line.split(|b| *b == b':').next().unwrap_or_default();
                if name.len() == line.len()
                    || name.is_empty()
                    || !name.iter().all(|b| super::request::is_token(*b))
                {
                    return Err(Fault::bad("a trailer is malformed"));
                }
                self.state = State::Trailers(before + used);
                Ok((Part::Passed, used))
            }
        }
    }

    /// The line before a chunk.
    fn size<'b>(&mut self, bytes: &[u8]) -> Result<(Part<'b>, usize), Fault> {
        let too_long = Fault::bad("the line of a chunk is too long");
        let Some((line, used)) = line(bytes, CHUNK_LINE, too_long)? else { return Ok((Part::Wait, 0)) };
        let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (digits, extension) = line.split_at(digits);
        let extends = extension.trim_ascii_start().first().is_some_and(|b| *b == b';');
        let no_size = Fault::bad("a chunk has no size");
        if !(extension.is_empty() || extends) || extension.iter().any(|b| b.is_ascii_control() && *b != b'\t')
        {
            return Err(no_size);
        }
        let digits = std::str::from_utf8(digits).map_err(|_| no_size)?;
        let size = u64::from_str_radix(digits, 16).map_err(|_| no_size)?;
        // A line of a few bytes is what chunks cost; many such lines, or long ones, for little content are an attack.
        self.excess = (self.excess + used as u64).saturating_sub(16 + 2 * size.min(CHUNK_EXCESS));
        if self.excess > CHUNK_EXCESS {
            return Err(Fault::bad("the chunks have more extensions than content"));
        }
        self.room = self.room.checked_sub(size).ok_or(TOO_LARGE)?;
        self.state = if size == 0 { State::Trailers(0) } else { State::Chunk(size) };
        Ok((Part::Passed, used))
    }
}

const TOO_LARGE: Fault = Fault::new(Status::CONTENT_TOO_LARGE, "the body is too large");

fn content(data: &[u8]) -> Part<'_> {
    if data.is_empty() { Part::Wait } else { Part::Data(data) }
}

fn up_to(bytes: &[u8], most: u64) -> &[u8] {
    &bytes[..usize::try_from(most).map_or(bytes.len(), |most| most.min(bytes.len()))]
}

/// The line that begins `bytes`, without its CRLF, and its length with it.
fn line(bytes: &[u8], most: usize, too_long: Fault) -> Result<Option<(&[u8], usize)>, Fault> {
    let window = &bytes[..bytes.len().min(most)];
    let Some(lf) = memchr::memchr(b'\n', window) else {
        return if bytes.len() >= most { Err(too_long) } else { Ok(None) };
    };
    let line = window[..lf].strip_suffix(b"\r").ok_or(Fault::bad("a line ends without CR"))?;
    if memchr::memchr(b'\r', line).is_some() {
        return Err(Fault::bad("there is a CR inside a line"));
    }
    Ok(Some((line, lf + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a whole chunked body in pieces of `cut` bytes: the content, and what is left over.
    fn chunked(text: &str, room: u64, cut: usize) -> Result<Option<(String, String)>, u16> {
        let (mut body, mut content) = (Body::new(Framing::Chunked, room), Vec::new());
        let (mut at, mut have) = (0, 0);
        loop {
            let (part, used) = body.next(&text.as_bytes()[at..have]).map_err(|f| f.status.0)?;
            at += used;
            match part {
                Part::Data(data) => content.extend_from_slice(data),
                Part::Passed => {}
                Part::Wait if have == text.len() => return Ok(None),
                Part::Wait => have = (have + cut).min(text.len()),
                Part::End => {
                    let content = String::from_utf8(content).expect("text");
                    return Ok(Some((content, text[at..].to_owned())));
                }
            }
        }
    }

    #[test]
    fn chunks_are_joined_whatever_the_cuts() {
        let text =
            "4\r\nWiki\r\n5;x=\"y\"\r\npedia\r\n0e ; last\r\n in\r\n\r\nchunks.\r\n000\r\nX: y\r\n\r\nGET";
        for cut in 1..text.len() {
            let read = chunked(text, 100, cut);
            assert_eq!(read, Ok(Some(("Wikipedia in\r\n\r\nchunks.".to_owned(), "GET".to_owned()))), "{cut}");
        }
        for cut in [1, 7] {
            assert_eq!(chunked(&text[..text.len() - 5], 100, cut), Ok(None), "not complete");
            assert_eq!(chunked(text, 22, cut), Err(413));
            assert_eq!(chunked(text, 23, cut).map(|read| read.is_some()), Ok(true));
        }
    }

    #[test]
    fn chunks_in_other_forms_are_refused() {
        let long = format!("1;{}\r\na\r\n", "x".repeat(CHUNK_LINE));
        let trailers = format!("0\r\n{}\r\n", "Name: value\r\n".repeat(TRAILERS / 10));
        let excess = format!("1;{}\r\na\r\n", "x".repeat(CHUNK_LINE - 5)).repeat(100);
        for (text, status) in [
            ("\r\n", 400),
            ("x\r\n", 400),
            ("-1\r\n", 400),
            ("+1\r\n", 400),
            ("0x1\r\n", 400),
            ("1 \r\n", 400),
            ("1\n", 400),
            ("1\r\na\n", 400),
            ("1\r\nab\r\n", 400),
            ("1;a\rb\r\n", 400),
            ("1;a\0b\r\n", 400),
            ("ffffffffffffffffff\r\n", 400),
            ("ffffffffffffffff\r\n", 413),
            ("0\r\nX\r\n\r\n", 400),
            ("0\r\n: x\r\n\r\n", 400),
            ("0\r\nX : x\r\n\r\n", 400),
            (&long, 400),
            (&excess, 400),
            (&trailers, 431),
        ] {
            for cut in [1, 3, text.len()] {
                assert_eq!(chunked(text, 10_000, cut), Err(status), "{text:?} in {cut}");
            }
        }
        let small = "1\r\na\r\n".repeat(5_000) + "0\r\n\r\n";
        assert!(chunked(&small, 10_000, 100).is_ok_and(|read| read.is_some()), "small chunks are no attack");
    }

    #[test]
    fn a_length_is_counted() {
        let mut body = Body::new(Framing::Length(5), 5);
        assert_eq!(body.next(b""), Ok((Part::Wait, 0)));
        assert_eq!(body.next(b"abc"), Ok((Part::Data(b"abc"), 3)));
        assert_eq!(body.next(b"defg"), Ok((Part::Data(b"de"), 2)));
        assert_eq!(body.next(b"fg"), Ok((Part::End, 0)));
        assert_eq!(Body::new(Framing::Length(5), 4).next(b"").map_err(|f| f.status.0), Err(413));
        assert_eq!(Body::new(Framing::NONE, 0).next(b""), Ok((Part::End, 0)));
    }
}
