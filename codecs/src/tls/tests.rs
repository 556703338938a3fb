#![allow(clippy::unwrap_used)]

use super::*;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

/// 25 November 2026.
fn now() -> u64 {
    1_795_564_800
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", data_encoding::BASE64.encode(der))
}

/// A certificate and its key, as PEM.
fn files() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["example.org".to_owned()]).unwrap().self_signed(&key).unwrap();
    (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key.serialize_der()))
}

fn identity() -> Identity {
    let (certificate, key) = files();
    Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
}

fn config() -> Arc<TlsConfig> {
    Arc::new(TlsConfig::new(&identity(), Alpn::Irc, ring(), Clock(now)).unwrap())
}

/// A client's verifier that takes any certificate.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring().signature_verification_algorithms.supported_schemes()
    }
}

fn client(versions: &[&'static rustls::SupportedProtocolVersion], alpn: Option<&str>) -> ClientConnection {
    let mut config = ClientConfig::builder_with_details(ring(), Arc::new(Clock(now)))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|a| a.as_bytes().to_vec()).collect();
    ClientConnection::new(Arc::new(config), ServerName::try_from("example.org").unwrap()).unwrap()
}

/// Carries bytes between the two, `cut` at a time, until neither has any; gives the server's plain bytes.
fn shuttle(client: &mut ClientConnection, server: &mut TlsLayer, cut: usize) -> Result<Vec<u8>, TlsError> {
    let (mut plain, mut back) = (Vec::new(), Vec::new());
    loop {
        let mut there = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut there).unwrap();
        }
        for chunk in there.chunks(cut) {
            server.read(chunk, &mut plain, &mut back)?;
        }
        let moved = !there.is_empty() || !back.is_empty();
        feed(client, &std::mem::take(&mut back));
        if !moved {
            return Ok(plain);
        }
    }
}

fn feed(client: &mut ClientConnection, mut wire: &[u8]) {
    while !wire.is_empty() && client.read_tls(&mut wire).unwrap() > 0 {
        client.process_new_packets().unwrap();
    }
}

fn received(client: &mut ClientConnection) -> Vec<u8> {
    let mut out = Vec::new();
    let _ = client.reader().read_to_end(&mut out);
    out
}

#[test]
fn both_versions_however_the_bytes_are_cut() {
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        for cut in [1, 7, 500, 100_000] {
            let mut client = client(versions, Some("irc"));
            let mut server = TlsLayer::new(config()).unwrap();
            assert!(server.channel().is_none());
            client.writer().write_all(b"NICK alice\r\n").unwrap();
            assert_eq!(shuttle(&mut client, &mut server, cut).unwrap(), b"NICK alice\r\n");
            let mut wire = Vec::new();
            assert_eq!(server.write(b":server 001 alice\r\n", &mut wire), 19);
            feed(&mut client, &wire);
            assert_eq!(received(&mut client), b":server 001 alice\r\n");
        }
    }
}

#[test]
fn the_channel_is_the_same_at_both_ends() {
    let config = config();
    let mut client = client(&[&rustls::version::TLS13], Some("irc"));
    let mut server = TlsLayer::new(config).unwrap();
    shuttle(&mut client, &mut server, 100_000).unwrap();
    let info = server.channel().unwrap();
    let theirs = client.export_keying_material([0; 32], EXPORTER_LABEL, None).unwrap();
    assert_eq!(info.bindings.exporter, Some(theirs));
    let certificate = &client.peer_certificates().unwrap()[0];
    assert_eq!(info.bindings.end_point, der::end_point_hash(certificate));
    assert!(info.bindings.end_point.is_some());
    assert_eq!(info.alpn.as_deref(), Some(&b"irc"[..]));
    assert_eq!(info.sni.as_deref(), Some("example.org"));
    assert_eq!(info.version, "TLSv1.3");
}

#[test]
fn tls12_has_no_exporter_and_alpn_is_optional() {
    let mut client = client(&[&rustls::version::TLS12], None);
    let mut server = TlsLayer::new(config()).unwrap();
    shuttle(&mut client, &mut server, 100_000).unwrap();
    let info = server.channel().unwrap();
    assert_eq!((info.bindings.exporter, info.alpn, info.version), (None, None, "TLSv1.2"));
}

#[test]
fn another_application_protocol_is_refused() {
    let mut client = client(&[&rustls::version::TLS13], Some("h2"));
    let mut server = TlsLayer::new(config()).unwrap();
    assert!(matches!(shuttle(&mut client, &mut server, 100_000), Err(TlsError::Incompatible(_))));
}

#[test]
fn plaintext_on_a_tls_port_is_named_and_gets_an_alert() {
    let mut server = TlsLayer::new(config()).unwrap();
    let (mut plain, mut wire) = (Vec::new(), Vec::new());
    let outcome = server.read(b"NICK alice\r\nUSER a 0 * :a\r\n", &mut plain, &mut wire);
    assert_eq!(outcome, Err(TlsError::NotTls));
    assert!(plain.is_empty());
    assert_eq!(wire.first(), Some(&21), "an alert record");
}

#[test]
fn a_changed_record_is_the_peers_fault() {
    let mut client = client(&[&rustls::version::TLS13], None);
    let mut server = TlsLayer::new(config()).unwrap();
    shuttle(&mut client, &mut server, 100_000).unwrap();
    client.writer().write_all(b"hello").unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    *wire.last_mut().unwrap() ^= 1;
    assert!(matches!(server.read(&wire, &mut Vec::new(), &mut Vec::new()), Err(TlsError::Misbehaved(_))));
}

#[test]
fn both_sides_can_close() {
    let mut client = client(&[&rustls::version::TLS13], None);
    let mut server = TlsLayer::new(config()).unwrap();
    shuttle(&mut client, &mut server, 100_000).unwrap();
    client.writer().write_all(b"QUIT\r\n").unwrap();
    client.send_close_notify();
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    let mut plain = Vec::new();
    let outcome = server.read(&wire, &mut plain, &mut Vec::new()).unwrap();
    assert_eq!((plain.as_slice(), outcome), (&b"QUIT\r\n"[..], TlsRead { established: true, closed: true }));
    let mut last = Vec::new();
    server.write(b"ERROR :bye\r\n", &mut last);
    server.close(&mut last);
    feed(&mut client, &last);
    assert_eq!(received(&mut client), b"ERROR :bye\r\n");
}

#[test]
fn large_writes_pass_whole_and_early_ones_wait_bounded() {
    let mut client = client(&[&rustls::version::TLS13], None);
    let mut server = TlsLayer::new(config()).unwrap();
    let early = vec![b'x'; 3 * BUFFER_LIMIT];
    assert_eq!(server.write(&early, &mut Vec::new()), BUFFER_LIMIT);
    shuttle(&mut client, &mut server, 100_000).unwrap();
    assert_eq!(received(&mut client).len(), BUFFER_LIMIT);
    let big = vec![b'y'; 100_000];
    let mut wire = Vec::new();
    assert_eq!(server.write(&big, &mut wire), big.len());
    let mut got = 0;
    for chunk in wire.chunks(4000) {
        feed(&mut client, chunk);
        got += received(&mut client).len();
    }
    assert_eq!(got, big.len());
}

#[test]
fn bad_files_are_named() {
    let (pem, key) = files();
    let (_, other) = files();
    let from = |c: &str, k: &str| {
        let identity = Identity::from_pem(c.as_bytes(), k.as_bytes())?;
        TlsConfig::new(&identity, Alpn::XmppClient, ring(), Clock(now)).map(|_| ())
    };
    assert_eq!(from(&pem, &key), Ok(()));
    let both = format!("{key}{pem}");
    assert_eq!(from(&both, &both), Ok(()));
    assert_eq!(from(&pem, &other), Err(TlsConfigError::KeyMismatch));
    assert_eq!(from("", &key), Err(TlsConfigError::NoCertificate));
    assert_eq!(from(&key, &key), Err(TlsConfigError::NoCertificate));
    assert_eq!(from(&pem, &pem), Err(TlsConfigError::NoKey));
    let cut = &pem[..pem.len() / 2];
    assert!(matches!(from(cut, &key), Err(TlsConfigError::CertificatePem(_))));
}
