//! Rooms over XMPP, through a whole worker with the memory store.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_core::drive::{Drive, Input};
use server::muc::{ROOM, ask, configure};
use server::{Server, in_order};

#[test]
fn coming_in_speaking_and_leaving() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    let got = s.join(a, "lobby", "alice");
    in_order(
        &got,
        &[
            "<presence from='lobby@rooms.localhost/alice' to='alice@localhost/r'>",
            "affiliation='owner' role='moderator' jid='alice@localhost'",
            "<status code='110'/><status code='170'/><status code='201'/>",
            "<occupant-id",
            "type='groupchat'><subject></subject></message>",
        ],
    );
    let said = "<message to='lobby@rooms.localhost' type='groupchat' id='m1'><body>hello</body></message>";
    let got = s.send(a, said);
    let from_alice =
        "<message from='lobby@rooms.localhost/alice' to='alice@localhost/r' type='groupchat' id='m1'>";
    assert!(got.starts_with(from_alice) && got.contains("<stanza-id xmlns='urn:xmpp:sid:0'"), "{got}");
    // The history comes before the subject.
    let got = s.join(b, "lobby", "bob");
    in_order(
        &got,
        &[
            "<presence from='lobby@rooms.localhost/alice' to='bob@localhost/r'>",
            "<presence from='lobby@rooms.localhost/bob' to='bob@localhost/r'>",
            "affiliation='none' role='participant'",
            "<status code='110'/>",
            "<body>hello</body>",
            "<delay xmlns='urn:xmpp:delay' from='lobby@rooms.localhost'",
            "<subject>",
        ],
    );
    assert_eq!(got.matches("code='110'").count(), 1, "{got}");
    let got = s.read(a);
    assert!(got.starts_with("<presence from='lobby@rooms.localhost/bob' to='alice@localhost/r'>"), "{got}");
    assert_eq!(got.matches("<presence").count(), 1, "{got}");
    let got = s.send(
        b,
        "<message to='lobby@rooms.localhost' type='groupchat' id='s'><subject>Tea</subject></message>",
    );

    assert!(got.contains("type='error'") && got.contains("forbidden"), "{got}");
    s.send(a, "<message to='lobby@rooms.localhost' type='groupchat' id='s'><subject>Tea &amp; more</subject></message>");
    assert!(s.read(b).contains("<subject>Tea &amp; more</subject>"));
    s.read(a);
    // Private messages are the dialog's.
    s.send(a, "<message to='lobby@rooms.localhost/bob' type='chat' id='p'><body>psst</body></message>");
    let got = s.read(b);
    let aside = "<body>psst</body><x xmlns='http://jabber.org/protocol/muc#user'/>";
    assert!(got.contains("from='lobby@rooms.localhost/alice'") && got.contains(aside), "{got}");
    let got = s.send(b, "<presence to='lobby@rooms.localhost/bob'><show>away</show></presence>");
    assert!(got.contains("<show>away</show>") && got.contains("code='110'"), "{got}");
    assert!(
        s.read(a)
            .contains("<presence from='lobby@rooms.localhost/bob' to='alice@localhost/r'><show>away</show>")
    );
    let got =
        s.send(b, "<iq type='get' id='p' to='lobby@rooms.localhost/bob'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(got.contains("type='result'"), "{got}");
    let got = s.send(b, "<presence to='lobby@rooms.localhost/bob' type='unavailable'/>");
    assert!(got.contains("type='unavailable'") && got.contains("code='110'"), "{got}");
    assert!(
        s.read(a).contains(
            "<presence from='lobby@rooms.localhost/bob' to='alice@localhost/r' type='unavailable'>"
        )
    );
    let got =
        s.send(b, "<iq type='get' id='p' to='lobby@rooms.localhost/bob'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(got.contains("not-acceptable"), "{got}");
    let got = s.send(b, said);
    assert!(got.contains("not-acceptable"), "{got}");
}

#[test]
fn a_lost_connection_leaves() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    s.join(a, "lobby", "alice");
    s.join(b, "lobby", "bob");
    s.read(a);
    s.worker.handle(s.now, Input::Closed(b));
    s.drain();
    let got = s.read(a);
    assert!(got.contains("from='lobby@rooms.localhost/bob'") && got.contains("type='unavailable'"), "{got}");
}

#[test]
fn rooms_are_found() {
    let mut s = Server::new();
    let a = s.online("alice");
    s.enter(a, "lobby", "alice");
    let disco = |to: &str, what: &str| {
        format!(
            "<iq type='get' id='d' to='{to}'><query xmlns='http://jabber.org/protocol/disco#{what}'/></iq>"
        )
    };
    let got = s.send(a, &disco("localhost", "items"));
    assert!(got.contains("<item jid='rooms.localhost'"), "{got}");
    let got = s.send(a, &disco("rooms.localhost", "info"));
    assert!(got.contains("category='conference' type='text'"), "{got}");
    let got = s.send(a, &disco("lobby@rooms.localhost", "info"));
    assert!(got.contains("muc_hidden") && got.contains("muc#roominfo_occupants"), "{got}");
    let got = s.send(a, &disco("lobby@rooms.localhost", "items"));
    assert!(got.contains("<item jid='lobby@rooms.localhost/alice'/>"), "{got}");
    let got = s.send(a, &disco("nosuch@rooms.localhost", "info"));
    assert!(got.contains("item-not-found"), "{got}");
}

#[test]
fn configuration_and_destruction() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    s.join(a, "lobby", "alice");
    s.join(b, "lobby", "bob");
    s.read(a);
    let got = s.send(a, &ask("get", "owner", ""));
    assert!(got.contains("muc#roomconfig_membersonly") && got.contains("type='form'"), "{got}");
    let got = s.send(b, &ask("get", "owner", ""));
    assert!(got.contains("forbidden"), "{got}");
    let got = s.send(a, &configure(&[("roomname", "Tea"), ("moderatedroom", "1")]));
    assert!(got.contains("<status code='104'/>") && got.contains("type='result'"), "{got}");
    assert!(s.read(b).contains("<status code='104'/>"));
    let got = s.send(a, &configure(&[("publicroom", "perhaps")]));
    assert!(got.contains("not-acceptable"), "{got}");
    let info = format!(
        "<iq type='get' id='d' to='{ROOM}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    );
    let got = s.send(b, &info);
    assert!(
        got.contains("name='Tea'") && got.contains("muc_moderated") && got.contains("muc_public"),
        "{got}"
    );
    let got = s.send(b, &format!("<message to='{ROOM}' type='groupchat' id='m'><body>x</body></message>"));
    assert!(got.contains("type='error'") && got.contains("forbidden"), "{got}");
    let destroy = "<destroy jid='other@rooms.localhost'><reason>moved</reason></destroy>";
    let got = s.send(b, &ask("set", "owner", destroy));
    assert!(got.contains("forbidden"), "{got}");
    let got = s.send(a, &ask("set", "owner", destroy));
    in_order(
        &got,
        &["from='lobby@rooms.localhost/alice'", "<destroy jid='other@rooms.localhost'>", "type='result'"],
    );
    let got = s.read(b);
    in_order(
        &got,
        &["from='lobby@rooms.localhost/bob'", "type='unavailable'", "<reason>moved</reason>", "code='110'"],
    );
    let got = s.join(a, "lobby", "alice");
    assert!(got.contains("type='error'"), "{got}");
}

#[test]
fn power_over_people() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    s.join(a, "lobby", "alice");
    s.join(b, "lobby", "bob");
    s.read(a);
    let item = |what: &str| format!("<item {what}><reason>so</reason></item>");
    let got = s.send(a, &ask("set", "admin", &item("jid='bob@localhost' affiliation='member'")));
    in_order(
        &got,
        &["lobby@rooms.localhost/bob", "affiliation='member' role='participant'", "type='result'"],
    );
    let got = s.read(b);
    in_order(&got, &["affiliation='member'", "<reason>so</reason>", "code='110'"]);
    let got = s.send(a, &ask("get", "admin", "<item affiliation='member'/>"));
    assert!(
        got.contains("<item affiliation='member' jid='bob@localhost' nick='bob' role='participant'/>"),
        "{got}"
    );
    for (payload, error) in [
        ("nick='alice' role='none'", "forbidden"),
        ("jid='alice@localhost' affiliation='none'", "forbidden"),
        ("nick='carol' role='none'", "item-not-found"),
        ("nick='alice'", "bad-request"),
    ] {
        let got = s.send(b, &ask("set", "admin", &item(payload)));
        assert!(got.contains(error), "{payload}: {got}");
    }
    let got = s.send(a, &ask("set", "admin", &item("jid='alice@localhost' affiliation='member'")));
    assert!(got.contains("conflict"), "the last owner stays: {got}");
    let got = s.send(b, &format!("<message to='{ROOM}' type='groupchat' id='m'><body>bad</body></message>"));
    let id = got
        .split("stanza-id xmlns='urn:xmpp:sid:0' id='")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap()
        .to_owned();
    let moderate = format!(
        "<iq type='set' id='q' to='{ROOM}'><moderate xmlns='urn:xmpp:message-moderate:1' id='{id}'>\
         <retract xmlns='urn:xmpp:message-retract:1'/><reason>no</reason></moderate></iq>"
    );
    s.read(a);
    let got = s.send(a, &moderate);
    assert!(got.contains("type='result'"), "{got}");
    let got = s.read(b);
    in_order(
        &got,
        &[
            "from='lobby@rooms.localhost' ",
            &format!("<retract xmlns='urn:xmpp:message-retract:1' id='{id}'>"),
            "<moderated",
        ],
    );
    let got = s.send(a, &ask("set", "admin", &item("nick='bob' role='none'")));
    in_order(&got, &["type='unavailable'", "<actor nick='alice'", "<status code='307'/>", "type='result'"]);
    let got = s.read(b);
    in_order(&got, &["type='unavailable'", "code='110'", "code='307'"]);
    s.join(b, "lobby", "bob");
    s.send(a, &ask("set", "admin", &item("jid='bob@localhost' affiliation='outcast'")));
    assert!(s.read(b).contains("<status code='301'/>"));
    let got = s.join(b, "lobby", "bob");
    assert!(got.contains("type='error'") && got.contains("forbidden"), "{got}");
    let got = s.send(a, &ask("get", "admin", "<item affiliation='outcast'/>"));
    assert!(got.contains("jid='bob@localhost'><reason>so</reason>"), "{got}");
    s.send(a, &ask("set", "admin", &item("jid='bob@localhost' affiliation='none'")));
    let got = s.join(b, "lobby", "bob");
    assert!(got.contains("code='110'"), "{got}");
}

/// A request for the archive.
fn archive(to: Option<&str>, content: &str) -> String {
    let to = to.map_or(String::new(), |to| format!(" to='{to}'"));
    format!("<iq type='set' id='q'{to}><query xmlns='urn:xmpp:mam:2' queryid='f'>{content}</query></iq>")
}

fn page(rsm: &str) -> String {
    format!("<set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set>")
}

#[test]
fn archives_of_rooms_and_accounts() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    s.join(a, "lobby", "alice");
    for n in 0..4 {
        s.send(a, &format!("<message to='{ROOM}' type='groupchat' id='g{n}'><body>g{n}</body></message>"));
    }
    let got = s.send(a, &archive(Some(ROOM), &page("<max>2</max>")));
    in_order(
        &got,
        &[
            "<message from='lobby@rooms.localhost' to='alice@localhost/r'><result xmlns='urn:xmpp:mam:2' queryid='f' id='",
            "<delay xmlns='urn:xmpp:delay' stamp='",
            "<message xmlns='jabber:client' from='lobby@rooms.localhost/alice' type='groupchat' id='g0'><body>g0</body>",
            "<body>g1</body>",
            "<fin xmlns='urn:xmpp:mam:2'><set",
        ],
    );
    let last = got.split("<last>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let got = s.send(a, &archive(Some(ROOM), &page(&format!("<after>{last}</after>"))));
    in_order(&got, &["<body>g2</body>", "<body>g3</body>", "complete='true'"]);
    let got = s.send(b, &archive(Some(ROOM), ""));
    assert!(got.contains("forbidden"), "{got}");
    let got = s.send(a, &archive(Some("nosuch@rooms.localhost"), ""));
    assert!(got.contains("item-not-found"), "{got}");

    s.send(a, "<message to='bob@localhost' type='chat' id='1'><body>one</body></message>");
    s.send(b, "<message to='alice@localhost/r' type='chat' id='2'><body>two</body></message>");
    s.read(a);
    let got = s.send(a, &archive(None, ""));
    in_order(
        &got,
        &[
            "<message to='alice@localhost/r'><result",
            "from='alice@localhost/r' to='bob@localhost' type='chat' id='1'>",
            "from='bob@localhost/r' to='alice@localhost/r' type='chat' id='2'>",
            "complete='true'",
        ],
    );
    let ids: Vec<&str> =
        got.split("queryid='f' id='").skip(1).map(|t| t.split('\'').next().unwrap()).collect();
    let field = |var: &str, value: &str| {
        format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>\
             <field var='{var}'><value>{value}</value></field></x>"
        )
    };
    let got = s.send(a, &archive(None, &field("with", "bob@localhost")));
    assert_eq!(got.matches("<result").count(), 2, "{got}");
    let got = s.send(a, &archive(None, &field("with", "nobody@localhost")));
    assert!(got.contains("complete='true'") && !got.contains("<result"), "{got}");
    let got = s.send(a, &archive(None, &field("ids", ids[1])));
    assert!(got.contains("<body>two</body>") && !got.contains("<body>one</body>"), "{got}");
    let got = s.send(a, "<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>");
    in_order(&got, &[&format!("<start id='{}'", ids[0]), &format!("<end id='{}'", ids[1])]);
    let got = s.send(a, &archive(None, &page("<after>nonsense</after>")));
    assert!(got.contains("item-not-found"), "{got}");
}

#[test]
fn invitations() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    s.join(a, "lobby", "alice");
    s.send(a, &configure(&[("membersonly", "1")]));
    let got = s.join(b, "lobby", "bob");
    assert!(got.contains("registration-required"), "{got}");
    let invite = format!(
        "<message to='{ROOM}' id='i'><x xmlns='http://jabber.org/protocol/muc#user'>\
         <invite to='bob@localhost'><reason>tea</reason></invite></x></message>"
    );
    assert_eq!(s.send(a, &invite), "");
    let told = "<invite from='alice@localhost'><reason>tea</reason></invite></x>\
        <x xmlns='jabber:x:conference' jid='lobby@rooms.localhost' reason='tea'/></message>";
    let got = s.read(b);
    assert!(
        got.contains("<message from='lobby@rooms.localhost' to='bob@localhost'") && got.contains(told),
        "{got}"
    );
    // Told again to whoever comes, until it is answered.
    let b2 = s.login("bob", "late");
    let got = s.send(b2, "<presence/>");
    assert!(got.contains(told), "{got}");
    let decline = format!(
        "<message to='{ROOM}' id='i'><x xmlns='http://jabber.org/protocol/muc#user'><decline to='alice@localhost'/></x></message>"
    );
    s.read(b);
    assert_eq!(s.send(b, &decline), "");
    // He is a member all the same (XEP-0045 §7.8.2), until that is taken from him.
    s.send(a, &ask("set", "admin", "<item jid='bob@localhost' affiliation='none'/>"));
    s.read(b);
    let got = s.join(b, "lobby", "bob");
    assert!(got.contains("registration-required"), "{got}");
    s.send(a, &invite);
    s.read(b);
    let got = s.join(b, "lobby", "bob");
    assert!(got.contains("code='110'"), "{got}");
    let c = s.online("carol");
    let got = s.send(c, &invite);
    assert!(got.contains("type='error'"), "{got}");
    let got = s.send(a, &invite.replace("bob@", "nobody@"));
    assert!(got.contains("item-not-found"), "{got}");
}

#[test]
fn the_archive_has_everything_and_says_so() {
    let mut s = Server::new();
    let a = s.online("alice");
    for (kind, rest) in [("get", "/>"), ("set", " default='never'><always/><never/></prefs>")] {
        let got = s.send(a, &format!("<iq type='{kind}' id='p'><prefs xmlns='urn:xmpp:mam:2'{rest}</iq>"));
        in_order(&got, &["type='error'", "<feature-not-implemented ", "everything that is said is in it"]);
    }
}
