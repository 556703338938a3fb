//! Operators of the server: OPER, KILL, WALLOPS, REHASH.

use lavina_core::log::{Level, Log};
use lavina_core::name::{User, UserName};
use lavina_core::projection::SignalWhat;
use lavina_core::query::{Query, Whois};
use lavina_core::text::Str;

use super::super::limits::KICK_MAX;
use super::super::message::Line;
use super::super::native::{self, Parts};
use super::super::numeric as n;
use super::super::render::cut;
use super::Irc;
use super::answer::{Ask, line as one};
use crate::session::Cx;

impl Irc {
    pub(super) fn oper(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let (name, password) = (line.param(0), line.param(1));
        let same =
            |a: &str, b: &str| -> bool { subtle::ConstantTimeEq::ct_eq(a.as_bytes(), b.as_bytes()).into() };
        let good = cx.settings().irc.opers.iter().any(|o| same(&o.name, name) & same(&o.password, password));
        if !good {
            return self.numeric(cx, n::ERR_PASSWDMISMATCH, &[]);
        }
        self.oper = true;
        cx.presence(self.presence());
        if let Some(user) = &self.user {
            cx.log(Log::new(Level::Info, "became an operator").with("account", user.id.0));
        }
        self.numeric(cx, n::RPL_YOUREOPER, &[]);
        let prefix = self.prefix(cx.settings());
        let line = one(|w| {
            w.source(&prefix).command("MODE").param(self.target()).last("+o");
        });
        self.emit(&line, cx);
    }

    /// Whether the session is an operator's; else it is told so.
    fn is_oper(&mut self, cx: &mut Cx<'_>) -> bool {
        if !self.oper {
            self.numeric(cx, n::ERR_NOPRIVILEGES, &[]);
        }
        self.oper
    }

    pub(super) fn kill(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let nick = line.param(0).to_owned();
        if !self.is_oper(cx) {
            return;
        }
        let Ok(name) = UserName::new(&nick) else { return self.numeric(cx, n::ERR_NOSUCHNICK, &[&nick]) };
        let reason = cut(line.param(1), KICK_MAX).to_owned();
        let req = cx.query(Query::Whois(name));
        self.ask(req, Ask::Kill { nick, reason });
    }

    /// It is known who is to go: all sessions of theirs end.
    pub(super) fn kill_found(&mut self, whois: &Whois, nick: &str, reason: &str, cx: &mut Cx<'_>) {
        let by = self.target();
        let reason = if reason.is_empty() { "no reason given" } else { reason };
        let words = Str::new(format!("Killed ({by} ({reason}))"));
        if let Some(req) = cx.signal(whois.user.id, None, SignalWhat::End(words)) {
            self.ask(req, Ask::Killed { nick: nick.to_owned() });
        }
        let log = Log::new(Level::Warn, "an operator ended the sessions of an account");
        cx.log(log.with("account", whois.user.id.0));
    }

    pub(super) fn wallops(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        if !self.is_oper(cx) {
            return;
        }
        let limit = cx.core_settings().limits.native;
        if let Some(payload) = native::pack(Parts { tags: "", text: line.param(0) }, limit) {
            cx.announce(payload);
        }
    }

    /// An operator speaks to everybody; those with +w hear it.
    pub(super) fn announced(&mut self, from: &User, parts: Parts<'_>, cx: &mut Cx<'_>) {
        if self.wallops {
            let prefix = super::identity::prefix(from, cx.settings());
            let line = one(|w| {
                w.source(&prefix).command("WALLOPS").last(parts.text);
            });
            cx.write(&line, false);
        }
    }

    pub(super) fn rehash(&mut self, cx: &mut Cx<'_>) {
        if self.is_oper(cx) {
            self.numeric(cx, n::RPL_REHASHING, &["lavina.toml"]);
            cx.reload();
        }
    }
}
