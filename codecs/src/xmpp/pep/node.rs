//! A node of an account's personal eventing and its items, kept as named values of the account.
//!
//! The node's configuration is one value, each item another; names are joined by U+0001, which no node or item id has.

use crate::xmpp::error::StanzaCondition;
use crate::xmpp::forms::{Field, Form, FormWriter};
use crate::xmpp::ns;
use crate::xmpp::writer::Writer;
use lavina_core::text::{Octets, Str};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The named values of an account.
pub(in crate::xmpp) type Attrs = BTreeMap<Str, Octets>;

const PREFIX: &str = "xmpp.pep\u{1}";

/// Bytes of a node's name, and of an item's id, at most; longer ones are refused.
const MAX_NAME: usize = 480;

/// What `max` items means.
pub(in crate::xmpp) const MAX_ITEMS: u32 = 1_000;

/// Who may read a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::xmpp) enum Access {
    Open,
    /// Who may see the owner's presence.
    Presence,
    /// The owner.
    Whitelist,
}

/// When the last item is sent without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendLast {
    Never,
    OnSub,
    OnPresence,
}

/// How a node behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xmpp) struct Config {
    pub access: Access,
    pub max: u32,
    pub persist: bool,
    send_last: SendLast,
    title: String,
}

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xmpp) struct Item<'a> {
    pub id: &'a str,
    /// Rises with each publishing in the node.
    pub seq: u64,
    /// The payload, with its namespace.
    pub xml: &'a [u8],
}

impl Access {
    const ALL: [(Access, &'static str); 3] =
        [(Access::Open, "open"), (Access::Presence, "presence"), (Access::Whitelist, "whitelist")];

    fn name(self) -> &'static str {
        Access::ALL.iter().find(|(a, _)| *a == self).map_or("", |(_, name)| name)
    }
}

impl SendLast {
    const ALL: [(SendLast, &'static str); 3] = [
        (SendLast::Never, "never"),
        (SendLast::OnSub, "on_sub"),
        (SendLast::OnPresence, "on_sub_and_presence"),
    ];

    fn name(self) -> &'static str {
        SendLast::ALL.iter().find(|(a, _)| *a == self).map_or("", |(_, name)| name)
    }
}

impl Config {
    /// How a node behaves unless its maker says otherwise. What clients keep for themselves is for the owner.
    pub(in crate::xmpp) fn of_new(node: &str) -> Config {
        let private = matches!(node, ns::BOOKMARKS | ns::BOOKMARKS_OLD | ns::MDS);
        let usual = Config {
            access: Access::Presence,
            max: 1,
            persist: true,
            send_last: SendLast::OnPresence,
            title: String::new(),
        };
        match private {
            true => Config { access: Access::Whitelist, max: MAX_ITEMS, send_last: SendLast::Never, ..usual },
            false => usual,
        }
    }

    /// The same as the fields of a form want it; fields that change nothing here are passed over.
    pub(in crate::xmpp) fn with(mut self, form: &Form) -> Result<Config, StanzaCondition> {
        let unsupported = StanzaCondition::NotAcceptable;
        for field in &form.fields {
            let Some(value) = field.values.first().map(String::as_str) else { continue };
            match field.var.as_str() {
                "pubsub#access_model" => {
                    self.access = named(&Access::ALL, value).ok_or(unsupported)?;
                }
                "pubsub#max_items" => {
                    self.max = match value {
                        "max" => MAX_ITEMS,
                        n => n.parse::<u32>().map_err(|_| unsupported)?.clamp(1, MAX_ITEMS),
                    };
                }
                "pubsub#persist_items" => {
                    self.persist = form.flag("pubsub#persist_items").ok_or(unsupported)?;
                }
                "pubsub#send_last_published_item" => {
                    self.send_last = named(&SendLast::ALL, value).ok_or(unsupported)?;
                }
                "pubsub#title" => self.title = value.chars().take(200).collect(),
                _ => {}
            }
        }
        Ok(self)
    }

    /// Whether the last item goes to whoever becomes available.
    pub(in crate::xmpp) fn sends_on_presence(&self) -> bool {
        self.send_last == SendLast::OnPresence
    }

    /// What others are told of the node (XEP-0060 §5.4).
    pub(in crate::xmpp) fn described(&self) -> Form {
        let field = |var: &str, kind: &str, value: &str| Field {
            var: var.into(),
            kind: kind.into(),
            values: vec![value.into()],
        };
        Form {
            kind: "result".into(),
            fields: vec![
                field("FORM_TYPE", "hidden", ns::PUBSUB_META_DATA),
                field("pubsub#title", "text-single", &self.title),
                field("pubsub#access_model", "list-single", self.access.name()),
            ],
        }
    }

    /// Writes it as a form.
    pub(in crate::xmpp) fn write(&self, w: &mut Writer<'_>, kind: &str) {
        let mut form = FormWriter::begin(w, kind, ns::PUBSUB_NODE_CONFIG);
        let options = |all: &[&'static str]| -> Vec<(&'static str, &'static str)> {
            all.iter().map(|o| (*o, *o)).collect()
        };
        form.field("pubsub#title", "text-single", "Title", &[&self.title]);
        let access = options(&Access::ALL.map(|a| a.1));
        form.choice("pubsub#access_model", "list-single", "Who may read it", &[self.access.name()], &access);
        form.flag("pubsub#persist_items", "Keep items", self.persist);
        form.field("pubsub#max_items", "text-single", "Items kept at most", &[&self.max.to_string()]);
        let send = options(&SendLast::ALL.map(|s| s.1));
        let var = "pubsub#send_last_published_item";
        form.choice(var, "list-single", "When the last item is sent", &[self.send_last.name()], &send);
        form.flag("pubsub#deliver_payloads", "Events have the item", true);
        form.flag("pubsub#notify_retract", "Events for removed items", true);
        form.end();
    }

    pub(in crate::xmpp) fn encode(&self) -> Octets {
        let (access, send) = (self.access.name(), self.send_last.name());
        Octets::from(format!("{access} {} {} {send} {}", self.max, u8::from(self.persist), self.title))
    }

    fn decode(bytes: &[u8]) -> Option<Config> {
        let mut parts = std::str::from_utf8(bytes).ok()?.splitn(5, ' ');
        Some(Config {
            access: named(&Access::ALL, parts.next()?)?,
            max: parts.next()?.parse().ok()?,
            persist: parts.next()? == "1",
            send_last: named(&SendLast::ALL, parts.next()?)?,
            title: parts.next()?.to_owned(),
        })
    }
}

fn named<T: Copy>(all: &[(T, &'static str)], name: &str) -> Option<T> {
    all.iter().find(|(_, n)| *n == name).map(|(value, _)| *value)
}

/// Whether this can name a node or an item.
pub(in crate::xmpp) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The name of the value that has a node's configuration.
pub(in crate::xmpp) fn config_key(node: &str) -> Str {
    Str::new(format!("{PREFIX}{node}"))
}

/// The name of the value that has an item.
pub(in crate::xmpp) fn item_key(node: &str, id: &str) -> Str {
    Str::new(format!("{PREFIX}{node}\u{1}{id}"))
}

/// An item's value.
pub(in crate::xmpp) fn item_value(seq: u64, xml: &[u8]) -> Octets {
    Octets::from([&seq.to_be_bytes()[..], xml].concat())
}

/// The node, if there is one of that name.
pub(in crate::xmpp) fn config(attrs: &Attrs, node: &str) -> Option<Config> {
    attrs.get(config_key(node).as_str()).and_then(|bytes| Config::decode(bytes))
}

/// All nodes.
pub(in crate::xmpp) fn nodes(attrs: &Attrs) -> impl Iterator<Item = (&str, Config)> {
    below(attrs, PREFIX).filter_map(|(name, bytes)| {
        (!name.contains('\u{1}')).then(|| Some((name, Config::decode(bytes)?)))?
    })
}

/// The items of a node, the latest last.
pub(in crate::xmpp) fn items<'a>(attrs: &'a Attrs, node: &str) -> Vec<Item<'a>> {
    let mut items: Vec<Item<'a>> = below(attrs, &format!("{PREFIX}{node}\u{1}"))
        .filter_map(|(id, bytes)| {
            let (seq, xml) = bytes.split_first_chunk::<8>()?;
            Some(Item { id, seq: u64::from_be_bytes(*seq), xml })
        })
        .collect();
    items.sort_by_key(|item| item.seq);
    items
}

/// The item published last.
pub(in crate::xmpp) fn last_item<'a>(attrs: &'a Attrs, node: &str) -> Option<Item<'a>> {
    items(attrs, node).pop()
}

/// One item.
pub(in crate::xmpp) fn item<'a>(attrs: &'a Attrs, node: &str, id: &str) -> Option<&'a [u8]> {
    attrs.get(item_key(node, id).as_str())?.get(8..)
}

/// The values whose names begin so, under the rest of their names.
fn below<'a>(attrs: &'a Attrs, prefix: &str) -> impl Iterator<Item = (&'a str, &'a Octets)> {
    let prefix = prefix.to_owned();
    attrs
        .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
        .map_while(move |(key, value)| Some((key.as_str().strip_prefix(prefix.as_str())?, value)))
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::xmpp::forms::Field;

    fn form(fields: &[(&str, &str)]) -> Form {
        let field = |(var, value): &(&str, &str)| Field {
            var: (*var).to_owned(),
            kind: String::new(),
            values: vec![(*value).to_owned()],
        };
        Form { kind: "submit".into(), fields: fields.iter().map(field).collect() }
    }

    #[test]
    fn a_configuration_is_kept_as_it_is() {
        let wanted = form(&[
            ("pubsub#access_model", "open"),
            ("pubsub#max_items", "max"),
            ("pubsub#send_last_published_item", "never"),
            ("pubsub#title", "a b"),
            ("pubsub#odd", "x"),
        ]);
        let config = Config::of_new("urn:x").with(&wanted).unwrap();
        assert_eq!((config.access, config.max, config.sends_on_presence()), (Access::Open, MAX_ITEMS, false));
        assert_eq!(Config::decode(&config.encode()), Some(config));
        assert_eq!(Config::of_new(ns::BOOKMARKS).access, Access::Whitelist);
        for bad in [("pubsub#access_model", "authorize"), ("pubsub#max_items", "many")] {
            assert_eq!(Config::of_new("x").with(&form(&[bad])), Err(StanzaCondition::NotAcceptable));
        }
    }

    #[test]
    fn nodes_and_items_are_found() {
        let mut attrs = Attrs::new();
        let config = Config::of_new("a");
        for node in ["a", "a/b"] {
            attrs.insert(config_key(node), config.encode());
        }
        attrs.insert(item_key("a", "2"), item_value(1, b"<one/>"));
        attrs.insert(item_key("a", "1"), item_value(2, b"<two/>"));
        attrs.insert(item_key("a/b", "3"), item_value(3, b"<three/>"));
        attrs.insert(Str::new("xmpp.q"), Octets::from(b"x"));
        assert_eq!(nodes(&attrs).map(|n| n.0).collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(items(&attrs, "a").iter().map(|i| i.id).collect::<Vec<_>>(), ["2", "1"]);
        assert_eq!(item(&attrs, "a/b", "3"), Some(&b"<three/>"[..]));
        assert!(config_of_none(&attrs));
    }

    fn config_of_none(attrs: &Attrs) -> bool {
        config(attrs, "b").is_none() && items(attrs, "b").is_empty()
    }

    #[test]
    fn names_are_clean() {
        assert!(is_name("urn:x#y z") && !is_name("") && !is_name("a\u{1}b") && !is_name(&"x".repeat(500)));
    }
}
