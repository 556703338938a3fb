//! The scenarios of `fuzz/scenarios`, over sockets, against the program itself.
#![allow(missing_docs)]

use lavina_fuzz::scenario::{mixed, program::play_all};
use std::path::Path;

#[test]
fn all_scenarios_come_true_over_sockets() {
    let wrong = play_all(Path::new(env!("CARGO_BIN_EXE_lavina-mio")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn one_history_for_three_protocols_over_sockets() {
    let wrong = mixed::play_all(Path::new(env!("CARGO_BIN_EXE_lavina-mio")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
