//! Choices from a seed, and the trace of what was chosen and seen.

use lavina_core::rng::Rng;

/// Draws choices; the same seed draws the same.
pub struct Dice(Rng);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Dice {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Dice(Rng::new(bytes))
    }

    /// Below `n`; zero for an empty range.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.0.next_u64() % n as u64) as usize }
    }

    /// True once in `n` times; never for zero.
    pub fn once_in(&mut self, n: usize) -> bool {
        n > 0 && self.below(n) == 0
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Thirty-two bytes.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        self.0.fill(&mut out);
        out
    }
}

/// A hash over everything that happened (FNV-1a): equal for equal runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace(u64);

impl Default for Trace {
    fn default() -> Trace {
        Trace(0xcbf2_9ce4_8422_2325)
    }
}

impl Trace {
    /// Takes bytes in.
    pub fn add(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = (self.0 ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Takes a number in.
    pub fn number(&mut self, n: u64) {
        self.add(&n.to_le_bytes());
    }
}
