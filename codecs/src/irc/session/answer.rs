//! Answers: a task for each command read, which holds its place in the order of answers until all requests it led to
//! are answered, and its label (IRCv3 labeled-response).

use std::sync::Arc;

use lavina_core::chat::account::Account;
use lavina_core::event::Message;
use lavina_core::ids::{MsgId, ReqId, RoomId};
use lavina_core::name::User;
use lavina_core::outbox::Slot;
use lavina_core::query::Whois;
use lavina_core::row::ReadMark;

use super::super::cap::Cap;
use super::super::limits::LABEL_MAX;
use super::super::numeric::{self as n, Numeric};
use super::super::write::{LineWriter, escape};
use super::account::Registering;
use super::history::Page;
use super::info::Listing;
use super::manage::Kicking;
use super::markread::Marking;
use super::metadata::Meta;
use super::modes::Modes;
use super::people::Whoing;
use super::speak::Speech;
use super::{Irc, server};
use crate::session::Cx;

/// Names a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskId(u32);

/// What a request was for.
#[derive(Debug)]
pub(super) enum Ask {
    /// A join: the channel as written.
    Join { channel: String, names: bool },
    /// A part.
    Part { channel: String },
    /// The room of a channel for the lines after an own JOIN.
    Arrived { channel: String, names: bool },
    /// NAMES of a channel, one of `all`.
    Names { channel: String, all: String },
    /// Who is spoken to by nick.
    Speak(Box<Speech>),
    /// Something said to a channel, or to somebody.
    Said { target: String, quiet: bool },
    /// A message taken back.
    Redact { target: String, id: MsgId },
    /// TOPIC of a channel.
    Topic { channel: String },
    /// The channel that somebody is to be put out of.
    Kick(Box<Kicking>),
    /// An act in a channel, and whom or what it is about.
    Acted { channel: String, nick: String },
    /// The room whose modes are asked for or changed.
    Modes(Box<Modes>),
    /// Whether there is somebody of that nick, who is not in the channel.
    NotThere { channel: String, nick: String },
    /// Who is to be invited.
    Invite { channel: String, nick: String },
    /// An invitation.
    Invited { channel: String, nick: String },
    /// KNOCK.
    Knocked { channel: String },
    /// WHO of a channel.
    Who(Box<Whoing>),
    /// WHO of a mask: one of the rooms looked through.
    WhoMask(Box<Whoing>),
    /// WHO of a nick.
    WhoOne(Box<Whoing>),
    /// WHOIS.
    Whois { nick: String },
    /// The rooms of somebody whom WHOIS is about.
    WhoisRooms { whois: Arc<Whois>, account: Option<Arc<Account>>, more: Vec<String> },
    /// A room in memory only that somebody is in whom WHOIS is about; its place among them.
    WhoisRoom { whois: Arc<Whois>, account: Option<Arc<Account>>, at: usize },
    /// SILENCE without parameters.
    Silence,
    /// A change of the block list.
    Silenced { changes: String },
    /// USERHOST (`hosts`) or ISON: one nick of several.
    Here { at: usize, hosts: bool },
    /// LIST.
    List(Box<Listing>),
    /// LUSERS; `burst`: part of the welcome.
    Counts { burst: bool },
    /// The rooms of the account at login.
    Memberships,
    /// The rooms of the account that INVITE without parameters lists.
    Invitations,
    /// CHATHISTORY.
    History { room: RoomId, page: Box<Page> },
    /// Whom CHATHISTORY names.
    HistoryOf(Box<Page>),
    /// CHATHISTORY TARGETS: the dialogs.
    TargetDialogs,
    /// CHATHISTORY TARGETS: a channel.
    TargetRoom { channel: String },
    /// Missed lines of a channel.
    Missed { channel: String },
    /// Missed lines of dialogs.
    MissedDialogs,
    /// The account, to learn what its device has seen.
    Device,
    /// REGISTER.
    Register(Box<Registering>),
    /// A new spelling of the nick.
    Respell,
    /// A dialog's typing.
    Typing { to: User },
    /// Who is to be put off the server.
    Kill { nick: String, reason: String },
    /// The end of somebody's sessions.
    Killed { nick: String },
    /// The place that MARKREAD names.
    MarkOf(Box<Marking>),
    /// The last entry at or before the time that MARKREAD names.
    MarkAt { room: RoomId, marking: Box<Marking> },
    /// A read mark being set.
    Marked { room: RoomId, marking: Box<Marking> },
    /// The account, for its read mark.
    Mark { room: RoomId, marking: Box<Marking> },
    /// The entry that a read mark names, for its time.
    MarkTime { marking: Box<Marking> },
    /// The dialogs, for the one read on elsewhere.
    MarkDialog { room: RoomId, mark: ReadMark },
    /// The channel that a CTCP message goes to.
    CtcpIn { channel: String, message: Box<Message> },
    /// The target of METADATA.
    MetaTarget(Box<Meta>),
    /// The account that METADATA is about.
    MetaAccount { meta: Box<Meta>, user: User },
    /// Metadata of one's own being set.
    MetaSet { meta: Box<Meta>, changes: Vec<(String, String)> },
    /// Metadata of a channel being set.
    MetaRoomSet { meta: Box<Meta> },
    /// A member's account, for its metadata.
    MetaMember { user: User, tags: String },
    /// The account, for its metadata in the welcome.
    MetaBurst,
    /// The account that WHOIS is about, for its metadata.
    WhoisMeta { whois: Arc<Whois> },
    /// CS REGISTER.
    RegisterChannel { channel: String },
    /// WHOWAS; at most so many.
    Whowas { nick: String, count: usize },
}

/// A command that is being answered.
#[derive(Debug)]
pub(super) struct Task {
    id: TaskId,
    slot: Slot,
    label: Option<Box<str>>,
    /// Requests not answered yet.
    open: u32,
    /// Lines so far, for a label.
    lines: Lines,
}

/// How a labelled answer is being sent.
#[derive(Debug)]
enum Lines {
    /// None yet.
    None,
    /// One, held back: it may be all.
    One(Vec<u8>),
    /// In a batch of this name.
    Batch(String),
    /// The label is out: what follows needs none.
    Said,
}

/// All tasks and requests under way; as many as the window of the core allows.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    tasks: Vec<Task>,
    asked: Vec<(ReqId, Option<TaskId>, Ask)>,
    next: u32,
}

impl Tasks {
    fn get(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.id == id)
    }

    /// Gives back the memory that an idle session does not need.
    fn release(&mut self) {
        if self.tasks.is_empty() {
            self.tasks = Vec::new();
        }
        if self.asked.is_empty() {
            self.asked = Vec::new();
        }
    }
}

impl Irc {
    /// Begins the task of a command just read.
    pub(super) fn begin(&mut self, label: Option<&str>, cx: &mut Cx<'_>) {
        let label = label.filter(|label| !label.is_empty() && label.len() <= LABEL_MAX).map(Box::from);
        let id = TaskId(self.tasks.next);
        self.tasks.next = self.tasks.next.wrapping_add(1);
        self.tasks.tasks.push(Task { id, slot: cx.slot(), label, open: 0, lines: Lines::None });
        self.task = Some(id);
    }

    /// Notes what a request is for; it belongs to the task at hand.
    pub(super) fn ask(&mut self, req: ReqId, ask: Ask) {
        if let Some(task) = self.task.and_then(|id| self.tasks.get(id)) {
            task.open += 1;
        }
        self.tasks.asked.push((req, self.task, ask));
    }

    /// A request is answered: what it was for. Its task is at hand from here on.
    pub(super) fn answered(&mut self, req: ReqId) -> Option<Ask> {
        let at = self.tasks.asked.iter().position(|(asked, ..)| *asked == req)?;
        let (_, task, ask) = self.tasks.asked.remove(at);
        self.tasks.release();
        self.task = task;
        if let Some(task) = task.and_then(|id| self.tasks.get(id)) {
            task.open = task.open.saturating_sub(1);
        }
        Some(ask)
    }

    /// Ends the task at hand if nothing is open any more.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>) {
        let Some(id) = self.task.take() else { return };
        let Some(at) = self.tasks.tasks.iter().position(|task| task.id == id && task.open == 0) else {
            return;
        };
        let task = self.tasks.tasks.remove(at);
        self.tasks.release();
        let server = server(cx);
        match (task.label, task.lines) {
            (Some(label), Lines::None) => {
                let line = line(|w| {
                    w.tag("label", &label).source(server).command("ACK").end();
                });
                cx.answer(task.slot, &line, false);
            }
            (Some(label), Lines::One(held)) => {
                cx.answer(task.slot, &with_tag("label", &label, &held), false);
            }
            (Some(_), Lines::Batch(name)) => {
                let line = line(|w| {
                    w.source(server).command("BATCH").param(&format!("-{name}")).end();
                });
                cx.answer(task.slot, &line, false);
            }
            _ => {}
        }
        cx.done(task.slot);
    }

    /// A line of the answer to the command at hand; outside of one, an event.
    pub(super) fn emit(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        let server = server(cx);
        let counter = self.counter;
        let Some(task) = self.task.and_then(|id| self.tasks.get(id)) else { return cx.write(line, false) };
        let Some(label) = task.label.clone() else { return cx.answer(task.slot, line, false) };
        let slot = task.slot;
        match std::mem::replace(&mut task.lines, Lines::Said) {
            Lines::None => task.lines = Lines::One(line.to_vec()),
            Lines::Said => cx.answer(slot, line, false),
            Lines::One(held) => {
                let name = format!("l{counter}");
                cx.answer(slot, &open_batch(server, &label, &name), false);
                cx.answer(slot, &with_tag("batch", &name, &held), false);
                cx.answer(slot, &with_tag("batch", &name, line), false);
                task.lines = Lines::Batch(name);
                self.counter = self.counter.wrapping_add(1);
            }
            Lines::Batch(name) => {
                cx.answer(slot, &with_tag("batch", &name, line), false);
                task.lines = Lines::Batch(name);
            }
        }
    }

    /// The tags in front of an event that answers the command at hand, when it is the only line (`alone`) or one of
    /// several. It is written at once; so a batch is opened at once too.
    pub(super) fn event_tags(&mut self, alone: bool, cx: &mut Cx<'_>) -> String {
        let server = server(cx);
        let counter = self.counter;
        let Some(task) = self.task.and_then(|id| self.tasks.get(id)) else { return String::new() };
        let Some(label) = task.label.clone() else { return String::new() };
        match std::mem::replace(&mut task.lines, Lines::Said) {
            Lines::None if alone => tag("label", &label),
            Lines::Said => String::new(),
            Lines::Batch(name) => {
                let tags = tag("batch", &name);
                task.lines = Lines::Batch(name);
                tags
            }
            held => {
                let name = format!("l{counter}");
                cx.write(&open_batch(server, &label, &name), false);
                if let Lines::One(held) = held {
                    cx.write(&with_tag("batch", &name, &held), false);
                }
                let tags = tag("batch", &name);
                task.lines = Lines::Batch(name);
                self.counter = self.counter.wrapping_add(1);
                tags
            }
        }
    }

    /// Takes the label off the task at hand: something later answers it.
    pub(super) fn take_label(&mut self) -> Option<Box<str>> {
        self.task.and_then(|id| self.tasks.get(id)).and_then(|task| task.label.take())
    }

    /// Gives the task at hand a label taken before.
    pub(super) fn give_label(&mut self, label: Option<Box<str>>) {
        if let Some(task) = self.task.and_then(|id| self.tasks.get(id)).filter(|task| task.label.is_none()) {
            task.label = label;
        }
    }

    /// One more thing has to be done before the task at hand ends.
    pub(super) fn keep_open(&mut self) {
        if let Some(task) = self.task.and_then(|id| self.tasks.get(id)) {
            task.open += 1;
        }
    }

    /// What [`Irc::keep_open`] waited for is there.
    pub(super) fn close_one(&mut self) {
        if let Some(task) = self.task.and_then(|id| self.tasks.get(id)) {
            task.open = task.open.saturating_sub(1);
        }
    }

    /// Whether other requests of the task at hand are still open.
    pub(super) fn more_open(&mut self) -> bool {
        self.task.and_then(|id| self.tasks.get(id)).is_some_and(|task| task.open > 0)
    }

    /// The tag for the first line of an answer that brings its own batch: the label goes there.
    pub(super) fn own_batch_tags(&mut self) -> String {
        let Some(task) = self.task.and_then(|id| self.tasks.get(id)) else { return String::new() };
        match (&task.label, &task.lines) {
            (Some(label), Lines::None) => {
                let tags = tag("label", label);
                task.lines = Lines::Said;
                tags
            }
            _ => String::new(),
        }
    }

    /// A numeric with the table's text; one without text ends with its parameters.
    pub(super) fn numeric(&mut self, cx: &mut Cx<'_>, numeric: Numeric, params: &[&str]) {
        self.reply_line(cx, numeric, params, Some(numeric.text).filter(|text| !text.is_empty()));
    }

    /// A numeric with a text of its own.
    pub(super) fn numeric_text(&mut self, cx: &mut Cx<'_>, numeric: Numeric, params: &[&str], text: &str) {
        self.reply_line(cx, numeric, params, Some(text));
    }

    fn reply_line(&mut self, cx: &mut Cx<'_>, numeric: Numeric, params: &[&str], text: Option<&str>) {
        let server = server(cx);
        let line = line(|w| {
            w.source(server).numeric(numeric, self.target());
            for param in params {
                w.param(param);
            }
            match text {
                Some(text) => w.last(text),
                None => w.end(),
            }
        });
        self.emit(&line, cx);
    }

    /// FAIL (IRCv3 standard-replies).
    pub(super) fn fail(&mut self, cx: &mut Cx<'_>, command: &str, code: &str, context: &[&str], text: &str) {
        let server = server(cx);
        let line = line(|w| {
            w.source(server).command("FAIL").param(command).param(code);
            for param in context {
                w.param(param);
            }
            w.last(text);
        });
        self.emit(&line, cx);
    }

    /// A NOTICE from the server.
    pub(super) fn server_notice(&mut self, cx: &mut Cx<'_>, text: &str) {
        let server = server(cx);
        let line = line(|w| {
            w.source(server).command("NOTICE").param(self.target()).last(text);
        });
        self.emit(&line, cx);
    }

    /// That an account is needed for a command.
    pub(super) fn account_required(&mut self, command: &str, cx: &mut Cx<'_>) {
        let text = "You must log in to an account first: by SASL, PASS or /msg NickServ IDENTIFY";
        if self.caps.has(Cap::StandardReplies) {
            self.fail(cx, command, "ACCOUNT_REQUIRED", &[], text);
        } else {
            self.server_notice(cx, text);
        }
    }

    /// That a command lacks parameters.
    pub(super) fn need_more(&mut self, command: &str, cx: &mut Cx<'_>) {
        self.numeric(cx, n::ERR_NEEDMOREPARAMS, &[command]);
    }
}

/// A line in a buffer of its own.
pub(super) fn line(build: impl FnOnce(&mut LineWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    build(&mut LineWriter::new(&mut out));
    out
}

/// One tag, escaped.
pub(super) fn tag(key: &str, value: &str) -> String {
    let mut out = format!("{key}=").into_bytes();
    escape(value, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// A line with one more tag in front.
pub(super) fn with_tag(key: &str, value: &str, line: &[u8]) -> Vec<u8> {
    let mut out = format!("@{}", tag(key, value)).into_bytes();
    match line.strip_prefix(b"@") {
        Some(rest) => {
            out.push(b';');
            out.extend_from_slice(rest);
        }
        None => {
            out.push(b' ');
            out.extend_from_slice(line);
        }
    }
    out
}

fn open_batch(server: &str, label: &str, name: &str) -> Vec<u8> {
    line(|w| {
        w.tag("label", label).source(server).command("BATCH");
        w.param(&format!("+{name}")).param("labeled-response").end();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_in_front() {
        assert_eq!(with_tag("label", "a b", b"X\r\n"), b"@label=a\\sb X\r\n");
        assert_eq!(with_tag("batch", "1", b"@time=t X\r\n"), b"@batch=1;time=t X\r\n");
    }
}
