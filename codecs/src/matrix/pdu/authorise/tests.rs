use super::*;
use crate::object;
use Version::*;
use std::collections::BTreeMap;

const CREATOR: &str = "@c:x";
const ALICE: &str = "@alice:x";
const BOB: &str = "@bob:y";

fn event(kind: &str, sender: &str, state_key: Option<&str>, content: Json) -> Json {
    let mut event = object! {
        "type" => kind, "sender" => sender, "content" => content, "room_id" => "!r:x", "prev_events" => ["$p"],
    };
    if let Some(state_key) = state_key {
        event.set("state_key", state_key);
    }
    event
}

fn member(sender: &str, target: &str, membership: &str) -> Json {
    event("m.room.member", sender, Some(target), object! { "membership" => membership })
}

fn levels(sender: &str, content: Json) -> Json {
    event("m.room.power_levels", sender, Some(""), content)
}

/// A room: the create event, the creator in it with power 100, Alice in it with 50.
fn room(rule: &str, more: Vec<Json>) -> BTreeMap<(String, String), Json> {
    let create = event("m.room.create", CREATOR, Some(""), object! { "creator" => CREATOR });
    let users = object! { CREATOR => 100, ALICE => 50 };
    let mut all = vec![
        create,
        member(CREATOR, CREATOR, "join"),
        member(ALICE, ALICE, "join"),
        levels(CREATOR, object! { "users" => users, "events" => object! { "m.low" => 0 } }),
        event("m.room.join_rules", CREATOR, Some(""), object! { "join_rule" => rule }),
    ];
    all.extend(more);
    let key = |e: &Json| {
        (e.str_of("type").unwrap_or("").to_owned(), e.str_of("state_key").unwrap_or("").to_owned())
    };
    all.into_iter().map(|e| (key(&e), e)).collect()
}

fn judge(event: &Json, version: Version, room: &BTreeMap<(String, String), Json>) -> Result<(), Refused> {
    let state = State {
        get: &|kind, key| room.get(&(kind.to_owned(), key.to_owned())),
        create_id: "$create",
        signed_by: &|server| server == "x",
        third_party: &|signed, _| signed.get("good").is_some(),
    };
    authorise(event, version, &state)
}

#[track_caller]
fn allowed(event: &Json, room: &BTreeMap<(String, String), Json>) {
    let rules = room.get(&("m.room.join_rules".into(), String::new()));
    let rule = rules.and_then(|r| r.str_at("content.join_rule")).unwrap_or_default();
    for version in Version::ALL.into_iter().filter(|v| *v < V12 && v.has_join_rule(rule)) {
        assert_eq!(judge(event, version, room), Ok(()), "{event:?} {version:?}");
    }
}

#[track_caller]
fn refused(event: &Json, room: &BTreeMap<(String, String), Json>) {
    for version in Version::ALL {
        assert!(judge(event, version, room).is_err(), "{event:?}");
    }
}

#[test]
fn create_events() {
    let create = |change: &dyn Fn(&mut Json)| {
        let mut create = event("m.room.create", CREATOR, Some(""), object! { "creator" => CREATOR });
        create.set("prev_events", Json::Array(vec![]));
        change(&mut create);
        Version::ALL.map(|v| judge(&create, v, &BTreeMap::new()).is_ok())
    };
    assert_eq!(create(&|_| ()), [true, true, true, true, true, true, false]);
    let only = |last: [bool; 2]| [&[false; 5][..], &last].concat();
    assert_eq!(create(&|e| _ = e.take("room_id")).to_vec(), only([false, true]));
    assert_eq!(create(&|e| e.set("content", object! {})).to_vec(), only([true, false]));
    assert_eq!(create(&|e| e.set("prev_events", ["$e"])), [false; 7]);
    assert_eq!(create(&|e| e.set("room_id", "!r:y")), [false; 7]);
    let creators = |who: Json| {
        create(&|e| {
            e.take("room_id");
            e.set("content", object! { "additional_creators" => who.clone() });
        })
    };
    assert_eq!(creators([BOB].into()).to_vec(), only([false, true]));
    assert_eq!(creators(["bob"].into()), [false; 7]);
    assert_eq!(creators(BOB.into()), [false; 7]);
}

#[test]
fn joins() {
    allowed(&member(BOB, BOB, "join"), &room("public", vec![]));
    refused(&member(BOB, BOB, "join"), &room("invite", vec![]));
    refused(&member(ALICE, BOB, "join"), &room("public", vec![]));
    allowed(&member(BOB, BOB, "join"), &room("invite", vec![member(ALICE, BOB, "invite")]));
    allowed(&member(BOB, BOB, "join"), &room("knock", vec![member(ALICE, BOB, "invite")]));
    refused(&member(BOB, BOB, "join"), &room("public", vec![member(ALICE, BOB, "ban")]));
    refused(&member(BOB, BOB, "join"), &room("private", vec![member(ALICE, BOB, "invite")]));
    let vouched = |by: &str| {
        let content = object! { "membership" => "join", "join_authorised_via_users_server" => by };
        event("m.room.member", BOB, Some(BOB), content)
    };
    allowed(&vouched(ALICE), &room("restricted", vec![]));
    let knock_restricted = room("knock_restricted", vec![]);
    let judged = [V9, V10, V11].map(|v| judge(&vouched(ALICE), v, &knock_restricted).is_ok());
    assert_eq!(judged, [false, true, true]);
    let restricted = room("restricted", vec![]);
    let judged = [V6, V7, V8, V9].map(|v| judge(&vouched(ALICE), v, &restricted).is_ok());
    assert_eq!(judged, [false, false, true, true]);
    let knock = room("knock", vec![member(ALICE, BOB, "invite")]);
    let judged = [V6, V7].map(|v| judge(&member(BOB, BOB, "join"), v, &knock).is_ok());
    assert_eq!(judged, [false, true]);
    refused(&vouched("@nobody:x"), &room("restricted", vec![]));
    refused(&vouched(BOB), &room("restricted", vec![]));
    refused(&member(BOB, BOB, "join"), &room("restricted", vec![]));
    let mut first = member(CREATOR, CREATOR, "join");
    first.set("prev_events", ["$create"]);
    let mut empty = room("invite", vec![]);
    empty.retain(|(kind, _), _| kind == "m.room.create");
    assert!(Version::ALL.iter().all(|v| judge(&first, *v, &empty).is_ok()));
    first.set("prev_events", ["$create", "$more"]);
    refused(&first, &empty);
}

#[test]
fn invitations_kicks_bans_and_knocks() {
    allowed(&member(ALICE, BOB, "invite"), &room("invite", vec![]));
    refused(&member(BOB, "@d:x", "invite"), &room("invite", vec![]));
    refused(&member(ALICE, CREATOR, "invite"), &room("invite", vec![]));
    refused(&member(ALICE, BOB, "invite"), &room("invite", vec![member(ALICE, BOB, "ban")]));
    let joined = room("public", vec![member(BOB, BOB, "join")]);
    allowed(&member(BOB, BOB, "leave"), &joined);
    allowed(&member(ALICE, BOB, "leave"), &joined);
    allowed(&member(ALICE, BOB, "ban"), &joined);
    refused(&member(BOB, ALICE, "leave"), &joined);
    refused(&member(ALICE, CREATOR, "leave"), &joined);
    refused(&member(ALICE, CREATOR, "ban"), &joined);
    refused(&member(BOB, BOB, "leave"), &room("public", vec![]));
    let banned = room("public", vec![member(CREATOR, BOB, "ban")]);
    allowed(&member(ALICE, BOB, "leave"), &banned);
    refused(&member(BOB, BOB, "leave"), &banned);
    allowed(&member(BOB, BOB, "knock"), &room("knock", vec![]));
    let knock_restricted = room("knock_restricted", vec![member(BOB, BOB, "knock")]);
    let judged = [V9, V10, V11].map(|v| judge(&member(BOB, BOB, "knock"), v, &knock_restricted).is_ok());
    assert_eq!(judged, [false, true, true]);
    let knocks = room("knock", vec![]);
    let judged = [V6, V7, V8].map(|v| judge(&member(BOB, BOB, "knock"), v, &knocks).is_ok());
    assert_eq!(judged, [false, true, true]);
    let knocked = room("knock", vec![member(BOB, BOB, "knock")]);
    let judged = [V6, V7, V8].map(|v| judge(&member(BOB, BOB, "leave"), v, &knocked).is_ok());
    assert_eq!(judged, [false, true, true]);
    refused(&member(BOB, BOB, "knock"), &room("public", vec![]));
    refused(&member(ALICE, BOB, "knock"), &room("knock", vec![]));
    refused(&member(BOB, BOB, "knock"), &room("knock", vec![member(ALICE, BOB, "invite")]));
    refused(&member(BOB, BOB, "dance"), &room("public", vec![]));
    refused(&event("m.room.member", BOB, None, object! { "membership" => "join" }), &room("public", vec![]));
    refused(&event("m.room.member", BOB, Some(BOB), object! {}), &room("public", vec![]));
}

#[test]
fn third_party_invitations() {
    let invite = |signed: Json| {
        let content =
            object! { "membership" => "invite", "third_party_invite" => object! { "signed" => signed } };
        event("m.room.member", ALICE, Some(BOB), content)
    };
    let given = room("invite", vec![event("m.room.third_party_invite", ALICE, Some("t"), object! {})]);
    let good = object! { "mxid" => BOB, "token" => "t", "good" => 1 };
    allowed(&invite(good.clone()), &given);
    refused(&invite(good.clone()), &room("invite", vec![]));
    for (key, value) in [("mxid", "@d:x"), ("token", "u")] {
        let mut signed = good.clone();
        signed.set(key, value);
        refused(&invite(signed), &given);
    }
    refused(&invite(object! { "mxid" => BOB, "token" => "t" }), &given);
    let other = room("invite", vec![event("m.room.third_party_invite", CREATOR, Some("t"), object! {})]);
    refused(&invite(good), &other);
}

#[test]
fn sending() {
    let joined = room("public", vec![member(BOB, BOB, "join")]);
    allowed(&event("m.room.message", BOB, None, object! {}), &joined);
    refused(&event("m.room.message", "@d:x", None, object! {}), &joined);
    refused(&event("m.room.topic", BOB, Some(""), object! {}), &joined);
    allowed(&event("m.low", BOB, Some(""), object! {}), &joined);
    refused(&event("m.low", BOB, Some(ALICE), object! {}), &joined);
    allowed(&event("m.low", BOB, Some(BOB), object! {}), &joined);
    allowed(&event("m.room.topic", ALICE, Some(""), object! {}), &joined);
    let closed =
        event("m.room.create", CREATOR, Some(""), object! { "creator" => CREATOR, "m.federate" => false });
    let closed = room("public", vec![closed, member(BOB, BOB, "join")]);
    refused(&event("m.room.message", BOB, None, object! {}), &closed);
    allowed(&event("m.room.message", ALICE, None, object! {}), &closed);
}

#[test]
fn power_levels() {
    let room = room("public", vec![member(BOB, BOB, "join")]);
    let users = |alice: i64, bob: i64| object! { CREATOR => 100, ALICE => alice, BOB => bob };
    let by = |sender: &str, users: Json, more: Json| {
        let mut content = object! { "users" => users, "events" => object! { "m.low" => 0 } };
        for (key, value) in more.as_object().into_iter().flat_map(Map::iter) {
            content.set(key.clone(), value.clone());
        }
        levels(sender, content)
    };
    let none = || object! {};
    allowed(&by(ALICE, users(50, 50), none()), &room);
    allowed(&by(ALICE, users(10, 0), none()), &room);
    refused(&by(ALICE, users(51, 0), none()), &room);
    refused(&by(ALICE, users(50, 51), none()), &room);
    refused(&by(ALICE, object! { CREATOR => 50, ALICE => 50 }, none()), &room);
    refused(&by(BOB, users(50, 0), none()), &room);
    allowed(&by(ALICE, users(50, 0), object! { "kick" => 40 }), &room);
    refused(&by(ALICE, users(50, 0), object! { "kick" => 60 }), &room);
    refused(&by(ALICE, users(50, 0), object! { "events" => object! { "m.low" => 60 } }), &room);
    allowed(&by(ALICE, users(50, 0), object! { "events" => object! {} }), &room);
    for since_10 in [
        object! { "kick" => "40" },
        object! { "events" => [1] },
        object! { "events" => object! { "m.low" => "0" } },
    ] {
        let judged =
            Version::ALL.map(|v| judge(&by(CREATOR, users(50, 0), since_10.clone()), v, &room).is_ok());
        assert_eq!(judged, [true, true, true, true, false, false, false]);
    }
    // What a string says counts as the number that it says.
    let said = |kick: &str| by(ALICE, users(50, 0), object! { "kick" => kick });
    assert_eq!(["40", "60"].map(|kick| judge(&said(kick), V9, &room).is_ok()), [true, false]);
    for bad in
        [object! { "users" => object! { "alice" => 1 } }, object! { "users" => object! { ALICE => true } }]
    {
        refused(&by(CREATOR, users(50, 0), bad), &room);
    }
    let of_creators = by(CREATOR, users(50, 0), none());
    assert_eq!((judge(&of_creators, V11, &room), judge(&of_creators, V12, &room).is_ok()), (Ok(()), false));
    let without = by(CREATOR, object! { ALICE => 200 }, none());
    assert_eq!((judge(&without, V11, &room).is_ok(), judge(&without, V12, &room)), (false, Ok(())));
    let equals = levels(CREATOR, object! { "users" => object! { CREATOR => 100, ALICE => 50, BOB => 50 } });
    let mut peers = room.clone();
    peers.insert(("m.room.power_levels".into(), String::new()), equals);
    refused(&levels(ALICE, object! { "users" => object! { CREATOR => 100, ALICE => 50 } }), &peers);
}

#[test]
fn what_authorises() {
    let message = event("m.room.message", ALICE, None, object! {});
    let create = event("m.room.create", CREATOR, Some(""), object! {});
    let (own, others) = (member(ALICE, ALICE, "join"), member(BOB, BOB, "join"));
    let check = |events: &[(&Json, bool)], version| {
        check_auth_events(&message, events.iter().copied(), version).is_ok()
    };
    assert!(check(&[(&create, false), (&own, false)], V11));
    assert!(!check(&[(&own, false)], V11), "without create event");
    assert!(check(&[(&own, false)], V12));
    assert!(!check(&[(&create, false), (&own, false)], V12), "with create event");
    assert!(!check(&[(&own, false), (&own, false)], V12), "twice");
    assert!(!check(&[(&own, false), (&others, false)], V12), "not needed");
    assert!(!check(&[(&own, true)], V12), "rejected");
    let mut elsewhere = own.clone();
    elsewhere.set("room_id", "!other:x");
    assert!(!check(&[(&elsewhere, false)], V12), "of another room");
}
