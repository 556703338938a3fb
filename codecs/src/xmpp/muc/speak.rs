//! What is said in a room (XEP-0045 §7.4, §8.1), and how it comes back to who said it.

use super::show::mask_subject;
use crate::session::Cx;
use crate::xmpp::content::{clean, fragment, kind_of, native};
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::message::{Way, is_kept, said};
use crate::xmpp::ns;
use crate::xmpp::session::{Outcome, Xmpp};
use crate::xmpp::xml::Element;
use lavina_core::command::{Act, Command, EntityId, ReactMode, Target};
use lavina_core::event::{Aside, Message};
use lavina_core::ids::{MsgId, RoomId};
use lavina_core::name::RoomName;
use lavina_core::outbox::Slot;
use lavina_core::query::Value;
use lavina_core::refusal::Refusal;
use lavina_core::text::{Rich, Str};

impl Xmpp {
    /// Takes a message to everybody in a room.
    fn groupchat(&mut self, slot: Slot, mut stanza: Element, name: RoomName, cx: &mut Cx<'_>) {
        let Some(room) = self.seat(&name) else {
            return self.message_error(slot, &stanza, &StanzaError::from(&Refusal::NotMember), cx);
        };
        clean(&mut stanza, &cx.core_settings().domain);
        cx.touch();
        if let Some(on) = typing(&stanza) {
            cx.typing(room, on);
            return cx.done(slot);
        }
        let subject = stanza.child_text("subject").filter(|_| !stanza.has("body", ns::CLIENT));
        if let Some(text) = subject.filter(|_| !stanza.has("thread", ns::CLIENT)) {
            let act = Act::SetTopic(Rich::plain(text));
            return self.act_in_room(slot, stanza, room, name, act, cx);
        }
        self.displayed_in_room(&stanza, room, cx);
        if !is_kept(&stanza) {
            return self.room_moment(slot, stanza, room, name, cx);
        }
        self.say_in_room(slot, stanza, room, name, cx);
    }

    /// Takes a message to a room's address, or to an occupant's.
    pub(in crate::xmpp) fn message_to_room(
        &mut self,
        slot: Slot,
        stanza: Element,
        name: RoomName,
        nick: Option<Str>,
        cx: &mut Cx<'_>,
    ) {
        let to_all = kind_of(&stanza) == "groupchat";
        match (nick, self.seat(&name)) {
            (None, _) if to_all => self.groupchat(slot, stanza, name, cx),
            (Some(_), _) if to_all => {
                self.message_error(slot, &stanza, &StanzaCondition::BadRequest.into(), cx)
            }
            (Some(_), None) => {
                self.message_error(slot, &stanza, &StanzaError::from(&Refusal::NotMember), cx);
            }
            // Private messages are those of the dialog: a nick stands for an account.
            (Some(nick), Some(_)) => {
                let aside = self.aside(&name);
                self.with_occupant(name, nick, cx, move |session, user, cx| match user {
                    Some(user) => {
                        session.message_to(slot, stanza, user.name, Way { resource: None, aside }, cx);
                    }
                    None => {
                        let error = StanzaError::new(
                            StanzaCondition::ItemNotFound,
                            "nobody has this nick in the room",
                        );
                        session.message_error(slot, &stanza, &error, cx);
                    }
                })
            }
            (None, _) => match super::voice::form_of(&stanza) {
                Some(form) => self.voice(slot, stanza, form, name, cx),
                None => self.message_to_service(slot, stanza, name, cx),
            },
        }
    }

    /// What is said by one who sits in that room, to one person there.
    fn aside(&self, name: &RoomName) -> Option<Box<Aside>> {
        Some(Box::new(Aside { room: name.clone(), by: self.seated_as(name)?.clone() }))
    }

    fn say_in_room(&mut self, slot: Slot, stanza: Element, room: RoomId, name: RoomName, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().cloned() else { return cx.done(slot) };
        let (message, once) = match said(&stanza, cx) {
            Ok(said) => said,
            Err(error) => return self.message_error(slot, &stanza, &error, cx),
        };
        let subject = mask_subject(&me, &cx.core_settings().domain);
        let change = change(&stanza, &message, room);
        let plain = Act::Say { message: Box::new(message), subject, parties: None };
        let Some(change) = change else {
            let mut command = Command::by(&me, EntityId::Room(room), plain);
            command.once = once;
            return self.send_in_room(slot, stanza, name, command, cx);
        };
        let mut command = Command::by(&me, EntityId::Room(room), change);
        command.once = once;
        self.command(command, false, cx, move |session, outcome, cx| match outcome.refusal() {
            // What it refers to is not known here (any more): between XMPP clients it may still mean something.
            Some(Refusal::NoSuchItem) => {
                let command = Command::by(&me, EntityId::Room(room), plain);
                session.send_in_room(slot, stanza, name, command, cx);
            }
            _ => session.said_in_room(slot, &stanza, &name, &outcome, cx),
        });
    }

    fn act_in_room(
        &mut self,
        slot: Slot,
        stanza: Element,
        room: RoomId,
        name: RoomName,
        act: Act,
        cx: &mut Cx<'_>,
    ) {
        match cx.user().cloned() {
            Some(me) => {
                self.send_in_room(slot, stanza, name, Command::by(&me, EntityId::Room(room), act), cx)
            }
            None => cx.done(slot),
        }
    }

    fn send_in_room(
        &mut self,
        slot: Slot,
        stanza: Element,
        name: RoomName,
        command: Command,
        cx: &mut Cx<'_>,
    ) {
        self.command(command, false, cx, move |session, outcome, cx| {
            session.said_in_room(slot, &stanza, &name, &outcome, cx);
        });
    }

    /// The event is the answer: the own stanza comes back as all others see it.
    fn said_in_room(
        &mut self,
        slot: Slot,
        stanza: &Element,
        name: &RoomName,
        outcome: &Outcome<'_>,
        cx: &mut Cx<'_>,
    ) {
        match outcome {
            Outcome::Reply(Err(refusal)) => {
                return self.message_error(slot, stanza, &StanzaError::from(refusal), cx);
            }
            Outcome::Event { event, .. } => {
                self.tell(name, cx, |show, out| show.event(event, None, true, out));
            }
            Outcome::Live(live) => self.tell(name, cx, |show, out| show.live(live, true, out)),
            Outcome::Reply(Ok(Value::Already(id))) => {
                if let Some(me) = self.seated_as(name).cloned() {
                    self.tell(name, cx, |show, out| show.repeated(&me, *id, &fragment(stanza), out));
                }
            }
            Outcome::Reply(Ok(_)) => {}
        }
        cx.done(slot);
    }

    /// What is not kept is shown to those who are there.
    fn room_moment(&mut self, slot: Slot, stanza: Element, room: RoomId, name: RoomName, cx: &mut Cx<'_>) {
        let bytes = fragment(&stanza);
        if bytes.len() > cx.core_settings().limits.native {
            let error = StanzaError::new(StanzaCondition::PolicyViolation, "this message is too long");
            return self.message_error(slot, &stanza, &error, cx);
        }
        let req = cx.room_signal(room, native(bytes), None);
        self.when(req, move |session, outcome, cx| session.said_in_room(slot, &stanza, &name, &outcome, cx));
    }
}

/// Whether a message says nothing but that its sender types, or no longer (XEP-0085).
pub(in crate::xmpp) fn typing(stanza: &Element) -> Option<bool> {
    let mut state = None;
    for el in stanza.elements() {
        match (el.ns.as_str(), el.name.as_str()) {
            (ns::CHAT_STATES, "composing") => state = Some(true),
            (ns::CHAT_STATES, _) => state = Some(false),
            (ns::HINTS, _) | (ns::CLIENT, "thread") => {}
            _ => return None,
        }
    }
    state
}

/// The change of an earlier message that a stanza asks for, in a room or dialog.
pub(in crate::xmpp) fn change(stanza: &Element, message: &Message, room: RoomId) -> Option<Act> {
    let id_of = |name, namespace| stanza.child(name, namespace).and_then(|el| el.attr("id"));
    // Rooms name messages by their own ids, corrections and dialogs by the sender's, which is ours where that has none.
    let target = |id: &str, named: fn(Str) -> Target| match MsgId::parse(id).filter(|id| id.room == room) {
        Some(id) => Target::Pos(id.pos),
        None => named(Str::new(id)),
    };
    if let Some(id) = id_of("replace", ns::CORRECT) {
        let message = Box::new(message.clone());
        return Some(Act::Edit { target: target(id, Target::ClientId), message });
    }
    let native = message.native.clone();
    if let Some(id) = id_of("retract", ns::RETRACT) {
        return Some(Act::Redact { target: target(id, Target::ClientId), reason: None, native });
    }
    let reactions = stanza.child("reactions", ns::REACTIONS)?;
    let keys = reactions.children_named("reaction", ns::REACTIONS).map(|r| Str::new(r.text().trim()));
    let keys = keys.filter(|k| !k.is_empty()).collect();
    let target = target(reactions.attr("id")?, Target::Named);
    Some(Act::React { target, keys, mode: ReactMode::Replace, native })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(children: &[Element]) -> Element {
        children.iter().fold(Element::new("message", ns::CLIENT), |m, c| m.with_child(c.clone()))
    }

    #[test]
    fn only_pure_chat_states_are_typing() {
        let state = |name| Element::new(name, ns::CHAT_STATES);
        assert_eq!(typing(&message(&[state("composing")])), Some(true));
        assert_eq!(typing(&message(&[state("paused"), Element::new("no-store", ns::HINTS)])), Some(false));
        assert_eq!(typing(&message(&[state("active"), Element::new("body", ns::CLIENT)])), None);
        assert_eq!(typing(&message(&[])), None);
    }

    #[test]
    fn changes_name_the_message_by_the_rooms_id() {
        let id = MsgId { room: RoomId(7), pos: lavina_core::ids::Pos(9) };
        let retract = |id: &str| message(&[Element::new("retract", ns::RETRACT).with_attr("id", id)]);
        let target = |stanza: &Element| match change(stanza, &Message::default(), RoomId(7)) {
            Some(Act::Redact { target, .. }) => Some(target),
            _ => None,
        };
        assert_eq!(target(&retract(&id.text())), Some(Target::Pos(id.pos)));
        assert_eq!(target(&retract("x")), Some(Target::ClientId(Str::new("x"))));
        assert_eq!(target(&message(&[])), None);
    }
}
