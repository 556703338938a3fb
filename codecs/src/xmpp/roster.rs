//! The contact list (RFC 6121 §2).

use crate::session::Cx;
use crate::xmpp::address::{Place, from_core, place, to_core};
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::iq::Iq;
use crate::xmpp::jid::Jid;
use crate::xmpp::ns;
use crate::xmpp::session::{Xmpp, random_name};
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use lavina_core::command::Act;
use lavina_core::ids::Pos;
use lavina_core::presence::Contact;
use lavina_core::query::{Query, Value};
use lavina_core::text::Str;

/// Bytes of a contact's or a group's name at most.
const MAX_NAME: usize = 1023;

/// Groups of one contact at most.
const MAX_GROUPS: usize = 32;

/// Nobody reads or changes the list of another (RFC 6121 §2.3.3), whether there is such an account or not.
pub(super) fn of_another(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    session.iq_error(&iq, &StanzaCondition::Forbidden.into(), cx);
}

/// `jabber:iq:roster`.
pub(super) fn query(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    if iq.set { set(session, iq, cx) } else { get(session, iq, cx) }
}

fn get(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let Some(me) = cx.user().map(|me| me.id) else { return };
    if let Some(bound) = &mut session.bound {
        bound.interested = true;
    }
    session.ask(Query::Account(me), cx, move |session, reply, cx| match reply {
        Ok(Value::Account(account)) => {
            let domain = &cx.core_settings().domain;
            let version = version_of(account.head.as_ref().map_or(Pos::ZERO, |head| head.listed));
            // The client has this very list (RFC 6121 §2.6.2).
            if iq.payload().attr("ver") == Some(version.as_str()) {
                return session.iq_result(&iq, cx, |_| {});
            }
            session.iq_result(&iq, cx, |w| {
                w.start_ns("query", ns::ROSTER).attr("ver", &version);
                for contact in account.contacts.values().filter(|c| c.listed) {
                    item(w, contact, domain);
                }
                w.end();
            });
        }
        Ok(_) => session.iq_error(&iq, &StanzaCondition::InternalServerError.into(), cx),
        Err(refusal) => session.iq_error(&iq, &StanzaError::from(&refusal), cx),
    });
}

fn set(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let mut items = iq.payload().children_named("item", ns::ROSTER);
    let (Some(item), None) = (items.next().cloned(), items.next()) else {
        return session.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx);
    };
    let jid = match item.attr("jid").map(Jid::new) {
        Some(Ok(jid)) => jid,
        Some(Err(_)) => return session.iq_error(&iq, &StanzaCondition::JidMalformed.into(), cx),
        None => return session.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx),
    };
    drop(items);
    let jid = jid.bare();
    let domain = &cx.core_settings().domain;
    let address = to_core(&jid, domain);
    if item.attr("subscription") == Some("remove") {
        let act = Act::RemoveContact { address };
        return session.own(act, cx, move |session, outcome, cx| session.finish(&iq, &outcome, cx));
    }
    let name = item.attr("name").filter(|n| !n.is_empty()).map(Str::new);
    let groups = match groups_of(&item, name.as_ref()) {
        Ok(groups) => groups,
        Err(error) => return session.iq_error(&iq, &error, cx),
    };
    if cx.user().is_some_and(|me| matches!(place(&jid, domain), Place::User(name, _) if name == me.name)) {
        return session.iq_error(&iq, &StanzaCondition::NotAllowed.into(), cx);
    }
    let set = move |session: &mut Xmpp, account, cx: &mut Cx<'_>| {
        let act = Act::SetContact { address, account, name, groups };
        session.own(act, cx, move |session, outcome, cx| session.finish(&iq, &outcome, cx));
    };
    match place(&jid, domain) {
        Place::User(user, _) => {
            session.with_user(user, cx, |session, user, cx| set(session, user.map(|u| u.id), cx));
        }
        _ => set(session, None, cx),
    }
}

/// The groups that an item names, sorted (RFC 6121 §2.3.3: none twice, none without a name, none too long).
fn groups_of(item: &Element, name: Option<&Str>) -> Result<Vec<Str>, StanzaError> {
    let named = item.children_named("group", ns::ROSTER).map(|group| Str::new(&*group.text()));
    let mut groups: Vec<Str> = named.collect();
    groups.sort_unstable();
    if groups.windows(2).any(|two| two[0] == two[1]) {
        return Err(StanzaError::new(StanzaCondition::BadRequest, "a group is named twice"));
    }
    let fits = |name: &Str| name.len() <= MAX_NAME;
    if groups.len() > MAX_GROUPS
        || groups.iter().any(|group| group.is_empty())
        || !groups.iter().chain(name).all(fits)
    {
        let text = "a name or a group is empty or too long, or there are too many groups";
        return Err(StanzaError::new(StanzaCondition::NotAcceptable, text));
    }
    Ok(groups)
}

impl Xmpp {
    /// An entry of the list changed: tells the client, if it has asked for the list.
    pub(super) fn roster_push(&mut self, contact: &Contact, removed: bool, version: Pos, cx: &mut Cx<'_>) {
        let wanted = self.bound.as_ref().is_some_and(|b| b.interested);
        if !wanted || !(contact.listed || removed) {
            return;
        }
        let domain = cx.core_settings().domain.clone();
        let (id, to) = (random_name(cx), self.full().to_owned());
        self.write(cx, |w| {
            w.start("iq").attr("type", "set").attr("id", &id).attr("to", &to).start_ns("query", ns::ROSTER);
            w.attr("ver", &version_of(version));
            if removed {
                if let Some(jid) = from_core(&contact.address, &domain) {
                    w.start("item").attr("jid", jid.as_str()).attr("subscription", "remove").end();
                }
            } else {
                item(w, contact, &domain);
            }
            w.end().end();
        });
    }
}

/// A version as it is told; opaque to clients.
fn version_of(version: Pos) -> String {
    format!("{:x}", version.0)
}

fn item(w: &mut Writer<'_>, contact: &Contact, domain: &str) {
    let Some(jid) = from_core(&contact.address, domain) else { return };
    let subscription = match (contact.to, contact.from) {
        (true, true) => "both",
        (true, false) => "to",
        (false, true) => "from",
        (false, false) => "none",
    };
    w.start("item").attr("jid", jid.as_str()).attr("subscription", subscription);
    w.opt_attr("name", contact.name.as_deref());
    w.opt_attr("ask", contact.ask.then_some("subscribe"));
    w.opt_attr("approved", contact.approved.then_some("true"));
    for group in &contact.groups {
        w.leaf("group", group);
    }
    w.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_distinct_and_named() {
        let condition = |groups: &[&str]| {
            let item = groups.iter().fold(Element::new("item", ns::ROSTER), |item, group| {
                item.with_child(Element::new("group", ns::ROSTER).with_text(group))
            });
            groups_of(&item, None).map_err(|error| error.condition)
        };
        assert_eq!(condition(&["b", "a"]), Ok(vec![Str::new("a"), Str::new("b")]));
        assert_eq!(condition(&["a", "b", "a"]), Err(StanzaCondition::BadRequest));
        assert_eq!(condition(&[""]), Err(StanzaCondition::NotAcceptable));
        assert_eq!(condition(&["x".repeat(MAX_NAME + 1).as_str()]), Err(StanzaCondition::NotAcceptable));
    }

    #[test]
    fn an_item_shows_the_state_of_both_subscriptions() {
        let mut contact = Contact::new(Str::new("bob"), None);
        contact.ask = true;
        contact.from = true;
        contact.groups = vec![Str::new("a & b")];
        let mut out = Vec::new();
        item(&mut Writer::in_stream(&mut out), &contact, "x.org");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<item jid='bob@x.org' subscription='from' ask='subscribe'><group>a &amp; b</group></item>"
        );
    }
}
