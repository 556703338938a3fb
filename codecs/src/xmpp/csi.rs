//! Client state indication (XEP-0352): while nobody looks at a client, what can wait does wait.
//!
//! Presence waits, the latest of each address; chat states are dropped. Everything else goes out at once, and what waited
//! before it, so that a speaker's presence still comes before his message. A stream begins active, a resumed one too.

use crate::session::Cx;
use crate::xmpp::error::StreamCondition;
use crate::xmpp::muc::Show;
use crate::xmpp::session::Xmpp;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use lavina_core::event::{Event, Live, LiveWhat};
use lavina_core::presence::Presence;
use lavina_core::projection::{Pieces, Reason};

/// Stanzas that wait for one session; one more, and all go out.
const MAX_DEFERRED: usize = 500;

/// What waits for a client that nobody looks at.
#[derive(Default)]
pub struct Deferred {
    /// Whose presence, and the stanzas; in the order in which they came.
    stanzas: Vec<(String, Pieces)>,
}

impl Xmpp {
    /// An element of the namespace: nobody looks at the client, or somebody does again. Not answered.
    pub(super) fn client_state(&mut self, element: &Element, cx: &mut Cx<'_>) -> Result<(), Reason> {
        let active = match element.name.as_str() {
            "active" => true,
            "inactive" => false,
            _ => return Err(self.fail(StreamCondition::UnsupportedStanzaType, "", cx)),
        };
        self.set_active(active, cx);
        Ok(())
    }

    /// Sets the state.
    pub(super) fn set_active(&mut self, active: bool, cx: &mut Cx<'_>) {
        if active {
            self.flush_deferred(cx);
        }
        if let Some(bound) = self.bound.as_mut().filter(|b| b.deferred.is_none() != active) {
            bound.deferred = (!active).then(Deferred::default);
            cx.mode_changed();
        }
    }

    /// True: nobody looks at the client.
    pub(super) fn is_inactive(&self) -> bool {
        self.bound.as_ref().is_some_and(|b| b.deferred.is_some())
    }

    /// Writes what waits: the state stays as it is.
    pub(super) fn flush_deferred(&mut self, cx: &mut Cx<'_>) {
        let Some(deferred) = self.bound.as_mut().and_then(|b| b.deferred.as_mut()) else { return };
        for (_, pieces) in std::mem::take(&mut deferred.stanzas) {
            cx.outbox().write_pieces(&pieces, |hole| self.hole(hole));
            self.ask_for_ack(cx);
        }
    }

    /// Somebody's presence, which can wait.
    pub(super) fn defer(&mut self, from: &str, pieces: Pieces, cx: &mut Cx<'_>) {
        let Some(deferred) = self.bound.as_mut().and_then(|b| b.deferred.as_mut()) else { return };
        deferred.stanzas.retain(|(earlier, _)| earlier != from);
        deferred.stanzas.push((from.to_owned(), pieces));
        if deferred.stanzas.len() > MAX_DEFERRED {
            self.flush_deferred(cx);
        }
    }

    /// The same for a stanza that is written as one.
    pub(super) fn defer_stanza(&mut self, from: &str, cx: &mut Cx<'_>, build: impl FnOnce(&mut Writer<'_>)) {
        let mut pieces = Pieces::default();
        build(&mut Writer::in_stream(pieces.bytes()));
        pieces.end(true);
        self.defer(from, pieces, cx);
    }

    /// An entry of a room, for a session at which nobody looks.
    pub(super) fn seen_inactive(&mut self, event: &Event, here: Option<&Presence>, cx: &mut Cx<'_>) {
        if let Some(name) = self.room_name(event.room) {
            self.tell(&name, cx, |show, out| show.event(event, here, false, out));
        }
    }

    /// A live signal of a room, likewise.
    pub(super) fn live_inactive(&mut self, live: &Live, cx: &mut Cx<'_>) {
        let Some(name) = self.room_name(live.room) else { return };
        let show = Show::new(&name, cx.settings());
        let mut pieces = Pieces::default();
        match &live.what {
            LiveWhat::Here { .. } | LiveWhat::Gone { .. } => {
                show.live(live, false, &mut pieces);
                self.defer(&show.address(&live.by), pieces, cx);
            }
            LiveWhat::Typing(_) | LiveWhat::Read { .. } => {}
            LiveWhat::Signal(_) | LiveWhat::Display(_) | LiveWhat::Attrs(_) => {
                self.tell(&name, cx, |show, out| show.live(live, false, out));
            }
        }
    }
}
