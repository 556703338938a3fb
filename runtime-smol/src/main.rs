//! `lavina`: the server.

use lavina_runtime_smol::Smol;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cpus = std::thread::available_parallelism().map_or(1, |n| u8::try_from(n.get()).unwrap_or(u8::MAX));
    ExitCode::from(lavina_host::launch::main::<Smol>("lavina", cpus))
}
