//! The thread of media, as the simulator sees it: what is asked of it takes as long as the dice like, and
//! fails as they like. It checks that no transfer has more under way than it may.

use super::dice::Dice;
use lavina_core::{
    blob::{BlobDone, BlobId, BlobOp},
    ids::WorkerId,
    limits::Limits,
};
use lavina_store::blobs::{Blobs, Memory, Mishap};
use std::collections::{BTreeMap, VecDeque};

/// Contents in memory, with their queues.
pub struct Vault {
    memory: Memory,
    limits: Limits,
    asked: VecDeque<(WorkerId, BlobId, BlobOp)>,
    answers: Vec<VecDeque<(BlobId, BlobDone)>>,
    /// Bytes under way of each transfer: asked for, and not answered.
    flying: BTreeMap<(WorkerId, BlobId), usize>,
    /// Operations that failed as told.
    pub failures: usize,
    /// Contents kept, uploads of the same ones included.
    pub stored: usize,
    /// Bytes read.
    pub read: usize,
}

impl Vault {
    /// Nothing is kept.
    pub fn new(limits: Limits, workers: u8) -> Vault {
        Vault {
            memory: Memory::default(),
            limits,
            asked: VecDeque::new(),
            answers: (0..workers).map(|_| VecDeque::new()).collect(),
            flying: BTreeMap::new(),
            failures: 0,
            stored: 0,
            read: 0,
        }
    }

    /// Takes what a worker wants.
    pub fn ask(&mut self, worker: WorkerId, id: BlobId, op: BlobOp) {
        let at = (worker, id);
        let bytes = match &op {
            BlobOp::Write(bytes) => bytes.len(),
            BlobOp::Read { len, .. } => *len,
            _ => 0,
        };
        match op {
            BlobOp::Close => drop(self.flying.remove(&at)),
            BlobOp::Create(_) | BlobOp::Open(_) => {
                assert!(self.flying.insert(at, 0).is_none(), "transfers have fresh names");
                let mine = self.flying.keys().filter(|k| k.0 == worker).count();
                assert!(mine <= self.limits.blobs, "a worker has {mine} transfers");
            }
            _ => {
                let flying = self.flying.get_mut(&at).expect("only what is begun goes on");
                *flying += bytes;
                assert!(*flying <= self.limits.blob, "{flying} bytes under way of one transfer");
            }
        }
        self.asked.push_back((worker, id, op));
    }

    /// True: something is to be done.
    pub fn can_work(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Does the next thing. One in `fail` goes wrong.
    pub fn work(&mut self, dice: &mut Dice, fail: usize) {
        let Some((worker, id, op)) = self.asked.pop_front() else { return };
        if op != BlobOp::Close && dice.once_in(fail) {
            self.memory.mishap = Some(dice.pick(&[Mishap::Full, Mishap::Broken]));
        }
        let done = self.memory.carry_out(worker, id, op);
        match &done {
            Some(BlobDone::Failed(_)) => self.failures += 1,
            Some(BlobDone::Stored { .. }) => self.stored += 1,
            Some(BlobDone::Read(bytes)) => self.read += bytes.len(),
            _ => {}
        }
        self.memory.mishap = None;
        if let Some(done) = done {
            self.answers[usize::from(worker.0)].push_back((id, done));
        }
    }

    /// Workers that have an answer waiting.
    pub fn waiting(&self) -> Vec<WorkerId> {
        (0u8..).zip(&self.answers).filter(|(_, q)| !q.is_empty()).map(|(n, _)| WorkerId(n)).collect()
    }

    /// The next answer for a worker.
    pub fn answer(&mut self, worker: WorkerId) -> Option<(BlobId, BlobDone)> {
        let (id, done) = self.answers.get_mut(usize::from(worker.0))?.pop_front()?;
        if matches!(done, BlobDone::Failed(_)) {
            self.flying.remove(&(worker, id));
        } else if let Some(flying) = self.flying.get_mut(&(worker, id)) {
            *flying -= match &done {
                BlobDone::Written(n) => *n,
                BlobDone::Read(bytes) => bytes.len(),
                _ => 0,
            };
        }
        Some((id, done))
    }

    /// The process ends: transfers are over, what is kept stays.
    pub fn crash(&mut self) {
        self.memory.crash();
        self.asked.clear();
        self.flying.clear();
        self.answers.iter_mut().for_each(VecDeque::clear);
    }

    /// When everything has settled: no transfer is left anywhere.
    pub fn check_settled(&self) {
        assert!(self.asked.is_empty() && self.memory.open() == 0, "a transfer is left open");
    }
}
