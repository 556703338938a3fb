//! The server's signature under its events (appendices, "Signing JSON").

use crate::json::Json;
use crate::matrix::pdu::{Version, signed_bytes};
use crate::object;
use data_encoding::BASE64_NOPAD;
use lavina_core::text::Str;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// What the key is derived with from the server's secret, which is made at the first start and kept.
const LABEL: &[u8] = b"lavina matrix signing key 1";

/// The key with which the server signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    id: Str,
}

impl SigningKey {
    /// The key of the server that has this secret; none if there can be none.
    pub fn new(secret: &[u8; 32]) -> Option<SigningKey> {
        let seed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), LABEL);
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).ok()?;
        let public = BASE64_NOPAD.encode(pair.public_key().as_ref());
        let short: String = public.chars().filter(char::is_ascii_alphanumeric).take(6).collect();
        Some(SigningKey { pair, id: Str::new(format!("ed25519:{short}")) })
    }

    /// The key's id.
    pub fn id(&self) -> &Str {
        &self.id
    }

    /// The public key in unpadded base64.
    pub fn public(&self) -> String {
        BASE64_NOPAD.encode(self.pair.public_key().as_ref())
    }

    /// Signs an event in the name of the server. What is no event stays as it is.
    pub fn sign(&self, event: &mut Json, version: Version, domain: &str) {
        let Ok(bytes) = signed_bytes(event, version) else { return };
        let signature = BASE64_NOPAD.encode(self.pair.sign(&bytes).as_ref());
        let mut all = event.take("signatures").filter(|s| s.as_object().is_some()).unwrap_or(Json::object());
        let mut own = all.take(domain).filter(|s| s.as_object().is_some()).unwrap_or(object! {});
        own.set(self.id.clone(), signature);
        all.set(domain, own);
        event.set("signatures", all);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ring::signature::{ED25519, UnparsedPublicKey};

    #[test]
    fn signatures_hold() {
        let key = SigningKey::new(&[7; 32]).unwrap();
        let mut event = object! { "type" => "m.room.message", "content" => object! { "body" => "x" } };
        key.sign(&mut event, Version::V11, "x.org");
        let signature = event.at(&["signatures", "x.org", key.id()]).and_then(Json::as_str).unwrap();
        let signature = BASE64_NOPAD.decode(signature.as_bytes()).unwrap();
        let public = BASE64_NOPAD.decode(key.public().as_bytes()).unwrap();
        let bytes = signed_bytes(&event, Version::V11).unwrap();
        assert_eq!(UnparsedPublicKey::new(&ED25519, public).verify(&bytes, &signature), Ok(()));
        // The same at the next start, another at another server.
        assert_eq!(SigningKey::new(&[7; 32]).unwrap().public(), key.public());
        assert_ne!(SigningKey::new(&[8; 32]).unwrap().public(), key.public());
    }
}
