//! At a start, and when the store answers again: where the shards are, what must be done again, what
//! was stored but never shown.

use super::{Desk, Fetching, Shards, Work, execute::room_of};
use crate::{
    chat::{Entity, follows_of},
    command::{Act, Command, EntityId},
    event::Event,
    ids::{Pos, RoomId},
    mail::Mail,
    name::User,
    policy::Membership,
    refusal::Refusal,
    row::{Page, Read},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};

impl Shards {
    /// Asks where the shards are; until that is known their mail waits.
    pub fn start(&mut self, desk: &mut Desk<'_>) {
        let ids = self.shards.keys().copied().collect();
        self.ask(desk, Read::Heads(ids), Fetching::Heads);
    }

    pub(super) fn heads(&mut self, desk: &mut Desk<'_>, page: Page) {
        let Page::Heads(heads) = page else {
            // The store is not there yet; it says when it is.
            return;
        };
        for head in heads {
            let Some(shard) = self.shards.get_mut(&head.shard) else { continue };
            shard.next = shard.next.max(head.next);
            shard.followed = head.followed;
            shard.following.clear();
            shard.loaded = true;
            for (pos, _, command) in head.follows {
                self.again(desk, head.shard, pos, command);
            }
            for event in head.events {
                let id = EntityId::Room(event.room);
                self.work(desk, id, Work::Derive(event));
            }
        }
        let shown: Vec<EntityId> = self.clock.iter().filter(|id| self.must_catch_up(id)).cloned().collect();
        for id in shown {
            self.work(desk, id, Work::CatchUp);
        }
        for mail in core::mem::take(&mut self.early) {
            desk.post.local.push_back(mail);
        }
    }

    fn must_catch_up(&self, id: &EntityId) -> bool {
        let room = matches!(id, EntityId::Room(r) if !r.is_transient());
        room && self.slots.get(id).is_some_and(|s| !s.live.attached.is_empty())
    }

    fn again(&mut self, desk: &mut Desk<'_>, shard: crate::ids::ShardId, pos: Pos, command: Command) {
        if let Some(s) = self.shards.get_mut(&shard) {
            *s.following.entry(pos).or_insert(0) += 1;
        }
        let to = command.to.shard(desk.settings.shards);
        let mail = Mail::Follow {
            epoch: desk.ledger.epoch,
            from: Some((shard, pos)),
            again: true,
            origin: None,
            attach: None,
            command: Box::new(command),
        };
        desk.post.send_to_shard(to, mail);
    }

    pub(super) fn derive(&mut self, desk: &mut Desk<'_>, id: &EntityId, event: &Arc<Event>) {
        let entity = self.slots.get(id).and_then(|s| room_of(s.entity.as_ref()));
        let Some(head) = entity.and_then(|r| r.head.as_ref()) else { return };
        let shard = id.shard(desk.settings.shards);
        for command in follows_of(event, head) {
            self.again(desk, shard, event.pos, command);
        }
    }

    pub(super) fn catch_up(&mut self, desk: &mut Desk<'_>, id: &EntityId) {
        let EntityId::Room(room) = *id else { return };
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.reading = true;
        let range = super::after(slot.live.shown, desk.settings.limits.page);
        self.ask(desk, Read::History { room, floor: Pos::ZERO, range }, Fetching::CatchUp(room));
    }

    pub(super) fn catch_up_read(&mut self, desk: &mut Desk<'_>, room: RoomId, page: Page) {
        let id = EntityId::Room(room);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.reading = false;
        }
        if let Page::Events(s) = page {
            self.show_events(desk, room, &s.entries, None, None, 0);
        }
        self.resume(desk, &id);
    }

    /// The store failed: durable entities are forgotten, what is live stays. What waited to be shown
    /// is refused to those who wait for an answer.
    pub fn fail(&mut self, desk: &mut Desk<'_>, why: &Refusal) {
        for (_, mail) in desk.ledger.fail(why.clone()) {
            if let Mail::Event { event, .. } = &mail
                && let Some(slot) = self.slots.get_mut(&EntityId::Room(event.room))
            {
                // Refused now; if it is stored all the same, it is shown once that is known.
                slot.live.shown = slot.live.shown.min(event.prev);
            }
            let origin = match mail {
                Mail::Event { origin, .. } | Mail::Fed { origin, .. } => origin,
                Mail::Answer(origin, _) => Some(origin),
                Mail::Attached { room, session, .. } => {
                    let replay = Err(why.clone());
                    let refused = Mail::Attached { room, session, grant: 0, replay, answers: None };
                    desk.post.send(session.worker, refused);
                    None
                }
                _ => None,
            };
            if let Some(origin) = origin {
                desk.post.send(origin.session.worker, Mail::Answer(origin, Err(why.clone())));
            }
        }
        for shard in self.shards.values_mut() {
            (shard.loaded, shard.unsaved) = (false, 0);
            shard.following.clear();
        }
        let ids: Vec<EntityId> = self.clock.iter().filter(|id| !id.is_transient()).cloned().collect();
        for id in ids {
            self.forget(desk, &id, why);
        }
        self.clock.retain(|id| self.slots.contains_key(id));
    }

    fn forget(&mut self, desk: &mut Desk<'_>, id: &EntityId, why: &Refusal) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        // A name that a guest holds is known to nobody else.
        if matches!(id, EntityId::Name(_)) && slot.entity.as_ref().is_some_and(Entity::is_pinned) {
            return;
        }
        (slot.entity, slot.reading) = (None, false);
        let waiting = core::mem::take(&mut slot.waiting);
        if slot.live.is_empty() {
            self.slots.remove(id);
        }
        for work in waiting {
            match work {
                Work::Here { .. } | Work::Detach { .. } | Work::Present { .. } => {
                    if let Some(slot) = self.slots.get_mut(id) {
                        slot.waiting.push_back(work);
                    }
                }
                work => self.refuse_work(desk, id, work, why.clone()),
            }
        }
    }

    /// An account is renamed or gone: its rooms hear of it.
    pub(super) fn sweep(&mut self, desk: &mut Desk<'_>, user: &User, gone: bool, page: Page) {
        let Page::Memberships(rows) = page else { return };
        let same = self.fresh_same();
        for row in rows {
            let act = if gone && row.member.standing.membership == Membership::Joined {
                Act::Leave { reason: None, quit: false, same: 0 }
            } else if gone {
                Act::Forget
            } else {
                Act::Rename { to: user.clone(), same }
            };
            let command = Box::new(Command::by(user, EntityId::Room(row.room), act));
            let epoch = desk.ledger.epoch;
            let mail = Mail::Follow { epoch, from: None, again: false, origin: None, attach: None, command };
            desk.post.send_to_shard(row.room.shard(desk.settings.shards), mail);
        }
    }
}
