//! Nicks of people in rooms over XMPP, and what other protocols see of them; through a whole worker with the memory store.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_core::ids::ConnId;
use server::matrix::Client;
use server::{Server, in_order};

const ROOM: &str = "lobby@rooms.localhost";

fn say(s: &mut Server, c: ConnId, body: &str) -> String {
    s.send(c, &format!("<message to='{ROOM}' type='groupchat' id='m'><body>{body}</body></message>"))
}

fn presence(s: &mut Server, c: ConnId, nick: &str) -> String {
    s.send(c, &format!("<presence to='{ROOM}/{nick}'/>"))
}

fn admin(s: &mut Server, c: ConnId, kind: &str, item: &str) -> String {
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query>");
    s.send(c, &format!("<iq type='{kind}' id='q' to='{ROOM}'>{query}</iq>"))
}

fn archive(s: &mut Server, c: ConnId) -> String {
    s.send(c, &format!("<iq type='set' id='q' to='{ROOM}'><query xmlns='urn:xmpp:mam:2'/></iq>"))
}

#[test]
fn everybody_is_called_as_they_ask() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    s.register("carol");
    let c = s.irc("carol", "");
    let got = s.join(a, "lobby", "Red Queen");
    in_order(&got, &["from='lobby@rooms.localhost/Red Queen'", "jid='alice@localhost'", "code='110'"]);
    assert!(!got.contains("code='210'") && got.contains("code='201'"), "{got}");
    s.send(c, "JOIN #lobby\r\n");
    s.read(a);
    let got = s.join(b, "lobby", "Bøb 📱");
    for other in ["Red Queen", "carol"] {
        let other = format!("/{other}' to='bob@localhost/r'");
        in_order(&got, &[&other, "from='lobby@rooms.localhost/Bøb 📱' to='bob@localhost/r'"]);
    }
    assert!(!got.contains("code='210'"), "{got}");
    assert!(s.read(a).contains("/Bøb 📱' to='alice@localhost/r'"));
    assert_eq!(s.read(c), ":bob!bob@localhost JOIN #lobby\r\n");
    let got = say(&mut s, b, "one");
    assert!(got.starts_with("<message from='lobby@rooms.localhost/Bøb 📱' to='bob@localhost/r'"), "{got}");
    assert!(s.read(a).starts_with("<message from='lobby@rooms.localhost/Bøb 📱' to='alice@localhost/r'"));
    assert_eq!(s.read(c), ":bob!bob@localhost PRIVMSG #lobby :one\r\n");
    s.send(a, &format!("<message to='{ROOM}' type='groupchat' id='s'><subject>Tea</subject></message>"));
    s.send(c, "PRIVMSG #lobby :two\r\n");
    assert!(s.read(b).contains("from='lobby@rooms.localhost/carol'"));
    let composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    s.send(b, &format!("<message to='{ROOM}' type='groupchat' id='t'>{composing}</message>"));
    in_order(&s.read(a), &["from='lobby@rooms.localhost/Bøb 📱'", "<composing"]);
    let got = admin(&mut s, a, "get", "<item role='participant'/>");
    assert!(got.contains("jid='bob@localhost' nick='Bøb 📱' role='participant'"), "{got}");
    let disco = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
    let got = s.send(a, &format!("<iq type='get' id='d' to='{ROOM}'>{disco}</iq>"));
    assert!(got.contains("jid='lobby@rooms.localhost/Bøb 📱'"), "{got}");
    assert!(archive(&mut s, a).contains("from='lobby@rooms.localhost/Bøb 📱' type='groupchat'"));
    // What is stored says it too.
    s.restart();
    let d = s.online("dora");
    let got = s.join(d, "lobby", "Dora");
    in_order(
        &got,
        &[
            "from='lobby@rooms.localhost/Bøb 📱' to='dora@localhost/r' type='groupchat'",
            "<body>one</body>",
            "from='lobby@rooms.localhost/carol'",
            "from='lobby@rooms.localhost/Red Queen'",
            "<subject>Tea</subject>",
        ],
    );
    assert!(archive(&mut s, d).contains("from='lobby@rooms.localhost/Bøb 📱' type='groupchat'"));
    // Who comes back to the membership there is gets what they ask for now.
    let a = s.available("alice", "r");
    let got = s.join(a, "lobby", "White Queen");
    assert!(got.contains("/White Queen' to='alice@localhost/r'") && !got.contains("code='210'"), "{got}");
    let got = s.read(d);
    assert!(got.contains("/White Queen'") && !got.contains("code='303'"), "{got}");
}

#[test]
fn nobody_is_called_as_somebody_else() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    s.register("carol");
    s.join(a, "lobby", "Queen");
    // An occupant's nick, or his name, is not to be had.
    for nick in ["Queen", "QUEEN", "  queen ", "Alice"] {
        let got = s.join(b, "lobby", nick);
        assert!(got.contains("type='error'") && got.contains("<conflict"), "{nick}: {got}");
    }
    for nick in ["  ", &"x".repeat(200)] {
        let got = s.join(b, "lobby", nick);
        assert!(got.contains("type='error'") && got.contains("<not-acceptable"), "{nick}: {got}");
    }
    // An account's name is nobody else's: one comes in under one's own.
    let got = s.join(b, "lobby", "Carol");
    in_order(&got, &["from='lobby@rooms.localhost/bob' to='bob@localhost/r'", "code='210'"]);
    let got = presence(&mut s, b, "Carol");
    assert!(!got.contains("type='error'"), "{got}");
    s.read(a);
    // Another session of the account sits under the same nick.
    let b2 = s.available("bob", "two");
    let got = s.join(b2, "lobby", "Robert");
    in_order(&got, &["from='lobby@rooms.localhost/bob' to='bob@localhost/two'", "code='210'"]);
    // Whose holder is not there can be had; he is shown under his name when he comes back without asking for another.
    s.cut(a);
    s.read(b);
    let got = presence(&mut s, b, "Queen");
    in_order(
        &got,
        &[
            "<presence from='lobby@rooms.localhost/bob' to='bob@localhost/r' type='unavailable'>",
            "nick='Queen'",
            "code='110'",
            "code='303'",
            "<presence from='lobby@rooms.localhost/Queen' to='bob@localhost/r'>",
            "code='110'",
        ],
    );
    in_order(&s.read(b2), &["/bob' to='bob@localhost/two' type='unavailable'", "code='303'", "/Queen'"]);
    let a = s.available("alice", "r");
    let got = s.join(a, "lobby", "Queen");
    assert!(got.contains("<conflict"), "{got}");
    let got = s.join(a, "lobby", "alice");
    assert!(got.contains("/alice' to='alice@localhost/r'") && !got.contains("code='210'"), "{got}");
}

#[test]
fn nicks_change() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    s.join(a, "lobby", "Queen");
    s.join(b, "lobby", "King");
    s.read(a);
    let c = {
        s.register("carol");
        s.irc("carol", "")
    };
    s.send(c, "JOIN #lobby\r\n");
    s.read(a);
    s.read(b);
    let got = s.send(b, &format!("<presence to='{ROOM}/Knave'><show>away</show></presence>"));
    in_order(
        &got,
        &[
            "<presence from='lobby@rooms.localhost/King' to='bob@localhost/r' type='unavailable'>",
            "nick='Knave'",
            "<status code='110'/><status code='303'/>",
            "<presence from='lobby@rooms.localhost/Knave' to='bob@localhost/r'>",
            "<show>away</show>",
        ],
    );
    let got = s.read(a);
    in_order(
        &got,
        &[
            "<presence from='lobby@rooms.localhost/King' to='alice@localhost/r' type='unavailable'>",
            "nick='Knave'",
            "<status code='303'/>",
            "<presence from='lobby@rooms.localhost/Knave' to='alice@localhost/r'>",
            "<show>away</show>",
        ],
    );
    assert!(!got.contains("code='110'"), "{got}");
    assert_eq!(s.read(c), "", "on IRC everybody is called by the name");
    for (nick, error) in [("Queen", "conflict"), ("carol", "conflict"), ("  ", "not-acceptable")] {
        let got = presence(&mut s, b, nick);
        assert!(got.contains("type='error'") && got.contains(error), "{nick}: {got}");
        assert!(got.contains(&format!("from='{ROOM}/{nick}'")), "{nick}: {got}");
    }
    assert_eq!(s.read(a), "");
    assert!(say(&mut s, b, "x").starts_with("<message from='lobby@rooms.localhost/Knave'"));
    s.read(a);
    // What takes a nick for an address.
    let ping =
        |nick: &str| format!("<iq type='get' id='p' to='{ROOM}/{nick}'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(s.send(b, &ping("Knave")).contains("type='result'"));
    assert!(s.send(b, &ping("King")).contains("type='error'"));
    let private =
        |nick: &str| format!("<message to='{ROOM}/{nick}' type='chat' id='p'><body>psst</body></message>");
    assert_eq!(s.send(a, &private("Knave")), "");
    let got = s.read(b);
    let aside = "<body>psst</body><x xmlns='http://jabber.org/protocol/muc#user'/>";
    assert!(got.contains(&format!("from='{ROOM}/")) && got.contains(aside), "{got}");
    // A session that sits in no room knows the account only.
    let away = s.available("bob", "away");
    s.send(a, &private("Knave"));
    let got = s.read(away);
    assert!(got.contains("from='alice@localhost/r'") && !got.contains("muc#user"), "{got}");
    s.send(away, "</stream:stream>");
    s.read(b);
    assert!(s.send(a, &private("King")).contains("item-not-found"));
    assert_eq!(s.send(a, &private("carol")), "");
    assert!(s.read(c).ends_with("PRIVMSG carol :psst\r\n"));
    let got = admin(&mut s, a, "set", "<item nick='King' role='none'/>");
    assert!(got.contains("item-not-found"), "{got}");
    let got = admin(&mut s, a, "set", "<item nick='Knave' role='moderator'/>");
    in_order(&got, &["/Knave' to='alice@localhost/r'", "role='moderator'", "type='result'"]);
    s.read(b);
    // Back to the name, and out.
    let got = presence(&mut s, b, "bob");
    in_order(&got, &["/Knave'", "nick='bob'", "code='303'", "/bob'"]);
    presence(&mut s, b, "King");
    s.read(a);
    s.read(c);
    let got = admin(&mut s, a, "set", "<item nick='King' role='none'><reason>so</reason></item>");
    in_order(
        &got,
        &["/King' to='alice@localhost/r' type='unavailable'", "<actor nick='Queen'", "code='307'"],
    );
    in_order(&s.read(b), &["/King' to='bob@localhost/r' type='unavailable'", "code='307'"]);
    assert_eq!(s.read(c), ":alice!alice@localhost KICK #lobby bob :so\r\n");
    // The nick is free again.
    let d = s.online("dora");
    let got = s.join(d, "lobby", "King");
    assert!(got.contains("/King' to='dora@localhost/r'") && !got.contains("code='210'"), "{got}");
    s.read(a);
    let destroy = "<query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query>";
    let got = s.send(a, &format!("<iq type='set' id='q' to='{ROOM}'>{destroy}</iq>"));
    in_order(&got, &["from='lobby@rooms.localhost/Queen'", "<destroy/>", "type='result'"]);
    let got = s.read(d);
    in_order(
        &got,
        &["from='lobby@rooms.localhost/King' to='dora@localhost/r' type='unavailable'", "<destroy/>"],
    );
    assert_eq!(got.matches("<destroy/>").count(), 1, "{got}");
}

#[test]
fn whose_name_it_is_gets_it_back() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    s.join(a, "lobby", "alice");
    s.join(b, "lobby", "Dora");
    s.read(a);
    let d = s.online("dora");
    let got = s.join(d, "lobby", "dora");
    in_order(&got, &["/bob' to='dora@localhost/r'", "/dora' to='dora@localhost/r'"]);
    in_order(
        &s.read(b),
        &["/Dora' to='bob@localhost/r' type='unavailable'", "nick='bob'", "code='303'", "/bob'"],
    );
    in_order(
        &s.read(a),
        &["/Dora' to='alice@localhost/r' type='unavailable'", "code='303'", "/bob'", "/dora'"],
    );
    // The two who are left without a nick of their own still find each other.
    assert!(say(&mut s, b, "x").starts_with("<message from='lobby@rooms.localhost/bob'"));
    assert!(s.read(d).starts_with("<message from='lobby@rooms.localhost/bob'"));
}

#[test]
fn who_leaves_and_comes_back_at_once_has_the_new_nick() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    s.join(a, "lobby", "alice");
    s.join(b, "lobby", "King");
    s.read(a);
    let got = s.send(
        b,
        &format!(
            "<presence to='{ROOM}/King' type='unavailable'/>\
             <presence to='{ROOM}/Knave'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ),
    );
    in_order(
        &got,
        &["/King' to='bob@localhost/r' type='unavailable'", "/Knave' to='bob@localhost/r'", "<subject"],
    );
    assert!(!got.contains("type='error'") && !got.contains("code='210'"), "{got}");
    in_order(
        &s.read(a),
        &["/King' to='alice@localhost/r' type='unavailable'", "/Knave' to='alice@localhost/r'"],
    );
    // Coming in where one sits, under another nick, is a change.
    let got = s.join(b, "lobby", "King");
    in_order(&got, &["nick='King'", "code='303'", "/alice' to='bob@localhost/r'", "/King'", "<subject"]);
    in_order(&s.read(a), &["/Knave' to='alice@localhost/r' type='unavailable'", "nick='King'", "/King'"]);
}

#[test]
fn matrix_shows_the_nick_as_the_name_there() {
    let mut s = Server::new();
    let m = Client::new(&mut s, "matt");
    let body = object! { "room_alias_name" => "lobby", "preset" => "public_chat" };
    let room = m.ok(&mut s, "POST /client/v3/createRoom", body);
    let room = room.str_of("room_id").unwrap().to_owned();
    let b = s.online("bob");
    s.join(b, "lobby", "King");
    let state = format!("GET /client/v3/rooms/{room}/state/m.room.member/@bob:localhost");
    let shown = |s: &mut Server| m.ok(s, &state, Json::object()).str_of("displayname").map(str::to_owned);
    assert_eq!(shown(&mut s).as_deref(), Some("King"));
    presence(&mut s, b, "Knave");
    assert_eq!(shown(&mut s).as_deref(), Some("Knave"));
    presence(&mut s, b, "bob");
    assert_eq!(shown(&mut s).as_deref(), Some("bob"));
}
