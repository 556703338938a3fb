//! Spaces and what is told of rooms before one is in them (client-server API, "Spaces", "Room summaries").

use crate::json::Json;
use crate::matrix::api::{directory, members, state};
use crate::matrix::error::Error;
use crate::matrix::member;
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms;
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::ids::RoomId;
use lavina_core::policy::{JoinRule, Membership, Visibility};
use lavina_core::query::RoomView;
use lavina_core::row::FactRow;
use lavina_core::text::Str;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v1/rooms/{room}/hierarchy" Must hierarchy),
    route!(Get "/_matrix/client/v1/room_summary/{room}" May summary),
    route!(Get "/_matrix/client/unstable/im.nheko.summary/summary/{room}" May summary),
    route!(Get "/_matrix/client/unstable/im.nheko.summary/rooms/{room}/summary" May summary),
];

/// Rooms of an answer that says no limit, and the highest limit.
const PAGE: u64 = 50;
const PAGE_MAX: u64 = 200;

/// Most rooms looked at for one answer.
const ROOMS_MAX: usize = 5_000;

/// Children of one space that are followed.
const CHILDREN_MAX: usize = 1_000;

/// Longest `order` of a child (client-server API, "m.space.child").
const ORDER_MAX: usize = 50;

async fn hierarchy(ctx: Ctx, request: Request) -> Answer {
    let limit = request.number("limit")?.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let depth = request.number("max_depth")?;
    let only_suggested = match request.param("suggested_only") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Error::invalid_param("suggested_only must be true or false")),
    };
    // The token is the place in the walk, and what the walk was asked for.
    let asked = format!("{}-{only_suggested}", depth.map_or(String::from("x"), |d| d.to_string()));
    let skip = match request.param("from") {
        None => 0,
        Some(from) => {
            let (place, rest) = from.split_once('-').unwrap_or((from, ""));
            let place = place.parse::<usize>().ok().filter(|_| rest == asked);
            place.ok_or_else(|| Error::invalid_param("from is no token of this walk"))?
        }
    };
    let root = rooms::known_view(&ctx, request.arg(0)).await?;
    if !accessible(&ctx, &root).await? {
        return Err(Error::forbidden("you may not see this room"));
    }
    let mut walk = Walk { depth, only_suggested, seen: BTreeSet::new(), found: Vec::new() };
    let wanted = skip + limit as usize + 1;
    walk.go(&ctx, root, wanted).await?;
    let more = walk.found.len() > skip + limit as usize;
    let chunk: Vec<Json> = walk.found.into_iter().skip(skip).take(limit as usize).collect();
    let mut answer = object! { "rooms" => chunk };
    if more {
        answer.set("next_batch", format!("{}-{asked}", skip + limit as usize));
    }
    Ok(Response::ok(&answer))
}

/// A walk through a space, children before what comes after them.
struct Walk {
    depth: Option<u64>,
    only_suggested: bool,
    seen: BTreeSet<RoomId>,
    found: Vec<Json>,
}

impl Walk {
    async fn go(&mut self, ctx: &Ctx, root: Arc<RoomView>, wanted: usize) -> Result<(), Error> {
        self.seen.insert(root.id);
        let mut next: Vec<(RoomId, u64)> = self.take(ctx, &root, 0).await?;
        while let Some((room, depth)) = next.pop() {
            if self.found.len() >= wanted || self.seen.len() > ROOMS_MAX {
                break;
            }
            if !self.seen.insert(room) {
                continue;
            }
            let view = match rooms::open_view(ctx, room).await {
                Ok(view) => view,
                Err(why) if why.status == 404 => continue,
                Err(why) => return Err(why),
            };
            if accessible(ctx, &view).await? {
                next.extend(self.take(ctx, &view, depth).await?);
            }
        }
        Ok(())
    }

    /// Takes a room into the answer and gives its children, the last first.
    async fn take(&mut self, ctx: &Ctx, view: &RoomView, depth: u64) -> Result<Vec<(RoomId, u64)>, Error> {
        let children = children(ctx, view, self.only_suggested).await?;
        let mut entry = described(ctx, view);
        // Of rooms that are not known here too: the client may find them elsewhere.
        let rows = children.iter().map(|(_, row)| *row);
        let stripped: Vec<Json> = rooms::state_events(ctx, view, rows).iter().map(stripped).collect();
        entry.set("children_state", stripped);
        self.found.push(entry);
        if self.depth.is_some_and(|most| depth >= most) {
            return Ok(Vec::new());
        }
        Ok(children.into_iter().rev().filter_map(|(room, _)| Some((room?, depth + 1))).collect())
    }
}

/// A state event as a walk shows it.
fn stripped(event: &Json) -> Json {
    let mut out = Json::object();
    for key in ["content", "origin_server_ts", "sender", "state_key", "type"] {
        if let Some(value) = event.get(key) {
            out.set(key, value.clone());
        }
    }
    out
}

/// The children of a space in their order; the room, where it is one of ours.
async fn children<'a>(
    ctx: &Ctx,
    view: &'a RoomView,
    only_suggested: bool,
) -> Result<Vec<(Option<RoomId>, &'a Arc<FactRow>)>, Error> {
    let kind = Str::new("m.space.child");
    let is_space = rooms::version(view).is_some_and(|o| o.content.str_of("type") == Some("m.space"));
    let from = view.facts.range((kind.clone(), Str::default())..);
    let rows = from.take_while(|((k, _), _)| *k == kind).filter(|_| is_space);
    let mut out: Vec<_> = rows
        .filter_map(|((_, key), row)| {
            let content = Json::parse(&row.fact.content).ok()?;
            let via = content.get("via").and_then(Json::as_array).is_some_and(|via| !via.is_empty());
            let suggested = content.get("suggested").and_then(Json::as_bool) == Some(true);
            Some(()).filter(|()| via && (suggested || !only_suggested))?;
            let order = content.str_of("order").filter(|order| is_order(order)).map(str::to_owned);
            // Those with an order come first.
            Some(((order.is_none(), order, row.time, key.clone()), row))
        })
        .collect();
    out.sort_by(|a, b| a.0.cmp(&b.0));
    let mut known = Vec::new();
    for ((.., key), row) in out {
        if known.len() >= CHILDREN_MAX {
            break;
        }
        known.push((rooms::room_ref(ctx, &key).await?, row));
    }
    Ok(known)
}

fn is_order(order: &str) -> bool {
    order.len() <= ORDER_MAX && order.bytes().all(|b| (0x20..=0x7e).contains(&b))
}

/// Whether whoever asks may know of a room: one that he could enter, knock at or read, or is invited to.
async fn accessible(ctx: &Ctx, view: &RoomView) -> Result<bool, Error> {
    let policy = view.policy();
    let open = matches!(policy.join, JoinRule::Public | JoinRule::Knock) && view.parties.is_none();
    if open || policy.history == Visibility::World {
        return Ok(true);
    }
    let Ok(user) = ctx.user() else { return Ok(false) };
    if matches!(rooms::membership(view, user), Membership::Joined | Membership::Invited) {
        return Ok(true);
    }
    let rules = rooms::content(&view.facts, "m.room.join_rules", "").unwrap_or_else(Json::object);
    Ok(state::restricted(&rules) && members::in_one_of(ctx, &rules).await?)
}

/// What is told of a room.
fn described(ctx: &Ctx, view: &RoomView) -> Json {
    let mut entry = directory::entry(ctx, view);
    let rules = rooms::content(&view.facts, "m.room.join_rules", "").unwrap_or_else(Json::object);
    if state::restricted(&rules) {
        let allow = rules.get("allow").and_then(Json::as_array).unwrap_or_default();
        let listed: Vec<&str> = allow.iter().filter_map(|a| a.str_of("room_id")).collect();
        entry.set("allowed_room_ids", listed);
    }
    let sealed = rooms::content(&view.facts, "m.room.encryption", "");
    if let Some(algorithm) = sealed.and_then(|c| c.str_of("algorithm").map(str::to_owned)) {
        entry.set("encryption", algorithm);
    }
    if let Some(opening) = rooms::version(view) {
        entry.set("room_version", opening.version);
    }
    entry
}

async fn summary(ctx: Ctx, request: Request) -> Answer {
    let unknown = || Error::not_found("there is no such room, or you may not see it");
    let room = rooms::room_or_alias(&ctx, request.arg(0)).await?;
    let view = directory::seen(&ctx, room).await?;
    if !accessible(&ctx, &view).await? {
        return Err(unknown());
    }
    let mut out = described(&ctx, &view);
    if let Ok(user) = ctx.user() {
        out.set("membership", member::word(rooms::membership(&view, user)));
    }
    Ok(Response::ok(&out))
}
