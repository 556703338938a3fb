//! Cutting HTML into tags and text. One pass; every byte is looked at a bounded number of times.
//!
//! It follows the tokeniser of the HTML standard where that decides what a browser would see as a tag. What is not
//! closed at the end (a tag, a comment) reaches to the end and says nothing.

use super::entity;

/// A piece of HTML.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Characters, references not yet resolved.
    Text(&'a str),
    /// A start tag: its name as spelled, and its attributes.
    Start(&'a str, Vec<(&'a str, &'a str)>),
    /// An end tag.
    End(&'a str),
}

/// Elements whose content is no markup and is never shown here.
const RAW: [&str; 7] = ["script", "style", "title", "iframe", "noembed", "noframes", "noscript"];

/// Cuts HTML into pieces.
pub(super) struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    pub(super) fn new(html: &'a str) -> Self {
        Self(html)
    }

    /// Takes `len` bytes off the front.
    fn take(&mut self, len: usize) -> &'a str {
        let (head, tail) = self.0.split_at(len.min(self.0.len()));
        self.0 = tail;
        head
    }

    /// Passes over everything up to and with `end`, or all.
    fn skip_past(&mut self, end: &str) {
        let len =
            memchr::memmem::find(self.0.as_bytes(), end.as_bytes()).map_or(self.0.len(), |at| at + end.len());
        self.take(len);
    }

    /// Passes over the content of a raw element, its end tag too.
    fn skip_raw(&mut self, name: &str) {
        loop {
            let Some(at) = memchr::memmem::find(self.0.as_bytes(), b"</") else {
                self.0 = "";
                return;
            };
            self.take(at + 2);
            let is_it = self.0.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name));
            if is_it && self.0[name.len()..].starts_with(|c: char| is_space(c) || c == '/' || c == '>') {
                self.skip_past(">");
                return;
            }
        }
    }

    /// The name of a tag, at the front.
    fn name(&mut self) -> &'a str {
        let len = self.0.find(|c: char| is_space(c) || c == '/' || c == '>').unwrap_or(self.0.len());
        self.take(len)
    }

    /// The attributes of a tag up to and with its `>`; none if there is no `>`: then all is taken.
    fn attributes(&mut self) -> Option<Vec<(&'a str, &'a str)>> {
        let mut out = Vec::new();
        loop {
            self.0 = self.0.trim_start_matches(|c: char| is_space(c) || c == '/');
            match self.0.bytes().next()? {
                b'>' => {
                    self.take(1);
                    return Some(out);
                }
                _ => {
                    let name = self.attribute_name();
                    out.push((name, self.attribute_value()?));
                }
            }
        }
    }

    fn attribute_name(&mut self) -> &'a str {
        // An equals sign at the beginning is part of the name.
        let stop = |(at, c): &(usize, char)| is_space(*c) || matches!(c, '/' | '>') || (*c == '=' && *at > 0);
        let len = self.0.char_indices().find(stop).map_or(self.0.len(), |(at, _)| at);
        self.take(len)
    }

    /// The value, if an equals sign comes next; none at the end of everything.
    fn attribute_value(&mut self) -> Option<&'a str> {
        let Some(rest) = self.0.trim_start_matches(is_space).strip_prefix('=') else { return Some("") };
        self.0 = rest.trim_start_matches(is_space);
        let quote = self.0.chars().next()?;
        if quote == '"' || quote == '\'' {
            self.take(1);
            let Some(len) = self.0.find(quote) else {
                self.0 = "";
                return None;
            };
            let value = self.take(len);
            self.take(1);
            return Some(value);
        }
        let len = self.0.find(|c: char| is_space(c) || c == '>').unwrap_or(self.0.len());
        Some(self.take(len))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            if self.0.is_empty() {
                return None;
            }
            let rest = self.0.as_bytes();
            if rest.first() != Some(&b'<') {
                let len = memchr::memchr(b'<', rest).unwrap_or(rest.len());
                return Some(Token::Text(self.take(len)));
            }
            match (rest.get(1), rest.get(2)) {
                (Some(b'a'..=b'z' | b'A'..=b'Z'), _) => {
                    self.take(1);
                    let name = self.name();
                    let attributes = self.attributes()?;
                    if RAW.iter().any(|raw| raw.eq_ignore_ascii_case(name)) {
                        self.skip_raw(name);
                        continue;
                    }
                    return Some(Token::Start(name, attributes));
                }
                (Some(b'/'), Some(b'a'..=b'z' | b'A'..=b'Z')) => {
                    self.take(2);
                    let name = self.name();
                    self.attributes()?;
                    return Some(Token::End(name));
                }
                (Some(b'!'), _) if self.0.starts_with("<!--") => {
                    // `<!-->` and `<!--->` are whole comments.
                    self.take(if self.0.starts_with("<!--->") { 3 } else { 2 });
                    self.skip_past("-->");
                }
                (Some(b'!' | b'?' | b'/'), _) => self.skip_past(">"),
                _ => {
                    let len = memchr::memchr(b'<', &rest[1..]).map_or(rest.len(), |at| at + 1);
                    return Some(Token::Text(self.take(len)));
                }
            }
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

/// Resolves character references and drops control characters other than tab and line end.
pub(super) fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        push_clean(&rest[..at], &mut out);
        let (len, c) = entity::reference(&rest[at..]);
        match c {
            Some(c) => push_clean(c.encode_utf8(&mut [0; 4]), &mut out),
            None => out.push('&'),
        }
        rest = &rest[at + len..];
    }
    push_clean(rest, &mut out);
    out
}

fn push_clean(text: &str, out: &mut String) {
    let wrong = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(wrong) { out.extend(text.chars().filter(|c| !wrong(*c))) } else { out.push_str(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(html: &str) -> Vec<Token<'_>> {
        Tokens::new(html).collect()
    }

    #[test]
    fn pieces() {
        use Token::*;
        assert_eq!(
            all("a<B x y = 'z>' w=v/>b</B >c"),
            [
                Text("a"),
                Start("B", vec![("x", ""), ("y", "z>"), ("w", "v/")]),
                Text("b"),
                End("B"),
                Text("c")
            ]
        );
        assert_eq!(
            all("a<!--<b>-->b<!-->c<!--->d<!x>e<?x>f</ >g"),
            ["a", "b", "c", "d", "e", "f", "g"].map(Text)
        );
        assert_eq!(all("1 < 2 <3 <"), [Text("1 "), Text("< 2 "), Text("<3 "), Text("<")]);
        assert_eq!(all("a<script>if (a<b) '</p>'</SCRIPT x>b"), [Text("a"), Text("b")]);
        assert_eq!(all("<style></stylex></style>b"), [Text("b")]);
        for open in ["a<b", "a<b x", "a<b x=", "a<b x='", "a<!--", "a<!", "a<script>b", "a</b"] {
            assert_eq!(all(open), [Text("a")], "{open}");
        }
    }

    #[test]
    fn references() {
        assert_eq!(
            decode("&lt;&AMP;&amp;&#65;&#x42;&hellip;&nope;&&#xd800;&#0;"),
            "<&AMP;&AB…&nope;&\u{fffd}\u{fffd}"
        );
        assert_eq!(decode("a\0b\x1b\tc&#7;"), "ab\tc");
    }
}
