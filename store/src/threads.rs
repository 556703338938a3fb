//! A store beside the workers: they hand in batches and reads, never wait, and get answers delivered.
//!
//! One thread writes. Whatever arrived while a commit ran goes into the next one (group commit), in the
//! order of arrival. A few threads read; what they read contains every batch confirmed before the read
//! was asked. When the store fails, all that was appended in the present [`Epoch`] is void or unknown:
//! every worker hears [`Answer::Failed`], the store is opened again with growing pauses, and
//! [`Answer::Ready`] begins the next epoch. Batches of an older epoch that still arrive are dropped.
//! Reads go on meanwhile, if they can.

use crate::{Fault, Reader, Store};
use lavina_core::{
    ids::{Epoch, FetchId, Ticket, WorkerId},
    refusal::Refusal,
    row::{Asked, Change, Page},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

/// Batches waiting to be written. Above: the epoch ends, as with a store that failed, and the senders
/// hear that it is busy.
const APPENDS: usize = 65_536;
/// Reads waiting. Above: answered at once as busy.
const FETCHES: usize = 65_536;
/// Batches in one commit; more wait for the next. Bounds how long the first of them waits.
const GROUP: usize = 1_024;
/// The first pause before a failed store is opened again, doubled up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A thread that had nothing to do for so long gives back what it holds for speed alone.
const QUIET: Duration = Duration::from_secs(5);

/// What a worker hears; each is the core's input of the same meaning.
#[derive(Clone, Debug)]
pub enum Answer {
    /// All of the worker's batches up to this ticket are stored.
    Stored(Epoch, Ticket),
    /// The store failed; what was not confirmed in this epoch is unknown.
    Failed(Epoch, Refusal),
    /// The store answers again, in this epoch.
    Ready(Epoch),
    /// A read is done.
    Fetched(FetchId, Page),
}

/// Takes an answer to a worker. Called on the store's threads; must not wait long.
pub type Deliver = Arc<dyn Fn(WorkerId, Answer) + Send + Sync>;

/// Opens the store; `true`: again, after it failed a moment ago in this process.
pub type Opener = Box<dyn FnMut(bool) -> Result<Box<dyn Store + Send>, Fault> + Send>;

/// What the threads are made of.
pub struct Setup {
    /// Opens the store.
    pub open: Opener,
    /// How many workers there are: all of them hear of failures.
    pub workers: u8,
    /// How many threads read; one for small machines, two for others.
    pub readers: u8,
    /// Takes answers to workers.
    pub deliver: Deliver,
    /// Takes what an operator should know: faults, in words.
    pub report: Arc<dyn Fn(&Fault) + Send + Sync>,
}

/// The store's threads. Dropping it stops them without waiting for what is queued.
pub struct Threads {
    handle: Handle,
    writer: Option<JoinHandle<Result<(), Fault>>>,
    readers: Vec<JoinHandle<()>>,
}

/// Hands work to the store's threads. Once they are stopped, batches are dropped and reads fail.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl std::ops::Deref for Threads {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

struct Shared {
    appends: Mutex<Appends>,
    appended: Condvar,
    fetches: Mutex<Fetches>,
    fetched: Condvar,
    workers: u8,
    deliver: Deliver,
    report: Arc<dyn Fn(&Fault) + Send + Sync>,
}

struct Batch {
    worker: WorkerId,
    ticket: Ticket,
    changes: Vec<Change>,
}

/// What waits to be written.
struct Appends {
    epoch: Epoch,
    /// False between a failure and the next epoch.
    up: bool,
    queue: VecDeque<Batch>,
    overrun: bool,
    stop: Stop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    /// When everything that waits is done.
    Drained,
    Now,
}

/// What waits to be read.
struct Fetches {
    queue: VecDeque<(WorkerId, Asked)>,
    /// A new reader for each reading thread to go on with, after an opening.
    fresh: Vec<Option<Box<dyn Reader>>>,
    stop: Stop,
}

impl Threads {
    /// Opens the store and starts the threads. The first epoch is zero, and the store is ready.
    pub fn start(setup: Setup) -> Result<Threads, Fault> {
        let Setup { mut open, workers, readers, deliver, report } = setup;
        let store = open(false)?;
        let fresh = (0..readers.max(1)).map(|_| store.reader()).collect::<Result<Vec<_>, _>>()?;
        let shared = Arc::new(Shared {
            appends: Mutex::new(Appends {
                epoch: Epoch(0),
                up: true,
                queue: VecDeque::new(),
                overrun: false,
                stop: Stop::No,
            }),
            appended: Condvar::new(),
            fetches: Mutex::new(Fetches { queue: VecDeque::new(), fresh: Vec::new(), stop: Stop::No }),
            fetched: Condvar::new(),
            workers,
            deliver,
            report,
        });
        let mut threads =
            Threads { handle: Handle { shared: Arc::clone(&shared) }, writer: None, readers: Vec::new() };
        for (i, reader) in fresh.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            threads.readers.push(spawn("store-read", move || shared.read(i, reader))?);
        }
        let readers = readers.max(1);
        threads.writer = Some(spawn("store-write", move || shared.write(store, open, readers))?);
        Ok(threads)
    }

    /// For handing in work from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stores and reads all that waits, and closes the store in order.
    pub fn stop(mut self) -> Result<(), Fault> {
        self.end(Stop::Drained)
    }

    fn end(&mut self, how: Stop) -> Result<(), Fault> {
        // The readers first: the last to leave the file carries its log over.
        lock(&self.shared.fetches).stop = how;
        self.shared.fetched.notify_all();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        lock(&self.shared.appends).stop = how;
        self.shared.appended.notify_all();
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Fault::Broken),
            None => Ok(()),
        }
    }
}

impl Handle {
    /// Stores a batch, after all appended before; answered by [`Answer::Stored`], or by the end of the
    /// epoch. A batch of another epoch than the present one is dropped: its end was told.
    pub fn append(&self, worker: WorkerId, epoch: Epoch, ticket: Ticket, changes: Vec<Change>) {
        let mut appends = lock(&self.shared.appends);
        if epoch != appends.epoch || !appends.up || appends.overrun || appends.stop != Stop::No {
            return;
        }
        if appends.queue.len() >= APPENDS {
            appends.overrun = true;
            appends.queue.clear();
        } else {
            appends.queue.push_back(Batch { worker, ticket, changes });
        }
        drop(appends);
        self.shared.appended.notify_one();
    }

    /// Reads; answered by [`Answer::Fetched`].
    pub fn fetch(&self, worker: WorkerId, asked: Asked) {
        let mut fetches = lock(&self.shared.fetches);
        let refusal = match fetches.stop {
            Stop::No if fetches.queue.len() < FETCHES => None,
            Stop::No => Some(Refusal::Busy),
            _ => Some(Refusal::StoreDown),
        };
        if let Some(refusal) = refusal {
            drop(fetches);
            (self.shared.deliver)(worker, Answer::Fetched(asked.id, Page::Failed(refusal)));
            return;
        }
        fetches.queue.push_back((worker, asked));
        drop(fetches);
        self.shared.fetched.notify_one();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `stop`.
        let _ = self.end(Stop::Now);
    }
}

impl Shared {
    /// The writing thread.
    fn write(&self, mut store: Box<dyn Store + Send>, mut open: Opener, readers: u8) -> Result<(), Fault> {
        loop {
            let Err(fault) = self.write_epoch(&mut *store) else { return store.close() };
            // Its lock must be free before it can be opened again.
            drop(store);
            self.fail(&fault);
            match self.open_again(&mut open, readers) {
                Some(again) => store = again,
                None => return Err(fault),
            }
        }
    }

    /// Writes until it is to stop, or the store fails.
    fn write_epoch(&self, store: &mut dyn Store) -> Result<(), Fault> {
        loop {
            let (group, epoch) = {
                let (mut appends, mut rests) = (lock(&self.appends), false);
                loop {
                    if appends.overrun {
                        return Err(Fault::Overrun);
                    }
                    match appends.stop {
                        Stop::Now => return Ok(()),
                        Stop::Drained if appends.queue.is_empty() => return Ok(()),
                        _ if !appends.queue.is_empty() => break,
                        _ => {}
                    }
                    let (woken, quiet) = wait(&self.appended, appends, !rests);
                    appends = woken;
                    if quiet {
                        drop(appends);
                        store.rest();
                        (appends, rests) = (lock(&self.appends), true);
                    }
                }
                let n = appends.queue.len().min(GROUP);
                (appends.queue.drain(..n).collect::<Vec<_>>(), appends.epoch)
            };
            for batch in &group {
                store.append(&batch.changes)?;
            }
            store.commit()?;
            if lock(&self.appends).overrun {
                return Err(Fault::Overrun);
            }
            // The last ticket of a worker speaks for those before it.
            let mut last: Vec<Option<Ticket>> = vec![None; usize::from(self.workers)];
            for batch in group {
                if let Some(slot) = last.get_mut(usize::from(batch.worker.0)) {
                    *slot = Some(batch.ticket);
                }
            }
            for (worker, ticket) in (0u8..).zip(last) {
                if let Some(ticket) = ticket {
                    (self.deliver)(WorkerId(worker), Answer::Stored(epoch, ticket));
                }
            }
        }
    }

    /// The epoch is over.
    fn fail(&self, fault: &Fault) {
        (self.report)(fault);
        let mut appends = lock(&self.appends);
        appends.up = false;
        appends.overrun = false;
        appends.queue.clear();
        let epoch = appends.epoch;
        drop(appends);
        self.tell_all(&Answer::Failed(epoch, fault.into()));
    }

    /// Opens the store again; `None`: it is to stop.
    fn open_again(&self, open: &mut Opener, readers: u8) -> Option<Box<dyn Store + Send>> {
        let mut pause = PAUSE;
        loop {
            if self.pause(pause) {
                return None;
            }
            let opened = open(true).and_then(|store| {
                let fresh = (0..readers).map(|_| store.reader().map(Some)).collect::<Result<Vec<_>, _>>()?;
                Ok((store, fresh))
            });
            match opened {
                Ok((store, fresh)) => {
                    lock(&self.fetches).fresh = fresh;
                    let mut appends = lock(&self.appends);
                    appends.epoch = Epoch(appends.epoch.0 + 1);
                    appends.up = true;
                    let epoch = appends.epoch;
                    drop(appends);
                    self.tell_all(&Answer::Ready(epoch));
                    return Some(store);
                }
                Err(fault) => (self.report)(&fault),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Waits; true: it is to stop.
    fn pause(&self, pause: Duration) -> bool {
        let appends = lock(&self.appends);
        let stopped = self.appended.wait_timeout_while(appends, pause, |a| a.stop == Stop::No);
        stopped.unwrap_or_else(PoisonError::into_inner).0.stop != Stop::No
    }

    /// A reading thread.
    fn read(&self, index: usize, mut reader: Box<dyn Reader>) {
        loop {
            let (worker, asked) = {
                let (mut fetches, mut rests) = (lock(&self.fetches), false);
                loop {
                    if let Some(fresh) = fetches.fresh.get_mut(index).and_then(Option::take) {
                        reader = fresh;
                    }
                    if fetches.stop == Stop::Now {
                        return;
                    }
                    if let Some(next) = fetches.queue.pop_front() {
                        break next;
                    }
                    if fetches.stop == Stop::Drained {
                        return;
                    }
                    let (woken, quiet) = wait(&self.fetched, fetches, !rests);
                    fetches = woken;
                    if quiet {
                        drop(fetches);
                        reader.rest();
                        (fetches, rests) = (lock(&self.fetches), true);
                    }
                }
            };
            let page = reader.read(&asked.read).unwrap_or_else(|fault| {
                (self.report)(&fault);
                Page::Failed(fault.into())
            });
            (self.deliver)(worker, Answer::Fetched(asked.id, page));
        }
    }

    fn tell_all(&self, answer: &Answer) {
        for worker in 0..self.workers {
            (self.deliver)(WorkerId(worker), answer.clone());
        }
    }
}

/// The queues stay whole whatever panics: they are changed by calls that do not.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for work; where that is limited, true when [`QUIET`] is over.
fn wait<'a, T>(on: &Condvar, guard: MutexGuard<'a, T>, limited: bool) -> (MutexGuard<'a, T>, bool) {
    if !limited {
        return (on.wait(guard).unwrap_or_else(PoisonError::into_inner), false);
    }
    let (guard, waited) = on.wait_timeout(guard, QUIET).unwrap_or_else(PoisonError::into_inner);
    (guard, waited.timed_out())
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Fault> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.map_err(|e| Fault::Io(format!("no thread for the store: {e}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        Memory,
        memory::Fate,
        sample::{SHARDS, event, room, said},
    };
    use lavina_core::{ids::Pos, query::Range, row::Read};
    use std::sync::mpsc::{Receiver, channel};

    type Heard = Receiver<(WorkerId, Answer)>;

    /// Threads over a memory store whose first opening's first commit fares as told.
    fn start(fate: Fate) -> (Threads, Heard) {
        let store = Memory::new(SHARDS).unwrap();
        let (tell, heard) = channel();
        let open: Opener = Box::new(move |again| {
            let mut store = store.share();
            if !again {
                store.arm(fate);
            }
            Ok(Box::new(store))
        });
        let tell = Mutex::new(tell);
        let deliver: Deliver = Arc::new(move |w, a| _ = lock(&tell).send((w, a)));
        let report = Arc::new(|_: &Fault| {});
        (Threads::start(Setup { open, workers: 2, readers: 2, deliver, report }).unwrap(), heard)
    }

    fn entry(n: u64) -> Vec<Change> {
        vec![Change::Event(event(room(0), n, n, 0, said("x")))]
    }

    fn held(threads: &Threads, heard: &Heard, id: u64) -> usize {
        let read =
            Read::History { room: room(0), floor: Pos::ZERO, last: Pos::MAX, range: Range::latest(99) };
        threads.fetch(WorkerId(1), Asked { id: FetchId(id), read });
        loop {
            match heard.recv().unwrap() {
                (WorkerId(1), Answer::Fetched(got, Page::Events(s))) if got == FetchId(id) => {
                    return s.entries.len();
                }
                (_, Answer::Fetched(_, page)) => panic!("{page:?}"),
                _ => {}
            }
        }
    }

    #[test]
    fn what_is_confirmed_can_be_read_and_stopping_stores_the_rest() {
        let (threads, heard) = start(Fate::Stored);
        for n in 1..=50 {
            threads.append(WorkerId(0), Epoch(0), Ticket(n), entry(n));
        }
        while !matches!(heard.recv().unwrap(), (WorkerId(0), Answer::Stored(Epoch(0), Ticket(50)))) {}
        assert_eq!(held(&threads, &heard, 7), 50);
        threads.append(WorkerId(1), Epoch(0), Ticket(1), entry(51));
        let handle = threads.handle();
        threads.stop().unwrap();
        assert!(matches!(heard.recv().unwrap(), (WorkerId(1), Answer::Stored(_, Ticket(1)))));
        handle.append(WorkerId(1), Epoch(0), Ticket(2), entry(52));
        handle.fetch(WorkerId(1), Asked { id: FetchId(1), read: Read::Counts });
        let last = heard.recv().unwrap().1;
        assert!(matches!(last, Answer::Fetched(_, Page::Failed(Refusal::StoreDown))), "{last:?}");
    }

    #[test]
    fn a_failure_ends_the_epoch_for_all_workers() {
        let (threads, heard) = start(Fate::Lost);
        threads.append(WorkerId(0), Epoch(0), Ticket(1), entry(1));
        for worker in 0..2 {
            let (to, answer) = heard.recv().unwrap();
            assert_eq!(to, WorkerId(worker));
            assert!(matches!(answer, Answer::Failed(Epoch(0), Refusal::StoreDown)), "{answer:?}");
        }
        for _ in 0..2 {
            assert!(matches!(heard.recv().unwrap().1, Answer::Ready(Epoch(1))));
        }
        // What belongs to the old epoch is void.
        threads.append(WorkerId(0), Epoch(0), Ticket(2), entry(2));
        threads.append(WorkerId(0), Epoch(1), Ticket(3), entry(3));
        assert!(matches!(heard.recv().unwrap().1, Answer::Stored(Epoch(1), Ticket(3))));
        assert_eq!(held(&threads, &heard, 1), 1);
        threads.stop().unwrap();
    }
}
