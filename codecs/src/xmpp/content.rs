//! What a message says: from the stanza to neutral text and a cleaned native form, and back to a stanza.
//!
//! The native form of a message is its *fragment*: what stands between `<message` with the addresses and `</message>`.
//! It begins with ` type='…'`, so a stanza is made by putting bytes before and after it, without reading it again.

use crate::session::XMPP_NATIVE;
use crate::xmpp::address::{Place, place};
use crate::xmpp::jid::Jid;
use crate::xmpp::ns;
use crate::xmpp::styling;
use crate::xmpp::writer::{Writer, escape_attr};
use crate::xmpp::xml::Element;
use lavina_core::event::{Event, File, Kind, Message, Native, What};
use lavina_core::ids::{MsgId, Pos, RoomId};
use lavina_core::text::{Octets, Rich, Span, Str, Style};
use std::borrow::Cow;

const OPEN: &[u8] = b"<message";
const CLOSE: &[u8] = b"</message>";

/// The marker of a message that must not be copied, as it stands in a fragment.
const NO_COPY: &[u8] = b"<no-copy xmlns='urn:xmpp:hints'/>";

/// The type of a message; what is none of the five is `normal` (RFC 6121 §5.2.2).
pub fn kind_of(stanza: &Element) -> &'static str {
    match stanza.attr("type") {
        Some("chat") => "chat",
        Some("groupchat") => "groupchat",
        Some("headline") => "headline",
        Some("error") => "error",
        _ => "normal",
    }
}

/// Takes away what only servers may say, and turns `<private/>` into its successor.
///
/// *All* copies go, wherever they claim to come from us: ids, wrappers, occupant ids, delays (interop: unsafe crossings).
pub fn clean(stanza: &mut Element, domain: &str) {
    let private = stanza.has("private", ns::CARBONS);
    stanza.remove_children(|el| match (el.ns.as_str(), el.name.as_str()) {
        (ns::STANZA_ID, "stanza-id") => ours(el.attr("by"), domain),
        (ns::DELAY, _) => ours(el.attr("from"), domain),
        (ns::OCCUPANT_ID | ns::MUC_USER | ns::CARBONS, _) | (ns::MAM, "result") => true,
        _ => false,
    });
    if private && !stanza.has("no-copy", ns::HINTS) {
        *stanza = std::mem::replace(stanza, Element::new("message", ns::CLIENT))
            .with_child(Element::new("no-copy", ns::HINTS));
    }
}

/// Whether an address that somebody put into a stanza is one of ours; nonsense counts as ours and is stripped too.
fn ours(address: Option<&str>, domain: &str) -> bool {
    address.is_none_or(|a| Jid::new(a).map_or(true, |jid| place(&jid, domain) != Place::Elsewhere))
}

/// The native form of a cleaned stanza.
pub fn fragment(stanza: &Element) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut w = Writer::in_stream(&mut out);
    w.start("message").attr("type", kind_of(stanza)).opt_attr("id", stanza.attr("id"));
    w.opt_attr("xml:lang", stanza.lang());
    w.close_tag();
    w.children(stanza);
    drop(w);
    out.drain(..OPEN.len());
    out
}

/// The fragment as the core keeps it.
pub fn native(fragment: Vec<u8>) -> Native {
    Native { protocol: XMPP_NATIVE, bytes: Octets::from(fragment) }
}

/// The fragment that an entry is shown as; none if it shows nothing to XMPP. `kind` is `chat` or `groupchat`, for what
/// was said on other protocols.
pub fn shown<'a>(event: &'a Event, kind: &str) -> Option<Cow<'a, [u8]>> {
    let own = |native: &'a Option<Native>| {
        native.as_ref().filter(|n| n.protocol == XMPP_NATIVE).map(|n| Cow::Borrowed(&*n.bytes))
    };
    match &event.what {
        What::Said(message) => {
            own(&message.native).or_else(|| said(message, event.id(), None, kind).map(Cow::Owned))
        }
        // A correction names the message by its sender's id, everywhere.
        What::Edited { target, message, target_client_id } => own(&message.native).or_else(|| {
            let target = id_in("chat", event.room, *target, target_client_id.as_ref());
            said(message, event.id(), Some(&target), kind).map(Cow::Owned)
        }),
        What::Redacted { native, target, target_client_id, .. } => own(native).or_else(|| {
            let target = id_in(kind, event.room, *target, target_client_id.as_ref());
            Some(Cow::Owned(retraction(&target, event.id(), kind)))
        }),
        What::Reacted { native, target, now, target_client_id, .. } => own(native).or_else(|| {
            let target = id_in(kind, event.room, *target, target_client_id.as_ref());
            Some(Cow::Owned(reactions(&target, now, event.id(), kind)))
        }),
        _ => None,
    }
}

/// What a message is called where it is referred to: in a room by the room's id of it, between two people by the id with
/// which its sender sent it (XEP-0444 §4, XEP-0461 §3.1, XEP-0424 §3.1).
fn id_in(kind: &str, room: RoomId, pos: Pos, client_id: Option<&Str>) -> String {
    match client_id.filter(|_| kind != "groupchat") {
        Some(id) => id.to_string(),
        None => MsgId { room, pos }.text(),
    }
}

/// The fragment of what was said on another protocol; none if it has no text.
fn said(message: &Message, id: MsgId, replaces: Option<&str>, kind: &str) -> Option<Vec<u8>> {
    if message.kind == Kind::Payload || message.gone || message.body.text.is_empty() {
        return None;
    }
    let spans: Vec<styling::Span> = message.body.spans.iter().filter_map(from_span).collect();
    // Clients show a file where the text is its address and nothing else (XEP-0066 §5); a caption is a text of its own.
    let file = message.file.as_deref().filter(|_| !message.body.text.contains('\n'));
    let body = match file {
        Some(file) => file.link.to_string(),
        None => styling::write(&message.body.text, &spans),
    };
    let unstyled = spans.is_empty() && styling::looks_styled(&body);
    let body = match message.kind {
        Kind::Emote => format!("/me {body}"),
        _ if body.starts_with("/me ") => format!(" {body}"),
        _ => body,
    };
    Some(build(kind, message.client_id.as_deref().unwrap_or(&id.text()), |w| {
        w.leaf("body", &body);
        if unstyled {
            w.empty_ns("unstyled", ns::STYLING);
        }
        // XMPP hides whole messages only; better all of it than nothing.
        if message.body.spans.iter().any(|span| span.style == Style::Spoiler) {
            w.empty_ns("spoiler", ns::SPOILER);
        }
        if let Some(file) = &message.file {
            shared(w, file);
        }
        if let Some(reply) = message.reply {
            let id = id_in(kind, reply.room, reply.pos, message.reply_client_id.as_ref());
            w.start_ns("reply", ns::REPLY).attr("id", &id).end();
        }
        if let Some(thread) = message.thread {
            w.leaf("thread", &thread.text());
        }
        if let Some(target) = replaces {
            w.start_ns("replace", ns::CORRECT).attr("id", target).end();
        }
    }))
}

/// A file: where it is (XEP-0066), and what (XEP-0446, XEP-0447).
fn shared(w: &mut Writer<'_>, file: &File) {
    w.start_ns("x", ns::OOB).leaf("url", &file.link).end();
    w.start_ns("file-sharing", ns::SFS).attr("disposition", "inline");
    w.start_ns("file", ns::FILE_METADATA);
    if !file.kind.is_empty() {
        w.leaf("media-type", &file.kind);
    }
    w.leaf("name", &file.name);
    if file.size > 0 {
        w.leaf("size", &file.size.to_string());
    }
    w.end();
    w.start("sources").start_ns("url-data", ns::URL_DATA).attr("target", &file.link).end().end();
    w.end();
}

fn retraction(target: &str, id: MsgId, kind: &str) -> Vec<u8> {
    build(kind, &id.text(), |w| {
        w.start_ns("retract", ns::RETRACT).attr("id", target).end();
        w.start_ns("fallback", ns::FALLBACK).attr("for", ns::RETRACT).end();
        w.leaf("body", "/me withdrew a message");
        w.empty_ns("store", ns::HINTS);
    })
}

fn reactions(target: &str, now: &[Str], id: MsgId, kind: &str) -> Vec<u8> {
    build(kind, &id.text(), |w| {
        w.start_ns("reactions", ns::REACTIONS).attr("id", target);
        for key in now {
            w.leaf("reaction", key);
        }
        w.end();
        w.empty_ns("store", ns::HINTS);
    })
}

/// A fragment of our own making.
pub fn build(kind: &str, id: &str, content: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut w = Writer::in_stream(&mut out);
    w.start("message").attr("type", kind).attr("id", id).close_tag();
    content(&mut w);
    drop(w);
    out.drain(..OPEN.len());
    out
}

/// Appends the stanza: addresses, fragment, what `extra` adds. `declare`: where `jabber:client` is not the default
/// namespace.
pub fn write_stanza(
    out: &mut Vec<u8>,
    declare: bool,
    from: &str,
    to: &str,
    fragment: &[u8],
    extra: impl FnOnce(&mut Writer<'_>),
) {
    out.extend_from_slice(OPEN);
    if declare {
        out.extend_from_slice(b" xmlns='jabber:client'");
    }
    out.extend_from_slice(b" from='");
    escape_attr(from, out);
    out.extend_from_slice(b"' to='");
    escape_attr(to, out);
    out.push(b'\'');
    out.extend_from_slice(fragment);
    extra(&mut Writer::in_stream(out));
    out.extend_from_slice(CLOSE);
}

/// The type with which a fragment begins.
pub fn fragment_kind(fragment: &[u8]) -> &str {
    let quoted = fragment.strip_prefix(b" type='").unwrap_or_default();
    let end = memchr::memchr(b'\'', quoted).unwrap_or(0);
    std::str::from_utf8(quoted.get(..end).unwrap_or_default()).unwrap_or("normal")
}

/// Whether carbons may be made of it (XEP-0280 §6.1).
pub fn may_copy(fragment: &[u8]) -> bool {
    let kind = fragment_kind(fragment);
    kind != "groupchat" && kind != "headline" && memchr::memmem::find(fragment, NO_COPY).is_none()
}

/// What everybody can read of a stanza, and how it is meant.
pub fn neutral(stanza: &Element) -> (Rich, Kind) {
    let encrypted = stanza.elements().any(|el| {
        el.name == "encrypted" && matches!(el.ns.as_str(), ns::OMEMO | ns::OMEMO_OLD)
            || el.is("encryption", ns::EME)
    });
    let body = readable_body(stanza).filter(|b| !encrypted && !b.is_empty());
    let Some(body) = body else { return (Rich::default(), Kind::Payload) };
    let notice = kind_of(stanza) == "headline";
    let (body, kind) = match body.strip_prefix("/me ") {
        Some(rest) => (rest.to_owned(), Kind::Emote),
        None if notice => (body, Kind::Notice),
        None => (body, Kind::Normal),
    };
    let (text, styled) = match stanza.has("unstyled", ns::STYLING) {
        true => (body, Vec::new()),
        false => styling::read(&body),
    };
    let mut spans: Vec<Span> = styled.iter().filter_map(to_span).collect();
    if let (true, Ok(to)) = (stanza.has("spoiler", ns::SPOILER), text.len().try_into()) {
        spans.insert(0, Span { from: 0, to, style: Style::Spoiler });
    }
    (Rich { text: Str::new(text), spans }, kind)
}

/// The body in no particular language, or the first; without what is there only for clients that know no replies.
fn readable_body(stanza: &Element) -> Option<String> {
    let mut bodies = stanza.children_named("body", ns::CLIENT);
    let first = bodies.next()?;
    let body =
        if first.lang().is_none() { first } else { bodies.find(|b| b.lang().is_none()).unwrap_or(first) };
    let body = body.text().into_owned();
    let mut cuts: Vec<(usize, usize)> = stanza
        .children_named("fallback", ns::FALLBACK)
        .filter(|f| f.attr("for") == Some(ns::REPLY))
        .flat_map(|f| f.children_named("body", ns::FALLBACK))
        .filter_map(|b| Some((b.attr("start")?.parse().ok()?, b.attr("end")?.parse().ok()?)))
        .collect();
    if cuts.is_empty() {
        return Some(body);
    }
    cuts.sort_unstable();
    let cut = |n: usize| cuts.iter().any(|(from, to)| (*from..*to).contains(&n));
    Some(body.chars().enumerate().filter(|(n, _)| !cut(*n)).map(|(_, c)| c).collect())
}

fn to_span(span: &styling::Span) -> Option<Span> {
    let style = match span.style {
        styling::Style::Bold => Style::Bold,
        styling::Style::Italic => Style::Italic,
        styling::Style::Strike => Style::Strike,
        styling::Style::Mono => Style::Code,
        styling::Style::Code => Style::Block,
        styling::Style::Quote => Style::Quote,
    };
    Some(Span { from: span.from.try_into().ok()?, to: span.to.try_into().ok()?, style })
}

/// Underlines cannot be said, and spoilers not by styling.
fn from_span(span: &Span) -> Option<styling::Span> {
    let style = match span.style {
        Style::Bold => styling::Style::Bold,
        Style::Italic => styling::Style::Italic,
        Style::Strike => styling::Style::Strike,
        Style::Code => styling::Style::Mono,
        Style::Block => styling::Style::Code,
        Style::Quote => styling::Style::Quote,
        Style::Underline | Style::Spoiler => return None,
    };
    Some(styling::Span { from: span.from as usize, to: span.to as usize, style })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::xmpp::framer::XmlLimits;
    use crate::xmpp::xml::Scope;

    fn stanza(xml: &str) -> Element {
        Scope::usual().parse(xml.as_bytes(), &XmlLimits::MEMBER).unwrap()
    }

    fn cleaned(xml: &str) -> String {
        let mut el = stanza(xml);
        clean(&mut el, "x.org");
        String::from_utf8(fragment(&el)).unwrap()
    }

    #[test]
    fn forged_server_words_are_stripped_and_all_else_stays() {
        assert_eq!(
            cleaned(
                "<message to='a@x.org' type='chat' id='1' from='f'><body>hi</body>\
                 <stanza-id xmlns='urn:xmpp:sid:0' id='f' by='a@x.org'/><stanza-id xmlns='urn:xmpp:sid:0' id='f' by='r@rooms.x.org'/>\
                 <stanza-id xmlns='urn:xmpp:sid:0' id='k' by='y.org'/><origin-id xmlns='urn:xmpp:sid:0' id='o'/>\
                 <received xmlns='urn:xmpp:carbons:2'/><x xmlns='http://jabber.org/protocol/muc#user'/>\
                 <result xmlns='urn:xmpp:mam:2'/><delay xmlns='urn:xmpp:delay' from='x.org'/><e xmlns='urn:e'/></message>"
            ),
            " type='chat' id='1'><body>hi</body><stanza-id xmlns='urn:xmpp:sid:0' id='k' by='y.org'/>\
             <origin-id xmlns='urn:xmpp:sid:0' id='o'/><e xmlns='urn:e'/>"
        );
    }

    #[test]
    fn private_messages_are_never_copied() {
        let fragment = cleaned("<message><body>x</body><private xmlns='urn:xmpp:carbons:2'/></message>");
        assert_eq!(fragment, " type='normal'><body>x</body><no-copy xmlns='urn:xmpp:hints'/>");
        assert!(!may_copy(fragment.as_bytes()));
        assert!(may_copy(cleaned("<message type='chat'><body>x</body></message>").as_bytes()));
        assert!(!may_copy(cleaned("<message type='headline'/>").as_bytes()));
        assert_eq!(fragment_kind(cleaned("<message type='odd'/>").as_bytes()), "normal");
    }

    #[test]
    fn a_stanza_is_its_fragment_between_addresses() {
        let fragment = cleaned("<message id='&apos;' xml:lang='de'/>");
        let mut out = Vec::new();
        write_stanza(&mut out, false, "a@x", "b@x/'", fragment.as_bytes(), |w| {
            w.empty_ns("e", "urn:e");
        });
        let xml = String::from_utf8(out).unwrap();
        assert_eq!(
            xml,
            "<message from='a@x' to='b@x/&apos;' type='normal' id='&apos;' xml:lang='de'><e xmlns='urn:e'/></message>"
        );
        assert_eq!(stanza(&xml).attr("to"), Some("b@x/'"));
    }

    #[test]
    fn neutral_text_is_what_people_read() {
        let (body, kind) = neutral(&stanza("<message type='chat'><body>/me *waves*</body></message>"));
        assert_eq!((&*body.text, kind, body.spans.len()), ("waves", Kind::Emote, 1));
        let (body, kind) = neutral(&stanza(
            "<message><body>&gt; héy\nyes</body><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'>\
             <body start='0' end='6'/></fallback></message>",
        ));
        assert_eq!((&*body.text, kind), ("yes", Kind::Normal));
        let secret = "<message><body>I sent you an OMEMO message</body><encrypted xmlns='eu.siacs.conversations.axolotl'/></message>";
        assert_eq!(neutral(&stanza(secret)), (Rich::default(), Kind::Payload));
        let spoiler = "<message><body>*it*</body><spoiler xmlns='urn:xmpp:spoiler:0'/></message>";
        let (body, _) = neutral(&stanza(spoiler));
        let styles: Vec<Style> = body.spans.iter().map(|s| s.style).collect();
        assert_eq!((&*body.text, styles), ("it", vec![Style::Spoiler, Style::Bold]));
        let back = said(
            &Message { body, ..Message::default() },
            MsgId::parse(&"A".repeat(18)).unwrap(),
            None,
            "chat",
        );
        assert!(String::from_utf8(back.unwrap()).unwrap().contains("<spoiler xmlns='urn:xmpp:spoiler:0'/>"));
        assert_eq!(neutral(&stanza("<message type='headline'><body>x</body></message>")).1, Kind::Notice);
    }
}
