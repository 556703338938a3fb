//! What the count in `<resumed/>` may cover (XEP-0198 §5).
//!
//! A message that is refused is not stored; the client knows of it by the error, which is sent again with the session if
//! it was not acknowledged. But `<resumed/>` goes before what is sent again: a count that covers the message says that
//! it was taken, and if the server ends before the error comes, that is the last word. So the count ends before the
//! first message whose refusal the client has not acknowledged. The client sends again from there, and what is known
//! by its fingerprint is passed over, for it was answered before and its answers are on their way.

use crate::session::Cx;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use crate::xmpp::sm::Count;
use crate::xmpp::xml::{Element, Node};
use lavina_core::outbox::{Outbox, Slot};
use std::collections::VecDeque;

/// Stanzas remembered since the first in doubt; above: the session cannot be resumed any more.
const REMEMBERED: usize = 200;

/// Stanzas of the client since the first message whose answer is open, or whose refusal is not acknowledged.
#[derive(Debug, Default)]
pub struct Doubts {
    /// Those that the count of handled stanzas covers.
    counted: VecDeque<Doubt>,
    /// Those that come again, the next first.
    again: VecDeque<Doubt>,
}

#[derive(Debug, PartialEq, Eq)]
struct Doubt {
    fingerprint: u64,
    /// Where it is answered, if it is a message.
    slot: Option<Slot>,
    refused: bool,
}

impl Doubts {
    fn is_empty(&self) -> bool {
        self.counted.is_empty() && self.again.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &Doubt> {
        self.counted.iter().chain(&self.again)
    }

    /// Lets go what is no longer in doubt.
    fn settle(&mut self, out: &Outbox) {
        // Refusals are acknowledged in the order in which they were written.
        let written = |d: &&Doubt| d.refused && d.slot.is_some_and(|slot| !out.is_open(slot));
        let mut known = self.all().filter(written).count().saturating_sub(out.marked());
        while let Some(first) = self.counted.front() {
            let open = first.slot.is_some_and(|slot| out.is_open(slot));
            if open || first.refused && known == 0 {
                break;
            }
            known -= usize::from(first.refused);
            self.counted.pop_front();
        }
    }
}

impl Xmpp {
    /// Counts a stanza of the client. True: it was taken before and comes again; it is to be passed over.
    pub(super) fn count_stanza(&mut self, stanza: &Element, cx: &mut Cx<'_>) -> bool {
        let Some(bound) = &mut self.bound else { return false };
        let Some(sm) = &mut bound.sm else { return false };
        sm.handled = sm.handled.next();
        let message = stanza.name == "message";
        if let Some(doubts) = &mut bound.doubts {
            doubts.settle(cx.outbox());
        }
        let none = bound.doubts.as_ref().is_none_or(|doubts| doubts.is_empty());
        if sm.key.is_none() || none && !message {
            return false;
        }
        let doubts = bound.doubts.get_or_insert_default();
        let fingerprint = fingerprint(stanza);
        match doubts.again.pop_front() {
            Some(known) if known.fingerprint == fingerprint => {
                doubts.counted.push_back(known);
                return true;
            }
            // The client sends nothing again: what it was told is all that it will know.
            Some(_) => {
                **doubts = Doubts::default();
                cx.outbox().unmark();
            }
            None => {}
        }
        if doubts.counted.len() >= REMEMBERED {
            (sm.key, bound.doubts) = (None, None);
            cx.outbox().unmark();
            cx.not_resumable();
            return false;
        }
        let slot = message.then(|| cx.outbox().next_slot());
        doubts.counted.push_back(Doubt { fingerprint, slot, refused: false });
        false
    }

    /// The message that is answered here is refused, and the error was just written: the client is asked whether it has
    /// come.
    pub(super) fn refused(&mut self, slot: Slot, cx: &mut Cx<'_>) {
        let Some(bound) = &mut self.bound else { return };
        let Some(doubts) = &mut bound.doubts else { return };
        let Some(doubt) = doubts.counted.iter_mut().find(|d| d.slot == Some(slot)) else { return };
        doubt.refused = true;
        cx.outbox().mark(slot);
        if let Some(sm) = &mut bound.sm {
            sm.unasked = 0;
            cx.answer(slot, b"<r xmlns='urn:xmpp:sm:3'/>", false);
        }
    }

    /// The client has acknowledged something.
    pub(super) fn settle_doubts(&mut self, cx: &mut Cx<'_>) {
        let Some(bound) = &mut self.bound else { return };
        let Some(doubts) = &mut bound.doubts else { return };
        doubts.settle(cx.outbox());
        if doubts.is_empty() {
            bound.doubts = None;
        }
    }

    /// The session goes on over another connection: its count goes back to before what is in doubt.
    pub(super) fn count_back(&mut self, cx: &mut Cx<'_>) {
        self.settle_doubts(cx);
        let Some(bound) = &mut self.bound else { return };
        let (Some(sm), Some(doubts)) = (&mut bound.sm, &mut bound.doubts) else { return };
        sm.handled = Count(sm.handled.0.wrapping_sub(doubts.counted.len() as u32));
        doubts.counted.append(&mut doubts.again);
        std::mem::swap(&mut doubts.counted, &mut doubts.again);
    }
}

/// What tells a stanza from others (FNV-1a). The time at which it was first sent, which some clients put in when they
/// send it again (XEP-0203), does not count.
fn fingerprint(element: &Element) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    mix_element(element, &mut hash);
    hash
}

/// As deep as the limits of XML let it be.
fn mix_element(element: &Element, hash: &mut u64) {
    mix(&element.ns, hash);
    mix(&element.name, hash);
    for attr in &element.attrs {
        [&attr.ns, &attr.name, &attr.value].into_iter().for_each(|part| mix(part, hash));
    }
    for child in &element.children {
        match child {
            Node::Text(text) => mix(text, hash),
            Node::Element(child) if child.ns == ns::DELAY => {}
            Node::Element(child) => mix_element(child, hash),
        }
    }
    mix("", hash);
}

fn mix(part: &str, hash: &mut u64) {
    // No text holds this byte, so where one ends is part of the print.
    for byte in part.bytes().chain([0xff]) {
        *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}
