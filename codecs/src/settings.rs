//! The settings of a running server: what the core reads, what the protocols read, what listeners are.

use lavina_core::settings::Settings as CoreSettings;
#[cfg(feature = "tls")]
use std::sync::Arc;

/// Everything that a projection may look up. A reload makes a new one; sessions see it from then on.
#[derive(Clone, Default)]
pub struct Settings {
    /// What the core reads too.
    pub core: CoreSettings,
    /// PBKDF2 iterations of new passwords.
    pub iterations: u32,
    /// Whether passwords may be sent over a connection without TLS that comes from elsewhere.
    pub plaintext_anywhere: bool,
    /// TLS for IRC listeners.
    #[cfg(all(feature = "irc", feature = "tls"))]
    pub irc_tls: Option<Arc<crate::tls::TlsConfig>>,
    /// TLS for XMPP listeners.
    #[cfg(all(feature = "xmpp", feature = "tls"))]
    pub xmpp_tls: Option<Arc<crate::tls::TlsConfig>>,
}

impl AsRef<CoreSettings> for Settings {
    fn as_ref(&self) -> &CoreSettings {
        &self.core
    }
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IRC for clients.
    #[cfg(feature = "irc")]
    Irc,
    /// XMPP for clients.
    #[cfg(feature = "xmpp")]
    Xmpp,
}

/// How a listener is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Off,
    /// Plain at first; nothing but the upgrade is possible before it.
    Starttls,
    /// TLS from the first byte.
    Direct,
}

/// Where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken.
    pub protocol: Protocol,
    /// How it is protected.
    pub security: Security,
}
