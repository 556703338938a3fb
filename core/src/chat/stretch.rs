//! Reading the log of a room that lives in memory only: the same rules as a store's.

use crate::{
    chat::room::{Readable, Room},
    event::Event,
    ids::Pos,
    query::{Bound, Range, Stretch},
};
use alloc::{sync::Arc, vec::Vec};

impl Room {
    /// A stretch of the latest entries that may be read; `None`: a bound names a message that is not there.
    pub fn stretch(&self, readable: Readable, range: &Range) -> Option<Stretch<Arc<Event>>> {
        for bound in [range.after, range.before] {
            if let Bound::Msg(id) | Bound::From(id) = bound {
                self.tail.iter().find(|e| e.pos == id.pos && e.room == id.room)?;
            }
        }
        let fits = |e: &&Arc<Event>| {
            let e: &Event = e;
            readable.has(e.pos)
                && is_after(e, range.after)
                && is_before(e, range.before)
                && range.only.takes(&e.what)
                && range.by.is_none_or(|by| e.by.is(by))
        };
        let all: Vec<Arc<Event>> = self.tail.iter().filter(fits).cloned().collect();
        let (total, limit) = (all.len(), range.limit as usize);
        let entries = match range.newest {
            true => all[total.saturating_sub(limit)..].to_vec(),
            false => all[..limit.min(total)].to_vec(),
        };
        Some(Stretch { more: total > entries.len(), entries, total: range.count.then_some(total as u64) })
    }

    /// The latest entries that may be read and are about one of these.
    pub fn related(
        &self,
        readable: Readable,
        targets: &[Pos],
        newest: bool,
        limit: usize,
    ) -> Stretch<Arc<Event>> {
        let fits = |e: &&Arc<Event>| readable.has(e.pos) && e.about().any(|t| targets.contains(&t));
        let all: Vec<Arc<Event>> = self.tail.iter().filter(fits).cloned().collect();
        let (total, limit) = (all.len(), limit.min(all.len()));
        let entries = if newest { all[total - limit..].to_vec() } else { all[..limit].to_vec() };
        Stretch { more: total > limit, entries, total: None }
    }
}

fn is_after(e: &Event, bound: Bound) -> bool {
    match bound {
        Bound::Open => true,
        Bound::Pos(p) => e.pos > p,
        Bound::Msg(id) => e.pos > id.pos,
        Bound::From(id) => e.pos >= id.pos,
        Bound::Time(t) => e.at > t,
    }
}

fn is_before(e: &Event, bound: Bound) -> bool {
    match bound {
        Bound::Open => true,
        Bound::Pos(p) => e.pos < p,
        Bound::Msg(id) => e.pos < id.pos,
        Bound::From(id) => e.pos <= id.pos,
        Bound::Time(t) => e.at < t,
    }
}
