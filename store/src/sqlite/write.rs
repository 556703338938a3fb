//! Changes become rows.

use super::{
    int,
    recent::{self, Batch, Entry, Fed, Recent},
    schema::{self, ROOMS_MAX, SHIFT, key},
    uint, wal,
};
use crate::{
    Fault,
    rules::{self, Class},
};
use lavina_core::{
    event::Event,
    ids::{AccountId, Pos, RoomId, ShardId},
    media::{Media, MediaId},
    name::NameKey,
    policy::{Member, Membership},
    row::{self, AccountHead, Change, NameRow, RoomHead},
    text::Octets,
};
use rusqlite::{Connection, OptionalExtension, Params};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// Rooms whose numbers and counts are kept in memory, and accounts whose numbers are; above, all are
/// forgotten and read again.
const KNOWN: usize = 4096;

/// The writing connection, and what waits for the commit.
pub(super) struct Writer {
    conn: Connection,
    shards: u8,
    appended: Vec<Change>,
    /// A commit failed: the connection is not to be used again.
    broken: bool,
    rooms: BTreeMap<RoomId, Known>,
    accounts: BTreeMap<AccountId, i64>,
    recent: Arc<Recent>,
    /// Made again for each entry, in the same memory.
    entry: Vec<u8>,
    /// Pages in the write-ahead log, told by SQLite after each commit.
    pages: Arc<AtomicU32>,
}

/// What is known of a room while it is written to.
#[derive(Clone, Copy, Debug)]
struct Known {
    n: i64,
    dialog: bool,
    last: u64,
    nth: i64,
    said: i64,
    messages: i64,
}

impl Writer {
    pub(super) fn new(mut conn: Connection, shards: u8) -> Result<Writer, Fault> {
        let pages = Arc::new(AtomicU32::new(0));
        let told = Arc::clone(&pages);
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, n: i32| {
            told.store(n.max(0) as u32, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Writer {
            conn,
            shards,
            appended: Vec::new(),
            broken: false,
            rooms: BTreeMap::new(),
            accounts: BTreeMap::new(),
            recent: Arc::default(),
            entry: Vec::new(),
            pages,
        })
    }

    pub(super) fn conn(&self) -> &Connection {
        &self.conn
    }

    pub(super) fn shards(&self) -> u8 {
        self.shards
    }

    /// Shared with the readers.
    pub(super) fn recent(&self) -> &Arc<Recent> {
        &self.recent
    }

    pub(super) fn append(&mut self, changes: &[Change]) -> Result<(), Fault> {
        if self.broken {
            return Err(Fault::Broken);
        }
        self.appended.extend_from_slice(changes);
        Ok(())
    }

    /// Pages in the log afterwards.
    pub(super) fn commit(&mut self) -> Result<u32, Fault> {
        self.guarded(|w| {
            if !w.appended.is_empty() {
                let recent = Arc::clone(&w.recent);
                let _turn = recent.turn();
                w.run("BEGIN IMMEDIATE", ())?;
                let mut batch = Batch::begin(&recent, &w.conn, w.shards)?;
                w.carry_out(&mut batch)?;
                batch.end(&recent, &w.conn)?;
                w.run("COMMIT", ())?;
                batch.committed(&recent);
            }
            Ok(w.pages.load(Ordering::Relaxed))
        })
    }

    /// Marks the store as closed in order.
    pub(super) fn close(self) -> Result<(), Fault> {
        if self.broken {
            return Ok(());
        }
        let turn = self.recent.turn();
        self.run("BEGIN IMMEDIATE", ())?;
        recent::file(&self.conn, self.shards)?;
        schema::put_meta(&self.conn, key::CLEAN, 1)?;
        self.run("COMMIT", ())?;
        self.recent.done();
        drop(turn);
        // A reader on another thread may still be at work; then the log is carried over at the next start.
        let _ = wal::flush(&self.conn);
        self.conn.flush_prepared_statement_cache();
        self.conn.close().map_err(|(_, e)| e.into())
    }

    /// After a failure nothing is written any more: what SQLite holds then is not known.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Writer) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.broken {
            return Err(Fault::Broken);
        }
        let result = work(self);
        if result.is_err() {
            self.broken = true;
            self.rooms.clear();
            // Frees the file for others; the connection is dropped anyway.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        result
    }

    fn run(&self, sql: &str, params: impl Params) -> Result<usize, Fault> {
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    fn carry_out(&mut self, batch: &mut Batch) -> Result<(), Fault> {
        if self.rooms.len() >= KNOWN {
            // What is read again must stand in the log.
            batch.file(&self.conn, self.shards)?;
            self.rooms.clear();
        }
        if self.accounts.len() >= KNOWN {
            self.accounts.clear();
        }
        // Of a shard's places only the last counts.
        let mut heads: BTreeMap<ShardId, Pos> = BTreeMap::new();
        for change in std::mem::take(&mut self.appended) {
            if let Change::Head(shard, next) = change {
                heads.insert(shard, next);
                continue;
            }
            if matches!(change, Change::Account(_, None) | Change::Room(_, None) | Change::Rewrite(_)) {
                // It concerns entries and feeds where they belong.
                batch.file(&self.conn, self.shards)?;
            }
            self.change(&change, batch)?;
        }
        heads.into_iter().try_for_each(|(shard, next)| set_head(&self.conn, i64::from(shard.0), int(next.0)))
    }

    fn change(&mut self, change: &Change, batch: &mut Batch) -> Result<(), Fault> {
        match change {
            Change::Name(key, row) => self.name(key, row.as_ref()),
            Change::Account(id, head) => self.account(*id, head.as_ref()),
            Change::AccountAttr(id, key, value) => self.attr(Attr::Account, id.0, key, value),
            Change::Contact(id, address, c) => match c {
                Some(c) => {
                    let sql = "INSERT INTO contact VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET row = excluded.row";
                    self.run(sql, (int(id.0), &**address, row::encode(c))).map(drop)
                }
                None => {
                    let sql = "DELETE FROM contact WHERE account = ?1 AND address = ?2";
                    self.run(sql, (int(id.0), &**address)).map(drop)
                }
            },
            Change::Feed { account, pos, room, entry, at } => {
                let fed = Fed {
                    account: self.account_number(*account)?,
                    pos: int(pos.0),
                    room: self.room_number(*room)?,
                    entry: int(entry.0),
                    at: at.0,
                };
                batch.fed(&self.conn, *account, &fed)
            }
            Change::Read(account, room, mark) => {
                let sql = "INSERT INTO seen VALUES (?1, ?2, ?3, ?4) \
                           ON CONFLICT DO UPDATE SET pos = excluded.pos, at = excluded.at";
                self.run(sql, (int(account.0), int(room.0), int(mark.pos.0), int(mark.at.0))).map(drop)
            }
            Change::Media(id, media) => self.media(*id, media.as_ref()),
            Change::Room(id, Some(head)) => self.room(*id, head),
            Change::Room(id, None) => self.erase_room(*id),
            Change::Topic(id, topic) => {
                let n = self.room_number(*id)?;
                let topic = topic.as_ref().map(row::encode);
                self.run("UPDATE room SET topic = ?2 WHERE n = ?1", (n, topic)).map(drop)
            }
            Change::Masks(id, masks) => {
                let n = self.room_number(*id)?;
                self.run("UPDATE room SET masks = ?2 WHERE n = ?1", (n, row::encode(masks))).map(drop)
            }
            Change::Member(room, account, m) => self.member(*room, *account, m.as_ref()),
            Change::RoomAttr(id, key, value) => self.attr(Attr::Room, id.0, key, value),
            Change::Shelf(id, key, value) => self.attr(Attr::Shelf, id.0, key, value),
            Change::Fact(id, row) => {
                let sql = "INSERT INTO fact VALUES (?1, ?2, ?3, ?4)
                           ON CONFLICT DO UPDATE SET row = excluded.row";
                let fact = &row.fact;
                self.run(sql, (int(id.0), &*fact.kind, &*fact.key, row::encode(row)))?;
                Ok(())
            }
            Change::Letter(id, label, pos, letter) => {
                let sql = "INSERT OR REPLACE INTO letter VALUES (?1, ?2, ?3, ?4)";
                self.run(sql, (int(id.0), &**label, int(pos.0), &**letter))?;
                Ok(())
            }
            Change::Collected(id, label, upto) => {
                let sql = "DELETE FROM letter WHERE account = ?1 AND label = ?2 AND pos <= ?3";
                self.run(sql, (int(id.0), &**label, int(upto.0.min(i64::MAX as u64))))?;
                Ok(())
            }
            Change::Event(e) => self.event(e, batch),
            Change::Rewrite(e) => {
                let id = event_id(self.room_number(e.room)?, e.pos.0);
                self.run("UPDATE event SET data = ?2 WHERE id = ?1", (id, row::encode(&**e))).map(drop)
            }
            Change::Head(..) => Ok(()),
            Change::Follow(shard, pos, n, command) => {
                let sql = "INSERT INTO follow VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET command = excluded.command";
                self.run(sql, (shard.0, int(pos.0), n, row::encode(&**command))).map(drop)
            }
            Change::Followed(shard, pos) => {
                let sql = "INSERT INTO shard (id, followed) VALUES (?1, ?2)
                           ON CONFLICT DO UPDATE SET followed = max(followed, excluded.followed)";
                self.run(sql, (shard.0, int(pos.0)))?;
                self.run("DELETE FROM follow WHERE shard = ?1 AND pos <= ?2", (shard.0, int(pos.0)))?;
                self.run("DELETE FROM unfollowed WHERE shard = ?1 AND pos <= ?2", (shard.0, int(pos.0)))?;
                Ok(())
            }
        }
    }

    fn name(&self, key: &NameKey, row: Option<&NameRow>) -> Result<(), Fault> {
        match row {
            Some(row) => {
                let sql = "INSERT INTO name VALUES (?1, ?2) ON CONFLICT DO UPDATE SET row = excluded.row";
                self.run(sql, (key.text(), row::encode(row)))?;
            }
            None => _ = self.run("DELETE FROM name WHERE key = ?1", (key.text(),))?,
        }
        Ok(())
    }

    fn account(&mut self, id: AccountId, head: Option<&AccountHead>) -> Result<(), Fault> {
        let Some(head) = head else { return self.erase_account(id) };
        let sql = "INSERT INTO account (id, name, deleted, head) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id)
                   DO UPDATE SET name = excluded.name, deleted = excluded.deleted, head = excluded.head";
        self.run(sql, (int(id.0), head.name.folded(), head.deleted, row::encode(head)))?;
        if head.deleted {
            self.run("DELETE FROM shelf WHERE account = ?1", (int(id.0),))?;
            self.run("DELETE FROM letter WHERE account = ?1", (int(id.0),))?;
        }
        Ok(())
    }

    fn erase_account(&mut self, id: AccountId) -> Result<(), Fault> {
        self.accounts.remove(&id);
        let id = int(id.0);
        if let Some(n) = self.find("SELECT n FROM account WHERE id = ?1", id)? {
            self.run("DELETE FROM feed WHERE id BETWEEN ?1 AND ?2", span(n))?;
            self.run("DELETE FROM dialog WHERE account = ?1", (n,))?;
            self.run("DELETE FROM account WHERE n = ?1", (n,))?;
        }
        self.run("DELETE FROM account_attr WHERE account = ?1", (id,))?;
        self.run("DELETE FROM contact WHERE account = ?1", (id,))?;
        self.run("DELETE FROM seen WHERE account = ?1", (id,))?;
        self.run("DELETE FROM shelf WHERE account = ?1", (id,))?;
        self.run("DELETE FROM letter WHERE account = ?1", (id,))?;
        self.run("DELETE FROM media WHERE account = ?1", (id,))?;
        Ok(())
    }

    fn media(&self, id: MediaId, media: Option<&Media>) -> Result<(), Fault> {
        let key = id.0.to_be_bytes();
        let Some(media) = media else {
            return self.run("DELETE FROM media WHERE id = ?1", (key,)).map(drop);
        };
        let (hash, size) = media.content.as_ref().map(|c| (c.hash.0, int(c.size))).unzip();
        let sql = "INSERT INTO media VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET
                     account = excluded.account, hash = excluded.hash, size = excluded.size, at = excluded.at,
                     row = excluded.row";
        self.run(sql, (key, int(media.owner.0), hash, size, int(media.at.0), row::encode(media))).map(drop)
    }

    fn room(&mut self, id: RoomId, head: &RoomHead) -> Result<(), Fault> {
        let known = self.known(id)?;
        let dialog = head.parties.is_some();
        let name = head.name.as_ref().filter(|_| rules::is_listed(head)).map(|n| n.as_str());
        let sql = "UPDATE room SET name = ?2, secret = ?3, dialog = ?4, head = ?5 WHERE n = ?1";
        self.run(sql, (known.n, name, head.policy.secret, dialog, row::encode(head)))?;
        if dialog != known.dialog {
            self.rooms.insert(id, Known { dialog, ..known });
            let shard = id.shard(self.shards).0;
            let (first, last) = span(known.n);
            // Entries that came before the room was known to be a dialog (or not to be one). Those that are not filed
            // are looked at then.
            if dialog {
                let sql = "INSERT OR IGNORE INTO unfollowed SELECT ?1, id & ?4, id FROM event
                           WHERE id BETWEEN ?2 AND ?3
                             AND id & ?4 > coalesce((SELECT followed FROM shard WHERE id = ?1), 0)";
                self.run(sql, (shard, first, last, (1i64 << SHIFT) - 1))?;
            } else {
                self.run("DELETE FROM unfollowed WHERE event BETWEEN ?1 AND ?2", (first, last))?;
            }
        }
        Ok(())
    }

    fn erase_room(&mut self, id: RoomId) -> Result<(), Fault> {
        self.rooms.remove(&id);
        let key = int(id.0);
        if let Some(n) = self.find("SELECT n FROM room WHERE id = ?1", key)? {
            let (first, last) = span(n);
            self.erase_feeds(n)?;
            self.erase_seals(n)?;
            self.run("DELETE FROM event WHERE id BETWEEN ?1 AND ?2", (first, last))?;
            self.run("DELETE FROM unfollowed WHERE event BETWEEN ?1 AND ?2", (first, last))?;
            self.run("DELETE FROM related WHERE room = ?1", (n,))?;
            // The number stays with the id: other accounts' feeds may name it.
            let sql =
                "UPDATE room SET name = NULL, secret = 0, dialog = 0, head = NULL, topic = NULL, masks = NULL
                       WHERE n = ?1";
            self.run(sql, (n,))?;
        }
        self.run("DELETE FROM member WHERE room = ?1", (key,))?;
        self.run("DELETE FROM room_attr WHERE room = ?1", (key,))?;
        self.run("DELETE FROM fact WHERE room = ?1", (key,))?;
        Ok(())
    }

    /// The names of a room's entries go with them.
    fn erase_seals(&self, n: i64) -> Result<(), Fault> {
        let mut entries =
            self.conn.prepare_cached("SELECT id, data FROM event WHERE id BETWEEN ?1 AND ?2")?;
        let mut rows = entries.query(span(n))?;
        while let Some(row) = rows.next()? {
            let data = row.get_ref(1)?.as_blob().map_err(|_| unreadable("an entry"))?;
            let entry: Event = row::decode(data).ok_or_else(|| unreadable("an entry"))?;
            for seal in entry.sealed.iter().flat_map(|s| s.names.iter().flatten()) {
                let of = (seal.short().cast_signed(), row.get::<_, i64>(0)?);
                self.run("DELETE FROM sealed WHERE name = ?1 AND event = ?2", of)?;
            }
        }
        Ok(())
    }

    /// A dialog that is erased goes from its parties' feeds.
    fn erase_feeds(&self, n: i64) -> Result<(), Fault> {
        let mut statement = self.conn.prepare_cached("SELECT head FROM room WHERE n = ?1 AND dialog = 1")?;
        let head: Option<Option<Vec<u8>>> = statement.query_row([n], |r| r.get(0)).optional()?;
        let Some(bytes) = head.flatten() else { return Ok(()) };
        let head: RoomHead = row::decode(&bytes).ok_or_else(|| unreadable("a room's head"))?;
        let Some((a, b)) = head.parties else { return Ok(()) };
        for party in [a.id, b.id] {
            let Some(account) = self.find("SELECT n FROM account WHERE id = ?1", int(party.0))? else {
                continue;
            };
            let sql = "DELETE FROM feed WHERE id IN
                         (SELECT ?1 << 40 | pos FROM dialog WHERE account = ?1 AND room = ?2)";
            self.run(sql, (account, n))?;
            self.run("DELETE FROM dialog WHERE account = ?1 AND room = ?2", (account, n))?;
        }
        Ok(())
    }

    fn member(&self, room: RoomId, account: AccountId, member: Option<&Member>) -> Result<(), Fault> {
        let (room, account) = (int(room.0), int(account.0));
        let Some(member) = member else {
            self.run("DELETE FROM member WHERE room = ?1 AND account = ?2", (room, account))?;
            return Ok(());
        };
        let joined = match member.standing.membership {
            Membership::Joined => 1,
            Membership::Invited | Membership::Knocking => 0,
            Membership::Left | Membership::Banned => -1,
        };
        let sql = "INSERT INTO member VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT DO UPDATE SET joined = excluded.joined, row = excluded.row";
        self.run(sql, (room, account, joined, row::encode(member)))?;
        Ok(())
    }

    fn attr(&self, of: Attr, id: u64, key: &str, value: &Octets) -> Result<(), Fault> {
        if value.is_empty() {
            self.run(of.delete(), (int(id), key))?;
        } else {
            self.run(of.insert(), (int(id), key, &**value))?;
        }
        Ok(())
    }

    fn event(&mut self, e: &Event, batch: &mut Batch) -> Result<(), Fault> {
        let mut known = self.known(e.room)?;
        if e.pos.0 <= known.last || e.pos > Pos::MAX {
            return Err(Fault::Misuse("an entry does not come after its room's last"));
        }
        let class = Class::of(e);
        known.last = e.pos.0;
        known.nth += 1;
        known.said += i64::from(class != Class::Other);
        known.messages += i64::from(class == Class::Message);
        self.rooms.insert(e.room, known);
        let Known { n, nth, said, messages, .. } = known;
        let id = event_id(n, e.pos.0);
        self.entry.clear();
        row::encode_into(e, &mut self.entry);
        let entry = Entry { id, kind: class as u8, nth, said, messages, data: &self.entry };
        batch.entry(&self.conn, e.room, e.sealed.is_some(), &entry)?;
        for target in e.about() {
            let row = (n, int(target.0), int(e.pos.0));
            self.run("INSERT INTO related VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING", row)?;
        }
        for seal in e.sealed.iter().flat_map(|s| s.names.iter().flatten()) {
            let row = (seal.short().cast_signed(), id);
            self.run("INSERT INTO sealed VALUES (?1, ?2) ON CONFLICT DO NOTHING", row)?;
        }
        Ok(())
    }

    /// The room's number, and where its log stands; made if it is not there.
    fn known(&mut self, id: RoomId) -> Result<Known, Fault> {
        if let Some(known) = self.rooms.get(&id) {
            return Ok(*known);
        }
        let n = self.room_number(id)?;
        let dialog = self.find("SELECT dialog FROM room WHERE n = ?1", n)? == Some(1);
        let sql =
            "SELECT id, nth, said, messages FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1";
        let mut statement = self.conn.prepare_cached(sql)?;
        let last = statement
            .query_row(span(n), |r| {
                let id: i64 = r.get(0)?;
                let last = uint(id) & Pos::MAX.0;
                Ok(Known { n, dialog, last, nth: r.get(1)?, said: r.get(2)?, messages: r.get(3)? })
            })
            .optional()?;
        drop(statement);
        let known = last.unwrap_or(Known { n, dialog, last: 0, nth: 0, said: 0, messages: 0 });
        self.rooms.insert(id, known);
        Ok(known)
    }

    fn room_number(&self, id: RoomId) -> Result<i64, Fault> {
        if let Some(known) = self.rooms.get(&id) {
            return Ok(known.n);
        }
        if let Some(n) = self.find("SELECT n FROM room WHERE id = ?1", int(id.0))? {
            return Ok(n);
        }
        self.run("INSERT INTO room (id) VALUES (?1)", (int(id.0),))?;
        let n = self.conn.last_insert_rowid();
        if n > ROOMS_MAX { Err(Fault::Full("it has as many rooms as it can number")) } else { Ok(n) }
    }

    /// The account's number; made if it is not there.
    fn account_number(&mut self, id: AccountId) -> Result<i64, Fault> {
        if let Some(n) = self.accounts.get(&id) {
            return Ok(*n);
        }
        let n = match self.find("SELECT n FROM account WHERE id = ?1", int(id.0))? {
            Some(n) => n,
            None => {
                self.run("INSERT INTO account (id) VALUES (?1)", (int(id.0),))?;
                self.conn.last_insert_rowid()
            }
        };
        self.accounts.insert(id, n);
        Ok(n)
    }

    fn find(&self, sql: &str, key: i64) -> Result<Option<i64>, Fault> {
        Ok(self.conn.prepare_cached(sql)?.query_row([key], |r| r.get(0)).optional()?)
    }
}

/// Whose named values.
#[derive(Clone, Copy)]
enum Attr {
    Account,
    Room,
    Shelf,
}

impl Attr {
    fn insert(self) -> &'static str {
        match self {
            Attr::Account => {
                "INSERT INTO account_attr VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value"
            }
            Attr::Room => {
                "INSERT INTO room_attr VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value"
            }
            Attr::Shelf => {
                "INSERT INTO shelf VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value"
            }
        }
    }

    fn delete(self) -> &'static str {
        match self {
            Attr::Account => "DELETE FROM account_attr WHERE account = ?1 AND key = ?2",
            Attr::Room => "DELETE FROM room_attr WHERE room = ?1 AND key = ?2",
            Attr::Shelf => "DELETE FROM shelf WHERE account = ?1 AND key = ?2",
        }
    }
}

/// Sets a shard's next free position.
pub(super) fn set_head(conn: &Connection, shard: i64, next: i64) -> Result<(), Fault> {
    let sql = "INSERT INTO shard (id, next) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET next = excluded.next";
    conn.prepare_cached(sql)?.execute((shard, next))?;
    Ok(())
}

/// The row id of a position under a small number.
pub(super) fn event_id(n: i64, pos: u64) -> i64 {
    n << SHIFT | int(pos & Pos::MAX.0)
}

/// The row ids of everything under a small number.
pub(super) fn span(n: i64) -> (i64, i64) {
    (event_id(n, 0), event_id(n, Pos::MAX.0))
}

/// A row that this program cannot have written.
pub(super) fn unreadable(what: &str) -> Fault {
    Fault::Corrupt(format!("{what} cannot be read"))
}
