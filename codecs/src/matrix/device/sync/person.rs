//! What a device knows of how present somebody is.

use lavina_core::name::{User, UserName};
use lavina_core::presence::{Presence, Show};
use lavina_core::text::Str;

/// How present somebody is. Small: each device has one for everybody whom it may see.
pub struct Person {
    name: UserName,
    pub(super) show: Show,
    /// None where it would be empty, as it is mostly.
    status: Option<Box<Str>>,
}

impl Person {
    pub(super) fn new(who: &User, presence: &Presence) -> Person {
        let status = Some(&presence.status).filter(|s| !s.is_empty());
        Person { name: who.name.clone(), show: presence.show, status: status.cloned().map(Box::new) }
    }

    /// The name.
    pub fn name(&self) -> &UserName {
        &self.name
    }

    /// How present.
    pub fn presence(&self) -> Presence {
        Presence { show: self.show, status: self.status(), ..Presence::default() }
    }

    pub(super) fn status(&self) -> Str {
        self.status.as_deref().cloned().unwrap_or_default()
    }
}
