//! SASL (RFC 4422) on the server's side: PLAIN (RFC 4616), SCRAM-SHA-1 (RFC 5802) and SCRAM-SHA-256 (RFC 7677),
//! each SCRAM also as -PLUS with channel binding.
//!
//! One implementation serves every protocol; what differs between them is only how a message is wrapped (base64 in
//! `AUTHENTICATE` lines, in `<auth/>` elements) and how a [`Failure`] is worded. The machine is pure: it holds no clock
//! and no generator, looks nothing up and derives nothing itself. It says what it needs as a [`Step`] and is told the
//! answer:
//!
//! ```text
//! start(mechanism, initial) -> Challenge        -> respond(bytes)
//!                              NeedCredential   -> credential(Some | None)
//!                              NeedDerive (job) -> derived(keys)
//!                              Success | Failure
//! ```
//!
//! An answer that does not fit the last step ends the exchange with [`Failure::OutOfOrder`].
//!
//! What an outsider can learn: an unknown account, a disabled one and a wrong password take the same steps, the same
//! derivation and give the same failure. A salt is made up for unknown accounts from a secret of the server, so it
//! stays the same from one attempt to the next, as a real one does. (It is told together with the configured number
//! of iterations: accounts whose keys were derived under another setting can be told from unknown ones until their
//! next password change.)

mod channel;
mod credential;
mod derive;
mod name;
mod plain;
mod prep;
mod scram;

pub use channel::{BindingType, ChannelBindings, EndPointHash};
pub use credential::{Credential, CredentialError, ScramKeys};
pub use derive::{
    DEFAULT_ITERATIONS, Derivation, Hash, MAX_ITERATIONS, MIN_ITERATIONS, SALT_LEN, derive_credential,
    derive_keys,
};
pub use name::LoginName;
pub use prep::{Password, PasswordError};

use scram::Scram;
use smol_str::SmolStr;

/// Longest message of a client, in bytes, before any decoding is tried. RFC 5802 messages are a few hundred bytes; a
/// longer one ends the exchange with [`Failure::TooLong`].
pub const MAX_MESSAGE: usize = 4096;

/// Bytes of randomness the caller gives for the server's part of a SCRAM nonce.
pub const NONCE_LEN: usize = 24;

/// A mechanism this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// SCRAM-SHA-256 bound to the TLS channel.
    ScramSha256Plus,
    /// SCRAM-SHA-1 bound to the TLS channel.
    ScramSha1Plus,
    /// SCRAM-SHA-256, RFC 7677.
    ScramSha256,
    /// SCRAM-SHA-1, RFC 5802.
    ScramSha1,
    /// PLAIN, RFC 4616: the password itself.
    Plain,
}

impl Mechanism {
    /// All mechanisms, the strongest first: the order in which they are offered.
    pub const ALL: [Self; 5] =
        [Self::ScramSha256Plus, Self::ScramSha1Plus, Self::ScramSha256, Self::ScramSha1, Self::Plain];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::Plain => "PLAIN",
        }
    }

    /// The mechanism of this name, in any letter case (IRC clients write what their user typed).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name().eq_ignore_ascii_case(name))
    }

    /// Whether this is a -PLUS mechanism.
    pub const fn is_plus(self) -> bool {
        matches!(self, Self::ScramSha256Plus | Self::ScramSha1Plus)
    }

    /// The mechanisms to offer on a connection: -PLUS only where there is a channel to bind to.
    pub fn offered(channel: &ChannelBindings) -> impl Iterator<Item = Self> + use<> {
        let plus = !channel.is_empty();
        Self::ALL.into_iter().filter(move |m| plus || !m.is_plus())
    }

    /// The hash of a SCRAM mechanism; for PLAIN, the hash whose stored keys the password is verified with.
    const fn hash(self) -> Hash {
        match self {
            Self::ScramSha256Plus | Self::ScramSha256 | Self::Plain => Hash::Sha256,
            Self::ScramSha1Plus | Self::ScramSha1 => Hash::Sha1,
        }
    }
}

/// What an exchange needs to know about its connection and its server.
#[derive(Clone)]
pub struct Setup {
    /// The domain of this server: `alice@domain` is the account `alice`.
    pub domain: SmolStr,
    /// The channel bindings of the connection; empty without TLS.
    pub channel: ChannelBindings,
    /// Fresh randomness for this exchange.
    pub nonce: [u8; NONCE_LEN],
    /// A secret of this server, the same for ever: salts of accounts that do not exist come from it.
    pub secret: [u8; 32],
    /// The configured number of iterations, told for accounts that do not exist.
    pub iterations: u32,
}

/// What the exchange needs next, or how it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this to the client (it may be empty) and give its answer to [`Sasl::respond`].
    Challenge(Vec<u8>),
    /// Look the account up and tell [`Sasl::credential`]: `None` when there is none, when it is disabled or when it
    /// must not log in here. A name that the server could never give to an account is `None` too.
    NeedCredential(LoginName),
    /// Run [`Derivation::run`] as a job and give its result to [`Sasl::derived`].
    NeedDerive(Derivation),
    /// The client is who it says.
    Success {
        /// Who logged in.
        name: LoginName,
        /// The server's last message (SCRAM: its own proof). XMPP carries it in `<success/>`; IRC sends it as one
        /// more challenge, takes the client's empty answer and then reports success.
        additional: Option<Vec<u8>>,
    },
    /// The exchange failed; it is over.
    Failure(Failure),
}

/// Why an exchange failed. All but the last two are the client's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Unknown or disabled account, or a wrong password: never told apart.
    #[error("the account or the password is wrong")]
    NotAuthorized,
    /// The message breaks the mechanism's grammar; the text says where.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// The client asks to act as another account than the one whose password it has.
    #[error("the authorisation identity is another account")]
    InvalidAuthzid,
    /// The message is longer than [`MAX_MESSAGE`].
    #[error("the message is too long")]
    TooLong,
    /// The client says that this server offers no channel binding, but it does: somebody changed the list of
    /// mechanisms on its way (RFC 5802 §6).
    #[error(
        "channel binding is offered here, yet the client did not see it: the list of mechanisms was tampered with"
    )]
    Downgraded,
    /// A -PLUS mechanism without channel binding, or the reverse, or a type of binding this connection lacks.
    #[error("the channel binding asked for is not to be had on this connection")]
    BindingUnavailable,
    /// The client's end of the TLS channel is not ours: somebody sits between.
    #[error("the channel binding does not match: somebody may sit between client and server")]
    BindingMismatch,
    /// The client demands an extension (`m=`) that this server does not know (RFC 5802 §5.1).
    #[error("a mandatory extension is not supported")]
    Extension,
    /// The stored credential cannot be used. The server's fault.
    #[error("the stored credential is unusable")]
    Temporary,
    /// The caller answered another question than was asked. The caller's fault.
    #[error("out of order")]
    OutOfOrder,
}

impl Failure {
    /// The error condition of RFC 6120 §6.5 and XEP-0388 that says this.
    pub const fn condition(self) -> &'static str {
        match self {
            Self::NotAuthorized | Self::Downgraded | Self::BindingUnavailable | Self::BindingMismatch => {
                "not-authorized"
            }
            Self::Malformed(_) | Self::TooLong | Self::Extension => "malformed-request",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::Temporary | Self::OutOfOrder => "temporary-auth-failure",
        }
    }
}

/// One authentication exchange; see the module's page.
pub struct Sasl {
    mechanism: Mechanism,
    setup: Setup,
    state: State,
}

enum State {
    /// The client's first message is still to come.
    Initial,
    /// PLAIN: the account is being looked up.
    PlainLookup { name: LoginName, password: Password },
    /// PLAIN: the keys are being derived; `known` is false for made-up ones.
    PlainDerive { name: LoginName, keys: ScramKeys, known: bool },
    /// SCRAM: the account is being looked up.
    ScramLookup(Box<Scram>),
    /// SCRAM: the client's proof is still to come.
    ScramProof { scram: Box<Scram>, keys: ScramKeys, known: bool },
    /// Over.
    Ended,
}

impl Sasl {
    /// Begins an exchange. `initial` is the client's initial response where the protocol carried one (decoded); when
    /// it is absent the first step is an empty challenge.
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>, setup: Setup) -> (Self, Step) {
        let mut sasl = Self { mechanism, setup, state: State::Initial };
        let step = match initial {
            Some(message) => sasl.respond(message),
            None => Step::Challenge(Vec::new()),
        };
        (sasl, step)
    }

    /// The mechanism in use.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes the client's next message, decoded.
    pub fn respond(&mut self, message: &[u8]) -> Step {
        let state = std::mem::replace(&mut self.state, State::Ended);
        if message.len() > MAX_MESSAGE {
            return Step::Failure(Failure::TooLong);
        }
        match state {
            State::Initial => self.first(message).unwrap_or_else(Step::Failure),
            State::ScramProof { scram, keys, known } => match scram.verify(message, &keys, known) {
                Ok(proof) => Step::Success { name: scram.into_name(), additional: Some(proof) },
                Err(failure) => Step::Failure(failure),
            },
            _ => Step::Failure(Failure::OutOfOrder),
        }
    }

    /// Takes the outcome of the look-up asked for by [`Step::NeedCredential`].
    pub fn credential(&mut self, found: Option<&Credential>) -> Step {
        let hash = self.mechanism.hash();
        match std::mem::replace(&mut self.state, State::Ended) {
            State::PlainLookup { name, password } => {
                let (keys, known) = self.keys(found, &name, hash);
                let job = Derivation { hash, password, salt: keys.salt.clone(), iterations: keys.iterations };
                self.state = State::PlainDerive { name, keys, known };
                Step::NeedDerive(job)
            }
            State::ScramLookup(mut scram) => {
                let (keys, known) = self.keys(found, scram.name(), hash);
                let challenge = scram.challenge(&keys);
                self.state = State::ScramProof { scram, keys, known };
                Step::Challenge(challenge)
            }
            _ => Step::Failure(Failure::OutOfOrder),
        }
    }

    /// Takes the result of the job asked for by [`Step::NeedDerive`].
    pub fn derived(&mut self, derived: &ScramKeys) -> Step {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::PlainDerive { name, keys, known } => {
                if keys.same_secret(derived) & known {
                    Step::Success { name, additional: None }
                } else {
                    Step::Failure(Failure::NotAuthorized)
                }
            }
            _ => Step::Failure(Failure::OutOfOrder),
        }
    }

    fn first(&mut self, message: &[u8]) -> Result<Step, Failure> {
        let name = if self.mechanism == Mechanism::Plain {
            let (name, password) = plain::parse(message, &self.setup.domain)?;
            self.state = State::PlainLookup { name: name.clone(), password };
            name
        } else {
            let nonce = data_encoding::BASE64.encode(&self.setup.nonce);
            let scram = Scram::first(message, self.mechanism, &self.setup, &nonce)?;
            let name = scram.name().clone();
            self.state = State::ScramLookup(Box::new(scram));
            name
        };
        Ok(Step::NeedCredential(name))
    }

    /// The stored keys, or made-up ones that nobody's password fits.
    fn keys(&self, found: Option<&Credential>, name: &LoginName, hash: Hash) -> (ScramKeys, bool) {
        match found {
            Some(credential) => (credential.keys(hash).clone(), true),
            None => (ScramKeys::fake(hash, &self.setup.secret, &name.account, self.setup.iterations), false),
        }
    }
}

#[cfg(test)]
mod tests;
