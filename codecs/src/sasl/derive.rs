//! Hashes and the derivation of SCRAM keys from a password: the one expensive computation, run as a job.

use super::{Credential, Password, ScramKeys};
use arrayvec::ArrayVec;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Fewest iterations the configuration accepts: the floor of RFC 5802 §5.1 and RFC 7677 §4.
pub const MIN_ITERATIONS: u32 = 4096;
/// Most iterations accepted, from the configuration or in a stored credential: about a second on a small board.
pub const MAX_ITERATIONS: u32 = 1_000_000;
/// Iterations for new credentials unless configured otherwise; clients on phones repeat them at each login.
pub const DEFAULT_ITERATIONS: u32 = 10_000;
/// Bytes of salt in the credentials made here.
pub const SALT_LEN: usize = 16;

/// A digest: 20 or 32 bytes.
pub(super) type Digest = ArrayVec<u8, 32>;

/// The hash under a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-1: no weakness of it matters inside HMAC, and old clients know nothing else.
    Sha1,
}

impl Hash {
    /// Bytes of a digest.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha1 => 20,
        }
    }

    pub(super) fn digest(self, data: &[u8]) -> Digest {
        match self {
            Self::Sha256 => collect(&Sha256::digest(data)),
            Self::Sha1 => collect(&Sha1::digest(data)),
        }
    }

    pub(super) fn hmac(self, key: &[u8], data: &[u8]) -> Digest {
        const ANY_KEY: &str = "HMAC takes keys of any length";
        match self {
            Self::Sha256 => collect(
                &Hmac::<Sha256>::new_from_slice(key)
                    .expect(ANY_KEY)
                    .chain_update(data)
                    .finalize()
                    .into_bytes(),
            ),
            Self::Sha1 => collect(
                &Hmac::<Sha1>::new_from_slice(key).expect(ANY_KEY).chain_update(data).finalize().into_bytes(),
            ),
        }
    }

    /// `Hi()` of RFC 5802 §2.2, which is PBKDF2 with one block.
    fn salted_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Digest {
        let mut out = [0u8; 32];
        let out = &mut out[..self.digest_len()];
        match self {
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, out),
            Self::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, out),
        }
        collect(out)
    }
}

/// A derivation to be run on a job thread: tens of milliseconds of CPU, no input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// The hash to derive with.
    pub hash: Hash,
    /// The prepared password.
    pub password: Password,
    /// The account's salt.
    pub salt: Vec<u8>,
    /// The account's number of iterations.
    pub iterations: u32,
}

impl Derivation {
    /// Does the work.
    pub fn run(&self) -> ScramKeys {
        derive_keys(self.hash, &self.password, &self.salt, self.iterations)
    }
}

/// The keys of one hash for a password (RFC 5802 §3): `StoredKey` and `ServerKey`.
pub fn derive_keys(hash: Hash, password: &Password, salt: &[u8], iterations: u32) -> ScramKeys {
    let salted = hash.salted_password(password.expose().as_bytes(), salt, iterations);
    ScramKeys {
        salt: salt.to_vec(),
        iterations,
        stored_key: hash.digest(&hash.hmac(&salted, b"Client Key")).to_vec(),
        server_key: hash.hmac(&salted, b"Server Key").to_vec(),
    }
}

/// A whole credential for a new password. Pure: to be run as a job, with a salt that the caller drew at random.
/// `iterations` is brought into [`MIN_ITERATIONS`]`..=`[`MAX_ITERATIONS`].
pub fn derive_credential(password: &Password, salt: [u8; SALT_LEN], iterations: u32) -> Credential {
    let iterations = iterations.clamp(MIN_ITERATIONS, MAX_ITERATIONS);
    Credential {
        sha256: derive_keys(Hash::Sha256, password, &salt, iterations),
        sha1: derive_keys(Hash::Sha1, password, &salt, iterations),
    }
}

fn collect(bytes: &[u8]) -> Digest {
    Digest::try_from(bytes).expect("no digest here is longer than 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(bytes)
    }

    #[test]
    fn pbkdf2_vectors_of_rfc_6070_and_7914() {
        assert_eq!(
            hex(&Hash::Sha1.salted_password(b"password", b"salt", 4096)),
            "4b007901b765489abead49d926f721d065a429c1"
        );
        assert_eq!(
            hex(&Hash::Sha256.salted_password(b"passwd", b"salt", 1)),
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
        );
    }

    #[test]
    fn hmac_vectors_of_rfc_2202_and_4231() {
        assert_eq!(
            hex(&Hash::Sha1.hmac(&[0x0b; 20], b"Hi There")),
            "b617318655057264e28bc0b6fb378c8ef146be00"
        );
        assert_eq!(
            hex(&Hash::Sha256.hmac(&[0x0b; 20], b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    #[test]
    fn too_few_iterations_are_raised() {
        let password = Password::new("pencil").expect("plain ASCII");
        assert_eq!(derive_credential(&password, [7; SALT_LEN], 1).sha256.iterations, MIN_ITERATIONS);
    }
}
