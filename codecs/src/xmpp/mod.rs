//! XMPP: from bytes ([`framer`], [`xml`], [`writer`]) and addresses ([`jid`]) up to the projection of the chat core
//! ([`session`]).
//!
//! The wire layer knows no session; it is complete by itself. The session's parts are one file a concern, all of them
//! `impl Xmpp`: [`stream`] reads units and routes them, [`iq`] has the table of requests that are answered.

mod address;
mod avatar;
mod bind;
mod blocking;
mod bookmarks;
pub mod caps;
mod carbons;
mod commands;
pub mod content;
mod csi;
pub mod datetime;
mod disco;
pub mod error;
mod fast;
pub mod forms;
pub mod framer;
mod invite;
mod iq;
pub mod jid;
mod login;
mod mam;
mod markers;
mod message;
mod muc;
pub mod ns;
mod offline;
mod pep;
mod precis;
mod presence;
mod private;
mod query;
mod refusal;
mod register;
mod roster;
pub mod rsm;
mod sasl2;
pub mod session;
mod signal;
pub mod sm;
mod sm_doubt;
mod sm_session;
mod stream;
pub mod styling;
#[cfg(feature = "http")]
mod upload;
mod vcard;
#[cfg(feature = "http")]
pub mod websocket;
pub mod writer;
pub mod xml;
