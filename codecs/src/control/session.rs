//! The server's end of the control socket.

use super::wire::{Account, Answer, MAX_REQUEST, Member, Request, Room, Secret, Status};
use crate::account::{self, By, INVITE_BYTES};
use crate::cli::Exit;
use crate::job::{Done, Job};
use crate::sasl::{Password, SALT_LEN};
use crate::session::Cx;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::event::{Event, Live};
use lavina_core::ids::ReqId;
use lavina_core::log::{Level, Log};
use lavina_core::name::{BadName, NameKey, RoomName, UserName};
use lavina_core::policy::{JoinRule, Membership, Policy};
use lavina_core::projection::{Hole, Mode, Reason, Seen, Wake};
use lavina_core::query::{Query, Reply, RoomView, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};
use std::sync::Arc;

/// Rows of one page of a list: they fit the smallest outbox.
const PAGE: u32 = 500;
/// Most members shown of a room.
const MEMBERS: usize = 1_000;
/// Most characters of a topic in a list.
const TOPIC: usize = 100;
/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// A session of the control socket. It carries out one request at a time.
#[derive(Debug, Default)]
pub struct Control {
    waiting: Option<(ReqId, Waiting)>,
}

/// What the request under way waits for.
#[derive(Debug)]
enum Waiting {
    /// The credential of an account to make.
    Make { name: UserName, admin: bool },
    /// The credential of an account that is there.
    Change { name: UserName },
    /// An answer that is only good or bad.
    Carried,
    /// An invitation's making.
    Invited(String),
    /// A page of accounts.
    Accounts,
    /// A page of rooms.
    Rooms,
    /// A room.
    Room,
    /// Counts.
    Counts,
}

/// Why a request cannot even be tried.
type Refused = (Exit, String);

impl Control {
    /// A session of a connection just accepted.
    pub fn accept() -> Self {
        Self::default()
    }

    /// Nothing is said before the first request.
    pub fn opened(&mut self, _: &mut Cx<'_>) {}

    /// Takes one line.
    ///
    /// # Errors
    /// [`Reason::Limit`] for a line over [`MAX_REQUEST`], [`Reason::Protocol`] for one that makes no sense; it is told
    /// why before.
    pub fn recv(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> Result<usize, Reason> {
        let Some(end) = bytes.iter().take(MAX_REQUEST).position(|b| *b == b'\n') else {
            return if bytes.len() >= MAX_REQUEST {
                Err(Reason::Limit("control line too long"))
            } else {
                Ok(0)
            };
        };
        if self.waiting.is_some() || !cx.barrier() {
            return Ok(0);
        }
        match Request::from_line(&bytes[..end]) {
            Ok(request) => {
                if let Err((exit, why)) = self.start(request, cx) {
                    fail(exit, why, cx);
                }
                Ok(end + 1)
            }
            Err(error) => {
                fail(Exit::Usage, error.to_string(), cx);
                Err(Reason::Protocol("not a control line"))
            }
        }
    }

    /// It sees no rooms.
    pub fn seen(&mut self, _: &Arc<Event>, _: Seen, _: &mut Cx<'_>) {}

    /// It sees no rooms.
    pub fn seen_live(&mut self, _: &Arc<Live>, _: Option<ReqId>, _: &mut Cx<'_>) {}

    /// The answer to a command or question.
    pub fn reply(&mut self, req: ReqId, reply: Reply, cx: &mut Cx<'_>) {
        let Some((_, waiting)) = self.waiting.take_if(|(asked, _)| *asked == req) else { return };
        let value = match reply {
            Ok(value) => value,
            Err(refusal) => {
                let (exit, why) = explain(&refusal);
                return fail(exit, why, cx);
            }
        };
        let last = match (waiting, value) {
            (Waiting::Invited(token), _) => {
                say(&Answer::Invite(Secret(token)), cx);
                Answer::Done
            }
            (Waiting::Accounts, Value::Accounts(list)) => {
                for (_, head) in list.iter() {
                    let name = head.name.as_str().to_owned();
                    let (admin, disabled, deleted) = (head.admin, head.disabled, head.deleted);
                    say(&Answer::Account(Account { name, admin, disabled, deleted }), cx);
                }
                page(list.len(), list.last().map(|(_, head)| head.name.folded()))
            }
            (Waiting::Rooms, Value::Directory(list)) => {
                for listed in list.iter() {
                    let topic = listed.topic.as_ref().map_or("", |t| t.text.text.as_str());
                    let name = listed.head.name.as_ref().map_or("", RoomName::as_str);
                    say(&Answer::Room(room(name, u64::from(listed.members), topic, &listed.head.policy)), cx);
                }
                let last = list.last().and_then(|l| l.head.name.as_ref()).map(|n| n.as_str().to_owned());
                page(list.len(), last)
            }
            (Waiting::Room, Value::Room(view)) => {
                show(&view, cx);
                Answer::Done
            }
            (Waiting::Counts, Value::Counts(counts)) => {
                let version = env!("CARGO_PKG_VERSION").to_owned();
                let (sessions, max_sessions) = (counts.sessions, counts.max_sessions);
                let (unknown, accounts, rooms) = (counts.unknown, counts.accounts, counts.rooms);
                say(
                    &Answer::Status(Status { version, sessions, max_sessions, unknown, accounts, rooms }),
                    cx,
                );
                Answer::Done
            }
            _ => Answer::Done,
        };
        say(&last, cx);
    }

    /// A credential is made: the command that was waiting for it goes out.
    pub fn done(&mut self, req: ReqId, done: Done, cx: &mut Cx<'_>) {
        let Some((_, waiting)) = self.waiting.take_if(|(asked, _)| *asked == req) else { return };
        let Done::Credential(credential) = done else { return };
        let command = match waiting {
            Waiting::Make { name, admin } => {
                let id = account::fresh_id(cx.random(), cx.core_settings().shards);
                account::register(&name, id, &credential, By::Operator { admin }, cx.now().wall)
            }
            Waiting::Change { name } => {
                Some(to_account(&name, Act::SetCredential(Octets::from(credential.encode()))))
            }
            _ => None,
        };
        if let Some(command) = command {
            self.command(command, Waiting::Carried, cx);
        }
    }

    /// Nothing of what can happen concerns it.
    pub fn wake(&mut self, _: Wake, _: &mut Cx<'_>) {}

    /// It sees no rooms.
    pub fn mode(&self) -> Mode {
        Mode::Quiet
    }

    /// No encoding has holes for it.
    pub fn hole(&self, _: Hole) -> &[u8] {
        &[]
    }

    fn start(&mut self, request: Request, cx: &mut Cx<'_>) -> Result<(), Refused> {
        match request {
            Request::UserAdd { name, password, admin } => {
                let name = UserName::new_account(&name).map_err(|bad| bad_name(&name, bad))?;
                self.derive(&password, Waiting::Make { name, admin }, cx)
            }
            Request::UserPasswd { name, password } => {
                let name = user(&name)?;
                self.derive(&password, Waiting::Change { name }, cx)
            }
            Request::UserDisable { name, disabled } => {
                self.command(to_account(&user(&name)?, Act::SetDisabled(disabled)), Waiting::Carried, cx);
                Ok(())
            }
            Request::UserDelete { name } => {
                self.command(to_account(&user(&name)?, Act::DeleteAccount), Waiting::Carried, cx);
                Ok(())
            }
            Request::InviteCreate { uses, days, admin } => self.invite(uses, days, admin, cx),
            Request::UserList { after } => {
                let after = after.map(Str::new);
                self.ask(Query::Accounts { after, limit: PAGE }, Waiting::Accounts, cx)
            }
            Request::RoomList { after } => {
                let after = after.map(|a| room_name(&a)).transpose()?;
                self.ask(Query::Directory { after, limit: PAGE, secret: true }, Waiting::Rooms, cx)
            }
            Request::RoomShow { name } => self.ask(Query::RoomNamed(room_name(&name)?), Waiting::Room, cx),
            Request::Backup { path } => self.ask(Query::Backup(Str::new(path)), Waiting::Carried, cx),
            Request::Status => self.ask(Query::Counts, Waiting::Counts, cx),
        }
    }

    fn derive(&mut self, password: &Secret, then: Waiting, cx: &mut Cx<'_>) -> Result<(), Refused> {
        let password = Password::new(&password.0).map_err(|e| (Exit::Data, e.to_string()))?;
        let mut salt = [0; SALT_LEN];
        cx.fill_random(&mut salt);
        let iterations = cx.settings().iterations;
        let req = cx.job(Job::Credential { password, salt, iterations });
        self.waiting = Some((req, then));
        Ok(())
    }

    fn invite(&mut self, uses: u32, days: u32, admin: bool, cx: &mut Cx<'_>) -> Result<(), Refused> {
        if uses == 0 {
            return Err((Exit::Data, "an invitation must have at least one use".to_owned()));
        }
        let mut random = [0; INVITE_BYTES];
        cx.fill_random(&mut random);
        let token = account::invite_token(random);
        let key = account::invite_key(&token).ok_or_else(|| (Exit::Software, "no invitation".to_owned()))?;
        let until = if days == 0 { 0 } else { cx.now().wall.0 + u64::from(days) * DAY };
        let act = Act::MintInvite { uses, admin, until, by: None, contact_only: false };
        self.command(Command::by_server(EntityId::Name(key), act), Waiting::Invited(token), cx);
        Ok(())
    }

    fn command(&mut self, command: Command, then: Waiting, cx: &mut Cx<'_>) {
        let req = cx.command(command, false);
        self.waiting = Some((req, then));
        cx.log(Log::new(Level::Info, "operator's command").with("request", req.0));
    }

    #[expect(clippy::unnecessary_wraps, reason = "the last step of `start`")]
    fn ask(&mut self, query: Query, then: Waiting, cx: &mut Cx<'_>) -> Result<(), Refused> {
        let req = cx.query(query);
        self.waiting = Some((req, then));
        Ok(())
    }
}

fn say(answer: &Answer, cx: &mut Cx<'_>) {
    cx.write(&answer.to_line(), false);
}

fn fail(exit: Exit, why: String, cx: &mut Cx<'_>) {
    say(&Answer::Failed { exit: exit.code(), why }, cx);
}

/// What ends a page of `rows`.
fn page(rows: usize, last: Option<String>) -> Answer {
    match last {
        Some(name) if rows >= PAGE as usize => Answer::More(name),
        _ => Answer::Done,
    }
}

/// A command for whichever account has the name.
fn to_account(name: &UserName, then: Act) -> Command {
    let to = EntityId::Name(NameKey::User(name.clone()));
    Command::by_server(to, Act::Route { claim: None, then: Box::new(then) })
}

fn user(name: &str) -> Result<UserName, Refused> {
    UserName::new(name).map_err(|bad| bad_name(name, bad))
}

fn room_name(name: &str) -> Result<RoomName, Refused> {
    RoomName::new(name).map_err(|bad| bad_name(name, bad))
}

fn bad_name(name: &str, bad: BadName) -> Refused {
    let why = match bad {
        BadName::Empty => "a name must not be empty".to_owned(),
        BadName::TooLong => format!("`{name}` is too long"),
        BadName::Character => {
            format!(
                "`{name}` cannot be a name: new ones begin with a letter and have letters, digits, _ and - only"
            )
        }
        BadName::Reserved => format!("`{name}` is reserved"),
    };
    (Exit::Data, why)
}

fn room(name: &str, members: u64, topic: &str, policy: &Policy) -> Room {
    let mut rules = Vec::new();
    match policy.join {
        JoinRule::Public => {}
        JoinRule::Invite => rules.push("members only".to_owned()),
        JoinRule::Knock => rules.push("members only, others may ask".to_owned()),
    }
    if policy.password.is_some() {
        rules.push("with password".to_owned());
    }
    if policy.secret {
        rules.push("secret".to_owned());
    }
    if policy.levels.speak > 0 {
        rules.push("moderated".to_owned());
    }
    Room { name: name.to_owned(), members, topic: topic.chars().take(TOPIC).collect(), rules }
}

fn show(view: &Arc<RoomView>, cx: &mut Cx<'_>) {
    let name = view.head.name.as_ref().map_or("", RoomName::as_str);
    let topic = view.topic.as_ref().map_or("", |t| t.text.text.as_str());
    say(&Answer::Room(room(name, view.joined() as u64, topic, view.policy())), cx);
    for (id, member) in view.members.iter().take(MEMBERS) {
        let membership = match member.standing.membership {
            Membership::Left => continue,
            Membership::Invited => "invited",
            Membership::Joined => "joined",
            Membership::Banned => "banned",
            Membership::Knocking => "knocking",
        };
        let (name, power) = (member.user.name.as_str().to_owned(), member.standing.power);
        let (membership, here) = (membership.to_owned(), view.here.contains_key(id));
        say(&Answer::Member(Member { name, membership, power, here }), cx);
    }
}

/// Why the core refused, with the exit code that says it to a script.
fn explain(refusal: &Refusal) -> Refused {
    let (exit, why) = match refusal {
        Refusal::NoSuchUser => (Exit::NoInput, "there is no such account"),
        Refusal::NoSuchRoom => (Exit::NoInput, "there is no such room"),
        Refusal::NameTaken => (Exit::Data, "the name is taken; also a deleted account keeps its name"),
        Refusal::Busy => (Exit::TryAgain, "the server is busy, try again"),
        Refusal::StoreDown => (Exit::Io, "the store does not answer"),
        Refusal::StoreFull => (Exit::Io, "the disk is full"),
        Refusal::Unsupported(what) | Refusal::Invalid(what) => (Exit::Data, *what),
        other => return (Exit::Data, format!("refused: {other:?}")),
    };
    (exit, why.to_owned())
}
