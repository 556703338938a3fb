//! The command line's end of the control socket: turns a command into requests, and answers into text.

use super::wire::{Answer, Request, Secret, WireError};
use crate::cli::{Admin, Exit};
use std::fmt::Write as _;
use std::path::Path;

/// A command under way. Send what [`Client::new`] gives, hand what comes back to [`Client::received`].
pub struct Client {
    request: Request,
    inbox: Vec<u8>,
}

/// What came of some received bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// To be printed.
    pub text: String,
    /// To be told on standard error.
    pub complaint: Option<String>,
    /// To be sent.
    pub send: Vec<u8>,
    /// It is over, with this exit code.
    pub exit: Option<u8>,
}

impl Client {
    /// Begins. `password` must be there when [`Admin::needs_password`] says so; `cwd` makes a relative path of a backup
    /// absolute, because the server may run elsewhere.
    ///
    /// # Errors
    /// Why the command cannot be sent, for people.
    pub fn new(command: &Admin, password: Option<String>, cwd: &Path) -> Result<(Self, Vec<u8>), String> {
        let secret = || password.clone().map(Secret).ok_or_else(|| "a password is needed".to_owned());
        let request = match command.clone() {
            Admin::UserAdd { name, admin } => Request::UserAdd { name, password: secret()?, admin },
            Admin::UserList => Request::UserList { after: None },
            Admin::UserPasswd { name } => Request::UserPasswd { name, password: secret()? },
            Admin::UserDisable { name } => Request::UserDisable { name, disabled: true },
            Admin::UserEnable { name } => Request::UserDisable { name, disabled: false },
            Admin::UserDelete { name } => Request::UserDelete { name },
            Admin::RoomList => Request::RoomList { after: None },
            Admin::RoomShow { name } => Request::RoomShow { name },
            Admin::InviteCreate { uses, days, admin } => Request::InviteCreate { uses, days, admin },
            Admin::Backup { file } => {
                let path = cwd.join(file).into_os_string().into_string();
                Request::Backup { path: path.map_err(|_| "the file's name is not UTF-8".to_owned())? }
            }
            Admin::Status => Request::Status,
        };
        let line = request.to_line();
        Ok((Self { request, inbox: Vec::new() }, line))
    }

    /// Takes bytes of the server.
    pub fn received(&mut self, bytes: &[u8]) -> Progress {
        self.inbox.extend_from_slice(bytes);
        let mut progress = Progress::default();
        while let (None, Some(end)) = (progress.exit, self.inbox.iter().position(|b| *b == b'\n')) {
            let line: Vec<u8> = self.inbox.drain(..=end).collect();
            match Answer::from_line(&line) {
                Ok(answer) => self.answer(answer, &mut progress),
                Err(error) => fail(&mut progress, Exit::Unavailable, error.to_string()),
            }
        }
        progress
    }

    /// The server closed the connection before it was over.
    pub fn closed(&self) -> Progress {
        let mut progress = Progress::default();
        fail(&mut progress, Exit::Unavailable, "the server closed the connection".to_owned());
        progress
    }

    fn answer(&mut self, answer: Answer, progress: &mut Progress) {
        match answer {
            Answer::Done => {
                progress.exit = Some(Exit::Ok.code());
            }
            Answer::More(after) => {
                match &mut self.request {
                    Request::UserList { after: a } | Request::RoomList { after: a } => *a = Some(after),
                    _ => return fail(progress, Exit::Unavailable, WireError::Malformed.to_string()),
                }
                progress.send = self.request.to_line();
            }
            Answer::Failed { exit, why } => {
                progress.complaint = Some(printable(&why));
                progress.exit = Some(exit);
            }
            row => progress.text.push_str(&text(&row)),
        }
    }
}

fn fail(progress: &mut Progress, exit: Exit, why: String) {
    progress.complaint = Some(why);
    progress.exit = Some(exit.code());
}

/// An answer as lines for people; fields of lists are separated by tabs, so that scripts can cut them.
fn text(answer: &Answer) -> String {
    let mut out = String::new();
    let _ = match answer {
        Answer::Account(account) => {
            let marks =
                [(account.admin, "admin"), (account.disabled, "disabled"), (account.deleted, "deleted")];
            let marks: Vec<&str> = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect();
            let gap = if marks.is_empty() { "" } else { "\t" };
            writeln!(out, "{}{gap}{}", printable(&account.name), marks.join(" "))
        }
        Answer::Room(room) => {
            let rules = room.rules.join(", ");
            writeln!(out, "{}\t{}\t{}\t{rules}", printable(&room.name), room.members, printable(&room.topic))
        }
        Answer::Member(member) => {
            let here = if member.here { "here" } else { "away" };
            let name = printable(&member.name);
            writeln!(out, "  {name}\t{}\t{}\t{here}", member.membership, member.power)
        }
        Answer::Invite(token) => writeln!(out, "{}", token.0),
        Answer::Status(status) => writeln!(
            out,
            "version\t{}\nsessions\t{}\nmost sessions\t{}\nnot logged in\t{}\naccounts\t{}\nrooms\t{}",
            status.version,
            status.sessions,
            status.max_sessions,
            status.unknown,
            status.accounts,
            status.rooms
        ),
        Answer::Done | Answer::More(_) | Answer::Failed { .. } => Ok(()),
    };
    out
}

/// Text of people without controls, which could drive the operator's terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::wire::{Account, Room};
    use super::*;

    fn client(command: &Admin) -> Client {
        Client::new(command, Some("secret".to_owned()), Path::new("/home/op")).unwrap().0
    }

    fn account(name: &str, admin: bool) -> Answer {
        Answer::Account(Account { name: name.to_owned(), admin, disabled: false, deleted: false })
    }

    #[test]
    fn lists_go_on_until_the_last_page() {
        let mut client = client(&Admin::UserList);
        let lines = [account("alice", true), account("bob", false), Answer::More("bob".to_owned())];
        let bytes: Vec<u8> = lines.iter().flat_map(Answer::to_line).collect();
        let progress = client.received(&bytes);
        assert_eq!(progress.text, "alice\tadmin\nbob\n");
        assert_eq!(progress.exit, None);
        assert_eq!(
            Request::from_line(&progress.send),
            Ok(Request::UserList { after: Some("bob".to_owned()) })
        );
        assert_eq!(client.received(&Answer::Done.to_line()).exit, Some(0));
    }

    #[test]
    fn answers_may_come_in_any_pieces() {
        let bytes = [account("alice", false).to_line(), Answer::Done.to_line()].concat();
        let mut client = client(&Admin::UserList);
        let mut text = String::new();
        let mut exit = None;
        for byte in bytes {
            let progress = client.received(&[byte]);
            text.push_str(&progress.text);
            exit = exit.or(progress.exit);
        }
        assert_eq!((text.as_str(), exit), ("alice\n", Some(0)));
    }

    #[test]
    fn failures_and_nonsense_have_exit_codes() {
        let failed = Answer::Failed { exit: Exit::NoInput.code(), why: "no such account".to_owned() };
        let progress = client(&Admin::UserList).received(&failed.to_line());
        assert_eq!(progress.exit, Some(66));
        assert_eq!(progress.complaint.as_deref(), Some("no such account"));
        let progress = client(&Admin::UserList).received(b"HTTP/1.1 400\r\n");
        assert_eq!(progress.exit, Some(69));
        assert_eq!(client(&Admin::Status).received(&Answer::More(String::new()).to_line()).exit, Some(69));
        assert_eq!(client(&Admin::Status).closed().exit, Some(69));
    }

    #[test]
    fn passwords_are_needed_where_they_are_and_paths_become_absolute() {
        let add = Admin::UserAdd { name: "alice".to_owned(), admin: false };
        assert!(Client::new(&add, None, Path::new("/")).is_err());
        let backup = client(&Admin::Backup { file: "x.db".into() });
        assert_eq!(backup.request, Request::Backup { path: "/home/op/x.db".to_owned() });
    }

    #[test]
    fn topics_cannot_drive_the_terminal() {
        let room =
            Room { name: "lobby".to_owned(), members: 2, topic: "\u{1b}[2J".to_owned(), rules: Vec::new() };
        assert_eq!(text(&Answer::Room(room)), "lobby\t2\t\u{fffd}[2J\t\n");
    }
}
