//! `/.well-known/host-meta` and `host-meta.json`: where XMPP clients in browsers connect (XEP-0156 §4, RFC 6415).

use super::page::{escape, websocket};
use super::response::Response;
use super::session::{Http, Request, Ticket};
use super::status::Status;
use crate::session::Cx;
use crate::settings::Settings;

/// The relation of an address at which XMPP is spoken over WebSocket.
const REL: &str = "urn:xmpp:alt-connections:websocket";

/// `/.well-known/host-meta`.
pub fn xml(http: &mut Http, request: Request, ticket: Ticket, cx: &mut Cx<'_>) {
    let mut href = String::new();
    escape(&address(&request, cx.settings()), &mut href);
    let body = format!(
        "<?xml version='1.0' encoding='utf-8'?>\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\n  \
         <Link rel='{REL}' href='{href}'/>\n</XRD>\n"
    );
    http.respond(ticket, Response::with_body(Status::OK, "application/xrd+xml", body), cx);
}

/// `/.well-known/host-meta.json`.
pub fn json(http: &mut Http, request: Request, ticket: Ticket, cx: &mut Cx<'_>) {
    // An address has no character that JSON escapes.
    let href = address(&request, cx.settings());
    let body = format!("{{\"links\":[{{\"rel\":\"{REL}\",\"href\":\"{href}\"}}]}}\n");
    http.respond(ticket, Response::with_body(Status::OK, "application/json", body), cx);
}

/// Where XMPP is spoken over WebSocket, as the client can reach it.
fn address(request: &Request, settings: &Settings) -> String {
    format!("{}/xmpp-websocket", websocket(&request.base(settings)))
}
