//! Simplified sliding sync (MSC4186).
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use server::Server;
use server::matrix::Client;

const PATH: &str = "POST /client/unstable/org.matrix.simplified_msc3575/sync";

fn pairs(all: &[(&str, &str)]) -> Json {
    Json::Array(all.iter().map(|(a, b)| Json::Array(vec![Json::from(*a), Json::from(*b)])).collect())
}

/// A list of so many rooms.
fn list(rooms: i64, timeline: i64, state: &[(&str, &str)]) -> Json {
    let range = Json::Array(vec![Json::Int(0), Json::Int(rooms - 1)]);
    let all = object! {
        "ranges" => Json::Array(vec![range]), "timeline_limit" => timeline, "required_state" => pairs(state),
    };
    object! { "lists" => object! { "all" => all } }
}

/// One step of a connection.
fn step(who: &Client, s: &mut Server, pos: &mut String, body: &Json) -> Json {
    let query = if pos.is_empty() { String::new() } else { format!("&pos={pos}") };
    let got = who.ok(s, &format!("{PATH}?timeout=0{query}"), body.clone());
    *pos = got.str_of("pos").unwrap().replace('/', "%2F");
    got
}

fn timeline(got: &Json, room: &str) -> Vec<String> {
    let events = got.at(&["rooms", room, "timeline"]).and_then(Json::as_array).unwrap_or_default();
    events.iter().map(|e| e.str_of("event_id").unwrap().to_owned()).collect()
}

fn state(got: &Json, room: &str) -> Vec<String> {
    let events = got.at(&["rooms", room, "required_state"]).and_then(Json::as_array).unwrap_or_default();
    events.iter().map(|e| e.str_of("type").unwrap().to_owned()).collect()
}

fn rooms(got: &Json) -> Vec<String> {
    got.get("rooms").and_then(Json::as_object).unwrap().keys().map(|k| k.to_string()).collect()
}

#[test]
fn a_window_of_rooms() {
    let mut s = Server::unlimited();
    let mut alice = Client::new(&mut s, "alice");
    let old = alice.create(&mut s, object! { "name" => "old", "topic" => "T" });
    let new = alice.create(&mut s, object! { "name" => "new", "topic" => "T" });
    let mut pos = String::new();
    let body = list(1, 10, &[("m.room.name", "")]);
    let got = step(&alice, &mut s, &mut pos, &body);
    assert_eq!(rooms(&got), std::slice::from_ref(&new));
    assert_eq!(got.int_at("lists.all.count"), Some(2));
    let room = got.at(&["rooms", &new]).unwrap();
    assert_eq!((room.str_of("name"), room.get("initial")), (Some("new"), Some(&Json::Bool(true))));
    assert_eq!((state(&got, &new), room.int_at("joined_count")), (vec!["m.room.name".to_owned()], Some(1)));
    assert_eq!(rooms(&step(&alice, &mut s, &mut pos, &body)), Vec::<String>::new());
    // A room that moves up comes in; one that was told is told on.
    let said = alice.say(&mut s, &old, "hello");
    let got = step(&alice, &mut s, &mut pos, &body);
    assert_eq!(rooms(&got), std::slice::from_ref(&old));
    assert_eq!(timeline(&got, &old).last(), Some(&said));
    let before = pos.clone();
    let more = alice.say(&mut s, &old, "again");
    for _ in 0..2 {
        let mut at = before.clone();
        let got = step(&alice, &mut s, &mut at, &body);
        assert_eq!((timeline(&got, &old), got.at(&["rooms", &old, "initial"])), (vec![more.clone()], None));
        assert_eq!(got.at(&["rooms", &old, "num_live"]), Some(&Json::Int(1)));
        pos = at;
    }
    // Wider state and a subscription come at once.
    let mut wider = list(1, 10, &[("m.room.name", ""), ("m.room.topic", "")]);
    let config = object! { "timeline_limit" => 1, "required_state" => pairs(&[("m.room.topic", "")]) };
    wider.set("room_subscriptions", object! { new.as_str() => config });
    let got = step(&alice, &mut s, &mut pos, &wider);
    assert_eq!(state(&got, &old), ["m.room.topic"]);
    assert_eq!((state(&got, &new), timeline(&got, &new)), (vec!["m.room.topic".to_owned()], vec![]));
    // What is not known any more is said so, after a restart too.
    let wrong = "M_UNKNOWN_POS";
    alice.refused(&mut s, &format!("{PATH}?pos=999999%2Fs123"), list(1, 1, &[]), 400, wrong);
    s.restart();
    alice.connect(&mut s);
    alice.refused(&mut s, &format!("{PATH}?pos={pos}"), list(1, 1, &[]), 400, wrong);
    assert_eq!(rooms(&step(&alice, &mut s, &mut String::new(), &body)), [old]);
}

#[test]
fn others_and_their_rooms() {
    let mut s = Server::unlimited();
    let (mut alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let secret = alice.create(&mut s, object! { "name" => "secret" });
    let room = alice.create(&mut s, object! { "preset" => "private_chat", "invite" => [bob.id.as_str()] });
    let mut pos = String::new();
    let mut body = list(20, 5, &[("m.room.member", "$LAZY"), ("m.room.create", "")]);
    let all = object! { "timeline_limit" => 5, "required_state" => pairs(&[("*", "*")]) };
    body.set("room_subscriptions", object! { secret.as_str() => all });
    let got = step(&bob, &mut s, &mut pos, &body);
    assert_eq!(rooms(&got), std::slice::from_ref(&room));
    let invite = got.at(&["rooms", &room, "invite_state"]).and_then(Json::as_array).unwrap();
    assert!(invite.iter().any(|e| e.str_of("type") == Some("m.room.create")));
    bob.join(&mut s, &room);
    let got = step(&bob, &mut s, &mut pos, &body);
    assert_eq!(got.at(&["rooms", &room, "initial"]), Some(&Json::Bool(true)));
    assert!(state(&got, &room).contains(&"m.room.member".to_owned()));
    // Who speaks is told once.
    alice.say(&mut s, &room, "one");
    step(&bob, &mut s, &mut pos, &body);
    alice.say(&mut s, &room, "bob: two");
    let got = step(&bob, &mut s, &mut pos, &body);
    assert_eq!((state(&got, &room), timeline(&got, &room).len()), (vec![], 1));
    assert_eq!(got.at(&["rooms", &room, "notification_count"]), Some(&Json::Int(2)));
    bob.ok(&mut s, &format!("POST /client/v3/rooms/{room}/leave"), Json::object());
    let got = step(&bob, &mut s, &mut pos, &body);
    assert_eq!(got.at(&["rooms", &room, "membership"]).and_then(Json::as_str), Some("leave"));
    assert_eq!(rooms(&step(&bob, &mut s, &mut pos, &body)), Vec::<String>::new());
}

#[test]
fn extensions() {
    let mut s = Server::unlimited();
    let (mut alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let room = alice.create(&mut s, object! { "preset" => "public_chat" });
    bob.join(&mut s, &room);
    let on = || object! { "enabled" => true };
    let mut wanted = object! { "e2ee" => on(), "account_data" => on(), "receipts" => on(), "typing" => on() };
    let put = format!("PUT /client/v3/user/{}/", bob.id);
    bob.ok(&mut s, &format!("{put}account_data/x.y"), object! { "a" => 1 });
    bob.ok(&mut s, &format!("{put}rooms/{room}/account_data/x.z"), object! { "a" => 1 });
    let said = alice.say(&mut s, &room, "hi");
    alice.ok(&mut s, &format!("POST /client/v3/rooms/{room}/receipt/m.read/{said}"), Json::object());
    let mut body = list(20, 5, &[]);
    wanted.set("to_device", on());
    body.set("extensions", wanted.clone());
    let mut pos = String::new();
    let got = step(&bob, &mut s, &mut pos, &body);
    let ext = |got: &Json, path: &[&str]| {
        let path: Vec<&str> = ["extensions"].into_iter().chain(path.iter().copied()).collect();
        got.at(&path).cloned()
    };
    assert!(ext(&got, &["e2ee", "device_one_time_keys_count", "signed_curve25519"]).is_some());
    let types = |json: Option<Json>| -> Vec<String> {
        json.unwrap().as_array().unwrap().iter().map(|e| e.str_of("type").unwrap().to_owned()).collect()
    };
    assert!(types(ext(&got, &["account_data", "global"])).contains(&"x.y".to_owned()));
    assert_eq!(types(ext(&got, &["account_data", "rooms", &room])), ["x.z"]);
    assert!(ext(&got, &["receipts", "rooms", &room, "content", &said, "m.read", &alice.id]).is_some());
    // News of each.
    let to = object! { "messages" => object! { bob.id.as_str() => object! { "*" => object! { "n" => 1 } } } };
    alice.ok(&mut s, "PUT /client/v3/sendToDevice/x.y/1", to);
    alice.ok(
        &mut s,
        &format!("PUT /client/v3/rooms/{room}/typing/{}", alice.id),
        object! { "typing" => true },
    );
    let got = step(&bob, &mut s, &mut pos, &body);
    assert_eq!(types(ext(&got, &["to_device", "events"])), ["x.y"]);
    let typing = ext(&got, &["typing", "rooms", &room, "content", "user_ids"]).unwrap();
    assert_eq!(typing, Json::Array(vec![Json::from(alice.id.as_str())]));
    let next = ext(&got, &["to_device", "next_batch"]).unwrap();
    wanted.set("to_device", object! { "enabled" => true, "since" => next });
    body.set("extensions", wanted);
    let got = step(&bob, &mut s, &mut pos, &body);
    assert_eq!(ext(&got, &["to_device", "events"]), Some(Json::Array(vec![])));
}
