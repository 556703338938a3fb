//! What is in doubt when the store fails: what was appended and not confirmed may be stored or not.
//!
//! Whoever waits for an answer is refused at once. What was to be shown is kept; when the store answers
//! again, that part of it is shown whose entry turns out to be stored.

use super::{Desk, Fetching, Live, Shards, Work, refuse_attach};
use crate::{
    chat::{Entity, room::Room},
    command::{Act, Command, EntityId},
    event::{How, What},
    ids::{Origin, Pos, WorkerId},
    mail::Mail,
    policy::Member,
    projection::Notice,
    query::{Bound, Only, Range},
    refusal::Refusal,
    row::{Page, Read},
};
use alloc::{boxed::Box, collections::BTreeSet, sync::Arc, vec::Vec};

/// Mail that is good if the entry at this position is stored, or in any case and waits for its turn.
pub(super) struct Doubt {
    pos: Pos,
    sure: bool,
    to: WorkerId,
    mail: Mail,
}

/// What a failure of the store has left behind with an entity.
#[derive(Default)]
pub(super) struct Unsure {
    /// What was to be shown, until it is known what of it is stored.
    doubt: Vec<Doubt>,
    /// Guests' rows while the room is not in memory.
    guests: Vec<Member>,
}

impl Live {
    /// True: it is not known yet what of that which was to be shown is stored.
    pub(super) fn doubts(&self) -> bool {
        self.unsure.as_ref().is_some_and(|u| !u.doubt.is_empty())
    }

    fn take_doubts(&mut self) -> Vec<Doubt> {
        let taken = self.unsure.as_mut().map(|u| core::mem::take(&mut u.doubt)).unwrap_or_default();
        self.forget_what_is_sure();
        taken
    }

    fn keep_doubts(&mut self, doubt: Vec<Doubt>) {
        if !doubt.is_empty() {
            self.unsure.get_or_insert_default().doubt = doubt;
        }
    }

    /// The guests kept while the room was not in memory.
    pub(super) fn take_guests(&mut self) -> Vec<Member> {
        let taken = self.unsure.as_mut().map(|u| core::mem::take(&mut u.guests)).unwrap_or_default();
        self.forget_what_is_sure();
        taken
    }

    fn keep_guests(&mut self, guests: Vec<Member>) {
        if !guests.is_empty() || self.unsure.is_some() {
            self.unsure.get_or_insert_default().guests = guests;
        }
    }

    fn forget_what_is_sure(&mut self) {
        self.unsure.take_if(|u| u.doubt.is_empty() && u.guests.is_empty());
    }
}

impl Shards {
    /// The store failed: durable entities are forgotten, what is live stays. What waited to be shown
    /// is refused to those who wait for an answer, and kept for when more is known.
    pub fn fail(&mut self, desk: &mut Desk<'_>, why: &Refusal) {
        for (to, mail) in desk.ledger.fail(why.clone()) {
            self.refuse_mail(desk, to, mail, why);
        }
        self.loading = true;
        for shard in self.shards.values_mut() {
            (shard.loaded, shard.unsaved) = (false, 0);
            shard.following.clear();
        }
        self.drop_reads(desk, why);
        let ids: Vec<EntityId> = self.clock.iter().filter(|id| !id.is_transient()).cloned().collect();
        for id in ids {
            self.forget(desk, &id, why);
        }
        self.clock.retain(|id| self.slots.contains_key(id));
    }

    /// Mail that waited for the store.
    fn refuse_mail(&mut self, desk: &mut Desk<'_>, to: WorkerId, mail: Mail, why: &Refusal) {
        match mail {
            // What is in memory only is in no doubt.
            Mail::Event { ref event, .. } if event.room.is_transient() => desk.post.send(to, mail),
            Mail::Attached { room, .. } if room.is_transient() => desk.post.send(to, mail),
            Mail::Fed { account, .. } if account.is_transient() => desk.post.send(to, mail),
            Mail::Fed { account, pos, ref event, .. } if event.room.is_transient() => {
                // Not before those of its feed that are in doubt.
                let id = EntityId::Account(account);
                match self.slots.get(&id).is_some_and(|s| s.live.doubts()) {
                    true => self.keep(id, Doubt { pos, sure: true, to, mail }),
                    false => desk.post.send(to, mail),
                }
            }
            Mail::Event { name, event, origin, grant, here, same } => {
                let refused = match (origin, grant) {
                    (Some(Origin { session, req }), Some(grant)) => {
                        let answers = Some((req, Err(why.clone())));
                        let replay = Err(why.clone());
                        Some(Mail::Attached { room: event.room, session, grant, replay, answers })
                    }
                    (Some(origin), None) => Some(Mail::Answer(origin, Err(why.clone()))),
                    (None, _) => None,
                };
                refused.into_iter().for_each(|mail| desk.post.send(to, mail));
                let (id, pos) = (EntityId::Room(event.room), event.pos);
                self.doubt(id, pos, to, Mail::Event { name, event, origin: None, grant: None, here, same });
            }
            Mail::Fed { account, pos, with, event, origin } => {
                if let Some(origin) = origin {
                    desk.post.send(origin.session.worker, Mail::Answer(origin, Err(why.clone())));
                }
                let fed = Mail::Fed { account, pos, with, event, origin: None };
                self.doubt(EntityId::Account(account), pos, to, fed);
            }
            Mail::Attached { room, session, grant, answers, .. } => {
                // With its number, so that the edge can give back what it does not need.
                let answers = answers.map(|(req, _)| (req, Err(why.clone())));
                desk.post
                    .send(to, Mail::Attached { room, session, grant, replay: Err(why.clone()), answers });
            }
            Mail::Answer(origin, _) | Mail::Read(origin, _) => {
                desk.post.send(origin.session.worker, Mail::Answer(origin, Err(why.clone())));
            }
            Mail::Notice(account, notice) => self.doubt_notice(desk, to, account, notice),
            Mail::Live(_, ref live) => {
                let id = EntityId::Room(live.room);
                match self.slots.get(&id).and_then(|s| s.live.unsure.as_ref()?.doubt.last()).map(|d| d.pos) {
                    Some(pos) => self.doubt(id, pos, to, mail),
                    None => desk.post.send(to, mail),
                }
            }
            // What is never stored goes on.
            Mail::NoticeTo(..) | Mail::SignalHere(..) | Mail::Whois { .. } | Mail::Probe { .. } => {
                desk.post.send(to, mail);
            }
            // The rest is derived again, or void.
            _ => {}
        }
    }

    fn doubt_notice(
        &mut self,
        desk: &mut Desk<'_>,
        to: WorkerId,
        account: crate::ids::AccountId,
        notice: Arc<Notice>,
    ) {
        match &*notice {
            Notice::Membership { event, .. } | Notice::Destroyed { event, .. }
                if event.room.is_transient() =>
            {
                desk.post.send(to, Mail::Notice(account, notice));
            }
            Notice::Membership { name, event, .. } => {
                let (id, pos) = (EntityId::Room(event.room), event.pos);
                // Whoever asked was refused and has seen nothing.
                let notice = Notice::Membership { name: name.clone(), event: event.clone(), origin: None };
                self.doubt(id, pos, to, Mail::Notice(account, Arc::new(notice)));
            }
            Notice::Destroyed { event, .. } => {
                self.doubt(EntityId::Room(event.room), event.pos, to, Mail::Notice(account, notice));
            }
            Notice::Presence { .. } | Notice::Signal(_) => {
                desk.post.send(to, Mail::Notice(account, notice));
            }
            _ => {}
        }
    }

    fn doubt(&mut self, id: EntityId, pos: Pos, to: WorkerId, mail: Mail) {
        self.keep(id, Doubt { pos, sure: false, to, mail });
    }

    fn keep(&mut self, id: EntityId, doubt: Doubt) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.live.unsure.get_or_insert_default().doubt.push(doubt);
        }
    }

    /// What is being read may be from before the failure: its answers would bring back what is void. Only
    /// answers to people's questions are still good.
    fn drop_reads(&mut self, desk: &mut Desk<'_>, why: &Refusal) {
        for (id, fetching) in core::mem::take(&mut self.fetches) {
            match fetching {
                Fetching::Heads
                | Fetching::Entity(_)
                | Fetching::Older(..)
                | Fetching::Edits(..)
                | Fetching::Fed(..)
                | Fetching::Sweep { .. }
                | Fetching::CatchUp(_) => {}
                Fetching::Replay { room, who } => refuse_attach(desk, room, &who, why.clone()),
                kept @ (Fetching::Answer(_) | Fetching::Directory(..) | Fetching::Counts(..)) => {
                    self.fetches.insert(id, kept);
                }
            }
        }
    }

    fn forget(&mut self, desk: &mut Desk<'_>, id: &EntityId, why: &Refusal) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        // A name that a guest holds is known to nobody else.
        if matches!(id, EntityId::Name(_)) && slot.entity.as_ref().is_some_and(Entity::is_pinned) {
            return;
        }
        if let Some(Entity::Room(room)) = &slot.entity {
            slot.live.keep_guests(room.guests());
        }
        (slot.entity, slot.reading) = (None, false);
        let waiting = core::mem::take(&mut slot.waiting);
        if slot.live.is_empty() {
            self.slots.remove(id);
        }
        for work in waiting {
            match work {
                // What nobody waits for is not asked for again either.
                Work::Command(order) if order.origin.is_none() && order.from.is_none() => {
                    let epoch = desk.ledger.epoch;
                    desk.post.send_to_shard(id.shard(desk.settings.shards), order.into_mail(epoch));
                }
                Work::Here { .. } | Work::Detach { .. } | Work::Present { .. } => {
                    if let Some(slot) = self.slots.get_mut(id) {
                        slot.waiting.push_back(work);
                    }
                }
                work => self.refuse_work(desk, id, work, why.clone()),
            }
        }
    }

    /// Reads which of the doubted entries are stored.
    pub(super) fn catch_up(&mut self, desk: &mut Desk<'_>, id: &EntityId) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        // One position, one entry; what belongs to it keeps its order.
        let Some(unsure) = &mut slot.live.unsure else { return };
        unsure.doubt.sort_by_key(|d| d.pos);
        let Some(first) = unsure.doubt.first() else { return };
        let range = Range {
            after: Bound::Pos(first.pos.back()),
            newest: false,
            only: Only::All,
            ..Range::latest(desk.settings.limits.page)
        };
        let read = match *id {
            EntityId::Room(room) => Read::History { room, floor: Pos::ZERO, last: Pos::MAX, range },
            EntityId::Account(account) => Read::Feed { account, with: None, range },
            EntityId::Name(_) => return,
        };
        slot.reading = true;
        self.ask(desk, read, Fetching::CatchUp(id.clone()));
    }

    /// Shows what is stored of what was in doubt.
    pub(super) fn catch_up_read(&mut self, desk: &mut Desk<'_>, id: &EntityId, page: Page) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.reading = false;
        let (stored, more): (BTreeSet<Pos>, bool) = match page {
            Page::Events(s) => (s.entries.iter().map(|e| e.pos).collect(), s.more),
            Page::Feed(s) => (s.entries.iter().map(|e| e.0).collect(), s.more),
            Page::Failed(_) => {
                // Tried again before the next work.
                slot.waiting.push_front(Work::CatchUp);
                return;
            }
            _ => (BTreeSet::new(), false),
        };
        let upto = if more { stored.last().copied().unwrap_or(Pos::MAX) } else { Pos::MAX };
        let (known, unknown): (Vec<Doubt>, Vec<Doubt>) =
            slot.live.take_doubts().into_iter().partition(|d| d.pos <= upto);
        slot.live.keep_doubts(unknown);
        let (good, void): (Vec<Doubt>, Vec<Doubt>) =
            known.into_iter().partition(|d| d.sure || stored.contains(&d.pos));
        good.into_iter().for_each(|d| desk.ledger.emit(d.to, d.mail));
        if let Some(Entity::Room(room)) = &mut slot.entity {
            undo_guests(desk, room, &void);
        }
        if slot.live.doubts() {
            slot.waiting.push_front(Work::CatchUp);
        }
        self.resume(desk, id);
    }
}

/// What is not stored of guests is undone in memory too, from the last on. Whoever had gone goes again.
fn undo_guests(desk: &mut Desk<'_>, room: &mut Room, void: &[Doubt]) {
    let entries = void.iter().filter_map(|d| match &d.mail {
        Mail::Event { event, .. } => Some(event),
        _ => None,
    });
    let mut last = Pos::MAX;
    for event in entries.rev() {
        // One mail for each worker.
        if let What::Member(change) = &event.what
            && event.pos < last
        {
            last = event.pos;
            room.undo(event.pos, event.at, change);
            if change.how == How::Quit {
                let act = Act::Leave { reason: change.reason.clone(), quit: true, same: 0 };
                let command = Box::new(Command::by(&change.user, EntityId::Room(room.id), act));
                let epoch = desk.ledger.epoch;
                let mail =
                    Mail::Follow { epoch, from: None, again: false, origin: None, attach: None, command };
                desk.post.send_to_shard(room.id.shard(desk.settings.shards), mail);
            }
        }
    }
}
