//! The world around a server: its workers, the mail between them, connections, the store, time. Every step
//! is one event, chosen by the dice among all that could happen next.

use super::{
    dice::{Dice, Trace},
    disk::{Answer, Disk},
    vault::Vault,
};
use lavina_core::{
    Worker,
    drive::{Drive, Due, Input, Output},
    edge::moving::Moving,
    ids::{ConnId, JobId, WorkerId},
    log::Level,
    mail::Mail,
    projection::{Projection, Reason},
    settings::Settings,
    time::{Now, UnixMillis},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// No handling of one input may need more outputs than this: draining ends.
const OUTPUTS: usize = 100_000;

/// A name of a connection that stays the same when it moves.
pub type WireId = usize;

/// What a client notices.
#[derive(Debug)]
pub enum Noticed {
    /// Bytes came.
    Bytes(WireId, Vec<u8>),
    /// The connection is gone.
    Closed(WireId),
}

/// Where the server's end of a connection is.
enum Place<P: Projection> {
    /// Known to a worker.
    At(WorkerId, ConnId),
    /// On its way to another.
    Moving(WorkerId, Box<Moving<P>>),
    /// Not accepted yet.
    New(P::Listener),
    /// The server is done with it.
    Gone,
}

/// A connection.
struct Wire<P: Projection> {
    place: Place<P>,
    /// Bytes on their way to the server.
    up: VecDeque<u8>,
    /// The client's end is closed: after the bytes on their way the server sees the end.
    hung_up: bool,
    paused: bool,
    /// The client does not read.
    stalled: bool,
    wants_flush: bool,
    closing: Option<Reason>,
}

/// A server and what is around it.
pub struct World<P: Projection> {
    /// Chooses.
    pub dice: Dice,
    /// Takes in all that happens.
    pub trace: Trace,
    /// How many steps there were.
    pub step: usize,
    /// The store.
    pub disk: Disk,
    /// The media.
    pub vault: Vault,
    /// Most bytes that go over a connection at once.
    pub chunk: usize,
    /// One commit in so many fails.
    pub fail: usize,
    settings: Arc<P::Settings>,
    now: Now,
    workers: Vec<Worker<P>>,
    mail: BTreeMap<(u8, u8), VecDeque<Mail>>,
    /// Senders that were told that a box is full.
    full: Vec<(u8, u8)>,
    jobs: Vec<(WorkerId, JobId, P::Done)>,
    wires: Vec<Wire<P>>,
    places: BTreeMap<(WorkerId, ConnId), WireId>,
    next_conn: u32,
    noticed: Vec<Noticed>,
    /// Everything is printed as it happens.
    verbose: bool,
}

/// Something that could happen next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Mail(u8, u8),
    Roomy(u8, u8),
    Commit,
    Read,
    Answer(WorkerId),
    Accept(WireId),
    Arrive(WireId),
    Up(WireId),
    Down(WireId),
    Job,
    Media,
    Told(WorkerId),
    Tick(usize),
}

impl<P: Projection> World<P> {
    /// A server of so many workers on an empty store.
    pub fn new(settings: Arc<P::Settings>, workers: u8, mut dice: Dice) -> World<P> {
        let core: &Settings = (*settings).as_ref();
        let disk = Disk::new(core.shards, workers);
        let vault = Vault::new(core.limits, workers);
        let now = Now { wall: UnixMillis(1_790_000_000_000), ..Now::default() };
        let seed = dice.seed();
        let mut world = World {
            dice,
            trace: Trace::default(),
            step: 0,
            disk,
            vault,
            chunk: usize::MAX,
            fail: 0,
            settings,
            now,
            workers: Vec::new(),
            mail: BTreeMap::new(),
            full: Vec::new(),
            jobs: Vec::new(),
            wires: Vec::new(),
            places: BTreeMap::new(),
            next_conn: 0,
            noticed: Vec::new(),
            verbose: std::env::var_os("LAVINA_TRACE").is_some(),
        };
        world.start(workers, seed);
        world
    }

    fn start(&mut self, workers: u8, seed: [u8; 32]) {
        self.workers = (0..workers)
            .map(|n| {
                let mut seed = seed;
                seed[31] ^= n;
                Worker::new(WorkerId(n), workers, self.settings.clone(), seed, self.now)
            })
            .collect();
        for n in 0..workers {
            self.drain(WorkerId(n));
        }
    }

    /// The clock.
    pub fn now(&self) -> Now {
        self.now
    }

    /// The whole process ends and starts again on what was stored.
    pub fn crash(&mut self) {
        self.trace.number(0xdead);
        self.tell(|| "crash".to_owned());
        self.disk.crash(&mut self.dice);
        self.vault.crash();
        self.mail.clear();
        self.full.clear();
        self.jobs.clear();
        self.places.clear();
        for id in 0..self.wires.len() {
            if !matches!(self.wires[id].place, Place::Gone | Place::New(_)) {
                self.gone(id);
            }
        }
        let (count, seed) = (self.workers.len() as u8, self.dice.seed());
        self.start(count, seed);
    }

    /// A client connects.
    pub fn connect(&mut self, listener: P::Listener) -> WireId {
        self.wires.push(Wire {
            place: Place::New(listener),
            up: VecDeque::new(),
            hung_up: false,
            paused: false,
            stalled: false,
            wants_flush: false,
            closing: None,
        });
        self.wires.len() - 1
    }

    /// A client sends.
    pub fn send(&mut self, wire: WireId, bytes: &[u8]) {
        self.trace.add(bytes);
        self.tell(|| format!("  wire {wire} > {}", String::from_utf8_lossy(bytes)));
        if let Some(wire) = self.wires.get_mut(wire).filter(|w| !w.hung_up) {
            wire.up.extend(bytes);
        }
    }

    /// A client hangs up; what it sent may still arrive.
    pub fn hang_up(&mut self, wire: WireId) {
        if let Some(wire) = self.wires.get_mut(wire) {
            wire.hung_up = true;
        }
    }

    /// The network loses a connection, with all that is on its way.
    pub fn cut(&mut self, wire: WireId) {
        self.tell(|| format!("wire {wire} is cut"));
        if let Some(w) = self.wires.get_mut(wire)
            && !matches!(w.place, Place::Gone)
        {
            w.up.clear();
            w.hung_up = true;
            w.stalled = false;
            self.noticed.push(Noticed::Closed(wire));
        }
    }

    /// A client stops reading, or reads again.
    pub fn stall(&mut self, wire: WireId, on: bool) {
        if let Some(wire) = self.wires.get_mut(wire) {
            wire.stalled = on;
        }
    }

    /// Connections that are open, as clients see it.
    pub fn is_open(&self, wire: WireId) -> bool {
        self.wires.get(wire).is_some_and(|w| !w.hung_up && !matches!(w.place, Place::Gone))
    }

    /// True: nothing is on its way to the server on this connection.
    pub fn is_sent(&self, wire: WireId) -> bool {
        self.wires.get(wire).is_none_or(|w| w.up.is_empty())
    }

    /// What clients noticed since it was last asked.
    pub fn noticed(&mut self) -> Vec<Noticed> {
        std::mem::take(&mut self.noticed)
    }

    /// One event happens. False: nothing could.
    pub fn advance(&mut self) -> bool {
        self.step += 1;
        let choices = self.choices();
        if choices.is_empty() {
            return false;
        }
        // Time goes on between events, mostly little.
        let passed = self.dice.pick(&[0, 0, 0, 1, 1, 3, 40]);
        (self.now.mono, self.now.wall.0) = (self.now.mono + passed, self.now.wall.0 + passed);
        let next = choices[self.dice.below(choices.len())];
        self.happen(next);
        true
    }

    /// Jumps to the next deadline of a worker. False: there is none within so many milliseconds.
    pub fn jump(&mut self, within: u64) -> bool {
        let at = self.workers.iter().filter_map(|w| match w.poll_deadline() {
            Due::At(at, _) => Some(at),
            Due::Now | Due::Idle => None,
        });
        let Some(at) = at.min().filter(|at| at.since(self.now.mono) <= within) else { return false };
        let passed = at.since(self.now.mono);
        (self.now.mono, self.now.wall.0) = (at, self.now.wall.0 + passed);
        true
    }

    fn choices(&self) -> Vec<Next> {
        let mut out = Vec::new();
        out.extend(self.mail.iter().filter(|(_, q)| !q.is_empty()).map(|((a, b), _)| Next::Mail(*a, *b)));
        let half = self.box_size() / 2;
        let roomy = |(a, b): &&(u8, u8)| self.mail.get(&(*a, *b)).is_none_or(|q| q.len() <= half);
        out.extend(self.full.iter().filter(roomy).map(|(a, b)| Next::Roomy(*a, *b)));
        if self.disk.can_commit() {
            out.push(Next::Commit);
        }
        if self.disk.can_read() {
            out.push(Next::Read);
        }
        out.extend(self.disk.waiting().into_iter().map(Next::Answer));
        for (id, wire) in self.wires.iter().enumerate() {
            match wire.place {
                Place::New(_) => out.push(Next::Accept(id)),
                Place::Moving(..) => out.push(Next::Arrive(id)),
                Place::At(..) => {
                    if !wire.paused && (!wire.up.is_empty() || wire.hung_up) {
                        out.push(Next::Up(id));
                    }
                    if (wire.wants_flush || wire.closing.is_some()) && !wire.stalled {
                        out.push(Next::Down(id));
                    }
                }
                Place::Gone => {}
            }
        }
        if !self.jobs.is_empty() {
            out.push(Next::Job);
        }
        if self.vault.can_work() {
            out.push(Next::Media);
        }
        out.extend(self.vault.waiting().into_iter().map(Next::Told));
        let due = |w: &Worker<P>| match w.poll_deadline() {
            Due::Now => true,
            Due::At(at, _) => at <= self.now.mono,
            Due::Idle => false,
        };
        out.extend(self.workers.iter().enumerate().filter(|(_, w)| due(w)).map(|(n, _)| Next::Tick(n)));
        out
    }

    /// Tells what happens, if that is wanted.
    #[expect(clippy::print_stderr, reason = "a run that is looked into")]
    pub fn tell(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{:6} {}", self.step, what());
        }
    }

    fn happen(&mut self, next: Next) {
        self.tell(|| format!("{next:?}"));
        self.trace.add(format!("{next:?}").as_bytes());
        match next {
            Next::Mail(from, to) => {
                if let Some(mail) = self.mail.get_mut(&(from, to)).and_then(VecDeque::pop_front) {
                    self.handle(WorkerId(to), Input::Mail(mail));
                }
            }
            Next::Roomy(from, to) => {
                self.full.retain(|f| *f != (from, to));
                self.handle(WorkerId(from), Input::Room(WorkerId(to), true));
            }
            Next::Commit => self.disk.commit(&mut self.dice, self.fail),
            Next::Read => self.disk.read(&mut self.dice),
            Next::Answer(worker) => {
                if let Some(answer) = self.disk.answer(worker) {
                    self.tell(|| format!("  {} {answer:?}", worker.0));
                    self.handle(
                        worker,
                        match answer {
                            Answer::Stored(epoch, ticket) => Input::Stored(epoch, ticket),
                            Answer::Failed(epoch, why) => Input::StoreFailed(epoch, why),
                            Answer::Ready(epoch) => Input::StoreReady(epoch),
                            Answer::Fetched(id, page) => Input::Fetched(id, page),
                        },
                    );
                }
            }
            Next::Accept(id) => self.accept(id),
            Next::Arrive(id) => self.arrive(id),
            Next::Up(id) => self.up(id),
            Next::Down(id) => self.down(id),
            Next::Job => {
                let (worker, id, done) = self.jobs.swap_remove(self.dice.below(self.jobs.len()));
                self.handle(worker, Input::JobDone(id, done));
            }
            Next::Media => self.vault.work(&mut self.dice, self.fail),
            Next::Told(worker) => {
                if let Some((id, done)) = self.vault.answer(worker) {
                    self.tell(|| format!("  {} {id:?} {done:?}", worker.0));
                    self.handle(worker, Input::Blob(id, done));
                }
            }
            Next::Tick(n) => self.tick(n),
        }
    }

    /// A worker's time has come. What is due is done and leaves a later deadline, or work that ends.
    fn tick(&mut self, n: usize) {
        for _ in 0..OUTPUTS {
            self.handle(WorkerId(n as u8), Input::Tick);
            match self.workers[n].poll_deadline() {
                Due::Now => {}
                Due::At(at, why) => {
                    assert!(at > self.now.mono, "a tick leaves a deadline that is over: {why:?}");
                    return;
                }
                Due::Idle => return,
            }
        }
        panic!("work that never ends");
    }

    fn accept(&mut self, id: WireId) {
        let Place::New(listener) = self.wires[id].place else { return };
        let worker = WorkerId(self.dice.below(self.workers.len()) as u8);
        let conn = self.name(worker, id);
        let peer = std::net::SocketAddr::from(([192, 0, 2, 1], 40_000));
        self.handle(worker, Input::Opened(conn, listener, Some(peer)));
    }

    fn arrive(&mut self, id: WireId) {
        let place = std::mem::replace(&mut self.wires[id].place, Place::Gone);
        let Place::Moving(worker, moving) = place else { return };
        let conn = self.name(worker, id);
        self.wires[id].paused = false;
        self.handle(worker, Input::Moved(conn, moving));
    }

    /// A fresh name for a connection at a worker.
    fn name(&mut self, worker: WorkerId, id: WireId) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId { slot: self.next_conn % 64, generation: self.next_conn / 64 };
        self.wires[id].place = Place::At(worker, conn);
        self.places.insert((worker, conn), id);
        conn
    }

    /// Bytes reach the server, or the end of them.
    fn up(&mut self, id: WireId) {
        let chunk = self.dice.below(self.chunk) + 1;
        let wire = &mut self.wires[id];
        let Place::At(worker, conn) = wire.place else { return };
        if wire.up.is_empty() {
            self.gone(id);
            self.handle(worker, Input::Closed(conn));
            return;
        }
        let n = wire.up.len().min(chunk);
        let bytes: Vec<u8> = wire.up.drain(..n).collect();
        if wire.closing.is_none() {
            self.handle(worker, Input::Received(conn, &bytes));
        }
    }

    /// Bytes reach the client; or all are sent and the connection closes.
    fn down(&mut self, id: WireId) {
        let chunk = self.dice.below(self.chunk) + 1;
        let wire = &mut self.wires[id];
        let Place::At(worker, conn) = wire.place else { return };
        let waiting = self.workers[usize::from(worker.0)].transmit(conn);
        if waiting.is_empty() {
            wire.wants_flush = false;
            if wire.closing.is_some() {
                self.gone(id);
                self.handle(worker, Input::Closed(conn));
            }
            return;
        }
        let bytes = waiting[..waiting.len().min(chunk)].to_vec();
        let n = bytes.len();
        if !wire.hung_up {
            self.trace.add(&bytes);
            self.tell(|| format!("  wire {id} < {}", String::from_utf8_lossy(&bytes)));
            self.noticed.push(Noticed::Bytes(id, bytes));
        }
        self.handle(worker, Input::Sent(conn, n));
    }

    fn gone(&mut self, id: WireId) {
        self.tell(|| format!("  wire {id} is gone"));
        let wire = &mut self.wires[id];
        if let Place::At(worker, conn) = wire.place {
            self.places.remove(&(worker, conn));
        }
        wire.place = Place::Gone;
        if !wire.hung_up {
            wire.hung_up = true;
            self.noticed.push(Noticed::Closed(id));
        }
    }

    /// Hands an input in and carries out what comes of it.
    fn handle(&mut self, worker: WorkerId, input: Input<'_, P>) {
        let now = self.now;
        self.workers[usize::from(worker.0)].handle(now, input);
        self.drain(worker);
    }

    fn drain(&mut self, worker: WorkerId) {
        for _ in 0..OUTPUTS {
            let Some(output) = self.workers[usize::from(worker.0)].poll_output() else { return };
            self.carry_out(worker, output);
        }
        panic!("draining does not end");
    }

    fn carry_out(&mut self, worker: WorkerId, output: Output<P>) {
        match output {
            Output::Append(epoch, ticket, changes) => {
                self.tell(|| format!("  {} append {epoch:?} {ticket:?} {changes:?}", worker.0));
                self.disk.append(worker, epoch, ticket, changes);
            }
            Output::Fetch(asked) => {
                self.tell(|| format!("  {} fetch {asked:?}", worker.0));
                self.disk.fetch(worker, asked);
            }
            Output::Mail(to, mail) => {
                self.tell(|| format!("  {} to {} {mail:?}", worker.0, to.0));
                let key = (worker.0, to.0);
                assert!(!self.full.contains(&key), "mail for a full box");
                let queue = self.mail.entry(key).or_default();
                queue.push_back(mail);
                if queue.len() >= self.box_size() {
                    self.full.push(key);
                    let now = self.now;
                    self.workers[usize::from(worker.0)].handle(now, Input::Room(to, false));
                }
            }
            Output::Move(to, conn, moving) => {
                self.tell(|| format!("  {} move {conn:?} to {}: {moving:?}", worker.0, to.0));
                if let Some(id) = self.places.remove(&(worker, conn)) {
                    self.wires[id].place = Place::Moving(to, moving);
                    self.wires[id].wants_flush = false;
                }
            }
            Output::Pause(conn, on) => self.at(worker, conn, |w| w.paused = on),
            Output::Close(conn, reason) => self.at(worker, conn, |w| {
                w.closing = Some(reason);
                w.paused = true;
            }),
            Output::Flush(conn) => {
                self.tell(|| format!("  {} flush {conn:?}", worker.0));
                self.at(worker, conn, |w| w.wants_flush = true);
            }
            Output::Job(id, work) => self.jobs.push((worker, id, work.run())),
            Output::Blob(id, op) => {
                self.tell(|| format!("  {} {id:?} {op:?}", worker.0));
                self.vault.ask(worker, id, op);
            }
            Output::Log(log) => {
                let store = log.what.starts_with("the store");
                assert!(log.level != Level::Error || store, "an error in the log: {log:?}");
            }
            Output::Shutdown | Output::Reload => panic!("nobody asked for that"),
        }
    }

    fn at(&mut self, worker: WorkerId, conn: ConnId, change: impl FnOnce(&mut Wire<P>)) {
        if let Some(id) = self.places.get(&(worker, conn)) {
            change(&mut self.wires[*id]);
        }
    }

    fn box_size(&self) -> usize {
        let core: &Settings = (*self.settings).as_ref();
        core.limits.mailbox
    }
}
