//! IRC and XMPP over WebSockets, through a whole worker with the memory store.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::settings::Protocol;
use lavina_core::drive::{Drive, Input};
use lavina_core::ids::ConnId;
use server::Server;

const OPEN: &str = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>";
const CLOSE: &str = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>";

fn request(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// Opens a WebSocket.
fn open(s: &mut Server, path: &str, subprotocol: &str) -> ConnId {
    let c = s.open_from(Protocol::Http, Some(([192, 0, 2, 1], 4096).into()));
    let got = s.send(c, &request(path, &format!("Sec-WebSocket-Protocol: {subprotocol}\r\n")));
    assert!(got.starts_with("HTTP/1.1 101 ") && got.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{got}");
    assert!(got.contains(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n")), "{got}");
    s.raw.remove(&c);
    c
}

/// A frame of a client.
fn frame(opcode: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | opcode];
    match content.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n => {
            out.push(0xfe);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    out.extend_from_slice(&mask);
    out.extend(content.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    out
}

/// What was sent, as frames: opcode and content.
fn frames(s: &mut Server, c: ConnId) -> Vec<(u8, String)> {
    s.read(c);
    let bytes = s.raw.remove(&c).unwrap_or_default();
    let (mut rest, mut out) = (&bytes[..], Vec::new());
    while let [first, length, after @ ..] = rest {
        let (length, after) = match length {
            126 => (usize::from(after[0]) << 8 | usize::from(after[1]), &after[2..]),
            127 => panic!("too long for a test"),
            n => (usize::from(*n), after),
        };
        assert_eq!(first & 0xf0, 0x80, "whole frames without extensions");
        out.push((first & 0x0f, String::from_utf8_lossy(&after[..length]).into_owned()));
        rest = &after[length..];
    }
    out
}

fn raw(s: &mut Server, c: ConnId, bytes: &[u8]) -> Vec<(u8, String)> {
    s.worker.handle(s.now, Input::Received(c, bytes));
    s.drain();
    frames(s, c)
}

/// Sends messages of text; the messages of text that came back.
fn say(s: &mut Server, c: ConnId, messages: &[&str]) -> Vec<String> {
    let bytes: Vec<u8> = messages.iter().flat_map(|m| frame(1, m.as_bytes())).collect();
    let got = raw(s, c, &bytes);
    assert!(got.iter().all(|(opcode, _)| *opcode == 1), "{got:?}");
    got.into_iter().map(|(_, text)| text).collect()
}

fn irc(s: &mut Server, nick: &str) -> ConnId {
    let c = open(s, "/irc", "text.ircv3.net");
    let got = say(s, c, &[&format!("PASS {nick}:secret"), &format!("NICK {nick}"), "USER x 0 * :Real"]);
    let got = [got, say(s, c, &[])].concat();
    assert!(
        got.iter().any(|line| line.contains(" 001 ")) && got.iter().all(|line| !line.contains(['\r', '\n'])),
        "{got:?}"
    );
    c
}

fn xmpp(s: &mut Server, user: &str, resource: &str) -> ConnId {
    let c = open(s, "/xmpp-websocket", "xmpp");
    let got = say(s, c, &[OPEN]);
    assert!(
        got[0].starts_with("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='localhost' id='"),
        "{got:?}"
    );
    assert!(
        got[1].starts_with("<stream:features xmlns:stream='http://etherx.jabber.org/streams'>"),
        "{got:?}"
    );
    let plain = data_encoding::BASE64.encode(format!("\0{user}\0secret").as_bytes());
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
    let got = say(s, c, &[&auth]);
    assert_eq!(got, ["<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"]);
    let got = say(s, c, &[OPEN]);
    assert!(got[1].contains("<bind xmlns="), "{got:?}");
    let bind = format!(
        "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <resource>{resource}</resource></bind></iq>"
    );
    let got = say(s, c, &[&bind]);
    assert!(got[0].starts_with("<iq xmlns='jabber:client' ") && got[0].contains(resource), "{got:?}");
    c
}

#[test]
fn irc_over_websocket_meets_the_others() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let a = irc(&mut s, "alice");
    let b = s.open_on(Protocol::Irc);
    s.send(b, "PASS bob:secret\r\nNICK bob\r\nUSER x 0 * :Real\r\n");
    let got = say(&mut s, a, &["JOIN #lobby"]);
    assert!(got[0].ends_with("JOIN #lobby"), "{got:?}");
    s.send(b, "JOIN #lobby\r\n");
    frames(&mut s, a);
    assert_eq!(say(&mut s, a, &["PRIVMSG #lobby :h\u{fc}"]), [] as [&str; 0]);
    assert!(s.read(b).ends_with("PRIVMSG #lobby :h\u{fc}\r\n"));
    s.send(b, "PRIVMSG #lobby :one\r\nPRIVMSG #lobby :two\r\n");
    let got = frames(&mut s, a);
    let ends: Vec<&str> = got.iter().map(|(_, line)| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(ends, [":one", ":two"], "a line a message");
    // Control frames are answered; a close ends the session as a lost connection does.
    assert_eq!(raw(&mut s, a, &frame(9, b"hi")), [(10, "hi".to_owned())]);
    assert_eq!(raw(&mut s, a, &frame(8, &[3, 233])), [(8, "\u{3}\u{fffd}".to_owned())]);
    assert!(s.closed.contains_key(&a));
}

#[test]
fn the_subprotocol_decides_the_type_of_messages() {
    let mut s = Server::new();
    let c = open(&mut s, "/irc", "binary.ircv3.net");
    assert_eq!(raw(&mut s, c, &frame(2, b"PING x"))[0].0, 2);
    let c = s.open_on(Protocol::Http);
    let got = s.send(c, &request("/irc", "Sec-WebSocket-Protocol: other\r\n"));
    assert!(got.starts_with("HTTP/1.1 101 ") && !got.contains("Sec-WebSocket-Protocol"), "{got}");
    s.raw.clear();
    let got = raw(&mut s, c, &[frame(1, b"PING x"), frame(2, b"FOO")].concat());
    assert_eq!(got.iter().map(|(opcode, _)| *opcode).collect::<Vec<_>>(), [1, 1], "{got:?}");
    // Without a path, the subprotocol tells.
    let c = open(&mut s, "/", "text.ircv3.net");
    assert!(say(&mut s, c, &["FOO"])[0].contains(" 451 "));
    let c = open(&mut s, "/", "xmpp");
    assert!(say(&mut s, c, &[OPEN])[0].starts_with("<open "));
}

#[test]
fn xmpp_over_websocket_meets_the_others() {
    let mut s = Server::new();
    s.register("alice");
    let b = s.online("bob");
    let a = xmpp(&mut s, "alice", "web");
    say(&mut s, a, &["<presence xmlns='jabber:client'/>"]);
    s.send(b, "<message to='alice@localhost' type='chat'><body>hello &lt;you&gt;</body></message>");
    let got = frames(&mut s, a);
    let message = &got.iter().find(|(_, m)| m.starts_with("<message")).unwrap().1;
    assert!(message.starts_with("<message xmlns='jabber:client' "), "{message}");
    assert!(
        message.contains("<body>hello &lt;you&gt;</body>") && message.ends_with("</message>"),
        "{message}"
    );
    let word = "<message xmlns='jabber:client' to='bob@localhost' type='chat'><body>hi</body></message>";
    say(&mut s, a, &[word]);
    assert!(s.read(b).contains("<body>hi</body>"));
    // A room: what is encoded once for many is whole for each.
    let join = "<presence xmlns='jabber:client' to='lobby@rooms.localhost/alice'>\
                <x xmlns='http://jabber.org/protocol/muc'/></presence>";
    s.join(b, "lobby", "bob");
    say(&mut s, a, &[join]);
    s.send(b, "<message to='lobby@rooms.localhost' type='groupchat'><body>all</body></message>");
    let got = frames(&mut s, a);
    let said = &got.iter().find(|(_, m)| m.contains("<body>all</body>")).unwrap().1;
    assert!(said.starts_with("<message xmlns='jabber:client' ") && said.ends_with("</message>"), "{said}");
    assert_eq!(
        raw(&mut s, a, &frame(1, CLOSE.as_bytes())),
        [(1, CLOSE.to_owned()), (8, "\u{3}\u{fffd}".to_owned())]
    );
    assert!(s.closed.contains_key(&a));
}

#[test]
fn a_session_is_resumed_over_another_websocket() {
    let mut s = Server::new();
    s.register("alice");
    let b = s.online("bob");
    let a = xmpp(&mut s, "alice", "web");
    say(&mut s, a, &["<presence xmlns='jabber:client'/>"]);
    let got = say(&mut s, a, &["<enable xmlns='urn:xmpp:sm:3' resume='true'/>"]);
    let enabled = got.iter().find(|m| m.starts_with("<enabled")).unwrap();
    let id = enabled.split_once("id='").unwrap().1.split('\'').next().unwrap().to_owned();
    // The page is left: its WebSocket closes, its stream does not.
    let got = raw(&mut s, a, &frame(8, &[3, 233]));
    assert_eq!(got.last().unwrap().0, 8, "{got:?}");
    assert!(s.closed.contains_key(&a));
    s.send(b, "<message to='alice@localhost' type='chat'><body>missed</body></message>");
    let c = open(&mut s, "/xmpp-websocket", "xmpp");
    say(&mut s, c, &[OPEN]);
    let plain = data_encoding::BASE64.encode(b"\0alice\0secret");
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
    say(&mut s, c, &[&auth]);
    say(&mut s, c, &[OPEN]);
    let got = say(&mut s, c, &[&format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>")]);
    assert!(got[0].starts_with("<resumed xmlns='urn:xmpp:sm:3'"), "{got:?}");
    let missed: Vec<&String> = got.iter().filter(|m| m.contains("<body>missed</body>")).collect();
    assert!(missed.len() == 1 && missed[0].starts_with("<message xmlns='jabber:client' "), "{got:?}");
}

#[test]
fn what_breaks_the_framing_ends_it() {
    let mut s = Server::new();
    for (bytes, code) in [
        (vec![0x81, 0x01, b'a'], 1002),
        (frame(1, b"\xff"), 1007),
        (frame(2, OPEN.as_bytes()), 1003),
        (frame(1, b"<iq>"), 1002),
        ([frame(1, OPEN.as_bytes()), frame(1, OPEN.as_bytes())].concat(), 1002),
        (vec![0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0], 1009),
    ] {
        let c = open(&mut s, "/xmpp-websocket", "xmpp");
        s.worker.handle(s.now, Input::Received(c, &bytes));
        s.drain();
        let sent = s.raw.remove(&c).unwrap();
        let at = sent.windows(4).rposition(|w| w[0] == 0x88).unwrap();
        assert_eq!(u16::from_be_bytes([sent[at + 2], sent[at + 3]]), code, "{bytes:?}");
        assert!(s.closed.contains_key(&c));
    }
    // XML that XMPP forbids has a word of its own.
    let c = open(&mut s, "/xmpp-websocket", "xmpp");
    say(&mut s, c, &[OPEN]);
    let got = raw(&mut s, c, &frame(1, b"<!-- x -->"));
    assert!(got[0].1.starts_with("<stream:error xmlns:stream="), "{got:?}");
    assert_eq!((got[1].1.as_str(), got[2].0), (CLOSE, 8));
}

#[test]
fn requests_that_open_no_websocket_are_told_why() {
    let mut s = Server::new();
    let good = request("/irc", "");
    for (request, status) in [
        (good.replace("13", "8"), "426"),
        (good.replace("Connection: Upgrade\r\n", ""), "400"),
        (good.replace("Upgrade: websocket\r\n", ""), "426"),
        (request("/xmpp-websocket", ""), "400"),
        (request("/health", ""), "200"),
        ([good.replace("/irc", "/no"), good.clone()].concat(), "404"),
    ] {
        let c = s.open_on(Protocol::Http);
        let got = s.send(c, &request);
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{request} {got}");
    }
    // A client that does not wait for the answer cannot be trusted to mean what comes next.
    let c = s.open_on(Protocol::Http);
    let got = s.send(c, &format!("{good}NICK x\r\n"));
    assert!(got.starts_with("HTTP/1.1 101 ") && s.closed.contains_key(&c), "{got}");
}

#[test]
fn clients_find_the_websocket() {
    let mut s = Server::new();
    let c = s.open_on(Protocol::Http);
    let get =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: chat.example:8443\r\n{more}\r\n");
    let got = s.send(c, &get("/.well-known/host-meta", ""));
    assert!(
        got.contains("Content-Type: application/xrd+xml\r\n")
            && got.contains("Access-Control-Allow-Origin: *")
    );
    let link = "rel='urn:xmpp:alt-connections:websocket' href='ws://chat.example:8443/xmpp-websocket'";
    assert!(got.contains(link), "{got}");
    let got = s.send(c, &get("/.well-known/host-meta.json", "X-Forwarded-Proto: https\r\n"));
    assert!(got.contains("\"href\":\"wss://chat.example:8443/xmpp-websocket\""), "{got}");
}

#[test]
fn a_silent_websocket_must_log_in() {
    let mut s = Server::new();
    let c = open(&mut s, "/irc", "text.ircv3.net");
    s.now.mono.0 += 61_000;
    s.worker.handle(s.now, Input::Tick);
    s.drain();
    let got = frames(&mut s, c);
    assert!(got[0].1.starts_with("ERROR :"), "{got:?}");
    assert!(got.last().unwrap().0 == 8 && s.closed.contains_key(&c), "{got:?}");
}

#[test]
fn a_login_in_one_step_goes_on_without_a_new_stream() {
    let mut s = Server::new();
    s.register("alice");
    let c = open(&mut s, "/xmpp-websocket", "xmpp");
    let got = say(&mut s, c, &[OPEN]);
    assert!(got[1].contains("<authentication xmlns='urn:xmpp:sasl:2'>"), "{got:?}");
    let plain = data_encoding::BASE64.encode(b"\0alice\0secret");
    let got = say(
        &mut s,
        c,
        &[&format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>{plain}</initial-response>\
             <bind xmlns='urn:xmpp:bind:0'><tag>Web</tag></bind></authenticate>"
        )],
    );
    assert!(
        got[0].starts_with("<success xmlns='urn:xmpp:sasl:2'>") && got[0].ends_with("</success>"),
        "{got:?}"
    );
    let ping = "<iq xmlns='jabber:client' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>";
    let got = say(&mut s, c, &[ping]);
    assert!(got[0].starts_with("<iq xmlns='jabber:client' ") && got[0].contains("type='result'"), "{got:?}");
}
