//! A small line protocol, so that the core can be simulated without any codec.
//!
//! A request is a line `<tag> <verb> <words…>`; tags are chosen by the client and come back in the answer:
//! `ok <tag> …`, `no <tag> <refusal>`, or `own <tag> <event>` where an event is the answer. Events are
//! `ev <event>` and `fed <feed position> <partner> <event>`, replayed ones `old <event>`; an event is
//! `<room> <pos> <prev> <by> <what…>`. After `<tag> put <length>` come so many bytes of a content, answered with its
//! hash and size; `<tag> get <hash>` is answered with `part <tag> <bytes>` and, at last, its size. `at <room> <pos> <name>` says that the session is attached, and up to where;
//! `on <room> <pos> <name>` the same after a join of a member.

use lavina_core::{
    Cx,
    blob::{Blob, BlobKey, Hash},
    command::{Act, Command, EntityId, Join, Seed},
    event::{Actor, Event, Live, Message, What},
    ids::{AccountId, Pos, ReqId, RoomId, ShardId},
    name::{NameKey, RoomName, User, UserName},
    outbox::Slot,
    policy::{Membership, Policy, power},
    projection::{
        Channel, Hole, Layer, Mode, Notice, Pieces, Projection, Reason, Seen, Shown, Wake, WireClass,
    },
    query::{Query, Range, Reply, Value},
    settings::Settings,
    text::{Octets, Rich, Str},
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

/// Longest line in bytes.
const MAX: usize = 512;

/// Longest content in bytes.
pub const CONTENT: u64 = 300;

/// No layer below: there is no value of it.
pub enum NoLayer {}

impl Layer for NoLayer {
    fn read(&mut self, _: &[u8], _: &mut Vec<u8>, _: &mut Vec<u8>) -> Result<(), Reason> {
        match *self {}
    }

    fn write(&mut self, _: &[u8], _: &mut Vec<u8>) {
        match *self {}
    }

    fn close(&mut self, _: &mut Vec<u8>) {
        match *self {}
    }

    fn channel(&self) -> Option<&Channel> {
        match *self {}
    }
}

/// The core's settings and no others.
pub struct Own(pub Settings);

impl AsRef<Settings> for Own {
    fn as_ref(&self) -> &Settings {
        &self.0
    }
}

/// What a request waits for.
enum Ask {
    /// The account to log in as; made when it is not there.
    Name(UserName),
    /// The account being made.
    Made,
    /// The rooms of the account, to attach to them.
    Rooms,
    /// The partner of a dialog, and what to tell it.
    Partner(Str),
    /// The room in which somebody is to be put out.
    Kick(UserName),
    /// The room being joined.
    Join(RoomName),
    /// An entry or a refusal.
    Entry,
    /// A stretch of history or of the feed.
    Stretch,
}

/// A session.
pub struct Line {
    label: Str,
    asks: BTreeMap<ReqId, (Ask, Str, Option<Slot>)>,
    rooms: BTreeMap<RoomName, RoomId>,
    /// The transfers of media, and what was sent of each. An upload has its slot when it is whole.
    media: BTreeMap<ReqId, (Str, Option<Slot>, u64)>,
    /// The upload whose bytes are coming, and how many are left.
    upload: Option<(ReqId, u64)>,
}

impl Line {
    fn request(&mut self, line: &str, cx: &mut Cx<'_, Line>) -> Result<(), Reason> {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (tag, verb, first, second) = (Str::new(word()), word(), word(), word());
        match (verb, cx.user().cloned()) {
            ("quit", _) => return Err(Reason::Bye),
            ("ping", _) => {
                let slot = cx.slot();
                cx.answer(slot, format!("ok {tag} pong\n").as_bytes(), true);
                cx.done(slot);
            }
            ("login", None) => {
                let Ok(name) = UserName::new_account(first) else { return self.bad(&tag, cx) };
                self.label = Str::new(second);
                cx.hold(true);
                let req = cx.query(Query::AccountNamed(name.clone()));
                self.asks.insert(req, (Ask::Name(name), tag, None));
            }
            ("guest", None) => match UserName::new(first) {
                Ok(name) => {
                    self.label = Str::new(second);
                    cx.guest(name, None);
                }
                Err(_) => return self.bad(&tag, cx),
            },
            (_, None) => return self.bad(&tag, cx),
            ("join", Some(user)) => {
                let Ok(name) = RoomName::new(first) else { return self.bad(&tag, cx) };
                let shards = cx.core_settings().shards;
                let shard = ShardId((cx.random() & u64::from(shards - 1)) as u8);
                let claim = Some(RoomId::fresh(cx.random(), shard, shards, false).0);
                let ask = Ask::Join(name.clone());
                let create = Some(Seed::new(Some(name.clone()), Policy::default(), power::OWNER));
                let then = Box::new(Act::Join(Box::new(Join { create, ..Join::default() })));
                let to = EntityId::Name(NameKey::Room(name));
                let req = cx.command(Command::by(&user, to, Act::Route { claim, then }), true);
                self.ask(req, ask, tag, cx);
            }
            ("tell", Some(_)) => {
                let Ok(name) = UserName::new(first) else { return self.bad(&tag, cx) };
                let req = cx.query(Query::Whois(name));
                self.ask(req, Ask::Partner(Str::new(second)), tag, cx);
            }
            ("feed", Some(user)) => {
                let range = Range::latest(first.parse().unwrap_or(10));
                let req = cx.query(Query::Feed { account: user.id, with: None, range });
                self.ask(req, Ask::Stretch, tag, cx);
            }
            ("put", Some(_)) => {
                let Ok(size) = first.parse() else { return self.bad(&tag, cx) };
                let known = (size % 2 == 0).then_some(size);
                let req = cx.upload(known, CONTENT);
                self.media.insert(req, (tag, None, 0));
                self.upload = Some((req, size));
                self.uploaded(req, size, 0, cx);
            }
            ("get", Some(_)) => {
                let Some(hash) = hash(first) else { return self.bad(&tag, cx) };
                let req = cx.download(BlobKey::of(hash));
                self.media.insert(req, (tag, Some(cx.slot()), 0));
            }
            (_, Some(user)) => {
                let Some(&room) = RoomName::new(first).ok().and_then(|n| self.rooms.get(&n)) else {
                    return self.bad(&tag, cx);
                };
                self.in_room(verb, room, second, &user, tag, cx);
            }
        }
        Ok(())
    }

    fn in_room(
        &mut self,
        verb: &str,
        room: RoomId,
        word: &str,
        user: &User,
        tag: Str,
        cx: &mut Cx<'_, Line>,
    ) {
        let to = EntityId::Room(room);
        let (req, ask) = match verb {
            "say" => (cx.command(Command::by(user, to, say(word, None)), false), Ask::Entry),
            "part" => {
                let act = Act::Leave { reason: None, quit: false, same: 0 };
                (cx.command(Command::by(user, to, act), false), Ask::Entry)
            }
            "topic" => {
                let act = Act::SetTopic(Rich::plain(word));
                (cx.command(Command::by(user, to, act), false), Ask::Entry)
            }
            "kick" => match UserName::new(word) {
                Ok(name) => (cx.query(Query::Room(room)), Ask::Kick(name)),
                Err(_) => return self.refuse(&tag, None, "BadName", cx),
            },
            "history" => {
                let range = Range::latest(word.parse().unwrap_or(10));
                (cx.query(Query::History { room, reader: user.id, range }), Ask::Stretch)
            }
            _ => return self.refuse(&tag, None, "Unknown", cx),
        };
        self.ask(req, ask, tag, cx);
    }

    /// So many bytes of the upload came.
    fn uploaded(&mut self, req: ReqId, left: u64, n: usize, cx: &mut Cx<'_, Line>) {
        let left = left - n as u64;
        self.upload = (left > 0).then_some((req, left));
        if left == 0 {
            cx.upload_end(req, None);
            if let Some((_, slot, _)) = self.media.get_mut(&req) {
                *slot = Some(cx.slot());
            }
        }
    }

    fn ask(&mut self, req: ReqId, ask: Ask, tag: Str, cx: &mut Cx<'_, Line>) {
        let slot = cx.slot();
        self.asks.insert(req, (ask, tag, Some(slot)));
    }

    fn bad(&mut self, tag: &str, cx: &mut Cx<'_, Line>) -> Result<(), Reason> {
        self.refuse(tag, None, "Bad", cx);
        Ok(())
    }

    fn refuse(&mut self, tag: &str, slot: Option<Slot>, why: &str, cx: &mut Cx<'_, Line>) {
        self.answer(slot, &format!("no {tag} {why}\n"), cx);
    }

    fn answer(&mut self, slot: Option<Slot>, line: &str, cx: &mut Cx<'_, Line>) {
        let slot = slot.unwrap_or_else(|| cx.slot());
        cx.answer(slot, line.as_bytes(), true);
        cx.done(slot);
    }

    fn go_on(&mut self, ask: Ask, tag: Str, slot: Option<Slot>, value: Value, cx: &mut Cx<'_, Line>) {
        let user = cx.user().cloned();
        match (ask, value, user) {
            (Ask::Name(_), Value::Account(account), _) => match account.user() {
                Some(user) => cx.login(user),
                None => self.refuse(&tag, slot, "NoSuchUser", cx),
            },
            (Ask::Made, Value::User(user), _) => cx.login(user),
            (Ask::Rooms, Value::Memberships(list), _) => {
                let joined = list.iter().filter(|b| b.member.standing.membership == Membership::Joined);
                // Dialogs are seen through the feed.
                for b in joined.filter(|b| b.head.parties.is_none()) {
                    if let Some(name) = &b.head.name {
                        self.rooms.insert(name.clone(), b.room);
                    }
                    cx.attach(b.room, Some(b.upto));
                }
                self.answer(slot, &format!("ok {tag} in\n"), cx);
            }
            (Ask::Partner(text), Value::Whois(whois), Some(me)) => {
                let with = whois.user.clone();
                let room = RoomId::dialog(me.id, with.id, cx.core_settings().shards);
                let act = say(&text, Some((me.clone(), with)));
                let req = cx.command(Command::by(&me, EntityId::Room(room), act), false);
                self.asks.insert(req, (Ask::Entry, tag, slot));
            }
            (Ask::Kick(name), Value::Room(view), Some(me)) => {
                let Some(whom) = view.members.values().find(|m| m.user.name == name) else {
                    return self.refuse(&tag, slot, "TargetNotMember", cx);
                };
                let act = Act::Kick { user: whom.user.clone(), reason: None, native: None };
                let req = cx.command(Command::by(&me, EntityId::Room(view.id), act), false);
                self.asks.insert(req, (Ask::Entry, tag, slot));
            }
            (_, Value::Events(stretch), _) => {
                let events: Vec<String> =
                    stretch.entries.iter().map(|e| format!("\t{}", text_of(e))).collect();
                self.answer(slot, &format!("ok {tag} history{}\n", events.concat()), cx);
            }
            (_, Value::Feed(stretch), _) => {
                let entry = |(pos, e): &(Pos, Arc<Event>)| format!("\t{} {}", pos.0, text_of(e));
                let events: Vec<String> = stretch.entries.iter().map(entry).collect();
                self.answer(slot, &format!("ok {tag} feed{}\n", events.concat()), cx);
            }
            (_, Value::Event(event), _) => {
                self.answer(slot, &format!("ok {tag} event {}\n", text_of(&event)), cx);
            }
            (ask, Value::Already(id), _) => {
                if let Ask::Join(name) = ask {
                    // A member's join attaches. At once, as events do: they may come before the answer's turn.
                    at("on", id.room, id.pos, Some(&name), "", cx);
                    self.rooms.insert(name, id.room);
                }
                self.answer(slot, &format!("ok {tag} already {:x} {}\n", id.room.0, id.pos.0), cx);
            }
            _ => self.answer(slot, &format!("ok {tag} done\n"), cx),
        }
    }
}

/// The session is attached up to here.
fn at(verb: &str, room: RoomId, pos: Pos, name: Option<&RoomName>, gap: &str, cx: &mut Cx<'_, Line>) {
    let name = name.map_or("-", RoomName::as_str);
    cx.write(format!("{verb} {:x} {} {name}{gap}\n", room.0, pos.0).as_bytes(), true);
}

fn say(text: &str, parties: Option<(User, User)>) -> Act {
    let message = Box::new(Message { body: Rich::plain(text), ..Message::default() });
    Act::Say { message, subject: Str::default(), parties: parties.map(Box::new) }
}

/// An event in one line, without its end.
pub fn text_of(event: &Event) -> String {
    let by = match &event.by {
        Actor::Server => "*".to_owned(),
        Actor::User(user) => user.name.folded(),
    };
    let what = match &event.what {
        What::Said(m) => format!("said {}", m.body.text),
        What::Member(m) => format!("member {} {:?}", m.user.name.folded(), m.after.membership).to_lowercase(),
        What::Topic(t) => format!("topic {}", t.text),
        What::Created(_) => "created".to_owned(),
        _ => "other".to_owned(),
    };
    format!("{:x} {} {} {by} {what}", event.room.0, event.pos.0, event.prev.0)
}

impl Projection for Line {
    type Listener = ();
    type Layer = NoLayer;
    type Settings = Own;
    type Job = ();
    type Done = ();

    fn accept((): (), _: Option<SocketAddr>, _: &Arc<Own>) -> (Line, Option<NoLayer>) {
        let (label, asks, rooms) = (Str::default(), BTreeMap::new(), BTreeMap::new());
        (Line { label, asks, rooms, media: BTreeMap::new(), upload: None }, None)
    }

    fn opened(&mut self, _: &mut Cx<'_, Line>) {}

    fn recv(&mut self, bytes: &[u8], cx: &mut Cx<'_, Line>) -> Result<usize, Reason> {
        if let Some((req, left)) = self.upload {
            let most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = cx.upload_bytes(req, &bytes[..most]);
            self.uploaded(req, left, n, cx);
            return Ok(n);
        }
        let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
            return if bytes.len() > MAX { Err(Reason::Limit("line")) } else { Ok(0) };
        };
        let line = String::from_utf8_lossy(&bytes[..end]);
        self.request(&line, cx)?;
        Ok(end + 1)
    }

    fn seen(&mut self, event: &Arc<Event>, how: Seen, cx: &mut Cx<'_, Line>) {
        let text = text_of(event);
        match how {
            Seen::Own { req, attached } => {
                let asked = self.asks.remove(&req);
                if let Some((Ask::Join(name), ..)) = &asked {
                    self.rooms.insert(name.clone(), event.room);
                    if attached {
                        at("at", event.room, event.pos, Some(name), "", cx);
                    }
                }
                if let Some((_, tag, slot)) = asked {
                    cx.write(format!("own {tag} {text}\n").as_bytes(), true);
                    slot.into_iter().for_each(|slot| cx.done(slot));
                }
            }
            Seen::Feed { pos, with, own } => {
                let with = with.name.folded();
                match own.and_then(|req| self.asks.remove(&req)) {
                    Some((_, tag, slot)) => {
                        cx.write(format!("own {tag} fed {} {with} {text}\n", pos.0).as_bytes(), true);
                        slot.into_iter().for_each(|slot| cx.done(slot));
                    }
                    None => cx.write(format!("fed {} {with} {text}\n", pos.0).as_bytes(), true),
                }
            }
            Seen::About { .. } | Seen::Room { .. } => cx.write(format!("ev {text}\n").as_bytes(), true),
        }
    }

    fn seen_live(&mut self, _: &Arc<Live>, _: Option<ReqId>, _: &mut Cx<'_, Line>) {}

    fn reply(&mut self, req: ReqId, reply: Reply, cx: &mut Cx<'_, Line>) {
        let Some((ask, tag, slot)) = self.asks.remove(&req) else { return };
        match reply {
            Ok(value) => self.go_on(ask, tag, slot, value, cx),
            Err(lavina_core::refusal::Refusal::NoSuchUser) if matches!(ask, Ask::Name(_)) => {
                let Ask::Name(name) = ask else { return };
                let id = account_id(cx);
                let register = Act::Register {
                    id,
                    name: name.clone(),
                    credential: Octets::from(b"none"),
                    admin: false,
                    invite: None,
                };
                let to = EntityId::Name(NameKey::User(name));
                let command = Command { to, by: Actor::Server, once: None, act: register };
                let req = cx.command(command, false);
                self.asks.insert(req, (Ask::Made, tag, None));
            }
            Err(why) => {
                cx.hold(false);
                let why = format!("{why:?}");
                self.refuse(&tag, slot, why.split([' ', '(']).next().unwrap_or_default(), cx);
            }
        }
    }

    fn done(&mut self, _: ReqId, (): (), _: &mut Cx<'_, Line>) {}

    fn blob(&mut self, transfer: ReqId, what: Blob, cx: &mut Cx<'_, Line>) {
        let Some((tag, slot, sent)) = self.media.get_mut(&transfer) else { return };
        let slot = *slot.get_or_insert_with(|| cx.slot());
        let last = match what {
            Blob::Opened(size) => return cx.download_range(transfer, slot, 0, size),
            Blob::Bytes { bytes, last } => {
                *sent += bytes.len() as u64;
                let bytes = String::from_utf8_lossy(&bytes);
                cx.answer(slot, format!("part {tag} {bytes}\n").as_bytes(), true);
                if !last {
                    return;
                }
                format!("ok {tag} media {sent}\n")
            }
            Blob::Stored { hash, size } => format!("ok {tag} stored {hash} {size}\n"),
            Blob::Failed(why) => format!("no {tag} {why:?}\n"),
        };
        self.media.remove(&transfer);
        cx.answer(slot, last.as_bytes(), true);
        cx.done(slot);
    }

    fn wake(&mut self, why: Wake, cx: &mut Cx<'_, Line>) {
        match why {
            Wake::Login => {
                let Some(user) = cx.user().cloned() else { return };
                cx.write(format!("hello {}\n", user.name.folded()).as_bytes(), true);
                cx.mode_changed();
                cx.subscribe(self.label.clone());
                if !user.is_guest() {
                    let req = cx.query(Query::Memberships(user.id));
                    self.ask(req, Ask::Rooms, Str::new("0"), cx);
                }
            }
            Wake::LoginRefused(why) => {
                cx.write(format!("bye {why:?}\n").as_bytes(), true);
                cx.close(Reason::Forbidden("refused"));
            }
            Wake::Attached { room, replay } => match replay {
                Ok(replay) => {
                    for event in &replay.events {
                        cx.write(format!("old {}\n", text_of(event)).as_bytes(), true);
                    }
                    let last = replay.view.as_ref().map_or(Pos::ZERO, |v| v.last);
                    let gap = if replay.gap { " gap" } else { "" };
                    let name = replay.view.as_ref().and_then(|v| v.head.name.clone());
                    at("at", room, last, name.as_ref(), gap, cx);
                    name.into_iter().for_each(|name| {
                        self.rooms.insert(name, room);
                    });
                }
                Err(why) => cx.write(format!("out {:x} {why:?}\n", room.0).as_bytes(), true),
            },
            Wake::Notice(notice) => {
                if let Notice::Membership { name: Some(name), event, .. } = &*notice
                    && matches!(&event.what, What::Member(m) if m.after.membership == Membership::Joined)
                    && !cx.is_attached(event.room)
                {
                    self.rooms.insert(name.clone(), event.room);
                    cx.attach(event.room, Some(event.pos));
                }
            }
            Wake::LoginTimeout => cx.write(b"bye time\n", true),
            Wake::Replaced => cx.write(b"bye replaced\n", true),
            Wake::Drain => cx.write(b"bye drain\n", true),
            Wake::Overflow => cx.write(b"bye overflow\n", true),
            Wake::Timer(_)
            | Wake::Secured
            | Wake::Sent
            | Wake::Settings
            | Wake::Lost
            | Wake::Resumed(_)
            | Wake::Moved
            | Wake::NotResumed(_) => {}
        }
    }

    fn mode(&self) -> Mode {
        // Odd labels take each entry by itself, so that both ways are tried.
        if self.label.as_str().bytes().next_back().unwrap_or(0) % 2 == 1 {
            Mode::Each
        } else {
            Mode::Push(WireClass(1))
        }
    }

    fn encode(_: WireClass, _: Option<&RoomName>, shown: Shown<'_>, _: &Own, out: &mut Pieces) {
        if let Shown::Event(event, _) = shown {
            out.bytes().extend_from_slice(format!("ev {}\n", text_of(event)).as_bytes());
            out.end(true);
        }
    }

    fn hole(&self, _: Hole) -> &[u8] {
        &[]
    }

    fn run((): ()) {}
}

/// Reads what [`Hash`] prints.
fn hash(text: &str) -> Option<Hash> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok().map(Hash)
}

fn account_id(cx: &mut Cx<'_, Line>) -> AccountId {
    let (random, shards) = (cx.random(), cx.core_settings().shards);
    AccountId::fresh(random, ShardId((random >> 40) as u8 & (shards - 1)), shards, false)
}
