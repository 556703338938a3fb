//! Work that takes long and is done outside the worker: password derivation, smaller pictures.

#[cfg(all(feature = "matrix", feature = "thumbnails"))]
use crate::matrix::thumbnail::Picture;
use crate::sasl::{Credential, Derivation, Password, SALT_LEN, ScramKeys, derive_credential};

/// A job.
#[derive(Debug)]
pub enum Job {
    /// Derive keys to compare with stored ones.
    Derive(Derivation),
    /// Make a picture smaller.
    #[cfg(all(feature = "matrix", feature = "thumbnails"))]
    Thumbnail {
        /// The picture.
        picture: Picture,
        /// The media type it is said to have.
        said: lavina_core::text::Str,
        /// To what.
        spec: crate::matrix::thumbnail::Spec,
    },
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
    /// A smaller picture, if it could be made.
    #[cfg(all(feature = "matrix", feature = "thumbnails"))]
    Thumbnail(Option<Picture>),
}

impl Job {
    /// Does it. Tens of milliseconds.
    #[must_use]
    pub fn run(self) -> Done {
        match self {
            #[cfg(all(feature = "matrix", feature = "thumbnails"))]
            Job::Thumbnail { picture, said, spec } => {
                Done::Thumbnail(crate::matrix::thumbnail::make(&picture, &said, spec))
            }
            Job::Derive(derivation) => Done::Keys(derivation.run()),
            Job::Credential { password, salt, iterations } => {
                Done::Credential(derive_credential(&password, salt, iterations))
            }
        }
    }
}
