//! Blocking (XEP-0191). The core hides; here the list is kept in step with the client's.

use crate::session::Cx;
use crate::xmpp::address::{from_core, to_core};
use crate::xmpp::error::{ErrorType, StanzaCondition, StanzaError};
use crate::xmpp::iq::Iq;
use crate::xmpp::jid::Jid;
use crate::xmpp::ns;
use crate::xmpp::session::{Xmpp, random_name};
use lavina_core::chat::account::Account;
use lavina_core::command::Act;
use lavina_core::text::Str;

/// The list.
pub(super) fn list(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let domain = &cx.core_settings().domain;
    let blocked = session.bound.as_ref().map(|b| b.blocked.clone()).unwrap_or_default();
    let jids: Vec<Jid> = blocked.iter().filter_map(|b| from_core(b, domain)).collect();
    session.iq_result(&iq, cx, |w| {
        w.start_ns("blocklist", ns::BLOCKING);
        for jid in &jids {
            w.start("item").attr("jid", jid.as_str()).end();
        }
        w.end();
    });
}

/// Adds to the list.
pub(super) fn block(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    match items(&iq, cx) {
        Some(add) if iq.set && !add.is_empty() => change(session, iq, add, Vec::new(), false, cx),
        _ => session.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx),
    }
}

/// Takes off the list; without items, everything.
pub(super) fn unblock(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    match items(&iq, cx) {
        Some(remove) if iq.set => {
            let all = remove.is_empty();
            change(session, iq, Vec::new(), remove, all, cx);
        }
        _ => session.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx),
    }
}

fn change(session: &mut Xmpp, iq: Iq, add: Vec<Str>, remove: Vec<Str>, all: bool, cx: &mut Cx<'_>) {
    session.own(Act::SetBlocked { add, remove, all }, cx, move |session, outcome, cx| {
        session.finish(&iq, &outcome, cx);
    });
}

fn items(iq: &Iq, cx: &Cx<'_>) -> Option<Vec<Str>> {
    let domain = &cx.core_settings().domain;
    iq.payload()
        .children_named("item", ns::BLOCKING)
        .map(|item| item.attr("jid").and_then(|j| Jid::new(j).ok()).map(|j| to_core(&j, domain)))
        .collect()
}

impl Xmpp {
    /// The list changed: remembers it, and tells the client (XEP-0191 §3.2.2).
    pub(super) fn blocked(&mut self, add: &[Str], remove: &[Str], all: bool, cx: &mut Cx<'_>) {
        let Some(bound) = &mut self.bound else { return };
        if all {
            bound.blocked.clear();
        }
        bound.blocked.retain(|b| !remove.contains(b));
        for address in add {
            if !bound.blocked.contains(address) {
                bound.blocked.push(address.clone());
            }
        }
        if all {
            self.blocking_push("unblock", &[], cx);
        } else if !remove.is_empty() {
            self.blocking_push("unblock", remove, cx);
        }
        if !add.is_empty() {
            self.blocking_push("block", add, cx);
        }
    }

    fn blocking_push(&mut self, what: &str, addresses: &[Str], cx: &mut Cx<'_>) {
        let domain = &cx.core_settings().domain;
        let jids: Vec<Jid> = addresses.iter().filter_map(|a| from_core(a, domain)).collect();
        let (id, to) = (random_name(cx), self.full().to_owned());
        self.write(cx, |w| {
            w.start("iq").attr("type", "set").attr("id", &id).attr("to", &to).start_ns(what, ns::BLOCKING);
            for jid in &jids {
                w.start("item").attr("jid", jid.as_str()).end();
            }
            w.end().end();
        });
    }

    /// Whether `account` has blocked this session's account, this session of it, or its whole domain.
    pub(super) fn blocked_by(&self, account: &Account, cx: &Cx<'_>) -> bool {
        let Some(bound) = &self.bound else { return false };
        let domain = &cx.core_settings().domain;
        let (bare, whole) = (bound.jid.bare(), Jid::prepared(None, domain, None));
        [&bound.jid, &bare, &whole].into_iter().any(|jid| account.blocks(&to_core(jid, domain)))
    }

    /// The error for a stanza to somebody one has blocked.
    pub(super) fn blocked_error() -> StanzaError {
        StanzaError::new(StanzaCondition::NotAcceptable, "you have blocked this address")
            .kind(ErrorType::Cancel)
            .detail("blocked", ns::BLOCKING_ERRORS)
    }
}
