//! The table of commands and options.

use super::{Admin, Command, Given, UsageError};
use std::ffi::OsString;
use std::path::PathBuf;

/// An option.
pub(super) struct OptionRow {
    /// Its name after `--`.
    pub long: &'static str,
    /// Its letter after `-`.
    pub short: Option<char>,
    /// What its value is called, if it takes one.
    pub value: Option<&'static str>,
    /// What it does.
    pub doc: &'static str,
    /// Whether it goes with every command. If not, the commands name it.
    pub global: bool,
}

impl OptionRow {
    pub(super) fn is_global(&self) -> bool {
        self.global
    }
}

/// A command.
pub(super) struct CommandRow {
    /// Its words; none for the server itself.
    pub path: &'static [&'static str],
    /// What must follow.
    pub arguments: &'static [Argument],
    /// Options of its own.
    pub options: &'static [&'static str],
    /// What it does, in a line.
    pub summary: &'static str,
    /// What else is to be known.
    pub detail: &'static str,
    /// An example, without the program's name.
    pub example: &'static str,
    /// Makes it of its arguments, which are as many as `arguments`.
    pub build: fn(&Given, &[OsString]) -> Result<Command, UsageError>,
}

impl CommandRow {
    /// `user add NAME [--admin]`.
    pub(super) fn usage(&self) -> String {
        let mut words: Vec<String> = self.path.iter().map(|&w| w.to_owned()).collect();
        words.extend(self.arguments.iter().map(|a| a.name.to_owned()));
        for option in OPTIONS.iter().filter(|o| self.options.contains(&o.long)) {
            words.push(match option.value {
                Some(value) => format!("[--{} {value}]", option.long),
                None => format!("[--{}]", option.long),
            });
        }
        words.join(" ")
    }
}

/// An argument that a command must have.
pub(super) struct Argument {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
}

/// What help is about.
pub(super) enum Topic {
    /// The whole program.
    Program,
    /// The commands with this first word.
    Group(&'static str),
    /// One command.
    Command(&'static CommandRow),
}

pub(super) const OPTIONS: &[OptionRow] = &[
    OptionRow {
        long: "config",
        short: Some('c'),
        value: Some("FILE"),
        doc: "The configuration file. Without it: /etc/lavina.toml or, for ordinary users, lavina.toml under \
              $XDG_CONFIG_HOME (~/.config) if it exists, else the defaults.",
        global: true,
    },
    OptionRow {
        long: "data-dir",
        short: Some('d'),
        value: Some("DIR"),
        doc: "Where the data are; wins over the configuration file.",
        global: true,
    },
    OptionRow {
        long: "help",
        short: Some('h'),
        value: None,
        doc: "Explain the program or a command.",
        global: true,
    },
    OptionRow { long: "version", short: Some('V'), value: None, doc: "Print the version.", global: true },
    OptionRow {
        long: "self-test",
        short: None,
        value: None,
        doc: "Start a server in a folder of its own, talk to it, say whether this build works here.",
        global: false,
    },
    OptionRow { long: "admin", short: None, value: None, doc: "Make it an administrator.", global: false },
    OptionRow {
        long: "uses",
        short: None,
        value: Some("N"),
        doc: "How many accounts the invitation can make (1).",
        global: false,
    },
    OptionRow {
        long: "days",
        short: None,
        value: Some("N"),
        doc: "How long it holds (7); 0 is for ever.",
        global: false,
    },
];

const NAME: &[Argument] =
    &[Argument { name: "NAME", doc: "The account's name: a letter, then up to 29 of a-z 0-9 _ -." }];

pub(super) const COMMANDS: &[CommandRow] = &[
    CommandRow {
        path: &["user", "add"],
        arguments: NAME,
        options: &["admin"],
        summary: "Make an account.",
        detail: "Asks for the password, or takes the first line of standard input if that is no terminal.",
        example: "user add alice --admin",
        build: |given, a| admin(Admin::UserAdd { name: text(&a[0])?, admin: given.has("admin") }),
    },
    CommandRow {
        path: &["user", "list"],
        arguments: &[],
        options: &[],
        summary: "List the accounts.",
        detail: "One line an account: name, then `admin` and `disabled` where they hold.",
        example: "user list",
        build: |_, _| admin(Admin::UserList),
    },
    CommandRow {
        path: &["user", "passwd"],
        arguments: NAME,
        options: &[],
        summary: "Give an account another password.",
        detail: "Asks for the password, or takes the first line of standard input if that is no terminal. Its sessions \
                 end and must log in again.",
        example: "user passwd alice",
        build: |_, a| admin(Admin::UserPasswd { name: text(&a[0])? }),
    },
    CommandRow {
        path: &["user", "disable"],
        arguments: NAME,
        options: &[],
        summary: "Shut an account out; it keeps its name, rooms and history.",
        detail: "Its sessions end at once.",
        example: "user disable mallory",
        build: |_, a| admin(Admin::UserDisable { name: text(&a[0])? }),
    },
    CommandRow {
        path: &["user", "enable"],
        arguments: NAME,
        options: &[],
        summary: "Let a disabled account in again.",
        detail: "",
        example: "user enable mallory",
        build: |_, a| admin(Admin::UserEnable { name: text(&a[0])? }),
    },
    CommandRow {
        path: &["user", "delete"],
        arguments: NAME,
        options: &[],
        summary: "Delete an account for good.",
        detail: "Its sessions end, it leaves all rooms, and nobody can ever take its name.",
        example: "user delete mallory",
        build: |_, a| admin(Admin::UserDelete { name: text(&a[0])? }),
    },
    CommandRow {
        path: &["room", "list"],
        arguments: &[],
        options: &[],
        summary: "List the rooms.",
        detail: "One line a room: name, members, topic. Secret rooms too.",
        example: "room list",
        build: |_, _| admin(Admin::RoomList),
    },
    CommandRow {
        path: &["room", "show"],
        arguments: &[Argument { name: "ROOM", doc: "The room's name, without any protocol's mark: lobby." }],
        options: &[],
        summary: "Show a room: its rules and its members.",
        detail: "",
        example: "room show lobby",
        build: |_, a| admin(Admin::RoomShow { name: text(&a[0])? }),
    },
    CommandRow {
        path: &["invite", "create"],
        arguments: &[],
        options: &["uses", "days", "admin"],
        summary: "Make an invitation, with which people make their own accounts.",
        detail: "Prints it once; only a hash is kept.",
        example: "invite create --uses 5",
        build: |given, _| {
            let (uses, days) = (given.number("uses", 1)?, given.number("days", 7)?);
            admin(Admin::InviteCreate { uses, days, admin: given.has("admin") })
        },
    },
    CommandRow {
        path: &["backup"],
        arguments: &[Argument { name: "FILE", doc: "Where to write; must not exist." }],
        options: &[],
        summary: "Write a consistent copy of the store, while the server runs or not.",
        detail: "To restore: stop the server, put the copy in the place of the store, start.",
        example: "backup /var/backups/lavina.db",
        build: |_, a| admin(Admin::Backup { file: PathBuf::from(&a[0]) }),
    },
    CommandRow {
        path: &["status"],
        arguments: &[],
        options: &[],
        summary: "Tell how the server is doing.",
        detail: "",
        example: "status",
        build: |_, _| admin(Admin::Status),
    },
    CommandRow {
        path: &["config", "check"],
        arguments: &[],
        options: &[],
        summary: "Tell what is wrong with the configuration.",
        detail: "Ends with 78 if the server would not start with it.",
        example: "--config lavina.toml config check",
        build: |_, _| Ok(Command::ConfigCheck),
    },
    CommandRow {
        path: &["config", "example"],
        arguments: &[],
        options: &[],
        summary: "Print a configuration file with every key explained.",
        detail: "",
        example: "config example > lavina.toml",
        build: |_, _| Ok(Command::ConfigExample),
    },
    CommandRow {
        path: &["config", "reference"],
        arguments: &[],
        options: &[],
        summary: "Print all keys as a Markdown page.",
        detail: "",
        example: "config reference",
        build: |_, _| Ok(Command::ConfigReference),
    },
    CommandRow {
        path: &["version"],
        arguments: &[],
        options: &[],
        summary: "Print the version and what is built in.",
        detail: "",
        example: "version",
        build: |_, _| Ok(Command::Print(super::version("lavina"))),
    },
    // Last, because its path fits everything.
    CommandRow {
        path: &[],
        arguments: &[],
        options: &["self-test"],
        summary: "Be the server, in the foreground.",
        detail: "SIGTERM and SIGINT stop it: clients are told, everything is stored. SIGHUP makes it read configuration \
                 and certificates again.",
        example: "--config /etc/lavina.toml",
        build: |_, _| Ok(Command::Run),
    },
];

#[expect(clippy::unnecessary_wraps, reason = "every row builds a Result")]
fn admin(command: Admin) -> Result<Command, UsageError> {
    Ok(Command::Admin(command))
}

fn text(argument: &OsString) -> Result<String, UsageError> {
    let text =
        argument.to_str().ok_or_else(|| UsageError::new("a name is not UTF-8", "Names are plain ASCII."))?;
    Ok(text.to_owned())
}
