//! Who has read what, in rooms of Matrix clients: told, kept, private, and one thing with the marks of other protocols.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_codecs::settings::Protocol;
use server::Server;
use server::matrix::{Client, events, joined};

/// A room of alice and bob.
fn room(s: &mut Server) -> (Client, Client, String) {
    let (alice, bob) = (Client::new(s, "alice"), Client::new(s, "bob"));
    let body = object! { "preset" => "public_chat", "room_alias_name" => "lobby" };
    let room = alice.create(s, body);
    bob.join(s, &room);
    (alice, bob, room)
}

fn receipt(who: &Client, s: &mut Server, room: &str, kind: &str, event: &str, thread: Option<&str>) {
    let body = thread.map_or_else(Json::object, |t| object! { "thread_id" => t });
    who.ok(s, &format!("POST /client/v3/rooms/{room}/receipt/{kind}/{event}"), body);
}

/// The receipt of that kind that somebody has at an event, in a room's part of a sync.
fn has<'a>(room: &'a Json, event: &str, kind: &str, who: &str) -> Option<&'a Json> {
    let receipts = events(room, "ephemeral").iter().find(|e| e.str_of("type") == Some("m.receipt"))?;
    receipts.at(&["content", event, kind, who])
}

fn unread(room: &Json) -> (i64, i64) {
    let of = |key: &str| room.int_at(&format!("unread_notifications.{key}")).unwrap();
    (of("notification_count"), of("highlight_count"))
}

#[test]
fn receipts_are_told_kept_and_private() {
    let mut s = Server::unlimited();
    let (mut alice, mut bob, room) = room(&mut s);
    let root = alice.say(&mut s, &room, "one");
    let relation = object! { "rel_type" => "m.thread", "event_id" => &root };
    let inside = object! { "msgtype" => "m.text", "body" => "in it", "m.relates_to" => relation };
    let inside = alice.send(&mut s, &room, "m.room.message", inside);
    let two = alice.say(&mut s, &room, "two");
    alice.sync(&mut s);
    bob.sync(&mut s);
    receipt(&bob, &mut s, &room, "m.read", &root, None);
    receipt(&bob, &mut s, &room, "m.read", &inside, Some(&root));
    receipt(&bob, &mut s, &room, "m.read.private", &two, Some("main"));
    let who = bob.id.clone();
    let check = |got: &Json, own: bool| {
        let part = joined(got, &room);
        assert!(has(part, &root, "m.read", &who).unwrap().get("thread_id").is_none());
        let thread = has(part, &inside, "m.read", &who).unwrap().str_of("thread_id");
        assert_eq!(thread, Some(root.as_str()));
        let private = has(part, &two, "m.read.private", &who).map(|r| r.str_of("thread_id"));
        assert_eq!(private, own.then_some(Some("main")), "{part:?}");
    };
    check(&alice.sync(&mut s), false);
    let since = bob.since.clone();
    let own = Client::login(&mut s, "bob").get(&mut s, "/v3/sync");
    check(&own, true);
    // Another device of bob's hears of it, and everybody after a restart.
    let news = bob.get(&mut s, &format!("/v3/sync?since={since}"));
    check(&news, true);
    s.restart();
    for client in [&mut alice, &mut bob] {
        client.connect(&mut s);
    }
    check(&alice.get(&mut s, "/v3/sync"), false);
    let whole = bob.get(&mut s, "/v3/sync");
    check(&whole, true);
    assert_eq!(unread(joined(&whole, &room)), (0, 0));
    // Back is no step.
    alice.sync(&mut s);
    receipt(&bob, &mut s, &room, "m.read", &root, None);
    assert!(alice.sync(&mut s).at(&["rooms", "join", &room]).is_none());
}

#[test]
fn what_is_read_counts_by_thread() {
    let mut s = Server::unlimited();
    let (mut alice, mut bob, room) = room(&mut s);
    let root = alice.say(&mut s, &room, "bob: one");
    let relation = object! { "rel_type" => "m.thread", "event_id" => &root };
    let body = object! { "msgtype" => "m.text", "body" => "in it", "m.relates_to" => relation };
    let inside = alice.send(&mut s, &room, "m.room.message", body);
    let last = alice.say(&mut s, &room, "two");
    let filter = "&filter={\"room\":{\"timeline\":{\"unread_thread_notifications\":true}}}";
    let filter = filter.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    let thread =
        |part: &Json| part.at(&["unread_thread_notifications", &root, "notification_count"]).cloned();
    let got = bob.sync_with(&mut s, &filter);
    let part = joined(&got, &room);
    assert_eq!((unread(part).0, thread(part)), (2, Some(Json::Int(1))));
    // The main timeline, then the thread.
    receipt(&bob, &mut s, &room, "m.read", &last, Some("main"));
    let got = bob.sync_with(&mut s, &filter);
    let part = joined(&got, &room);
    assert_eq!((unread(part).0, thread(part)), (0, Some(Json::Int(1))));
    s.restart();
    bob.connect(&mut s);
    let got = bob.get(&mut s, &format!("/v3/sync?timeout=0{filter}"));
    let part = joined(&got, &room);
    assert_eq!((unread(part).0, thread(part)), (0, Some(Json::Int(1))));
    receipt(&bob, &mut s, &room, "m.read", &inside, Some(&root));
    let got = bob.sync_with(&mut s, &filter);
    let part = joined(&got, &room);
    assert_eq!((unread(part).0, thread(part)), (0, None));
}

#[test]
fn many_unread_messages_are_counted() {
    let mut s = Server::unlimited();
    let (mut alice, bob, room) = room(&mut s);
    for n in 0..450 {
        alice.say(&mut s, &room, &format!("number {n}"));
    }
    let got = bob.get(&mut s, "/v3/sync");
    assert_eq!(unread(joined(&got, &room)), (450, 0));
}

#[test]
fn read_on_one_protocol_is_read_on_all() {
    let mut s = Server::unlimited();
    let (mut alice, mut bob, room) = room(&mut s);
    let c = s.open_on(Protocol::Irc);
    let caps = "CAP REQ :draft/read-marker message-tags server-time echo-message\r\nCAP END\r\n";
    let got = s.send(c, &format!("PASS bob:secret\r\nNICK bob\r\nUSER bob 0 * :Bob\r\n{caps}"));
    assert!(got.contains(" 001 "), "{got}");
    let first = alice.say(&mut s, &room, "bob: look");
    let got = bob.sync(&mut s);
    assert_eq!(unread(joined(&got, &room)).0, 1);
    s.read(c);
    receipt(&bob, &mut s, &room, "m.read.private", &first, None);
    let got = s.read(c);
    assert!(got.contains("MARKREAD #lobby timestamp="), "{got}");
    let at = alice.say(&mut s, &room, "bob: again");
    assert_eq!(unread(joined(&bob.sync(&mut s), &room)).0, 1);
    let line = s.read(c);
    let time = line.split("time=").nth(1).unwrap().split([';', ' ']).next().unwrap().to_owned();
    s.send(c, &format!("MARKREAD #lobby timestamp={time}\r\n"));
    let got = bob.sync(&mut s);
    assert_eq!(unread(joined(&got, &room)).0, 0, "{at}");
}
