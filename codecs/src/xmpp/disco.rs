//! Service discovery (XEP-0030) of the server and of accounts: one table of features, from which the answer, the
//! capabilities hash in the stream features (XEP-0115) and the tests derive.

use crate::session::Cx;
use crate::xmpp::address::{Place, ROOMS, bare_jid};
use crate::xmpp::caps::{Identity, Info};
use crate::xmpp::commands;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::forms::{Field, Form};
use crate::xmpp::iq::Iq;
use crate::xmpp::jid::Jid;
use crate::xmpp::ns;
use crate::xmpp::pep;
use crate::xmpp::session::Xmpp;
use crate::xmpp::writer::Writer;
use lavina_core::query::{Query, Value};

/// The node of our capabilities.
const NODE: &str = "urn:x-lavina:server";

/// What the server itself offers.
const SERVER_FEATURES: &[&str] = &[
    ns::DISCO_INFO,
    ns::DISCO_ITEMS,
    ns::BLOCKING,
    ns::CARBONS,
    ns::CARBONS_RULES,
    ns::COMMANDS,
    ns::LAST,
    ns::PING,
    ns::PRIVATE,
    ns::REGISTER,
    ns::STANZA_ID,
    ns::TIME,
    ns::VCARD,
    ns::VERSION,
];

/// What each account offers to its owner.
const ACCOUNT_FEATURES: &[&str] = &[
    ns::DISCO_INFO,
    ns::DISCO_ITEMS,
    ns::BOOKMARKS_COMPAT,
    ns::CARBONS,
    ns::LAST,
    ns::MAM,
    ns::MAM_EXTENDED,
    ns::PEP_VCARD,
    ns::PING,
    ns::RSM,
    ns::STANZA_ID,
    ns::VCARD,
];

/// Whom to turn to (XEP-0157), by what for.
const CONTACTS: [&str; 3] = ["abuse-addresses", "admin-addresses", "support-addresses"];

fn server(contact: &[String]) -> Info {
    let field = |var: &str, kind: &str, values: &[String]| Field {
        var: var.to_owned(),
        kind: kind.to_owned(),
        values: values.to_vec(),
    };
    let mut fields = vec![field("FORM_TYPE", "hidden", &[ns::SERVER_INFO.to_owned()])];
    fields.extend(CONTACTS.iter().map(|var| field(var, "list-multi", contact)));
    Info {
        identities: vec![Identity::new("server", "im", "Lavina")],
        features: SERVER_FEATURES.iter().map(|f| (*f).to_owned()).collect(),
        forms: if contact.is_empty() { Vec::new() } else { vec![Form { kind: "result".to_owned(), fields }] },
    }
}

fn account() -> Info {
    let features = ACCOUNT_FEATURES.iter().map(|f| (*f).to_owned());
    let pubsub = pep::FEATURES.iter().map(|f| format!("{}#{f}", ns::PUBSUB));
    Info {
        identities: vec![Identity::new("account", "registered", ""), Identity::new("pubsub", "pep", "")],
        features: features.chain(pubsub).collect(),
        forms: Vec::new(),
    }
}

/// Commands and their list (XEP-0050 §2.1).
fn automation(kind: &str, name: &str) -> Info {
    Info {
        identities: vec![Identity::new("automation", kind, name)],
        features: vec![ns::COMMANDS.to_owned(), ns::DATA_FORMS.to_owned()],
        forms: Vec::new(),
    }
}

/// Writes the server's capabilities into the stream features.
pub(super) fn write_caps(w: &mut Writer<'_>, cx: &Cx<'_>) {
    if let Some(ver) = server(&cx.settings().contact).ver() {
        w.start_ns("c", ns::CAPS).attr("hash", "sha-1").attr("node", NODE).attr("ver", &ver).end();
    }
}

/// What somebody is and can do.
pub(super) fn info(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let node = iq.payload().attr("node").unwrap_or_default();
    match iq.place.clone() {
        Place::Server => {
            let server = server(&cx.settings().contact);
            let own = server.ver().is_some_and(|ver| node == format!("{NODE}#{ver}"));
            if node.is_empty() || own {
                answer_info(session, &iq, &server, cx);
            } else if node == ns::COMMANDS {
                answer_info(session, &iq, &automation("command-list", "Commands"), cx);
            } else if let Some(name) = commands::named(node) {
                answer_info(session, &iq, &automation("command-node", name), cx);
            } else {
                session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx);
            }
        }
        Place::User(..) if !node.is_empty() => {
            session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx)
        }
        Place::User(name, _) if cx.user().is_some_and(|me| me.name == name) => {
            answer_info(session, &iq, &account(), cx);
        }
        Place::User(name, _) => session.ask(Query::AccountNamed(name), cx, move |session, reply, cx| {
            let seen = match (&reply, cx.user()) {
                (Ok(Value::Account(account)), Some(me)) => {
                    account.contacts.get(me.name.folded().as_str()).is_some_and(|c| c.from)
                }
                _ => false,
            };
            if seen {
                answer_info(session, &iq, &account(), cx);
            } else {
                // A stranger's account looks like none at all.
                session.iq_error(&iq, &StanzaError::from(StanzaCondition::ServiceUnavailable), cx);
            }
        }),
        _ => session.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx),
    }
}

/// What else there is to discover at an address: at the server, the services of rooms and files; at an account, its nodes.
pub(super) fn items(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let node = iq.payload().attr("node");
    if node == Some(ns::COMMANDS) && iq.place == Place::Server {
        return commands::list(session, iq, cx);
    }
    if node.is_some() {
        return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx);
    }
    let Place::User(name, _) = iq.place.clone() else {
        let rooms = format!("{ROOMS}{}", cx.core_settings().domain);
        #[cfg(feature = "http")]
        let upload = crate::xmpp::upload::service(cx.settings());
        #[cfg(not(feature = "http"))]
        let upload: Option<String> = None;
        return session.iq_result(&iq, cx, |w| {
            w.start_ns("query", ns::DISCO_ITEMS);
            w.start("item").attr("jid", &rooms).attr("name", "Rooms").end();
            if let Some(upload) = &upload {
                w.start("item").attr("jid", upload).attr("name", "Files").end();
            }
            w.end();
        });
    };
    session.ask(Query::AccountNamed(name), cx, move |session, reply, cx| {
        let (Ok(Value::Account(account)), Some(me)) = (reply, cx.user().cloned()) else {
            return session.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx);
        };
        let jid = account.user().map(|user| bare_jid(&user.name, &cx.core_settings().domain));
        let readable = pep::nodes(&account.attrs).filter(|(_, c)| pep::may_read(&account, &me, c.access));
        let readable: Vec<&str> = readable.map(|(node, _)| node).collect();
        if readable.is_empty() && account.id != me.id {
            return session.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx);
        }
        session.iq_result(&iq, cx, |w| {
            w.start_ns("query", ns::DISCO_ITEMS);
            for node in readable {
                w.start("item").opt_attr("jid", jid.as_ref().map(Jid::as_str)).attr("node", node).end();
            }
            w.end();
        });
    });
}

/// Answers with what an entity is.
pub(super) fn answer_info(session: &mut Xmpp, iq: &Iq, info: &Info, cx: &mut Cx<'_>) {
    session.iq_result(iq, cx, |w| {
        w.start_ns("query", ns::DISCO_INFO).opt_attr("node", iq.payload().attr("node"));
        for identity in &info.identities {
            w.start("identity").attr("category", &identity.category).attr("type", &identity.kind);
            w.opt_attr("name", Some(identity.name.as_str()).filter(|n| !n.is_empty())).end();
        }
        for feature in &info.features {
            w.start("feature").attr("var", feature).end();
        }
        for form in &info.forms {
            form.write(w);
        }
        w.end();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_has_a_hash() {
        assert!(server(&[]).ver().is_some());
        let reached = server(&["mailto:a@b".to_owned()]);
        assert_ne!(reached.ver(), server(&[]).ver());
        assert_eq!(reached.forms[0].value("admin-addresses"), Some("mailto:a@b"));
        assert!(account().ver().is_some());
    }
}
