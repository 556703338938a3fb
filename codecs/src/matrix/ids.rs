//! Identifiers (specification: appendices, "Identifier Grammar"): users, rooms, events, aliases.
//!
//! Events of open rooms are named by their hashes, and so are rooms from version 12 on: see [`crate::matrix::chain`]. Other
//! room and event ids (of rooms of versions 10 and 11, of what was before a room was opened, of what is no event for
//! other servers) carry what they mean, and a code that only this server can make, so nothing has to be stored to know
//! them again and nobody can make one up:
//!
//! | id | after the sigil: 43 characters of URL-safe unpadded base64, of these 32 bytes |
//! |---|---|
//! | room `!` | room (8), code (24) |
//! | event `$` | room (8), position (8), number within the entry (1), code (15) |
//!
//! A room of version 10 or 11 has our domain behind it, after a colon. Where nothing is sealed, the create event's id is
//! the room's with another sigil, as room versions from 12 on have it.

use super::chain;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use lavina_core::ids::{AccountId, Pos, RoomId};
use lavina_core::name::{RoomName, User, UserName};
use lavina_core::seal::Seal;
use sha2::Sha256;
use std::fmt::Write;
use std::sync::OnceLock;
use subtle::ConstantTimeEq;

/// Longest id of any kind in bytes, its sigil included.
pub const ID_MAX: usize = 255;

/// What ids of guests begin with.
const GUEST: &str = "_guest_";

/// What the key of ids is derived with.
const LABEL: &[u8] = b"lavina matrix ids 1";

/// Makes and knows room and event ids.
#[derive(Clone)]
pub struct IdKey {
    secret: [u8; 32],
    /// Made with the first id: where events are named by their hashes none is needed.
    key: OnceLock<Hmac<Sha256>>,
}

/// Which event: an entry of a room's log can be several, which `sub` numbers from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventRef {
    /// The room.
    pub room: RoomId,
    /// The entry; zero: the create event.
    pub pos: Pos,
    /// Which of the entry's events.
    pub sub: u8,
}

impl EventRef {
    /// The first event of an entry.
    pub fn new(room: RoomId, pos: Pos) -> EventRef {
        EventRef { room, pos, sub: 0 }
    }

    /// The create event of a room.
    pub fn create(room: RoomId) -> EventRef {
        EventRef { room, pos: Pos::ZERO, sub: 0 }
    }

    /// Whether it is the create event.
    pub fn is_create(self) -> bool {
        self.pos == Pos::ZERO
    }
}

impl IdKey {
    /// The key of the server that has this secret.
    pub fn new(secret: &[u8; 32]) -> IdKey {
        IdKey { secret: *secret, key: OnceLock::new() }
    }

    fn key(&self) -> Hmac<Sha256> {
        self.key.get_or_init(|| hmac(&mac(hmac(&self.secret), &[LABEL]))).clone()
    }

    /// The id of a room.
    pub fn coded_room_id(&self, room: RoomId) -> String {
        spell('!', &self.room_bytes(room))
    }

    /// The id of a room of a version whose room ids name a server (10 and 11).
    pub fn room_id_at(&self, room: RoomId, domain: &str) -> String {
        format!("{}:{domain}", self.coded_room_id(room))
    }

    /// The id of a room: `known` if it is known by one for ever.
    pub fn room_name(&self, room: RoomId, known: Option<&str>) -> String {
        known.map_or_else(|| self.coded_room_id(room), str::to_owned)
    }

    /// The id of an event: its seal if it has one.
    pub fn name(&self, event: EventRef, seal: Option<&Seal>) -> String {
        seal.map_or_else(|| self.coded_event_id(event), chain::event_id)
    }

    /// The id of an event that is not sealed.
    pub fn coded_event_id(&self, event: EventRef) -> String {
        match event.is_create() {
            true => spell('$', &self.room_bytes(event.room)),
            false => spell('$', &self.event_bytes(event)),
        }
    }

    /// The room that an id of that kind names; none if we never made that id. `domain`: ours.
    pub fn room_at(&self, id: &str, domain: &str) -> Option<RoomId> {
        match id.split_once(':') {
            Some((local, server)) => self.coded_room(local).filter(|_| server == domain),
            None => self.coded_room(id),
        }
    }

    /// The room that an id names which has no server in it; none if we never made that id.
    pub fn coded_room(&self, id: &str) -> Option<RoomId> {
        let bytes = decode('!', id)?;
        let room = RoomId(number(&bytes[..8]));
        bool::from(self.room_bytes(room).ct_eq(&bytes)).then_some(room)
    }

    /// The event that an id names; none if we never made that id.
    pub fn coded_event(&self, id: &str) -> Option<EventRef> {
        let bytes = decode('$', id)?;
        let room = RoomId(number(&bytes[..8]));
        let event = EventRef { room, pos: Pos(number(&bytes[8..16])), sub: bytes[16] };
        if !event.is_create() && bool::from(self.event_bytes(event).ct_eq(&bytes)) {
            return Some(event);
        }
        bool::from(self.room_bytes(room).ct_eq(&bytes)).then_some(EventRef::create(room))
    }

    fn room_bytes(&self, room: RoomId) -> [u8; 32] {
        let code = mac(self.key(), &[b"room", &room.0.to_be_bytes()]);
        let mut out = [0; 32];
        out[..8].copy_from_slice(&room.0.to_be_bytes());
        out[8..].copy_from_slice(&code[..24]);
        out
    }

    fn event_bytes(&self, event: EventRef) -> [u8; 32] {
        let mut out = [0; 32];
        out[..8].copy_from_slice(&event.room.0.to_be_bytes());
        out[8..16].copy_from_slice(&event.pos.0.to_be_bytes());
        out[16] = event.sub;
        let code = mac(self.key(), &[b"event", &out[..17]]);
        out[17..].copy_from_slice(&code[..15]);
        out
    }
}

fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    // A shorter key is filled up with zeros (RFC 2104, section 2).
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    Hmac::new(&block.into())
}

fn mac(mut with: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    for part in parts {
        with.update(part);
    }
    with.finalize().into_bytes().into()
}

fn spell(sigil: char, bytes: &[u8; 32]) -> String {
    let mut out = String::with_capacity(44);
    out.push(sigil);
    BASE64URL_NOPAD.encode_append(bytes, &mut out);
    out
}

fn decode(sigil: char, id: &str) -> Option<[u8; 32]> {
    BASE64URL_NOPAD.decode(id.strip_prefix(sigil)?.as_bytes()).ok()?.try_into().ok()
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// Whom a user id means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// An account of ours, or a name that could be one.
    Local(UserName),
    /// A guest of ours.
    Guest(AccountId),
    /// The server itself.
    Server,
    /// Nobody: it is at our domain, but no name of ours is spelled so.
    Nobody,
    /// Somebody at another server.
    Elsewhere,
}

/// The localpart of the user in whose name the server itself acts. No account can have it.
pub const SERVER_USER: &str = "_server";

/// The id of a person.
pub fn user_id(user: &User, domain: &str) -> String {
    match user.is_guest() {
        true => format!("@{GUEST}{:016x}:{domain}", user.id.0),
        false => account_id(&user.name, domain),
    }
}

/// The id of an account.
pub fn account_id(name: &UserName, domain: &str) -> String {
    format!("@{}:{domain}", esc(&name.folded()))
}

/// The id of the user in whose name the server itself acts.
pub fn server_id(domain: &str) -> String {
    format!("@{SERVER_USER}:{domain}")
}

/// Whom an id means on the server of `domain`; none if it is no user id at all.
pub fn who(id: &str, domain: &str) -> Option<Who> {
    let (local, server) = split('@', id)?;
    if server != domain {
        return Some(Who::Elsewhere);
    }
    if local == SERVER_USER {
        return Some(Who::Server);
    }
    if let Some(number) = local.strip_prefix(GUEST) {
        let guest = u64::from_str_radix(number, 16).ok().map(AccountId).filter(|id| id.is_transient());
        return Some(guest.filter(|id| format!("{:016x}", id.0) == number).map_or(Who::Nobody, Who::Guest));
    }
    // An account has one id: an escaped capital letter names nobody, as a plain one does.
    let name = unesc(local).and_then(|name| UserName::new(&name).ok());
    Some(name.filter(|name| esc(&name.folded()) == local).map_or(Who::Nobody, Who::Local))
}

/// The account that somebody who logs in means: a localpart or a whole id, in any letter case.
pub fn login_name(said: &str, domain: &str) -> Option<UserName> {
    let local = match said.strip_prefix('@') {
        Some(rest) => rest.split_once(':').filter(|(_, server)| server.eq_ignore_ascii_case(domain))?.0,
        None => said,
    };
    let local = local.to_ascii_lowercase();
    UserName::new(&unesc(&local).unwrap_or(local)).ok()
}

/// The alias of a room.
pub fn alias(name: &RoomName, domain: &str) -> String {
    format!("#{name}:{domain}")
}

/// The room that an alias names on the server of `domain`: `Err` if it is another server's, `None` if it can name no room.
/// Letter case does not matter.
pub fn room_name(alias: &str, domain: &str) -> Option<Result<RoomName, Elsewhere>> {
    let (local, server) = split('#', alias)?;
    match server == domain {
        true => RoomName::new(local).ok().map(Ok),
        false => Some(Err(Elsewhere)),
    }
}

/// An alias of another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elsewhere;

/// Localpart and server of an id: at the first colon, for a localpart has none.
pub fn split(sigil: char, id: &str) -> Option<(&str, &str)> {
    let (local, server) = id.strip_prefix(sigil)?.split_once(':')?;
    (id.len() <= ID_MAX && !local.contains('\0') && is_server_name(server)).then_some((local, server))
}

/// Whether it is a server name: a host name or an address, and perhaps a port (appendices, "Server Name").
pub fn is_server_name(name: &str) -> bool {
    if name.is_empty() || name.len() > ID_MAX {
        return false;
    }
    let port = |p: &str| (1..=5).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = name.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else { return false };
        let v6 = (2..=45).contains(&address.len())
            && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
        return v6 && (after.is_empty() || after.strip_prefix(':').is_some_and(port));
    }
    let (host, after) = name.split_once(':').map_or((name, None), |(h, p)| (h, Some(p)));
    let fine = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    fine && after.is_none_or(port)
}

/// Whether it could be the id of an event, in any room version.
pub fn is_event_id(id: &str) -> bool {
    id.len() > 1 && id.len() <= ID_MAX && id.starts_with('$') && !id.contains('\0')
}

fn safe(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'+' | b'/')
}

/// Any string as a localpart: every other byte becomes `=` and two hexadecimal digits.
pub fn esc(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for byte in s.bytes() {
        match safe(byte) {
            true => out.push(char::from(byte)),
            // Writing to a string cannot fail.
            false => _ = write!(out, "={byte:02x}"),
        }
    }
    out
}

/// The string behind a localpart; none if [`esc`] would not have written it so.
pub fn unesc(s: &str) -> Option<String> {
    let mut out = Vec::with_capacity(s.len());
    let mut rest = s.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match first {
            b'=' => {
                let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
                (u8::try_from(digit(0)? << 4 | digit(1)?).ok()?, after.get(2..)?)
            }
            _ => (*first, after),
        };
        out.push(byte);
        rest = after;
    }
    String::from_utf8(out).ok().filter(|plain| esc(plain) == s)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use lavina_core::ids::ShardId;
    use proptest::prelude::*;

    fn key() -> IdKey {
        IdKey::new(&[7; 32])
    }

    #[test]
    fn an_account_has_one_id() {
        let alice = UserName::new("alice").unwrap();
        assert!(matches!(who("@alice:x.org", "x.org"), Some(Who::Local(name)) if name == alice));
        for other in ["@=41lice:x.org", "@Alice:x.org", "@=61lice:x.org", "@a=4Cice:x.org"] {
            assert!(matches!(who(other, "x.org"), Some(Who::Nobody)), "{other}");
        }
    }

    #[test]
    fn rooms_and_events_read_back_and_nobody_can_make_them() {
        let key = key();
        let room = RoomId(0x0123_4567_89ab_cdef);
        let id = key.coded_room_id(room);
        assert_eq!((id.len(), key.coded_room(&id)), (44, Some(room)));
        let event = EventRef { room, pos: Pos(77), sub: 3 };
        let event_id = key.coded_event_id(event);
        assert_eq!((event_id.len(), key.coded_event(&event_id)), (44, Some(event)));
        assert_eq!(key.coded_event_id(EventRef::create(room)), id.replace('!', "$"));
        assert_eq!(key.coded_event(&id.replace('!', "$")), Some(EventRef::create(room)));
        for foreign in [IdKey::new(&[8; 32]).coded_room_id(room), event_id.replace('$', "!")] {
            assert_eq!(key.coded_room(&foreign), None);
        }
        for bad in ["", "!", "!abc", "$", &id[1..], &format!("{id}A"), &format!("{id}:x.org")] {
            assert_eq!((key.coded_room(bad), key.coded_event(bad)), (None, None), "{bad}");
        }
        for at in 1..44 {
            let mut other = event_id.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.coded_event(std::str::from_utf8(&other).unwrap()), None, "{at}");
        }
    }

    #[test]
    fn people() {
        let name = |s: &str| UserName::new(s).unwrap();
        let id = AccountId::fresh(77, ShardId(0), 64, false);
        assert_eq!(user_id(&User::new(id, name("Alice")), "x.org"), "@alice:x.org");
        assert_eq!(account_id(&name("foo[w]"), "x.org"), "@foo=5bw=5d:x.org");
        assert_eq!(who("@foo=5bw=5d:x.org", "x.org"), Some(Who::Local(name("foo[w]"))));
        let guest = User::new(AccountId::fresh(77, ShardId(0), 64, true), name("guest-bob"));
        let guest_id = user_id(&guest, "x.org");
        assert_eq!(who(&guest_id, "x.org"), Some(Who::Guest(guest.id)));
        assert!(guest_id.starts_with("@_guest_"));
        assert_eq!(who("@_guest_8:x.org", "x.org"), Some(Who::Nobody));
        assert_eq!(who("@_guest_0000000000000001:x.org", "x.org"), Some(Who::Nobody));
        assert_eq!(who(&server_id("x.org"), "x.org"), Some(Who::Server));
        for nobody in
            ["@Alice:x.org", "@:x.org", "@a=5B:x.org", "@a=61:x.org", "@a/b:x.org", "@a=:x.org", "@ж:x.org"]
        {
            assert_eq!(who(nobody, "x.org"), Some(Who::Nobody), "{nobody}");
        }
        assert_eq!(who("@alice:y.org", "x.org"), Some(Who::Elsewhere));
        assert_eq!(who("@alice:x.org:8448", "x.org"), Some(Who::Elsewhere));
        for no_id in
            ["alice", "@alice", "@alice:", "@a\0:x.org", "#a:x.org", &format!("@{}:x.org", "a".repeat(250))]
        {
            assert_eq!(who(no_id, "x.org"), None, "{no_id}");
        }
    }

    #[test]
    fn logins_are_lenient() {
        let alice = UserName::new("alice").ok();
        for said in ["alice", "Alice", "@alice:x.org", "@ALICE:X.org"] {
            assert_eq!(login_name(said, "x.org"), alice, "{said}");
        }
        assert_eq!(login_name("@foo=5bw=5d:x.org", "x.org"), UserName::new("foo[w]").ok());
        assert_eq!(login_name("foo[w]", "x.org"), UserName::new("foo[w]").ok());
        assert_eq!(login_name("@alice:y.org", "x.org"), None);
        assert_eq!(login_name("@alice", "x.org"), None);
        assert_eq!(login_name("", "x.org"), None);
    }

    #[test]
    fn aliases() {
        let name = |s: &str| RoomName::new(s).unwrap();
        assert_eq!(alias(&name("lobby"), "x.org"), "#lobby:x.org");
        assert_eq!(alias(&name("#c"), "x.org"), "##c:x.org");
        assert_eq!(room_name("##c:x.org", "x.org"), Some(Ok(name("#c"))));
        assert_eq!(room_name("#Lobby:x.org", "x.org"), Some(Ok(name("lobby"))));
        assert_eq!(room_name("#lobby:y.org", "x.org"), Some(Err(Elsewhere)));
        for none in ["#a b:x.org", "#:x.org", "lobby", "#lobby", "@lobby:x.org"] {
            assert_eq!(room_name(none, "x.org"), None, "{none}");
        }
    }

    #[test]
    fn server_names() {
        for good in
            ["x.org", "x.org:8448", "1.2.3.4", "1.2.3.4:1", "[::1]", "[1234:5678::abcd]:5678", "localhost"]
        {
            assert!(is_server_name(good), "{good}");
        }
        for bad in
            ["", ":1", "x.org:", "x.org:123456", "x.org:x", "[::1", "[::1]x", "[x]", "x y", "x_y", "ж.org"]
        {
            assert!(!is_server_name(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_back(s in ".{0,20}") {
            prop_assert_eq!(unesc(&esc(&s)), Some(s));
        }

        #[test]
        fn one_form_each(s in "[a-c=0-9A-F]{0,8}") {
            if let Some(plain) = unesc(&s) {
                prop_assert_eq!(esc(&plain), s);
            }
        }

        #[test]
        fn every_account_reads_back(s in "[a-z0-9\\-_.\\[\\]\\\\`^{}|]{1,30}") {
            let name = UserName::new(&s).unwrap();
            let back = who(&account_id(&name, "x.org"), "x.org");
            prop_assume!(!s.starts_with(GUEST) && s != SERVER_USER);
            prop_assert_eq!(back, Some(Who::Local(name)));
        }
    }
}
