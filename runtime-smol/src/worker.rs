//! A worker's thread: its own task, and one for each connection.

use crate::{Stream, accept};
use async_executor::LocalExecutor;
use async_io::Timer;
use lavina_core::{drive::Drive, ids::WorkerId, projection::Projection, time::Mono};
use lavina_host::{
    outside::Outside,
    pump::{Conn, Pump, Reading, Wait},
    socket::Reactor,
};
use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

/// Runs a worker until it is told to stop.
pub(crate) fn run<P: Projection, D: Drive<P> + 'static>(
    me: WorkerId,
    drive: D,
    doors: Vec<accept::Entry<P::Listener>>,
    outside: Arc<Outside<P, Stream>>,
) {
    let call = Arc::new(Call::default());
    let calls = call.clone();
    outside.post.set_notify(me, Box::new(move || calls.wake()));
    let executor = Rc::new(LocalExecutor::new());
    let here = Rc::new(Here {
        pump: RefCell::new(Pump::new(me, drive, outside.clone())),
        tasks: RefCell::new(Tasks::default()),
        call,
        doors: Arc::default(),
    });
    if !doors.is_empty() {
        let call = here.doors.clone();
        outside.seats.on_free(move || call.wake());
        let task = accept::Doors::new(here.clone(), me, outside, doors);
        executor.spawn(task).detach();
    }
    let turns = Turns { here: &here, executor: &executor, timer: Timer::never(), armed: None };
    async_io::block_on(executor.run(turns));
}

/// What the tasks of a thread share.
pub(crate) struct Here<P: Projection, D> {
    pub(crate) pump: RefCell<Pump<P, D, Stream>>,
    tasks: RefCell<Tasks>,
    /// Calls the worker's task.
    call: Arc<Call>,
    /// Calls the task that accepts.
    pub(crate) doors: Arc<Call>,
}

/// How a task is woken, from this thread and from others.
#[derive(Default)]
pub(crate) struct Call(Mutex<Option<Waker>>);

impl Call {
    pub(crate) fn wake(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn set(&self, waker: &Waker) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }
}

/// The connections' tasks, by slot.
#[derive(Default)]
struct Tasks {
    states: Vec<State>,
    /// Connections that need a task: the executor is not at hand where they are made.
    new: Vec<(u32, u32, Stream)>,
}

#[derive(Default)]
struct State {
    /// Counts the slot's connections: a task of an earlier one ends when it sees another number.
    turn: u32,
    waker: Option<Waker>,
    /// Wait for room to write.
    blocked: bool,
}

impl Tasks {
    fn wake(&mut self, slot: u32) {
        if let Some(waker) = self.states.get_mut(slot as usize).and_then(|state| state.waker.take()) {
            waker.wake();
        }
    }
}

impl Reactor<Stream> for Tasks {
    fn add(&mut self, slot: u32, socket: &mut Stream) -> io::Result<()> {
        if self.states.len() <= slot as usize {
            self.states.resize_with(slot as usize + 1, State::default);
        }
        self.new.push((slot, self.states[slot as usize].turn, socket.clone()));
        Ok(())
    }

    fn remove(&mut self, slot: u32, _socket: &mut Stream) {
        self.wake(slot);
        if let Some(state) = self.states.get_mut(slot as usize) {
            state.turn = state.turn.wrapping_add(1);
            state.blocked = false;
        }
    }

    fn resume(&mut self, slot: u32) {
        self.wake(slot);
    }

    fn blocked(&mut self, slot: u32) {
        if let Some(state) = self.states.get_mut(slot as usize) {
            state.blocked = true;
        }
        self.wake(slot);
    }
}

/// The worker's own task: a turn whenever something happened. Ready when the thread ends.
struct Turns<'a, P: Projection, D> {
    here: &'a Rc<Here<P, D>>,
    executor: &'a Rc<LocalExecutor<'static>>,
    timer: Timer,
    /// When the timer calls. It is not put off when the deadline is: it calls for nothing then.
    armed: Option<Mono>,
}

impl<P: Projection, D: Drive<P> + 'static> Future for Turns<'_, P, D> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Before looking for work, so that what comes meanwhile calls again.
        self.here.call.set(cx.waker());
        if !self.turn() {
            return Poll::Ready(());
        }
        let next = self.here.pump.borrow_mut().next();
        if next == Wait::Now {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Wait::At(at) = next
            && self.armed.is_none_or(|armed| at < armed)
        {
            self.armed = Some(at);
            let at = self.here.pump.borrow().outside().clock.instant(at);
            self.timer.set_at(at);
        }
        if self.armed.is_some() && Pin::new(&mut self.timer).poll(cx).is_ready() {
            self.armed = None;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<P: Projection, D: Drive<P> + 'static> Turns<'_, P, D> {
    /// Does everything at hand. False: the thread ends.
    fn turn(&self) -> bool {
        let mut pump = self.here.pump.borrow_mut();
        let mut tasks = self.here.tasks.borrow_mut();
        let goes_on = pump.letters(&mut *tasks);
        if pump.is_draining() {
            self.here.doors.wake();
        }
        pump.tick(&mut *tasks);
        pump.settle(&mut *tasks);
        for (slot, turn, stream) in tasks.new.drain(..) {
            self.executor.spawn(watch(self.here.clone(), slot, turn, stream)).detach();
        }
        goes_on
    }
}

/// The task of a connection.
async fn watch<P: Projection, D: Drive<P>>(here: Rc<Here<P, D>>, slot: u32, turn: u32, stream: Stream) {
    poll_fn(|cx| here.watch(slot, turn, &stream, cx)).await;
}

impl<P: Projection, D: Drive<P>> Here<P, D> {
    /// Reads once, then waits. Ready when the connection has left the slot.
    fn watch(&self, slot: u32, turn: u32, stream: &Stream, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut tasks = self.tasks.borrow_mut();
            let Some(state) = tasks.states.get_mut(slot as usize).filter(|state| state.turn == turn) else {
                return Poll::Ready(());
            };
            if !state.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
            if state.blocked && stream.poll_writable(cx).is_ready() {
                state.blocked = false;
                self.pump.borrow_mut().writable(slot);
                self.call.wake();
            }
        }
        let reading = self.pump.borrow_mut().read(slot, &mut *self.tasks.borrow_mut());
        match reading {
            Reading::Gone => {
                self.call.wake();
                Poll::Ready(())
            }
            Reading::Paused => Poll::Pending,
            Reading::Full => {
                self.call.wake();
                // After the worker's task and everybody else.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Reading::Short => {
                self.call.wake();
                self.wait(stream, cx)
            }
            Reading::Dry => self.wait(stream, cx),
        }
    }

    fn wait(&self, stream: &Stream, cx: &mut Context<'_>) -> Poll<()> {
        // The first call may tell of what was read just now; the second asks the system again, which
        // then tells of everything that is there.
        if stream.poll_readable(cx).is_ready() && stream.poll_readable(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Takes a new connection.
    pub(crate) fn open(&self, conn: Conn<P::Listener, Stream>) {
        self.pump.borrow_mut().open(conn, &mut *self.tasks.borrow_mut());
        self.call.wake();
    }
}
