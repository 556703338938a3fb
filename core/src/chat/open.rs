//! Open rooms: those whose entries set facts, for a protocol whose rooms are made of them.

use super::{
    DONE, Done, Draft, Outcome, Verdict,
    account::set_attr,
    at_most,
    room::{Note, Room, need},
};
use crate::{
    command::Shown,
    event::{Actor, How, MemberChange, Native, What},
    name::User,
    policy::{Member, Policy, Power, Standing},
    refusal::Refusal,
    row::Change,
    text::{Octets, Rich, Str},
};
use alloc::boxed::Box;

/// Several changes at once.
#[derive(Clone, Copy)]
pub(super) struct Amendment<'a> {
    /// The policy it was made from, and the new one.
    pub policy: Option<&'a (Policy, Policy)>,
    /// New powers.
    pub powers: &'a [(User, Power)],
    /// Another topic.
    pub topic: Option<&'a Rich>,
}

impl Room {
    /// From here on entries set facts; those of this one restate what holds. A dialog that is not there is made.
    pub(super) fn open(
        &mut self,
        how: &Octets,
        parties: Option<&(User, User)>,
        shown: &[Shown],
        draft: &mut Draft<'_>,
    ) -> Done {
        if draft.entry.command.by != Actor::Server {
            return Err(Refusal::Forbidden);
        }
        if how.is_empty() || how.len() > draft.settings.limits.native {
            return Err(Refusal::TooLong);
        }
        for one in shown {
            at_most(one.display.as_deref().unwrap_or(""), draft.settings.limits.topic)?;
        }
        match &self.head {
            Some(head) if head.destroyed => return Err(Refusal::NoSuchRoom),
            Some(head) if head.open.is_some() => return Ok(DONE),
            Some(_) => {}
            None => self.open_dialog(parties.ok_or(Refusal::NoSuchRoom)?, draft)?,
        }
        self.edit_head(draft, |h| h.open = Some(how.clone()));
        for Shown { who, display, native } in shown {
            let native = draft.native(native.as_ref());
            if let Some(row) = self.members.get(who).cloned() {
                self.put_member(draft, *who, Some(Member { display: display.clone(), native, ..row }));
            }
        }
        self.restate(draft);
        Ok(self.feed(draft))
    }

    /// States what is not stated yet, in as many entries as that takes.
    pub(super) fn restate(&mut self, draft: &mut Draft<'_>) {
        for _ in 0..=draft.settings.limits.members / usize::from(u8::MAX) {
            self.emit(draft, What::Opened);
            let last = draft.out.events.last();
            if last.is_none_or(|e| e.facts.len() < usize::from(u8::MAX)) {
                return;
            }
        }
    }

    /// Several changes at once, stated by one named value.
    pub(super) fn amend(
        &mut self,
        amendment: Amendment<'_>,
        key: &Str,
        value: &Octets,
        draft: &mut Draft<'_>,
    ) -> Done {
        let before = self.clone();
        let done = self.try_amend(amendment, key, value, draft);
        draft.factless = false;
        if done.is_err() {
            *self = before;
            draft.out = Outcome::answer(Verdict::Silent);
        }
        done
    }

    fn try_amend(
        &mut self,
        amendment: Amendment<'_>,
        key: &Str,
        value: &Octets,
        draft: &mut Draft<'_>,
    ) -> Done {
        // Who lowers himself with it has the power for all of it until then.
        let own = self.ranked_power(&draft.entry.command.by)?;
        need(own, self.attr_level(key, draft.settings))?;
        draft.factless = true;
        let newcomer = self.policy().levels.users;
        if let Some((from, to)) = amendment.policy {
            self.put_policy(own, from, to, draft)?;
        }
        if let Some(topic) = amendment.topic {
            self.put_topic(topic, draft)?;
        }
        for (user, power) in amendment.powers {
            self.amend_power(own, newcomer, user, *power, draft)?;
        }
        draft.factless = false;
        let mut attrs = self.attrs.clone();
        set_attr(&mut attrs, key, value, draft.settings)?;
        if attrs == self.attrs && draft.out.events.is_empty() {
            return Ok(DONE);
        }
        self.attrs = attrs;
        self.emit(draft, What::Attr { key: key.clone(), value: value.clone() });
        draft.change(Change::RoomAttr(self.id, key.clone(), value.clone()));
        Ok(Verdict::ByEvent)
    }

    /// Another power, whatever the membership; who has what newcomers have goes with them. `newcomer`: what they had.
    fn amend_power(
        &mut self,
        own: Power,
        newcomer: Power,
        user: &User,
        new: Power,
        draft: &mut Draft<'_>,
    ) -> Result<(), Refusal> {
        let by = &draft.entry.command.by;
        let before = self.standing(user.id);
        if before.power == new {
            return Ok(());
        }
        let follows = before.power == newcomer && new == self.policy().levels.users;
        let lowers_self = by.is(user.id) && new <= before.power;
        if !(follows || lowers_self) {
            need(own, new)?;
            self.check_rank(own, user.id)?;
        }
        self.check_last_owner(by, user.id, before.power, new)?;
        self.check_rows(user.id, draft.settings)?;
        self.stand(draft, user, Standing { power: new, ..before }, How::Power, Note::default());
        Ok(())
    }

    /// A member shows itself otherwise.
    pub(super) fn show(
        &mut self,
        display: Option<&Str>,
        native: Option<&Native>,
        draft: &mut Draft<'_>,
    ) -> Done {
        let user = draft.entry.command.by.user().cloned().ok_or(Refusal::NotMember)?;
        at_most(display.map_or("", Str::as_str), draft.settings.limits.topic)?;
        let native = draft.native(native);
        let row = self.members.get(&user.id).cloned().filter(|_| self.is_joined(user.id));
        let row = row.ok_or(Refusal::NotMember)?;
        if row.display.as_ref() == display && row.native == native {
            return Ok(DONE);
        }
        let open = self.head.as_ref().is_some_and(|h| h.open.is_some());
        if open {
            let change = MemberChange {
                user: user.clone(),
                before: row.standing,
                after: row.standing,
                how: How::Shown,
                reason: None,
                display: display.cloned(),
                levels: self.policy().levels,
                native: native.clone(),
            };
            self.emit(draft, What::Member(Box::new(change)));
        }
        self.put_member(draft, user.id, Some(Member { display: display.cloned(), native, ..row }));
        Ok(if open { self.feed(draft) } else { DONE })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::{
        chat::{Entity, room::Readable},
        command::{Act, EntityId, Join, Seed, Target},
        event::{Event, Fact, FactRef, Message},
        ids::{MsgId, Pos, RoomId},
        policy::{Levels, Membership, Visibility, power},
        seal::{Seal, Sealed},
        settings::{FactsOf, LevelOf, SealsOf, Settings},
    };
    use alloc::{vec, vec::Vec};

    const ROOM: RoomId = RoomId(7 << 8);

    /// Topics are facts, and so is what each value says; opening restates the title.
    fn facts(room: &Room, event: &Event, _: &Settings) -> Vec<Fact> {
        let fact = |kind: &str, key: &str, content: &[u8]| Fact {
            kind: Str::new(kind),
            key: Str::new(key),
            content: Octets::from(content),
            by: None,
            before: None,
            replaces: None,
            gone: false,
        };
        match &event.what {
            What::Opened => vec![fact("title", "", room.policy().title.as_bytes()), fact("open", "", b"1")],
            What::Attr { key, value } => vec![fact("value", key, value)],
            What::Member(m) => {
                vec![fact("power", m.user.name.as_str(), &m.after.power.to_le_bytes())]
            }
            _ => vec![],
        }
    }

    fn open_room() -> Rig {
        let mut rig = Rig::new(EntityId::Room(ROOM));
        rig.settings.facts = Some(FactsOf(facts));
        let policy = Policy { title: Str::new("t"), ..Policy::default() };
        let mut seed = Seed::new(None, policy, power::OWNER);
        seed.open = Some(Octets::from(b"how"));
        let join = Act::Join(Box::new(Join { create: Some(seed), ..Join::default() }));
        rig.by(&user(1), join);
        rig
    }

    fn room(rig: &Rig) -> &Room {
        match &rig.entity {
            Entity::Room(room) => room,
            _ => unreachable!(),
        }
    }

    #[test]
    fn facts_are_set_by_entries_and_name_the_one_before() {
        let mut rig = open_room();
        let content = |rig: &Rig, kind: &str, key: &str| {
            room(rig).facts.get(&(Str::new(kind), Str::new(key))).map(|row| row.fact.content.to_vec())
        };
        assert_eq!(content(&rig, "title", ""), Some(b"t".to_vec()));
        assert_eq!(content(&rig, "power", "user1"), Some(100_i32.to_le_bytes().to_vec()));
        let set = |v: &str| Act::SetRoomAttr { key: Str::new("k"), value: Octets::from(v.as_bytes()) };
        let first = rig.by(&user(1), set("a")).events[0].clone();
        let second = rig.by(&user(1), set("b")).events[0].clone();
        assert_eq!(second.facts[0].before, Some(FactRef { pos: first.pos, nth: 0 }));
        assert_eq!(content(&rig, "value", "k"), Some(b"b".to_vec()));
    }

    /// Names count up; what says "loose" is not sealed.
    fn seal(room: &Room, event: &mut Event, _: &Settings) -> Option<Str> {
        let (before, depth) = room.link().map_or((None, 0), |l| (l.tip(), l.depth_after()));
        let loose = |fact: &Fact| &*fact.content == b"loose";
        let mut names: Vec<_> = event.facts.iter().map(|f| (!loose(f)).then_some(0)).collect();
        if matches!(event.what, What::Said(_)) {
            names.push(Some(0));
        }
        let name = |(nth, name): (usize, Option<i32>)| {
            let mut bytes = [nth as u8; 32];
            bytes[..8].copy_from_slice(&event.pos.0.to_be_bytes());
            name.map(|_| Seal(bytes))
        };
        let names = names.into_iter().enumerate().map(name).collect();
        let (rest, content) = (Octets::default(), Some(Octets::from(b"said")));
        event.sealed = Some(Box::new(Sealed { names, before, depth, rest, content, gone: vec![] }));
        (depth == 0).then(|| Str::new("!room"))
    }

    fn left(_: &Room, event: &Event, nth: u8, _: &Settings) -> Option<Seal> {
        event.seal(nth).map(|_| Seal([9; 32]))
    }

    #[test]
    fn entries_are_links_and_facts_know_the_last_that_is_one() {
        let mut rig = Rig::new(EntityId::Room(ROOM));
        rig.settings.facts = Some(FactsOf(facts));
        rig.settings.seals = Some(SealsOf { seal, left });
        let mut seed = Seed::new(None, Policy::default(), power::OWNER);
        seed.open = Some(Octets::from(b"how"));
        rig.by(&user(1), Act::Join(Box::new(Join { create: Some(seed), ..Join::default() })));
        assert_eq!(room(&rig).head.as_ref().and_then(|h| h.known.as_deref()), Some("!room"));
        let set = |v: &str| Act::SetRoomAttr { key: Str::new("k"), value: Octets::from(v.as_bytes()) };
        let first = rig.by(&user(1), set("a")).events[0].clone();
        let held = |rig: &Rig| room(rig).facts[&(Str::new("value"), Str::new("k"))].clone();
        assert_eq!((held(&rig).seal, held(&rig).under.is_some()), (first.seal(0), false));
        rig.by(&user(1), set("loose"));
        rig.by(&user(1), set("loose"));
        assert_eq!(held(&rig).seal, None);
        assert_eq!(held(&rig).sealed().map(|row| row.seal), Some(first.seal(0)));
        let last = rig.by(&user(1), set("b")).events[0].clone();
        assert_eq!((held(&rig).seal, held(&rig).under.is_some()), (last.seal(0), false));
        assert_eq!(last.sealed.as_ref().and_then(|s| s.before), first.seal(0), "what is loose is no link");
    }

    #[test]
    fn what_a_sealed_message_answers_is_read_first_and_what_is_withdrawn_keeps_its_hash() {
        let mut rig = Rig::new(EntityId::Room(ROOM));
        rig.settings.facts = Some(FactsOf(facts));
        rig.settings.seals = Some(SealsOf { seal, left });
        let mut seed = Seed::new(None, Policy::default(), power::OWNER);
        seed.open = Some(Octets::from(b"how"));
        rig.by(&user(1), Act::Join(Box::new(Join { create: Some(seed), ..Join::default() })));
        let say = |reply: Option<Pos>, thread: Option<Pos>| {
            let id = |pos: Option<Pos>| pos.map(|pos| MsgId { room: ROOM, pos });
            let message = Message {
                body: Rich::plain("x"),
                reply: id(reply),
                thread: id(thread),
                ..Message::default()
            };
            Act::Say { message: Box::new(message), subject: Str::default(), parties: None }
        };
        let first = rig.by(&user(1), say(None, None)).events[0].clone();
        let second = rig.by(&user(1), say(None, None)).events[0].clone();
        for _ in 0..rig.settings.limits.tail {
            rig.by(&user(1), say(None, None));
        }
        let act = say(Some(second.pos), Some(first.pos));
        let Entity::Room(room) = &mut rig.entity else { unreachable!() };
        assert_eq!(room.needs(&act), Some(first.pos));
        room.remember(first.pos, None);
        assert_eq!(room.needs(&act), Some(second.pos), "what is not there is not asked for again");
        room.remember(second.pos, Some(second.clone()));
        assert_eq!((room.needs(&act), room.entry(second.pos)), (None, Some(&second)));
        let target = rig.by(&user(1), act).events[0].pos;
        let redact = Act::Redact { target: Target::Pos(target), reason: None, native: None };
        let changes = rig.by(&user(1), redact).changes;
        let hollow = changes.iter().find_map(|c| if let Change::Rewrite(e) = c { Some(e) } else { None });
        let sealed = hollow.and_then(|e| e.sealed.clone()).expect("it is sealed");
        assert_eq!((sealed.content.clone(), sealed.left(0)), (None, Some(Seal([9; 32]))));
        assert!(sealed.name(0).is_some());
    }

    #[test]
    fn an_amendment_is_one_fact_or_nothing() {
        let mut rig = open_room();
        rig.by(&user(2), Act::Join(Box::default()));
        let from = room(&rig).policy();
        let to = Policy { levels: Levels { speak: 10, ..from.levels }, ..from.clone() };
        let amend = |from: &Policy, power: Power| Act::Amend {
            policy: Some(Box::new((from.clone(), to.clone()))),
            powers: vec![(user(2), power)],
            key: Str::new("levels"),
            value: Octets::from(b"{}"),
            topic: None,
        };
        // More than the actor has: nothing happens, neither policy nor power.
        let before = room(&rig).clone();
        let out = rig.by(&user(1), amend(&from, 101));
        assert!(
            matches!(out.verdict, Verdict::Refused(_)) && out.events.is_empty() && out.changes.is_empty()
        );
        assert_eq!(room(&rig).policy(), before.policy());
        let out = rig.by(&user(1), amend(&from, 50));
        assert_eq!(out.events.iter().map(|e| e.facts.len()).collect::<Vec<_>>(), [0, 0, 1]);
        assert_eq!(room(&rig).standing(user(2).id).power, 50);
        assert_eq!(room(&rig).policy().levels.speak, 10);
    }

    #[test]
    fn an_amendment_goes_by_the_level_of_its_value_and_leaves_memberships_alone() {
        let mut rig = open_room();
        rig.settings.level = Some(LevelOf(|_, key| (key == "free").then_some(0)));
        rig.by(&user(2), Act::Join(Box::default()));
        let set = |key: &str| Act::SetRoomAttr { key: Str::new(key), value: Octets::from(b"v") };
        rig.refuses(&user(2), set("k"), Refusal::Power(50));
        assert_eq!(rig.by(&user(2), set("free")).events.len(), 1);
        let amend = |who: u64, powers: &[(u64, Power)], users: Power, rig: &mut Rig| {
            let from = room(rig).policy();
            let mut to = from.clone();
            (to.levels.users, to.join) = (users, crate::policy::JoinRule::Invite);
            let act = Act::Amend {
                policy: Some(Box::new((from, to))),
                powers: powers.iter().map(|(n, p)| (user(*n), *p)).collect(),
                key: Str::new("levels"),
                value: Octets::from(b"{}"),
                topic: Some(Rich::plain("topic")),
            };
            rig.by(&user(who), act)
        };
        let out = amend(1, &[(2, 10), (3, 50)], 10, &mut rig);
        assert_eq!(out.events.len(), 5, "policy, topic, two powers, the value");
        assert_eq!(room(&rig).standing(user(3).id), Standing { membership: Membership::Left, power: 50 });
        assert_eq!(room(&rig).topic.as_ref().map(|t| t.text.text.as_str()), Some("topic"));
        assert!(matches!(amend(2, &[], 0, &mut rig).verdict, Verdict::Refused(Refusal::Power(50))));
        assert!(matches!(amend(1, &[(1, 50)], 10, &mut rig).verdict, Verdict::Refused(Refusal::LastOwner)));
        assert_eq!(room(&rig).standing(user(1).id).power, 100);
    }

    #[test]
    fn doors_and_invitations() {
        let mut rig = open_room();
        let from = room(&rig).policy();
        let mut to = Policy { join: crate::policy::JoinRule::Knock, ..from.clone() };
        rig.by(&user(1), Act::SetPolicy { from: Box::new(from), to: Box::new(to.clone()) });
        let join = |vouched| Act::Join(Box::new(Join { vouched, ..Join::default() }));
        rig.refuses(&user(2), join(false), Refusal::InviteOnly);
        assert_eq!(rig.by(&user(2), join(true)).events.len(), 1);
        let invite = |n: u64| Act::Invite { user: user(n), reason: None, native: None };
        rig.refuses(&user(2), invite(3), Refusal::Power(25));
        let from = to.clone();
        to.invites = true;
        rig.by(&user(1), Act::SetPolicy { from: Box::new(from), to: Box::new(to) });
        assert_eq!(rig.by(&user(2), invite(3)).events.len(), 1);
        rig.by(&user(4), Act::Knock { reason: None });
        for n in [3, 4] {
            rig.by(&user(1), Act::Kick { user: user(n), reason: None, native: None });
            assert_eq!(room(&rig).standing(user(n).id).membership, Membership::Left, "{n}");
        }
        rig.refuses(
            &user(1),
            Act::Kick { user: user(3), reason: None, native: None },
            Refusal::TargetNotMember,
        );
    }

    #[test]
    fn a_dialog_can_be_opened_before_a_word_is_said() {
        let id = RoomId::dialog(user(1).id, user(2).id, Settings::default().shards);
        let mut rig = Rig::new(EntityId::Room(id));
        rig.settings.facts = Some(FactsOf(facts));
        let shown = vec![Shown { who: user(2).id, display: Some(Str::new("Two")), native: None }];
        let open = |parties| Act::Open { how: Octets::from(b"how"), parties, shown: shown.clone() };
        rig.refuses_server(open(None), Refusal::NoSuchRoom);
        let parties = Some(Box::new((user(1), user(2))));
        rig.refuses(&user(1), open(parties.clone()), Refusal::Forbidden);
        let out = rig.server(open(parties.clone()));
        assert_eq!((out.events.len(), out.follow.len()), (1, 2), "both parties are told");
        assert_eq!(out.events[0].facts.len(), 2);
        assert_eq!(room(&rig).members[&user(2).id].display.as_deref(), Some("Two"));
        assert!(rig.server(open(parties)).events.is_empty());
        let out = rig.by(&user(1), Act::Show { display: Some(Str::new("One")), native: None });
        assert_eq!((out.events.len(), out.follow.len()), (1, 2), "a new name is told as well");
    }

    #[test]
    fn who_left_an_open_room_reads_what_was_there_then() {
        let mut rig = open_room();
        rig.by(&user(2), Act::Join(Box::default()));
        let joined = room(&rig).last;
        rig.by(&user(2), Act::Leave { reason: None, quit: false, same: 0 });
        let left = room(&rig).last;
        rig.by(&user(1), Act::SetRoomAttr { key: Str::new("k"), value: Octets::from(b"v") });
        let readable = room(&rig).readable(user(2).id);
        assert_eq!(readable, Some(Readable { floor: Pos::ZERO, last: left }));
        let from = room(&rig).policy();
        let to = Policy { history: Visibility::Joined, ..from.clone() };
        rig.by(&user(1), Act::SetPolicy { from: Box::new(from), to: Box::new(to) });
        let readable = room(&rig).readable(user(2).id).expect("something");
        assert!(readable.has(joined) && !readable.has(joined.back()) && !readable.has(left.next()));
        assert_eq!(room(&rig).readable(user(3).id), None);
        assert_eq!(room(&rig).standing(user(2).id).membership, Membership::Left);
        // Without a trace, when that is wanted.
        rig.by(&user(2), Act::Forget);
        assert_eq!(room(&rig).readable(user(2).id), None);
    }
}
