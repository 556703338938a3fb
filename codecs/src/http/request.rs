//! The head of a request: request line and header fields, and what follows from them for its body and its connection.

use super::body::Framing;
use super::headers::Headers;
use super::limits::{FIELDS, HEAD};
use super::status::{Fault, Status};
use super::target::Target;

/// What is to be done (RFC 9110 §9, RFC 5789). CONNECT and TRACE are not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: GET without the body of the answer.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// PATCH.
    Patch,
    /// OPTIONS.
    Options,
}

/// All methods by name; names are case-sensitive (RFC 9110 §9.1).
const METHODS: [(&str, Method); 7] = [
    ("GET", Method::Get),
    ("HEAD", Method::Head),
    ("POST", Method::Post),
    ("PUT", Method::Put),
    ("DELETE", Method::Delete),
    ("PATCH", Method::Patch),
    ("OPTIONS", Method::Options),
];

impl Method {
    /// The method of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Method> {
        METHODS.iter().find(|(n, _)| *n == name).map(|(_, method)| *method)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        METHODS.iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }
}

/// The version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What is to be done.
    pub method: Method,
    /// To what.
    pub target: Target,
    /// The version it was sent in; the answer's features depend on it.
    pub version: Version,
    /// The header fields.
    pub headers: Headers,
    /// How its body is delimited.
    pub framing: Framing,
}

impl Head {
    /// Reads a complete head, the empty line included, whose lines all end with CRLF.
    ///
    /// # Errors
    /// 400 for a form that no honest client sends or that two programs could read differently (RFC 9112 §11.2), 431 for
    /// too many fields, 501 for methods and transfer codings that are not known, 505 for other versions.
    pub fn parse(bytes: &[u8]) -> Result<Head, Fault> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut raw = httparse::Request::new(&mut fields);
        match raw.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(Fault::bad("the head is cut off")),
            Err(error) => return Err(malformed(error)),
        }
        let version = if raw.version == Some(1) { Version::Http11 } else { Version::Http10 };
        let unknown = Fault::new(Status::NOT_IMPLEMENTED, "the method is not known");
        let method = raw.method.and_then(Method::from_name).ok_or(unknown)?;
        let target = Target::parse(raw.path.unwrap_or_default())?;
        if target.path() == "*" && method != Method::Options {
            return Err(Fault::bad("only OPTIONS has the target *"));
        }
        let headers = Headers::copy(raw.headers.iter().map(|field| (field.name, field.value)));
        host(&headers, &target, version)?;
        let framing = Framing::of(&headers, version)?;
        Ok(Head { method, target, version, headers, framing })
    }

    /// The path as it came, percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The value of a header field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The authority asked for: the target's, else `Host`.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.target.authority().or_else(|| self.header("host"))
    }

    /// The token of `Authorization: Bearer` (RFC 6750 §2.1).
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        let token = token.trim_matches(' ');
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    }

    /// The media type of the body, in lower case, without parameters.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// True: an answer of that media type (`text/html`) is among those asked for, or nothing was said. Weights count
    /// only when they are zero.
    #[must_use]
    pub fn accepts(&self, media_type: &str) -> bool {
        let mut said = false;
        let wild = media_type.split_once('/').map_or_else(String::new, |(kind, _)| format!("{kind}/*"));
        let matched = self.headers.list("accept").any(|element| {
            said = true;
            let mut parts = element.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default();
            let refused = parts.any(|p| p.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0f32)));
            !refused && [media_type, &wild, "*/*"].iter().any(|m| m.eq_ignore_ascii_case(range))
        });
        matched || !said
    }

    /// True: the connection may carry another request after this one (RFC 9112 §9.3).
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        match self.version {
            _ if self.headers.has("connection", "close") => false,
            Version::Http11 => true,
            Version::Http10 => self.headers.has("connection", "keep-alive"),
        }
    }

    /// True: the client waits for 100 before it sends the body (RFC 9110 §10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.version == Version::Http11
            && self.framing != Framing::NONE
            && self.headers.has("expect", "100-continue")
    }

    /// True: it expects something that is not known (417, RFC 9110 §10.1.1).
    #[must_use]
    pub fn expects_more(&self) -> bool {
        self.version == Version::Http11
            && self.headers.list("expect").any(|e| !e.eq_ignore_ascii_case("100-continue"))
    }
}

fn malformed(error: httparse::Error) -> Fault {
    use httparse::Error;
    match error {
        Error::HeaderName => Fault::bad("a header field's name is malformed"),
        Error::HeaderValue => Fault::bad("a header field's value is malformed"),
        Error::NewLine => Fault::bad("a line does not end with CRLF"),
        Error::Token => Fault::bad("the request line is malformed"),
        Error::TooManyHeaders => Fault::new(Status::HEADER_FIELDS_TOO_LARGE, "too many header fields"),
        Error::Version => Fault::new(Status::VERSION_NOT_SUPPORTED, "only HTTP/1.1 and HTTP/1.0 are spoken"),
        Error::Status => Fault::bad("not a request"),
    }
}

/// `Host` is there once in 1.1, and well-formed wherever it is (RFC 9112 §3.2).
fn host(headers: &Headers, target: &Target, version: Version) -> Result<(), Fault> {
    let mut hosts = headers.all("host");
    let (first, more) = (hosts.next(), hosts.next().is_some());
    if more {
        return Err(Fault::bad("there are several Host fields"));
    }
    if first.is_none() && version == Version::Http11 {
        return Err(Fault::bad("there is no Host field"));
    }
    let valid =
        |host: &[u8]| host.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(b));
    let authority = target.authority().map(str::as_bytes);
    if first.into_iter().chain(authority).all(valid) {
        Ok(())
    } else {
        Err(Fault::bad("the host is malformed"))
    }
}

/// How far the lines of a head were looked at, so that a slow sender costs no more than a fast one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// Bytes looked at.
    at: usize,
    /// Where the line under way begins.
    line: usize,
}

impl Scan {
    /// True: something of a head has come.
    pub(super) fn has_begun(&self) -> bool {
        self.at > 0
    }

    /// Looks for the end of the head that begins `bytes`, which are those of the last call and perhaps more.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        if bytes.first().is_some_and(|b| !b.is_ascii_uppercase() && !is_token(*b)) {
            return Err(Fault::bad("this is not HTTP"));
        }
        let (bytes, full) = (&bytes[..bytes.len().min(HEAD)], bytes.len() >= HEAD);
        while let Some(found) = memchr::memchr(b'\n', &bytes[self.at..]) {
            let lf = self.at + found;
            self.long(lf)?;
            let line = &bytes[self.line..lf];
            let Some(content) = line.strip_suffix(b"\r") else {
                return Err(Fault::bad("a line ends without CR"));
            };
            if memchr::memchr(b'\r', content).is_some() {
                return Err(Fault::bad("there is a CR inside a line"));
            }
            (self.at, self.line) = (lf + 1, lf + 1);
            if content.is_empty() {
                return Ok(Some(lf + 1));
            }
        }
        self.long(bytes.len())?;
        self.at = bytes.len();
        if full {
            return Err(Fault::new(Status::HEADER_FIELDS_TOO_LARGE, "the head of the request is too long"));
        }
        Ok(None)
    }

    /// The first line must end in time.
    fn long(&self, end: usize) -> Result<(), Fault> {
        if self.line == 0 && end > super::limits::REQUEST_LINE {
            return Err(Fault::new(Status::URI_TOO_LONG, "the request line is too long"));
        }
        Ok(())
    }
}

/// A character of a token (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::parse(text.as_bytes()).expect(text)
    }

    fn status(text: &str) -> u16 {
        Head::parse(text.as_bytes()).expect_err(text).status.0
    }

    #[test]
    fn a_head_says_what_is_wanted() {
        let head = head(
            "PUT /a/b?c=d HTTP/1.1\r\nHost: example.org:8448\r\nAuthorization: bearer  t0ken \r\n\
             Content-Type: Application/JSON; charset=utf-8\r\nContent-Length: 12\r\nExpect: 100-Continue\r\n\
             Accept: text/html;q=0.0, application/*\r\n\r\n",
        );
        assert_eq!((head.method, head.version, head.path()), (Method::Put, Version::Http11, "/a/b"));
        assert_eq!((head.host(), head.bearer()), (Some("example.org:8448"), Some("t0ken")));
        assert_eq!(head.content_type().as_deref(), Some("application/json"));
        assert_eq!(head.framing, Framing::Length(12));
        assert!(head.expects_continue() && !head.expects_more() && head.keeps_alive());
        assert!(
            head.accepts("application/json") && !head.accepts("text/html") && !head.accepts("text/plain")
        );
    }

    #[test]
    fn keeping_alive_depends_on_the_version() {
        let with = |version: &str, connection: &str| {
            head(&format!("GET / HTTP/{version}\r\nHost: x\r\n{connection}\r\n")).keeps_alive()
        };
        assert!(with("1.1", "") && !with("1.0", ""));
        assert!(with("1.0", "Connection: Keep-Alive\r\n"));
        assert!(!with("1.1", "Connection: upgrade, Close\r\n"));
        assert!(!with("1.0", "Connection: keep-alive\r\nConnection: close\r\n"));
    }

    #[test]
    fn an_absolute_target_wins_over_host() {
        let head = head("GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\n\r\n");
        assert_eq!((head.host(), head.path()), (Some("a.example"), "/x"));
        assert_eq!(self::head("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n").path(), "*");
    }

    #[test]
    fn forms_that_could_be_read_in_two_ways_are_refused() {
        let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let chunked = "Transfer-Encoding: chunked\r\n";
        for (fields, expected) in [
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Content-Length: 1\r\nContent-Length: 2\r\n", 400),
            ("Content-Length: 1, 2\r\n", 400),
            ("Content-Length: +1\r\n", 400),
            ("Content-Length: -1\r\n", 400),
            ("Content-Length: 0x1\r\n", 400),
            ("Content-Length:\r\n", 400),
            ("Content-Length: 1 1\r\n", 400),
            ("Content-Length: 99999999999999999999\r\n", 400),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: identity\r\n", 501),
            ("Transfer-Encoding: chunked, gzip\r\n", 400),
            ("Transfer-Encoding: chunked, chunked\r\n", 400),
            ("Transfer-Encoding: \u{b}chunked\r\n", 400),
            ("Transfer-Encoding:\r\n", 400),
            ("X: a\r\n b\r\n", 400),
            ("X : a\r\n", 400),
            (" X: a\r\n", 400),
            ("X\r\n", 400),
            (": a\r\n", 400),
            ("X: a\0b\r\n", 400),
            ("Host: x\r\n", 400),
            ("Host: y\r\n", 400),
        ] {
            assert_eq!(status(&get(fields)), expected, "{fields:?}");
        }
        assert_eq!(head(&get("Content-Length: 7\r\nContent-Length: 7, 7\r\n")).framing, Framing::Length(7));
        assert_eq!(head(&get(chunked)).framing, Framing::Chunked);
        assert_eq!(status(&format!("POST / HTTP/1.0\r\n{chunked}\r\n")), 400);
    }

    #[test]
    fn other_requests_are_refused_with_their_status() {
        for (line, expected) in [
            ("GET / HTTP/1.1\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: x\r\n", 505),
            ("GET / HTTP/0.9\r\nHost: x\r\n", 505),
            ("GET /\r\nHost: x\r\n", 400),
            ("get / HTTP/1.1\r\nHost: x\r\n", 501),
            ("TRACE / HTTP/1.1\r\nHost: x\r\n", 501),
            ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n", 501),
            ("GET * HTTP/1.1\r\nHost: x\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: x\r\n", 400),
            ("GET / HTTP/1.1 \r\nHost: x\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a b\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n", 400),
            ("GET /%zz HTTP/1.1\r\nHost: x\r\n", 400),
        ] {
            let status = status(&format!("{line}\r\n"));
            assert_eq!(status, expected, "{line:?}");
        }
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(FIELDS));
        assert_eq!(status(&many), 431);
        assert!(Head::parse(b"GET / HTTP/1.0\r\n\r\n").is_ok(), "1.0 knows no Host");
    }
}
