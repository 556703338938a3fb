//! Canonical serialisation: one way to write XML, for trees and for stanzas built in place.
//!
//! Elements carry their namespace as a default `xmlns`, written only where it differs from the parent's; attributes
//! are quoted with `'`; line breaks and tabs in attributes are escaped, so that reading gives back what was written;
//! what XML 1.0 forbids is left out, so that no text from another protocol can break a stream.

use crate::xmpp::ns;
use crate::xmpp::xml::{Element, Node};
use smallvec::SmallVec;
use smol_str::SmolStr;

/// Writes XML to the end of a vector.
///
/// Names and namespaces given to it are ours or come from a checked [`Element`]; values and texts may be anything.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Open elements.
    open: SmallVec<[Open; 8]>,
    /// The namespace outside of the first element.
    outer: SmolStr,
    /// The last start tag is not closed yet.
    in_tag: bool,
}

/// An open element: where its name and its namespace stand in the output.
#[derive(Debug, Clone, Copy)]
struct Open {
    name: (usize, usize),
    namespace: Declared,
}

/// Where the namespace in force is written down.
#[derive(Debug, Clone, Copy)]
enum Declared {
    /// Outside of the first element.
    Outside,
    /// In the output, as it is.
    At(usize, usize),
    /// In the output, but escaped: compared with nothing, so that children declare theirs even if it is the same.
    Escaped,
}

impl<'a> Writer<'a> {
    /// Writes where `jabber:client` is the default namespace: at the level of stanzas in a client's stream.
    pub fn in_stream(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out, open: SmallVec::new(), outer: SmolStr::new_static(ns::CLIENT), in_tag: false }
    }

    /// Writes where `outer` is the default namespace; empty for a document of its own.
    pub fn within(out: &'a mut Vec<u8>, outer: &str) -> Writer<'a> {
        Writer { out, open: SmallVec::new(), outer: ns::intern(outer), in_tag: false }
    }

    /// Begins an element in the namespace of its parent.
    pub fn start(&mut self, name: &str) -> &mut Self {
        let namespace = self.open.last().map_or(Declared::Outside, |open| open.namespace);
        self.close_tag();
        self.out.push(b'<');
        let at = self.out.len();
        self.out.extend_from_slice(name.as_bytes());
        self.open.push(Open { name: (at, self.out.len()), namespace });
        self.in_tag = true;
        self
    }

    /// Begins an element in `namespace`, which is declared if it is not the parent's.
    pub fn start_ns(&mut self, name: &str, namespace: &str) -> &mut Self {
        let declared = self.namespace() == Some(namespace.as_bytes());
        self.start(name);
        if !declared {
            let from = self.out.len() + " xmlns='".len();
            self.attr("xmlns", namespace);
            let to = self.out.len() - 1;
            let plain = to - from == namespace.len();
            if let Some(open) = self.open.last_mut() {
                open.namespace = if plain { Declared::At(from, to) } else { Declared::Escaped };
            }
        }
        self
    }

    /// Writes an attribute of the element just begun.
    pub fn attr(&mut self, name: &str, value: &str) -> &mut Self {
        debug_assert!(self.in_tag, "attributes belong to a start tag");
        self.out.push(b' ');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"='");
        escape_attr(value, self.out);
        self.out.push(b'\'');
        self
    }

    /// Writes an attribute if there is a value.
    pub fn opt_attr(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.attr(name, value);
        }
        self
    }

    /// Writes an attribute with a number.
    pub fn attr_num(&mut self, name: &str, value: u64) -> &mut Self {
        let mut digits = [0; 20];
        self.attr(name, decimal(value, &mut digits))
    }

    /// Writes an attribute whose value differs per recipient and is put in later; where, as a length of the output.
    pub fn attr_hole(&mut self, name: &str) -> usize {
        self.attr(name, "");
        self.out.len() - 1
    }

    /// Writes text into the open element.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.close_tag();
        escape_text(text, self.out);
        self
    }

    /// Writes bytes that were serialised before under the namespace that is now the default one.
    pub fn raw(&mut self, xml: &[u8]) -> &mut Self {
        if !xml.is_empty() {
            self.close_tag();
            self.out.extend_from_slice(xml);
        }
        self
    }

    /// Ends the element opened last.
    pub fn end(&mut self) -> &mut Self {
        if let Some(open) = self.open.pop() {
            if self.in_tag {
                self.out.extend_from_slice(b"/>");
                self.in_tag = false;
            } else {
                self.out.extend_from_slice(b"</");
                self.out.extend_from_within(open.name.0..open.name.1);
                self.out.push(b'>');
            }
        }
        self
    }

    /// An element that holds only text, in the namespace of its parent.
    pub fn leaf(&mut self, name: &str, text: &str) -> &mut Self {
        self.start(name);
        if !text.is_empty() {
            self.text(text);
        }
        self.end()
    }

    /// An element that holds nothing, in `namespace`.
    pub fn empty_ns(&mut self, name: &str, namespace: &str) -> &mut Self {
        self.start_ns(name, namespace).end()
    }

    /// Writes a tree. Iterative: nesting costs memory, never stack.
    pub fn element(&mut self, root: &Element) -> &mut Self {
        let mut stack: SmallVec<[std::slice::Iter<'_, Node>; 8]> = SmallVec::new();
        self.start_element(root);
        stack.push(root.children.iter());
        while let Some(children) = stack.last_mut() {
            match children.next() {
                Some(Node::Element(child)) => {
                    self.start_element(child);
                    stack.push(child.children.iter());
                }
                Some(Node::Text(text)) => {
                    self.text(text);
                }
                None => {
                    self.end();
                    stack.pop();
                }
            }
        }
        self
    }

    /// Writes all children of an element, as they stand in it.
    pub fn children(&mut self, of: &Element) -> &mut Self {
        for child in &of.children {
            match child {
                Node::Element(child) => self.element(child),
                Node::Text(text) => self.text(text),
            };
        }
        self
    }

    /// Bytes in the output so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether the output is empty.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Closes the start tag, so that what is written next (also past this writer) is content.
    pub fn close_tag(&mut self) -> &mut Self {
        if self.in_tag {
            self.out.push(b'>');
            self.in_tag = false;
        }
        self
    }

    fn namespace(&self) -> Option<&[u8]> {
        match self.open.last().map_or(Declared::Outside, |open| open.namespace) {
            Declared::At(from, to) => self.out.get(from..to),
            Declared::Outside => Some(self.outer.as_bytes()),
            Declared::Escaped => None,
        }
    }

    fn start_element(&mut self, el: &Element) {
        self.start_ns(&el.name, &el.ns);
        for (n, attr) in el.attrs.iter().enumerate() {
            match attr.ns.as_str() {
                "" => self.attr(&attr.name, &attr.value),
                ns::XML => self.prefixed("xml", &attr.name, &attr.value),
                uri => {
                    // The number keeps the prefixes of one element apart; children may declare the same ones anew.
                    let mut digits = [0; 20];
                    let prefix = format!("ns{}", decimal(n as u64, &mut digits));
                    self.prefixed("xmlns", &prefix, uri);
                    self.prefixed(&prefix, &attr.name, &attr.value)
                }
            };
        }
    }

    fn prefixed(&mut self, prefix: &str, name: &str, value: &str) -> &mut Self {
        self.out.push(b' ');
        self.out.extend_from_slice(prefix.as_bytes());
        self.out.push(b':');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"='");
        escape_attr(value, self.out);
        self.out.push(b'\'');
        self
    }
}

/// An encoding with one gap, the same for everybody but for what goes into it.
///
/// A groupchat stanza is encoded once and copied to each occupant with his address in the gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    bytes: Vec<u8>,
    hole: usize,
}

impl Template {
    /// The bytes around a hole at `hole`, as [`Writer::attr_hole`] told it; never past the end.
    pub fn new(bytes: Vec<u8>, hole: usize) -> Template {
        let hole = hole.min(bytes.len());
        Template { bytes, hole }
    }

    /// What comes before and after the hole.
    pub fn parts(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at(self.hole)
    }

    /// Appends the whole with `value` (escaped already, see [`escape_attr`]) in the hole.
    pub fn fill(&self, value: &[u8], out: &mut Vec<u8>) {
        let (before, after) = self.parts();
        out.reserve(self.bytes.len() + value.len());
        out.extend_from_slice(before);
        out.extend_from_slice(value);
        out.extend_from_slice(after);
    }
}

/// Appends text with `&`, `<`, `>` and carriage returns escaped and forbidden characters left out.
pub fn escape_text(text: &str, out: &mut Vec<u8>) {
    escape(text, out, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),
        b'\r' => Some(b"&#13;"),
        _ => None,
    });
}

/// Appends an attribute's value: as text, but also quotes, line feeds and tabs are escaped.
pub fn escape_attr(value: &str, out: &mut Vec<u8>) {
    escape(value, out, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),
        b'\'' => Some(b"&apos;"),
        b'"' => Some(b"&quot;"),
        b'\t' => Some(b"&#9;"),
        b'\n' => Some(b"&#10;"),
        b'\r' => Some(b"&#13;"),
        _ => None,
    });
}

/// Whether XML 1.0 allows the character (its production 2).
pub fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

fn escape(text: &str, out: &mut Vec<u8>, with: impl Fn(u8) -> Option<&'static [u8]>) {
    let bytes = text.as_bytes();
    let mut clean = 0;
    for (n, &byte) in bytes.iter().enumerate() {
        let (instead, len): (&[u8], usize) = match byte {
            // U+FFFE and U+FFFF are EF BF BE and EF BF BF.
            0xEF if matches!(bytes.get(n + 1..n + 3), Some([0xBF, 0xBE | 0xBF])) => (b"", 3),
            0..=0x1F if !matches!(byte, b'\t' | b'\n' | b'\r') => (b"", 1),
            _ => match with(byte) {
                Some(instead) => (instead, 1),
                None => continue,
            },
        };
        out.extend_from_slice(&bytes[clean..n]);
        out.extend_from_slice(instead);
        clean = n + len;
    }
    out.extend_from_slice(&bytes[clean..]);
}

/// The digits of a number, at the end of `digits`.
fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[at..]).expect("digits are ASCII")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(build: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut out = Vec::new();
        build(&mut Writer::in_stream(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn namespaces_are_declared_where_they_change() {
        let got = written(|w| {
            w.start("iq").attr("type", "result").opt_attr("id", Some("1")).opt_attr("to", None);
            w.start_ns("query", ns::DISCO_INFO).start("feature").attr_num("n", 1890).end().end();
            w.start_ns("x", ns::CLIENT).end();
            w.end();
        });
        assert_eq!(
            got,
            "<iq type='result' id='1'><query xmlns='http://jabber.org/protocol/disco#info'>\
             <feature n='1890'/></query><x/></iq>"
        );
    }

    #[test]
    fn what_could_break_a_stream_is_escaped_or_left_out() {
        let evil = "a\0b\u{1}<&>'\"\t\r\n\u{FFFE}\u{FFFF}\u{FFFD}]]>é";
        let got = written(|w| {
            w.start("a").attr("b", evil).text(evil).end();
        });
        assert_eq!(
            got,
            "<a b='ab&lt;&amp;&gt;&apos;&quot;&#9;&#13;&#10;\u{FFFD}]]&gt;é'>\
             ab&lt;&amp;&gt;'\"\t&#13;\n\u{FFFD}]]&gt;é</a>"
        );
    }

    #[test]
    fn one_encoding_serves_all_recipients() {
        let mut out = Vec::new();
        let hole = {
            let mut w = Writer::in_stream(&mut out);
            let hole = w.start("message").attr("from", "room@x/al").attr_hole("to");
            w.leaf("body", "hi").end();
            hole
        };
        let template = Template::new(out, hole);
        let mut filled = Vec::new();
        template.fill(b"bob@x/1", &mut filled);
        template.fill(b"eve@x/2", &mut filled);
        assert_eq!(
            String::from_utf8(filled).unwrap(),
            "<message from='room@x/al' to='bob@x/1'><body>hi</body></message>\
             <message from='room@x/al' to='eve@x/2'><body>hi</body></message>"
        );
    }

    #[test]
    fn forbidden_characters_are_those_of_production_2() {
        for c in ['\0', '\u{8}', '\u{B}', '\u{1F}', '\u{FFFE}', '\u{FFFF}'] {
            assert!(!is_xml_char(c));
        }
        for c in ['\t', ' ', '\u{7F}', '\u{D7FF}', '\u{E000}', '\u{FFFD}', '\u{10FFFF}'] {
            assert!(is_xml_char(c));
        }
    }
}
