//! Matrix: ids, contents and events as pure functions over JSON values.

pub mod content;
pub mod event;
pub mod filter;
pub mod html;
pub mod ids;
pub mod pdu;
pub mod push;
pub mod uri;
