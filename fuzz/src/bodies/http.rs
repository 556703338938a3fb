//! HTTP: requests out of a stream of bytes.

use lavina_codecs::http::limits::{FIELDS, HEAD};
use lavina_codecs::http::reader::{Reader, Step};
use lavina_codecs::http::request::Head;
use lavina_codecs::http::status::Fault;

/// Bytes of content that a body may have here.
const ROOM: u64 = 300;

/// A request: its head and its whole body; `None` for a body that is not complete.
type Request = (Head, Option<Vec<u8>>);

/// Any bytes as a stream: the cuts change nothing, and what was understood can be said without ambiguity and is
/// understood again as the same.
pub fn requests(data: &[u8]) {
    let whole = cut(data, data.len().max(1));
    assert_eq!(cut(data, 1), whole, "byte by byte");
    assert_eq!(cut(data, 7), whole, "in sevens");
    for (head, body) in whole.0 {
        head.target.segments().for_each(drop);
        head.target.parameters().for_each(drop);
        let _ = (head.bearer(), head.content_type(), head.accepts("text/html"), head.keeps_alive());
        let Some(body) = body else { continue };
        let plain = plainly(&head, &body);
        // The length that it says now may be one field, or a few bytes, too many.
        if head.headers.iter().count() >= FIELDS || plain.len() > HEAD {
            continue;
        }
        let (again, fault) = cut(&plain, plain.len());
        assert_eq!((again.len(), fault), (1, None), "{}", String::from_utf8_lossy(&plain));
        let (head_again, body_again) = &again[0];
        assert_eq!(
            (head.method, &head.target, head.version),
            (head_again.method, &head_again.target, head_again.version)
        );
        assert_eq!(body_again.as_ref(), Some(&body));
        assert_eq!(head.host(), head_again.host());
    }
}

/// The requests of a stream that arrives in chunks, and how it ended.
fn cut(data: &[u8], size: usize) -> (Vec<Request>, Option<Fault>) {
    let (mut reader, mut buffer, mut requests) = (Reader::default(), Vec::new(), Vec::<Request>::new());
    let mut body = Vec::new();
    for chunk in data.chunks(size) {
        buffer.extend_from_slice(chunk);
        loop {
            let (step, used) = match reader.next(&buffer) {
                Ok(step) => step,
                Err(fault) => return (requests, Some(fault)),
            };
            let waits = step == Step::Wait;
            match step {
                Step::Wait => {}
                Step::Head(head) => {
                    reader.allow(ROOM);
                    requests.push((*head, None));
                }
                Step::Data(data) => {
                    body.extend_from_slice(data);
                    assert!(body.len() as u64 <= ROOM, "no more content than allowed");
                }
                Step::End => requests.last_mut().expect("a head came").1 = Some(std::mem::take(&mut body)),
            }
            buffer.drain(..used);
            if waits {
                break;
            }
        }
    }
    (requests, None)
}

/// The request in the plainest form.
fn plainly(head: &Head, body: &[u8]) -> Vec<u8> {
    let mut out = format!("{} ", head.method.name()).into_bytes();
    if let Some(authority) = head.target.authority() {
        out.extend_from_slice(format!("http://{authority}").as_bytes());
    }
    out.extend_from_slice(head.path().as_bytes());
    if let Some(query) = head.target.query() {
        out.extend_from_slice(format!("?{query}").as_bytes());
    }
    out.extend_from_slice(format!(" {}\r\n", version(head)).as_bytes());
    for (name, value) in head.headers.iter() {
        if !["content-length", "transfer-encoding"].iter().any(|n| name.eq_ignore_ascii_case(n)) {
            out.extend_from_slice(format!("{name}: ").as_bytes());
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    out
}

fn version(head: &Head) -> &'static str {
    use lavina_codecs::http::request::Version;
    match head.version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    }
}
