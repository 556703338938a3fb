//! All limits of HTTP, in one place. Each says what happens when it is reached.
//!
//! Sizes of bodies are not here: whoever serves a path says how large its bodies may be (413 above).

/// Bytes of a request's first line; above: 414. RFC 9112 §3 asks for 8,000 at least.
pub const REQUEST_LINE: usize = 8_192;
/// Bytes of a request's head, the first line included; above: 431. It fits the smallest inbox.
pub const HEAD: usize = 16 * 1024;
/// Header fields of a request; above: 431.
pub const FIELDS: usize = 100;
/// Empty lines before a request; above: 400. RFC 9112 §2.2 asks for one at least.
pub const BLANK_LINES: u8 = 8;
/// Bytes of the line before a chunk, with its extensions; above: 400.
pub const CHUNK_LINE: usize = 256;
/// Bytes that the lines of the chunks of one body may take beyond what sensible chunks need; above: 400.
pub const CHUNK_EXCESS: u64 = 16 * 1024;
/// Bytes of the trailer section after a chunked body, which is read and dropped; above: 431.
pub const TRAILERS: usize = 4 * 1024;
/// Parameters read of a query; the rest is not seen.
pub const QUERY_PARAMETERS: usize = 256;
/// Bytes of response bodies that wait on one connection for those before them, or for the client to take them; above:
/// it is closed.
pub const RESPONSES: usize = 32 * 1024 * 1024;
/// Bytes of output waiting for one connection: a small response, or a piece of a large one, for each request.
pub const OUTPUT: usize = (IN_FLIGHT + 1) * (PIECE + HEAD);
/// Requests of one connection being served at once; above: the next is not read.
pub const IN_FLIGHT: usize = 16;
/// Milliseconds for a head, from its first byte; above: 408.
pub const HEAD_TIME: u64 = 20_000;
/// Milliseconds within which [`BODY_LEAST`] bytes of a body must come, again and again; else: 408.
pub const BODY_TIME: u64 = 20_000;
/// Bytes of a body that must come in [`BODY_TIME`], unless it ends.
pub const BODY_LEAST: usize = 4 * 1024;
/// Milliseconds without a request after which a connection is closed.
pub const KEEP_ALIVE: u64 = 120_000;
/// Bytes of a response's body that are written at once; a larger one is written so much at a time, as it is sent.
pub const PIECE: usize = 64 * 1024;
/// Milliseconds for sending a piece; above: closed.
pub const SEND_TIME: u64 = 60_000;
/// Bytes of a body where none means anything; above: 413.
pub const NO_BODY: u64 = 4 * 1024;
/// Bytes of the payload of a control frame of a WebSocket; above: closed with 1002 (RFC 6455 §5.5).
pub const WS_CONTROL: usize = 125;

const _: () = {
    assert!(REQUEST_LINE < HEAD);
    assert!(PIECE < RESPONSES && PIECE < u32::MAX as usize);
    assert!(HEAD <= lavina_core::limits::Limits::SMALL.inbox / 2);
    assert!(TRAILERS + CHUNK_LINE < HEAD);
};
