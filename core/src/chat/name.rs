//! A name of the one registry: who holds it, and invitations.

use crate::{name::NameKey, row::NameRow};

/// A name and what it stands for.
#[derive(Clone, Debug)]
pub struct Name {
    /// The name.
    pub key: NameKey,
    /// What it stands for; `None`: free.
    pub row: Option<NameRow>,
}
