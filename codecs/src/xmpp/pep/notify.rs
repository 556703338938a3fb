//! Who is told of what: each session knows from its client's capabilities (XEP-0115) which nodes it wants to hear of
//! (`+notify`, XEP-0060 §9.2), and passes on only those.

use super::may_read;
use super::node::{items, nodes};
use crate::session::{Cx, XMPP_NATIVE};
use crate::xmpp::address::bare_jid;
use crate::xmpp::caps::Info;
use crate::xmpp::ns;
use crate::xmpp::session::{Xmpp, random_name};
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use lavina_core::chat::account::Account;
use lavina_core::event::Native;
use lavina_core::ids::AccountId;
use lavina_core::name::User;
use lavina_core::query::{Query, Value};
use smol_str::SmolStr;
use std::collections::BTreeSet;

/// Nodes that one client can want to hear of; further ones are not heard of.
const MAX_WANTED: usize = 64;

/// What is known of the client.
#[derive(Default)]
pub struct Client {
    /// The capabilities it has told of: node and hash.
    caps: Option<(SmolStr, SmolStr)>,
    /// The id of the question for them, while it is not answered.
    asked: Option<SmolStr>,
    /// The nodes it wants to hear of.
    wanted: BTreeSet<SmolStr>,
}

impl Xmpp {
    /// The client became available, or said again what it can: asks for what its capabilities are, if they are new.
    pub(in crate::xmpp) fn capabilities(&mut self, presence: &Element, first: bool, cx: &mut Cx<'_>) {
        let Some(bound) = &mut self.bound else { return };
        let caps =
            presence.child("c", ns::CAPS).and_then(|c| Some((c.attr("node")?.into(), c.attr("ver")?.into())));
        if caps == bound.client.caps {
            if first {
                self.last_items(cx);
            }
            return;
        }
        bound.client = Client { caps: caps.clone(), ..Client::default() };
        let Some((node, ver)) = caps else { return };
        let id = random_name(cx);
        bound.client.asked = Some(id.clone());
        let (to, from) = (self.full().to_owned(), cx.core_settings().domain.clone());
        let node = format!("{node}#{ver}");
        self.write(cx, |w| {
            w.start("iq").attr("type", "get").attr("id", &id).attr("from", &from).attr("to", &to);
            w.start_ns("query", ns::DISCO_INFO).attr("node", &node).end().end();
        });
    }

    /// An answer of the client to the server; true if it was one to a question of ours.
    pub(in crate::xmpp) fn capabilities_told(&mut self, answer: &Element, cx: &mut Cx<'_>) -> bool {
        let Some(bound) = &mut self.bound else { return false };
        if bound.client.asked.is_none() || bound.client.asked.as_deref() != answer.attr("id") {
            return false;
        }
        bound.client.asked = None;
        // They hold for this very client only, so a hash that does not fit harms nobody else.
        if let Some(query) = answer.child("query", ns::DISCO_INFO) {
            let features = Info::read(query).features;
            let wanted = features.iter().filter_map(|f| f.strip_suffix("+notify"));
            bound.client.wanted = wanted.take(MAX_WANTED).map(SmolStr::new).collect();
        }
        self.last_items(cx);
        true
    }

    pub(super) fn wants(&self, node: &str) -> bool {
        self.bound.as_ref().is_some_and(|b| b.client.wanted.contains(node))
    }

    /// A node of the account itself or of a contact changed.
    pub(in crate::xmpp) fn pep_event(&mut self, from: &User, native: &Native, cx: &mut Cx<'_>) {
        if native.protocol != XMPP_NATIVE || self.bound.as_ref().is_none_or(|b| b.available.is_none()) {
            return;
        }
        let at = memchr::memchr(b'\n', &native.bytes).unwrap_or(0);
        let (node, event) = native.bytes.split_at(at);
        let node = std::str::from_utf8(node).unwrap_or_default();
        if self.wants(node) {
            self.write_event(from, cx, |w| {
                w.raw(event.get(1..).unwrap_or_default());
            });
        }
    }

    pub(super) fn write_event(&mut self, from: &User, cx: &mut Cx<'_>, build: impl FnOnce(&mut Writer<'_>)) {
        let from = bare_jid(&from.name, &cx.core_settings().domain);
        let (to, id) = (self.full().to_owned(), random_name(cx));
        self.write(cx, |w| {
            w.start("message")
                .attr("from", from.as_str())
                .attr("to", &to)
                .attr("type", "headline")
                .attr("id", &id);
            w.start_ns("event", ns::PUBSUB_EVENT);
            build(w);
            w.end().end();
        });
    }

    /// Sends the last items of the own nodes and of all whose presence the account may see (XEP-0163 §4.3.3).
    fn last_items(&mut self, cx: &mut Cx<'_>) {
        let nothing = self.bound.as_ref().is_none_or(|b| b.client.wanted.is_empty() || b.available.is_none());
        let Some(me) = cx.user().map(|me| me.id).filter(|_| !nothing) else { return };
        self.ask(Query::Account(me), cx, |session, reply, cx| {
            let Ok(Value::Account(account)) = reply else { return };
            session.show_last(&account, cx);
            let contacts = account.contacts.values().filter(|c| c.to).filter_map(|c| c.account).collect();
            session.last_items_of(contacts, cx);
        });
    }

    /// The same of these accounts, one after the other.
    pub(in crate::xmpp) fn last_items_of(&mut self, mut accounts: Vec<AccountId>, cx: &mut Cx<'_>) {
        let Some(next) = accounts.pop() else { return };
        self.ask(Query::Account(next), cx, move |session, reply, cx| {
            if let Ok(Value::Account(account)) = reply {
                session.show_last(&account, cx);
            }
            session.last_items_of(accounts, cx);
        });
    }

    fn show_last(&mut self, account: &Account, cx: &mut Cx<'_>) {
        let (Some(me), Some(owner)) = (cx.user().cloned(), account.user()) else { return };
        for (node, config) in nodes(&account.attrs) {
            if !self.wants(node) || !config.sends_on_presence() || !may_read(account, &me, config.access) {
                continue;
            }
            let Some(item) = items(&account.attrs, node).pop() else { continue };
            self.write_event(&owner, cx, |w| {
                w.start("items")
                    .attr("node", node)
                    .start("item")
                    .attr("id", item.id)
                    .raw(item.xml)
                    .end()
                    .end();
            });
        }
    }
}
