//! Sessions of accounts: login, labels, presence, feed, notices, and their end.

use super::{Attached, Edge, LOGIN, session::Session};
use crate::{
    command::{Act, Command, EntityId},
    drive::Output,
    event::Event,
    ids::{AccountId, ConnId, Label, Origin, Pos, RoomId},
    log::{Level, Log},
    mail::Mail,
    name::User,
    post::Post,
    presence::{Presence, Show},
    projection::{Layer, Notice, Projection, Reason, Seen, Signal, Wake},
    query::{SessionView, Value, Whois},
    refusal::Refusal,
    text::Str,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::net::SocketAddr;

impl<P: Projection> Edge<P> {
    /// A login was checked: here, or on the account's worker.
    pub(super) fn start_login(&mut self, slot: u32, user: User, post: &mut Post) {
        let owner = post.owner(user.id.shard(self.core_settings().shards));
        let now = self.sessions.get(slot).and_then(|s| s.core.user.clone());
        if now.as_ref().is_some_and(|u| *u == user) {
            // Logged in as that already.
            if let Some(s) = self.sessions.get_mut(slot) {
                s.core.held = false;
            }
            self.call(slot, |p, cx| p.wake(Wake::Login, cx));
            return;
        }
        if now.is_some() {
            self.shed(slot, post);
        }
        let Some(s) = self.sessions.get_mut(slot) else { return };
        s.login = Some(Box::new(user.clone()));
        if !s.core.pending.is_empty() || !s.core.transfers.is_empty() {
            // It goes on when these are answered.
            return;
        }
        if owner == self.me {
            s.login = None;
            self.log_in(slot, user, post);
        } else if s.conn.is_some() {
            s.moving = true;
            self.outputs.push_back(super::Pending::Move(slot));
        }
    }

    /// The session belongs to the account from here on.
    pub(super) fn log_in(&mut self, slot: u32, user: User, post: &mut Post) {
        let limit = self.core_settings().limits.sessions_per_account;
        let hub = self.hubs.entry(user.id).or_default();
        let full = hub.len() >= limit;
        if !full {
            hub.push(slot);
        }
        self.timer(slot, LOGIN, None);
        let Some(s) = self.sessions.get_mut(slot) else { return };
        s.core.held = false;
        if full {
            if self.hubs.get(&user.id).is_some_and(Vec::is_empty) {
                self.hubs.remove(&user.id);
            }
            self.call(slot, |p, cx| p.wake(Wake::LoginRefused(Refusal::TooMany), cx));
        } else {
            (s.core.user, s.core.since, s.core.active) = (Some(user.clone()), self.now.wall, self.now.wall);
            self.logged_in += 1;
            self.most_logged_in = self.most_logged_in.max(self.logged_in);
            let log = Log::new(Level::Info, "logged in").with("account", user.id.0);
            self.out(Output::Log(log));
            self.call(slot, |p, cx| p.wake(Wake::Login, cx));
        }
        self.settle(post);
        self.make_ready(slot);
    }

    fn hub(&self, account: AccountId) -> Vec<u32> {
        self.hubs.get(&account).cloned().unwrap_or_default()
    }

    pub(super) fn subscribe(&mut self, slot: u32, label: Label, post: &mut Post) {
        let Some(user) = self.sessions.get(slot).and_then(|s| s.core.user.clone()) else { return };
        let namesake = |s: &Session<P>| s.core.subscribed && s.core.label == label && !s.ended;
        let others: Vec<u32> = self
            .hub(user.id)
            .into_iter()
            .filter(|o| *o != slot && self.sessions.get(*o).is_some_and(namesake))
            .collect();
        for other in others {
            self.call(other, |p, cx| p.wake(Wake::Replaced, cx));
            self.close(other, Reason::Replaced);
        }
        let Some(s) = self.sessions.get_mut(slot) else { return };
        (s.core.subscribed, s.core.label) = (true, label);
        let silent = s.core.presence.is_none();
        self.tell_present(slot, silent, 0, post);
    }

    /// Tells the account's shard that a subscribed session is there, and how.
    pub(super) fn tell_present(&mut self, slot: u32, silent: bool, same: u64, post: &mut Post) {
        let shards = self.core_settings().shards;
        let Some(s) = self.sessions.get(slot).filter(|s| s.core.subscribed && !s.ended) else { return };
        let Some(user) = s.core.user.clone() else { return };
        let presence = Some(s.core.presence.clone().unwrap_or_default());
        let (session, label, display) = (s.core.me, s.core.label.clone(), s.core.display.clone());
        let to = user.id.shard(shards);
        post.send_to_shard(to, Mail::Present { user, session, label, presence, display, silent, same });
    }

    /// Watches a name, or no longer.
    pub(super) fn watch(&mut self, slot: u32, name: crate::name::UserName, on: bool, post: &mut Post) {
        let Some(s) = self.sessions.get(slot) else { return };
        let Some(by) = s.core.user.as_ref().map(|u| u.name.clone()) else { return };
        let to = crate::name::NameKey::User(name.clone()).shard(self.core_settings().shards);
        post.send_to_shard(to, Mail::Watch { name, session: s.core.me, by, on });
    }

    /// Shows a payload to the sessions of all workers.
    pub(super) fn announce(&mut self, slot: u32, native: crate::event::Native, post: &mut Post) {
        let Some(from) = self.sessions.get(slot).and_then(|s| s.core.user.clone()) else { return };
        let notice = Arc::new(Notice::Announced { from, native });
        for worker in 0..self.workers() {
            post.send(crate::ids::WorkerId(worker), Mail::Announce(notice.clone()));
        }
    }

    /// The same, arriving.
    pub(super) fn announced(&mut self, notice: &Arc<Notice>) {
        let slots: Vec<u32> = self.sessions.keys().collect();
        for slot in slots {
            if self.sessions.get(slot).is_some_and(|s| s.core.subscribed && !s.ended) {
                self.call(slot, |p, cx| p.wake(Wake::Notice(notice.clone()), cx));
            }
        }
    }

    /// Something for one session; what a room has shown it already is left out.
    pub(super) fn notice_to(&mut self, session: crate::ids::SessionRef, notice: Arc<Notice>) {
        let Some(slot) = self.find(session) else { return };
        if let Notice::Watched { same, .. } = &*notice
            && self.sessions.get_mut(slot).is_some_and(|s| s.shown(*same))
        {
            return;
        }
        self.call(slot, |p, cx| p.wake(Wake::Notice(notice), cx));
    }

    /// Counts a session's marks as they are now, instead of those counted before.
    fn tally(&mut self, slot: u32, now: crate::presence::Marks) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let before = core::mem::replace(&mut s.core.counted, now);
        self.hidden = self.hidden + u64::from(now.hidden) - u64::from(before.hidden);
        self.admins = self.admins + u64::from(now.admin) - u64::from(before.admin);
    }

    pub(super) fn set_presence(&mut self, slot: u32, presence: Presence, post: &mut Post) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        s.core.presence = Some(Box::new(presence.clone()));
        if s.core.user.is_none() {
            return;
        }
        let rooms: Vec<RoomId> = s.core.rooms.keys().copied().collect();
        self.tally(slot, presence.marks);
        let same = self.rng.next_u64() | 1;
        self.tell_present(slot, false, same, post);
        for room in rooms {
            self.show_in_room(slot, room, same, post);
        }
    }

    /// Tells a room how present the account is in it: the best of its sessions there.
    pub(super) fn show_in_room(&mut self, slot: u32, room: RoomId, same: u64, post: &mut Post) {
        let Some(user) = self.sessions.get(slot).and_then(|s| s.core.user.clone()) else { return };
        let presence = self.best_in_room(user.id, room);
        post.send_to_shard(
            room.shard(self.core_settings().shards),
            Mail::Here { room, user, presence, same },
        );
    }

    pub(super) fn best_in_room(&self, account: AccountId, room: RoomId) -> Option<Presence> {
        let there = self.hubs.get(&account)?.iter().filter_map(|slot| self.sessions.get(*slot));
        let there = there.filter(|s| !s.ended && s.core.rooms.get(&room).is_some_and(|a| a.place.is_some()));
        let best = Presence::best(there.map(|s| s.core.presence_in(room)))?;
        Some(if best.show == Show::Offline { Presence { show: Show::ExtendedAway, ..best } } else { best })
    }

    /// An entry of a dialog.
    pub(super) fn fed(
        &mut self,
        account: AccountId,
        pos: Pos,
        with: &User,
        event: &Arc<Event>,
        origin: Option<Origin>,
        post: &mut Post,
    ) {
        let mut answered = None;
        for slot in self.hub(account) {
            let Some(s) = self.sessions.get_mut(slot) else { continue };
            let own = origin.filter(|o| o.session == s.core.me && s.core.pending.remove(&o.req).is_some());
            if !s.core.subscribed && own.is_none() {
                continue;
            }
            answered = answered.or(own.map(|_| slot));
            let how = Seen::Feed { pos, with: with.clone(), own: own.map(|o| o.req) };
            self.call(slot, |p, cx| p.seen(event, how, cx));
        }
        match (answered, origin) {
            (Some(slot), _) => self.make_ready(slot),
            // Who waits acts for somebody else, or is gone.
            (None, Some(origin)) => {
                let reply = Ok(Value::Event(event.clone()));
                post.send(origin.session.worker, Mail::Answer(origin, reply));
            }
            (None, None) => {}
        }
    }

    /// Something for the account's sessions.
    pub(super) fn notice(&mut self, account: AccountId, notice: &Arc<Notice>) {
        for slot in self.hub(account) {
            let told = self.sessions.get(slot).is_some_and(|s| s.core.subscribed && !s.ended);
            if told {
                self.call(slot, |p, cx| p.wake(Wake::Notice(notice.clone()), cx));
            }
        }
    }

    /// A signal, let through.
    pub(super) fn signal_here(&mut self, origin: Origin, signal: Signal, post: &mut Post) {
        let to = signal.to_label.clone();
        let wanted = |s: &Session<P>| {
            s.core.subscribed && !s.ended && to.as_ref().is_none_or(|label| *label == s.core.label)
        };
        let slots: Vec<u32> =
            self.hub(signal.to).into_iter().filter(|s| self.sessions.get(*s).is_some_and(wanted)).collect();
        let reply = if slots.is_empty() { Err(Refusal::Unreachable) } else { Ok(Value::Done) };
        let notice = Arc::new(Notice::Signal(signal));
        for slot in slots {
            self.call(slot, |p, cx| p.wake(Wake::Notice(notice.clone()), cx));
        }
        post.send(origin.session.worker, Mail::Answer(origin, reply));
    }

    pub(super) fn whois(&mut self, origin: Origin, user: User, admin: bool, post: &mut Post) {
        let sessions = self.hub(user.id).into_iter().filter_map(|slot| self.sessions.get(slot));
        let sessions = sessions.filter(|s| !s.ended && s.core.subscribed).map(|s| SessionView {
            label: s.core.label.clone(),
            presence: s.core.presence.as_deref().cloned().unwrap_or_default(),
            since: s.core.since,
            active: s.core.active,
            display: s.core.display.clone(),
            secure: s.layer.as_ref().is_some_and(Layer::is_secure),
        });
        let rooms = self.hub(user.id).into_iter().filter_map(|slot| self.sessions.get(slot));
        let rooms = rooms.flat_map(|s| s.core.rooms.keys().copied()).filter(|room| room.is_transient());
        let rooms: alloc::collections::BTreeSet<RoomId> = rooms.collect();
        let user = match self.hubs.get(&user.id).and_then(|h| self.sessions.get(*h.first()?)) {
            Some(s) if user.is_guest() => s.core.user.clone().unwrap_or(user),
            _ => user,
        };
        let value = Value::Whois(Arc::new(Whois {
            user,
            admin,
            sessions: sessions.collect(),
            rooms: rooms.into_iter().collect(),
        }));
        post.send(origin.session.worker, Mail::Answer(origin, Ok(value)));
    }

    /// The session ends: taken out of hub and rooms. Its slot stays while output is still going out.
    pub(super) fn finish(&mut self, slot: u32) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        if !s.ended {
            s.ended = true;
            self.timers_clear(slot);
            self.endings.push(slot);
        } else if s.conn.is_none() && !self.endings.contains(&slot) {
            self.sessions.remove(slot);
        }
    }

    /// Carries out the ends of sessions that ended.
    pub(crate) fn end_sessions(&mut self, post: &mut Post) {
        while let Some(slot) = self.endings.pop() {
            self.end_burst();
            self.end_session(slot, post);
            if self.sessions.get(slot).is_some_and(|s| s.conn.is_none()) {
                self.sessions.remove(slot);
            }
        }
    }

    fn end_session(&mut self, slot: u32, post: &mut Post) {
        self.forget_agent(slot);
        self.blobs_end(slot);
        self.withdraw(slot, post);
        if let Some(heir) = self.sessions.get_mut(slot).and_then(|s| s.heir.take()) {
            self.not_resumed(heir, post);
        }
    }

    /// A session logs in as somebody else: what it was before ends, a guest's rooms included; it goes on.
    fn shed(&mut self, slot: u32, post: &mut Post) {
        self.withdraw(slot, post);
        if let Some(s) = self.sessions.get_mut(slot) {
            (s.core.user, s.core.subscribed, s.core.presence) = (None, false, None);
        }
    }

    /// Takes a session out of its account: hub, rooms, presence; a guest's name is given back.
    fn withdraw(&mut self, slot: u32, post: &mut Post) {
        let shards = self.core_settings().shards;
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let rooms: Vec<RoomId> = s.core.rooms.keys().copied().collect();
        let Some(user) = s.core.user.clone() else { return };
        let (session, label, subscribed) = (s.core.me, s.core.label.clone(), s.core.subscribed);
        let farewell = s.core.farewell.as_deref().cloned();
        let watches = core::mem::take(&mut s.core.watches);
        let leaves = core::mem::take(&mut s.core.leaves);
        self.tally(slot, crate::presence::Marks::default());
        for name in watches {
            self.watch(slot, name, false, post);
        }
        if let Some(hub) = self.hubs.get_mut(&user.id) {
            let before = hub.len();
            hub.retain(|other| *other != slot);
            self.logged_in -= (before - hub.len()) as u64;
            if hub.is_empty() {
                self.hubs.remove(&user.id);
            }
        }
        let alone = !self.hubs.contains_key(&user.id);
        if user.is_guest() || (leaves && alone) {
            let same = self.rng.next_u64() | 1;
            for room in &rooms {
                let act = Act::Leave { reason: farewell.clone(), quit: true, same };
                self.send_quietly(Command::by(&user, EntityId::Room(*room), act), room.shard(shards), post);
            }
        }
        if user.is_guest() {
            self.release_name(&user, post);
        }
        let same = self.rng.next_u64() | 1;
        for room in rooms {
            self.leave_room(slot, room, same, post);
        }
        if subscribed {
            let (display, presence) = (Str::default(), None);
            let (user, to) = (user.clone(), user.id.shard(shards));
            let mail = Mail::Present { user, session, label, presence, display, silent: false, same: 0 };
            post.send_to_shard(to, mail);
        }
    }

    /// A connection whose session went on elsewhere: closed without a word.
    pub(super) fn abandon(&mut self, conn: ConnId, peer: Option<SocketAddr>) {
        if let Some(p) = peer {
            self.forget_ip(p);
        }
        self.out(Output::Close(conn, Reason::Replaced));
    }

    /// The record of a room with attached sessions.
    pub(super) fn room(&mut self, room: RoomId) -> &mut Attached {
        self.rooms.entry(room).or_default()
    }
}
