//! Wire formats and projections of Lavina.

#[cfg(feature = "irc")]
pub mod irc;
pub mod proxy;
pub mod sasl;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "xmpp")]
pub mod xmpp;
