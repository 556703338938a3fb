//! Whole elements as trees: the one file that names quick-xml.
//!
//! quick-xml finds the tokens; everything it lets pass and XML 1.0, Namespaces in XML or RFC 6120 §11 does not is
//! refused here: characters XML forbids, bad names, attributes without white space between them, two attributes of
//! one expanded name, undeclared prefixes, entities beyond the five, text or a second element outside the root.
//! Nothing recurses: a stack on the heap, bounded by [`XmlLimits::depth`], stands for nesting.

use crate::xmpp::error::XmlFault;
use crate::xmpp::framer::XmlLimits;
use crate::xmpp::ns;
use crate::xmpp::writer::{Writer, is_xml_char};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use smallvec::SmallVec;
use smol_str::SmolStr;
use std::borrow::Cow;

/// An element with all that is in it. Cloning is cheap for names and short texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The namespace, empty if none is in force.
    pub ns: SmolStr,
    /// The local name.
    pub name: SmolStr,
    /// Attributes in their order, without namespace declarations.
    pub attrs: Vec<Attr>,
    /// What it holds, in order; never two texts in a row, never an empty text, when read from bytes.
    pub children: Vec<Node>,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attr {
    /// The namespace; empty for attributes without prefix.
    pub ns: SmolStr,
    /// The local name.
    pub name: SmolStr,
    /// The value, with references resolved and white space normalised.
    pub value: SmolStr,
}

/// A child of an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// An element.
    Element(Element),
    /// Character data, with references resolved and line ends normalised.
    Text(SmolStr),
}

impl Element {
    /// An empty element.
    pub fn new(name: &str, namespace: &str) -> Element {
        Element { ns: ns::intern(namespace), name: name.into(), attrs: Vec::new(), children: Vec::new() }
    }

    /// The same with an attribute more.
    pub fn with_attr(mut self, name: &str, value: &str) -> Element {
        self.set_attr(name, value);
        self
    }

    /// The same with a child more.
    pub fn with_child(mut self, child: Element) -> Element {
        self.children.push(Node::Element(child));
        self
    }

    /// The same with text more.
    pub fn with_text(mut self, text: &str) -> Element {
        if !text.is_empty() {
            self.children.push(Node::Text(text.into()));
        }
        self
    }

    /// Whether it has this name and namespace.
    pub fn is(&self, name: &str, namespace: &str) -> bool {
        self.name == name && self.ns == namespace
    }

    /// The value of an attribute without namespace.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attr_ns(name, "")
    }

    /// The value of an attribute in a namespace.
    pub fn attr_ns(&self, name: &str, namespace: &str) -> Option<&str> {
        self.attrs.iter().find(|a| a.name == name && a.ns == namespace).map(|a| a.value.as_str())
    }

    /// The language given with `xml:lang` on this very element.
    pub fn lang(&self) -> Option<&str> {
        self.attr_ns("lang", ns::XML)
    }

    /// Sets an attribute without namespace, or replaces its value.
    pub fn set_attr(&mut self, name: &str, value: &str) {
        match self.attrs.iter_mut().find(|a| a.name == name && a.ns.is_empty()) {
            Some(attr) => attr.value = value.into(),
            None => {
                self.attrs.push(Attr { ns: SmolStr::default(), name: name.into(), value: value.into() });
            }
        }
    }

    /// Takes an attribute without namespace away.
    pub fn remove_attr(&mut self, name: &str) {
        self.attrs.retain(|a| a.name != name || !a.ns.is_empty());
    }

    /// The children that are elements.
    pub fn elements(&self) -> impl DoubleEndedIterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(el) => Some(el),
            Node::Text(_) => None,
        })
    }

    /// The first child element of this name and namespace.
    pub fn child(&self, name: &str, namespace: &str) -> Option<&Element> {
        self.elements().find(|el| el.is(name, namespace))
    }

    /// All child elements of this name and namespace.
    pub fn children_named<'a>(
        &'a self,
        name: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Element> {
        self.elements().filter(move |el| el.is(name, namespace))
    }

    /// Whether there is a child element of this name and namespace.
    pub fn has(&self, name: &str, namespace: &str) -> bool {
        self.child(name, namespace).is_some()
    }

    /// The text of the first child element of this name in the element's own namespace.
    pub fn child_text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.child(name, &self.ns).map(Element::text)
    }

    /// The text directly in the element.
    pub fn text(&self) -> Cow<'_, str> {
        let mut texts = self.children.iter().filter_map(|node| match node {
            Node::Text(text) => Some(text.as_str()),
            Node::Element(_) => None,
        });
        match (texts.next(), texts.next()) {
            (None, _) => Cow::Borrowed(""),
            (Some(one), None) => Cow::Borrowed(one),
            (Some(one), Some(two)) => {
                let mut all = format!("{one}{two}");
                all.extend(texts);
                Cow::Owned(all)
            }
        }
    }

    /// Takes away the child elements for which `unwanted` holds.
    pub fn remove_children(&mut self, mut unwanted: impl FnMut(&Element) -> bool) {
        self.children.retain(|node| match node {
            Node::Element(el) => !unwanted(el),
            Node::Text(_) => true,
        });
    }

    /// The element as it is written where `outer` is the default namespace.
    pub fn to_xml(&self, outer: &str) -> Vec<u8> {
        let mut out = Vec::new();
        Writer::within(&mut out, outer).element(self);
        out
    }
}

/// The prefixes in force for the children of a stream: what its header declared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    bindings: Vec<Binding>,
    tag: SmolStr,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Binding {
    /// Empty for the default namespace.
    prefix: SmolStr,
    uri: SmolStr,
}

/// Prefixes in force at one place; more would cost each look-up.
const MAX_BINDINGS: usize = 64;

impl Scope {
    /// Reads the start tag of a stream: the element without its content, and the scope of its children.
    ///
    /// # Errors
    /// The fault with which the stream has to end.
    pub fn open(header: &[u8], limits: &XmlLimits) -> Result<(Element, Scope), XmlFault> {
        let text = checked_text(header)?;
        let mut reader = Reader::from_str(text);
        let Ok(Event::Start(tag)) = reader.read_event() else {
            return Err(XmlFault::Malformed("a stream begins with a start tag"));
        };
        let mut bindings = Vec::new();
        let element = start(&tag, &mut bindings, limits)?;
        Ok((element, Scope { bindings, tag: SmolStr::new(tag.name().0) }))
    }

    /// What nearly every client declares: `jabber:client` by default, and the prefix `stream`.
    pub fn usual() -> Scope {
        let binding =
            |prefix, uri| Binding { prefix: SmolStr::new_static(prefix), uri: SmolStr::new_static(uri) };
        Scope {
            bindings: vec![binding("", ns::CLIENT), binding("stream", ns::STREAM)],
            tag: SmolStr::new_static("stream:stream"),
        }
    }

    /// Whether these bytes are the end tag that belongs to the header.
    pub fn is_close(&self, bytes: &[u8]) -> bool {
        bytes
            .strip_prefix(b"</")
            .and_then(|b| b.strip_prefix(self.tag.as_bytes()))
            .and_then(|b| b.strip_suffix(b">"))
            .is_some_and(|b| b.iter().all(u8::is_ascii_whitespace))
    }

    /// The default namespace of the stream's children.
    pub fn default_ns(&self) -> &str {
        resolve(&self.bindings, "").map_or("", SmolStr::as_str)
    }

    /// Reads one whole element.
    ///
    /// # Errors
    /// The fault with which the stream has to end.
    pub fn parse(&self, element: &[u8], limits: &XmlLimits) -> Result<Element, XmlFault> {
        let text = checked_text(element)?;
        let mut reader = Reader::from_str(text);
        let mut tree = Tree::new(self.bindings.clone(), limits);
        loop {
            match reader.read_event() {
                Ok(Event::Start(tag)) => tree.enter(&tag)?,
                Ok(Event::Empty(tag)) => {
                    tree.enter(&tag)?;
                    tree.leave()?;
                }
                Ok(Event::End(_)) => tree.leave()?,
                Ok(Event::Text(text)) => tree.text(&text.into_inner())?,
                Ok(Event::CData(data)) => tree.cdata(&data.into_inner())?,
                Ok(Event::GeneralRef(name)) => tree.reference(&name.into_inner())?,
                Ok(Event::Eof) => return tree.finish(),
                Ok(_) => return Err(XmlFault::Restricted("comments, instructions and DTDs are not allowed")),
                Err(_) => return Err(XmlFault::Malformed("tags, quotes or references do not match")),
            }
        }
    }
}

/// A tree under construction.
struct Tree<'a> {
    limits: &'a XmlLimits,
    bindings: Vec<Binding>,
    /// Open elements, and how many bindings were in force before each.
    open: SmallVec<[(Element, usize); 6]>,
    /// Character data since the last tag.
    pending: String,
    root: Option<Element>,
    elements: u32,
}

impl<'a> Tree<'a> {
    fn new(bindings: Vec<Binding>, limits: &'a XmlLimits) -> Tree<'a> {
        Tree { limits, bindings, open: SmallVec::new(), pending: String::new(), root: None, elements: 0 }
    }

    fn enter(&mut self, tag: &BytesStart<'_>) -> Result<(), XmlFault> {
        if self.root.is_some() {
            return Err(XmlFault::Malformed("a second element"));
        }
        self.elements += 1;
        if self.elements > self.limits.elements || self.open.len() >= usize::from(self.limits.depth) {
            return Err(XmlFault::TooBig("too many elements or levels of nesting"));
        }
        self.flush();
        let before = self.bindings.len();
        let element = start(tag, &mut self.bindings, self.limits)?;
        self.open.push((element, before));
        Ok(())
    }

    fn leave(&mut self) -> Result<(), XmlFault> {
        self.flush();
        let Some((element, before)) = self.open.pop() else {
            return Err(XmlFault::Malformed("an end tag without start"));
        };
        self.bindings.truncate(before);
        match self.open.last_mut() {
            Some((parent, _)) => parent.children.push(Node::Element(element)),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, raw: &str) -> Result<(), XmlFault> {
        if raw.contains("]]>") {
            return Err(XmlFault::Malformed("`]]>` in text"));
        }
        self.cdata(raw)
    }

    fn cdata(&mut self, raw: &str) -> Result<(), XmlFault> {
        if self.open.is_empty() {
            return Err(XmlFault::Malformed("text outside of the element"));
        }
        push_lines(raw, &mut self.pending);
        Ok(())
    }

    fn reference(&mut self, name: &str) -> Result<(), XmlFault> {
        if self.open.is_empty() {
            return Err(XmlFault::Malformed("text outside of the element"));
        }
        self.pending.push(resolve_reference(name)?);
        Ok(())
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        if let Some((parent, _)) = self.open.last_mut() {
            parent.children.push(Node::Text(SmolStr::new(&self.pending)));
        }
        self.pending.clear();
    }

    fn finish(self) -> Result<Element, XmlFault> {
        match self.root {
            Some(root) if self.open.is_empty() => Ok(root),
            _ => Err(XmlFault::Malformed("the element does not end")),
        }
    }
}

/// Reads a start tag: declares its prefixes in `bindings`, then resolves its names.
fn start(tag: &BytesStart<'_>, bindings: &mut Vec<Binding>, limits: &XmlLimits) -> Result<Element, XmlFault> {
    let mut raw: SmallVec<[(&str, &str, &str); 8]> = SmallVec::new();
    let mut rest = tag.attributes_raw();
    while let Some((name, value, after)) = next_attribute(rest)? {
        rest = after;
        let (prefix, local) = split_name(name)?;
        match (prefix, local) {
            ("", "xmlns") => declare(bindings, "", value)?,
            ("xmlns", prefix) => declare(bindings, prefix, value)?,
            _ => raw.push((prefix, local, value)),
        }
        if raw.len() > usize::from(limits.attributes) {
            return Err(XmlFault::TooBig("too many attributes"));
        }
    }
    let declared = bindings.len();
    check_declared_once(tag.attributes_raw(), declared)?;
    let (prefix, local) = split_name(tag.name().0)?;
    let namespace = resolve(bindings, prefix).cloned();
    let namespace = match (namespace, prefix) {
        (Some(uri), _) => uri,
        (None, "") => SmolStr::default(),
        (None, _) => return Err(XmlFault::Prefix("the prefix of an element is not declared")),
    };
    let mut attrs: Vec<Attr> = Vec::with_capacity(raw.len());
    for (prefix, local, value) in raw {
        let uri = match prefix {
            "" => SmolStr::default(),
            _ => resolve(bindings, prefix)
                .cloned()
                .ok_or(XmlFault::Prefix("the prefix of an attribute is not declared"))?,
        };
        if attrs.iter().any(|a| a.name == local && a.ns == uri) {
            return Err(XmlFault::Malformed("an attribute stands twice"));
        }
        attrs.push(Attr { ns: uri, name: local.into(), value: attribute_value(value)? });
    }
    Ok(Element { ns: namespace, name: local.into(), attrs, children: Vec::new() })
}

/// No prefix may be declared twice on one element.
fn check_declared_once(mut rest: &str, bindings: usize) -> Result<(), XmlFault> {
    if bindings < 2 {
        return Ok(());
    }
    let mut seen: SmallVec<[&str; 8]> = SmallVec::new();
    while let Some((name, _, after)) = next_attribute(rest)? {
        rest = after;
        if name == "xmlns" || name.starts_with("xmlns:") {
            if seen.contains(&name) {
                return Err(XmlFault::Malformed("an attribute stands twice"));
            }
            seen.push(name);
        }
    }
    Ok(())
}

fn declare(bindings: &mut Vec<Binding>, prefix: &str, value: &str) -> Result<(), XmlFault> {
    let uri = attribute_value(value)?;
    let allowed = match (prefix, uri.as_str()) {
        ("xml", uri) => uri == ns::XML,
        ("xmlns", _) | (_, ns::XML | ns::XMLNS) => false,
        ("", _) => true,
        (_, uri) => !uri.is_empty(),
    };
    if !allowed {
        return Err(XmlFault::Prefix("this prefix may not be declared so"));
    }
    if bindings.len() >= MAX_BINDINGS {
        return Err(XmlFault::TooBig("too many namespace declarations"));
    }
    bindings.push(Binding { prefix: prefix.into(), uri: ns::intern(&uri) });
    Ok(())
}

fn resolve<'a>(bindings: &'a [Binding], prefix: &str) -> Option<&'a SmolStr> {
    static XML: SmolStr = SmolStr::new_static(ns::XML);
    let found = bindings.iter().rev().find(|b| b.prefix == prefix).map(|b| &b.uri);
    if found.is_none() && prefix == "xml" { Some(&XML) } else { found }
}

/// Splits a qualified name into prefix (empty if none) and local part, both checked.
fn split_name(name: &str) -> Result<(&str, &str), XmlFault> {
    let (prefix, local) = match name.split_once(':') {
        Some(("", _)) => return Err(XmlFault::Malformed("bad name")),
        Some((prefix, local)) => (prefix, local),
        None => ("", name),
    };
    if is_ncname(local) && (prefix.is_empty() || is_ncname(prefix)) {
        Ok((prefix, local))
    } else {
        Err(XmlFault::Malformed("bad name"))
    }
}

/// Reads one attribute from what follows a tag's name: its name, its raw value, the rest. None: only white space is left.
fn next_attribute(rest: &str) -> Result<Option<(&str, &str, &str)>, XmlFault> {
    let bad = XmlFault::Malformed("bad attribute");
    let trimmed = rest.trim_start_matches(is_white);
    if trimmed.is_empty() {
        return Ok(None);
    }
    if trimmed.len() == rest.len() {
        return Err(XmlFault::Malformed("attributes without white space between them"));
    }
    let (name, after) = trimmed.split_once('=').ok_or(bad)?;
    let name = name.trim_end_matches(is_white);
    let after = after.trim_start_matches(is_white);
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(bad)?;
    let (value, rest) = after[1..].split_once(quote).ok_or(bad)?;
    if value.contains('<') {
        return Err(XmlFault::Malformed("`<` in an attribute"));
    }
    Ok(Some((name, value, rest)))
}

/// The value of an attribute: references resolved, white space to spaces (XML 1.0 §3.3.3).
fn attribute_value(raw: &str) -> Result<SmolStr, XmlFault> {
    if !raw.bytes().any(|b| matches!(b, b'&' | b'\t' | b'\n' | b'\r')) {
        return Ok(SmolStr::new(raw));
    }
    let mut value = String::with_capacity(raw.len());
    let mut parts = raw.split('&');
    push_spaces(parts.next().unwrap_or_default(), &mut value);
    for part in parts {
        let (name, text) = part.split_once(';').ok_or(XmlFault::Malformed("`&` without `;`"))?;
        value.push(resolve_reference(name)?);
        push_spaces(text, &mut value);
    }
    Ok(SmolStr::new(value))
}

fn push_spaces(raw: &str, value: &mut String) {
    let mut after_return = false;
    for c in raw.chars() {
        if !(c == '\n' && after_return) {
            value.push(if matches!(c, '\t' | '\n' | '\r') { ' ' } else { c });
        }
        after_return = c == '\r';
    }
}

/// Appends character data with its line ends made `\n` (XML 1.0 §2.11).
fn push_lines(raw: &str, text: &mut String) {
    let mut lines = raw.split('\r');
    text.push_str(lines.next().unwrap_or_default());
    for line in lines {
        text.push('\n');
        text.push_str(line.strip_prefix('\n').unwrap_or(line));
    }
}

/// The character behind what stands between `&` and `;`.
fn resolve_reference(name: &str) -> Result<char, XmlFault> {
    let bad = XmlFault::Malformed("bad character reference");
    match name {
        "amp" => return Ok('&'),
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "apos" => return Ok('\''),
        "quot" => return Ok('"'),
        _ => {}
    }
    let number = name.strip_prefix('#').ok_or(XmlFault::Restricted("only the five entities are allowed"))?;
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |hex| (hex, 16));
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(bad);
    }
    let code = u32::from_str_radix(digits, radix).map_err(|_| bad)?;
    char::from_u32(code).filter(|c| is_xml_char(*c)).ok_or(bad)
}

/// The bytes as text without the characters that XML 1.0 forbids.
fn checked_text(bytes: &[u8]) -> Result<&str, XmlFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| XmlFault::Encoding)?;
    let forbidden = |(n, &byte): (usize, &u8)| match byte {
        b'\t' | b'\n' | b'\r' => false,
        0..=0x1F => true,
        0xEF => matches!(bytes.get(n + 1..n + 3), Some([0xBF, 0xBE | 0xBF])),
        _ => false,
    };
    if bytes.iter().enumerate().any(forbidden) {
        return Err(XmlFault::Malformed("a character that XML forbids"));
    }
    Ok(text)
}

fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// A name without colon (Namespaces in XML, production 4).
fn is_ncname(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(is_name_start) && chars.all(is_name_char)
}

/// XML 1.0 production 4 without the colon.
fn is_name_start(c: char) -> bool {
    matches!(c, 'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}

/// XML 1.0 production 4a without the colon.
fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

#[cfg(test)]
mod tests;
