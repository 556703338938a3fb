//! What a redaction leaves of an event (room versions 6, 8, 9 and 11, "Redactions").

use super::Version;
use crate::json::{Json, Map};
use lavina_core::text::Str;

/// Keys of the event that stay in every version.
const KEPT: [&str; 12] = [
    "event_id",
    "type",
    "room_id",
    "sender",
    "state_key",
    "content",
    "hashes",
    "signatures",
    "depth",
    "prev_events",
    "auth_events",
    "origin_server_ts",
];

/// Keys that stay up to version 10.
const KEPT_BEFORE_11: [&str; 3] = ["prev_state", "origin", "membership"];

/// Keys of power levels that stay; `invite` from version 11 on.
const LEVELS: [&str; 9] = [
    "ban",
    "events",
    "events_default",
    "invite",
    "kick",
    "redact",
    "state_default",
    "users",
    "users_default",
];

/// The event without what a redaction removes. What is no object stays as it is.
pub fn redact(event: &Json, version: Version) -> Json {
    let Some(map) = event.as_object() else { return event.clone() };
    let from_11 = version >= Version::V11;
    let kind = event.str_of("type").unwrap_or_default();
    let kept = |key: &str| KEPT.contains(&key) || (!from_11 && KEPT_BEFORE_11.contains(&key));
    let pairs = map.iter().filter(|(key, _)| kept(key)).map(|(key, value)| match key.as_str() {
        "content" => (key.clone(), Json::Object(content(kind, value.as_object(), version))),
        _ => (key.clone(), value.clone()),
    });
    Json::Object(pairs.collect())
}

fn content(kind: &str, content: Option<&Map>, version: Version) -> Map {
    let Some(content) = content else { return Map::new() };
    let from_11 = version >= Version::V11;
    if kind == "m.room.create" && from_11 {
        return content.clone();
    }
    let kept: &[&str] = match kind {
        "m.room.member" if version >= Version::V9 => &["membership", "join_authorised_via_users_server"],
        "m.room.member" => &["membership"],
        "m.room.create" => &["creator"],
        "m.room.join_rules" if version >= Version::V8 => &["join_rule", "allow"],
        "m.room.join_rules" => &["join_rule"],
        "m.room.power_levels" => &LEVELS,
        "m.room.history_visibility" => &["history_visibility"],
        "m.room.redaction" if from_11 => &["redacts"],
        _ => &[],
    };
    let stays = |key: &str| kept.contains(&key) && (from_11 || key != "invite");
    let mut out: Map =
        content.iter().filter(|(k, _)| stays(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if kind == "m.room.member"
        && from_11
        && let Some(invite) = content.get("third_party_invite").and_then(Json::as_object)
    {
        // The object stays even without what it may hold, as widespread servers have it: hashes depend on it.
        let signed = invite.get("signed").map(|signed| (Str::new("signed"), signed.clone()));
        out.insert("third_party_invite", signed.into_iter().collect::<Map>());
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Version::*;

    #[track_caller]
    fn check(version: Version, event: &str, left: &str) {
        let json = |s: &str| Json::parse(s.as_bytes()).unwrap();
        assert_eq!(redact(&json(event), version), json(left), "{event} {version:?}");
        assert_eq!(redact(&json(left), version), json(left), "twice changes nothing");
    }

    #[test]
    fn keys_of_the_event() {
        let event = r#"{"type":"m.x","content":{"a":1},"unsigned":{},"origin":"x","membership":"join","prev_state":[],"depth":1,"redacts":"$e"}"#;
        check(
            V10,
            event,
            r#"{"type":"m.x","content":{},"origin":"x","membership":"join","prev_state":[],"depth":1}"#,
        );
        for version in [V11, V12] {
            check(version, event, r#"{"type":"m.x","content":{},"depth":1}"#);
        }
    }

    #[test]
    fn contents() {
        let of = |kind: &str, content: &str| format!(r#"{{"content":{content},"type":"{kind}"}}"#);
        for (kind, content, before, after) in [
            ("m.room.message", r#"{"body":"x"}"#, "{}", "{}"),
            (
                "m.room.create",
                r#"{"creator":"@a:x","room_version":"10"}"#,
                r#"{"creator":"@a:x"}"#,
                r#"{"creator":"@a:x","room_version":"10"}"#,
            ),
            (
                "m.room.member",
                r#"{"membership":"join","displayname":"A","join_authorised_via_users_server":"@b:x","third_party_invite":{"signed":{"t":1},"display_name":"x"}}"#,
                r#"{"membership":"join","join_authorised_via_users_server":"@b:x"}"#,
                r#"{"membership":"join","join_authorised_via_users_server":"@b:x","third_party_invite":{"signed":{"t":1}}}"#,
            ),
            (
                "m.room.join_rules",
                r#"{"join_rule":"x","allow":[],"y":1}"#,
                r#"{"join_rule":"x","allow":[]}"#,
                r#"{"join_rule":"x","allow":[]}"#,
            ),
            (
                "m.room.power_levels",
                r#"{"invite":1,"ban":2,"notifications":{}}"#,
                r#"{"ban":2}"#,
                r#"{"ban":2,"invite":1}"#,
            ),
            (
                "m.room.history_visibility",
                r#"{"history_visibility":"x","y":1}"#,
                r#"{"history_visibility":"x"}"#,
                r#"{"history_visibility":"x"}"#,
            ),
            ("m.room.redaction", r#"{"redacts":"$e","reason":"x"}"#, "{}", r#"{"redacts":"$e"}"#),
            ("m.room.aliases", r#"{"aliases":[]}"#, "{}", "{}"),
            ("m.room.member", r#"{"third_party_invite":{"x":1}}"#, "{}", r#"{"third_party_invite":{}}"#),
            ("m.room.member", r#"{"third_party_invite":"x"}"#, "{}", "{}"),
            ("m.x", "3", "{}", "{}"),
        ] {
            check(V9, &of(kind, content), &of(kind, before));
            check(V10, &of(kind, content), &of(kind, before));
            check(V11, &of(kind, content), &of(kind, after));
            check(V12, &of(kind, content), &of(kind, after));
        }
    }

    /// Versions 8 and 9 each added a key that later rules need.
    #[test]
    fn what_older_versions_leave_less() {
        let rules = r#"{"type":"m.room.join_rules","content":{"join_rule":"restricted","allow":[],"x":1}}"#;
        let member = r#"{"type":"m.room.member","content":{"membership":"join","join_authorised_via_users_server":"@b:x","displayname":"A"}}"#;
        let (bare, full) = (
            r#"{"type":"m.room.join_rules","content":{"join_rule":"restricted"}}"#,
            r#"{"type":"m.room.join_rules","content":{"join_rule":"restricted","allow":[]}}"#,
        );
        let (alone, vouched) = (
            r#"{"type":"m.room.member","content":{"membership":"join"}}"#,
            r#"{"type":"m.room.member","content":{"membership":"join","join_authorised_via_users_server":"@b:x"}}"#,
        );
        for (version, of_rules, of_member) in
            [(V6, bare, alone), (V7, bare, alone), (V8, full, alone), (V9, full, vouched)]
        {
            check(version, rules, of_rules);
            check(version, member, of_member);
        }
        let event = r#"{"type":"m.x","content":{"a":1},"origin":"x","membership":"join","prev_state":[],"redacts":"$e"}"#;
        check(V6, event, r#"{"type":"m.x","content":{},"origin":"x","membership":"join","prev_state":[]}"#);
    }
}
