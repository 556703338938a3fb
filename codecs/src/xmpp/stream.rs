//! The stream around the stanzas (RFC 6120 §4 and §5): headers, features, STARTTLS, errors, the end.

use crate::layer::bindings;
use crate::sasl::Mechanism;
use crate::session::{Cx, layer};
use crate::settings::{Protocol, Security};
use crate::xmpp::address::{Place, place};
use crate::xmpp::disco;
use crate::xmpp::error::{StreamCondition, XmlFault, write_stream_error};
use crate::xmpp::framer::{Framer, Kind, XmlLimits, check_blank};
use crate::xmpp::jid::{Jid, prepare_domain};
use crate::xmpp::ns;
use crate::xmpp::sasl2;
use crate::xmpp::session::{TIMER_IDLE, Xmpp, random_name};
use crate::xmpp::writer::{Writer, escape_attr};
use crate::xmpp::xml::{Element, Scope};
use lavina_core::limits::Limits;
use lavina_core::projection::Reason;

/// What is known of a stream.
pub(super) struct Stream {
    framer: Framer,
    scope: Scope,
    limits: XmlLimits,
    security: Security,
    /// Our header is sent.
    opened: bool,
    /// We have said the last word: what still comes in is not looked at.
    closed: bool,
}

/// How far the session of a client that is logged in has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    /// It has no resource.
    New,
    /// It has one.
    Bound,
    /// And stream management, which cannot be enabled twice.
    Managed,
}

/// What a stanza costs of what a session may spend (`Limits::flood_burst`), and each further so many bytes of it.
const COST: u32 = 10;
const COST_BYTES: usize = 200;

impl Stream {
    /// A stream of which nothing has been heard.
    pub(super) fn new(security: Security, limits: &Limits) -> Stream {
        let limits = fitting(XmlLimits::STRANGER, limits);
        Stream {
            framer: Framer::new(limits),
            scope: Scope::default(),
            limits,
            security,
            opened: false,
            closed: false,
        }
    }

    /// The stream begins anew: after STARTTLS and after SASL.
    pub(super) fn restart(&mut self, limits: XmlLimits, of: &Limits) {
        self.limits = fitting(limits, of);
        self.framer = Framer::new(self.limits);
        self.scope = Scope::default();
        self.opened = false;
    }

    /// The client is logged in and the stream goes on as it is (XEP-0388 §2.6.1), with more room.
    pub(super) fn promote(&mut self, of: &Limits) {
        self.limits = fitting(XmlLimits::MEMBER, of);
        self.framer = Framer::between(self.limits);
    }

    /// A new connection carries this stream on; its header was read elsewhere.
    pub(super) fn taken_over(&mut self) {
        self.framer = Framer::between(self.limits);
        self.scope = Scope::usual();
        self.closed = false;
    }

    /// True: the last word is said.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}

/// The limits, cut to what fits into the buffer of unparsed input: a unit that does not could never become whole.
fn fitting(limits: XmlLimits, of: &Limits) -> XmlLimits {
    XmlLimits { bytes: limits.bytes.min(of.inbox), ..limits }
}

impl Xmpp {
    /// Takes one unit from the front of `bytes`; says how many bytes it took.
    pub(super) fn read(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> Result<usize, Reason> {
        if self.stream.closed {
            return Ok(bytes.len());
        }
        if let Some(bound) = &mut self.bound {
            bound.heard = true;
        }
        let unit = match self.stream.framer.next(bytes) {
            Ok(Some(unit)) => unit,
            Ok(None) => return Ok(0),
            Err(fault) => return Err(self.fault(fault, cx)),
        };
        let raw = bytes.get(..unit.len).unwrap_or(bytes);
        match unit.kind {
            Kind::Blank => check_blank(raw).map_err(|fault| self.fault(fault, cx))?,
            Kind::Header => self.header(raw, cx)?,
            Kind::Element => {
                let element = match self.stream.scope.parse(raw, &self.stream.limits) {
                    Ok(element) => element,
                    Err(fault) => return Err(self.fault(fault, cx)),
                };
                // What changes the stream waits for all answers under way.
                if changes_the_stream(&element) && !cx.barrier() {
                    return Ok(0);
                }
                cx.charge(COST + u32::try_from(unit.len / COST_BYTES).unwrap_or(u32::MAX));
                self.element(element, cx)?;
            }
            Kind::Close => {
                if !cx.barrier() {
                    return Ok(0);
                }
                self.bye(cx);
            }
        }
        Ok(unit.len)
    }

    /// A child of the stream.
    fn element(&mut self, element: Element, cx: &mut Cx<'_>) -> Result<(), Reason> {
        match (element.ns.as_str(), element.name.as_str()) {
            (ns::TLS, "starttls") => self.starttls(cx),
            (ns::SASL, _) => self.sasl(&element, cx),
            (ns::SASL2, _) => self.sasl2(&element, cx),
            (ns::SM, _) => self.sm(&element, cx),
            (ns::CSI, _) if self.bound.is_some() => self.client_state(&element, cx),
            (ns::CLIENT, "iq") if self.may_speak(cx) && self.may_address(&element, cx) => {
                self.stanza(element, Xmpp::iq, cx)
            }
            (ns::CLIENT, "message") if self.bound.is_some() => self.stanza(element, Xmpp::message, cx),
            (ns::CLIENT, "presence") if self.bound.is_some() => self.stanza(element, Xmpp::presence, cx),
            (ns::CLIENT, "iq" | "message" | "presence") => {
                Err(self.fail(StreamCondition::NotAuthorized, "", cx))
            }
            (ns::STREAM, "error") => {
                self.bye(cx);
                Ok(())
            }
            _ => Err(self.fail(StreamCondition::UnsupportedStanzaType, "", cx)),
        }
    }

    fn stanza(
        &mut self,
        element: Element,
        take: fn(&mut Xmpp, Element, &mut Cx<'_>),
        cx: &mut Cx<'_>,
    ) -> Result<(), Reason> {
        if let Some(from) = element.attr("from") {
            let own =
                Jid::new(from).is_ok_and(|from| from.as_str() == self.full() || from.as_str() == self.bare());
            if !own {
                return Err(self.fail(StreamCondition::InvalidFrom, "", cx));
            }
        }
        if !self.count_stanza(&element, cx) {
            take(self, element, cx);
        }
        Ok(())
    }

    /// Requests are allowed before a resource is bound (binding, registering), but not before encryption.
    fn may_speak(&self, cx: &Cx<'_>) -> bool {
        self.stream.opened && !self.needs_tls(cx)
    }

    /// Without a resource a client speaks to the server and to its own account only (RFC 6120 §7.1).
    fn may_address(&self, iq: &Element, cx: &Cx<'_>) -> bool {
        let domain = &cx.core_settings().domain;
        let Some(to) = iq.attr("to").filter(|_| self.bound.is_none()) else { return true };
        match Jid::new(to).map(|to| place(&to, domain)) {
            Ok(Place::Server) | Err(_) => true,
            Ok(Place::User(name, None)) => cx.user().is_some_and(|me| me.name == name),
            Ok(_) => false,
        }
    }

    /// The listener wants STARTTLS, and it has not happened.
    pub(super) fn needs_tls(&self, cx: &Cx<'_>) -> bool {
        self.stream.security == Security::Starttls && !cx.is_secure()
    }

    fn header(&mut self, raw: &[u8], cx: &mut Cx<'_>) -> Result<(), Reason> {
        let (header, scope) = match Scope::open(raw, &self.stream.limits) {
            Ok(opened) => opened,
            Err(fault) => return Err(self.fault(fault, cx)),
        };
        let domain = &cx.core_settings().domain;
        let problem = if header.ns != ns::STREAM || scope.default_ns() != ns::CLIENT {
            Some(StreamCondition::InvalidNamespace)
        } else if header.name != "stream" {
            Some(StreamCondition::BadFormat)
        } else if !header.attr("version").is_some_and(is_version_1) {
            Some(StreamCondition::UnsupportedVersion)
        } else {
            let ours = |to: &str| prepare_domain(to).is_ok_and(|to| *to == **domain);
            (!header.attr("to").is_none_or(ours)).then_some(StreamCondition::HostUnknown)
        };
        self.stream.scope = scope;
        self.open(header.attr("from"), cx);
        match problem {
            Some(condition) => Err(self.fail(condition, "", cx)),
            None => {
                self.features(cx);
                Ok(())
            }
        }
    }

    /// Sends our header.
    fn open(&mut self, to: Option<&str>, cx: &mut Cx<'_>) {
        let mut out = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
            xmlns:stream='http://etherx.jabber.org/streams' from='"
            .to_vec();
        escape_attr(&cx.core_settings().domain, &mut out);
        if let Some(to) = to {
            out.extend_from_slice(b"' to='");
            escape_attr(to, &mut out);
        }
        out.extend_from_slice(b"' id='");
        out.extend_from_slice(random_name(cx).as_bytes());
        out.extend_from_slice(b"' version='1.0' xml:lang='en'>");
        cx.write(&out, false);
        self.stream.opened = true;
    }

    fn features(&mut self, cx: &mut Cx<'_>) {
        let mut out = Vec::with_capacity(512);
        let mut w = Writer::in_stream(&mut out);
        w.start("stream:features");
        if self.needs_tls(cx) {
            w.start_ns("starttls", ns::TLS).start("required").end().end();
        } else if cx.user().is_none() {
            self.login_features(&mut w, cx);
        } else {
            self.session_features(&mut w, Session::New, cx);
        }
        w.end();
        drop(w);
        cx.write(&out, false);
    }

    /// What a client that is logged in can use.
    pub(super) fn session_features(&self, w: &mut Writer<'_>, session: Session, cx: &Cx<'_>) {
        if session == Session::New {
            w.empty_ns("bind", ns::BIND);
            w.start_ns("session", ns::SESSION).start("optional").end().end();
        }
        if session != Session::Managed {
            w.empty_ns("sm", ns::SM);
        }
        w.empty_ns("csi", ns::CSI);
        w.empty_ns("sub", ns::PRE_APPROVAL);
        w.empty_ns("ver", ns::ROSTER_VER);
        disco::write_caps(w, cx);
        w.start_ns("limits", ns::STREAM_LIMITS);
        w.leaf("max-bytes", &self.stream.limits.bytes.to_string());
        w.leaf("idle-seconds", &(cx.core_settings().limits.idle_time / 1000).to_string());
        w.end();
    }

    fn login_features(&self, w: &mut Writer<'_>, cx: &Cx<'_>) {
        let channel = bindings(cx.channel());
        w.start_ns("mechanisms", ns::SASL);
        for mechanism in Mechanism::offered(&channel) {
            w.leaf("mechanism", mechanism.name());
        }
        w.end();
        sasl2::write_feature(w, Mechanism::offered(&channel).map(Mechanism::name), cx);
        if !channel.is_empty() {
            w.start_ns("sasl-channel-binding", ns::CHANNEL_BINDING);
            for kind in channel.types() {
                w.start("channel-binding").attr("type", kind.name()).end();
            }
            w.end();
        }
        w.empty_ns("register", ns::IBR_TOKEN);
        w.empty_ns("register", ns::REGISTER_FEATURE);
    }

    fn starttls(&mut self, cx: &mut Cx<'_>) -> Result<(), Reason> {
        let secured = if self.needs_tls(cx) { layer(Protocol::Xmpp, cx.settings()) } else { None };
        let Some(tls) = secured else {
            cx.write(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>", false);
            self.stream.closed = true;
            return Err(Reason::Protocol("STARTTLS is not possible here"));
        };
        cx.write(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", false);
        cx.secure(tls);
        self.stream.restart(XmlLimits::STRANGER, &cx.core_settings().limits);
        Ok(())
    }

    /// The client is logged in: the stream begins anew, with more room.
    pub(super) fn restart_stream(&mut self, cx: &Cx<'_>) {
        self.stream.restart(XmlLimits::MEMBER, &cx.core_settings().limits);
    }

    /// Ends the stream because of bad XML.
    fn fault(&mut self, fault: XmlFault, cx: &mut Cx<'_>) -> Reason {
        self.fail(fault.condition(), &fault.to_string(), cx)
    }

    /// Writes a stream error and the end of the stream; the caller returns the reason, which closes the connection.
    pub(super) fn fail(&mut self, condition: StreamCondition, text: &str, cx: &mut Cx<'_>) -> Reason {
        self.last_word(condition, text, cx);
        Reason::Protocol(condition.name())
    }

    /// Writes a stream error and closes: where the server has its own reason to.
    pub(super) fn end(&mut self, condition: StreamCondition, text: &str, reason: Reason, cx: &mut Cx<'_>) {
        self.last_word(condition, text, cx);
        cx.close(reason);
    }

    fn last_word(&mut self, condition: StreamCondition, text: &str, cx: &mut Cx<'_>) {
        if self.stream.closed {
            return;
        }
        if !self.stream.opened {
            self.open(None, cx);
        }
        let mut out = Vec::new();
        write_stream_error(&mut out, condition, text);
        out.extend_from_slice(b"</stream:stream>");
        cx.write(&out, false);
        self.leave(cx);
        self.stream.closed = true;
    }

    /// The client said goodbye: so do we.
    fn bye(&mut self, cx: &mut Cx<'_>) {
        if !self.stream.opened {
            self.open(None, cx);
        }
        cx.write(b"</stream:stream>", false);
        self.leave(cx);
        self.stream.closed = true;
        cx.close(Reason::Bye);
    }

    /// Sets the clock that looks after an idle connection.
    pub(super) fn watch(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now().mono;
        cx.timer(TIMER_IDLE, Some(now + cx.core_settings().limits.idle_time));
    }

    /// Nothing was heard for a while: asks once, then ends the stream.
    pub(super) fn idle(&mut self, cx: &mut Cx<'_>) {
        let limit = cx.core_settings().limits.idle_time;
        let now = cx.now().mono;
        let Some(bound) = &mut self.bound else { return };
        match std::mem::replace(&mut bound.heard, false) {
            true => {
                bound.asked = false;
                cx.timer(TIMER_IDLE, Some(now + limit));
            }
            false if bound.asked => {
                // A lost connection is no farewell: a session that can be resumed stays (XEP-0198).
                let mut out = Vec::new();
                write_stream_error(&mut out, StreamCondition::ConnectionTimeout, "");
                out.extend_from_slice(b"</stream:stream>");
                cx.write(&out, false);
                cx.close(Reason::Timeout("nothing was heard"));
            }
            false => {
                bound.asked = true;
                self.ping_client(cx);
                cx.timer(TIMER_IDLE, Some(now + limit / 2));
            }
        }
    }

    fn ping_client(&mut self, cx: &mut Cx<'_>) {
        if self.bound.as_ref().is_some_and(|b| b.sm.is_some()) {
            return cx.write(b"<r xmlns='urn:xmpp:sm:3'/>", false);
        }
        let (id, to, from) = (random_name(cx), self.full().to_owned(), cx.core_settings().domain.clone());
        self.write(cx, |w| {
            w.start("iq").attr("type", "get").attr("id", &id).attr("from", &from).attr("to", &to);
            w.empty_ns("ping", ns::PING).end();
        });
    }
}

fn changes_the_stream(element: &Element) -> bool {
    matches!(
        (element.ns.as_str(), element.name.as_str()),
        (ns::TLS, _) | (ns::SM, "enable" | "resume") | (ns::SASL, "auth") | (ns::SASL2, "authenticate")
    )
}

/// Any 1.x is ours to answer with 1.0 (RFC 6120 §4.7.5).
fn is_version_1(version: &str) -> bool {
    version
        .split_once('.')
        .is_some_and(|(major, minor)| major.parse() == Ok(1u8) && minor.bytes().all(|b| b.is_ascii_digit()))
}
