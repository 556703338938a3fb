//! Whose a content is, and what it is called: one row for each upload, beside the contents themselves
//! ([`crate::blob`]), which know neither.
//!
//! Why rows of their own, and not named values of the account: an upload is found by its name, by
//! whoever was told it, and there may be thousands. Why no entity of their own: who may upload how much
//! is the account's business, so an upload is a command to its owner's account, which keeps the sizes of
//! its uploads in memory and so bounds them exactly; looking one up reads the store and touches no entity.

use crate::{blob::Hash, ids::AccountId, text::Str, time::UnixMillis};
use alloc::string::String;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// Milliseconds for which a name is reserved; after that it is free for the account's next reservation.
pub const RESERVED: u64 = 24 * 60 * 60 * 1_000;

/// Reservations of one account at a time; above: refused.
pub const RESERVATIONS: usize = 100;

/// Bytes of a content type or of a name for people; above: refused.
pub const TEXT: usize = 255;

/// The name of an upload: random, so that nobody finds what he was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaId(pub u128);

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Digits of the printable form.
const LEN: u32 = 22;

impl MediaId {
    /// A fresh one from random bits.
    pub fn fresh(high: u64, low: u64) -> MediaId {
        MediaId(u128::from(high) << 64 | u128::from(low))
    }

    /// The printable form, `[A-Za-z0-9_-]{22}`.
    pub fn text(self) -> String {
        let digit = |n: u32| DIGITS[(self.0 >> (6 * n) & 63) as usize];
        (0..LEN).rev().map(|n| char::from(digit(n))).collect()
    }

    /// Reads the printable form; anything else names no upload.
    pub fn parse(s: &str) -> Option<MediaId> {
        if s.len() != LEN as usize {
            return None;
        }
        let mut id: u128 = 0;
        for b in s.bytes() {
            if id >> (128 - 6) != 0 {
                return None;
            }
            id = id << 6 | DIGITS.iter().position(|d| *d == b)? as u128;
        }
        Some(MediaId(id))
    }
}

impl<C> Encode<C> for MediaId {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0.to_be_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for MediaId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<MediaId, decode::Error> {
        let bytes = d.bytes()?.try_into();
        bytes.map(|b| MediaId(u128::from_be_bytes(b))).map_err(|_| decode::Error::message("sixteen bytes"))
    }
}

/// An upload.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Media {
    /// Its name.
    #[n(0)]
    pub id: MediaId,
    /// Whose it is.
    #[n(1)]
    pub owner: AccountId,
    /// When it was made, or reserved.
    #[n(2)]
    pub at: UnixMillis,
    /// What it is; `None`: the name is reserved, the content is yet to come.
    #[n(3)]
    pub content: Option<Content>,
}

/// What an upload is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Content {
    /// The hash of the content.
    #[n(0)]
    pub hash: Hash,
    /// Its size in bytes.
    #[n(1)]
    pub size: u64,
    /// Its media type as the uploader said, or empty. Nobody has looked whether that is so.
    #[n(2)]
    pub content_type: Str,
    /// Its name for people, or empty.
    #[n(3)]
    pub name: Str,
}

/// What an account keeps in memory of an upload of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its size; `None`: it is only reserved.
    pub size: Option<u64>,
    /// When it was made, or reserved.
    pub at: UnixMillis,
}

impl Held {
    /// Of a row.
    pub fn of(media: &Media) -> Held {
        Held { size: media.content.as_ref().map(|c| c.size), at: media.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_have_one_form() {
        for id in [0, 1, u128::MAX, 0x1234_5678_9abc_def0_0fed_cba9_8765_4321] {
            let text = MediaId(id).text();
            assert_eq!((text.len(), MediaId::parse(&text)), (22, Some(MediaId(id))));
        }
        for bad in ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAA/A"] {
            assert_eq!(MediaId::parse(bad), None, "{bad}");
        }
        assert_eq!(MediaId::parse("EAAAAAAAAAAAAAAAAAAAAA"), None, "more than 128 bits");
        assert_eq!(MediaId::parse("D_____________________"), Some(MediaId(u128::MAX)));
    }
}
