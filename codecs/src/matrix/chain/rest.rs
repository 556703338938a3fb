//! What is stored with an entry to make its events again: which events authorise each.
//!
//! ```text
//! rule (1 byte) | names: count (2), 32 bytes each | for each piece that is an event: count (1), places (2 each)
//! ```
//!
//! A place below the number of names is one of these; above, it is a piece of the same entry. Numbers are big-endian.

use lavina_core::seal::Seal;
use lavina_core::text::Octets;

/// The rule by which events are made of entries.
const RULE: u8 = 1;

/// Which events authorise those of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    names: Vec<Seal>,
    pieces: Vec<Vec<Place>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Name(u16),
    Piece(u16),
}

impl Rest {
    /// One more event. `pieces`: the names of the entry's pieces before it.
    pub fn push(&mut self, auth: Vec<Seal>, pieces: &[Option<Seal>]) {
        let place = |seal: Seal| {
            if let Some(nth) = pieces.iter().position(|name| *name == Some(seal)) {
                return Place::Piece(nth as u16);
            }
            let known = self.names.iter().position(|name| *name == seal);
            Place::Name(known.unwrap_or_else(|| {
                self.names.push(seal);
                self.names.len() - 1
            }) as u16)
        };
        let places = auth.into_iter().map(place).collect();
        self.pieces.push(places);
    }

    /// The names of the events that authorise a piece. `pieces`: the names of the entry's pieces.
    pub fn auth(&self, nth: usize, pieces: &[Option<Seal>]) -> Option<Vec<Seal>> {
        // What is no event has no place here.
        let nth = pieces.get(..nth)?.iter().flatten().count();
        let name = |place: &Place| match place {
            Place::Name(n) => self.names.get(usize::from(*n)).copied(),
            Place::Piece(n) => pieces.get(usize::from(*n)).copied().flatten(),
        };
        self.pieces.get(nth)?.iter().map(name).collect()
    }

    /// As it is stored.
    pub fn write(&self) -> Octets {
        if self.pieces.is_empty() {
            return Octets::default();
        }
        let count = self.names.len() as u16;
        let mut out = vec![RULE];
        out.extend(count.to_be_bytes());
        self.names.iter().for_each(|name| out.extend(name.0));
        for places in &self.pieces {
            out.push(places.len() as u8);
            for place in places {
                let n = match place {
                    Place::Name(n) => *n,
                    Place::Piece(n) => count + n,
                };
                out.extend(n.to_be_bytes());
            }
        }
        Octets::from(out)
    }

    /// As it was stored.
    pub fn read(bytes: &[u8]) -> Option<Rest> {
        let (rule, bytes) = bytes.split_first()?;
        if *rule != RULE {
            return None;
        }
        let (count, mut bytes) = bytes.split_first_chunk().map(|(n, rest)| (u16::from_be_bytes(*n), rest))?;
        let mut out = Rest::default();
        for _ in 0..count {
            let (name, rest) = bytes.split_first_chunk()?;
            out.names.push(Seal(*name));
            bytes = rest;
        }
        while let Some((places, mut rest)) = bytes.split_first() {
            let mut piece = Vec::new();
            for _ in 0..*places {
                let (n, after) = rest.split_first_chunk().map(|(n, r)| (u16::from_be_bytes(*n), r))?;
                piece.push(n.checked_sub(count).map_or(Place::Name(n), Place::Piece));
                rest = after;
            }
            out.pieces.push(piece);
            bytes = rest;
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_authorises_reads_back() {
        let seal = |n: u8| Seal([n; 32]);
        let pieces = [Some(seal(10)), None, Some(seal(11))];
        let mut rest = Rest::default();
        assert!(rest.write().is_empty());
        rest.push(vec![seal(1), seal(2)], &pieces[..0]);
        rest.push(vec![seal(2), seal(10), seal(3)], &pieces[..2]);
        let read = Rest::read(&rest.write()).unwrap();
        assert_eq!(read, rest);
        assert_eq!(read.auth(0, &pieces), Some(vec![seal(1), seal(2)]));
        assert_eq!(read.auth(2, &pieces), Some(vec![seal(2), seal(10), seal(3)]));
        let whole = rest.write();
        for bad in [&whole[..whole.len() - 1], &[2, 0, 0][..], &[1, 0][..], &[]] {
            assert_eq!(Rest::read(bad), None, "{bad:?}");
        }
    }
}
