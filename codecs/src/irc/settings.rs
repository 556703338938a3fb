//! What of the settings only IRC reads.

use lavina_core::text::Str;

use crate::config::Config;
use crate::settings::Settings;

/// Settings of IRC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IrcSettings {
    /// The network's name; empty: the domain.
    pub network: Str,
    /// The server's name; empty: the domain.
    pub server_name: Str,
    /// What LINKS and WHOIS say of the server.
    pub description: Str,
    /// The message of the day, a line each.
    pub motd: Vec<Str>,
    /// What PASS must say on every connection; empty: nothing.
    pub password: Str,
    /// Who may become operator by OPER.
    pub opers: Vec<Oper>,
    /// IRCv3 sts: the port of TLS, and for how many seconds clients hold to it.
    pub sts: Option<(u16, u64)>,
    /// User modes of a new connection.
    pub user_modes: Str,
    /// Whether accounts are made before a connection is complete.
    pub register_before_connect: bool,
    /// Whether an account leaves its channels with its last connection, unless it says otherwise.
    pub leave_on_quit: bool,
    /// Most missed lines a room shows to an old client at connect.
    pub replay: u32,
}

impl IrcSettings {
    /// From the configuration.
    #[must_use]
    pub fn new(config: &Config) -> IrcSettings {
        let irc = &config.irc;
        let oper =
            |o: &crate::config::Oper| Oper { name: Str::new(&o.name), password: Str::new(&o.password) };
        IrcSettings {
            network: Str::new(&irc.network),
            server_name: Str::new(&irc.server_name),
            description: Str::new(&irc.server_description),
            motd: irc.motd.lines().map(Str::new).collect(),
            password: Str::new(&irc.password),
            opers: irc.oper.iter().map(oper).collect(),
            sts: sts(config),
            user_modes: Str::new(&irc.user_modes),
            register_before_connect: config.registration.before_connect,
            leave_on_quit: config.rooms.leave_on_quit,
            replay: config.rooms.replay,
        }
    }
}

/// The port of the first listener with TLS, where clients are to hold to that.
fn sts(config: &Config) -> Option<(u16, u64)> {
    use crate::config::{ListenTls, Protocol};
    let tls = |l: &&crate::config::Listen| l.protocol == Protocol::Irc && l.tls == ListenTls::Direct;
    let port = config.listen.iter().find(tls)?.address.sockets().first()?.port();
    (config.irc.sts_days > 0).then(|| (port, u64::from(config.irc.sts_days) * 86_400))
}

/// Somebody who may become operator by OPER.
#[derive(Clone, PartialEq, Eq)]
pub struct Oper {
    /// The name given to OPER.
    pub name: Str,
    /// The password given to OPER.
    pub password: Str,
}

impl std::fmt::Debug for Oper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Oper({})", self.name)
    }
}

/// The server's name, as the source of its messages.
#[must_use]
pub fn server(settings: &Settings) -> &str {
    or_domain(&settings.irc.server_name, settings)
}

/// The network's name.
#[must_use]
pub fn network(settings: &Settings) -> &str {
    or_domain(&settings.irc.network, settings)
}

fn or_domain<'a>(name: &'a Str, settings: &'a Settings) -> &'a str {
    if name.is_empty() { &settings.core.domain } else { name }
}
