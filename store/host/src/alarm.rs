//! Deadlines of the few connections that have one of their own. They are not taken back: whoever is
//! called looks whether it is still meant.

use lavina_core::{ids::ConnId, time::Mono};
use std::{cmp::Reverse, collections::BinaryHeap};

/// Deadlines in order.
#[derive(Debug, Default)]
pub struct Alarms(BinaryHeap<Reverse<(Mono, ConnId)>>);

impl Alarms {
    /// Calls for a connection at this time.
    pub fn set(&mut self, at: Mono, id: ConnId) {
        self.0.push(Reverse((at, id)));
    }

    /// The next time.
    pub fn next(&self) -> Option<Mono> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one whose time has come.
    pub fn due(&mut self, now: Mono) -> Option<ConnId> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, id))| id)
    }
}
