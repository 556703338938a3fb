//! Logging in by SASL2 and what goes with it, through a whole worker with the memory store.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use lavina_core::ids::ConnId;
use lavina_core::time::UnixMillis;
use server::{HEAD, Server};
use sha2::Sha256;

const AGENT: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const BIND: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>Test</tag></bind>";

fn open(s: &mut Server) -> ConnId {
    let c = s.open();
    let got = s.send(c, HEAD);
    assert!(got.contains("<authentication xmlns='urn:xmpp:sasl:2'><mechanism>"), "{got}");
    c
}

fn authenticate(mechanism: &str, initial: &[u8], agent: &str, wishes: &str) -> String {
    format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'><initial-response>{}</initial-response>\
         <user-agent id='{agent}'><software>Test</software></user-agent>{wishes}</authenticate>",
        BASE64.encode(initial)
    )
}

/// Logs in by password.
fn login(s: &mut Server, user: &str, agent: &str, wishes: &str) -> (ConnId, String) {
    let c = open(s);
    let plain = format!("\0{user}\0secret");
    let got = s.send(c, &authenticate("PLAIN", plain.as_bytes(), agent, wishes));
    (c, got)
}

/// Logs in by token.
fn by_token(s: &mut Server, user: &str, agent: &str, token: &str, wishes: &str) -> (ConnId, String) {
    let c = open(s);
    let proof = hmac(token, b"Initiator");
    let initial = [user.as_bytes(), b"\0", &proof].concat();
    let got = s.send(c, &authenticate("HT-SHA-256-NONE", &initial, agent, wishes));
    (c, got)
}

fn hmac(token: &str, what: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(what);
    mac.finalize().into_bytes().to_vec()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split(from).nth(1).unwrap().split(to).next().unwrap()
}

#[test]
fn one_step_logs_in_and_begins_a_session() {
    let mut s = Server::new();
    s.register("bob");
    let a = s.online("alice");
    s.send(a, "<message to='bob@localhost' type='chat' id='m1'><body>while away</body></message>");
    let wishes = "<bind xmlns='urn:xmpp:bind:0'><tag>Test</tag><enable xmlns='urn:xmpp:carbons:2'/>\
                  <enable xmlns='urn:xmpp:sm:3' resume='true'/><inactive xmlns='urn:xmpp:csi:0'/></bind>";
    let (b, got) = login(&mut s, "bob", AGENT, wishes);
    let jid = between(&got, "<authorization-identifier>", "<").to_owned();
    assert!(
        got.starts_with("<success xmlns='urn:xmpp:sasl:2'>") && jid.starts_with("bob@localhost/Test/"),
        "{got}"
    );
    assert!(!jid.contains(AGENT), "{jid}");
    assert!(
        got.contains("<bound xmlns='urn:xmpp:bind:0'><metadata xmlns='urn:xmpp:mam:2'><start id='"),
        "{got}"
    );
    assert!(
        got.contains("<enabled xmlns='urn:xmpp:sm:3' id='")
            && !got.contains("urn:ietf:params:xml:ns:xmpp-bind"),
        "{got}"
    );
    let features = got.split_once("<stream:features>").unwrap().1;
    assert!(!features.contains("<sm "), "it is enabled: {got}");
    // what came while it was away is in the archive, and not sent
    let got = s.send(b, "<presence/>");
    assert!(got.contains(&jid) && !got.contains("while away"), "{got}");
    let got = s.send(b, "<r xmlns='urn:xmpp:sm:3'/>");
    assert!(got.contains("<a xmlns='urn:xmpp:sm:3' h='1'/>"), "{got}");
    // the same client gets the same resource, and its earlier session ends
    let (_, got) = login(&mut s, "bob", AGENT, BIND);
    assert_eq!(between(&got, "<authorization-identifier>", "<"), jid);
    let got = s.read(b);
    assert!(got.contains("<conflict"), "{got}");
    let (_, got) = login(&mut s, "bob", "other", BIND);
    assert_ne!(between(&got, "<authorization-identifier>", "<"), jid);
}

#[test]
fn without_more_wishes_the_older_bind_follows() {
    let mut s = Server::new();
    s.register("alice");
    let (a, got) = login(&mut s, "alice", AGENT, "");
    assert!(
        got.contains(
            "<authorization-identifier>alice@localhost</authorization-identifier></success><stream:features>"
        ),
        "{got}"
    );
    let got = s.send(a, "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>");
    assert!(got.contains("<jid>alice@localhost/r</jid>"), "{got}");
    let c = open(&mut s);
    let got = s.send(c, &authenticate("PLAIN", b"\0alice\0wrong", AGENT, BIND));
    assert_eq!(
        got,
        "<failure xmlns='urn:xmpp:sasl:2'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>\
         <text xml:lang='en'>the account or the password is wrong</text></failure>"
    );
    // a wish of a failed attempt is forgotten
    let plain = BASE64.encode(b"\0alice\0secret");
    let got = s
        .send(c, &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"));
    assert_eq!(got, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
}

#[test]
fn a_session_goes_on_within_the_login() {
    let mut s = Server::new();
    let [a, b] = ["alice", "bob"].map(|user| s.online(user));
    let got = s.send(b, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    let id = between(&got, "id='", "'").to_owned();
    s.cut(b);
    s.send(a, "<message to='bob@localhost' type='chat' id='m1'><body>one</body></message>");
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>{BIND}");
    let (b, got) = login(&mut s, "bob", AGENT, &resume);
    let (success, rest) = got.split_once("</success>").unwrap();
    assert!(success.contains("<resumed xmlns='urn:xmpp:sm:3' h='0'") && !success.contains("<bound"), "{got}");
    assert!(rest.starts_with("<stream:features>") && rest.contains("<body>one</body>"), "{got}");
    let got = s.send(b, "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(got.contains("to='bob@localhost/r'"), "{got}");
    // a session that is not to be had: a new one, in the same step
    let (_, got) =
        login(&mut s, "bob", AGENT, &format!("<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>{BIND}"));
    assert!(got.contains("<failed xmlns='urn:xmpp:sm:3'><item-not-found") && got.contains("<bound"), "{got}");
}

#[test]
fn what_comes_before_the_session_has_begun_waits() {
    let mut s = Server::new();
    s.register("bob");
    let a = s.online("alice");
    // the client's next session has the same address
    let (_, got) = login(&mut s, "bob", AGENT, BIND);
    let jid = between(&got, "<authorization-identifier>", "<").to_owned();
    s.mute = true;
    let (b, got) = login(&mut s, "bob", AGENT, BIND);
    assert_eq!(got, "");
    s.send(a, &format!("<message to='{jid}' type='chat' id='m'><body>meanwhile</body></message>"));
    assert_eq!(s.read(b), "");
    s.unmute();
    let got = s.read(b);
    let (before, after) = got.split_once("</success>").unwrap();
    assert!(before.contains("<bound") && after.matches("<body>meanwhile</body>").count() == 1, "{got}");
}

#[test]
fn a_token_logs_in_its_client_alone() {
    let mut s = Server::new();
    s.register("alice");
    let wishes = format!("{BIND}<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>");
    let (_, got) = login(&mut s, "alice", AGENT, &wishes);
    let first = between(&got, "token='", "'").to_owned();
    assert!(got.contains("<token xmlns='urn:xmpp:fast:0' expiry='2026-"), "{got}");
    let fast = "<fast xmlns='urn:xmpp:fast:0'/>";
    let (_, got) = by_token(&mut s, "alice", AGENT, &first, &format!("{BIND}{fast}"));
    let proof = BASE64.encode(&hmac(&first, b"Responder"));
    assert_eq!(between(&got, "<additional-data>", "<"), proof);
    assert!(got.contains("<bound") && !got.contains("<token"), "{got}");
    for (user, agent, token) in [("alice", "other", &*first), ("bob", AGENT, &first), ("alice", AGENT, "x")] {
        let (_, got) = by_token(&mut s, user, agent, token, fast);
        assert!(got.contains("<not-authorized"), "{user} {agent}: {got}");
    }
    // an older token is replaced; it works until the new one was used
    s.now.wall = UnixMillis(s.now.wall.0 + 2 * 24 * 3600 * 1000);
    let (_, got) = by_token(&mut s, "alice", AGENT, &first, fast);
    let second = between(&got, "token='", "'").to_owned();
    let (_, got) = by_token(&mut s, "alice", AGENT, &first, fast);
    let third = between(&got, "token='", "'").to_owned();
    let (_, got) = by_token(&mut s, "alice", AGENT, &second, fast);
    assert!(got.contains("<not-authorized"), "given again, and never used: {got}");
    let (_, got) = by_token(&mut s, "alice", AGENT, &third, fast);
    assert!(got.contains("<success"), "{got}");
    let (_, got) = by_token(&mut s, "alice", AGENT, &first, fast);
    assert!(got.contains("<not-authorized"), "{got}");
    // its owner ends it
    let (_, got) =
        by_token(&mut s, "alice", AGENT, &third, "<fast xmlns='urn:xmpp:fast:0' invalidate='true'/>");
    assert!(got.contains("<success"), "{got}");
    let (_, got) = by_token(&mut s, "alice", AGENT, &third, fast);
    assert!(got.contains("<not-authorized"), "{got}");
}

#[test]
fn a_token_ends_with_its_time_and_with_the_password() {
    let mut s = Server::new();
    s.register("alice");
    let wishes = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>";
    let fast = "<fast xmlns='urn:xmpp:fast:0'/>";
    let (_, got) = login(&mut s, "alice", AGENT, wishes);
    let token = between(&got, "token='", "'").to_owned();
    s.now.wall = UnixMillis(s.now.wall.0 + 22 * 24 * 3600 * 1000);
    let (_, got) = by_token(&mut s, "alice", AGENT, &token, fast);
    assert!(got.contains("<not-authorized"), "{got}");
    let (a, got) = login(&mut s, "alice", AGENT, &format!("{BIND}{wishes}"));
    let token = between(&got, "token='", "'").to_owned();
    let change = "<iq type='set' id='c'><query xmlns='jabber:iq:register'><username>alice</username><password>other</password></query></iq>";
    assert!(s.send(a, change).contains("type='result'"));
    let (_, got) = by_token(&mut s, "alice", AGENT, &token, fast);
    assert!(got.contains("<not-authorized"), "{got}");
}
