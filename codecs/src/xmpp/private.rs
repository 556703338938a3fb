//! Private XML storage (XEP-0049): one element per namespace, kept as a named value of the account.

use crate::session::Cx;
use crate::xmpp::bookmarks;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::iq::Iq;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use crate::xmpp::xml::Element;
use lavina_core::command::{Act, Audience};
use lavina_core::query::{Query, Value};
use lavina_core::text::{Octets, Str};

/// What is before the namespace in the name of the value.
const KEY: &str = "xmpp.private.";

/// Reads or writes.
pub(super) fn query(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let elements = iq.payload().elements();
    let keys: Vec<_> = elements.map(|el| (Str::new(format!("{KEY}{}", el.ns)), el.clone())).collect();
    if keys.is_empty() || keys.iter().any(|(_, el)| el.ns.is_empty() || el.ns == ns::PRIVATE) {
        return session.iq_error(&iq, &StanzaCondition::NotAcceptable.into(), cx);
    }
    let bookmarks = keys.iter().find(|(_, el)| el.is("storage", ns::BOOKMARKS_OLD)).map(|(_, el)| el.clone());
    if let Some(storage) = bookmarks.filter(|_| iq.set) {
        return set_bookmarks(session, iq, keys, storage, cx);
    }
    if iq.set {
        let values = keys.into_iter().map(|(key, el)| (key, Octets::from(el.to_xml(ns::PRIVATE)))).collect();
        let act = Act::SetAttrs { values, tell: Audience::Nobody, native: None };
        return session.own(act, cx, move |session, outcome, cx| session.finish(&iq, &outcome, cx));
    }
    let Some(me) = cx.user().map(|me| me.id) else { return };
    session.ask(Query::Account(me), cx, move |session, reply, cx| match reply {
        Ok(Value::Account(account)) => session.iq_result(&iq, cx, |w| {
            w.start_ns("query", ns::PRIVATE);
            for (key, el) in &keys {
                let stored = account.attrs.get(key);
                if el.is("storage", ns::BOOKMARKS_OLD) {
                    w.element(&bookmarks::to_storage(&account.attrs, stored.map(|xml| &**xml)));
                    continue;
                }
                match stored {
                    Some(stored) => w.raw(stored),
                    None => w.empty_ns(&el.name, &el.ns),
                };
            }
            w.end();
        }),
        Ok(_) => session.iq_error(&iq, &StanzaCondition::InternalServerError.into(), cx),
        Err(refusal) => session.iq_error(&iq, &StanzaError::from(&refusal), cx),
    });
}

/// Stores, and makes the bookmarks of rooms those that are stored.
fn set_bookmarks(session: &mut Xmpp, iq: Iq, keys: Vec<(Str, Element)>, storage: Element, cx: &mut Cx<'_>) {
    let Some(me) = cx.user().map(|me| me.id) else { return };
    let values = keys.into_iter().map(|(key, el)| (key, Octets::from(el.to_xml(ns::PRIVATE)))).collect();
    let act = Act::SetAttrs { values, tell: Audience::Nobody, native: None };
    session.own(act, cx, move |session, outcome, cx| {
        if outcome.refusal().is_some() {
            return session.finish(&iq, &outcome, cx);
        }
        session.ask(Query::Account(me), cx, move |session, reply, cx| {
            let Ok(Value::Account(account)) = reply else {
                return session.iq_error(&iq, &StanzaCondition::InternalServerError.into(), cx);
            };
            let before = bookmarks::all(&account.attrs);
            let changes = bookmarks::from_storage(&account.attrs, &storage, cx.now().wall.0);
            session.pep_changes(changes, cx, move |session, done, cx| {
                if !done {
                    return session.iq_error(&iq, &StanzaCondition::ResourceConstraint.into(), cx);
                }
                session.iq_result(&iq, cx, |_| {});
                session.bookmarks_changed(before, cx);
            });
        });
    });
}
