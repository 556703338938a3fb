//! The load generator: many IRC, XMPP or Matrix clients in one process, against any server of this machine.
//!
//! Every message carries its sender, its number and its time, so each delivery is checked: it comes to each
//! member once, in the order of its sender. What is measured is told at the end: deliveries, latency, the
//! server's CPU time per delivery and its memory per connection (from `/proc`, for the process given with
//! `--pid`), and the generator's own CPU time, for on a small machine both share the cores.

mod client;
mod histogram;
mod matrix;
mod options;
mod probe;
mod protocol;
mod report;
mod run;

use options::Options;
use std::{
    io::Write as _,
    process::{ExitCode, Termination as _},
};

/// Does what the command line asks for. Not zero: something was lost, doubled or in the wrong order, or it
/// could not be done.
pub fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => match begin(&options) {
            Ok(outcome) => {
                say(&report::text(&options, &outcome));
                if outcome.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(why) => fail(&why),
        },
        Ok(None) => {
            say(options::HELP);
            ExitCode::SUCCESS
        }
        Err(why) => fail(&format!("{why}\n`load --help` tells more")),
    }
}

fn begin(options: &Options) -> Result<run::Outcome, String> {
    match options.matrix.as_slice() {
        [] => run::run(options),
        accounts => matrix::run(options, accounts),
    }
}

fn say(text: &str) {
    // Whoever closed the output does not want it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn fail(why: &str) -> ExitCode {
    Err::<(), _>(Plain(why)).report()
}

/// Prints as it is.
struct Plain<'a>(&'a str);

impl std::fmt::Debug for Plain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}
