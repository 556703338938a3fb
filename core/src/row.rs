//! What is stored, and how it is read: the contract between the core and any store.
//!
//! A store keeps these rows, applies each batch of changes all or none, in the order given, and
//! answers reads from a state that contains every batch confirmed before the read was asked.

use crate::{
    command::Command,
    event::{Actor, Event, Fact, FactRef},
    ids::{AccountId, FetchId, Label, Pos, RoomId, ShardId},
    media::{Held, Media, MediaId},
    name::{NameKey, RoomName, User, UserName},
    policy::{MaskEntry, Member, Policy, Visibility},
    presence::Contact,
    query::{Belonging, Bound, Listed, Range, Stretch, TopicSet},
    refusal::Refusal,
    seal::{Piece, Seal},
    text::{Octets, Str},
    time::UnixMillis,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use minicbor::{Decode, Encode};

/// A change of one row. A batch of them is stored all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// What a name stands for; `None`: free.
    Name(NameKey, Option<NameRow>),
    /// The head of an account; `None`: erase the account with all its rows. With the head of a deleted
    /// one go its big values and letters.
    Account(AccountId, Option<AccountHead>),
    /// A named value of an account; empty: none.
    AccountAttr(AccountId, Str, Octets),
    /// A contact; `None`: no more.
    Contact(AccountId, Str, Option<Contact>),
    /// An entry of an account's feed. The store ignores it if that account's feed has that message.
    Feed {
        /// Whose feed.
        account: AccountId,
        /// Position in the feed.
        pos: Pos,
        /// The dialog.
        room: RoomId,
        /// The entry of the dialog.
        entry: Pos,
        /// The entry's time.
        at: UnixMillis,
    },
    /// The last entry seen.
    Read(AccountId, RoomId, ReadMark),
    /// An upload; `None`: no more.
    Media(MediaId, Option<Media>),
    /// The head of a room; `None`: erase the room with members, values and log.
    Room(RoomId, Option<RoomHead>),
    /// The topic of a room.
    Topic(RoomId, Option<TopicSet>),
    /// The mask lists of a room.
    Masks(RoomId, Vec<MaskEntry>),
    /// A row of a member; `None`: no more.
    Member(RoomId, AccountId, Option<Member>),
    /// A named value of a room; empty: none.
    RoomAttr(RoomId, Str, Octets),
    /// A fact of an open room, as it holds now.
    Fact(RoomId, FactRow),
    /// A big named value of an account, which is not kept in memory with it; empty: none.
    Shelf(AccountId, Str, Octets),
    /// A letter for the sessions of an account under a label; the position orders them.
    Letter(AccountId, Label, Pos, Octets),
    /// The letters of an account under a label, up to and including this one, are taken out.
    Collected(AccountId, Label, Pos),
    /// A new entry of a room's log; its position is above all of the room's.
    Event(Arc<Event>),
    /// The content of an entry is replaced (redaction); position and time stay.
    Rewrite(Arc<Event>),
    /// The next free position of a shard.
    Head(ShardId, Pos),
    /// A command that follows from the entry at `Pos`, number n of it, and is not carried out yet.
    Follow(ShardId, Pos, u16, Box<Command>),
    /// All follow-ups up to and including this position are carried out.
    Followed(ShardId, Pos),
}

/// How far an account has read in a room or dialog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadMark {
    /// The last entry seen; zero: none.
    pub pos: Pos,
    /// The time the reader's client named, at or after that entry's; zero: it named none.
    pub at: UnixMillis,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NameRow {
    /// Account or room id; for an invitation unused.
    #[n(0)]
    pub id: u64,
    /// True: nobody can take or use it any more.
    #[n(1)]
    pub locked: bool,
    /// An invitation's state.
    #[n(2)]
    pub invite: Option<Invite>,
}

/// An invitation to make accounts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Invite {
    /// Uses left.
    #[n(0)]
    pub uses: u32,
    /// True: makes administrators.
    #[n(1)]
    pub admin: bool,
    /// When it ends; zero: never.
    #[n(2)]
    pub until: u64,
    /// The names it was used for.
    #[n(3)]
    pub used: Vec<UserName>,
    /// Whose contact one becomes by it.
    #[n(4)]
    #[cbor(default)]
    pub by: Option<User>,
    /// True: it makes contacts only, no accounts.
    #[n(5)]
    #[cbor(default)]
    pub contact_only: bool,
}

/// The head of an account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AccountHead {
    /// Its name in the owner's spelling.
    #[n(0)]
    pub name: UserName,
    /// The encoded credential; the codecs know the form.
    #[n(1)]
    pub credential: Octets,
    /// True: an administrator.
    #[n(2)]
    pub admin: bool,
    /// True: cannot log in.
    #[n(3)]
    pub disabled: bool,
    /// True: deleted; the name stays taken.
    #[n(4)]
    pub deleted: bool,
    /// When it was made.
    #[n(5)]
    pub created: UnixMillis,
    /// Blocked addresses.
    #[n(6)]
    pub blocked: Vec<Str>,
    /// The entry that changed the contact list last: the list's version.
    #[n(7)]
    #[cbor(default)]
    pub listed: Pos,
}

/// The head of a room.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RoomHead {
    /// Its name; a dialog and some groups have none.
    #[n(0)]
    pub name: Option<RoomName>,
    /// Its rules.
    #[n(1)]
    pub policy: Policy,
    /// When it was made.
    #[n(2)]
    pub created: UnixMillis,
    /// The two parties, if it is a dialog.
    #[n(3)]
    pub parties: Option<(User, User)>,
    /// True: ended.
    #[n(4)]
    pub destroyed: bool,
    /// In a room that is open to a protocol whose rooms are made of facts: how, as that protocol says.
    #[n(5)]
    pub open: Option<Octets>,
    /// What that protocol calls the room, where its entries are sealed.
    #[n(6)]
    #[cbor(default)]
    pub known: Option<Str>,
    /// Who could not read its older entries when they were made.
    #[n(7)]
    #[cbor(default)]
    pub closed: Closed,
}

/// Up to which entry a room's history was closed to whom: what was said under a rule stays under it, whatever the rule
/// is later. Zero: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Closed {
    /// Read only by who had joined before.
    #[n(0)]
    pub joined: Pos,
    /// Read only by who was invited before, or had joined.
    #[n(1)]
    pub invited: Pos,
    /// Read by members only.
    #[n(2)]
    pub shared: Pos,
}

impl Closed {
    /// Up to that entry it was read by that rule.
    pub fn note(&mut self, rule: Visibility, upto: Pos) {
        match rule {
            Visibility::Joined => self.joined = upto,
            Visibility::Invited => self.invited = upto,
            Visibility::Shared => self.shared = upto,
            Visibility::World => {}
        }
    }
}

/// A fact as it holds now.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct FactRow {
    /// The fact.
    #[n(0)]
    pub fact: Fact,
    /// Where it was set.
    #[n(1)]
    pub at: FactRef,
    /// When.
    #[n(2)]
    pub time: UnixMillis,
    /// Who stated it.
    #[n(3)]
    pub by: Actor,
    /// Its name, if it is sealed.
    #[n(4)]
    #[cbor(default)]
    pub seal: Option<Seal>,
    /// If it is not, where others are: the last of the same kind and key that is.
    #[n(5)]
    #[cbor(default)]
    pub under: Option<Box<FactRow>>,
}

impl FactRow {
    /// A fact of an entry, as it was set.
    pub fn of(event: &Event, nth: u8) -> Option<FactRow> {
        let fact = event.facts.get(usize::from(nth))?.clone();
        let by = fact.by.clone().unwrap_or_else(|| event.by.clone());
        let at = FactRef { pos: event.pos, nth };
        Some(FactRow { fact, at, time: event.at, by, seal: event.seal(nth), under: None })
    }

    /// The last of the kind and key that is sealed, if any is.
    pub fn sealed(&self) -> Option<&FactRow> {
        match self.seal {
            Some(_) => Some(self),
            None => self.under.as_deref(),
        }
    }
}

/// A read. What is bounded says so itself; the rest is as large as the entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// At a start: where these shards are. → [`Page::Heads`].
    Heads(Vec<ShardId>),
    /// A name. → [`Page::Name`].
    Name(NameKey),
    /// An account with its rows. → [`Page::Account`].
    Account(AccountId),
    /// A room with its rows and its latest entries (so many). → [`Page::Room`].
    Room(RoomId, u32),
    /// A stretch of a room's log, above `floor` and up to `last`. → [`Page::Events`].
    History {
        /// The room.
        room: RoomId,
        /// Nothing at or below this is shown.
        floor: Pos,
        /// Nothing above this is shown.
        last: Pos,
        /// Which stretch.
        range: Range,
    },
    /// The entries of a room's log, above `floor` and up to `last`, that are about one of these entries
    /// ([`Event::about`]); those whose content is gone need not be among them. → [`Page::Events`].
    Related {
        /// The room.
        room: RoomId,
        /// Nothing at or below this is shown.
        floor: Pos,
        /// Nothing above this is shown.
        last: Pos,
        /// About which entries.
        targets: Vec<Pos>,
        /// Of more than `limit`: true, the newest; false, the oldest.
        newest: bool,
        /// At most so many.
        limit: u32,
    },
    /// The piece of an entry that has this name, in whatever room. → [`Page::Sealed`].
    Sealed(Seal),
    /// A stretch of a feed. → [`Page::Feed`].
    Feed {
        /// Whose.
        account: AccountId,
        /// Only this dialog.
        with: Option<RoomId>,
        /// Which stretch.
        range: Range,
    },
    /// Rooms with a row of this account (left and banned ones excepted). → [`Page::Memberships`].
    Memberships(AccountId),
    /// Rooms that this account left or was banned from, as far as their rows are kept. → [`Page::Memberships`].
    Formerly(AccountId),
    /// Big named values of an account whose names begin so and come after this one, by name, at most so
    /// many. → [`Page::Shelf`].
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
    /// Letters of an account under a label, after this position, in order. → [`Page::Letters`].
    Letters {
        /// Whose.
        account: AccountId,
        /// Under which label.
        label: Label,
        /// After this one.
        after: Pos,
        /// At most so many.
        limit: u32,
    },
    /// The dialogs of an account whose last entry lies between the times, newest first. → [`Page::Dialogs`].
    Dialogs {
        /// Whose.
        account: AccountId,
        /// Later than this.
        after: UnixMillis,
        /// Earlier than this.
        before: UnixMillis,
        /// At most so many.
        limit: u32,
    },
    /// Rooms with names after this one, by name, dialogs and ended ones excepted. → [`Page::Directory`].
    Directory {
        /// Names after this one.
        after: Option<RoomName>,
        /// At most so many.
        limit: u32,
        /// True: secret ones too.
        secret: bool,
    },
    /// Rooms without a name that are neither dialogs nor secret nor ended, by id. → [`Page::Directory`].
    Nameless {
        /// Ids after this one.
        after: Option<RoomId>,
        /// At most so many.
        limit: u32,
    },
    /// Accounts with folded names after this one, by name. → [`Page::Accounts`].
    Accounts {
        /// Names after this one.
        after: Option<Str>,
        /// At most so many.
        limit: u32,
    },
    /// An upload. → [`Page::Media`].
    Media(MediaId),
    /// The uploads of an account with names after this one, by name. → [`Page::MediaOf`].
    MediaOf {
        /// Whose.
        account: AccountId,
        /// Names after this one.
        after: Option<MediaId>,
        /// At most so many.
        limit: u32,
    },
    /// How many accounts and rooms there are. → [`Page::Counts`].
    Counts,
    /// Write a consistent copy to this path. → [`Page::Done`].
    Backup(Str),
}

/// What a read found. `Failed` can answer any of them.
#[derive(Clone, Debug)]
pub enum Page {
    /// Shards.
    Heads(Vec<ShardHead>),
    /// A name.
    Name(Option<NameRow>),
    /// An account.
    Account(Option<Box<AccountRows>>),
    /// A room.
    Room(Option<Box<RoomRows>>),
    /// Entries.
    Events(Stretch<Arc<Event>>),
    /// A piece of an entry.
    Sealed(Option<Piece>),
    /// Feed entries.
    Feed(Stretch<(Pos, Arc<Event>)>),
    /// Rooms of an account; `upto` of each is the position of its shard's head minus one.
    Memberships(Vec<Belonging>),
    /// Dialogs: the other party, the last entry.
    Dialogs(Vec<(User, Arc<Event>)>),
    /// Rooms.
    Directory(Vec<Listed>),
    /// Big named values.
    Shelf(Vec<(Str, Octets)>),
    /// Letters.
    Letters(Vec<(Pos, Octets)>),
    /// Accounts.
    Accounts(Vec<(AccountId, AccountHead)>),
    /// An upload.
    Media(Option<Box<Media>>),
    /// Uploads.
    MediaOf(Vec<Media>),
    /// Accounts and rooms.
    Counts {
        /// Accounts, deleted ones excepted.
        accounts: u64,
        /// Rooms with a name.
        rooms: u64,
    },
    /// Done.
    Done,
    /// A bound names a message that is not there.
    NoSuchItem,
    /// It could not be read; why, in the refusal's words.
    Failed(Refusal),
}

/// Where a shard is.
#[derive(Clone, Debug)]
pub struct ShardHead {
    /// Which.
    pub shard: ShardId,
    /// Its next free position, at least one.
    pub next: Pos,
    /// All follow-ups up to here are carried out.
    pub followed: Pos,
    /// Those stored and not known to be carried out, in order.
    pub follows: Vec<(Pos, u16, Command)>,
    /// The dialogs' entries after `followed`, in order: their follow-ups are derived from them.
    pub events: Vec<Arc<Event>>,
}

/// An account with its rows.
#[derive(Clone, Debug)]
pub struct AccountRows {
    /// The head.
    pub head: AccountHead,
    /// Named values.
    pub attrs: Vec<(Str, Octets)>,
    /// Contacts.
    pub contacts: Vec<Contact>,
    /// The last entries seen, by room.
    pub read: Vec<(RoomId, ReadMark)>,
    /// The latest messages of the feed (64), oldest first.
    pub fed: Vec<(RoomId, Pos)>,
    /// The letters that wait: label and position, in that order.
    pub letters: Vec<(Label, Pos)>,
    /// Uploads, by name.
    pub media: Vec<(MediaId, Held)>,
}

/// A room with its rows.
#[derive(Clone, Debug)]
pub struct RoomRows {
    /// The head.
    pub head: RoomHead,
    /// The topic.
    pub topic: Option<TopicSet>,
    /// The mask lists.
    pub masks: Vec<MaskEntry>,
    /// All rows of members.
    pub members: Vec<Member>,
    /// Named values.
    pub attrs: Vec<(Str, Octets)>,
    /// Facts, of an open room.
    pub facts: Vec<FactRow>,
    /// The latest entries, in rising order.
    pub tail: Vec<Arc<Event>>,
}

/// Encodes a row, head, member or event.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(value, &mut out);
    out
}

/// The same behind what is there.
pub fn encode_into<T: Encode<()>>(value: &T, out: &mut Vec<u8>) {
    let before = out.len();
    // Writing into a vector cannot fail, and no implementation here fails by itself.
    if minicbor::encode(value, &mut *out).is_err() {
        out.truncate(before);
    }
}

/// Decodes what [`encode`] made; `None` if it is anything else.
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Option<T> {
    let mut d = minicbor::Decoder::new(bytes);
    let value = d.decode().ok()?;
    (d.position() == bytes.len()).then_some(value)
}

/// A read that has been asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its name.
    pub id: FetchId,
    /// What.
    pub read: Read,
}

impl Bound {
    /// True when the bound needs a look-up by message.
    pub fn is_message(&self) -> bool {
        matches!(self, Bound::Msg(_) | Bound::From(_))
    }
}
