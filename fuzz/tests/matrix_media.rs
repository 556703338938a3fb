//! The content repository of Matrix, through a whole worker with memory stores.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::settings::Protocol;
use lavina_core::drive::{Drive, Input};
use lavina_core::ids::ConnId;
use lavina_core::time::Mono;
use server::Server;

/// A Matrix client of somebody.
struct Client {
    token: String,
}

fn open(s: &mut Server) -> ConnId {
    s.open_from(Protocol::Http, Some(([192, 0, 2, 1], 4096).into()))
}

impl Client {
    fn login(s: &mut Server, name: &str) -> Client {
        s.register(name);
        let body = format!(
            r#"{{"type":"m.login.password","identifier":{{"type":"m.id.user","user":"{name}"}},"password":"secret"}}"#
        );
        let mut client = Client { token: String::new() };
        let got = client.ask(s, "POST", "/_matrix/client/v3/login", "application/json", &body);
        client.token = between(&got, "\"access_token\":\"", "\"").to_owned();
        client
    }

    fn ask(&self, s: &mut Server, method: &str, path: &str, kind: &str, body: &str) -> String {
        let c = open(s);
        let (token, length) = (&self.token, body.len());
        let auth =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\n{auth}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        s.send(c, &[head.as_str(), body].concat())
    }

    fn get(&self, s: &mut Server, path: &str) -> String {
        let c = open(s);
        s.send(c, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", self.token))
    }

    /// The path of an upload.
    fn upload(&self, s: &mut Server, kind: &str, name: &str, body: &str) -> String {
        let path = format!("/_matrix/media/v3/upload?filename={name}");
        let got = self.ask(s, "POST", &path, kind, body);
        between(&got, "\"content_uri\":\"mxc://", "\"").to_owned()
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap().0
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_else(|| panic!("no answer: {answer}"))
}

fn refused(answer: &str, code: &str, errcode: &str) {
    assert_eq!(status(answer), code, "{answer}");
    assert!(answer.contains(&format!("\"errcode\":\"{errcode}\"")), "{answer}");
    assert!(answer.contains("Access-Control-Allow-Origin: *\r\n"), "{answer}");
}

const DOWNLOAD: &str = "/_matrix/client/v1/media/download";
const THUMBNAIL: &str = "/_matrix/client/v1/media/thumbnail";

#[test]
fn what_is_uploaded_is_downloaded_safely() {
    let mut s = Server::new();
    let alice = Client::login(&mut s, "alice");
    let bob = Client::login(&mut s, "bob");
    let id = alice.upload(&mut s, "text/html", "x%20y.html", "<script>");
    let got = bob.get(&mut s, &format!("{DOWNLOAD}/{id}"));
    assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("\r\n\r\n<script>"), "{got}");
    for line in [
        "Content-Type: text/html\r\n",
        "Content-Disposition: attachment; filename=\"x y.html\"\r\n",
        "Content-Security-Policy: sandbox;",
        "Cross-Origin-Resource-Policy: cross-origin\r\n",
        "X-Content-Type-Options: nosniff\r\n",
    ] {
        assert!(got.contains(line), "{line} {got}");
    }
    let named = bob.get(&mut s, &format!("{DOWNLOAD}/{id}/other.txt"));
    assert!(named.contains("Content-Disposition: attachment; filename=\"other.txt\"\r\n"), "{named}");
    let inline = alice.upload(&mut s, "image/png", "a.png", "png");
    assert!(bob.get(&mut s, &format!("{DOWNLOAD}/{inline}")).contains("Content-Disposition: inline;"));
    let empty = alice.upload(&mut s, "text/plain", "", "");
    assert!(bob.get(&mut s, &format!("{DOWNLOAD}/{empty}")).ends_with("\r\n\r\n"));
    let config = alice.get(&mut s, "/_matrix/client/v1/media/config");
    assert!(config.contains("\"m.upload.size\":52428800"), "{config}");
}

#[test]
fn what_is_wrong_is_told() {
    let mut s = Server::new();
    let alice = Client::login(&mut s, "alice");
    let nobody = Client { token: String::new() };
    let upload = "/_matrix/media/v3/upload";
    refused(&nobody.ask(&mut s, "POST", upload, "text/plain", "x"), "401", "M_MISSING_TOKEN");
    let thief = Client { token: format!("{}A", alice.token) };
    refused(&thief.ask(&mut s, "POST", upload, "text/plain", "x"), "401", "M_UNKNOWN_TOKEN");
    let other = Client { token: alice.token.replacen("lva_", "lva_A", 1) };
    refused(&other.ask(&mut s, "POST", upload, "text/plain", "x"), "401", "M_UNKNOWN_TOKEN");
    refused(&alice.ask(&mut s, "PUT", upload, "text/plain", "x"), "405", "M_UNRECOGNIZED");
    refused(&alice.get(&mut s, "/_matrix/client/v1/media/preview_url?url=x"), "404", "M_UNRECOGNIZED");
    let id = alice.upload(&mut s, "text/plain", "a.txt", "hello");
    let (server, id) = id.split_once('/').unwrap();
    for path in [
        format!("{DOWNLOAD}/elsewhere/{id}"),
        format!("{DOWNLOAD}/{server}/..%2F..%2Flavina.db"),
        format!("{DOWNLOAD}/{server}/{}", "A".repeat(22)),
        format!("{DOWNLOAD}/{server}/.."),
    ] {
        refused(&alice.get(&mut s, &path), "404", "M_NOT_FOUND");
    }
    refused(&alice.get(&mut s, &format!("{DOWNLOAD}/{server}")), "404", "M_UNRECOGNIZED");
    refused(&alice.get(&mut s, &format!("{THUMBNAIL}/{server}/{id}")), "400", "M_MISSING_PARAM");
    refused(
        &alice.get(&mut s, &format!("{THUMBNAIL}/{server}/{id}?width=a&height=1")),
        "400",
        "M_INVALID_PARAM",
    );
    refused(&alice.get(&mut s, &format!("{THUMBNAIL}/{server}/{id}?width=9&height=9")), "400", "M_UNKNOWN");
    let c = open(&mut s);
    let head = format!(
        "POST {upload} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 52428801\r\n\r\n",
        alice.token
    );
    refused(&s.send(c, &head), "413", "M_TOO_LARGE");
    assert!(s.closed.contains_key(&c));
}

#[test]
fn a_name_is_reserved_and_filled_once_by_its_owner() {
    let mut s = Server::new();
    let alice = Client::login(&mut s, "alice");
    let bob = Client::login(&mut s, "bob");
    let made = alice.ask(&mut s, "POST", "/_matrix/media/v1/create", "application/json", "");
    assert!(made.contains("\"unused_expires_at\":17956"), "{made}");
    let id = between(&made, "\"content_uri\":\"mxc://", "\"").to_owned();
    // One looks at once, one waits for it.
    refused(&bob.get(&mut s, &format!("{DOWNLOAD}/{id}?timeout_ms=0")), "504", "M_NOT_YET_UPLOADED");
    let waiting = open(&mut s);
    let get =
        format!("GET {DOWNLOAD}/{id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", bob.token);
    assert_eq!(s.send(waiting, &get), "");
    let fill = format!("/_matrix/media/v3/upload/{id}");
    refused(&bob.ask(&mut s, "PUT", &fill, "text/plain", "bob's"), "403", "M_FORBIDDEN");
    assert_eq!(status(&alice.ask(&mut s, "PUT", &fill, "text/plain", "late")), "200");
    refused(&alice.ask(&mut s, "PUT", &fill, "text/plain", "again"), "409", "M_CANNOT_OVERWRITE_MEDIA");
    s.now.mono = Mono(s.now.mono.0 + 1_000);
    s.worker.handle(s.now, Input::Tick);
    s.drain();
    let got = s.read(waiting);
    assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("\r\n\r\nlate"), "{got}");
    // Nobody fills what was never reserved.
    let other = format!("/_matrix/media/v3/upload/localhost/{}", "A".repeat(22));
    refused(&alice.ask(&mut s, "PUT", &other, "text/plain", "x"), "404", "M_NOT_FOUND");
}

#[test]
fn what_looks_like_a_picture_and_is_none_is_given_as_it_is() {
    let mut s = Server::new();
    let alice = Client::login(&mut s, "alice");
    let id = alice.upload(&mut s, "image/png", "a.png", "this is no picture");
    for _ in 0..2 {
        let got = alice.get(&mut s, &format!("{THUMBNAIL}/{id}?width=96&height=96&method=crop"));
        assert!(got.contains("Content-Type: image/png\r\n") && got.ends_with("this is no picture"), "{got}");
    }
    assert_eq!((s.media.kept(), s.media.open()), (1, 0));
}
