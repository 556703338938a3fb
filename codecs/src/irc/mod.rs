//! IRC: RFC 1459 and 2812 as modern.ircdocs.horse describes them today, with the extensions of IRCv3.
//!
//! From the wire inwards: [`framer`] cuts bytes into lines, [`message`] reads a line, [`command`] says what may be
//! done when; [`write`](mod@write) puts lines into a buffer. Tables: [`command`], [`numeric`], [`cap`], [`mode`]. Everything is pure.

pub mod authenticate;
pub mod cap;
pub mod casemap;
pub mod chathistory;
pub mod command;
pub mod ctcp;
pub mod elist;
pub mod format;
pub mod framer;
pub mod identity;
pub mod isupport;
pub mod limits;
pub mod mask;
pub mod message;
pub mod mode;
pub mod native;
pub mod numeric;
pub mod render;
pub mod rules;
pub mod session;
pub mod settings;
pub mod stamp;
#[cfg(feature = "http")]
pub mod websocket;
pub mod whox;
pub mod write;
