//! Presence and subscriptions (RFC 6121 §3 and §4).

use crate::session::{Cx, XMPP_NATIVE};
use crate::xmpp::address::{Place, bare_jid, from_core, full_jid, place, to_core};
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::jid::Jid;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use lavina_core::command::{Act, Step};
use lavina_core::event::Native;
use lavina_core::ids::Label;
use lavina_core::name::{User, UserName};
use lavina_core::presence::{Presence, Show};
use lavina_core::projection::Revoked;
use lavina_core::query::{Query, Value, Whois};
use lavina_core::text::{Octets, Str};

/// People who get presence directed at them by one session, at most; the directed presence of further ones is
/// not followed by its end.
const MAX_DIRECTED: usize = 64;

impl Xmpp {
    /// Takes a `<presence/>` of the client.
    pub(super) fn presence(&mut self, stanza: Element, cx: &mut Cx<'_>) {
        let to = match stanza.attr("to").map(Jid::new).transpose() {
            Ok(to) => to,
            Err(_) => return self.presence_error(&stanza, &StanzaCondition::JidMalformed.into(), cx),
        };
        match to {
            None => self.own_presence(stanza, cx),
            Some(to) => self.presence_to(stanza, &to, cx),
        }
    }

    /// The session's own presence, for all who may see it.
    fn own_presence(&mut self, mut stanza: Element, cx: &mut Cx<'_>) {
        match stanza.attr("type") {
            None => {
                self.add_avatar(&mut stanza);
                let presence = read(&stanza);
                let before = match &mut self.bound {
                    Some(bound) => bound.available.replace(presence.priority),
                    None => return,
                };
                let first = before.is_none();
                cx.touch();
                cx.presence(presence.clone());
                self.show_own(&presence, cx);
                if first {
                    self.first_presence(cx);
                } else if before.is_some_and(|before| before < 0) && presence.priority >= 0 {
                    self.read_missed(cx);
                }
                self.capabilities(&stanza, first, cx);
            }
            Some("unavailable") => self.unavailable(Some(&stanza), cx),
            Some("error" | "probe") => {}
            Some(_) => self.presence_error(&stanza, &StanzaCondition::BadRequest.into(), cx),
        }
    }

    /// A client sees its own presence like that of its account's other sessions (RFC 6121 §4.2.2).
    fn show_own(&mut self, presence: &Presence, cx: &mut Cx<'_>) {
        let full = self.full().to_owned();
        self.write(cx, |w| write(w, &full, &full, presence));
    }

    /// The session became available: requests that wait for an answer, and what was missed.
    fn first_presence(&mut self, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().map(|me| me.id) else { return };
        self.ask(Query::Account(me), cx, |session, reply, cx| {
            let Ok(Value::Account(account)) = reply else { return };
            let domain = &cx.core_settings().domain;
            for contact in account.contacts.values() {
                let from = from_core(&contact.address, domain);
                if let (Some(asked), Some(from)) = (&contact.asked, from) {
                    session.subscription_stanza(from.as_str(), "subscribe", Some(asked), cx);
                }
            }
            session.missed(&account, cx);
            session.pending_invitations(account.id, cx);
        });
    }

    /// The session takes messages to the account from here on: what was missed (XEP-0160 §3).
    fn read_missed(&mut self, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().map(|me| me.id) else { return };
        self.ask(Query::Account(me), cx, |session, reply, cx| {
            if let Ok(Value::Account(account)) = reply {
                session.missed(&account, cx);
                session.pending_invitations(account.id, cx);
            }
        });
    }

    /// The session is no longer available, by its own word (`stanza`) or its end.
    pub(super) fn unavailable(&mut self, stanza: Option<&Element>, cx: &mut Cx<'_>) {
        self.leave_rooms(stanza, cx);
        let Some(bound) = &mut self.bound else { return };
        let directed = std::mem::take(&mut bound.directed);
        if bound.available.take().is_none() && directed.is_empty() {
            return;
        }
        let farewell = Element::new("presence", ns::CLIENT).with_attr("type", "unavailable");
        for account in directed.into_values() {
            self.signal_user(account, None, &farewell, cx, |_, _, _| {});
        }
        let mut presence = stanza.map(read).unwrap_or_default();
        presence.show = Show::Offline;
        cx.presence(presence);
        self.remember_leaving(cx);
    }

    /// The session ends.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_>) {
        self.unavailable(None, cx);
    }

    fn presence_to(&mut self, stanza: Element, to: &Jid, cx: &mut Cx<'_>) {
        let domain = cx.core_settings().domain.clone();
        if self.blocks(to, &domain) {
            return self.presence_error(&stanza, &Xmpp::blocked_error(), cx);
        }
        let step = match stanza.attr("type") {
            Some("subscribe") => Some(Step::Subscribe),
            Some("subscribed") => Some(Step::Subscribed),
            Some("unsubscribe") => Some(Step::Unsubscribe),
            Some("unsubscribed") => Some(Step::Unsubscribed),
            None | Some("unavailable") => None,
            Some("probe") => return self.probe(to, cx),
            Some("error") => return,
            Some(_) => return self.presence_error(&stanza, &StanzaCondition::BadRequest.into(), cx),
        };
        match (step, place(to, &domain)) {
            (Some(step), place) => self.subscription(stanza, step, &to.bare(), place, cx),
            (None, Place::User(name, resource)) => self.directed(stanza, name, resource, cx),
            (None, Place::Room(name, nick)) => self.room_presence(stanza, name, nick, cx),
            (None, Place::Server) => {}
            (None, Place::Elsewhere) => {
                self.presence_error(&stanza, &StanzaCondition::RemoteServerNotFound.into(), cx);
            }
            (None, _) => self.presence_error(&stanza, &StanzaCondition::ServiceUnavailable.into(), cx),
        }
    }

    /// The client asks how somebody is (RFC 6121 §4.3): who may know is told; a stranger hears nothing, as of nobody.
    fn probe(&mut self, to: &Jid, cx: &mut Cx<'_>) {
        let Place::User(name, resource) = place(to, &cx.core_settings().domain) else { return };
        self.ask(Query::AccountNamed(name), cx, move |session, reply, cx| {
            let (Ok(Value::Account(account)), Some(me)) = (reply, cx.user().cloned()) else { return };
            let subscribed = account.contacts.get(me.name.folded().as_str()).is_some_and(|c| c.from);
            let Some(head) = account.head.as_ref().filter(|_| subscribed || account.id == me.id) else {
                return;
            };
            if session.blocked_by(&account, cx) {
                return;
            }
            let user = User::new(account.id, head.name.clone());
            session.ask(Query::WhoisOf(user), cx, move |session, reply, cx| {
                let Ok(Value::Whois(whois)) = reply else { return };
                session.answer_probe(&whois, resource.as_deref(), cx);
            });
        });
    }

    fn answer_probe(&mut self, whois: &Whois, resource: Option<&str>, cx: &mut Cx<'_>) {
        let domain = cx.core_settings().domain.clone();
        let to = self.full().to_owned();
        let asked = |label: &str| resource.is_none_or(|resource| resource == label);
        let there = whois.sessions.iter().filter(|s| s.presence.show != Show::Offline && asked(&s.label));
        let mut nobody = true;
        for session in there {
            nobody = false;
            let from = full_jid(&whois.user, &session.label, &domain);
            self.write(cx, |w| write(w, from.as_str(), &to, &session.presence));
        }
        if nobody {
            let from = bare_jid(&whois.user.name, &domain);
            let gone = Presence { show: Show::Offline, ..Presence::default() };
            self.write(cx, |w| write(w, from.as_str(), &to, &gone));
        }
    }

    /// Presence for somebody who need not be a contact (RFC 6121 §4.6).
    fn directed(&mut self, stanza: Element, name: UserName, resource: Option<Str>, cx: &mut Cx<'_>) {
        let ends = stanza.attr("type").is_some();
        self.with_user(name.clone(), cx, move |session, user, cx| {
            let (Some(user), Some(bound)) = (user, &mut session.bound) else { return };
            if ends {
                bound.directed.remove(&name);
            } else if bound.directed.len() < MAX_DIRECTED {
                bound.directed.insert(name, user.id);
            }
            session.signal_user(user.id, resource, &stanza, cx, |_, _, _| {});
        });
    }

    fn subscription(&mut self, stanza: Element, step: Step, to: &Jid, place: Place, cx: &mut Cx<'_>) {
        let domain = &cx.core_settings().domain;
        let address = to_core(to, domain);
        let native = Some(Native { protocol: XMPP_NATIVE, bytes: Octets::from(children(&stanza)) });
        let to = to.clone();
        match place {
            Place::User(name, _) if cx.user().is_some_and(|me| me.name == name) => {}
            Place::User(name, _) => self.with_user(name, cx, move |session, user, cx| {
                if user.is_none() && step == Step::Subscribe {
                    return session.subscription_stanza(to.as_str(), "unsubscribed", None, cx);
                }
                let account = user.as_ref().map(|u| u.id);
                let act = Act::Subscription { address, account, step, native };
                let take = |session: &mut Xmpp, stanza: Element, cx: &mut Cx<'_>| {
                    session.own(act, cx, move |session, outcome, cx| {
                        if let Some(refusal) = outcome.refusal() {
                            session.presence_error(&stanza, &StanzaError::from(refusal), cx);
                        }
                    });
                };
                let token =
                    stanza.child("preauth", ns::PARS).and_then(|p| p.attr("token")).map(str::to_owned);
                match token.filter(|_| step == Step::Subscribe).zip(user) {
                    Some((token, user)) => {
                        session
                            .use_invitation(&token, user, cx, move |session, cx| take(session, stanza, cx));
                    }
                    None => take(session, stanza, cx),
                }
            }),
            Place::Elsewhere => {
                self.presence_error(&stanza, &StanzaCondition::RemoteServerNotFound.into(), cx)
            }
            Place::Server | Place::Rooms | Place::Upload | Place::Room(..) | Place::Nobody => {
                self.presence_error(&stanza, &StanzaCondition::ServiceUnavailable.into(), cx);
            }
        }
    }

    pub(super) fn presence_error(&mut self, stanza: &Element, error: &StanzaError, cx: &mut Cx<'_>) {
        if stanza.attr("type") == Some("error") {
            return;
        }
        let full = self.full().to_owned();
        self.write(cx, |w| {
            w.start("presence").attr("type", "error").opt_attr("id", stanza.attr("id"));
            w.opt_attr("from", stanza.attr("to")).attr("to", &full);
            error.write(w);
            w.end();
        });
    }

    // --- what comes from others ---

    /// A contact's session, or another of the account's own, changed its presence.
    pub(super) fn presence_of(&mut self, from: &User, label: &Label, presence: &Presence, cx: &mut Cx<'_>) {
        let own = cx.user().is_some_and(|me| me.id == from.id);
        if own && label == cx.label() {
            return;
        }
        let Some(bound) = &mut self.bound else { return };
        if own {
            match presence.show {
                Show::Offline => bound.siblings.remove(label),
                _ => bound.siblings.insert(label.clone(), presence.priority),
            };
        }
        if bound.available.is_none() {
            return;
        }
        let from = full_jid(from, label, &cx.core_settings().domain);
        let to = self.full().to_owned();
        let stanza = |w: &mut Writer<'_>| write(w, from.as_str(), &to, presence);
        match self.is_inactive() {
            true => self.defer_stanza(from.as_str(), cx, stanza),
            false => self.write(cx, stanza),
        }
    }

    /// A contact took a step of the subscription.
    pub(super) fn subscription_of(
        &mut self,
        from: &User,
        step: Step,
        native: Option<&Native>,
        cx: &mut Cx<'_>,
    ) {
        // Requests are shown to available sessions, and again to the next that becomes available.
        let shown = self.bound.as_ref().is_some_and(|b| b.available.is_some() || b.interested);
        if step == Step::Subscribed {
            self.last_items_of(vec![from.id], cx);
        }
        if shown {
            let from = bare_jid(&from.name, &cx.core_settings().domain);
            self.subscription_stanza(from.as_str(), step_name(step), native, cx);
        }
    }

    fn subscription_stanza(&mut self, from: &str, kind: &str, native: Option<&Native>, cx: &mut Cx<'_>) {
        let to = self.bare().to_owned();
        self.write(cx, |w| {
            w.start("presence").attr("from", from).attr("to", &to).attr("type", kind);
            if let Some(native) = native.filter(|n| n.protocol == XMPP_NATIVE) {
                w.raw(&native.bytes);
            }
            w.end();
        });
    }

    /// The account may not be used any more as it was.
    pub(super) fn revoked(&mut self, revoked: Revoked, cx: &mut Cx<'_>) {
        use crate::xmpp::error::StreamCondition::NotAuthorized;
        use lavina_core::projection::Reason::Forbidden;
        match revoked {
            Revoked::Credential(Some(origin)) if origin.session == cx.session() => {}
            Revoked::Credential(_) => {
                self.end(NotAuthorized, "the password was changed", Forbidden("password changed"), cx);
            }
            Revoked::Disabled => {
                self.end(NotAuthorized, "this account is disabled", Forbidden("account disabled"), cx);
            }
            Revoked::Deleted => {
                self.end(NotAuthorized, "this account is no more", Forbidden("account deleted"), cx);
            }
        }
    }
}

/// What a presence stanza says.
pub(super) fn read(stanza: &Element) -> Presence {
    let show = match stanza.child_text("show").as_deref().map(str::trim) {
        Some("away") => Show::Away,
        Some("xa") => Show::ExtendedAway,
        Some("dnd") => Show::Busy,
        Some("chat") => Show::Chatty,
        _ => Show::Online,
    };
    let status = stanza.child_text("status").unwrap_or_default();
    let one_line: Vec<&str> = status.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let priority = stanza.child_text("priority").and_then(|p| p.trim().parse().ok()).unwrap_or(0);
    let native = Native { protocol: XMPP_NATIVE, bytes: Octets::from(children(stanza)) };
    Presence {
        show,
        status: Str::new(one_line.join(" ")),
        priority,
        native: Some(native),
        ..Presence::default()
    }
}

/// The children of a presence, without what only servers may say, and without a priority that is none.
fn children(stanza: &Element) -> Vec<u8> {
    let mut stanza = stanza.clone();
    stanza.remove_children(|el| match (el.ns.as_str(), el.name.as_str()) {
        (ns::MUC | ns::MUC_USER | ns::OCCUPANT_ID | ns::DELAY, _) => true,
        (ns::CLIENT, "priority") => el.text().trim().parse::<i8>().is_err(),
        _ => false,
    });
    let mut out = Vec::new();
    Writer::in_stream(&mut out).children(&stanza);
    out
}

/// Writes somebody's presence.
pub(super) fn write(w: &mut Writer<'_>, from: &str, to: &str, presence: &Presence) {
    w.start("presence").attr("from", from).attr("to", to);
    w.opt_attr("type", (presence.show == Show::Offline).then_some("unavailable"));
    write_content(w, presence);
    w.end();
}

/// Writes what stands in a presence: the sender's own form, or what is known from another protocol.
pub(super) fn write_content(w: &mut Writer<'_>, presence: &Presence) {
    if let Some(native) = presence.native.as_ref().filter(|n| n.protocol == XMPP_NATIVE) {
        w.raw(&native.bytes);
        return;
    }
    let show = match presence.show {
        Show::Away => Some("away"),
        Show::ExtendedAway => Some("xa"),
        Show::Busy => Some("dnd"),
        Show::Chatty => Some("chat"),
        Show::Online | Show::Offline => None,
    };
    if let Some(show) = show {
        w.leaf("show", show);
    }
    if !presence.status.is_empty() {
        w.leaf("status", &presence.status);
    }
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::Subscribe => "subscribe",
        Step::Subscribed => "subscribed",
        Step::Unsubscribe => "unsubscribe",
        Step::Unsubscribed => "unsubscribed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &str, text: &str) -> Element {
        Element::new(name, ns::CLIENT).with_text(text)
    }

    #[test]
    fn presence_is_read_and_written() {
        let stanza = Element::new("presence", ns::CLIENT)
            .with_child(leaf("show", "dnd"))
            .with_child(leaf("status", "a\n b"))
            .with_child(leaf("priority", "9999"))
            .with_child(Element::new("x", ns::MUC_USER))
            .with_child(Element::new("x", "urn:example"));
        let presence = read(&stanza);
        assert_eq!((presence.show, &*presence.status, presence.priority), (Show::Busy, "a b", 0));
        let mut out = Vec::new();
        write(&mut Writer::in_stream(&mut out), "a@x/1", "b@x", &presence);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<presence from='a@x/1' to='b@x'><show>dnd</show><status>a\n b</status><x xmlns='urn:example'/></presence>"
        );
    }

    #[test]
    fn presence_of_other_protocols_is_shown() {
        let presence = Presence { show: Show::Away, status: Str::new("gone"), ..Presence::default() };
        let mut out = Vec::new();
        write(&mut Writer::in_stream(&mut out), "a@x/1", "b@x", &presence);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<presence from='a@x/1' to='b@x'><show>away</show><status>gone</status></presence>"
        );
    }
}
