//! Delayed events (MSC4140): an event that the server sends later, unless its sender takes it back or puts it off. With
//! it a client in a call says that it is gone, for when it can no longer say so itself.
//!
//! They belong to the device that sends them: its agent keeps them, and stays for them, but they do not outlast the
//! server's run.

use super::send::send_event;
use super::state;
use crate::json::Json;
use crate::matrix::error::Error;
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms;
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use data_encoding::BASE32_NOPAD;
use lavina_core::ids::Pos;
use lavina_core::text::Str;
use lavina_core::time::{Mono, UnixMillis};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/unstable/org.matrix.msc4140/delayed_events" Must list),
    route!(Get "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delay}" Must one),
    route!(Post "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delay}" Must manage),
    route!(Post "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delay}/{action}" Must manage),
];

/// The parameter of a request to send an event that says by how many milliseconds it is to be sent later.
const DELAY: &str = "org.matrix.msc4140.delay";

/// Longest delay in milliseconds; above: 400.
pub const DELAY_MAX: u64 = 86_400_000;

/// Delayed events of a device; above: 400.
pub const DELAYED_MAX: usize = 100;

/// The delayed events of a device, in the order in which they came.
#[derive(Default)]
pub struct Delayed(Vec<Delay>);

/// An event to be sent later.
#[derive(Clone)]
struct Delay {
    id: Str,
    room: Str,
    kind: Str,
    /// For state: the key.
    key: Option<Str>,
    /// What the client called the request; empty for state.
    transaction: Str,
    content: Json,
    delay: u64,
    due: Mono,
    since: UnixMillis,
    /// The room's last entry when it came.
    seen: Pos,
}

impl Delayed {
    fn get(&mut self, id: &str) -> Option<&mut Delay> {
        self.0.iter_mut().find(|d| d.id == id)
    }

    fn take(&mut self, id: &str) -> Option<Delay> {
        let at = self.0.iter().position(|d| d.id == id)?;
        Some(self.0.remove(at))
    }
}

impl Delay {
    fn shown(&self) -> Json {
        let mut out = object! {
            "delay_id" => &self.id,
            "room_id" => &self.room,
            "type" => &self.kind,
            "delay" => self.delay,
            "running_since" => self.since.0,
            "content" => self.content.clone(),
        };
        if let Some(key) = &self.key {
            out.set("state_key", key);
        }
        out
    }
}

/// By how much an event is to be delayed, if the request says so.
///
/// # Errors
/// 400 for what is no delay, or too long a one.
pub fn delay(request: &Request) -> Result<Option<u64>, Error> {
    match request.number(DELAY)? {
        Some(delay) if delay > DELAY_MAX => {
            let error = Error::unknown("an event cannot be delayed for so long");
            Err(error
                .with("org.matrix.msc4140.errcode", "M_MAX_DELAY_EXCEEDED")
                .with("org.matrix.msc4140.max_delay", DELAY_MAX))
        }
        delay => Ok(delay),
    }
}

/// Takes an event that is to be sent later. `key`: of state; else the last part of the path is the transaction.
///
/// # Errors
/// Who is not in the room sends nothing there later either.
pub async fn schedule(ctx: &Ctx, request: &Request, delay: u64, key: Option<&str>) -> Answer {
    let view = rooms::joined_view(ctx, request.arg(0)).await?;
    let transaction = if key.is_some() { Str::default() } else { Str::new(request.arg(2)) };
    let (room, kind) = (Str::new(request.arg(0)), Str::new(request.arg(1)));
    // A repeat of a request is answered as the first was.
    let (same_room, same_kind, same) = (room.clone(), kind.clone(), transaction.clone());
    let before = ctx.with(move |agent, _| {
        let is = |d: &&Delay| {
            d.key.is_none() && (&d.room, &d.kind, &d.transaction) == (&same_room, &same_kind, &same)
        };
        agent.delayed().0.iter().find(is).map(|d| d.id.clone())
    });
    if key.is_none()
        && let Some(id) = before.await
    {
        return Ok(Response::ok(&object! { "delay_id" => id }));
    }
    let content = request.json()?;
    state::check_event(&kind, key.unwrap_or_default(), &content)?;
    let id = Str::new(BASE32_NOPAD.encode(&ctx.random::<15>().await).to_ascii_lowercase());
    let now = ctx.now();
    let event = Delay {
        id: id.clone(),
        room,
        kind,
        key: key.map(Str::new),
        transaction,
        content,
        delay,
        due: now.mono + delay,
        since: now.wall,
        seen: view.last,
    };
    let task = id.clone();
    let taken = ctx.with(move |agent, cx| {
        if agent.delayed().0.len() >= DELAYED_MAX {
            return false;
        }
        agent.delayed().0.push(event);
        agent.spawn(move |ctx| Box::pin(run(ctx, task)), cx);
        true
    });
    if !taken.await {
        let error = Error::unknown("too many events are delayed");
        return Err(error.with("org.matrix.msc4140.errcode", "M_MAX_DELAYED_EVENTS_EXCEEDED"));
    }
    Ok(Response::ok(&object! { "delay_id" => id }))
}

/// Waits until the event is due, however often it is put off, and sends it; ends when it was taken back.
async fn run(ctx: Ctx, id: Str) -> Answer {
    loop {
        let name = id.clone();
        let due = ctx.with(move |agent, _| agent.delayed().get(&name).map(|d| d.due)).await;
        match due {
            None => return Ok(Response::done()),
            Some(due) if due > ctx.now().mono => ctx.wait(due).await,
            Some(_) => return fire(&ctx, &id).await,
        }
    }
}

/// Sends the event now. State that somebody else set meanwhile stays.
async fn fire(ctx: &Ctx, id: &Str) -> Answer {
    let name = id.clone();
    let event = ctx.with(move |agent, _| agent.delayed().take(&name)).await.ok_or_else(none)?;
    let Some(key) = &event.key else {
        return send_event(ctx, &event.room, &event.kind, &format!("delayed {id}"), event.content).await;
    };
    let view = rooms::joined_view(ctx, &event.room).await?;
    let row = view.facts.get(&(event.kind.clone(), key.clone()));
    let me = ctx.user()?.id;
    if row.is_some_and(|row| row.at.pos > event.seen && !row.by.is(me)) {
        return Ok(Response::done());
    }
    let id = state::set(ctx, view.id, &event.kind, key, event.content).await?;
    Ok(Response::ok(&object! { "event_id" => id }))
}

fn none() -> Error {
    Error::not_found("there is no such delayed event; perhaps it was sent or taken back")
}

async fn list(ctx: Ctx, _: Request) -> Answer {
    let all = ctx.with(|agent, _| agent.delayed().0.iter().map(Delay::shown).collect::<Vec<Json>>()).await;
    Ok(Response::ok(&object! { "delayed_events" => all }))
}

async fn one(ctx: Ctx, request: Request) -> Answer {
    let id = Str::new(request.arg(0));
    let shown = ctx.with(move |agent, _| agent.delayed().get(&id).map(|d| d.shown())).await;
    Ok(Response::ok(&shown.ok_or_else(none)?))
}

/// Takes an event back, puts it off for another time of its delay, or sends it at once. What is to be done is said in
/// the path or, as older clients have it, in the body.
async fn manage(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let action = match request.arg(1) {
        "" => body.str_of("action").ok_or_else(|| Error::missing_param("action is missing"))?,
        action => action,
    };
    let id = Str::new(request.arg(0));
    match action {
        "cancel" => {
            ctx.with(move |agent, _| agent.delayed().take(&id)).await.ok_or_else(none)?;
        }
        "restart" => {
            let now = ctx.now();
            let put_off = ctx.with(move |agent, _| {
                let event = agent.delayed().get(&id)?;
                (event.due, event.since) = (now.mono + event.delay, now.wall);
                Some(())
            });
            put_off.await.ok_or_else(none)?;
        }
        "send" => drop(fire(&ctx, &id).await?),
        _ => return Err(Error::invalid_param("action must be cancel, restart or send")),
    }
    Ok(Response::done())
}
