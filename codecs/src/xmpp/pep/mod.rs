//! Personal eventing (XEP-0163): the subset of publish-subscribe (XEP-0060) that an account offers.
//!
//! Nodes and items are named values of the account, so one command publishes all or nothing and tells those who may
//! know. Who wants what is known from the clients' capabilities, each session knowing its own client's.

mod displayed;
mod node;
mod notify;

pub(super) use node::{Attrs, config, item, item_key, items, last_item, nodes};
pub use notify::Client;

use crate::session::{Cx, XMPP_NATIVE};
use crate::xmpp::address::Place;
use crate::xmpp::caps::{Identity, Info};
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::forms::Form;
use crate::xmpp::iq::Iq;
use crate::xmpp::ns;
use crate::xmpp::session::{Outcome, Xmpp, random_name};
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience};
use lavina_core::event::Native;
use lavina_core::name::User;
use lavina_core::query::{Query, Value};
use lavina_core::text::{Octets, Str};
use node::{Access, Config, config_key, is_name, item_value};
use std::sync::Arc;

/// What of publish-subscribe is offered (XEP-0060 §10), without the namespace in front.
pub(super) const FEATURES: &[&str] = &[
    "access-open",
    "access-presence",
    "access-whitelist",
    "auto-create",
    "auto-subscribe",
    "config-node",
    "config-node-max",
    "create-and-configure",
    "create-nodes",
    "delete-items",
    "delete-nodes",
    "filtered-notifications",
    "item-ids",
    "last-published",
    "meta-data",
    "multi-items",
    "persistent-items",
    "presence-subscribe",
    "publish",
    "publish-options",
    "purge-nodes",
    "retract-items",
    "retrieve-affiliations",
    "retrieve-default",
    "retrieve-items",
    "retrieve-subscriptions",
];

/// A change of an account's nodes: what is stored, who is told, what they are told.
pub(super) struct Change {
    pub values: Vec<(Str, Octets)>,
    pub tell: Audience,
    /// The node, and what happened to it as it stands in an event; none: nobody is told.
    pub event: Option<(Str, Vec<u8>)>,
}

/// `pubsub` and `pubsub#owner`.
pub(super) fn pubsub(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let Place::User(name, _) = iq.place.clone() else { return };
    let own = cx.user().is_some_and(|me| me.name == name);
    let owner = iq.payload().ns == ns::PUBSUB_OWNER;
    if !own && (iq.set || owner) {
        return session.iq_error(&iq, &StanzaCondition::Forbidden.into(), cx);
    }
    session.ask(Query::AccountNamed(name), cx, move |session, reply, cx| {
        let account = match reply {
            Ok(Value::Account(account)) => account,
            Ok(_) => return session.iq_error(&iq, &StanzaCondition::InternalServerError.into(), cx),
            Err(refusal) => return session.iq_error(&iq, &StanzaError::from(&refusal), cx),
        };
        // Whom the account has blocked it answers nothing (XEP-0191 §3.6).
        if session.blocked_by(&account, cx) {
            return session.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx);
        }
        match (iq.set, owner) {
            (true, false) => session.pep_set(iq, &account, cx),
            (true, true) => session.pep_owner_set(iq, &account, cx),
            (false, true) => owner_get(session, &iq, &account, cx),
            (false, false) => get(session, &iq, &account, cx),
        }
    });
}

/// Whether somebody may read a node of an account.
pub(super) fn may_read(account: &Account, reader: &User, access: Access) -> bool {
    let own = account.id == reader.id;
    let contact = || account.contacts.get(reader.name.folded().as_str()).is_some_and(|c| c.from);
    match access {
        Access::Open => true,
        Access::Presence => own || contact(),
        Access::Whitelist => own,
    }
}

fn no_node() -> StanzaError {
    StanzaCondition::ItemNotFound.into()
}

/// A request that does not say enough, or too much, and its own name for that (XEP-0060).
fn bad(detail: &'static str) -> StanzaError {
    StanzaError::from(StanzaCondition::BadRequest).detail(detail, ns::PUBSUB_ERRORS)
}

/// The node that a request is about, if there is one; named it must be.
fn node_of(account: &Account, what: &Element) -> Result<Config, StanzaError> {
    match what.attr("node").filter(|node| !node.is_empty()) {
        None => Err(bad("nodeid-required")),
        Some(node) => config(&account.attrs, node).ok_or_else(no_node),
    }
}

/// What a node is (XEP-0060 §5.3, §5.4).
pub(super) fn described(config: &Config) -> Info {
    Info {
        identities: vec![Identity::new("pubsub", "leaf", "")],
        features: vec![ns::DISCO_INFO.to_owned(), ns::PUBSUB.to_owned()],
        forms: vec![config.described()],
    }
}

/// Reads items, or what there is to read of one's own subscriptions: none, as all follow from presence.
fn get(session: &mut Xmpp, iq: &Iq, account: &Account, cx: &mut Cx<'_>) {
    let Some(me) = cx.user().cloned() else { return };
    let Some(wanted) = iq.payload().child("items", ns::PUBSUB) else {
        let what = iq.payload().elements().next().map(|el| el.name.clone());
        return match what.as_deref() {
            Some(list @ ("subscriptions" | "affiliations")) => {
                let mine = list == "affiliations" && account.id == me.id;
                session.iq_result(iq, cx, |w| {
                    w.start_ns("pubsub", ns::PUBSUB).start(list);
                    for (node, _) in nodes(&account.attrs).filter(|_| mine) {
                        w.start("affiliation").attr("node", node).attr("affiliation", "owner").end();
                    }
                    w.end().end();
                });
            }
            Some("default") => session.iq_result(iq, cx, |w| {
                w.start_ns("pubsub", ns::PUBSUB).start("default");
                Config::of_new("").write(w, "form");
                w.end().end();
            }),
            _ => session.iq_error(iq, &StanzaCondition::FeatureNotImplemented.into(), cx),
        };
    };
    let node = wanted.attr("node").unwrap_or_default();
    let config = match node_of(account, wanted) {
        Ok(config) => config,
        Err(error) => return session.iq_error(iq, &error, cx),
    };
    if !may_read(account, &me, config.access) {
        let error = match config.access {
            Access::Whitelist => {
                StanzaError::from(StanzaCondition::NotAllowed).detail("closed-node", ns::PUBSUB_ERRORS)
            }
            _ => StanzaError::from(StanzaCondition::NotAuthorized)
                .detail("presence-subscription-required", ns::PUBSUB_ERRORS),
        };
        return session.iq_error(iq, &error, cx);
    }
    let all = items(&account.attrs, node);
    let ids: Vec<&str> = wanted.children_named("item", ns::PUBSUB).filter_map(|i| i.attr("id")).collect();
    let max = wanted.attr("max_items").and_then(|n| n.parse::<usize>().ok()).unwrap_or(usize::MAX);
    let from = all.len().saturating_sub(max);
    session.iq_result(iq, cx, |w| {
        w.start_ns("pubsub", ns::PUBSUB).start("items").attr("node", node);
        for item in all.iter().skip(from).filter(|i| ids.is_empty() || ids.contains(&i.id)) {
            let xml = if node == ns::MDS { displayed::current(account, item) } else { item.xml.into() };
            w.start("item").attr("id", item.id).raw(&xml).end();
        }
        w.end().end();
    });
}

fn owner_get(session: &mut Xmpp, iq: &Iq, account: &Account, cx: &mut Cx<'_>) {
    let Some(what) = iq.payload().elements().next() else {
        return session.iq_error(iq, &StanzaCondition::BadRequest.into(), cx);
    };
    let shown = match what.name.as_str() {
        "default" => Ok(Config::of_new("")),
        "configure" | "affiliations" | "subscriptions" => node_of(account, what),
        _ => Err(StanzaCondition::FeatureNotImplemented.into()),
    };
    let config = match shown {
        Ok(config) => config,
        Err(error) => return session.iq_error(iq, &error, cx),
    };
    let bare = session.bare().to_owned();
    session.iq_result(iq, cx, |w| {
        w.start_ns("pubsub", ns::PUBSUB_OWNER).start(&what.name).opt_attr("node", what.attr("node"));
        match what.name.as_str() {
            "affiliations" => {
                w.start("affiliation").attr("jid", &bare).attr("affiliation", "owner").end();
            }
            "subscriptions" => {}
            _ => config.write(w, "form"),
        }
        w.end().end();
    });
}

impl Xmpp {
    fn pep_set(&mut self, iq: Iq, account: &Arc<Account>, cx: &mut Cx<'_>) {
        let payload = iq.payload().clone();
        let child = |name| payload.child(name, ns::PUBSUB);
        match (child("publish"), child("retract"), child("create")) {
            (Some(publish), _, _) => self.publish(iq, account, publish, child("publish-options"), cx),
            (_, Some(retract), _) => self.retract(iq, account, retract, cx),
            (_, _, Some(create)) => self.create_node(iq, account, create, child("configure"), cx),
            _ => self.iq_error(&iq, &StanzaCondition::FeatureNotImplemented.into(), cx),
        }
    }

    fn publish(
        &mut self,
        iq: Iq,
        account: &Arc<Account>,
        publish: &Element,
        options: Option<&Element>,
        cx: &mut Cx<'_>,
    ) {
        let node = publish.attr("node").unwrap_or_default().to_owned();
        let mut given = publish.children_named("item", ns::PUBSUB);
        if node.is_empty() {
            return self.iq_error(&iq, &bad("nodeid-required"), cx);
        }
        let (Some(item), None) = (given.next(), given.next()) else {
            return self.iq_error(&iq, &bad("item-required"), cx);
        };
        match item.elements().count() {
            0 => return self.iq_error(&iq, &bad("payload-required"), cx),
            1 => {}
            _ => return self.iq_error(&iq, &bad("invalid-payload"), cx),
        }
        let id = item.attr("id").filter(|id| !id.is_empty());
        let id = id.map_or_else(|| random_name(cx).to_string(), str::to_owned);
        if !is_name(&node) || !is_name(&id) {
            return self.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx);
        }
        let xml = item.elements().next().map(|payload| payload.to_xml("")).unwrap_or_default();
        let form = options.and_then(Form::in_element);
        let change = match publishing(&account.attrs, &node, &id, &xml, form.as_ref(), cx.now().wall.0) {
            Ok(change) => change,
            Err(error) => return self.iq_error(&iq, &error, cx),
        };
        self.pep_change(change, cx, move |session, outcome, cx| {
            if outcome.refusal().is_none() {
                if node == ns::BOOKMARKS {
                    session.bookmarks_changed(vec![id.clone()], cx);
                }
                if node == ns::MDS {
                    session.displayed_published(&xml, cx);
                }
                session.iq_result(&iq, cx, |w| {
                    w.start_ns("pubsub", ns::PUBSUB).start("publish").attr("node", &node);
                    w.start("item").attr("id", &id).end().end().end();
                });
            } else {
                session.finish(&iq, &outcome, cx);
            }
        });
    }

    fn retract(&mut self, iq: Iq, account: &Account, retract: &Element, cx: &mut Cx<'_>) {
        let node = retract.attr("node").unwrap_or_default();
        let config = match node_of(account, retract) {
            Ok(config) => config,
            Err(error) => return self.iq_error(&iq, &error, cx),
        };
        let ids: Vec<&str> =
            retract.children_named("item", ns::PUBSUB).filter_map(|i| i.attr("id")).collect();
        if ids.is_empty() {
            return self.iq_error(&iq, &bad("item-required"), cx);
        }
        if ids.iter().any(|id| item(&account.attrs, node, id).is_none()) {
            return self.iq_error(&iq, &no_node(), cx);
        }
        let change = retracting(node, &config, &ids);
        let rooms =
            if node == ns::BOOKMARKS { ids.iter().map(|id| (*id).to_owned()).collect() } else { Vec::new() };
        self.pep_change(change, cx, move |session, outcome, cx| {
            session.finish(&iq, &outcome, cx);
            session.bookmarks_changed(rooms, cx);
        });
    }

    fn create_node(
        &mut self,
        iq: Iq,
        account: &Account,
        create: &Element,
        configure: Option<&Element>,
        cx: &mut Cx<'_>,
    ) {
        let node = create.attr("node").map_or_else(|| random_name(cx).to_string(), str::to_owned);
        if !is_name(&node) {
            return self.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx);
        }
        if config(&account.attrs, &node).is_some() {
            return self.iq_error(&iq, &StanzaCondition::Conflict.into(), cx);
        }
        let new = match configure.and_then(Form::in_element) {
            Some(form) => Config::of_new(&node).with(&form),
            None => Ok(Config::of_new(&node)),
        };
        let new = match new {
            Ok(new) => new,
            Err(condition) => return self.iq_error(&iq, &condition.into(), cx),
        };
        let values = vec![(config_key(&node), new.encode())];
        let change = Change { values, tell: Audience::Nobody, event: None };
        self.pep_change(change, cx, move |session, outcome, cx| match outcome.refusal() {
            None => session.iq_result(&iq, cx, |w| {
                w.start_ns("pubsub", ns::PUBSUB).start("create").attr("node", &node).end().end();
            }),
            Some(_) => session.finish(&iq, &outcome, cx),
        });
    }

    fn pep_owner_set(&mut self, iq: Iq, account: &Account, cx: &mut Cx<'_>) {
        let Some(what) = iq.payload().elements().next().cloned() else {
            return self.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx);
        };
        let node = what.attr("node").unwrap_or_default();
        let old = match node_of(account, &what) {
            Ok(old) => old,
            Err(error) => return self.iq_error(&iq, &error, cx),
        };
        let gone =
            || items(&account.attrs, node).into_iter().map(|i| (item_key(node, i.id), Octets::default()));
        let change = match what.name.as_str() {
            "delete" => {
                let mut values: Vec<_> = gone().collect();
                values.push((config_key(node), Octets::default()));
                change(&old, values, node, |w| {
                    w.start("delete").attr("node", node).end();
                })
            }
            "purge" => change(&old, gone().collect(), node, |w| {
                w.start("purge").attr("node", node).end();
            }),
            "configure" => match Form::in_element(&what) {
                Some(form) if form.is_cancel() => return self.iq_result(&iq, cx, |_| {}),
                Some(form) => match old.with(&form) {
                    Ok(new) => {
                        let mut values = vec![(config_key(node), new.encode())];
                        values.extend(surplus(&account.attrs, node, &new, None));
                        Change { values, tell: Audience::Nobody, event: None }
                    }
                    Err(condition) => return self.iq_error(&iq, &condition.into(), cx),
                },
                None => return self.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx),
            },
            _ => return self.iq_error(&iq, &StanzaCondition::FeatureNotImplemented.into(), cx),
        };
        self.pep_change(change, cx, move |session, outcome, cx| session.finish(&iq, &outcome, cx));
    }

    /// Carries out a change of the account's nodes.
    pub(super) fn pep_change(
        &mut self,
        change: Change,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Outcome<'_>, &mut Cx<'_>) + Send + 'static,
    ) {
        let native = change.event.map(|(node, xml)| Native {
            protocol: XMPP_NATIVE,
            bytes: Octets::from([node.as_bytes(), b"\n", &xml].concat()),
        });
        let tell = if native.is_some() { change.tell } else { Audience::Nobody };
        self.own(Act::SetAttrs { values: change.values, tell, native }, cx, then);
    }
}

/// What publishing an item comes to. A node that is not there is made as the options want it; one that is there must be
/// as they say (XEP-0060 §7.1.5).
pub(super) fn publishing(
    attrs: &Attrs,
    node: &str,
    id: &str,
    xml: &[u8],
    options: Option<&Form>,
    now: u64,
) -> Result<Change, StanzaError> {
    let old = config(attrs, node);
    let base = old.clone().unwrap_or_else(|| Config::of_new(node));
    let config = match options {
        Some(form) => base.with(form)?,
        None => base,
    };
    if old.as_ref().is_some_and(|old| *old != config) {
        return Err(
            StanzaError::from(StanzaCondition::Conflict).detail("precondition-not-met", ns::PUBSUB_ERRORS)
        );
    }
    let last = items(attrs, node).last().map_or(0, |item| item.seq);
    let mut values = Vec::new();
    if old.is_none() {
        values.push((config_key(node), config.encode()));
    }
    if config.persist {
        values.push((item_key(node, id), item_value(now.max(last + 1), xml)));
        values.extend(surplus(attrs, node, &config, Some(id)));
    }
    Ok(change(&config, values, node, |w| {
        w.start("items").attr("node", node).start("item").attr("id", id).raw(xml).end().end();
    }))
}

/// What taking items back comes to.
pub(super) fn retracting(node: &str, config: &Config, ids: &[&str]) -> Change {
    let values = ids.iter().map(|id| (item_key(node, id), Octets::default())).collect();
    change(config, values, node, |w| {
        w.start("items").attr("node", node);
        for id in ids {
            w.start("retract").attr("id", id).end();
        }
        w.end();
    })
}

/// The oldest items that have to go, with the one of id `new` added or replaced.
fn surplus(attrs: &Attrs, node: &str, config: &Config, new: Option<&str>) -> Vec<(Str, Octets)> {
    let others: Vec<_> = items(attrs, node).into_iter().filter(|i| Some(i.id) != new).collect();
    let room = (config.max as usize).saturating_sub(usize::from(new.is_some()));
    let too_many = others.len().saturating_sub(room);
    others.into_iter().take(too_many).map(|i| (item_key(node, i.id), Octets::default())).collect()
}

fn change(
    config: &Config,
    values: Vec<(Str, Octets)>,
    node: &str,
    build: impl FnOnce(&mut Writer<'_>),
) -> Change {
    let mut xml = Vec::new();
    build(&mut Writer::within(&mut xml, ns::PUBSUB_EVENT));
    let tell = if config.access == Access::Whitelist { Audience::Own } else { Audience::Contacts };
    Change { values, tell, event: Some((Str::new(node), xml)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::xmpp::forms::Field;

    fn apply(attrs: &mut Attrs, change: &Change) {
        for (key, value) in &change.values {
            match value.is_empty() {
                true => attrs.remove(key),
                false => attrs.insert(key.clone(), value.clone()),
            };
        }
    }

    #[test]
    fn the_newest_items_stay() {
        let mut attrs = Attrs::new();
        let field = |var: &str, value: &str| Field {
            var: var.into(),
            kind: String::new(),
            values: vec![value.into()],
        };
        let two = Form { kind: "submit".into(), fields: vec![field("pubsub#max_items", "2")] };
        for id in ["a", "b", "c", "b"] {
            let change = publishing(&attrs, "n", id, b"<x xmlns='u'/>", Some(&two), 5).unwrap();
            apply(&mut attrs, &change);
        }
        assert_eq!(items(&attrs, "n").iter().map(|i| i.id).collect::<Vec<_>>(), ["c", "b"]);
        let three = Form { kind: "submit".into(), fields: vec![field("pubsub#max_items", "3")] };
        let error = publishing(&attrs, "n", "d", b"", Some(&three), 6).err().unwrap();
        assert_eq!(error.detail, Some(("precondition-not-met", ns::PUBSUB_ERRORS)));
        let config = config(&attrs, "n").unwrap();
        apply(&mut attrs, &retracting("n", &config, &["c"]));
        assert_eq!(items(&attrs, "n").len(), 1);
    }
}
