//! Sending and withdrawing events (client-server API, "Sending events to a room", "Redactions").

use super::delayed;
use super::media::name_of;
use super::scene::{Related, Scene, entry_at, related_to, view_of};
use crate::http::files;
use crate::json::{DEPTH, Json};
use crate::matrix::agent;
use crate::matrix::content::{Intent, LocalNames, Look, RELATES_TO, pack, read};
use crate::matrix::error::Error;
use crate::matrix::facts::{Opening, attr_key};
use crate::matrix::ids::{EventRef, IdKey, user_id};
use crate::matrix::levels;
use crate::matrix::pdu::{Version, redact as redacted};
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms;
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::command::{Act, EntityId, Hollow, ReactMode, Target, Withdraw};
use lavina_core::event::{Event, Fact, Kind, Message, Native, What};
use lavina_core::ids::{MsgId, OnceKey, Pos, RoomId};
use lavina_core::name::User;
use lavina_core::policy::Member;
use lavina_core::query::{Reply, RoomView, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Put "/_matrix/client/v3/rooms/{room}/send/{type}/{txn}" Must send),
    route!(Put "/_matrix/client/v3/rooms/{room}/redact/{event}/{txn}" Must redact),
];

/// Longest transaction id in bytes; above: 400.
const TRANSACTION_MAX: usize = 255;

/// Where something is sent, and by whom.
struct Sending {
    ids: IdKey,
    room: RoomId,
    me: User,
    transaction: Str,
    once: Option<OnceKey>,
    parties: Option<Box<(User, User)>>,
    /// Events that the request names.
    named: BTreeMap<Str, EventRef>,
}

/// Where a content names events that it is about.
const NAMED: [&[&str]; 3] =
    [&["redacts"], &[RELATES_TO, "event_id"], &[RELATES_TO, "m.in_reply_to", "event_id"]];

async fn send(ctx: Ctx, request: Request) -> Answer {
    if let Some(delay) = delayed::delay(&request)? {
        return Box::pin(delayed::schedule(&ctx, &request, delay, None)).await;
    }
    let content = request.json()?;
    send_event(&ctx, request.arg(0), request.arg(1), request.arg(2), content).await
}

/// Sends an event that is no state.
///
/// # Errors
/// What cannot be such an event, or may not be sent.
pub async fn send_event(ctx: &Ctx, room: &str, kind: &str, transaction: &str, content: Json) -> Answer {
    let mut sending = Sending::new(ctx, room, "send", transaction).await?;
    // The rules for these are of state alone: as anything else there can be none of them (room version 11, 3 and 4.1).
    if matches!(kind, "m.room.create" | "m.room.member") {
        return Err(Error::forbidden(format!("{kind} is state, and sent as that")));
    }
    for path in NAMED {
        if let Some(id) = content.at(path).and_then(Json::as_str) {
            sending.name(ctx, id).await?;
        }
    }
    let view = sending.check(ctx, kind).await?;
    let sending = sending.with_parties(ctx, view).await?;
    let (native_max, text_max) = {
        let limits = &ctx.settings().core.limits;
        (limits.native, limits.text)
    };
    let intent = {
        let look = Look {
            room: sending.room,
            by: sending.me.name.as_str(),
            event: &|id| sending.named.get(&Str::new(id)).copied(),
            names: &LocalNames(ctx.domain()),
            media: &|mxc, name| {
                let (server, id) = mxc.strip_prefix("mxc://")?.split_once('/')?;
                let id = name_of(server, id, ctx.domain())?;
                Some((id, files::address(&ctx.settings().http, id, name)?))
            },
            text_max,
            native_max,
        };
        read(kind, content.clone(), &look)
    };
    let intent = intent.map_err(|why| Error::new(why.status(), why.errcode(), why.to_string()))?;
    match intent {
        Intent::Say(message) => sending.say(ctx, *message, &content).await,
        Intent::Edit { target, message } => sending.edit(ctx, target, *message).await,
        Intent::React { target, key, native } => sending.react(ctx, target, key, native).await,
        Intent::Redact { target, reason, native } => sending.redact(ctx, target, reason, native).await,
    }
}

async fn redact(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let sending = Sending::new(&ctx, request.arg(0), "redact", request.arg(2)).await?;
    let none = || Error::not_found("there is no such event in this room");
    let target = rooms::event_ref(&ctx, request.arg(1)).await?;
    let target = target.ok_or_else(none)?;
    if target.room != sending.room {
        return Err(Error::invalid_param("the event is another room's"));
    }
    let reason = match body.get("reason") {
        None => None,
        Some(reason) => Some(reason.as_str().ok_or_else(|| Error::bad_json("reason must be a string"))?),
    };
    let mut content = object! { "redacts" => request.arg(1) };
    if let Some(reason) = reason {
        content.set("reason", reason);
    }
    let native = pack("m.room.redaction", &content);
    sending.check(&ctx, "m.room.redaction").await?;
    let reason = reason.map(Str::new);
    sending.redact(&ctx, target, reason, native).await
}

impl Sending {
    async fn new(ctx: &Ctx, room: &str, what: &str, transaction: &str) -> Result<Sending, Error> {
        if transaction.is_empty() || transaction.len() > TRANSACTION_MAX {
            return Err(Error::invalid_param("a transaction id has 1 to 255 bytes"));
        }
        let ids = IdKey::new(&ctx.settings().core.secret);
        let room = rooms::room_ref(ctx, room).await?;
        let room = room.ok_or_else(|| Error::forbidden("you are not in this room"))?;
        let who = ctx.who()?;
        let label = agent::label(&who.device);
        let name = format!("{label}\n{what}\n{transaction}");
        let transaction = Str::new(transaction);
        let kept = transaction.clone();
        let once = ctx.with(move |agent, cx| {
            let key = cx.once_key(&name, b"")?;
            if let Some(sync) = agent.sync() {
                sync.sending(key, kept);
            }
            Some(key)
        });
        let (once, me) = (once.await, who.user.clone());
        Ok(Sending { once, me, ids, room, transaction, parties: None, named: BTreeMap::new() })
    }

    /// The request names this event.
    async fn name(&mut self, ctx: &Ctx, id: &str) -> Result<(), Error> {
        if let Some(event) = rooms::event_ref(ctx, id).await? {
            self.named.insert(Str::new(id), event);
        }
        Ok(())
    }

    fn to(&self) -> EntityId {
        EntityId::Room(self.room)
    }

    /// Whether the user may send events of this type. What the core asks for besides is not looked at here.
    async fn check(&self, ctx: &Ctx, kind: &str) -> Result<Option<Arc<RoomView>>, Error> {
        let room = self.room;
        let known = ctx.with(move |agent, _| {
            let sync = agent.sync()?;
            let room = sync.rooms.get(&room).filter(|r| r.is_joined() && r.with.is_none())?;
            room.levels()
        });
        let id = user_id(&self.me, ctx.domain());
        if let Some(content) = known.await {
            let own = levels::of_user(&content, &id).unwrap_or(levels::read(&content).users);
            if own >= levels::needed(&content, kind, false) {
                return Ok(None);
            }
        }
        let Ok(view) = view_of(ctx, room).await else { return Ok(None) };
        let content = view.facts.get(&(Str::new(levels::POWER_LEVELS), Str::default()));
        let content = content.and_then(|row| Json::parse(&row.fact.content).ok());
        let own = view.members.get(&self.me.id).map_or(0, |m| m.standing.power);
        let needed = content.map_or(0, |c| levels::needed(&c, kind, false));
        if view.parties.is_none() && view.members.contains_key(&self.me.id) && own < needed {
            return Err(Error::forbidden(format!("sending {kind} needs a power level of {needed}")));
        }
        Ok(Some(view))
    }

    /// The two of a dialog, which a message can begin.
    async fn with_parties(mut self, ctx: &Ctx, view: Option<Arc<RoomView>>) -> Result<Sending, Error> {
        let room = self.room;
        let with = ctx.with(move |agent, _| agent.sync()?.rooms.get(&room)?.with.clone()).await;
        self.parties = match (view.and_then(|v| v.parties.clone()), with) {
            (Some(parties), _) => Some(Box::new(parties)),
            (None, Some(with)) => Some(Box::new((self.me.clone(), with))),
            (None, None) => None,
        };
        Ok(self)
    }

    fn stamped(&self, ctx: &Ctx, message: Message) -> Result<Box<Message>, Error> {
        let from = Some(agent::label(&ctx.who()?.device));
        Ok(Box::new(Message { from, client_id: Some(self.transaction.clone()), ..message }))
    }

    async fn say(&self, ctx: &Ctx, mut message: Message, content: &Json) -> Answer {
        if let Some(root) = message.thread {
            self.check_root(ctx, root).await?;
        }
        let relation = content.get(RELATES_TO);
        let other = relation.and_then(|r| r.str_of("rel_type")).is_some_and(|kind| kind != "m.thread");
        if other && message.reply.is_none() {
            // Nothing else of it is neutral; so it is found by what it is about.
            let about = relation
                .and_then(|r| r.str_of("event_id"))
                .and_then(|id| self.named.get(&Str::new(id)).copied());
            let about = about.filter(|e| e.room == self.room && !e.is_create());
            message.reply = about.map(|e| MsgId { room: e.room, pos: e.pos });
        }
        self.say_this(ctx, message).await
    }

    async fn say_this(&self, ctx: &Ctx, message: Message) -> Answer {
        let message = self.stamped(ctx, message)?;
        let subject = Str::new(user_id(&self.me, ctx.domain()));
        let act = Act::Say { message, subject, parties: self.parties.clone() };
        self.answer(ctx, ctx.act_once(self.to(), act, self.once).await).await
    }

    /// A thread begins with an event that is in none.
    async fn check_root(&self, ctx: &Ctx, root: MsgId) -> Result<(), Error> {
        let entry = entry_at(ctx, self.room, root.pos).await;
        let related = |e: &Event| match &e.what {
            What::Said(m) => m.thread.is_some(),
            What::Edited { .. } | What::Reacted { .. } => true,
            _ => false,
        };
        match entry {
            Ok(Some(entry)) if related(&entry) => {
                Err(Error::unknown("a thread cannot begin with an event that relates to another"))
            }
            _ => Ok(()),
        }
    }

    async fn edit(&self, ctx: &Ctx, target: EventRef, message: Message) -> Answer {
        let message = self.stamped(ctx, message)?;
        let act = Act::Edit { target: Target::Pos(target.pos), message };
        self.answer(ctx, ctx.act_once(self.to(), act, self.once).await).await
    }

    async fn react(&self, ctx: &Ctx, target: EventRef, key: Str, native: Native) -> Answer {
        let act = Act::React {
            target: Target::Pos(target.pos),
            keys: vec![key],
            mode: ReactMode::Add,
            native: Some(native.clone()),
        };
        match ctx.act_once(self.to(), act, self.once).await {
            Ok(Value::Done) => {
                Err(Error::new(400, "M_DUPLICATE_ANNOTATION", "you have reacted to this message so already"))
            }
            // To an event that is no message: only Matrix shows that.
            Err(Refusal::NoSuchItem) => {
                let reply = Some(MsgId { room: self.room, pos: target.pos }).filter(|_| !target.is_create());
                let message =
                    Message { kind: Kind::Payload, native: Some(native), reply, ..Message::default() };
                self.say_this(ctx, message).await
            }
            reply => self.answer(ctx, reply).await,
        }
    }

    async fn redact(&self, ctx: &Ctx, target: EventRef, reason: Option<Str>, native: Native) -> Answer {
        if target.is_create() {
            return Err(Error::forbidden("how a room was made is not withdrawn"));
        }
        let entry = entry_at(ctx, self.room, target.pos).await?;
        let entry = entry.ok_or_else(|| Error::not_found("there is no such event in this room"))?;
        let act = match &entry.what {
            What::Said(_) | What::Edited { .. } => {
                Act::Redact { target: Target::Pos(entry.pos), reason, native: Some(native) }
            }
            What::Reacted { target, key, on: true, .. } if entry.by.is(self.me.id) => Act::React {
                target: Target::Pos(*target),
                keys: vec![key.clone()],
                mode: ReactMode::Remove,
                native: Some(native),
            },
            What::Reacted { on: true, .. } => withdraw(entry.pos, reason, native, None),
            _ => match entry.facts.get(usize::from(target.sub)) {
                Some(fact) => {
                    let left = self.left_of(ctx, fact, target.sub).await?;
                    withdraw(entry.pos, reason, native, Some(left))
                }
                None => {
                    let left = Some(self.left_of_words(ctx, &entry).await?);
                    let target = entry.pos;
                    let wish = Withdraw { target, reason, native: Some(native), fact: None, left };
                    Act::Withdraw(Box::new(wish))
                }
            },
        };
        match ctx.act_once(self.to(), act, self.once).await {
            Ok(Value::Done) => self.gone_already(ctx, &entry, target).await,
            reply => self.answer(ctx, reply).await,
        }
    }

    /// What a redaction leaves of another: what that one redacts (room version 11, "Redactions").
    async fn left_of_words(&self, ctx: &Ctx, entry: &Arc<Event>) -> Result<Native, Error> {
        let scene = Scene::new(ctx, self.room, std::slice::from_ref(entry), Related::Ask, None).await?;
        let shown = scene.show(entry).into_iter().find(|shown| shown.kind == "m.room.redaction");
        let target = shown.as_ref().and_then(|shown| shown.json.str_of("redacts"));
        let target = target.ok_or_else(|| Error::forbidden("this is not withdrawn"))?;
        Ok(pack("m.room.redaction", &object! { "redacts" => target }))
    }

    /// What a redaction leaves of a state event, and of what it means for everybody.
    async fn left_of(&self, ctx: &Ctx, fact: &Fact, nth: u8) -> Result<Hollow, Error> {
        if matches!(fact.kind.as_str(), "m.room.create" | "m.room.server_acl") {
            return Err(Error::forbidden(format!("{} is not withdrawn: set another instead", fact.kind)));
        }
        let view = view_of(ctx, self.room).await?;
        let opening = view.head.open.as_ref().and_then(|how| Opening::read(how));
        let version = opening.map_or(Version::V12, |opening| opening.rules());
        let content = Json::parse_within(&fact.content, DEPTH + 1).unwrap_or_else(|_| Json::object());
        let mut event = redacted(&object! { "type" => &fact.kind, "content" => content }, version);
        let content = Octets::from(event.take("content").unwrap_or_else(Json::object).to_bytes());
        let own = |kind: &str| fact.kind == kind && fact.key.is_empty();
        let member =
            |m: &&Member| fact.kind == "m.room.member" && *fact.key == *user_id(&m.user, ctx.domain());
        Ok(Hollow {
            nth,
            attr: Some((attr_key(&fact.kind, &fact.key), content.clone())),
            content,
            topic: own("m.room.topic"),
            title: own("m.room.name"),
            shown: view.members.values().find(member).map(|m| m.user.id),
        })
    }

    /// It had been withdrawn before: the answer is the event that did it.
    async fn gone_already(&self, ctx: &Ctx, entry: &Arc<Event>, target: EventRef) -> Answer {
        let about = match &entry.what {
            What::Reacted { target, .. } => *target,
            _ => entry.pos,
        };
        let related = related_to(ctx, self.room, vec![about]).await?;
        let did = |e: &&Arc<Event>| match &e.what {
            What::Redacted { target, .. } => *target == entry.pos,
            What::Withdrawn { target: t, nth, .. } => *t == entry.pos && nth.is_none_or(|n| n == target.sub),
            What::Reacted { on: false, .. } => e.pos > entry.pos && e.by == entry.by,
            _ => false,
        };
        let pos = related.iter().find(did).map(|e| e.pos);
        match pos {
            Some(pos) => self.told_at(ctx, pos).await,
            None => Ok(Response::done()),
        }
    }

    fn told(&self, event: &Event) -> Response {
        let id = self.ids.name(EventRef::new(self.room, event.pos), event.seal(0).as_ref());
        Response::ok(&object! { "event_id" => id })
    }

    async fn told_at(&self, ctx: &Ctx, pos: Pos) -> Answer {
        Ok(Response::ok(&object! { "event_id" => rooms::entry_id(ctx, self.room, pos).await? }))
    }

    async fn answer(&self, ctx: &Ctx, reply: Reply) -> Answer {
        match reply {
            Ok(Value::Event(event)) => Ok(self.told(&event)),
            Ok(Value::Already(id)) => self.told_at(ctx, id.pos).await,
            Ok(_) => Err(Error::unavailable("the server cannot tell; try again")),
            // Who is not in a room is not told whether it is there.
            Err(Refusal::NoSuchRoom | Refusal::NotMember) => {
                Err(Error::forbidden("you are not in this room"))
            }
            Err(why) => Err(why.into()),
        }
    }
}

/// The withdrawal of what is no message.
fn withdraw(target: Pos, reason: Option<Str>, native: Native, fact: Option<Hollow>) -> Act {
    Act::Withdraw(Box::new(Withdraw { target, reason, native: Some(native), fact, left: None }))
}
