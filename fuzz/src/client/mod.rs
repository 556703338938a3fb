//! Small models of clients, independent of the codecs.

pub mod http;
pub mod line;
pub mod member;
pub mod tree;
pub mod web;
pub mod xml;
pub mod xmpp;
