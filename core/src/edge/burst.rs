//! Entries of a room that come right behind each other are shown together.
//!
//! The entries that were stored by one commit come one after the other. They are encoded as they come, once for
//! each wire class, and go to the sessions when something else is to be done: one walk over the room for all of
//! them. A session with nothing else to send does not even get a copy; it sends from the bytes that all share.

use super::{Edge, session::Group};
use crate::{
    event::{Event, What},
    ids::{Origin, RoomId},
    name::RoomName,
    outbox::Begin,
    post::Post,
    presence::Presence,
    projection::{Pieces, Projection, Shown, WireClass},
};
use alloc::{sync::Arc, vec::Vec};

/// Bytes of encodings after which a burst ends: what a session that does not read keeps of the shared bytes.
const BURST: usize = 64 * 1024;

/// What is encoded and not yet with the sessions.
#[derive(Default)]
pub(super) struct Burst {
    room: Option<RoomId>,
    entries: u32,
    classes: Vec<Class>,
    /// Sessions that have some of it already: how many entries, each knows itself.
    ahead: Vec<u32>,
}

struct Class {
    class: WireClass,
    pieces: Pieces,
    /// Where each entry begins.
    begins: Vec<Begin>,
}

impl Class {
    /// Where the entries from this one on begin.
    fn from(&self, entry: u32) -> Begin {
        self.begins.get(entry as usize).copied().unwrap_or_else(|| self.pieces.place())
    }
}

impl Burst {
    fn is_full(&self) -> bool {
        self.classes.iter().any(|c| c.pieces.bytes.len() >= BURST)
    }

    fn class(&mut self, class: WireClass) -> &mut Class {
        let at = self.classes.iter().position(|c| c.class == class).unwrap_or_else(|| {
            // One that had no entries so far had no sessions either.
            let begins = alloc::vec![Begin::default(); self.entries as usize];
            self.classes.push(Class { class, pieces: Pieces::default(), begins });
            self.classes.len() - 1
        });
        &mut self.classes[at]
    }
}

impl<P: Projection> Edge<P> {
    /// True when an entry changes nothing about who is in the room, so that others can come before it is shown.
    pub(super) fn is_calm(event: &Event, grant: Option<u64>, same: u64) -> bool {
        let ends = matches!(event.what, What::Destroyed { .. });
        grant.is_none() && same == 0 && event.subject().is_none() && !ends
    }

    /// One more entry. Whoever made it sees it at once, behind those before it.
    pub(super) fn calm_event(
        &mut self,
        name: Option<&RoomName>,
        event: &Arc<Event>,
        origin: Option<Origin>,
        here: Option<&Presence>,
        post: &mut Post,
    ) {
        if self.burst.room != Some(event.room) || self.burst.is_full() {
            self.end_burst();
            self.burst.room = Some(event.room);
        }
        let own = origin.and_then(|o| Some((self.find(o.session)?, o.req)));
        if let Some((slot, _)) = own {
            self.catch_up(slot);
        }
        if let Some(attached) = self.rooms.get(&event.room) {
            for (group, members) in &attached.groups {
                let Group::Class(class) = *group else { continue };
                if !members.is_empty() {
                    let Class { pieces, begins, .. } = self.burst.class(class);
                    begins.push(pieces.place());
                    P::encode(class, name, Shown::Event(event, here), &self.settings, pieces);
                }
            }
        }
        self.burst.entries += 1;
        if let Some((slot, _)) = own {
            self.is_ahead(slot);
        }
        self.each(event, here, own.map(|o| o.0), None);
        if let Some((slot, req)) = own {
            self.seen_own(slot, req, event, false);
            self.after_answer(slot, post);
        }
    }

    /// What the burst has for this session so far is written to it: something else is about to be.
    pub(super) fn catch_up(&mut self, slot: u32) {
        let Some(room) = self.burst.room.filter(|_| self.burst.entries > 0) else { return };
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let Some(place) = s.core.rooms.get(&room).and_then(|a| a.place) else { return };
        if let Group::Class(class) = place.group
            && s.ahead < self.burst.entries
            && !s.ended
        {
            let class = self.burst.class(class);
            let projection = &s.projection;
            s.core.out.write_from(&class.pieces, class.from(s.ahead), |hole| projection.hole(hole));
            self.is_ahead(slot);
        }
    }

    /// The session has all entries of the burst.
    fn is_ahead(&mut self, slot: u32) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        if s.ahead == 0 {
            self.burst.ahead.push(slot);
        }
        s.ahead = self.burst.entries;
    }

    /// The entries go to all sessions of the room.
    pub(crate) fn end_burst(&mut self) {
        let Some(room) = self.burst.room.take() else { return };
        let limit = self.core_settings().limits.outbox;
        let Edge { burst, rooms, sessions, dirty, .. } = self;
        let mut over = Vec::new();
        let groups = rooms.get(&room).map(|r| r.groups.as_slice()).unwrap_or_default();
        for (group, members) in groups {
            let Group::Class(class) = *group else { continue };
            let Some(class) = burst.classes.iter().find(|c| c.class == class) else { continue };
            if class.pieces.is_empty() {
                continue;
            }
            let shared = class.pieces.is_alike().then(|| Arc::from(class.pieces.bytes.as_slice()));
            for &slot in members {
                let Some(s) = sessions.get_mut(slot) else { continue };
                if s.ended || s.ahead == burst.entries {
                    continue;
                }
                let lent = s.ahead == 0 && shared.as_ref().is_some_and(|bytes| s.core.out.lend(bytes));
                if !lent {
                    let projection = &s.projection;
                    s.core.out.write_from(&class.pieces, class.from(s.ahead), |hole| projection.hole(hole));
                }
                if s.held() > limit {
                    over.push(slot);
                } else if !s.dirty && s.conn.is_some() {
                    s.dirty = true;
                    dirty.push_back(slot);
                }
            }
        }
        for slot in burst.ahead.drain(..) {
            if let Some(s) = sessions.get_mut(slot) {
                s.ahead = 0;
            }
        }
        burst.entries = 0;
        burst.classes.retain_mut(|class| {
            // One without entries this time is not kept for the next.
            let used = !class.begins.is_empty();
            class.begins.clear();
            class.pieces.clear();
            used
        });
        for slot in over {
            self.mark(slot);
        }
    }
}
