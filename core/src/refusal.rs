//! Why something was not done. Each protocol has its own word for each of these.

use crate::{name::BadName, policy::Power};

/// A refusal; nothing was changed, nobody else sees a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such room (or none that the asker may know of).
    NoSuchRoom,
    /// There is no such account or guest.
    NoSuchUser,
    /// There is no such message, value or contact.
    NoSuchItem,
    /// The actor is not in the room.
    NotMember,
    /// The person acted on is not in the room.
    TargetNotMember,
    /// The person acted on is in the room already.
    AlreadyMember,
    /// Shut out, by account or mask.
    Banned,
    /// Only invited people may come in.
    InviteOnly,
    /// The room wants another password.
    WrongPassword,
    /// The room has as many members as it may.
    RoomFull,
    /// May not speak.
    Muted,
    /// The power does not suffice; this much is needed.
    Power(Power),
    /// The one acted on has equal or higher power.
    Outranked,
    /// The last owner stays.
    LastOwner,
    /// The account is not allowed to do this at all (an administrator's act, a guest's limits).
    Forbidden,
    /// The recipient does not want to hear from the sender.
    Blocked,
    /// No session of the recipient is there to take it.
    Unreachable,
    /// The name cannot be used.
    BadName(BadName),
    /// The name belongs to somebody else.
    NameTaken,
    /// The invitation is not, or no longer, good.
    BadInvite,
    /// Wrong name or password, or a disabled account: one word for all three.
    BadCredential,
    /// The change was made from an older state.
    Stale,
    /// Longer than allowed.
    TooLong,
    /// More of them than allowed.
    TooMany,
    /// Malformed; the word says what.
    Invalid(&'static str),
    /// Too much is under way; try again soon.
    Busy,
    /// The store does not answer; nothing can be written for the moment.
    StoreDown,
    /// The store is full.
    StoreFull,
    /// Not offered here; the word says what.
    Unsupported(&'static str),
}
