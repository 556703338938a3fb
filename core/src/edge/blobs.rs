//! Transfers of media: credit for uploads, reading ahead for downloads, and their ends.

use super::Edge;
use crate::{
    blob::{Blob, BlobDone, BlobId, BlobKey, BlobOp},
    drive::Output,
    ids::ReqId,
    outbox::Slot,
    post::Post,
    projection::Projection,
    refusal::Refusal,
};
use alloc::vec::Vec;

/// Into how many reads the credit of a download is divided: while one is sent, others are on their way.
const READS: usize = 4;

/// A transfer of a session.
pub(crate) struct Transfer {
    /// `None`: only wanted so far.
    pub id: Option<BlobId>,
    pub what: Course,
}

/// How far a transfer is.
pub(crate) enum Course {
    Up(Up),
    Down(Down),
}

/// An upload.
pub(crate) struct Up {
    /// Taken and not handed out: small pieces are gathered while larger ones are written.
    pub gathered: Vec<u8>,
    /// Handed out and not written.
    pub flying: usize,
    /// Taken in all.
    pub taken: u64,
    /// More than this is refused.
    pub limit: u64,
    /// It is whole; hand out the rest and keep it under this name.
    pub end: Option<Option<BlobKey>>,
}

/// A download.
#[derive(Default)]
pub(crate) struct Down {
    /// How long the content is, once it is open.
    pub size: Option<u64>,
    /// Read from here on.
    pub next: u64,
    /// And up to here.
    pub end: u64,
    /// Asked for and not come.
    pub flying: usize,
    /// Where the bytes are written: nothing is read before that slot's turn, or it would pile up there.
    pub slot: Option<Slot>,
}

/// What a projection wants of a transfer.
#[derive(Debug)]
pub(crate) enum Wish {
    Create(Option<u64>),
    /// Bytes were gathered, or the upload is whole.
    Write,
    Open(BlobKey),
    /// The range is known.
    Read,
    Close(BlobId),
}

impl<P: Projection> Edge<P> {
    pub(super) fn blob_wish(&mut self, slot: u32, req: ReqId, wish: Wish) {
        let op = match wish {
            Wish::Create(size) => BlobOp::Create(size),
            Wish::Open(key) => BlobOp::Open(key),
            Wish::Write => return self.blob_write(slot, req),
            Wish::Read => return self.blob_begin(slot, req),
            Wish::Close(id) => {
                self.blobs.remove(&id);
                return self.out(Output::Blob(id, BlobOp::Close));
            }
        };
        let limit = self.core_settings().limits.blobs;
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let me = s.core.me;
        let Some(transfer) = s.core.transfers.get_mut(&req) else { return };
        if self.blobs.len() >= limit {
            return self.blob_failed(slot, req, Refusal::Busy);
        }
        self.next_blob += 1;
        let id = BlobId(self.next_blob);
        transfer.id = Some(id);
        self.blobs.insert(id, (me, req));
        self.out(Output::Blob(id, op));
    }

    /// Hands out what was gathered, if it is worth it or nothing else is being written.
    fn blob_write(&mut self, slot: u32, req: ReqId) {
        let credit = self.core_settings().limits.blob;
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let Some(Transfer { id: Some(id), what: Course::Up(up) }) = s.core.transfers.get_mut(&req) else {
            return;
        };
        let id = *id;
        if up.taken > up.limit {
            return self.blob_failed(slot, req, Refusal::TooLong);
        }
        let n = up.gathered.len().min(credit.saturating_sub(up.flying));
        let worth = n >= credit / READS || up.flying == 0 || up.end.is_some();
        if worth && n > 0 {
            let rest = up.gathered.split_off(n);
            let bytes = core::mem::replace(&mut up.gathered, rest);
            up.flying += n;
            self.outputs.push_back(super::Pending::Out(Output::Blob(id, BlobOp::Write(bytes))));
        }
        if up.gathered.is_empty()
            && let Some(key) = up.end.take()
        {
            self.out(Output::Blob(id, BlobOp::Finish(key)));
        }
    }

    /// The range of a download is known.
    fn blob_begin(&mut self, slot: u32, req: ReqId) {
        let transfer = self.sessions.get(slot).and_then(|s| s.core.transfers.get(&req));
        let Some(Course::Down(down)) = transfer.map(|t| &t.what) else { return };
        if down.next < down.end || down.flying > 0 {
            return self.blob_read(slot);
        }
        self.blob_forget(slot, req);
        self.call(slot, |p, cx| p.blob(req, Blob::Bytes { bytes: Vec::new(), last: true }, cx));
    }

    /// Reads on for the session's downloads, as far as its output has room.
    pub(super) fn blob_read(&mut self, slot: u32) {
        let credit = self.core_settings().limits.blob;
        let busy = |s: &&mut super::session::Session<P>| !s.ended && !s.core.transfers.is_empty();
        let Some(s) = self.sessions.get_mut(slot).filter(busy) else { return };
        let waiting = s.waiting();
        let mut asked: usize = s.core.transfers.values().map(Transfer::flying).sum();
        for t in s.core.transfers.values_mut() {
            let (Some(id), Course::Down(down)) = (t.id, &mut t.what) else { continue };
            if down.slot.is_none_or(|slot| !s.core.out.is_turn(slot)) {
                continue;
            }
            while down.next < down.end {
                let len = (down.end - down.next).min((credit / READS) as u64) as usize;
                if waiting + asked + len > credit {
                    break;
                }
                let op = BlobOp::Read { from: down.next, len };
                self.outputs.push_back(super::Pending::Out(Output::Blob(id, op)));
                down.next += len as u64;
                down.flying += len;
                asked += len;
            }
        }
    }

    /// Something was done for a transfer.
    pub fn blob_done(&mut self, id: BlobId, done: BlobDone, post: &mut Post) {
        let Some(&(session, req)) = self.blobs.get(&id) else { return };
        let Some(slot) = self.find(session) else { return };
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let Some(transfer) = s.core.transfers.get_mut(&req) else { return };
        let told = match (&mut transfer.what, done) {
            (_, BlobDone::Failed(why)) => {
                // Over outside already: nothing is left to close.
                transfer.id = None;
                self.blobs.remove(&id);
                self.blob_failed(slot, req, why);
                return self.blob_settled(slot, post);
            }
            (Course::Up(up), BlobDone::Written(n)) => {
                up.flying = up.flying.saturating_sub(n);
                self.blob_write(slot, req);
                None
            }
            (Course::Up(_), BlobDone::Stored { hash, size }) => {
                self.blob_forget(slot, req);
                Some(Blob::Stored { hash, size })
            }
            (Course::Down(down), BlobDone::Opened(size)) => {
                down.size = Some(size);
                Some(Blob::Opened(size))
            }
            (Course::Down(down), BlobDone::Read(bytes)) => {
                down.flying = down.flying.saturating_sub(bytes.len());
                let last = down.next == down.end && down.flying == 0;
                if last {
                    self.blob_forget(slot, req);
                }
                Some(Blob::Bytes { bytes, last })
            }
            _ => None,
        };
        if let Some(told) = told {
            self.call(slot, |p, cx| p.blob(req, told, cx));
        }
        self.blob_settled(slot, post);
    }

    /// Carries out what the projection wants now; input that waited for credit may go on.
    fn blob_settled(&mut self, slot: u32, post: &mut Post) {
        self.after_answer(slot, post);
        self.blob_read(slot);
    }

    /// The transfer is over, and the session is told why.
    fn blob_failed(&mut self, slot: u32, req: ReqId, why: Refusal) {
        self.blob_forget(slot, req);
        self.call(slot, |p, cx| p.blob(req, Blob::Failed(why), cx));
    }

    /// The transfer is over: nothing of it stays here or outside.
    fn blob_forget(&mut self, slot: u32, req: ReqId) {
        let transfer = self.sessions.get_mut(slot).and_then(|s| s.core.transfers.remove(&req));
        if let Some(id) = transfer.and_then(|t| t.id) {
            self.blobs.remove(&id);
            self.out(Output::Blob(id, BlobOp::Close));
        }
    }

    /// All transfers of a session end: with its connection, or with itself.
    pub(super) fn blobs_end(&mut self, slot: u32) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let all: Vec<ReqId> = s.core.transfers.keys().copied().collect();
        for req in all {
            self.blob_forget(slot, req);
        }
    }
}

impl Transfer {
    fn flying(&self) -> usize {
        match &self.what {
            Course::Up(_) => 0,
            Course::Down(down) => down.flying,
        }
    }
}
