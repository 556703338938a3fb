//! One room's part of an answer.

use super::changes::{Change, Changes};
use super::raw::Raw;
use super::{TIMELINE, Wish, unread};
use crate::json::{Json, Map};
use crate::matrix::api::paging::{self, Want, page, state_at, state_json};
use crate::matrix::api::scene::{Related, Scene, Shown, view_of};
use crate::matrix::device::stamp::Place;
use crate::matrix::device::sync::begin::open_all;
use crate::matrix::device::sync::{Receipt, Room};
use crate::matrix::error::Error;
use crate::matrix::event::{RoomEvent, state_event};
use crate::matrix::ids::{IdKey, user_id};
use crate::matrix::rooms;
use crate::matrix::task::Ctx;
use crate::object;
use lavina_core::event::Event;
use lavina_core::ids::{Pos, RoomId};
use lavina_core::policy::{Member, Membership};
use lavina_core::query::RoomView;
use lavina_core::text::Str;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Receipts told of a room as a whole; more are not shown.
const RECEIPTS: usize = 500;

/// People named in a room that has no name of its own.
const HEROES: usize = 5;

/// The state that somebody sees who is asked in (client-server API, "Stripped state").
const STRIPPED: &[&str] = &[
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

/// What a timeline and its state come to.
struct Told {
    timeline: Vec<Shown>,
    state: Vec<RoomEvent>,
    limited: bool,
    prev_batch: Place,
    view: Option<Arc<RoomView>>,
}

/// In which section the room is to be shown, and what of it; none if there is nothing to say.
///
/// # Errors
/// The server cannot tell.
pub async fn section(
    ctx: &Ctx,
    wish: &Wish,
    id: RoomId,
    change: &Change,
    changes: &Changes,
) -> Result<Option<(&'static str, Json)>, Error> {
    Ok(match change.room.membership {
        Membership::Joined => joined(ctx, wish, id, change, changes).await?.map(|s| ("join", s)),
        Membership::Invited if is_ignored(ctx, id).await? => None,
        Membership::Invited if change.whole || change.own.is_some() => {
            let state = Box::pin(stripped(ctx, id)).await?;
            Some(("invite", object! { "invite_state" => object! { "events" => state } }))
        }
        Membership::Knocking if change.whole || change.own.is_some() => {
            let state = Box::pin(stripped(ctx, id)).await?;
            Some(("knock", object! { "knock_state" => object! { "events" => state } }))
        }
        Membership::Left | Membership::Banned if change.own.is_some() || change.hidden => {
            Some(("leave", Box::pin(left(ctx, wish, id, change)).await?))
        }
        _ => None,
    })
}

/// Whether the user is asked in by somebody whom he ignores (client-server API, "Ignoring Users").
///
/// # Errors
/// The server cannot tell.
pub async fn is_ignored(ctx: &Ctx, id: RoomId) -> Result<bool, Error> {
    if ctx.with(|agent, _| agent.sync().is_none_or(|s| s.blocked.is_empty())).await {
        return Ok(false);
    }
    let (view, me) = (view_of(ctx, id).await?, ctx.user()?.id);
    let Some(by) = view.members.get(&me).and_then(|m| m.by.clone()) else { return Ok(false) };
    Ok(ctx.with(move |agent, _| agent.sync().is_some_and(|s| s.ignores(&by))).await)
}

async fn joined(
    ctx: &Ctx,
    wish: &Wish,
    id: RoomId,
    change: &Change,
    changes: &Changes,
) -> Result<Option<Json>, Error> {
    let whole = change.whole || wish.full;
    let mut told = match (change.whole, change.gap) {
        // Rarer, and large: not part of what every request takes.
        (true, _) => Box::pin(from_store(ctx, wish, id, change, None)).await?,
        (false, Some(gap)) if gap < change.room.last => {
            Box::pin(from_store(ctx, wish, id, change, Some(gap))).await?
        }
        (false, _) => from_updates(ctx, wish, id, change).await?,
    };
    if wish.full && !change.whole {
        let view = view_of(ctx, id).await?;
        let end = Place::after(change.room.last);
        told.state = Box::pin(state_of(ctx, wish, &view, end, &told.timeline, &|_, _| true)).await?;
        told.view = Some(view);
    }
    let people_moved = told.timeline.iter().any(|s| s.kind == "m.room.member")
        || told.state.iter().any(|e| e.kind == "m.room.member" && !wish.filter.state.lazy_load_members);
    if told.view.is_none() && people_moved {
        told.view = Some(view_of(ctx, id).await?);
    }
    let counts = unread::count(ctx, id, change, changes, &told.timeline, told.view.as_ref()).await?;
    let mut out = Map::new();
    if let Some(view) = told.view.as_ref().filter(|_| whole || people_moved) {
        out.insert("summary", summary(view, changes, ctx));
    }
    let ephemeral = ephemeral(ctx, wish, id, change).await?;
    let data = data(wish, id, change, ctx, whole).await?;
    // Who comes in anew begins with the room as it is, whatever the client has of it from before.
    told.limited |= change.whole && wish.since.is_some();
    let nothing = told.timeline.is_empty() && told.state.is_empty() && !told.limited;
    if nothing && ephemeral.is_empty() && data.is_empty() && !whole && !change.unread {
        return Ok(None);
    }
    let raw = Raw::of(ctx, wish, id, &told.timeline, &told.state).await?;
    let state = told_state(ctx, wish, &told, &raw);
    out.insert(wish.state_after.unwrap_or("state"), object! { "events" => state });
    out.insert("timeline", timeline(wish, told, &raw));
    out.insert("ephemeral", object! { "events" => ephemeral });
    out.insert("account_data", object! { "events" => data });
    for (key, value) in counts.json(wish.filter.timeline.unread_thread_notifications) {
        out.insert(key, value);
    }
    Ok(Some(Json::Object(out)))
}

/// The state events. Who takes the state from there alone finds in one of the timeline what the timeline says of it: of a
/// membership what was before, which tells clients who invited them to talk alone.
fn told_state(ctx: &Ctx, wish: &Wish, told: &Told, raw: &Raw) -> Vec<Json> {
    let mut state = state_json(ctx, &told.state, None);
    if wish.state_after.is_some() {
        for (json, event) in state.iter_mut().zip(&told.state).filter(|(_, e)| e.kind == "m.room.member") {
            let place = Place { pos: event.id.pos, sub: event.id.sub };
            if let Some(shown) = told.timeline.iter().find(|s| s.place == place && s.state_key.is_some()) {
                *json = shown.clone().in_room();
            }
        }
    }
    let state = state.into_iter().zip(&told.state);
    state.map(|(json, event)| wish.filter.fields(raw.show(raw.place(event), json))).collect()
}

/// The room's id.
///
/// # Errors
/// The server cannot tell.
pub async fn name(ctx: &Ctx, id: RoomId, room: &Room) -> Result<Str, Error> {
    match &room.name {
        Some(name) => Ok(name.clone()),
        None => rooms::room_id(ctx, id).await.map(Str::new),
    }
}

fn timeline(wish: &Wish, told: Told, raw: &Raw) -> Json {
    let shown = told.timeline.into_iter();
    let events: Vec<Json> = shown.map(|s| wish.filter.fields(raw.show(s.place, s.in_room()))).collect();
    object! { "events" => events, "limited" => told.limited, "prev_batch" => told.prev_batch.text() }
}

fn limit(wish: &Wish) -> usize {
    wish.filter.timeline.events.limit.map_or(TIMELINE, |n| n as usize)
}

/// The room's timeline and state out of what the agent has seen.
async fn from_updates(ctx: &Ctx, wish: &Wish, id: RoomId, change: &Change) -> Result<Told, Error> {
    let events = &change.events;
    let mut scene = Scene::new(ctx, id, events, Related::These(events.clone()), None).await?;
    scene.joined = Some(Pos::ZERO);
    let all: Vec<Shown> = events.iter().flat_map(|e| scene.show(e)).collect();
    let room_id = scene.room_id.clone();
    let fits = |s: &&Shown| wish.filter.timeline.admits(&room_id, &s.json);
    let wanted: Vec<&Shown> = all.iter().filter(fits).collect();
    let cut = wanted.len().saturating_sub(limit(wish));
    let timeline = wanted.get(cut..).unwrap_or_default();
    let end = Place::after(change.room.last);
    let begin = timeline.first().filter(|_| cut > 0).copied().or(all.first()).map_or(end, |s| s.place);
    let prev_batch = match (cut > 0, timeline.first()) {
        (true, None) => end,
        (true, Some(first)) => first.place,
        (false, _) => begin,
    };
    // State that changed before the timeline begins, or is filtered out of it.
    let told: BTreeSet<Place> = timeline.iter().map(|s| s.place).collect();
    let untold = |s: &Shown| wish.state_after.is_some() || !told.contains(&s.place);
    let moved = all.iter().filter(|s| s.state_key.is_some() && untold(s));
    let mut last: BTreeMap<(Str, Str), &Shown> = BTreeMap::new();
    for shown in moved {
        last.insert((shown.kind.clone(), shown.state_key.clone().unwrap_or_default()), shown);
    }
    let senders = senders(timeline.iter().copied(), scene.me.id, ctx, change, wish);
    let lazy = wish.filter.state.lazy_load_members;
    let events_of = |s: &Shown| {
        let row = lavina_core::row::FactRow::of(&s.entry, s.place.sub)?;
        state_event(id, &row, ctx.domain())
    };
    let mut state: Vec<RoomEvent> = last
        .values()
        .filter(|s| wish.filter.state.admits(&room_id, &s.json))
        .filter_map(|s| events_of(s))
        .collect();
    let mut view = None;
    let named = |who: &Str| {
        let shown = |s: &&Shown| s.kind == "m.room.member" && s.state_key.as_ref() == Some(who);
        all.iter().any(|s| shown(&s))
    };
    let strangers: BTreeSet<Str> = senders.into_iter().filter(|who| !named(who)).collect();
    if lazy && !strangers.is_empty() {
        let v = view_of(ctx, id).await?;
        state.extend(members(&v, &strangers, ctx));
        know(ctx, id, strangers).await;
        view = Some(v);
    }
    let timeline = all.into_iter().filter(|s| told.contains(&s.place)).collect();
    Ok(Told { timeline, state, limited: cut > 0, prev_batch, view })
}

/// The senders whose membership the client does not know yet, where it wants to hear of those only.
fn senders<'a>(
    timeline: impl Iterator<Item = &'a Shown>,
    me: lavina_core::ids::AccountId,
    ctx: &Ctx,
    change: &Change,
    wish: &Wish,
) -> BTreeSet<Str> {
    let mut out = BTreeSet::new();
    if !wish.filter.state.lazy_load_members {
        return out;
    }
    let redundant = wish.filter.state.include_redundant_members;
    for shown in timeline {
        let Some(sender) = shown.json.str_of("sender").map(Str::new) else { continue };
        let own = shown.entry.by.is(me) && !redundant && !change.whole;
        if !own && (redundant || !change.known.contains_key(&sender)) {
            out.insert(sender);
        }
    }
    if change.whole
        && let Ok(me) = ctx.user()
    {
        out.insert(Str::new(user_id(me, ctx.domain())));
    }
    out
}

/// The present memberships of these people.
fn members(view: &RoomView, who: &BTreeSet<Str>, ctx: &Ctx) -> Vec<RoomEvent> {
    let kind = Str::new("m.room.member");
    let rows = who.iter().filter_map(|id| view.facts.get(&(kind.clone(), id.clone())));
    rows.filter_map(|row| state_event(view.id, row, ctx.domain())).collect()
}

/// The client knows these people's memberships from this answer on.
async fn know(ctx: &Ctx, id: RoomId, who: BTreeSet<Str>) {
    ctx.with(move |agent, _| {
        if let Some(sync) = agent.sync() {
            sync.know(id, who);
        }
    })
    .await;
}

/// The room's timeline and state out of the store: as a whole, or what came after a position.
async fn from_store(
    ctx: &Ctx,
    wish: &Wish,
    id: RoomId,
    change: &Change,
    gap: Option<Pos>,
) -> Result<Told, Error> {
    let view = view_of(ctx, id).await?;
    // What comes later is told later.
    let upto = Place::after(change.room.last);
    let filter = &wish.filter.timeline;
    let limit = limit(wish);
    let to = gap.map(Place::after);
    let want = Want { room: id, from: upto, to, back: true, limit, filter, view: Some(view.clone()) };
    let found = page(ctx, want).await?;
    let begin = found.shown.first().map_or(upto, |s| s.place);
    let limited = found.more;
    let lazy = wish.filter.state.lazy_load_members;
    let senders = senders(found.shown.iter(), ctx.user()?.id, ctx, change, wish);
    // Of a gap all that changed is told, members too who said nothing.
    let wanted = |kind: &str, key: &str| !lazy || gap.is_some() || paging::lazily(kind, key, &senders);
    let mut state = state_of(ctx, wish, &view, upto, &found.shown, &wanted).await?;
    if let Some(gap) = gap {
        let sender = |e: &RoomEvent| lazy && e.state_key.as_ref().is_some_and(|key| senders.contains(key));
        state.retain(|e| e.id.pos > gap || (e.kind == "m.room.member" && sender(e)));
    }
    if lazy {
        know(ctx, id, senders).await;
    }
    let prev_batch = if found.shown.is_empty() { upto } else { begin };
    Ok(Told { timeline: found.shown, state, limited, prev_batch, view: Some(view) })
}

/// The whole state that goes with a timeline which ends there: as it was before the timeline, and what changed since and is
/// not in it because it was filtered out; for who wants it so, as it is after the timeline.
async fn state_of(
    ctx: &Ctx,
    wish: &Wish,
    view: &RoomView,
    end: Place,
    timeline: &[Shown],
    wanted: &(dyn Fn(&str, &str) -> bool + Sync),
) -> Result<Vec<RoomEvent>, Error> {
    let begin = timeline.first().filter(|_| wish.state_after.is_none()).map_or(end, |s| s.place.min(end));
    let mut state = state_at(ctx, view, begin, wanted).await?;
    let told: BTreeSet<Place> = timeline.iter().map(|s| s.place).collect();
    let later = view.facts.values().filter(|row| {
        let at = Place { pos: row.at.pos, sub: row.at.nth };
        at >= begin && at < end && !told.contains(&at) && wanted(&row.fact.kind, &row.fact.key)
    });
    for event in later.filter_map(|row| state_event(view.id, row, ctx.domain())) {
        state.retain(|e| e.kind != event.kind || e.state_key != event.state_key);
        state.push(event);
    }
    let room_id = rooms::name_of_view(ctx, view);
    let jsons = state_json(ctx, &state, Some(&room_id));
    let mut fits = jsons.iter().map(|json| wish.filter.state.admits(&room_id, json));
    state.retain(|_| fits.next().unwrap_or(false));
    Ok(state)
}

/// A room that was left: what happened until then.
async fn left(ctx: &Ctx, wish: &Wish, id: RoomId, change: &Change) -> Result<Json, Error> {
    let mut events: Vec<Arc<Event>> = change.events.clone();
    events.sort_by_key(|e| e.pos);
    events.dedup_by_key(|e| e.pos);
    let mut change = change.clone();
    change.events = events;
    let mut told =
        from_updates(ctx, &Wish { filter: plain_members(wish), ..copy(wish) }, id, &change).await?;
    told.limited |= change.gap.is_some();
    if wish.since.is_none() || wish.full || change.whole {
        told.state = state_of_left(ctx, wish, id, &change, &told.timeline).await?;
    }
    let raw = Raw::of(ctx, wish, id, &told.timeline, &told.state).await?;
    let state = told_state(ctx, wish, &told, &raw);
    let key = wish.state_after.unwrap_or("state");
    let timeline = timeline(wish, told, &raw);
    Ok(object! {
        key => object! { "events" => state },
        "timeline" => timeline,
        "account_data" => object! { "events" => Json::Array(Vec::new()) },
    })
}

/// The whole state of a room that was left, as far as who left it may know it: as it was before what is told of it, or
/// when he left.
async fn state_of_left(
    ctx: &Ctx,
    wish: &Wish,
    id: RoomId,
    change: &Change,
    timeline: &[Shown],
) -> Result<Vec<RoomEvent>, Error> {
    let view = view_of(ctx, id).await?;
    let Some(readable) = view.readable(ctx.user()?.id) else { return Ok(Vec::new()) };
    let end = Place::after(change.room.last.min(readable.last));
    state_of(ctx, wish, &view, end, timeline, &|_, _| true).await
}

/// Who is out of a room cannot ask for its members.
fn plain_members(wish: &Wish) -> Arc<crate::matrix::filter::Filter> {
    let mut filter = (*wish.filter).clone();
    filter.state.lazy_load_members = false;
    Arc::new(filter)
}

fn copy(wish: &Wish) -> Wish {
    Wish { since: wish.since.clone(), filter: wish.filter.clone(), ..*wish }
}

/// The state that somebody sees who is asked in, or asks to be let in.
pub async fn stripped(ctx: &Ctx, id: RoomId) -> Result<Vec<Json>, Error> {
    let mut view = view_of(ctx, id).await?;
    if view.head.open.is_none() {
        open_all(ctx, &[id]).await;
        view = view_of(ctx, id).await?;
    }
    let me = ctx.user()?;
    let own = Str::new(user_id(me, ctx.domain()));
    let asker = view.members.get(&me.id).and_then(|m| m.by.as_ref());
    let asker = asker.map(|u| Str::new(user_id(u, ctx.domain())));
    let of = |who: &Str| view.facts.get(&(Str::new("m.room.member"), who.clone()));
    let general = STRIPPED.iter().filter_map(|kind| view.facts.get(&(Str::new(kind), Str::default())));
    let people = asker.as_ref().filter(|a| **a != own).and_then(of).into_iter();
    let rows = general.chain(people);
    let mut out: Vec<Json> =
        rows.filter_map(|row| Some(state_event(id, row, ctx.domain())?.stripped())).collect();
    // One's own membership as a whole event, as clients of before this was settled expect.
    let own = of(&own).and_then(|row| state_event(id, row, ctx.domain()));
    out.extend(state_json(ctx, &own.into_iter().collect::<Vec<_>>(), None));
    Ok(out)
}

/// Who is there, for a room without a name.
fn summary(view: &RoomView, changes: &Changes, ctx: &Ctx) -> Json {
    let count = |m: Membership| view.members.values().filter(|r| r.standing.membership == m).count();
    let me = changes.label.as_str();
    debug_assert!(!me.is_empty());
    let mut out = object! {
        "m.joined_member_count" => count(Membership::Joined),
        "m.invited_member_count" => count(Membership::Invited),
    };
    // As other servers do: they name a room that has neither a name nor a canonical alias.
    let named = |kind: &str, key: &str| {
        let content = rooms::content(&view.facts, kind, "");
        content.and_then(|c| c.str_of(key).map(|s| !s.is_empty())).unwrap_or(false)
    };
    if named("m.room.name", "name") || named("m.room.canonical_alias", "alias") {
        return out;
    }
    let ids: Vec<String> = heroes(view, ctx).iter().map(|m| user_id(&m.user, ctx.domain())).collect();
    out.set("m.heroes", ids);
    out
}

/// People to name a room after that has no name of its own.
pub fn heroes<'a>(view: &'a RoomView, ctx: &Ctx) -> Vec<&'a Member> {
    let own = ctx.user().map(|u| u.id).ok();
    let here = |m: &&Member| matches!(m.standing.membership, Membership::Joined | Membership::Invited);
    let mut rows: Vec<&Member> = view.members.values().filter(|m| Some(m.user.id) != own).collect();
    rows.sort_by_key(|m| m.since);
    let mut heroes: Vec<&Member> = rows.iter().copied().filter(here).take(HEROES).collect();
    if heroes.is_empty() {
        heroes = rows.into_iter().take(HEROES).collect();
    }
    heroes
}

/// Typing and receipts.
pub async fn ephemeral(ctx: &Ctx, wish: &Wish, id: RoomId, change: &Change) -> Result<Vec<Json>, Error> {
    let now = ctx.now().mono;
    let mut out = Vec::new();
    if change.typing {
        let who = change.room.typing.iter().filter(|t| t.until > now);
        let ids: Vec<String> = who.map(|t| user_id(&t.who, ctx.domain())).collect();
        out.push(object! { "type" => "m.typing", "content" => object! { "user_ids" => ids } });
    }
    let mut read = change.receipts.clone();
    if change.all_receipts {
        read.extend(public_receipts(ctx, id).await?);
    }
    if !read.is_empty() {
        out.push(receipts(&read, ctx.domain()));
    }
    if !out.is_empty() {
        let room_id = name(ctx, id, &change.room).await?;
        out.retain(|e| wish.filter.ephemeral.admits(&room_id, e));
    }
    Ok(out)
}

/// What everybody may know of who has read a room; one's own come first.
///
/// # Errors
/// The server cannot tell.
pub async fn public_receipts(ctx: &Ctx, id: RoomId) -> Result<Vec<Receipt>, Error> {
    let (view, me) = (view_of(ctx, id).await?, ctx.user()?.id);
    let ids = IdKey::new(&ctx.settings().core.secret);
    let own = view.members.get(&me).into_iter();
    let all = own.chain(view.members.values().filter(|m| m.user.id != me));
    let all = all.flat_map(|m| m.seen.iter().map(|to| Receipt::public(&m.user, id, to, &ids)));
    Ok(all.take(RECEIPTS).collect())
}

fn receipts(all: &[Receipt], domain: &str) -> Json {
    let mut content: BTreeMap<Str, BTreeMap<&str, Map>> = BTreeMap::new();
    for receipt in all {
        let kind = if receipt.private { "m.read.private" } else { "m.read" };
        let mut value = object! { "ts" => receipt.at.0 };
        if let Some(thread) = &receipt.thread {
            value.set("thread_id", thread);
        }
        let of = content.entry(receipt.event.clone()).or_default().entry(kind).or_default();
        of.insert(user_id(&receipt.by, domain), value);
    }
    let kinds = |kinds: BTreeMap<&str, Map>| -> Json {
        Json::Object(kinds.into_iter().map(|(k, v)| (k, Json::Object(v))).collect())
    };
    let content: Map = content.into_iter().map(|(event, of)| (event, kinds(of))).collect();
    object! { "type" => "m.receipt", "content" => Json::Object(content) }
}

/// The account's data about the room.
pub async fn data(
    wish: &Wish,
    id: RoomId,
    change: &Change,
    ctx: &Ctx,
    whole: bool,
) -> Result<Vec<Json>, Error> {
    if !whole && change.data.is_empty() {
        return Ok(Vec::new());
    }
    let room_id = name(ctx, id, &change.room).await?;
    let values = match whole {
        true => super::people::data_of_room(ctx, &room_id).await?,
        false => change.data.clone(),
    };
    let event = |(kind, value): (Str, lavina_core::text::Octets)| {
        let content = Json::parse(&value).unwrap_or_else(|_| Json::object());
        object! { "type" => kind, "content" => content }
    };
    let admits = |e: &Json| wish.filter.room_account_data.admits(&room_id, e);
    Ok(values.into_iter().map(event).filter(admits).collect())
}
