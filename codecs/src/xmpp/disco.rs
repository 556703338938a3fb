//! Service discovery (XEP-0030) of the server and of accounts: one table of features, from which the answer, the
//! capabilities hash in the stream features (XEP-0115) and the tests derive.

use crate::session::Cx;
use crate::xmpp::address::{Place, ROOMS, bare_jid};
use crate::xmpp::caps::{Identity, Info};
use crate::xmpp::commands;
use crate::xmpp::error::StanzaCondition;
use crate::xmpp::forms::{Field, Form};
use crate::xmpp::iq::Iq;
use crate::xmpp::ns;
use crate::xmpp::pep;
use crate::xmpp::session::Xmpp;
use crate::xmpp::writer::Writer;
use lavina_core::chat::account::Account;
use lavina_core::name::User;
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
    ns::OFFLINE,
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
    ns::PUBSUB,
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
        Place::User(name, _) => session.ask(Query::AccountNamed(name), cx, move |session, reply, cx| {
            // A stranger's account looks like none at all (§8).
            let shown = match (&reply, cx.user()) {
                (Ok(Value::Account(account)), Some(me)) if !session.blocked_by(account, cx) => {
                    told(account, me, iq.payload().attr("node").unwrap_or_default())
                }
                _ => Err(StanzaCondition::ServiceUnavailable),
            };
            match shown {
                Ok(info) => answer_info(session, &iq, &info, cx),
                Err(condition) => session.iq_error(&iq, &condition.into(), cx),
            }
        }),
        _ => session.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx),
    }
}

/// What somebody may know of an account, or of one of its nodes (XEP-0060 §5.3).
fn told(of: &Account, reader: &User, node: &str) -> Result<Info, StanzaCondition> {
    let contact = of.contacts.get(reader.name.folded().as_str()).is_some_and(|c| c.from);
    let known = of.id == reader.id || contact;
    match pep::config(&of.attrs, node) {
        _ if node.is_empty() && known => Ok(account()),
        Some(config) if pep::may_read(of, reader, config.access) => Ok(pep::described(&config)),
        _ if known => Err(StanzaCondition::ItemNotFound),
        _ => Err(StanzaCondition::ServiceUnavailable),
    }
}

/// What else there is to discover at an address: at the server, the services of rooms and files; at an account, its nodes.
pub(super) fn items(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let node = iq.payload().attr("node");
    if node == Some(ns::COMMANDS) && iq.place == Place::Server {
        return commands::list(session, iq, cx);
    }
    let Place::User(name, _) = iq.place.clone() else {
        if node.is_some() {
            return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx);
        }
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
        // Who may know nothing sees nothing, as of an account that is not there (§8).
        let found = match (&reply, cx.user()) {
            (Ok(Value::Account(account)), Some(me)) if !session.blocked_by(account, cx) => {
                let jid = account.user().map(|user| bare_jid(&user.name, &cx.core_settings().domain));
                jid.map(|jid| (jid, listed(account, me, iq.payload().attr("node"))))
            }
            _ => None,
        };
        session.iq_result(&iq, cx, |w| {
            w.start_ns("query", ns::DISCO_ITEMS).opt_attr("node", iq.payload().attr("node"));
            for (kind, name) in found.iter().flat_map(|(_, listed)| listed) {
                let jid = found.as_ref().map(|(jid, _)| jid.as_str());
                w.start("item").opt_attr("jid", jid).attr(kind, name).end();
            }
            w.end();
        });
    });
}

/// The nodes of an account that somebody may read, or the items of one (XEP-0060 §5.2, §5.5).
fn listed(of: &Account, reader: &User, node: Option<&str>) -> Vec<(&'static str, String)> {
    let readable = pep::nodes(&of.attrs).filter(|(_, config)| pep::may_read(of, reader, config.access));
    match node {
        None => readable.map(|(node, _)| ("node", node.to_owned())).collect(),
        Some(node) => {
            let ids = readable.filter(|(name, _)| *name == node);
            ids.flat_map(|(node, _)| pep::items(&of.attrs, node)).map(|i| ("name", i.id.to_owned())).collect()
        }
    }
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
