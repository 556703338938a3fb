//! A room's configuration and its end, the owner's business (XEP-0045 §10).

use super::disco::may_know;
use crate::session::Cx;
use crate::xmpp::address::Place;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::forms::{Form, FormWriter};
use crate::xmpp::iq::Iq;
use crate::xmpp::jid::Jid;
use crate::xmpp::ns;
use crate::xmpp::session::{Outcome, Xmpp};
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::event::What;
use lavina_core::name::RoomName;
use lavina_core::policy::{JoinRule, Membership, Policy, power};
use lavina_core::query::{Query, RoomView, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};
use std::sync::Arc;

/// The named value of a room that waits for its first configuration.
pub(super) const NEW: &str = "xmpp.new";

/// `muc#owner`: the form, what was filled in, or the end.
pub(in crate::xmpp) fn owner(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    session.room_of(iq, cx, |session, iq, name, view, cx| {
        let Some(me) = cx.user().map(|me| me.id) else { return };
        let owns = view.members.get(&me).is_some_and(|m| m.standing.power >= power::OWNER);
        if !owns {
            return session.iq_error(&iq, &StanzaCondition::Forbidden.into(), cx);
        }
        let payload = iq.payload().clone();
        if !iq.set {
            return session.iq_result(&iq, cx, |w| write_form(w, &shown(&view), &view));
        }
        match (payload.child("destroy", ns::MUC_OWNER), Form::in_element(&payload)) {
            (Some(destroy), _) => session.destroy_room(iq, &view, destroy, cx),
            (None, Some(form)) if form.is_cancel() => session.config_cancelled(iq, &view, cx),
            (None, Some(form)) if form.is_submit() => session.configure(iq, name, &view, &form, cx),
            _ => session.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx),
        }
    });
}

impl Xmpp {
    /// Looks up the room that a request is for; one that the asker may not know of is none.
    pub(super) fn room_of(
        &mut self,
        iq: Iq,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Iq, RoomName, Arc<RoomView>, &mut Cx<'_>) + Send + 'static,
    ) {
        let (Place::Room(name, None), Some(me)) = (iq.place.clone(), cx.user().map(|me| me.id)) else {
            return self.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx);
        };
        self.ask(Query::RoomNamed(name.clone()), cx, move |session, reply, cx| match reply {
            Ok(Value::Room(view)) if may_know(&view, me) => then(session, iq, name, view, cx),
            Err(refusal) => session.iq_error(&iq, &StanzaError::from(&refusal), cx),
            Ok(_) => session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx),
        });
    }

    /// Answers a request that changed a room, after showing the session what came of it.
    pub(super) fn finish_in_room(
        &mut self,
        iq: &Iq,
        name: &RoomName,
        outcome: &Outcome<'_>,
        cx: &mut Cx<'_>,
    ) {
        match outcome {
            Outcome::Reply(Err(Refusal::NotMember)) => {
                return self.iq_error(iq, &StanzaCondition::Forbidden.into(), cx);
            }
            Outcome::Event { event, .. } => {
                self.tell(name, cx, |show, out| show.event(event, None, true, out))
            }
            _ => {}
        }
        self.finish(iq, outcome, cx);
    }

    fn configure(&mut self, iq: Iq, name: RoomName, view: &RoomView, form: &Form, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().cloned() else { return };
        let Some(to) = filled_in(form, shown(view)) else {
            let error = StanzaError::new(StanzaCondition::NotAcceptable, "a value of the form cannot be");
            return self.iq_error(&iq, &error, cx);
        };
        let (room, new) = (view.id, is_new(view));
        let act = Act::SetPolicy { from: Box::new(view.policy().clone()), to: Box::new(to) };
        let command = Command::by(&me, EntityId::Room(room), act);
        self.command(command, false, cx, move |session, outcome, cx| {
            if !new || outcome.refusal().is_some() {
                return session.finish_in_room(&iq, &name, &outcome, cx);
            }
            if let Outcome::Event { event, .. } = &outcome {
                session.tell(&name, cx, |show, out| show.event(event, None, true, out));
            }
            let act = Act::SetRoomAttr { key: Str::new(NEW), value: Octets::default() };
            let command = Command::by(&me, EntityId::Room(room), act);
            session.command(command, false, cx, move |session, outcome, cx| {
                session.finish_in_room(&iq, &name, &outcome, cx);
            });
        });
    }

    /// A room whose making was called off is no more (XEP-0045 §10.1.3), unless somebody has come in all the same.
    fn config_cancelled(&mut self, iq: Iq, view: &RoomView, cx: &mut Cx<'_>) {
        let inside = view.members.values().filter(|m| m.standing.membership == Membership::Joined).count();
        if is_new(view) && inside == 1 {
            let destroy = Element::new("destroy", ns::MUC_OWNER);
            return self.destroy_room(iq, view, &destroy, cx);
        }
        self.iq_result(&iq, cx, |_| {});
    }

    fn destroy_room(&mut self, iq: Iq, view: &RoomView, destroy: &Element, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().cloned() else { return };
        let instead = match destroy.attr("jid").filter(|j| !j.is_empty()).map(Jid::new).transpose() {
            Ok(instead) => instead.map(|jid| Str::new(jid.bare_str())),
            Err(_) => return self.iq_error(&iq, &StanzaCondition::JidMalformed.into(), cx),
        };
        let reason = destroy.child_text("reason").filter(|r| !r.is_empty()).map(|r| Str::new(&*r));
        let command = Command::by(&me, EntityId::Room(view.id), Act::Destroy { reason, instead });
        self.command(command, false, cx, move |session, outcome, cx| match outcome {
            // Told only where the session sits in it; the seat goes with it.
            Outcome::Event { event, .. } if matches!(event.what, What::Destroyed { .. }) => {
                session.room_destroyed(event, cx);
                session.iq_result(&iq, cx, |_| {});
            }
            outcome => session.finish(&iq, &outcome, cx),
        });
    }
}

/// Made by a client of ours and never configured.
fn is_new(view: &RoomView) -> bool {
    view.attrs.contains_key(NEW)
}

/// The rules as the form offers them: a room that was just made is offered as a public one.
fn shown(view: &RoomView) -> Policy {
    let policy = view.policy().clone();
    Policy { secret: policy.secret && !is_new(view), ..policy }
}

fn is_moderated(policy: &Policy) -> bool {
    policy.levels.speak > policy.levels.users
}

/// Everybody may set the subject, invite: what newcomers have suffices.
fn is_free(level: i32, policy: &Policy) -> bool {
    level <= policy.levels.users.max(power::NORMAL)
}

fn write_form(w: &mut Writer<'_>, policy: &Policy, view: &RoomView) {
    let name = view.head.name.as_ref().map_or("", RoomName::as_str);
    let limit = policy.limit.map_or_else(|| "none".to_owned(), |l| l.to_string());
    let limits =
        [("none", "none"), ("10", "10"), ("50", "50"), ("100", "100"), ("500", "500"), (&*limit, &*limit)];
    let known = limits[..5].iter().any(|(v, _)| *v == limit);
    w.start_ns("query", ns::MUC_OWNER);
    let mut form = FormWriter::begin(w, "form", ns::MUC_ROOMCONFIG);
    form.title(&format!("Configuration of {name}"));
    form.field("muc#roomconfig_roomname", "text-single", "Title", &[&policy.title]);
    form.field("muc#roomconfig_roomdesc", "text-single", "What it is about", &[&policy.description]);
    form.flag("muc#roomconfig_persistentroom", "Stays when everybody has left", true);
    form.flag("muc#roomconfig_publicroom", "Listed for everybody", !policy.secret);
    form.flag("muc#roomconfig_membersonly", "For members only", policy.join != JoinRule::Public);
    form.flag("muc#roomconfig_moderatedroom", "Only those with voice may speak", is_moderated(policy));
    form.flag(
        "muc#roomconfig_changesubject",
        "Everybody may set the subject",
        is_free(policy.levels.topic, policy),
    );
    form.flag("muc#roomconfig_allowinvites", "Everybody may invite", is_free(policy.levels.invite, policy));
    form.flag("muc#roomconfig_passwordprotectedroom", "A password is needed", policy.password.is_some());
    form.field(
        "muc#roomconfig_roomsecret",
        "text-private",
        "The password",
        &[policy.password.as_deref().unwrap_or("")],
    );
    form.choice(
        "muc#roomconfig_maxusers",
        "list-single",
        "Members at most",
        &[&limit],
        &limits[..if known { 5 } else { 6 }],
    );
    form.choice(
        "muc#roomconfig_whois",
        "list-single",
        "Who sees addresses",
        &["anyone"],
        &[("anyone", "Everybody")],
    );
    form.end();
    w.end();
}

/// The rules with what was filled in; none if a value cannot be. What is always so is passed over.
fn filled_in(form: &Form, mut policy: Policy) -> Option<Policy> {
    let var = |name: &str| format!("muc#roomconfig_{name}");
    let flag = |name: &str| match form.values(&var(name)) {
        None | Some([]) => Some(None),
        Some(_) => form.flag(&var(name)).map(Some),
    };
    let text = |name: &str| form.value(&var(name));
    if let Some(title) = text("roomname") {
        policy.title = Str::new(title.trim());
    }
    if let Some(description) = text("roomdesc") {
        policy.description = Str::new(description.trim());
    }
    policy.secret = flag("publicroom")?.map_or(policy.secret, |public| !public);
    policy.join = match (flag("membersonly")?, policy.join) {
        (Some(true), JoinRule::Public) => JoinRule::Invite,
        (Some(false), _) => JoinRule::Public,
        (_, join) => join,
    };
    let normal = policy.levels.users.max(power::NORMAL);
    let moderated = is_moderated(&policy);
    let levels = &mut policy.levels;
    match flag("moderatedroom")? {
        Some(true) if !moderated => levels.speak = power::VOICE.max(levels.users + 1),
        Some(false) if moderated => levels.speak = normal.min(levels.users),
        _ => {}
    }
    for (name, level, shut) in [
        ("changesubject", &mut levels.topic, power::HELPER),
        ("allowinvites", &mut levels.invite, power::HELPER),
    ] {
        match flag(name)? {
            Some(true) => *level = (*level).min(normal),
            Some(false) if *level <= normal => *level = shut,
            _ => {}
        }
    }
    let secret = text("roomsecret").filter(|s| !s.is_empty()).map(Str::new);
    policy.password = match flag("passwordprotectedroom")? {
        Some(false) => None,
        Some(true) => Some(secret.or(policy.password)?),
        None => policy.password.and_then(|old| secret.or(Some(old))),
    };
    if let Some(limit) = text("maxusers") {
        policy.limit = match limit {
            "none" | "" | "0" => None,
            limit => Some(limit.parse().ok()?),
        };
    }
    Some(policy)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::xmpp::forms::Field;

    fn submitted(fields: &[(&str, &str)]) -> Form {
        let field = |(var, value): &(&str, &str)| Field {
            var: format!("muc#roomconfig_{var}"),
            kind: String::new(),
            values: vec![(*value).to_owned()],
        };
        Form { kind: "submit".into(), fields: fields.iter().map(field).collect() }
    }

    #[test]
    fn what_is_filled_in_is_set_and_the_rest_stays() {
        let old = Policy { description: Str::new("d"), ..Policy::default() };
        assert_eq!(filled_in(&submitted(&[]), old.clone()), Some(old.clone()));
        let new = filled_in(
            &submitted(&[
                ("roomname", "T"),
                ("publicroom", "0"),
                ("membersonly", "1"),
                ("moderatedroom", "true"),
                ("changesubject", "1"),
                ("passwordprotectedroom", "1"),
                ("roomsecret", "s"),
                ("maxusers", "7"),
            ]),
            old.clone(),
        )
        .unwrap();
        assert_eq!(
            (&*new.title, &*new.description, new.secret, new.join),
            ("T", "d", true, JoinRule::Invite)
        );
        assert_eq!((new.levels.speak, new.levels.topic, new.limit), (10, 0, Some(7)));
        assert_eq!(new.password.as_deref(), Some("s"));
        let back =
            submitted(&[("moderatedroom", "0"), ("changesubject", "0"), ("passwordprotectedroom", "0")]);
        let back = filled_in(&back, new).unwrap();
        assert_eq!((back.levels, back.password), (Policy::default().levels, None));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [("publicroom", "maybe"), ("maxusers", "many"), ("passwordprotectedroom", "1")] {
            assert_eq!(filled_in(&submitted(&[bad]), Policy::default()), None, "{bad:?}");
        }
    }
}
