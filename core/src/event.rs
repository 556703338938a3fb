//! What happened: the entries of a room's log, and live signals that are never stored.

use crate::{
    ids::{AccountId, Label, MsgId, OnceKey, Origin, Pos, RoomId},
    media::MediaId,
    name::{RoomName, User},
    policy::{Levels, MaskEntry, Policy, ReadTo, Standing},
    presence::Presence,
    seal::{Seal, Sealed},
    text::{Octets, Rich, Str},
    time::UnixMillis,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use minicbor::{Decode, Encode};

/// One entry of a room's log: log and history at once.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Event {
    /// The room.
    #[n(0)]
    pub room: RoomId,
    /// Its position; rises in the room.
    #[n(1)]
    pub pos: Pos,
    /// The room's entry before it, [`Pos::ZERO`] at the first.
    #[n(2)]
    pub prev: Pos,
    /// Entry time: our clock, strictly rising in the room.
    #[n(3)]
    pub at: UnixMillis,
    /// Who did it.
    #[n(4)]
    pub by: Actor,
    /// What makes a retry of it the same.
    #[n(5)]
    pub once: Option<OnceKey>,
    /// What happened.
    #[n(6)]
    pub what: What,
    /// The facts it sets, in a room that is open ([`crate::row::RoomHead::open`]); else none.
    #[n(7)]
    #[cbor(default)]
    pub facts: Vec<Fact>,
    /// What it is called for ever, in a room whose entries are sealed.
    #[n(8)]
    #[cbor(default)]
    pub sealed: Option<Box<Sealed>>,
}

/// A piece of a room's state in the terms of the protocol that the room is open to: what that protocol
/// would show and keep, made once, by the rules of the moment, and never changed after.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Fact {
    /// What it is about.
    #[n(0)]
    pub kind: Str,
    /// Of whom or what, where there are several of the kind; else empty.
    #[n(1)]
    pub key: Str,
    /// The content in that protocol's form.
    #[n(2)]
    pub content: Octets,
    /// Who states it, if it is not who made the entry.
    #[n(3)]
    pub by: Option<Actor>,
    /// The fact of the same kind and key before it.
    #[n(4)]
    pub before: Option<FactRef>,
    /// The name of that one, if it was sealed.
    #[n(5)]
    #[cbor(default)]
    pub replaces: Option<Seal>,
    /// True after a withdrawal: only what keeps the room in order is left of the content.
    #[n(6)]
    #[cbor(default)]
    pub gone: bool,
}

/// Where a fact was set: the entry, and which of its facts it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct FactRef {
    /// The entry's position.
    #[n(0)]
    pub pos: Pos,
    /// The fact's place in the entry, from zero.
    #[n(1)]
    pub nth: u8,
}

impl Event {
    /// Its name on every protocol.
    pub fn id(&self) -> MsgId {
        MsgId { room: self.room, pos: self.pos }
    }

    /// How its author's client named the message said.
    pub fn client_id(&self) -> Option<&Str> {
        match &self.what {
            What::Said(message) => message.client_id.as_ref(),
            _ => None,
        }
    }

    /// Who wants to know that this has arrived at somebody, and how his client named it.
    pub fn awaited(&self, at: AccountId) -> Option<(AccountId, &Str)> {
        let What::Said(message) = &self.what else { return None };
        let by = self.by.user().filter(|by| by.id != at && message.wants_arrival)?;
        Some((by.id, message.client_id.as_ref()?))
    }

    /// The entries of its room that it is about: what it edits, withdraws or reacts to; the root of its
    /// thread; what it answers; what it withdraws.
    pub fn about(&self) -> impl Iterator<Item = Pos> + use<> {
        let here = |id: &Option<MsgId>| id.filter(|id| id.room == self.room).map(|id| id.pos);
        let (first, second) = match &self.what {
            What::Edited { target, .. } | What::Redacted { target, .. } | What::Reacted { target, .. } => {
                (Some(*target), None)
            }
            What::Withdrawn { target, reaction, .. } => (Some(*target), reaction.as_ref().map(|r| r.target)),
            What::Said(m) => {
                let (thread, reply) = (here(&m.thread), here(&m.reply));
                (thread, reply.filter(|r| thread != Some(*r)))
            }
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The name of one of its pieces, if that is sealed: of a fact, or of itself where it sets none.
    pub fn seal(&self, nth: u8) -> Option<Seal> {
        self.sealed.as_ref()?.name(usize::from(nth))
    }

    /// The account whose membership it changes, if any.
    pub fn subject(&self) -> Option<&User> {
        match &self.what {
            What::Member(m) => Some(&m.user),
            _ => None,
        }
    }
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Actor {
    /// The server itself, or its administrator's tools; bound by no power level.
    #[n(0)]
    Server,
    /// A person.
    #[n(1)]
    User(#[n(0)] User),
}

impl Actor {
    /// The person, if it is one.
    pub fn user(&self) -> Option<&User> {
        match self {
            Actor::Server => None,
            Actor::User(u) => Some(u),
        }
    }

    /// True when it is this account.
    pub fn is(&self, id: AccountId) -> bool {
        self.user().is_some_and(|u| u.id == id)
    }
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum What {
    /// Somebody said something.
    #[n(0)]
    Said(#[n(0)] Box<Message>),
    /// The author replaced an earlier message.
    #[n(1)]
    Edited {
        /// The message replaced.
        #[n(0)]
        target: Pos,
        /// The new content.
        #[n(1)]
        message: Box<Message>,
        /// How its author's client named the message replaced.
        #[n(2)]
        target_client_id: Option<Str>,
    },
    /// A message was withdrawn by its author or a moderator; its content is gone from history.
    #[n(2)]
    Redacted {
        /// The message withdrawn.
        #[n(0)]
        target: Pos,
        /// Why, for people.
        #[n(1)]
        reason: Option<Str>,
        /// Who had written it.
        #[n(2)]
        author: Actor,
        /// How its author's client named it, for protocols that refer to it so.
        #[n(3)]
        target_client_id: Option<Str>,
        /// The wire form of the withdrawal.
        #[n(4)]
        native: Option<Native>,
    },
    /// One reaction was added or taken back.
    #[n(3)]
    Reacted {
        /// The message reacted to.
        #[n(0)]
        target: Pos,
        /// The reaction: an emoji or a short name.
        #[n(1)]
        key: Str,
        /// True: added.
        #[n(2)]
        on: bool,
        /// The reactor's reactions to that message after this change.
        #[n(3)]
        now: Vec<Str>,
        /// The sender's own wire form.
        #[n(4)]
        native: Option<Native>,
        /// How its author's client named the message reacted to.
        #[n(5)]
        target_client_id: Option<Str>,
    },
    /// A membership or power changed.
    #[n(4)]
    Member(#[n(0)] Box<MemberChange>),
    /// The rules changed.
    #[n(5)]
    Policy {
        /// Before.
        #[n(0)]
        before: Box<Policy>,
        /// After.
        #[n(1)]
        after: Box<Policy>,
    },
    /// The topic was set; empty text clears it.
    #[n(6)]
    Topic(#[n(0)] Rich),
    /// Masks were added to or removed from a list.
    #[n(7)]
    Masks {
        /// Added.
        #[n(0)]
        added: Vec<MaskEntry>,
        /// Removed.
        #[n(1)]
        removed: Vec<MaskEntry>,
    },
    /// A named value of the room changed; empty clears it.
    #[n(8)]
    Attr {
        /// Which.
        #[n(0)]
        key: Str,
        /// The new value.
        #[n(1)]
        value: Octets,
    },
    /// The room was made.
    #[n(9)]
    Created(#[n(0)] Option<RoomName>),
    /// The room ends; everybody is out.
    #[n(10)]
    Destroyed {
        /// Why, for people.
        #[n(0)]
        reason: Option<Str>,
        /// Where to go instead.
        #[n(1)]
        instead: Option<Str>,
    },
    /// The room is open from here on; its facts restate what holds. Shown to nobody else.
    #[n(11)]
    Opened,
    /// A fact, or somebody else's reaction, was withdrawn.
    #[n(12)]
    Withdrawn {
        /// The entry that had set or added it.
        #[n(0)]
        target: Pos,
        /// Why, for people.
        #[n(1)]
        reason: Option<Str>,
        /// The wire form of the withdrawal.
        #[n(2)]
        native: Option<Native>,
        /// Which of the entry's facts.
        #[n(3)]
        nth: Option<u8>,
        /// The reaction.
        #[n(4)]
        reaction: Option<Box<Undone>>,
    },
}

/// A reaction that was withdrawn by somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Undone {
    /// Whose it was.
    #[n(0)]
    pub by: Actor,
    /// The message reacted to.
    #[n(1)]
    pub target: Pos,
    /// The reaction.
    #[n(2)]
    pub key: Str,
    /// The reactor's reactions to that message that are left.
    #[n(3)]
    pub now: Vec<Str>,
}

/// Something said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Message {
    /// What everybody can read.
    #[n(0)]
    pub body: Rich,
    /// How it is meant.
    #[n(1)]
    pub kind: Kind,
    /// The message it answers.
    #[n(2)]
    pub reply: Option<MsgId>,
    /// The root of the thread it belongs to.
    #[n(3)]
    pub thread: Option<MsgId>,
    /// How the sender's client named it (origin id, stanza id): edits and receipts refer to it.
    #[n(4)]
    pub client_id: Option<Str>,
    /// The session of the recipient it was addressed to, in a dialog.
    #[n(5)]
    pub to: Option<Label>,
    /// The session that sent it.
    #[n(6)]
    pub from: Option<Label>,
    /// The sender's own wire form.
    #[n(7)]
    pub native: Option<Native>,
    /// True after a redaction: all content is gone.
    #[n(8)]
    pub gone: bool,
    /// What the sender's protocol calls this sort of message, where it has several; stays after a redaction.
    #[n(9)]
    pub sort: Option<Str>,
    /// The file that it is, among the uploads of this server. The text says so too.
    #[n(10)]
    #[cbor(default)]
    pub file: Option<Box<File>>,
    /// How its author's client named the message it answers. Where a client says only this, the room finds `reply`.
    #[n(11)]
    pub reply_client_id: Option<Str>,
    /// In a dialog: its sender wants to know when it has arrived ([`crate::projection::SignalWhat::Arrived`]).
    #[n(12)]
    #[cbor(default)]
    pub wants_arrival: bool,
    /// In a dialog: the room that both are in and in which it was said aside.
    #[n(13)]
    pub aside: Option<Box<Aside>>,
}

/// That something was said aside, to one person of a room.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Aside {
    /// The room.
    #[n(0)]
    pub room: RoomName,
    /// Who says it, as the room calls them.
    #[n(1)]
    pub by: User,
}

/// A file that somebody shows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct File {
    /// Which upload.
    #[n(0)]
    pub id: MediaId,
    /// Its name for people.
    #[n(1)]
    pub name: Str,
    /// Its media type; empty: not known.
    #[n(2)]
    pub kind: Str,
    /// Its length in bytes; zero: not known.
    #[n(3)]
    pub size: u64,
    /// Where everybody who knows the address can get it.
    #[n(4)]
    pub link: Str,
}

/// How a message is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// Said.
    #[n(0)]
    #[default]
    Normal,
    /// Done: `* alice waves`.
    #[n(1)]
    Emote,
    /// Said without wanting an answer, as machines do.
    #[n(2)]
    Notice,
    /// Not readable text: a payload for speakers of the sender's protocol (receipt, marker), kept in
    /// the archive but shown to nobody else.
    #[n(3)]
    Payload,
}

/// The sender's own wire form, bounded and cleaned, for speakers of the same protocol.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Native {
    /// Which protocol: a number that the codecs give out; no meaning here.
    #[n(0)]
    pub protocol: u8,
    /// The bytes. At most `Limits::native`.
    #[n(1)]
    pub bytes: Octets,
}

/// A change of somebody's standing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MemberChange {
    /// Whose.
    #[n(0)]
    pub user: User,
    /// Before.
    #[n(1)]
    pub before: Standing,
    /// After.
    #[n(2)]
    pub after: Standing,
    /// By which act.
    #[n(3)]
    pub how: How,
    /// Why, for people; one line.
    #[n(4)]
    pub reason: Option<Str>,
    /// Display name, shown with a join.
    #[n(5)]
    pub display: Option<Str>,
    /// The room's levels at that moment: roles are derived from them.
    #[n(6)]
    pub levels: Levels,
    /// The wire form, for speakers of the same protocol.
    #[n(7)]
    pub native: Option<Native>,
}

/// The act that changed a standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum How {
    /// Came in.
    #[n(0)]
    Join,
    /// Went out.
    #[n(1)]
    Part,
    /// A guest's session ended.
    #[n(2)]
    Quit,
    /// Was put out.
    #[n(3)]
    Kick,
    /// Was shut out.
    #[n(4)]
    Ban,
    /// May come again.
    #[n(5)]
    Unban,
    /// Was invited.
    #[n(6)]
    Invite,
    /// Said no to an invitation.
    #[n(7)]
    Decline,
    /// Got another power.
    #[n(8)]
    Power,
    /// Asked to be let in.
    #[n(9)]
    Knock,
    /// Goes on under another name (a guest, or another spelling): `before` and `after` are equal,
    /// `reason` holds the old name.
    #[n(10)]
    Rename,
    /// Shows itself otherwise (display name, picture): `before` and `after` are equal.
    #[n(11)]
    Shown,
    /// Goes on under another alias, or under its name alone: `before` and `after` are equal, `reason` holds the old
    /// alias, or the name.
    #[n(12)]
    Alias,
}

/// Something of the moment in a room: shown to who is there, never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The room.
    pub room: RoomId,
    /// Equal for the same happening in several rooms: a session may show it once. Zero: always show.
    pub same: u64,
    /// Whose request it answers.
    pub origin: Option<Origin>,
    /// Who.
    pub by: User,
    /// What.
    pub what: LiveWhat,
    /// Only for these; `None`: for all that are there.
    pub only: Option<Arc<[AccountId]>>,
}

/// What a live signal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveWhat {
    /// A member's sessions are there, with this presence; the first time, or changed.
    Here {
        /// The best of its sessions.
        presence: Presence,
        /// The presence shown before; `None`: was not there.
        before: Option<Presence>,
        /// Its standing.
        standing: Standing,
        /// The room's levels.
        levels: Levels,
    },
    /// A member's last session went; the membership stays.
    Gone {
        /// Its standing.
        standing: Standing,
        /// The room's levels.
        levels: Levels,
        /// What its sessions said last; [`crate::presence::Show::Offline`]: as they went.
        presence: Presence,
    },
    /// Began or stopped typing.
    Typing(bool),
    /// A display name changed.
    Display(Str),
    /// Public values of the account changed; empty ones are gone.
    Attrs(Vec<(Str, Octets)>),
    /// A payload for speakers of the same protocol.
    Signal(Native),
    /// Has read up to there.
    Read {
        /// Up to where.
        to: ReadTo,
        /// How many belong to the room.
        members: u32,
    },
}

/// An entry that several hold, as a part of what is stored.
pub(crate) mod shared {
    use super::Event;
    use alloc::sync::Arc;
    use minicbor::{
        Decode, Decoder, Encode, Encoder,
        decode::Error,
        encode::{self as out, Write},
    };

    pub(crate) fn encode<C, W: Write>(
        event: &Arc<Event>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), out::Error<W::Error>> {
        Encode::encode(&**event, e, ctx)
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Arc<Event>, Error> {
        Event::decode(d, ctx).map(Arc::new)
    }
}
