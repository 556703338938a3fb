//! `load`: many clients against a chat server of this machine. `load --help` tells the rest.

use std::process::ExitCode;

fn main() -> ExitCode {
    lavina_benches::load::main()
}
