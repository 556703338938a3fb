//! The Matrix side of a [`Member`](super::member::Member): one connection for what it asks, one for its sync loop.

use super::http::{Answers, escape, request};
use super::member::Heard;
use crate::scenario::run::{DOMAIN, PASSWORD};
use crate::sim::dice::Dice;
use lavina_codecs::{json::Json, object};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const CLIENT: &str = "/_matrix/client/v3";

/// What an answer will be about.
enum Asked {
    Login,
    Join(String),
    Create(String),
    Other,
}

/// What it knows.
#[derive(Default)]
pub struct Web {
    /// A sync was answered.
    pub here: bool,
    /// It cannot go on.
    pub failed: bool,
    /// The rooms it is in, each since which step.
    pub rooms: BTreeMap<String, usize>,
    /// What it heard, in order.
    pub heard: Vec<Heard>,
    name: String,
    token: String,
    /// Names of rooms by their ids.
    names: BTreeMap<String, String>,
    /// Rooms it is in whose names it has not been told yet.
    nameless: BTreeSet<String>,
    asked: VecDeque<Asked>,
    answers: [Answers; 2],
    next: usize,
}

impl Web {
    /// A client of this account, and the log-in that it sends first.
    pub fn connect(&mut self, name: &str, device: &str) -> Vec<u8> {
        name.clone_into(&mut self.name);
        let body = object! {
            "type" => "m.login.password",
            "identifier" => object! { "type" => "m.id.user", "user" => name },
            "password" => PASSWORD,
            "device_id" => device,
        };
        self.ask("POST", "login", Some(&body), Asked::Login)
    }

    /// Something at random about one of the rooms; true: the word is said.
    pub fn act(&mut self, dice: &mut Dice, room: &str, token: &str) -> (Vec<u8>, bool) {
        let what = dice.below(12);
        let id = self.names.iter().find(|(_, name)| *name == room).map(|(id, _)| escape(id));
        let Some(id) = id.filter(|_| self.rooms.contains_key(room)) else {
            let path = format!("join/{}", escape(&format!("#{room}:{DOMAIN}")));
            return (self.ask("POST", &path, None, Asked::Join(room.to_owned())), false);
        };
        self.next += 1;
        let n = self.next;
        let last = self.heard.iter().rev().find(|h| h.room == room).map(|h| h.id.clone());
        match (what, last) {
            (0, _) if dice.once_in(3) => {
                (self.ask("POST", &format!("rooms/{id}/leave"), None, Asked::Other), false)
            }
            (0 | 1, _) => {
                let body = object! { "topic" => format!("topic{token}") };
                (self.ask("PUT", &format!("rooms/{id}/state/m.room.topic"), Some(&body), Asked::Other), false)
            }
            (2, Some(event)) => {
                let relation = object! { "rel_type" => "m.annotation", "event_id" => event, "key" => "ok" };
                let body = object! { "m.relates_to" => relation };
                let path = format!("rooms/{id}/send/m.reaction/r{n}");
                (self.ask("PUT", &path, Some(&body), Asked::Other), false)
            }
            (3, _) => {
                (self.ask("GET", &format!("rooms/{id}/messages?dir=b&limit=20"), None, Asked::Other), false)
            }
            _ => {
                let body = object! { "msgtype" => "m.text", "body" => token };
                let path = format!("rooms/{id}/send/m.room.message/{token}");
                (self.ask("PUT", &path, Some(&body), Asked::Other), true)
            }
        }
    }

    /// Takes what came at a step, on the connection of what it asks or on that of the loop; what it sends on either.
    pub fn receive(&mut self, on_loop: bool, bytes: &[u8], step: usize) -> [Vec<u8>; 2] {
        let mut out = [Vec::new(), Vec::new()];
        self.answers[usize::from(on_loop)].feed(bytes);
        while let Some((status, body)) = self.answers[usize::from(on_loop)].next() {
            if on_loop {
                out[1].extend(self.synced(status, &body, step));
                continue;
            }
            match (self.asked.pop_front(), status, body.str_of("room_id")) {
                (Some(Asked::Login), 200, _) => {
                    self.token = body.str_of("access_token").unwrap_or_default().to_owned();
                    out[1].extend(self.follow(None));
                }
                (Some(Asked::Login) | None, ..) => self.failed = true,
                (Some(Asked::Join(room) | Asked::Create(room)), 200, Some(id)) => {
                    // The loop may have told of it before.
                    if self.nameless.remove(id) {
                        self.rooms.insert(room.clone(), step);
                    }
                    self.names.insert(id.to_owned(), room);
                }
                (Some(Asked::Join(room)), 404, _) => {
                    let body = object! { "room_alias_name" => &room, "preset" => "public_chat" };
                    out[0].extend(self.ask("POST", "createRoom", Some(&body), Asked::Create(room)));
                }
                _ => {}
            }
        }
        out
    }

    fn ask(&mut self, method: &str, path: &str, body: Option<&Json>, what: Asked) -> Vec<u8> {
        self.asked.push_back(what);
        request(method, &format!("{CLIENT}/{path}"), &self.token, body)
    }

    /// The next turn of the loop.
    fn follow(&self, since: Option<&str>) -> Vec<u8> {
        let filter = escape("{\"room\":{\"timeline\":{\"limit\":1000}}}");
        let since = since.map(|s| format!("&timeout=100000&since={}", escape(s))).unwrap_or_default();
        request("GET", &format!("{CLIENT}/sync?filter={filter}{since}"), &self.token, None)
    }

    fn synced(&mut self, status: u16, body: &Json, step: usize) -> Vec<u8> {
        let Some(next) = body.str_of("next_batch").filter(|_| status == 200) else {
            self.failed = true;
            return Vec::new();
        };
        self.here = true;
        for (part, stays) in [("join", true), ("leave", false)] {
            let rooms = body.at(&["rooms", part]).and_then(Json::as_object);
            for (id, section) in rooms.into_iter().flat_map(|r| r.iter()) {
                self.section(id, section, stays, step);
            }
        }
        self.follow(Some(next))
    }

    fn section(&mut self, id: &str, section: &Json, stays: bool, step: usize) {
        let events = |part| section.at(&[part, "events"]).and_then(Json::as_array).unwrap_or_default();
        let all = || events("state").iter().chain(events("timeline"));
        let alias = all().filter_map(|e| e.at(&["content", "alias"])?.as_str()).next_back();
        let alias = alias.and_then(|a| a.strip_prefix('#')?.strip_suffix(&format!(":{DOMAIN}")));
        if let Some(name) = alias {
            self.names.insert(id.to_owned(), name.to_owned());
        }
        let Some(name) = self.names.get(id).cloned() else {
            if stays {
                self.nameless.insert(id.to_owned());
            }
            return;
        };
        let known = self.rooms.contains_key(&name);
        let timeline = events("timeline");
        let me = format!("@{}:{DOMAIN}", self.name);
        let came = timeline.iter().rposition(|e| {
            let about_me = e.str_of("state_key") == Some(&me) && e.str_of("type") == Some("m.room.member");
            about_me && e.at(&["content", "membership"]).and_then(Json::as_str) == Some("join")
        });
        // Who comes in is told what was before, and what is left out is told to be.
        let cut = section.at(&["timeline", "limited"]).and_then(Json::as_bool) == Some(true);
        if came.is_some() || cut && known {
            self.rooms.insert(name.clone(), step);
        }
        let from = came.map_or(if known { 0 } else { timeline.len() }, |i| i + 1);
        for event in &timeline[from..] {
            let body = event.at(&["content", "body"]).and_then(Json::as_str);
            if let Some(token) = body.filter(|b| b.starts_with("token")) {
                let from = event.str_of("sender").unwrap_or_default();
                let from = from.trim_start_matches('@').split(':').next().unwrap_or_default();
                let id = event.str_of("event_id").unwrap_or_default().to_owned();
                let (room, token) = (name.clone(), token.to_owned());
                self.heard.push(Heard { room, token, from: from.to_owned(), id });
            }
        }
        match stays {
            true => _ = self.rooms.entry(name).or_insert(step),
            false => _ = self.rooms.remove(&name),
        }
    }
}
