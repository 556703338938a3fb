//! Lines for the log: a level, fixed words, and ids. Never text of people, never secrets.

use crate::text::Str;
use alloc::vec::Vec;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A bug, or something an operator must act on.
    Error,
    /// Something an operator should know.
    Warn,
    /// What happened, at the pace of logins.
    Info,
    /// At the pace of requests.
    Debug,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How much it matters.
    pub level: Level,
    /// What happened, in fixed words.
    pub what: &'static str,
    /// To what: field names and ids.
    pub fields: Vec<(&'static str, Str)>,
}

impl Log {
    /// A line without fields.
    pub fn new(level: Level, what: &'static str) -> Log {
        Log { level, what, fields: Vec::new() }
    }

    /// With one more field.
    pub fn with(mut self, name: &'static str, value: impl core::fmt::Display) -> Log {
        self.fields.push((name, Str::new(alloc::format!("{value}"))));
        self
    }
}
