//! The command line of both binaries. Reading it is pure: arguments in, an [`Invocation`] or a [`UsageError`] out.
//!
//! Commands and options are rows of one table, from which parsing, `--help` and suggestions come.

mod exit;
mod help;
mod table;

pub use exit::Exit;
pub use help::version;

use crate::config::closest;
use help::help;
use lexopt::Arg;
use std::ffi::OsString;
use std::path::PathBuf;
use table::{COMMANDS, CommandRow, OPTIONS, OptionRow, Topic};

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// `--config`: the configuration file; `None`: the usual place, if there is a file.
    pub config: Option<PathBuf>,
    /// `--data-dir`, which wins over the file.
    pub data_dir: Option<PathBuf>,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Be the server.
    Run,
    /// Start a server in a folder of its own, talk to it, say whether this build works here.
    SelfTest,
    /// Print this text and exit with success.
    Print(String),
    /// Print the example configuration.
    ConfigExample,
    /// Print the reference of the configuration.
    ConfigReference,
    /// Read the configuration and tell what is wrong.
    ConfigCheck,
    /// Something for the server's control socket or its store.
    Admin(Admin),
}

/// Something for the server's control socket or its store. Passwords are not on the command line; whoever carries this
/// out asks for them where [`Admin::needs_password`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// Make an account.
    UserAdd {
        /// Its name.
        name: String,
        /// Whether it is an administrator.
        admin: bool,
    },
    /// List accounts.
    UserList,
    /// Give an account another password.
    UserPasswd {
        /// Whose.
        name: String,
    },
    /// Shut an account out.
    UserDisable {
        /// Whose.
        name: String,
    },
    /// Let it in again.
    UserEnable {
        /// Whose.
        name: String,
    },
    /// Delete an account for good.
    UserDelete {
        /// Whose.
        name: String,
    },
    /// List rooms.
    RoomList,
    /// Show a room.
    RoomShow {
        /// Which.
        name: String,
    },
    /// Make an invitation.
    InviteCreate {
        /// How many accounts it makes.
        uses: u32,
        /// For how many days; 0: for ever.
        days: u32,
        /// Whether these are administrators.
        admin: bool,
    },
    /// Write a copy of the store.
    Backup {
        /// Where to.
        file: PathBuf,
    },
    /// Tell how the server is doing.
    Status,
}

impl Admin {
    /// Whether a new password is to be asked for.
    pub fn needs_password(&self) -> bool {
        matches!(self, Self::UserAdd { .. } | Self::UserPasswd { .. })
    }
}

/// Why a command line makes no sense; its text is for people and includes what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\n{hint}")]
pub struct UsageError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl UsageError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Reads the arguments (without the program's name); `program` is the name for help texts.
///
/// # Errors
/// [`UsageError`] for anything that is not in the table.
pub fn parse(program: &str, args: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let given = Given::read(args)?;
    let command = given.command(program)?;
    let path = |name: &str| given.value(name).map(PathBuf::from);
    Ok(Invocation { config: path("config"), data_dir: path("data-dir"), command })
}

/// The arguments, sorted.
struct Given {
    options: Vec<(&'static OptionRow, OsString)>,
    words: Vec<OsString>,
}

impl Given {
    fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut given = Self { options: Vec::new(), words: Vec::new() };
        let mut parser = lexopt::Parser::from_args(args);
        let odd = |e: lexopt::Error| UsageError::new(e.to_string(), SEE_HELP);
        while let Some(arg) = parser.next().map_err(odd)? {
            let found = match &arg {
                Arg::Value(word) => {
                    given.words.push(word.clone());
                    continue;
                }
                Arg::Long(name) => OPTIONS.iter().find(|o| o.long == *name),
                Arg::Short(letter) => OPTIONS.iter().find(|o| o.short == Some(*letter)),
            };
            let Some(row) = found else { return Err(unknown_option(&arg)) };
            let value = if row.value.is_some() { parser.value().map_err(odd)? } else { OsString::new() };
            given.options.push((row, value));
        }
        Ok(given)
    }

    /// The last value given for an option.
    fn value(&self, long: &str) -> Option<&OsString> {
        self.options.iter().rev().find(|(o, _)| o.long == long).map(|(_, value)| value)
    }

    fn has(&self, long: &str) -> bool {
        self.value(long).is_some()
    }

    /// A whole number given for an option.
    fn number(&self, long: &str, default: u32) -> Result<u32, UsageError> {
        let Some(value) = self.value(long) else { return Ok(default) };
        value.to_str().and_then(|v| v.parse().ok()).ok_or_else(|| {
            UsageError::new(format!("--{long}: `{}` is no whole number", value.to_string_lossy()), SEE_HELP)
        })
    }

    fn command(&self, program: &str) -> Result<Command, UsageError> {
        let mut words = Vec::new();
        for word in &self.words {
            words.push(word.to_string_lossy().into_owned());
        }
        if words.first().is_some_and(|w| w == "help") {
            let topic = words[1..].join(" ");
            return topic_of(&topic).map(|t| Command::Print(help(program, t)));
        }
        let found = COMMANDS.iter().find(|c| words.starts_with_words(c.path));
        if self.has("help") {
            let topic = found
                .filter(|c| !c.path.is_empty())
                .map_or_else(|| topic_of(&words.join(" ")), |c| Ok(Topic::Command(c)))?;
            return Ok(Command::Print(help(program, topic)));
        }
        if self.has("version") {
            return Ok(Command::Print(version(program)));
        }
        let row = found
            .filter(|c| !c.path.is_empty() || words.is_empty())
            .ok_or_else(|| unknown_command(&words))?;
        self.accepts(row)?;
        let arguments = &self.words[row.path.len()..];
        check_count(row, arguments)?;
        if self.has("self-test") {
            return Ok(Command::SelfTest);
        }
        (row.build)(self, arguments)
    }

    /// Refuses options that the command does not have.
    fn accepts(&self, row: &CommandRow) -> Result<(), UsageError> {
        for (option, _) in &self.options {
            if !option.is_global() && !row.options.contains(&option.long) {
                let command = if row.path.is_empty() { "the server".to_owned() } else { row.path.join(" ") };
                return Err(UsageError::new(
                    format!("--{} is no option of {command}", option.long),
                    SEE_HELP,
                ));
            }
        }
        Ok(())
    }
}

const SEE_HELP: &str = "See --help.";

trait StartsWithWords {
    fn starts_with_words(&self, path: &[&str]) -> bool;
}

impl StartsWithWords for Vec<String> {
    fn starts_with_words(&self, path: &[&str]) -> bool {
        self.len() >= path.len() && self.iter().zip(path).all(|(a, b)| a == b)
    }
}

fn check_count(row: &CommandRow, arguments: &[OsString]) -> Result<(), UsageError> {
    let usage = format!("Usage: {}", row.usage());
    match row.arguments.get(arguments.len()) {
        Some(missing) => Err(UsageError::new(format!("{} is missing", missing.name), usage)),
        None if arguments.len() > row.arguments.len() => {
            let extra = arguments[row.arguments.len()].to_string_lossy();
            Err(UsageError::new(format!("`{extra}` is too much"), usage))
        }
        None => Ok(()),
    }
}

fn topic_of(words: &str) -> Result<Topic, UsageError> {
    if words.is_empty() {
        return Ok(Topic::Program);
    }
    let group = |c: &&CommandRow| c.path.first().is_some_and(|first| *first == words);
    match COMMANDS.iter().find(|c| !c.path.is_empty() && c.path.join(" ") == words) {
        Some(command) => Ok(Topic::Command(command)),
        None => match COMMANDS.iter().find(group) {
            Some(first) => Ok(Topic::Group(first.path[0])),
            None => Err(unknown_command(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())),
        },
    }
}

fn unknown_option(arg: &Arg<'_>) -> UsageError {
    let (typed, meant) = match arg {
        Arg::Long(name) => (format!("--{name}"), closest(name, OPTIONS.iter().map(|o| o.long))),
        Arg::Short(letter) => (format!("-{letter}"), None),
        Arg::Value(word) => (word.to_string_lossy().into_owned(), None),
    };
    let hint = meant.map_or_else(|| SEE_HELP.to_owned(), |m| format!("Did you mean --{m}?"));
    UsageError::new(format!("there is no option {typed}"), hint)
}

/// The words fit no command: says how the nearest one goes.
fn unknown_command(words: &[String]) -> UsageError {
    let first = words.first().map_or("", String::as_str);
    let in_group: Vec<&CommandRow> =
        COMMANDS.iter().filter(|c| c.path.len() == 2 && c.path[0] == first).collect();
    if !in_group.is_empty() {
        let known: Vec<&str> = in_group.iter().map(|c| c.path[1]).collect();
        let second = words.get(1).map_or("", String::as_str);
        let hint = closest(second, known.iter().copied()).map_or_else(
            || format!("There are: {}.", known.join(", ")),
            |m| format!("Did you mean `{first} {m}`?"),
        );
        let message = if second.is_empty() {
            format!("`{first}` needs to be told what to do")
        } else {
            format!("there is no command `{first} {second}`")
        };
        return UsageError::new(message, hint);
    }
    let known = COMMANDS.iter().filter_map(|c| c.path.first().copied()).chain(["help"]);
    let hint = closest(first, known).map_or_else(|| SEE_HELP.to_owned(), |m| format!("Did you mean `{m}`?"));
    UsageError::new(format!("there is no command `{first}`"), hint)
}

#[cfg(test)]
mod tests;
