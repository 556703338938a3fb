//! About people: WHO, WHOIS, WHOWAS, ISON, USERHOST, AWAY, SETNAME.

use std::collections::BTreeSet;
use std::sync::Arc;

use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience, Command, EntityId};
use lavina_core::name::{User, UserName};
use lavina_core::policy::Member;
use lavina_core::policy::Membership;
use lavina_core::presence::{Gone, Marks, Presence};
use lavina_core::query::{Belonging, Query, RoomView, Whois};
use lavina_core::text::{Octets, Str};

use super::super::cap::Cap;
use super::super::isupport::BOT;
use super::super::limits::AWAY_MAX;
use super::super::message::Line;
use super::super::numeric as n;
use super::super::render::{away_text, cut};
use super::super::whox::{Fields, Values};
use super::super::{casemap, mask, settings, stamp};
use super::answer::{Ask, TaskId, line as one};
use super::channels::{is_away, is_member, joined, may_see};
use super::register::REAL_MAX;
use super::{Irc, Stage, identity, server};
use crate::account::DISPLAY_NAME;
use crate::session::Cx;

/// Rooms that a WHO with a mask looks through.
const WHO_ROOMS: usize = 50;
/// Nicks of one ISON or USERHOST; more are passed over.
const NICKS_MAX: usize = 30;

/// A WHO under way.
#[derive(Debug, Clone)]
pub(super) struct Whoing {
    pub(super) mask: String,
    fields: Option<String>,
    opers: bool,
}

/// Questions about several people or rooms, of one command.
#[derive(Debug)]
pub(super) struct Gather {
    task: Option<TaskId>,
    left: usize,
    /// By their place in the command.
    words: Vec<Option<String>>,
    /// Shown already.
    shown: BTreeSet<String>,
}

impl Irc {
    // --- WHO ---

    pub(super) fn who(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let (mask, second) = (line.param(0), line.param(1));
        let whoing = Whoing {
            mask: mask.to_owned(),
            fields: second.contains('%').then(|| second.to_owned()),
            opers: second.split('%').next().is_some_and(|flags| flags.contains('o')),
        };
        if mask.is_empty() {
            return self.numeric(cx, n::RPL_ENDOFWHO, &["*"]);
        }
        if casemap::is_channel(mask) {
            return match self.view_of(mask) {
                Some(query) => {
                    let req = cx.query(query);
                    self.ask(req, Ask::Who(Box::new(whoing)));
                }
                None => self.numeric(cx, n::RPL_ENDOFWHO, &[mask]),
            };
        }
        match UserName::new(mask) {
            Ok(name) => {
                let req = cx.query(Query::Whois(name));
                self.ask(req, Ask::WhoOne(Box::new(whoing)));
            }
            Err(_) => self.who_mask(whoing, cx),
        }
    }

    /// A mask is looked for in the rooms the session is in.
    fn who_mask(&mut self, whoing: Whoing, cx: &mut Cx<'_>) {
        let rooms: Vec<_> = self.rooms.keys().copied().take(WHO_ROOMS).collect();
        if rooms.is_empty() {
            return self.numeric(cx, n::RPL_ENDOFWHO, &[&whoing.mask]);
        }
        self.gather(rooms.len());
        for room in rooms {
            let req = cx.query(Query::Room(room));
            self.ask(req, Ask::WhoMask(Box::new(whoing.clone())));
        }
    }

    pub(super) fn gather(&mut self, left: usize) {
        let words = vec![None; left];
        self.gathers.push(Gather { task: self.task, left, words, shown: BTreeSet::new() });
    }

    /// The gathering of the command at hand, taken out when this was the last answer.
    pub(super) fn gathered(&mut self) -> Option<(usize, bool)> {
        let task = self.task;
        let at = self.gathers.iter().position(|gather| gather.task == task)?;
        let gather = self.gathers.get_mut(at)?;
        gather.left = gather.left.saturating_sub(1);
        Some((at, gather.left == 0))
    }

    pub(super) fn who_in_masked(&mut self, view: Option<&RoomView>, whoing: &Whoing, cx: &mut Cx<'_>) {
        let Some((at, last)) = self.gathered() else { return };
        for member in view.into_iter().flat_map(joined) {
            let prefix = identity::prefix(&member.user, cx.settings());
            let fits = mask::matches(&mask::full(&whoing.mask), &prefix);
            let name = member.user.name.folded();
            let new = fits && self.gathers.get_mut(at).is_some_and(|gather| gather.shown.insert(name));
            if let (true, Some(view)) = (new, view) {
                self.who_line(view, member, whoing, cx);
            }
        }
        if last {
            self.gathers.remove(at);
            self.numeric(cx, n::RPL_ENDOFWHO, &[&whoing.mask]);
        }
    }

    pub(super) fn who_in(&mut self, view: &RoomView, whoing: &Whoing, cx: &mut Cx<'_>) {
        if may_see(view, self.user.as_ref()) {
            let members: Vec<Member> = joined(view).cloned().collect();
            for member in &members {
                self.who_line(view, member, whoing, cx);
            }
        }
        self.numeric(cx, n::RPL_ENDOFWHO, &[&whoing.mask]);
    }

    pub(super) fn who_one(&mut self, whois: Option<&Whois>, whoing: &Whoing, cx: &mut Cx<'_>) {
        let known = whois.is_some_and(|w| self.is_me(&w.user));
        let whois = whois.map(|w| open_to(w, known));
        if let Some(whois) = whois.as_ref().filter(|w| !w.sessions.is_empty()) {
            let best = best(whois);
            let away = best.as_ref().is_none_or(|p| p.show.is_away());
            let marks = marks_of(whois);
            if whoing.opers && !marks.admin {
                return self.numeric(cx, n::RPL_ENDOFWHO, &[&whoing.mask]);
            }
            let flags = flags(away, marks, "");
            let real = whois.sessions.first().map(|s| s.display.clone()).unwrap_or_default();
            self.who_reply("*", &whois.user, &flags, &real, whoing, cx);
        }
        self.numeric(cx, n::RPL_ENDOFWHO, &[&whoing.mask]);
    }

    fn who_line(&mut self, view: &RoomView, member: &Member, whoing: &Whoing, cx: &mut Cx<'_>) {
        let marks = view.here.get(&member.user.id).map(|p| p.marks).unwrap_or_default();
        if whoing.opers && !marks.admin {
            return;
        }
        let channel = view.head.name.as_ref().map_or_else(|| "*".to_owned(), identity::channel);
        let rank = identity::prefixes(member.standing.power, member.voiced, self.caps.has(Cap::MultiPrefix));
        let flags = flags(is_away(view, &member.user), marks, &rank);
        let real = member.display.clone().unwrap_or_else(|| Str::new(member.user.name.as_str()));
        self.who_reply(&channel, &member.user, &flags, &real, whoing, cx);
    }

    fn who_reply(
        &mut self,
        channel: &str,
        user: &User,
        flags: &str,
        real: &str,
        whoing: &Whoing,
        cx: &mut Cx<'_>,
    ) {
        let (all, server) = (cx.settings(), server(cx));
        let (name, host) = (identity::user_part(user), identity::host(all));
        let nick = user.name.as_str();
        let Some(fields) = whoing.fields.as_deref().and_then(Fields::parse) else {
            let text = format!("0 {real}");
            return self.numeric_text(
                cx,
                n::RPL_WHOREPLY,
                &[channel, &name, host, server, nick, flags],
                &text,
            );
        };
        let account = identity::account(user).unwrap_or("0");
        let values = Values { channel, user: &name, host, server, nick, flags, idle: "0", account, real };
        let words = fields.pick(&values);
        match words.split_last().filter(|(last, _)| **last == real) {
            Some((last, rest)) => self.numeric_text(cx, n::RPL_WHOSPCRPL, rest, last),
            None => self.numeric(cx, n::RPL_WHOSPCRPL, &words),
        }
    }

    // --- WHOIS ---

    pub(super) fn whois(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let nick = if line.params.len() > 1 { line.param(1) } else { line.param(0) };
        if nick.is_empty() {
            return self.numeric(cx, n::ERR_NONICKNAMEGIVEN, &[]);
        }
        let nick = nick.split(',').next().unwrap_or_default();
        match UserName::new(nick) {
            Ok(name) => {
                let req = cx.query(Query::Whois(name));
                self.ask(req, Ask::Whois { nick: nick.to_owned() });
            }
            Err(_) => self.no_whois(nick, cx),
        }
    }

    pub(super) fn no_whois(&mut self, nick: &str, cx: &mut Cx<'_>) {
        self.numeric(cx, n::ERR_NOSUCHNICK, &[nick]);
        self.numeric(cx, n::RPL_ENDOFWHOIS, &[nick]);
    }

    /// It is known who that is; now the rooms.
    pub(super) fn whois_found(&mut self, whois: Arc<Whois>, nick: &str, cx: &mut Cx<'_>) {
        if whois.user.is_guest() && whois.sessions.is_empty() {
            return self.no_whois(nick, cx);
        }
        match self.meta_of(whois.user.id) {
            Some(query) => {
                let req = cx.query(query);
                self.ask(req, Ask::WhoisMeta { whois });
            }
            None => self.whois_rooms(whois, None, cx),
        }
    }

    pub(super) fn whois_rooms(&mut self, whois: Arc<Whois>, account: Option<Arc<Account>>, cx: &mut Cx<'_>) {
        // Rooms in memory are in no index.
        let rooms: Vec<_> = whois.rooms.iter().copied().take(WHO_ROOMS).collect();
        if rooms.is_empty() {
            return self.whois_members(whois, account, Vec::new(), cx);
        }
        self.gather(rooms.len());
        for (at, room) in rooms.into_iter().enumerate() {
            let req = cx.query(Query::Room(room));
            self.ask(req, Ask::WhoisRoom { whois: whois.clone(), account: account.clone(), at });
        }
    }

    /// A room in memory that the person is in.
    pub(super) fn whois_in_memory(
        &mut self,
        whois: Arc<Whois>,
        account: Option<Arc<Account>>,
        place: usize,
        view: Option<&RoomView>,
        cx: &mut Cx<'_>,
    ) {
        let Some((at, last)) = self.gathered() else { return };
        let hidden = marks_of(&whois).hidden;
        let word = view.and_then(|view| {
            let member = view.members.get(&whois.user.id).filter(|_| is_member(view, &whois.user))?;
            let common = self.rooms.contains_key(&view.id) || self.is_me(&whois.user);
            let name = view.head.name.as_ref().filter(|_| common || !(hidden || view.policy().secret))?;
            let rank = identity::prefixes(member.standing.power, member.voiced, false);
            Some(format!("{rank}{}", identity::channel(name)))
        });
        if let Some(slot) = self.gathers.get_mut(at).and_then(|g| g.words.get_mut(place)) {
            *slot = word;
        }
        if last {
            let more = self.gathers.remove(at).words.into_iter().flatten().collect();
            self.whois_members(whois, account, more, cx);
        }
    }

    fn whois_members(
        &mut self,
        whois: Arc<Whois>,
        account: Option<Arc<Account>>,
        more: Vec<String>,
        cx: &mut Cx<'_>,
    ) {
        let req = cx.query(Query::Memberships(whois.user.id));
        self.ask(req, Ask::WhoisRooms { whois, account, more });
    }

    pub(super) fn whois_lines(
        &mut self,
        whois: &Whois,
        rooms: &[Belonging],
        more: Vec<String>,
        values: Option<&Account>,
        cx: &mut Cx<'_>,
    ) {
        // Strangers see only the sessions that are open to all.
        let common = rooms.iter().any(|b| self.rooms.contains_key(&b.room));
        let known = common || self.is_me(&whois.user);
        let whois = &open_to(whois, known);
        let (all, server) = (cx.settings(), server(cx));
        let (nick, user, host) =
            (whois.user.name.to_string(), identity::user_part(&whois.user), identity::host(all));
        let real = whois.sessions.first().map(|s| s.display.clone()).filter(|d| !d.is_empty());
        let real = real.unwrap_or_else(|| Str::new(&nick));
        self.numeric_text(cx, n::RPL_WHOISUSER, &[&nick, &user, host, "*"], &real);
        let hidden = marks_of(whois).hidden;
        let mut channels: Vec<String> = rooms.iter().filter_map(|b| self.whois_room(b, hidden)).collect();
        channels.extend(more);
        if !channels.is_empty() {
            for words in super::super::cap::pack(channels, 300) {
                self.numeric_text(cx, n::RPL_WHOISCHANNELS, &[&nick], &words);
            }
        }
        let about =
            if all.irc.description.is_empty() { settings::network(all) } else { &all.irc.description };
        self.numeric_text(cx, n::RPL_WHOISSERVER, &[&nick, server], about);
        let marks = marks_of(whois);
        if marks.admin {
            self.numeric(cx, n::RPL_WHOISOPERATOR, &[&nick]);
        }
        if marks.bot {
            self.numeric(cx, n::RPL_WHOISBOT, &[&nick]);
        }
        if let Some(presence) = best(whois).filter(|p| p.show.is_away()) {
            self.numeric_text(cx, n::RPL_AWAY, &[&nick], &away_text(&presence));
        } else if whois.sessions.is_empty() {
            self.numeric_text(cx, n::RPL_AWAY, &[&nick], super::super::render::OFFLINE);
        }
        if let (true, Some(peer)) = (self.is_me(&whois.user), cx.peer()) {
            // Nobody else is told where somebody comes from.
            let (full, ip) = (format!("{user}@{host}"), peer.ip().to_canonical().to_string());
            self.numeric(cx, n::RPL_WHOISACTUALLY, &[&nick, &full, &ip]);
        }
        if let Some(account) = identity::account(&whois.user) {
            self.numeric(cx, n::RPL_WHOISACCOUNT, &[&nick, account]);
        }
        if !whois.sessions.is_empty() && whois.sessions.iter().all(|s| s.secure) {
            self.numeric(cx, n::RPL_WHOISSECURE, &[&nick]);
        }
        if let Some(session) = whois.sessions.iter().max_by_key(|s| s.active) {
            let idle = (cx.now().wall.0.saturating_sub(session.active.0) / 1000).to_string();
            let since = (session.since.0 / 1000).to_string();
            self.numeric(cx, n::RPL_WHOISIDLE, &[&nick, &idle, &since]);
        }
        if let Some(values) = values {
            self.meta_whois(&nick, values, cx);
        }
        self.numeric(cx, n::RPL_ENDOFWHOIS, &[&nick]);
    }

    /// A room that both are in, or a public one, with the rank.
    fn whois_room(&self, belonging: &Belonging, hidden: bool) -> Option<String> {
        let joined = belonging.member.standing.membership == Membership::Joined;
        let common = self.rooms.contains_key(&belonging.room);
        let visible = !(hidden || belonging.head.policy.secret) || common;
        let name = belonging.head.name.as_ref().filter(|_| joined && visible)?;
        let rank = identity::prefixes(belonging.member.standing.power, belonging.member.voiced, false);
        Some(format!("{rank}{}", identity::channel(name)))
    }

    pub(super) fn whowas(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let nick = line.param(0);
        if nick.is_empty() {
            return self.numeric(cx, n::ERR_NONICKNAMEGIVEN, &[]);
        }
        let count = line.param(1).parse().ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
        match UserName::new(nick) {
            Ok(name) => {
                let req = cx.query(Query::Gone(name));
                self.ask(req, Ask::Whowas { nick: nick.to_owned(), count });
            }
            Err(_) => self.whowas_lines(nick, &[], 0, cx),
        }
    }

    /// Who was there, the latest first.
    pub(super) fn whowas_lines(&mut self, nick: &str, gone: &[Gone], count: usize, cx: &mut Cx<'_>) {
        let (all, server) = (cx.settings(), server(cx));
        if gone.is_empty() {
            self.numeric(cx, n::ERR_WASNOSUCHNICK, &[nick]);
        }
        for Gone { last, until } in gone.iter().take(count) {
            let (name, user) = (last.user.name.as_str(), identity::user_part(&last.user));
            let real = if last.display.is_empty() { name } else { &last.display };
            self.numeric_text(cx, n::RPL_WHOWASUSER, &[name, &user, identity::host(all), "*"], real);
            let until = stamp::words(until.0);
            self.numeric_text(cx, n::RPL_WHOISSERVER, &[name, server], &until);
        }
        self.numeric(cx, n::RPL_ENDOFWHOWAS, &[nick]);
    }

    // --- ISON, USERHOST ---

    pub(super) fn ison(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let nicks = line.params.iter().flat_map(|p| p.split(' ')).filter(|nick| !nick.is_empty());
        let nicks: Vec<String> = nicks.take(NICKS_MAX).map(str::to_owned).collect();
        self.ask_here(nicks, false, cx);
    }

    pub(super) fn userhost(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let nicks: Vec<String> = line.params.iter().take(5).map(|p| p.to_string()).collect();
        self.ask_here(nicks, true, cx);
    }

    fn ask_here(&mut self, nicks: Vec<String>, hosts: bool, cx: &mut Cx<'_>) {
        let names: Vec<UserName> = nicks.iter().filter_map(|nick| UserName::new(nick).ok()).collect();
        if names.is_empty() {
            let numeric = if hosts { n::RPL_USERHOST } else { n::RPL_ISON };
            return self.numeric_text(cx, numeric, &[], "");
        }
        self.gather(names.len());
        for (at, name) in names.into_iter().enumerate() {
            let req = cx.query(Query::Whois(name));
            self.ask(req, Ask::Here { at, hosts });
        }
    }

    pub(super) fn here(&mut self, whois: Option<&Whois>, place: usize, hosts: bool, cx: &mut Cx<'_>) {
        let Some((at, last)) = self.gathered() else { return };
        let known = whois.is_some_and(|w| self.is_me(&w.user));
        let whois = whois.map(|w| open_to(w, known));
        if let Some(whois) = whois.as_ref().filter(|w| !w.sessions.is_empty()) {
            let nick = whois.user.name.as_str();
            let word = if hosts {
                let away = best(whois).is_none_or(|p| p.show.is_away());
                let oper = if marks_of(whois).admin { "*" } else { "" };
                let mark = if away { '-' } else { '+' };
                let (user, host) = (identity::user_part(&whois.user), identity::host(cx.settings()));
                format!("{nick}{oper}={mark}{user}@{host}")
            } else {
                nick.to_owned()
            };
            if let Some(slot) = self.gathers.get_mut(at).and_then(|g| g.words.get_mut(place)) {
                *slot = Some(word);
            }
        }
        if last {
            let words: Vec<String> = self.gathers.remove(at).words.into_iter().flatten().collect();
            let numeric = if hosts { n::RPL_USERHOST } else { n::RPL_ISON };
            self.numeric_text(cx, numeric, &[], &words.join(" "));
        }
    }

    // --- oneself ---

    pub(super) fn set_away(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        if self.user.is_none() && self.stage == Stage::Registered {
            return self.account_required("AWAY", cx);
        }
        let text = cut(line.param(0), AWAY_MAX);
        self.away = (!text.is_empty()).then(|| Str::new(text));
        let numeric = if self.away.is_some() { n::RPL_NOWAWAY } else { n::RPL_UNAWAY };
        self.numeric(cx, numeric, &[]);
        cx.presence(self.presence());
    }

    pub(super) fn setname(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let real = line.param(0);
        if real.is_empty() || real.len() > REAL_MAX {
            return self.fail(cx, "SETNAME", "INVALID_REALNAME", &[], "That is no real name");
        }
        self.real = Str::name(real);
        cx.display(self.real.clone());
        self.store_name(cx);
        if self.caps.has(Cap::Setname) {
            let prefix = self.prefix(cx.settings());
            let line = one(|w| {
                w.source(&prefix).command("SETNAME").last(real);
            });
            self.emit(&line, cx);
        }
    }

    /// The display name is the account's, on every protocol.
    fn store_name(&mut self, cx: &mut Cx<'_>) {
        let Some(user) = self.user.clone() else { return };
        let values = vec![(Str::new(DISPLAY_NAME), Octets::from(self.real.as_bytes().to_vec()))];
        cx.show_attrs(values.clone());
        let act = Act::SetAttrs { values, tell: Audience::Own, native: None };
        cx.command(Command::by(&user, EntityId::Account(user.id), act), false);
    }

    fn is_me(&self, user: &User) -> bool {
        self.user.as_ref().is_some_and(|me| me.id == user.id)
    }

    /// Whether the session's user belongs to a room.
    pub(super) fn belongs(&self, view: &RoomView) -> bool {
        self.user.as_ref().is_some_and(|user| is_member(view, user))
    }
}

/// Somebody as the asker may see: strangers see only sessions that are open to all.
pub(super) fn open_to(whois: &Whois, known: bool) -> Whois {
    let mut shown = whois.clone();
    shown.sessions.retain(|session| known || session.presence.marks.open);
    shown
}

/// The best presence of somebody's sessions.
fn best(whois: &Whois) -> Option<Presence> {
    Presence::best(whois.sessions.iter().map(|s| s.presence.clone()))
}

/// What is said of somebody's sessions and of the account.
fn marks_of(whois: &Whois) -> Marks {
    let marks = best(whois).map(|p| p.marks).unwrap_or_default();
    Marks { admin: marks.admin || whois.admin, ..marks }
}

fn flags(away: bool, marks: Marks, rank: &str) -> String {
    let (oper, bot) = (if marks.admin { "*" } else { "" }, if marks.bot { BOT } else { "" });
    format!("{}{oper}{rank}{bot}", if away { 'G' } else { 'H' })
}
