//! Contents as files: `ab/cdef…`, named by their hash in hexadecimal digits, `ab/cdef….3` for the third
//! thing made from it; `new/…` while they are written.

use super::Blobs;
use crate::{Durability, Fault};
use lavina_core::{
    blob::{BlobDone, BlobId, BlobKey, BlobOp, Hash},
    ids::WorkerId,
    refusal::Refusal,
};
use rustix::fs::{FallocateFlags, fallocate};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Contents in a folder, for its owner only.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    durability: Durability,
    open: BTreeMap<(WorkerId, BlobId), Open>,
}

#[derive(Debug)]
enum Open {
    New { file: File, sum: Sha256, size: u64 },
    Old(File),
}

impl Files {
    /// Opens the folder, or makes it, and sweeps out what an earlier process left unfinished.
    ///
    /// # Errors
    /// [`Fault::Io`].
    pub fn open(root: &Path, durability: Durability) -> Result<Files, Fault> {
        let new = root.join("new");
        let fault = |e: io::Error| Fault::Io(format!("{}: {e}", new.display()));
        make(&new).map_err(fault)?;
        for entry in fs::read_dir(&new).map_err(fault)? {
            fs::remove_file(entry.map_err(fault)?.path()).map_err(fault)?;
        }
        Ok(Files { root: root.to_path_buf(), durability, open: BTreeMap::new() })
    }

    fn act(&mut self, at: (WorkerId, BlobId), op: BlobOp) -> Result<BlobDone, Refusal> {
        Ok(match (op, self.open.remove(&at)) {
            (BlobOp::Create(size), _) => {
                let new = self.new_path(at);
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new);
                let file = file.map_err(|e| refusal(&e))?;
                self.open.insert(at, Open::New { file, sum: Sha256::new(), size: 0 });
                let Some(Open::New { file, .. }) = self.open.get(&at) else { return Err(Refusal::Busy) };
                reserve(file, size)?;
                BlobDone::Opened(0)
            }
            (BlobOp::Open(key), _) => {
                let file = File::open(self.path(key)).map_err(|e| match e.kind() {
                    ErrorKind::NotFound => Refusal::NoSuchItem,
                    _ => refusal(&e),
                })?;
                let size = file.metadata().map_err(|e| refusal(&e))?.len();
                self.open.insert(at, Open::Old(file));
                BlobDone::Opened(size)
            }
            (BlobOp::Write(bytes), Some(Open::New { mut file, mut sum, size })) => {
                file.write_all(&bytes).map_err(|e| refusal(&e))?;
                sum.update(&bytes);
                self.open.insert(at, Open::New { file, sum, size: size + bytes.len() as u64 });
                BlobDone::Written(bytes.len())
            }
            (BlobOp::Finish(key), Some(Open::New { file, sum, size })) => {
                let hash = Hash(sum.finalize().into());
                let key = key.unwrap_or(BlobKey::of(hash));
                self.keep(at, &file, key, size).map_err(|e| refusal(&e))?;
                BlobDone::Stored { hash, size }
            }
            (BlobOp::Read { from, len }, Some(Open::Old(file))) => {
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, from).map_err(|e| refusal(&e))?;
                self.open.insert(at, Open::Old(file));
                BlobDone::Read(bytes)
            }
            (_, _) => return Err(Refusal::Invalid("not in this transfer's direction")),
        })
    }

    /// What is written becomes a content, if there is none of that name.
    fn keep(&self, at: (WorkerId, BlobId), file: &File, key: BlobKey, size: u64) -> io::Result<()> {
        let (new, path) = (self.new_path(at), self.path(key));
        if path.try_exists()? {
            return fs::remove_file(new);
        }
        let folder = path.parent().unwrap_or(&self.root);
        let made = !folder.try_exists()?;
        make(folder)?;
        // Space that was set aside and not used goes back.
        file.set_len(size)?;
        if self.durability == Durability::Power {
            file.sync_all()?;
        }
        fs::rename(new, &path)?;
        if self.durability == Durability::Power {
            File::open(folder)?.sync_all()?;
            if made {
                File::open(&self.root)?.sync_all()?;
            }
        }
        Ok(())
    }

    fn path(&self, key: BlobKey) -> PathBuf {
        let name = key.hash.to_string();
        let (folder, rest) = name.split_at(2);
        let made = if key.made == 0 { String::new() } else { format!(".{}", key.made) };
        self.root.join(folder).join(format!("{rest}{made}"))
    }

    fn new_path(&self, (worker, id): (WorkerId, BlobId)) -> PathBuf {
        self.root.join(format!("new/{}-{}", worker.0, id.0))
    }

    /// Takes a file as if it was being written.
    #[cfg(test)]
    pub(super) fn take(&mut self, from: WorkerId, id: BlobId, file: File) {
        self.open.insert((from, id), Open::New { file, sum: Sha256::new(), size: 0 });
    }
}

impl Blobs for Files {
    fn carry_out(&mut self, from: WorkerId, id: BlobId, op: BlobOp) -> Option<BlobDone> {
        let at = (from, id);
        let fresh = matches!(op, BlobOp::Create(_) | BlobOp::Open(_));
        let (unfinished, ends) = (
            matches!(op, BlobOp::Create(_)) || matches!(self.open.get(&at), Some(Open::New { .. })),
            op == BlobOp::Close,
        );
        if ends || !(fresh || self.open.contains_key(&at)) {
            self.open.remove(&at);
            if ends && unfinished {
                let _ = fs::remove_file(self.new_path(at));
            }
            return None;
        }
        let done = self.act(at, op);
        if done.is_err() {
            self.open.remove(&at);
            if unfinished {
                // Not there in the first place, or swept out at the next start.
                let _ = fs::remove_file(self.new_path(at));
            }
        }
        Some(done.unwrap_or_else(BlobDone::Failed))
    }
}

/// Sets space aside, so that a full disk is told before the upload and not in its middle. Where the file
/// system cannot do that, nothing is lost.
fn reserve(file: &File, size: Option<u64>) -> Result<(), Refusal> {
    match size {
        None | Some(0) => Ok(()),
        Some(size) => match fallocate(file, FallocateFlags::KEEP_SIZE, 0, size) {
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => Err(Refusal::StoreFull),
            _ => Ok(()),
        },
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn refusal(e: &io::Error) -> Refusal {
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Refusal::StoreFull,
        // A file of this process' limit may be free again soon.
        _ if [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
            .iter()
            .any(|busy| e.raw_os_error() == Some(busy.raw_os_error())) =>
        {
            Refusal::Busy
        }
        _ => Refusal::StoreDown,
    }
}
