//! Accepting: in bursts, round robin to all workers, never more than there are seats for.

use crate::{Stream, worker::Here};
use async_io::{Async, Timer};
use lavina_core::{
    drive::Drive,
    ids::WorkerId,
    log::{Level, Log},
    projection::Projection,
};
use lavina_host::{
    door::{Door, DoorSocket},
    outside::Outside,
    post::Post,
    pump::Conn,
    seats::NoSeat,
};
use std::{
    future::Future,
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// Connections accepted at one door before others get their turn.
const BURST: usize = 256;
/// Pause after the system refused a connection for want of something.
const RETRY: Duration = Duration::from_secs(1);

/// An open door.
pub(crate) struct Entry<L> {
    listener: Listener,
    meaning: L,
    proxy: bool,
}

enum Listener {
    Tcp(Async<TcpListener>),
    Unix(Async<UnixListener>),
}

/// Has doors watched.
pub(crate) fn open<L>(doors: Vec<Door<L>>) -> io::Result<Vec<Entry<L>>> {
    let open = |door: Door<L>| {
        let listener = match door.socket {
            DoorSocket::Tcp(socket) => Listener::Tcp(Async::new(socket)?),
            DoorSocket::Unix(socket) => Listener::Unix(Async::new(socket)?),
        };
        Ok(Entry { listener, meaning: door.listener, proxy: door.proxy })
    };
    doors.into_iter().map(open).collect()
}

/// The task that lets people in, until the server stops; the first worker's thread has it.
pub(crate) struct Doors<P: Projection, D> {
    here: Rc<Here<P, D>>,
    me: WorkerId,
    outside: Arc<Outside<P, Stream>>,
    doors: Vec<Entry<P::Listener>>,
    /// The worker that gets the next connection.
    turn: usize,
    /// The system was out of something; not before this again.
    retry: Option<Timer>,
}

/// What stopped a burst.
enum Stop {
    /// Nobody is at the door.
    Nobody,
    /// No seat is free.
    Full,
    /// Others are to have their turn.
    Enough,
    /// The system is out of something.
    Failed(io::Error),
}

impl<P: Projection, D> Unpin for Doors<P, D> {}

impl<P: Projection, D: Drive<P>> Future for Doors<P, D> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Before looking, so that a seat freed meanwhile calls again.
        self.here.doors.set(cx.waker());
        if self.here.pump.borrow().is_draining() {
            return Poll::Ready(());
        }
        if self.retry.as_mut().is_some_and(|timer| Pin::new(timer).poll(cx).is_pending()) {
            return Poll::Pending;
        }
        self.retry = None;
        for n in 0..self.doors.len() {
            match self.burst(n) {
                Stop::Full => return Poll::Pending,
                Stop::Enough => cx.waker().wake_by_ref(),
                Stop::Nobody => {
                    if self.doors[n].listener.poll_readable(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                }
                Stop::Failed(e) => {
                    self.outside.log.write(&Log::new(Level::Error, "accepting pauses").with("why", e));
                    self.retry = Some(Timer::after(RETRY));
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        Poll::Pending
    }
}

impl<P: Projection, D: Drive<P>> Doors<P, D> {
    /// The task for these doors.
    pub(crate) fn new(
        here: Rc<Here<P, D>>,
        me: WorkerId,
        outside: Arc<Outside<P, Stream>>,
        doors: Vec<Entry<P::Listener>>,
    ) -> Doors<P, D> {
        Doors { here, me, outside, doors, turn: 0, retry: None }
    }

    fn burst(&mut self, door: usize) -> Stop {
        for _ in 0..BURST {
            if !self.outside.seats.is_free() {
                return Stop::Full;
            }
            match self.doors[door].listener.accept() {
                Ok((stream, peer)) => self.seat(door, stream, peer),
                Err(e) => match e.kind() {
                    ErrorKind::WouldBlock => return Stop::Nobody,
                    // It went away before it came in.
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                    _ => return Stop::Failed(e),
                },
            }
        }
        Stop::Enough
    }

    fn seat(&mut self, door: usize, stream: Stream, peer: Option<SocketAddr>) {
        let entry = &self.doors[door];
        // Whoever comes through a proxy has another address than the proxy's.
        let ip = peer.map(|peer| peer.ip()).filter(|_| !entry.proxy);
        let seat = match self.outside.seats.take(ip) {
            Ok(seat) => seat,
            Err(NoSeat::Address | NoSeat::Full) => {
                let log = Log::new(Level::Warn, "too many connections from one address");
                self.outside.log.write(&log);
                return;
            }
        };
        let conn = Conn::new(stream, peer, seat, entry.meaning, entry.proxy);
        self.turn = (self.turn + 1) % self.outside.post.workers().max(1);
        match WorkerId(self.turn as u8) {
            to if to == self.me => self.here.open(conn),
            to => self.outside.post.send(to, Post::Accepted(conn)),
        }
    }
}

impl Listener {
    fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(l) => {
                let (stream, peer) = l.get_ref().accept()?;
                // Linux hands the listener's option down, other systems may not.
                let _ = stream.set_nodelay(true);
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                Ok((Stream::Tcp(Arc::new(Async::new(stream)?)), Some(peer)))
            }
            Listener::Unix(l) => {
                let (stream, _) = l.get_ref().accept()?;
                Ok((Stream::Unix(Arc::new(Async::new(stream)?)), None))
            }
        }
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Listener::Tcp(l) => l.poll_readable(cx),
            Listener::Unix(l) => l.poll_readable(cx),
        }
    }
}
