//! A worker's thread.

use crate::{Stream, accept::Doors};
use lavina_core::{
    drive::Drive,
    ids::WorkerId,
    log::{Level, Log},
    projection::Projection,
    time::Mono,
};
use lavina_host::{
    door::Door,
    outside::{Outside, Wish},
    pump::{Pump, Reading, Wait},
    socket::Reactor,
};
use mio::{Events, Poll, Registry, Token, Waker};
use std::{io, sync::Arc, time::Duration};

/// Readiness reports taken from the system at once.
const EVENTS: usize = 1_024;
/// The thread itself is woken.
const WAKE: usize = usize::MAX;
/// The first door; the others have the numbers below. Connections count from zero.
const DOOR: usize = usize::MAX - 1;
/// No server has as many doors.
const DOORS: usize = 1_024;

/// A worker's thread, before and while it runs.
pub(crate) struct Thread<P: Projection, D> {
    me: WorkerId,
    poll: Poll,
    pump: Pump<P, D, Stream>,
    sockets: Sockets,
    doors: Doors<P::Listener>,
    outside: Arc<Outside<P, Stream>>,
}

/// Which sockets are ready.
struct Sockets {
    registry: Registry,
    states: Vec<Ready>,
    /// Slots to read from.
    reads: Vec<u32>,
}

/// What the system said of the socket in a slot.
#[derive(Clone, Copy, Default)]
struct Ready {
    /// There may be something to read.
    readable: bool,
    /// The other end closed: after the last bytes comes the end, which is not told again.
    ended: bool,
    /// It is in the list of those to read.
    listed: bool,
}

impl<P: Projection, D: Drive<P>> Thread<P, D> {
    /// A thread for a worker, with these doors.
    pub(crate) fn new(
        me: WorkerId,
        drive: D,
        doors: Vec<Door<P::Listener>>,
        outside: &Arc<Outside<P, Stream>>,
    ) -> io::Result<Thread<P, D>> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(WAKE))?);
        let calls = waker.clone();
        outside.post.set_notify(me, Box::new(move || drop(waker.wake())));
        if !doors.is_empty() {
            outside.seats.on_free(move || drop(calls.wake()));
        }
        if doors.len() > DOORS {
            return Err(io::Error::other("too many listeners"));
        }
        let doors = Doors::open(poll.registry(), doors, DOOR)?;
        let sockets =
            Sockets { registry: poll.registry().try_clone()?, states: Vec::new(), reads: Vec::new() };
        let pump = Pump::new(me, drive, outside.clone());
        Ok(Thread { me, poll, pump, sockets, doors, outside: outside.clone() })
    }

    /// Runs until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    // Nothing can be done without it, and it fails only when something is badly broken.
                    self.outside.log.write(&Log::new(Level::Error, "poll failed").with("why", e));
                    (self.outside.ask)(Wish::Stop);
                    return;
                }
            }
            self.sort(&events);
            if !self.turn() {
                return;
            }
        }
    }

    /// Notes what is ready.
    fn sort(&mut self, events: &Events) {
        for event in events {
            match event.token().0 {
                WAKE => {}
                door if door > DOOR - DOORS => self.doors.ring(DOOR - door),
                slot => {
                    let slot = slot as u32;
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        self.sockets.ready(slot, event.is_read_closed() || event.is_error());
                    }
                    if event.is_writable() {
                        self.pump.writable(slot);
                    }
                }
            }
        }
    }

    /// Does everything at hand. False: the thread ends.
    fn turn(&mut self) -> bool {
        let goes_on = self.pump.letters(&mut self.sockets);
        if self.pump.is_draining() {
            self.doors.close();
        } else {
            self.accept();
        }
        self.pump.tick(&mut self.sockets);
        self.read();
        self.pump.settle(&mut self.sockets);
        goes_on
    }

    fn accept(&mut self) {
        let mut mine = Vec::new();
        self.doors.accept(self.me, &self.outside, &mut mine);
        for conn in mine {
            self.pump.open(conn, &mut self.sockets);
        }
    }

    /// Reads once from each socket that is ready.
    fn read(&mut self) {
        for slot in std::mem::take(&mut self.sockets.reads) {
            let state = &mut self.sockets.states[slot as usize];
            state.listed = false;
            let (readable, ended) = (state.readable, state.ended);
            if !readable {
                continue;
            }
            match self.pump.read(slot, &mut self.sockets) {
                Reading::Full => self.sockets.list(slot),
                Reading::Short if ended => self.sockets.list(slot),
                Reading::Short | Reading::Dry => self.sockets.states[slot as usize].readable = false,
                // Remembered as readable; `resume` lists it.
                Reading::Paused => {}
                // `remove` forgot it already.
                Reading::Gone => {}
            }
        }
    }

    fn timeout(&mut self) -> Option<Duration> {
        let next = self.pump.next();
        if !self.sockets.reads.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.doors.is_waiting() && self.outside.seats.is_free() {
            return Some(Duration::ZERO);
        }
        let at = match next {
            Wait::Now => return Some(Duration::ZERO),
            Wait::At(at) => at,
            Wait::Idle => Mono(u64::MAX),
        };
        let at = self.doors.retry.map_or(at, |retry| retry.min(at));
        (at != Mono(u64::MAX)).then(|| self.outside.clock.until(at))
    }
}

impl Sockets {
    fn ready(&mut self, slot: u32, ended: bool) {
        if let Some(state) = self.states.get_mut(slot as usize) {
            state.readable = true;
            state.ended |= ended;
            self.list(slot);
        }
    }

    fn list(&mut self, slot: u32) {
        if let Some(state) = self.states.get_mut(slot as usize)
            && !std::mem::replace(&mut state.listed, true)
        {
            self.reads.push(slot);
        }
    }
}

impl Reactor<Stream> for Sockets {
    fn add(&mut self, slot: u32, socket: &mut Stream) -> io::Result<()> {
        if self.states.len() <= slot as usize {
            self.states.resize(slot as usize + 1, Ready::default());
        }
        // Listed stays: the slot's last owner may still be in the list.
        let state = &mut self.states[slot as usize];
        (state.readable, state.ended) = (false, false);
        socket.register(&self.registry, Token(slot as usize))
    }

    fn remove(&mut self, slot: u32, socket: &mut Stream) {
        // Fails only for what is not watched, which is what is wanted.
        let _ = socket.deregister(&self.registry);
        if let Some(state) = self.states.get_mut(slot as usize) {
            (state.readable, state.ended) = (false, false);
        }
    }

    fn resume(&mut self, slot: u32) {
        if self.states.get(slot as usize).is_some_and(|state| state.readable) {
            self.list(slot);
        }
    }

    fn blocked(&mut self, _slot: u32) {
        // Edge-triggered: the system tells when it takes bytes again.
    }
}
