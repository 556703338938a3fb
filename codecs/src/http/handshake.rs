//! The opening of a WebSocket (RFC 6455 §4.2).

use super::request::{Head, Method, Version};
use super::response::Response;
use super::status::Status;
use data_encoding::BASE64;
use sha1::{Digest as _, Sha1};

/// What is appended to the client's key (§1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// True: the request asks for a WebSocket, well or badly.
#[must_use]
pub fn is_wanted(head: &Head) -> bool {
    head.headers.has("upgrade", "websocket")
}

/// The subprotocols that the client offers, what it likes best first.
pub fn offered(head: &Head) -> impl Iterator<Item = &str> {
    head.headers.list("sec-websocket-protocol")
}

/// Checks a request and makes the answer that opens the WebSocket; `subprotocol` is the one agreed on.
///
/// # Errors
/// The response that says what is wrong with the request.
pub fn accept(head: &Head, subprotocol: Option<&'static str>) -> Result<Response, Response> {
    let bad = |why| Err(Response::text(Status::BAD_REQUEST, why));
    if head.method != Method::Get || head.version < Version::Http11 {
        return bad("a WebSocket is opened with GET and HTTP/1.1");
    }
    if head.framing != super::body::Framing::NONE {
        return bad("a WebSocket is opened without a body");
    }
    if !head.headers.has("connection", "upgrade") {
        return bad("the request has no \"Connection: Upgrade\"; a proxy in between may have dropped it");
    }
    if head.header("sec-websocket-version") != Some("13") {
        let response = Response::text(Status::UPGRADE_REQUIRED, "only version 13 of WebSocket is spoken");
        return Err(response.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13"));
    }
    let mut keys = head.headers.all("sec-websocket-key");
    let key = match (keys.next(), keys.next()) {
        (Some(key), None) if BASE64.decode(key).is_ok_and(|nonce| nonce.len() == 16) => key,
        _ => return bad("Sec-WebSocket-Key is not 16 bytes in base64"),
    };
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    let response = Response::new(Status::SWITCHING_PROTOCOLS)
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Accept", BASE64.encode(&hash.finalize()));
    Ok(match subprotocol {
        Some(name) => response.header("Sec-WebSocket-Protocol", name),
        None => response,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(line: &str, fields: &str) -> Head {
        let text = format!("{line}\r\nHost: x\r\nUpgrade: WebSocket\r\n{fields}\r\n");
        Head::parse(text.as_bytes()).expect("a head")
    }

    const GOOD: &str = "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: a, b\r\n";

    #[test]
    fn the_example_of_the_specification() {
        // RFC 6455 §1.3.
        let head = head("GET /chat HTTP/1.1", GOOD);
        assert!(is_wanted(&head));
        assert_eq!(offered(&head).collect::<Vec<_>>(), ["a", "b"]);
        let response = accept(&head, Some("b")).expect("it opens");
        assert_eq!(response.status, Status::SWITCHING_PROTOCOLS);
        let expected = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("Sec-WebSocket-Protocol", "b"),
        ];
        assert_eq!(response.headers, expected.map(|(name, value)| (name, value.into())));
    }

    #[test]
    fn other_requests_are_told_why_not() {
        let without = |field: &str| {
            let kept: Vec<&str> = GOOD.split_inclusive("\r\n").filter(|f| !f.starts_with(field)).collect();
            kept.concat()
        };
        for (line, fields, status) in [
            ("POST / HTTP/1.1", GOOD.to_owned(), 400),
            ("GET / HTTP/1.0", GOOD.to_owned(), 400),
            ("GET / HTTP/1.1", without("Connection"), 400),
            ("GET / HTTP/1.1", without("Sec-WebSocket-Key"), 400),
            ("GET / HTTP/1.1", without("Sec-WebSocket-Version"), 426),
            ("GET / HTTP/1.1", GOOD.replace("13", "8"), 426),
            ("GET / HTTP/1.1", GOOD.replace("dGhl", "dGh!"), 400),
            ("GET / HTTP/1.1", GOOD.replace("dGhlIHNh", ""), 400),
            ("GET / HTTP/1.1", format!("{GOOD}Content-Length: 1\r\n"), 400),
        ] {
            let refused = accept(&head(line, &fields), None).expect_err(&fields);
            assert_eq!(refused.status.0, status, "{line} {fields}");
        }
    }
}
