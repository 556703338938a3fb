//! The order of things: nothing is shown before it is stored.
//!
//! All changes of a turn become one append under one ticket. All that the shards of a worker emit waits
//! in one queue behind the ticket that was current when it was emitted.

use crate::{
    ids::{Epoch, Pos, ShardId, Ticket, WorkerId},
    mail::Mail,
    post::Post,
    refusal::Refusal,
    row::Change,
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

pub(crate) struct Ledger {
    pub epoch: Epoch,
    /// Why nothing can be written, while that is so.
    pub down: Option<Refusal>,
    staged: Vec<Change>,
    heads: BTreeMap<ShardId, Pos>,
    /// The last ticket given out; the staged changes get the next.
    appended: Ticket,
    stored: Ticket,
    queue: VecDeque<(Ticket, WorkerId, Mail)>,
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger {
            epoch: Epoch(0),
            down: None,
            staged: Vec::new(),
            heads: BTreeMap::new(),
            appended: Ticket(0),
            stored: Ticket(0),
            queue: VecDeque::new(),
        }
    }

    pub fn stage(&mut self, change: Change) {
        self.staged.push(change);
    }

    /// The shard's next free position is part of the append.
    pub fn head(&mut self, shard: ShardId, next: Pos) {
        self.heads.insert(shard, next);
    }

    /// The ticket under which what is staged now will be stored.
    pub fn current(&self) -> Ticket {
        if self.is_staged() { Ticket(self.appended.0 + 1) } else { self.appended }
    }

    fn is_staged(&self) -> bool {
        !self.staged.is_empty() || !self.heads.is_empty()
    }

    /// True when everything under this ticket is stored.
    pub fn is_stored(&self, ticket: Ticket) -> bool {
        ticket <= self.stored
    }

    /// Sends mail once everything before it is stored.
    pub fn emit(&mut self, to: WorkerId, mail: Mail) {
        self.queue.push_back((self.current(), to, mail));
    }

    /// Closes the batch: the append to be made, if any.
    pub fn close(&mut self) -> Option<(Ticket, Vec<Change>)> {
        if !self.is_staged() {
            return None;
        }
        let mut changes = core::mem::take(&mut self.staged);
        let heads = core::mem::take(&mut self.heads);
        changes.extend(heads.into_iter().map(|(shard, next)| Change::Head(shard, next)));
        self.appended = Ticket(self.appended.0 + 1);
        Some((self.appended, changes))
    }

    pub fn stored(&mut self, ticket: Ticket) {
        debug_assert!(ticket <= self.appended, "stored what was never appended");
        self.stored = self.stored.max(ticket);
    }

    /// Lets go what may be shown.
    pub fn release(&mut self, post: &mut Post) {
        while !post.is_full() && self.queue.front().is_some_and(|e| e.0 <= self.stored) {
            if let Some((_, to, mail)) = self.queue.pop_front() {
                post.send(to, mail);
            }
        }
    }

    /// The store failed: what was not confirmed is unknown. Gives back what waited to be shown.
    pub fn fail(&mut self, why: Refusal) -> Vec<(WorkerId, Mail)> {
        self.down = Some(why);
        self.staged.clear();
        self.heads.clear();
        self.stored = self.appended;
        self.queue.drain(..).map(|(_, to, mail)| (to, mail)).collect()
    }

    /// The store answers again.
    pub fn ready(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.down = None;
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.is_staged() && self.stored == self.appended
    }
}
