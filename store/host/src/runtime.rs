//! A runtime, as the rest of the program sees it.

use crate::{door::Door, outside::Outside, post::Post, socket::Socket};
use lavina_core::{drive::Drive, projection::Projection};
use std::{
    fmt, io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Waits for sockets and runs the workers' pumps.
pub trait Runtime: 'static {
    /// Its connections.
    type Socket: Socket;

    /// Its name, for `version` and the log.
    const NAME: &'static str;

    /// Starts a thread for each worker; the first one accepts. Returns when all doors are open and all
    /// threads run. A thread ends at [`Post::Stop`].
    ///
    /// # Errors
    /// The system's; then no thread is left.
    fn start<P, D>(
        workers: Vec<D>,
        doors: Vec<Door<P::Listener>>,
        outside: &Arc<Outside<P, Self::Socket>>,
    ) -> io::Result<Vec<JoinHandle<()>>>
    where
        P: Projection,
        D: Drive<P> + Send + 'static;
}

/// How often it is looked whether all is done, while stopping.
const LOOK: Duration = Duration::from_millis(5);

/// Running workers.
pub struct Running<P: Projection, S> {
    outside: Arc<Outside<P, S>>,
    threads: Vec<JoinHandle<()>>,
}

impl<P: Projection, S: Socket> Running<P, S> {
    /// Starts `workers` on a runtime.
    ///
    /// # Errors
    /// As [`Runtime::start`].
    pub fn start<R, D>(
        workers: Vec<D>,
        doors: Vec<Door<P::Listener>>,
        outside: Arc<Outside<P, S>>,
    ) -> io::Result<Running<P, S>>
    where
        R: Runtime<Socket = S>,
        D: Drive<P> + Send + 'static,
    {
        let threads = R::start(workers, doors, &outside)?;
        Ok(Running { outside, threads })
    }

    /// What the workers share.
    pub fn outside(&self) -> &Arc<Outside<P, S>> {
        &self.outside
    }

    /// New settings for all workers.
    pub fn settings(&self, settings: &Arc<P::Settings>) {
        self.outside.post.send_all(|| Post::Settings(settings.clone()));
    }

    /// Clients are told, everything is stored, threads end. True: all was done within `time`; false:
    /// what was left is given up (nothing of it was acknowledged).
    pub fn stop(self, time: Duration) -> bool {
        let give_up = Instant::now() + time;
        self.outside.post.send_all(|| Post::Drain);
        let mut quiet = 0;
        // Seen quiet twice: a letter taken out of its box and not handled yet is in neither place.
        while quiet < 2 && Instant::now() < give_up {
            thread::sleep(LOOK);
            quiet = if self.outside.is_quiet() { quiet + 1 } else { 0 };
        }
        self.outside.post.send_all(|| Post::Stop);
        let ended = self.threads.into_iter().all(|thread| thread.join().is_ok());
        ended && quiet >= 2
    }
}

impl<P: Projection, S> fmt::Debug for Running<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}
