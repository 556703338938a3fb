//! Asking for voice in a room, and giving it (XEP-0045 §7.13, §8.6).
//!
//! The room keeps nothing of a request: the form that its moderators get says who asks, and comes back when one of them
//! agrees. Power is looked at then.

use super::admin::give_voice;
use super::nick::member_called;
use super::show::{Show, nick_of, role};
use crate::session::Cx;
use crate::xmpp::address::bare_jid;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::forms::{Form, FormWriter};
use crate::xmpp::framer::XmlLimits;
use crate::xmpp::ns;
use crate::xmpp::session::{Outcome, Xmpp};
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::{Element, Scope};
use lavina_core::command::{Command, EntityId};
use lavina_core::ids::RoomId;
use lavina_core::name::{RoomName, User};
use lavina_core::outbox::Slot;
use lavina_core::query::{Query, RoomView, Value};
use lavina_core::refusal::Refusal;
use std::sync::Arc;

/// Moderators who are asked at most.
const ASKED: usize = 20;

/// The form of a stanza that asks for voice, or gives it.
pub(super) fn form_of(stanza: &Element) -> Option<Form> {
    Form::in_element(stanza).filter(|form| form.is_submit() && form.form_type() == Some(ns::MUC_REQUEST))
}

impl Xmpp {
    /// Takes such a form, from somebody who sits in the room.
    pub(super) fn voice(&mut self, slot: Slot, stanza: Element, form: Form, name: RoomName, cx: &mut Cx<'_>) {
        let (Some(room), Some(me)) = (self.seat(&name), cx.user().cloned()) else {
            return self.message_error(slot, &stanza, &StanzaError::from(&Refusal::NotMember), cx);
        };
        if form.value("muc#role").is_some_and(|role| role != "participant") {
            let error =
                StanzaError::new(StanzaCondition::BadRequest, "only the role of a participant is asked for");
            return self.message_error(slot, &stanza, &error, cx);
        }
        self.ask(Query::Room(room), cx, move |session, reply, cx| match reply {
            Ok(Value::Room(view)) => match form.value("muc#request_allow") {
                None => session.ask_for_voice(slot, &stanza, &name, &me, &view, cx),
                Some(_) => session.answer_for_voice(slot, stanza, &form, name, me, &view, cx),
            },
            Ok(_) => session.message_error(slot, &stanza, &StanzaCondition::ItemNotFound.into(), cx),
            Err(refusal) => session.message_error(slot, &stanza, &StanzaError::from(&refusal), cx),
        });
    }

    /// The moderators who are there are asked.
    fn ask_for_voice(
        &mut self,
        slot: Slot,
        stanza: &Element,
        name: &RoomName,
        me: &User,
        view: &RoomView,
        cx: &mut Cx<'_>,
    ) {
        if role_in(view, me) != "visitor" {
            let error = StanzaError::new(StanzaCondition::NotAllowed, "you may speak in this room already");
            return self.message_error(slot, stanza, &error, cx);
        }
        let there = view.here.keys().filter_map(|id| view.members.get(id)).map(|m| &m.user);
        let moderators: Vec<User> =
            there.filter(|user| role_in(view, user) == "moderator").take(ASKED).cloned().collect();
        if moderators.is_empty() {
            let error =
                StanzaError::new(StanzaCondition::RecipientUnavailable, "no moderator is in the room");
            return self.message_error(slot, stanza, &error, cx);
        }
        let domain = cx.core_settings().domain.clone();
        let question = question(me, view, &domain);
        let Ok(question) = Scope::usual().parse(&question, &XmlLimits::MEMBER) else { return cx.done(slot) };
        let asked = Element::new("message", ns::CLIENT).with_child(question);
        let asked = asked.with_attr("from", &Show::new(name, cx.settings()).jid);
        for user in moderators {
            let mut asked = asked.clone();
            asked.set_attr("to", bare_jid(&user.name, &domain).as_str());
            self.signal_as(user.id, None, &asked, cx, |_, _, _| {});
        }
        cx.done(slot);
    }

    /// A moderator has filled in the form.
    #[expect(clippy::too_many_arguments, reason = "a stanza and what was found out about it")]
    fn answer_for_voice(
        &mut self,
        slot: Slot,
        stanza: Element,
        form: &Form,
        name: RoomName,
        me: User,
        view: &Arc<RoomView>,
        cx: &mut Cx<'_>,
    ) {
        if role_in(view, &me) != "moderator" {
            let error = StanzaError::new(StanzaCondition::Forbidden, "only moderators give voice");
            return self.message_error(slot, &stanza, &error, cx);
        }
        if form.flag("muc#request_allow") != Some(true) {
            return cx.done(slot);
        }
        let nick = form.value("muc#roomnick").unwrap_or_default();
        let who = member_called(view, nick).map(|m| m.user.clone());
        let Some(who) = who.filter(|user| view.here.contains_key(&user.id)) else {
            let error = StanzaError::new(StanzaCondition::ItemNotFound, "nobody has this nick in the room");
            return self.message_error(slot, &stanza, &error, cx);
        };
        if role_in(view, &who) != "visitor" {
            // Another moderator was faster.
            return cx.done(slot);
        }
        let act = match give_voice(view, &me, &who) {
            Ok(Some(act)) => act,
            Ok(None) => return cx.done(slot),
            Err(error) => return self.message_error(slot, &stanza, &error, cx),
        };
        let (room, view): (RoomId, _) = (view.id, view.clone());
        let command = Command::by(&me, EntityId::Room(room), act);
        self.command(command, false, cx, move |session, outcome, cx| {
            match outcome {
                Outcome::Reply(Err(refusal)) => {
                    return session.message_error(slot, &stanza, &StanzaError::from(&refusal), cx);
                }
                Outcome::Event { event, .. } => {
                    let here = view.here.get(&who.id);
                    session.tell(&name, cx, |show, out| show.event(event, here, false, out));
                }
                _ => {}
            }
            cx.done(slot);
        });
    }
}

fn role_in(view: &RoomView, user: &User) -> &'static str {
    view.members.get(&user.id).map_or("none", |m| role(m.standing.power, &view.policy().levels))
}

/// What a moderator is asked (§8.6).
fn question(who: &User, view: &RoomView, domain: &str) -> Vec<u8> {
    let nick = view.members.get(&who.id).map_or_else(|| nick_of(who), |m| nick_of(&m.user));
    let mut bytes = Vec::new();
    let mut writer = Writer::in_stream(&mut bytes);
    let mut form = FormWriter::begin(&mut writer, "form", ns::MUC_REQUEST);
    form.title("Somebody asks for voice");
    form.instructions("Whoever agrees lets this person speak in the room.");
    form.field("muc#role", "list-single", "Requested role", &["participant"]);
    form.field("muc#jid", "jid-single", "Address", &[bare_jid(&who.name, domain).as_str()]);
    form.field("muc#roomnick", "text-single", "Nick in the room", &[&nick]);
    form.flag("muc#request_allow", "Let this person speak?", false);
    form.end();
    drop(writer);
    bytes
}
