//! Names on IRC: letter case, channels, nicks.
//!
//! CASEMAPPING is `ascii`: `A`–`Z` and `a`–`z` are the same, nothing else is.

use super::limits::CHANNEL_MAX;

/// The lower-case form that names are compared by.
#[must_use]
pub fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Whether two names are the same.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Whether `target` is meant as a channel (CHANTYPES).
#[must_use]
pub fn is_channel(target: &str) -> bool {
    target.starts_with('#')
}

/// The room that a channel name stands for: `#lobby` is the room `lobby`, `##c` the room `#c`. `None` if the
/// name has no `#`, nothing after it, or more than [`CHANNEL_MAX`] bytes, or holds a byte no channel may.
#[must_use]
pub fn room_of(channel: &str) -> Option<&str> {
    let bad = |c: char| matches!(c, ' ' | ',' | '*' | '?' | '!' | '@' | '\x7f') || c.is_control();
    let room = channel.strip_prefix('#')?;
    (!room.is_empty() && channel.len() <= CHANNEL_MAX && !room.contains(bad)).then_some(room)
}

/// The channel name of a room.
#[must_use]
pub fn channel_of(room: &str) -> String {
    let mut channel = String::with_capacity(room.len() + 1);
    channel.push('#');
    channel.push_str(room);
    channel
}

/// Whether `nick` can be spoken as a nick at all: what a connection may call itself before it is known who it
/// is. Letters, digits and ``-_[]\`^{}|``, not beginning with a digit or `-` (RFC 2812 section 2.3.1).
#[must_use]
pub fn is_nick(nick: &str, max: usize) -> bool {
    let special = |b: u8| matches!(b, b'[' | b']' | b'\\' | b'`' | b'_' | b'^' | b'{' | b'|' | b'}');
    let first = nick.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || special(b));
    first && nick.len() <= max && nick.bytes().all(|b| b.is_ascii_alphanumeric() || special(b) || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_and_rooms() {
        assert_eq!(room_of("#lobby"), Some("lobby"));
        assert_eq!(room_of("##c"), Some("#c"));
        for bad in ["lobby", "#", "&x", "#a b", "#a,b", "#a\x07", "#a*"] {
            assert_eq!(room_of(bad), None, "{bad}");
        }
        assert_eq!(room_of(&format!("#{}", "x".repeat(CHANNEL_MAX))), None);
        assert_eq!(channel_of("#c"), "##c");
    }

    #[test]
    fn nicks() {
        assert!(is_nick("alice", 30) && is_nick("[a]-1", 30) && is_nick("_x", 30));
        for bad in ["", "1a", "-a", "a b", "a!b", "a.b", "a/b", "é"] {
            assert!(!is_nick(bad, 30), "{bad}");
        }
        assert!(!is_nick("aaaa", 3));
    }

    #[test]
    fn only_ascii_letters_fold() {
        assert!(same("Alice[]", "alice[]") && !same("a[", "a{"));
        assert_eq!(fold("ÉA"), "Éa");
    }
}
