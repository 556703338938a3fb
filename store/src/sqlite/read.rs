//! Reads, each in one transaction: one moment.

use super::{
    backup, int, paging,
    paging::blob,
    recent::{self, Recent},
    schema::{self, Role},
    uint,
    write::{span, unreadable},
};
use crate::{Fault, Reader, rules::FED};
use lavina_core::{
    command::Command,
    event::Event,
    ids::{AccountId, Pos, RoomId, ShardId},
    media::{Held, Media, MediaId},
    name::{RoomName, User},
    policy::Member,
    presence::Contact,
    query::{Belonging, Listed, TopicSet},
    row::{self, AccountHead, AccountRows, FactRow, Page, Read, ReadMark, RoomHead, RoomRows, ShardHead},
    seal::{Piece, Seal},
    text::{Octets, Str},
    time::UnixMillis,
};
use minicbor::Decode;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use std::{cmp::Reverse, path::Path, sync::Arc};

/// A reading connection.
pub(super) struct Rows {
    conn: Connection,
    shards: u8,
    recent: Arc<Recent>,
}

impl Reader for Rows {
    fn read(&mut self, read: &Read) -> Result<Page, Fault> {
        if let Read::Backup(path) = read {
            backup::copy(&self.conn, Path::new(&**path))?;
            return Ok(Page::Done);
        }
        self.run("BEGIN")?;
        let page = match recent::last(&self.conn) {
            Ok(Some(last)) if self.recent.concerns(last, read) => None,
            Ok(_) => Some(self.answer(read)),
            Err(fault) => Some(Err(fault)),
        };
        self.run("COMMIT")?;
        page.unwrap_or_else(|| self.file_and_answer(read))
    }

    fn rest(&mut self) {
        schema::rest(&self.conn);
    }
}

impl Rows {
    pub(super) fn open(path: &Path, shards: u8, recent: &Arc<Recent>) -> Result<Rows, Fault> {
        Ok(Rows { conn: schema::connect(path, Role::Reader)?, shards, recent: Arc::clone(recent) })
    }

    /// What is recent is filed first, in the same moment. The answer is good also where that cannot be kept, on a full
    /// disk.
    fn file_and_answer(&self, read: &Read) -> Result<Page, Fault> {
        let _turn = self.recent.turn();
        self.run("BEGIN IMMEDIATE")?;
        let page = recent::file(&self.conn, self.shards).and_then(|()| self.answer(read));
        if page.is_ok() && self.run("COMMIT").is_ok() {
            self.recent.done();
        } else {
            // It may have been rolled back already, by the failure.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        page
    }

    fn run(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.conn.prepare_cached(sql)?.execute(()).map(drop)?)
    }

    pub(super) fn conn(&self) -> &Connection {
        &self.conn
    }

    #[cfg(test)]
    pub(super) fn conn_mut(&mut self) -> &mut Connection {
        &mut self.conn
    }

    fn answer(&self, read: &Read) -> Result<Page, Fault> {
        Ok(match read {
            Read::Heads(shards) => {
                Page::Heads(shards.iter().map(|s| self.head(*s)).collect::<Result<_, _>>()?)
            }
            Read::Name(key) => Page::Name(self.one("SELECT row FROM name WHERE key = ?1", [key.text()])?),
            Read::Account(id) => Page::Account(self.account(*id)?.map(Box::new)),
            Read::Room(id, tail) => Page::Room(self.room(*id, *tail)?.map(Box::new)),
            Read::History { room, floor, last, range } => {
                paging::history(self, *room, (*floor, *last), range)?
            }
            Read::Related { room, floor, last, targets, newest, limit } => {
                Page::Events(paging::related(self, *room, (*floor, *last), targets, *newest, *limit)?)
            }
            Read::Sealed(seal) => Page::Sealed(self.sealed(seal)?),
            Read::Feed { account, with, range } => paging::feed(self, *account, *with, range)?,
            Read::Memberships(account) => Page::Memberships(self.memberships(*account, false)?),
            Read::Formerly(account) => Page::Memberships(self.memberships(*account, true)?),
            Read::Shelf { account, prefix, after, limit } => {
                Page::Shelf(self.shelf(*account, prefix, after.as_ref(), *limit)?)
            }
            Read::Letters { account, label, after, limit } => {
                let sql = "SELECT pos, data FROM letter WHERE account = ?1 AND label = ?2 AND pos > ?3
                           ORDER BY pos LIMIT ?4";
                let of = (int(account.0), &**label, int(after.0.min(Pos::MAX.0)), *limit);
                Page::Letters(self.all(sql, of, |r| Ok((Pos(uint(r.get(0)?)), Octets::from(blob(r, 1)?))))?)
            }
            Read::Dialogs { account, after, before, limit } => {
                Page::Dialogs(self.dialogs(*account, *after, *before, *limit)?)
            }
            Read::Directory { after, limit, secret } => {
                Page::Directory(self.directory(after.as_ref(), *limit, *secret)?)
            }
            Read::Nameless { after, limit } => Page::Directory(self.nameless(*after, *limit)?),
            Read::Accounts { after, limit } => Page::Accounts(self.accounts(after.as_ref(), *limit)?),
            Read::Media(id) => {
                let sql = "SELECT row FROM media WHERE id = ?1";
                Page::Media(self.one(sql, [id.0.to_be_bytes()])?.map(Box::new))
            }
            Read::MediaOf { account, after, limit } => {
                // The empty key comes before all.
                let after = after.map_or(Vec::new(), |id| id.0.to_be_bytes().to_vec());
                let sql = "SELECT row FROM media WHERE account = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
                let row = |r: &Row<'_>| decode::<Media>(blob(r, 0)?, "an upload");
                Page::MediaOf(self.all(sql, (int(account.0), after, limit), row)?)
            }
            Read::Counts => Page::Counts {
                accounts: self
                    .count("SELECT count(*) FROM account WHERE name IS NOT NULL AND deleted = 0")?,
                rooms: self.count("SELECT count(*) FROM room WHERE name IS NOT NULL")?,
            },
            Read::Backup(_) => return Err(Fault::Misuse("a copy is made outside of a transaction")),
        })
    }

    fn head(&self, shard: ShardId) -> Result<ShardHead, Fault> {
        let (next, followed) = self.shard(shard)?;
        let sql = "SELECT pos, nth, command FROM follow WHERE shard = ?1 ORDER BY pos, nth";
        let follows = self.all(sql, [shard.0], |r| {
            let command: Command = decode(blob(r, 2)?, "a command that follows")?;
            Ok((Pos(uint(r.get(0)?)), r.get(1)?, command))
        })?;
        let sql = "SELECT e.data FROM unfollowed u JOIN event e ON e.id = u.event
                   WHERE u.shard = ?1 AND u.pos > ?2 ORDER BY u.pos";
        let events = self.all(sql, (shard.0, int(followed.0)), |r| paging::event(blob(r, 0)?))?;
        Ok(ShardHead { shard, next, followed, follows, events })
    }

    fn shard(&self, shard: ShardId) -> Result<(Pos, Pos), Fault> {
        let mut statement = self.conn.prepare_cached("SELECT next, followed FROM shard WHERE id = ?1")?;
        let found = statement.query_row([shard.0], |r| Ok((Pos(uint(r.get(0)?)), Pos(uint(r.get(1)?)))));
        Ok(found.optional()?.unwrap_or((Pos(1), Pos::ZERO)))
    }

    fn account(&self, id: AccountId) -> Result<Option<AccountRows>, Fault> {
        let sql = "SELECT head FROM account WHERE id = ?1 AND head IS NOT NULL";
        let Some(head) = self.one::<AccountHead>(sql, [int(id.0)])? else { return Ok(None) };
        let attrs =
            self.attrs("SELECT key, value FROM account_attr WHERE account = ?1 ORDER BY key", id.0)?;
        let sql = "SELECT row FROM contact WHERE account = ?1 ORDER BY address";
        let contacts = self.all(sql, [int(id.0)], |r| decode::<Contact>(blob(r, 0)?, "a contact"))?;
        let sql = "SELECT room, pos, at FROM seen WHERE account = ?1";
        let mark = |r: &Row<'_>| {
            let mark = ReadMark { pos: Pos(uint(r.get(1)?)), at: UnixMillis(uint(r.get(2)?)) };
            Ok((RoomId(uint(r.get(0)?)), mark))
        };
        let read = self.all(sql, [int(id.0)], mark)?;
        let sql = "SELECT r.id, f.entry FROM feed f JOIN room r ON r.n = f.room
                   WHERE f.id BETWEEN ?1 AND ?2 ORDER BY f.id DESC LIMIT ?3";
        let (first, last) = span(self.account_number(id)?.unwrap_or(0));
        let newest = |r: &Row<'_>| Ok((RoomId(uint(r.get(0)?)), Pos(uint(r.get(1)?))));
        let mut fed = self.all(sql, (first, last, FED), newest)?;
        fed.reverse();
        let sql = "SELECT label, pos FROM letter WHERE account = ?1 ORDER BY label, pos";
        let letters = self.all(sql, [int(id.0)], |r| Ok((text(r, 0)?, Pos(uint(r.get(1)?)))))?;
        let sql = "SELECT id, size, at FROM media WHERE account = ?1 ORDER BY id";
        let media = self.all(sql, [int(id.0)], |r| {
            let name = blob(r, 0)?.try_into().map_err(|_| unreadable("an upload's name"))?;
            let size: Option<i64> = r.get(1)?;
            let held = Held { size: size.map(uint), at: UnixMillis(uint(r.get(2)?)) };
            Ok((MediaId(u128::from_be_bytes(name)), held))
        })?;
        let mut rows = AccountRows { head, attrs, contacts, read, fed, letters, media };
        rows.read.sort_unstable();
        Ok(Some(rows))
    }

    fn room(&self, id: RoomId, tail: u32) -> Result<Option<RoomRows>, Fault> {
        let sql = "SELECT n, head, topic, masks FROM room WHERE id = ?1 AND head IS NOT NULL";
        let found = self.all(sql, [int(id.0)], |r| {
            let topic: Option<TopicSet> = optional(r, 2, "a topic")?;
            Ok((r.get(0)?, head(blob(r, 1)?)?, topic, optional(r, 3, "a mask list")?.unwrap_or_default()))
        })?;
        let Some((n, head, topic, masks)) = found.into_iter().next() else { return Ok(None) };
        let sql = "SELECT row FROM member WHERE room = ?1";
        let mut members = self.all(sql, [int(id.0)], |r| decode::<Member>(blob(r, 0)?, "a member"))?;
        members.sort_by_key(|m| m.user.id);
        let attrs = self.attrs("SELECT key, value FROM room_attr WHERE room = ?1 ORDER BY key", id.0)?;
        let (first, last) = span(n);
        let sql = "SELECT data FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT ?3";
        let mut tail = self.all(sql, (first, last, tail), |r| paging::event(blob(r, 0)?))?;
        tail.reverse();
        let sql = "SELECT row FROM fact WHERE room = ?1 ORDER BY kind, key";
        let facts = self.all(sql, [int(id.0)], |r| decode::<FactRow>(blob(r, 0)?, "a fact"))?;
        Ok(Some(RoomRows { head, topic, masks, members, attrs, facts, tail }))
    }

    /// Rooms of an account; `former`: those it is out of.
    fn memberships(&self, account: AccountId, former: bool) -> Result<Vec<Belonging>, Fault> {
        let sql = if former {
            "SELECT m.room, m.row, r.head FROM member m JOIN room r ON r.id = m.room
             WHERE m.account = ?1 AND m.joined < 0 AND r.head IS NOT NULL"
        } else {
            "SELECT m.room, m.row, r.head FROM member m JOIN room r ON r.id = m.room
             WHERE m.account = ?1 AND m.joined >= 0 AND r.head IS NOT NULL"
        };
        let rows = self.all(sql, [int(account.0)], |r| {
            let member: Member = decode(blob(r, 1)?, "a member")?;
            Ok((RoomId(uint(r.get(0)?)), member, head(blob(r, 2)?)?))
        })?;
        let mut list = Vec::with_capacity(rows.len());
        for (room, member, head) in rows {
            let upto = self.shard(room.shard(self.shards))?.0.back();
            list.push(Belonging { room, head, member, upto });
        }
        list.sort_by_key(|b| b.room);
        Ok(list)
    }

    /// The piece of an entry with that name: several can begin alike.
    fn sealed(&self, seal: &Seal) -> Result<Option<Piece>, Fault> {
        let sql = "SELECT e.data FROM sealed s JOIN event e ON e.id = s.event WHERE s.name = ?1";
        let found = self.all(sql, [seal.short().cast_signed()], |r| paging::event(blob(r, 0)?))?;
        let piece = |e: &Arc<Event>| {
            let nth = e.sealed.as_ref()?.find(seal)?;
            Some(Piece { room: e.room, pos: e.pos, nth })
        };
        Ok(found.iter().find_map(piece))
    }

    /// One look-up a dialog leads from each to the next, and one to its last entry.
    fn dialogs(
        &self,
        account: AccountId,
        after: UnixMillis,
        before: UnixMillis,
        limit: u32,
    ) -> Result<Vec<(User, Arc<Event>)>, Fault> {
        let Some(n) = self.account_number(account)? else { return Ok(Vec::new()) };
        let mut next = self.conn.prepare_cached(
            "SELECT room FROM dialog WHERE account = ?1 AND room > ?2 ORDER BY room LIMIT 1",
        )?;
        let sql =
            "SELECT r.head, e.data FROM (SELECT room, entry FROM dialog WHERE account = ?1 AND room = ?2
                     ORDER BY entry DESC LIMIT 1) d
                   JOIN room r ON r.n = d.room JOIN event e ON e.id = d.room << 40 | d.entry";
        let mut found = Vec::new();
        let mut last = 0i64;
        while let Some(room) = next.query_row((n, last), |r| r.get(0)).optional()? {
            last = room;
            for (head, event) in self.all(sql, (n, room), |r| {
                Ok((optional::<RoomHead>(r, 0, "a room's head")?, paging::event(blob(r, 1)?)?))
            })? {
                let Some((a, b)) = head.and_then(|h| h.parties) else { continue };
                if event.at > after && event.at < before {
                    found.push((if a.id == account { b } else { a }, event));
                }
            }
        }
        found.sort_by_key(|(_, e): &(User, Arc<Event>)| (Reverse(e.at), e.room));
        found.truncate(limit as usize);
        Ok(found)
    }

    fn directory(&self, after: Option<&RoomName>, limit: u32, secret: bool) -> Result<Vec<Listed>, Fault> {
        let sql = "SELECT id, head, topic, (SELECT count(*) FROM member WHERE room = r.id AND joined = 1)
                   FROM room r WHERE name IS NOT NULL AND name > ?1 AND secret <= ?2 ORDER BY name, id LIMIT ?3";
        let after = after.map_or("", |n| n.as_str());
        let list = self.all(sql, (after, secret, limit), |r| {
            let topic = optional::<TopicSet>(r, 2, "a topic")?;
            Ok(Listed { room: RoomId(uint(r.get(0)?)), head: head(blob(r, 1)?)?, topic, members: r.get(3)? })
        })?;
        Ok(list)
    }

    fn nameless(&self, after: Option<RoomId>, limit: u32) -> Result<Vec<Listed>, Fault> {
        let sql = "SELECT id, head, topic, (SELECT count(*) FROM member WHERE room = r.id AND joined = 1)
                   FROM room r WHERE name IS NULL AND dialog = 0 AND secret = 0 AND head IS NOT NULL AND id > ?1
                   ORDER BY id LIMIT ?2";
        // Ended rooms have no name either; there are few of them between those that are wanted.
        let (mut out, mut after) = (Vec::new(), after.map_or(-1, |id| int(id.0)));
        loop {
            let wanted = limit as usize - out.len();
            let list = self.all(sql, (after, wanted as i64), |r| {
                let topic = optional::<TopicSet>(r, 2, "a topic")?;
                let room = RoomId(uint(r.get(0)?));
                Ok(Listed { room, head: head(blob(r, 1)?)?, topic, members: r.get(3)? })
            })?;
            let Some(last) = list.last().map(|l| l.room).filter(|_| wanted > 0) else { return Ok(out) };
            let whole = list.len() == wanted;
            out.extend(list.into_iter().filter(|l| !l.head.destroyed));
            if !whole || out.len() == limit as usize {
                return Ok(out);
            }
            after = int(last.0);
        }
    }

    fn accounts(&self, after: Option<&Str>, limit: u32) -> Result<Vec<(AccountId, AccountHead)>, Fault> {
        let sql =
            "SELECT id, head FROM account WHERE name IS NOT NULL AND name > ?1 ORDER BY name, id LIMIT ?2";
        let after = after.map_or("", |n| n.as_str());
        self.all(sql, (after, limit), |r| {
            Ok((AccountId(uint(r.get(0)?)), decode(blob(r, 1)?, "an account's head")?))
        })
    }

    fn attrs(&self, sql: &str, id: u64) -> Result<Vec<(Str, Octets)>, Fault> {
        self.all(sql, [int(id)], |r| Ok((text(r, 0)?, Octets::from(blob(r, 1)?))))
    }

    fn shelf(
        &self,
        account: AccountId,
        prefix: &str,
        after: Option<&Str>,
        limit: u32,
    ) -> Result<Vec<(Str, Octets)>, Fault> {
        // Names are compared as bytes, so those with the prefix lie between it and this.
        let end = format!("{prefix}\u{10ffff}");
        let sql = "SELECT key, value FROM shelf WHERE account = ?1 AND key >= ?2 AND key < ?3 AND key > ?4
                   ORDER BY key LIMIT ?5";
        let after = after.map_or("", Str::as_str);
        self.all(sql, (int(account.0), prefix, end, after, limit), |r| {
            Ok((text(r, 0)?, Octets::from(blob(r, 1)?)))
        })
    }

    /// The small number of a room.
    pub(super) fn room_number(&self, id: RoomId) -> Result<Option<i64>, Fault> {
        self.number("SELECT n FROM room WHERE id = ?1", id.0)
    }

    /// The small number of an account.
    pub(super) fn account_number(&self, id: AccountId) -> Result<Option<i64>, Fault> {
        self.number("SELECT n FROM account WHERE id = ?1", id.0)
    }

    fn number(&self, sql: &str, id: u64) -> Result<Option<i64>, Fault> {
        Ok(self.conn.prepare_cached(sql)?.query_row([int(id)], |r| r.get(0)).optional()?)
    }

    fn count(&self, sql: &str) -> Result<u64, Fault> {
        Ok(uint(self.conn.prepare_cached(sql)?.query_row((), |r| r.get(0))?))
    }

    /// The one row's first column, decoded.
    fn one<T: for<'b> Decode<'b, ()>>(&self, sql: &str, params: impl Params) -> Result<Option<T>, Fault> {
        Ok(self.all(sql, params, |r| decode(blob(r, 0)?, "a row"))?.into_iter().next())
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut each: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            out.push(each(row)?);
        }
        Ok(out)
    }
}

fn text(row: &Row<'_>, column: usize) -> Result<Str, Fault> {
    row.get_ref(column)?.as_str().map(Str::new).map_err(|_| unreadable("a name"))
}

fn decode<T: for<'b> Decode<'b, ()>>(bytes: &[u8], what: &str) -> Result<T, Fault> {
    row::decode(bytes).ok_or_else(|| unreadable(what))
}

fn head(bytes: &[u8]) -> Result<RoomHead, Fault> {
    decode(bytes, "a room's head")
}

fn optional<T: for<'b> Decode<'b, ()>>(row: &Row<'_>, column: usize, what: &str) -> Result<Option<T>, Fault> {
    let bytes = row.get_ref(column)?.as_blob_or_null().map_err(|_| unreadable(what))?;
    bytes.map(|b| decode(b, what)).transpose()
}
