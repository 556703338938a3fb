//! The edge of a worker: connections, sessions, and the fan-out to them.

mod agent;
pub(crate) mod blobs;
mod burst;
mod effects;
mod hub;
mod io;
pub mod moving;
mod resume;
mod rooms;
pub(crate) mod session;

use crate::{
    blob::BlobId,
    cx::{Cx, Effect, NoDebug},
    drive::{Output, Work},
    ids::{AccountId, ConnId, Epoch, JobId, RoomId, SessionRef, WorkerId},
    mail::Mail,
    post::Post,
    projection::{Pieces, Projection, Reason, Wake},
    rng::Rng,
    settings::Settings,
    slab::Slab,
    time::{Mono, Now},
};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};
use core::net::IpAddr;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use session::{Group, Session};

/// What the edge acts upon besides its sessions.
pub(crate) struct Edge<P: Projection> {
    pub now: Now,
    pub settings: Arc<P::Settings>,
    pub epoch: Epoch,
    me: WorkerId,
    worker_count: u8,
    rng: Rng,
    sessions: Slab<Session<P>>,
    /// Looked up only, never iterated; the hasher is fixed. So are the two below.
    conns: HashMap<ConnId, u32, FixedState>,
    hubs: HashMap<AccountId, Vec<u32>, FixedState>,
    rooms: HashMap<RoomId, Attached, FixedState>,
    /// Sessions without a connection, by account and label.
    agents: BTreeMap<(AccountId, crate::ids::Label), u32>,
    timers: BTreeSet<(Mono, u32, u8)>,
    jobs: BTreeMap<JobId, (SessionRef, crate::ids::ReqId)>,
    next_job: u64,
    blobs: BTreeMap<BlobId, (SessionRef, crate::ids::ReqId)>,
    next_blob: u64,
    addresses: BTreeMap<IpAddr, u32>,
    /// Wishes of projections, to be carried out in order.
    wishes: VecDeque<(u32, Effect<P>)>,
    spare: Vec<Effect<P>>,
    pieces: Pieces,
    burst: burst::Burst,
    /// Sessions whose input can go on.
    ready: VecDeque<u32>,
    /// Sessions with something to send, in the order in which they got it: who sends an event has its answer before
    /// another of their connections tells of the event.
    dirty: VecDeque<u32>,
    pub outputs: VecDeque<Pending<P>>,
    logged_in: u64,
    most_logged_in: u64,
    /// Sessions logged in that are hidden, and those of administrators.
    hidden: u64,
    admins: u64,
    draining: bool,
    /// Sessions that ended and are not taken out yet.
    endings: Vec<u32>,
}

/// An output, or what becomes one when it is asked for.
pub(crate) enum Pending<P: Projection> {
    Out(Output<P>),
    /// The box is made when it is asked for, so that what comes in until then goes along.
    Move(u32),
}

/// A room with attached sessions.
#[derive(Default)]
struct Attached {
    groups: Vec<(Group, Vec<u32>)>,
    /// The last grant seen.
    grant: u64,
    sessions: u32,
}

/// Timers of the edge itself; those of projections are below.
const LOGIN: u8 = 255;
const PARKED: u8 = 254;
const SLOWED: u8 = 253;

impl<P: Projection> Edge<P> {
    pub fn new(me: WorkerId, workers: u8, settings: Arc<P::Settings>, seed: [u8; 32], now: Now) -> Edge<P> {
        let mut rng = Rng::new(seed);
        let sessions = Slab::new(rng.next_u64() as u32);
        let hasher = || FixedState::with_seed(u64::from(me.0));
        Edge {
            now,
            settings,
            epoch: Epoch(0),
            me,
            worker_count: workers,
            rng,
            sessions,
            conns: HashMap::with_hasher(hasher()),
            hubs: HashMap::with_hasher(hasher()),
            agents: BTreeMap::new(),
            rooms: HashMap::with_hasher(hasher()),
            timers: BTreeSet::new(),
            jobs: BTreeMap::new(),
            next_job: 0,
            blobs: BTreeMap::new(),
            next_blob: 0,
            addresses: BTreeMap::new(),
            wishes: VecDeque::new(),
            spare: Vec::new(),
            pieces: Pieces::default(),
            burst: burst::Burst::default(),
            ready: VecDeque::new(),
            dirty: VecDeque::new(),
            outputs: VecDeque::new(),
            logged_in: 0,
            most_logged_in: 0,
            hidden: 0,
            admins: 0,
            draining: false,
            endings: Vec::new(),
        }
    }

    fn core_settings(&self) -> &Settings {
        (*self.settings).as_ref()
    }

    fn out(&mut self, output: Output<P>) {
        self.outputs.push_back(Pending::Out(output));
    }

    /// Calls a projection; what it wants is queued.
    fn call<R>(&mut self, slot: u32, f: impl FnOnce(&mut P, &mut Cx<'_, P>) -> R) -> Option<R> {
        self.catch_up(slot);
        let mut effects = core::mem::take(&mut self.spare);
        // Its last word is said; what still comes for it is void.
        let Some(s) = self.sessions.get_mut(slot).filter(|s| !s.ended) else {
            self.spare = effects;
            return None;
        };
        let (window, held) = (s.core.out.open(), s.core.held);
        let mut cx = Cx {
            now: self.now,
            settings: &self.settings,
            rng: &mut self.rng,
            core: &mut s.core,
            layer: s.layer.as_ref(),
            effects: &mut effects,
        };
        let result = f(&mut s.projection, &mut cx);
        let freed = s.core.out.open() < window || (held && !s.core.held);
        // While `recv` is called the inbox is with its caller, who goes on by itself.
        let freed = freed && !s.inbox.is_empty();
        self.wishes.extend(effects.drain(..).map(|e| (slot, e)));
        self.spare = effects;
        if freed {
            self.make_ready(slot);
        }
        self.mark(slot);
        self.blob_read(slot);
        Some(result)
    }

    /// Notes output to be flushed; ends a session whose output reached its limit.
    fn mark(&mut self, slot: u32) {
        let limit = self.core_settings().limits.outbox;
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let room = if s.core.room == 0 { limit } else { s.core.room as usize };
        if s.held() > room && s.closing.is_none() {
            s.core.out.clear();
            s.closing = Some(Reason::Limit("output not read"));
            self.call(slot, |p, cx| p.wake(Wake::Overflow, cx));
            self.finish(slot);
            return;
        }
        if !s.dirty && s.conn.is_some() && (s.has_output() || s.closing.is_some()) {
            s.dirty = true;
            self.dirty.push_back(slot);
        }
    }

    /// Carries out what projections want, until they want nothing more.
    pub fn settle(&mut self, post: &mut Post) {
        if !self.wishes.is_empty() {
            self.end_burst();
        }
        while let Some((slot, effect)) = self.wishes.pop_front() {
            self.carry_out(slot, effect, post);
        }
    }

    /// The next flush, once everything else is handed out.
    pub fn poll_flush(&mut self) -> Option<Output<P>> {
        while let Some(slot) = self.dirty.pop_front() {
            let Some(s) = self.sessions.get_mut(slot) else { continue };
            s.dirty = false;
            let Some(conn) = s.conn else { continue };
            if s.has_output() {
                if s.closing.is_some() && !s.close_sent {
                    s.close_sent = true;
                    let reason = s.closing.unwrap_or(Reason::Bye);
                    self.outputs.push_back(Pending::Out(Output::Close(conn, reason)));
                }
                return Some(Output::Flush(conn));
            }
            if let (Some(reason), false) = (s.closing, s.close_sent) {
                s.close_sent = true;
                return Some(Output::Close(conn, reason));
            }
        }
        None
    }

    /// Makes the box of a move.
    pub fn poll_move(&mut self, slot: u32) -> Option<Output<P>> {
        let s = self.sessions.get(slot)?;
        let (conn, login) = (s.conn?, s.login.as_deref().cloned());
        let to = match (&login, s.near) {
            (Some(user), _) => WorkerId(user.id.shard(self.core_settings().shards).0 % self.workers()),
            (None, session::Near::Going(worker)) => worker,
            (None, _) => return None,
        };
        self.conns.remove(&conn);
        let peer = s.core.peer;
        self.forget_address(slot);
        self.timers_clear(slot);
        // A transfer's name is this worker's.
        self.blobs_end(slot);
        let mut s = self.sessions.remove(slot)?;
        s.core.peer = peer;
        Self::seal(&mut s);
        let moving = moving::Moving {
            projection: s.projection,
            core: s.core,
            layer: s.layer,
            inbox: s.inbox,
            wire: s.wire.split_off(s.wire_sent),
            secured: s.secured,
            flow: s.flow,
            login,
        };
        Some(Output::Move(to, conn, alloc::boxed::Box::new(moving)))
    }

    /// Does a job outside.
    fn job(&mut self, session: SessionRef, req: crate::ids::ReqId, job: NoDebug<P::Job>) {
        self.next_job += 1;
        let id = JobId(self.next_job);
        self.jobs.insert(id, (session, req));
        self.out(Output::Job(id, Work(job)));
    }

    /// The session a reference names, if it is still that one.
    fn find(&self, r: SessionRef) -> Option<u32> {
        let s = self.sessions.get(r.slot)?;
        (s.core.me == r).then_some(r.slot)
    }

    // --- timers ---

    fn timer(&mut self, slot: u32, id: u8, at: Option<Mono>) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let old = match at {
            Some(at) => s.timers.insert(id, at),
            None => s.timers.remove(&id),
        };
        if let Some(old) = old {
            self.timers.remove(&(old, slot, id));
        }
        if let Some(at) = at {
            self.timers.insert((at, slot, id));
        }
    }

    fn timers_clear(&mut self, slot: u32) {
        if let Some(s) = self.sessions.get_mut(slot) {
            for (id, at) in core::mem::take(&mut s.timers) {
                self.timers.remove(&(at, slot, id));
            }
        }
    }

    pub fn next_timer(&self) -> Option<(Mono, u8)> {
        self.timers.first().map(|t| (t.0, t.2))
    }

    /// Fires one due timer.
    pub fn fire(&mut self, post: &mut Post) -> bool {
        let Some(&(at, slot, id)) = self.timers.first().filter(|t| t.0 <= self.now.mono) else {
            return false;
        };
        self.end_burst();
        self.timer(slot, id, None);
        debug_assert!(at <= self.now.mono);
        match id {
            LOGIN => {
                self.call(slot, |p, cx| p.wake(Wake::LoginTimeout, cx));
                self.close(slot, Reason::Timeout("not logged in in time"));
            }
            PARKED => self.finish(slot),
            SLOWED => self.make_ready(slot),
            id => {
                self.call(slot, |p, cx| p.wake(Wake::Timer(id), cx));
            }
        }
        self.settle(post);
        true
    }

    fn make_ready(&mut self, slot: u32) {
        if let Some(s) = self.sessions.get_mut(slot)
            && !s.ready
        {
            s.ready = true;
            self.ready.push_back(slot);
        }
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn workers(&self) -> u8 {
        self.worker_count
    }

    /// New settings: everybody is told.
    pub fn set_settings(&mut self, settings: Arc<P::Settings>, post: &mut Post) {
        self.settings = settings;
        let slots: Vec<u32> = self.sessions.keys().collect();
        for slot in slots {
            self.call(slot, |p, cx| p.wake(Wake::Settings, cx));
            self.settle(post);
        }
    }

    /// The server stops.
    pub fn drain(&mut self, post: &mut Post) {
        self.draining = true;
        let slots: Vec<u32> = self.sessions.keys().collect();
        for slot in slots {
            self.call(slot, |p, cx| p.wake(Wake::Drain, cx));
            self.settle(post);
            self.close(slot, Reason::Drain);
            self.settle(post);
        }
    }

    /// Mail for sessions.
    pub fn mail(&mut self, mail: Mail, post: &mut Post) {
        if !matches!(mail, Mail::Event { .. }) {
            self.end_burst();
        }
        match mail {
            Mail::Event { name, event, origin, grant, here, same } if Self::is_calm(&event, grant, same) => {
                self.calm_event(name.as_ref(), &event, origin, here.as_deref(), post);
            }
            Mail::Event { name, event, origin, grant, here, same } => {
                self.end_burst();
                self.event(name.as_ref(), &event, origin, grant, here.as_deref(), same, post);
            }
            Mail::Live(name, live) => self.live(name.as_ref(), &live),
            Mail::Attached { room, session, grant, replay, answers } => {
                self.attached(room, session, grant, replay, answers, post);
            }
            Mail::Fed { account, pos, with, event, origin } => {
                self.fed(account, pos, &with, &event, origin, post);
            }
            Mail::Notice(account, notice) => self.notice(account, &notice),
            Mail::NoticeTo(session, notice) => self.notice_to(session, notice),
            Mail::Announce(notice) => self.announced(&notice),
            Mail::Answer(origin, reply) => self.answer(origin, reply, post),
            Mail::SignalHere(origin, signal) => self.signal_here(origin, *signal, post),
            Mail::Whois { origin, user, admin } => self.whois(origin, user, admin, post),
            Mail::Hand { origin, account, label, make, parcel } => {
                self.serve(origin, account, label, make, parcel, post);
            }
            Mail::Responded(origin, parcel) => self.responded(origin, parcel, post),
            // Everything else is for shards and does not come here.
            _ => debug_assert!(false, "mail for shards at an edge"),
        }
        self.settle(post);
    }

    /// Adds this edge's sessions and connections.
    pub fn count(&self, counts: &mut crate::query::Counts) {
        counts.sessions += self.logged_in;
        counts.unknown += (self.conns.len() as u64).saturating_sub(self.logged_in);
        counts.max_sessions += self.most_logged_in;
        counts.hidden += self.hidden;
        counts.admins += self.admins;
    }
}
