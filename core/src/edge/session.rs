//! A session: what a user would lose with it.

use crate::{
    ids::{Label, ReqId, RoomId, SessionRef},
    name::User,
    outbox::Outbox,
    presence::Presence,
    text::Str,
    time::{Mono, UnixMillis},
};
use alloc::collections::BTreeMap;
use core::net::SocketAddr;

/// The part of a session that the core keeps and [`crate::Cx`] shows.
pub(crate) struct Core {
    pub me: SessionRef,
    pub user: Option<User>,
    pub label: Label,
    pub peer: Option<SocketAddr>,
    pub out: Outbox,
    /// Requests not answered yet.
    pub pending: BTreeMap<ReqId, Pending>,
    pub next_req: u32,
    /// `recv` is not called.
    pub held: bool,
    /// `recv` asked to be called again when the requests in flight are answered.
    pub blocked: bool,
    /// What was charged in this call.
    pub spent: u32,
    /// Set during `Wake::Lost`: the session stays until then.
    pub park: Option<Mono>,
    /// The rooms it is attached to or being attached to.
    pub rooms: BTreeMap<RoomId, Attachment>,
    pub presence: Option<Presence>,
    pub display: Str,
    pub since: UnixMillis,
    pub active: UnixMillis,
    pub subscribed: bool,
}

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    Command,
    Query,
    Signal,
    Job,
}

/// Where an attachment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Asked; events do not come yet.
    Asked,
    /// Events come; the place in the room's group.
    Here,
}

impl Core {
    pub fn new(me: SessionRef, peer: Option<SocketAddr>, now: UnixMillis) -> Core {
        Core {
            me,
            user: None,
            label: Label::default(),
            peer,
            out: Outbox::default(),
            pending: BTreeMap::new(),
            next_req: 0,
            held: false,
            blocked: false,
            spent: 0,
            park: None,
            rooms: BTreeMap::new(),
            presence: None,
            display: Str::default(),
            since: now,
            active: now,
            subscribed: false,
        }
    }

    pub fn request(&mut self, what: Pending) -> ReqId {
        self.next_req = self.next_req.wrapping_add(1);
        let req = ReqId(self.next_req);
        self.pending.insert(req, what);
        req
    }
}
