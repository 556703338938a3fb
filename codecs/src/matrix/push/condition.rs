//! Conditions of rules, and the event that they look at.

use super::glob::{Folded, Glob};
use super::rule::PATTERN_MAX;
use crate::json::Json;
use crate::matrix::filter::keys;
use lavina_core::text::Str;
use std::cell::OnceCell;

/// Characters of a body that patterns look at; more are passed over.
const BODY_MAX: usize = 16 * 1024;

/// An event to be judged.
pub struct Subject<'a> {
    event: &'a Json,
    /// Made ready with the first pattern that looks at it.
    body: OnceCell<Option<Folded>>,
    /// How many are joined to the room.
    members: u64,
    /// Asked by the rules that need it.
    powers: &'a dyn Fn() -> Powers,
}

/// What a room says of powers.
#[derive(Clone, Debug, Default)]
pub struct Powers {
    /// The sender's power; `i64::MAX` for the creators of rooms from version 12 on.
    pub sender: i64,
    /// The content of the room's power levels.
    pub levels: Option<Json>,
}

impl<'a> Subject<'a> {
    /// An event in the client's format, and what is true of its room.
    pub fn new(event: &'a Json, members: u64, powers: &'a dyn Fn() -> Powers) -> Subject<'a> {
        Subject { event, body: OnceCell::new(), members, powers }
    }

    pub(super) fn sender(&self) -> &str {
        self.event.str_of("sender").unwrap_or_default()
    }

    pub(super) fn room(&self) -> &str {
        self.event.str_of("room_id").unwrap_or_default()
    }

    /// Whether the sender says whom the event mentions.
    pub(super) fn says_mentions(&self) -> bool {
        self.event.at(&["content", "m.mentions"]).is_some()
    }

    pub(super) fn words(&self, glob: &Glob) -> bool {
        let ready = || self.event.str_at("content.body").map(|body| Folded::new(cut(body)));
        self.body.get_or_init(ready).as_ref().is_some_and(|body| glob.fits_words(body))
    }

    /// Whether the sender has the power that calling people in a way needs (`m.room.power_levels`, `notifications`).
    fn may(&self, key: &str) -> bool {
        let powers = (self.powers)();
        let level = powers.levels.as_ref().and_then(|l| l.at(&["notifications", key]));
        // Rooms before version 10 may have them as strings.
        let needed = level.and_then(|l| l.as_int().or_else(|| l.as_str()?.trim().parse().ok()));
        powers.sender >= needed.unwrap_or(50)
    }
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(BODY_MAX).map_or(text, |(at, _)| &text[..at])
}

/// Who would be told.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The id.
    pub id: &'a str,
    /// The display name in the room.
    pub display: Option<&'a str>,
}

/// A condition, compiled.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Match(Vec<Str>, Glob),
    Words(Glob),
    Is(Vec<Str>, Json),
    Contains(Vec<Str>, Json),
    /// As [`Condition::Match`] and [`Condition::Contains`], with the reader's own id.
    MatchReader(Vec<Str>),
    ContainsReader(Vec<Str>),
    DisplayName,
    Members(std::cmp::Ordering, bool, u64),
    Permission(Str),
    /// Not known here, or without what it needs: never true.
    Never,
}

impl Condition {
    pub(super) fn new(json: &Json) -> Condition {
        Condition::known(json).unwrap_or(Condition::Never)
    }

    /// The same for a predefined rule's, in which `null` stands for the reader's id.
    pub(super) fn predefined(json: &Json) -> Condition {
        let kind = json.str_of("kind").unwrap_or_default();
        let path = || json.str_of("key").map(keys).unwrap_or_default();
        let open = |key| json.get(key).is_some_and(Json::is_null);
        match kind {
            "event_match" if open("pattern") => Condition::MatchReader(path()),
            "event_property_contains" if open("value") => Condition::ContainsReader(path()),
            _ => Condition::new(json),
        }
    }

    fn known(json: &Json) -> Option<Condition> {
        let key = || json.str_of("key").map(keys);
        let value = || json.get("value").filter(|v| is_plain(v)).cloned();
        Some(match json.str_of("kind")? {
            "event_match" => {
                let (key, pattern) = (json.str_of("key")?, json.str_of("pattern")?);
                let glob = (pattern.len() <= PATTERN_MAX).then(|| Glob::new(pattern))?;
                if key == "content.body" { Condition::Words(glob) } else { Condition::Match(keys(key), glob) }
            }
            "event_property_is" => Condition::Is(key()?, value()?),
            "event_property_contains" => Condition::Contains(key()?, value()?),
            "contains_display_name" => Condition::DisplayName,
            "room_member_count" => members(json.str_of("is")?)?,
            "sender_notification_permission" => Condition::Permission(Str::new(json.str_of("key")?)),
            _ => return None,
        })
    }

    pub(super) fn holds(&self, subject: &Subject<'_>, reader: Reader<'_>) -> bool {
        let value = |path: &[Str]| path.iter().try_fold(subject.event, |json, key| json.get(key));
        match self {
            Condition::Match(path, glob) => {
                value(path).and_then(Json::as_str).is_some_and(|s| glob.fits_text(cut(s)))
            }
            Condition::Words(glob) => subject.words(glob),
            Condition::Is(path, wanted) => value(path).is_some_and(|v| is_plain(v) && v == wanted),
            Condition::Contains(path, wanted) => value(path)
                .and_then(Json::as_array)
                .is_some_and(|list| list.iter().any(|v| is_plain(v) && v == wanted)),
            Condition::MatchReader(path) => {
                value(path).and_then(Json::as_str).is_some_and(|s| Glob::literal(reader.id).fits_text(s))
            }
            Condition::ContainsReader(path) => value(path)
                .and_then(Json::as_array)
                .is_some_and(|list| list.iter().any(|v| v.as_str() == Some(reader.id))),
            Condition::DisplayName => reader
                .display
                .filter(|name| !name.is_empty() && name.len() <= PATTERN_MAX)
                // The name is no pattern: stars and question marks in it stand for themselves.
                .is_some_and(|name| subject.words(&Glob::literal(name))),
            Condition::Members(order, or_equal, count) => {
                let found = subject.members.cmp(count);
                found == *order || (*or_equal && found.is_eq())
            }
            Condition::Permission(key) => subject.may(key),
            Condition::Never => false,
        }
    }
}

/// Values that conditions compare with: no arrays, objects, fractions.
fn is_plain(value: &Json) -> bool {
    matches!(value, Json::Null | Json::Bool(_) | Json::Int(_) | Json::Str(_))
}

fn members(is: &str) -> Option<Condition> {
    use std::cmp::Ordering::*;
    let digits = is.trim_start_matches(['<', '>', '=']);
    let (order, or_equal) = match &is[..is.len() - digits.len()] {
        "" | "==" => (Equal, true),
        "<" => (Less, false),
        "<=" => (Less, true),
        ">" => (Greater, false),
        ">=" => (Greater, true),
        _ => return None,
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().map(|n| Condition::Members(order, or_equal, n))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn conditions() {
        let event = json(
            r#"{"type":"m.room.message","sender":"@b:x","content":{"body":"Hi Alice?","n":1,"f":true,"z":null,
                "m.mentions":{"user_ids":["@a:x",["@c:x"]]},"float":1.5}}"#,
        );
        let levels = json(r#"{"notifications":{"room":20,"old":"30"}}"#);
        let powers = || Powers { sender: 25, levels: Some(levels.clone()) };
        let subject = Subject::new(&event, 3, &powers);
        let reader = Reader { id: "@a:x", display: Some("alice?") };
        for (condition, holds) in [
            (r#"{"kind":"event_match","key":"type","pattern":"M.room.*"}"#, true),
            (r#"{"kind":"event_match","key":"type","pattern":"room"}"#, false),
            (r#"{"kind":"event_match","key":"content.body","pattern":"alice"}"#, true),
            (r#"{"kind":"event_match","key":"content.body","pattern":"lice"}"#, false),
            (r#"{"kind":"event_match","key":"content.n","pattern":"*"}"#, false),
            (r#"{"kind":"event_match","key":"content.none","pattern":"*"}"#, false),
            (r#"{"kind":"event_match","key":"type"}"#, false),
            (r#"{"kind":"event_property_is","key":"content.f","value":true}"#, true),
            (r#"{"kind":"event_property_is","key":"content.f","value":"true"}"#, false),
            (r#"{"kind":"event_property_is","key":"content.n","value":1}"#, true),
            (r#"{"kind":"event_property_is","key":"content.z","value":null}"#, true),
            (r#"{"kind":"event_property_is","key":"content.none","value":null}"#, false),
            (r#"{"kind":"event_property_is","key":"content.float","value":1.5}"#, false),
            (
                r#"{"kind":"event_property_contains","key":"content.m\\.mentions.user_ids","value":"@a:x"}"#,
                true,
            ),
            (
                r#"{"kind":"event_property_contains","key":"content.m\\.mentions.user_ids","value":"@c:x"}"#,
                false,
            ),
            (r#"{"kind":"event_property_contains","key":"content.body","value":"Hi"}"#, false),
            (r#"{"kind":"contains_display_name"}"#, true),
            (r#"{"kind":"room_member_count","is":"3"}"#, true),
            (r#"{"kind":"room_member_count","is":"==3"}"#, true),
            (r#"{"kind":"room_member_count","is":"<3"}"#, false),
            (r#"{"kind":"room_member_count","is":"<=3"}"#, true),
            (r#"{"kind":"room_member_count","is":">2"}"#, true),
            (r#"{"kind":"room_member_count","is":">=4"}"#, false),
            (r#"{"kind":"room_member_count","is":"=3"}"#, false),
            (r#"{"kind":"room_member_count","is":""}"#, false),
            (r#"{"kind":"sender_notification_permission","key":"room"}"#, true),
            (r#"{"kind":"sender_notification_permission","key":"old"}"#, false),
            (r#"{"kind":"sender_notification_permission","key":"other"}"#, false),
            (r#"{"kind":"org.example.unknown"}"#, false),
            ("{}", false),
        ] {
            assert_eq!(Condition::new(&json(condition)).holds(&subject, reader), holds, "{condition}");
        }
    }
}
