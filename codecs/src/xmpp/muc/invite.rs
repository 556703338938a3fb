//! Invitations through a room (XEP-0045 §7.8), shown with what clients of XEP-0249 look for.

use crate::session::Cx;
use crate::xmpp::address::{Place, bare_jid, place};
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::jid::Jid;
use crate::xmpp::muc::Show;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use crate::xmpp::xml::Element;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::event::{Event, How, What};
use lavina_core::ids::{AccountId, MsgId, RoomId};
use lavina_core::name::{NameKey, RoomName, User, UserName};
use lavina_core::outbox::Slot;
use lavina_core::policy::{JoinRule, Membership, power};
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::Str;

/// People invited with one stanza at most.
const MAX_INVITED: usize = 32;

impl Xmpp {
    /// Takes a message to the room itself: invitations, or the word that one is declined.
    pub(super) fn message_to_service(
        &mut self,
        slot: Slot,
        stanza: Element,
        name: RoomName,
        cx: &mut Cx<'_>,
    ) {
        let x = stanza.child("x", ns::MUC_USER);
        let reason = |el: &Element| el.child_text("reason").filter(|r| !r.is_empty()).map(|r| Str::new(&*r));
        let domain = cx.core_settings().domain.clone();
        let invited = x.map(|x| {
            x.children_named("invite", ns::MUC_USER).take(MAX_INVITED + 1).map(|invite| {
                let jid = invite.attr("to").and_then(|to| Jid::new(to).ok());
                let jid = jid.ok_or(StanzaCondition::JidMalformed)?;
                match place(&jid, &domain) {
                    Place::User(name, _) => Ok((name, reason(invite))),
                    Place::Elsewhere => Err(StanzaCondition::RemoteServerNotFound),
                    _ => Err(StanzaCondition::ItemNotFound),
                }
            })
        });
        let invited: Result<Vec<_>, _> = invited.into_iter().flatten().collect();
        let declined = x.and_then(|x| x.child("decline", ns::MUC_USER)).map(reason);
        match (invited, declined) {
            (Err(condition), _) => self.message_error(slot, &stanza, &condition.into(), cx),
            (Ok(invited), _) if invited.len() > MAX_INVITED => {
                self.message_error(slot, &stanza, &StanzaCondition::PolicyViolation.into(), cx);
            }
            (Ok(invited), None) if invited.is_empty() => {
                self.message_error(slot, &stanza, &StanzaCondition::ServiceUnavailable.into(), cx);
            }
            (Ok(invited), declined) => {
                let key = NameKey::Room(name.clone());
                self.ask(Query::Resolve(key), cx, move |session, reply, cx| match reply {
                    Ok(Value::Id(id)) => match declined {
                        Some(reason) => session.decline(slot, stanza, (name, RoomId(id)), reason, cx),
                        None => session.invite(slot, stanza, RoomId(id), invited, cx),
                    },
                    Ok(_) => session.message_error(slot, &stanza, &StanzaCondition::ItemNotFound.into(), cx),
                    Err(refusal) => session.message_error(slot, &stanza, &StanzaError::from(&refusal), cx),
                });
            }
        }
    }

    fn decline(
        &mut self,
        slot: Slot,
        stanza: Element,
        (name, room): (RoomName, RoomId),
        reason: Option<Str>,
        cx: &mut Cx<'_>,
    ) {
        let Some(me) = cx.user().cloned() else { return cx.done(slot) };
        // One who sits in the room has no invitation to decline.
        if cx.is_attached(room) {
            return self.message_error(slot, &stanza, &StanzaCondition::NotAcceptable.into(), cx);
        }
        self.ask(Query::Room(room), cx, move |session, reply, cx| {
            let inviter = match &reply {
                Ok(Value::Room(view)) => view.members.get(&me.id).and_then(|m| m.by.as_deref().cloned()),
                _ => None,
            };
            let act = Act::Leave { reason: reason.clone(), quit: false, same: 0 };
            let command = Command::by(&me, EntityId::Room(room), act);
            session.command(command, false, cx, move |session, outcome, cx| match outcome.refusal() {
                Some(refusal) => session.message_error(slot, &stanza, &StanzaError::from(refusal), cx),
                None => {
                    if let Some(inviter) = inviter {
                        session.tell_declined(&name, &inviter, reason.as_ref(), cx);
                    }
                    cx.done(slot);
                }
            });
        });
    }

    /// Who invited learns that it was in vain (XEP-0045 §7.8.2), if there to hear it.
    fn tell_declined(&mut self, name: &RoomName, inviter: &User, reason: Option<&Str>, cx: &mut Cx<'_>) {
        let to = bare_jid(&inviter.name, &cx.core_settings().domain);
        let mut decline = Element::new("decline", ns::MUC_USER).with_attr("from", self.bare());
        if let Some(reason) = reason {
            decline = decline.with_child(Element::new("reason", ns::MUC_USER).with_text(reason));
        }
        let stanza = Element::new("message", ns::CLIENT)
            .with_attr("from", &Show::new(name, cx.settings()).jid)
            .with_attr("to", to.as_str())
            .with_child(Element::new("x", ns::MUC_USER).with_child(decline));
        self.signal_as(inviter.id, None, &stanza, cx, |_, _, _| {});
    }

    fn invite(
        &mut self,
        slot: Slot,
        stanza: Element,
        room: RoomId,
        mut invited: Vec<(UserName, Option<Str>)>,
        cx: &mut Cx<'_>,
    ) {
        let Some((name, reason)) = invited.pop() else { return cx.done(slot) };
        self.with_user(name, cx, move |session, user, cx| {
            let (Some(user), Some(me)) = (user, cx.user().cloned()) else {
                return session.message_error(slot, &stanza, &StanzaCondition::ItemNotFound.into(), cx);
            };
            let act = Act::Invite { user: user.clone(), reason, native: None };
            let command = Command::by(&me, EntityId::Room(room), act);
            session.command(command, false, cx, move |session, outcome, cx| match outcome.refusal() {
                // Whoever is in the room already needs no invitation.
                Some(Refusal::AlreadyMember) => session.invite(slot, stanza, room, invited, cx),
                None => session.make_member(room, user, cx, move |session, cx| {
                    session.invite(slot, stanza, room, invited, cx);
                }),
                Some(refusal) => session.message_error(slot, &stanza, &StanzaError::from(refusal), cx),
            });
        });
    }

    /// Who is invited into a room for members becomes one (XEP-0045 §7.8.2), if the one who invites may make members.
    fn make_member(
        &mut self,
        room: RoomId,
        user: User,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, &mut Cx<'_>) + Send + 'static,
    ) {
        let Some(me) = cx.user().cloned() else { return then(self, cx) };
        self.ask(Query::Room(room), cx, move |session, reply, cx| {
            let view = match reply {
                Ok(Value::Room(view)) if view.policy().join != JoinRule::Public => view,
                _ => return then(session, cx),
            };
            let (levels, power_of) =
                (view.policy().levels, |id| view.members.get(&id).map(|m| m.standing.power));
            let member = power::VOICE.max(levels.users);
            let may = power_of(me.id).is_some_and(|own| own >= levels.kick.max(member));
            if !may || power_of(user.id).is_some_and(|now| now >= member) {
                return then(session, cx);
            }
            let act = Act::SetPower { user, power: member, voiced: None, reason: None };
            let command = Command::by(&me, EntityId::Room(room), act);
            session.command(command, false, cx, move |session, _, cx| then(session, cx));
        });
    }

    /// The account's membership of a room changed.
    pub(in crate::xmpp) fn membership_of(&mut self, name: Option<&RoomName>, event: &Event, cx: &mut Cx<'_>) {
        let (Some(name), What::Member(change)) = (name, &event.what) else { return };
        let wanted = self.bound.as_ref().is_some_and(|b| b.available.is_some_and(|priority| priority >= 0));
        if change.how == How::Invite && wanted {
            self.show_invitation(name, event.by.user(), change.reason.as_ref(), &event.id(), cx);
        }
    }

    /// Shows the invitations that wait for an answer.
    pub(in crate::xmpp) fn pending_invitations(&mut self, me: AccountId, cx: &mut Cx<'_>) {
        self.ask(Query::Memberships(me), cx, |session, reply, cx| {
            let Ok(Value::Memberships(rooms)) = reply else { return };
            for room in rooms.iter().filter(|r| r.member.standing.membership == Membership::Invited) {
                if let (Some(name), None) = (&room.head.name, &room.head.parties) {
                    let id = MsgId { room: room.room, pos: room.member.since };
                    session.show_invitation(
                        name,
                        room.member.by.as_deref(),
                        room.member.reason.as_ref(),
                        &id,
                        cx,
                    );
                }
            }
        });
    }

    fn show_invitation(
        &mut self,
        name: &RoomName,
        by: Option<&User>,
        reason: Option<&Str>,
        id: &MsgId,
        cx: &mut Cx<'_>,
    ) {
        let domain = &cx.core_settings().domain;
        let from = by.map(|by| bare_jid(&by.name, domain));
        if from.as_ref().is_some_and(|from| self.blocks(from, domain)) {
            return;
        }
        let (room, to) = (Show::new(name, cx.settings()).jid, self.bare().to_owned());
        self.write(cx, |w| {
            w.start("message").attr("from", &room).attr("to", &to).attr("id", &id.text());
            w.start_ns("x", ns::MUC_USER).start("invite").opt_attr("from", from.as_ref().map(Jid::as_str));
            if let Some(reason) = reason {
                w.leaf("reason", reason);
            }
            w.end().end();
            w.start_ns("x", ns::CONFERENCE)
                .attr("jid", &room)
                .opt_attr("reason", reason.map(Str::as_str))
                .end();
            w.end();
        });
    }
}
