//! Membership (client-server API, "Room membership"): inviting, joining, knocking, leaving, kicking, banning.

use crate::json::{Json, Map};
use crate::matrix::api::{login, messages, paging, profile, state};
use crate::matrix::device::stamp::Place;
use crate::matrix::error::Error;
use crate::matrix::ids::user_id;
use crate::matrix::levels::{self, POWER_LEVELS};
use crate::matrix::member;
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms::{self, Seen};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience, Command, EntityId, Join};
use lavina_core::event::Native;
use lavina_core::ids::RoomId;
use lavina_core::name::User;
use lavina_core::policy::{JoinRule, Membership};
use lavina_core::query::{Query, RoomView, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/joined_rooms" Must joined_rooms),
    route!(Post "/_matrix/client/v3/join/{room}" Must join_any),
    route!(Post "/_matrix/client/v3/rooms/{room}/join" Must join_room),
    route!(Post "/_matrix/client/v3/knock/{room}" Must knock),
    route!(Post "/_matrix/client/v3/rooms/{room}/invite" Must invite),
    route!(Post "/_matrix/client/v3/rooms/{room}/leave" Must leave),
    route!(Post "/_matrix/client/v3/rooms/{room}/forget" Must forget),
    route!(Post "/_matrix/client/v3/rooms/{room}/kick" Must kick),
    route!(Post "/_matrix/client/v3/rooms/{room}/ban" Must ban),
    route!(Post "/_matrix/client/v3/rooms/{room}/unban" Must unban),
    route!(Get "/_matrix/client/v3/rooms/{room}/members" Must members),
    route!(Get "/_matrix/client/v3/rooms/{room}/joined_members" Must joined_members),
];

/// Entries after that which made a room, within which whoever made it comes in.
const FIRST_ENTRIES: usize = 4;

/// What the names of values begin with that say up to which entry a dialog is hidden; the dialog's id follows.
pub const HIDDEN: &str = "m.hidden/";

// --- one's own ---

async fn joined_rooms(ctx: Ctx, _: Request) -> Answer {
    let mut out = Vec::new();
    for room in joined(&ctx).await? {
        out.push(rooms::room_id(&ctx, room).await?);
    }
    Ok(Response::ok(&object! { "joined_rooms" => out }))
}

/// The rooms that whoever asks is in.
async fn joined(ctx: &Ctx) -> Result<Vec<RoomId>, Error> {
    let Value::Memberships(list) = ctx.query(Query::Memberships(ctx.user()?.id)).await? else {
        return Ok(Vec::new());
    };
    let joined = list.iter().filter(|b| b.member.standing.membership == Membership::Joined);
    Ok(joined.map(|b| b.room).collect())
}

async fn join_any(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let room = rooms::room_or_alias(&ctx, request.arg(0)).await?;
    join(&ctx, room, &body, None).await?;
    Ok(Response::ok(&object! { "room_id" => rooms::room_id(&ctx, room).await? }))
}

async fn join_room(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let room = rooms::room_of(&ctx, request.arg(0)).await?;
    join(&ctx, room, &body, None).await?;
    Ok(Response::ok(&object! { "room_id" => rooms::room_id(&ctx, room).await? }))
}

/// Comes in, and gives the id of the event; none where he is in it already. `shown`: how he shows himself in it, if it
/// is not by his profile.
async fn join(ctx: &Ctx, room: RoomId, body: &Json, shown: Option<&Json>) -> Result<Option<String>, Error> {
    let view = rooms::open_view(ctx, room).await?;
    let user = ctx.user()?.clone();
    let reason = reason(body)?;
    if rooms::membership(&view, &user) == Membership::Joined {
        if view.parties.is_some() {
            unhide(ctx, room).await?;
        }
        return Ok(None);
    }
    let voucher = admission(ctx, &view, &user).await?;
    let account = login::account(ctx).await?;
    let mut content = shown.cloned().unwrap_or_else(|| with_more(profile::content(&account), body));
    state::check_event("m.room.member", &user_id(&user, ctx.domain()), &content)?;
    if let Some(voucher) = &voucher {
        content.set("join_authorised_via_users_server", voucher);
    }
    let display = member::display(&content);
    let join = Join {
        subject: subject(&user, ctx.domain()),
        display,
        native: member::native(&content),
        reason,
        vouched: voucher.is_some(),
        ..Join::default()
    };
    let command = Command::by(&user, EntityId::Room(room), Act::Join(Box::new(join)));
    match ctx.join(command).await {
        Ok(Value::Event(event)) => Ok(Some(rooms::event_id(ctx, &event))),
        Ok(_) => Ok(None),
        // A room that is not there is none for who wants to come in.
        Err(why) => Err(why.into()),
    }
}

/// What else a client puts into its request to come in belongs to the event, as it is with other servers.
fn with_more(mut content: Json, body: &Json) -> Json {
    const OWN: [&str; 4] = ["membership", "reason", "third_party_signed", "join_authorised_via_users_server"];
    for (key, value) in body.as_object().into_iter().flat_map(|body| body.iter()) {
        if !OWN.contains(&key.as_str()) {
            content.set(key.clone(), value.clone());
        }
    }
    content
}

/// What the room's masks are compared with.
pub fn subject(user: &User, domain: &str) -> Str {
    Str::new(format!("{}!{}@{domain}", user.name.as_str(), user.name.folded()))
}

/// Whether somebody may come in, by the rules of Matrix; and who vouches for one that needs it (room version 10,
/// "Authorization rules", 4.3).
async fn admission(ctx: &Ctx, view: &RoomView, user: &User) -> Result<Option<String>, Error> {
    match rooms::membership(view, user) {
        Membership::Banned => return Err(Refusal::Banned.into()),
        Membership::Invited => return Ok(None),
        _ => {}
    }
    let policy = view.policy();
    if policy.join == JoinRule::Public {
        return Ok(None);
    }
    let rules = rooms::content(&view.facts, "m.room.join_rules", "").unwrap_or_else(Json::object);
    if state::restricted(&rules) && in_one_of(ctx, &rules).await? {
        let voucher = voucher(view);
        let voucher = voucher
            .ok_or_else(|| Error::new(400, "M_UNABLE_TO_GRANT_JOIN", "nobody here could let you in"))?;
        return Ok(Some(user_id(voucher, ctx.domain())));
    }
    // Where the rules were made on another protocol, a rank is an invitation.
    if !policy.invites {
        return Ok(None);
    }
    Err(Error::forbidden("you are not invited to this room"))
}

/// Whether whoever asks is in one of the rooms that a join rule lists.
///
/// # Errors
/// Where the store does not answer.
pub async fn in_one_of(ctx: &Ctx, rules: &Json) -> Result<bool, Error> {
    let allow = rules.get("allow").and_then(Json::as_array).unwrap_or_default();
    let member_of = |a: &&Json| a.str_of("type") == Some("m.room_membership");
    let mut listed: Vec<RoomId> = Vec::new();
    for id in allow.iter().filter(member_of).filter_map(|a| a.str_of("room_id")) {
        listed.extend(rooms::room_ref(ctx, id).await?);
    }
    if listed.is_empty() {
        return Ok(false);
    }
    Ok(joined(ctx).await?.iter().any(|room| listed.contains(room)))
}

/// A member who may invite.
fn voucher(view: &RoomView) -> Option<&User> {
    let needed = view.policy().invite_level();
    let may = |m: &&lavina_core::policy::Member| {
        m.standing.membership == Membership::Joined && m.standing.power >= needed
    };
    view.members.values().filter(may).max_by_key(|m| m.standing.power).map(|m| &m.user)
}

async fn knock(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let room = rooms::room_or_alias(&ctx, request.arg(0)).await?;
    let view = rooms::open_view(&ctx, room).await?;
    let user = ctx.user()?;
    let why = match (rooms::membership(&view, user), view.policy().join) {
        (Membership::Joined, _) => Some("you are in the room already"),
        (Membership::Invited, _) => Some("you are invited already"),
        (Membership::Banned, _) => Some("you are banned from the room"),
        (_, JoinRule::Knock) if rooms::rules(&view).has_knock() => None,
        _ => Some("this room does not let people knock"),
    };
    if let Some(why) = why {
        return Err(Error::forbidden(why));
    }
    ctx.act(EntityId::Room(room), Act::Knock { reason: reason(&body)? }).await?;
    Ok(Response::ok(&object! { "room_id" => rooms::room_id(&ctx, room).await? }))
}

async fn leave(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let room = rooms::room_of(&ctx, request.arg(0)).await?;
    leave_room(&ctx, room, reason(&body)?).await?;
    Ok(Response::done())
}

async fn leave_room(ctx: &Ctx, room: RoomId, reason: Option<Str>) -> Result<Option<String>, Error> {
    let view = rooms::open_view(ctx, room).await?;
    if view.parties.is_some() {
        rooms::membership_or_forbidden(&view, ctx.user()?)?;
        hide(ctx, &view).await?;
        return Ok(None);
    }
    match ctx.act(EntityId::Room(room), Act::Leave { reason, quit: false, same: 0 }).await? {
        Value::Event(event) => Ok(Some(rooms::event_id(ctx, &event))),
        _ => Ok(None),
    }
}

/// A dialog is hidden until its next entry.
async fn hide(ctx: &Ctx, view: &RoomView) -> Result<(), Error> {
    set_hidden(ctx, view.id, Octets::from(view.last.0.to_be_bytes())).await
}

/// A dialog is shown again.
///
/// # Errors
/// Where the store does not answer.
pub async fn unhide(ctx: &Ctx, room: RoomId) -> Result<(), Error> {
    set_hidden(ctx, room, Octets::default()).await
}

async fn set_hidden(ctx: &Ctx, room: RoomId, value: Octets) -> Result<(), Error> {
    let values = vec![(Str::new(format!("{HIDDEN}{}", room.0)), value)];
    let to = EntityId::Account(ctx.user()?.id);
    ctx.act(to, Act::SetAttrs { values, tell: Audience::Own, native: None }).await?;
    Ok(())
}

async fn forget(ctx: Ctx, request: Request) -> Answer {
    let room = rooms::room_of(&ctx, request.arg(0)).await?;
    let view = rooms::view(&ctx, room).await?;
    let user = ctx.user()?;
    if view.parties.is_some() {
        return Ok(Response::done());
    }
    match rooms::membership(&view, user) {
        Membership::Left | Membership::Banned => {}
        _ => return Err(Error::unknown("leave the room before forgetting it")),
    }
    if view.members.contains_key(&user.id) {
        ctx.act(EntityId::Room(room), Act::Forget).await?;
    }
    Ok(Response::done())
}

// --- others' ---

async fn invite(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let said = target(&body)?;
    let view = rooms::joined_view(&ctx, request.arg(0)).await?;
    let account = rooms::account_of(&ctx, said).await?;
    invite_account(&ctx, view.id, &account, reason(&body)?, false).await?;
    Ok(Response::done())
}

/// Invites somebody, unless he wants none.
///
/// # Errors
/// What the room refuses; 403 `M_INVITE_BLOCKED`.
pub async fn invite_account(
    ctx: &Ctx,
    room: RoomId,
    account: &Arc<Account>,
    reason: Option<Str>,
    is_direct: bool,
) -> Result<Option<String>, Error> {
    let user = account.user().ok_or_else(|| Error::not_found("there is no such user"))?;
    if blocks_invites(account) {
        return Err(Error::new(403, "M_INVITE_BLOCKED", "the user wants no invitations"));
    }
    let mut content = profile::content(account);
    if is_direct {
        content.set("is_direct", true);
    }
    let act = Act::Invite { user, reason, native: member::native(&content) };
    match ctx.act(EntityId::Room(room), act).await? {
        Value::Event(event) => Ok(Some(rooms::event_id(ctx, &event))),
        _ => Ok(None),
    }
}

/// v1.18, `m.invite_permission_config`.
fn blocks_invites(account: &Account) -> bool {
    let config = account.attrs.get(&Str::new("m.data/m.invite_permission_config"));
    let config = config.and_then(|value| Json::parse(value).ok());
    config.is_some_and(|config| config.str_of("default_action") == Some("block"))
}

async fn kick(ctx: Ctx, request: Request) -> Answer {
    let (view, user, reason) = about(&ctx, &request).await?;
    if rooms::membership(&view, &user) == Membership::Banned {
        return Err(Error::forbidden("the user is not in the room"));
    }
    ctx.act(EntityId::Room(view.id), Act::Kick { user, reason, native: None }).await?;
    Ok(Response::done())
}

async fn ban(ctx: Ctx, request: Request) -> Answer {
    let (view, user, reason) = about(&ctx, &request).await?;
    ctx.act(EntityId::Room(view.id), Act::Ban { user, reason }).await?;
    Ok(Response::done())
}

async fn unban(ctx: Ctx, request: Request) -> Answer {
    let (view, user, _) = about(&ctx, &request).await?;
    if rooms::membership(&view, &user) != Membership::Banned {
        return Err(Error::forbidden("the user is not banned"));
    }
    ctx.act(EntityId::Room(view.id), Act::Unban { user }).await?;
    Ok(Response::done())
}

/// Room, user and reason of a request about somebody else.
async fn about(ctx: &Ctx, request: &Request) -> Result<(Arc<RoomView>, User, Option<Str>), Error> {
    let body = request.json()?;
    let said = target(&body)?;
    let view = rooms::joined_view(ctx, request.arg(0)).await?;
    Ok((view, rooms::user_of(ctx, said).await?, reason(&body)?))
}

fn target(body: &Json) -> Result<&str, Error> {
    match body.get("user_id") {
        Some(id) => id.as_str().ok_or_else(|| Error::invalid_param("user_id must be a string")),
        None => Err(Error::missing_param("user_id is missing")),
    }
}

/// The reason that a body gives.
///
/// # Errors
/// 400 where it is no string.
pub fn reason(body: &Json) -> Result<Option<Str>, Error> {
    match body.get("reason") {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Str(reason)) => Ok(Some(reason.clone()).filter(|r| !r.is_empty())),
        Some(_) => Err(Error::bad_json("reason must be a string")),
    }
}

// --- by state events ---

/// A membership set by its state event; gives the event's id.
///
/// # Errors
/// What the acts refuse, and what nobody may.
pub async fn set_by_state(ctx: &Ctx, room: RoomId, key: &str, content: &Json) -> Result<String, Error> {
    let wanted = content.str_of("membership").ok_or_else(|| Error::bad_json("membership is missing"))?;
    let me = ctx.user()?.clone();
    let made = if key == user_id(&me, ctx.domain()) {
        set_own(ctx, room, wanted, content).await?
    } else {
        set_other(ctx, room, wanted, key, content).await?
    };
    match made {
        Some(id) => Ok(id),
        None => {
            let view = rooms::view(ctx, room).await?;
            let row = view.facts.get(&(Str::new("m.room.member"), Str::new(key)));
            let row = row.ok_or_else(|| Error::forbidden("the membership did not change"))?;
            Ok(rooms::row_id(ctx, room, row))
        }
    }
}

async fn set_own(ctx: &Ctx, room: RoomId, wanted: &str, content: &Json) -> Result<Option<String>, Error> {
    let view = rooms::open_view(ctx, room).await?;
    match wanted {
        "join" if rooms::membership(&view, ctx.user()?) == Membership::Joined => {
            let display = member::display(content);
            let native: Option<Native> = member::native(content);
            let act = Act::Show { display, native };
            match ctx.act(EntityId::Room(room), act).await? {
                Value::Event(event) => Ok(Some(rooms::event_id(ctx, &event))),
                _ => Ok(None),
            }
        }
        "join" => join(ctx, room, content, Some(content)).await,
        "leave" => leave_room(ctx, room, reason(content)?).await,
        "knock" => {
            let act = Act::Knock { reason: reason(content)? };
            match ctx.act(EntityId::Room(room), act).await? {
                Value::Event(event) => Ok(Some(rooms::event_id(ctx, &event))),
                _ => Ok(None),
            }
        }
        "invite" | "ban" => Err(Error::forbidden("nobody does that to himself")),
        _ => Err(Error::bad_json("there is no such membership")),
    }
}

async fn set_other(
    ctx: &Ctx,
    room: RoomId,
    wanted: &str,
    key: &str,
    content: &Json,
) -> Result<Option<String>, Error> {
    let view = rooms::open_view(ctx, room).await?;
    rooms::membership_or_forbidden(&view, ctx.user()?)?;
    let reason = reason(content)?;
    let act = match wanted {
        "join" | "knock" => return Err(Error::forbidden("only the user can do that")),
        "invite" => {
            let account = rooms::account_of(ctx, key).await?;
            return invite_account(ctx, room, &account, reason, false).await;
        }
        "leave" | "ban" => {
            let user = rooms::user_of(ctx, key).await?;
            match (wanted, rooms::membership(&view, &user)) {
                ("ban", _) => Act::Ban { user, reason },
                (_, Membership::Banned) => Act::Unban { user },
                _ => Act::Kick { user, reason, native: None },
            }
        }
        _ => return Err(Error::bad_json("there is no such membership")),
    };
    match ctx.act(EntityId::Room(room), act).await? {
        Value::Event(event) => Ok(Some(rooms::event_id(ctx, &event))),
        _ => Ok(None),
    }
}

// --- lists ---

async fn members(ctx: Ctx, request: Request) -> Answer {
    let Seen { view, state, .. } = rooms::seen(&ctx, request.arg(0)).await?;
    let (only, never) = (request.param("membership"), request.param("not_membership"));
    let words = ["join", "invite", "leave", "ban", "knock"];
    if [only, never].into_iter().flatten().any(|word| !words.contains(&word)) {
        return Err(Error::invalid_param("there is no such membership"));
    }
    let fits = |word: Option<&str>| {
        word.is_some_and(|word| only.is_none_or(|only| only == word) && never != Some(word))
    };
    let rows = state.iter().filter(|((kind, key), _)| {
        let word = (*kind == "m.room.member").then(|| rooms::content(&state, kind, key)).flatten();
        fits(word.as_ref().and_then(|c| c.str_of("membership")))
    });
    let events = match request.param("at").filter(|at| !at.is_empty()) {
        None => rooms::state_events(&ctx, &view, rows.map(|(_, row)| row)),
        Some(at) => {
            rooms::membership_or_forbidden(&view, ctx.user()?)?;
            let place = messages::place(&ctx, &view, at).await?;
            let of = |kind: &str, _: &str| kind == "m.room.member";
            let mut then = paging::state_at(&ctx, &view, place, of).await?;
            // Before the room was made nobody was in it: whoever made it was the first.
            let mut made = rooms::made(&view).filter(|made| place <= Place::after(*made));
            for _ in 0..FIRST_ENTRIES {
                let Some(upto) = made.filter(|_| then.is_empty()) else { break };
                then = paging::state_at(&ctx, &view, Place::after(upto), of).await?;
                made = Some(upto.next());
            }
            then.retain(|event| fits(event.content.str_of("membership")));
            paging::state_json(&ctx, &then, Some(request.arg(0)))
        }
    };
    Ok(Response::ok(&object! { "chunk" => events }))
}

async fn joined_members(ctx: Ctx, request: Request) -> Answer {
    let view = rooms::joined_view(&ctx, request.arg(0)).await?;
    let mut joined: Vec<(String, Json)> = Vec::new();
    for member in view.members.values().filter(|m| m.standing.membership == Membership::Joined) {
        let content = member::of_row(member);
        let mut shown = Json::object();
        for (from, to) in [("displayname", "display_name"), ("avatar_url", "avatar_url")] {
            shown.set(to, content.get(from).cloned().unwrap_or(Json::Null));
        }
        joined.push((user_id(&member.user, ctx.domain()), shown));
    }
    let joined: Map = joined.into_iter().collect();
    Ok(Response::ok(&object! { "joined" => joined }))
}

/// What it takes to send state of that type.
pub fn needed(view: &RoomView, kind: &str) -> i32 {
    let levels = rooms::content(&view.facts, POWER_LEVELS, "").unwrap_or_else(Json::object);
    levels::needed(&levels, kind, true)
}
