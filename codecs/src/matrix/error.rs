//! The standard error response (client-server API, "Standard error response"), and which one a refusal is.

use super::request::Response;
use crate::json::Json;
use crate::object;
use lavina_core::refusal::Refusal;

/// An error: status, code, and a sentence for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// HTTP status.
    pub status: u16,
    /// `errcode`. Empty: neither that nor `error` is said, for a question is no failure.
    pub code: &'static str,
    /// `error`: what went wrong, and what to do.
    pub text: String,
    /// More keys of the answer.
    pub more: Vec<(&'static str, Json)>,
}

/// Constructors: name, status, code.
macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident $status:literal $code:literal)*) => {
        impl Error {
            $($(#[$doc])* pub fn $name(text: impl Into<String>) -> Error {
                Error::new($status, $code, text)
            })*
        }
    };
}

errors! {
    /// Something that the user may not do.
    forbidden 403 "M_FORBIDDEN"
    /// A thing that is not there, or that the user may not know of.
    not_found 404 "M_NOT_FOUND"
    /// A body that is no JSON.
    not_json 400 "M_NOT_JSON"
    /// JSON of the wrong shape, or not canonical.
    bad_json 400 "M_BAD_JSON"
    /// A parameter with a value that makes no sense.
    invalid_param 400 "M_INVALID_PARAM"
    /// A parameter that must be there.
    missing_param 400 "M_MISSING_PARAM"
    /// Anything else that is wrong with a request.
    unknown 400 "M_UNKNOWN"
    /// Too much.
    too_large 413 "M_TOO_LARGE"
    /// Nothing like this is offered.
    unrecognized 404 "M_UNRECOGNIZED"
    /// An endpoint that is there, but not with this method.
    wrong_method 405 "M_UNRECOGNIZED"
    /// The server cannot answer just now.
    unavailable 503 "M_UNKNOWN"
    /// The name is somebody's.
    user_in_use 400 "M_USER_IN_USE"
    /// No account can be called so.
    invalid_username 400 "M_INVALID_USERNAME"
    /// The alias names another room.
    room_in_use 400 "M_ROOM_IN_USE"
    /// Encryption, or another promise, that cannot be taken back.
    exclusive 400 "M_EXCLUSIVE"
}

impl Error {
    /// An error.
    pub fn new(status: u16, code: &'static str, text: impl Into<String>) -> Error {
        Error { status, code, text: text.into(), more: Vec::new() }
    }

    /// With one more key.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Json>) -> Error {
        self.more.push((key, value.into()));
        self
    }

    /// There is no token.
    pub fn missing_token() -> Error {
        Error::new(401, "M_MISSING_TOKEN", "an access token is needed: log in first")
    }

    /// The token is not, or no longer, good. `soft`: the device is still there, a refresh token brings it back.
    pub fn unknown_token(soft: bool) -> Error {
        let error = Error::new(401, "M_UNKNOWN_TOKEN", "the access token is not, or no longer, valid");
        if soft { error.with("soft_logout", true) } else { error }
    }

    /// Too often: it will do after so many milliseconds.
    pub fn limit_exceeded(after: u64) -> Error {
        let text = "this was asked for too often; try again later";
        Error::new(429, "M_LIMIT_EXCEEDED", text).with("retry_after_ms", after)
    }

    /// As a response. When to try again is said in a header too (client-server API, "Rate limiting").
    pub fn response(self) -> Response {
        let after = self.more.iter().find(|(key, _)| *key == "retry_after_ms");
        let after = after.and_then(|(_, ms)| ms.as_int()).and_then(|ms| u64::try_from(ms).ok());
        let mut body = match self.code {
            "" => Json::object(),
            code => object! { "errcode" => code, "error" => self.text },
        };
        for (key, value) in self.more {
            body.set(key, value);
        }
        let response = Response::json(self.status, &body);
        match after {
            Some(ms) => response.header("Retry-After", ms.div_ceil(1_000).to_string()),
            None => response,
        }
    }
}

impl From<Refusal> for Error {
    /// The word for a refusal of the core, where a handler has no better one.
    fn from(why: Refusal) -> Error {
        match why {
            Refusal::NoSuchRoom => Error::not_found("there is no such room"),
            Refusal::NoSuchUser => Error::not_found("there is no such user"),
            Refusal::NoSuchItem => Error::not_found("there is no such thing"),
            Refusal::NotMember => Error::forbidden("you are not in the room"),
            Refusal::TargetNotMember => Error::forbidden("the user is not in the room"),
            Refusal::AlreadyMember => Error::forbidden("the user is in the room already"),
            Refusal::Banned => Error::forbidden("banned from the room"),
            Refusal::InviteOnly => Error::forbidden("only invited people may come in"),
            Refusal::WrongPassword => {
                Error::forbidden("the room wants a password, which only IRC and XMPP know")
            }
            Refusal::RoomFull => Error::forbidden("the room is full"),
            Refusal::Muted => Error::forbidden("you may not speak in this room"),
            Refusal::Power(level) => Error::forbidden(format!("that needs a power level of {level}")),
            Refusal::Outranked => Error::forbidden("the user has as much power as you, or more"),
            Refusal::LastOwner => Error::forbidden("the last owner of a room stays"),
            Refusal::Forbidden => Error::forbidden("this is not allowed"),
            Refusal::Blocked => Error::forbidden("the user does not want to hear from you"),
            Refusal::Unreachable => Error::not_found("nobody is there to take it"),
            Refusal::BadName(_) => Error::invalid_param("the name cannot be used"),
            Refusal::NameTaken => Error::new(409, "M_UNKNOWN", "the name is taken"),
            Refusal::BadInvite => Error::new(401, "M_UNAUTHORIZED", "the token is not, or no longer, valid"),
            Refusal::BadCredential => Error::forbidden("wrong name or password"),
            Refusal::Stale => Error::new(409, "M_UNKNOWN", "somebody else changed it meanwhile; try again"),
            Refusal::TooLong => Error::too_large("too long"),
            Refusal::TooMany => Error::new(400, "M_RESOURCE_LIMIT_EXCEEDED", "too many of them"),
            Refusal::Invalid(what) => Error::invalid_param(what),
            Refusal::Busy => Error::new(429, "M_LIMIT_EXCEEDED", "too much is under way; try again soon")
                .with("retry_after_ms", 1_000),
            Refusal::StoreDown => Error::unavailable("the store does not answer; try again soon"),
            Refusal::StoreFull => Error::new(507, "M_RESOURCE_LIMIT_EXCEEDED", "the server's disk is full"),
            Refusal::Unsupported(what) => Error::unrecognized(what),
        }
    }
}
