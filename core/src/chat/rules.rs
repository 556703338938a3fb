//! The room's own things: topic, rules, mask lists, named values.

use super::{
    DONE, Done, Draft, Verdict,
    account::set_attr,
    at_most,
    room::{Room, need},
};
use crate::{
    event::What,
    policy::{Levels, MaskEntry, MaskKind, Policy, Power},
    query::TopicSet,
    refusal::Refusal,
    row::Change,
    settings::Settings,
    text::{Octets, Rich, Str},
};
use alloc::{boxed::Box, vec::Vec};

/// Bytes of one mask; above: refused.
pub const MASK_MAX: usize = 512;

/// Bytes of a password, and of a protocol's own modes; above: refused.
pub const SHORT_MAX: usize = 256;

/// Refuses rules with texts beyond the limits.
pub(super) fn check_policy(policy: &Policy, settings: &Settings) -> Result<(), Refusal> {
    at_most(policy.password.as_deref().unwrap_or(""), SHORT_MAX)?;
    at_most(&policy.modes, SHORT_MAX)?;
    at_most(&policy.title, settings.limits.topic)?;
    at_most(&policy.description, settings.limits.topic)
}

impl Room {
    /// Setting what is set already is no change.
    pub(super) fn set_topic(&mut self, text: &Rich, draft: &mut Draft<'_>) -> Done {
        let by = draft.entry.command.by.clone();
        let own = self.member_power(&by)?;
        need(own, self.policy().levels.topic)?;
        Ok(if self.put_topic(text, draft)? { Verdict::ByEvent } else { DONE })
    }

    /// Sets the topic; false: it is so already.
    pub(super) fn put_topic(&mut self, text: &Rich, draft: &mut Draft<'_>) -> Result<bool, Refusal> {
        at_most(&text.text, draft.settings.limits.topic)?;
        if self.topic.as_ref().map_or("", |t| t.text.text.as_str()) == text.text.as_str() {
            return Ok(false);
        }
        let by = draft.entry.command.by.clone();
        let pos = self.emit(draft, What::Topic(text.clone()));
        let name = by.user().map_or(draft.settings.domain.clone(), |u| Str::new(u.name.as_str()));
        let alias = by.user().and_then(|u| self.alias_of(u)).cloned();
        let set = TopicSet { text: text.clone(), by: name, at: self.last_at, pos, alias };
        self.topic = (!text.text.is_empty()).then_some(set);
        draft.change(Change::Topic(self.id, self.topic.clone()));
        Ok(true)
    }

    /// Another policy. What somebody else changed meanwhile stays, unless it is the same thing. Nobody moves a level that
    /// is above his own power, or sets one there.
    pub(super) fn set_policy(&mut self, from: &Policy, to: &Policy, draft: &mut Draft<'_>) -> Done {
        let own = self.ranked_power(&draft.entry.command.by)?;
        let now = self.policy();
        need(own, now.levels.state)?;
        let to = Policy::merge(from, to, &now).ok_or(Refusal::Stale)?;
        self.put_policy(own, &now, &to, draft)
    }

    /// Another policy in whole, for whoever may change rules.
    pub(super) fn put_policy(
        &mut self,
        own: Power,
        from: &Policy,
        to: &Policy,
        draft: &mut Draft<'_>,
    ) -> Done {
        let now = self.policy();
        check_policy(to, draft.settings)?;
        for (old, new) in numbers(&now.levels).into_iter().zip(numbers(&to.levels)) {
            if old != new {
                need(own, old.max(new))?;
            }
        }
        if to.outsiders && !self.id.is_transient() {
            return Err(Refusal::Unsupported("only members speak here"));
        }
        // Another spelling of what is so already needs no change, from whatever it was made.
        if *to == now {
            return Ok(DONE);
        }
        if *from != now {
            return Err(Refusal::Stale);
        }
        let (rule, upto) = (now.history, self.last);
        self.emit(draft, What::Policy { before: Box::new(now), after: Box::new(to.clone()) });
        self.edit_head(draft, |h| {
            if h.policy.history != to.history {
                h.closed.note(rule, upto);
            }
            h.policy = to.clone();
        });
        Ok(Verdict::ByEvent)
    }

    /// Changes the lists of masks. What is on them already, or is not, is passed over.
    pub(super) fn set_masks(
        &mut self,
        add: &[MaskEntry],
        remove: &[(MaskKind, Str)],
        draft: &mut Draft<'_>,
    ) -> Done {
        let own = self.ranked_power(&draft.entry.command.by)?;
        need(own, self.policy().levels.ban)?;
        let fits =
            |m: &MaskEntry, kind: MaskKind, mask: &str| m.kind == kind && m.mask.eq_ignore_ascii_case(mask);
        let goes = |m: &MaskEntry| remove.iter().any(|(kind, mask)| fits(m, *kind, mask));
        let (removed, mut masks): (Vec<MaskEntry>, Vec<MaskEntry>) =
            self.masks.iter().cloned().partition(goes);
        let mut added = Vec::new();
        for entry in add {
            at_most(&entry.mask, MASK_MAX)?;
            at_most(&entry.by, MASK_MAX)?;
            if entry.mask.is_empty() {
                return Err(Refusal::Invalid("empty mask"));
            }
            if !masks.iter().any(|m| fits(m, entry.kind, &entry.mask)) {
                let entry = MaskEntry { at: draft.entry.at, ..entry.clone() };
                masks.push(entry.clone());
                added.push(entry);
            }
        }
        if !added.is_empty() && masks.len() > draft.settings.limits.masks {
            return Err(Refusal::TooMany);
        }
        if added.is_empty() && removed.is_empty() {
            return Ok(DONE);
        }
        self.masks = masks;
        self.emit(draft, What::Masks { added, removed });
        draft.change(Change::Masks(self.id, self.masks.clone()));
        Ok(Verdict::ByEvent)
    }

    /// What it takes to set this named value.
    pub(super) fn attr_level(&self, key: &str, settings: &Settings) -> Power {
        let open = self.head.as_ref().is_some_and(|h| h.open.is_some());
        let own = settings.level.filter(|_| open).and_then(|of| (of.0)(self, key));
        own.unwrap_or(self.policy().levels.state)
    }

    pub(super) fn set_room_attr(&mut self, key: &Str, value: &Octets, draft: &mut Draft<'_>) -> Done {
        let own = self.ranked_power(&draft.entry.command.by)?;
        need(own, self.attr_level(key, draft.settings))?;
        let mut attrs = self.attrs.clone();
        set_attr(&mut attrs, key, value, draft.settings)?;
        if attrs == self.attrs {
            return Ok(DONE);
        }
        self.attrs = attrs;
        self.emit(draft, What::Attr { key: key.clone(), value: value.clone() });
        draft.change(Change::RoomAttr(self.id, key.clone(), value.clone()));
        Ok(Verdict::ByEvent)
    }
}

fn numbers(l: &Levels) -> [Power; 8] {
    [l.speak, l.invite, l.kick, l.ban, l.redact, l.topic, l.state, l.users]
}
