//! How people and rooms are shown on IRC.

use lavina_core::event::Actor;
use lavina_core::name::{RoomName, User};
use lavina_core::policy::{Power, power};

use super::mode::{self, Kind};
use super::settings;
use super::write::LineWriter;
use crate::settings::Settings;

/// The user part of a prefix: the account's name; for a guest what it said in USER (or its nick) behind a `~`.
#[must_use]
pub fn user_part(user: &User) -> String {
    let guest = || format!("~{}", user.alias.as_deref().unwrap_or(user.name.as_str()));
    if user.is_guest() { guest() } else { user.name.folded() }
}

/// The host part of a prefix: always a domain, never an address.
#[must_use]
pub fn host(settings: &Settings) -> &str {
    &settings.core.domain
}

/// `nick!user@host`: the source of somebody's messages, and what masks are compared with.
#[must_use]
pub fn prefix(user: &User, settings: &Settings) -> String {
    format!("{}!{}@{}", user.name.as_str(), user_part(user), host(settings))
}

/// Names an actor as the source of a line.
pub fn source(w: &mut LineWriter<'_>, actor: &Actor, settings: &Settings) {
    match actor {
        Actor::Server => w.source(settings::server(settings)),
        Actor::User(user) => w.source_user(user.name.as_str(), &user_part(user), host(settings)),
    };
}

/// The account's name for the `account` tag, JOIN and WHOX; `None` for guests.
#[must_use]
pub fn account(user: &User) -> Option<&str> {
    (!user.is_guest()).then(|| user.name.as_str())
}

/// The channel name of a room; one without a name is not shown on IRC.
#[must_use]
pub fn channel(name: &RoomName) -> String {
    super::casemap::channel_of(name.as_str())
}

/// The letter and prefix character of the rank that a power has; `None` below voice.
#[must_use]
pub fn rank(p: Power) -> Option<(char, char)> {
    let letter = match power::band(p) {
        power::OWNER => 'q',
        power::ADMIN => 'a',
        power::MODERATOR => 'o',
        power::HELPER => 'h',
        power::VOICE => 'v',
        _ => return None,
    };
    match mode::mode(letter)?.kind {
        Kind::Rank(prefix) => Some((letter, prefix)),
        _ => None,
    }
}

/// The least power of the band of a rank's letter.
#[must_use]
pub fn power_of(letter: char) -> Power {
    match letter {
        'q' => power::OWNER,
        'a' => power::ADMIN,
        'o' => power::MODERATOR,
        'h' => power::HELPER,
        'v' => power::VOICE,
        _ => power::NORMAL,
    }
}

/// The prefix characters of a member, as NAMES and WHO show them: the highest only, or all (`multi-prefix`).
#[must_use]
pub fn prefixes(p: Power, voiced: bool, multi: bool) -> String {
    let mut out = String::new();
    if let Some((_, prefix)) = rank(p) {
        out.push(prefix);
        if multi && voiced && prefix != '+' {
            out.push('+');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use lavina_core::ids::{AccountId, ShardId};
    use lavina_core::name::UserName;

    #[test]
    fn people() {
        let settings = Settings::default();
        let id = |transient| AccountId::fresh(77, ShardId(0), 64, transient);
        let alice = User::new(id(false), UserName::new("Alice").unwrap());
        assert_eq!(prefix(&alice, &settings), "Alice!alice@localhost");
        assert_eq!(account(&alice), Some("Alice"));
        let guest = User::new(id(true), UserName::new("Bob").unwrap());
        assert_eq!(prefix(&guest, &settings), "Bob!~Bob@localhost");
        assert_eq!(account(&guest), None);
    }

    #[test]
    fn ranks() {
        for letter in ['q', 'a', 'o', 'h', 'v'] {
            assert_eq!(rank(power_of(letter)).unwrap().0, letter);
        }
        assert_eq!(rank(0), None);
        assert_eq!(prefixes(50, true, true), "@+");
        assert_eq!(prefixes(50, true, false), "@");
        assert_eq!(prefixes(10, true, true), "+");
        assert_eq!(prefixes(-1, false, true), "");
    }
}
