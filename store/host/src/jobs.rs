//! Threads for work that takes long: password derivations, smaller pictures. How much may wait is the core's limit.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

type Job = Box<dyn FnOnce() + Send>;

/// Bytes of stack for a job's thread: derivations need little, decoders of pictures more. What is not used costs nothing.
const STACK: usize = 2 << 20;

/// A few threads that do what they are given, first come, first served.
pub struct Jobs {
    queue: Sender<Job>,
}

impl Jobs {
    /// Starts so many threads. They end when this is dropped and the queue is empty.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start(threads: usize) -> io::Result<Jobs> {
        let (queue, jobs) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for n in 0..threads.max(1) {
            let jobs = jobs.clone();
            thread::Builder::new().name(format!("job-{n}")).stack_size(STACK).spawn(move || work(&jobs))?;
        }
        Ok(Jobs { queue })
    }

    /// Has it done.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        // Fails only when all threads are gone, which they never are while this is there.
        let _ = self.queue.send(Box::new(job));
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jobs")
    }
}
