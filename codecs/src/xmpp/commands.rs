//! Ad-hoc commands (XEP-0050): one table, from which the list and the answers derive. All end in one step.

use crate::session::Cx;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::invite;
use crate::xmpp::iq::Iq;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use crate::xmpp::writer::Writer;
use lavina_core::chat::account::Account;
use lavina_core::query::{Query, Value};
use std::sync::Arc;

/// A command.
struct Row {
    node: &'static str,
    name: &'static str,
    /// Only administrators see it and can use it.
    admin: bool,
    run: fn(&mut Xmpp, Iq, &Account, &mut Cx<'_>),
}

const COMMANDS: &[Row] = &[
    Row { node: ns::INVITE_CONTACT, name: "Invite somebody", admin: false, run: invite::contact },
    Row {
        node: ns::INVITE_ACCOUNT,
        name: "Invite somebody to this server",
        admin: true,
        run: invite::account,
    },
];

/// The commands that the account can use.
fn usable(account: &Account) -> impl Iterator<Item = &'static Row> {
    let admin = account.head.as_ref().is_some_and(|h| h.admin);
    COMMANDS.iter().filter(move |row| admin || !row.admin)
}

/// The list of commands, as items of the server.
pub(super) fn list(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    with_own_account(session, iq, cx, |session, iq, account, cx| {
        let domain = cx.core_settings().domain.clone();
        session.iq_result(&iq, cx, |w| {
            w.start_ns("query", ns::DISCO_ITEMS).attr("node", ns::COMMANDS);
            for row in usable(&account) {
                w.start("item").attr("jid", &domain).attr("node", row.node).attr("name", row.name).end();
            }
            w.end();
        });
    });
}

/// Whether this is the node of a command.
pub(super) fn named(node: &str) -> Option<&'static str> {
    COMMANDS.iter().find(|row| row.node == node).map(|row| row.name)
}

/// Carries a command out.
pub(super) fn command(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let action = iq.payload().attr("action").unwrap_or("execute");
    match (iq.set, action) {
        (true, "execute" | "complete" | "next") => {}
        (true, "cancel") => return session.iq_result(&iq, cx, |w| finished(w, &iq, "canceled", |_| {})),
        _ => return session.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx),
    }
    with_own_account(session, iq, cx, |session, iq, account, cx| {
        let node = iq.payload().attr("node").unwrap_or_default();
        match (usable(&account).find(|row| row.node == node), named(node)) {
            (Some(row), _) => (row.run)(session, iq, &account, cx),
            (None, Some(_)) => session.iq_error(&iq, &StanzaCondition::Forbidden.into(), cx),
            (None, None) => session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx),
        }
    });
}

/// Writes what a command came to.
pub(super) fn finished(w: &mut Writer<'_>, iq: &Iq, status: &str, build: impl FnOnce(&mut Writer<'_>)) {
    let command = iq.payload();
    w.start_ns("command", ns::COMMANDS).opt_attr("node", command.attr("node"));
    // Nothing is remembered between steps, so any name of the session will do (§2.4).
    w.attr("sessionid", command.attr("sessionid").unwrap_or("1")).attr("status", status);
    build(w);
    w.end();
}

fn with_own_account(
    session: &mut Xmpp,
    iq: Iq,
    cx: &mut Cx<'_>,
    then: impl FnOnce(&mut Xmpp, Iq, Arc<Account>, &mut Cx<'_>) + Send + 'static,
) {
    let Some(me) = cx.user().map(|me| me.id) else { return };
    session.ask(Query::Account(me), cx, move |session, reply, cx| match reply {
        Ok(Value::Account(account)) => then(session, iq, account, cx),
        Ok(_) => session.iq_error(&iq, &StanzaCondition::InternalServerError.into(), cx),
        Err(refusal) => session.iq_error(&iq, &StanzaError::from(&refusal), cx),
    });
}
