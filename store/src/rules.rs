//! What both stores agree on: which entries a reader wants, and where a stretch begins and ends.

use crate::Fault;
use lavina_core::{
    event::Event,
    ids::{MsgId, Pos},
    query::{Bound, Only, Range},
    row::RoomHead,
    time::UnixMillis,
};

/// Most entries that one read looks at one by one, where no index leads to the wanted ones: for
/// [`Range::by`], and in feeds. Beyond them the stretch ends with
/// [`more`](lavina_core::query::Stretch::more) set and goes on in the next read, and its
/// [`total`](lavina_core::query::Stretch::total) is `None`.
pub const SCAN_MAX: usize = 50_000;

/// How many of the latest feed entries come with an account, to recognise those derived again.
pub const FED: u32 = 64;

/// What kind of entry it is, as far as [`Only`] cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Class {
    /// Neither a message nor about one.
    Other = 0,
    /// Withdraws or answers a message.
    Relation = 1,
    /// A message, or an edit of one.
    Message = 2,
}

impl Class {
    pub(crate) fn of(event: &Event) -> Class {
        if Only::Messages.takes(&event.what) {
            Class::Message
        } else if Only::Said.takes(&event.what) {
            Class::Relation
        } else {
            Class::Other
        }
    }

    /// The least class that `only` lets through.
    pub(crate) fn least(only: Only) -> Class {
        match only {
            Only::All => Class::Other,
            Only::Said => Class::Relation,
            Only::Messages => Class::Message,
        }
    }
}

/// True when the room stands in the directory, the secret ones among its readers' rights.
pub(crate) fn is_listed(head: &RoomHead) -> bool {
    head.name.is_some() && head.parties.is_none() && !head.destroyed
}

/// A stretch by position: above `after` and below `before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) after: u64,
    pub(crate) before: u64,
}

impl Ends {
    /// Beyond the last position.
    pub(crate) const END: u64 = Pos::MAX.0 + 1;

    pub(crate) fn is_empty(self) -> bool {
        self.after + 1 >= self.before
    }
}

/// Where messages and times stand in a log or feed.
pub(crate) trait Places {
    /// Where a message stands, if it is there.
    fn find(&mut self, id: MsgId) -> Result<Option<Pos>, Fault>;
    /// The last position not later than this time, or zero.
    fn until(&mut self, at: UnixMillis) -> Result<Pos, Fault>;
}

/// Where the range begins and ends; `None`: a bound names a message that is not there.
pub(crate) fn ends(
    range: &Range,
    (floor, last): (Pos, Pos),
    places: &mut impl Places,
) -> Result<Option<Ends>, Fault> {
    let after = match range.after {
        Bound::Open => 0,
        Bound::Pos(p) => p.0,
        Bound::Time(t) => places.until(t)?.0,
        Bound::Msg(id) | Bound::From(id) => match places.find(id)? {
            Some(p) if matches!(range.after, Bound::From(_)) => p.back().0,
            Some(p) => p.0,
            None => return Ok(None),
        },
    };
    let before = match range.before {
        Bound::Open => Ends::END,
        Bound::Pos(p) => p.0,
        Bound::Time(UnixMillis(0)) => 0,
        Bound::Time(UnixMillis(t)) => places.until(UnixMillis(t - 1))?.0 + 1,
        Bound::Msg(id) | Bound::From(id) => match places.find(id)? {
            Some(p) if matches!(range.before, Bound::From(_)) => p.0 + 1,
            Some(p) => p.0,
            None => return Ok(None),
        },
    };
    let before = before.min(last.0.saturating_add(1)).min(Ends::END);
    Ok(Some(Ends { after: after.max(floor.0).min(Pos::MAX.0), before }))
}
