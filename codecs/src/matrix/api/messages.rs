//! Reading a room's log (client-server API, "Getting events for a room", "Event context", "Rooms, timestamps").

use super::paging::{Want, end, lazily, page, state_at, state_json};
use super::scene::{Related, Scene, Shown, entry_at, history, view_of};
use crate::json::Json;
use crate::matrix::device::stamp::{Place, Start};
use crate::matrix::device::sync::begin::open_all;
use crate::matrix::error::Error;
use crate::matrix::filter::{LIMIT_MAX, RoomEventFilter};
use crate::matrix::ids::EventRef;
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms;
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::ids::{Pos, RoomId};
use lavina_core::policy::Membership;
use lavina_core::query::{Bound, Only, Range, RoomView};
use lavina_core::text::Str;
use lavina_core::time::UnixMillis;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/rooms/{room}/messages" Must messages),
    route!(Get "/_matrix/client/v3/rooms/{room}/event/{event}" Must event),
    route!(Get "/_matrix/client/v3/rooms/{room}/context/{event}" Must context),
    route!(Get "/_matrix/client/v1/rooms/{room}/timestamp_to_event" Must timestamp_to_event),
];

/// Events of one page where the client names no number.
pub const LIMIT: usize = 10;

/// The room that an id names, opened if it was not; only for who may know of it.
///
/// # Errors
/// 403 where there is none, or it is not for this user.
pub async fn room(ctx: &Ctx, id: &str) -> Result<(RoomId, Arc<RoomView>), Error> {
    let not_in = || Error::forbidden("you are not in this room");
    let room = rooms::room_ref(ctx, id).await?.ok_or_else(not_in)?;
    let view = view_of(ctx, room).await.map_err(|_| not_in())?;
    if view.head.open.is_some() {
        return Ok((room, view));
    }
    if !view.members.contains_key(&ctx.user()?.id) {
        return Err(not_in());
    }
    open_all(ctx, &[room]).await;
    Ok((room, view_of(ctx, room).await?))
}

/// How many events are wanted.
///
/// # Errors
/// 400 where it is no number.
pub fn limit(request: &Request, default: usize) -> Result<usize, Error> {
    let most = u64::from(LIMIT_MAX);
    Ok(request.number("limit")?.map_or(default, |n| n.min(most) as usize))
}

/// Whether the direction is backwards.
///
/// # Errors
/// 400 where it is no direction, or there is none and no default.
pub fn backwards(request: &Request, default: Option<bool>) -> Result<bool, Error> {
    match (request.param("dir"), default) {
        (Some("b"), _) => Ok(true),
        (Some("f"), _) => Ok(false),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(Error::missing_param("dir is missing")),
        (Some(_), _) => Err(Error::invalid_param("dir must be b or f")),
    }
}

/// The place that a token means in this room.
///
/// # Errors
/// 400 for what is no token.
pub async fn place(ctx: &Ctx, view: &RoomView, token: &str) -> Result<Place, Error> {
    let stamp = match Start::parse(token)? {
        Start::Place(place) => return Ok(place),
        Start::Stamp(stamp) => stamp,
    };
    let told = stamp.shards.get(&view.id.shard(ctx.settings().core.shards)).copied();
    let there = view.parties.is_none() && rooms::membership(view, ctx.user()?) == Membership::Joined;
    if let Some(told) = told.filter(|_| there) {
        return Ok(Place::after(told));
    }
    // A dialog's entries reach the account by its feed, and of a room that was left nothing is told any more; how far the
    // log was then, the clock tells.
    let before = Bound::Time(UnixMillis(stamp.at.0.saturating_add(1)));
    let range = Range { before, only: Only::All, ..Range::latest(1) };
    let found = history(ctx, view.id, range).await?;
    Ok(Place::after(found.entries.last().map_or(Pos::ZERO, |e| e.pos)))
}

async fn messages(ctx: Ctx, request: Request) -> Answer {
    let (id, view) = room(&ctx, request.arg(0)).await?;
    // Who may not look is told so before anything else.
    view.readable(ctx.user()?.id).ok_or_else(|| Error::forbidden("you are not in this room"))?;
    let back = backwards(&request, None)?;
    let limit = limit(&request, LIMIT)?;
    let filter = filter(&request)?;
    let from = match request.param("from").filter(|t| !t.is_empty()) {
        Some(token) => place(&ctx, &view, token).await?,
        None if back => end(),
        None => Place { pos: Pos::ZERO, sub: 0 },
    };
    let to = match request.param("to").filter(|t| !t.is_empty()) {
        Some(token) => Some(place(&ctx, &view, token).await?),
        None => None,
    };
    let limit = filter.events.limit.map_or(limit, |n| limit.min(n as usize));
    let want = Want { room: id, from, to, back, limit, filter: &filter, view: Some(view.clone()) };
    let mut found = page(&ctx, want).await?;
    if back {
        found.shown.reverse();
    }
    let mut out = object! { "start" => request.param("from").map_or_else(|| from.text(), str::to_owned) };
    // After a page with nothing in it there is nothing.
    if found.more || !found.shown.is_empty() {
        out.set("end", found.next.text());
    }
    if filter.lazy_load_members {
        out.set("state", senders(&ctx, &view, &found.shown));
    }
    out.set("chunk", Json::Array(found.shown.into_iter().map(|s| s.json).collect()));
    Ok(Response::ok(&out))
}

fn filter(request: &Request) -> Result<RoomEventFilter, Error> {
    let Some(text) = request.param("filter").filter(|f| !f.is_empty()) else {
        return Ok(RoomEventFilter::default());
    };
    let json = Json::parse(text.as_bytes()).map_err(|why| Error::not_json(format!("filter: {why}")))?;
    RoomEventFilter::parse(&json).map_err(|why| Error::bad_json(why.to_string()))
}

/// The memberships of those who sent these events.
pub fn senders(ctx: &Ctx, view: &RoomView, shown: &[Shown]) -> Vec<Json> {
    let senders: BTreeSet<Str> = shown.iter().filter_map(|s| s.json.str_of("sender").map(Str::new)).collect();
    let kind = Str::new("m.room.member");
    let rows = senders.into_iter().filter_map(|who| view.facts.get(&(kind.clone(), who)));
    let events = rows.filter_map(|row| crate::matrix::event::state_event(view.id, row, ctx.domain()));
    state_json(ctx, &events.collect::<Vec<_>>(), Some(&rooms::name_of_view(ctx, view)))
}

/// The event with that id in the room, as this client may see it.
///
/// # Errors
/// 404 where there is none for this user.
pub async fn event_in(
    ctx: &Ctx,
    room: RoomId,
    view: &Arc<RoomView>,
    id: &str,
) -> Result<(EventRef, Shown), Error> {
    let none = || Error::not_found("there is no such event in this room");
    let event = rooms::event_ref(ctx, id).await?.filter(|e| e.room == room).ok_or_else(none)?;
    let (pos, sub) = match event.is_create() {
        false => (event.pos, event.sub),
        true => {
            let row = view.facts.get(&(Str::new("m.room.create"), Str::default())).ok_or_else(none)?;
            (row.at.pos, row.at.nth)
        }
    };
    let entry = match entry_at(ctx, room, pos).await {
        Ok(entry) => entry.ok_or_else(none)?,
        Err(why) if why.status == 403 => return Err(none()),
        Err(why) => return Err(why),
    };
    let entries = [entry];
    let scene = Scene::new(ctx, room, &entries, Related::Ask, Some(view.clone())).await?;
    let shown = entries.iter().flat_map(|e| scene.show(e)).find(|s| s.place.sub == sub);
    Ok((event, shown.ok_or_else(none)?))
}

async fn event(ctx: Ctx, request: Request) -> Answer {
    let (id, view) = room(&ctx, request.arg(0)).await?;
    let (_, shown) = event_in(&ctx, id, &view, request.arg(1)).await?;
    Ok(Response::ok(&shown.json))
}

async fn context(ctx: Ctx, request: Request) -> Answer {
    let limit = limit(&request, LIMIT)?;
    let filter = filter(&request)?;
    let (id, view) = room(&ctx, request.arg(0)).await?;
    view.readable(ctx.user()?.id).ok_or_else(|| Error::forbidden("you are not in this room"))?;
    let (_, shown) = event_in(&ctx, id, &view, request.arg(1)).await?;
    let here = shown.place;
    let behind = here.sub.checked_add(1).map_or(Place::after(here.pos), |sub| Place { sub, ..here });
    let half = limit / 2;
    let want = |from, back, limit| Want {
        room: id,
        from,
        to: None,
        back,
        limit,
        filter: &filter,
        view: Some(view.clone()),
    };
    let mut before = page(&ctx, want(here, true, half)).await?;
    let after = page(&ctx, want(behind, false, limit - half)).await?;
    before.shown.reverse();
    let last = after.shown.last().map_or(behind, |s| Place { pos: s.place.pos, sub: s.place.sub });
    let last = if after.shown.is_empty() { behind } else { last.max(behind) };
    let mut all: Vec<Shown> = before.shown.iter().chain(&after.shown).cloned().collect();
    all.push(shown.clone());
    let senders: BTreeSet<Str> = all.iter().filter_map(|s| s.json.str_of("sender").map(Str::new)).collect();
    let lazy = filter.lazy_load_members;
    let wanted = |kind: &str, key: &str| !lazy || lazily(kind, key, &senders);
    let state = state_at(&ctx, &view, Place { sub: last.sub.saturating_add(1), ..last }, wanted).await?;
    let list = |shown: Vec<Shown>| Json::Array(shown.into_iter().map(|s| s.json).collect());
    Ok(Response::ok(&object! {
        "event" => shown.json,
        "start" => before.next.text(),
        "end" => if after.shown.is_empty() { behind.text() } else { after.next.text() },
        "events_before" => list(before.shown),
        "events_after" => list(after.shown),
        "state" => state_json(&ctx, &state, Some(&rooms::name_of_view(&ctx, &view))),
    }))
}

async fn timestamp_to_event(ctx: Ctx, request: Request) -> Answer {
    let at = request.number("ts")?.ok_or_else(|| Error::missing_param("ts is missing"))?;
    let back = backwards(&request, None)?;
    let (id, view) = room(&ctx, request.arg(0)).await?;
    let range = Range { only: Only::All, newest: back, ..Range::latest(20) };
    let range = match back {
        true => Range { before: Bound::Time(UnixMillis(at.saturating_add(1))), ..range },
        false if at == 0 => range,
        false => Range { after: Bound::Time(UnixMillis(at - 1)), ..range },
    };
    let found = history(&ctx, id, range).await?;
    let scene = Scene::new(&ctx, id, &found.entries, Related::These(Vec::new()), Some(view)).await?;
    let mut shown = found.entries.iter().flat_map(|e| scene.show(e));
    let one = if back { shown.next_back() } else { shown.next() };
    let one = one.ok_or_else(|| Error::not_found("there is no event on that side of that time"))?;
    Ok(Response::ok(&object! {
        "event_id" => one.json.str_of("event_id").unwrap_or_default(),
        "origin_server_ts" => one.entry.at.0,
    }))
}
