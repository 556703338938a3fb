//! An IRC session: one connection, and what it knows.
//!
//! Here is the way in (bytes to commands) and the way out (events, answers and notices to lines). What each command
//! does is in the files of [`session`](self), a group of commands each; how an entry looks is in
//! [`render`](super::render).

mod account;
mod answer;
mod channels;
mod doorkeeper;
mod history;
mod info;
mod login;
mod manage;
mod markread;
mod metadata;
mod modes;
mod monitor;
mod multiline;
mod oper;
mod outcome;
mod people;
mod register;
mod services;
mod speak;
mod welcome;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lavina_core::event::{Event, How, Live, What};
use lavina_core::ids::{Pos, ReqId, RoomId};
use lavina_core::name::{RoomName, User, UserName};
use lavina_core::policy::Membership;
use lavina_core::presence::{Marks, Presence};
use lavina_core::projection::{
    Hole, Mode, Notice, Pieces, Reason, Revoked, Seen, Shown, SignalWhat, Wake, WireClass,
};
use lavina_core::query::Reply;
use lavina_core::row::ReadMark;
use lavina_core::text::Str;
use lavina_core::time::{Mono, UnixMillis};
use lavina_core::vecmap::VecMap;

use super::cap::{Cap, Caps};
use super::command::{self, Row, Verb};
use super::framer::{Frame, Framer};
use super::message::{Line, Unreadable};
use super::numeric as n;
use super::render::{self, SettingsOf, View};
use super::{identity, native, settings};
use crate::job::Done;
use crate::missed::Overlap;
use crate::session::{CLASS_BITS, Cx, IRC_CLASS, IRC_NATIVE};
use crate::settings::{Listener, Settings};
use answer::{Ask, TaskId, Tasks};
use login::Login;

/// The price of one ordinary message in the core's units; the table of commands says how many of it each costs.
const UNIT: u32 = 1_000;

/// Bytes of what a session says of whose messages it takes: [`super::limits::ACCEPT_MAX`] nicks fit.
const DOORKEEPER_MAX: usize = 16 * 1024;

/// Timer: PING is due.
const TIMER_PING: u8 = 0;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// NICK, USER, CAP END or a login is missing.
    Registering,
    /// Registered; [`Irc::user`] tells whether logged in.
    Registered,
    /// Said its last word.
    Closing,
}

/// A channel that the session is in.
#[derive(Debug, Clone)]
struct Channel {
    /// As it is written.
    name: Str,
}

/// A session.
pub struct Irc {
    framer: Framer,
    stage: Stage,
    caps: Caps,
    /// The version of CAP LS, 0 without.
    cap_version: u16,
    /// CAP negotiation holds registration up.
    negotiating: bool,
    /// The nick asked for, or in use.
    nick: Str,
    /// The user name of USER.
    user_name: Str,
    real: Str,
    pass: Option<Str>,
    pass_ok: bool,
    login: Login,
    /// Logged in as; a copy of the context's, for [`Irc::hole`] and the like.
    user: Option<User>,
    /// The core is asked for a login or a guest's name.
    logging_in: bool,
    /// The command that led to it; what follows answers it.
    entering: Option<TaskId>,
    /// The device of the login, for replay.
    device: Option<Str>,
    /// The channels it is in, by room and by folded name.
    rooms: VecMap<RoomId, Channel>,
    names: VecMap<Str, RoomId>,
    registering: Option<Box<account::Registering>>,
    /// Channels being attached to, and up to where they are the past.
    awaited: VecMap<RoomId, (String, Pos)>,
    gathers: Vec<people::Gather>,
    targets: Option<Box<history::Targets>>,
    /// Nicks watched, with `nick!user@host` of those that are here.
    monitored: BTreeMap<UserName, Option<String>>,
    adding: Vec<monitor::Adding>,
    /// A message of several lines being received.
    multi: Option<Box<multiline::Multi>>,
    /// Keys of metadata subscribed to.
    subs: BTreeSet<Str>,
    /// Metadata set before registration was complete.
    early: Vec<(String, String)>,
    /// Dialogs shown and not noted as read yet, up to where.
    unread: BTreeMap<RoomId, ReadMark>,
    /// When this device was last here.
    seen_until: Option<UnixMillis>,
    /// Which lines of dialogs were shown as they came and which as missed.
    overlap: Overlap,
    tasks: Tasks,
    /// The task whose command or answer is being handled.
    task: Option<TaskId>,
    away: Option<Str>,
    /// Whose private messages are taken.
    doorkeeper: doorkeeper::Doorkeeper,
    oper: bool,
    bot: bool,
    invisible: bool,
    wallops: bool,
    /// When the last line came.
    heard: Mono,
    /// A PING was sent and nothing came since.
    pinged: bool,
    /// Counts batches and pings.
    counter: u32,
    quit: Option<Str>,
}

impl Irc {
    /// A connection came in.
    #[must_use]
    pub fn accept(_: Listener) -> Irc {
        Irc {
            framer: Framer::default(),
            stage: Stage::Registering,
            caps: Caps::NONE,
            cap_version: 0,
            negotiating: false,
            nick: Str::default(),
            user_name: Str::default(),
            real: Str::default(),
            pass: None,
            pass_ok: false,
            login: Login::default(),
            user: None,
            logging_in: false,
            entering: None,
            device: None,
            rooms: VecMap::new(),
            names: VecMap::new(),
            registering: None,
            awaited: VecMap::new(),
            gathers: Vec::new(),
            targets: None,
            monitored: BTreeMap::new(),
            adding: Vec::new(),
            multi: None,
            subs: BTreeSet::new(),
            early: Vec::new(),
            unread: BTreeMap::new(),
            seen_until: None,
            overlap: Overlap::default(),
            tasks: Tasks::default(),
            task: None,
            away: None,
            doorkeeper: doorkeeper::Doorkeeper::default(),
            oper: false,
            bot: false,
            invisible: false,
            wallops: false,
            heard: Mono::default(),
            pinged: false,
            counter: 0,
            quit: None,
        }
    }

    /// The server says nothing first.
    pub fn opened(&mut self, cx: &mut Cx<'_>) {
        self.watch_idle(cx);
    }

    /// Takes one line from the front of `bytes`.
    ///
    /// # Errors
    /// When the connection is to be closed; the last word is written.
    pub fn recv(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> Result<usize, Reason> {
        if self.stage == Stage::Closing {
            return Ok(bytes.len());
        }
        match self.framer.next(bytes) {
            Frame::Wait(used) => Ok(used),
            Frame::TooLong => {
                self.error(cx, "a line without end");
                Err(Reason::Limit("a line without end"))
            }
            Frame::Line(line, used) => {
                self.heard = cx.now().mono;
                self.line(line, cx);
                Ok(used)
            }
        }
    }

    fn line(&mut self, bytes: &[u8], cx: &mut Cx<'_>) {
        match Line::parse(bytes) {
            Ok(line) => self.command(&line, cx),
            Err(Unreadable::Empty) => {}
            Err(Unreadable::TooLong) => {
                cx.charge(UNIT);
                self.begin(None, cx);
                self.numeric(cx, n::ERR_INPUTTOOLONG, &[]);
                self.settle(cx);
            }
            Err(Unreadable::NotUtf8) => {
                cx.charge(UNIT);
                let text = String::from_utf8_lossy(bytes);
                let label = self.label_of(&text);
                self.begin(label.as_deref(), cx);
                let row = Line::parse(text.as_bytes()).ok().and_then(|line| command::row(line.command));
                let about = row.map_or("*", |row| row.name);
                let why = "Message rejected, your IRC software MUST use UTF-8 encoding on this network";
                self.fail(cx, about, "INVALID_UTF8", &[], why);
                self.settle(cx);
            }
        }
    }

    fn command(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let row = command::row(line.command);
        cx.charge(row.map_or(1, |row| row.cost) * UNIT);
        let label = line.tag("label").filter(|_| self.caps.has(Cap::LabeledResponse));
        self.begin(label.as_deref(), cx);
        match row {
            Some(row) if self.may(row, line, cx) => self.dispatch(row.verb, line, cx),
            Some(_) => {}
            None if self.stage == Stage::Registering => self.numeric(cx, n::ERR_NOTREGISTERED, &[]),
            None => self.numeric(cx, n::ERR_UNKNOWNCOMMAND, &[line.command]),
        }
        self.settle(cx);
    }

    /// The label of a line that is refused as a whole.
    fn label_of(&self, text: &str) -> Option<String> {
        let line = Line::parse(text.as_bytes()).ok().filter(|_| self.caps.has(Cap::LabeledResponse))?;
        line.tag("label").map(Cow::into_owned)
    }

    /// The checks that the table of commands asks for.
    fn may(&mut self, row: &Row, line: &Line<'_>, cx: &mut Cx<'_>) -> bool {
        let registered = self.stage == Stage::Registered;
        match row.when {
            command::When::After if !registered => self.numeric(cx, n::ERR_NOTREGISTERED, &[]),
            command::When::Before if registered => self.numeric(cx, n::ERR_ALREADYREGISTERED, &[]),
            _ if line.params.len() < row.params => self.numeric(cx, n::ERR_NEEDMOREPARAMS, &[row.name]),
            _ if row.who == command::Who::Account && self.user.is_none() => {
                self.account_required(row.name, cx)
            }
            _ => return true,
        }
        false
    }

    fn dispatch(&mut self, verb: Verb, line: &Line<'_>, cx: &mut Cx<'_>) {
        match verb {
            Verb::Cap => self.cap(line, cx),
            Verb::Nick => self.nick(line, cx),
            Verb::User => self.user(line, cx),
            Verb::Pass => self.pass(line, cx),
            Verb::Ping => self.ping(line, cx),
            Verb::Pong => {}
            Verb::Quit => self.quit(line, cx),
            Verb::Authenticate => self.authenticate(line, cx),
            Verb::Register => self.register(line, cx),
            Verb::Verify => self.verify(line, cx),
            Verb::Nickserv | Verb::Ns => self.nickserv(&words(line), cx),
            Verb::Chanserv | Verb::Cs => self.chanserv(&words(line), cx),
            Verb::Join => self.join(line, cx),
            Verb::Part => self.part(line, cx),
            Verb::Names => self.names(line, cx),
            Verb::List => self.list(line, cx),
            Verb::Topic => self.topic(line, cx),
            Verb::Kick => self.kick(line, cx),
            Verb::Invite => self.invite(line, cx),
            Verb::Knock => self.knock(line, cx),
            Verb::Mode => self.mode_command(line, cx),
            Verb::Privmsg | Verb::Notice | Verb::Tagmsg => self.speak(verb, line, cx),
            Verb::Redact => self.redact(line, cx),
            Verb::Batch => self.batch(line, cx),
            Verb::Markread => self.markread(line, cx),
            Verb::Metadata => self.metadata(line, cx),
            Verb::Chathistory => self.chathistory(line, cx),
            Verb::Who => self.who(line, cx),
            Verb::Whois => self.whois(line, cx),
            Verb::Whowas => self.whowas(line, cx),
            Verb::Ison => self.ison(line, cx),
            Verb::Userhost => self.userhost(line, cx),
            Verb::Away => self.set_away(line, cx),
            Verb::Silence => self.silence(line, cx),
            Verb::Setname => self.setname(line, cx),
            Verb::Oper => self.oper(line, cx),
            Verb::Accept => self.accept_command(line, cx),
            Verb::Kill => self.kill(line, cx),
            Verb::Wallops => self.wallops(line, cx),
            Verb::Rehash => self.rehash(cx),
            Verb::Monitor => self.monitor(line, cx),
            Verb::Connect | Verb::Squit => self.numeric(cx, n::ERR_NOPRIVILEGES, &[]),
            _ => self.information(verb, line, cx),
        }
    }

    /// An event of a room that only this session sees so.
    pub fn seen(&mut self, event: &Arc<Event>, how: Seen, cx: &mut Cx<'_>) {
        match how {
            Seen::Own { req, attached } => {
                let Some(ask) = self.answered(req) else { return };
                if attached || matches!(ask, Ask::Join { .. }) {
                    self.own_join(event, &ask, cx);
                } else {
                    self.own_event(event, &ask, cx);
                }
                self.settle(cx);
            }
            Seen::About { .. } => self.about_me(event, cx),
            Seen::Feed { pos, with, own } => self.fed(event, pos, &with, own, cx),
            Seen::Room { .. } => self.show(event, "", cx),
        }
    }

    /// A live signal of its own, or about its account.
    pub fn seen_live(&mut self, live: &Arc<Live>, own: Option<ReqId>, cx: &mut Cx<'_>) {
        // What one's own account does elsewhere in the moment is told to others, not to itself.
        let Some(asked) = own.and_then(|req| self.answered(req)) else { return };
        let channel = self.rooms.get(&live.room).map(|c| c.name.clone());
        if let (true, Ask::Said { .. }, Some(channel)) = (self.caps.has(Cap::EchoMessage), &asked, channel) {
            let tags = self.event_tags(true, cx);
            let settings = SettingsOf(cx.settings());
            let view = View { caps: self.caps, settings: &settings, target: &channel, tags: &tags };
            let mut direct = render::Direct::new(self.target());
            render::live(&view, live, &mut direct);
            cx.write(&direct.out, false);
        }
        self.settle(cx);
    }

    /// The answer to a request.
    pub fn reply(&mut self, req: ReqId, reply: Reply, cx: &mut Cx<'_>) {
        if self.login_reply(req, &reply, cx) || self.register_refused(req, &reply, cx) {
            return;
        }
        let Some(ask) = self.answered(req) else { return };
        match reply {
            Ok(value) => self.value(ask, value, cx),
            Err(refusal) => self.refused(ask, &refusal, cx),
        }
        self.settle(cx);
    }

    /// The result of a job.
    pub fn done(&mut self, req: ReqId, done: Done, cx: &mut Cx<'_>) {
        if !self.login_done(req, &done, cx) {
            self.register_done(req, &done, cx);
        }
    }

    /// Something else happened.
    pub fn wake(&mut self, why: Wake, cx: &mut Cx<'_>) {
        match why {
            Wake::Login => self.logged_in(cx),
            Wake::LoginRefused(refusal) => self.login_refused(&refusal, cx),
            Wake::Lost => self.lost(cx),
            Wake::Attached { room, replay } => self.attached(room, replay, cx),
            Wake::Notice(notice) => self.notice(&notice, cx),
            Wake::Timer(timer) => self.timer(timer, cx),
            Wake::LoginTimeout => self.close(cx, "Registration timeout", Reason::Timeout("not logged in")),
            Wake::Replaced => self.close(cx, "Connected again from the same device", Reason::Replaced),
            Wake::Drain => self.close(cx, "Server stopping", Reason::Drain),
            Wake::Overflow => self.close(cx, "SendQ exceeded", Reason::Limit("output not read")),
            Wake::Settings => self.settings_changed(cx),
            Wake::Secured | Wake::Sent | Wake::Moved | Wake::Resumed(_) | Wake::NotResumed(_) => {}
        }
    }

    /// How it wants room events.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.stage == Stage::Closing {
            return Mode::Quiet;
        }
        Mode::Push(WireClass(IRC_CLASS << CLASS_BITS | self.shown_caps().bits(render::CLASS_CAPS)))
    }

    /// Encodes what happened in a room for a class.
    pub fn encode(
        class: WireClass,
        name: Option<&RoomName>,
        shown: Shown<'_>,
        settings: &Settings,
        out: &mut Pieces,
    ) {
        let Some(name) = name else { return };
        let channel = identity::channel(name);
        let settings = SettingsOf(settings);
        let caps = Caps::from_bits(class.0 & ((1 << CLASS_BITS) - 1), render::CLASS_CAPS);
        let view = View { caps, settings: &settings, target: &channel, tags: "" };
        // What happens in several rooms at once is a QUIT, NICK, AWAY and the like, without a channel.
        out.once();
        match shown {
            Shown::Event(event, _) => render::event(&view, event, out),
            Shown::Live(live) => render::live(&view, live, out),
        }
    }

    /// What fills a hole: the nick.
    #[must_use]
    pub fn hole(&self, _: Hole) -> &[u8] {
        self.target().as_bytes()
    }

    // --- what is known ---

    /// The nick that numerics are addressed to: `*` before there is one.
    fn target(&self) -> &str {
        match &self.user {
            Some(user) => user.name.as_str(),
            None if self.nick.is_empty() => "*",
            None => &self.nick,
        }
    }

    /// `nick!user@host` of the session itself.
    fn prefix(&self, settings: &Settings) -> String {
        match &self.user {
            Some(user) => identity::prefix(user, settings),
            None => format!("{0}!~{0}@{1}", self.target(), identity::host(settings)),
        }
    }

    /// The capabilities that change how entries look: lines of a message come as a batch only where batches do, and
    /// changes of metadata only where some are subscribed to.
    fn shown_caps(&self) -> Caps {
        let mut caps = self.caps.and(render::CLASS);
        if !self.caps.has(Cap::Batch) {
            caps = caps.without(Caps::of(&[Cap::Multiline]));
        }
        if self.subs.is_empty() {
            caps = caps.without(Caps::of(&[Cap::Metadata2, Cap::Metadata3]));
        }
        caps
    }

    /// The room of a channel the session is in.
    fn room(&self, channel: &str) -> Option<RoomId> {
        self.names.get(super::casemap::fold(channel).as_str()).copied()
    }

    fn channel_name(&self, room: RoomId) -> Option<&str> {
        self.rooms.get(&room).map(|channel| channel.name.as_str())
    }

    fn enter(&mut self, room: RoomId, name: &str) {
        self.names.insert(Str::new(super::casemap::fold(name)), room);
        self.rooms.insert(room, Channel { name: Str::new(name) });
    }

    fn leave(&mut self, room: RoomId) {
        if let Some(channel) = self.rooms.remove(&room) {
            self.names.remove(super::casemap::fold(&channel.name).as_str());
        }
    }

    // --- events ---

    /// Writes the lines of an entry of a channel the session is in, for itself.
    fn show(&mut self, event: &Event, tags: &str, cx: &mut Cx<'_>) {
        let Some(target) = self.rooms.get(&event.room).map(|c| c.name.clone()) else { return };
        self.show_as(event, &target, tags, cx);
    }

    /// Writes the lines of an entry.
    fn show_as(&mut self, event: &Event, target: &str, tags: &str, cx: &mut Cx<'_>) {
        let settings = SettingsOf(cx.settings());
        let view = View { caps: self.shown_caps(), settings: &settings, target, tags };
        let mut out = render::Direct::new(self.target());
        render::event(&view, event, &mut out);
        for line in out.lines() {
            cx.write(line, false);
        }
    }

    /// An entry about the session's own account, made by somebody else or by another of its sessions.
    fn about_me(&mut self, event: &Arc<Event>, cx: &mut Cx<'_>) {
        let What::Member(change) = &event.what else { return self.show(event, "", cx) };
        if change.how == How::Rename {
            // The account's own notice says so, once for all rooms.
            return;
        }
        self.show(event, "", cx);
        if change.after.membership != Membership::Joined {
            self.leave(event.room);
        }
    }

    /// Something concerning the account.
    fn notice(&mut self, notice: &Notice, cx: &mut Cx<'_>) {
        match notice {
            Notice::Membership { name, event, origin } => {
                if origin.is_none_or(|o| o.session != cx.session()) {
                    self.membership(name.as_ref(), event, cx);
                }
            }
            Notice::Destroyed { room, event } => {
                self.show(event, "", cx);
                self.leave(*room);
            }
            Notice::Respelled(name) => self.respelled(name, cx),
            Notice::Revoked(why) => match why {
                Revoked::Credential(Some(origin)) if origin.session == cx.session() => {}
                Revoked::Credential(_) => {
                    self.close(cx, "The password was changed", Reason::Forbidden("password changed"))
                }
                Revoked::Disabled => {
                    self.close(cx, "The account was disabled", Reason::Forbidden("account disabled"))
                }
                Revoked::Deleted => {
                    self.close(cx, "The account was deleted", Reason::Forbidden("account deleted"))
                }
            },
            Notice::Signal(signal) => match &signal.what {
                SignalWhat::Typing(on) => {
                    let tags = if *on { "+typing=active" } else { "+typing=done" };
                    self.tagmsg_from(&signal.from, tags, cx);
                }
                SignalWhat::Native(payload) if payload.protocol == IRC_NATIVE => {
                    self.signalled(&signal.from, native::unpack(Some(payload)), cx);
                }
                SignalWhat::Native(_) | SignalWhat::Arrived(_) => {}
                SignalWhat::End(words) => self.close(cx, words, Reason::Forbidden("ended by an operator")),
            },
            Notice::Watched { name, before, now, first, .. } => {
                self.watched(name, before.as_deref(), now.as_deref(), *first, cx);
            }
            Notice::Attrs { from, values, origin, .. } => {
                if origin.is_none_or(|o| o.session != cx.session()) {
                    self.meta_changed(from, values, cx);
                }
            }
            Notice::Read { room, mark, origin } => {
                if origin.is_none_or(|o| o.session != cx.session()) {
                    self.read_on(*room, *mark, cx);
                }
            }
            Notice::Announced { from, native: payload } => {
                if payload.protocol == IRC_NATIVE {
                    self.announced(from, native::unpack(Some(payload)), cx);
                }
            }
            Notice::Presence { .. }
            | Notice::Subscription { .. }
            | Notice::Contact { .. }
            | Notice::Letter { .. }
            | Notice::ReadBy { .. }
            | Notice::Blocked { .. } => {}
        }
    }

    /// The session's own presence as it is now.
    fn presence(&self) -> Presence {
        use lavina_core::presence::Show;
        let marks = Marks { open: true, hidden: self.invisible, bot: self.bot, admin: self.oper };
        let native = self.doorkeeper.native(DOORKEEPER_MAX);
        let presence = Presence { marks, native, ..Presence::default() };
        match &self.away {
            // IRCv3 draft/pre-away: away by itself, for no reason that anybody gave.
            Some(text) if *text == *"*" => Presence { show: Show::ExtendedAway, ..presence },
            Some(text) => Presence { show: Show::Away, status: text.clone(), ..presence },
            None => presence,
        }
    }

    /// Says the last word and closes.
    fn close(&mut self, cx: &mut Cx<'_>, text: &str, reason: Reason) {
        if self.stage != Stage::Closing {
            self.note_seen(matches!(reason, Reason::Timeout(_) | Reason::Limit(_)), cx);
            cx.farewell(Str::new(text));
            self.error(cx, text);
            self.stage = Stage::Closing;
            cx.mode_changed();
        }
        cx.close(reason);
    }

    /// ERROR: why the connection ends.
    fn error(&mut self, cx: &mut Cx<'_>, text: &str) {
        let line = answer::line(|w| {
            w.command("ERROR").last_of(&["Closing link: ", text]);
        });
        cx.write(&line, false);
    }

    fn refused_value(&mut self, cx: &mut Cx<'_>) {
        self.numeric_text(cx, n::ERR_UNKNOWNERROR, &["*"], "The server answered something else");
    }
}

/// The parameters of a service's command as words.
fn words<'l>(line: &'l Line<'_>) -> Vec<&'l str> {
    line.params.iter().flat_map(|param| words_of(param)).collect()
}

/// The words of a text.
fn words_of(text: &str) -> Vec<&str> {
    text.split(' ').filter(|word| !word.is_empty()).collect()
}

/// The server's name as the source of lines.
fn server<'a>(cx: &Cx<'a>) -> &'a str {
    settings::server(cx.settings())
}
