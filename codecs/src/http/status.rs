//! Status codes (RFC 9110 §15), and the reasons why a request cannot be read.

/// A status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Status(pub u16);

/// The codes used here: name, number, phrase.
macro_rules! statuses {
    ($($name:ident $code:literal $phrase:literal)*) => {
        impl Status {
            $(#[doc = $phrase] pub const $name: Status = Status($code);)*

            /// The phrase beside the number; empty for one that is not known here (the phrase means nothing to
            /// programs, RFC 9112 §4).
            #[must_use]
            pub fn phrase(self) -> &'static str {
                match self.0 {
                    $($code => $phrase,)*
                    _ => "",
                }
            }
        }
    };
}

statuses! {
    CONTINUE 100 "Continue"
    SWITCHING_PROTOCOLS 101 "Switching Protocols"
    OK 200 "OK"
    CREATED 201 "Created"
    ACCEPTED 202 "Accepted"
    NO_CONTENT 204 "No Content"
    PARTIAL_CONTENT 206 "Partial Content"
    MOVED_PERMANENTLY 301 "Moved Permanently"
    FOUND 302 "Found"
    SEE_OTHER 303 "See Other"
    NOT_MODIFIED 304 "Not Modified"
    TEMPORARY_REDIRECT 307 "Temporary Redirect"
    PERMANENT_REDIRECT 308 "Permanent Redirect"
    BAD_REQUEST 400 "Bad Request"
    UNAUTHORIZED 401 "Unauthorized"
    FORBIDDEN 403 "Forbidden"
    NOT_FOUND 404 "Not Found"
    METHOD_NOT_ALLOWED 405 "Method Not Allowed"
    NOT_ACCEPTABLE 406 "Not Acceptable"
    REQUEST_TIMEOUT 408 "Request Timeout"
    CONFLICT 409 "Conflict"
    GONE 410 "Gone"
    LENGTH_REQUIRED 411 "Length Required"
    PRECONDITION_FAILED 412 "Precondition Failed"
    CONTENT_TOO_LARGE 413 "Content Too Large"
    URI_TOO_LONG 414 "URI Too Long"
    UNSUPPORTED_MEDIA_TYPE 415 "Unsupported Media Type"
    RANGE_NOT_SATISFIABLE 416 "Range Not Satisfiable"
    EXPECTATION_FAILED 417 "Expectation Failed"
    UNPROCESSABLE_CONTENT 422 "Unprocessable Content"
    UPGRADE_REQUIRED 426 "Upgrade Required"
    TOO_MANY_REQUESTS 429 "Too Many Requests"
    HEADER_FIELDS_TOO_LARGE 431 "Request Header Fields Too Large"
    INTERNAL_SERVER_ERROR 500 "Internal Server Error"
    NOT_IMPLEMENTED 501 "Not Implemented"
    BAD_GATEWAY 502 "Bad Gateway"
    SERVICE_UNAVAILABLE 503 "Service Unavailable"
    GATEWAY_TIMEOUT 504 "Gateway Timeout"
    INSUFFICIENT_STORAGE 507 "Insufficient Storage"
    VERSION_NOT_SUPPORTED 505 "HTTP Version Not Supported"
}

impl Status {
    /// True: a response with it never has a body, nor a length (RFC 9110 §8.6).
    #[must_use]
    pub fn is_bodiless(self) -> bool {
        self.0 < 200 || self.0 == 204 || self.0 == 304
    }
}

/// Why the bytes of a connection are not requests. What follows on the connection cannot be trusted: it is answered with
/// the status and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the peer is told.
    pub status: Status,
    /// Why, for people and logs.
    pub why: &'static str,
}

impl Fault {
    /// A fault of the request's form.
    #[must_use]
    pub const fn bad(why: &'static str) -> Fault {
        Fault { status: Status::BAD_REQUEST, why }
    }

    /// A fault with another status.
    #[must_use]
    pub const fn new(status: Status, why: &'static str) -> Fault {
        Fault { status, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_know_their_phrases_and_bodies() {
        assert_eq!(Status::CONTENT_TOO_LARGE.phrase(), "Content Too Large");
        assert_eq!(Status(799).phrase(), "");
        for (status, bodiless) in [(101, true), (200, false), (204, true), (304, true), (404, false)] {
            assert_eq!(Status(status).is_bodiless(), bodiless, "{status}");
        }
    }
}
