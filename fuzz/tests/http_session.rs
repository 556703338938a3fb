//! HTTP connections through a whole worker with the memory store.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::config::Config;
use lavina_codecs::settings::{Protocol, Settings};
use lavina_core::drive::{Drive, Due, Input, Output};
use lavina_core::ids::ConnId;
use lavina_core::time::Mono;
use lavina_store::Reader;
use server::Server;
use std::sync::Arc;

fn open(s: &mut Server) -> ConnId {
    s.open_from(Protocol::Http, Some(([192, 0, 2, 1], 4096).into()))
}

fn pass(s: &mut Server, ms: u64) {
    s.now.mono = Mono(s.now.mono.0 + ms);
    s.worker.handle(s.now, Input::Tick);
    s.drain();
}

/// The status of each response in what was sent.
fn statuses(sent: &str) -> Vec<&str> {
    let code = |(at, _)| &sent[at + 9..at + 12];
    let is_number = |code: &&str| code.bytes().all(|b| b.is_ascii_digit());
    sent.match_indices("HTTP/1.1 ").map(code).filter(is_number).collect()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_page_says_what_this_is() {
    let mut s = Server::new();
    let c = open(&mut s);
    let got = s.send(c, GET);
    assert!(got.starts_with("HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 "), "{got}");
    assert!(got.contains("<h1>localhost</h1>") && got.contains("port 6697, with TLS"), "{got}");
    assert!(got.contains("Access-Control-Allow-Origin: *\r\n"), "{got}");
    let text = s.send(c, &GET.replace("\r\n\r\n", "\r\nAccept: text/plain\r\n\r\n"));
    assert!(text.contains("- IRC: server localhost, port 6697, with TLS.\n"), "{text}");
    assert!(text.contains("- XMPP in a browser: WebSocket ws://localhost/xmpp-websocket\n"), "{text}");
    let head = s.send(c, &GET.replace("GET", "HEAD"));
    let length =
        |r: &str| r.split_once("Content-Length: ").unwrap().1.split("\r\n").next().unwrap().to_owned();
    assert_eq!(length(&head), length(&got));
    assert!(head.ends_with("\r\n\r\n") && !head.contains("<h1>"), "{head}");
    assert!(s.closed.is_empty(), "the connection goes on");
}

#[test]
fn answers_keep_the_order_of_requests() {
    let mut s = Server::new();
    let c = open(&mut s);
    // The first waits for the store, the others do not.
    let got = s.send(c, &[HEALTH, GET, "GET /no HTTP/1.1\r\nHost: x\r\n\r\n", HEALTH].concat());
    assert_eq!(statuses(&got), ["200", "200", "404", "200"], "{got}");
    assert!(got.find("ok\n").unwrap() < got.find("<h1>").unwrap(), "{got}");
    // Many more at once than are served at once.
    let got = s.send(c, &HEALTH.repeat(100));
    assert_eq!(statuses(&got).len(), 100);
    // Byte by byte.
    let got: String = GET.bytes().map(|b| s.send(c, std::str::from_utf8(&[b]).unwrap())).collect();
    assert_eq!(statuses(&got), ["200"]);
}

#[test]
fn the_connection_ends_when_it_should() {
    let mut s = Server::new();
    for (request, close) in [
        (GET.to_owned(), false),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(), false),
        (HEALTH.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"), true),
    ] {
        let c = open(&mut s);
        let got = s.send(c, &[request.as_str(), GET].concat());
        assert_eq!(statuses(&got).len(), if close { 1 } else { 2 }, "{request} {got}");
        assert_eq!(got.contains("Connection: close"), close, "{got}");
        assert_eq!(s.closed.contains_key(&c), close, "{request}");
    }
}

#[test]
fn what_is_no_request_is_answered_in_its_turn_and_ends_the_connection() {
    let mut s = Server::new();
    for (bad, status) in [
        ("GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
        ("GET / HTTP/2.0\r\n\r\n", "505"),
        ("BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "501"),
        ("GET /no HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n", "404"),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n", "413"),
        ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n", "413"),
        ("GET / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", "417"),
    ] {
        let c = open(&mut s);
        let got = s.send(c, &[HEALTH, bad, GET].concat());
        let goes_on = status == "417";
        let expected: &[&str] = if goes_on { &["200", status, "200"] } else { &["200", status] };
        assert_eq!(statuses(&got), expected, "{bad} {got}");
        assert_eq!(s.closed.contains_key(&c), !goes_on, "{bad}");
    }
}

#[test]
fn a_body_is_read_and_announced() {
    let mut s = Server::new();
    let c = open(&mut s);
    let got = s.send(c, "GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(got, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(s.send(c, "ab"), "");
    assert_eq!(statuses(&s.send(c, &format!("c{GET}"))), ["200", "200"]);
}

#[test]
fn pages_from_anywhere_may_ask() {
    let mut s = Server::new();
    let c = open(&mut s);
    let ask = "OPTIONS /health HTTP/1.1\r\nHost: x\r\nOrigin: https://web.example\r\n\
               Access-Control-Request-Method: GET\r\n\r\n";
    let got = s.send(c, ask);
    assert!(got.starts_with("HTTP/1.1 204 "), "{got}");
    assert!(got.contains("Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"), "{got}");
    assert!(got.contains("Access-Control-Allow-Headers: Authorization, "), "{got}");
    assert!(s.send(c, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 204 "));
    assert!(s.send(c, "OPTIONS /no HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 404 "));
    let got = s.send(c, &HEALTH.replace("GET", "DELETE"));
    assert!(got.starts_with("HTTP/1.1 405 ") && got.contains("Allow: GET, HEAD, OPTIONS\r\n"), "{got}");
}

#[test]
fn slow_and_silent_connections_end() {
    let mut s = Server::new();
    let (idle, head, body, late) = (open(&mut s), open(&mut s), open(&mut s), open(&mut s));
    s.send(head, "GET / HTT");
    s.send(body, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\nab");
    s.send(late, GET);
    pass(&mut s, 21_000);
    for slow in [head, body] {
        let got = s.read(slow);
        assert_eq!(statuses(&got), ["408"], "{got}");
        assert!(s.closed.contains_key(&slow));
    }
    assert!(!s.closed.contains_key(&idle), "nobody must log in over HTTP");
    pass(&mut s, 80_000);
    s.send(late, GET);
    pass(&mut s, 20_000);
    assert_eq!((s.closed.contains_key(&idle), s.read(idle).as_str()), (true, ""));
    assert!(!s.closed.contains_key(&late), "each request begins the wait anew");
    pass(&mut s, 121_000);
    assert!(s.closed.contains_key(&late));
}

#[test]
fn a_stopping_server_says_so() {
    let mut s = Server::new();
    let c = open(&mut s);
    s.send(c, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n");
    s.worker.handle(s.now, Input::Drain);
    s.drain();
    let got = s.read(c);
    assert!(got.starts_with("HTTP/1.1 503 ") && got.contains("Connection: close"), "{got}");
    assert!(s.closed.contains_key(&c));
}

#[test]
fn a_large_response_never_waits_in_memory_as_a_whole() {
    let mut s = Server::new();
    let mut config = Config::default();
    let listen = config.listen[1].clone();
    config.listen = vec![listen; 20_000];
    let settings = Arc::new(Settings::new(&config, 4, [7; 32]));
    s.worker.handle(s.now, Input::Settings(settings));
    let c = open(&mut s);
    s.worker.handle(s.now, Input::Received(c, [GET, HEALTH].concat().as_bytes()));
    let (mut got, mut most) = (Vec::new(), 0);
    loop {
        while let Some(output) = s.worker.poll_output() {
            if let Output::Fetch(asked) = output {
                let page = s.store.page(&asked.read);
                s.worker.handle(s.now, Input::Fetched(asked.id, page));
            }
        }
        let bytes = s.worker.transmit(c).to_vec();
        most = most.max(bytes.len());
        let part = &bytes[..bytes.len().min(10_000)];
        got.extend_from_slice(part);
        s.worker.handle(s.now, Input::Sent(c, part.len()));
        match s.worker.poll_deadline() {
            Due::Now => s.worker.handle(s.now, Input::Tick),
            _ if part.is_empty() => break,
            _ => {}
        }
    }
    let text = String::from_utf8(got).unwrap();
    assert_eq!(statuses(&text), ["200", "200"]);
    assert!(text.matches("<li>").count() > 20_000 && text.contains("</ul>"));
    assert!(text.ends_with("ok\n"), "the next answer follows");
    assert!(text.len() > 1_000_000 && most < 140_000, "{most} of {}", text.len());
    // Nobody takes it: the connection ends.
    let c = open(&mut s);
    s.worker.handle(s.now, Input::Received(c, GET.as_bytes()));
    while s.worker.poll_output().is_some() {}
    s.now.mono = Mono(s.now.mono.0 + 61_000);
    s.worker.handle(s.now, Input::Tick);
    let closed = std::iter::from_fn(|| s.worker.poll_output())
        .any(|o| matches!(o, Output::Close(conn, _) if conn == c));
    assert!(closed);
}

#[test]
fn a_proxy_on_this_machine_brings_many() {
    let mut s = Server::new();
    for (address, refused) in [([127, 0, 0, 1], false), ([192, 0, 2, 7], true)] {
        let open: Vec<ConnId> =
            (0..70).map(|port| s.open_from(Protocol::Http, Some((address, 1024 + port).into()))).collect();
        assert_eq!(open.iter().any(|c| s.closed.contains_key(c)), refused, "{address:?}");
    }
}

#[test]
fn a_request_that_has_begun_is_read_to_its_end_whatever_waits() {
    let mut s = Server::with(|config| config.limits.values.window = 1);
    let c = open(&mut s);
    let request = "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{";
    assert_eq!(s.send(c, request), "");
    let got = s.send(c, "}");
    assert_eq!(statuses(&got), ["400"], "{got}");
}
