//! REGISTER (IRCv3 draft/account-registration).
//!
//! The e-mail parameter has no other use here, so it carries the token of an invitation where the server wants one.

use lavina_core::event::Actor;
use lavina_core::ids::ReqId;
use lavina_core::name::{BadName, User, UserName};
use lavina_core::query::{Reply, Value};
use lavina_core::refusal::Refusal;

use super::super::casemap;
use super::super::message::Line;
use super::answer::{Ask, line as one};
use super::login::How;
use super::{Irc, Stage, server};
use crate::account::{self, By};
use crate::job::{Done, Job};
use crate::sasl::{Credential, Password, PasswordError, SALT_LEN};
use crate::session::Cx;

/// A registration under way.
#[derive(Debug)]
pub(super) struct Registering {
    pub(super) name: UserName,
    token: Option<String>,
    job: ReqId,
    task: Option<super::answer::TaskId>,
}

impl Irc {
    pub(super) fn register(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        if line.params.len() < 3 {
            return self.fail(cx, "REGISTER", "NEED_MORE_PARAMS", &[], "Not enough parameters");
        }
        let account = if line.param(0) == "*" { self.nick.to_string() } else { line.param(0).to_owned() };
        if self.stage == Stage::Registering && !cx.settings().irc.register_before_connect {
            let text = "You must complete the connection before registering an account";
            return self.fail(cx, "REGISTER", "COMPLETE_CONNECTION_REQUIRED", &[&account], text);
        }
        self.register_as(&account, line.param(1), line.param(2), cx);
    }

    /// Registers an account; what is wrong is told by FAIL.
    pub(super) fn register_as(&mut self, account: &str, token: &str, password: &str, cx: &mut Cx<'_>) {
        let no = |irc: &mut Irc, cx: &mut Cx<'_>, code, text: &str| {
            irc.fail(cx, "REGISTER", code, &[account], text)
        };
        if self.user.as_ref().is_some_and(|user| !user.is_guest()) {
            return no(self, cx, "ALREADY_AUTHENTICATED", "You are already logged in");
        }
        if self.registering.is_some() {
            return no(self, cx, "TEMPORARILY_UNAVAILABLE", "Another registration is under way");
        }
        if self.nick.is_empty() {
            return no(self, cx, "NEED_NICK", "Give a nick first");
        }
        // One name is nick and account.
        if !casemap::same(&self.nick, account) {
            return no(
                self,
                cx,
                "ACCOUNT_NAME_MUST_BE_NICK",
                "An account can only have the name of your nick",
            );
        }
        let name = match UserName::new_account(account) {
            Ok(name) => name,
            Err(why) => return no(self, cx, "BAD_ACCOUNT_NAME", bad_name(why)),
        };
        // Where anybody may register, the parameter is the e-mail address it is meant to be, and not used.
        let wanted = !token.is_empty() && token != "*" && !cx.core_settings().open_registration;
        let token = wanted.then(|| token.to_owned());
        if token.is_none() && !cx.core_settings().open_registration {
            let text = "This server asks for an invitation; give its token in place of the e-mail address";
            return no(self, cx, "INVALID_EMAIL", text);
        }
        let password = match Password::new(password) {
            Ok(password) => password,
            Err(why) => {
                let text = why.to_string();
                let code =
                    if why == PasswordError::TooLong { "UNACCEPTABLE_PASSWORD" } else { "WEAK_PASSWORD" };
                return no(self, cx, code, &text);
            }
        };
        let mut salt = [0; SALT_LEN];
        cx.fill_random(&mut salt);
        let job = cx.job(Job::Credential { password, salt, iterations: cx.settings().iterations });
        self.keep_open();
        self.registering = Some(Box::new(Registering { name, token, job, task: self.task }));
    }

    /// The credential is made: the account can be. False: the job was for something else.
    pub(super) fn register_done(&mut self, req: ReqId, done: &Done, cx: &mut Cx<'_>) -> bool {
        let Some(registering) = self.registering.take_if(|r| r.job == req) else { return false };
        self.task = registering.task;
        self.close_one();
        if let Done::Credential(credential) = done {
            self.make_account(registering, credential, cx);
        }
        self.settle(cx);
        true
    }

    /// The credential could not be made. False: the answer was for something else.
    pub(super) fn register_refused(&mut self, req: ReqId, reply: &Reply, cx: &mut Cx<'_>) -> bool {
        let Some(registering) = self.registering.take_if(|r| r.job == req) else { return false };
        self.task = registering.task;
        self.close_one();
        if let Err(refusal) = reply {
            self.not_registered(registering.name.as_str(), refusal, cx);
        }
        self.settle(cx);
        true
    }

    fn make_account(&mut self, registering: Box<Registering>, credential: &Credential, cx: &mut Cx<'_>) {
        let id = account::fresh_id(cx.random(), cx.core_settings().shards);
        let by = registering.token.as_deref().map_or(By::Anybody, By::Invite);
        match account::register(&registering.name, id, credential, by, cx.now().wall) {
            Some(mut command) => {
                // A guest takes its own name along.
                if let Some(guest) = self.user.clone().filter(|_| registering.token.is_none()) {
                    command.by = Actor::User(guest);
                }
                let req = cx.command(command, false);
                self.ask(req, Ask::Register(registering));
            }
            None => self.not_registered(registering.name.as_str(), &Refusal::BadInvite, cx),
        }
    }

    /// The account is there: the session is logged in to it.
    pub(super) fn registered(&mut self, _: &Registering, value: &Value, cx: &mut Cx<'_>) {
        let Value::User(user) = value else { return self.refused_value(cx) };
        self.log_into_new(user.clone(), cx);
    }

    fn log_into_new(&mut self, user: User, cx: &mut Cx<'_>) {
        let server = server(cx);
        let name = user.name.as_str();
        let line = one(|w| {
            w.source(server).command("REGISTER").param("SUCCESS").param(name).last("Account created");
        });
        self.emit(&line, cx);
        self.enter_later();
        self.login.set_how(How::Pass);
        cx.login(user);
    }

    /// Why no account was made.
    pub(super) fn not_registered(&mut self, account: &str, refusal: &Refusal, cx: &mut Cx<'_>) {
        let (code, text) = match refusal {
            Refusal::NameTaken => ("ACCOUNT_EXISTS", "That account exists"),
            Refusal::BadInvite => ("INVALID_EMAIL", "The invitation is not, or no longer, good"),
            Refusal::BadName(why) => ("BAD_ACCOUNT_NAME", bad_name(*why)),
            Refusal::Forbidden => ("DISALLOWED", "Accounts cannot be made here"),
            _ => ("TEMPORARILY_UNAVAILABLE", "Accounts cannot be made at the moment; try again soon"),
        };
        self.fail(cx, "REGISTER", code, &[account], text);
    }

    pub(super) fn verify(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let text = "Accounts need no verification here";
        self.fail(cx, "VERIFY", "INVALID_CODE", &[line.param(0)], text);
    }
}

fn bad_name(why: BadName) -> &'static str {
    match why {
        BadName::Empty => "An account needs a name",
        BadName::TooLong => "That name is too long",
        BadName::Character => "A name is letters, digits, - and _, beginning with a letter",
        BadName::Reserved => "That name is reserved",
    }
}
