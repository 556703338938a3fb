//! Matrix: ids, contents and events as pure functions over JSON values.

pub mod html;
pub mod ids;
pub mod uri;
