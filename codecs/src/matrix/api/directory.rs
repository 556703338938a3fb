//! Aliases and the list of public rooms (client-server API, "Room aliases", "Published room directory").

use crate::json::Json;
use crate::matrix::api::members::needed;
use crate::matrix::api::state;
use crate::matrix::error::Error;
use crate::matrix::facts::Opening;
use crate::matrix::ids::{alias, user_id};
use crate::matrix::meaning;
use crate::matrix::pdu::Version;
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms;
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::ids::RoomId;
use lavina_core::name::{NameKey, RoomName};
use lavina_core::policy::{JoinRule, Membership, Policy, Visibility};
use lavina_core::query::{Listed, Query, RoomView, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/directory/room/{alias}" May get_alias),
    route!(Put "/_matrix/client/v3/directory/room/{alias}" Must put_alias),
    route!(Delete "/_matrix/client/v3/directory/room/{alias}" Must delete_alias),
    route!(Get "/_matrix/client/v3/rooms/{room}/aliases" Must aliases),
    route!(Get "/_matrix/client/v3/directory/list/room/{room}" May get_visibility),
    route!(Put "/_matrix/client/v3/directory/list/room/{room}" Must put_visibility),
    route!(Get "/_matrix/client/v3/publicRooms" May public_rooms),
    route!(Post "/_matrix/client/v3/publicRooms" Must search_rooms),
];

/// What the names of a room's values begin with that say who made a further alias of it; the alias's name follows.
pub const ALIAS: &str = "ma/";

/// Aliases of one room besides its name; above: refused.
const ALIASES_MAX: usize = 100;

/// Public rooms that are looked at for one answer; above: the rest is left out.
const LISTED_MAX: usize = 20_000;

/// Rooms of an answer that says no limit, and the highest limit.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;

/// What a token of the list begins with; a place in it follows. Some clients take a bare `0` for no token at all.
const PLACE: &str = "r";

// --- aliases ---

async fn get_alias(ctx: Ctx, request: Request) -> Answer {
    let name = rooms::name_of(&ctx, request.arg(0))?;
    let unknown = || Error::not_found("no room has that alias");
    let room = rooms::resolve(&ctx, &name).await?.ok_or_else(unknown)?;
    // A name may be taken for a room that was never made.
    let view = seen(&ctx, room).await.map_err(|_| unknown())?;
    let id = rooms::name_of_view(&ctx, &view);
    Ok(Response::ok(&object! { "room_id" => id, "servers" => [ctx.domain()] }))
}

/// A room that is shown. What a user sees has its id for ever; who is nobody here makes no entries.
///
/// # Errors
/// 404 where there is none any more.
pub(super) async fn seen(ctx: &Ctx, room: RoomId) -> Result<Arc<RoomView>, Error> {
    match ctx.user() {
        Ok(_) => rooms::open_view(ctx, room).await,
        Err(_) => rooms::view(ctx, room).await,
    }
}

async fn put_alias(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let name = match crate::matrix::ids::room_name(request.arg(0), ctx.domain()) {
        Some(Ok(name)) => name,
        _ => return Err(Error::invalid_param("this cannot be an alias of a room here")),
    };
    let id = body.str_of("room_id").ok_or_else(|| Error::missing_param("room_id is missing"))?;
    let view = rooms::joined_view(&ctx, id).await?;
    let taken = || Error::new(409, "M_UNKNOWN", "the alias is taken");
    if view.attrs.keys().filter(|key| key.starts_with(ALIAS)).count() >= ALIASES_MAX {
        return Err(Error::forbidden("the room has too many aliases"));
    }
    if rooms::resolve(&ctx, &name).await?.is_some() {
        return Err(taken());
    }
    let to = EntityId::Name(NameKey::Room(name.clone()));
    match ctx.act(to, Act::Claim { id: view.id.0 }).await {
        Ok(Value::Id(id)) if id == view.id.0 => {}
        Ok(_) | Err(Refusal::NameTaken) => return Err(taken()),
        Err(why) => return Err(why.into()),
    }
    let maker = user_id(ctx.user()?, ctx.domain());
    note_alias(&ctx, view.id, &name, Octets::from(maker.as_bytes())).await?;
    Ok(Response::done())
}

/// Notes who made an alias; empty: it is no more.
async fn note_alias(ctx: &Ctx, room: RoomId, name: &RoomName, maker: Octets) -> Result<(), Error> {
    let act = Act::SetRoomAttr { key: Str::new(format!("{ALIAS}{name}")), value: maker };
    ctx.command(Command::by_server(EntityId::Room(room), act)).await?;
    Ok(())
}

async fn delete_alias(ctx: Ctx, request: Request) -> Answer {
    let name = rooms::name_of(&ctx, request.arg(0))?;
    let unknown = || Error::not_found("no room has that alias");
    let room = rooms::resolve(&ctx, &name).await?.ok_or_else(unknown)?;
    let view = rooms::view(&ctx, room).await.map_err(|_| unknown())?;
    let user = ctx.user()?;
    let key = Str::new(format!("{ALIAS}{name}"));
    let made = view.attrs.get(&key).is_some_and(|maker| **maker == *user_id(user, ctx.domain()).as_bytes());
    let may = rooms::membership(&view, user) == Membership::Joined
        && rooms::power(&view, user) >= needed(&view, "m.room.canonical_alias");
    if !made && !may && !rooms::is_admin(&ctx).await? {
        return Err(Error::forbidden("you did not make this alias"));
    }
    if view.head.name.as_ref() == Some(&name) {
        return Err(Error::forbidden("people know the room by this name on IRC and XMPP; rename it first"));
    }
    let act = Act::Release { id: room.0, lock: false };
    ctx.command(Command::by_server(EntityId::Name(NameKey::Room(name.clone())), act)).await?;
    note_alias(&ctx, room, &name, Octets::default()).await?;
    if may {
        forget_canonical(&ctx, &view, &alias(&name, ctx.domain())).await?;
    }
    Ok(Response::done())
}

/// An alias that is no more is not the canonical one either.
async fn forget_canonical(ctx: &Ctx, view: &RoomView, gone: &str) -> Result<(), Error> {
    let Some(mut content) = rooms::content(&view.facts, "m.room.canonical_alias", "") else { return Ok(()) };
    let before = content.clone();
    if content.str_of("alias") == Some(gone) {
        content.take("alias");
    }
    if let Some(list) = content.get("alt_aliases").and_then(Json::as_array) {
        let list: Vec<Json> = list.iter().filter(|a| a.as_str() != Some(gone)).cloned().collect();
        content.set("alt_aliases", list);
    }
    if content != before {
        state::set(ctx, view.id, "m.room.canonical_alias", "", content).await?;
    }
    Ok(())
}

async fn aliases(ctx: Ctx, request: Request) -> Answer {
    let view = rooms::known_view(&ctx, request.arg(0)).await?;
    let open = view.policy().history == Visibility::World;
    if !open && rooms::membership(&view, ctx.user()?) != Membership::Joined {
        return Err(Error::forbidden("you are not in the room"));
    }
    let names: Vec<String> = names(&view).iter().map(|name| alias(name, ctx.domain())).collect();
    Ok(Response::ok(&object! { "aliases" => names }))
}

/// All names of a room.
pub(super) fn names(view: &RoomView) -> Vec<RoomName> {
    let more = view.attrs.keys().filter_map(|key| RoomName::new(key.strip_prefix(ALIAS)?).ok());
    view.head.name.iter().cloned().chain(more).collect()
}

// --- the list ---

async fn get_visibility(ctx: Ctx, request: Request) -> Answer {
    let room = rooms::room_of(&ctx, request.arg(0)).await?;
    let view = rooms::view(&ctx, room).await?;
    let word = if view.policy().secret { "private" } else { "public" };
    Ok(Response::ok(&object! { "visibility" => word }))
}

async fn put_visibility(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let secret = match body.str_of("visibility") {
        None | Some("public") => false,
        Some("private") => true,
        Some(_) => return Err(Error::invalid_param("visibility must be public or private")),
    };
    let room = rooms::room_of(&ctx, request.arg(0)).await?;
    let view = rooms::open_view(&ctx, room).await?;
    let user = ctx.user()?;
    let may = rooms::membership(&view, user) == Membership::Joined
        && rooms::power(&view, user) >= needed(&view, "m.room.canonical_alias");
    if view.parties.is_some() || !(may || rooms::is_admin(&ctx).await?) {
        return Err(Error::forbidden("you may not change where the room is listed"));
    }
    let from_level = view.policy().levels.state;
    let from = view.policy().clone();
    let to = Policy { secret, ..from.clone() };
    let act = Act::SetPolicy { from: Box::new(from), to: Box::new(to) };
    let may = rooms::power(&view, user) >= from_level;
    let to = EntityId::Room(room);
    // Whoever may list the room may not always change its other rules.
    if may {
        ctx.act(to, act).await?
    } else {
        ctx.command(Command::by_server(to, act)).await?
    };
    Ok(Response::done())
}

async fn public_rooms(ctx: Ctx, request: Request) -> Answer {
    let number = request.number("limit")?;
    let wanted = Wanted {
        limit: number,
        since: request.param("since").map(str::to_owned),
        server: request.param("server").map(str::to_owned),
        ..Wanted::default()
    };
    list(&ctx, wanted).await
}

async fn search_rooms(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let filter = body.get("filter").cloned().unwrap_or_else(Json::object);
    let limit = match body.get("limit") {
        None | Some(Json::Null) => None,
        Some(n) => Some(
            n.as_int()
                .and_then(|n| u64::try_from(n).ok())
                .ok_or_else(|| Error::invalid_param("limit must be a number that is not negative"))?,
        ),
    };
    let types = filter.get("room_types").and_then(Json::as_array);
    let wanted = Wanted {
        limit,
        since: body.str_of("since").map(str::to_owned),
        server: request.param("server").map(str::to_owned),
        term: filter.str_of("generic_search_term").unwrap_or_default().to_lowercase(),
        types: types.map(|types| types.iter().map(|t| t.as_str().map(str::to_owned)).collect()),
    };
    list(&ctx, wanted).await
}

/// Which rooms are wanted.
#[derive(Default)]
struct Wanted {
    limit: Option<u64>,
    since: Option<String>,
    server: Option<String>,
    term: String,
    types: Option<Vec<Option<String>>>,
}

impl Wanted {
    fn fits(&self, listed: &Listed, domain: &str) -> bool {
        let head = &listed.head;
        let opening = head.open.as_ref().and_then(|how| Opening::read(how));
        let kind = opening.and_then(|o| o.content.str_of("type").map(str::to_owned));
        if self.types.as_ref().is_some_and(|types| !types.contains(&kind)) {
            return false;
        }
        let alias = head.name.as_ref().map(|name| alias(name, domain)).unwrap_or_default();
        let topic = listed.topic.as_ref().map(|t| t.text.text.as_str()).unwrap_or_default();
        self.term.is_empty()
            || [head.policy.title.as_str(), topic, alias.as_str()]
                .iter()
                .any(|text| text.to_lowercase().contains(&self.term))
    }
}

/// A page of the list, the largest rooms first. Its tokens are places in it.
async fn list(ctx: &Ctx, wanted: Wanted) -> Answer {
    if wanted.server.as_ref().is_some_and(|server| *server != ctx.domain()) {
        return Err(Error::not_found("that server cannot be reached from here"));
    }
    let from = match &wanted.since {
        Some(since) => {
            let place = since.strip_prefix(PLACE).and_then(|n| n.parse().ok());
            place.ok_or_else(|| Error::invalid_param("since is no token of this list"))?
        }
        None => 0,
    };
    let limit = wanted.limit.map_or(PAGE, |n| usize::try_from(n).unwrap_or(PAGE_MAX).min(PAGE_MAX));
    let mut all = all(ctx).await?;
    all.retain(|listed| wanted.fits(listed, ctx.domain()));
    all.sort_by_key(|listed| (std::cmp::Reverse(listed.members), listed.room));
    let mut chunk = Vec::new();
    for listed in all.iter().skip(from).take(limit) {
        if let Ok(view) = seen(ctx, listed.room).await {
            chunk.push(entry(ctx, &view));
        }
    }
    let mut answer = object! { "chunk" => chunk, "total_room_count_estimate" => all.len() };
    if limit > 0 && from + limit < all.len() {
        answer.set("next_batch", format!("{PLACE}{}", from + limit));
    }
    if from > 0 {
        answer.set("prev_batch", format!("{PLACE}{}", from.saturating_sub(limit.max(1))));
    }
    Ok(Response::ok(&answer))
}

/// All rooms of the list.
async fn all(ctx: &Ctx) -> Result<Vec<Listed>, Error> {
    let limit = ctx.settings().core.limits.page.max(1);
    let mut out = Vec::new();
    let mut after: Option<RoomName> = None;
    while out.len() < LISTED_MAX {
        let query = Query::Directory { after: after.clone(), limit, secret: false };
        let Value::Directory(found) = ctx.query(query).await? else { break };
        out.extend(found.iter().cloned());
        after = found.last().and_then(|l| l.head.name.clone());
        if found.len() < limit as usize || after.is_none() {
            break;
        }
    }
    let mut after: Option<RoomId> = None;
    while out.len() < LISTED_MAX {
        let Value::Directory(found) = ctx.query(Query::Nameless { after, limit }).await? else { break };
        out.extend(found.iter().cloned());
        after = found.last().map(|l| l.room);
        if found.len() < limit as usize {
            break;
        }
    }
    Ok(out)
}

/// What the list says of a room.
pub(super) fn entry(ctx: &Ctx, view: &RoomView) -> Json {
    let content = |kind: &str| rooms::content(&view.facts, kind, "");
    let policy = view.policy();
    let mut out = object! {
        "room_id" => rooms::name_of_view(ctx, view),
        "num_joined_members" => view.joined(),
        "world_readable" => policy.history == Visibility::World,
        "guest_can_join" => content("m.room.guest_access")
            .is_some_and(|c| policy.join == JoinRule::Public && c.str_of("guest_access") == Some("can_join")),
        "join_rule" => rule(view),
    };
    if !policy.title.is_empty() {
        out.set("name", &policy.title);
    }
    if let Some(topic) = view.topic.as_ref().filter(|t| !t.text.text.is_empty()) {
        out.set("topic", &topic.text.text);
    }
    let canonical = match content("m.room.canonical_alias") {
        Some(content) => content.str_of("alias").map(str::to_owned),
        None => view.head.name.as_ref().map(|name| alias(name, ctx.domain())),
    };
    if let Some(alias) = canonical.filter(|alias| !alias.is_empty()) {
        out.set("canonical_alias", alias);
    }
    if let Some(url) = content("m.room.avatar").and_then(|c| c.str_of("url").map(str::to_owned)) {
        out.set("avatar_url", url);
    }
    let opening = rooms::version(view);
    if let Some(kind) = opening.and_then(|o| o.content.str_of("type").map(str::to_owned)) {
        out.set("room_type", kind);
    }
    out
}

/// The word for how one comes in.
pub(super) fn rule(view: &RoomView) -> String {
    let content = rooms::content(&view.facts, "m.room.join_rules", "")
        .unwrap_or_else(|| meaning::join_rules(view.policy(), None, Version::V12));
    content.str_of("join_rule").unwrap_or("invite").to_owned()
}
