//! The target of a request (RFC 9112 §3.2), its path and its query, and percent-encoding (RFC 3986 §2.1).

use super::limits::QUERY_PARAMETERS;
use super::status::Fault;
use std::borrow::Cow;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The path as it came, percent-encoded, from its `/`; `*` for a question about the server as a whole.
    path: Box<str>,
    query: Option<Box<str>>,
    /// The authority, where the target has one.
    authority: Option<Box<str>>,
}

impl Target {
    /// Reads a target in origin-form, absolute-form or asterisk-form; authority-form is CONNECT's, which is not
    /// served.
    ///
    /// # Errors
    /// 400 for anything else, for characters that no URI has, and for a path whose escapes are broken or no UTF-8.
    pub fn parse(raw: &str) -> Result<Target, Fault> {
        if !raw.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Fault::bad("the request target has characters that must be percent-encoded"));
        }
        if raw.contains('#') {
            return Err(Fault::bad("the request target has a fragment"));
        }
        if raw == "*" {
            return Ok(Target { path: raw.into(), query: None, authority: None });
        }
        let (authority, rest) = if raw.starts_with('/') { (None, raw) } else { absolute(raw)? };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.into())),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        if unescape(path, false, true).is_none() {
            return Err(Fault::bad("the path has a broken percent-encoding"));
        }
        Ok(Target { path: path.into(), query, authority: authority.map(Into::into) })
    }

    /// The path as it came, percent-encoded, from its `/`; `*` for a question about the server as a whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path's segments, decoded: of `/a/b%2Fc/` they are `a`, `b/c` and an empty one; of `*` there are none.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'_, str>> + '_ {
        let inner = self.path.strip_prefix('/');
        inner
            .into_iter()
            .flat_map(|path| path.split('/'))
            .map(|segment| unescape(segment, false, true).unwrap_or(Cow::Borrowed(segment)))
    }

    /// The query as it came, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The query's parameters in their order, decoded as forms are (`+` is a space; broken escapes stay as they are).
    pub fn parameters(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> + '_ {
        form(self.query.as_deref().unwrap_or_default())
    }

    /// The first parameter of that name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        self.parameters().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The authority of an absolute-form target, which counts more than `Host` (RFC 9112 §3.2.2).
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }
}

/// Splits an absolute-form target into its authority and the rest.
fn absolute(raw: &str) -> Result<(Option<&str>, &str), Fault> {
    let fault = Fault::bad("the request target is neither a path nor an http URL");
    let (scheme, rest) = raw.split_once("://").ok_or(fault)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(fault);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    // An http URL has a host (RFC 9110 §4.2.1), and none should carry a user (§4.2.4).
    if authority.is_empty() || authority.contains('@') { Err(fault) } else { Ok((Some(authority), rest)) }
}

/// The pairs of `application/x-www-form-urlencoded`; at most [`QUERY_PARAMETERS`].
pub fn form(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> + '_ {
    let decode = |part| unescape(part, true, false).unwrap_or(Cow::Borrowed(part));
    text.split('&').filter(|pair| !pair.is_empty()).take(QUERY_PARAMETERS).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// Decodes percent-encoding. `strict`: `None` where an escape is broken or the result is no UTF-8; else broken escapes
/// stay and what is no UTF-8 becomes U+FFFD.
fn unescape(text: &str, plus: bool, strict: bool) -> Option<Cow<'_, str>> {
    let plain = |byte: &u8| *byte != b'%' && !(plus && *byte == b'+');
    if text.as_bytes().iter().all(plain) {
        return Some(Cow::Borrowed(text));
    }
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| octet(bytes.get(at + 1..at + 3))).flatten();
        match (byte, escaped) {
            (_, Some(octet)) => {
                out.push(octet);
                at += 2;
            }
            (b'%', None) if strict => return None,
            (b'+', _) if plus => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    match String::from_utf8(out) {
        Ok(text) => Some(Cow::Owned(text)),
        Err(_) if strict => None,
        Err(bad) => Some(Cow::Owned(String::from_utf8_lossy(bad.as_bytes()).into_owned())),
    }
}

fn octet(digits: Option<&[u8]>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match digits? {
        &[high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(raw: &str) -> Vec<String> {
        Target::parse(raw).expect(raw).segments().map(Cow::into_owned).collect()
    }

    #[test]
    fn paths_come_apart_and_are_decoded() {
        assert_eq!(segments("/"), [""]);
        assert_eq!(segments("/a/b%2Fc/"), ["a", "b/c", ""]);
        assert_eq!(segments("/rooms/%21x%3Aexample.org/%C3%BC?q=/no"), ["rooms", "!x:example.org", "ü"]);
        assert_eq!(segments("http://example.org/a"), ["a"]);
        assert_eq!(segments("HTTPS://example.org?x"), [""]);
        assert!(segments("*").is_empty());
        assert_eq!(segments("/a+b"), ["a+b"], "a plus is a plus in a path");
    }

    #[test]
    fn absolute_targets_have_an_authority() {
        let target = Target::parse("http://example.org:8080/x?y").expect("absolute");
        assert_eq!(
            (target.authority(), target.path(), target.query()),
            (Some("example.org:8080"), "/x", Some("y"))
        );
        assert_eq!(Target::parse("/x").expect("origin").authority(), None);
    }

    #[test]
    fn other_targets_are_refused() {
        for raw in [
            "",
            "x",
            "example.org:443",
            "ftp://example.org/",
            "http:///x",
            "http://u@example.org/",
            "/a b",
            "/ü",
            "/\u{7f}",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
            "/a#b",
        ] {
            assert!(Target::parse(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn queries_are_read_as_forms_are() {
        let target = Target::parse("/?a=1&b=x+y%26z&a=2&&c&d=%zz%ff").expect("a target");
        let pairs: Vec<_> = target.parameters().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        let expected = [("a", "1"), ("b", "x y&z"), ("a", "2"), ("c", ""), ("d", "%zz\u{fffd}")];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(target.parameter("a").as_deref(), Some("1"));
        assert_eq!(target.parameter("e"), None);
        let many = format!("/?{}", "a&".repeat(1000));
        assert_eq!(Target::parse(&many).expect("a target").parameters().count(), QUERY_PARAMETERS);
    }
}
