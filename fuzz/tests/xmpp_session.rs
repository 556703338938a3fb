//! XMPP sessions through a whole worker with the memory store, byte for byte, without sockets.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_core::drive::{Drive, Input};
use server::Server;

#[test]
fn two_people_talk() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let a = s.login("alice", "a");
    let b = s.login("bob", "b1");
    let b2 = s.login("bob", "b2");
    s.send(a, "<presence/>");
    s.send(b, "<presence><priority>5</priority></presence>");
    s.send(b2, "<presence/>");
    s.read(b);
    s.send(b2, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
    s.send(a, "<message to='bob@localhost/b1' type='chat' id='m1'><body>*hi*</body><stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='bob@localhost'/></message>");
    let got = s.read(b);
    assert!(got.contains("<body>*hi*</body>") && !got.contains("forged"), "{got}");
    let got = s.read(b2);
    assert!(got.contains("<received xmlns='urn:xmpp:carbons:2'>"), "{got}");
    // requests pass, and answers
    let got =
        s.send(a, "<iq type='get' id='v' to='bob@localhost/b1'><query xmlns='jabber:iq:version'/></iq>");
    assert_eq!(got, "");
    let got = s.read(b);
    assert!(got.contains("from='alice@localhost/a'"), "{got}");
    s.send(b, "<iq type='result' id='v' to='alice@localhost/a'><query xmlns='jabber:iq:version'/></iq>");
    let got = s.read(a);
    assert!(got.contains("from='bob@localhost/b1'"), "{got}");
    let got =
        s.send(a, "<iq type='get' id='v' to='bob@localhost/nope'><query xmlns='jabber:iq:version'/></iq>");
    assert!(got.contains("service-unavailable"), "{got}");
    // chat state
    s.send(a, "<message to='bob@localhost' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>");
    let got = s.read(b);
    assert!(got.contains("composing"), "{got}");
    // unknown
    let got = s.send(a, "<message to='nobody@localhost' type='chat' id='x'><body>x</body></message>");
    assert!(got.contains("service-unavailable"), "{got}");
}

#[test]
fn subscriptions_and_presence() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let a = s.login("alice", "a");
    let b = s.login("bob", "b");
    for c in [a, b] {
        s.send(c, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
        s.send(c, "<presence/>");
    }
    let got = s.send(a, "<presence to='bob@localhost' type='subscribe'/>");
    assert!(got.contains("subscription='none' ask='subscribe'"), "{got}");
    let got = s.read(b);
    assert!(got.contains("from='alice@localhost' to='bob@localhost' type='subscribe'"), "{got}");
    let got = s.send(b, "<presence to='alice@localhost' type='subscribed'/>");
    assert!(got.contains("<item jid='alice@localhost' subscription='from'/>"), "{got}");
    let got = s.read(a);
    assert!(
        got.contains("<item jid='bob@localhost' subscription='to'/>")
            && got.contains("from='bob@localhost/b'"),
        "{got}"
    );
    s.send(b, "<presence to='alice@localhost' type='subscribe'/>");
    s.send(a, "<presence to='bob@localhost' type='subscribed'/>");
    s.read(b);
    s.send(a, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    s.send(a, "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='x@localhost' name='X'><group>g</group></item></query></iq>");
    s.send(a, "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='yy@localhost' subscription='remove'/></query></iq>");
    s.worker.handle(s.now, Input::Closed(b));
    s.drain();
    let got = s.read(a);
    assert!(got.contains("from='bob@localhost/b' to='alice@localhost/a' type='unavailable'"), "{got}");
    s.send(a, "<message to='bob@localhost' type='chat' id='m1'><body>while away</body></message>");
    let b = s.login("bob", "b");
    let got = s.send(b, "<presence/>");
    assert!(
        got.contains("<body>while away</body>") && got.contains("<delay xmlns='urn:xmpp:delay'"),
        "{got}"
    );
}

#[test]
fn lists_blocks_and_small_questions() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let a = s.login("alice", "a");
    s.send(a, "<presence/>");
    let b = s.login("bob", "b");
    s.send(b, "<presence/>");
    let block =
        "<iq type='set' id='1'><block xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/></block></iq>";
    let got = s.send(a, block);
    assert!(
        got.contains("type='result'")
            && got.contains("<block xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/>"),
        "{got}"
    );
    let got = s.send(a, "<message to='bob@localhost' type='chat' id='m'><body>x</body></message>");
    assert!(got.contains("<blocked xmlns='urn:xmpp:blocking:errors'/>"), "{got}");
    s.send(b, "<message to='alice@localhost' type='chat' id='m'><body>x</body></message>");
    assert_eq!(s.read(a), "");
    let set = "<iq type='set' id='2'><query xmlns='jabber:iq:private'><p xmlns='urn:p'><q/></p></query></iq>";
    let got = s.send(a, set);
    assert!(got.contains("type='result'"), "{got}");
    let got =
        s.send(a, "<iq type='get' id='3'><query xmlns='jabber:iq:private'><p xmlns='urn:p'/></query></iq>");
    assert!(got.contains("<p xmlns='urn:p'><q/></p>"), "{got}");
    assert!(
        s.send(a, "<iq type='set' id='4'><vCard xmlns='vcard-temp'><FN>Al</FN></vCard></iq>")
            .contains("type='result'")
    );
    let got = s.send(b, "<iq type='get' id='5' to='alice@localhost'><vCard xmlns='vcard-temp'/></iq>");
    assert!(got.contains("<FN>Al</FN>"), "{got}");
    let got = s.send(
        a,
        "<iq type='get' id='6' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    );
    assert!(got.contains("urn:xmpp:carbons:2"), "{got}");
    let got = s.send(b, "<iq type='get' id='7' to='alice@localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>");
    assert!(got.contains("service-unavailable"), "{got}");
    let got = s.send(a, "<foo xmlns='urn:none'/>");
    assert!(got.contains("unsupported-stanza-type") && got.ends_with("</stream:stream>"), "{got}");
}

#[test]
fn resumption() {
    let mut s = Server::new();
    s.register("alice");
    s.register("bob");
    let a = s.login("alice", "a");
    s.send(a, "<presence/>");
    let b = s.login("bob", "b");
    s.send(b, "<presence/>");
    let got = s.send(b, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    let id = got.split("id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    s.send(b, "<r xmlns='urn:xmpp:sm:3'/><iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq><r xmlns='urn:xmpp:sm:3'/>");
    s.worker.handle(s.now, Input::Closed(b));
    s.drain();
    s.send(a, "<message to='bob@localhost' type='chat' id='m1'><body>one</body></message>");
    s.read(a);
    let c = s.auth("bob");
    let got = s.send(c, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='1'/>"));
    assert!(got.contains("<resumed") && got.contains("<body>one</body>"), "{got}");
    s.send(a, "<message to='bob@localhost' type='chat' id='m2'><body>two</body></message>");
    let got = s.read(c);
    assert!(got.contains("two"), "{got}");
    let d = s.auth("bob");
    let got = s.send(d, "<resume xmlns='urn:xmpp:sm:3' previd='0-77-0' h='1'/>");
    assert!(got.contains("<failed"), "{got}");
}
