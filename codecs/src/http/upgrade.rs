//! Connections that stop speaking HTTP: WebSockets for IRC and XMPP.
//!
//! IRC is at `/irc`, XMPP at `/xmpp-websocket` (the usual place), and at `/` the subprotocol decides, for clients that
//! are told a host and no path.

use super::handshake::{accept, is_wanted, offered};
use super::response::Response;
use super::session::{Http, Request, Ticket};
use super::status::Status;
use super::websocket::Spoken;
use crate::session::Cx;

/// `/irc`.
#[cfg(feature = "irc")]
pub fn irc(http: &mut Http, request: Request, ticket: Ticket, cx: &mut Cx<'_>) {
    let agreed = as_irc(&request);
    open(
        http,
        &request,
        ticket,
        Spoken::Irc { binary: agreed.is_some_and(|(_, binary)| binary) },
        agreed.map(|a| a.0),
        cx,
    );
}

/// `/xmpp-websocket`.
#[cfg(feature = "xmpp")]
pub fn xmpp(http: &mut Http, request: Request, ticket: Ticket, cx: &mut Cx<'_>) {
    let agreed = as_xmpp(&request);
    if is_wanted(&request.head) && agreed.is_none() {
        // A client must offer it (RFC 7395 §3.1).
        let why = "offer the subprotocol xmpp in Sec-WebSocket-Protocol";
        return http.respond(ticket, Response::text(Status::BAD_REQUEST, why), cx);
    }
    open(http, &request, ticket, Spoken::Xmpp, agreed, cx);
}

/// `/`, when a WebSocket is wanted there.
pub fn by_subprotocol(http: &mut Http, request: Request, ticket: Ticket, cx: &mut Cx<'_>) {
    #[cfg(feature = "xmpp")]
    if as_xmpp(&request).is_some() || cfg!(not(feature = "irc")) {
        return xmpp(http, request, ticket, cx);
    }
    #[cfg(feature = "irc")]
    irc(http, request, ticket, cx);
}

#[cfg(feature = "irc")]
fn as_irc(request: &Request) -> Option<(&'static str, bool)> {
    let known = crate::irc::websocket::SUBPROTOCOLS;
    offered(&request.head).find_map(|name| known.into_iter().find(|(known, _)| *known == name))
}

#[cfg(feature = "xmpp")]
fn as_xmpp(request: &Request) -> Option<&'static str> {
    let name = crate::xmpp::websocket::SUBPROTOCOL;
    offered(&request.head).any(|offered| offered == name).then_some(name)
}

/// Opens a WebSocket.
fn open(
    http: &mut Http,
    request: &Request,
    ticket: Ticket,
    spoken: Spoken,
    agreed: Option<&'static str>,
    cx: &mut Cx<'_>,
) {
    if !is_wanted(&request.head) {
        let response = Response::text(Status::UPGRADE_REQUIRED, "this is for WebSockets only");
        return http.respond(
            ticket,
            response.header("Upgrade", "websocket").header("Connection", "Upgrade"),
            cx,
        );
    }
    match accept(&request.head, agreed) {
        Ok(response) => http.switch(ticket, response, spoken, cx),
        Err(response) => http.respond(ticket, response, cx),
    }
}
