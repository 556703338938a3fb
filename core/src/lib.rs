//! The pure core of Lavina.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod chat;
pub mod command;
pub mod cx;
pub mod drive;
pub mod edge;
pub mod event;
pub mod ids;
pub mod limits;
pub mod log;
pub mod mail;
pub mod name;
pub mod outbox;
pub mod policy;
mod post;
pub mod presence;
pub mod projection;
pub mod query;
pub mod refusal;
pub mod rng;
pub mod row;
pub mod settings;
mod shard;
mod slab;
pub mod text;
pub mod time;
mod worker;

pub use cx::Cx;
pub use worker::Worker;
