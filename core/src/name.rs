//! Validated names. Whoever holds one need not check again.

use crate::{
    ids::{AccountId, ShardId},
    text::Str,
};
use alloc::string::String;
use core::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};
use minicbor::{Decode, Encode};

/// The name of an account or guest, in the spelling its owner likes. Equality, order and hash ignore
/// ASCII case: one name has one owner.
#[derive(Clone, Encode, Decode)]
#[cbor(transparent)]
pub struct UserName(#[n(0)] Str);

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// Nothing there.
    Empty,
    /// More bytes than allowed.
    TooLong,
    /// A character that is not allowed at this place.
    Character,
    /// Kept for the server, services or guests.
    Reserved,
}

impl UserName {
    /// Longest name in bytes, guests and imported accounts included.
    pub const MAX: usize = 64;
    /// Longest name of a new account in bytes.
    pub const NEW_MAX: usize = 30;

    /// Any name that can be in use: 1 to 64 ASCII letters, digits and ``-_.[]\`^{}|``.
    pub fn new(s: &str) -> Result<UserName, BadName> {
        if s.is_empty() {
            return Err(BadName::Empty);
        }
        if s.len() > UserName::MAX {
            return Err(BadName::TooLong);
        }
        match s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.[]\\`^{}|".contains(&b)) {
            true => Ok(UserName(Str::new(s))),
            false => Err(BadName::Character),
        }
    }

    /// A name for a new account: `[a-z][a-z0-9_-]{0,29}` in any letter case, and not reserved.
    pub fn new_account(s: &str) -> Result<UserName, BadName> {
        let name = UserName::new(s)?;
        if s.len() > UserName::NEW_MAX {
            return Err(BadName::TooLong);
        }
        let (first, rest) = s.as_bytes().split_first().ok_or(BadName::Empty)?;
        let fine = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'-';
        if *first == b'_' {
            return Err(BadName::Reserved);
        }
        if !first.is_ascii_alphabetic() || !rest.iter().all(fine) {
            return Err(BadName::Character);
        }
        if name.is_reserved() { Err(BadName::Reserved) } else { Ok(name) }
    }

    /// Names that nobody may take.
    pub fn is_reserved(&self) -> bool {
        const NAMES: [&str; 5] = ["root", "admin", "abuse", "postmaster", "server"];
        let folded = self.folded();
        folded.ends_with("serv") || folded.starts_with("guest-") || NAMES.contains(&folded.as_str())
    }

    /// As its owner spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In lower case: what is compared and stored.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// True when both are spelled alike, letter case included.
    pub fn same_spelling(&self, other: &UserName) -> bool {
        self.0 == other.0
    }
}

impl PartialEq for UserName {
    fn eq(&self, other: &UserName) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for UserName {}

impl PartialOrd for UserName {
    fn partial_cmp(&self, other: &UserName) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for UserName {
    fn cmp(&self, other: &UserName) -> Ordering {
        let fold = |s: &UserName| -> String { s.folded() };
        if self.0 == other.0 { Ordering::Equal } else { fold(self).cmp(&fold(other)) }
    }
}

impl Hash for UserName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for b in self.0.bytes() {
            state.write_u8(b.to_ascii_lowercase());
        }
        state.write_u8(0xff);
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Somebody: the id decides, the name is for showing. Equality is by id.
#[derive(Clone, Debug, Encode, Decode)]
pub struct User {
    /// Who.
    #[n(0)]
    pub id: AccountId,
    /// Under which name, in the spelling of the moment.
    #[n(1)]
    pub name: UserName,
    /// What it is called besides its name; shown, and decides nothing. A guest says it at its login; an account has one
    /// in a room only, and only what comes out of that room says it ([`Alias`]).
    #[n(2)]
    pub alias: Option<Str>,
}

impl PartialEq for User {
    fn eq(&self, other: &User) -> bool {
        self.id == other.id
    }
}

impl Eq for User {}

impl User {
    /// Somebody without an alias.
    pub fn new(id: AccountId, name: UserName) -> User {
        User { id, name, alias: None }
    }

    /// True for somebody without an account.
    pub fn is_guest(&self) -> bool {
        self.id.is_transient()
    }
}

/// What an account wants to be called in one room, beside its name, as far as whoever asks has seen to it: nothing here
/// folds or looks anything up.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Alias {
    /// As it is shown. At most `Limits::alias` bytes.
    #[n(0)]
    pub text: Str,
    /// As it is compared, with other keys and with names in lower case.
    #[n(1)]
    pub key: Str,
    /// True: nobody on the server has that name. Else it is given to nobody.
    #[n(2)]
    pub free: bool,
    /// True: the member that is called so already is not there now; the alias is taken from it.
    #[n(3)]
    pub idle: bool,
}

/// The name of a room, case-folded, without any protocol's mark: 1 to 50 bytes of letters and digits
/// and `. _ - + #`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct RoomName(#[n(0)] Str);

impl RoomName {
    /// Longest name in bytes.
    pub const MAX: usize = 50;

    /// Folds and checks.
    pub fn new(s: &str) -> Result<RoomName, BadName> {
        let folded: String = s.chars().flat_map(char::to_lowercase).collect();
        if folded.is_empty() {
            return Err(BadName::Empty);
        }
        if folded.len() > RoomName::MAX {
            return Err(BadName::TooLong);
        }
        // A character that folding changes again, or that only joins others, has no stable form.
        let fine = |c: char| (c.is_alphanumeric() && c.to_lowercase().eq([c])) || "._-+#".contains(c);
        if folded.chars().all(fine) { Ok(RoomName(Str::new(folded))) } else { Err(BadName::Character) }
    }

    /// The folded name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key of the one registry of names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum NameKey {
    /// An account or a guest.
    #[n(0)]
    User(#[n(0)] UserName),
    /// A room.
    #[n(1)]
    Room(#[n(0)] RoomName),
    /// An invitation to make an account: the SHA-256 of its token, in hexadecimal.
    #[n(2)]
    Invite(#[n(0)] Str),
}

impl NameKey {
    /// One letter of kind and the folded name: the store's key.
    pub fn text(&self) -> String {
        let (kind, name) = match self {
            NameKey::User(n) => ('u', n.folded()),
            NameKey::Room(n) => ('r', String::from(n.as_str())),
            NameKey::Invite(n) => ('i', String::from(n.as_str())),
        };
        let mut out = String::with_capacity(name.len() + 1);
        out.push(kind);
        out.push_str(&name);
        out
    }

    /// The shard where the name is kept (FNV-1a of its text).
    pub fn shard(&self, shards: u8) -> ShardId {
        let mut h: u64 = 0xcbf2_9ce4_8422_2325;
        for b in self.text().bytes() {
            h = (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        }
        ShardId((h >> 32) as u8 & (shards - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names() {
        assert!(UserName::new_account("alice").is_ok());
        assert_eq!(UserName::new_account("Alice"), UserName::new_account("aLICE"));
        for (bad, why) in [
            ("", BadName::Empty),
            ("9lives", BadName::Character),
            ("a b", BadName::Character),
            ("nickserv", BadName::Reserved),
            ("guest-1", BadName::Reserved),
            ("_x", BadName::Reserved),
            ("abcdefghijklmnopqrstuvwxyz12345", BadName::TooLong),
        ] {
            assert_eq!(UserName::new_account(bad), Err(why), "{bad}");
        }
        assert!(UserName::new("foo[w]").is_ok());
        assert!(UserName::new("a!b").is_err());
    }

    #[test]
    fn room_names_fold() {
        assert_eq!(RoomName::new("Lobby").unwrap().as_str(), "lobby");
        assert_eq!(RoomName::new("#C").unwrap().as_str(), "#c");
        assert!(RoomName::new("a b").is_err());
        assert!(RoomName::new("a/b").is_err());
        assert!(RoomName::new(&"x".repeat(51)).is_err());
        let once = RoomName::new("ΣΑΣ").unwrap();
        assert_eq!(RoomName::new(once.as_str()).unwrap(), once);
    }
}
