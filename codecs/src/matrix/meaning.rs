//! What state events mean for everybody, both ways: join rules, history visibility, name and topic.

use super::html;
use super::ids::alias;
use super::pdu::Version;
use crate::json::Json;
use crate::object;
use lavina_core::policy::{JoinRule, Policy, Visibility};
use lavina_core::row::RoomHead;
use lavina_core::text::{Rich, Str};

/// The join rule that a content stands for; none if it is no rule.
pub fn join_rule(content: &Json) -> Option<JoinRule> {
    match content.str_of("join_rule")? {
        "public" => Some(JoinRule::Public),
        "invite" | "private" | "restricted" => Some(JoinRule::Invite),
        "knock" | "knock_restricted" => Some(JoinRule::Knock),
        _ => None,
    }
}

/// The content that stands for the policy's join rule in a room of that version. `native`: what a client set; it holds
/// where it means the same.
pub fn join_rules(policy: &Policy, native: Option<Json>, version: Version) -> Json {
    if policy.password.is_some() && policy.join == JoinRule::Public {
        // Whoever knows the password comes in where it can be said; here our server vouches for him.
        let rule = ["knock_restricted", "restricted"].into_iter().find(|rule| version.has_join_rule(rule));
        return match rule {
            Some(rule) => object! { "join_rule" => rule, "allow" => Json::Array(Vec::new()) },
            None => object! { "join_rule" => "invite" },
        };
    }
    if let Some(native) = native.filter(|n| join_rule(n) == Some(policy.join)) {
        return native;
    }
    let rule = match policy.join {
        JoinRule::Public => "public",
        JoinRule::Invite => "invite",
        JoinRule::Knock if version.has_knock() => "knock",
        JoinRule::Knock => "invite",
    };
    object! { "join_rule" => rule }
}

/// The history visibility that a content stands for; none if it is no value.
pub fn visibility(content: &Json) -> Option<Visibility> {
    match content.str_of("history_visibility")? {
        "shared" => Some(Visibility::Shared),
        "joined" => Some(Visibility::Joined),
        "invited" => Some(Visibility::Invited),
        "world_readable" => Some(Visibility::World),
        _ => None,
    }
}

/// The content that stands for it.
pub fn history_visibility(policy: &Policy) -> Json {
    let value = match policy.history {
        Visibility::Shared => "shared",
        Visibility::Joined => "joined",
        Visibility::Invited => "invited",
        Visibility::World => "world_readable",
    };
    object! { "history_visibility" => value }
}

/// The topic that a content stands for: the plain text, with the formatting of the rich form where it says the same
/// (client-server API, "m.room.topic").
pub fn topic(content: &Json) -> Rich {
    let forms = content.at(&["m.topic", "m.text"]).and_then(Json::as_array).unwrap_or_default();
    let form = |html: bool| {
        let fits = |f: &&Json| (f.str_of("mimetype") == Some("text/html")) == html;
        forms.iter().find(fits).and_then(|f| f.str_of("body"))
    };
    let plain = content.str_of("topic").or(form(false)).unwrap_or_default();
    let rich = form(true).map(|said| html::read(said, &html::Nameless));
    rich.filter(|rich| rich.text == plain && rich.spans.len() <= html::SPANS_MAX)
        .unwrap_or_else(|| Rich::plain(plain))
}

/// The content that stands for a topic.
pub fn topic_content(text: &Rich) -> Json {
    let mut forms = Vec::new();
    if let Some(html) = html::write(text) {
        forms.push(object! { "mimetype" => "text/html", "body" => html });
    }
    forms.push(object! { "body" => &text.text });
    object! { "topic" => &text.text, "m.topic" => object! { "m.text" => forms } }
}

/// The content that stands for the room's title.
pub fn name(title: &Str) -> Json {
    object! { "name" => title }
}

/// The title that a content stands for.
pub fn title(content: &Json) -> Str {
    Str::new(content.str_of("name").unwrap_or_default())
}

/// The content that says under which name the room is known, if it has one.
pub fn canonical_alias(head: &RoomHead, domain: &str) -> Option<Json> {
    head.name.as_ref().map(|name| object! { "alias" => alias(name, domain) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lavina_core::text::{Span, Style};

    #[test]
    fn join_rules_keep_what_a_client_set_while_it_holds() {
        let policy = |join| Policy { join, ..Policy::default() };
        let restricted = object! { "join_rule" => "restricted", "allow" => [Json::object()] };
        assert_eq!(join_rule(&restricted), Some(JoinRule::Invite));
        assert_eq!(join_rules(&policy(JoinRule::Invite), Some(restricted.clone()), Version::V12), restricted);
        let open = join_rules(&policy(JoinRule::Public), Some(restricted), Version::V12);
        assert_eq!(open, object! { "join_rule" => "public" });
        let secret = Policy { password: Some(Str::new("x")), ..Policy::default() };
        for (version, rule) in
            [(Version::V7, "invite"), (Version::V9, "restricted"), (Version::V10, "knock_restricted")]
        {
            let said = join_rules(&secret, Some(open.clone()), version);
            assert_eq!(said.str_of("join_rule"), Some(rule));
        }
        let knock = join_rules(&policy(JoinRule::Knock), None, Version::V6);
        assert_eq!(knock.str_of("join_rule"), Some("invite"));
        assert_eq!(join_rule(&object! { "join_rule" => "x" }), None);
        for rule in [JoinRule::Public, JoinRule::Invite, JoinRule::Knock] {
            assert_eq!(join_rule(&join_rules(&policy(rule), None, Version::V12)), Some(rule));
        }
    }

    #[test]
    fn visibilities_read_back() {
        for history in [Visibility::Shared, Visibility::Joined, Visibility::Invited, Visibility::World] {
            let policy = Policy { history, ..Policy::default() };
            assert_eq!(visibility(&history_visibility(&policy)), Some(history));
        }
        assert_eq!(visibility(&object! { "history_visibility" => 1 }), None);
    }

    #[test]
    fn topics_read_back() {
        let span = Span { from: 0, to: 1, style: Style::Bold };
        for text in [Rich::plain("x"), Rich { text: Str::new("x y"), spans: vec![span] }, Rich::plain("")] {
            assert_eq!(topic(&topic_content(&text)), text);
        }
        assert_eq!(topic(&object! { "topic" => 5 }), Rich::plain(""));
        let forms = object! { "m.text" => [object! { "mimetype" => "text/html", "body" => "<b>other</b>" }] };
        assert_eq!(topic(&object! { "topic" => "x", "m.topic" => forms }), Rich::plain("x"));
    }
}
