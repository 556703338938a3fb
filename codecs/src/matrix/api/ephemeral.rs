//! Receipts, typing, presence (client-server API, "Receipts", "Fully read markers", "Typing Notifications", "Presence").

use super::messages::room;
use super::scene::view_of;
use super::sync::people::presence_word;
use crate::json::Json;
use crate::matrix::device::sync::{self, Receipt, begin};
use crate::matrix::error::Error;
use crate::matrix::ids::{Who, who};
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms;
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::command::{Act, Audience, EntityId};
use lavina_core::ids::RoomId;
use lavina_core::name::UserName;
use lavina_core::policy::Membership;
use lavina_core::presence::{Presence, Show};
use lavina_core::query::{Query, RoomView, Value, Whois};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Post "/_matrix/client/v3/rooms/{room}/receipt/{type}/{event}" Must receipt),
    route!(Post "/_matrix/client/v3/rooms/{room}/read_markers" Must read_markers),
    route!(Put "/_matrix/client/v3/rooms/{room}/typing/{user}" Must typing),
    route!(Get "/_matrix/client/v3/presence/{user}/status" Must presence),
    route!(Put "/_matrix/client/v3/presence/{user}/status" Must set_presence),
];

/// Milliseconds that typing shows where the client names no time, and the longest that it may name.
const TYPING: u64 = 30_000;
const TYPING_MAX: u64 = 120_000;

/// Longest status text in bytes; above: refused.
const STATUS_MAX: usize = 1_024;

// --- receipts ---

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Public,
    Private,
    Fully,
}

impl Read {
    fn of(kind: &str) -> Result<Read, Error> {
        match kind {
            "m.read" => Ok(Read::Public),
            "m.read.private" => Ok(Read::Private),
            "m.fully_read" => Ok(Read::Fully),
            _ => Err(Error::invalid_param("the type of a receipt is m.read, m.read.private or m.fully_read")),
        }
    }
}

async fn receipt(ctx: Ctx, request: Request) -> Answer {
    let kind = Read::of(request.arg(1))?;
    let body = request.json()?;
    let thread = match body.get("thread_id") {
        None => None,
        Some(thread) => {
            let thread = thread.as_str().filter(|t| !t.is_empty());
            Some(thread.ok_or_else(|| Error::invalid_param("thread_id must be a string that is not empty"))?)
        }
    };
    if kind == Read::Fully && thread.is_some() {
        return Err(Error::invalid_param("m.fully_read knows no threads"));
    }
    let (id, _) = member(&ctx, request.arg(0)).await?;
    begin::begin(&ctx).await?;
    mark(&ctx, id, kind, request.arg(2), thread.map(Str::new)).await?;
    Ok(Response::done())
}

async fn read_markers(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let (id, _) = member(&ctx, request.arg(0)).await?;
    begin::begin(&ctx).await?;
    for name in ["m.fully_read", "m.read", "m.read.private"] {
        let Some(event) = body.get(name) else { continue };
        let event = event.as_str().ok_or_else(|| Error::bad_json(format!("{name} must be an event id")))?;
        mark(&ctx, id, Read::of(name)?, event, None).await?;
    }
    Ok(Response::done())
}

/// The room, if the user is in it.
async fn member(ctx: &Ctx, id: &str) -> Result<(RoomId, Arc<RoomView>), Error> {
    let (id, view) = room(ctx, id).await?;
    let me = ctx.user()?.id;
    let joined = |m: &lavina_core::policy::Member| m.standing.membership == Membership::Joined;
    if view.members.get(&me).is_some_and(joined) || view.parties.is_some() {
        return Ok((id, view));
    }
    Err(Error::forbidden("you are not in this room"))
}

/// Notes that the user has read up to an event.
async fn mark(ctx: &Ctx, id: RoomId, kind: Read, event_id: &str, thread: Option<Str>) -> Result<(), Error> {
    let me = ctx.user()?.clone();
    let to = EntityId::Account(me.id);
    let event = rooms::event_ref(ctx, event_id).await?.filter(|e| e.room == id && !e.is_create());
    if kind == Read::Fully {
        let key = Str::new(format!("{}m.fully_read/{}", begin::DATA, rooms::room_id(ctx, id).await?));
        let value = Octets::from(object! { "event_id" => event_id }.to_bytes());
        let act = Act::SetAttrs { values: vec![(key, value)], tell: Audience::Own, native: None };
        return ctx.act(to, act).await.map(drop).map_err(Error::from);
    }
    // An event that is not known here is no error: the client may know it from elsewhere.
    let Some(event) = event else { return Ok(()) };
    let (at, private) = (ctx.now().wall, kind == Read::Private);
    let whole = thread.as_deref().is_none_or(|t| t == "main");
    let receipt = Receipt { by: me, event: Str::new(event_id), pos: event.pos, at, thread, private };
    if private {
        let new = ctx.with(move |agent, _| agent.sync()?.private_with(id, &receipt)).await;
        if let Some(all) = new {
            let key = Str::new(format!("{}{}", sync::READ, id.0));
            let values = vec![(key, Octets::from(all.to_bytes()))];
            ctx.act(to.clone(), Act::SetAttrs { values, tell: Audience::Own, native: None }).await?;
        }
    } else {
        ctx.act(EntityId::Room(id), Act::See(receipt.to_read())).await?;
    }
    // Last, so that who hears of both knows already where the mark comes from.
    if whole {
        ctx.act(to, Act::MarkRead { room: id, pos: event.pos, at: Default::default() }).await?;
    }
    Ok(())
}

// --- typing ---

async fn typing(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    myself(&ctx, request.arg(1))?;
    let on = body.get("typing").ok_or_else(|| Error::missing_param("typing is missing"))?.as_bool();
    let on = on.ok_or_else(|| Error::bad_json("typing must be true or false"))?;
    let timeout = match body.get("timeout") {
        None => TYPING,
        Some(timeout) => {
            let timeout = timeout.as_int().and_then(|n| u64::try_from(n).ok());
            timeout.ok_or_else(|| Error::bad_json("timeout must be a number of milliseconds"))?
        }
    };
    let (id, _) = member(&ctx, request.arg(0)).await?;
    begin::begin(&ctx).await?;
    let until = on.then(|| ctx.now().mono + timeout.min(TYPING_MAX));
    ctx.with(move |agent, cx| agent.type_in(id, until, cx)).await;
    Ok(Response::done())
}

// --- presence ---

/// Whether the id is the user's own.
fn myself(ctx: &Ctx, id: &str) -> Result<(), Error> {
    match who(id, ctx.domain()) {
        Some(Who::Local(name)) if name == ctx.user()?.name => Ok(()),
        None => Err(Error::invalid_param("this is no user id")),
        _ => Err(Error::forbidden("this is somebody else's")),
    }
}

async fn presence(ctx: Ctx, request: Request) -> Answer {
    let name = match who(request.arg(0), ctx.domain()) {
        Some(Who::Local(name)) => name,
        None => return Err(Error::invalid_param("this is no user id")),
        Some(_) => return Err(Error::not_found("there is no such user here")),
    };
    let whois = match ctx.query(Query::Whois(name.clone())).await {
        Ok(Value::Whois(whois)) => whois,
        Err(Refusal::NoSuchUser) => return Err(Error::not_found("there is no such user")),
        Err(why) => return Err(why.into()),
        Ok(_) => return Err(Error::unavailable("the server cannot tell; try again")),
    };
    if name != ctx.user()?.name && !shares_a_room(&ctx, &name).await? {
        return Err(Error::forbidden("you share no room with this user"));
    }
    Ok(Response::ok(&shown(&whois)))
}

fn shown(whois: &Whois) -> Json {
    let best = Presence::best(whois.sessions.iter().map(|s| s.presence.clone()));
    let best = best.unwrap_or(Presence { show: Show::Offline, ..Presence::default() });
    let word = presence_word(best.show);
    let mut out = object! { "presence" => word, "currently_active" => word == "online" };
    if word == "online" {
        out.set("last_active_ago", 0);
    }
    if !best.status.is_empty() {
        out.set("status_msg", &best.status);
    }
    out
}

async fn shares_a_room(ctx: &Ctx, name: &UserName) -> Result<bool, Error> {
    begin::begin(ctx).await?;
    let (seen, rooms) = {
        let name = name.clone();
        ctx.with(move |agent, _| {
            let Some(sync) = agent.sync() else { return (false, Vec::new()) };
            let seen = sync.people.values().any(|person| *person.name() == name);
            let rooms = sync.rooms.iter().filter(|(_, r)| r.is_joined()).map(|(id, _)| *id);
            (seen, rooms.collect::<Vec<RoomId>>())
        })
        .await
    };
    if seen {
        return Ok(true);
    }
    for room in rooms {
        let Ok(view) = view_of(ctx, room).await else { continue };
        let there = |m: &lavina_core::policy::Member| {
            m.user.name == *name && m.standing.membership == Membership::Joined
        };
        if view.members.values().any(there) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn set_presence(ctx: Ctx, request: Request) -> Answer {
    myself(&ctx, request.arg(0))?;
    let body = request.json()?;
    let show = match body.str_of("presence") {
        Some("online") => Show::Online,
        Some("unavailable") => Show::Away,
        Some("offline") => Show::Offline,
        Some("busy") => Show::Busy,
        Some(_) => return Err(Error::invalid_param("presence must be online, unavailable or offline")),
        None => return Err(Error::missing_param("presence is missing")),
    };
    let status = match body.get("status_msg") {
        None | Some(Json::Null) => Str::default(),
        Some(status) => {
            let status = status.as_str().ok_or_else(|| Error::bad_json("status_msg must be a string"))?;
            if status.len() > STATUS_MAX {
                return Err(Error::too_large("status_msg is too long"));
            }
            // It is one line where others see it.
            Str::new(status.split(['\r', '\n']).collect::<Vec<_>>().join(" "))
        }
    };
    begin::begin(&ctx).await?;
    ctx.with(move |agent, cx| {
        if let Some(sync) = agent.sync() {
            sync.say_presence(Presence { show, status, ..Presence::default() }, cx);
        }
    })
    .await;
    Ok(Response::done())
}
