//! What a Matrix client holds on to when the server stops as it is and starts again: tokens, places, settings.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use server::Server;
use server::matrix::{Client, events, joined};

#[test]
fn access_and_refresh_tokens_hold() {
    let mut s = Server::unlimited();
    let more = object! { "refresh_token" => true, "device_id" => "PHONE" };
    let mut alice = Client::with(&mut s, "alice", more);
    let first = alice.refresh.clone().unwrap();
    s.restart();
    alice.connect(&mut s);
    assert_eq!(alice.get(&mut s, "/v3/account/whoami").str_of("device_id"), Some("PHONE"));
    let refresh = |s: &mut Server, who: &Client, token: &str| {
        let (status, got) = who.call(s, "POST /client/v3/refresh", object! { "refresh_token" => token });
        (status, got)
    };
    let (status, got) = refresh(&mut s, &alice, &first);
    assert_eq!(status, 200, "{got:?}");
    // The answer may be lost: the old ones hold until the new ones are used.
    s.restart();
    alice.connect(&mut s);
    let (status, got) = refresh(&mut s, &alice, &first);
    assert_eq!(status, 200, "{got:?}");
    let old = std::mem::replace(&mut alice.token, got.str_of("access_token").unwrap().to_owned());
    alice.get(&mut s, "/v3/account/whoami");
    s.restart();
    alice.connect(&mut s);
    assert_eq!(refresh(&mut s, &alice, &first).0, 401);
    alice.get(&mut s, "/v3/account/whoami");
    let new = std::mem::replace(&mut alice.token, old);
    alice.refused(&mut s, "GET /client/v3/account/whoami", Json::object(), 401, "M_UNKNOWN_TOKEN");
    alice.token = new;
    // The access token ends by itself.
    s.now.wall = lavina_core::time::UnixMillis(s.now.wall.0 + 3_600_001);
    let (status, got) = alice.call(&mut s, "GET /client/v3/account/whoami", Json::object());
    assert_eq!((status, got.get("soft_logout")), (401, Some(&Json::Bool(true))));
    // Logged out stays logged out.
    let mut bob = Client::new(&mut s, "bob");
    bob.ok(&mut s, "POST /client/v3/logout", Json::object());
    s.restart();
    bob.connect(&mut s);
    bob.refused(&mut s, "GET /client/v3/account/whoami", Json::object(), 401, "M_UNKNOWN_TOKEN");
}

fn ids(events: &[Json]) -> Vec<String> {
    events.iter().map(|e| e.str_of("event_id").unwrap().to_owned()).collect()
}

#[test]
fn places_in_time_hold() {
    let mut s = Server::unlimited();
    let (mut alice, mut bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let room = alice.create(&mut s, object! { "preset" => "public_chat" });
    let quiet = alice.create(&mut s, object! { "preset" => "public_chat" });
    bob.join(&mut s, &room);
    bob.join(&mut s, &quiet);
    let direct = alice.create(&mut s, object! { "is_direct" => true, "invite" => [bob.id.as_str()] });
    let mut said: Vec<String> = (0..30).map(|n| alice.say(&mut s, &room, &format!("number {n}"))).collect();
    bob.sync(&mut s);
    let page = bob.get(&mut s, &format!("/v3/rooms/{room}/messages?dir=b&limit=5"));
    let from = page.str_of("end").unwrap().to_owned();
    s.restart();
    for c in [&mut alice, &mut bob] {
        c.connect(&mut s);
    }
    // Nothing happened: nothing is told.
    let got = bob.sync(&mut s);
    assert!(got.at(&["rooms", "join"]).is_none(), "{got:?}");
    // A page goes on where it ended.
    let next = bob.get(&mut s, &format!("/v3/rooms/{room}/messages?dir=b&limit=5&from={from}"));
    let chunk = ids(next.get("chunk").and_then(Json::as_array).unwrap());
    said.reverse();
    assert_eq!(chunk, said[5..10]);
    // What came between is told once, in both kinds of room.
    let since = bob.since.clone();
    let one = alice.say(&mut s, &room, "after");
    let two = alice.say(&mut s, &direct, "to you");
    s.restart();
    for c in [&mut alice, &mut bob] {
        c.connect(&mut s);
    }
    let got = bob.sync(&mut s);
    assert_eq!(ids(events(joined(&got, &room), "timeline")), std::slice::from_ref(&one));
    assert_eq!(ids(events(joined(&got, &direct), "timeline")), [two]);
    assert!(got.at(&["rooms", "join", &quiet]).is_none());
    assert!(bob.sync(&mut s).at(&["rooms", "join"]).is_none());
    // A place of sync is a place for pages too.
    let back = bob.get(&mut s, &format!("/v3/rooms/{room}/messages?dir=f&from={since}"));
    assert_eq!(ids(back.get("chunk").and_then(Json::as_array).unwrap()), [one]);
    // A request repeated is the same event.
    let path = format!("PUT /client/v3/rooms/{room}/send/m.room.message/again");
    let body = object! { "msgtype" => "m.text", "body" => "once" };
    let id = alice.ok(&mut s, &path, body.clone());
    s.restart();
    alice.connect(&mut s);
    assert_eq!(alice.ok(&mut s, &path, body), id);
}

#[test]
fn what_a_client_keeps_on_the_server_holds() {
    let mut s = Server::unlimited();
    let (alice, mut bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let room = alice.create(&mut s, object! { "preset" => "public_chat", "name" => "Room" });
    bob.join(&mut s, &room);
    let user = format!("/v3/user/{}", bob.id);
    let put =
        |s: &mut Server, who: &Client, path: &str, body: Json| who.ok(s, &format!("PUT /client{path}"), body);
    put(&mut s, &bob, &format!("{user}/account_data/x.y"), object! { "a" => 1 });
    put(&mut s, &bob, &format!("{user}/rooms/{room}/tags/m.favourite"), object! { "order" => 1 });
    put(
        &mut s,
        &bob,
        "/v3/pushrules/global/override/mine",
        object! { "actions" => Json::Array(vec![]), "conditions" => Json::Array(vec![]) },
    );
    let filter = object! { "room" => object! { "timeline" => object! { "limit" => 1 } } };
    let filter = bob.ok(&mut s, &format!("POST /client{user}/filter"), filter);
    let filter = filter.str_of("filter_id").unwrap().to_owned();
    let to = object! { "messages" => object! { bob.id.as_str() => object! { "*" => object! { "x" => 1 } } } };
    put(&mut s, &alice, "/v3/sendToDevice/x.y/1", to);
    s.restart();
    bob.connect(&mut s);
    let got = bob.sync_with(&mut s, &format!("&filter={filter}"));
    assert_eq!(events(joined(&got, &room), "timeline").len(), 1);
    assert_eq!(events(&got, "to_device").len(), 1);
    assert!(events(&got, "account_data").iter().any(|e| e.str_of("type") == Some("x.y")));
    assert!(events(joined(&got, &room), "account_data").iter().any(|e| e.str_of("type") == Some("m.tag")));
    bob.get(&mut s, "/v3/pushrules/global/override/mine");
    // Letters stay until the next request says that they came.
    s.restart();
    bob.connect(&mut s);
    let got = bob.sync(&mut s);
    assert!(events(&got, "to_device").is_empty());
}

#[test]
fn a_dialog_that_is_left_is_hidden_until_its_next_word() {
    let mut s = Server::unlimited();
    let (mut alice, mut bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let direct = alice.create(&mut s, object! { "is_direct" => true, "invite" => [bob.id.as_str()] });
    alice.say(&mut s, &direct, "hi");
    assert!(bob.sync(&mut s).at(&["rooms", "join", &direct]).is_some());
    bob.ok(&mut s, &format!("POST /client/v3/rooms/{direct}/leave"), Json::object());
    let got = bob.sync(&mut s);
    assert!(got.at(&["rooms", "leave", &direct]).is_some(), "{got:?}");
    for _ in 0..2 {
        let got = Client::login(&mut s, "bob").get(&mut s, "/v3/sync");
        assert!(got.at(&["rooms", "join", &direct]).is_none(), "{got:?}");
        s.restart();
        alice.connect(&mut s);
        bob.connect(&mut s);
    }
    bob.sync(&mut s);
    alice.say(&mut s, &direct, "are you there?");
    let got = bob.sync(&mut s);
    let texts: Vec<_> =
        events(joined(&got, &direct), "timeline").iter().map(|e| e.str_at("content.body")).collect();
    assert!(texts.contains(&Some("are you there?")), "{texts:?}");
    assert!(Client::login(&mut s, "bob").get(&mut s, "/v3/sync").at(&["rooms", "join", &direct]).is_some());
}

#[test]
fn members_as_they_were_and_long_reactions() {
    let mut s = Server::unlimited();
    let (mut alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let room = alice.create(&mut s, object! { "preset" => "public_chat" });
    alice.sync(&mut s);
    let at = alice.since.clone();
    bob.join(&mut s, &room);
    let members = |s: &mut Server, query: &str| {
        let got = alice.get(s, &format!("/v3/rooms/{room}/members?{query}"));
        got.get("chunk").and_then(Json::as_array).unwrap().len()
    };
    assert_eq!((members(&mut s, "membership=join"), members(&mut s, &format!("at={at}"))), (2, 1));
    let said = alice.say(&mut s, &room, "hi");
    let relation = object! { "rel_type" => "m.annotation", "event_id" => &said, "key" => "x".repeat(200) };
    let id = alice.send(&mut s, &room, "m.reaction", object! { "m.relates_to" => relation });
    let got = alice.get(&mut s, &format!("/v1/rooms/{room}/relations/{said}/m.annotation/m.reaction"));
    assert_eq!(ids(got.get("chunk").and_then(Json::as_array).unwrap()), [id]);
}

#[test]
fn more_rooms_than_a_connection_may_have() {
    let mut s = Server::with(|config| {
        config.limits.values.rooms_per_session = 3;
        config.limits.values.flood_burst = 0;
        config.limits.values.flood_rate = 0;
    });
    let mut alice = Client::new(&mut s, "alice");
    let rooms: Vec<String> = (0..8).map(|_| alice.create(&mut s, Json::object())).collect();
    s.restart();
    alice.connect(&mut s);
    let got = alice.sync(&mut s);
    for room in &rooms {
        joined(&got, room);
    }
    let id = alice.say(&mut s, &rooms[7], "here too");
    let got = alice.sync(&mut s);
    assert_eq!(ids(events(joined(&got, &rooms[7]), "timeline")), [id]);
}

/// What a dialog's last entries lead to is worked out again, for which it is read; then nobody is there.
#[test]
fn dialogs_that_nobody_is_in_are_not_kept_at_a_start() {
    let mut s = Server::unlimited();
    let (mut alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let room = alice.create(&mut s, object! { "is_direct" => true, "invite" => [bob.id.as_str()] });
    alice.say(&mut s, &room, "hello");
    let before = s.rooms_read;
    s.restart();
    let started = s.rooms_read;
    assert!(started > before);
    alice.connect(&mut s);
    alice.say(&mut s, &room, "again");
    assert!(s.rooms_read > started, "it is read when somebody comes");
    let came = s.rooms_read;
    alice.say(&mut s, &room, "and again");
    assert_eq!(s.rooms_read, came, "and kept then");
}
