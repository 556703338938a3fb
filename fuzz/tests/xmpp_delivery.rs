//! Whom a stanza reaches (RFC 6121 §8.5), through a whole worker with the memory store.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use server::{HEAD, Server};

/// Alice, and Bob with two clients.
fn three(s: &mut Server) -> [lavina_core::ids::ConnId; 3] {
    let a = s.online("alice");
    let (b, c) = (s.online("bob"), s.available("bob", "s"));
    s.read(b);
    [a, b, c]
}

fn message(to: &str, kind: &str) -> String {
    format!("<message to='{to}' type='{kind}' id='m'><body>hi</body></message>")
}

#[test]
fn what_is_no_conversation_reaches_the_session_it_is_for_or_none() {
    let mut s = Server::new();
    let [a, b, c] = three(&mut s);
    for kind in ["normal", "headline", "groupchat"] {
        assert_eq!(s.send(a, &message("bob@localhost/s", kind)), "", "{kind}");
        let got = s.read(c);
        assert!(got.contains("to='bob@localhost/s'") && got.contains("<body>hi</body>"), "{kind}: {got}");
        assert_eq!(s.read(b), "", "{kind}");
        let got = s.send(a, &message("bob@localhost/gone", kind));
        assert!(got.contains("type='error'") && got.contains("service-unavailable"), "{kind}: {got}");
        assert_eq!((s.read(b), s.read(c)), (String::new(), String::new()), "{kind}");
    }
    // A conversation goes on with the account.
    assert_eq!(s.send(a, &message("bob@localhost/gone", "chat")), "");
    assert!(s.read(b).contains("to='bob@localhost/gone'") && s.read(c).contains("<body>hi</body>"));
}

#[test]
fn an_error_is_for_the_session_it_is_about() {
    let mut s = Server::new();
    let [a, b, c] = three(&mut s);
    for (to, reached) in [("bob@localhost", false), ("bob@localhost/gone", false), ("bob@localhost/s", true)]
    {
        assert_eq!(s.send(a, &message(to, "error")), "", "{to}");
        assert_eq!(s.read(b), "", "{to}");
        assert_eq!(s.read(c).contains("type='error'"), reached, "{to}");
    }
}

#[test]
fn presence_keeps_the_address_it_was_sent_to() {
    let mut s = Server::new();
    let [a, b, c] = three(&mut s);
    s.send(a, "<presence to='bob@localhost'/>");
    for client in [b, c] {
        assert_eq!(s.read(client), "<presence to='bob@localhost' from='alice@localhost/r'/>");
    }
    s.send(a, "<presence to='bob@localhost/s' type='unavailable'/>");
    assert_eq!(s.read(b), "");
    assert!(s.read(c).contains("to='bob@localhost/s'"));
}

#[test]
fn messages_wait_until_a_session_takes_them() {
    let mut s = Server::new();
    let a = s.online("alice");
    s.register("bob");
    s.send(a, &message("bob@localhost", "chat"));
    let b = s.login("bob", "r");
    let got = s.send(b, "<presence><priority>-1</priority></presence>");
    assert!(!got.contains("<body>"), "{got}");
    let got = s.send(b, "<presence><priority>0</priority></presence>");
    assert!(got.contains("<body>hi</body>") && got.contains("urn:xmpp:delay"), "{got}");
    let got = s.send(b, "<presence><priority>5</priority></presence>");
    assert!(!got.contains("<body>"), "{got}");
}

#[test]
fn who_may_see_presence_may_ask_for_it() {
    let mut s = Server::new();
    let [a, b, _] = three(&mut s);
    assert_eq!(s.send(a, "<presence to='bob@localhost' type='probe'/>"), "");
    s.send(a, "<presence to='bob@localhost' type='subscribe'/>");
    s.send(b, "<presence to='alice@localhost' type='subscribed'/>");
    s.read(a);
    let got = s.send(a, "<presence to='bob@localhost' type='probe'/>");
    assert!(got.contains("from='bob@localhost/r'") && got.contains("from='bob@localhost/s'"), "{got}");
    let got = s.send(a, "<presence to='bob@localhost/gone' type='probe'/>");
    assert!(got.contains("from='bob@localhost'") && got.contains("type='unavailable'"), "{got}");
}

#[test]
fn without_a_resource_a_client_speaks_to_nobody_else() {
    let mut s = Server::new();
    s.online("alice");
    s.register("bob");
    let b = s.auth("bob");
    let got = s.send(b, "<iq type='get' id='1' to='bob@localhost'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(got.contains("<iq type='error'"), "{got}");
    let got = s.send(b, "<iq type='get' id='2' to='alice@localhost/r'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(got.contains("<not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"), "{got}");
    let c = s.open();
    s.send(c, HEAD);
    let got = s.send(c, "<iq type='get' id='2' to='alice@localhost'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(got.contains("not-authorized"), "{got}");
}

#[test]
fn what_is_said_aside_comes_from_the_room_typing_too() {
    let mut s = Server::new();
    let [a, b, _] = three(&mut s);
    s.join(a, "lobby", "al");
    s.join(b, "lobby", "bo");
    s.read(a);
    let typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    s.send(b, &format!("<message to='lobby@rooms.localhost/al' type='chat'>{typing}</message>"));
    let got = s.read(a);
    assert!(
        got.starts_with("<message from='lobby@rooms.localhost/bo'") && got.contains("<composing"),
        "{got}"
    );
    // Nobody can write in a room's name.
    let forged = "<message to='alice@localhost' from='bob@localhost/r' type='chat'>";
    s.send(b, &format!("{forged}{typing}</message>"));
    assert!(s.read(a).starts_with("<message from='bob@localhost/r'"));
}

#[test]
fn the_list_of_another_is_not_touched_and_groups_have_names() {
    let mut s = Server::new();
    let [a, ..] = three(&mut s);
    let set = |to: &str, item: &str| {
        format!("<iq type='set' id='r'{to}><query xmlns='jabber:iq:roster'>{item}</query></iq>")
    };
    for (to, item, condition) in [
        (" to='bob@localhost'", "<item jid='x@localhost'/>", "forbidden"),
        (" to='nobody@localhost'", "<item jid='x@localhost'/>", "forbidden"),
        ("", "<item name='x'/>", "bad-request"),
        ("", "<item jid='x@localhost'><group>a</group><group>a</group></item>", "bad-request"),
        ("", "<item jid='x@localhost'><group/></item>", "not-acceptable"),
    ] {
        let got = s.send(a, &set(to, item));
        assert!(got.contains(&format!("<{condition} ")), "{item}: {got}");
    }
    let got = s.send(a, &set("", "<item jid='x@localhost'><group>a</group><group>b</group></item>"));
    assert!(got.contains("type='result'"), "{got}");
}
