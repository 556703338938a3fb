//! What relates to an event, aggregated (client-server API, "Aggregations of child events").

use crate::json::{Json, Map};
use crate::object;

/// What is known of a thread.
#[derive(Clone, Debug)]
pub struct Thread<'a> {
    /// Its latest event, in the client's format.
    pub latest: &'a Json,
    /// How many events it has besides its root.
    pub count: u64,
    /// Whether who asks has written in it, or begun it.
    pub participated: bool,
}

/// What relates to an event.
#[derive(Clone, Debug, Default)]
pub struct Relations<'a> {
    /// The latest valid replacement of it, in the client's format.
    pub replaced: Option<&'a Json>,
    /// The thread it is the root of.
    pub thread: Option<Thread<'a>>,
    /// Ids of events that refer to it (`m.reference`).
    pub references: Vec<String>,
}

impl Relations<'_> {
    /// The value of `m.relations`; none if nothing relates to the event. A redacted event has no replacement: leave it
    /// out there.
    pub fn to_json(&self) -> Option<Json> {
        let mut out = Map::new();
        if !self.references.is_empty() {
            let chunk: Vec<Json> = self.references.iter().map(|id| object! { "event_id" => id }).collect();
            out.insert("m.reference", object! { "chunk" => chunk });
        }
        if let Some(replaced) = self.replaced {
            out.insert("m.replace", replaced.clone());
        }
        if let Some(thread) = &self.thread {
            let value = object! {
                "latest_event" => thread.latest.clone(),
                "count" => thread.count,
                "current_user_participated" => thread.participated,
            };
            out.insert("m.thread", value);
        }
        (!out.is_empty()).then_some(Json::Object(out))
    }
}

/// Whether a replacement is valid for an event (client-server API, "Validity of replacement events"): both in the
/// client's format, of the same room.
pub fn replaces(replacement: &Json, original: &Json) -> bool {
    let same =
        |key: &str| replacement.str_of(key).is_some() && replacement.str_of(key) == original.str_of(key);
    let relation = |event: &Json| {
        event.at(&["content", "m.relates_to", "rel_type"]).and_then(Json::as_str).map(str::to_owned)
    };
    let target = replacement.at(&["content", "m.relates_to", "event_id"]).and_then(Json::as_str);
    let encrypted = replacement.str_of("type") == Some("m.room.encrypted");
    let new = replacement.at(&["content", "m.new_content"]).is_some_and(|new| new.as_object().is_some());
    same("sender")
        && same("type")
        && replacement.get("state_key").is_none()
        && original.get("state_key").is_none()
        && relation(replacement).as_deref() == Some("m.replace")
        && relation(original).as_deref() != Some("m.replace")
        && target == original.str_of("event_id")
        && (new || encrypted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, relation: Option<(&str, &str)>) -> Json {
        let mut content = object! { "body" => "x", "m.new_content" => object! {} };
        if let Some((kind, target)) = relation {
            content.set("m.relates_to", object! { "rel_type" => kind, "event_id" => target });
        }
        object! { "event_id" => id, "sender" => "@a:x", "type" => "m.room.message", "content" => content }
    }

    #[test]
    fn aggregations() {
        assert_eq!(Relations::default().to_json(), None);
        let latest = message("$2", None);
        let thread = Thread { latest: &latest, count: 7, participated: true };
        let all = Relations { replaced: Some(&latest), thread: Some(thread), references: vec!["$3".into()] };
        let expected = object! {
            "m.reference" => object! { "chunk" => [object! { "event_id" => "$3" }] },
            "m.replace" => latest.clone(),
            "m.thread" => object! { "latest_event" => latest.clone(), "count" => 7, "current_user_participated" => true },
        };
        assert_eq!(all.to_json(), Some(expected));
    }

    #[test]
    fn valid_replacements() {
        let (original, edit) = (message("$1", None), message("$2", Some(("m.replace", "$1"))));
        assert!(replaces(&edit, &original));
        assert!(!replaces(&message("$2", Some(("m.thread", "$1"))), &original));
        assert!(!replaces(&message("$3", Some(("m.replace", "$2"))), &edit), "an edit is not edited");
        assert!(!replaces(&message("$3", Some(("m.replace", "$9"))), &original));
        for (key, value) in [("sender", "@b:x"), ("type", "m.sticker"), ("state_key", "")] {
            let mut other = edit.clone();
            other.set(key, value);
            assert!(!replaces(&other, &original), "{key}");
        }
        let mut bare = edit.clone();
        bare.set(
            "content",
            object! { "m.relates_to" => object! { "rel_type" => "m.replace", "event_id" => "$1" } },
        );
        assert!(!replaces(&bare, &original), "nothing to replace it with");
    }
}
