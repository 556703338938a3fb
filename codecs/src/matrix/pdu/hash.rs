//! Hashes of events, and the bytes that are signed (server-server API, "Signing Events").

use super::{Version, redact};
use crate::json::{Json, NotCanonical};
use crate::object;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use sha2::{Digest, Sha256};

/// The content hash: of all of the event, in unpadded base64.
///
/// # Errors
/// [`NotCanonical`].
pub fn content_hash(event: &Json) -> Result<String, NotCanonical> {
    let bytes = without(event.clone(), &["unsigned", "signatures", "hashes"]).canonical()?;
    Ok(BASE64_NOPAD.encode(&Sha256::digest(bytes)))
}

/// Whether the event has its own content hash. If not, only its redacted form is to be believed.
///
/// # Errors
/// [`NotCanonical`].
pub fn check_hash(event: &Json) -> Result<bool, NotCanonical> {
    let own = event.at(&["hashes", "sha256"]).and_then(Json::as_str);
    // Some servers pad.
    let own = own.and_then(|s| decode(s.trim_end_matches('=')));
    Ok(own.is_some_and(|own| content_hash(event).is_ok_and(|hash| decode(&hash) == Some(own))))
}

fn decode(base64: &str) -> Option<Vec<u8>> {
    BASE64_NOPAD.decode(base64.as_bytes()).ok()
}

/// The event's id: the reference hash of it.
///
/// # Errors
/// [`NotCanonical`].
pub fn event_id(event: &Json, version: Version) -> Result<String, NotCanonical> {
    let bytes = essential(event, version).canonical()?;
    Ok(format!("${}", BASE64URL_NOPAD.encode(&Sha256::digest(bytes))))
}

/// The bytes that a server signs, and that its signature is checked with.
///
/// # Errors
/// [`NotCanonical`].
pub fn signed_bytes(event: &Json, version: Version) -> Result<Vec<u8>, NotCanonical> {
    essential(event, version).canonical()
}

/// The redacted event without what is no part of hash and signature. An event's id is not in the event.
fn essential(event: &Json, version: Version) -> Json {
    without(redact(event, version), &["signatures", "unsigned"])
}

fn without(mut event: Json, keys: &[&str]) -> Json {
    for key in keys {
        event.take(key);
    }
    event
}

/// Puts the content hash into an event of our own and gives its id.
///
/// # Errors
/// [`NotCanonical`].
pub fn finish(event: &mut Json, version: Version) -> Result<String, NotCanonical> {
    let hash = content_hash(event)?;
    event.set("hashes", object! { "sha256" => hash });
    event_id(event, version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Version::*;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    /// The specification's key, and a signature by it.
    fn sign(bytes: &[u8]) -> String {
        let seed = BASE64_NOPAD.decode(b"YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0").unwrap();
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        assert_eq!(key.public_key().as_ref().len(), 32);
        BASE64_NOPAD.encode(key.sign(bytes).as_ref())
    }

    /// The test vectors of the specification (appendices, "Cryptographic Test Vectors").
    #[test]
    fn the_vectors_of_the_specification() {
        assert_eq!(
            sign(&json("{}").canonical().unwrap()),
            "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"
        );
        let mut minimal = json(
            r#"{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,"signatures":{},
                "hashes":{},"type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,"unsigned":{"age_ts":1000000}}"#,
        );
        let mut message = json(
            r#"{"content":{"body":"Here is the message content"},"event_id":"$0:domain","origin":"domain",
                "origin_server_ts":1000000,"type":"m.room.message","room_id":"!r:domain","sender":"@u:domain",
                "signatures":{},"unsigned":{"age_ts":1000000}}"#,
        );
        for (event, hash, signature) in [
            (
                &mut minimal,
                "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
                "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
            ),
            (
                &mut message,
                "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
                "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
            ),
        ] {
            finish(event, V10).unwrap();
            assert_eq!(event.at(&["hashes", "sha256"]).and_then(Json::as_str), Some(hash));
            assert_eq!(check_hash(event), Ok(true));
            assert_eq!(sign(&signed_bytes(event, V10).unwrap()), signature);
        }
        message.set("content", object! { "body" => "other" });
        assert_eq!(check_hash(&message), Ok(false));
    }

    #[test]
    fn the_id_covers_what_a_redaction_leaves() {
        let event = json(
            r#"{"type":"m.room.message","content":{"body":"x"},"hashes":{"sha256":"abc"},"sender":"@a:x"}"#,
        );
        for version in Version::ALL {
            let id = event_id(&event, version).unwrap();
            assert_eq!(id.len(), 44);
            let mut other = event.clone();
            other.set("unsigned", object! { "age" => 1 });
            other.set("signatures", object! { "x" => 1 });
            other.set("content", object! {});
            assert_eq!(event_id(&other, version), Ok(id.clone()));
            other.set("sender", "@b:x");
            assert_ne!(event_id(&other, version), Ok(id));
        }
        assert!(content_hash(&json(r#"{"content":{"n":1.5}}"#)).is_err());
    }
}
