//! One process uses a store.

use crate::Fault;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Held while the store is open. The lock goes with the process, the file stays.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "open as long as the lock is held")] File);

impl Lock {
    /// The lock file of a store.
    pub(super) fn path(store: &Path) -> PathBuf {
        store.with_extension("lock")
    }

    /// Takes the lock, or says who has it.
    pub(super) fn take(store: &Path) -> Result<Lock, Fault> {
        let path = Lock::path(store);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Fault::Io(format!("{}: {e}", path.display())))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                return Err(Fault::Locked { path, pid: text.trim().parse().ok() });
            }
            Err(e) => return Err(Fault::Io(format!("{} cannot be locked: {e}", path.display()))),
        }
        // The number is for people; a full disk must not keep the store closed.
        let _ = file.set_len(0).and_then(|()| file.rewind());
        let _ = write!(file, "{}", std::process::id());
        Ok(Lock(file))
    }
}
