//! Coming into a room, and changing one's presence there (XEP-0045 §7.1, §7.2, §7.7).
//!
//! Asking for a nick comes first ([`super::nick`]), then all is one step.

use super::Seat;
use super::config::NEW;
use super::show::{Extra, Occupant, Show, mask_subject, nick_of};
use crate::session::Cx;
use crate::xmpp::datetime;
use crate::xmpp::error::{StanzaCondition, StanzaError};
use crate::xmpp::ns;
use crate::xmpp::presence::read;
use crate::xmpp::session::{Outcome, Xmpp};
use crate::xmpp::xml::Element;
use lavina_core::command::{Act, Command, EntityId, Join, Seed};
use lavina_core::event::{Event, What};
use lavina_core::ids::{Pos, RoomId, ShardId};
use lavina_core::name::{Alias, NameKey, RoomName};
use lavina_core::policy::{Levels, Policy, Standing, power};
use lavina_core::presence::Presence;
use lavina_core::projection::{Pieces, Replay};
use lavina_core::query::{Bound, Query, Range, RoomView, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};
use lavina_core::time::UnixMillis;
use std::sync::Arc;

/// Lines of history shown to one who does not say how many.
const HISTORY: u32 = 20;

/// What is known of a join until it is done.
pub(super) struct Entering {
    stanza: Element,
    wanted: Wanted,
    history: Vec<Arc<Event>>,
    /// When the own joining entry was made, if there was one.
    joined: Option<UnixMillis>,
}

/// How much history is wanted (XEP-0045 §7.2.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    lines: u32,
    chars: Option<usize>,
    after: Bound,
}

impl Wanted {
    fn read(x: Option<&Element>, now: UnixMillis) -> Wanted {
        let history = x.and_then(|x| x.child("history", ns::MUC));
        let number = |name| history.and_then(|h| h.attr(name)).and_then(|n| n.parse::<u64>().ok());
        let ago = number("seconds").map(|s| now.0.saturating_sub(s.saturating_mul(1000)));
        let since = history
            .and_then(|h| h.attr("since"))
            .and_then(datetime::parse)
            .and_then(|t| u64::try_from(t).ok());
        let chars = number("maxchars").map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let lines = match (number("maxstanzas"), ago.is_some() || since.is_some() || chars.is_some()) {
            (Some(lines), _) => u32::try_from(lines).unwrap_or(u32::MAX),
            (None, true) => u32::MAX,
            (None, false) => HISTORY,
        };
        let after = match ago.max(since) {
            Some(time) => Bound::Time(UnixMillis(time)),
            None => Bound::Open,
        };
        Wanted { lines: if chars == Some(0) { 0 } else { lines }, chars, after }
    }
}

impl Xmpp {
    /// Takes a presence to a room.
    pub(in crate::xmpp) fn room_presence(
        &mut self,
        mut stanza: Element,
        name: RoomName,
        nick: Option<Str>,
        cx: &mut Cx<'_>,
    ) {
        self.add_avatar(&mut stanza);
        let seated = self.seat(&name);
        let joins = stanza.has("x", ns::MUC);
        match (stanza.attr("type").is_some(), seated, nick) {
            (true, Some(room), _) => self.leave_room(room, &stanza, cx),
            (true, None, _) => {}
            (false, _, None) => self.presence_error(&stanza, &StanzaCondition::JidMalformed.into(), cx),
            (false, Some(room), Some(nick)) if !joins => self.show_self(&stanza, room, &nick, cx),
            // It thinks that it sits here (XEP-0045 §7.2.18): it is told that it does not.
            (false, None, Some(nick)) if !joins => {
                self.tell(&name, cx, |show, out| show.not_there(&nick, out));
            }
            (false, Some(room), Some(nick)) => self.enter_again(stanza, room, nick, cx),
            (false, None, Some(nick)) => self.enter(stanza, name, nick, cx),
        }
    }

    /// Another presence in a room where the session sits.
    fn show_self(&mut self, stanza: &Element, room: RoomId, nick: &Str, cx: &mut Cx<'_>) {
        let Some(seat) = self.bound.as_mut().and_then(|b| b.rooms.seats.get_mut(&room)) else { return };
        if *nick != *nick_of(&seat.me) && *nick != seat.asked {
            return self.take_nick(stanza.clone(), room, nick.clone(), cx);
        }
        seat.presence = read(stanza);
        cx.touch();
        cx.room_presence(room, seat.presence.clone());
    }

    /// Comes in. Reading stops until it is done, so that what the client sends behind it finds it there.
    fn enter(&mut self, stanza: Element, name: RoomName, nick: Str, cx: &mut Cx<'_>) {
        self.wish(&nick.clone(), cx, move |session, wish, cx| match wish {
            Ok(wish) => {
                session.hold(true, cx);
                session.enter_as(stanza, name, nick, wish, cx);
            }
            Err(error) => session.presence_error(&stanza, &error, cx),
        });
    }

    fn enter_as(&mut self, stanza: Element, name: RoomName, nick: Str, wish: Option<Alias>, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().cloned() else { return };
        let (shards, random) = (cx.core_settings().shards, cx.random());
        let shard = ShardId((random >> 48) as u8 & (shards - 1));
        let id = RoomId::fresh(cx.random(), shard, shards, false);
        // Hidden until its owner has seen to it (XEP-0045 §10.1).
        let policy = Policy { secret: true, ..Policy::default() };
        let seed = Seed {
            attrs: vec![(Str::new(NEW), Octets::from(vec![1]))],
            ..Seed::new(Some(name.clone()), policy, power::OWNER)
        };
        let x = stanza.child("x", ns::MUC);
        let join = Join {
            create: Some(seed),
            password: x.and_then(|x| x.child_text("password")).map(|p| Str::new(&*p)),
            subject: mask_subject(&me, &cx.core_settings().domain),
            alias: wish.clone(),
            ..Join::default()
        };
        let then = Box::new(Act::Join(Box::new(join)));
        let act = Act::Route { claim: Some(id.0), then };
        let command = Command::by(&me, EntityId::Name(NameKey::Room(name.clone())), act);
        self.command(command, false, cx, move |session, outcome, cx| {
            let (room, pos, joined) = match outcome {
                Outcome::Reply(Ok(Value::Event(event))) => (event.room, event.pos, Some(event.at)),
                Outcome::Event { event, .. } => (event.room, event.pos, Some(event.at)),
                Outcome::Reply(Ok(Value::Already(id))) => {
                    return session.sit_as(id.room, wish, cx, move |session, may, cx| match may {
                        Ok(()) => session.sit_down(stanza, name, nick, (id.room, id.pos, None), cx),
                        Err(error) => {
                            session.hold(false, cx);
                            session.presence_error(&stanza, &error, cx);
                        }
                    });
                }
                Outcome::Reply(Err(Refusal::NameTaken)) => {
                    let room = Query::RoomNamed(name.clone());
                    return session.wish_again(room, wish, cx, move |session, again, cx| match again {
                        None => session.not_entered(&stanza, &Refusal::NameTaken, cx),
                        again => session.enter_as(stanza, name, nick, again, cx),
                    });
                }
                Outcome::Reply(Err(refusal)) => return session.not_entered(&stanza, &refusal, cx),
                Outcome::Reply(Ok(_)) | Outcome::Live(_) => {
                    return session.not_entered(&stanza, &Refusal::Busy, cx);
                }
            };
            session.sit_down(stanza, name, nick, (room, pos, joined), cx);
        });
    }

    /// The account is a member: since where, and since when if it came in just now.
    fn sit_down(
        &mut self,
        stanza: Element,
        name: RoomName,
        nick: Str,
        (room, pos, joined): (RoomId, Pos, Option<UnixMillis>),
        cx: &mut Cx<'_>,
    ) {
        let (Some(me), Some(bound)) = (cx.user().cloned(), &mut self.bound) else { return };
        let wanted = Wanted::read(stanza.child("x", ns::MUC), cx.now().wall);
        let seat = Seat {
            name,
            asked: nick,
            me,
            presence: read(&stanza),
            standing: Standing::default(),
            levels: Levels::default(),
            entering: Some(Box::new(Entering { stanza, wanted, history: Vec::new(), joined })),
            arriving: false,
        };
        bound.rooms.put(room, seat);
        self.read_history(room, pos, wanted, cx);
    }

    /// The client joins where it sits already: it has lost track, and is told everything anew. If it names another nick
    /// than before, it wants that one.
    fn enter_again(&mut self, stanza: Element, room: RoomId, nick: Str, cx: &mut Cx<'_>) {
        let seat = self.bound.as_ref().and_then(|b| b.rooms.seats.get(&room));
        if seat.is_some_and(|seat| seat.asked != nick && *nick != *nick_of(&seat.me)) {
            return self.change_nick(stanza, room, nick, cx, move |session, stanza, nick, cx| {
                session.show_again(stanza, room, nick, cx);
            });
        }
        self.show_again(stanza, room, nick, cx);
    }

    fn show_again(&mut self, stanza: Element, room: RoomId, nick: Str, cx: &mut Cx<'_>) {
        self.hold(true, cx);
        self.ask(Query::Room(room), cx, move |session, reply, cx| {
            let view = match reply {
                Ok(Value::Room(view)) => view,
                Ok(_) => return session.not_entered(&stanza, &Refusal::Busy, cx),
                Err(refusal) => return session.not_entered(&stanza, &refusal, cx),
            };
            let wanted = Wanted::read(stanza.child("x", ns::MUC), cx.now().wall);
            let Some(seat) = session.bound.as_mut().and_then(|b| b.rooms.seats.get_mut(&room)) else {
                return session.not_entered(&stanza, &Refusal::NotMember, cx);
            };
            (seat.asked, seat.presence) = (nick, read(&stanza));
            cx.room_presence(room, seat.presence.clone());
            session.history(room, wanted, cx, move |session, history, cx| {
                session.hold(false, cx);
                session.show_room(room, &view, &history, wanted, None, cx);
            });
        });
    }

    /// The room ended before the session was in it: there is nothing to wait for.
    pub(super) fn not_entering(&mut self, entering: &Entering, cx: &mut Cx<'_>) {
        self.not_entered(&entering.stanza, &Refusal::NoSuchRoom, cx);
    }

    fn not_entered(&mut self, stanza: &Element, refusal: &Refusal, cx: &mut Cx<'_>) {
        self.hold(false, cx);
        self.presence_error(stanza, &StanzaError::from(refusal), cx);
    }

    /// Reads what was said lately, then attaches from behind it.
    fn read_history(&mut self, room: RoomId, joined: Pos, wanted: Wanted, cx: &mut Cx<'_>) {
        self.history(room, wanted, cx, move |session, history, cx| {
            let since = history.last().map_or(joined, |e| e.pos.max(joined));
            let Some(seat) = session.bound.as_mut().and_then(|b| b.rooms.seats.get_mut(&room)) else {
                return session.hold(false, cx);
            };
            if let Some(entering) = &mut seat.entering {
                entering.history = history;
            }
            cx.room_presence(room, seat.presence.clone());
            cx.attach(room, Some(since));
        });
    }

    fn history(
        &mut self,
        room: RoomId,
        wanted: Wanted,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Vec<Arc<Event>>, &mut Cx<'_>) + Send + 'static,
    ) {
        let Some(reader) = cx.user().map(|me| me.id).filter(|_| wanted.lines > 0) else {
            return then(self, Vec::new(), cx);
        };
        let range = Range { after: wanted.after, ..Range::latest(wanted.lines) };
        self.ask(Query::History { room, reader, range }, cx, move |session, reply, cx| {
            let history = match reply {
                Ok(Value::Events(page)) => page.entries.clone(),
                _ => Vec::new(),
            };
            then(session, history, cx);
        });
    }

    /// The attach is done: shows the room.
    pub(in crate::xmpp) fn attached(
        &mut self,
        room: RoomId,
        replay: Result<Arc<Replay>, Refusal>,
        cx: &mut Cx<'_>,
    ) {
        let Some(seat) = self.bound.as_mut().and_then(|b| b.rooms.seats.get_mut(&room)) else { return };
        let Some(entering) = seat.entering.take() else { return };
        let Entering { stanza, wanted, mut history, joined } = *entering;
        let (replay, view) = match replay.map(|r| (r.clone(), r.view.clone())) {
            Ok((replay, Some(view))) => (replay, view),
            Ok((_, None)) => {
                self.drop_seat(room);
                return self.not_entered(&stanza, &Refusal::Busy, cx);
            }
            Err(refusal) => {
                self.drop_seat(room);
                return self.not_entered(&stanza, &refusal, cx);
            }
        };
        self.hold(false, cx);
        let said = |e: &&Arc<Event>| {
            matches!(
                e.what,
                What::Said(_)
                    | What::Edited { .. }
                    | What::Redacted { .. }
                    | What::Reacted { .. }
                    | What::Withdrawn { .. }
            )
        };
        history.extend(replay.events.iter().filter(said).cloned());
        self.show_room(room, &view, &history, wanted, joined, cx);
    }

    /// Occupants, the own presence, history, subject: in this order (XEP-0045 §7.1).
    fn show_room(
        &mut self,
        room: RoomId,
        view: &RoomView,
        history: &[Arc<Event>],
        wanted: Wanted,
        joined: Option<UnixMillis>,
        cx: &mut Cx<'_>,
    ) {
        let Some(mut me) = cx.user().cloned() else { return };
        let levels = view.policy().levels;
        let row = view.members.get(&me.id);
        let standing = row.map(|m| m.standing).unwrap_or_default();
        me.alias = row.and_then(|m| m.user.alias.clone());
        let Some(seat) = self.bound.as_mut().and_then(|b| b.rooms.seats.get_mut(&room)) else { return };
        (seat.standing, seat.levels, seat.me) = (standing, levels, me.clone());
        seat.arriving = view.here.get(&me.id) != Some(&seat.presence);
        let mut codes = vec![100, 110, 170];
        let creates = |at: UnixMillis| at.0 == view.head.created.0 + 1 && standing.power >= power::OWNER;
        if joined.is_some_and(creates) {
            codes.push(201);
        }
        codes.extend((*seat.asked != *nick_of(&me)).then_some(210));
        let (name, presence) = (seat.name.clone(), seat.presence.clone());
        self.tell(&name, cx, |show, out| {
            others(show, view, me.id, out);
            let who = Occupant { room, user: &me, standing, levels };
            show.presence(who, Some(&presence), Extra { codes: &codes, ..Extra::default() }, out);
        });
        self.tell(&name, cx, |show, out| {
            for event in fitting(show, history, wanted.chars) {
                show.line(event, Some(&show.jid), out);
            }
            show.subject(view.topic.as_ref(), out);
        });
    }
}

/// The presence of everybody else who is there.
fn others(show: &Show<'_>, view: &RoomView, me: lavina_core::ids::AccountId, out: &mut Pieces) {
    let levels = view.policy().levels;
    let there = |(id, presence): (&lavina_core::ids::AccountId, &Presence)| {
        let member = view.members.get(id).filter(|_| *id != me)?;
        Some((member.clone(), presence.clone()))
    };
    for (member, presence) in view.here.iter().filter_map(there) {
        let who = Occupant { room: view.id, user: &member.user, standing: member.standing, levels };
        show.presence(who, Some(&presence), Extra::default(), out);
    }
}

/// The newest of the history that together have no more characters than wanted.
fn fitting<'h>(show: &Show<'_>, history: &'h [Arc<Event>], chars: Option<usize>) -> &'h [Arc<Event>] {
    let Some(mut left) = chars else { return history };
    let mut from = history.len();
    for event in history.iter().rev() {
        let mut one = Pieces::default();
        show.line(event, Some(&show.jid), &mut one);
        let Some(rest) = left.checked_sub(one.bytes().len()) else { break };
        (left, from) = (rest, from - 1);
    }
    &history[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(attrs: &[(&str, &str)]) -> Wanted {
        let history = attrs.iter().fold(Element::new("history", ns::MUC), |el, (n, v)| el.with_attr(n, v));
        let x = Element::new("x", ns::MUC).with_child(history);
        Wanted::read(Some(&x), UnixMillis(10_000))
    }

    #[test]
    fn history_is_as_much_as_wanted() {
        let all = Wanted { lines: u32::MAX, chars: None, after: Bound::Open };
        assert_eq!(Wanted::read(None, UnixMillis(0)), Wanted { lines: HISTORY, ..all });
        assert_eq!(wanted(&[("maxstanzas", "0")]).lines, 0);
        assert_eq!(wanted(&[("maxchars", "0")]).lines, 0);
        assert_eq!(wanted(&[("seconds", "3")]), Wanted { after: Bound::Time(UnixMillis(7_000)), ..all });
        let since = [("since", "1970-01-01T00:00:09Z"), ("maxstanzas", "5")];
        assert_eq!(wanted(&since), Wanted { lines: 5, after: Bound::Time(UnixMillis(9_000)), ..all });
        assert_eq!(wanted(&[("seconds", "x")]).lines, HISTORY);
    }
}
