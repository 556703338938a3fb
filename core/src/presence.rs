//! How reachable somebody is, and who may know.

use crate::{event::Native, name::User, text::Str, time::UnixMillis};
use minicbor::{Decode, Encode};

/// How reachable a session is, from the least to the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Show {
    /// Not there.
    Offline,
    /// Away for a long time.
    ExtendedAway,
    /// Does not want to be disturbed.
    Busy,
    /// Away.
    Away,
    /// There.
    #[default]
    Online,
    /// There and wanting to talk.
    Chatty,
}

impl Show {
    /// True when people should not expect an answer soon.
    pub fn is_away(self) -> bool {
        matches!(self, Show::Offline | Show::ExtendedAway | Show::Away | Show::Busy)
    }
}

/// What a session says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// How reachable.
    pub show: Show,
    /// In words; one line.
    pub status: Str,
    /// Which session messages to the account prefer; negative: none.
    pub priority: i8,
    /// The sender's own wire form.
    pub native: Option<Native>,
    /// What the session is, besides how reachable.
    pub marks: Marks,
}

impl Presence {
    /// What several sessions of one account come to: the most reachable, with the marks of all.
    pub fn best(all: impl Iterator<Item = Presence>) -> Option<Presence> {
        all.reduce(|a, b| {
            let marks = a.marks.and(b.marks);
            let best = if (b.show, b.priority) >= (a.show, a.priority) { b } else { a };
            Presence { marks, ..best }
        })
    }
}

/// What a session says of itself that is no matter of being reachable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Strangers may know that it is there.
    pub open: bool,
    /// It is left out of what strangers search and count.
    pub hidden: bool,
    /// A program uses it.
    pub bot: bool,
    /// It acts with an administrator's rights.
    pub admin: bool,
}

impl Marks {
    /// The marks of two sessions together.
    pub fn and(self, other: Marks) -> Marks {
        Marks {
            open: self.open || other.open,
            hidden: self.hidden && other.hidden,
            bot: self.bot || other.bot,
            admin: self.admin || other.admin,
        }
    }
}

/// Somebody as strangers see them: an account or guest with a session that is [`Marks::open`].
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Who.
    pub user: User,
    /// The best presence of those sessions.
    pub presence: Presence,
    /// Display name.
    pub display: Str,
}

impl Sighting {
    /// True when nobody sees a difference.
    pub fn same(&self, other: &Sighting) -> bool {
        self.user.name.same_spelling(&other.user.name)
            && self.user == other.user
            && self.presence == other.presence
            && self.display == other.display
    }
}

/// Somebody who was here under a name.
#[derive(Clone, Debug)]
pub struct Gone {
    /// As last seen.
    pub last: Sighting,
    /// Until when.
    pub until: UnixMillis,
}

/// Somebody on an account's contact list, with the state of the mutual subscriptions
/// (RFC 6121, appendix A).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Contact {
    /// Who, in the canonical form of the codecs: the account's name, or a remote address.
    #[n(0)]
    pub address: Str,
    /// The owner's name for them.
    #[n(1)]
    pub name: Option<Str>,
    /// The owner's groups.
    #[n(2)]
    pub groups: alloc::vec::Vec<Str>,
    /// The owner sees the contact's presence.
    #[n(3)]
    pub to: bool,
    /// The contact sees the owner's presence.
    #[n(4)]
    pub from: bool,
    /// The owner has asked to see the contact's presence.
    #[n(5)]
    pub ask: bool,
    /// The contact has asked to see the owner's presence; the request's own wire form is kept.
    #[n(6)]
    pub asked: Option<Native>,
    /// The owner has approved a request that did not come yet.
    #[n(7)]
    pub approved: bool,
    /// True: on the list; false: only a pending request.
    #[n(8)]
    pub listed: bool,
    /// The account, when it is one of ours.
    #[n(9)]
    pub account: Option<crate::ids::AccountId>,
}
