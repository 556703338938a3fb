//! Links to people, rooms and events: `https://matrix.to/#/…` and `matrix:…` (appendices, "URIs").

use super::ids::{is_event_id, split};
use std::fmt::Write;

/// What a link names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// A person, by id.
    User(String),
    /// A room, by id or alias.
    Room(String),
    /// An event in a room.
    Event(String, String),
}

const MATRIX_TO: &str = "https://matrix.to/#/";

/// What a URI names; none if it is no link of these kinds.
pub fn link(uri: &str) -> Option<Link> {
    let lower = |prefix: &str| uri.get(..prefix.len()).is_some_and(|p| p.eq_ignore_ascii_case(prefix));
    if lower(MATRIX_TO) {
        return matrix_to(&uri[MATRIX_TO.len()..]);
    }
    if lower("matrix:") { matrix_uri(&uri["matrix:".len()..]) } else { None }
}

/// A link to a person, as pills have it.
pub fn user_link(id: &str) -> String {
    let mut out = String::from(MATRIX_TO);
    percent(id, &mut out);
    out
}

/// Appends an id as a path segment; what is legal in a fragment stays readable.
fn percent(id: &str, out: &mut String) {
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'@'
            | b':'
            | b'!'
            | b'$'
            | b'='
            | b'+' => {
                out.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
}

fn matrix_to(rest: &str) -> Option<Link> {
    let path = rest.split('?').next()?;
    if path.starts_with(['@', '%']) {
        // Ids of people may hold a slash, which not everybody encodes.
        let whole = unpercent(path.trim_end_matches('/')).filter(|id| named('@', id));
        if whole.is_some() {
            return whole.map(Link::User);
        }
    }
    let mut parts = path.split('/').filter(|p| !p.is_empty());
    let first = unpercent(parts.next()?)?;
    match first.chars().next()? {
        '!' | '#' if first.len() > 1 => match parts.next() {
            None => Some(Link::Room(first)),
            Some(event) => unpercent(event).filter(|e| is_event_id(e)).map(|e| Link::Event(first, e)),
        },
        _ => None,
    }
}

fn matrix_uri(rest: &str) -> Option<Link> {
    let path = rest.split(['?', '#']).next()?;
    // An authority may stand in front; it says nothing here.
    let path = match path.strip_prefix("//") {
        Some(with) => with.split_once('/')?.1,
        None => path,
    };
    let mut parts = path.split('/');
    let (kind, value) = (parts.next()?, unpercent(parts.next()?)?);
    match kind {
        "u" | "user" => Some(format!("@{value}")).filter(|id| named('@', id)).map(Link::User),
        "r" | "room" | "roomid" if !value.is_empty() => {
            let room = format!("{}{value}", if kind == "roomid" { '!' } else { '#' });
            match (parts.next(), parts.next()) {
                (None, _) => Some(Link::Room(room)),
                (Some("e" | "event"), Some(event)) => {
                    let event = format!("${}", unpercent(event)?);
                    is_event_id(&event).then_some(Link::Event(room, event))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn named(sigil: char, id: &str) -> bool {
    split(sigil, id).is_some_and(|(local, _)| !local.is_empty())
}

/// Resolves percent encoding; none if what comes out is no text.
pub fn unpercent(s: &str) -> Option<String> {
    if !s.contains('%') {
        return Some(s.to_owned());
    }
    let mut out = Vec::with_capacity(s.len());
    let mut bytes = s.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        out.push(u8::try_from(digit()? << 4 | digit()?).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        let user = |id: &str| Some(Link::User(id.into()));
        let room = |id: &str| Some(Link::Room(id.into()));
        let event = |room: &str, id: &str| Some(Link::Event(room.into(), id.into()));
        for (uri, means) in [
            ("https://matrix.to/#/@alice:x.org", user("@alice:x.org")),
            ("https://matrix.to/#/%40alice%3Ax.org", user("@alice:x.org")),
            ("https://matrix.to/#/@a/b:x.org/", user("@a/b:x.org")),
            ("https://matrix.to/#/%23lobby%3Ax.org", room("#lobby:x.org")),
            ("https://matrix.to/#/!r:x.org?via=y.org", room("!r:x.org")),
            ("https://matrix.to/#/!r:x.org/$e?via=y.org", event("!r:x.org", "$e")),
            ("https://matrix.to/#/", None),
            ("https://matrix.to/#/x", None),
            ("https://matrix.to/#/@alice", None),
            ("https://matrix.to/#/%ff", None),
            ("matrix:u/alice:x.org?action=chat", user("@alice:x.org")),
            ("matrix:r/lobby:x.org", room("#lobby:x.org")),
            ("matrix:roomid/r:x.org/e/e1", event("!r:x.org", "$e1")),
            ("matrix://y.org/u/alice:x.org", user("@alice:x.org")),
            ("matrix:x/alice:x.org", None),
            ("https://x.org/#/@alice:x.org", None),
        ] {
            assert_eq!(link(uri), means, "{uri}");
        }
    }

    #[test]
    fn pills_lead_back() {
        for id in ["@alice:x.org", "@a/b=5b:x.org:8448", "@é%:x.org"] {
            assert_eq!(link(&user_link(id)), Some(Link::User(id.into())), "{id}");
        }
    }
}
