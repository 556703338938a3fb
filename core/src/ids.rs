//! Identifiers. None of them has a meaning outside, except [`MsgId`]'s printable form.

use crate::text::Str;
use alloc::string::String;
use minicbor::{Decode, Encode};

/// A logical shard: the unit of ordering, ownership and placement. Below [`MAX_SHARDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ShardId(#[n(0)] pub u8);

/// The most shards a store can have; ids reserve six bits.
pub const MAX_SHARDS: u8 = 64;

/// A worker: one edge and the shards it owns, on one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u8);

/// The bit of an account or room id that says: lives in memory only, never stored.
const TRANSIENT: u64 = 1 << 63;

macro_rules! entity_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub u64);

        impl $name {
            /// A fresh id from random bits, homed in `shard` (of `shards`, a power of two).
            pub fn fresh(random: u64, shard: ShardId, shards: u8, transient: bool) -> $name {
                debug_assert!(shards.is_power_of_two() && shards <= MAX_SHARDS && shard.0 < shards);
                let mask = u64::from(shards) - 1;
                // Two top bits stay clear: one is the transient mark, and SQLite's integers are signed.
                let id = (random & (TRANSIENT - 1) >> 1 & !mask) | u64::from(shard.0);
                $name(if transient { id | TRANSIENT } else { id })
            }

            /// The shard it is homed in.
            pub fn shard(self, shards: u8) -> ShardId {
                ShardId((self.0 & (u64::from(shards) - 1)) as u8)
            }

            /// True: lives in memory only, gone at a restart.
            pub fn is_transient(self) -> bool {
                self.0 & TRANSIENT != 0
            }
        }
    };
}

entity_id! {
    /// An account; a transient one is a guest.
    AccountId
}
entity_id! {
    /// A room or a dialog; a transient one is kept in memory only.
    RoomId
}

impl RoomId {
    /// The dialog of two accounts: the same whoever asks, homed with the lower account,
    /// transient when one of the two is.
    pub fn dialog(a: AccountId, b: AccountId, shards: u8) -> RoomId {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        let mixed = mix(mix(low.0) ^ high.0.rotate_left(17));
        RoomId::fresh(mixed, low.shard(shards), shards, a.is_transient() || b.is_transient())
    }
}

/// A strong 64-bit mixer (a bijection), so that dialog ids spread evenly.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A position, counted by the shard for all its entities: below 2^40. The upper six bits are the
/// store's restore epoch, so a position given out before a restore never names something else after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Pos(#[n(0)] pub u64);

impl Pos {
    /// Bits of a position.
    pub const BITS: u32 = 40;
    /// Bits below the restore epoch.
    pub const EPOCH_SHIFT: u32 = 34;
    /// Before everything.
    pub const ZERO: Pos = Pos(0);
    /// After everything.
    pub const MAX: Pos = Pos((1 << Pos::BITS) - 1);

    /// The next position.
    pub fn next(self) -> Pos {
        Pos(self.0 + 1)
    }

    /// The position before, staying at zero.
    pub fn back(self) -> Pos {
        Pos(self.0.saturating_sub(1))
    }
}

/// The name of a message on every protocol: room and position, reversible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct MsgId {
    /// Where.
    #[n(0)]
    pub room: RoomId,
    /// Which.
    #[n(1)]
    pub pos: Pos,
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl MsgId {
    /// Length of the printable form.
    pub const LEN: usize = 18;

    /// The printable form, `[A-Za-z0-9_-]{18}`: eleven digits of room, seven of position.
    pub fn digits(self) -> [u8; MsgId::LEN] {
        let mut out = [b'A'; MsgId::LEN];
        put_digits(self.room.0, &mut out[..11]);
        put_digits(self.pos.0, &mut out[11..]);
        out
    }

    /// The printable form as a string.
    pub fn text(self) -> String {
        self.digits().iter().map(|&b| char::from(b)).collect()
    }

    /// Reads the printable form; anything else names no message.
    pub fn parse(s: &str) -> Option<MsgId> {
        let b = s.as_bytes();
        if b.len() != MsgId::LEN {
            return None;
        }
        let (room, pos) = (get_digits(&b[..11])?, get_digits(&b[11..])?);
        (pos <= Pos::MAX.0).then_some(MsgId { room: RoomId(room), pos: Pos(pos) })
    }
}

fn put_digits(mut n: u64, out: &mut [u8]) {
    for slot in out.iter_mut().rev() {
        *slot = DIGITS[(n & 63) as usize];
        n >>= 6;
    }
}

fn get_digits(digits: &[u8]) -> Option<u64> {
    let mut n: u64 = 0;
    for d in digits {
        let v = DIGITS.iter().position(|x| x == d)? as u64;
        if n >> 58 != 0 {
            return None;
        }
        n = n << 6 | v;
    }
    Some(n)
}

/// A connection: the runtime's slot and that slot's generation. New after a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// Index in the runtime's table.
    pub slot: u32,
    /// How often the slot was used before, from a number on that each start of the server draws.
    pub generation: u32,
}

/// A session: where it lives and which one it is. Changes when the session moves (at login only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionRef {
    /// The worker.
    pub worker: WorkerId,
    /// Index in its edge's table.
    pub slot: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// A request of one session, counted from one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReqId(pub u32);

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The session.
    pub session: SessionRef,
    /// Its request.
    pub req: ReqId,
}

/// A batch of appended changes of one worker, counted from one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Counts the store's failures: what was sent under an older epoch is void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// A read under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// A job under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A hash of what makes a client's retry the same message: account, its own id, payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct OnceKey(#[n(0)] pub u64);

/// The name of a session within its account (a resource, a device); at most 1023 bytes.
pub type Label = Str;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_read_back() {
        for (room, pos) in [(0, 0), (u64::MAX, Pos::MAX.0), (1 << 62, 77), (12345678901234567, 1)] {
            let id = MsgId { room: RoomId(room), pos: Pos(pos) };
            assert_eq!(MsgId::parse(&id.text()), Some(id));
        }
        assert_eq!(MsgId::parse("short"), None);
        assert_eq!(MsgId::parse("_________________!"), None);
    }

    #[test]
    fn a_dialog_is_the_same_from_both_ends() {
        let a = AccountId::fresh(0x1234_5678_9abc_def0, ShardId(3), 64, false);
        let b = AccountId::fresh(0xfedc_ba98_7654_3210, ShardId(9), 64, false);
        let d = RoomId::dialog(a, b, 64);
        assert_eq!(d, RoomId::dialog(b, a, 64));
        assert_eq!(d.shard(64), a.min(b).shard(64));
        assert!(!d.is_transient());
        let g = AccountId::fresh(1 << 20, ShardId(9), 64, true);
        assert!(RoomId::dialog(a, g, 64).is_transient());
    }
}
