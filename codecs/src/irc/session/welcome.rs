//! What follows once registration is complete: the welcome, the channels the account is in, and what was missed.

use std::sync::Arc;

use lavina_core::event::{Event, How, What};
use lavina_core::ids::RoomId;
use lavina_core::name::RoomName;
use lavina_core::policy::Membership;
use lavina_core::projection::Replay;
use lavina_core::query::{Belonging, Query};
use lavina_core::refusal::Refusal;
use lavina_core::text::Str;

use super::super::cap::Cap;
use super::super::isupport::{self, Facts, TOKENS_PER_LINE};
use super::super::mode::{Kind, MODES, USER_MODES};
use super::super::numeric as n;
use super::super::{settings, stamp};
use super::answer::{Ask, line as one};
use super::{Irc, Stage, identity, server};
use crate::session::Cx;

/// Channels shown to a client at connect; the latest by their last entry.
const CHANNELS_SHOWN: usize = 200;

impl Irc {
    /// Completes registration.
    pub(super) fn welcome(&mut self, cx: &mut Cx<'_>) {
        self.stage = Stage::Registered;
        let modes = &cx.settings().irc.user_modes;
        (self.invisible, self.wallops) = (modes.contains('i'), modes.contains('w'));
        if let Some(user) = &self.user {
            self.nick = Str::new(user.name.as_str());
        }
        let (server, all) = (server(cx), cx.settings());
        let network = settings::network(all);
        let prefix = self.prefix(all);
        let text = format!("Welcome to the {network} network, {prefix}");
        self.numeric_text(cx, n::RPL_WELCOME, &[], &text);
        let text = format!("Your host is {server}, running {}", version());
        self.numeric_text(cx, n::RPL_YOURHOST, &[], &text);
        let text = format!("This connection began {}", stamp::words(cx.now().wall.0));
        self.numeric_text(cx, n::RPL_CREATED, &[], &text);
        let letters = |takes: bool| {
            let wanted = move |kind: Kind| !takes || kind != Kind::Flag;
            MODES.iter().filter(|m| wanted(m.kind)).map(|m| m.letter).collect::<String>()
        };
        self.numeric(cx, n::RPL_MYINFO, &[server, &version(), USER_MODES, &letters(false), &letters(true)]);
        self.isupport(cx);
        let req = cx.query(Query::Counts);
        self.ask(req, Ask::Counts { burst: true });
        cx.mode_changed();
        if self.user.is_some() {
            self.introduce(cx);
        }
    }

    /// After the message of the day: what the account has.
    pub(super) fn after_motd(&mut self, cx: &mut Cx<'_>) {
        if self.invisible || self.wallops {
            let modes = self.user_modes();
            let (prefix, nick) = (self.prefix(cx.settings()), self.target().to_owned());
            let line = one(|w| {
                w.source(&prefix).command("MODE").param(&nick).last(&modes);
            });
            self.emit(&line, cx);
        }
        match &self.user {
            Some(user) if !user.is_guest() => {
                let req = cx.query(Query::Account(user.id));
                self.ask(req, Ask::Device);
            }
            Some(_) => self.nothing_missed(),
            None => {
                let text = "Guests are not admitted here. Log in (SASL, PASS, or /msg NickServ IDENTIFY <name> <password>) or register with an invitation";
                self.service_notice("NickServ", text, cx);
            }
        }
    }

    /// The rooms of the account.
    pub(super) fn ask_memberships(&mut self, cx: &mut Cx<'_>) {
        if let Some(id) = self.user.as_ref().map(|user| user.id) {
            let req = cx.query(Query::Memberships(id));
            self.ask(req, Ask::Memberships);
        }
    }

    /// An account or guest becomes visible.
    fn introduce(&mut self, cx: &mut Cx<'_>) {
        // Two connections of one device are two sessions: the label must differ.
        let random = cx.random();
        let device = self.device.as_deref().unwrap_or("irc");
        cx.subscribe(Str::new(format!("{device}-{random:016x}")));
        cx.display(self.real.clone());
        cx.presence(self.presence());
        self.monitor_again(cx);
    }

    /// Logged in long after registration: the account's things come now.
    pub(super) fn arrive(&mut self, cx: &mut Cx<'_>) {
        self.introduce(cx);
        self.after_motd(cx);
    }

    pub(super) fn isupport(&mut self, cx: &mut Cx<'_>) {
        let (core, all) = (cx.core_settings(), cx.settings());
        let facts = Facts {
            network: settings::network(all),
            nick_max: lavina_core::name::UserName::NEW_MAX,
            channels_max: core.limits.rooms_per_session,
            silence_max: core.limits.blocked,
            list_max: core.limits.masks,
            account_required: core.guests == lavina_core::settings::Guests::Off,
        };
        for chunk in isupport::tokens(&facts).chunks(TOKENS_PER_LINE) {
            let params: Vec<&str> = chunk.iter().map(String::as_str).collect();
            self.numeric(cx, n::RPL_ISUPPORT, &params);
        }
    }

    /// The rooms of the account: it attaches to those it is in, and hears of invitations.
    pub(super) fn memberships(&mut self, all: &[Belonging], cx: &mut Cx<'_>) {
        let mut joined: Vec<&Belonging> = all
            .iter()
            .filter(|b| b.member.standing.membership == Membership::Joined && b.head.name.is_some())
            .collect();
        joined.sort_by_key(|b| std::cmp::Reverse(b.upto));
        for belonging in joined.into_iter().take(CHANNELS_SHOWN) {
            let Some(name) = &belonging.head.name else { continue };
            if self.channel_name(belonging.room).is_none() {
                self.awaited.insert(belonging.room, (identity::channel(name), belonging.upto));
                cx.attach(belonging.room, Some(belonging.upto));
            }
        }
        for belonging in all.iter().filter(|b| b.member.standing.membership == Membership::Invited) {
            let (Some(name), Some(user)) = (&belonging.head.name, &self.user) else { continue };
            let by = belonging
                .member
                .by
                .as_ref()
                .map_or_else(|| server(cx).to_owned(), |by| identity::prefix(by, cx.settings()));
            let line = one(|w| {
                w.source(&by).command("INVITE").param(user.name.as_str());
                w.param(&identity::channel(name)).end();
            });
            cx.write(&line, false);
        }
        self.missed_dialogs(cx);
    }

    /// An attach is done: the channel is shown, then what came meanwhile.
    pub(super) fn attached(&mut self, room: RoomId, replay: Result<Arc<Replay>, Refusal>, cx: &mut Cx<'_>) {
        let Some((channel, upto)) = self.awaited.remove(&room) else { return };
        let Ok(replay) = replay else { return };
        self.enter(room, &channel);
        self.write_join(&channel, "", cx);
        match &replay.view {
            Some(view) => self.after_join(view.clone(), &channel, !self.caps.has(Cap::NoImplicitNames), cx),
            None => {
                let req = cx.query(Query::Room(room));
                self.ask(req, Ask::Arrived { channel: channel.clone(), names: true });
            }
        }
        self.missed(room, &channel, upto, cx);
        for event in &replay.events {
            self.show(event, "", cx);
        }
    }

    /// The account's membership of a room changed elsewhere.
    pub(super) fn membership(&mut self, name: Option<&RoomName>, event: &Arc<Event>, cx: &mut Cx<'_>) {
        let (What::Member(change), Some(name)) = (&event.what, name) else { return };
        let channel = identity::channel(name);
        match change.after.membership {
            Membership::Joined if !cx.is_attached(event.room) && !self.awaited.contains_key(&event.room) => {
                self.awaited.insert(event.room, (channel, event.pos));
                cx.attach(event.room, Some(event.pos));
            }
            Membership::Invited if change.how == How::Invite => {
                let by = event
                    .by
                    .user()
                    .map_or_else(|| server(cx).to_owned(), |by| identity::prefix(by, cx.settings()));
                let tags = self.event_time_tags(event, cx);
                let line = one(|w| {
                    w.raw_tags(&tags).source(&by).command("INVITE");
                    w.param(change.user.name.as_str()).param(&channel).end();
                });
                cx.write(&line, false);
            }
            // Where it was attached, the entry itself says so.
            Membership::Left | Membership::Banned if !cx.is_attached(event.room) => {
                self.leave(event.room);
                self.awaited.remove(&event.room);
            }
            _ => {}
        }
    }

    /// The tags of a line about an entry that this session alone gets: time and account.
    pub(super) fn event_time_tags(&self, event: &Event, _: &Cx<'_>) -> String {
        let mut tags = Vec::new();
        if self.caps.has(Cap::ServerTime) {
            tags.push(format!("time={}", stamp::write(event.at.0)));
        }
        if let Some(account) =
            event.by.user().and_then(identity::account).filter(|_| self.caps.has(Cap::AccountTag))
        {
            tags.push(super::answer::tag("account", account));
        }
        tags.join(";")
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, cx: &mut Cx<'_>) {
        let words = self.quit.clone().unwrap_or_else(|| Str::new("Connection closed"));
        cx.farewell(words);
        // After a proper end that has been noted.
        if self.stage != Stage::Closing {
            self.note_seen(true, cx);
        }
    }

    /// There are new settings: what is offered may have changed.
    pub(super) fn settings_changed(&mut self, cx: &mut Cx<'_>) {
        let offered = self.offered(cx);
        let gone = self.caps.without(offered);
        if gone.iter().next().is_none() {
            return;
        }
        self.caps = self.caps.and(offered);
        if self.caps.has(Cap::CapNotify) {
            let words: Vec<&str> = gone.iter().map(Cap::name).collect();
            let server = server(cx);
            let line = one(|w| {
                w.source(server).command("CAP").param(self.target()).param("DEL").last(&words.join(" "));
            });
            cx.write(&line, false);
        }
        cx.mode_changed();
    }
}

/// The program and its version.
pub(super) fn version() -> String {
    format!("lavina-{}", env!("CARGO_PKG_VERSION"))
}
