//! Just enough XML to read what a server writes, independent of the codecs.

/// Cuts a stream into the stream's header, the elements below it, and its end.
#[derive(Debug, Default)]
pub struct Cutter {
    input: String,
    /// Bytes of a character that is not whole.
    rest: Vec<u8>,
}

impl Cutter {
    /// Takes what came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(s) => s.len(),
            Err(e) => e.valid_up_to(),
        };
        let tail = self.rest.split_off(whole);
        self.input.push_str(&String::from_utf8_lossy(&self.rest));
        self.rest = tail;
    }

    /// A new connection begins.
    pub fn clear(&mut self) {
        *self = Cutter::default();
    }
}

impl Iterator for Cutter {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let start = self.input.find('<')?;
        self.input.drain(..start);
        if self.input.starts_with("<?") {
            let end = self.input.find("?>")?;
            self.input.drain(..end + 2);
            return self.next();
        }
        let (mut depth, mut at) = (0_i32, 0);
        loop {
            let open = at + self.input[at..].find('<')?;
            let tag = tag_at(&self.input[open..])?;
            at = open + tag.len();
            if tag.starts_with("<stream:stream") || tag.starts_with("</stream:stream") {
                assert_eq!(depth, 0, "a stream inside an element: {}", self.input);
            } else if tag.starts_with("</") {
                depth -= 1;
            } else if !tag.ends_with("/>") {
                depth += 1;
            }
            if depth == 0 {
                return Some(self.input.drain(..at).collect());
            }
        }
    }
}

/// The tag at the front, if it is whole.
fn tag_at(text: &str) -> Option<&str> {
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (None, '>') => return text.get(..=i),
            _ => {}
        }
    }
    None
}

/// The name of an element; that of an end tag begins with `/`.
pub fn name(element: &str) -> &str {
    if element.starts_with("</") {
        return element.get(1..).unwrap_or_default().trim_end_matches('>');
    }
    element.get(1..).unwrap_or_default().split([' ', '>', '/']).next().unwrap_or_default()
}

/// An attribute of the first tag.
pub fn attr<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let tag = tag_at(element)?;
    let at = tag.find(&format!(" {name}="))? + name.len() + 2;
    let quote = tag[at..].chars().next()?;
    tag[at + 1..].split(quote).next()
}

/// The text of the first element of that name in it.
pub fn text<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let rest = element.split_once(&format!("<{name}>"))?.1;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

/// The first element of that name in it, from its tag on.
pub fn child<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    element.match_indices(&format!("<{name}")).map(|(at, _)| &element[at..]).find(|e| self::name(e) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_wherever_its_bytes_are() {
        let stream = "<?xml version='1.0'?><stream:stream a='>'><f:x><m/>ä<b>&lt;</b></f:x>\n<iq id=\"1\"/></stream:stream>";
        let want =
            ["<stream:stream a='>'>", "<f:x><m/>ä<b>&lt;</b></f:x>", "<iq id=\"1\"/>", "</stream:stream>"];
        for size in [1, 3, 1000] {
            let mut cutter = Cutter::default();
            let mut got = Vec::new();
            for part in stream.as_bytes().chunks(size) {
                cutter.feed(part);
                got.extend(cutter.by_ref());
            }
            assert_eq!(got, want);
        }
        let m = "<message from='a@b/c' id='x'><body>hi</body><received xmlns='y'/></message>";
        assert_eq!((name(m), attr(m, "id"), text(m, "body")), ("message", Some("x"), Some("hi")));
        assert_eq!(child(m, "received").and_then(|c| attr(c, "xmlns")), Some("y"));
        assert_eq!((attr(m, "to"), child(m, "rec"), text(m, "subject")), (None, None, None));
    }
}
