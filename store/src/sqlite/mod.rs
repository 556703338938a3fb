//! The store in one SQLite file: write-ahead log, one writing connection, any number of reading ones.

mod backup;
mod lock;
mod paging;
mod read;
mod recent;
mod schema;
#[cfg(test)]
pub(crate) mod scratch;
#[cfg(test)]
mod tests;
mod wal;
mod write;

use crate::{Durability, Fault, Reader, Store};
use lavina_core::{
    ids::{MAX_SHARDS, Pos},
    row::{Change, Page, Read},
};
use lock::Lock;
use read::Rows;
use rusqlite::{Connection, ErrorCode};
use schema::{Role, key};
use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use wal::Checkpointer;
use write::Writer;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shards: fixed when the store is made, a power of two up to 64.
    pub shards: u8,
    /// What a commit survives.
    pub durability: Durability,
    /// True: this process had it open a moment ago, so that the file need not be read through although
    /// it was not closed in order.
    pub again: bool,
}

/// What was found when a store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// True: it was made just now.
    pub created: bool,
    /// True: it had not been closed in order, and was checked.
    pub checked: bool,
    /// True: it was a copy, so all positions given out from now on are new.
    pub restored: bool,
}

/// A store in a file.
pub struct Sqlite {
    // In the order of dropping: the lock goes last.
    writer: Writer,
    rows: Option<Rows>,
    checkpointer: Checkpointer,
    path: PathBuf,
    opened: Opened,
    _lock: Lock,
}

impl Sqlite {
    /// Opens the store in the file `path`, or makes it (owner only). A lock file stands beside it.
    pub fn open(path: &Path, options: &Options) -> Result<Sqlite, Fault> {
        if !options.shards.is_power_of_two() || options.shards > MAX_SHARDS {
            return Err(Fault::BadShards(options.shards));
        }
        let lock = Lock::take(path)?;
        let created = create(path)?;
        let mut conn = schema::connect(path, Role::Writer(options.durability)).map_err(|f| at(f, path))?;
        schema::migrate(&mut conn, path, options.shards).map_err(|f| at(f, path))?;
        let shards = schema::meta(&conn, key::SHARDS)?;
        if shards != i64::from(options.shards) {
            return Err(Fault::Shards { found: shards.clamp(0, 255) as u8, asked: options.shards });
        }
        let unclean = schema::meta(&conn, key::CLEAN)? == 0;
        let checked = unclean && !options.again;
        if checked {
            check(&conn)?;
            schema::rest(&conn);
        }
        if unclean {
            // After a failure the operating system may think written what is not: everything is written
            // and synced again before the store counts as open.
            wal::flush(&conn)?;
        }
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        recent::file(&tx, options.shards)?;
        tx.commit()?;
        let restored = schema::meta(&conn, key::COPY)? != 0;
        if restored {
            restore(&mut conn, options.shards)?;
        }
        if !unclean {
            schema::put_meta(&conn, key::CLEAN, 0)?;
        }
        Ok(Sqlite {
            checkpointer: Checkpointer::start(path)?,
            writer: Writer::new(conn, options.shards)?,
            rows: None,
            path: path.into(),
            opened: Opened { created, checked, restored },
            _lock: lock,
        })
    }

    /// What was found at the opening.
    pub fn opened(&self) -> Opened {
        self.opened
    }

    /// How often the store was restored from a copy.
    pub fn restored(&self) -> Result<u64, Fault> {
        Ok(schema::meta(self.writer.conn(), key::RESTORED)?.max(0) as u64)
    }
}

impl Sqlite {
    fn rows(&self) -> Result<Rows, Fault> {
        Rows::open(&self.path, self.writer.shards(), self.writer.recent())
    }
}

impl Reader for Sqlite {
    fn read(&mut self, read: &Read) -> Result<Page, Fault> {
        let rows = match self.rows.take() {
            Some(rows) => rows,
            None => self.rows()?,
        };
        self.rows.insert(rows).read(read)
    }

    fn rest(&mut self) {
        schema::rest(self.writer.conn());
        self.rows.iter().for_each(|rows| schema::rest(rows.conn()));
    }
}

impl Store for Sqlite {
    fn append(&mut self, batch: &[Change]) -> Result<(), Fault> {
        self.writer.append(batch)
    }

    fn commit(&mut self) -> Result<(), Fault> {
        let pages = self.writer.commit()?;
        self.checkpointer.committed(self.writer.conn(), pages);
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>, Fault> {
        Ok(Box::new(self.rows()?))
    }

    fn close(self: Box<Self>) -> Result<(), Fault> {
        let Sqlite { writer, rows, checkpointer, .. } = *self;
        checkpointer.stop();
        drop(rows);
        writer.close()
    }
}

/// Makes an empty file for the owner only, unless there is one. SQLite gives the files beside it the
/// same rights.
fn create(path: &Path) -> Result<bool, Fault> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Fault::Io(format!("{}: {e}", path.display()))),
    }
}

/// After an end out of order: is the file whole? Takes as long as reading it once.
fn check(conn: &Connection) -> Result<(), Fault> {
    let word: String = conn.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
    if word == "ok" { Ok(()) } else { Err(Fault::Corrupt(word)) }
}

/// A copy becomes a store: its shards go on from a place that no position given out before can reach.
fn restore(conn: &mut Connection, shards: u8) -> Result<(), Fault> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let highest: i64 = tx.query_row("SELECT coalesce(max(next), 0) FROM shard", [], |r| r.get(0))?;
    let next = ((highest >> Pos::EPOCH_SHIFT) + 1) << Pos::EPOCH_SHIFT;
    if next as u64 > Pos::MAX.0 {
        return Err(Fault::Full("it was restored from a copy too often"));
    }
    for shard in 0..shards {
        write::set_head(&tx, i64::from(shard), next)?;
    }
    schema::put_meta(&tx, key::COPY, 0)?;
    let before = schema::meta(&tx, key::RESTORED)?;
    schema::put_meta(&tx, key::RESTORED, before + 1)?;
    tx.commit()?;
    Ok(())
}

/// Names the file where SQLite only says that it is not one of its own.
fn at(fault: Fault, path: &Path) -> Fault {
    match fault {
        Fault::NotAStore(_) => Fault::NotAStore(path.into()),
        Fault::Io(how) => Fault::Io(format!("{}: {how}", path.display())),
        other => other,
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        let code = match &error {
            rusqlite::Error::SqliteFailure(e, _) => e.code,
            _ => return Fault::Corrupt(error.to_string()),
        };
        match code {
            ErrorCode::DiskFull => Fault::Full("no space is left on its disk"),
            ErrorCode::NotADatabase => Fault::NotAStore(PathBuf::new()),
            ErrorCode::DatabaseCorrupt => Fault::Corrupt(error.to_string()),
            ErrorCode::ConstraintViolation => Fault::Misuse("a row is there already"),
            _ => Fault::Io(error.to_string()),
        }
    }
}

/// Ids and positions as SQLite's integers: the same 64 bits.
fn int(n: u64) -> i64 {
    n as i64
}

/// And back.
fn uint(n: i64) -> u64 {
    n as u64
}
