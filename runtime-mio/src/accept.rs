//! Accepting: in bursts, round robin to all workers, never more than there are seats for.

use crate::Stream;
use lavina_core::{
    ids::WorkerId,
    log::{Level, Log},
    projection::Projection,
    time::{Mono, SECOND},
};
use lavina_host::{
    door::{Door, DoorSocket},
    outside::Outside,
    post::Post,
    pump::Conn,
    seats::NoSeat,
};
use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpListener, UnixListener},
};
use std::{io, net::SocketAddr};

/// Connections accepted at one door in one turn; more wait for the next one.
const BURST: usize = 256;
/// Pause after the system refused a connection for want of something.
const RETRY: u64 = SECOND;

/// All doors of the server; the first worker's thread has them.
pub(crate) struct Doors<L> {
    doors: Vec<Entry<L>>,
    /// The worker that gets the next connection.
    turn: usize,
    /// The system was out of something; not before this time again.
    pub retry: Option<Mono>,
}

struct Entry<L> {
    listener: Listener,
    meaning: L,
    proxy: bool,
    ready: bool,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl<L: Copy> Doors<L> {
    /// Watches doors, as tokens from `first` downwards.
    pub(crate) fn open(registry: &Registry, doors: Vec<Door<L>>, first: usize) -> io::Result<Doors<L>> {
        let mut open = Vec::with_capacity(doors.len());
        for (n, door) in doors.into_iter().enumerate() {
            let mut listener = match door.socket {
                DoorSocket::Tcp(socket) => Listener::Tcp(TcpListener::from_std(socket)),
                DoorSocket::Unix(socket) => Listener::Unix(UnixListener::from_std(socket)),
            };
            let token = Token(first - n);
            match &mut listener {
                Listener::Tcp(l) => l.register(registry, token, Interest::READABLE)?,
                Listener::Unix(l) => l.register(registry, token, Interest::READABLE)?,
            }
            open.push(Entry { listener, meaning: door.listener, proxy: door.proxy, ready: false });
        }
        Ok(Doors { doors: open, turn: 0, retry: None })
    }

    /// Somebody is at a door.
    pub(crate) fn ring(&mut self, door: usize) {
        if let Some(entry) = self.doors.get_mut(door) {
            entry.ready = true;
        }
    }

    /// Closes all doors; dropping a socket ends its being watched.
    pub(crate) fn close(&mut self) {
        self.doors.clear();
        self.retry = None;
    }

    /// Somebody waits at a door, and it is not too soon to let people in again.
    pub(crate) fn is_waiting(&self) -> bool {
        self.retry.is_none() && self.doors.iter().any(|door| door.ready)
    }

    /// Lets people in; gives back those for the worker `me`.
    pub(crate) fn accept<P>(
        &mut self,
        me: WorkerId,
        outside: &Outside<P, Stream>,
        mine: &mut Vec<Conn<L, Stream>>,
    ) where
        P: Projection<Listener = L>,
    {
        let now = outside.clock.now().mono;
        if self.retry.is_some_and(|at| at > now) {
            return;
        }
        self.retry = None;
        for n in 0..self.doors.len() {
            for _ in 0..BURST {
                if !self.doors[n].ready || !outside.seats.is_free() {
                    break;
                }
                match self.doors[n].listener.accept() {
                    Ok((stream, peer)) => self.seat(n, stream, peer, me, outside, mine),
                    Err(e) => match e.kind() {
                        io::ErrorKind::WouldBlock => self.doors[n].ready = false,
                        // It went away before it came in.
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => {}
                        _ => {
                            let log = Log::new(Level::Error, "accepting pauses").with("why", &e);
                            outside.log.write(&log);
                            self.retry = Some(now + RETRY);
                            return;
                        }
                    },
                }
            }
        }
    }

    fn seat<P>(
        &mut self,
        door: usize,
        stream: Stream,
        peer: Option<SocketAddr>,
        me: WorkerId,
        outside: &Outside<P, Stream>,
        mine: &mut Vec<Conn<L, Stream>>,
    ) where
        P: Projection<Listener = L>,
    {
        let entry = &self.doors[door];
        // Whoever comes through a proxy has another address than the proxy's.
        let ip = peer.map(|peer| peer.ip()).filter(|_| !entry.proxy);
        let seat = match outside.seats.take(ip) {
            Ok(seat) => seat,
            Err(NoSeat::Address | NoSeat::Full) => {
                let log = Log::new(Level::Warn, "too many connections from one address");
                outside.log.write(&log);
                return;
            }
        };
        let conn = Conn::new(stream, peer, seat, entry.meaning, entry.proxy);
        self.turn = (self.turn + 1) % outside.post.workers().max(1);
        match WorkerId(self.turn as u8) {
            to if to == me => mine.push(conn),
            to => outside.post.send(to, Post::Accepted(conn)),
        }
    }
}

impl Listener {
    fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(l) => l.accept().map(|(s, peer)| {
                // Linux hands the listener's option down, other systems may not.
                let _ = s.set_nodelay(true);
                (Stream::Tcp(s), Some(SocketAddr::new(peer.ip().to_canonical(), peer.port())))
            }),
            Listener::Unix(l) => l.accept().map(|(s, _)| (Stream::Unix(s), None)),
        }
    }
}
