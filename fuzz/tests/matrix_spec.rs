//! The client-server API of Matrix by its letter, where servers are checked from outside: each test is one thing that
//! was wrong.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_core::drive::{Drive, Input};
use server::Server;
use server::matrix::{Client, events};

/// A filter as a parameter of a request.
fn filter(text: &str) -> String {
    let hex = |b: u8| format!("%{b:02X}");
    format!("&filter={}", text.bytes().map(hex).collect::<String>())
}

/// Whose devices changed, or are no longer to be followed.
fn listed(sync: &Json, section: &str) -> Vec<String> {
    let list = sync.at(&["device_lists", section]).and_then(Json::as_array).unwrap_or_default();
    list.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

#[test]
fn an_invitation_that_was_declined_is_a_room_that_was_left() {
    let mut s = Server::new();
    let (alice, mut bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    for preset in ["private_chat", "public_chat"] {
        let room = alice.create(&mut s, object! { "preset" => preset, "invite" => [&*bob.id] });
        bob.sync(&mut s);
        bob.ok(&mut s, &format!("POST /client/v3/rooms/{room}/leave"), Json::object());
        let wanted = filter(r#"{"room":{"include_leave":true}}"#);
        let got = bob.get(&mut s, &format!("/v3/sync?timeout=0{wanted}"));
        let left = got.at(&["rooms", "leave", &room]).unwrap_or_else(|| panic!("{preset}: {got:?}"));
        let last = events(left, "timeline").last().unwrap();
        assert_eq!(last.str_at("content.membership"), Some("leave"), "{preset}");
        assert_eq!(last.str_of("state_key"), Some(&*bob.id), "{preset}");
        let without = bob.get(&mut s, "/v3/sync?timeout=0");
        assert_eq!(without.at(&["rooms", "leave", &room]), None, "{preset}");
    }
}

#[test]
fn a_room_is_made_once() {
    let mut s = Server::new();
    let (alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    for version in ["11", "12"] {
        let room = alice.create(&mut s, object! { "room_version" => version });
        let again = object! { "room_version" => version, "entropy" => 100 };
        let path = format!("PUT /client/v3/rooms/{room}/state/m.room.create/");
        alice.refused(&mut s, &path, again.clone(), 400, "M_BAD_STATE");
        bob.refused(&mut s, &path, again, 403, "M_FORBIDDEN");
    }
}

#[test]
fn the_list_of_rooms_is_paged_back_to_its_beginning() {
    let mut s = Server::unlimited();
    let alice = Client::new(&mut s, "alice");
    for n in 0..8 {
        alice.create(&mut s, object! { "visibility" => "public", "name" => format!("room {n}") });
    }
    let page = |s: &mut Server, since: Option<&str>| {
        let mut body = object! { "limit" => 3 };
        if let Some(since) = since {
            body.set("since", since);
        }
        let got = alice.ok(s, "POST /client/v3/publicRooms", body);
        let rooms = got.get("chunk").and_then(Json::as_array).unwrap().len();
        let token = |name: &str| got.str_of(name).map(str::to_owned);
        (rooms, token("next_batch"), token("prev_batch"))
    };
    let (mut seen, mut next, mut back) = page(&mut s, None);
    while let Some(since) = next {
        let (rooms, after, before) = page(&mut s, Some(&since));
        (seen, next, back) = (seen + rooms, after, before);
    }
    assert_eq!(seen, 8);
    let mut seen = 0;
    while let Some(since) = back {
        // Who writes his client in a language where "0" is false must get there too.
        assert!(since.parse::<f64>().is_err(), "{since}");
        let (rooms, _, before) = page(&mut s, Some(&since));
        (seen, back) = (seen + rooms, before);
    }
    assert_eq!(seen, 6);
    let wrong = object! { "since" => "7" };
    alice.refused(&mut s, "POST /client/v3/publicRooms", wrong, 400, "M_INVALID_PARAM");
}

#[test]
fn a_new_device_is_told_to_those_who_share_a_room() {
    let mut s = Server::new();
    let (mut alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let mut eve = Client::new(&mut s, "eve");
    // Nobody but alice may speak there.
    let levels = object! { "events_default" => 50, "users" => object! { &*alice.id => 100 } };
    let room = object! { "preset" => "public_chat", "room_version" => "11", "power_level_content_override" => levels };
    let room = alice.create(&mut s, room);
    bob.join(&mut s, &room);
    alice.sync(&mut s);
    eve.sync(&mut s);
    let second = Client::login(&mut s, "bob");
    assert_eq!(listed(&alice.sync(&mut s), "changed"), ["@bob:localhost"]);
    assert_eq!(listed(&eve.sync(&mut s), "changed"), [""; 0]);
    assert_eq!(listed(&alice.sync(&mut s), "changed"), [""; 0]);
    // A device with no keys goes: told too.
    second.ok(&mut s, "POST /client/v3/logout", Json::object());
    assert_eq!(listed(&alice.sync(&mut s), "changed"), ["@bob:localhost"]);
    // One's own other devices hear of it.
    let _third = Client::login(&mut s, "alice");
    assert_eq!(listed(&alice.sync(&mut s), "changed"), ["@alice:localhost"]);
    // Who leaves the last room in common is left; then nothing of him is told.
    bob.ok(&mut s, &format!("POST /client/v3/rooms/{room}/leave"), Json::object());
    assert_eq!(listed(&alice.sync(&mut s), "left"), ["@bob:localhost"]);
    let _fourth = Client::login(&mut s, "bob");
    assert_eq!(listed(&alice.sync(&mut s), "changed"), [""; 0]);
}

/// The room's versions that clients ask for by name: knocking from 7 on, members of other rooms from 8 on.
#[test]
fn a_version_knows_its_own_join_rules_and_no_later_ones() {
    let mut s = Server::unlimited();
    let (alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let offered = alice.get(&mut s, "/v3/capabilities");
    let offered = offered.at(&["capabilities", "m.room_versions", "available"]).unwrap().clone();
    for (version, knock, restricted, both) in [
        ("6", 400, 400, 400),
        ("7", 200, 400, 400),
        ("8", 200, 200, 400),
        ("9", 200, 200, 400),
        ("10", 200, 200, 200),
    ] {
        assert_eq!(offered.str_of(version), Some("stable"));
        let room = alice.create(&mut s, object! { "room_version" => version });
        let path = format!("PUT /client/v3/rooms/{room}/state/m.room.join_rules");
        let none = Json::Array(Vec::new());
        for (rule, expected) in [("restricted", restricted), ("knock_restricted", both), ("knock", knock)] {
            let rule = object! { "join_rule" => rule, "allow" => none.clone() };
            assert_eq!(alice.call(&mut s, &path, rule).0, expected, "{version}");
        }
        let (status, _) = bob.call(&mut s, &format!("POST /client/v3/knock/{room}"), Json::object());
        assert_eq!(status, if knock == 200 { 200 } else { 403 }, "{version}");
    }
    let none = object! { "room_version" => "5" };
    alice.refused(&mut s, "POST /client/v3/createRoom", none, 400, "M_UNSUPPORTED_ROOM_VERSION");
}

#[test]
fn a_dehydrated_device_waits_for_its_user() {
    let mut s = Server::new();
    let (mut alice, mut bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let room = alice.create(&mut s, object! { "preset" => "public_chat" });
    bob.join(&mut s, &room);
    alice.sync(&mut s);
    bob.sync(&mut s);
    let path = "/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
    let (get, put, delete) = (format!("GET {path}"), format!("PUT {path}"), format!("DELETE {path}"));
    alice.refused(&mut s, &get, Json::object(), 404, "M_NOT_FOUND");
    alice.refused(&mut s, &delete, Json::object(), 404, "M_NOT_FOUND");
    let keys = |user: &str, id: &str| {
        object! {
            "user_id" => user, "device_id" => id, "algorithms" => Json::Array(vec![]), "dehydrated" => true,
            "keys" => object! { format!("ed25519:{id}") => "x" }, "signatures" => Json::object(),
        }
    };
    let whole = |id: &str| {
        object! {
            "device_id" => id, "device_data" => object! { "algorithm" => "m.dehydration.v2", "n" => id },
            "device_keys" => keys("@alice:localhost", id), "initial_device_display_name" => "asleep",
            "one_time_keys" => object! { "signed_curve25519:A" => object! { "key" => "k" } },
            "fallback_keys" => object! { "signed_curve25519:F" => object! { "key" => "f" } },
        }
    };
    for missing in ["device_id", "device_data", "device_keys"] {
        let mut body = whole("D1");
        body.take(missing);
        alice.refused(&mut s, &put, body, 400, "M_MISSING_PARAM");
    }
    let mut foreign = whole("D1");
    foreign.set("device_keys", keys("@bob:localhost", "D1"));
    alice.refused(&mut s, &put, foreign, 400, "M_INVALID_PARAM");
    assert_eq!(alice.ok(&mut s, &put, whole("D1")).str_of("device_id"), Some("D1"));
    let kept = alice.ok(&mut s, &get, Json::object());
    assert_eq!((kept.str_of("device_id"), kept.str_at("device_data.n")), (Some("D1"), Some("D1")));
    // Others see it as a device, claim its keys and write to it.
    assert_eq!(listed(&bob.sync(&mut s), "changed"), ["@alice:localhost"]);
    let none = Json::Array(Vec::new());
    let asked = object! { "device_keys" => object! { &*alice.id => none } };
    let query = |s: &mut Server| {
        let got = bob.ok(s, "POST /client/v3/keys/query", asked.clone());
        let all = got.at(&["device_keys", "@alice:localhost"]).and_then(Json::as_object).unwrap().clone();
        all.keys().map(|id| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(query(&mut s), ["D1"]);
    let wanted = object! { "D1" => "signed_curve25519" };
    let claimed = object! { "one_time_keys" => object! { &*alice.id => wanted } };
    let claimed = bob.ok(&mut s, "POST /client/v3/keys/claim", claimed);
    assert!(claimed.at(&["one_time_keys", "@alice:localhost", "D1", "signed_curve25519:A"]).is_some());
    for n in 0..3 {
        let to = object! { "*" => object! { "n" => n } };
        let body = object! { "messages" => object! { &*alice.id => to } };
        bob.ok(&mut s, &format!("PUT /client/v3/sendToDevice/m.x/{n}"), body);
    }
    let events = |s: &mut Server, id: &str, body: Json| {
        let (status, got) = alice.call(s, &format!("POST {path}/{id}/events"), body);
        let came = got.get("events").and_then(Json::as_array).unwrap_or_default().len();
        (status, came, got.str_of("next_batch").unwrap_or_default().to_owned())
    };
    let (status, came, next) = events(&mut s, "D1", Json::object());
    assert_eq!((status, came), (200, 3));
    let (status, came, _) = events(&mut s, "D1", object! { "next_batch" => next });
    assert_eq!((status, came), (200, 0));
    assert_eq!(events(&mut s, "D1", object! { "next_batch" => "x" }).0, 400);
    assert_eq!(events(&mut s, "D2", Json::object()).0, 403);
    // Nothing is gone before the device is.
    assert_eq!(events(&mut s, "D1", Json::object()).1, 3);
    // Another takes its place.
    alice.ok(&mut s, &put, whole("D2"));
    assert_eq!(query(&mut s), ["D2"]);
    assert_eq!(events(&mut s, "D2", Json::object()).1, 0);
    assert_eq!(alice.ok(&mut s, &delete, Json::object()).str_of("device_id"), Some("D2"));
    assert_eq!(query(&mut s), [""; 0]);
    alice.refused(&mut s, &get, Json::object(), 404, "M_NOT_FOUND");
    // Whose device is removed among the others has none either.
    alice.ok(&mut s, &put, whole("D3"));
    bob.refused(&mut s, &get, Json::object(), 404, "M_NOT_FOUND");
    alice.ok(&mut s, "POST /client/v3/logout/all", Json::object());
    let again = Client::login(&mut s, "alice");
    again.refused(&mut s, &get, Json::object(), 404, "M_NOT_FOUND");
}

#[test]
fn what_was_proved_is_not_asked_for_again() {
    let mut s = Server::new();
    let alice = Client::new(&mut s, "alice");
    let path = "POST /client/v3/account/password";
    let session = |got: &Json| got.str_of("session").unwrap().to_owned();
    let weak = object! { "new_password" => "\u{7}" };
    let (status, asked) = alice.call(&mut s, path, weak.clone());
    assert_eq!(status, 401);
    let first = session(&asked);
    // Nothing is proved yet; another kind of proof is none, and the session goes on.
    let with = |body: &Json, auth: Json| {
        let mut body = body.clone();
        body.set("auth", auth);
        body
    };
    let (status, got) = alice.call(&mut s, path, with(&weak, object! { "session" => &*first }));
    assert_eq!((status, session(&got)), (401, first.clone()));
    let other = object! { "session" => &*first, "type" => "m.login.dummy" };
    let (status, got) = alice.call(&mut s, path, with(&weak, other));
    assert_eq!((status, session(&got)), (401, first.clone()));
    let proof = object! {
        "session" => &*first, "type" => "m.login.password", "password" => "secret",
        "identifier" => object! { "type" => "m.id.user", "user" => "alice" },
    };
    // The proof holds, the password does not do.
    alice.refused(&mut s, path, with(&weak, proof.clone()), 400, "M_WEAK_PASSWORD");
    let good = object! { "new_password" => "another secret" };
    alice.ok(&mut s, path, with(&good, object! { "session" => &*first }));
    // It is used up, and was for nothing else.
    assert_eq!(alice.call(&mut s, path, with(&good, object! { "session" => &*first })).0, 401);
    let elsewhere = with(&Json::object(), object! { "session" => &*first });
    alice.refused(&mut s, "POST /client/v3/account/deactivate", elsewhere, 403, "M_FORBIDDEN");
    // The same where accounts are made.
    let mut nobody = Client::new(&mut s, "nobody");
    nobody.token = String::new();
    let path = "POST /client/v3/register";
    let weak = object! { "username" => "carol", "password" => "\u{7}" };
    let (_, asked) = nobody.call(&mut s, path, weak.clone());
    let first = session(&asked);
    let dummy = object! { "session" => &*first, "type" => "m.login.dummy" };
    nobody.refused(&mut s, path, with(&weak, dummy), 400, "M_WEAK_PASSWORD");
    let good = object! { "username" => "carol", "password" => "secret" };
    let made = nobody.ok(&mut s, path, with(&good, object! { "session" => &*first }));
    assert_eq!(made.str_of("user_id"), Some("@carol:localhost"));
}

#[test]
fn events_come_as_servers_have_them_where_that_is_asked_for() {
    let mut s = Server::new();
    for version in ["10", "12"] {
        let mut alice = Client::new(&mut s, &format!("alice{version}"));
        let room = alice.create(&mut s, object! { "room_version" => version, "name" => "x" });
        let said = alice.say(&mut s, &room, "hello");
        let gone = alice.say(&mut s, &room, "gone");
        alice.ok(&mut s, &format!("PUT /client/v3/rooms/{room}/redact/{gone}/r"), Json::object());
        let raw = filter(r#"{"event_format":"federation","room":{"timeline":{"limit":3}}}"#);
        let got = alice.sync_with(&mut s, &raw);
        let room_part = server::matrix::joined(&got, &room);
        let all: Vec<&Json> =
            [events(room_part, "state"), events(room_part, "timeline")].concat().leak().iter().collect();
        assert!(all.len() > 8);
        for event in &all {
            for key in ["auth_events", "prev_events", "depth", "hashes", "signatures", "event_id", "sender"] {
                assert!(event.get(key).is_some(), "{version}: {key} of {event:?}");
            }
            let signed = event.at(&["signatures", "localhost"]).and_then(Json::as_object);
            assert!(signed.is_some_and(|keys| keys.iter().count() == 1), "{event:?}");
            let create = event.str_of("type") == Some("m.room.create");
            assert_eq!(event.get("room_id").is_none(), create && version == "12", "{event:?}");
        }
        let of = |id: &str| all.iter().find(|e| e.str_of("event_id") == Some(id)).copied().unwrap();
        assert_eq!(of(&said).str_at("content.body"), Some("hello"));
        assert_eq!(of(&gone).get("content"), Some(&Json::object()));
        let plain = filter(r#"{"event_format":"client"}"#);
        let got = alice.get(&mut s, &format!("/v3/sync?timeout=0{plain}"));
        let first = &events(server::matrix::joined(&got, &room), "timeline")[0];
        assert_eq!((first.get("hashes"), first.get("room_id")), (None, None));
    }
}

#[test]
fn a_redaction_can_be_redacted_itself() {
    let mut s = Server::new();
    for version in ["10", "11", "12"] {
        let mut alice = Client::new(&mut s, &format!("alice{version}"));
        let mut bob = Client::new(&mut s, &format!("bob{version}"));
        let room = alice.create(&mut s, object! { "preset" => "public_chat", "room_version" => version });
        bob.join(&mut s, &room);
        let redact = |s: &mut Server, by: &Client, event: &str, txn: &str, why: &str| {
            let path = format!("PUT /client/v3/rooms/{room}/redact/{event}/{txn}");
            let (status, got) = by.call(s, &path, object! { "reason" => why });
            (status, got.str_of("event_id").unwrap_or_default().to_owned())
        };
        let said = bob.say(&mut s, &room, "hello");
        let (_, first) = redact(&mut s, &alice, &said, "1", "rude words of mine");
        let event = |s: &mut Server, id: &str| bob.get(s, &format!("/v3/rooms/{room}/event/{id}"));
        assert_eq!(event(&mut s, &first).str_at("content.reason"), Some("rude words of mine"));
        assert_eq!(redact(&mut s, &bob, &first, "1", "").0, 403, "another's, without the power");
        let (status, second) = redact(&mut s, &alice, &first, "2", "sorry");
        assert_eq!(status, 200);
        let left = event(&mut s, &first);
        assert_eq!(left.str_at("content.reason"), None);
        assert_eq!(left.str_of("redacts"), Some(&*said));
        assert_eq!(left.str_at("unsigned.redacted_because.event_id"), Some(&*second));
        assert_eq!(event(&mut s, &second).str_at("content.redacts"), Some(&*first));
        // What it redacted stays so.
        assert_eq!(event(&mut s, &said).get("content"), Some(&Json::object()));
        // The redaction of a reaction too.
        let reaction = object! { "m.relates_to" => object! {
            "rel_type" => "m.annotation", "event_id" => &*said, "key" => "+",
        } };
        let reaction = alice.send(&mut s, &room, "m.reaction", reaction);
        let (_, taken) = redact(&mut s, &alice, &reaction, "3", "no");
        assert_eq!(redact(&mut s, &alice, &taken, "4", "").0, 200);
        assert_eq!(event(&mut s, &taken).str_at("content.reason"), None);
    }
}

#[test]
fn the_rooms_that_two_are_in() {
    let mut s = Server::new();
    let (alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let shared = alice.create(&mut s, object! { "preset" => "public_chat" });
    alice.create(&mut s, object! { "preset" => "public_chat", "invite" => [&*bob.id] });
    bob.join(&mut s, &shared);
    bob.create(&mut s, Json::object());
    for path in ["/v1/mutual_rooms", "/unstable/uk.half-shot.msc2666/user/mutual_rooms"] {
        let got = alice.get(&mut s, &format!("{path}?user_id=@bob:localhost"));
        assert_eq!(got, object! { "joined" => [&*shared], "count" => 1 });
        let nobody = alice.get(&mut s, &format!("{path}?user_id=@nobody:localhost"));
        assert_eq!(nobody, object! { "joined" => Json::Array(vec![]), "count" => 0 });
        let wrong = |query: &str| format!("GET /client{path}{query}");
        alice.refused(&mut s, &wrong(""), Json::object(), 400, "M_MISSING_PARAM");
        for bad in ["?user_id=bob", "?user_id=@alice:localhost", "?user_id=@bob:localhost&from=x"] {
            alice.refused(&mut s, &wrong(bad), Json::object(), 400, "M_INVALID_PARAM");
        }
    }
}

/// Who was put out of a room learns it when he comes back; a room that one left is shown only where that is asked for.
#[test]
fn a_first_sync_tells_of_rooms_that_one_was_put_out_of() {
    let mut s = Server::new();
    let (alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let mut rooms = Vec::new();
    for how in ["kick", "ban", "leave"] {
        let room = alice.create(&mut s, object! { "preset" => "public_chat" });
        bob.join(&mut s, &room);
        match how {
            "leave" => bob.ok(&mut s, &format!("POST /client/v3/rooms/{room}/leave"), Json::object()),
            how => {
                let path = format!("POST /client/v3/rooms/{room}/{how}");
                alice.ok(&mut s, &path, object! { "user_id" => &*bob.id })
            }
        };
        rooms.push(room);
    }
    let got = bob.get(&mut s, "/v3/sync?timeout=0");
    let told = |room: &str| got.at(&["rooms", "leave", room]).is_some();
    assert_eq!([&rooms[0], &rooms[1], &rooms[2]].map(|r| told(r)), [true, true, false]);
    // Who wants to hear no more of it forgets it.
    bob.ok(&mut s, &format!("POST /client/v3/rooms/{}/forget", rooms[0]), Json::object());
    let got = bob.get(&mut s, "/v3/sync?timeout=0");
    assert_eq!(got.at(&["rooms", "leave", &rooms[0]]), None);
}

/// Time passes.
fn pass(s: &mut Server, ms: u64) {
    (s.now.mono.0, s.now.wall.0) = (s.now.mono.0 + ms, s.now.wall.0 + ms);
    s.worker.handle(s.now, Input::Tick);
    s.drain();
}

#[test]
fn an_event_is_sent_later() {
    let mut s = Server::unlimited();
    let (alice, mut bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let levels = object! { "events" => object! { "m.call" => 0 } };
    let room = object! { "preset" => "public_chat", "power_level_content_override" => levels };
    let room = alice.create(&mut s, room);
    bob.join(&mut s, &room);
    bob.sync(&mut s);
    let send = |s: &mut Server, txn: &str, delay: &str, body: &str| {
        let path =
            format!("PUT /client/v3/rooms/{room}/send/m.room.message/{txn}?org.matrix.msc4140.delay={delay}");
        alice.call(s, &path, object! { "msgtype" => "m.text", "body" => body })
    };
    let ids = "/client/unstable/org.matrix.msc4140/delayed_events";
    let listed = |s: &mut Server| {
        let got = alice.ok(s, &format!("GET {ids}"), Json::object());
        got.get("delayed_events").and_then(Json::as_array).unwrap().to_vec()
    };
    let bodies = |s: &mut Server, bob: &mut Client| -> Vec<String> {
        let got = bob.sync(s);
        let Some(part) = got.at(&["rooms", "join", &room]) else { return Vec::new() };
        events(part, "timeline").iter().filter_map(|e| e.str_at("content.body").map(str::to_owned)).collect()
    };
    let id = |got: (u16, Json)| got.1.str_of("delay_id").unwrap().to_owned();
    let first = id(send(&mut s, "1", "1000", "first"));
    assert_eq!(id(send(&mut s, "1", "1000", "first")), first, "the same request");
    let second = id(send(&mut s, "2", "2000", "second"));
    let third = id(send(&mut s, "3", "2000", "third"));
    let fourth = id(send(&mut s, "4", "60000", "fourth"));
    let all = listed(&mut s);
    assert_eq!(all.len(), 4);
    assert_eq!((all[0].str_of("delay_id"), all[0].str_at("content.body")), (Some(&*first), Some("first")));
    assert!(bodies(&mut s, &mut bob).is_empty());
    pass(&mut s, 1_100);
    assert_eq!(bodies(&mut s, &mut bob), ["first"]);
    // One is taken back, one put off, one sent at once.
    alice.ok(&mut s, &format!("POST {ids}/{second}/cancel"), Json::object());
    alice.ok(&mut s, &format!("POST {ids}/{third}"), object! { "action" => "restart" });
    alice.ok(&mut s, &format!("POST {ids}/{fourth}/send"), Json::object());
    assert_eq!(bodies(&mut s, &mut bob), ["fourth"]);
    pass(&mut s, 1_500);
    assert!(bodies(&mut s, &mut bob).is_empty());
    pass(&mut s, 600);
    assert_eq!(bodies(&mut s, &mut bob), ["third"]);
    assert!(listed(&mut s).is_empty());
    alice.refused(&mut s, &format!("POST {ids}/{third}/send"), Json::object(), 404, "M_NOT_FOUND");
    alice.refused(&mut s, &format!("POST {ids}/{third}/dance"), Json::object(), 400, "M_INVALID_PARAM");
    bob.refused(&mut s, &format!("POST {ids}/{third}"), Json::object(), 400, "M_MISSING_PARAM");
    for bad in ["-1", "x", "99999999999"] {
        assert_eq!(send(&mut s, "9", bad, "no").0, 400, "{bad}");
    }
    // State; what another set meanwhile stays.
    let path = |key: &str| format!("PUT /client/v3/rooms/{room}/state/m.call/{key}");
    for key in ["mine", "theirs"] {
        let later = format!("{}?org.matrix.msc4140.delay=1000", path(key));
        alice.ok(&mut s, &later, object! { "by" => "alice" });
    }
    bob.ok(&mut s, &path("theirs"), object! { "by" => "bob" });
    let state = |s: &mut Server, key: &str| {
        let (_, got) =
            bob.call(s, &format!("GET /client/v3/rooms/{room}/state/m.call/{key}"), Json::object());
        got.str_of("by").map(str::to_owned)
    };
    assert_eq!(state(&mut s, "mine"), None);
    assert_eq!(listed(&mut s)[0].str_of("state_key"), Some("mine"));
    pass(&mut s, 1_100);
    assert_eq!(state(&mut s, "mine").as_deref(), Some("alice"));
    assert_eq!(state(&mut s, "theirs").as_deref(), Some("bob"));
}

#[test]
fn what_can_only_be_state_is_not_sent_otherwise() {
    let mut s = Server::new();
    let alice = Client::new(&mut s, "alice");
    let room = alice.create(&mut s, Json::object());
    for kind in ["m.room.create", "m.room.member"] {
        let path = format!("PUT /client/v3/rooms/{room}/send/{kind}/1");
        alice.refused(&mut s, &path, object! { "membership" => "join" }, 403, "M_FORBIDDEN");
    }
    let typing = format!("PUT /client/v3/rooms/{room}/typing/@alice:localhost");
    alice.refused(&mut s, &typing, Json::object(), 400, "M_MISSING_PARAM");
    let wrong = object! { "username" => "carol", "password" => 5 };
    alice.refused(&mut s, "POST /client/v3/register", wrong, 400, "M_BAD_JSON");
    alice.refused(&mut s, "POST /client/v3/register?kind=x", Json::object(), 400, "M_INVALID_PARAM");
}

#[test]
fn account_data_is_removed() {
    let mut s = Server::new();
    let (mut alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let room = alice.create(&mut s, Json::object());
    let dialog = object! { "ignored_users" => object! { &*bob.id => Json::object() } };
    let user = "user/@alice:localhost";
    for (path, kind, content) in [
        (user.to_owned(), "m.x", object! { "a" => 1 }),
        (user.to_owned(), "m.ignored_user_list", dialog),
        (format!("{user}/rooms/{room}"), "m.y", object! { "b" => 2 }),
    ] {
        let path = format!("{path}/account_data/{kind}");
        alice.ok(&mut s, &format!("PUT /client/v3/{path}"), content);
        alice.sync(&mut s);
        let delete = format!("DELETE /client/unstable/org.matrix.msc3391/{path}");
        bob.refused(&mut s, &delete, Json::object(), 403, "M_FORBIDDEN");
        alice.ok(&mut s, &delete, Json::object());
        alice.refused(&mut s, &format!("GET /client/v3/{path}"), Json::object(), 404, "M_NOT_FOUND");
        let got = alice.sync(&mut s);
        let part = if kind == "m.y" { server::matrix::joined(&got, &room) } else { &got };
        let told = events(part, "account_data").iter().find(|e| e.str_of("type") == Some(kind));
        assert_eq!(told.and_then(|e| e.get("content")), Some(&Json::object()), "{kind}");
        let first = alice.get(&mut s, "/v3/sync?timeout=0");
        let part = if kind == "m.y" { server::matrix::joined(&first, &room) } else { &first };
        assert!(events(part, "account_data").iter().all(|e| e.str_of("type") != Some(kind)));
    }
    // What a client keeps about a device goes with it.
    let second = Client::login(&mut s, "alice");
    let device = second.get(&mut s, "/v3/account/whoami").str_of("device_id").unwrap().to_owned();
    let path =
        format!("/client/v3/{user}/account_data/org.matrix.msc3890.local_notification_settings.{device}");
    alice.ok(&mut s, &format!("PUT {path}"), object! { "is_silenced" => true });
    second.ok(&mut s, "POST /client/v3/logout", Json::object());
    alice.refused(&mut s, &format!("GET {path}"), Json::object(), 404, "M_NOT_FOUND");
}

#[test]
fn a_device_that_is_gone_can_be_removed_again() {
    let mut s = Server::new();
    let alice = Client::new(&mut s, "alice");
    let path = "DELETE /client/v3/devices/NONE";
    let (status, asked) = alice.call(&mut s, path, Json::object());
    assert_eq!(status, 401);
    let auth = object! {
        "session" => asked.str_of("session").unwrap(), "type" => "m.login.password", "password" => "secret",
        "identifier" => object! { "type" => "m.id.user", "user" => "alice" },
    };
    alice.ok(&mut s, path, object! { "auth" => auth });
}

#[test]
fn a_field_of_a_profile_is_set_to_something() {
    let mut s = Server::new();
    let alice = Client::new(&mut s, "alice");
    for field in ["displayname", "avatar_url", "m.tz"] {
        let path = format!("/client/v3/profile/@alice:localhost/{field}");
        alice.refused(&mut s, &format!("PUT {path}"), Json::object(), 400, "M_MISSING_PARAM");
        alice.ok(&mut s, &format!("PUT {path}"), object! { field => "x" });
        assert_eq!(alice.ok(&mut s, &format!("GET {path}"), Json::object()), object! { field => "x" });
        alice.ok(&mut s, &format!("DELETE {path}"), Json::object());
    }
}
