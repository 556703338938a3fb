//! vcard-temp (XEP-0054), kept as a named value of the account.

use crate::session::Cx;
use crate::xmpp::address::Place;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::iq::Iq;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use lavina_core::command::{Act, Audience};
use lavina_core::query::{Query, Value};
use lavina_core::text::{Octets, Str};

/// The name of the value.
pub(super) const KEY: &str = "xmpp.vcard";

/// Reads anybody's, writes one's own.
pub(super) fn vcard(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let Place::User(name, _) = iq.place.clone() else { return };
    let own = cx.user().is_some_and(|me| me.name == name);
    if iq.set {
        if !own {
            return session.iq_error(&iq, &StanzaCondition::Forbidden.into(), cx);
        }
        let values = vec![(Str::new(KEY), Octets::from(iq.payload().to_xml(ns::CLIENT)))];
        let act = Act::SetAttrs { values, tell: Audience::Nobody, native: None };
        return session.own(act, cx, move |session, outcome, cx| session.finish(&iq, &outcome, cx));
    }
    session.ask(Query::AccountNamed(name), cx, move |session, reply, cx| {
        let stored = match &reply {
            Ok(Value::Account(account)) => account.attrs.get(KEY),
            _ => None,
        };
        match stored {
            Some(stored) => session.iq_result(&iq, cx, |w| {
                w.raw(stored);
            }),
            None if own => session.iq_result(&iq, cx, |w| {
                w.empty_ns("vCard", ns::VCARD);
            }),
            // The same for an account without a vCard and for none at all.
            None => session.iq_error(&iq, &StanzaError::from(StanzaCondition::ItemNotFound), cx),
        }
    });
}
