//! Searching what was said (client-server API, "Server Side Search"): the user's rooms are read from the newest event
//! on. What fits is [`Search`]'s to say.

use super::paging::{Want, end, page, state_at, state_json};
use super::scene::{Related, Scene, Shown, history, view_of};
use crate::json::{Json, Map};
use crate::matrix::device::stamp::Place;
use crate::matrix::device::sync::begin;
use crate::matrix::error::Error;
use crate::matrix::filter::RoomEventFilter;
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms;
use crate::matrix::route::{Route, route};
use crate::matrix::search::{Around, Context, Found, Search};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::event::{Event, What};
use lavina_core::ids::RoomId;
use lavina_core::query::{Bound, Only, Range};
use lavina_core::time::UnixMillis;
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[route!(Post "/_matrix/client/v3/search" Must search)];

/// Results of one page where the client names no number, and most.
const LIMIT: usize = 10;
const LIMIT_MAX: usize = 100;

/// Entries of one read, and reads of one room for one page: older ones are not found.
const READ: u32 = 500;
const READS: usize = 20;

/// A hit.
struct Hit {
    room: RoomId,
    shown: Shown,
    rank: u32,
}

/// Where a page begins: before an event of that time, of rooms with the same time in those with a lower id.
#[derive(Clone, Copy)]
struct Before {
    at: u64,
    room: u64,
    /// How many results there were on the first page's count.
    count: usize,
}

impl Before {
    fn parse(token: &str) -> Option<Before> {
        let mut parts = token.strip_prefix('h')?.split('_');
        let (at, room, count) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Before { at: at.parse().ok()?, room: room.parse().ok()?, count: count.parse().ok()? })
    }

    fn has(self, room: RoomId, entry: &Event) -> bool {
        entry.at.0 < self.at || (entry.at.0 == self.at && room.0 < self.room)
    }
}

async fn search(ctx: Ctx, request: Request) -> Answer {
    let search = Search::parse(&request.json()?).map_err(|why| Error::bad_json(why.to_string()))?;
    let Some(search) = search else {
        return Ok(Response::ok(&object! { "search_categories" => object! {} }));
    };
    let before = match request.param("next_batch") {
        None => None,
        Some(token) => {
            let before = Before::parse(token);
            Some(before.ok_or_else(|| Error::invalid_param("next_batch is no token of this server"))?)
        }
    };
    let limit = search.filter.events.limit.map_or(LIMIT, |n| n as usize).clamp(1, LIMIT_MAX);
    begin::begin(&ctx).await?;
    let found = ctx.with(|agent, _| -> Vec<RoomId> {
        let rooms = agent.sync().map(|s| &s.rooms);
        rooms.into_iter().flatten().filter(|(_, r)| r.is_joined()).map(|(id, _)| *id).collect()
    });
    let (mut hits, mut count) = (Vec::new(), 0);
    for room in found.await {
        if search.filter.rooms.admit(&rooms::room_id(&ctx, room).await?) {
            let (found, more) = in_room(&ctx, &search, room, before, limit).await?;
            count += found.len() + more;
            hits.extend(found);
        }
    }
    hits.sort_by_key(|h| std::cmp::Reverse((h.shown.entry.at, h.room, h.shown.place)));
    // A full page may have another behind it.
    let full = count >= limit;
    hits.truncate(limit);
    let last = hits.last().filter(|_| full);
    let count = before.map_or(count, |b| b.count.max(count));
    let next_batch = last.map(|h| format!("h{}_{}_{count}", h.shown.entry.at.0, h.room.0));
    if !search.recent {
        hits.sort_by_key(|h| std::cmp::Reverse(h.rank));
    }
    let mut around = Around { count, state: None, next_batch };
    if search.include_state {
        around.state = Some(states(&ctx, &hits).await?);
    }
    let mut found = Vec::new();
    for hit in hits {
        let context = match &search.context {
            Some(context) => Some(context_of(&ctx, &hit, context).await?),
            None => None,
        };
        found.push(Found { rank: hit.rank, event: hit.shown.json, context });
    }
    Ok(Response::ok(&search.answer(found, around)))
}

/// The newest hits of a room, and how many more of them were seen.
async fn in_room(
    ctx: &Ctx,
    search: &Search,
    room: RoomId,
    before: Option<Before>,
    limit: usize,
) -> Result<(Vec<Hit>, usize), Error> {
    let mut out = Vec::new();
    let mut bound = before.map_or(Bound::Open, |b| Bound::Time(UnixMillis(b.at.saturating_add(1))));
    for _ in 0..READS {
        let range = Range { before: bound, only: Only::All, ..Range::latest(READ) };
        let found = history(ctx, room, range).await?;
        let fits: Vec<Arc<Event>> = found.entries.iter().filter(|e| may_fit(search, e)).cloned().collect();
        let scene = Scene::new(ctx, room, &fits, Related::Ask, None).await?;
        let shown = fits.iter().rev().flat_map(|e| scene.show(e));
        let past = shown.filter(|s| before.is_none_or(|b| b.has(room, &s.entry)));
        out.extend(past.filter_map(|shown| Some(Hit { room, rank: search.rank(&shown.json)?, shown })));
        if out.len() > limit {
            break;
        }
        match found.entries.first() {
            Some(first) if found.more => bound = Bound::Pos(first.pos),
            _ => break,
        }
    }
    let more = out.len().saturating_sub(limit);
    out.truncate(limit);
    Ok((out, more))
}

/// Whether an entry can have the words at all: most have not, and need not be shown to find out.
fn may_fit(search: &Search, entry: &Event) -> bool {
    match &entry.what {
        What::Said(m) if m.gone => false,
        What::Said(m) if m.native.is_some() => true,
        What::Said(m) => {
            let text = m.body.text.to_lowercase();
            search.terms().iter().all(|term| text.contains(term.as_str()))
        }
        _ => !entry.facts.is_empty(),
    }
}

async fn states(ctx: &Ctx, hits: &[Hit]) -> Result<Map, Error> {
    let mut out = Map::new();
    for hit in hits {
        let id = rooms::room_id(ctx, hit.room).await?;
        if !out.contains(&id) {
            let view = view_of(ctx, hit.room).await?;
            let state = state_at(ctx, &view, end(), |_, _| true).await?;
            let state = state_json(ctx, &state, Some(&id));
            out.insert(id, state);
        }
    }
    Ok(out)
}

/// The events around a hit.
async fn context_of(ctx: &Ctx, hit: &Hit, wanted: &Context) -> Result<Json, Error> {
    let filter = RoomEventFilter::default();
    let here = hit.shown.place;
    let behind = Place { sub: here.sub.saturating_add(1), ..here };
    let want = |from, back, limit: u32| Want {
        room: hit.room,
        from,
        to: None,
        back,
        limit: limit as usize,
        filter: &filter,
        view: None,
    };
    let mut before = page(ctx, want(here, true, wanted.before)).await?;
    let after = page(ctx, want(behind, false, wanted.after)).await?;
    before.shown.reverse();
    let mut out = object! { "start" => before.next.text(), "end" => after.next.text() };
    if wanted.profiles {
        let view = view_of(ctx, hit.room).await?;
        let all = before.shown.iter().chain(&after.shown).chain([&hit.shown]);
        out.set("profile_info", profiles(ctx, &view, all));
    }
    let list = |shown: Vec<Shown>| Json::Array(shown.into_iter().map(|s| s.json).collect());
    out.set("events_before", list(before.shown));
    out.set("events_after", list(after.shown));
    Ok(out)
}

/// Names and pictures of those who wrote.
fn profiles<'a>(
    ctx: &Ctx,
    view: &lavina_core::query::RoomView,
    shown: impl Iterator<Item = &'a Shown>,
) -> Json {
    let all: Vec<Shown> = shown.cloned().collect();
    let members = super::messages::senders(ctx, view, &all);
    let one = |event: &Json| {
        let content = event.get("content")?;
        let mut profile = Json::object();
        for key in ["displayname", "avatar_url"] {
            if let Some(value) = content.get(key) {
                profile.set(key, value.clone());
            }
        }
        Some((event.str_of("state_key")?.to_owned(), profile))
    };
    Json::Object(members.iter().filter_map(one).collect())
}
