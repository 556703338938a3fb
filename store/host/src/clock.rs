//! The two clocks, read once for each input.

use lavina_core::time::{Mono, Now, UnixMillis};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads both clocks; the monotonic one counts from its making.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Both clocks. A wall clock set before 1970 reads as 1970.
    pub fn now(&self) -> Now {
        let mono = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { mono: Mono(mono), wall: wall() }
    }

    /// How long until `at`; zero when it is past. Rounded up, so that a wait for it never ends early.
    pub fn until(&self, at: Mono) -> Duration {
        (self.start + Duration::from_millis(at.0)).saturating_duration_since(Instant::now())
    }

    /// The moment `at` as the operating system counts it.
    pub fn instant(&self, at: Mono) -> Instant {
        self.start + Duration::from_millis(at.0)
    }
}

/// The wall clock.
pub fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Seconds since 1970, as TLS wants them.
pub fn unix_seconds() -> u64 {
    wall().0 / 1_000
}
