//! Registration: CAP, NICK, USER, PASS, PING, QUIT, and what completes it.

use lavina_core::name::UserName;
use lavina_core::projection::Reason;
use lavina_core::settings::Guests;
use lavina_core::text::Str;

use super::super::cap::{self, Cap, Caps};
use super::super::casemap;
use super::super::limits::{
    BODY_MAX, METADATA_KEYS, METADATA_SUBS, METADATA_VALUE, MULTILINE_BYTES, MULTILINE_LINES,
};
use super::super::message::Line;
use super::super::numeric as n;
use super::super::render::cut;
use super::answer::{Ask, line as one};
use super::{Irc, Stage, TIMER_PING, identity, server};
use crate::session::Cx;

/// Bytes of a real name. A longer one is cut between characters.
pub(super) const REAL_MAX: usize = 150;
/// Bytes of the user name of USER.
const USER_MAX: usize = 20;
/// Capabilities with a value are listed so from this version of CAP LS on.
const CAP_302: u16 = 302;

impl Irc {
    pub(super) fn cap(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let sub = line.param(0).to_ascii_uppercase();
        match sub.as_str() {
            "LS" => self.cap_ls(line.param(1), cx),
            "LIST" => {
                let words = self.caps.iter().map(|cap| cap.name().to_owned());
                let lines = cap::pack(words, self.cap_room(cx));
                self.cap_lines("LIST", &lines, cx);
            }
            "REQ" => self.cap_req(line.param(1), cx),
            "END" => {
                if self.stage == Stage::Registering {
                    self.negotiating = false;
                    self.abort_login(cx);
                    self.try_register(cx);
                }
            }
            _ => self.numeric(cx, n::ERR_INVALIDCAPCMD, &[line.param(0)]),
        }
    }

    fn cap_ls(&mut self, version: &str, cx: &mut Cx<'_>) {
        if self.stage == Stage::Registering {
            self.negotiating = true;
        }
        self.cap_version = self.cap_version.max(version.parse().unwrap_or(301));
        if self.cap_version >= CAP_302 {
            self.caps = self.caps.with(Caps::of(&[Cap::CapNotify]));
        }
        let mut words: Vec<String> = self.offered(cx).iter().map(|cap| self.cap_word(cap, cx)).collect();
        // Told, not asked for (IRCv3 sts): where TLS is, or there for how long.
        if let Some((port, seconds)) = cx.settings().irc.sts.filter(|_| self.cap_version >= CAP_302) {
            let sts = if cx.is_secure() { format!("duration={seconds}") } else { format!("port={port}") };
            words.push(format!("sts={sts}"));
        }
        let lines = cap::pack(words, self.cap_room(cx));
        self.cap_lines("LS", &lines, cx);
    }

    fn cap_req(&mut self, list: &str, cx: &mut Cx<'_>) {
        if self.stage == Stage::Registering {
            self.negotiating = true;
        }
        // CAP 302 clients cannot take cap-notify off (capability-negotiation, "cap-notify").
        let wanted = cap::request(list, self.offered(cx));
        let fixed = |off: Caps| self.cap_version >= CAP_302 && off.has(Cap::CapNotify);
        match wanted.filter(|(_, off)| !fixed(*off)) {
            Some((on, off)) => {
                self.caps = self.caps.with(on).without(off);
                cx.mode_changed();
                self.cap_lines("ACK", &[list.trim().to_owned()], cx);
            }
            None => self.cap_lines("NAK", &[list.to_owned()], cx),
        }
    }

    /// What is offered on this connection.
    pub(super) fn offered(&self, cx: &Cx<'_>) -> Caps {
        let mut caps = Caps::of(Cap::ALL);
        if self.mechanisms(cx).is_empty() {
            caps = caps.without(Caps::of(&[Cap::Sasl]));
        }
        caps
    }

    fn cap_word(&self, cap: Cap, cx: &Cx<'_>) -> String {
        let value = match cap {
            _ if self.cap_version < CAP_302 => String::new(),
            Cap::Sasl => self.mechanisms(cx).join(","),
            Cap::Metadata2 | Cap::Metadata3 => format!(
                "before-connect,max-subs={METADATA_SUBS},max-keys={METADATA_KEYS},max-value-bytes={METADATA_VALUE}"
            ),
            Cap::Multiline => format!("max-bytes={MULTILINE_BYTES},max-lines={MULTILINE_LINES}"),
            Cap::AccountRegistration => {
                // The e-mail parameter takes the invitation, where one is wanted.
                let before = cx.settings().irc.register_before_connect.then_some("before-connect");
                let invited = (!cx.core_settings().open_registration).then_some("email-required");
                before.into_iter().chain(invited).collect::<Vec<_>>().join(",")
            }
            _ => String::new(),
        };
        if value.is_empty() { cap.name().to_owned() } else { format!("{}={value}", cap.name()) }
    }

    fn cap_room(&self, cx: &Cx<'_>) -> usize {
        BODY_MAX - server(cx).len() - self.target().len() - ": CAP  LIST * :".len()
    }

    /// The lines of a list, all but the last marked as to be continued.
    fn cap_lines(&mut self, sub: &str, lines: &[String], cx: &mut Cx<'_>) {
        let (server, count) = (server(cx), lines.len());
        // Clients before 302 do not know the mark of a continued list.
        let many = self.cap_version >= CAP_302;
        for (at, words) in lines.iter().enumerate() {
            let line = one(|w| {
                w.source(server).command("CAP").param(self.target()).param(sub);
                if at + 1 < count && many {
                    w.param("*");
                }
                w.last(words);
            });
            self.emit(&line, cx);
        }
    }

    pub(super) fn nick(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let nick = line.param(0);
        if nick.is_empty() {
            return self.numeric(cx, n::ERR_NONICKNAMEGIVEN, &[]);
        }
        if !casemap::is_nick(nick, UserName::NEW_MAX) {
            return self.numeric(cx, n::ERR_ERRONEUSNICKNAME, &[nick]);
        }
        match (&self.user, self.stage) {
            (None, Stage::Registering) => {
                self.nick = Str::new(nick);
                self.try_register(cx);
            }
            (Some(_), Stage::Registering) => {
                // Logged in during registration: the welcome tells the nick, which is the account's.
                self.nick = Str::new(nick);
                self.try_register(cx);
            }
            (Some(user), _) if user.is_guest() => self.guest_nick(nick, cx),
            (Some(_), _) => self.account_nick(nick, cx),
            (None, _) => self.limbo_nick(nick, cx),
        }
    }

    /// A connection that is not logged in, where guests are not admitted, may call itself anything.
    fn limbo_nick(&mut self, nick: &str, cx: &mut Cx<'_>) {
        let before = self.prefix(cx.settings());
        if *self.nick != *nick {
            self.nick = Str::new(nick);
            let line = one(|w| {
                w.source(&before).command("NICK").last(nick);
            });
            self.emit(&line, cx);
        }
    }

    pub(super) fn user(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        if line.params.len() < 4 || line.param(0).is_empty() || line.param(3).is_empty() {
            return self.need_more("USER", cx);
        }
        if !self.user_name.is_empty() {
            return self.numeric(cx, n::ERR_ALREADYREGISTERED, &[]);
        }
        self.user_name = Str::new(cut(line.param(0), USER_MAX));
        self.real = Str::name(cut(line.param(3), REAL_MAX));
        self.try_register(cx);
    }

    pub(super) fn pass(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        if line.param(0).is_empty() {
            return self.need_more("PASS", cx);
        }
        self.pass = Some(Str::new(line.param(0)));
    }

    pub(super) fn ping(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        if line.params.is_empty() {
            return self.need_more("PING", cx);
        }
        if line.param(0).is_empty() {
            return self.numeric(cx, n::ERR_NOORIGIN, &[]);
        }
        let server = server(cx);
        let line = one(|w| {
            w.source(server).command("PONG").param(server).last(line.param(0));
        });
        self.emit(&line, cx);
    }

    pub(super) fn quit(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let words = cut(line.param(0), super::super::limits::KICK_MAX);
        let words = if words.is_empty() { "Quit".to_owned() } else { format!("Quit: {words}") };
        let prefix = self.prefix(cx.settings());
        if self.user.is_some() {
            let line = one(|w| {
                w.source(&prefix).command("QUIT").last(&words);
            });
            cx.write(&line, false);
        }
        self.quit = Some(Str::new(&words));
        self.close(cx, &words, Reason::Bye);
    }

    /// Completes registration if nothing is missing any more.
    pub(super) fn try_register(&mut self, cx: &mut Cx<'_>) {
        let ready = self.stage == Stage::Registering
            && !self.nick.is_empty()
            && !self.user_name.is_empty()
            && !self.negotiating
            && !self.logging_in
            && !self.login.is_under_way();
        if !ready || !self.check_pass(cx) {
            return;
        }
        match &self.user {
            Some(_) => self.welcome(cx),
            None => match cx.core_settings().guests {
                Guests::Off => self.welcome(cx),
                guests => self.become_guest(guests, cx),
            },
        }
    }

    /// Asks for a guest's name.
    fn become_guest(&mut self, guests: Guests, cx: &mut Cx<'_>) {
        let name = guest_name(&self.nick, guests);
        match UserName::new(&name) {
            Ok(name) if guests == Guests::Named || !name.is_reserved() => {
                self.enter_later();
                cx.guest(name, self.alias());
            }
            _ => {
                let nick = self.nick.clone();
                self.numeric(cx, n::ERR_ERRONEUSNICKNAME, &[&nick]);
            }
        }
    }

    /// What a guest said in USER, as far as it can be part of a prefix.
    fn alias(&self) -> Option<Str> {
        let fine = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
        let alias: String = self.user_name.chars().filter(fine).collect();
        (!alias.is_empty()).then(|| Str::new(alias))
    }

    /// A guest wants another nick.
    fn guest_nick(&mut self, nick: &str, cx: &mut Cx<'_>) {
        let name = guest_name(nick, cx.core_settings().guests);
        let current = self.user.as_ref().map(|user| user.name.as_str());
        if current == Some(name.as_str()) {
            return;
        }
        match UserName::new(&name) {
            Ok(new) if new.as_str().starts_with("guest-") || !new.is_reserved() => {
                self.enter_later();
                self.nick = Str::new(nick);
                cx.guest(new, self.alias());
            }
            _ => self.numeric(cx, n::ERR_ERRONEUSNICKNAME, &[nick]),
        }
    }

    /// Somebody with an account wants another nick: only the letter case can change.
    fn account_nick(&mut self, nick: &str, cx: &mut Cx<'_>) {
        let Some(user) = self.user.clone() else { return };
        if !casemap::same(user.name.as_str(), nick) {
            return self.numeric_text(
                cx,
                n::ERR_NICKNAMEINUSE,
                &[nick],
                "Your nick is the name of your account",
            );
        }
        if user.name.as_str() == nick {
            return;
        }
        if let Ok(name) = UserName::new(nick) {
            use lavina_core::command::{Act, Command, EntityId};
            let command = Command::by(&user, EntityId::Account(user.id), Act::Respell(name));
            let req = cx.command(command, false);
            self.ask(req, Ask::Respell);
        }
    }

    /// The account is spelled differently from now on.
    pub(super) fn respelled(&mut self, name: &UserName, cx: &mut Cx<'_>) {
        let Some(user) = &mut self.user else { return };
        if user.name.same_spelling(name) {
            return;
        }
        let before = identity::prefix(user, cx.settings());
        user.name = name.clone();
        self.nick = Str::new(name.as_str());
        let line = one(|w| {
            w.source(&before).command("NICK").last(name.as_str());
        });
        cx.write(&line, false);
    }

    /// Starts the clock that looks after silent connections.
    pub(super) fn watch_idle(&mut self, cx: &mut Cx<'_>) {
        self.heard = cx.now().mono;
        cx.timer(TIMER_PING, Some(self.heard + cx.core_settings().limits.idle_time));
    }

    /// A timer is due: asks whether the other end lives, or gives it up. Nothing is done when a line comes; only here
    /// it is looked when the last one came.
    pub(super) fn timer(&mut self, timer: u8, cx: &mut Cx<'_>) {
        if timer != TIMER_PING || self.stage == Stage::Closing {
            return;
        }
        self.note_read(cx);
        let (now, idle) = (cx.now().mono, cx.core_settings().limits.idle_time);
        let silent = now.since(self.heard);
        if silent < idle {
            self.pinged = false;
            return cx.timer(TIMER_PING, Some(self.heard + idle));
        }
        if self.pinged {
            return self.close(cx, "Ping timeout", Reason::Timeout("no answer to PING"));
        }
        self.pinged = true;
        let server = server(cx);
        let line = one(|w| {
            w.command("PING").last(server);
        });
        cx.write(&line, false);
        cx.timer(TIMER_PING, Some(now + idle / 2));
    }
}

/// The name under which a guest is known.
fn guest_name(nick: &str, guests: Guests) -> String {
    let marked = nick.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("guest-"));
    if guests == Guests::Named && !marked { format!("guest-{nick}") } else { nick.to_owned() }
}
