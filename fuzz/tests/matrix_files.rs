//! A file that somebody shows, whichever protocol by, is one on every protocol.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_codecs::settings::Protocol;
use lavina_core::ids::ConnId;
use lavina_core::media::MediaId;
use server::Server;
use server::matrix::{Client, events, joined};

const BASE: &str = "https://files.example";

fn irc(s: &mut Server, name: &str) -> ConnId {
    s.register(name);
    let c = s.open_on(Protocol::Irc);
    let got = s.send(c, &format!("PASS {name}:secret\r\nNICK {name}\r\nUSER {name} 0 * :{name}\r\n"));
    assert!(got.contains(" 001 "), "{got}");
    s.send(c, "JOIN #lobby\r\n");
    c
}

#[test]
fn files_cross() {
    let mut s = Server::with(|config| config.http.url = BASE.to_owned());
    let mut alice = Client::new(&mut s, "alice");
    let room = alice.create(&mut s, object! { "preset" => "public_chat", "room_alias_name" => "lobby" });
    let bob = irc(&mut s, "bob");
    let carol = s.online("carol");
    s.join(carol, "lobby", "carol");
    let id = MediaId::fresh(5, 6).text();
    let link = format!("{BASE}/file/{id}/a%20cat.jpg");
    s.read(bob);
    s.read(carol);
    // From Matrix: a line with the link; a file to XMPP.
    let image = object! {
        "msgtype" => "m.image", "body" => "a cat.jpg", "url" => format!("mxc://localhost/{id}"),
        "info" => object! { "mimetype" => "image/jpeg", "size" => 27_253 },
    };
    alice.send(&mut s, &room, "m.room.message", image.clone());
    let got = s.read(bob);
    assert!(got.contains(&format!(" :a cat.jpg (image, 27 kB) {link}\r\n")), "{got}");
    let got = s.read(carol);
    for part in [
        format!("<body>{link}</body>"),
        format!("<x xmlns='jabber:x:oob'><url>{link}</url></x>"),
        "<media-type>image/jpeg</media-type><name>a cat.jpg</name><size>27253</size>".to_owned(),
        format!("<url-data xmlns='http://jabber.org/protocol/url-data' target='{link}'/>"),
    ] {
        assert!(got.contains(&part), "{part} is not in {got}");
    }
    // One with a caption keeps it.
    let mut captioned = image.clone();
    captioned.set("filename", "a cat.jpg");
    captioned.set("body", "look");
    alice.send(&mut s, &room, "m.room.message", captioned);
    let got = s.read(carol);
    assert!(got.contains("<body>look\na cat.jpg (image, 27 kB)") && got.contains("jabber:x:oob"), "{got}");
    // One of another server has no link here.
    let mut other = image;
    other.set("url", format!("mxc://elsewhere/{id}"));
    alice.send(&mut s, &room, "m.room.message", other);
    assert!(!s.read(carol).contains("jabber:x:oob"));
    s.read(bob);
    // From XMPP and IRC: an image.
    alice.sync(&mut s);
    s.send(carol, &format!("<message type='groupchat' to='lobby@rooms.localhost' id='f1'><body>{link}</body><x xmlns='jabber:x:oob'><url>{link}</url></x></message>"));
    s.send(bob, &format!("PRIVMSG #lobby :{link}\r\n"));
    s.send(bob, &format!("PRIVMSG #lobby :see {link}\r\n"));
    let got = alice.sync(&mut s);
    let shown: Vec<&Json> =
        events(joined(&got, &room), "timeline").iter().map(|e| e.get("content").unwrap()).collect();
    assert_eq!(shown.len(), 3, "{shown:?}");
    for content in &shown[..2] {
        assert_eq!(content.str_of("msgtype"), Some("m.image"));
        assert_eq!(content.str_of("body"), Some("a cat.jpg"));
        assert_eq!(content.str_of("url"), Some(format!("mxc://localhost/{id}").as_str()));
    }
    assert_eq!(shown[2].str_of("msgtype"), Some("m.text"));
}
