//! Agents: where requests are served. A device has one on its account's worker, beside the account's other sessions;
//! requests without a token go to the *front*, one on each worker.
//!
//! An agent comes with the first request, loads its device's record, logs in, and goes when nothing was asked of it for
//! [`IDLE`]. Nothing is lost with it: what a device must not lose is stored.

use super::api::auth::Proved;
use super::api::delayed::Delayed;
use super::device::sync::Sync;
use super::device::{Device, DeviceRow};
use super::error::Error;
use super::ids::IdKey;
use super::rate::{self, Rates};
use super::request::{Cancelled, Request, Response};
use super::rooms::Names;
use super::task::{self, Answer, Got, Tasks, Who};
use super::token::{Kind, Token};
use crate::job::Done;
use crate::late::Late;
use crate::session::{Cx, Session};
use crate::settings::Settings;
use lavina_core::event::{Event, Live};
use lavina_core::ids::{AccountId, Label, Origin, ReqId, RoomId, ShardId};
use lavina_core::name::User;
use lavina_core::presence::Show;
use lavina_core::projection::{Hole, Mode, Notice, Parcel, Reason, Seen, Wake};
use lavina_core::query::{Query, Reply, Value};
use lavina_core::text::Str;
use lavina_core::time::Mono;
use std::sync::Arc;

/// Milliseconds without a request after which a device's agent goes.
pub const IDLE: u64 = 600_000;

/// Requests that one agent serves at a time; above: 429.
pub const TASKS: usize = 256;

/// What the labels of Matrix devices begin with, among an account's sessions.
const PREFIX: &str = "m/";

/// The label of the front.
const FRONT: &str = "m";

/// The agent's own timers.
const TIMER_IDLE: u8 = 0;
const TIMER_SLEEP: u8 = 1;
const TIMER_REST: u8 = 2;
const TIMER_TYPING: u8 = 3;
const TIMER_ATTACH: u8 = 4;

/// Milliseconds until a room is asked for again that the server was too busy for.
const AGAIN: u64 = 200;

/// Milliseconds after the last sync after which the user no longer counts as there.
const REST: u64 = 30_000;

/// A session that serves requests.
pub struct Agent {
    pub(super) tasks: Tasks,
    pub(super) names: Names,
    account: AccountId,
    label: Label,
    stage: Stage,
    /// Requests that came before the device was known.
    waiting: Vec<(Origin, Request)>,
    /// What was asked of it, where that is limited.
    rates: Rates,
    /// What was proved to it by who confirms who he is; made when somebody does.
    proved: Option<Box<Proved>>,
    /// Events that the device sends later; made when it delays one.
    delayed: Option<Box<Delayed>>,
    /// When it goes, when who sleeps is to be woken, when its user no longer counts as there.
    idle: Late,
    sleep: Late,
    rest: Late,
}

/// How far it is.
enum Stage {
    /// Just made.
    Fresh,
    /// Serves requests without a token.
    Front,
    /// The account is being read.
    Loading(ReqId),
    /// The core is logging in.
    LoggingIn(Box<Device>),
    /// The device is there.
    Ready(Box<Device>),
    /// It ends.
    Gone,
}

/// The label of a device.
pub fn label(device: &str) -> Label {
    Str::new(format!("{PREFIX}{device}"))
}

/// The device that a label names, if it is a Matrix device's.
pub fn device_of(label: &str) -> Option<&str> {
    label.strip_prefix(PREFIX)
}

/// Where requests without a token go: an agent on the same worker.
pub fn front(cx: &Cx<'_>) -> (AccountId, Label) {
    let shards = cx.core_settings().shards;
    let shard = ShardId(cx.session().worker.0 % shards);
    (AccountId::fresh(0, shard, shards, true), Str::new(FRONT))
}

impl Agent {
    /// An agent for that label, if it is one of ours.
    pub fn new(account: AccountId, label: &Label) -> Option<Agent> {
        let known = *label == FRONT || device_of(label).is_some();
        known.then(|| Agent {
            tasks: Tasks::default(),
            names: Names::default(),
            account,
            label: label.clone(),
            stage: Stage::Fresh,
            waiting: Vec::new(),
            rates: Rates::default(),
            proved: None,
            delayed: None,
            idle: Late::default(),
            sleep: Late::default(),
            rest: Late::default(),
        })
    }

    /// The device, once it is there.
    pub(super) fn device(&mut self) -> Option<&mut Device> {
        match &mut self.stage {
            Stage::Ready(device) => Some(device),
            _ => None,
        }
    }

    /// What the device has been told, once it is there.
    pub(super) fn sync(&mut self) -> Option<&mut Sync> {
        self.device().map(|d| &mut d.sync)
    }

    /// What was proved by who confirms who he is.
    pub(super) fn proved(&mut self) -> &mut Proved {
        self.proved.get_or_insert_default()
    }

    /// Events that the device sends later.
    pub(super) fn delayed(&mut self) -> &mut Delayed {
        self.delayed.get_or_insert_default()
    }

    /// Begins something that nobody waits for the end of.
    pub(super) fn spawn(&mut self, begin: impl FnOnce(task::Ctx) -> task::Flow, cx: &mut Cx<'_>) {
        let (who, settings) = (self.device().map(|d| d.who.clone()), cx.settings().clone());
        let nobody = cx.origin(ReqId::default());
        let task = self.tasks.add(nobody, settings, who, cx.now(), begin);
        self.run(Some(task), cx);
    }

    /// The user is there as long as a sync waits, which is until then at most; `None`: says nothing of it.
    pub(super) fn present(&mut self, show: Option<Show>, until: Mono, cx: &mut Cx<'_>) {
        if let (Some(show), Some(sync)) = (show, self.sync()) {
            sync.show(show, cx);
            self.rest.put(TIMER_REST, Some(until + REST), cx);
        }
    }

    /// The user types in a room until then, or no longer.
    pub(super) fn type_in(&mut self, room: RoomId, until: Option<Mono>, cx: &mut Cx<'_>) {
        let next = self.sync().and_then(|s| s.type_in(room, until, cx));
        cx.timer(TIMER_TYPING, next);
    }

    // --- what the core calls ---

    /// A request, or the word that its sender is gone.
    pub fn serve(&mut self, from: Origin, parcel: Parcel, cx: &mut Cx<'_>) {
        let request = match parcel.open::<Taken>().map(|taken| *taken) {
            Some(Taken::Request(request)) => request,
            Some(Taken::Cancelled(Cancelled(origin))) => {
                self.waiting.retain(|(o, _)| *o != origin);
                return self.tasks.cancel(origin);
            }
            None => return,
        };
        if self.tasks.len() + self.waiting.len() >= TASKS {
            return respond(from, Err(lavina_core::refusal::Refusal::Busy.into()), cx);
        }
        match &self.stage {
            Stage::Fresh if self.label == FRONT => {
                cx.login_deadline(false);
                self.stage = Stage::Front;
                self.begin(from, request, cx);
            }
            Stage::Fresh => {
                self.waiting.push((from, request));
                self.stage = Stage::Loading(cx.query(Query::Account(self.account)));
            }
            Stage::Loading(_) | Stage::LoggingIn(_) => self.waiting.push((from, request)),
            Stage::Front | Stage::Ready(_) => self.begin(from, request, cx),
            Stage::Gone => respond(from, Err(Error::unknown_token(false)), cx),
        }
    }

    /// An answer of the core.
    pub fn reply(&mut self, req: ReqId, reply: Reply, cx: &mut Cx<'_>) {
        if matches!(self.stage, Stage::Loading(r) if r == req) {
            return self.loaded(reply, cx);
        }
        let task = self.tasks.got(req, Got::Reply(reply));
        self.run(task, cx);
    }

    /// A job is done.
    pub fn done(&mut self, req: ReqId, done: Done, cx: &mut Cx<'_>) {
        let task = self.tasks.got(req, Got::Done(Box::new(done)));
        self.run(task, cx);
    }

    /// An event that concerns the device.
    pub fn seen(&mut self, event: &Arc<Event>, how: Seen, cx: &mut Cx<'_>) {
        let own = match &how {
            Seen::Own { req, .. } => Some(*req),
            Seen::Feed { own, .. } => *own,
            Seen::About { .. } | Seen::Room { .. } => None,
        };
        if let Some(device) = self.device() {
            device.sync.seen(event, &how, cx);
        }
        let reply = Ok(Value::Event(event.clone()));
        let task = own.and_then(|req| self.tasks.got(req, Got::Reply(reply)));
        self.run(task, cx);
        self.something(cx);
    }

    /// A signal of the moment in a room.
    pub fn seen_live(&mut self, live: &Arc<Live>, own: Option<ReqId>, cx: &mut Cx<'_>) {
        if let Some(device) = self.device() {
            device.sync.live(live, cx.now().mono, &IdKey::new(&cx.core_settings().secret));
        }
        let task = own.and_then(|req| self.tasks.got(req, Got::Reply(Ok(Value::Done))));
        self.run(task, cx);
        self.something(cx);
    }

    /// Something else happened.
    pub fn wake(&mut self, why: Wake, cx: &mut Cx<'_>) {
        match why {
            Wake::Login => self.logged_in(cx),
            Wake::LoginRefused(why) => self.give_up(&why.into(), cx),
            Wake::LoginTimeout | Wake::Replaced => {
                self.give_up(&Error::unavailable("the server is too busy; try again soon"), cx);
            }
            Wake::Drain => self.give_up(&Error::unavailable("the server is stopping"), cx),
            Wake::Timer(TIMER_IDLE) if self.idle.rings(TIMER_IDLE, cx) => self.idle(cx),
            Wake::Timer(TIMER_REST) if self.rest.rings(TIMER_REST, cx) => {
                if let Some(sync) = self.sync() {
                    sync.show(Show::Offline, cx);
                }
                self.something(cx);
            }
            Wake::Timer(TIMER_TYPING) => {
                let next = self.sync().and_then(|s| s.stop_typing(cx.now().mono, cx));
                cx.timer(TIMER_TYPING, next);
                self.something(cx);
            }
            Wake::Timer(TIMER_ATTACH) => {
                if let Some(sync) = self.sync() {
                    sync.attach_delayed(cx);
                }
                self.something(cx);
            }
            Wake::Timer(TIMER_SLEEP) if self.sleep.rings(TIMER_SLEEP, cx) => {
                for task in self.tasks.wake(Some(cx.now().mono)) {
                    self.run(Some(task), cx);
                }
                self.sleep.put(TIMER_SLEEP, self.tasks.next_due(), cx);
            }
            Wake::Attached { room, replay } => {
                if let Some(device) = self.device() {
                    device.sync.attached(room, replay, cx);
                    if device.sync.is_delayed() {
                        cx.timer(TIMER_ATTACH, Some(cx.now().mono + AGAIN));
                    }
                }
                self.something(cx);
            }
            Wake::Notice(notice) => {
                self.noticed(&notice, cx);
                self.something(cx);
            }
            _ => {}
        }
    }

    /// There is no connection that could open.
    pub fn opened(&mut self, _: &mut Cx<'_>) {}

    /// There is no connection that bytes could come from.
    ///
    /// # Errors
    /// Never.
    pub fn recv(&mut self, bytes: &[u8], _: &mut Cx<'_>) -> Result<usize, Reason> {
        Ok(bytes.len())
    }

    /// It has no encodings, so none with holes.
    pub fn hole(&self, _: Hole) -> &[u8] {
        &[]
    }

    /// Room events come one by one.
    pub fn mode(&self) -> Mode {
        Mode::Each
    }

    // --- coming and going ---

    fn loaded(&mut self, reply: Reply, cx: &mut Cx<'_>) {
        let found = match reply {
            Ok(Value::Account(account)) => {
                let device = device_of(&self.label).unwrap_or_default();
                let row = DeviceRow::find(&account, device);
                let head = account.head.as_ref().filter(|h| !h.disabled);
                head.zip(row).map(|(h, row)| {
                    let seen = row.last_seen(&account, device);
                    (User::new(self.account, h.name.clone()), row, seen)
                })
            }
            Ok(_) | Err(lavina_core::refusal::Refusal::NoSuchUser) => None,
            Err(why) => return self.give_up(&why.into(), cx),
        };
        let Some((user, row, seen)) = found else {
            return self.give_up(&Error::unknown_token(false), cx);
        };
        // Only who has the device's token may make it log in.
        let now = cx.now().wall;
        let known =
            |r: &Request| r.token.as_ref().and_then(|t| Token::parse(t)).is_some_and(|t| row.knows(&t, now));
        if !self.waiting.iter().any(|(_, r)| known(r)) {
            return self.give_up(&Error::unknown_token(false), cx);
        }
        let device = Str::new(device_of(&self.label).unwrap_or_default());
        let who = Who { user: user.clone(), device };
        self.stage = Stage::LoggingIn(Box::new(Device::new(who, row, seen)));
        cx.login(user);
    }

    fn logged_in(&mut self, cx: &mut Cx<'_>) {
        let Stage::LoggingIn(device) = std::mem::replace(&mut self.stage, Stage::Gone) else { return };
        self.stage = Stage::Ready(device);
        if let Some(sync) = self.sync() {
            // Who asks for something is not there yet: that he is who syncs.
            sync.show(Show::Offline, cx);
        }
        cx.subscribe(self.label.clone());
        for (from, request) in std::mem::take(&mut self.waiting) {
            self.begin(from, request, cx);
        }
    }

    /// Everybody who waits is told, and the agent ends.
    fn give_up(&mut self, error: &Error, cx: &mut Cx<'_>) {
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(from, _)| from);
        let origins: Vec<Origin> = waiting.chain(self.tasks.abandon()).collect();
        for from in origins {
            respond(from, Err(error.clone()), cx);
        }
        self.stage = Stage::Gone;
        cx.close(Reason::Bye);
    }

    /// The device is no more: its sessions are told so.
    pub(super) fn revoked(&mut self, cx: &mut Cx<'_>) {
        self.give_up(&Error::unknown_token(false), cx);
    }

    fn idle(&mut self, cx: &mut Cx<'_>) {
        if self.tasks.is_empty() && self.waiting.is_empty() {
            self.stage = Stage::Gone;
            cx.close(Reason::Bye);
        } else {
            self.idle.put(TIMER_IDLE, Some(cx.now().mono + IDLE), cx);
        }
    }

    // --- serving ---

    fn begin(&mut self, from: Origin, request: Request, cx: &mut Cx<'_>) {
        let Some(route) = request.route else {
            return respond(from, Err(Error::unrecognized("there is nothing like this here")), cx);
        };
        let who = match &mut self.stage {
            Stage::Ready(device) => {
                let now = cx.now().wall;
                let token = request.token.as_ref().and_then(|t| Token::parse(t));
                match token
                    .filter(|t| t.kind == Kind::Access)
                    .ok_or(false)
                    .and_then(|t| device.row.accepts(&t, now))
                {
                    Ok(promoted) => {
                        if promoted {
                            device.row.promote();
                            let command = device.row.command(&device.who);
                            cx.command(command, false);
                        }
                        if let Some(command) = device.is_seen(now) {
                            cx.command(command, false);
                        }
                        cx.touch();
                        Some(device.who.clone())
                    }
                    Err(soft) => return respond(from, Err(Error::unknown_token(soft)), cx),
                }
            }
            _ => None,
        };
        if who.is_some() {
            self.idle.put(TIMER_IDLE, Some(cx.now().mono + IDLE), cx);
        }
        let whose = if who.is_some() { Some(Str::default()) } else { rate::whose(request.peer) };
        if let (Some(what), Some(whose)) = (rate::of(route), whose)
            && let Err(error) = self.spend(what, &whose, cx)
        {
            return respond(from, Err(error), cx);
        }
        let settings = cx.settings().clone();
        let task = self.tasks.add(from, settings, who, cx.now(), move |ctx| (route.serve)(ctx, request));
        self.run(Some(task), cx);
    }

    /// Counts something that is limited.
    pub(super) fn spend(&mut self, what: rate::What, whose: &Str, cx: &Cx<'_>) -> Result<(), Error> {
        self.rates.spend(what, whose, cx.now().mono, &cx.core_settings().limits)
    }

    /// Something happened: who sleeps looks whether it is for him.
    pub(super) fn something(&mut self, cx: &mut Cx<'_>) {
        let changed = self.device().is_some_and(|d| d.sync.take_changed());
        if changed {
            for task in self.tasks.wake(None) {
                self.run(Some(task), cx);
            }
        }
    }

    fn run(&mut self, task: Option<u64>, cx: &mut Cx<'_>) {
        let Some(task) = task else { return };
        if let Some((from, answer)) = task::run(self, task, cx) {
            respond(from, answer, cx);
        }
        self.sleep.put(TIMER_SLEEP, self.tasks.next_due(), cx);
    }

    fn noticed(&mut self, notice: &Arc<Notice>, cx: &mut Cx<'_>) {
        let Some(device) = self.device() else { return };
        match &**notice {
            Notice::Attrs { from, values, .. } if from.id == device.who.user.id => {
                for (key, value) in values {
                    if DeviceRow::key(&device.who.device) != *key {
                        continue;
                    }
                    match DeviceRow::read(value) {
                        Some(row) => device.row = row,
                        None => return self.revoked(cx),
                    }
                }
            }
            Notice::Revoked(_) => {
                // A device whose record is gone is told by that; a new password keeps those that it does not end.
                if let Notice::Revoked(lavina_core::projection::Revoked::Credential(_)) = &**notice {
                    return;
                }
                return self.revoked(cx);
            }
            _ => {}
        }
        if let Some(device) = self.device() {
            device.sync.noticed(notice, cx);
        }
    }
}

/// What is handed to an agent.
pub enum Taken {
    /// A request.
    Request(Request),
    /// Its sender is gone.
    Cancelled(Cancelled),
}

fn respond(to: Origin, answer: Answer, cx: &mut Cx<'_>) {
    let response: Response = answer.unwrap_or_else(Error::response);
    cx.respond(to, Parcel::new(response));
}

impl Session {
    /// An agent's session.
    pub(crate) fn matrix_agent(account: AccountId, label: &Label, _: &Arc<Settings>) -> Option<Session> {
        Agent::new(account, label).map(|agent| Session::Matrix(Box::new(agent)))
    }
}
