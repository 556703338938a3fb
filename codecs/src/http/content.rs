//! What is said of a content that somebody else put here: how a browser may show it without harm.

use super::request::Head;
use super::response::Response;
use super::status::Status;
use lavina_core::blob::BlobKey;
use lavina_core::media::Content;
use std::borrow::Cow;

/// Types that a browser may show in its window: those that the Matrix specification lists for `Content-Disposition:
/// inline` (client-server API, content repository). None of them can hold a script that browsers run.
const INLINE: &[&str] = &[
    "application/json",
    "application/ld+json",
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/wave",
    "audio/webm",
    "audio/x-flac",
    "audio/x-pn-wav",
    "audio/x-wav",
    "image/apng",
    "image/avif",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/css",
    "text/csv",
    "text/plain",
    "video/mp4",
    "video/ogg",
    "video/quicktime",
    "video/webm",
];

/// The type of a content of which nothing is known.
pub const UNKNOWN: &str = "application/octet-stream";

/// Nothing in it may run, load or be framed.
const POLICY: &str =
    "sandbox; default-src 'none'; script-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// A year: a content never changes under its address.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The entity tag of a content.
#[must_use]
pub fn etag(key: BlobKey) -> String {
    if key.made == 0 { format!("\"{}\"", key.hash) } else { format!("\"{}.{}\"", key.hash, key.made) }
}

/// What goes with a content, whoever asks for it. `name`: what it is called instead of its own name.
#[must_use]
pub fn response(content: &Content, name: Option<&str>, tag: &str) -> Response {
    let name = name.unwrap_or(&content.name);
    Response::new(Status::OK)
        .header("Content-Type", content_type(&content.content_type).to_owned())
        .header("Content-Disposition", disposition(&content.content_type, name))
        .header("ETag", tag.to_owned())
        .header("Cache-Control", FOR_EVER)
        .header("X-Content-Type-Options", "nosniff")
        .header("Content-Security-Policy", POLICY)
        .header("Cross-Origin-Resource-Policy", "cross-origin")
        .header("Referrer-Policy", "no-referrer")
}

/// 304, if the client has this content already (RFC 9110 §13.1.2).
#[must_use]
pub fn not_modified(head: &Head, tag: &str) -> Option<Response> {
    let known =
        head.headers.list("if-none-match").any(|t| t == "*" || t.strip_prefix("W/").unwrap_or(t) == tag);
    let response = || Response::new(Status::NOT_MODIFIED).header("ETag", tag.to_owned());
    known.then(|| response().header("Cache-Control", FOR_EVER))
}

/// The media type, if it is one; else that of anything.
#[must_use]
pub fn content_type(said: &str) -> &str {
    let token = |t: &str| !t.is_empty() && t.bytes().all(super::request::is_token);
    let essence = essence(said);
    let good = essence.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub));
    if good && said.bytes().all(|b| (b' '..=b'~').contains(&b)) { said } else { UNKNOWN }
}

fn essence(said: &str) -> &str {
    said.split(';').next().unwrap_or_default().trim()
}

/// Whether it is shown or saved, and under which name (RFC 6266; RFC 8187 for other than ASCII).
#[must_use]
pub fn disposition(said: &str, name: &str) -> String {
    let inline = INLINE.iter().any(|t| t.eq_ignore_ascii_case(essence(said)));
    let kind = if inline { "inline" } else { "attachment" };
    if name.is_empty() {
        return kind.to_owned();
    }
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%');
    if name.chars().all(|c| plain(c) || c == ' ') {
        return format!("{kind}; filename=\"{name}\"");
    }
    format!("{kind}; filename*=utf-8''{}", escape(name))
}

/// Percent-encodes everything but the characters that need it nowhere in a path or a parameter (RFC 3986 §2.3).
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let one = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    Cow::Owned(text.bytes().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_run_is_shown() {
        for (said, name, disposition) in [
            ("image/png", "a.png", "inline; filename=\"a.png\""),
            ("Text/Plain; charset=utf-8", "", "inline"),
            ("text/html", "x.html", "attachment; filename=\"x.html\""),
            ("image/svg+xml", "", "attachment"),
            ("", "a b.txt", "attachment; filename=\"a b.txt\""),
            ("text/plain", "a\"b", "inline; filename*=utf-8''a%22b"),
            ("text/plain", "\u{fc}.txt", "inline; filename*=utf-8''%C3%BC.txt"),
            ("text/plain", "a\r\nb", "inline; filename*=utf-8''a%0D%0Ab"),
        ] {
            assert_eq!(super::disposition(said, name), disposition, "{said} {name}");
        }
    }

    #[test]
    fn types_are_types() {
        for (said, is) in [
            ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
            ("x", UNKNOWN),
            ("", UNKNOWN),
            ("/", UNKNOWN),
            ("text/pl\u{e4}in", UNKNOWN),
            ("text/plain\r\nX: y", UNKNOWN),
            ("text /plain", UNKNOWN),
        ] {
            assert_eq!(content_type(said), is, "{said:?}");
        }
    }

    #[test]
    fn a_known_content_is_not_sent_again() {
        let with = |lines: &str| {
            let head =
                Head::parse(format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n").as_bytes()).expect("a head");
            not_modified(&head, "\"t\"").is_some()
        };
        assert!(with("If-None-Match: \"a\", W/\"t\"\r\n") && with("If-None-Match: *\r\n"));
        assert!(!with("If-None-Match: \"a\"\r\n") && !with(""));
    }
}
