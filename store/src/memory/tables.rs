//! The rows in ordered maps, and the plainest possible reading of the contract: the oracle for SQLite.

use crate::{
    Fault,
    rules::{self, Class, FED, Places},
};
use lavina_core::{
    command::Command,
    event::Event,
    ids::{AccountId, MsgId, Pos, RoomId, ShardId},
    media::{Held, Media, MediaId},
    name::{RoomName, User},
    policy::{MaskEntry, Member, Membership},
    presence::Contact,
    query::{Belonging, Listed, Range, Stretch, TopicSet},
    row::{
        AccountHead, AccountRows, Change, FactRow, NameRow, Page, Read, ReadMark, RoomHead, RoomRows,
        ShardHead,
    },
    seal::{Piece, Seal},
    text::{Octets, Str},
    time::UnixMillis,
};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Clone)]
pub(super) struct Tables {
    shards: u8,
    names: BTreeMap<String, NameRow>,
    accounts: BTreeMap<AccountId, AccountHead>,
    account_attrs: BTreeMap<(AccountId, Str), Octets>,
    contacts: BTreeMap<(AccountId, Str), Contact>,
    feed: BTreeMap<(AccountId, Pos), Fed>,
    read: BTreeMap<(AccountId, RoomId), ReadMark>,
    media: BTreeMap<MediaId, Media>,
    rooms: BTreeMap<RoomId, RoomHead>,
    topics: BTreeMap<RoomId, TopicSet>,
    masks: BTreeMap<RoomId, Vec<MaskEntry>>,
    members: BTreeMap<(RoomId, AccountId), Member>,
    room_attrs: BTreeMap<(RoomId, Str), Octets>,
    facts: BTreeMap<(RoomId, Str, Str), FactRow>,
    shelf: BTreeMap<(AccountId, Str), Octets>,
    letters: BTreeMap<(AccountId, Str, Pos), Octets>,
    events: BTreeMap<(RoomId, Pos), Arc<Event>>,
    sealed: BTreeMap<Seal, Piece>,
    next: BTreeMap<ShardId, Pos>,
    followed: BTreeMap<ShardId, Pos>,
    follows: BTreeMap<(ShardId, Pos, u16), Command>,
}

/// An entry of a feed.
#[derive(Clone, Copy)]
struct Fed {
    room: RoomId,
    entry: Pos,
    /// The latest time in the feed so far: a feed's times never fall, although its rooms' clocks differ.
    at: UnixMillis,
}

impl Tables {
    pub(super) fn new(shards: u8) -> Tables {
        Tables {
            shards,
            names: BTreeMap::new(),
            accounts: BTreeMap::new(),
            account_attrs: BTreeMap::new(),
            contacts: BTreeMap::new(),
            feed: BTreeMap::new(),
            read: BTreeMap::new(),
            media: BTreeMap::new(),
            rooms: BTreeMap::new(),
            topics: BTreeMap::new(),
            masks: BTreeMap::new(),
            members: BTreeMap::new(),
            room_attrs: BTreeMap::new(),
            facts: BTreeMap::new(),
            shelf: BTreeMap::new(),
            letters: BTreeMap::new(),
            events: BTreeMap::new(),
            sealed: BTreeMap::new(),
            next: BTreeMap::new(),
            followed: BTreeMap::new(),
            follows: BTreeMap::new(),
        }
    }

    /// Applies a batch, all or none.
    pub(super) fn apply(&mut self, batch: &[Change]) -> Result<(), Fault> {
        // The one change that can be refused is looked at first.
        let mut last = BTreeMap::new();
        for change in batch {
            match change {
                Change::Room(room, None) => _ = last.insert(*room, Pos::ZERO),
                Change::Event(e) => {
                    let known = last.entry(e.room).or_insert_with(|| self.last(e.room));
                    if e.pos <= *known || e.pos > Pos::MAX {
                        return Err(Fault::Misuse("an entry does not come after its room's last"));
                    }
                    *known = e.pos;
                }
                _ => {}
            }
        }
        batch.iter().for_each(|change| self.change(change));
        Ok(())
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Name(key, row) => set(&mut self.names, key.text(), row.clone()),
            Change::Account(id, Some(head)) => {
                self.accounts.insert(*id, head.clone());
                if head.deleted {
                    self.shelf.retain(|k, _| k.0 != *id);
                    self.letters.retain(|k, _| k.0 != *id);
                }
            }
            Change::Account(id, None) => self.erase_account(*id),
            Change::AccountAttr(id, key, value) => {
                set(&mut self.account_attrs, (*id, key.clone()), some(value));
            }
            Change::Contact(id, address, c) => set(&mut self.contacts, (*id, address.clone()), c.clone()),
            Change::Feed { account, pos, room, entry, at } => self.feed(*account, *pos, *room, *entry, *at),
            Change::Read(account, room, mark) => _ = self.read.insert((*account, *room), *mark),
            Change::Media(id, media) => set(&mut self.media, *id, media.clone()),
            Change::Room(id, Some(head)) => _ = self.rooms.insert(*id, head.clone()),
            Change::Room(id, None) => self.erase_room(*id),
            Change::Topic(id, topic) => set(&mut self.topics, *id, topic.clone()),
            Change::Masks(id, masks) => _ = self.masks.insert(*id, masks.clone()),
            Change::Member(room, account, m) => set(&mut self.members, (*room, *account), m.clone()),
            Change::RoomAttr(id, key, value) => set(&mut self.room_attrs, (*id, key.clone()), some(value)),
            Change::Fact(id, row) => {
                let key = (*id, row.fact.kind.clone(), row.fact.key.clone());
                self.facts.insert(key, row.clone());
            }
            Change::Shelf(id, key, value) => set(&mut self.shelf, (*id, key.clone()), some(value)),
            Change::Letter(id, label, pos, letter) => {
                self.letters.insert((*id, label.clone(), *pos), letter.clone());
            }
            Change::Collected(id, label, upto) => {
                self.letters.retain(|(a, l, p), _| a != id || l != label || p > upto);
            }
            Change::Event(e) => {
                for (nth, seal) in (0..).zip(e.sealed.iter().flat_map(|s| &s.names)) {
                    let piece = Piece { room: e.room, pos: e.pos, nth };
                    seal.map(|seal| self.sealed.insert(seal, piece));
                }
                self.events.insert((e.room, e.pos), Arc::clone(e));
            }
            Change::Rewrite(e) => {
                if let Some(old) = self.events.get_mut(&(e.room, e.pos)) {
                    *old = Arc::clone(e);
                }
            }
            Change::Head(shard, next) => _ = self.next.insert(*shard, *next),
            Change::Follow(shard, pos, n, c) => _ = self.follows.insert((*shard, *pos, *n), (**c).clone()),
            Change::Followed(shard, pos) => {
                let followed = self.followed.entry(*shard).or_default();
                *followed = (*followed).max(*pos);
                self.follows.retain(|(s, p, _), _| s != shard || p > pos);
            }
        }
    }

    fn feed(&mut self, account: AccountId, pos: Pos, room: RoomId, entry: Pos, at: UnixMillis) {
        if self.feed_of(account).any(|(_, f)| (f.room, f.entry) == (room, entry)) {
            return;
        }
        let latest = self.feed_of(account).next_back().map_or(at, |(_, f)| f.at.max(at));
        self.feed.insert((account, pos), Fed { room, entry, at: latest });
    }

    fn erase_account(&mut self, id: AccountId) {
        self.accounts.remove(&id);
        self.account_attrs.retain(|k, _| k.0 != id);
        self.contacts.retain(|k, _| k.0 != id);
        self.feed.retain(|k, _| k.0 != id);
        self.read.retain(|k, _| k.0 != id);
        self.shelf.retain(|k, _| k.0 != id);
        self.letters.retain(|k, _| k.0 != id);
        self.media.retain(|_, m| m.owner != id);
    }

    fn erase_room(&mut self, id: RoomId) {
        if let Some((a, b)) = self.rooms.remove(&id).and_then(|h| h.parties) {
            self.feed.retain(|k, f| f.room != id || (k.0 != a.id && k.0 != b.id));
        }
        self.topics.remove(&id);
        self.masks.remove(&id);
        self.members.retain(|k, _| k.0 != id);
        self.room_attrs.retain(|k, _| k.0 != id);
        self.facts.retain(|k, _| k.0 != id);
        self.events.retain(|k, _| k.0 != id);
        self.sealed.retain(|_, piece| piece.room != id);
    }

    /// See [`super::Memory::restore`].
    pub(super) fn restore(&mut self) -> Result<(), Fault> {
        let highest = self.next.values().max().map_or(0, |p| p.0 >> Pos::EPOCH_SHIFT);
        let next = (highest + 1) << Pos::EPOCH_SHIFT;
        if next > Pos::MAX.0 {
            return Err(Fault::Full("it was restored from a backup too often"));
        }
        self.next = (0..self.shards).map(|s| (ShardId(s), Pos(next))).collect();
        Ok(())
    }

    pub(super) fn read(&self, read: &Read) -> Result<Page, Fault> {
        Ok(match read {
            Read::Heads(shards) => Page::Heads(shards.iter().map(|s| self.head(*s)).collect()),
            Read::Name(key) => Page::Name(self.names.get(&key.text()).cloned()),
            Read::Account(id) => Page::Account(self.account(*id).map(Box::new)),
            Read::Room(id, tail) => Page::Room(self.room(*id, *tail).map(Box::new)),
            Read::History { room, floor, last, range } => self.history(*room, (*floor, *last), range)?,
            Read::Related { room, floor, last, targets, newest, limit } => {
                let fits = |e: &&Arc<Event>| {
                    e.pos > *floor && e.pos <= *last && e.about().any(|target| targets.contains(&target))
                };
                let log = self.log(*room, Pos::ZERO, Pos::MAX);
                let range = Range { newest: *newest, ..Range::latest(*limit) };
                Page::Events(cut(log.filter(fits).cloned().collect(), &range))
            }
            Read::Sealed(seal) => Page::Sealed(self.sealed.get(seal).copied()),
            Read::Feed { account, with, range } => self.feed_page(*account, *with, range)?,
            Read::Memberships(account) => Page::Memberships(self.memberships(*account, false)),
            Read::Formerly(account) => Page::Memberships(self.memberships(*account, true)),
            Read::Shelf { account, prefix, after, limit } => {
                let fits = |k: &&Str| k.starts_with(&**prefix) && after.as_ref().is_none_or(|a| *k > a);
                let values = under(&self.shelf, *account).filter(|(k, _)| fits(k));
                let values = values.take(*limit as usize).map(|(k, v)| (k.clone(), v.clone()));
                Page::Shelf(values.collect())
            }
            Read::Letters { account, label, after, limit } => {
                let here = |(a, l, p): &(AccountId, Str, Pos)| a == account && l == label && p > after;
                let letters = self.letters.iter().filter(|(k, _)| here(k));
                Page::Letters(letters.take(*limit as usize).map(|(k, v)| (k.2, v.clone())).collect())
            }
            Read::Dialogs { account, after, before, limit } => {
                Page::Dialogs(self.dialogs(*account, *after, *before, *limit))
            }
            Read::Directory { after, limit, secret } => {
                Page::Directory(self.directory(after.as_ref(), *limit, *secret))
            }
            Read::Nameless { after, limit } => Page::Directory(self.nameless(*after, *limit)),
            Read::Accounts { after, limit } => Page::Accounts(self.by_name(after.as_ref(), *limit)),
            Read::Media(id) => Page::Media(self.media.get(id).cloned().map(Box::new)),
            Read::MediaOf { account, after, limit } => {
                let later = self.media_of(*account).filter(|m| after.is_none_or(|a| m.id > a));
                Page::MediaOf(later.take(*limit as usize).cloned().collect())
            }
            Read::Counts => Page::Counts {
                accounts: self.accounts.values().filter(|h| !h.deleted).count() as u64,
                rooms: self.rooms.values().filter(|h| rules::is_listed(h)).count() as u64,
            },
            Read::Backup(_) => return Err(Fault::Unsupported("be copied to a file: it is kept in memory")),
        })
    }

    fn next(&self, shard: ShardId) -> Pos {
        self.next.get(&shard).copied().unwrap_or(Pos(1))
    }

    fn head(&self, shard: ShardId) -> ShardHead {
        let followed = self.followed.get(&shard).copied().unwrap_or_default();
        let is_dialog = |e: &&Arc<Event>| self.rooms.get(&e.room).is_some_and(|h| h.parties.is_some());
        let late = |e: &&Arc<Event>| e.room.shard(self.shards) == shard && e.pos > followed;
        let mut events: Vec<_> = self.events.values().filter(late).filter(is_dialog).cloned().collect();
        events.sort_by_key(|e| e.pos);
        let from = (shard, Pos::ZERO, 0)..=(shard, Pos(u64::MAX), u16::MAX);
        let follows = self.follows.range(from).map(|((_, p, n), c)| (*p, *n, c.clone())).collect();
        ShardHead { shard, next: self.next(shard), followed, follows, events }
    }

    fn account(&self, id: AccountId) -> Option<AccountRows> {
        let head = self.accounts.get(&id)?.clone();
        let fed = self.feed_of(id).rev().take(FED as usize).map(|(_, f)| (f.room, f.entry));
        let mut fed: Vec<_> = fed.collect();
        fed.reverse();
        Some(AccountRows {
            head,
            attrs: under(&self.account_attrs, id).map(|(k, v)| (k.clone(), v.clone())).collect(),
            contacts: under(&self.contacts, id).map(|(_, c)| c.clone()).collect(),
            read: self.read.range((id, RoomId(0))..=(id, RoomId(u64::MAX))).map(|(k, p)| (k.1, *p)).collect(),
            fed,
            letters: self.letters.keys().filter(|k| k.0 == id).map(|k| (k.1.clone(), k.2)).collect(),
            media: self.media_of(id).map(|m| (m.id, Held::of(m))).collect(),
        })
    }

    fn room(&self, id: RoomId, tail: u32) -> Option<RoomRows> {
        let head = self.rooms.get(&id)?.clone();
        let mut tail: Vec<_> = self.log(id, Pos::ZERO, Pos::MAX).rev().take(tail as usize).cloned().collect();
        tail.reverse();
        Some(RoomRows {
            head,
            topic: self.topics.get(&id).cloned(),
            masks: self.masks.get(&id).cloned().unwrap_or_default(),
            members: self.members_of(id).cloned().collect(),
            attrs: under(&self.room_attrs, id).map(|(k, v)| (k.clone(), v.clone())).collect(),
            facts: self.facts.iter().filter(|(k, _)| k.0 == id).map(|(_, row)| row.clone()).collect(),
            tail,
        })
    }

    fn history(&self, room: RoomId, ends: (Pos, Pos), range: &Range) -> Result<Page, Fault> {
        let Some(ends) = rules::ends(range, ends, &mut RoomPlaces(self, room))? else {
            return Ok(Page::NoSuchItem);
        };
        if ends.is_empty() {
            return Ok(Page::Events(cut(Vec::new(), range)));
        }
        let log = self.log(room, Pos(ends.after + 1), Pos(ends.before - 1));
        Ok(Page::Events(cut(log.filter(|e| wanted(e, range)).cloned().collect(), range)))
    }

    fn feed_page(&self, account: AccountId, with: Option<RoomId>, range: &Range) -> Result<Page, Fault> {
        let Some(ends) = rules::ends(range, (Pos::ZERO, Pos::MAX), &mut FeedPlaces(self, account))? else {
            return Ok(Page::NoSuchItem);
        };
        let inside = |p: Pos| p.0 > ends.after && p.0 < ends.before;
        let rows = self.feed_of(account).filter(|(p, f)| inside(*p) && with.is_none_or(|w| w == f.room));
        let entries = rows.filter_map(|(p, f)| Some((p, Arc::clone(self.events.get(&(f.room, f.entry))?))));
        Ok(Page::Feed(cut(entries.filter(|(_, e)| wanted(e, range)).collect(), range)))
    }

    fn memberships(&self, account: AccountId, former: bool) -> Vec<Belonging> {
        let out = [Membership::Left, Membership::Banned];
        let fits = |m: &Member| out.contains(&m.standing.membership) == former;
        let rows = self.members.iter().filter(|((_, a), m)| *a == account && fits(m));
        rows.filter_map(|((room, _), member)| {
            let upto = self.next(room.shard(self.shards)).back();
            Some(Belonging { room: *room, head: self.rooms.get(room)?.clone(), member: member.clone(), upto })
        })
        .collect()
    }

    fn dialogs(
        &self,
        account: AccountId,
        after: UnixMillis,
        before: UnixMillis,
        limit: u32,
    ) -> Vec<(User, Arc<Event>)> {
        let last: BTreeMap<RoomId, Pos> = self.feed_of(account).map(|(_, f)| (f.room, f.entry)).collect();
        let mut found: Vec<_> = last
            .into_iter()
            .filter_map(|key| self.events.get(&key))
            .filter(|e| e.at > after && e.at < before)
            .filter_map(|e| {
                let (a, b) = self.rooms.get(&e.room)?.parties.as_ref()?;
                Some((if a.id == account { b } else { a }.clone(), Arc::clone(e)))
            })
            .collect();
        found.sort_by_key(|(_, e)| (std::cmp::Reverse(e.at), e.room));
        found.truncate(limit as usize);
        found
    }

    fn directory(&self, after: Option<&RoomName>, limit: u32, secret: bool) -> Vec<Listed> {
        let mut rooms: Vec<_> = self
            .rooms
            .iter()
            .filter(|(_, h)| rules::is_listed(h) && (secret || !h.policy.secret))
            .filter(|(_, h)| after.is_none_or(|a| h.name.as_ref() > Some(a)))
            .collect();
        rooms.sort_by(|(i, a), (j, b)| (&a.name, i).cmp(&(&b.name, j)));
        rooms.into_iter().take(limit as usize).map(|(id, head)| self.listed(*id, head)).collect()
    }

    fn nameless(&self, after: Option<RoomId>, limit: u32) -> Vec<Listed> {
        let wanted =
            |h: &RoomHead| h.name.is_none() && h.parties.is_none() && !h.destroyed && !h.policy.secret;
        let mut rooms: Vec<_> =
            self.rooms.iter().filter(|(id, h)| wanted(h) && after.is_none_or(|a| **id > a)).collect();
        rooms.sort_by_key(|(id, _)| **id);
        rooms.into_iter().take(limit as usize).map(|(id, head)| self.listed(*id, head)).collect()
    }

    fn listed(&self, room: RoomId, head: &RoomHead) -> Listed {
        let joined = |m: &&Member| m.standing.membership == Membership::Joined;
        let members = self.members_of(room).filter(joined).count() as u32;
        Listed { room, head: head.clone(), topic: self.topics.get(&room).cloned(), members }
    }

    fn by_name(&self, after: Option<&Str>, limit: u32) -> Vec<(AccountId, AccountHead)> {
        let named = self.accounts.iter().map(|(id, h)| (h.name.folded(), *id, h));
        let mut list: Vec<_> =
            named.filter(|(n, ..)| after.is_none_or(|a| n.as_str() > a.as_str())).collect();
        list.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        list.into_iter().take(limit as usize).map(|(_, id, h)| (id, h.clone())).collect()
    }

    fn last(&self, room: RoomId) -> Pos {
        self.log(room, Pos::ZERO, Pos::MAX).next_back().map_or(Pos::ZERO, |e| e.pos)
    }

    fn log(&self, room: RoomId, from: Pos, to: Pos) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.events.range((room, from)..=(room, to)).map(|(_, e)| e)
    }

    fn members_of(&self, room: RoomId) -> impl Iterator<Item = &Member> {
        self.members.range((room, AccountId(0))..=(room, AccountId(u64::MAX))).map(|(_, m)| m)
    }

    fn media_of(&self, account: AccountId) -> impl Iterator<Item = &Media> {
        self.media.values().filter(move |m| m.owner == account)
    }

    fn feed_of(&self, account: AccountId) -> impl DoubleEndedIterator<Item = (Pos, &Fed)> {
        self.feed.range((account, Pos::ZERO)..=(account, Pos::MAX)).map(|(k, f)| (k.1, f))
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => _ = map.insert(key, value),
        None => _ = map.remove(&key),
    }
}

/// An empty value is none.
fn some(value: &Octets) -> Option<Octets> {
    (!value.is_empty()).then(|| value.clone())
}

/// The values under a first half of the key.
fn under<K: Ord + Copy, V>(map: &BTreeMap<(K, Str), V>, key: K) -> impl Iterator<Item = (&Str, &V)> {
    map.range((key, Str::default())..).take_while(move |(k, _)| k.0 == key).map(|(k, v)| (&k.1, v))
}

fn wanted(e: &Event, range: &Range) -> bool {
    Class::of(e) as u8 >= Class::least(range.only) as u8 && range.by.is_none_or(|by| e.by.is(by))
}

/// The page of all that the range holds.
fn cut<T>(mut all: Vec<T>, range: &Range) -> Stretch<T> {
    let (held, limit) = (all.len(), range.limit as usize);
    if range.newest {
        all.drain(..held.saturating_sub(limit));
    }
    all.truncate(limit);
    Stretch { more: held > all.len(), entries: all, total: range.count.then_some(held as u64) }
}

struct RoomPlaces<'a>(&'a Tables, RoomId);

impl Places for RoomPlaces<'_> {
    fn find(&mut self, id: MsgId) -> Result<Option<Pos>, Fault> {
        Ok((id.room == self.1 && self.0.events.contains_key(&(id.room, id.pos))).then_some(id.pos))
    }

    fn until(&mut self, at: UnixMillis) -> Result<Pos, Fault> {
        let mut early = self.0.log(self.1, Pos::ZERO, Pos::MAX).rev().skip_while(|e| e.at > at);
        Ok(early.next().map_or(Pos::ZERO, |e| e.pos))
    }
}

struct FeedPlaces<'a>(&'a Tables, AccountId);

impl Places for FeedPlaces<'_> {
    fn find(&mut self, id: MsgId) -> Result<Option<Pos>, Fault> {
        let mut rows = self.0.feed_of(self.1);
        Ok(rows.find(|(_, f)| (f.room, f.entry) == (id.room, id.pos)).map(|(p, _)| p))
    }

    fn until(&mut self, at: UnixMillis) -> Result<Pos, Fault> {
        let mut early = self.0.feed_of(self.1).rev().skip_while(|(_, f)| f.at > at);
        Ok(early.next().map_or(Pos::ZERO, |(p, _)| p))
    }
}
