//! What handlers of room endpoints have in common: which room is meant, what may be seen of it, its state as it is or
//! was.

use super::chain;
use super::error::Error;
use super::event::{RoomEvent, Unsigned, fact_ref, replaced, state_event};
use super::facts::Opening;
use super::ids::{self, Elsewhere, EventRef, IdKey, Who};
use super::levels;
use super::pdu::Version;
use super::task::Ctx;
use crate::json::{DEPTH, Json};
use crate::matrix::content::Write;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Command, EntityId, Shown};
use lavina_core::event::{Event, FactRef};
use lavina_core::ids::{Pos, RoomId, ShardId};
use lavina_core::name::{NameKey, RoomName, User};
use lavina_core::policy::{Membership, Power};
use lavina_core::query::{Bound, Only, Query, Range, RoomView, Value};
use lavina_core::refusal::Refusal;
use lavina_core::row::FactRow;
use lavina_core::seal::{Piece, Seal};
use lavina_core::text::Str;
use lavina_core::vecmap::VecMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most steps back through what a state event replaced, to find what held at a moment; beyond them it is left out.
const STEPS_BACK: usize = 1_000;

/// Rooms whose ids an agent remembers; above, all are forgotten.
const NAMES: usize = 4_096;

/// A room's state: what holds, by type and state key.
pub type State = BTreeMap<(Str, Str), Arc<FactRow>>;

/// Makes and knows the ids of this server.
pub fn id_key(ctx: &Ctx) -> IdKey {
    IdKey::new(&ctx.settings().core.secret)
}

/// The room that an id names.
///
/// # Errors
/// 400 where it is no room id, 404 where it is none of ours.
pub async fn room_of(ctx: &Ctx, id: &str) -> Result<RoomId, Error> {
    if !id.starts_with('!') || id.len() < 2 || id.len() > ids::ID_MAX {
        return Err(Error::invalid_param(format!("{id} is no room id")));
    }
    room_ref(ctx, id).await?.ok_or_else(|| Error::not_found("there is no such room here"))
}

/// The room that an id names, if it is one of ours: by the name of its create event, or by an id that says it itself.
///
/// # Errors
/// Only where the server cannot tell.
pub async fn room_ref(ctx: &Ctx, id: &str) -> Result<Option<RoomId>, Error> {
    if let Some(room) = id_key(ctx).room_at(id, ctx.domain()) {
        return Ok(Some(room));
    }
    let Some(seal) = chain::seal_of(id).filter(|_| id.starts_with('!')) else { return Ok(None) };
    let known = ctx.with(move |agent, _| agent.names.rooms.get(&seal).copied()).await;
    if known.is_some() {
        return Ok(known);
    }
    let Some(piece) = piece(ctx, seal).await? else { return Ok(None) };
    // Any event's id could be written so.
    let name = room_id(ctx, piece.room).await?;
    Ok(Some(piece.room).filter(|_| name == id))
}

/// The id of a room.
///
/// # Errors
/// Only where the server cannot tell.
pub async fn room_id(ctx: &Ctx, room: RoomId) -> Result<String, Error> {
    let known = ctx.with(move |agent, _| agent.names.ids.get(&room).cloned()).await;
    if let Some(known) = known {
        return Ok(known.to_string());
    }
    let known = match ctx.query(Query::Room(room)).await {
        Ok(Value::Room(view)) => view.head.known.clone(),
        Ok(_) | Err(Refusal::NoSuchRoom) => None,
        Err(why) => return Err(why.into()),
    };
    if let Some(known) = known.clone() {
        ctx.with(move |agent, _| agent.names.learn(room, known)).await;
    }
    Ok(id_key(ctx).room_name(room, known.as_deref()))
}

/// The id of a room that is known.
pub fn name_of_view(ctx: &Ctx, view: &RoomView) -> String {
    id_key(ctx).room_name(view.id, view.head.known.as_deref())
}

/// Ids of rooms that an agent has come across, so that it need not ask again.
#[derive(Debug, Default)]
pub struct Names {
    rooms: VecMap<Seal, RoomId>,
    ids: VecMap<RoomId, Str>,
}

impl Names {
    fn learn(&mut self, room: RoomId, id: Str) {
        if self.ids.len() >= NAMES {
            *self = Names::default();
        }
        if let Some(seal) = chain::seal_of(&id) {
            self.rooms.insert(seal, room);
        }
        self.ids.insert(room, id);
    }
}

async fn piece(ctx: &Ctx, seal: Seal) -> Result<Option<Piece>, Error> {
    match ctx.query(Query::Sealed(seal)).await {
        Ok(Value::Piece(piece)) => Ok(Some(piece)),
        Ok(_) | Err(Refusal::NoSuchItem) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// The event that an id names, if it is one of ours.
///
/// # Errors
/// Only where the server cannot tell.
pub async fn event_ref(ctx: &Ctx, id: &str) -> Result<Option<EventRef>, Error> {
    if let Some(event) = id_key(ctx).coded_event(id) {
        return Ok(Some(event));
    }
    let Some(seal) = chain::seal_of(id).filter(|_| id.starts_with('$')) else { return Ok(None) };
    let piece = piece(ctx, seal).await?;
    Ok(piece.map(|p| EventRef { room: p.room, pos: p.pos, sub: p.nth }))
}

/// The id of an entry that is no state, as it would be known by it.
///
/// # Errors
/// Only where the server cannot tell.
pub async fn entry_id(ctx: &Ctx, room: RoomId, pos: Pos) -> Result<String, Error> {
    let seal = entry(ctx, room, pos).await?.and_then(|e| e.seal(0));
    Ok(id_key(ctx).name(EventRef::new(room, pos), seal.as_ref()))
}

/// The name that an alias stands for.
///
/// # Errors
/// 400 where it is no alias, 404 where it is another server's.
pub fn name_of(ctx: &Ctx, alias: &str) -> Result<RoomName, Error> {
    match ids::room_name(alias, ctx.domain()) {
        Some(Ok(name)) => Ok(name),
        Some(Err(Elsewhere)) => Err(Error::not_found("that server cannot be reached from here")),
        None if ids::split('#', alias).is_some_and(|(_, server)| server == ctx.domain()) => {
            Err(Error::not_found("no room can have that alias here"))
        }
        None => Err(Error::invalid_param(format!("{alias} is no room alias"))),
    }
}

/// The room that has this name.
///
/// # Errors
/// Only where the server cannot tell.
pub async fn resolve(ctx: &Ctx, name: &RoomName) -> Result<Option<RoomId>, Error> {
    match ctx.query(Query::Resolve(NameKey::Room(name.clone()))).await {
        Ok(Value::Id(id)) => Ok(Some(RoomId(id))),
        Ok(_) | Err(Refusal::NoSuchRoom) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// The room that an id or an alias means.
///
/// # Errors
/// 400 where it is neither, 404 where there is none.
pub async fn room_or_alias(ctx: &Ctx, said: &str) -> Result<RoomId, Error> {
    if said.starts_with('#') {
        let name = name_of(ctx, said)?;
        let found = resolve(ctx, &name).await?;
        return found.ok_or_else(|| Error::not_found("no room has that alias"));
    }
    room_of(ctx, said).await
}

/// The room as it is.
///
/// # Errors
/// 404 where it is not there any more.
pub async fn view(ctx: &Ctx, room: RoomId) -> Result<Arc<RoomView>, Error> {
    match ctx.query(Query::Room(room)).await {
        Ok(Value::Room(view)) if !view.head.destroyed => Ok(view),
        Ok(_) | Err(Refusal::NoSuchRoom) => Err(Error::not_found("there is no such room")),
        Err(why) => Err(why.into()),
    }
}

/// The room, which is open from here on at the latest: it has state events.
///
/// # Errors
/// As [`view`].
pub async fn open_view(ctx: &Ctx, room: RoomId) -> Result<Arc<RoomView>, Error> {
    let seen = view(ctx, room).await?;
    if seen.head.open.is_some() {
        return Ok(seen);
    }
    open(ctx, room, None, shown(ctx, &seen).await?).await?;
    view(ctx, room).await
}

/// How the two of a dialog show themselves; people in rooms have said it when they came.
async fn shown(ctx: &Ctx, view: &RoomView) -> Result<Vec<Shown>, Error> {
    let Some((a, b)) = &view.parties else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for user in [a, b] {
        match ctx.query(Query::Account(user.id)).await {
            Ok(Value::Account(account)) => out.push(shown_as(&account)),
            Ok(_) | Err(Refusal::NoSuchUser) => {}
            Err(why) => return Err(why.into()),
        }
    }
    Ok(out)
}

/// How an account shows itself.
pub fn shown_as(account: &Account) -> Shown {
    let (display, native) = super::api::profile::shown(account);
    Shown { who: account.id, display, native }
}

/// Opens a room; a dialog that is not there yet is made.
///
/// # Errors
/// Where the server cannot.
pub async fn open(
    ctx: &Ctx,
    room: RoomId,
    parties: Option<(User, User)>,
    shown: Vec<Shown>,
) -> Result<(), Error> {
    let how = Opening::plain(ctx.settings().room_version).write();
    let act = Act::Open { how, parties: parties.map(Box::new), shown };
    ctx.command(Command::by_server(EntityId::Room(room), act)).await?;
    Ok(())
}

/// The room of the request's first segment, for who is in it.
///
/// # Errors
/// 403 for others, whether there is such a room or not.
pub async fn joined_view(ctx: &Ctx, id: &str) -> Result<Arc<RoomView>, Error> {
    let seen = known_view(ctx, id).await?;
    let user = ctx.user()?;
    match membership(&seen, user) {
        Membership::Joined => Ok(seen),
        _ => Err(Error::forbidden("you are not in the room")),
    }
}

/// The room of the request's first segment, for whoever may know of it or not.
///
/// # Errors
/// 403 where there is none.
pub async fn known_view(ctx: &Ctx, id: &str) -> Result<Arc<RoomView>, Error> {
    let room = room_of(ctx, id).await.map_err(|why| match why.status {
        404 => Error::forbidden("you are not in the room"),
        _ => why,
    })?;
    open_view(ctx, room).await.map_err(|why| match why.status {
        404 => Error::forbidden("you are not in the room"),
        _ => why,
    })
}

/// Refuses who is not in the room.
///
/// # Errors
/// 403.
pub fn membership_or_forbidden(view: &RoomView, user: &User) -> Result<(), Error> {
    match membership(view, user) {
        Membership::Joined => Ok(()),
        _ => Err(Error::forbidden("you are not in the room")),
    }
}

/// Whether whoever asks is an administrator.
///
/// # Errors
/// Where the store does not answer.
pub async fn is_admin(ctx: &Ctx) -> Result<bool, Error> {
    let account = super::api::login::account(ctx).await?;
    Ok(account.head.as_ref().is_some_and(|h| h.admin))
}

/// Somebody's membership.
pub fn membership(view: &RoomView, user: &User) -> Membership {
    view.members.get(&user.id).map_or(Membership::Left, |m| m.standing.membership)
}

/// Somebody's power.
pub fn power(view: &RoomView, user: &User) -> Power {
    view.members.get(&user.id).map_or(view.policy().levels.users, |m| m.standing.power)
}

/// The entry that made the room, if that is known.
pub fn made(view: &RoomView) -> Option<Pos> {
    view.facts.get(&(Str::new("m.room.create"), Str::default())).map(|row| row.at.pos)
}

/// The room's version.
pub fn version(view: &RoomView) -> Option<Opening> {
    view.head.open.as_ref().and_then(|how| Opening::read(how))
}

/// The rules of the room's version; of a room that Matrix does not know yet: those that it would have.
pub fn rules(view: &RoomView) -> Version {
    version(view).map_or(Version::V12, |opening| opening.rules())
}

/// The content of a state event as it holds.
pub fn content(state: &State, kind: &str, key: &str) -> Option<Json> {
    let row = state.get(&(Str::new(kind), Str::new(key)))?;
    Json::parse_within(&row.fact.content, DEPTH + 1).ok()
}

/// A room with the state that somebody may see: as it is, or as it was when he left.
pub struct Seen {
    /// The room as it is.
    pub view: Arc<RoomView>,
    /// The state.
    pub state: Arc<State>,
    /// The last entry that he may see; [`Pos::MAX`] for who is in it.
    pub last: Pos,
}

/// The room and the state that whoever asks may see.
///
/// # Errors
/// 403 for who was never in it.
pub async fn seen(ctx: &Ctx, id: &str) -> Result<Seen, Error> {
    let view = known_view(ctx, id).await?;
    let user = ctx.user()?;
    let readable = view.readable(user.id);
    let last = readable.ok_or_else(|| Error::forbidden("you are not in the room"))?.last;
    let state = state_at(ctx, &view, last).await?;
    Ok(Seen { view, state, last })
}

/// The state after that entry.
///
/// # Errors
/// Where the store does not answer.
pub async fn state_at(ctx: &Ctx, view: &RoomView, last: Pos) -> Result<Arc<State>, Error> {
    if view.facts.values().all(|row| row.at.pos <= last) {
        return Ok(view.facts.clone());
    }
    let mut state = State::new();
    let mut steps = 0;
    for (place, row) in view.facts.iter() {
        let mut row = row.clone();
        while row.at.pos > last {
            let Some(before) = row.fact.before.filter(|_| steps < STEPS_BACK) else { break };
            steps += 1;
            let Some(found) = fact(ctx, view.id, before).await? else { break };
            row = Arc::new(found);
        }
        if row.at.pos <= last {
            state.insert(place.clone(), row);
        }
    }
    Ok(Arc::new(state))
}

/// A fact of an entry, as it was set.
///
/// # Errors
/// Where the store does not answer.
pub async fn fact(ctx: &Ctx, room: RoomId, at: FactRef) -> Result<Option<FactRow>, Error> {
    let Some(event) = entry(ctx, room, at.pos).await? else { return Ok(None) };
    Ok(FactRow::of(&event, at.nth))
}

/// The entry at a position.
///
/// # Errors
/// Where the store does not answer.
pub async fn entry(ctx: &Ctx, room: RoomId, pos: Pos) -> Result<Option<Arc<Event>>, Error> {
    let (after, before) = (Bound::Pos(pos.back()), Bound::Pos(pos.next()));
    let range = Range { after, before, only: Only::All, ..Range::latest(1) };
    match ctx.query(Query::Entries { room, range }).await? {
        Value::Events(found) => Ok(found.entries.first().cloned()),
        _ => Ok(None),
    }
}

/// State events in the format for clients.
pub fn state_events<'a>(
    ctx: &Ctx,
    view: &RoomView,
    rows: impl Iterator<Item = &'a Arc<FactRow>>,
) -> Vec<Json> {
    let ids = id_key(ctx);
    let (room, name) = (view.id, name_of_view(ctx, view));
    let with =
        Write { ids: &ids, seal: &|_| None, domain: ctx.domain(), known: &|_| true, notify_room: false };
    let unsigned = Unsigned { now: Some(ctx.now().wall), ..Unsigned::default() };
    rows.filter_map(|row| {
        let event: RoomEvent = state_event(room, row, ctx.domain())?;
        let replaces = replaced(room, &row.fact, &ids);
        let unsigned = Unsigned { replaces_state: replaces, ..unsigned.clone() };
        Some(event.to_client(&unsigned, Some(&name), &with))
    })
    .collect()
}

/// The id of the event that an entry is, or the last of its facts.
pub fn event_id(ctx: &Ctx, event: &Event) -> String {
    let sub = u8::try_from(event.facts.len().saturating_sub(1)).unwrap_or(u8::MAX);
    piece_id(ctx, event, sub)
}

/// The id of the state event of that type and key that an entry sets.
pub fn state_id(ctx: &Ctx, event: &Event, kind: &str, key: &str) -> String {
    let nth = event.facts.iter().rposition(|f| f.kind == kind && f.key == key);
    nth.and_then(|nth| u8::try_from(nth).ok())
        .map_or_else(|| event_id(ctx, event), |sub| piece_id(ctx, event, sub))
}

fn piece_id(ctx: &Ctx, event: &Event, sub: u8) -> String {
    let of = EventRef { room: event.room, pos: event.pos, sub };
    id_key(ctx).name(of, event.seal(sub).as_ref())
}

/// The id of a state event as it holds.
pub fn row_id(ctx: &Ctx, room: RoomId, row: &FactRow) -> String {
    id_key(ctx).name(fact_ref(room, row.at, &row.fact.kind), row.seal.as_ref())
}

/// The account of ours that an id names.
///
/// # Errors
/// 400 where it is no user id, 404 where there is no such account.
pub async fn account_of(ctx: &Ctx, id: &str) -> Result<Arc<Account>, Error> {
    let unknown = || Error::not_found(format!("there is no user {id} here"));
    let name = match ids::who(id, ctx.domain()) {
        Some(Who::Local(name)) => name,
        Some(_) => return Err(unknown()),
        None => return Err(Error::invalid_param(format!("{id} is no user id"))),
    };
    match ctx.query(Query::AccountNamed(name)).await {
        Ok(Value::Account(account)) if account.user().is_some() => Ok(account),
        Ok(_) | Err(Refusal::NoSuchUser) => Err(unknown()),
        Err(why) => Err(why.into()),
    }
}

/// The same, as somebody.
///
/// # Errors
/// As [`account_of`].
pub async fn user_of(ctx: &Ctx, id: &str) -> Result<User, Error> {
    let account = account_of(ctx, id).await?;
    account.user().ok_or_else(|| Error::not_found(format!("there is no user {id} here")))
}

/// Accounts of ours that a content's power levels name, by id.
///
/// # Errors
/// Where the server cannot tell.
pub async fn named_users(ctx: &Ctx, content: &Json) -> Result<BTreeMap<String, User>, Error> {
    let mut out = BTreeMap::new();
    let named: Vec<String> = levels::users(content).map(str::to_owned).collect();
    for id in named {
        match user_of(ctx, &id).await {
            Ok(user) => _ = out.insert(id, user),
            Err(why) if why.status == 404 => {}
            Err(why) => return Err(why),
        }
    }
    Ok(out)
}

/// A fresh id for a room.
pub async fn fresh_room(ctx: &Ctx) -> RoomId {
    let shards = ctx.settings().core.shards;
    let (random, shard) = ctx.with(|_, cx| (cx.random(), cx.random())).await;
    let shard = ShardId((shard % u64::from(shards.max(1))) as u8);
    RoomId::fresh(random, shard, shards, false)
}
