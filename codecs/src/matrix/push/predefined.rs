//! The rules that everybody has (client-server API, "Predefined Rules").

use super::rule::{Actions, Kind, Rule};
use crate::json::Json;
use crate::object;

/// The predefined rules of a kind, the same for everybody: `null` stands for the person's id. The first of the overrides,
/// the master rule, comes even before people's own rules; all others after them.
pub(super) fn rules(kind: Kind) -> Vec<Rule> {
    match kind {
        Kind::Override => overrides(),
        Kind::Underride => underrides(),
        // The pattern is the person's localpart.
        Kind::Content => vec![Rule::made(USER_NAME, vec![], Actions::of(true, Some("default"), true))],
        Kind::Room | Kind::Sender => Vec::new(),
    }
}

/// The ids of the rules that look for mentions in the text. They are of before v1.7, and are passed over where the sender
/// says whom the event mentions.
pub(super) const OF_TEXT: [&str; 3] = [USER_NAME, DISPLAY_NAME, AT_ROOM];
pub(super) const USER_NAME: &str = ".m.rule.contains_user_name";
const DISPLAY_NAME: &str = ".m.rule.contains_display_name";
const AT_ROOM: &str = ".m.rule.roomnotif";

/// The id of the rule that switches everything off.
pub(super) const MASTER: &str = ".m.rule.master";

fn matches(key: &str, pattern: impl Into<Json>) -> Json {
    object! { "kind" => "event_match", "key" => key, "pattern" => pattern.into() }
}

fn is(key: &str, value: impl Into<Json>) -> Json {
    object! { "kind" => "event_property_is", "key" => key, "value" => value.into() }
}

fn overrides() -> Vec<Rule> {
    let silent = || Actions::of(false, None, false);
    let mentioned = object! {
        "kind" => "event_property_contains",
        "key" => "content.m\\.mentions.user_ids",
        "value" => Json::Null,
    };
    let may_call = || object! { "kind" => "sender_notification_permission", "key" => "room" };
    let mut master = Rule::made(MASTER, vec![], silent());
    master.enabled = false;
    vec![
        master,
        Rule::made(".m.rule.suppress_notices", vec![matches("content.msgtype", "m.notice")], silent()),
        Rule::made(
            ".m.rule.invite_for_me",
            vec![
                matches("type", "m.room.member"),
                matches("content.membership", "invite"),
                matches("state_key", Json::Null),
            ],
            Actions::of(true, Some("default"), false),
        ),
        Rule::made(".m.rule.member_event", vec![matches("type", "m.room.member")], silent()),
        Rule::made(".m.rule.is_user_mention", vec![mentioned], Actions::of(true, Some("default"), true)),
        Rule::made(
            DISPLAY_NAME,
            vec![object! { "kind" => "contains_display_name" }],
            Actions::of(true, Some("default"), true),
        ),
        Rule::made(
            ".m.rule.is_room_mention",
            vec![is("content.m\\.mentions.room", true), may_call()],
            Actions::of(true, None, true),
        ),
        Rule::made(
            AT_ROOM,
            vec![may_call(), matches("content.body", "@room")],
            Actions::of(true, None, true),
        ),
        Rule::made(
            ".m.rule.tombstone",
            vec![matches("type", "m.room.tombstone"), matches("state_key", "")],
            Actions::of(true, None, true),
        ),
        Rule::made(".m.rule.reaction", vec![matches("type", "m.reaction")], silent()),
        Rule::made(
            ".m.rule.room.server_acl",
            vec![matches("type", "m.room.server_acl"), matches("state_key", "")],
            silent(),
        ),
        Rule::made(
            ".m.rule.suppress_edits",
            vec![is("content.m\\.relates_to.rel_type", "m.replace")],
            silent(),
        ),
    ]
}

fn underrides() -> Vec<Rule> {
    let two = || object! { "kind" => "room_member_count", "is" => "2" };
    let sound = |sound| Actions::of(true, Some(sound), false);
    let rule = |id, conditions, actions| Rule::made(id, conditions, actions);
    vec![
        rule(".m.rule.call", vec![matches("type", "m.call.invite")], sound("ring")),
        rule(
            ".m.rule.encrypted_room_one_to_one",
            vec![two(), matches("type", "m.room.encrypted")],
            sound("default"),
        ),
        rule(".m.rule.room_one_to_one", vec![two(), matches("type", "m.room.message")], sound("default")),
        rule(".m.rule.message", vec![matches("type", "m.room.message")], Actions::of(true, None, false)),
        rule(".m.rule.encrypted", vec![matches("type", "m.room.encrypted")], Actions::of(true, None, false)),
    ]
}
