//! What a projection can do: the context of each call.

use crate::{
    blob::BlobKey,
    command::Command,
    edge::{
        blobs::{Course, Down, Transfer, Up, Wish},
        session::{Core, Pending},
    },
    event::Native,
    ids::{Label, OnceKey, Origin, Pos, ReqId, RoomId, SessionRef},
    name::{User, UserName},
    outbox::{Outbox, Slot},
    policy::Power,
    presence::Presence,
    projection::{Around, Channel, Parcel, Projection, Reason, Signal, SignalWhat},
    query::Query,
    rng::Rng,
    text::{Octets, Str},
    time::{Mono, Now},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::net::SocketAddr;

/// The context of one call of a projection. Writing takes effect at once, everything else after the call.
pub struct Cx<'a, P: Projection> {
    pub(crate) now: Now,
    pub(crate) settings: &'a Arc<P::Settings>,
    pub(crate) rng: &'a mut Rng,
    pub(crate) core: &'a mut Core,
    pub(crate) layer: Option<&'a P::Layer>,
    pub(crate) effects: &'a mut Vec<Effect<P>>,
}

/// What a projection wants; carried out after its call, in order.
#[derive(Debug)]
pub(crate) enum Effect<P: Projection> {
    Command { req: ReqId, attach: bool, command: Box<Command> },
    Query { req: ReqId, query: Query },
    Signal { req: ReqId, signal: Box<Signal> },
    Typing { room: RoomId, on: bool },
    RoomSignal { req: ReqId, room: RoomId, native: Native, least: Option<Power> },
    About { by: User, room: RoomId, native: Native },
    Display(Str),
    ShowAttrs(Vec<(Str, Octets)>),
    Login(User),
    LoginDeadline(bool),
    Guest(UserName, Option<Str>),
    Subscribe(Label),
    Presence(Presence),
    RoomPresence(RoomId, Presence),
    Attach { room: RoomId, since: Option<Pos> },
    Detach(RoomId),
    Resume { session: SessionRef, key: u128, handled: u32, around: Around },
    Secure(NoDebug<P::Layer>),
    Wrap(NoDebug<Wrap<P>>),
    Job { req: ReqId, job: NoDebug<P::Job> },
    Blob { req: ReqId, wish: Wish },
    Timer(u8, Option<Mono>),
    Mode,
    Close(Reason),
    Hand { req: ReqId, account: crate::ids::AccountId, label: Label, make: bool, parcel: Parcel },
    Respond(Origin, Parcel),
    Log(crate::log::Log),
    Watch(UserName, bool),
    Announce(Native),
    Shutdown,
    Reload,
}

/// Makes a layer around the one there is, if any.
pub(crate) type Wrap<P> =
    Box<dyn FnOnce(Option<<P as Projection>::Layer>) -> <P as Projection>::Layer + Send>;

/// A value that is left out of debug output.
pub(crate) struct NoDebug<T>(pub T);

impl<T> core::fmt::Debug for NoDebug<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("…")
    }
}

impl<'a, P: Projection> Cx<'a, P> {
    // --- what is known ---

    /// Both clocks.
    pub fn now(&self) -> Now {
        self.now
    }

    /// The settings.
    pub fn settings(&self) -> &'a Arc<P::Settings> {
        self.settings
    }

    /// The core's settings.
    pub fn core_settings(&self) -> &'a crate::settings::Settings {
        let s: &'a P::Settings = self.settings;
        s.as_ref()
    }

    /// Random bits that nobody can guess.
    pub fn random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// Fills with random bytes.
    pub fn fill_random(&mut self, out: &mut [u8]) {
        self.rng.fill(out);
    }

    /// As whom the session is logged in (an account or guest).
    pub fn user(&self) -> Option<&User> {
        self.core.user.as_ref()
    }

    /// The session itself; its name for a resumption. Final once logged in.
    pub fn session(&self) -> SessionRef {
        self.core.me
    }

    /// Its label, once subscribed.
    pub fn label(&self) -> &Label {
        &self.core.label
    }

    /// The address of the other end; `None`: a local socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.core.peer
    }

    /// The secure channel, when there is one.
    pub fn channel(&self) -> Option<&Channel> {
        self.layer.and_then(crate::projection::Layer::channel)
    }

    /// True: nobody between the ends can read (TLS), though the handshake may be under way.
    pub fn is_secure(&self) -> bool {
        self.layer.is_some_and(crate::projection::Layer::is_secure)
    }

    /// True: the session is attached to the room.
    pub fn is_attached(&self, room: RoomId) -> bool {
        self.core.rooms.contains_key(&room)
    }

    /// The rooms the session is attached to.
    pub fn rooms(&self) -> impl Iterator<Item = RoomId> + '_ {
        self.core.rooms.keys().copied()
    }

    // --- writing ---

    /// Writes a unit (line, stanza) at once: an event. `counted`: it counts for acknowledgements.
    pub fn write(&mut self, unit: &[u8], counted: bool) {
        self.core.out.write(unit, counted);
    }

    /// Takes a place in the order of answers, for the request just read.
    pub fn slot(&mut self) -> Slot {
        self.core.out.slot()
    }

    /// Writes a unit of an answer, in the slot's turn.
    pub fn answer(&mut self, slot: Slot, unit: &[u8], counted: bool) {
        self.core.out.answer(slot, unit, counted);
    }

    /// The same for a unit that `write` appends to what waits.
    pub fn answer_with(&mut self, slot: Slot, counted: bool, write: impl FnOnce(&mut Vec<u8>)) {
        self.core.out.answer_with(slot, counted, write);
    }

    /// The slot's answer is complete. Every slot must come here, or the window fills.
    pub fn done(&mut self, slot: Slot) {
        self.core.out.done(slot);
    }

    /// False: requests are in flight; return 0 from `recv`, the input comes again when they are answered.
    pub fn barrier(&mut self) -> bool {
        self.core.out.open() == 0 && self.core.pending.is_empty()
    }

    /// While held, `recv` is not called (a login under way).
    pub fn hold(&mut self, held: bool) {
        self.core.held = held;
    }

    /// The output itself: retaining, acknowledging, counting.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.core.out
    }

    /// What the message just read costs; reading slows down when more is spent than earned
    /// (`Limits::flood_burst`, `flood_rate`).
    pub fn charge(&mut self, cost: u32) {
        self.core.spent = self.core.spent.saturating_add(cost);
    }

    /// The session did something that a person did (for idle times).
    pub fn touch(&mut self) {
        self.core.active = self.now.wall;
    }

    // --- wanting ---

    /// Sends a command. `attach`: with its entry the session is attached to the room (joins). Answered
    /// by [`Projection::seen`] with [`crate::projection::Seen::Own`] when it made an entry that the
    /// session sees, else by [`Projection::reply`].
    pub fn command(&mut self, command: Command, attach: bool) -> ReqId {
        let req = self.core.request(Pending::Command);
        self.effects.push(Effect::Command { req, attach, command: Box::new(command) });
        req
    }

    /// Asks. Answered by [`Projection::reply`].
    pub fn query(&mut self, query: Query) -> ReqId {
        let req = self.core.request(Pending::Query);
        self.effects.push(Effect::Query { req, query });
        req
    }

    /// Sends a signal to the sessions of an account. Answered by [`Projection::reply`]: `Done`, or
    /// `Unreachable` when no such session is there, or `Blocked`.
    pub fn signal(
        &mut self,
        to: crate::ids::AccountId,
        to_label: Option<Label>,
        what: SignalWhat,
    ) -> Option<ReqId> {
        let (from, label) = (self.core.user.clone()?, self.core.label.clone());
        let req = self.core.request(Pending::Signal);
        self.effects
            .push(Effect::Signal { req, signal: Box::new(Signal { from, label, to, to_label, what }) });
        Some(req)
    }

    /// Shows or ends typing in an attached room. Not answered.
    pub fn typing(&mut self, room: RoomId, on: bool) {
        self.effects.push(Effect::Typing { room, on });
    }

    /// Shows a payload to the sessions attached to a room (`least`: of members with at least that power,
    /// and its own account's), without storing it. Answered by [`Projection::seen_live`], or refused by
    /// [`Projection::reply`].
    pub fn room_signal(&mut self, room: RoomId, native: Native, least: Option<Power>) -> ReqId {
        let req = self.core.request(Pending::Signal);
        self.effects.push(Effect::RoomSignal { req, room, native, least });
        req
    }

    /// Shows a payload about a member of a room to the sessions attached there, without storing it: also of one who may
    /// not speak there, and by a session that acts for him. Not answered.
    pub fn room_about(&mut self, by: User, room: RoomId, native: Native) {
        self.effects.push(Effect::About { by, room, native });
    }

    /// The session's display name, shown by whois and to its rooms.
    pub fn display(&mut self, name: Str) {
        self.effects.push(Effect::Display(name));
    }

    /// Hands a request to the agent of an account that has this label, on the account's worker; it is made
    /// if it is not there. Answered by [`Projection::responded`].
    pub fn hand(&mut self, account: crate::ids::AccountId, label: Label, parcel: Parcel) -> ReqId {
        let req = self.core.request(Pending::Hand);
        self.effects.push(Effect::Hand { req, account, label, make: true, parcel });
        req
    }

    /// The same for an agent that is there already, without an answer: to take a request back, say.
    pub fn tell(&mut self, account: crate::ids::AccountId, label: Label, parcel: Parcel) {
        let req = ReqId::default();
        self.effects.push(Effect::Hand { req, account, label, make: false, parcel });
    }

    /// Answers a request that [`Projection::serve`] was called with.
    pub fn respond(&mut self, to: Origin, parcel: Parcel) {
        self.effects.push(Effect::Respond(to, parcel));
    }

    /// Shows changed public values of the account to the rooms of the session.
    pub fn show_attrs(&mut self, values: Vec<(Str, Octets)>) {
        self.effects.push(Effect::ShowAttrs(values));
    }

    /// Logs in as an account whose credential was checked. The connection may move to another worker;
    /// [`crate::projection::Wake::Login`] follows there. Holds reading until then.
    pub fn login(&mut self, user: User) {
        self.core.held = true;
        self.effects.push(Effect::Login(user));
    }

    /// Whether the connection must log in within `Limits::login_time` from now. It must, unless said otherwise
    /// here: for protocols whose connections belong to nobody, and that limit their time themselves.
    pub fn login_deadline(&mut self, on: bool) {
        self.effects.push(Effect::LoginDeadline(on));
    }

    /// So many bytes of output may wait for this session, instead of `Limits::outbox`: for protocols whose
    /// single answers can be large.
    pub fn allow_output(&mut self, bytes: usize) {
        self.core.room = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// Logs in as a guest of that name. [`crate::projection::Wake::Login`] or `LoginRefused` follows.
    /// `alias` is [`User::alias`]. Called again by a guest, it changes the name. Holds reading until then.
    pub fn guest(&mut self, name: UserName, alias: Option<Str>) {
        self.core.held = true;
        self.effects.push(Effect::Guest(name, alias));
    }

    /// From here on the session gets its account's feed and notices, under this label. Another session
    /// of the account with the same label is [`crate::projection::Wake::Replaced`].
    pub fn subscribe(&mut self, label: Label) {
        self.core.label = label.clone();
        self.effects.push(Effect::Subscribe(label));
    }

    /// The session's presence; [`crate::presence::Show::Offline`] while it stays connected is possible.
    /// Goes to contacts, own sessions and attached rooms.
    pub fn presence(&mut self, presence: Presence) {
        self.effects.push(Effect::Presence(presence));
    }

    /// The session's presence in one room, where it differs from the general one. Before [`Cx::attach`] it
    /// is what the session is shown with from the first moment; before [`Cx::detach`] one that is
    /// [`crate::presence::Show::Offline`] is its last word there, shown as it goes.
    pub fn room_presence(&mut self, room: RoomId, presence: Presence) {
        self.effects.push(Effect::RoomPresence(room, presence));
    }

    /// Attaches to a room one belongs to. `since`: entries after it are replayed; `None`: from now on,
    /// for a position that is not known. [`crate::projection::Wake::Attached`] follows.
    pub fn attach(&mut self, room: RoomId, since: Option<Pos>) {
        self.effects.push(Effect::Attach { room, since });
    }

    /// Detaches from a room; the membership stays.
    pub fn detach(&mut self, room: RoomId) {
        self.effects.push(Effect::Detach(room));
    }

    /// Who knows this key (random, told to the client alone) may take the session over.
    pub fn resumable(&mut self, key: u128) {
        self.core.resume_key = Some(Box::new(key));
    }

    /// Nobody can take the session over any more.
    pub fn not_resumable(&mut self) {
        self.core.resume_key = None;
    }

    /// Takes over a parked or still connected session of the same account that is [`Cx::resumable`] with `key`, of
    /// which the client has taken `handled` counted units. The old session's requests in flight are answered first. This
    /// session ends when it succeeds; the old one goes on here with [`crate::projection::Wake::Resumed`], else this gets
    /// `NotResumed`.
    pub fn resume(&mut self, session: SessionRef, key: u128, handled: u32, around: Around) {
        self.core.held = true;
        self.effects.push(Effect::Resume { session, key, handled, around });
    }

    /// In [`crate::projection::Wake::Lost`]: the session stays for so many milliseconds without a connection.
    pub fn park(&mut self, ms: u64) {
        self.core.park = Some(self.now.mono + ms);
    }

    /// Whether the account leaves the session's rooms when it ends and no other session of the account is
    /// there, as a guest does.
    pub fn leaves(&mut self, leaves: bool) {
        self.core.leaves = leaves;
    }

    /// The last words of one who leaves with its session, shown where it was.
    pub fn farewell(&mut self, words: Str) {
        self.core.farewell = Some(Box::new(words));
    }

    /// A layer comes between: what was written before this call goes out plainly, everything read so
    /// far and not taken is dropped (RFC 3207 section 6, RFC 6120 section 5.4.3.3).
    pub fn secure(&mut self, layer: P::Layer) {
        self.effects.push(Effect::Secure(NoDebug(layer)));
    }

    /// A layer comes above the one there is, if any: what was written before this call goes out below it; what was
    /// read and not taken is dropped, as a peer that agreed on it has sent nothing yet.
    pub fn wrap(&mut self, make: impl FnOnce(Option<P::Layer>) -> P::Layer + Send + 'static) {
        self.effects.push(Effect::Wrap(NoDebug(Box::new(make))));
    }

    /// Has a job done. Answered by [`Projection::done`]; refused as busy by [`Projection::reply`].
    pub fn job(&mut self, job: P::Job) -> ReqId {
        let req = self.core.request(Pending::Job);
        self.effects.push(Effect::Job { req, job: NoDebug(job) });
        req
    }

    /// Begins an upload: of so many bytes, if that is known, and of at most `limit`. What comes of it is
    /// told by [`Projection::blob`] under this name. It ends with the connection at the latest. The slot of
    /// its answer is best taken when it is whole: a full window keeps its bytes from being read.
    pub fn upload(&mut self, size: Option<u64>, limit: u64) -> ReqId {
        let up = Up { gathered: Vec::new(), flying: 0, taken: 0, limit, end: None };
        let req = self.core.transfer(Course::Up(up));
        self.effects.push(Effect::Blob { req, wish: Wish::Create(size) });
        req
    }

    /// Takes bytes of an upload, and says how many it could take. Zero of some: as much as may be is under
    /// way; return 0 from `recv`, the input comes again when there is room. Those of a transfer that is
    /// over are dropped.
    pub fn upload_bytes(&mut self, transfer: ReqId, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.upload_room(transfer));
        let Some(Transfer { what: Course::Up(up), .. }) = self.core.transfers.get_mut(&transfer) else {
            return n;
        };
        if n > 0 {
            up.gathered.extend_from_slice(&bytes[..n]);
            up.taken += n as u64;
            self.effects.push(Effect::Blob { req: transfer, wish: Wish::Write });
        }
        n
    }

    /// How many bytes [`Cx::upload_bytes`] would take now.
    pub fn upload_room(&self, transfer: ReqId) -> usize {
        let credit = self.core_settings().limits.blob;
        match self.core.transfers.get(&transfer) {
            Some(Transfer { what: Course::Up(up), .. }) => {
                credit.saturating_sub(up.gathered.len() + up.flying)
            }
            _ => usize::MAX,
        }
    }

    /// The upload is whole: it is kept under its hash, or as something made from another content.
    pub fn upload_end(&mut self, transfer: ReqId, made: Option<BlobKey>) {
        if let Some(Transfer { what: Course::Up(up), .. }) = self.core.transfers.get_mut(&transfer) {
            up.end = Some(made);
            self.effects.push(Effect::Blob { req: transfer, wish: Wish::Write });
        }
    }

    /// Uploads what is in memory already, a part at a time: kept under its hash, or as something made from
    /// another content.
    pub fn upload_all(&mut self, bytes: Vec<u8>, made: Option<BlobKey>) -> ReqId {
        let size = bytes.len() as u64;
        let up = Up { gathered: bytes, flying: 0, taken: size, limit: size, end: Some(made) };
        let req = self.core.transfer(Course::Up(up));
        self.effects.push(Effect::Blob { req, wish: Wish::Create(Some(size)) });
        self.effects.push(Effect::Blob { req, wish: Wish::Write });
        req
    }

    /// Begins a download. What comes of it is told by [`Projection::blob`] under this name: whether it is
    /// there, and, once [`Cx::download_range`] said what is wanted of it, its bytes.
    pub fn download(&mut self, key: BlobKey) -> ReqId {
        let req = self.core.transfer(Course::Down(Down::default()));
        self.effects.push(Effect::Blob { req, wish: Wish::Open(key) });
        req
    }

    /// Of an open download these bytes are wanted (as far as they are there), in order, to be written into
    /// this slot. They are read in the slot's turn, as the session's output drains. Once for each download.
    pub fn download_range(&mut self, transfer: ReqId, slot: Slot, from: u64, len: u64) {
        if let Some(Transfer { what: Course::Down(down), .. }) = self.core.transfers.get_mut(&transfer)
            && let Some(size) = down.size
        {
            down.slot = Some(slot);
            down.next = from.min(size);
            down.end = from.saturating_add(len).min(size);
            self.effects.push(Effect::Blob { req: transfer, wish: Wish::Read });
        }
    }

    /// Ends a transfer; of an upload that is not whole nothing stays. Nothing more is told of it.
    pub fn transfer_end(&mut self, transfer: ReqId) {
        if let Some(Transfer { id: Some(id), .. }) = self.core.transfers.remove(&transfer) {
            self.effects.push(Effect::Blob { req: transfer, wish: Wish::Close(id) });
        }
    }

    /// Sets or (`None`) clears one of the session's timers.
    pub fn timer(&mut self, id: u8, at: Option<Mono>) {
        self.effects.push(Effect::Timer(id, at));
    }

    /// The mode or the class changed.
    pub fn mode_changed(&mut self) {
        self.effects.push(Effect::Mode);
    }

    /// Something larger than should wait in memory at once is being written piece by piece:
    /// [`crate::projection::Wake::Sent`] comes, once, when fewer than `low` bytes wait to be sent.
    pub fn when_sent(&mut self, low: u32) {
        self.core.refill = low;
    }

    /// Closes after everything written is sent.
    pub fn close(&mut self, reason: Reason) {
        self.effects.push(Effect::Close(reason));
    }

    /// A line for the log. Ids only, never text of people.
    pub fn log(&mut self, log: crate::log::Log) {
        self.effects.push(Effect::Log(log));
    }

    /// Asks the server to stop (an administrator's act).
    pub fn shutdown(&mut self) {
        self.effects.push(Effect::Shutdown);
    }

    /// Asks the server to read its configuration again (an administrator's act).
    pub fn reload(&mut self) {
        self.effects.push(Effect::Reload);
    }

    /// Watches a name, or no longer, whoever has it now or later: [`crate::projection::Notice::Watched`]
    /// follows, at once and whenever what strangers see of its holder changes. False: the session
    /// watches too many names already (`Limits::watches`).
    pub fn watch(&mut self, name: UserName, on: bool) -> bool {
        let limit = self.core_settings().limits.watches;
        let watches = &mut self.core.watches;
        if on {
            if watches.len() >= limit && !watches.contains(&name) {
                return false;
            }
            watches.insert(name.clone());
        } else if !watches.remove(&name) {
            return true;
        }
        self.effects.push(Effect::Watch(name, on));
        true
    }

    /// Shows a payload to all sessions of the server (an administrator's act).
    pub fn announce(&mut self, native: Native) {
        self.effects.push(Effect::Announce(native));
    }

    /// The origin of a request of this session.
    pub fn origin(&self, req: ReqId) -> Origin {
        Origin { session: self.core.me, req }
    }

    /// A key that is equal for a retry: of this account, the client's own id and the payload.
    pub fn once_key(&self, client_id: &str, payload: &[u8]) -> Option<OnceKey> {
        use core::hash::{BuildHasher, Hasher};
        let user = self.core.user.as_ref()?;
        let mut h = foldhash::fast::FixedState::with_seed(user.id.0).build_hasher();
        h.write(client_id.as_bytes());
        h.write_u8(0xff);
        h.write(payload);
        Some(OnceKey(h.finish()))
    }
}
