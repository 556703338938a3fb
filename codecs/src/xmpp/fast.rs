//! Tokens for logging in again in one step (XEP-0484), used with the HT mechanisms (draft-schmaus-kitten-sasl-ht).
//!
//! No token is stored: it is derived from the server's secret, the account, its password's keys and a random number, and
//! only the number is kept, with the client it was given to. So another password ends all tokens, and the store tells
//! nobody how to log in. A client has at most two: the one it used last, and a newer one that it has not used yet.

use crate::sasl::{BindingType, ChannelBindings};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use lavina_core::chat::account::Account;
use lavina_core::text::{Octets, Str};
use minicbor::{Decode, Encode};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// How long a token is good, in milliseconds.
const LIFE: u64 = 21 * DAY;

/// A token older than this is replaced when it is used.
const ROTATE: u64 = DAY;

const DAY: u64 = 24 * 3600 * 1000;

/// Clients of one account that have tokens; one more, and the one whose token ends first has to use its password.
const MAX_CLIENTS: usize = 32;

/// Before the client's name in the name of the value.
const KEY: &str = "xmpp.fast.";

/// A mechanism of the HT family with SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum Mechanism {
    /// Bound by `tls-exporter`.
    #[n(0)]
    Exporter,
    /// Bound by `tls-server-end-point`.
    #[n(1)]
    EndPoint,
    /// Not bound.
    #[n(2)]
    Unbound,
}

impl Mechanism {
    const ALL: [Mechanism; 3] = [Mechanism::Exporter, Mechanism::EndPoint, Mechanism::Unbound];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Mechanism::Exporter => "HT-SHA-256-EXPR",
            Mechanism::EndPoint => "HT-SHA-256-ENDP",
            Mechanism::Unbound => "HT-SHA-256-NONE",
        }
    }

    /// Those that the connection has the binding for.
    pub(super) fn offered(channel: &ChannelBindings) -> impl Iterator<Item = Mechanism> + '_ {
        Mechanism::ALL.into_iter().filter(|m| m.binding(channel).is_some())
    }

    /// The offered one of that name.
    pub(super) fn named(name: &str, channel: &ChannelBindings) -> Option<Mechanism> {
        Mechanism::offered(channel).find(|m| m.name() == name)
    }

    fn binding(self, channel: &ChannelBindings) -> Option<&[u8]> {
        match self {
            Mechanism::Exporter => channel.data(BindingType::Exporter.name()),
            Mechanism::EndPoint => channel.data(BindingType::ServerEndPoint.name()),
            Mechanism::Unbound => Some(&[]),
        }
    }
}

/// What is kept of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
struct Kept {
    #[n(0)]
    mechanism: Mechanism,
    #[n(1)]
    nonce: u64,
    /// When it ends, in Unix milliseconds.
    #[n(2)]
    until: u64,
}

/// What is kept of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Client {
    /// The token it has used.
    #[n(0)]
    current: Option<Kept>,
    /// One that it was given since.
    #[n(1)]
    next: Option<Kept>,
}

/// Which client of which account.
pub(super) struct Holder<'a> {
    pub account: &'a Account,
    /// The client's own id of its installation (XEP-0388 §2.3), hashed.
    pub agent: &'a str,
    /// The server's secret.
    pub secret: &'a [u8; 32],
}

/// A token as the client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The secret.
    pub text: String,
    /// When it ends, in Unix milliseconds.
    pub until: u64,
}

/// A login by token that is right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The server's own proof.
    pub proof: Vec<u8>,
    /// What is kept of the client from now on.
    pub client: Client,
    /// The token used is old: another should follow, for this mechanism.
    pub rotate: Option<Mechanism>,
}

impl Holder<'_> {
    /// The name of the value that keeps the client.
    pub(super) fn key(&self) -> Str {
        Str::new(format!("{KEY}{}", self.agent))
    }

    /// What is kept of it.
    pub(super) fn client(&self) -> Client {
        let kept = self.account.attrs.get(&self.key()).map(|bytes| &**bytes);
        kept.and_then(|bytes| minicbor::decode(bytes).ok()).unwrap_or_default()
    }

    /// A new token, and what to keep.
    pub(super) fn mint(
        &self,
        mut client: Client,
        mechanism: Mechanism,
        nonce: u64,
        now: u64,
    ) -> (Token, Client) {
        let kept = Kept { mechanism, nonce, until: now + LIFE };
        client.next = Some(kept);
        (Token { text: self.secret_of(kept), until: kept.until }, client)
    }

    /// Checks the client's proof that it has a token.
    pub(super) fn check(
        &self,
        mechanism: Mechanism,
        channel: &ChannelBindings,
        proof: &[u8],
        now: u64,
    ) -> Option<Accepted> {
        let client = self.client();
        let binding = mechanism.binding(channel)?;
        let good = |kept: &Kept| {
            let right = hmac(self.secret_of(*kept).as_bytes(), &[b"Initiator", binding]);
            bool::from(right.ct_eq(proof)) && kept.mechanism == mechanism && kept.until > now
        };
        let (used, client) = match (client.next.filter(good), client.current.filter(good)) {
            (Some(next), _) => (next, Client { current: Some(next), next: None }),
            (None, Some(current)) => (current, client),
            (None, None) => return None,
        };
        let proof = hmac(self.secret_of(used).as_bytes(), &[b"Responder", binding]).to_vec();
        let rotate = (now + LIFE > used.until + ROTATE).then_some(mechanism);
        Some(Accepted { proof, client, rotate })
    }

    fn secret_of(&self, kept: Kept) -> String {
        let credential = self.account.head.as_ref().map(|h| &*h.credential).unwrap_or_default();
        let token = hmac(
            self.secret,
            &[
                b"fast",
                &self.account.id.0.to_be_bytes(),
                kept.mechanism.name().as_bytes(),
                &kept.nonce.to_be_bytes(),
                self.agent.as_bytes(),
                b"\0",
                credential,
            ],
        );
        BASE64URL_NOPAD.encode(&token)
    }

    /// The values to set so that `client` is kept: its own, and an empty one for a client that has to go for it.
    pub(super) fn values(&self, client: &Client) -> Vec<(Str, Octets)> {
        let own = self.key();
        let encoded = match client {
            Client { current: None, next: None } => Octets::default(),
            client => Octets::from(minicbor::to_vec(client).unwrap_or_default()),
        };
        let others = self.account.attrs.iter().filter(|(key, _)| key.starts_with(KEY) && **key != own);
        let others: Vec<(u64, &Str)> = others.map(|(key, bytes)| (ends(bytes), key)).collect();
        let mut values = vec![(own, encoded)];
        if others.len() >= MAX_CLIENTS
            && let Some((_, first)) = others.into_iter().min()
        {
            values.push((first.clone(), Octets::default()));
        }
        values
    }
}

/// When the last token of a client ends.
fn ends(bytes: &[u8]) -> u64 {
    let client: Client = minicbor::decode(bytes).unwrap_or_default();
    client.current.into_iter().chain(client.next).map(|kept| kept.until).max().unwrap_or(0)
}

/// The name of a client installation, from its own id; the id itself is told to nobody.
pub(super) fn agent_of(secret: &[u8; 32], id: &str) -> String {
    BASE64URL_NOPAD.encode(&hmac(secret, &[b"agent", id.as_bytes()])[..15])
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys of any length are taken");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
