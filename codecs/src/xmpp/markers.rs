//! Displayed markers (XEP-0333): how far somebody has read, for others to know.
//!
//! Between XMPP clients a marker is a message like others, kept and copied as it came. Besides it moves what the core
//! keeps for the other protocols; and what was read there is shown here as a marker of the server's making.

use crate::session::Cx;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::event::{Event, What};
use lavina_core::ids::{MsgId, RoomId};
use lavina_core::name::User;
use lavina_core::policy::ReadTo;
use lavina_core::query::{Bound, Query, Range, Value};
use lavina_core::text::Str;
use lavina_core::time::UnixMillis;
use memchr::memmem;

/// Entries of a dialog among which the last message of one's own is looked for, back from where the other has read.
const LOOK_BACK: u32 = 20;

/// The wish to be told, as it stands in a fragment.
const MARKABLE: &[u8] = b"<markable xmlns='urn:xmpp:chat-markers:0'";

/// Whether what somebody has read is to be shown as a marker: of the room as a whole, and not by a client that has sent a
/// marker itself (whose protocol names no entry otherwise).
pub(super) fn shows_marker(seen: &ReadTo) -> bool {
    !seen.name.is_empty() && matches!(&*seen.thread, "" | "main")
}

/// The message that a marker says was displayed.
fn displayed(stanza: &Element) -> Option<&str> {
    stanza.child("displayed", ns::MARKERS)?.attr("id").filter(|id| !id.is_empty())
}

impl Xmpp {
    /// A message to a room may say that its sender has read up to one of the room's messages.
    pub(super) fn displayed_in_room(&mut self, stanza: &Element, room: RoomId, cx: &mut Cx<'_>) {
        let id = displayed(stanza).and_then(MsgId::parse).filter(|id| id.room == room);
        if let Some(id) = id {
            self.has_read(id, cx);
        }
    }

    /// A message to somebody may say that its sender has read up to one of the other's messages, by the id that it was
    /// sent with.
    pub(super) fn displayed_in_dialog(&mut self, stanza: &Element, room: RoomId, cx: &mut Cx<'_>) {
        let Some(id) = displayed(stanza) else { return };
        if let Some(id) = MsgId::parse(id).filter(|id| id.room == room) {
            return self.has_read(id, cx);
        }
        let (name, at) = (Str::new(id), cx.now().wall);
        self.note(room, Act::SeeNamed { name, at }, cx);
    }

    fn has_read(&mut self, id: MsgId, cx: &mut Cx<'_>) {
        let seen = ReadTo { pos: id.pos, at: cx.now().wall, ..ReadTo::default() };
        self.note(id.room, Act::See(seen), cx);
        let act = Act::MarkRead { room: id.room, pos: id.pos, at: UnixMillis::default() };
        self.own(act, cx, |_, _, _| {});
    }

    /// Wants of a room what nobody waits for.
    fn note(&mut self, room: RoomId, act: Act, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().cloned() else { return };
        self.command(Command::by(&me, EntityId::Room(room), act), false, cx, |_, _, _| {});
    }

    /// In a dialog somebody has read up to there, on another protocol.
    pub(super) fn read_by(&mut self, room: RoomId, from: &User, seen: &ReadTo, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().map(|me| me.id).filter(|me| *me != from.id && shows_marker(seen)) else {
            return;
        };
        let range = Range { before: Bound::Pos(seen.pos.next()), ..Range::latest(LOOK_BACK) };
        let from = from.clone();
        self.ask(Query::History { room, reader: me, range }, cx, move |session, reply, cx| {
            let Ok(Value::Events(page)) = reply else { return };
            let own = page.entries.iter().rev().find(|e| e.by.is(me) && matches!(e.what, What::Said(_)));
            if let Some(event) = own.filter(|e| is_markable(e)) {
                let target = event.client_id().map_or_else(|| event.id().text(), Str::to_string);
                let marker = |w: &mut Writer<'_>| {
                    w.start_ns("displayed", ns::MARKERS).attr("id", &target).end();
                };
                session.take_made(&from, marker, cx);
            }
        });
    }
}

/// Whether its sender wants to know when it is displayed (XEP-0333 §3).
fn is_markable(event: &Event) -> bool {
    let What::Said(message) = &event.what else { return false };
    message.native.as_ref().is_some_and(|native| memmem::find(&native.bytes, MARKABLE).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marker_that_names_a_message_says_something() {
        let with = |el| Element::new("message", ns::CLIENT).with_child(el);
        let marker = |id| with(Element::new("displayed", ns::MARKERS).with_attr("id", id));
        assert_eq!(displayed(&marker("x")), Some("x"));
        assert_eq!(displayed(&marker("")), None);
        assert_eq!(displayed(&with(Element::new("displayed", "urn:x").with_attr("id", "x"))), None);
    }

    #[test]
    fn a_marker_of_this_protocol_is_not_shown_again() {
        let read = |name: &str, thread: &str| {
            let (name, thread) = (Str::new(name), Str::new(thread));
            shows_marker(&ReadTo { name, thread, ..ReadTo::default() })
        };
        assert!(read("$e", "") && read("$e", "main"));
        assert!(!read("", "") && !read("$e", "$root"));
    }
}
