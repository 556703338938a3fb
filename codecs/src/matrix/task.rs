//! Requests that take several steps: coroutines.
//!
//! A handler is an `async fn`: it asks, waits for the answer, asks again, and at last gives the response. Nothing
//! runs by itself: an [`Agent`](super::agent::Agent) polls a task when an answer for it has come, and never
//! otherwise, so what happens depends on the inputs alone, as everywhere in this crate. There is no executor, no
//! waker and no thread behind it.

use super::agent::Agent;
use super::error::Error;
use super::rate::What;
use super::request::Response;
use crate::job::{Done, Job};
use crate::session::Cx;
use crate::settings::Settings;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::ids::{OnceKey, Origin, ReqId};
use lavina_core::name::User;
use lavina_core::query::{Query, Reply};
use lavina_core::text::Str;
use lavina_core::time::{Mono, Now};
use lavina_core::vecmap::VecMap;
use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What a handler comes to.
pub type Answer = Result<Response, Error>;

/// A handler under way.
pub type Flow = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What a task can do. Cheap to clone; all clones are of the same task.
#[derive(Clone)]
pub struct Ctx {
    slot: Arc<Mutex<Slot>>,
    settings: Arc<Settings>,
    who: Option<Arc<Who>>,
}

/// On whose behalf a task runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The account.
    pub user: User,
    /// The device.
    pub device: Str,
}

/// Where a task and its agent meet. The lock is never contended: the agent holds it between polls, the task while it
/// is polled, both in one call of the agent; it is there because sessions may move between threads.
struct Slot {
    now: Now,
    next: u32,
    wishes: Vec<(u32, Wish)>,
    answers: Vec<(u32, Got)>,
}

/// What a task wants.
pub(super) enum Wish {
    /// A question to the core.
    Query(Box<Query>),
    /// A command; with the entry the session is attached where the flag says so.
    Command(Box<Command>, bool),
    /// Work outside.
    Job(Box<Job>),
    /// A call of the agent itself.
    With(Call),
    /// To sleep until something happens to the device, at the latest until then.
    Wait(Mono),
}

/// Something done with the agent, between two polls.
pub(super) type Call = Box<dyn FnOnce(&mut Agent, &mut Cx<'_>) -> Box<dyn Any + Send> + Send>;

/// What came of a wish.
pub(super) enum Got {
    /// An answer of the core.
    Reply(Reply),
    /// What a job gave.
    Done(Box<Done>),
    /// What a call gave.
    Value(Box<dyn Any + Send>),
}

/// An answer of the core, to be awaited.
pub struct Asked(Ticket);

/// What a job gives, to be awaited; nothing where it was refused as busy.
pub struct Worked(Ticket);

/// What a call gives, to be awaited.
pub struct Given<T>(Ticket, PhantomData<fn() -> T>);

/// A wish that was made.
struct Ticket {
    slot: Arc<Mutex<Slot>>,
    n: u32,
}

impl Ctx {
    /// The settings as they were when the request came.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// This server's domain.
    pub fn domain(&self) -> &str {
        &self.settings.core.domain
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        lock(&self.slot).now
    }

    /// On whose behalf; an error for a request without a token.
    ///
    /// # Errors
    /// 401 `M_MISSING_TOKEN`.
    pub fn who(&self) -> Result<&Who, Error> {
        self.who.as_deref().ok_or_else(Error::missing_token)
    }

    /// The account on whose behalf it runs.
    ///
    /// # Errors
    /// 401 `M_MISSING_TOKEN`.
    pub fn user(&self) -> Result<&User, Error> {
        self.who().map(|w| &w.user)
    }

    /// Asks the core. It is asked at once, so several may be asked before the first is awaited.
    pub fn query(&self, query: Query) -> Asked {
        Asked(self.wish(Wish::Query(Box::new(query))))
    }

    /// Sends a command of the device's user.
    pub fn act(&self, to: EntityId, act: Act) -> Asked {
        match self.who.as_ref() {
            Some(who) => self.command(Command::by(&who.user, to, act)),
            None => self.command(Command { to, by: lavina_core::event::Actor::Server, once: None, act }),
        }
    }

    /// The same with a key that makes a retry of it the same.
    pub fn act_once(&self, to: EntityId, act: Act, once: Option<OnceKey>) -> Asked {
        match self.who.as_ref() {
            Some(who) => self.command(Command { once, ..Command::by(&who.user, to, act) }),
            None => self.act(to, act),
        }
    }

    /// Sends a command.
    pub fn command(&self, command: Command) -> Asked {
        Asked(self.wish(Wish::Command(Box::new(command), false)))
    }

    /// Sends a command with whose entry the device is attached to the room (a join).
    pub fn join(&self, command: Command) -> Asked {
        Asked(self.wish(Wish::Command(Box::new(command), true)))
    }

    /// Has a job done.
    pub fn job(&self, job: Job) -> Worked {
        Worked(self.wish(Wish::Job(Box::new(job))))
    }

    /// Does something with the agent and gives what comes of it.
    pub fn with<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Agent, &mut Cx<'_>) -> T + Send + 'static,
    ) -> Given<T> {
        let call: Call = Box::new(move |agent, cx| Box::new(call(agent, cx)));
        Given(self.wish(Wish::With(call)), PhantomData)
    }

    /// Counts something that is limited.
    ///
    /// # Errors
    /// 429 `M_LIMIT_EXCEEDED`.
    pub async fn spend(&self, what: What, whose: Str) -> Result<(), Error> {
        self.with(move |agent, cx| agent.spend(what, &whose, cx)).await
    }

    /// Fills an array with random bytes that nobody can guess.
    pub async fn random<const N: usize>(&self) -> [u8; N] {
        self.with(|_, cx| {
            let mut bytes = [0; N];
            cx.fill_random(&mut bytes);
            bytes
        })
        .await
    }

    /// Sleeps until something happens to the device, at the latest until then. It may wake for nothing.
    pub fn wait(&self, until: Mono) -> Given<()> {
        Given(self.wish(Wish::Wait(until)), PhantomData)
    }

    fn wish(&self, wish: Wish) -> Ticket {
        let mut slot = lock(&self.slot);
        slot.next += 1;
        let n = slot.next;
        slot.wishes.push((n, wish));
        drop(slot);
        Ticket { slot: self.slot.clone(), n }
    }
}

impl Ticket {
    fn take<T>(&self, read: impl FnOnce(Got) -> Option<T>) -> Poll<T> {
        let mut slot = lock(&self.slot);
        let at = slot.answers.iter().position(|(n, _)| *n == self.n);
        let got = at.map(|at| slot.answers.swap_remove(at).1);
        drop(slot);
        got.and_then(read).map_or(Poll::Pending, Poll::Ready)
    }
}

impl Future for Asked {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Reply> {
        self.0.take(|got| match got {
            Got::Reply(reply) => Some(reply),
            Got::Done(_) | Got::Value(_) => None,
        })
    }
}

impl Future for Worked {
    type Output = Option<Done>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Done>> {
        self.0.take(|got| match got {
            Got::Done(done) => Some(Some(*done)),
            Got::Reply(_) => Some(None),
            Got::Value(_) => None,
        })
    }
}

impl<T: 'static> Future for Given<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        self.0.take(|got| match got {
            Got::Value(value) => value.downcast().ok().map(|v| *v),
            Got::Reply(_) | Got::Done(_) => None,
        })
    }
}

/// The tasks of an agent, and what they wait for.
#[derive(Default)]
pub(super) struct Tasks {
    tasks: VecMap<u64, Task>,
    next: u64,
    /// The core's requests in flight.
    asked: VecMap<ReqId, (u64, u32)>,
    /// Who sleeps, and until when.
    asleep: Vec<(u64, u32, Mono)>,
}

struct Task {
    from: Origin,
    flow: Flow,
    slot: Arc<Mutex<Slot>>,
}

impl Tasks {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// A new task; [`run`] is to be called for it.
    pub(super) fn add(
        &mut self,
        from: Origin,
        settings: Arc<Settings>,
        who: Option<Arc<Who>>,
        now: Now,
        begin: impl FnOnce(Ctx) -> Flow,
    ) -> u64 {
        let slot = Slot { now, next: 0, wishes: Vec::new(), answers: Vec::new() };
        let slot = Arc::new(Mutex::new(slot));
        let flow = begin(Ctx { slot: slot.clone(), settings, who });
        self.next += 1;
        self.tasks.insert(self.next, Task { from, flow, slot });
        self.next
    }

    /// Whoever asked is gone: the task ends where it is.
    pub(super) fn cancel(&mut self, from: Origin) {
        self.tasks.retain(|_, task| task.from != from);
        self.asleep.retain(|(task, ..)| self.tasks.contains_key(task));
    }

    /// Those for whom nobody can answer any more, with who asked.
    pub(super) fn abandon(&mut self) -> Vec<Origin> {
        self.asleep.clear();
        self.asked.clear();
        std::mem::take(&mut self.tasks).into_iter().map(|(_, task)| task.from).collect()
    }

    /// An answer came; the task that waited for it, if it was one.
    pub(super) fn got(&mut self, req: ReqId, got: Got) -> Option<u64> {
        let (task, n) = self.asked.remove(&req)?;
        lock(&self.tasks.get(&task)?.slot).answers.push((n, got));
        Some(task)
    }

    /// Something happened to the device, or (with a time) that time has come: who sleeps goes on.
    pub(super) fn wake(&mut self, due: Option<Mono>) -> Vec<u64> {
        let mut up = Vec::new();
        self.asleep.retain(|(task, n, until)| {
            let wakes = due.is_none_or(|now| *until <= now);
            if let Some(t) = self.tasks.get(task).filter(|_| wakes) {
                lock(&t.slot).answers.push((*n, Got::Value(Box::new(()))));
                up.push(*task);
            }
            !wakes
        });
        up
    }

    /// When the first of those asleep is to be woken.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.asleep.iter().map(|(_, _, until)| *until).min()
    }
}

/// Polls a task until it waits for something that takes time; gives its answer when it has one.
pub(super) fn run(agent: &mut Agent, id: u64, cx: &mut Cx<'_>) -> Option<(Origin, Answer)> {
    loop {
        let task = agent.tasks.tasks.get_mut(&id)?;
        lock(&task.slot).now = cx.now();
        let polled = task.flow.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(answer) = polled {
            return agent.tasks.tasks.remove(&id).map(|task| (task.from, answer));
        }
        let mut wishes = std::mem::take(&mut lock(&task.slot).wishes);
        let slot = task.slot.clone();
        let mut again = false;
        for (n, wish) in wishes.drain(..) {
            let asked = match wish {
                Wish::Query(query) => cx.query(*query),
                Wish::Command(command, attach) => cx.command(*command, attach),
                Wish::Job(job) => cx.job(*job),
                Wish::With(call) => {
                    let value = call(agent, cx);
                    lock(&slot).answers.push((n, Got::Value(value)));
                    again = true;
                    continue;
                }
                Wish::Wait(until) => {
                    // Most often there is one.
                    agent.tasks.asleep.reserve_exact(1);
                    agent.tasks.asleep.push((id, n, until));
                    continue;
                }
            };
            agent.tasks.asked.insert(asked, (id, n));
        }
        let mut slot = lock(&slot);
        if !again {
            // It waits, perhaps for long: with no more than it needs.
            slot.answers.shrink_to_fit();
            return None;
        }
        slot.wishes = wishes;
    }
}

/// A panic elsewhere leaves nothing half-done in it.
fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
