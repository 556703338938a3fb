//! The configuration file: TOML, read into one plain [`Config`].
//!
//! Every key is one row of one table (`keys`): its name, type, default, meaning and what it sets. From these rows
//! come parsing, the refusal of unknown keys (with a suggestion), `config example` and the reference page. Reading is
//! pure; paths are not opened here.

mod address;
mod check;
mod diagnostic;
mod docs;
mod keys;
mod read;

pub use address::ListenAddress;
pub(crate) use diagnostic::closest;
pub use diagnostic::{Diagnostic, Severity};
pub use docs::{example, reference};

use crate::sasl::DEFAULT_ITERATIONS;
use lavina_core::limits::Limits;
use lavina_core::log::Level;
use lavina_core::settings::{Guests, WhoMay};

/// Everything an operator can decide. [`Config::default`] is what holds without a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The domain of this server, lower case.
    pub domain: String,
    /// Where store, certificate and control socket live; `None`: the place usual on this machine.
    pub data_dir: Option<String>,
    /// Worker threads; 0: one per CPU.
    pub workers: u32,
    /// Logical shards of a newly made store, a power of two; `None`: as the limits' preset has it.
    pub shards: Option<u8>,
    /// When a message counts as stored.
    pub durability: Durability,
    /// People without account.
    pub guests: Guests,
    /// Whether listeners without TLS may be reachable from elsewhere.
    pub plaintext_anywhere: bool,
    /// Where people reach whoever runs the server, as links.
    pub contact: Vec<String>,
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Certificate and key.
    pub tls: Tls,
    /// Logging.
    pub log: Log,
    /// Making accounts.
    pub registration: Registration,
    /// Passwords.
    pub password: PasswordConfig,
    /// Rooms.
    pub rooms: Rooms,
    /// Files that people share.
    pub media: MediaConfig,
    /// Sizes and counts.
    pub limits: LimitsConfig,
    /// What only IRC clients see.
    pub irc: Irc,
    /// What only HTTP clients see.
    pub http: Http,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub address: ListenAddress,
    /// What is spoken there.
    pub protocol: Protocol,
    /// How it is protected.
    pub tls: ListenTls,
    /// Whether each connection begins with a PROXY header.
    pub proxy: bool,
}

/// A protocol with listeners of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IRC for clients.
    Irc,
    /// XMPP for clients.
    Xmpp,
    /// HTTP/1.1, and what is spoken over it.
    Http,
}

/// How a listener is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenTls {
    /// Not at all.
    Off,
    /// Plain at first; nothing but the upgrade is possible before it.
    Starttls,
    /// From the first byte.
    Direct,
}

/// When a message counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it survives a loss of power.
    PowerLoss,
    /// When it survives a crash of the program.
    Process,
}

/// Certificate and key files; both or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the chain, leaf first.
    pub certificate: Option<String>,
    /// PEM file of the private key.
    pub key: Option<String>,
}

/// Logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// What is told.
    pub level: Level,
    /// How it is written.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Making accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    /// Whether anybody may, without an invitation.
    pub open: bool,
    /// IRC: whether before a connection is complete.
    pub before_connect: bool,
    /// Whether every account may invite people who have none.
    pub accounts_invite: bool,
}

/// Passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordConfig {
    /// PBKDF2 iterations for new passwords.
    pub iterations: u32,
}

/// Rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rooms {
    /// Who may make them.
    pub who_may_create: WhoMay,
    /// Whether a disconnect of the last IRC client leaves its rooms.
    pub leave_on_quit: bool,
    /// Whether a room ends when its last member leaves.
    pub ephemeral: bool,
    /// Most missed lines a room shows at connect to a client that cannot ask for history.
    pub replay: u32,
    /// Matrix: the version of rooms for which a client names none.
    pub matrix_version: &'static str,
}

/// Files that people share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaConfig {
    /// Bytes of one.
    pub max_size: u64,
    /// Bytes of all of one account.
    pub per_account: u64,
}

/// Sizes and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Which set the others start from.
    pub preset: Preset,
    /// The limits themselves.
    pub values: Limits,
}

/// A set of limits for a size of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// One core and little memory.
    Small,
    /// A server.
    Large,
}

/// What only IRC clients see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Irc {
    /// The network's name; empty: the domain.
    pub network: String,
    /// The server's name; empty: the domain.
    pub server_name: String,
    /// What LINKS and WHOIS say of the server.
    pub server_description: String,
    /// The message of the day.
    pub motd: String,
    /// What PASS must say on every connection; empty: nothing.
    pub password: String,
    /// For how many days clients hold to TLS (IRCv3 sts); zero: it is not offered.
    pub sts_days: u32,
    /// User modes of a new connection: letters.
    pub user_modes: String,
    /// Who may become operator by OPER.
    pub oper: Vec<Oper>,
}

/// What only HTTP clients see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// The address of the HTTP listener as clients must write it, without a slash at its end; empty: what they wrote.
    pub url: String,
}

/// Somebody who may become operator by OPER.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Oper {
    /// The name given to OPER.
    pub name: String,
    /// The password given to OPER.
    pub password: String,
}

impl std::fmt::Debug for Oper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Oper({})", self.name)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domain: "localhost".to_owned(),
            data_dir: None,
            workers: 0,
            shards: None,
            durability: Durability::PowerLoss,
            guests: Guests::Off,
            plaintext_anywhere: false,
            contact: Vec::new(),
            listen: Listen::defaults(),
            tls: Tls::default(),
            log: Log { level: Level::Info, format: LogFormat::Text },
            registration: Registration { open: false, before_connect: true, accounts_invite: false },
            password: PasswordConfig { iterations: DEFAULT_ITERATIONS },
            rooms: Rooms {
                who_may_create: WhoMay::Accounts,
                leave_on_quit: false,
                ephemeral: false,
                replay: 50,
                matrix_version: "12",
            },
            media: MediaConfig { max_size: Limits::LARGE.media_size, per_account: Limits::LARGE.media_bytes },
            limits: LimitsConfig { preset: Preset::Large, values: Limits::LARGE },
            irc: Irc { server_description: "a Lavina chat server".to_owned(), ..Irc::default() },
            http: Http::default(),
        }
    }
}

impl Config {
    /// The keys that differ in `new` but are read at a start only; a reload takes everything else over.
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let differ = [
            ("domain", self.domain != new.domain),
            ("data-dir", self.data_dir != new.data_dir),
            ("workers", self.workers != new.workers),
            ("durability", self.durability != new.durability),
            ("listen", self.listen != new.listen),
        ];
        differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

impl Listen {
    /// Where the server listens when nothing is configured: plaintext for this machine only, everything else by TLS.
    /// Protocols and TLS that are not built in are left out.
    pub fn defaults() -> Vec<Self> {
        let listen = |address, protocol, tls| Self { address, protocol, tls, proxy: false };
        let all = [
            listen(ListenAddress::Localhost(6667), Protocol::Irc, ListenTls::Off),
            listen(ListenAddress::All(6697), Protocol::Irc, ListenTls::Direct),
            listen(ListenAddress::All(5222), Protocol::Xmpp, ListenTls::Starttls),
            listen(ListenAddress::All(5223), Protocol::Xmpp, ListenTls::Direct),
            listen(ListenAddress::Localhost(8008), Protocol::Http, ListenTls::Off),
            listen(ListenAddress::All(8443), Protocol::Http, ListenTls::Direct),
        ];
        let built = |l: &Self| l.protocol.is_built() && (l.tls == ListenTls::Off || cfg!(feature = "tls"));
        all.into_iter().filter(built).collect()
    }
}

impl Preset {
    /// Its limits.
    pub const fn limits(self) -> Limits {
        match self {
            Self::Small => Limits::SMALL,
            Self::Large => Limits::LARGE,
        }
    }

    /// Its number of logical shards.
    pub const fn shards(self) -> u8 {
        match self {
            Self::Small => 4,
            Self::Large => 64,
        }
    }
}

impl Protocol {
    /// Whether this program was built with it.
    pub const fn is_built(self) -> bool {
        match self {
            Self::Irc => cfg!(feature = "irc"),
            Self::Xmpp => cfg!(feature = "xmpp"),
            Self::Http => cfg!(feature = "http"),
        }
    }

    /// As it is written in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Irc => "irc",
            Self::Xmpp => "xmpp",
            Self::Http => "http",
        }
    }
}

/// What came of reading a file.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The configuration; where something was wrong, its default stands.
    pub config: Config,
    /// What was wrong, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether the server may start with it: nothing worse than warnings.
    pub fn is_usable(&self) -> bool {
        self.diagnostics.iter().all(|d| d.severity == Severity::Warning)
    }
}

/// Reads the text of a configuration file; `file` is its name for the diagnostics. Never fails: all that is wrong is
/// told at once, syntax errors alone end the reading.
pub fn parse(file: &str, text: &str) -> Parsed {
    let mut config = Config::default();
    let mut reader = read::Reader::new(file, text);
    if let Some(spans) = reader.document(&mut config) {
        check::check(&config, &spans, &mut reader);
    }
    let mut diagnostics = reader.finish();
    diagnostics.sort_by_key(|d| (d.line, d.column));
    Parsed { config, diagnostics }
}

#[cfg(test)]
mod tests;
