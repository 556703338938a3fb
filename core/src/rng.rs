//! Seeded randomness: the same seed gives the same numbers.

use chacha20::ChaCha12Rng;
use chacha20::rand_core::{Rng as _, SeedableRng};

/// A cryptographically strong generator; seeded by the runtime, or by the simulator's seed.
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// From 32 bytes.
    pub fn new(seed: [u8; 32]) -> Rng {
        Rng(ChaCha12Rng::from_seed(seed))
    }

    /// Sixty-four bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Fills with bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}
