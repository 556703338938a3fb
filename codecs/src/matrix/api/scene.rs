//! Entries of a room as events for one client: with what was withdrawn left out, and with what else the client wants to
//! know of each (client-server API, "Room event format", "Aggregations of child events").

use crate::json::{DEPTH, Json};
use crate::matrix::content::{RELATES_TO, Write, mentions, unpack};
use crate::matrix::device::stamp::Place;
use crate::matrix::error::Error;
use crate::matrix::event::{RoomEvent, Unsigned, events, message_event, replaced, sender};
use crate::matrix::ids::{EventRef, IdKey};
use crate::matrix::relations::{Relations, Thread};
use crate::matrix::rooms;
use crate::matrix::task::Ctx;
use crate::object;
use crate::session::MATRIX_NATIVE;
use lavina_core::event::{Event, FactRef, Message, Native, What};
use lavina_core::ids::{AccountId, Pos, RoomId};
use lavina_core::name::{User, UserName};
use lavina_core::policy::{Membership, power};
use lavina_core::query::{Bound, Only, Query, Range, RoomView, Stretch, Value};
use lavina_core::seal::Seal;
use lavina_core::text::Str;
use lavina_core::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most entries about those shown that are looked at.
pub const RELATED: u32 = 1_000;

/// Fewer entries than this are looked through one by one.
const FEW: usize = 8;

/// Most former values of state that are looked up for one answer; of more events they are left out.
const BEFORE: usize = 100;

/// An event for a client.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The event, with `room_id`.
    pub json: Json,
    /// Where in the log.
    pub place: Place,
    /// Its type.
    pub kind: Str,
    /// For state: the key.
    pub state_key: Option<Str>,
    /// Its entry.
    pub entry: Arc<Event>,
}

impl Shown {
    /// As answers have it that say the room elsewhere.
    pub fn in_room(mut self) -> Json {
        self.json.take("room_id");
        self.json
    }
}

/// The state event that another replaced.
struct Former {
    content: Json,
    sender: String,
}

impl Former {
    fn of(entry: &Event, at: FactRef, domain: &str) -> Option<Former> {
        let fact = entry.facts.get(usize::from(at.nth))?;
        let content = Json::parse_within(&fact.content, DEPTH + 1).ok()?;
        Some(Former { content, sender: sender(fact.by.as_ref().unwrap_or(&entry.by), domain) })
    }
}

/// What has to be known to show some entries of a room.
pub struct Scene {
    /// Makes ids.
    pub ids: IdKey,
    /// The server's domain.
    pub domain: Str,
    /// Who looks.
    pub me: User,
    /// Which room.
    pub room: RoomId,
    /// The room's id.
    pub room_id: Str,
    now: UnixMillis,
    related: Vec<Arc<Event>>,
    /// Where they are by the entry that they are about; none where they are few.
    index: Option<BTreeMap<Pos, Vec<usize>>>,
    before: BTreeMap<FactRef, Former>,
    transactions: BTreeMap<Pos, Str>,
    hidden: BTreeSet<Pos>,
    view: Option<Arc<RoomView>>,
    /// The entry since which the reader is joined, where that is known.
    pub joined: Option<Pos>,
}

/// What is known of the entries about those to be shown.
pub enum Related {
    /// Nothing: it is to be looked up.
    Ask,
    /// These are all.
    These(Vec<Arc<Event>>),
}

impl Scene {
    /// Looks up what is needed to show these entries.
    ///
    /// # Errors
    /// The server cannot tell.
    pub async fn new(
        ctx: &Ctx,
        room: RoomId,
        entries: &[Arc<Event>],
        related: Related,
        view: Option<Arc<RoomView>>,
    ) -> Result<Scene, Error> {
        let me = ctx.user()?.clone();
        let room_id = match &view {
            Some(view) => rooms::name_of_view(ctx, view),
            None => rooms::room_id(ctx, room).await?,
        };
        let mut scene = Scene {
            room_id: Str::new(room_id),
            ids: IdKey::new(&ctx.settings().core.secret),
            domain: Str::new(ctx.domain()),
            room,
            now: ctx.now().wall,
            related: Vec::new(),
            index: None,
            before: BTreeMap::new(),
            transactions: BTreeMap::new(),
            hidden: BTreeSet::new(),
            joined: view.as_ref().and_then(|v| joined_since(v, me.id)),
            me,
            view,
        };
        scene.related = match related {
            Related::These(all) => all,
            Related::Ask => related_to(ctx, room, targets(entries)).await?,
        };
        scene.look_behind(ctx, entries).await?;
        scene.look_before(ctx, entries).await?;
        scene.make_index();
        let foreign = |e: &&Arc<Event>| scene.may_mention(e);
        if scene.view.is_none() && entries.iter().any(|e| foreign(&e)) {
            scene.view = view_of(ctx, room).await.ok();
        }
        scene.ask_device(ctx, entries).await;
        Ok(scene)
    }

    /// Reactions taken back whose adding lies before what is known.
    async fn look_behind(&mut self, ctx: &Ctx, entries: &[Arc<Event>]) -> Result<(), Error> {
        let lost: Vec<Pos> = entries
            .iter()
            .filter_map(|e| match &e.what {
                What::Reacted { target, on: false, .. } if self.undone(e).is_none() => Some(*target),
                _ => None,
            })
            .collect();
        if !lost.is_empty() {
            let found = related_to(ctx, self.room, lost).await?;
            self.related.extend(found);
            self.related.sort_by_key(|e| e.pos);
            self.related.dedup_by_key(|e| e.pos);
        }
        Ok(())
    }

    fn make_index(&mut self) {
        if self.related.len() < FEW {
            return;
        }
        let mut index: BTreeMap<Pos, Vec<usize>> = BTreeMap::new();
        for (n, entry) in self.related.iter().enumerate() {
            entry.about().for_each(|target| index.entry(target).or_default().push(n));
        }
        self.index = Some(index);
    }

    /// What is known about an entry, in order.
    fn about(&self, pos: Pos) -> Vec<&Arc<Event>> {
        match &self.index {
            Some(index) => {
                index.get(&pos).into_iter().flatten().filter_map(|n| self.related.get(*n)).collect()
            }
            None => self.related.iter().filter(|e| e.about().any(|target| target == pos)).collect(),
        }
    }

    /// The former values of the state that these entries change.
    async fn look_before(&mut self, ctx: &Ctx, entries: &[Arc<Event>]) -> Result<(), Error> {
        let wanted = entries.iter().flat_map(|e| e.facts.iter().filter_map(|f| f.before)).take(BEFORE);
        let mut asked = Vec::new();
        for at in wanted {
            match entries.iter().find(|e| e.pos == at.pos) {
                Some(entry) => _ = Former::of(entry, at, &self.domain).map(|f| self.before.insert(at, f)),
                None => asked.push((at, former_at(ctx, self.room, at.pos))),
            }
        }
        for (at, asked) in asked {
            let entry = asked.await?;
            if let Some(former) = entry.and_then(|e| Former::of(&e, at, &self.domain)) {
                self.before.insert(at, former);
            }
        }
        Ok(())
    }

    /// What only this device knows: what it called its requests, and whom it does not want to hear.
    async fn ask_device(&mut self, ctx: &Ctx, entries: &[Arc<Event>]) {
        let entries = entries.to_vec();
        let found = ctx.with(move |agent, _| {
            let sync = agent.sync()?;
            let own = entries.iter().filter(|e| e.by.is(sync.me.id));
            let named: BTreeMap<Pos, Str> = own.filter_map(|e| Some((e.pos, sync.transaction(e)?))).collect();
            let hidden = entries.iter().filter(|e| sync.hides(e)).map(|e| e.pos).collect();
            Some((named, hidden))
        });
        (self.transactions, self.hidden) = found.await.unwrap_or_default();
    }

    /// Whether the text may call people, so that one must know who is there.
    fn may_mention(&self, event: &Event) -> bool {
        let (What::Said(m) | What::Edited { message: m, .. }) = &event.what else { return false };
        let foreign = m.native.as_ref().is_none_or(|n| n.protocol != MATRIX_NATIVE) && !m.gone;
        let found = || mentions(&m.body.text, &self.domain, &|_| true, false);
        foreign && found().get("user_ids").and_then(Json::as_array).is_some_and(|ids| !ids.is_empty())
    }

    // --- showing ---

    /// The events that an entry is.
    pub fn show(&self, entry: &Arc<Event>) -> Vec<Shown> {
        if self.hidden.contains(&entry.pos) {
            return Vec::new();
        }
        let known = |name: &UserName| self.knows(name);
        let seal = |e: EventRef| self.seal_of(entry, e);
        let with = self.write(&known, &seal, entry);
        let undone = self.undone(entry);
        let all = events(entry, undone, &with);
        all.into_iter()
            .map(|event| {
                let nth = Scene::nth(entry, &event);
                let place = Place { pos: entry.pos, sub: nth };
                let (kind, state_key) = (event.kind.clone(), event.state_key.clone());
                let json = self.with_all(entry, event, nth, &with);
                Shown { json, place, kind, state_key, entry: entry.clone() }
            })
            .collect()
    }

    /// Which of the entry's facts an event is.
    fn nth(entry: &Event, event: &RoomEvent) -> u8 {
        let create = || entry.facts.iter().position(|f| f.kind == event.kind).unwrap_or(0);
        if event.id.is_create() { u8::try_from(create()).unwrap_or(u8::MAX) } else { event.id.sub }
    }

    /// The seal of an event that the entry is about, as far as that is looked at here.
    fn seal_of(&self, entry: &Event, event: EventRef) -> Option<Seal> {
        let at = |e: &&Arc<Event>| e.pos == event.pos && e.room == event.room;
        match entry.pos == event.pos {
            true => entry.seal(event.sub),
            false => self.related.iter().find(at)?.seal(event.sub),
        }
    }

    fn write<'a>(
        &'a self,
        known: &'a dyn Fn(&UserName) -> bool,
        seal: &'a dyn Fn(EventRef) -> Option<Seal>,
        entry: &Event,
    ) -> Write<'a> {
        let member = entry.by.user().and_then(|u| self.view.as_ref()?.members.get(&u.id));
        let notify_room = member.is_some_and(|m| m.standing.power >= power::MODERATOR);
        Write { ids: &self.ids, seal, domain: &self.domain, known, notify_room }
    }

    fn knows(&self, name: &UserName) -> bool {
        if self.me.name == *name {
            return true;
        }
        let there = |m: &lavina_core::policy::Member| {
            m.standing.membership == Membership::Joined && m.user.name == *name
        };
        self.view.as_ref().is_some_and(|view| view.members.values().any(there))
    }

    /// The event with all that is said about it.
    fn with_all(&self, entry: &Arc<Event>, mut event: RoomEvent, nth: u8, with: &Write<'_>) -> Json {
        let state = event.state_key.is_some();
        let because = if state { self.fact_withdrawn(entry, nth) } else { self.withdrawn_by(entry) };
        let because = because.map(|e| self.plain(e, with));
        if because.is_some() && event.state_key.is_none() {
            let target = event.content.take("redacts").filter(|_| event.kind == "m.room.redaction");
            event.content = target.map_or_else(Json::object, |target| object! { "redacts" => target });
        }
        let fact = event.state_key.as_ref().and_then(|_| entry.facts.get(usize::from(nth)));
        let before = fact.and_then(|f| f.before).and_then(|at| self.before.get(&at));
        let relations = if because.is_none() { self.relations(entry, with) } else { None };
        let membership = self.joined.map(|since| if entry.pos >= since { "join" } else { "leave" });
        let unsigned = Unsigned {
            now: Some(self.now),
            transaction: self.transactions.get(&entry.pos).map(Str::as_str),
            prev_content: before.map(|former| &former.content),
            prev_sender: before.map(|former| former.sender.as_str()),
            replaces_state: fact.and_then(|f| replaced(self.room, f, &self.ids)),
            redacted_because: because.as_ref(),
            relations: relations.as_ref(),
            membership,
            room_state: None,
        };
        event.to_client(&unsigned, Some(&self.room_id), with)
    }

    /// The event alone.
    fn plain(&self, entry: &Arc<Event>, with: &Write<'_>) -> Json {
        let Some(event) = message_event(entry, self.undone(entry), with) else { return Json::object() };
        let unsigned = Unsigned { now: Some(self.now), ..Unsigned::default() };
        event.to_client(&unsigned, Some(&self.room_id), with)
    }

    /// The reaction event that this one takes back.
    fn undone(&self, entry: &Event) -> Option<EventRef> {
        let What::Reacted { target, key, on: false, .. } = &entry.what else { return None };
        let adds = |e: &&Arc<Event>| {
            e.pos < entry.pos
                && e.by == entry.by
                && matches!(&e.what, What::Reacted { target: t, key: k, on: true, .. } if t == target && k == key)
        };
        self.related.iter().rev().find(adds).map(|e| EventRef::new(self.room, e.pos))
    }

    /// The entry that withdrew this one.
    pub fn withdrawn_by(&self, entry: &Event) -> Option<&Arc<Event>> {
        match &entry.what {
            What::Reacted { target, key, on: true, .. } => {
                let back = self.about(*target).into_iter().find(|e| match &e.what {
                    What::Reacted { target: t, key: k, on: false, .. } => {
                        e.pos > entry.pos && e.by == entry.by && t == target && k == key
                    }
                    _ => false,
                });
                let did = |e: &&Arc<Event>| matches!(&e.what, What::Withdrawn { target, reaction: Some(_), .. } if *target == entry.pos);
                let withdrawn = self.about(entry.pos).into_iter().find(did);
                // Whichever came first.
                back.into_iter().chain(withdrawn).min_by_key(|e| e.pos)
            }
            What::Edited { target, .. } => {
                let own = self.withdrawal(entry.pos);
                own.or_else(|| self.withdrawal(*target))
            }
            What::Said(_) => self.withdrawal(entry.pos),
            What::Redacted { .. } | What::Withdrawn { .. } | What::Reacted { on: false, .. } => {
                let did = |e: &&Arc<Event>| matches!(&e.what, What::Withdrawn { target, nth: None, reaction: None, .. } if *target == entry.pos);
                self.about(entry.pos).into_iter().find(did)
            }
            _ => None,
        }
    }

    /// The entry that withdrew a fact of this one.
    fn fact_withdrawn(&self, entry: &Event, nth: u8) -> Option<&Arc<Event>> {
        let did = |e: &&Arc<Event>| matches!(&e.what, What::Withdrawn { target, nth: Some(n), .. } if *target == entry.pos && *n == nth);
        self.about(entry.pos).into_iter().find(did)
    }

    fn withdrawal(&self, pos: Pos) -> Option<&Arc<Event>> {
        self.about(pos).into_iter().find(|e| matches!(e.what, What::Redacted { target, .. } if target == pos))
    }

    /// What relates to the event, for `m.relations`.
    fn relations(&self, entry: &Arc<Event>, with: &Write<'_>) -> Option<Json> {
        let What::Said(_) = &entry.what else { return None };
        let about = self.about(entry.pos);
        let edit = about.iter().rev().find(|e| {
            matches!(&e.what, What::Edited { message, .. } if !message.gone)
                && e.by == entry.by
                && self.withdrawn_by(e).is_none()
        });
        let edit = edit.map(|e| self.plain(e, with));
        let replies: Vec<&&Arc<Event>> = about.iter().filter(|e| self.is_reply(e, entry.pos)).collect();
        let latest = replies.last().map(|e| self.plain(e, with));
        let mine = |e: &Event| e.by.is(self.me.id);
        let thread = latest.as_ref().map(|latest| Thread {
            latest,
            count: replies.len() as u64,
            participated: mine(entry) || replies.iter().any(|e| mine(e)),
        });
        let refers = about.iter().filter(|e| relation_of(e).as_deref() == Some("m.reference"));
        let references =
            refers.map(|e| self.ids.name(EventRef::new(self.room, e.pos), e.seal(0).as_ref())).collect();
        Relations { replaced: edit.as_ref(), thread, references }.to_json()
    }

    fn is_reply(&self, entry: &Arc<Event>, root: Pos) -> bool {
        matches!(&entry.what, What::Said(m) if !m.gone && m.thread.is_some_and(|t| t.pos == root))
            && self.withdrawn_by(entry).is_none()
    }
}

/// The kind of relation that an event has to another, if it is one that says so.
pub fn relation_of(entry: &Event) -> Option<Str> {
    match &entry.what {
        What::Edited { message, .. } if !message.gone => Some(Str::new("m.replace")),
        What::Reacted { on: true, .. } => Some(Str::new("m.annotation")),
        What::Said(m) if !m.gone => match &m.native {
            Some(native) if native.protocol == MATRIX_NATIVE => said_relation(native),
            _ => m.thread.map(|_| Str::new("m.thread")),
        },
        _ => None,
    }
}

fn said_relation(native: &Native) -> Option<Str> {
    let (_, content) = unpack(native)?;
    content.at(&[RELATES_TO, "rel_type"]).and_then(Json::as_str).map(Str::new)
}

/// The entries that what is about them must be known of, to show these.
pub fn targets(entries: &[Arc<Event>]) -> Vec<Pos> {
    let of = |e: &Arc<Event>| match &e.what {
        What::Said(_) => Some(e.pos),
        What::Edited { .. } | What::Redacted { .. } | What::Withdrawn { .. } => Some(e.pos),
        What::Reacted { target, .. } => Some(*target),
        _ => e.facts.iter().any(|f| f.gone).then_some(e.pos),
    };
    let mut out: Vec<Pos> = entries.iter().filter_map(of).collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// The entries about these.
///
/// # Errors
/// The server cannot tell.
pub async fn related_to(ctx: &Ctx, room: RoomId, targets: Vec<Pos>) -> Result<Vec<Arc<Event>>, Error> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let query = Query::Related {
        room,
        reader: ctx.user()?.id,
        targets,
        after: Pos::ZERO,
        before: Pos(Pos::MAX.0 + 1),
        newest: true,
        limit: RELATED,
    };
    match ctx.query(query).await? {
        Value::Events(found) => Ok(found.entries.clone()),
        _ => Ok(Vec::new()),
    }
}

/// The room as it is.
///
/// # Errors
/// It is not there, or the server cannot tell.
pub async fn view_of(ctx: &Ctx, room: RoomId) -> Result<Arc<RoomView>, Error> {
    match ctx.query(Query::Room(room)).await? {
        Value::Room(view) => Ok(view),
        _ => Err(Error::not_found("there is no such room")),
    }
}

/// A stretch of the room's log, as far as the user may read it.
///
/// # Errors
/// The user may not read there, or the server cannot tell.
pub async fn history(ctx: &Ctx, room: RoomId, range: Range) -> Result<Arc<Stretch<Arc<Event>>>, Error> {
    let reader = ctx.user()?.id;
    match ctx.query(Query::History { room, reader, range }).await? {
        Value::Events(stretch) => Ok(stretch),
        _ => Err(Error::unavailable("the server cannot tell; try again")),
    }
}

/// One entry of the room's log, if it is there and the user may read it. It is asked for at once.
pub fn entry_at(
    ctx: &Ctx,
    room: RoomId,
    pos: Pos,
) -> impl Future<Output = Result<Option<Arc<Event>>, Error>> + use<> {
    let reader = ctx.user().map_or(AccountId(0), |u| u.id);
    let asked = ctx.query(Query::History { room, reader, range: only_at(pos) });
    async move { asked.await.map(first).map_err(Error::from) }
}

/// The entry where a state event was set that the user may see, or may see the successor of. It is asked for at once.
pub fn former_at(
    ctx: &Ctx,
    room: RoomId,
    pos: Pos,
) -> impl Future<Output = Result<Option<Arc<Event>>, Error>> + use<> {
    let asked = ctx.query(Query::Entries { room, range: only_at(pos) });
    async move { asked.await.map(first).map_err(Error::from) }
}

/// The stretch that is the entry at this position, if there is one.
fn only_at(pos: Pos) -> Range {
    let (after, before) = (Bound::Pos(pos.back()), Bound::Pos(pos.next()));
    Range { after, before, only: Only::All, ..Range::latest(1) }
}

/// The first entry of an answer.
fn first(value: Value) -> Option<Arc<Event>> {
    match value {
        Value::Events(found) => found.entries.first().cloned(),
        _ => None,
    }
}

/// Since which entry somebody is joined.
pub fn joined_since(view: &RoomView, who: AccountId) -> Option<Pos> {
    if view.parties.is_some() {
        return Some(Pos::ZERO);
    }
    let row = view.members.get(&who)?;
    (row.standing.membership == Membership::Joined).then_some(row.since)
}

/// The content of a fact of an entry.
/// The message of an entry that is one.
pub fn message(entry: &Event) -> Option<&Message> {
    match &entry.what {
        What::Said(m) | What::Edited { message: m, .. } => Some(m),
        _ => None,
    }
}
