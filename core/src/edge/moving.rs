//! A connection on its way to another worker, with all that belongs to it.

use crate::{
    edge::session::{Core, Flow},
    name::User,
    projection::Projection,
};
use alloc::vec::Vec;

/// A connection between two workers; opaque outside.
pub struct Moving<P: Projection> {
    pub(crate) projection: P,
    pub(crate) core: Core,
    pub(crate) layer: Option<P::Layer>,
    /// Plain bytes not taken yet.
    pub(crate) inbox: Vec<u8>,
    /// Bytes of the layer not sent yet.
    pub(crate) wire: Vec<u8>,
    pub(crate) secured: bool,
    pub(crate) flow: Flow,
    /// As whom it logs in at its new place; `None`: it serves whoever its requests are of.
    pub(crate) login: Option<User>,
}

impl<P: Projection> core::fmt::Debug for Moving<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Moving").field("login", &self.login.as_ref().map(|u| u.id)).finish_non_exhaustive()
    }
}
