//! Work that takes long and is done outside the worker: password derivation.

use crate::sasl::{Credential, Derivation, Password, SALT_LEN, ScramKeys, derive_credential};

/// A job.
#[derive(Debug)]
pub enum Job {
    /// Derive keys to compare with stored ones.
    Derive(Derivation),
    /// Make the credential of a new password.
    Credential {
        /// The password.
        password: Password,
        /// Random bytes.
        salt: [u8; SALT_LEN],
        /// PBKDF2 iterations.
        iterations: u32,
    },
}

/// What a job gives.
#[derive(Debug)]
pub enum Done {
    /// Keys.
    Keys(ScramKeys),
    /// A credential.
    Credential(Credential),
}

impl Job {
    /// Does it. Tens of milliseconds.
    #[must_use]
    pub fn run(self) -> Done {
        match self {
            Job::Derive(derivation) => Done::Keys(derivation.run()),
            Job::Credential { password, salt, iterations } => {
                Done::Credential(derive_credential(&password, salt, iterations))
            }
        }
    }
}
