//! Which person, room or session an address means, and back.
//!
//! Accounts live at the server's domain, rooms at `rooms.` in front of it. Names of other protocols become localparts
//! by [`crate::xmpp::jid::esc`]. Where the core wants an address as text (contacts, blocks), an account of ours is its
//! folded name and everything else a JID that contains an `@`: a bare domain gets one in front.

use crate::xmpp::jid::{Jid, esc, prepare_resource, unesc};
use lavina_core::name::{RoomName, User, UserName};
use lavina_core::text::Str;

/// The domain that rooms live at.
pub(super) const ROOMS: &str = "rooms.";

/// The domain of the service that files are uploaded through.
pub(super) const UPLOAD: &str = "upload.";

/// What an address means here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The server itself.
    Server,
    /// An account of ours, or a name that could be one; and which of its sessions.
    User(UserName, Option<Str>),
    /// The service of our rooms.
    Rooms,
    /// The service that files are uploaded through.
    Upload,
    /// A room of ours, or a name that could be one; and which occupant.
    Room(RoomName, Option<Str>),
    /// An address at a domain of ours that can name nobody.
    Nobody,
    /// Another server.
    Elsewhere,
}

/// What `jid` means on the server of `domain`.
pub(super) fn place(jid: &Jid, domain: &str) -> Place {
    let resource = || jid.resource().map(Str::new);
    if jid.domain() == domain {
        return match jid.local() {
            None => Place::Server,
            Some(local) => user_name(local).map_or(Place::Nobody, |name| Place::User(name, resource())),
        };
    }
    if jid.domain().strip_prefix(UPLOAD) == Some(domain) {
        return if jid.local().is_none() { Place::Upload } else { Place::Nobody };
    }
    match jid.domain().strip_prefix(ROOMS) {
        Some(rest) if rest == domain => match jid.local() {
            None => Place::Rooms,
            Some(local) => room_name(local).map_or(Place::Nobody, |name| Place::Room(name, resource())),
        },
        _ => Place::Elsewhere,
    }
}

/// The account that a localpart names.
pub(super) fn user_name(local: &str) -> Option<UserName> {
    UserName::new(&unesc(local)?).ok()
}

/// The room that a localpart names.
pub(super) fn room_name(local: &str) -> Option<RoomName> {
    RoomName::new(local).ok()
}

/// The localpart of an account.
pub(super) fn local_of(name: &UserName) -> String {
    esc(&name.folded())
}

/// The bare address of an account.
pub(super) fn bare_jid(name: &UserName, domain: &str) -> Jid {
    Jid::prepared(Some(&local_of(name)), domain, None)
}

/// The address of one session of an account.
pub(super) fn full_jid(user: &User, label: &str, domain: &str) -> Jid {
    Jid::prepared(Some(&local_of(&user.name)), domain, Some(&resource_of(label)))
}

/// The resource that stands for a session's label, which may have been chosen on another protocol.
pub(super) fn resource_of(label: &str) -> String {
    prepare_resource(label).map_or_else(|_| format!("={}", esc(label)), std::borrow::Cow::into_owned)
}

/// The address as the core keeps it.
pub(super) fn to_core(jid: &Jid, domain: &str) -> Str {
    match place(jid, domain) {
        Place::User(name, None) => Str::new(name.folded()),
        _ if jid.local().is_none() => Str::new(format!("@{jid}")),
        _ => Str::new(jid.as_str()),
    }
}

/// The address behind what the core keeps; none if it was put there by another protocol and is no JID.
pub(super) fn from_core(address: &str, domain: &str) -> Option<Jid> {
    match address.strip_prefix('@') {
        Some(jid) => Jid::new(jid).ok(),
        None if address.contains('@') => Jid::new(address).ok(),
        None => UserName::new(address).ok().map(|name| bare_jid(&name, domain)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::new(text).expect("a good address")
    }

    #[test]
    fn addresses_have_a_place() {
        let is = |text: &str| place(&jid(text), "x.org");
        assert_eq!(is("x.org"), Place::Server);
        assert_eq!(is("Al@x.org/r"), Place::User(UserName::new("al").expect("fine"), Some(Str::new("r"))));
        assert_eq!(is("rooms.x.org"), Place::Rooms);
        assert_eq!((is("upload.x.org"), is("a@upload.x.org")), (Place::Upload, Place::Nobody));
        assert_eq!(
            is("#c@rooms.x.org/al"),
            Place::Room(RoomName::new("#c").expect("fine"), Some(Str::new("al")))
        );
        assert_eq!(is("ж@x.org"), Place::Nobody);
        assert_eq!(is("a=zz@x.org"), Place::Nobody);
        assert_eq!(is("rooms.rooms.x.org"), Place::Elsewhere);
        assert_eq!(is("al@y.org"), Place::Elsewhere);
    }

    #[test]
    fn the_core_gets_them_back() {
        for (text, kept) in [
            ("al@x.org", "al"),
            ("a=5cb@x.org", "a\\b"),
            ("al@x.org/r", "al@x.org/r"),
            ("y.org", "@y.org"),
            ("y.org/r", "@y.org/r"),
            ("al@y.org", "al@y.org"),
        ] {
            assert_eq!(to_core(&jid(text), "x.org"), kept);
            assert_eq!(from_core(kept, "x.org"), Some(jid(text)));
        }
    }

    #[test]
    fn labels_of_other_protocols_become_resources() {
        assert_eq!(resource_of("phone"), "phone");
        assert_eq!(resource_of("a\u{1}b"), "=a=01b");
        assert!(prepare_resource(&resource_of("")).is_ok());
    }
}
