//! What an account keeps for its sessions without having it in memory: letters, and big named values.

use super::{DONE, Done, Draft, KEY_MAX, Verdict, account::Account, at_most};
use crate::{
    command::Act,
    ids::{Label, Pos},
    projection::Notice,
    query::Value,
    refusal::Refusal,
    row::Change,
    text::{Octets, Str},
};

impl Account {
    pub(super) fn keep(&mut self, act: &Act, draft: &mut Draft<'_>) -> Done {
        match act {
            Act::Shelve { values } => self.shelve(values, draft),
            Act::TakeAttr { prefix } => self.take_attr(prefix, draft),
            Act::Deliver { label, letter } => self.deliver(label, letter, draft),
            Act::Collect { label, upto } => self.collect(label, *upto, draft),
            _ => Err(Refusal::Invalid("nothing to keep")),
        }
    }

    fn shelve(&mut self, values: &[(Str, Octets)], draft: &mut Draft<'_>) -> Done {
        for (key, value) in values {
            at_most(key, KEY_MAX)?;
            if value.len() > draft.settings.limits.native {
                return Err(Refusal::TooLong);
            }
        }
        for (key, value) in values {
            draft.change(Change::Shelf(self.id, key.clone(), value.clone()));
        }
        Ok(DONE)
    }

    fn take_attr(&mut self, prefix: &Str, draft: &mut Draft<'_>) -> Done {
        let first = self.attrs.range(prefix.clone()..).next().filter(|(key, _)| key.starts_with(&**prefix));
        let (key, value) = first.map(|(k, v)| (k.clone(), v.clone())).ok_or(Refusal::NoSuchItem)?;
        self.attrs.remove(&key);
        draft.change(Change::AccountAttr(self.id, key.clone(), Octets::default()));
        let Some(user) = self.user() else { return Err(Refusal::NoSuchUser) };
        let values = alloc::vec![(key.clone(), Octets::default())];
        draft.tell(self.id, Notice::Attrs { from: user, values, native: None, origin: None });
        Ok(Verdict::Value(Value::Attr(key, value)))
    }

    fn deliver(&mut self, label: &Label, letter: &Octets, draft: &mut Draft<'_>) -> Done {
        at_most(label, KEY_MAX)?;
        if letter.is_empty() || letter.len() > draft.settings.limits.native {
            return Err(Refusal::TooLong);
        }
        if !self.letters.contains_key(label)
            && self.letters.len() >= draft.settings.limits.sessions_per_account.saturating_mul(4)
        {
            return Err(Refusal::TooMany);
        }
        let waiting = self.letters.entry(label.clone()).or_default();
        let pos = draft.entry.first;
        if waiting.len() >= draft.settings.limits.letters
            && let Some(oldest) = waiting.pop_front()
        {
            draft.out.changes.push(Change::Collected(self.id, label.clone(), oldest));
        }
        waiting.push_back(pos);
        draft.change(Change::Letter(self.id, label.clone(), pos, letter.clone()));
        draft.tell(self.id, Notice::Letter { label: label.clone(), pos, letter: letter.clone() });
        draft.out.positions = 1;
        Ok(DONE)
    }

    fn collect(&mut self, label: &Label, upto: Pos, draft: &mut Draft<'_>) -> Done {
        let Some(waiting) = self.letters.get_mut(label) else { return Ok(DONE) };
        let before = waiting.len();
        waiting.retain(|pos| *pos > upto);
        if waiting.len() == before {
            return Ok(DONE);
        }
        if waiting.is_empty() {
            self.letters.remove(label);
        }
        draft.change(Change::Collected(self.id, label.clone(), upto));
        Ok(DONE)
    }
}
