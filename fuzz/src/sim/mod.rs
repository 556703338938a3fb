//! The deterministic simulator: a whole server of one, two or four workers with a store that fails, a
//! network that cuts, delays and divides, readers that stall, crashes at any step, and clients that act at
//! random. One seed makes one run, to the last bit.
//!
//! Replay a failure with `LAVINA_SEED=<seed> LAVINA_WORKERS=<n> cargo test -p lavina-fuzz sim`; run more
//! with `LAVINA_SEEDS=<how many>`; with `LAVINA_TRACE=1` everything that happens is printed.

pub mod check;
pub mod dice;
pub mod disk;
pub mod rooms;
pub mod run;
pub mod swarm;
pub mod talk;
pub mod vault;
pub mod world;

/// The seeds to run: one from `LAVINA_SEED`, or so many from `LAVINA_SEEDS`, or `default`.
pub fn seeds(default: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|v: String| v.parse::<u64>().ok());
    match (number("LAVINA_SEED"), number("LAVINA_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, many) => (0..many.unwrap_or(default)).collect(),
    }
}

/// How many workers to run each seed with: `LAVINA_WORKERS`, or one, two and four.
pub fn workers() -> Vec<u8> {
    let one = std::env::var("LAVINA_WORKERS").ok().and_then(|v| v.parse().ok());
    one.map_or_else(|| vec![1, 2, 4], |n| vec![n])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_run_keeps_the_rules() {
        let mut total = run::Report::default();
        for seed in seeds(300) {
            for workers in workers() {
                total.add(&run::run(seed, workers));
            }
        }
        // A simulator that reaches nothing proves nothing.
        if std::env::var_os("LAVINA_SEED").is_none() {
            assert!(total.entries > 100 && total.answered > 1_000, "{total:?}");
            assert!(total.media.iter().all(|n| *n > 20), "{total:?}");
        }
    }

    #[test]
    fn nothing_acknowledged_is_lost() {
        let mut total = talk::Report::default();
        // 25 and 106: a message was shown as it came, or as a copy, and once more as missed.
        for seed in seeds(12).into_iter().chain([25, 106]) {
            for workers in workers() {
                total.add(&talk::run(seed, workers));
            }
        }
        if std::env::var_os("LAVINA_SEED").is_none() {
            assert!(total.taken > 100 && total.resumed > 10, "{total:?}");
        }
    }

    #[test]
    fn rooms_have_one_order_for_both_protocols() {
        let mut total = rooms::Report::default();
        for seed in seeds(6) {
            for workers in workers() {
                total.add(&rooms::run(seed, workers, false));
            }
        }
        // A word said while the session was being attached was shown twice.
        total.add(&rooms::run(112, 1, false));
        // Two rooms had one name: what followed from a claim that was not stored was carried out.
        total.add(&rooms::run(115, 4, false));
        if std::env::var_os("LAVINA_SEED").is_none() {
            assert!(total.stored > 100 && total.heard > 200, "{total:?}");
        }
    }

    #[test]
    fn rooms_have_one_order_for_three_protocols() {
        let mut total = rooms::Report::default();
        // 43 and 54: much is said and changed there.
        for seed in seeds(6).into_iter().chain([43, 54]) {
            for workers in workers() {
                total.add(&rooms::run(seed, workers, true));
            }
        }
        if std::env::var_os("LAVINA_SEED").is_none() {
            assert!(total.stored > 100 && total.heard > 200 && total.heard_web > 50, "{total:?}");
            assert!(total.changed[0] > 5 && total.changed[1] > 2, "{total:?}");
            assert!(total.returned[0] > 10 && total.returned[1] > 2, "{total:?}");
        }
    }

    #[test]
    fn the_number_of_workers_changes_no_room_of_three_protocols() {
        for seed in seeds(3) {
            let one = rooms::patient(seed, 1, true);
            for workers in [2, 4] {
                assert_eq!(
                    rooms::patient(seed, workers, true).logs,
                    one.logs,
                    "seed {seed}, {workers} workers"
                );
            }
        }
    }

    #[test]
    fn the_number_of_workers_changes_no_room() {
        // 137: the question whether somebody sat in a room overtook the word that he had gone.
        for seed in seeds(4).into_iter().chain([137]) {
            let one = rooms::patient(seed, 1, false);
            assert!(one.stored > 0 || seed > 0, "nothing was said");
            for workers in [2, 4] {
                assert_eq!(
                    rooms::patient(seed, workers, false).logs,
                    one.logs,
                    "seed {seed}, {workers} workers"
                );
            }
        }
    }

    #[test]
    fn the_same_seed_is_the_same_run() {
        for seed in [3, 11] {
            assert_eq!(run::run(seed, 2), run::run(seed, 2));
        }
        assert_ne!(run::run(3, 2).trace, run::run(11, 2).trace);
    }
}
