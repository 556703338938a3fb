//! An account: credential, contacts, named values, feed.

use super::{DONE, Done, Draft, KEY_MAX, Verdict, at_most};
use crate::{
    command::{Act, Audience, EntityId, Step},
    event::{Actor, Event, Native},
    ids::{AccountId, Label, Pos, RoomId},
    media::{Held, MediaId},
    name::{User, UserName},
    presence::Contact,
    projection::{Notice, Revoked},
    query::Value,
    refusal::Refusal,
    row::{AccountHead, AccountRows, Change, ReadMark},
    text::{Octets, Str},
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec::Vec,
};

/// Feed entries remembered for recognising those derived again.
pub const FED: usize = 64;

/// Rooms with a read mark an account can have; above: refused.
pub const READ_MARKS: usize = 8_192;

/// The durable part of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Which.
    pub id: AccountId,
    /// Name, credential, flags; `None`: not made (yet).
    pub head: Option<AccountHead>,
    /// Named values.
    pub attrs: BTreeMap<Str, Octets>,
    /// Contacts by address.
    pub contacts: BTreeMap<Str, Contact>,
    /// The last entries seen.
    pub read: BTreeMap<RoomId, ReadMark>,
    /// The latest messages of the feed ([`FED`]), oldest first: recognises those derived again.
    pub fed: VecDeque<(RoomId, Pos)>,
    /// The letters that wait, by label, oldest first.
    pub letters: BTreeMap<Label, VecDeque<Pos>>,
    /// Uploads.
    pub media: BTreeMap<MediaId, Held>,
}

impl Account {
    /// Who it is; `None` before it is made.
    pub fn user(&self) -> Option<User> {
        self.head.as_ref().map(|h| User::new(self.id, h.name.clone()))
    }

    /// True when the account hides itself from this address, and it from itself.
    pub fn blocks(&self, address: &str) -> bool {
        self.head.as_ref().is_some_and(|h| h.blocked.iter().any(|b| b.eq_ignore_ascii_case(address)))
    }

    /// One that is not made.
    pub(super) fn fresh(id: AccountId) -> Account {
        Account {
            id,
            head: None,
            attrs: BTreeMap::new(),
            contacts: BTreeMap::new(),
            read: BTreeMap::new(),
            fed: VecDeque::new(),
            letters: BTreeMap::new(),
            media: BTreeMap::new(),
        }
    }

    /// From its rows.
    pub(super) fn load(id: AccountId, rows: AccountRows) -> Account {
        let mut fed: VecDeque<_> = rows.fed.into();
        while fed.len() > FED {
            fed.pop_front();
        }
        let mut letters: BTreeMap<Label, VecDeque<Pos>> = BTreeMap::new();
        for (label, pos) in rows.letters {
            letters.entry(label).or_default().push_back(pos);
        }
        Account {
            id,
            letters,
            head: Some(rows.head),
            attrs: rows.attrs.into_iter().collect(),
            contacts: rows.contacts.into_iter().map(|c| (c.address.clone(), c)).collect(),
            read: rows.read.into_iter().collect(),
            fed,
            media: rows.media.into_iter().collect(),
        }
    }

    /// True: not made. What is left then (a guest's feed) is only there to recognise repeats.
    pub(super) fn is_void(&self) -> bool {
        self.head.is_none() && self.read.is_empty() && self.attrs.is_empty()
    }

    pub(super) fn act(&mut self, draft: &mut Draft<'_>) -> Done {
        let command = &draft.entry.command;
        let server = command.by == Actor::Server;
        let made = self.head.as_ref().is_some_and(|h| !h.deleted);
        let by_others = matches!(command.act, Act::TakeAttr { .. } | Act::Deliver { .. });
        let blocked = command.by.user().is_some_and(|u| self.blocks(u.name.as_str()));
        match &command.act {
            Act::CreateAccount { .. }
            | Act::SetDisabled(_)
            | Act::SetAdmin(_)
            | Act::Feed { .. }
            | Act::SubscriptionFrom { .. }
            | Act::Befriend { .. }
                if !server =>
            {
                return Err(Refusal::Forbidden);
            }
            _ if by_others && blocked => return Err(Refusal::Blocked),
            _ if !server && !by_others && !command.by.is(self.id) => return Err(Refusal::Forbidden),
            Act::CreateAccount { name, credential, admin } => {
                return self.create(name, credential, *admin, draft);
            }
            // A guest is no account, but hears and reads.
            Act::Feed { .. } | Act::MarkRead { .. } | Act::SetAttrs { .. } if self.id.is_transient() => {}
            _ if !made => return Err(Refusal::NoSuchUser),
            _ => {}
        }
        match &command.act {
            Act::SetCredential(credential) => {
                self.edit_head(draft, |h| h.credential = credential.clone());
                draft.tell(self.id, Notice::Revoked(Revoked::Credential(None)));
                Ok(DONE)
            }
            Act::SetDisabled(disabled) => {
                if self.edit_head(draft, |h| h.disabled = *disabled) && *disabled {
                    draft.tell(self.id, Notice::Revoked(Revoked::Disabled));
                }
                Ok(DONE)
            }
            Act::SetAdmin(admin) => {
                self.edit_head(draft, |h| h.admin = *admin);
                Ok(DONE)
            }
            Act::DeleteAccount => self.delete(draft),
            Act::Respell(name) => self.respell(name, draft),
            // The shard does it, which knows where the rooms are.
            Act::Sweep { .. } => Ok(DONE),
            Act::SetAttrs { values, tell, native } => self.set_attrs(values, *tell, native.as_ref(), draft),
            Act::SetContact { address, account, name, groups } => {
                self.set_contact(address, *account, name.as_ref(), groups, draft)
            }
            Act::RemoveContact { address } => self.remove_contact(address, draft),
            Act::Subscription { address, account, step, native } => {
                self.step(address, *account, *step, native.as_ref(), draft)
            }
            Act::SubscriptionFrom { from, step, native } => {
                self.step_from(from, *step, native.as_ref(), draft)
            }
            Act::Befriend { with } => self.befriend(with, draft),
            Act::SetBlocked { add, remove, all } => self.set_blocked(add, remove, *all, draft),
            Act::Shelve { .. } | Act::TakeAttr { .. } | Act::Deliver { .. } | Act::Collect { .. } => {
                self.keep(&command.act, draft)
            }
            Act::Feed { room, event, with } => self.feed(*room, event, with, draft),
            Act::MarkRead { room, pos, at } => self.mark_read(*room, ReadMark { pos: *pos, at: *at }, draft),
            Act::ReserveMedia(id) => self.reserve_media(*id, draft),
            Act::AddMedia { id, content, reserved } => self.add_media(*id, content, *reserved, draft),
            Act::DropMedia(id) => self.drop_media(*id, draft),
            _ => Err(Refusal::Invalid("not an act of an account")),
        }
    }

    /// Changes the head, if that makes a difference.
    pub(super) fn edit_head(&mut self, draft: &mut Draft<'_>, edit: impl FnOnce(&mut AccountHead)) -> bool {
        let Some(head) = &mut self.head else { return false };
        let before = head.clone();
        edit(head);
        // Names are equal whatever their letter case, so the spelling is looked at too.
        let same = *head == before && head.name.same_spelling(&before.name);
        if !same {
            draft.change(Change::Account(self.id, Some(head.clone())));
        }
        !same
    }

    fn create(&mut self, name: &UserName, credential: &Octets, admin: bool, draft: &mut Draft<'_>) -> Done {
        match &self.head {
            // Sent again after a crash.
            Some(head) if head.name == *name && !head.deleted => {}
            Some(_) => return Err(Refusal::NameTaken),
            None => {
                let head = AccountHead {
                    name: name.clone(),
                    credential: credential.clone(),
                    admin,
                    disabled: false,
                    deleted: false,
                    created: draft.entry.at,
                    blocked: Vec::new(),
                    listed: Pos::ZERO,
                };
                draft.change(Change::Account(self.id, Some(head.clone())));
                self.head = Some(head);
            }
        }
        Ok(Verdict::Value(Value::User(User::new(self.id, name.clone()))))
    }

    /// Everything goes but the head, which keeps the name from ever standing for somebody else.
    fn delete(&mut self, draft: &mut Draft<'_>) -> Done {
        let Some(head) = self.head.clone() else { return Err(Refusal::NoSuchUser) };
        let contacts: Vec<Contact> = self.contacts.values().cloned().collect();
        for contact in &contacts {
            if contact.to || contact.ask {
                self.pass(contact, Step::Unsubscribe, None, draft);
            }
            if contact.from || contact.asked.is_some() {
                self.pass(contact, Step::Unsubscribed, None, draft);
            }
            if contact.from
                && let Some(account) = contact.account
            {
                draft.out.show.push((account, false));
            }
        }
        let head = AccountHead {
            credential: Octets::default(),
            admin: false,
            deleted: true,
            blocked: Vec::new(),
            ..head
        };
        // Erased with all its rows; then the head alone comes back.
        draft.change(Change::Account(self.id, None));
        draft.change(Change::Account(self.id, Some(head.clone())));
        draft.tell(self.id, Notice::Revoked(Revoked::Deleted));
        draft.follow(EntityId::Account(self.id), Act::Sweep { gone: true });
        *self = Account { head: Some(head), ..Account::fresh(self.id) };
        Ok(DONE)
    }

    fn respell(&mut self, name: &UserName, draft: &mut Draft<'_>) -> Done {
        if self.head.as_ref().is_none_or(|h| h.name != *name) {
            return Err(Refusal::NameTaken);
        }
        if self.edit_head(draft, |h| h.name = name.clone()) {
            draft.tell(self.id, Notice::Respelled(name.clone()));
            draft.follow(EntityId::Account(self.id), Act::Sweep { gone: false });
        }
        Ok(DONE)
    }

    fn set_attrs(
        &mut self,
        values: &[(Str, Octets)],
        tell: Audience,
        native: Option<&Native>,
        draft: &mut Draft<'_>,
    ) -> Done {
        let by = draft.entry.command.by.user().cloned();
        let user = self.user().or(by).ok_or(Refusal::NoSuchUser)?;
        let mut attrs = self.attrs.clone();
        for (key, value) in values {
            set_attr(&mut attrs, key, value, draft.settings)?;
        }
        for (key, value) in values {
            draft.change(Change::AccountAttr(self.id, key.clone(), value.clone()));
        }
        self.attrs = attrs;
        let notice =
            Notice::Attrs { from: user, values: values.to_vec(), native: native.cloned(), origin: None };
        if tell == Audience::Contacts {
            for account in self.seen_by() {
                draft.tell(account, notice.clone());
            }
        }
        if tell != Audience::Nobody {
            draft.tell(self.id, notice);
        }
        Ok(DONE)
    }

    fn set_blocked(&mut self, add: &[Str], remove: &[Str], all: bool, draft: &mut Draft<'_>) -> Done {
        let old = self.head.as_ref().map(|h| h.blocked.clone()).unwrap_or_default();
        let mut new = if all { Vec::new() } else { old.clone() };
        new.retain(|b| !remove.iter().any(|r| r.eq_ignore_ascii_case(b)));
        for address in add {
            at_most(address, KEY_MAX)?;
            if !has(&new, address) {
                new.push(address.clone());
            }
        }
        if new.len() > draft.settings.limits.blocked {
            return Err(Refusal::TooMany);
        }
        let added: Vec<Str> = new.iter().filter(|b| !has(&old, b)).cloned().collect();
        let removed: Vec<Str> = old.iter().filter(|b| !has(&new, b)).cloned().collect();
        self.edit_head(draft, |h| h.blocked = new);
        // Whoever saw this account's presence no longer does, or does again.
        for contact in self.contacts.values().filter(|c| c.from) {
            let (gone, back) = (has(&added, &contact.address), has(&removed, &contact.address));
            if let Some(account) = contact.account.filter(|_| gone || back) {
                draft.out.show.push((account, back));
            }
        }
        if all || !added.is_empty() || !removed.is_empty() {
            draft.tell(self.id, Notice::Blocked { add: added, remove: removed, all });
        }
        Ok(DONE)
    }

    /// Whether an entry derived again may be in the feed already, farther back than is remembered.
    pub fn may_have(&self, room: RoomId, pos: Pos) -> bool {
        self.fed.len() >= FED && !self.fed.contains(&(room, pos))
    }

    /// The entry is in the feed, as its rows say.
    pub fn remember(&mut self, room: RoomId, pos: Pos) {
        self.fed.pop_front();
        self.fed.push_back((room, pos));
    }

    /// A dialog's entry goes into the feed once; that of a blocked sender never does. The account's own
    /// entries do too: its other sessions and its archive show them.
    fn feed(&mut self, room: RoomId, event: &Arc<Event>, with: &User, draft: &mut Draft<'_>) -> Done {
        let sender = event.by.user().unwrap_or(with);
        if self.fed.contains(&(room, event.pos))
            || (sender.id != self.id && self.blocks(sender.name.as_str()))
        {
            return Ok(Verdict::Silent);
        }
        if self.fed.len() >= FED {
            self.fed.pop_front();
        }
        self.fed.push_back((room, event.pos));
        let pos = draft.entry.first;
        draft.change(Change::Feed { account: self.id, pos, room, entry: event.pos, at: event.at });
        draft.out.fed = Some((pos, event.clone()));
        draft.out.positions = 1;
        Ok(Verdict::Silent)
    }

    /// The mark only rises.
    fn mark_read(&mut self, room: RoomId, mark: ReadMark, draft: &mut Draft<'_>) -> Done {
        match self.read.get(&room) {
            Some(old) if *old >= mark => return Ok(DONE),
            None if self.read.len() >= READ_MARKS => return Err(Refusal::TooMany),
            _ => {}
        }
        self.read.insert(room, mark);
        draft.change(Change::Read(self.id, room, mark));
        draft.tell(self.id, Notice::Read { room, mark, origin: None });
        Ok(DONE)
    }

    /// A step of the subscription goes to the contact's account, if it is one of ours.
    pub(super) fn pass(&self, contact: &Contact, step: Step, native: Option<&Native>, draft: &mut Draft<'_>) {
        if let (Some(to), Some(from)) = (contact.account, self.user())
            && to != self.id
        {
            let act = Act::SubscriptionFrom { from, step, native: native.cloned() };
            draft.follow(EntityId::Account(to), act);
        }
    }
}

fn has(list: &[Str], address: &str) -> bool {
    list.iter().any(|b| b.eq_ignore_ascii_case(address))
}

/// Sets a named value, or removes it (empty), if the whole stays within the limits.
pub(super) fn set_attr(
    attrs: &mut BTreeMap<Str, Octets>,
    key: &Str,
    value: &Octets,
    settings: &crate::settings::Settings,
) -> Result<(), Refusal> {
    at_most(key, KEY_MAX)?;
    if value.is_empty() {
        attrs.remove(key);
        return Ok(());
    }
    attrs.insert(key.clone(), value.clone());
    if attrs.len() > settings.limits.attr_count {
        return Err(Refusal::TooMany);
    }
    let size: usize = attrs.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > settings.limits.attrs { Err(Refusal::TooLong) } else { Ok(()) }
}
