//! Where in a stream of bytes the next whole unit ends (RFC 6120 §11).
//!
//! The framer copies nothing. It cuts the stream into its header, each whole child element
//! and the closing tag; it refuses what XMPP forbids (DTD, comments, processing instructions) and what exceeds
//! [`XmlLimits`], before anything is stored, and an end tag that does not close what is open: waiting for the right one
//! would leave the client without a word. [`crate::xmpp::xml`] then sees whole elements only.
//!
//! It remembers how far it has looked, so that bytes that come one at a time cost no more than bytes that come at
//! once, and the cuts never change the outcome.

use crate::xmpp::error::XmlFault;
use smallvec::SmallVec;

/// Bounds on one unit of the stream; each is checked before memory is taken for what it bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XmlLimits {
    /// Bytes of one unit, from its `<` to its last `>`.
    pub bytes: usize,
    /// Levels of nesting below the stream element.
    pub depth: u16,
    /// Elements in one unit.
    pub elements: u32,
    /// Attributes (namespace declarations too) on one element.
    pub attributes: u16,
    /// Bytes of one tag (name, attributes and their values).
    pub tag: usize,
}

impl XmlLimits {
    /// Before login: enough for SASL, nothing more (RFC 6120 §13.12 asks for at least 10,000 bytes).
    pub const STRANGER: XmlLimits =
        XmlLimits { bytes: 16 * 1024, depth: 8, elements: 32, attributes: 16, tag: 4096 };
    /// After login: OMEMO messages and bundles to many devices, avatars and vCards fit.
    pub const MEMBER: XmlLimits =
        XmlLimits { bytes: 256 * 1024, depth: 64, elements: 4096, attributes: 64, tag: 32 * 1024 };
}

/// What a unit is; its bytes are the first `len` of those given to [`Framer::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// White space, a byte-order mark or the XML declaration: to be skipped.
    Blank,
    /// The start tag of the stream.
    Header,
    /// One whole child of the stream element.
    Element,
    /// The end tag of the stream.
    Close,
}

/// One whole unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// What it is.
    pub kind: Kind,
    /// How many bytes it takes; at least 1.
    pub len: usize,
}

/// Cuts a stream of bytes into units.
#[derive(Debug, Clone)]
pub struct Framer {
    limits: XmlLimits,
    at: usize,
    tag_from: usize,
    elements: u32,
    depth: u16,
    /// Where the names of the open elements of this unit begin; at most as many as `XmlLimits::depth`.
    open: SmallVec<[u32; 8]>,
    attributes: u16,
    state: State,
    opened: bool,
    marked: bool,
    begun: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between tags.
    Text,
    /// After `<`.
    Angle,
    /// In a start tag.
    Tag,
    /// In a start tag, after `/`.
    Slash,
    /// In a quoted value that ends with this byte.
    Quoted(u8),
    /// In an end tag.
    End,
    /// This many bytes into `<![CDATA[`, counted after `<!`.
    Bang(u8),
    /// In character data, after this many `]` (at most 2).
    Cdata(u8),
    /// In the XML declaration, after `?` or not.
    Declaration(bool),
}

const CDATA: &[u8] = b"[CDATA[";
const BOM: &[u8] = b"\xEF\xBB\xBF";

impl Framer {
    /// A framer at the start of a stream (also after STARTTLS and after SASL, where streams start anew).
    pub fn new(limits: XmlLimits) -> Framer {
        Framer {
            limits,
            at: 0,
            tag_from: 0,
            elements: 0,
            depth: 0,
            open: SmallVec::new(),
            attributes: 0,
            state: State::Text,
            opened: false,
            marked: false,
            begun: false,
        }
    }

    /// A framer between two stanzas of a stream whose header was read elsewhere.
    pub fn between(limits: XmlLimits) -> Framer {
        Framer { opened: true, begun: true, ..Framer::new(limits) }
    }

    /// From now on other limits hold; what was looked at already stays accepted.
    pub fn set_limits(&mut self, limits: XmlLimits) {
        self.limits = limits;
    }

    /// The first whole unit of `input`, or none if more bytes are needed.
    ///
    /// `input` begins where the last unit ended, and holds at least what it held at the last call. After a unit the
    /// caller takes its bytes away before calling again.
    ///
    /// # Errors
    /// The fault with which the stream has to end. Nothing may be asked afterwards.
    pub fn next(&mut self, input: &[u8]) -> Result<Option<Unit>, XmlFault> {
        if self.at == 0 && self.state == State::Text && self.depth == 0 {
            if let Some(blank) = self.blank(input)? {
                return Ok(Some(Unit { kind: Kind::Blank, len: blank }));
            }
            match input.first() {
                None => return Ok(None),
                Some(b'<') => {}
                // The start of a byte-order mark whose rest has not come yet.
                Some(_) if !self.begun && !self.marked && BOM.starts_with(input) => return Ok(None),
                Some(_) if self.opened => return Err(XmlFault::Format("text between stanzas")),
                Some(_) if input.starts_with(b"\xFE") || input.starts_with(b"\xFF") => {
                    return Err(XmlFault::Encoding);
                }
                Some(_) => return Err(XmlFault::Malformed("this is not XML")),
            }
        }
        // Nothing past a limit is looked at: where a fault is found must not depend on how the bytes were cut.
        let window = input.get(..self.limits.bytes).unwrap_or(input);
        while let Some(rest) = window.get(self.at..).filter(|r| !r.is_empty()) {
            if let Some(kind) = self.step(window, rest)? {
                let len = self.at;
                self.restart();
                return Ok(Some(Unit { kind, len }));
            }
        }
        if self.at >= self.limits.bytes {
            return Err(XmlFault::TooBig("this element has too many bytes"));
        }
        Ok(None)
    }

    /// White space between units (and the mark at the very start): how many bytes of it there are.
    fn blank(&mut self, input: &[u8]) -> Result<Option<usize>, XmlFault> {
        if !self.begun && !self.marked && input.starts_with(BOM) {
            self.marked = true;
            return Ok(Some(BOM.len()));
        }
        let white = input.iter().take_while(|b| is_white(**b)).count();
        if white > 0 {
            // White space before the declaration is no declaration's place (XML 1.0 §2.8), but harmless: clients end an
            // element with a line break, and the stream begins anew behind the element (RFC 6120 §6.4.6).
            self.marked = true;
        }
        Ok((white > 0).then_some(white))
    }

    fn restart(&mut self) {
        self.at = 0;
        self.tag_from = 0;
        self.elements = 0;
        self.attributes = 0;
        self.state = State::Text;
        self.begun = true;
        debug_assert_eq!(self.depth, 0, "a unit ends at the level of the stream");
    }

    /// Consumes some of `rest`, the end of `unit` and not empty; tells if the unit is complete.
    fn step(&mut self, unit: &[u8], rest: &[u8]) -> Result<Option<Kind>, XmlFault> {
        match self.state {
            State::Text => {
                let skip = memchr::memchr(b'<', rest);
                self.at += skip.map_or(rest.len(), |n| n + 1);
                if skip.is_some() {
                    self.state = State::Angle;
                }
                Ok(None)
            }
            State::Angle => self.angle(rest[0]),
            State::Tag | State::Slash | State::Quoted(_) => self.tag(rest),
            State::End => {
                let rest = self.within_tag(rest);
                let Some(end) = memchr::memchr(b'>', rest) else {
                    self.at += rest.len();
                    return self.check_tag().map(|()| None);
                };
                self.at += end + 1;
                self.leave(unit)
            }
            State::Bang(n) => {
                if rest[0] != CDATA[usize::from(n)] {
                    return Err(XmlFault::Restricted("comments and DTDs are not allowed"));
                }
                self.at += 1;
                let next = n + 1;
                self.state =
                    if usize::from(next) == CDATA.len() { State::Cdata(0) } else { State::Bang(next) };
                Ok(None)
            }
            State::Cdata(brackets) => {
                self.cdata(rest, brackets);
                Ok(None)
            }
            State::Declaration(question) => self.declaration(rest[0], question),
        }
    }

    fn angle(&mut self, byte: u8) -> Result<Option<Kind>, XmlFault> {
        self.at += 1;
        self.tag_from = self.at;
        self.state = match byte {
            b'/' if self.depth > 0 || self.opened => State::End,
            b'!' if self.depth > 0 => State::Bang(0),
            b'!' => {
                return Err(XmlFault::Restricted("comments, DTDs and character data are not allowed here"));
            }
            b'?' if !self.begun && !self.opened && self.at == 2 => State::Declaration(false),
            b'?' => return Err(XmlFault::Restricted("processing instructions are not allowed")),
            b'A'..=b'Z' | b'a'..=b'z' | b'_' | 0x80.. => {
                self.elements += 1;
                if self.elements > self.limits.elements {
                    return Err(XmlFault::TooBig("too many elements"));
                }
                self.attributes = 0;
                State::Tag
            }
            _ => return Err(XmlFault::Malformed("`<` begins no tag")),
        };
        Ok(None)
    }

    /// In a start tag: looks for its end, counts its attributes.
    fn tag(&mut self, rest: &[u8]) -> Result<Option<Kind>, XmlFault> {
        let rest = self.within_tag(rest);
        for (n, &byte) in rest.iter().enumerate() {
            match (self.state, byte) {
                (State::Quoted(quote), _) if byte == quote => self.state = State::Tag,
                (State::Quoted(_), b'<') => return Err(XmlFault::Malformed("`<` in an attribute")),
                (State::Quoted(_), _) => {}
                (State::Slash, b'>') => {
                    self.at += n + 1;
                    return self.empty();
                }
                (State::Slash, _) => return Err(XmlFault::Malformed("`/` in a tag")),
                (_, b'>') => {
                    self.at += n + 1;
                    return self.enter();
                }
                (_, b'/') => self.state = State::Slash,
                (_, b'<') => return Err(XmlFault::Malformed("`<` in a tag")),
                (_, b'"' | b'\'') => self.state = State::Quoted(byte),
                (_, b'=') => {
                    self.attributes += 1;
                    if self.attributes > self.limits.attributes {
                        return Err(XmlFault::TooBig("too many attributes"));
                    }
                }
                _ => {}
            }
        }
        self.at += rest.len();
        self.check_tag().map(|()| None)
    }

    /// The part of `rest` that a tag may still take.
    fn within_tag<'a>(&self, rest: &'a [u8]) -> &'a [u8] {
        let left = self.limits.tag.saturating_sub(self.at - self.tag_from);
        rest.get(..left).unwrap_or(rest)
    }

    /// After all bytes that a tag may take: it ought to have ended.
    fn check_tag(&self) -> Result<(), XmlFault> {
        if self.at - self.tag_from >= self.limits.tag {
            return Err(XmlFault::TooBig("this tag is too long"));
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<Option<Kind>, XmlFault> {
        self.state = State::Text;
        if !self.opened {
            self.opened = true;
            return Ok(Some(Kind::Header));
        }
        if self.depth >= self.limits.depth {
            return Err(XmlFault::TooBig("too many levels of nesting"));
        }
        self.depth += 1;
        // The first byte of the name is before `tag_from`.
        self.open.push((self.tag_from - 1) as u32);
        Ok(None)
    }

    fn empty(&mut self) -> Result<Option<Kind>, XmlFault> {
        self.state = State::Text;
        if !self.opened {
            return Err(XmlFault::Format("a stream that is over at once"));
        }
        if self.depth >= self.limits.depth {
            return Err(XmlFault::TooBig("too many levels of nesting"));
        }
        Ok((self.depth == 0).then_some(Kind::Element))
    }

    fn leave(&mut self, unit: &[u8]) -> Result<Option<Kind>, XmlFault> {
        self.state = State::Text;
        if self.depth == 0 {
            return Ok(Some(Kind::Close));
        }
        let opened = self.open.pop().and_then(|from| unit.get(from as usize..)).map(name);
        if opened != unit.get(self.tag_from..).map(name) {
            return Err(XmlFault::Malformed("an end tag closes another element than the open one"));
        }
        self.depth -= 1;
        Ok((self.depth == 0).then_some(Kind::Element))
    }

    fn cdata(&mut self, rest: &[u8], mut brackets: u8) {
        for (n, &byte) in rest.iter().enumerate() {
            match byte {
                b'>' if brackets == 2 => {
                    self.at += n + 1;
                    self.state = State::Text;
                    return;
                }
                b']' => brackets = (brackets + 1).min(2),
                _ => brackets = 0,
            }
        }
        self.at += rest.len();
        self.state = State::Cdata(brackets);
    }

    /// In `<?…`: nothing but an XML declaration may stand here; its words are checked by `check_declaration`.
    fn declaration(&mut self, byte: u8, question: bool) -> Result<Option<Kind>, XmlFault> {
        self.at += 1;
        if self.at > MAX_DECLARATION {
            return Err(XmlFault::Restricted("this is no XML declaration"));
        }
        if question && byte == b'>' {
            return Ok(Some(Kind::Blank));
        }
        self.state = State::Declaration(byte == b'?');
        Ok(None)
    }
}

/// Bytes of the longest XML declaration we look at.
const MAX_DECLARATION: usize = 128;

/// Whether a [`Kind::Blank`] unit is fit: white space, a byte-order mark, or a declaration of XML 1.0 in UTF-8.
///
/// # Errors
/// [`XmlFault::Encoding`] for another encoding, [`XmlFault::Restricted`] for a processing instruction.
pub fn check_blank(unit: &[u8]) -> Result<(), XmlFault> {
    let Some(inner) = unit.strip_prefix(b"<?").and_then(|u| u.strip_suffix(b"?>")) else {
        return Ok(());
    };
    let inner = std::str::from_utf8(inner).map_err(|_| XmlFault::Malformed("bad XML declaration"))?;
    let Some(rest) = inner.strip_prefix("xml").filter(|r| r.starts_with([' ', '\t', '\r', '\n'])) else {
        return Err(XmlFault::Restricted("processing instructions are not allowed"));
    };
    let (version, rest) = pseudo_attribute(rest, "version")?
        .ok_or(XmlFault::Malformed("an XML declaration without version"))?;
    if version != "1.0" {
        return Err(XmlFault::Malformed("only XML 1.0 is spoken here"));
    }
    let (encoding, rest) = pseudo_attribute(rest, "encoding")?.unwrap_or(("utf-8", rest));
    if !encoding.eq_ignore_ascii_case("utf-8") {
        return Err(XmlFault::Encoding);
    }
    let (standalone, rest) = pseudo_attribute(rest, "standalone")?.unwrap_or(("yes", rest));
    if !matches!(standalone, "yes" | "no") || !rest.trim_matches(is_white_char).is_empty() {
        return Err(XmlFault::Malformed("bad XML declaration"));
    }
    Ok(())
}

/// Reads ` name = "value"` from the start of `rest`: the value and what follows it.
fn pseudo_attribute<'a>(rest: &'a str, name: &str) -> Result<Option<(&'a str, &'a str)>, XmlFault> {
    let bad = XmlFault::Malformed("bad XML declaration");
    let trimmed = rest.trim_start_matches(is_white_char);
    let Some(after) = trimmed.strip_prefix(name).filter(|_| trimmed.len() < rest.len()) else {
        return Ok(None);
    };
    let value = after.trim_start_matches(is_white_char).strip_prefix('=').ok_or(bad)?;
    let value = value.trim_start_matches(is_white_char);
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(bad)?;
    value[1..].split_once(quote).map(Some).ok_or(bad)
}

/// The name that a tag's bytes begin with.
fn name(tag: &[u8]) -> &[u8] {
    let end = tag.iter().position(|b| is_white(*b) || matches!(b, b'/' | b'>'));
    end.map_or(tag, |end| &tag[..end])
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_white_char(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const OPEN: &str =
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='s' to=\"a>b\">";

    /// Feeds `input` in pieces of the given sizes, over and over; the units, or the fault after them.
    fn frame(input: &[u8], cuts: &[usize], limits: XmlLimits) -> (Vec<(Kind, Vec<u8>)>, Option<XmlFault>) {
        let mut framer = Framer::new(limits);
        let (mut units, mut buffer, mut rest) = (Vec::new(), Vec::new(), input);
        let mut sizes = cuts.iter().cycle();
        while !rest.is_empty() {
            let n = (*sizes.next().unwrap()).clamp(1, rest.len());
            buffer.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            loop {
                match framer.next(&buffer) {
                    Ok(Some(Unit { kind, len })) => {
                        let bytes: Vec<u8> = buffer.drain(..len).collect();
                        if kind == Kind::Blank {
                            if let Err(fault) = check_blank(&bytes) {
                                return (units, Some(fault));
                            }
                        } else {
                            units.push((kind, bytes));
                        }
                    }
                    Ok(None) => break,
                    Err(fault) => return (units, Some(fault)),
                }
            }
        }
        (units, None)
    }

    fn text(units: &[(Kind, Vec<u8>)]) -> Vec<(Kind, String)> {
        units.iter().map(|(k, b)| (*k, String::from_utf8(b.clone()).unwrap())).collect()
    }

    #[test]
    fn a_stream_falls_into_header_elements_and_close() {
        let input =
            format!("\u{FEFF}{OPEN} \n<a/><b x='1/>'><c><![CDATA[</b>]]]></c>t</b>\n</stream:stream>");
        let (units, fault) = frame(input.as_bytes(), &[1], XmlLimits::MEMBER);
        assert_eq!(fault, None);
        let units = text(&units);
        assert_eq!(units[0], (Kind::Header, OPEN[21..].to_owned()));
        assert_eq!(units[1], (Kind::Element, "<a/>".into()));
        assert_eq!(units[2], (Kind::Element, "<b x='1/>'><c><![CDATA[</b>]]]></c>t</b>".into()));
        assert_eq!(units[3], (Kind::Close, "</stream:stream>".into()));
    }

    #[test]
    fn what_xmpp_forbids_is_refused() {
        let cases: &[(&str, XmlFault)] = &[
            ("<!DOCTYPE a>", XmlFault::Restricted("")),
            ("<a><!-- x --></a>", XmlFault::Restricted("")),
            ("<a><?php ?></a>", XmlFault::Restricted("")),
            ("<?xml version='1.0'?>", XmlFault::Restricted("")),
            ("<![CDATA[x]]>", XmlFault::Restricted("")),
            ("hello", XmlFault::Format("")),
            ("< a/>", XmlFault::Malformed("")),
            ("<a <b/>", XmlFault::Malformed("")),
            ("<a x='<'/>", XmlFault::Malformed("")),
            ("<a / >", XmlFault::Malformed("")),
        ];
        for (input, want) in cases {
            let (units, fault) = frame(format!("{OPEN}{input}").as_bytes(), &[7], XmlLimits::MEMBER);
            assert_eq!(units.len(), 1, "{input}");
            let fault = fault.unwrap_or_else(|| panic!("{input} was accepted"));
            assert_eq!(fault.condition(), want.condition(), "{input}");
        }
    }

    #[test]
    fn declarations_other_than_utf8_are_refused() {
        for (decl, want) in [
            ("<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>", None),
            ("<?xml version=\"1.0\" encoding='iso-8859-1'?>", Some(XmlFault::Encoding)),
            ("<?xml version='1.1'?>", Some(XmlFault::Malformed("only XML 1.0 is spoken here"))),
            (
                "<?xml-stylesheet href='x'?>",
                Some(XmlFault::Restricted("processing instructions are not allowed")),
            ),
            ("<?xml version='1.0' foo='bar'?>", Some(XmlFault::Malformed("bad XML declaration"))),
        ] {
            assert_eq!(frame(decl.as_bytes(), &[1], XmlLimits::STRANGER).1, want, "{decl}");
        }
        assert_eq!(frame(b"\xFE\xFF\x00<", &[9], XmlLimits::STRANGER).1, Some(XmlFault::Encoding));
        assert_eq!(
            frame(b"GET / HTTP/1.1", &[3], XmlLimits::STRANGER).1,
            Some(XmlFault::Malformed("this is not XML"))
        );
    }

    #[test]
    fn each_limit_is_met_before_the_element_is_whole() {
        let tight = XmlLimits { bytes: 200, depth: 3, elements: 4, attributes: 4, tag: 120 };
        for (input, ok) in [
            ("<a><b><c/></b></a>", true),
            ("<a><b><c><d/>", false),
            ("<a><b/><b/><b/></a>", true),
            ("<a><b/><b/><b/><b", false),
            ("<a b='' c='' d='' e=''/>", true),
            ("<a b='' c='' d='' e='' f=", false),
        ] {
            let (_, fault) = frame(format!("{OPEN}{input}").as_bytes(), &[1], tight);
            assert_eq!(fault.is_none(), ok, "{input}");
        }
        let long = format!("{OPEN}<a>{}", "x".repeat(300));
        assert_eq!(
            frame(long.as_bytes(), &[50], tight).1,
            Some(XmlFault::TooBig("this element has too many bytes"))
        );
        let tag = format!("{OPEN}<a b='{}", "x".repeat(130));
        assert_eq!(frame(tag.as_bytes(), &[1], tight).1, Some(XmlFault::TooBig("this tag is too long")));
    }

    proptest! {
        #[test]
        fn cuts_never_change_the_outcome(
            parts in proptest::collection::vec(proptest::sample::select(vec![
                "<a>", "</a>", "<a/>", "<b x='>' y=\"'\">", "</b>", "text", " ", "\n", "<![CDATA[", "]]>", "]", "<!--",
                "<?x", "?>", "&amp;", "</stream:stream>", "<", ">", "'", "é",
            ]), 0..30),
            cuts in proptest::collection::vec(1usize..40, 1..8),
        ) {
            let input = format!("{OPEN}{}", parts.concat());
            let limits = XmlLimits { bytes: 150, depth: 4, elements: 6, attributes: 4, tag: 130 };
            let whole = frame(input.as_bytes(), &[usize::MAX], limits);
            prop_assert_eq!(&whole, &frame(input.as_bytes(), &[1], limits));
            prop_assert_eq!(&whole, &frame(input.as_bytes(), &cuts, limits));
        }
    }

    #[test]
    fn an_end_tag_that_closes_something_else_is_told_at_once() {
        for bad in ["<message><body>x</message>", "<a><b></b ></c>", "<a><bc></b>", "<a><b></bc>"] {
            for cuts in [&[1][..], &[3, 1], &[1000]] {
                let input = format!("{OPEN}{bad}");
                let (units, fault) = frame(input.as_bytes(), cuts, XmlLimits::MEMBER);
                assert!(matches!(fault, Some(XmlFault::Malformed(_))), "{bad} {cuts:?} {fault:?}");
                assert!(units.iter().all(|u| u.0 == Kind::Header), "{bad}");
            }
        }
        let good = format!("{OPEN}<a><b:c x='/'></b:c \n></a>");
        assert_eq!(frame(good.as_bytes(), &[1], XmlLimits::MEMBER).1, None);
    }
}
