//! Resource binding (RFC 6120 §7), and the obsolete session request.

use crate::session::Cx;
use crate::xmpp::address::bare_jid;
use crate::xmpp::avatar;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::iq::Iq;
use crate::xmpp::ns;
use crate::xmpp::session::{Xmpp, random_name};
use lavina_core::query::{Query, Value};
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
    session.hold(true, cx);
    session.ask(Query::Account(me.id), cx, move |session, reply, cx| {
        session.hold(false, cx);
        let (blocked, avatar) = match reply {
            Ok(Value::Account(account)) => {
                let blocked = account.head.as_ref().map(|h| h.blocked.clone()).unwrap_or_default();
                (blocked, avatar::current(&account.attrs))
            }
            Ok(_) => (Vec::new(), None),
            Err(refusal) => return session.iq_error(&iq, &StanzaError::from(&refusal), cx),
        };
        let label = Str::new(jid.resource().unwrap_or_default());
        let full = jid.to_string();
        session.set_bound(jid, &me, blocked);
        if let Some(bound) = &mut session.bound {
            bound.avatar = avatar;
        }
        session.iq_result(&iq, cx, |w| {
            w.start_ns("bind", ns::BIND).leaf("jid", &full).end();
        });
        cx.subscribe(label);
        cx.mode_changed();
        session.watch(cx);
    });
}

/// What RFC 3921 wanted after binding; nothing happens.
pub(super) fn session(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    session.iq_result(&iq, cx, |_| {});
}
