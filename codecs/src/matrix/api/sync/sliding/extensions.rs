//! What an answer says besides rooms: letters, keys, account data, receipts, who types.

use super::super::{Wish, people, room};
use super::Told;
use super::ask::Ask;
use crate::json::{Json, Map};
use crate::matrix::api::sync::changes::{Change, Changes};
use crate::matrix::device::sync::Room;
use crate::matrix::error::Error;
use crate::matrix::rooms::room_id;
use crate::matrix::task::Ctx;
use crate::object;
use lavina_core::command::{Act, EntityId};
use lavina_core::ids::{Pos, RoomId};
use lavina_core::query::{Query, Value};

/// Letters of one answer, at most.
const LETTERS: u64 = 100;

/// Up to which letter the client has them.
fn since(ask: &Ask) -> Pos {
    let said = ask.extension("to_device").and_then(|e| e.str_of("since"));
    Pos(said.and_then(|s| s.parse().ok()).unwrap_or(0))
}

/// The letters that the client says it has go.
///
/// # Errors
/// The server cannot tell.
pub async fn collect(ctx: &Ctx, ask: &Ask) -> Result<(), Error> {
    let upto = since(ask);
    let label = ctx.with(move |agent, _| {
        let sync = agent.sync()?;
        (upto > sync.collected && upto <= sync.letters).then(|| {
            sync.collected = upto;
            sync.label.clone()
        })
    });
    if let Some(label) = label.await {
        ctx.act(EntityId::Account(ctx.user()?.id), Act::Collect { label, upto }).await?;
    }
    Ok(())
}

/// All that are wanted, and whether there is news among them. `fresh`: rooms that the client is told of as a whole.
///
/// # Errors
/// The server cannot tell.
pub async fn all(
    ctx: &Ctx,
    ask: &Ask,
    told: &Told,
    changes: &mut Changes,
    fresh: &[RoomId],
) -> Result<(Map, bool), Error> {
    let (mut out, mut news) = (Map::new(), false);
    if let Some(wanted) = ask.extension("to_device") {
        let (json, some) = to_device(ctx, ask, wanted, changes).await?;
        news |= some;
        out.insert("to_device", json);
    }
    let wish = Wish {
        since: None,
        filter: ctx.settings().no_filter.clone(),
        full: false,
        state_after: None,
        until: ask.until,
        show: ask.show,
    };
    let rooms = rooms(ctx, told, changes, fresh).await;
    changes.done = std::mem::take(&mut changes.rooms).into_iter().collect();
    if ask.extension("e2ee").is_some() {
        let (counts, fallback) = people::keys(changes);
        let mut keys = object! {
            "device_one_time_keys_count" => counts, "device_unused_fallback_key_types" => fallback,
        };
        news |= changes.counts;
        if !changes.initial
            && let Some(lists) = people::device_lists(ctx, changes).await?
        {
            news = true;
            keys.set("device_lists", lists);
        }
        out.insert("e2ee", keys);
    }
    if ask.extension("account_data").is_some() {
        let global = people::account_data(ctx, &wish, changes).await?;
        let of_rooms = data(ctx, &wish, &rooms, fresh).await?;
        news |= !global.is_empty() || !of_rooms.is_empty();
        out.insert("account_data", object! { "global" => global, "rooms" => Json::Object(of_rooms) });
    }
    for (name, kind) in [("receipts", "m.receipt"), ("typing", "m.typing")] {
        if ask.extension(name).is_some() {
            let found = ephemeral(ctx, &wish, &rooms, kind).await?;
            news |= !found.is_empty();
            out.insert(name, object! { "rooms" => Json::Object(found) });
        }
    }
    Ok((out, news))
}

/// What is new of the rooms that the client knows of.
async fn rooms(ctx: &Ctx, told: &Told, changes: &Changes, fresh: &[RoomId]) -> Vec<(RoomId, Change)> {
    let fresh = fresh.to_vec();
    let whole = ctx.with(move |agent, _| {
        let Some(sync) = agent.sync() else { return Vec::new() };
        let rooms = fresh.into_iter().filter_map(|id| Some((id, Room::clone(sync.rooms.get(&id)?))));
        rooms.collect::<Vec<_>>()
    });
    let mut out = Vec::new();
    for (id, room) in whole.await {
        let mut change = Change::bare(room);
        change.tell_moment();
        out.push((id, change));
    }
    let new: Vec<RoomId> = out.iter().map(|(id, _)| *id).collect();
    let others = changes.rooms.iter().filter(|(id, _)| told.rooms.contains_key(id) && !new.contains(id));
    out.extend(others.map(|(id, change)| (*id, change.clone())));
    out
}

async fn to_device(ctx: &Ctx, ask: &Ask, wanted: &Json, changes: &Changes) -> Result<(Json, bool), Error> {
    let after = since(ask);
    let limit = wanted.get("limit").and_then(Json::as_int).and_then(|n| u64::try_from(n).ok());
    let limit = limit.unwrap_or(LETTERS).clamp(1, LETTERS) as u32;
    let mut letters = Vec::new();
    if changes.letters > after {
        let query = Query::Letters { account: ctx.user()?.id, label: changes.label.clone(), after, limit };
        if let Value::Letters(found) = ctx.query(query).await? {
            letters = found.to_vec();
        }
    }
    let next = letters.last().map_or(after, |(pos, _)| *pos);
    let events: Vec<Json> = letters.iter().filter_map(|(_, letter)| Json::parse(letter).ok()).collect();
    let some = !events.is_empty();
    Ok((object! { "next_batch" => next.0.to_string(), "events" => events }, some))
}

/// The account's data about rooms.
async fn data(ctx: &Ctx, wish: &Wish, rooms: &[(RoomId, Change)], fresh: &[RoomId]) -> Result<Map, Error> {
    let mut out = Map::new();
    for (id, change) in rooms {
        let found = room::data(wish, *id, change, ctx, fresh.contains(id)).await?;
        if !found.is_empty() {
            out.insert(room_id(ctx, *id).await?, found);
        }
    }
    Ok(out)
}

/// Receipts, or who types.
async fn ephemeral(ctx: &Ctx, wish: &Wish, rooms: &[(RoomId, Change)], kind: &str) -> Result<Map, Error> {
    let mut out = Map::new();
    for (id, change) in rooms {
        let events = room::ephemeral(ctx, wish, *id, change).await?;
        if let Some(event) = events.into_iter().find(|e| e.str_of("type") == Some(kind)) {
            out.insert(room_id(ctx, *id).await?, event);
        }
    }
    Ok(out)
}
