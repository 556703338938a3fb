//! Which events of the room's state authorise an event (server-server API, "Auth events selection").

use super::Version;
use crate::json::Json;
use lavina_core::text::Str;

/// Types and keys of the state events that authorise an event: those of them that the room has.
///
/// `content` is the event's; for a change of state, `state_key` is its key.
pub fn auth_types(
    kind: &str,
    state_key: Option<&str>,
    sender: &str,
    content: &Json,
    version: Version,
) -> Vec<(&'static str, Str)> {
    let mut out: Vec<(&'static str, Str)> = Vec::new();
    if kind == "m.room.create" {
        return out;
    }
    let mut add = |kind: &'static str, key: &str| {
        if !out.iter().any(|(k, s)| *k == kind && s == key) {
            out.push((kind, Str::new(key)));
        }
    };
    if !version.room_id_is_hash() {
        add("m.room.create", "");
    }
    add("m.room.power_levels", "");
    add("m.room.member", sender);
    if kind == "m.room.member" {
        add("m.room.member", state_key.unwrap_or_default());
        let membership = content.str_of("membership").unwrap_or_default();
        if matches!(membership, "join" | "invite" | "knock") {
            add("m.room.join_rules", "");
        }
        let token = content.at(&["third_party_invite", "signed", "token"]).and_then(Json::as_str);
        if let Some(token) = token.filter(|_| membership == "invite") {
            add("m.room.third_party_invite", token);
        }
        let by = content.str_of("join_authorised_via_users_server");
        if let Some(by) = by.filter(|_| membership == "join" && version.has_restricted()) {
            add("m.room.member", by);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Version::*;

    #[track_caller]
    fn check(version: Version, kind: &str, key: Option<&str>, content: &str, expected: &[(&str, &str)]) {
        let content = Json::parse(content.as_bytes()).unwrap();
        let found = auth_types(kind, key, "@a:x", &content, version);
        let found: Vec<(&str, &str)> = found.iter().map(|(k, s)| (*k, s.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn selections() {
        let (create, levels, own) =
            (("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", "@a:x"));
        let (rules, target) = (("m.room.join_rules", ""), ("m.room.member", "@b:x"));
        check(V12, "m.room.create", Some(""), "{}", &[]);
        check(V11, "m.room.message", None, "{}", &[create, levels, own]);
        check(V12, "m.room.message", None, "{}", &[levels, own]);
        let member = "m.room.member";
        check(V12, member, Some("@a:x"), r#"{"membership":"join"}"#, &[levels, own, rules]);
        check(V12, member, Some("@b:x"), r#"{"membership":"ban"}"#, &[levels, own, target]);
        check(
            V12,
            member,
            Some("@b:x"),
            r#"{"membership":"invite","third_party_invite":{"signed":{"token":"t"}}}"#,
            &[levels, own, target, rules, ("m.room.third_party_invite", "t")],
        );
        check(
            V10,
            member,
            Some("@a:x"),
            r#"{"membership":"join","join_authorised_via_users_server":"@c:x"}"#,
            &[create, levels, own, rules, ("m.room.member", "@c:x")],
        );
        // Before version 8 nobody vouches for a join.
        check(
            V7,
            member,
            Some("@a:x"),
            r#"{"membership":"join","join_authorised_via_users_server":"@c:x"}"#,
            &[create, levels, own, rules],
        );
    }
}
