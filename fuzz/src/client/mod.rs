//! Small models of clients, independent of the codecs.

pub mod line;
pub mod xml;
pub mod xmpp;
