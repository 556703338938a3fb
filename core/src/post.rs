//! The post between workers: one queue for each, handed out only while the other has room.

use crate::{
    ids::{ShardId, WorkerId},
    mail::Mail,
};
use alloc::{collections::VecDeque, vec::Vec};

/// Outgoing mail of one worker.
pub(crate) struct Post {
    pub me: WorkerId,
    workers: u8,
    shards: u8,
    /// To itself.
    pub local: VecDeque<Mail>,
    remote: Vec<Remote>,
    waiting: usize,
    limit: usize,
}

struct Remote {
    queue: VecDeque<Mail>,
    room: bool,
}

impl Post {
    pub fn new(me: WorkerId, workers: u8, shards: u8, limit: usize) -> Post {
        let remote = (0..workers).map(|_| Remote { queue: VecDeque::new(), room: true }).collect();
        Post { me, workers, shards, local: VecDeque::new(), remote, waiting: 0, limit }
    }

    pub fn workers(&self) -> u8 {
        self.workers
    }

    /// The worker that owns a shard.
    pub fn owner(&self, shard: ShardId) -> WorkerId {
        WorkerId(shard.0 % self.workers)
    }

    /// The shards of this worker.
    pub fn own_shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let (me, workers) = (self.me.0, self.workers);
        (0..self.shards).map(ShardId).filter(move |s| s.0 % workers == me)
    }

    pub fn send(&mut self, to: WorkerId, mail: Mail) {
        if to == self.me {
            self.local.push_back(mail);
        } else if let Some(r) = self.remote.get_mut(usize::from(to.0)) {
            r.queue.push_back(mail);
            self.waiting += 1;
        }
    }

    /// Mail to the owner of a shard.
    pub fn send_to_shard(&mut self, shard: ShardId, mail: Mail) {
        self.send(self.owner(shard), mail);
    }

    pub fn set_room(&mut self, worker: WorkerId, room: bool) {
        if let Some(r) = self.remote.get_mut(usize::from(worker.0)) {
            r.room = room;
        }
    }

    /// The next letter that can go.
    pub fn poll(&mut self) -> Option<(WorkerId, Mail)> {
        for (i, r) in self.remote.iter_mut().enumerate() {
            if r.room
                && let Some(mail) = r.queue.pop_front()
            {
                self.waiting -= 1;
                return Some((WorkerId(i as u8), mail));
            }
        }
        None
    }

    /// True when some other worker is so far behind that shards must stop showing.
    pub fn is_full(&self) -> bool {
        self.waiting > 0 && self.remote.iter().any(|r| r.queue.len() >= self.limit)
    }
}
