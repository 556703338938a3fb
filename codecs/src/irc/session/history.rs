//! The past: CHATHISTORY (IRCv3 chathistory), and what an old client missed.

use std::collections::BTreeMap;
use std::sync::Arc;

use lavina_core::command::{Act, Audience, Command, EntityId};
use lavina_core::event::{Event, Kind, What};
use lavina_core::ids::{MsgId, Pos, RoomId};
use lavina_core::name::{NameKey, User, UserName};
use lavina_core::query::{Bound, Only, Query, Range, Stretch};
use lavina_core::refusal::Refusal;
use lavina_core::row::ReadMark;
use lavina_core::text::{Octets, Str};
use lavina_core::time::UnixMillis;

use super::super::cap::Cap;
use super::super::casemap;
use super::super::chathistory::{self, Ask as Wish, Point};
use super::super::limits::CHATHISTORY_MAX;
use super::super::message::Line;
use super::super::render::{self, SettingsOf, View};
use super::super::stamp;
use super::answer::{Ask, line as one, tag};
use super::channels::room_name;
use super::{Irc, server};
use crate::session::Cx;

/// Lines of dialogs that an old client gets at connect.
const DIALOG_LINES: u32 = 50;

/// A CHATHISTORY under way.
#[derive(Debug)]
pub(super) struct Page {
    /// The subcommand, for refusals.
    sub: String,
    target: String,
    /// How lines name the place: the channel, or for a dialog the other one's nick.
    shown: String,
    /// A dialog, not a channel.
    dialog: bool,
    range: Range,
    /// AROUND: what is to be read after this.
    then: Option<Range>,
    found: Vec<Arc<Event>>,
}

/// CHATHISTORY TARGETS under way.
#[derive(Debug)]
pub(super) struct Targets {
    after: u64,
    before: u64,
    limit: u32,
    left: usize,
    found: Vec<(u64, String)>,
}

impl Irc {
    pub(super) fn chathistory(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let params: Vec<&str> = line.params.iter().map(|p| &**p).collect();
        let (wish, limit) = match chathistory::parse(&params) {
            Ok(good) => good,
            Err(bad) => return self.fail(cx, "CHATHISTORY", bad.code, &bad.context, bad.text),
        };
        let sub = line.param(0).to_ascii_uppercase();
        if let Wish::Targets(after, before) = wish {
            return self.targets(after, before, limit, cx);
        }
        let target = wish.target().unwrap_or_default().to_owned();
        let Some((range, then)) = ranges(&wish, limit, self.only()) else {
            let text = "Messages could not be retrieved";
            return self.fail(cx, "CHATHISTORY", "MESSAGE_ERROR", &[&sub, &target], text);
        };
        let page = Page { sub, shown: target.clone(), dialog: false, target, range, then, found: Vec::new() };
        self.find_place(page, cx);
    }

    fn only(&self) -> Only {
        if self.caps.has(Cap::EventPlayback) { Only::All } else { Only::Messages }
    }

    /// Finds the room of a channel or dialog.
    fn find_place(&mut self, mut page: Page, cx: &mut Cx<'_>) {
        if casemap::is_channel(&page.target) {
            if let Some(room) = self.room(&page.target) {
                return self.read(room, page, cx);
            }
            return match room_name(&page.target) {
                Some(name) => {
                    let req = cx.query(Query::Resolve(NameKey::Room(name)));
                    self.ask(req, Ask::HistoryOf(Box::new(page)));
                }
                None => self.no_history(&page, cx),
            };
        }
        match UserName::new(&page.target) {
            Ok(name) => {
                page.dialog = true;
                let req = cx.query(Query::Whois(name));
                self.ask(req, Ask::HistoryOf(Box::new(page)));
            }
            Err(_) => self.no_history(&page, cx),
        }
    }

    /// It is known which room the channel is.
    pub(super) fn history_of(&mut self, room: RoomId, page: Page, cx: &mut Cx<'_>) {
        self.read(room, page, cx);
    }

    /// It is known with whom the dialog is.
    pub(super) fn history_with(&mut self, with: &User, mut page: Page, cx: &mut Cx<'_>) {
        let Some(me) = self.user.as_ref().map(|user| user.id) else { return };
        page.shown = with.name.to_string();
        self.read(RoomId::dialog(me, with.id, cx.core_settings().shards), page, cx);
    }

    fn read(&mut self, room: RoomId, page: Page, cx: &mut Cx<'_>) {
        let Some(me) = self.user.as_ref().map(|user| user.id) else { return };
        // A message named must be one of this place.
        let foreign = |bound: Bound| matches!(bound, Bound::Msg(id) | Bound::From(id) if id.room != room);
        if foreign(page.range.after) || foreign(page.range.before) {
            return self.history_refused(&page, &Refusal::NoSuchItem, cx);
        }
        let range = page.range.clone();
        let req = cx.query(Query::History { room, reader: me, range });
        self.ask(req, Ask::History { room, page: Box::new(page) });
    }

    /// Entries were read.
    pub(super) fn history(
        &mut self,
        room: RoomId,
        mut page: Page,
        read: &Stretch<Arc<Event>>,
        cx: &mut Cx<'_>,
    ) {
        page.found.extend(read.entries.iter().cloned());
        if let Some(then) = page.then.take() {
            page.range = then;
            return self.read(room, page, cx);
        }
        let name = format!("h{}", self.counter);
        self.counter = self.counter.wrapping_add(1);
        let (server, batch) = (server(cx), self.caps.has(Cap::Batch));
        let label = self.own_batch_tags();
        if batch {
            let open = one(|w| {
                w.raw_tags(&label).source(server).command("BATCH").param(&format!("+{name}"));
                w.param("chathistory").param(&page.target).end();
            });
            self.emit(&open, cx);
        }
        for event in &page.found {
            let tags = if batch { tag("batch", &name) } else { String::new() };
            for line in self.past_lines(event, &page.shown, page.dialog, &tags, "", cx) {
                self.emit(&line, cx);
            }
        }
        if batch {
            let close = one(|w| {
                w.source(server).command("BATCH").param(&format!("-{name}")).end();
            });
            self.emit(&close, cx);
        }
    }

    /// The lines of an entry of the past. In a dialog what was said to this session's user goes to its nick.
    fn past_lines(
        &self,
        event: &Event,
        shown: &str,
        dialog: bool,
        tags: &str,
        stamp: &str,
        cx: &Cx<'_>,
    ) -> Vec<Vec<u8>> {
        // Of what is no text only those hear who ask for all that happened.
        if is_tagmsg(event) && !self.caps.has(Cap::EventPlayback) {
            return Vec::new();
        }
        let mine = self.user.as_ref().is_some_and(|user| event.by.is(user.id));
        let target = if dialog && !mine { self.target() } else { shown };
        let settings = SettingsOf(cx.settings());
        let view = View { caps: self.shown_caps(), settings: &settings, target, tags };
        let mut out = render::Direct::new(self.target());
        render::event(&view, event, &mut out);
        let stamped = |line: &[u8]| match stamp {
            "" => line.to_vec(),
            stamp => stamped(line, stamp),
        };
        out.lines().map(stamped).collect()
    }

    fn no_history(&mut self, page: &Page, cx: &mut Cx<'_>) {
        let text = "Messages could not be retrieved";
        self.fail(cx, "CHATHISTORY", "INVALID_TARGET", &[&page.sub, &page.target], text);
    }

    /// Why nothing was read.
    pub(super) fn history_refused(&mut self, page: &Page, refusal: &Refusal, cx: &mut Cx<'_>) {
        match refusal {
            Refusal::NoSuchItem => {
                let text = "Messages could not be retrieved";
                self.fail(cx, "CHATHISTORY", "MESSAGE_ERROR", &[&page.sub, &page.target], text);
            }
            // Two who never spoke have an empty history.
            Refusal::NoSuchRoom if page.dialog => {
                let empty =
                    Page { sub: page.sub.clone(), target: page.target.clone(), ..nothing(&page.shown) };
                let read = Stretch { entries: Vec::new(), more: false, total: None };
                self.history(RoomId(0), empty, &read, cx);
            }
            _ => self.no_history(page, cx),
        }
    }

    // --- TARGETS ---

    fn targets(&mut self, from: u64, to: u64, limit: u32, cx: &mut Cx<'_>) {
        let Some(me) = self.user.as_ref().map(|user| user.id) else { return };
        if self.targets.is_some() {
            let text = "Another one is under way";
            return self.fail(cx, "CHATHISTORY", "MESSAGE_ERROR", &["TARGETS"], text);
        }
        let (after, before) = (from.min(to), from.max(to));
        let rooms: Vec<(RoomId, String)> =
            self.rooms.iter().map(|(room, c)| (*room, c.name.to_string())).collect();
        self.targets =
            Some(Box::new(Targets { after, before, limit, left: rooms.len() + 1, found: Vec::new() }));
        let (a, b) = (UnixMillis(after), UnixMillis(before));
        let req = cx.query(Query::Dialogs { account: me, after: a, before: b, limit });
        self.ask(req, Ask::TargetDialogs);
        for (room, channel) in rooms {
            let req = cx.query(Query::History {
                room,
                reader: me,
                range: Range { only: Only::Messages, ..Range::latest(1) },
            });
            self.ask(req, Ask::TargetRoom { channel });
        }
    }

    pub(super) fn target_found(&mut self, found: Vec<(u64, String)>, cx: &mut Cx<'_>) {
        let Some(targets) = &mut self.targets else { return };
        targets.found.extend(found);
        targets.left = targets.left.saturating_sub(1);
        if targets.left > 0 {
            return;
        }
        let Some(mut targets) = self.targets.take() else { return };
        targets.found.retain(|(at, _)| *at > targets.after && *at < targets.before);
        targets.found.sort();
        let name = format!("h{}", self.counter);
        self.counter = self.counter.wrapping_add(1);
        let (server, label) = (server(cx), self.own_batch_tags());
        let open = one(|w| {
            w.raw_tags(&label).source(server).command("BATCH").param(&format!("+{name}"));
            w.param("draft/chathistory-targets").end();
        });
        self.emit(&open, cx);
        for (at, target) in targets.found.iter().take(targets.limit as usize) {
            let line = one(|w| {
                w.tag("batch", &name).source(server).command("CHATHISTORY").param("TARGETS");
                w.param(target).param(&stamp::write(*at)).end();
            });
            self.emit(&line, cx);
        }
        let close = one(|w| {
            w.source(server).command("BATCH").param(&format!("-{name}")).end();
        });
        self.emit(&close, cx);
    }

    // --- what was missed ---

    /// Whether the client asks for the past itself.
    fn asks_itself(&self) -> bool {
        self.caps.has(Cap::Chathistory) && self.caps.has(Cap::Batch)
    }

    fn device(&self) -> &str {
        self.device.as_deref().unwrap_or("irc")
    }

    fn seen_key(&self) -> String {
        format!("irc/seen/{}", self.device())
    }

    /// When this device was last here.
    pub(super) fn learn_seen(&mut self, attrs: &BTreeMap<Str, Octets>, cx: &mut Cx<'_>) {
        let bytes = attrs.get(self.seen_key().as_str()).and_then(|v| <[u8; 8]>::try_from(&v[..]).ok());
        // What was said in that very millisecond may not have been shown.
        self.seen_until = bytes.map(|bytes| UnixMillis(u64::from_be_bytes(bytes).saturating_sub(1)));
        if self.seen_until.is_none() {
            // Should the server end without a word, this is where the device began.
            self.remember_seen(0, cx);
        }
    }

    /// Notes which dialogs were shown: what an IRC client was shown is read (the client itself never says so).
    pub(super) fn note_read(&mut self, cx: &mut Cx<'_>) {
        // Whoever says so itself need not be guessed about.
        let says = self.caps.has(Cap::ReadMarker);
        let Some(user) = self.user.clone().filter(|user| !user.is_guest() && !says) else { return };
        for (room, ReadMark { pos, at }) in std::mem::take(&mut self.unread) {
            let act = Act::MarkRead { room, pos, at };
            cx.command(Command::by(&user, EntityId::Account(user.id), act), false);
        }
    }

    /// Notes what this device has seen, at its end: everything, or what was written until it was last heard of. What
    /// was written to a dead connection nobody knows; shown twice is better than not at all.
    pub(super) fn note_seen(&mut self, dead: bool, cx: &mut Cx<'_>) {
        self.note_read(cx);
        let silent = if dead { cx.now().mono.since(self.heard) } else { 0 };
        self.remember_seen(silent, cx);
    }

    /// Notes that this device has seen everything up to so many milliseconds ago.
    fn remember_seen(&mut self, ago: u64, cx: &mut Cx<'_>) {
        let Some(user) = self.user.clone().filter(|user| !user.is_guest()) else { return };
        if self.bot || self.asks_itself() {
            return;
        }
        let until = Octets::from(cx.now().wall.0.saturating_sub(ago).to_be_bytes());
        let values = vec![(Str::new(self.seen_key()), until)];
        let act = Act::SetAttrs { values, tell: Audience::Nobody, native: None };
        cx.command(Command::by(&user, EntityId::Account(user.id), act), false);
    }

    /// Lines of a channel since this device was here, up to where the attach goes on.
    pub(super) fn missed(&mut self, room: RoomId, channel: &str, upto: Pos, cx: &mut Cx<'_>) {
        let limit = cx.settings().irc.replay;
        let (Some(since), Some(user)) = (self.seen_until, &self.user) else { return };
        if self.asks_itself() || self.bot || limit == 0 {
            return;
        }
        let (after, before) = (Bound::Time(since), Bound::Pos(upto.next()));
        let range = Range { after, before, only: Only::Messages, ..Range::latest(limit) };
        let req = cx.query(Query::History { room, reader: user.id, range });
        self.ask(req, Ask::Missed { channel: channel.to_owned() });
    }

    /// Lines of dialogs since this device was here.
    pub(super) fn missed_dialogs(&mut self, cx: &mut Cx<'_>) {
        let asked = self.seen_until.filter(|_| !self.asks_itself() && !self.bot);
        let (Some(since), Some(user)) = (asked, &self.user) else { return self.nothing_missed() };
        let range = Range { after: Bound::Time(since), only: Only::Messages, ..Range::latest(DIALOG_LINES) };
        let req = cx.query(Query::Feed { account: user.id, with: None, range });
        self.ask(req, Ask::MissedDialogs);
    }

    /// No missed lines of dialogs will be read: what is shown need not be remembered.
    pub(super) fn nothing_missed(&mut self) {
        self.overlap.missed(Vec::new());
    }

    /// Shows missed lines, with the time in front where the client does not take it as a tag.
    pub(super) fn show_missed<'e>(
        &mut self,
        events: impl Iterator<Item = &'e Arc<Event>>,
        channel: Option<&str>,
        cx: &mut Cx<'_>,
    ) {
        for event in events {
            let clock = stamp::write(event.at.0);
            let stamp = match (self.caps.has(Cap::ServerTime), clock.get(11..16)) {
                (false, Some(clock)) => format!("[{clock}] "),
                _ => String::new(),
            };
            let shown = channel.unwrap_or_default();
            for line in self.past_lines(event, shown, channel.is_none(), "", &stamp, cx) {
                cx.write(&line, false);
            }
        }
    }
}

/// The stretches that a wish asks for; `None`: a message id that can be none.
fn ranges(wish: &Wish<'_>, limit: u32, only: Only) -> Option<(Range, Option<Range>)> {
    let limit = limit.min(CHATHISTORY_MAX as u32);
    let bound = |point: &Point<'_>| match point {
        Point::Open => Some(Bound::Open),
        Point::Time(at) => Some(Bound::Time(UnixMillis(*at))),
        Point::Id(id) => MsgId::parse(id).map(Bound::Msg),
    };
    let range = |after, before, newest, limit| Range { after, before, newest, only, ..Range::latest(limit) };
    Some(match wish {
        Wish::Before(_, p) => (range(Bound::Open, bound(p)?, true, limit), None),
        Wish::After(_, p) => (range(bound(p)?, Bound::Open, false, limit), None),
        Wish::Latest(_, p) => (range(bound(p)?, Bound::Open, true, limit), None),
        Wish::Around(_, p) => {
            // The point itself belongs to what is around it.
            let from = match bound(p)? {
                Bound::Msg(id) => Bound::From(id),
                Bound::Time(at) => Bound::Time(UnixMillis(at.0.saturating_sub(1))),
                other => other,
            };
            let older = limit / 2;
            (range(Bound::Open, bound(p)?, true, older), Some(range(from, Bound::Open, false, limit - older)))
        }
        Wish::Between(_, a, b) => between(bound(a)?, bound(b)?, limit, only),
        Wish::Targets(..) => return None,
    })
}

/// Between two points, counted from the first: if that is the later one, the newest are wanted.
fn between(a: Bound, b: Bound, limit: u32, only: Only) -> (Range, Option<Range>) {
    let backwards = match (a, b) {
        (Bound::Time(a), Bound::Time(b)) => a > b,
        (Bound::Msg(a), Bound::Msg(b)) => a.pos > b.pos,
        _ => false,
    };
    let (after, before) = if backwards { (b, a) } else { (a, b) };
    (Range { after, before, newest: backwards, only, ..Range::latest(limit) }, None)
}

fn nothing(shown: &str) -> Page {
    Page {
        sub: String::new(),
        target: String::new(),
        shown: shown.to_owned(),
        dialog: false,
        range: Range::latest(0),
        then: None,
        found: Vec::new(),
    }
}

/// Whether an entry is a TAGMSG that was to stay.
fn is_tagmsg(event: &Event) -> bool {
    let What::Said(message) = &event.what else { return false };
    message.kind == Kind::Payload && super::native::unpack(message.native.as_ref()).text.is_empty()
}

/// A line with a time in front of its text.
fn stamped(line: &[u8], stamp: &str) -> Vec<u8> {
    let text = memchr::memmem::find(line, b" :").map(|at| at + 2).filter(|at| line.get(*at) != Some(&1));
    match text {
        Some(at) => {
            [line.get(..at).unwrap_or_default(), stamp.as_bytes(), line.get(at..).unwrap_or_default()]
                .concat()
        }
        None => line.to_vec(),
    }
}

/// The last entry of each dialog, as a target.
pub(super) fn dialog_targets(dialogs: &[(User, Arc<Event>)]) -> Vec<(u64, String)> {
    dialogs.iter().map(|(with, event)| (event.at.0, with.name.to_string())).collect()
}
