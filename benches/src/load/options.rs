//! The command line.

use std::{net::SocketAddr, path::PathBuf};

/// Told by `--help`.
pub const HELP: &str = "\
Many clients against a chat server of this machine.

load CASE [OPTIONS]

Cases
  accounts   each client makes its account and goes (Lavina with open registration)
  room       clients in rooms; the first of each speak, everybody must hear
  pairs      clients talk in pairs, each answering the other
  idle       clients connect and say nothing

Options
  --to ADDRESS:PORT   the server, on this machine           [127.0.0.1:6667]
  --protocol irc|xmpp                                       [irc]
  --domain NAME       the server's domain (XMPP)            [localhost]
  --tls               TLS from the first byte; any certificate will do
  --login             log in to accounts (made by `accounts`); XMPP always does
  --names PREFIX      clients are PREFIX0, PREFIX1, …       [load]
  --clients N         at most 20000                         [100]
  --rooms N           rooms the clients are divided among; with `idle` 0 is none [1]
  --senders N         speakers of each room                 [1]
  --window N          messages of a speaker, or a pair, on their way at once [1]
  --pace N            messages a second of all speakers together, instead of a window
  --messages N        messages of each speaker              [100]
  --bytes N           of each text                          [100]
  --seconds N         the longest time; of `idle`: how long, at most 600 [60]
  --pid N             the server's process, whose CPU time and memory are told
  --matrix FILE       clients speak Matrix (room, idle), with the accounts of `benches/matrix_accounts.py`;
                      all sync in its one room, the first one sends, the next when all have the last.
                      Given several times: so many rooms, the clients divided among them

Where it shares the CPUs with the server, run it as `chrt --batch 0 load …`: else each answer that comes wakes it
at once, on the server's own CPU.
";

/// Clients of one run; their sockets and the server's are files of this machine.
const CLIENTS: usize = 20_000;
/// Seconds of one run.
const SECONDS: u64 = 600;
/// The shortest text holds the mark.
const BYTES: std::ops::RangeInclusive<usize> = 48..=400;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Accounts are made.
    Accounts,
    /// Rooms, some speak, all hear.
    Room,
    /// Pairs talk.
    Pairs,
    /// Nothing is said.
    Idle,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IRC.
    Irc,
    /// XMPP.
    Xmpp,
}

/// All options.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is done.
    pub case: Case,
    /// The server.
    pub to: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// The server's domain.
    pub domain: String,
    /// TLS.
    pub tls: bool,
    /// Accounts are logged in to.
    pub login: bool,
    /// What names begin with.
    pub names: String,
    /// Clients.
    pub clients: usize,
    /// Rooms.
    pub rooms: usize,
    /// Speakers of a room.
    pub senders: usize,
    /// Messages on their way of one speaker.
    pub window: usize,
    /// Messages a second.
    pub pace: Option<u32>,
    /// Messages of each speaker.
    pub messages: u32,
    /// Bytes of a text.
    pub bytes: usize,
    /// The longest time.
    pub seconds: u64,
    /// The server's process.
    pub pid: Option<u32>,
    /// Matrix is spoken, with the accounts in these files, one for each room.
    pub matrix: Vec<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            case: Case::Idle,
            to: SocketAddr::from(([127, 0, 0, 1], 6667)),
            protocol: Protocol::Irc,
            domain: "localhost".to_owned(),
            tls: false,
            login: false,
            names: "load".to_owned(),
            clients: 100,
            rooms: 1,
            senders: 1,
            window: 1,
            pace: None,
            messages: 100,
            bytes: 100,
            seconds: 60,
            pid: None,
            matrix: Vec::new(),
        }
    }
}

impl Options {
    /// Reads the command line; nothing: help is wanted.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
        let (mut o, mut case, mut args) = (Options::default(), None, args);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--help" | "-h" => return Ok(None),
                "--tls" => o.tls = true,
                "--login" => o.login = true,
                option if option.starts_with("--") => {
                    let value = args.next().ok_or_else(|| format!("{option} needs a value"))?;
                    o.set(option, &value).ok_or_else(|| format!("{option} {value}: not understood"))?;
                }
                word => case = Some(case_of(word).ok_or_else(|| format!("no case {word}"))?),
            }
        }
        o.case = case.ok_or("which case?")?;
        o.login |= o.protocol == Protocol::Xmpp;
        o.check()?;
        Ok(Some(o))
    }

    fn set(&mut self, option: &str, value: &str) -> Option<()> {
        let count = || value.parse::<usize>().ok();
        match option {
            "--to" => self.to = value.parse().ok()?,
            "--protocol" if value == "irc" => self.protocol = Protocol::Irc,
            "--protocol" if value == "xmpp" => self.protocol = Protocol::Xmpp,
            "--domain" => self.domain = value.to_owned(),
            "--names" => self.names = value.to_owned(),
            "--clients" => self.clients = count()?,
            "--rooms" => self.rooms = count()?,
            "--senders" => self.senders = count()?,
            "--window" => self.window = count()?,
            "--pace" => self.pace = Some(value.parse().ok().filter(|n| *n > 0)?),
            "--messages" => self.messages = value.parse().ok()?,
            "--bytes" => self.bytes = count()?,
            "--seconds" => self.seconds = value.parse().ok()?,
            "--matrix" => self.matrix.push(value.into()),
            "--pid" => self.pid = Some(value.parse().ok()?),
            _ => return None,
        }
        Some(())
    }

    /// Members of each room, or of each pair.
    pub fn members(&self) -> usize {
        match self.case {
            Case::Pairs => 2,
            _ => self.clients / self.rooms.max(1),
        }
    }

    fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(what.to_owned());
        if !self.to.ip().is_loopback() {
            return wrong("only servers of this machine (127.0.0.1, ::1)");
        }
        if self.clients == 0 || self.clients > CLIENTS {
            return wrong("--clients: 1 to 20000");
        }
        if self.seconds == 0 || self.seconds > SECONDS {
            return wrong("--seconds: 1 to 600");
        }
        if !BYTES.contains(&self.bytes) {
            return wrong("--bytes: 48 to 400");
        }
        if self.window == 0 {
            return wrong("--window: at least 1");
        }
        if !self.matrix.is_empty() && (self.tls || !matches!(self.case, Case::Room | Case::Idle)) {
            return wrong("--matrix: room or idle, without TLS");
        }
        if !self.matrix.is_empty() && self.clients < self.matrix.len() {
            return wrong("--matrix: a client in each room at least");
        }
        match self.case {
            Case::Room if self.rooms == 0 || self.members() < 2 => wrong("a room needs two clients"),
            Case::Room if self.senders == 0 || self.senders > self.members() => {
                wrong("--senders: 1 to the members of a room")
            }
            Case::Pairs if self.clients % 2 == 1 => wrong("pairs need an even number of clients"),
            _ => Ok(()),
        }
    }
}

fn case_of(word: &str) -> Option<Case> {
    Some(match word {
        "accounts" => Case::Accounts,
        "room" => Case::Room,
        "pairs" => Case::Pairs,
        "idle" => Case::Idle,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_asked_for_is_done_and_nothing_beyond_the_bounds() {
        let o = parse("room --clients 1000 --senders 10 --window 4 --protocol xmpp").unwrap().unwrap();
        assert_eq!((o.case, o.members(), o.senders, o.window, o.login), (Case::Room, 1000, 10, 4, true));
        assert!(parse("--help").unwrap().is_none());
        for bad in [
            "",
            "dance",
            "idle --clients 20001",
            "idle --seconds 601",
            "idle --to 192.0.2.1:6667",
            "room --clients 1",
            "room --senders 101",
            "pairs --clients 3",
            "room --bytes 10",
            "room --window",
            "room --colour red",
            "pairs --matrix file",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
