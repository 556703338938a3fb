//! Keys of devices: upload, query, claim (client-server API, "End-to-End Encryption").

use super::cross;
use super::login::{account, find};
use crate::json::Json;
use crate::matrix::device::DeviceRow;
use crate::matrix::error::Error;
use crate::matrix::ids;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx, Who};
use crate::object;
use crate::session::MATRIX_NATIVE;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience, Command, EntityId};
use lavina_core::event::Native;
use lavina_core::name::User;
use lavina_core::policy::Membership;
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Post "/_matrix/client/v3/keys/upload" Must upload),
    route!(Post "/_matrix/client/v3/keys/query" Must query),
    route!(Post "/_matrix/client/v3/keys/claim" Must claim),
];

/// What the names of values begin with that hold the keys of a device; its id follows.
pub const DEVICE_KEYS: &str = "m.keys/";

/// The same for one-time keys: device, algorithm, when the key came (twelve hexadecimal digits of Unix milliseconds, so that
/// they are given out in that order) and the key's own id follow, divided by `/`.
pub const ONE_TIME: &str = "m.otk/";

/// The same for fallback keys: device and algorithm follow.
pub const FALLBACK: &str = "m.fallback/";

/// When the keys of the account's devices changed last: Unix milliseconds, eight bytes, big-endian.
pub const CHANGED: &str = "m.keys_changed";

/// What a signal to rooms says: the devices of its sender, or their keys, changed.
pub const CHANGED_SIGNAL: &[u8] = b"keys changed";

/// One-time keys of a device; above, the oldest go; more in one request: 400. Clients keep 50 here. Some forget that they are
/// here and bring new ones at each sync; in time they forget their own halves too, and then an old key is good for nothing.
pub const ONE_TIME_MAX: usize = 100;

/// Users of one query or claim; above: 400.
const USERS_MAX: usize = 1_000;

async fn upload(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let who = ctx.who()?.clone();
    let account = account(&ctx).await?;
    let (values, changed) = given_keys(&ctx, &account, &who, &body)?;
    if !values.is_empty() {
        let act = Act::SetAttrs { values, tell: Audience::Own, native: None };
        ctx.act(EntityId::Account(who.user.id), act).await?;
    }
    if changed {
        tell_changed(&ctx, &who.user).await?;
    }
    let account = account_of(&ctx, &who.user).await?;
    let mut counts = Json::object();
    for (algorithm, n) in count(&account, &who.device) {
        counts.set(algorithm, n);
    }
    Ok(Response::ok(&object! { "one_time_key_counts" => counts }))
}

/// The keys of a device in a request, as the account keeps them, and whether those that name it are new.
///
/// # Errors
/// Keys that cannot be that device's.
pub(super) fn given_keys(
    ctx: &Ctx,
    account: &Account,
    who: &Who,
    body: &Json,
) -> Result<(Vec<(Str, Octets)>, bool), Error> {
    let mut values: Vec<(Str, Octets)> = Vec::new();
    let mut changed = false;
    if let Some(keys) = body.get("device_keys").filter(|k| !k.is_null()) {
        let own = ids::user_id(&who.user, ctx.domain());
        check_device_keys(keys)?;
        if keys.str_of("user_id") != Some(&own) || keys.str_of("device_id") != Some(who.device.as_str()) {
            return Err(Error::invalid_param("device_keys are of another user or device"));
        }
        let key = Str::new(format!("{DEVICE_KEYS}{}", who.device));
        let bytes = keys.to_bytes();
        changed = account.attrs.get(&key).is_none_or(|old| **old != *bytes);
        values.push((key, Octets::from(bytes)));
    }
    for name in ["one_time_keys", "fallback_keys"] {
        if body.get(name).is_some_and(|keys| !keys.is_null() && keys.as_object().is_none()) {
            return Err(Error::bad_json(format!("{name} must be an object")));
        }
    }
    let given = |name: &str| body.get(name).and_then(Json::as_object).into_iter().flat_map(|m| m.iter());
    let known = values.len();
    let now = ctx.now().wall.0;
    for (id, key) in given("one_time_keys") {
        let (algorithm, name) = key_id(id)?;
        let bytes = key.to_bytes();
        match one_time(account, &who.device, algorithm).find(|(known, _)| *known == name).map(|(_, key)| key)
        {
            Some(old) if **old == *bytes => continue,
            Some(_) => {
                return Err(Error::invalid_param(format!(
                    "the one-time key {id} is there already, and another"
                )));
            }
            None => {}
        }
        let place = Str::new(format!("{ONE_TIME}{}/{algorithm}/{now:012x}/{name}", who.device));
        values.push((place, Octets::from(bytes)));
    }
    let added = values.len() - known;
    if added > ONE_TIME_MAX {
        return Err(Error::invalid_param("too many one-time keys at once"));
    }
    let old = too_old(account, &who.device, added).into_iter().map(|old| (old, Octets::default()));
    values.splice(known..known, old);
    for (id, key) in given("fallback_keys") {
        let (algorithm, _) = key_id(id)?;
        let place = Str::new(format!("{FALLBACK}{}/{algorithm}", who.device));
        let kept = object! { "id" => id, "key" => key.clone(), "used" => false };
        values.push((place, Octets::from(kept.to_bytes())));
    }
    Ok((values, changed))
}

/// Whether that can be the keys of a device at all.
fn check_device_keys(keys: &Json) -> Result<(), Error> {
    let list = keys.get("algorithms").and_then(Json::as_array);
    let objects =
        ["keys", "signatures"].iter().all(|name| keys.get(name).is_some_and(|v| v.as_object().is_some()));
    if objects && list.is_some_and(|list| list.iter().all(|a| a.as_str().is_some())) {
        return Ok(());
    }
    Err(Error::bad_json("device_keys must have algorithms, keys and signatures"))
}

/// The one-time keys of a device: id and key, in the order in which they came.
fn one_time<'a>(
    account: &'a Account,
    device: &str,
    algorithm: &str,
) -> impl Iterator<Item = (&'a str, &'a Octets)> + use<'a> {
    let prefix = format!("{ONE_TIME}{device}/{algorithm}/");
    let skip = prefix.len();
    let all = account.attrs.range(Str::new(&prefix)..).take_while(move |(key, _)| key.starts_with(&prefix));
    all.map(move |(key, value)| (own_id(&key[skip..]), value))
}

/// The names of the keys that make room for that many new ones.
fn too_old(account: &Account, device: &str, added: usize) -> Vec<Str> {
    let prefix = format!("{ONE_TIME}{device}/");
    let all = account.attrs.range(Str::new(&prefix)..).take_while(|(key, _)| key.starts_with(&prefix));
    let mut all: Vec<Str> = all.map(|(key, _)| key.clone()).collect();
    // By time, whatever the algorithm.
    all.sort_by_key(|key| key[prefix.len()..].split_once('/').map(|(_, rest)| rest.to_owned()));
    let over = (all.len() + added).saturating_sub(ONE_TIME_MAX);
    all.truncate(over);
    all
}

/// The id of a one-time key in the name under which it is kept. Older ones are kept without a time.
fn own_id(kept: &str) -> &str {
    let timed = |time: &str| time.len() == 12 && time.bytes().all(|b| b.is_ascii_hexdigit());
    kept.split_once('/').filter(|(time, _)| timed(time)).map_or(kept, |(_, id)| id)
}

async fn account_of(ctx: &Ctx, user: &User) -> Result<Arc<Account>, Error> {
    match ctx.query(Query::Account(user.id)).await? {
        Value::Account(account) => Ok(account),
        _ => Err(Error::not_found("there is no such user")),
    }
}

/// Algorithm and name of `algorithm:name`.
fn key_id(id: &str) -> Result<(&str, &str), Error> {
    let wrong = || Error::invalid_param(format!("{id} is no id of a key"));
    let (algorithm, name) = id.split_once(':').ok_or_else(wrong)?;
    let fine = |s: &str| !s.is_empty() && s.len() <= 255 && !s.contains('/');
    if fine(algorithm) && !name.is_empty() && name.len() <= 255 {
        Ok((algorithm, name))
    } else {
        Err(wrong())
    }
}

/// How many one-time keys a device has, by algorithm. `signed_curve25519` is always among them, as clients wait for it.
pub fn count<'a>(account: &'a Account, device: &str) -> BTreeMap<&'a str, usize> {
    let prefix = format!("{ONE_TIME}{device}/");
    let mut counts = BTreeMap::from([("signed_curve25519", 0)]);
    for (key, _) in account.attrs.range(Str::new(&prefix)..).take_while(|(key, _)| key.starts_with(&prefix)) {
        if let Some((algorithm, _)) = key[prefix.len()..].split_once('/') {
            *counts.entry(algorithm).or_insert(0) += 1;
        }
    }
    counts
}

/// The algorithms for which a device has a fallback key that was not used.
pub fn unused_fallbacks<'a>(account: &'a Account, device: &str) -> Vec<&'a str> {
    let prefix = format!("{FALLBACK}{device}/");
    let own = account.attrs.range(Str::new(&prefix)..).take_while(|(key, _)| key.starts_with(&prefix));
    let unused =
        |value: &[u8]| Json::parse(value).is_ok_and(|v| v.get("used").and_then(Json::as_bool) != Some(true));
    own.filter(|(_, value)| unused(value)).map(|(key, _)| &key[prefix.len()..]).collect()
}

/// The keys of an account's devices changed: noted for those who look later, and told to all who share a room.
///
/// # Errors
/// Where the store does not answer.
pub async fn tell_changed(ctx: &Ctx, user: &User) -> Result<(), Error> {
    let now = ctx.now().wall.0;
    let values = vec![(Str::new(CHANGED), Octets::from(now.to_be_bytes()))];
    let act = Act::SetAttrs { values, tell: Audience::Own, native: None };
    ctx.command(Command::by(user, EntityId::Account(user.id), act)).await?;
    let Value::Memberships(rooms) = ctx.query(Query::Memberships(user.id)).await? else { return Ok(()) };
    let joined = move |b: &&lavina_core::query::Belonging| b.member.standing.membership == Membership::Joined;
    let rooms: Vec<_> = rooms.iter().filter(joined).map(|b| b.room).collect();
    let by = user.clone();
    ctx.with(move |_, cx| {
        for room in rooms {
            let bytes = Octets::from(CHANGED_SIGNAL);
            cx.room_about(by.clone(), room, Native { protocol: MATRIX_NATIVE, bytes });
        }
    })
    .await;
    Ok(())
}

async fn query(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let asker = ctx.user()?.clone();
    let wrong = || Error::bad_json("device_keys must be an object of lists of device ids");
    let wanted = body.get("device_keys").and_then(Json::as_object).ok_or_else(wrong)?;
    if wanted.iter().count() > USERS_MAX {
        return Err(Error::invalid_param("too many users at once"));
    }
    let own = account(&ctx).await?;
    let mut found = [(); 4].map(|()| Json::object());
    for (id, devices) in wanted.iter() {
        let devices = devices.as_array().ok_or_else(wrong)?;
        let only: Vec<&str> = devices.iter().filter_map(Json::as_str).collect();
        let Some(ids::Who::Local(name)) = ids::who(id, ctx.domain()) else { continue };
        let Some(account) = find(&ctx, &name).await? else { continue };
        let mut of_user = Json::object();
        for (device, row) in DeviceRow::all(&account) {
            if !only.is_empty() && !only.contains(&device) {
                continue;
            }
            let key = Str::new(format!("{DEVICE_KEYS}{device}"));
            let Some(mut keys) = account.attrs.get(&key).and_then(|v| Json::parse(v).ok()) else { continue };
            let mut unsigned = Json::object();
            if let Some(name) = row.name.filter(|_| account.id == asker.id) {
                unsigned.set("device_display_name", name);
            }
            keys.set("unsigned", unsigned);
            of_user.set(device, keys);
        }
        let [all, masters, selves, users] = &mut found;
        all.set(id.clone(), of_user);
        for (kind, into) in [(cross::MASTER, masters), (cross::SELF_SIGNING, selves)] {
            if let Some(key) = cross::key_of(&account, kind, id, &own) {
                into.set(id.clone(), key);
            }
        }
        if account.id == asker.id
            && let Some(key) = cross::key_of(&account, cross::USER_SIGNING, id, &own)
        {
            users.set(id.clone(), key);
        }
    }
    let [all, masters, selves, users] = found;
    Ok(Response::ok(&object! {
        "device_keys" => all,
        "master_keys" => masters,
        "self_signing_keys" => selves,
        "user_signing_keys" => users,
        "failures" => Json::object(),
    }))
}

async fn claim(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let wrong = || Error::bad_json("one_time_keys must say an algorithm for each device of each user");
    let wanted = body.get("one_time_keys").and_then(Json::as_object).ok_or_else(wrong)?;
    let mut all = Json::object();
    for (id, devices) in wanted.iter().take(USERS_MAX) {
        let devices = devices.as_object().ok_or_else(wrong)?;
        let Some(ids::Who::Local(name)) = ids::who(id, ctx.domain()) else { continue };
        let Some(account) = find(&ctx, &name).await? else { continue };
        let mut of_user = Json::object();
        for (device, algorithm) in devices.iter() {
            let algorithm = algorithm.as_str().ok_or_else(wrong)?;
            if let Some((name, key)) = claim_one(&ctx, &account, device, algorithm).await? {
                let mut keys = Json::object();
                keys.set(format!("{algorithm}:{name}"), key);
                of_user.set(device.clone(), keys);
            }
        }
        if of_user != Json::object() {
            all.set(id.clone(), of_user);
        }
    }
    Ok(Response::ok(&object! { "one_time_keys" => all, "failures" => Json::object() }))
}

/// One key of a device: a one-time key, which is gone with that, or the fallback key.
async fn claim_one(
    ctx: &Ctx,
    account: &Account,
    device: &str,
    algorithm: &str,
) -> Result<Option<(String, Json)>, Error> {
    if device.contains('/') || algorithm.contains('/') {
        return Ok(None);
    }
    let prefix = Str::new(format!("{ONE_TIME}{device}/{algorithm}/"));
    let to = EntityId::Account(account.id);
    match ctx.act(to.clone(), Act::TakeAttr { prefix: prefix.clone() }).await {
        Ok(Value::Attr(key, value)) => {
            let name = own_id(key.strip_prefix(&*prefix).unwrap_or_default()).to_owned();
            return Ok(Json::parse(&value).ok().map(|key| (name, key)));
        }
        Ok(_) | Err(Refusal::NoSuchItem | Refusal::NoSuchUser | Refusal::Blocked) => {}
        Err(why) => return Err(why.into()),
    }
    let place = Str::new(format!("{FALLBACK}{device}/{algorithm}"));
    let Some(kept) = account.attrs.get(&place).and_then(|v| Json::parse(v).ok()) else { return Ok(None) };
    let (Some(id), Some(key)) = (kept.str_of("id"), kept.get("key")) else { return Ok(None) };
    let name = id.split_once(':').map_or("", |(_, name)| name).to_owned();
    let answer = Some((name, key.clone()));
    if kept.get("used").and_then(Json::as_bool) != Some(true) {
        let mut used = kept.clone();
        used.set("used", true);
        let values = vec![(place, Octets::from(used.to_bytes()))];
        let act = Act::SetAttrs { values, tell: Audience::Own, native: None };
        ctx.command(Command::by_server(to, act)).await?;
    }
    Ok(answer)
}
