//! Questions.

use super::{Desk, Fetching, Shards, Work, execute::room_of};
use crate::{
    chat::{Entity, room::Readable},
    command::EntityId,
    ids::{AccountId, Origin},
    mail::{Mail, Round},
    name::{NameKey, User},
    query::{Counts, Listed, Query, Stretch, Value},
    refusal::Refusal,
    row::{Page, Read},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};

impl Shards {
    /// Routes a question to its entity, or reads.
    pub(super) fn question(&mut self, desk: &mut Desk<'_>, origin: Origin, query: Box<Query>) {
        let entity = match &*query {
            Query::Resolve(name) => EntityId::Name(name.clone()),
            Query::AccountNamed(n) | Query::Whois(n) | Query::Gone(n) => {
                EntityId::Name(NameKey::User(n.clone()))
            }
            Query::RoomNamed(n) => EntityId::Name(NameKey::Room(n.clone())),
            Query::Account(a) => EntityId::Account(*a),
            Query::WhoisOf(user) => EntityId::Account(user.id),
            Query::Room(room)
            | Query::History { room, .. }
            | Query::Entries { room, .. }
            | Query::Related { room, .. } => EntityId::Room(*room),
            Query::Memberships(account) => {
                return self.ask(desk, Read::Memberships(*account), Fetching::Answer(origin));
            }
            Query::Formerly(account) => {
                return self.ask(desk, Read::Formerly(*account), Fetching::Answer(origin));
            }
            Query::Shelf { account, prefix, after, limit } => {
                let (account, prefix, after) = (*account, prefix.clone(), after.clone());
                let limit = (*limit).min(desk.settings.limits.page);
                return self.ask(
                    desk,
                    Read::Shelf { account, prefix, after, limit },
                    Fetching::Answer(origin),
                );
            }
            Query::Letters { account, label, after, limit } => {
                let (account, label, after) = (*account, label.clone(), *after);
                let limit = (*limit).min(desk.settings.limits.page);
                return self.ask(
                    desk,
                    Read::Letters { account, label, after, limit },
                    Fetching::Answer(origin),
                );
            }
            Query::Dialogs { account, after, before, limit } => {
                let read = Read::Dialogs { account: *account, after: *after, before: *before, limit: *limit };
                return self.ask(desk, read, Fetching::Answer(origin));
            }
            Query::Feed { account, with, range } => {
                let mut range = range.clone();
                range.limit = range.limit.min(desk.settings.limits.page);
                let read = Read::Feed { account: *account, with: *with, range };
                return self.read_after(desk, &EntityId::Account(*account), origin, read);
            }
            Query::Sealed(seal) => return self.ask(desk, Read::Sealed(*seal), Fetching::Answer(origin)),
            Query::Nameless { after, limit } => {
                let limit = (*limit).min(desk.settings.limits.page);
                let read = Read::Nameless { after: *after, limit };
                return self.ask(desk, read, Fetching::Answer(origin));
            }
            Query::Accounts { after, limit } => {
                let read = Read::Accounts { after: after.clone(), limit: *limit };
                return self.ask(desk, read, Fetching::Answer(origin));
            }
            Query::Media(id) => return self.ask(desk, Read::Media(*id), Fetching::Answer(origin)),
            Query::MediaOf { account, after, limit } => {
                let limit = (*limit).min(desk.settings.limits.page);
                let read = Read::MediaOf { account: *account, after: *after, limit };
                return self.ask(desk, read, Fetching::Answer(origin));
            }
            Query::Backup(path) => {
                return self.ask(desk, Read::Backup(path.clone()), Fetching::Answer(origin));
            }
            Query::Directory { after, limit, secret } => {
                let (after, limit, secret) = (after.clone(), *limit, *secret);
                let round = Round::Directory { after, limit, secret, found: Vec::new() };
                return desk.post.send(crate::ids::WorkerId(0), Mail::Round(origin, Box::new(round)));
            }
            Query::Counts => {
                let round = Round::Counts(Counts::default());
                return desk.post.send(crate::ids::WorkerId(0), Mail::Round(origin, Box::new(round)));
            }
        };
        let owner = desk.post.owner(entity.shard(desk.settings.shards));
        if owner != desk.post.me {
            return desk.post.send(owner, Mail::Query(origin, query));
        }
        self.work(desk, entity, Work::Query(origin, query));
    }

    pub(super) fn answer_query(&mut self, desk: &mut Desk<'_>, id: &EntityId, origin: Origin, query: Query) {
        let Some(slot) = self.slots.get(id) else { return };
        match (&slot.entity, id) {
            (Some(Entity::Name(_)), _) if matches!(query, Query::Gone(_)) => {
                let gone = slot.live.watch.as_ref().map(|w| w.gone()).unwrap_or_default();
                self.reply(desk, origin, Ok(Value::Gone(Arc::new(gone))));
            }
            (Some(Entity::Name(name)), EntityId::Name(NameKey::Invite(_))) => {
                let now = desk.now.wall.0;
                let good = |i: &crate::row::Invite| i.uses > 0 && (i.until == 0 || i.until > now);
                let invite = name.row.as_ref().and_then(|r| r.invite.clone()).filter(good);
                let reply = invite.map(|i| Value::Invite(Arc::new(i))).ok_or(Refusal::BadInvite);
                self.reply(desk, origin, reply);
            }
            (Some(Entity::Name(name)), _) => {
                let Some(target) =
                    name.row.as_ref().filter(|r| !r.locked && r.invite.is_none()).map(|r| r.id)
                else {
                    let why = match query {
                        Query::RoomNamed(_) | Query::Resolve(NameKey::Room(_)) => Refusal::NoSuchRoom,
                        _ => Refusal::NoSuchUser,
                    };
                    return self.refuse(desk, origin, why);
                };
                self.answer_name(desk, origin, query, target);
            }
            (Some(Entity::Account(account)), EntityId::Account(_)) => {
                let made = account.head.as_ref().filter(|h| !h.deleted);
                match query {
                    Query::Account(id) if made.is_some() || id.is_transient() => {
                        let value = Value::Account(account.clone());
                        self.reply(desk, origin, Ok(value));
                    }
                    Query::WhoisOf(user) if made.is_some() || user.is_guest() => {
                        let admin = made.is_some_and(|h| h.admin);
                        let user = account.user().unwrap_or(user);
                        desk.ledger.emit(desk.post.me, Mail::Whois { origin, user, admin });
                    }
                    _ => self.refuse(desk, origin, Refusal::NoSuchUser),
                }
            }
            (Some(Entity::Room(_)), EntityId::Room(room)) => match query {
                Query::History { reader, range, .. } => {
                    self.history(desk, *room, origin, Some(reader), range);
                }
                Query::Entries { range, .. } => self.history(desk, *room, origin, None, range),
                Query::Related { .. } => self.related(desk, *room, origin, query),
                _ => {
                    let reply = self.view(*room).map(Value::Room).ok_or(Refusal::NoSuchRoom);
                    self.reply(desk, origin, reply);
                }
            },
            _ => {}
        }
    }

    fn answer_name(&mut self, desk: &mut Desk<'_>, origin: Origin, query: Query, target: u64) {
        let shards = desk.settings.shards;
        let (shard, next) = match query {
            Query::AccountNamed(_) => (AccountId(target).shard(shards), Query::Account(AccountId(target))),
            Query::Whois(name) => {
                let user = User::new(AccountId(target), name);
                (user.id.shard(shards), Query::WhoisOf(user))
            }
            Query::RoomNamed(_) => {
                let room = crate::ids::RoomId(target);
                (room.shard(shards), Query::Room(room))
            }
            _ => return self.reply(desk, origin, Ok(Value::Id(target))),
        };
        desk.post.send_to_shard(shard, Mail::Query(origin, Box::new(next)));
    }

    fn history(
        &mut self,
        desk: &mut Desk<'_>,
        room: crate::ids::RoomId,
        origin: Origin,
        reader: Option<AccountId>,
        mut range: crate::query::Range,
    ) {
        let slot = self.slots.get(&EntityId::Room(room)).and_then(|s| room_of(s.entity.as_ref()));
        let Some(entity) = slot.filter(|r| r.head.is_some()) else {
            return self.refuse(desk, origin, Refusal::NoSuchRoom);
        };
        let readable = reader.map_or(Some(Readable::ALL), |reader| entity.readable(reader));
        let Some(readable) = readable else {
            return self.refuse(desk, origin, Refusal::NotMember);
        };
        range.limit = range.limit.min(desk.settings.limits.page);
        if room.is_transient() {
            let reply = entity
                .stretch(readable, &range)
                .map(|s| Value::Events(Arc::new(s)))
                .ok_or(Refusal::NoSuchItem);
            return self.reply(desk, origin, reply);
        }
        let read = Read::History { room, floor: readable.floor, last: readable.last, range };
        self.read_after(desk, &EntityId::Room(room), origin, read);
    }

    /// Reads for an answer, once that is stored which was done with the entity before the question.
    fn read_after(&mut self, desk: &mut Desk<'_>, id: &EntityId, origin: Origin, read: Read) {
        match self.slots.get(id) {
            Some(slot) if !desk.ledger.is_stored(slot.ticket) => {
                desk.ledger.emit(desk.post.me, Mail::Read(origin, Box::new(read)));
            }
            _ => self.ask(desk, read, Fetching::Answer(origin)),
        }
    }

    fn related(&mut self, desk: &mut Desk<'_>, room: crate::ids::RoomId, origin: Origin, query: Query) {
        let Query::Related { reader, mut targets, after, before, newest, limit, .. } = query else { return };
        let slot = self.slots.get(&EntityId::Room(room)).and_then(|s| room_of(s.entity.as_ref()));
        let Some(entity) = slot.filter(|r| r.head.is_some()) else {
            return self.refuse(desk, origin, Refusal::NoSuchRoom);
        };
        let Some(readable) = entity.readable(reader) else {
            return self.refuse(desk, origin, Refusal::NotMember);
        };
        let (floor, last) = (readable.floor.max(after), readable.last.min(before.back()));
        let limit = limit.min(desk.settings.limits.page);
        targets.truncate(desk.settings.limits.page as usize);
        if room.is_transient() {
            let found = entity.related(Readable { floor, last }, &targets, newest, limit as usize);
            return self.reply(desk, origin, Ok(Value::Events(Arc::new(found))));
        }
        let read = Read::Related { room, floor, last, targets, newest, limit };
        self.read_after(desk, &EntityId::Room(room), origin, read);
    }

    pub(super) fn answer_page(&mut self, desk: &mut Desk<'_>, origin: Origin, page: Page) {
        let reply = match page {
            Page::Events(s) => Ok(Value::Events(Arc::new(s))),
            Page::Feed(s) => Ok(Value::Feed(Arc::new(s))),
            Page::Memberships(m) => Ok(Value::Memberships(Arc::new(m))),
            Page::Dialogs(d) => Ok(Value::Dialogs(Arc::new(d))),
            Page::Accounts(a) => Ok(Value::Accounts(Arc::new(a))),
            Page::Shelf(s) => Ok(Value::Shelf(Arc::new(s))),
            Page::Letters(l) => Ok(Value::Letters(Arc::new(l))),
            Page::Directory(d) => Ok(Value::Directory(Arc::new(d))),
            Page::Media(Some(m)) => Ok(Value::Media(Arc::new(*m))),
            Page::Media(None) => Err(Refusal::NoSuchItem),
            Page::MediaOf(m) => Ok(Value::MediaOf(Arc::new(m))),
            Page::Sealed(Some(piece)) => Ok(Value::Piece(piece)),
            Page::Sealed(None) => Err(Refusal::NoSuchItem),
            Page::Done => Ok(Value::Done),
            Page::NoSuchItem => Err(Refusal::NoSuchItem),
            Page::Failed(why) => Err(why),
            _ => Err(Refusal::Invalid("the store answered something else")),
        };
        self.reply(desk, origin, reply);
    }

    /// A question on its round: adds what this worker has, passes it on.
    pub(super) fn round(&mut self, desk: &mut Desk<'_>, origin: Origin, mut round: Box<Round>) {
        if let Round::Directory { after, limit, secret, found } = &mut *round {
            let more = self.listed(after.as_ref(), *secret);
            found.extend(more);
            found.sort_by(|a, b| a.head.name.cmp(&b.head.name));
            found.truncate(*limit as usize);
        }
        let next = desk.post.me.0 + 1;
        if next < desk.post.workers() {
            return desk.post.send(crate::ids::WorkerId(next), Mail::Round(origin, round));
        }
        match *round {
            Round::Directory { after, limit, secret, found } => {
                let read = Read::Directory { after, limit, secret };
                self.ask(desk, read, Fetching::Directory(origin, found, limit));
            }
            Round::Counts(counts) => self.ask(desk, Read::Counts, Fetching::Counts(origin, counts)),
        }
    }

    /// Rooms in memory only that may be listed. The clock has every entity, in an order of its own.
    fn listed(&self, after: Option<&crate::name::RoomName>, secret: bool) -> Vec<Listed> {
        let rooms = self.clock.iter().filter_map(|id| match id {
            EntityId::Room(r) if r.is_transient() => room_of(self.slots.get(id)?.entity.as_ref()),
            _ => None,
        });
        rooms
            .filter_map(|r| {
                let head = r.head.as_ref().filter(|h| !h.destroyed && (secret || !h.policy.secret))?;
                let name = head.name.as_ref()?;
                if after.is_some_and(|a| name <= a) {
                    return None;
                }
                let joined =
                    |m: &&crate::policy::Member| m.standing.membership == crate::policy::Membership::Joined;
                let members = r.members.values().filter(joined).count() as u32;
                Some(Listed { room: r.id, head: head.clone(), topic: r.topic.clone(), members })
            })
            .collect()
    }

    pub(super) fn directory_read(
        &mut self,
        desk: &mut Desk<'_>,
        origin: Origin,
        mut found: Vec<Listed>,
        limit: u32,
        page: Page,
    ) {
        let reply = match page {
            Page::Directory(stored) => {
                found.extend(stored);
                found.sort_by(|a, b| a.head.name.cmp(&b.head.name));
                found.truncate(limit as usize);
                Ok(Value::Directory(Arc::new(found)))
            }
            Page::Failed(why) => Err(why),
            _ => Err(Refusal::Invalid("the store answered something else")),
        };
        self.reply(desk, origin, reply);
    }

    pub(super) fn counts_read(
        &mut self,
        desk: &mut Desk<'_>,
        origin: Origin,
        mut counts: Counts,
        page: Page,
    ) {
        if let Page::Counts { accounts, rooms } = page {
            (counts.accounts, counts.rooms) = (accounts, rooms + self.listed(None, true).len() as u64);
        }
        self.reply(desk, origin, Ok(Value::Counts(counts)));
    }
}

impl<T> Stretch<T> {
    /// The same with other entries.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Stretch<U> {
        Stretch { entries: self.entries.into_iter().map(f).collect(), more: self.more, total: self.total }
    }
}
