//! A client of the line protocol ([`crate::line`]): what it asks at random, and what it noticed.
//!
//! It checks at once what holds for any one session: the order of a room's events without gaps, the order
//! of answers, feed positions that rise.

use crate::{line::CONTENT, sim::dice::Dice};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Lines kept of what was heard.
const HEARD: usize = 24;

/// An event as it was shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown {
    /// The room's id.
    pub room: u64,
    /// Its position.
    pub pos: u64,
    /// The one before it.
    pub prev: u64,
    /// Who, and what: the rest of the line.
    pub what: String,
}

impl Shown {
    fn parse(text: &str) -> Shown {
        let mut words = text.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let room = u64::from_str_radix(word(), 16).expect("a room");
        let (pos, prev) = (word().parse().expect("a position"), word().parse().expect("a position"));
        Shown { room, pos, prev, what: word().to_owned() }
    }

    /// From its line.
    pub fn of(text: &str) -> Shown {
        Shown::parse(text)
    }

    /// The token said, if something was said.
    pub fn token(&self) -> Option<&str> {
        self.what.split_once(" said ").map(|(_, token)| token)
    }

    /// Whose membership became what, if one did.
    pub fn member(&self) -> Option<(&str, &str)> {
        self.what.split_once(" member ").and_then(|(_, m)| m.split_once(' '))
    }
}

/// One connection of somebody.
pub struct LineClient {
    /// Whose.
    pub name: String,
    /// The step at which it learned that it is logged in.
    pub hello: Option<usize>,
    /// The last position seen of each room it is attached to.
    pub attached: BTreeMap<u64, u64>,
    /// It was told that its rooms are not known.
    pub blind: bool,
    /// Rooms that it could not be attached to, and was told so.
    pub refused: BTreeSet<u64>,
    /// Every event shown, however.
    pub shown: Vec<Shown>,
    /// Those of rooms shown live.
    pub live: Vec<Shown>,
    /// Dialog entries in the order of the feed, with their positions in it.
    pub fed: Vec<(u64, Shown)>,
    /// Requests without an answer, by tag.
    pub open: BTreeMap<u64, String>,
    /// The login was refused: it will hang up.
    pub failed: bool,
    /// The reason of its end, if it was told one.
    pub bye: Option<String>,
    /// Requests answered by an event or a value.
    pub answered: usize,
    /// What it heard last, to be printed with a failure.
    pub heard: VecDeque<String>,
    input: Vec<u8>,
    tag: u64,
    last_answer: u64,
    join: Option<(u64, u64)>,
    /// Rooms by name.
    names: BTreeMap<String, u64>,
    /// How often it came into rooms and went out.
    changes: BTreeMap<u64, usize>,
    /// Where it was when it said something, by the request's tag.
    said: BTreeMap<u64, (u64, usize)>,
    /// Contents sent and not answered, by the request's tag.
    sending: BTreeMap<u64, String>,
    /// Contents that are kept, by hash.
    pub kept: BTreeMap<String, String>,
    /// What came so far of a content, by the request's tag, and what must come.
    getting: BTreeMap<u64, (String, String)>,
}

impl LineClient {
    /// A new connection of `name`, with what it says first.
    pub fn new(name: &str, label: &str) -> (LineClient, String) {
        let client = LineClient {
            name: name.to_owned(),
            hello: None,
            attached: BTreeMap::new(),
            blind: false,
            refused: BTreeSet::new(),
            shown: Vec::new(),
            live: Vec::new(),
            fed: Vec::new(),
            open: BTreeMap::from([(1, "login".to_owned())]),
            failed: false,
            bye: None,
            answered: 0,
            heard: VecDeque::new(),
            input: Vec::new(),
            tag: 1,
            last_answer: 0,
            join: None,
            names: BTreeMap::new(),
            changes: BTreeMap::new(),
            said: BTreeMap::new(),
            sending: BTreeMap::new(),
            kept: BTreeMap::new(),
            getting: BTreeMap::new(),
        };
        (client, format!("1 login {name} {label}\n"))
    }

    /// A new connection of somebody without an account.
    pub fn guest(name: &str, label: &str) -> (LineClient, String) {
        let (client, _) = LineClient::new(name, label);
        (client, format!("1 guest {name} {label}\n"))
    }

    /// True: without an account.
    pub fn is_guest(&self) -> bool {
        self.name.starts_with("guest-")
    }

    /// Says that it is attached to the room, and how often that has changed.
    fn presence(&self, room: &str) -> Option<(u64, usize)> {
        let room = *self.names.get(room)?;
        self.attached.contains_key(&room).then(|| (room, self.changes.get(&room).copied().unwrap_or(0)))
    }

    /// A request at random. `token` has not been said before.
    pub fn ask(&mut self, dice: &mut Dice, rooms: usize, people: usize, token: &str) -> String {
        let room = format!("room{}", dice.below(rooms));
        let guest = dice.once_in(4);
        let person =
            if guest { format!("guest-{}", dice.below(3)) } else { format!("person{}", dice.below(people)) };
        let words = match dice.below(28) {
            0..=3 => format!("join {room}"),
            4..=11 => format!("say {room} {token}"),
            12..=15 => format!("tell {person} {token}"),
            16 => format!("part {room}"),
            17 => format!("kick {room} {person}"),
            18 => format!("topic {room} {token}"),
            19 | 20 => format!("history {room} {}", 1 + dice.below(30)),
            21 => format!("feed {}", 1 + dice.below(30)),
            22 => "ping".to_owned(),
            23 if dice.once_in(4) => "quit".to_owned(),
            24 | 25 => return self.put(dice, token),
            26 | 27 => self.get(dice),
            _ => "ping".to_owned(),
        };
        self.tag += 1;
        if let Some(place) = words.starts_with("say").then(|| self.presence(&room)).flatten() {
            self.said.insert(self.tag, place);
        }
        self.open.insert(self.tag, words.clone());
        format!("{} {words}\n", self.tag)
    }

    /// A content to be kept; mostly not too long.
    fn put(&mut self, dice: &mut Dice, token: &str) -> String {
        let size = dice.below(CONTENT as usize + 30);
        let content: String = token.chars().chain(['.']).cycle().take(size).collect();
        self.tag += 1;
        self.open.insert(self.tag, format!("put {size}"));
        let line = format!("{} put {size}\n{content}", self.tag);
        self.sending.insert(self.tag, content);
        line
    }

    /// One of its own contents, or one that there never was.
    fn get(&mut self, dice: &mut Dice) -> String {
        let n = dice.below(self.kept.len() + 1);
        let Some((hash, content)) = self.kept.iter().nth(n) else {
            return format!("get {}", "ab".repeat(32));
        };
        self.getting.insert(self.tag + 1, (String::new(), content.clone()));
        format!("get {hash}")
    }

    /// The answer to a request about media.
    fn media(&mut self, tag: u64, answer: &str) {
        let sent = self.sending.remove(&tag);
        let got = self.getting.remove(&tag);
        let words: Vec<&str> = answer.split(' ').collect();
        match (words.as_slice(), sent, got) {
            (["stored", hash, size], Some(content), _) => {
                assert_eq!(*size, content.len().to_string(), "{}: {answer}", self.name);
                self.kept.insert((*hash).to_owned(), content);
            }
            (["media", size], _, Some((came, kept))) => {
                assert_eq!(*size, kept.len().to_string(), "{}: {answer}", self.name);
                assert_eq!(came, kept, "{}: another content", self.name);
            }
            (["TooLong"], Some(content), _) => assert!(content.len() as u64 > CONTENT),
            (["NoSuchItem"], _, None) | (["Busy" | "StoreFull" | "StoreDown"], ..) => {}
            (_, None, None) => {}
            other => panic!("{}: {other:?}", self.name),
        }
    }

    /// Takes what came. `step` is when.
    pub fn receive(&mut self, bytes: &[u8], step: usize) {
        self.input.extend_from_slice(bytes);
        while let Some(end) = self.input.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            if self.heard.len() == HEARD {
                self.heard.pop_front();
            }
            self.heard.push_back(line.clone());
            assert!(self.bye.is_none(), "{} hears `{line}` after its end", self.name);
            self.line(&line, step);
        }
    }

    fn line(&mut self, line: &str, step: usize) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "hello" => {
                assert_eq!(rest, self.name, "logged in as somebody else");
                self.hello = Some(step);
                self.open.remove(&1);
            }
            "at" => {
                let (room, pos) = self.place(rest);
                self.join = Some((room, pos));
                self.attached.insert(room, pos);
            }
            "on" => {
                let (room, pos) = self.place(rest);
                let before = self.attached.insert(room, pos);
                assert!(before.is_none_or(|b| b == pos), "{} was at {before:?}, now {rest}", self.name);
            }
            "out" => {
                let room = rest.split(' ').next().unwrap_or_default();
                self.refused.insert(u64::from_str_radix(room, 16).expect("a room"));
            }
            "ev" => self.see(Shown::parse(rest)),
            "old" => self.shown.push(Shown::parse(rest)),
            "fed" => self.feed(rest),
            "own" => {
                let (_, rest) = self.answer(rest);
                match rest.strip_prefix("fed ") {
                    Some(rest) => self.feed(rest),
                    None => {
                        let shown = Shown::parse(&rest);
                        // The join that attached it is where it begins.
                        if self.join.take() == Some((shown.room, shown.pos)) {
                            self.shown.push(shown.clone());
                            self.live.push(shown);
                        } else {
                            self.see(shown);
                        }
                    }
                }
            }
            "part" => {
                let (tag, bytes) = rest.split_once(' ').expect("a tag");
                let tag = tag.parse().expect("a number");
                self.getting.get_mut(&tag).expect("it asked for that").0.push_str(bytes);
            }
            "ok" => {
                let (tag, rest) = self.answer(rest);
                self.media(tag, &rest);
                self.in_order(tag);
                self.value(&rest);
            }
            "no" => {
                let (tag, why) = self.answer(rest);
                self.media(tag, &why);
                self.member_still(tag, &why);
                self.failed |= tag == 1;
                self.blind |= tag == 0;
                self.in_order(tag);
            }
            "bye" => self.bye = Some(rest.to_owned()),
            _ => panic!("{} hears `{line}`", self.name),
        }
    }

    /// Takes the tag off an answer; each request has one.
    fn answer(&mut self, rest: &str) -> (u64, String) {
        let (tag, rest) = rest.split_once(' ').expect("a tag");
        let tag = tag.parse().expect("a number");
        assert!(tag == 0 || self.open.remove(&tag).is_some(), "{} hears twice of {tag}: {rest}", self.name);
        self.answered += 1;
        (tag, rest.to_owned())
    }

    /// Where it is attached from now on.
    fn place(&mut self, rest: &str) -> (u64, u64) {
        let mut words = rest.split(' ');
        let room = u64::from_str_radix(words.next().unwrap_or_default(), 16).expect("a room");
        let pos = words.next().and_then(|p| p.parse().ok()).expect("a position");
        self.names.insert(words.next().unwrap_or_default().to_owned(), room);
        *self.changes.entry(room).or_insert(0) += 1;
        (room, pos)
    }

    /// Whoever is attached all the time between a word and its refusal is a member.
    fn member_still(&mut self, tag: u64, why: &str) {
        let Some((room, change)) = self.said.remove(&tag) else { return };
        let same = self.changes.get(&room).copied().unwrap_or(0) == change;
        assert!(
            why != "NotMember" || !same || !self.attached.contains_key(&room),
            "{} is in {room:x} and may not speak there: {:#?}",
            self.name,
            self.heard
        );
    }

    fn in_order(&mut self, tag: u64) {
        if tag > 0 {
            assert!(tag > self.last_answer, "{}: the answer to {tag} comes too late", self.name);
            self.last_answer = tag;
        }
    }

    fn value(&mut self, rest: &str) {
        if let Some(event) = rest.strip_prefix("event ") {
            self.shown.push(Shown::parse(event));
        } else if let Some(events) = rest.strip_prefix("history") {
            let shown: Vec<Shown> = events.split('\t').skip(1).map(Shown::parse).collect();
            assert!(shown.windows(2).all(|w| w[0].pos < w[1].pos), "history rises: {shown:?}");
            self.shown.extend(shown);
        } else if let Some(events) = rest.strip_prefix("feed") {
            let cut = |e: &str| {
                let (pos, event) = e.split_once(' ').expect("a position");
                (pos.parse::<u64>().expect("a number"), Shown::parse(event))
            };
            let fed: Vec<_> = events.split('\t').skip(1).map(cut).collect();
            assert!(fed.windows(2).all(|w| w[0].0 < w[1].0), "a feed rises: {fed:?}");
            self.shown.extend(fed.into_iter().map(|f| f.1));
        }
    }

    fn see(&mut self, shown: Shown) {
        let last = self.attached.get(&shown.room).copied();
        let Some(last) = last else {
            panic!("{} is not in the room of {shown:?}: {:#?}", self.name, self.heard)
        };
        assert!(shown.prev == last, "{} has seen {last} and then {shown:?}: {:#?}", self.name, self.heard);
        assert!(shown.pos > shown.prev, "positions rise: {shown:?}");
        self.attached.insert(shown.room, shown.pos);
        if shown.member().is_some_and(|(who, how)| who == self.name && how != "joined") {
            self.attached.remove(&shown.room);
            *self.changes.entry(shown.room).or_insert(0) += 1;
        }
        self.shown.push(shown.clone());
        self.live.push(shown);
    }

    fn feed(&mut self, rest: &str) {
        let mut words = rest.splitn(3, ' ');
        let pos = words.next().and_then(|p| p.parse().ok()).expect("a position");
        let _with = words.next();
        let shown = Shown::parse(words.next().unwrap_or_default());
        let last = self.fed.last().map_or(0, |f| f.0);
        assert!(pos > last, "{}: the feed was at {last}, now {pos}", self.name);
        self.shown.push(shown.clone());
        self.fed.push((pos, shown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn hears(lines: &[&str]) -> bool {
        let (mut client, _) = LineClient::new("ann", "phone");
        client.open.extend([(2, "say".to_owned()), (3, "say".to_owned()), (4, "say".to_owned())]);
        client.names.insert("room0".to_owned(), 0xa);
        client.said.insert(4, (0xa, 1));
        catch_unwind(AssertUnwindSafe(|| {
            for line in lines {
                client.receive(format!("{line}\n").as_bytes(), 1);
            }
        }))
        .is_ok()
    }

    #[test]
    fn a_client_sees_what_no_server_may_do() {
        let start = ["hello ann", "at a 3 room0"];
        let good =
            [&start[..], &["ev a 4 3 bob said hi", "ok 2 pong", "own 3 a 5 4 ann said ho", "no 4 Busy"]];
        assert!(hears(&good.concat()));
        for bad in [
            &["ev a 5 4 bob said a gap"][..],
            &["ev a 4 3 bob said once", "ev a 4 3 bob said once"],
            &["ev b 4 3 bob said elsewhere"],
            &["ok 3 pong", "ok 2 pong"],
            &["ok 2 pong", "ok 2 pong"],
            &["ok 9 pong"],
            &["fed 5 bob b 1 0 bob said a", "fed 4 bob b 2 1 bob said b"],
            &["ok 2 history\ta 2 1 bob said a\ta 1 0 bob said b"],
            &["no 4 NotMember"],
            &["ev a 4 3 bob member ann left", "ev a 5 4 bob said after it"],
            &["bye drain", "ev a 4 3 bob said late"],
            &["hello bob"],
        ] {
            assert!(!hears(&[&start[..], bad].concat()), "not noticed: {bad:?}");
        }
    }
}
