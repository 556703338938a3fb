//! Who serves which path.

use super::files;
#[cfg(feature = "xmpp")]
use super::hostmeta;
use super::limits::NO_BODY;
use super::page;
use super::request::{Head, Method};
use super::session::{Http, Request, Ticket};
use super::stream::Incoming;
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
    /// How many bytes the body may have; 413 above. Of a body that is streamed, who serves it says so.
    pub room: fn(&Head) -> u64,
    /// Serves it, now or later, see [`Http::respond`].
    pub serve: Serve,
}

/// Who serves a request.
#[derive(Clone, Copy)]
pub enum Serve {
    /// When it is whole.
    Whole(fn(&mut Http, Request, Ticket, &mut Cx<'_>)),
    /// When its head is there; the body is not read before it is wanted, see [`super::stream`].
    Head(fn(&mut Http, Incoming, &mut Cx<'_>)),
}

/// All paths there are. The first that fits serves.
pub const ROUTES: &[Route] = &[
    Route { path: "/", below: false, methods: READ, room: no_body, serve: Serve::Whole(page::front) },
    Route {
        path: files::PATH,
        below: true,
        methods: &[Method::Get, Method::Head, Method::Put],
        room: no_body,
        serve: Serve::Head(files::serve),
    },
    Route { path: "/health", below: false, methods: READ, room: no_body, serve: Serve::Whole(page::health) },
    #[cfg(feature = "irc")]
    Route { path: "/irc", below: false, methods: READ, room: no_body, serve: Serve::Whole(upgrade::irc) },
    #[cfg(feature = "xmpp")]
    Route {
        path: "/xmpp-websocket",
        below: false,
        methods: READ,
        room: no_body,
        serve: Serve::Whole(upgrade::xmpp),
    },
    #[cfg(feature = "xmpp")]
    Route {
        path: "/.well-known/host-meta",
        below: false,
        methods: READ,
        room: no_body,
        serve: Serve::Whole(hostmeta::xml),
    },
    #[cfg(feature = "xmpp")]
    Route {
        path: "/.well-known/host-meta.json",
        below: false,
        methods: READ,
        room: no_body,
        serve: Serve::Whole(hostmeta::json),
    },
    #[cfg(feature = "matrix")]
    media(crate::matrix::media::UPLOAD),
    #[cfg(feature = "matrix")]
    media(crate::matrix::media::UPLOAD_R0),
    #[cfg(feature = "matrix")]
    media(crate::matrix::media::DOWNLOAD),
    #[cfg(feature = "matrix")]
    media(crate::matrix::media::THUMBNAIL),
    #[cfg(feature = "matrix")]
    matrix("/_matrix"),
    #[cfg(feature = "matrix")]
    matrix("/.well-known/matrix"),
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

/// What is only JSON, below a path.
#[cfg(feature = "matrix")]
const fn matrix(path: &'static str) -> Route {
    let serve = Serve::Whole(crate::matrix::door::serve);
    Route { path, below: true, methods: ALL, room: json, serve }
}

/// What streams, below a path.
#[cfg(feature = "matrix")]
const fn media(path: &'static str) -> Route {
    let serve = Serve::Head(crate::matrix::media::serve);
    Route { path, below: true, methods: ALL, room: no_body, serve }
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
        let route = |below| Route { below, path: "/health", ..ROUTES[0] };
        let paths = ["/health", "/health/", "/health/x", "/healthy", "/Health", "/", "/x/health"];
        let fit = |route: &Route| paths.map(|path| route.has(path));
        assert_eq!(fit(&route(false)), [true, false, false, false, false, false, false]);
        assert_eq!(fit(&route(true)), [true, true, true, false, false, false, false]);
    }
}
