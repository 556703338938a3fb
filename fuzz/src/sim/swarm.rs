//! What kind of run a seed makes: each run has other limits, faults and rates, so that together they
//! reach corners that no single mixture would.

use super::dice::Dice;
use lavina_core::{
    limits::Limits,
    settings::{Guests, Settings},
};

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Workers.
    pub workers: u8,
    /// What the core reads.
    pub settings: Settings,
    /// Accounts that log in.
    pub people: usize,
    /// One connection in so many is a guest's; zero: none.
    pub guests: usize,
    /// Connections that there are at most at once.
    pub clients: usize,
    /// Rooms that they talk in.
    pub rooms: usize,
    /// Steps before everything is let settle.
    pub steps: usize,
    /// One step in so many cuts a connection; zero: none.
    pub cut: usize,
    /// One step in so many stops or resumes a reader.
    pub stall: usize,
    /// One step in so many ends the whole server.
    pub crash: usize,
    /// One commit in so many fails in some way.
    pub fail: usize,
    /// Most bytes that go over a connection at once.
    pub chunk: usize,
    /// One step in so many is a request of a client, if nothing else is more pressing.
    pub pace: usize,
}

impl Swarm {
    /// No faults, and limits that nobody reaches.
    #[cfg(test)]
    pub fn quiet(dice: &mut Dice) -> Swarm {
        let mut swarm = Swarm::draw(dice, 2);
        swarm.settings.limits = Limits { connections_per_address: 0, ..Limits::SMALL };
        Swarm { cut: 0, stall: 0, crash: 0, fail: 0, steps: 1_500, people: 3, clients: 6, ..swarm }
    }

    /// The settings that a seed draws.
    pub fn draw(dice: &mut Dice, workers: u8) -> Swarm {
        let big = Limits::SMALL;
        let limits = Limits {
            window: dice.pick(&[1, 2, 4, 32]),
            turn: dice.pick(&[1, 3, 16, 512]),
            mailbox: dice.pick(&[1, 3, 16, 4_096]),
            tail: dice.pick(&[1, 2, 8, 32]),
            page: dice.pick(&[1, 3, 20, 200]),
            entities: dice.pick(&[1, 4, 16, 4_000]),
            waiting: dice.pick(&[2, 8, 64]),
            outbox: dice.pick(&[600, 4_000, 256 * 1024]),
            inbox: dice.pick(&[600, 4_000, 32 * 1024]),
            rooms_per_session: dice.pick(&[2, 100]),
            connections_per_address: 0,
            ..big
        };
        let shards = dice.pick(&[4, 16]);
        let mut swarm = Swarm {
            workers,
            settings: Settings {
                shards,
                limits,
                guests: Guests::Named,
                open_registration: true,
                ..Settings::default()
            },
            people: 2 + dice.below(5),
            guests: dice.pick(&[0, 2, 4]),
            clients: 2 + dice.below(8),
            rooms: 1 + dice.below(3),
            steps: 600 + dice.below(1_500),
            cut: dice.pick(&[0, 60, 300]),
            stall: dice.pick(&[0, 40, 200]),
            crash: dice.pick(&[0, 0, 300, 900]),
            fail: dice.pick(&[0, 0, 4, 25]),
            chunk: dice.pick(&[1, 7, 100, 4_096]),
            pace: dice.pick(&[2, 5, 12]),
        };
        // No further draws: other runs of the same seed go on as before.
        swarm.settings.limits.blob = [4, 50, 1_000][swarm.steps % 3];
        swarm.settings.limits.blobs = [1, 32][swarm.steps / 3 % 2];
        swarm
    }
}
