//! Push rules (client-server API, "Push Notifications"): which events a person is told of, and how.
//!
//! Rules are compiled when they are read, so that evaluating an event for each member of a room costs look-ups only.

mod condition;
mod glob;
mod predefined;
mod rule;
mod ruleset;

pub use condition::{Powers, Reader, Subject};
pub use rule::{Actions, BadRule, Kind, PATTERN_MAX, RULE_MAX, Rule};
pub use ruleset::{Place, Predefined, RULES_MAX, Ruleset};
