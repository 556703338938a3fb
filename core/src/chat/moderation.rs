//! Power over people: kick, ban, unban, power itself.
//!
//! Nobody acts on equal or higher power, except to lower himself, and owners who lower each other; nobody gives more
//! than he has; the last owner stays. The server is bound by none of it.

use super::{
    DONE, Done, Draft, Verdict,
    room::{Note, Room, need},
};
use crate::{
    event::{Actor, How, Native},
    ids::AccountId,
    name::User,
    policy::{JoinRule, Member, Membership, Power, Standing, power},
    refusal::Refusal,
    text::Str,
};

impl Room {
    /// Puts a member out. A rank above a newcomer's is lost with it; being muted is not. Likewise an invitation is
    /// withdrawn, and a knock turned down.
    pub(super) fn kick(
        &mut self,
        user: &User,
        reason: &Option<Str>,
        native: Option<&Native>,
        draft: &mut Draft<'_>,
    ) -> Done {
        let native = draft.native(native);
        let own = self.member_power(&draft.entry.command.by)?;
        let levels = self.policy().levels;
        need(own, levels.kick)?;
        if matches!(self.standing(user.id).membership, Membership::Left | Membership::Banned) {
            return Err(Refusal::TargetNotMember);
        }
        self.check_rank(own, user.id)?;
        let power = self.standing(user.id).power.min(levels.users);
        let after = Standing { membership: Membership::Left, power };
        let note = Note { voiced: Some(false), native, ..Note::why(reason) };
        self.stand(draft, user, after, How::Kick, note);
        self.end_if_empty(draft);
        Ok(Verdict::ByEvent)
    }

    /// Shuts an account out, whether it is there or not; a member is put out by the same entry.
    pub(super) fn ban(&mut self, user: &User, reason: &Option<Str>, draft: &mut Draft<'_>) -> Done {
        let own = self.ranked_power(&draft.entry.command.by)?;
        let levels = self.policy().levels;
        need(own, levels.ban)?;
        self.check_rank(own, user.id)?;
        if self.standing(user.id).membership == Membership::Banned {
            return Ok(DONE);
        }
        self.check_rows(user.id, draft.settings)?;
        let after = Standing { membership: Membership::Banned, power: levels.users };
        self.stand(draft, user, after, How::Ban, Note { voiced: Some(false), ..Note::why(reason) });
        self.end_if_empty(draft);
        Ok(Verdict::ByEvent)
    }

    pub(super) fn unban(&mut self, user: &User, draft: &mut Draft<'_>) -> Done {
        let own = self.ranked_power(&draft.entry.command.by)?;
        let levels = self.policy().levels;
        need(own, levels.ban)?;
        if self.standing(user.id).membership != Membership::Banned {
            return Ok(DONE);
        }
        let after = Standing { membership: Membership::Left, power: levels.users };
        self.stand(draft, user, after, How::Unban, Note::default());
        Ok(Verdict::ByEvent)
    }

    pub(super) fn set_power(
        &mut self,
        user: &User,
        new: Power,
        voiced: Option<bool>,
        reason: &Option<Str>,
        draft: &mut Draft<'_>,
    ) -> Done {
        let by = &draft.entry.command.by;
        let own = self.ranked_power(by)?;
        let before = self.standing(user.id);
        self.check_power(by, own, user.id, before.power, new)?;
        if before.membership == Membership::Banned {
            return Err(Refusal::Banned);
        }
        let after = Standing { membership: self.membership_with(before.membership, new), power: new };
        if after == before {
            return self.set_voiced(user.id, voiced, draft);
        }
        self.check_rows(user.id, draft.settings)?;
        let invited = after.membership == Membership::Invited && before.membership != Membership::Invited;
        let how = if invited { How::Invite } else { How::Power };
        self.stand(draft, user, after, how, Note { voiced, ..Note::why(reason) });
        Ok(Verdict::ByEvent)
    }

    /// Giving and taking voice is a moderator's act (XEP-0045, section 8.3); ranks are given by whoever
    /// may change the room.
    fn check_power(
        &self,
        by: &Actor,
        own: Power,
        target: AccountId,
        old: Power,
        new: Power,
    ) -> Result<(), Refusal> {
        let levels = self.policy().levels;
        let lowers_self = by.is(target) && new <= old;
        if !lowers_self {
            let ranks = old.max(new) >= power::HELPER;
            need(own, if ranks { levels.state } else { levels.kick })?;
            need(own, new)?;
            if !self.owners_are_equals(own, old) {
                self.check_rank(own, target)?;
            }
        }
        self.check_last_owner(by, target, old, new)
    }

    /// Owners may take ownership from each other (XEP-0045, section 10.4), but not where the room's facts are open: there
    /// nobody lowers an equal.
    fn owners_are_equals(&self, own: Power, old: Power) -> bool {
        let open = self.head.as_ref().is_some_and(|head| head.open.is_some());
        own >= power::OWNER && old == own && !open
    }

    /// Refuses to leave the room without an owner.
    pub(super) fn check_last_owner(
        &self,
        by: &Actor,
        target: AccountId,
        old: Power,
        new: Power,
    ) -> Result<(), Refusal> {
        let owns = |m: &Member| m.standing.power >= power::OWNER;
        let last = || self.members.iter().filter(|(_, m)| owns(m)).all(|(id, _)| *id == target);
        let steps_down = old >= power::OWNER && new < power::OWNER;
        if steps_down && *by != Actor::Server && last() { Err(Refusal::LastOwner) } else { Ok(()) }
    }

    /// What a power does to the membership of somebody outside: where only members come in, a power
    /// above a newcomer's makes one a member-to-be; one no longer above it takes that back.
    fn membership_with(&self, now: Membership, new: Power) -> Membership {
        let policy = self.policy();
        let above = new > policy.levels.users;
        match now {
            Membership::Left | Membership::Knocking if above && policy.join != JoinRule::Public => {
                Membership::Invited
            }
            Membership::Invited if !above => Membership::Left,
            other => other,
        }
    }

    /// Voice under a higher rank shows nowhere until that rank goes: a row, but no entry.
    fn set_voiced(&mut self, id: AccountId, voiced: Option<bool>, draft: &mut Draft<'_>) -> Done {
        if let (Some(voiced), Some(row)) = (voiced, self.members.get(&id).cloned())
            && row.voiced != voiced
        {
            self.put_member(draft, id, Some(Member { voiced, ..row }));
        }
        Ok(DONE)
    }
}
