//! The control socket: how `lavina user add …` and the like reach the server.
//!
//! A line protocol between two builds of the same program, over a Unix socket in the data directory that only its owner
//! can open; that is the whole of its access control, so whoever speaks it acts as the operator. The same session runs
//! in memory, without a socket, on the store of a stopped server.
//!
//! A line is the version, a space, base64 of a CBOR value with numbered fields, and LF. To each request come some
//! answers, the last of them [`Answer::Done`], [`Answer::More`] or [`Answer::Failed`]; the next request waits until
//! then. Passwords are never logged or shown.

mod client;
mod session;
mod wire;

pub use client::{Client, Progress};
pub use session::Control;
pub use wire::{Account, Answer, MAX_REQUEST, Member, Request, Room, Secret, Status, WireError};
