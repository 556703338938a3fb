//! Speaking: PRIVMSG, NOTICE, TAGMSG and REDACT, to channels and to people, and how what is said arrives.

use std::borrow::Cow;
use std::sync::Arc;

use lavina_core::command::{Act, Command, EntityId, ReactMode, Target};
use lavina_core::event::{Actor, Event, Kind, Message, What};
use lavina_core::ids::{MsgId, Pos, ReqId, RoomId};
use lavina_core::name::{User, UserName};
use lavina_core::projection::SignalWhat;
use lavina_core::query::{Query, RoomView, Whois};
use lavina_core::refusal::Refusal;
use lavina_core::row::ReadMark;
use lavina_core::text::{Rich, Span, Str, Style as Neutral};

use super::super::cap::Cap;
use super::super::casemap;
use super::super::command::Verb;
use super::super::ctcp::{self, Ctcp};
use super::super::format::{self, Style};
use super::super::limits::TARGETS_MAX;
use super::super::message::{Line, unescape};
use super::super::native::{self, Parts};
use super::super::numeric as n;
use super::super::render::{self, SettingsOf, View};
use super::super::{mode, rules};
use super::answer::{Ask, line as one};
use super::doorkeeper::{self, Turned};
use super::{Irc, identity, server};
use crate::session::Cx;

/// Something to be said to somebody, once it is known who that is.
#[derive(Debug)]
pub(super) struct Speech {
    verb: Verb,
    nick: String,
    text: String,
    tags: String,
}

impl Speech {
    /// Who was addressed, as written.
    pub(super) fn nick(&self) -> &str {
        &self.nick
    }

    /// Whether errors are not told: only PRIVMSG is answered.
    pub(super) fn is_quiet(&self) -> bool {
        self.verb != Verb::Privmsg
    }
}

impl Irc {
    pub(super) fn speak(&mut self, verb: Verb, line: &Line<'_>, cx: &mut Cx<'_>) {
        if self.multi_line(verb, line, cx) {
            return;
        }
        let tags = if self.caps.has(Cap::MessageTags) { line.client_tags() } else { "".into() };
        self.say(verb, line.param(0), line.param(1), tags, cx);
    }

    pub(super) fn say(&mut self, verb: Verb, targets: &str, text: &str, tags: Cow<'_, str>, cx: &mut Cx<'_>) {
        let quiet = verb == Verb::Notice;
        if targets.is_empty() {
            if !quiet {
                self.numeric(cx, n::ERR_NORECIPIENT, &[]);
            }
            return;
        }
        if verb != Verb::Tagmsg && text.is_empty() {
            if !quiet {
                self.numeric(cx, n::ERR_NOTEXTTOSEND, &[]);
            }
            return;
        }
        if self.serve(targets, text, verb, cx) {
            return;
        }
        if self.user.is_none() {
            return self.account_required(if quiet { "NOTICE" } else { "PRIVMSG" }, cx);
        }
        cx.touch();
        if verb == Verb::Tagmsg && tags.is_empty() {
            return;
        }
        // The tag of bots is the server's own (IRCv3 bot-mode); clients' tags all begin with `+`.
        let tags = match (self.bot, tags.is_empty()) {
            (false, _) => tags,
            (true, true) => "bot".into(),
            (true, false) => format!("bot;{tags}").into(),
        };
        let mut targets = targets.split(',').filter(|target| !target.is_empty());
        for target in targets.by_ref().take(TARGETS_MAX) {
            if casemap::is_channel(target) {
                self.speak_in(verb, target, text, &tags, cx);
            } else if let Some((prefix, channel)) = status_target(target) {
                self.speak_to_rank(verb, prefix, channel, (text, &tags), cx);
            } else {
                self.speak_to(verb, target, text, &tags, cx);
            }
        }
        if let Some(target) = targets.next() {
            self.numeric(cx, n::ERR_TOOMANYTARGETS, &[target]);
        }
    }

    // --- channels ---

    fn speak_in(&mut self, verb: Verb, channel: &str, text: &str, tags: &str, cx: &mut Cx<'_>) {
        if verb == Verb::Tagmsg {
            return self.tag_in(channel, tags, cx);
        }
        let Some(message) = message(verb, text, tags, cx) else { return };
        // A guest's room is IRC's alone, so it may take what only IRC understands.
        if message.kind == Kind::Payload
            && let Some(room) = self.room(channel).filter(|room| room.is_transient())
        {
            let req = cx.query(Query::Room(room));
            let (channel, message) = (channel.to_owned(), Box::new(message));
            return self.ask(req, Ask::CtcpIn { channel, message });
        }
        if message.kind == Kind::Payload {
            let why = "Only ACTION of CTCP is passed on in channels";
            return self.numeric_text(cx, n::ERR_CANNOTSENDTOCHAN, &[channel], why);
        }
        let subject = Str::new(self.prefix(cx.settings()));
        let act = Act::Say { message: Box::new(message), subject, parties: None };
        let quiet = verb == Verb::Notice;
        self.act_in(channel, act, |target| Ask::Said { target, quiet }, cx);
    }

    /// It is known whether the channel takes CTCP.
    pub(super) fn ctcp_in(&mut self, view: &RoomView, channel: &str, message: Box<Message>, cx: &mut Cx<'_>) {
        if rules::no_ctcp(&view.policy().modes) {
            let why = "Only ACTION of CTCP is passed on in this channel (+C)";
            return self.numeric_text(cx, n::ERR_CANNOTSENDTOCHAN, &[channel], why);
        }
        let subject = Str::new(self.prefix(cx.settings()));
        let act = Act::Say { message, subject, parties: None };
        self.act_in(channel, act, |target| Ask::Said { target, quiet: false }, cx);
    }

    /// STATUSMSG: to the members of a rank and above, for the moment.
    fn speak_to_rank(
        &mut self,
        verb: Verb,
        prefix: char,
        channel: &str,
        (text, tags): (&str, &str),
        cx: &mut Cx<'_>,
    ) {
        let quiet = verb != Verb::Privmsg;
        let target = format!("{prefix}{channel}");
        let rank = mode::rank_of_prefix(prefix).map(|mode| identity::power_of(mode.letter));
        let (Some(room), Some(least)) = (self.room(channel), rank) else {
            return self.not_said(channel, quiet, &Refusal::NotMember, cx);
        };
        let command = match verb {
            Verb::Notice => "NOTICE",
            Verb::Tagmsg => "TAGMSG",
            _ => "PRIVMSG",
        };
        let text = native::to_status(prefix, command, text);
        let limit = cx.core_settings().limits.native;
        if let Some(payload) = native::pack(Parts { tags, text: &text }, limit) {
            let req = cx.room_signal(room, payload, Some(least));
            self.ask(req, Ask::Said { target, quiet });
        }
    }

    /// TAGMSG to a channel: typing, a reaction, or other tags of the moment.
    fn tag_in(&mut self, channel: &str, tags: &str, cx: &mut Cx<'_>) {
        let Some(room) = self.room(channel) else {
            return self.numeric(cx, n::ERR_CANNOTSENDTOCHAN, &[channel]);
        };
        if let Some((id, key, mode)) = reaction(tags).filter(|(id, ..)| id.room == room) {
            return self.react(id, key, mode, tags, channel, cx);
        }
        if is_lasting(tags) {
            let Some(message) = lasting(tags, cx) else { return };
            let subject = Str::new(self.prefix(cx.settings()));
            let act = Act::Say { message: Box::new(message), subject, parties: None };
            return self.act_in(channel, act, |target| Ask::Said { target, quiet: true }, cx);
        }
        // Typing alone is understood by everybody; other tags go to IRC clients as they are.
        if let Some(on) = typing(tags).filter(|_| !tags.contains(';')) {
            return cx.typing(room, on);
        }
        let limit = cx.core_settings().limits.native;
        if let Some(payload) = native::pack(Parts { tags, text: "" }, limit) {
            let req = cx.room_signal(room, payload, None);
            self.ask(req, Ask::Said { target: channel.to_owned(), quiet: true });
        }
    }

    fn react(&mut self, id: MsgId, key: Str, mode: ReactMode, tags: &str, target: &str, cx: &mut Cx<'_>) {
        let Some(user) = self.user.clone() else { return };
        let native = native::pack(Parts { tags, text: "" }, cx.core_settings().limits.native);
        let act = Act::React { target: Target::Pos(id.pos), keys: vec![key], mode, native };
        let req = cx.command(Command::by(&user, EntityId::Room(id.room), act), false);
        self.ask(req, Ask::Said { target: target.to_owned(), quiet: true });
    }

    // --- people ---

    fn speak_to(&mut self, verb: Verb, nick: &str, text: &str, tags: &str, cx: &mut Cx<'_>) {
        // `nick@server` and `nick!user@host` mean the nick.
        let bare = nick.split(['@', '!']).next().unwrap_or_default();
        match UserName::new(bare) {
            Ok(name) => {
                let speech =
                    Speech { verb, nick: nick.to_owned(), text: text.to_owned(), tags: tags.to_owned() };
                let req = cx.query(Query::Whois(name));
                self.ask(req, Ask::Speak(Box::new(speech)));
            }
            Err(_) if verb == Verb::Notice => {}
            Err(_) => self.numeric(cx, n::ERR_NOSUCHNICK, &[nick]),
        }
    }

    /// It is known who is spoken to.
    pub(super) fn speak_to_found(&mut self, speech: &Speech, whois: &Whois, cx: &mut Cx<'_>) {
        let (Some(user), to) = (self.user.clone(), &whois.user) else { return };
        let room = RoomId::dialog(user.id, to.id, cx.core_settings().shards);
        let quiet = speech.verb != Verb::Privmsg;
        let ctcp = speech.verb != Verb::Tagmsg && matches!(ctcp::parse(&speech.text), Ctcp::Other(_));
        match doorkeeper::turns_away(whois, &user.name, user.is_guest(), ctcp) {
            Some(_) if quiet => return,
            Some(Turned::Guest) => return self.numeric(cx, n::ERR_NEEDREGGEDNICK, &[to.name.as_str()]),
            Some(Turned::Ctcp) => {
                let why = "They take no CTCP (+T)";
                return self.numeric_text(cx, n::ERR_CANNOTSENDTOUSER, &[to.name.as_str()], why);
            }
            None => self.accept_answers(&to.name, cx),
        }
        if speech.verb == Verb::Tagmsg && !is_lasting(&speech.tags) {
            return self.tag_to(room, to, &speech.tags, cx);
        }
        let message = match speech.verb {
            Verb::Tagmsg => lasting(&speech.tags, cx),
            verb => message(verb, &speech.text, &speech.tags, cx),
        };
        let Some(message) = message else { return };
        let parties = Some(Box::new((user.clone(), to.clone())));
        let subject = Str::new(self.prefix(cx.settings()));
        let act = Act::Say { message: Box::new(message), subject, parties };
        let req = cx.command(Command::by(&user, EntityId::Room(room), act), false);
        self.ask(req, Ask::Said { target: to.name.to_string(), quiet });
        if !quiet {
            self.tell_away(whois, cx);
        }
    }

    /// 301, if all sessions of somebody are away. Somebody without any will read it later.
    fn tell_away(&mut self, whois: &Whois, cx: &mut Cx<'_>) {
        let best = whois.sessions.iter().map(|session| &session.presence).max_by_key(|p| p.show);
        if let Some(presence) = best.filter(|p| p.show.is_away()) {
            let text = render::away_text(presence);
            self.numeric_text(cx, n::RPL_AWAY, &[whois.user.name.as_str()], &text);
        }
    }

    /// TAGMSG to somebody.
    fn tag_to(&mut self, room: RoomId, to: &User, tags: &str, cx: &mut Cx<'_>) {
        let target = to.name.to_string();
        if let Some((id, key, mode)) = reaction(tags).filter(|(id, ..)| id.room == room) {
            return self.react(id, key, mode, tags, &target, cx);
        }
        let limit = cx.core_settings().limits.native;
        let what = match typing(tags).filter(|_| !tags.contains(';')) {
            Some(on) => SignalWhat::Typing(on),
            None => match native::pack(Parts { tags, text: "" }, limit) {
                Some(payload) => SignalWhat::Native(payload),
                None => return,
            },
        };
        if let Some(req) = cx.signal(to.id, None, what) {
            self.ask(req, Ask::Typing { to: to.clone() });
        }
        if let Some(user) = self.user.clone().filter(|_| self.caps.has(Cap::EchoMessage)) {
            let label = self.event_tags(true, cx);
            self.write_tagmsg(&user, &target, tags, &label, cx);
        }
    }

    /// A signal of tags from somebody.
    pub(super) fn signalled(&mut self, from: &User, parts: Parts<'_>, cx: &mut Cx<'_>) {
        let me = self.target().to_owned();
        self.write_tagmsg(from, &me, parts.tags, "", cx);
    }

    /// Typing of somebody who speaks another protocol.
    pub(super) fn tagmsg_from(&mut self, from: &User, tags: &str, cx: &mut Cx<'_>) {
        let me = self.target().to_owned();
        self.write_tagmsg(from, &me, tags, "", cx);
    }

    fn write_tagmsg(&mut self, from: &User, target: &str, tags: &str, front: &str, cx: &mut Cx<'_>) {
        let settings = SettingsOf(cx.settings());
        let view = View { caps: self.caps, settings: &settings, target, tags: front };
        let mut out = render::Direct::new(self.target());
        let (id, now) = (None, cx.now().wall);
        render::tagmsg(&view, Some(now), id, &Actor::User(from.clone()), tags, &mut out);
        cx.write(&out.out, false);
    }

    // --- what is said, arriving ---

    /// An own entry: it is the answer, and shown where the client wants its own.
    pub(super) fn own_event(&mut self, event: &Event, ask: &Ask, cx: &mut Cx<'_>) {
        let echo = self.caps.has(Cap::EchoMessage);
        match (&event.what, ask) {
            (What::Said(_) | What::Edited { .. } | What::Reacted { .. }, Ask::Said { target, .. }) => {
                if echo {
                    let alone = !self.more_open();
                    let tags = self.event_tags(alone, cx);
                    let target = self.channel_name(event.room).unwrap_or(target).to_owned();
                    self.show_as(event, &target, &tags, cx);
                }
            }
            (What::Redacted { .. }, Ask::Redact { target, .. }) => {
                if echo || self.caps.has(Cap::MessageRedaction) {
                    let tags = self.event_tags(true, cx);
                    self.show_as(event, target, &tags, cx);
                }
            }
            (What::Attr { .. }, Ask::MetaRoomSet { meta }) => self.meta_room_set(meta, None, cx),
            (What::Member(_), Ask::Invited { channel, nick }) => {
                let (channel, nick) = (channel.clone(), nick.clone());
                self.invited(event, &channel, &nick, cx);
            }
            (What::Member(_), Ask::Knocked { channel }) => {
                let channel = channel.clone();
                self.numeric(cx, n::RPL_KNOCKDLVR, &[&channel]);
            }
            _ => {
                let alone = !self.more_open();
                let tags = self.event_tags(alone, cx);
                self.show(event, &tags, cx);
            }
        }
        if let (What::Member(change), Some(user)) = (&event.what, &self.user) {
            use lavina_core::policy::Membership;
            if change.user.id == user.id && change.after.membership != Membership::Joined {
                self.leave(event.room);
            }
        }
    }

    /// A new entry of a dialog.
    pub(super) fn fed(
        &mut self,
        event: &Arc<Event>,
        pos: Pos,
        with: &User,
        own: Option<ReqId>,
        cx: &mut Cx<'_>,
    ) {
        if !self.overlap.live(pos) || matches!(event.what, What::Opened | What::Member(_)) {
            return;
        }
        let mine = self.user.as_ref().is_some_and(|user| event.by.is(user.id));
        let to_self = self.user.as_ref().is_some_and(|user| user.id == with.id);
        match own.and_then(|req| self.answered(req)) {
            Some(ask) => {
                self.dialog_echo(event, with, &ask, cx);
                self.settle(cx);
            }
            // What another of one's connections said to somebody: not every client takes its own lines.
            None if mine && !to_self => {
                if self.caps.has(Cap::EchoMessage) || self.caps.has(Cap::SelfMessage) {
                    self.show_as(event, with.name.as_str(), "", cx);
                }
                return;
            }
            None => {}
        }
        if !mine || to_self {
            self.unread.insert(event.room, ReadMark { pos: event.pos, at: event.at });
            let me = self.target().to_owned();
            self.show_as(event, &me, "", cx);
            if let Some((to, id)) = self.user.as_ref().and_then(|me| event.awaited(me.id)) {
                cx.signal(to, None, SignalWhat::Arrived(id.clone()));
            }
        }
    }

    /// The sender's own copy of an entry of a dialog.
    fn dialog_echo(&mut self, event: &Event, with: &User, ask: &Ask, cx: &mut Cx<'_>) {
        let wanted = match ask {
            Ask::Redact { .. } => self.caps.has(Cap::MessageRedaction),
            _ => self.caps.has(Cap::EchoMessage),
        };
        if wanted {
            let alone = !self.more_open();
            let tags = self.event_tags(alone, cx);
            self.show_as(event, with.name.as_str(), &tags, cx);
        }
    }

    /// Why something could not be said.
    pub(super) fn not_said(&mut self, target: &str, quiet: bool, refusal: &Refusal, cx: &mut Cx<'_>) {
        if quiet {
            return;
        }
        let channel = casemap::is_channel(target);
        match refusal {
            Refusal::NoSuchRoom => self.numeric(cx, n::ERR_NOSUCHCHANNEL, &[target]),
            Refusal::NoSuchUser => self.numeric(cx, n::ERR_NOSUCHNICK, &[target]),
            Refusal::NotMember | Refusal::Muted | Refusal::Power(_) | Refusal::Banned if channel => {
                self.numeric(cx, n::ERR_CANNOTSENDTOCHAN, &[target]);
            }
            Refusal::TooLong => self.numeric(cx, n::ERR_INPUTTOOLONG, &[]),
            // Who is blocked is not told so: the message is as good as sent.
            Refusal::Blocked => {}
            _ => self.other_refusal(target, refusal, cx),
        }
    }

    // --- taking back ---

    pub(super) fn redact(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let (target, text, reason) = (line.param(0), line.param(1), line.param(2));
        if !self.caps.has(Cap::MessageRedaction) {
            return self.numeric(cx, n::ERR_UNKNOWNCOMMAND, &["REDACT"]);
        }
        if casemap::is_channel(target) && self.room(target).is_none() {
            let why = "You are not in that channel";
            return self.fail(cx, "REDACT", "INVALID_TARGET", &[target], why);
        }
        let room = self.room(target);
        let (Some(id), Some(user)) = (MsgId::parse(text), self.user.clone()) else {
            return self.unknown_msgid(target, text, cx);
        };
        if room.is_some_and(|room| room != id.room) {
            return self.unknown_msgid(target, text, cx);
        }
        let reason = (!reason.is_empty()).then(|| Str::new(reason));
        let act = Act::Redact { target: Target::Pos(id.pos), reason, native: None };
        let req = cx.command(Command::by(&user, EntityId::Room(id.room), act), false);
        self.ask(req, Ask::Redact { target: target.to_owned(), id });
    }

    pub(super) fn not_redacted(&mut self, target: &str, id: MsgId, refusal: &Refusal, cx: &mut Cx<'_>) {
        let id = id.text();
        match refusal {
            Refusal::NoSuchItem | Refusal::NoSuchRoom => self.unknown_msgid(target, &id, cx),
            Refusal::Power(_) | Refusal::Outranked | Refusal::Forbidden | Refusal::NotMember => {
                let why = "You may not take that message back";
                self.fail(cx, "REDACT", "REDACT_FORBIDDEN", &[target, &id], why);
            }
            _ => self.fail(cx, "REDACT", "TEMPORARILY_UNAVAILABLE", &[target, &id], "Try again soon"),
        }
    }

    fn unknown_msgid(&mut self, target: &str, id: &str, cx: &mut Cx<'_>) {
        self.fail(cx, "REDACT", "UNKNOWN_MSGID", &[target, id], "There is no such message there");
    }

    /// A NOTICE as from a service.
    pub(super) fn service_notice(&mut self, service: &str, text: &str, cx: &mut Cx<'_>) {
        let server = server(cx);
        for text in format::wrap(text, 400) {
            let line = one(|w| {
                w.source_user(service, service, server).command("NOTICE").param(self.target()).last(&text);
            });
            self.emit(&line, cx);
        }
    }
}

/// A rank's prefix and the channel, of a target like `@#channel`.
fn status_target(target: &str) -> Option<(char, &str)> {
    let prefix = target.chars().next()?;
    let channel = target.get(prefix.len_utf8()..)?;
    (mode::rank_of_prefix(prefix).is_some() && casemap::is_channel(channel)).then_some((prefix, channel))
}

/// The neutral message of what was said; `None` if nothing of it is left.
fn message(verb: Verb, text: &str, tags: &str, cx: &Cx<'_>) -> Option<Message> {
    let max = cx.core_settings().limits.native;
    let (kind, body) = match ctcp::parse(text) {
        Ctcp::Action(action) => (Kind::Emote, action),
        Ctcp::Plain(text) if verb == Verb::Notice => (Kind::Notice, text),
        Ctcp::Plain(text) => (Kind::Normal, text),
        Ctcp::Other(_) => {
            let native = native::pack(Parts { tags, text }, max);
            return Some(Message { kind: Kind::Payload, native, ..Message::default() });
        }
    };
    // Where a line goes on there is no break (draft/multiline); see `multiline`.
    let body = neutral(&body.replace('\r', ""));
    // The neutral form says it all unless there were codes that it does not know.
    let exact = kind != Kind::Emote && body.spans.is_empty() && *body.text == *text;
    let native = native::pack(Parts { tags, text: if exact { "" } else { text } }, max);
    let reply = tag_value(tags, &["+reply", "+draft/reply"]).and_then(|id| MsgId::parse(&id));
    (!body.text.is_empty() || native.is_some()).then(|| Message {
        file: crate::files::said(&body.text, cx.settings()),
        body,
        kind,
        reply,
        native,
        ..Message::default()
    })
}

/// Text with codes as neutral text.
pub(super) fn neutral(text: &str) -> Rich {
    let (text, spans) = format::to_spans(text);
    let spans = spans
        .into_iter()
        .map(|(style, range)| {
            let style = match style {
                Style::Bold => Neutral::Bold,
                Style::Italic => Neutral::Italic,
                Style::Underline => Neutral::Underline,
                Style::Strike => Neutral::Strike,
                Style::Mono => Neutral::Code,
            };
            Span { from: range.start as u32, to: range.end as u32, style }
        })
        .collect();
    Rich { text: Str::new(text), spans }
}

/// The value of the first of these tags that is there.
fn tag_value(tags: &str, keys: &[&str]) -> Option<String> {
    let found = tags.split(';').filter_map(|tag| tag.split_once('=')).find(|(key, _)| keys.contains(key));
    found.map(|(_, value)| unescape(value).into_owned())
}

/// The reaction that tags say, if they do (IRCv3 react).
fn reaction(tags: &str) -> Option<(MsgId, Str, ReactMode)> {
    let id = MsgId::parse(&tag_value(tags, &["+draft/reply", "+reply"])?)?;
    let of = |keys: &[&str]| tag_value(tags, keys).filter(|key| !key.is_empty());
    match (of(&["+draft/react", "+react"]), of(&["+draft/unreact", "+unreact"])) {
        (Some(key), _) => Some((id, Str::new(key), ReactMode::Add)),
        (None, Some(key)) => Some((id, Str::new(key), ReactMode::Remove)),
        (None, None) => None,
    }
}

/// Whether TAGMSG with these tags belongs into the history.
fn is_lasting(tags: &str) -> bool {
    tags.split(';').any(|tag| matches!(tag.split('=').next(), Some("+draft/persist" | "+persist")))
}

/// The message of a TAGMSG that stays.
fn lasting(tags: &str, cx: &Cx<'_>) -> Option<Message> {
    let native = native::pack(Parts { tags, text: "" }, cx.core_settings().limits.native)?;
    Some(Message { kind: Kind::Payload, native: Some(native), ..Message::default() })
}

/// Whether tags say that somebody began or stopped typing (IRCv3 typing).
fn typing(tags: &str) -> Option<bool> {
    tag_value(tags, &["+typing", "+draft/typing"]).map(|state| state == "active")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_mean_something() {
        let id = MsgId { room: RoomId(7), pos: Pos(9) };
        let tags = format!("+draft/react=x\\sy;+draft/reply={}", id.text());
        assert_eq!(reaction(&tags), Some((id, Str::new("x y"), ReactMode::Add)));
        assert_eq!(reaction("+draft/react=x;+draft/reply=123"), None);
        assert_eq!(typing("+typing=active"), Some(true));
        assert_eq!(typing("+typing=paused"), Some(false));
        assert_eq!(typing("+x"), None);
    }

    #[test]
    fn neutral_text() {
        let rich = neutral("a\x02b\x0304c");
        assert_eq!(rich.text, "abc");
        assert_eq!(rich.spans, [Span { from: 1, to: 3, style: Neutral::Bold }]);
    }
}
