//! Rooms (XEP-0045): a session's seats in them, and what it is told of its own standing.
//!
//! A room belongs to the core; here is only how a session sits in it. One's nick is what one asked for, the same for all
//! sessions of the account, but never the name of another account, so nobody can sit under another's name ([`nick`]).
//! Coming in is one step: [`enter`] joins, reads what was said lately and attaches from there, so
//! that occupants, the own presence, history and subject are written in one go and live stanzas follow without a gap.

mod admin;
mod avatar;
mod config;
mod disco;
mod enter;
mod invite;
mod nick;
mod relay;
mod show;
mod speak;
mod voice;

pub(super) use admin::{admin, moderate};
pub(super) use avatar::vcard;
pub(super) use config::owner;
pub(super) use disco::{info, items};
pub(super) use show::{Show, encode};
pub(super) use speak::{change, typing};

use crate::session::Cx;
use crate::xmpp::error::StanzaCondition;
use crate::xmpp::iq::Iq;
use crate::xmpp::presence::read;
use crate::xmpp::session::Xmpp;
use crate::xmpp::xml::Element;
use enter::Entering;
use lavina_core::event::{Event, Live, LiveWhat, What};
use lavina_core::ids::RoomId;
use lavina_core::name::{RoomName, User};
use lavina_core::policy::{Levels, Membership, Standing};
use lavina_core::presence::{Presence, Show as Availability};
use lavina_core::projection::Pieces;
use lavina_core::text::Str;
use lavina_core::vecmap::VecMap;
use show::{Extra, Occupant, nick_of};

/// The rooms that a session sits in, or is coming into.
#[derive(Default)]
pub struct Rooms {
    seats: VecMap<RoomId, Seat>,
    names: VecMap<RoomName, RoomId>,
}

/// A session's place in a room.
pub(super) struct Seat {
    /// The room.
    pub name: RoomName,
    /// The nick it asked for.
    asked: Str,
    /// The account as the room knows it: with the nick it has.
    me: User,
    /// Its presence there.
    presence: Presence,
    /// Its account's standing.
    standing: Standing,
    /// The room's levels when that was told.
    levels: Levels,
    /// Coming in is under way.
    entering: Option<Box<Entering>>,
    /// The core will tell of the arrival that was shown already.
    arriving: bool,
}

impl Rooms {
    pub(super) fn named(&self, name: &RoomName) -> Option<RoomId> {
        self.names.get(name).copied()
    }

    fn put(&mut self, room: RoomId, seat: Seat) {
        self.names.insert(seat.name.clone(), room);
        self.seats.insert(room, seat);
    }

    fn take(&mut self, room: RoomId) -> Option<Seat> {
        let seat = self.seats.remove(&room)?;
        self.names.remove(&seat.name);
        Some(seat)
    }
}

impl Xmpp {
    /// The room of that name in which the session sits.
    pub(super) fn seat(&self, name: &RoomName) -> Option<RoomId> {
        self.bound.as_ref().and_then(|b| b.rooms.named(name))
    }

    /// The name of a room in which the session sits.
    pub(super) fn room_name(&self, room: RoomId) -> Option<RoomName> {
        self.bound.as_ref()?.rooms.seats.get(&room).map(|seat| seat.name.clone())
    }

    /// Writes a room's stanzas to this session alone.
    pub(super) fn tell(
        &mut self,
        name: &RoomName,
        cx: &mut Cx<'_>,
        build: impl FnOnce(&Show<'_>, &mut Pieces),
    ) {
        let mut pieces = Pieces::default();
        build(&Show::new(name, cx.settings()), &mut pieces);
        if !pieces.is_empty() {
            self.flush_deferred(cx);
            cx.outbox().write_pieces(&pieces, |hole| self.hole(hole));
            self.ask_for_ack(cx);
        }
    }

    /// An entry about the session's own account that another made, or another session of it.
    pub(super) fn standing_changed(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let Some(seat) = self.bound.as_mut().and_then(|b| b.rooms.seats.get_mut(&event.room)) else { return };
        let What::Member(change) = &event.what else { return };
        (seat.standing, seat.levels) = (change.after, change.levels);
        seat.me = change.user.clone();
        let (name, presence) = (seat.name.clone(), seat.presence.clone());
        self.tell(&name, cx, |show, out| show.event(event, Some(&presence), true, out));
        if change.after.membership != Membership::Joined {
            self.drop_seat(event.room);
        }
    }

    /// A live signal about the session's own account.
    pub(super) fn live_about(&mut self, live: &Live, cx: &mut Cx<'_>) {
        let Some(seat) = self.bound.as_mut().and_then(|b| b.rooms.seats.get_mut(&live.room)) else { return };
        let LiveWhat::Here { standing, levels, .. } = &live.what else { return };
        (seat.standing, seat.levels) = (*standing, *levels);
        seat.me = live.by.clone();
        if std::mem::take(&mut seat.arriving) {
            return;
        }
        let name = seat.name.clone();
        self.tell(&name, cx, |show, out| show.live(live, true, out));
    }

    /// The room is no more: the session is told so under its nick there (XEP-0045 §10.9), unless it has been.
    pub(super) fn room_destroyed(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let seat = self.bound.as_mut().and_then(|b| b.rooms.take(event.room));
        if let Some(entering) = seat.as_ref().and_then(|seat| seat.entering.as_ref()) {
            return self.not_entering(entering, cx);
        }
        if let (Some(seat), What::Destroyed { reason, instead }) = (seat, &event.what) {
            self.tell(&seat.name, cx, |show, out| {
                show.destroyed(&seat.me, reason.as_deref(), instead.as_deref(), out);
            });
        }
    }

    /// Who the session is in a room where it sits.
    fn seated_as(&self, name: &RoomName) -> Option<&User> {
        let rooms = &self.bound.as_ref()?.rooms;
        rooms.seats.get(&rooms.named(name)?).map(|seat| &seat.me)
    }

    /// The room is no more, or the account no longer in it.
    pub(super) fn drop_seat(&mut self, room: RoomId) {
        if let Some(bound) = &mut self.bound {
            bound.rooms.take(room);
        }
    }

    /// The session leaves the room by its own word. The account leaves with its last session,
    /// unless a bookmark says that it stays a member.
    fn leave_room(&mut self, room: RoomId, stanza: &Element, cx: &mut Cx<'_>) {
        let Some(seat) = self.bound.as_mut().and_then(|b| b.rooms.take(room)) else { return };
        let who = Occupant { room, user: &seat.me, standing: seat.standing, levels: seat.levels };
        let last = farewell(stanza);
        self.tell(&seat.name, cx, |show, out| {
            show.presence(who, None, Extra { codes: &[110], last: Some(&last), ..Extra::default() }, out);
        });
        cx.room_presence(room, last);
        cx.detach(room);
        let jid = Show::new(&seat.name, cx.settings()).jid;
        self.leave_unless_kept(room, jid, cx);
    }

    /// The session is no longer available: it sits in no room any more.
    pub(super) fn leave_rooms(&mut self, stanza: Option<&Element>, cx: &mut Cx<'_>) {
        let Some(bound) = &mut self.bound else { return };
        for (room, _) in std::mem::take(&mut bound.rooms).seats {
            if let Some(stanza) = stanza {
                cx.room_presence(room, farewell(stanza));
            }
            cx.detach(room);
        }
    }
}

/// What a stanza says last in a room.
fn farewell(stanza: &Element) -> Presence {
    Presence { show: Availability::Offline, ..read(stanza) }
}

/// Am I still there (XEP-0410)? Answered without asking anybody.
pub(super) fn ping(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    let crate::xmpp::address::Place::Room(name, nick) = iq.place.clone() else { return };
    let seat = session.bound.as_ref().and_then(|b| b.rooms.seats.get(&b.rooms.named(&name)?));
    let Some(seat) = seat else {
        return session.iq_error(&iq, &StanzaCondition::NotAcceptable.into(), cx);
    };
    match nick {
        Some(nick) if *nick != *nick_of(&seat.me) && nick != seat.asked => {
            session.iq_to_occupant(iq, name, nick, cx);
        }
        _ => session.iq_result(&iq, cx, |_| {}),
    }
}
