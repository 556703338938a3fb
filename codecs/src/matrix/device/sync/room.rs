//! What a device's agent knows of a room: little, so that many agents can follow many rooms.

use super::positions::Positions;
use crate::json::{DEPTH, Json, Map};
use crate::matrix::ids::{EventRef, IdKey, user_id};
use crate::object;
use lavina_core::event::{Event, What};
use lavina_core::ids::{AccountId, Pos, RoomId};
use lavina_core::name::User;
use lavina_core::policy::{Membership, ReadTo, power};
use lavina_core::query::RoomView;
use lavina_core::settings::Settings;
use lavina_core::text::{Octets, Str};
use lavina_core::time::{Mono, UnixMillis};
use lavina_core::vecmap::VecMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Own receipts kept of a room; of more those are not kept that come last.
const RECEIPTS: usize = 500;

/// People that type in a room at a time; more are not shown.
const TYPISTS: usize = 50;

/// Unread messages counted of a room; beyond them the count stays.
pub const UNREAD: usize = 1_000;

/// A room that the user is in, is asked into, or was in.
#[derive(Clone, Debug)]
pub struct Room {
    /// How the user belongs to it.
    pub membership: Membership,
    /// The entry that made it so.
    pub moved: Pos,
    /// Everything up to this entry is told, or is among the updates.
    pub last: Pos,
    /// When something happened in it last.
    pub at: UnixMillis,
    /// Whether it was looked at what the room is like.
    pub looked_at: bool,
    /// The other party, if it is a dialog.
    pub with: Option<User>,
    /// The room's id, once it was looked at.
    pub name: Option<Str>,
    /// How many are joined; none before that was looked up.
    pub joined: Option<u64>,
    /// The user's display name in the room.
    pub display: Option<Str>,
    /// The power levels' content, as the room keeps it.
    pub levels: Option<Octets>,
    /// The ids of those above all levels.
    pub creators: Vec<Str>,
    /// Who types, and until when if that is not renewed.
    pub typing: Vec<Typing>,
    /// The user's own receipts, by [`Receipt::key`]. The room's members say what others have read.
    pub receipts: Arc<VecMap<(AccountId, Str), Receipt>>,
    /// What is unread; none before that was counted.
    pub unread: Option<Arc<Unread>>,
}

/// Somebody types.
#[derive(Clone, Debug)]
pub struct Typing {
    /// Who.
    pub who: User,
    /// Until then, if it is not renewed.
    pub until: Mono,
}

/// Somebody has read up to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Who.
    pub by: User,
    /// Up to which event.
    pub event: Str,
    /// Where that is in the log.
    pub pos: Pos,
    /// When.
    pub at: UnixMillis,
    /// `main`, or the root of a thread; none: in the room as a whole.
    pub thread: Option<Str>,
    /// Only the reader's own devices may know.
    pub private: bool,
}

impl Receipt {
    /// There is one of each of these in a room.
    pub fn key(&self) -> (AccountId, Str) {
        let thread = self.thread.as_deref().unwrap_or_default();
        (self.by.id, if self.private { Str::new(format!("{thread}\u{1}")) } else { Str::new(thread) })
    }

    /// One that everybody may know.
    pub fn public(by: &User, room: RoomId, to: &ReadTo, ids: &IdKey) -> Receipt {
        let event = match to.name.is_empty() {
            true => Str::new(ids.name(EventRef::new(room, to.pos), to.seal.as_ref())),
            false => to.name.clone(),
        };
        let thread = Some(to.thread.clone()).filter(|t| !t.is_empty());
        Receipt { by: by.clone(), event, pos: to.pos, at: to.at, thread, private: false }
    }

    /// As the room keeps one that everybody may know.
    pub fn to_read(&self) -> ReadTo {
        let thread = self.thread.clone().unwrap_or_default();
        ReadTo { thread, pos: self.pos, name: self.event.clone(), at: self.at, seal: None }
    }

    /// The private ones of an account in a room, as the account keeps them.
    pub fn write_private<'a>(all: impl Iterator<Item = &'a Receipt>) -> Json {
        let mut out = Map::new();
        for r in all {
            let value = object! { "event" => &r.event, "pos" => r.pos.0, "ts" => r.at.0 };
            out.insert(r.thread.clone().unwrap_or_default(), value);
        }
        Json::Object(out)
    }

    /// The same, read.
    pub fn read_private(by: &User, bytes: &[u8]) -> Vec<Receipt> {
        let Ok(json) = Json::parse(bytes) else { return Vec::new() };
        let number =
            |v: &Json, key: &str| v.get(key).and_then(Json::as_int).and_then(|n| u64::try_from(n).ok());
        let read = |(thread, v): (&Str, &Json)| {
            let thread = Some(thread.clone()).filter(|t| !t.is_empty());
            let (pos, at) = (Pos(number(v, "pos")?), UnixMillis(number(v, "ts")?));
            let event = Str::new(v.str_of("event")?);
            Some(Receipt { by: by.clone(), event, pos, at, thread, private: true })
        };
        json.as_object().into_iter().flat_map(Map::iter).filter_map(read).collect()
    }
}

/// Up to where somebody has read a room, by all that is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The room as a whole.
    pub whole: Pos,
    main: Pos,
    threads: BTreeMap<Str, Pos>,
}

impl Read {
    /// Whether an entry is read that lies in that thread, which is its root's event id, or in none.
    pub fn has(&self, pos: Pos, thread: Option<&str>) -> bool {
        let of = match thread {
            None => self.main,
            Some(root) => self.threads.get(root).copied().unwrap_or(Pos::ZERO),
        };
        pos <= self.whole.max(of)
    }
}

/// What of a room is unread, and worth a notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// The last entry that was looked at.
    pub counted: Pos,
    /// Most messages: no highlights, in no thread. In little room, since every device of every member keeps them.
    plain: Positions,
    /// The others: entry, whether it is a highlight, the root of its thread.
    others: Vec<(Pos, bool, Option<Str>)>,
}

impl Unread {
    /// Notifications and highlights: of the room, or of a thread alone.
    pub fn counts(&self, of: impl Fn(Option<&Str>) -> bool) -> (usize, usize) {
        let plain = if of(None) { self.plain.len() } else { 0 };
        let those = self.others.iter().filter(|(_, _, thread)| of(thread.as_ref()));
        those.fold((plain, 0), |(n, h), (_, high, _)| (n + 1, h + usize::from(*high)))
    }

    /// The roots of the threads in which something is unread.
    pub fn threads(&self) -> impl Iterator<Item = &Str> {
        self.others.iter().filter_map(|(_, _, thread)| thread.as_ref())
    }

    /// One more.
    pub fn add(&mut self, pos: Pos, highlight: bool, thread: Option<Str>) {
        if self.plain.len() + self.others.len() >= UNREAD {
            return;
        }
        if highlight || thread.is_some() {
            self.others.push((pos, highlight, thread));
            return;
        }
        self.plain.push(pos);
    }

    /// A message was withdrawn.
    pub fn forget(&mut self, target: Pos) {
        self.plain.retain(|pos| pos != target);
        self.others.retain(|(pos, ..)| *pos != target);
    }

    /// Nothing is unread any more.
    pub fn clear(&mut self) {
        *self = Unread { counted: self.counted, ..Unread::default() };
    }

    /// The user has read.
    pub fn read(&mut self, read: &Read) {
        if self.has_any(read) {
            self.plain.retain(|pos| !read.has(pos, None));
            self.others.retain(|(pos, _, thread)| !read.has(*pos, thread.as_deref()));
        }
    }

    /// True: some of it is read.
    fn has_any(&self, read: &Read) -> bool {
        self.plain.first().is_some_and(|first| read.has(first, None))
            || self.others.iter().any(|(pos, _, thread)| read.has(*pos, thread.as_deref()))
    }
}

impl Room {
    /// A room since that entry.
    pub fn new(membership: Membership, moved: Pos) -> Room {
        Room {
            membership,
            moved,
            last: Pos::ZERO,
            at: UnixMillis::default(),
            looked_at: false,
            with: None,
            name: None,
            joined: None,
            display: None,
            levels: None,
            creators: Vec::new(),
            typing: Vec::new(),
            receipts: Arc::default(),
            unread: None,
        }
    }

    /// A dialog of which everything up to that entry is known.
    pub fn dialog(with: User, last: Pos) -> Room {
        Room { with: Some(with), last, joined: Some(2), ..Room::new(Membership::Joined, last) }
    }

    /// Whether the user is in it.
    pub fn is_joined(&self) -> bool {
        self.membership == Membership::Joined
    }

    /// What the room is like at the moment.
    pub fn take_in(&mut self, view: &RoomView, me: &User, settings: &Settings) {
        let (domain, ids) = (&settings.domain, IdKey::new(&settings.secret));
        for to in view.members.get(&me.id).into_iter().flat_map(|own| &own.seen) {
            self.receive(Receipt::public(me, view.id, to, &ids));
        }
        self.name.clone_from(&view.head.known);
        let makers = view.members.values().filter(|m| m.standing.power == power::CREATOR);
        self.creators = makers.map(|m| Str::new(user_id(&m.user, domain))).collect();
        self.looked_at = true;
        self.at = view.last_at.max(self.at);
        self.joined = Some(view.joined() as u64);
        let levels = view.facts.get(&(Str::new("m.room.power_levels"), Str::default()));
        self.levels = levels.map(|row| row.fact.content.clone());
        self.display = view.members.get(&me.id).and_then(|m| m.display.clone());
        if let Some((a, b)) = &view.parties {
            self.with = Some(if a.id == me.id { b.clone() } else { a.clone() });
        }
    }

    /// An entry came.
    pub fn happened(&mut self, event: &Event, me: &User, domain: &str) {
        (self.last, self.at) = (event.pos, event.at);
        for fact in &event.facts {
            match fact.kind.as_str() {
                "m.room.power_levels" => self.levels = Some(fact.content.clone()),
                "m.room.member" if *fact.key == *user_id(me, domain) => {
                    let content = Json::parse_within(&fact.content, DEPTH + 1).unwrap_or_default();
                    self.display = content.str_of("displayname").map(Str::new);
                }
                _ => {}
            }
        }
        if let (What::Member(change), Some(joined)) = (&event.what, self.joined.as_mut()) {
            let is = |m| m == Membership::Joined;
            match (is(change.before.membership), is(change.after.membership)) {
                (false, true) => *joined += 1,
                (true, false) => *joined = joined.saturating_sub(1),
                _ => {}
            }
        }
        if let Some(unread) = &mut self.unread {
            let own = matches!(event.what, What::Said(_)) && event.by.is(me.id);
            match event.what {
                // Who writes has read.
                _ if own => Arc::make_mut(unread).clear(),
                What::Redacted { target, .. } => Arc::make_mut(unread).forget(target),
                _ => {}
            }
        }
    }

    /// The content of the power levels.
    pub fn levels(&self) -> Option<Json> {
        Json::parse_within(self.levels.as_ref()?, DEPTH + 1).ok()
    }

    /// Up to where the user has read; `mark`: the account's own mark of the room, which every protocol moves.
    pub fn read_by(&self, me: AccountId, mark: Pos) -> Read {
        let mut out = Read::default();
        for r in self.receipts.values().filter(|r| r.by.id == me) {
            let of = match r.thread.as_deref() {
                None => &mut out.whole,
                Some("main") => &mut out.main,
                Some(thread) => out.threads.entry(Str::new(thread)).or_default(),
            };
            *of = r.pos.max(*of);
        }
        // What is read in the main timeline moves the mark too, and says nothing of threads.
        if mark > out.main {
            out.whole = mark.max(out.whole);
        }
        out
    }

    /// The user has read. True: less is unread now.
    pub fn have_read(&mut self, me: AccountId, mark: Pos) -> bool {
        let read = self.read_by(me, mark);
        let Some(unread) = &mut self.unread else { return false };
        let some = unread.has_any(&read);
        if some {
            Arc::make_mut(unread).read(&read);
        }
        some
    }

    /// Somebody types, or no longer. True: that is news.
    pub fn typed(&mut self, who: &User, on: bool, until: Option<Mono>) -> bool {
        let at = self.typing.iter().position(|t| t.who.id == who.id);
        match (at, until.filter(|_| on)) {
            (Some(at), Some(until)) => {
                if let Some(typing) = self.typing.get_mut(at) {
                    typing.until = until;
                }
                false
            }
            (Some(at), None) => {
                self.typing.remove(at);
                true
            }
            (None, Some(until)) if self.typing.len() < TYPISTS => {
                self.typing.push(Typing { who: who.clone(), until });
                true
            }
            (None, _) => false,
        }
    }

    /// The user has read. True: that is news.
    pub fn receive(&mut self, receipt: Receipt) -> bool {
        let key = receipt.key();
        if self.receipts.get(&key).is_some_and(|old| old.pos >= receipt.pos) {
            return false;
        }
        if !self.receipts.contains_key(&key) && self.receipts.len() >= RECEIPTS {
            return false;
        }
        let event = receipt.event.clone();
        Arc::make_mut(&mut self.receipts).insert(key, receipt).is_none_or(|old| old.event != event)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use lavina_core::ids::ShardId;
    use lavina_core::name::UserName;

    fn user(n: u64) -> User {
        let id = AccountId::fresh(n << 8, ShardId(0), 64, false);
        User::new(id, UserName::new(&format!("user{n}")).unwrap())
    }

    #[test]
    fn typing_and_receipts_are_news_once() {
        let mut room = Room::new(Membership::Joined, Pos(1));
        let until = Some(Mono(5));
        assert!(room.typed(&user(1), true, until) && !room.typed(&user(1), true, until));
        assert!(room.typed(&user(1), false, None) && !room.typed(&user(1), false, None));
        let receipt = read(1, 7, Some("main"), true);
        let kept = Receipt::write_private([&receipt].into_iter()).to_bytes();
        assert_eq!(Receipt::read_private(&user(1), &kept), std::slice::from_ref(&receipt));
        let public = Receipt { private: false, ..receipt.clone() };
        let ids = IdKey::new(&[0; 32]);
        assert_eq!(Receipt::public(&user(1), RoomId(1), &public.to_read(), &ids), public);
        assert!(room.receive(receipt.clone()) && !room.receive(receipt.clone()));
        assert!(room.receive(read(1, 8, Some("main"), true)) && !room.receive(receipt));
    }

    fn read(by: u64, pos: u64, thread: Option<&str>, private: bool) -> Receipt {
        let (thread, event) = (thread.map(Str::new), Str::new(format!("$e{pos}")));
        Receipt { by: user(by), event, pos: Pos(pos), at: UnixMillis(7), thread, private }
    }

    #[test]
    fn reading_lessens_the_counts() {
        let mut room = Room::new(Membership::Joined, Pos(1));
        let mut unread = Unread::default();
        unread.add(Pos(3), false, None);
        unread.add(Pos(4), true, Some(Str::new("$e3")));
        unread.add(Pos(5), false, None);
        assert_eq!(unread.counts(|_| true), (3, 1));
        assert_eq!(unread.counts(|t| t.is_none()), (2, 0));
        room.unread = Some(Arc::new(unread));
        let me = user(1).id;
        let left = |room: &Room| room.unread.as_ref().unwrap().counts(|_| true);
        // Another's receipt is nothing; what is read in the main timeline leaves threads, whatever the mark says.
        room.receive(read(2, 5, None, false));
        assert!(!room.have_read(me, Pos::ZERO));
        room.receive(read(1, 5, Some("main"), true));
        assert!(room.have_read(me, Pos(5)) && !room.have_read(me, Pos(5)));
        assert_eq!(left(&room), (1, 1));
        room.receive(read(1, 4, Some("$e3"), false));
        assert!(room.have_read(me, Pos(5)));
        assert_eq!(left(&room), (0, 0));
        // A mark beyond comes from elsewhere, and means everything.
        assert!(room.read_by(me, Pos(6)).has(Pos(6), Some("$e9")));
    }
}
