//! A room or dialog: members, rules, topic, log.

use crate::{
    event::Event,
    ids::{AccountId, OnceKey, Pos, RoomId},
    policy::{MaskEntry, Member},
    query::TopicSet,
    row::RoomHead,
    text::{Octets, Str},
    time::UnixMillis,
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};

/// The durable part of a room.
#[derive(Clone, Debug)]
pub struct Room {
    /// Which.
    pub id: RoomId,
    /// Name, rules; `None`: not made (yet).
    pub head: Option<RoomHead>,
    /// The topic.
    pub topic: Option<TopicSet>,
    /// The mask lists.
    pub masks: Vec<MaskEntry>,
    /// Rows of members: joined, invited, banned, knocking.
    pub members: BTreeMap<AccountId, Member>,
    /// Named values.
    pub attrs: BTreeMap<Str, Octets>,
    /// The latest entries.
    pub tail: VecDeque<Arc<Event>>,
    /// True: `tail` is the whole log.
    pub whole: bool,
    /// The last position.
    pub last: Pos,
    /// The last entry time.
    pub last_at: UnixMillis,
    /// Recent keys of retries: where the message is, when it came.
    pub once: BTreeMap<OnceKey, (Pos, UnixMillis)>,
}
