//! What happened, for `/sync`.

use super::super::task::Who;
use crate::session::Cx;
use lavina_core::event::{Event, Live};
use lavina_core::ids::RoomId;
use lavina_core::projection::{Notice, Replay, Seen};
use lavina_core::refusal::Refusal;
use std::sync::Arc;

/// What a device has been told, and what it has not been told yet.
pub struct Sync {
    changed: bool,
}

impl Sync {
    /// Of a device that has not synced.
    pub fn new(_who: &Who) -> Sync {
        Sync { changed: false }
    }

    /// True, once, when something happened since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// An event.
    pub fn seen(&mut self, _event: &Arc<Event>, _how: &Seen, _cx: &mut Cx<'_>) {
        self.changed = true;
    }

    /// A signal of the moment.
    pub fn live(&mut self, _live: &Arc<Live>) {
        self.changed = true;
    }

    /// A room is attached, or not.
    pub fn attached(&mut self, _room: RoomId, _replay: Result<Arc<Replay>, Refusal>, _cx: &mut Cx<'_>) {
        self.changed = true;
    }

    /// Something concerning the account.
    pub fn noticed(&mut self, _notice: &Arc<Notice>, _cx: &mut Cx<'_>) {
        self.changed = true;
    }
}
