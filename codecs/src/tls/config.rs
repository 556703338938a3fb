//! The server's TLS configuration, made from the bytes of certificate and key files.

use super::der;
use crate::sasl::EndPointHash;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ServerSessionMemoryCache;
use rustls::time_provider::TimeProvider;
use std::sync::Arc;
use std::time::Duration;

/// Sessions kept for resumption, per listener configuration; the oldest goes first. About 300 bytes each.
const SESSION_CACHE: usize = 256;

/// The cryptography behind TLS, chosen once at start. Explicit, because rustls's process-wide default panics when a
/// program links two.
pub type Provider = Arc<CryptoProvider>;

/// The provider this server ships with.
pub fn ring() -> Provider {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Where TLS takes the time from (for ticket ages): a function that gives seconds since 1970, because codecs read no
/// clock themselves.
#[derive(Clone, Copy, Debug)]
pub struct Clock(pub fn() -> u64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs((self.0)())))
    }
}

/// What a listener speaks inside TLS; decides the ALPN names (RFC 7301). A client that asks for none is welcome, one
/// that asks only for another is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `irc`, of the IANA registry.
    Irc,
    /// `xmpp-client`, XEP-0368.
    XmppClient,
    /// `http/1.1`.
    Http,
}

impl Alpn {
    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Irc => "irc",
            Self::XmppClient => "xmpp-client",
            Self::Http => "http/1.1",
        }
    }
}

/// A certificate chain with its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads PEM files: the chain, leaf first, and the private key (PKCS#8, PKCS#1 or SEC1). Other sections in them
    /// are skipped, so one file may hold both.
    ///
    /// # Errors
    /// [`TlsConfigError`] naming the file at fault.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsConfigError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|e| TlsConfigError::CertificatePem(e.to_string()))?;
        if chain.is_empty() {
            return Err(TlsConfigError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| match e {
            rustls::pki_types::pem::Error::NoItemsFound => TlsConfigError::NoKey,
            other => TlsConfigError::KeyPem(other.to_string()),
        })?;
        Ok(Self { chain, key })
    }

    /// The leaf certificate in DER.
    pub fn leaf(&self) -> &[u8] {
        &self.chain[0]
    }
}

/// Everything a TLS listener needs; shared by its connections. A reload makes a new one for new connections.
pub struct TlsConfig {
    pub(super) server: Arc<ServerConfig>,
    pub(super) end_point: Option<EndPointHash>,
}

/// Why no TLS configuration can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsConfigError {
    /// The certificate file is not PEM.
    #[error("the certificate file is not valid PEM: {0}")]
    CertificatePem(String),
    /// The certificate file has no `CERTIFICATE` section.
    #[error("the certificate file contains no certificate")]
    NoCertificate,
    /// The key file is not PEM.
    #[error("the key file is not valid PEM: {0}")]
    KeyPem(String),
    /// The key file has no private key, or an encrypted one.
    #[error("the key file contains no unencrypted private key")]
    NoKey,
    /// The key is not the certificate's.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A kind of key or certificate that rustls does not take.
    #[error("the certificate or its key cannot be used: {0}")]
    Unusable(String),
}

impl TlsConfig {
    /// Makes the configuration of one kind of listener.
    ///
    /// # Errors
    /// [`TlsConfigError::KeyMismatch`] and [`TlsConfigError::Unusable`].
    pub fn new(
        identity: &Identity,
        alpn: Alpn,
        provider: Provider,
        clock: Clock,
    ) -> Result<Self, TlsConfigError> {
        let mut server = ServerConfig::builder_with_details(provider, Arc::new(clock))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(unusable)?;
        server.alpn_protocols = vec![alpn.name().as_bytes().to_vec()];
        // A chat connection lives for hours; one ticket is enough to come back with.
        server.send_tls13_tickets = 1;
        server.session_storage = ServerSessionMemoryCache::new(SESSION_CACHE);
        Ok(Self { server: Arc::new(server), end_point: der::end_point_hash(identity.leaf()) })
    }
}

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConfig(..)")
    }
}

fn unusable(error: rustls::Error) -> TlsConfigError {
    match error {
        rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch) => TlsConfigError::KeyMismatch,
        other => TlsConfigError::Unusable(other.to_string()),
    }
}
