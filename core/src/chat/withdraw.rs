//! Withdrawing what is no message: facts of an open room, and reactions of others.

use super::{
    DONE, Done, Draft, Verdict,
    room::{Room, need},
};
use crate::{
    event::{Event, FactRef, Native, Undone, What},
    ids::{AccountId, Pos},
    policy::Member,
    refusal::Refusal,
    row::{Change, FactRow},
    text::{Octets, Rich, Str},
};
use alloc::{boxed::Box, sync::Arc};
use minicbor::{Decode, Encode};

/// What is to be withdrawn that is no message.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Withdraw {
    /// The entry that set or added it.
    #[n(0)]
    pub target: Pos,
    /// Why, for people.
    #[n(1)]
    pub reason: Option<Str>,
    /// The wire form, for speakers of the same protocol.
    #[n(2)]
    pub native: Option<Native>,
    /// For a fact of the entry: which, and what is left of it.
    #[n(3)]
    pub fact: Option<Hollow>,
    /// For an entry that withdraws something itself: what is left of its wire form. What it withdrew stays so.
    #[n(4)]
    pub left: Option<Native>,
}

/// What is left of a fact that is withdrawn, and of what it meant for everybody if it still holds. The protocol that made
/// it says so.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hollow {
    /// Which of the entry's facts.
    #[n(0)]
    pub nth: u8,
    /// The content that is left.
    #[n(1)]
    pub content: Octets,
    /// The room's value that it is, and what is left of that.
    #[n(2)]
    pub attr: Option<(Str, Octets)>,
    /// True: it was the topic.
    #[n(3)]
    pub topic: bool,
    /// True: it was the title.
    #[n(4)]
    pub title: bool,
    /// How this member shows itself.
    #[n(5)]
    pub shown: Option<AccountId>,
}

impl Room {
    /// Withdraws a fact, or somebody's reaction. Who may: who stated it, and whoever has the power; in a dialog nobody.
    pub(super) fn withdraw(&mut self, wish: &Withdraw, draft: &mut Draft<'_>) -> Done {
        let by = draft.entry.command.by.clone();
        let own = self.member_power(&by)?;
        if self.is_dialog() {
            return Err(Refusal::Forbidden);
        }
        let entry = self.entry(wish.target).cloned().ok_or(Refusal::NoSuchItem)?;
        let reads = |u: &crate::name::User| self.readable(u.id).is_some_and(|r| r.has(entry.pos));
        if by.user().is_some_and(|u| !reads(u)) {
            return Err(Refusal::NoSuchItem);
        }
        let author = match &wish.fact {
            Some(hollow) => {
                let fact = entry.facts.get(usize::from(hollow.nth)).ok_or(Refusal::NoSuchItem)?;
                fact.by.as_ref().unwrap_or(&entry.by)
            }
            None => &entry.by,
        };
        if *author != by {
            need(own, self.policy().levels.redact)?;
        }
        match (&wish.fact, &wish.left) {
            (Some(hollow), _) => self.withdraw_fact(&entry, hollow, wish, draft),
            (None, Some(left)) => self.withdraw_words(&entry, left, wish, draft),
            (None, None) => self.withdraw_reaction(&entry, wish, draft),
        }
    }

    /// Of an entry that withdraws something the reason goes.
    fn withdraw_words(
        &mut self,
        entry: &Event,
        left: &Native,
        wish: &Withdraw,
        draft: &mut Draft<'_>,
    ) -> Done {
        let mut rest = entry.clone();
        let hash = draft.settings.seals.filter(|_| entry.seal(0).is_some());
        let hash = hash.and_then(|seals| (seals.left)(self, entry, 0, draft.settings));
        if let Some(sealed) = &mut rest.sealed {
            if let Some(hash) = hash.filter(|_| sealed.left(0).is_none()) {
                sealed.gone.push((0, hash));
            }
            sealed.content = sealed.content.take().map(|_| left.bytes.clone());
        }
        match &mut rest.what {
            What::Redacted { reason, native, .. } | What::Withdrawn { reason, native, .. } => {
                (*reason, *native) = (None, draft.native(Some(left)));
            }
            What::Reacted { on: false, native, .. } => *native = draft.native(Some(left)),
            _ => return Err(Refusal::NoSuchItem),
        }
        let rest = Arc::new(rest);
        if let Some(place) = self.tail.iter_mut().find(|e| e.pos == rest.pos) {
            *place = rest.clone();
        }
        draft.change(Change::Rewrite(rest));
        self.note(wish, None, None, draft)
    }

    fn withdraw_fact(
        &mut self,
        entry: &Arc<Event>,
        hollow: &Hollow,
        wish: &Withdraw,
        draft: &mut Draft<'_>,
    ) -> Done {
        let mut left = (**entry).clone();
        let hash = draft.settings.seals.filter(|_| entry.seal(hollow.nth).is_some());
        let hash = hash.and_then(|seals| (seals.left)(self, entry, hollow.nth, draft.settings));
        if let (Some(sealed), Some(hash)) = (&mut left.sealed, hash)
            && sealed.left(usize::from(hollow.nth)).is_none()
        {
            sealed.gone.push((hollow.nth, hash));
        }
        let fact = left.facts.get_mut(usize::from(hollow.nth)).ok_or(Refusal::NoSuchItem)?;
        if fact.gone {
            return Ok(DONE);
        }
        (fact.content, fact.gone) = (hollow.content.clone(), true);
        let fact = fact.clone();
        let left = Arc::new(left);
        if let Some(place) = self.tail.iter_mut().find(|e| e.pos == left.pos) {
            *place = left.clone();
        }
        draft.change(Change::Rewrite(left));
        let place = (fact.kind.clone(), fact.key.clone());
        let at = FactRef { pos: entry.pos, nth: hollow.nth };
        if let Some(row) = self.facts.get(&place).filter(|row| row.at == at) {
            let row = FactRow { fact, ..(**row).clone() };
            draft.change(Change::Fact(self.id, row.clone()));
            Arc::make_mut(&mut self.facts).insert(place, Arc::new(row));
            self.forget_meaning(hollow, draft)?;
        }
        self.note(wish, Some(hollow.nth), None, draft)
    }

    /// What the fact meant for everybody holds no more. The entries that say so set no facts: this one does not count as
    /// stated anew.
    fn forget_meaning(&mut self, hollow: &Hollow, draft: &mut Draft<'_>) -> Result<(), Refusal> {
        draft.factless = true;
        if let Some((key, value)) = hollow.attr.as_ref().filter(|(key, _)| self.attrs.contains_key(key)) {
            self.attrs.insert(key.clone(), value.clone());
            draft.change(Change::RoomAttr(self.id, key.clone(), value.clone()));
        }
        if let Some(row) = hollow.shown.and_then(|id| self.members.get(&id)) {
            let row = Member { display: None, native: None, reason: None, ..row.clone() };
            self.put_member(draft, row.user.id, Some(row));
        }
        if hollow.topic {
            self.put_topic(&Rich::default(), draft)?;
        }
        let before = self.policy();
        if hollow.title && !before.title.is_empty() {
            let after = crate::policy::Policy { title: Default::default(), ..before.clone() };
            self.edit_head(draft, |h| h.policy = after.clone());
            self.emit(draft, What::Policy { before: Box::new(before), after: Box::new(after) });
        }
        Ok(())
    }

    fn withdraw_reaction(&mut self, entry: &Arc<Event>, wish: &Withdraw, draft: &mut Draft<'_>) -> Done {
        let What::Reacted { target, key, on: true, .. } = &entry.what else {
            return Err(Refusal::NoSuchItem);
        };
        let (mut now, by) = (self.reactions(*target, &entry.by), entry.by.clone());
        if self.knows_since(*target) && !now.contains(key) {
            return Ok(DONE);
        }
        now.retain(|k| k != key);
        self.note(wish, None, Some(Box::new(Undone { by, target: *target, key: key.clone(), now })), draft)
    }

    fn note(
        &mut self,
        wish: &Withdraw,
        nth: Option<u8>,
        reaction: Option<Box<Undone>>,
        draft: &mut Draft<'_>,
    ) -> Done {
        let native = draft.native(wish.native.as_ref());
        let (target, reason) = (wish.target, wish.reason.clone());
        self.emit(draft, What::Withdrawn { target, reason, native, nth, reaction });
        Ok(Verdict::ByEvent)
    }
}

impl Event {
    /// The withdrawal of a reaction as what it is where everybody withdraws his own: the reactor takes it back.
    pub fn taken_back(&self) -> Option<Event> {
        let What::Withdrawn { reaction: Some(undone), .. } = &self.what else { return None };
        let Undone { by, target, key, now } = (**undone).clone();
        let what = What::Reacted { target, key, on: false, now, native: None, target_client_id: None };
        Some(Event { by, what, facts: alloc::vec::Vec::new(), sealed: None, ..self.clone() })
    }
}
