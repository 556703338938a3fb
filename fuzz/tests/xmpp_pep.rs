//! Personal eventing over XMPP, through a whole worker with the memory store.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_core::ids::ConnId;
use server::Server;

fn request(kind: &str, to: Option<&str>, content: &str) -> String {
    let to = to.map_or(String::new(), |to| format!(" to='{to}'"));
    format!(
        "<iq type='{kind}' id='q'{to}><pubsub xmlns='http://jabber.org/protocol/pubsub'>{content}</pubsub></iq>"
    )
}

fn publish(node: &str, id: &str, payload: &str) -> String {
    request("set", None, &format!("<publish node='{node}'><item id='{id}'>{payload}</item></publish>"))
}

fn fetch(to: Option<&str>, node: &str) -> String {
    request("get", to, &format!("<items node='{node}'/>"))
}

/// Makes the client say that it wants to hear of these nodes.
fn wants(s: &mut Server, c: ConnId, nodes: &[&str]) -> String {
    let got = s.send(c, &format!("<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:c' ver='{}'/></presence>", nodes.join("")));
    let id = got.split("<iq type='get' id='").nth(1).unwrap().split('\'').next().unwrap();
    let features: String = nodes.iter().map(|n| format!("<feature var='{n}+notify'/>")).collect();
    s.send(c, &format!("<iq type='result' id='{id}' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info'>{features}</query></iq>"))
}

fn befriend(s: &mut Server, a: ConnId, b: ConnId) {
    s.send(a, "<presence to='bob@localhost' type='subscribe'/>");
    s.send(b, "<presence to='alice@localhost' type='subscribed'/>");
    s.send(b, "<presence to='alice@localhost' type='subscribe'/>");
    s.send(a, "<presence to='bob@localhost' type='subscribed'/>");
    s.read(a);
    s.read(b);
}

#[test]
fn items_are_published_read_and_taken_back() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    let got = s.send(a, &publish("urn:n", "1", "<x xmlns='urn:x'>one</x>"));
    assert!(got.contains("<publish node='urn:n'><item id='1'/></publish>"), "{got}");
    s.send(a, &publish("urn:n", "2", "<x xmlns='urn:x'>two</x>"));
    let got = s.send(a, &fetch(None, "urn:n"));
    assert!(
        got.contains("<items node='urn:n'><item id='2'><x xmlns='urn:x'>two</x></item></items>"),
        "{got}"
    );
    // Strangers read only what is open, and nobody writes for another.
    let got = s.send(b, &fetch(Some("alice@localhost"), "urn:n"));
    assert!(got.contains("<not-authorized") && got.contains("presence-subscription-required"), "{got}");
    let got = s.send(
        b,
        &publish("urn:n", "3", "<x xmlns='urn:x'/>").replace("id='q'", "id='q' to='alice@localhost'"),
    );
    assert!(got.contains("forbidden"), "{got}");
    let options = "<publish node='urn:o'><item id='1'><x xmlns='urn:x'/></item></publish><publish-options>\
        <x xmlns='jabber:x:data' type='submit'><field var='pubsub#access_model'><value>open</value></field></x></publish-options>";
    assert!(s.send(a, &request("set", None, options)).contains("type='result'"));
    let got = s.send(b, &fetch(Some("alice@localhost"), "urn:o"));
    assert!(got.contains("<item id='1'>"), "{got}");
    let got = s.send(a, &request("set", None, &options.replace("open", "whitelist")));
    assert!(got.contains("precondition-not-met"), "{got}");
    let got = s.send(a, &request("set", None, "<retract node='urn:n'><item id='2'/></retract>"));
    assert!(got.contains("type='result'"), "{got}");
    let got = s.send(a, &fetch(None, "urn:n"));
    assert!(got.contains("<items node='urn:n'/>"), "{got}");
    let owner = |content: &str| {
        format!(
            "<iq type='set' id='q'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>{content}</pubsub></iq>"
        )
    };
    assert!(s.send(a, &owner("<delete node='urn:n'/>")).contains("type='result'"));
    assert!(s.send(a, &fetch(None, "urn:n")).contains("item-not-found"));
    assert!(s.send(a, &owner("<delete node='urn:n'/>")).contains("item-not-found"));
}

#[test]
fn those_who_want_to_know_are_told() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    befriend(&mut s, a, b);
    assert_eq!(wants(&mut s, b, &["urn:n"]), "");
    s.send(a, &publish("urn:n", "1", "<x xmlns='urn:x'/>"));
    let event = "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:n'><item id='1'><x xmlns='urn:x'/></item></items></event>";
    let got = s.read(b);
    assert!(
        got.contains("from='alice@localhost' to='bob@localhost/r' type='headline'") && got.contains(event),
        "{got}"
    );
    s.send(a, &publish("urn:other", "1", "<x xmlns='urn:x'/>"));
    assert_eq!(s.read(b), "");
    assert_eq!(s.read(a), "");
    // Who comes later gets the last item.
    let b2 = s.login("bob", "late");
    let got = wants(&mut s, b2, &["urn:n", "urn:other"]);
    assert!(got.contains(event) && got.contains("urn:other"), "{got}");
    s.send(a, &request("set", None, "<retract node='urn:n'><item id='1'/></retract>"));
    let got = s.read(b);
    assert!(got.contains("<items node='urn:n'><retract id='1'/></items>"), "{got}");
}

#[test]
fn avatars_and_bookmarks_are_seen_both_ways() {
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    befriend(&mut s, a, b);
    let vcard = "<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>Al</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>QUJD</BINVAL></PHOTO></vCard></iq>";
    assert!(s.send(a, vcard).contains("type='result'"));
    let hash = "3c01bdbb26f358bab27f267924aa2c9a03fcfdb8";
    let got = s.send(b, &fetch(Some("alice@localhost"), "urn:xmpp:avatar:metadata"));
    assert!(got.contains(&format!("<info bytes='3' id='{hash}' type='image/png'/>")), "{got}");
    s.send(a, "<presence/>");
    let got = s.read(b);
    assert!(got.contains(&format!("<photo>{hash}</photo>")), "{got}");
    s.send(a, &publish("urn:xmpp:avatar:data", "n", "<data xmlns='urn:xmpp:avatar:data'>TkVX</data>"));
    let metadata =
        "<metadata xmlns='urn:xmpp:avatar:metadata'><info bytes='3' id='n' type='image/gif'/></metadata>";
    s.send(a, &publish("urn:xmpp:avatar:metadata", "n", metadata));
    let got = s.send(b, "<iq type='get' id='v' to='alice@localhost'><vCard xmlns='vcard-temp'/></iq>");
    assert!(
        got.contains("<FN>Al</FN>") && got.contains("<TYPE>image/gif</TYPE><BINVAL>TkVX</BINVAL>"),
        "{got}"
    );
    let got = s.send(a, "<presence/>");
    assert!(got.contains("<photo>n</photo>"), "{got}");

    let private = |kind: &str, content: &str| {
        format!(
            "<iq type='{kind}' id='p'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>{content}</storage></query></iq>"
        )
    };
    let bookmark = "<conference jid='lobby@rooms.localhost' autojoin='true'><nick>alice</nick></conference>";
    assert!(s.send(a, &private("set", bookmark)).contains("type='result'"));
    let got = s.send(a, &fetch(None, "urn:xmpp:bookmarks:1"));
    assert!(
        got.contains(
            "<item id='lobby@rooms.localhost'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'>"
        ),
        "{got}"
    );
    // What is bookmarked stays joined when no session sits there; without the bookmark the account leaves.
    s.join(a, "lobby", "alice");
    s.join(b, "lobby", "bob");
    let leave = |who: &str| format!("<presence to='lobby@rooms.localhost/{who}' type='unavailable'/>");
    let archive = "<iq type='set' id='m' to='lobby@rooms.localhost'><query xmlns='urn:xmpp:mam:2'/></iq>";
    s.send(a, &leave("alice"));
    s.send(b, &leave("bob"));
    assert!(s.send(a, archive).contains("type='result'"));
    assert!(s.send(b, archive).contains("forbidden"));
    s.send(
        a,
        &request(
            "set",
            None,
            "<retract node='urn:xmpp:bookmarks:1'><item id='lobby@rooms.localhost'/></retract>",
        ),
    );
    assert!(s.send(a, archive).contains("forbidden"));
    let got = s.send(a, &private("get", ""));
    assert!(!got.contains("lobby"), "{got}");
}

#[test]
fn what_was_read_elsewhere_was_displayed() {
    const MDS: &str = "urn:xmpp:mds:displayed:0";
    let mut s = Server::new();
    let (a, b) = (s.online("alice"), s.online("bob"));
    let id_of =
        |got: &str| got.split("<stanza-id xmlns='urn:xmpp:sid:0' id='").nth(1).unwrap()[..22].to_owned();
    let id_of = |got: &str| id_of(got).split('\'').next().unwrap().to_owned();
    let say = |s: &mut Server, body: &str| {
        s.send(
            a,
            &format!("<message to='bob@localhost' type='chat' id='{body}'><body>{body}</body></message>"),
        );
        id_of(&s.read(b))
    };
    let one = say(&mut s, "one");
    wants(&mut s, b, &[MDS]);
    let item = format!(
        "<displayed xmlns='{MDS}'><stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='{one}'/></displayed>"
    );
    s.send(b, &publish(MDS, "alice@localhost", &item));
    // what an IRC client was shown is read
    let c = s.open_on(lavina_codecs::settings::Protocol::Irc);
    let got = s.send(c, "PASS bob:secret\r\nNICK bob\r\nUSER b 0 * :b\r\n");
    assert!(got.contains(" 001 "), "{got}");
    s.read(b);
    let two = say(&mut s, "two");
    assert!(s.read(c).ends_with("PRIVMSG bob :two\r\n"));
    s.send(c, "QUIT\r\n");
    // told at once, and found when asked for
    let got = s.read(b);
    assert!(
        got.contains(&format!("<item id='alice@localhost'><displayed xmlns='{MDS}'>")) && got.contains(&two),
        "{got}"
    );
    let got = s.send(b, &fetch(None, MDS));
    assert!(got.contains(&two) && !got.contains(&one), "{got}");
}

#[test]
fn a_photo_in_the_vcard_is_the_avatar_as_soon_as_it_is_set() {
    let mut s = Server::new();
    let a = s.online("alice");
    let photo = "<PHOTO><TYPE>image/png</TYPE><BINVAL>aGVsbG8=</BINVAL></PHOTO>";
    let set = format!("<iq type='set' id='v'><vCard xmlns='vcard-temp'>{photo}</vCard></iq>");
    assert!(s.send(a, &set).contains("type='result'"));
    // The SHA-1 of "hello".
    let got = s.send(a, "<presence/>");
    assert!(got.contains("<photo>aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d</photo>"), "{got}");
}
