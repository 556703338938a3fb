//! Media: contents that stream past the core by credit and are kept outside, by their hash.
//!
//! A *transfer* brings one content in or out for one session. Of each transfer at most
//! [`Limits::blob`](crate::limits::Limits::blob) bytes are under way at a time: an upload takes no more
//! until earlier bytes are written, and a download is read only as its session's output drains, so
//! neither a slow disk nor a slow reader costs more memory than that.
//!
//! Contents carry no rights: whose they are, how they are called and who may see them is said by
//! [`crate::media`], or by a protocol.

use crate::refusal::Refusal;
use alloc::vec::Vec;
use core::fmt;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// The SHA-256 of a content: its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    /// In lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C> Encode<C> for Hash {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Hash {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Hash, decode::Error> {
        let bytes = d.bytes()?;
        bytes.try_into().map(Hash).map_err(|_| decode::Error::message("a hash has 32 bytes"))
    }
}

/// What a content is called where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobKey {
    /// The hash of the content, or of the one it was made from.
    pub hash: Hash,
    /// Zero: that content itself; else something made from it (a smaller picture), in a numbering of the
    /// codecs. It can be made again, and goes when that content goes.
    pub made: u8,
}

impl BlobKey {
    /// The content itself.
    pub fn of(hash: Hash) -> BlobKey {
        BlobKey { hash, made: 0 }
    }
}

/// A transfer, counted by its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub u64);

/// What is to be done for a transfer, outside. Each but the last is answered, in order; after
/// [`BlobDone::Failed`], or the last, nothing is left of the transfer there.
#[derive(Clone, PartialEq, Eq)]
pub enum BlobOp {
    /// Begin a new content; so many bytes long, if that is known. → [`BlobDone::Opened`].
    Create(Option<u64>),
    /// Add these bytes to it. → [`BlobDone::Written`].
    Write(Vec<u8>),
    /// It is whole: keep it, durably, under this name, or under its own hash. What is there already under
    /// that name stays. → [`BlobDone::Stored`].
    Finish(Option<BlobKey>),
    /// Look for a content. → [`BlobDone::Opened`], or `Failed` with [`Refusal::NoSuchItem`].
    Open(BlobKey),
    /// Read `len` bytes of it from `from`. → [`BlobDone::Read`] with so many, or `Failed`.
    Read {
        /// The first byte.
        from: u64,
        /// How many; all of them are there.
        len: usize,
    },
    /// Forget the transfer; of a content that is not whole nothing stays.
    Close,
}

impl fmt::Debug for BlobOp {
    /// Contents never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlobOp::Create(size) => write!(f, "Create({size:?})"),
            BlobOp::Write(bytes) => write!(f, "Write({})", bytes.len()),
            BlobOp::Finish(key) => write!(f, "Finish({key:?})"),
            BlobOp::Open(key) => write!(f, "Open({key:?})"),
            BlobOp::Read { from, len } => write!(f, "Read({from}, {len})"),
            BlobOp::Close => f.write_str("Close"),
        }
    }
}

/// What came of it.
#[derive(Clone, PartialEq, Eq)]
pub enum BlobDone {
    /// It is there, so many bytes long; a new one has none.
    Opened(u64),
    /// So many bytes were written.
    Written(usize),
    /// It is kept.
    Stored {
        /// Its hash.
        hash: Hash,
        /// How long it is.
        size: u64,
    },
    /// These bytes.
    Read(Vec<u8>),
    /// The transfer failed and is over: [`Refusal::NoSuchItem`], [`Refusal::StoreFull`] (no space),
    /// [`Refusal::StoreDown`] (the disk does not answer), [`Refusal::Busy`].
    Failed(Refusal),
}

impl fmt::Debug for BlobDone {
    /// Contents never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlobDone::Opened(size) => write!(f, "Opened({size})"),
            BlobDone::Written(n) => write!(f, "Written({n})"),
            BlobDone::Stored { hash, size } => write!(f, "Stored({hash}, {size})"),
            BlobDone::Read(bytes) => write!(f, "Read({})", bytes.len()),
            BlobDone::Failed(why) => write!(f, "Failed({why:?})"),
        }
    }
}

/// What a session hears of a transfer, see [`crate::projection::Projection::blob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blob {
    /// A download begins: the content is so many bytes long. Nothing is read before
    /// [`crate::Cx::download_range`] says what.
    Opened(u64),
    /// The next bytes of a download.
    Bytes {
        /// The bytes; none only where nothing was asked for.
        bytes: Vec<u8>,
        /// True: these are the last, and the transfer is over.
        last: bool,
    },
    /// An upload is kept; the transfer is over.
    Stored {
        /// Its hash.
        hash: Hash,
        /// How long it is.
        size: u64,
    },
    /// The transfer failed and is over. As [`BlobDone::Failed`]; [`Refusal::TooLong`]: the upload is
    /// longer than it may be.
    Failed(Refusal),
}
