//! A session goes on over another connection.

use super::{Edge, session::Session};
use crate::{
    ids::SessionRef,
    post::Post,
    projection::{Projection, Wake},
};

impl<P: Projection> Edge<P> {
    /// A session wants to take over another one of its account. What that one asked for and is not answered comes
    /// first, so that its count of what was taken from the client covers only what is stored.
    pub(super) fn resume(
        &mut self,
        slot: u32,
        session: SessionRef,
        (key, handled): (u128, u32),
        post: &mut Post,
    ) {
        let Some(new) = self.sessions.get(slot) else { return };
        let (me, user) = (new.core.me, new.core.user.as_ref().map(|u| u.id));
        let fits = |s: &Session<P>| {
            !s.ended
                && user.is_some()
                && s.core.user.as_ref().map(|u| u.id) == user
                && s.core.out.retains()
                && s.core.resume_key.as_deref() == Some(&key)
        };
        let old = self.find(session).filter(|old| *old != slot && self.sessions.get(*old).is_some_and(fits));
        let acked = old.and_then(|old| self.sessions.get_mut(old)).is_some_and(|s| s.core.out.acked(handled));
        let Some(old) = old.filter(|_| acked) else { return self.not_resumed(me, post) };
        let Some(s) = self.sessions.get_mut(old) else { return };
        // Of two that want it, the later has the newer connection.
        let earlier = s.heir.replace(me).filter(|earlier| *earlier != me);
        if let Some(earlier) = earlier {
            self.not_resumed(earlier, post);
        }
        self.inherit(old, post);
    }

    /// The session's heir takes over if nothing is in flight any more.
    pub(super) fn inherit(&mut self, old: u32, post: &mut Post) {
        let Some(s) = self.sessions.get_mut(old) else { return };
        if !s.core.pending.is_empty() || s.core.out.open() > 0 {
            return;
        }
        let Some(heir) = s.heir.take() else { return };
        let heir = self.find(heir).filter(|heir| {
            self.sessions.get(*heir).is_some_and(|s| s.conn.is_some() && s.closing.is_none() && !s.ended)
        });
        match heir {
            Some(heir) => self.take_over(heir, old, post),
            // It is gone again; the old one goes on as it was.
            None => self.make_ready(old),
        }
    }

    /// A session that wanted to take over another one cannot, and goes on as a new one.
    pub(super) fn not_resumed(&mut self, session: SessionRef, post: &mut Post) {
        let Some(slot) = self.find(session) else { return };
        if let Some(s) = self.sessions.get_mut(slot) {
            s.core.held = false;
        }
        self.call(slot, |p, cx| p.wake(Wake::NotResumed(None), cx));
        self.settle(post);
        self.make_ready(slot);
    }

    /// The old session goes on over the new one's connection; the new one is no more. If the old one
    /// still has a connection, that one is closed.
    fn take_over(&mut self, slot: u32, old: u32, post: &mut Post) {
        let Some(new) = self.sessions.get_mut(slot) else { return };
        let (Some(conn), layer) = (new.conn.take(), new.layer.take()) else { return };
        let (wire, secured, paused, inbox, flow, peer) = (
            new.wire.split_off(new.wire_sent),
            new.secured,
            new.paused,
            core::mem::take(&mut new.inbox),
            new.flow,
            new.core.peer,
        );
        let plain = new.core.out.pending().to_vec();
        let around = new.around.take().map(|around| *around).unwrap_or_default();
        new.core.peer = None;
        self.finish(slot);
        let Some(s) = self.sessions.get_mut(old) else { return };
        let lost = s.conn.replace(conn);
        self.conns.insert(conn, old);
        let old_peer = core::mem::replace(&mut s.core.peer, peer);
        (s.layer, s.wire, s.wire_sent, s.secured, s.inbox, s.flow) = (layer, wire, 0, secured, inbox, flow);
        (s.seen, s.core.held, s.paused, s.closing, s.dirty) = (0, false, paused, None, false);
        s.hung_up = false;
        let again = s.core.out.rewind();
        self.timers_clear(old);
        if let Some(lost) = lost {
            self.conns.remove(&lost);
            self.abandon(lost, old_peer);
        } else if let Some(p) = old_peer {
            self.forget_ip(p);
        }
        // What the new session wrote goes first, then the word that the old one goes on, then the units.
        if let Some(s) = self.sessions.get_mut(old) {
            s.core.out.write(&plain, false);
        }
        self.call(old, |p, cx| p.wake(Wake::Resumed(around), cx));
        if let Some(s) = self.sessions.get_mut(old) {
            s.core.out.again(again);
        }
        self.mark(old);
        self.settle(post);
        self.make_ready(old);
    }
}
