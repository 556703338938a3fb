//! HTTP/1.1 for clients (RFC 9110, RFC 9112).
//!
//! The way in is [`reader`]: bytes become heads ([`request`]) and bodies ([`body`]), read one request at a time,
//! with limits ([`limits`]) at each step. What could be read differently by a program in front of this one is refused
//! and ends the connection. The way out is [`response`].
//!
//! [`session::Http`] is a connection: it reads requests, lets [`route`] find who serves the path, and writes the
//! responses in the order of the requests, whenever they come. [`cors`] lets web pages use all of it.
//!
//! # WebSockets
//!
//! [`upgrade`] answers a good [`handshake`] with 101, and the connection's session becomes one of IRC or XMPP, exactly
//! those that serve bare connections. Between it and the connection comes a byte layer, [`socket::Socket`], on top of TLS if
//! there is any: it reads and writes the frames of [`websocket`] and turns messages into the protocol's own stream
//! and back, as `irc::websocket` and `xmpp::websocket` say.
//!
//! # How to serve more paths
//!
//! Add a row to [`route::ROUTES`]: a path, or all below it, with the methods, the size of body, and a function
//! `fn(&mut Http, Request, Ticket, &mut Cx)`. It gets the whole [`session::Request`], a value that owns all it has and
//! can be sent elsewhere, and a [`session::Ticket`]: the place of the response in the connection's order. The response is
//! given with [`session::Http::respond`], now or at any time later:
//!
//! ```text
//! pub fn serve(http: &mut Http, request: Request, ticket: Ticket, cx: &mut Cx<'_>) {
//!     http.ask(query, ticket, cx, |http, ticket, reply, cx| http.respond(ticket, …, cx));
//! }
//! ```
//!
//! [`session::Http::ask`] and [`session::Http::job`] ask and keep the ticket; [`session::Http::when`] keeps it for a
//! [`ReqId`](lavina_core::ids::ReqId) that came from any other method of the context: a command, or a request forwarded to
//! the worker of an account. A protocol that answers errors in its own form takes all methods and all that is below its
//! path, so that 404 and 405 are its own too.
//!
//! A body that is too large for memory streams to where contents are kept, and a content streams from there: see
//! [`stream`].
//!
//! A request that waits for minutes costs its ticket only; no timer runs against it, and requests behind it are read
//! and served meanwhile, up to [`limits::IN_FLIGHT`]. When the connection closes, the session ends, and what is answered
//! later finds nobody. Who must be told of it (a long poll somewhere else) is told by what
//! [`session::Http::when_answered`] was given.

pub mod body;
pub mod content;
pub mod cors;
pub mod date;
pub mod files;
pub mod handshake;
pub mod headers;
#[cfg(feature = "xmpp")]
pub mod hostmeta;
pub mod limits;
pub mod page;
pub mod reader;
pub mod request;
pub mod response;
pub mod route;
pub mod session;
pub mod settings;
#[cfg(any(feature = "irc", feature = "xmpp"))]
pub mod socket;
pub mod status;
pub mod stream;
pub mod target;
#[cfg(any(feature = "irc", feature = "xmpp"))]
pub mod upgrade;
pub mod websocket;
