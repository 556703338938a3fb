#![allow(clippy::unwrap_used)]
use super::super::condition::Powers;
use super::*;

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap()
}

const NOTIFY: &str = r#"{"actions":["notify"]}"#;
const ALICE: &str = "@alice:x.org";

fn plain() -> Ruleset {
    Ruleset::new(&Predefined::default(), ALICE)
}

fn own(rules: &Ruleset, kind: Kind) -> Vec<String> {
    rules.list(kind).iter().filter(|r| !r.default).map(|r| r.id.to_string()).collect()
}

fn put(rules: &mut Ruleset, id: &str, place: Place<'_>) -> Result<(), BadRule> {
    rules.put(Kind::Override, id, &json(NOTIFY), place)
}

/// Which rule an event falls under for Alice, and whether she is told and how loud.
fn judged(rules: &Ruleset, members: u64, event: &str) -> Option<(String, bool, bool)> {
    let event = json(event);
    let levels = json(r#"{"notifications":{"room":50}}"#);
    let powers = || Powers { sender: 50, levels: Some(levels.clone()) };
    let subject = Subject::new(&event, members, &powers);
    let (_, rule) = rules.evaluate(&subject, Reader { id: ALICE, display: Some("Alice") })?;
    Some((rule.id.to_string(), rule.actions.notify(), rule.actions.highlight()))
}

#[test]
fn the_predefined_rules() {
    let rules = plain();
    let by_bob = |rest: &str| format!(r#"{{"sender":"@bob:x.org","room_id":"!r",{rest}}}"#);
    let message = |content: &str| {
        by_bob(&format!(r#""type":"m.room.message","content":{{"msgtype":"m.text","body":"x"{content}}}"#))
    };
    let is = |members, event: &str, id: &str, notify, highlight| {
        assert_eq!(judged(&rules, members, event), Some((id.to_owned(), notify, highlight)), "{event}");
    };
    is(3, &message(""), ".m.rule.message", true, false);
    is(2, &message(""), ".m.rule.room_one_to_one", true, false);
    is(3, &message(r#","m.mentions":{"user_ids":["@alice:x.org"]}"#), ".m.rule.is_user_mention", true, true);
    is(3, &message(r#","m.mentions":{"room":true}"#), ".m.rule.is_room_mention", true, true);
    is(3, &message(r#","m.relates_to":{"rel_type":"m.replace"}"#), ".m.rule.suppress_edits", false, false);
    // What the text says counts only where the sender does not say it himself.
    let text = |text: &str, rest: &str| {
        by_bob(&format!(r#""type":"m.room.message","content":{{"body":"{text}"{rest}}}"#))
    };
    is(3, &text("hi alice!", ""), ".m.rule.contains_display_name", true, true);
    is(3, &text("@room: tea", ""), ".m.rule.roomnotif", true, true);
    for body in ["hi alice!", "@room: tea"] {
        is(3, &text(body, r#","m.mentions":{}"#), ".m.rule.message", true, false);
    }
    is(
        3,
        &by_bob(r#""type":"m.room.message","content":{"msgtype":"m.notice"}"#),
        ".m.rule.suppress_notices",
        false,
        false,
    );
    is(
        2,
        &by_bob(r#""type":"m.room.encrypted","content":{}"#),
        ".m.rule.encrypted_room_one_to_one",
        true,
        false,
    );
    is(3, &by_bob(r#""type":"m.room.encrypted","content":{}"#), ".m.rule.encrypted", true, false);
    is(3, &by_bob(r#""type":"m.reaction","content":{}"#), ".m.rule.reaction", false, false);
    is(3, &by_bob(r#""type":"m.call.invite","content":{}"#), ".m.rule.call", true, false);
    is(
        3,
        &by_bob(r#""type":"m.room.tombstone","state_key":"","content":{}"#),
        ".m.rule.tombstone",
        true,
        true,
    );
    is(
        3,
        &by_bob(r#""type":"m.room.member","state_key":"@alice:x.org","content":{"membership":"invite"}"#),
        ".m.rule.invite_for_me",
        true,
        false,
    );
    is(
        3,
        &by_bob(r#""type":"m.room.member","state_key":"@bob:x.org","content":{"membership":"join"}"#),
        ".m.rule.member_event",
        false,
        false,
    );
    assert_eq!(judged(&rules, 3, &by_bob(r#""type":"org.example","content":{}"#)), None);
    let own = r#"{"sender":"@alice:x.org","type":"m.room.message","content":{"body":"x"}}"#;
    assert_eq!(judged(&rules, 3, own), None, "nobody is told of their own");
}

#[test]
fn own_rules_come_first_and_the_master_before_all() {
    let mut rules = plain();
    let event = r#"{"sender":"@bob:x.org","room_id":"!r","type":"m.room.message","content":{"body":"It's time for tea"}}"#;
    rules.put(Kind::Sender, "@bob:x.org", &json(r#"{"actions":["dont_notify"]}"#), Place::default()).unwrap();
    assert_eq!(judged(&rules, 3, event), Some(("@bob:x.org".into(), false, false)));
    rules.put(Kind::Room, "!r", &json(NOTIFY), Place::default()).unwrap();
    assert_eq!(judged(&rules, 3, event).unwrap().0, "!r");
    rules
        .put(
            Kind::Content,
            "tea",
            &json(r#"{"pattern":"tea","actions":["notify",{"set_tweak":"sound","value":"bing"}]}"#),
            Place::default(),
        )
        .unwrap();
    assert_eq!(judged(&rules, 3, event).unwrap().0, "tea");
    assert_eq!(rules.get(Kind::Content, "tea").unwrap().actions.sound(), Some("bing"));
    rules
        .put(
            Kind::Override,
            "none",
            &json(r#"{"conditions":[{"kind":"org.unknown"}],"actions":[]}"#),
            Place::default(),
        )
        .unwrap();
    assert_eq!(judged(&rules, 3, event).unwrap().0, "tea", "unknown conditions never hold");
    put(&mut rules, "all", Place::default()).unwrap();
    assert_eq!(judged(&rules, 3, event).unwrap().0, "all");
    rules.set_enabled(Kind::Override, MASTER, &json(r#"{"enabled":true}"#)).unwrap();
    assert_eq!(judged(&rules, 3, event), Some((MASTER.into(), false, false)));
}

#[test]
fn places() {
    let mut rules = plain();
    let before = |id| Place { before: Some(id), after: None };
    let after = |id| Place { before: None, after: Some(id) };
    put(&mut rules, "a", Place::default()).unwrap();
    put(&mut rules, "b", Place::default()).unwrap();
    assert_eq!(own(&rules, Kind::Override), ["b", "a"]);
    put(&mut rules, "c", before("a")).unwrap();
    put(&mut rules, "d", after("a")).unwrap();
    assert_eq!(own(&rules, Kind::Override), ["b", "c", "a", "d"]);
    put(&mut rules, "b", Place { before: Some("d"), after: Some("a") }).unwrap();
    assert_eq!(own(&rules, Kind::Override), ["c", "a", "b", "d"]);
    put(&mut rules, "d", after("c")).unwrap();
    assert_eq!(own(&rules, Kind::Override), ["c", "d", "a", "b"]);
    put(&mut rules, "a", Place::default()).unwrap();
    assert_eq!(own(&rules, Kind::Override), ["c", "d", "a", "b"], "a change keeps the place");
    assert_eq!(rules.list(Kind::Override)[0].id, MASTER);
    for bad in [before("nope"), after(".m.rule.tombstone"), before("a")] {
        let error = put(&mut rules, "a", bad).unwrap_err();
        assert_eq!((error.errcode(), error.status()), ("M_UNKNOWN", 400));
    }
    assert_eq!(own(&rules, Kind::Override).len(), 4);
}

#[test]
fn what_is_refused_and_why() {
    let mut rules = plain();
    for (kind, id, body, errcode) in [
        (Kind::Override, ".m.mine", NOTIFY, "M_INVALID_PARAM"),
        (Kind::Override, "a/b", NOTIFY, "M_INVALID_PARAM"),
        (Kind::Override, "a\\b", NOTIFY, "M_INVALID_PARAM"),
        (Kind::Override, "", NOTIFY, "M_INVALID_PARAM"),
        (Kind::Override, "a", "{}", "M_BAD_JSON"),
        (Kind::Override, "a", "[]", "M_BAD_JSON"),
        (Kind::Override, "a", r#"{"actions":["shout"]}"#, "M_INVALID_PARAM"),
        (Kind::Override, "a", r#"{"actions":[{"value":1}]}"#, "M_INVALID_PARAM"),
        (Kind::Override, "a", r#"{"actions":[],"conditions":{}}"#, "M_BAD_JSON"),
        (Kind::Override, "a", r#"{"actions":[],"conditions":[{}]}"#, "M_BAD_JSON"),
        (Kind::Content, "a", NOTIFY, "M_BAD_JSON"),
    ] {
        assert_eq!(
            rules.put(kind, id, &json(body), Place::default()).unwrap_err().errcode(),
            errcode,
            "{id} {body}"
        );
    }
    let large = object! { "actions" => [object! { "set_tweak" => "x".repeat(5000) }] };
    assert_eq!(rules.put(Kind::Room, "a", &large, Place::default()), Err(BadRule::TooLarge));
    let not_found = Err(BadRule::NotFound);
    assert_eq!(rules.delete(Kind::Override, "a"), not_found);
    assert_eq!(rules.delete(Kind::Override, MASTER), not_found);
    assert_eq!(rules.set_enabled(Kind::Room, "a", &json(r#"{"enabled":true}"#)), not_found);
    assert_eq!(rules.set_actions(Kind::Room, "a", &json(NOTIFY)), not_found);
    assert_eq!(
        rules.set_enabled(Kind::Override, MASTER, &json(r#"{"enabled":1}"#)).unwrap_err().errcode(),
        "M_BAD_JSON"
    );
    for n in 0..RULES_MAX {
        rules.put(Kind::Room, &format!("!{n}"), &json(NOTIFY), Place::default()).unwrap();
    }
    assert_eq!(put(&mut rules, "a", Place::default()), Err(BadRule::TooMany));
    rules.put(Kind::Room, "!0", &json(NOTIFY), Place::default()).unwrap();
}

#[test]
fn what_clients_see() {
    let mut rules = plain();
    rules
        .put(
            Kind::Content,
            "nocake",
            &json(r#"{"pattern":"cake*lie","actions":["dont_notify"],"extra":1}"#),
            Place::default(),
        )
        .unwrap();
    let expected = json(
        r#"{"actions":["dont_notify"],"pattern":"cake*lie","rule_id":"nocake","enabled":true,"default":false}"#,
    );
    assert_eq!(rules.rule_json(Kind::Content, "nocake").unwrap(), expected);
    let global = rules.to_json();
    let count = |kind: &str| global.get(kind).and_then(Json::as_array).unwrap().len();
    assert_eq!(["override", "content", "room", "sender", "underride"].map(count), [12, 2, 0, 0, 5]);
    assert_eq!(
        rules.get(Kind::Override, ".m.rule.is_user_mention").unwrap().actions.tweaks(),
        json(r#"{"highlight":true,"sound":"default"}"#)
    );
    assert!(Kind::ALL.into_iter().all(|k| Kind::named(k.name()) == Some(k)) && Kind::named("x").is_none());
}

#[test]
fn what_is_kept_comes_back() {
    let mut rules = plain();
    assert_eq!(rules.to_stored(), json(r#"{"own":{},"changed":{}}"#));
    put(&mut rules, "a", Place::default()).unwrap();
    put(&mut rules, "b", Place::default()).unwrap();
    let odd = json(r#"{"conditions":[{"kind":"org.unknown","x":[1]}],"actions":[]}"#);
    rules.put(Kind::Underride, "odd", &odd, Place::default()).unwrap();
    rules.set_enabled(Kind::Override, "a", &json("false")).unwrap();
    rules.set_enabled(Kind::Override, MASTER, &json(r#"{"enabled":true}"#)).unwrap();
    rules.set_actions(Kind::Underride, ".m.rule.call", &json(r#"{"actions":[]}"#)).unwrap();
    let stored = rules.to_stored();
    assert_eq!(Ruleset::from_stored(&Predefined::default(), ALICE, &stored), rules);
    for broken in ["[]", r#"{"own":{"override":[{"rule_id":".x"},3]},"changed":{"gone":{"kind":"room"}}}"#] {
        assert_eq!(Ruleset::from_stored(&Predefined::default(), ALICE, &json(broken)), plain());
    }
}
