//! Small questions: ping (XEP-0199), version (XEP-0092), time (XEP-0202), last activity (XEP-0012).

use crate::session::Cx;
use crate::xmpp::address::Place;
use crate::xmpp::datetime;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::iq::Iq;
use crate::xmpp::ns;
use crate::xmpp::offline;
use crate::xmpp::session::Xmpp;
use lavina_core::query::{Query, Value};

/// Is anybody there? Yes.
pub(super) fn ping(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    session.iq_result(&iq, cx, |_| {});
}

/// What software this is. Which operating system it runs on is nobody's business.
pub(super) fn version(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    session.iq_result(&iq, cx, |w| {
        w.start_ns("query", ns::VERSION);
        w.leaf("name", "Lavina").leaf("version", env!("CARGO_PKG_VERSION")).end();
    });
}

/// What time it is here, in UTC.
pub(super) fn time(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let now = datetime::format(cx.now().wall.0.try_into().unwrap_or(datetime::MAX_MILLIS));
    session.iq_result(&iq, cx, |w| {
        w.start_ns("time", ns::TIME).leaf("tzo", "+00:00").leaf("utc", &now).end();
    });
}

/// How long the server has been up, or since when an account has been away: for those who may see its presence.
pub(super) fn last(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    match iq.place.clone() {
        Place::User(name, _) => {
            session.ask(Query::AccountNamed(name), cx, move |session, reply, cx| {
                let seconds = match (&reply, cx.user()) {
                    (Ok(Value::Account(account)), Some(me)) if !session.blocked_by(account, cx) => {
                        let own = account.id == me.id;
                        let contact = account.contacts.get(me.name.folded().as_str());
                        (own || contact.is_some_and(|c| c.from)).then(|| {
                            let left = offline::Left::of(account).map_or(cx.now().wall.0, |left| left.at);
                            cx.now().wall.0.saturating_sub(left) / 1000
                        })
                    }
                    _ => None,
                };
                match seconds {
                    Some(seconds) => session.iq_result(&iq, cx, |w| {
                        w.start_ns("query", ns::LAST).attr_num("seconds", seconds).end();
                    }),
                    None => session.iq_error(&iq, &StanzaError::from(StanzaCondition::Forbidden), cx),
                }
            });
        }
        _ => {
            let seconds = cx.now().mono.0 / 1000;
            session.iq_result(&iq, cx, |w| {
                w.start_ns("query", ns::LAST).attr_num("seconds", seconds).end();
            });
        }
    }
}
