//! Requests and their answers (RFC 6120 §8.2.3), and the table of what is answered here.

use crate::session::Cx;
use crate::xmpp::address::{Place, place};
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::jid::Jid;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
#[cfg(feature = "http")]
use crate::xmpp::upload;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use crate::xmpp::{
    bind, blocking, carbons, commands, disco, mam, muc, pep, private, query, register, roster, vcard,
};
use lavina_core::outbox::Slot;

/// A request that was received and has to be answered once.
#[derive(Debug, Clone)]
pub(super) struct Iq {
    /// The whole stanza; it has exactly one child element.
    pub stanza: Element,
    /// Where the answer goes.
    pub slot: Slot,
    /// True: `set`; false: `get`.
    pub set: bool,
    /// To whom; none is the sender's account.
    pub to: Option<Jid>,
    /// What that means here.
    pub place: Place,
}

impl Iq {
    /// What is asked.
    pub(super) fn payload(&self) -> &Element {
        // `read` refuses an iq without a child.
        self.stanza.elements().next().unwrap_or(&self.stanza)
    }
}

/// To the server.
pub(super) const SERVER: u8 = 1;
/// To the sender's own account (or to nobody in particular).
pub(super) const OWN: u8 = 2;
/// To the bare address of another account.
pub(super) const OTHER: u8 = 4;
/// To the service of rooms.
pub(super) const ROOMS: u8 = 8;
/// To a room.
pub(super) const ROOM: u8 = 16;
/// To the service of uploads.
pub(super) const UPLOAD: u8 = 64;
/// Also before a resource is bound.
pub(super) const UNBOUND: u8 = 32;
/// It can be read only.
pub(super) const GET: u8 = 128;

/// One kind of request that is answered here.
pub(super) struct Handler {
    /// The namespace of the payload.
    pub ns: &'static str,
    /// The name of the payload.
    pub name: &'static str,
    /// Where it is answered: a sum of [`SERVER`] … [`GET`].
    pub at: u8,
    /// What answers.
    pub run: fn(&mut Xmpp, Iq, &mut Cx<'_>),
}

const fn row(ns: &'static str, name: &'static str, at: u8, run: fn(&mut Xmpp, Iq, &mut Cx<'_>)) -> Handler {
    Handler { ns, name, at, run }
}

/// All requests that are answered here. What is not in it is service-unavailable.
pub(super) const HANDLERS: &[Handler] = &[
    row(ns::BIND, "bind", OWN | SERVER | UNBOUND, bind::bind),
    row(ns::SESSION, "session", OWN | SERVER, bind::session),
    row(ns::REGISTER, "query", OWN | SERVER | UNBOUND, register::query),
    row(ns::PARS, "preauth", OWN | SERVER | UNBOUND, register::preauth),
    row(ns::ROSTER, "query", OWN, roster::query),
    row(ns::ROSTER, "query", OTHER, roster::of_another),
    row(ns::DISCO_INFO, "query", OWN | OTHER | SERVER | GET, disco::info),
    row(ns::DISCO_ITEMS, "query", OWN | OTHER | SERVER | GET, disco::items),
    row(ns::DISCO_INFO, "query", ROOMS | ROOM | GET, muc::info),
    row(ns::DISCO_ITEMS, "query", ROOMS | ROOM | GET, muc::items),
    row(ns::PING, "ping", OWN | SERVER | ROOMS | UPLOAD | GET, query::ping),
    #[cfg(feature = "http")]
    row(ns::UPLOAD, "request", UPLOAD, upload::request),
    #[cfg(feature = "http")]
    row(ns::DISCO_INFO, "query", UPLOAD | GET, upload::info),
    #[cfg(feature = "http")]
    row(ns::DISCO_ITEMS, "query", UPLOAD | GET, upload::items),
    row(ns::PING, "ping", ROOM | GET, muc::ping),
    row(ns::MAM, "query", OWN | ROOM, mam::query),
    row(ns::MAM, "prefs", OWN, mam::preferences),
    row(ns::MAM, "metadata", OWN | ROOM | GET, mam::metadata),
    row(ns::MUC_ADMIN, "query", ROOM, muc::admin),
    row(ns::MUC_OWNER, "query", ROOM, muc::owner),
    row(ns::MODERATE, "moderate", ROOM, muc::moderate),
    row(ns::VERSION, "query", SERVER | GET, query::version),
    row(ns::TIME, "time", SERVER | GET, query::time),
    row(ns::LAST, "query", OWN | OTHER | SERVER | GET, query::last),
    row(ns::CARBONS, "enable", OWN | SERVER, carbons::enable),
    row(ns::CARBONS, "disable", OWN | SERVER, carbons::disable),
    row(ns::BLOCKING, "blocklist", OWN | GET, blocking::list),
    row(ns::BLOCKING, "block", OWN, blocking::block),
    row(ns::BLOCKING, "unblock", OWN, blocking::unblock),
    row(ns::PUBSUB, "pubsub", OWN | OTHER, pep::pubsub),
    row(ns::PUBSUB_OWNER, "pubsub", OWN | OTHER, pep::pubsub),
    row(ns::PRIVATE, "query", OWN, private::query),
    row(ns::COMMANDS, "command", SERVER, commands::command),
    row(ns::VCARD, "vCard", OWN | OTHER, vcard::vcard),
    row(ns::VCARD, "vCard", ROOM, muc::vcard),
];

/// What answers this at one of these places.
pub(super) fn handler(payload: &Element, at: u8) -> Option<&'static Handler> {
    HANDLERS.iter().find(|h| payload.is(h.name, h.ns) && h.at & at != 0)
}

impl Xmpp {
    /// Takes an `<iq/>` of the client.
    pub(super) fn iq(&mut self, stanza: Element, cx: &mut Cx<'_>) {
        let set = match stanza.attr("type") {
            Some("get") => false,
            Some("set") => true,
            Some("result" | "error") => return self.iq_answer(stanza, cx),
            _ => return self.bad_iq(&stanza, StanzaCondition::BadRequest.into(), cx),
        };
        let to = match stanza.attr("to").map(Jid::new).transpose() {
            Ok(to) => to,
            Err(_) => return self.bad_iq(&stanza, StanzaCondition::JidMalformed.into(), cx),
        };
        if stanza.attr("id").is_none() || stanza.elements().count() != 1 {
            return self.bad_iq(&stanza, StanzaCondition::BadRequest.into(), cx);
        }
        let place = match (&to, cx.user()) {
            (Some(to), _) => place(to, &cx.core_settings().domain),
            (None, Some(me)) => Place::User(me.name.clone(), None),
            (None, None) => Place::Server,
        };
        let iq = Iq { stanza, slot: cx.slot(), set, to, place };
        self.route_iq(iq, cx);
    }

    fn route_iq(&mut self, iq: Iq, cx: &mut Cx<'_>) {
        let domain = &cx.core_settings().domain;
        if self.bound.is_some() && iq.to.as_ref().is_some_and(|to| self.blocks(to, domain)) {
            return self.iq_error(&iq, &Xmpp::blocked_error(), cx);
        }
        let at = match &iq.place {
            Place::Server => SERVER,
            Place::User(name, None) if cx.user().is_some_and(|me| me.name == *name) => OWN,
            Place::User(_, None) => OTHER,
            Place::User(_, Some(_)) if self.bound.is_some() => return self.iq_to_session(iq, cx),
            Place::Rooms => ROOMS,
            Place::Upload => UPLOAD,
            Place::Room(name, Some(nick)) if self.bound.is_some() && !iq.payload().is("ping", ns::PING) => {
                let (name, nick) = (name.clone(), nick.clone());
                return self.iq_to_occupant(iq, name, nick, cx);
            }
            Place::Room(..) => ROOM,
            Place::User(..) | Place::Nobody => {
                return self.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx);
            }
            Place::Elsewhere => return self.iq_error(&iq, &StanzaCondition::RemoteServerNotFound.into(), cx),
        };
        match handler(iq.payload(), at) {
            Some(handler) if iq.set && handler.at & GET != 0 && at != OTHER => {
                let error = StanzaError::new(StanzaCondition::NotAllowed, "this can be read only");
                self.iq_error(&iq, &error, cx);
            }
            // Of another account nothing is told that is not asked.
            Some(handler) if iq.set && handler.at & GET != 0 => {
                self.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx);
            }
            Some(handler) if self.bound.is_some() || handler.at & UNBOUND != 0 => (handler.run)(self, iq, cx),
            Some(_) => self.iq_error(&iq, &StanzaCondition::NotAuthorized.into(), cx),
            None => self.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx),
        }
    }

    /// An answer of the client: to another client's request; those to the server's own need no more.
    fn iq_answer(&mut self, stanza: Element, cx: &mut Cx<'_>) {
        if self.capabilities_told(&stanza, cx) {
            return;
        }
        let Some(Ok(to)) = stanza.attr("to").map(Jid::new) else { return };
        match place(&to, &cx.core_settings().domain) {
            _ if self.bound.is_none() => {}
            Place::User(name, Some(resource)) => {
                self.signal_to(name, Some(resource), stanza, cx, |_, _, _| {});
            }
            Place::Room(name, Some(nick)) => self.relay_answer(stanza, name, nick, cx),
            _ => {}
        }
    }

    /// A request to one session of somebody: it passes through.
    fn iq_to_session(&mut self, iq: Iq, cx: &mut Cx<'_>) {
        let Place::User(name, resource) = iq.place.clone() else { return };
        let stanza = iq.stanza.clone();
        self.signal_to(name, resource, stanza, cx, move |session, sent, cx| {
            if sent {
                cx.done(iq.slot);
            } else {
                session.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx);
            }
        });
    }

    fn bad_iq(&mut self, stanza: &Element, error: StanzaError, cx: &mut Cx<'_>) {
        let slot = cx.slot();
        self.answer(slot, cx, |w| {
            w.start("iq").attr("type", "error").opt_attr("id", stanza.attr("id"));
            w.opt_attr("from", stanza.attr("to"));
            error.write(w);
            w.end();
        });
        cx.done(slot);
    }

    /// Answers a request with what `build` puts into the result.
    pub(super) fn iq_result(&mut self, iq: &Iq, cx: &mut Cx<'_>, build: impl FnOnce(&mut Writer<'_>)) {
        let full = self.full().to_owned();
        self.answer(iq.slot, cx, |w| {
            head(w, iq, "result", &full);
            build(w);
            w.end();
        });
        cx.done(iq.slot);
    }

    /// Answers a request with an error.
    pub(super) fn iq_error(&mut self, iq: &Iq, error: &StanzaError, cx: &mut Cx<'_>) {
        let full = self.full().to_owned();
        self.answer(iq.slot, cx, |w| {
            head(w, iq, "error", &full);
            error.write(w);
            w.end();
        });
        cx.done(iq.slot);
    }
}

fn head(w: &mut Writer<'_>, iq: &Iq, kind: &str, full: &str) {
    w.start("iq").attr("type", kind).opt_attr("id", iq.stanza.attr("id"));
    w.opt_attr("from", iq.to.as_ref().map(Jid::as_str));
    w.opt_attr("to", Some(full).filter(|f| !f.is_empty()));
}
