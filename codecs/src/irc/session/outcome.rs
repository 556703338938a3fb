//! What came of requests: values and refusals, by what was asked.

use lavina_core::event::Event;
use lavina_core::ids::RoomId;
use lavina_core::name::UserName;
use lavina_core::policy::Membership;
use lavina_core::query::Value;
use lavina_core::refusal::Refusal;

use super::super::numeric as n;
use super::answer::Ask;
use super::history::dialog_targets;
use super::{Irc, identity};
use crate::account::DISPLAY_NAME;
use crate::session::Cx;

impl Irc {
    /// A good answer that is no entry of one's own.
    pub(super) fn value(&mut self, ask: Ask, value: Value, cx: &mut Cx<'_>) {
        match (ask, value) {
            (Ask::Join { channel, names }, value) => self.join_value(&value, &channel, names, cx),
            (Ask::Arrived { channel, names }, Value::Room(view)) => {
                self.after_join(view, &channel, names, cx)
            }
            (Ask::Names { channel, all }, Value::Room(view)) => {
                self.names_answer(Some(&view), &channel, &all, cx);
            }
            (Ask::Topic { channel }, Value::Room(view)) => self.topic_answer(&view, &channel, cx),
            (Ask::Kick(kicking), Value::Room(view)) => self.kick_in(&view, &kicking, cx),
            (Ask::Modes(modes), Value::Room(view)) => self.modes_in(&view, &modes, cx),
            (Ask::Who(whoing), Value::Room(view)) => self.who_in(&view, &whoing, cx),
            (Ask::WhoMask(whoing), Value::Room(view)) => {
                let seen = self.belongs(&view).then_some(&*view);
                self.who_in_masked(seen, &whoing, cx);
            }
            (Ask::WhoOne(whoing), Value::Whois(whois)) => self.who_one(Some(&whois), &whoing, cx),
            (Ask::Whois { nick }, Value::Whois(whois)) => self.whois_found(whois, &nick, cx),
            (Ask::WhoisMeta { whois }, Value::Account(account)) => self.whois_rooms(whois, Some(account), cx),
            (Ask::WhoisRooms { whois, account, more }, Value::Memberships(rooms)) => {
                self.whois_lines(&whois, &rooms, more, account.as_deref(), cx);
            }
            (Ask::WhoisRoom { whois, account, at }, Value::Room(view)) => {
                self.whois_in_memory(whois, account, at, Some(&view), cx);
            }
            (Ask::Silence, Value::Account(account)) => self.silence_list(&account, cx),
            (Ask::Silenced { changes }, _) => self.silenced(&changes, cx),
            (Ask::MetaTarget(meta), Value::Whois(whois)) => self.meta_user(*meta, whois.user.clone(), cx),
            (Ask::MetaTarget(meta), Value::Room(view)) => self.meta_room(*meta, &view, cx),
            (Ask::MetaAccount { meta, user }, Value::Account(account)) => {
                self.meta_account(*meta, &user, &account, cx);
            }
            (Ask::MetaSet { meta, changes }, _) => self.meta_set(&meta, &changes, cx),
            (Ask::MetaRoomSet { meta }, _) => self.meta_room_set(&meta, None, cx),
            (Ask::MetaMember { user, tags }, Value::Account(account)) => {
                self.meta_member(&user, Some(&account), &tags, cx);
            }
            (Ask::MetaBurst, Value::Account(account)) => self.meta_own(Some(&account), cx),
            (Ask::Here { at, hosts }, Value::Whois(whois)) => self.here(Some(&whois), at, hosts, cx),
            (Ask::Speak(speech), Value::Whois(whois)) => self.speak_to_found(&speech, &whois, cx),
            (Ask::NotThere { channel, nick }, _) => {
                self.numeric(cx, n::ERR_USERNOTINCHANNEL, &[&nick, &channel])
            }
            (Ask::Invite { channel, .. }, Value::Whois(whois)) => self.invite_found(&whois, &channel, cx),
            (Ask::Invited { channel, nick }, Value::Event(event)) => {
                self.invited(&event, &channel, &nick, cx)
            }
            (Ask::Knocked { channel }, _) => self.numeric(cx, n::RPL_KNOCKDLVR, &[&channel]),
            (Ask::Counts { burst }, Value::Counts(counts)) => self.counts(Some(counts), burst, cx),
            (Ask::List(listing), Value::Directory(rooms)) => self.listed(&rooms, *listing, cx),
            (Ask::Memberships, Value::Memberships(all)) => self.memberships(&all, cx),
            (Ask::Invitations, Value::Memberships(all)) => {
                for belonging in all.iter().filter(|b| b.member.standing.membership == Membership::Invited) {
                    if let Some(name) = &belonging.head.name {
                        self.numeric(cx, n::RPL_INVITELIST, &[&identity::channel(name)]);
                    }
                }
                self.numeric(cx, n::RPL_ENDOFINVITELIST, &[]);
            }
            (Ask::HistoryOf(page), Value::Id(id)) => self.history_of(RoomId(id), *page, cx),
            (Ask::HistoryOf(page), Value::Whois(whois)) => self.history_with(&whois.user, *page, cx),
            (Ask::History { room, page }, Value::Events(read)) => self.history(room, *page, &read, cx),
            (Ask::TargetDialogs, Value::Dialogs(dialogs)) => self.target_found(dialog_targets(&dialogs), cx),
            (Ask::TargetRoom { channel }, Value::Events(read)) => {
                let found = read.entries.iter().map(|e| (e.at.0, channel.clone())).collect();
                self.target_found(found, cx);
            }
            (Ask::Missed { channel }, Value::Events(read)) => {
                self.show_missed(read.entries.iter(), Some(&channel), cx);
            }
            (Ask::MissedDialogs, Value::Feed(read)) => {
                let me = self.user.as_ref().map(|user| user.id);
                let others = |event: &Event| !me.is_some_and(|me| event.by.is(me));
                let entries = read.entries.iter().filter(|(_, event)| others(event));
                let new = self.overlap.missed(entries.map(|(pos, _)| *pos).collect());
                let new = read.entries.iter().filter(|(pos, _)| new.contains(pos));
                self.show_missed(new.map(|(_, event)| event), None, cx);
            }
            (Ask::Device, Value::Account(account)) => {
                self.learn_seen(&account.attrs, cx);
                self.learn_always_on(&account.attrs, cx);
                let name = account.attrs.get_key_value(DISPLAY_NAME);
                self.learn_name(
                    &name.map(|(k, v)| (k.clone(), v.clone())).into_iter().collect::<Vec<_>>(),
                    cx,
                );
                self.ask_memberships(cx);
            }
            (Ask::RegisterChannel { channel }, Value::Room(view)) => {
                self.channel_registered(&view, &channel, cx)
            }
            (Ask::MarkOf(marking), Value::Id(id)) => self.mark_found(RoomId(id), *marking, cx),
            (Ask::MarkOf(marking), Value::Whois(whois)) => self.mark_with(whois.user.id, *marking, cx),
            (Ask::MarkAt { room, marking }, Value::Events(read)) => {
                self.mark_set(room, *marking, Ok(read.entries.last()), cx);
            }
            (Ask::Marked { room, marking }, _) => self.mark_ask(room, *marking, cx),
            (Ask::Mark { room, marking }, Value::Account(account)) => {
                self.mark_read(room, *marking, Some(&account), cx);
            }
            (Ask::MarkTime { marking }, Value::Events(read)) => {
                self.mark_known(*marking, read.entries.last().map(|event| event.at), cx);
            }
            (Ask::MarkDialog { room, mark }, Value::Dialogs(dialogs)) => {
                self.mark_dialog(room, mark, &dialogs, cx);
            }
            (Ask::CtcpIn { channel, message }, Value::Room(view)) => {
                self.ctcp_in(&view, &channel, message, cx);
            }
            (Ask::Kill { nick, reason }, Value::Whois(whois)) => self.kill_found(&whois, &nick, &reason, cx),
            (Ask::Whowas { nick, count }, Value::Gone(gone)) => self.whowas_lines(&nick, &gone, count, cx),
            (Ask::Register(registering), value) => self.registered(&registering, &value, cx),
            // It is being attached to the room: what comes with that shows the entry.
            (Ask::Said { .. } | Ask::Redact { .. }, Value::Event(event))
                if self.awaited.contains_key(&event.room) => {}
            // Not attached to the room: the entry alone answers.
            (ask @ (Ask::Said { .. } | Ask::Redact { .. }), Value::Event(event)) => {
                self.own_event(&event, &ask, cx)
            }
            _ => {}
        }
    }

    /// A refusal.
    pub(super) fn refused(&mut self, ask: Ask, refusal: &Refusal, cx: &mut Cx<'_>) {
        match ask {
            Ask::Join { channel, .. } => self.not_joined(&channel, refusal, cx),
            Ask::Part { channel } => self.not_acted(&channel, "", refusal, cx),
            Ask::Acted { channel, nick } | Ask::Invited { channel, nick } => {
                self.not_acted(&channel, &nick, refusal, cx);
            }
            Ask::Names { channel, all } => self.names_answer(None, &channel, &all, cx),
            Ask::Topic { channel } => self.not_acted(&channel, "", refusal, cx),
            Ask::Kick(kicking) => self.not_acted(&kicking.channel, &kicking.nick, refusal, cx),
            Ask::Modes(modes) => self.not_acted(&modes.channel, "", refusal, cx),
            Ask::Who(whoing) => self.numeric(cx, n::RPL_ENDOFWHO, &[&whoing.mask]),
            Ask::WhoMask(whoing) => self.who_in_masked(None, &whoing, cx),
            Ask::WhoOne(whoing) => self.who_one(None, &whoing, cx),
            Ask::Whois { nick } => self.no_whois(&nick, cx),
            Ask::WhoisMeta { whois } => self.whois_rooms(whois, None, cx),
            Ask::WhoisRooms { whois, account, more } => {
                self.whois_lines(&whois, &[], more, account.as_deref(), cx);
            }
            Ask::WhoisRoom { whois, account, at } => self.whois_in_memory(whois, account, at, None, cx),
            Ask::Silence => self.numeric(cx, n::RPL_ENDOFSILELIST, &[]),
            Ask::Silenced { .. } => self.other_refusal("", refusal, cx),
            Ask::MetaTarget(meta) | Ask::MetaAccount { meta, .. } => self.meta_no_target(&meta, cx),
            Ask::MetaSet { meta, .. } | Ask::MetaRoomSet { meta } => {
                self.meta_room_set(&meta, Some(refusal), cx);
            }
            Ask::MetaMember { user, tags } => self.meta_member(&user, None, &tags, cx),
            Ask::MetaBurst => self.meta_own(None, cx),
            Ask::Here { at, hosts } => self.here(None, at, hosts, cx),
            Ask::Speak(speech) => self.no_such_target(&speech, refusal, cx),
            Ask::Said { target, quiet } => self.not_said(&target, quiet, refusal, cx),
            Ask::Redact { target, id } => self.not_redacted(&target, id, refusal, cx),
            Ask::NotThere { nick, .. } => self.numeric(cx, n::ERR_NOSUCHNICK, &[&nick]),
            Ask::Invite { channel, nick } => self.not_acted(&channel, &nick, refusal, cx),
            Ask::Knocked { channel } => match refusal {
                Refusal::AlreadyMember => self.numeric(cx, n::ERR_KNOCKONCHAN, &[&channel]),
                Refusal::Forbidden | Refusal::Invalid(_) => self.numeric(cx, n::ERR_CHANOPEN, &[&channel]),
                _ => self.not_joined(&channel, refusal, cx),
            },
            Ask::Counts { burst } => self.counts(None, burst, cx),
            Ask::HistoryOf(page) | Ask::History { page, .. } => self.history_refused(&page, refusal, cx),
            Ask::TargetDialogs | Ask::TargetRoom { .. } => self.target_found(Vec::new(), cx),
            Ask::Register(registering) => self.not_registered(registering.name.as_str(), refusal, cx),
            Ask::Device => self.ask_memberships(cx),
            Ask::List(_) => self.numeric(cx, n::RPL_LISTEND, &[]),
            Ask::RegisterChannel { channel } => self.not_acted(&channel, "", refusal, cx),
            Ask::MarkOf(marking) => self.mark_unknown(&marking, cx),
            Ask::MarkAt { room, marking } => self.mark_set(room, *marking, Err(refusal), cx),
            Ask::Marked { room, marking } => self.mark_ask(room, *marking, cx),
            Ask::Mark { room, marking } => self.mark_read(room, *marking, None, cx),
            Ask::MarkTime { marking } => self.mark_known(*marking, None, cx),
            Ask::CtcpIn { channel, .. } => self.not_said(&channel, false, refusal, cx),
            Ask::Kill { nick, .. } | Ask::Killed { nick } => self.numeric(cx, n::ERR_NOSUCHNICK, &[&nick]),
            Ask::Whowas { nick, .. } => self.whowas_lines(&nick, &[], 0, cx),
            Ask::Typing { to } => self.not_said(to.name.as_str(), true, refusal, cx),
            Ask::Arrived { .. }
            | Ask::MarkDialog { .. }
            | Ask::Memberships
            | Ask::Invitations
            | Ask::Missed { .. }
            | Ask::MissedDialogs
            | Ask::Respell => {}
        }
    }

    /// A refusal that no numeric is made for.
    pub(super) fn other_refusal(&mut self, target: &str, refusal: &Refusal, cx: &mut Cx<'_>) {
        let text = match refusal {
            Refusal::Busy => "The server is busy; try again soon",
            Refusal::StoreDown => "Nothing can be stored at the moment; try again soon",
            Refusal::StoreFull => "The server's store is full; tell its operator",
            Refusal::Stale => "Somebody else changed that at the same moment; try again",
            Refusal::TooLong => "That is too long",
            Refusal::TooMany => "There are too many of these",
            Refusal::Unreachable => "Nobody is there to take that",
            Refusal::NotMember | Refusal::NoSuchRoom => {
                return self.numeric(cx, n::ERR_NOSUCHCHANNEL, &[target]);
            }
            Refusal::Invalid(what) | Refusal::Unsupported(what) => what,
            _ => "That is not possible",
        };
        let target = if target.is_empty() { "*" } else { target };
        self.numeric_text(cx, n::ERR_UNKNOWNERROR, &[target], text);
    }

    fn no_such_target(&mut self, speech: &super::speak::Speech, refusal: &Refusal, cx: &mut Cx<'_>) {
        let known = UserName::new(speech.nick()).is_ok();
        match refusal {
            _ if speech.is_quiet() => {}
            Refusal::NoSuchUser => self.numeric(cx, n::ERR_NOSUCHNICK, &[speech.nick()]),
            _ if known => self.other_refusal(speech.nick(), refusal, cx),
            _ => self.numeric(cx, n::ERR_NOSUCHNICK, &[speech.nick()]),
        }
    }
}
