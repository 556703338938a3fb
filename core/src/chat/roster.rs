//! Contacts and presence subscriptions: the state machine of RFC 6121, section 3 and appendix A.
//!
//! The state is the pair of what the owner has with the contact (`to`, `ask`) and what the contact has
//! with the owner (`from`, `asked`), and the owner's approval given in advance (`approved`, section 3.4).
//! A step that changes nothing is still passed on where the tables of the appendix say so.

use super::{DONE, Done, Draft, KEY_MAX, Verdict, account::Account, at_most};
use crate::{
    command::Step,
    event::Native,
    ids::{AccountId, Pos},
    name::User,
    presence::Contact,
    projection::Notice,
    refusal::Refusal,
    row::Change,
    text::{Octets, Str},
};
use alloc::vec::Vec;

/// Groups a contact can be in; above: refused.
pub const CONTACT_GROUPS: usize = 64;

/// A contact's state without the names, for the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    to: bool,
    ask: bool,
    from: bool,
    asked: bool,
    approved: bool,
}

/// What a step comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    /// The state after.
    after: State,
    /// Outbound: passed on to the contact. Inbound: shown to the owner.
    deliver: bool,
    /// Inbound only: answered at once in the owner's name.
    grant: bool,
}

impl State {
    fn of(c: &Contact) -> State {
        State { to: c.to, ask: c.ask, from: c.from, asked: c.asked.is_some(), approved: c.approved }
    }

    /// A step of the owner (appendix A.2).
    fn outbound(self, step: Step) -> Move {
        let s = self;
        let (after, deliver) = match step {
            // A.2.1: always on its way; already granted, it only refreshes the other side.
            Step::Subscribe => (State { ask: !s.to, ..s }, true),
            // A.2.2
            Step::Unsubscribe => (State { to: false, ask: false, ..s }, true),
            // A.2.3: an answer to a request, or else an approval in advance, which nobody is told of.
            Step::Subscribed if s.asked => (State { from: true, asked: false, ..s }, true),
            Step::Subscribed if s.from => (s, false),
            Step::Subscribed => (State { approved: true, ..s }, false),
            // A.2.4: a request is denied, a subscription cancelled, an advance approval withdrawn.
            Step::Unsubscribed => {
                (State { from: false, asked: false, approved: false, ..s }, s.from || s.asked)
            }
        };
        Move { after, deliver, grant: false }
    }

    /// A step of the contact (appendix A.3).
    fn inbound(self, step: Step) -> Move {
        let s = self;
        let (after, deliver, grant) = match step {
            // A.3.1: who may see already, or was approved in advance, is answered at once; a request
            // that waits is not shown again.
            Step::Subscribe if s.from => (s, false, true),
            Step::Subscribe if s.approved => (State { from: true, asked: false, ..s }, false, true),
            Step::Subscribe => (State { asked: true, ..s }, !s.asked, false),
            // A.3.2: only what was asked for.
            Step::Unsubscribe => (State { from: false, asked: false, ..s }, s.from || s.asked, false),
            // A.3.3
            Step::Subscribed => (State { to: s.to || s.ask, ask: false, ..s }, s.ask, false),
            // A.3.4
            Step::Unsubscribed => (State { to: false, ask: false, ..s }, s.to || s.ask, false),
        };
        Move { after, deliver, grant }
    }
}

/// Puts the new state in. A request keeps its wire form while it waits; one without has an empty one.
fn put(contact: &mut Contact, after: State, native: Option<&Native>) {
    contact.to = after.to;
    contact.ask = after.ask;
    contact.from = after.from;
    contact.approved = after.approved;
    contact.asked = match (after.asked, contact.asked.take()) {
        (false, _) => None,
        (true, Some(old)) => Some(old),
        (true, None) => Some(native.cloned().unwrap_or(Native { protocol: 0, bytes: Octets::default() })),
    };
}

impl Account {
    /// The key of a contact: by account where it is one of ours, however it is spelled, else by address.
    fn contact_key(&self, address: &Str, account: Option<AccountId>) -> Option<Str> {
        if self.contacts.contains_key(address) {
            return Some(address.clone());
        }
        let account = account?;
        self.contacts.values().find(|c| c.account == Some(account)).map(|c| c.address.clone())
    }

    fn contact(&self, address: &Str, account: Option<AccountId>) -> Option<Contact> {
        self.contact_key(address, account).and_then(|k| self.contacts.get(&k).cloned())
    }

    /// Stores a contact, or removes one that nothing is left of; tells the owner's sessions what they
    /// can see of it.
    fn put_contact(&mut self, contact: Contact, always: bool, draft: &mut Draft<'_>) {
        let before = self.contacts.get(&contact.address).cloned();
        // A waiting request is no part of the list: its coming and going alone is not pushed (3.1.3).
        let seen = |c: &Contact| c.listed.then(|| Contact { asked: None, account: None, ..c.clone() });
        let (seen_before, seen_after) = (before.as_ref().and_then(seen), seen(&contact));
        let shown = seen_before != seen_after || (always && seen_after.is_some());
        let empty = !contact.listed && contact.asked.is_none();
        let address = contact.address.clone();
        if empty {
            if self.contacts.remove(&address).is_some() {
                draft.change(Change::Contact(self.id, address, None));
            }
        } else if before.as_ref() != Some(&contact) {
            self.contacts.insert(address.clone(), contact.clone());
            draft.change(Change::Contact(self.id, address, Some(contact.clone())));
        }
        if seen_before != seen_after {
            let version = draft.entry.first;
            self.edit_head(draft, |head| head.listed = version);
        }
        if shown {
            let version = self.head.as_ref().map_or(Pos::ZERO, |h| h.listed);
            draft.tell(self.id, Notice::Contact { removed: empty, contact, version });
        }
    }

    fn check_room_for(&self, key: Option<&Contact>, draft: &Draft<'_>) -> Result<(), Refusal> {
        match key {
            None if self.contacts.len() >= draft.settings.limits.contacts => Err(Refusal::TooMany),
            _ => Ok(()),
        }
    }

    pub(super) fn set_contact(
        &mut self,
        address: &Str,
        account: Option<AccountId>,
        name: Option<&Str>,
        groups: &[Str],
        draft: &mut Draft<'_>,
    ) -> Done {
        at_most(address, 3 * KEY_MAX)?;
        at_most(name.map_or("", Str::as_str), KEY_MAX)?;
        for group in groups {
            at_most(group, KEY_MAX)?;
        }
        if groups.len() > CONTACT_GROUPS {
            return Err(Refusal::TooMany);
        }
        let old = self.contact(address, account);
        self.check_room_for(old.as_ref(), draft)?;
        let old = old.unwrap_or_else(|| Contact::new(address.clone(), account));
        let contact = Contact {
            name: name.cloned(),
            groups: groups.to_vec(),
            listed: true,
            account: account.or(old.account),
            ..old
        };
        // A set is answered by the push even where it changed nothing (RFC 6121, section 2.3.2).
        self.put_contact(contact, true, draft);
        Ok(DONE)
    }

    pub(super) fn remove_contact(&mut self, address: &Str, draft: &mut Draft<'_>) -> Done {
        let contact = self.contact(address, None).ok_or(Refusal::NoSuchItem)?;
        if !contact.listed {
            return Err(Refusal::NoSuchItem);
        }
        // RFC 6121, section 2.5.2.
        if contact.to || contact.ask {
            self.pass(&contact, Step::Unsubscribe, None, draft);
        }
        if contact.from || contact.asked.is_some() {
            self.pass(&contact, Step::Unsubscribed, None, draft);
        }
        if contact.from
            && let Some(account) = contact.account
        {
            draft.out.show.push((account, false));
        }
        self.put_contact(Contact::new(contact.address, contact.account), true, draft);
        Ok(DONE)
    }

    /// A step of the owner. That the contact is nobody's address is not seen from the answer.
    pub(super) fn step(
        &mut self,
        address: &Str,
        account: Option<AccountId>,
        step: Step,
        native: Option<&Native>,
        draft: &mut Draft<'_>,
    ) -> Done {
        at_most(address, 3 * KEY_MAX)?;
        // Everybody sees himself.
        if account == Some(self.id) {
            return Ok(DONE);
        }
        let old = self.contact(address, account);
        let creates = matches!(step, Step::Subscribe | Step::Subscribed);
        if old.is_none() && creates {
            self.check_room_for(None, draft)?;
        }
        let mut contact = match old {
            Some(c) => c,
            None if creates => Contact::new(address.clone(), account),
            // Nothing to end; the contact may still believe otherwise.
            None => {
                let contact = Contact::new(address.clone(), account);
                if step == Step::Unsubscribe {
                    self.pass(&contact, step, native, draft);
                }
                return Ok(DONE);
            }
        };
        contact.account = account.or(contact.account);
        contact.listed |= creates;
        let before = State::of(&contact);
        let moved = before.outbound(step);
        put(&mut contact, moved.after, native);
        if moved.deliver {
            self.pass(&contact, step, native, draft);
        }
        self.shown(&contact, before, moved.after, draft);
        self.put_contact(contact, false, draft);
        Ok(DONE)
    }

    /// Somebody is welcome: approved, in advance if he has not asked yet, and asked for the same.
    pub(super) fn befriend(&mut self, with: &User, draft: &mut Draft<'_>) -> Done {
        let address = Str::new(with.name.folded());
        if self.blocks(&address) {
            return Err(Refusal::Blocked);
        }
        self.step(&address, Some(with.id), Step::Subscribed, None, draft)?;
        self.step(&address, Some(with.id), Step::Subscribe, None, draft)
    }

    /// A step of a contact.
    pub(super) fn step_from(
        &mut self,
        from: &User,
        step: Step,
        native: Option<&Native>,
        draft: &mut Draft<'_>,
    ) -> Done {
        let address = Str::new(from.name.folded());
        let old = self.contact(&address, Some(from.id));
        // A blocked one gets no answer and leaves no trace; neither does one too many.
        let full = step == Step::Subscribe && self.check_room_for(old.as_ref(), draft).is_err();
        if full || self.blocks(&address) || from.id == self.id {
            return Ok(Verdict::Silent);
        }
        let mut contact = match old {
            Some(c) => c,
            None if step == Step::Subscribe => Contact::new(address, Some(from.id)),
            None => return Ok(Verdict::Silent),
        };
        contact.account = Some(from.id);
        let before = State::of(&contact);
        let moved = before.inbound(step);
        put(&mut contact, moved.after, native);
        if moved.grant {
            self.pass(&contact, Step::Subscribed, None, draft);
        }
        self.shown(&contact, before, moved.after, draft);
        self.put_contact(contact, false, draft);
        if moved.deliver {
            draft.tell(self.id, Notice::Subscription { from: from.clone(), step, native: native.cloned() });
        }
        Ok(Verdict::Silent)
    }

    /// What the step means for presence.
    fn shown(&self, contact: &Contact, before: State, after: State, draft: &mut Draft<'_>) {
        let Some(account) = contact.account else { return };
        // One who may see it from now on asks for it himself, once his own side knows (`probe`).
        if before.from && !after.from && !self.blocks(&contact.address) {
            draft.out.show.push((account, false));
        }
        if !before.to && after.to {
            draft.out.probe.push(account);
        }
    }

    /// The contacts that may see this account's presence, in the order of their addresses.
    pub fn seen_by(&self) -> Vec<AccountId> {
        let seeing = self.contacts.values().filter(|c| c.from && !self.blocks(&c.address));
        seeing.filter_map(|c| c.account).collect()
    }
}
