//! How commits fare, decided by the simulator.

use lavina_core::rng::Rng;

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It succeeds.
    Stored,
    /// It fails, and yet everything is stored.
    Landed,
    /// It fails, and so many of its batches are stored, from the first on.
    Torn(usize),
    /// It fails, and nothing is stored.
    Lost,
    /// It fails because there is no space; nothing is stored.
    Full,
}

/// Draws fates and delays; the same seed draws the same.
#[derive(Clone, Debug)]
pub struct Plan {
    state: u64,
    /// Of a thousand commits so many fail (landed, torn, lost alike).
    pub failing: u32,
    /// Of a thousand commits so many find no space.
    pub full: u32,
    /// The longest delay of a commit, in milliseconds.
    pub slowest: u64,
}

impl Plan {
    /// A plan from a seed. `failing` and `full` count in a thousand commits.
    pub fn new(seed: u64, failing: u32, full: u32, slowest: u64) -> Plan {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Plan { state: Rng::new(bytes).next_u64(), failing, full, slowest }
    }

    /// How a commit of so many batches fares.
    pub fn fate(&mut self, batches: usize) -> Fate {
        let draw = (self.next() % 1000) as u32;
        if draw < self.full {
            return Fate::Full;
        }
        if draw >= self.full.saturating_add(self.failing) {
            return Fate::Stored;
        }
        match self.next() % 3 {
            0 => Fate::Lost,
            1 => Fate::Landed,
            _ => Fate::Torn((self.next() % (batches as u64 + 1)) as usize),
        }
    }

    /// How many milliseconds a commit takes: mostly few.
    pub fn delay(&mut self) -> u64 {
        match self.next() % 8 {
            0 => self.next() % (self.slowest + 1),
            _ => self.next() % (self.slowest / 16 + 1),
        }
    }

    /// SplitMix64: small enough to be part of a clone.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed| {
            let mut p = Plan::new(seed, 300, 100, 50);
            (0..50).map(|_| (p.fate(4), p.delay())).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().any(|(f, _)| *f == Fate::Full));
        assert!(draw(7).iter().any(|(f, _)| matches!(f, Fate::Torn(n) if *n <= 4)));
        assert!(draw(7).iter().all(|(_, d)| *d <= 50));
    }
}
