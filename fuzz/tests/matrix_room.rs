//! Matrix clients through a whole worker with the memory store: one room with IRC and XMPP clients in it, whose history
//! is the same list for all three.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_codecs::settings::Protocol;
use lavina_core::drive::{Drive, Input};
use lavina_core::ids::ConnId;
use lavina_core::time::{Mono, UnixMillis};
use server::Server;

const CLIENT: &str = "/_matrix/client/v3";

/// A Matrix device.
struct Device {
    conn: ConnId,
    token: String,
    next: u32,
}

impl Device {
    fn login(s: &mut Server, user: &str) -> Device {
        let mut device = Device { conn: s.open_on(Protocol::Http), token: String::new(), next: 0 };
        let body = object! {
            "type" => "m.login.password",
            "identifier" => object! { "type" => "m.id.user", "user" => user },
            "password" => "secret",
        };
        let answer = device.call(s, "POST", &format!("{CLIENT}/login"), Some(&body));
        device.token = answer.str_of("access_token").unwrap().to_owned();
        device
    }

    fn ask(&self, s: &mut Server, method: &str, path: &str, body: Option<&Json>) -> String {
        let body = body.map(|b| String::from_utf8(b.to_bytes()).unwrap()).unwrap_or_default();
        let auth = match self.token.is_empty() {
            true => String::new(),
            false => format!("Authorization: Bearer {}\r\n", self.token),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{auth}");
        let kind = "Content-Type: application/json\r\n";
        s.send(self.conn, &format!("{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len()))
    }

    fn call(&self, s: &mut Server, method: &str, path: &str, body: Option<&Json>) -> Json {
        let got = self.ask(s, method, path, body);
        assert!(got.starts_with("HTTP/1.1 200 "), "{method} {path}: {got}");
        json(&got)
    }

    fn get(&self, s: &mut Server, path: &str) -> Json {
        self.call(s, "GET", path, None)
    }

    fn send(&mut self, s: &mut Server, room: &str, kind: &str, content: &Json) -> String {
        self.next += 1;
        let path = format!("{CLIENT}/rooms/{room}/send/{kind}/t{}", self.next);
        self.call(s, "PUT", &path, Some(content)).str_of("event_id").unwrap().to_owned()
    }
}

/// The body of a response.
fn json(response: &str) -> Json {
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    Json::parse(body.as_bytes()).unwrap()
}

fn text(body: &str) -> Json {
    object! { "msgtype" => "m.text", "body" => body }
}

fn related(kind: &str, event: &str) -> Json {
    object! { "rel_type" => kind, "event_id" => event }
}

fn irc(s: &mut Server, nick: &str) -> ConnId {
    let c = s.open_on(Protocol::Irc);
    let caps = "batch message-tags server-time draft/chathistory echo-message";
    s.send(c, &format!("CAP REQ :{caps}\r\nPASS {nick}:secret\r\nNICK {nick}\r\nUSER x 0 * :Real\r\n"));
    s.send(c, "CAP END\r\n");
    s.read(c);
    c
}

/// The values after each occurrence of `key` up to a character of `end`.
fn values(text: &str, key: &str, end: &[char]) -> Vec<String> {
    text.split(key).skip(1).filter_map(|rest| rest.split(end).next()).map(str::to_owned).collect()
}

/// Everybody of the room, and the room's id on Matrix.
struct Scene {
    s: Server,
    carol: ConnId,
    bob: ConnId,
    alice: Device,
    room: String,
}

fn scene() -> Scene {
    let mut s = Server::new();
    for name in ["alice", "bob", "carol"] {
        s.register(name);
    }
    let carol = irc(&mut s, "carol");
    s.send(carol, "JOIN #lobby\r\n");
    let bob = s.login("bob", "r");
    s.send(bob, "<presence/>");
    s.join(bob, "lobby", "bob");
    let alice = Device::login(&mut s, "alice");
    let joined = alice.call(&mut s, "POST", &format!("{CLIENT}/join/%23lobby:localhost"), None);
    let room = joined.str_of("room_id").unwrap().to_owned();
    Scene { s, carol, bob, alice, room }
}

/// The messages of the timeline of a sync.
fn timeline(sync: &Json, room: &str) -> Vec<(String, String)> {
    let events = sync.at(&["rooms", "join", room, "timeline", "events"]).and_then(Json::as_array);
    let of = |e: &Json| {
        let body = e.at(&["content", "body"]).and_then(Json::as_str).unwrap_or_default().to_owned();
        (e.str_of("event_id").unwrap().to_owned(), body)
    };
    let said = |e: &&Json| e.str_of("type") == Some("m.room.message");
    events.unwrap_or_default().iter().filter(said).map(of).collect()
}

#[test]
fn one_history_for_three_protocols() {
    let Scene { mut s, carol, bob, mut alice, room } = scene();
    let first = alice.get(&mut s, &format!("{CLIENT}/sync"));
    assert!(first.at(&["rooms", "join", &room]).is_some(), "{first:?}");
    let since = first.str_of("next_batch").unwrap().to_owned();

    s.send(carol, "PRIVMSG #lobby :from irc\r\n");
    let said =
        "<message to='lobby@rooms.localhost' type='groupchat' id='x1'><body>from xmpp</body></message>";
    s.send(bob, said);
    let matrix = alice.send(&mut s, &room, "m.room.message", &text("from matrix"));
    let got = s.read(carol);
    assert!(got.contains("from xmpp") && got.contains("from matrix"), "{got}");
    assert!(s.read(bob).contains("<body>from matrix</body>"));

    let path = format!("{CLIENT}/sync?since={since}");
    let news = alice.get(&mut s, &path);
    let told = timeline(&news, &room);
    assert_eq!(
        told.iter().map(|m| m.1.as_str()).collect::<Vec<_>>(),
        ["from irc", "from xmpp", "from matrix"]
    );
    // Asked again, the answer is the same.
    assert_eq!(timeline(&alice.get(&mut s, &path), &room), told);

    // A reply, an edit, a reaction; and a message that is withdrawn.
    let mut reply = text("an answer");
    let irc_id = told[0].0.clone();
    reply.set("m.relates_to", object! { "m.in_reply_to" => object! { "event_id" => &irc_id } });
    alice.send(&mut s, &room, "m.room.message", &reply);
    let mut edit = text("* better");
    edit.set("m.new_content", text("better"));
    edit.set("m.relates_to", related("m.replace", &matrix));
    alice.send(&mut s, &room, "m.room.message", &edit);
    let mut like = related("m.annotation", &irc_id);
    like.set("key", "+");
    alice.send(&mut s, &room, "m.reaction", &object! { "m.relates_to" => like });
    let oops = alice.send(&mut s, &room, "m.room.message", &text("secret"));
    let path = format!("{CLIENT}/rooms/{room}/redact/{oops}/r1");
    alice.call(&mut s, "PUT", &path, Some(&object! { "reason" => "typo" }));

    let event = alice.get(&mut s, &format!("{CLIENT}/rooms/{room}/event/{oops}"));
    assert_eq!(event.get("content"), Some(&Json::object()));
    let event = alice.get(&mut s, &format!("{CLIENT}/rooms/{room}/event/{matrix}"));
    let bundled = event.at(&["unsigned", "m.relations", "m.replace", "content", "m.new_content", "body"]);
    assert_eq!(bundled.and_then(Json::as_str), Some("better"));
    histories_agree(&mut s, carol, bob, &alice, &room, &oops);
}

/// The messages that were not withdrawn are the same, in the same order, wherever they are read.
fn histories_agree(s: &mut Server, carol: ConnId, bob: ConnId, alice: &Device, room: &str, gone: &str) {
    let page = alice.get(s, &format!("{CLIENT}/rooms/{room}/messages?dir=f&limit=100"));
    let chunk = page.get("chunk").and_then(Json::as_array).unwrap().to_vec();
    assert!(!String::from_utf8(page.to_bytes()).unwrap().contains("secret"));
    let said = |e: &&Json| {
        let edit = e.at(&["content", "m.relates_to", "rel_type"]).is_some();
        e.str_of("type") == Some("m.room.message") && !edit && e.str_of("event_id") != Some(gone)
    };
    let ids: Vec<&str> = chunk.iter().filter(said).map(|e| e.str_of("event_id").unwrap()).collect();
    let matrix: Vec<String> = ids.into_iter().map(|id| s.entry(id).text()).collect();
    assert_eq!(matrix.len(), 4);

    s.read(carol);
    let irc = s.send(carol, "CHATHISTORY LATEST #lobby * 100\r\n");
    assert!(!irc.contains("secret"), "{irc}");
    let ids = values(&irc, "msgid=", &[';', ' ']);
    let irc: Vec<&String> = ids.iter().filter(|i| matrix.contains(i)).collect();
    assert_eq!(irc, matrix.iter().collect::<Vec<_>>());

    s.read(bob);
    let query = "<iq type='set' id='m' to='lobby@rooms.localhost'><query xmlns='urn:xmpp:mam:2'/></iq>";
    let xmpp = s.send(bob, query);
    assert!(!xmpp.contains("secret"), "{xmpp}");
    let ids = values(&xmpp, "<result xmlns='urn:xmpp:mam:2' id='", &['\'']);
    let xmpp: Vec<&String> = ids.iter().filter(|i| matrix.contains(i)).collect();
    assert_eq!(xmpp, matrix.iter().collect::<Vec<_>>());
}

#[test]
fn the_state_after_the_timeline_has_the_name_that_it_is_asked_for_by() {
    let Scene { mut s, alice, room, .. } = scene();
    for unstable in ["", "org.matrix.msc4222."] {
        let path = format!("{CLIENT}/sync?{unstable}use_state_after=true");
        let joined = alice.get(&mut s, &path).at(&["rooms", "join", &room]).unwrap().clone();
        let state = joined.at(&[&format!("{unstable}state_after"), "events"]).and_then(Json::as_array);
        let kinds: Vec<_> = state.unwrap().iter().filter_map(|e| e.str_of("type")).collect();
        assert!(kinds.contains(&"m.room.create") && kinds.contains(&"m.room.member"), "{kinds:?}");
        assert!(joined.get("state").is_none());
    }
}

#[test]
fn a_long_poll_waits_and_wakes() {
    let Scene { mut s, carol, alice, room, .. } = scene();
    let first = alice.get(&mut s, &format!("{CLIENT}/sync"));
    let since = first.str_of("next_batch").unwrap().to_owned();
    let path = format!("{CLIENT}/sync?timeout=30000&since={since}");
    let waiting = alice.ask(&mut s, "GET", &path, None);
    assert_eq!(waiting, "");
    s.send(carol, "PRIVMSG #lobby :wake up\r\n");
    let woken = json(&s.read(alice.conn));
    assert_eq!(timeline(&woken, &room)[0].1, "wake up");

    // With nothing to tell it ends when its time is over.
    let since = woken.str_of("next_batch").unwrap().to_owned();
    let path = format!("{CLIENT}/sync?timeout=30000&since={since}");
    assert_eq!(alice.ask(&mut s, "GET", &path, None), "");
    s.now.mono = Mono(s.now.mono.0 + 30_001);
    s.now.wall = UnixMillis(s.now.wall.0 + 30_001);
    s.worker.handle(s.now, Input::Tick);
    s.drain();
    let empty = json(&s.read(alice.conn));
    assert!(empty.get("rooms").is_none() && empty.get("next_batch").is_some(), "{empty:?}");
}

// A client that learns of its own event before it has the answer must guess which of its own it is; one in wide use
// gets that wrong in threads.
#[test]
fn who_sends_has_the_answer_before_the_event() {
    let Scene { mut s, alice, room, .. } = scene();
    let since = alice.get(&mut s, &format!("{CLIENT}/sync")).str_of("next_batch").unwrap().to_owned();
    let path = format!("{CLIENT}/sync?timeout=30000&since={since}");
    assert_eq!(alice.ask(&mut s, "GET", &path, None), "");
    let mut second = Device { conn: s.open_on(Protocol::Http), token: alice.token.clone(), next: 100 };
    s.order.clear();
    let id = second.send(&mut s, &room, "m.room.message", &text("both at once"));
    let told = json(&s.read(alice.conn));
    assert!(timeline(&told, &room).iter().any(|(_, body)| body == "both at once"), "{id}: {told:?}");
    let mine: Vec<ConnId> =
        s.order.iter().copied().filter(|c| [alice.conn, second.conn].contains(c)).collect();
    assert_eq!(mine, [second.conn, alice.conn]);
}

#[test]
fn the_same_transaction_is_one_event_and_only_its_device_sees_its_name() {
    let Scene { mut s, alice, room, .. } = scene();
    let other = Device::login(&mut s, "alice");
    for device in [&alice, &other] {
        device.get(&mut s, &format!("{CLIENT}/sync"));
    }
    let path = format!("{CLIENT}/rooms/{room}/send/m.room.message/same");
    let one = alice.call(&mut s, "PUT", &path, Some(&text("once")));
    assert_eq!(alice.call(&mut s, "PUT", &path, Some(&text("once"))), one);
    let id = one.str_of("event_id").unwrap();
    let event = |d: &Device, s: &mut Server| d.get(s, &format!("{CLIENT}/rooms/{room}/event/{id}"));
    let name = |e: &Json| e.str_at("unsigned.transaction_id").map(str::to_owned);
    assert_eq!(name(&event(&alice, &mut s)).as_deref(), Some("same"));
    assert_eq!(name(&event(&other, &mut s)), None);
}

#[test]
fn a_dialog_is_a_room_of_both() {
    let Scene { mut s, bob, mut alice, .. } = scene();
    let body = object! { "is_direct" => true, "invite" => ["@bob:localhost"] };
    let made = alice.call(&mut s, "POST", &format!("{CLIENT}/createRoom"), Some(&body));
    let room = made.str_of("room_id").unwrap().to_owned();
    let first = alice.get(&mut s, &format!("{CLIENT}/sync"));
    assert!(first.at(&["rooms", "join", &room]).is_some(), "{first:?}");
    s.read(bob);
    alice.send(&mut s, &room, "m.room.message", &text("hello bob"));
    let got = s.read(bob);
    assert!(got.contains("<body>hello bob</body>"), "{got}");
    s.send(bob, "<message to='alice@localhost' type='chat' id='c1'><body>hello alice</body></message>");
    let since = first.str_of("next_batch").unwrap();
    let news = alice.get(&mut s, &format!("{CLIENT}/sync?since={since}"));
    let told: Vec<String> = timeline(&news, &room).into_iter().map(|m| m.1).collect();
    assert_eq!(told, ["hello bob", "hello alice"]);
}

/// A device with cross-signing keys, which differ by `mark`.
fn signer(s: &mut Server, user: &str, mark: &str) -> Device {
    let device = Device::login(s, user);
    let id = format!("@{user}:localhost");
    let key = |usage: &str| {
        let name = format!("{mark}{usage}");
        let mut keys = Json::object();
        keys.set(format!("ed25519:{name}"), name);
        object! { "user_id" => &id, "usage" => [usage], "keys" => keys }
    };
    let body = object! {
        "master_key" => key("master"),
        "self_signing_key" => key("self_signing"),
        "user_signing_key" => key("user_signing"),
    };
    device.call(s, "POST", &format!("{CLIENT}/keys/device_signing/upload"), Some(&body));
    device
}

#[test]
fn who_signs_anothers_key_hears_of_it_on_all_devices_and_nobody_else_does() {
    let Scene { mut s, room, .. } = scene();
    let alice = signer(&mut s, "alice", "A");
    let other = Device::login(&mut s, "alice");
    let bob = signer(&mut s, "bob", "B");
    let join = format!("{CLIENT}/rooms/{room}/join");
    bob.call(&mut s, "POST", &join, None);
    let path = format!("{CLIENT}/sync");
    let since = [&alice, &other, &bob].map(|d| d.get(&mut s, &path).str_of("next_batch").unwrap().to_owned());

    let query = object! { "device_keys" => object! { "@bob:localhost" => Json::Array(Vec::new()) } };
    let found = alice.call(&mut s, "POST", &format!("{CLIENT}/keys/query"), Some(&query));
    let mut master = found.at(&["master_keys", "@bob:localhost"]).unwrap().clone();
    let signature = object! { "ed25519:Auser_signing" => "signature" };
    master.set("signatures", object! { "@alice:localhost" => signature });
    let body = object! { "@bob:localhost" => object! { "Bmaster" => master } };
    let done = alice.call(&mut s, "POST", &format!("{CLIENT}/keys/signatures/upload"), Some(&body));
    assert_eq!(done.get("failures"), Some(&Json::object()));

    let changed = |s: &mut Server, device: &Device, since: &str| {
        let news = device.get(s, &format!("{CLIENT}/sync?since={since}"));
        let changed =
            news.at(&["device_lists", "changed"]).and_then(Json::as_array).unwrap_or_default().to_vec();
        changed.iter().filter_map(Json::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(changed(&mut s, &alice, &since[0]), ["@bob:localhost"]);
    assert_eq!(changed(&mut s, &other, &since[1]), ["@bob:localhost"]);
    assert_eq!(changed(&mut s, &bob, &since[2]), [""; 0]);
    let found = other.call(&mut s, "POST", &format!("{CLIENT}/keys/query"), Some(&query));
    let signed = found.at(&["master_keys", "@bob:localhost", "signatures", "@alice:localhost"]);
    assert!(signed.is_some(), "{found:?}");
}

#[test]
fn rooms_made_in_the_same_moment_are_two() {
    let Scene { mut s, carol, alice, .. } = scene();
    s.send(carol, "JOIN #one,#two\r\n");
    let join = |name: &str| format!("{CLIENT}/join/%23{name}:localhost");
    let one = alice.call(&mut s, "POST", &join("one"), None);
    // The clock of the test stands still where nothing is sent: the server opens both at once.
    s.now.wall = UnixMillis(s.now.wall.0 - 50);
    let two = alice.call(&mut s, "POST", &join("two"), None);
    assert_ne!(one.str_of("room_id"), two.str_of("room_id"));
}
