//! Logging in: AUTHENTICATE (IRCv3 sasl-3.1, 3.2), PASS, and NickServ's IDENTIFY.
//!
//! The mechanisms are those of [`crate::sasl`]; here is how IRC carries them. PASS and IDENTIFY are a PLAIN exchange
//! that the server holds with itself.

use lavina_core::ids::ReqId;
use lavina_core::name::{User, UserName};
use lavina_core::projection::Reason;
use lavina_core::query::{Query, Reply, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::Str;

use super::super::authenticate::{self, Piece, Pieces};
use super::super::message::Line;
use super::super::numeric as n;
use super::answer::{TaskId, line as one};
use super::{Irc, Stage};
use crate::job::{Done, Job};
use crate::layer;
use crate::sasl::{Credential, Failure, Mechanism, NONCE_LEN, Sasl, Setup, Step};
use crate::session::Cx;

/// How a login was begun; decides how its end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// AUTHENTICATE.
    Sasl,
    /// PASS.
    Pass,
    /// NickServ.
    Identify,
}

/// What a login waits for.
enum Waits {
    /// The client.
    Client,
    /// The account.
    Account(ReqId),
    /// The derivation.
    Job(ReqId),
    /// The client's empty answer to the server's last message.
    Last(User, Option<Str>),
}

struct Exchange {
    sasl: Sasl,
    how: How,
    waits: Waits,
    task: Option<TaskId>,
    /// The account found.
    user: Option<User>,
}

/// The login of a connection.
#[derive(Default)]
pub(super) struct Login {
    exchange: Option<Box<Exchange>>,
    /// The mechanism chosen, before the client's first message.
    pieces: Pieces,
    failures: u32,
    /// How the login that the core is carrying out was begun.
    how: Option<How>,
}

impl Login {
    /// Whether an exchange is going on.
    pub(super) fn is_under_way(&self) -> bool {
        self.exchange.is_some()
    }

    /// How the login that follows was begun.
    pub(super) fn set_how(&mut self, how: How) {
        self.how = Some(how);
    }
}

impl Irc {
    /// The names of the mechanisms offered on this connection.
    pub(super) fn mechanisms(&self, cx: &Cx<'_>) -> Vec<&'static str> {
        let bindings = layer::bindings(cx.channel());
        Mechanism::offered(&bindings)
            .filter(|m| *m != Mechanism::Plain || self.may_send_passwords(cx))
            .map(Mechanism::name)
            .collect()
    }

    /// Whether a password may cross this connection: with TLS, or from this machine, or where the settings say so.
    fn may_send_passwords(&self, cx: &Cx<'_>) -> bool {
        let local = cx.peer().is_none_or(|peer| peer.ip().to_canonical().is_loopback());
        cx.is_secure() || local || cx.settings().plaintext_anywhere
    }

    pub(super) fn authenticate(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let word = line.param(0);
        if self.login.exchange.is_none() {
            return self.choose(word, cx);
        }
        match self.login.pieces.push(word) {
            Piece::More => {}
            Piece::Whole(message) => self.client_says(&message, cx),
            Piece::Abort => {
                self.login.exchange = None;
                self.numeric(cx, n::ERR_SASLABORTED, &[]);
                self.try_register(cx);
            }
            Piece::TooLong => {
                self.login.exchange = None;
                self.numeric(cx, n::ERR_SASLTOOLONG, &[]);
                self.try_register(cx);
            }
            Piece::Malformed => self.failed(Failure::Malformed("not base64"), cx),
        }
    }

    /// The client goes on without completing its exchange (906).
    pub(super) fn abort_login(&mut self, cx: &mut Cx<'_>) {
        let idle = |e: &Exchange| e.how == How::Sasl && matches!(e.waits, Waits::Client | Waits::Last(..));
        if self.login.exchange.take_if(|e| idle(e)).is_some() {
            self.numeric(cx, n::ERR_SASLABORTED, &[]);
        }
    }

    /// The client chooses a mechanism.
    fn choose(&mut self, name: &str, cx: &mut Cx<'_>) {
        let offered = self.mechanisms(cx);
        let mechanism = Mechanism::from_name(name).filter(|m| offered.contains(&m.name()));
        match mechanism {
            Some(mechanism) => {
                self.exchange(mechanism, None, How::Sasl, cx);
            }
            None if name == "*" => self.numeric(cx, n::ERR_SASLABORTED, &[]),
            None => {
                self.numeric(cx, n::RPL_SASLMECHS, &[&offered.join(",")]);
                self.numeric(cx, n::ERR_SASLFAIL, &[]);
            }
        }
    }

    /// Begins an exchange; `initial` is there when the server speaks for the client.
    fn exchange(&mut self, mechanism: Mechanism, initial: Option<&[u8]>, how: How, cx: &mut Cx<'_>) {
        let mut nonce = [0; NONCE_LEN];
        cx.fill_random(&mut nonce);
        let core = cx.core_settings();
        let setup = Setup {
            domain: core.domain.as_str().into(),
            channel: layer::bindings(cx.channel()),
            nonce,
            secret: core.secret,
            iterations: cx.settings().iterations,
        };
        let (sasl, step) = Sasl::start(mechanism, initial, setup);
        let exchange = Exchange { sasl, how, waits: Waits::Client, task: self.task, user: None };
        self.login.exchange = Some(Box::new(exchange));
        self.step(step, cx);
    }

    /// PASS, once NICK is known: the server's password, or a login. True: registration may go on.
    pub(super) fn check_pass(&mut self, cx: &mut Cx<'_>) -> bool {
        let wanted = cx.settings().irc.password.clone();
        let Some(pass) = self.pass.clone() else {
            if wanted.is_empty() || self.pass_ok || self.user.is_some() {
                return true;
            }
            self.wrong_pass(cx);
            return false;
        };
        self.pass = None;
        if !wanted.is_empty() {
            self.pass_ok = pass == wanted;
            if !self.pass_ok {
                self.wrong_pass(cx);
            }
            return self.pass_ok;
        }
        if self.user.is_some() {
            return true;
        }
        let (name, password) = match pass.split_once(':') {
            Some((name, password)) if !name.is_empty() => (name.to_owned(), password.to_owned()),
            _ => (self.nick.to_string(), pass.to_string()),
        };
        self.log_in(&name, &password, How::Pass, cx);
        false
    }

    fn wrong_pass(&mut self, cx: &mut Cx<'_>) {
        self.numeric(cx, n::ERR_PASSWDMISMATCH, &[]);
        self.close(cx, "Bad password", Reason::Forbidden("wrong password"));
    }

    /// Logs in with a name and a password.
    pub(super) fn log_in(&mut self, name: &str, password: &str, how: How, cx: &mut Cx<'_>) {
        let message = format!("\0{name}\0{password}");
        self.exchange(Mechanism::Plain, Some(message.as_bytes()), how, cx);
    }

    /// The client's next message.
    fn client_says(&mut self, message: &[u8], cx: &mut Cx<'_>) {
        let Some(exchange) = &mut self.login.exchange else { return };
        match std::mem::replace(&mut exchange.waits, Waits::Client) {
            Waits::Last(user, device) => self.succeeded(user, device, cx),
            Waits::Client => {
                let step = exchange.sasl.respond(message);
                self.step(step, cx);
            }
            Waits::Account(_) | Waits::Job(_) => self.failed(Failure::OutOfOrder, cx),
        }
    }

    fn step(&mut self, step: Step, cx: &mut Cx<'_>) {
        match step {
            Step::Challenge(message) => self.challenge(&message, cx),
            Step::NeedCredential(login) => match UserName::new(&login.account) {
                Ok(name) => {
                    let req = cx.query(Query::AccountNamed(name));
                    self.wait_for(Waits::Account(req), cx);
                }
                Err(_) => self.credential(None, None, cx),
            },
            Step::NeedDerive(derivation) => {
                let req = cx.job(Job::Derive(derivation));
                self.wait_for(Waits::Job(req), cx);
            }
            Step::Success { name, additional } => {
                let Some(exchange) = &mut self.login.exchange else { return };
                let Some(user) = exchange.user.clone() else {
                    return self.failed(Failure::Temporary, cx);
                };
                let device = name.device.as_deref().map(Str::new);
                match additional {
                    Some(last) if exchange.how == How::Sasl => {
                        exchange.waits = Waits::Last(user, device);
                        self.challenge(&last, cx);
                    }
                    _ => self.succeeded(user, device, cx),
                }
            }
            Step::Failure(failure) => self.failed(failure, cx),
        }
    }

    fn challenge(&mut self, message: &[u8], cx: &mut Cx<'_>) {
        for piece in authenticate::pieces(message) {
            let line = one(|w| {
                w.command("AUTHENTICATE").param(&piece).end();
            });
            self.emit(&line, cx);
        }
    }

    /// Nothing is read until the answer is there; the task that led here stays open.
    fn wait_for(&mut self, waits: Waits, cx: &mut Cx<'_>) {
        cx.hold(true);
        self.keep_open();
        if let Some(exchange) = &mut self.login.exchange {
            // The command that brought the client's last message is the one that is answered.
            (exchange.waits, exchange.task) = (waits, self.task);
        }
    }

    /// Takes the answer to a login's question. True: it was one.
    pub(super) fn login_reply(&mut self, req: ReqId, reply: &Reply, cx: &mut Cx<'_>) -> bool {
        let Some(exchange) = &mut self.login.exchange else { return false };
        if !matches!(exchange.waits, Waits::Account(r) | Waits::Job(r) if r == req) {
            return false;
        }
        exchange.waits = Waits::Client;
        self.task = exchange.task;
        cx.hold(false);
        self.close_one();
        match reply {
            Ok(Value::Account(account)) => {
                let usable = account.head.as_ref().filter(|head| !head.disabled && !head.deleted);
                let credential = usable.and_then(|head| Credential::decode(&head.credential).ok());
                self.credential(credential, account.user(), cx);
            }
            Ok(_) | Err(Refusal::NoSuchUser) => self.credential(None, None, cx),
            Err(_) => self.failed(Failure::Temporary, cx),
        }
        self.settle(cx);
        true
    }

    fn credential(&mut self, credential: Option<Credential>, user: Option<User>, cx: &mut Cx<'_>) {
        let Some(exchange) = &mut self.login.exchange else { return };
        exchange.user = user;
        let step = exchange.sasl.credential(credential.as_ref());
        self.step(step, cx);
    }

    /// Takes the result of a login's job. False: it was not one.
    pub(super) fn login_done(&mut self, req: ReqId, done: &Done, cx: &mut Cx<'_>) -> bool {
        let Some(exchange) = &mut self.login.exchange else { return false };
        if !matches!(exchange.waits, Waits::Job(r) if r == req) {
            return false;
        }
        exchange.waits = Waits::Client;
        self.task = exchange.task;
        let step = match done {
            Done::Keys(keys) => exchange.sasl.derived(keys),
            _ => Step::Failure(Failure::OutOfOrder),
        };
        cx.hold(false);
        self.close_one();
        self.step(step, cx);
        self.settle(cx);
        true
    }

    fn succeeded(&mut self, user: User, device: Option<Str>, cx: &mut Cx<'_>) {
        let how = self.login.exchange.take().map(|exchange| exchange.how);
        self.login.how = how;
        self.device = device;
        self.enter_later();
        cx.login(user);
    }

    /// What the core answers to a login belongs to the command at hand.
    pub(super) fn enter_later(&mut self) {
        self.logging_in = true;
        self.keep_open();
        self.entering = self.task;
    }

    /// The core has answered: the command that led to it is at hand again.
    fn entered(&mut self) {
        self.logging_in = false;
        self.task = self.entering.take();
        self.close_one();
    }

    fn failed(&mut self, failure: Failure, cx: &mut Cx<'_>) {
        let how = self.login.exchange.take().map_or(How::Sasl, |exchange| exchange.how);
        self.login.failures += 1;
        match how {
            How::Sasl if failure == Failure::TooLong => self.numeric(cx, n::ERR_SASLTOOLONG, &[]),
            How::Sasl if failure == Failure::NotAuthorized => self.numeric(cx, n::ERR_SASLFAIL, &[]),
            How::Sasl => {
                let text = format!("SASL authentication failed: {failure}");
                self.numeric_text(cx, n::ERR_SASLFAIL, &[], &text);
            }
            How::Pass => return self.wrong_pass(cx),
            How::Identify => self.service_notice("NickServ", &format!("Login failed: {failure}"), cx),
        }
        if self.login.failures >= cx.core_settings().limits.login_tries {
            return self.close(cx, "Too many failed logins", Reason::Limit("failed logins"));
        }
        self.try_register(cx);
    }

    /// The core has logged the session in, or given a guest its name.
    pub(super) fn logged_in(&mut self, cx: &mut Cx<'_>) {
        self.entered();
        self.take_login(cx);
        self.settle(cx);
    }

    fn take_login(&mut self, cx: &mut Cx<'_>) {
        let Some(user) = cx.user().cloned() else { return };
        let before = self.prefix(cx.settings());
        let old = self.target().to_owned();
        let was = self.user.replace(user.clone());
        let name = user.name.as_str().to_owned();
        if user.is_guest() {
            self.nick = Str::new(&name);
            if self.stage == Stage::Registered && old != name {
                self.renamed(&before, &name, cx);
            } else if self.stage == Stage::Registering {
                self.try_register(cx);
            }
            return;
        }
        let other = was.as_ref().is_some_and(|was| was.id != user.id);
        if other && was.as_ref().is_some_and(|was| !was.is_guest()) {
            self.leave_behind(&before, &name, cx);
        }
        let prefix = self.prefix(cx.settings());
        self.numeric_text(
            cx,
            n::RPL_LOGGEDIN,
            &[&prefix, &name],
            &format!("You are now logged in as {name}"),
        );
        match self.login.how.take() {
            Some(How::Sasl) => self.numeric(cx, n::RPL_SASLSUCCESS, &[]),
            Some(How::Identify) => {
                self.service_notice("NickServ", &format!("You are now logged in as {name}"), cx)
            }
            Some(How::Pass) | None => {}
        }
        if self.stage == Stage::Registered {
            if old != name {
                self.renamed(&before, &name, cx);
            }
            if was.is_none_or(|was| was.id != user.id) {
                self.arrive(cx);
                self.enter_again(cx);
            }
        } else {
            if self.nick.is_empty() || super::super::casemap::same(&self.nick, &name) {
                self.nick = Str::new(&name);
            }
            self.try_register(cx);
        }
    }

    /// Logged in as another account: the channels were the other's.
    fn leave_behind(&mut self, before: &str, to: &str, cx: &mut Cx<'_>) {
        self.names.clear();
        self.awaited.clear();
        for (_, channel) in std::mem::take(&mut self.rooms) {
            let line = one(|w| {
                let words = format!("Logged in as {to}");
                w.source(before).command("PART").param(&channel.name).last(&words);
            });
            cx.write(&line, false);
        }
    }

    fn renamed(&mut self, before: &str, to: &str, cx: &mut Cx<'_>) {
        self.nick = Str::new(to);
        let tags = self.event_tags(true, cx);
        let line = one(|w| {
            w.raw_tags(&tags).source(before).command("NICK").last(to);
        });
        cx.write(&line, false);
    }

    /// The core refused the login: the name is taken, or there are too many sessions.
    pub(super) fn login_refused(&mut self, refusal: &Refusal, cx: &mut Cx<'_>) {
        self.entered();
        self.tell_refused(refusal, cx);
        self.settle(cx);
    }

    fn tell_refused(&mut self, refusal: &Refusal, cx: &mut Cx<'_>) {
        let nick = self.nick.clone();
        match (refusal, self.login.how.take()) {
            (Refusal::TooMany, _) => {
                self.close(
                    cx,
                    "Too many connections of this account",
                    Reason::Limit("sessions of an account"),
                );
            }
            (Refusal::BadName(_), None) => self.numeric(cx, n::ERR_ERRONEUSNICKNAME, &[&nick]),
            (Refusal::NameTaken, None) => self.numeric(cx, n::ERR_NICKNAMEINUSE, &[&nick]),
            (_, Some(How::Sasl)) => self.numeric(cx, n::ERR_SASLFAIL, &[]),
            (_, Some(How::Identify)) => {
                self.service_notice("NickServ", "Login is not possible at the moment", cx)
            }
            (_, None | Some(How::Pass)) => {
                self.close(cx, "Login is not possible at the moment", Reason::Forbidden("login refused"));
            }
        }
        if let (Some(user), Stage::Registered) = (&self.user, self.stage) {
            // A guest keeps the name it had.
            self.nick = Str::new(user.name.as_str());
        } else if self.stage == Stage::Registering {
            // The name did not work out; the next NICK tries again.
            self.nick = Str::default();
        }
    }
}
