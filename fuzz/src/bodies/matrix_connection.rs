//! Whole connections of a Matrix client to a whole server, fed with any bytes: the requests of a device that is logged
//! in, in a room, and of whoever else connects.
//!
//! The bytes go over the connection as they are, but for words in braces that stand for what the server gave out
//! ([`WORDS`]), so that a request reaches what is behind the log-in, and for the byte 255, which with the one after it
//! says what else happens ([`Run::act`]).

use crate::{
    client::http::{Answers, request},
    sim::{
        dice::Dice,
        world::{Noticed, WireId, World},
    },
};
use lavina_codecs::{
    config::Config,
    http::reader::{Reader, Step},
    json::Json,
    object,
    session::Session,
    settings::{Listener, Protocol, Security, Settings},
};
use lavina_core::{limits::Limits, settings::Guests};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Things done in one run.
const STEPS: usize = 60;
/// Connections at once.
const WIRES: usize = 3;
/// Events of the server between two things done; and, so many times more, after the last.
const EVENTS: usize = 400;
/// Deadlines that may pass before every request must be answered.
const DEADLINES: usize = 400;
/// Milliseconds to a deadline that is waited for: more than any request waits.
const PATIENCE: u64 = 300_000;

const CLIENT: &str = "/_matrix/client/v3";

/// What the words in braces stand for: the device's token, a room that it is in, one that it is not in, an event and
/// a content of its own, where its last sync ended, and the length of what follows the head in the same piece.
pub const WORDS: [&str; 7] = ["token", "room", "elsewhere", "event", "mxc", "since", "length"];

/// Any bytes: the first says what server it is, then come pieces, divided by the byte 255 and one that says what
/// happens between them. Whatever comes, every request is answered once, in its turn, in the form of HTTP and of JSON;
/// what was said where the device is not is never told; and everything comes to rest.
pub fn connection(data: &[u8]) {
    let (first, rest) = data.split_first().map_or((0, data), |(first, rest)| (*first, rest));
    let mut run = Run::new(first, data);
    let mut pieces = rest.split(|b| *b == 0xff);
    run.send(pieces.next().unwrap_or_default());
    run.events(EVENTS);
    for piece in pieces.take(STEPS) {
        let (act, bytes) = piece.split_first().map_or((0, piece), |(act, bytes)| (*act, bytes));
        run.act(act);
        run.send(bytes);
        run.events(if act == b'f' { 3 } else { EVENTS });
    }
    run.rest();
}

struct Run {
    world: World<Session>,
    wires: Vec<Wire>,
    /// The connection that bytes go over.
    at: usize,
    /// What the words stand for.
    words: BTreeMap<&'static str, String>,
    bob: String,
    /// What nobody but Bob may hear.
    secret: String,
}

/// A connection, from the client's side.
struct Wire {
    id: WireId,
    reader: Reader,
    /// Bytes of a request that is not whole.
    sent: Vec<u8>,
    /// Requests without an answer: whether each was a HEAD.
    asked: VecDeque<bool>,
    /// Requests that are whole.
    whole: usize,
    answered: usize,
    said: Vec<u8>,
    open: bool,
    /// It speaks something else than HTTP, or it is not known any more what it was asked.
    other: bool,
}

impl Run {
    fn new(first: u8, data: &[u8]) -> Run {
        let settings = Arc::new(settings(first & 2 != 0));
        let world = World::new(settings, 1 + first % 2, Dice::new(u64::from(first >> 2)));
        // Who looks for it in what comes cannot have sent it.
        let hash = data
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
        let secret = format!("secret{hash:016x}");
        let mut run =
            Run { world, wires: Vec::new(), at: 0, words: BTreeMap::new(), bob: String::new(), secret };
        run.prepare();
        run.world.chunk = 700;
        run
    }

    /// Two people, a room with both, and one with Bob alone.
    fn prepare(&mut self) {
        let wire = self.world.connect(listener());
        let (bob, alice) = (self.device(wire, "bob"), self.device(wire, "alice"));
        let room = object! { "preset" => "public_chat", "room_alias_name" => "lobby" };
        let room = self.ask(wire, "POST createRoom", &bob, room).str_of("room_id").map(str::to_owned);
        let hidden = object! { "preset" => "private_chat" };
        let hidden = self.ask(wire, "POST createRoom", &bob, hidden).str_of("room_id").map(str::to_owned);
        let (room, hidden) = (room.expect("a room"), hidden.expect("a room"));
        let text = |body: &str| object! { "msgtype" => "m.text", "body" => body };
        self.ask(wire, &format!("PUT rooms/{hidden}/send/m.room.message/s"), &bob, text(&self.secret));
        self.ask(wire, &format!("POST rooms/{room}/join"), &alice, Json::object());
        let said = self.ask(wire, &format!("PUT rooms/{room}/send/m.room.message/a"), &alice, text("hi"));
        let since = self.ask(wire, "GET sync", &alice, Json::object());
        let kept = self.ask(wire, "POST /_matrix/media/v3/upload?filename=a.txt", &alice, text("kept"));
        let text = |json: &Json, key: &str| json.str_of(key).unwrap_or_default().to_owned();
        self.words.insert("event", text(&said, "event_id"));
        self.words.insert("since", text(&since, "next_batch"));
        self.words.insert("mxc", text(&kept, "content_uri").replace("mxc://", ""));
        self.words.extend([("token", alice), ("room", room), ("elsewhere", hidden)]);
        self.bob = bob;
        self.world.hang_up(wire);
        self.events(EVENTS);
    }

    /// A new account with one device; its token.
    fn device(&mut self, wire: WireId, name: &str) -> String {
        let mut wish =
            object! { "username" => name, "password" => "secret of the two", "device_id" => "phone" };
        let asked = self.ask(wire, "POST register", "", wish.clone());
        let session = asked.str_of("session").unwrap_or_default();
        wish.set("auth", object! { "type" => "m.login.dummy", "session" => session });
        let made = self.ask(wire, "POST register", "", wish);
        made.str_of("access_token").unwrap_or_else(|| panic!("an account: {made:?}")).to_owned()
    }

    /// A request of the preparation, and its answer.
    fn ask(&mut self, wire: WireId, what: &str, token: &str, body: Json) -> Json {
        let (method, path) = what.split_once(' ').expect("a method and a path");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("{CLIENT}/{path}") };
        let body = Some(&body).filter(|_| method != "GET");
        self.world.send(wire, &request(method, &path, token, body));
        let mut answers = Answers::default();
        while self.world.advance() {
            for noticed in self.world.noticed() {
                if let Noticed::Bytes(_, bytes) = noticed {
                    answers.feed(&bytes);
                }
            }
        }
        answers.next().unwrap_or_else(|| panic!("no answer to {what}")).1
    }

    /// What happens between two pieces.
    fn act(&mut self, act: u8) {
        let wire = self.wires.get(self.at).map(|wire| wire.id);
        match (act, wire) {
            (b'0'..=b'2', _) => self.at = usize::from(act - b'0'),
            (b'h', Some(wire)) => {
                self.world.hang_up(wire);
                self.wires[self.at].open = false;
            }
            (b'c', Some(wire)) => self.world.cut(wire),
            (b's' | b'r', Some(wire)) => self.world.stall(wire, act == b's'),
            (b't', _) => drop(self.world.jump(PATIENCE)),
            (b'x', _) => self.world.crash(),
            (b'b', _) => self.hear(),
            // Not a word of its own; what follows it stays as it is.
            _ => {}
        }
        self.notice();
    }

    /// Somebody else says something in the room, which ends a sync that waits.
    fn hear(&mut self) {
        let wire = self.world.connect(listener());
        let path = format!("{CLIENT}/rooms/{}/send/m.room.message/b", self.words["room"]);
        let body = object! { "msgtype" => "m.text", "body" => "alice: listen" };
        self.world.send(wire, &request("PUT", &path, &self.bob, Some(&body)));
        self.world.hang_up(wire);
    }

    /// Sends over the connection at hand, which is opened if it is not there.
    fn send(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let bytes = self.meant(bytes);
        while self.wires.len() <= self.at.min(WIRES - 1) {
            let id = self.world.connect(listener());
            self.wires.push(Wire::new(id));
        }
        let wire = &mut self.wires[self.at];
        if !wire.open {
            *wire = Wire::new(self.world.connect(listener()));
        }
        self.world.send(wire.id, &bytes);
        wire.note(&bytes);
    }

    /// The piece with what its words stand for.
    fn meant(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for (word, means) in &self.words {
            out = replace(&out, word, means);
        }
        let end = out.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
        // The head is as long as it is; only what comes behind it counts.
        let length = if end == 0 { 0 } else { out.len() - end };
        replace(&out, "length", &length.to_string())
    }

    fn events(&mut self, most: usize) {
        for _ in 0..most {
            if !self.world.advance() {
                break;
            }
        }
        self.notice();
    }

    fn notice(&mut self) {
        for noticed in self.world.noticed() {
            let (Noticed::Bytes(id, _) | Noticed::Closed(id)) = &noticed;
            let Some(wire) = self.wires.iter_mut().find(|wire| wire.id == *id) else { continue };
            match noticed {
                Noticed::Bytes(_, bytes) => wire.said.extend(bytes),
                Noticed::Closed(_) => wire.open = false,
            }
            wire.check(&self.secret);
        }
    }

    /// Nobody asks anything more: everything is answered.
    fn rest(&mut self) {
        for wire in &self.wires {
            self.world.stall(wire.id, false);
        }
        for _ in 0..DEADLINES {
            self.events(100 * EVENTS);
            assert!(!self.world.advance(), "it does not come to rest");
            self.notice();
            if self.wires.iter().all(Wire::is_done) || !self.world.jump(PATIENCE) {
                break;
            }
        }
        for wire in &self.wires {
            assert!(wire.is_done(), "{} of {} requests are answered", wire.answered, wire.whole);
        }
    }
}

impl Wire {
    fn new(id: WireId) -> Wire {
        Wire {
            id,
            reader: Reader::default(),
            sent: Vec::new(),
            asked: VecDeque::new(),
            whole: 0,
            answered: 0,
            said: Vec::new(),
            open: true,
            other: false,
        }
    }

    /// Nothing that was asked for is owed.
    fn is_done(&self) -> bool {
        !self.open || self.other || self.answered >= self.whole
    }

    /// Reads what is sent as a server would.
    fn note(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
        while !self.other {
            let Ok((step, used)) = self.reader.next(&self.sent) else {
                // It is told so, and nothing after it is read.
                self.asked.push_back(false);
                self.other = true;
                return;
            };
            match step {
                Step::Wait => {
                    self.sent.drain(..used);
                    return;
                }
                Step::Head(head) => {
                    self.asked.push_back(head.method.name() == "HEAD");
                    self.reader.allow(u64::MAX);
                }
                Step::Data(_) => {}
                Step::End => self.whole += 1,
            }
            self.sent.drain(..used);
        }
    }

    /// Takes out whole answers and looks at them.
    fn check(&mut self, secret: &str) {
        let has = |bytes: &[u8]| bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!has(&self.said), "what was said elsewhere is told");
        while let Some(answer) = Answer::cut(&self.said, self.asked.front().copied().unwrap_or(false)) {
            if answer.status == 101 {
                self.other = true;
                self.said.clear();
                self.asked.clear();
                return;
            }
            answer.check();
            self.said.drain(..answer.end);
            if answer.status >= 200 {
                // A head that is not whole in time, or too long, is no request.
                assert!(self.asked.pop_front().is_some() || answer.status >= 400, "an answer to nothing");
                self.answered += 1;
            }
        }
    }
}

/// An answer at the front of what came.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
    end: usize,
}

impl Answer {
    /// The first, if it is whole. `bare`: it is to a HEAD.
    fn cut(said: &[u8], bare: bool) -> Option<Answer> {
        let begin = said.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&said[..begin - 2]).expect("a head is text").to_owned();
        let line = head.split("\r\n").next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("a status line: {line}"));
        let mut answer = Answer { status, head, body: Vec::new(), end: begin };
        let length = answer.field("content-length").map(|n| n.parse::<usize>().expect("a length"));
        let none = status < 200 || matches!(status, 204 | 304);
        assert!(none || length.is_some(), "an answer without its length: {}", answer.head);
        if bare || none {
            return Some(answer);
        }
        answer.end += length.unwrap_or(0);
        answer.body = said.get(begin..answer.end)?.to_vec();
        Some(answer)
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Nothing breaks out of a line of the head, and what says that it is JSON is; an error says which it is and why.
    fn check(&self) {
        for line in self.head.split("\r\n").skip(1).filter(|line| !line.is_empty()) {
            assert!(!line.contains(['\r', '\n', '\0']) && line.contains(": "), "a field: {line:?}");
        }
        assert!(self.status != 500, "the server is at fault: {}", self.head);
        // What somebody uploaded is given back as it is.
        let own = self.field("content-disposition").is_none();
        if own && self.field("content-type") == Some("application/json") && !self.body.is_empty() {
            let json = Json::parse(&self.body).unwrap_or_else(|e| panic!("JSON: {e}: {}", self.head));
            // A question who it is says what it takes instead.
            let asked = json.get("flows").filter(|_| self.status == 401);
            let why = json.str_of("errcode").and(json.str_of("error")).is_some() || asked.is_some();
            assert!(self.status < 400 || why, "an error without its reason: {json:?}");
        }
    }
}

/// The bytes with each word in braces replaced.
fn replace(bytes: &[u8], word: &str, means: &str) -> Vec<u8> {
    let word = format!("{{{word}}}").into_bytes();
    let (mut out, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let Some(at) = rest.windows(word.len()).position(|w| w == word) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(means.as_bytes());
        rest = &rest[at + word.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn listener() -> Listener {
    Listener { protocol: Protocol::Http, security: Security::Off }
}

/// A server with usual limits, or with such as are reached at once.
fn settings(tiny: bool) -> Settings {
    let mut config = Config { guests: Guests::Off, ..Config::default() };
    config.registration.open = true;
    let usual = Limits { connections_per_address: 0, flood_burst: 0, flood_rate: 0, ..Limits::SMALL };
    config.limits.values = match tiny {
        false => usual,
        true => Limits {
            window: 4,
            text: 300,
            native: 1_000,
            topic: 60,
            masks: 3,
            members: 4,
            attrs: 6_000,
            attr_count: 24,
            letters: 3,
            contacts: 2,
            blocked: 2,
            reactions: 2,
            rooms_per_session: 3,
            sessions_per_account: 4,
            tail: 2,
            page: 3,
            entities: 8,
            waiting: 6,
            mailbox: 8,
            turn: 4,
            blob: 50,
            blobs: 2,
            media: 3,
            media_size: 400,
            media_bytes: 1_000,
            jobs: 2,
            ..usual
        },
    };
    let mut settings = Settings::new(&config, 4, [7; 32]);
    settings.iterations = 1;
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use lavina_codecs::matrix::route::Route;

    /// An endpoint's path with something in each place that is left open.
    fn path(route: &Route) -> String {
        let fill = |segment: &str| match segment {
            "{room}" => "{room}".to_owned(),
            "{user}" => "@alice:localhost".to_owned(),
            "{event}" => "{event}".to_owned(),
            "{type}" => "m.room.message".to_owned(),
            s if s.starts_with('{') => "x".to_owned(),
            s => s.to_owned(),
        };
        route.path.split('/').map(fill).collect::<Vec<_>>().join("/")
    }

    #[test]
    fn every_endpoint_answers_what_means_nothing_to_it() {
        for server in [0, 3] {
            for route in Route::all().filter(|r| !r.path.contains("logout") && !r.path.contains("deactivate"))
            {
                let head = format!("{} {} HTTP/1.1\r\nHost: localhost", route.method.name(), path(route));
                let mut input = vec![server];
                for body in ["{}", "{\"a\":[1.5,null]}", "[", ""] {
                    for token in ["Authorization: Bearer {token}\r\n", ""] {
                        let all = format!("{head}\r\n{token}Content-Length: {{length}}\r\n\r\n{body}");
                        input.extend_from_slice(all.as_bytes());
                        input.extend_from_slice(b"\xff0");
                    }
                }
                connection(&input);
            }
        }
    }

    #[test]
    fn words_stand_for_what_the_server_gave_out() {
        let mut run = Run::new(0, b"");
        let meant = run.meant(b"GET /{room}{x} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{event}");
        let meant = String::from_utf8(meant).expect("text");
        assert!(meant.contains("Content-Length: ") && meant.contains("{x}") && !meant.contains("{length}"));
        assert!(WORDS.iter().all(|word| *word == "length" || !run.words[word].is_empty()), "{:?}", run.words);
        let (_, length) = meant.split_once("Length: ").expect("a length");
        let (length, event) = length.split_once("\r\n\r\n").expect("a body");
        assert_eq!((length.parse(), event), (Ok(event.len()), run.words["event"].as_str()));
        run.send(b"GET /_matrix/client/v3/rooms/{room}/event/{event} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        run.events(EVENTS);
        assert_eq!(run.wires[0].answered, 1);
    }
}
