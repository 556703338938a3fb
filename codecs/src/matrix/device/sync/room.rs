//! What a device's agent knows of a room: little, so that many agents can follow many rooms.

use crate::json::{DEPTH, Json};
use crate::matrix::ids::user_id;
use crate::object;
use lavina_core::event::{Event, What};
use lavina_core::ids::{AccountId, Pos};
use lavina_core::name::User;
use lavina_core::policy::{Membership, power};
use lavina_core::query::RoomView;
use lavina_core::text::Str;
use lavina_core::time::{Mono, UnixMillis};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Receipts kept of a room; more are not shown.
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
    /// The power levels' content.
    pub levels: Option<Arc<Json>>,
    /// The ids of those above all levels.
    pub creators: Vec<Str>,
    /// Who types, and until when if that is not renewed.
    pub typing: Vec<Typing>,
    /// Who has read what, by [`Receipt::key`].
    pub receipts: BTreeMap<(AccountId, Str), Receipt>,
    /// What is unread; none before that was counted.
    pub unread: Option<Unread>,
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
    /// Where that is in the room's log, if that is known.
    pub place: Option<(Pos, u8)>,
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

    /// As the reader's device tells the room.
    pub fn write(&self) -> Json {
        let mut out = object! { "type" => "m.receipt", "event" => &self.event, "ts" => self.at.0 };
        if let Some(thread) = &self.thread {
            out.set("thread", thread);
        }
        if let Some((pos, sub)) = self.place {
            out.set("place", [pos.0, sub.into()]);
        }
        out
    }

    /// The same, read.
    pub fn read(by: &User, json: &Json) -> Option<Receipt> {
        let at = json.get("ts").and_then(Json::as_int).and_then(|n| u64::try_from(n).ok())?;
        let thread = json.str_of("thread").map(Str::new);
        let event = Str::new(json.str_of("event")?);
        let place = match json.get("place").and_then(Json::as_array) {
            Some([pos, sub]) => {
                let number = |n: &Json| n.as_int().and_then(|n| u64::try_from(n).ok());
                number(pos).zip(number(sub)).map(|(pos, sub)| (Pos(pos), u8::try_from(sub).unwrap_or(0)))
            }
            _ => None,
        };
        Some(Receipt { by: by.clone(), event, place, at: UnixMillis(at), thread, private: false })
    }
}

/// What of a room is unread, and worth a notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// The last entry that was looked at.
    pub counted: Pos,
    /// The messages: entry, whether it is a highlight, the root of its thread.
    pub items: Vec<(Pos, bool, Option<Pos>)>,
}

impl Unread {
    /// Notifications and highlights: of the room, or of a thread alone.
    pub fn counts(&self, of: impl Fn(Option<Pos>) -> bool) -> (usize, usize) {
        let those = self.items.iter().filter(|(_, _, thread)| of(*thread));
        those.fold((0, 0), |(n, h), (_, high, _)| (n + 1, h + usize::from(*high)))
    }

    /// One more.
    pub fn add(&mut self, pos: Pos, highlight: bool, thread: Option<Pos>) {
        if self.items.len() < UNREAD {
            self.items.push((pos, highlight, thread));
        }
    }
}

impl Room {
    /// A room since that entry.
    pub fn new(membership: Membership, moved: Pos) -> Room {
        Room {
            membership,
            moved,
            last: Pos::ZERO,
            looked_at: false,
            with: None,
            name: None,
            joined: None,
            display: None,
            levels: None,
            creators: Vec::new(),
            typing: Vec::new(),
            receipts: BTreeMap::new(),
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
    pub fn take_in(&mut self, view: &RoomView, me: &User, domain: &str) {
        self.name.clone_from(&view.head.known);
        let makers = view.members.values().filter(|m| m.standing.power == power::CREATOR);
        self.creators = makers.map(|m| Str::new(user_id(&m.user, domain))).collect();
        self.looked_at = true;
        self.joined = Some(view.joined() as u64);
        let levels = view.facts.get(&(Str::new("m.room.power_levels"), Str::default()));
        self.levels =
            levels.and_then(|row| Json::parse_within(&row.fact.content, DEPTH + 1).ok()).map(Arc::new);
        self.display = view.members.get(&me.id).and_then(|m| m.display.clone());
        if let Some((a, b)) = &view.parties {
            self.with = Some(if a.id == me.id { b.clone() } else { a.clone() });
        }
    }

    /// An entry came.
    pub fn happened(&mut self, event: &Event, me: &User, domain: &str) {
        self.last = event.pos;
        for fact in &event.facts {
            match fact.kind.as_str() {
                "m.room.power_levels" => {
                    self.levels = Json::parse_within(&fact.content, DEPTH + 1).ok().map(Arc::new);
                }
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
                _ if own => unread.items.clear(),
                What::Redacted { target, .. } => unread.items.retain(|(pos, ..)| *pos != target),
                _ => {}
            }
        }
    }

    /// The user has read up to there. True: less is unread now.
    pub fn read(&mut self, upto: Pos) -> bool {
        let Some(unread) = &mut self.unread else { return false };
        let before = unread.items.len();
        unread.items.retain(|(pos, ..)| *pos > upto);
        unread.items.len() != before
    }

    /// The user has read a thread up to there. True: less is unread now.
    pub fn read_thread(&mut self, root: Pos, upto: Pos) -> bool {
        let Some(unread) = &mut self.unread else { return false };
        let before = unread.items.len();
        unread.items.retain(|(pos, _, thread)| *pos > upto || *thread != Some(root));
        unread.items.len() != before
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

    /// Somebody has read. True: that is news.
    pub fn receive(&mut self, receipt: Receipt) -> bool {
        let key = receipt.key();
        if !self.receipts.contains_key(&key) && self.receipts.len() >= RECEIPTS {
            return false;
        }
        let event = receipt.event.clone();
        self.receipts.insert(key, receipt).is_none_or(|old| old.event != event)
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
        let receipt = Receipt {
            by: user(1),
            event: Str::new("$e"),
            place: Some((Pos(9), 1)),
            at: UnixMillis(7),
            thread: Some(Str::new("main")),
            private: false,
        };
        assert_eq!(Receipt::read(&user(1), &receipt.write()), Some(receipt.clone()));
        assert!(room.receive(receipt.clone()) && !room.receive(receipt.clone()));
        assert!(room.receive(Receipt { event: Str::new("$f"), ..receipt }));
    }

    #[test]
    fn reading_lessens_the_counts() {
        let mut room = Room::new(Membership::Joined, Pos(1));
        let mut unread = Unread::default();
        unread.add(Pos(3), false, None);
        unread.add(Pos(4), true, Some(Pos(3)));
        assert_eq!(unread.counts(|_| true), (2, 1));
        assert_eq!(unread.counts(|t| t.is_none()), (1, 0));
        room.unread = Some(unread);
        assert!(room.read(Pos(3)) && !room.read(Pos(3)));
        assert_eq!(room.unread.unwrap().counts(|_| true), (1, 1));
    }
}
