//! The header fields of a request: a bounded list in one block of memory.

use std::fmt;
use std::ops::Range;

/// Header fields in the order of their arrival. Values have no white space around them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    bytes: Vec<u8>,
    /// Where name and value of each are.
    fields: Vec<(Range<u32>, Range<u32>)>,
}

impl Headers {
    /// Copies fields.
    pub(super) fn copy<'a>(from: impl Iterator<Item = (&'a str, &'a [u8])>) -> Headers {
        // Room for what most requests have.
        let mut headers = Headers { bytes: Vec::with_capacity(256), fields: Vec::with_capacity(8) };
        for (name, value) in from {
            let name = headers.push(name.as_bytes());
            let value = headers.push(value.trim_ascii());
            headers.fields.push((name, value));
        }
        headers
    }

    fn push(&mut self, text: &[u8]) -> Range<u32> {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        start..self.bytes.len() as u32
    }

    /// All fields: name as written, value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields
            .iter()
            .map(|(name, value)| (std::str::from_utf8(self.part(name)).unwrap_or_default(), self.part(value)))
    }

    fn part(&self, range: &Range<u32>) -> &[u8] {
        self.bytes.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// The values of all fields of that name, in any case of letters.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first field of that name; `None` also for one that is no UTF-8.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?.1;
        std::str::from_utf8(value).ok()
    }

    /// The elements of all fields of that name as one list (RFC 9110 §5.6.1): split at commas, empty ones left out.
    /// For fields without quoted strings.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .flat_map(|value| value.split(|b| *b == b','))
            .map(|element| std::str::from_utf8(element.trim_ascii()).unwrap_or("\u{fffd}"))
            .filter(|element| !element.is_empty())
    }

    /// True: one of the elements of that list is this token, in any case of letters.
    #[must_use]
    pub fn has(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token))
    }
}

impl fmt::Debug for Headers {
    /// Names only: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_case_and_lists_are_joined() {
        let headers = Headers::copy(
            [
                ("Accept", &b" text/html,  */* "[..]),
                ("ACCEPT", b", text/plain"),
                ("X", b"\xff"),
                ("Authorization", b"Bearer geheim"),
            ]
            .into_iter(),
        );
        assert_eq!(headers.get("accept"), Some("text/html,  */*"));
        assert_eq!(headers.list("accept").collect::<Vec<_>>(), ["text/html", "*/*", "text/plain"]);
        assert!(headers.has("accept", "TEXT/PLAIN") && !headers.has("accept", "text"));
        assert_eq!((headers.get("x"), headers.all("x").count(), headers.get("y")), (None, 1, None));
        assert!(!format!("{headers:?}").contains("geheim"));
    }
}
