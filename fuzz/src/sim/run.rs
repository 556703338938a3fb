//! One run: people log in, act at random, lose their connections, come again; then everything settles and
//! the whole is checked.

use super::{
    check,
    dice::{Dice, Trace},
    swarm::Swarm,
    world::{Noticed, WireId, World},
};
use crate::{
    client::line::LineClient,
    line::{Line, Own},
};
use std::{collections::BTreeMap, sync::Arc};

/// Steps in which everything must have settled.
const SETTLE: usize = 400_000;

/// What a run reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The hash of all that happened.
    pub trace: Trace,
    /// Steps.
    pub steps: usize,
    /// Entries in all logs.
    pub entries: usize,
    /// Answers that clients got.
    pub answered: usize,
    /// Connections.
    pub sessions: usize,
    /// Crashes.
    pub crashes: usize,
    /// Failed commits.
    pub failures: usize,
    /// Media kept, bytes of them read, and how often that failed.
    pub media: [usize; 3],
}

impl Report {
    /// Adds another run's numbers.
    pub fn add(&mut self, other: &Report) {
        self.steps += other.steps;
        self.entries += other.entries;
        self.answered += other.answered;
        self.sessions += other.sessions;
        self.crashes += other.crashes;
        self.failures += other.failures;
        (0..3).for_each(|n| self.media[n] += other.media[n]);
    }
}

/// A client and what it said.
pub struct Session {
    /// The client.
    pub client: LineClient,
    /// Its connection.
    pub wire: WireId,
    /// True: both ends are open.
    pub open: bool,
    /// True: it has asked to leave.
    pub leaving: bool,
}

/// Everything of a run.
pub struct Run {
    /// The server.
    pub world: World<Line>,
    /// All connections there ever were.
    pub sessions: Vec<Session>,
    /// Who said each token, and at which step.
    pub said: BTreeMap<String, (String, usize)>,
    swarm: Swarm,
    by_wire: BTreeMap<WireId, usize>,
    crashes: usize,
}

/// Runs a seed.
///
/// # Panics
/// When a rule is broken; the seed and the step are printed.
pub fn run(seed: u64, workers: u8) -> Report {
    let mut dice = Dice::new(seed);
    let swarm = Swarm::draw(&mut dice, workers);
    let guard = Guard::new(seed, &swarm);
    let mut run = Run::new(swarm, dice);
    run.act();
    run.settle();
    let entries = check::all(&run);
    std::mem::forget(guard);
    Report {
        trace: run.world.trace,
        steps: run.world.step,
        entries,
        answered: run.sessions.iter().map(|s| s.client.answered).sum(),
        sessions: run.sessions.len(),
        crashes: run.crashes,
        failures: run.world.disk.failures,
        media: [run.world.vault.stored, run.world.vault.read, run.world.vault.failures],
    }
}

/// Prints how to see a failure again.
pub(super) struct Guard {
    seed: u64,
    workers: u8,
    swarm: String,
}

impl Guard {
    pub(super) fn new(seed: u64, swarm: &Swarm) -> Guard {
        Guard { seed, workers: swarm.workers, swarm: format!("{swarm:?}") }
    }
}

impl Drop for Guard {
    #[expect(clippy::print_stderr, reason = "a failing test tells how to repeat it")]
    fn drop(&mut self) {
        eprintln!("LAVINA_SEED={} with {} workers: {}", self.seed, self.workers, self.swarm);
    }
}

impl Run {
    fn new(swarm: Swarm, dice: Dice) -> Run {
        let settings = Arc::new(Own(swarm.settings.clone()));
        let mut world = World::new(settings, swarm.workers, dice);
        (world.chunk, world.fail) = (swarm.chunk, swarm.fail);
        Run {
            world,
            sessions: Vec::new(),
            said: BTreeMap::new(),
            swarm,
            by_wire: BTreeMap::new(),
            crashes: 0,
        }
    }

    /// A run without faults under roomy limits, at its end.
    #[cfg(test)]
    pub fn quiet(seed: u64) -> Run {
        let mut dice = Dice::new(seed);
        let swarm = Swarm::quiet(&mut dice);
        let mut run = Run::new(swarm, dice);
        run.act();
        run.settle();
        run
    }

    fn act(&mut self) {
        while self.world.step < self.swarm.steps {
            let dice = &mut self.world.dice;
            if dice.once_in(self.swarm.crash) {
                self.crashes += 1;
                self.world.crash();
            } else if dice.once_in(self.swarm.cut) {
                self.some_open().into_iter().for_each(|i| self.world.cut(self.sessions[i].wire));
            } else if dice.once_in(self.swarm.stall) {
                let on = dice.once_in(2);
                self.some_open().into_iter().for_each(|i| self.world.stall(self.sessions[i].wire, on));
            } else if dice.once_in(self.swarm.pace) || !self.world.advance() {
                self.ask();
            }
            self.notice();
        }
    }

    /// Somebody says something, or comes.
    fn ask(&mut self) {
        let open = self.sessions.iter().filter(|s| s.open).count();
        if open < self.swarm.clients && (open == 0 || self.world.dice.once_in(3)) {
            let label = format!("device{}", self.world.dice.below(4));
            let (client, first) = if self.world.dice.once_in(self.swarm.guests) {
                LineClient::guest(&format!("guest-{}", self.world.dice.below(3)), &label)
            } else {
                LineClient::new(&format!("person{}", self.world.dice.below(self.swarm.people)), &label)
            };
            let wire = self.world.connect(());
            self.world.send(wire, first.as_bytes());
            self.by_wire.insert(wire, self.sessions.len());
            self.sessions.push(Session { client, wire, open: true, leaving: false });
            self.world.step += 1;
            return;
        }
        let Some(i) = self.some_open() else { return };
        let session = &mut self.sessions[i];
        if session.client.hello.is_none() || session.leaving {
            self.world.step += 1;
            return;
        }
        let token = format!("token{}", self.said.len());
        let line = session.client.ask(&mut self.world.dice, self.swarm.rooms, self.swarm.people, &token);
        session.leaving = line.contains(" quit");
        self.said.insert(token, (session.client.name.clone(), self.world.step));
        self.world.send(session.wire, line.as_bytes());
        self.world.step += 1;
    }

    fn some_open(&mut self) -> Option<usize> {
        let open: Vec<usize> =
            self.sessions.iter().enumerate().filter(|(_, s)| s.open).map(|(i, _)| i).collect();
        if open.is_empty() { None } else { Some(open[self.world.dice.below(open.len())]) }
    }

    fn notice(&mut self) {
        for noticed in self.world.noticed() {
            match noticed {
                Noticed::Bytes(wire, bytes) => {
                    let session = &mut self.sessions[self.by_wire[&wire]];
                    if session.open {
                        session.client.receive(&bytes, self.world.step);
                    }
                    if session.client.failed {
                        self.world.hang_up(wire);
                    }
                }
                Noticed::Closed(wire) => self.sessions[self.by_wire[&wire]].open = false,
            }
        }
    }

    /// Shards of the store.
    pub fn shards(&self) -> u8 {
        self.swarm.settings.shards
    }

    /// True: sessions cannot be in all rooms at once.
    pub fn is_crowded(&self) -> bool {
        self.swarm.settings.limits.rooms_per_session < self.swarm.rooms
    }

    /// No more requests and no more faults: what is under way comes to its end.
    fn settle(&mut self) {
        self.world.fail = 0;
        for i in 0..self.sessions.len() {
            self.world.stall(self.sessions[i].wire, false);
        }
        for _ in 0..SETTLE {
            let more = self.world.advance();
            self.notice();
            if !more && !self.world.jump(5_000) {
                self.world.vault.check_settled();
                return;
            }
        }
        panic!("it does not settle");
    }
}
