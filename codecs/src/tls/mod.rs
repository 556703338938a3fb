//! TLS as a byte layer: bytes of the wire in, plain bytes out, and the reverse.
//!
//! rustls is sans-IO itself; this module wraps its buffered server connection (the unbuffered one has no exporter, which
//! channel binding needs) so that nobody else names it. Versions 1.2 and 1.3, no client certificates, no renegotiation,
//! no early data, no compression.
//!
//! A connection at rest holds about 7.5 kB: after each batch of input the grown buffers are given back.

mod config;
mod der;

pub use config::{Alpn, Clock, Identity, Provider, TlsConfig, TlsConfigError, ring};

use crate::sasl::ChannelBindings;
use rustls::{AlertDescription, InvalidMessage, ProtocolVersion, ServerConnection};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// Most plain or encrypted bytes that rustls may hold back for one connection: one TLS record of the largest size.
const BUFFER_LIMIT: usize = 16 * 1024;

/// The label of RFC 9266 §2.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// One TLS connection, on the server's side.
pub struct TlsLayer {
    conn: Box<ServerConnection>,
    config: Arc<TlsConfig>,
}

/// What reading told besides the plain bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsRead {
    /// The handshake is complete: [`TlsLayer::channel`] answers, and what is written is sent.
    pub established: bool,
    /// The peer said that it will send no more (`close_notify`). Without this, an end of the connection is a cut one.
    pub closed: bool,
}

/// What is known of an established channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelInfo {
    /// What SASL can bind to.
    pub bindings: ChannelBindings,
    /// The protocol agreed on by ALPN, if the client asked for one.
    pub alpn: Option<Vec<u8>>,
    /// The server name the client asked for.
    pub sni: Option<String>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The name of the cipher suite.
    pub cipher: String,
}

/// Why a TLS connection failed. After an error the layer is dead; what it put into `wire_out` (an alert) is still to be
/// sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The peer does not speak TLS: typically a client set to plaintext on a TLS port.
    #[error("the client does not speak TLS")]
    NotTls,
    /// No version, cipher suite, group, signature scheme or application protocol in common.
    #[error("the client's TLS is not compatible: {0}")]
    Incompatible(String),
    /// The peer broke the protocol, or somebody changed its bytes.
    #[error("the client broke the TLS protocol: {0}")]
    Misbehaved(String),
    /// The peer gave up and said why: mostly because it does not trust the certificate.
    #[error("the client ended TLS: {0}")]
    Alert(String),
    /// A failure of this side.
    #[error("TLS failed here: {0}")]
    Internal(String),
}

impl TlsLayer {
    /// A connection whose peer has not said anything yet.
    ///
    /// # Errors
    /// [`TlsError::Internal`] if rustls refuses the configuration, which [`TlsConfig::new`] has checked already.
    pub fn new(config: Arc<TlsConfig>) -> Result<Self, TlsError> {
        let mut conn =
            ServerConnection::new(config.server.clone()).map_err(|e| TlsError::Internal(e.to_string()))?;
        conn.set_buffer_limit(Some(BUFFER_LIMIT));
        Ok(Self { conn: Box::new(conn), config })
    }

    /// Takes bytes of the wire, all of them; appends plain bytes to `plain_out` and what must be sent to `wire_out`.
    ///
    /// # Errors
    /// [`TlsError`]; then `plain_out` has what came before the fault.
    pub fn read(
        &mut self,
        wire_in: &[u8],
        plain_out: &mut Vec<u8>,
        wire_out: &mut Vec<u8>,
    ) -> Result<TlsRead, TlsError> {
        let mut rest = wire_in;
        let mut outcome = TlsRead::default();
        while !rest.is_empty() && !outcome.closed {
            // Cannot be full: plain bytes are taken out after every step.
            self.conn.read_tls(&mut rest).map_err(|e| TlsError::Internal(e.to_string()))?;
            let processed = self.conn.process_new_packets();
            self.take_plain(plain_out);
            self.flush(wire_out);
            outcome.closed = processed.map_err(|e| blame(&e))?.peer_has_closed();
        }
        self.release();
        outcome.established = !self.conn.is_handshaking();
        Ok(outcome)
    }

    /// Encrypts plain bytes into `wire_out`; gives how many were taken. All are, except before the handshake is
    /// complete, when at most 16 KiB wait inside.
    pub fn write(&mut self, plain: &[u8], wire_out: &mut Vec<u8>) -> usize {
        let mut taken = 0;
        while taken < plain.len() {
            let n = self.conn.writer().write(&plain[taken..]).unwrap_or(0);
            self.flush(wire_out);
            if n == 0 {
                break;
            }
            taken += n;
        }
        taken
    }

    /// Says that nothing more will be sent (`close_notify`), so that the peer can tell an end from a cut.
    pub fn close(&mut self, wire_out: &mut Vec<u8>) {
        self.conn.send_close_notify();
        self.flush(wire_out);
    }

    /// Whether the handshake is complete.
    pub fn is_established(&self) -> bool {
        !self.conn.is_handshaking()
    }

    /// What the handshake agreed on; `None` until it is complete.
    pub fn channel(&self) -> Option<ChannelInfo> {
        if self.conn.is_handshaking() {
            return None;
        }
        let tls13 = self.conn.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        // With TLS 1.2 the exporter is unique only under the extended master secret (RFC 9266 §4.2), and rustls does
        // not tell whether that was agreed on.
        let exporter = tls13
            .then(|| self.conn.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[])).ok())
            .flatten();
        let bindings = ChannelBindings { exporter, end_point: self.config.end_point.clone() };
        Some(ChannelInfo {
            bindings,
            alpn: self.conn.alpn_protocol().map(<[u8]>::to_vec),
            sni: self.conn.server_name().map(str::to_owned),
            version: if tls13 { "TLSv1.3" } else { "TLSv1.2" },
            cipher: self
                .conn
                .negotiated_cipher_suite()
                .map(|s| format!("{:?}", s.suite()))
                .unwrap_or_default(),
        })
    }

    fn take_plain(&mut self, plain_out: &mut Vec<u8>) {
        let mut reader = self.conn.reader();
        let mut chunk = [0; 4096];
        // An error means "nothing more now" (`WouldBlock`) or a cut connection, which is not ours to report.
        while let Ok(n) = reader.read(&mut chunk) {
            if n == 0 {
                break;
            }
            plain_out.extend_from_slice(&chunk[..n]);
        }
    }

    fn flush(&mut self, wire_out: &mut Vec<u8>) {
        while self.conn.wants_write() {
            if !matches!(self.conn.write_tls(wire_out), Ok(n) if n > 0) {
                break;
            }
        }
    }

    /// Gives grown buffers back: rustls shrinks its read buffer when a read brings nothing.
    fn release(&mut self) {
        let _ = self.conn.read_tls(&mut Nothing);
    }
}

impl std::fmt::Debug for TlsLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsLayer(established: {})", self.is_established())
    }
}

/// A source that has nothing at the moment. (One that returned 0 would mean the end of the stream.)
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Whose fault it was.
fn blame(error: &rustls::Error) -> TlsError {
    use rustls::Error;
    let text = error.to_string();
    match error {
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => TlsError::NotTls,
        Error::AlertReceived(alert) => TlsError::Alert(alert_text(*alert)),
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => TlsError::Incompatible(text),
        Error::InvalidMessage(_)
        | Error::PeerMisbehaved(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::DecryptError
        | Error::PeerSentOversizedRecord => TlsError::Misbehaved(text),
        _ => TlsError::Internal(text),
    }
}

fn alert_text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired => format!("it does not trust the certificate ({alert:?})"),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests;
