//! Memory that nobody uses any more, given back to the system; and how it is divided among the threads.
//!
//! The answer to a client's first sync takes many times what is kept for the client. Such pieces lie before what came
//! later, and glibc's allocator gives memory back by itself only from the end: a server that was busy once would keep
//! that size for ever. Other allocators (musl's) are left alone.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// How often it is looked whether there may be something to give back.
pub(crate) const EVERY: Duration = Duration::from_secs(10);

/// Processor time that was spent since the last time; after less there is nothing worth it.
const WORK: Duration = Duration::from_millis(100);

/// Gives memory back now and then.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    /// The process's processor time when it did so last.
    spent: Duration,
    /// It was busy until then: what its threads give back when they rest comes a little later.
    again: bool,
}

impl Keeper {
    /// Gives back what is free, if something was done since the last time.
    pub fn look(&mut self) {
        let worked = spent().saturating_sub(self.spent) >= WORK;
        if worked || self.again {
            trim();
            self.spent = spent();
        }
        self.again = worked;
    }
}

/// To be called before the first thread is started. Beside one worker the other threads mostly wait: all take their memory
/// from one place. glibc would give each thread its own, and what the store reads and the worker keeps would leave holes
/// that only the store's thread could fill.
pub(crate) fn plan(workers: u8) {
    if workers == 1 {
        one_arena();
    }
}

fn spent() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no safe function tells the allocator to give memory back")]
fn trim() {
    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // SAFETY: malloc_trim(3) may be called at any time from any thread; it touches free memory only.
    unsafe { malloc_trim(0) };
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "no safe function tells the allocator how many arenas it may have")]
fn one_arena() {
    use std::ffi::c_int;
    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    /// `M_ARENA_MAX` of glibc's malloc.h.
    const ARENA_MAX: c_int = -8;
    // SAFETY: mallopt(3) takes its own lock and changes a number. Refused, the usual number stays.
    unsafe { mallopt(ARENA_MAX, 1) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn one_arena() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_work_it_looks_again() {
        let mut keeper = Keeper::default();
        while spent() < WORK {
            std::hint::spin_loop();
        }
        keeper.look();
        assert!(keeper.spent >= WORK && keeper.again);
        let before = keeper.spent;
        keeper.look();
        assert!(keeper.spent > before, "once more");
        let (before, again) = (keeper.spent, keeper.again);
        keeper.look();
        assert!(again || keeper.spent == before || keeper.spent >= before + WORK);
    }
}
