//! What all workers of a server share of the world outside: clock, log, store, jobs, post, seats.

use crate::{clock::Clock, jobs::Jobs, log::Logger, post::PostOffice, seats::Seats};
use lavina_core::{
    blob::{BlobDone, BlobId, BlobOp},
    ids::{Epoch, FetchId, Ticket, WorkerId},
    projection::Projection,
    refusal::Refusal,
    row::{Asked, Change, Page},
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A store behind threads: nothing here waits for it.
pub trait Storage: Send + Sync {
    /// Stores these changes, all or none, after all earlier ones; answered by [`Answer::Stored`].
    fn append(&self, from: WorkerId, epoch: Epoch, ticket: Ticket, changes: Vec<Change>);
    /// Reads; answered by [`Answer::Fetched`].
    fn fetch(&self, from: WorkerId, asked: Asked);
    /// Does this for a transfer of media; answered by [`Answer::Blob`].
    fn blob(&self, from: WorkerId, id: BlobId, op: BlobOp);
}

/// What a store answers.
#[derive(Debug)]
pub enum Answer {
    /// Everything up to this ticket is stored.
    Stored(Epoch, Ticket),
    /// It failed; what was not confirmed is unknown.
    Failed(Epoch, Refusal),
    /// It works again.
    Ready(Epoch),
    /// What was read.
    Fetched(FetchId, Page),
    /// What was done for a transfer of media.
    Blob(BlobId, BlobDone),
}

/// What may be asked of the whole server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To stop.
    Stop,
    /// To read its configuration again.
    Reload,
}

/// The world outside, for workers whose connections are `S`.
pub struct Outside<P: Projection, S> {
    /// The time.
    pub clock: Clock,
    /// The log.
    pub log: Arc<Logger>,
    /// The store.
    pub storage: Arc<dyn Storage>,
    /// Threads for what takes long.
    pub jobs: Jobs,
    /// The post between threads.
    pub post: Arc<PostOffice<P, S>>,
    /// Room for connections.
    pub seats: Arc<Seats>,
    /// Asks something of the whole server, as a signal does.
    pub ask: Box<dyn Fn(Wish) + Send + Sync>,
    /// By worker: after [`crate::post::Post::Drain`], nothing is left to do.
    pub(crate) quiet: Vec<AtomicBool>,
}

impl<P: Projection, S> Outside<P, S> {
    /// Puts it together.
    pub fn new(
        log: Arc<Logger>,
        storage: Arc<dyn Storage>,
        jobs: Jobs,
        post: Arc<PostOffice<P, S>>,
        seats: Arc<Seats>,
        ask: Box<dyn Fn(Wish) + Send + Sync>,
    ) -> Arc<Outside<P, S>> {
        let quiet = (0..post.workers()).map(|_| AtomicBool::new(false)).collect();
        Arc::new(Outside { clock: Clock::start(), log, storage, jobs, post, seats, ask, quiet })
    }

    /// True: all workers have said goodbye, everything is stored, nothing is under way between them.
    pub fn is_quiet(&self) -> bool {
        self.post.is_empty() && self.quiet.iter().all(|q| q.load(Ordering::SeqCst)) && self.post.is_empty()
    }
}

impl<P: Projection, S> fmt::Debug for Outside<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside")
            .field("post", &self.post)
            .field("seats", &self.seats)
            .finish_non_exhaustive()
    }
}
