//! IRC's own form of a message, kept beside the neutral one for other IRC clients: client-only tags as they stood,
//! and the text with its codes where the neutral form loses something.

use lavina_core::event::Native;
use lavina_core::text::Octets;

use crate::session::IRC_NATIVE;

/// The parts of a native payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts<'a> {
    /// Client-only tags, escaped and joined by `;`.
    pub tags: &'a str,
    /// The text with codes; empty: the neutral text says it all.
    pub text: &'a str,
}

/// Makes a payload; `None` if there is nothing to keep, or more than `max` bytes.
#[must_use]
pub fn pack(parts: Parts<'_>, max: usize) -> Option<Native> {
    let len = parts.tags.len() + 1 + parts.text.len();
    if len == 1 || len > max {
        return None;
    }
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(parts.tags.as_bytes());
    bytes.push(b'\n');
    bytes.extend_from_slice(parts.text.as_bytes());
    Some(Native { protocol: IRC_NATIVE, bytes: Octets::from(bytes) })
}

/// Takes a payload apart; nothing if it is another protocol's.
#[must_use]
pub fn unpack(native: Option<&Native>) -> Parts<'_> {
    let ours = native.filter(|native| native.protocol == IRC_NATIVE);
    let text = ours.and_then(|native| std::str::from_utf8(&native.bytes).ok());
    let (tags, text) = text.and_then(|text| text.split_once('\n')).unwrap_or_default();
    Parts { tags, text }
}

/// The text of a message to those of a rank, as a signal carries it: prefix, command, text.
#[must_use]
pub fn to_status(prefix: char, command: &str, text: &str) -> String {
    format!("{prefix}{command} {text}")
}

/// Reads that; `None`: it is no such text.
#[must_use]
pub fn status(text: &str) -> Option<(char, &'static str, &str)> {
    let prefix = text.chars().next()?;
    let (command, rest) = text.get(prefix.len_utf8()..)?.split_once(' ')?;
    let command = ["PRIVMSG", "NOTICE", "TAGMSG"].into_iter().find(|known| *known == command)?;
    Some((prefix, command, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for (tags, text) in [("+a=b;+c", "\x02hi"), ("+a", ""), ("", "x")] {
            let parts = Parts { tags, text };
            assert_eq!(unpack(pack(parts, 100).as_ref()), parts);
        }
        assert_eq!(status(&to_status('@', "NOTICE", "a b")), Some(('@', "NOTICE", "a b")));
        assert_eq!(status("hello there"), None);
        assert_eq!(pack(Parts::default(), 100), None);
        assert_eq!(pack(Parts { tags: "", text: "xx" }, 2), None);
        let other = Native { protocol: IRC_NATIVE + 1, bytes: Octets::from(b"+a\nx") };
        assert_eq!(unpack(Some(&other)), Parts::default());
    }
}
