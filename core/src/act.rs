//! What can be wanted of an entity.

use crate::{
    command::{Join, Withdraw},
    event::{Message, Native},
    ids::{AccountId, Label, Pos, RoomId},
    media::{Content, MediaId},
    name::{Alias, User, UserName},
    policy::{MaskEntry, MaskKind, Policy, Power, ReadTo, Shown},
    text::{Octets, Rich, Str},
    time::UnixMillis,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use minicbor::{Decode, Encode};

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Act {
    // --- names ---
    /// To a name: find what it stands for and pass `then` on to that entity, which answers. If the
    /// name is free and `claim` is given, it is taken for that id first.
    #[n(0)]
    Route {
        /// The id proposed (an account's for a user name, else a room's).
        #[n(0)]
        claim: Option<u64>,
        /// What is wanted of the entity found.
        #[n(1)]
        then: Box<Act>,
    },
    /// To a name: take it. Answers `Value::Id` with the id it stands for now, whoever won.
    #[n(1)]
    Claim {
        /// The id proposed.
        #[n(0)]
        id: u64,
    },
    /// To a name: give it back, if it stands for `id`.
    #[n(2)]
    Release {
        /// The id it must stand for.
        #[n(0)]
        id: u64,
        /// True: nobody may take it again.
        #[n(1)]
        lock: bool,
    },
    /// To an invitation's name: make it.
    #[n(3)]
    MintInvite {
        /// How many accounts it can make.
        #[n(0)]
        uses: u32,
        /// True: the accounts are administrators.
        #[n(1)]
        admin: bool,
        /// When it ends, in Unix milliseconds; zero: never.
        #[n(2)]
        until: u64,
        /// Whose contact one becomes by it.
        #[n(3)]
        by: Option<User>,
        /// True: it makes contacts only, no accounts.
        #[n(4)]
        contact_only: bool,
    },
    /// To an invitation's name: use it up for the account `name`, whose registration goes on from
    /// there and answers `Value::User`.
    #[n(4)]
    RedeemInvite {
        /// The account's name.
        #[n(0)]
        name: UserName,
        /// The id proposed.
        #[n(1)]
        id: AccountId,
        /// Its encoded credential.
        #[n(2)]
        credential: Octets,
        /// Now, in Unix milliseconds.
        #[n(3)]
        now: u64,
    },
    /// To an invitation's name: the registration failed; the use comes back.
    #[n(5)]
    RestoreInvite {
        /// For whom it had been used.
        #[n(0)]
        name: UserName,
    },
    /// To an invitation's name: use it up for an account that is there. Answers `Value::User`, whose contact it becomes.
    #[n(7)]
    UseInvite {
        /// The account's name.
        #[n(0)]
        name: UserName,
        /// Now, in Unix milliseconds.
        #[n(1)]
        now: u64,
    },
    /// To a user name: take it and make the account. Answers `Value::User`.
    #[n(6)]
    Register {
        /// The id proposed.
        #[n(0)]
        id: AccountId,
        /// The name as spelled.
        #[n(1)]
        name: UserName,
        /// The encoded credential.
        #[n(2)]
        credential: Octets,
        /// True: an administrator.
        #[n(3)]
        admin: bool,
        /// The invitation to give back if the name is taken.
        #[n(4)]
        invite: Option<Str>,
    },

    // --- accounts ---
    /// To an account: come into being (sent by `Register`).
    #[n(10)]
    CreateAccount {
        /// The name.
        #[n(0)]
        name: UserName,
        /// The encoded credential.
        #[n(1)]
        credential: Octets,
        /// True: an administrator.
        #[n(2)]
        admin: bool,
    },
    /// To an account: another credential. Its other sessions are told and end where their protocol says so.
    #[n(11)]
    SetCredential(#[n(0)] Octets),
    /// To an account: may log in, or not (then all its sessions end).
    #[n(12)]
    SetDisabled(#[n(0)] bool),
    /// To an account: administrator, or not.
    #[n(13)]
    SetAdmin(#[n(0)] bool),
    /// To an account: be no more. Its name stays taken; it leaves all rooms.
    #[n(14)]
    DeleteAccount,
    /// To an account: another spelling of its name (letter case only), passed on to its rooms.
    #[n(15)]
    Respell(#[n(0)] UserName),
    /// To an account, from itself: tell its rooms what it is called now, or that it is gone. Carried out when all of
    /// them have stored it.
    #[n(63)]
    Sweep {
        /// True: it leaves them.
        #[n(0)]
        gone: bool,
    },
    /// To an account: set named values, all or none; an empty value removes.
    #[n(16)]
    SetAttrs {
        /// Keys and values. Keys begin with the protocol's own prefix.
        #[n(0)]
        values: Vec<(Str, Octets)>,
        /// Who is told at once.
        #[n(1)]
        tell: Audience,
        /// The notification's wire form, for speakers of the same protocol.
        #[n(2)]
        native: Option<Native>,
    },
    /// To an account: put somebody on the contact list, or change name and groups.
    #[n(17)]
    SetContact {
        /// Who.
        #[n(0)]
        address: Str,
        /// The account, when it is one of ours.
        #[n(1)]
        account: Option<AccountId>,
        /// The owner's name for them.
        #[n(2)]
        name: Option<Str>,
        /// The owner's groups.
        #[n(3)]
        groups: Vec<Str>,
    },
    /// To an account: take somebody off the list; both subscriptions end.
    #[n(18)]
    RemoveContact {
        /// Who.
        #[n(0)]
        address: Str,
    },
    /// To an account, by its owner: a step of the presence subscription with a contact.
    #[n(19)]
    Subscription {
        /// With whom.
        #[n(0)]
        address: Str,
        /// The account, when it is one of ours.
        #[n(1)]
        account: Option<AccountId>,
        /// Which step.
        #[n(2)]
        step: Step,
        /// The wire form, for speakers of the same protocol.
        #[n(3)]
        native: Option<Native>,
    },
    /// To an account: a step that a contact took (sent by the contact's account).
    #[n(20)]
    SubscriptionFrom {
        /// Who took it.
        #[n(0)]
        from: User,
        /// Which step.
        #[n(1)]
        step: Step,
        /// The wire form.
        #[n(2)]
        native: Option<Native>,
    },
    /// To an account, by the server: somebody is welcome as its contact. He may see its presence, and is asked for his.
    #[n(28)]
    Befriend {
        /// Who.
        #[n(0)]
        with: User,
    },
    /// To an account: hide these addresses from it and it from them.
    #[n(21)]
    SetBlocked {
        /// To add.
        #[n(0)]
        add: Vec<Str>,
        /// To remove; with `all` everything.
        #[n(1)]
        remove: Vec<Str>,
        /// True: remove all first.
        #[n(2)]
        all: bool,
    },
    /// To an account: a dialog has a new entry (sent by the dialog).
    #[n(22)]
    Feed {
        /// The dialog.
        #[n(0)]
        room: RoomId,
        /// The entry.
        #[cbor(n(1), with = "crate::event::shared")]
        event: Arc<crate::event::Event>,
        /// The other party.
        #[n(2)]
        with: User,
    },
    /// To an account: the dialog's entries up to here were seen by a person.
    #[n(23)]
    MarkRead {
        /// The room or dialog.
        #[n(0)]
        room: RoomId,
        /// The last entry seen; zero: none.
        #[n(1)]
        pos: Pos,
        /// The time the reader's client named; zero: none.
        #[n(2)]
        at: UnixMillis,
    },

    /// To an account: set big named values, which are not kept in memory; an empty value removes. Their
    /// number is the writer's to limit; each is at most `Limits::native` long.
    #[n(24)]
    Shelve {
        /// Names and values.
        #[n(0)]
        values: Vec<(Str, Octets)>,
    },
    /// To an account, by anybody it does not hide from: take out the first named value whose name begins
    /// so. Answers [`crate::query::Value::Attr`], or `NoSuchItem`. What may be taken so is the caller's to say.
    #[n(25)]
    TakeAttr {
        /// What its name begins with.
        #[n(0)]
        prefix: Str,
    },
    /// To an account, by anybody it does not hide from: a letter for its sessions under this label. It
    /// waits until it is collected; of more than `Limits::letters` the oldest go.
    #[n(26)]
    Deliver {
        /// Under which label.
        #[n(0)]
        label: Label,
        /// The letter; at most `Limits::native` long.
        #[n(1)]
        letter: Octets,
    },
    /// To an account: the letters under this label up to this position have arrived; they go.
    #[n(27)]
    Collect {
        /// Under which label.
        #[n(0)]
        label: Label,
        /// The last that goes.
        #[n(1)]
        upto: Pos,
    },

    /// To an account: reserve a name for an upload that is to follow.
    #[n(60)]
    ReserveMedia(#[n(0)] MediaId),
    /// To an account: record an upload whose content is kept. Refused with `TooLong` when it is larger than
    /// one may be, `TooMany` when the account's would be, or be too many; `Stale` when the name has a
    /// content; `NoSuchItem` when it should be reserved and is not.
    #[n(61)]
    AddMedia {
        /// Its name.
        #[n(0)]
        id: MediaId,
        /// What it is.
        #[n(1)]
        content: Content,
        /// True: the account has reserved the name; false: it is new.
        #[n(2)]
        reserved: bool,
    },
    /// To an account: an upload, or a reservation, is no more.
    #[n(62)]
    DropMedia(#[n(0)] MediaId),

    // --- rooms ---
    /// Come in; comes into being at the first, with the given seed.
    #[n(30)]
    Join(#[n(0)] Box<Join>),
    /// Go out, or decline an invitation, or withdraw a knock.
    #[n(31)]
    Leave {
        /// Why, for people.
        #[n(0)]
        reason: Option<Str>,
        /// True: a guest's session ended.
        #[n(1)]
        quit: bool,
        /// Equal for one ending in several rooms: shown once.
        #[n(2)]
        same: u64,
    },
    /// Ask somebody in.
    #[n(32)]
    Invite {
        /// Whom.
        #[n(0)]
        user: User,
        /// Why, for people.
        #[n(1)]
        reason: Option<Str>,
        /// The wire form, for speakers of the same protocol.
        #[n(2)]
        native: Option<Native>,
    },
    /// Ask to be let in.
    #[n(33)]
    Knock {
        /// Why, for people.
        #[n(0)]
        reason: Option<Str>,
    },
    /// Put somebody out, or withdraw his invitation, or turn down his knock.
    #[n(34)]
    Kick {
        /// Whom.
        #[n(0)]
        user: User,
        /// Why, for people.
        #[n(1)]
        reason: Option<Str>,
        /// The wire form, for speakers of the same protocol.
        #[n(2)]
        #[cbor(default)]
        native: Option<Native>,
    },
    /// Shut an account out; puts it out too.
    #[n(35)]
    Ban {
        /// Whom.
        #[n(0)]
        user: User,
        /// Why, for people.
        #[n(1)]
        reason: Option<Str>,
    },
    /// End a ban of an account.
    #[n(36)]
    Unban {
        /// Whom.
        #[n(0)]
        user: User,
    },
    /// Give somebody another power. One without membership is made a member-to-be (invited) where the
    /// power is above a newcomer's, so that a list of members can be kept.
    #[n(37)]
    SetPower {
        /// Whom.
        #[n(0)]
        user: User,
        /// The new power.
        #[n(1)]
        power: Power,
        /// With it the remembered voice changes: `None` leaves it.
        #[n(2)]
        voiced: Option<bool>,
        /// Why, for people.
        #[n(3)]
        reason: Option<Str>,
    },
    /// Say something.
    #[n(38)]
    Say {
        /// What.
        #[n(0)]
        message: Box<Message>,
        /// What the room's mute masks are compared with.
        #[n(1)]
        subject: Str,
        /// For a dialog at its first entry: the two parties.
        #[n(2)]
        parties: Option<Box<(User, User)>>,
    },
    /// Replace an own message.
    #[n(39)]
    Edit {
        /// Which: its position, or how the author's client named it.
        #[n(0)]
        target: Target,
        /// The new content.
        #[n(1)]
        message: Box<Message>,
    },
    /// Withdraw a message, or one edit of it.
    #[n(40)]
    Redact {
        /// Which.
        #[n(0)]
        target: Target,
        /// Why, for people.
        #[n(1)]
        reason: Option<Str>,
        /// The wire form, for speakers of the same protocol.
        #[n(2)]
        native: Option<Native>,
    },
    /// Set one's reactions to a message.
    #[n(41)]
    React {
        /// Which.
        #[n(0)]
        target: Target,
        /// Add or take back these.
        #[n(1)]
        keys: Vec<Str>,
        /// What to do with them.
        #[n(2)]
        mode: ReactMode,
        /// The wire form, for speakers of the same protocol.
        #[n(3)]
        native: Option<Native>,
    },
    /// Set the topic.
    #[n(42)]
    SetTopic(#[n(0)] Rich),
    /// Change rules: the whole new policy, and the one it was made from. Only what differs between the two is
    /// changed; refused as stale when somebody else changed the same meanwhile.
    #[n(43)]
    SetPolicy {
        /// The policy the change was made from.
        #[n(0)]
        from: Box<Policy>,
        /// The new one.
        #[n(1)]
        to: Box<Policy>,
    },
    /// Change mask lists.
    #[n(44)]
    SetMasks {
        /// To add.
        #[n(0)]
        add: Vec<MaskEntry>,
        /// To remove: list and pattern.
        #[n(1)]
        remove: Vec<(MaskKind, Str)>,
    },
    /// Set a named value of the room; empty removes it.
    #[n(45)]
    SetRoomAttr {
        /// Which. Begins with the protocol's own prefix.
        #[n(0)]
        key: Str,
        /// The value.
        #[n(1)]
        value: Octets,
    },
    /// End the room: all are put out, the name is locked or freed.
    #[n(46)]
    Destroy {
        /// Why, for people.
        #[n(0)]
        reason: Option<Str>,
        /// Where to go instead.
        #[n(1)]
        instead: Option<Str>,
    },
    /// A member goes on under another name (sent by its account, or its session for a guest).
    #[n(47)]
    Rename {
        /// The new name.
        #[n(0)]
        to: User,
        /// Equal for one renaming in several rooms: shown once.
        #[n(1)]
        same: u64,
    },
    /// A room forgets a member of an account that is no more (sent by the account), or somebody who left
    /// and wants no trace of it.
    #[n(48)]
    Forget,
    /// To a room or dialog, by the server: from here on it is open, and its entries set facts. Does
    /// nothing where it is open already.
    #[n(49)]
    Open {
        /// How, as the protocol says that it is open to.
        #[n(0)]
        how: Octets,
        /// For a dialog in which nothing was said yet: the two parties.
        #[n(1)]
        parties: Option<Box<(User, User)>>,
        /// How members show themselves from here on.
        #[n(2)]
        shown: Vec<Shown>,
    },
    /// Several changes of the rules at once, all or none, stated by one named value: its entry comes last
    /// and alone sets facts.
    #[n(50)]
    Amend {
        /// The policy the change was made from, and the new one.
        #[n(0)]
        policy: Option<Box<(Policy, Policy)>>,
        /// New powers.
        #[n(1)]
        powers: Vec<(User, Power)>,
        /// The value's name.
        #[n(2)]
        key: Str,
        /// The value.
        #[n(3)]
        value: Octets,
        /// Another topic.
        #[n(4)]
        topic: Option<Rich>,
    },
    /// A member shows itself otherwise. In a room that is not open there is no entry for it.
    #[n(51)]
    Show {
        /// Display name.
        #[n(0)]
        display: Option<Str>,
        /// The form of one protocol.
        #[n(1)]
        native: Option<Native>,
    },
    /// To a room, by the server: it is known under this name from here on, or under none. Who holds the name is not
    /// changed by it.
    #[n(52)]
    Name(#[n(0)] Option<crate::name::RoomName>),
    /// To a room or dialog: a member has read up to there, and the others may know. A position before the one known is
    /// passed over; of more than [`crate::chat::seen::SEEN`] parts of a room those read first are forgotten. There is
    /// no entry for it.
    #[n(53)]
    See(#[n(0)] ReadTo),
    /// To a room: withdraw a fact, or somebody's reaction.
    #[n(54)]
    Withdraw(#[n(0)] Box<Withdraw>),
    /// To a room or dialog: as [`Act::See`], by one who knows only how its author's client named the message. The
    /// member's own read position ([`Act::MarkRead`]) follows. Nothing happens if no such message is among the latest.
    #[n(55)]
    SeeNamed {
        /// The name.
        #[n(0)]
        name: Str,
        /// When.
        #[n(1)]
        at: UnixMillis,
    },
    /// To a room: a member is called so from here on, or (`None`) by its name. Refused with `NameTaken` if it is not free.
    #[n(56)]
    Alias(#[n(0)] Option<Alias>),
}

/// Which message is meant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Target {
    /// The entry at this position.
    #[n(0)]
    Pos(#[n(0)] Pos),
    /// The actor's own message that its client named so (searched among the latest).
    #[n(1)]
    ClientId(#[n(0)] Str),
    /// The latest message, whoever's, that its author's client named so (searched among the latest).
    #[n(2)]
    Named(#[n(0)] Str),
}

/// What to do with reactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ReactMode {
    /// Add these.
    #[n(0)]
    Add,
    /// Take these back.
    #[n(1)]
    Remove,
    /// These and no others.
    #[n(2)]
    Replace,
}

/// A step of a presence subscription (RFC 6121, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Step {
    /// I want to see you.
    #[n(0)]
    Subscribe,
    /// You may see me.
    #[n(1)]
    Subscribed,
    /// I no longer want to see you.
    #[n(2)]
    Unsubscribe,
    /// You may not, or no longer, see me.
    #[n(3)]
    Unsubscribed,
}

/// Who is told of a changed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Audience {
    /// Nobody.
    #[n(0)]
    Nobody,
    /// The account's own sessions.
    #[n(1)]
    Own,
    /// These and the contacts that may see its presence.
    #[n(2)]
    Contacts,
}
