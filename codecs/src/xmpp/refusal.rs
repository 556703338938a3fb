//! XMPP's word for each refusal of the core.

use crate::xmpp::error::{ErrorType, StanzaCondition, StanzaError};
use lavina_core::refusal::Refusal;

impl From<&Refusal> for StanzaError {
    fn from(refusal: &Refusal) -> StanzaError {
        use StanzaCondition as C;
        let (condition, text) = match refusal {
            Refusal::NoSuchRoom => (C::ItemNotFound, "there is no such room"),
            // As for an account that is there but cannot be reached: who exists is nobody's business.
            Refusal::NoSuchUser | Refusal::Unreachable | Refusal::Blocked => (C::ServiceUnavailable, ""),
            Refusal::NoSuchItem => (C::ItemNotFound, ""),
            Refusal::NotMember => (C::NotAcceptable, "you are not in this room"),
            Refusal::TargetNotMember => (C::ItemNotFound, "they are not in this room"),
            Refusal::AlreadyMember => (C::Conflict, "they are in this room already"),
            Refusal::Banned => (C::Forbidden, "you are banned from this room"),
            Refusal::InviteOnly => (C::RegistrationRequired, "this room is for invited people"),
            Refusal::WrongPassword => (C::NotAuthorized, "this room needs its password"),
            Refusal::RoomFull => (C::ServiceUnavailable, "this room is full"),
            Refusal::Muted => (C::Forbidden, "you may not speak here"),
            Refusal::Power(_) => (C::Forbidden, "you may not do this here"),
            Refusal::Outranked => (C::NotAllowed, "they stand as high as you, or higher"),
            Refusal::LastOwner => (C::Conflict, "the last owner has to stay"),
            Refusal::Forbidden => (C::Forbidden, ""),
            Refusal::BadName(_) => (C::NotAcceptable, "this name cannot be used"),
            Refusal::NameTaken => (C::Conflict, "this name is taken"),
            Refusal::BadInvite => (C::NotAllowed, "this invitation is unknown, used up or too old"),
            Refusal::BadCredential => (C::NotAuthorized, ""),
            Refusal::Stale => (C::Conflict, "somebody else changed it meanwhile; try again"),
            Refusal::TooLong => (C::PolicyViolation, "too long"),
            Refusal::TooMany => (C::ResourceConstraint, "there are too many of them"),
            Refusal::Invalid(what) => (C::BadRequest, *what),
            Refusal::Busy => (C::ResourceConstraint, "too busy; try again soon"),
            Refusal::StoreDown => (C::InternalServerError, "nothing can be stored at the moment"),
            Refusal::StoreFull => (C::InternalServerError, "the server's disk is full"),
            Refusal::Unsupported(what) => (C::FeatureNotImplemented, *what),
        };
        let error = if text.is_empty() { condition.into() } else { StanzaError::new(condition, text) };
        match refusal {
            // A place may get free (XEP-0045 §7.2.9).
            Refusal::StoreDown | Refusal::StoreFull | Refusal::RoomFull => error.kind(ErrorType::Wait),
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_sender_learns_no_more_than_one_who_writes_to_nobody() {
        let error = |r: Refusal| StanzaError::from(&r);
        assert_eq!(error(Refusal::Blocked), error(Refusal::NoSuchUser));
        assert_eq!(error(Refusal::Blocked), error(Refusal::Unreachable));
    }
}
