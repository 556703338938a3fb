//! Rooms of Matrix clients through a whole worker with the memory store: their state, and what crosses to IRC and back.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_codecs::settings::Protocol;
use lavina_core::ids::ConnId;
use server::Server;

/// A Matrix client.
struct Client {
    conn: ConnId,
    token: String,
    id: String,
}

fn call(s: &mut Server, conn: ConnId, token: &str, request: &str, body: &Json) -> (u16, Json) {
    let body = String::from_utf8(body.to_bytes()).unwrap();
    let auth = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let (method, path) = request.split_once(' ').unwrap();
    let got = s.send(
        conn,
        &format!(
            "{method} /_matrix/client{path} HTTP/1.1\r\nHost: localhost\r\n{auth}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    let (head, body) = got.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {got}"));
    (head[9..12].parse().unwrap(), Json::parse(body.as_bytes()).unwrap_or_default())
}

impl Client {
    fn new(s: &mut Server, name: &str) -> Client {
        let conn = s.open_from(Protocol::Http, Some(([192, 0, 2, 1], 4096).into()));
        let mut body = object! { "username" => name, "password" => "secret" };
        let (_, asked) = call(s, conn, "", "POST /v3/register", &body);
        let session = asked.str_of("session").unwrap();
        body.set("auth", object! { "type" => "m.login.dummy", "session" => session });
        let (status, got) = call(s, conn, "", "POST /v3/register", &body);
        assert_eq!(status, 200, "{got:?}");
        let text = |key: &str| got.str_of(key).unwrap().to_owned();
        Client { conn, token: text("access_token"), id: text("user_id") }
    }

    fn call(&self, s: &mut Server, request: &str, body: Json) -> (u16, Json) {
        call(s, self.conn, &self.token, request, &body)
    }

    fn ok(&self, s: &mut Server, request: &str, body: Json) -> Json {
        let (status, got) = self.call(s, request, body);
        assert_eq!(status, 200, "{request}: {got:?}");
        got
    }

    fn refused(&self, s: &mut Server, request: &str, body: Json, status: u16, code: &str) {
        let (got, answer) = self.call(s, request, body);
        assert_eq!((got, answer.str_of("errcode")), (status, Some(code)), "{request}: {answer:?}");
    }

    fn create(&self, s: &mut Server, body: Json) -> String {
        self.ok(s, "POST /v3/createRoom", body).str_of("room_id").unwrap().to_owned()
    }

    fn state(&self, s: &mut Server, room: &str, what: &str) -> Json {
        self.ok(s, &format!("GET /v3/rooms/{room}/state/{what}"), Json::object())
    }
}

fn irc(s: &mut Server, name: &str) -> ConnId {
    s.register(name);
    let c = s.open_on(Protocol::Irc);
    let got = s.send(c, &format!("PASS {name}:secret\r\nNICK {name}\r\nUSER {name} 0 * :Real {name}\r\n"));
    assert!(got.contains(" 001 "), "{got}");
    c
}

#[test]
fn a_room_of_matrix_is_a_channel() {
    let mut s = Server::new();
    let alice = Client::new(&mut s, "alice");
    let bob = irc(&mut s, "bob");
    let body = object! {
        "room_alias_name" => "lobby", "preset" => "public_chat", "name" => "The lobby", "topic" => "Talk",
        "room_version" => "11",
    };
    let room = alice.create(&mut s, body);
    let got = s.send(bob, "JOIN #lobby\r\n");
    assert!(
        got.contains(" 332 bob #lobby :Talk\r\n") && got.contains("~alice") && !got.contains("~bob"),
        "{got}"
    );
    let member = alice.state(&mut s, &room, "m.room.member/@bob:localhost");
    assert_eq!(member, object! { "membership" => "join", "displayname" => "Real bob" });
    // Each way, and back in the other's terms.
    alice.ok(&mut s, &format!("PUT /v3/rooms/{room}/state/m.room.topic"), object! { "topic" => "New" });
    assert!(s.read(bob).contains("TOPIC #lobby :New\r\n"));
    let mut levels = alice.state(&mut s, &room, "m.room.power_levels");
    let users = levels.as_object_mut().unwrap().get_mut("users").unwrap();
    users.set("@bob:localhost", 100);
    alice.ok(&mut s, &format!("PUT /v3/rooms/{room}/state/m.room.power_levels"), levels.clone());
    assert!(s.read(bob).contains("MODE #lobby +q bob\r\n"));
    assert_eq!(alice.state(&mut s, &room, "m.room.power_levels"), levels);
    for (line, shown) in [("MODE #lobby +i", "+i"), ("MODE #lobby +m", "+m"), ("TOPIC #lobby :Back", ":Back")]
    {
        let got = s.send(bob, &format!("{line}\r\n"));
        assert!(got.contains(shown), "{line}: {got}");
    }
    assert_eq!(alice.state(&mut s, &room, "m.room.join_rules").str_of("join_rule"), Some("invite"));
    let moderated = alice.state(&mut s, &room, "m.room.power_levels");
    assert_eq!(moderated.get("events_default").and_then(Json::as_int), Some(10));
    assert_eq!(alice.state(&mut s, &room, "m.room.topic").str_of("topic"), Some("Back"));
    // People of IRC could not read it.
    let sealed = object! { "algorithm" => "m.megolm.v1.aes-sha2" };
    alice.refused(
        &mut s,
        &format!("PUT /v3/rooms/{room}/state/m.room.encryption"),
        sealed,
        403,
        "M_FORBIDDEN",
    );
    let kick = object! { "user_id" => "@bob:localhost", "reason" => "bye" };
    alice.refused(&mut s, &format!("POST /v3/rooms/{room}/kick"), kick, 403, "M_FORBIDDEN");
}

#[test]
fn a_channel_is_a_room_of_matrix() {
    let mut s = Server::new();
    let bob = irc(&mut s, "bob");
    s.send(bob, "JOIN #c\r\nTOPIC #c :Hello\r\n");
    let alice = Client::new(&mut s, "alice");
    let path = "%23c:localhost";
    let found = alice.ok(&mut s, &format!("GET /v3/directory/room/{path}"), Json::object());
    let room = found.str_of("room_id").unwrap().to_owned();
    alice.refused(&mut s, &format!("GET /v3/rooms/{room}/state"), Json::object(), 403, "M_FORBIDDEN");
    let joined = alice.ok(&mut s, &format!("POST /v3/join/{path}"), Json::object());
    assert_eq!(joined.str_of("room_id"), Some(room.as_str()));
    assert!(s.read(bob).contains(":alice!alice@localhost JOIN "));
    let state = alice.ok(&mut s, &format!("GET /v3/rooms/{room}/state"), Json::object());
    let kinds: Vec<&str> = state.as_array().unwrap().iter().filter_map(|e| e.str_of("type")).collect();
    for kind in ["m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.canonical_alias"] {
        assert!(kinds.contains(&kind), "{kind} of {kinds:?}");
    }
    let create =
        alice.ok(&mut s, &format!("GET /v3/rooms/{room}/state/m.room.create?format=event"), Json::object());
    assert_eq!(create.str_of("sender"), Some("@_server:localhost"));
    assert_eq!(create.str_of("event_id").map(|id| id[1..].to_owned()), Some(room[1..].to_owned()));
    assert_eq!(alice.state(&mut s, &room, "m.room.topic").str_of("topic"), Some("Hello"));
    let levels = alice.state(&mut s, &room, "m.room.power_levels");
    assert_eq!(levels.at(&["users", "@bob:localhost"]).and_then(Json::as_int), Some(100));
    // What only an operator may is refused in each protocol's words.
    let name = object! { "name" => "Mine" };
    alice.refused(
        &mut s,
        &format!("PUT /v3/rooms/{room}/state/m.room.name"),
        name.clone(),
        403,
        "M_FORBIDDEN",
    );
    assert!(s.send(bob, "MODE #c +o alice\r\n").contains("MODE #c +o alice"));
    alice.ok(&mut s, &format!("PUT /v3/rooms/{room}/state/m.room.name"), name);
    s.send(bob, "KICK #c alice :out\r\n");
    let seen = alice.state(&mut s, &room, "m.room.member/@alice:localhost");
    assert_eq!((seen.str_of("membership"), seen.str_of("reason")), (Some("leave"), Some("out")));
}

#[test]
fn a_direct_chat_is_the_dialog() {
    let mut s = Server::new();
    let (alice, carol) = (Client::new(&mut s, "alice"), Client::new(&mut s, "carol"));
    let bob = irc(&mut s, "bob");
    let direct =
        |id: &str| object! { "is_direct" => true, "invite" => [id], "preset" => "trusted_private_chat" };
    let room = alice.create(&mut s, direct(&carol.id));
    assert_eq!(carol.create(&mut s, direct(&alice.id)), room, "one for both");
    let encrypted = object! { "type" => "m.room.encryption", "content" => object! { "algorithm" => "x" } };
    let mut body = direct("@bob:localhost");
    body.set("initial_state", [encrypted]);
    let with_bob = alice.create(&mut s, body);
    assert_eq!(s.read(bob), "", "nothing was said yet");
    let rules = alice.state(&mut s, &with_bob, "m.room.join_rules");
    assert_eq!(rules.str_of("join_rule"), Some("invite"));
    let joined = alice.ok(&mut s, "GET /v3/joined_rooms", Json::object());
    let mut joined: Vec<&str> =
        joined.get("joined_rooms").unwrap().as_array().unwrap().iter().filter_map(Json::as_str).collect();
    joined.sort_unstable();
    let mut want = [room.as_str(), with_bob.as_str()];
    want.sort_unstable();
    assert_eq!(joined, want);
    alice.ok(&mut s, "PUT /v3/profile/@alice:localhost/displayname", object! { "displayname" => "Al" });
    let seen = carol.state(&mut s, &room, "m.room.member/@alice:localhost");
    assert_eq!(seen.str_of("displayname"), Some("Al"));
    alice.refused(
        &mut s,
        &format!("PUT /v3/rooms/{room}/state/m.room.name"),
        Json::object(),
        403,
        "M_FORBIDDEN",
    );
}

#[test]
fn who_left_sees_the_state_of_then() {
    let mut s = Server::new();
    let (alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let room = alice.create(&mut s, object! { "preset" => "public_chat", "name" => "before" });
    bob.ok(&mut s, &format!("POST /v3/join/{room}"), Json::object());
    alice.ok(&mut s, &format!("PUT /v3/rooms/{room}/state/x.y/k"), object! { "n" => 1 });
    bob.ok(&mut s, &format!("POST /v3/rooms/{room}/leave"), Json::object());
    for n in 2..5 {
        alice.ok(&mut s, &format!("PUT /v3/rooms/{room}/state/x.y/k"), object! { "n" => n });
        alice.ok(&mut s, &format!("PUT /v3/rooms/{room}/state/m.room.name"), object! { "name" => "after" });
    }
    assert_eq!(bob.state(&mut s, &room, "x.y/k"), object! { "n" => 1 });
    assert_eq!(bob.state(&mut s, &room, "m.room.name").str_of("name"), Some("before"));
    assert_eq!(alice.state(&mut s, &room, "x.y/k"), object! { "n" => 4 });
    bob.ok(&mut s, &format!("POST /v3/rooms/{room}/forget"), Json::object());
    bob.refused(&mut s, &format!("GET /v3/rooms/{room}/state"), Json::object(), 403, "M_FORBIDDEN");
}

#[test]
fn an_upgrade_takes_the_name_along() {
    let mut s = Server::new();
    let (alice, bob) = (Client::new(&mut s, "alice"), irc(&mut s, "bob"));
    let body = object! { "room_alias_name" => "lobby", "preset" => "public_chat", "room_version" => "10" };
    let old = alice.create(&mut s, body);
    s.send(bob, "JOIN #lobby\r\n");
    let answer =
        alice.ok(&mut s, &format!("POST /v3/rooms/{old}/upgrade"), object! { "new_version" => "12" });
    let new = answer.str_of("replacement_room").unwrap().to_owned();
    let found = alice.ok(&mut s, "GET /v3/directory/room/%23lobby:localhost", Json::object());
    assert_eq!(found.str_of("room_id"), Some(new.as_str()));
    let tombstone = alice.state(&mut s, &old, "m.room.tombstone");
    assert_eq!(tombstone.str_of("replacement_room"), Some(new.as_str()));
    let create = alice.state(&mut s, &new, "m.room.create");
    assert_eq!(create.at(&["predecessor", "room_id"]).and_then(Json::as_str), Some(old.as_str()));
    // Who uses IRC goes along and notices nothing.
    let members = alice.ok(&mut s, &format!("GET /v3/rooms/{new}/joined_members"), Json::object());
    assert!(members.at(&["joined", "@bob:localhost"]).is_some(), "{members:?}");
    let topic = alice.state(&mut s, &new, "m.room.canonical_alias");
    assert_eq!(topic.str_of("alias"), Some("#lobby:localhost"));
    s.read(bob);
    alice.ok(&mut s, &format!("PUT /v3/rooms/{new}/state/m.room.topic"), object! { "topic" => "here" });
    assert!(s.read(bob).contains("TOPIC #lobby :here\r\n"));
}

/// What Element needs to be told: that it may set up cross-signing, who invited to talk alone, that no proof is wanted.
#[test]
fn widespread_clients_are_told_what_they_look_for() {
    let mut s = Server::new();
    let alice = Client::new(&mut s, "alice");
    let bob = Client::new(&mut s, "bob");
    let (_, versions) = call(&mut s, alice.conn, "", "GET /versions", &Json::object());
    for feature in ["org.matrix.e2e_cross_signing", "org.matrix.msc3827.stable", "org.matrix.msc3981"] {
        assert_eq!(versions.at(&["unstable_features", feature]), Some(&Json::from(true)), "{feature}");
    }
    let upload = "POST /unstable/keys/device_signing/upload";
    assert_eq!(call(&mut s, alice.conn, &alice.token, upload, &Json::object()).0, 200);
    let elsewhere = bob.ok(&mut s, "GET /v3/thirdparty/user/sip?native_mxid=x", Json::object());
    assert_eq!(elsewhere, Json::Array(Vec::new()));

    let body = object! { "preset" => "private_chat", "invite" => ["@bob:localhost"], "is_direct" => true,
    "initial_state" => [object! { "type" => "m.room.encryption", "content" => object! { "algorithm" => "m.megolm.v1.aes-sha2" } }],
    "name" => "Two" };
    let room = alice.create(&mut s, body);
    let sync = "GET /v3/sync?org.matrix.msc4222.use_state_after=true";
    let since = bob.ok(&mut s, sync, Json::object()).str_of("next_batch").unwrap().to_owned();
    bob.ok(&mut s, &format!("POST /v3/rooms/{room}/join"), Json::object());
    let got = bob.ok(&mut s, &format!("{sync}&since={since}"), Json::object());
    let joined = got.at(&["rooms", "join", room.as_str()]).unwrap();
    for part in ["timeline", "org.matrix.msc4222.state_after"] {
        let events = joined.at(&[part, "events"]).and_then(Json::as_array).unwrap();
        let own = events.iter().rfind(|e| e.str_of("state_key") == Some("@bob:localhost")).unwrap();
        let before = (own.str_at("unsigned.prev_sender"), own.str_at("unsigned.prev_content.membership"));
        assert_eq!(before, (Some("@alice:localhost"), Some("invite")), "{part}");
        assert_eq!(own.at(&["unsigned", "prev_content", "is_direct"]), Some(&Json::from(true)), "{part}");
    }
}

#[test]
fn a_server_for_old_clients_makes_rooms_of_an_older_version() {
    let mut s = Server::with(|config| config.rooms.matrix_version = "11");
    let alice = Client::new(&mut s, "alice");
    let got = alice.ok(&mut s, "GET /v3/capabilities", Json::object());
    assert_eq!(got.at(&["capabilities", "m.room_versions", "default"]), Some(&Json::from("11")));
    let room = alice.create(&mut s, object! {});
    assert_eq!(alice.state(&mut s, &room, "m.room.create").str_of("room_version"), Some("11"));
    let levels = alice.state(&mut s, &room, "m.room.power_levels");
    assert_eq!(levels.at(&["users", "@alice:localhost"]), Some(&Json::from(100)));
}

#[test]
fn a_device_in_use_is_not_shown_as_idle() {
    const HOUR: u64 = 3_600_000;
    let mut s = Server::new();
    let alice = Client::new(&mut s, "alice");
    let seen = |s: &mut Server| {
        let got = alice.ok(s, "GET /v3/devices", Json::object());
        let device = got.get("devices").and_then(Json::as_array).unwrap()[0].clone();
        let one = format!("GET /v3/devices/{}", device.str_of("device_id").unwrap());
        assert_eq!(alice.ok(s, &one, Json::object()), device);
        let at = device.get("last_seen_ts").and_then(Json::as_int).unwrap();
        // Both places say the same.
        let whois = alice.ok(s, "GET /v3/admin/whois/@alice:localhost", Json::object());
        let (_, known) = whois.get("devices").and_then(Json::as_object).unwrap().iter().next().unwrap();
        let session = &known.get("sessions").and_then(Json::as_array).unwrap()[0];
        let connection = &session.get("connections").and_then(Json::as_array).unwrap()[0];
        assert_eq!(connection.get("last_seen").and_then(Json::as_int), Some(at));
        at
    };
    let first = seen(&mut s);
    s.now.wall.0 += HOUR / 2;
    assert_eq!(seen(&mut s), first, "to an hour");
    s.now.wall.0 += HOUR;
    alice.ok(&mut s, "GET /v3/joined_rooms", Json::object());
    let later = seen(&mut s);
    assert!(later - first >= HOUR as i64, "{first} {later}");
}

#[test]
fn what_belongs_to_a_thread_answers_its_root_on_irc() {
    let mut s = Server::new();
    let alice = Client::new(&mut s, "alice");
    let room = alice.create(&mut s, object! { "preset" => "public_chat", "room_alias_name" => "lobby" });
    s.register("carol");
    let carol = s.irc("carol", "message-tags");
    s.send(carol, "JOIN #lobby\r\n");
    let say = |s: &mut Server, n: u32, body: Json| {
        let sent = alice.ok(s, &format!("PUT /v3/rooms/{room}/send/m.room.message/{n}"), body);
        (sent.str_of("event_id").unwrap().to_owned(), s.read(carol))
    };
    let (root, line) = say(&mut s, 1, object! { "msgtype" => "m.text", "body" => "root" });
    let id = line.split_once("msgid=").unwrap().1.split([';', ' ']).next().unwrap().to_owned();
    let falls_back = object! { "event_id" => root.as_str() };
    let relates = object! {
        "rel_type" => "m.thread", "event_id" => root.as_str(), "is_falling_back" => true,
        "m.in_reply_to" => falls_back,
    };
    let body = object! { "msgtype" => "m.text", "body" => "branch", "m.relates_to" => relates };
    let (_, line) = say(&mut s, 2, body);
    assert!(line.contains(&format!("+reply={id};+draft/reply={id} :alice")), "{line}");
}

#[test]
fn a_room_is_seen_at_a_glance_by_who_may_read_it() {
    let mut s = Server::new();
    let alice = Client::new(&mut s, "alice");
    let bob = Client::new(&mut s, "bob");
    let room = alice.create(&mut s, object! { "preset" => "public_chat", "name" => "Hall" });
    let say = |s: &mut Server, n: u32| {
        let body = object! { "msgtype" => "m.text", "body" => format!("word {n}") };
        alice.ok(s, &format!("PUT /v3/rooms/{room}/send/m.room.message/{n}"), body);
    };
    (0..4).for_each(|n| say(&mut s, n));
    let glance = format!("GET /v3/rooms/{room}/initialSync?limit=2");
    // Whoever could join, but not read: clients offer to join then.
    bob.refused(&mut s, &glance, Json::object(), 403, "M_FORBIDDEN");
    bob.refused(&mut s, "GET /v3/rooms/!no:localhost/initialSync", Json::object(), 403, "M_FORBIDDEN");
    let bodies = |got: &Json| -> Vec<String> {
        let chunk = got.at(&["messages", "chunk"]).and_then(Json::as_array).unwrap();
        chunk.iter().map(|e| e.str_at("content.body").unwrap_or_default().to_owned()).collect()
    };
    let names = |got: &Json| {
        got.get("state")
            .and_then(Json::as_array)
            .unwrap()
            .iter()
            .any(|e| e.str_of("type") == Some("m.room.name"))
    };
    let got = alice.ok(&mut s, &glance, Json::object());
    assert_eq!(bodies(&got), ["word 2", "word 3"]);
    assert!(names(&got) && got.str_of("room_id") == Some(&room) && got.str_of("membership") == Some("join"));
    // The rest is behind its tokens.
    let (start, end) = (got.str_at("messages.start").unwrap(), got.str_at("messages.end").unwrap());
    let before = alice.ok(
        &mut s,
        &format!("GET /v3/rooms/{room}/messages?dir=b&limit=1&from={start}"),
        Json::object(),
    );
    assert_eq!(
        before.at(&["chunk"]).and_then(Json::as_array).unwrap()[0].str_at("content.body"),
        Some("word 1")
    );
    say(&mut s, 4);
    let after =
        alice.ok(&mut s, &format!("GET /v3/rooms/{room}/messages?dir=f&limit=9&from={end}"), Json::object());
    assert_eq!(after.at(&["chunk"]).and_then(Json::as_array).unwrap().len(), 1);
    let world = object! { "history_visibility" => "world_readable" };
    alice.ok(&mut s, &format!("PUT /v3/rooms/{room}/state/m.room.history_visibility"), world);
    say(&mut s, 5);
    let got = bob.ok(&mut s, &glance, Json::object());
    assert!(bodies(&got).contains(&"word 5".to_owned()) && names(&got) && got.get("membership").is_none());
}

#[test]
fn who_makes_a_room_while_syncing_is_told_all_of_its_state() {
    for unstable in ["", "&org.matrix.msc4222.use_state_after=true"] {
        let mut s = Server::new();
        let alice = Client::new(&mut s, "alice");
        let since = alice.ok(&mut s, "GET /v3/sync", Json::object()).str_of("next_batch").unwrap().to_owned();
        let room =
            alice.create(&mut s, object! { "preset" => "public_chat", "name" => "Hall", "topic" => "Talk" });
        let got = alice.ok(&mut s, &format!("GET /v3/sync?since={since}{unstable}"), Json::object());
        let joined = got.at(&["rooms", "join", room.as_str()]).unwrap();
        let parts = ["timeline", "state", "org.matrix.msc4222.state_after"];
        let events =
            parts.iter().filter_map(|part| joined.at(&[part, "events"]).and_then(Json::as_array)).flatten();
        let told: Vec<&str> = events.filter_map(|e| e.str_of("type")).collect();
        for kind in ["m.room.name", "m.room.topic", "m.room.power_levels", "m.room.join_rules"] {
            assert!(told.contains(&kind), "{unstable} {kind}: {told:?}");
        }
        let since = got.str_of("next_batch").unwrap().to_owned();
        let got =
            alice.ok(&mut s, &format!("GET /v3/sync?since={since}{unstable}&timeout=0"), Json::object());
        assert!(got.at(&["rooms", "join", room.as_str()]).is_none(), "once: {got:?}");
    }
}
