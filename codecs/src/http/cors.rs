//! Cross-origin requests (the Fetch standard §3.2), in one place: pages from anywhere may use everything here, because
//! nothing here trusts cookies or where a request comes from.

use super::request::{Head, Method};
use super::response::Response;
use super::route::{Found, ROUTES, find};
use super::status::Status;

/// What pages may send besides what they always may.
const FIELDS: &str = "Authorization, Content-Type, X-Requested-With, Accept, Origin, Range";
/// Seconds for which a browser need not ask again.
const MAX_AGE: &str = "86400";

/// The response, readable for pages from anywhere.
#[must_use]
pub fn allow(mut response: Response) -> Response {
    if !response.headers.iter().any(|(name, _)| *name == "Access-Control-Allow-Origin") {
        response = response.header("Access-Control-Allow-Origin", "*");
    }
    response
}

/// The answer to OPTIONS: what may be done, for browsers that ask first and for anybody else (RFC 9110 §9.3.7).
#[must_use]
pub fn preflight(head: &Head) -> Response {
    let methods = match find(head) {
        Found::Route(route) => Some(names(route.methods)),
        Found::Otherwise(methods) => Some(names(methods)),
        // Of the server as a whole: what any path has.
        Found::Nothing if head.path() == "*" => {
            Some(names(&ROUTES.iter().flat_map(|route| route.methods).copied().collect::<Vec<_>>()))
        }
        Found::Nothing => None,
    };
    let Some(methods) = methods else { return Response::text(Status::NOT_FOUND, "there is nothing here") };
    allow(Response::new(Status::NO_CONTENT))
        .header("Allow", methods.clone())
        .header("Access-Control-Allow-Methods", methods)
        .header("Access-Control-Allow-Headers", FIELDS)
        .header("Access-Control-Max-Age", MAX_AGE)
}

/// 405, with what would be allowed (RFC 9110 §15.5.6).
#[must_use]
pub fn method_not_allowed(methods: &[Method]) -> Response {
    Response::text(Status::METHOD_NOT_ALLOWED, "that cannot be done here").header("Allow", names(methods))
}

/// A list of methods, each once, and OPTIONS.
fn names(methods: &[Method]) -> String {
    let mut names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
    names.push(Method::Options.name());
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}
