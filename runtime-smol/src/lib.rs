//! The server runtime, on smol: one local executor a worker's thread, one reactor for all of them.
//!
//! A connection's task only waits: for bytes, for room to write, for its end. A worker's task does what
//! is to be done, through the same pump as the other runtime. System calls come first; a task waits
//! only after one said that it would block.
#![forbid(unsafe_code)]

mod accept;
mod stream;
mod worker;

pub use stream::Stream;

use lavina_core::{drive::Drive, ids::WorkerId, projection::Projection};
use lavina_host::{door::Door, outside::Outside, post::Post, runtime::Runtime};
use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

/// The runtime on smol.
#[derive(Clone, Copy, Debug)]
pub struct Smol;

impl Runtime for Smol {
    type Socket = Stream;

    const NAME: &'static str = "smol";

    fn start<P, D>(
        workers: Vec<D>,
        doors: Vec<Door<P::Listener>>,
        outside: &Arc<Outside<P, Stream>>,
    ) -> io::Result<Vec<JoinHandle<()>>>
    where
        P: Projection,
        D: Drive<P> + Send + 'static,
    {
        // Everything that can fail is done before the first thread runs.
        let mut doors = Some(accept::open(doors)?);
        let mut threads: Vec<JoinHandle<()>> = Vec::with_capacity(workers.len());
        for (n, drive) in workers.into_iter().enumerate() {
            let me = WorkerId(u8::try_from(n).map_err(io::Error::other)?);
            let (doors, shared) = (doors.take().unwrap_or_default(), outside.clone());
            let run = move || worker::run(me, drive, doors, shared);
            match thread::Builder::new().name(format!("worker-{n}")).spawn(run) {
                Ok(thread) => threads.push(thread),
                Err(e) => {
                    outside.post.send_all(|| Post::Stop);
                    threads.into_iter().for_each(|thread| drop(thread.join()));
                    return Err(e);
                }
            }
        }
        Ok(threads)
    }
}
