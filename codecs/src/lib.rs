//! Wire formats and projections of Lavina.

#[cfg(feature = "irc")]
pub mod irc;
pub mod sasl;
