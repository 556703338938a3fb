//! Dehydrated devices (MSC3814): a device without a client. Its keys are there like any device's, so what is encrypted
//! for its user reaches it even while nobody is logged in; its secrets are kept for the user, encrypted by the client,
//! who wakes it later, reads what came for it, and puts a new one in its place.

use super::keys::{given_keys, tell_changed};
use super::login::{DEVICES, account, remove_devices};
use crate::json::Json;
use crate::matrix::agent;
use crate::matrix::device::DeviceRow;
use crate::matrix::error::Error;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx, Who};
use crate::matrix::token::DEVICE_MAX;
use crate::object;
use lavina_core::command::{Act, Audience, EntityId};
use lavina_core::ids::Pos;
use lavina_core::query::{Query, Value};
use lavina_core::row;
use lavina_core::text::{Octets, Str};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Put "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device" Must put),
    route!(Get "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device" Must get),
    route!(Delete "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device" Must delete),
    route!(Post "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device}/events" Must events),
];

/// Under which name its id and its secrets are on the account's shelf.
const SHELF: &str = "dehydrated";

/// Letters of one answer; the next has more.
const LETTERS: u32 = 100;

/// The id of the user's dehydrated device and its secrets, if there is one that was not removed among the devices.
async fn find(ctx: &Ctx) -> Result<Option<(Str, Json)>, Error> {
    let query = Query::Shelf { account: ctx.user()?.id, prefix: Str::new(SHELF), after: None, limit: 1 };
    let Value::Shelf(found) = ctx.query(query).await? else { return Ok(None) };
    let kept = found.iter().find(|(key, _)| *key == *SHELF).and_then(|(_, value)| Json::parse(value).ok());
    let Some(mut kept) = kept else { return Ok(None) };
    let (Some(id), data) = (kept.str_of("device_id").map(Str::new), kept.take("device_data")) else {
        return Ok(None);
    };
    let there = DeviceRow::find(&*account(ctx).await?, &id).is_some();
    Ok(data.filter(|_| there).map(|data| (id, data)))
}

fn none() -> Error {
    Error::not_found("there is no dehydrated device")
}

async fn put(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let missing = |name: &str| Error::missing_param(format!("{name} is missing"));
    let id = body.str_of("device_id").ok_or_else(|| missing("device_id"))?;
    if id.is_empty() || id.len() > DEVICE_MAX || id.contains('/') {
        return Err(Error::invalid_param("device_id must have 1 to 255 bytes and no slash"));
    }
    let data = body.get("device_data").ok_or_else(|| missing("device_data"))?;
    if data.as_object().is_none() {
        return Err(Error::bad_json("device_data must be an object"));
    }
    body.get("device_keys").filter(|k| !k.is_null()).ok_or_else(|| missing("device_keys"))?;
    let who = Who { user: ctx.user()?.clone(), device: Str::new(id) };
    let old = find(&ctx).await?.map(|(id, _)| id);
    let there = account(&ctx).await?;
    if old.as_ref() != Some(&who.device) && DeviceRow::find(&there, id).is_some() {
        return Err(Error::invalid_param("another device has that id"));
    }
    if old.is_none() && DeviceRow::all(&there).count() >= DEVICES {
        return Err(Error::forbidden("this account has too many devices; log some of them out"));
    }
    // Bad keys are refused before the old device goes.
    given_keys(&ctx, &there, &who, &body)?;
    remove_devices(&ctx, &who.user, old.into_iter().collect()).await?;
    let (mut values, _) = given_keys(&ctx, &*account(&ctx).await?, &who, &body)?;
    let now = ctx.now().wall;
    let name = body.str_of("initial_device_display_name").map(Str::new);
    let device = DeviceRow { name, created: now, seen: now, ..DeviceRow::default() };
    values.push((DeviceRow::key(id), Octets::from(row::encode(&device))));
    let kept = object! { "device_id" => id, "device_data" => data.clone() };
    let to = EntityId::Account(who.user.id);
    let shelve = Act::Shelve { values: vec![(Str::new(SHELF), Octets::from(kept.to_bytes()))] };
    ctx.act(to.clone(), shelve).await?;
    ctx.act(to, Act::SetAttrs { values, tell: Audience::Own, native: None }).await?;
    tell_changed(&ctx, &who.user).await?;
    Ok(Response::ok(&object! { "device_id" => id }))
}

async fn get(ctx: Ctx, _: Request) -> Answer {
    let (id, data) = find(&ctx).await?.ok_or_else(none)?;
    Ok(Response::ok(&object! { "device_id" => id, "device_data" => data }))
}

async fn delete(ctx: Ctx, _: Request) -> Answer {
    let (id, _) = find(&ctx).await?.ok_or_else(none)?;
    let user = ctx.user()?.clone();
    let shelve = Act::Shelve { values: vec![(Str::new(SHELF), Octets::default())] };
    ctx.act(EntityId::Account(user.id), shelve).await?;
    remove_devices(&ctx, &user, vec![id.clone()]).await?;
    Ok(Response::ok(&object! { "device_id" => id }))
}

/// What came for it. Nothing goes before the device does, so that a client that fails half-way can begin anew.
async fn events(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let (id, _) = find(&ctx).await?.ok_or_else(none)?;
    if *id != *request.arg(0) {
        return Err(Error::forbidden("that is not your dehydrated device"));
    }
    let after = match body.get("next_batch").filter(|token| !token.is_null()) {
        None => Pos::ZERO,
        Some(token) => {
            let pos = token.as_str().and_then(|t| t.strip_prefix('d')).and_then(|t| t.parse().ok());
            Pos(pos.ok_or_else(|| Error::invalid_param("next_batch is no token of this server"))?)
        }
    };
    let account = ctx.user()?.id;
    let query = Query::Letters { account, label: agent::label(&id), after, limit: LETTERS };
    let Value::Letters(found) = ctx.query(query).await? else {
        return Err(Error::unavailable("the server cannot tell; try again"));
    };
    let last = found.last().map_or(after, |(pos, _)| *pos);
    let letters: Vec<Json> = found.iter().filter_map(|(_, letter)| Json::parse(letter).ok()).collect();
    Ok(Response::ok(&object! { "events" => letters, "next_batch" => format!("d{}", last.0) }))
}
