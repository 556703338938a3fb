//! Who is mentioned in a plain text, as people on other protocols do it: `nick: …`, `@nick`, `@room`.

use crate::json::{Json, Map};
use crate::matrix::ids;
use lavina_core::name::UserName;

/// People that one message can mention.
pub const MENTIONS_MAX: usize = 10;

/// The `m.mentions` of a text (client-server API, "User and room mentions"). `known`: whether somebody has that name;
/// `room`: whether the sender may call everybody.
pub fn mentions(text: &str, domain: &str, known: &dyn Fn(&UserName) -> bool, room: bool) -> Json {
    let mut names: Vec<UserName> = Vec::new();
    let mut add = |name: &str| {
        let name =
            UserName::new(name).ok().filter(|n| names.len() < MENTIONS_MAX && !names.contains(n) && known(n));
        let found = name.is_some();
        names.extend(name);
        found
    };
    let mut rest = text.trim_start();
    while let Some((name, after)) = addressed(rest) {
        if !add(name) {
            break;
        }
        rest = after.trim_start();
    }
    let mut everybody = false;
    for (at, _) in text.match_indices('@') {
        if text[..at].ends_with(|c: char| c.is_alphanumeric()) {
            continue;
        }
        match called(&text[at + 1..], domain) {
            Some("room") => everybody = room,
            Some(name) => _ = add(name),
            None => {}
        }
    }
    let mut out = Map::new();
    if everybody {
        out.insert("room", true);
    }
    if !names.is_empty() {
        out.insert("user_ids", names.iter().map(|n| ids::account_id(n, domain)).collect::<Vec<_>>());
    }
    Json::Object(out)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.[]\\`^{}|".contains(c)
}

/// The name at the front with a colon or comma after it, and what follows.
fn addressed(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('@').unwrap_or(text);
    let end = text.find(|c| !is_name(c))?;
    let after = text[end..].strip_prefix([':', ','])?;
    let stands_alone = after.is_empty() || after.starts_with(char::is_whitespace);
    (end > 0 && stands_alone).then(|| (&text[..end], after))
}

/// The name after an `@`; none if it belongs to another server.
fn called<'a>(text: &'a str, domain: &str) -> Option<&'a str> {
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    if let Some(server) =
        text[end..].strip_prefix(':').filter(|s| s.starts_with(|c: char| c.is_ascii_alphanumeric()))
    {
        let stop =
            server.find(|c: char| !(c.is_ascii_alphanumeric() || ".-:".contains(c))).unwrap_or(server.len());
        let server = server[..stop].trim_end_matches(['.', ':', '-']);
        return (server == domain).then(|| &text[..end]);
    }
    let name = text[..end].trim_end_matches('.');
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, json: &str) {
        let known = |n: &UserName| n.as_str() != "note";
        assert_eq!(
            String::from_utf8_lossy(&mentions(text, "x.org", &known, true).to_bytes()),
            json,
            "{text}"
        );
    }

    #[test]
    fn mentions_of_plain_text() {
        check("hi alice", "{}");
        check("Alice: hi", r#"{"user_ids":["@alice:x.org"]}"#);
        check("alice, bob: hi", r#"{"user_ids":["@alice:x.org","@bob:x.org"]}"#);
        check("note: alice: hi", "{}");
        check("alice:hi", "{}");
        check("alice:", r#"{"user_ids":["@alice:x.org"]}"#);
        check(
            "hi @alice, and @bob. (@foo[w])",
            r#"{"user_ids":["@alice:x.org","@bob:x.org","@foo=5bw=5d:x.org"]}"#,
        );
        check("@alice: hi @alice", r#"{"user_ids":["@alice:x.org"]}"#);
        check("mail bob@x.org or é@bob", "{}");
        check("@alice:x.org and @bob:y.org.", r#"{"user_ids":["@alice:x.org"]}"#);
        check("@room hi", r#"{"room":true}"#);
        check("@ @@ @note :", "{}");
        assert_eq!(mentions("@room", "x.org", &|_| true, false), Json::object());
    }

    #[test]
    fn mentions_are_few() {
        let text: String = (0..30).map(|n| format!("@u{n} ")).collect();
        let found = mentions(&text, "x.org", &|_| true, true);
        assert_eq!(found.get("user_ids").and_then(Json::as_array).map(<[Json]>::len), Some(MENTIONS_MAX));
    }
}
