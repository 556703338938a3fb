//! Requests out of the bytes of a connection, one at a time.
//!
//! However the bytes are cut, the outcome is the same: the same heads, the same content, the same end or the same
//! [`Fault`], after which nothing may be read any more.

use super::body::{Body, Part};
use super::limits::BLANK_LINES;
use super::request::{Head, Scan};
use super::status::Fault;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'b> {
    /// Nothing more without more bytes.
    Wait,
    /// The head of a request. Before reading on, [`Reader::allow`] must say how long its body may be.
    Head(Box<Head>),
    /// A piece of its body.
    Data(&'b [u8]),
    /// Its body is complete; the next request may follow.
    End,
}

/// Reads requests.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    scan: Scan,
    blank: u8,
}

#[derive(Debug, Default)]
enum State {
    /// Before or in a head.
    #[default]
    Head,
    /// In a body.
    Body(Body),
}

impl Reader {
    /// Takes the next step from the front of `bytes`, and says how many bytes it took. What it did not take must come
    /// again, with what has come since.
    ///
    /// # Errors
    /// A [`Fault`], for good.
    pub fn next<'b>(&mut self, bytes: &'b [u8]) -> Result<(Step<'b>, usize), Fault> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let (step, used) = match &mut self.state {
                State::Head => match self.blank_lines(rest)? {
                    0 => self.head(rest)?,
                    skipped => {
                        at += skipped;
                        continue;
                    }
                },
                State::Body(body) => match body.next(rest)? {
                    (Part::Passed, used) => {
                        at += used;
                        continue;
                    }
                    (Part::Wait, used) => (Step::Wait, used),
                    (Part::Data(data), used) => (Step::Data(data), used),
                    (Part::End, used) => {
                        (self.state, self.scan, self.blank) = (State::Head, Scan::default(), 0);
                        (Step::End, used)
                    }
                },
            };
            return Ok((step, at + used));
        }
    }

    /// The body of the request whose head was just read may have so many bytes; a longer one is a fault with 413. A
    /// body that no word was said about may have none.
    pub fn allow(&mut self, room: u64) {
        if let State::Body(body) = &mut self.state {
            body.allow(room);
        }
    }

    /// True: a head is under way.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head) && (self.scan.has_begun() || self.blank > 0)
    }

    /// Empty lines before a request are passed over (RFC 9112 §2.2).
    fn blank_lines(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        if !bytes.starts_with(b"\r\n") || self.scan.has_begun() {
            return Ok(0);
        }
        self.blank += 1;
        if self.blank > BLANK_LINES { Err(Fault::bad("nothing but empty lines")) } else { Ok(2) }
    }

    fn head<'b>(&mut self, bytes: &[u8]) -> Result<(Step<'b>, usize), Fault> {
        if bytes.is_empty() || bytes == b"\r" {
            return Ok((Step::Wait, 0));
        }
        let Some(end) = self.scan.end(bytes)? else { return Ok((Step::Wait, 0)) };
        let head = Head::parse(&bytes[..end])?;
        self.state = State::Body(Body::new(head.framing, 0));
        Ok((Step::Head(Box::new(head)), end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limits::{HEAD, REQUEST_LINE};
    use proptest::prelude::*;

    /// Path and body of a request, and whether the body was complete.
    type Read = (String, Vec<u8>, bool);

    /// Everything that comes out of a stream cut into pieces of these lengths, over and over.
    fn read(stream: &[u8], cuts: &[usize]) -> (Vec<Read>, Option<Fault>) {
        let (mut reader, mut requests) = (Reader::default(), Vec::<Read>::new());
        let (mut at, mut have, mut cuts) = (0, 0, cuts.iter().cycle());
        loop {
            let (step, used) = match reader.next(&stream[at..have]) {
                Ok(step) => step,
                Err(fault) => return (requests, Some(fault)),
            };
            at += used;
            match step {
                Step::Wait if have == stream.len() => return (requests, None),
                Step::Wait => have = (have + cuts.next().copied().unwrap_or(1).max(1)).min(stream.len()),
                Step::Head(head) => {
                    reader.allow(100);
                    requests.push((head.path().to_owned(), Vec::new(), false));
                }
                Step::Data(data) => requests.last_mut().expect("a head came").1.extend_from_slice(data),
                Step::End => requests.last_mut().expect("a head came").2 = true,
            }
        }
    }

    #[test]
    fn requests_follow_one_another() {
        let stream = b"\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz\
            POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /d HTTP/1.1\r\n";
        let expected = vec![
            ("/a".to_owned(), vec![], true),
            ("/b".to_owned(), b"xyz".to_vec(), true),
            ("/c".to_owned(), b"hi".to_vec(), true),
        ];
        for cut in [1, 2, 3, 10, stream.len()] {
            assert_eq!(read(stream, &[cut]), (expected.clone(), None), "{cut}");
        }
    }

    #[test]
    fn limits_hold_whatever_the_cuts() {
        let line = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(REQUEST_LINE));
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(HEAD));
        let late = format!("GET / HTTP/1.1\r\nX: {}\n", "a".repeat(HEAD));
        for (stream, status) in [
            (line.as_str(), 414),
            (&head, 431),
            (&late, 431),
            (&"\r\n".repeat(20), 400),
            ("\x16\x03\x01", 400),
            ("GET / HTTP/1.1\nHost: x\n\n", 400),
            ("GET / HTTP/1.1\r\nHo\rst: x\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n", 413),
        ] {
            for cut in [1, 5, 4096, stream.len()] {
                let fault = read(stream.as_bytes(), &[cut]).1.map(|f| f.status.0);
                assert_eq!(fault, Some(status), "{:?} in {cut}", &stream[..stream.len().min(40)]);
            }
        }
    }

    #[test]
    fn a_head_under_way_is_known() {
        let mut reader = Reader::default();
        assert!(reader.next(b"").is_ok() && !reader.is_in_head());
        assert!(reader.next(b"G").is_ok() && reader.is_in_head());
        let (step, _) = reader.next(b"GET / HTTP/1.0\r\n\r\n").expect("a head");
        assert!(matches!(step, Step::Head(_)) && !reader.is_in_head());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Bytes that look like HTTP give the same however they are cut.
        #[test]
        fn cuts_change_nothing(
            pieces in proptest::collection::vec(piece(), 0..12),
            cuts in proptest::collection::vec(1usize..40, 1..8),
        ) {
            let stream = pieces.concat();
            prop_assert_eq!(read(&stream, &cuts), read(&stream, &[stream.len().max(1)]));
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => prop::sample::select(vec![
                &b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"[..],
                b"GET / HTTP/1.0\r\n\r\n",
                b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n",
                b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"\r\n",
                b"4\r\n",
                b"body",
                b"\r\n0\r\n\r\n",
                b"0\r\nA: b\r\n\r\n",
                b"\n",
                b"GET ",
                b"/ HTTP/1.1\r\n",
                b"Host: x\r\n",
                b"Content-Length: 1\r\n",
            ]).prop_map(<[u8]>::to_vec),
            1 => proptest::collection::vec(any::<u8>(), 0..8),
        ]
    }
}
