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
    assert!(got.contains("<item jid='bob@localhost' subscription='to'/>"), "{got}");
    assert_eq!(got.matches("from='bob@localhost/b'").count(), 1, "{got}");
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
    // one who is blocked learns no more than one who writes to nobody, and nothing of it is kept
    let got = s.send(b, "<message to='alice@localhost' type='chat' id='m'><body>x</body></message>");
    let nobody = s.send(b, "<message to='nobody@localhost' type='chat' id='m'><body>x</body></message>");
    assert!(got.contains("type='error'") && got.contains("service-unavailable"), "{got}");
    assert_eq!(got, nobody.replace("nobody@", "alice@"));
    assert_eq!(s.read(a), "");
    let got = s.send(b, "<iq type='set' id='m'><query xmlns='urn:xmpp:mam:2'/></iq>");
    assert!(got.contains("complete='true'") && !got.contains("<body>"), "{got}");
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
    let nobody = s.send(b, "<iq type='get' id='5' to='nobody@localhost'><vCard xmlns='vcard-temp'/></iq>");
    assert_eq!(got, nobody.replace("nobody@", "alice@"));
    s.send(a, "<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>");
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
fn a_contact_list_that_the_client_has_is_not_sent_again() {
    let mut s = Server::new();
    let a = s.online("alice");
    let get = |ver: &str| format!("<iq type='get' id='r'><query xmlns='jabber:iq:roster' ver='{ver}'/></iq>");
    let version = |got: &str| got.split("ver='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let empty = version(&s.send(a, &get("")));
    assert_eq!(s.send(a, &get(&empty)), "<iq type='result' id='r' to='alice@localhost/r'/>");
    let add = "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='x@localhost'/></query></iq>";
    let push = s.send(a, add);
    let with_x = version(&push);
    assert_ne!(empty, with_x);
    assert_eq!(s.send(a, &get(&with_x)), "<iq type='result' id='r' to='alice@localhost/r'/>");
    let got = s.send(a, &get(&empty));
    assert!(got.contains("<item jid='x@localhost'") && version(&got) == with_x, "{got}");
    // the version is the same for the account's next session
    s.cut(a);
    let a = s.login("alice", "r2");
    assert_eq!(s.send(a, &get(&with_x)), "<iq type='result' id='r' to='alice@localhost/r2'/>");
}

/// Enables stream management; the session's name for a resumption.
fn enable(s: &mut Server, c: lavina_core::ids::ConnId) -> String {
    let got = s.send(c, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    got.split("id='").nth(1).unwrap().split('\'').next().unwrap().to_owned()
}

fn resume(s: &mut Server, user: &str, id: &str, h: u32) -> (lavina_core::ids::ConnId, String) {
    let c = s.auth(user);
    let got = s.send(c, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{h}'/>"));
    (c, got)
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
    let id = enable(&mut s, b);
    s.send(b, "<r xmlns='urn:xmpp:sm:3'/><iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq><r xmlns='urn:xmpp:sm:3'/>");
    s.cut(b);
    s.send(a, "<message to='bob@localhost' type='chat' id='m1'><body>one</body></message>");
    s.read(a);
    let (c, got) = resume(&mut s, "bob", &id, 1);
    assert!(got.contains("<resumed") && got.contains("<body>one</body>"), "{got}");
    s.send(a, "<message to='bob@localhost' type='chat' id='m2'><body>two</body></message>");
    let got = s.read(c);
    assert!(got.contains("two"), "{got}");
    // a name that differs in its last bits is nobody's, neither is another account's
    let last = if id.ends_with('A') { 'E' } else { 'A' };
    let (_, got) = resume(&mut s, "bob", &format!("{}{last}", &id[..id.len() - 1]), 1);
    assert!(got.contains("<failed"), "{got}");
    let (_, got) = resume(&mut s, "alice", &id, 1);
    assert!(got.contains("<failed"), "{got}");
}

#[test]
fn a_resumption_counts_only_what_is_stored() {
    let mut s = Server::new();
    s.register("bob");
    let a = s.online("alice");
    let id = enable(&mut s, a);
    let resume = |h: u32| format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{h}'/>");
    let [c, d, e, f] = [(); 4].map(|()| s.auth("alice"));
    s.stalled = true;
    s.send(a, "<message to='bob@localhost' type='chat' id='m1'><body>one</body></message>");
    s.cut(a);
    assert_eq!(s.send(c, &resume(0)), "", "an answer before the message is stored");
    // the newest connection gets the session
    assert_eq!(s.send(d, &resume(0)), "");
    let got = s.read(c);
    assert!(got.contains("<failed"), "{got}");
    s.unstall();
    let got = s.read(d);
    assert!(got.contains("<resumed xmlns='urn:xmpp:sm:3' h='1'"), "{got}");
    let got = s.send(d, "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(got.contains("type='result' id='p'"), "{got}");
    // one that goes away while it waits leaves the session as it was
    s.stalled = true;
    s.send(d, "<message to='bob@localhost' type='chat' id='m2'><body>two</body></message>");
    s.cut(d);
    assert_eq!(s.send(e, &resume(1)), "");
    s.cut(e);
    s.unstall();
    let got = s.send(f, &resume(1));
    assert!(got.contains("<resumed xmlns='urn:xmpp:sm:3' h='3'"), "{got}");
}

#[test]
fn a_resumption_counts_no_message_whose_refusal_may_be_lost() {
    let mut s = Server::new();
    let [a, b] = ["alice", "bob"].map(|user| s.online(user));
    let id = enable(&mut s, a);
    let say = |to: &str, n: u8| {
        format!("<message to='{to}@localhost' type='chat' id='m{n}'><body>word {n}</body></message>")
    };
    let ping = "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>";
    s.send(a, &say("bob", 1));
    let got = s.send(a, &say("nobody", 2));
    // the client is asked at once whether it has the refusal
    assert!(got.contains("<service-unavailable") && got.ends_with("<r xmlns='urn:xmpp:sm:3'/>"), "{got}");
    s.send(a, &format!("{}{ping}{}", say("bob", 3), say("nobody", 4)));
    s.read(b);
    s.cut(a);
    // nothing of what came is acknowledged: the first message was taken, the second may be lost yet
    let (c, got) = resume(&mut s, "alice", &id, 0);
    let (resumed, again) = got.split_once("/>").unwrap();
    assert!(resumed.ends_with(&format!("<resumed xmlns='urn:xmpp:sm:3' h='1' previd='{id}'")), "{got}");
    assert_eq!(again.matches("type='error'").count(), 2, "{got}");
    // what is sent again is known; one with the time at which it was first sent is the same
    let late = "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/></message>";
    let third = say("bob", 3).replace("</message>", late);
    let got = s.send(c, &format!("{}{third}", say("nobody", 2)));
    assert_eq!((got.as_str(), s.read(b).as_str()), ("", ""));
    s.cut(c);
    let (d, got) = resume(&mut s, "alice", &id, 1);
    assert!(got.contains(" h='3' "), "the first refusal is acknowledged: {got}");
    let got = s.send(d, &format!("{ping}{}<r xmlns='urn:xmpp:sm:3'/>", say("nobody", 4)));
    assert_eq!((got.as_str(), s.read(b).as_str()), ("<a xmlns='urn:xmpp:sm:3' h='5'/>", ""));
    // once all is acknowledged the count is whole
    s.cut(d);
    let (e, got) = resume(&mut s, "alice", &id, 3);
    assert!(got.contains(" h='5' "), "{got}");
    // a client that sends nothing again is taken at its word
    s.send(e, &say("nobody", 6));
    s.cut(e);
    let (f, got) = resume(&mut s, "alice", &id, 3);
    assert!(got.contains(" h='5' "), "{got}");
    let got = s.send(f, &format!("{}<r xmlns='urn:xmpp:sm:3'/>", say("bob", 7)));
    assert!(got.contains("<a xmlns='urn:xmpp:sm:3' h='6'/>") && s.read(b).contains("word 7"), "{got}");
}

#[test]
fn what_can_wait_waits_while_nobody_looks() {
    let mut s = Server::new();
    let [a, b] = ["alice", "bob"].map(|user| s.online(user));
    s.join(a, "lobby", "alice");
    s.join(b, "lobby", "bob");
    s.send(a, "<iq type='set' id='o' to='lobby@rooms.localhost'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>");
    s.join(b, "lobby", "bob");
    s.send(b, "<presence to='alice@localhost' type='subscribe'/>");
    s.send(a, "<presence to='bob@localhost' type='subscribed'/>");
    s.read(b);
    assert_eq!(s.send(b, "<inactive xmlns='urn:xmpp:csi:0'/>"), "");
    s.send(a, "<presence><show>away</show></presence>");
    s.send(a, "<presence><show>dnd</show></presence>");
    s.send(a, "<message to='bob@localhost' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>");
    s.send(a, "<message to='lobby@rooms.localhost' type='groupchat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>");
    assert_eq!(s.read(b), "");
    // what is said brings what waited before it, each presence once
    s.send(a, "<message to='lobby@rooms.localhost' type='groupchat' id='g'><body>hi</body></message>");
    let got = s.read(b);
    let (before, said) = got.split_once("<message").unwrap();
    assert!(said.contains("<body>hi</body>") && !got.contains("composing"), "{got}");
    assert!(!got.contains("away") && before.matches("<show>dnd</show>").count() == 1, "{got}");
    s.send(a, "<presence><show>chat</show></presence>");
    assert_eq!(s.read(b), "");
    let got =
        s.send(b, "<active xmlns='urn:xmpp:csi:0'/><iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(got.find("<show>chat</show>").unwrap() < got.find("id='p'").unwrap(), "{got}");
    s.send(a, "<presence/>");
    let got = s.read(b);
    assert!(got.contains("<presence from='alice@localhost/r'"), "{got}");
}

#[test]
fn a_resumed_stream_is_active() {
    let mut s = Server::new();
    let [a, b] = ["alice", "bob"].map(|user| s.online(user));
    s.send(b, "<presence to='alice@localhost' type='subscribe'/>");
    s.send(a, "<presence to='bob@localhost' type='subscribed'/>");
    let id = enable(&mut s, b);
    s.send(b, "<inactive xmlns='urn:xmpp:csi:0'/>");
    s.send(a, "<presence><show>away</show></presence>");
    // the old connection still lives: what waited comes over the new one
    let (c, mut got) = resume(&mut s, "bob", &id, 0);
    s.now.mono = lavina_core::time::Mono(s.now.mono.0 + 1);
    s.worker.handle(s.now, Input::Tick);
    s.drain();
    got += &s.read(c);
    assert!(got.contains("<resumed") && got.contains("<show>away</show>"), "{got}");
    s.send(a, "<presence><show>dnd</show></presence>");
    let got = s.read(c);
    assert!(got.contains("<show>dnd</show>"), "{got}");
}

#[test]
fn what_a_replaced_session_has_seen_is_no_offline_message() {
    let mut s = Server::new();
    let [a, b] = ["alice", "bob"].map(|user| s.online(user));
    enable(&mut s, b);
    s.send(a, "<message to='bob@localhost' type='chat' id='m1'><body>seen</body></message>");
    assert!(s.read(b).contains("<body>seen</body>"));
    // the connection is lost, and the client logs in anew under the same name
    s.cut(b);
    s.send(a, "<message to='bob@localhost' type='chat' id='m2'><body>not acknowledged</body></message>");
    let b = s.login("bob", "r");
    let got = s.send(b, "<presence/>");
    assert!(!got.contains("<body>seen</body>"), "{got}");
}

#[test]
fn a_line_break_behind_the_last_element_of_a_stream_is_no_fault() {
    let mut s = Server::new();
    s.register("alice");
    let c = s.open();
    s.send(c, server::HEAD);
    let plain = data_encoding::BASE64.encode(b"\0alice\0secret");
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>\n");
    assert!(s.send(c, &auth).contains("<success"));
    let got = s.send(c, server::HEAD);
    assert!(got.contains("<bind"), "{got}");
}
