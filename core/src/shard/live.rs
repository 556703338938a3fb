//! The live part: who is attached, who is there, presence of accounts. Never stored.

use super::{
    Desk, Fetching, Shards, Subscribed,
    execute::{presences, room_of},
};
use crate::{
    chat::Entity,
    chat::room::Readable,
    command::{Act, Command, EntityId},
    event::{Live, LiveWhat},
    ids::{AccountId, Origin, Pos, ReqId, RoomId, SessionRef},
    mail::{Attacher, Mail, RoomSignal},
    name::User,
    policy::{Levels, Membership, Power, Standing},
    presence::{Presence, Show},
    projection::{Notice, Replay, Signal, SignalWhat},
    query::{Reply, RoomView},
    refusal::Refusal,
    row::{Page, Read},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};

/// People in a room above whom nobody is told of everybody's new standing.
const MANY_HERE: usize = 100;

impl Shards {
    /// The room as sessions see it now.
    pub(super) fn view(&mut self, room: RoomId) -> Option<Arc<RoomView>> {
        let slot = self.slots.get_mut(&EntityId::Room(room))?;
        let entity = room_of(slot.entity.as_ref())?;
        entity.head.as_ref()?;
        let here = &slot.live.here;
        Some(slot.live.view.get_or_insert_with(|| Arc::new(entity.view(presences(here)))).clone())
    }

    /// Attaches a worker and tells its session, then shows that the member is there.
    pub(super) fn grant(
        &mut self,
        desk: &mut Desk<'_>,
        room: RoomId,
        who: &Attacher,
        replay: Result<Arc<Replay>, Refusal>,
        answers: Option<(ReqId, Reply)>,
    ) {
        self.grants += 1;
        let grant = self.grants;
        if let Some(slot) = self.slots.get_mut(&EntityId::Room(room)) {
            slot.live.attached.insert(who.session.worker, grant);
        }
        let session = who.session;
        desk.ledger.emit(session.worker, Mail::Attached { room, session, grant, replay, answers });
        self.arrive(desk, room, who.user.clone(), who.presence.clone(), 0);
    }

    pub(super) fn attach(
        &mut self,
        desk: &mut Desk<'_>,
        id: &EntityId,
        since: Option<Pos>,
        who: Box<Attacher>,
    ) {
        let EntityId::Room(room_id) = *id else { return };
        let Some(slot) = self.slots.get_mut(id) else { return };
        let Some(room) = room_of(slot.entity.as_ref()) else { return };
        let joined = |m: &crate::policy::Member| m.standing.membership == Membership::Joined;
        if !room.members.get(&who.user.id).is_some_and(joined) {
            return super::refuse_attach(desk, room_id, &who, Refusal::NotMember);
        }
        let replay = match since {
            None => Some(Vec::new()),
            Some(since) => room.replay(since, who.user.id),
        };
        match replay {
            Some(events) => {
                let view = self.view(room_id);
                let replay = Ok(Arc::new(Replay { events, gap: false, view }));
                self.grant(desk, room_id, &who, replay, None);
            }
            None => {
                let nothing = Readable { floor: Pos::MAX, last: Pos::ZERO };
                let Readable { floor, last } = room.readable(who.user.id).unwrap_or(nothing);
                let range = super::after(since.unwrap_or(Pos::ZERO), desk.settings.limits.page);
                slot.reading = true;
                self.ask(
                    desk,
                    Read::History { room: room_id, floor, last, range },
                    Fetching::Replay { room: room_id, who },
                );
            }
        }
    }

    pub(super) fn replay_read(&mut self, desk: &mut Desk<'_>, room: RoomId, who: &Attacher, page: Page) {
        let id = EntityId::Room(room);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.reading = false;
        }
        match page {
            Page::Events(s) => {
                let view = self.view(room);
                let replay = Ok(Arc::new(Replay { events: s.entries, gap: s.more, view }));
                self.grant(desk, room, who, replay, None);
            }
            Page::Failed(why) => super::refuse_attach(desk, room, who, why),
            _ => super::refuse_attach(desk, room, who, Refusal::NoSuchRoom),
        }
        self.resume(desk, &id);
    }

    pub(super) fn detach(&mut self, id: &EntityId, worker: crate::ids::WorkerId, grant: u64) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        if slot.live.attached.get(&worker) == Some(&grant) {
            slot.live.attached.remove(&worker);
        }
    }

    pub(super) fn here(
        &mut self,
        desk: &mut Desk<'_>,
        id: &EntityId,
        user: User,
        presence: Option<Presence>,
        same: u64,
    ) {
        let EntityId::Room(room) = *id else { return };
        match presence {
            Some(last) if last.show == Show::Offline => self.depart(desk, room, &user, Some(last), same),
            Some(presence) => self.arrive(desk, room, user, presence, same),
            None => self.depart(desk, room, &user, None, same),
        }
    }

    /// A member is there, or there in another way.
    pub(super) fn arrive(
        &mut self,
        desk: &mut Desk<'_>,
        room: RoomId,
        user: User,
        presence: Presence,
        same: u64,
    ) {
        let Some(slot) = self.slots.get_mut(&EntityId::Room(room)) else { return };
        let Some(standing) = joined_standing(slot.entity.as_ref(), user.id) else { return };
        let before = slot.live.here.get(&user.id).map(|h| h.1.clone());
        if before.as_ref() == Some(&presence) {
            return;
        }
        slot.live.here.insert(user.id, (user.clone(), presence.clone()));
        slot.live.view = None;
        let levels = room_of(slot.entity.as_ref()).and_then(|r| r.head.as_ref()).map(|h| h.policy.levels);
        let what = LiveWhat::Here { presence, before, standing, levels: levels.unwrap_or_default() };
        self.show_live(desk, room, user, what, same);
    }

    /// A member's last session went.
    fn depart(&mut self, desk: &mut Desk<'_>, room: RoomId, user: &User, last: Option<Presence>, same: u64) {
        let Some(slot) = self.slots.get_mut(&EntityId::Room(room)) else { return };
        let Some((_, before)) = slot.live.here.remove(&user.id) else { return };
        let presence = last.unwrap_or(before);
        slot.live.view = None;
        let Some(standing) = joined_standing(slot.entity.as_ref(), user.id) else { return };
        let levels = room_of(slot.entity.as_ref()).and_then(|r| r.head.as_ref()).map(|h| h.policy.levels);
        let what = LiveWhat::Gone { standing, levels: levels.unwrap_or_default(), presence };
        self.show_live(desk, room, user.clone(), what, same);
        if room.is_transient() && !user.is_guest() {
            // A room in memory has only those members that are there.
            let act = Act::Leave { reason: None, quit: true, same: 0 };
            let command = Box::new(Command::by(user, EntityId::Room(room), act));
            let epoch = desk.ledger.epoch;
            let mail = Mail::Follow { epoch, from: None, again: false, origin: None, attach: None, command };
            desk.post.send_to_shard(room.shard(desk.settings.shards), mail);
        }
    }

    pub(super) fn signal(
        &mut self,
        desk: &mut Desk<'_>,
        id: &EntityId,
        origin: Option<Origin>,
        by: User,
        what: RoomSignal,
        same: u64,
    ) {
        let EntityId::Room(room) = *id else { return };
        let refusal = self.slots.get(id).map_or(Some(Refusal::NoSuchRoom), |slot| {
            match (room_of(slot.entity.as_ref()), joined_standing(slot.entity.as_ref(), by.id)) {
                (Some(r), Some(standing)) => {
                    let speak = r.head.as_ref().map_or(0, |h| h.policy.levels.speak);
                    let free =
                        matches!(what, RoomSignal::Display(_) | RoomSignal::Attrs(_) | RoomSignal::About(_));
                    (standing.power < speak && !free).then_some(Refusal::Muted)
                }
                _ => Some(Refusal::NotMember),
            }
        });
        if let Some(why) = refusal {
            if let Some(origin) = origin {
                self.refuse(desk, origin, why);
            }
            return;
        }
        let mut only = None;
        let what = match what {
            RoomSignal::Typing(on) => LiveWhat::Typing(on),
            RoomSignal::Native(native, least) => {
                let entity = self.slots.get(id).and_then(|slot| room_of(slot.entity.as_ref()));
                only = least.zip(entity).map(|(least, room)| room.ranked(least, by.id));
                LiveWhat::Signal(native)
            }
            RoomSignal::About(native) => LiveWhat::Signal(native),
            RoomSignal::Display(name) => LiveWhat::Display(name),
            RoomSignal::Attrs(values) => LiveWhat::Attrs(values),
        };
        let Some(slot) = self.slots.get(&EntityId::Room(room)) else { return };
        slot.show_live(desk, Live { room, same, origin, by, what, only });
    }

    pub(super) fn show_live(
        &mut self,
        desk: &mut Desk<'_>,
        room: RoomId,
        by: User,
        what: LiveWhat,
        same: u64,
    ) {
        if let Some(slot) = self.slots.get(&EntityId::Room(room)) {
            slot.show_live(desk, Live { room, same, origin: None, by, what, only: None });
        }
    }

    /// The rules changed: of those who are there it is shown who may speak or put out now and could not before, or the
    /// other way round; where many are there, to each alone.
    pub(super) fn show_changed_standing(
        &mut self,
        desk: &mut Desk<'_>,
        room: RoomId,
        before: Levels,
        levels: Levels,
    ) {
        let Some(slot) = self.slots.get(&EntityId::Room(room)) else { return };
        let differs = |power: Power| {
            (power >= before.speak) != (power >= levels.speak)
                || (power >= before.kick) != (power >= levels.kick)
        };
        let many = slot.live.here.len() > MANY_HERE;
        for (account, (user, presence)) in &slot.live.here {
            let standing = joined_standing(slot.entity.as_ref(), *account);
            let Some(standing) = standing.filter(|s| differs(s.power)) else { continue };
            let (presence, before) = (presence.clone(), Some(presence.clone()));
            let what = LiveWhat::Here { presence, before, standing, levels };
            let only = many.then(|| [*account].into());
            slot.show_live(desk, Live { room, same: 0, origin: None, by: user.clone(), what, only });
        }
    }

    // --- accounts ---

    /// A subscribed session of an account came, went, or changed its presence.
    pub(super) fn present(
        &mut self,
        desk: &mut Desk<'_>,
        id: &EntityId,
        session: SessionRef,
        user: User,
        now: Option<Subscribed>,
        same: u64,
    ) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.live.user = Some(Box::new(user.clone()));
        let said = now.as_ref().and_then(|s| s.presence.clone());
        let label = now.as_ref().map(|s| s.label.clone());
        let old = match now {
            Some(now) => slot.live.sessions.insert(session, now),
            None => slot.live.sessions.remove(&session),
        };
        let label = label.or_else(|| old.as_ref().map(|s| s.label.clone())).unwrap_or_default();
        let before = old.and_then(|s| s.presence);
        self.tell_name(desk, id, same);
        if let Some(slot) = self.slots.get_mut(id).filter(|s| id.is_transient() && s.live.sessions.is_empty())
        {
            // Nothing of a guest outlives its session.
            slot.entity = Some(Entity::fresh(id));
        }
        let available = |p: &Option<Presence>| p.as_ref().is_some_and(|p| p.show != Show::Offline);
        let (was, is) = (available(&before), available(&said));
        if !was && !is {
            return;
        }
        let presence = said.unwrap_or(Presence { show: Show::Offline, ..Presence::default() });
        let notice = Arc::new(Notice::Presence { from: user.clone(), label, presence });
        for account in self.watchers(id, user.id) {
            let to = desk.post.owner(account.shard(desk.settings.shards));
            desk.ledger.emit(to, Mail::Notice(account, notice.clone()));
        }
        if !was && is {
            self.first_presence(desk, id, session, &user);
        }
    }

    /// The account itself and the contacts that may see its presence.
    fn watchers(&self, id: &EntityId, me: AccountId) -> Vec<AccountId> {
        let mut out = Vec::from([me]);
        if let Some(Entity::Account(a)) = self.slots.get(id).and_then(|s| s.entity.as_ref()) {
            let blocked = a.head.as_ref().map(|h| h.blocked.as_slice()).unwrap_or_default();
            let seeing = a.contacts.values().filter(|c| c.from && !blocked.contains(&c.address));
            out.extend(seeing.filter_map(|c| c.account));
        }
        out
    }

    /// A session came online: it learns of the account's other sessions and of its contacts.
    fn first_presence(&mut self, desk: &mut Desk<'_>, id: &EntityId, session: SessionRef, user: &User) {
        let Some(slot) = self.slots.get(id) else { return };
        for (_, Subscribed { label, presence, .. }) in
            slot.live.sessions.iter().filter(|(s, _)| **s != session)
        {
            if let Some(presence) = presence.clone().filter(|p| p.show != Show::Offline) {
                let notice = Notice::Presence { from: user.clone(), label: label.clone(), presence };
                desk.ledger.emit(session.worker, Mail::NoticeTo(session, Arc::new(notice)));
            }
        }
        let Some(Entity::Account(a)) = &slot.entity else { return };
        let asked: Vec<AccountId> = a.contacts.values().filter(|c| c.to).filter_map(|c| c.account).collect();
        for contact in asked {
            let mail = Mail::Probe { account: contact, by: user.clone() };
            desk.post.send_to_shard(contact.shard(desk.settings.shards), mail);
        }
    }

    /// A contact asks how present the account is.
    pub(super) fn probe(&mut self, desk: &mut Desk<'_>, id: &EntityId, by: &User) {
        let Some(slot) = self.slots.get(id) else { return };
        let Some(Entity::Account(a)) = &slot.entity else { return };
        let key = by.name.folded();
        let blocked = a.head.as_ref().is_some_and(|h| h.blocked.iter().any(|b| *b == *key));
        if a.contacts.get(key.as_str()).is_some_and(|c| c.from) && !blocked {
            self.show_presence(desk, id, by.id, true);
        }
    }

    /// Shows the presence of all sessions of an account to a contact, or that it sees it no more.
    pub(super) fn show_presence(
        &mut self,
        desk: &mut Desk<'_>,
        id: &EntityId,
        contact: AccountId,
        visible: bool,
    ) {
        let Some(slot) = self.slots.get(id) else { return };
        let Some(user) = slot.live.user.as_deref().cloned() else { return };
        for Subscribed { label, presence, .. } in slot.live.sessions.values() {
            let Some(mut presence) = presence.clone().filter(|p| p.show != Show::Offline) else { continue };
            if !visible {
                presence = Presence { show: Show::Offline, ..Presence::default() };
            }
            let notice = Arc::new(Notice::Presence { from: user.clone(), label: label.clone(), presence });
            let to = desk.post.owner(contact.shard(desk.settings.shards));
            desk.ledger.emit(to, Mail::Notice(contact, notice));
        }
    }

    /// Asks for a contact's presence, if anybody is there to see it.
    pub(super) fn ask_presence(&mut self, desk: &mut Desk<'_>, id: &EntityId, contact: AccountId) {
        let Some(by) = self
            .slots
            .get(id)
            .filter(|s| !s.live.sessions.is_empty())
            .and_then(|s| s.live.user.as_deref().cloned())
        else {
            return;
        };
        // Behind what is being stored: the contact's own side must have it first.
        let to = desk.post.owner(contact.shard(desk.settings.shards));
        desk.ledger.emit(to, Mail::Probe { account: contact, by });
    }

    /// A signal to an account: blocked senders do not get through.
    pub(super) fn signal_to(
        &mut self,
        desk: &mut Desk<'_>,
        id: &EntityId,
        origin: Origin,
        signal: Box<Signal>,
    ) {
        let Some(slot) = self.slots.get(id) else { return };
        let key = signal.from.name.folded();
        let blocked = match &slot.entity {
            Some(Entity::Account(a)) => {
                a.head.as_ref().is_some_and(|h| h.blocked.iter().any(|b| *b == *key))
                    && signal.from.id != signal.to
                    && !matches!(signal.what, SignalWhat::End(_))
            }
            _ => false,
        };
        if blocked {
            self.refuse(desk, origin, Refusal::Blocked);
        } else if slot.live.sessions.is_empty() {
            self.refuse(desk, origin, Refusal::Unreachable);
        } else {
            // The account's sessions are on this worker, like its shard.
            desk.ledger.emit(desk.post.me, Mail::SignalHere(origin, signal));
        }
    }
}

impl super::Slot {
    /// One mail per attached worker.
    fn show_live(&self, desk: &mut Desk<'_>, live: Live) {
        let room = room_of(self.entity.as_ref());
        let name = room.and_then(|r| r.head.as_ref()).and_then(|h| h.name.clone());
        let by = room.map_or_else(|| live.by.clone(), |room| room.called(&live.by));
        let (origin, live) = (live.origin, Arc::new(Live { by, ..live }));
        for worker in self.live.attached.keys() {
            desk.ledger.emit(*worker, Mail::Live(name.clone(), live.clone()));
        }
        if let Some(origin) = origin.filter(|o| !self.live.attached.contains_key(&o.session.worker)) {
            desk.ledger.emit(origin.session.worker, Mail::Answer(origin, Ok(crate::query::Value::Done)));
        }
    }
}

fn joined_standing(entity: Option<&Entity>, account: AccountId) -> Option<Standing> {
    let member = room_of(entity)?.members.get(&account)?;
    (member.standing.membership == Membership::Joined).then_some(member.standing)
}
