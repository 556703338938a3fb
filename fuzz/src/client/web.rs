//! The Matrix side of a [`Member`](super::member::Member): one connection for what it asks, one for its sync loop.

use super::http::{Answers, escape, request};
use super::member::Heard;
use crate::scenario::run::{DOMAIN, PASSWORD};
use crate::sim::dice::Dice;
use lavina_codecs::{json::Json, object};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const CLIENT: &str = "/_matrix/client/v3";

/// Tokens of syncs that it may come back with.
const PASTS: usize = 6;

/// Events of a page where a gap is filled.
const PAGE: usize = 4;

/// What an answer will be about.
enum Asked {
    Login,
    Join(String),
    Create(String),
    History(String),
    /// A word of its own, in a room.
    Said(String, String),
    Other,
}

/// What somebody does to an earlier word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The word.
    pub word: String,
    /// It is withdrawn; else another one stands for it.
    pub withdrawn: bool,
}

/// An event of a room's history, as it was told in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The word.
    pub token: String,
    /// The word that stands for it.
    pub edited: Option<String>,
}

/// What it knew when it had a token.
#[derive(Clone, Default)]
struct Past {
    since: String,
    rooms: BTreeMap<String, usize>,
    heard: usize,
    names: BTreeMap<String, String>,
    nameless: BTreeSet<String>,
    known: BTreeSet<String>,
}

/// A part of a room's history that a sync left out: it is asked for, backwards, until something known comes.
struct Gap {
    id: String,
    /// Where to go on.
    from: String,
    /// Events, the newest first.
    events: Vec<Json>,
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
    /// What it said itself, with the ids it was told.
    pub sent: Vec<Heard>,
    /// What it asked to be done to earlier words, each under a word of its own.
    pub changes: BTreeMap<String, Changed>,
    /// The history of rooms, as it was told last.
    pub histories: BTreeMap<String, Vec<Told>>,
    /// How often it came back, and how many gaps it filled.
    pub returned: [usize; 2],
    name: String,
    token: String,
    /// Names of rooms by their ids.
    names: BTreeMap<String, String>,
    /// Rooms it is in whose names it has not been told yet.
    nameless: BTreeSet<String>,
    asked: VecDeque<Asked>,
    answers: [Answers; 2],
    next: usize,
    /// Events of a timeline that it wants.
    limit: usize,
    since: String,
    /// Events that it has been told, by their ids.
    known: BTreeSet<String>,
    /// It failed for a reason that goes by.
    passing: bool,
    pasts: VecDeque<Past>,
    gaps: VecDeque<Gap>,
}

impl Web {
    /// A client of this account, and the log-in that it sends first.
    pub fn connect(&mut self, name: &str, device: &str) -> Vec<u8> {
        name.clone_into(&mut self.name);
        // Some look at little at a time, and have gaps to fill.
        self.limit = if device.ends_with(['1', '4', '7', '9']) { 2 } else { 1_000 };
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
            (4..=6, _) if self.sent.iter().any(|own| own.room == room) => {
                let own = self.own(dice, room);
                (self.change(&id, &own, what == 6, token), true)
            }
            _ => {
                let body = object! { "msgtype" => "m.text", "body" => token };
                let path = format!("rooms/{id}/send/m.room.message/{token}");
                let said = Asked::Said(room.to_owned(), token.to_owned());
                (self.ask("PUT", &path, Some(&body), said), true)
            }
        }
    }

    /// A word of its own in a room, one of the last.
    fn own(&self, dice: &mut Dice, room: &str) -> Heard {
        let own: Vec<&Heard> = self.sent.iter().rev().filter(|own| own.room == room).take(4).collect();
        own[dice.below(own.len())].clone()
    }

    /// Withdraws a word, or says another in its place.
    fn change(&mut self, room: &str, own: &Heard, withdrawn: bool, token: &str) -> Vec<u8> {
        self.changes.insert(token.to_owned(), Changed { word: own.token.clone(), withdrawn });
        if withdrawn {
            let path = format!("rooms/{room}/redact/{}/{token}", escape(&own.id));
            return self.ask("PUT", &path, Some(&object! { "reason" => token }), Asked::Other);
        }
        let new = object! { "msgtype" => "m.text", "body" => token };
        let relation = object! { "rel_type" => "m.replace", "event_id" => &own.id };
        let mut body = object! { "msgtype" => "m.text", "body" => format!("* {token}") };
        body.set("m.new_content", new);
        body.set("m.relates_to", relation);
        self.ask("PUT", &format!("rooms/{room}/send/m.room.message/{token}"), Some(&body), Asked::Other)
    }

    /// Whether it waits for no answer on the connection of what it asks.
    pub fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// It was there, and nothing says that it can be no more.
    pub fn may_return(&self) -> bool {
        !self.pasts.is_empty() && (!self.failed || self.passing)
    }

    /// It comes back on new connections, with what it knew when it had one of its last tokens: what its loop sends.
    pub fn come_back(&mut self, dice: &mut Dice) -> Option<Vec<u8>> {
        let last = self.pasts.len().checked_sub(1).filter(|_| self.may_return())?;
        self.failed = false;
        let back = if dice.once_in(2) { dice.below(last + 1) } else { 0 };
        self.pasts.truncate(last - back + 1);
        let past = self.pasts.back().cloned()?;
        self.heard.truncate(past.heard);
        (self.since, self.rooms, self.names) = (past.since, past.rooms, past.names);
        (self.nameless, self.known) = (past.nameless, past.known);
        (self.asked, self.answers, self.gaps) = Default::default();
        self.returned[0] += 1;
        Some(self.follow())
    }

    /// Asks for the whole history of the rooms it is in.
    pub fn ask_histories(&mut self) -> Vec<u8> {
        self.histories.clear();
        let mut rooms = self.names.clone();
        rooms.retain(|_, name| self.rooms.contains_key(name));
        rooms.into_values().flat_map(|name| self.ask_history(name, "")).collect()
    }

    /// Asks for a page of a room's history, backwards.
    fn ask_history(&mut self, name: String, from: &str) -> Vec<u8> {
        let id = self.names.iter().find(|(_, n)| **n == name).map(|(id, _)| escape(id)).unwrap_or_default();
        let from = if from.is_empty() { String::new() } else { format!("&from={}", escape(from)) };
        let path = format!("rooms/{id}/messages?dir=b&limit=1000{from}");
        self.ask("GET", &path, None, Asked::History(name))
    }

    /// A page of a room's history came; what is before it is asked for.
    fn history(&mut self, name: String, page: &Json) -> Vec<u8> {
        let mut all = told(page);
        let later = self.histories.entry(name.clone()).or_default();
        all.append(later);
        *later = all;
        page.str_of("end").map(|end| self.ask_history(name, end)).unwrap_or_default()
    }

    /// Takes what came at a step, on the connection of what it asks or on that of the loop; what it sends on either.
    pub fn receive(&mut self, on_loop: bool, bytes: &[u8], step: usize) -> [Vec<u8>; 2] {
        let mut out = [Vec::new(), Vec::new()];
        self.answers[usize::from(on_loop)].feed(bytes);
        while let Some((status, body)) = self.answers[usize::from(on_loop)].next() {
            if on_loop {
                let more = match self.gaps.is_empty() {
                    true => self.synced(status, &body, step),
                    false => self.filled(status, &body, step),
                };
                out[1].extend(more);
                continue;
            }
            match (self.asked.pop_front(), status, body.str_of("room_id")) {
                (Some(Asked::Login), 200, _) => {
                    self.token = body.str_of("access_token").unwrap_or_default().to_owned();
                    out[1].extend(self.follow());
                }
                (Some(Asked::Login) | None, ..) => self.failed = true,
                (Some(Asked::Join(room) | Asked::Create(room)), 200, Some(id)) => {
                    // The loop may have told of it before.
                    if self.nameless.remove(id) {
                        self.rooms.insert(room.clone(), step);
                    }
                    self.names.insert(id.to_owned(), room);
                }
                (Some(Asked::Said(room, token)), 200, _) => {
                    let id = body.str_of("event_id").unwrap_or_default().to_owned();
                    self.sent.push(Heard { room, token, from: self.name.clone(), occupant: None, id });
                }
                (Some(Asked::History(room)), 200, _) => out[0].extend(self.history(room, &body)),
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
    fn follow(&self) -> Vec<u8> {
        let filter = escape(&format!("{{\"room\":{{\"timeline\":{{\"limit\":{}}}}}}}", self.limit));
        let since = match self.since.as_str() {
            "" => String::new(),
            since => format!("&timeout=100000&since={}", escape(since)),
        };
        request("GET", &format!("{CLIENT}/sync?filter={filter}{since}"), &self.token, None)
    }

    fn synced(&mut self, status: u16, body: &Json, step: usize) -> Vec<u8> {
        let Some(next) = body.str_of("next_batch").filter(|_| status == 200) else {
            (self.failed, self.passing) = (true, status >= 500);
            return Vec::new();
        };
        self.here = true;
        next.clone_into(&mut self.since);
        for (part, stays) in [("join", true), ("leave", false)] {
            let rooms = body.at(&["rooms", part]).and_then(Json::as_object);
            for (id, section) in rooms.into_iter().flat_map(|r| r.iter()) {
                self.section(id, section, stays, step);
            }
        }
        self.go_on()
    }

    /// Fills the next gap, or goes on.
    fn go_on(&mut self) -> Vec<u8> {
        if let Some(gap) = self.gaps.front() {
            let (id, from) = (escape(&gap.id), escape(&gap.from));
            let path = format!("{CLIENT}/rooms/{id}/messages?dir=b&limit={PAGE}&from={from}");
            return request("GET", &path, &self.token, None);
        }
        if self.pasts.len() == PASTS {
            self.pasts.pop_front();
        }
        self.pasts.push_back(Past {
            since: self.since.clone(),
            rooms: self.rooms.clone(),
            heard: self.heard.len(),
            names: self.names.clone(),
            nameless: self.nameless.clone(),
            known: self.known.clone(),
        });
        self.follow()
    }

    /// A page of a gap came.
    fn filled(&mut self, status: u16, body: &Json, step: usize) -> Vec<u8> {
        let Some(gap) = self.gaps.front_mut() else { return Vec::new() };
        if status == 403 {
            // It was left meanwhile, which the next sync says.
            if let Some(name) = self.names.get(&gap.id) {
                self.rooms.insert(name.clone(), step);
            }
            self.gaps.pop_front();
            return self.go_on();
        }
        let Some(page) = body.get("chunk").and_then(Json::as_array).filter(|_| status == 200) else {
            (self.failed, self.passing) = (true, status >= 500);
            return Vec::new();
        };
        let id = |event: &Json| event.str_of("event_id").unwrap_or_default().to_owned();
        let fresh = page.iter().take_while(|event| !self.known.contains(&id(event)));
        let before = gap.events.len();
        gap.events.extend(fresh.cloned());
        let whole = gap.events.len() - before < page.len();
        match body.str_of("end").filter(|_| !whole) {
            Some(end) => end.clone_into(&mut gap.from),
            None => {
                self.returned[1] += 1;
                if let Some(gap) = self.gaps.pop_front() {
                    let events: Vec<Json> = gap.events.into_iter().rev().collect();
                    self.take(&gap.id, &events, true, step);
                }
            }
        }
        self.go_on()
    }

    fn section(&mut self, id: &str, section: &Json, stays: bool, step: usize) {
        let events = |part| section.at(&[part, "events"]).and_then(Json::as_array).unwrap_or_default();
        let all = || events("state").iter().chain(events("timeline"));
        let alias = all().filter_map(|e| e.at(&["content", "alias"])?.as_str()).next_back();
        let alias = alias.and_then(|a| a.strip_prefix('#')?.strip_suffix(&format!(":{DOMAIN}")));
        if let Some(name) = alias {
            self.names.insert(id.to_owned(), name.to_owned());
        }
        let timeline = events("timeline");
        let known = self.names.get(id).is_some_and(|name| self.rooms.contains_key(name));
        let cut = section.at(&["timeline", "limited"]).and_then(Json::as_bool) == Some(true);
        if cut && known && stays && self.came(timeline).is_none() {
            let from = section.at(&["timeline", "prev_batch"]).and_then(Json::as_str);
            let from = from.expect("a cut timeline says where it was cut").to_owned();
            let events = timeline.iter().rev().cloned().collect();
            return self.gaps.push_back(Gap { id: id.to_owned(), from, events });
        }
        self.take(id, timeline, stays, step);
    }

    /// Where in a timeline it came in itself.
    fn came(&self, timeline: &[Json]) -> Option<usize> {
        let me = format!("@{}:{DOMAIN}", self.name);
        timeline.iter().rposition(|e| {
            let about_me = e.str_of("state_key") == Some(&me) && e.str_of("type") == Some("m.room.member");
            about_me && e.at(&["content", "membership"]).and_then(Json::as_str) == Some("join")
        })
    }

    /// Takes in what happened in a room.
    fn take(&mut self, id: &str, timeline: &[Json], stays: bool, step: usize) {
        self.known.extend(timeline.iter().filter_map(|e| e.str_of("event_id")).map(str::to_owned));
        let Some(name) = self.names.get(id).cloned() else {
            if stays {
                self.nameless.insert(id.to_owned());
            }
            return;
        };
        let known = self.rooms.contains_key(&name);
        let came = self.came(timeline);
        // Who comes in is told what was before.
        if came.is_some() {
            self.rooms.insert(name.clone(), step);
        }
        let from = came.map_or(if known { 0 } else { timeline.len() }, |i| i + 1);
        for event in &timeline[from..] {
            if let Some(token) = word(event) {
                let from = event.str_of("sender").unwrap_or_default();
                let from = from.trim_start_matches('@').split(':').next().unwrap_or_default();
                let id = event.str_of("event_id").unwrap_or_default().to_owned();
                let room = name.clone();
                self.heard.push(Heard { room, token, from: from.to_owned(), occupant: None, id });
            }
        }
        match stays {
            true => _ = self.rooms.entry(name).or_insert(step),
            false => _ = self.rooms.remove(&name),
        }
    }
}

/// The word of an event: what is said, said instead, or given as the reason why something is withdrawn.
fn word(event: &Json) -> Option<String> {
    let content = event.get("content")?;
    let new = content.get("m.new_content").unwrap_or(content);
    let word = match event.str_of("type") {
        Some("m.room.redaction") => content.str_of("reason"),
        _ => new.str_of("body"),
    };
    word.filter(|word| word.starts_with("token")).map(str::to_owned)
}

/// A room's history, oldest first.
fn told(page: &Json) -> Vec<Told> {
    let chunk = page.get("chunk").and_then(Json::as_array).unwrap_or_default();
    let edited = |e: &Json| word(e.at(&["unsigned", "m.relations", "m.replace"])?);
    chunk.iter().rev().filter_map(|e| Some(Told { token: word(e)?, edited: edited(e) })).collect()
}
