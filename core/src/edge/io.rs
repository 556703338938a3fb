//! Bytes: in, through the layer, to the projection; and out.

use super::{Edge, LOGIN, PARKED, SLOWED, session::Session};
use crate::{
    drive::Output,
    ids::{ConnId, SessionRef},
    log::{Level, Log},
    post::Post,
    projection::{Layer, Projection, Reason, Wake},
    time::Now,
};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

impl<P: Projection> Edge<P> {
    /// A connection came in.
    pub fn opened(&mut self, conn: ConnId, on: P::Listener, peer: Option<SocketAddr>, post: &mut Post) {
        let limits = self.core_settings().limits;
        let (projection, layer) = P::accept(on, peer, &self.settings);
        let slot = self.insert(conn, peer, |core| Session::new(projection, layer, core, Some(conn)));
        // This machine's own are a proxy's, or its administrator's.
        let crowded = peer.filter(|p| !p.ip().to_canonical().is_loopback()).is_some_and(|p| {
            let n = self.addresses.entry(network(p.ip())).or_insert(0);
            *n += 1;
            limits.connections_per_address > 0 && *n > limits.connections_per_address
        });
        if crowded {
            self.close(slot, Reason::Limit("too many connections from your address"));
        } else if self.draining {
            self.close(slot, Reason::Drain);
        } else {
            if peer.is_some() {
                self.timer(slot, LOGIN, Some(self.now.mono + limits.login_time));
            }
            self.call(slot, |p, cx| p.opened(cx));
            self.settle(post);
        }
        self.mark(slot);
    }

    pub(super) fn insert(
        &mut self,
        conn: ConnId,
        peer: Option<SocketAddr>,
        make: impl FnOnce(super::session::Core) -> Session<P>,
    ) -> u32 {
        let (worker, wall) = (self.me, self.now.wall);
        let slot = self.sessions.insert_with(|slot, generation| {
            make(super::session::Core::new(SessionRef { worker, slot, generation }, peer, wall))
        });
        self.conns.insert(conn, slot);
        slot
    }

    /// Bytes came in.
    pub fn received(&mut self, conn: ConnId, bytes: &[u8], post: &mut Post) {
        let Some(&slot) = self.conns.get(&conn) else { return };
        let limit = self.core_settings().limits.inbox;
        let Some(s) = self.sessions.get_mut(slot) else { return };
        if s.closing.is_some() {
            return;
        }
        match &mut s.layer {
            Some(layer) => {
                let result = layer.read(bytes, &mut s.inbox, &mut s.wire);
                let secured = !s.secured && layer.channel().is_some();
                s.secured |= secured;
                let over = !s.hung_up && layer.is_over();
                s.hung_up |= over;
                if secured {
                    self.call(slot, |p, cx| p.wake(Wake::Secured, cx));
                    self.settle(post);
                }
                if let Err(reason) = result {
                    self.advance(slot, &[], post);
                    return self.close(slot, reason);
                }
                self.mark(slot);
                self.advance(slot, &[], post);
                if over {
                    // Its answer goes out; then the connection is lost, as one that the other end closed.
                    self.out(Output::Close(conn, Reason::Bye));
                    return;
                }
            }
            None if s.inbox.is_empty() => self.advance(slot, bytes, post),
            None => {
                s.inbox.extend_from_slice(bytes);
                self.advance(slot, &[], post);
            }
        }
        if let Some(s) = self.sessions.get_mut(slot)
            && s.inbox.len() > limit
            && !s.paused
            && s.closing.is_none()
        {
            s.paused = true;
            self.out(Output::Pause(conn, true));
        }
    }

    /// Lets the projection take what it can, from `fresh` if nothing older waits.
    pub(super) fn advance(&mut self, slot: u32, fresh: &[u8], post: &mut Post) {
        let limits = self.core_settings().limits;
        let mut budget = limits.turn;
        let (mut at, inbox) = (0, self.take_inbox(slot));
        loop {
            let rest = if inbox.is_empty() { fresh.get(at..).unwrap_or_default() } else { &inbox[at..] };
            let Some(s) = self.sessions.get(slot) else { return };
            let blocked = s.core.held
                || s.heir.is_some()
                || s.closing.is_some()
                || s.moving
                || (s.core.out.open() >= limits.window && !s.projection.is_midway());
            let slow = s.timers.contains_key(&SLOWED);
            if rest.is_empty() || blocked || slow || rest.len() <= s.seen {
                break;
            }
            if budget == 0 {
                self.make_ready(slot);
                break;
            }
            budget -= 1;
            let taken = self.call(slot, |p, cx| p.recv(rest, cx));
            let layered = self.sessions.get(slot).is_some_and(|s| s.layer.is_some());
            self.settle(post);
            match taken {
                Some(Ok(0)) => {
                    // Nothing more before more input, or an answer to a request in flight.
                    if let Some(s) = self.sessions.get_mut(slot)
                        && s.core.pending.is_empty()
                        && s.core.out.open() == 0
                    {
                        s.seen = rest.len();
                    }
                    break;
                }
                Some(Ok(n)) => {
                    at += n.min(rest.len());
                    if let Some(s) = self.sessions.get_mut(slot) {
                        // That was about bytes that are taken now.
                        s.seen = 0;
                    }
                    self.charge(slot);
                    if self.sessions.get(slot).is_some_and(|s| s.layer.is_some() != layered) {
                        // A layer came between: what was read in the clear is void.
                        if let Some(s) = self.sessions.get_mut(slot) {
                            s.inbox.clear();
                        }
                        return;
                    }
                }
                Some(Err(reason)) => {
                    self.close(slot, reason);
                    return;
                }
                None => return,
            }
        }
        self.put_back(slot, at, inbox, fresh);
    }

    fn take_inbox(&mut self, slot: u32) -> alloc::vec::Vec<u8> {
        self.sessions.get_mut(slot).map(|s| core::mem::take(&mut s.inbox)).unwrap_or_default()
    }

    fn put_back(&mut self, slot: u32, at: usize, mut inbox: alloc::vec::Vec<u8>, fresh: &[u8]) {
        let low = self.core_settings().limits.inbox / 2;
        let Some(s) = self.sessions.get_mut(slot) else { return };
        if inbox.is_empty() {
            inbox.extend_from_slice(fresh.get(at..).unwrap_or_default());
        } else {
            inbox.drain(..at);
        }
        s.inbox = if inbox.is_empty() { alloc::vec::Vec::new() } else { inbox };
        if s.paused && s.inbox.len() < low {
            s.paused = false;
            if let Some(conn) = s.conn {
                self.out(Output::Pause(conn, false));
            }
        }
    }

    /// What the last message cost; reading slows down when it was too much.
    fn charge(&mut self, slot: u32) {
        let (limits, now) = (self.core_settings().limits, self.now);
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let cost = core::mem::take(&mut s.core.spent);
        if cost > 0
            && let Some(until) = s.flow.spend(cost, now, limits.flood_burst, limits.flood_rate)
        {
            self.timer(slot, SLOWED, Some(until));
        }
    }

    /// Sessions whose input can go on.
    pub fn run_ready(&mut self, post: &mut Post) -> bool {
        let Some(slot) = self.ready.pop_front() else { return false };
        self.end_burst();
        if let Some(s) = self.sessions.get_mut(slot) {
            (s.ready, s.seen) = (false, 0);
            let inherits = s.heir.is_some();
            if core::mem::take(&mut s.drained) {
                self.call(slot, |p, cx| p.wake(Wake::Sent, cx));
                self.settle(post);
            }
            if inherits {
                self.inherit(slot, post);
            } else {
                self.advance(slot, &[], post);
            }
        }
        true
    }

    /// The other end is gone.
    pub fn closed(&mut self, conn: ConnId, post: &mut Post) {
        let Some(slot) = self.conns.remove(&conn) else { return };
        self.forget_address(slot);
        let Some(s) = self.sessions.get_mut(slot) else { return };
        s.conn = None;
        (s.inbox, s.wire, s.wire_sent, s.layer, s.dirty) =
            (alloc::vec::Vec::new(), alloc::vec::Vec::new(), 0, None, false);
        if s.ended || s.closing.is_some() {
            return self.finish(slot);
        }
        if s.moving {
            s.closing = Some(Reason::Io);
            return self.finish(slot);
        }
        s.core.park = None;
        self.blobs_end(slot);
        self.call(slot, |p, cx| p.wake(Wake::Lost, cx));
        self.settle(post);
        match self.sessions.get(slot).and_then(|s| s.core.park) {
            Some(until) => {
                self.timers_clear(slot);
                self.timer(slot, PARKED, Some(until));
            }
            None => self.finish(slot),
        }
    }

    /// What waits to be sent.
    pub fn transmit(&mut self, conn: ConnId) -> &[u8] {
        let Some(s) = self.conns.get(&conn).and_then(|slot| self.sessions.get_mut(*slot)) else { return &[] };
        Self::seal(s);
        if s.layer.is_none() && s.wire.is_empty() { s.core.out.offer() } else { &s.wire[s.wire_sent..] }
    }

    /// Brings what waits into the layer's form. Plain bytes stay where they are, unless older ones of
    /// the wire must go first.
    pub(super) fn seal(s: &mut Session<P>) {
        match &mut s.layer {
            Some(layer) => {
                let n = s.core.out.pending().len();
                if n > 0 && layer.is_open() {
                    layer.write(s.core.out.pending(), &mut s.wire);
                    s.core.out.sent(n);
                }
                if s.closing.is_some() && !s.farewell_sent {
                    s.farewell_sent = true;
                    layer.close(&mut s.wire);
                }
            }
            None if !s.wire.is_empty() => {
                let n = s.core.out.pending().len();
                s.wire.extend_from_slice(s.core.out.pending());
                s.core.out.sent(n);
            }
            None => {}
        }
    }

    /// So much is sent.
    pub fn sent(&mut self, conn: ConnId, n: usize) {
        let Some(&slot) = self.conns.get(&conn) else { return };
        if let Some(s) = self.sessions.get_mut(slot) {
            s.sent(n);
            if s.core.out.held() == 0 {
                s.core.out.release();
            }
            let transfers = !s.core.transfers.is_empty();
            if s.held() < s.core.refill as usize {
                (s.core.refill, s.drained) = (0, true);
                self.make_ready(slot);
            }
            if transfers {
                self.blob_read(slot);
            }
        }
    }

    /// Closes after everything written is sent; nothing is read any more.
    pub(super) fn close(&mut self, slot: u32, reason: Reason) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        if s.closing.is_none() {
            s.closing = Some(reason);
            let who = s.core.user.as_ref().map(|u| u.id.0).unwrap_or_default();
            let log = Log::new(Level::Debug, "closing").with("account", who).with("why", reason.text());
            self.out(Output::Log(log));
        }
        self.finish(slot);
        self.mark(slot);
    }

    pub(super) fn forget_address(&mut self, slot: u32) {
        if let Some(peer) = self.sessions.get_mut(slot).and_then(|s| s.core.peer.take()) {
            self.forget_ip(peer);
        }
    }

    pub(super) fn forget_ip(&mut self, peer: SocketAddr) {
        let key = network(peer.ip());
        if let Some(n) = self.addresses.get_mut(&key) {
            *n -= 1;
            if *n == 0 {
                self.addresses.remove(&key);
            }
        }
    }

    /// A connection came over from another worker.
    pub fn moved(&mut self, conn: ConnId, moving: super::moving::Moving<P>, now: Now, post: &mut Post) {
        let peer = moving.core.peer;
        let (login, inbox, wire, secured, flow) =
            (moving.login, moving.inbox, moving.wire, moving.secured, moving.flow);
        let old = moving.core;
        let slot = self.insert(conn, peer, |core| {
            let mut s = Session::new(moving.projection, moving.layer, core, Some(conn));
            let me = s.core.me;
            s.core = old;
            s.core.me = me;
            (s.inbox, s.wire, s.secured, s.flow) = (inbox, wire, secured, flow);
            s
        });
        if let Some(p) = peer {
            *self.addresses.entry(network(p.ip())).or_insert(0) += 1;
        }
        self.now = now;
        match login {
            Some(user) => self.log_in(slot, user, post),
            None => {
                self.call(slot, |p, cx| p.wake(Wake::Moved, cx));
            }
        }
        if self.draining {
            self.call(slot, |p, cx| p.wake(Wake::Drain, cx));
            self.close(slot, Reason::Drain);
        }
        self.settle(post);
        self.mark(slot);
        self.make_ready(slot);
    }
}

/// What counts as one address: an IPv6 /64 is one household.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => {
                let s = v6.segments();
                IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0))
            }
        },
    }
}
