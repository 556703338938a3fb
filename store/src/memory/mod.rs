//! A store in memory: exact, deterministic, and able to fail in every way a disk does.

mod fate;
mod tables;

pub use fate::{Fate, Plan};

use crate::{Fault, Reader, Store};
use lavina_core::row::{Change, Page, Read};
use std::sync::{Arc, Mutex, PoisonError};
use tables::Tables;

/// A store in memory. A clone is a copy: changes of one are not seen in the other.
///
/// How the next commit fares is decided by [`Memory::arm`], else by the [`Plan`], else all goes well.
pub struct Memory {
    tables: Arc<Mutex<Tables>>,
    /// Appended and not committed.
    waiting: Vec<Vec<Change>>,
    armed: Option<Fate>,
    plan: Option<Plan>,
    broken: bool,
}

impl Memory {
    /// An empty store. `shards`: a power of two up to 64.
    pub fn new(shards: u8) -> Result<Memory, Fault> {
        if !shards.is_power_of_two() || shards > lavina_core::ids::MAX_SHARDS {
            return Err(Fault::BadShards(shards));
        }
        let tables = Arc::new(Mutex::new(Tables::new(shards)));
        Ok(Memory { tables, waiting: Vec::new(), armed: None, plan: None, broken: false })
    }

    /// Another store over the same tables: what a file is to SQLite. What waits here does not wait there.
    pub fn share(&self) -> Memory {
        let tables = Arc::clone(&self.tables);
        Memory { tables, waiting: Vec::new(), armed: None, plan: None, broken: false }
    }

    /// From now on the plan decides how commits fare.
    pub fn set_plan(&mut self, plan: Option<Plan>) {
        self.plan = plan;
    }

    /// Milliseconds the next commit takes by the plan; the caller does the waiting.
    pub fn delay(&mut self) -> u64 {
        self.plan.as_mut().map_or(0, Plan::delay)
    }

    /// Decides how the next commit fares.
    pub fn arm(&mut self, fate: Fate) {
        self.armed = Some(fate);
    }

    /// Batches appended and not committed.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The process ends at this moment: of the batches not committed the first `landed` are there, the
    /// rest is lost. The store is open again afterwards.
    pub fn crash(&mut self, landed: usize) {
        // What the store itself refuses cannot land; nobody waits for the answer.
        let _ = self.land(landed);
        self.reopen();
    }

    /// Opens the store again after a fault. What was not committed is dropped.
    pub fn reopen(&mut self) {
        self.waiting.clear();
        self.broken = false;
    }

    /// As when it was opened from a backup: all positions given out from now on are new.
    pub fn restore(&mut self) -> Result<(), Fault> {
        self.lock().restore()
    }

    /// Reads what is committed.
    pub fn view(&self, read: &Read) -> Page {
        self.lock().read(read).unwrap_or_else(|fault| Page::Failed(fault.into()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tables> {
        lock(&self.tables)
    }

    /// The first `n` waiting batches become part of the store.
    fn land(&mut self, n: usize) -> Result<(), Fault> {
        let n = n.min(self.waiting.len());
        let mut tables = lock(&self.tables);
        for batch in self.waiting.drain(..n) {
            tables.apply(&batch)?;
        }
        Ok(())
    }
}

/// A panic elsewhere leaves the tables whole: each change is applied by one call that does not panic.
fn lock(tables: &Mutex<Tables>) -> std::sync::MutexGuard<'_, Tables> {
    tables.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clone for Memory {
    fn clone(&self) -> Memory {
        Memory {
            tables: Arc::new(Mutex::new(self.lock().clone())),
            waiting: self.waiting.clone(),
            armed: self.armed,
            plan: self.plan.clone(),
            broken: self.broken,
        }
    }
}

impl Reader for Memory {
    fn read(&mut self, read: &Read) -> Result<Page, Fault> {
        self.lock().read(read)
    }
}

impl Store for Memory {
    fn append(&mut self, batch: &[Change]) -> Result<(), Fault> {
        if self.broken {
            return Err(Fault::Broken);
        }
        self.waiting.push(batch.to_vec());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Fault> {
        if self.broken {
            return Err(Fault::Broken);
        }
        let waiting = self.waiting.len();
        let planned = || self.plan.as_mut().map_or(Fate::Stored, |p| p.fate(waiting));
        let fate = self.armed.take().unwrap_or_else(planned);
        let (landed, result) = match fate {
            Fate::Stored => (waiting, Ok(())),
            Fate::Landed => (waiting, Err(Fault::Io("a commit failed, as told".into()))),
            Fate::Torn(n) => (n, Err(Fault::Io("a commit failed half-way, as told".into()))),
            Fate::Lost => (0, Err(Fault::Io("a commit was lost, as told".into()))),
            Fate::Full => (0, Err(Fault::Full("as told"))),
        };
        let result = self.land(landed).and(result);
        if result.is_err() {
            self.waiting.clear();
            self.broken = true;
        }
        result
    }

    fn reader(&self) -> Result<Box<dyn Reader>, Fault> {
        Ok(Box::new(Shared(Arc::clone(&self.tables))))
    }

    fn close(self: Box<Self>) -> Result<(), Fault> {
        Ok(())
    }
}

/// A reader of the same tables, for another thread.
struct Shared(Arc<Mutex<Tables>>);

impl Reader for Shared {
    fn read(&mut self, read: &Read) -> Result<Page, Fault> {
        lock(&self.0).read(read)
    }
}
