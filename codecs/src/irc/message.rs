//! One line of IRC, in two forms: [`Line`], a faithful view of what arrived, and [`Message`], a strict
//! form of what we mean, which always comes back the same from its own encoding.
//!
//! The grammar is that of RFC 1459 section 2.3.1 as people speak it today (modern.ircdocs.horse) with the
//! tags of IRCv3 message-tags.

use std::borrow::Cow;

use nom::branch::alt;
use nom::bytes::complete::{take_till, take_till1, take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::{opt, rest};
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};
use smallvec::SmallVec;

use super::limits::{BODY_MAX, CLIENT_TAGS_MAX, PARAMS_USUAL};
use super::write::LineWriter;

/// Why a line cannot be read. Each has its answer to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not UTF-8: `FAIL * INVALID_UTF8` (IRCv3 UTF8ONLY).
    #[error("the line is not valid UTF-8")]
    NotUtf8,
    /// More tags or a longer body than allowed: 417.
    #[error("the line is too long")]
    TooLong,
    /// Nothing in it, or tags or a source only: passed over in silence.
    #[error("the line holds no command")]
    Empty,
}

/// Parameters of a message.
pub type Params<'a> = SmallVec<[&'a str; PARAMS_USUAL]>;

/// A view of one line. Anything that has a command is accepted; unescaping waits until asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// All tags as they stood, without `@`; empty when there were none.
    pub raw_tags: &'a str,
    /// The source without its `:`. Clients send none, and a server pays no attention to it.
    pub source: Option<&'a str>,
    /// The command in the sender's letter case.
    pub command: &'a str,
    /// The parameters, the last one without its `:`.
    pub params: Params<'a>,
}

impl<'a> Line<'a> {
    /// Reads a line that the framer found.
    ///
    /// # Errors
    /// [`Unreadable`]; the limits are [`CLIENT_TAGS_MAX`] and [`BODY_MAX`].
    pub fn parse(bytes: &'a [u8]) -> Result<Line<'a>, Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::NotUtf8)?;
        let (body, raw_tags) = tags(text).map_err(|_| Unreadable::Empty)?;
        let raw_tags = raw_tags.unwrap_or_default();
        if raw_tags.len() > CLIENT_TAGS_MAX || body.len() > BODY_MAX {
            return Err(Unreadable::TooLong);
        }
        let (input, source) = opt(source).parse(body).map_err(|_| Unreadable::Empty)?;
        let (mut input, command) = command(input).map_err(|_| Unreadable::Empty)?;
        let mut params = Params::new();
        while let Ok((left, param)) = param(input) {
            params.push(param);
            input = left;
        }
        Ok(Line { raw_tags, source, command, params })
    }

    /// The parameter at `at`, or an empty string.
    #[must_use]
    pub fn param(&self, at: usize) -> &'a str {
        self.params.get(at).copied().unwrap_or_default()
    }

    /// Each tag's key with its value still escaped, in the order sent. Of equal keys the last one counts.
    pub fn tags(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.raw_tags
            .split(';')
            .filter(|tag| !tag.is_empty())
            .map(|tag| tag.split_once('=').unwrap_or((tag, "")))
            .filter(|(key, _)| !key.is_empty())
    }

    /// The value of a tag; a tag without value has an empty one.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<Cow<'a, str>> {
        self.tags().filter(|(k, _)| *k == key).last().map(|(_, value)| unescape(value))
    }

    /// The client-only tags as they stood, joined by `;`: what is passed on to other clients.
    #[must_use]
    pub fn client_tags(&self) -> Cow<'a, str> {
        let own = |tag: &&str| tag.starts_with('+') && tag.len() > 1;
        if self.raw_tags.split(';').all(|tag| own(&tag)) {
            return Cow::Borrowed(self.raw_tags);
        }
        let kept: Vec<&str> = self.raw_tags.split(';').filter(own).collect();
        Cow::Owned(kept.join(";"))
    }
}

/// A whole message in strict form: what it encodes to reads back as itself. Used by clients (tests,
/// simulator, load generator) and wherever a message is kept as a value; the server's own path writes with
/// [`LineWriter`] directly.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    tags: Vec<(String, String)>,
    source: Option<String>,
    command: String,
    params: Vec<String>,
}

/// Why a [`Message`] cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// A tag's key is empty, given twice, or holds a byte that no key may.
    #[error("not a tag key")]
    Key,
    /// The source is empty or holds a space or line end.
    #[error("not a source")]
    Source,
    /// The command is neither letters nor three digits.
    #[error("not a command")]
    Command,
    /// A parameter holds a line end or NUL, or one before the last is empty, has a space, or begins with `:`.
    #[error("not a parameter")]
    Param,
    /// Over the limits of a line.
    #[error("too long for one line")]
    TooLong,
}

impl Message {
    /// Checks the parts.
    ///
    /// # Errors
    /// [`Unencodable`] names the part that has no encoding.
    pub fn new(
        tags: Vec<(String, String)>,
        source: Option<String>,
        command: String,
        params: Vec<String>,
    ) -> Result<Message, Unencodable> {
        for (at, (key, value)) in tags.iter().enumerate() {
            let twice = tags.iter().take(at).any(|(other, _)| other == key);
            if twice || !is_key(key) || value.contains('\0') {
                return Err(Unencodable::Key);
            }
        }
        if source.as_deref().is_some_and(|s| s.is_empty() || s.contains([' ', '\r', '\n', '\0'])) {
            return Err(Unencodable::Source);
        }
        let letters = !command.is_empty() && command.bytes().all(|b| b.is_ascii_alphabetic());
        let digits = command.len() == 3 && command.bytes().all(|b| b.is_ascii_digit());
        if !letters && !digits {
            return Err(Unencodable::Command);
        }
        if let Some((last, middles)) = params.split_last()
            && (last.contains(['\r', '\n', '\0']) || !middles.iter().all(|p| is_middle(p)))
        {
            return Err(Unencodable::Param);
        }
        let message = Message { tags, source, command, params };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        match Line::parse(bytes.trim_ascii_end_crlf()) {
            Ok(line) if message.is(&line) => Ok(message),
            _ => Err(Unencodable::TooLong),
        }
    }

    /// The strict form of a line; of equal tags the last is kept.
    ///
    /// # Errors
    /// As [`Message::new`]: a faithful line may hold what the strict form may not.
    pub fn from_line(line: &Line<'_>) -> Result<Message, Unencodable> {
        let mut tags: Vec<(String, String)> = Vec::new();
        for (key, value) in line.tags() {
            tags.retain(|(other, _)| other != key);
            tags.push((key.to_owned(), unescape(value).into_owned()));
        }
        let params = line.params.iter().map(|p| (*p).to_owned()).collect();
        Message::new(tags, line.source.map(str::to_owned), line.command.to_owned(), params)
    }

    /// Appends the line with its CR LF.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = LineWriter::new(out);
        for (key, value) in &self.tags {
            w.tag(key, value);
        }
        if let Some(source) = &self.source {
            w.source(source);
        }
        w.command(&self.command);
        if let Some((last, middles)) = self.params.split_last() {
            for param in middles {
                w.param(param);
            }
            w.last(last);
        } else {
            w.end();
        }
    }

    fn is(&self, line: &Line<'_>) -> bool {
        self.tags.len() == line.tags().count()
            && self.tags.iter().all(|(key, value)| line.tag(key).as_deref() == Some(value))
            && self.source.as_deref() == line.source
            && self.command == line.command
            && self.params.iter().map(String::as_str).eq(line.params.iter().copied())
    }
}

/// Undoes the escapes of a tag's value (IRCv3 message-tags, "Escaping values"). A backslash before any other
/// character, or at the end, falls away.
#[must_use]
pub fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(':') => out.push(';'),
            Some('s') => out.push(' '),
            Some('r') => out.push('\r'),
            Some('n') => out.push('\n'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Cow::Owned(out)
}

/// Whether `key` may be a tag's key: `[+][vendor/]name` with letters, digits, `-`, and `.` in the vendor.
#[must_use]
pub fn is_key(key: &str) -> bool {
    let bare = key.strip_prefix('+').unwrap_or(key);
    let (vendor, name) = bare.rsplit_once('/').unwrap_or(("a", bare));
    let ok = |s: &str, dot: bool| {
        !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || (dot && b == b'.'))
    };
    ok(vendor, true) && ok(name, false)
}

/// Whether `param` can stand before others.
#[must_use]
pub fn is_middle(param: &str) -> bool {
    !param.is_empty() && !param.starts_with(':') && !param.contains([' ', '\r', '\n', '\0'])
}

fn spaces(input: &str) -> IResult<&str, &str> {
    take_while(|c| c == ' ')(input)
}

fn word(input: &str) -> IResult<&str, &str> {
    take_till1(|c| c == ' ')(input)
}

fn tags(input: &str) -> IResult<&str, Option<&str>> {
    opt(terminated(preceded(char('@'), take_till(|c| c == ' ')), spaces)).parse(input)
}

fn source(input: &str) -> IResult<&str, &str> {
    preceded((spaces, char(':')), terminated(take_till(|c| c == ' '), spaces)).parse(input)
}

fn command(input: &str) -> IResult<&str, &str> {
    preceded(spaces, word).parse(input)
}

fn param(input: &str) -> IResult<&str, &str> {
    preceded(take_while1(|c| c == ' '), alt((preceded(char(':'), rest), word))).parse(input)
}

/// Helper for our own output, which ends in CR LF.
trait TrimEnd {
    fn trim_ascii_end_crlf(&self) -> &[u8];
}

impl TrimEnd for Vec<u8> {
    fn trim_ascii_end_crlf(&self) -> &[u8] {
        self.strip_suffix(b"\r\n").unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn params(text: &str) -> Vec<&str> {
        Line::parse(text.as_bytes()).unwrap().params.to_vec()
    }

    #[test]
    fn parts() {
        let line = Line::parse(b"@a=1;+b=x\\sy;c :nick!user@host PRIVMSG  #c   :hello  : there ").unwrap();
        assert_eq!(line.source, Some("nick!user@host"));
        assert_eq!(line.command, "PRIVMSG");
        assert_eq!(line.params.as_slice(), ["#c", "hello  : there "]);
        assert_eq!(line.tag("+b").as_deref(), Some("x y"));
        assert_eq!(line.tag("c").as_deref(), Some(""));
        assert_eq!(line.tag("d"), None);
        assert_eq!(line.client_tags(), "+b=x\\sy");
    }

    #[test]
    fn spaces_colons_and_empties() {
        assert_eq!(params("  USER a  b   :"), ["a", "b", ""]);
        assert_eq!(params("X a: :b"), ["a:", "b"]);
        assert_eq!(params("X a "), ["a"]);
        assert_eq!(params("X"), [""; 0]);
        assert_eq!(Line::parse(b"   "), Err(Unreadable::Empty));
        assert_eq!(Line::parse(b"@a=b"), Err(Unreadable::Empty));
        assert_eq!(Line::parse(b":source"), Err(Unreadable::Empty));
        assert_eq!(Line::parse(b"\xff"), Err(Unreadable::NotUtf8));
    }

    #[test]
    fn many_parameters_are_all_kept() {
        let text = format!("X{}", " p".repeat(200));
        assert_eq!(params(&text).len(), 200);
    }

    #[test]
    fn limits() {
        let fits = format!("@{} {}", "t".repeat(CLIENT_TAGS_MAX), "x".repeat(BODY_MAX));
        assert!(Line::parse(fits.as_bytes()).is_ok());
        let tags = format!("@{} x", "t".repeat(CLIENT_TAGS_MAX + 1));
        assert_eq!(Line::parse(tags.as_bytes()), Err(Unreadable::TooLong));
        let body = "x".repeat(BODY_MAX + 1);
        assert_eq!(Line::parse(body.as_bytes()), Err(Unreadable::TooLong));
    }

    #[test]
    fn the_last_of_equal_tags_counts() {
        let line = Line::parse(b"@a=1;a=2;a X").unwrap();
        assert_eq!(line.tag("a").as_deref(), Some(""));
    }

    #[test]
    fn broken_escapes() {
        assert_eq!(unescape("\\b\\\\\\:\\s\\r\\n\\"), "b\\; \r\n");
    }

    #[test]
    fn keys() {
        assert!(is_key("+draft/reply") && is_key("msgid") && is_key("example.com/x"));
        assert!(!is_key("") && !is_key("+") && !is_key("a/") && !is_key("a b") && !is_key("a.b"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(line) = Line::parse(&bytes) {
                let _ = Message::from_line(&line);
            }
        }

        #[test]
        fn strict_round_trips(
            tags in prop::collection::btree_map("[+]?(draft/)?[a-z-]{1,8}", "[ -~\r\né]{0,12}", 0..4),
            source in prop::option::of("[!-~é]{1,20}"),
            command in "[A-Z]{1,10}|[0-9]{3}",
            middles in prop::collection::vec("[!-9;-~][!-~é]{0,8}", 0..6),
            last in prop::option::of("[ -~é\u{1}\u{2}]{0,40}"),
        ) {
            let tags: Vec<_> = tags.into_iter().collect();
            let mut params = middles;
            params.extend(last);
            let message = Message::new(tags, source, command, params).unwrap();
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            let line = Line::parse(bytes.strip_suffix(b"\r\n").unwrap()).unwrap();
            prop_assert_eq!(Message::from_line(&line).unwrap(), message);
        }
    }
}
