//! The events of rooms as other servers will get them: a life in rooms of all versions, and in rooms that began on IRC
//! and XMPP, through a whole worker with the memory store. Every event is taken from the store and judged by the rules.
//!
//! With `LAVINA_EVENTS=DIR` the events of each room are written there, one JSON array a file, for judges of other kinds.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::matrix::chain::{self, SigningKey};
use lavina_codecs::matrix::pdu::{
    self, State, Version, auth_types, authorise, check_auth_events, check_format, check_hash,
};
use lavina_codecs::object;
use lavina_codecs::settings::Protocol;
use lavina_core::ids::ConnId;
use server::Server;
use std::collections::BTreeMap;

/// A Matrix client.
struct Client {
    conn: ConnId,
    token: String,
    sent: u32,
}

impl Client {
    fn new(s: &mut Server, name: &str) -> Client {
        s.register(name);
        let mut client = Client { conn: s.open_on(Protocol::Http), token: String::new(), sent: 0 };
        let body = object! {
            "type" => "m.login.password",
            "identifier" => object! { "type" => "m.id.user", "user" => name },
            "password" => "secret",
        };
        client.token = client.ok(s, "POST /login", body).str_of("access_token").unwrap().to_owned();
        client
    }

    fn call(&self, s: &mut Server, request: &str, body: Json) -> (u16, Json) {
        let body = String::from_utf8(body.to_bytes()).unwrap();
        let (method, path) = request.split_once(' ').unwrap();
        let auth = match self.token.is_empty() {
            true => String::new(),
            false => format!("Authorization: Bearer {}\r\n", self.token),
        };
        let head = format!("{method} /_matrix/client/v3{path} HTTP/1.1\r\nHost: localhost\r\n{auth}");
        let got = s.send(self.conn, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        let (head, body) = got.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {got}"));
        (head[9..12].parse().unwrap(), Json::parse(body.as_bytes()).unwrap_or_default())
    }

    fn ok(&self, s: &mut Server, request: &str, body: Json) -> Json {
        let (status, got) = self.call(s, request, body);
        assert_eq!(status, 200, "{request}: {got:?}");
        got
    }

    fn get(&self, s: &mut Server, path: &str) -> Json {
        self.ok(s, &format!("GET {path}"), Json::object())
    }

    /// Sends an event and gives its id.
    fn send(&mut self, s: &mut Server, room: &str, kind: &str, content: Json) -> String {
        self.sent += 1;
        let got = self.ok(s, &format!("PUT /rooms/{room}/send/{kind}/t{}", self.sent), content);
        got.str_of("event_id").unwrap().to_owned()
    }

    fn redact(&mut self, s: &mut Server, room: &str, event: &str) -> String {
        self.sent += 1;
        let body = object! { "reason" => "no" };
        let got = self.ok(s, &format!("PUT /rooms/{room}/redact/{event}/t{}", self.sent), body);
        got.str_of("event_id").unwrap().to_owned()
    }

    fn set(&self, s: &mut Server, room: &str, what: &str, content: Json) -> String {
        let got = self.ok(s, &format!("PUT /rooms/{room}/state/{what}"), content);
        got.str_of("event_id").unwrap().to_owned()
    }

    fn act(&self, s: &mut Server, room: &str, act: &str, who: &str) {
        let body = object! { "user_id" => format!("@{who}:localhost"), "reason" => "so" };
        self.ok(s, &format!("POST /rooms/{room}/{act}"), body);
    }
}

fn text(body: &str) -> Json {
    object! { "msgtype" => "m.text", "body" => body }
}

fn about(kind: &str, event: &str) -> Json {
    object! { "rel_type" => kind, "event_id" => event }
}

fn irc(s: &mut Server, name: &str) -> ConnId {
    s.register(name);
    let c = s.open_on(Protocol::Irc);
    let caps =
        "CAP REQ :message-tags echo-message draft/message-redaction draft/message-editing\r\nCAP END\r\n";
    let got =
        s.send(c, &format!("{caps}PASS {name}:secret\r\nNICK {name}\r\nUSER {name} 0 * :Real {name}\r\n"));
    assert!(got.contains(" 001 "), "{got}");
    c
}

/// What people do in a room; all of it by events.
fn live(s: &mut Server, room: &str, alice: &mut Client, bob: &mut Client, carol: ConnId, channel: &str) {
    let say = |s: &mut Server, what: &str| s.send(carol, &format!("PRIVMSG {channel} :{what}\r\n"));
    alice.act(s, room, "invite", "bob");
    bob.ok(s, &format!("POST /rooms/{room}/join"), Json::object());
    s.send(carol, &format!("JOIN {channel}\r\n"));
    say(s, "from irc");
    say(s, "\u{2}bold\u{2} alice: look");
    s.send(carol, &format!("PRIVMSG {channel} :\u{1}ACTION waves\u{1}\r\n"));
    let first = alice.send(s, room, "m.room.message", text("first"));
    let mut reply = text("reply");
    reply.set("m.relates_to", object! { "m.in_reply_to" => object! { "event_id" => first.as_str() } });
    let reply = bob.send(s, room, "m.room.message", reply);
    let mut edit = text("* better");
    edit.set("m.new_content", text("better"));
    edit.set("m.relates_to", about("m.replace", &first));
    alice.send(s, room, "m.room.message", edit);
    let mut relation = about("m.annotation", &first);
    relation.set("key", "+");
    let reaction = bob.send(s, room, "m.reaction", object! { "m.relates_to" => relation });
    bob.redact(s, room, &reaction);
    alice.redact(s, room, &reply);
    alice.send(s, room, "x.custom", object! { "deep" => [object! { "a" => 1 }, Json::Null] });
    bob.ok(s, "PUT /profile/@bob:localhost/displayname", object! { "displayname" => "Bobby" });
    alice.act(s, room, "kick", "bob");
    alice.act(s, room, "ban", "bob");
    alice.act(s, room, "unban", "bob");
    say(s, "the last");
}

/// State that whoever made a room on Matrix sets.
fn rule(s: &mut Server, room: &str, alice: &Client) {
    alice.set(s, room, "m.room.topic", object! { "topic" => "New" });
    alice.set(s, room, "m.room.name", object! { "name" => "Name" });
    let mut levels = alice.get(s, &format!("/rooms/{room}/state/m.room.power_levels"));
    levels.as_object_mut().unwrap().get_mut("users").unwrap().set("@carol:localhost", 50);
    alice.set(s, room, "m.room.power_levels", levels);
    alice.set(s, room, "x.state/key", object! { "x" => 1 });
    alice.set(s, room, "m.room.join_rules", object! { "join_rule" => "invite" });
}

/// Judges all events of a room, and gives them with their ids.
fn judge(s: &mut Server, room: &str) -> Vec<(String, Json)> {
    let (head, log) = s.log(room);
    let version = chain::version(&head).unwrap();
    let mut all: Vec<(String, Json)> = Vec::new();
    for event in &log {
        let sealed = event.sealed.as_ref().map_or(0, |s| s.names.len());
        for nth in 0..sealed as u8 {
            let seal = event.seal(nth).unwrap_or_else(|| panic!("no link: {event:?}"));
            all.push((chain::event_id(&seal), chain::pdu(&head, event, nth, "localhost").unwrap()));
        }
    }
    let mut state: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (n, (id, event)) in all.iter().enumerate() {
        let (kind, sender) = (event.str_of("type").unwrap(), event.str_of("sender").unwrap());
        let key = event.str_of("state_key");
        assert_eq!(check_format(event, version), Ok(()), "{event:?}");
        assert_eq!(pdu::event_id(event, version).as_ref(), Ok(id), "{event:?}");
        let whole = check_hash(event).unwrap();
        assert!(whole || pdu::redact(event, version) == *event, "{event:?}");
        let before = n.checked_sub(1).map(|n| all[n].0.as_str());
        assert_eq!(event.get("prev_events"), Some(&Json::from(before.into_iter().collect::<Vec<_>>())));
        assert_eq!(event.int_at("depth"), Some(n as i64 + 1));
        let wanted = auth_types(kind, key, sender, event.get("content").unwrap(), version);
        let held = |(kind, key): &(&str, lavina_core::text::Str)| {
            state.get(&((*kind).to_owned(), key.to_string())).copied()
        };
        let wanted: Vec<usize> = wanted.iter().filter_map(held).collect();
        let names: Vec<&str> = wanted.iter().map(|n| all[*n].0.as_str()).collect();
        assert_eq!(event.get("auth_events"), Some(&Json::from(names)), "{event:?}");
        assert_eq!(check_auth_events(event, wanted.iter().map(|n| (&all[*n].1, false)), version), Ok(()));
        let rules = State {
            get: &|kind, key| state.get(&(kind.to_owned(), key.to_owned())).map(|n| &all[*n].1),
            create_id: &all[0].0,
            signed_by: &|server| server == "localhost",
            third_party: &|_, _| false,
        };
        assert_eq!(authorise(event, version, &rules), Ok(()), "{event:?}");
        if let Some(key) = key {
            state.insert((kind.to_owned(), key.to_owned()), n);
        }
    }
    export(room, version, &all);
    all
}

/// For judges of other kinds, signed.
fn export(room: &str, version: Version, all: &[(String, Json)]) {
    let Some(dir) = std::env::var_os("LAVINA_EVENTS") else { return };
    let key = SigningKey::new(&[7; 32]).unwrap();
    let events = all.iter().map(|(id, event)| {
        let mut event = event.clone();
        key.sign(&mut event, version, "localhost");
        object! { "event_id" => id.as_str(), "pdu" => event }
    });
    let whole = object! {
        "room_id" => room,
        "room_version" => version.name(),
        "server" => "localhost",
        "key_id" => key.id(),
        "key" => key.public(),
        "events" => events.collect::<Vec<_>>(),
    };
    let name = format!("{}-{}.json", version.name(), all.len());
    std::fs::write(std::path::Path::new(&dir).join(name), whole.to_bytes()).unwrap();
}

/// All that clients are shown of the room from its opening on has the ids that other servers know it by.
fn shown_alike(s: &mut Server, room: &str, alice: &Client, all: &[(String, Json)]) {
    let page = alice.get(s, &format!("/rooms/{room}/messages?dir=f&limit=200"));
    let chunk = page.get("chunk").and_then(Json::as_array).unwrap();
    let shown: Vec<&Json> =
        chunk.iter().filter(|e| all.iter().any(|(id, _)| e.str_of("event_id") == Some(id))).collect();
    assert_eq!(shown.len(), all.len(), "{:?}", chunk.iter().map(|e| e.str_of("type")).collect::<Vec<_>>());
    for (event, (id, pdu)) in shown.into_iter().zip(all) {
        assert_eq!(event.str_of("event_id"), Some(id.as_str()));
        assert_eq!(event.str_of("room_id"), Some(room));
        for key in ["type", "sender", "state_key", "origin_server_ts"] {
            assert_eq!(event.get(key), pdu.get(key), "{event:?}");
        }
        let (status, one) = alice.call(s, &format!("GET /rooms/{room}/event/{id}"), Json::object());
        assert_eq!(status, 200, "{event:?}");
        assert_eq!(one.str_of("event_id"), Some(id.as_str()));
        if let Some(before) = event.at(&["unsigned", "replaces_state"]).and_then(Json::as_str) {
            assert!(all.iter().any(|(id, _)| id == before));
        }
    }
    // By the token of a sync, and as state.
    let sync = alice.get(s, "/sync?filter=%7B%22room%22:%7B%22timeline%22:%7B%22limit%22:200%7D%7D%7D");
    let timeline = sync.at(&["rooms", "join", room, "timeline", "events"]).and_then(Json::as_array).unwrap();
    let last = timeline.last().and_then(|e| e.str_of("event_id"));
    assert_eq!(last, all.last().map(|(id, _)| id.as_str()));
    let state = alice.get(s, &format!("/rooms/{room}/state"));
    for event in state.as_array().unwrap() {
        assert!(all.iter().any(|(id, _)| event.str_of("event_id") == Some(id)), "{event:?}");
    }
    // Receipts take them.
    let id = last.unwrap().to_owned();
    alice.ok(s, &format!("POST /rooms/{room}/receipt/m.read/{id}"), Json::object());
    alice.ok(s, &format!("POST /rooms/{room}/read_markers"), object! { "m.fully_read" => id.as_str() });
    let context = alice.get(s, &format!("/rooms/{room}/context/{id}?limit=3"));
    assert_eq!(context.at(&["event", "event_id"]).and_then(Json::as_str), Some(id.as_str()));
}

#[test]
fn rooms_of_matrix() {
    for version in ["6", "7", "8", "9", "10", "11", "12"] {
        let mut s = Server::new();
        let mut alice = Client::new(&mut s, "alice");
        let mut bob = Client::new(&mut s, "bob");
        let carol = irc(&mut s, "carol");
        let body = object! {
            "room_alias_name" => "lobby", "preset" => "public_chat", "name" => "The lobby",
            "topic" => "Talk", "room_version" => version,
            "initial_state" => [object! { "type" => "x.first", "content" => object! { "a" => 1 } }],
        };
        let room = alice.ok(&mut s, "POST /createRoom", body).str_of("room_id").unwrap().to_owned();
        assert_eq!(room.ends_with(":localhost"), version != "12", "{room}");
        live(&mut s, &room, &mut alice, &mut bob, carol, "#lobby");
        rule(&mut s, &room, &alice);
        let all = judge(&mut s, &room);
        assert!(all.len() > 30, "{}", all.len());
        if version == "12" {
            assert_eq!(all[0].0[1..], room[1..]);
        }
        shown_alike(&mut s, &room, &alice, &all);
        // An upgrade names the room and leads on.
        let path = format!("POST /rooms/{room}/upgrade");
        let next = alice.ok(&mut s, &path, object! { "new_version" => "12" });
        let next = next.str_of("replacement_room").unwrap().to_owned();
        let create = alice.get(&mut s, &format!("/rooms/{next}/state/m.room.create"));
        assert_eq!(create.str_at("predecessor.room_id"), Some(room.as_str()));
        judge(&mut s, &room);
        judge(&mut s, &next);
    }
}

#[test]
fn rooms_that_began_elsewhere() {
    for (began, closed) in [("irc", false), ("irc", true), ("xmpp", false)] {
        let mut s = Server::new();
        let carol = irc(&mut s, "carol");
        s.register("dora");
        let dora = s.login("dora", "r");
        s.send(dora, "<presence/>");
        if began == "irc" {
            s.send(carol, "JOIN #lobby\r\n");
        }
        s.join(dora, "lobby", "dora");
        s.send(carol, "JOIN #lobby\r\nPRIVMSG #lobby :before\r\n");
        let mut alice = Client::new(&mut s, "alice");
        let mut bob = Client::new(&mut s, "bob");
        if closed {
            s.send(carol, "INVITE alice #lobby\r\nMODE #lobby +i\r\n");
        }
        let joined = alice.ok(&mut s, "POST /join/%23lobby:localhost", Json::object());
        let room = joined.str_of("room_id").unwrap().to_owned();
        let say =
            "<message to='lobby@rooms.localhost' type='groupchat' id='x1'><body>from xmpp</body></message>";
        s.send(dora, say);
        s.send(carol, "MODE #lobby +o alice\r\nMODE #lobby +v dora\r\nTOPIC #lobby :Hello\r\n");
        if began == "xmpp" {
            s.send(dora, "<iq type='set' id='a1' to='lobby@rooms.localhost'><query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='admin' jid='alice@localhost'/></query></iq>");
        }
        live(&mut s, &room, &mut alice, &mut bob, carol, "#lobby");
        s.send(carol, "PART #lobby\r\nJOIN #lobby\r\nPRIVMSG #lobby :again\r\n");
        let all = judge(&mut s, &room);
        assert_eq!(all[0].1.str_of("sender"), Some("@_server:localhost"));
        assert_eq!(all[0].0[1..], room[1..]);
        shown_alike(&mut s, &room, &alice, &all);
        // What was before has an id all the same, and can be answered.
        let page = alice.get(&mut s, &format!("/rooms/{room}/messages?dir=f&limit=200"));
        let chunk = page.get("chunk").and_then(Json::as_array).unwrap();
        let before = chunk.iter().find(|e| e.str_at("content.body") == Some("before")).unwrap();
        let before = before.str_of("event_id").unwrap().to_owned();
        assert!(all.iter().all(|(id, _)| *id != before));
        alice.get(&mut s, &format!("/rooms/{room}/event/{before}"));
        let mut reply = text("reply");
        reply.set("m.relates_to", object! { "m.in_reply_to" => object! { "event_id" => before.as_str() } });
        alice.send(&mut s, &room, "m.room.message", reply);
        judge(&mut s, &room);
    }
}

#[test]
fn a_room_for_the_members_of_a_space_as_widespread_clients_make_it() {
    let mut s = Server::new();
    let alice = Client::new(&mut s, "alice");
    let bob = Client::new(&mut s, "bob");
    let eve = Client::new(&mut s, "eve");
    let body = object! {
        "preset" => "private_chat", "name" => "Club", "invite" => ["@bob:localhost"],
        "creation_content" => object! { "type" => "m.space" },
    };
    let space = alice.ok(&mut s, "POST /createRoom", body).str_of("room_id").unwrap().to_owned();
    let allow = object! { "type" => "m.room_membership", "room_id" => space.as_str() };
    let rule = object! { "join_rule" => "restricted", "allow" => [allow] };
    let body = object! {
        "preset" => "private_chat", "name" => "Hall", "visibility" => "private", "room_version" => "9",
        "initial_state" => [
            object! { "type" => "m.space.parent", "state_key" => space.as_str(), "content" => object! { "via" => ["localhost"] } },
            object! { "type" => "m.room.join_rules", "content" => rule },
        ],
    };
    let hall = alice.ok(&mut s, "POST /createRoom", body).str_of("room_id").unwrap().to_owned();
    let create = alice.get(&mut s, &format!("/rooms/{hall}/state/m.room.create"));
    assert_eq!(
        (create.str_of("room_version"), create.str_of("creator")),
        (Some("9"), Some("@alice:localhost"))
    );
    let join = format!("POST /rooms/{hall}/join");
    assert_eq!(bob.call(&mut s, &join, Json::object()).0, 403, "invited to the space, not in it yet");
    bob.ok(&mut s, &format!("POST /rooms/{space}/join"), Json::object());
    bob.ok(&mut s, &join, Json::object());
    assert_eq!(eve.call(&mut s, &join, Json::object()).0, 403);
    // A rule that there is from version 10 on.
    let both = object! { "join_rule" => "knock_restricted", "allow" => Json::Array(vec![]) };
    let (status, why) = alice.call(&mut s, &format!("PUT /rooms/{hall}/state/m.room.join_rules"), both);
    assert_eq!((status, why.str_of("errcode")), (400, Some("M_BAD_JSON")));
    judge(&mut s, &hall);
}
