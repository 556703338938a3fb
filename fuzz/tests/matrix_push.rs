//! Pushers and notifications of Matrix clients.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lavina_codecs::json::Json;
use lavina_codecs::object;
use server::Server;
use server::matrix::Client;

fn pusher(key: &str) -> Json {
    object! {
        "kind" => "http", "app_id" => "test.app", "pushkey" => key, "app_display_name" => "a", "lang" => "en",
        "device_display_name" => "d", "data" => object! { "url" => "https://push.test/_matrix/push/v1/notify" },
    }
}

fn keys(who: &Client, s: &mut Server) -> Vec<String> {
    let all = who.get(s, "/v3/pushers");
    let keys = all.get("pushers").and_then(Json::as_array).unwrap().iter();
    keys.map(|p| p.str_of("pushkey").unwrap().to_owned()).collect()
}

#[test]
fn pushers_are_kept_until_their_device_goes() {
    let mut s = Server::unlimited();
    let alice = Client::new(&mut s, "alice");
    let mut phone = Client::login(&mut s, "alice");
    let set = "POST /client/v3/pushers/set";
    alice.ok(&mut s, set, pusher("a"));
    phone.ok(&mut s, set, pusher("b"));
    let mut other = pusher("b");
    other.set("lang", "de");
    phone.ok(&mut s, set, other);
    s.restart();
    phone.connect(&mut s);
    let mut found = keys(&phone, &mut s);
    found.sort();
    assert_eq!(found, ["a", "b"]);
    let mut gone = pusher("a");
    gone.set("kind", Json::Null);
    phone.ok(&mut s, set, gone);
    assert_eq!(keys(&phone, &mut s), ["b"]);
    phone.refused(&mut s, set, object! { "kind" => "http" }, 400, "M_MISSING_PARAM");
    let mut mail = pusher("c");
    mail.set("kind", "email");
    phone.refused(&mut s, set, mail, 400, "M_INVALID_PARAM");
    phone.ok(&mut s, "POST /client/v3/logout", Json::object());
    let third = Client::login(&mut s, "alice");
    assert_eq!(keys(&third, &mut s), Vec::<String>::new());
}

#[test]
fn notifications_are_paged() {
    let mut s = Server::unlimited();
    let (mut alice, bob) = (Client::new(&mut s, "alice"), Client::new(&mut s, "bob"));
    let mut rooms = Vec::new();
    for _ in 0..2 {
        let room = alice.create(&mut s, object! { "preset" => "public_chat" });
        bob.join(&mut s, &room);
        rooms.push(room);
    }
    let mut ids = Vec::new();
    for n in 0..130 {
        let room = rooms[usize::from(n % 5 == 0)].clone();
        ids.push(alice.say(
            &mut s,
            &room,
            &if n == 60 { "bob: you".to_owned() } else { format!("number {n}") },
        ));
    }
    ids.reverse();
    let (mut found, mut from, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let got = bob.get(&mut s, &format!("/v3/notifications?limit=50{from}"));
        let all = got.get("notifications").and_then(Json::as_array).unwrap();
        found.extend(all.iter().map(|n| n.str_at("event.event_id").unwrap().to_owned()));
        pages += 1;
        match got.str_of("next_token") {
            Some(token) => from = format!("&from={token}"),
            None => break,
        }
        assert!(pages < 20);
    }
    assert_eq!(found, ids);
    let room = rooms[0].clone();
    let mention = object! { "msgtype" => "m.text", "body" => "hey", "m.mentions" => object! { "user_ids" => [bob.id.as_str()] } };
    let id = alice.send(&mut s, &room, "m.room.message", mention);
    let got = bob.get(&mut s, "/v3/notifications?only=highlight&limit=1");
    let one = &got.get("notifications").and_then(Json::as_array).unwrap()[0];
    assert_eq!(one.str_at("event.event_id"), Some(id.as_str()));
    assert_eq!((one.str_of("room_id"), one.get("read")), (Some(room.as_str()), Some(&Json::Bool(false))));
    bob.ok(&mut s, &format!("POST /client/v3/rooms/{room}/receipt/m.read/{id}"), Json::object());
    let got = bob.get(&mut s, "/v3/notifications?limit=1");
    assert_eq!(
        got.get("notifications").and_then(Json::as_array).unwrap()[0].get("read"),
        Some(&Json::Bool(true))
    );
}
