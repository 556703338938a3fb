//! What happened, as lines: one function for every way an entry reaches an IRC client (live, own, replayed, history).

mod said;

use lavina_core::event::{Actor, Event, Live, LiveWhat, MemberChange, What};
use lavina_core::ids::{MsgId, Pos};
use lavina_core::name::{User, UserName};
use lavina_core::policy::{MaskEntry, MaskKind, Membership};
use lavina_core::presence::Presence;
use lavina_core::projection::{Hole, Pieces};
use lavina_core::text::Rich;
use lavina_core::time::UnixMillis;

use super::cap::{Cap, Caps};
use super::identity;
use super::limits::{KICK_MAX, TOPIC_MAX};
use super::mode;
use super::native;
use super::numeric;
use super::rules;
use super::settings::server;
use super::stamp;
use super::write::LineWriter;
use crate::account::PUBLIC;
use crate::settings::Settings;

/// Capabilities that change how an entry looks: what a wire class is made of.
pub const CLASS_CAPS: &[Cap] = &[
    Cap::ServerTime,
    Cap::MessageTags,
    Cap::AccountTag,
    Cap::ExtendedJoin,
    Cap::AwayNotify,
    Cap::InviteNotify,
    Cap::Setname,
    Cap::MessageRedaction,
    Cap::Multiline,
    Cap::Metadata2,
    Cap::Metadata3,
];

/// The same as a set.
pub const CLASS: Caps = Caps::of(CLASS_CAPS);

/// The one hole of our encodings: the recipient's nick.
pub const ME: Hole = Hole(0);

/// The type of a batch that is one message of several lines (IRCv3 draft/multiline).
pub const MULTILINE: &str = "draft/multiline";

/// Lines that one message of another protocol may become; the last one says how many were left out.
pub const LINES_MAX: usize = 8;

/// Where lines go.
pub trait Sink {
    /// The buffer of the line under way.
    fn buf(&mut self) -> &mut Vec<u8>;
    /// The recipient's nick, at this place.
    fn me(&mut self);
    /// The line under way is complete.
    fn end(&mut self);
}

impl Sink for Pieces {
    fn buf(&mut self) -> &mut Vec<u8> {
        self.bytes()
    }

    fn me(&mut self) {
        self.hole(ME);
    }

    fn end(&mut self) {
        Pieces::end(self, false);
    }
}

/// Lines for one recipient.
#[derive(Debug)]
pub struct Direct<'a> {
    /// All lines.
    pub out: Vec<u8>,
    /// Where each line ends.
    pub ends: Vec<usize>,
    /// The recipient's nick.
    pub nick: &'a str,
}

impl<'a> Direct<'a> {
    /// No lines yet.
    #[must_use]
    pub fn new(nick: &'a str) -> Direct<'a> {
        Direct { out: Vec::new(), ends: Vec::new(), nick }
    }

    /// Each line.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.out.get(start..*end))
    }
}

impl Sink for Direct<'_> {
    fn buf(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn me(&mut self) {
        self.out.extend_from_slice(self.nick.as_bytes());
    }

    fn end(&mut self) {
        self.ends.push(self.out.len());
    }
}

/// For whom lines are made.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The capabilities that count; see [`CLASS`].
    pub caps: Caps,
    /// The settings.
    pub settings: &'a SettingsOf<'a>,
    /// The channel, or in a dialog the one addressed.
    pub target: &'a str,
    /// Tags in front of all others (label, batch), escaped.
    pub tags: &'a str,
}

/// The settings, behind a name that can be shown.
pub struct SettingsOf<'a>(pub &'a Settings);

impl std::fmt::Debug for SettingsOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("settings")
    }
}

impl View<'_> {
    fn server(&self) -> &str {
        server(self.settings.0)
    }

    /// Begins a line with the tags and the source that the capabilities ask for.
    fn start<'b>(
        &self,
        sink: &'b mut impl Sink,
        at: Option<UnixMillis>,
        id: Option<MsgId>,
        by: &Actor,
    ) -> LineWriter<'b> {
        let mut w = LineWriter::new(sink.buf());
        w.raw_tags(self.tags);
        if let Some(at) = at.filter(|_| self.caps.has(Cap::ServerTime)) {
            w.tag("time", &stamp::write(at.0));
        }
        if let Some(id) = id.filter(|_| self.caps.has(Cap::MessageTags)) {
            w.tag("msgid", &id.text());
        }
        if let Some(account) =
            by.user().and_then(identity::account).filter(|_| self.caps.has(Cap::AccountTag))
        {
            w.tag("account", account);
        }
        w
    }

    /// A line about an entry up to and with its command.
    fn line<'b>(&self, sink: &'b mut impl Sink, event: &Event, command: &str) -> LineWriter<'b> {
        let mut w = self.start(sink, Some(event.at), Some(event.id()), &event.by);
        identity::source(&mut w, &event.by, self.settings.0);
        w.command(command);
        w
    }
}

/// Writes the lines of an entry.
pub fn event(view: &View<'_>, event: &Event, sink: &mut impl Sink) {
    if let Some(reaction) = event.taken_back() {
        return self::event(view, &reaction, sink);
    }
    match &event.what {
        What::Said(message) => said::said(view, event, message, "", sink),
        What::Edited { message, .. } => said::said(view, event, message, "* ", sink),
        What::Redacted { target, reason, author, .. } => {
            let id = MsgId { room: event.room, pos: *target };
            redacted(view, event, id, reason.as_deref().unwrap_or_default(), author, sink);
        }
        What::Reacted { target, key, on, native, .. } => {
            let id = MsgId { room: event.room, pos: *target };
            reacted(view, event, id, key, *on, native::unpack(native.as_ref()).tags, sink);
        }
        What::Member(change) => member(view, event, change, sink),
        What::Policy { before, after } => {
            let changes = rules::diff(before, after);
            modes(view, event, &changes, sink);
        }
        What::Topic(topic) => {
            view.line(sink, event, "TOPIC").param(view.target).last(&one_line(topic, TOPIC_MAX));
            sink.end();
        }
        What::Masks { added, removed } => {
            let change = |on: bool| move |entry: &MaskEntry| (on, mask_letter(entry.kind), mask_text(entry));
            let changes: Vec<_> =
                removed.iter().map(change(false)).chain(added.iter().map(change(true))).collect();
            modes(view, event, &changes, sink);
        }
        What::Destroyed { reason, .. } => {
            let mut w = view.line(sink, event, "KICK");
            w.param(view.target);
            sink.buf().push(b' ');
            sink.me();
            let reason = cut(reason.as_deref().unwrap_or("the channel was closed"), KICK_MAX);
            sink.buf().extend_from_slice(b" :");
            LineWriter::tail(sink.buf(), reason);
            sink.end();
        }
        What::Attr { key, value } => metadata(view, view.target, key, value, sink),
        What::Created(_) | What::Opened | What::Withdrawn { .. } => {}
    }
}

/// Writes the lines of a live signal.
pub fn live(view: &View<'_>, live: &Live, sink: &mut impl Sink) {
    let by = Actor::User(live.by.clone());
    match &live.what {
        LiveWhat::Here { presence, before, .. } if view.caps.has(Cap::AwayNotify) => {
            away_change(view, &by, before.as_ref(), presence, sink);
        }
        LiveWhat::Gone { .. } if view.caps.has(Cap::AwayNotify) => away(view, &by, OFFLINE, sink),
        LiveWhat::Typing(on) => {
            tagmsg(view, None, None, &by, if *on { "+typing=active" } else { "+typing=done" }, sink);
        }
        LiveWhat::Attrs(values) => {
            for (key, value) in values {
                metadata(view, live.by.name.as_str(), key, value, sink);
            }
        }
        LiveWhat::Display(name) if view.caps.has(Cap::Setname) => setname(view, &by, name, sink),
        LiveWhat::Signal(payload) => {
            let parts = native::unpack(Some(payload));
            // The number of a happening makes an id that names no entry.
            let id = MsgId { room: live.room, pos: Pos(live.same & Pos::MAX.0) };
            match native::status(parts.text) {
                Some((prefix, verb, text)) => status(view, id, &by, (prefix, verb, parts.tags, text), sink),
                None if !parts.tags.is_empty() => tagmsg(view, None, Some(id), &by, parts.tags, sink),
                None => {}
            }
        }
        LiveWhat::Here { .. } | LiveWhat::Gone { .. } | LiveWhat::Display(_) | LiveWhat::Read { .. } => {}
    }
}

/// AWAY, when somebody goes or comes back, or is away for another reason.
pub fn away_change(
    view: &View<'_>,
    by: &Actor,
    before: Option<&Presence>,
    now: &Presence,
    sink: &mut impl Sink,
) {
    let was_away = before.is_none_or(|p| p.show.is_away());
    let same = before.is_some_and(|p| p.status == now.status);
    if now.show.is_away() && !(was_away && same && before.is_some()) {
        away(view, by, &away_text(now), sink);
    } else if !now.show.is_away() && was_away {
        away(view, by, "", sink);
    }
}

/// A public value changed, for those who are subscribed to any (IRCv3 draft/metadata-2 and -3).
pub fn metadata(view: &View<'_>, of: &str, key: &str, value: &[u8], sink: &mut impl Sink) {
    let (Some(key), Ok(value)) = (key.strip_prefix(PUBLIC), std::str::from_utf8(value)) else { return };
    if view.caps.has(Cap::Metadata3) {
        let set = !value.is_empty();
        let numeric = if set { numeric::RPL_KEYVALUE } else { numeric::RPL_KEYNOTSET };
        let mut w = LineWriter::new(sink.buf());
        w.source(view.server()).command(&format!("{:03}", numeric.code));
        sink.buf().push(b' ');
        sink.me();
        let middle = if set { format!(" {of} {key} * :") } else { format!(" {of} {key} :") };
        sink.buf().extend_from_slice(middle.as_bytes());
        LineWriter::tail(sink.buf(), if set { value } else { numeric.text });
        sink.end();
    } else if view.caps.has(Cap::Metadata2) {
        let mut w = LineWriter::new(sink.buf());
        w.source(view.server()).command("METADATA").param(of).param(key).param("*");
        if value.is_empty() {
            w.end()
        } else {
            w.last(value)
        }
        sink.end();
    }
}

/// SETNAME.
pub fn setname(view: &View<'_>, by: &Actor, name: &str, sink: &mut impl Sink) {
    let mut w = view.start(sink, None, None, by);
    identity::source(&mut w, by, view.settings.0);
    w.command("SETNAME").last(name);
    sink.end();
}

/// What a member without any session is said to be away for.
pub const OFFLINE: &str = "offline";

/// The text of an away presence: its words, or what kind it is.
#[must_use]
pub fn away_text(presence: &Presence) -> String {
    use lavina_core::presence::Show;
    if !presence.status.is_empty() {
        return cut(&presence.status, super::limits::AWAY_MAX).to_owned();
    }
    match presence.show {
        Show::Offline => OFFLINE.to_owned(),
        Show::ExtendedAway => "away for a long time".to_owned(),
        Show::Busy => "busy".to_owned(),
        _ => "away".to_owned(),
    }
}

/// A message to those of a rank: STATUSMSG.
fn status(
    view: &View<'_>,
    id: MsgId,
    by: &Actor,
    (prefix, verb, tags, text): (char, &str, &str, &str),
    sink: &mut impl Sink,
) {
    if verb == "TAGMSG" && !view.caps.has(Cap::MessageTags) {
        return;
    }
    let mut w = view.start(sink, None, Some(id), by);
    if view.caps.has(Cap::MessageTags) {
        w.raw_tags(tags);
    }
    identity::source(&mut w, by, view.settings.0);
    w.command(verb).param(&format!("{prefix}{}", view.target));
    if text.is_empty() {
        w.end()
    } else {
        w.last(text)
    }
    sink.end();
}

/// TAGMSG, for those who take tags.
pub fn tagmsg(
    view: &View<'_>,
    at: Option<UnixMillis>,
    id: Option<MsgId>,
    by: &Actor,
    tags: &str,
    sink: &mut impl Sink,
) {
    if !view.caps.has(Cap::MessageTags) {
        return;
    }
    let mut w = view.start(sink, at, id, by);
    w.raw_tags(tags);
    identity::source(&mut w, by, view.settings.0);
    w.command("TAGMSG").param(view.target).end();
    sink.end();
}

/// A text as one line of at most `max` bytes, its breaks as ` · `, with codes.
#[must_use]
pub fn one_line(text: &Rich, max: usize) -> String {
    let coded = said::coded(text);
    let joined =
        coded.split(['\r', '\n']).filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" · ");
    cut(&joined, max).to_owned()
}

/// The longest head of at most `max` bytes that ends between characters.
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

/// The letter of a mask's list; a mute is a ban with `m:` before its mask.
#[must_use]
pub fn mask_letter(kind: MaskKind) -> char {
    match kind {
        MaskKind::Ban | MaskKind::Mute => 'b',
        MaskKind::BanExcept | MaskKind::MuteExcept => 'e',
        MaskKind::InviteExcept => 'I',
    }
}

/// A mask as lists show it.
#[must_use]
pub fn mask_text(entry: &MaskEntry) -> String {
    let mute = matches!(entry.kind, MaskKind::Mute | MaskKind::MuteExcept);
    if mute { format!("m:{}", entry.mask) } else { entry.mask.to_string() }
}

/// The mask that an account's ban is shown as.
#[must_use]
pub fn ban_mask(user: &User) -> String {
    format!("{}!*@*", user.name.as_str())
}

fn away(view: &View<'_>, by: &Actor, text: &str, sink: &mut impl Sink) {
    let mut w = view.start(sink, None, None, by);
    identity::source(&mut w, by, view.settings.0);
    w.command("AWAY");
    if text.is_empty() {
        w.end();
    } else {
        w.last(text);
    }
    sink.end();
}

fn redacted(view: &View<'_>, event: &Event, id: MsgId, reason: &str, author: &Actor, sink: &mut impl Sink) {
    if view.caps.has(Cap::MessageRedaction) {
        let mut w = view.line(sink, event, "REDACT");
        w.param(view.target).param(&id.text());
        if reason.is_empty() {
            w.end();
        } else {
            w.last(reason);
        }
        sink.end();
    } else if *author != event.by {
        let name =
            |actor: &Actor| actor.user().map_or_else(|| "the server".to_owned(), |u| u.name.to_string());
        let mut w = view.start(sink, Some(event.at), None, &Actor::Server);
        w.source(view.server()).command("NOTICE").param(view.target);
        let text = format!("{} withdrew a message of {}", name(&event.by), name(author));
        w.last(&if reason.is_empty() { text } else { format!("{text}: {reason}") });
        sink.end();
    }
}

fn reacted(view: &View<'_>, event: &Event, id: MsgId, key: &str, on: bool, tags: &str, sink: &mut impl Sink) {
    let made = if tags.is_empty() { said::reaction(key, on, id) } else { tags.to_owned() };
    tagmsg(view, Some(event.at), Some(event.id()), &event.by, &made, sink);
}

fn member(view: &View<'_>, event: &Event, change: &MemberChange, sink: &mut impl Sink) {
    use lavina_core::event::How;
    let reason = change.reason.as_deref().unwrap_or_default();
    let nick = change.user.name.as_str();
    let subject = Actor::User(change.user.clone());
    match change.how {
        How::Join => joined(view, event, change, sink),
        How::Part | How::Quit => {
            if change.before.membership != Membership::Joined {
                return;
            }
            let mut w = view.start(sink, Some(event.at), Some(event.id()), &subject);
            identity::source(&mut w, &subject, view.settings.0);
            if change.how == How::Quit {
                w.command("QUIT").last(if reason.is_empty() { "quit" } else { reason });
            } else {
                w.command("PART").param(view.target);
                if reason.is_empty() {
                    w.end();
                } else {
                    w.last(cut(reason, KICK_MAX));
                }
            }
            sink.end();
        }
        How::Kick | How::Ban => {
            if change.how == How::Ban && change.before.membership != Membership::Banned {
                modes(view, event, &[(true, 'b', ban_mask(&change.user))], sink);
            }
            if change.before.membership == Membership::Joined {
                let by = event.by.user().map_or(nick, |by| by.name.as_str());
                let reason = if reason.is_empty() { by } else { cut(reason, KICK_MAX) };
                view.line(sink, event, "KICK").param(view.target).param(nick).last(reason);
                sink.end();
            }
        }
        How::Unban => modes(view, event, &[(false, 'b', ban_mask(&change.user))], sink),
        How::Invite => {
            if view.caps.has(Cap::InviteNotify) {
                view.line(sink, event, "INVITE").param(nick).param(view.target).end();
                sink.end();
            }
        }
        How::Power => power(view, event, change, sink),
        How::Knock => {
            let mut w = view.start(sink, Some(event.at), None, &Actor::Server);
            w.source(view.server());
            let code = numeric::RPL_KNOCK.code;
            w.command(&format!("{code:03}"));
            sink.buf().push(b' ');
            sink.me();
            let who = identity::prefix(&change.user, view.settings.0);
            let tail = format!(" {} {who} :", view.target);
            sink.buf().extend_from_slice(tail.as_bytes());
            let text = if reason.is_empty() { numeric::RPL_KNOCK.text } else { reason };
            LineWriter::tail(sink.buf(), text);
            sink.end();
        }
        How::Rename => {
            let mut w = view.start(sink, Some(event.at), Some(event.id()), &subject);
            let before = User {
                name: UserName::new(reason).unwrap_or(change.user.name.clone()),
                ..change.user.clone()
            };
            let user = identity::user_part(&before);
            w.source_user(reason, &user, identity::host(view.settings.0)).command("NICK").last(nick);
            sink.end();
        }
        // Here everybody is called by the name.
        How::Decline | How::Shown | How::Alias => {}
    }
}

fn joined(view: &View<'_>, event: &Event, change: &MemberChange, sink: &mut impl Sink) {
    let subject = Actor::User(change.user.clone());
    let mut w = view.start(sink, Some(event.at), Some(event.id()), &subject);
    identity::source(&mut w, &subject, view.settings.0);
    w.command("JOIN").param(view.target);
    if view.caps.has(Cap::ExtendedJoin) {
        let real = change.display.as_deref().unwrap_or(change.user.name.as_str());
        w.param(identity::account(&change.user).unwrap_or("*")).last(real);
    } else {
        w.end();
    }
    sink.end();
    if let Some((letter, _)) = identity::rank(change.after.power) {
        let nick = change.user.name.to_string();
        server_modes(view, event, &[(true, letter, nick)], sink);
    }
}

/// `MODE -o+v`: what of a changed power shows across bands.
fn power(view: &View<'_>, event: &Event, change: &MemberChange, sink: &mut impl Sink) {
    let nick = change.user.name.to_string();
    let (before, after) = (identity::rank(change.before.power), identity::rank(change.after.power));
    if before == after || change.after.membership != Membership::Joined {
        return;
    }
    let mut changes = Vec::new();
    changes.extend(before.map(|(letter, _)| (false, letter, nick.clone())));
    changes.extend(after.map(|(letter, _)| (true, letter, nick.clone())));
    modes(view, event, &changes, sink);
}

fn server_modes(view: &View<'_>, event: &Event, changes: &[rules::Change], sink: &mut impl Sink) {
    let by = Actor::Server;
    let shown = Event { by, ..event.clone() };
    modes(view, &shown, changes, sink);
}

/// MODE lines, as many as the changes need.
fn modes(view: &View<'_>, event: &Event, changes: &[rules::Change], sink: &mut impl Sink) {
    let mut rest = changes;
    while !rest.is_empty() {
        let mut w = view.line(sink, event, "MODE");
        w.param(view.target);
        let (mut room, mut n) = (w.room(), 0);
        for (_, _, param) in rest {
            let need = 3 + param.len();
            if n > 0 && (need > room || n == super::limits::MODES_MAX) {
                break;
            }
            room = room.saturating_sub(need);
            n += 1;
        }
        let (now, later) = rest.split_at(n);
        let borrowed: Vec<_> = now.iter().map(|(on, letter, param)| (*on, *letter, param.as_str())).collect();
        let (letters, params) = mode::compose(&borrowed);
        w.param(&letters);
        for param in params {
            w.param(param);
        }
        w.end();
        sink.end();
        rest = later;
    }
}
