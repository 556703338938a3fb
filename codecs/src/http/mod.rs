//! HTTP/1.1 for clients (RFC 9110, RFC 9112).
//!
//! The way in is [`reader`]: bytes become heads ([`request`]) and bodies ([`body`]), read one request at a time,
//! with limits ([`limits`]) at each step. What could be read differently by a program in front of this one is refused
//! and ends the connection. The way out is [`response`].

pub mod body;
pub mod date;
pub mod headers;
pub mod limits;
pub mod reader;
pub mod request;
pub mod response;
pub mod status;
pub mod target;
