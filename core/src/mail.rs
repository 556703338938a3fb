//! Mail between workers (and of a worker to itself): bounded, first in first out for each pair.

use crate::{
    command::Command,
    event::{Event, Live, Native},
    ids::{AccountId, Epoch, Label, Origin, Pos, ReqId, RoomId, SessionRef, ShardId, WorkerId},
    name::{RoomName, User, UserName},
    policy::Power,
    presence::{Presence, Sighting},
    projection::{Notice, Parcel, Replay, Signal},
    query::{Counts, Listed, Query, Reply},
    refusal::Refusal,
    text::{Octets, Str},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};

/// A letter.
#[derive(Debug)]
pub enum Mail {
    /// To a shard: a command of a session.
    Command {
        /// The store's epoch the sender knows.
        epoch: Epoch,
        /// Who waits.
        origin: Origin,
        /// The session wants to be attached with its entry.
        attach: Option<Box<Attacher>>,
        /// The command.
        command: Box<Command>,
    },
    /// To a shard: a command that follows from an entry of another.
    Follow {
        /// The store's epoch when it was derived.
        epoch: Epoch,
        /// Where it comes from, to be told when it is carried out; `None`: needs no telling.
        from: Option<(ShardId, Pos)>,
        /// True: derived again after a failure; it may have been carried out.
        again: bool,
        /// Who waits for the answer, if it answers.
        origin: Option<Origin>,
        /// The session wants to be attached with its entry.
        attach: Option<Box<Attacher>>,
        /// The command.
        command: Box<Command>,
    },
    /// To a shard: a follow-up that it sent in this epoch is carried out and stored.
    FollowDone(Epoch, ShardId, Pos),
    /// To a shard: a question.
    Query(Origin, Box<Query>),
    /// From a shard to itself: what is read for an answer, after everything before the question is stored.
    Read(Origin, Box<crate::row::Read>),
    /// To a shard: attach a session to a room.
    Attach {
        /// The room.
        room: RoomId,
        /// Replay what came after this.
        since: Option<Pos>,
        /// Who.
        who: Box<Attacher>,
    },
    /// To an edge: the session is attached (from here on events come), or not.
    Attached {
        /// The room.
        room: RoomId,
        /// Which session.
        session: SessionRef,
        /// The number of this grant; a detach names the last one seen.
        grant: u64,
        /// What was missed.
        replay: Result<Arc<Replay>, Refusal>,
        /// The request it answers (a join of a member), and how.
        answers: Option<(ReqId, Reply)>,
    },
    /// To a shard: the worker's last session left the room, after this grant.
    Detach {
        /// The room.
        room: RoomId,
        /// The worker.
        worker: WorkerId,
        /// The last grant it has seen; the shard ignores the rest.
        grant: u64,
    },
    /// To a shard: the sessions of a member in a room are this present; `None`: none is left; [`Show::Offline`]: the
    /// last one went with these words.
    Here {
        /// The room.
        room: RoomId,
        /// Who.
        user: User,
        /// How present.
        presence: Option<Presence>,
        /// Equal for one change in several rooms: shown once. Zero: always.
        same: u64,
    },
    /// To a shard: a live signal for a room.
    Signal {
        /// The room.
        room: RoomId,
        /// Who waits for it.
        origin: Option<Origin>,
        /// Who.
        by: User,
        /// What.
        what: RoomSignal,
        /// Equal for one change in several rooms: shown once. Zero: always.
        same: u64,
    },
    /// To an edge: an entry of a room, for its attached sessions.
    Event {
        /// The room's name.
        name: Option<RoomName>,
        /// The entry.
        event: Arc<Event>,
        /// Whose request made it.
        origin: Option<Origin>,
        /// The origin's session is attached from this entry on; the number of the grant.
        grant: Option<u64>,
        /// How present its subject is or was.
        here: Option<Arc<Presence>>,
        /// Equal for one happening in several rooms: shown once. Zero: always.
        same: u64,
    },
    /// To an edge: a live signal of a room of that name.
    Live(Option<RoomName>, Arc<Live>),
    /// To an edge: an account's feed has a new entry.
    Fed {
        /// Whose feed.
        account: AccountId,
        /// Where in the feed.
        pos: Pos,
        /// The other party of the dialog.
        with: User,
        /// The entry.
        event: Arc<Event>,
        /// Whose request made it.
        origin: Option<Origin>,
    },
    /// To an edge: something for the sessions of an account.
    Notice(AccountId, Arc<Notice>),
    /// To an edge: something for one session.
    NoticeTo(SessionRef, Arc<Notice>),
    /// To an edge: an answer.
    Answer(Origin, Reply),
    /// To a shard: a signal to an account's sessions, if the account does not block its sender.
    SignalTo(Origin, Box<Signal>),
    /// To an edge: the same, let through.
    SignalHere(Origin, Box<Signal>),
    /// To a shard: an account has a subscribed session with this presence; `None`: the session ended.
    Present {
        /// Whose.
        user: User,
        /// Which session.
        session: SessionRef,
        /// Its label.
        label: Label,
        /// The presence; `None`: the session ended.
        presence: Option<Box<Presence>>,
        /// Its display name.
        display: Str,
        /// True: it just subscribed and has said nothing of its presence.
        silent: bool,
        /// Equal for one change in several rooms: shown once. Zero: always.
        same: u64,
    },
    /// To a shard: a subscribed session has another display name.
    Displayed {
        /// Whose.
        account: AccountId,
        /// Which session.
        session: SessionRef,
        /// The name.
        display: Str,
        /// Equal for one change in several rooms: shown once. Zero: always.
        same: u64,
    },
    /// To a shard: the holder of a name is seen by strangers now, or no more, or in another way.
    Sighted {
        /// The name.
        name: UserName,
        /// Its holder.
        of: AccountId,
        /// How.
        now: Option<Arc<Sighting>>,
        /// Addresses that must not know.
        hidden_from: Vec<Str>,
        /// Equal for one change in several rooms: shown once. Zero: always.
        same: u64,
    },
    /// To a shard: a session watches a name, or no longer.
    Watch {
        /// The name.
        name: UserName,
        /// Which session.
        session: SessionRef,
        /// Whose.
        by: UserName,
        /// True: from now on.
        on: bool,
    },
    /// To an edge: something for all its sessions.
    Announce(Arc<Notice>),
    /// To a shard: `by` (a contact's account) came online and asks for the presence of the account.
    Probe {
        /// Whose presence is asked.
        account: AccountId,
        /// Who asks.
        by: User,
    },
    /// To an edge: who are the sessions of this account?
    Whois {
        /// Who waits.
        origin: Origin,
        /// Whose.
        user: User,
        /// True: an administrator.
        admin: bool,
    },
    /// To an edge: a request for an account's agent of that label.
    Hand {
        /// Who waits.
        origin: Origin,
        /// Whose agent.
        account: AccountId,
        /// Which.
        label: Label,
        /// True: it is made if it is not there.
        make: bool,
        /// The request.
        parcel: Parcel,
    },
    /// To an edge: the answer; `None`: nobody was there to answer.
    Responded(Origin, Option<Parcel>),
    /// Passed from worker to worker, each adds what it has; the last one answers.
    Round(Origin, Box<Round>),
}

/// What a live signal to a room wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomSignal {
    /// Typing.
    Typing(bool),
    /// A payload, for those of at least this power only (and its sender).
    Native(Native, Option<Power>),
    /// A display name changed.
    Display(Str),
    /// Public values of the account changed.
    Attrs(Vec<(Str, Octets)>),
    /// A payload about its sender, which who may not speak may show too.
    About(Native),
}

/// A session that wants to be attached.
#[derive(Clone, Debug)]
pub struct Attacher {
    /// Which session.
    pub session: SessionRef,
    /// Whose.
    pub user: User,
    /// How present it is.
    pub presence: Presence,
}

/// A question that goes round all workers.
#[derive(Clone, Debug)]
pub enum Round {
    /// Rooms that live in memory only.
    Directory {
        /// Names after this one.
        after: Option<RoomName>,
        /// At most so many.
        limit: u32,
        /// True: secret ones too.
        secret: bool,
        /// Found so far.
        found: Vec<Listed>,
    },
    /// Sessions and connections.
    Counts(Counts),
}
