//! The edge of a worker: connections, sessions, and the fan-out to them.

pub mod moving;
pub mod session;
