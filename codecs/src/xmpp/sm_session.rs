//! Stream management (XEP-0198): acknowledgements, and resumption through the core's ring of counted units.

use crate::session::Cx;
use crate::xmpp::error::StreamCondition;
use crate::xmpp::ns;
use crate::xmpp::session::{TIMER_ACTIVE, TIMER_IDLE, Xmpp};
use crate::xmpp::sm::Count;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use data_encoding::BASE64URL_NOPAD;
use lavina_core::ids::{SessionRef, WorkerId};
use lavina_core::projection::{Around, Reason};

/// Stanzas written before the client is asked for an acknowledgement.
const ASK_AFTER: u32 = 8;

/// A session's stream management.
#[derive(Debug, Clone, Copy)]
pub struct Sm {
    /// Stanzas taken from the client.
    pub handled: Count,
    /// What a client must know to resume the session; none: it may not be resumed.
    pub(super) key: Option<u128>,
    /// Stanzas written since the client was last asked.
    pub(super) unasked: u32,
    /// How long the session waits to be resumed, in milliseconds.
    wait: u64,
}

impl Xmpp {
    /// An element of the stream management namespace.
    pub(super) fn sm(&mut self, element: &Element, cx: &mut Cx<'_>) -> Result<(), Reason> {
        match element.name.as_str() {
            "enable" => self.sm_enable(element, cx),
            "resume" => self.sm_resume(element, cx),
            "r" => self.sm_request(cx),
            "a" => return self.sm_ack(element, cx),
            _ => return Err(self.fail(StreamCondition::UnsupportedStanzaType, "", cx)),
        }
        Ok(())
    }

    /// Every request under way is answered (`barrier`), so counting begins exactly here.
    fn sm_enable(&mut self, element: &Element, cx: &mut Cx<'_>) {
        if self.bound.as_ref().is_none_or(|b| b.sm.is_some()) {
            return sm_failed("unexpected-request", None, cx);
        }
        let enabled = self.sm_begin(element, cx);
        cx.write(&enabled, false);
        cx.outbox().retain();
        cx.mode_changed();
    }

    /// Enables it, from the next unit written on; the answer.
    pub(super) fn sm_begin(&mut self, element: &Element, cx: &mut Cx<'_>) -> Vec<u8> {
        let key = matches!(element.attr("resume"), Some("true" | "1")).then(|| random_key(cx));
        // The client may wish for less than it could have (§3).
        let longest = cx.core_settings().limits.resume_time;
        let wish = element.attr("max").and_then(|max| max.parse::<u64>().ok()).filter(|max| *max > 0);
        let wait = wish.map_or(longest, |max| longest.min(max.saturating_mul(1000)));
        if let Some(bound) = &mut self.bound {
            bound.sm = Some(Sm { handled: Count::default(), key, unasked: 0, wait });
        }
        let mut out = Vec::new();
        let mut w = Writer::in_stream(&mut out);
        w.start_ns("enabled", ns::SM);
        if let Some(key) = key {
            cx.resumable(key);
            w.attr("id", &name_of(cx.session(), key)).attr("resume", "true");
            w.attr_num("max", wait / 1000);
        }
        w.end();
        drop(w);
        out
    }

    fn sm_resume(&mut self, element: &Element, cx: &mut Cx<'_>) {
        if self.bound.is_some() || cx.user().is_none() {
            return sm_failed("unexpected-request", None, cx);
        }
        let old = element.attr("previd").and_then(session_of);
        let handled = element.attr("h").and_then(Count::parse);
        match (old, handled) {
            (Some((old, key)), Some(handled)) => cx.resume(old, key, handled.0, Around::default()),
            _ => sm_failed("item-not-found", None, cx),
        }
    }

    /// A new connection goes on with this session.
    pub(super) fn resumed(&mut self, around: Around, cx: &mut Cx<'_>) {
        self.stream.taken_over();
        cx.hold(self.is_held());
        self.count_back(cx);
        let Some(sm) = self.bound.as_ref().and_then(|b| b.sm) else { return };
        let [mut out, after] = around;
        let mut w = Writer::in_stream(&mut out);
        w.start_ns("resumed", ns::SM).attr_num("h", u64::from(sm.handled.0));
        w.attr("previd", &name_of(cx.session(), sm.key.unwrap_or_default())).end();
        drop(w);
        out.extend_from_slice(&after);
        cx.write(&out, false);
        // A stream begins active; what waited is written behind what is sent again.
        cx.timer(TIMER_ACTIVE, Some(cx.now().mono));
        self.watch(cx);
    }

    /// The old session cannot be resumed; this one goes on and binds anew.
    pub(super) fn not_resumed(&mut self, handled: Option<u32>, cx: &mut Cx<'_>) {
        if self.login.as_ref().is_some_and(|login| login.wishes.is_some()) {
            return self.not_resumed_inline(handled, cx);
        }
        cx.hold(false);
        sm_failed("item-not-found", handled, cx);
    }

    /// The connection is gone: the session waits if it may, or ends.
    pub(super) fn lost(&mut self, cx: &mut Cx<'_>) {
        self.set_active(true, cx);
        let sm = self.bound.as_ref().and_then(|b| b.sm).filter(|sm| sm.key.is_some());
        match sm.filter(|_| !self.stream.is_closed()) {
            Some(sm) => {
                cx.timer(TIMER_IDLE, None);
                cx.park(sm.wait);
            }
            None => self.leave(cx),
        }
    }

    /// The answer covers what was read before it and is done: it takes its turn among the answers.
    fn sm_request(&mut self, cx: &mut Cx<'_>) {
        let Some(handled) = self.bound.as_ref().and_then(|b| b.sm).map(|sm| sm.handled) else { return };
        let slot = cx.slot();
        let mut out = Vec::new();
        Writer::in_stream(&mut out).start_ns("a", ns::SM).attr_num("h", u64::from(handled.0)).end();
        cx.answer(slot, &out, false);
        cx.done(slot);
    }

    fn sm_ack(&mut self, element: &Element, cx: &mut Cx<'_>) -> Result<(), Reason> {
        if self.bound.as_ref().is_none_or(|b| b.sm.is_none()) {
            return Ok(());
        }
        let Some(h) = element.attr("h").and_then(Count::parse) else {
            return Err(self.fail(StreamCondition::BadFormat, "`h` is no count", cx));
        };
        if cx.outbox().acked(h.0) {
            self.settle_doubts(cx);
            return Ok(());
        }
        let sent = cx.outbox().counted();
        let mut out = Vec::new();
        write_too_high(&mut out, h.0, sent);
        cx.write(&out, false);
        self.leave(cx);
        Err(Reason::Protocol("acknowledged more than was sent"))
    }

    /// Asks for an acknowledgement after some stanzas.
    pub(super) fn ask_for_ack(&mut self, cx: &mut Cx<'_>) {
        let Some(sm) = self.bound.as_mut().and_then(|b| b.sm.as_mut()) else { return };
        sm.unasked += 1;
        if sm.unasked >= ASK_AFTER {
            sm.unasked = 0;
            cx.write(b"<r xmlns='urn:xmpp:sm:3'/>", false);
        }
    }
}

/// The stream error of XEP-0198 §4.
fn write_too_high(out: &mut Vec<u8>, h: u32, sent: u32) {
    let mut w = Writer::in_stream(out);
    w.start("stream:error");
    w.start_ns(StreamCondition::UndefinedCondition.name(), ns::STREAM_ERRORS).end();
    w.start_ns("handled-count-too-high", ns::SM);
    w.attr_num("h", u64::from(h)).attr_num("send-count", u64::from(sent)).end();
    w.end();
    drop(w);
    out.extend_from_slice(b"</stream:stream>");
}

fn sm_failed(condition: &str, handled: Option<u32>, cx: &mut Cx<'_>) {
    let mut out = Vec::new();
    write_failed(&mut out, condition, handled);
    cx.write(&out, false);
}

/// The refusal of a request to enable or to resume.
pub(super) fn write_failed(out: &mut Vec<u8>, condition: &str, handled: Option<u32>) {
    let mut w = Writer::in_stream(out);
    w.start_ns("failed", ns::SM);
    if let Some(handled) = handled {
        w.attr_num("h", u64::from(handled));
    }
    w.start_ns(condition, ns::STANZA_ERRORS).end().end();
}

fn random_key(cx: &mut Cx<'_>) -> u128 {
    u128::from(cx.random()) << 64 | u128::from(cx.random())
}

/// A session's name for a resumption: where it is, and a key that nobody can guess.
fn name_of(session: SessionRef, key: u128) -> String {
    let mut bytes = vec![session.worker.0];
    bytes.extend_from_slice(&session.slot.to_be_bytes());
    bytes.extend_from_slice(&session.generation.to_be_bytes());
    bytes.extend_from_slice(&key.to_be_bytes());
    BASE64URL_NOPAD.encode(&bytes)
}

/// The session and the key behind a name.
pub(super) fn session_of(name: &str) -> Option<(SessionRef, u128)> {
    let bytes = BASE64URL_NOPAD.decode(name.as_bytes()).ok()?;
    let (worker, rest) = bytes.split_first()?;
    let (slot, rest) = rest.split_first_chunk()?;
    let (generation, key) = rest.split_first_chunk()?;
    let session = SessionRef {
        worker: WorkerId(*worker),
        slot: u32::from_be_bytes(*slot),
        generation: u32::from_be_bytes(*generation),
    };
    Some((session, u128::from_be_bytes(key.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_names_read_back() {
        let session = SessionRef { worker: WorkerId(3), slot: 70_000, generation: 9 };
        let name = name_of(session, u128::MAX - 7);
        assert_eq!(session_of(&name), Some((session, u128::MAX - 7)));
        for bad in ["", "1-2-3", "AAAA", &name[1..], &format!("{name}AAAA")] {
            assert_eq!(session_of(bad), None);
        }
    }
}
