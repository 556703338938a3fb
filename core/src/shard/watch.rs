//! Names that are watched: who is seen under them, and who was.
//!
//! The account's shard tells the name's shard whenever what strangers see of its sessions changes; the
//! name tells its watchers. All of it is live: after a restart it is there again as sessions are.

use super::{Desk, Shards};
use crate::{
    chat::Entity,
    command::EntityId,
    ids::{AccountId, SessionRef},
    mail::Mail,
    name::{NameKey, User, UserName},
    presence::{Gone, Presence, Show, Sighting},
    projection::Notice,
    text::Str,
    vecmap::VecMap,
};
use alloc::{collections::VecDeque, sync::Arc, vec::Vec};

/// People remembered that were there under one name; above, the oldest is forgotten. All of them are
/// forgotten when the name is put out of memory.
pub const GONE: usize = 16;

/// The live part of a name.
#[derive(Default)]
pub(super) struct Watch {
    watchers: VecMap<SessionRef, UserName>,
    now: Option<Arc<Sighting>>,
    hidden_from: Vec<Str>,
    gone: VecDeque<Gone>,
}

impl Watch {
    /// True: nobody watches and nobody is seen.
    pub(super) fn is_idle(&self) -> bool {
        self.watchers.is_empty() && self.now.is_none()
    }

    /// Who was there, the latest first.
    pub(super) fn gone(&self) -> Vec<Gone> {
        self.gone.iter().rev().cloned().collect()
    }
}

impl Shards {
    /// Tells the account's name what strangers see of it now, if that changed.
    pub(super) fn tell_name(&mut self, desk: &mut Desk<'_>, id: &EntityId, same: u64) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let account = match &slot.entity {
            Some(Entity::Account(a)) => Some(a),
            _ => None,
        };
        let open = |p: &Presence| p.marks.open && p.show != Show::Offline;
        let mut there = slot.live.sessions.values().filter(|s| s.presence.as_ref().is_some_and(open));
        let presence = Presence::best(there.clone().filter_map(|s| s.presence.clone()));
        let user = account.and_then(|a| a.user()).or_else(|| slot.live.user.as_deref().cloned());
        let display = there.next_back().map(|s| s.display.clone()).unwrap_or_default();
        let now = presence.zip(user).map(|(presence, user)| Arc::new(Sighting { user, presence, display }));
        let hidden_from = account.and_then(|a| a.head.as_ref()).map(|h| h.blocked.clone());
        let hidden_from = hidden_from.unwrap_or_default();
        let before = core::mem::replace(&mut slot.live.shown, now.clone());
        let mut tell = |user: &User, now: Option<Arc<Sighting>>, hidden_from: Vec<Str>| {
            let (name, of) = (user.name.clone(), user.id);
            let to = NameKey::User(name.clone()).shard(desk.settings.shards);
            desk.post.send_to_shard(to, Mail::Sighted { name, of, now, hidden_from, same });
        };
        match (before, now) {
            (None, None) => {}
            (Some(before), None) => tell(&before.user, None, hidden_from),
            (before, Some(now)) => {
                let user = now.user.clone();
                if let Some(before) = before.filter(|b| b.user.name != user.name) {
                    tell(&before.user, None, hidden_from.clone());
                }
                tell(&user, Some(now), hidden_from);
            }
        }
    }

    /// A session has another display name.
    pub(super) fn displayed(
        &mut self,
        desk: &mut Desk<'_>,
        id: &EntityId,
        session: SessionRef,
        display: Str,
        same: u64,
    ) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        if let Some(s) = slot.live.sessions.get_mut(&session) {
            s.display = display;
            self.tell_name(desk, id, same);
        }
    }

    /// The holder of a name is seen in another way: its watchers are told.
    pub(super) fn sighted(
        &mut self,
        desk: &mut Desk<'_>,
        id: &EntityId,
        of: AccountId,
        now: Option<Arc<Sighting>>,
        hidden_from: Vec<Str>,
        same: u64,
    ) {
        let (EntityId::Name(NameKey::User(name)), Some(slot)) = (id, self.slots.get_mut(id)) else { return };
        let watch = slot.live.watch.get_or_insert_default();
        // A guest that is told late to have left does not take the name's next holder along.
        if now.is_none() && watch.now.as_ref().is_some_and(|s| s.user.id != of) {
            return;
        }
        let before = core::mem::replace(&mut watch.now, now);
        let hidden_before = core::mem::replace(&mut watch.hidden_from, hidden_from);
        let replaced = match (&before, &watch.now) {
            (Some(before), Some(now)) => before.user != now.user,
            (Some(_), None) => true,
            _ => false,
        };
        if let Some(last) = before.as_ref().filter(|_| replaced) {
            watch.gone.push_back(Gone { last: (**last).clone(), until: desk.now.wall });
            if watch.gone.len() > GONE {
                watch.gone.pop_front();
            }
        }
        let visible = |seen: &Option<Arc<Sighting>>, hidden: &[Str], by: &UserName| {
            let hides = hidden.iter().any(|h| h.eq_ignore_ascii_case(by.as_str()));
            seen.clone().filter(|_| !hides)
        };
        for (session, by) in watch.watchers.iter() {
            let was = visible(&before, &hidden_before, by);
            let is = visible(&watch.now, &watch.hidden_from, by);
            let same_still = match (&was, &is) {
                (Some(a), Some(b)) => a.same(b),
                (None, None) => true,
                _ => false,
            };
            if !same_still {
                let (name, before, now) = (name.clone(), was, is);
                let notice = Notice::Watched { name, before, now, first: false, same };
                desk.ledger.emit(session.worker, Mail::NoticeTo(*session, Arc::new(notice)));
            }
        }
    }

    /// A session watches the name, or no longer; the first answer is what is seen now.
    pub(super) fn watch(
        &mut self,
        desk: &mut Desk<'_>,
        id: &EntityId,
        session: SessionRef,
        by: UserName,
        on: bool,
    ) {
        let (EntityId::Name(NameKey::User(name)), Some(slot)) = (id, self.slots.get_mut(id)) else { return };
        let watch = slot.live.watch.get_or_insert_default();
        if !on {
            watch.watchers.remove(&session);
            return;
        }
        let hides = watch.hidden_from.iter().any(|h| h.eq_ignore_ascii_case(by.as_str()));
        let now = watch.now.clone().filter(|_| !hides);
        watch.watchers.insert(session, by);
        let notice = Notice::Watched { name: name.clone(), before: None, now, first: true, same: 0 };
        desk.ledger.emit(session.worker, Mail::NoticeTo(session, Arc::new(notice)));
    }
}
