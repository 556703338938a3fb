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

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method.name(), self.path)
    }
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
    api::dehydrated::ROUTES,
    api::delayed::ROUTES,
    api::devices::ROUTES,
    api::directory::ROUTES,
    api::ephemeral::ROUTES,
    api::keys::ROUTES,
    api::login::ROUTES,
    api::media::ROUTES,
    api::members::ROUTES,
    api::messages::ROUTES,
    api::misc::ROUTES,
    api::openid::ROUTES,
    api::peek::ROUTES,
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
    /// The endpoint of that path and method.
    pub fn find(method: Method, path: &[Str]) -> Option<&'static Route> {
        rows().find(|r| {
            let same = r.method == method || (r.method == Method::Get && method == Method::Head);
            same && fits(r.path, path)
        })
    }

    /// The variable segments of a path that is this endpoint's, in order.
    fn args(&self, path: &[Str]) -> Vec<Str> {
        let both = self.path.trim_start_matches('/').split('/').zip(path);
        both.filter(|(wanted, _)| wanted.starts_with('{')).map(|(_, given)| given.clone()).collect()
    }

    /// All endpoints.
    pub fn all() -> impl Iterator<Item = &'static Route> {
        rows()
    }

    /// Who serves a request; its endpoint is noted in it.
    pub fn place(request: &mut Request, cx: &Cx<'_>) -> Place {
        let Some(route) = Route::find(request.method, &request.path) else {
            let known = rows().any(|r| fits(r.path, &request.path));
            return Place::Refused(match known {
                true => Error::wrong_method("this is there, but not with this method"),
                false => Error::unrecognized("there is nothing like this here"),
            });
        };
        (request.route, request.args) = (Some(route), route.args(&request.path));
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

/// Whether the path is one of this form. A trailing slash counts as an empty last segment, which only a variable one can
/// be. Compared from the end, where paths differ soonest.
fn fits(pattern: &str, path: &[Str]) -> bool {
    // Most endpoints end otherwise.
    if !pattern.ends_with('}') && !path.last().is_some_and(|last| pattern.ends_with(last.as_str())) {
        return false;
    }
    let mut given = path.iter().rev();
    let fit = |wanted: &str, given: &Str| {
        wanted.starts_with('{') || wanted == given.as_str() || (wanted == "v3" && *given == "r0")
    };
    let mut wanted = pattern.trim_start_matches('/').rsplit('/');
    wanted.all(|wanted| given.next().is_some_and(|given| fit(wanted, given))) && given.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_their_patterns() {
        let path = |s: &str| s.split('/').skip(1).map(Str::new).collect::<Vec<_>>();
        let pattern = "/_matrix/client/v3/rooms/{room}/state/{type}/{key}";
        let fit = |s: &str| fits(pattern, &path(s));
        assert!(fit("/_matrix/client/r0/rooms/!a/state/x/y"));
        assert!(!fit("/_matrix/client/v3/rooms/!a/state/x"));
        assert!(!fit("/_matrix/client/v3/rooms/!a/state/x/y/z"));
        assert!(!fit("/x/_matrix/client/v3/rooms/!a/state/x/y"));
        assert!(!fit("/_matrix/client/v1/rooms/!a/state/x/y"));
        let named = path("/_matrix/client/v3/rooms/!a/state/m.room.name/");
        let route = Route::find(Method::Get, &named).expect("it is there");
        assert_eq!(
            (route.path, route.args(&named)),
            (pattern, ["!a", "m.room.name", ""].map(Str::new).to_vec())
        );
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
