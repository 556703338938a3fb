//! Events as servers exchange them: what is hashed, what is signed, what a redaction leaves, which events authorise
//! one. Pure functions over canonical JSON, for room versions 10, 11 and 12.

mod auth;
mod hash;
mod redact;
mod version;

pub use auth::auth_types;
pub use hash::{check_hash, content_hash, event_id, finish, signed_bytes};
pub use redact::redact;
pub use version::Version;
