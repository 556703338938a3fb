//! What a TLS connection offers for channel binding.

use arrayvec::ArrayVec;

/// A hash of the server's certificate as `tls-server-end-point` wants it (RFC 5929 §4.1); at most SHA-512.
pub type EndPointHash = ArrayVec<u8, 64>;

/// A registered type of channel binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingType {
    /// `tls-exporter`, RFC 9266.
    Exporter,
    /// `tls-server-end-point`, RFC 5929 §4.
    ServerEndPoint,
}

impl BindingType {
    /// All types, the stronger first.
    pub const ALL: [Self; 2] = [Self::Exporter, Self::ServerEndPoint];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exporter => "tls-exporter",
            Self::ServerEndPoint => "tls-server-end-point",
        }
    }
}

/// The channel bindings of one connection; empty for one without TLS.
///
/// `tls-unique` (RFC 5929 §3) is deliberately absent: it is undefined for TLS 1.3 and broken by renegotiation before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    /// The exporter's 32 bytes: TLS 1.3 only, see RFC 9266 §4.2 for why not always with 1.2.
    pub exporter: Option<[u8; 32]>,
    /// The certificate's hash: absent for signature algorithms without a hash of their own (Ed25519).
    pub end_point: Option<EndPointHash>,
}

impl ChannelBindings {
    /// Whether there is nothing to bind to.
    pub fn is_empty(&self) -> bool {
        self.exporter.is_none() && self.end_point.is_none()
    }

    /// The types this connection has (XEP-0440 announces them), the stronger first.
    pub fn types(&self) -> impl Iterator<Item = BindingType> + '_ {
        BindingType::ALL.into_iter().filter(|t| self.data(t.name()).is_some())
    }

    /// The binding data of the type with this registered name.
    pub fn data(&self, name: &str) -> Option<&[u8]> {
        match BindingType::ALL.into_iter().find(|t| t.name() == name)? {
            BindingType::Exporter => self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            BindingType::ServerEndPoint => self.end_point.as_deref(),
        }
    }
}
