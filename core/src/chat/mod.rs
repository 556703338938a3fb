//! The chat state machine: entities, and `apply`, which is pure, touches one entity and reads nothing
//! but it, the entry and the settings.

pub mod account;
pub mod name;
pub mod room;

use crate::{
    command::Command,
    event::Event,
    ids::{AccountId, Pos},
    projection::Notice,
    query::Value,
    refusal::Refusal,
    row::Change,
    time::UnixMillis,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};

/// A numbered command.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The command.
    pub command: Command,
    /// The first free position of the shard; events made by it get this and the following ones.
    pub first: Pos,
    /// Entry time; at least one above the entity's last.
    pub at: UnixMillis,
    /// True: a follow-up derived again; it may have been applied before.
    pub again: bool,
}

/// What came of an entry.
#[derive(Debug)]
pub struct Outcome {
    /// Rows that changed. New events are in `events` only.
    pub changes: Vec<Change>,
    /// Entries made, in order.
    pub events: Vec<Arc<Event>>,
    /// Commands that follow.
    pub follow: Vec<Follow>,
    /// The answer.
    pub verdict: Verdict,
    /// Notices to accounts' sessions, once stored.
    pub tell: Vec<(AccountId, Notice)>,
    /// An account's feed entry, once stored: its position in the feed and the entry.
    pub fed: Option<(Pos, Arc<Event>)>,
    /// Contacts that from now on may (true) or may not (false) see this account's presence.
    pub show: Vec<(AccountId, bool)>,
    /// Contacts whose presence this account may see from now on: it is asked for.
    pub probe: Vec<AccountId>,
    /// Equal for one happening in several rooms.
    pub same: u64,
    /// Positions used up, when it is more than the events.
    pub positions: u64,
}

/// A command that follows.
#[derive(Debug)]
pub struct Follow {
    /// The command.
    pub command: Command,
    /// True: the one who waits gets the answer of this one (the verdict is [`Verdict::Follow`]).
    pub answers: bool,
    /// True: it can be derived again from the events (it is not stored).
    pub derived: bool,
}

/// The answer to an entry.
#[derive(Debug)]
pub enum Verdict {
    /// The last event is the answer.
    ByEvent,
    /// A value.
    Value(Value),
    /// Done before; this event answers.
    Already(Pos),
    /// No.
    Refused(Refusal),
    /// A follow-up answers.
    Follow,
    /// Nobody waits.
    Silent,
}

impl Outcome {
    /// Nothing but an answer.
    pub fn answer(verdict: Verdict) -> Outcome {
        Outcome {
            changes: Vec::new(),
            events: Vec::new(),
            follow: Vec::new(),
            verdict,
            tell: Vec::new(),
            fed: None,
            show: Vec::new(),
            probe: Vec::new(),
            same: 0,
            positions: 0,
        }
    }

    /// No.
    pub fn refused(why: Refusal) -> Outcome {
        Outcome::answer(Verdict::Refused(why))
    }
}

/// The durable part of an entity.
#[derive(Clone, Debug)]
pub enum Entity {
    /// A name.
    Name(name::Name),
    /// An account.
    Account(Arc<account::Account>),
    /// A room or dialog.
    Room(Box<room::Room>),
}
