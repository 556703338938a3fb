//! At a start, and when the store answers again: where the shards are, and what must be done again.

use super::{Desk, Fetching, Shards, Work, execute::room_of};
use crate::{
    chat::follows_of,
    command::{Act, Command, EntityId},
    event::Event,
    ids::{Pos, ShardId},
    mail::Mail,
    name::User,
    policy::Membership,
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
                // The watermark must not pass it before it is derived.
                self.expect(head.shard, event.pos);
                let id = EntityId::Room(event.room);
                self.work(desk, id, Work::Derive(event));
            }
        }
        self.loading = self.shards.values().any(|s| !s.loaded);
        let doubted = |id: &&EntityId| self.slots.get(*id).is_some_and(|s| s.live.doubts());
        let doubted: Vec<EntityId> = self.clock.iter().filter(doubted).cloned().collect();
        for id in doubted {
            self.work(desk, id, Work::CatchUp);
        }
        for mail in core::mem::take(&mut self.early) {
            desk.post.local.push_back(mail);
        }
    }

    /// Something that follows from this position is still to be done.
    fn expect(&mut self, shard: ShardId, pos: Pos) {
        if let Some(s) = self.shards.get_mut(&shard) {
            *s.following.entry(pos).or_insert(0) += 1;
        }
    }

    fn again(&mut self, desk: &mut Desk<'_>, shard: ShardId, pos: Pos, command: Command) {
        self.expect(shard, pos);
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
        let follows = entity.and_then(|r| r.head.as_ref()).map(|head| follows_of(event, head));
        let shard = id.shard(desk.settings.shards);
        for command in follows.into_iter().flatten() {
            self.again(desk, shard, event.pos, command);
        }
        self.follow_done(desk, shard, event.pos);
        // It was read for this alone, as a rule: a start would keep every dialog that was busy lately.
        if self.slots.get(id).is_some_and(|slot| slot.is_idle(desk)) {
            self.slots.remove(id);
            self.clock.retain(|other| other != id);
        }
    }

    /// An account is renamed or gone: its rooms hear of it. Should that be cut short, it is done again from what is
    /// stored.
    pub(super) fn sweep(
        &mut self,
        desk: &mut Desk<'_>,
        user: &User,
        gone: bool,
        from: Option<(ShardId, Pos)>,
        page: Page,
    ) {
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
            if let Some((shard, pos)) = from {
                self.expect(shard, pos);
            }
            let again = from.is_some();
            let mail = Mail::Follow { epoch, from, again, origin: None, attach: None, command };
            desk.post.send_to_shard(row.room.shard(desk.settings.shards), mail);
        }
        if let Some((shard, pos)) = from {
            self.follow_done(desk, shard, pos);
        }
    }
}
