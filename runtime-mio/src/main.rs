//! `lavina-mio`: the server for small machines.

use lavina_runtime_mio::Mio;
use std::process::ExitCode;

fn main() -> ExitCode {
    // One worker unless the configuration says otherwise: small machines have one core.
    ExitCode::from(lavina_host::launch::main::<Mio>("lavina-mio", 1))
}
