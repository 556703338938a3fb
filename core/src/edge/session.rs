//! A session: what a user would lose with it; and its connection, while there is one.

use crate::{
    edge::blobs::{Course, Transfer},
    ids::{AccountId, ConnId, Label, ReqId, RoomId, SessionRef, WorkerId},
    name::{User, UserName},
    outbox::Outbox,
    presence::Presence,
    projection::{Around, Mode, Projection, Reason, WireClass},
    text::Str,
    time::{Mono, Now, UnixMillis},
    vecmap::VecMap,
};
use alloc::{boxed::Box, collections::BTreeSet, vec::Vec};
use core::net::SocketAddr;

/// The part of a session that the core keeps and [`crate::Cx`] shows.
pub(crate) struct Core {
    pub me: SessionRef,
    pub user: Option<User>,
    pub label: Label,
    pub peer: Option<SocketAddr>,
    pub out: Outbox,
    /// Requests not answered yet.
    pub pending: VecMap<ReqId, Pending>,
    pub next_req: u32,
    /// Transfers of media not over yet.
    pub transfers: VecMap<ReqId, Transfer>,
    /// `recv` is not called.
    pub held: bool,
    /// What was charged in this call.
    pub spent: u32,
    /// Set during `Wake::Lost`: the session stays until then.
    pub park: Option<Mono>,
    /// The rooms it is attached to or being attached to.
    pub rooms: VecMap<RoomId, Attachment>,
    pub presence: Option<Box<Presence>>,
    pub display: Str,
    pub since: UnixMillis,
    pub active: UnixMillis,
    pub subscribed: bool,
    pub farewell: Option<Box<Str>>,
    /// The projection is told when fewer bytes wait to be sent; zero: it is not.
    pub refill: u32,
    /// Bytes of output that may wait; zero: the usual limit.
    pub room: u32,
    /// What a new session must know to take this one over; `None`: nobody can.
    pub resume_key: Option<Box<u128>>,
    /// Its account leaves its rooms with it, if no other session is there.
    pub leaves: bool,
    /// The marks that the edge's counts contain.
    pub counted: crate::presence::Marks,
    /// Names it watches.
    pub watches: BTreeSet<UserName>,
}

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    Command,
    Query,
    Signal,
    Job,
    /// Handed to an agent.
    Hand,
    /// The claim of a guest's name, made by the edge itself.
    Guest,
}

/// An attachment to a room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attachment {
    /// Where it stands in the room's group; `None`: asked, events do not come yet.
    pub place: Option<Place>,
    /// The presence in this room, where it differs from the general one.
    pub presence: Option<Box<Presence>>,
}

/// A place in one of a room's groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub group: Group,
    pub index: u32,
}

/// Sessions of a room that are served alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Class(WireClass),
    Each,
    Quiet,
}

impl From<Mode> for Group {
    fn from(mode: Mode) -> Group {
        match mode {
            Mode::Push(class) => Group::Class(class),
            Mode::Each => Group::Each,
            Mode::Quiet => Group::Quiet,
        }
    }
}

/// Where a connection that hands its requests to agents ([`crate::cx::Cx::hand`]) is, as seen from them. Each request for
/// another worker is two letters, so one that has twice in succession asked the same other worker is better off there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Near {
    /// On their worker; or nothing was handed over yet.
    #[default]
    Here,
    /// The last request was that worker's.
    Once(WorkerId),
    /// It moves there when nothing is under way.
    Going(WorkerId),
}

impl Near {
    /// A request goes to that worker, from this one.
    pub fn hand(self, to: WorkerId, me: WorkerId) -> Near {
        match self {
            _ if to == me => Near::Here,
            Near::Once(last) | Near::Going(last) if last == to => Near::Going(to),
            _ => Near::Once(to),
        }
    }
}

/// How many recent happenings a session remembers having been shown (see [`crate::event::Live::same`]).
pub(crate) const SAME: usize = 4;

/// A session.
pub(crate) struct Session<P: Projection> {
    pub projection: P,
    pub core: Core,
    pub conn: Option<ConnId>,
    pub layer: Option<P::Layer>,
    /// True once the layer's handshake was told to the projection.
    pub secured: bool,
    /// Plain bytes not taken yet.
    pub inbox: Vec<u8>,
    /// Bytes of the layer, or plain ones from before it, not sent yet.
    pub wire: Vec<u8>,
    pub wire_sent: usize,
    pub paused: bool,
    pub dirty: bool,
    pub ready: bool,
    /// Why it ends; nothing is read any more, what is written still goes out.
    pub closing: Option<Reason>,
    pub close_sent: bool,
    /// The layer's own farewell is written.
    pub farewell_sent: bool,
    /// Taken out of hubs and rooms.
    pub ended: bool,
    pub timers: VecMap<u8, Mono>,
    pub flow: Flow,
    /// Bytes of `inbox` that `recv` found incomplete: it is not called again before there are more.
    pub seen: usize,
    pub same: Option<Box<[u64; SAME]>>,
    /// So many entries of the present burst are written to it.
    pub ahead: u32,
    pub group: Group,
    /// A login waiting for requests in flight.
    pub login: Option<Box<User>>,
    /// The name a guest has asked for, with the request.
    pub claim: Option<Box<(ReqId, User)>>,
    pub moving: bool,
    pub near: Near,
    /// The other end has said its last word in the layer.
    pub hung_up: bool,
    /// Fewer bytes wait than the projection wanted to be told of.
    pub drained: bool,
    /// The session that takes this one over once its requests in flight are answered.
    pub heir: Option<SessionRef>,
    /// As whose agent it is known, if it is one.
    pub agent: Option<(AccountId, Label)>,
    /// What it wants to have said around the word that the session it takes over goes on.
    pub around: Option<Box<Around>>,
}

impl<P: Projection> Session<P> {
    pub fn new(projection: P, layer: Option<P::Layer>, core: Core, conn: Option<ConnId>) -> Session<P> {
        let group = projection.mode().into();
        Session {
            projection,
            core,
            conn,
            layer,
            secured: false,
            inbox: Vec::new(),
            wire: Vec::new(),
            wire_sent: 0,
            paused: false,
            dirty: false,
            ready: false,
            closing: None,
            close_sent: false,
            farewell_sent: false,
            ended: false,
            timers: VecMap::new(),
            flow: Flow::default(),
            seen: 0,
            same: None,
            ahead: 0,
            group,
            login: None,
            claim: None,
            moving: false,
            near: Near::Here,
            hung_up: false,
            drained: false,
            heir: None,
            agent: None,
            around: None,
        }
    }

    /// Bytes held for the other end.
    pub fn held(&self) -> usize {
        self.core.out.held() + self.wire.len() - self.wire_sent
    }

    /// Bytes that can be sent now and are not, in whatever form.
    pub fn waiting(&self) -> usize {
        self.core.out.pending().len() + self.wire.len() - self.wire_sent
    }

    /// True when there is something to send.
    pub fn has_output(&self) -> bool {
        self.wire.len() > self.wire_sent || !self.core.out.pending().is_empty()
    }

    /// True, and remembered, when this happening was shown before.
    pub fn shown(&mut self, same: u64) -> bool {
        if same == 0 {
            return false;
        }
        let seen = self.same.get_or_insert_default();
        if seen.contains(&same) {
            return true;
        }
        seen.rotate_right(1);
        seen[0] = same;
        false
    }

    /// Takes up to `n` sent bytes off the front.
    pub fn sent(&mut self, n: usize) {
        if self.layer.is_none() && self.wire.is_empty() {
            return self.core.out.sent(n);
        }
        self.wire_sent = (self.wire_sent + n).min(self.wire.len());
        if self.wire_sent == self.wire.len() {
            (self.wire, self.wire_sent) = (Vec::new(), 0);
        }
    }
}

impl Core {
    pub fn new(me: SessionRef, peer: Option<SocketAddr>, now: UnixMillis) -> Core {
        Core {
            me,
            user: None,
            label: Label::default(),
            peer,
            out: Outbox::default(),
            pending: VecMap::new(),
            next_req: 0,
            transfers: VecMap::new(),
            held: false,
            spent: 0,
            park: None,
            rooms: VecMap::new(),
            presence: None,
            display: Str::default(),
            since: now,
            active: now,
            subscribed: false,
            farewell: None,
            refill: 0,
            room: 0,
            resume_key: None,
            leaves: false,
            counted: crate::presence::Marks::default(),
            watches: BTreeSet::new(),
        }
    }

    pub fn request(&mut self, what: Pending) -> ReqId {
        let req = self.name();
        self.pending.insert(req, what);
        req
    }

    /// A fresh name of a request.
    fn name(&mut self) -> ReqId {
        self.next_req = self.next_req.wrapping_add(1);
        ReqId(self.next_req)
    }

    /// A transfer of media begins.
    pub fn transfer(&mut self, what: Course) -> ReqId {
        let req = self.name();
        self.transfers.insert(req, Transfer { id: None, what });
        req
    }

    /// The presence shown in a room.
    pub fn presence_in(&self, room: RoomId) -> Presence {
        let own = self.rooms.get(&room).and_then(|a| a.presence.as_ref());
        own.or(self.presence.as_ref()).map(|p| (**p).clone()).unwrap_or_default()
    }
}

/// What a session may spend: a bucket that fills with time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    debt: u64,
    at: Mono,
}

impl Flow {
    /// Spends; answers until when reading must wait, if it must.
    pub fn spend(&mut self, cost: u32, now: Now, burst: u32, rate: u32) -> Option<Mono> {
        if burst == 0 || rate == 0 {
            return None;
        }
        let earned = now.mono.since(self.at).saturating_mul(u64::from(rate)) / 1_000;
        self.debt = self.debt.saturating_sub(earned) + u64::from(cost);
        self.at = now.mono;
        let over = self.debt.checked_sub(u64::from(burst)).filter(|o| *o > 0)?;
        Some(now.mono + (over * 1_000).div_ceil(u64::from(rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_where_two_requests_in_succession_went() {
        let (me, other, third) = (WorkerId(0), WorkerId(1), WorkerId(2));
        let after = |requests: &[WorkerId]| requests.iter().fold(Near::Here, |near, to| near.hand(*to, me));
        assert_eq!(after(&[me, me]), Near::Here);
        assert_eq!(after(&[other]), Near::Once(other));
        assert_eq!(after(&[other, other]), Near::Going(other));
        assert_eq!(after(&[other, other, other]), Near::Going(other), "one that was never quiet");
        // A proxy's, with everybody's requests.
        assert_eq!(after(&[other, third, other]), Near::Once(other));
        assert_eq!(after(&[other, me, other]), Near::Once(other));
        assert_eq!(after(&[other, other, me]), Near::Here);
    }
}
