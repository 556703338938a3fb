#![allow(clippy::unwrap_used)]

use super::*;
use crate::matrix::facts::{attr_key, facts, level};
use crate::matrix::ids::user_id;
use crate::matrix::pdu::{State, auth_types, authorise, check_auth_events, check_format, check_hash};
use crate::session::MATRIX_NATIVE;
use lavina_core::chat::{Entity, Entry, Outcome, Verdict};
use lavina_core::command::{Act, Command, EntityId, Join, ReactMode, Seed, Target};
use lavina_core::event::{Message, Native};
use lavina_core::ids::{AccountId, MsgId, Pos, RoomId};
use lavina_core::name::{RoomName, User};
use lavina_core::policy::{JoinRule, Levels, Policy};
use lavina_core::row::Change;
use lavina_core::settings::{FactsOf, LevelOf, SealsOf};
use lavina_core::text::{Octets, Rich};
use lavina_core::time::UnixMillis;
use std::collections::BTreeMap;
use std::sync::Arc;

const ROOM: RoomId = RoomId(7 << 8);

fn user(n: u64) -> User {
    User::new(AccountId(n << 6), UserName::new(&format!("user{n}")).unwrap())
}

/// A room with its whole log.
struct Rig {
    entity: Entity,
    settings: Settings,
    next: u64,
    log: BTreeMap<Pos, Arc<Event>>,
}

impl Rig {
    fn new() -> Rig {
        let settings = Settings {
            domain: Str::new("x.org"),
            facts: Some(FactsOf(facts)),
            level: Some(LevelOf(level)),
            seals: Some(SealsOf { seal, left }),
            ..Settings::default()
        };
        Rig { entity: Entity::fresh(&EntityId::Room(ROOM)), settings, next: 1, log: BTreeMap::new() }
    }

    fn run(&mut self, by: Option<u64>, act: Act) -> Outcome {
        let to = EntityId::Room(self.room().id);
        let command = match by {
            Some(n) => Command::by(&user(n), to, act),
            None => Command::by_server(to, act),
        };
        self.remember(&command.act);
        let at = UnixMillis(1_000 + 10 * self.next);
        let entry = Entry { command, first: Pos(self.next), at, again: false };
        let out = self.entity.apply(&entry, &self.settings);
        assert!(!matches!(out.verdict, Verdict::Refused(_)), "{:?}", out.verdict);
        self.next += out.used();
        for event in &out.events {
            self.log.insert(event.pos, event.clone());
        }
        for change in &out.changes {
            if let Change::Rewrite(event) = change {
                self.log.insert(event.pos, event.clone());
            }
        }
        out
    }

    /// Older entries that the act is about are read first, as a shard does.
    fn remember(&mut self, act: &Act) {
        let Entity::Room(room) = &mut self.entity else { unreachable!() };
        while let Some(pos) = room.needs(act) {
            room.remember(pos, self.log.get(&pos).cloned());
        }
    }

    fn say(&mut self, by: u64, text: &str) -> Pos {
        self.say_this(by, Message { body: Rich::plain(text), ..Message::default() })
    }

    fn say_this(&mut self, by: u64, message: Message) -> Pos {
        let subject = Str::new(user_id(&user(by), "x.org"));
        let out = self.run(Some(by), Act::Say { message: Box::new(message), subject, parties: None });
        out.events[0].pos
    }

    fn edit_policy(&mut self, by: Option<u64>, edit: impl FnOnce(&mut Policy)) -> Outcome {
        let from = self.room().head.clone().unwrap().policy;
        let mut to = from.clone();
        edit(&mut to);
        self.run(by, Act::SetPolicy { from: Box::new(from), to: Box::new(to) })
    }

    fn room(&self) -> &Room {
        match &self.entity {
            Entity::Room(room) => room,
            _ => unreachable!(),
        }
    }

    fn head(&self) -> RoomHead {
        self.room().head.clone().unwrap()
    }

    /// All events in their order, as other servers get them.
    fn pdus(&self) -> Vec<(Json, Seal)> {
        let head = self.head();
        let mut out = Vec::new();
        for event in self.log.values() {
            for nth in 0..=u8::MAX {
                if let Some(pdu) = pdu(&head, event, nth, "x.org") {
                    out.push((pdu, event.seal(nth).unwrap()));
                }
            }
        }
        out
    }

    fn id(&self, pos: Pos) -> String {
        event_id(&self.log[&pos].seal(0).unwrap())
    }
}

/// Every event has the right form and hash and id, follows the one before, is authorised by what is to authorise it, and
/// allowed by the state before it.
#[track_caller]
fn check_chain(rig: &Rig) -> Vec<Json> {
    let version = version(&rig.head()).unwrap();
    let pdus = rig.pdus();
    let mut state: BTreeMap<(String, String), usize> = BTreeMap::new();
    let ids: Vec<String> = pdus.iter().map(|(_, seal)| event_id(seal)).collect();
    for (n, (pdu, _)) in pdus.iter().enumerate() {
        assert_eq!(check_format(pdu, version), Ok(()), "{pdu:?}");
        assert_eq!(pdu::event_id(pdu, version).as_ref(), Ok(&ids[n]), "{pdu:?}");
        let redacted = pdu::redact(pdu, version) == *pdu && !check_hash(pdu).unwrap();
        assert!(redacted || check_hash(pdu) == Ok(true), "{pdu:?}");
        assert_eq!(pdu.int_at("depth"), Some(n as i64 + 1));
        let before: Vec<&str> = n.checked_sub(1).map(|n| ids[n].as_str()).into_iter().collect();
        assert_eq!(pdu.get("prev_events"), Some(&Json::from(before)));
        let (kind, sender) = (pdu.str_of("type").unwrap(), pdu.str_of("sender").unwrap());
        let key = pdu.str_of("state_key");
        let wanted = auth_types(kind, key, sender, pdu.get("content").unwrap(), version);
        let wanted: Vec<usize> = wanted
            .iter()
            .filter_map(|(kind, key)| state.get(&(kind.to_string(), key.to_string())).copied())
            .collect();
        let names: Vec<&str> = wanted.iter().map(|n| ids[*n].as_str()).collect();
        assert_eq!(pdu.get("auth_events"), Some(&Json::from(names)), "{pdu:?}");
        let auth = wanted.iter().map(|n| (&pdus[*n].0, false));
        // The create event of a room of version 12 says its room by its own name.
        if !version.room_id_is_hash() {
            assert_eq!(check_auth_events(pdu, auth, version), Ok(()));
        }
        let rules = State {
            get: &|kind, key| state.get(&(kind.to_owned(), key.to_owned())).map(|n| &pdus[*n].0),
            create_id: &ids[0],
            signed_by: &|server| server == "x.org",
            third_party: &|_, _| false,
        };
        assert_eq!(authorise(pdu, version, &rules), Ok(()), "{pdu:?}");
        if let Some(key) = key {
            state.insert((kind.to_owned(), key.to_owned()), n);
        }
        if n > 0 {
            assert_eq!(pdu.str_of("room_id"), rig.head().known.as_deref());
        }
    }
    if version.room_id_is_hash() {
        assert_eq!(rig.head().known.unwrap()[1..], ids[0][1..]);
    }
    pdus.into_iter().map(|(pdu, _)| pdu).collect()
}

fn join(create: Option<Seed>) -> Act {
    Act::Join(Box::new(Join { create, ..Join::default() }))
}

fn born_on_matrix(version: &str) -> Rig {
    let levels =
        Levels { speak: 0, invite: 0, kick: 50, ban: 50, redact: 50, topic: 50, state: 50, users: 0 };
    let policy = Policy { title: Str::new("N"), levels, invites: true, ..Policy::default() };
    let power = if version == "12" { power::CREATOR } else { 100 };
    let mut seed = Seed::new(Some(RoomName::new("lobby").unwrap()), policy, power);
    let order = vec![attr_key("m.room.guest_access", "")];
    seed.open = Some(Opening { version: Str::new(version), content: Json::object(), order }.write());
    seed.attrs.push((attr_key("m.room.guest_access", ""), Octets::from(b"{\"guest_access\":\"can_join\"}")));
    seed.topic = Some(Rich::plain("T"));
    let mut rig = Rig::new();
    rig.run(Some(1), join(Some(seed)));
    rig
}

fn opened_later(policy: Policy) -> Rig {
    let mut rig = Rig::new();
    rig.run(Some(1), join(Some(Seed::new(Some(RoomName::new("lobby").unwrap()), policy, power::OWNER))));
    rig.say(1, "before");
    rig
}

fn open(rig: &mut Rig) {
    rig.run(None, Act::Open { how: Opening::plain("12").write(), parties: None, shown: vec![] });
}

/// What happens in a room.
fn live(rig: &mut Rig) {
    rig.run(Some(2), join(None));
    rig.run(Some(1), Act::Invite { user: user(3), reason: None, native: None });
    rig.run(Some(3), join(None));
    rig.run(Some(1), Act::SetPower { user: user(2), power: 50, voiced: None, reason: None });
    rig.run(Some(2), Act::SetTopic(Rich::plain("new")));
    let first = rig.say(2, "hello");
    let native = pack("m.room.message", &object! { "msgtype" => "m.text", "body" => "own", "x.y" => 1 });
    assert_eq!(native.protocol, MATRIX_NATIVE);
    let body = Rich::plain("own");
    let second = rig.say_this(3, Message { body, native: Some(native), ..Message::default() });
    for n in 0..40 {
        rig.say(1, &format!("more {n}"));
    }
    // Both are not in memory any more.
    let id = |pos| Some(MsgId { room: rig.room().id, pos });
    let (reply, thread) = (id(second), id(first));
    let answer = Message { body: Rich::plain("user1: yes"), reply, thread, ..Message::default() };
    let answer = rig.say_this(2, answer);
    let edited = Message { body: Rich::plain("hello!"), ..Message::default() };
    rig.run(Some(2), Act::Edit { target: Target::Pos(first), message: Box::new(edited) });
    let react =
        |mode| Act::React { target: Target::Pos(first), keys: vec![Str::new("+")], mode, native: None };
    rig.run(Some(3), react(ReactMode::Add));
    rig.run(Some(3), react(ReactMode::Remove));
    let redact = |pos| Act::Redact { target: Target::Pos(pos), reason: Some(Str::new("r")), native: None };
    rig.run(Some(1), redact(second));
    rig.run(Some(2), redact(answer));
    rig.run(Some(1), Act::Kick { user: user(3), reason: Some(Str::new("out")), native: None });
    rig.run(Some(1), Act::Ban { user: user(3), reason: None });
    rig.run(Some(1), Act::Unban { user: user(3) });
    rig.edit_policy(Some(1), |p| p.title = Str::new("Other"));
    rig.edit_policy(Some(1), |p| p.levels.speak = 10);
    rig.run(Some(2), Act::Leave { reason: None, quit: false, same: 0 });
}

#[test]
fn rooms_of_all_versions_are_chains() {
    for version in ["6", "7", "8", "9", "10", "11", "12"] {
        let mut rig = born_on_matrix(version);
        live(&mut rig);
        let pdus = check_chain(&rig);
        let pieces: usize = rig.log.values().map(|e| e.sealed.as_ref().map_or(0, |s| s.names.len())).sum();
        assert_eq!(pdus.len(), pieces, "each event is a link");
        assert_eq!(rig.head().known.unwrap().contains(":x.org"), version != "12");
    }
}

#[test]
fn what_is_said_of_older_entries_names_them_by_their_seals() {
    let mut rig = born_on_matrix("11");
    live(&mut rig);
    let find = |rig: &Rig, body: &str| {
        let has = |e: &&Arc<Event>| matches!(&e.what, What::Said(m) if m.body.text == body);
        rig.log.values().find(has).map(|e| e.pos)
    };
    let first = rig.id(find(&rig, "hello").unwrap());
    let pdus = check_chain(&rig);
    let of = |kind: &str, rel: &str| {
        let is = |p: &&Json| {
            p.str_of("type") == Some(kind)
                && p.at(&["content", "m.relates_to", "rel_type"]).and_then(Json::as_str) == Some(rel)
        };
        let found = pdus.iter().find(is).unwrap();
        found.at(&["content", "m.relates_to", "event_id"]).and_then(Json::as_str).unwrap().to_owned()
    };
    assert_eq!(of("m.room.message", "m.replace"), first);
    assert_eq!(of("m.reaction", "m.annotation"), first);
    // A redaction leaves no content, and the id that it had.
    let gone: Vec<&Json> = pdus
        .iter()
        .filter(|p| p.str_of("type") == Some("m.room.message") && !check_hash(p).unwrap())
        .collect();
    assert_eq!(gone.len(), 2);
    assert!(gone.iter().all(|p| p.get("content") == Some(&Json::object())));
    let redactions: Vec<&Json> =
        pdus.iter().filter(|p| p.str_of("type") == Some("m.room.redaction")).collect();
    assert_eq!(redactions.len(), 3, "one of a reaction");
    for redaction in redactions {
        let target = redaction.at(&["content", "redacts"]).and_then(Json::as_str).unwrap();
        assert!(pdus.iter().any(|p| pdu::event_id(p, Version::V11).as_deref() == Ok(target)));
    }
}

#[test]
fn a_room_opened_later_is_a_chain_from_there_on() {
    for join_rule in [JoinRule::Public, JoinRule::Invite, JoinRule::Knock] {
        let mut rig = opened_later(Policy::default());
        rig.run(Some(2), join(None));
        rig.run(Some(1), Act::Invite { user: user(4), reason: None, native: None });
        rig.run(Some(1), Act::Ban { user: user(5), reason: None });
        rig.edit_policy(Some(1), |p| p.join = join_rule);
        if join_rule == JoinRule::Knock {
            rig.run(Some(6), Act::Knock { reason: None });
        }
        open(&mut rig);
        let before = rig.log.values().filter(|e| e.sealed.is_none()).count();
        assert!(before >= 5 && rig.log.values().skip(before).all(|e| e.sealed.is_some()));
        // Ops change what takes more on Matrix, and so does the server: it is done by somebody's hand.
        rig.run(Some(1), Act::SetPower { user: user(2), power: 50, voiced: None, reason: None });
        rig.edit_policy(Some(2), |p| p.title = Str::new("By an op"));
        rig.edit_policy(None, |p| p.title = Str::new("By the server"));
        rig.run(None, Act::Kick { user: user(2), reason: None, native: None });
        rig.run(Some(1), Act::Invite { user: user(2), reason: None, native: None });
        rig.run(Some(2), join(None));
        rig.say(2, "after");
        let pdus = check_chain(&rig);
        let last = pdus.iter().rev().find(|p| p.str_of("type") == Some("m.room.join_rules")).unwrap();
        let word = match join_rule {
            JoinRule::Public => "public",
            JoinRule::Invite => "invite",
            JoinRule::Knock => "knock",
        };
        assert_eq!(last.str_at("content.join_rule"), Some(word));
        let pieces = |rig: &Rig| -> usize {
            rig.log.values().map(|e| e.sealed.as_ref().map_or(0, |s| s.names.len())).sum()
        };
        assert_eq!(pdus.len(), pieces(&rig), "{join_rule:?}: each event is a link");
        assert_eq!(pdus[0].str_of("sender"), Some("@_server:x.org"));
        live_on(&mut rig);
        let pdus = check_chain(&rig);
        assert_eq!(pdus.len(), pieces(&rig), "{join_rule:?}");
    }
}

/// What the rules of Matrix would not have.
fn live_on(rig: &mut Rig) {
    // In past a closed door, by a rank that outlived leaving.
    rig.run(Some(1), Act::SetPower { user: user(2), power: 30, voiced: None, reason: None });
    rig.run(Some(2), Act::Leave { reason: None, quit: false, same: 0 });
    rig.run(Some(2), join(None));
    // The owner acts from outside: somebody is there to do it.
    rig.run(Some(1), Act::Invite { user: user(7), reason: None, native: None });
    rig.run(Some(7), join(None));
    rig.run(Some(1), Act::SetPower { user: user(7), power: 50, voiced: None, reason: None });
    rig.run(Some(1), Act::Leave { reason: None, quit: false, same: 0 });
    rig.run(Some(1), Act::Ban { user: user(2), reason: None });
    rig.run(Some(1), join(None));
    rig.run(None, Act::Destroy { reason: None, instead: None });
}

#[test]
fn who_speaks_from_outside_is_no_link() {
    let mut rig = opened_later(Policy { outsiders: true, ..Policy::default() });
    open(&mut rig);
    let links = check_chain(&rig).len();
    let pos = rig.say(9, "from outside");
    let entry = rig.log[&pos].clone();
    assert_eq!(
        (entry.seal(0), said(&entry).unwrap().content.str_of("body").map(str::to_owned)),
        (None, Some("from outside".to_owned()))
    );
    rig.say(1, "from inside");
    assert_eq!(check_chain(&rig).len(), links + 1);
}

#[test]
fn where_nobody_is_there_to_let_one_in_coming_in_is_no_link() {
    let mut rig = opened_later(Policy { join: JoinRule::Invite, ..Policy::default() });
    open(&mut rig);
    rig.run(Some(1), Act::Leave { reason: None, quit: false, same: 0 });
    let links = check_chain(&rig).len();
    // By the rank that outlived leaving.
    rig.run(Some(1), join(None));
    rig.say(1, "alone");
    rig.run(Some(1), Act::Invite { user: user(2), reason: None, native: None });
    rig.edit_policy(Some(1), |p| p.join = JoinRule::Public);
    assert_eq!(check_chain(&rig).len(), links);
    let rule = &rig.room().facts[&(Str::new("m.room.join_rules"), Str::default())];
    assert!(
        rule.seal.is_none() && rule.sealed().is_some(),
        "it is stated, but the chain has what was before"
    );
    assert_eq!(Json::parse(&rule.fact.content).unwrap().str_of("join_rule"), Some("public"));
}

#[test]
fn a_seal_costs_little() {
    let encode = lavina_core::row::encode::<Event>;
    for version in ["10", "11", "12"] {
        let mut rig = born_on_matrix(version);
        let native = pack("m.room.message", &object! { "msgtype" => "m.text", "body" => "own" });
        for native in [None, Some(native)] {
            let pos = rig.say_this(1, Message { body: Rich::plain("own"), native, ..Message::default() });
            let sealed = Event::clone(&rig.log[&pos]);
            assert_eq!(sealed.sealed.as_ref().unwrap().content, None, "it says so itself");
            let cost = encode(&sealed).len() - encode(&Event { sealed: None, ..sealed }).len();
            assert!(cost <= if version == "12" { 160 } else { 195 }, "{version}: {cost} bytes");
        }
    }
}

#[test]
fn a_dialog_is_a_chain() {
    let id = RoomId::dialog(user(1).id, user(2).id, Settings::default().shards);
    let mut rig = Rig::new();
    rig.entity = Entity::fresh(&EntityId::Room(id));
    let parties = Some(Box::new((user(1), user(2))));
    rig.run(None, Act::Open { how: Opening::plain("12").write(), parties, shown: vec![] });
    rig.say(1, "psst");
    rig.run(Some(2), Act::Show { display: Some(Str::new("Two")), native: None });
    rig.say_this(
        2,
        Message {
            body: Rich::plain("yes"),
            native: Some(Native { protocol: MATRIX_NATIVE + 1, bytes: Octets::from(b"<x/>") }),
            ..Message::default()
        },
    );
    let pdus = check_chain(&rig);
    assert_eq!(pdus.last().unwrap().str_at("content.body"), Some("yes"));
}

#[test]
fn many_members_are_links_all() {
    let mut rig = opened_later(Policy { join: JoinRule::Invite, ..Policy::default() });
    rig.edit_policy(Some(1), |p| p.join = JoinRule::Public);
    for n in 2..=300 {
        rig.run(Some(n), join(None));
    }
    rig.edit_policy(Some(1), |p| p.join = JoinRule::Invite);
    open(&mut rig);
    let pdus = check_chain(&rig);
    assert_eq!(pdus.iter().filter(|p| p.str_at("content.membership") == Some("join")).count(), 301);
    assert_eq!(pdus.last().unwrap().str_at("content.membership"), Some("leave"));
}

#[test]
fn what_is_not_sealed_stays_so() {
    let mut rig = Rig::new();
    rig.settings.seals = None;
    rig.run(Some(1), join(Some(Seed::new(None, Policy::default(), power::OWNER))));
    open(&mut rig);
    rig.settings.seals = Some(SealsOf { seal, left });
    rig.say(1, "still open, as it was");
    assert!(rig.log.values().all(|e| e.sealed.is_none()) && rig.head().known.is_none());
}
