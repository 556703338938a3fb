//! Carrying out what projections want.

use super::{
    Edge,
    session::{Near, Pending, Session},
};
use crate::{
    command::{Act, Command, EntityId},
    cx::Effect,
    drive::Output,
    ids::{AccountId, Origin, ReqId, RoomId},
    mail::{Attacher, Mail, RoomSignal},
    name::{NameKey, User, UserName},
    post::Post,
    presence::Show,
    projection::{Projection, Wake},
    query::{Reply, Value},
    refusal::Refusal,
    text::Str,
};
use alloc::boxed::Box;

/// How many times as many rooms as other sessions an agent follows ([`crate::limits::Limits::rooms_per_session`]); above,
/// it is not attached.
const AGENT_ROOMS: usize = 20;

impl<P: Projection> Edge<P> {
    pub(super) fn carry_out(&mut self, slot: u32, effect: Effect<P>, post: &mut Post) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        // What a session wanted before it ended is done for it; what was to come back to it is void.
        let outlasts = matches!(
            effect,
            Effect::Command { attach: false, .. }
                | Effect::Signal { .. }
                | Effect::Log(_)
                | Effect::Close(_)
                | Effect::Shutdown
                | Effect::Reload
        );
        if s.ended && !outlasts {
            return;
        }
        let me = s.core.me;
        let shards = self.core_settings().shards;
        match effect {
            Effect::Command { req, attach, command } => self.command(slot, req, attach, command, post),
            Effect::Query { req, query } => {
                // Which shard answers is the shards' own business; any of this worker's routes it.
                post.send(self.me, Mail::Query(Origin { session: me, req }, Box::new(query)));
            }
            Effect::Signal { req, signal } => {
                let to = signal.to.shard(shards);
                post.send_to_shard(to, Mail::SignalTo(Origin { session: me, req }, signal));
            }
            Effect::Typing { room, on } => {
                self.room_signal(slot, None, room, RoomSignal::Typing(on), 0, post)
            }
            Effect::RoomSignal { req, room, native, least } => {
                let same = self.rng.next_u64() | 1;
                self.room_signal(slot, Some(req), room, RoomSignal::Native(native, least), same, post);
            }
            Effect::About { by, room, native } => {
                let (what, same) = (RoomSignal::About(native), self.rng.next_u64() | 1);
                post.send_to_shard(room.shard(shards), Mail::Signal { room, origin: None, by, what, same });
            }
            Effect::Display(name) => self.display(slot, name, post),
            Effect::ShowAttrs(values) => self.show_attrs(slot, &values, post),
            Effect::Login(user) => self.start_login(slot, user, post),
            Effect::LoginDeadline(on) => {
                let until = self.now.mono + self.core_settings().limits.login_time;
                self.timer(slot, super::LOGIN, on.then_some(until));
            }
            Effect::Guest(name, alias) => self.claim_guest(slot, name, alias, post),
            Effect::Subscribe(label) => self.subscribe(slot, label, post),
            Effect::Presence(p) => self.set_presence(slot, p, post),
            Effect::RoomPresence(room, p) => {
                if let Some(s) = self.sessions.get_mut(slot) {
                    let attachment = s.core.rooms.or_default(room);
                    // Last words wait for the end.
                    let shown = attachment.place.is_some() && p.show != Show::Offline;
                    attachment.presence = Some(Box::new(p));
                    if shown {
                        self.show_in_room(slot, room, 0, post);
                    }
                }
            }
            Effect::Attach { room, since } => self.ask_attach(slot, room, since, post),
            Effect::Detach(room) => self.leave_room(slot, room, 0, post),
            Effect::Resume { session, key, handled, around } => {
                if let Some(s) = self.sessions.get_mut(slot) {
                    s.around = Some(Box::new(around));
                }
                self.resume(slot, session, (key, handled), post);
            }
            Effect::Secure(layer) => self.secure(slot, layer.0),
            Effect::Wrap(make) => self.wrap(slot, make.0),
            Effect::Job { req, job } => self.job(me, req, job),
            Effect::Blob { req, wish } => self.blob_wish(slot, req, wish),
            Effect::Timer(id, at) => self.timer(slot, id, at),
            Effect::Mode => self.regroup(slot),
            Effect::Close(reason) => self.close(slot, reason),
            Effect::Hand { req, account, label, make, parcel } => {
                let origin = Origin { session: me, req };
                let owner = post.owner(account.shard(shards));
                if let Some(s) = self.sessions.get_mut(slot) {
                    s.near = s.near.hand(owner, self.me);
                }
                post.send(owner, Mail::Hand { origin, account, label, make, parcel });
            }
            Effect::Respond(to, parcel) => post.send(to.session.worker, Mail::Responded(to, Some(parcel))),
            Effect::Log(log) => self.out(Output::Log(log)),
            Effect::Watch(name, on) => self.watch(slot, name, on, post),
            Effect::Announce(native) => self.announce(slot, native, post),
            Effect::Shutdown => self.out(Output::Shutdown),
            Effect::Reload => self.out(Output::Reload),
        }
    }

    fn command(&mut self, slot: u32, req: ReqId, attach: bool, command: Box<Command>, post: &mut Post) {
        let limits = self.core_settings().limits;
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let origin = Origin { session: s.core.me, req };
        let agent = s.agent.is_some();
        if attach && !agent && s.core.rooms.len() >= limits.rooms_per_session {
            return self.answer(origin, Err(Refusal::TooMany), post);
        }
        let attach = s.core.user.clone().filter(|_| attach).map(|user| {
            let presence = s.core.presence.as_deref().cloned().unwrap_or_default();
            Box::new(Attacher { session: s.core.me, user, presence })
        });
        let to = command.to.shard(self.core_settings().shards);
        post.send_to_shard(to, Mail::Command { epoch: self.epoch, origin, attach, command });
    }

    fn room_signal(
        &mut self,
        slot: u32,
        req: Option<ReqId>,
        room: RoomId,
        what: RoomSignal,
        same: u64,
        post: &mut Post,
    ) {
        let shards = self.core_settings().shards;
        let Some(s) = self.sessions.get(slot) else { return };
        let origin = req.map(|req| Origin { session: s.core.me, req });
        let Some(by) = s.core.user.clone() else { return };
        post.send_to_shard(room.shard(shards), Mail::Signal { room, origin, by, what, same });
    }

    fn show_attrs(&mut self, slot: u32, values: &[(Str, crate::text::Octets)], post: &mut Post) {
        let Some(s) = self.sessions.get(slot) else { return };
        let rooms: alloc::vec::Vec<RoomId> = s.core.rooms.keys().copied().collect();
        let same = self.rng.next_u64() | 1;
        for room in rooms {
            self.room_signal(slot, None, room, RoomSignal::Attrs(values.to_vec()), same, post);
        }
    }

    fn display(&mut self, slot: u32, name: Str, post: &mut Post) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        if s.core.display == name {
            return;
        }
        s.core.display = name.clone();
        let rooms: alloc::vec::Vec<RoomId> = s.core.rooms.keys().copied().collect();
        let same = self.rng.next_u64() | 1;
        for room in rooms {
            self.room_signal(slot, None, room, RoomSignal::Display(name.clone()), same, post);
        }
        let Some(s) = self.sessions.get(slot).filter(|s| s.core.subscribed) else { return };
        if let Some(user) = s.core.user.clone() {
            let to = user.id.shard(self.core_settings().shards);
            let mail = Mail::Displayed { account: user.id, session: s.core.me, display: name, same };
            post.send_to_shard(to, mail);
        }
    }

    fn ask_attach(&mut self, slot: u32, room: RoomId, since: Option<crate::ids::Pos>, post: &mut Post) {
        let (limits, shards) = (self.core_settings().limits, self.core_settings().shards);
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let Some(user) = s.core.user.clone() else { return };
        if s.core.rooms.get(&room).is_some_and(|a| a.place.is_some()) {
            return;
        }
        let others = s.core.rooms.len() - usize::from(s.core.rooms.contains_key(&room));
        // An agent follows all rooms of its account, and shows none by itself.
        let most = match s.agent {
            Some(_) => limits.rooms_per_session.saturating_mul(AGENT_ROOMS),
            None => limits.rooms_per_session,
        };
        if others >= most {
            s.core.rooms.remove(&room);
            self.call(slot, |p, cx| p.wake(Wake::Attached { room, replay: Err(Refusal::TooMany) }, cx));
            return;
        }
        s.core.rooms.or_default(room);
        let who = Box::new(Attacher { session: s.core.me, user, presence: s.core.presence_in(room) });
        post.send_to_shard(room.shard(shards), Mail::Attach { room, since, who });
    }

    /// What was written goes out as it is, what was read is void, the layer is next.
    fn secure(&mut self, slot: u32, layer: P::Layer) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let n = s.core.out.pending().len();
        s.wire.extend_from_slice(s.core.out.pending());
        s.core.out.sent(n);
        (s.layer, s.secured, s.seen) = (Some(layer), false, 0);
        s.inbox.clear();
        self.mark(slot);
    }

    /// What was written goes out in the form of the layer there is, the new one is next.
    fn wrap(&mut self, slot: u32, make: crate::cx::Wrap<P>) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        Self::seal(s);
        let n = s.core.out.pending().len();
        s.wire.extend_from_slice(s.core.out.pending());
        s.core.out.sent(n);
        s.layer = Some(make(s.layer.take()));
        s.seen = 0;
        s.inbox.clear();
        self.mark(slot);
    }

    /// An answer came.
    pub(super) fn answer(&mut self, origin: Origin, reply: Reply, post: &mut Post) {
        let Some(slot) = self.find(origin.session) else { return };
        let Some(s) = self.sessions.get_mut(slot) else { return };
        match s.core.pending.remove(&origin.req) {
            None => {}
            Some(Pending::Guest) => self.guest_claimed(slot, origin.req, reply, post),
            Some(_) => {
                self.call(slot, |p, cx| p.reply(origin.req, reply, cx));
            }
        }
        self.after_answer(slot, post);
    }

    /// Something may have waited for the answer: a login that must move, a connection that is better off elsewhere, input
    /// behind a barrier.
    pub(super) fn after_answer(&mut self, slot: u32, post: &mut Post) {
        self.settle(post);
        let Some(s) = self.sessions.get_mut(slot) else { return };
        if s.core.pending.is_empty()
            && s.core.transfers.is_empty()
            && let Some(user) = s.login.as_deref().cloned().filter(|_| !s.moving)
        {
            self.start_login(slot, user, post);
        }
        self.go_near(slot);
        self.make_ready(slot);
    }

    /// Moves a connection to the worker that its requests go to, when none is under way.
    fn go_near(&mut self, slot: u32) {
        let going = |s: &&mut Session<P>| matches!(s.near, Near::Going(_));
        let Some(s) = self.sessions.get_mut(slot).filter(going) else { return };
        let quiet = s.core.pending.is_empty() && s.core.transfers.is_empty() && s.core.out.open() == 0;
        let stays = s.moving || s.ended || s.closing.is_some() || s.core.user.is_some() || s.conn.is_none();
        if quiet && !stays {
            s.moving = true;
            self.outputs.push_back(super::Pending::Move(slot));
        }
    }

    /// A job is done.
    pub fn job_done(&mut self, id: crate::ids::JobId, done: P::Done, post: &mut Post) {
        let Some((session, req)) = self.jobs.remove(&id) else { return };
        let Some(slot) = self.find(session) else { return };
        if let Some(s) = self.sessions.get_mut(slot)
            && s.core.pending.remove(&req).is_some()
        {
            self.call(slot, |p, cx| p.done(req, done, cx));
            self.after_answer(slot, post);
        }
    }

    /// Asks the registry for a guest's name. A guest who has one keeps the id.
    fn claim_guest(&mut self, slot: u32, name: UserName, alias: Option<Str>, post: &mut Post) {
        let (shards, workers) = (self.core_settings().shards, self.workers());
        let random = self.rng.next_u64();
        // A shard of this worker, so that a guest never moves.
        let own = shards / workers + u8::from(self.me.0 < shards % workers);
        let shard = crate::ids::ShardId(self.me.0 + (random >> 32) as u8 % own.max(1) * workers);
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let id = match &s.core.user {
            Some(u) => u.id,
            None => AccountId::fresh(random, shard, shards, true),
        };
        let req = s.core.request(Pending::Guest);
        let user = User { id, name: name.clone(), alias };
        s.claim = Some(Box::new((req, user.clone())));
        let origin = Origin { session: s.core.me, req };
        let command = Command::by(&user, EntityId::Name(NameKey::User(name)), Act::Claim { id: id.0 });
        let to = command.to.shard(shards);
        let mail = Mail::Command { epoch: self.epoch, origin, attach: None, command: Box::new(command) };
        post.send_to_shard(to, mail);
    }

    fn guest_claimed(&mut self, slot: u32, req: ReqId, reply: Reply, post: &mut Post) {
        let shards = self.core_settings().shards;
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let Some((_, user)) = s.claim.take_if(|c| c.0 == req).map(|c| *c) else { return };
        let why = match reply {
            Ok(Value::Id(id)) if id == user.id.0 => None,
            Ok(_) => Some(Refusal::NameTaken),
            Err(why) => Some(why),
        };
        if s.ended {
            if why.is_none() {
                self.release_name(&user, post);
            }
            return;
        }
        s.core.held = false;
        if let Some(why) = why {
            self.call(slot, |p, cx| p.wake(Wake::LoginRefused(why), cx));
            return;
        }
        let Some(old) = s.core.user.replace(user.clone()) else {
            s.core.user = None;
            return self.log_in(slot, user, post);
        };
        if old.name != user.name {
            self.release_name(&old, post);
        }
        self.tell_present(slot, false, 0, post);
        let same = self.rng.next_u64() | 1;
        let rooms: alloc::vec::Vec<RoomId> =
            self.sessions.get(slot).map(|s| s.core.rooms.keys().copied().collect()).unwrap_or_default();
        for room in rooms {
            let act = Act::Rename { to: user.clone(), same };
            self.send_quietly(Command::by(&user, EntityId::Room(room), act), room.shard(shards), post);
        }
        self.call(slot, |p, cx| p.wake(Wake::Login, cx));
    }

    pub(super) fn release_name(&mut self, user: &User, post: &mut Post) {
        let to = EntityId::Name(NameKey::User(user.name.clone()));
        let shard = to.shard(self.core_settings().shards);
        self.send_quietly(Command::by(user, to, Act::Release { id: user.id.0, lock: false }), shard, post);
    }

    /// A command that nobody waits for.
    pub(super) fn send_quietly(&mut self, command: Command, shard: crate::ids::ShardId, post: &mut Post) {
        let mail = Mail::Follow {
            epoch: self.epoch,
            from: None,
            again: false,
            origin: None,
            attach: None,
            command: Box::new(command),
        };
        post.send_to_shard(shard, mail);
    }
}
