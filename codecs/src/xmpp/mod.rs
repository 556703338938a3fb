//! XMPP: from bytes ([`framer`], [`xml`], [`writer`]) and addresses ([`jid`]) up to the projection of the chat core.

pub mod error;
pub mod framer;
pub mod ns;
pub mod writer;
pub mod xml;
