//! The rows of Lavina, behind one contract: [`Memory`] for the simulator and for tests, with faults on
//! demand, and [`Sqlite`] for servers.
//!
//! What is stored and asked is defined by the core ([`lavina_core::row`]). A store takes batches of
//! changes with [`Store::append`] and makes them durable and readable with [`Store::commit`], each batch
//! all or none, in order. Readers see committed state only, each read from one moment. [`Threads`] runs
//! a store for workers that must never wait for it.
//!
//! Both stores pass the suite in `contract.rs`, which also compares them on random changes and reads.

pub mod blobs;
mod fault;
pub mod memory;
mod rules;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod threads;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod sample;

pub use fault::Fault;
pub use memory::Memory;
pub use rules::{FED, SCAN_MAX};
#[cfg(feature = "sqlite")]
pub use sqlite::Sqlite;
pub use threads::{Answer, Setup, Threads};

use lavina_core::row::{Change, Page, Read};

/// Answers reads from what is committed.
pub trait Reader: Send {
    /// Reads, from one moment. The moment is not earlier than the last commit that returned before.
    fn read(&mut self, read: &Read) -> Result<Page, Fault>;

    /// The same with a fault as [`Page::Failed`].
    fn page(&mut self, read: &Read) -> Page {
        self.read(read).unwrap_or_else(|fault| Page::Failed(fault.into()))
    }

    /// Nothing was asked for a while: memory that is held for speed alone is given back.
    fn rest(&mut self) {}
}

/// Takes changes, and makes them durable.
///
/// After a fault of `append` or `commit` nothing more can be written through this value; what was not
/// committed is unknown (after a failed commit any number of its batches, from the first on, may have
/// landed). Drop it and open the store again to know.
pub trait Store: Reader {
    /// Takes a batch, to be stored all or none after all earlier ones.
    fn append(&mut self, batch: &[Change]) -> Result<(), Fault>;

    /// All batches appended so far become durable, and visible to readers.
    fn commit(&mut self) -> Result<(), Fault>;

    /// One more reader, for another thread. It outlives the store.
    fn reader(&self) -> Result<Box<dyn Reader>, Fault>;

    /// Closes in order. What was appended and not committed is dropped.
    fn close(self: Box<Self>) -> Result<(), Fault>;
}

/// What an acknowledged message survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The loss of power: every commit waits for the device.
    #[default]
    Power,
    /// The end of the process, however sudden. After a loss of power the last commits may be gone; the
    /// rest is whole. Far fewer waits, kinder to SD cards.
    Process,
}
