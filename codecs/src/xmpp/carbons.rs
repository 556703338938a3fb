//! Message carbons (XEP-0280): copies of what the account's other sessions send and receive.

use crate::session::Cx;
use crate::xmpp::content::{fragment_kind, may_copy, write_stanza};
use crate::xmpp::error::StanzaCondition;
use crate::xmpp::iq::Iq;
use crate::xmpp::message::stanza_id;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use lavina_core::ids::MsgId;

/// From now on this session gets copies.
pub(super) fn enable(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    switch(session, &iq, true, cx);
}

/// From now on it gets none.
pub(super) fn disable(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    switch(session, &iq, false, cx);
}

fn switch(session: &mut Xmpp, iq: &Iq, on: bool, cx: &mut Cx<'_>) {
    if !iq.set {
        return session.iq_error(iq, &StanzaCondition::BadRequest.into(), cx);
    }
    if let Some(bound) = &mut session.bound {
        bound.carbons = on;
    }
    session.iq_result(iq, cx, |_| {});
}

impl Xmpp {
    /// A copy of what another session of the account sent, if this one wants it.
    pub(super) fn sent_copy(&mut self, from: &str, to: &str, fragment: &[u8], id: MsgId, cx: &mut Cx<'_>) {
        if self.bound.as_ref().is_some_and(|b| b.carbons) && may_copy(fragment) {
            self.copy("sent", from, to, fragment, Some(id), cx);
        }
    }

    /// Writes a copy, `sent` or `received`.
    pub(super) fn copy(
        &mut self,
        which: &str,
        from: &str,
        to: &str,
        fragment: &[u8],
        id: Option<MsgId>,
        cx: &mut Cx<'_>,
    ) {
        let (bare, full) = (self.bare().to_owned(), self.full().to_owned());
        let mut inner = Vec::with_capacity(fragment.len() + 256);
        write_stanza(&mut inner, true, from, to, fragment, |w| stanza_id(w, id, &bare));
        let kind = fragment_kind(fragment);
        self.write(cx, |w| {
            w.start("message").attr("from", &bare).attr("to", &full).attr("type", kind);
            w.start_ns(which, ns::CARBONS).start_ns("forwarded", ns::FORWARD).raw(&inner).end().end();
            w.end();
        });
    }
}
