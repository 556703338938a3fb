//! Contents in memory, able to fail as a disk does.

use super::Blobs;
use lavina_core::{
    blob::{BlobDone, BlobId, BlobKey, BlobOp, Hash},
    ids::WorkerId,
    refusal::Refusal,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What goes wrong next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// There is no space.
    Full,
    /// The disk does not answer.
    Broken,
}

/// Contents in memory.
#[derive(Debug, Default)]
pub struct Memory {
    kept: BTreeMap<BlobKey, Vec<u8>>,
    open: BTreeMap<(WorkerId, BlobId), Open>,
    /// The next operation but a close fails so.
    pub mishap: Option<Mishap>,
}

#[derive(Debug)]
enum Open {
    New(Vec<u8>),
    Old(BlobKey),
}

impl Memory {
    /// How many contents are kept.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Transfers under way.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// A content.
    pub fn view(&self, key: BlobKey) -> Option<&[u8]> {
        self.kept.get(&key).map(Vec::as_slice)
    }

    /// The process ends: transfers are over, what is kept stays.
    pub fn crash(&mut self) {
        self.open.clear();
    }
}

impl Blobs for Memory {
    fn carry_out(&mut self, from: WorkerId, id: BlobId, op: BlobOp) -> Option<BlobDone> {
        let at = (from, id);
        if op == BlobOp::Close {
            self.open.remove(&at);
            return None;
        }
        let fresh = matches!(op, BlobOp::Create(_) | BlobOp::Open(_));
        if !fresh && !self.open.contains_key(&at) {
            return None;
        }
        if let Some(mishap) = self.mishap.take() {
            self.open.remove(&at);
            return Some(BlobDone::Failed(match mishap {
                Mishap::Full => Refusal::StoreFull,
                Mishap::Broken => Refusal::StoreDown,
            }));
        }
        Some(match (op, self.open.remove(&at)) {
            (BlobOp::Create(_), _) => {
                self.open.insert(at, Open::New(Vec::new()));
                BlobDone::Opened(0)
            }
            (BlobOp::Open(key), _) => match self.kept.get(&key) {
                Some(bytes) => {
                    self.open.insert(at, Open::Old(key));
                    BlobDone::Opened(bytes.len() as u64)
                }
                None => BlobDone::Failed(Refusal::NoSuchItem),
            },
            (BlobOp::Write(bytes), Some(Open::New(mut all))) => {
                all.extend_from_slice(&bytes);
                self.open.insert(at, Open::New(all));
                BlobDone::Written(bytes.len())
            }
            (BlobOp::Finish(key), Some(Open::New(all))) => {
                let (hash, size) = (Hash(Sha256::digest(&all).into()), all.len() as u64);
                self.kept.entry(key.unwrap_or(BlobKey::of(hash))).or_insert(all);
                BlobDone::Stored { hash, size }
            }
            (BlobOp::Read { from, len }, Some(Open::Old(key))) => {
                let all = self.kept.get(&key).map_or(&[][..], Vec::as_slice);
                match all.get(from as usize..).and_then(|rest| rest.get(..len)) {
                    Some(bytes) => {
                        self.open.insert(at, Open::Old(key));
                        BlobDone::Read(bytes.to_vec())
                    }
                    None => BlobDone::Failed(Refusal::StoreDown),
                }
            }
            (_, _) => BlobDone::Failed(Refusal::Invalid("not in this transfer's direction")),
        })
    }
}
