//! Coming and going: join, leave, invite, knock, rename, and a room's end.

use super::{
    DONE, Done, Draft, Verdict,
    account::set_attr,
    alias::check_alias,
    at_most, check_reason,
    name::may_create,
    room::{Note, Room, need},
    rules::check_policy,
};
use crate::{
    command::{Act, EntityId, Join, Seed},
    event::{Actor, How, MemberChange, Native, What},
    name::{NameKey, RoomName, User},
    policy::{JoinRule, MaskKind, Member, Membership, Standing, glob, power},
    projection::Notice,
    query::TopicSet,
    refusal::Refusal,
    row::{Change, Closed, RoomHead},
    text::{Octets, Str},
};
use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

impl Room {
    pub(super) fn join(&mut self, join: &Join, draft: &mut Draft<'_>) -> Done {
        at_most(join.display.as_deref().unwrap_or(""), draft.settings.limits.topic)?;
        check_reason(join.reason.as_ref(), draft.settings)?;
        if join.native.as_ref().is_some_and(|n| n.bytes.len() > draft.settings.limits.native) {
            return Err(Refusal::TooLong);
        }
        check_alias(join.alias.as_ref(), draft.settings)?;
        match &self.head {
            Some(head) if head.destroyed => Err(Refusal::NoSuchRoom),
            Some(_) => self.come_in(join, draft),
            None => match &join.create {
                Some(seed) => self.create(seed, join, draft),
                None => Err(Refusal::NoSuchRoom),
            },
        }
    }

    /// The first join makes the room. The server makes one without anybody in it.
    fn create(&mut self, seed: &Seed, join: &Join, draft: &mut Draft<'_>) -> Done {
        let by = &draft.entry.command.by;
        may_create(by, self.id.is_transient(), draft.settings)?;
        check_policy(&seed.policy, draft.settings)?;
        let head = RoomHead {
            name: seed.name.clone(),
            policy: seed.policy.clone(),
            created: draft.entry.at,
            parties: None,
            destroyed: false,
            open: seed.open.clone(),
            known: None,
            closed: Closed::default(),
        };
        let mut attrs = self.attrs.clone();
        for (key, value) in &seed.attrs {
            set_attr(&mut attrs, key, value, draft.settings)?;
        }
        at_most(seed.topic.as_ref().map_or("", |t| &t.text), draft.settings.limits.topic)?;
        if seed.powers.len() >= draft.settings.limits.members {
            return Err(Refusal::TooMany);
        }
        let alias = by.user().map(|user| self.grant_alias(user, join.alias.as_ref())).transpose()?.flatten();
        draft.change(Change::Room(self.id, Some(head.clone())));
        self.head = Some(head);
        self.emit(draft, What::Created(seed.name.clone()));
        if let Some(user) = by.user() {
            let after = Standing { membership: Membership::Joined, power: seed.power };
            self.stand(draft, user, after, How::Join, Note { alias, ..shown_as(join) });
        }
        self.furnish(seed, attrs, draft);
        // An earlier room of this id may have ended while this join was under way, and its name be free.
        if let Some(name) = &seed.name {
            draft.follow(EntityId::Name(NameKey::Room(name.clone())), Act::Claim { id: self.id.0 });
        }
        Ok(Verdict::ByEvent)
    }

    /// What a new room begins with besides its rules and its maker.
    fn furnish(&mut self, seed: &Seed, attrs: BTreeMap<Str, Octets>, draft: &mut Draft<'_>) {
        for (user, power) in &seed.powers {
            if !self.members.contains_key(&user.id) {
                let standing = Standing { membership: Membership::Left, power: *power };
                let row = Member::new(user.clone(), standing, self.last, self.last_at);
                self.put_member(draft, user.id, Some(row));
            }
        }
        for (key, value) in &attrs {
            draft.change(Change::RoomAttr(self.id, key.clone(), value.clone()));
        }
        self.attrs = attrs;
        if let Some(text) = seed.topic.as_ref().filter(|t| !t.text.is_empty()) {
            let by = draft.entry.command.by.user();
            let alias = by.and_then(|u| self.alias_of(u)).cloned();
            let by = by.map_or(draft.settings.domain.clone(), |u| Str::new(u.name.as_str()));
            let set = TopicSet { text: text.clone(), by, at: self.last_at, pos: self.last, alias };
            self.topic = Some(set.clone());
            draft.change(Change::Topic(self.id, Some(set)));
        }
        if seed.open.is_some() {
            self.restate(draft);
        }
    }

    fn come_in(&mut self, join: &Join, draft: &mut Draft<'_>) -> Done {
        // The server is in every room.
        let Some(user) = draft.entry.command.by.user().cloned() else {
            return Ok(Verdict::Already(self.last));
        };
        if self.is_joined(user.id) {
            return Ok(Verdict::Already(self.last));
        }
        if self.is_dialog() {
            return Err(Refusal::NoSuchRoom);
        }
        self.check_door(&user, join)?;
        self.check_rows(user.id, draft.settings)?;
        // Behind the door: who may not come in learns of nobody who is there.
        let alias = self.grant_alias(&user, join.alias.as_ref())?;
        self.end_alias(user.name.folded().as_str(), user.id, draft);
        if let Some(alias) = &alias {
            self.end_alias(&alias.key, user.id, draft);
        }
        let after = Standing { membership: Membership::Joined, power: self.standing(user.id).power };
        self.stand(draft, &user, after, How::Join, Note { alias, ..shown_as(join) });
        Ok(Verdict::ByEvent)
    }

    /// What is asked of one who wants to come in. Who was invited, or left with a rank above a
    /// newcomer's, is let in without invitation or password and past masks; who was invited, and a
    /// moderator, also into a full room.
    fn check_door(&self, user: &User, join: &Join) -> Result<(), Refusal> {
        let policy = self.policy();
        let standing = self.standing(user.id);
        if standing.membership == Membership::Banned {
            return Err(Refusal::Banned);
        }
        let ranked = standing.power > policy.levels.users && standing.power >= power::VOICE;
        let awaited = standing.membership == Membership::Invited || ranked;
        let fits = |kind| self.masks.iter().any(|m| m.kind == kind && glob(&m.mask, &join.subject));
        if !awaited {
            if fits(MaskKind::Ban) && !fits(MaskKind::BanExcept) {
                return Err(Refusal::Banned);
            }
            if policy.accounts_join && user.is_guest() {
                return Err(Refusal::Forbidden);
            }
            if policy.join != JoinRule::Public && !join.vouched && !fits(MaskKind::InviteExcept) {
                return Err(Refusal::InviteOnly);
            }
            if policy.password.is_some() && policy.password != join.password {
                return Err(Refusal::WrongPassword);
            }
        }
        match policy.limit {
            Some(limit)
                if standing.power < power::MODERATOR && standing.membership != Membership::Invited =>
            {
                let joined =
                    self.members.values().filter(|m| m.standing.membership == Membership::Joined).count();
                if joined >= limit as usize { Err(Refusal::RoomFull) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Goes out, declines, or withdraws.
    pub(super) fn leave(
        &mut self,
        reason: &Option<Str>,
        quit: bool,
        same: u64,
        draft: &mut Draft<'_>,
    ) -> Done {
        let user = draft.entry.command.by.user().cloned().ok_or(Refusal::NotMember)?;
        let before = self.standing(user.id);
        let how = match before.membership {
            Membership::Joined if quit => How::Quit,
            Membership::Joined | Membership::Knocking => How::Part,
            Membership::Invited => How::Decline,
            Membership::Left | Membership::Banned => return Err(Refusal::NotMember),
        };
        draft.out.same = same;
        // A guest does not come back under the same id.
        let power = if user.is_guest() { self.policy().levels.users } else { before.power };
        let after = Standing { membership: Membership::Left, power };
        self.stand(draft, &user, after, how, Note::why(reason));
        self.end_if_empty(draft);
        Ok(Verdict::ByEvent)
    }

    /// A room for the moment ends with its last member.
    pub(super) fn end_if_empty(&mut self, draft: &mut Draft<'_>) {
        let stays = !self.id.is_transient() && !draft.settings.ephemeral_rooms;
        let joined = |m: &Member| m.standing.membership == Membership::Joined;
        if stays || self.is_dialog() || self.members.values().any(joined) {
            return;
        }
        let name = self.head.as_ref().and_then(|h| h.name.clone());
        draft.out.changes.clear();
        draft.change(Change::Room(self.id, None));
        if let Some(name) = name {
            let act = Act::Release { id: self.id.0, lock: false };
            draft.follow(EntityId::Name(NameKey::Room(name)), act);
        }
        *self = Room { last_at: self.last_at, ..Room::fresh(self.id) };
    }

    /// Into a room that shuts others out only its moderators let people in, where it says nothing else.
    pub(super) fn invite(
        &mut self,
        user: &User,
        reason: &Option<Str>,
        native: Option<&Native>,
        draft: &mut Draft<'_>,
    ) -> Done {
        let native = draft.native(native);
        let own = self.member_power(&draft.entry.command.by)?;
        need(own, self.policy().invite_level())?;
        let before = self.standing(user.id);
        match before.membership {
            Membership::Banned => return Err(Refusal::Banned),
            Membership::Joined => return Err(Refusal::AlreadyMember),
            Membership::Left | Membership::Invited | Membership::Knocking => {}
        }
        self.check_rows(user.id, draft.settings)?;
        let after = Standing { membership: Membership::Invited, ..before };
        self.stand(draft, user, after, How::Invite, Note { native, ..Note::why(reason) });
        Ok(Verdict::ByEvent)
    }

    pub(super) fn knock(&mut self, reason: &Option<Str>, draft: &mut Draft<'_>) -> Done {
        let user = draft.entry.command.by.user().cloned().ok_or(Refusal::Invalid("nobody knocks"))?;
        let before = self.standing(user.id);
        match (before.membership, self.policy().join) {
            (Membership::Banned, _) => return Err(Refusal::Banned),
            (Membership::Joined | Membership::Invited, _) => return Err(Refusal::AlreadyMember),
            (_, JoinRule::Public) => return Err(Refusal::Invalid("the room is open")),
            (_, JoinRule::Invite) => return Err(Refusal::InviteOnly),
            (Membership::Knocking, JoinRule::Knock) => return Ok(DONE),
            (Membership::Left, JoinRule::Knock) => {}
        }
        self.check_rows(user.id, draft.settings)?;
        let after = Standing { membership: Membership::Knocking, ..before };
        self.stand(draft, &user, after, How::Knock, Note::why(reason));
        Ok(Verdict::ByEvent)
    }

    /// A member goes on under another name or spelling. In a dialog nobody needs to be shown that.
    pub(super) fn rename(&mut self, to: &User, same: u64, draft: &mut Draft<'_>) -> Done {
        let by = &draft.entry.command.by;
        if by.user().is_some_and(|u| u.id != to.id) {
            return Err(Refusal::Forbidden);
        }
        let row = self.members.get(&to.id).cloned().ok_or(Refusal::NotMember)?;
        if row.user.name.same_spelling(&to.name) {
            return Ok(DONE);
        }
        // An account's alias is the room's, a guest's comes with its name.
        let alias = if to.is_guest() { to.alias.clone() } else { row.user.alias.clone() };
        let to = &User { alias, ..to.clone() };
        draft.out.same = same;
        if let Some((a, b)) = self.head.as_ref().and_then(|h| h.parties.clone()) {
            let renamed = |u: User| if u.id == to.id { to.clone() } else { u };
            self.edit_head(draft, |h| h.parties = Some((renamed(a), renamed(b))));
        }
        let joined = row.standing.membership == Membership::Joined && !self.is_dialog();
        if joined {
            self.end_alias(&to.name.folded(), to.id, draft);
            let change = MemberChange {
                user: to.clone(),
                before: row.standing,
                after: row.standing,
                how: How::Rename,
                reason: Some(Str::new(row.user.name.as_str())),
                display: row.display.clone(),
                levels: self.policy().levels,
                native: row.native.clone(),
            };
            self.emit(draft, What::Member(Box::new(change)));
        }
        self.put_member(draft, to.id, Some(Member { user: to.clone(), ..row }));
        Ok(if joined { Verdict::ByEvent } else { DONE })
    }

    /// Another name, or none; nothing is taken or given back in the registry.
    pub(super) fn name(&mut self, name: Option<&RoomName>, draft: &mut Draft<'_>) -> Done {
        if draft.entry.command.by != Actor::Server || self.is_dialog() {
            return Err(Refusal::Forbidden);
        }
        let name = name.cloned();
        self.edit_head(draft, |h| h.name = name);
        Ok(DONE)
    }

    /// The row of an account that is no more goes, whatever it is. What it said in a dialog stays with
    /// the other party.
    pub(super) fn forget(&mut self, draft: &mut Draft<'_>) -> Done {
        let user = draft.entry.command.by.user().cloned().ok_or(Refusal::Invalid("nobody to forget"))?;
        if self.is_dialog() || !self.members.contains_key(&user.id) {
            return Ok(DONE);
        }
        let after = Standing { membership: Membership::Left, power: self.policy().levels.users };
        let out = matches!(self.standing(user.id).membership, Membership::Left | Membership::Banned);
        if !self.is_joined(user.id) {
            if !out {
                self.stand(draft, &user, after, How::Decline, Note::default());
            }
            self.put_member(draft, user.id, None);
            return Ok(DONE);
        }
        self.stand(draft, &user, after, How::Part, Note::default());
        self.end_if_empty(draft);
        Ok(Verdict::ByEvent)
    }

    /// Ends the room: its entry is the last one; all rows of people go, the log stays unreadable.
    pub(super) fn destroy(
        &mut self,
        reason: &Option<Str>,
        instead: Option<&Str>,
        draft: &mut Draft<'_>,
    ) -> Done {
        at_most(instead.map_or("", Str::as_str), draft.settings.limits.topic)?;
        let own = self.ranked_power(&draft.entry.command.by)?;
        // A guests' room has no owner.
        need(own, if self.id.is_transient() { power::MODERATOR } else { power::OWNER })?;
        self.emit(draft, What::Destroyed { reason: reason.clone(), instead: instead.cloned() });
        let ids: Vec<_> = self.members.iter().map(|(id, m)| (*id, m.standing.membership)).collect();
        let event = draft.out.events.last().cloned();
        for (id, membership) in ids {
            self.put_member(draft, id, None);
            let concerned = matches!(membership, Membership::Joined | Membership::Invited);
            if let Some(event) = event.clone().filter(|_| concerned) {
                draft.tell(id, Notice::Destroyed { room: self.id, event });
            }
        }
        self.edit_head(draft, |h| h.destroyed = true);
        if let Some(name) = self.head.as_ref().and_then(|h| h.name.clone()) {
            let act = Act::Release { id: self.id.0, lock: true };
            draft.follow(EntityId::Name(NameKey::Room(name)), act);
        }
        Ok(Verdict::ByEvent)
    }
}

fn shown_as(join: &Join) -> Note {
    let (display, native, reason) = (join.display.clone(), join.native.clone(), join.reason.clone());
    Note { display, native, reason, ..Note::default() }
}
