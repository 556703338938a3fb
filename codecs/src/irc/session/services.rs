//! What is elsewhere done by services: NickServ, ChanServ.

use lavina_core::command::Act;

use super::super::casemap;
use super::super::command::Verb;
use super::answer::Ask;
use super::login::How;
use super::{Irc, words_of};
use crate::session::Cx;

/// What NickServ knows.
const NICKSERV: &[&str] = &[
    "IDENTIFY [name] <password>: log in",
    "REGISTER <password> [invitation]: make an account with the name of your nick",
    "HELP: this",
];

/// What ChanServ knows.
const CHANSERV: &[&str] = &["DROP <channel>: end a channel that you own, for everybody", "HELP: this"];

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
            _ => self.service_help("NickServ", NICKSERV, cx),
        }
    }

    fn identify(&mut self, name: &str, password: &str, cx: &mut Cx<'_>) {
        if self.user.is_some() {
            let text = "You have a name here already; log in with SASL or PASS when you connect";
            return self.service_notice("NickServ", text, cx);
        }
        self.log_in(name, password, How::Identify, cx);
    }

    pub(super) fn chanserv(&mut self, words: &[&str], cx: &mut Cx<'_>) {
        let command = words.first().map(|w| w.to_ascii_uppercase()).unwrap_or_default();
        match (command.as_str(), words.get(1..).unwrap_or_default()) {
            ("DROP", [channel]) => {
                let act = Act::Destroy { reason: None, instead: None };
                self.act_in(channel, act, |channel| Ask::Acted { channel, nick: String::new() }, cx);
            }
            _ => self.service_help("ChanServ", CHANSERV, cx),
        }
    }

    fn service_help(&mut self, service: &str, lines: &[&str], cx: &mut Cx<'_>) {
        for line in lines {
            self.service_notice(service, line, cx);
        }
    }
}
