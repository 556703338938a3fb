//! XMPP over WebSocket (RFC 7395): every message is one whole XML document, the stream's header and end are the elements
//! `<open/>` and `<close/>`.
//!
//! The session knows nothing of it: what comes in becomes the stream it would get over TCP, and the stream it writes
//! becomes messages.

use crate::http::websocket::{CloseCode, Failure, Opcode, frame};
use crate::xmpp::framer::{Framer, Kind, XmlLimits};
use crate::xmpp::ns;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::{Element, Scope};
use lavina_core::limits::Limits;

/// The subprotocol.
pub const SUBPROTOCOL: &str = "xmpp";

/// Bounds on what the server itself writes: none.
const OUTWARD: XmlLimits = XmlLimits {
    bytes: usize::MAX,
    depth: u16::MAX,
    elements: u32::MAX,
    attributes: u16::MAX,
    tag: usize::MAX,
};

/// Stanzas to messages and back.
#[derive(Debug)]
pub struct Framing {
    limits: XmlLimits,
    /// The client opened a stream, and may not open another before it has logged in.
    opened: bool,
    /// A unit that is not whole yet.
    rest: Vec<u8>,
}

/// Most bytes of a message; a longer one ends the WebSocket.
#[must_use]
pub fn message_max(limits: &Limits) -> usize {
    XmlLimits::MEMBER.bytes.min(limits.inbox)
}

const fn broken(why: &'static str) -> Failure {
    Failure { code: CloseCode::PROTOCOL, why }
}

impl Framing {
    /// Nothing has been said.
    #[must_use]
    pub fn new(limits: &Limits) -> Framing {
        let limits = XmlLimits { bytes: message_max(limits), ..XmlLimits::MEMBER };
        Framing { limits, opened: false, rest: Vec::new() }
    }

    /// A message came: appends what it is in a stream.
    ///
    /// # Errors
    /// For what is not one whole element (§3.3.3). What XMPP forbids is left to the session, which has the words for it.
    pub fn inward(&mut self, message: &str, plain: &mut Vec<u8>) -> Result<(), Failure> {
        let text = without_declaration(message.trim());
        if text.is_empty() {
            return Ok(());
        }
        match Framer::between(self.limits).next(text.as_bytes()) {
            Ok(Some(unit)) if unit.kind == Kind::Element && unit.len == text.len() => {}
            Ok(_) => return Err(broken("a message is not one whole element")),
            Err(_) => {
                plain.extend_from_slice(text.as_bytes());
                return Ok(());
            }
        }
        if (text.starts_with("<open") || text.starts_with("<close"))
            && let Ok(element) = Scope::default().parse(text.as_bytes(), &self.limits)
            && element.ns == ns::FRAMING
        {
            return self.framed(&element, plain);
        }
        if !self.opened {
            return Err(broken("the stream is not open"));
        }
        plain.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// One of the two elements that stand for the ends of a stream (§3.4, §3.6).
    fn framed(&mut self, element: &Element, plain: &mut Vec<u8>) -> Result<(), Failure> {
        if element.name == "close" {
            if self.opened {
                plain.extend_from_slice(b"</stream:stream>");
                return Ok(());
            }
            return Err(Failure { code: CloseCode::NORMAL, why: "closed before it was open" });
        }
        if std::mem::replace(&mut self.opened, true) {
            return Err(broken("the stream is open already"));
        }
        let mut tag = Vec::new();
        let mut w = Writer::within(&mut tag, "");
        w.start_ns("stream:stream", ns::CLIENT).attr("xmlns:stream", ns::STREAM);
        for name in ["to", "from", "version"] {
            w.opt_attr(name, element.attr(name));
        }
        w.opt_attr("xml:lang", element.lang()).close_tag();
        drop(w);
        plain.extend_from_slice(&tag);
        Ok(())
    }

    /// A part of the stream is to be sent: appends a frame for each unit in it.
    pub fn outward(&mut self, plain: &[u8], frames: &mut Vec<u8>) {
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(plain);
        let mut at = 0;
        while let Some((message, used)) = self.message(&rest[at..]) {
            at += used;
            if !message.is_empty() {
                frame(Opcode::Text, &message, frames);
            }
        }
        rest.drain(..at);
        self.rest = rest;
    }

    /// The message that the first unit becomes, empty for none, and the bytes it takes.
    fn message(&mut self, plain: &[u8]) -> Option<(Vec<u8>, usize)> {
        const END: &[u8] = b"</stream:stream>";
        let blank = plain.iter().take_while(|b| b.is_ascii_whitespace()).count();
        if blank > 0 {
            return Some((Vec::new(), blank));
        }
        if plain.starts_with(END) {
            return Some((element(|w| _ = w.empty_ns("close", ns::FRAMING)), END.len()));
        }
        if plain.starts_with(b"<?xml") {
            return Some((Vec::new(), memchr::memchr(b'>', plain)? + 1));
        }
        if plain.starts_with(b"<stream:stream ") {
            let end = tag_end(plain)?;
            let (header, _) = Scope::open(&plain[..end], &OUTWARD).ok()?;
            return Some((opening(&header), end));
        }
        let unit = Framer::between(OUTWARD).next(plain).ok().flatten()?;
        let stanza = &plain[..unit.len];
        let tag = &stanza[..tag_end(stanza).unwrap_or(stanza.len())];
        if tag.starts_with(b"<success") && memchr::memmem::find(tag, ns::SASL.as_bytes()).is_some() {
            self.opened = false;
        }
        Some((document(stanza), unit.len))
    }
}

/// A message that holds one element.
fn element(build: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut Writer::within(&mut out, ""));
    out
}

/// Our header as `<open/>`.
fn opening(header: &Element) -> Vec<u8> {
    element(|w| {
        w.start_ns("open", ns::FRAMING);
        for name in ["from", "to", "id", "version"] {
            w.opt_attr(name, header.attr(name));
        }
        w.opt_attr("xml:lang", header.lang()).end();
    })
}

/// An XML declaration may stand before an element and says nothing.
fn without_declaration(text: &str) -> &str {
    let declared = text.starts_with("<?xml ").then(|| text.split_once("?>")).flatten();
    declared.map_or(text, |(_, after)| after.trim_start())
}

/// Where the start tag that begins `bytes` ends, its `>` included.
fn tag_end(bytes: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// A child of the stream as a document of its own: with the declarations that the stream's header made for it.
fn document(stanza: &[u8]) -> Vec<u8> {
    let name = stanza.iter().take_while(|b| !b.is_ascii_whitespace() && !matches!(b, b'/' | b'>')).count();
    let (name, rest) = stanza.split_at(name);
    let (attribute, namespace) = match name.starts_with(b"<stream:") {
        true => ("xmlns:stream", ns::STREAM),
        false => ("xmlns", ns::CLIENT),
    };
    let tag = &rest[..tag_end(rest).unwrap_or(rest.len())];
    if declares(tag, attribute) {
        return stanza.to_vec();
    }
    let mut out = Vec::with_capacity(stanza.len() + 64);
    out.extend_from_slice(name);
    out.extend_from_slice(format!(" {attribute}='{namespace}'").as_bytes());
    out.extend_from_slice(rest);
    out
}

/// Whether a tag has an attribute of that name; values are passed over.
fn declares(tag: &[u8], attribute: &str) -> bool {
    let mut quote = None;
    let mut word = Vec::new();
    for byte in tag {
        match (quote, byte) {
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'=') if word == attribute.as_bytes() => return true,
            (None, b' ' | b'\t' | b'\n' | b'\r' | b'=') => word.clear(),
            (None, byte) => word.push(*byte),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a.example' version='1.0'/>";

    fn inward(messages: &[&str]) -> Result<String, u16> {
        let (mut framing, mut plain) = (Framing::new(&Limits::LARGE), Vec::new());
        for message in messages {
            framing.inward(message, &mut plain).map_err(|f| f.code.0)?;
        }
        Ok(String::from_utf8(plain).expect("text"))
    }

    /// The messages that a stream becomes, however it is cut.
    fn outward(plain: &str) -> Vec<String> {
        let read = |cut: usize| {
            let (mut framing, mut frames, mut messages) =
                (Framing::new(&Limits::LARGE), Vec::new(), Vec::new());
            plain.as_bytes().chunks(cut).for_each(|part| framing.outward(part, &mut frames));
            let mut rest = &frames[..];
            while let [0x81, length, after @ ..] = rest {
                let (length, after) = match length {
                    126 => (usize::from(after[0]) << 8 | usize::from(after[1]), &after[2..]),
                    n => (usize::from(*n), after),
                };
                messages.push(String::from_utf8(after[..length].to_vec()).expect("text"));
                rest = &after[length..];
            }
            assert!(rest.is_empty());
            messages
        };
        assert_eq!(read(1), read(plain.len()));
        read(7)
    }

    #[test]
    fn what_comes_in_becomes_a_stream() {
        let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                      to='a.example' version='1.0'>";
        let iq = "<iq xmlns='jabber:client' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>";
        let close = "<close xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\" />";
        let declared = format!("<?xml version='1.0'?>{OPEN}");
        assert_eq!(inward(&[&declared, " ", iq, close]), Ok(format!("{header}{iq}</stream:stream>")));
        // Not ours to judge.
        assert_eq!(inward(&[OPEN, "<iq></message>"]), Ok(format!("{header}<iq></message>")));
        assert_eq!(inward(&[OPEN, "<!-- x -->"]), Ok(format!("{header}<!-- x -->")));
    }

    #[test]
    fn what_is_not_one_element_is_refused() {
        for messages in [
            &["<iq/>"][..],
            &[OPEN, OPEN],
            &[OPEN, "<iq>"],
            &[OPEN, "<iq/><iq/>"],
            &[OPEN, "<iq/> x"],
            &[OPEN, "</stream:stream>"],
            &["<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"],
        ] {
            assert_eq!(inward(messages), Err(1002), "{messages:?}");
        }
        assert_eq!(inward(&["<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"]), Err(1000));
    }

    #[test]
    fn the_stream_becomes_documents() {
        let got = outward(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' from='a.example' id='x&gt;&apos;' version='1.0' xml:lang='en'>\
             <stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features> \
             <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>\
             <message to='b' id=' xmlns='><body>xmlns='></body></message><presence/>\
             <r xmlns='urn:xmpp:sm:3'/><iq type='result' xmlns='jabber:client'/></stream:stream>",
        );
        let expected = [
            "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='a.example' id='x&gt;&apos;' version='1.0' xml:lang='en'/>",
            "<stream:features xmlns:stream='http://etherx.jabber.org/streams'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
             </stream:features>",
            "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
            "<message xmlns='jabber:client' to='b' id=' xmlns='><body>xmlns='></body></message>",
            "<presence xmlns='jabber:client'/>",
            "<r xmlns='urn:xmpp:sm:3'/>",
            "<iq type='result' xmlns='jabber:client'/>",
            "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn a_stream_may_begin_anew_after_the_login() {
        // Unless the login is of the kind after which it goes on (XEP-0388).
        let mut framing = Framing::new(&Limits::LARGE);
        assert!(framing.inward(OPEN, &mut Vec::new()).is_ok());
        framing.outward(b"<success xmlns='urn:xmpp:sasl:2'/>", &mut Vec::new());
        assert!(framing.inward("<iq/>", &mut Vec::new()).is_ok());
        let mut framing = Framing::new(&Limits::LARGE);
        let mut plain = Vec::new();
        assert!(framing.inward(OPEN, &mut plain).is_ok());
        framing.outward(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", &mut Vec::new());
        assert!(framing.inward(OPEN, &mut plain).is_ok());
        assert!(framing.inward(OPEN, &mut plain).is_err());
    }
}
