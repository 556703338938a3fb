//! What a protocol must provide: the translation between its wire and the chat core.
//!
//! A projection is one session's protocol state. It is called with bytes, events, answers and wakes,
//! and acts only through [`Cx`]: what it writes is written at once, what it wants (commands, questions,
//! login …) is carried out after the call returns.

use crate::{
    blob::Blob,
    command::Step,
    cx::Cx,
    event::{Event, Live, Native},
    ids::{AccountId, Label, Origin, Pos, ReqId, RoomId},
    name::{RoomName, User, UserName},
    policy::ReadTo,
    presence::{Contact, Presence, Sighting},
    query::Reply,
    refusal::Refusal,
    row::ReadMark,
    settings::Settings,
    text::{Octets, Str},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{any::Any, net::SocketAddr};

/// One protocol session. The codecs have one enum that implements it.
pub trait Projection: Sized + Send + 'static {
    /// What was listening where the connection came in.
    type Listener: Copy + Send + core::fmt::Debug;
    /// The byte layer below (TLS).
    type Layer: Layer;
    /// The settings: the core's and the protocols'.
    type Settings: AsRef<Settings> + Send + Sync;
    /// Work that takes long (password derivation); done outside, inline in the simulator.
    type Job: Send;
    /// What a job gives.
    type Done: Send;

    /// A connection came in. `peer` is `None` for a local socket.
    fn accept(
        on: Self::Listener,
        peer: Option<SocketAddr>,
        settings: &Arc<Self::Settings>,
    ) -> (Self, Option<Self::Layer>);

    /// Says the first word, if it is ours; called once after `accept`.
    fn opened(&mut self, cx: &mut Cx<'_, Self>);

    /// Takes ONE message, or one run of bytes of it, from the front of `bytes` and says how many bytes
    /// it took; 0: the message is not complete (or [`Cx::barrier`], [`Cx::hold`] say wait). It is called
    /// again while it takes something. Errors close the connection, after what was written is sent.
    fn recv(&mut self, bytes: &[u8], cx: &mut Cx<'_, Self>) -> Result<usize, Reason>;

    /// An event of a room that this session must see in its own way: its own, one about its account,
    /// or one of its account's dialogs.
    fn seen(&mut self, event: &Arc<Event>, how: Seen, cx: &mut Cx<'_, Self>);

    /// A live signal of its own ([`Live::origin`] is this session), or about its account, or any for a session in
    /// [`Mode::Each`].
    fn seen_live(&mut self, live: &Arc<Live>, own: Option<ReqId>, cx: &mut Cx<'_, Self>);

    /// The answer to a request made through [`Cx`].
    fn reply(&mut self, req: ReqId, reply: Reply, cx: &mut Cx<'_, Self>);

    /// The result of a job.
    fn done(&mut self, req: ReqId, done: Self::Done, cx: &mut Cx<'_, Self>);

    /// What came of a transfer of media ([`Cx::upload`], [`Cx::download`]).
    fn blob(&mut self, _transfer: ReqId, _what: Blob, _cx: &mut Cx<'_, Self>) {}

    /// Something else happened.
    fn wake(&mut self, why: Wake, cx: &mut Cx<'_, Self>);

    /// A session for the requests handed to this account under this label, when there is none: it has no
    /// connection and lives until it closes itself ([`Cx::close`]). It is not logged in, and has the time of
    /// a login for it. `None`: nothing of this kind is known; the request is answered with nothing.
    fn agent(account: AccountId, label: &Label, settings: &Arc<Self::Settings>) -> Option<Self> {
        let _ = (account, label, settings);
        None
    }

    /// A request of another session, handed over with [`Cx::hand`]. Answer it with [`Cx::respond`], now
    /// or later; where it never is, the one who waits must have a time limit of its own.
    fn serve(&mut self, from: Origin, parcel: Parcel, cx: &mut Cx<'_, Self>) {
        let _ = (from, parcel, cx);
    }

    /// The answer to what [`Cx::hand`] handed over; `None`: there is nobody to answer it.
    fn responded(&mut self, req: ReqId, parcel: Option<Parcel>, cx: &mut Cx<'_, Self>) {
        let _ = (req, parcel, cx);
    }

    /// True: it has taken the beginning of something and waits for the rest, which is read even where so much is
    /// unanswered ([`crate::limits::Limits::window`]) that nothing new would be.
    fn is_midway(&self) -> bool {
        false
    }

    /// How it wants room events: encoded once for its class, or one by one.
    fn mode(&self) -> Mode;

    /// Encodes what happened in the room of that name for all sessions of `class`. Nothing written: the
    /// class does not show it.
    fn encode(
        class: WireClass,
        name: Option<&RoomName>,
        shown: Shown<'_>,
        settings: &Self::Settings,
        out: &mut Pieces,
    );

    /// What fills a hole of an encoding for this session.
    fn hole(&self, hole: Hole) -> &[u8];

    /// Does a job. Pure; may take long.
    fn run(job: Self::Job) -> Self::Done;
}

/// A value that one session hands to another: a request, or its answer. The core carries it and never
/// looks inside.
pub struct Parcel(Box<dyn Any + Send>);

impl Parcel {
    /// Wraps a value.
    pub fn new<T: Send + 'static>(value: T) -> Parcel {
        Parcel(Box::new(value))
    }

    /// The value, if it is one of this type.
    pub fn open<T: 'static>(self) -> Option<Box<T>> {
        self.0.downcast().ok()
    }
}

impl core::fmt::Debug for Parcel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Parcel")
    }
}

/// A layer between the socket's bytes and the protocol's.
pub trait Layer: Send {
    /// Takes all of `wire` and appends what it contains to `plain`, and what must be answered
    /// (handshake, alerts) to `answer`. An error closes the connection after `answer` was sent.
    fn read(&mut self, wire: &[u8], plain: &mut Vec<u8>, answer: &mut Vec<u8>) -> Result<(), Reason>;

    /// Appends `plain` to `wire` in this layer's form.
    fn write(&mut self, plain: &[u8], wire: &mut Vec<u8>);

    /// Appends the layer's own farewell.
    fn close(&mut self, wire: &mut Vec<u8>);

    /// What is known of the channel once its handshake is done.
    fn channel(&self) -> Option<&Channel>;

    /// True once plain bytes can be written.
    fn is_open(&self) -> bool {
        self.channel().is_some()
    }

    /// True: nobody between the ends can read, though the handshake that brings it about may be under way.
    fn is_secure(&self) -> bool {
        true
    }

    /// True: the peer has said its last word in this layer. The connection is closed once the answer to that is
    /// sent, and the session has lost it.
    fn is_over(&self) -> bool {
        false
    }
}

/// What is known of a secure channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// The agreed application protocol (ALPN).
    pub alpn: Option<Str>,
    /// The server name the client asked for (SNI).
    pub server_name: Option<Str>,
    /// `tls-exporter` (RFC 9266), where the TLS version allows it.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point` (RFC 5929).
    pub end_point: Octets,
    /// Version and cipher, for people.
    pub description: Str,
}

/// Why a session sees an event itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is what its own request made. It frees the request's slot; nothing else answers.
    Own {
        /// The request.
        req: ReqId,
        /// True: the session is attached to the room from this entry on (it asked so).
        attached: bool,
    },
    /// Its account is the one whose membership changed. If it is out now, the session is detached.
    About {
        /// True: some session of the account was there.
        here: bool,
    },
    /// A dialog of its account has a new entry; the position is the feed's.
    Feed {
        /// Position in the feed.
        pos: Pos,
        /// The other party of the dialog.
        with: User,
        /// The session's own request that made it.
        own: Option<ReqId>,
    },
    /// A room event for a session in [`Mode::Each`].
    Room {
        /// How present its subject is, as for [`Shown::Event`].
        here: Option<Presence>,
    },
}

/// Why a session is woken.
#[derive(Clone, Debug)]
pub enum Wake {
    /// Logged in ([`Cx::login`], [`Cx::guest`]) on the account's worker; [`Cx::user`] says as whom.
    Login,
    /// The login was refused (too many sessions, name taken).
    LoginRefused(Refusal),
    /// The time for logging in is over; the connection closes after this call.
    LoginTimeout,
    /// The connection is gone. Without [`Cx::park`] in this call the session ends.
    Lost,
    /// A new connection took over this session; everything unacknowledged follows by itself. The word that it goes on is
    /// to stand between these.
    Resumed(Around),
    /// The resumption asked for cannot be: the session goes on as a new one. Says how many counted
    /// units the old one had taken from the client, if that is still known.
    NotResumed(Option<u32>),
    /// Another session of the account took this one's label; it should say so and close.
    Replaced,
    /// An attach is done: the entries after `since` that the member may see, in order (at most the
    /// room's tail or a page; `gap`: older ones were left out).
    Attached {
        /// The room.
        room: RoomId,
        /// What was missed.
        replay: Result<Arc<Replay>, Refusal>,
    },
    /// Something concerning the account.
    Notice(Arc<Notice>),
    /// Less than what [`Cx::when_sent`] named waits to be sent.
    Sent,
    /// A timer of [`Cx::timer`] is due.
    Timer(u8),
    /// The connection is on another worker now, the one that its requests were handed to ([`Cx::hand`]). Nothing was under
    /// way; the session's timers are gone.
    Moved,
    /// The channel below is secure now.
    Secured,
    /// There are new settings.
    Settings,
    /// The server stops: say goodbye; the connection closes after this.
    Drain,
    /// The output reached its limit and was dropped; the session ends after this call. What is written
    /// now is the last word.
    Overflow,
}

/// What a session that takes over another one wants to have written before and after the word that it goes on.
pub type Around = [Vec<u8>; 2];

/// What an attach brings.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// Missed entries in order.
    pub events: Vec<Arc<Event>>,
    /// True: there were more than could be replayed.
    pub gap: bool,
    /// The room at this moment.
    pub view: Option<Arc<crate::query::RoomView>>,
}

/// Something concerning an account, told to all its subscribed sessions.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A contact's session, or another session of the account itself, changed its presence.
    Presence {
        /// Whose.
        from: User,
        /// Which session.
        label: Label,
        /// The presence.
        presence: Presence,
    },
    /// A contact took a step of the subscription.
    Subscription {
        /// Who.
        from: User,
        /// Which step.
        step: Step,
        /// The wire form.
        native: Option<Native>,
    },
    /// The contact list changed.
    Contact {
        /// The entry.
        contact: Contact,
        /// True: it was removed.
        removed: bool,
        /// The list's version with this change.
        version: Pos,
    },
    /// Named values of the account itself or of a contact changed.
    Attrs {
        /// Whose.
        from: User,
        /// The values; empty: removed.
        values: Vec<(Str, Octets)>,
        /// The wire form.
        native: Option<Native>,
        /// The session whose request it was, if any.
        origin: Option<Origin>,
    },
    /// The block list changed.
    Blocked {
        /// Added.
        add: Vec<Str>,
        /// Removed.
        remove: Vec<Str>,
        /// True: all were removed first.
        all: bool,
    },
    /// The account's membership of a room changed by an act that not all its sessions see: they may
    /// attach (from `event.pos`) or must forget the room.
    Membership {
        /// The room's name.
        name: Option<RoomName>,
        /// The entry, a [`crate::event::What::Member`] about the account.
        event: Arc<Event>,
        /// The session whose request it was, if any: it has seen the event itself.
        origin: Option<Origin>,
    },
    /// A room the account belonged to is no more.
    Destroyed {
        /// The room.
        room: RoomId,
        /// The entry.
        event: Arc<Event>,
    },
    /// The account's own read position moved.
    Read {
        /// The room or dialog.
        room: RoomId,
        /// How far.
        mark: ReadMark,
        /// The session whose request it was, if any.
        origin: Option<Origin>,
    },
    /// In a dialog of the account somebody, maybe the account itself, has read up to there.
    ReadBy {
        /// The dialog.
        room: RoomId,
        /// Who.
        from: User,
        /// Up to where.
        seen: ReadTo,
    },
    /// A letter came for the sessions under this label.
    Letter {
        /// Which.
        label: Label,
        /// Its position.
        pos: Pos,
        /// The letter.
        letter: Octets,
    },
    /// The account is spelled so now.
    Respelled(UserName),
    /// The credential changed, or the account was disabled or deleted: why its sessions end.
    Revoked(Revoked),
    /// A signal from a session of somebody.
    Signal(Signal),
    /// A name watched with [`Cx::watch`] is seen, or no more, or in another way.
    Watched {
        /// The name asked for.
        name: UserName,
        /// Before; `None` too when this answers the wish to watch.
        before: Option<Arc<Sighting>>,
        /// Now.
        now: Option<Arc<Sighting>>,
        /// True: this answers the wish to watch.
        first: bool,
        /// Equal for the same change shown in a room (see [`crate::event::Live::same`]).
        same: u64,
    },
    /// Somebody with the right to do so speaks to all sessions of the server.
    Announced {
        /// Who.
        from: User,
        /// What.
        native: Native,
    },
}

/// Why sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// Another credential; the session that changed it goes on.
    Credential(Option<Origin>),
    /// Disabled.
    Disabled,
    /// Deleted.
    Deleted,
}

/// An ephemeral word from a session to the sessions of an account; never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// From whom.
    pub from: User,
    /// Which of its sessions.
    pub label: Label,
    /// To whom.
    pub to: AccountId,
    /// To which session; `None`: all of them.
    pub to_label: Option<Label>,
    /// What.
    pub what: SignalWhat,
}

/// What a signal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalWhat {
    /// Began or stopped typing in the dialog.
    Typing(bool),
    /// A payload for speakers of the same protocol.
    Native(Native),
    /// A message in the dialog, which the receiver's client named so, was shown to the signal's sender.
    Arrived(Str),
    /// An administrator ends the account's sessions, in these words. No block stops it.
    End(Str),
}

/// How a session wants room events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Encoded once for all sessions of the class.
    Push(WireClass),
    /// Each through [`Projection::seen`] with [`Seen::Room`] and [`Projection::seen_live`].
    Each,
    /// None.
    Quiet,
}

/// What sessions have in common that get the same bytes: protocol and negotiated options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireClass(pub u32);

/// What is shown to a room.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// An entry of its log, and how present its subject ([`Event::subject`]) is, or was until it
    /// went out with this entry; `None`: was not there.
    Event(&'a Event, Option<&'a Presence>),
    /// A signal of the moment.
    Live(&'a Live),
}

/// A place in an encoding that differs between sessions of a class; the number is the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole(pub u8);

/// An encoding: bytes with holes, made of units (a line, a stanza).
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    pub(crate) bytes: Vec<u8>,
    pub(crate) holes: Vec<(usize, Hole)>,
    pub(crate) units: Vec<(usize, bool)>,
    pub(crate) once: bool,
}

impl Pieces {
    /// Where the unit under way is written; end it with [`Pieces::end`].
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// A hole at this place.
    pub fn hole(&mut self, hole: Hole) {
        self.holes.push((self.bytes.len(), hole));
    }

    /// Ends a unit. `counted`: it counts for acknowledgements.
    pub fn end(&mut self, counted: bool) {
        self.units.push((self.bytes.len(), counted));
    }

    /// It names no room: a session that sees the same happening in several rooms gets it once (see
    /// [`crate::event::Live::same`]).
    pub fn once(&mut self) {
        self.once = true;
    }

    /// Where what comes next begins.
    pub(crate) fn place(&self) -> crate::outbox::Begin {
        crate::outbox::Begin { unit: self.units.len(), byte: self.bytes.len(), hole: self.holes.len() }
    }

    /// True: it is the same for all.
    pub(crate) fn is_alike(&self) -> bool {
        self.holes.is_empty()
    }

    /// True: nothing is shown.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.holes.is_empty()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.holes.clear();
        self.units.clear();
        self.once = false;
    }
}

/// Why a connection or session ends: for logs, and where there is no last word of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The peer closed, or asked to.
    Bye,
    /// The peer broke the protocol; what it did.
    Protocol(&'static str),
    /// A limit; which.
    Limit(&'static str),
    /// The time for something was over; for what.
    Timeout(&'static str),
    /// TLS failed; how.
    Tls(&'static str),
    /// Not allowed (any more); why.
    Forbidden(&'static str),
    /// Another session took over.
    Replaced,
    /// The server stops.
    Drain,
    /// The socket failed.
    Io,
}

impl Reason {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Reason::Bye => "closed",
            Reason::Protocol(s)
            | Reason::Limit(s)
            | Reason::Timeout(s)
            | Reason::Tls(s)
            | Reason::Forbidden(s) => s,
            Reason::Replaced => "replaced by a new connection",
            Reason::Drain => "server stopping",
            Reason::Io => "connection lost",
        }
    }
}
