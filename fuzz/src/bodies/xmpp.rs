//! XMPP: the cutting of a stream into elements, their reading and writing, addresses.

use lavina_codecs::xmpp::framer::{Framer, Kind, XmlLimits};
use lavina_codecs::xmpp::jid::{Jid, esc, unesc};
use lavina_codecs::xmpp::xml::{Element, Scope};

/// Small, so that bytes reach the limits.
const TINY: XmlLimits = XmlLimits { bytes: 400, depth: 4, elements: 8, attributes: 4, tag: 120 };

/// Any bytes as a stream: the cuts change nothing, under tiny limits and under a member's.
pub fn framer(data: &[u8]) {
    for limits in [TINY, XmlLimits::MEMBER] {
        let whole = cut(data, data.len().max(1), limits);
        assert_eq!(cut(data, 1, limits), whole, "byte by byte");
        assert_eq!(cut(data, 7, limits), whole, "in sevens");
    }
}

/// The units of a stream that arrives in chunks, and whether it ended with a fault.
fn cut(data: &[u8], size: usize, limits: XmlLimits) -> (Vec<(Kind, Vec<u8>)>, bool) {
    let (mut framer, mut buffer, mut units) =
        (Framer::new(limits), Vec::new(), Vec::<(Kind, Vec<u8>)>::new());
    for chunk in data.chunks(size) {
        buffer.extend_from_slice(chunk);
        loop {
            match framer.next(&buffer) {
                Ok(None) => break,
                Ok(Some(unit)) => {
                    assert!(unit.len > 0 && unit.len <= buffer.len(), "a unit takes what is there");
                    let bytes = buffer.drain(..unit.len);
                    match units.last_mut() {
                        // White space between elements may come in pieces.
                        Some((Kind::Blank, last)) if unit.kind == Kind::Blank => last.extend(bytes),
                        _ => units.push((unit.kind, bytes.collect())),
                    }
                }
                Err(_) => return (units, true),
            }
        }
    }
    (units, false)
}

/// Any bytes as a stream: every element that can be read can be written, and reads back the same.
pub fn stream(data: &[u8]) {
    let limits = XmlLimits::STRANGER;
    let (units, _) = cut(data, data.len().max(1), limits);
    let mut scope: Option<Scope> = None;
    for (kind, bytes) in units {
        match (kind, &scope) {
            (Kind::Header, None) => {
                let Ok((_, opened)) = Scope::open(&bytes, &limits) else { return };
                scope = Some(opened);
            }
            (Kind::Element, Some(open)) => {
                let Ok(element) = open.parse(&bytes, &limits) else { return };
                written(&element);
            }
            (Kind::Close, Some(open)) => {
                let _ = open.is_close(&bytes);
            }
            _ => {}
        }
    }
}

/// What is written reads back as itself.
fn written(element: &Element) {
    let xml = element.to_xml("jabber:client");
    let header = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
    // Writing may need more room than the sender's own spelling.
    let limits = XmlLimits { bytes: 1 << 24, tag: 1 << 24, attributes: 1_000, ..XmlLimits::MEMBER };
    let (_, scope) = Scope::open(header, &limits).expect("a header");
    let again = scope.parse(&xml, &limits);
    assert_eq!(again.as_ref(), Ok(element), "{}", String::from_utf8_lossy(&xml));
}

/// Any text as an address: what is accepted is in its canonical form.
pub fn jid(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(jid) = Jid::new(&text) {
        assert_eq!(Jid::new(jid.as_str()).as_ref(), Ok(&jid), "a canonical address stays as it is");
        assert_eq!(jid.bare().as_str(), jid.bare_str());
    }
    if let Some(plain) = unesc(&text) {
        assert_eq!(unesc(&esc(&plain)).as_deref(), Some(plain.as_str()), "what is escaped reads back");
    }
}
