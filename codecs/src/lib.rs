//! Wire formats and projections of Lavina.

pub mod config;
#[cfg(feature = "irc")]
pub mod irc;
pub mod proxy;
pub mod sasl;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "xmpp")]
pub mod xmpp;
