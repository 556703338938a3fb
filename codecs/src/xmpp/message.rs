//! Messages between people (RFC 6121 §5): what is kept, who gets it, and copies for the account's other sessions.
//!
//! What is worth keeping goes through the dialog's log and reaches all sessions of both accounts by their feeds; what is
//! of the moment (chat states, errors, what the sender marks so) goes as a signal. Either way each session decides by
//! [`Xmpp::take`] what it shows.

use crate::session::Cx;
use crate::xmpp::address::{Place, bare_jid, full_jid, place};
use crate::xmpp::content::{
    build, clean, fragment, fragment_kind, kind_of, may_copy, native, neutral, shown, write_stanza,
};
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::jid::Jid;
use crate::xmpp::muc::{Show, change};
use crate::xmpp::ns;
use crate::xmpp::session::{Outcome, Xmpp, random_name};
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::event::{Aside, Event, Kind, Message, What};
use lavina_core::ids::{Label, MsgId, OnceKey, Pos};
use lavina_core::name::{User, UserName};
use lavina_core::outbox::Slot;
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::Str;
use std::sync::Arc;

/// Shortest origin id that tells a retry: shorter ones are counters that begin anew.
const MIN_ORIGIN_ID: usize = 8;

/// A message on its way to one session.
pub(super) struct Arriving<'a> {
    /// From whom.
    pub from: &'a str,
    /// To which of the account's sessions; none: to the account.
    pub target: Option<&'a str>,
    /// Its content.
    pub fragment: &'a [u8],
    /// Its id in the archive.
    pub id: Option<MsgId>,
}

/// How a message goes to somebody.
pub(super) struct Way {
    /// To that session of the account, if it is there.
    pub resource: Option<Str>,
    /// Aside, in a room.
    pub aside: Option<Box<Aside>>,
}

impl Xmpp {
    /// Takes a `<message/>` of the client.
    pub(super) fn message(&mut self, stanza: Element, cx: &mut Cx<'_>) {
        let slot = cx.slot();
        let to = match stanza.attr("to").map(Jid::new).transpose() {
            Ok(to) => to,
            Err(_) => return self.message_error(slot, &stanza, &StanzaCondition::JidMalformed.into(), cx),
        };
        let domain = cx.core_settings().domain.clone();
        if to.as_ref().is_some_and(|to| self.blocks(to, &domain)) {
            return self.message_error(slot, &stanza, &Xmpp::blocked_error(), cx);
        }
        let place = match (&to, cx.user()) {
            (Some(to), _) => place(to, &domain),
            (None, Some(me)) => Place::User(me.name.clone(), None),
            (None, None) => Place::Nobody,
        };
        let refused = match place {
            Place::User(name, resource) => {
                return self.message_to(slot, stanza, name, Way { resource, aside: None }, cx);
            }
            Place::Room(name, nick) => return self.message_to_room(slot, stanza, name, nick, cx),
            Place::Elsewhere => StanzaCondition::RemoteServerNotFound,
            Place::Server | Place::Rooms | Place::Upload | Place::Nobody => {
                StanzaCondition::ServiceUnavailable
            }
        };
        self.message_error(slot, &stanza, &refused.into(), cx);
    }

    pub(super) fn message_to(
        &mut self,
        slot: Slot,
        mut stanza: Element,
        name: UserName,
        way: Way,
        cx: &mut Cx<'_>,
    ) {
        let kind = kind_of(&stanza);
        if kind == "groupchat" && way.resource.is_none() {
            return self.message_error(slot, &stanza, &StanzaCondition::ServiceUnavailable.into(), cx);
        }
        clean(&mut stanza, &cx.core_settings().domain);
        self.with_user(name, cx, move |session, user, cx| match (user, &way.resource) {
            (None, _) => {
                session.message_error(slot, &stanza, &StanzaCondition::ServiceUnavailable.into(), cx)
            }
            (Some(user), Some(resource)) if kind == "groupchat" => {
                let resource = resource.clone();
                session.pass_to_one(slot, stanza, &user, resource, cx);
            }
            (Some(user), Some(_)) if matches!(kind, "normal" | "headline") => {
                session.if_there(slot, stanza, user, way, cx);
            }
            (Some(user), _) => session.message_to_user(slot, stanza, user, way, cx),
        });
    }

    fn message_to_user(&mut self, slot: Slot, stanza: Element, user: User, way: Way, cx: &mut Cx<'_>) {
        match is_kept(&stanza) {
            true if cx.user().is_some_and(|me| me.id == user.id) => self.say(slot, stanza, &user, way, cx),
            true => self.say_unless_blocked(slot, stanza, user, way, cx),
            false => self.pass(slot, stanza, &user, way.aside.as_deref(), cx),
        }
    }

    /// What is no conversation goes to that one session only: if it is not there, to none (RFC 6121 §8.5.3.2.1).
    fn if_there(&mut self, slot: Slot, stanza: Element, user: User, way: Way, cx: &mut Cx<'_>) {
        self.ask(Query::WhoisOf(user.clone()), cx, move |session, reply, cx| {
            let label = way.resource.as_deref();
            let there = matches!(&reply, Ok(Value::Whois(whois))
                if whois.sessions.iter().any(|s| Some(s.label.as_str()) == label));
            match there {
                true => session.message_to_user(slot, stanza, user, way, cx),
                false => {
                    session.message_error(slot, &stanza, &StanzaCondition::ServiceUnavailable.into(), cx);
                }
            }
        });
    }

    /// A message of the moment for one session and nobody else (RFC 6121 §8.5.3.1).
    fn pass_to_one(&mut self, slot: Slot, stanza: Element, with: &User, resource: Str, cx: &mut Cx<'_>) {
        self.signal_user(with.id, Some(resource), &stanza.clone(), cx, move |session, outcome, cx| {
            match outcome.refusal() {
                Some(refusal) => session.message_error(slot, &stanza, &StanzaError::from(refusal), cx),
                None => cx.done(slot),
            }
        });
    }

    /// A message to one who has blocked its sender is refused like one to nobody (XEP-0191 §3.6), and kept nowhere.
    fn say_unless_blocked(&mut self, slot: Slot, stanza: Element, with: User, way: Way, cx: &mut Cx<'_>) {
        self.ask(Query::Account(with.id), cx, move |session, reply, cx| match reply {
            Ok(Value::Account(account)) if !session.blocked_by(&account, cx) => {
                session.say(slot, stanza, &with, way, cx);
            }
            Ok(_) => session.message_error(slot, &stanza, &StanzaCondition::ServiceUnavailable.into(), cx),
            Err(refusal) => session.message_error(slot, &stanza, &StanzaError::from(&refusal), cx),
        });
    }

    /// Puts a message into the dialog's log.
    fn say(&mut self, slot: Slot, stanza: Element, with: &User, way: Way, cx: &mut Cx<'_>) {
        let (Some(me), Some(room)) = (cx.user().cloned(), Xmpp::dialog(with, cx)) else {
            return cx.done(slot);
        };
        let (message, once) = match said(&stanza, cx) {
            Ok(said) => said,
            Err(error) => return self.message_error(slot, &stanza, &error, cx),
        };
        self.displayed_in_dialog(&stanza, room, cx);
        let message = Message {
            wants_arrival: stanza.has("request", ns::RECEIPTS),
            to: way.resource,
            aside: way.aside,
            from: Some(cx.label().clone()),
            ..message
        };
        let change = change(&stanza, &message, room);
        let plain = say(&me, with, message);
        let (act, instead) = match change {
            Some(change) => (change, Some(plain)),
            None => (plain, None),
        };
        let mut command = Command::by(&me, EntityId::Room(room), act);
        command.once = once;
        self.command(command, false, cx, move |session, outcome, cx| match (outcome.refusal(), instead) {
            // What it refers to is not known here (any more): between XMPP clients it may still mean something.
            (Some(Refusal::NoSuchItem | Refusal::Forbidden | Refusal::NoSuchRoom), Some(plain)) => {
                let command = Command::by(&me, EntityId::Room(room), plain);
                session.command(command, false, cx, move |session, outcome, cx| {
                    session.message_done(slot, &stanza, &outcome, cx);
                });
            }
            _ => session.message_done(slot, &stanza, &outcome, cx),
        });
    }

    /// Passes a message of the moment on: to the sessions of the other account, and to the own ones for their copies.
    fn pass(&mut self, slot: Slot, stanza: Element, with: &User, aside: Option<&Aside>, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().map(|me| me.id) else { return cx.done(slot) };
        if with.id != me && may_copy(&fragment(&stanza)) {
            self.signal_user(me, None, &stanza, cx, |_, _, _| {});
        }
        let id = with.id;
        let mut passed = stanza.clone();
        let from = aside.map(|aside| Show::new(&aside.room, cx.settings()).address(&aside.by));
        match &from {
            Some(from) => passed.set_attr("from", from),
            None => passed.remove_attr("from"),
        }
        self.signal_as(id, None, &passed, cx, move |session, outcome, cx| {
            // That nobody is there matters to nobody for what is of the moment.
            match outcome.refusal() {
                Some(Refusal::Unreachable) | None => cx.done(slot),
                Some(refusal) => session.message_error(slot, &stanza, &StanzaError::from(refusal), cx),
            }
        });
    }

    fn message_done(&mut self, slot: Slot, stanza: &Element, outcome: &Outcome<'_>, cx: &mut Cx<'_>) {
        match outcome.refusal() {
            Some(refusal) => self.message_error(slot, stanza, &StanzaError::from(refusal), cx),
            None => cx.done(slot),
        }
    }

    /// Tells the sender that a message was not taken. Errors are never answered (RFC 6120 §8.3.1).
    pub(super) fn message_error(
        &mut self,
        slot: Slot,
        stanza: &Element,
        error: &StanzaError,
        cx: &mut Cx<'_>,
    ) {
        if stanza.attr("type") != Some("error") {
            let full = self.full().to_owned();
            self.answer(slot, cx, |w| {
                w.start("message").attr("type", "error").opt_attr("id", stanza.attr("id"));
                w.opt_attr("from", stanza.attr("to")).attr("to", &full);
                error.write(w);
                w.end();
            });
            self.refused(slot, cx);
        }
        cx.done(slot);
    }

    /// The account's feed has a new entry. `own`: this session made it.
    pub(super) fn fed(&mut self, event: &Arc<Event>, pos: Pos, with: &User, own: bool, cx: &mut Cx<'_>) {
        let (Some(me), Some(bound)) = (cx.user().cloned(), &mut self.bound) else { return };
        bound.fed = bound.fed.max(Some(pos));
        let Some(mut fragment) = shown(event, "chat") else { return };
        let (from_label, target) = labels(event);
        let domain = &cx.core_settings().domain;
        if event.by.is(me.id) && with.id != me.id {
            if !own {
                let to = address_of(with, target, domain);
                let from = address_of(&me, from_label, domain);
                self.sent_copy(&from, &to, &fragment, event.id(), cx);
            }
            return;
        }
        let mine = target.is_none_or(|t| t == cx.label());
        if own && !mine {
            return;
        }
        let Some(bound) = &mut self.bound else { return };
        let addressed = target.is_some_and(|t| t == cx.label());
        let shows = addressed || bound.available.is_some() || (bound.carbons && may_copy(&fragment));
        if shows && !bound.overlap.live(pos) {
            return;
        }
        let sender = event.by.user().unwrap_or(with);
        let from = match self.said_aside(event, cx) {
            Some(from) => {
                Writer::in_stream(fragment.to_mut()).empty_ns("x", ns::MUC_USER);
                from
            }
            None => address_of(sender, from_label, domain),
        };
        let arriving = Arriving {
            from: &from,
            target: target.map(Str::as_str),
            fragment: &fragment,
            id: Some(event.id()),
        };
        self.take(&arriving, cx);
    }

    /// Under which address in a room something was said aside, for one who sits there too (XEP-0045 §7.5).
    fn said_aside(&self, event: &Event, cx: &Cx<'_>) -> Option<String> {
        let (What::Said(message) | What::Edited { message, .. }) = &event.what else { return None };
        let aside = message.aside.as_ref().filter(|aside| self.seat(&aside.room).is_some())?;
        Some(Show::new(&aside.room, cx.settings()).address(&aside.by))
    }

    /// Shows an arriving message, or a copy of it, or nothing: what RFC 6121 §8.5 and XEP-0280 want of this session.
    pub(super) fn take(&mut self, message: &Arriving<'_>, cx: &mut Cx<'_>) {
        let Some(bound) = &self.bound else { return };
        let to_me = message.target == Some(cx.label().as_str());
        let to_sibling = !to_me && message.target.is_some_and(|t| bound.siblings.contains_key(t));
        let willing = bound.available.is_some_and(|priority| priority >= 0);
        // An error is for the session whose message it is about (§8.5.2.1.1, §8.5.3.2.1).
        let stray = !to_me && !to_sibling && fragment_kind(message.fragment) == "error";
        if to_me || (willing && !to_sibling && !stray) {
            self.show(message, None, cx);
        } else if bound.carbons && !stray && may_copy(message.fragment) {
            let to = self.address(message.target);
            self.copy("received", message.from, &to, message.fragment, message.id, cx);
        }
    }

    /// Takes a message of the server's own making, in somebody's name.
    pub(super) fn take_made(&mut self, from: &User, content: impl FnOnce(&mut Writer<'_>), cx: &mut Cx<'_>) {
        let fragment = build("chat", &random_name(cx), content);
        let from = bare_jid(&from.name, &cx.core_settings().domain);
        self.take(&Arriving { from: from.as_str(), target: None, fragment: &fragment, id: None }, cx);
    }

    /// Writes an arriving message. `late`: when it had come, in milliseconds, if that was before.
    pub(super) fn show(&mut self, message: &Arriving<'_>, late: Option<u64>, cx: &mut Cx<'_>) {
        self.flush_deferred(cx);
        let (to, bare) = (self.address(message.target), self.bare().to_owned());
        let domain = cx.core_settings().domain.clone();
        let mut out = Vec::with_capacity(message.fragment.len() + 256);
        write_stanza(&mut out, false, message.from, &to, message.fragment, |w| {
            stanza_id(w, message.id, &bare);
            if let Some(at) = late {
                delay(w, at, &domain);
            }
        });
        self.emit(&out, cx);
    }

    /// The own address that a message was sent to.
    fn address(&self, target: Option<&str>) -> String {
        match target {
            Some(resource) => format!("{}/{resource}", self.bare()),
            None => self.bare().to_owned(),
        }
    }
}

/// What a stanza says, to a room or to somebody, and what makes a retry of it the same.
pub(super) fn said(stanza: &Element, cx: &Cx<'_>) -> Result<(Message, Option<OnceKey>), StanzaError> {
    let limits = &cx.core_settings().limits;
    let (body, kind) = neutral(stanza);
    let bytes = fragment(stanza);
    if body.text.len() > limits.text || bytes.len() > limits.native {
        return Err(StanzaError::new(StanzaCondition::PolicyViolation, "this message is too long"));
    }
    let once = once_of(stanza, &bytes, cx);
    let reply = stanza.child("reply", ns::REPLY).and_then(|r| r.attr("id"));
    let message = Message {
        file: crate::files::said(&body.text, cx.settings()),
        body,
        kind,
        reply: reply.and_then(MsgId::parse),
        reply_client_id: reply.map(Str::new),
        thread: stanza.child_text("thread").and_then(|t| MsgId::parse(&t)),
        client_id: stanza.attr("id").map(Str::new),
        native: Some(native(bytes)),
        ..Message::default()
    };
    Ok((message, once))
}

/// What makes a retry the same message: the client's own id of it, unless that is a counter, and the content.
fn once_of(stanza: &Element, fragment: &[u8], cx: &Cx<'_>) -> Option<OnceKey> {
    let id = stanza.child("origin-id", ns::STANZA_ID)?.attr("id")?;
    cx.once_key(id, fragment).filter(|_| id.len() >= MIN_ORIGIN_ID)
}

fn say(me: &User, with: &User, message: Message) -> Act {
    Act::Say {
        message: Box::new(message),
        subject: Str::default(),
        parties: Some(Box::new((me.clone(), with.clone()))),
    }
}

/// The sessions an entry came from and was sent to.
pub(super) fn labels(event: &Event) -> (Option<&Label>, Option<&Label>) {
    match &event.what {
        What::Said(message) | What::Edited { message, .. } => (message.from.as_ref(), message.to.as_ref()),
        _ => (None, None),
    }
}

/// The address of an account, or of one of its sessions.
pub(super) fn address_of(user: &User, label: Option<&Label>, domain: &str) -> String {
    match label {
        Some(label) => full_jid(user, label, domain).to_string(),
        None => bare_jid(&user.name, domain).to_string(),
    }
}

/// Writes a stanza id by `by`, the archive that has it under this id.
pub(super) fn stanza_id(w: &mut Writer<'_>, id: Option<MsgId>, by: &str) {
    if let Some(id) = id {
        w.start_ns("stanza-id", ns::STANZA_ID).attr("id", &id.text()).attr("by", by).end();
    }
}

/// Writes when a stanza had come (XEP-0203).
pub(super) fn delay(w: &mut Writer<'_>, at: u64, from: &str) {
    let stamp = crate::xmpp::datetime::format(at.try_into().unwrap_or(i64::MAX));
    w.start_ns("delay", ns::DELAY).attr("from", from).attr("stamp", &stamp).end();
}

/// Whether a message goes into the log (XEP-0313 §5.1.1, XEP-0334): what people said, and what they will want to see
/// again on another device.
pub(super) fn is_kept(stanza: &Element) -> bool {
    let hint = |name| stanza.has(name, ns::HINTS);
    if kind_of(stanza) == "error" || hint("no-store") || hint("no-permanent-store") {
        return false;
    }
    let has_body = stanza.child_text("body").is_some_and(|b| !b.is_empty());
    has_body || hint("store") || stanza.elements().any(is_lasting)
}

fn is_lasting(el: &Element) -> bool {
    matches!(
        (el.ns.as_str(), el.name.as_str()),
        (ns::OMEMO | ns::OMEMO_OLD, "encrypted")
            | (ns::RECEIPTS, "received")
            | (ns::MARKERS, "displayed" | "received" | "acknowledged")
            | (ns::RETRACT, "retract")
            | (ns::REACTIONS, "reactions")
            | (ns::CONFERENCE, "x")
            | (ns::JINGLE_MESSAGE, _)
    )
}

/// Whether a kept message is one that an account that was away should get when it comes back.
pub(super) fn waits_for_absent(event: &Event) -> bool {
    match &event.what {
        What::Said(message) => message.kind != Kind::Notice && !message.gone,
        What::Edited { .. } | What::Redacted { .. } | What::Reacted { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(child: Element, kind: &str) -> bool {
        is_kept(&Element::new("message", ns::CLIENT).with_attr("type", kind).with_child(child))
    }

    #[test]
    fn what_people_said_is_kept_and_the_moment_is_not() {
        assert!(kept(Element::new("body", ns::CLIENT).with_text("hi"), "chat"));
        assert!(!kept(Element::new("body", ns::CLIENT).with_text("hi"), "error"));
        assert!(!kept(Element::new("body", ns::CLIENT), "chat"));
        assert!(!kept(Element::new("composing", ns::CHAT_STATES), "chat"));
        assert!(kept(Element::new("encrypted", ns::OMEMO_OLD), "chat"));
        assert!(kept(Element::new("received", ns::RECEIPTS), "chat"));
        assert!(kept(Element::new("store", ns::HINTS), "chat"));
    }
}
