//! Between two people of whom one uses XMPP, messages are named by the ids they were sent with: what refers to one finds
//! it all the same, in either direction.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_core::ids::ConnId;
use server::Server;
use server::matrix::{Client, events, joined};

const MARKERS: &str = "urn:xmpp:chat-markers:0";

/// Alice on XMPP, bob on Matrix, and their dialog's room.
struct Two {
    s: Server,
    alice: ConnId,
    bob: Client,
    room: String,
}

impl Two {
    fn new() -> Two {
        let mut s = Server::unlimited();
        let mut bob = Client::new(&mut s, "bob");
        let alice = s.online("alice");
        let chat = "<message to='bob@localhost' type='chat' id='first-by-alice'><body>first</body>\
                    <markable xmlns='urn:xmpp:chat-markers:0'/></message>";
        s.send(alice, chat);
        let got = bob.sync(&mut s);
        let rooms = got.at(&["rooms", "join"]).and_then(Json::as_object).unwrap();
        let room = rooms.iter().next().unwrap().0.to_string();
        Two { s, alice, bob, room }
    }

    fn chat(&mut self, id: &str, inner: &str) -> String {
        let stanza = format!("<message to='bob@localhost' type='chat' id='{id}'>{inner}</message>");
        self.s.send(self.alice, &stanza)
    }

    /// The events of the timeline that bob has not seen yet.
    fn news(&mut self) -> Vec<Json> {
        let got = self.bob.sync(&mut self.s);
        events(joined(&got, &self.room), "timeline").to_vec()
    }

    fn first(&mut self) -> String {
        let got = self.bob.get(&mut self.s, &format!("/v3/rooms/{}/messages?dir=b&limit=50", self.room));
        let all = got.get("chunk").and_then(Json::as_array).unwrap();
        let first = all.iter().find(|e| e.at(&["content", "body"]).and_then(Json::as_str) == Some("first"));
        first.and_then(|e| e.str_of("event_id")).unwrap().to_owned()
    }

    fn relate(&mut self, kind: &str, content: Json) -> String {
        let room = self.room.clone();
        self.bob.send(&mut self.s, &room, kind, content);
        self.s.read(self.alice)
    }
}

fn related<'a>(event: &'a Json, key: &str) -> Option<&'a str> {
    event.at(&["content", "m.relates_to", key]).and_then(Json::as_str)
}

#[test]
fn what_a_matrix_client_does_to_an_xmpp_message_names_it_as_it_was_sent() {
    let mut t = Two::new();
    let first = t.first();
    let reaction = object! { "rel_type" => "m.annotation", "event_id" => &first, "key" => "👍" };
    let got = t.relate("m.reaction", object! { "m.relates_to" => reaction });
    assert!(got.contains("<reactions xmlns='urn:xmpp:reactions:0' id='first-by-alice'>"), "{got}");
    let reply = object! { "m.in_reply_to" => object! { "event_id" => &first } };
    let body = object! { "msgtype" => "m.text", "body" => "yes", "m.relates_to" => reply };
    let got = t.relate("m.room.message", body);
    assert!(got.contains("<reply xmlns='urn:xmpp:reply:0' id='first-by-alice'/>"), "{got}");
}

#[test]
fn what_an_xmpp_client_does_to_a_message_is_seen_on_matrix() {
    let mut t = Two::new();
    let first = t.first();
    // By the id that its own client gave, and by the one that the server gave.
    t.chat(
        "react-to-own",
        "<reactions xmlns='urn:xmpp:reactions:0' id='first-by-alice'><reaction>🙈</reaction></reactions>",
    );
    let got = t.news();
    assert_eq!(related(&got[0], "event_id"), Some(first.as_str()), "{got:?}");
    let room = t.room.clone();
    let second = t.bob.say(&mut t.s, &room, "second");
    let got = t.s.read(t.alice);
    let id = got.split(" id='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap().to_owned();
    t.news();
    t.chat(
        "react-to-his",
        &format!("<reactions xmlns='urn:xmpp:reactions:0' id='{id}'><reaction>👍</reaction></reactions>"),
    );
    let got = t.news();
    assert_eq!((related(&got[0], "event_id"), related(&got[0], "key")), (Some(second.as_str()), Some("👍")));
    t.chat("replies", &format!("<body>third</body><reply xmlns='urn:xmpp:reply:0' id='{id}'/>"));
    let got = t.news();
    assert_eq!(
        got[0].at(&["content", "m.relates_to", "m.in_reply_to", "event_id"]).and_then(Json::as_str),
        Some(second.as_str())
    );
    t.chat("replies-own", "<body>fourth</body><reply xmlns='urn:xmpp:reply:0' id='first-by-alice'/>");
    let got = t.news();
    assert_eq!(
        got[0].at(&["content", "m.relates_to", "m.in_reply_to", "event_id"]).and_then(Json::as_str),
        Some(first.as_str())
    );
    // No other edits or withdraws it.
    t.chat("edits", "<body>1st</body><replace xmlns='urn:xmpp:message-correct:0' id='first-by-alice'/>");
    let got = t.news();
    assert_eq!(related(&got[0], "event_id"), Some(first.as_str()), "{got:?}");
    t.chat(
        "gone",
        "<retract xmlns='urn:xmpp:message-retract:1' id='first-by-alice'/><store xmlns='urn:xmpp:hints'/>",
    );
    let got = t.news();
    let redaction = got.iter().find(|e| e.str_of("type") == Some("m.room.redaction")).unwrap();
    let redacts =
        redaction.str_of("redacts").or_else(|| redaction.at(&["content", "redacts"]).and_then(Json::as_str));
    assert_eq!(redacts, Some(first.as_str()));
}

#[test]
fn displayed_markers_and_read_receipts_are_one_thing() {
    let mut t = Two::new();
    let first = t.first();
    let room = t.room.clone();
    // Bob reads: alice, who wished to know, is told by the id that she gave, once.
    let path = format!("POST /client/v3/rooms/{room}/receipt/m.read/{first}");
    t.bob.ok(&mut t.s, &path, Json::object());
    let got = t.s.read(t.alice);
    assert!(got.contains(&format!("<displayed xmlns='{MARKERS}' id='first-by-alice'/>")), "{got}");
    t.bob.ok(&mut t.s, &path, Json::object());
    assert_eq!(t.s.read(t.alice), "");
    // Alice reads.
    let second = t.bob.say(&mut t.s, &room, "second");
    let got = t.s.read(t.alice);
    let id = got.split(" id='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap().to_owned();
    t.bob.sync(&mut t.s);
    t.chat("marks", &format!("<displayed xmlns='{MARKERS}' id='{id}'/>"));
    let got = t.bob.sync(&mut t.s);
    let ephemeral = events(joined(&got, &room), "ephemeral");
    let receipt = ephemeral.iter().find(|e| e.str_of("type") == Some("m.receipt")).unwrap();
    assert!(receipt.at(&["content", &second, "m.read", "@alice:localhost"]).is_some(), "{receipt:?}");
}

#[test]
fn a_marker_by_the_id_that_an_xmpp_client_gave_is_a_receipt_too() {
    let mut t = Two::new();
    let first = t.first();
    let room = t.room.clone();
    let other = t.s.available("bob", "phone");
    t.bob.sync(&mut t.s);
    let marker = format!("<displayed xmlns='{MARKERS}' id='first-by-alice'/>");
    t.s.send(other, &format!("<message to='alice@localhost' type='chat' id='m1'>{marker}</message>"));
    // As it came, and not again by the server.
    let got = t.s.read(t.alice);
    assert_eq!(got.matches("<displayed").count(), 1, "{got}");
    let got = t.bob.sync(&mut t.s);
    let part = joined(&got, &room);
    let receipt = events(part, "ephemeral").iter().find(|e| e.str_of("type") == Some("m.receipt")).unwrap();
    assert!(receipt.at(&["content", &first, "m.read", "@bob:localhost"]).is_some(), "{receipt:?}");
    assert_eq!(part.int_at("unread_notifications.notification_count"), Some(0));
}

#[test]
fn markers_in_a_room_are_receipts() {
    let mut s = Server::unlimited();
    let mut bob = Client::new(&mut s, "bob");
    let room = bob.create(&mut s, object! { "preset" => "public_chat", "room_alias_name" => "lobby" });
    let alice = s.online("alice");
    s.join(alice, "lobby", "alice");
    let said = bob.say(&mut s, &room, "look");
    let got = s.read(alice);
    let id = got
        .split("<stanza-id xmlns='urn:xmpp:sid:0' id='")
        .nth(1)
        .and_then(|r| r.split('\'').next())
        .unwrap();
    bob.sync(&mut s);
    let marker = format!("<displayed xmlns='{MARKERS}' id='{id}'/>");
    s.send(alice, &format!("<message to='lobby@rooms.localhost' type='groupchat' id='m'>{marker}</message>"));
    let got = bob.sync(&mut s);
    let ephemeral = events(joined(&got, &room), "ephemeral");
    let receipt = ephemeral.iter().find(|e| e.str_of("type") == Some("m.receipt")).unwrap();
    assert!(receipt.at(&["content", &said, "m.read", "@alice:localhost"]).is_some(), "{receipt:?}");
}

#[test]
fn a_sender_who_wants_to_know_is_told_that_a_message_has_arrived() {
    const ASK: &str = "<request xmlns='urn:xmpp:receipts'/>";
    let received = |id: &str| format!("<received xmlns='urn:xmpp:receipts' id='{id}'/>");
    let mut t = Two::new();
    t.chat("one", &format!("<body>one</body>{ASK}"));
    let got = t.s.read(t.alice);
    assert!(!got.contains("<received"), "the client has not synced: {got}");
    t.news();
    let got = t.s.read(t.alice);
    assert_eq!(got.matches(&received("one")).count(), 1, "{got}");
    assert!(got.contains("from='bob@localhost'"), "{got}");
    // An IRC client has it at once; who does not ask is not told.
    t.s.irc("bob", "");
    t.s.read(t.alice);
    let got = t.chat("two", &format!("<body>two</body>{ASK}"));
    assert!(got.contains(&received("two")), "{got}");
    let got = t.chat("three", "<body>three</body>");
    assert!(!got.contains("<received"), "{got}");
}
