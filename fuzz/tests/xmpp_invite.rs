//! Invitations over XMPP, through a whole worker with the memory store.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_core::ids::ConnId;
use lavina_core::time::UnixMillis;
use server::{HEAD, Server};

const WEEK: u64 = 7 * 24 * 3600 * 1000;

/// A server with alice's account; from then on one registers by invitation alone.
fn server(accounts_invite: bool) -> Server {
    let mut s = Server::new();
    s.register("alice");
    s.reload(|config| {
        config.registration.accounts_invite = accounts_invite;
        config.registration.open = false;
    });
    s
}

fn command(node: &str) -> String {
    format!(
        "<iq type='set' id='c' to='localhost'><command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:invite#{node}' action='execute'/></iq>"
    )
}

/// The link that the command gives, and its token.
fn invite(s: &mut Server, c: ConnId) -> (String, String) {
    let got = s.send(c, &command("invite"));
    let uri =
        got.split("var='uri'").nth(1).unwrap().split("<value>").nth(1).unwrap().split('<').next().unwrap();
    let token = uri.split("preauth=").nth(1).unwrap().split(';').next().unwrap();
    (uri.to_owned(), token.to_owned())
}

fn register(s: &mut Server, user: &str, token: &str) -> String {
    let c = s.open();
    s.send(c, HEAD);
    let shown =
        s.send(c, &format!("<iq type='set' id='p'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></iq>"));
    let got = s.send(c, &format!("<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{user}</username><password>secret</password></query></iq>"));
    s.send(c, "</stream:stream>");
    assert_eq!(shown.contains("type='result'"), got.contains("type='result'"), "{shown} {got}");
    got
}

fn online(s: &mut Server, user: &str) -> ConnId {
    let c = s.login(user, "r");
    s.send(c, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>");
    c
}

#[test]
fn a_friend_gets_an_account_and_both_see_each_other() {
    let mut s = server(true);
    let a = online(&mut s, "alice");
    let (uri, token) = invite(&mut s, a);
    assert_eq!(uri, format!("xmpp:alice@localhost?roster;preauth={token};ibr=y"));
    assert!(register(&mut s, "bob", "wrong").contains("not-allowed"));
    assert!(register(&mut s, "bob", &token).contains("type='result'"));
    let got = s.read(a);
    assert!(got.contains("<item jid='bob@localhost' subscription='both'"), "{got}");
    assert!(!got.contains("type='subscribe'"), "{got}");
    let b = s.login("bob", "r");
    let got = s.send(b, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>");
    assert!(got.contains("<item jid='alice@localhost' subscription='both'"), "{got}");
    assert!(got.contains("<presence from='alice@localhost/r'") && !got.contains("type='subscribe'"), "{got}");
    assert!(s.read(a).contains("<presence from='bob@localhost/r'"));
    assert!(register(&mut s, "carol", &token).contains("not-allowed"), "used up");
    // one that was good when it was shown stays so
    let (_, token) = invite(&mut s, a);
    s.now.wall = UnixMillis(s.now.wall.0 + WEEK + 1);
    assert!(register(&mut s, "carol", &token).contains("not-allowed"), "too old");
}

#[test]
fn one_who_has_an_account_becomes_a_contact() {
    let mut s = server(false);
    let a = online(&mut s, "alice");
    let (uri, token) = invite(&mut s, a);
    assert_eq!(uri, format!("xmpp:alice@localhost?roster;preauth={token}"));
    assert!(register(&mut s, "bob", &token).contains("not-allowed"), "it makes no account");
    s.reload(|_| {});
    for user in ["bob", "carol"] {
        s.register(user);
    }
    let [b, c] = ["bob", "carol"].map(|user| online(&mut s, user));
    let subscribe = |to: &str, token: &str| {
        format!(
            "<presence to='{to}@localhost' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></presence>"
        )
    };
    // somebody else's invitation is worth nothing
    s.send(c, &subscribe("bob", &token));
    assert!(s.read(b).contains("type='subscribe'"));
    s.read(a);
    let got = s.send(
        b,
        &format!("<presence to='alice@localhost' type='subscribed'/>{}", subscribe("alice", &token)),
    );
    assert!(got.contains("<item jid='alice@localhost' subscription='both'"), "{got}");
    let got = s.read(a);
    assert!(
        got.contains("<item jid='bob@localhost' subscription='both'") && !got.contains("type='subscribe'"),
        "{got}"
    );
    // it was for one
    s.send(c, &subscribe("alice", &token));
    assert!(s.read(a).contains("from='carol@localhost' to='alice@localhost' type='subscribe'"));
}

#[test]
fn commands_are_listed_for_who_can_use_them() {
    let mut s = server(false);
    let a = online(&mut s, "alice");
    let got = s.send(a, "<iq type='get' id='i' to='localhost'><query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/></iq>");
    assert!(got.contains("node='urn:xmpp:invite#invite'") && !got.contains("create-account"), "{got}");
    let got = s.send(a, "<iq type='get' id='i' to='localhost'><query xmlns='http://jabber.org/protocol/disco#info' node='urn:xmpp:invite#invite'/></iq>");
    assert!(got.contains("category='automation' type='command-node'"), "{got}");
    assert!(s.send(a, &command("create-account")).contains("<forbidden"));
    assert!(s.send(a, &command("nothing")).contains("<item-not-found"));
    for n in 0..51 {
        s.now.mono = lavina_core::time::Mono(s.now.mono.0 + 10_000);
        let got = s.send(a, &command("invite"));
        assert_eq!(got.contains("resource-constraint"), n == 50, "{n}: {got}");
    }
}
