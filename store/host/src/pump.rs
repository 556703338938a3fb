//! The pump of a worker's thread: brings bytes and messages to the worker and carries out what it wants.
//!
//! The runtimes differ in how they learn that a socket is ready; what is done then is here, once. A turn:
//! everything at hand is read and handed in, then outputs are carried out, then each connection that has
//! something to send is flushed with one write (two when it was more than the worker shows at once).

use crate::{
    alarm::Alarms,
    outside::{Answer, Outside, Wish},
    post::Post,
    seats::Seat,
    slots::Slots,
    socket::{Reactor, Socket},
};
use lavina_codecs::proxy;
use lavina_core::{
    drive::{Drive, Due, Input, Output},
    ids::{ConnId, Ticket, WorkerId},
    log::{Level, Log},
    projection::Projection,
    time::{Mono, Now, SECOND},
};
use std::{
    fmt,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

/// Bytes read at once; one buffer for all connections of a worker.
const READ: usize = 64 * 1024;
/// Writes for one connection in one turn; the rest goes in the next one.
const WRITES: usize = 4;
/// Time for a proxy's header.
const HEADER_TIME: u64 = 5 * SECOND;
/// Time for a closing connection's last bytes.
const CLOSE_TIME: u64 = 5 * SECOND;
/// Time for the other end to close too. What it sends meanwhile is dropped: closing at once would make
/// the system answer it with a reset, which destroys the last word.
const LINGER_TIME: u64 = 2 * SECOND;

/// A connection of a thread.
#[derive(Debug)]
pub struct Conn<L, S> {
    socket: S,
    peer: Option<SocketAddr>,
    seat: Seat,
    phase: Phase<L>,
    paused: bool,
    /// The last write did not go through.
    blocked: bool,
    /// It is in the list of connections to flush.
    dirty: bool,
}

/// Where a connection stands.
#[derive(Debug)]
enum Phase<L> {
    /// The worker does not know it yet.
    New(L),
    /// A proxy's header comes first, until this time; what came of it so far.
    Header(L, Mono, Vec<u8>),
    /// The worker has it.
    Open,
    /// The worker is done with it; what is left is sent, until this time.
    Closing(Mono),
    /// All is sent; the other end may close, until this time.
    Lingering(Mono),
}

impl<L, S> Conn<L, S> {
    /// A new connection. `proxy`: it begins with a proxy's header.
    pub fn new(socket: S, peer: Option<SocketAddr>, seat: Seat, listener: L, proxy: bool) -> Conn<L, S> {
        let phase = if proxy { Phase::Header(listener, Mono(0), Vec::new()) } else { Phase::New(listener) };
        Conn { socket, peer, seat, phase, paused: false, blocked: false, dirty: false }
    }
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The buffer was filled: there may be more.
    Full,
    /// Less than the buffer: nothing more, unless the other end closed.
    Short,
    /// Nothing there.
    Dry,
    /// Not to be read for now; [`Reactor::resume`] follows.
    Paused,
    /// The connection is gone.
    Gone,
}

/// When a thread is needed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// At once.
    Now,
    /// At this time.
    At(Mono),
    /// When something happens.
    Idle,
}

/// See the module.
pub struct Pump<P: Projection, D, S> {
    me: WorkerId,
    drive: D,
    outside: Arc<Outside<P, S>>,
    conns: Slots<Conn<P::Listener, S>>,
    dirty: Vec<ConnId>,
    alarms: Alarms,
    buffer: Box<[u8]>,
    letters: Vec<Post<P, S>>,
    appended: Ticket,
    stored: Ticket,
    /// Reads and jobs not answered yet.
    asked: usize,
    draining: bool,
}

impl<P: Projection, D: Drive<P>, S: Socket> Pump<P, D, S> {
    /// The pump of a worker.
    pub fn new(me: WorkerId, drive: D, outside: Arc<Outside<P, S>>) -> Pump<P, D, S> {
        Pump {
            me,
            drive,
            outside,
            conns: Slots::default(),
            dirty: Vec::new(),
            alarms: Alarms::default(),
            buffer: vec![0; READ].into_boxed_slice(),
            letters: Vec::new(),
            appended: Ticket(0),
            stored: Ticket(0),
            asked: 0,
            draining: false,
        }
    }

    /// Takes a new connection.
    pub fn open(&mut self, mut conn: Conn<P::Listener, S>, reactor: &mut impl Reactor<S>) {
        let now = self.now();
        if let Phase::Header(_, until, _) = &mut conn.phase {
            *until = now.mono + HEADER_TIME;
        }
        let id = self.conns.insert(conn);
        if !self.add(id, reactor) {
            return;
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        match &conn.phase {
            Phase::New(listener) => {
                let listener = *listener;
                conn.phase = Phase::Open;
                self.drive.handle(now, Input::Opened(id, listener, conn.peer));
            }
            Phase::Header(_, until, _) => self.alarms.set(*until, id),
            Phase::Open | Phase::Closing(_) | Phase::Lingering(_) => {}
        }
    }

    /// Reads once from what is in a slot, and hands in what came.
    pub fn read(&mut self, slot: u32, reactor: &mut impl Reactor<S>) -> Reading {
        let Some(id) = self.conns.name(slot) else { return Reading::Gone };
        let now = self.now();
        let Some(conn) = self.conns.get_mut(id) else { return Reading::Gone };
        match conn.phase {
            Phase::Open if conn.paused => return Reading::Paused,
            Phase::Closing(_) => return Reading::Paused,
            Phase::New(_) | Phase::Header(..) | Phase::Open | Phase::Lingering(_) => {}
        }
        match retried(|| conn.socket.read(&mut self.buffer)) {
            Ok(0) => self.lose(id, reactor),
            Ok(n) => {
                match conn.phase {
                    Phase::Open => self.drive.handle(now, Input::Received(id, &self.buffer[..n])),
                    Phase::Header(..) => self.header(id, n, now, reactor),
                    Phase::New(_) | Phase::Closing(_) | Phase::Lingering(_) => {}
                }
                return if n == self.buffer.len() { Reading::Full } else { Reading::Short };
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Reading::Dry,
            Err(_) => self.lose(id, reactor),
        }
        Reading::Gone
    }

    /// A slot's socket takes bytes again.
    pub fn writable(&mut self, slot: u32) {
        if let Some(id) = self.conns.name(slot)
            && let Some(conn) = self.conns.get_mut(id)
            && std::mem::take(&mut conn.blocked)
        {
            self.soil(id);
        }
    }

    /// Hands in what waits in the worker's box. False: the thread ends.
    pub fn letters(&mut self, reactor: &mut impl Reactor<S>) -> bool {
        let mut letters = std::mem::take(&mut self.letters);
        if self.draining {
            // Before the box is empty: what was taken out of it must not look done.
            self.outside.quiet[usize::from(self.me.0)].store(false, Ordering::SeqCst);
        }
        self.outside.post.take(self.me, &mut letters);
        let mut stop = false;
        for letter in letters.drain(..) {
            stop |= matches!(letter, Post::Stop);
            self.letter(letter, reactor);
        }
        letters.shrink_to(1_024);
        self.letters = letters;
        !stop
    }

    /// Carries out what the worker wants until it wants nothing more, and flushes.
    pub fn settle(&mut self, reactor: &mut impl Reactor<S>) {
        loop {
            while let Some(output) = self.drive.poll_output() {
                self.carry_out(output, reactor);
            }
            if self.dirty.is_empty() {
                break;
            }
            let mut dirty = std::mem::take(&mut self.dirty);
            let now = self.now();
            let mut left = Vec::new();
            for id in dirty.drain(..) {
                if self.flush(id, now, reactor) {
                    left.push(id);
                }
            }
            if self.dirty.is_empty() {
                self.dirty = dirty; // keeps its memory
            }
            if !left.is_empty() {
                // More than a fair share: others first.
                left.into_iter().for_each(|id| self.soil(id));
                break;
            }
        }
        self.conns.recycle();
    }

    /// Wakes the worker if its time has come, and ends connections whose time is over.
    pub fn tick(&mut self, reactor: &mut impl Reactor<S>) {
        let now = self.now();
        while let Some(id) = self.alarms.due(now.mono) {
            let over = self.conns.get(id).is_some_and(|conn| match conn.phase {
                Phase::Header(_, until, _) | Phase::Closing(until) | Phase::Lingering(until) => {
                    until <= now.mono
                }
                Phase::New(_) | Phase::Open => false,
            });
            if over {
                self.lose(id, reactor);
            }
        }
        let due = match self.drive.poll_deadline() {
            Due::Now => true,
            Due::At(at, _) => at <= now.mono,
            Due::Idle => false,
        };
        if due {
            self.drive.handle(now, Input::Tick);
        }
    }

    /// When the thread is needed again, if nothing happens before.
    pub fn next(&self) -> Wait {
        let due = self.drive.poll_deadline();
        if self.draining {
            let settled = self.asked == 0 && self.appended <= self.stored && due != Due::Now;
            let quiet = settled && self.conns.is_empty() && self.dirty.is_empty();
            self.outside.quiet[usize::from(self.me.0)].store(quiet, Ordering::SeqCst);
        }
        if due == Due::Now || !self.dirty.is_empty() {
            return Wait::Now;
        }
        let own = self.alarms.next();
        match due {
            Due::At(at, _) => Wait::At(own.map_or(at, |own| own.min(at))),
            _ => own.map_or(Wait::Idle, Wait::At),
        }
    }

    /// The server is about to stop: accepting ends.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// What is shared with the other threads.
    pub fn outside(&self) -> &Arc<Outside<P, S>> {
        &self.outside
    }

    /// The socket in a slot.
    pub fn socket(&self, slot: u32) -> Option<&S> {
        self.conns.get(self.conns.name(slot)?).map(|conn| &conn.socket)
    }

    fn now(&self) -> Now {
        self.outside.clock.now()
    }

    fn add(&mut self, id: ConnId, reactor: &mut impl Reactor<S>) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return false };
        match reactor.add(id.slot, &mut conn.socket) {
            Ok(()) => true,
            Err(e) => {
                self.complain("a connection cannot be watched", &e);
                self.conns.remove(id);
                false
            }
        }
    }

    fn letter(&mut self, letter: Post<P, S>, reactor: &mut impl Reactor<S>) {
        let now = self.now();
        let input = match letter {
            Post::Mail(_, mail) => Input::Mail(mail),
            Post::Room(of) => Input::Room(of, true),
            Post::Accepted(conn) => return self.open(conn, reactor),
            Post::Moved(conn, moving) => {
                let id = self.conns.insert(conn);
                let here = self.add(id, reactor);
                self.drive.handle(now, Input::Moved(id, moving));
                if !here {
                    self.drive.handle(now, Input::Closed(id));
                }
                return;
            }
            Post::Store(Answer::Stored(epoch, ticket)) => {
                self.stored = self.stored.max(ticket);
                Input::Stored(epoch, ticket)
            }
            Post::Store(Answer::Failed(epoch, why)) => {
                self.stored = self.appended;
                Input::StoreFailed(epoch, why)
            }
            Post::Store(Answer::Ready(epoch)) => Input::StoreReady(epoch),
            Post::Store(Answer::Fetched(id, page)) => {
                self.asked = self.asked.saturating_sub(1);
                Input::Fetched(id, page)
            }
            // Not counted as asked: a worker that stops has ended its transfers.
            Post::Store(Answer::Blob(id, done)) => Input::Blob(id, done),
            Post::JobDone(id, done) => {
                self.asked = self.asked.saturating_sub(1);
                Input::JobDone(id, done)
            }
            Post::Settings(settings) => Input::Settings(settings),
            Post::Drain => {
                self.draining = true;
                Input::Drain
            }
            Post::Stop => return,
        };
        self.drive.handle(now, input);
    }

    fn carry_out(&mut self, output: Output<P>, reactor: &mut impl Reactor<S>) {
        match output {
            Output::Append(epoch, ticket, changes) => {
                self.appended = self.appended.max(ticket);
                self.outside.storage.append(self.me, epoch, ticket, changes);
            }
            Output::Fetch(asked) => {
                self.asked += 1;
                self.outside.storage.fetch(self.me, asked);
            }
            Output::Mail(to, mail) => {
                if !self.outside.post.mail(self.me, to, mail) {
                    self.drive.handle(self.now(), Input::Room(to, false));
                }
            }
            Output::Move(to, id, moving) => {
                if let Some(mut conn) = self.conns.remove(id) {
                    reactor.remove(id.slot, &mut conn.socket);
                    (conn.paused, conn.blocked, conn.dirty) = (false, false, false);
                    self.outside.post.send(to, Post::Moved(conn, moving));
                }
            }
            Output::Pause(id, paused) => {
                if let Some(conn) = self.conns.get_mut(id)
                    && std::mem::replace(&mut conn.paused, paused) != paused
                    && !paused
                {
                    reactor.resume(id.slot);
                }
            }
            Output::Close(id, _) => {
                let until = self.now().mono + CLOSE_TIME;
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.phase = Phase::Closing(until);
                    self.alarms.set(until, id);
                    self.soil(id);
                }
            }
            Output::Flush(id) => self.soil(id),
            Output::Job(id, work) => {
                self.asked += 1;
                let (post, me) = (self.outside.post.clone(), self.me);
                self.outside.jobs.run(move || post.send(me, Post::JobDone(id, work.run())));
            }
            Output::Blob(id, op) => self.outside.storage.blob(self.me, id, op),
            Output::Log(log) => self.outside.log.write(&log),
            Output::Shutdown => (self.outside.ask)(Wish::Stop),
            Output::Reload => (self.outside.ask)(Wish::Reload),
        }
    }

    /// Notes that a connection has something to send.
    fn soil(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && !conn.blocked
            && !std::mem::replace(&mut conn.dirty, true)
        {
            self.dirty.push(id);
        }
    }

    /// Sends what a connection has. True: there is more, and the socket takes it.
    fn flush(&mut self, id: ConnId, now: Now, reactor: &mut impl Reactor<S>) -> bool {
        for _ in 0..WRITES {
            let Some(conn) = self.conns.get_mut(id) else { return false };
            conn.dirty = false;
            let bytes = self.drive.transmit(id);
            if bytes.is_empty() {
                if matches!(conn.phase, Phase::Closing(_)) {
                    self.linger(id, now, reactor);
                }
                return false;
            }
            let all = bytes.len();
            match retried(|| conn.socket.write(bytes)) {
                Ok(n) => {
                    conn.blocked = n < all;
                    if conn.blocked {
                        reactor.blocked(id.slot);
                    }
                    self.drive.handle(now, Input::Sent(id, n));
                    if n < all {
                        return false;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    conn.blocked = true;
                    reactor.blocked(id.slot);
                    return false;
                }
                Err(_) => {
                    self.lose(id, reactor);
                    return false;
                }
            }
        }
        true
    }

    /// All is sent: waits for the other end to close.
    fn linger(&mut self, id: ConnId, now: Now, reactor: &mut impl Reactor<S>) {
        let until = now.mono + LINGER_TIME;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.socket.finish();
            conn.phase = Phase::Lingering(until);
            self.alarms.set(until, id);
            self.drive.handle(now, Input::Closed(id));
            reactor.resume(id.slot);
        }
    }

    /// A connection is over.
    fn lose(&mut self, id: ConnId, reactor: &mut impl Reactor<S>) {
        let Some(mut conn) = self.conns.remove(id) else { return };
        reactor.remove(id.slot, &mut conn.socket);
        if matches!(conn.phase, Phase::Open | Phase::Closing(_)) {
            self.drive.handle(self.now(), Input::Closed(id));
        }
    }

    /// Takes `n` bytes of the buffer for a proxy's header; once it is whole, the worker gets the connection.
    fn header(&mut self, id: ConnId, n: usize, now: Now, reactor: &mut impl Reactor<S>) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Phase::Header(listener, _, held) = &mut conn.phase else { return };
        let listener = *listener;
        held.extend_from_slice(&self.buffer[..n]);
        let header = match proxy::parse(held) {
            Ok(Some(header)) => header,
            Ok(None) => return,
            Err(e) => return self.refuse(id, e, reactor),
        };
        let rest = held.split_off(header.len);
        if let Some(source) = header.source {
            conn.peer = Some(source);
            if conn.seat.from(source.ip()).is_err() {
                return self.refuse(id, "too many connections from one address", reactor);
            }
        }
        conn.phase = Phase::Open;
        self.drive.handle(now, Input::Opened(id, listener, conn.peer));
        if !rest.is_empty() {
            self.drive.handle(now, Input::Received(id, &rest));
        }
    }

    fn refuse(&mut self, id: ConnId, why: impl fmt::Display, reactor: &mut impl Reactor<S>) {
        self.outside.log.write(&Log::new(Level::Warn, "connection refused").with("why", why));
        self.lose(id, reactor);
    }

    fn complain(&self, what: &'static str, error: &io::Error) {
        self.outside.log.write(&Log::new(Level::Error, what).with("why", error));
    }
}

/// Does it again while a signal interrupts it.
fn retried(mut act: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match act() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl<P: Projection, D, S> fmt::Debug for Pump<P, D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump").field("me", &self.me).field("conns", &self.conns.len()).finish_non_exhaustive()
    }
}
