//! A room or dialog: members, rules, topic, log.
//!
//! Rows of people: besides members, invited, banned and knocking ones there are rows of people who
//! *left* with a power of their own, that is other than a newcomer's. So a person's rank survives
//! leaving (XEP-0045, section 5.2: affiliations are long-lived), and muting is not escaped by it.

use super::{Done, Draft, Verdict, check_reason, open::Amendment};
use crate::{
    command::{Act, Target},
    event::{Actor, Event, How, MemberChange, Native, What},
    ids::{AccountId, MsgId, OnceKey, Pos, RoomId},
    name::{Alias, User},
    policy::{JoinRule, MaskEntry, Member, Membership, Policy, Power, Standing, Stay, Visibility},
    presence::Presence,
    projection::Notice,
    query::{Facts, Members, RoomView, TopicSet},
    refusal::Refusal,
    row::{Change, Closed, FactRow, RoomHead, RoomRows},
    seal::Sealed,
    settings::Settings,
    text::{Octets, Str},
    time::UnixMillis,
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};

/// Keys of retries remembered in a room; above, the older half is forgotten early.
pub const ONCE_KEYS: usize = 1_024;

/// The durable part of a room.
#[derive(Clone, Debug)]
pub struct Room {
    /// Which.
    pub id: RoomId,
    /// Name, rules; `None`: not made (yet).
    pub head: Option<RoomHead>,
    /// The topic.
    pub topic: Option<TopicSet>,
    /// The mask lists.
    pub masks: Vec<MaskEntry>,
    /// Rows of members: joined, invited, banned, knocking, left with a power of their own.
    pub members: Members,
    /// Whose the aliases are, by key; as the rows say.
    pub(super) aliases: BTreeMap<Str, AccountId>,
    /// Named values.
    pub attrs: BTreeMap<Str, Octets>,
    /// Facts, where it is open.
    pub facts: Facts,
    /// The latest entries, at most `Limits::tail`.
    pub tail: VecDeque<Arc<Event>>,
    /// True: `tail` is the whole log.
    pub whole: bool,
    /// The last position.
    pub last: Pos,
    /// The last entry time.
    pub last_at: UnixMillis,
    /// Recent keys of retries: where the message is, when it came.
    pub once: BTreeMap<OnceKey, (Pos, UnixMillis)>,
    /// Older entries handed in for the next act, by position; `None`: there is none there.
    pub(super) lent: Vec<(Pos, Option<Arc<Event>>)>,
    /// The message whose edits are all among these, or in `tail`.
    pub(super) edits_of: Option<Pos>,
}

/// The stretch of a log that somebody may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readable {
    /// Nothing at or below this.
    pub floor: Pos,
    /// Nothing above this.
    pub last: Pos,
}

impl Readable {
    /// Everything.
    pub const ALL: Readable = Readable { floor: Pos::ZERO, last: Pos::MAX };

    /// True: the entry at this position may be read.
    pub fn has(&self, pos: Pos) -> bool {
        pos > self.floor && pos <= self.last
    }
}

/// THE function that says who may read which entry, on every path: history, replay, context, search. `row`: the
/// reader's. `None`: nothing.
pub fn readable(head: &RoomHead, row: Option<&Member>, reader: AccountId) -> Option<Readable> {
    if head.destroyed {
        return None;
    }
    if let Some((a, b)) = &head.parties {
        return (a.id == reader || b.id == reader).then_some(Readable::ALL);
    }
    let membership = row.map_or(Membership::Left, |m| m.standing.membership);
    let Closed { joined, invited, shared } = head.closed;
    let world = head.policy.history == Visibility::World && membership != Membership::Banned;
    // Since everybody reads it.
    let outside = world.then_some(Readable { floor: joined.max(invited).max(shared), last: Pos::MAX });
    // Who is out reads what could be read while in.
    let (from_invited, from_joined, last) = match (membership, row.map(|row| (row, row.stay))) {
        (Membership::Joined, Some((row, _))) => (row.invited.unwrap_or(row.since), row.since, Pos::MAX),
        (_, Some((_, Some(stay)))) => (stay.invited, stay.joined, stay.left),
        _ => return outside,
    };
    let (before_joined, before_invited) = (from_joined.back(), from_invited.back());
    // What is between two closed stretches stays closed too.
    let floor = match head.policy.history {
        Visibility::Joined => before_joined,
        Visibility::Invited => before_invited.max(joined.min(before_joined)),
        Visibility::Shared | Visibility::World => joined.min(before_joined).max(invited.min(before_invited)),
    };
    match outside {
        Some(outside) if outside.floor > last => Some(outside),
        Some(outside) => Some(Readable { floor: floor.min(outside.floor), last: Pos::MAX }),
        None => Some(Readable { floor, last }),
    }
}

/// What is noted with a change of standing.
#[derive(Default)]
pub(super) struct Note {
    pub reason: Option<Str>,
    pub display: Option<Str>,
    pub native: Option<Native>,
    pub voiced: Option<bool>,
    /// What one who comes in is called there.
    pub alias: Option<Alias>,
}

impl Note {
    pub(super) fn why(reason: &Option<Str>) -> Note {
        Note { reason: reason.clone(), ..Note::default() }
    }
}

impl Room {
    // --- for everybody ---

    /// Who may read which entry: [`readable`].
    pub fn readable(&self, reader: AccountId) -> Option<Readable> {
        readable(self.head.as_ref()?, self.members.get(&reader), reader)
    }

    /// The room at this moment. `here`: who is there.
    pub fn view(&self, here: BTreeMap<AccountId, Presence>) -> RoomView {
        let none = || RoomHead {
            name: None,
            policy: Policy::default(),
            created: UnixMillis::default(),
            parties: None,
            destroyed: true,
            open: None,
            known: None,
            closed: Closed::default(),
        };
        let head = self.head.clone().unwrap_or_else(none);
        RoomView {
            id: self.id,
            parties: head.parties.clone(),
            head,
            topic: self.topic.clone(),
            members: self.members.clone(),
            here,
            masks: self.masks.clone(),
            attrs: self.attrs.clone(),
            facts: self.facts.clone(),
            last: self.last,
            last_at: self.last_at,
        }
    }

    /// The entries after `since` that `reader` may see, in order; `None`: some of them are no longer in
    /// `tail` and must be read.
    pub fn replay(&self, since: Pos, reader: AccountId) -> Option<Vec<Arc<Event>>> {
        let Some(readable) = self.readable(reader) else { return Some(Vec::new()) };
        let after = since.max(readable.floor);
        let covered = self.whole || self.tail.front().is_some_and(|first| after >= first.prev);
        covered.then(|| self.tail.iter().filter(|e| e.pos > after).cloned().collect())
    }

    /// An entry that the act is about and that must be read first, then handed to [`Room::remember`]. There can be
    /// more than one: where entries are sealed, a message's form names what it answers.
    pub fn needs(&self, act: &Act) -> Option<Pos> {
        let sealed = self.head.as_ref().is_some_and(|h| h.known.is_some());
        let here = |id: &Option<MsgId>| id.filter(|id| id.room == self.id && sealed).map(|id| id.pos);
        let (first, second) = match act {
            Act::Edit { target: Target::Pos(pos), .. }
            | Act::Redact { target: Target::Pos(pos), .. }
            | Act::React { target: Target::Pos(pos), .. } => (Some(*pos), None),
            Act::Withdraw(wish) => (Some(wish.target), None),
            Act::Say { message, .. } => (here(&message.thread), here(&message.reply)),
            _ => return None,
        };
        let known = |pos: Pos| self.entry(pos).is_some() || self.lent.iter().any(|(p, _)| *p == pos);
        first.into_iter().chain(second).find(|pos| !self.whole && *pos <= self.last && !known(*pos))
    }

    /// The message whose edits must be read first, and handed to [`Room::remember_edits`]: what is withdrawn goes with them.
    /// Of what the actor may not withdraw nothing is read.
    pub fn needs_edits(&self, act: &Act, by: &Actor) -> Option<Pos> {
        let Act::Redact { target: Target::Pos(pos), .. } = act else { return None };
        let old = self.entry(*pos)?;
        let said = matches!(&old.what, What::Said(m) if !m.gone) && self.may_withdraw(old, by).is_ok();
        (said && !self.whole && !self.knows_since(*pos) && self.edits_of != Some(*pos)).then_some(*pos)
    }

    /// Hands in edits of a message for the next act only. What they said is not kept: however many there are, and however
    /// long, they take little.
    pub fn remember_edits(&mut self, of: Pos, found: Vec<Arc<Event>>, settings: &Settings) {
        let edits =
            found.into_iter().filter(|e| matches!(e.what, What::Edited { target, .. } if target == of));
        let new = edits.filter(|e| self.entry(e.pos).is_none());
        let new: Vec<_> = new.map(|e| (e.pos, self.emptied(&e, settings))).collect();
        self.lent.extend(new);
    }

    /// All edits of a message are handed in.
    pub fn has_edits(&mut self, of: Pos) {
        self.edits_of = Some(of);
    }

    /// Hands in an older entry for the next act only; `None`: there is none at that position.
    pub fn remember(&mut self, pos: Pos, event: Option<Arc<Event>>) {
        let event = event.filter(|e| e.room == self.id && e.pos == pos);
        self.lent.push((pos, event));
    }

    /// A position's entry, if it is in memory.
    pub fn entry(&self, pos: Pos) -> Option<&Arc<Event>> {
        let lent = self.lent.iter().find_map(|(p, e)| e.as_ref().filter(|_| *p == pos));
        let i = self.tail.partition_point(|e| e.pos < pos);
        self.tail.get(i).filter(|e| e.pos == pos).or(lent)
    }

    /// The members of at least this power, and one more.
    pub fn ranked(&self, least: Power, and: AccountId) -> Arc<[AccountId]> {
        let fits = |m: &Member| m.standing.membership == Membership::Joined && m.standing.power >= least;
        self.members.iter().filter(|(id, m)| fits(m) || **id == and).map(|(id, _)| *id).collect()
    }

    /// The room's last entry as a link of its chain, where entries are sealed.
    pub fn link(&self) -> Option<&Sealed> {
        self.tail.back()?.sealed.as_deref()
    }

    /// True: exists and did not end.
    pub fn is_live(&self) -> bool {
        self.head.as_ref().is_some_and(|h| !h.destroyed)
    }

    /// Somebody's standing; of one without a row, a newcomer's.
    pub fn standing(&self, id: AccountId) -> Standing {
        let users = self.head.as_ref().map_or(0, |h| h.policy.levels.users);
        let nobody = Standing { membership: Membership::Left, power: users };
        self.members.get(&id).map_or(nobody, |m| m.standing)
    }

    // --- coming into memory ---

    /// One that is not made.
    pub(super) fn fresh(id: RoomId) -> Room {
        Room {
            id,
            head: None,
            topic: None,
            masks: Vec::new(),
            members: Members::default(),
            aliases: BTreeMap::new(),
            attrs: BTreeMap::new(),
            facts: Facts::default(),
            tail: VecDeque::new(),
            whole: true,
            last: Pos::ZERO,
            last_at: UnixMillis::default(),
            once: BTreeMap::new(),
            lent: Vec::new(),
            edits_of: None,
        }
    }

    /// From its rows.
    pub(super) fn load(id: RoomId, rows: RoomRows, settings: &Settings) -> Room {
        let mut tail: VecDeque<Arc<Event>> = rows.tail.into();
        while tail.len() > settings.limits.tail {
            tail.pop_front();
        }
        Room {
            head: Some(rows.head),
            topic: rows.topic,
            masks: rows.masks,
            aliases: rows.members.iter().filter_map(|m| Some((m.alias_key.clone()?, m.user.id))).collect(),
            members: Arc::new(rows.members.into_iter().map(|m| (m.user.id, m)).collect()),
            attrs: rows.attrs.into_iter().collect(),
            facts: Arc::new(rows.facts.into_iter().map(keyed).collect()),
            whole: tail.front().is_none_or(|e| e.prev == Pos::ZERO),
            last: tail.back().map_or(Pos::ZERO, |e| e.pos),
            last_at: tail.back().map_or(UnixMillis::default(), |e| e.at),
            once: tail.iter().filter_map(|e| Some((e.once?, (e.pos, e.at)))).collect(),
            tail,
            ..Room::fresh(id)
        }
    }

    /// True: not made, or ended and only ever in memory.
    pub(super) fn is_void(&self) -> bool {
        self.head.as_ref().is_none_or(|h| h.destroyed && self.id.is_transient())
    }

    /// True: holds what is not stored. Transient ids are the highest.
    pub(super) fn is_pinned(&self) -> bool {
        let guests = self.members.last_key_value().is_some_and(|(id, _)| id.is_transient());
        !self.is_void() && (self.id.is_transient() || guests)
    }

    // --- acts ---

    pub(super) fn act(&mut self, draft: &mut Draft<'_>) -> Done {
        let entry = draft.entry;
        let command = &entry.command;
        if let Some(pos) = self.repeated(draft) {
            return Ok(Verdict::Already(pos));
        }
        match &command.act {
            Act::Join(join) => return self.join(join, draft),
            Act::Say { message, subject, parties } => {
                return self.say(message, subject, parties.as_deref(), draft);
            }
            Act::Open { how, parties, shown } => return self.open(how, parties.as_deref(), shown, draft),
            _ => {}
        }
        let head = self.head.as_ref().filter(|h| !h.destroyed).ok_or(Refusal::NoSuchRoom)?;
        let stranger = command.by.user().is_some_and(|u| !self.members.contains_key(&u.id));
        // Where people may ask to be let in, they may know that there is something.
        let knocks = matches!(&command.act, Act::Knock { .. }) && head.policy.join == JoinRule::Knock;
        if (head.policy.secret || head.parties.is_some()) && stranger && !knocks {
            return Err(Refusal::NoSuchRoom);
        }
        match &command.act {
            Act::Edit { target, message } => return self.edit(target, message, draft),
            Act::Redact { target, reason, native } => {
                check_reason(reason.as_ref(), draft.settings)?;
                return self.redact(target, reason, native.as_ref(), draft);
            }
            Act::React { target, keys, mode, native } => {
                return self.react(target, keys, *mode, native.as_ref(), draft);
            }
            Act::Rename { to, same } => return self.rename(to, *same, draft),
            Act::Forget => return self.forget(draft),
            Act::Name(name) => return self.name(name.as_ref(), draft),
            Act::Show { display, native } => return self.show(display.as_ref(), native.as_ref(), draft),
            Act::See(seen) => return self.see(seen, draft),
            Act::SeeNamed { name, at } => return self.see_named(name, *at, draft),
            Act::Withdraw(wish) => {
                check_reason(wish.reason.as_ref(), draft.settings)?;
                return self.withdraw(wish, draft);
            }
            // Whoever belongs to a dialog does so for good, and nobody rules it.
            _ if head.parties.is_some() => return Err(Refusal::Forbidden),
            _ => {}
        }
        self.act_of_rooms(&command.act, draft)
    }

    fn act_of_rooms(&mut self, act: &Act, draft: &mut Draft<'_>) -> Done {
        if let Act::Leave { reason, .. }
        | Act::Invite { reason, .. }
        | Act::Knock { reason }
        | Act::Kick { reason, .. }
        | Act::Ban { reason, .. }
        | Act::SetPower { reason, .. }
        | Act::Destroy { reason, .. } = act
        {
            check_reason(reason.as_ref(), draft.settings)?;
        }
        match act {
            Act::Leave { reason, quit, same } => self.leave(reason, *quit, *same, draft),
            Act::Invite { user, reason, native } => self.invite(user, reason, native.as_ref(), draft),
            Act::Knock { reason } => self.knock(reason, draft),
            Act::Kick { user, reason, native } => self.kick(user, reason, native.as_ref(), draft),
            Act::Ban { user, reason } => self.ban(user, reason, draft),
            Act::Unban { user } => self.unban(user, draft),
            Act::SetPower { user, power, voiced, reason } => {
                self.set_power(user, *power, *voiced, reason, draft)
            }
            Act::SetTopic(text) => self.set_topic(text, draft),
            Act::SetPolicy { from, to } => self.set_policy(from, to, draft),
            Act::Amend { policy, powers, key, value, topic } => {
                let amendment = Amendment { policy: policy.as_deref(), powers, topic: topic.as_ref() };
                self.amend(amendment, key, value, draft)
            }
            Act::SetMasks { add, remove } => self.set_masks(add, remove, draft),
            Act::SetRoomAttr { key, value } => self.set_room_attr(key, value, draft),
            Act::Destroy { reason, instead } => self.destroy(reason, instead.as_ref(), draft),
            Act::Alias(alias) => self.set_alias(alias.as_ref(), draft),
            _ => Err(Refusal::Invalid("not an act of a room")),
        }
    }

    /// Where the same command was carried out before.
    fn repeated(&mut self, draft: &Draft<'_>) -> Option<Pos> {
        let key = draft.entry.command.once?;
        let (pos, at) = *self.once.get(&key)?;
        let fresh = draft.entry.at.0.saturating_sub(at.0) <= draft.settings.limits.once_time;
        fresh.then_some(pos)
    }

    /// Remembers the key of the entry just made.
    fn note_once(&mut self, key: OnceKey, pos: Pos, at: UnixMillis, settings: &Settings) {
        if self.once.len() >= ONCE_KEYS {
            let old = at.0.saturating_sub(settings.limits.once_time);
            self.once.retain(|_, (_, t)| t.0 >= old);
        }
        if self.once.len() >= ONCE_KEYS {
            let mut places: Vec<Pos> = self.once.values().map(|(p, _)| *p).collect();
            places.sort_unstable();
            let middle = places.get(places.len() / 2).copied().unwrap_or(Pos::ZERO);
            self.once.retain(|_, (p, _)| *p > middle);
        }
        self.once.insert(key, (pos, at));
    }

    // --- what acts are made of ---

    /// The rules. Of a room that is not made, the default ones.
    pub(super) fn policy(&self) -> Policy {
        self.head.as_ref().map(|h| h.policy.clone()).unwrap_or_default()
    }

    pub(super) fn is_dialog(&self) -> bool {
        self.head.as_ref().is_some_and(|h| h.parties.is_some())
    }

    pub(crate) fn is_joined(&self, id: AccountId) -> bool {
        self.standing(id).membership == Membership::Joined
    }

    /// The power of a member; the server's is the highest.
    pub(super) fn member_power(&self, by: &Actor) -> Result<Power, Refusal> {
        match by {
            Actor::Server => Ok(Power::MAX),
            Actor::User(u) if self.is_joined(u.id) => Ok(self.standing(u.id).power),
            Actor::User(_) => Err(Refusal::NotMember),
        }
    }

    /// The power of a member, or of somebody whose rank outlived his leaving.
    pub(super) fn ranked_power(&self, by: &Actor) -> Result<Power, Refusal> {
        match by {
            Actor::User(u) if self.standing(u.id).membership == Membership::Left => {
                self.members.get(&u.id).map(|m| m.standing.power).ok_or(Refusal::NotMember)
            }
            _ => self.member_power(by),
        }
    }

    /// Refuses to act on somebody of equal or higher power. In a guests' room, which has no owner,
    /// equals act on each other.
    pub(super) fn check_rank(&self, power: Power, target: AccountId) -> Result<(), Refusal> {
        let theirs = self.standing(target).power;
        let higher = power > theirs || (self.id.is_transient() && power == theirs);
        if power == Power::MAX || higher { Ok(()) } else { Err(Refusal::Outranked) }
    }

    /// Makes an entry.
    pub(super) fn emit(&mut self, draft: &mut Draft<'_>, what: What) -> Pos {
        let nth = draft.out.events.len() as u64;
        let entry = draft.entry;
        let mut event = Event {
            room: self.id,
            pos: Pos(entry.first.0 + nth),
            prev: self.last,
            at: UnixMillis(entry.at.0 + nth).max(UnixMillis(self.last_at.0 + 1)),
            by: self.called_by(&entry.command.by, &what),
            once: entry.command.once,
            what,
            facts: Vec::new(),
            sealed: None,
        };
        self.state_facts(&mut event, draft);
        let event = Arc::new(event);
        debug_assert!(event.pos > event.prev);
        self.last = event.pos;
        self.last_at = event.at;
        if let Some(key) = event.once {
            self.note_once(key, event.pos, event.at, draft.settings);
        }
        self.tail.push_back(event.clone());
        while self.tail.len() > draft.settings.limits.tail {
            self.tail.pop_front();
            self.whole = false;
        }
        let pos = event.pos;
        draft.out.events.push(event);
        pos
    }

    /// In an open room: the facts that the entry sets, and its seal. What is in memory only is not sealed: no index
    /// finds it.
    fn state_facts(&mut self, event: &mut Event, draft: &mut Draft<'_>) {
        if self.head.as_ref().is_none_or(|h| h.open.is_none()) {
            return;
        }
        if let Some(make) = draft.settings.facts.filter(|_| !draft.factless) {
            event.facts = (make.0)(self, event, draft.settings);
            event.facts.truncate(usize::from(u8::MAX));
        }
        if let Some(seals) = draft.settings.seals.filter(|_| !self.id.is_transient())
            && let Some(known) = (seals.seal)(self, event, draft.settings)
        {
            self.edit_head(draft, |h| h.known = Some(known));
        }
        self.put_facts(event, draft);
    }

    /// The facts that the entry sets hold from here on.
    fn put_facts(&mut self, event: &mut Event, draft: &mut Draft<'_>) {
        for nth in 0..event.facts.len() {
            let fact = &mut event.facts[nth];
            let place = (fact.kind.clone(), fact.key.clone());
            let before = self.facts.get(&place);
            (fact.before, fact.replaces) = (before.map(|row| row.at), before.and_then(|row| row.seal));
            let sealed = event.seal(nth as u8).is_some();
            let under = before.and_then(|row| row.sealed()).filter(|_| !sealed).cloned();
            let Some(mut row) = FactRow::of(event, nth as u8) else { continue };
            row.under = under.map(Box::new);
            draft.change(Change::Fact(self.id, row.clone()));
            Arc::make_mut(&mut self.facts).insert(place, Arc::new(row));
        }
    }

    /// Changes somebody's standing: row, entry, and a notice to his sessions.
    pub(super) fn stand(
        &mut self,
        draft: &mut Draft<'_>,
        user: &User,
        after: Standing,
        how: How,
        note: Note,
    ) -> Pos {
        let before = self.standing(user.id);
        let levels = self.policy().levels;
        let (shown, kept) = self.called_then(user, after.membership, note.alias.as_ref());
        let change = MemberChange {
            user: shown,
            before,
            after,
            how,
            reason: note.reason.clone(),
            display: note.display.clone(),
            levels,
            native: note.native.clone(),
        };
        let pos = self.emit(draft, What::Member(Box::new(change)));
        let old = self.members.get(&user.id).cloned();
        let voiced = note.voiced.unwrap_or_else(|| old.as_ref().is_some_and(|m| m.voiced));
        let (invited, stay) = stays(old.as_ref(), after.membership, pos);
        let open = self.head.as_ref().is_some_and(|h| h.open.is_some());
        let asked = matches!(before.membership, Membership::Invited | Membership::Knocking);
        let row = match old {
            Some(old) if before.membership == after.membership && how == How::Power => {
                Member { standing: after, voiced, ..old }
            }
            _ => Member {
                user: kept,
                standing: after,
                since: pos,
                at: self.last_at,
                by: draft.entry.command.by.user().filter(|by| by.id != user.id).cloned().map(Box::new),
                reason: note.reason,
                voiced,
                display: note.display,
                invited,
                stay: stay.filter(|_| open),
                native: note.native,
                seen: old
                    .filter(|_| before.membership == after.membership)
                    .map(|m| m.seen)
                    .unwrap_or_default(),
                alias_key: note.alias.map(|a| a.key),
            },
        };
        let gone = after == Standing { membership: Membership::Left, power: levels.users };
        // Of an open room who was in it, or was asked and did not come, is told later that he is out of it.
        let kept = !gone || row.stay.is_some() || (open && asked);
        self.put_member(draft, user.id, kept.then_some(row));
        if let Some(event) = draft.out.events.last().cloned() {
            let name = self.head.as_ref().and_then(|h| h.name.clone());
            draft.tell(user.id, Notice::Membership { name, event, origin: None });
        }
        pos
    }

    /// The rows of guests: they are in memory only.
    pub(crate) fn guests(&self) -> Vec<Member> {
        self.members.values().filter(|m| m.user.is_guest()).cloned().collect()
    }

    /// Puts them back when the room was read again.
    pub(crate) fn put_back(&mut self, guests: Vec<Member>) {
        Arc::make_mut(&mut self.members).extend(guests.into_iter().map(|m| (m.user.id, m)));
    }

    /// An entry about a guest turned out not to be stored: the standing is what it was before.
    pub(crate) fn undo(&mut self, pos: Pos, at: UnixMillis, change: &MemberChange) {
        let (user, standing) = (change.user.clone(), change.before);
        let gone = Standing { membership: Membership::Left, power: self.policy().levels.users };
        if !user.is_guest() || change.how == How::Rename {
            return;
        }
        let members = Arc::make_mut(&mut self.members);
        if standing == gone {
            members.remove(&user.id);
        } else if let Some(row) = members.get_mut(&user.id) {
            row.standing = standing;
        } else {
            let display = change.display.clone();
            let row =
                Member { display, native: change.native.clone(), ..Member::new(user, standing, pos, at) };
            members.insert(row.user.id, row);
        }
    }

    pub(super) fn put_member(&mut self, draft: &mut Draft<'_>, id: AccountId, row: Option<Member>) {
        let members = Arc::make_mut(&mut self.members);
        let old = match &row {
            Some(row) => members.insert(id, row.clone()),
            None => members.remove(&id),
        };
        if let Some(key) = old.and_then(|old| old.alias_key) {
            self.aliases.remove(&key);
        }
        if let Some(key) = row.as_ref().and_then(|row| row.alias_key.clone()) {
            self.aliases.insert(key, id);
        }
        draft.change(Change::Member(self.id, id, row));
    }

    /// Changes the head.
    pub(super) fn edit_head(&mut self, draft: &mut Draft<'_>, edit: impl FnOnce(&mut RoomHead)) {
        if let Some(head) = &mut self.head {
            edit(head);
            draft.change(Change::Room(self.id, Some(head.clone())));
        }
    }

    /// Refuses a new row where there are as many as may be.
    pub(super) fn check_rows(&self, id: AccountId, settings: &Settings) -> Result<(), Refusal> {
        let full = self.members.len() >= settings.limits.members && !self.members.contains_key(&id);
        if full { Err(Refusal::RoomFull) } else { Ok(()) }
    }
}

/// The invitation of the present stay, and the last stay that ended, once this entry has made the
/// membership what it is.
fn stays(old: Option<&Member>, now: Membership, pos: Pos) -> (Option<Pos>, Option<Stay>) {
    let Some(old) = old else { return (None, None) };
    match (old.standing.membership, now) {
        (Membership::Joined, Membership::Joined) => (old.invited, old.stay),
        (Membership::Joined, _) => {
            let stay = Stay { invited: old.invited.unwrap_or(old.since), joined: old.since, left: pos };
            (None, Some(stay))
        }
        (Membership::Invited, Membership::Joined) => (Some(old.since), None),
        (_, Membership::Joined) => (None, None),
        (_, _) => (None, old.stay),
    }
}

fn keyed(row: FactRow) -> ((Str, Str), Arc<FactRow>) {
    ((row.fact.kind.clone(), row.fact.key.clone()), Arc::new(row))
}

/// Refuses a power below what is needed.
pub(super) fn need(power: Power, level: Power) -> Result<(), Refusal> {
    if power >= level { Ok(()) } else { Err(Refusal::Power(level)) }
}
