//! What can go wrong with a store, in a sentence for the operator that says what to do next.

use lavina_core::refusal::Refusal;
use std::{fmt, path::PathBuf};

/// Why a store cannot be opened, read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No space is left, or a limit of the format is reached; which.
    Full(&'static str),
    /// The operating system failed; how.
    Io(String),
    /// The file was written by a newer program.
    Newer {
        /// The file's schema version.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// Another process uses the store.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process, if it left its number.
        pid: Option<u32>,
    },
    /// The file is damaged; where.
    Corrupt(String),
    /// The file is something else.
    NotAStore(PathBuf),
    /// The store was made with another number of shards.
    Shards {
        /// What the store has.
        found: u8,
        /// What the settings ask for.
        asked: u8,
    },
    /// A number of shards that no store can have.
    BadShards(u8),
    /// The file for a copy is there already.
    Exists(PathBuf),
    /// An earlier change of this store failed; it must be opened again.
    Broken,
    /// This store cannot do that; what.
    Unsupported(&'static str),
    /// Too much is waiting to be written.
    Overrun,
    /// The caller broke the contract; how.
    Misuse(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Full(what) => {
                write!(f, "the store is full: {what}; free or add space, writing goes on by itself")
            }
            Fault::Io(how) => write!(
                f,
                "the store cannot be reached: {how}; check the data directory's disk, mount and permissions"
            ),
            Fault::Newer { found, known } => write!(
                f,
                "the store has schema version {found}, this program knows versions up to {known}; run a newer \
                 program, or restore a backup made before the upgrade"
            ),
            Fault::Locked { path, pid: Some(pid) } => write!(
                f,
                "another server (process {pid}) uses this store; stop it, or choose another data directory \
                 (lock: {})",
                path.display()
            ),
            Fault::Locked { path, pid: None } => write!(
                f,
                "another process uses this store; stop it, or choose another data directory (lock: {})",
                path.display()
            ),
            Fault::Corrupt(how) => write!(
                f,
                "the store is damaged: {how}; stop the server, keep a copy of the data directory, and restore \
                 the latest backup"
            ),
            Fault::NotAStore(path) => write!(
                f,
                "{} is not a store of this program; move it away, or choose another data directory",
                path.display()
            ),
            Fault::Shards { found, asked } => write!(
                f,
                "the store was made with {found} shards, the settings ask for {asked}; set `shards = {found}` \
                 (the number is fixed when a store is made)"
            ),
            Fault::BadShards(n) => {
                write!(f, "a store cannot have {n} shards; choose 1, 2, 4, 8, 16, 32 or 64")
            }
            Fault::Exists(path) => {
                write!(f, "{} is there already; choose another name for the copy", path.display())
            }
            Fault::Broken => write!(f, "an earlier change could not be stored; open the store again"),
            Fault::Unsupported(what) => write!(f, "this store cannot {what}"),
            Fault::Misuse(how) => write!(f, "a mistake of this program: {how}; please report it"),
            Fault::Overrun => {
                write!(
                    f,
                    "more is waiting to be stored than the queue holds; the disk is too slow for the load"
                )
            }
        }
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal::from(&fault)
    }
}

impl From<&Fault> for Refusal {
    fn from(fault: &Fault) -> Refusal {
        match fault {
            Fault::Full(_) => Refusal::StoreFull,
            Fault::Overrun => Refusal::Busy,
            Fault::Exists(_) => Refusal::Invalid("a file of that name is there already"),
            Fault::Unsupported(what) => Refusal::Unsupported(what),
            Fault::Io(_)
            | Fault::Newer { .. }
            | Fault::Locked { .. }
            | Fault::Corrupt(_)
            | Fault::NotAStore(_)
            | Fault::Shards { .. }
            | Fault::BadShards(_)
            | Fault::Misuse(_)
            | Fault::Broken => Refusal::StoreDown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_the_numbers_and_the_next_step() {
        let newer = Fault::Newer { found: 9, known: 1 }.to_string();
        assert!(newer.contains('9') && newer.contains('1') && newer.contains("backup"), "{newer}");
        let shards = Fault::Shards { found: 4, asked: 64 }.to_string();
        assert!(shards.contains("shards = 4"), "{shards}");
        let locked = Fault::Locked { path: "/x/lock".into(), pid: Some(17) }.to_string();
        assert!(locked.contains("17") && locked.contains("/x/lock"), "{locked}");
    }

    #[test]
    fn refusals_tell_full_from_down() {
        assert_eq!(Refusal::from(Fault::Full("disk")), Refusal::StoreFull);
        assert_eq!(Refusal::from(Fault::Broken), Refusal::StoreDown);
    }
}
