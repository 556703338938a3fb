//! An account: credential, contacts, named values, feed.

use crate::{
    ids::{AccountId, Pos, RoomId},
    name::User,
    presence::Contact,
    row::AccountHead,
    text::{Octets, Str},
};
use alloc::collections::{BTreeMap, VecDeque};

/// The durable part of an account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Which.
    pub id: AccountId,
    /// Name, credential, flags; `None`: not made (yet).
    pub head: Option<AccountHead>,
    /// Named values.
    pub attrs: BTreeMap<Str, Octets>,
    /// Contacts by address.
    pub contacts: BTreeMap<Str, Contact>,
    /// The last entries seen.
    pub read: BTreeMap<RoomId, Pos>,
    /// The latest messages of the feed, oldest first: recognises those derived again.
    pub fed: VecDeque<(RoomId, Pos)>,
}

impl Account {
    /// Who it is; `None` before it is made.
    pub fn user(&self) -> Option<User> {
        self.head.as_ref().map(|h| User { id: self.id, name: h.name.clone() })
    }
}
