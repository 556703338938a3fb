//! Files: a slot asked for over XMPP, the file put and got over HTTP, through a whole worker with memory stores.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::settings::Protocol;
use lavina_core::ids::ConnId;
use lavina_store::blobs::Mishap;
use server::Server;

const SLOT: &str = "urn:xmpp:http:upload:0";

/// A server with somebody on XMPP.
fn start() -> (Server, ConnId) {
    let mut s = Server::new();
    let c = s.online("alice");
    (s, c)
}

fn http(s: &mut Server) -> ConnId {
    s.open_from(Protocol::Http, Some(([192, 0, 2, 1], 4096).into()))
}

fn ask(s: &mut Server, c: ConnId, name: &str, size: u64, more: &str) -> String {
    s.send(
        c,
        &format!(
            "<iq type='get' id='u' to='upload.localhost'><request xmlns='{SLOT}' filename='{name}' size='{size}' {more}/></iq>"
        ),
    )
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap().0
}

/// The path and the permit of a slot.
fn slot(s: &mut Server, c: ConnId, name: &str, size: u64) -> (String, String) {
    let got = ask(s, c, name, size, "content-type='text/plain'");
    let put = between(&got, "<put url='", "'");
    assert_eq!(put, between(&got, "<get url='", "'"));
    let path = put.strip_prefix("https://localhost:8443").unwrap();
    (path.to_owned(), between(&got, "Bearer ", "<").to_owned())
}

fn put(s: &mut Server, (path, permit): &(String, String), body: &str, more: &str) -> String {
    let c = http(s);
    let length = body.len();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {permit}\r\nContent-Length: {length}\r\n{more}\r\n"
    );
    s.send(c, &[head.as_str(), body].concat())
}

fn get(s: &mut Server, path: &str, more: &str) -> String {
    let c = http(s);
    s.send(c, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n"))
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_else(|| panic!("no answer: {answer}"))
}

#[test]
fn a_file_goes_in_once_and_out_to_everybody() {
    let (mut s, alice) = start();
    let place = slot(&mut s, alice, "a b.txt", 11);
    assert_eq!(status(&get(&mut s, &place.0, "")), "404");
    let answer = put(&mut s, &place, "hello world", "");
    assert_eq!(status(&answer), "201", "{answer}");
    assert_eq!(status(&put(&mut s, &place, "HELLO WORLD", "")), "409");
    let got = get(&mut s, &place.0, "");
    assert!(got.ends_with("\r\n\r\nhello world"), "{got}");
    for line in [
        "Content-Type: text/plain\r\n",
        "Content-Length: 11\r\n",
        "Content-Disposition: inline; filename=\"a b.txt\"\r\n",
        "X-Content-Type-Options: nosniff\r\n",
        "Content-Security-Policy: sandbox;",
        "Access-Control-Allow-Origin: *\r\n",
        "ETag: \"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9\"\r\n",
    ] {
        assert!(got.contains(line), "{line} {got}");
    }
    let c = http(&mut s);
    let head = s.send(c, &format!("HEAD {} HTTP/1.1\r\nHost: x\r\n\r\n", place.0));
    assert!(head.contains("Content-Length: 11\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let part = get(&mut s, &place.0, "Range: bytes=6-\r\n");
    assert!(part.contains("Content-Range: bytes 6-10/11\r\n") && part.ends_with("\r\n\r\nworld"), "{part}");
    let none = get(&mut s, &place.0, "Range: bytes=11-\r\n");
    assert!(status(&none) == "416" && none.contains("Content-Range: bytes */11\r\n"), "{none}");
    let tag = between(&got, "ETag: ", "\r\n").to_owned();
    assert_eq!(status(&get(&mut s, &place.0, &format!("If-None-Match: {tag}\r\n"))), "304");
    // The same content again is kept once.
    let again = slot(&mut s, alice, "other.txt", 11);
    assert_eq!(status(&put(&mut s, &again, "hello world", "")), "201");
    assert_eq!((s.media.kept(), s.media.open()), (1, 0));
}

#[test]
fn many_requests_on_one_connection_keep_their_order() {
    let (mut s, c) = start();
    let big = "x".repeat(700_000);
    let (one, two) = (slot(&mut s, c, "one", big.len() as u64), slot(&mut s, c, "two", 3));
    let h = http(&mut s);
    let put = |(path, permit): &(String, String), body: &str, chunk: &str| {
        let length = body.len();
        format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {permit}\r\n{chunk}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let all = [put(&one, &big, ""), put(&two, "two", ""), get(&one.0), get(&two.0), get("/health")].concat();
    // In pieces, as a network would bring them.
    let got: String =
        all.as_bytes().chunks(50_000).map(|b| s.send(h, std::str::from_utf8(b).unwrap())).collect();
    let order: Vec<usize> =
        [" 201 ", &big[..700_000], "\r\n\r\ntwo", "ok\n"].iter().map(|w| got.find(w).unwrap()).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(got.matches("HTTP/1.1 20").count(), 5);
}

#[test]
fn what_is_not_permitted_is_not_read() {
    let (mut s, c) = start();
    let place = slot(&mut s, c, "a.txt", 5);
    let (path, permit) = place.clone();
    for (bad, body, code) in [
        ((path.clone(), "wrong".to_owned()), "hello", "403"),
        ((path.clone(), permit.clone()), "hell", "403"),
        ((path.replace("a.txt", "b.txt"), permit.clone()), "hello", "403"),
        (("/file/x/a.txt".to_owned(), permit.clone()), "hello", "404"),
    ] {
        assert_eq!(status(&put(&mut s, &bad, body, "")), code, "{bad:?}");
    }
    let h = http(&mut s);
    let chunked = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {permit}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    assert_eq!(status(&s.send(h, &chunked)), "411");
    assert!(s.closed.contains_key(&h), "what follows cannot be told from the body");
    // A client that waits is told to go on only when it may.
    let h = http(&mut s);
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {permit}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    );
    assert_eq!(s.send(h, &head), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(status(&s.send(h, "hello")), "201");
    // Too late.
    let late = slot(&mut s, c, "late.txt", 5);
    s.now.wall.0 += 10 * 60 * 1_000;
    assert_eq!(status(&put(&mut s, &late, "hello", "")), "403");
}

#[test]
fn a_disk_that_fails_is_told_and_nothing_is_left() {
    let (mut s, c) = start();
    let place = slot(&mut s, c, "a.txt", 5);
    for (mishap, code) in [(Mishap::Full, "507"), (Mishap::Broken, "503")] {
        s.media.mishap = Some(mishap);
        assert_eq!(status(&put(&mut s, &place, "hello", "")), code);
    }
    // Half an upload, and the connection is gone.
    let h = http(&mut s);
    let (path, permit) = &place;
    s.send(
        h,
        &format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {permit}\r\nContent-Length: 5\r\n\r\nhel"
        ),
    );
    assert_eq!(s.media.open(), 1);
    s.hang_up(h);
    assert_eq!((s.media.open(), s.media.kept()), (0, 0));
    assert_eq!(status(&put(&mut s, &place, "hello", "")), "201");
    s.media.mishap = Some(Mishap::Broken);
    assert_eq!(status(&get(&mut s, path, "")), "503");
}

#[test]
fn the_service_says_what_it_takes() {
    let (mut s, c) = start();
    let items = s.send(
        c,
        "<iq type='get' id='i' to='localhost'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
    );
    assert!(items.contains("jid='upload.localhost'"), "{items}");
    let info = s.send(c, "<iq type='get' id='i' to='upload.localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>");
    assert!(info.contains("category='store' type='file'"), "{info}");
    assert!(info.contains("<field var='max-file-size' type='text-single'><value>52428800</value>"), "{info}");
    let big = ask(&mut s, c, "a", 52_428_801, "");
    assert!(
        big.contains("<not-acceptable") && big.contains("<max-file-size>52428800</max-file-size>"),
        "{big}"
    );
    for (name, size) in [("", "1"), ("a", ""), ("a", "-1"), (&*"x".repeat(256), "1")] {
        let got = s.send(
            c,
            &format!("<iq type='get' id='u' to='upload.localhost'><request xmlns='{SLOT}' filename='{name}' size='{size}'/></iq>"),
        );
        assert!(got.contains("<bad-request"), "{name} {size} {got}");
    }
}
