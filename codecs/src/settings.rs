//! The settings of a running server: what the core reads, what the protocols read, what listeners are. They are made
//! from a [`Config`], at the start and at each reload.

use crate::config::{Config, Listen, ListenTls};
use lavina_core::limits::Limits;
use lavina_core::settings::Settings as CoreSettings;
use lavina_core::text::Str;
use std::net::SocketAddr;
#[cfg(any(
    feature = "matrix",
    all(feature = "tls", any(feature = "irc", feature = "xmpp", feature = "http"))
))]
use std::sync::Arc;

/// Everything that a projection may look up. A reload makes a new one; sessions see it from then on.
#[derive(Clone)]
pub struct Settings {
    /// What the core reads too.
    pub core: CoreSettings,
    /// PBKDF2 iterations of new passwords.
    pub iterations: u32,
    /// Whether every account may invite people who have none; else administrators alone.
    pub accounts_invite: bool,
    /// Where people reach whoever runs the server, as links.
    pub contact: Vec<String>,
    /// Whether passwords may be sent over a connection without TLS that comes from elsewhere.
    pub plaintext_anywhere: bool,
    /// What only IRC has.
    #[cfg(feature = "irc")]
    pub irc: crate::irc::settings::IrcSettings,
    /// TLS for IRC listeners.
    #[cfg(all(feature = "irc", feature = "tls"))]
    pub irc_tls: Option<Arc<crate::tls::TlsConfig>>,
    /// TLS for XMPP listeners.
    #[cfg(all(feature = "xmpp", feature = "tls"))]
    pub xmpp_tls: Option<Arc<crate::tls::TlsConfig>>,
    /// What only HTTP has.
    #[cfg(feature = "http")]
    pub http: crate::http::settings::HttpSettings,
    /// The version of rooms on Matrix for which a client names none.
    #[cfg(feature = "matrix")]
    pub room_version: &'static str,
    /// The push rules that everybody has on Matrix.
    #[cfg(feature = "matrix")]
    pub push_rules: crate::matrix::push::Predefined,
    /// The filter of those who name none.
    #[cfg(feature = "matrix")]
    pub no_filter: Arc<crate::matrix::filter::Filter>,
    /// TLS for HTTP listeners.
    #[cfg(all(feature = "http", feature = "tls"))]
    pub http_tls: Option<Arc<crate::tls::TlsConfig>>,
}

impl Settings {
    /// Settings without TLS.
    ///
    /// `shards` is what the store was made with (a new one: [`Config::shards`] or the preset's). `secret` is the
    /// server's own, kept in its data directory and the same for ever.
    pub fn new(config: &Config, shards: u8, secret: [u8; 32]) -> Self {
        Self {
            core: CoreSettings {
                domain: Str::new(&config.domain),
                shards,
                limits: Limits {
                    media_size: config.media.max_size,
                    media_bytes: config.media.per_account,
                    ..config.limits.values
                },
                guests: config.guests,
                open_registration: config.registration.open,
                create_rooms: config.rooms.who_may_create,
                ephemeral_rooms: config.rooms.ephemeral,
                secret,
                #[cfg(feature = "matrix")]
                facts: Some(lavina_core::settings::FactsOf(crate::matrix::facts::facts)),
                #[cfg(not(feature = "matrix"))]
                facts: None,
                #[cfg(feature = "matrix")]
                seals: Some(lavina_core::settings::SealsOf {
                    seal: crate::matrix::chain::seal,
                    left: crate::matrix::chain::left,
                }),
                #[cfg(not(feature = "matrix"))]
                seals: None,
                #[cfg(feature = "matrix")]
                level: Some(lavina_core::settings::LevelOf(crate::matrix::facts::level)),
                #[cfg(not(feature = "matrix"))]
                level: None,
            },
            iterations: config.password.iterations,
            accounts_invite: config.registration.accounts_invite,
            contact: config.contact.clone(),
            plaintext_anywhere: config.plaintext_anywhere,
            #[cfg(feature = "irc")]
            irc: crate::irc::settings::IrcSettings::new(config),
            #[cfg(all(feature = "irc", feature = "tls"))]
            irc_tls: None,
            #[cfg(all(feature = "xmpp", feature = "tls"))]
            xmpp_tls: None,
            #[cfg(feature = "http")]
            http: crate::http::settings::HttpSettings::new(config),
            #[cfg(feature = "matrix")]
            room_version: config.rooms.matrix_version,
            #[cfg(feature = "matrix")]
            push_rules: crate::matrix::push::Predefined::default(),
            #[cfg(feature = "matrix")]
            no_filter: Arc::default(),
            #[cfg(all(feature = "http", feature = "tls"))]
            http_tls: None,
        }
    }

    /// The same with a certificate for all TLS listeners.
    ///
    /// # Errors
    /// [`TlsConfigError`](crate::tls::TlsConfigError) when the certificate cannot be used.
    #[cfg(all(feature = "tls", any(feature = "irc", feature = "xmpp", feature = "http")))]
    pub fn with_tls(
        mut self,
        identity: &crate::tls::Identity,
        provider: &crate::tls::Provider,
        clock: crate::tls::Clock,
    ) -> Result<Self, crate::tls::TlsConfigError> {
        use crate::tls::{Alpn, TlsConfig};
        let make = |alpn: Alpn| TlsConfig::new(identity, alpn, provider.clone(), clock).map(Arc::new);
        #[cfg(feature = "irc")]
        {
            self.irc_tls = Some(make(Alpn::Irc)?);
        }
        #[cfg(feature = "xmpp")]
        {
            self.xmpp_tls = Some(make(Alpn::XmppClient)?);
        }
        #[cfg(feature = "http")]
        {
            self.http_tls = Some(make(Alpn::Http)?);
        }
        Ok(self)
    }
}

impl Default for Settings {
    /// What holds without a configuration file, in a store of the preset's number of shards, with an empty secret: for
    /// tests and simulations.
    fn default() -> Self {
        let config = Config::default();
        Self::new(&config, config.limits.preset.shards(), [0; 32])
    }
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
    /// HTTP/1.1.
    #[cfg(feature = "http")]
    Http,
    /// The operator's commands, on a socket that only the server's owner can open.
    Control,
}

impl Protocol {
    /// The protocol of a configured listener, if it is built in.
    fn built(configured: crate::config::Protocol) -> Option<Self> {
        match configured {
            #[cfg(feature = "irc")]
            crate::config::Protocol::Irc => Some(Self::Irc),
            #[cfg(not(feature = "irc"))]
            crate::config::Protocol::Irc => None,
            #[cfg(feature = "xmpp")]
            crate::config::Protocol::Xmpp => Some(Self::Xmpp),
            #[cfg(not(feature = "xmpp"))]
            crate::config::Protocol::Xmpp => None,
            #[cfg(feature = "http")]
            crate::config::Protocol::Http => Some(Self::Http),
            #[cfg(not(feature = "http"))]
            crate::config::Protocol::Http => None,
        }
    }
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

/// A listener to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The addresses to bind, IPv6 first. Of a pair one may fail, on a machine without that family; IPv6 sockets are
    /// to be bound for IPv6 only.
    pub sockets: Vec<SocketAddr>,
    /// What its connections are opened with.
    pub listener: Listener,
    /// Whether each connection begins with a PROXY header, see [`crate::proxy`].
    pub proxy: bool,
}

impl Bind {
    /// The listeners of a configuration, in its order. Protocols that are not built in are left out; the check of the
    /// configuration has told of them.
    pub fn all(config: &Config) -> Vec<Self> {
        config.listen.iter().filter_map(Self::one).collect()
    }

    fn one(listen: &Listen) -> Option<Self> {
        let protocol = Protocol::built(listen.protocol)?;
        let security = match listen.tls {
            ListenTls::Off => Security::Off,
            ListenTls::Starttls => Security::Starttls,
            ListenTls::Direct => Security::Direct,
        };
        let listener = Listener { protocol, security };
        Some(Self { sockets: listen.address.sockets(), listener, proxy: listen.proxy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_listeners_are_bound_for_both_families() {
        for bind in Bind::all(&Config::default()) {
            assert_eq!(bind.sockets.len(), 2);
            assert!(
                bind.listener.security != Security::Off || bind.sockets.iter().all(|s| s.ip().is_loopback())
            );
        }
    }

    #[test]
    fn what_is_configured_arrives() {
        let config =
            crate::config::parse("x", "domain = \"example.org\"\n[password]\niterations = 5000").config;
        let settings = Settings::new(&config, 4, [7; 32]);
        assert_eq!(settings.core.domain, "example.org");
        assert_eq!((settings.core.shards, settings.iterations, settings.core.secret), (4, 5000, [7; 32]));
    }
}
