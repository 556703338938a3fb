//! Tokens of `/sync` and of paging.
//!
//! | token | what it says |
//! |---|---|
//! | `s` and URL-safe base64 | what a client has been told: [`Stamp`] |
//! | `t` position `_` number | a place in a room's log, before that event: [`Place`] |
//!
//! Neither is a secret nor trusted: it only says where reading goes on, and what may be read is asked each time.

use crate::matrix::error::Error;
use crate::matrix::ids::EventRef;
use data_encoding::BASE64URL_NOPAD;
use lavina_core::ids::{Pos, RoomId, ShardId};
use lavina_core::time::UnixMillis;
use lavina_core::vecmap::VecMap;

/// The version of [`Stamp`]'s form.
const VERSION: u8 = 1;

/// Up to where a device has been told what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Which run of the device's agent; random.
    pub run: u64,
    /// The last of that run's updates.
    pub seq: u64,
    /// The last entry of the account's feed.
    pub feed: Pos,
    /// The last letter.
    pub letters: Pos,
    /// When it was given out.
    pub at: UnixMillis,
    /// The last position of each shard that has a room of the account: of all its rooms there, everything up to here
    /// was told.
    pub shards: VecMap<ShardId, Pos>,
}

impl Stamp {
    /// As the client keeps it.
    pub fn text(&self) -> String {
        let mut out = vec![VERSION];
        for n in [self.run, self.seq, self.feed.0, self.letters.0, self.at.0] {
            put(n, &mut out);
        }
        for (shard, pos) in self.shards.iter() {
            out.push(shard.0);
            put(pos.0, &mut out);
        }
        format!("s{}", BASE64URL_NOPAD.encode(&out))
    }

    /// Reads a token; anything else is none.
    pub fn parse(text: &str) -> Option<Stamp> {
        let bytes = BASE64URL_NOPAD.decode(text.strip_prefix('s')?.as_bytes()).ok()?;
        let (version, mut rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let mut next = || take(&mut rest);
        let (run, seq, feed, letters, at) = (next()?, next()?, next()?, next()?, next()?);
        let mut shards = VecMap::new();
        while let Some((shard, after)) = rest.split_first() {
            rest = after;
            shards.insert(ShardId(*shard), Pos(take(&mut rest)?));
        }
        Some(Stamp { run, seq, feed: Pos(feed), letters: Pos(letters), at: UnixMillis(at), shards })
    }

    /// Up to where a room was told.
    pub fn of(&self, room: RoomId, shards: u8) -> Pos {
        self.shards.get(&room.shard(shards)).copied().unwrap_or(Pos::ZERO)
    }
}

fn put(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

/// A place between two events of a room: before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The entry.
    pub pos: Pos,
    /// Which of its events.
    pub sub: u8,
}

impl Place {
    /// Behind everything up to this entry.
    pub fn after(pos: Pos) -> Place {
        Place { pos: pos.next(), sub: 0 }
    }

    /// As the client keeps it.
    pub fn text(self) -> String {
        format!("t{}_{}", self.pos.0, self.sub)
    }

    /// Reads a token; anything else is none.
    pub fn parse(text: &str) -> Option<Place> {
        let (pos, sub) = text.strip_prefix('t')?.split_once('_')?;
        Some(Place { pos: Pos(pos.parse().ok().filter(|p| *p <= Pos::MAX.0 + 1)?), sub: sub.parse().ok()? })
    }

    /// Whether the event lies before it.
    pub fn is_after(self, event: EventRef) -> bool {
        (event.pos, event.sub) < (self.pos, self.sub)
    }
}

/// Where reading goes on, as a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// At a place of the room.
    Place(Place),
    /// Where a sync ended.
    Stamp(Box<Stamp>),
}

impl Start {
    /// Reads a token of either kind.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` for anything else.
    pub fn parse(text: &str) -> Result<Start, Error> {
        let place = || Place::parse(text).map(Start::Place);
        let stamp = || Stamp::parse(text).map(|s| Start::Stamp(Box::new(s)));
        place().or_else(stamp).ok_or_else(|| Error::invalid_param("this is no token of this server"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places() {
        let place = Place { pos: Pos(77), sub: 3 };
        assert_eq!(Place::parse(&place.text()), Some(place));
        for bad in ["", "t", "t1", "t1_", "t_1", "s1_1", "t1_256", "t-1_0", "nonsense"] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
        let event = |pos, sub| EventRef { room: RoomId(1), pos: Pos(pos), sub };
        assert!(place.is_after(event(77, 2)) && !place.is_after(event(77, 3)) && place.is_after(event(5, 9)));
    }

    proptest! {
        #[test]
        fn stamps_read_back(run: u64, seq: u64, feed: u64, at: u64, shards: Vec<(u8, u64)>) {
            let shards = shards.into_iter().map(|(s, p)| (ShardId(s), Pos(p))).collect();
            let stamp = Stamp { run, seq, feed: Pos(feed), letters: Pos(3), at: UnixMillis(at), shards };
            prop_assert_eq!(Stamp::parse(&stamp.text()), Some(stamp));
        }

        #[test]
        fn others_are_none_or_read_back(text in "s[A-Za-z0-9_-]{0,40}") {
            if let Some(stamp) = Stamp::parse(&text) {
                prop_assert_eq!(Stamp::parse(&stamp.text()), Some(stamp));
            }
        }
    }
}
