//! Access and refresh tokens: they say themselves whose they are, so no index is needed to know them.
//!
//! A token is `lv` and a letter for its kind, `_`, and in URL-safe base64 the account (8 bytes), the secret (24
//! bytes) and the device's name. Only a hash of the secret is stored.

use data_encoding::BASE64URL_NOPAD;
use lavina_core::ids::AccountId;
use lavina_core::text::{Octets, Str};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Longest device id, in bytes; above: 400.
pub const DEVICE_MAX: usize = 255;

/// Bytes of a secret.
pub const SECRET: usize = 24;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To act as the device.
    Access,
    /// To get a new access token.
    Refresh,
}

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What for.
    pub kind: Kind,
    /// Whose.
    pub account: AccountId,
    /// Of which device.
    pub device: Str,
    secret: [u8; SECRET],
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({:?}, {:?})", self.kind, self.account)
    }
}

impl Token {
    /// A token with that secret.
    pub fn new(kind: Kind, account: AccountId, device: Str, secret: [u8; SECRET]) -> Token {
        Token { kind, account, device, secret }
    }

    /// Reads a token; anything else is none.
    pub fn parse(text: &str) -> Option<Token> {
        let (kind, rest) = [(Kind::Access, "lva_"), (Kind::Refresh, "lvr_")]
            .into_iter()
            .find_map(|(kind, prefix)| Some((kind, text.strip_prefix(prefix)?)))?;
        let bytes = BASE64URL_NOPAD.decode(rest.as_bytes()).ok()?;
        let (account, rest) = bytes.split_first_chunk::<8>()?;
        let (secret, device) = rest.split_first_chunk::<SECRET>()?;
        if device.is_empty() || device.len() > DEVICE_MAX {
            return None;
        }
        let device = Str::new(std::str::from_utf8(device).ok()?);
        Some(Token { kind, account: AccountId(u64::from_be_bytes(*account)), device, secret: *secret })
    }

    /// As the client keeps it.
    pub fn text(&self) -> String {
        let prefix = match self.kind {
            Kind::Access => "lva_",
            Kind::Refresh => "lvr_",
        };
        let bytes = [&self.account.0.to_be_bytes()[..], &self.secret, self.device.as_bytes()].concat();
        format!("{prefix}{}", BASE64URL_NOPAD.encode(&bytes))
    }

    /// What is stored of it.
    pub fn hash(&self) -> Octets {
        Octets::from(Sha256::digest(self.secret).as_slice())
    }

    /// Whether this is the hash of it; takes the same time whatever differs.
    pub fn is(&self, hash: &[u8]) -> bool {
        Sha256::digest(self.secret).as_slice().ct_eq(hash).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_say_whose_they_are() {
        for kind in [Kind::Access, Kind::Refresh] {
            let token = Token::new(kind, AccountId(u64::MAX - 3), Str::new("Gerät 1"), [7; SECRET]);
            let text = token.text();
            assert_eq!(Token::parse(&text), Some(token.clone()));
            assert!(token.is(&token.hash()));
            let other = Token::new(kind, AccountId(1), Str::new("x"), [8; SECRET]);
            assert!(!other.is(&token.hash()));
            assert_eq!(Token::parse(&text[1..]), None);
        }
        for bad in ["", "lva_", "lva_AAAA", "syt_x", &format!("lva_{}", "A".repeat(43))] {
            assert_eq!(Token::parse(bad), None, "{bad}");
        }
    }
}
