//! A client's connection: plain or TLS, never blocking.

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

/// What all TLS clients share; the server's certificate is not looked at, for it is this machine's.
pub fn tls_config() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let any = Arc::new(Any(provider.clone()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let mut config = config.dangerous().with_custom_certificate_verifier(any).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// A connection.
pub struct Wire {
    /// The socket.
    pub socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Bytes that the socket did not take yet.
    out: Vec<u8>,
}

impl Wire {
    /// Connects.
    pub fn connect(to: SocketAddr, tls: Option<&Arc<ClientConfig>>, domain: &str) -> io::Result<Wire> {
        let socket = TcpStream::connect(to)?;
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let tls = tls.map(|config| {
            let name = ServerName::try_from(domain.to_owned()).map_err(io::Error::other)?;
            ClientConnection::new(config.clone(), name).map(Box::new).map_err(io::Error::other)
        });
        Ok(Wire { socket, tls: tls.transpose()?, out: Vec::new() })
    }

    /// Reads once into `buffer` and adds the plain bytes to `plain`. True: there may be more.
    pub fn read(&mut self, buffer: &mut [u8], plain: &mut Vec<u8>) -> io::Result<bool> {
        let n = match (&self.socket).read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(false),
            Err(e) => return Err(e),
        };
        let Some(tls) = &mut self.tls else {
            plain.extend_from_slice(&buffer[..n]);
            return Ok(n == buffer.len());
        };
        let mut cipher = &buffer[..n];
        while !cipher.is_empty() {
            tls.read_tls(&mut cipher)?;
            let state = tls.process_new_packets().map_err(io::Error::other)?;
            let (at, more) = (plain.len(), state.plaintext_bytes_to_read());
            plain.resize(at + more, 0);
            tls.reader().read_exact(&mut plain[at..])?;
        }
        self.flush()?;
        Ok(n == buffer.len())
    }

    /// Says something.
    pub fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes)?,
            None => self.out.extend_from_slice(bytes),
        }
        self.flush()
    }

    /// Sends what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.out)?;
            }
        }
        while !self.out.is_empty() {
            match (&self.socket).write(&self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.out.shrink_to(0);
        Ok(())
    }

    /// The socket has not taken everything.
    pub fn is_blocked(&self) -> bool {
        !self.out.is_empty()
    }
}

/// Any certificate will do.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
