//! Finding people, and reporting them (client-server API, "User directory", "Mutual rooms", "Reporting content").

use crate::json::Json;
use crate::matrix::api::{login, profile};
use crate::matrix::error::Error;
use crate::matrix::ids::{self, account_id, user_id};
use crate::matrix::member;
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms;
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::ids::{AccountId, RoomId};
use lavina_core::log::{Level, Log};
use lavina_core::policy::{JoinRule, Membership};
use lavina_core::query::{Query, RoomView, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Post "/_matrix/client/v3/user_directory/search" Must search),
    route!(Get "/_matrix/client/v1/mutual_rooms" Must mutual_rooms),
    route!(Get "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms" Must mutual_rooms),
    route!(Post "/_matrix/client/v3/rooms/{room}/report" Must report_room),
    route!(Post "/_matrix/client/v3/rooms/{room}/report/{event}" Must report_event),
    route!(Post "/_matrix/client/v3/users/{user}/report" Must report_user),
];

/// Rooms whose members are searched.
const ROOMS_MAX: usize = 500;

/// Public rooms whose members are searched.
const PUBLIC_MAX: u32 = 100;

/// People of an answer that says no limit, and the highest limit.
const FOUND: u64 = 10;
const FOUND_MAX: u64 = 50;

async fn search(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let term = body.str_of("search_term").ok_or_else(|| Error::missing_param("search_term is missing"))?;
    let words: Vec<String> = term.to_lowercase().split_whitespace().map(str::to_owned).collect();
    let limit = match body.get("limit").map(Json::as_int) {
        None => FOUND,
        Some(Some(n)) => u64::try_from(n).unwrap_or(0).clamp(1, FOUND_MAX),
        Some(None) => return Err(Error::invalid_param("limit must be a number")),
    };
    let mut looked: BTreeMap<AccountId, Option<Json>> = BTreeMap::new();
    let mut found = 0;
    for room in rooms_seen(&ctx).await? {
        if found > limit {
            break;
        }
        if let Ok(view) = rooms::view(&ctx, room).await {
            found += look(&ctx, &view, &words, &mut looked, limit + 1 - found).await?;
        }
    }
    let limited = found > limit;
    let results: Vec<Json> = looked.into_values().flatten().take(limit as usize).collect();
    Ok(Response::ok(&object! { "results" => results, "limited" => limited }))
}

/// The rooms that whoever asks is in, and public ones.
async fn rooms_seen(ctx: &Ctx) -> Result<BTreeSet<RoomId>, Error> {
    let mut out = BTreeSet::new();
    if let Value::Memberships(list) = ctx.query(Query::Memberships(ctx.user()?.id)).await? {
        let joined = list.iter().filter(|b| b.member.standing.membership == Membership::Joined);
        out.extend(joined.map(|b| b.room).take(ROOMS_MAX));
    }
    let directory = Query::Directory { after: None, limit: PUBLIC_MAX, secret: false };
    if let Value::Directory(list) = ctx.query(directory).await? {
        out.extend(list.iter().filter(|l| l.head.policy.join == JoinRule::Public).map(|l| l.room));
    }
    if let Value::Directory(list) = ctx.query(Query::Nameless { after: None, limit: PUBLIC_MAX }).await? {
        out.extend(list.iter().filter(|l| l.head.policy.join == JoinRule::Public).map(|l| l.room));
    }
    Ok(out)
}

/// Members of a room whose name or id has all the words in it, `most` at most; gives how many. What somebody is called in
/// one room only is for those in it: people are found, and shown, by their profiles.
async fn look(
    ctx: &Ctx,
    view: &RoomView,
    words: &[String],
    looked: &mut BTreeMap<AccountId, Option<Json>>,
    most: u64,
) -> Result<u64, Error> {
    let me = ctx.user()?.id;
    let mut found = 0;
    for member in view.members.values() {
        let id = member.user.id;
        let there = member.standing.membership == Membership::Joined && !member.user.is_guest();
        let content = member::of_row(member);
        let called = content.str_of("displayname").unwrap_or_default();
        if !there
            || id == me
            || looked.contains_key(&id)
            || !fits(&user_id(&member.user, ctx.domain()), called, words)
        {
            continue;
        }
        let Ok(Value::Account(account)) = ctx.query(Query::Account(id)).await else { continue };
        let entry = shown(&user_id(&member.user, ctx.domain()), &profile::fields(&account), words);
        found += u64::from(entry.is_some());
        looked.insert(id, entry);
        if found >= most {
            break;
        }
    }
    Ok(found)
}

fn fits(id: &str, name: &str, words: &[String]) -> bool {
    let text = format!("{} {id}", name.to_lowercase());
    words.iter().all(|word| text.contains(word.as_str()))
}

/// Somebody in an answer, if his profile has the words.
fn shown(id: &str, profile: &Json, words: &[String]) -> Option<Json> {
    let name = profile.str_of("displayname").unwrap_or_default();
    fits(id, name, words).then(|| {
        let mut entry = object! { "user_id" => id, "display_name" => name };
        if let Some(url) = profile.str_of("avatar_url") {
            entry.set("avatar_url", url);
        }
        entry
    })
}

/// The rooms that whoever asks and somebody else are both in. Of nobody, and of who is not here, there are none.
async fn mutual_rooms(ctx: Ctx, request: Request) -> Answer {
    let said = request.param("user_id").ok_or_else(|| Error::missing_param("user_id is missing"))?;
    if request.param("from").is_some() {
        return Err(Error::invalid_param("from is no token of this server"));
    }
    let me = ctx.user()?.id;
    let other = match ids::who(said, ctx.domain()) {
        Some(ids::Who::Local(name)) => login::find(&ctx, &name).await?.map(|account| account.id),
        Some(_) => None,
        None => return Err(Error::invalid_param("that is no user id")),
    };
    if other == Some(me) {
        return Err(Error::invalid_param("with oneself one shares all rooms"));
    }
    let own = joined(&ctx, me).await?;
    let theirs = match other {
        Some(other) => joined(&ctx, other).await?,
        None => BTreeSet::new(),
    };
    let mut shared = Vec::new();
    for room in own.intersection(&theirs) {
        shared.push(rooms::room_id(&ctx, *room).await?);
    }
    Ok(Response::ok(&object! { "count" => shared.len(), "joined" => shared }))
}

/// The rooms that an account is in.
async fn joined(ctx: &Ctx, account: AccountId) -> Result<BTreeSet<RoomId>, Error> {
    let Value::Memberships(list) = ctx.query(Query::Memberships(account)).await? else {
        return Ok(BTreeSet::new());
    };
    let joined = list.iter().filter(|b| b.member.standing.membership == Membership::Joined);
    Ok(joined.map(|b| b.room).collect())
}

// --- reports: the administrators find them in the log, by ids alone ---

async fn report_event(ctx: Ctx, request: Request) -> Answer {
    check_reason(&request)?;
    let score = request.json()?.get("score").cloned();
    if score.is_some_and(|score| !score.is_null() && score.as_int().is_none()) {
        return Err(Error::bad_json("score must be a whole number"));
    }
    let unknown = || Error::not_found("there is no such event, or you may not see it");
    let view = rooms::known_view(&ctx, request.arg(0)).await.map_err(|_| unknown())?;
    let user = ctx.user()?;
    let event = rooms::event_ref(&ctx, request.arg(1)).await?.filter(|e| e.room == view.id);
    let event = event.ok_or_else(unknown)?;
    let readable = view.readable(user.id).filter(|r| event.is_create() || r.has(event.pos));
    readable.ok_or_else(unknown)?;
    if !event.is_create() && rooms::entry(&ctx, view.id, event.pos).await?.is_none() {
        return Err(unknown());
    }
    log(&ctx, "an event is reported", "event", request.arg(1)).await
}

async fn report_room(ctx: Ctx, request: Request) -> Answer {
    check_reason(&request)?;
    let room = rooms::room_of(&ctx, request.arg(0)).await?;
    rooms::view(&ctx, room).await?;
    log(&ctx, "a room is reported", "room", request.arg(0)).await
}

async fn report_user(ctx: Ctx, request: Request) -> Answer {
    check_reason(&request)?;
    let account = rooms::account_of(&ctx, request.arg(0)).await?;
    let name = account.user().map(|user| account_id(&user.name, ctx.domain())).unwrap_or_default();
    log(&ctx, "a user is reported", "user", &name).await
}

/// The reason is for people and stays out of the log.
fn check_reason(request: &Request) -> Result<(), Error> {
    crate::matrix::api::members::reason(&request.json()?).map(drop)
}

async fn log(ctx: &Ctx, what: &'static str, name: &'static str, id: &str) -> Answer {
    let by = user_id(ctx.user()?, ctx.domain());
    let line = Log::new(Level::Warn, what).with(name, id).with("by", by);
    ctx.with(move |_, cx| cx.log(line)).await;
    Ok(Response::done())
}
