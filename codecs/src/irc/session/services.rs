//! What is elsewhere done by services: NickServ, ChanServ.

use std::collections::BTreeMap;

use lavina_core::command::{Act, Audience, Command, EntityId};
use lavina_core::policy::{Member, power};
use lavina_core::query::RoomView;
use lavina_core::text::{Octets, Str};

use super::super::casemap;
use super::super::command::Verb;
use super::super::numeric as n;
use super::answer::{Ask, line as one};
use super::login::How;
use super::{Irc, server, words_of};
use crate::session::Cx;

/// The account's own value: `1` it stays in its channels when it disconnects, `0` it leaves them.
const ALWAYS_ON: &str = "irc/always-on";

/// What NickServ knows.
const NICKSERV: &[&str] = &[
    "IDENTIFY [name] <password>: log in",
    "REGISTER <password> [invitation]: make an account with the name of your nick",
    "SET ALWAYS-ON <true|false|default>: stay in your channels when you disconnect, or leave them",
    "HELP: this",
];

/// What ChanServ knows.
const CHANSERV: &[&str] = &[
    "REGISTER <channel>: says whether a channel is yours for good",
    "DROP <channel>: end a channel that you own, for everybody",
    "HELP: this",
];

impl Irc {
    /// A message to a service. True: it was one; it is neither stored nor shown to anybody.
    pub(super) fn serve(&mut self, target: &str, text: &str, verb: Verb, cx: &mut Cx<'_>) -> bool {
        let bare = target.split('@').next().unwrap_or_default();
        let nickserv = casemap::same(bare, "NickServ");
        if !nickserv && !casemap::same(bare, "ChanServ") {
            return false;
        }
        if verb == Verb::Privmsg {
            let words = words_of(text);
            if nickserv { self.nickserv(&words, cx) } else { self.chanserv(&words, cx) }
        }
        true
    }

    pub(super) fn nickserv(&mut self, words: &[&str], cx: &mut Cx<'_>) {
        let command = words.first().map(|w| w.to_ascii_uppercase()).unwrap_or_default();
        match (command.as_str(), words.get(1..).unwrap_or_default()) {
            ("IDENTIFY", [password]) => {
                let name = self.target().to_owned();
                self.identify(&name, password, cx);
            }
            ("IDENTIFY", [name, password]) => self.identify(name, password, cx),
            ("REGISTER", [password]) => {
                let nick = self.target().to_owned();
                self.register_as(&nick, "*", password, cx);
            }
            ("REGISTER", [password, token]) => {
                let nick = self.target().to_owned();
                self.register_as(&nick, token, password, cx);
            }
            ("SET", [what, value]) if what.eq_ignore_ascii_case("always-on") => self.set_always_on(value, cx),
            _ => self.service_help("NickServ", NICKSERV, cx),
        }
    }

    fn identify(&mut self, name: &str, password: &str, cx: &mut Cx<'_>) {
        self.log_in(name, password, How::Identify, cx);
    }

    pub(super) fn chanserv(&mut self, words: &[&str], cx: &mut Cx<'_>) {
        let command = words.first().map(|w| w.to_ascii_uppercase()).unwrap_or_default();
        match (command.as_str(), words.get(1..).unwrap_or_default()) {
            ("DROP", [channel]) => {
                let act = Act::Destroy { reason: None, instead: None };
                self.act_in(channel, act, |channel| Ask::Acted { channel, nick: String::new() }, cx);
            }
            ("REGISTER", [channel]) => match self.view_of(channel) {
                Some(query) => {
                    let req = cx.query(query);
                    self.ask(req, Ask::RegisterChannel { channel: (*channel).to_owned() });
                }
                None => self.numeric(cx, n::ERR_NOSUCHCHANNEL, &[channel]),
            },
            _ => self.service_help("ChanServ", CHANSERV, cx),
        }
    }

    /// A channel made by somebody with an account is registered from the start.
    pub(super) fn channel_registered(&mut self, view: &RoomView, channel: &str, cx: &mut Cx<'_>) {
        let mine = |m: &Member| m.standing.power >= power::OWNER;
        let owner = self.user.as_ref().and_then(|me| view.members.get(&me.id)).is_some_and(mine);
        if view.id.is_transient() {
            let text = "A guest made this channel; it lasts while somebody is there";
            return self.service_notice("ChanServ", text, cx);
        }
        if !owner {
            return self.service_notice("ChanServ", "This channel belongs to somebody else", cx);
        }
        let (server, nick) = (server(cx), self.target().to_owned());
        let line = one(|w| {
            w.source_user("ChanServ", "ChanServ", server).command("MODE").param(channel);
            w.param("+q").param(&nick).end();
        });
        self.emit(&line, cx);
        self.service_notice("ChanServ", "This channel is yours, and stays when everybody leaves", cx);
    }

    fn set_always_on(&mut self, value: &str, cx: &mut Cx<'_>) {
        let Some(user) = self.user.clone().filter(|user| !user.is_guest()) else {
            return self.service_notice("NickServ", "You must be logged in for that", cx);
        };
        let value = match value.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" => "1",
            "false" | "off" | "no" => "0",
            "default" => "",
            _ => return self.service_help("NickServ", NICKSERV, cx),
        };
        let values = vec![(Str::new(ALWAYS_ON), Octets::from(value.as_bytes().to_vec()))];
        let act = Act::SetAttrs { values, tell: Audience::Nobody, native: None };
        cx.command(Command::by(&user, EntityId::Account(user.id), act), false);
        cx.leaves(leaves(value.as_bytes(), cx.settings().irc.leave_on_quit));
        let text = match value {
            "1" => "You stay in your channels when you disconnect",
            "0" => "You leave your channels with your last connection",
            _ => "What happens when you disconnect is up to this server",
        };
        self.service_notice("NickServ", text, cx);
    }

    /// Whether the account leaves its channels with its last connection.
    pub(super) fn learn_always_on(&mut self, attrs: &BTreeMap<Str, Octets>, cx: &mut Cx<'_>) {
        let value = attrs.get(ALWAYS_ON).map(|v| &v[..]).unwrap_or_default();
        cx.leaves(leaves(value, cx.settings().irc.leave_on_quit));
    }

    fn service_help(&mut self, service: &str, lines: &[&str], cx: &mut Cx<'_>) {
        for line in lines {
            self.service_notice(service, line, cx);
        }
    }
}

/// Whether an account with that value leaves its channels with its last connection.
fn leaves(value: &[u8], default: bool) -> bool {
    match value {
        b"1" => false,
        b"0" => true,
        _ => default,
    }
}
