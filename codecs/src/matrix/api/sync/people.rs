//! What an answer says besides rooms: presence, the account's data, keys.

use super::changes::Changes;
use super::{Wish, members_of};
use crate::json::{Json, Map};
use crate::matrix::api::data::parts;
use crate::matrix::api::scene::view_of;
use crate::matrix::device::sync::{CROWD, begin};
use crate::matrix::error::Error;
use crate::matrix::ids::user_id;
use crate::matrix::rooms;
use crate::matrix::task::Ctx;
use crate::object;
use lavina_core::chat::account::Account;
use lavina_core::ids::RoomId;
use lavina_core::name::User;
use lavina_core::policy::Membership;
use lavina_core::presence::{Presence, Show};
use lavina_core::query::{Query, Value};
use lavina_core::text::{Octets, Str};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rooms looked at to find whom the user shares none with any more.
const ROOMS_LOOK: usize = 100;

/// The word for how reachable somebody is.
pub fn presence_word(show: Show) -> &'static str {
    match show {
        Show::Offline => "offline",
        Show::ExtendedAway | Show::Busy | Show::Away => "unavailable",
        Show::Online | Show::Chatty => "online",
    }
}

/// Presence as an event.
pub fn presence_event(who: &User, presence: &Presence, domain: &str) -> Json {
    let word = presence_word(presence.show);
    let mut content = object! { "presence" => word, "currently_active" => word == "online" };
    if !presence.status.is_empty() {
        content.set("status_msg", &presence.status);
    }
    if word == "online" {
        content.set("last_active_ago", 0);
    }
    object! { "type" => "m.presence", "sender" => user_id(who, domain), "content" => content }
}

/// `presence`.
pub fn presence(ctx: &Ctx, wish: &Wish, changes: &Changes) -> Vec<Json> {
    let events = changes.people.iter().map(|(who, p)| presence_event(who, p, ctx.domain()));
    events.filter(|e| wish.filter.presence.admits(e)).collect()
}

/// Who comes into a room is told how present those are who are there; in a first sync, of all rooms. Not of crowds
/// ([`CROWD`]).
///
/// # Errors
/// The server cannot tell.
pub async fn meet(ctx: &Ctx, changes: &mut Changes) -> Result<(), Error> {
    let came = changes.done.iter().filter(|(_, c)| c.whole && c.room.is_joined());
    let rooms: Vec<RoomId> = came.map(|(id, _)| *id).take(ROOMS_LOOK).collect();
    let me = ctx.user()?.id;
    for room in rooms {
        let Ok(view) = view_of(ctx, room).await else { continue };
        if view.joined() as u64 > CROWD {
            continue;
        }
        let there = view.here.iter().filter(|(id, p)| **id != me && p.show != Show::Offline);
        let there = there.filter_map(|(id, p)| Some((view.members.get(id)?.user.clone(), p.clone())));
        let there: Vec<(User, Presence)> = there.collect();
        let known = ctx.with(move |agent, _| agent.sync().map(|s| s.meet(there)).unwrap_or_default());
        for (who, presence) in known.await {
            if !changes.people.iter().any(|(known, _)| known.id == who.id) {
                changes.people.push((who, presence));
            }
        }
    }
    Ok(())
}

async fn account(ctx: &Ctx) -> Result<Arc<Account>, Error> {
    match ctx.query(Query::Account(ctx.user()?.id)).await? {
        Value::Account(account) => Ok(account),
        _ => Err(Error::unavailable("the server cannot tell; try again")),
    }
}

/// `account_data`.
///
/// # Errors
/// The server cannot tell.
pub async fn account_data(ctx: &Ctx, wish: &Wish, changes: &Changes) -> Result<Vec<Json>, Error> {
    let new_dialog = changes.done.iter().any(|(_, c)| c.whole && c.room.with.is_some() && c.room.is_joined());
    let all = changes.initial || changes.lost;
    let mut values = changes.values.clone();
    let direct = Str::new(format!("{}m.direct", begin::DATA));
    if all || new_dialog {
        let account = account(ctx).await?;
        let stored = account.attrs.iter().map(|(k, v)| (k.clone(), v.clone()));
        if all {
            values = stored.filter(|(k, _)| parts(k).is_some_and(|(_, room)| room.is_none())).collect();
            values.push((Str::new(begin::RULES), Octets::default()));
        } else if !values.iter().any(|(k, _)| *k == direct) {
            values.push((direct.clone(), account.attrs.get(&direct).cloned().unwrap_or_default()));
        }
    }
    if all && !values.iter().any(|(k, _)| *k == direct) && !dialogs(ctx).await.is_empty() {
        values.push((direct.clone(), Octets::default()));
    }
    let mut out = Vec::new();
    for (key, value) in values {
        let event = if *key == *begin::RULES {
            let rules = changes.rules.as_ref().map_or_else(Json::object, |r| r.to_json());
            object! { "type" => "m.push_rules", "content" => object! { "global" => rules } }
        } else {
            let Some((kind, _)) = parts(&key) else { continue };
            let mut content = Json::parse(&value).unwrap_or_else(|_| Json::object());
            if key == direct {
                content = with_dialogs(content, &dialogs(ctx).await, ctx);
            }
            object! { "type" => kind, "content" => content }
        };
        out.push(event);
    }
    out.retain(|e| wish.filter.account_data.admits(e));
    Ok(out)
}

/// The user's dialogs.
async fn dialogs(ctx: &Ctx) -> Vec<(String, User)> {
    let found = ctx.with(|agent, _| -> Vec<(RoomId, User)> {
        let rooms = agent.sync().map(|s| &s.rooms);
        let rooms = rooms.into_iter().flatten();
        rooms.filter_map(|(id, r)| Some((*id, r.with.clone().filter(|_| r.is_joined())?))).collect()
    });
    let mut out = Vec::new();
    for (room, with) in found.await {
        if let Ok(id) = rooms::room_id(ctx, room).await {
            out.push((id, with));
        }
    }
    out
}

/// `m.direct` with the user's dialogs, whatever the client wrote.
fn with_dialogs(stored: Json, dialogs: &[(String, User)], ctx: &Ctx) -> Json {
    let mut out = if stored.as_object().is_some() { stored } else { Json::object() };
    for (room, with) in dialogs {
        let who = user_id(with, ctx.domain());
        let mut rooms = out.get(&who).and_then(Json::as_array).unwrap_or_default().to_vec();
        if !rooms.iter().any(|r| r.as_str() == Some(room)) {
            rooms.push(Json::from(room.as_str()));
        }
        out.set(who, rooms);
    }
    out
}

/// All of the account's data about a room: type and content.
///
/// # Errors
/// The server cannot tell.
pub async fn data_of_room(ctx: &Ctx, room_id: &str) -> Result<Vec<(Str, Octets)>, Error> {
    let account = account(ctx).await?;
    let about = |(key, value): (&Str, &Octets)| {
        let (kind, room) = parts(key)?;
        (room == Some(room_id)).then(|| (Str::new(kind), value.clone()))
    };
    Ok(account.attrs.iter().filter_map(about).collect())
}

/// `device_lists`, where there is something in it.
///
/// # Errors
/// The server cannot tell.
pub async fn device_lists(ctx: &Ctx, changes: &Changes) -> Result<Option<Json>, Error> {
    let me = ctx.user()?;
    let mut changed: BTreeSet<String> = changes.keys.values().map(|u| user_id(u, ctx.domain())).collect();
    changed.extend(changes.signed.iter().cloned());
    let mut parted: BTreeMap<String, ()> = BTreeMap::new();
    for user in changes.parted.values().filter(|u| u.id != me.id) {
        parted.insert(user_id(user, ctx.domain()), ());
    }
    for (id, change) in &changes.done {
        if change.whole && change.room.is_joined() && !changes.lost {
            changed.extend(members_of(ctx, *id).await?);
        } else if !change.room.is_joined() && (change.own.is_some() || change.hidden) {
            let gone = members_of(ctx, *id).await.unwrap_or_default();
            parted.extend(gone.into_iter().map(|id| (id, ())));
        }
    }
    if changes.lost {
        changed.extend(everybody(ctx, true).await?);
    }
    parted.remove(&user_id(me, ctx.domain()));
    if !parted.is_empty() {
        let still = everybody(ctx, false).await?;
        parted.retain(|id, ()| !still.contains(id));
    }
    changed.retain(|id| !parted.contains_key(id));
    if changed.is_empty() && parted.is_empty() {
        return Ok(None);
    }
    let changed: Vec<String> = changed.into_iter().collect();
    let left: Vec<String> = parted.into_keys().collect();
    Ok(Some(object! { "changed" => changed, "left" => left }))
}

/// The people in the user's rooms; `sealed`: in those that are encrypted.
async fn everybody(ctx: &Ctx, sealed: bool) -> Result<BTreeSet<String>, Error> {
    let rooms = ctx.with(|agent, _| -> Vec<RoomId> {
        let rooms = agent.sync().map(|s| &s.rooms);
        rooms.into_iter().flatten().filter(|(_, r)| r.is_joined()).map(|(id, _)| *id).collect()
    });
    let mut out = BTreeSet::new();
    for room in rooms.await.into_iter().take(ROOMS_LOOK) {
        let Ok(view) = view_of(ctx, room).await else { continue };
        if sealed && !view.facts.contains_key(&(Str::new("m.room.encryption"), Str::default())) {
            continue;
        }
        let joined = view.members.values().filter(|m| m.standing.membership == Membership::Joined);
        out.extend(joined.map(|m| user_id(&m.user, ctx.domain())));
    }
    Ok(out)
}

/// How many one-time keys there are of each algorithm, and for which there is a fallback key not used yet.
pub fn keys(changes: &Changes) -> (Json, Json) {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::from([("signed_curve25519", 0)]);
    let mut fallback: Vec<&str> = Vec::new();
    for (key, used) in changes.own_keys.iter() {
        let mut parts = key.split('/');
        match (parts.next(), parts.nth(1)) {
            (Some("m.otk"), Some(algorithm)) => *counts.entry(algorithm).or_default() += 1,
            (Some("m.fallback"), Some(algorithm)) if !used => fallback.push(algorithm),
            _ => {}
        }
    }
    let counts: Map = counts.into_iter().map(|(k, n)| (k, Json::from(n))).collect();
    (Json::Object(counts), Json::from(fallback))
}
