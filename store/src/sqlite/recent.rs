//! The newest entries, before they stand where they are read.
//!
//! An entry of a dialog belongs on five pages: the log's, and two in the feed of each party. Writing
//! them all with every commit costs far more than the words. So a commit appends what it has of entries
//! and feeds to one table, `recent`, in the order of arrival. All of it is *filed*, put in its places
//! with many rows to a page, when there is enough of it, and before a read of what has something there.

use super::{
    int,
    paging::blob,
    uint,
    write::{event_id, span, unreadable},
};
use crate::Fault;
use lavina_core::{
    ids::{AccountId, Pos, RoomId},
    row::Read,
};
use minicbor::{Decoder, Encoder};
use rusqlite::{Connection, OptionalExtension};
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Records after which a commit files them; bounds how long a commit or a read takes for it.
const RECORDS: usize = 8_192;
/// Bytes of records after which a commit files them.
const BYTES: usize = 2 << 20;
/// Bytes of one row: what fits on a page of 4 KiB. A longer record has a row of its own.
const ROW: usize = 3_900;

/// What waits to be filed: shared by the writing connection and the reading ones.
#[derive(Default)]
pub(super) struct Recent {
    /// Held by whoever writes, so that nobody waits by asking SQLite again and again.
    turn: Mutex<()>,
    waiting: Mutex<Waiting>,
}

/// Which rooms and accounts have something in `recent`. What a commit adds is noted before it commits,
/// so nothing that a reader can see is missing here.
#[derive(Default)]
struct Waiting {
    marks: Marks,
    /// All rows below this number are filed.
    filed: i64,
    /// The next row's number. It never falls while the store is open.
    next: i64,
}

/// Rooms and accounts with records, and how many.
#[derive(Clone, Default)]
pub(super) struct Marks {
    rooms: BTreeSet<RoomId>,
    accounts: BTreeSet<AccountId>,
    sealed: bool,
    records: usize,
    bytes: usize,
}

impl Marks {
    fn has(&self, read: &Read) -> bool {
        match read {
            Read::Heads(_) => self.records > 0,
            Read::Sealed(_) => self.sealed,
            Read::Account(id) | Read::Feed { account: id, .. } | Read::Dialogs { account: id, .. } => {
                self.accounts.contains(id)
            }
            Read::Room(id, _) | Read::History { room: id, .. } | Read::Related { room: id, .. } => {
                self.rooms.contains(id)
            }
            // Of what is written at once.
            _ => false,
        }
    }

    fn add(&mut self, other: Marks) {
        let Marks { mut rooms, mut accounts, sealed, records, bytes } = other;
        self.rooms.append(&mut rooms);
        self.accounts.append(&mut accounts);
        self.sealed |= sealed;
        self.records += records;
        self.bytes += bytes;
    }
}

impl Recent {
    /// The right to write.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.turn)
    }

    /// Whether a reader whose snapshot ends with this row must file before it reads. A snapshot from before the last
    /// filing is too old to tell.
    pub(super) fn concerns(&self, last: i64, read: &Read) -> bool {
        let waiting = lock(&self.waiting);
        last < waiting.filed || waiting.marks.has(read)
    }

    /// All is filed. To be called in one's turn.
    pub(super) fn done(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.filed = waiting.next;
        waiting.marks = Marks::default();
    }

    fn is_full(&self) -> bool {
        let waiting = lock(&self.waiting);
        waiting.marks.records >= RECORDS || waiting.marks.bytes >= BYTES
    }

    fn next(&self) -> i64 {
        lock(&self.waiting).next
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came of writing into a vector.
type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

/// What one commit adds.
#[derive(Default)]
pub(super) struct Batch {
    row: Vec<u8>,
    next: i64,
    marks: Marks,
    /// It has filed all that was there, up to this row.
    filed: Option<i64>,
}

/// An entry's row in the log.
pub(super) struct Entry<'a> {
    pub(super) id: i64,
    pub(super) kind: u8,
    pub(super) nth: i64,
    pub(super) said: i64,
    pub(super) messages: i64,
    pub(super) data: &'a [u8],
}

/// A row of a feed; account and room by their small numbers.
pub(super) struct Fed {
    pub(super) account: i64,
    pub(super) pos: i64,
    pub(super) room: i64,
    pub(super) entry: i64,
    pub(super) at: u64,
}

impl Batch {
    /// A commit begins. Files first when there is enough.
    pub(super) fn begin(recent: &Recent, conn: &Connection, shards: u8) -> Result<Batch, Fault> {
        let mut batch = Batch { next: recent.next(), ..Batch::default() };
        if recent.is_full() {
            batch.file(conn, shards)?;
        }
        Ok(batch)
    }

    pub(super) fn entry(
        &mut self,
        conn: &Connection,
        room: RoomId,
        sealed: bool,
        entry: &Entry<'_>,
    ) -> Result<(), Fault> {
        self.make_room(conn, entry.data.len() + 64)?;
        let Entry { id, kind, nth, said, messages, data } = *entry;
        self.encode(6, |e| e.i64(id)?.u8(kind)?.i64(nth)?.i64(said)?.i64(messages)?.bytes(data)?.ok());
        self.marks.rooms.insert(room);
        self.marks.sealed |= sealed;
        self.marks.records += 1;
        self.marks.bytes += data.len();
        Ok(())
    }

    pub(super) fn fed(&mut self, conn: &Connection, id: AccountId, fed: &Fed) -> Result<(), Fault> {
        self.make_room(conn, 64)?;
        let Fed { account, pos, room, entry, at } = *fed;
        self.encode(5, |e| e.i64(account)?.i64(pos)?.i64(room)?.i64(entry)?.u64(at)?.ok());
        self.marks.accounts.insert(id);
        self.marks.records += 1;
        Ok(())
    }

    fn encode(&mut self, len: u64, record: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Written) {
        let mut e = Encoder::new(&mut self.row);
        let written = e.array(len).map(drop).and_then(|()| record(&mut e));
        debug_assert!(written.is_ok(), "a vector takes all");
    }

    fn make_room(&mut self, conn: &Connection, len: usize) -> Result<(), Fault> {
        if !self.row.is_empty() && self.row.len() + len > ROW { self.write(conn) } else { Ok(()) }
    }

    fn write(&mut self, conn: &Connection) -> Result<(), Fault> {
        if !self.row.is_empty() {
            conn.prepare_cached("INSERT INTO recent VALUES (?1, ?2)")?.execute((self.next, &self.row))?;
            self.next += 1;
            self.row.clear();
        }
        Ok(())
    }

    /// Files everything, what this commit has added too: for changes of what may stand there.
    pub(super) fn file(&mut self, conn: &Connection, shards: u8) -> Result<(), Fault> {
        self.write(conn)?;
        file(conn, shards)?;
        (self.filed, self.marks) = (Some(self.next), Marks::default());
        Ok(())
    }

    /// The last rows are written, and readers will know of them. The commit follows.
    pub(super) fn end(&mut self, recent: &Recent, conn: &Connection) -> Result<(), Fault> {
        self.write(conn)?;
        let mut waiting = lock(&recent.waiting);
        waiting.next = self.next;
        waiting.marks.add(self.marks.clone());
        Ok(())
    }

    /// The commit is done.
    pub(super) fn committed(self, recent: &Recent) {
        if let Some(filed) = self.filed {
            let mut waiting = lock(&recent.waiting);
            (waiting.filed, waiting.marks) = (filed, self.marks);
        }
    }
}

/// The number of the last row in the present snapshot; `None`: there are none.
pub(super) fn last(conn: &Connection) -> Result<Option<i64>, Fault> {
    Ok(conn.prepare_cached("SELECT max(seq) FROM recent")?.query_row((), |r| r.get(0))?)
}

/// Puts all that is recent in its places, in the transaction under way.
pub(super) fn file(conn: &Connection, shards: u8) -> Result<(), Fault> {
    let mut rows: Vec<Vec<u8>> = Vec::new();
    let mut statement = conn.prepare_cached("SELECT data FROM recent ORDER BY seq")?;
    let mut found = statement.query(())?;
    while let Some(row) = found.next()? {
        rows.push(blob(row, 0)?.to_vec());
    }
    drop(found);
    if rows.is_empty() {
        return Ok(());
    }
    let (mut entries, mut feds) = (Vec::new(), Vec::new());
    for row in &rows {
        records(row, &mut entries, &mut feds).map_err(|_| unreadable("what is recent"))?;
    }
    entries.sort_unstable_by_key(|e| e.id);
    feds.sort_unstable_by_key(|f| (f.account, f.pos));
    file_entries(conn, shards, &entries)?;
    file_feeds(conn, &feds)?;
    conn.prepare_cached("DELETE FROM recent")?.execute(())?;
    Ok(())
}

fn records<'a>(
    row: &'a [u8],
    entries: &mut Vec<Entry<'a>>,
    feds: &mut Vec<Fed>,
) -> Result<(), minicbor::decode::Error> {
    let mut d = Decoder::new(row);
    while d.position() < row.len() {
        match d.array()? {
            Some(6) => entries.push(Entry {
                id: d.i64()?,
                kind: d.u8()?,
                nth: d.i64()?,
                said: d.i64()?,
                messages: d.i64()?,
                data: d.bytes()?,
            }),
            Some(5) => feds.push(Fed {
                account: d.i64()?,
                pos: d.i64()?,
                room: d.i64()?,
                entry: d.i64()?,
                at: d.u64()?,
            }),
            _ => return Err(minicbor::decode::Error::message("neither an entry nor of a feed")),
        }
    }
    Ok(())
}

/// Entries, by room and position. Those of dialogs wait until their shard has carried out what follows from them.
fn file_entries(conn: &Connection, shards: u8, entries: &[Entry<'_>]) -> Result<(), Fault> {
    let mut put = conn.prepare_cached("INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    let mut late = conn.prepare_cached("INSERT OR REPLACE INTO unfollowed VALUES (?1, ?2, ?3)")?;
    let mut last = None;
    for e in entries {
        put.execute((e.id, e.kind, e.nth, e.said, e.messages, e.data))?;
        let room = e.id >> Pos::BITS;
        let (_, dialog) = match last {
            Some(known @ (n, _)) if n == room => known,
            _ => (room, dialog(conn, shards, room)?),
        };
        last = Some((room, dialog));
        let pos = int(uint(e.id) & Pos::MAX.0);
        if let Some((shard, followed)) = dialog
            && pos > followed
        {
            late.execute((shard, pos, e.id))?;
        }
    }
    Ok(())
}

/// The shard of a dialog, and up to where it has carried out what follows; `None`: no dialog.
fn dialog(conn: &Connection, shards: u8, n: i64) -> Result<Option<(u8, i64)>, Fault> {
    let mut statement = conn.prepare_cached("SELECT id FROM room WHERE n = ?1 AND dialog = 1")?;
    let Some(id) = statement.query_row([n], |r| r.get::<_, i64>(0)).optional()? else { return Ok(None) };
    let shard = RoomId(uint(id)).shard(shards).0;
    let mut statement = conn.prepare_cached("SELECT followed FROM shard WHERE id = ?1")?;
    let followed = statement.query_row([shard], |r| r.get(0)).optional()?;
    Ok(Some((shard, followed.unwrap_or(0))))
}

/// Rows of feeds, by account and position. An entry comes into a feed once. The times of a feed never fall.
fn file_feeds(conn: &Connection, feds: &[Fed]) -> Result<(), Fault> {
    let mut place =
        conn.prepare_cached("INSERT INTO dialog VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?;
    let mut put = conn.prepare_cached("INSERT INTO feed VALUES (?1, ?2, ?3, ?4)")?;
    let mut latest =
        conn.prepare_cached("SELECT at FROM feed WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1")?;
    let mut last = None;
    for f in feds {
        let before = match last {
            Some((account, at)) if account == f.account => at,
            _ => latest.query_row(span(f.account), |r| r.get::<_, i64>(0)).optional()?.unwrap_or(0),
        };
        let new = place.execute((f.account, f.room, f.entry, f.pos))? > 0;
        let at = if new { before.max(int(f.at)) } else { before };
        if new {
            put.execute((event_id(f.account, uint(f.pos)), f.room, f.entry, at))?;
        }
        last = Some((f.account, at));
    }
    Ok(())
}
