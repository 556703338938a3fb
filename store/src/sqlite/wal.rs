//! Carrying the write-ahead log over into the file, beside the commits.

use super::schema::{self, Role};
use crate::Fault;
use rusqlite::Connection;
use std::{
    path::Path,
    sync::mpsc::{SyncSender, sync_channel},
    thread::JoinHandle,
};

/// Pages of log (of 4 KiB) after which it is carried over.
const PASSIVE: u32 = 1024;
/// Pages of log after which commits wait until it is short again: readers or a slow disk keep the
/// checkpoints from catching up.
const FORCED: u32 = 32 * 1024;

/// A thread that carries over what is committed, without keeping commits or readers waiting.
pub(super) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Pages in the log when it was last carried over.
    told: u32,
}

impl Checkpointer {
    pub(super) fn start(path: &Path) -> Result<Checkpointer, Fault> {
        let conn = schema::connect(path, Role::Checkpointer)?;
        let (wake, woken) = sync_channel::<()>(1);
        let work = move || {
            while woken.recv().is_ok() {
                // What cannot be carried over now stays in the log, and is tried again at the next wake.
                let _ = checkpoint(&conn, "PRAGMA wal_checkpoint(PASSIVE)");
            }
        };
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(work);
        let thread = thread.map_err(|e| Fault::Io(format!("no thread for the store: {e}")))?;
        Ok(Checkpointer { wake: Some(wake), thread: Some(thread), told: 0 })
    }

    /// The log has so many pages now.
    pub(super) fn committed(&mut self, writer: &Connection, pages: u32) {
        if pages >= FORCED {
            // Busy readers make it give up after the busy time; then the log grows on.
            let _ = checkpoint(writer, "PRAGMA wal_checkpoint(RESTART)");
            self.told = 0;
        } else if pages < self.told {
            // It was carried over and begins anew.
            self.told = 0;
        }
        if pages >= self.told + PASSIVE {
            self.told = pages;
            if let Some(wake) = &self.wake {
                // A full channel: it is awake already.
                let _ = wake.try_send(());
            }
        }
    }

    /// Waits for the thread's end.
    pub(super) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Carries all of the log over and syncs the file; the log is empty afterwards.
pub(super) fn flush(conn: &Connection) -> Result<(), Fault> {
    match checkpoint(conn, "PRAGMA wal_checkpoint(TRUNCATE)")? {
        true => Ok(()),
        false => Err(Fault::Io("readers keep the write-ahead log from being carried over".into())),
    }
}

/// True: done as asked. False: readers were in the way.
fn checkpoint(conn: &Connection, sql: &str) -> Result<bool, Fault> {
    let busy: i64 = conn.query_row(sql, [], |r| r.get(0))?;
    Ok(busy == 0)
}
