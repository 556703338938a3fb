//! The HTML of messages (client-server API, "m.room.message msgtypes"): cleaned, read as neutral text, and written.
//!
//! What comes in is hostile. [`clean`] lets through the tags and attributes that the specification lists and writes
//! them anew, so nothing of the sender's spelling survives; [`read`] makes text and spans of the same tree.

mod entity;
mod read;
mod tag;
mod token;
mod tree;
mod write;

pub use read::{Nameless, Names, SPANS_MAX, read};
pub use tag::is_mxc;
pub use tree::clean;
pub use write::{escape, write};
