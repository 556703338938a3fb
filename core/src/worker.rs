//! A worker: one edge, the shards it owns, and the post between them.

use crate::{
    drive::{Drive, Due, Input, Output, Why},
    edge::{Edge, Pending},
    ids::{ConnId, WorkerId},
    log::{Level, Log},
    mail::{Mail, Round},
    post::Post,
    projection::Projection,
    row::Asked,
    shard::{Desk, Shards, ledger::Ledger},
    time::Now,
};
use alloc::{collections::VecDeque, sync::Arc};

/// One of the workers of a server. See [`crate::drive`] for how it is driven.
pub struct Worker<P: Projection> {
    now: Now,
    settings: Arc<P::Settings>,
    edge: Edge<P>,
    shards: Shards,
    ledger: Ledger,
    post: Post,
    reads: VecDeque<Asked>,
}

impl<P: Projection> Worker<P> {
    /// Worker `id` of `workers`. The seed makes everything random; equal seeds and inputs give equal
    /// outputs. The first outputs read where the shards are.
    pub fn new(id: WorkerId, workers: u8, settings: Arc<P::Settings>, seed: [u8; 32], now: Now) -> Worker<P> {
        let core: &crate::settings::Settings = (*settings).as_ref();
        let post = Post::new(id, workers, core.shards, core.limits.mailbox);
        let mut worker = Worker {
            now,
            edge: Edge::new(id, workers, settings.clone(), seed, now),
            shards: Shards::new(&post),
            settings,
            ledger: Ledger::new(),
            post,
            reads: VecDeque::new(),
        };
        worker.with_shards(|shards, desk| shards.start(desk));
        worker
    }

    fn with_shards<R>(&mut self, f: impl FnOnce(&mut Shards, &mut Desk<'_>) -> R) -> R {
        let mut desk = Desk {
            now: self.now,
            settings: (*self.settings).as_ref(),
            ledger: &mut self.ledger,
            post: &mut self.post,
            reads: &mut self.reads,
        };
        f(&mut self.shards, &mut desk)
    }

    /// Works off what is at hand, up to the budget of a turn.
    fn run(&mut self) {
        let mut budget = (*self.settings).as_ref().limits.turn;
        while budget > 0 {
            budget -= 1;
            self.edge.end_sessions(&mut self.post);
            self.ledger.release(&mut self.post);
            if let Some(mail) = self.post.local.pop_front() {
                self.deliver(mail);
            } else if !self.edge.run_ready(&mut self.post) && !self.edge.fire(&mut self.post) {
                break;
            }
        }
        self.edge.end_sessions(&mut self.post);
        self.edge.end_burst();
        // What the last step emitted is work left over, and is seen as such only in the post.
        self.ledger.release(&mut self.post);
    }

    fn deliver(&mut self, mut mail: Mail) {
        if let Mail::Round(_, round) = &mut mail
            && let Round::Counts(counts) = &mut **round
        {
            self.edge.count(counts);
        }
        if let Some(mail) = self.with_shards(|shards, desk| shards.mail(desk, mail)) {
            self.edge.mail(mail, &mut self.post);
        }
    }

    /// True when everything is stored and shown that there was: the server can stop.
    pub fn is_idle(&self) -> bool {
        self.ledger.is_idle() && self.post.local.is_empty() && !self.edge.has_ready()
    }

    fn log(&mut self, log: Log) {
        self.edge.outputs.push_back(Pending::Out(Output::Log(log)));
    }
}

impl<P: Projection> Drive<P> for Worker<P> {
    fn handle(&mut self, now: Now, input: Input<'_, P>) {
        (self.now, self.edge.now) = (now, now);
        match input {
            Input::Opened(conn, on, peer) => self.edge.opened(conn, on, peer, &mut self.post),
            Input::Received(conn, bytes) => self.edge.received(conn, bytes, &mut self.post),
            Input::Sent(conn, n) => return self.edge.sent(conn, n),
            Input::Closed(conn) => self.edge.closed(conn, &mut self.post),
            Input::Moved(conn, moving) => self.edge.moved(conn, *moving, now, &mut self.post),
            Input::Mail(mail) => self.deliver(mail),
            Input::Room(worker, room) => self.post.set_room(worker, room),
            Input::Stored(epoch, ticket) => {
                if epoch == self.ledger.epoch && self.ledger.down.is_none() {
                    self.ledger.stored(ticket);
                }
            }
            Input::StoreFailed(epoch, why) => {
                if epoch == self.ledger.epoch && self.ledger.down.is_none() {
                    self.with_shards(|shards, desk| shards.fail(desk, &why));
                    self.log(Log::new(
                        Level::Error,
                        "the store does not answer; writes are refused until it does",
                    ));
                }
            }
            Input::StoreReady(epoch) => {
                self.ledger.ready(epoch);
                self.edge.epoch = epoch;
                self.with_shards(|shards, desk| shards.start(desk));
                self.log(Log::new(Level::Warn, "the store answers again"));
            }
            Input::Fetched(id, page) => self.with_shards(|shards, desk| shards.fetched(desk, id, page)),
            Input::JobDone(id, done) => self.edge.job_done(id, done, &mut self.post),
            Input::Blob(id, done) => self.edge.blob_done(id, done, &mut self.post),
            Input::Settings(settings) => {
                self.settings = settings.clone();
                self.edge.set_settings(settings, &mut self.post);
            }
            Input::Tick => {}
            Input::Drain => self.edge.drain(&mut self.post),
        }
        self.run();
    }

    fn poll_output(&mut self) -> Option<Output<P>> {
        loop {
            if let Some(pending) = self.edge.outputs.pop_front() {
                match pending {
                    Pending::Out(output) => return Some(output),
                    Pending::Move(slot) => match self.edge.poll_move(slot) {
                        Some(output) => return Some(output),
                        None => continue,
                    },
                }
            }
            if let Some((ticket, changes)) = self.ledger.close() {
                return Some(Output::Append(self.ledger.epoch, ticket, changes));
            }
            if let Some(asked) = self.reads.pop_front() {
                return Some(Output::Fetch(asked));
            }
            if let Some((to, mail)) = self.post.poll() {
                return Some(Output::Mail(to, mail));
            }
            return self.edge.poll_flush();
        }
    }

    fn transmit(&mut self, conn: ConnId) -> &[u8] {
        self.edge.transmit(conn)
    }

    fn poll_deadline(&self) -> Due {
        if !self.post.local.is_empty() || self.edge.has_ready() {
            return Due::Now;
        }
        match self.edge.next_timer() {
            Some((at, _)) if at <= self.now.mono => Due::Now,
            Some((at, id)) => Due::At(at, why(id)),
            None => Due::Idle,
        }
    }
}

fn why(timer: u8) -> Why {
    match timer {
        255 => Why::Login,
        254 => Why::Park,
        253 => Why::Flood,
        _ => Why::Timer,
    }
}
