//! Just enough DER to find a certificate's signature algorithm, for `tls-server-end-point`.

use crate::sasl::EndPointHash;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// 1.2.840.113549.1.1: the RSA signatures end in one more byte.
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4: ECDSA; `.1` is with SHA-1, `.3.x` with SHA-2.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// 2.16.840.1.101.3.4.2: the SHA-2 hashes.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

/// DER tags.
const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const CONTEXT_0: u8 = 0xa0;

/// The hash of a certificate by the hash of its own signature, SHA-256 standing in for MD5 and SHA-1 (RFC 5929 §4.1).
/// `None` where the signature has no hash of its own (Ed25519, Ed448), for which the RFC defines nothing, or where the
/// certificate cannot be read.
pub(super) fn end_point_hash(certificate: &[u8]) -> Option<EndPointHash> {
    let digest = match signature_hash(certificate)? {
        Hash::Sha256 => EndPointHash::try_from(Sha256::digest(certificate).as_slice()),
        Hash::Sha384 => EndPointHash::try_from(Sha384::digest(certificate).as_slice()),
        Hash::Sha512 => EndPointHash::try_from(Sha512::digest(certificate).as_slice()),
    };
    digest.ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

fn signature_hash(certificate: &[u8]) -> Option<Hash> {
    let (body, _) = element(certificate, SEQUENCE)?;
    let (_, after_tbs) = element(body, SEQUENCE)?;
    let (algorithm, _) = element(after_tbs, SEQUENCE)?;
    let (oid, parameters) = element(algorithm, OID)?;
    if let Some(kind) = oid.strip_prefix(PKCS1) {
        return match kind {
            [4 | 5 | 11] => Some(Hash::Sha256), // MD5 and SHA-1 are replaced
            [12] => Some(Hash::Sha384),
            [13] => Some(Hash::Sha512),
            [10] => pss_hash(parameters),
            _ => None,
        };
    }
    match oid.strip_prefix(ECDSA)? {
        [1] | [3, 2] => Some(Hash::Sha256),
        [3, 3] => Some(Hash::Sha384),
        [3, 4] => Some(Hash::Sha512),
        _ => None,
    }
}

/// The hash of RSASSA-PSS parameters (RFC 4055 §3.1); absent means SHA-1.
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    let (fields, _) = element(parameters, SEQUENCE)?;
    let Some((hash, _)) = element(fields, CONTEXT_0) else { return Some(Hash::Sha256) };
    let (algorithm, _) = element(hash, SEQUENCE)?;
    let (oid, _) = element(algorithm, OID)?;
    match oid.strip_prefix(SHA2) {
        Some([2]) => Some(Hash::Sha384),
        Some([3]) => Some(Hash::Sha512),
        Some([1]) | None => Some(Hash::Sha256),
        Some(_) => None,
    }
}

/// Splits the element with this tag off the front: its content and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => {
            let (long, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*long)), rest)
        }
        _ => return None, // no certificate part that matters here is longer than 64 KiB
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match content.len() {
            n @ 0..=0x7f => out.push(n as u8),
            n @ 0x80..=0xff => out.extend([0x81, n as u8]),
            n => out.extend([0x82, (n >> 8) as u8, n as u8]),
        }
        out.extend_from_slice(content);
        out
    }

    fn certificate(oid: &[u8], parameters: &[u8], tbs: usize) -> Vec<u8> {
        let algorithm = wrap(SEQUENCE, &[wrap(OID, oid), parameters.to_vec()].concat());
        wrap(SEQUENCE, &[wrap(SEQUENCE, &vec![0; tbs]), algorithm, wrap(3, &[0; 70])].concat())
    }

    #[test]
    fn algorithms() {
        let rsa = |kind: u8| [PKCS1, &[kind]].concat();
        let ecdsa = |kind: &[u8]| [ECDSA, kind].concat();
        for (oid, hash) in [
            (rsa(5), Some(Hash::Sha256)),
            (rsa(11), Some(Hash::Sha256)),
            (rsa(12), Some(Hash::Sha384)),
            (rsa(13), Some(Hash::Sha512)),
            (ecdsa(&[1]), Some(Hash::Sha256)),
            (ecdsa(&[3, 2]), Some(Hash::Sha256)),
            (ecdsa(&[3, 3]), Some(Hash::Sha384)),
            (ecdsa(&[3, 4]), Some(Hash::Sha512)),
            (vec![0x2b, 0x65, 0x70], None), // Ed25519
        ] {
            for size in [10, 200, 900] {
                assert_eq!(signature_hash(&certificate(&oid, &[], size)), hash, "{oid:?}");
            }
        }
    }

    #[test]
    fn pss_parameters() {
        let pss = |hash: Option<u8>| {
            let fields = hash.map_or_else(Vec::new, |h| {
                wrap(CONTEXT_0, &wrap(SEQUENCE, &wrap(OID, &[SHA2, &[h]].concat())))
            });
            signature_hash(&certificate(&[PKCS1, &[10]].concat(), &wrap(SEQUENCE, &fields), 90))
        };
        assert_eq!(pss(None), Some(Hash::Sha256));
        assert_eq!(pss(Some(1)), Some(Hash::Sha256));
        assert_eq!(pss(Some(2)), Some(Hash::Sha384));
        assert_eq!(pss(Some(3)), Some(Hash::Sha512));
    }

    #[test]
    fn a_real_certificate() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["example.org".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let expected = Sha256::digest(certificate.der());
        assert_eq!(end_point_hash(certificate.der()).as_deref(), Some(expected.as_slice()));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in any::<Vec<u8>>()) {
            let _ = end_point_hash(&bytes);
        }
    }
}
