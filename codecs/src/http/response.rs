//! Responses, and how they are written (RFC 9112 §4 and §6).

use super::date::imf_fixdate;
use super::request::{Head, Method, Version};
use super::status::Status;
use lavina_core::time::UnixMillis;
use std::borrow::Cow;
use std::io::Write as _;

/// A response: a value that says nothing of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// How it went.
    pub status: Status,
    /// Header fields. `Date`, `Content-Length`, `Transfer-Encoding` and `Connection` are made when it is written.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body; dropped for a status that has none.
    pub body: Vec<u8>,
}

impl Response {
    /// A response without body.
    #[must_use]
    pub fn new(status: Status) -> Response {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A response with a body of that media type.
    #[must_use]
    pub fn with_body(status: Status, media_type: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response { status, headers: Vec::new(), body: body.into() }.header("Content-Type", media_type)
    }

    /// A response in plain text: the status and a sentence for people.
    #[must_use]
    pub fn text(status: Status, why: &str) -> Response {
        Response::with_body(
            status,
            "text/plain; charset=utf-8",
            format!("{} {}: {why}\n", status.0, status.phrase()),
        )
    }

    /// With one more header field.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Response {
        self.headers.push((name, value.into()));
        self
    }
}

/// How a response to a request must be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// The version of the request.
    pub version: Version,
    /// The answer to HEAD: no body, but the fields as if there were one.
    pub head_only: bool,
    /// The connection ends after it.
    pub close: bool,
}

impl Manner {
    /// As it fits a request; the connection goes on if the client lets it.
    #[must_use]
    pub fn of(head: &Head) -> Manner {
        Manner { version: head.version, head_only: head.method == Method::Head, close: !head.keeps_alive() }
    }

    /// For bytes that were no request: the connection ends.
    pub const FAULT: Manner = Manner { version: Version::Http11, head_only: false, close: true };
}

/// Appends a whole response.
pub fn write(response: &Response, manner: Manner, now: UnixMillis, out: &mut Vec<u8>) {
    write_head(response, manner, now, out);
    if has_body(response, manner) {
        out.extend_from_slice(&response.body);
    }
}

/// Appends the head of a response; if it [has a body](has_body), that must follow.
pub fn write_head(response: &Response, manner: Manner, now: UnixMillis, out: &mut Vec<u8>) {
    head(response, manner, now, out);
    if !response.status.is_bodiless() {
        let _ = write!(out, "Content-Length: {}\r\n", response.body.len());
    }
    out.extend_from_slice(b"\r\n");
}

/// True: the body is sent.
#[must_use]
pub fn has_body(response: &Response, manner: Manner) -> bool {
    !response.status.is_bodiless() && !manner.head_only && !response.body.is_empty()
}

/// Appends the head of a response whose body of that length follows by other means; its own body is left out.
pub fn begin(response: &Response, length: u64, manner: Manner, now: UnixMillis, out: &mut Vec<u8>) {
    head(response, manner, now, out);
    let _ = write!(out, "Content-Length: {length}\r\n\r\n");
}

/// Appends the head of a response whose length is not known; its own body is left out. What follows is written with
/// [`piece`] and [`end`]. HTTP/1.0 knows no chunks: there the end of the connection ends the body, so `manner` must close.
pub fn start(response: &Response, manner: Manner, now: UnixMillis, out: &mut Vec<u8>) {
    debug_assert!(manner.version > Version::Http10 || manner.close, "nothing would end the body");
    head(response, manner, now, out);
    if manner.version > Version::Http10 {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a piece of the body of a response begun with [`start`].
pub fn piece(data: &[u8], manner: Manner, out: &mut Vec<u8>) {
    if data.is_empty() || manner.head_only {
        return; // an empty chunk would be the last one
    }
    if manner.version > Version::Http10 {
        let _ = write!(out, "{:x}\r\n", data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    } else {
        out.extend_from_slice(data);
    }
}

/// Appends the end of the body of a response begun with [`start`].
pub fn end(manner: Manner, out: &mut Vec<u8>) {
    if manner.version > Version::Http10 && !manner.head_only {
        out.extend_from_slice(b"0\r\n\r\n");
    }
}

/// 100: the client may send the body (RFC 9110 §15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The status line and all fields but those of the body's length.
fn head(response: &Response, manner: Manner, now: UnixMillis, out: &mut Vec<u8>) {
    // We speak 1.1 whatever the request's version was (RFC 9110 §6.2), but use only what it knows.
    let Status(code) = response.status;
    let _ = write!(out, "HTTP/1.1 {code} {}\r\nDate: {}\r\n", response.status.phrase(), imf_fixdate(now));
    for (name, value) in &response.headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        // Nothing may break out of its line.
        out.extend(value.bytes().map(|b| if b.is_ascii_control() { b' ' } else { b }));
        out.extend_from_slice(b"\r\n");
    }
    if manner.close {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if manner.version == Version::Http10 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(784_111_777_000);
    const PLAIN: Manner = Manner { version: Version::Http11, head_only: false, close: false };

    fn written(response: &Response, manner: Manner) -> String {
        let mut out = Vec::new();
        write(response, manner, NOW, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_response_says_its_length_and_the_fate_of_the_connection() {
        let response = Response::with_body(Status::OK, "text/plain", "hi").header("X", "a\r\nb");
        let begin = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\nX: a  b\r\n";
        assert_eq!(written(&response, PLAIN), format!("{begin}Content-Length: 2\r\n\r\nhi"));
        assert_eq!(
            written(&response, Manner { head_only: true, close: true, ..PLAIN }),
            format!("{begin}Connection: close\r\nContent-Length: 2\r\n\r\n")
        );
        assert_eq!(
            written(&response, Manner { version: Version::Http10, ..PLAIN }),
            format!("{begin}Connection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
        );
    }

    #[test]
    fn a_bodiless_status_has_neither_body_nor_length() {
        let response = Response { body: b"no".to_vec(), ..Response::new(Status::NO_CONTENT) };
        let text = written(&response, PLAIN);
        assert!(text.ends_with("GMT\r\n\r\n") && !text.contains("Content-Length"), "{text}");
    }

    #[test]
    fn pieces_become_chunks_where_chunks_are_known() {
        let all = |manner: Manner| {
            let mut out = Vec::new();
            start(&Response::new(Status::OK), manner, NOW, &mut out);
            for data in [&b"hello, world"[..], b"", b"!"] {
                piece(data, manner, &mut out);
            }
            end(manner, &mut out);
            String::from_utf8(out).expect("text")
        };
        let chunked = "Transfer-Encoding: chunked\r\n\r\nc\r\nhello, world\r\n1\r\n!\r\n0\r\n\r\n";
        assert!(all(PLAIN).ends_with(chunked));
        assert!(all(Manner { head_only: true, ..PLAIN }).ends_with("chunked\r\n\r\n"));
        let old = all(Manner { version: Version::Http10, close: true, ..PLAIN });
        assert!(old.ends_with("Connection: close\r\n\r\nhello, world!"), "{old}");
    }
}
