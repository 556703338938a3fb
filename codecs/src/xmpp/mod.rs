//! XMPP: from bytes ([`framer`], [`xml`], [`writer`]) and addresses ([`jid`]) up to the projection of the chat core.

pub mod caps;
pub mod datetime;
pub mod error;
pub mod forms;
pub mod framer;
pub mod jid;
pub mod ns;
pub mod rsm;
pub mod sm;
pub mod styling;
pub mod writer;
pub mod xml;
