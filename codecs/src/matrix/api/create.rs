//! Making rooms (client-server API, "Creation") and putting a new one in the place of an old one ("Room upgrades").

use crate::json::{Json, Map};
use crate::matrix::api::basic::ROOM_VERSIONS;
use crate::matrix::api::{login, members, profile, state};
use crate::matrix::content::pack;
use crate::matrix::error::Error;
use crate::matrix::facts::{Opening, attr_key};
use crate::matrix::ids::{self, user_id};
use crate::matrix::levels::{self, POWER_LEVELS};
use crate::matrix::meaning;
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms;
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Command, EntityId, Join, Seed};
use lavina_core::event::{Kind, Message};
use lavina_core::ids::RoomId;
use lavina_core::name::{NameKey, RoomName, User};
use lavina_core::policy::{Policy, Power, Visibility, power};
use lavina_core::query::Value;
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Rich, Str};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[route!(Post "/_matrix/client/v3/createRoom" Must create_room)];

/// Most people invited by one request; above: 400.
const INVITED_MAX: usize = 200;

/// A room to be made.
pub(super) struct Plan {
    /// Its name.
    pub name: Option<RoomName>,
    /// Its rules.
    pub policy: Policy,
    /// How it is open.
    pub opening: Opening,
    /// The content of its power levels.
    pub levels: Json,
    /// Its state events, in their order.
    pub state: Vec<(Str, Str, Json)>,
    /// Its topic.
    pub topic: Option<Rich>,
}

async fn create_room(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let invited = invited(&ctx, &body).await?;
    let room = match dialog_wanted(&body, &invited) {
        Some(other) => dialog(&ctx, &body, &other).await?,
        None => {
            let plan = plan(&ctx, &body, &invited)?;
            let room = make(&ctx, plan).await?;
            let direct = body.get("is_direct").and_then(Json::as_bool) == Some(true);
            for account in &invited {
                members::invite_account(&ctx, room, account, None, direct).await?;
            }
            room
        }
    };
    Ok(Response::ok(&object! { "room_id" => rooms::room_id(&ctx, room).await? }))
}

/// The people whom a request invites.
async fn invited(ctx: &Ctx, body: &Json) -> Result<Vec<Arc<Account>>, Error> {
    if body.get("invite_3pid").and_then(Json::as_array).is_some_and(|list| !list.is_empty()) {
        return Err(Error::new(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "there are no invitations by e-mail"));
    }
    let mut out: Vec<Arc<Account>> = Vec::new();
    let list = strings(body, "invite")?;
    if list.len() > INVITED_MAX {
        return Err(Error::invalid_param(format!("at most {INVITED_MAX} people can be invited at once")));
    }
    let me = ctx.user()?.id;
    for id in list {
        let account = rooms::account_of(ctx, id).await?;
        if account.id != me && out.iter().all(|other| other.id != account.id) {
            out.push(account);
        }
    }
    Ok(out)
}

fn strings<'a>(body: &'a Json, key: &str) -> Result<Vec<&'a str>, Error> {
    let wrong = || Error::bad_json(format!("{key} must be a list of strings"));
    match body.get(key) {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::Array(list)) => list.iter().map(|v| v.as_str().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

fn string<'a>(body: &'a Json, key: &str) -> Result<Option<&'a str>, Error> {
    match body.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Str(s)) => Ok(Some(s)),
        Some(_) => Err(Error::bad_json(format!("{key} must be a string"))),
    }
}

// --- dialogs ---

/// Whom a request wants to talk with in private, where it asks for nothing that a dialog has not.
fn dialog_wanted(body: &Json, invited: &[Arc<Account>]) -> Option<Arc<Account>> {
    let [other] = invited else { return None };
    let direct = body.get("is_direct").and_then(Json::as_bool) == Some(true);
    let more = ["name", "topic", "room_alias_name", "creation_content", "power_level_content_override"];
    let special = more.iter().any(|key| body.get(key).is_some_and(|v| !v.is_null() && *v != Json::object()));
    let open = body.str_of("preset") == Some("public_chat") || body.str_of("visibility") == Some("public");
    let initial = body.get("initial_state").and_then(Json::as_array).unwrap_or_default();
    let known =
        ["m.room.encryption", "m.room.guest_access", "m.room.history_visibility", "m.room.join_rules"];
    let plain = initial.iter().all(|e| e.str_of("type").is_some_and(|kind| known.contains(&kind)));
    // Who has device keys reads encrypted messages; a sealed room of two such people is beside their dialog.
    let keys = |account: &Account| account.attrs.keys().any(|key| key.starts_with("m.keys/"));
    (direct && !special && !open && plain && !(wants_sealing(body) && keys(other))).then(|| other.clone())
}

fn wants_sealing(body: &Json) -> bool {
    let initial = body.get("initial_state").and_then(Json::as_array).unwrap_or_default();
    initial.iter().any(|e| e.str_of("type") == Some("m.room.encryption"))
}

/// Says to people on Matrix why the dialog is not encrypted as they asked.
async fn say_unsealed(ctx: &Ctx, room: RoomId) -> Result<(), Error> {
    let body =
        "Messages in this chat are not end-to-end encrypted, so that they can be read with IRC and XMPP too.";
    let content = object! { "msgtype" => "m.notice", "body" => body };
    let native = Some(pack("m.room.message", &content));
    let message = Box::new(Message { kind: Kind::Payload, native, ..Message::default() });
    let act = Act::Say { message, subject: Str::default(), parties: None };
    ctx.command(Command::by_server(EntityId::Room(room), act)).await?;
    Ok(())
}

/// The dialog with somebody, made if there is none.
async fn dialog(ctx: &Ctx, body: &Json, other: &Account) -> Result<RoomId, Error> {
    let me = login::account(ctx).await?;
    let (Some(mine), Some(theirs)) = (me.user(), other.user()) else {
        return Err(Error::not_found("there is no such user"));
    };
    let room = RoomId::dialog(me.id, other.id, ctx.settings().core.shards);
    let there = rooms::view(ctx, room).await.is_ok_and(|view| view.head.open.is_some());
    if !there {
        let shown = vec![rooms::shown_as(&me), rooms::shown_as(other)];
        rooms::open(ctx, room, Some((mine, theirs)), shown).await?;
        if wants_sealing(body) {
            say_unsealed(ctx, room).await?;
        }
    }
    members::unhide(ctx, room).await?;
    Ok(room)
}

// --- rooms ---

/// What a request asks for.
fn plan(ctx: &Ctx, body: &Json, invited: &[Arc<Account>]) -> Result<Plan, Error> {
    let public = match string(body, "visibility")? {
        None | Some("private") => false,
        Some("public") => true,
        Some(_) => return Err(Error::invalid_param("visibility must be public or private")),
    };
    let preset = string(body, "preset")?.unwrap_or(if public { "public_chat" } else { "private_chat" });
    if !["public_chat", "private_chat", "trusted_private_chat"].contains(&preset) {
        return Err(Error::invalid_param("there is no such preset"));
    }
    let trusted: &[Arc<Account>] = if preset == "trusted_private_chat" { invited } else { &[] };
    let opening = opening(ctx, body, trusted)?;
    let levels = first_levels(ctx, body, preset, &opening, trusted)?;
    let mut plan = Plan {
        name: room_name(body)?,
        policy: Policy {
            join: state::preset_rule(preset == "public_chat"),
            secret: !public,
            history: Visibility::Shared,
            invites: true,
            ..Policy::default()
        },
        opening,
        levels,
        state: Vec::new(),
        topic: None,
    };
    if preset != "public_chat" {
        let access = object! { "guest_access" => "can_join" };
        plan.state.push((Str::new("m.room.guest_access"), Str::default(), access));
    } else {
        let access = object! { "guest_access" => "forbidden" };
        plan.state.push((Str::new("m.room.guest_access"), Str::default(), access));
    }
    initial_state(ctx, body, &mut plan)?;
    if let Some(name) = string(body, "name")? {
        plan.policy.title = Str::new(name);
        plan.state.retain(|(kind, key, _)| *kind != "m.room.name" || !key.is_empty());
    }
    if let Some(topic) = string(body, "topic")? {
        plan.topic = Some(Rich::plain(topic));
        plan.state.retain(|(kind, key, _)| *kind != "m.room.topic" || !key.is_empty());
    }
    Ok(plan)
}

fn room_name(body: &Json) -> Result<Option<RoomName>, Error> {
    let Some(local) = string(body, "room_alias_name")? else { return Ok(None) };
    RoomName::new(local).map(Some).map_err(|_| {
        Error::invalid_param(format!(
            "an alias has 1 to {} bytes: letters and digits, and . _ - + #",
            RoomName::MAX
        ))
    })
}

/// Version and create event.
fn opening(ctx: &Ctx, body: &Json, trusted: &[Arc<Account>]) -> Result<Opening, Error> {
    let version = string(body, "room_version")?.unwrap_or(ctx.settings().room_version);
    if !ROOM_VERSIONS.contains(&version) {
        let text = format!("rooms of version {version} cannot be made here");
        return Err(Error::new(400, "M_UNSUPPORTED_ROOM_VERSION", text));
    }
    let mut content = match body.get("creation_content") {
        None | Some(Json::Null) => Json::object(),
        Some(content @ Json::Object(_)) => content.clone(),
        Some(_) => return Err(Error::bad_json("creation_content must be an object")),
    };
    for key in ["room_version", "creator"] {
        content.take(key);
    }
    let mut opening = Opening { version: Str::new(version), content, order: Vec::new() };
    if opening.has_creators() {
        add_creators(ctx, &mut opening.content, trusted)?;
    }
    state::check_event("m.room.create", "", &opening.content)?;
    Ok(opening)
}

/// Creators besides the maker: those that are named, and people who are trusted alike.
pub(super) fn add_creators(ctx: &Ctx, content: &mut Json, trusted: &[Arc<Account>]) -> Result<(), Error> {
    let mut named: Vec<String> =
        strings(content, "additional_creators")?.into_iter().map(str::to_owned).collect();
    if named.iter().any(|id| ids::split('@', id).is_none_or(|(local, _)| local.is_empty())) {
        return Err(Error::invalid_param("additional_creators must be user ids"));
    }
    for user in trusted.iter().filter_map(|a| a.user()) {
        let id = user_id(&user, ctx.domain());
        if !named.contains(&id) {
            named.push(id);
        }
    }
    match named.is_empty() {
        true => _ = content.take("additional_creators"),
        false => content.set("additional_creators", named),
    }
    Ok(())
}

/// The content of the first power levels.
fn first_levels(
    ctx: &Ctx,
    body: &Json,
    preset: &str,
    opening: &Opening,
    trusted: &[Arc<Account>],
) -> Result<Json, Error> {
    let mut content = levels::fresh(opening.has_creators(), preset == "public_chat");
    if !opening.has_creators() {
        let mut users = Map::new();
        users.insert(user_id(ctx.user()?, ctx.domain()), 100);
        for user in trusted.iter().filter_map(|a| a.user()) {
            users.insert(user_id(&user, ctx.domain()), 100);
        }
        content.set("users", users);
    }
    let over = match body.get("power_level_content_override") {
        None | Some(Json::Null) => return Ok(content),
        Some(over) => over
            .as_object()
            .ok_or_else(|| Error::bad_json("power_level_content_override must be an object"))?,
    };
    for (key, value) in over.iter() {
        content.set(key.clone(), value.clone());
    }
    Ok(content)
}

fn initial_state(ctx: &Ctx, body: &Json, plan: &mut Plan) -> Result<(), Error> {
    let list = match body.get("initial_state") {
        None | Some(Json::Null) => return Ok(()),
        Some(list) => list.as_array().ok_or_else(|| Error::bad_json("initial_state must be a list"))?,
    };
    let me = user_id(ctx.user()?, ctx.domain());
    for event in list {
        let kind = event.str_of("type").ok_or_else(|| Error::bad_json("a state event needs a type"))?;
        let key = string(event, "state_key")?.unwrap_or_default();
        let content = event.get("content").ok_or_else(|| Error::bad_json("a state event needs a content"))?;
        state::check_event(kind, key, content)?;
        if matches!(kind, "m.room.create" | "m.room.member") {
            return Err(invalid_state(format!("{kind} cannot be among the first state events")));
        }
        if key.starts_with('@') && key != me {
            return Err(invalid_state("a state key that is a user's id is that user's"));
        }
        if key.is_empty() {
            match kind {
                POWER_LEVELS => {
                    plan.levels = content.clone();
                    continue;
                }
                "m.room.topic" => plan.topic = Some(meaning::topic(content)),
                _ => state::neutral(kind, content, &mut plan.policy, plan.opening.rules())?,
            }
        }
        plan.state.retain(|(k, s, _)| k != kind || s != key);
        plan.state.push((Str::new(kind), Str::new(key), content.clone()));
        plan.opening.order.push(attr_key(kind, key));
    }
    Ok(())
}

fn invalid_state(text: impl Into<String>) -> Error {
    Error::new(400, "M_INVALID_ROOM_STATE", text)
}

/// Makes a room.
///
/// # Errors
/// 400 where its alias is taken, or its state makes no sense.
pub(super) async fn make(ctx: &Ctx, plan: Plan) -> Result<RoomId, Error> {
    let user = ctx.user()?.clone();
    let me = user_id(&user, ctx.domain());
    let creators: Vec<String> = match plan.opening.has_creators() {
        true => {
            let more = plan.opening.content.get("additional_creators").and_then(Json::as_array);
            let more = more.unwrap_or_default().iter().filter_map(|id| id.as_str().map(str::to_owned));
            std::iter::once(me.clone()).chain(more).collect()
        }
        false => Vec::new(),
    };
    levels::check(&plan.levels, &|id| creators.iter().any(|c| c == id)).map_err(Error::bad_json)?;
    state::check_event(POWER_LEVELS, "", &plan.levels)?;
    let own = match creators.is_empty() {
        true => levels::of_user(&plan.levels, &me).unwrap_or(levels::read(&plan.levels).users),
        false => power::CREATOR,
    };
    check_own_power(&plan, own)?;
    let powers = first_powers(ctx, &plan.levels, &creators, &user).await?;
    let room = rooms::fresh_room(ctx).await;
    if let Some(name) = &plan.name {
        claim(ctx, name, room).await?;
    }
    let seed = seed(plan, own, powers);
    let named = seed.name.clone();
    match join(ctx, &user, room, seed).await {
        Ok(()) => Ok(room),
        Err(why) => {
            if let Some(name) = named {
                let act = Act::Release { id: room.0, lock: false };
                ctx.command(Command::by_server(EntityId::Name(NameKey::Room(name)), act)).await?;
            }
            Err(why)
        }
    }
}

/// The maker must have the power for what the room begins with.
fn check_own_power(plan: &Plan, own: Power) -> Result<(), Error> {
    let kinds = plan.state.iter().map(|(kind, ..)| kind.as_str());
    let more = ["m.room.join_rules", "m.room.history_visibility"];
    for kind in kinds.chain(more) {
        if own < levels::needed(&plan.levels, kind, true) {
            return Err(invalid_state(format!("these power levels do not let you set {kind}")));
        }
    }
    Ok(())
}

/// The powers of people other than the maker.
async fn first_powers(
    ctx: &Ctx,
    content: &Json,
    creators: &[String],
    me: &User,
) -> Result<Vec<(User, Power)>, Error> {
    let known = rooms::named_users(ctx, content).await?;
    let mut powers: BTreeMap<_, (User, Power)> = BTreeMap::new();
    for (id, user) in known {
        if let Some(power) = levels::of_user(content, &id) {
            powers.insert(user.id, (user, power));
        }
    }
    for id in creators {
        match rooms::user_of(ctx, id).await {
            Ok(user) => _ = powers.insert(user.id, (user, power::CREATOR)),
            Err(why) if why.status == 404 => {}
            Err(why) => return Err(why),
        }
    }
    powers.remove(&me.id);
    Ok(powers.into_values().collect())
}

/// Takes the name for the room.
async fn claim(ctx: &Ctx, name: &RoomName, room: RoomId) -> Result<(), Error> {
    let taken = || Error::room_in_use("the alias is another room's");
    let to = EntityId::Name(NameKey::Room(name.clone()));
    match ctx.act(to, Act::Claim { id: room.0 }).await {
        Ok(Value::Id(id)) if id == room.0 => Ok(()),
        Ok(_) | Err(Refusal::NameTaken) => Err(taken()),
        Err(why) => Err(why.into()),
    }
}

fn seed(plan: Plan, power: Power, powers: Vec<(User, Power)>) -> Seed {
    let policy = Policy { levels: levels::read(&plan.levels), ..plan.policy };
    let packed = |content: &Json| Octets::from(content.to_bytes());
    let mut attrs = vec![(attr_key(POWER_LEVELS, ""), packed(&plan.levels))];
    attrs.extend(plan.state.iter().map(|(kind, key, content)| (attr_key(kind, key), packed(content))));
    Seed {
        open: Some(plan.opening.write()),
        attrs,
        topic: plan.topic,
        powers,
        ..Seed::new(plan.name, policy, power)
    }
}

async fn join(ctx: &Ctx, user: &User, room: RoomId, seed: Seed) -> Result<(), Error> {
    let account = login::account(ctx).await?;
    let (display, native) = profile::shown(&account);
    let subject = members::subject(user, ctx.domain());
    let join = Join { create: Some(seed), subject, display, native, ..Join::default() };
    ctx.join(Command::by(user, EntityId::Room(room), Act::Join(Box::new(join)))).await?;
    Ok(())
}
