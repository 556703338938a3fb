//! Backup of message keys (client-server API, "Server-side key backups"): on the account's shelf.

use super::login::account;
use crate::json::Json;
use crate::matrix::error::Error;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience, EntityId};
use lavina_core::query::{Query, Value};
use lavina_core::text::{Octets, Str};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Post "/_matrix/client/v3/room_keys/version" Must create),
    route!(Get "/_matrix/client/v3/room_keys/version" Must latest),
    route!(Get "/_matrix/client/v3/room_keys/version/{version}" Must get_version),
    route!(Put "/_matrix/client/v3/room_keys/version/{version}" Must put_version),
    route!(Delete "/_matrix/client/v3/room_keys/version/{version}" Must delete_version),
    route!(Get "/_matrix/client/v3/room_keys/keys" Must get),
    route!(Put "/_matrix/client/v3/room_keys/keys" Must put),
    route!(Delete "/_matrix/client/v3/room_keys/keys" Must delete),
    route!(Get "/_matrix/client/v3/room_keys/keys/{room}" Must get),
    route!(Put "/_matrix/client/v3/room_keys/keys/{room}" Must put),
    route!(Delete "/_matrix/client/v3/room_keys/keys/{room}" Must delete),
    route!(Get "/_matrix/client/v3/room_keys/keys/{room}/{session}" Must get),
    route!(Put "/_matrix/client/v3/room_keys/keys/{room}/{session}" Must put),
    route!(Delete "/_matrix/client/v3/room_keys/keys/{room}/{session}" Must delete),
];

/// What the names of values begin with that hold versions of a backup; the number follows.
const VERSION: &str = "m.backup/";

/// Keys of one account's backups; above: 400.
const KEYS_MAX: i64 = 200_000;

/// Values of one command to the shelf.
const BATCH: usize = 256;

/// The versions of an account: number and content; deleted ones too, marked.
fn versions(account: &Account) -> Vec<(u64, Json)> {
    let all = account.attrs.range(Str::new(VERSION)..).take_while(|(key, _)| key.starts_with(VERSION));
    let mut all: Vec<_> = all
        .filter_map(|(key, value)| Some((key[VERSION.len()..].parse().ok()?, Json::parse(value).ok()?)))
        .collect();
    all.sort_by_key(|(n, _)| *n);
    all
}

fn is_deleted(version: &Json) -> bool {
    version.get("deleted").is_some()
}

async fn create(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let (algorithm, data) = content(&body)?;
    let account = account(&ctx).await?;
    let next = versions(&account).last().map_or(1, |(n, _)| n + 1);
    let version = object! { "algorithm" => algorithm, "auth_data" => data, "etag" => 0, "count" => 0 };
    save(&ctx, next, &version).await?;
    Ok(Response::ok(&object! { "version" => next.to_string() }))
}

fn content(body: &Json) -> Result<(Str, Json), Error> {
    let algorithm = body.str_of("algorithm").ok_or_else(|| Error::missing_param("algorithm is missing"))?;
    let data = body.get("auth_data").filter(|d| d.as_object().is_some());
    let data = data.ok_or_else(|| Error::missing_param("auth_data is missing"))?;
    Ok((Str::new(algorithm), data.clone()))
}

async fn save(ctx: &Ctx, number: u64, version: &Json) -> Result<(), Error> {
    let values = vec![(Str::new(format!("{VERSION}{number}")), Octets::from(version.to_bytes()))];
    let act = Act::SetAttrs { values, tell: Audience::Nobody, native: None };
    ctx.act(EntityId::Account(ctx.user()?.id), act).await?;
    Ok(())
}

fn no_backup() -> Error {
    Error::not_found("there is no such backup")
}

async fn latest(ctx: Ctx, _: Request) -> Answer {
    let account = account(&ctx).await?;
    let all = versions(&account);
    let (number, version) = all.iter().rfind(|(_, v)| !is_deleted(v)).ok_or_else(no_backup)?;
    Ok(Response::ok(&shown(*number, version)))
}

fn shown(number: u64, version: &Json) -> Json {
    let mut shown = version.clone();
    let etag = version.int_at("etag").unwrap_or_default();
    shown.set("etag", etag.to_string());
    shown.set("version", number.to_string());
    shown
}

async fn version(ctx: &Ctx, number: &str) -> Result<(u64, Json), Error> {
    let account = account(ctx).await?;
    let number: u64 = number.parse().map_err(|_| no_backup())?;
    versions(&account).into_iter().find(|(n, v)| *n == number && !is_deleted(v)).ok_or_else(no_backup)
}

async fn get_version(ctx: Ctx, request: Request) -> Answer {
    let (number, version) = version(&ctx, request.arg(0)).await?;
    Ok(Response::ok(&shown(number, &version)))
}

async fn put_version(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let (algorithm, data) = content(&body)?;
    let (number, mut version) = version(&ctx, request.arg(0)).await?;
    if body.str_of("version").is_some_and(|v| v != request.arg(0)) {
        return Err(Error::invalid_param("version is another than in the path"));
    }
    if version.str_of("algorithm") != Some(&*algorithm) {
        return Err(Error::invalid_param("the algorithm of a backup stays"));
    }
    version.set("auth_data", data);
    save(&ctx, number, &version).await?;
    Ok(Response::done())
}

async fn delete_version(ctx: Ctx, request: Request) -> Answer {
    let (number, _) = version(&ctx, request.arg(0)).await?;
    // The number stays known, so that it is never given again.
    save(&ctx, number, &object! { "deleted" => true }).await?;
    let keys =
        read(&ctx, &prefix(number, "", "")).await?.into_iter().map(|(key, _)| (key, Octets::default()));
    write(&ctx, keys.collect()).await?;
    Ok(Response::done())
}

/// What the names on the shelf begin with; a room or session that is not said is left out.
fn prefix(number: u64, room: &str, session: &str) -> Str {
    Str::new(match (room, session) {
        ("", _) => format!("backup/{number}/"),
        (room, "") => format!("backup/{number}/{room}/"),
        (room, session) => format!("backup/{number}/{room}/{session}"),
    })
}

/// Everything on the shelf whose name begins so, or, for one session, has this name.
async fn read(ctx: &Ctx, prefix: &Str) -> Result<Vec<(Str, Octets)>, Error> {
    let account = ctx.user()?.id;
    let mut all: Vec<(Str, Octets)> = Vec::new();
    loop {
        let after = all.last().map(|(key, _)| key.clone());
        let query = Query::Shelf { account, prefix: prefix.clone(), after, limit: 200 };
        let Value::Shelf(page) = ctx.query(query).await? else { return Ok(all) };
        all.extend(page.iter().cloned());
        if page.len() < 200 {
            return Ok(all);
        }
    }
}

async fn write(ctx: &Ctx, mut values: Vec<(Str, Octets)>) -> Result<(), Error> {
    let to = EntityId::Account(ctx.user()?.id);
    while !values.is_empty() {
        let rest = values.split_off(values.len().min(BATCH));
        ctx.act(to.clone(), Act::Shelve { values }).await?;
        values = rest;
    }
    Ok(())
}

/// The version that a request for keys names.
async fn wanted(ctx: &Ctx, request: &Request) -> Result<(u64, Json), Error> {
    let number = request.param("version").ok_or_else(|| Error::missing_param("version is missing"))?;
    version(ctx, number).await
}

async fn get(ctx: Ctx, request: Request) -> Answer {
    let (number, _) = wanted(&ctx, &request).await?;
    let (room, session) = (request.arg(0), request.arg(1));
    let name = prefix(number, room, session);
    let found = read(&ctx, &name).await?;
    if !session.is_empty() {
        let exact = found.iter().find(|(key, _)| *key == name).and_then(|(_, v)| Json::parse(v).ok());
        return exact.map(|key| Response::ok(&key)).ok_or_else(|| Error::not_found("there is no such key"));
    }
    let start = prefix(number, "", "").len();
    let mut rooms = Json::object();
    for (key, value) in &found {
        let Some((room, session)) = key[start..].split_once('/') else { continue };
        let Ok(value) = Json::parse(value) else { continue };
        let mut entry = rooms.take(room).unwrap_or_else(|| object! { "sessions" => Json::object() });
        let mut sessions = entry.take("sessions").unwrap_or_else(Json::object);
        sessions.set(session, value);
        entry.set("sessions", sessions);
        rooms.set(room, entry);
    }
    if room.is_empty() {
        return Ok(Response::ok(&object! { "rooms" => rooms }));
    }
    Ok(Response::ok(&rooms.take(room).unwrap_or_else(|| object! { "sessions" => Json::object() })))
}

async fn put(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let (number, mut version) = wanted(&ctx, &request).await?;
    let newest = versions(&*account(&ctx).await?).iter().rfind(|(_, v)| !is_deleted(v)).map(|(n, _)| *n);
    if newest != Some(number) {
        let current = newest.unwrap_or_default().to_string();
        return Err(Error::new(403, "M_WRONG_ROOM_KEYS_VERSION", "there is a newer backup")
            .with("current_version", current));
    }
    let given = given(&request, &body)?;
    let mut values = Vec::new();
    let mut added = 0;
    for (room, session, key) in given {
        let name = prefix(number, &room, &session);
        let old = read(&ctx, &name).await?.into_iter().find(|(k, _)| *k == name);
        match old.and_then(|(_, value)| Json::parse(&value).ok()) {
            Some(old) if !is_better(&key, &old) => continue,
            Some(_) => {}
            None => added += 1,
        }
        values.push((name, Octets::from(key.to_bytes())));
    }
    let count = version.int_at("count").unwrap_or_default() + added;
    if count > KEYS_MAX {
        return Err(Error::invalid_param("the backup is full"));
    }
    let etag = version.int_at("etag").unwrap_or_default() + i64::from(!values.is_empty());
    write(&ctx, values).await?;
    version.set("count", count);
    version.set("etag", etag);
    save(&ctx, number, &version).await?;
    Ok(Response::ok(&object! { "etag" => etag.to_string(), "count" => count }))
}

/// The keys of a request: room, session, key.
fn given(request: &Request, body: &Json) -> Result<Vec<(String, String, Json)>, Error> {
    let wrong = || Error::bad_json("rooms must hold sessions, and sessions keys");
    let (room, session) = (request.arg(0), request.arg(1));
    let key = |key: &Json| {
        let good = key.int_at("first_message_index").is_some() && key.get("session_data").is_some();
        if good { Ok(key.clone()) } else { Err(Error::missing_param("a key lacks what belongs to it")) }
    };
    let sessions = |room: &str, entry: &Json| -> Result<Vec<_>, Error> {
        let all = entry.get("sessions").and_then(Json::as_object).ok_or_else(wrong)?;
        all.iter().map(|(session, k)| Ok((room.to_owned(), session.to_string(), key(k)?))).collect()
    };
    if !session.is_empty() {
        return Ok(vec![(room.to_owned(), session.to_owned(), key(body)?)]);
    }
    if !room.is_empty() {
        return sessions(room, body);
    }
    let mut all = Vec::new();
    for (room, entry) in body.get("rooms").and_then(Json::as_object).ok_or_else(wrong)?.iter() {
        if room.contains('/') {
            return Err(Error::invalid_param("that is no room id"));
        }
        all.extend(sessions(room, entry)?);
    }
    Ok(all)
}

/// Which of two keys of a session is kept (client-server API, "Backup algorithm"): a verified one, that of the earlier
/// message, the one that was forwarded less often.
fn is_better(new: &Json, old: &Json) -> bool {
    let rank = |key: &Json| {
        let verified = key.get("is_verified").and_then(Json::as_bool) == Some(true);
        let number = |name| key.int_at(name).unwrap_or(i64::MAX);
        (!verified, number("first_message_index"), number("forwarded_count"))
    };
    rank(new) < rank(old)
}

async fn delete(ctx: Ctx, request: Request) -> Answer {
    let (number, mut version) = wanted(&ctx, &request).await?;
    let (room, session) = (request.arg(0), request.arg(1));
    let name = prefix(number, room, session);
    let found = read(&ctx, &name).await?.into_iter().filter(|(key, _)| session.is_empty() || *key == name);
    let gone: Vec<(Str, Octets)> = found.map(|(key, _)| (key, Octets::default())).collect();
    let count = (version.int_at("count").unwrap_or_default() - gone.len() as i64).max(0);
    let etag = version.int_at("etag").unwrap_or_default() + i64::from(!gone.is_empty());
    write(&ctx, gone).await?;
    version.set("count", count);
    version.set("etag", etag);
    save(&ctx, number, &version).await?;
    Ok(Response::ok(&object! { "etag" => etag.to_string(), "count" => count }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_key_is_kept() {
        let key = |first: i64, forwarded: i64, verified: bool| {
            object! { "first_message_index" => first, "forwarded_count" => forwarded, "is_verified" => verified }
        };
        let base = key(5, 1, false);
        for (other, better) in [
            (key(9, 1, false), false),
            (key(5, 2, false), false),
            (key(5, 1, false), false),
            (key(5, 0, false), true),
            (key(2, 9, false), true),
            (key(9, 9, true), true),
        ] {
            assert_eq!(is_better(&other, &base), better, "{other:?}");
        }
        assert!(!is_better(&base, &key(9, 9, true)));
    }
}
