//! Being in channels: JOIN, PART, NAMES, and the lines that follow an own JOIN.

use std::sync::Arc;

use lavina_core::command::{Act, Command, EntityId, Join, Seed};
use lavina_core::event::{Event, How, What};
use lavina_core::ids::{RoomId, ShardId};
use lavina_core::name::{NameKey, RoomName, User};
use lavina_core::policy::{Member, Membership, power};
use lavina_core::presence::Presence;
use lavina_core::query::{Query, RoomView, Value};
use lavina_core::refusal::Refusal;
use lavina_core::settings::WhoMay;
use lavina_core::text::Str;

use super::super::cap::{self, Cap};
use super::super::casemap;
use super::super::limits::{BODY_MAX, KICK_MAX, TARGETS_MAX, TOPIC_MAX};
use super::super::message::Line;
use super::super::numeric as n;
use super::super::render::{cut, one_line};
use super::super::rules;
use super::answer::{Ask, line as one};
use super::{Irc, identity, server};
use crate::session::Cx;

impl Irc {
    pub(super) fn join(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let mut keys = line.param(1).split(',');
        for channel in line.param(0).split(',').filter(|c| !c.is_empty()) {
            let key = keys.next().filter(|key| !key.is_empty());
            self.join_one(channel, key, cx);
        }
    }

    fn join_one(&mut self, channel: &str, key: Option<&str>, cx: &mut Cx<'_>) {
        if channel == "0" {
            return self.numeric_text(cx, n::ERR_NOSUCHCHANNEL, &[channel], "Leave channels by PART");
        }
        let Some(name) = room_name(channel) else {
            return self.numeric(cx, n::ERR_NOSUCHCHANNEL, &[channel]);
        };
        let Some(user) = self.user.clone() else {
            return self.numeric(cx, n::ERR_NEEDREGGEDNICK, &[channel]);
        };
        if self.room(channel).is_some() {
            return;
        }
        if self.rooms.len() >= cx.core_settings().limits.rooms_per_session {
            return self.numeric(cx, n::ERR_TOOMANYCHANNELS, &[channel]);
        }
        let command = self.join_command(&user, &name, key, cx);
        let req = cx.command(command, true);
        let names = !self.caps.has(Cap::NoImplicitNames);
        self.ask(req, Ask::Join { channel: identity::channel(&name), names });
    }

    /// The channels that the connection was in as a guest are entered again as the account.
    pub(super) fn enter_again(&mut self, cx: &mut Cx<'_>) {
        self.names.clear();
        for (_, channel) in std::mem::take(&mut self.rooms) {
            self.join_one(&channel.name, None, cx);
        }
    }

    fn join_command(&self, user: &User, name: &RoomName, key: Option<&str>, cx: &mut Cx<'_>) -> Command {
        let core = cx.core_settings();
        let may_create = match core.create_rooms {
            WhoMay::Everybody => true,
            WhoMay::Accounts => !user.is_guest(),
            WhoMay::Admins => self.oper,
        };
        let shards = core.shards;
        // A room of a guest is IRC's alone: its maker is an operator and no more.
        let power = if user.is_guest() { power::MODERATOR } else { power::OWNER };
        let create = may_create.then(|| Seed::new(Some(name.clone()), rules::new_channel(), power));
        let shard = ShardId((cx.random() % u64::from(shards.max(1))) as u8);
        let id = RoomId::fresh(cx.random(), shard, shards, user.is_guest());
        let join = Join {
            password: key.map(Str::new),
            subject: Str::new(self.prefix(cx.settings())),
            display: Some(self.real.clone()),
            create,
            ..Join::default()
        };
        let claim = may_create.then_some(id.0);
        let then = Box::new(Act::Join(Box::new(join)));
        Command::by(user, EntityId::Name(NameKey::Room(name.clone())), Act::Route { claim, then })
    }

    /// The session's own join, with the entry that made it.
    pub(super) fn own_join(&mut self, event: &Event, ask: &Ask, cx: &mut Cx<'_>) {
        let Ask::Join { channel, names } = ask else { return self.show(event, "", cx) };
        self.enter(event.room, channel);
        let tags = self.event_tags(false, cx);
        match &event.what {
            What::Member(change) if change.how == How::Join => {
                // One's own rank is in NAMES; a MODE would only repeat it.
                let mut change = change.clone();
                change.after.power = change.after.power.min(power::NORMAL);
                let shown = Event { what: What::Member(change), ..event.clone() };
                self.show_as(&shown, channel, &tags, cx);
            }
            _ => self.write_join(channel, &tags, cx),
        }
        self.ask_room(event.room, channel, *names, cx);
    }

    /// A member's session that was not attached is now: for its client that is a JOIN.
    pub(super) fn already_joined(&mut self, room: RoomId, channel: &str, names: bool, cx: &mut Cx<'_>) {
        if self.channel_name(room).is_some() {
            return;
        }
        self.awaited.remove(&room);
        self.enter(room, channel);
        let tags = self.event_tags(false, cx);
        self.write_join(channel, &tags, cx);
        self.ask_room(room, channel, names, cx);
    }

    fn ask_room(&mut self, room: RoomId, channel: &str, names: bool, cx: &mut Cx<'_>) {
        let req = cx.query(Query::Room(room));
        self.ask(req, Ask::Arrived { channel: channel.to_owned(), names });
    }

    /// JOIN of the session itself, without an entry.
    pub(super) fn write_join(&mut self, channel: &str, tags: &str, cx: &mut Cx<'_>) {
        let prefix = self.prefix(cx.settings());
        let account = self.user.as_ref().and_then(identity::account).unwrap_or("*");
        let extended = self.caps.has(Cap::ExtendedJoin);
        let line = one(|w| {
            w.raw_tags(tags).source(&prefix).command("JOIN").param(channel);
            if extended {
                w.param(account).last(&self.real);
            } else {
                w.end();
            }
        });
        cx.write(&line, false);
    }

    /// The lines after a JOIN: topic, names.
    pub(super) fn after_join(&mut self, view: Arc<RoomView>, channel: &str, names: bool, cx: &mut Cx<'_>) {
        if self.caps.has(Cap::ReadMarker) {
            return self.mark_after_join(view, channel, names, cx);
        }
        self.names_after_join(&view, channel, names, cx);
    }

    pub(super) fn names_after_join(&mut self, view: &RoomView, channel: &str, names: bool, cx: &mut Cx<'_>) {
        if view.topic.as_ref().is_some_and(|topic| !topic.text.text.is_empty()) {
            self.topic_lines(view, channel, cx);
        }
        if names {
            self.names_lines(view, channel, cx);
        }
        self.meta_after_join(view, channel, cx);
    }

    /// 332 and 333, or 331.
    pub(super) fn topic_lines(&mut self, view: &RoomView, channel: &str, cx: &mut Cx<'_>) {
        match view.topic.as_ref().filter(|topic| !topic.text.text.is_empty()) {
            Some(topic) => {
                let text = one_line(&topic.text, TOPIC_MAX);
                self.numeric_text(cx, n::RPL_TOPIC, &[channel], &text);
                let at = (topic.at.0 / 1000).to_string();
                self.numeric(cx, n::RPL_TOPICWHOTIME, &[channel, &topic.by, &at]);
            }
            None => self.numeric(cx, n::RPL_NOTOPIC, &[channel]),
        }
    }

    /// 353 and 366.
    pub(super) fn names_lines(&mut self, view: &RoomView, channel: &str, cx: &mut Cx<'_>) {
        self.name_lines(view, channel, cx);
        self.numeric(cx, n::RPL_ENDOFNAMES, &[channel]);
    }

    fn name_lines(&mut self, view: &RoomView, channel: &str, cx: &mut Cx<'_>) {
        let symbol = if view.policy().secret { "@" } else { "=" };
        let (multi, full) = (self.caps.has(Cap::MultiPrefix), self.caps.has(Cap::UserhostInNames));
        let words = joined(view).map(|member| {
            let rank = identity::prefixes(member.standing.power, member.voiced, multi);
            if full {
                format!("{rank}{}", identity::prefix(&member.user, cx.settings()))
            } else {
                format!("{rank}{}", member.user.name.as_str())
            }
        });
        let head = server(cx).len() + self.target().len() + channel.len() + ": 353  =  :".len();
        let lines = cap::pack(words, BODY_MAX - head);
        for words in lines.iter().filter(|words| !words.is_empty()) {
            self.numeric_text(cx, n::RPL_NAMREPLY, &[symbol, channel], words);
        }
    }

    pub(super) fn part(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let reason = cut(line.param(1), KICK_MAX);
        for channel in line.param(0).split(',').filter(|c| !c.is_empty()) {
            let reason = (!reason.is_empty()).then(|| Str::new(reason));
            let act = Act::Leave { reason, quit: false, same: 0 };
            self.act_in(channel, act, |channel| Ask::Part { channel }, cx);
        }
    }

    pub(super) fn names(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        if line.param(0).is_empty() {
            return self.numeric(cx, n::RPL_ENDOFNAMES, &["*"]);
        }
        let channels: Vec<&str> = line.param(0).split(',').filter(|c| !c.is_empty()).collect();
        if let Some(channel) = channels.get(TARGETS_MAX) {
            return self.numeric(cx, n::ERR_TOOMANYTARGETS, &[channel]);
        }
        let all = channels.join(",");
        let queries: Vec<_> =
            channels.into_iter().filter_map(|c| self.view_of(c).map(|query| (c, query))).collect();
        if queries.is_empty() {
            return self.numeric(cx, n::RPL_ENDOFNAMES, &[&all]);
        }
        self.gather(queries.len());
        for (channel, query) in queries {
            let req = cx.query(query);
            self.ask(req, Ask::Names { channel: channel.to_owned(), all: all.clone() });
        }
    }

    /// Names, as far as the asker may see them.
    pub(super) fn names_answer(
        &mut self,
        view: Option<&RoomView>,
        channel: &str,
        all: &str,
        cx: &mut Cx<'_>,
    ) {
        if let Some(view) = view.filter(|view| may_see(view, self.user.as_ref())) {
            let shown = view.head.name.as_ref().map_or_else(|| channel.to_owned(), identity::channel);
            self.name_lines(view, &shown, cx);
        }
        if let Some((at, true)) = self.gathered() {
            self.gathers.remove(at);
            self.numeric(cx, n::RPL_ENDOFNAMES, &[all]);
        }
    }

    // --- acting on a channel ---

    /// Sends an act to a channel's room, known or found by its name.
    pub(super) fn act_in(
        &mut self,
        channel: &str,
        act: Act,
        ask: impl FnOnce(String) -> Ask,
        cx: &mut Cx<'_>,
    ) {
        let Some(user) = self.user.clone() else {
            return self.numeric(cx, n::ERR_NEEDREGGEDNICK, &[channel]);
        };
        let command = match (self.room(channel), room_name(channel)) {
            (Some(room), _) => Command::by(&user, EntityId::Room(room), act),
            (None, Some(name)) => {
                let then = Box::new(act);
                Command::by(&user, EntityId::Name(NameKey::Room(name)), Act::Route { claim: None, then })
            }
            (None, None) => return self.numeric(cx, n::ERR_NOSUCHCHANNEL, &[channel]),
        };
        let req = cx.command(command, false);
        let shown = self.room(channel).and_then(|room| self.channel_name(room)).unwrap_or(channel).to_owned();
        self.ask(req, ask(shown));
    }

    /// The question for the room of a channel.
    pub(super) fn view_of(&self, channel: &str) -> Option<Query> {
        match self.room(channel) {
            Some(room) => Some(Query::Room(room)),
            None => room_name(channel).map(Query::RoomNamed),
        }
    }

    /// Why a channel cannot be entered.
    pub(super) fn not_joined(&mut self, channel: &str, refusal: &Refusal, cx: &mut Cx<'_>) {
        let numeric = match refusal {
            Refusal::Banned => n::ERR_BANNEDFROMCHAN,
            Refusal::InviteOnly => n::ERR_INVITEONLYCHAN,
            Refusal::WrongPassword => n::ERR_BADCHANNELKEY,
            Refusal::RoomFull => n::ERR_CHANNELISFULL,
            Refusal::TooMany => n::ERR_TOOMANYCHANNELS,
            Refusal::Forbidden => n::ERR_NEEDREGGEDNICK,
            Refusal::NoSuchRoom | Refusal::NameTaken | Refusal::BadName(_) => n::ERR_NOSUCHCHANNEL,
            _ => return self.other_refusal(channel, refusal, cx),
        };
        self.numeric(cx, numeric, &[channel]);
    }

    /// The answer of a JOIN that made no entry the session saw.
    pub(super) fn join_value(&mut self, value: &Value, channel: &str, names: bool, cx: &mut Cx<'_>) {
        match value {
            Value::Already(id) => self.already_joined(id.room, channel, names, cx),
            Value::Event(event) => self.already_joined(event.room, channel, names, cx),
            _ => {}
        }
    }
}

/// The room of a channel name, if one can have that name.
pub(super) fn room_name(channel: &str) -> Option<RoomName> {
    casemap::room_of(channel).and_then(|room| RoomName::new(room).ok())
}

/// Who belongs to a room.
pub(super) fn joined(view: &RoomView) -> impl Iterator<Item = &Member> {
    view.members.values().filter(|member| member.standing.membership == Membership::Joined)
}

/// Whether somebody may see who is in a room: its members, and everybody if it is not secret.
pub(super) fn may_see(view: &RoomView, who: Option<&User>) -> bool {
    !view.policy().secret || who.is_some_and(|user| is_member(view, user))
}

/// Whether somebody belongs to a room.
pub(super) fn is_member(view: &RoomView, user: &User) -> bool {
    view.members.get(&user.id).is_some_and(|m| m.standing.membership == Membership::Joined)
}

/// Whether a member has no session that is there, or only such as are away.
pub(super) fn is_away(view: &RoomView, user: &User) -> bool {
    view.here.get(&user.id).is_none_or(|presence: &Presence| presence.show.is_away())
}
