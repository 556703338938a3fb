//! Wire formats and projections of Lavina.

pub mod account;
pub mod cli;
pub mod config;
pub mod control;
pub mod files;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "irc")]
pub mod irc;
pub mod job;
#[cfg(feature = "matrix")]
pub mod json;
#[cfg(feature = "http")]
mod late;
pub mod layer;
#[cfg(feature = "matrix")]
pub mod matrix;
#[cfg(any(feature = "irc", feature = "xmpp"))]
mod missed;
pub mod proxy;
pub mod sasl;
pub mod session;
pub mod settings;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "xmpp")]
pub mod xmpp;
