//! Requests and answers, and the lines they travel in.

use data_encoding::BASE64;
use minicbor::{Decode, Encode};
use std::fmt;

/// The version of the lines written here; the only one read.
const VERSION: &[u8] = b"1 ";

/// Longest line of a request in bytes; a longer one closes the connection.
pub const MAX_REQUEST: usize = 16 * 1024;

/// A secret on its way: never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Secret(#[n(0)] pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Make an account.
    #[n(0)]
    UserAdd {
        /// Its name.
        #[n(0)]
        name: String,
        /// Its password.
        #[n(1)]
        password: Secret,
        /// Whether it is an administrator.
        #[n(2)]
        admin: bool,
    },
    /// A page of the accounts, by name.
    #[n(1)]
    UserList {
        /// Names after this one; what [`Answer::More`] said.
        #[n(0)]
        after: Option<String>,
    },
    /// Give an account another password.
    #[n(2)]
    UserPasswd {
        /// Whose.
        #[n(0)]
        name: String,
        /// The new one.
        #[n(1)]
        password: Secret,
    },
    /// Shut an account out, or let it in again.
    #[n(3)]
    UserDisable {
        /// Whose.
        #[n(0)]
        name: String,
        /// True: out.
        #[n(1)]
        disabled: bool,
    },
    /// Delete an account for good.
    #[n(4)]
    UserDelete {
        /// Whose.
        #[n(0)]
        name: String,
    },
    /// A page of the rooms, by name, secret ones too.
    #[n(5)]
    RoomList {
        /// Names after this one.
        #[n(0)]
        after: Option<String>,
    },
    /// A room with its members.
    #[n(6)]
    RoomShow {
        /// Its name.
        #[n(0)]
        name: String,
    },
    /// Make an invitation.
    #[n(7)]
    InviteCreate {
        /// How many accounts it makes.
        #[n(0)]
        uses: u32,
        /// For how many days; 0: for ever.
        #[n(1)]
        days: u32,
        /// Whether these are administrators.
        #[n(2)]
        admin: bool,
    },
    /// Write a copy of the store.
    #[n(8)]
    Backup {
        /// Where to: an absolute path of the server's machine.
        #[n(0)]
        path: String,
    },
    /// How is the server?
    #[n(9)]
    Status,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// Done; nothing follows.
    #[n(0)]
    Done,
    /// The page is full; ask again, after this name.
    #[n(1)]
    More(#[n(0)] String),
    /// Not done; nothing follows.
    #[n(2)]
    Failed {
        /// The exit code of the command line, see [`crate::cli::Exit`].
        #[n(0)]
        exit: u8,
        /// Why, for people.
        #[n(1)]
        why: String,
    },
    /// An account.
    #[n(3)]
    Account(#[n(0)] Account),
    /// A room.
    #[n(4)]
    Room(#[n(0)] Room),
    /// A member of the room.
    #[n(5)]
    Member(#[n(0)] Member),
    /// An invitation, told once.
    #[n(6)]
    Invite(#[n(0)] Secret),
    /// How the server is.
    #[n(7)]
    Status(#[n(0)] Status),
}

/// An account in a list.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Account {
    /// Its name as spelled.
    #[n(0)]
    pub name: String,
    /// Whether it is an administrator.
    #[n(1)]
    pub admin: bool,
    /// Whether it is shut out.
    #[n(2)]
    pub disabled: bool,
    /// Whether it is deleted.
    #[n(3)]
    pub deleted: bool,
}

/// A room in a list, or shown.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Room {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// How many belong.
    #[n(1)]
    pub members: u64,
    /// Its topic.
    #[n(2)]
    pub topic: String,
    /// Its rules that differ from a plain public room, in words.
    #[n(3)]
    pub rules: Vec<String>,
}

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// Whose.
    #[n(0)]
    pub name: String,
    /// `joined`, `invited`, `banned`, `knocking`.
    #[n(1)]
    pub membership: String,
    /// What the member may: 100 is an owner, 50 a moderator.
    #[n(2)]
    pub power: i32,
    /// Whether a session of the member is there.
    #[n(3)]
    pub here: bool,
}

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// Its version.
    #[n(0)]
    pub version: String,
    /// Sessions logged in, or of guests.
    #[n(1)]
    pub sessions: u64,
    /// Most sessions at once since the start.
    #[n(2)]
    pub max_sessions: u64,
    /// Connections not logged in.
    #[n(3)]
    pub unknown: u64,
    /// Accounts.
    #[n(4)]
    pub accounts: u64,
    /// Rooms.
    #[n(5)]
    pub rooms: u64,
}

/// Why a line cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The other end speaks another version, or something else altogether.
    #[error(
        "the other end speaks another version of the control protocol: use the program the server was started from"
    )]
    Version,
    /// Not base64 of a known value.
    #[error("the line makes no sense")]
    Malformed,
}

impl Request {
    /// The line, LF included.
    pub fn to_line(&self) -> Vec<u8> {
        line(&minicbor::to_vec(self).expect("writing to a vector cannot fail"))
    }

    /// Reads a line, with or without its LF.
    ///
    /// # Errors
    /// [`WireError`] for anything that [`Self::to_line`] would not write.
    pub fn from_line(line: &[u8]) -> Result<Self, WireError> {
        decode(line)
    }
}

impl Answer {
    /// The line, LF included.
    pub fn to_line(&self) -> Vec<u8> {
        line(&minicbor::to_vec(self).expect("writing to a vector cannot fail"))
    }

    /// Reads a line, with or without its LF.
    ///
    /// # Errors
    /// [`WireError`] for anything that [`Self::to_line`] would not write.
    pub fn from_line(line: &[u8]) -> Result<Self, WireError> {
        decode(line)
    }
}

fn line(value: &[u8]) -> Vec<u8> {
    let mut out = VERSION.to_vec();
    out.extend_from_slice(BASE64.encode(value).as_bytes());
    out.push(b'\n');
    out
}

fn decode<T: for<'b> Decode<'b, ()>>(line: &[u8]) -> Result<T, WireError> {
    let text = line.strip_suffix(b"\n").unwrap_or(line).strip_prefix(VERSION).ok_or(WireError::Version)?;
    let bytes = BASE64.decode(text).map_err(|_| WireError::Malformed)?;
    let mut decoder = minicbor::Decoder::new(&bytes);
    let value = decoder.decode().map_err(|_| WireError::Malformed)?;
    if decoder.position() == bytes.len() { Ok(value) } else { Err(WireError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn requests() -> Vec<Request> {
        let name = || "alice".to_owned();
        let password = || Secret("geheim\nw\u{f6}rt\0".to_owned());
        vec![
            Request::UserAdd { name: name(), password: password(), admin: true },
            Request::UserList { after: None },
            Request::UserList { after: Some(name()) },
            Request::UserPasswd { name: name(), password: password() },
            Request::UserDisable { name: name(), disabled: true },
            Request::UserDelete { name: name() },
            Request::RoomList { after: Some("lobby".to_owned()) },
            Request::RoomShow { name: "lobby".to_owned() },
            Request::InviteCreate { uses: 3, days: 7, admin: false },
            Request::Backup { path: "/var/backups/x".to_owned() },
            Request::Status,
        ]
    }

    #[test]
    fn every_request_is_one_line_and_comes_back() {
        for request in requests() {
            let line = request.to_line();
            assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
            assert_eq!(Request::from_line(&line), Ok(request));
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for request in requests() {
            assert!(!format!("{request:?}").contains("geheim"), "{request:?}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        assert_eq!(Request::from_line(b"2 AAAA"), Err(WireError::Version));
        assert_eq!(Request::from_line(b"GET / HTTP/1.1\r\n"), Err(WireError::Version));
        assert_eq!(Request::from_line(b"1 ****"), Err(WireError::Malformed));
        assert_eq!(Request::from_line(b"1 "), Err(WireError::Malformed));
        assert_eq!(Request::from_line(b"1 ggCBggA="), Err(WireError::Malformed));
        let unknown = line(&[0x82, 0x18, 99, 0x80]);
        assert_eq!(Request::from_line(&unknown), Err(WireError::Malformed));
    }

    proptest! {
        #[test]
        fn any_line(bytes in any::<Vec<u8>>()) {
            let _ = Request::from_line(&bytes);
            let _ = Answer::from_line(&line(&bytes));
        }
    }
}
