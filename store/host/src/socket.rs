//! What a runtime's connection can do, without ever waiting.

use std::io;

/// A connection that never blocks: what cannot be done at once is [`io::ErrorKind::WouldBlock`].
pub trait Socket: Send + 'static {
    /// Reads; zero: the other end is closed.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Writes as much as goes.
    ///
    /// # Errors
    /// The system's.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Says that nothing more will be written.
    fn finish(&self);
}

/// What the thread of a worker does for its sockets: the part that differs between runtimes.
pub trait Reactor<S> {
    /// A connection is here from now on. What it has received already must be told as well.
    ///
    /// # Errors
    /// The system's; the connection is closed then.
    fn add(&mut self, slot: u32, socket: &mut S) -> io::Result<()>;

    /// The connection in this slot is closed or goes to another thread.
    fn remove(&mut self, slot: u32, socket: &mut S);

    /// Reading goes on: what came meanwhile is to be read.
    fn resume(&mut self, slot: u32);

    /// A write did not go through: the pump wants [`crate::pump::Pump::writable`] when it would.
    fn blocked(&mut self, slot: u32);
}
