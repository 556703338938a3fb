//! Acting in channels: TOPIC, KICK, INVITE, KNOCK.

use lavina_core::command::{Act, Command, EntityId};
use lavina_core::event::Event;
use lavina_core::name::{NameKey, User, UserName};
use lavina_core::query::{Query, RoomView, Whois};
use lavina_core::refusal::Refusal;
use lavina_core::text::Str;

use super::super::limits::{KICK_MAX, TARGETS_MAX, TOPIC_MAX};
use super::super::message::Line;
use super::super::numeric as n;
use super::super::render::cut;
use super::answer::Ask;
use super::channels::{is_member, joined, may_see, room_name};
use super::{Irc, speak};
use crate::session::Cx;

/// Somebody to be put out, once it is known who that is.
#[derive(Debug)]
pub(super) struct Kicking {
    pub(super) channel: String,
    pub(super) nick: String,
    pub(super) reason: String,
}

impl Irc {
    pub(super) fn topic(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let channel = line.param(0);
        if line.params.len() > 1 {
            let act = Act::SetTopic(speak::neutral(cut(line.param(1), TOPIC_MAX)));
            return self.act_in(channel, act, |channel| Ask::Acted { channel, nick: String::new() }, cx);
        }
        match self.view_of(channel) {
            Some(query) => {
                let req = cx.query(query);
                self.ask(req, Ask::Topic { channel: channel.to_owned() });
            }
            None => self.numeric(cx, n::ERR_NOSUCHCHANNEL, &[channel]),
        }
    }

    /// The topic, as far as the asker may see it.
    pub(super) fn topic_answer(&mut self, view: &RoomView, channel: &str, cx: &mut Cx<'_>) {
        if may_see(view, self.user.as_ref()) {
            self.topic_lines(view, channel, cx);
        } else {
            self.numeric(cx, n::ERR_NOTONCHANNEL, &[channel]);
        }
    }

    pub(super) fn kick(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let reason = cut(line.param(2), KICK_MAX);
        let channels: Vec<&str> = line.param(0).split(',').filter(|c| !c.is_empty()).collect();
        let nicks: Vec<&str> = line.param(1).split(',').filter(|nick| !nick.is_empty()).collect();
        // One channel and its nicks, or as many channels as nicks (RFC 2812, section 3.2.8).
        if channels.len() != 1 && channels.len() != nicks.len() {
            return self.need_more("KICK", cx);
        }
        if let Some(nick) = nicks.get(TARGETS_MAX) {
            return self.numeric(cx, n::ERR_TOOMANYTARGETS, &[nick]);
        }
        for (at, nick) in nicks.into_iter().enumerate() {
            let channel = channels.get(at).or(channels.first()).copied().unwrap_or_default();
            match self.view_of(channel) {
                Some(query) => {
                    let req = cx.query(query);
                    let kicking = Kicking {
                        channel: channel.to_owned(),
                        nick: nick.to_owned(),
                        reason: reason.to_owned(),
                    };
                    self.ask(req, Ask::Kick(Box::new(kicking)));
                }
                None => self.numeric(cx, n::ERR_NOSUCHCHANNEL, &[channel]),
            }
        }
    }

    /// It is known who is in the channel.
    pub(super) fn kick_in(&mut self, view: &RoomView, kicking: &Kicking, cx: &mut Cx<'_>) {
        let Kicking { channel, nick, reason } = kicking;
        let Some(me) = self.user.clone() else { return };
        if !is_member(view, &me) {
            return self.numeric(cx, n::ERR_NOTONCHANNEL, &[channel]);
        }
        let Some(user) = member_named(view, nick) else {
            return self.not_there(nick, channel, cx);
        };
        let reason = (!reason.is_empty()).then(|| Str::new(reason));
        let command = Command::by(&me, EntityId::Room(view.id), Act::Kick { user, reason, native: None });
        let req = cx.command(command, false);
        self.ask(req, Ask::Acted { channel: channel.clone(), nick: nick.clone() });
    }

    /// Somebody is not in the channel: whether there is such a person decides what is told.
    pub(super) fn not_there(&mut self, nick: &str, channel: &str, cx: &mut Cx<'_>) {
        match UserName::new(nick) {
            Ok(name) => {
                let req = cx.query(Query::Resolve(NameKey::User(name)));
                self.ask(req, Ask::NotThere { channel: channel.to_owned(), nick: nick.to_owned() });
            }
            Err(_) => self.numeric(cx, n::ERR_NOSUCHNICK, &[nick]),
        }
    }

    pub(super) fn invite(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        if line.params.is_empty() {
            let Some(user) = self.user.clone() else { return };
            let req = cx.query(Query::Memberships(user.id));
            return self.ask(req, Ask::Invitations);
        }
        let (nick, channel) = (line.param(0), line.param(1));
        if channel.is_empty() {
            return self.need_more("INVITE", cx);
        }
        match UserName::new(nick) {
            Ok(name) => {
                let req = cx.query(Query::Whois(name));
                self.ask(req, Ask::Invite { channel: channel.to_owned(), nick: nick.to_owned() });
            }
            Err(_) => self.numeric(cx, n::ERR_NOSUCHNICK, &[nick]),
        }
    }

    /// It is known who is invited.
    pub(super) fn invite_found(&mut self, whois: &Whois, channel: &str, cx: &mut Cx<'_>) {
        let nick = whois.user.name.to_string();
        let act = Act::Invite { user: whois.user.clone(), reason: None, native: None };
        self.act_in(channel, act, |channel| Ask::Invited { channel, nick }, cx);
    }

    /// 341: the invitation is out.
    pub(super) fn invited(&mut self, event: &Event, channel: &str, nick: &str, cx: &mut Cx<'_>) {
        self.numeric(cx, n::RPL_INVITING, &[nick, channel]);
        let tags = self.event_tags(false, cx);
        self.show(event, &tags, cx);
    }

    pub(super) fn knock(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let channel = line.param(0);
        let reason = (!line.param(1).is_empty()).then(|| Str::new(cut(line.param(1), KICK_MAX)));
        let (Some(user), Some(name)) = (self.user.clone(), room_name(channel)) else {
            return self.numeric(cx, n::ERR_NOSUCHCHANNEL, &[channel]);
        };
        let then = Box::new(Act::Knock { reason });
        let to = EntityId::Name(NameKey::Room(name));
        let req = cx.command(Command::by(&user, to, Act::Route { claim: None, then }), false);
        self.ask(req, Ask::Knocked { channel: channel.to_owned() });
    }

    /// Why an act in a channel was not done.
    pub(super) fn not_acted(&mut self, channel: &str, nick: &str, refusal: &Refusal, cx: &mut Cx<'_>) {
        match refusal {
            Refusal::NoSuchRoom => self.numeric(cx, n::ERR_NOSUCHCHANNEL, &[channel]),
            Refusal::NotMember => self.numeric(cx, n::ERR_NOTONCHANNEL, &[channel]),
            Refusal::NoSuchUser => self.numeric(cx, n::ERR_NOSUCHNICK, &[nick]),
            Refusal::TargetNotMember => self.numeric(cx, n::ERR_USERNOTINCHANNEL, &[nick, channel]),
            Refusal::AlreadyMember => self.numeric(cx, n::ERR_USERONCHANNEL, &[nick, channel]),
            Refusal::Power(_) | Refusal::Forbidden | Refusal::Muted => {
                self.numeric(cx, n::ERR_CHANOPRIVSNEEDED, &[channel]);
            }
            Refusal::Outranked => {
                let text = "They have the same rank as you, or a higher one";
                self.numeric_text(cx, n::ERR_CHANOPRIVSNEEDED, &[channel], text);
            }
            Refusal::LastOwner => {
                let text = "The last owner of a channel stays";
                self.numeric_text(cx, n::ERR_CHANOPRIVSNEEDED, &[channel], text);
            }
            Refusal::Banned => {
                let text = format!("{nick} is banned; lift that first with MODE {channel} -b {nick}!*@*");
                self.numeric_text(cx, n::ERR_BANNEDFROMCHAN, &[channel], &text);
            }
            Refusal::TooMany => self.numeric(cx, n::ERR_BANLISTFULL, &[channel, "b"]),
            _ => self.other_refusal(channel, refusal, cx),
        }
    }
}

/// The member of that nick.
pub(super) fn member_named(view: &RoomView, nick: &str) -> Option<User> {
    let name = UserName::new(nick).ok()?;
    joined(view).map(|m| &m.user).find(|user| user.name == name).cloned()
}
