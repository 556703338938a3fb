//! What an event says: a client's content read as something everybody can read, and written again.
//!
//! The native form of a Matrix event is `{"content":…,"type":…}` in canonical JSON, the content cleaned: its HTML has
//! passed [`crate::matrix::html`], what older clients repeat of a message replied to is gone. All else in it survives.

mod clean;
mod media;
mod mention;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use mention::{MENTIONS_MAX, mentions};
pub use read::{Intent, LocalNames, Look, read};
pub use write::{Shown, Write, plain, write};

use crate::json::{Json, NotCanonical};
use crate::object;
use crate::session::MATRIX_NATIVE;
use lavina_core::event::Native;
use lavina_core::text::{Octets, Str};

/// Longest event type in bytes (client-server API, "Size limits").
pub const TYPE_MAX: usize = 255;

/// The type of ordinary messages.
pub const MESSAGE: &str = "m.room.message";

/// The format of `formatted_body`.
pub const HTML: &str = "org.matrix.custom.html";

/// The key of relations in contents.
pub const RELATES_TO: &str = "m.relates_to";

/// The key of what an edit puts in place of the old content.
pub const NEW_CONTENT: &str = "m.new_content";

/// Why an event is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadContent {
    /// The content is no object.
    #[error("the content must be an object")]
    NotAnObject,
    /// A number that canonical JSON does not have.
    #[error("{0}")]
    Number(#[from] NotCanonical),
    /// The type is empty or too long.
    #[error("an event type has 1 to {TYPE_MAX} bytes")]
    Type,
    /// A text message without kind or text.
    #[error("a message must have the strings `msgtype` and `body`")]
    NoBody,
    /// A redaction of nothing that is here.
    #[error("there is no such event to redact")]
    NothingToRedact,
    /// More text than fits.
    #[error("the text is longer than {0} bytes")]
    TextTooLong(usize),
    /// More content than fits.
    #[error("the content is larger than {0} bytes")]
    TooLarge(usize),
}

impl BadContent {
    /// The error code of it.
    pub fn errcode(&self) -> &'static str {
        match self {
            BadContent::NotAnObject | BadContent::Number(_) | BadContent::NoBody => "M_BAD_JSON",
            BadContent::Type => "M_INVALID_PARAM",
            BadContent::NothingToRedact => "M_NOT_FOUND",
            BadContent::TextTooLong(_) | BadContent::TooLarge(_) => "M_TOO_LARGE",
        }
    }

    /// The HTTP status of it.
    pub fn status(&self) -> u16 {
        match self {
            BadContent::NothingToRedact => 404,
            BadContent::TextTooLong(_) | BadContent::TooLarge(_) => 413,
            _ => 400,
        }
    }
}

/// The native form of an event.
pub fn pack(kind: &str, content: &Json) -> Native {
    let whole = object! { "content" => content.clone(), "type" => kind };
    Native { protocol: MATRIX_NATIVE, bytes: Octets::from(whole.to_bytes()) }
}

/// The type in a native form, without reading the rest; none if it is another protocol's.
pub fn kind_of(native: &Native) -> Option<Str> {
    // The type stands last, and a quote within a string is escaped.
    const KEY: &[u8] = b",\"type\":";
    let bytes = Some(&*native.bytes).filter(|_| native.protocol == MATRIX_NATIVE)?.strip_suffix(b"}")?;
    let at = memchr::memmem::rfind(bytes, KEY)?;
    Json::parse_within(bytes.get(at + KEY.len()..)?, 0).ok()?.as_str().map(Str::new)
}

/// Whether only the devices of its readers can read it.
pub fn is_encrypted(native: &Native) -> bool {
    kind_of(native).is_some_and(|kind| kind == "m.room.encrypted")
}

/// Type and content of a native form; none if it is another protocol's.
pub fn unpack(native: &Native) -> Option<(Str, Json)> {
    unpack_bytes(&native.bytes).filter(|_| native.protocol == MATRIX_NATIVE)
}

/// Type and content of the bytes of a native form.
pub fn unpack_bytes(bytes: &[u8]) -> Option<(Str, Json)> {
    // One deeper than what a client could send.
    let mut whole = Json::parse_within(bytes, crate::json::DEPTH + 1).ok()?;
    let kind = Str::new(whole.str_of("type")?);
    let content = whole.take("content")?;
    Some((kind, content))
}
