//! The store's threads, as the simulator sees them: commits and reads that take as long as it likes, and
//! fail as it likes. The rules are those of `lavina_store::Threads`.

use super::dice::Dice;
use lavina_core::{
    ids::{Epoch, FetchId, Ticket, WorkerId},
    refusal::Refusal,
    row::{Asked, Change, Page, Read},
};
use lavina_store::{Memory, Store, memory::Fate};
use std::collections::VecDeque;

/// What a worker hears of the store.
#[derive(Debug)]
pub enum Answer {
    /// Stored up to this ticket.
    Stored(Epoch, Ticket),
    /// The store failed.
    Failed(Epoch, Refusal),
    /// The store answers again.
    Ready(Epoch),
    /// A read is done.
    Fetched(FetchId, Page),
}

/// A memory store with its queues.
pub struct Disk {
    memory: Memory,
    epoch: Epoch,
    up: bool,
    batches: VecDeque<(WorkerId, Ticket, Vec<Change>)>,
    reads: Vec<(WorkerId, Asked)>,
    answers: Vec<VecDeque<Answer>>,
    /// How many commits failed.
    pub failures: usize,
}

impl Disk {
    /// An empty store.
    pub fn new(shards: u8, workers: u8) -> Disk {
        Disk {
            memory: Memory::new(shards).expect("a power of two up to 64"),
            epoch: Epoch(0),
            up: true,
            batches: VecDeque::new(),
            reads: Vec::new(),
            answers: (0..workers).map(|_| VecDeque::new()).collect(),
            failures: 0,
        }
    }

    /// Takes a batch.
    pub fn append(&mut self, worker: WorkerId, epoch: Epoch, ticket: Ticket, changes: Vec<Change>) {
        if epoch == self.epoch && self.up {
            self.batches.push_back((worker, ticket, changes));
        }
    }

    /// Takes a question.
    pub fn fetch(&mut self, worker: WorkerId, asked: Asked) {
        self.reads.push((worker, asked));
    }

    /// True: something can be committed, or opened again.
    pub fn can_commit(&self) -> bool {
        !self.batches.is_empty() || !self.up
    }

    /// True: a question waits.
    pub fn can_read(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Workers that have an answer waiting.
    pub fn waiting(&self) -> Vec<WorkerId> {
        (0u8..).zip(&self.answers).filter(|(_, q)| !q.is_empty()).map(|(n, _)| WorkerId(n)).collect()
    }

    /// The next answer for a worker.
    pub fn answer(&mut self, worker: WorkerId) -> Option<Answer> {
        self.answers.get_mut(usize::from(worker.0))?.pop_front()
    }

    /// Commits what is at hand, or some of it; or opens the store again. One commit in `fail` fails.
    pub fn commit(&mut self, dice: &mut Dice, fail: usize) {
        if !self.up {
            self.memory.reopen();
            (self.up, self.epoch) = (true, Epoch(self.epoch.0 + 1));
            let epoch = self.epoch;
            self.answers.iter_mut().for_each(|q| q.push_back(Answer::Ready(epoch)));
            return;
        }
        let group: Vec<_> = self.batches.drain(..1 + dice.below(self.batches.len())).collect();
        for (_, _, changes) in &group {
            self.memory.append(changes).expect("an open store takes batches");
        }
        let fate = if dice.once_in(fail) {
            self.failures += 1;
            [Fate::Lost, Fate::Landed, Fate::Full, Fate::Torn(dice.below(group.len() + 1))][dice.below(4)]
        } else {
            Fate::Stored
        };
        self.memory.arm(fate);
        match self.memory.commit() {
            Ok(()) => {
                for (worker, ticket, _) in group {
                    self.answers[usize::from(worker.0)].push_back(Answer::Stored(self.epoch, ticket));
                }
            }
            Err(fault) => {
                assert_ne!(fate, Fate::Stored, "the store refused what the core appended: {fault}");
                self.up = false;
                self.batches.clear();
                let (epoch, why) = (self.epoch, Refusal::from(&fault));
                self.answers.iter_mut().for_each(|q| q.push_back(Answer::Failed(epoch, why.clone())));
            }
        }
    }

    /// Answers one of the questions, from what is committed.
    pub fn read(&mut self, dice: &mut Dice) {
        let (worker, asked) = self.reads.swap_remove(dice.below(self.reads.len()));
        let page = self.memory.view(&asked.read);
        self.answers[usize::from(worker.0)].push_back(Answer::Fetched(asked.id, page));
    }

    /// The process ends: some of what was not committed is there, the rest is lost.
    pub fn crash(&mut self, dice: &mut Dice) {
        if self.up {
            let n = dice.below(self.batches.len() + 1);
            for (_, _, changes) in self.batches.drain(..n) {
                self.memory.append(&changes).expect("an open store takes batches");
            }
            self.memory.crash(n);
        } else {
            self.memory.reopen();
        }
        self.batches.clear();
        self.reads.clear();
        self.answers.iter_mut().for_each(VecDeque::clear);
        (self.epoch, self.up) = (Epoch(0), true);
    }

    /// What is committed.
    pub fn view(&self, read: &Read) -> Page {
        self.memory.view(read)
    }
}
