//! The state machine, and the fan-out of a whole worker without sockets.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lavina_codecs::{
    config::Config,
    session::Session,
    settings::{Listener, Protocol, Security, Settings},
};
use lavina_core::{
    Worker,
    chat::{Entity, Entry},
    command::{Act, Command, EntityId, Join, Seed},
    drive::{Drive, Due, Input, Output},
    event::{Actor, Message},
    ids::{AccountId, ConnId, Pos, RoomId, WorkerId},
    name::{RoomName, User, UserName},
    policy::{Policy, power},
    settings::{Guests, WhoMay},
    text::{Rich, Str},
    time::{Mono, Now, UnixMillis},
};
use lavina_store::{Memory, Reader, Store};
use std::{hint::black_box, sync::Arc};

/// A room with so many members.
fn room(members: u64) -> (Entity, Pos) {
    let id = EntityId::Room(RoomId(64));
    let (mut room, mut next) = (Entity::fresh(&id), Pos(1));
    for n in 1..=members {
        let seed = Seed::new(RoomName::new("lobby").ok(), Policy::default(), power::OWNER);
        let join = Join { create: (n == 1).then_some(seed), ..Join::default() };
        let out = room.apply(&entry(&id, n, Act::Join(Box::new(join)), next), &core_settings());
        next = Pos(next.0 + out.used());
    }
    (room, next)
}

fn core_settings() -> lavina_core::settings::Settings {
    lavina_core::settings::Settings::default()
}

fn entry(to: &EntityId, by: u64, act: Act, first: Pos) -> Entry {
    let user = User::new(AccountId(by << 6), UserName::new(&format!("user{by}")).unwrap());
    let command = Command { to: to.clone(), by: Actor::User(user), once: None, act };
    Entry { command, first, at: UnixMillis(first.0 * 10), again: false }
}

fn apply(c: &mut Criterion) {
    let id = EntityId::Room(RoomId(64));
    let settings = core_settings();
    let mut group = c.benchmark_group("apply");
    for members in [2, 1_000] {
        let (mut room, mut next) = room(members);
        group.bench_function(format!("a message to {members}"), |b| {
            b.iter(|| {
                let message = Message { body: Rich::plain("hello there"), ..Message::default() };
                let act =
                    Act::Say { message: Box::new(message), subject: Str::new("user1!x@y"), parties: None };
                let out = room.apply(&entry(&id, 1, act, next), &settings);
                next = Pos(next.0 + out.used());
                black_box(out.events.len())
            });
        });
    }
    group.finish();
}

/// One worker with the memory store; what it sends is counted and dropped.
struct Server {
    worker: Worker<Session>,
    store: Memory,
    now: Now,
    sent: usize,
    conns: u32,
}

impl Server {
    fn new() -> Server {
        let mut config = Config { guests: Guests::Free, ..Config::default() };
        config.rooms.who_may_create = WhoMay::Everybody;
        config.limits.values.flood_burst = 0;
        let settings = Arc::new(Settings::new(&config, 4, [7; 32]));
        let now = Now { mono: Mono(1_000), wall: UnixMillis(1_795_580_960_000) };
        let worker = Worker::new(WorkerId(0), 1, settings, [1; 32], now);
        let mut server = Server { worker, store: Memory::new(4).unwrap(), now, sent: 0, conns: 0 };
        server.drain();
        server
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
                        let bytes = self.worker.transmit(conn).len();
                        self.sent += bytes;
                        self.worker.handle(now, Input::Sent(conn, bytes));
                    }
                    Output::Job(id, work) => {
                        let done = work.run();
                        self.worker.handle(now, Input::JobDone(id, done));
                    }
                    _ => {}
                }
            }
            match self.worker.poll_deadline() {
                Due::Now => self.worker.handle(self.now, Input::Tick),
                _ => return,
            }
        }
    }

    fn send(&mut self, conn: ConnId, line: &str) {
        self.now = Now { mono: Mono(self.now.mono.0 + 1), wall: UnixMillis(self.now.wall.0 + 1) };
        self.worker.handle(self.now, Input::Received(conn, line.as_bytes()));
        self.drain();
    }

    /// A guest in the room.
    fn guest(&mut self) -> ConnId {
        let conn = ConnId { slot: self.conns, generation: 0 };
        self.conns += 1;
        let on = Listener { protocol: Protocol::Irc, security: Security::Off };
        self.worker.handle(self.now, Input::Opened(conn, on, None));
        let name = format!("g{}", self.conns);
        self.send(conn, &format!("NICK {name}\r\nUSER x 0 * :x\r\nJOIN #lobby\r\n"));
        conn
    }
}

fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out");
    for members in [10u64, 1_000] {
        let mut server = Server::new();
        let conns: Vec<ConnId> = (0..members).map(|_| server.guest()).collect();
        let (line, before) = ("PRIVMSG #lobby :hello there, all of you\r\n", server.sent);
        server.send(conns[0], line);
        assert!(server.sent - before > (members as usize - 1) * line.len(), "everybody hears it");
        group.throughput(Throughput::Elements(members - 1));
        group.bench_function(format!("a line to {members}"), |b| {
            b.iter(|| server.send(conns[0], black_box(line)));
        });
    }
    group.finish();
}

criterion_group!(benches, apply, fan_out);
criterion_main!(benches);
