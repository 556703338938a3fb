//! Discovery of the service of rooms and of a room (XEP-0045 §6).

use super::avatar;
use super::show::{Show, nick_of};
use crate::session::Cx;
use crate::xmpp::address::Place;
use crate::xmpp::caps::{Identity, Info};
use crate::xmpp::disco::answer_info;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::forms::{Field, Form};
use crate::xmpp::iq::Iq;
use crate::xmpp::jid::Jid;
use crate::xmpp::ns;
use crate::xmpp::rsm::{Answer, Page, Request};
use crate::xmpp::session::Xmpp;
use lavina_core::ids::AccountId;
use lavina_core::name::RoomName;
use lavina_core::policy::{JoinRule, Membership, power};
use lavina_core::query::{Query, RoomView, Value};

/// What the service offers.
const SERVICE_FEATURES: &[&str] =
    &[ns::DISCO_INFO, ns::DISCO_ITEMS, ns::MUC, ns::OCCUPANT_ID, ns::PING, ns::RSM, ns::VCARD];

/// What every room offers.
const ROOM_FEATURES: &[&str] = &[
    ns::DISCO_INFO,
    ns::MAM,
    ns::MAM_EXTENDED,
    ns::MODERATE,
    ns::MUC,
    ns::MUC_REQUEST,
    ns::MUC_SELF_PING,
    ns::MUC_STABLE_ID,
    ns::OCCUPANT_ID,
    ns::STANZA_ID,
    ns::VCARD,
    "muc_nonanonymous",
    "muc_persistent",
];

fn service() -> Info {
    Info {
        identities: vec![Identity::new("conference", "text", "Rooms")],
        features: SERVICE_FEATURES.iter().map(|f| (*f).to_owned()).collect(),
        forms: Vec::new(),
    }
}

/// Whether somebody may know that the room is there.
pub(super) fn may_know(view: &RoomView, who: AccountId) -> bool {
    !view.policy().secret
        || view.members.get(&who).is_some_and(|m| m.standing.membership != Membership::Banned)
}

fn room(view: &RoomView) -> Info {
    let policy = view.policy();
    let either = |is: bool, yes: &'static str, no: &'static str| if is { yes } else { no };
    let mut features: Vec<String> = ROOM_FEATURES.iter().map(|f| (*f).to_owned()).collect();
    features.extend(
        [
            either(policy.secret, "muc_hidden", "muc_public"),
            either(policy.join == JoinRule::Public, "muc_open", "muc_membersonly"),
            either(policy.levels.speak > policy.levels.users, "muc_moderated", "muc_unmoderated"),
            either(policy.password.is_some(), "muc_passwordprotected", "muc_unsecured"),
        ]
        .map(str::to_owned),
    );
    let name = view.head.name.as_ref().map_or("", RoomName::as_str);
    let title = if policy.title.is_empty() { name } else { &policy.title };
    Info {
        identities: vec![Identity::new("conference", "text", title)],
        features,
        forms: vec![details(view)],
    }
}

/// The extended information (XEP-0045 §15.5.4).
fn details(view: &RoomView) -> Form {
    let field = |var: &str, kind: &str, value: String| Field {
        var: var.into(),
        kind: kind.into(),
        values: vec![value],
    };
    let policy = view.policy();
    let open_subject = policy.levels.topic <= policy.levels.users.max(power::NORMAL);
    let mut fields = vec![
        field("FORM_TYPE", "hidden", ns::MUC_ROOMINFO.into()),
        field("muc#roominfo_description", "text-single", policy.description.to_string()),
        field(
            "muc#roominfo_subject",
            "text-single",
            view.topic.as_ref().map_or(String::new(), |t| t.text.text.to_string()),
        ),
        field("muc#roominfo_subjectmod", "boolean", u8::from(open_subject).to_string()),
        field("muc#roominfo_occupants", "text-single", view.here.len().to_string()),
    ];
    fields.extend(avatar::hash(view).map(|hash| field("muc#roominfo_avatarhash", "text-multi", hash)));
    Form { kind: "result".into(), fields }
}

/// What the service, or a room, is and can do.
pub(in crate::xmpp) fn info(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let node = iq.payload().attr("node").unwrap_or_default().to_owned();
    let name = match iq.place.clone() {
        Place::Room(name, None) => name,
        Place::Rooms if node.is_empty() => return answer_info(session, &iq, &service(), cx),
        Place::Rooms => return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx),
        _ => return session.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx),
    };
    let Some(me) = cx.user().cloned() else { return };
    session.ask(Query::RoomNamed(name), cx, move |session, reply, cx| {
        let view = match reply {
            Ok(Value::Room(view)) if may_know(&view, me.id) => view,
            Err(refusal) => return session.iq_error(&iq, &StanzaError::from(&refusal), cx),
            Ok(_) => return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx),
        };
        let info = match node.as_str() {
            "" => room(&view),
            ns::MUC_NICK_NODE => {
                let there = view.members.get(&me.id).map_or(&me, |m| &m.user);
                let nick = Identity::new("conference", "text", &nick_of(there));
                Info { identities: vec![nick], ..Info::default() }
            }
            _ => return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx),
        };
        answer_info(session, &iq, &info, cx);
    });
}

/// The rooms that everybody may know of, a page at a time; of a room, who is there, if the asker is too.
pub(in crate::xmpp) fn items(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    match iq.place.clone() {
        Place::Rooms => rooms(session, iq, cx),
        Place::Room(name, None) => occupants(session, iq, name, cx),
        _ => session.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx),
    }
}

fn rooms(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let Some(request) = Request::read(iq.payload()) else {
        return session.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx);
    };
    let after = match &request.page {
        Page::First => None,
        Page::After(id) => match Jid::new(id).ok().and_then(|j| RoomName::new(j.local()?).ok()) {
            Some(name) => Some(name),
            None => return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx),
        },
        Page::Before(_) | Page::Last | Page::Index(_) => {
            return session.iq_error(&iq, &StanzaCondition::FeatureNotImplemented.into(), cx);
        }
    };
    let page = cx.core_settings().limits.page;
    let limit = request.max.unwrap_or(page).min(page);
    // One more shows whether these are all.
    let query = Query::Directory { after: after.clone(), limit: limit.saturating_add(1), secret: false };
    session.ask(query, cx, move |session, reply, cx| {
        let listed = match reply {
            Ok(Value::Directory(listed)) => listed,
            Ok(_) => return session.iq_error(&iq, &StanzaCondition::InternalServerError.into(), cx),
            Err(refusal) => return session.iq_error(&iq, &StanzaError::from(&refusal), cx),
        };
        let complete = after.is_none() && listed.len() <= limit as usize;
        let settings = cx.settings();
        let found: Vec<(String, String)> = listed
            .iter()
            .take(limit as usize)
            .filter_map(|l| {
                let name = l.head.name.as_ref()?;
                let title = if l.head.policy.title.is_empty() { name.as_str() } else { &l.head.policy.title };
                Some((Show::new(name, settings).jid, title.to_owned()))
            })
            .collect();
        let ends = found.first().zip(found.last()).map(|(f, l)| (f.0.as_str(), l.0.as_str()));
        session.iq_result(&iq, cx, |w| {
            w.start_ns("query", ns::DISCO_ITEMS);
            for (jid, title) in &found {
                w.start("item").attr("jid", jid).attr("name", title).end();
            }
            if !complete || request.max.is_some() {
                Answer { ends, index: None, count: None }.write(w);
            }
            w.end();
        });
    });
}

fn occupants(session: &mut Xmpp, iq: Iq, name: RoomName, cx: &mut Cx<'_>) {
    let Some(me) = cx.user().map(|me| me.id) else { return };
    session.ask(Query::RoomNamed(name.clone()), cx, move |session, reply, cx| {
        let view = match reply {
            Ok(Value::Room(view)) if may_know(&view, me) => view,
            Err(refusal) => return session.iq_error(&iq, &StanzaError::from(&refusal), cx),
            Ok(_) => return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx),
        };
        let show = Show::new(&name, cx.settings());
        let there = view.here.keys().filter_map(|id| view.members.get(id)).map(|m| show.address(&m.user));
        let there: Vec<String> = if view.here.contains_key(&me) { there.collect() } else { Vec::new() };
        session.iq_result(&iq, cx, |w| {
            w.start_ns("query", ns::DISCO_ITEMS);
            for jid in &there {
                w.start("item").attr("jid", jid).end();
            }
            w.end();
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_has_a_hash() {
        assert!(service().ver().is_some());
    }
}
