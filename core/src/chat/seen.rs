//! How far members have read, as far as they let the others know. It is no entry of the log: the row of the member says
//! it, and who is there is told.

use super::{DONE, Done, Draft, KEY_MAX, at_most, room::Room};
use crate::{
    act::Act,
    command::EntityId,
    event::LiveWhat,
    policy::{Member, Membership, ReadTo},
    projection::Notice,
    refusal::Refusal,
    text::Str,
    time::UnixMillis,
};
use alloc::vec::Vec;

/// Parts of a room of which it is known how far one member has read; of more those read first are forgotten.
pub const SEEN: usize = 16;

impl Room {
    /// A member has read up to the message that its author's client named so.
    pub(super) fn see_named(&mut self, name: &Str, at: UnixMillis, draft: &mut Draft<'_>) -> Done {
        let user = draft.entry.command.by.user().ok_or(Refusal::NotMember)?.id;
        let Some(pos) = self.place_of(name, &draft.entry.command.by) else { return Ok(DONE) };
        let done = self.see(&ReadTo { pos, at, ..ReadTo::default() }, draft)?;
        let act = Act::MarkRead { room: self.id, pos, at: UnixMillis::default() };
        draft.follow(EntityId::Account(user), act);
        Ok(done)
    }

    /// A member has read up to there.
    pub(super) fn see(&mut self, seen: &ReadTo, draft: &mut Draft<'_>) -> Done {
        let user = draft.entry.command.by.user().cloned().ok_or(Refusal::NotMember)?;
        at_most(&seen.thread, KEY_MAX)?;
        at_most(&seen.name, KEY_MAX)?;
        let row = self.members.get(&user.id).filter(|_| self.is_joined(user.id));
        let row = row.cloned().ok_or(Refusal::NotMember)?;
        if seen.pos > self.last || row.seen.iter().any(|s| s.thread == seen.thread && s.pos >= seen.pos) {
            return Ok(DONE);
        }
        let mut all: Vec<ReadTo> = row.seen.iter().filter(|s| s.thread != seen.thread).cloned().collect();
        if all.len() >= SEEN
            && let Some(first) = all.iter().enumerate().min_by_key(|(_, s)| (s.at, s.pos)).map(|(i, _)| i)
        {
            all.remove(first);
        }
        let mut seen = seen.clone();
        if seen.name.is_empty() {
            seen.seal = self.entry(seen.pos).and_then(|event| event.seal(0));
        }
        all.push(seen.clone());
        self.put_member(draft, user.id, Some(Member { seen: all, ..row }));
        match self.head.as_ref().and_then(|h| h.parties.clone()) {
            Some((a, b)) => {
                let notice = Notice::ReadBy { room: self.id, from: user, seen: seen.clone() };
                if a.id != b.id {
                    draft.tell(b.id, notice.clone());
                }
                draft.tell(a.id, notice);
            }
            None => {
                let joined = self.members.values().filter(|m| m.standing.membership == Membership::Joined);
                let members = u32::try_from(joined.count()).unwrap_or(u32::MAX);
                draft.out.live = Some(LiveWhat::Read { to: seen, members });
            }
        }
        Ok(DONE)
    }
}
