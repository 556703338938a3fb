//! Contents by their hash (see [`lavina_core::blob`]): [`Files`] for servers, [`Memory`] for the simulator
//! and for tests, and a thread for either.

mod files;
mod memory;
mod thread;

pub use files::Files;
pub use memory::{Memory, Mishap};
pub use thread::{Deliver, Handle, start};

use lavina_core::{
    blob::{BlobDone, BlobId, BlobOp},
    ids::WorkerId,
};

/// Keeps contents. It takes the operations of all workers' transfers, those of each in order.
pub trait Blobs: Send {
    /// Does it. The answer is as [`BlobOp`] says; none for [`BlobOp::Close`], and none for a transfer of
    /// which nothing is left here (it failed, and its worker will hear of that, or has).
    fn carry_out(&mut self, from: WorkerId, id: BlobId, op: BlobOp) -> Option<BlobDone>;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Durability, sqlite::scratch::Scratch};
    use lavina_core::{
        blob::{BlobKey, Hash},
        refusal::Refusal,
    };

    const ME: WorkerId = WorkerId(0);

    /// SHA-256 of "abc" (FIPS 180-2, appendix B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn act(blobs: &mut dyn Blobs, id: u64, op: BlobOp) -> BlobDone {
        blobs.carry_out(ME, BlobId(id), op).unwrap()
    }

    fn put(blobs: &mut dyn Blobs, id: u64, pieces: &[&[u8]], made: Option<BlobKey>) -> Hash {
        assert_eq!(act(blobs, id, BlobOp::Create(None)), BlobDone::Opened(0));
        for piece in pieces {
            assert_eq!(act(blobs, id, BlobOp::Write(piece.to_vec())), BlobDone::Written(piece.len()));
        }
        match act(blobs, id, BlobOp::Finish(made)) {
            BlobDone::Stored { hash, size } => {
                assert_eq!(size, pieces.concat().len() as u64);
                hash
            }
            other => panic!("{other:?}"),
        }
    }

    fn get(blobs: &mut dyn Blobs, id: u64, key: BlobKey) -> Option<Vec<u8>> {
        let size = match act(blobs, id, BlobOp::Open(key)) {
            BlobDone::Opened(size) => size,
            BlobDone::Failed(Refusal::NoSuchItem) => return None,
            other => panic!("{other:?}"),
        };
        let read = act(blobs, id, BlobOp::Read { from: 0, len: size as usize });
        assert_eq!(blobs.carry_out(ME, BlobId(id), BlobOp::Close), None);
        match read {
            BlobDone::Read(bytes) => Some(bytes),
            other => panic!("{other:?}"),
        }
    }

    fn contract(blobs: &mut dyn Blobs) {
        let abc = put(blobs, 1, &[b"a", b"", b"bc"], None);
        assert_eq!(abc.to_string(), ABC);
        assert_eq!(put(blobs, 2, &[b"abc"], None), abc, "the same content has the same name");
        assert_eq!(get(blobs, 3, BlobKey::of(abc)).unwrap(), b"abc");
        assert_eq!(get(blobs, 4, BlobKey::of(Hash([1; 32]))), None);
        let empty = put(blobs, 5, &[], None);
        assert_eq!(get(blobs, 6, BlobKey::of(empty)).unwrap(), b"");
        // What is made from another stands beside it, under that name.
        let small = BlobKey { hash: abc, made: 3 };
        assert_eq!(get(blobs, 7, small), None);
        put(blobs, 8, &[b"small"], Some(small));
        assert_eq!(get(blobs, 9, small).unwrap(), b"small");
        assert_eq!(get(blobs, 10, BlobKey::of(abc)).unwrap(), b"abc");
        // A part of it; more than there is, is a fault of the disk's.
        assert_eq!(act(blobs, 11, BlobOp::Open(BlobKey::of(abc))), BlobDone::Opened(3));
        assert_eq!(act(blobs, 11, BlobOp::Read { from: 1, len: 2 }), BlobDone::Read(b"bc".to_vec()));
        assert_eq!(act(blobs, 11, BlobOp::Read { from: 1, len: 3 }), BlobDone::Failed(Refusal::StoreDown));
        assert_eq!(blobs.carry_out(ME, BlobId(11), BlobOp::Read { from: 0, len: 1 }), None);
        // Workers count for themselves.
        assert_eq!(act(blobs, 12, BlobOp::Create(Some(9))), BlobDone::Opened(0));
        assert_eq!(blobs.carry_out(WorkerId(1), BlobId(12), BlobOp::Write(vec![1])), None);
        assert_eq!(blobs.carry_out(ME, BlobId(12), BlobOp::Close), None);
        assert_eq!(blobs.carry_out(ME, BlobId(12), BlobOp::Write(vec![1])), None);
    }

    #[test]
    fn memory_keeps_the_contract() {
        contract(&mut Memory::default());
    }

    #[test]
    fn files_keep_the_contract() {
        let scratch = Scratch::new("blobs");
        for durability in [Durability::Power, Durability::Process] {
            let root = scratch.path(&format!("{durability:?}"));
            contract(&mut Files::open(&root, durability).unwrap());
            let count = |dir: &str| std::fs::read_dir(root.join(dir)).unwrap().count();
            assert_eq!((count("new"), count("ba")), (0, 2), "{durability:?}");
            // Found again, and what was not whole is swept out.
            std::fs::write(root.join("new/0-7"), b"half").unwrap();
            let mut files = Files::open(&root, durability).unwrap();
            assert_eq!(count("new"), 0);
            let abc = put(&mut files, 1, &[b"abc"], None);
            assert_eq!(get(&mut files, 1, BlobKey::of(abc)).unwrap(), b"abc");
            assert_eq!(count("ba"), 2);
        }
    }

    #[test]
    fn an_upload_without_end_leaves_nothing() {
        let scratch = Scratch::new("half");
        let root = scratch.path("media");
        let mut files = Files::open(&root, Durability::Process).unwrap();
        act(&mut files, 1, BlobOp::Create(Some(100)));
        act(&mut files, 1, BlobOp::Write(vec![7; 50]));
        assert_eq!(std::fs::read_dir(root.join("new")).unwrap().count(), 1);
        files.carry_out(ME, BlobId(1), BlobOp::Close);
        assert_eq!(std::fs::read_dir(root.join("new")).unwrap().count(), 0);
        // The process ends with one under way: it goes with the next start.
        act(&mut files, 2, BlobOp::Create(None));
        std::mem::forget(files);
        Files::open(&root, Durability::Process).unwrap();
        assert_eq!(std::fs::read_dir(root.join("new")).unwrap().count(), 0);
    }

    #[test]
    fn a_full_disk_says_so() {
        // A device that has no room; only Linux has one.
        let scratch = Scratch::new("full");
        let root = scratch.path("media");
        let mut files = Files::open(&root, Durability::Process).unwrap();
        if std::os::unix::fs::symlink("/dev/full", root.join("new/0-1")).is_ok()
            && std::path::Path::new("/dev/full").exists()
        {
            files.take(ME, BlobId(1), std::fs::File::options().write(true).open("/dev/full").unwrap());
            assert_eq!(act(&mut files, 1, BlobOp::Write(vec![1; 10])), BlobDone::Failed(Refusal::StoreFull));
            assert_eq!(std::fs::read_dir(root.join("new")).unwrap().count(), 0);
        }
        // A folder that is gone: the disk does not answer.
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(act(&mut files, 2, BlobOp::Create(None)), BlobDone::Failed(Refusal::StoreDown));
        let mut memory = Memory::default();
        memory.mishap = Some(Mishap::Full);
        assert_eq!(act(&mut memory, 1, BlobOp::Create(None)), BlobDone::Failed(Refusal::StoreFull));
    }

    #[test]
    fn a_thread_answers_in_order_and_ends() {
        let (answers, heard) = std::sync::mpsc::channel();
        let deliver = std::sync::Arc::new(move |to: WorkerId, id: BlobId, done: BlobDone| {
            answers.send((to, id, done)).unwrap();
        });
        let (handle, thread) = start(Box::new(Memory::default()), deliver).unwrap();
        handle.carry_out(ME, BlobId(1), BlobOp::Create(None));
        handle.carry_out(ME, BlobId(1), BlobOp::Write(b"abc".to_vec()));
        handle.carry_out(ME, BlobId(1), BlobOp::Finish(None));
        drop(handle);
        thread.join().unwrap();
        let all: Vec<_> = heard.iter().map(|(_, _, done)| done).collect();
        assert_eq!(all[..2], [BlobDone::Opened(0), BlobDone::Written(3)]);
        assert!(matches!(all[2], BlobDone::Stored { size: 3, .. }));
    }
}
