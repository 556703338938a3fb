//! Seals: what entries of an open room are called for ever by a protocol whose entries are named by what they say.
//!
//! A protocol may want that each entry, or each fact of one, is a link of a chain: named by a hash of its form, which
//! names the link before and those that give the right to it. The core keeps the names and what it takes to make the
//! same form again; it knows neither the form nor the hash. See [`crate::settings::SealsOf`].

use crate::{
    ids::{Pos, RoomId},
    text::Octets,
};
use alloc::vec::Vec;
use minicbor::{
    Decode, Decoder, Encode, Encoder,
    decode::Error as DecodeError,
    encode::{Error as EncodeError, Write},
};

/// The name of a piece of an entry: a hash of what it says in its protocol's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seal(pub [u8; 32]);

impl Seal {
    /// The number that an index finds it by: its first eight bytes. Others may have the same.
    pub fn short(&self) -> u64 {
        self.0.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b))
    }
}

impl<C> Encode<C> for Seal {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Seal {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Seal, DecodeError> {
        let bytes = d.bytes()?.try_into();
        bytes.map(Seal).map_err(|_| DecodeError::message("a seal has 32 bytes"))
    }
}

/// A piece of an entry: one of its facts, or the entry itself where it sets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece {
    /// The room.
    pub room: RoomId,
    /// The entry.
    pub pos: Pos,
    /// Which of its facts; zero where it sets none.
    pub nth: u8,
}

/// An entry as a link of its room's chain.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sealed {
    /// The names: one for each fact, or one. `None`: that piece is no link of the chain.
    #[n(0)]
    pub names: Vec<Option<Seal>>,
    /// The last link before this entry; none at the chain's beginning.
    #[n(1)]
    pub before: Option<Seal>,
    /// How many links the chain had before this entry.
    #[n(2)]
    pub depth: u64,
    /// What else it takes to make the same form again, as the protocol keeps it.
    #[n(3)]
    pub rest: Octets,
    /// The content of an entry without facts, where it is not what its author's client sent. Gone with a withdrawal.
    #[n(4)]
    pub content: Option<Octets>,
    /// What is left of contents that are gone: the piece, and a hash of what it said.
    #[n(5)]
    #[cbor(default)]
    pub gone: Vec<(u8, Seal)>,
}

impl Sealed {
    /// The last link of the chain up to and including this entry.
    pub fn tip(&self) -> Option<Seal> {
        self.names.iter().rev().find_map(|name| *name).or(self.before)
    }

    /// How many links the chain has with this entry.
    pub fn depth_after(&self) -> u64 {
        self.depth + self.names.iter().flatten().count() as u64
    }

    /// The link before a piece, and how many there are up to and including the piece.
    pub fn link(&self, nth: usize) -> (Option<Seal>, u64) {
        let earlier = self.names.get(..nth).unwrap_or(&self.names);
        let before = earlier.iter().rev().find_map(|name| *name).or(self.before);
        (before, self.depth + earlier.iter().flatten().count() as u64 + 1)
    }

    /// The name of a piece.
    pub fn name(&self, nth: usize) -> Option<Seal> {
        self.names.get(nth).copied().flatten()
    }

    /// Which piece has this name.
    pub fn find(&self, seal: &Seal) -> Option<u8> {
        let nth = self.names.iter().position(|name| name.as_ref() == Some(seal))?;
        u8::try_from(nth).ok()
    }

    /// What is left of a piece whose content is gone.
    pub fn left(&self, nth: usize) -> Option<Seal> {
        self.gone.iter().find(|(n, _)| usize::from(*n) == nth).map(|(_, hash)| *hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{decode, encode};

    #[test]
    fn a_chain_counts_its_links() {
        let seal = |n: u8| Seal([n; 32]);
        let sealed = Sealed {
            names: alloc::vec![Some(seal(2)), None, Some(seal(3))],
            before: Some(seal(1)),
            depth: 7,
            rest: Octets::default(),
            content: None,
            gone: alloc::vec![(2, seal(9))],
        };
        assert_eq!((sealed.tip(), sealed.depth_after()), (Some(seal(3)), 9));
        assert_eq!(sealed.link(0), (Some(seal(1)), 8));
        assert_eq!(sealed.link(2), (Some(seal(2)), 9));
        assert_eq!((sealed.name(1), sealed.find(&seal(3)), sealed.find(&seal(1))), (None, Some(2), None));
        assert_eq!((sealed.left(2), sealed.left(0)), (Some(seal(9)), None));
        assert_eq!(seal(1).short(), 0x0101_0101_0101_0101);
        assert_eq!(decode::<Sealed>(&encode(&sealed)), Some(sealed.clone()));
        let empty = Sealed { names: alloc::vec![], ..sealed };
        assert_eq!((empty.tip(), empty.depth_after()), (Some(seal(1)), 7));
    }
}
