//! Rooms with attached sessions: groups of wire classes, and fan-out.

use super::{
    Attached, Edge,
    session::{Group, Place},
};
use crate::{
    event::{Event, Live, LiveWhat, What},
    ids::{AccountId, Origin, ReqId, RoomId, SessionRef},
    mail::Mail,
    name::RoomName,
    policy::Membership,
    post::Post,
    presence::{Presence, Show},
    projection::{Projection, Replay, Seen, Shown, Wake},
    query::{Reply, Value},
    refusal::Refusal,
};
use alloc::{sync::Arc, vec::Vec};

impl<P: Projection> Edge<P> {
    /// An entry of a room, for its sessions here.
    #[expect(clippy::too_many_arguments, reason = "one letter's fields")]
    pub(super) fn event(
        &mut self,
        name: Option<&RoomName>,
        event: &Arc<Event>,
        origin: Option<Origin>,
        grant: Option<u64>,
        here: Option<&Presence>,
        same: u64,
        post: &mut Post,
    ) {
        let own = origin.and_then(|o| Some((self.find(o.session)?, o.req)));
        if let Some(grant) = grant {
            self.granted(event.room, grant, own.map(|o| o.0), post);
        }
        let subject = event.subject().map(|u| u.id);
        let skip = own.map(|o| o.0);
        self.fan_out(event.room, name, Shown::Event(event, here), skip, subject, None, same);
        self.each(event, here, skip, subject);
        if let Some((slot, req)) = own {
            self.seen_own(slot, req, event, grant.is_some());
        }
        if let Some(subject) = subject {
            self.about(subject, event, skip, here.is_some());
            let out = matches!(&event.what, What::Member(m) if m.after.membership != Membership::Joined);
            if out {
                self.put_out(event.room, subject, post);
            }
        }
        if matches!(event.what, What::Destroyed { .. }) {
            self.drop_room(event.room);
        }
        if let Some((slot, _)) = own {
            self.after_answer(slot, post);
        }
    }

    /// The origin's own session sees the entry in its own way, or, not attached, gets the answer alone.
    pub(super) fn seen_own(&mut self, slot: u32, req: ReqId, event: &Arc<Event>, attached: bool) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        if s.core.pending.remove(&req).is_none() {
            return;
        }
        let there = s.core.rooms.get(&event.room).is_some_and(|a| a.place.is_some());
        if there {
            self.call(slot, |p, cx| p.seen(event, Seen::Own { req, attached }, cx));
        } else {
            self.call(slot, |p, cx| p.reply(req, Ok(Value::Event(event.clone())), cx));
        }
    }

    /// The attached sessions of the account that the entry is about.
    fn about(&mut self, subject: AccountId, event: &Arc<Event>, skip: Option<u32>, here: bool) {
        for slot in self.attached_of(subject, event.room) {
            if Some(slot) != skip {
                self.call(slot, |p, cx| p.seen(event, Seen::About { here }, cx));
            }
        }
    }

    /// Sessions that want each entry by itself.
    pub(super) fn each(
        &mut self,
        event: &Arc<Event>,
        here: Option<&Presence>,
        skip: Option<u32>,
        subject: Option<AccountId>,
    ) {
        for slot in self.each_of(event.room, skip, subject) {
            self.call(slot, |p, cx| p.seen(event, Seen::Room { here: here.cloned() }, cx));
        }
    }

    /// The sessions of a room in [`crate::projection::Mode::Each`], without the one that sees it as its own and those
    /// that see it as about their account.
    fn each_of(&self, room: RoomId, skip: Option<u32>, subject: Option<AccountId>) -> Vec<u32> {
        let groups = self.rooms.get(&room).map(|r| r.groups.as_slice()).unwrap_or_default();
        let each = groups.iter().find(|g| g.0 == Group::Each);
        let other = |slot: &u32| {
            let account = self.sessions.get(*slot).and_then(|s| s.core.user.as_ref()).map(|u| u.id);
            Some(*slot) != skip && (subject.is_none() || account != subject)
        };
        each.map(|g| g.1.iter().copied().filter(other).collect()).unwrap_or_default()
    }

    /// One encoding for each wire class, copied to each of its sessions.
    #[expect(clippy::too_many_arguments, reason = "whom to leave out, in three ways")]
    fn fan_out(
        &mut self,
        room: RoomId,
        name: Option<&RoomName>,
        shown: Shown<'_>,
        skip: Option<u32>,
        skip_account: Option<AccountId>,
        only: Option<&[AccountId]>,
        same: u64,
    ) {
        let Some(attached) = self.rooms.get_mut(&room) else { return };
        let groups = core::mem::take(&mut attached.groups);
        let mut pieces = core::mem::take(&mut self.pieces);
        let limit = self.core_settings().limits.outbox;
        let mut over = Vec::new();
        for (group, members) in &groups {
            let Group::Class(class) = *group else { continue };
            pieces.clear();
            P::encode(class, name, shown, &self.settings, &mut pieces);
            if pieces.is_empty() {
                continue;
            }
            for &slot in members {
                let Some(s) = self.sessions.get_mut(slot) else { continue };
                let own = skip_account.is_some() && s.core.user.as_ref().map(|u| u.id) == skip_account;
                let meant = only.is_none_or(|o| s.core.user.as_ref().is_some_and(|u| o.contains(&u.id)));
                if s.ended || Some(slot) == skip || own || !meant || (pieces.once && s.shown(same)) {
                    continue;
                }
                let projection = &s.projection;
                s.core.out.write_pieces(&pieces, |hole| projection.hole(hole));
                if s.held() > limit {
                    over.push(slot);
                } else if !s.dirty && s.conn.is_some() {
                    s.dirty = true;
                    self.dirty.push_back(slot);
                }
            }
        }
        self.pieces = pieces;
        if let Some(attached) = self.rooms.get_mut(&room) {
            attached.groups = groups;
        }
        for slot in over {
            self.mark(slot);
        }
    }

    /// A live signal.
    pub(super) fn live(&mut self, name: Option<&RoomName>, live: &Arc<Live>) {
        let own = live.origin.and_then(|o| Some((self.find(o.session)?, o.req)));
        let about = match live.what {
            LiveWhat::Here { .. }
            | LiveWhat::Gone { .. }
            | LiveWhat::Typing(_)
            | LiveWhat::Display(_)
            | LiveWhat::Read { .. }
            | LiveWhat::Attrs(_) => Some(live.by.id),
            LiveWhat::Signal(_) => None,
        };
        self.fan_out(
            live.room,
            name,
            Shown::Live(live),
            own.map(|o| o.0),
            about,
            live.only.as_deref(),
            live.same,
        );
        let meant = |s: &super::Session<P>| {
            live.only.as_deref().is_none_or(|o| s.core.user.as_ref().is_some_and(|u| o.contains(&u.id)))
        };
        for slot in self.each_of(live.room, own.map(|o| o.0), about) {
            if self.sessions.get(slot).is_some_and(meant) {
                self.call(slot, |p, cx| p.seen_live(live, None, cx));
            }
        }
        if let Some((slot, req)) = own {
            if let Some(s) = self.sessions.get_mut(slot)
                && s.core.pending.remove(&req).is_some()
            {
                self.call(slot, |p, cx| p.seen_live(live, Some(req), cx));
                self.make_ready(slot);
            }
        } else if about.is_some() && !matches!(live.what, LiveWhat::Typing(_)) {
            for slot in self.attached_of(live.by.id, live.room) {
                self.call(slot, |p, cx| p.seen_live(live, None, cx));
            }
        }
    }

    fn attached_of(&self, account: AccountId, room: RoomId) -> Vec<u32> {
        let there = |slot: &u32| {
            self.sessions
                .get(*slot)
                .is_some_and(|s| s.core.rooms.get(&room).is_some_and(|a| a.place.is_some()))
        };
        self.hubs.get(&account).map(|h| h.iter().copied().filter(there).collect()).unwrap_or_default()
    }

    /// A shard attached this worker for a session.
    fn granted(&mut self, room: RoomId, grant: u64, slot: Option<u32>, post: &mut Post) {
        let attached = self.room(room);
        attached.grant = attached.grant.max(grant);
        if let Some(slot) = slot {
            self.enter(slot, room);
        }
        self.detach_if_empty(room, post);
    }

    /// An attach is done, or refused.
    pub(super) fn attached(
        &mut self,
        room: RoomId,
        session: SessionRef,
        grant: u64,
        replay: Result<Arc<Replay>, Refusal>,
        answers: Option<(ReqId, Reply)>,
        post: &mut Post,
    ) {
        let slot = self.find(session).filter(|slot| self.sessions.get(*slot).is_some_and(|s| !s.ended));
        if replay.is_ok() {
            // A session that has detached in between is not put back.
            let wanted = slot.filter(|slot| {
                answers.is_some()
                    || self.sessions.get(*slot).is_some_and(|s| s.core.rooms.contains_key(&room))
            });
            self.granted(room, grant, wanted, post);
            if wanted.is_none() {
                return;
            }
        } else {
            if let Some(s) = slot.and_then(|slot| self.sessions.get_mut(slot))
                && answers.is_none()
                && s.core.rooms.get(&room).is_some_and(|a| a.place.is_none())
            {
                // One that is attached already stays so, and a join's refusal is none of an attach asked for.
                s.core.rooms.remove(&room);
            }
            if grant > 0 {
                // The shard has attached this worker before it had to refuse.
                self.granted(room, grant, None, post);
            }
        }
        let Some(slot) = slot else { return };
        match answers {
            Some((req, reply)) => {
                if let Some(s) = self.sessions.get_mut(slot)
                    && s.core.pending.remove(&req).is_some()
                {
                    self.call(slot, |p, cx| p.reply(req, reply, cx));
                }
                self.after_answer(slot, post);
            }
            None => {
                self.call(slot, |p, cx| p.wake(Wake::Attached { room, replay }, cx));
            }
        }
    }

    /// Puts a session into its group of a room.
    fn enter(&mut self, slot: u32, room: RoomId) {
        self.end_burst();
        let Some(s) = self.sessions.get_mut(slot) else { return };
        if s.ended || s.core.rooms.get(&room).is_some_and(|a| a.place.is_some()) {
            return;
        }
        let group = s.group;
        let attached = self.rooms.entry(room).or_default();
        let index = put(attached, group, slot);
        attached.sessions += 1;
        if let Some(s) = self.sessions.get_mut(slot) {
            s.core.rooms.or_default(room).place = Some(Place { group, index });
        }
    }

    /// Takes a session out of its group.
    fn take_out(&mut self, slot: u32, room: RoomId) -> bool {
        self.end_burst();
        let Some(s) = self.sessions.get_mut(slot) else { return false };
        let Some(place) = s.core.rooms.get_mut(&room).and_then(|a| a.place.take()) else { return false };
        let Some(attached) = self.rooms.get_mut(&room) else { return false };
        attached.sessions -= 1;
        let Some((_, members)) = attached.groups.iter_mut().find(|g| g.0 == place.group) else {
            return false;
        };
        members.swap_remove(place.index as usize);
        if let Some(&moved) = members.get(place.index as usize)
            && let Some(a) = self.sessions.get_mut(moved).and_then(|m| m.core.rooms.get_mut(&room))
        {
            a.place = Some(place);
        }
        true
    }

    /// A session detaches; the membership stays.
    pub(super) fn leave_room(&mut self, slot: u32, room: RoomId, same: u64, post: &mut Post) {
        let was = self.take_out(slot, room);
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let last = s.core.rooms.remove(&room).and_then(|attachment| attachment.presence);
        let user = s.core.user.clone();
        if let (true, Some(user)) = (was, user) {
            let last = last.filter(|presence| presence.show == Show::Offline).map(|presence| *presence);
            let presence = self.best_in_room(user.id, room).or(last);
            post.send_to_shard(
                room.shard(self.core_settings().shards),
                Mail::Here { room, user, presence, same },
            );
        }
        self.detach_if_empty(room, post);
    }

    /// An account is out: its sessions are detached.
    fn put_out(&mut self, room: RoomId, account: AccountId, post: &mut Post) {
        for slot in self.attached_of(account, room) {
            self.take_out(slot, room);
            if let Some(s) = self.sessions.get_mut(slot) {
                s.core.rooms.remove(&room);
            }
        }
        self.detach_if_empty(room, post);
    }

    fn drop_room(&mut self, room: RoomId) {
        self.end_burst();
        let Some(attached) = self.rooms.remove(&room) else { return };
        for slot in attached.groups.into_iter().flat_map(|g| g.1) {
            if let Some(s) = self.sessions.get_mut(slot) {
                s.core.rooms.remove(&room);
            }
        }
    }

    fn detach_if_empty(&mut self, room: RoomId, post: &mut Post) {
        let (me, shards) = (self.me, self.core_settings().shards);
        if let Some(attached) = self.rooms.get(&room)
            && attached.sessions == 0
        {
            let mail = Mail::Detach { room, worker: me, grant: attached.grant };
            post.send_to_shard(room.shard(shards), mail);
            self.rooms.remove(&room);
        }
    }

    /// The session's class changed: it changes its group in every room.
    pub(super) fn regroup(&mut self, slot: u32) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let group = s.projection.mode().into();
        if s.group == group {
            return;
        }
        s.group = group;
        let rooms: Vec<RoomId> = s.core.rooms.keys().copied().collect();
        for room in rooms {
            if self.take_out(slot, room) {
                self.enter(slot, room);
            }
        }
    }
}

fn put(attached: &mut Attached, group: Group, slot: u32) -> u32 {
    let at = match attached.groups.iter().position(|g| g.0 == group) {
        Some(at) => at,
        None => {
            attached.groups.push((group, Vec::new()));
            attached.groups.sort_by_key(|g| g.0);
            attached.groups.iter().position(|g| g.0 == group).unwrap_or(0)
        }
    };
    attached.groups[at].1.push(slot);
    attached.groups[at].1.len() as u32 - 1
}
