//! One XMPP session: its state, and how what comes from the core finds its way.
//!
//! What waits for an answer is a closure in [`Xmpp::waiting`]: a handler asks and says with it what is to happen then.
//! Requests read from the stream take a [`Slot`] first, so that answers leave in their order and an acknowledgement
//! (XEP-0198) covers only what is done.

use crate::job::{Done, Job};
use crate::missed::Overlap;
use crate::session::{CLASS_BITS, Cx, XMPP_CLASS};
use crate::settings::{Listener, Settings};
use crate::xmpp::address;
use crate::xmpp::csi::Deferred;
use crate::xmpp::error::{StanzaError, StreamCondition};
use crate::xmpp::iq::Iq;
use crate::xmpp::jid::Jid;
use crate::xmpp::login::Login;
use crate::xmpp::muc::{self, Rooms};
use crate::xmpp::pep::Client;
use crate::xmpp::sasl2::Opening;
use crate::xmpp::sm_doubt::Doubts;
use crate::xmpp::sm_session::Sm;
use crate::xmpp::stream::Stream;
use crate::xmpp::writer::{Writer, escape_attr};
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::event::{Event, Live};
use lavina_core::ids::{AccountId, Label, Pos, ReqId, RoomId};
use lavina_core::name::{NameKey, RoomName, User, UserName};
use lavina_core::outbox::Slot;
use lavina_core::projection::{Hole, Mode, Notice, Pieces, Reason, Seen, Shown, Wake, WireClass};
use lavina_core::query::{Query, Reply, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::Str;
use lavina_core::vecmap::VecMap;
use smol_str::SmolStr;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The hole that takes the session's full address, escaped.
pub const HOLE_TO: Hole = Hole(0);

/// The timer that looks after idle connections.
pub(super) const TIMER_IDLE: u8 = 0;

/// The timer that makes a resumed session active again.
pub(super) const TIMER_ACTIVE: u8 = 1;

/// An XMPP session, from the first byte on.
pub struct Xmpp {
    /// The stream: framing, headers, features.
    pub(super) stream: Stream,
    /// Logging in and registering; gone once bound.
    pub(super) login: Option<Box<Login>>,
    /// What a session has once a resource is bound.
    pub(super) bound: Option<Box<Bound>>,
    waiting: VecMap<ReqId, Then>,
    holds: u32,
}

/// A session with a resource.
pub struct Bound {
    /// Its full address.
    pub jid: Jid,
    /// The same, escaped for an attribute.
    pub attr: Vec<u8>,
    /// Its presence is told; its priority.
    pub available: Option<i8>,
    /// Contact list pushes are wanted.
    pub interested: bool,
    /// Copies of what other sessions send and receive are wanted (XEP-0280).
    pub carbons: bool,
    /// Stream management, if enabled.
    pub sm: Option<Sm>,
    /// Messages that were refused, while the client may not know it.
    pub(super) doubts: Option<Box<Doubts>>,
    /// The account's other sessions that are available, with their priorities.
    pub siblings: VecMap<Label, i8>,
    /// The addresses the account has blocked.
    pub blocked: Vec<Str>,
    /// The last position of the feed seen by this session.
    pub fed: Option<Pos>,
    /// What of the feed was shown as it came and what as missed.
    pub(crate) overlap: Overlap,
    /// Accounts that got presence directed at them, to be told when it ends.
    pub directed: BTreeMap<UserName, AccountId>,
    /// Where it sits in rooms.
    pub(super) rooms: Rooms,
    /// The hash of the account's avatar.
    pub avatar: Option<SmolStr>,
    /// What waits for the session to begin; none: it has.
    pub(super) opening: Option<Box<Opening>>,
    /// The client said that it reads the archive: it gets no offline messages (XEP-0386 §3.2).
    pub reads_archive: bool,
    /// What waits while nobody looks at the client; none: somebody does.
    pub(super) deferred: Option<Deferred>,
    /// What is known of the client software.
    pub(super) client: Client,
    /// The other parties of dialogs, looked up for the archive.
    pub(super) parties: BTreeMap<RoomId, User>,
    /// Accounts looked up lately.
    known: Vec<User>,
    /// Bytes came in since the timer was set.
    pub heard: bool,
    /// The client was asked whether it is there.
    pub asked: bool,
}

/// How many looked-up accounts a session remembers; the oldest makes room.
const KNOWN: usize = 32;

/// What came of a command or signal.
pub enum Outcome<'a> {
    /// An answer.
    Reply(Reply),
    /// The entry it made. `attached`: the session is attached to the room from it on.
    Event {
        /// The entry.
        event: &'a Arc<Event>,
        /// Attached.
        attached: bool,
    },
    /// The signal it made.
    Live(&'a Arc<Live>),
}

impl Outcome<'_> {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Outcome::Reply(Err(refusal)) => Some(refusal),
            _ => None,
        }
    }
}

type OnReply = Box<dyn FnOnce(&mut Xmpp, Reply, &mut Cx<'_>) + Send>;
type OnOutcome = Box<dyn FnOnce(&mut Xmpp, Outcome<'_>, &mut Cx<'_>) + Send>;
type OnDone = Box<dyn FnOnce(&mut Xmpp, Result<Done, Refusal>, &mut Cx<'_>) + Send>;

/// What is to happen with an answer.
enum Then {
    Reply(OnReply),
    Outcome(OnOutcome),
    Job(OnDone),
}

// --- what the one projection of the server calls ---

impl Xmpp {
    /// A connection came in.
    pub fn accept(on: Listener, settings: &Arc<Settings>) -> Xmpp {
        Xmpp {
            stream: Stream::new(on.security, &settings.core.limits),
            login: Some(Box::default()),
            bound: None,
            waiting: VecMap::new(),
            holds: 0,
        }
    }

    /// Clients speak first; only the clock starts.
    pub fn opened(&mut self, _cx: &mut Cx<'_>) {}

    /// Takes one unit of the stream.
    ///
    /// # Errors
    /// Why the stream has to end; the stream error is written already.
    pub fn recv(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> Result<usize, Reason> {
        self.read(bytes, cx)
    }

    /// An event for this session alone.
    pub fn seen(&mut self, event: &Arc<Event>, how: Seen, cx: &mut Cx<'_>) {
        match how {
            Seen::Own { req, attached } => self.outcome(req, Outcome::Event { event, attached }, cx),
            Seen::Feed { pos, with, own } => {
                self.fed(event, pos, &with, own.is_some(), cx);
                if let Some(req) = own {
                    self.outcome(req, Outcome::Event { event, attached: false }, cx);
                }
            }
            Seen::About { .. } => self.standing_changed(event, cx),
            Seen::Room { here } => self.seen_inactive(event, here.as_ref(), cx),
        }
    }

    /// A live signal for this session alone.
    pub fn seen_live(&mut self, live: &Arc<Live>, own: Option<ReqId>, cx: &mut Cx<'_>) {
        match own {
            Some(req) => self.outcome(req, Outcome::Live(live), cx),
            None if cx.user().is_some_and(|me| me.id == live.by.id) => self.live_about(live, cx),
            None => self.live_inactive(live, cx),
        }
    }

    /// An answer.
    pub fn reply(&mut self, req: ReqId, reply: Reply, cx: &mut Cx<'_>) {
        match self.waiting.remove(&req) {
            Some(Then::Reply(then)) => then(self, reply, cx),
            Some(Then::Outcome(then)) => then(self, Outcome::Reply(reply), cx),
            Some(Then::Job(then)) => then(self, Err(reply.err().unwrap_or(Refusal::Busy)), cx),
            None => {}
        }
    }

    /// A job's result.
    pub fn done(&mut self, req: ReqId, done: Done, cx: &mut Cx<'_>) {
        if let Some(Then::Job(then)) = self.waiting.remove(&req) {
            then(self, Ok(done), cx);
        }
    }

    /// Something else happened.
    pub fn wake(&mut self, why: Wake, cx: &mut Cx<'_>) {
        match why {
            Wake::Login => self.logged_in(cx),
            Wake::LoginRefused(refusal) => self.login_refused(&refusal, cx),
            Wake::Lost => self.lost(cx),
            Wake::Resumed(around) => self.resumed(around, cx),
            Wake::NotResumed(handled) => self.not_resumed(handled, cx),
            Wake::Replaced => self.end(StreamCondition::Conflict, "", Reason::Replaced, cx),
            Wake::Notice(notice) => self.notice(&notice, cx),
            Wake::Timer(TIMER_IDLE) => self.idle(cx),
            Wake::Timer(TIMER_ACTIVE) => self.set_active(true, cx),
            Wake::LoginTimeout => {
                let text = "logging in took too long";
                self.end(StreamCondition::ConnectionTimeout, text, Reason::Timeout("login"), cx);
            }
            Wake::Drain => self.end(StreamCondition::SystemShutdown, "", Reason::Drain, cx),
            Wake::Overflow => {
                let text = "you read too slowly; log in again, the archive has what you missed";
                self.end(StreamCondition::PolicyViolation, text, Reason::Limit("output"), cx);
            }
            Wake::Attached { room, replay } => self.attached(room, replay, cx),
            Wake::Timer(_) | Wake::Secured | Wake::Sent | Wake::Moved | Wake::Settings => {}
        }
    }

    /// Bound sessions get room events encoded once for all of their class.
    pub fn mode(&self) -> Mode {
        match &self.bound {
            Some(bound) if bound.deferred.is_some() => Mode::Each,
            Some(bound) => Mode::Push(WireClass(XMPP_CLASS << CLASS_BITS | u32::from(bound.sm.is_some()))),
            None => Mode::Quiet,
        }
    }

    /// Encodes what happened in a room.
    pub fn encode(
        class: WireClass,
        name: Option<&RoomName>,
        shown: Shown<'_>,
        settings: &Settings,
        out: &mut Pieces,
    ) {
        muc::encode(class, name, shown, settings, out);
    }

    /// What fills a hole.
    pub fn hole(&self, hole: Hole) -> &[u8] {
        match (&self.bound, hole) {
            (Some(bound), HOLE_TO) => &bound.attr,
            _ => &[],
        }
    }
}

// --- what handlers use ---

impl Xmpp {
    /// Asks; `then` gets the answer.
    pub(super) fn ask(
        &mut self,
        query: Query,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Reply, &mut Cx<'_>) + Send + 'static,
    ) {
        let req = cx.query(query);
        self.waiting.insert(req, Then::Reply(Box::new(then)));
    }

    /// Commands; `then` gets what came of it.
    pub(super) fn command(
        &mut self,
        command: Command,
        attach: bool,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Outcome<'_>, &mut Cx<'_>) + Send + 'static,
    ) {
        let req = cx.command(command, attach);
        self.waiting.insert(req, Then::Outcome(Box::new(then)));
    }

    /// Commands something of the session's own account.
    pub(super) fn own(
        &mut self,
        act: Act,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Outcome<'_>, &mut Cx<'_>) + Send + 'static,
    ) {
        if let Some(me) = cx.user().cloned() {
            let to = EntityId::Account(me.id);
            self.command(Command::by(&me, to, act), false, cx, then);
        }
    }

    /// Has a job done; `then` gets the result.
    pub(super) fn job(
        &mut self,
        job: Job,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Result<Done, Refusal>, &mut Cx<'_>) + Send + 'static,
    ) {
        let req = cx.job(job);
        self.waiting.insert(req, Then::Job(Box::new(then)));
    }

    /// What is to happen with the answer to a request made directly.
    pub(super) fn when(
        &mut self,
        req: ReqId,
        then: impl FnOnce(&mut Xmpp, Outcome<'_>, &mut Cx<'_>) + Send + 'static,
    ) {
        self.waiting.insert(req, Then::Outcome(Box::new(then)));
    }

    /// Finds the account of that name, from memory or by asking. Reading stops until it is found, so that stanzas keep
    /// their order.
    pub(super) fn with_user(
        &mut self,
        name: UserName,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, Option<User>, &mut Cx<'_>) + Send + 'static,
    ) {
        let known = self.bound.as_ref().and_then(|b| b.known.iter().find(|u| u.name == name).cloned());
        if let Some(user) = known.or_else(|| cx.user().filter(|me| me.name == name).cloned()) {
            return then(self, Some(user), cx);
        }
        self.hold(true, cx);
        self.ask(Query::Resolve(NameKey::User(name.clone())), cx, move |session, reply, cx| {
            session.hold(false, cx);
            let user = match reply {
                Ok(Value::Id(id)) => Some(User::new(AccountId(id), name)),
                _ => None,
            };
            if let (Some(user), Some(bound)) = (&user, &mut session.bound) {
                if bound.known.len() >= KNOWN {
                    bound.known.remove(0);
                }
                bound.known.push(user.clone());
            }
            then(session, user, cx);
        });
    }

    /// The room of the dialog with somebody.
    pub(super) fn dialog(with: &User, cx: &Cx<'_>) -> Option<RoomId> {
        cx.user().map(|me| RoomId::dialog(me.id, with.id, cx.core_settings().shards))
    }

    /// Stops reading, or goes on; calls nest.
    pub(super) fn hold(&mut self, held: bool, cx: &mut Cx<'_>) {
        self.holds = if held { self.holds + 1 } else { self.holds.saturating_sub(1) };
        cx.hold(self.holds > 0);
    }

    /// Whether reading has stopped.
    pub(super) fn is_held(&self) -> bool {
        self.holds > 0
    }

    /// Writes a stanza that answers nothing, with a request for acknowledgement now and then.
    pub(super) fn write(&mut self, cx: &mut Cx<'_>, build: impl FnOnce(&mut Writer<'_>)) {
        self.flush_deferred(cx);
        let mut out = Vec::with_capacity(256);
        build(&mut Writer::in_stream(&mut out));
        self.emit(&out, cx);
    }

    /// Sends a stanza that answers nothing; one for a session that has not begun waits until it has.
    pub(super) fn emit(&mut self, stanza: &[u8], cx: &mut Cx<'_>) {
        if let Some(opening) = self.bound.as_mut().and_then(|b| b.opening.as_mut()) {
            if !opening.keep(stanza) {
                self.begin(None, cx);
            }
            return;
        }
        cx.write(stanza, true);
        self.ask_for_ack(cx);
    }

    /// Writes a stanza that answers a request, in its turn.
    pub(super) fn answer(&mut self, slot: Slot, cx: &mut Cx<'_>, build: impl FnOnce(&mut Writer<'_>)) {
        let mut out = Vec::with_capacity(256);
        build(&mut Writer::in_stream(&mut out));
        cx.answer(slot, &out, true);
    }

    /// The session's full address; empty before it is bound.
    pub(super) fn full(&self) -> &str {
        self.bound.as_ref().map_or("", |b| b.jid.as_str())
    }

    /// The account's bare address.
    pub(super) fn bare(&self) -> &str {
        self.bound.as_ref().map_or("", |b| b.jid.bare_str())
    }

    /// Binds a resource.
    pub(super) fn set_bound(&mut self, jid: Jid, blocked: Vec<Str>) {
        let mut attr = Vec::new();
        escape_attr(jid.as_str(), &mut attr);
        self.login = None;
        self.bound = Some(Box::new(Bound {
            jid,
            attr,
            available: None,
            interested: false,
            carbons: false,
            sm: None,
            doubts: None,
            siblings: VecMap::new(),
            blocked,
            fed: None,
            overlap: Overlap::default(),
            directed: BTreeMap::new(),
            rooms: Rooms::default(),
            avatar: None,
            opening: None,
            reads_archive: false,
            deferred: None,
            client: Client::default(),
            parties: BTreeMap::new(),
            known: Vec::new(),
            heard: false,
            asked: false,
        }));
    }

    /// Whether the account has blocked this address, or its bare form, or its domain (XEP-0191 §3).
    pub(super) fn blocks(&self, jid: &Jid, domain: &str) -> bool {
        let Some(bound) = &self.bound else { return false };
        if bound.blocked.is_empty() {
            return false;
        }
        let domain_only = Jid::prepared(None, jid.domain(), None);
        let domain_with_resource = jid.resource().map(|r| Jid::prepared(None, jid.domain(), Some(r)));
        [Some(jid.clone()), Some(jid.bare()), Some(domain_only), domain_with_resource]
            .into_iter()
            .flatten()
            .any(|j| bound.blocked.contains(&address::to_core(&j, domain)))
    }

    /// Finishes an iq whose command has nothing to say but yes or no.
    pub(super) fn finish(&mut self, iq: &Iq, outcome: &Outcome<'_>, cx: &mut Cx<'_>) {
        match outcome.refusal() {
            Some(refusal) => self.iq_error(iq, &StanzaError::from(refusal), cx),
            None => self.iq_result(iq, cx, |_| {}),
        }
    }

    fn outcome(&mut self, req: ReqId, outcome: Outcome<'_>, cx: &mut Cx<'_>) {
        match self.waiting.remove(&req) {
            Some(Then::Outcome(then)) => then(self, outcome, cx),
            Some(other) => {
                self.waiting.insert(req, other);
            }
            None => {}
        }
    }

    fn notice(&mut self, notice: &Notice, cx: &mut Cx<'_>) {
        self.avatar_noted(notice, cx);
        match notice {
            Notice::Presence { from, label, presence } => self.presence_of(from, label, presence, cx),
            Notice::Subscription { from, step, native } => {
                self.subscription_of(from, *step, native.as_ref(), cx)
            }
            Notice::Contact { contact, removed, version } => {
                self.roster_push(contact, *removed, *version, cx)
            }
            Notice::Blocked { add, remove, all } => self.blocked(add, remove, *all, cx),
            Notice::Signal(signal) => self.signalled(signal, cx),
            Notice::Revoked(revoked) => self.revoked(*revoked, cx),
            Notice::Destroyed { event, .. } => self.room_destroyed(event, cx),
            Notice::Attrs { from, native: Some(native), .. } => self.pep_event(from, native, cx),
            Notice::Membership { name, event, .. } => self.membership_of(name.as_ref(), event, cx),
            Notice::Read { room, mark, .. } => self.read_elsewhere(*room, mark.pos, cx),
            Notice::ReadBy { room, from, seen } => self.read_by(*room, from, seen, cx),
            Notice::Attrs { .. } | Notice::Letter { .. } | Notice::Respelled(_) => {}
            Notice::Watched { .. } | Notice::Announced { .. } => {}
        }
    }
}

/// Eleven letters and digits that nobody can guess.
pub(super) fn random_name(cx: &mut Cx<'_>) -> SmolStr {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bits = cx.random();
    (0..12)
        .map(|_| {
            let letter = LETTERS[(bits & 31) as usize];
            bits >>= 5;
            char::from(letter)
        })
        .collect()
}
