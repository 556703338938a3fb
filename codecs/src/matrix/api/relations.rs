//! What relates to an event, and threads (client-server API, "Relationships between events", "Threading").

use super::messages::{backwards, event_in, limit, place, room};
use super::scene::{Related, Scene, Shown, history, related_to, relation_of};
use crate::json::Json;
use crate::matrix::device::stamp::Place;
use crate::matrix::error::Error;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::event::{Event, What};
use lavina_core::ids::{Pos, RoomId};
use lavina_core::query::{Bound, Only, Query, Range, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v1/rooms/{room}/relations/{event}" Must relations),
    route!(Get "/_matrix/client/v1/rooms/{room}/relations/{event}/{rel}" Must relations),
    route!(Get "/_matrix/client/v1/rooms/{room}/relations/{event}/{rel}/{type}" Must relations),
    route!(Get "/_matrix/client/v1/rooms/{room}/threads" Must threads),
];

/// Relations of one page where the client names no number.
const LIMIT: usize = 50;

/// How many steps `recurse` follows (the specification asks for three at least).
const DEPTH: usize = 3;

/// Entries of one read, and reads of one request.
const READ: u32 = 500;
const READS: usize = 20;

async fn relations(ctx: Ctx, request: Request) -> Answer {
    let back = backwards(&request, Some(true))?;
    let limit = limit(&request, LIMIT)?.max(1);
    // Element says it as it was called before the specification had it.
    let recurse = match request.param("recurse").or_else(|| request.param("org.matrix.msc3981.recurse")) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Error::invalid_param("recurse must be true or false")),
    };
    let (id, view) = room(&ctx, request.arg(0)).await?;
    let (_, root) = event_in(&ctx, id, &view, request.arg(1)).await?;
    let from = match request.param("from").filter(|t| !t.is_empty()) {
        Some(token) => Some(place(&ctx, &view, token).await?),
        None => None,
    };
    let to = match request.param("to").filter(|t| !t.is_empty()) {
        Some(token) => Some(place(&ctx, &view, token).await?),
        None => None,
    };
    let (found, depth) = match recurse {
        true => below(&ctx, id, root.entry.pos, DEPTH).await?,
        false => (about(&ctx, id, root.entry.pos, from, back).await?, 1),
    };
    let scene = Scene::new(&ctx, id, &found, Related::Ask, Some(view)).await?;
    let kind = |wanted: &str, is: Option<&str>| wanted.is_empty() || Some(wanted) == is;
    let fits = |e: &&Arc<Event>| {
        let relation = relation_of(e);
        relation.is_some() && kind(request.arg(2), relation.as_deref()) && scene.withdrawn_by(e).is_none()
    };
    let beyond = |place: Place| {
        let started = from.is_none_or(|f| if back { place < f } else { place >= f });
        let ended = to.is_some_and(|t| if back { place < t } else { place >= t });
        started && !ended
    };
    let mut shown: Vec<Shown> = found
        .iter()
        .filter(fits)
        .flat_map(|e| scene.show(e))
        .filter(|s| kind(request.arg(3), Some(&s.kind)) && beyond(s.place))
        .collect();
    if back {
        shown.reverse();
    }
    let more = shown.len() > limit;
    shown.truncate(limit);
    let mut out = object! {};
    if let Some(last) = shown.last().filter(|_| more) {
        let next = if back { last.place } else { Place::after(last.place.pos) };
        out.set("next_batch", next.text());
    }
    if let Some(from) = request.param("from").filter(|t| !t.is_empty()) {
        out.set("prev_batch", from);
    }
    if recurse {
        out.set("recursion_depth", depth);
    }
    out.set("chunk", Json::Array(shown.into_iter().map(|s| s.json).collect()));
    Ok(Response::ok(&out))
}

/// The entries about one, on one side of a place.
async fn about(
    ctx: &Ctx,
    room: RoomId,
    target: Pos,
    from: Option<Place>,
    back: bool,
) -> Result<Vec<Arc<Event>>, Error> {
    let (after, before) = match (from, back) {
        (None, _) => (Pos::ZERO, Pos(Pos::MAX.0 + 1)),
        (Some(from), true) => (Pos::ZERO, from.pos),
        (Some(from), false) => (from.pos.back(), Pos(Pos::MAX.0 + 1)),
    };
    let reader = ctx.user()?.id;
    let limit = super::scene::RELATED;
    let query = Query::Related { room, reader, targets: vec![target], after, before, newest: back, limit };
    match ctx.query(query).await? {
        Value::Events(found) => Ok(found.entries.clone()),
        _ => Ok(Vec::new()),
    }
}

/// The entries about one, about these, and so on.
async fn below(ctx: &Ctx, room: RoomId, root: Pos, steps: usize) -> Result<(Vec<Arc<Event>>, usize), Error> {
    let (mut out, mut targets, mut depth) = (Vec::<Arc<Event>>::new(), vec![root], 0);
    for _ in 0..steps {
        let found = related_to(ctx, room, std::mem::take(&mut targets)).await?;
        let new =
            found.into_iter().filter(|e| relation_of(e).is_some() && !out.iter().any(|o| o.pos == e.pos));
        let new: Vec<Arc<Event>> = new.collect();
        if new.is_empty() {
            break;
        }
        depth += 1;
        targets.extend(new.iter().map(|e| e.pos));
        out.extend(new);
    }
    out.sort_by_key(|e| e.pos);
    Ok((out, depth))
}

async fn threads(ctx: Ctx, request: Request) -> Answer {
    let limit = limit(&request, LIMIT)?.max(1);
    let mine = match request.param("include") {
        None | Some("all") => false,
        Some("participated") => true,
        Some(_) => return Err(Error::invalid_param("include must be all or participated")),
    };
    let (id, view) = room(&ctx, request.arg(0)).await?;
    let mut before = match request.param("from").filter(|t| !t.is_empty()) {
        Some(token) => place(&ctx, &view, token).await?.pos,
        None => Pos(Pos::MAX.0 + 1),
    };
    let (mut roots, mut seen, mut more) = (Vec::new(), BTreeSet::new(), true);
    'reading: for _ in 0..READS {
        let range = Range { before: Bound::Pos(before), only: Only::Messages, ..Range::latest(READ) };
        let found = history(&ctx, id, range).await?;
        for entry in found.entries.iter().rev() {
            before = entry.pos;
            let root = match &entry.what {
                What::Said(m) if !m.gone => m.thread.filter(|t| t.room == id).map(|t| t.pos),
                _ => None,
            };
            let Some(root) = root.filter(|root| seen.insert(*root)) else { continue };
            if is_latest(&ctx, id, root, entry.pos, mine).await? {
                roots.push(root);
            }
            if roots.len() >= limit {
                break 'reading;
            }
        }
        more = found.more;
        if !more {
            break;
        }
    }
    let mut chunk = Vec::new();
    for root in roots {
        let Some(entry) = super::scene::entry_at(&ctx, id, root).await? else { continue };
        let entries = [entry];
        let scene = Scene::new(&ctx, id, &entries, Related::Ask, Some(view.clone())).await?;
        chunk.extend(entries.iter().flat_map(|e| scene.show(e)).map(|s| s.json));
    }
    let mut out = object! { "chunk" => Json::Array(chunk) };
    if more {
        out.set("next_batch", Place { pos: before, sub: 0 }.text());
    }
    Ok(Response::ok(&out))
}

/// Whether this entry is the last of the thread, so that the thread has its turn here; and, with `mine`, whether the user
/// takes part in it.
async fn is_latest(ctx: &Ctx, room: RoomId, root: Pos, entry: Pos, mine: bool) -> Result<bool, Error> {
    let me = ctx.user()?.id;
    let related = related_to(ctx, room, vec![root]).await?;
    let reply = |e: &&Arc<Event>| matches!(&e.what, What::Said(m) if !m.gone && m.thread.is_some_and(|t| t.pos == root));
    let latest = related.iter().rev().find(reply).map(|e| e.pos);
    if latest != Some(entry) {
        return Ok(false);
    }
    if !mine || related.iter().filter(reply).any(|e| e.by.is(me)) {
        return Ok(true);
    }
    let root = super::scene::entry_at(ctx, room, root).await?;
    Ok(root.is_some_and(|e| e.by.is(me)))
}
