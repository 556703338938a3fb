//! The post between threads: one box a worker, emptied at one go, so that a busy box costs one wake-up
//! for many letters.

use crate::{outside::Answer, pump::Conn};
use lavina_core::{
    edge::moving::Moving,
    ids::{JobId, WorkerId},
    mail::Mail,
    projection::Projection,
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What one thread has for a worker's thread.
pub enum Post<P: Projection, S> {
    /// Mail of a worker.
    Mail(WorkerId, Mail),
    /// A worker's box has room again.
    Room(WorkerId),
    /// A new connection.
    Accepted(Conn<P::Listener, S>),
    /// A connection from another worker.
    Moved(Conn<P::Listener, S>, Box<Moving<P>>),
    /// The store answers.
    Store(Answer),
    /// A job is done.
    JobDone(JobId, P::Done),
    /// New settings.
    Settings(Arc<P::Settings>),
    /// The server stops: say goodbye.
    Drain,
    /// The thread ends.
    Stop,
}

/// Wakes a worker's thread.
pub type Notify = Box<dyn Fn() + Send + Sync>;

/// The boxes of all workers.
pub struct PostOffice<P: Projection, S> {
    boxes: Vec<PostBox<P, S>>,
    /// Letters of one sender in one box, above which it is told to stop showing.
    mailbox: AtomicUsize,
}

struct PostBox<P: Projection, S> {
    waiting: Mutex<Waiting<P, S>>,
    notify: OnceLock<Notify>,
}

struct Waiting<P: Projection, S> {
    queue: Vec<Post<P, S>>,
    /// Letters by sender, and whether the sender was told that the box is full.
    mail: Vec<(usize, bool)>,
}

impl<P: Projection, S> PostOffice<P, S> {
    /// Boxes for so many workers. `mailbox` as in [`lavina_core::limits::Limits::mailbox`].
    pub fn new(workers: usize, mailbox: usize) -> Arc<PostOffice<P, S>> {
        let one = || PostBox {
            waiting: Mutex::new(Waiting { queue: Vec::new(), mail: vec![(0, false); workers] }),
            notify: OnceLock::new(),
        };
        let boxes = (0..workers).map(|_| one()).collect();
        Arc::new(PostOffice { boxes, mailbox: AtomicUsize::new(mailbox) })
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.boxes.len()
    }

    /// Another bound for mail.
    pub fn set_mailbox(&self, mailbox: usize) {
        self.mailbox.store(mailbox, Ordering::Relaxed);
    }

    /// Says how a worker's thread is woken; once, before it waits for the first time.
    pub fn set_notify(&self, worker: WorkerId, notify: Notify) {
        if let Some(b) = self.boxes.get(usize::from(worker.0)) {
            // A second notifier would mean a second thread for the worker.
            assert!(b.notify.set(notify).is_ok(), "a worker has one thread");
        }
    }

    /// Puts something into a worker's box. A box without a worker swallows it.
    pub fn send(&self, to: WorkerId, post: Post<P, S>) {
        if let Some(b) = self.boxes.get(usize::from(to.0)) {
            b.put(b.lock(), post);
        }
    }

    /// Puts the same into all boxes.
    pub fn send_all(&self, make: impl Fn() -> Post<P, S>) {
        for b in &self.boxes {
            b.put(b.lock(), make());
        }
    }

    /// Brings mail. False: the box is full now; the letter is in it, but the sender must be told to stop
    /// until [`Post::Room`] comes.
    pub fn mail(&self, from: WorkerId, to: WorkerId, mail: Mail) -> bool {
        let Some(b) = self.boxes.get(usize::from(to.0)) else { return true };
        let mut waiting = b.lock();
        let (count, told) = &mut waiting.mail[usize::from(from.0)];
        *count += 1;
        let fills = *count >= self.mailbox.load(Ordering::Relaxed) && !*told;
        *told |= fills;
        b.put(waiting, Post::Mail(from, mail));
        !fills
    }

    /// Empties a worker's box into `into`. Senders that were told to stop are told to go on.
    pub fn take(&self, me: WorkerId, into: &mut Vec<Post<P, S>>) {
        debug_assert!(into.is_empty(), "what was taken before is handled");
        let Some(b) = self.boxes.get(usize::from(me.0)) else { return };
        let mut waiting = b.lock();
        std::mem::swap(&mut waiting.queue, into);
        let mut told = Vec::new();
        for (from, (count, full)) in waiting.mail.iter_mut().enumerate() {
            *count = 0;
            if std::mem::take(full) {
                told.push(from);
            }
        }
        drop(waiting);
        for from in told {
            self.send(WorkerId(from as u8), Post::Room(me));
        }
    }

    /// True: nothing waits in any box.
    pub fn is_empty(&self) -> bool {
        self.boxes.iter().all(|b| b.lock().queue.is_empty())
    }

    /// Wakes a worker's thread.
    pub fn wake(&self, worker: WorkerId) {
        if let Some(notify) = self.boxes.get(usize::from(worker.0)).and_then(|b| b.notify.get()) {
            notify();
        }
    }
}

impl<P: Projection, S> PostBox<P, S> {
    fn lock(&self) -> MutexGuard<'_, Waiting<P, S>> {
        // A sender that panicked leaves a whole queue: each change of it is one push.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, mut waiting: MutexGuard<'_, Waiting<P, S>>, post: Post<P, S>) {
        let first = waiting.queue.is_empty();
        waiting.queue.push(post);
        drop(waiting);
        // Whoever finds it filled already knows that a wake-up is on its way.
        if let (true, Some(notify)) = (first, self.notify.get()) {
            notify();
        }
    }
}

impl<P: Projection, S> fmt::Debug for PostOffice<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostOffice").field("workers", &self.boxes.len()).finish_non_exhaustive()
    }
}

impl<P: Projection, S> fmt::Debug for Post<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Post::Mail(..) => "Mail",
            Post::Room(_) => "Room",
            Post::Accepted(_) => "Accepted",
            Post::Moved(..) => "Moved",
            Post::Store(_) => "Store",
            Post::JobDone(..) => "JobDone",
            Post::Settings(_) => "Settings",
            Post::Drain => "Drain",
            Post::Stop => "Stop",
        })
    }
}
