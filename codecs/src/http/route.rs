//! Who serves which path.

#[cfg(feature = "xmpp")]
use super::hostmeta;
use super::limits::NO_BODY;
use super::page;
use super::request::{Head, Method};
use super::session::{Http, Request, Ticket};
#[cfg(any(feature = "irc", feature = "xmpp"))]
use super::upgrade;
use crate::session::Cx;

/// Methods of what can only be read.
const READ: &[Method] = &[Method::Get, Method::Head];

/// All methods that there are, for those who answer errors in a form of their own.
#[cfg(feature = "matrix")]
const ALL: &[Method] = &[Method::Get, Method::Head, Method::Post, Method::Put, Method::Delete, Method::Patch];

/// A path, or all that lies below one, and who serves it.
pub struct Route {
    /// The path, as it is written in a request.
    pub path: &'static str,
    /// Whether what lies below belongs to it too.
    pub below: bool,
    /// The methods it knows; others are 405. OPTIONS is answered for all.
    pub methods: &'static [Method],
    /// How many bytes the body may have; 413 above.
    pub room: fn(&Head) -> u64,
    /// Serves it, now or later, see [`Http::respond`].
    pub serve: fn(&mut Http, Request, Ticket, &mut Cx<'_>),
}

/// All paths there are. The first that fits serves.
pub const ROUTES: &[Route] = &[
    Route { path: "/", below: false, methods: READ, room: no_body, serve: page::front },
    Route { path: "/health", below: false, methods: READ, room: no_body, serve: page::health },
    #[cfg(feature = "matrix")]
    Route { path: "/_matrix", below: true, methods: ALL, room: json, serve: crate::matrix::door::serve },
    #[cfg(feature = "matrix")]
    Route {
        path: "/.well-known/matrix",
        below: true,
        methods: ALL,
        room: json,
        serve: crate::matrix::door::serve,
    },
    #[cfg(feature = "irc")]
    Route { path: "/irc", below: false, methods: READ, room: no_body, serve: upgrade::irc },
    #[cfg(feature = "xmpp")]
    Route { path: "/xmpp-websocket", below: false, methods: READ, room: no_body, serve: upgrade::xmpp },
    #[cfg(feature = "xmpp")]
    Route {
        path: "/.well-known/host-meta",
        below: false,
        methods: READ,
        room: no_body,
        serve: hostmeta::xml,
    },
    #[cfg(feature = "xmpp")]
    Route {
        path: "/.well-known/host-meta.json",
        below: false,
        methods: READ,
        room: no_body,
        serve: hostmeta::json,
    },
];

/// What was found for a request.
pub enum Found {
    /// Who serves it.
    Route(&'static Route),
    /// The path is known, with these methods only.
    Otherwise(&'static [Method]),
    /// There is no such path.
    Nothing,
}

/// Looks for who serves a request.
#[must_use]
pub fn find(head: &Head) -> Found {
    match ROUTES.iter().find(|route| route.has(head.path())) {
        Some(route) if route.methods.contains(&head.method) => Found::Route(route),
        Some(route) => Found::Otherwise(route.methods),
        None => Found::Nothing,
    }
}

#[cfg(feature = "matrix")]
fn json(_: &Head) -> u64 {
    crate::matrix::request::BODY_MAX
}

fn no_body(_: &Head) -> u64 {
    NO_BODY
}

impl Route {
    fn has(&self, path: &str) -> bool {
        match path.strip_prefix(self.path) {
            Some("") => true,
            Some(rest) => self.below && rest.starts_with('/'),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_path_or_all_below_it() {
        let route = |below| Route { below, ..ROUTES[1] };
        let paths = ["/health", "/health/", "/health/x", "/healthy", "/Health", "/", "/x/health"];
        let fit = |route: &Route| paths.map(|path| route.has(path));
        assert_eq!(fit(&route(false)), [true, false, false, false, false, false, false]);
        assert_eq!(fit(&route(true)), [true, true, true, false, false, false, false]);
    }
}
