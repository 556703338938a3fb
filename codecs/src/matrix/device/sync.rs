//! What happened, for `/sync`.
//!
//! The agent of a device follows its account's rooms from the device's first sync on: it attaches to them, and keeps
//! what happens as *updates* with rising numbers, at most [`UPDATES`] of them. A token ([`Stamp`]) says the last number
//! that was told, so what comes after is found without looking at anything else; and a position for each shard, from
//! which everything can be read again when the numbers mean nothing any more: after a restart, or when the device was
//! away for too long.

pub mod begin;
mod person;
mod positions;
mod room;

use super::super::task::Who;
use super::stamp::Stamp;
use crate::json::Json;
use crate::matrix::api::cross::SIGNED;
use crate::matrix::api::keys::{CHANGED, CHANGED_SIGNAL};
use crate::matrix::api::sync::sliding::Connections;
use crate::matrix::filter::Filter;
use crate::matrix::ids::IdKey;
use crate::matrix::push::Ruleset;
use crate::session::{Cx, MATRIX_NATIVE};
use lavina_core::event::{Event, Live, LiveWhat, Native, What};
use lavina_core::ids::{AccountId, Label, OnceKey, Pos, RoomId, ShardId};
use lavina_core::name::User;
use lavina_core::policy::Membership;
use lavina_core::presence::{Presence, Show};
use lavina_core::projection::{Notice, Replay, Seen, SignalWhat};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};
use lavina_core::time::{Mono, UnixMillis};
use lavina_core::vecmap::VecMap;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use begin::Beginning;
pub use person::Person;
pub use room::{Read, Receipt, Room, Typing, Unread};

/// Updates kept of one device; of more the oldest go, and who has not been told them reads them from the store.
pub const UPDATES: usize = 2_000;

/// Of those that were told, this many are kept for a client that asks once more with an older token.
const TOLD: usize = 16;

/// Who is present is not told of rooms with more people: nobody looks at such a list, and each of them would be kept for
/// each device. Contacts are told all the same.
pub const CROWD: u64 = 200;

/// Filters of one device that are kept ready.
const FILTERS: usize = 16;

/// Requests of a device remembered by their keys, so that it sees its own transaction ids.
const SENT: usize = 256;

/// People whose presence is remembered; of others the device hears nothing.
const PEOPLE: usize = 10_000;

/// Milliseconds that typing shows which is not renewed.
pub const TYPING: u64 = 120_000;

/// Events held while the device's first sync begins.
const HELD: usize = 4_096;

/// What the names of the account's values begin with that hold its private receipts in a room, whose id follows.
pub const READ: &str = "m.read/";

/// Something that happened. Small: each device keeps some of them.
#[derive(Clone, Debug)]
pub enum Update {
    /// An entry of a room that the user is in.
    Event(Arc<Event>),
    /// The user's own membership changed with this entry.
    Own(Arc<Event>),
    /// Who types in the room changed.
    Typing(RoomId),
    /// Somebody else has read in a room.
    Read(Arc<Live>),
    /// Somebody has read in a dialog, or the user anywhere.
    Receipt(RoomId, Box<Receipt>),
    /// Somebody's presence.
    Presence(AccountId),
    /// A named value of the account.
    Value(Box<(Str, Octets)>),
    /// A letter came.
    Letter,
    /// The keys of somebody's devices changed.
    Keys(Box<User>),
    /// The user signed a key of somebody with this id.
    Signed(Str),
    /// Somebody is in none of the rooms any more.
    Parted(Box<User>),
    /// How many one-time keys there are changed.
    Counts,
    /// How much is unread in the room changed elsewhere.
    Unread(RoomId),
    /// A dialog is hidden until its next entry.
    Hidden(RoomId),
    /// A dialog that was hidden is shown again.
    Shown(RoomId),
}

/// Messages not told to the client yet of which their senders want to know when they are.
const AWAITED: usize = 64;

/// What a device has been told, and what it has not been told yet.
pub struct Sync {
    /// Whose.
    pub me: User,
    /// Under which label letters come for it.
    pub label: Label,
    pub(crate) stage: Stage,
    run: u64,
    seq: u64,
    updates: VecDeque<(u64, Update)>,
    /// The rooms that the user is in, or is asked into.
    pub rooms: VecMap<RoomId, Box<Room>>,
    /// Rooms that are being attached.
    attaching: BTreeSet<RoomId>,
    /// Of these the ones that the server was too busy for; they are asked for again.
    delayed: BTreeSet<RoomId>,
    /// The positions of a token, and the highest seen beyond them while a room of the shard is being attached.
    shards: VecMap<ShardId, Pos>,
    ahead: VecMap<ShardId, Pos>,
    feed: Pos,
    /// The last letter that came.
    pub letters: Pos,
    /// Up to which letter they are collected.
    pub collected: Pos,
    /// How present people are that one may see.
    pub people: VecMap<AccountId, Person>,
    /// The user's rules for notifications.
    pub rules: Option<Arc<Ruleset>>,
    /// The names of the device's one-time and fallback keys, and whether they are used.
    pub keys: Arc<BTreeMap<Str, bool>>,
    /// Whom the user does not want to hear.
    pub blocked: Vec<Str>,
    /// Where the user has read, as far as that was told here.
    pub read: BTreeMap<RoomId, Pos>,
    /// Whom the client knows, of each room's members, since which update; for lazy loading.
    pub known: BTreeMap<RoomId, BTreeMap<Str, u64>>,
    /// The user's private receipts in rooms that are not there yet.
    private: BTreeMap<RoomId, Vec<Receipt>>,
    /// What was told on connections of sliding sync.
    pub connections: Connections,
    /// Dialogs that are hidden, as long as there is no entry after this one.
    hidden: BTreeMap<RoomId, Pos>,
    filters: BTreeMap<Str, Arc<Filter>>,
    sent: VecDeque<(OnceKey, Str)>,
    typing: BTreeMap<RoomId, Mono>,
    /// Messages of which their senders want to know when the client has them; of too many the oldest is left out.
    awaited: VecDeque<(AccountId, Str)>,
    shown: Option<Show>,
    changed: bool,
}

/// How far it is.
pub(crate) enum Stage {
    /// The device has not synced.
    Idle,
    /// Rooms are being attached; what happens meanwhile.
    Beginning(Vec<Held>),
    /// All rooms are there.
    Ready,
}

pub(crate) enum Held {
    Event(Arc<Event>, Option<(Pos, User)>),
    Notice(Arc<Notice>),
}

/// What is asked of the updates.
pub enum News {
    /// What came after the token, and the token of now.
    Updates(Vec<Update>),
    /// The token's numbers mean nothing: everything is to be read again.
    Lost,
}

impl Sync {
    /// Of a device that has not synced.
    pub fn new(who: &Who) -> Sync {
        Sync {
            me: who.user.clone(),
            label: super::super::agent::label(&who.device),
            stage: Stage::Idle,
            run: 0,
            seq: 0,
            updates: VecDeque::new(),
            rooms: VecMap::new(),
            attaching: BTreeSet::new(),
            delayed: BTreeSet::new(),
            shards: VecMap::new(),
            ahead: VecMap::new(),
            feed: Pos::ZERO,
            letters: Pos::ZERO,
            collected: Pos::ZERO,
            people: VecMap::new(),
            rules: None,
            keys: Arc::default(),
            blocked: Vec::new(),
            read: BTreeMap::new(),
            known: BTreeMap::new(),
            private: BTreeMap::new(),
            hidden: BTreeMap::new(),
            connections: Connections::default(),
            filters: BTreeMap::new(),
            sent: VecDeque::new(),
            typing: BTreeMap::new(),
            awaited: VecDeque::new(),
            shown: None,
            changed: false,
        }
    }

    /// True, once, when something happened since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    // --- for requests ---

    /// The token of now.
    pub fn stamp(&self, letters: Pos, at: UnixMillis) -> Stamp {
        Stamp { run: self.run, seq: self.seq, feed: self.feed, letters, at, shards: self.shards.clone() }
    }

    /// What came after a token. What that token was given with is told, and needed no longer.
    pub fn news(&mut self, since: &Stamp) -> News {
        let first = self.updates.front().map_or(self.seq + 1, |(n, _)| *n);
        if since.run != self.run || since.seq > self.seq || since.seq + 1 < first {
            return News::Lost;
        }
        let told = self.updates.partition_point(|(n, _)| *n <= since.seq);
        self.updates.drain(..told.saturating_sub(TOLD));
        if self.updates.capacity() > 4 * (self.updates.len() + TOLD) {
            self.updates.shrink_to(self.updates.len() + TOLD);
        }
        let from = self.updates.partition_point(|(n, _)| *n <= since.seq);
        News::Updates(self.updates.iter().skip(from).map(|(_, update)| update.clone()).collect())
    }

    /// Whether the device follows its rooms.
    pub fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready)
    }

    /// Whether nothing happened since that token.
    pub fn is_quiet(&self, since: &Stamp) -> bool {
        self.is_ready() && (since.run, since.seq) == (self.run, self.seq) && self.letters <= since.letters
    }

    /// Which run of the device's agent it is.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// The number of the last update.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Remembers what the client called a request, by the key of its retries.
    pub fn sending(&mut self, key: OnceKey, transaction: Str) {
        if self.sent.len() >= SENT {
            self.sent.pop_front();
        }
        self.sent.push_back((key, transaction));
    }

    /// Whether the user does not want to hear what an entry says; state is shown all the same.
    pub fn hides(&self, event: &Event) -> bool {
        let by = event.by.user().filter(|_| event.facts.is_empty() && !self.blocked.is_empty());
        by.is_some_and(|by| self.ignores(by))
    }

    /// Whether the user ignores somebody.
    pub fn ignores(&self, who: &User) -> bool {
        self.blocked.iter().any(|b| b.eq_ignore_ascii_case(who.name.as_str()))
    }

    /// What this device called the request that made an entry.
    pub fn transaction(&self, event: &Event) -> Option<Str> {
        if let What::Said(m) | What::Edited { message: m, .. } = &event.what
            && m.from.as_ref() == Some(&self.label)
            && event.by.is(self.me.id)
        {
            return m.client_id.clone();
        }
        let key = event.once.filter(|_| event.by.is(self.me.id))?;
        self.sent.iter().rev().find(|(k, _)| *k == key).map(|(_, t)| t.clone())
    }

    /// Says how present the device's user is, if that is news.
    pub fn show(&mut self, show: Show, cx: &mut Cx<'_>) {
        if self.shown != Some(show) {
            self.shown = Some(show);
            let status = self.people.get(&self.me.id).map(Person::status).unwrap_or_default();
            self.say_presence(Presence { show, status, ..Presence::default() }, cx);
        }
    }

    /// Says how present the device's user is.
    pub fn say_presence(&mut self, presence: Presence, cx: &mut Cx<'_>) {
        self.shown = Some(presence.show);
        self.see(&self.me.clone(), &presence);
        cx.presence(presence);
    }

    /// The device's user types, or no longer; until then, if it is not renewed. Gives the next time to look again.
    pub fn type_in(&mut self, room: RoomId, until: Option<Mono>, cx: &mut Cx<'_>) -> Option<Mono> {
        let was = match until {
            Some(until) => self.typing.insert(room, until).is_some(),
            None => self.typing.remove(&room).is_some(),
        };
        if until.is_some() || was {
            let me = self.me.clone();
            self.tell_typing(room, until.is_some(), cx);
            self.typed(room, &me, until.is_some(), until);
        }
        self.typing.values().min().copied()
    }

    /// Typing that is over by now ends. Gives the next time to look again.
    pub fn stop_typing(&mut self, now: Mono, cx: &mut Cx<'_>) -> Option<Mono> {
        let over: Vec<RoomId> = self.typing.iter().filter(|(_, t)| **t <= now).map(|(r, _)| *r).collect();
        for room in over {
            self.type_in(room, None, cx);
        }
        self.typing.values().min().copied()
    }

    fn tell_typing(&self, room: RoomId, on: bool, cx: &mut Cx<'_>) {
        match self.rooms.get(&room).and_then(|r| r.with.as_ref()) {
            Some(with) => _ = cx.signal(with.id, None, SignalWhat::Typing(on)),
            None => cx.typing(room, on),
        }
    }

    // --- what happens ---

    fn push(&mut self, update: Update) {
        if !matches!(self.stage, Stage::Ready) {
            return;
        }
        if self.updates.len() >= UPDATES {
            self.updates.pop_front();
        }
        self.seq += 1;
        self.updates.push_back((self.seq, update));
        self.changed = true;
    }

    /// An event.
    pub fn seen(&mut self, event: &Arc<Event>, how: &Seen, cx: &mut Cx<'_>) {
        let fed = match how {
            Seen::Feed { pos, with, .. } => Some((*pos, with.clone())),
            Seen::Own { .. } | Seen::About { .. } | Seen::Room { .. } => None,
        };
        match &mut self.stage {
            Stage::Idle => {}
            Stage::Beginning(held) if held.len() < HELD => held.push(Held::Event(event.clone(), fed)),
            Stage::Beginning(_) => {}
            Stage::Ready => self.event(event, fed, cx),
        }
    }

    fn event(&mut self, event: &Arc<Event>, fed: Option<(Pos, User)>, cx: &mut Cx<'_>) {
        match &fed {
            Some((pos, _)) => self.feed = self.feed.max(*pos),
            None => self.reached(event, cx),
        }
        if let What::Member(change) = &event.what
            && change.user.id == self.me.id
            && change.before.membership != change.after.membership
        {
            return self.own(event, cx);
        }
        if let Some((_, with)) = fed
            && !self.is_in(event.room)
        {
            // The first word of a dialog: it is joined with it.
            let room = Room::dialog(with, event.pos.back());
            self.rooms.insert(event.room, Box::new(room));
            self.push(Update::Own(event.clone()));
        }
        let Some(room) = self.rooms.get_mut(&event.room).filter(|r| r.is_joined() && event.pos > r.last)
        else {
            return;
        };
        room.happened(event, &self.me, &cx.settings().core.domain);
        if let Some(user) = event.by.user() {
            let stopped = matches!(event.what, What::Said(_)) && room.typed(user, false, None);
            if stopped {
                self.push(Update::Typing(event.room));
            }
        }
        self.people_moved(event, cx);
        if !self.hides(event) {
            self.push(Update::Event(event.clone()));
            if let Some((to, id)) = event.awaited(self.me.id) {
                self.awaited.truncate(AWAITED - 1);
                self.awaited.push_front((to, id.clone()));
            }
        }
        if matches!(event.what, What::Destroyed { .. }) {
            self.gone(event.room, event);
        }
    }

    /// The client is being told all there is: so are those who wait for that.
    pub fn tell_arrived(&mut self, cx: &mut Cx<'_>) {
        while let Some((to, id)) = self.awaited.pop_back() {
            cx.signal(to, None, SignalWhat::Arrived(id));
        }
    }

    /// Members who came or went.
    fn people_moved(&mut self, event: &Arc<Event>, _cx: &mut Cx<'_>) {
        let What::Member(change) = &event.what else { return };
        let (before, after) = (change.before.membership, change.after.membership);
        if before == after || change.user.id == self.me.id {
            return;
        }
        if after == Membership::Joined {
            self.push(Update::Keys(Box::new(change.user.clone())));
            // Known from another room, perhaps, but not as one of this.
            if self.people.contains_key(&change.user.id) {
                self.push(Update::Presence(change.user.id));
            }
        } else if before == Membership::Joined {
            self.typed(event.room, &change.user, false, None);
            self.push(Update::Parted(Box::new(change.user.clone())));
        }
    }

    /// The user's own membership changed.
    fn own(&mut self, event: &Arc<Event>, cx: &mut Cx<'_>) {
        let What::Member(change) = &event.what else { return };
        let old = self.rooms.get(&event.room);
        if old.is_some_and(|r| r.moved >= event.pos) {
            return;
        }
        let last = old.map_or(Pos::ZERO, |r| r.last).max(event.pos);
        let was_joined = old.is_some_and(|r| r.is_joined());
        match change.after.membership {
            Membership::Joined => {
                let mut room = Room::new(Membership::Joined, event.pos);
                (room.last, room.at) = (last, event.at);
                self.rooms.insert(event.room, Box::new(room));
                self.follow(event.room, event.pos, cx);
            }
            now @ (Membership::Invited | Membership::Knocking) => {
                let mut room = Room::new(now, event.pos);
                (room.last, room.at) = (last, event.at);
                self.rooms.insert(event.room, Box::new(room));
            }
            Membership::Left | Membership::Banned => return self.gone(event.room, event),
        }
        if was_joined {
            self.known.remove(&event.room);
        }
        self.push(Update::Own(event.clone()));
    }

    /// The user is out of a room.
    fn gone(&mut self, room: RoomId, event: &Arc<Event>) {
        if let Some(old) = self.rooms.get_mut(&room) {
            (old.membership, old.moved, old.at) = (Membership::Left, event.pos, event.at);
            old.last = old.last.max(event.pos);
        }
        self.known.remove(&room);
        self.typing.remove(&room);
        self.push(Update::Own(event.clone()));
    }

    /// Attaches to a room, if the session is not attached yet; `since`: what came after is wanted too.
    fn follow(&mut self, room: RoomId, since: Pos, cx: &mut Cx<'_>) {
        if !cx.is_attached(room) && self.attaching.insert(room) {
            cx.attach(room, Some(since));
        }
    }

    /// An entry of a shard is known; all before it are, unless a room there is being attached.
    fn reached(&mut self, event: &Event, cx: &Cx<'_>) {
        let shards = cx.core_settings().shards;
        let shard = event.room.shard(shards);
        let waits = self.attaching.iter().any(|r| r.shard(shards) == shard);
        let upto = if waits { &mut self.ahead } else { &mut self.shards };
        let upto = upto.or_default(shard);
        *upto = event.pos.max(*upto);
    }

    /// A room is attached, or not.
    pub fn attached(&mut self, room: RoomId, replay: Result<Arc<Replay>, Refusal>, cx: &mut Cx<'_>) {
        if matches!(replay, Err(Refusal::Busy | Refusal::StoreDown)) && self.rooms.contains_key(&room) {
            self.delayed.insert(room);
            return;
        }
        self.attaching.remove(&room);
        self.changed = true;
        match replay {
            Err(_) => {
                // Put out in between: the word of that comes by itself.
                if matches!(self.stage, Stage::Beginning(_)) {
                    self.rooms.remove(&room);
                }
            }
            Ok(replay) => {
                if let (Some(view), Some(r)) = (&replay.view, self.rooms.get_mut(&room)) {
                    if view.head.open.is_some() {
                        r.take_in(view, &self.me, &cx.settings().core);
                    }
                    if matches!(self.stage, Stage::Beginning(_)) || replay.gap {
                        r.last = r.last.max(view.last);
                    }
                    let crowd = view.joined() as u64 > CROWD;
                    for (id, presence) in view.here.iter().filter(|_| !crowd) {
                        if let Some(member) = view.members.get(id) {
                            self.see(&member.user, presence);
                        }
                    }
                }
                for event in &replay.events {
                    self.event(event, None, cx);
                }
            }
        }
        let shards = cx.core_settings().shards;
        let shard = room.shard(shards);
        if !self.attaching.iter().any(|r| r.shard(shards) == shard)
            && let Some(ahead) = self.ahead.remove(&shard)
        {
            let upto = self.shards.or_default(shard);
            *upto = ahead.max(*upto);
        }
    }

    /// A signal of the moment.
    pub fn live(&mut self, live: &Arc<Live>, now: Mono, ids: &IdKey) {
        if !matches!(self.stage, Stage::Ready) {
            return;
        }
        let own = live.by.id == self.me.id;
        match &live.what {
            // What the user says of himself he knows, and what his other devices say comes as a notice.
            LiveWhat::Here { .. } if own => {}
            LiveWhat::Here { presence, .. } if !self.is_crowd(live.room) => self.see(&live.by, presence),
            LiveWhat::Here { .. } => {}
            LiveWhat::Gone { .. } => {
                self.typed(live.room, &live.by, false, None);
                if self.is_crowd(live.room) && !self.people.contains_key(&live.by.id) {
                    return;
                }
                self.see(&live.by, &Presence { show: Show::Offline, ..Presence::default() });
            }
            LiveWhat::Typing(on) => self.typed(live.room, &live.by, *on, Some(now + TYPING)),
            LiveWhat::Signal(native) => self.native(&live.by, native),
            LiveWhat::Read { to, .. } if live.by.id == self.me.id => {
                self.receipt(live.room, Receipt::public(&live.by, live.room, to, ids))
            }
            LiveWhat::Read { .. } if self.is_in(live.room) => self.push(Update::Read(live.clone())),
            LiveWhat::Read { .. } => {}
            LiveWhat::Display(_) | LiveWhat::Attrs(_) => {}
        }
    }

    /// A signal of another Matrix device: somebody's keys changed.
    fn native(&mut self, by: &User, native: &Native) {
        if native.protocol == MATRIX_NATIVE && &*native.bytes == CHANGED_SIGNAL {
            self.keys_changed(by);
        }
    }

    /// Somebody has read in a room.
    fn receipt(&mut self, room: RoomId, receipt: Receipt) {
        let own = receipt.by.id == self.me.id;
        let mark = self.read.get(&room).copied().unwrap_or(Pos::ZERO);
        let Some(r) = self.rooms.get_mut(&room) else { return };
        if own && !r.receive(receipt.clone()) {
            return;
        }
        let less = own && r.have_read(self.me.id, mark);
        self.push(Update::Receipt(room, Box::new(receipt)));
        if less {
            self.push(Update::Unread(room));
        }
    }

    /// The user's private receipts in a room with this one; none if it says nothing new.
    pub fn private_with(&self, room: RoomId, receipt: &Receipt) -> Option<Json> {
        let all = &self.rooms.get(&room)?.receipts;
        if all.get(&receipt.key()).is_some_and(|old| old.pos >= receipt.pos) {
            return None;
        }
        let private =
            all.values().filter(|r| r.private && r.by.id == self.me.id && r.thread != receipt.thread);
        let mut latest: Vec<&Receipt> = private.collect();
        latest.sort_by_key(|r| std::cmp::Reverse(r.at));
        latest.truncate(lavina_core::chat::seen::SEEN - 1);
        Some(Receipt::write_private(latest.into_iter().chain([receipt])))
    }

    /// The client knows these people's memberships, from the next token on.
    pub fn know(&mut self, room: RoomId, who: BTreeSet<Str>) {
        let seq = self.seq;
        let people: usize = self.known.values().map(BTreeMap::len).sum();
        if people + who.len() > PEOPLE {
            self.known.clear();
        }
        let known = self.known.entry(room).or_default();
        for id in who {
            known.entry(id).or_insert(seq);
        }
    }

    /// The room of that id, among those that are looked at.
    pub fn room_named(&self, id: &str) -> Option<RoomId> {
        self.rooms.iter().find(|(_, r)| r.name.as_deref() == Some(id)).map(|(id, _)| *id)
    }

    /// A filter that a request named before.
    pub fn filter(&self, name: &Str) -> Option<Arc<Filter>> {
        self.filters.get(name).cloned()
    }

    /// Keeps a filter that was read: one that is stored never changes.
    pub fn keep_filter(&mut self, name: Str, filter: Arc<Filter>) {
        if self.filters.len() >= FILTERS {
            self.filters.clear();
        }
        self.filters.insert(name, filter);
    }

    /// The keys of somebody's devices changed.
    pub fn keys_changed(&mut self, whose: &User) {
        self.push(Update::Keys(Box::new(whose.clone())));
    }

    fn typed(&mut self, room: RoomId, who: &User, on: bool, until: Option<Mono>) {
        if let Some(r) = self.rooms.get_mut(&room)
            && r.typed(who, on, until)
        {
            self.push(Update::Typing(room));
        }
    }

    fn is_in(&self, room: RoomId) -> bool {
        self.rooms.get(&room).is_some_and(|r| r.is_joined())
    }

    fn is_crowd(&self, room: RoomId) -> bool {
        self.rooms.get(&room).and_then(|r| r.joined).is_some_and(|joined| joined > CROWD)
    }

    /// The client is being told of these people, who are in a room that the user comes into. Gives them as they are known.
    pub fn meet(&mut self, there: Vec<(User, Presence)>) -> Vec<(User, Presence)> {
        for (who, presence) in &there {
            if self.people.len() < PEOPLE && !self.people.contains_key(&who.id) {
                self.people.insert(who.id, Person::new(who, presence));
            }
        }
        let known = |(who, _): (User, Presence)| {
            let presence = self.people.get(&who.id)?.presence();
            Some((who, presence))
        };
        there.into_iter().filter_map(known).collect()
    }

    fn see(&mut self, who: &User, presence: &Presence) {
        let room = self.people.len() < PEOPLE || self.people.contains_key(&who.id);
        let same = |seen: &Person| seen.show == presence.show && seen.status() == presence.status;
        if room && !self.people.get(&who.id).is_some_and(same) {
            self.people.insert(who.id, Person::new(who, presence));
            self.push(Update::Presence(who.id));
        }
    }

    /// Something concerning the account.
    pub fn noticed(&mut self, notice: &Arc<Notice>, cx: &mut Cx<'_>) {
        match &mut self.stage {
            Stage::Idle => {}
            Stage::Beginning(held) if held.len() < HELD => held.push(Held::Notice(notice.clone())),
            Stage::Beginning(_) => {}
            Stage::Ready => self.notice(notice, cx),
        }
    }

    fn notice(&mut self, notice: &Notice, cx: &mut Cx<'_>) {
        match notice {
            Notice::Membership { event, .. } => {
                let What::Member(change) = &event.what else { return };
                if change.before.membership != change.after.membership {
                    self.own(event, cx);
                }
            }
            Notice::Destroyed { room, event } if self.is_in(*room) => {
                self.gone(*room, event);
            }
            Notice::Presence { from, presence, label } if *label != self.label => {
                self.see(from, presence);
            }
            Notice::Attrs { from, values, .. } if from.id == self.me.id => {
                for (key, value) in values {
                    self.value(key, value, cx);
                }
            }
            Notice::Blocked { add, remove, all } => {
                self.blocked.retain(|b| !all && !remove.iter().any(|r| r.eq_ignore_ascii_case(b)));
                self.blocked.extend(add.iter().cloned());
            }
            Notice::Letter { label, pos, .. } if *label == self.label => {
                self.letters = self.letters.max(*pos);
                self.push(Update::Letter);
            }
            Notice::Read { room, mark, .. } => {
                self.read.insert(*room, mark.pos);
                let me = self.me.id;
                if self.rooms.get_mut(room).is_some_and(|r| r.have_read(me, mark.pos)) {
                    self.push(Update::Unread(*room));
                }
            }
            Notice::ReadBy { room, from, seen } => {
                let ids = IdKey::new(&cx.core_settings().secret);
                self.receipt(*room, Receipt::public(from, *room, seen, &ids));
            }
            Notice::Signal(signal) => {
                let room = RoomId::dialog(signal.from.id, self.me.id, cx.core_settings().shards);
                match &signal.what {
                    SignalWhat::Typing(on) => {
                        self.typed(room, &signal.from, *on, Some(cx.now().mono + TYPING));
                    }
                    SignalWhat::Native(native) => self.native(&signal.from, native),
                    SignalWhat::Arrived(_) | SignalWhat::End(_) => {}
                }
            }
            _ => {}
        }
    }

    /// A dialog is hidden, or (up to nowhere) shown again.
    fn hide(&mut self, id: RoomId, upto: Pos) {
        let joined = self.is_in(id);
        if upto > Pos::ZERO && joined {
            if let Some(room) = self.rooms.get_mut(&id) {
                room.membership = Membership::Left;
            }
            self.known.remove(&id);
            self.push(Update::Hidden(id));
        } else if upto == Pos::ZERO && !joined {
            self.rooms.insert(id, Box::new(Room::new(Membership::Joined, Pos::ZERO)));
            self.push(Update::Shown(id));
        }
    }

    /// A named value of the account changed.
    fn value(&mut self, key: &Str, value: &Octets, cx: &Cx<'_>) {
        if begin::is_own_key(key, &self.label) {
            match value.is_empty() {
                true => _ = Arc::make_mut(&mut self.keys).remove(key),
                false => _ = Arc::make_mut(&mut self.keys).insert(key.clone(), begin::is_used(value)),
            }
            self.push(Update::Counts);
        } else if *key == CHANGED {
            self.push(Update::Keys(Box::new(self.me.clone())));
        } else if let Some((whose, _)) = key.strip_prefix(SIGNED).and_then(|rest| rest.split_once('/')) {
            self.push(Update::Signed(Str::new(whose)));
        } else {
            if *key == begin::RULES {
                self.rules = Some(Arc::new(begin::rules(Some(value), &self.me, cx.settings())));
            }
            if let Some((room, upto)) = begin::hidden(key, value) {
                self.hide(room, upto);
            }
            if let Some(room) = key.strip_prefix(READ) {
                let Ok(room) = room.parse().map(RoomId) else { return };
                for receipt in Receipt::read_private(&self.me.clone(), value) {
                    self.receipt(room, receipt);
                }
            }
            if key.starts_with(begin::DATA) || *key == begin::RULES {
                self.push(Update::Value(Box::new((key.clone(), value.clone()))));
            }
        }
    }
}

#[cfg(test)]
mod tests;
