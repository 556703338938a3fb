//! State events (client-server API, "Getting events for a room", "Sending events to a room"): read, and set by what
//! they mean for everybody.

use crate::json::Json;
use crate::matrix::api::{delayed, members};
use crate::matrix::content::TYPE_MAX;
use crate::matrix::error::Error;
use crate::matrix::facts::{attr_key, creators};
use crate::matrix::ids::{ID_MAX, room_name, user_id};
use crate::matrix::levels::{self, POWER_LEVELS};
use crate::matrix::meaning;
use crate::matrix::pdu::Version;
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms::{self, Seen};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use crate::session::MATRIX_NATIVE;
use lavina_core::command::{Act, EntityId};
use lavina_core::ids::RoomId;
use lavina_core::name::User;
use lavina_core::policy::{JoinRule, Membership, Policy, Power};
use lavina_core::query::{RoomView, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Rich, Str};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/rooms/{room}/state" Must whole),
    route!(Get "/_matrix/client/v3/rooms/{room}/state/{type}" Must one),
    route!(Get "/_matrix/client/v3/rooms/{room}/state/{type}/{key}" Must one),
    route!(Put "/_matrix/client/v3/rooms/{room}/state/{type}" Must put),
    route!(Put "/_matrix/client/v3/rooms/{room}/state/{type}/{key}" Must put),
];

/// Largest event in bytes (client-server API, "Size limits"); above: 413.
pub const EVENT_MAX: usize = 65_536;

/// What an event is besides its content, at most.
const ENVELOPE: usize = 2_048;

/// How often a change is made anew because somebody else changed the same meanwhile.
const TRIES: usize = 4;

async fn whole(ctx: Ctx, request: Request) -> Answer {
    let Seen { view, state, .. } = rooms::seen(&ctx, request.arg(0)).await?;
    Ok(Response::ok(&Json::from(rooms::state_events(&ctx, &view, state.values()))))
}

async fn one(ctx: Ctx, request: Request) -> Answer {
    let Seen { view, state, .. } = rooms::seen(&ctx, request.arg(0)).await?;
    let place = (Str::new(request.arg(1)), Str::new(request.arg(2)));
    let row = state.get(&place).ok_or_else(|| Error::not_found("the room has no such state"))?;
    let wrong = || Error::not_found("the room has no such state");
    match request.param("format") {
        Some("event") => {
            let event = rooms::state_events(&ctx, &view, std::iter::once(row)).pop();
            Ok(Response::ok(&event.ok_or_else(wrong)?))
        }
        None | Some("content") => {
            Ok(Response::ok(&rooms::content(&state, &place.0, &place.1).ok_or_else(wrong)?))
        }
        Some(_) => Err(Error::invalid_param("format must be content or event")),
    }
}

async fn put(ctx: Ctx, request: Request) -> Answer {
    let (kind, key) = (request.arg(1).to_owned(), request.arg(2).to_owned());
    if let Some(delay) = delayed::delay(&request)? {
        return Box::pin(delayed::schedule(&ctx, &request, delay, Some(&key))).await;
    }
    let content = request.json()?;
    let view = rooms::known_view(&ctx, request.arg(0)).await?;
    // Memberships have rules of their own.
    if kind != "m.room.member" {
        rooms::membership_or_forbidden(&view, ctx.user()?)?;
    }
    let id = set(&ctx, view.id, &kind, &key, content).await?;
    Ok(Response::ok(&object! { "event_id" => id }))
}

/// Refuses what cannot be an event.
///
/// # Errors
/// 400, or 413 where it is too large.
pub fn check_event(kind: &str, key: &str, content: &Json) -> Result<(), Error> {
    if kind.is_empty() || kind.len() > TYPE_MAX {
        return Err(Error::invalid_param(format!("an event type has 1 to {TYPE_MAX} bytes")));
    }
    if key.len() > ID_MAX || key.contains('\u{1f}') || kind.contains('\u{1f}') {
        return Err(Error::invalid_param(format!("a state key may have {ID_MAX} bytes")));
    }
    if content.as_object().is_none() {
        return Err(Error::bad_json("the content must be an object"));
    }
    let bytes = content.canonical().map_err(|why| Error::bad_json(why.to_string()))?;
    if bytes.len() + kind.len() + key.len() + ENVELOPE > EVENT_MAX {
        return Err(Error::too_large("the event is too large"));
    }
    Ok(())
}

/// Sets a state event and gives its id.
///
/// # Errors
/// What the specification's authorisation rules refuse, and what makes no sense.
pub async fn set(ctx: &Ctx, room: RoomId, kind: &str, key: &str, content: Json) -> Result<String, Error> {
    check_event(kind, key, &content)?;
    if kind == "m.room.member" {
        return members::set_by_state(ctx, room, key, &content).await;
    }
    for _ in 0..TRIES {
        let view = rooms::open_view(ctx, room).await?;
        check_right(ctx, &view, kind, key)?;
        let change = change_of(ctx, &view, kind, key, &content).await?;
        let value = Octets::from(content.to_bytes());
        match ctx.act(EntityId::Room(room), change.act(attr_key(kind, key), value)).await {
            Ok(Value::Event(event)) => return Ok(rooms::state_id(ctx, &event, kind, key)),
            // It is so already.
            Ok(_) => return current_id(ctx, room, kind, key).await,
            Err(Refusal::Stale) => {}
            Err(why) => return Err(why.into()),
        }
    }
    Err(Refusal::Stale.into())
}

async fn current_id(ctx: &Ctx, room: RoomId, kind: &str, key: &str) -> Result<String, Error> {
    let view = rooms::view(ctx, room).await?;
    let row = view.facts.get(&(Str::new(kind), Str::new(key)));
    let row = row.ok_or_else(|| Error::not_found("the room has no such state"))?;
    Ok(rooms::row_id(ctx, room, row))
}

/// The rules for all types (room version 10, "Authorization rules", 6 to 8).
fn check_right(ctx: &Ctx, view: &RoomView, kind: &str, key: &str) -> Result<(), Error> {
    let user = ctx.user()?;
    if rooms::membership(view, user) != Membership::Joined {
        return Err(Error::forbidden("you are not in the room"));
    }
    if kind == "m.room.create" {
        return Err(Error::new(400, "M_BAD_STATE", "a room is made once"));
    }
    if view.parties.is_some() {
        let why = match kind {
            "m.room.encryption" => "a direct chat is read with IRC and XMPP too, so it cannot be encrypted",
            _ => "a direct chat of two cannot be changed",
        };
        return Err(Error::forbidden(why));
    }
    let levels = rooms::content(&view.facts, POWER_LEVELS, "").unwrap_or_else(Json::object);
    let needed = levels::needed(&levels, kind, true);
    if rooms::power(view, user) < needed {
        return Err(Refusal::Power(needed).into());
    }
    if key.starts_with('@') && key != user_id(user, ctx.domain()) {
        return Err(Error::forbidden("a state key that is a user's id is that user's"));
    }
    Ok(())
}

/// What a state event changes for everybody.
#[derive(Default)]
pub struct Change {
    policy: Option<Box<(Policy, Policy)>>,
    powers: Vec<(User, Power)>,
    topic: Option<Rich>,
}

impl Change {
    fn act(self, key: Str, value: Octets) -> Act {
        if self.policy.is_none() && self.powers.is_empty() && self.topic.is_none() {
            return Act::SetRoomAttr { key, value };
        }
        Act::Amend { policy: self.policy, powers: self.powers, key, value, topic: self.topic }
    }
}

async fn change_of(
    ctx: &Ctx,
    view: &RoomView,
    kind: &str,
    key: &str,
    content: &Json,
) -> Result<Change, Error> {
    if !key.is_empty() {
        return Ok(Change::default());
    }
    let mut to = view.policy().clone();
    let mut change = Change::default();
    match kind {
        POWER_LEVELS => change.powers = new_levels(ctx, view, content, &mut to).await?,
        "m.room.canonical_alias" => check_aliases(ctx, view, content).await?,
        "m.room.encryption" => check_sealing(view, content)?,
        "m.room.topic" => change.topic = Some(meaning::topic(content)),
        _ => neutral(kind, content, &mut to, rooms::rules(view))?,
    }
    if to != *view.policy() {
        change.policy = Some(Box::new((view.policy().clone(), to)));
    }
    Ok(change)
}

/// Changes the rules of a room of that version by what a state event with the empty key says; others change none.
///
/// # Errors
/// 400 for a content that says nothing that there is.
pub fn neutral(kind: &str, content: &Json, policy: &mut Policy, version: Version) -> Result<(), Error> {
    match kind {
        "m.room.name" => policy.title = meaning::title(content),
        "m.room.join_rules" => {
            let rule = meaning::join_rule(content);
            policy.join = rule.ok_or_else(|| Error::bad_json("there is no such join rule"))?;
            if let Some(rule) = content.str_of("join_rule").filter(|rule| !version.has_join_rule(rule)) {
                let why = format!("rooms of version {} do not know {rule}", version.name());
                return Err(Error::bad_json(why));
            }
            policy.password = None;
        }
        "m.room.history_visibility" => {
            let history = meaning::visibility(content);
            policy.history = history.ok_or_else(|| Error::bad_json("there is no such visibility"))?;
        }
        _ => {}
    }
    Ok(())
}

/// Checks new power levels and puts them into the rules; gives what changes for people.
async fn new_levels(
    ctx: &Ctx,
    view: &RoomView,
    content: &Json,
    policy: &mut Policy,
) -> Result<Vec<(User, Power)>, Error> {
    let domain = ctx.domain();
    let creators: Vec<String> = creators(&view.members).map(|user| user_id(user, domain)).collect();
    levels::check(content, &|id| creators.iter().any(|c| c == id)).map_err(Error::bad_json)?;
    let old = rooms::content(&view.facts, POWER_LEVELS, "").unwrap_or_else(Json::object);
    let me = ctx.user()?;
    levels::check_change(&old, content, rooms::power(view, me), &user_id(me, domain))
        .map_err(Error::forbidden)?;
    policy.levels = levels::read(content);
    policy.invites = true;
    let known = rooms::named_users(ctx, content).await?;
    Ok(levels::powers(content, &view.members, &known, domain))
}

/// Aliases must be the room's (client-server API, "Canonical aliases").
async fn check_aliases(ctx: &Ctx, view: &RoomView, content: &Json) -> Result<(), Error> {
    let old = rooms::content(&view.facts, "m.room.canonical_alias", "").unwrap_or_else(Json::object);
    let listed = |content: &Json| -> Vec<String> {
        let alternatives = content.get("alt_aliases").and_then(Json::as_array).unwrap_or_default();
        let main = content.get("alias").filter(|alias| !alias.is_null());
        main.into_iter().chain(alternatives).filter_map(|a| a.as_str().map(str::to_owned)).collect()
    };
    let given = content.get("alt_aliases").filter(|a| !a.is_null());
    let strings = |a: &Json| a.as_array().is_some_and(|a| a.iter().all(|a| a.as_str().is_some()));
    let main = content.get("alias").filter(|a| !a.is_null());
    if given.is_some_and(|a| !strings(a)) || main.is_some_and(|a| a.as_str().is_none()) {
        return Err(Error::invalid_param("aliases must be strings"));
    }
    let known = listed(&old);
    for alias in listed(content).into_iter().filter(|alias| !alias.is_empty() && !known.contains(alias)) {
        if crate::matrix::ids::split('#', &alias).is_none() {
            return Err(Error::invalid_param(format!("{alias} is no room alias")));
        }
        let bad = || Error::new(400, "M_BAD_ALIAS", format!("{alias} is no alias of this room"));
        let Some(Ok(name)) = room_name(&alias, ctx.domain()) else { return Err(bad()) };
        if rooms::resolve(ctx, &name).await? != Some(view.id) {
            return Err(bad());
        }
    }
    Ok(())
}

/// Encryption shuts out whoever cannot read it.
fn check_sealing(view: &RoomView, content: &Json) -> Result<(), Error> {
    if content.str_of("algorithm").is_none() {
        return Err(Error::bad_json("algorithm is missing"));
    }
    let joined = view.members.values().filter(|m| m.standing.membership == Membership::Joined);
    let elsewhere = |m: &&lavina_core::policy::Member| {
        m.native.as_ref().is_none_or(|native| native.protocol != MATRIX_NATIVE)
    };
    match joined.filter(elsewhere).count() {
        0 => Ok(()),
        _ => Err(Error::forbidden(
            "there are people in the room who use IRC or XMPP and could not read it; so it stays unencrypted",
        )),
    }
}

/// Whether a join rule lets in whoever is in one of the listed rooms.
pub fn restricted(content: &Json) -> bool {
    matches!(content.str_of("join_rule"), Some("restricted" | "knock_restricted"))
}

/// The rule for new rooms of that kind.
pub fn preset_rule(public: bool) -> JoinRule {
    if public { JoinRule::Public } else { JoinRule::Invite }
}
