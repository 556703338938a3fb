//! The chat state machine: entities, and `apply`, which is pure, touches one entity and reads nothing
//! but it, the entry and the settings.
//!
//! A refused entry changes nothing. An accepted one gives row changes for exactly what changed; folding
//! them into the rows and loading the entity again gives the same entity.

pub mod account;
mod alias;
pub mod echo;
pub mod join;
mod letters;
pub mod moderation;
pub mod name;
mod open;
pub mod room;
pub mod roster;
pub mod rules;
pub mod seen;
pub mod speech;
mod stretch;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod uploads;
pub mod withdraw;

use crate::{
    command::{Act, Command, EntityId},
    event::{Event, LiveWhat, Native, What},
    ids::{AccountId, Pos},
    projection::Notice,
    query::Value,
    refusal::Refusal,
    row::{Change, Page, RoomHead},
    settings::Settings,
    text::Str,
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
    /// Rows that changed. New events are in `events` only; see [`Outcome::rows`] for the order.
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
    /// What the actor shows to who is there, once stored.
    pub live: Option<LiveWhat>,
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
    /// True: it can be derived again from the events, or nothing is lost without it: it is not stored.
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
            live: None,
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

    /// All changes in the order they must be stored in: the new entries first, so that a room that
    /// ends with its last entry leaves nothing behind. What belongs to transient rooms and accounts is
    /// left out.
    pub fn rows(&self) -> impl Iterator<Item = Change> + '_ {
        let events = self.events.iter().map(|e| Change::Event(e.clone()));
        events.chain(self.changes.iter().cloned()).filter(|c| !is_transient(c))
    }

    /// How many positions the entry used up.
    pub fn used(&self) -> u64 {
        self.positions.max(self.events.len() as u64)
    }
}

/// True for a change of a row that lives in memory only.
fn is_transient(change: &Change) -> bool {
    match change {
        Change::Account(a, _)
        | Change::AccountAttr(a, _, _)
        | Change::Shelf(a, _, _)
        | Change::Letter(a, _, _, _)
        | Change::Collected(a, _, _)
        | Change::Contact(a, _, _)
        | Change::Feed { account: a, .. } => a.is_transient(),
        Change::Read(a, r, _) => a.is_transient() || r.is_transient(),
        Change::Room(r, _)
        | Change::Topic(r, _)
        | Change::Masks(r, _)
        | Change::RoomAttr(r, _, _)
        | Change::Fact(r, _) => r.is_transient(),
        Change::Member(r, a, _) => r.is_transient() || a.is_transient(),
        Change::Event(e) | Change::Rewrite(e) => e.room.is_transient(),
        Change::Name(..)
        | Change::Media(..)
        | Change::Head(..)
        | Change::Follow(..)
        | Change::Followed(..) => false,
    }
}

/// The durable part of an entity.
#[derive(Clone, Debug)]
pub enum Entity {
    /// A name.
    Name(Box<name::Name>),
    /// An account.
    Account(Arc<account::Account>),
    /// A room or dialog.
    Room(Box<room::Room>),
}

impl Entity {
    /// From what a read found; one that is not stored is [`Entity::fresh`]. Fails when the read did,
    /// or found something else than was asked for.
    pub fn load(id: &EntityId, page: Page, settings: &Settings) -> Result<Entity, Refusal> {
        Ok(match (id, page) {
            (_, Page::Failed(why)) => return Err(why),
            (EntityId::Name(key), Page::Name(row)) => {
                Entity::Name(Box::new(name::Name { key: key.clone(), row }))
            }
            (EntityId::Account(_), Page::Account(None)) | (EntityId::Room(_), Page::Room(None)) => {
                Entity::fresh(id)
            }
            (EntityId::Account(id), Page::Account(Some(rows))) => {
                Entity::Account(Arc::new(account::Account::load(*id, *rows)))
            }
            (EntityId::Room(id), Page::Room(Some(rows))) => {
                Entity::Room(Box::new(room::Room::load(*id, *rows, settings)))
            }
            _ => return Err(Refusal::StoreDown),
        })
    }

    /// One that is not made yet.
    pub fn fresh(id: &EntityId) -> Entity {
        match id {
            EntityId::Name(key) => Entity::Name(Box::new(name::Name { key: key.clone(), row: None })),
            EntityId::Account(id) => Entity::Account(Arc::new(account::Account::fresh(*id))),
            EntityId::Room(id) => Entity::Room(Box::new(room::Room::fresh(*id))),
        }
    }

    /// Carries out an entry: checks first, changes the entity only if it accepts.
    pub fn apply(&mut self, entry: &Entry, settings: &Settings) -> Outcome {
        let mut draft = Draft::new(entry, settings);
        let done = match self {
            Entity::Name(name) => name.act(&mut draft),
            Entity::Account(account) => Arc::make_mut(account).act(&mut draft),
            Entity::Room(room) => {
                let done = room.act(&mut draft);
                room.lent.clear();
                room.edits_of = None;
                done
            }
        };
        match done {
            Ok(verdict) => Outcome { verdict, ..draft.out },
            // A refusal may have follow-ups (an invitation's use that comes back), but no changes.
            Err(why) => {
                debug_assert!(draft.out.changes.is_empty() && draft.out.events.is_empty());
                Outcome { verdict: Verdict::Refused(why), ..draft.out }
            }
        }
    }

    /// True: there is nothing in it; forgetting it loses nothing.
    pub fn is_void(&self) -> bool {
        match self {
            Entity::Name(n) => n.row.is_none(),
            Entity::Account(a) => a.is_void(),
            Entity::Room(r) => r.is_void(),
        }
    }

    /// True: it holds what no read brings back (a name held by a guest, a guest's room, guests in a
    /// room): it must not be put out of memory.
    pub fn is_pinned(&self) -> bool {
        match self {
            Entity::Name(n) => n.row.as_ref().is_some_and(|r| AccountId(r.id).is_transient()),
            Entity::Account(a) => a.id.is_transient() && !a.is_void(),
            Entity::Room(r) => r.is_pinned(),
        }
    }

    /// The last entry time; zero where entries have none.
    pub fn last_at(&self) -> UnixMillis {
        match self {
            Entity::Room(r) => r.last_at,
            Entity::Name(_) | Entity::Account(_) => UnixMillis::default(),
        }
    }
}

/// The follow-ups of a dialog's entry: it goes into the feeds of the two parties. Derived again after a
/// crash, by which it is the same as the first time. Nothing for entries of other rooms.
pub fn follows_of(event: &Arc<Event>, room: &RoomHead) -> Vec<Command> {
    let Some((a, b)) = &room.parties else { return Vec::new() };
    if !matches!(
        event.what,
        What::Said(_)
            | What::Edited { .. }
            | What::Redacted { .. }
            | What::Reacted { .. }
            | What::Withdrawn { .. }
            | What::Member(_)
            | What::Opened
    ) {
        return Vec::new();
    }
    let feed = |to: AccountId, with: &crate::name::User| {
        let act = Act::Feed { room: event.room, event: event.clone(), with: with.clone() };
        Command::by_server(EntityId::Account(to), act)
    };
    let mut out = alloc::vec![feed(a.id, b)];
    // A dialog with oneself has one feed.
    if a.id != b.id {
        out.push(feed(b.id, a));
    }
    out
}

/// An outcome in the making.
pub(crate) struct Draft<'a> {
    pub entry: &'a Entry,
    pub settings: &'a Settings,
    pub out: Outcome,
    /// The entries made set no facts: a later one says it all.
    pub factless: bool,
}

/// What an act comes to; with a refusal nothing was changed.
type Done = Result<Verdict, Refusal>;

/// The answer of an act that has nothing to say.
const DONE: Verdict = Verdict::Value(Value::Done);

impl<'a> Draft<'a> {
    fn new(entry: &'a Entry, settings: &'a Settings) -> Draft<'a> {
        Draft { entry, settings, out: Outcome::answer(Verdict::Silent), factless: false }
    }

    fn change(&mut self, change: Change) {
        self.out.changes.push(change);
    }

    fn tell(&mut self, to: AccountId, notice: Notice) {
        self.out.tell.push((to, notice));
    }

    /// A native form as it is stored: without one that is larger than may be.
    fn native(&self, native: Option<&Native>) -> Option<Native> {
        native.filter(|n| n.bytes.len() <= self.settings.limits.native).cloned()
    }

    /// A follow-up that is stored, by the server.
    fn follow(&mut self, to: EntityId, act: Act) {
        let command = Command::by_server(to, act);
        self.out.follow.push(Follow { command, answers: false, derived: false });
    }

    /// A follow-up that answers in place of this entry. It is stored if this entry changed something.
    fn pass_on(&mut self, command: Command) -> Done {
        let derived = self.out.changes.is_empty();
        self.out.follow.push(Follow { command, answers: true, derived });
        Ok(Verdict::Follow)
    }
}

/// Refuses what is longer than `max` bytes.
fn at_most(text: &str, max: usize) -> Result<(), Refusal> {
    if text.len() <= max { Ok(()) } else { Err(Refusal::TooLong) }
}

/// Refuses a reason longer than a topic may be.
fn check_reason(reason: Option<&Str>, settings: &Settings) -> Result<(), Refusal> {
    at_most(reason.map_or("", Str::as_str), settings.limits.topic)
}

/// The longest key of a named value, address or label, in bytes; longer ones are refused.
const KEY_MAX: usize = 1023;
