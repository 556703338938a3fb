//! MONITOR (IRCv3 monitor, extended-monitor): watching nicks come and go.

use lavina_core::event::Actor;
use lavina_core::name::UserName;
use lavina_core::presence::Sighting;

use super::super::cap::{self, Cap};
use super::super::limits::{BODY_MAX, MONITOR_MAX};
use super::super::message::Line;
use super::super::numeric::{self as n, Numeric};
use super::super::render::{self, SettingsOf, View};
use super::answer::TaskId;
use super::{Irc, identity, server};
use crate::session::Cx;

/// A MONITOR + whose answers are coming in.
#[derive(Debug)]
pub(super) struct Adding {
    task: Option<TaskId>,
    left: Vec<UserName>,
    online: Vec<String>,
    offline: Vec<String>,
}

impl Irc {
    pub(super) fn monitor(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        match line.param(0).to_ascii_uppercase().as_str() {
            "+" => self.monitor_add(line.param(1), cx),
            "-" => {
                for name in line.param(1).split(',').filter_map(|nick| UserName::new(nick).ok()) {
                    if self.monitored.remove(&name).is_some() {
                        cx.watch(name, false);
                    }
                }
            }
            "C" => {
                for name in std::mem::take(&mut self.monitored).into_keys() {
                    cx.watch(name, false);
                }
            }
            "L" => {
                let names: Vec<String> = self.monitored.keys().map(UserName::to_string).collect();
                self.nicks(n::RPL_MONLIST, names, cx);
                self.numeric(cx, n::RPL_ENDOFMONLIST, &[]);
            }
            "S" => {
                let (mut online, mut offline) = (Vec::new(), Vec::new());
                for (name, seen) in &self.monitored {
                    match seen {
                        Some(prefix) => online.push(prefix.clone()),
                        None => offline.push(name.to_string()),
                    }
                }
                self.nicks(n::RPL_MONONLINE, online, cx);
                self.nicks(n::RPL_MONOFFLINE, offline, cx);
            }
            _ => self.need_more("MONITOR", cx),
        }
    }

    fn monitor_add(&mut self, targets: &str, cx: &mut Cx<'_>) {
        let mut adding =
            Adding { task: self.task, left: Vec::new(), online: Vec::new(), offline: Vec::new() };
        let mut targets = targets.split(',').filter(|nick| !nick.is_empty());
        while let Some(nick) = targets.next() {
            let Ok(name) = UserName::new(nick) else {
                self.numeric(cx, n::ERR_ERRONEUSNICKNAME, &[nick]);
                continue;
            };
            let full = self.monitored.len() >= MONITOR_MAX && !self.monitored.contains_key(&name);
            if full || !cx.watch(name.clone(), true) {
                let rest: Vec<&str> = std::iter::once(nick).chain(targets).collect();
                let (limit, rest) = (MONITOR_MAX.to_string(), rest.join(","));
                self.numeric(cx, n::ERR_MONLISTFULL, &[&limit, &rest]);
                break;
            }
            self.monitored.insert(name.clone(), None);
            if !adding.left.contains(&name) {
                adding.left.push(name);
            }
        }
        if !adding.left.is_empty() {
            self.keep_open();
            self.adding.push(adding);
        }
    }

    /// All nicks watched, once more: the session is somebody else now.
    pub(super) fn monitor_again(&mut self, cx: &mut Cx<'_>) {
        for name in self.monitored.keys() {
            cx.watch(name.clone(), true);
        }
    }

    /// A watched nick is there, or gone, or there in another way.
    pub(super) fn watched(
        &mut self,
        name: &UserName,
        before: Option<&Sighting>,
        now: Option<&Sighting>,
        first: bool,
        cx: &mut Cx<'_>,
    ) {
        let prefix = now.map(|s| identity::prefix(&s.user, cx.settings()));
        let Some(seen) = self.monitored.get_mut(name) else { return };
        let known = std::mem::replace(seen, prefix.clone());
        if first && self.added(name, prefix.as_deref(), cx) {
            return;
        }
        match (before, now, prefix) {
            (Some(before), Some(now), _) => self.watched_change(before, now, cx),
            (None, Some(_), Some(prefix)) if known.is_none() => {
                self.nicks(n::RPL_MONONLINE, vec![prefix], cx)
            }
            (Some(before), None, _) => self.nicks(n::RPL_MONOFFLINE, vec![before.user.name.to_string()], cx),
            (None, None, _) if known.is_some() => self.nicks(n::RPL_MONOFFLINE, vec![name.to_string()], cx),
            _ => {}
        }
    }

    /// The first answer about a nick just added. False: it was not waited for.
    fn added(&mut self, name: &UserName, prefix: Option<&str>, cx: &mut Cx<'_>) -> bool {
        let Some(at) = self.adding.iter().position(|a| a.left.contains(name)) else { return false };
        let Some(adding) = self.adding.get_mut(at) else { return false };
        adding.left.retain(|n| n != name);
        match prefix {
            Some(prefix) => adding.online.push(prefix.to_owned()),
            None => adding.offline.push(name.to_string()),
        }
        if adding.left.is_empty() {
            let adding = self.adding.remove(at);
            self.task = adding.task;
            self.close_one();
            self.nicks(n::RPL_MONONLINE, adding.online, cx);
            self.nicks(n::RPL_MONOFFLINE, adding.offline, cx);
            self.settle(cx);
        }
        true
    }

    /// IRCv3 extended-monitor: what the other capabilities tell of people in common channels is told of watched ones.
    fn watched_change(&mut self, before: &Sighting, now: &Sighting, cx: &mut Cx<'_>) {
        if !self.caps.has(Cap::ExtendedMonitor) {
            return;
        }
        let settings = SettingsOf(cx.settings());
        let view = View { caps: self.caps, settings: &settings, target: "*", tags: "" };
        let mut out = render::Direct::new(self.target());
        let by = Actor::User(now.user.clone());
        if self.caps.has(Cap::AwayNotify) {
            render::away_change(&view, &by, Some(&before.presence), &now.presence, &mut out);
        }
        if self.caps.has(Cap::Setname) && before.display != now.display {
            render::setname(&view, &by, &now.display, &mut out);
        }
        cx.write(&out.out, false);
    }

    /// A list of nicks, on as many lines as it needs.
    fn nicks(&mut self, numeric: Numeric, nicks: Vec<String>, cx: &mut Cx<'_>) {
        if nicks.is_empty() {
            return;
        }
        let room = BODY_MAX - server(cx).len() - self.target().len() - ":  730  :".len();
        for words in cap::pack(nicks, room) {
            self.numeric_text(cx, numeric, &[], &words.replace(' ', ","));
        }
    }
}
