//! Rooms over XMPP by the letter of XEP-0045, through a whole worker with the memory store: making one, coming, going,
//! standing, and what occupants ask each other.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_core::ids::ConnId;
use server::Server;
use server::muc::{ROOM, ask, configure};

/// Alice's room with Bob in it.
fn two(s: &mut Server) -> (ConnId, ConnId) {
    let (a, b) = (s.online("alice"), s.online("bob"));
    s.join(a, "lobby", "alice");
    s.join(b, "lobby", "bob");
    s.read(a);
    (a, b)
}

#[test]
fn a_new_room_is_hidden_until_it_is_configured() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    let got = s.enter(a, "lobby", "alice");
    assert!(got.contains("code='201'") && got.contains("code='100'") && got.contains("code='170'"), "{got}");
    let disco = format!(
        "<iq type='get' id='d' to='{ROOM}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    );
    assert!(s.send(b, &disco).contains("<item-not-found "));
    // Offered as a public room, whoever of its owners asks, and from wherever.
    s.send(a, &format!("<presence to='{ROOM}' type='unavailable'/>"));
    let got = s.send(a, &ask("get", "owner", ""));
    assert!(got.contains("var='muc#roomconfig_publicroom'"), "{got}");
    let got = s.send(a, &ask("set", "owner", "<x xmlns='jabber:x:data' type='submit'/>"));
    assert!(got.contains("type='result'"), "{got}");
    let got = s.enter(b, "lobby", "bob");
    assert!(got.contains("code='110'") && !got.contains("code='201'"), "{got}");
    // Called off, one that somebody has entered stays.
    let got = s.send(a, &ask("set", "owner", "<x xmlns='jabber:x:data' type='cancel'/>"));
    assert!(got.contains("type='result'"), "{got}");
    assert!(s.send(b, &disco).contains("muc_public"));
}

#[test]
fn a_client_that_has_lost_track_is_told() {
    let mut s = Server::new();
    let (_, b) = two(&mut s);
    s.send(b, &format!("<presence to='{ROOM}' type='unavailable'/>"));
    let got = s.send(b, &format!("<presence to='{ROOM}/bob'/>"));
    assert!(got.contains("type='unavailable'"), "{got}");
    for code in ["110", "307", "333"] {
        assert!(got.contains(&format!("<status code='{code}'/>")), "{got}");
    }
}

#[test]
fn who_goes_may_say_why() {
    let mut s = Server::new();
    let (a, b) = two(&mut s);
    let words = "<status>gone home</status>";
    let got = s.send(b, &format!("<presence to='{ROOM}/bob' type='unavailable'>{words}</presence>"));
    assert_eq!(got.matches("<presence").count(), 1, "{got}");
    assert!(got.contains(words) && got.contains("code='110'"), "{got}");
    let got = s.read(a);
    assert_eq!(got.matches("<presence").count(), 1, "{got}");
    assert!(got.contains("type='unavailable'") && got.contains(words), "{got}");
    assert_eq!(s.send(b, &format!("<presence to='{ROOM}/bob' type='unavailable'/>")), "");
    // Likewise who goes from everywhere.
    s.join(b, "lobby", "bob");
    s.read(a);
    s.send(b, &format!("<presence type='unavailable'>{words}</presence>"));
    assert!(s.read(a).contains(words));
    // And one that says nothing leaves nothing of what it said before.
    s.send(b, "<presence/>");
    s.join(b, "lobby", "bob");
    s.send(b, &format!("<presence to='{ROOM}/bob'><status>here</status></presence>"));
    s.read(a);
    s.send(b, &format!("<presence to='{ROOM}/bob' type='unavailable'/>"));
    let got = s.read(a);
    assert!(got.contains("type='unavailable'") && !got.contains("<status>"), "{got}");
}

#[test]
fn rules_that_change_what_one_may_do_are_shown_of_each() {
    let mut s = Server::new();
    let (a, b) = two(&mut s);
    s.send(a, &configure(&[("moderatedroom", "1")]));
    let got = s.read(b);
    assert!(got.contains("from='lobby@rooms.localhost/bob'") && got.contains("role='visitor'"), "{got}");
    assert!(!got.contains("from='lobby@rooms.localhost/alice'"), "{got}");
    s.read(a);
    s.send(a, &configure(&[("moderatedroom", "0")]));
    assert!(s.read(b).contains("role='participant'"));
}

#[test]
fn who_is_no_member_any_more_goes_where_only_members_are() {
    let mut s = Server::new();
    let (a, b) = two(&mut s);
    s.send(a, &ask("set", "admin", "<item jid='bob@localhost' affiliation='member'/>"));
    s.send(a, &configure(&[("membersonly", "1")]));
    s.read(b);
    let got = s.send(a, &ask("set", "admin", "<item jid='bob@localhost' affiliation='none'/>"));
    for got in [got, s.read(b)] {
        assert!(got.contains("code='321'") && !got.contains("code='307'"), "{got}");
    }
    let got = s.join(b, "lobby", "bob");
    assert!(got.contains("registration-required"), "{got}");
    // Invited there, he is a member again.
    let x = "http://jabber.org/protocol/muc#user";
    s.send(a, &format!("<message to='{ROOM}'><x xmlns='{x}'><invite to='bob@localhost'/></x></message>"));
    let got = s.join(b, "lobby", "bob");
    assert!(got.contains("affiliation='member' role='participant' jid='bob@localhost'"), "{got}");
}

#[test]
fn who_invited_learns_that_it_was_in_vain() {
    let mut s = Server::new();
    let (a, _) = two(&mut s);
    let c = s.online("carol");
    let x = "http://jabber.org/protocol/muc#user";
    s.send(a, &format!("<message to='{ROOM}'><x xmlns='{x}'><invite to='carol@localhost'/></x></message>"));
    assert!(s.read(c).contains("<invite from='alice@localhost'"));
    let decline = "<decline to='alice@localhost'><reason>busy</reason></decline>";
    assert_eq!(s.send(c, &format!("<message to='{ROOM}'><x xmlns='{x}'>{decline}</x></message>")), "");
    let got = s.read(a);
    assert!(got.contains(&format!("<message from='{ROOM}' to='alice@localhost'")), "{got}");
    assert!(got.contains("<decline from='carol@localhost'><reason>busy</reason></decline>"), "{got}");
}

#[test]
fn a_rank_is_not_undone_by_a_role() {
    let mut s = Server::new();
    let (a, b) = two(&mut s);
    s.send(a, &ask("set", "admin", "<item jid='bob@localhost' affiliation='admin'/>"));
    s.read(b);
    for role in ["participant", "visitor"] {
        let got = s.send(a, &ask("set", "admin", &format!("<item nick='bob' role='{role}'/>")));
        assert!(got.contains("<not-allowed "), "{got}");
    }
}

#[test]
fn a_room_has_a_picture() {
    let mut s = Server::new();
    let (a, b) = two(&mut s);
    let vcard = |content: &str| {
        format!("<iq type='set' id='v' to='{ROOM}'><vCard xmlns='vcard-temp'>{content}</vCard></iq>")
    };
    let photo = vcard("<PHOTO><TYPE>image/png</TYPE><BINVAL>aGVsbG8=</BINVAL></PHOTO>");
    assert!(s.send(b, &photo).contains("<forbidden "));
    assert!(s.send(a, &photo).contains("type='result'"));
    assert!(s.read(b).contains("code='104'"));
    let disco = format!(
        "<iq type='get' id='d' to='{ROOM}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    );
    // The SHA-1 of "hello".
    let hash = "<value>aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d</value>";
    let got = s.send(b, &disco);
    assert!(got.contains("muc#roominfo_avatarhash") && got.contains(hash), "{got}");
    let get = format!("<iq type='get' id='g' to='{ROOM}'><vCard xmlns='vcard-temp'/></iq>");
    assert!(s.send(b, &get).contains("<BINVAL>aGVsbG8=</BINVAL>"));
    assert!(s.send(a, &vcard("")).contains("type='result'"));
    assert!(s.send(b, &get).contains("<item-not-found "));
    assert!(!s.send(b, &disco).contains("avatarhash"));
}

#[test]
fn occupants_ask_each_other_through_the_room() {
    let mut s = Server::new();
    let (a, b) = two(&mut s);
    let version = "<query xmlns='jabber:iq:version'/>";
    assert_eq!(s.send(a, &format!("<iq type='get' id='v1' to='{ROOM}/bob'>{version}</iq>")), "");
    let got = s.read(b);
    assert!(got.starts_with("<iq type='get' id='occupant."), "{got}");
    assert!(got.contains("from='lobby@rooms.localhost/alice'") && !got.contains("alice@localhost"), "{got}");
    let id = got.split("id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let answer = "<query xmlns='jabber:iq:version'><name>n</name></query>";
    assert_eq!(s.send(b, &format!("<iq type='result' id='{id}' to='{ROOM}/alice'>{answer}</iq>")), "");
    let got = s.read(a);
    assert!(got.contains("type='result' id='v1'") && got.contains("<name>n</name>"), "{got}");
    assert!(got.contains("from='lobby@rooms.localhost/bob'"), "{got}");
    // Nobody of that name, and nobody there to answer.
    let got = s.send(a, &format!("<iq type='get' id='v2' to='{ROOM}/nobody'>{version}</iq>"));
    assert!(got.contains("<item-not-found "), "{got}");
    let c = s.online("carol");
    let got = s.send(c, &format!("<iq type='get' id='v3' to='{ROOM}/bob'>{version}</iq>"));
    assert!(got.contains("<not-acceptable "), "{got}");
    // An answer that nobody has asked for goes nowhere.
    assert_eq!(s.send(b, &format!("<iq type='result' id='v4' to='{ROOM}/alice'>{answer}</iq>")), "");
    assert_eq!(s.read(a), "");
}

#[test]
fn a_nick_may_be_a_picture_of_today() {
    let mut s = Server::new();
    let (a, _) = two(&mut s);
    let c = s.online("carol");
    let got = s.join(c, "lobby", "🤖🫨");
    assert!(got.contains("from='lobby@rooms.localhost/🤖🫨'") && got.contains("code='110'"), "{got}");
    s.read(a);
    s.send(a, &format!("<message to='{ROOM}/🤖🫨' type='chat'><body>hi</body></message>"));
    assert!(s.read(c).contains("<body>hi</body>"));
}

/// What asks for voice, or answers who asked.
fn voice(more: &str) -> String {
    let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
    let kind = field("FORM_TYPE", "http://jabber.org/protocol/muc#request");
    let role = field("muc#role", "participant");
    format!(
        "<message to='{ROOM}' id='v'><x xmlns='jabber:x:data' type='submit'>{kind}{role}{more}</x></message>"
    )
}

/// The form filled in about Bob.
fn agreed(allow: &str) -> String {
    let nick = "<field var='muc#roomnick'><value>bob</value></field>";
    voice(&format!("{nick}<field var='muc#request_allow'><value>{allow}</value></field>"))
}

#[test]
fn who_has_no_voice_may_ask_for_it() {
    let mut s = Server::unlimited();
    let (a, b) = two(&mut s);
    assert!(s.send(b, &voice("")).contains("<not-allowed "), "he may speak");
    s.send(a, &configure(&[("moderatedroom", "1")]));
    s.read(b);
    assert_eq!(s.send(b, &voice("")), "");
    let got = s.read(a);
    for part in [
        &format!("<message from='{ROOM}' to='alice@localhost'"),
        "type='form'",
        "<value>bob@localhost</value>",
        "var='muc#roomnick'",
        "var='muc#request_allow' type='boolean'",
    ] {
        assert!(got.contains(part), "no {part} in {got}");
    }
    // Nobody agrees with himself, and who does not agree does nothing.
    assert!(s.send(b, &agreed("1")).contains("<forbidden "));
    assert_eq!(s.send(a, &agreed("0")), "");
    assert!(
        s.send(b, &format!("<message to='{ROOM}' type='groupchat'><body>x</body></message>"))
            .contains("<forbidden ")
    );
    let got = s.send(a, &agreed("true"));
    assert!(got.contains(&format!("from='{ROOM}/bob'")) && got.contains("role='participant'"), "{got}");
    assert!(s.read(b).contains("role='participant'"));
    assert_eq!(s.send(a, &agreed("true")), "", "done already");
    s.send(b, &format!("<message to='{ROOM}' type='groupchat'><body>at last</body></message>"));
    assert!(s.read(a).contains("<body>at last</body>"));
}

#[test]
fn voice_is_asked_for_in_the_room_and_of_somebody() {
    let mut s = Server::unlimited();
    let (a, b) = two(&mut s);
    let c = s.online("carol");
    assert!(s.send(c, &voice("")).contains("<not-acceptable "));
    s.send(a, &configure(&[("moderatedroom", "1")]));
    s.send(a, &format!("<presence to='{ROOM}' type='unavailable'/>"));
    s.read(b);
    assert!(s.send(b, &voice("")).contains("<recipient-unavailable "));
}
