//! What is to be told, taken out of the agent at one moment.

use crate::matrix::api::data::parts;
use crate::matrix::device::stamp::Stamp;
use crate::matrix::device::sync::{News, Person, Receipt, Room, Sync, Update};
use crate::matrix::push::Ruleset;
use crate::session::Cx;
use lavina_core::event::{Event, LiveWhat, What};
use lavina_core::ids::{AccountId, Label, Pos, RoomId};
use lavina_core::name::User;
use lavina_core::policy::Membership;
use lavina_core::presence::Presence;
use lavina_core::text::{Octets, Str};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be told.
pub struct Changes {
    /// The token of now.
    pub stamp: Stamp,
    /// True: nothing is known of what came after the client's token.
    pub lost: bool,
    /// True: the client has been told nothing.
    pub initial: bool,
    /// Rooms with something new.
    pub rooms: BTreeMap<RoomId, Change>,
    /// Those that were told.
    pub done: Vec<(RoomId, Change)>,
    /// Named values of the account.
    pub values: Vec<(Str, Octets)>,
    /// How present people are.
    pub people: Vec<(User, Presence)>,
    /// Whose keys changed.
    pub keys: BTreeMap<AccountId, User>,
    /// The ids of those of whom the user signed a key.
    pub signed: BTreeSet<String>,
    /// Who left a room.
    pub parted: BTreeMap<AccountId, User>,
    /// The one-time keys changed.
    pub counts: bool,
    /// Names of the device's one-time and fallback keys.
    pub own_keys: Arc<BTreeMap<Str, bool>>,
    /// The device's label.
    pub label: Label,
    /// The last letter.
    pub letters: Pos,
    /// The user's rules.
    pub rules: Option<Arc<Ruleset>>,
}

/// What is new of a room.
#[derive(Clone, Debug)]
pub struct Change {
    /// The room as the agent knows it, but for what is unread.
    pub room: Room,
    /// Up to which entry what is unread was counted.
    pub counted: Option<Pos>,
    /// Entries in order.
    pub events: Vec<Arc<Event>>,
    /// The user came in since the token, so it is told as a whole.
    pub whole: bool,
    /// The last change of the user's own membership.
    pub own: Option<Arc<Event>>,
    /// True: a dialog that is hidden until its next entry.
    pub hidden: bool,
    /// True: who types is to be told.
    pub typing: bool,
    /// Receipts to be told.
    pub receipts: Vec<Receipt>,
    /// True: the public receipts of all members are to be told too.
    pub all_receipts: bool,
    /// True: the count of what is unread changed.
    pub unread: bool,
    /// The account's data about the room: type and content.
    pub data: Vec<(Str, Octets)>,
    /// After the entries there was a gap before those known: the timeline is read from here.
    pub gap: Option<Pos>,
    /// Up to where the user has read.
    pub read: Pos,
    /// Whom the client knows of its members.
    pub known: BTreeMap<Str, u64>,
}

impl Change {
    /// Nothing new.
    pub fn new(sync: &Sync, id: RoomId, room: &Room) -> Change {
        Change {
            read: sync.read.get(&id).copied().unwrap_or(Pos::ZERO),
            known: sync.known.get(&id).cloned().unwrap_or_default(),
            ..Change::bare(room.clone())
        }
    }

    /// Of a room of which the agent knows nothing else.
    pub fn bare(mut room: Room) -> Change {
        Change {
            // Nobody else holds the counts when they change.
            counted: room.unread.take().map(|unread| unread.counted),
            room,
            events: Vec::new(),
            whole: false,
            own: None,
            hidden: false,
            typing: false,
            receipts: Vec::new(),
            all_receipts: false,
            unread: false,
            data: Vec::new(),
            gap: None,
            read: Pos::ZERO,
            known: BTreeMap::new(),
        }
    }

    /// Who types and who has read is to be told as it is now, not only what is new of it.
    pub fn tell_moment(&mut self) {
        self.typing = !self.room.typing.is_empty();
        self.receipts = self.room.receipts.values().filter(|r| r.private).cloned().collect();
        self.all_receipts = true;
    }
}

impl Changes {
    /// What came after a token; `full`: with all rooms, even where nothing did.
    pub fn take(sync: &mut Sync, since: Option<&Stamp>, full: bool, cx: &mut Cx<'_>) -> Changes {
        sync.tell_arrived(cx);
        let mut out = Changes {
            stamp: sync.stamp(Pos::ZERO, cx.now().wall),
            lost: false,
            initial: since.is_none(),
            rooms: BTreeMap::new(),
            done: Vec::new(),
            values: Vec::new(),
            people: Vec::new(),
            keys: BTreeMap::new(),
            signed: BTreeSet::new(),
            parted: BTreeMap::new(),
            counts: false,
            own_keys: sync.keys.clone(),
            label: sync.label.clone(),
            letters: sync.letters,
            rules: sync.rules.clone(),
        };
        let Some(since) = since else {
            sync.known.clear();
            out.everything(sync);
            return out;
        };
        match sync.news(since) {
            News::Lost => {
                out.lost = true;
                out.everything(sync);
            }
            News::Updates(updates) => {
                let ids = crate::matrix::ids::IdKey::new(&cx.core_settings().secret);
                for update in updates {
                    out.add(sync, update, &ids);
                }
                let listed = |room: &Room| full && super::begin::is_listed(room.membership);
                for (id, _) in sync.rooms.iter().filter(|(_, room)| listed(room)) {
                    out.room(sync, *id);
                }
                for change in out.rooms.values_mut() {
                    change.known.retain(|_, told| *told <= since.seq);
                }
            }
        }
        out
    }

    /// All that the agent knows.
    fn everything(&mut self, sync: &Sync) {
        for (id, room) in &sync.rooms {
            if !super::begin::is_listed(room.membership) {
                continue;
            }
            let mut change = Change::new(sync, *id, room);
            (change.whole, change.unread) = (true, true);
            change.tell_moment();
            self.rooms.insert(*id, change);
        }
        let person =
            |(id, person): (&AccountId, &Person)| (User::new(*id, person.name().clone()), person.presence());
        self.people = sync.people.iter().map(person).collect();
    }

    fn room(&mut self, sync: &Sync, id: RoomId) -> Option<&mut Change> {
        let room = sync.rooms.get(&id)?;
        Some(self.rooms.entry(id).or_insert_with(|| Change::new(sync, id, room)))
    }

    fn add(&mut self, sync: &Sync, update: Update, ids: &crate::matrix::ids::IdKey) {
        match update {
            Update::Event(event) => {
                if let Some(change) = self.room(sync, event.room) {
                    change.events.push(event);
                }
            }
            Update::Own(event) => {
                if let Some(change) = self.room(sync, event.room) {
                    // A dialog's first word is the joining of it.
                    let came = match &event.what {
                        What::Member(m) => m.after.membership == Membership::Joined,
                        What::Destroyed { .. } => false,
                        _ => true,
                    };
                    change.whole |= came;
                    if !came {
                        change.events.push(event.clone());
                    }
                    change.own = Some(event);
                }
            }
            Update::Typing(room) => {
                if let Some(change) = self.room(sync, room) {
                    change.typing = true;
                }
            }
            Update::Read(live) => {
                if let LiveWhat::Read { to, .. } = &live.what {
                    self.receipt(sync, live.room, Receipt::public(&live.by, live.room, to, ids));
                }
            }
            Update::Receipt(room, receipt) => self.receipt(sync, room, *receipt),
            Update::Hidden(room) => {
                if let Some(change) = self.room(sync, room) {
                    (change.hidden, change.whole) = (true, false);
                }
            }
            Update::Shown(room) => {
                if let Some(change) = self.room(sync, room) {
                    (change.hidden, change.whole) = (false, true);
                }
            }
            Update::Unread(room) => {
                if let Some(change) = self.room(sync, room) {
                    change.unread = true;
                }
            }
            Update::Value(named) => self.value(sync, *named, ids),
            Update::Presence(who) => {
                if let Some(person) = sync.people.get(&who) {
                    self.people.retain(|(u, _)| u.id != who);
                    self.people.push((User::new(who, person.name().clone()), person.presence()));
                }
            }
            Update::Letter => {}
            Update::Keys(user) => {
                self.parted.remove(&user.id);
                self.keys.insert(user.id, *user);
            }
            Update::Signed(id) => _ = self.signed.insert(id.to_string()),
            Update::Parted(user) => {
                self.keys.remove(&user.id);
                self.parted.insert(user.id, *user);
            }
            Update::Counts => self.counts = true,
        }
    }

    /// Somebody has read.
    fn receipt(&mut self, sync: &Sync, room: RoomId, receipt: Receipt) {
        if let Some(change) = self.room(sync, room) {
            let key = receipt.key();
            change.receipts.retain(|r| r.key() != key);
            change.receipts.push(receipt);
        }
    }

    /// A named value of the account.
    fn value(&mut self, sync: &Sync, (key, value): (Str, Octets), ids: &crate::matrix::ids::IdKey) {
        match parts(&key) {
            Some((kind, Some(room))) => {
                let kind = Str::new(kind);
                if let Some(change) = sync
                    .room_named(room)
                    .or_else(|| ids.coded_room(room))
                    .and_then(|room| self.room(sync, room))
                {
                    change.data.retain(|(k, _)| *k != kind);
                    change.data.push((kind, value));
                }
            }
            _ => {
                self.values.retain(|(k, _)| *k != key);
                self.values.push((key, value));
            }
        }
    }
}
