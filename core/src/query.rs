//! Questions, which change nothing, and all answers.

use crate::{
    chat::account::Account,
    event::{Event, What},
    ids::{AccountId, Label, MsgId, Pos, RoomId},
    media::{Media, MediaId},
    name::{NameKey, RoomName, User},
    policy::{MaskEntry, Member, Policy},
    presence::{Gone, Presence},
    refusal::Refusal,
    row::{AccountHead, Invite, RoomHead},
    seal::{Piece, Seal},
    text::{Octets, Rich, Str},
    time::UnixMillis,
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

/// A question. Who asks is known from the session; `reader` is checked where it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// What does the name stand for? → [`Value::Id`], or `NoSuchUser`, `NoSuchRoom`; for an invitation that is
    /// good [`Value::Invite`], else `BadInvite`.
    Resolve(NameKey),
    /// The account of that name. → [`Value::Account`].
    AccountNamed(crate::name::UserName),
    /// An account. → [`Value::Account`].
    Account(AccountId),
    /// Sessions and presence of an account of that name, guests included. → [`Value::Whois`].
    Whois(crate::name::UserName),
    /// The same for an account that is known.
    WhoisOf(User),
    /// Who was there under that name and is gone, the latest first; kept while there is room.
    /// → [`Value::Gone`].
    Gone(crate::name::UserName),
    /// The room of that name. → [`Value::Room`].
    RoomNamed(RoomName),
    /// A room. → [`Value::Room`].
    Room(RoomId),
    /// The rooms an account belongs to or is invited to. → [`Value::Memberships`].
    Memberships(AccountId),
    /// The rooms an account left or was banned from, as far as that is kept. → [`Value::Memberships`].
    Formerly(AccountId),
    /// Big named values of an account (its own sessions). → [`Value::Shelf`].
    Shelf {
        /// Whose.
        account: AccountId,
        /// What the names begin with.
        prefix: Str,
        /// Names after this one.
        after: Option<Str>,
        /// At most so many.
        limit: u32,
    },
    /// Letters of an account under a label (its own sessions). → [`Value::Letters`].
    Letters {
        /// Whose.
        account: AccountId,
        /// Under which label.
        label: Label,
        /// After this position.
        after: Pos,
        /// At most so many.
        limit: u32,
    },
    /// The latest entry of each dialog of an account, newest first. → [`Value::Dialogs`].
    Dialogs {
        /// Whose.
        account: AccountId,
        /// Dialogs whose last entry is later than this.
        after: UnixMillis,
        /// And earlier than this.
        before: UnixMillis,
        /// At most so many.
        limit: u32,
    },
    /// A stretch of a room's log, as far as the reader may see it. → [`Value::Events`].
    History {
        /// The room or dialog.
        room: RoomId,
        /// Who reads.
        reader: AccountId,
        /// Which stretch.
        range: Range,
    },
    /// The entries of a room's log that are about one of these entries ([`Event::about`]), as far as the
    /// reader may see them; of more than `limit` the newest or the oldest. → [`Value::Events`].
    Related {
        /// The room or dialog.
        room: RoomId,
        /// Who reads.
        reader: AccountId,
        /// About which entries.
        targets: Vec<Pos>,
        /// After this.
        after: Pos,
        /// Before this.
        before: Pos,
        /// True: the newest of them. The answer is in rising order either way.
        newest: bool,
        /// At most so many.
        limit: u32,
    },
    /// A stretch of a room's log, for one who knows otherwise that it may be read (who may read a fact may read where
    /// it was set). → [`Value::Events`].
    Entries {
        /// The room or dialog.
        room: RoomId,
        /// Which stretch.
        range: Range,
    },
    /// Which piece of an entry has this name, in whatever room; whether it may be read is asked with the entry.
    /// → [`Value::Piece`], or `NoSuchItem`.
    Sealed(Seal),
    /// A stretch of an account's feed: its dialogs in the order of arrival. → [`Value::Feed`].
    Feed {
        /// Whose.
        account: AccountId,
        /// Only this dialog.
        with: Option<RoomId>,
        /// Which stretch.
        range: Range,
    },
    /// Rooms in the public list, by name. → [`Value::Directory`].
    Directory {
        /// Names after this one.
        after: Option<RoomName>,
        /// At most so many.
        limit: u32,
        /// True: secret ones too (administrators).
        secret: bool,
    },
    /// Rooms without a name that are no secret, in the order of their ids. → [`Value::Directory`].
    Nameless {
        /// Ids after this one.
        after: Option<RoomId>,
        /// At most so many.
        limit: u32,
    },
    /// Accounts by name (administrators). → [`Value::Accounts`].
    Accounts {
        /// Names after this one.
        after: Option<Str>,
        /// At most so many.
        limit: u32,
    },
    /// An upload, whoever's. → [`Value::Media`], or `NoSuchItem`.
    Media(MediaId),
    /// Uploads of an account by name. → [`Value::MediaOf`].
    MediaOf {
        /// Whose.
        account: AccountId,
        /// Names after this one.
        after: Option<MediaId>,
        /// At most so many.
        limit: u32,
    },
    /// Counts over the whole server. → [`Value::Counts`].
    Counts,
    /// Write a consistent copy of the store to this path (administrators). → [`Value::Done`].
    Backup(Str),
}

/// A stretch of a log or feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Entries after this.
    pub after: Bound,
    /// Entries before this.
    pub before: Bound,
    /// True: the newest of them; false: the oldest. The answer is in rising order either way.
    pub newest: bool,
    /// At most so many; zero asks for the count alone.
    pub limit: u32,
    /// True: how many there are in all is wanted too.
    pub count: bool,
    /// Which entries.
    pub only: Only,
    /// Only those by this person.
    pub by: Option<AccountId>,
}

impl Range {
    /// The latest `limit` messages.
    pub fn latest(limit: u32) -> Range {
        Range {
            after: Bound::Open,
            before: Bound::Open,
            newest: true,
            limit,
            count: false,
            only: Only::Said,
            by: None,
        }
    }
}

/// An end of a stretch, itself not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// No end.
    Open,
    /// This position of the room (in a feed: of the feed).
    Pos(Pos),
    /// This message; must exist, else `NoSuchItem`.
    Msg(MsgId),
    /// This time.
    Time(UnixMillis),
    /// This message itself belongs to the stretch.
    From(MsgId),
}

/// Which entries of a log are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// Messages with their edits, redactions and reactions.
    #[default]
    Said,
    /// What has words: messages, and their edits with the new words. Who is shown nothing else learns so that a
    /// message says something else now.
    Messages,
    /// Everything.
    All,
}

impl Only {
    /// Whether such an entry is wanted.
    pub fn takes(self, what: &What) -> bool {
        match what {
            What::Said(_) | What::Edited { .. } => true,
            What::Redacted { .. } | What::Reacted { .. } | What::Withdrawn { .. } => self != Only::Messages,
            _ => self == Only::All,
        }
    }
}

/// An answer to a command or question.
pub type Reply = Result<Value, Refusal>;

/// A good answer.
#[derive(Clone, Debug)]
pub enum Value {
    /// Done; nothing to say.
    Done,
    /// Done before: this is where (a repeated message, a join of a member).
    Already(MsgId),
    /// An entry was made; it could not be shown to the session as an event (not attached).
    Event(Arc<Event>),
    /// What a name stands for.
    Id(u64),
    /// An invitation.
    Invite(Arc<Invite>),
    /// The account made or found.
    User(User),
    /// An account.
    Account(Arc<Account>),
    /// Who somebody is and where.
    Whois(Arc<Whois>),
    /// Who was there.
    Gone(Arc<Vec<Gone>>),
    /// A room.
    Room(Arc<RoomView>),
    /// Rooms of an account.
    Memberships(Arc<Vec<Belonging>>),
    /// Dialogs: the other party and the last entry.
    Dialogs(Arc<Vec<(User, Arc<Event>)>>),
    /// Entries of a room, in rising order.
    Events(Arc<Stretch<Arc<Event>>>),
    /// Entries of a feed: position in the feed and entry, in rising order.
    Feed(Arc<Stretch<(Pos, Arc<Event>)>>),
    /// Rooms.
    Directory(Arc<Vec<Listed>>),
    /// A piece of an entry.
    Piece(Piece),
    /// A named value.
    Attr(Str, Octets),
    /// Big named values, by name.
    Shelf(Arc<Vec<(Str, Octets)>>),
    /// Letters, in order.
    Letters(Arc<Vec<(Pos, Octets)>>),
    /// Accounts.
    Accounts(Arc<Vec<(AccountId, AccountHead)>>),
    /// An upload.
    Media(Arc<Media>),
    /// Uploads.
    MediaOf(Arc<Vec<Media>>),
    /// Counts.
    Counts(Counts),
}

/// A stretch read.
#[derive(Clone, Debug, Default)]
pub struct Stretch<T> {
    /// In rising order.
    pub entries: Vec<T>,
    /// True: beyond the far end (older if the newest were asked for) there are more in the range.
    pub more: bool,
    /// How many the range has in all, if asked.
    pub total: Option<u64>,
}

/// A room as a session sees it at one moment.
#[derive(Clone, Debug)]
pub struct RoomView {
    /// Which.
    pub id: RoomId,
    /// Name, rules, maker.
    pub head: RoomHead,
    /// The two parties of a dialog.
    pub parties: Option<(User, User)>,
    /// The topic, who set it, when.
    pub topic: Option<TopicSet>,
    /// Everybody with a row: members, invited, banned.
    pub members: Members,
    /// Who of them is there, with presence.
    pub here: BTreeMap<AccountId, Presence>,
    /// The lists of masks.
    pub masks: Vec<MaskEntry>,
    /// Named values.
    pub attrs: BTreeMap<Str, Octets>,
    /// Facts, of an open room, by kind and key.
    pub facts: Facts,
    /// The last position.
    pub last: Pos,
    /// The last entry time.
    pub last_at: UnixMillis,
}

/// The rows of a room's people; shared, not copied.
pub type Members = Arc<BTreeMap<AccountId, Member>>;

/// The facts of an open room, by kind and key; shared, not copied.
pub type Facts = Arc<BTreeMap<(Str, Str), Arc<crate::row::FactRow>>>;

impl RoomView {
    /// The rules.
    pub fn policy(&self) -> &Policy {
        &self.head.policy
    }

    /// Who may read which entry: [`crate::chat::room::readable`].
    pub fn readable(&self, reader: AccountId) -> Option<crate::chat::room::Readable> {
        crate::chat::room::readable(&self.head, self.members.get(&reader), reader)
    }

    /// How many belong.
    pub fn joined(&self) -> usize {
        self.members.values().filter(|m| m.standing.membership == crate::policy::Membership::Joined).count()
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct TopicSet {
    /// The words.
    #[n(0)]
    pub text: Rich,
    /// Who set it.
    #[n(1)]
    pub by: Str,
    /// When.
    #[n(2)]
    pub at: UnixMillis,
    /// With which entry.
    #[n(3)]
    pub pos: Pos,
    /// What its setter was called in the room, if not by the name.
    #[n(4)]
    pub alias: Option<Str>,
}

/// A room somebody belongs to, or is invited to.
#[derive(Clone, Debug)]
pub struct Belonging {
    /// The room.
    pub room: RoomId,
    /// Name, rules.
    pub head: RoomHead,
    /// The row.
    pub member: Member,
    /// The shard's position at the moment of reading: attach from here.
    pub upto: Pos,
}

/// A room in the list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The room.
    pub room: RoomId,
    /// Name, rules.
    pub head: RoomHead,
    /// The topic.
    pub topic: Option<TopicSet>,
    /// How many belong.
    pub members: u32,
}

/// Who somebody is and where.
#[derive(Clone, Debug)]
pub struct Whois {
    /// Who.
    pub user: User,
    /// True: an administrator.
    pub admin: bool,
    /// Sessions that are there, with presence, display name and times.
    pub sessions: Vec<SessionView>,
    /// Rooms in memory only that these are attached to: no index has them.
    pub rooms: Vec<RoomId>,
}

/// A session as others may see it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Its name within the account.
    pub label: Label,
    /// How reachable.
    pub presence: Presence,
    /// When it logged in.
    pub since: UnixMillis,
    /// When it last did something.
    pub active: UnixMillis,
    /// Display name.
    pub display: Str,
    /// True: TLS.
    pub secure: bool,
}

/// Counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions logged in or guests.
    pub sessions: u64,
    /// Those of them that are hidden.
    pub hidden: u64,
    /// Those that act with an administrator's rights.
    pub admins: u64,
    /// Connections not logged in.
    pub unknown: u64,
    /// Most sessions at once since the start.
    pub max_sessions: u64,
    /// Accounts.
    pub accounts: u64,
    /// Rooms.
    pub rooms: u64,
}
