//! What an IRC client reads of the past that others, by other protocols, have changed since.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_codecs::settings::Protocol;
use lavina_core::ids::ConnId;
use server::Server;
use server::matrix::Client;

fn correct(alice: &mut Client, s: &mut Server, room: &str, said: &str, text: &str) -> String {
    let edit = object! {
        "msgtype" => "m.text", "body" => format!("* {text}"),
        "m.new_content" => object! { "msgtype" => "m.text", "body" => text },
        "m.relates_to" => object! { "rel_type" => "m.replace", "event_id" => said },
    };
    alice.send(s, room, "m.room.message", edit)
}

/// Alice by Matrix, and Carol's account, which is in the room.
fn room(s: &mut Server) -> (Client, String) {
    let alice = Client::new(s, "alice");
    let body = object! { "preset" => "public_chat", "room_alias_name" => "lobby" };
    let room = alice.create(s, body);
    s.register("carol");
    let c = s.irc("carol", "batch");
    s.send(c, "JOIN #lobby\r\n");
    s.send(c, "QUIT :later\r\n");
    s.hang_up(c);
    (alice, room)
}

fn lines(got: &str) -> Vec<&str> {
    got.lines().filter_map(|line| line.split_once(" PRIVMSG #lobby :").map(|(_, text)| text)).collect()
}

fn latest(s: &mut Server, c: ConnId, n: usize) -> String {
    s.send(c, &format!("CHATHISTORY LATEST #lobby * {n}\r\n"))
}

#[test]
fn a_correction_is_part_of_what_was_said() {
    let mut s = Server::unlimited();
    let (mut alice, room) = room(&mut s);
    let said = alice.say(&mut s, &room, "meet at five");
    alice.say(&mut s, &room, "who comes?");
    let thumb = object! { "rel_type" => "m.annotation", "event_id" => said.as_str(), "key" => "+" };
    let relation: Json = object! { "m.relates_to" => thumb };
    alice.send(&mut s, &room, "m.reaction", relation);
    correct(&mut alice, &mut s, &room, &said, "meet at six");
    // A client that asks for the past, and knows words alone: pages of as many as it asked for.
    let c = s.irc("carol", "batch draft/chathistory message-tags server-time");
    s.read(c);
    let got = latest(&mut s, c, 10);
    assert_eq!(lines(&got), ["meet at five", "who comes?", "* meet at six"], "{got}");
    let got = latest(&mut s, c, 2);
    assert_eq!(lines(&got), ["who comes?", "* meet at six"], "{got}");
}

#[test]
fn a_client_that_cannot_ask_is_shown_corrections_too() {
    let mut s = Server::unlimited();
    let (mut alice, room) = room(&mut s);
    let said = alice.say(&mut s, &room, "meet at five");
    correct(&mut alice, &mut s, &room, &said, "meet at six");
    let c = s.open_on(Protocol::Irc);
    let mut got = s.send(c, "PASS carol:secret\r\nNICK carol\r\nUSER x 0 * :Real\r\n");
    got += &s.send(c, "PING x\r\n");
    let shown: Vec<&str> =
        lines(&got).iter().filter_map(|line| line.split_once("] ")).map(|(_, text)| text).collect();
    assert_eq!(shown, ["meet at five", "* meet at six"], "{got}");
}
