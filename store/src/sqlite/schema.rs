//! The tables, their versions, and the settings of a connection.

use crate::{Durability, Fault};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::path::Path;

/// Marks the file as a store of this program (SQLite's `application_id`): "Lavi".
pub(super) const APPLICATION: u32 = 0x4c61_7669;

/// Each step brings a store from version n (its place in the list) to n + 1. Never change one that was
/// released; add one.
pub(super) const MIGRATIONS: &[&str] = &[V1, V2, V3, V4, V5, V6, V7];

/// The newest version known.
pub(super) fn known() -> u32 {
    MIGRATIONS.len() as u32
}

/// Bits of an event's row id that are the position; the bits above are the room's small number.
pub(super) const SHIFT: u32 = lavina_core::ids::Pos::BITS;

/// Most rooms and dialogs of one store: what a row id leaves for their numbers.
pub(super) const ROOMS_MAX: i64 = (1 << (63 - SHIFT)) - 1;

/// Statements kept ready on each connection.
pub(super) const STATEMENTS: usize = 64;

/// Keys of `meta`.
pub(super) mod key {
    /// Shards of the store.
    pub(crate) const SHARDS: &str = "shards";
    /// 1: closed in order.
    pub(crate) const CLEAN: &str = "clean";
    /// 1: a copy that was never opened as a store.
    pub(crate) const COPY: &str = "copy";
    /// How often it was restored from a copy.
    pub(crate) const RESTORED: &str = "restored";
}

/// Ids are random 64-bit numbers, stored as they are (SQLite's integers are signed; order of ids means
/// nothing). Rooms and accounts have small numbers `n` besides, which the two tables that grow use: a
/// room's log is one stretch of `event`, a feed is one of `feed`, both in the order they are read, with
/// no index beside the log.
///
/// `event.id` is `n << 40 | position`; `nth`, `said` and `messages` count the room's entries up to and
/// including this one (all, those about messages, messages with their edits), so that totals and the next match
/// are found without reading what lies between. `feed.id` is the account's `n << 40 | feed position`;
/// `at` is the latest time so far, so times never fall along a feed.
const V1: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE shard (id INTEGER PRIMARY KEY, next INTEGER NOT NULL DEFAULT 1, followed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE follow (
  shard INTEGER NOT NULL, pos INTEGER NOT NULL, nth INTEGER NOT NULL, command BLOB NOT NULL,
  PRIMARY KEY (shard, pos, nth)) WITHOUT ROWID;
CREATE TABLE unfollowed (
  shard INTEGER NOT NULL, pos INTEGER NOT NULL, event INTEGER NOT NULL,
  PRIMARY KEY (shard, pos)) WITHOUT ROWID;

CREATE TABLE name (key TEXT PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE account (
  n INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, name TEXT, deleted INTEGER NOT NULL DEFAULT 0, head BLOB);
CREATE INDEX account_name ON account (name, id, deleted) WHERE name IS NOT NULL;
CREATE TABLE account_attr (
  account INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (account, key)) WITHOUT ROWID;
CREATE TABLE contact (
  account INTEGER NOT NULL, address TEXT NOT NULL, row BLOB NOT NULL,
  PRIMARY KEY (account, address)) WITHOUT ROWID;
CREATE TABLE seen (
  account INTEGER NOT NULL, room INTEGER NOT NULL, pos INTEGER NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (account, room)) WITHOUT ROWID;
CREATE TABLE feed (id INTEGER PRIMARY KEY, room INTEGER NOT NULL, entry INTEGER NOT NULL, at INTEGER NOT NULL);

CREATE TABLE room (
  n INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, name TEXT, secret INTEGER NOT NULL DEFAULT 0,
  dialog INTEGER NOT NULL DEFAULT 0, head BLOB, topic BLOB, masks BLOB);
CREATE INDEX room_name ON room (name, id, secret) WHERE name IS NOT NULL;
CREATE TABLE room_attr (
  room INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (room, key)) WITHOUT ROWID;
CREATE TABLE member (
  room INTEGER NOT NULL, account INTEGER NOT NULL, joined INTEGER NOT NULL, row BLOB NOT NULL,
  PRIMARY KEY (room, account)) WITHOUT ROWID;
CREATE INDEX member_of ON member (account) WHERE joined >= 0;
CREATE INDEX member_joined ON member (room) WHERE joined = 1;
CREATE TABLE event (
  id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, nth INTEGER NOT NULL, said INTEGER NOT NULL,
  messages INTEGER NOT NULL, data BLOB NOT NULL);

CREATE TABLE dialog (
  account INTEGER NOT NULL, room INTEGER NOT NULL, entry INTEGER NOT NULL, pos INTEGER NOT NULL,
  PRIMARY KEY (account, room, entry)) WITHOUT ROWID;
";

/// Facts of open rooms; what accounts keep without having it in memory. Rows of members who left are
/// looked for too.
const V2: &str = "
CREATE TABLE fact (
  room INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, row BLOB NOT NULL,
  PRIMARY KEY (room, kind, key)) WITHOUT ROWID;
CREATE TABLE shelf (
  account INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (account, key)) WITHOUT ROWID;
CREATE TABLE letter (
  account INTEGER NOT NULL, label TEXT NOT NULL, pos INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (account, label, pos)) WITHOUT ROWID;
CREATE INDEX member_former ON member (account) WHERE joined < 0;
";

/// Which entries of a room (by its small number) are about which: found by position on both sides.
const V3: &str = "
CREATE TABLE related (
  room INTEGER NOT NULL, target INTEGER NOT NULL, pos INTEGER NOT NULL,
  PRIMARY KEY (room, target, pos)) WITHOUT ROWID;
";

/// Rooms without a name that are listed all the same are found by their ids.
const V4: &str = "
CREATE INDEX room_nameless ON room (id) WHERE name IS NULL AND dialog = 0 AND secret = 0;
";

/// Uploads, by their random names; whose, and of which content.
const V5: &str = "
CREATE TABLE media (
  id BLOB PRIMARY KEY, account INTEGER NOT NULL, hash BLOB, size INTEGER, at INTEGER NOT NULL, row BLOB NOT NULL
  ) WITHOUT ROWID;
CREATE INDEX media_of ON media (account, id, size, at);
CREATE INDEX media_hash ON media (hash) WHERE hash IS NOT NULL;
";

/// Sealed entries are found by the first eight bytes of their names. `event` is the row's id in the log.
const V6: &str = "
CREATE TABLE sealed (name INTEGER NOT NULL, event INTEGER NOT NULL, PRIMARY KEY (name, event)) WITHOUT ROWID;
";

/// Entries and rows of feeds that do not stand in their tables yet: see `recent.rs`.
const V7: &str = "
CREATE TABLE recent (seq INTEGER PRIMARY KEY, data BLOB NOT NULL);
";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Writer(Durability),
    Reader,
    Checkpointer,
}

/// Opens a connection to a store that is there and sets it up.
pub(super) fn connect(path: &Path, role: Role) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    if matches!(role, Role::Writer(_)) {
        // Both decide the form of a new file, so they come before the first table; no effect later.
        conn.pragma_update(None, "page_size", 4096)?;
        conn.pragma_update(None, "auto_vacuum", 2)?;
        let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))?;
        if mode != "wal" {
            return Err(Fault::Io(format!(
                "the write-ahead log cannot be used on this file system ({mode})"
            )));
        }
    }
    // What a reader writes is stored already, in another place.
    let sync = match role {
        Role::Writer(Durability::Process) | Role::Reader => 1,
        Role::Writer(Durability::Power) | Role::Checkpointer => 2,
    };
    conn.pragma_update(None, "synchronous", sync)?;
    // What was withdrawn or erased must not be found in free pages.
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", 16 << 20)?;
    // KiB. The writer's holds what is filed at once.
    let cache = match role {
        Role::Writer(_) => -4000,
        Role::Reader => -2000,
        Role::Checkpointer => -256,
    };
    conn.pragma_update(None, "cache_size", cache)?;
    conn.pragma_update(None, "temp_store", 2)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    if role == Role::Reader {
        // It can answer before it writes, and so also when it cannot write.
        conn.pragma_update(None, "cache_spill", false)?;
    }
    Ok(conn)
}

/// Gives back the cached pages: the system has them too, as long as it has room.
pub(super) fn rest(conn: &Connection) {
    // Where it fails they stay, and nothing is lost.
    let _ = conn.execute_batch("PRAGMA shrink_memory");
}

/// A new store gets its tables, an older one is brought to the newest version, each step all or none.
pub(super) fn migrate(conn: &mut Connection, path: &Path, shards: u8) -> Result<(), Fault> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let application: u32 = tx.pragma_query_value(None, "application_id", |r| r.get(0))?;
    let found: u32 = tx.pragma_query_value(None, "user_version", |r| r.get(0))?;
    let tables: u32 = tx.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    if application != APPLICATION && (tables > 0 || found > 0) {
        return Err(Fault::NotAStore(path.into()));
    }
    if found > known() {
        return Err(Fault::Newer { found, known: known() });
    }
    for step in &MIGRATIONS[found as usize..] {
        tx.execute_batch(step)?;
    }
    if tables == 0 {
        tx.pragma_update(None, "application_id", APPLICATION)?;
        put_meta(&tx, key::SHARDS, i64::from(shards))?;
        put_meta(&tx, key::CLEAN, 1)?;
    }
    if found < known() {
        tx.pragma_update(None, "user_version", known())?;
    }
    tx.commit()?;
    Ok(())
}

/// A number of `meta`; zero if there is none.
pub(super) fn meta(conn: &Connection, key: &str) -> Result<i64, Fault> {
    let mut statement = conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |r| r.get(0)).optional()?.unwrap_or(0))
}

/// Sets a number of `meta`.
pub(super) fn put_meta(conn: &Connection, key: &str, value: i64) -> Result<(), Fault> {
    let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    conn.execute(sql, (key, value))?;
    Ok(())
}
