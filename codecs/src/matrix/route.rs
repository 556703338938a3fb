//! The table of endpoints. Each part of the API has its own rows beside its handlers; here they are brought together.

use super::error::Error;
use super::request::Request;
use super::task::{Ctx, Flow};
use super::token::Token;
use super::{agent, api};
use crate::http::request::Method;
use crate::session::Cx;
use lavina_core::ids::{AccountId, Label};
use lavina_core::text::Str;

/// An endpoint.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path: segments divided by `/`, of which those in braces stand for any one segment. `v3` stands for `r0` too,
    /// as clients of before 2022 say.
    pub path: &'static str,
    /// Whether a token is needed.
    pub auth: Auth,
    /// The handler.
    pub serve: fn(Ctx, Request) -> Flow,
}

/// Whether an endpoint needs an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No; one that is given is not looked at.
    No,
    /// Where one is given, it counts.
    May,
    /// Yes.
    Must,
}

/// A row of the table.
#[macro_export]
macro_rules! route {
    ($method:ident $path:literal $auth:ident $handler:path) => {
        $crate::matrix::route::Route {
            method: $crate::http::request::Method::$method,
            path: $path,
            auth: $crate::matrix::route::Auth::$auth,
            serve: |ctx, request| Box::pin($handler(ctx, request)),
        }
    };
}

pub(super) use crate::route;

/// The parts of the API.
const TABLES: &[&[Route]] = &[
    api::backup::ROUTES,
    api::basic::ROUTES,
    api::create::ROUTES,
    api::cross::ROUTES,
    api::data::ROUTES,
    api::devices::ROUTES,
    api::directory::ROUTES,
    api::ephemeral::ROUTES,
    api::keys::ROUTES,
    api::login::ROUTES,
    api::media::ROUTES,
    api::members::ROUTES,
    api::messages::ROUTES,
    api::misc::ROUTES,
    api::people::ROUTES,
    api::profile::ROUTES,
    api::pushers::ROUTES,
    api::pushrules::ROUTES,
    api::register::ROUTES,
    api::relations::ROUTES,
    api::search::ROUTES,
    api::send::ROUTES,
    api::spaces::ROUTES,
    api::state::ROUTES,
    api::sync::ROUTES,
    api::todevice::ROUTES,
    api::upgrade::ROUTES,
];

/// Who serves a request.
pub enum Place {
    /// The agent of that account and label.
    Agent(AccountId, Label),
    /// Nobody: this is the answer.
    Refused(Error),
}

impl Route {
    /// The endpoint of a request, and what its variable segments are.
    pub fn find(request: &Request) -> Option<(&'static Route, Vec<Str>)> {
        rows().find_map(|r| Some((r, fits(r, request.method, &request.path)?)))
    }

    /// All endpoints.
    pub fn all() -> impl Iterator<Item = &'static Route> {
        rows()
    }

    /// Who serves a request.
    pub fn place(request: &Request, cx: &Cx<'_>) -> Place {
        let Some((route, _)) = Route::find(request) else {
            let known = rows().any(|r| path_fits(r.path, &request.path).is_some());
            return Place::Refused(match known {
                true => Error::wrong_method("this is there, but not with this method"),
                false => Error::unrecognized("there is nothing like this here"),
            });
        };
        let token = request.token.as_ref().map(|t| Token::parse(t));
        let front = || {
            let (account, label) = agent::front(cx);
            Place::Agent(account, label)
        };
        match (route.auth, token) {
            (Auth::No, _) | (Auth::May, None) => front(),
            (Auth::Must, None) => Place::Refused(Error::missing_token()),
            (_, Some(None)) => Place::Refused(Error::unknown_token(false)),
            (_, Some(Some(token))) => Place::Agent(token.account, agent::label(&token.device)),
        }
    }
}

fn rows() -> impl Iterator<Item = &'static Route> {
    TABLES.iter().flat_map(|table| table.iter())
}

fn fits(route: &Route, method: Method, path: &[Str]) -> Option<Vec<Str>> {
    let same = route.method == method || (route.method == Method::Get && method == Method::Head);
    if same { path_fits(route.path, path) } else { None }
}

/// The variable segments, if the path is one of this form. A trailing slash counts as an empty last segment, which
/// only a variable one can be.
fn path_fits(pattern: &str, path: &[Str]) -> Option<Vec<Str>> {
    let mut args = Vec::new();
    let mut given = path.iter();
    for wanted in pattern.trim_start_matches('/').split('/') {
        let given = given.next()?;
        if wanted.starts_with('{') {
            args.push(given.clone());
        } else if wanted != given.as_str() && !(wanted == "v3" && *given == "r0") {
            return None;
        }
    }
    given.next().is_none().then_some(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_their_patterns() {
        let path = |s: &str| s.split('/').skip(1).map(Str::new).collect::<Vec<_>>();
        let pattern = "/_matrix/client/v3/rooms/{room}/state/{type}/{key}";
        let fit = |s: &str| path_fits(pattern, &path(s));
        let args = fit("/_matrix/client/v3/rooms/!a/state/m.room.name/").expect("fits");
        assert_eq!(args, ["!a", "m.room.name", ""]);
        assert!(fit("/_matrix/client/r0/rooms/!a/state/x/y").is_some());
        assert!(fit("/_matrix/client/v3/rooms/!a/state/x").is_none());
        assert!(fit("/_matrix/client/v3/rooms/!a/state/x/y/z").is_none());
        assert!(fit("/_matrix/client/v1/rooms/!a/state/x/y").is_none());
    }

    #[test]
    fn no_endpoint_is_there_twice() {
        let mut all: Vec<_> = rows().map(|r| (r.method.name(), r.path)).collect();
        all.sort_unstable();
        for pair in all.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
    }
}
