//! Matrix endpoints by the letter, through a whole worker with the memory store.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_codecs::settings::Protocol;
use server::Server;
use server::matrix::{Client, events, joined};

/// Somebody without a token.
fn nobody(s: &mut Server) -> Client {
    let mut nobody = Client::new(s, "nobody");
    nobody.token = String::new();
    nobody
}

#[test]
fn an_account_is_spelled_as_wanted_and_its_id_has_small_letters() {
    let mut s = Server::new();
    let nobody = nobody(&mut s);
    assert_eq!(
        nobody.get(&mut s, "/v3/register/available?username=BigAlice"),
        object! { "available" => true }
    );
    // Who knows the flow need not ask for a session first.
    let body = object! {
        "username" => "BigAlice", "password" => "secret", "auth" => object! { "type" => "m.login.dummy" },
    };
    let got = nobody.ok(&mut s, "POST /client/v3/register", body.clone());
    assert_eq!(got.str_of("user_id"), Some("@bigalice:localhost"));
    let profile = nobody.get(&mut s, "/v3/profile/@bigalice:localhost");
    assert_eq!(profile.str_of("displayname"), Some("BigAlice"));
    nobody.refused(&mut s, "POST /client/v3/register", body, 400, "M_USER_IN_USE");
}

#[test]
fn a_client_that_asks_what_it_takes_before_it_asks_for_a_name_registers() {
    let mut s = Server::new();
    let nobody = nobody(&mut s);
    let (status, asked) = nobody.call(&mut s, "POST /client/v3/register", Json::object());
    assert_eq!((status, asked.get("errcode"), asked.get("error")), (401, None, None));
    let body = |auth: Json| object! { "username" => "carol", "password" => "secret", "auth" => auth };
    let session = asked.str_of("session").unwrap();
    // How far it is: nothing was tried, so nothing failed.
    let auth = body(object! { "session" => session });
    let (status, far) = nobody.call(&mut s, "POST /client/v3/register", auth);
    assert_eq!((status, far.get("errcode")), (401, None));
    assert_eq!((far.str_of("session"), far.get("flows")), (Some(session), asked.get("flows")));
    // What is tried and fails is told.
    let auth = body(object! { "type" => "x", "session" => session });
    let (status, failed) = nobody.call(&mut s, "POST /client/v3/register", auth);
    assert_eq!((status, failed.str_of("errcode")), (401, Some("M_UNKNOWN")));
    let auth = body(object! { "type" => "m.login.dummy", "session" => session });
    let got = nobody.ok(&mut s, "POST /client/v3/register", auth);
    assert_eq!(got.str_of("user_id"), Some("@carol:localhost"));
}

#[test]
fn looking_an_alias_up_without_a_login_opens_no_room() {
    let mut s = Server::new();
    s.register("bob");
    let bob = s.open_on(Protocol::Irc);
    s.send(bob, "PASS bob:secret\r\nNICK bob\r\nUSER bob 0 * :b\r\n");
    s.send(bob, "JOIN #lobby\r\n");
    let (nobody, alice) = (nobody(&mut s), Client::new(&mut s, "alice"));
    for path in ["/v3/directory/room/%23lobby:localhost", "/v1/room_summary/%23lobby:localhost"] {
        let room = nobody.get(&mut s, path).str_of("room_id").unwrap().to_owned();
        assert!(s.log(&room).0.open.is_none(), "{path}");
    }
    // The id that was told goes on to mean the room.
    let told = nobody.get(&mut s, "/v3/directory/room/%23lobby:localhost");
    let told = told.str_of("room_id").unwrap().to_owned();
    let known = alice.ok(&mut s, &format!("POST /client/v3/join/{told}"), Json::object());
    assert!(s.log(&told).0.open.is_some());
    let seen = alice.get(&mut s, "/v3/directory/room/%23lobby:localhost");
    assert_eq!(seen.str_of("room_id"), known.str_of("room_id"));
}

#[test]
fn a_third_party_learns_who_one_is() {
    let mut s = Server::new();
    let (alice, nobody) = (Client::new(&mut s, "alice"), nobody(&mut s));
    let path = |user: &str| format!("POST /client/v3/user/{user}/openid/request_token");
    let got = alice.ok(&mut s, &path("@alice:localhost"), Json::object());
    assert_eq!(
        (got.str_of("token_type"), got.str_of("matrix_server_name")),
        (Some("Bearer"), Some("localhost"))
    );
    assert_eq!(got.get("expires_in"), Some(&Json::from(3600)));
    let token = got.str_of("access_token").unwrap();
    let ask = |token: &str| format!("GET /federation/v1/openid/userinfo?access_token={token}");
    let told = nobody.ok(&mut s, &ask(token), Json::object());
    assert_eq!(told, object! { "sub" => "@alice:localhost" });
    // It opens nothing else, and nobody can make one up.
    let mut forged = token.to_owned();
    forged.replace_range(4..5, if token.as_bytes()[4] == b'0' { "1" } else { "0" });
    for bad in [&forged, "x", &alice.token] {
        nobody.refused(&mut s, &ask(bad), Json::object(), 401, "M_UNKNOWN_TOKEN");
    }
    let none = "GET /federation/v1/openid/userinfo";
    nobody.refused(&mut s, none, Json::object(), 401, "M_MISSING_TOKEN");
    let whoami = format!("GET /client/v3/account/whoami?access_token={token}");
    nobody.refused(&mut s, &whoami, Json::object(), 401, "M_UNKNOWN_TOKEN");
    alice.refused(&mut s, &path("@nobody:localhost"), Json::object(), 403, "M_FORBIDDEN");
}

#[test]
fn there_are_no_addresses_and_no_bridges_and_that_is_said() {
    let mut s = Server::new();
    let (alice, nobody) = (Client::new(&mut s, "alice"), nobody(&mut s));
    let email = object! { "client_secret" => "x", "email" => "a@b.org", "send_attempt" => 1 };
    for path in [
        "register/email",
        "register/msisdn",
        "account/password/email",
        "account/3pid/email",
        "account/3pid/msisdn",
    ] {
        let path = format!("POST /client/v3/{path}/requestToken");
        nobody.refused(&mut s, &path, email.clone(), 403, "M_THREEPID_DENIED");
    }
    for path in ["add", "bind"] {
        let path = format!("POST /client/v3/account/3pid/{path}");
        alice.refused(
            &mut s,
            &path,
            object! { "client_secret" => "x", "sid" => "y" },
            403,
            "M_THREEPID_DENIED",
        );
        nobody.refused(&mut s, &path, Json::object(), 401, "M_MISSING_TOKEN");
    }
    let there = object! { "medium" => "email", "address" => "a@b.org" };
    let gone = alice.ok(&mut s, "POST /client/v3/account/3pid/delete", there);
    assert_eq!(gone.str_of("id_server_unbind_result"), Some("no-support"));
    for path in ["location", "user", "location/irc", "user/irc"] {
        let path = format!("GET /client/v3/thirdparty/{path}");
        assert_eq!(alice.ok(&mut s, &path, Json::object()), Json::Array(Vec::new()));
    }
    let protocol = "GET /client/v3/thirdparty/protocol/irc";
    alice.refused(&mut s, protocol, Json::object(), 404, "M_NOT_FOUND");
}

#[test]
fn one_sees_ones_own_sessions_and_nobody_elses() {
    let mut s = Server::new();
    let (alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let got = alice.get(&mut s, "/v3/admin/whois/@alice:localhost");
    let devices: Vec<_> = got.get("devices").unwrap().as_object().unwrap().iter().collect();
    assert_eq!((got.str_of("user_id"), devices.len()), (Some("@alice:localhost"), 1));
    assert!(devices[0].1.get("sessions").and_then(Json::as_array).is_some_and(|s| s.len() == 1));
    let other = "GET /client/v3/admin/whois/@alice:localhost";
    bob.refused(&mut s, other, Json::object(), 403, "M_FORBIDDEN");
}

/// What was said under a rule stays under it.
#[test]
fn history_opens_for_what_comes_and_not_for_what_was() {
    let mut s = Server::new();
    let mut alice = Client::new(&mut s, "alice");
    let (bob, eve) = (Client::new(&mut s, "bob"), Client::new(&mut s, "eve"));
    let seen = |s: &mut Server, who: &Client, room: &str, event: &str| {
        who.call(s, &format!("GET /client/v3/rooms/{room}/event/{event}"), Json::object()).0 == 200
    };
    let rule = |word: &str| object! { "history_visibility" => word };
    for (closed, of_member, of_outsider) in
        [("joined", false, false), ("invited", false, false), ("shared", true, false)]
    {
        let first = object! { "type" => "m.room.history_visibility", "content" => rule(closed) };
        let room = alice.create(&mut s, object! { "preset" => "public_chat", "initial_state" => [first] });
        let before = alice.say(&mut s, &room, "before");
        let path = format!("PUT /client/v3/rooms/{room}/state/m.room.history_visibility");
        alice.ok(&mut s, &path, rule("world_readable"));
        let after = alice.say(&mut s, &room, "after");
        assert!(seen(&mut s, &eve, &room, &after), "{closed}");
        assert_eq!(seen(&mut s, &eve, &room, &before), of_outsider, "{closed}");
        bob.join(&mut s, &room);
        assert!(seen(&mut s, &bob, &room, &after), "{closed}");
        assert_eq!(seen(&mut s, &bob, &room, &before), of_member, "{closed}");
        assert!(seen(&mut s, &alice, &room, &before), "{closed}");
        // Who was there keeps what he could read, whatever the rule.
        alice.ok(&mut s, &path, rule("joined"));
        assert!(seen(&mut s, &alice, &room, &before), "{closed}");
    }
}

/// What is told first of a room that was left has all of its state.
#[test]
fn a_left_room_comes_with_its_state() {
    let mut s = Server::new();
    let (mut alice, mut bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let room = alice.create(&mut s, object! { "preset" => "public_chat", "name" => "The room" });
    bob.join(&mut s, &room);
    for n in 0..30 {
        alice.say(&mut s, &room, &format!("number {n}"));
    }
    bob.ok(&mut s, &format!("POST /client/v3/rooms/{room}/leave"), Json::object());
    let name = format!("PUT /client/v3/rooms/{room}/state/m.room.name");
    alice.ok(&mut s, &name, object! { "name" => "Another name" });
    let filter = "&filter=%7B%22room%22:%7B%22include_leave%22:true%7D%7D";
    let got = bob.sync_with(&mut s, filter);
    let left = got.at(&["rooms", "leave", &room]).unwrap();
    let state = events(left, "state");
    let named = state.iter().find(|e| e.str_of("type") == Some("m.room.name")).unwrap();
    assert_eq!(named.str_at("content.name"), Some("The room"));
    assert!(state.iter().any(|e| e.str_of("type") == Some("m.room.create")));
    // Who was never in learns nothing of it.
    let eve = Client::new(&mut s, "eve");
    let invite = format!("POST /client/v3/rooms/{room}/invite");
    alice.ok(&mut s, &invite, object! { "user_id" => &eve.id });
    eve.ok(&mut s, &format!("POST /client/v3/rooms/{room}/leave"), Json::object());
    let got = eve.get(&mut s, &format!("/v3/sync?timeout=0{filter}"));
    if let Some(left) = got.at(&["rooms", "leave", &room]) {
        let told = events(left, "state").len();
        assert!(told <= 1, "{left:?}");
    }
}

fn filter(text: &str) -> String {
    let hex = |b: u8| format!("%{b:02X}");
    format!("&filter={}", text.bytes().map(hex).collect::<String>())
}

fn state_of(sync: &Json, room: &str, kind: &str) -> Vec<String> {
    let state = events(joined(sync, room), "state");
    let of = state.iter().filter(|e| e.str_of("type") == Some(kind));
    of.map(|e| e.str_of("state_key").unwrap().to_owned()).collect()
}

/// State that a filter keeps out of the timeline is told as state; a gap hides nothing that changed in it.
#[test]
fn what_a_timeline_leaves_out_is_told_as_state() {
    let mut s = Server::unlimited();
    let (mut alice, mut bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let dave = Client::new(&mut s, "dave");
    let room = alice.create(&mut s, object! { "preset" => "public_chat" });
    bob.join(&mut s, &room);
    for key in ["one", "two"] {
        let path = format!("PUT /client/v3/rooms/{room}/state/x.state/{key}");
        alice.ok(&mut s, &path, object! { "n" => 1 });
    }
    let only =
        filter(r#"{"room":{"timeline":{"types":["x.none"],"limit":1},"state":{"types":["x.state"]}}}"#);
    let mut told = state_of(&alice.sync_with(&mut s, &only), &room, "x.state");
    told.sort();
    assert_eq!(told, ["one", "two"]);
    let lazy = filter(r#"{"room":{"state":{"lazy_load_members":true}}}"#);
    alice.since = String::new();
    alice.sync_with(&mut s, &lazy);
    dave.join(&mut s, &room);
    for n in 0..20 {
        bob.say(&mut s, &room, &format!("number {n}"));
    }
    let told = alice.sync_with(&mut s, &lazy);
    assert_eq!(joined(&told, &room).at(&["timeline", "limited"]), Some(&Json::Bool(true)));
    assert_eq!(state_of(&told, &room, "m.room.member"), ["@dave:localhost"]);
    // All of it again for who asks so, though nothing happened; but nothing of the timeline.
    let all = alice.sync_with(&mut s, "&full_state=true");
    assert_eq!(state_of(&all, &room, "x.state").len(), 2);
    assert_eq!(events(joined(&all, &room), "timeline"), []);
}

#[test]
fn who_ignores_somebody_sees_no_invitation_of_his() {
    let mut s = Server::new();
    let (mut alice, bob, carol) =
        (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"), Client::new(&mut s, "carol"));
    alice.sync(&mut s);
    let list = object! { "ignored_users" => object! { "@bob:localhost" => object! {} } };
    let path = "PUT /client/v3/user/@alice:localhost/account_data/m.ignored_user_list";
    alice.ok(&mut s, path, list);
    let invite = || object! { "preset" => "private_chat", "invite" => ["@alice:localhost"] };
    let (his, hers) = (bob.create(&mut s, invite()), carol.create(&mut s, invite()));
    for since in [alice.since.clone(), String::new()] {
        alice.since = since;
        let got = alice.sync(&mut s);
        assert!(got.at(&["rooms", "invite", &his]).is_none(), "{got:?}");
        assert!(got.at(&["rooms", "invite", &hers]).is_some(), "{got:?}");
    }
    let list =
        object! { "ranges" => [[0, 9]], "timeline_limit" => 1, "required_state" => Json::Array(vec![]) };
    let ask = object! { "lists" => object! { "all" => list } };
    let got = alice.ok(&mut s, "POST /client/unstable/org.matrix.simplified_msc3575/sync", ask);
    assert!(got.at(&["rooms", &his]).is_none(), "{got:?}");
    assert!(got.at(&["rooms", &hers]).is_some(), "{got:?}");
}

#[test]
fn a_left_room_is_read_from_where_a_sync_ended() {
    let mut s = Server::new();
    let (mut alice, mut bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let room = alice.create(&mut s, object! { "preset" => "public_chat" });
    bob.join(&mut s, &room);
    alice.say(&mut s, &room, "before");
    bob.ok(&mut s, &format!("POST /client/v3/rooms/{room}/leave"), Json::object());
    bob.sync(&mut s);
    alice.say(&mut s, &room, "after");
    let from = bob.since.clone();
    let page = |s: &mut Server, dir: &str| {
        let got = bob.get(s, &format!("/v3/rooms/{room}/messages?dir={dir}&from={from}&limit=2"));
        got.get("chunk").and_then(Json::as_array).unwrap().to_vec()
    };
    let back = page(&mut s, "b");
    assert_eq!(
        (back[0].str_of("type"), back[1].str_at("content.body")),
        (Some("m.room.member"), Some("before"))
    );
    assert_eq!(page(&mut s, "f"), []);
}

#[test]
fn one_time_keys_are_given_out_in_their_order() {
    let mut s = Server::new();
    let (alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    for name in ["C", "A", "B"] {
        let mut keys = Json::object();
        keys.set(format!("signed_curve25519:{name}"), object! { "key" => name });
        alice.ok(&mut s, "POST /client/v3/keys/upload", object! { "one_time_keys" => keys.clone() });
        // The same again is no other.
        let got = alice.ok(&mut s, "POST /client/v3/keys/upload", object! { "one_time_keys" => keys });
        assert!(got.at(&["one_time_key_counts", "signed_curve25519"]).and_then(Json::as_int).is_some());
    }
    let (device, wanted) = claim(&mut s, &alice);
    for name in ["C", "A", "B"] {
        let got = bob.ok(&mut s, "POST /client/v3/keys/claim", wanted.clone());
        let id = format!("signed_curve25519:{name}");
        let key = got.at(&["one_time_keys", "@alice:localhost", &device, &id]).and_then(|k| k.str_of("key"));
        assert_eq!(key, Some(name), "{got:?}");
    }
    let none = bob.ok(&mut s, "POST /client/v3/keys/claim", wanted);
    assert_eq!(none.get("one_time_keys"), Some(&Json::object()));
    let bad = object! { "device_keys" => object! { "user_id" => &alice.id, "device_id" => device } };
    alice.refused(&mut s, "POST /client/v3/keys/upload", bad, 400, "M_BAD_JSON");
}

/// The only device of Alice, and what claims one of its one-time keys.
fn claim(s: &mut Server, alice: &Client) -> (String, Json) {
    let devices = alice.get(s, "/v3/devices");
    let device =
        devices.get("devices").and_then(Json::as_array).unwrap()[0].str_of("device_id").unwrap().to_owned();
    let mut of = Json::object();
    of.set(device.as_str(), "signed_curve25519");
    (device, object! { "one_time_keys" => object! { "@alice:localhost" => of } })
}

/// Some clients bring fifty new keys at each sync: none is refused, and who claims one gets one that the client still knows.
#[test]
fn a_device_that_brings_ever_more_one_time_keys_keeps_the_newest() {
    let mut s = Server::unlimited();
    let (alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let mut brought = Vec::new();
    for round in 0..13 {
        let mut keys = Json::object();
        for n in 0..50 {
            // Ids that do not sort in the order in which they came.
            let id = format!("{:02}{round:02}", n ^ 21);
            keys.set(format!("signed_curve25519:{id}"), object! { "key" => id });
        }
        let got = alice.ok(&mut s, "POST /client/v3/keys/upload", object! { "one_time_keys" => keys });
        let count = got.at(&["one_time_key_counts", "signed_curve25519"]).and_then(Json::as_int);
        brought.push(count.unwrap());
    }
    assert_eq!(brought[..2], [50, 100]);
    assert!(brought[2..].iter().all(|n| *n == 100), "{brought:?}");
    let (device, wanted) = claim(&mut s, &alice);
    for n in 0..100 {
        let got = bob.ok(&mut s, "POST /client/v3/keys/claim", wanted.clone());
        let keys = got.at(&["one_time_keys", "@alice:localhost", &device]).and_then(Json::as_object).unwrap();
        let (id, _) = keys.iter().next().unwrap();
        assert!(id.ends_with(if n < 50 { "11" } else { "12" }), "{n}: {id}");
    }
    let none = bob.ok(&mut s, "POST /client/v3/keys/claim", wanted);
    assert_eq!(none.get("one_time_keys"), Some(&Json::object()));
}

/// What somebody is called in one room is known there only.
#[test]
fn people_are_found_by_their_profiles() {
    let mut s = Server::new();
    let (alice, bob, eve) =
        (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"), Client::new(&mut s, "eve"));
    let profile = "PUT /client/v3/profile/@alice:localhost/displayname";
    alice.ok(&mut s, profile, object! { "displayname" => "Alice Cooper" });
    alice.create(&mut s, object! { "visibility" => "public" });
    let room = bob.create(&mut s, object! { "invite" => ["@alice:localhost"] });
    alice.join(&mut s, &room);
    let own = format!("PUT /client/v3/rooms/{room}/state/m.room.member/@alice:localhost");
    alice.ok(&mut s, &own, object! { "membership" => "join", "displayname" => "Freddy" });
    for (who, term, found) in
        [(&eve, "cooper", 1), (&eve, "freddy", 0), (&bob, "cooper", 1), (&bob, "alice", 1)]
    {
        let got = who.ok(&mut s, "POST /client/v3/user_directory/search", object! { "search_term" => term });
        let results = got.get("results").and_then(Json::as_array).unwrap();
        assert_eq!(results.len(), found, "{term}: {got:?}");
        assert!(results.iter().all(|r| r.str_of("display_name") == Some("Alice Cooper")));
    }
}

/// The rules of before v1.7 look at the text, where the sender does not say whom he means.
#[test]
fn a_name_in_the_text_is_a_mention_where_none_are_said() {
    let mut s = Server::new();
    let (mut alice, mut bob, carol) =
        (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"), Client::new(&mut s, "carol"));
    let room = alice.create(&mut s, object! { "preset" => "public_chat" });
    bob.join(&mut s, &room);
    carol.join(&mut s, &room);
    let said = |s: &mut Server, bob: &mut Client| {
        let got = bob.sync(s);
        joined(&got, &room).at(&["unread_notifications", "highlight_count"]).and_then(Json::as_int)
    };
    assert_eq!(said(&mut s, &mut bob), Some(0));
    alice.say(&mut s, &room, "hello bob!");
    assert_eq!(said(&mut s, &mut bob), Some(1));
    let other = object! { "msgtype" => "m.text", "body" => "not you, bob", "m.mentions" => object! {} };
    alice.send(&mut s, &room, "m.room.message", other);
    assert_eq!(said(&mut s, &mut bob), Some(1));
    let rule = bob.get(&mut s, "/v3/pushrules/global/content/.m.rule.contains_user_name");
    assert_eq!(rule.str_of("pattern"), Some("bob"));
}

#[test]
fn who_comes_into_a_room_learns_who_is_there() {
    let mut s = Server::new();
    let (mut alice, mut bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    alice.sync(&mut s);
    bob.sync(&mut s);
    let told = |got: &Json, who: &str| {
        let all = got.at(&["presence", "events"]).and_then(Json::as_array).unwrap_or_default();
        let of = |e: &&Json| e.str_of("sender") == Some(who);
        all.iter().find(of).and_then(|e| e.str_at("content.presence")).map(str::to_owned)
    };
    for _ in 0..2 {
        let room = alice.create(&mut s, object! { "preset" => "public_chat" });
        alice.sync(&mut s);
        bob.join(&mut s, &room);
        assert_eq!(told(&bob.sync(&mut s), "@alice:localhost").as_deref(), Some("online"));
        assert_eq!(told(&alice.sync(&mut s), "@bob:localhost").as_deref(), Some("online"));
        assert_eq!(told(&bob.sync(&mut s), "@alice:localhost"), None);
    }
    // Who only asks for something is not there.
    let carol = Client::new(&mut s, "carol");
    let room = alice.create(&mut s, object! { "preset" => "public_chat" });
    carol.join(&mut s, &room);
    assert_ne!(told(&alice.sync(&mut s), "@carol:localhost").as_deref(), Some("online"));
    let status = "PUT /client/v3/presence/@carol:localhost/status";
    carol.ok(&mut s, status, object! { "presence" => "online" });
    assert_eq!(told(&alice.sync(&mut s), "@carol:localhost").as_deref(), Some("online"));
}
