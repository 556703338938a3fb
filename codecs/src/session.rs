//! The one projection of the server: whichever protocol a connection speaks.
//!
//! A protocol adds a variant here, an arm in [`each`], one in [`Session::accept`] and one in [`Session::encode`]; its
//! session has the same methods as [`Projection`], with this type as the context's parameter.

use crate::control::Control;
use crate::job::{Done, Job};
use crate::layer::Layer;
use crate::settings::{Listener, Protocol, Security, Settings};
use lavina_core::blob::Blob;
use lavina_core::event::{Event, Live};
use lavina_core::ids::ReqId;
#[cfg(feature = "matrix")]
use lavina_core::ids::{AccountId, Label, Origin};
use lavina_core::name::RoomName;
#[cfg(feature = "http")]
use lavina_core::projection::Parcel;
use lavina_core::projection::{Hole, Mode, Pieces, Projection, Reason, Seen, Shown, Wake, WireClass};
use lavina_core::query::Reply;
use std::net::SocketAddr;
use std::sync::Arc;

/// The context of a call, as all protocols of this crate see it.
pub type Cx<'a> = lavina_core::Cx<'a, Session>;

/// The bits of a wire class that a protocol may use; those above tell the protocols apart.
pub const CLASS_BITS: u32 = 28;

/// The upper bits of IRC's wire classes.
#[cfg(feature = "irc")]
pub const IRC_CLASS: u32 = 1;

/// The upper bits of XMPP's wire classes.
#[cfg(feature = "xmpp")]
pub const XMPP_CLASS: u32 = 2;

/// The number of IRC's native payloads.
#[cfg(feature = "irc")]
pub const IRC_NATIVE: u8 = 1;

/// The number of XMPP's native payloads.
#[cfg(feature = "xmpp")]
pub const XMPP_NATIVE: u8 = 2;

/// The number of Matrix's native payloads.
#[cfg(feature = "matrix")]
pub const MATRIX_NATIVE: u8 = 3;

/// A session of any protocol.
pub enum Session {
    /// The control socket.
    Control(Control),
    /// IRC.
    #[cfg(feature = "irc")]
    Irc(Box<crate::irc::session::Irc>),
    /// XMPP.
    #[cfg(feature = "xmpp")]
    Xmpp(Box<crate::xmpp::session::Xmpp>),
    /// HTTP.
    #[cfg(feature = "http")]
    Http(Box<crate::http::session::Http>),
    /// An agent that serves Matrix requests.
    #[cfg(feature = "matrix")]
    Matrix(Box<crate::matrix::agent::Agent>),
    /// A listener without a protocol behind it: whatever is said closes the connection.
    Mute,
}

/// Calls the same method of whichever session it is.
macro_rules! each {
    ($on:expr, $session:ident => $call:expr, $mute:expr) => {
        match $on {
            Session::Control($session) => $call,
            #[cfg(feature = "irc")]
            Session::Irc($session) => $call,
            #[cfg(feature = "xmpp")]
            Session::Xmpp($session) => $call,
            #[cfg(feature = "http")]
            Session::Http($session) => $call,
            #[cfg(feature = "matrix")]
            Session::Matrix($session) => $call,
            Session::Mute => $mute,
        }
    };
}

impl Projection for Session {
    type Listener = Listener;
    type Layer = Layer;
    type Settings = Settings;
    type Job = Job;
    type Done = Done;

    fn accept(on: Listener, _peer: Option<SocketAddr>, settings: &Arc<Settings>) -> (Self, Option<Layer>) {
        let layer = (on.security == Security::Direct).then(|| layer(on.protocol, settings)).flatten();
        let session = match on.protocol {
            Protocol::Control => Self::Control(Control::accept()),
            #[cfg(feature = "irc")]
            Protocol::Irc => Self::Irc(Box::new(crate::irc::session::Irc::accept(on))),
            #[cfg(feature = "xmpp")]
            Protocol::Xmpp => Self::Xmpp(Box::new(crate::xmpp::session::Xmpp::accept(on, settings))),
            #[cfg(feature = "http")]
            Protocol::Http => Self::Http(Box::new(crate::http::session::Http::accept(on))),
        };
        // Where TLS should be and cannot (its certificate went missing), nothing may be said in the clear.
        if on.security == Security::Direct && layer.is_none() { (Self::Mute, None) } else { (session, layer) }
    }

    fn opened(&mut self, cx: &mut Cx<'_>) {
        each!(self, session => session.opened(cx), cx.close(Reason::Tls("no certificate")));
    }

    fn recv(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> Result<usize, Reason> {
        let taken = each!(self, session => session.recv(bytes, cx), Err(Reason::Tls("no certificate")));
        #[cfg(all(feature = "http", any(feature = "irc", feature = "xmpp")))]
        if let Session::Http(http) = self
            && let Some(spoken) = http.switched()
        {
            self.switch(spoken, cx);
        }
        taken
    }

    fn seen(&mut self, event: &Arc<Event>, how: Seen, cx: &mut Cx<'_>) {
        each!(self, session => session.seen(event, how, cx), ());
    }

    fn seen_live(&mut self, live: &Arc<Live>, own: Option<ReqId>, cx: &mut Cx<'_>) {
        each!(self, session => session.seen_live(live, own, cx), ());
    }

    fn reply(&mut self, req: ReqId, reply: Reply, cx: &mut Cx<'_>) {
        each!(self, session => session.reply(req, reply, cx), ());
    }

    fn done(&mut self, req: ReqId, done: Done, cx: &mut Cx<'_>) {
        each!(self, session => session.done(req, done, cx), ());
    }

    fn blob(&mut self, transfer: ReqId, what: Blob, cx: &mut Cx<'_>) {
        match self {
            #[cfg(feature = "http")]
            Session::Http(session) => session.blob(transfer, what, cx),
            // The others move no media.
            _ => {
                let _ = (transfer, what, cx);
            }
        }
    }

    fn wake(&mut self, why: Wake, cx: &mut Cx<'_>) {
        each!(self, session => session.wake(why, cx), ());
    }

    #[cfg(feature = "matrix")]
    fn agent(account: AccountId, label: &Label, settings: &Arc<Settings>) -> Option<Self> {
        Session::matrix_agent(account, label, settings)
    }

    #[cfg(feature = "matrix")]
    fn serve(&mut self, from: Origin, parcel: Parcel, cx: &mut Cx<'_>) {
        if let Session::Matrix(agent) = self {
            agent.serve(from, parcel, cx);
        }
    }

    #[cfg(feature = "http")]
    fn responded(&mut self, req: ReqId, parcel: Option<Parcel>, cx: &mut Cx<'_>) {
        if let Session::Http(http) = self {
            http.responded(req, parcel, cx);
        }
    }

    fn is_midway(&self) -> bool {
        match self {
            #[cfg(feature = "http")]
            Session::Http(http) => http.is_midway(),
            _ => false,
        }
    }

    fn mode(&self) -> Mode {
        each!(self, session => session.mode(), Mode::Quiet)
    }

    fn encode(
        class: WireClass,
        name: Option<&RoomName>,
        shown: Shown<'_>,
        settings: &Settings,
        out: &mut Pieces,
    ) {
        match class.0 >> CLASS_BITS {
            #[cfg(feature = "irc")]
            IRC_CLASS => crate::irc::session::Irc::encode(class, name, shown, settings, out),
            #[cfg(feature = "xmpp")]
            XMPP_CLASS => crate::xmpp::session::Xmpp::encode(class, name, shown, settings, out),
            // The control socket has no class: its sessions see no rooms.
            _ => {
                let _ = (name, shown, settings, out);
            }
        }
    }

    fn hole(&self, hole: Hole) -> &[u8] {
        each!(self, session => session.hole(hole), &[])
    }

    fn run(job: Job) -> Done {
        job.run()
    }
}

#[cfg(all(feature = "http", any(feature = "irc", feature = "xmpp")))]
impl Session {
    /// A connection that spoke HTTP goes on with another protocol, in a WebSocket.
    fn switch(&mut self, spoken: crate::http::websocket::Spoken, cx: &mut Cx<'_>) {
        use crate::http::{socket::Socket, websocket::Spoken};
        let limits = cx.core_settings().limits;
        let security = if cx.is_secure() { Security::Direct } else { Security::Off };
        let on = |protocol| Listener { protocol, security };
        cx.wrap(move |below| Layer::Web(Box::new(Socket::new(spoken, below, &limits))));
        cx.login_deadline(true);
        cx.allow_output(limits.outbox);
        *self = match spoken {
            #[cfg(feature = "irc")]
            Spoken::Irc { .. } => Self::Irc(Box::new(crate::irc::session::Irc::accept(on(Protocol::Irc)))),
            #[cfg(feature = "xmpp")]
            Spoken::Xmpp => {
                let session = crate::xmpp::session::Xmpp::accept(on(Protocol::Xmpp), cx.settings());
                Self::Xmpp(Box::new(session))
            }
        };
        // Neither says anything first: that would go out below the new layer.
        self.opened(cx);
    }
}

/// A new TLS layer for a protocol; `None` where there is no certificate.
#[cfg(all(feature = "tls", any(feature = "irc", feature = "xmpp", feature = "http")))]
pub fn layer(protocol: Protocol, settings: &Settings) -> Option<Layer> {
    let config = match protocol {
        #[cfg(feature = "irc")]
        Protocol::Irc => settings.irc_tls.clone(),
        #[cfg(feature = "xmpp")]
        Protocol::Xmpp => settings.xmpp_tls.clone(),
        #[cfg(feature = "http")]
        Protocol::Http => settings.http_tls.clone(),
        Protocol::Control => None,
    };
    Layer::tls(config?).ok()
}

/// A new TLS layer for a protocol: none, for TLS, or whatever would use it, is not built in.
#[cfg(not(all(feature = "tls", any(feature = "irc", feature = "xmpp", feature = "http"))))]
pub fn layer(_: Protocol, _: &Settings) -> Option<Layer> {
    None
}
