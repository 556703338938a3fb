//! Whose private messages are taken: user modes R (accounts only) and T (no CTCP), and ACCEPT.
//!
//! What a session takes is part of its presence, in a form that only IRC reads: the sender's session looks at it before
//! it says anything.

use std::collections::BTreeSet;

use lavina_core::event::Native;
use lavina_core::name::UserName;
use lavina_core::query::Whois;

use super::super::limits::ACCEPT_MAX;
use super::super::message::Line;
use super::super::native::{self, Parts};
use super::super::numeric as n;
use super::Irc;
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

    /// Whom one writes to may answer.
    pub(super) fn accept_answers(&mut self, from: &UserName, cx: &mut Cx<'_>) {
        let wanted = self.doorkeeper.accounts && !self.doorkeeper.accepted.contains(from);
        if wanted && self.doorkeeper.accepted.len() < ACCEPT_MAX {
            self.doorkeeper.accepted.insert(from.clone());
            cx.presence(self.presence());
        }
    }
}
