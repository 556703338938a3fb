//! Whose private messages are taken: user modes R (accounts only) and T (no CTCP), ACCEPT, and SILENCE.
//!
//! What a session takes is part of its presence, in a form that only IRC reads: the sender's session looks at it before
//! it says anything.

use std::collections::BTreeSet;

use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::event::Native;
use lavina_core::name::UserName;
use lavina_core::query::{Query, Whois};
use lavina_core::text::Str;

use super::super::casemap;
use super::super::limits::ACCEPT_MAX;
use super::super::message::Line;
use super::super::native::{self, Parts};
use super::super::numeric as n;
use super::Irc;
use super::answer::{Ask, line as one};
use crate::session::Cx;

/// What a session takes.
#[derive(Debug, Default)]
pub(super) struct Doorkeeper {
    /// `+R`: only from those with an account.
    pub(super) accounts: bool,
    /// `+T`: no CTCP but ACTION.
    pub(super) plain: bool,
    /// From these in any case.
    accepted: BTreeSet<UserName>,
}

impl Doorkeeper {
    /// As it stands in the presence; nothing where everything is taken.
    pub(super) fn native(&self, max: usize) -> Option<Native> {
        if !self.accounts && !self.plain {
            return None;
        }
        let (mut text, flags) = (String::from("takes"), [(self.accounts, " R"), (self.plain, " T")]);
        flags.iter().filter(|(on, _)| *on).for_each(|(_, word)| text.push_str(word));
        for name in &self.accepted {
            text.push_str(" +");
            text.push_str(&name.folded());
        }
        native::pack(Parts { tags: "", text: &text }, max)
    }
}

/// Why a message is not taken.
pub(super) enum Turned {
    /// Only those with an account are heard.
    Guest,
    /// CTCP is not wanted.
    Ctcp,
}

/// Whether somebody's sessions take a message of `from`.
pub(super) fn turns_away(whois: &Whois, from: &UserName, guest: bool, ctcp: bool) -> Option<Turned> {
    whois.sessions.iter().find_map(|session| {
        let text = native::unpack(session.presence.native.as_ref()).text;
        let words: Vec<&str> = text.strip_prefix("takes")?.split(' ').collect();
        let own = format!("+{}", from.folded());
        if guest && words.contains(&"R") && !words.contains(&own.as_str()) {
            return Some(Turned::Guest);
        }
        (ctcp && words.contains(&"T")).then_some(Turned::Ctcp)
    })
}

impl Irc {
    pub(super) fn accept_command(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        if matches!(line.param(0), "" | "*") {
            let names: Vec<String> = self.doorkeeper.accepted.iter().map(UserName::to_string).collect();
            for name in names {
                self.numeric(cx, n::RPL_ACCEPTLIST, &[&name]);
            }
            return self.numeric(cx, n::RPL_ENDOFACCEPT, &[]);
        }
        for word in line.param(0).split(',').filter(|word| !word.is_empty()) {
            let (nick, on) = word.strip_prefix('-').map_or((word, true), |nick| (nick, false));
            match UserName::new(nick) {
                Ok(name) if on => self.accept_from(name, cx),
                Ok(name) => {
                    self.doorkeeper.accepted.remove(&name);
                }
                Err(_) => self.numeric(cx, n::ERR_NOSUCHNICK, &[nick]),
            }
        }
        cx.presence(self.presence());
    }

    fn accept_from(&mut self, name: UserName, cx: &mut Cx<'_>) {
        if self.doorkeeper.accepted.len() < ACCEPT_MAX {
            self.doorkeeper.accepted.insert(name);
        } else {
            self.numeric(cx, n::ERR_ACCEPTFULL, &[]);
        }
    }

    /// SILENCE: the account's block list, which holds on every protocol.
    pub(super) fn silence(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let Some(user) = self.user.clone().filter(|user| !user.is_guest()) else {
            return self.account_required("SILENCE", cx);
        };
        let word = line.param(0);
        if word.is_empty() || casemap::same(word, user.name.as_str()) {
            let req = cx.query(Query::Account(user.id));
            return self.ask(req, Ask::Silence);
        }
        let (mut add, mut remove) = (Vec::new(), Vec::new());
        for word in word.split(',').filter(|word| !word.is_empty()) {
            let (list, mask) = match word.strip_prefix('-') {
                Some(mask) => (&mut remove, mask),
                None => (&mut add, word.strip_prefix('+').unwrap_or(word)),
            };
            // Accounts are blocked, not hosts: the nick of a mask is the account.
            let nick = mask.split('!').next().unwrap_or_default();
            match UserName::new(nick) {
                Ok(name) => list.push(Str::new(name.folded())),
                Err(_) => self.numeric(cx, n::ERR_NOSUCHNICK, &[mask]),
            }
        }
        if add.is_empty() && remove.is_empty() {
            return;
        }
        let shown = |sign: char| move |name: &Str| format!("{sign}{name}");
        let changes: Vec<String> = add.iter().map(shown('+')).chain(remove.iter().map(shown('-'))).collect();
        let act = Act::SetBlocked { add, remove, all: false };
        let req = cx.command(Command::by(&user, EntityId::Account(user.id), act), false);
        self.ask(req, Ask::Silenced { changes: changes.join(",") });
    }

    pub(super) fn silence_list(&mut self, account: &Account, cx: &mut Cx<'_>) {
        let nick = self.target().to_owned();
        for blocked in account.head.iter().flat_map(|head| &head.blocked) {
            self.numeric(cx, n::RPL_SILELIST, &[&nick, blocked]);
        }
        self.numeric(cx, n::RPL_ENDOFSILELIST, &[]);
    }

    pub(super) fn silenced(&mut self, changes: &str, cx: &mut Cx<'_>) {
        let prefix = self.prefix(cx.settings());
        let line = one(|w| {
            w.source(&prefix).command("SILENCE").param(changes).end();
        });
        self.emit(&line, cx);
    }

    /// Whom one writes to may answer.
    pub(super) fn accept_answers(&mut self, from: &UserName, cx: &mut Cx<'_>) {
        let wanted = self.doorkeeper.accounts && !self.doorkeeper.accepted.contains(from);
        if wanted && self.doorkeeper.accepted.len() < ACCEPT_MAX {
            self.doorkeeper.accepted.insert(from.clone());
            cx.presence(self.presence());
        }
    }
}
