//! Requests and responses of the client-server API, as values that are handed from the connection to whoever serves
//! them.

use super::error::Error;
use super::route::Route;
use crate::http::request::Method;
use crate::http::response::Response as HttpResponse;
use crate::http::status::Status;
use crate::json::Json;
use lavina_core::text::Str;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

/// Longest body of a request but media, in bytes; above: 413.
pub const BODY_MAX: u64 = 1024 * 1024;

/// A request. Small, as those who serve it keep it while they wait.
#[derive(Clone, Debug)]
pub struct Request(Box<Parts>);

/// What a request consists of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// What is to be done.
    pub method: Method,
    /// The path's segments, decoded.
    pub path: Vec<Str>,
    /// The query's parameters, decoded, in their order; names may come several times.
    pub query: Vec<(Str, Str)>,
    /// The access token, from the header or the query.
    pub token: Option<Str>,
    /// The media type of the body, lower case.
    pub content_type: Option<Str>,
    /// The body.
    pub body: Vec<u8>,
    /// The other end.
    pub peer: Option<SocketAddr>,
    /// How the client reached us: scheme and authority.
    pub base: Option<Str>,
    /// The endpoint. Filled in by the router.
    pub route: Option<&'static Route>,
    /// What the variable segments of its path are, in order. Filled in by the router.
    pub args: Vec<Str>,
}

impl From<Parts> for Request {
    fn from(parts: Parts) -> Request {
        Request(Box::new(parts))
    }
}

impl Deref for Request {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Request {
    /// The variable segment number `n` of the route; empty if the route has no such one.
    pub fn arg(&self, n: usize) -> &str {
        self.args.get(n).map_or("", Str::as_str)
    }

    /// The first parameter of that name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// All parameters of that name.
    pub fn params<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.query.iter().filter(move |(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// A number among the parameters.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` where it is no number.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let wrong = || Error::invalid_param(format!("{name} must be a number that is not negative"));
        self.param(name).map(|v| v.parse().map_err(|_| wrong())).transpose()
    }

    /// The body as a JSON object; an empty body is an empty object.
    ///
    /// # Errors
    /// 400 `M_NOT_JSON`, or `M_BAD_JSON` where it is something else than an object.
    pub fn json(&self) -> Result<Json, Error> {
        if self.body.is_empty() {
            return Ok(Json::object());
        }
        let body = Json::parse(&self.body).map_err(|why| Error::not_json(why.to_string()))?;
        if body.as_object().is_some() { Ok(body) } else { Err(Error::bad_json("the body must be an object")) }
    }
}

/// A response.
pub type Response = HttpResponse;

impl HttpResponse {
    /// JSON.
    pub fn json(status: u16, body: &Json) -> HttpResponse {
        HttpResponse::with_body(Status(status), "application/json", body.to_bytes())
    }

    /// 200 with JSON.
    pub fn ok(body: &Json) -> HttpResponse {
        HttpResponse::json(200, body)
    }

    /// 200 with an empty object.
    pub fn done() -> HttpResponse {
        HttpResponse::ok(&Json::object())
    }
}

/// Whoever handed over a request is gone: nobody waits for the answer any more.
#[derive(Clone, Copy, Debug)]
pub struct Cancelled(pub lavina_core::ids::Origin);
