//! What somebody wants: commands to one entity each.

use crate::{
    event::{Actor, Native},
    ids::{AccountId, OnceKey, RoomId, ShardId},
    name::{Alias, NameKey, User},
    policy::{Policy, Power},
    presence::Contact,
    text::{Octets, Rich, Str},
};
use alloc::vec::Vec;
use minicbor::{Decode, Encode};

pub use crate::{
    act::{Act, Audience, ReactMode, Step, Target},
    chat::withdraw::{Hollow, Withdraw},
    policy::Shown,
};

/// A unit of the chat state: what one command touches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum EntityId {
    /// A name and what it stands for.
    #[n(0)]
    Name(#[n(0)] NameKey),
    /// An account.
    #[n(1)]
    Account(#[n(0)] AccountId),
    /// A room or dialog.
    #[n(2)]
    Room(#[n(0)] RoomId),
}

impl EntityId {
    /// The shard it is homed in.
    pub fn shard(&self, shards: u8) -> ShardId {
        match self {
            EntityId::Name(n) => n.shard(shards),
            EntityId::Account(a) => a.shard(shards),
            EntityId::Room(r) => r.shard(shards),
        }
    }

    /// True: lives in memory only.
    pub fn is_transient(&self) -> bool {
        match self {
            EntityId::Name(_) => false,
            EntityId::Account(a) => a.is_transient(),
            EntityId::Room(r) => r.is_transient(),
        }
    }
}

/// Who wants what of which entity. All that is not deterministic is in it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Command {
    /// The entity.
    #[n(0)]
    pub to: EntityId,
    /// Who.
    #[n(1)]
    pub by: Actor,
    /// What makes a retry of it the same.
    #[n(2)]
    pub once: Option<OnceKey>,
    /// What.
    #[n(3)]
    pub act: Act,
}

/// Where a room came from, at its first join.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Seed {
    /// Its name.
    #[n(0)]
    pub name: Option<crate::name::RoomName>,
    /// Its first rules.
    #[n(1)]
    pub policy: Policy,
    /// The maker's power.
    #[n(2)]
    pub power: Power,
    /// Open from the first entry on, and how ([`crate::row::RoomHead::open`]).
    #[n(3)]
    pub open: Option<Octets>,
    /// Named values it begins with.
    #[n(4)]
    #[cbor(default)]
    pub attrs: Vec<(Str, Octets)>,
    /// Its first topic.
    #[n(5)]
    pub topic: Option<Rich>,
    /// Powers of people who may come.
    #[n(6)]
    #[cbor(default)]
    pub powers: Vec<(User, Power)>,
}

impl Seed {
    /// A room of that name, with these rules and that power for its maker, and nothing more.
    pub fn new(name: Option<crate::name::RoomName>, policy: Policy, power: Power) -> Seed {
        Seed { name, policy, power, open: None, attrs: Vec::new(), topic: None, powers: Vec::new() }
    }
}

/// A wish to come in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Join {
    /// How to make the room if it is not there; `None`: do not.
    #[n(0)]
    pub create: Option<Seed>,
    /// The password given.
    #[n(1)]
    pub password: Option<Str>,
    /// What the room's masks are compared with.
    #[n(2)]
    pub subject: Str,
    /// Display name.
    #[n(3)]
    pub display: Option<Str>,
    /// How one shows oneself, in the form of one protocol.
    #[n(4)]
    pub native: Option<Native>,
    /// Why, for people.
    #[n(5)]
    pub reason: Option<Str>,
    /// True: whoever sends it has seen that this person may come in where others need an invitation (as a member of
    /// another room, say).
    #[n(6)]
    #[cbor(default)]
    pub vouched: bool,
    /// What one wants to be called there; `None`: by the name. Refused with `NameTaken` if a member is called so.
    #[n(7)]
    pub alias: Option<Alias>,
}

impl Command {
    /// A command by a person.
    pub fn by(user: &User, to: EntityId, act: Act) -> Command {
        Command { to, by: Actor::User(user.clone()), once: None, act }
    }

    /// A command by the server itself.
    pub fn by_server(to: EntityId, act: Act) -> Command {
        Command { to, by: Actor::Server, once: None, act }
    }

    /// The same with a key that makes a retry recognisable.
    pub fn once(mut self, key: OnceKey) -> Command {
        self.once = Some(key);
        self
    }
}

impl Contact {
    /// A bare entry for `address`.
    pub fn new(address: Str, account: Option<AccountId>) -> Contact {
        Contact {
            address,
            name: None,
            groups: Vec::new(),
            to: false,
            from: false,
            ask: false,
            asked: None,
            approved: false,
            listed: false,
            account,
        }
    }
}
