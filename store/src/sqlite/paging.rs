//! Stretches of logs and feeds. The cost follows the page, not the history: places are found by
//! position, times and counts by halving.

use super::{
    int,
    read::Rows,
    uint,
    write::{event_id, span, unreadable},
};
use crate::{
    Fault,
    rules::{self, Class, Ends, Places, SCAN_MAX},
};
use lavina_core::{
    event::{Actor, Event},
    ids::{AccountId, MsgId, Pos, RoomId},
    query::{Only, Range, Stretch},
    row::{self, Page},
    time::UnixMillis,
};
use rusqlite::{OptionalExtension, Row};
use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

/// Unwanted entries in a row after which the next wanted one is looked up instead of waited for.
const GAP: usize = 64;

/// A stretch of a room's log.
/// Nothing at or below `ends.0`, nothing above `ends.1`.
pub(super) fn history(rows: &Rows, room: RoomId, ends: (Pos, Pos), range: &Range) -> Result<Page, Fault> {
    let n = rows.room_number(room)?.unwrap_or(0);
    let mut log = Log { rows, room, n };
    let Some(ends) = rules::ends(range, ends, &mut log)? else { return Ok(Page::NoSuchItem) };
    if ends.is_empty() || n == 0 {
        return Ok(Page::Events(empty(range)));
    }
    Ok(Page::Events(match range.by {
        Some(by) => log.scan(ends, range, by)?,
        None => log.pick(ends, range)?,
    }))
}

/// The entries of a room's log that are about one of these, found by the index; an entry whose content is gone is about
/// nothing any more.
pub(super) fn related(
    rows: &Rows,
    room: RoomId,
    (floor, last): (Pos, Pos),
    targets: &[Pos],
    newest: bool,
    limit: u32,
) -> Result<Stretch<Arc<Event>>, Fault> {
    let n = rows.room_number(room)?.unwrap_or(0);
    let sql = match newest {
        true => {
            "SELECT r.pos, e.data FROM related r JOIN event e ON e.id = r.room << 40 | r.pos
             WHERE r.room = ?1 AND r.target = ?2 AND r.pos > ?3 AND r.pos <= ?4 ORDER BY r.pos DESC"
        }
        false => {
            "SELECT r.pos, e.data FROM related r JOIN event e ON e.id = r.room << 40 | r.pos
             WHERE r.room = ?1 AND r.target = ?2 AND r.pos > ?3 AND r.pos <= ?4 ORDER BY r.pos"
        }
    };
    let mut statement = rows.conn().prepare_cached(sql)?;
    let limit = limit as usize;
    let mut found = BTreeMap::new();
    for target in targets {
        let of = (n, int(target.0), int(floor.0.min(Pos::MAX.0)), int(last.0.min(Pos::MAX.0)));
        let mut of_this = statement.query(of)?;
        let mut taken = 0;
        while let Some(row) = of_this.next()? {
            let entry = event(blob(row, 1)?)?;
            if !entry.about().any(|t| t == *target) {
                continue;
            }
            // One more than wanted tells that there are more.
            if taken > limit {
                break;
            }
            taken += 1;
            found.insert(uint(row.get(0)?), entry);
        }
    }
    let more = found.len() > limit;
    while found.len() > limit {
        if newest {
            found.pop_first()
        } else {
            found.pop_last()
        };
    }
    Ok(Stretch { entries: found.into_values().collect(), more, total: None })
}

/// A stretch of a feed, or of one dialog in it.
pub(super) fn feed(
    rows: &Rows,
    account: AccountId,
    with: Option<RoomId>,
    range: &Range,
) -> Result<Page, Fault> {
    let n = rows.account_number(account)?.unwrap_or(0);
    let mut feed = Feed { rows, n };
    let Some(ends) = rules::ends(range, (Pos::ZERO, Pos::MAX), &mut feed)? else {
        return Ok(Page::NoSuchItem);
    };
    let with = match with {
        Some(room) => match rows.room_number(room)? {
            Some(room) => Some(room),
            None => return Ok(Page::Feed(empty(range))),
        },
        None => None,
    };
    if ends.is_empty() || n == 0 {
        return Ok(Page::Feed(empty(range)));
    }
    Ok(Page::Feed(feed.scan(ends, range, with)?))
}

fn empty<T>(range: &Range) -> Stretch<T> {
    Stretch { entries: Vec::new(), more: false, total: range.count.then_some(0) }
}

/// The log of one room.
struct Log<'a> {
    rows: &'a Rows,
    room: RoomId,
    n: i64,
}

impl Places for Log<'_> {
    fn find(&mut self, id: MsgId) -> Result<Option<Pos>, Fault> {
        if id.room != self.room || id.pos > Pos::MAX {
            return Ok(None);
        }
        let mut statement = self.rows.conn().prepare_cached("SELECT 1 FROM event WHERE id = ?1")?;
        Ok(statement.exists([event_id(self.n, id.pos.0)])?.then_some(id.pos))
    }

    fn until(&mut self, at: UnixMillis) -> Result<Pos, Fault> {
        self.last_with(|_, _, data| Ok(time(data)?.cmp(&at.0)))
    }
}

impl Log<'_> {
    /// The last position that a rising property puts at or below what is wanted; zero if none.
    fn last_with(
        &self,
        mut compare: impl FnMut(u64, [i64; 3], &[u8]) -> Result<Ordering, Fault>,
    ) -> Result<Pos, Fault> {
        let sql = "SELECT id, nth, said, messages, data FROM event WHERE id BETWEEN ?1 AND ?2
                   ORDER BY id DESC LIMIT 1";
        let mut statement = self.rows.conn().prepare_cached(sql)?;
        halve(|from, to| {
            let mut found = statement.query((event_id(self.n, from), event_id(self.n, to)))?;
            let Some(row) = found.next()? else { return Ok(None) };
            let pos = uint(row.get(0)?) & Pos::MAX.0;
            let counts = [row.get(1)?, row.get(2)?, row.get(3)?];
            Ok(Some((pos, compare(pos, counts, blob(row, 4)?)?)))
        })
    }

    /// How many entries of that kind there are up to and including this position.
    fn count(&self, only: Only, upto: u64) -> Result<i64, Fault> {
        let sql = "SELECT nth, said, messages FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1";
        let mut statement = self.rows.conn().prepare_cached(sql)?;
        let found =
            statement.query_row((event_id(self.n, 0), event_id(self.n, upto)), |r| r.get(column(only)));
        Ok(found.optional()?.unwrap_or(0))
    }

    /// The entries of a kind: their numbers are known before any is read.
    fn pick(&self, ends: Ends, range: &Range) -> Result<Stretch<Arc<Event>>, Fault> {
        let least = Class::least(range.only) as i64;
        let (base, top) = (self.count(range.only, ends.after)?, self.count(range.only, ends.before - 1)?);
        let total = uint((top - base).max(0));
        let wanted = total.min(u64::from(range.limit)) as usize;
        let mut entries = Vec::with_capacity(wanted);
        // The next position looked at.
        let mut from = if range.newest { ends.before - 1 } else { ends.after + 1 };
        while entries.len() < wanted {
            let (sql, bounds) = if range.newest {
                (
                    "SELECT kind, data FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC",
                    (ends.after + 1, from),
                )
            } else {
                (
                    "SELECT kind, data FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
                    (from, ends.before - 1),
                )
            };
            let mut statement = self.rows.conn().prepare_cached(sql)?;
            let mut found = statement.query((event_id(self.n, bounds.0), event_id(self.n, bounds.1)))?;
            let mut gap = 0;
            while entries.len() < wanted && gap < GAP {
                let Some(row) = found.next()? else {
                    return Err(unreadable("the count of a room's entries"));
                };
                if row.get::<_, i64>(0)? < least {
                    gap += 1;
                    continue;
                }
                gap = 0;
                entries.push(event(blob(row, 1)?)?);
            }
            if entries.len() < wanted {
                let done = int(entries.len() as u64);
                from = self.nth(range.only, if range.newest { top - done } else { base + done + 1 })?;
            }
        }
        if range.newest {
            entries.reverse();
        }
        Ok(Stretch { more: total > entries.len() as u64, entries, total: range.count.then_some(total) })
    }

    /// The position of the entry of that kind with this number.
    fn nth(&self, only: Only, number: i64) -> Result<u64, Fault> {
        let before = self.last_with(|_, counts, _| Ok(counts[column(only)].cmp(&(number - 1))))?;
        let sql = "SELECT id FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1";
        let mut statement = self.rows.conn().prepare_cached(sql)?;
        let id: i64 = statement.query_row((event_id(self.n, before.0 + 1), span(self.n).1), |r| r.get(0))?;
        Ok(uint(id) & Pos::MAX.0)
    }

    /// The entries by one person: all are looked at.
    fn scan(&self, ends: Ends, range: &Range, by: AccountId) -> Result<Stretch<Arc<Event>>, Fault> {
        let least = Class::least(range.only) as i64;
        let sql = if range.newest {
            "SELECT kind, data FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC"
        } else {
            "SELECT kind, data FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
        };
        let mut statement = self.rows.conn().prepare_cached(sql)?;
        let bounds = (event_id(self.n, ends.after + 1), event_id(self.n, ends.before - 1));
        let mut found = statement.query(bounds)?;
        let mut page = Scan::new(range);
        while let Some(row) = found.next()? {
            let wanted = row.get::<_, i64>(0)? >= least && is_by(blob(row, 1)?, by)?;
            if !page.look(wanted, || event(blob(row, 1)?))? {
                break;
            }
        }
        Ok(page.done())
    }
}

/// The feed of one account.
struct Feed<'a> {
    rows: &'a Rows,
    n: i64,
}

impl Places for Feed<'_> {
    fn find(&mut self, id: MsgId) -> Result<Option<Pos>, Fault> {
        let Some(room) = self.rows.room_number(id.room)? else { return Ok(None) };
        let sql = "SELECT pos FROM dialog WHERE account = ?1 AND room = ?2 AND entry = ?3";
        let mut statement = self.rows.conn().prepare_cached(sql)?;
        let found = statement.query_row((self.n, room, int(id.pos.0)), |r| r.get(0)).optional()?;
        Ok(found.map(|p| Pos(uint(p))))
    }

    fn until(&mut self, at: UnixMillis) -> Result<Pos, Fault> {
        let sql = "SELECT id, at FROM feed WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1";
        let mut statement = self.rows.conn().prepare_cached(sql)?;
        halve(|from, to| {
            let read = |r: &Row<'_>| Ok((uint(r.get(0)?) & Pos::MAX.0, uint(r.get(1)?).cmp(&at.0)));
            Ok(statement.query_row((event_id(self.n, from), event_id(self.n, to)), read).optional()?)
        })
    }
}

impl Feed<'_> {
    fn scan(
        &self,
        ends: Ends,
        range: &Range,
        with: Option<i64>,
    ) -> Result<Stretch<(Pos, Arc<Event>)>, Fault> {
        let least = Class::least(range.only) as i64;
        let (sql, room, bounds) = match with {
            None => {
                let bounds = (event_id(self.n, ends.after + 1), event_id(self.n, ends.before - 1));
                (if range.newest { FEED_NEWEST } else { FEED_OLDEST }, 0, bounds)
            }
            Some(room) => {
                // The entries of one dialog come to a feed in their order.
                let after = self.last_entry(room, ends.after)?.0;
                let last = self.last_entry(room, ends.before - 1)?.0;
                (if range.newest { DIALOG_NEWEST } else { DIALOG_OLDEST }, room, (int(after + 1), int(last)))
            }
        };
        let mut statement = self.rows.conn().prepare_cached(sql)?;
        let mut found = match with {
            None => statement.query(bounds)?,
            Some(_) => statement.query((bounds.0, bounds.1, self.n, room))?,
        };
        let mut page = Scan::new(range);
        while let Some(row) = found.next()? {
            let fits = row.get::<_, i64>(1)? >= least;
            let wanted = fits && by_fits(range, blob(row, 2)?)?;
            let take = || Ok((Pos(uint(row.get(0)?) & Pos::MAX.0), event(blob(row, 2)?)?));
            if !page.look(wanted, take)? {
                break;
            }
        }
        Ok(page.done())
    }

    /// The last entry of a dialog at or before this position of the feed.
    fn last_entry(&self, room: i64, upto: u64) -> Result<Pos, Fault> {
        let sql = "SELECT entry, pos FROM dialog WHERE account = ?1 AND room = ?2 AND entry BETWEEN ?3 AND ?4
                   ORDER BY entry DESC LIMIT 1";
        let mut statement = self.rows.conn().prepare_cached(sql)?;
        halve(|from, to| {
            let read = |r: &Row<'_>| Ok((uint(r.get(0)?), uint(r.get(1)?).cmp(&upto)));
            Ok(statement.query_row((self.n, room, int(from), int(to)), read).optional()?)
        })
    }
}

const FEED_NEWEST: &str =
    "SELECT f.id, e.kind, e.data FROM feed f JOIN event e ON e.id = f.room << 40 | f.entry
    WHERE f.id BETWEEN ?1 AND ?2 ORDER BY f.id DESC";
const FEED_OLDEST: &str =
    "SELECT f.id, e.kind, e.data FROM feed f JOIN event e ON e.id = f.room << 40 | f.entry
    WHERE f.id BETWEEN ?1 AND ?2 ORDER BY f.id";
const DIALOG_NEWEST: &str =
    "SELECT d.pos, e.kind, e.data FROM dialog d JOIN event e ON e.id = d.room << 40 | d.entry
    WHERE d.account = ?3 AND d.room = ?4 AND d.entry BETWEEN ?1 AND ?2 ORDER BY d.entry DESC";
const DIALOG_OLDEST: &str =
    "SELECT d.pos, e.kind, e.data FROM dialog d JOIN event e ON e.id = d.room << 40 | d.entry
    WHERE d.account = ?3 AND d.room = ?4 AND d.entry BETWEEN ?1 AND ?2 ORDER BY d.entry";

/// A page filled by looking at entries one by one.
struct Scan<'a, T> {
    range: &'a Range,
    entries: Vec<T>,
    looked: usize,
    matched: u64,
    /// The limit of looking was reached.
    cut: bool,
}

impl<'a, T> Scan<'a, T> {
    fn new(range: &'a Range) -> Scan<'a, T> {
        Scan { range, entries: Vec::new(), looked: 0, matched: 0, cut: false }
    }

    /// Looks at an entry; false: no more need be looked at.
    fn look(&mut self, wanted: bool, take: impl FnOnce() -> Result<T, Fault>) -> Result<bool, Fault> {
        if self.looked == SCAN_MAX {
            self.cut = true;
            return Ok(false);
        }
        self.looked += 1;
        if !wanted {
            return Ok(true);
        }
        self.matched += 1;
        if self.entries.len() < self.range.limit as usize {
            self.entries.push(take()?);
            return Ok(true);
        }
        Ok(self.range.count)
    }

    fn done(mut self) -> Stretch<T> {
        if self.range.newest {
            self.entries.reverse();
        }
        let more = self.cut || self.matched > self.entries.len() as u64;
        let total = (self.range.count && !self.cut).then_some(self.matched);
        Stretch { entries: self.entries, more, total }
    }
}

/// The last place whose property is at or below what is wanted, where the property rises with the
/// place; zero if there is none. `probe(from, to)` looks at the last place between the two.
fn halve(mut probe: impl FnMut(u64, u64) -> Result<Option<(u64, Ordering)>, Fault>) -> Result<Pos, Fault> {
    let (mut best, mut low, mut high) = (0, 1, Pos::MAX.0);
    // The end first: what is asked is mostly late, and places fill only a small part of the range.
    let mut middle = high;
    while low <= high {
        match probe(low, middle)? {
            None => low = middle + 1,
            Some((place, Ordering::Greater)) => high = place - 1,
            Some((place, _)) => {
                best = place;
                low = middle + 1;
            }
        }
        middle = low + high.saturating_sub(low) / 2;
    }
    Ok(Pos(best))
}

fn column(only: Only) -> usize {
    match only {
        Only::All => 0,
        Only::Said => 1,
        Only::Messages => 2,
    }
}

/// A blob where SQLite holds it.
pub(super) fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], Fault> {
    row.get_ref(column)?.as_blob().map_err(|_| unreadable("a row"))
}

/// An entry as stored.
pub(super) fn event(data: &[u8]) -> Result<Arc<Event>, Fault> {
    row::decode::<Event>(data).map(Arc::new).ok_or_else(|| unreadable("an entry of a log"))
}

/// The first fields of an entry, without the rest: a decoder that stands before its time (field 3).
fn fields(data: &[u8]) -> Result<minicbor::Decoder<'_>, minicbor::decode::Error> {
    let mut d = minicbor::Decoder::new(data);
    d.array()?;
    (0..3).try_for_each(|_| d.skip())?;
    Ok(d)
}

fn time(data: &[u8]) -> Result<u64, Fault> {
    fields(data).and_then(|mut d| d.u64()).map_err(|_| unreadable("an entry's time"))
}

fn is_by(data: &[u8], by: AccountId) -> Result<bool, Fault> {
    let author = fields(data).and_then(|mut d| {
        d.skip()?;
        d.decode::<Actor>()
    });
    Ok(author.map_err(|_| unreadable("an entry's author"))?.is(by))
}

fn by_fits(range: &Range, data: &[u8]) -> Result<bool, Fault> {
    range.by.map_or(Ok(true), |by| is_by(data, by))
}
