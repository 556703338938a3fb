//! Bookmarks of rooms (XEP-0402): items of personal eventing; private storage (XEP-0048) shows and changes the same
//! ones. A bookmark with autojoin is what keeps an account in a room that it sits in with no session.

use crate::session::Cx;
use crate::xmpp::address::{Place, place};
use crate::xmpp::framer::XmlLimits;
use crate::xmpp::jid::Jid;
use crate::xmpp::ns;
use crate::xmpp::pep::{self, Attrs, Change};
use crate::xmpp::session::Xmpp;
use crate::xmpp::xml::{Element, Node, Scope};
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::ids::RoomId;
use lavina_core::name::NameKey;
use lavina_core::policy::Membership;
use lavina_core::query::{Query, Value};

/// Whether there is a bookmark with autojoin for the room of that address.
pub(super) fn keeps(attrs: &Attrs, room: &str) -> bool {
    let bookmark = pep::item(attrs, ns::BOOKMARKS, room);
    let bookmark = bookmark.and_then(|xml| Scope::usual().parse(xml, &XmlLimits::MEMBER).ok());
    bookmark.is_some_and(|conference| is_autojoin(&conference))
}

/// The rooms that there are bookmarks for.
pub(super) fn all(attrs: &Attrs) -> Vec<String> {
    pep::items(attrs, ns::BOOKMARKS).iter().map(|item| item.id.to_owned()).collect()
}

fn is_autojoin(conference: &Element) -> bool {
    matches!(conference.attr("autojoin"), Some("true" | "1"))
}

/// The same element with all that is in it, from one namespace into the other.
fn moved(el: &Element, from: &str, to: &str) -> Element {
    let mut out = Element::new(&el.name, if el.ns == from { to } else { &el.ns });
    out.attrs.clone_from(&el.attrs);
    out.children = el
        .children
        .iter()
        .map(|child| match child {
            Node::Element(child) if child.ns == from => Node::Element(moved(child, from, to)),
            other => other.clone(),
        })
        .collect();
    out
}

/// Private storage as it is shown: what was stored there, with the bookmarks of rooms as they are now.
pub(super) fn to_storage(attrs: &Attrs, stored: Option<&[u8]>) -> Element {
    let stored = stored.and_then(|xml| Scope::usual().parse(xml, &XmlLimits::MEMBER).ok());
    let mut storage = stored.unwrap_or_else(|| Element::new("storage", ns::BOOKMARKS_OLD));
    storage.remove_children(|el| el.is("conference", ns::BOOKMARKS_OLD));
    pep::items(attrs, ns::BOOKMARKS).iter().fold(storage, |storage, item| {
        match Scope::usual().parse(item.xml, &XmlLimits::MEMBER) {
            Ok(conference) => {
                let mut conference = moved(&conference, ns::BOOKMARKS, ns::BOOKMARKS_OLD);
                conference.set_attr("jid", item.id);
                storage.with_child(conference)
            }
            Err(_) => storage,
        }
    })
}

/// The changes that make the bookmarks those of private storage. Each tells the other sessions.
pub(super) fn from_storage(attrs: &Attrs, storage: &Element, now: u64) -> Vec<Change> {
    let wanted: Vec<(String, Element)> = storage
        .children_named("conference", ns::BOOKMARKS_OLD)
        .filter_map(|el| {
            let jid = Jid::new(el.attr("jid")?).ok()?.bare().to_string();
            let mut conference = moved(el, ns::BOOKMARKS_OLD, ns::BOOKMARKS);
            conference.remove_attr("jid");
            Some((jid, conference))
        })
        .collect();
    let mut changes = Vec::new();
    let gone: Vec<&str> = pep::items(attrs, ns::BOOKMARKS)
        .iter()
        .map(|item| item.id)
        .filter(|id| !wanted.iter().any(|(jid, _)| jid == id))
        .collect();
    if let Some(config) = pep::config(attrs, ns::BOOKMARKS).filter(|_| !gone.is_empty()) {
        changes.push(pep::retracting(ns::BOOKMARKS, &config, &gone));
    }
    for (n, (jid, conference)) in wanted.iter().enumerate() {
        let xml = conference.to_xml("");
        let known = pep::item(attrs, ns::BOOKMARKS, jid);
        let same = known
            .is_some_and(|known| Scope::usual().parse(known, &XmlLimits::MEMBER).as_ref() == Ok(conference));
        if !same {
            changes.extend(pep::publishing(attrs, ns::BOOKMARKS, jid, &xml, None, now + n as u64).ok());
        }
    }
    changes
}

impl Xmpp {
    /// Bookmarks changed: where one no longer says so and no session sits, the account leaves.
    pub(super) fn bookmarks_changed(&mut self, rooms: Vec<String>, cx: &mut Cx<'_>) {
        for room in rooms {
            let domain = &cx.core_settings().domain;
            if let Some(Place::Room(name, _)) = Jid::new(&room).ok().map(|jid| place(&jid, domain)) {
                self.ask(Query::Resolve(NameKey::Room(name)), cx, move |session, reply, cx| {
                    if let Ok(Value::Id(id)) = reply {
                        session.leave_unless_kept(RoomId(id), room, cx);
                    }
                });
            }
        }
    }

    /// Leaves a room where no session of the account sits, unless a bookmark keeps it there. By its id: the question
    /// goes the way that the session's own going went, and cannot overtake it. Reading stops until it is asked for,
    /// so that a client that comes in again at once does not come in before it has left.
    pub(super) fn leave_unless_kept(&mut self, room: RoomId, jid: String, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().cloned() else { return };
        self.hold(true, cx);
        self.ask(Query::Account(me.id), cx, move |session, reply, cx| {
            match reply {
                Ok(Value::Account(account)) if !keeps(&account.attrs, &jid) => {}
                _ => return session.hold(false, cx),
            }
            session.ask(Query::Room(room), cx, move |session, reply, cx| {
                let Ok(Value::Room(view)) = reply else { return session.hold(false, cx) };
                let member = view.members.get(&me.id);
                let joined = member.is_some_and(|m| m.standing.membership == Membership::Joined);
                if joined && !view.here.contains_key(&me.id) {
                    let act = Act::Leave { reason: None, quit: false, same: 0 };
                    let command = Command::by(&me, EntityId::Room(view.id), act);
                    session.command(command, false, cx, |_, _, _| {});
                }
                session.hold(false, cx);
            });
        });
    }

    /// Carries out changes one after the other; `then` is told whether all were.
    pub(super) fn pep_changes(
        &mut self,
        mut changes: Vec<Change>,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, bool, &mut Cx<'_>) + Send + 'static,
    ) {
        if changes.is_empty() {
            return then(self, true, cx);
        }
        let change = changes.remove(0);
        self.pep_change(change, cx, move |session, outcome, cx| match outcome.refusal() {
            None => session.pep_changes(changes, cx, then),
            Some(_) => then(session, false, cx),
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn element(xml: &str) -> Element {
        Scope::usual().parse(xml.as_bytes(), &XmlLimits::MEMBER).unwrap()
    }

    fn apply(attrs: &mut Attrs, changes: Vec<Change>) {
        for (key, value) in changes.into_iter().flat_map(|c| c.values) {
            match value.is_empty() {
                true => attrs.remove(&key),
                false => attrs.insert(key, value),
            };
        }
    }

    #[test]
    fn private_storage_and_items_are_the_same_bookmarks() {
        let mut attrs = Attrs::new();
        let storage = element(
            "<storage xmlns='storage:bookmarks'><url name='u' url='http://x'/><conference jid='a@r.x' name='A' \
             autojoin='true'><nick>al</nick></conference><conference jid='b@r.x'/></storage>",
        );
        let changes = from_storage(&attrs, &storage, 1);
        apply(&mut attrs, changes);
        assert!(keeps(&attrs, "a@r.x") && !keeps(&attrs, "b@r.x") && !keeps(&attrs, "c@r.x"));
        let item = pep::item(&attrs, ns::BOOKMARKS, "a@r.x").unwrap();
        assert_eq!(
            String::from_utf8_lossy(item),
            "<conference xmlns='urn:xmpp:bookmarks:1' name='A' autojoin='true'><nick>al</nick></conference>"
        );
        let shown = to_storage(&attrs, Some(&storage.to_xml(ns::PRIVATE)));
        assert_eq!(shown.elements().count(), 3);
        assert_eq!(shown.elements().last().and_then(|el| el.attr("jid")), Some("b@r.x"));
        assert!(from_storage(&attrs, &shown, 9).is_empty());
        let fewer = element("<storage xmlns='storage:bookmarks'><conference jid='b@r.x'/></storage>");
        let changes = from_storage(&attrs, &fewer, 9);
        apply(&mut attrs, changes);
        assert_eq!(pep::items(&attrs, ns::BOOKMARKS).len(), 1);
    }
}
