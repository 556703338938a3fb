//! MARKREAD (IRCv3 draft/read-marker): how far the account has read, the same on all its sessions and protocols.

use std::sync::Arc;

use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::event::Event;
use lavina_core::ids::{Pos, RoomId};
use lavina_core::name::{NameKey, UserName};
use lavina_core::query::{Bound, Only, Query, Range, RoomView};
use lavina_core::refusal::Refusal;
use lavina_core::row::ReadMark;
use lavina_core::time::UnixMillis;

use super::super::cap::Cap;
use super::super::message::Line;
use super::super::{casemap, stamp};
use super::answer::{Ask, line as one};
use super::channels::room_name;
use super::{Irc, server};
use crate::session::Cx;

/// A read mark being looked up or set.
#[derive(Debug)]
pub(super) struct Marking {
    /// As the line names it.
    target: String,
    /// What it is to be set to.
    set: Option<UnixMillis>,
    then: Then,
}

/// What follows once the mark is told.
#[derive(Debug)]
enum Then {
    Nothing,
    /// The lines after a JOIN.
    Names(Arc<RoomView>, bool),
}

impl Irc {
    pub(super) fn markread(&mut self, line: &Line<'_>, cx: &mut Cx<'_>) {
        let (target, wanted) = (line.param(0), line.param(1));
        if target.is_empty() {
            return self.fail(cx, "MARKREAD", "NEED_MORE_PARAMS", &[], "Missing parameters");
        }
        let set = match wanted.strip_prefix("timestamp=").map(stamp::read) {
            Some(Some(at)) => Some(UnixMillis(at)),
            None if wanted.is_empty() => None,
            _ => return self.fail(cx, "MARKREAD", "INVALID_PARAMS", &[wanted], "Invalid timestamp"),
        };
        let marking = Marking { target: target.to_owned(), set, then: Then::Nothing };
        if let Some(room) = self.room(target) {
            return self.mark_found(room, marking, cx);
        }
        let query = if casemap::is_channel(target) {
            room_name(target).map(|name| Query::Resolve(NameKey::Room(name)))
        } else {
            UserName::new(target).ok().map(Query::Whois)
        };
        match query {
            Some(query) => {
                let req = cx.query(query);
                self.ask(req, Ask::MarkOf(Box::new(marking)));
            }
            None => self.mark_unknown(&marking, cx),
        }
    }

    /// There is no such place.
    pub(super) fn mark_unknown(&mut self, marking: &Marking, cx: &mut Cx<'_>) {
        if marking.set.is_some() {
            let text = "There is no such target";
            return self.fail(cx, "MARKREAD", "INVALID_PARAMS", &[&marking.target], text);
        }
        self.mark_line(&marking.target, None, cx);
    }

    /// It is known with whom the dialog is.
    pub(super) fn mark_with(&mut self, with: lavina_core::ids::AccountId, marking: Marking, cx: &mut Cx<'_>) {
        if let Some(me) = self.user.as_ref().map(|user| user.id) {
            self.mark_found(RoomId::dialog(me, with, cx.core_settings().shards), marking, cx);
        }
    }

    /// It is known which room that is.
    pub(super) fn mark_found(&mut self, room: RoomId, marking: Marking, cx: &mut Cx<'_>) {
        let Some(me) = self.user.as_ref().map(|user| user.id) else { return };
        let Some(at) = marking.set else { return self.mark_ask(room, marking, cx) };
        let before = Bound::Time(UnixMillis(at.0.saturating_add(1)));
        let range = Range { before, only: Only::All, ..Range::latest(1) };
        let req = cx.query(Query::History { room, reader: me, range });
        self.ask(req, Ask::MarkAt { room, marking: Box::new(marking) });
    }

    /// The last entry at or before the time is known; a dialog without any entry has none.
    pub(super) fn mark_set(
        &mut self,
        room: RoomId,
        marking: Marking,
        entry: Result<Option<&Arc<Event>>, &Refusal>,
        cx: &mut Cx<'_>,
    ) {
        let (Some(user), Some(at)) = (self.user.clone(), marking.set) else { return };
        let pos = match entry {
            Ok(entry) => entry.map_or(Pos::ZERO, |event| event.pos),
            Err(Refusal::NoSuchRoom) if !casemap::is_channel(&marking.target) => Pos::ZERO,
            Err(_) => return self.mark_unknown(&marking, cx),
        };
        let act = Act::MarkRead { room, pos, at };
        let req = cx.command(Command::by(&user, EntityId::Account(user.id), act), false);
        self.ask(req, Ask::Marked { room, marking: Box::new(Marking { set: None, ..marking }) });
    }

    /// Asks for the mark as it is now.
    pub(super) fn mark_ask(&mut self, room: RoomId, marking: Marking, cx: &mut Cx<'_>) {
        let Some(me) = self.user.as_ref().map(|user| user.id) else { return };
        let req = cx.query(Query::Account(me));
        self.ask(req, Ask::Mark { room, marking: Box::new(marking) });
    }

    /// The account is read: its mark is told, or the time of the entry it names is looked up first.
    pub(super) fn mark_read(
        &mut self,
        room: RoomId,
        marking: Marking,
        account: Option<&Account>,
        cx: &mut Cx<'_>,
    ) {
        let mark = account.and_then(|a| a.read.get(&room)).copied().unwrap_or_default();
        let Some(me) = self.user.as_ref().map(|user| user.id) else { return };
        if mark.at.0 != 0 || mark.pos == Pos::ZERO {
            return self.mark_known(marking, Some(mark.at).filter(|at| at.0 != 0), cx);
        }
        let (after, before) = (Bound::Pos(mark.pos.back()), Bound::Pos(mark.pos.next()));
        let range = Range { after, before, only: Only::All, ..Range::latest(1) };
        let req = cx.query(Query::History { room, reader: me, range });
        self.ask(req, Ask::MarkTime { marking: Box::new(marking) });
    }

    /// The time of the mark is known.
    pub(super) fn mark_known(&mut self, marking: Marking, at: Option<UnixMillis>, cx: &mut Cx<'_>) {
        self.mark_line(&marking.target, at, cx);
        if let Then::Names(view, names) = marking.then {
            self.names_after_join(&view, &marking.target, names, cx);
        }
    }

    fn mark_line(&mut self, target: &str, at: Option<UnixMillis>, cx: &mut Cx<'_>) {
        let server = server(cx);
        let at = at.map_or_else(|| "*".to_owned(), |at| format!("timestamp={}", stamp::write(at.0)));
        let line = one(|w| {
            w.source(server).command("MARKREAD").param(target).param(&at).end();
        });
        self.emit(&line, cx);
    }

    /// After a JOIN: the mark comes before the names.
    pub(super) fn mark_after_join(
        &mut self,
        view: Arc<RoomView>,
        channel: &str,
        names: bool,
        cx: &mut Cx<'_>,
    ) {
        let room = view.id;
        let marking = Marking { target: channel.to_owned(), set: None, then: Then::Names(view, names) };
        self.mark_ask(room, marking, cx);
    }

    /// Another session of the account has read on.
    pub(super) fn read_on(&mut self, room: RoomId, mark: ReadMark, cx: &mut Cx<'_>) {
        if !self.caps.has(Cap::ReadMarker) {
            return;
        }
        // A dialog is named by the other party, which only the account's dialogs tell.
        if let Some(target) = self.channel_name(room).map(str::to_owned) {
            let marking = Marking { target, set: None, then: Then::Nothing };
            return self.mark_moved(marking, room, mark, cx);
        }
        if let Some(me) = self.user.as_ref().map(|user| user.id) {
            let (after, before) = (UnixMillis(0), UnixMillis(u64::MAX >> 1));
            let limit = DIALOGS_SEARCHED;
            let req = cx.query(Query::Dialogs { account: me, after, before, limit });
            self.ask(req, Ask::MarkDialog { room, mark });
        }
    }

    pub(super) fn mark_moved(&mut self, marking: Marking, room: RoomId, mark: ReadMark, cx: &mut Cx<'_>) {
        if mark.at.0 != 0 {
            return self.mark_known(marking, Some(mark.at), cx);
        }
        self.mark_ask(room, marking, cx);
    }

    /// The dialogs are read: the one that was read on is told by its other party.
    pub(super) fn mark_dialog(
        &mut self,
        room: RoomId,
        mark: ReadMark,
        dialogs: &[(lavina_core::name::User, Arc<Event>)],
        cx: &mut Cx<'_>,
    ) {
        if let Some((with, _)) = dialogs.iter().find(|(_, event)| event.room == room) {
            let marking = Marking { target: with.name.to_string(), set: None, then: Then::Nothing };
            self.mark_moved(marking, room, mark, cx);
        }
    }
}

/// Dialogs looked through for the one whose mark moved, the latest first; in an older one the client learns of it when
/// it asks.
const DIALOGS_SEARCHED: u32 = 200;
