//! Power over people in a room: affiliations, roles, kicks and bans (XEP-0045 §8 and §9), and withdrawing what others
//! said (XEP-0425).
//!
//! There is one power; affiliation and role are how it looks. Setting one of them moves the power to the nearest value
//! that looks so.

use super::show::{affiliation, nick_of, role};
use crate::session::{Cx, XMPP_NATIVE};
use crate::xmpp::address::{Place, bare_jid, place};
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::iq::Iq;
use crate::xmpp::jid::Jid;
use crate::xmpp::ns;
use crate::xmpp::session::{Outcome, Xmpp};
use crate::xmpp::xml::Element;
use lavina_core::command::{Act, Command, EntityId, Target};
use lavina_core::event::Native;
use lavina_core::ids::MsgId;
use lavina_core::name::{RoomName, User, UserName};
use lavina_core::policy::{JoinRule, Levels, Member, Membership, Power, Standing, power};
use lavina_core::query::RoomView;
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};
use std::collections::VecDeque;
use std::sync::Arc;

/// The wire form of putting out who is no member any more where only members may be.
pub(super) const UNAFFILIATED: &str = "321";

/// Changes in one request at most.
const MAX_ITEMS: usize = 64;

/// A change that one item of a request asks for.
#[derive(Clone, Debug)]
struct Change {
    /// Whom it is about.
    target: UserName,
    wish: Wish,
    reason: Option<Str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Outcast,
    NoAffiliation,
    Member,
    Admin,
    Owner,
    Out,
    Visitor,
    Participant,
    Moderator,
}

impl Wish {
    fn of(item: &Element) -> Option<Wish> {
        match (item.attr("affiliation"), item.attr("role")) {
            (Some("outcast"), _) => Some(Wish::Outcast),
            (Some("none"), _) => Some(Wish::NoAffiliation),
            (Some("member"), _) => Some(Wish::Member),
            (Some("admin"), _) => Some(Wish::Admin),
            (Some("owner"), _) => Some(Wish::Owner),
            (None, Some("none")) => Some(Wish::Out),
            (None, Some("visitor")) => Some(Wish::Visitor),
            (None, Some("participant")) => Some(Wish::Participant),
            (None, Some("moderator")) => Some(Wish::Moderator),
            _ => None,
        }
    }

    fn is_role(self) -> bool {
        matches!(self, Wish::Out | Wish::Visitor | Wish::Participant | Wish::Moderator)
    }
}

/// `muc#admin`: reads a list, or changes people.
pub(in crate::xmpp) fn admin(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    session.room_of(iq, cx, |session, iq, name, view, cx| {
        if iq.set { session.change_people(iq, name, view, cx) } else { list(session, &iq, &view, cx) }
    });
}

/// Withdraws what somebody said (XEP-0425 §4).
pub(in crate::xmpp) fn moderate(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    if !iq.set || !iq.payload().has("retract", ns::RETRACT) {
        return session.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx);
    }
    session.room_of(iq, cx, |session, iq, name, view, cx| {
        let (id, me) = (iq.payload().attr("id").and_then(MsgId::parse), cx.user().cloned());
        let own = me.as_ref().and_then(|me| view.members.get(&me.id)).map(|m| m.standing);
        let levels = view.policy().levels;
        // One's own words are taken back by retracting them (XEP-0424).
        if own.is_none_or(|own| {
            own.membership != Membership::Joined || own.power < levels.redact.max(levels.users + 1)
        }) {
            return session.iq_error(&iq, &StanzaCondition::Forbidden.into(), cx);
        }
        let (Some(id), Some(me)) = (id.filter(|id| id.room == view.id), me) else {
            return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx);
        };
        let reason = reason_of(iq.payload());
        let act = Act::Redact { target: Target::Pos(id.pos), reason, native: None };
        let command = Command::by(&me, EntityId::Room(view.id), act);
        session.command(command, false, cx, move |session, outcome, cx| {
            session.finish_in_room(&iq, &name, &outcome, cx);
        });
    });
}

fn reason_of(el: &Element) -> Option<Str> {
    el.child_text("reason").filter(|r| !r.is_empty()).map(|r| Str::new(&*r))
}

/// The affiliation in the lists: where only members come in, everybody who belongs is one.
fn listed_as(view: &RoomView, member: &Member) -> &'static str {
    let belongs = matches!(member.standing.membership, Membership::Joined | Membership::Invited);
    match affiliation(member.standing) {
        "none" if belongs && view.policy().join != JoinRule::Public => "member",
        shown => shown,
    }
}

fn list(session: &mut Xmpp, iq: &Iq, view: &RoomView, cx: &mut Cx<'_>) {
    let Some(me) = cx.user().map(|me| me.id) else { return };
    let levels = view.policy().levels;
    let own = view.members.get(&me).map(|m| m.standing).unwrap_or_default();
    let item = iq.payload().child("item", ns::MUC_ADMIN);
    let wanted = item.and_then(|item| Some((item.attr("affiliation"), item.attr("role"), Wish::of(item)?)));
    let Some((by_affiliation, by_role, wish)) = wanted else {
        return session.iq_error(iq, &StanzaCondition::BadRequest.into(), cx);
    };
    let joined = own.membership == Membership::Joined;
    let allowed = match wish {
        Wish::Member | Wish::Admin | Wish::Owner => joined || own.power >= levels.ban,
        wish if wish.is_role() => joined && role(own.power, &levels) == "moderator",
        _ => own.power >= levels.ban,
    };
    if !allowed {
        return session.iq_error(iq, &StanzaCondition::Forbidden.into(), cx);
    }
    let domain = &cx.core_settings().domain;
    let there = |m: &Member| view.here.contains_key(&m.user.id);
    let fits = |m: &&Member| match by_affiliation {
        Some(affiliation) => listed_as(view, m) == affiliation && affiliation != "none",
        None => there(m) && Some(role(m.standing.power, &levels)) == by_role,
    };
    session.iq_result(iq, cx, |w| {
        w.start_ns("query", ns::MUC_ADMIN);
        for m in view.members.values().filter(fits) {
            w.start("item").attr("affiliation", listed_as(view, m));
            w.attr("jid", bare_jid(&m.user.name, domain).as_str());
            if there(m) {
                w.attr("nick", &nick_of(&m.user)).attr("role", role(m.standing.power, &levels));
            }
            if let Some(reason) = m.reason.as_ref().filter(|_| m.standing.membership == Membership::Banned) {
                w.leaf("reason", reason);
            }
            w.end();
        }
        w.end();
    });
}

impl Xmpp {
    fn change_people(&mut self, iq: Iq, name: RoomName, view: Arc<RoomView>, cx: &mut Cx<'_>) {
        let domain = cx.core_settings().domain.clone();
        let items = iq.payload().children_named("item", ns::MUC_ADMIN).take(MAX_ITEMS + 1);
        let changes: Result<VecDeque<Change>, StanzaError> =
            items.map(|item| read(item, &view, &domain)).collect();
        match changes {
            Ok(changes) if changes.is_empty() || changes.len() > MAX_ITEMS => {
                self.iq_error(&iq, &StanzaCondition::BadRequest.into(), cx);
            }
            Ok(changes) => self.next_change(iq, name, view, changes, cx),
            Err(error) => self.iq_error(&iq, &error, cx),
        }
    }

    /// Carries out one change after the other; the first that is refused ends it.
    fn next_change(
        &mut self,
        iq: Iq,
        name: RoomName,
        view: Arc<RoomView>,
        mut changes: VecDeque<Change>,
        cx: &mut Cx<'_>,
    ) {
        let Some(change) = changes.pop_front() else { return self.iq_result(&iq, cx, |_| {}) };
        self.with_user(change.target.clone(), cx, move |session, user, cx| {
            let (Some(user), Some(me)) = (user, cx.user().cloned()) else {
                return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx);
            };
            match acts(&view, &me, &user, &change) {
                Ok(acts) => session.act_on(iq, name, view, user, acts, changes, cx),
                Err(error) => session.iq_error(&iq, &error, cx),
            }
        });
    }

    #[expect(clippy::too_many_arguments, reason = "what is left to do of one request")]
    fn act_on(
        &mut self,
        iq: Iq,
        name: RoomName,
        view: Arc<RoomView>,
        user: User,
        mut acts: VecDeque<Act>,
        changes: VecDeque<Change>,
        cx: &mut Cx<'_>,
    ) {
        let Some(me) = cx.user().cloned() else { return };
        let Some(act) = acts.pop_front() else { return self.next_change(iq, name, view, changes, cx) };
        let command = Command::by(&me, EntityId::Room(view.id), act);
        self.command(command, false, cx, move |session, outcome, cx| {
            match outcome {
                Outcome::Reply(Err(Refusal::NotMember)) => {
                    return session.iq_error(&iq, &StanzaCondition::Forbidden.into(), cx);
                }
                Outcome::Reply(Err(refusal)) => {
                    return session.iq_error(&iq, &StanzaError::from(&refusal), cx);
                }
                Outcome::Event { event, .. } if user.id == me.id => session.standing_changed(event, cx),
                Outcome::Event { event, .. } => {
                    let here = view.here.get(&user.id);
                    session.tell(&name, cx, |show, out| show.event(event, here, false, out));
                }
                _ => {}
            }
            session.act_on(iq, name, view, user, acts, changes, cx);
        });
    }
}

/// Reads an item: whom and what.
fn read(item: &Element, view: &RoomView, domain: &str) -> Result<Change, StanzaError> {
    let wish = Wish::of(item).ok_or(StanzaCondition::BadRequest)?;
    let target = match (item.attr("jid"), item.attr("nick")) {
        (Some(jid), _) => {
            let jid = Jid::new(jid).map_err(|_| StanzaCondition::JidMalformed)?;
            match place(&jid, domain) {
                Place::User(name, _) => name,
                Place::Elsewhere => return Err(StanzaCondition::RemoteServerNotFound.into()),
                _ => return Err(StanzaCondition::ItemNotFound.into()),
            }
        }
        (None, Some(nick)) => {
            let there = view.here.keys().filter_map(|id| view.members.get(id)).map(|m| &m.user);
            let found = there.into_iter().find(|user| nick_of(user) == nick);
            found.map(|user| user.name.clone()).ok_or(StanzaCondition::ItemNotFound)?
        }
        (None, None) => return Err(StanzaCondition::BadRequest.into()),
    };
    Ok(Change { target, wish, reason: reason_of(item) })
}

/// The acts that a change comes to; none if it is so already.
fn acts(view: &RoomView, me: &User, user: &User, change: &Change) -> Result<VecDeque<Act>, StanzaError> {
    let policy = view.policy();
    let nobody = Standing { membership: Membership::Left, power: policy.levels.users };
    let standing = |id| view.members.get(id).map_or(nobody, |m| m.standing);
    let (own, theirs) = (standing(&me.id), standing(&user.id));
    let ranks = |s: Standing| s.membership != Membership::Banned && s.power >= power::MODERATOR;
    // The lists of admins and owners are the owners' (XEP-0045 §10).
    let owners_business = matches!(change.wish, Wish::Admin | Wish::Owner)
        || (!change.wish.is_role() && ranks(theirs) && user.id != me.id);
    if owners_business && own.power < power::OWNER {
        let why = if own.power >= policy.levels.ban {
            StanzaCondition::NotAllowed
        } else {
            StanzaCondition::Forbidden
        };
        return Err(why.into());
    }
    // Who is a moderator by rank stays one until the rank is taken (§9.7, §8.4).
    if matches!(change.wish, Wish::Visitor | Wish::Participant) && ranks(theirs) {
        return Err(StanzaCondition::NotAllowed.into());
    }
    if user.id == me.id && matches!(change.wish, Wish::Outcast | Wish::Out) {
        return Err(StanzaCondition::Conflict.into());
    }
    let (reason, target) = (change.reason.clone(), user.clone());
    let banned = theirs.membership == Membership::Banned;
    let members_only = policy.join != JoinRule::Public;
    Ok(match change.wish {
        Wish::Outcast if banned => VecDeque::new(),
        Wish::Outcast => [Act::Ban { user: target, reason }].into(),
        Wish::Out => [Act::Kick { user: target, reason, native: None }].into(),
        Wish::NoAffiliation if banned => [Act::Unban { user: target }].into(),
        // Who is no member has to go where only members may be (XEP-0045 §9.4).
        Wish::NoAffiliation
            if members_only && theirs.membership == Membership::Joined && user.id != me.id =>
        {
            let bytes = Octets::from(UNAFFILIATED.as_bytes().to_vec());
            let native = Some(Native { protocol: XMPP_NATIVE, bytes });
            [Act::Kick { user: target, reason, native }].into()
        }
        wish => {
            let mut acts = VecDeque::new();
            if banned {
                acts.push_back(Act::Unban { user: target.clone() });
            }
            let from = if banned { nobody } else { theirs };
            let leaves = wish == Wish::NoAffiliation && from.membership == Membership::Invited;
            let invites = wish == Wish::Member && members_only && from.membership == Membership::Left;
            if let Some(new) =
                moved(wish, from.power, &policy.levels).or((leaves || invites).then_some(from.power))
            {
                acts.push_back(Act::SetPower { user: target, power: new, voiced: None, reason });
            }
            acts
        }
    })
}

/// What makes an occupant a participant, as it gives a visitor voice (§8.3); none if he is one.
pub(super) fn give_voice(view: &RoomView, me: &User, user: &User) -> Result<Option<Act>, StanzaError> {
    let change = Change { target: user.name.clone(), wish: Wish::Participant, reason: None };
    Ok(acts(view, me, user, &change)?.pop_front())
}

/// The power that looks as wished; none if the present one does.
fn moved(wish: Wish, now: Power, levels: &Levels) -> Option<Power> {
    let looks = affiliation(Standing { membership: Membership::Joined, power: now });
    let does = role(now, levels);
    let moderator = power::HELPER.max(levels.kick);
    match wish {
        Wish::Owner => (looks != "owner").then_some(power::OWNER),
        Wish::Admin => (looks != "admin").then_some(power::ADMIN),
        Wish::Member => (looks != "member").then_some(power::VOICE.max(levels.users)),
        Wish::NoAffiliation => (looks != "none").then_some(levels.users),
        Wish::Moderator => (does != "moderator").then_some(moderator),
        Wish::Participant => (does != "participant").then(|| match does {
            "visitor" => levels.speak.max(levels.users),
            _ => power::VOICE.max(levels.speak).max(levels.users),
        }),
        Wish::Visitor => (does != "visitor").then(|| levels.users.min(levels.speak - 1)),
        Wish::Outcast | Wish::Out => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_moves_the_power_to_what_looks_so() {
        let open = Levels::default();
        let moderated = Levels { speak: 10, ..open };
        for (wish, now, levels, want) in [
            (Wish::Member, 0, open, Some(10)),
            (Wish::Member, 30, open, None),
            (Wish::Member, 100, open, Some(10)),
            (Wish::Admin, 50, open, None),
            (Wish::Admin, 100, open, Some(75)),
            (Wish::Owner, 75, open, Some(100)),
            (Wish::NoAffiliation, 10, open, Some(0)),
            (Wish::NoAffiliation, 0, open, None),
            (Wish::Moderator, 10, open, Some(25)),
            (Wish::Participant, -1, open, Some(0)),
            (Wish::Participant, 0, moderated, Some(10)),
            (Wish::Participant, 25, open, Some(10)),
            (Wish::Visitor, 0, open, Some(-1)),
            (Wish::Visitor, 10, moderated, Some(0)),
            (Wish::Visitor, 0, moderated, None),
        ] {
            assert_eq!(moved(wish, now, &levels), want, "{wish:?} {now}");
        }
    }
}
