//! Stanzas of the moment from session to session: requests between clients, chat states, directed presence.
//!
//! A signal's native form is the whole stanza without `from`, which the receiving session sets from what the core knows
//! of the sender: nobody can write in another's name. What is said aside in a room, or by a room
//! itself, has an address of the room there, set by the sending session.

use crate::session::{Cx, XMPP_NATIVE};
use crate::xmpp::address::{Place, bare_jid, full_jid, place};
use crate::xmpp::content::fragment;
use crate::xmpp::error::StreamCondition;
use crate::xmpp::framer::XmlLimits;
use crate::xmpp::jid::Jid;
use crate::xmpp::message::Arriving;
use crate::xmpp::muc::typing;
use crate::xmpp::ns;
use crate::xmpp::session::{Outcome, Xmpp};
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::{Element, Scope};
use lavina_core::event::Native;
use lavina_core::ids::{AccountId, Label};
use lavina_core::name::{User, UserName};
use lavina_core::projection::{Reason, Signal, SignalWhat};
use lavina_core::text::{Octets, Str};

impl Xmpp {
    /// Sends a stanza to the sessions of an account; `then` gets what came of it.
    pub(super) fn signal_user(
        &mut self,
        to: AccountId,
        label: Option<Label>,
        stanza: &Element,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Outcome<'_>, &mut Cx<'_>) + Send + 'static,
    ) {
        match stanza.attr("from") {
            Some(_) => {
                let mut stanza = stanza.clone();
                stanza.remove_attr("from");
                self.signal_as(to, label, &stanza, cx, then);
            }
            None => self.signal_as(to, label, stanza, cx, then),
        }
    }

    /// The same with a `from` that this session has set, or none.
    pub(super) fn signal_as(
        &mut self,
        to: AccountId,
        label: Option<Label>,
        stanza: &Element,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Outcome<'_>, &mut Cx<'_>) + Send + 'static,
    ) {
        let bytes = stanza.to_xml(ns::CLIENT);
        let native = Native { protocol: XMPP_NATIVE, bytes: Octets::from(bytes) };
        if let Some(req) = cx.signal(to, label, SignalWhat::Native(native)) {
            self.when(req, then);
        }
    }

    /// Sends a stanza to one session, or all, of an account of that name; `then` is told whether somebody got it.
    pub(super) fn signal_to(
        &mut self,
        name: UserName,
        resource: Option<Str>,
        stanza: Element,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, bool, &mut Cx<'_>) + Send + 'static,
    ) {
        self.with_user(name, cx, move |session, user, cx| match user {
            None => then(session, false, cx),
            Some(user) => session.signal_user(user.id, resource, &stanza, cx, move |session, outcome, cx| {
                let sent = outcome.refusal().is_none();
                then(session, sent, cx);
            }),
        });
    }

    /// A signal for this session, or for all of its account.
    pub(super) fn signalled(&mut self, signal: &Signal, cx: &mut Cx<'_>) {
        let native = match &signal.what {
            SignalWhat::Typing(on) => return self.typing_of(&signal.from, *on, cx),
            SignalWhat::Native(native) if native.protocol == XMPP_NATIVE => native,
            SignalWhat::Native(_) => return,
            SignalWhat::Arrived(id) => return self.arrived_at(&signal.from, id, cx),
            SignalWhat::End(words) => {
                let reason = Reason::Forbidden("ended by an operator");
                return self.end(StreamCondition::PolicyViolation, words, reason, cx);
            }
        };
        let Ok(mut stanza) = Scope::usual().parse(&native.bytes, &XmlLimits::MEMBER) else { return };
        if self.bound.is_none() {
            return;
        }
        let domain = cx.core_settings().domain.clone();
        let from = full_jid(&signal.from, &signal.label, &domain);
        match stanza.name.as_str() {
            "message" => self.message_signal(&stanza, signal, &from, &domain, cx),
            "presence" if self.bound.as_ref().is_none_or(|b| b.available.is_none()) => {}
            _ => {
                let own = stanza.attr("to").and_then(|to| Jid::new(to).ok()).filter(|to| to.is_bare());
                let to = own.map_or_else(|| self.full().to_owned(), |to| to.to_string());
                // A request through a room comes from there.
                let from = stanza.attr("from").map_or_else(|| from.to_string(), str::to_owned);
                stanza.set_attr("from", &from);
                stanza.set_attr("to", &to);
                self.write(cx, |w| {
                    w.element(&stanza);
                });
            }
        }
    }

    fn message_signal(
        &mut self,
        stanza: &Element,
        signal: &Signal,
        from: &Jid,
        domain: &str,
        cx: &mut Cx<'_>,
    ) {
        let Some(me) = cx.user().cloned() else { return };
        if self.is_inactive() && typing(stanza).is_some() {
            return;
        }
        let to = stanza.attr("to").and_then(|to| Jid::new(to).ok());
        let to = to.unwrap_or_else(|| bare_jid(&me.name, domain));
        let fragment = fragment(stanza);
        let aside = stanza.attr("from").filter(|_| signal.from.id != me.id);
        let (target, from) = match (place(&to, domain), aside) {
            (Place::User(name, resource), made) if name == me.name => {
                (resource, made.map_or_else(|| from.to_string(), str::to_owned))
            }
            // Who does not sit there knows the account only.
            (Place::Room(room, _), Some(aside)) if self.seat(&room).is_some() => (None, aside.to_owned()),
            (Place::Room(..), Some(_)) => (None, from.to_string()),
            _ => {
                // Not to this account: what another of its sessions sent to somebody.
                let copy = signal.label != *cx.label() && self.bound.as_ref().is_some_and(|b| b.carbons);
                if copy && signal.from.id == me.id {
                    self.copy("sent", from.as_str(), to.as_str(), &fragment, None, cx);
                }
                return;
            }
        };
        let arriving = Arriving { from: &from, target: target.as_deref(), fragment: &fragment, id: None };
        self.take(&arriving, cx);
    }

    /// A message has arrived at a client that does not say so itself (XEP-0184 §5.3).
    fn arrived_at(&mut self, from: &User, id: &str, cx: &mut Cx<'_>) {
        let received = |w: &mut Writer<'_>| {
            w.start_ns("received", ns::RECEIPTS).attr("id", id).end();
        };
        self.take_made(from, received, cx);
    }

    /// Somebody who has no chat states of his own types, or no more.
    fn typing_of(&mut self, from: &User, on: bool, cx: &mut Cx<'_>) {
        if self.is_inactive() {
            return;
        }
        let state = |w: &mut Writer<'_>| {
            w.empty_ns(if on { "composing" } else { "paused" }, ns::CHAT_STATES);
            w.empty_ns("no-store", ns::HINTS);
        };
        self.take_made(from, state, cx);
    }
}
