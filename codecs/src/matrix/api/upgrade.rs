//! Room upgrades (client-server API, "Room upgrades"): a new room in the place of an old one.

use super::create::{self, Plan};
use crate::json::{Json, Map};
use crate::matrix::api::basic::ROOM_VERSIONS;
use crate::matrix::api::{directory, members, state};
use crate::matrix::error::Error;
use crate::matrix::facts::{Opening, attr_key};
use crate::matrix::ids::user_id;
use crate::matrix::levels::{self, POWER_LEVELS};
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms;
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use crate::session::MATRIX_NATIVE;
use lavina_core::command::{Act, Command, EntityId, Join};
use lavina_core::ids::RoomId;
use lavina_core::name::{NameKey, RoomName};
use lavina_core::policy::{Member, Membership};
use lavina_core::query::RoomView;
use lavina_core::text::{Octets, Str};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[route!(Post "/_matrix/client/v3/rooms/{room}/upgrade" Must upgrade)];

/// State that goes on in the new room, besides what is neutral.
const MOVED: &[&str] = &[
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
];

async fn upgrade(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let version = body.str_of("new_version").ok_or_else(|| Error::missing_param("new_version is missing"))?;
    let view = rooms::joined_view(&ctx, request.arg(0)).await?;
    if !ROOM_VERSIONS.contains(&version) {
        let text = format!("rooms of version {version} cannot be made here");
        return Err(Error::new(400, "M_UNSUPPORTED_ROOM_VERSION", text));
    }
    if view.parties.is_some() || rooms::power(&view, ctx.user()?) < members::needed(&view, "m.room.tombstone")
    {
        return Err(Error::forbidden("you may not put another room in the place of this one"));
    }
    let plan = successor(&ctx, &view, version, &body)?;
    let room = create::make(&ctx, plan).await?;
    let new_id = rooms::room_id(&ctx, room).await?;
    let tombstone = object! { "body" => "This room has been replaced", "replacement_room" => &new_id };
    state::set(&ctx, view.id, "m.room.tombstone", "", tombstone).await?;
    let people = leave_old(&ctx, &view).await?;
    move_names(&ctx, &view, room).await?;
    enter_new(&ctx, people, room).await?;
    if let Some(content) = rooms::content(&view.facts, "m.room.canonical_alias", "") {
        state::set(&ctx, room, "m.room.canonical_alias", "", content).await?;
    }
    close(&ctx, &view).await?;
    move_bans(&ctx, &view, room).await?;
    Ok(Response::ok(&object! { "replacement_room" => new_id }))
}

/// The new room.
fn successor(ctx: &Ctx, view: &RoomView, version: &str, body: &Json) -> Result<Plan, Error> {
    let old = rooms::version(view);
    let mut content = Json::object();
    if let Some(kind) = old.as_ref().and_then(|o| o.content.get("type")) {
        content.set("type", kind.clone());
    }
    if let Some(federate) = old.as_ref().and_then(|o| o.content.get("m.federate")) {
        content.set("m.federate", federate.clone());
    }
    content.set("predecessor", object! { "room_id" => rooms::name_of_view(ctx, view) });
    let mut opening = Opening { version: Str::new(version), content, order: Vec::new() };
    if opening.has_creators()
        && let Some(more) = body.get("additional_creators")
    {
        opening.content.set("additional_creators", more.clone());
        create::add_creators(ctx, &mut opening.content, &[])?;
    }
    let mut plan = Plan {
        name: None,
        policy: view.policy().clone(),
        levels: moved_levels(ctx, view, &opening)?,
        opening,
        state: Vec::new(),
        topic: view.topic.as_ref().map(|t| t.text.clone()),
    };
    plan.policy.invites = true;
    for kind in MOVED {
        if let Some(content) = rooms::content(&view.facts, kind, "") {
            plan.opening.order.push(attr_key(kind, ""));
            plan.state.push((Str::new(kind), Str::default(), content));
        }
    }
    // A space keeps its children.
    for ((kind, key), row) in view.facts.iter().filter(|((kind, _), _)| *kind == "m.space.child") {
        if let Ok(content) = Json::parse(&row.fact.content)
            && content != Json::object()
        {
            plan.state.push((kind.clone(), key.clone(), content));
        }
    }
    Ok(plan)
}

/// The power levels go on, but for creators, who are above them.
fn moved_levels(ctx: &Ctx, view: &RoomView, opening: &Opening) -> Result<Json, Error> {
    let mut content = rooms::content(&view.facts, POWER_LEVELS, "").unwrap_or_else(Json::object);
    let me = user_id(ctx.user()?, ctx.domain());
    let mut users: Map = content.get("users").and_then(Json::as_object).cloned().unwrap_or_default();
    if opening.has_creators() {
        users.remove(&me);
        let more = opening.content.get("additional_creators").and_then(Json::as_array).unwrap_or_default();
        for id in more.iter().filter_map(Json::as_str) {
            users.remove(id);
        }
        let state = levels::read(&content).state;
        let mut events = content.get("events").and_then(Json::as_object).cloned().unwrap_or_default();
        if levels::needed(&content, "m.room.tombstone", true) <= state.max(100) {
            events.insert("m.room.tombstone", state.max(100).saturating_add(50));
        }
        content.set("events", events);
    } else if users.get(&me).and_then(Json::as_int).is_none_or(|n| n < 100) {
        users.insert(me, 100);
    }
    content.set("users", users);
    Ok(content)
}

/// People of other protocols have no program that follows a tombstone: they leave the old room …
async fn leave_old(ctx: &Ctx, view: &RoomView) -> Result<Vec<Member>, Error> {
    let of_matrix = |m: &Member| m.native.as_ref().is_some_and(|n| n.protocol == MATRIX_NATIVE);
    let joined = view.members.values().filter(|m| m.standing.membership == Membership::Joined);
    let people: Vec<Member> = joined.filter(|m| !of_matrix(m)).cloned().collect();
    for member in &people {
        let act = Act::Leave { reason: Some(Str::new("The room goes on")), quit: false, same: 0 };
        // Who left meanwhile does not come along.
        let _ = ctx.command(Command::by(&member.user, EntityId::Room(view.id), act)).await;
    }
    Ok(people)
}

/// … and find themselves in the new one, under the same name.
async fn enter_new(ctx: &Ctx, people: Vec<Member>, room: RoomId) -> Result<(), Error> {
    for member in people {
        let join = Join {
            subject: members::subject(&member.user, ctx.domain()),
            display: member.display.clone(),
            native: member.native.clone(),
            vouched: true,
            ..Join::default()
        };
        let act = Act::Join(Box::new(join));
        let _ = ctx.command(Command::by(&member.user, EntityId::Room(room), act)).await;
    }
    Ok(())
}

/// All names of the old room are the new one's from here on.
async fn move_names(ctx: &Ctx, view: &RoomView, room: RoomId) -> Result<(), Error> {
    for name in directory::names(view) {
        let main = view.head.name.as_ref() == Some(&name);
        if main {
            name_room(ctx, view.id, None).await?;
        }
        let to = EntityId::Name(NameKey::Room(name.clone()));
        let release = Act::Release { id: view.id.0, lock: false };
        ctx.command(Command::by_server(to.clone(), release)).await?;
        ctx.command(Command::by_server(to, Act::Claim { id: room.0 })).await?;
        if main {
            name_room(ctx, room, Some(name)).await?;
        } else {
            let key = Str::new(format!("{}{name}", directory::ALIAS));
            let maker = view.attrs.get(&key).cloned().unwrap_or_default();
            for (id, value) in [(room, maker), (view.id, Octets::default())] {
                let act = Act::SetRoomAttr { key: key.clone(), value };
                ctx.command(Command::by_server(EntityId::Room(id), act)).await?;
            }
        }
    }
    Ok(())
}

async fn name_room(ctx: &Ctx, room: RoomId, name: Option<RoomName>) -> Result<(), Error> {
    ctx.command(Command::by_server(EntityId::Room(room), Act::Name(name))).await?;
    Ok(())
}

/// Nobody but moderators speaks or invites in the old room any more (step 6).
async fn close(ctx: &Ctx, view: &RoomView) -> Result<(), Error> {
    let Some(mut content) = rooms::content(&view.facts, POWER_LEVELS, "") else { return Ok(()) };
    let old = levels::read(&content);
    let least = old.users.saturating_add(1).max(50);
    content.set("events_default", old.speak.max(least));
    content.set("invite", old.invite.max(least));
    match state::set(ctx, view.id, POWER_LEVELS, "", content).await {
        // Where it is not possible, it is left.
        Err(why) if why.status != 403 => Err(why),
        _ => Ok(()),
    }
}

/// Who was banned stays banned.
async fn move_bans(ctx: &Ctx, view: &RoomView, room: RoomId) -> Result<(), Error> {
    for member in view.members.values().filter(|m| m.standing.membership == Membership::Banned) {
        let act = Act::Ban { user: member.user.clone(), reason: member.reason.clone() };
        ctx.act(EntityId::Room(room), act).await?;
    }
    Ok(())
}
