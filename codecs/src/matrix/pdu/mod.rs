//! Events as servers exchange them: what is hashed, what is signed, what a redaction leaves, which events authorise
//! one, whether it may be, and which state follows from several. Pure functions over canonical JSON, for room versions
//! 9 to 12.

mod auth;
mod authorise;
mod format;
mod hash;
mod levels;
mod redact;
mod resolve;
mod version;

pub use auth::auth_types;
pub use authorise::{Refused, State, authorise, check_auth_events, check_power_levels};
pub use format::{AUTH_EVENTS_MAX, BadFormat, EVENT_MAX, PREV_EVENTS_MAX, check_format};
pub use hash::{check_hash, content_hash, event_id, finish, signed_bytes};
pub use levels::{INFINITE, Levels};
pub use redact::redact;
pub use resolve::{Graph, StateMap, Unresolved, resolve};
pub use version::Version;
