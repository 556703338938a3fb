//! Stream and stanza errors (RFC 6120 §4.9.3 and §8.3.3): one table each, and what a fault in the XML maps to.

use crate::xmpp::ns;
use crate::xmpp::writer::Writer;

macro_rules! conditions {
    ($(#[$enum_doc:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal, $extra:expr;)* } $extra_fn:ident: $extra_ty:ty, $extra_doc:literal) => {
        $(#[$enum_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant),* }

        impl $name {
            /// Every condition, in the order of the table.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The name of the element that stands for the condition.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            #[doc = $extra_doc]
            pub fn $extra_fn(self) -> $extra_ty {
                match self { $($name::$variant => $extra),* }
            }

            /// The condition an element of this name stands for.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

/// What the sender of a stanza may do after an error (RFC 6120 §8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorType {
    /// Retry after providing credentials.
    Auth,
    /// Do not retry: it cannot work.
    Cancel,
    /// Proceed: the condition was only a warning.
    Continue,
    /// Retry after changing what was sent.
    Modify,
    /// Retry after waiting: the condition is temporary.
    Wait,
}

impl ErrorType {
    /// The value of the `type` attribute.
    pub fn name(self) -> &'static str {
        match self {
            ErrorType::Auth => "auth",
            ErrorType::Cancel => "cancel",
            ErrorType::Continue => "continue",
            ErrorType::Modify => "modify",
            ErrorType::Wait => "wait",
        }
    }
}

conditions! {
    /// A condition of a stanza error (RFC 6120 §8.3.3).
    StanzaCondition {
        /// The XML of the stanza does not follow its schema.
        BadRequest = "bad-request", ErrorType::Modify;
        /// Something with this name or address exists already.
        Conflict = "conflict", ErrorType::Cancel;
        /// The feature is not built.
        FeatureNotImplemented = "feature-not-implemented", ErrorType::Cancel;
        /// The requester may not do this.
        Forbidden = "forbidden", ErrorType::Auth;
        /// The address has moved for good.
        Gone = "gone", ErrorType::Cancel;
        /// The server failed through no fault of the requester.
        InternalServerError = "internal-server-error", ErrorType::Cancel;
        /// The address or item is not there.
        ItemNotFound = "item-not-found", ErrorType::Cancel;
        /// An address breaks the rules of RFC 7622.
        JidMalformed = "jid-malformed", ErrorType::Modify;
        /// The request breaks a rule of this service.
        NotAcceptable = "not-acceptable", ErrorType::Modify;
        /// Nobody may do this.
        NotAllowed = "not-allowed", ErrorType::Cancel;
        /// Credentials are missing or wrong.
        NotAuthorized = "not-authorized", ErrorType::Auth;
        /// The request breaks a local policy.
        PolicyViolation = "policy-violation", ErrorType::Modify;
        /// The recipient is there, but not just now.
        RecipientUnavailable = "recipient-unavailable", ErrorType::Wait;
        /// The requester should ask somewhere else.
        Redirect = "redirect", ErrorType::Modify;
        /// Registering is needed first.
        RegistrationRequired = "registration-required", ErrorType::Auth;
        /// The remote server does not exist.
        RemoteServerNotFound = "remote-server-not-found", ErrorType::Cancel;
        /// The remote server could not be reached in time.
        RemoteServerTimeout = "remote-server-timeout", ErrorType::Wait;
        /// Something is used up: memory, a limit, a place.
        ResourceConstraint = "resource-constraint", ErrorType::Wait;
        /// This service is not offered at this address.
        ServiceUnavailable = "service-unavailable", ErrorType::Cancel;
        /// A subscription is needed first.
        SubscriptionRequired = "subscription-required", ErrorType::Auth;
        /// Another condition, told by an element of its own.
        UndefinedCondition = "undefined-condition", ErrorType::Cancel;
        /// The stanza came at the wrong time.
        UnexpectedRequest = "unexpected-request", ErrorType::Wait;
    }
    default_type: ErrorType, "The type that goes with the condition unless the sender knows better."
}

conditions! {
    /// A condition of a stream error; every one of them ends the stream (RFC 6120 §4.9.3).
    StreamCondition {
        /// Well-formed, but not what belongs here.
        BadFormat = "bad-format", "what was sent does not belong here";
        /// A namespace prefix of the stream is missing or wrong.
        BadNamespacePrefix = "bad-namespace-prefix", "a namespace prefix is not declared";
        /// Another stream takes this one's place.
        Conflict = "conflict", "this session was taken over by another connection";
        /// Nothing was sent for too long.
        ConnectionTimeout = "connection-timeout", "nothing was heard for too long";
        /// The domain is no longer served.
        HostGone = "host-gone", "this domain is no longer served here";
        /// The domain is not served.
        HostUnknown = "host-unknown", "this domain is not served here";
        /// A stanza between servers lacks an address.
        ImproperAddressing = "improper-addressing", "an address is missing";
        /// The server failed.
        InternalServerError = "internal-server-error", "something failed here";
        /// `from` is not who the stream belongs to.
        InvalidFrom = "invalid-from", "`from` is not yours";
        /// The stream's namespace is wrong.
        InvalidNamespace = "invalid-namespace", "this namespace is not spoken here";
        /// The XML breaks a rule that only validation shows.
        InvalidXml = "invalid-xml", "the XML is not valid";
        /// Something was sent before logging in.
        NotAuthorized = "not-authorized", "log in first";
        /// The XML is not well-formed.
        NotWellFormed = "not-well-formed", "the XML is not well-formed";
        /// A local policy was broken.
        PolicyViolation = "policy-violation", "a limit of this server was exceeded";
        /// A remote server could not be reached.
        RemoteConnectionFailed = "remote-connection-failed", "the remote server could not be reached";
        /// The server wants to negotiate anew.
        Reset = "reset", "connect again";
        /// The server has too little of something.
        ResourceConstraint = "resource-constraint", "the server is at its limit";
        /// XML that RFC 6120 §11.1 forbids.
        RestrictedXml = "restricted-xml", "comments, processing instructions and DTDs are not allowed";
        /// Look elsewhere.
        SeeOtherHost = "see-other-host", "connect to another host";
        /// The server is going down.
        SystemShutdown = "system-shutdown", "the server is shutting down";
        /// Another condition, told by an element of its own.
        UndefinedCondition = "undefined-condition", "see the specific condition";
        /// The encoding is not UTF-8.
        UnsupportedEncoding = "unsupported-encoding", "only UTF-8 is spoken here";
        /// A mandatory feature is not supported.
        UnsupportedFeature = "unsupported-feature", "this feature is not supported";
        /// A first-level element is no stanza.
        UnsupportedStanzaType = "unsupported-stanza-type", "this is no stanza";
        /// The version of the stream is not 1.x.
        UnsupportedVersion = "unsupported-version", "only version 1.0 is spoken here";
    }
    explanation: &'static str, "Words for people; the `<text/>` when there is nothing better."
}

/// What is wrong with received XML. The peer is to blame for all of them; each ends the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlFault {
    /// XML 1.0 or Namespaces in XML is broken.
    #[error("not well-formed: {0}")]
    Malformed(&'static str),
    /// RFC 6120 §11.1 forbids it: DTD, comment, processing instruction, entity.
    #[error("restricted XML: {0}")]
    Restricted(&'static str),
    /// A prefix without a declaration, or a declaration that may not be.
    #[error("bad namespace prefix: {0}")]
    Prefix(&'static str),
    /// Not UTF-8.
    #[error("unsupported encoding")]
    Encoding,
    /// Text between stanzas, a stream that is over at once.
    #[error("bad format: {0}")]
    Format(&'static str),
    /// A limit was exceeded.
    #[error("over the limit: {0}")]
    TooBig(&'static str),
}

impl XmlFault {
    /// The stream error that answers this fault.
    pub fn condition(self) -> StreamCondition {
        match self {
            XmlFault::Malformed(_) => StreamCondition::NotWellFormed,
            XmlFault::Restricted(_) => StreamCondition::RestrictedXml,
            XmlFault::Prefix(_) => StreamCondition::BadNamespacePrefix,
            XmlFault::Encoding => StreamCondition::UnsupportedEncoding,
            XmlFault::Format(_) => StreamCondition::BadFormat,
            XmlFault::TooBig(_) => StreamCondition::PolicyViolation,
        }
    }
}

/// A stanza error as it will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StanzaError {
    /// What the sender may do about it.
    pub kind: ErrorType,
    /// The condition of RFC 6120.
    pub condition: StanzaCondition,
    /// Words for people, in English.
    pub text: Option<String>,
    /// A more precise condition: element name and namespace.
    pub detail: Option<(&'static str, &'static str)>,
    /// A number inside the more precise condition: its element's name and value.
    pub number: Option<(&'static str, u64)>,
}

impl From<StanzaCondition> for StanzaError {
    fn from(condition: StanzaCondition) -> Self {
        StanzaError { kind: condition.default_type(), condition, text: None, detail: None, number: None }
    }
}

impl StanzaError {
    /// An error of this condition with words for people.
    pub fn new(condition: StanzaCondition, text: impl Into<String>) -> Self {
        StanzaError { text: Some(text.into()), ..condition.into() }
    }

    /// The same error with a more precise condition beside it.
    pub fn detail(mut self, name: &'static str, namespace: &'static str) -> Self {
        self.detail = Some((name, namespace));
        self
    }

    /// The same error with another type than the condition's usual one.
    pub fn kind(mut self, kind: ErrorType) -> Self {
        self.kind = kind;
        self
    }

    /// Writes the `<error/>` child of a stanza.
    pub fn write(&self, out: &mut Writer<'_>) {
        out.start("error").attr("type", self.kind.name());
        out.start_ns(self.condition.name(), ns::STANZA_ERRORS).end();
        if let Some(text) = &self.text {
            out.start_ns("text", ns::STANZA_ERRORS).text(text).end();
        }
        if let Some((name, namespace)) = self.detail {
            out.start_ns(name, namespace);
            if let Some((name, value)) = self.number {
                out.leaf(name, &value.to_string());
            }
            out.end();
        }
        out.end();
    }
}

/// Writes a stream error with its words (the condition's own if `text` is empty), without closing the stream.
///
/// The `stream` prefix must be declared by the header sent before (RFC 6120 §4.9.1.1).
pub fn write_stream_error(out: &mut Vec<u8>, condition: StreamCondition, text: &str) {
    let text = if text.is_empty() { condition.explanation() } else { text };
    let mut w = Writer::in_stream(out);
    w.start("stream:error");
    w.start_ns(condition.name(), ns::STREAM_ERRORS).end();
    w.start_ns("text", ns::STREAM_ERRORS).attr("xml:lang", "en").text(text).end();
    w.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_conditions() {
        for c in StanzaCondition::ALL {
            assert_eq!(StanzaCondition::from_name(c.name()), Some(*c));
        }
        for c in StreamCondition::ALL {
            assert_eq!(StreamCondition::from_name(c.name()), Some(*c));
        }
    }

    #[test]
    fn a_stream_error_has_condition_and_words() {
        let mut out = Vec::new();
        write_stream_error(&mut out, StreamCondition::NotWellFormed, "");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>the XML is not well-formed</text></stream:error>"
        );
    }

    #[test]
    fn a_stanza_error_may_have_a_detail() {
        let mut out = Vec::new();
        let e = StanzaError::new(StanzaCondition::NotAcceptable, "you blocked them")
            .detail("blocked", ns::BLOCKING_ERRORS);
        e.write(&mut Writer::in_stream(&mut out));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>you blocked them</text>\
             <blocked xmlns='urn:xmpp:blocking:errors'/></error>"
        );
    }
}
