//! A whole worker with the memory store, without sockets, for the tests of sessions.
#![allow(dead_code, reason = "each test uses what it needs")]

pub mod matrix;
pub mod muc;

use lavina_codecs::config::Config;
use lavina_codecs::matrix::ids::IdKey;
use lavina_codecs::session::Session;
use lavina_codecs::settings::{Listener, Protocol, Security, Settings};
use lavina_core::Worker;
use lavina_core::drive::{Drive, Due, Input, Output};
use lavina_core::event::Event;
use lavina_core::ids::{ConnId, Epoch, MsgId, Pos, Ticket, WorkerId};
use lavina_core::query::{Only, Range};
use lavina_core::row::{Asked, Page, Read, RoomHead};
use lavina_core::time::{Mono, Now, UnixMillis};
use lavina_store::{
    Memory, Reader, Store,
    blobs::{self, Blobs},
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

pub struct Server {
    pub worker: Worker<Session>,
    pub store: Memory,
    pub media: blobs::Memory,
    pub now: Now,
    pub out: BTreeMap<ConnId, String>,
    /// The same as bytes; taken out by nobody but the test.
    pub raw: BTreeMap<ConnId, Vec<u8>>,
    /// Who was sent something, in order.
    pub order: Vec<ConnId>,
    pub closed: BTreeMap<ConnId, String>,
    /// While true, the store does not say that anything is stored.
    pub stalled: bool,
    stored: Vec<(Epoch, Ticket)>,
    /// While true, the store answers no question.
    pub mute: bool,
    unread: Vec<Asked>,
    /// How often a room was read.
    pub rooms_read: u32,
    next: u32,
    settings: Arc<Settings>,
    /// The head of the last answer to a Matrix client.
    pub last: String,
}

impl Server {
    pub fn new() -> Server {
        Server::with(|_| {})
    }

    /// Without flood control, as the tests of external clients want it.
    pub fn unlimited() -> Server {
        Server::with(|config| {
            config.limits.values.flood_burst = 0;
            config.limits.values.flood_rate = 0;
        })
    }

    /// With another configuration.
    pub fn with(change: impl FnOnce(&mut Config)) -> Server {
        let settings = settings(change);
        let now = Now { mono: Mono(1000), wall: UnixMillis(1_795_580_960_000) };
        let worker = Worker::new(WorkerId(0), 1, settings.clone(), [1; 32], now);
        let mut s = Server {
            worker,
            store: Memory::new(4).unwrap(),
            media: blobs::Memory::default(),
            now,
            out: BTreeMap::new(),
            raw: BTreeMap::new(),
            order: Vec::new(),
            closed: BTreeMap::new(),
            stalled: false,
            stored: Vec::new(),
            mute: false,
            unread: Vec::new(),
            rooms_read: 0,
            next: 0,
            settings,
            last: String::new(),
        };
        s.drain();
        s
    }

    /// The entry that a sealed event of Matrix is.
    pub fn entry(&mut self, event: &str) -> MsgId {
        let seal = lavina_codecs::matrix::chain::seal_of(event).unwrap();
        match self.store.page(&Read::Sealed(seal)) {
            Page::Sealed(Some(piece)) => MsgId { room: piece.room, pos: piece.pos },
            other => panic!("{event}: {other:?}"),
        }
    }

    /// The log of a room that Matrix calls so, with its head.
    pub fn log(&mut self, room: &str) -> (RoomHead, Vec<Arc<Event>>) {
        let local = room.split(':').next().unwrap();
        let reversible = IdKey::new(&[7; 32]).coded_room(local);
        let room = match reversible {
            Some(room) => room,
            None => self.entry(&room.replace('!', "$")).room,
        };
        let range = Range { only: Only::All, newest: false, ..Range::latest(10_000) };
        let read = Read::History { room, floor: Pos::ZERO, last: Pos::MAX, range };
        match (self.store.page(&Read::Room(room, 1)), self.store.page(&read)) {
            (Page::Room(Some(rows)), Page::Events(found)) => (rows.head, found.entries),
            other => panic!("{other:?}"),
        }
    }

    pub fn drain(&mut self) {
        loop {
            while let Some(output) = self.worker.poll_output() {
                let now = self.now;
                match output {
                    Output::Append(epoch, ticket, changes) => {
                        self.store.append(&changes).unwrap();
                        self.store.commit().unwrap();
                        self.stored.push((epoch, ticket));
                        self.tell_stored();
                    }
                    Output::Fetch(asked) => {
                        self.rooms_read += u32::from(matches!(asked.read, Read::Room(..)));
                        self.unread.push(asked);
                        self.tell_read();
                    }
                    Output::Flush(conn) => {
                        let bytes = self.worker.transmit(conn).to_vec();
                        self.sent(conn, &bytes);
                        self.worker.handle(now, Input::Sent(conn, bytes.len()));
                    }
                    Output::Job(id, work) => {
                        let done = work.run();
                        self.worker.handle(now, Input::JobDone(id, done));
                    }
                    Output::Blob(id, op) => {
                        if let Some(done) = self.media.carry_out(WorkerId(0), id, op) {
                            self.worker.handle(now, Input::Blob(id, done));
                        }
                    }
                    Output::Close(conn, reason) => {
                        let bytes = self.worker.transmit(conn).to_vec();
                        self.sent(conn, &bytes);
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

    fn sent(&mut self, conn: ConnId, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.order.push(conn);
        }
        self.out.entry(conn).or_default().push_str(&String::from_utf8_lossy(bytes));
        self.raw.entry(conn).or_default().extend_from_slice(bytes);
    }

    fn tell_stored(&mut self) {
        if !self.stalled {
            for (epoch, ticket) in std::mem::take(&mut self.stored) {
                self.worker.handle(self.now, Input::Stored(epoch, ticket));
            }
        }
    }

    fn tell_read(&mut self) {
        if !self.mute {
            for asked in std::mem::take(&mut self.unread) {
                let page = self.store.page(&asked.read);
                self.worker.handle(self.now, Input::Fetched(asked.id, page));
            }
        }
    }

    /// The store answers again.
    pub fn unmute(&mut self) {
        self.mute = false;
        self.tell_read();
        self.drain();
    }

    /// The store says what it has stored meanwhile.
    pub fn unstall(&mut self) {
        self.stalled = false;
        self.tell_stored();
        self.drain();
    }

    /// The configuration is another one from here on.
    pub fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        self.worker.handle(self.now, Input::Settings(settings(change)));
        self.drain();
    }

    /// The program ends at once and starts again with what is stored.
    pub fn crash(&mut self) {
        self.worker = Worker::new(WorkerId(0), 1, settings(|_| {}), [2; 32], self.now);
        (self.mute, self.stalled) = (false, false);
        self.stored.clear();
        self.unread.clear();
        self.drain();
    }

    /// The server stops as it is, and starts again with what it has stored; all connections are gone.
    pub fn restart(&mut self) {
        self.now.mono = Mono(self.now.mono.0 + 10_000);
        self.now.wall = UnixMillis(self.now.wall.0 + 10_000);
        // Each start has other random numbers.
        let seed = std::array::from_fn(|n| self.now.mono.0.to_be_bytes()[n % 8]);
        self.worker = Worker::new(WorkerId(0), 1, self.settings.clone(), seed, self.now);
        self.stored.clear();
        self.unread.clear();
        self.drain();
    }

    /// The connection is gone.
    pub fn cut(&mut self, conn: ConnId) {
        self.worker.handle(self.now, Input::Closed(conn));
        self.drain();
    }

    pub fn open(&mut self) -> ConnId {
        self.open_on(Protocol::Xmpp)
    }

    pub fn open_on(&mut self, protocol: Protocol) -> ConnId {
        self.open_from(protocol, None)
    }

    /// A connection from an address; without one it is a local socket.
    pub fn open_from(&mut self, protocol: Protocol, peer: Option<SocketAddr>) -> ConnId {
        let conn = ConnId { slot: self.next, generation: 0 };
        self.next += 1;
        let on = Listener { protocol, security: Security::Off };
        self.worker.handle(self.now, Input::Opened(conn, on, peer));
        self.drain();
        conn
    }

    /// Sends; what came back.
    pub fn send(&mut self, conn: ConnId, xml: &str) -> String {
        self.now.mono = Mono(self.now.mono.0 + 50);
        self.now.wall = UnixMillis(self.now.wall.0 + 50);
        self.at_once(conn, xml)
    }

    /// Sends within the same millisecond; what came back.
    pub fn at_once(&mut self, conn: ConnId, xml: &str) -> String {
        self.worker.handle(self.now, Input::Received(conn, xml.as_bytes()));
        self.drain();
        self.read(conn)
    }

    /// The client's end is closed.
    pub fn hang_up(&mut self, conn: ConnId) {
        self.worker.handle(self.now, Input::Closed(conn));
        self.drain();
    }

    pub fn read(&mut self, conn: ConnId) -> String {
        self.out.remove(&conn).unwrap_or_default()
    }

    pub fn login(&mut self, user: &str, resource: &str) -> ConnId {
        let c = self.auth(user);
        let got = self.send(c, &format!("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>"));
        assert!(got.contains(&format!("<jid>{user}@localhost/{resource}</jid>")), "{got}");
        c
    }

    pub fn auth(&mut self, user: &str) -> ConnId {
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

    pub fn register(&mut self, user: &str) {
        let c = self.open();
        self.send(c, HEAD);
        let got = self.send(c, &format!("<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{user}</username><password>secret</password></query></iq>"));
        assert!(got.contains("type='result'"), "{got}");
        let got = self.send(c, "</stream:stream>");
        assert!(got.ends_with("</stream:stream>"), "{got}");
        assert!(self.closed.contains_key(&c));
    }
}

pub const HEAD: &str = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

impl Server {
    /// A client that is registered and available.
    pub fn online(&mut self, user: &str) -> ConnId {
        self.register(user);
        self.available(user, "r")
    }

    /// Another client of an account, available.
    pub fn available(&mut self, user: &str, resource: &str) -> ConnId {
        let c = self.login(user, resource);
        self.send(c, "<presence/>");
        self.read(c);
        c
    }

    /// A client of an account over IRC, with these capabilities.
    pub fn irc(&mut self, nick: &str, caps: &str) -> ConnId {
        let c = self.open_on(Protocol::Irc);
        self.send(
            c,
            &format!("CAP REQ :{caps}\r\nPASS {nick}:secret\r\nNICK {nick}\r\nUSER x 0 * :Real\r\n"),
        );
        let got = self.send(c, "CAP END\r\n");
        assert!(got.contains(" 001 ") || self.read(c).contains(" 001 "), "{got}");
        c
    }

    /// Joins a room; one that is made by it is configured, as it is offered.
    pub fn join(&mut self, c: ConnId, room: &str, nick: &str) -> String {
        let got = self.enter(c, room, nick);
        if got.contains("code='201'") {
            let room = format!("{room}@rooms.localhost");
            self.send(c, &muc::ask_of(&room, "set", "owner", &muc::submitted(&[])));
        }
        got
    }

    /// Joins a room, and does nothing more.
    pub fn enter(&mut self, c: ConnId, room: &str, nick: &str) -> String {
        self.send(c, &format!("<presence to='{room}@rooms.localhost/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"))
    }
}

fn settings(change: impl FnOnce(&mut Config)) -> Arc<Settings> {
    let mut config = Config::default();
    config.registration.open = true;
    config.password.iterations = 4096;
    change(&mut config);
    Arc::new(Settings::new(&config, 4, [7; 32]))
}

/// The places of the parts in the text, to see their order.
pub fn in_order(text: &str, parts: &[&str]) {
    let mut at = 0;
    for part in parts {
        let found = text[at..].find(part);
        assert!(found.is_some(), "no {part} after byte {at} of {text}");
        at += found.unwrap() + part.len();
    }
}
