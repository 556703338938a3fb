//! A thread of its own for contents, so that neither workers nor the store wait for large files.

use super::Blobs;
use lavina_core::{
    blob::{BlobDone, BlobId, BlobOp},
    ids::WorkerId,
};
use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
};

/// Brings answers to workers.
pub type Deliver = Arc<dyn Fn(WorkerId, BlobId, BlobDone) + Send + Sync>;

/// Gives work to the thread. How much of it there may be is bounded by the core: so many transfers, so
/// many bytes of each.
#[derive(Clone, Debug)]
pub struct Handle(Sender<(WorkerId, BlobId, BlobOp)>);

impl Handle {
    /// Has it done.
    pub fn carry_out(&self, from: WorkerId, id: BlobId, op: BlobOp) {
        // Fails only when the thread is gone, at the very end of the process.
        let _ = self.0.send((from, id, op));
    }
}

/// Starts the thread. It ends when all handles are dropped and everything is done.
///
/// # Errors
/// The system gives no thread.
pub fn start(mut blobs: Box<dyn Blobs>, deliver: Deliver) -> io::Result<(Handle, JoinHandle<()>)> {
    let (queue, work) = mpsc::channel();
    let thread = thread::Builder::new().name("media".to_owned()).spawn(move || {
        while let Ok((from, id, op)) = work.recv() {
            if let Some(done) = blobs.carry_out(from, id, op) {
                deliver(from, id, done);
            }
        }
    })?;
    Ok((Handle(queue), thread))
}
