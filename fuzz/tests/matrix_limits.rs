//! What Matrix clients may ask for how often.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_core::time::{Mono, UnixMillis};
use server::Server;
use server::matrix::Client;

fn login(name: &str, password: &str) -> Json {
    let identifier = object! { "type" => "m.id.user", "user" => name };
    object! { "type" => "m.login.password", "identifier" => identifier, "password" => password }
}

#[test]
fn passwords_are_not_guessed_for_long() {
    let mut s = Server::new();
    let alice = Client::new(&mut s, "alice");
    Client::new(&mut s, "bob");
    let request = "POST /client/v3/login";
    let refused = (0..25).find(|_| alice.call(&mut s, request, login("alice", "wrong")).0 == 429);
    assert_eq!(refused, Some(20));
    let (status, answer) = alice.call(&mut s, request, login("alice", "secret"));
    assert_eq!((status, answer.str_of("errcode")), (429, Some("M_LIMIT_EXCEEDED")));
    let after = answer.get("retry_after_ms").and_then(Json::as_int).unwrap();
    assert!((1..=10_000).contains(&after), "{after}");
    assert!(s.last.contains(&format!("Retry-After: {}\r\n", (after + 999) / 1_000)), "{}", s.last);
    // Others can, and so can she, when the time has come.
    Client::login(&mut s, "bob");
    s.now.mono = Mono(s.now.mono.0 + 10_000);
    s.now.wall = UnixMillis(s.now.wall.0 + 10_000);
    Client::login(&mut s, "alice");
}

#[test]
fn who_sends_too_much_is_slowed_down() {
    let mut s = Server::new();
    let mut alice = Client::new(&mut s, "alice");
    let room = alice.create(&mut s, object! { "preset" => "public_chat" });
    let send = |s: &mut Server, n: usize| {
        let path = format!("PUT /client/v3/rooms/{room}/send/m.room.message/{n}");
        alice.call(s, &path, object! { "msgtype" => "m.text", "body" => "x" }).0
    };
    let statuses: Vec<u16> = (0..300).map(|n| send(&mut s, n)).collect();
    assert!(statuses[..90].iter().all(|status| *status == 200));
    assert!(
        statuses[200..].contains(&429) && statuses[200..].contains(&200),
        "as fast as is earned: {statuses:?}"
    );
    // To read costs nothing.
    for _ in 0..100 {
        alice.sync(&mut s);
    }
    let mut other = Server::unlimited();
    let mut bob = Client::new(&mut other, "bob");
    let room = bob.create(&mut other, object! { "preset" => "public_chat" });
    for _ in 0..60 {
        bob.say(&mut other, &room, "x");
    }
}
