//! vcard-temp (XEP-0054), kept as a named value of the account.

use crate::session::Cx;
use crate::xmpp::address::Place;
use crate::xmpp::avatar;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::iq::Iq;
use crate::xmpp::ns;
use crate::xmpp::pep;
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
        return session.own(act, cx, move |session, outcome, cx| {
            if outcome.refusal().is_none() {
                session.ask(Query::AccountNamed(name), cx, move |session, reply, cx| {
                    let vcard = iq.payload().clone();
                    let done = move |session: &mut Xmpp, cx: &mut Cx<'_>| session.iq_result(&iq, cx, |_| {});
                    match reply {
                        Ok(Value::Account(account)) => session.vcard_stored(&account, &vcard, cx, done),
                        _ => done(session, cx),
                    }
                });
            } else {
                session.finish(&iq, &outcome, cx);
            }
        });
    }
    session.ask(Query::AccountNamed(name), cx, move |session, reply, cx| {
        let shown = match &reply {
            Ok(Value::Account(account)) if !session.blocked_by(account, cx) => {
                let stored = account.attrs.get(KEY).map(|xml| &**xml);
                let access = pep::config(&account.attrs, ns::AVATAR_METADATA).map(|c| c.access);
                match access.zip(cx.user()) {
                    Some((access, me)) if !pep::may_read(account, me, access) => avatar::stored(stored),
                    _ => avatar::into_vcard(&account.attrs, stored),
                }
            }
            _ => None,
        };
        match shown {
            Some(shown) => session.iq_result(&iq, cx, |w| {
                w.element(&shown);
            }),
            None if own => session.iq_result(&iq, cx, |w| {
                w.empty_ns("vCard", ns::VCARD);
            }),
            // The same for an account without a vCard and for none at all.
            None => session.iq_error(&iq, &StanzaError::from(StanzaCondition::ItemNotFound), cx),
        }
    });
}
