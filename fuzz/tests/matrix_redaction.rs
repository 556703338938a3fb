//! What a redaction leaves of state, of others' reactions and of old edits, on every protocol.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_codecs::settings::Protocol;
use lavina_core::ids::ConnId;
use server::Server;
use server::matrix::{Client, events, joined};

fn room(s: &mut Server, version: &str) -> (Client, Client, String) {
    let (alice, bob) = (Client::new(s, "alice"), Client::new(s, "bob"));
    let body = object! {
        "preset" => "public_chat", "room_alias_name" => "lobby", "name" => "The lobby", "topic" => "Talk",
        "room_version" => version,
    };
    let room = alice.create(s, body);
    bob.join(s, &room);
    (alice, bob, room)
}

fn irc(s: &mut Server, name: &str) -> ConnId {
    s.register(name);
    let c = s.open_on(Protocol::Irc);
    let caps = "CAP REQ :draft/chathistory batch message-tags server-time echo-message draft/message-redaction draft/event-playback\r\nCAP END\r\n";
    let got = s.send(c, &format!("PASS {name}:secret\r\nNICK {name}\r\nUSER {name} 0 * :{name}\r\n{caps}"));
    assert!(got.contains(" 001 "), "{got}");
    s.send(c, "JOIN #lobby\r\n");
    c
}

fn redact(who: &Client, s: &mut Server, room: &str, event: &str, txn: &str) -> (u16, Json) {
    let path = format!("PUT /client/v3/rooms/{room}/redact/{event}/{txn}");
    who.call(s, &path, object! { "reason" => "spam" })
}

fn id_of(who: &Client, s: &mut Server, room: &str, what: &str) -> String {
    let event = who.get(s, &format!("/v3/rooms/{room}/state/{what}?format=event"));
    event.str_of("event_id").unwrap().to_owned()
}

#[test]
fn state_is_redacted() {
    let mut s = Server::unlimited();
    let (mut alice, bob, room) = room(&mut s, "11");
    let carol = irc(&mut s, "carol");
    alice.sync(&mut s);
    let topic = id_of(&alice, &mut s, &room, "m.room.topic/");
    assert_eq!(redact(&bob, &mut s, &room, &topic, "1").0, 403);
    s.read(carol);
    let (status, done) = redact(&alice, &mut s, &room, &topic, "1");
    assert_eq!(status, 200, "{done:?}");
    // The same event holds, with nothing in it; elsewhere there is no topic.
    let event = alice.get(&mut s, &format!("/v3/rooms/{room}/event/{topic}"));
    assert_eq!(event.get("content"), Some(&Json::object()));
    let because = event.at(&["unsigned", "redacted_because"]).unwrap();
    assert_eq!(because.str_at("content.reason"), Some("spam"));
    assert_eq!(because.get("event_id"), done.get("event_id"));
    assert_eq!(alice.get(&mut s, &format!("/v3/rooms/{room}/state/m.room.topic/")), Json::object());
    assert_eq!(id_of(&alice, &mut s, &room, "m.room.topic/"), topic);
    let got = s.read(carol);
    assert!(got.contains("TOPIC #lobby :\r\n"), "{got}");
    let told = alice.sync(&mut s);
    let timeline = events(joined(&told, &room), "timeline");
    assert_eq!(timeline.len(), 1, "{timeline:?}");
    assert_eq!(timeline[0].str_at("content.redacts"), Some(topic.as_str()));
    // Twice is once.
    assert_eq!(redact(&alice, &mut s, &room, &topic, "2").1.get("event_id"), done.get("event_id"));
    // A member's event keeps its membership; what it was before is seen emptied too.
    bob.ok(
        &mut s,
        &format!("PUT /client/v3/profile/{}/displayname", bob.id),
        object! { "displayname" => "Rude" },
    );
    let member = id_of(&alice, &mut s, &room, &format!("m.room.member/{}", bob.id));
    assert_eq!(redact(&alice, &mut s, &room, &member, "3").0, 200);
    let left = object! { "membership" => "join" };
    assert_eq!(alice.get(&mut s, &format!("/v3/rooms/{room}/state/m.room.member/{}", bob.id)), left);
    bob.ok(
        &mut s,
        &format!("PUT /client/v3/profile/{}/displayname", bob.id),
        object! { "displayname" => "Kind" },
    );
    let now = alice.get(&mut s, &format!("/v3/rooms/{room}/state/m.room.member/{}?format=event", bob.id));
    let now = alice.get(&mut s, &format!("/v3/rooms/{room}/event/{}", now.str_of("event_id").unwrap()));
    assert_eq!(now.at(&["unsigned", "prev_content"]), Some(&left));
    // How the room was made stays, and all of it holds after a restart.
    let create = id_of(&alice, &mut s, &room, "m.room.create/");
    assert_eq!(redact(&alice, &mut s, &room, &create, "4").0, 403);
    let name = id_of(&alice, &mut s, &room, "m.room.name/");
    assert_eq!(redact(&alice, &mut s, &room, &name, "5").0, 200);
    s.restart();
    alice.connect(&mut s);
    assert_eq!(alice.get(&mut s, &format!("/v3/rooms/{room}/state/m.room.name/")), Json::object());
    let event = alice.get(&mut s, &format!("/v3/rooms/{room}/event/{name}"));
    assert!(event.at(&["unsigned", "redacted_because"]).is_some());
}

#[test]
fn a_moderator_withdraws_a_reaction() {
    let mut s = Server::unlimited();
    let (mut alice, mut bob, room) = room(&mut s, "12");
    let carol = irc(&mut s, "carol");
    let said = alice.say(&mut s, &room, "hello");
    let relation = object! { "rel_type" => "m.annotation", "event_id" => &said, "key" => "👎" };
    let reaction = bob.send(&mut s, &room, "m.reaction", object! { "m.relates_to" => relation.clone() });
    alice.sync(&mut s);
    let dave = Client::new(&mut s, "dave");
    dave.join(&mut s, &room);
    assert_eq!(redact(&dave, &mut s, &room, &reaction, "1").0, 403);
    s.read(carol);
    let (status, done) = redact(&alice, &mut s, &room, &reaction, "1");
    assert_eq!(status, 200, "{done:?}");
    let got = s.read(carol);
    assert!(got.contains("+draft/unreact=👎") && got.contains(":bob!"), "{got}");
    let event = bob.get(&mut s, &format!("/v3/rooms/{room}/event/{reaction}"));
    assert_eq!(event.get("content"), Some(&Json::object()));
    let because = event.at(&["unsigned", "redacted_because"]).unwrap();
    assert_eq!((because.str_of("sender"), because.str_of("redacts")), (Some(&*alice.id), Some(&*reaction)));
    let of = bob.get(&mut s, &format!("/v1/rooms/{room}/relations/{said}/m.annotation"));
    assert_eq!(of.get("chunk"), Some(&Json::Array(vec![])));
    // It may be given again.
    bob.send(&mut s, &room, "m.reaction", object! { "m.relates_to" => relation });
}

#[test]
fn old_edits_go_with_what_they_edited() {
    let mut s = Server::unlimited();
    let (mut alice, bob, room) = room(&mut s, "12");
    let carol = irc(&mut s, "carol");
    let said = alice.say(&mut s, &room, "first");
    let edit = object! {
        "msgtype" => "m.text", "body" => "* hidden later",
        "m.new_content" => object! { "msgtype" => "m.text", "body" => "hidden later" },
        "m.relates_to" => object! { "rel_type" => "m.replace", "event_id" => &said },
    };
    alice.send(&mut s, &room, "m.room.message", edit);
    for n in 0..80 {
        alice.say(&mut s, &room, &format!("number {n}"));
    }
    s.read(carol);
    let history = "CHATHISTORY LATEST #lobby * 100\r\n";
    let got = s.send(carol, history);
    assert!(got.contains("hidden later"), "{}", got.get(..900).unwrap_or(&got));
    assert_eq!(redact(&bob, &mut s, &room, &said, "1").0, 403);
    assert_eq!(redact(&alice, &mut s, &room, &said, "1").0, 200);
    s.read(carol);
    let got = s.send(carol, history);
    assert!(got.contains("number 79") && !got.contains("hidden later"), "{got}");
}
