//! Rows for tests: a small world that grows by random steps, always within the contract.

#![allow(clippy::unwrap_used)]

use lavina_core::{
    blob::Hash,
    command::{Act, Command, EntityId},
    event::{Actor, Event, Fact, FactRef, How, MemberChange, Message, What},
    ids::{AccountId, MsgId, Pos, RoomId, ShardId},
    media::{Content, Media, MediaId},
    name::{NameKey, RoomName, User, UserName},
    policy::{Levels, MaskEntry, MaskKind, Member, Membership, Policy, Standing},
    presence::Contact,
    query::{Bound, Only, Range, TopicSet},
    row::{self, AccountHead, Change, Closed, FactRow, Invite, NameRow, Page, Read, ReadMark, RoomHead},
    seal::{Seal, Sealed},
    text::{Octets, Rich, Str},
    time::UnixMillis,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(crate) const SHARDS: u8 = 4;
const PEOPLE: u64 = 5;
const ROOMS: u64 = 4;

/// A step of the world: which one, and bits that decide its details.
pub(crate) type Step = (u8, u64);

/// Kinds of steps.
pub(crate) const STEPS: u8 = 29;

pub(crate) fn account(n: u64) -> AccountId {
    let n = n % PEOPLE;
    AccountId::fresh((n + 1) << 40 | n << 8, ShardId(n as u8 % SHARDS), SHARDS, false)
}

pub(crate) fn user(n: u64) -> User {
    User::new(account(n), UserName::new(&format!("Person{}", n % PEOPLE)).unwrap())
}

pub(crate) fn room(n: u64) -> RoomId {
    let n = n % ROOMS;
    RoomId::fresh((n + 9) << 50 | n << 9, ShardId(n as u8 % SHARDS), SHARDS, false)
}

pub(crate) fn account_head(n: u64, bits: u64) -> AccountHead {
    AccountHead {
        name: user(n).name,
        credential: Octets::from(bits.to_le_bytes()),
        admin: bits & 1 != 0,
        disabled: bits & 2 != 0,
        deleted: bits & 12 == 12,
        created: UnixMillis(bits >> 8),
        listed: Pos(bits >> 3),
        blocked: vec![Str::new("x@y")],
    }
}

pub(crate) fn room_head(name: Option<&str>, bits: u64) -> RoomHead {
    RoomHead {
        name: name.map(|n| RoomName::new(n).unwrap()),
        policy: Policy { secret: bits & 1 != 0, title: Str::new("A room"), ..Policy::default() },
        created: UnixMillis(bits >> 8),
        parties: None,
        destroyed: bits & 6 == 6,
        open: (bits & 24 == 24).then(|| Octets::from(b"12")),
        known: (bits & 32 == 32).then(|| Str::new("!room")),
        closed: Closed { joined: Pos(bits & 7), invited: Pos(bits & 6), shared: Pos(bits & 5) },
    }
}

pub(crate) fn dialog_head(a: u64, b: u64) -> RoomHead {
    RoomHead { parties: Some((user(a), user(b))), destroyed: false, ..room_head(None, 0) }
}

pub(crate) fn said(text: &str) -> What {
    What::Said(Box::new(Message { body: Rich::plain(text), ..Message::default() }))
}

pub(crate) fn event(room: RoomId, pos: u64, at: u64, by: u64, what: What) -> Arc<Event> {
    let by = Actor::User(user(by));
    let (pos, prev, at) = (Pos(pos), Pos(pos - 1), UnixMillis(at));
    let sealed = (pos.0 % 3 == 0).then(|| Box::new(sealed(room, pos)));
    Arc::new(Event { room, pos, prev, at, by, once: None, what, facts: vec![], sealed })
}

/// A name of an entry; those of several begin alike.
pub(crate) fn seal(room: RoomId, pos: u64, nth: u8) -> Seal {
    let mut name = [0; 32];
    name[7] = (pos % 4) as u8;
    name[8..16].copy_from_slice(&room.0.to_be_bytes());
    name[16..24].copy_from_slice(&pos.to_be_bytes());
    name[31] = nth;
    Seal(name)
}

fn sealed(room: RoomId, pos: Pos) -> Sealed {
    let names = vec![Some(seal(room, pos.0, 0)), None, Some(seal(room, pos.0, 2))];
    let before = Some(seal(room, pos.0.saturating_sub(3), 2));
    Sealed { names, before, depth: pos.0, rest: Octets::from(b"r"), content: Some("{}".into()), gone: vec![] }
}

pub(crate) fn command(bits: u64) -> Command {
    let act = Act::MarkRead { room: room(bits), pos: Pos(bits & 0xff), at: UnixMillis(bits >> 8 & 0xff) };
    Command { to: EntityId::Account(account(bits)), by: Actor::Server, once: None, act }
}

fn member(n: u64, bits: u64) -> Member {
    let all = [
        Membership::Left,
        Membership::Invited,
        Membership::Joined,
        Membership::Banned,
        Membership::Knocking,
        Membership::Joined,
    ];
    Member {
        user: user(n),
        standing: Standing { membership: all[(bits % 6) as usize], power: (bits >> 8 & 0x7f) as i32 },
        since: Pos(bits & 0xff),
        at: UnixMillis(bits & 0xfff),
        by: None,
        reason: None,
        voiced: false,
        display: None,
        invited: None,
        stay: None,
        native: None,
        seen: vec![],
        alias_key: (bits & 1 == 1).then(|| Str::new(format!("alias {}", bits & 0xff))),
    }
}

/// A world that keeps the promises a core makes to its store.
#[derive(Default)]
pub(crate) struct World {
    heads: BTreeMap<ShardId, u64>,
    clock: u64,
    times: BTreeMap<RoomId, u64>,
    /// What is in each room's log: positions.
    logs: BTreeMap<RoomId, Vec<u64>>,
    /// Who is in which dialog.
    dialogs: BTreeMap<RoomId, (u64, u64)>,
    feeds: BTreeMap<AccountId, Vec<(u64, RoomId, u64)>>,
}

impl World {
    fn place(&mut self, shard: ShardId) -> u64 {
        let next = self.heads.entry(shard).or_insert(1);
        *next += 1;
        *next - 1
    }

    fn time(&mut self, room: RoomId, bits: u64) -> u64 {
        self.clock += bits % 7;
        let at = self.times.entry(room).or_default();
        // Rooms' clocks differ a little, each rises.
        *at = (*at + 1).max(self.clock.saturating_sub(bits >> 3 & 3));
        *at
    }

    fn what(&self, room: RoomId, bits: u64) -> What {
        let log = self.logs.get(&room).cloned().unwrap_or_default();
        let target = Pos(log.get(bits as usize % log.len().max(1)).copied().unwrap_or(1));
        match bits % 11 {
            0..=2 => said(&format!("words {bits:x}")),
            3 | 4 => {
                let id = |pos: Pos| Some(MsgId { room, pos });
                let thread = id(target).filter(|_| bits & 64 == 0);
                let reply = id(Pos(target.0.saturating_sub(bits >> 7 & 1)));
                let body = Rich::plain(format!("words {bits:x}"));
                What::Said(Box::new(Message { body, thread, reply, ..Message::default() }))
            }
            5 => What::Edited { target, message: Box::default(), target_client_id: None },
            6 => What::Redacted {
                target,
                reason: None,
                author: Actor::Server,
                target_client_id: None,
                native: None,
            },
            7 => What::Reacted {
                target,
                key: "+".into(),
                on: true,
                now: vec!["+".into()],
                native: None,
                target_client_id: Some("c".into()),
            },
            8 => What::Topic(Rich::plain("about")),
            9 => What::Member(Box::new(MemberChange {
                user: user(bits >> 4),
                before: Standing::default(),
                after: Standing { membership: Membership::Joined, power: 0 },
                how: How::Join,
                reason: None,
                display: None,
                levels: Levels::default(),
                native: None,
            })),
            _ => What::Created(None),
        }
    }

    fn entry(&mut self, room: RoomId, by: u64, bits: u64, batch: &mut Vec<Change>) -> (u64, u64) {
        let pos = self.place(room.shard(SHARDS));
        let at = self.time(room, bits >> 8);
        let what = self.what(room, bits);
        batch.push(Change::Event(event(room, pos, at, by, what)));
        self.logs.entry(room).or_default().push(pos);
        (pos, at)
    }

    fn dialog(&mut self, bits: u64, batch: &mut Vec<Change>) {
        let (a, b) = (bits % PEOPLE, (bits >> 3) % PEOPLE);
        let room = RoomId::dialog(account(a), account(b), SHARDS);
        let new = self.dialogs.insert(room, (a, b)).is_none();
        if new && bits & 64 == 0 {
            batch.push(Change::Room(room, Some(dialog_head(a, b))));
        }
        let (entry, at) = self.entry(room, a, bits >> 8, batch);
        if new && bits & 64 != 0 {
            batch.push(Change::Room(room, Some(dialog_head(a, b))));
        }
        for party in BTreeSet::from([account(a), account(b)]) {
            let pos = self.place(party.shard(SHARDS));
            self.feeds.entry(party).or_default().push((pos, room, entry));
            batch.push(Change::Feed {
                account: party,
                pos: Pos(pos),
                room,
                entry: Pos(entry),
                at: UnixMillis(at),
            });
        }
    }

    /// An entry that a feed has is derived again.
    fn again(&mut self, bits: u64, batch: &mut Vec<Change>) {
        let account = account(bits);
        let Some(feed) = self.feeds.get(&account) else { return };
        let Some(&(_, room, entry)) = feed.get((bits >> 4) as usize % feed.len().max(1)) else { return };
        let pos = self.place(account.shard(SHARDS));
        batch.push(Change::Feed {
            account,
            pos: Pos(pos),
            room,
            entry: Pos(entry),
            at: UnixMillis(bits >> 30),
        });
    }

    fn rewrite(&mut self, bits: u64, batch: &mut Vec<Change>) {
        let Some((&room, log)) = self.logs.iter().nth(bits as usize % self.logs.len().max(1)) else { return };
        let Some(&pos) = log.get((bits >> 8) as usize % log.len().max(1)) else { return };
        // Position, time and kind stay; the batch says what was there.
        let old = batch.iter().find_map(|c| match c {
            Change::Event(e) if e.room == room && e.pos.0 == pos => Some(Arc::clone(e)),
            _ => None,
        });
        if let Some(old) = old {
            let what = match &old.what {
                What::Said(_) => What::Said(Box::new(Message { gone: true, ..Message::default() })),
                other => other.clone(),
            };
            batch.push(Change::Rewrite(Arc::new(Event { what, ..(*old).clone() })));
        }
    }

    fn erase(&mut self, bits: u64, batch: &mut Vec<Change>) {
        if bits & 3 == 0 {
            batch.push(Change::Account(account(bits >> 2), None));
            self.feeds.remove(&account(bits >> 2));
            return;
        }
        let rooms: Vec<_> = self.logs.keys().copied().collect();
        let Some(&room) = rooms.get((bits >> 2) as usize % rooms.len().max(1)) else { return };
        batch.push(Change::Room(room, None));
        self.logs.remove(&room);
        self.dialogs.remove(&room);
        for feed in self.feeds.values_mut() {
            feed.retain(|f| f.1 != room);
        }
    }

    /// Carries out a step: more changes in the batch.
    pub(crate) fn step(&mut self, (kind, bits): Step, batch: &mut Vec<Change>) {
        let n = bits % 97;
        match kind % STEPS {
            0..=4 => _ = self.entry(room(n), bits >> 7, bits >> 9, batch),
            5..=8 => self.dialog(bits, batch),
            9 => self.again(bits, batch),
            10 => batch.push(self.name(bits)),
            11 => batch.push(Change::Account(account(n), Some(account_head(n, bits >> 8)))),
            12 => batch.push(Change::AccountAttr(account(n), key(bits >> 8), value(bits >> 12))),
            13 => {
                let address = Str::new(format!("c{}@example.org", bits >> 8 & 3));
                let contact = Contact {
                    address: address.clone(),
                    name: None,
                    groups: vec!["g".into()],
                    to: bits & 1 != 0,
                    from: false,
                    ask: false,
                    asked: None,
                    approved: false,
                    listed: true,
                    account: None,
                };
                batch.push(Change::Contact(account(n), address, (bits >> 12 & 3 != 0).then_some(contact)));
            }
            14 => {
                let mark = ReadMark { pos: Pos(bits >> 12 & 0xff), at: UnixMillis(bits >> 20 & 0xfff) };
                batch.push(Change::Read(account(n), room(bits >> 8), mark));
            }
            15 | 16 => {
                let name = format!("room{}", room(n).shard(SHARDS).0);
                batch.push(Change::Room(room(n), Some(room_head(Some(&name), bits >> 8))));
            }
            17 => {
                let by = Str::new("somebody");
                let alias = (bits & 4 == 4).then(|| Str::new("an alias"));
                let topic =
                    TopicSet { text: Rich::plain("t"), by, at: UnixMillis(bits >> 8), pos: Pos(3), alias };
                batch.push(Change::Topic(room(n), (bits & 3 != 0).then_some(topic)));
                let mask =
                    MaskEntry { kind: MaskKind::Ban, mask: "*x".into(), by: "b".into(), at: UnixMillis(9) };
                batch.push(Change::Masks(room(n), vec![mask; (bits >> 8 & 1) as usize]));
            }
            18 | 19 => {
                let row = (bits >> 20 & 7 != 0).then(|| member(n, bits >> 8));
                batch.push(Change::Member(room(bits >> 3), account(n), row));
            }
            20 => batch.push(Change::RoomAttr(room(n), key(bits >> 8), value(bits >> 12))),
            21 => self.rewrite(bits, batch),
            23 => {
                let at = FactRef { pos: Pos(bits >> 12 & 0xff), nth: bits as u8 & 3 };
                let (kind, about) = (key(bits >> 8), Str::new(if bits & 4 == 0 { "" } else { "a/b" }));
                let fact = Fact {
                    kind,
                    key: about,
                    content: value(bits >> 12),
                    by: None,
                    before: None,
                    replaces: None,
                    gone: false,
                };
                let row = FactRow {
                    fact,
                    at,
                    time: UnixMillis(bits >> 20),
                    by: Actor::Server,
                    seal: (bits & 32 == 32).then(|| seal(room(n), bits >> 20 & 0xff, 0)),
                    under: None,
                };
                batch.push(Change::Fact(room(n), row));
            }
            24 => batch.push(Change::Shelf(account(n), key(bits >> 8), value(bits >> 12))),
            25 => {
                let letter = Octets::from(bits.to_le_bytes());
                batch.push(Change::Letter(account(n), key(bits >> 8), Pos(bits >> 12 & 0x3f), letter));
            }
            26 => batch.push(Change::Collected(account(n), key(bits >> 8), Pos(bits >> 12 & 0x3f))),
            22 => {
                let shard = ShardId(bits as u8 % SHARDS);
                let at = self.heads.get(&shard).copied().unwrap_or(1);
                if bits & 0x100 == 0 {
                    let c = Box::new(command(bits >> 9));
                    batch.push(Change::Follow(shard, Pos(at), (bits >> 9 & 3) as u16, c));
                } else {
                    batch.push(Change::Followed(shard, Pos(at.saturating_sub(bits >> 9 & 3))));
                }
            }
            27 => batch.push(media(bits)),
            _ if bits >> 40 & 3 == 0 => self.erase(bits, batch),
            _ => {}
        }
        for (shard, next) in &self.heads {
            batch.push(Change::Head(*shard, Pos(*next)));
        }
    }

    fn name(&self, bits: u64) -> Change {
        let key = match bits & 3 {
            0 => NameKey::User(user(bits >> 2).name),
            1 => NameKey::Room(RoomName::new(&format!("room{}", bits >> 2 & 3)).unwrap()),
            _ => NameKey::Invite(Str::new(format!("{:x}", bits >> 2 & 3))),
        };
        let invite = Invite {
            uses: 2,
            admin: false,
            until: bits >> 9,
            used: vec![user(bits >> 3).name],
            by: (bits & 2 == 2).then(|| user(bits >> 5)),
            contact_only: bits & 4 == 4,
        };
        let row =
            NameRow { id: bits >> 8, locked: bits & 16 != 0, invite: (bits & 32 != 0).then_some(invite) };
        Change::Name(key, (bits & 64 == 0).then_some(row))
    }

    /// Reads of every kind, and of every person, room and shard there is; `bits` decide the ranges.
    pub(crate) fn reads(&self, bits: u64) -> Vec<Read> {
        let mut reads = vec![Read::Heads((0..SHARDS).map(ShardId).collect()), Read::Counts];
        for n in 0..PEOPLE {
            reads.push(Read::Account(account(n)));
            reads.push(Read::Memberships(account(n)));
            reads.push(Read::Formerly(account(n)));
            let (prefix, after) =
                (Str::new(["", "k", "k1"][(bits % 3) as usize]), (bits & 8 != 0).then(|| key(bits >> 4)));
            reads.push(Read::Shelf { account: account(n), prefix, after, limit: (bits >> 7 & 3) as u32 });
            let (label, after) = (key(bits >> 9), Pos(bits >> 12 & 0x1f));
            reads.push(Read::Letters { account: account(n), label, after, limit: (bits >> 7 & 7) as u32 });
            let after = (bits >> n & 1 != 0).then(|| media_id(bits >> 11 & 7));
            reads.push(Read::MediaOf { account: account(n), after, limit: (bits >> 14 & 3) as u32 });
            reads.push(Read::Media(media_id(bits >> n & 7)));
            reads.push(Read::Name(NameKey::User(user(n).name)));
            let (after, before) = (UnixMillis(bits >> 5 & 15), UnixMillis(1 << (bits & 31)));
            reads.push(Read::Dialogs { account: account(n), after, before, limit: bits as u32 % 5 });
        }
        for n in 0..4 {
            reads.push(Read::Name(NameKey::Room(RoomName::new(&format!("room{n}")).unwrap())));
            reads.push(Read::Name(NameKey::Invite(Str::new(format!("{n:x}")))));
            let name = format!("room{n}");
            let after = (bits >> n & 1 != 0).then(|| RoomName::new(&name).unwrap());
            reads.push(Read::Directory { after, limit: (bits >> 9 & 7) as u32, secret: bits >> 12 & 1 != 0 });
            let after = (bits >> n & 1 != 0).then(|| room(n));
            reads.push(Read::Nameless { after, limit: (bits >> 9 & 7) as u32 });
            let after = (bits >> n & 1 != 0).then(|| Str::new(format!("person{n}")));
            reads.push(Read::Accounts { after, limit: (bits >> 13 & 7) as u32 });
        }
        let rooms: BTreeSet<RoomId> = (0..ROOMS).map(room).chain(self.logs.keys().copied()).collect();
        for (i, room) in rooms.into_iter().enumerate() {
            let bits = mix(bits ^ i as u64);
            reads.push(Read::Room(room, (bits & 7) as u32));
            for j in 0..4 {
                let range = self.range(mix(bits + j), room);
                let floor = Pos(if bits & 0x30 == 0 { bits >> 6 & 0x1f } else { 0 });
                let last = if bits & 0xc00 == 0 { Pos(bits >> 12 & 0x3f) } else { Pos::MAX };
                reads.push(Read::History { room, floor, last, range });
                let log = self.logs.get(&room).map_or(&[][..], |l| l);
                let targets =
                    (0..bits & 3).filter_map(|i| log.get((bits >> (8 + i)) as usize % log.len().max(1)));
                let targets = targets.map(|p| Pos(*p)).collect();
                let (newest, limit) = (bits >> 40 & 1 == 0, [1, 2, 200][(bits >> 41) as usize % 3]);
                for pos in log.iter().take(3) {
                    reads.push(Read::Sealed(seal(room, *pos, (bits & 3) as u8)));
                }
                reads.push(Read::Related { room, floor, last, targets, newest, limit });
            }
        }
        for n in 0..PEOPLE {
            for j in 0..4 {
                let bits = mix(bits ^ (n << 8 | j));
                let dialog = RoomId::dialog(account(n), account(bits >> 9), SHARDS);
                let with = (bits & 3 == 0).then_some(dialog);
                reads.push(Read::Feed { account: account(n), with, range: self.range(bits, dialog) });
            }
        }
        reads
    }

    fn range(&self, bits: u64, room: RoomId) -> Range {
        let (after, before) = (self.bound(mix(bits), room), self.bound(mix(bits + 1), room));
        Range {
            after: if bits >> 50 & 1 == 0 { Bound::Open } else { after },
            before: if bits >> 51 & 1 == 0 { Bound::Open } else { before },
            newest: bits >> 52 & 1 == 0,
            limit: [0, 1, 2, 3, 5, 200][(bits >> 53) as usize % 6],
            count: bits >> 56 & 1 == 0,
            only: [Only::All, Only::Said, Only::Messages][(bits >> 57) as usize % 3],
            by: (bits >> 60 & 3 == 0).then(|| account(bits >> 20)),
        }
    }

    fn bound(&self, bits: u64, room: RoomId) -> Bound {
        let log = self.logs.get(&room).map_or(&[][..], |l| l);
        // Mostly an entry that is there.
        let there = log.get(bits as usize % log.len().max(1)).copied().unwrap_or(1);
        let id = MsgId { room, pos: Pos(if bits >> 60 == 0 { there + 1 } else { there }) };
        match bits >> 32 & 3 {
            0 => Bound::Pos(Pos(bits & 0x3f)),
            1 => Bound::Msg(id),
            2 => Bound::From(id),
            _ => Bound::Time(UnixMillis(bits & 0x1f)),
        }
    }
}

pub(crate) fn media_id(n: u64) -> MediaId {
    MediaId::fresh(mix(n), n)
}

/// An upload, filled or reserved, or that it is no more.
pub(crate) fn media(bits: u64) -> Change {
    let id = media_id(bits & 7);
    let content = Content {
        hash: Hash([(bits >> 8 & 3) as u8; 32]),
        size: bits >> 20,
        content_type: "text/plain".into(),
        name: Str::default(),
    };
    let row = Media {
        id,
        owner: account(bits & 7),
        at: UnixMillis(bits >> 16),
        content: (bits >> 10 & 3 != 0).then_some(content),
    };
    Change::Media(id, (bits >> 12 & 3 != 0).then_some(row))
}

fn key(bits: u64) -> Str {
    Str::new(format!("k{}", bits & 3))
}

fn value(bits: u64) -> Octets {
    Octets::from(&bits.to_le_bytes()[..(bits & 3) as usize])
}

/// A bijection that spreads bits (SplitMix64's).
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// All that a page says, to be compared.
pub(crate) fn print(page: &Page) -> String {
    let mut out = format!("{page:?}");
    let attrs = match page {
        Page::Account(Some(a)) => &a.attrs,
        Page::Room(Some(r)) => &r.attrs,
        _ => return out,
    };
    // Octets print their length only.
    for (key, value) in attrs {
        out.push_str(&format!(" {key}={:?}", &value[..]));
    }
    if let Page::Account(Some(a)) = page {
        out.push_str(&format!(" {:?}", row::encode(&a.head)));
    }
    out
}
