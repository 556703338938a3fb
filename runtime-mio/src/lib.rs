//! The small runtime: one thread a worker, one poll a thread, edge-triggered.
//!
//! Each turn asks the system once which sockets are ready, reads those, lets the pump carry out what
//! the worker wants, and goes back to waiting. Readiness is remembered here, because the system tells it
//! once: a connection that was not read to its end stays in the list of those to read.
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

/// The runtime on mio.
#[derive(Clone, Copy, Debug)]
pub struct Mio;

impl Runtime for Mio {
    type Socket = Stream;

    const NAME: &'static str = "mio";

    fn start<P, D>(
        workers: Vec<D>,
        doors: Vec<Door<P::Listener>>,
        outside: &Arc<Outside<P, Stream>>,
    ) -> io::Result<Vec<JoinHandle<()>>>
    where
        P: Projection,
        D: Drive<P> + Send + 'static,
    {
        let mut doors = Some(doors);
        let mut ready = Vec::with_capacity(workers.len());
        // Everything that can fail is done before the first thread runs.
        for (n, drive) in workers.into_iter().enumerate() {
            let me = WorkerId(u8::try_from(n).map_err(io::Error::other)?);
            ready.push(worker::Thread::new(me, drive, doors.take().unwrap_or_default(), outside)?);
        }
        let mut threads = Vec::with_capacity(ready.len());
        for (n, worker) in ready.into_iter().enumerate() {
            match thread::Builder::new().name(format!("worker-{n}")).spawn(move || worker.run()) {
                Ok(thread) => threads.push(thread),
                Err(e) => {
                    outside.post.send_all(|| Post::Stop);
                    threads.into_iter().for_each(|thread: JoinHandle<()>| drop(thread.join()));
                    return Err(e);
                }
            }
        }
        Ok(threads)
    }
}
