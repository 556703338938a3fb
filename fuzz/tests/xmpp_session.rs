//! XMPP sessions through a whole worker with the memory store, byte for byte, without sockets.
#![allow(clippy::unwrap_used, missing_docs)]

use lavina_codecs::config::Config;
use lavina_codecs::session::Session;
use lavina_codecs::settings::{Listener, Protocol, Security, Settings};
use lavina_core::Worker;
use lavina_core::drive::{Drive, Due, Input, Output};
use lavina_core::ids::{ConnId, WorkerId};
use lavina_core::time::{Mono, Now, UnixMillis};
use lavina_store::{Memory, Reader, Store};
use std::collections::BTreeMap;
use std::sync::Arc;

struct Server {
    worker: Worker<Session>,
    store: Memory,
    now: Now,
    out: BTreeMap<ConnId, String>,
    closed: BTreeMap<ConnId, String>,
    next: u32,
}

impl Server {
    fn new() -> Server {
        let mut config = Config::default();
        config.registration.open = true;
        config.password.iterations = 4096;
        let settings = Arc::new(Settings::new(&config, 4, [7; 32]));
        let now = Now { mono: Mono(1000), wall: UnixMillis(1_795_580_960_000) };
        let worker = Worker::new(WorkerId(0), 1, settings, [1; 32], now);
        let mut s = Server {
            worker,
            store: Memory::new(4).unwrap(),
            now,
            out: BTreeMap::new(),
            closed: BTreeMap::new(),
            next: 0,
        };
        s.drain();
        s
    }

    fn drain(&mut self) {
        loop {
            while let Some(output) = self.worker.poll_output() {
                let now = self.now;
                match output {
                    Output::Append(epoch, ticket, changes) => {
                        self.store.append(&changes).unwrap();
                        self.store.commit().unwrap();
                        self.worker.handle(now, Input::Stored(epoch, ticket));
                    }
                    Output::Fetch(asked) => {
                        let page = self.store.page(&asked.read);
                        self.worker.handle(now, Input::Fetched(asked.id, page));
                    }
                    Output::Flush(conn) => {
                        let bytes = self.worker.transmit(conn).to_vec();
                        self.out
                            .entry(conn)
                            .or_default()
                            .push_str(&String::from_utf8(bytes.clone()).unwrap());
                        self.worker.handle(now, Input::Sent(conn, bytes.len()));
                    }
                    Output::Job(id, work) => {
                        let done = work.run();
                        self.worker.handle(now, Input::JobDone(id, done));
                    }
                    Output::Close(conn, reason) => {
                        let bytes = self.worker.transmit(conn).to_vec();
                        self.out.entry(conn).or_default().push_str(&String::from_utf8_lossy(&bytes));
                        self.worker.handle(now, Input::Sent(conn, bytes.len()));
                        self.closed.insert(conn, format!("{reason:?}"));
                        self.worker.handle(now, Input::Closed(conn));
                    }
                    _ => {}
                }
            }
            match self.worker.poll_deadline() {
                Due::Now => self.worker.handle(self.now, Input::Tick),
                _ => break,
            }
        }
    }

    fn open(&mut self) -> ConnId {
        let conn = ConnId { slot: self.next, generation: 0 };
        self.next += 1;
        let on = Listener { protocol: Protocol::Xmpp, security: Security::Off };
        self.worker.handle(self.now, Input::Opened(conn, on, None));
        self.drain();
        conn
    }

    /// Sends; what came back.
    fn send(&mut self, conn: ConnId, xml: &str) -> String {
        self.now.mono = Mono(self.now.mono.0 + 50);
        self.now.wall = UnixMillis(self.now.wall.0 + 50);
        self.worker.handle(self.now, Input::Received(conn, xml.as_bytes()));
        self.drain();
        self.read(conn)
    }

    fn read(&mut self, conn: ConnId) -> String {
        self.out.remove(&conn).unwrap_or_default()
    }

    fn login(&mut self, user: &str, resource: &str) -> ConnId {
        let c = self.auth(user);
        let got = self.send(c, &format!("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>"));
        assert!(got.contains(&format!("<jid>{user}@localhost/{resource}</jid>")), "{got}");
        c
    }

    fn auth(&mut self, user: &str) -> ConnId {
        let c = self.open();
        let got = self.send(c, HEAD);
        assert!(got.contains("SCRAM-SHA-256"), "{got}");
        let plain = data_encoding::BASE64.encode(format!("\0{user}\0secret").as_bytes());
        let got = self.send(
            c,
            &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"),
        );
        assert!(got.contains("<success"), "{got}");
        let got = self.send(c, HEAD);
        assert!(got.contains("<bind"), "{got}");
        c
    }

    fn register(&mut self, user: &str) {
        let c = self.open();
        self.send(c, HEAD);
        let got = self.send(c, &format!("<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{user}</username><password>secret</password></query></iq>"));
        assert!(got.contains("type='result'"), "{got}");
        let got = self.send(c, "</stream:stream>");
        assert!(got.ends_with("</stream:stream>"), "{got}");
        assert!(self.closed.contains_key(&c));
    }
}

const HEAD: &str = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

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
