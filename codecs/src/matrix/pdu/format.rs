//! The form that an event between servers must have (room versions 10 to 12, "Event format"; client-server API, "Size
//! limits").

use super::Version;
use crate::json::Json;
use crate::matrix::ids::{ID_MAX, is_event_id, split};

/// Bytes of an event in canonical form, signatures included.
pub const EVENT_MAX: usize = 65_536;

/// Events that one may name as authorising it.
pub const AUTH_EVENTS_MAX: usize = 10;

/// Events that one may name as coming right before it.
pub const PREV_EVENTS_MAX: usize = 20;

/// Why an event is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFormat {
    /// Its size.
    #[error("an event has at most {EVENT_MAX} bytes")]
    TooLarge,
    /// Not an object, or a number that canonical JSON does not have.
    #[error("an event is an object in canonical JSON")]
    NotCanonical,
    /// A key that is missing, or has a value of another kind.
    #[error("`{0}` is missing or malformed")]
    Key(&'static str),
}

/// Checks an event as another server sent it, or as we are about to send it.
///
/// # Errors
/// [`BadFormat`].
pub fn check_format(event: &Json, version: Version) -> Result<(), BadFormat> {
    if event.as_object().is_none() {
        return Err(BadFormat::NotCanonical);
    }
    let size = event.canonical().map_err(|_| BadFormat::NotCanonical)?.len();
    if size > EVENT_MAX {
        return Err(BadFormat::TooLarge);
    }
    let text = |key| event.str_of(key).filter(|s| s.len() <= ID_MAX).ok_or(BadFormat::Key(key));
    let kind = text("type")?;
    split('@', text("sender")?).ok_or(BadFormat::Key("sender"))?;
    if event.get("state_key").is_some() {
        text("state_key")?;
    }
    let create = kind == "m.room.create" && event.str_of("state_key") == Some("");
    check_room(event, create, version)?;
    for (key, most) in [("auth_events", AUTH_EVENTS_MAX), ("prev_events", PREV_EVENTS_MAX)] {
        let ids = event.get(key).and_then(Json::as_array).filter(|list| list.len() <= most);
        let fine = ids.is_some_and(|list| list.iter().all(|id| id.as_str().is_some_and(is_event_id)));
        fine.then_some(()).ok_or(BadFormat::Key(key))?;
    }
    for key in ["content", "hashes", "signatures"] {
        event.get(key).and_then(Json::as_object).ok_or(BadFormat::Key(key))?;
    }
    event.at(&["hashes", "sha256"]).and_then(Json::as_str).ok_or(BadFormat::Key("hashes"))?;
    for key in ["depth", "origin_server_ts"] {
        event.get(key).and_then(Json::as_int).filter(|n| *n >= 0).ok_or(BadFormat::Key(key))?;
    }
    match event.get("unsigned") {
        Some(unsigned) if unsigned.as_object().is_none() => Err(BadFormat::Key("unsigned")),
        _ => Ok(()),
    }
}

/// The room's id: an event id with another sigil from version 12 on, where the create event has none.
fn check_room(event: &Json, create: bool, version: Version) -> Result<(), BadFormat> {
    let bad = BadFormat::Key("room_id");
    if create && version.room_id_is_hash() {
        return if event.get("room_id").is_none() { Ok(()) } else { Err(bad) };
    }
    let id = event.str_of("room_id").filter(|id| id.len() <= ID_MAX && id.starts_with('!')).ok_or(bad)?;
    let fine = match version.room_id_is_hash() {
        true => {
            id.len() == 44 && id.bytes().skip(1).all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        }
        false => split('!', id).is_some(),
    };
    fine.then_some(()).ok_or(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object;
    use Version::*;

    fn event(room: &str) -> Json {
        object! {
            "type" => "m.room.message",
            "sender" => "@a:x.org",
            "room_id" => room,
            "auth_events" => ["$a"],
            "prev_events" => ["$b"],
            "content" => object! {},
            "hashes" => object! { "sha256" => "x" },
            "signatures" => object! {},
            "depth" => 3,
            "origin_server_ts" => 1,
        }
    }

    #[test]
    fn what_is_an_event() {
        let hash = format!("!{}", "a".repeat(43));
        assert_eq!(check_format(&event(&hash), V12), Ok(()));
        assert_eq!(check_format(&event("!r:x.org"), V11), Ok(()));
        assert_eq!(check_format(&event("!r:x.org"), V12), Err(BadFormat::Key("room_id")));
        assert_eq!(check_format(&event(&hash), V10), Err(BadFormat::Key("room_id")));
        let mut create = event(&hash);
        create.set("type", "m.room.create");
        create.set("state_key", "");
        assert_eq!(check_format(&create, V12), Err(BadFormat::Key("room_id")));
        create.take("room_id");
        assert_eq!(check_format(&create, V12), Ok(()));
    }

    #[test]
    fn what_is_none() {
        let bad = |key: &str, value: Json| {
            let mut event = event("!r:x.org");
            event.set(key, value);
            check_format(&event, V11).map_err(|e| e.to_string())
        };
        let malformed = |key: &str| Err(format!("`{key}` is missing or malformed"));
        let many = |n: usize| Json::from(vec!["$e"; n]);
        for (key, value) in [
            ("type", Json::from("x".repeat(256))),
            ("sender", "alice".into()),
            ("state_key", 1.into()),
            ("auth_events", many(11)),
            ("prev_events", many(21)),
            ("prev_events", [1].into()),
            ("content", Json::Null),
            ("hashes", object! {}),
            ("depth", (-1).into()),
            ("depth", "3".into()),
            ("origin_server_ts", Json::Null),
            ("unsigned", 1.into()),
        ] {
            assert_eq!(bad(key, value.clone()), malformed(key), "{value:?}");
        }
        assert_eq!(bad("depth", Json::Float(1.0)), Err(BadFormat::NotCanonical.to_string()));
        assert_eq!(
            bad("content", object! { "a" => "x".repeat(66_000) }),
            Err(BadFormat::TooLarge.to_string())
        );
        assert_eq!(check_format(&Json::Null, V12), Err(BadFormat::NotCanonical));
    }
}
