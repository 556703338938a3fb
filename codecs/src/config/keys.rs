//! The key table: every key of the configuration file, once.

use super::read::{Key, Reader, Set, Spans};
use super::{
    Config, Durability, Http, Irc, LimitsConfig, Listen, ListenAddress, ListenTls, Log, LogFormat,
    MediaConfig, Oper, PasswordConfig, Preset, Protocol, Registration, Rooms, Tls,
};
use crate::sasl::{MAX_ITERATIONS, MIN_ITERATIONS};
use lavina_core::log::Level;
use lavina_core::settings::{Guests, WhoMay};
use toml_span::Value;

/// A `[table]` or `[[table]]` of the file.
pub(super) struct Section {
    /// Its name.
    pub name: &'static str,
    /// Whether it is a list of tables.
    pub repeated: bool,
    /// What it is about.
    pub doc: &'static str,
    /// Reads it.
    pub read: fn(&mut Reader<'_>, &Value<'_>, &mut Config, &mut Spans),
    /// Its keys, for the documentation.
    pub rows: fn() -> Vec<Row>,
}

/// What the documentation needs of a [`Key`].
pub(super) struct Row {
    pub name: &'static str,
    pub kind: String,
    pub value: &'static str,
    pub is_default: bool,
    pub doc: &'static str,
}

impl Section {
    /// As it is written in the file.
    pub(super) fn header(&self) -> String {
        if self.repeated { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

/// The rows of a list of keys.
pub(super) fn rows<T>(keys: &'static [Key<T>]) -> Vec<Row> {
    let row = |k: &Key<T>| Row {
        name: k.name,
        kind: k.set.describe(),
        value: k.value,
        is_default: k.is_default,
        doc: k.doc,
    };
    keys.iter().map(row).collect()
}

const fn key<T>(name: &'static str, value: &'static str, doc: &'static str, set: Set<T>) -> Key<T> {
    Key { name, value, is_default: true, doc, set }
}

/// A key without default: `value` is only an example.
const fn optional<T>(name: &'static str, value: &'static str, doc: &'static str, set: Set<T>) -> Key<T> {
    Key { name, value, is_default: false, doc, set }
}

const fn count<T>(min: i64, max: i64, set: fn(&mut T, i64)) -> Set<T> {
    Set::Integer { min, max, set }
}

/// The tables of the file.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        name: "listen",
        repeated: true,
        doc: "Where to listen: one table a listener. Without any, those below hold; with one, only those written.",
        read: read_listen,
        rows: || rows(LISTEN),
    },
    Section {
        name: "tls",
        repeated: false,
        doc: "The certificate. Without one, a self-signed certificate is made in the data directory at first start.",
        read: |reader, value, config, spans| {
            spans.tls = value.span.start;
            reader.table(value, "tls", TLS, &[], &mut config.tls);
        },
        rows: || rows(TLS),
    },
    Section {
        name: "log",
        repeated: false,
        doc: "The log, written to standard error. It never holds message text, passwords or tokens.",
        read: |reader, value, config, _| reader.table(value, "log", LOG, &[], &mut config.log),
        rows: || rows(LOG),
    },
    Section {
        name: "registration",
        repeated: false,
        doc: "How accounts come into being, besides `lavina user add` and invitations.",
        read: |reader, value, config, _| {
            reader.table(value, "registration", REGISTRATION, &[], &mut config.registration);
        },
        rows: || rows(REGISTRATION),
    },
    Section {
        name: "password",
        repeated: false,
        doc: "How passwords are stored: as SCRAM keys of both hashes, never themselves.",
        read: |reader, value, config, _| reader.table(value, "password", PASSWORD, &[], &mut config.password),
        rows: || rows(PASSWORD),
    },
    Section {
        name: "rooms",
        repeated: false,
        doc: "Rooms.",
        read: |reader, value, config, _| reader.table(value, "rooms", ROOMS, &[], &mut config.rooms),
        rows: || rows(ROOMS),
    },
    Section {
        name: "irc",
        repeated: false,
        doc: "What only IRC clients see.",
        read: read_irc,
        rows: || rows(IRC),
    },
    Section {
        name: "irc.oper",
        repeated: true,
        doc: "Somebody who may become operator with OPER. (Administrators of the server need no OPER.)",
        read: |_, _, _, _| (), // read by [irc], whose member it is
        rows: || rows(OPER),
    },
    Section {
        name: "http",
        repeated: false,
        doc: "What is served over HTTP.",
        read: |reader, value, config, _| reader.table(value, "http", HTTP, &[], &mut config.http),
        rows: || rows(HTTP),
    },
    Section {
        name: "media",
        repeated: false,
        doc: "Files that people share. They are kept in the folder media of the data directory, each content once.",
        read: |reader, value, config, _| reader.table(value, "media", MEDIA, &[], &mut config.media),
        rows: || rows(MEDIA),
    },
    Section {
        name: "limits",
        repeated: false,
        doc: "Sizes and counts. The defaults shown are those of the preset \"large\".",
        read: |reader, value, config, _| reader.table(value, "limits", LIMITS, &[], &mut config.limits),
        rows: || rows(LIMITS),
    },
];

/// Keys at the top of the file.
pub(super) const ROOT: &[Key<Config>] = &[
    key(
        "domain",
        "\"localhost\"",
        "The domain of this server: the account alice is alice@domain. Cannot change once there are accounts.",
        Set::Text(|c, v| {
            c.domain = domain(v)?;
            Ok(())
        }),
    ),
    optional(
        "data-dir",
        "\"/var/lib/lavina\"",
        "Where the store, the self-made certificate and the control socket live. Made if missing, for its owner only. \
         Without it: /var/lib/lavina for root, else lavina under $XDG_DATA_HOME (~/.local/share). The option \
         --data-dir wins.",
        Set::Text(|c, v| {
            c.data_dir = Some(not_empty(v)?);
            Ok(())
        }),
    ),
    key(
        "workers",
        "0",
        "Worker threads; 0 is one per CPU.",
        count(0, 64, |c, n| c.workers = u32::try_from(n).unwrap_or(0)),
    ),
    optional(
        "shards",
        "64",
        "Into how many parts the store is divided: 1, 2, 4, 8, 16, 32 or 64. Fixed when the store is made, then \
         ignored. Without it: 64, or 4 with the preset \"small\".",
        Set::Integer { min: 1, max: 64, set: |c, n| c.shards = u8::try_from(n).ok() },
    ),
    key(
        "durability",
        "\"power-loss\"",
        "When a message counts as stored: \"power-loss\" when it survives a loss of power, \"process\" when it \
         survives a crash of the program; the latter is kind to SD cards.",
        Set::OneOf(&["power-loss", "process"], |c, i| {
            c.durability = [Durability::PowerLoss, Durability::Process][i];
        }),
    ),
    key(
        "guests",
        "\"off\"",
        "People without account: \"off\"; \"named\": as guest-NAME; \"free\": under any name unlike all accounts'.",
        Set::OneOf(&["off", "named", "free"], |c, i| {
            c.guests = [Guests::Off, Guests::Named, Guests::Free][i]
        }),
    ),
    key(
        "plaintext-anywhere",
        "false",
        "Allow listeners with tls = \"off\" that other machines can reach. Passwords and messages then cross the \
         network readable; for a trusted network or behind a proxy that does TLS.",
        Set::Bool(|c, b| c.plaintext_anywhere = b),
    ),
    key(
        "contact",
        "\"\"",
        "Where people reach whoever runs this server: links with a space between, as \"mailto:admin@example.org \
         xmpp:admin@example.org\". Clients show them (XMPP).",
        Set::Text(|c, v| {
            c.contact = links(v)?;
            Ok(())
        }),
    ),
];

fn links(value: &str) -> Result<Vec<String>, String> {
    let link = |word: &str| {
        let scheme =
            word.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
        let fine = scheme && !word.chars().any(char::is_control);
        if fine {
            Ok(word.to_owned())
        } else {
            Err(format!("`{word}` is no link as \"mailto:admin@example.org\""))
        }
    };
    value.split_whitespace().map(link).collect()
}

const LISTEN: &[Key<Listening>] = &[
    optional(
        "address",
        "\"*:6697\"",
        "Address and port: \"*:6697\" is all addresses of the machine, \"localhost:6667\" this machine only, \
         else an IP address as \"192.0.2.1:6697\" or \"[2001:db8::1]:6697\". Required.",
        Set::Text(|l, v| {
            l.address = Some(v.parse()?);
            Ok(())
        }),
    ),
    optional(
        "protocol",
        "\"irc\"",
        "What is spoken there. Required.",
        Set::OneOf(&["irc", "xmpp", "http"], |l, i| {
            l.protocol = Some([Protocol::Irc, Protocol::Xmpp, Protocol::Http][i]);
        }),
    ),
    key(
        "tls",
        "\"direct\"",
        "\"direct\": TLS from the first byte; \"starttls\": the client must upgrade before it can do anything \
         (XMPP only); \"off\": none, on this machine only unless plaintext-anywhere is set.",
        Set::OneOf(&["off", "starttls", "direct"], |l, i| {
            l.tls = [ListenTls::Off, ListenTls::Starttls, ListenTls::Direct][i];
        }),
    ),
    key(
        "proxy",
        "false",
        "Every connection begins with a PROXY header (version 1 or 2) that says where it really comes from; one \
         without is closed.",
        Set::Bool(|l, b| l.proxy = b),
    ),
];

const TLS: &[Key<Tls>] = &[
    optional(
        "certificate",
        "\"/etc/ssl/lavina/fullchain.pem\"",
        "PEM file with the certificate chain, the server's own first. Read again at SIGHUP. Relative paths start at \
         this file.",
        Set::Text(|t, v| {
            t.certificate = Some(not_empty(v)?);
            Ok(())
        }),
    ),
    optional(
        "key",
        "\"/etc/ssl/lavina/privkey.pem\"",
        "PEM file with its private key.",
        Set::Text(|t, v| {
            t.key = Some(not_empty(v)?);
            Ok(())
        }),
    ),
];

const LOG: &[Key<Log>] = &[
    key(
        "level",
        "\"info\"",
        "What is told: \"error\": somebody must act; \"warn\": wrong but handled; \"info\": starts, stops, logins; \
         \"debug\": each request.",
        Set::OneOf(&["error", "warn", "info", "debug"], |l, i| {
            l.level = [Level::Error, Level::Warn, Level::Info, Level::Debug][i];
        }),
    ),
    key(
        "format",
        "\"text\"",
        "One readable line an event, or one JSON object.",
        Set::OneOf(&["text", "json"], |l, i| l.format = [LogFormat::Text, LogFormat::Json][i]),
    ),
];

const REGISTRATION: &[Key<Registration>] = &[
    key(
        "open",
        "false",
        "Anybody who can connect may make an account (IRC: REGISTER and NickServ; XMPP: in-band registration). Without it \
     an invitation is needed.",
        Set::Bool(|r, b| r.open = b),
    ),
    key(
        "before-connect",
        "true",
        "IRC: an account can be made before the connection is complete, so that a client comes in with it.",
        Set::Bool(|r, b| r.before_connect = b),
    ),
    key(
        "invitations",
        "\"admins\"",
        "Who can invite people to have an account here, by a client's own means (XMPP): \"admins\", or all \
         \"accounts\". Always possible: `lavina invite create`.",
        Set::OneOf(&["admins", "accounts"], |r, i| r.accounts_invite = i == 1),
    ),
];

const PASSWORD: &[Key<PasswordConfig>] = &[key(
    "iterations",
    "10000",
    "PBKDF2 iterations for new passwords: more cost an attacker more, and every login of a client with SCRAM too.",
    Set::Integer {
        min: MIN_ITERATIONS as i64,
        max: MAX_ITERATIONS as i64,
        set: |p, n| p.iterations = u32::try_from(n).unwrap_or(MAX_ITERATIONS),
    },
)];

const ROOMS: &[Key<Rooms>] = &[
    key(
        "who-may-create",
        "\"accounts\"",
        "Who makes a room by joining a free name: \"admins\", \"accounts\" or, guests too, \"everybody\".",
        Set::OneOf(&["admins", "accounts", "everybody"], |r, i| {
            r.who_may_create = [WhoMay::Admins, WhoMay::Accounts, WhoMay::Everybody][i];
        }),
    ),
    key("ephemeral", "false", "A room ends when its last member leaves.", Set::Bool(|r, b| r.ephemeral = b)),
    key(
        "leave-on-quit",
        "false",
        "IRC: when the last connection of an account closes, it leaves its rooms, as on classic networks. Otherwise \
         it stays a member and hears at its next connect what it missed.",
        Set::Bool(|r, b| r.leave_on_quit = b),
    ),
    key(
        "replay",
        "50",
        "IRC: most missed lines a room shows at connect to a client that cannot ask for history itself.",
        count(0, 1000, |r, n| r.replay = u32::try_from(n).unwrap_or(0)),
    ),
    key(
        "matrix-version",
        "\"12\"",
        "Matrix: the version of rooms for which a client names none. Clients older than August 2025 do not see that whoever \
         made a room of version 12 rules it: \"11\" is for them.",
        Set::OneOf(&["12", "11", "10"], |r, i| r.matrix_version = ["12", "11", "10"][i]),
    ),
];

const IRC: &[Key<Irc>] = &[
    optional(
        "network",
        "\"Example\"",
        "The network's name, without spaces. Without it: the domain.",
        Set::Text(|i, v| {
            i.network = word(v)?;
            Ok(())
        }),
    ),
    optional(
        "server-name",
        "\"irc.example.org\"",
        "The server's own name, with a dot in it, else some clients take it for a nick. Without it: the domain.",
        Set::Text(|i, v| {
            i.server_name = word(v)?;
            Ok(())
        }),
    ),
    key(
        "server-description",
        "\"a Lavina chat server\"",
        "What WHOIS says of the server.",
        Set::Text(|i, v| {
            i.server_description = line(v)?;
            Ok(())
        }),
    ),
    key(
        "motd",
        "\"\"",
        "The message of the day; several lines between \"\"\" and \"\"\".",
        Set::Text(|i, v| {
            v.clone_into(&mut i.motd);
            Ok(())
        }),
    ),
    optional(
        "password",
        "\"swordfish\"",
        "What PASS must say on every IRC connection; for a closed circle without accounts of their own. Without it: \
         nothing.",
        Set::Text(|i, v| {
            i.password = line(v)?;
            Ok(())
        }),
    ),
    key(
        "sts-days",
        "0",
        "For how many days clients that came over TLS once come only so (IRCv3 sts). Only with a certificate that \
         clients trust, and a listener with TLS; 0: never.",
        count(0, 3650, |i, n| i.sts_days = u32::try_from(n).unwrap_or(0)),
    ),
    key(
        "user-modes",
        "\"\"",
        "User modes that a new connection has: letters, i (invisible) and w (hears WALLOPS).",
        Set::Text(|i, v| {
            if !v.chars().all(|c| matches!(c, 'i' | 'w')) {
                return Err("the letters i and w only".into());
            }
            v.clone_into(&mut i.user_modes);
            Ok(())
        }),
    ),
];

const HTTP: &[Key<Http>] = &[optional(
    "url",
    "\"https://chat.example.org\"",
    "Under which address clients reach the HTTP listener, as a proxy in front may decide. Without it: the one they used.",
    Set::Text(|h, v| {
        h.url = url(v)?;
        Ok(())
    }),
)];

const OPER: &[Key<Oper>] = &[
    optional(
        "name",
        "\"admin\"",
        "The name given to OPER. Required.",
        Set::Text(|o, v| {
            o.name = word(v)?;
            Ok(())
        }),
    ),
    optional(
        "password",
        "\"correct horse battery\"",
        "The password given to OPER. Required. Keep this file readable for the server only.",
        Set::Text(|o, v| {
            o.password = line(v)?;
            Ok(())
        }),
    ),
];

const MEDIA: &[Key<MediaConfig>] = &[
    key(
        "max-size",
        "52428800",
        "Bytes of one file; larger ones are refused.",
        count(0, 1_099_511_627_776, |m, n| m.max_size = n.unsigned_abs()),
    ),
    key(
        "per-account",
        "1073741824",
        "Bytes of all files of one account; further ones are refused.",
        count(0, 1_125_899_906_842_624, |m, n| m.per_account = n.unsigned_abs()),
    ),
];

/// A limit that is a `usize` in [`lavina_core::limits::Limits`].
macro_rules! size {
    ($name:literal, $value:literal, $doc:literal, $min:literal, $max:literal, $field:ident) => {
        key(
            $name,
            $value,
            $doc,
            count($min, $max, |l, n| l.values.$field = usize::try_from(n).unwrap_or($min)),
        )
    };
}

/// A limit in milliseconds, configured in seconds.
macro_rules! seconds {
    ($name:literal, $value:literal, $doc:literal, $min:literal, $max:literal, $field:ident) => {
        key($name, $value, $doc, count($min, $max, |l, n| l.values.$field = n.unsigned_abs() * 1000))
    };
}

/// A limit that is a `u32`.
macro_rules! number {
    ($name:literal, $value:literal, $doc:literal, $min:literal, $max:literal, $field:ident) => {
        key($name, $value, $doc, count($min, $max, |l, n| l.values.$field = u32::try_from(n).unwrap_or($min)))
    };
}

const LIMITS: &[Key<LimitsConfig>] = &[
    // First, because it sets all others.
    key(
        "preset",
        "\"large\"",
        "Where the other limits start from: \"small\" for boards with little memory, \"large\" for servers.",
        Set::OneOf(&["small", "large"], |l, i| {
            l.preset = [Preset::Small, Preset::Large][i];
            l.values = l.preset.limits();
        }),
    ),
    key(
        "flood",
        "true",
        "Slow down clients that send too fast, and who guesses at passwords over HTTP. Off for tests and trusted bots only.",
        Set::Bool(|l, on| {
            if !on {
                l.values.flood_burst = 0;
                l.values.flood_rate = 0;
            }
        }),
    ),
    number!(
        "connections",
        "100000",
        "Connections of the whole server; above, accepting waits until one goes.",
        1,
        4_000_000,
        connections
    ),
    number!(
        "connections-per-address",
        "64",
        "Connections from one address (an IPv6 /64 is one), closed with a reason above. 0: any number.",
        0,
        1_000_000,
        connections_per_address
    ),
    seconds!("login-time", "60", "Seconds to log in; closed with a reason after.", 1, 3600, login_time),
    number!(
        "login-tries",
        "5",
        "Failed logins of one connection, closed with a reason after.",
        1,
        1000,
        login_tries
    ),
    seconds!(
        "idle-time",
        "180",
        "Seconds of silence after which a client is asked whether it is still there; half as long again without \
         answer ends its session.",
        10,
        86_400,
        idle_time
    ),
    seconds!("resume-time", "300", "Seconds a cut XMPP session waits to be resumed.", 0, 86_400, resume_time),
    size!(
        "sessions-per-account",
        "64",
        "Sessions of one account at once; further logins are refused.",
        1,
        10_000,
        sessions_per_account
    ),
    size!(
        "rooms-per-session",
        "500",
        "Rooms one session can be in; further joins are refused.",
        1,
        100_000,
        rooms_per_session
    ),
    size!("members-per-room", "50000", "Members of one room; full above.", 2, 10_000_000, members),
    size!(
        "outbox",
        "2097152",
        "Bytes of output waiting for a client that reads too slowly; above, its session ends with a reason.",
        196_608,
        1_073_741_824,
        outbox
    ),
    size!("topic-length", "2048", "Bytes of a topic; longer ones are refused.", 64, 8192, topic),
    size!("masks-per-room", "100", "Bans, exceptions and mutes of a room together.", 1, 10_000, masks),
    size!("contacts", "5000", "Contacts of an account.", 1, 100_000, contacts),
    size!("blocked", "1000", "Blocked addresses of an account.", 1, 100_000, blocked),
    number!(
        "history-page",
        "1000",
        "Entries of one answer from the history; more are cut to this.",
        1,
        10_000,
        page
    ),
    size!(
        "derivations",
        "1024",
        "Password derivations waiting per worker; further logins are told to try again.",
        1,
        100_000,
        jobs
    ),
];

/// A listener as far as it is read.
struct Listening {
    address: Option<ListenAddress>,
    protocol: Option<Protocol>,
    tls: ListenTls,
    proxy: bool,
}

fn read_listen(reader: &mut Reader<'_>, value: &Value<'_>, config: &mut Config, spans: &mut Spans) {
    config.listen.clear();
    reader.tables(value, "listen", |reader, element| {
        let mut read = Listening { address: None, protocol: None, tls: ListenTls::Direct, proxy: false };
        reader.table(element, "listen", LISTEN, &[], &mut read);
        let Some(table) = element.as_table() else { return };
        for name in ["address", "protocol"] {
            if !table.contains_key(name) {
                reader.missing(element.span, "listen", name);
            }
        }
        // What is there but wrong has been told already.
        if let (Some(address), Some(protocol)) = (read.address, read.protocol) {
            config.listen.push(Listen { address, protocol, tls: read.tls, proxy: read.proxy });
            spans.listen.push(element.span.start);
        }
    });
}

fn read_irc(reader: &mut Reader<'_>, value: &Value<'_>, config: &mut Config, _: &mut Spans) {
    reader.table(value, "irc", IRC, &["oper"], &mut config.irc);
    let Some(opers) = value.as_table().and_then(|t| t.get("oper")) else { return };
    reader.tables(opers, "irc.oper", |reader, element| {
        let mut oper = Oper::default();
        reader.table(element, "irc.oper", OPER, &[], &mut oper);
        for (name, value) in [("name", &oper.name), ("password", &oper.password)] {
            if value.is_empty() && element.as_table().is_some_and(|t| !t.contains_key(name)) {
                reader.missing(element.span, "irc.oper", name);
            }
        }
        config.irc.oper.push(oper);
    });
}

/// A domain name in lower case, as A-labels.
fn domain(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if !text.is_ascii() {
        return Err(format!("write \"{text}\" in its ASCII form (xn--…)"));
    }
    if lower.len() > 253 || !lower.split('.').all(label) {
        return Err(format!("\"{text}\" is no domain name"));
    }
    Ok(lower)
}

/// An address without path, as browsers know it.
fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest)).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(plain) {
        return Err(
            "must be like \"https://chat.example.org\" or \"https://chat.example.org:8443\"".to_owned()
        );
    }
    Ok(text.strip_suffix('/').unwrap_or(text).to_owned())
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// One line without controls: it becomes part of a protocol line.
fn line(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) { Err("must be one line".to_owned()) } else { not_empty(text) }
}

/// One word: it becomes a parameter that is not the last.
fn word(text: &str) -> Result<String, String> {
    if text.contains(' ') || text.starts_with(':') {
        return Err("must be one word, not beginning with a colon".to_owned());
    }
    line(text)
}
