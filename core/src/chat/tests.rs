//! Rooms, dialogs, accounts: what acts come to, and that their changes are exactly what changed.

use super::{
    Entity, Outcome, Verdict,
    alias::tests::{alias, come_as},
    follows_of,
    room::Room,
    testing::*,
};
use crate::{
    command::{Act, Command, EntityId, Join, ReactMode, Seed, Step, Target},
    event::{How, LiveWhat, Message, What},
    ids::{OnceKey, Pos, RoomId},
    name::{User, UserName},
    policy::{JoinRule, Membership, Policy, Power, ReadTo, power},
    presence::Contact,
    refusal::Refusal,
    row::{AccountRows, Change, Page, RoomHead, RoomRows},
    text::{Octets, Rich, Str},
    time::UnixMillis,
};
use alloc::{boxed::Box, vec, vec::Vec};
use proptest::prelude::*;

const ROOM: RoomId = RoomId(64);

fn join(create: bool) -> Act {
    let seed = Seed::new(Some(room_name("lobby")), Policy::default(), power::OWNER);
    Act::Join(Box::new(Join { create: create.then_some(seed), ..Join::default() }))
}

fn leave() -> Act {
    Act::Leave { reason: None, quit: false, same: 0 }
}

fn say(text: &str) -> Act {
    let message = Message { body: Rich::plain(text), client_id: Some(Str::new(text)), ..Message::default() };
    Act::Say { message: Box::new(message), subject: Str::new("x"), parties: None }
}

fn see(pos: u64, thread: &str) -> Act {
    let (thread, at) = (Str::new(thread), UnixMillis(pos));
    Act::See(ReadTo { thread, pos: Pos(pos), name: Str::new("e"), at, seal: None })
}

fn power_to(user: &User, power: Power) -> Act {
    Act::SetPower { user: user.clone(), power, voiced: None, reason: None }
}

fn kick(user: &User) -> Act {
    Act::Kick { user: user.clone(), reason: None, native: None }
}

fn ban(user: &User) -> Act {
    Act::Ban { user: user.clone(), reason: None }
}

fn invite(user: &User) -> Act {
    Act::Invite { user: user.clone(), reason: None, native: None }
}

/// A room of an owner, user 1, and of these with these powers.
fn room(others: &[(u64, Power)]) -> Rig {
    let mut r = Rig::new(EntityId::Room(ROOM));
    r.by(&user(1), join(true));
    for (n, power) in others {
        r.by(&user(*n), join(false));
        r.server(power_to(&user(*n), *power));
    }
    r
}

fn state(r: &Rig) -> &Room {
    let Entity::Room(room) = &r.entity else { unreachable!() };
    room
}

fn membership(r: &Rig, n: u64) -> Membership {
    state(r).standing(user(n).id).membership
}

fn set_policy(r: &mut Rig, edit: impl FnOnce(&mut Policy)) -> Outcome {
    let from = state(r).head.as_ref().unwrap().policy.clone();
    let mut to = from.clone();
    edit(&mut to);
    r.server(Act::SetPolicy { from: Box::new(from), to: Box::new(to) })
}

fn refused(out: &Outcome) -> Option<Refusal> {
    match &out.verdict {
        Verdict::Refused(why) => Some(why.clone()),
        _ => None,
    }
}

#[test]
fn the_first_join_makes_the_room() {
    let mut r = Rig::new(EntityId::Room(ROOM));
    r.refuses(&user(1), join(false), Refusal::NoSuchRoom);
    let out = r.by(&user(1), join(true));
    assert!(matches!(out.events[0].what, What::Created(_)));
    assert_eq!(out.events[1].prev, out.events[0].pos);
    assert!(out.events[1].at > out.events[0].at);
    assert_eq!(state(&r).standing(user(1).id).power, power::OWNER);
    assert!(matches!(r.by(&user(1), join(true)).verdict, Verdict::Already(p) if p == out.events[1].pos));
}

#[test]
fn power_rules() {
    let (owner, op, op2, half, none) = (user(1), user(2), user(3), user(4), user(5));
    let cases: [(&User, Act, Option<Refusal>); 12] = [
        (&none, kick(&half), Some(Refusal::Power(25))),
        (&half, kick(&op), Some(Refusal::Outranked)),
        (&op, kick(&op2), Some(Refusal::Outranked)),
        (&op, ban(&owner), Some(Refusal::Outranked)),
        (&half, ban(&none), Some(Refusal::Power(50))),
        (&op, power_to(&none, 100), Some(Refusal::Power(100))),
        (&op, power_to(&op, 0), None),
        (&op, power_to(&op2, 0), Some(Refusal::Outranked)),
        (&half, power_to(&none, power::VOICE), None),
        (&half, power_to(&none, power::HELPER), Some(Refusal::Power(50))),
        (&owner, power_to(&owner, 0), Some(Refusal::LastOwner)),
        (&owner, kick(&user(9)), Some(Refusal::TargetNotMember)),
    ];
    for (i, (who, act, why)) in cases.into_iter().enumerate() {
        let mut r = room(&[(2, 50), (3, 50), (4, 25), (5, 0)]);
        assert_eq!(refused(&r.by(who, act)), why, "case {i}");
    }
}

#[test]
fn owners_take_ownership_from_each_other_unless_the_room_is_open() {
    let mut r = room(&[(2, 100), (3, 50)]);
    r.refuses(&user(1), kick(&user(2)), Refusal::Outranked);
    r.refuses(&user(3), power_to(&user(2), 0), Refusal::Outranked);
    assert_eq!(refused(&r.by(&user(1), power_to(&user(2), 0))), None);
    r.refuses(&user(1), power_to(&user(1), 0), Refusal::LastOwner);
    r.server(power_to(&user(2), 100));
    r.server(Act::Open { how: Octets::from(b"x"), parties: None, shown: Vec::new() });
    r.refuses(&user(1), power_to(&user(2), 0), Refusal::Outranked);
}

#[test]
fn ranks_outlive_leaving_but_not_a_kick() {
    let mut r = room(&[(2, 50), (3, -1), (4, 0)]);
    for n in [2, 3, 4] {
        r.by(&user(n), leave());
    }
    assert!(state(&r).members.contains_key(&user(2).id) && !state(&r).members.contains_key(&user(4).id));
    for (n, power) in [(2, 50), (3, -1), (4, 0)] {
        r.by(&user(n), join(false));
        assert_eq!(state(&r).standing(user(n).id).power, power);
    }
    r.by(&user(1), kick(&user(2)));
    r.by(&user(2), join(false));
    assert_eq!(state(&r).standing(user(2).id).power, 0);
}

#[test]
fn bans_invitations_and_knocks() {
    let mut r = room(&[(2, 0)]);
    let out = r.by(&user(1), ban(&user(2)));
    let What::Member(m) = &out.events[0].what else { unreachable!() };
    assert_eq!((m.before.membership, m.after.membership), (Membership::Joined, Membership::Banned));
    assert_eq!((out.events.len(), m.how, out.tell[0].0), (1, How::Ban, user(2).id));
    r.refuses(&user(2), join(false), Refusal::Banned);
    r.refuses(&user(1), invite(&user(2)), Refusal::Banned);
    r.by(&user(1), ban(&user(7)));
    r.refuses(&user(7), join(false), Refusal::Banned);
    r.by(&user(1), Act::Unban { user: user(2) });
    r.by(&user(2), join(false));
    r.refuses(&user(1), invite(&user(2)), Refusal::AlreadyMember);
    set_policy(&mut r, |p| p.join = JoinRule::Invite);
    r.refuses(&user(3), join(false), Refusal::InviteOnly);
    r.refuses(&user(3), Act::Knock { reason: None }, Refusal::InviteOnly);
    r.refuses(&user(2), invite(&user(3)), Refusal::Power(25));
    r.by(&user(1), invite(&user(3)));
    r.by(&user(3), join(false));
    assert_eq!(membership(&r, 3), Membership::Joined);
    set_policy(&mut r, |p| p.join = JoinRule::Knock);
    r.by(&user(4), Act::Knock { reason: None });
    assert_eq!(membership(&r, 4), Membership::Knocking);
    r.by(&user(1), invite(&user(4)));
    let out = r.by(&user(4), leave());
    assert!(matches!(&out.events[0].what, What::Member(m) if m.how == How::Decline));
    assert_eq!(membership(&r, 4), Membership::Left);
}

#[test]
fn password_and_limit() {
    let mut r = room(&[]);
    set_policy(&mut r, |p| p.password = Some(Str::new("k")));
    r.refuses(&user(2), join(false), Refusal::WrongPassword);
    set_policy(&mut r, |p| (p.password, p.limit) = (None, Some(1)));
    r.refuses(&user(2), join(false), Refusal::RoomFull);
}

#[test]
fn changes_from_the_same_rules_are_both_made() {
    let mut r = room(&[]);
    let from = Box::new(state(&r).head.as_ref().unwrap().policy.clone());
    let change = |f: fn(&mut Policy)| {
        let mut to = from.clone();
        f(&mut to);
        Act::SetPolicy { from: from.clone(), to }
    };
    assert_eq!(r.server(change(|p| p.secret = true)).events.len(), 1);
    assert_eq!(r.server(change(|p| (p.limit, p.levels.topic) = (Some(5), 50))).events.len(), 1);
    let now = state(&r).head.as_ref().unwrap().policy.clone();
    assert_eq!((now.secret, now.limit, now.levels.topic), (true, Some(5), 50));
    r.refuses_server(change(|p| p.limit = Some(6)), Refusal::Stale);
    assert!(r.server(change(|p| p.limit = Some(5))).events.is_empty(), "it is so already");
}

#[test]
fn messages_once_and_withdrawn_for_good() {
    let mut r = room(&[(2, 0)]);
    let command = |k| Command::by(&user(2), EntityId::Room(ROOM), say("hi")).once(OnceKey(k));
    let first = r.run(command(1), false).events[0].pos;
    assert!(matches!(r.run(command(1), false).verdict, Verdict::Already(p) if p == first));
    let react = |keys: &[&str], mode| Act::React {
        target: Target::Pos(first),
        keys: keys.iter().map(Str::new).collect(),
        mode,
        native: None,
    };
    assert_eq!(r.by(&user(1), react(&["a", "b"], ReactMode::Add)).events.len(), 2);
    assert_eq!(r.by(&user(1), react(&["b", "c"], ReactMode::Replace)).events.len(), 2);
    assert!(r.by(&user(1), react(&["a"], ReactMode::Remove)).events.is_empty());
    let redact = Act::Redact { target: Target::Pos(first), reason: None, native: None };
    r.refuses(&user(3), redact.clone(), Refusal::NotMember);
    let out = r.by(&user(1), redact.clone());
    assert!(matches!(&out.changes[0], Change::Rewrite(e) if e.pos == first));
    assert!(
        matches!(&state(&r).entry(first).unwrap().what, What::Said(m) if m.gone && m.body.text.is_empty())
    );
    assert!(r.by(&user(2), redact).events.is_empty());
    r.server(power_to(&user(2), power::MUTED));
    r.refuses(&user(2), say("x"), Refusal::Muted);
    let long = "x".repeat(r.settings.limits.text + 1);
    r.refuses(&user(1), say(&long), Refusal::TooLong);
}

#[test]
fn how_far_members_have_read_is_told_and_kept() {
    let mut r = room(&[(2, 0)]);
    let said = r.by(&user(1), say("a")).events[0].pos.0;
    let out = r.by(&user(2), see(said, ""));
    assert!(out.events.is_empty() && out.changes.len() == 1);
    assert!(matches!(out.live, Some(LiveWhat::Read { ref to, members: 2 }) if to.pos.0 == said));
    // Back, twice the same, and what is not there yet: nothing.
    for pos in [said - 1, said, said + 1] {
        let out = r.by(&user(2), see(pos, ""));
        assert!(out.changes.is_empty() && out.live.is_none(), "{pos}");
    }
    r.refuses(&user(3), see(said, ""), Refusal::NotMember);
    for n in 0..crate::chat::seen::SEEN as u64 + 3 {
        r.by(&user(2), see(1 + n % said, &alloc::format!("t{n}")));
    }
    assert_eq!(state(&r).members[&user(2).id].seen.len(), crate::chat::seen::SEEN);
    r.server(power_to(&user(2), 50));
    assert_eq!(state(&r).members[&user(2).id].seen.len(), crate::chat::seen::SEEN);
    r.by(&user(2), leave());
    r.by(&user(2), join(false));
    assert!(state(&r).members[&user(2).id].seen.is_empty());
}

#[test]
fn an_edit_is_withdrawn_alone() {
    let mut r = room(&[(2, 0)]);
    let said = r.by(&user(2), say("one")).events[0].clone();
    let Act::Say { message, .. } = say("two") else { unreachable!() };
    let edit = Act::Edit { target: Target::Pos(said.pos), message };
    let edited = r.by(&user(2), edit).events[0].clone();
    assert_eq!(edited.about().collect::<Vec<_>>(), [said.pos]);
    let redact = Act::Redact { target: Target::Pos(edited.pos), reason: None, native: None };
    r.by(&user(2), redact);
    let gone = |r: &Rig, pos: Pos| match &state(r).entry(pos).unwrap().what {
        What::Said(m) | What::Edited { message: m, .. } => m.gone,
        _ => unreachable!(),
    };
    assert!(gone(&r, edited.pos) && !gone(&r, said.pos));
}

#[test]
fn an_older_target_is_asked_for() {
    let mut r = room(&[]);
    let old = r.by(&user(1), say("old")).events[0].clone();
    for _ in 0..r.settings.limits.tail {
        r.by(&user(1), say("more"));
    }
    let redact = Act::Redact { target: Target::Pos(old.pos), reason: None, native: None };
    assert_eq!(state(&r).needs(&redact), Some(old.pos));
    assert!(state(&r).replay(Pos::ZERO, user(1).id).is_none());
    r.refuses(&user(1), redact.clone(), Refusal::NoSuchItem);
    let Entity::Room(room) = &mut r.entity else { unreachable!() };
    room.remember(old.pos, Some(old));
    assert_eq!(r.by(&user(1), redact).events.len(), 1);
}

#[test]
fn a_dialog_begins_with_its_first_message() {
    let (a, b, c) = (user(1), user(2), user(3));
    let mut r = Rig::new(EntityId::Room(RoomId::dialog(a.id, b.id, 64)));
    let Act::Say { message, subject, .. } = say("psst") else { unreachable!() };
    let parties = Some(Box::new((a.clone(), b.clone())));
    let act = Act::Say { message, subject, parties };
    r.refuses(&c, act.clone(), Refusal::Forbidden);
    let out = r.by(&a, act);
    assert_eq!(out.follow.len(), 2);
    let again = follows_of(&out.events[0], state(&r).head.as_ref().unwrap());
    assert!(out.follow.iter().all(|f| f.derived && again.contains(&f.command)));
    assert!(state(&r).readable(b.id).is_some() && state(&r).readable(c.id).is_none());
    r.refuses(&c, say("let me in"), Refusal::NoSuchRoom);
    r.refuses(&b, leave(), Refusal::Forbidden);
    // Each feed takes it once, however often it is derived.
    let mut feed = account(2);
    let command = again.into_iter().find(|c| c.to == feed.id).unwrap();
    assert!(feed.run(command.clone(), false).fed.is_some());
    assert!(feed.run(command.clone(), true).fed.is_none());
    let mut blocker = account(2);
    let add = vec![Str::new("USER1")];
    blocker.by(&b, Act::SetBlocked { add, remove: vec![], all: false });
    assert!(blocker.run(command, false).fed.is_none());
}

fn account(n: u64) -> Rig {
    let who = user(n);
    let mut r = Rig::new(EntityId::Account(who.id));
    r.server(Act::CreateAccount { name: who.name, credential: Octets::from(b"c"), admin: false });
    r
}

fn contact(r: &Rig, n: u64) -> Contact {
    let Entity::Account(a) = &r.entity else { unreachable!() };
    let address = Str::new(user(n).name.folded());
    a.contacts.get(&address).cloned().unwrap_or_else(|| Contact::new(address, None))
}

#[test]
fn subscriptions_follow_the_tables() {
    use Step::{Subscribe as S, Subscribed as Sd, Unsubscribe as U, Unsubscribed as Ud};
    // Steps (true: the owner's), then to, ask, from, asked, approved.
    #[expect(clippy::type_complexity, reason = "a table of cases, read once")]
    let cases: [(&[(bool, Step)], [bool; 5]); 10] = [
        (&[(true, S)], [false, true, false, false, false]),
        (&[(true, S), (false, Sd)], [true, false, false, false, false]),
        (&[(true, S), (false, Ud)], [false; 5]),
        (&[(false, Sd)], [false; 5]),
        (&[(false, S)], [false, false, false, true, false]),
        (&[(false, S), (true, Sd)], [false, false, true, false, false]),
        (&[(false, S), (true, Ud)], [false; 5]),
        (&[(true, Sd), (false, S)], [false, false, true, false, true]),
        (&[(true, S), (false, Sd), (false, S), (true, Sd)], [true, false, true, false, false]),
        (&[(false, S), (true, Sd), (false, U)], [false; 5]),
    ];
    for (i, (steps, want)) in cases.into_iter().enumerate() {
        let (me, other) = (user(1), user(2));
        let mut r = account(1);
        for (own, step) in steps {
            if *own {
                let address = Str::new(other.name.folded());
                let step = Act::Subscription { address, account: Some(other.id), step: *step, native: None };
                r.by(&me, step);
            } else {
                r.server(Act::SubscriptionFrom { from: other.clone(), step: *step, native: None });
            }
        }
        let c = contact(&r, 2);
        assert_eq!([c.to, c.ask, c.from, c.asked.is_some(), c.approved], want, "case {i}");
    }
}

#[test]
fn an_account_answers_only_its_owner() {
    let mut r = account(1);
    r.refuses(&user(2), Act::SetCredential(Octets::default()), Refusal::Forbidden);
    r.refuses(&user(1), Act::SetAdmin(true), Refusal::Forbidden);
    let mut none = Rig::new(EntityId::Account(user(1).id));
    none.refuses(&user(1), Act::SetCredential(Octets::default()), Refusal::NoSuchUser);
    let respelled = User { name: UserName::new("USER1").unwrap(), ..user(1) };
    // Its rooms hear of it, whatever happens in between.
    let lasting = |out: &Outcome, gone: bool| {
        let sweeps = out.follow.iter().filter(|f| f.command.act == Act::Sweep { gone } && !f.derived);
        sweeps.count() == 1
    };
    let out = r.by(&user(1), Act::Respell(respelled.name));
    assert!(out.changes.len() == 1 && lasting(&out, false));
    assert!(lasting(&r.by(&user(1), Act::DeleteAccount), true));
    r.refuses(&user(1), Act::SetCredential(Octets::default()), Refusal::NoSuchUser);
}

/// Rows, as a store would keep them.
#[derive(Default)]
struct Rows {
    room: Option<RoomHead>,
    rest: Option<RoomRows>,
    account: Option<AccountRows>,
}

impl Rows {
    fn fold(&mut self, out: &Outcome) {
        let rest = self.rest.take();
        let blank = |head: &RoomHead| RoomRows {
            head: head.clone(),
            topic: None,
            masks: vec![],
            members: vec![],
            attrs: vec![],
            facts: vec![],
            tail: vec![],
        };
        let mut events: Vec<_> = rest.as_ref().map(|r| r.tail.clone()).unwrap_or_default();
        let mut rest = rest;
        for change in out.rows() {
            match change {
                Change::Event(e) => events.push(e),
                Change::Rewrite(e) => {
                    let place = events.iter_mut().find(|x| x.pos == e.pos).unwrap();
                    *place = e;
                }
                Change::Room(_, None) => (self.room, rest, events) = (None, None, vec![]),
                Change::Room(_, Some(head)) => {
                    rest = Some(RoomRows { head: head.clone(), ..rest.unwrap_or_else(|| blank(&head)) });
                    self.room = Some(head);
                }
                Change::Topic(_, t) => rest.as_mut().unwrap().topic = t,
                Change::Masks(_, m) => rest.as_mut().unwrap().masks = m,
                Change::Member(_, id, row) => {
                    let members = &mut rest.as_mut().unwrap().members;
                    members.retain(|m| m.user.id != id);
                    members.extend(row);
                }
                Change::RoomAttr(_, key, value) => set(&mut rest.as_mut().unwrap().attrs, key, value),
                other => unreachable!("{other:?}"),
            }
        }
        if let Some(rest) = &mut rest {
            rest.tail = events;
        }
        self.rest = rest;
    }

    fn load(self, r: &Rig) -> Entity {
        let page = match r.id {
            EntityId::Room(_) => Page::Room(self.rest.map(Box::new)),
            _ => Page::Account(self.account.map(Box::new)),
        };
        Entity::load(&r.id, page, &r.settings).unwrap()
    }
}

fn set(list: &mut Vec<(Str, Octets)>, key: Str, value: Octets) {
    list.retain(|(k, _)| *k != key);
    if !value.is_empty() {
        list.push((key, value));
    }
}

fn acts() -> impl Strategy<Value = (u64, Act)> {
    let who = 1_u64..5;
    (who.clone(), who, 0_u8..18, prop::sample::select(vec![-1, 0, 10, 25, 50, 100])).prop_map(
        |(by, on, kind, power)| {
            let (on, target) = (user(on), Target::ClientId(Str::new("t")));
            let act = match kind {
                0 | 1 => join(true),
                2 => leave(),
                3 => invite(&on),
                4 => kick(&on),
                5 => ban(&on),
                6 => Act::Unban { user: on },
                7 | 8 => power_to(&on, power),
                9 => Act::SetTopic(Rich::plain(if power > 9 { "t" } else { "" })),
                10 => Act::Redact { target, reason: None, native: None },
                11 => Act::React { target, keys: vec![Str::new("k")], mode: ReactMode::Add, native: None },
                16 => Act::Alias((power > 0).then(|| alias(if power > 25 { "one" } else { "two" }))),
                17 => come_as(alias(if power > 25 { "one" } else { "two" })),
                13 | 14 => see(u64::try_from(power).unwrap_or(1), if kind == 13 { "" } else { "t" }),
                12 => Act::SetRoomAttr { key: Str::new("k"), value: Octets::from(b"v") },
                _ => say("t"),
            };
            (by, act)
        },
    )
}

proptest! {
    #[test]
    fn rows_give_the_room_back(acts in prop::collection::vec(acts(), 1..60), ephemeral: bool) {
        let mut r = Rig::new(EntityId::Room(ROOM));
        r.settings.ephemeral_rooms = ephemeral;
        let mut rows = Rows::default();
        for (by, act) in acts {
            let before = state(&r).last;
            let out = r.by(&user(by), act);
            let mut prev = before;
            for e in &out.events {
                prop_assert_eq!(e.prev, prev);
                prev = e.pos;
            }
            if refused(&out).is_some() {
                prop_assert!(out.events.is_empty() && out.changes.is_empty());
            }
            rows.fold(&out);
        }
        let loaded = rows.load(&r);
        let (Entity::Room(a), Entity::Room(b)) = (&loaded, &r.entity) else { unreachable!() };
        prop_assert_eq!(&a.head, &b.head);
        prop_assert_eq!(&a.topic, &b.topic);
        prop_assert_eq!(&a.members, &b.members);
        prop_assert_eq!(&a.aliases, &b.aliases);
        for (key, holder) in &b.aliases {
            let row = &b.members[holder];
            prop_assert_eq!(row.alias_key.as_ref(), Some(key));
            prop_assert!(row.user.alias.is_some() && row.standing.membership == Membership::Joined);
        }
        prop_assert_eq!(&a.attrs, &b.attrs);
        prop_assert_eq!(&a.tail, &b.tail);
        prop_assert_eq!((a.whole, a.last), (b.whole, b.last));
    }
}
