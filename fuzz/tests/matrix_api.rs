//! Matrix endpoints by the letter, through a whole worker with the memory store.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_codecs::settings::Protocol;
use server::Server;
use server::matrix::Client;

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
        alice.refused(&mut s, &path, Json::object(), 404, "M_NOT_FOUND");
    }
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
    let state = server::matrix::events(left, "state");
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
        let told = server::matrix::events(left, "state").len();
        assert!(told <= 1, "{left:?}");
    }
}
