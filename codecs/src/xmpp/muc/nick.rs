//! Nicks: what is asked for, who gets it, and changing it (XEP-0045 §7.2.8, §7.6).
//!
//! One's nick is what one asked for at the join, by the rules of RFC 8266; it is the [`Alias`] of the account in the room.
//! Who asks for the account's own name has none. Nobody gets the name of another account, in the room or not, nor a
//! nick that another member has. All sessions of an account sit under one nick.

use super::show::nick_of;
use crate::session::Cx;
use crate::xmpp::address::Place;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::iq::{Iq, OTHER};
use crate::xmpp::jid::prepare_resource;
use crate::xmpp::ns;
use crate::xmpp::precis::{nickname, nickname_key};
use crate::xmpp::presence::read;
use crate::xmpp::session::{Outcome, Xmpp};
use crate::xmpp::xml::Element;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::ids::{AccountId, RoomId};
use lavina_core::name::{Alias, NameKey, RoomName, User, UserName};
use lavina_core::policy::{Member, Membership};
use lavina_core::query::{Query, RoomView, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::Str;

/// A nick as it is shown and as it is compared (RFC 8266 §2); none if it cannot be one: empty, too long, or with
/// characters that are not for nicks.
pub(super) fn prepared(nick: &str, max: usize) -> Option<(String, String)> {
    if nick.len() > 4 * max {
        return None;
    }
    let text = nickname(nick)?;
    let key = nickname_key(&text)?;
    // It stands in addresses: there it must not change again.
    let fits = text.len() <= max && prepare_resource(&text).is_ok_and(|resource| resource == text);
    fits.then_some((text, key))
}

/// Whether another member, there or not, is of that name.
fn is_named(view: &RoomView, key: &str, but: AccountId) -> bool {
    view.members.values().any(|m| {
        m.standing.membership == Membership::Joined
            && m.user.id != but
            && m.user.name.as_str().eq_ignore_ascii_case(key)
    })
}

/// Whether the nick is that of a member that is not there.
fn is_idle(view: &RoomView, key: &str) -> bool {
    let holder = view.members.values().find(|m| m.alias_key.as_deref() == Some(key));
    holder.is_some_and(|m| !view.here.contains_key(&m.user.id))
}

/// The member of that nick.
pub(super) fn member_called<'v>(view: &'v RoomView, nick: &str) -> Option<&'v Member> {
    let joined = |m: &&Member| m.standing.membership == Membership::Joined;
    view.members.values().filter(joined).find(|m| nick_of(&m.user) == nick)
}

impl Xmpp {
    /// What an asked nick comes to; none: it is the account's own name. Whether a member has it is for the room to say.
    /// Reading stops until it is known.
    pub(super) fn wish(
        &mut self,
        nick: &str,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Result<Option<Alias>, StanzaError>, &mut Cx<'_>) + Send + 'static,
    ) {
        let Some(me) = cx.user().cloned() else { return };
        let max = cx.core_settings().limits.alias;
        let Some((text, key)) = prepared(nick, max) else {
            let error = StanzaError::new(StanzaCondition::NotAcceptable, "this cannot be a nick");
            return then(self, Err(error), cx);
        };
        if me.name.as_str().eq_ignore_ascii_case(&key) {
            return then(self, Ok(None), cx);
        }
        let alias = |free| Alias { text: Str::new(&text), key: Str::new(&key), free, idle: false };
        let (free, taken) = (alias(true), alias(false));
        let Ok(name) = UserName::new(&key) else { return then(self, Ok(Some(free)), cx) };
        self.hold(true, cx);
        self.ask(Query::Resolve(NameKey::User(name)), cx, move |session, reply, cx| {
            session.hold(false, cx);
            let wish = match reply {
                Ok(_) => Ok(Some(taken)),
                Err(Refusal::NoSuchUser) => Ok(Some(free)),
                Err(refusal) => Err(StanzaError::from(&refusal)),
            };
            then(session, wish, cx);
        });
    }

    /// Asks the room for a nick that a member has: whose holder is not there gives way.
    pub(super) fn wish_again(
        &mut self,
        room: Query,
        alias: Option<Alias>,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Option<Alias>, &mut Cx<'_>) + Send + 'static,
    ) {
        let Some(alias) = alias.filter(|alias| alias.free && !alias.idle) else {
            return then(self, None, cx);
        };
        self.ask(room, cx, move |session, reply, cx| {
            let idle = matches!(&reply, Ok(Value::Room(view)) if is_idle(view, &alias.key));
            then(session, idle.then_some(Alias { idle, ..alias }), cx);
        });
    }

    /// A member's session comes in: the nick asked for is the account's from here on, unless another session of it is
    /// there, or somebody has it. `then` is told whether the session may sit down.
    pub(super) fn sit_as(
        &mut self,
        room: RoomId,
        wish: Option<Alias>,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Result<(), StanzaError>, &mut Cx<'_>) + Send + 'static,
    ) {
        let Some(me) = cx.user().map(|me| me.id) else { return };
        self.ask(Query::Room(room), cx, move |session, reply, cx| {
            let Ok(Value::Room(view)) = reply else { return then(session, Ok(()), cx) };
            let now = view.members.get(&me).and_then(|m| m.user.alias.as_ref());
            let same = now.map(Str::as_str) == wish.as_ref().map(|alias| alias.text.as_str());
            match &wish {
                _ if same || view.here.contains_key(&me) => then(session, Ok(()), cx),
                Some(alias) if !alias.free => {
                    let taken = is_named(&view, &alias.key, me);
                    then(session, if taken { Err(StanzaCondition::Conflict.into()) } else { Ok(()) }, cx);
                }
                _ => session.ask_alias(room, wish, cx, move |session, outcome, cx| {
                    let refused = outcome.refusal().map(StanzaError::from);
                    then(session, refused.map_or(Ok(()), Err), cx);
                }),
            }
        });
    }

    /// Asks a room in which the account is for another alias.
    fn ask_alias(
        &mut self,
        room: RoomId,
        alias: Option<Alias>,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Outcome<'_>, &mut Cx<'_>) + Send + 'static,
    ) {
        let Some(me) = cx.user().cloned() else { return };
        let command = Command::by(&me, EntityId::Room(room), Act::Alias(alias.clone()));
        self.command(command, false, cx, move |session, outcome, cx| match outcome.refusal() {
            Some(Refusal::NameTaken) => {
                session.wish_again(Query::Room(room), alias, cx, move |session, again, cx| match again {
                    None => then(session, Outcome::Reply(Err(Refusal::NameTaken)), cx),
                    again => session.ask_alias_now(me, room, again, cx, then),
                });
            }
            _ => then(session, outcome, cx),
        });
    }

    fn ask_alias_now(
        &mut self,
        me: User,
        room: RoomId,
        alias: Option<Alias>,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Outcome<'_>, &mut Cx<'_>) + Send + 'static,
    ) {
        let command = Command::by(&me, EntityId::Room(room), Act::Alias(alias));
        self.command(command, false, cx, then);
    }

    /// Another nick for one who sits in the room (XEP-0045 §7.6); `then` goes on where it was given. Reading stops until
    /// that is so, so that what the client sends behind it finds it done.
    pub(super) fn change_nick(
        &mut self,
        stanza: Element,
        room: RoomId,
        nick: Str,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Element, Str, &mut Cx<'_>) + Send + 'static,
    ) {
        self.wish(&nick.clone(), cx, move |session, wish, cx| {
            let wish = match wish {
                Ok(Some(alias)) if !alias.free => Err(taken()),
                wish => wish,
            };
            let wish = match wish {
                Ok(wish) => wish,
                Err(error) => return session.presence_error(&stanza, &error, cx),
            };
            session.hold(true, cx);
            session.ask_alias(room, wish, cx, move |session, outcome, cx| {
                session.hold(false, cx);
                match &outcome {
                    Outcome::Reply(Err(Refusal::NameTaken)) => {
                        return session.presence_error(&stanza, &taken(), cx);
                    }
                    Outcome::Reply(Err(refusal)) => {
                        return session.presence_error(&stanza, &StanzaError::from(refusal), cx);
                    }
                    Outcome::Event { event, .. } => session.standing_changed(event, cx),
                    _ => {}
                }
                then(session, stanza, nick, cx);
            });
        });
    }

    /// The same for a presence that says nothing else but how one is.
    pub(super) fn take_nick(&mut self, stanza: Element, room: RoomId, nick: Str, cx: &mut Cx<'_>) {
        self.change_nick(stanza, room, nick, cx, move |session, stanza, nick, cx| {
            let seat = session.bound.as_mut().and_then(|b| b.rooms.seats.get_mut(&room));
            let Some(seat) = seat else { return };
            (seat.asked, seat.presence) = (nick, read(&stanza));
            cx.touch();
            cx.room_presence(room, seat.presence.clone());
        });
    }

    /// Finds who sits, or would sit, under a nick in a room of which the asker may know. Reading stops until then.
    pub(in crate::xmpp) fn with_occupant(
        &mut self,
        room: RoomName,
        nick: Str,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Option<User>, &mut Cx<'_>) + Send + 'static,
    ) {
        let Some(me) = cx.user().map(|me| me.id) else { return };
        self.hold(true, cx);
        self.ask(Query::RoomNamed(room), cx, move |session, reply, cx| {
            session.hold(false, cx);
            let found = match &reply {
                Ok(Value::Room(view)) if super::disco::may_know(view, me) => member_called(view, &nick),
                _ => None,
            };
            let user = found.map(|m| User::new(m.user.id, m.user.name.clone()));
            then(session, user, cx);
        });
    }

    /// A request to an occupant, of one who sits in the room too: what an account answers about itself is answered for
    /// the account that the nick stands for; who that is everybody in the room can see. All else is for its client.
    pub(in crate::xmpp) fn iq_to_occupant(&mut self, iq: Iq, room: RoomName, nick: Str, cx: &mut Cx<'_>) {
        if self.seat(&room).is_none() {
            // Discovery has an error of its own (XEP-0045 §6.6).
            let asks = [ns::DISCO_INFO, ns::DISCO_ITEMS].iter().any(|ns| iq.payload().ns == *ns);
            let condition = if asks { StanzaCondition::BadRequest } else { StanzaCondition::NotAcceptable };
            return self.iq_error(&iq, &StanzaError::new(condition, "you are not in this room"), cx);
        }
        self.with_occupant(room.clone(), nick, cx, move |session, user, cx| {
            let Some(user) = user else {
                return session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx);
            };
            let payload = iq.payload();
            let told = [ns::VCARD, ns::PUBSUB].iter().any(|ns| payload.ns == *ns) && !iq.set;
            match crate::xmpp::iq::handler(payload, OTHER).filter(|_| told) {
                Some(handler) => (handler.run)(session, Iq { place: Place::User(user.name, None), ..iq }, cx),
                None => session.relay(iq, &room, user, cx),
            }
        });
    }
}

fn taken() -> StanzaError {
    StanzaError::new(StanzaCondition::Conflict, "somebody else has this nick, or an account that name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicks_are_prepared_by_rfc_8266() {
        let check = |nick: &str, want: Option<(&str, &str)>| {
            let got = prepared(nick, 16);
            assert_eq!(got.as_ref().map(|(t, k)| (t.as_str(), k.as_str())), want, "{nick:?}");
        };
        check("Third Witch", Some(("Third Witch", "third witch")));
        check("  Third   Witch ", Some(("Third Witch", "third witch")));
        check("Ñandú 📱", Some(("Ñandú 📱", "ñandú 📱")));
        check("🤖🫨", Some(("🤖🫨", "🤖🫨")));
        check("Ⅳ", Some(("IV", "iv")));
        for bad in ["", "  ", "\u{202e}abc", "a\u{200b}b", "a\nb", "seventeen letters"] {
            check(bad, None);
        }
    }
}
