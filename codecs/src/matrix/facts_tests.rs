#![allow(clippy::unwrap_used)]

use super::*;
use lavina_core::chat::{Entity, Entry, Outcome, Verdict};
use lavina_core::command::{Act, Command, EntityId, Join, Seed};
use lavina_core::ids::{Pos, RoomId};
use lavina_core::name::{RoomName, UserName};
use lavina_core::policy::{JoinRule, Levels};
use lavina_core::settings::{FactsOf, LevelOf};
use lavina_core::time::UnixMillis;

const ROOM: RoomId = RoomId(7 << 8);

/// A room, and the counters of its shard.
struct Rig {
    entity: Entity,
    settings: Settings,
    next: u64,
}

fn user(n: u64) -> User {
    User::new(AccountId(n << 6), UserName::new(&format!("user{n}")).unwrap())
}

impl Rig {
    fn new() -> Rig {
        let domain = Str::new("x.org");
        let (facts, level) = (Some(FactsOf(facts)), Some(LevelOf(level)));
        let settings = Settings { domain, facts, level, ..Settings::default() };
        Rig { entity: Entity::fresh(&EntityId::Room(ROOM)), settings, next: 1 }
    }

    fn run(&mut self, by: Option<u64>, act: Act) -> Outcome {
        let to = EntityId::Room(ROOM);
        let command = match by {
            Some(n) => Command::by(&user(n), to, act),
            None => Command::by_server(to, act),
        };
        let at = UnixMillis(1_000 + 10 * self.next);
        let entry = Entry { command, first: Pos(self.next), at, again: false };
        let out = self.entity.apply(&entry, &self.settings);
        assert!(!matches!(out.verdict, Verdict::Refused(_)), "{:?}", out.verdict);
        self.next += out.used();
        out
    }

    /// The facts that an act sets: type, state key, content, sender.
    fn facts(&mut self, by: Option<u64>, act: Act) -> Vec<(String, String, Json, String)> {
        let out = self.run(by, act);
        let all = out.events.iter().flat_map(|e| e.facts.iter().map(move |f| (e, f)));
        all.map(|(event, fact)| {
            let sender = super::super::event::sender(fact.by.as_ref().unwrap_or(&event.by), "x.org");
            let content = Json::parse(&fact.content).unwrap();
            (fact.kind.to_string(), fact.key.to_string(), content, sender)
        })
        .collect()
    }

    fn kinds(&mut self, by: Option<u64>, act: Act) -> Vec<String> {
        self.facts(by, act).into_iter().map(|f| f.0).collect()
    }

    fn room(&self) -> &Room {
        match &self.entity {
            Entity::Room(room) => room,
            _ => unreachable!(),
        }
    }

    fn content(&self, kind: &str, key: &str) -> Json {
        current(self.room(), kind, key).unwrap_or_default()
    }

    fn edit(&mut self, by: Option<u64>, edit: impl FnOnce(&mut Policy)) -> Vec<String> {
        let from = self.room().head.clone().unwrap().policy;
        let mut to = from.clone();
        edit(&mut to);
        self.kinds(by, Act::SetPolicy { from: Box::new(from), to: Box::new(to) })
    }
}

fn join(create: Option<Seed>) -> Act {
    Act::Join(Box::new(Join { create, ..Join::default() }))
}

fn seed(version: &str) -> Seed {
    let levels =
        Levels { speak: 0, invite: 0, kick: 50, ban: 50, redact: 50, topic: 50, state: 50, users: 0 };
    let policy = Policy { title: Str::new("N"), levels, invites: true, ..Policy::default() };
    let power = if version == "12" { power::CREATOR } else { 100 };
    let mut seed = Seed::new(Some(RoomName::new("lobby").unwrap()), policy, power);
    let order = vec![attr_key("z.last", ""), attr_key("a.first", "k")];
    let content = object! { "type" => "m.space" };
    seed.open = Some(Opening { version: Str::new(version), content, order }.write());
    let one = |kind: &str, key: &str| (attr_key(kind, key), Octets::from(b"{\"a\":1}"));
    seed.attrs = vec![one("z.last", ""), one("a.first", "k")];
    seed.attrs.push((attr_key("m.room.guest_access", ""), Octets::from(b"{\"guest_access\":\"can_join\"}")));
    seed.topic = Some(Rich::plain("T"));
    seed
}

#[test]
fn a_room_born_open_states_itself_in_the_order_of_the_specification() {
    for version in ["12", "10"] {
        let mut rig = Rig::new();
        let facts = rig.facts(Some(1), join(Some(seed(version))));
        let kinds: Vec<&str> = facts.iter().map(|f| f.0.as_str()).collect();
        let want = [
            "m.room.create",
            "m.room.member",
            POWER_LEVELS,
            "m.room.canonical_alias",
            "m.room.join_rules",
            "m.room.history_visibility",
            "m.room.guest_access",
            "z.last",
            "a.first",
            "m.room.name",
            "m.room.topic",
        ];
        assert_eq!(kinds, want);
        assert!(facts.iter().all(|f| f.3 == "@user1:x.org"));
        let create = &facts[0].2;
        assert_eq!((create.str_of("type"), create.str_of("room_version")), (Some("m.space"), Some(version)));
        assert_eq!(create.str_of("creator"), (version == "10").then_some("@user1:x.org"));
        let mine = facts[2].2.at(&["users", "@user1:x.org"]).and_then(Json::as_int);
        assert_eq!(mine, (version == "10").then_some(100), "a creator is not named");
        assert_eq!(facts[1].2, object! { "membership" => "join", "displayname" => "user1" });
        assert_eq!(facts[3].2.str_of("alias"), Some("#lobby:x.org"));
        assert_eq!(rig.content("m.room.topic", "").str_of("topic"), Some("T"));
    }
}

#[test]
fn a_room_opened_later_is_stated_by_the_server() {
    let mut rig = Rig::new();
    let name = RoomName::new("lobby").unwrap();
    rig.run(Some(1), join(Some(Seed::new(Some(name), Policy::default(), power::OWNER))));
    rig.run(Some(2), join(None));
    rig.run(Some(1), Act::Invite { user: user(3), reason: None, native: None });
    let facts =
        rig.facts(None, Act::Open { how: Opening::plain("12").write(), parties: None, shown: vec![] });
    let seen: Vec<(&str, &str, &str)> = facts.iter().map(|f| (&*f.0, &*f.1, &*f.3)).collect();
    let (server, one, two, three) = ("@_server:x.org", "@user1:x.org", "@user2:x.org", "@user3:x.org");
    let want = [
        ("m.room.create", "", server),
        ("m.room.member", server, server),
        (POWER_LEVELS, "", server),
        ("m.room.join_rules", "", server),
        ("m.room.member", one, one),
        ("m.room.member", two, two),
        ("m.room.canonical_alias", "", server),
        ("m.room.history_visibility", "", server),
        ("m.room.member", three, one),
        ("m.room.member", server, server),
    ];
    assert_eq!(seen, want);
    assert_eq!(rig.content("m.room.member", server).str_of("membership"), Some("leave"));
    let levels = rig.content(POWER_LEVELS, "");
    assert_eq!(levels.at(&["users", one]).and_then(Json::as_int), Some(100));
    assert_eq!(levels::read(&levels), Levels::default());
}

#[test]
fn many_members_take_several_entries() {
    let mut rig = Rig::new();
    rig.run(Some(1), join(Some(Seed::new(None, Policy::default(), power::OWNER))));
    for n in 2..=600 {
        rig.run(Some(n), join(None));
    }
    let out = rig.run(None, Act::Open { how: Opening::plain("12").write(), parties: None, shown: vec![] });
    assert_eq!(out.events.iter().map(|e| e.facts.len()).collect::<Vec<_>>(), [255, 255, 96]);
    for n in [1, 250, 251, 600] {
        assert_eq!(
            rig.content("m.room.member", &format!("@user{n}:x.org")).str_of("membership"),
            Some("join")
        );
    }
    assert_eq!(rig.content("m.room.member", "@_server:x.org").str_of("membership"), Some("leave"));
}

#[test]
fn people_come_and_go() {
    let mut rig = Rig::new();
    rig.run(Some(1), join(Some(seed("11"))));
    let native = member::native(&object! { "is_direct" => true, "displayname" => "Two" });
    let facts = rig.facts(Some(1), Act::Invite { user: user(2), reason: Some(Str::new("r")), native });
    let invited = object! {
        "membership" => "invite", "reason" => "r", "is_direct" => true, "displayname" => "Two",
    };
    assert_eq!(facts, [("m.room.member".into(), "@user2:x.org".into(), invited, "@user1:x.org".into())]);
    let facts = rig.facts(Some(2), join(None));
    assert_eq!((facts.len(), facts[0].3.as_str()), (1, "@user2:x.org"));
    let power = |power| Act::SetPower { user: user(2), power, voiced: None, reason: None };
    assert_eq!(rig.kinds(Some(1), power(50)), [POWER_LEVELS]);
    let levels = rig.content(POWER_LEVELS, "");
    assert_eq!(levels.at(&["users", "@user2:x.org"]).and_then(Json::as_int), Some(50));
    // A kick takes the rank.
    let facts = rig.facts(Some(1), Act::Kick { user: user(2), reason: Some(Str::new("why")), native: None });
    let kinds: Vec<&str> = facts.iter().map(|f| f.0.as_str()).collect();
    assert_eq!(kinds, ["m.room.member", POWER_LEVELS]);
    assert_eq!(facts[0].2, object! { "membership" => "leave", "reason" => "why" });
    let levels = rig.content(POWER_LEVELS, "");
    assert_eq!(levels.at(&["users", "@user2:x.org"]).and_then(Json::as_int), Some(0));
    for (act, word) in
        [(Act::Ban { user: user(2), reason: None }, "ban"), (Act::Unban { user: user(2) }, "leave")]
    {
        assert_eq!(rig.kinds(Some(1), act), ["m.room.member"]);
        assert_eq!(rig.content("m.room.member", "@user2:x.org").str_of("membership"), Some(word));
    }
    let show = Act::Show { display: Some(Str::new("One")), native: None };
    assert_eq!(rig.kinds(Some(1), show), ["m.room.member"]);
    assert_eq!(rig.content("m.room.member", "@user1:x.org").str_of("displayname"), Some("One"));
    let facts = rig.facts(None, Act::Destroy { reason: None, instead: None });
    assert_eq!((facts.len(), facts[0].3.as_str()), (1, "@user1:x.org"));
}

#[test]
fn what_others_change_is_stated_as_it_differs() {
    let mut rig = Rig::new();
    rig.run(Some(1), join(Some(seed("11"))));
    assert_eq!(rig.edit(Some(1), |p| p.title = Str::new("Other")), ["m.room.name"]);
    assert_eq!(rig.edit(Some(1), |p| p.levels.speak = 10), [POWER_LEVELS]);
    assert_eq!(rig.content(POWER_LEVELS, "").get("events_default").and_then(Json::as_int), Some(10));
    assert!(rig.edit(Some(1), |p| p.secret = true).is_empty());
    let both = rig.edit(Some(1), |p| {
        p.join = JoinRule::Knock;
        p.history = lavina_core::policy::Visibility::Invited;
    });
    assert_eq!(both, ["m.room.join_rules", "m.room.history_visibility"]);
    assert_eq!(rig.kinds(Some(1), Act::SetTopic(Rich::plain("new"))), ["m.room.topic"]);
    // The closed door of other protocols asks for more than the invite level.
    rig.edit(Some(1), |p| p.invites = false);
    assert_eq!(rig.content(POWER_LEVELS, "").get("invite").and_then(Json::as_int), Some(50));
    let value = Octets::from(b"{\"x\":1}");
    let set = Act::SetRoomAttr { key: attr_key("my.type", "k"), value };
    assert_eq!(rig.kinds(Some(1), set), ["my.type"]);
    assert_eq!(rig.content("my.type", "k"), object! { "x" => 1 });
    let other = Act::SetRoomAttr { key: Str::new("other"), value: Octets::from(b"x") };
    assert!(rig.kinds(Some(1), other).is_empty());
}

#[test]
fn power_levels_keep_what_is_not_ours_and_say_what_holds() {
    let mut rig = Rig::new();
    rig.run(Some(1), join(Some(seed("11"))));
    rig.run(Some(2), join(None));
    let raw = object! {
        "users" => object! { "@user1:x.org" => 100, "@far:y.org" => 30 },
        "events" => object! { "free.type" => 0 },
        "x.y" => "kept",
    };
    let from = rig.room().head.clone().unwrap().policy;
    let to = Policy { levels: levels::read(&raw), ..from.clone() };
    let act = Act::Amend {
        policy: Some(Box::new((from, to))),
        powers: vec![(user(2), 20)],
        key: attr_key(POWER_LEVELS, ""),
        value: Octets::from(raw.to_bytes()),
        topic: None,
    };
    assert_eq!(rig.kinds(Some(1), act), [POWER_LEVELS]);
    let content = rig.content(POWER_LEVELS, "");
    let mut want = raw;
    want.as_object_mut().unwrap().get_mut("users").unwrap().set("@user2:x.org", 20);
    assert_eq!(content, want, "what was set, and the power that was given with it");
    assert_eq!(level(rig.room(), &attr_key("free.type", "")), Some(0));
    assert_eq!(level(rig.room(), &attr_key("else", "")), Some(50));
    assert_eq!(level(rig.room(), "other"), None);
    let power = Act::SetPower { user: user(2), power: 0, voiced: None, reason: None };
    rig.run(Some(1), power);
    let users = rig.content(POWER_LEVELS, "").get("users").cloned().unwrap();
    let want = object! { "@user1:x.org" => 100, "@user2:x.org" => 0, "@far:y.org" => 30 };
    assert_eq!(users, want);
}

#[test]
fn a_dialog_is_a_room_that_nobody_rules() {
    let id = RoomId::dialog(user(1).id, user(2).id, Settings::default().shards);
    let mut rig = Rig::new();
    rig.entity = Entity::fresh(&EntityId::Room(id));
    let parties = Some(Box::new((user(1), user(2))));
    rig.run(None, Act::Open { how: Opening::plain("12").write(), parties, shown: vec![] });
    assert_eq!(rig.content("m.room.join_rules", "").str_of("join_rule"), Some("invite"));
    let content = rig.content(POWER_LEVELS, "");
    assert_eq!(levels::read(&content), NOBODY);
    assert_eq!(rig.content("m.room.member", "@user2:x.org").str_of("membership"), Some("join"));
}

#[test]
fn openings_read_back() {
    let opening = Opening {
        version: Str::new("12"),
        content: object! { "m.federate" => false },
        order: vec![attr_key("a", "b")],
    };
    assert_eq!(Opening::read(&opening.write()), Some(opening));
    assert_eq!(Opening::read(b"x"), None);
    assert_eq!(kind_and_key(&attr_key("a", "b")), Some(("a", "b")));
}
