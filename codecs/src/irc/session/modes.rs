//! MODE: of channels, and of oneself.

use std::collections::BTreeMap;

use lavina_core::command::{Act, Command, EntityId};
use lavina_core::ids::AccountId;
use lavina_core::name::{User, UserName};
use lavina_core::policy::{MaskEntry, MaskKind, Member, Membership, Policy, power};
use lavina_core::query::RoomView;
use lavina_core::text::Str;

use super::super::limits::MASK_MAX;
use super::super::message::Line;
use super::super::mode::{self, Change, Kind, Mode, USER_MODES};
use super::super::numeric as n;
use super::super::render::{ban_mask, mask_letter, mask_text};
use super::super::{casemap, mask, rules};
use super::answer::{Ask, line as one};
use super::channels::{is_member, may_see};
use super::manage::member_named;
use super::{Irc, identity};
use crate::session::Cx;

/// A MODE command that waits for its channel.
#[derive(Debug)]
pub(super) struct Modes {
    pub(super) channel: String,
    params: Vec<String>,
}

/// What a MODE command comes to.
struct Wanted {
    policy: Policy,
    letters: String,
    add: Vec<MaskEntry>,
    remove: Vec<(MaskKind, Str)>,
    /// Members whose rank changes, as they will be.
    ranks: BTreeMap<AccountId, Member>,
    acts: Vec<(Act, String)>,
}

impl Irc {
    pub(super) fn mode_command(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let target = line.param(0);
        if !casemap::is_channel(target) {
            return self.user_mode(line, cx);
        }
        match self.view_of(target) {
            Some(query) => {
                let params = line.params.iter().skip(1).map(|p| p.to_string()).collect();
                let req = cx.query(query);
                self.ask(req, Ask::Modes(Box::new(Modes { channel: target.to_owned(), params })));
            }
            None => self.numeric(cx, n::ERR_NOSUCHCHANNEL, &[target]),
        }
    }

    /// It is known what the channel is like.
    pub(super) fn modes_in(&mut self, view: &RoomView, modes: &Modes, cx: &mut Cx<'_>) {
        let channel = view.head.name.as_ref().map_or_else(|| modes.channel.clone(), identity::channel);
        let Some(me) = self.user.clone() else { return };
        if !may_see(view, Some(&me)) {
            return self.numeric(cx, n::ERR_NOTONCHANNEL, &[&channel]);
        }
        if modes.params.is_empty() {
            return self.show_modes(view, &channel, is_member(view, &me), cx);
        }
        let params: Vec<&str> = modes.params.iter().map(String::as_str).collect();
        let mut wanted = Wanted {
            policy: view.policy().clone(),
            letters: String::new(),
            add: Vec::new(),
            remove: Vec::new(),
            ranks: BTreeMap::new(),
            acts: Vec::new(),
        };
        for change in mode::parse(&params) {
            match change {
                Change::Show(mode) => self.show_list(view, &channel, mode, cx),
                Change::Unknown(letter) => self.numeric(cx, n::ERR_UNKNOWNMODE, &[&letter.to_string()]),
                Change::Missing(mode) => {
                    let letter = mode.letter.to_string();
                    let text = "You must specify a parameter";
                    self.numeric_text(cx, n::ERR_INVALIDMODEPARAM, &[&channel, &letter, "*"], text);
                }
                Change::Set { on, mode, param } => {
                    self.want(view, &channel, (on, mode, param), &mut wanted, cx)
                }
            }
        }
        self.carry_out_modes(view, &channel, &me, wanted, cx);
    }

    /// Adds one change to what is wanted.
    fn want(
        &mut self,
        view: &RoomView,
        channel: &str,
        (on, mode, param): (bool, Mode, &str),
        wanted: &mut Wanted,
        cx: &mut Cx<'_>,
    ) {
        match mode.kind {
            Kind::Rank(_) => match view_member(view, param) {
                Some(member) => {
                    let member = wanted.ranks.entry(member.user.id).or_insert_with(|| member.clone());
                    rank(member, on, mode.letter, view.policy());
                }
                None if UserName::new(param).is_err() => self.numeric(cx, n::ERR_NOSUCHNICK, &[param]),
                None => self.not_there(param, channel, cx),
            },
            Kind::List => self.want_mask(view, channel, (on, mode, param), wanted, cx),
            // Rooms that are stored are for their members.
            Kind::Flag if mode.letter == 'n' && !on && !view.id.is_transient() => {}
            Kind::Key | Kind::Limit | Kind::Flag => {
                match rules::set(&wanted.policy, on, mode.letter, param) {
                    Some(policy) => {
                        wanted.policy = policy;
                        wanted.letters.push(mode.letter);
                    }
                    None => {
                        let letter = mode.letter.to_string();
                        let text = "That is not a value for this mode";
                        // A key is told to nobody, not even when it can be none.
                        let shown = if mode.kind == Kind::Key { "*" } else { param };
                        self.numeric_text(cx, n::ERR_INVALIDMODEPARAM, &[channel, &letter, shown], text);
                    }
                }
            }
        }
    }

    fn want_mask(
        &mut self,
        view: &RoomView,
        channel: &str,
        (on, mode, param): (bool, Mode, &str),
        wanted: &mut Wanted,
        cx: &mut Cx<'_>,
    ) {
        let mute = param.strip_prefix("m:");
        let kind = match (mode.letter, mute) {
            ('b', Some(_)) => MaskKind::Mute,
            ('e', Some(_)) => MaskKind::MuteExcept,
            ('e', None) => MaskKind::BanExcept,
            ('I', _) => MaskKind::InviteExcept,
            _ => MaskKind::Ban,
        };
        let pattern = mute.unwrap_or(param);
        // The user part of an account is its name, which no guest's can be (IRCv3 account-extban).
        let extban = pattern.strip_prefix("a:");
        let by_account = extban.map(|name| format!("*!{}@*", name.to_ascii_lowercase()));
        let pattern = by_account.as_deref().unwrap_or(pattern);
        if pattern.is_empty() || pattern.len() > MASK_MAX {
            let letter = mode.letter.to_string();
            return self.numeric_text(
                cx,
                n::ERR_INVALIDMODEPARAM,
                &[channel, &letter, "*"],
                "That is no mask",
            );
        }
        let full = mask::full(pattern);
        // A ban of one account is that account's, whatever it is called later.
        let account = extban.or(full.strip_suffix("!*@*")).filter(|_| kind == MaskKind::Ban);
        let account = account.and_then(|name| UserName::new(name).ok());
        let known = account.and_then(|name| view.members.values().find(|m| m.user.name == name));
        let banned = known.filter(|m| m.standing.membership == Membership::Banned);
        match (on, known.filter(|m| !m.user.is_guest())) {
            (true, Some(member)) if banned.is_none() => {
                wanted.acts.push((Act::Ban { user: member.user.clone(), reason: None }, param.to_owned()));
            }
            (true, Some(_)) => {}
            (false, _) if banned.is_some() => {
                let user = banned.map(|m| m.user.clone());
                wanted.acts.extend(user.map(|user| (Act::Unban { user }, param.to_owned())));
            }
            (true, None) => {
                let by = Str::new(self.prefix(cx.settings()));
                let there = |m: &MaskEntry| m.kind == kind && casemap::same(&m.mask, &full);
                if !view.masks.iter().any(there) {
                    wanted.add.push(MaskEntry { kind, mask: Str::new(&full), by, at: cx.now().wall });
                }
            }
            (false, _) => {
                let there = view.masks.iter().find(|m| m.kind == kind && casemap::same(&m.mask, &full));
                wanted.remove.extend(there.map(|m| (kind, m.mask.clone())));
            }
        }
    }

    fn carry_out_modes(
        &mut self,
        view: &RoomView,
        channel: &str,
        me: &User,
        wanted: Wanted,
        cx: &mut Cx<'_>,
    ) {
        let mut acts = wanted.acts;
        if wanted.policy != *view.policy() {
            let (from, to) = (Box::new(view.policy().clone()), Box::new(wanted.policy));
            acts.insert(0, (Act::SetPolicy { from, to }, wanted.letters));
        }
        for member in wanted.ranks.into_values() {
            let before = view.members.get(&member.user.id);
            if before.is_none_or(|b| b.standing != member.standing || b.voiced != member.voiced) {
                let (power, voiced) = (member.standing.power, Some(member.voiced));
                let nick = member.user.name.to_string();
                acts.push((Act::SetPower { user: member.user, power, voiced, reason: None }, nick));
            }
        }
        if !wanted.add.is_empty() || !wanted.remove.is_empty() {
            acts.push((Act::SetMasks { add: wanted.add, remove: wanted.remove }, "b".to_owned()));
        }
        for (act, nick) in acts {
            let req = cx.command(Command::by(me, EntityId::Room(view.id), act), false);
            self.ask(req, Ask::Acted { channel: channel.to_owned(), nick });
        }
    }

    /// 324 and 329.
    fn show_modes(&mut self, view: &RoomView, channel: &str, member: bool, cx: &mut Cx<'_>) {
        let modes = rules::modes(view.policy(), member);
        let borrowed: Vec<_> =
            modes.iter().map(|(on, letter, param)| (*on, *letter, param.as_str())).collect();
        let (letters, params) = mode::compose(&borrowed);
        let mut words = vec![channel, if letters.is_empty() { "+" } else { &letters }];
        words.extend(params);
        self.numeric(cx, n::RPL_CHANNELMODEIS, &words);
        let made = (view.head.created.0 / 1000).to_string();
        self.numeric(cx, n::RPL_CREATIONTIME, &[channel, &made]);
    }

    /// A list of masks.
    fn show_list(&mut self, view: &RoomView, channel: &str, mode: Mode, cx: &mut Cx<'_>) {
        let (item, end) = match mode.letter {
            'e' => (n::RPL_EXCEPTLIST, n::RPL_ENDOFEXCEPTLIST),
            'I' => (n::RPL_INVEXLIST, n::RPL_ENDOFINVEXLIST),
            _ => (n::RPL_BANLIST, n::RPL_ENDOFBANLIST),
        };
        if mode.letter == 'b' {
            for member in view.members.values().filter(|m| m.standing.membership == Membership::Banned) {
                let by = member.by.as_ref().map_or("*", |by| by.name.as_str()).to_owned();
                let at = (member.at.0 / 1000).to_string();
                self.numeric(cx, item, &[channel, &ban_mask(&member.user), &by, &at]);
            }
        }
        for entry in view.masks.iter().filter(|entry| mask_letter(entry.kind) == mode.letter) {
            let at = (entry.at.0 / 1000).to_string();
            self.numeric(cx, item, &[channel, &mask_text(entry), &entry.by, &at]);
        }
        self.numeric(cx, end, &[channel]);
    }

    /// MODE of a nick: one's own.
    fn user_mode(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let nick = line.param(0);
        if !casemap::same(nick, self.target()) {
            return match UserName::new(nick) {
                Ok(_) => self.numeric(cx, n::ERR_USERSDONTMATCH, &[]),
                Err(_) => self.numeric(cx, n::ERR_NOSUCHNICK, &[nick]),
            };
        }
        let (mut on, mut done, mut unknown) = (true, Vec::new(), false);
        for letter in line.param(1).chars() {
            match letter {
                '+' => on = true,
                '-' => on = false,
                letter => match self.set_user_mode(letter, on) {
                    Some(true) => done.push((on, letter, "")),
                    Some(false) => {}
                    None => unknown = true,
                },
            }
        }
        if unknown {
            self.numeric(cx, n::ERR_UMODEUNKNOWNFLAG, &[]);
        }
        if line.params.len() < 2 {
            let modes = self.user_modes();
            return self.numeric(cx, n::RPL_UMODEIS, &[&modes]);
        }
        if !done.is_empty() {
            cx.presence(self.presence());
            let (letters, _) = mode::compose(&done);
            let prefix = self.prefix(cx.settings());
            let line = one(|w| {
                w.source(&prefix).command("MODE").param(self.target()).last(&letters);
            });
            self.emit(&line, cx);
        }
    }

    /// Sets one of the session's own modes: whether that changed something; `None` for one there is not.
    fn set_user_mode(&mut self, letter: char, on: bool) -> Option<bool> {
        let flag = match letter {
            'i' => &mut self.invisible,
            'w' => &mut self.wallops,
            'B' => &mut self.bot,
            'R' => &mut self.doorkeeper.accounts,
            'T' => &mut self.doorkeeper.plain,
            // These come by OPER and by a login; they can be given up, or not.
            'o' if !on => &mut self.oper,
            'o' | 'r' => return Some(false),
            letter if USER_MODES.contains(letter) => return Some(false),
            _ => return None,
        };
        Some(std::mem::replace(flag, on) != on)
    }

    pub(super) fn user_modes(&self) -> String {
        let logged_in = self.user.as_ref().is_some_and(|user| !user.is_guest());
        let set = [
            (self.bot, 'B'),
            (self.doorkeeper.accounts, 'R'),
            (self.doorkeeper.plain, 'T'),
            (self.invisible, 'i'),
            (self.oper, 'o'),
            (logged_in, 'r'),
            (self.wallops, 'w'),
        ];
        std::iter::once('+').chain(set.into_iter().filter(|(on, _)| *on).map(|(_, letter)| letter)).collect()
    }
}

fn view_member<'v>(view: &'v RoomView, nick: &str) -> Option<&'v Member> {
    member_named(view, nick).and_then(|user| view.members.get(&user.id))
}

/// What `+X` or `-X` of a rank does to a member (interop: a raise goes to the least power of the band; only the band
/// held can be taken; voice under a higher rank is remembered, and is where taking that rank falls to).
fn rank(member: &mut Member, on: bool, letter: char, policy: &Policy) {
    let (held, least) = (member.standing.power, identity::power_of(letter));
    match (on, letter) {
        (_, 'v') if power::band(held) > power::VOICE => member.voiced = on,
        (true, _) if held < least => {
            member.voiced |= power::band(held) == power::VOICE && letter != 'v';
            member.standing.power = least;
        }
        (false, _) if power::band(held) == least => {
            let falls = if member.voiced && letter != 'v' { power::VOICE } else { policy.levels.users };
            member.standing.power = falls;
            member.voiced = false;
        }
        _ => {}
    }
}
