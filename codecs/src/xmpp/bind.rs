//! Resource binding (RFC 6120 §7), and the obsolete session request.

use crate::session::Cx;
use crate::xmpp::address::bare_jid;
use crate::xmpp::avatar;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::iq::Iq;
use crate::xmpp::jid::Jid;
use crate::xmpp::ns;
use crate::xmpp::session::{Xmpp, random_name};
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::Str;

/// `<bind/>`: the resource wished for, or one of our making.
pub(super) fn bind(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let Some(me) = cx.user().cloned().filter(|_| iq.set && session.bound.is_none()) else {
        return session.iq_error(&iq, &StanzaCondition::NotAllowed.into(), cx);
    };
    let wished = iq.payload().child_text("resource").filter(|r| !r.is_empty());
    let resource = wished.map_or_else(|| random_name(cx).to_string(), std::borrow::Cow::into_owned);
    let domain = &cx.core_settings().domain;
    let Ok(jid) = bare_jid(&me.name, domain).with_resource(&resource) else {
        let error = StanzaError::new(StanzaCondition::BadRequest, "this resource cannot be used");
        return session.iq_error(&iq, &error, cx);
    };
    take_resource(session, jid, cx, move |session, done, cx| match done {
        Ok(()) => {
            let full = session.full().to_owned();
            session.iq_result(&iq, cx, |w| {
                w.start_ns("bind", ns::BIND).leaf("jid", &full).end();
            });
        }
        Err(refusal) => session.iq_error(&iq, &StanzaError::from(&refusal), cx),
    });
}

/// The session gets this address, and what comes for its account from here on. `then` says so to the client.
pub(super) fn take_resource(
    session: &mut Xmpp,
    jid: Jid,
    cx: &mut Cx<'_>,
    then: impl FnOnce(&mut Xmpp, Result<(), Refusal>, &mut Cx<'_>) + Send + 'static,
) {
    let Some(me) = cx.user().cloned() else { return };
    session.hold(true, cx);
    session.ask(Query::Account(me.id), cx, move |session, reply, cx| {
        session.hold(false, cx);
        let account = match reply {
            Ok(Value::Account(account)) => account,
            Ok(_) => return then(session, Err(Refusal::NoSuchUser), cx),
            Err(refusal) => return then(session, Err(refusal), cx),
        };
        let blocked = account.head.as_ref().map(|h| h.blocked.clone()).unwrap_or_default();
        let label = Str::new(jid.resource().unwrap_or_default());
        session.set_bound(jid, blocked);
        if let Some(bound) = &mut session.bound {
            bound.avatar = avatar::current(&account.attrs);
        }
        cx.subscribe(label);
        cx.mode_changed();
        session.watch(cx);
        then(session, Ok(()), cx);
    });
}

/// What RFC 3921 wanted after binding; nothing happens.
pub(super) fn session(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    session.iq_result(&iq, cx, |_| {});
}
