//! A device's first sync: its rooms are opened where they are not open yet, and attached.

use super::{Held, READ, Receipt, Room, Stage, Sync};
use crate::json::Json;
use crate::matrix::api::keys::{FALLBACK, ONE_TIME};
use crate::matrix::error::Error;
use crate::matrix::ids::user_id;
use crate::matrix::push::Ruleset;
use crate::matrix::rooms::open_view;
use crate::matrix::task::Ctx;
use crate::session::Cx;
use crate::settings::Settings;
use lavina_core::chat::account::Account;
use lavina_core::ids::{Label, Pos, RoomId};
use lavina_core::name::User;
use lavina_core::policy::Membership;
use lavina_core::query::{Belonging, Bound, Only, Query, Range, Value};
use lavina_core::text::Str;
use std::sync::Arc;

pub use crate::matrix::api::data::DATA;
use crate::matrix::api::members::HIDDEN;
pub use crate::matrix::api::pushrules::RULES;

/// Milliseconds between two looks whether the rooms are attached, where nothing wakes earlier.
const LOOK: u64 = 1_000;

/// Milliseconds after which a first sync that does not get on is given up.
const GIVE_UP: u64 = 30_000;

/// Where a first sync stands.
pub enum Beginning {
    /// It is done.
    Done,
    /// Another request is at it.
    Waits,
    /// This one is to do it.
    Yours,
}

/// Whether the named value is a one-time or fallback key of the device with that label.
pub(super) fn is_own_key(key: &str, label: &Label) -> bool {
    let device = label.strip_prefix("m/").unwrap_or_default();
    [ONE_TIME, FALLBACK].iter().any(|prefix| {
        key.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix(device))
            .is_some_and(|r| r.starts_with('/'))
    })
}

/// The dialog that a named value hides, and up to which entry; up to nowhere: it is shown again.
pub(super) fn hidden(key: &str, value: &[u8]) -> Option<(RoomId, Pos)> {
    let room = RoomId(key.strip_prefix(HIDDEN)?.parse().ok()?);
    Some((room, Pos(value.try_into().map_or(0, u64::from_be_bytes))))
}

/// Whether a fallback key was handed out already.
pub(super) fn is_used(value: &[u8]) -> bool {
    Json::parse(value).is_ok_and(|v| v.get("used").and_then(Json::as_bool) == Some(true))
}

/// The rules as they are kept.
pub(super) fn rules(stored: Option<&[u8]>, me: &User, settings: &Settings) -> Ruleset {
    let stored = stored.and_then(|bytes| Json::parse(bytes).ok()).unwrap_or_else(Json::object);
    Ruleset::from_stored(&settings.push_rules, &user_id(me, &settings.core.domain), &stored)
}

impl Sync {
    fn start(&mut self) -> Beginning {
        match self.stage {
            Stage::Ready => Beginning::Done,
            Stage::Beginning(_) => Beginning::Waits,
            Stage::Idle => {
                self.stage = Stage::Beginning(Vec::new());
                Beginning::Yours
            }
        }
    }

    fn know_account(&mut self, account: &Account, settings: &Settings) {
        let stored = account.attrs.get(&Str::new(RULES));
        self.rules = Some(Arc::new(rules(stored.map(|v| &**v), &self.me, settings)));
        let own = account.attrs.iter().filter(|(key, _)| is_own_key(key, &self.label));
        self.keys = Arc::new(own.map(|(key, value)| (key.clone(), is_used(value))).collect());
        self.read = account.read.iter().map(|(room, mark)| (*room, mark.pos)).collect();
        self.private.clear();
        for (key, value) in account.attrs.range(Str::new(READ)..).take_while(|(k, _)| k.starts_with(READ)) {
            if let Ok(room) = key[READ.len()..].parse() {
                self.private.insert(RoomId(room), Receipt::read_private(&self.me, value));
            }
        }
        let hidden = account.attrs.range(Str::new(HIDDEN)..).map_while(|(key, value)| hidden(key, value));
        self.hidden = hidden.collect();
        self.blocked = account.head.as_ref().map(|h| h.blocked.clone()).unwrap_or_default();
        let waiting = account.letters.get(&self.label).and_then(|l| l.back());
        self.letters = waiting.copied().unwrap_or(Pos::ZERO);
    }

    fn know_rooms(&mut self, rooms: &[Belonging], feed: Pos, cx: &mut Cx<'_>) {
        self.feed = feed;
        let shards = cx.core_settings().shards;
        for b in rooms {
            let shard = b.room.shard(shards);
            let upto = self.shards.or_default(shard);
            *upto = b.upto.max(*upto);
            let mut room = Room::new(b.member.standing.membership, b.member.since);
            (room.last, room.at) = (b.member.since, b.member.at);
            for receipt in self.private.remove(&b.room).unwrap_or_default() {
                room.receive(receipt);
            }
            if let Some((one, other)) = &b.head.parties {
                room.with = Some(if one.id == self.me.id { other.clone() } else { one.clone() });
            }
            let attach = room.is_joined() && room.with.is_none();
            self.rooms.insert(b.room, Box::new(room));
            if attach && !cx.is_attached(b.room) && self.attaching.insert(b.room) {
                cx.attach(b.room, None);
            }
        }
    }

    /// True: a room waits to be attached until the server is less busy.
    pub fn is_delayed(&self) -> bool {
        !self.delayed.is_empty()
    }

    /// Asks again for the rooms that the server was too busy for.
    pub fn attach_delayed(&mut self, cx: &mut Cx<'_>) {
        let beginning = matches!(self.stage, Stage::Beginning(_));
        for id in std::mem::take(&mut self.delayed) {
            match self.rooms.get(&id).filter(|room| room.is_joined() && !cx.is_attached(id)) {
                Some(room) => cx.attach(id, Some(room.last).filter(|_| !beginning)),
                None => drop(self.attaching.remove(&id)),
            }
        }
        self.changed = true;
    }

    /// Everything is there: what happened meanwhile comes after it.
    fn ready(&mut self, run: u64, cx: &mut Cx<'_>) {
        let Stage::Beginning(held) = std::mem::replace(&mut self.stage, Stage::Ready) else { return };
        self.run = run;
        for (id, upto) in std::mem::take(&mut self.hidden) {
            if self.rooms.get(&id).is_some_and(|r| r.with.is_some() && r.last <= upto) {
                self.rooms.remove(&id);
            }
        }
        for one in held {
            match one {
                Held::Event(event, fed) => self.event(&event, fed, cx),
                Held::Notice(notice) => self.notice(&notice, cx),
            }
        }
        self.changed = true;
    }
}

/// Waits until the device follows its rooms; begins with that if nobody did.
///
/// # Errors
/// The server cannot tell.
pub async fn begin(ctx: &Ctx) -> Result<(), Error> {
    let until = ctx.now().mono + GIVE_UP;
    loop {
        let stage = ctx.with(|agent, _| agent.sync().map(Sync::start)).await;
        match stage {
            Some(Beginning::Done) => return Ok(()),
            Some(Beginning::Waits) if ctx.now().mono < until => ctx.wait(ctx.now().mono + LOOK).await,
            Some(Beginning::Yours) => {
                let done = follow(ctx).await;
                if done.is_err() {
                    ctx.with(|agent, _| agent.sync().map(|s| s.stage = Stage::Idle)).await;
                }
                return done;
            }
            Some(Beginning::Waits) | None => {
                return Err(Error::unavailable("the first sync takes too long; try again"));
            }
        }
    }
}

async fn follow(ctx: &Ctx) -> Result<(), Error> {
    let me = ctx.user()?.clone();
    let account = ctx.query(Query::Account(me.id));
    let latest = Range { only: Only::All, ..Range::latest(1) };
    let feed = ctx.query(Query::Feed { account: me.id, with: None, range: latest });
    let rooms = ctx.query(Query::Memberships(me.id));
    let (Value::Account(account), Value::Feed(feed), Value::Memberships(rooms)) =
        (account.await?, feed.await?, rooms.await?)
    else {
        return Err(Error::unavailable("the server cannot tell; try again"));
    };
    let feed = feed.entries.last().map_or(Pos::ZERO, |(pos, _)| *pos);
    let open: Vec<RoomId> = rooms.iter().filter(|b| b.head.open.is_none()).map(|b| b.room).collect();
    open_all(ctx, &open).await;
    let there = ctx.with(move |agent, cx| {
        let Some(sync) = agent.sync() else { return Vec::new() };
        sync.know_account(&account, cx.settings());
        // Dialogs are not attached; rooms that the device made or entered are already.
        let there = rooms.iter().filter(|b| b.head.parties.is_some() || cx.is_attached(b.room));
        let there: Vec<RoomId> = there.map(|b| b.room).collect();
        sync.know_rooms(&rooms, feed, cx);
        there
    });
    let there = there.await;
    take_in(ctx, there).await;
    let until = ctx.now().mono + GIVE_UP;
    while ctx.with(|agent, _| agent.sync().is_some_and(|s| !s.attaching.is_empty())).await {
        if ctx.now().mono >= until {
            return Err(Error::unavailable("the first sync takes too long; try again"));
        }
        ctx.wait(ctx.now().mono + LOOK).await;
    }
    ctx.with(|agent, cx| {
        let run = cx.random();
        if let Some(sync) = agent.sync() {
            sync.ready(run, cx);
        }
    })
    .await;
    Ok(())
}

/// Rooms that the user came into since they were looked at last are looked at, and opened where they are not open.
pub async fn look_at_new_rooms(ctx: &Ctx) {
    let new = |s: &mut Sync| -> Vec<RoomId> {
        let new = |r: &Room| r.is_joined() && !r.looked_at;
        s.rooms.iter().filter(|(_, r)| new(r)).map(|(id, _)| *id).collect()
    };
    let rooms = ctx.with(move |agent, _| agent.sync().map(new).unwrap_or_default()).await;
    if rooms.is_empty() {
        return;
    }
    open_all(ctx, &rooms).await;
    let asked: Vec<_> = rooms.into_iter().map(|room| (room, ctx.query(Query::Room(room)))).collect();
    for (room, asked) in asked {
        let view = asked.await;
        ctx.with(move |agent, cx| {
            let Some(sync) = agent.sync() else { return };
            let me = sync.me.clone();
            let Some(r) = sync.rooms.get_mut(&room) else { return };
            r.looked_at = true;
            if let Ok(Value::Room(view)) = view {
                r.take_in(&view, &me, &cx.settings().core);
                // What was entered together with the joining, as a room's opening is, is in no feed.
                r.last = r.last.max(view.last);
            }
        })
        .await;
    }
}

/// Looks at rooms that no attaching tells of.
async fn take_in(ctx: &Ctx, rooms: Vec<RoomId>) {
    let asked: Vec<_> = rooms.into_iter().map(|room| (room, ctx.query(Query::Room(room)))).collect();
    for (room, asked) in asked {
        let Ok(Value::Room(view)) = asked.await else { continue };
        ctx.with(move |agent, cx| {
            if let Some(sync) = agent.sync() {
                let me = sync.me.clone();
                if let Some(r) = sync.rooms.get_mut(&room) {
                    r.take_in(&view, &me, &cx.settings().core);
                    r.last = r.last.max(view.last);
                }
            }
        })
        .await;
    }
}

/// Opens rooms that are not open, so that Matrix can show them.
pub async fn open_all(ctx: &Ctx, rooms: &[RoomId]) {
    for room in rooms {
        // One that cannot be opened is left out by who shows rooms.
        let _ = open_view(ctx, *room).await;
    }
}

/// Whether a membership is one of a room that the device lists.
pub fn is_listed(membership: Membership) -> bool {
    matches!(membership, Membership::Joined | Membership::Invited | Membership::Knocking)
}

/// Behind which bound of a log that position lies.
pub fn after(pos: Pos) -> Bound {
    if pos == Pos::ZERO { Bound::Open } else { Bound::Pos(pos) }
}
