//! The stored credential: SCRAM keys of both hashes, and their encoded form.

use super::derive::{Hash, MAX_ITERATIONS};
use minicbor::{Decode, Encode};
use subtle::ConstantTimeEq;

/// Version of the encoded form written today.
const VERSION: u8 = 1;
/// Longest salt accepted in a stored credential; other servers' are up to 36 bytes.
const MAX_SALT: usize = 64;

/// What is stored instead of a password: enough to verify one, by PLAIN or SCRAM, and to prove ourselves to the
/// client, but not enough to log in elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Keys for SCRAM-SHA-256 and PLAIN.
    pub sha256: ScramKeys,
    /// Keys for SCRAM-SHA-1.
    pub sha1: ScramKeys,
}

/// The keys of one hash (RFC 5802 §3).
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ScramKeys {
    /// The salt, 1 to 64 bytes; 16 in those made here.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub salt: Vec<u8>,
    /// PBKDF2 iterations.
    #[n(1)]
    pub iterations: u32,
    /// `H(ClientKey)`, as long as the hash.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub stored_key: Vec<u8>,
    /// `ServerKey`, as long as the hash.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub server_key: Vec<u8>,
}

/// Why bytes are no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Not the encoding written here.
    #[error("the stored credential cannot be decoded")]
    Malformed,
    /// Written by a newer program.
    #[error("the stored credential has version {0}, which this program does not know")]
    Version(u8),
    /// A key, a salt or a number of iterations has an impossible size.
    #[error("the stored credential has an impossible {0}")]
    Size(&'static str),
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Stored {
    #[n(0)]
    version: u8,
    #[n(1)]
    sha256: ScramKeys,
    #[n(2)]
    sha1: ScramKeys,
}

impl Credential {
    /// The keys of one hash.
    pub fn keys(&self, hash: Hash) -> &ScramKeys {
        match hash {
            Hash::Sha256 => &self.sha256,
            Hash::Sha1 => &self.sha1,
        }
    }

    /// The bytes to store: a CBOR map with a version, about 230 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let stored = Stored { version: VERSION, sha256: self.sha256.clone(), sha1: self.sha1.clone() };
        minicbor::to_vec(&stored).expect("writing to a vector cannot fail")
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CredentialError`] for anything else, bytes after the end included.
    pub fn decode(bytes: &[u8]) -> Result<Self, CredentialError> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let stored: Stored = decoder.decode().map_err(|_| CredentialError::Malformed)?;
        if decoder.position() != bytes.len() {
            return Err(CredentialError::Malformed);
        }
        if stored.version != VERSION {
            return Err(CredentialError::Version(stored.version));
        }
        stored.sha256.check(Hash::Sha256)?;
        stored.sha1.check(Hash::Sha1)?;
        Ok(Self { sha256: stored.sha256, sha1: stored.sha1 })
    }
}

impl ScramKeys {
    /// Keys for an account that does not exist: steady from one attempt to the next, unlike those of any other name,
    /// and matched by no password.
    pub(super) fn fake(hash: Hash, secret: &[u8; 32], account: &str, iterations: u32) -> Self {
        let derive = |label: &[u8]| Hash::Sha256.hmac(secret, &[label, b"\0", account.as_bytes()].concat());
        Self {
            salt: derive(b"salt")[..super::SALT_LEN].to_vec(),
            iterations,
            stored_key: derive(b"stored key")[..hash.digest_len()].to_vec(),
            server_key: derive(b"server key")[..hash.digest_len()].to_vec(),
        }
    }

    /// Whether both came from the same password; takes the same time wherever they differ.
    pub(super) fn same_secret(&self, other: &Self) -> bool {
        self.stored_key.ct_eq(&other.stored_key).into()
    }

    fn check(&self, hash: Hash) -> Result<(), CredentialError> {
        if self.salt.is_empty() || self.salt.len() > MAX_SALT {
            return Err(CredentialError::Size("salt"));
        }
        if self.iterations == 0 || self.iterations > MAX_ITERATIONS {
            return Err(CredentialError::Size("number of iterations"));
        }
        if self.stored_key.len() != hash.digest_len() || self.server_key.len() != hash.digest_len() {
            return Err(CredentialError::Size("key"));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl std::fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramKeys({} iterations, ..)", self.iterations)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Password, SALT_LEN, derive_credential};
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Credential {
        derive_credential(&Password::new("pencil").expect("plain ASCII"), [3; SALT_LEN], 4096)
    }

    #[test]
    fn round_trip() {
        let bytes = sample().encode();
        assert_eq!(Credential::decode(&bytes), Ok(sample()));
        assert!(bytes.len() < 256);
    }

    #[test]
    fn bytes_after_the_end_and_cut_bytes_are_refused() {
        let mut bytes = sample().encode();
        for cut in 0..bytes.len() {
            assert_eq!(Credential::decode(&bytes[..cut]), Err(CredentialError::Malformed), "cut at {cut}");
        }
        bytes.push(0);
        assert_eq!(Credential::decode(&bytes), Err(CredentialError::Malformed));
    }

    #[test]
    fn impossible_sizes_and_versions_are_named() {
        let mut short = sample();
        short.sha1.stored_key.pop();
        assert_eq!(Credential::decode(&short.encode()), Err(CredentialError::Size("key")));
        let mut slow = sample();
        slow.sha256.iterations = u32::MAX;
        assert_eq!(Credential::decode(&slow.encode()), Err(CredentialError::Size("number of iterations")));
        let newer = Stored { version: 9, sha256: sample().sha256, sha1: sample().sha1 };
        let bytes = minicbor::to_vec(&newer).expect("in memory");
        assert_eq!(Credential::decode(&bytes), Err(CredentialError::Version(9)));
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", sample()), "Credential(..)");
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(credential) = Credential::decode(&bytes) {
                prop_assert_eq!(Credential::decode(&credential.encode()), Ok(credential));
            }
        }
    }
}
