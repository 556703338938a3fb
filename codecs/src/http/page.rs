//! Pages of our own: what this is, for people who come with a browser, and whether it is well, for programs that watch.

use super::response::Response;
use super::session::{Http, Request, Ticket};
use super::status::Status;
use crate::session::Cx;
use crate::settings::Settings;
use lavina_core::name::{NameKey, UserName};
use lavina_core::query::Query;
use lavina_core::refusal::Refusal;

/// `/`: what this is and how to come in.
pub fn front(http: &mut Http, request: Request, ticket: Ticket, cx: &mut Cx<'_>) {
    #[cfg(any(feature = "irc", feature = "xmpp"))]
    if super::handshake::is_wanted(&request.head) {
        return super::upgrade::by_subprotocol(http, request, ticket, cx);
    }
    let response = response(&request, cx.settings());
    http.respond(ticket, response, cx);
}

fn response(request: &Request, settings: &Settings) -> Response {
    let domain = settings.core.domain.as_str();
    let ways = ways(request, settings);
    if request.head.accepts("text/html") {
        let mut list = String::new();
        for way in &ways {
            list.push_str("<li>");
            escape(way, &mut list);
            list.push_str("</li>\n");
        }
        let mut name = String::new();
        escape(domain, &mut name);
        let body = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{name}</title>\n\
             <h1>{name}</h1>\n<p>This is a chat server. Connect to it with a chat program:</p>\n<ul>\n{list}</ul>\n</html>\n"
        );
        return Response::with_body(Status::OK, "text/html; charset=utf-8", body)
            .header("Content-Security-Policy", "default-src 'none'")
            .header("X-Content-Type-Options", "nosniff")
            .header("Vary", "Accept");
    }
    let list: String = ways.iter().map(|way| format!("- {way}\n")).collect();
    let body = format!("{domain}\n\nThis is a chat server. Connect to it with a chat program:\n\n{list}");
    Response::with_body(Status::OK, "text/plain; charset=utf-8", body).header("Vary", "Accept")
}

/// How to connect: by the other listeners, and over this one.
fn ways(request: &Request, settings: &Settings) -> Vec<String> {
    let base = request.base(settings);
    let mut ways = settings.http.ways.clone();
    if cfg!(feature = "matrix") {
        ways.push(format!("Matrix: homeserver {base}"));
    }
    if cfg!(feature = "irc") {
        ways.push(format!("IRC in a browser: WebSocket {}/irc", websocket(&base)));
    }
    if cfg!(feature = "xmpp") {
        ways.push(format!("XMPP in a browser: WebSocket {}/xmpp-websocket", websocket(&base)));
    }
    ways
}

/// The address of a WebSocket that stands for one of HTTP.
pub(super) fn websocket(base: &str) -> String {
    format!("ws{}", base.strip_prefix("http").unwrap_or(base))
}

/// `/health`: 200 when a question reaches the store and comes back, 503 otherwise.
pub fn health(http: &mut Http, _: Request, ticket: Ticket, cx: &mut Cx<'_>) {
    let Ok(name) = UserName::new("health") else {
        return http.respond(ticket, Response::new(Status::NO_CONTENT), cx);
    };
    http.ask(Query::Resolve(NameKey::User(name)), ticket, cx, |http, ticket, reply, cx| {
        let response = match reply {
            // That there is nobody of the name is an answer too.
            Ok(_) | Err(Refusal::NoSuchUser) => {
                Response::with_body(Status::OK, "text/plain; charset=utf-8", "ok\n")
            }
            Err(_) => Response::text(Status::SERVICE_UNAVAILABLE, "the store does not answer"),
        };
        http.respond(ticket, response.header("Cache-Control", "no-store"), cx);
    });
}

/// Appends text for HTML and XML, in content or between quotes.
pub(super) fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}
