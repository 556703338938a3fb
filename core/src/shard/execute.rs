//! Carrying out a command: number, apply, append, follow, show.

use super::{Desk, Fetching, Order, Shards, Work};
use crate::{
    chat::{Entity, Entry, Follow, Outcome, Verdict, room::Room},
    command::{Act, EntityId},
    event::{Event, What},
    ids::{MsgId, Origin, Pos, RoomId, ShardId},
    mail::{Attacher, Mail},
    name::User,
    policy::Membership,
    presence::Presence,
    projection::{Notice, Replay},
    query::{Bound, Only, Range, Value},
    row::{Change, Page, Read},
    time::UnixMillis,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};

/// Carried-out follow-ups between two writings of the watermark.
const SAVE_EVERY: u32 = 64;

/// Reads for one command, at most: what it answers and the root of its thread, or what it withdraws and the edits of that.
const OLDER_MAX: u8 = 3;

impl Shards {
    pub(super) fn execute(&mut self, desk: &mut Desk<'_>, id: &EntityId, order: Order) {
        if let Some(why) = &desk.ledger.down {
            let why = why.clone();
            if let Some(origin) = order.origin {
                self.refuse(desk, origin, why);
            }
            return;
        }
        if self.read_older(desk, id, &order) {
            if let Some(slot) = self.slots.get_mut(id) {
                slot.waiting.push_front(Work::Command(Box::new(Order { read: order.read + 1, ..order })));
            }
            return;
        }
        let shard_id = id.shard(desk.settings.shards);
        let (Some(slot), Some(shard)) = (self.slots.get_mut(id), self.shards.get_mut(&shard_id)) else {
            return;
        };
        let Some(entity) = &mut slot.entity else { return };
        let at = UnixMillis(desk.now.wall.0.max(entity.last_at().0 + 1));
        let Order { command, origin, attach, from, again, .. } = order;
        let entry = Entry { command: *command, first: shard.next, at, again };
        // It shares rows with the entity, which are changed where they are if nobody else has them.
        slot.live.view = None;
        let mut outcome = entity.apply(&entry, desk.settings);
        let first = shard.next;
        let durable = !id.is_transient();
        let used = positions(&outcome, durable);
        debug_assert!(outcome.events.windows(2).all(|w| w[0].pos < w[1].pos && w[1].prev == w[0].pos));
        shard.next = Pos(first.0 + used);
        if durable && used > 0 {
            // Before the rows: they may erase the room with its log.
            for event in &outcome.events {
                desk.ledger.stage(Change::Event(event.clone()));
            }
            for change in outcome.changes.drain(..).filter(is_stored) {
                desk.ledger.stage(change);
            }
            desk.ledger.head(shard_id, shard.next);
        }
        slot.ticket = desk.ledger.current();
        let follow = core::mem::take(&mut outcome.follow);
        let passes = matches!(outcome.verdict, Verdict::Follow);
        let attach = self.follow(desk, shard_id, first, follow, if passes { origin } else { None }, attach);
        self.show(desk, id, &entry, outcome, origin, attach);
        if let (Act::Sweep { gone }, EntityId::Account(account)) = (&entry.command.act, id) {
            return self.start_sweep(desk, *account, *gone, from);
        }
        if let Some((shard, pos)) = from {
            let owner = desk.post.owner(shard);
            desk.ledger.emit(owner, Mail::FollowDone(desk.ledger.epoch, shard, pos));
        }
    }

    /// True: an older entry is being read; the command waits for it.
    fn read_older(&mut self, desk: &mut Desk<'_>, id: &EntityId, order: &Order) -> bool {
        // A room hands out what it needs one by one, and never more than two; an account asks once.
        let most = if matches!(id, EntityId::Room(_)) { OLDER_MAX } else { 1 };
        if order.read >= most || id.is_transient() {
            return false;
        }
        let Some(slot) = self.slots.get_mut(id) else { return false };
        match (id, &slot.entity, &order.command.act) {
            (EntityId::Room(room_id), Some(Entity::Room(room)), act) => {
                let Some(pos) = room.needs(act) else {
                    let Some(pos) = room.needs_edits(act, &order.command.by) else { return false };
                    slot.reading = true;
                    self.ask_edits(desk, *room_id, pos, Pos::MAX);
                    return true;
                };
                slot.reading = true;
                let range = Range {
                    after: Bound::Pos(pos.back()),
                    before: Bound::Pos(pos.next()),
                    only: Only::All,
                    ..Range::latest(1)
                };
                let read = Read::History { room: *room_id, floor: Pos::ZERO, last: Pos::MAX, range };
                self.ask(desk, read, Fetching::Older(id.clone(), pos));
            }
            (
                EntityId::Account(account_id),
                Some(Entity::Account(account)),
                Act::Feed { room, event, .. },
            ) if order.again && account.may_have(*room, event.pos) => {
                slot.reading = true;
                let after = Bound::Msg(MsgId { room: *room, pos: event.pos });
                let range = Range { after, newest: false, only: Only::All, ..Range::latest(1) };
                let read = Read::Feed { account: *account_id, with: None, range };
                self.ask(desk, read, Fetching::Fed(id.clone(), *room, event.pos));
            }
            _ => return false,
        }
        true
    }

    /// Asks for the edits of a message up to a position, the latest first.
    pub(super) fn ask_edits(&mut self, desk: &mut Desk<'_>, room: RoomId, of: Pos, last: Pos) {
        let limit = desk.settings.limits.page;
        let read =
            Read::Related { room, floor: Pos::ZERO, last, targets: alloc::vec![of], newest: true, limit };
        self.ask(desk, read, Fetching::Edits(room, of));
    }

    /// Some of the edits of a message came; those before them are asked for.
    pub(super) fn edits_read(&mut self, desk: &mut Desk<'_>, room_id: RoomId, of: Pos, page: Page) {
        let id = EntityId::Room(room_id);
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Some(Entity::Room(room)) = &mut slot.entity else { return };
        if let Page::Events(found) = page {
            let first = found.entries.first().map(|e| e.pos);
            room.remember_edits(of, found.entries, desk.settings);
            if let Some(first) = first.filter(|_| found.more) {
                return self.ask_edits(desk, room_id, of, first.back());
            }
        }
        room.has_edits(of);
        slot.reading = false;
        self.resume(desk, &id);
    }

    /// Sends what follows at once: it appends too, so nothing is shown before its cause. Gives the
    /// attacher back unless it went along.
    fn follow(
        &mut self,
        desk: &mut Desk<'_>,
        shard: ShardId,
        pos: Pos,
        follow: Vec<Follow>,
        origin: Option<Origin>,
        mut attach: Option<Box<Attacher>>,
    ) -> Option<Box<Attacher>> {
        for (n, f) in follow.into_iter().enumerate() {
            // What has no durable cause needs no telling: its cause is void after a crash too.
            let told = !f.derived || matches!(f.command.act, Act::Feed { .. });
            let lasting = told && !f.command.to.is_transient() && !is_feed_of_memory(&f.command.act);
            if lasting {
                if let Some(s) = self.shards.get_mut(&shard) {
                    *s.following.entry(pos).or_insert(0) += 1;
                }
                if !f.derived {
                    if let Some(s) = self.shards.get_mut(&shard) {
                        s.lasting = true;
                    }
                    desk.ledger.stage(Change::Follow(shard, pos, n as u16, Box::new(f.command.clone())));
                }
            }
            let to = f.command.to.shard(desk.settings.shards);
            let mail = Mail::Follow {
                epoch: desk.ledger.epoch,
                from: lasting.then_some((shard, pos)),
                again: false,
                origin: if f.answers { origin } else { None },
                attach: if f.answers { attach.take() } else { None },
                command: Box::new(f.command),
            };
            desk.post.send_to_shard(to, mail);
        }
        attach
    }

    /// A follow-up is carried out and stored.
    pub(super) fn follow_done(&mut self, desk: &mut Desk<'_>, shard_id: ShardId, pos: Pos) {
        let Some(shard) = self.shards.get_mut(&shard_id) else { return };
        if let Some(n) = shard.following.get_mut(&pos) {
            *n -= 1;
            if *n == 0 {
                shard.following.remove(&pos);
            }
        }
        let upto = shard.following.keys().next().map_or(shard.next.back(), |p| p.back());
        shard.unsaved += 1;
        let worth = shard.unsaved >= SAVE_EVERY || (shard.following.is_empty() && shard.lasting);
        if upto > shard.followed && worth && desk.ledger.down.is_none() {
            (shard.followed, shard.unsaved, shard.lasting) = (upto, 0, false);
            desk.ledger.stage(Change::Followed(shard_id, upto));
            // Entries in memory only count too; what is given out again after a crash must lie above.
            desk.ledger.head(shard_id, shard.next);
        }
    }

    /// Everything that people see of an outcome.
    fn show(
        &mut self,
        desk: &mut Desk<'_>,
        id: &EntityId,
        entry: &Entry,
        outcome: Outcome,
        origin: Option<Origin>,
        attach: Option<Box<Attacher>>,
    ) {
        let Outcome { events, verdict, tell, fed, live, show, probe, same, .. } = outcome;
        if let EntityId::Room(room) = id {
            let answered = matches!(verdict, Verdict::ByEvent);
            self.show_events(
                desk,
                *room,
                &events,
                origin.filter(|_| answered),
                attach.as_deref().filter(|_| answered),
                same,
            );
        }
        if let (EntityId::Room(room), Some(what), Some(by)) = (id, live, entry.command.by.user()) {
            self.show_live(desk, *room, by.clone(), what, same);
        }
        let last = events.last();
        match (verdict, origin) {
            (Verdict::Already(pos), Some(origin)) => self.already(desk, id, pos, origin, attach),
            (Verdict::Value(value), Some(origin)) => self.reply(desk, origin, Ok(value)),
            (Verdict::Refused(why), Some(origin)) => self.refuse(desk, origin, why),
            (Verdict::ByEvent, Some(origin)) if last.is_none() && fed.is_none() => {
                self.reply(desk, origin, Ok(Value::Done));
            }
            _ => {}
        }
        for (account, notice) in tell {
            let notice = match notice {
                Notice::Membership { name, event, .. } => Notice::Membership { name, event, origin },
                Notice::Read { room, mark, .. } => Notice::Read { room, mark, origin },
                Notice::Attrs { from, values, native, .. } => Notice::Attrs { from, values, native, origin },
                Notice::Revoked(crate::projection::Revoked::Credential(_)) => {
                    Notice::Revoked(crate::projection::Revoked::Credential(origin))
                }
                other => other,
            };
            let to = desk.post.owner(account.shard(desk.settings.shards));
            desk.ledger.emit(to, Mail::Notice(account, Arc::new(notice)));
        }
        if let (Some((pos, event)), Act::Feed { with, .. }, EntityId::Account(account)) =
            (fed, &entry.command.act, id)
        {
            let to = desk.post.owner(account.shard(desk.settings.shards));
            desk.ledger.emit(to, Mail::Fed { account: *account, pos, with: with.clone(), event, origin });
        }
        for (contact, visible) in show {
            self.show_presence(desk, id, contact, visible);
        }
        for contact in probe {
            self.ask_presence(desk, id, contact);
        }
        if matches!(entry.command.act, Act::Respell(_) | Act::SetBlocked { .. }) {
            self.tell_name(desk, id, 0);
        }
    }

    /// One mail per attached worker and event.
    pub(super) fn show_events(
        &mut self,
        desk: &mut Desk<'_>,
        room_id: RoomId,
        events: &[Arc<Event>],
        origin: Option<Origin>,
        attach: Option<&Attacher>,
        same: u64,
    ) {
        self.grants += 1;
        let grant = self.grants;
        let Some(slot) = self.slots.get_mut(&EntityId::Room(room_id)) else { return };
        let Some(Entity::Room(room)) = &slot.entity else { return };
        let name = room.head.as_ref().and_then(|h| h.name.clone());
        let mut arrives = None;
        for (i, event) in events.iter().enumerate() {
            let is_last = i + 1 == events.len();
            let origin = origin.filter(|_| is_last);
            let mut granted = None;
            // Making a room is a join and more.
            if let (true, Some(a)) = (is_last, attach)
                && events.iter().any(|event| joins(event, &a.user))
            {
                slot.live.attached.insert(a.session.worker, grant);
                granted = Some(a.session.worker);
                arrives = Some(a.clone());
            }
            let here = event.subject().and_then(|u| slot.live.here.get(&u.id)).map(|h| Arc::new(h.1.clone()));
            for worker in slot.live.attached.keys() {
                desk.ledger.emit(
                    *worker,
                    Mail::Event {
                        name: name.clone(),
                        event: event.clone(),
                        origin: origin.filter(|o| o.session.worker == *worker),
                        grant: (granted == Some(*worker)).then_some(grant),
                        here: here.clone(),
                        same,
                    },
                );
            }
            if let Some(origin) = origin.filter(|o| !slot.live.attached.contains_key(&o.session.worker)) {
                let reply = Ok(Value::Event(event.clone()));
                desk.ledger.emit(origin.session.worker, Mail::Answer(origin, reply));
            }
            match &event.what {
                What::Member(m) if m.after.membership != Membership::Joined => {
                    slot.live.here.remove(&m.user.id);
                }
                What::Member(m) => {
                    if let Some(h) = slot.live.here.get_mut(&m.user.id) {
                        h.0 = m.user.clone();
                    }
                }
                What::Destroyed { .. } => {
                    slot.live.attached.clear();
                    slot.live.here.clear();
                }
                _ => {}
            }
        }
        for event in events {
            if let What::Policy { before, after } = &event.what {
                self.show_changed_standing(desk, room_id, before.levels, after.levels);
            }
        }
        if let Some(a) = arrives {
            self.arrive(desk, room_id, a.user, a.presence, 0);
        }
    }

    /// Done before. A join of a member attaches all the same.
    fn already(
        &mut self,
        desk: &mut Desk<'_>,
        id: &EntityId,
        pos: Pos,
        origin: Origin,
        attach: Option<Box<Attacher>>,
    ) {
        let EntityId::Room(room) = id else {
            return self.reply(desk, origin, Ok(Value::Done));
        };
        let reply = Ok(Value::Already(MsgId { room: *room, pos }));
        let Some(who) = attach else { return self.reply(desk, origin, reply) };
        let replay = Replay { events: Vec::new(), gap: false, view: self.view(*room) };
        self.grant(desk, *room, &who, Ok(Arc::new(replay)), Some((origin.req, reply)));
    }

    /// An account is renamed or gone: its rooms are told, found by the index.
    fn start_sweep(
        &mut self,
        desk: &mut Desk<'_>,
        account: crate::ids::AccountId,
        gone: bool,
        from: Option<(ShardId, Pos)>,
    ) {
        let user = match self.slots.get(&EntityId::Account(account)).and_then(|s| s.entity.as_ref()) {
            Some(Entity::Account(a)) => a.user(),
            _ => None,
        };
        match (user, from) {
            (Some(user), _) => {
                self.ask(desk, Read::Memberships(account), Fetching::Sweep { user, gone, from });
            }
            (None, Some((shard, pos))) => self.follow_done(desk, shard, pos),
            (None, None) => {}
        }
    }
}

/// How many positions an outcome uses: one for each event, at least one if anything is stored.
fn positions(outcome: &Outcome, durable: bool) -> u64 {
    let events = outcome.events.len() as u64;
    let least =
        u64::from(durable && (!outcome.changes.is_empty() || outcome.follow.iter().any(|f| !f.derived)));
    events.max(outcome.positions).max(least)
}

/// Rows of guests live in memory only.
fn is_stored(change: &Change) -> bool {
    match change {
        Change::Member(room, account, _) => !room.is_transient() && !account.is_transient(),
        Change::Feed { account, room, .. } => !account.is_transient() && !room.is_transient(),
        Change::Read(account, room, _) => !account.is_transient() && !room.is_transient(),
        _ => true,
    }
}

fn is_feed_of_memory(act: &Act) -> bool {
    matches!(act, Act::Feed { room, .. } if room.is_transient())
}

fn joins(event: &Event, user: &User) -> bool {
    matches!(&event.what, What::Member(m) if m.user.id == user.id && m.after.membership == Membership::Joined)
}

/// The room of an entity.
pub(super) fn room_of(entity: Option<&Entity>) -> Option<&Room> {
    match entity {
        Some(Entity::Room(r)) => Some(r),
        _ => None,
    }
}

/// A presence in memory for every member that is there.
pub(super) fn presences(
    here: &alloc::collections::BTreeMap<crate::ids::AccountId, (User, Presence)>,
) -> alloc::collections::BTreeMap<crate::ids::AccountId, Presence> {
    here.iter().map(|(id, (_, p))| (*id, p.clone())).collect()
}
