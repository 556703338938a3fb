//! The boundary to the runtimes: what goes in, what comes out.
//!
//! The contract: hand in every input at hand with [`Worker::handle`](crate::Worker::handle), then take
//! outputs with `poll_output` until there is none and carry them out in order, then wait until
//! `poll_deadline` or the next input. Breaking the rhythm costs time, never correctness.

use crate::{
    blob::{BlobDone, BlobId, BlobOp},
    cx::NoDebug,
    edge::moving::Moving,
    ids::{ConnId, Epoch, FetchId, JobId, Ticket, WorkerId},
    log::Log,
    mail::Mail,
    projection::{Projection, Reason},
    refusal::Refusal,
    row::{Asked, Change, Page},
    time::Mono,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::net::SocketAddr;

/// What happened outside.
pub enum Input<'a, P: Projection> {
    /// A connection was accepted. `peer` is `None` for a local socket.
    Opened(ConnId, P::Listener, Option<SocketAddr>),
    /// Bytes came in.
    Received(ConnId, &'a [u8]),
    /// So many bytes of what `transmit` showed are sent.
    Sent(ConnId, usize),
    /// The other end is closed, or the socket failed. No further input for it.
    Closed(ConnId),
    /// A connection came over from another worker, under its name here.
    Moved(ConnId, Box<Moving<P>>),
    /// Mail from another worker.
    Mail(Mail),
    /// The other worker's mailbox is full (false), or has room again (true).
    Room(WorkerId, bool),
    /// All changes up to this ticket are stored.
    Stored(Epoch, Ticket),
    /// The store failed: what was not confirmed is unknown. The epoch that failed, and why.
    StoreFailed(Epoch, Refusal),
    /// The store answers again, in the next epoch.
    StoreReady(Epoch),
    /// A read is done.
    Fetched(FetchId, Page),
    /// A job is done.
    JobDone(JobId, P::Done),
    /// Something was done for a transfer of media.
    Blob(BlobId, BlobDone),
    /// New settings.
    Settings(Arc<P::Settings>),
    /// A deadline came.
    Tick,
    /// The server stops: clients are told, connections close.
    Drain,
}

/// What is to be done outside. Carry out in order.
pub enum Output<P: Projection> {
    /// Store these changes, all or none, after all earlier ones; answer `Stored`.
    Append(Epoch, Ticket, Vec<Change>),
    /// Read; answer `Fetched`.
    Fetch(Asked),
    /// Bring this to another worker, after all earlier mail to it.
    Mail(WorkerId, Mail),
    /// Bring this connection to another worker: the socket with what belongs to it. Its id here is void.
    Move(WorkerId, ConnId, Box<Moving<P>>),
    /// Stop (true) or go on reading from a connection.
    Pause(ConnId, bool),
    /// Close a connection once `transmit` shows nothing more. Give up on that after a few seconds.
    Close(ConnId, Reason),
    /// There is something to send: call `transmit`, send, answer `Sent`.
    Flush(ConnId),
    /// Do a job with `P::run`; answer `JobDone`.
    Job(JobId, Work<P>),
    /// Do this for a transfer of media, after all earlier things for it; answer `Blob`.
    Blob(BlobId, BlobOp),
    /// Write a line into the log.
    Log(Log),
    /// Stop the whole server, as at SIGTERM.
    Shutdown,
    /// Read the configuration again, as at SIGHUP.
    Reload,
}

/// A job to be done with [`Projection::run`].
pub struct Work<P: Projection>(pub(crate) NoDebug<P::Job>);

impl<P: Projection> Work<P> {
    /// Does it. May take long.
    pub fn run(self) -> P::Done {
        P::run(self.0.0)
    }
}

/// When the worker wants to be called next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At once: work is left over.
    Now,
    /// At this time; why.
    At(Mono, Why),
    /// When something happens.
    Idle,
}

/// Why there is a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A session's timer.
    Timer,
    /// A login takes too long.
    Login,
    /// A parked session ends.
    Park,
    /// A slowed session may go on.
    Flood,
}

/// A machine that is driven so. [`Worker`](crate::Worker) is the one.
pub trait Drive<P: Projection> {
    /// Takes an input.
    fn handle(&mut self, now: crate::time::Now, input: Input<'_, P>);
    /// The next thing to be done; `None`: nothing more for now.
    fn poll_output(&mut self) -> Option<Output<P>>;
    /// What waits to be sent on a connection. Valid at `Output::Flush` and until the next `handle`.
    fn transmit(&mut self, conn: ConnId) -> &[u8];
    /// When it wants to be called next.
    fn poll_deadline(&self) -> Due;
}
