//! A name of the one registry: who holds it, and invitations.

use super::{Done, Draft, Verdict};
use crate::{
    command::{Act, Command, EntityId},
    event::Actor,
    ids::{AccountId, RoomId},
    name::{NameKey, UserName},
    query::Value,
    refusal::Refusal,
    row::{Change, Invite, NameRow},
    settings::{Settings, WhoMay},
    text::{Octets, Str},
};
use alloc::vec::Vec;

/// A name and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub key: NameKey,
    /// What it stands for; `None`: free.
    pub row: Option<NameRow>,
}

/// May this actor make a room, one in memory only or one that stays? Who is an administrator cannot be
/// seen here: administrators make rooms in the server's name.
pub(super) fn may_create(by: &Actor, transient: bool, settings: &Settings) -> Result<(), Refusal> {
    let allowed = match by {
        Actor::Server => true,
        Actor::User(u) => match settings.create_rooms {
            WhoMay::Admins => false,
            WhoMay::Accounts => !u.is_guest(),
            WhoMay::Everybody => true,
        },
    };
    // A guest's room goes with the guests: nobody could be held to it later.
    let fits = transient || !by.user().is_some_and(crate::name::User::is_guest);
    if allowed && fits { Ok(()) } else { Err(Refusal::Forbidden) }
}

impl Name {
    pub(super) fn act(&mut self, draft: &mut Draft<'_>) -> Done {
        let entry = draft.entry;
        match &entry.command.act {
            Act::Route { claim, then } => self.route(*claim, then, draft),
            Act::Claim { id } => self.claim(*id, draft),
            Act::Release { id, lock } => self.release(*id, *lock, draft),
            Act::MintInvite { uses, admin, until, by, contact_only } => {
                let invite = Invite {
                    uses: *uses,
                    admin: *admin,
                    until: *until,
                    used: Vec::new(),
                    by: by.clone(),
                    contact_only: *contact_only,
                };
                self.mint(invite, draft)
            }
            Act::UseInvite { name, now } => self.use_up(name, *now, draft),
            Act::RedeemInvite { name, id, credential, now } => {
                self.redeem(name, *id, credential, *now, draft)
            }
            Act::RestoreInvite { name } => self.restore(name, draft),
            Act::Register { id, name, credential, admin, invite } => {
                self.register(*id, name, credential, *admin, invite.as_ref(), draft)
            }
            _ => Err(Refusal::Invalid("not an act of a name")),
        }
    }

    /// There is no such thing, in this kind of name's word.
    fn nothing(&self) -> Refusal {
        match self.key {
            NameKey::User(_) => Refusal::NoSuchUser,
            NameKey::Room(_) => Refusal::NoSuchRoom,
            NameKey::Invite(_) => Refusal::BadInvite,
        }
    }

    fn set(&mut self, row: Option<NameRow>, draft: &mut Draft<'_>) {
        let in_memory = |r: &Option<NameRow>| r.as_ref().is_some_and(|r| AccountId(r.id).is_transient());
        let (old, new) = (in_memory(&self.row), in_memory(&row));
        // What only memory knew leaves no row, and needs none removed.
        match (old, new) {
            (true, true) => {}
            (false, true) if self.row.is_none() => {}
            (false, true) => draft.change(Change::Name(self.key.clone(), None)),
            (true, false) if row.is_none() => {}
            (_, false) => draft.change(Change::Name(self.key.clone(), row.clone())),
        }
        self.row = row;
    }

    fn route(&mut self, claim: Option<u64>, then: &Act, draft: &mut Draft<'_>) -> Done {
        let by = &draft.entry.command.by;
        let id = match &self.row {
            Some(row) if row.locked => return Err(self.nothing()),
            Some(row) => row.id,
            None => {
                let id = claim.ok_or_else(|| self.nothing())?;
                if matches!(self.key, NameKey::Room(_)) {
                    if !matches!(then, Act::Join(join) if join.create.is_some()) {
                        return Err(Refusal::NoSuchRoom);
                    }
                    may_create(by, RoomId(id).is_transient(), draft.settings)?;
                }
                id
            }
        };
        let to = match self.key {
            NameKey::User(_) => EntityId::Account(AccountId(id)),
            NameKey::Room(_) => EntityId::Room(RoomId(id)),
            NameKey::Invite(_) => return Err(Refusal::BadInvite),
        };
        let command = Command { to, by: by.clone(), once: draft.entry.command.once, act: then.clone() };
        if self.row.is_none() {
            self.set(Some(NameRow { id, locked: false, invite: None }), draft);
        }
        draft.pass_on(command)
    }

    fn claim(&mut self, id: u64, draft: &mut Draft<'_>) -> Done {
        match &self.row {
            _ if matches!(self.key, NameKey::Invite(_)) => Err(Refusal::BadInvite),
            Some(row) if row.locked => Err(Refusal::NameTaken),
            Some(row) => Ok(Verdict::Value(Value::Id(row.id))),
            None => {
                self.set(Some(NameRow { id, locked: false, invite: None }), draft);
                Ok(Verdict::Value(Value::Id(id)))
            }
        }
    }

    fn release(&mut self, id: u64, lock: bool, draft: &mut Draft<'_>) -> Done {
        // Otherwise it is somebody else's by now, or given back already.
        if self.row.as_ref().is_some_and(|r| r.id == id && !r.locked && r.invite.is_none()) {
            // A lock outlives a restart only for what is stored.
            let keep = lock && !AccountId(id).is_transient();
            self.set(keep.then_some(NameRow { id, locked: true, invite: None }), draft);
        }
        Ok(super::DONE)
    }

    fn mint(&mut self, invite: Invite, draft: &mut Draft<'_>) -> Done {
        if !matches!(self.key, NameKey::Invite(_)) {
            return Err(Refusal::Invalid("not an invitation's name"));
        }
        if draft.entry.command.by != Actor::Server {
            return Err(Refusal::Forbidden);
        }
        match &self.row {
            Some(_) if draft.entry.again => {}
            Some(_) => return Err(Refusal::NameTaken),
            None => self.set(Some(NameRow { id: 0, locked: false, invite: Some(invite) }), draft),
        }
        Ok(super::DONE)
    }

    fn redeem(
        &mut self,
        name: &UserName,
        id: AccountId,
        credential: &Octets,
        now: u64,
        draft: &mut Draft<'_>,
    ) -> Done {
        let NameKey::Invite(hash) = self.key.clone() else {
            return Err(Refusal::Invalid("not an invitation's name"));
        };
        let row = self.row.clone().ok_or(Refusal::BadInvite)?;
        let mut invite = row.invite.clone().ok_or(Refusal::BadInvite)?;
        if invite.contact_only {
            return Err(Refusal::BadInvite);
        }
        let admin = invite.admin;
        let again = !take(&mut invite, name, now)?;
        if !again {
            self.set(Some(NameRow { invite: Some(invite), ..row }), draft);
        }
        // A repeated attempt took no use, so a taken name must not give one back.
        let invite = (!again).then_some(hash);
        let act = Act::Register { id, name: name.clone(), credential: credential.clone(), admin, invite };
        draft.pass_on(Command::by_server(EntityId::Name(NameKey::User(name.clone())), act))
    }

    fn use_up(&mut self, name: &UserName, now: u64, draft: &mut Draft<'_>) -> Done {
        if draft.entry.command.by != Actor::Server {
            return Err(Refusal::Forbidden);
        }
        let row = self.row.clone().ok_or(Refusal::BadInvite)?;
        let mut invite = row.invite.clone().ok_or(Refusal::BadInvite)?;
        let by = invite.by.clone().ok_or(Refusal::BadInvite)?;
        if take(&mut invite, name, now)? {
            self.set(Some(NameRow { invite: Some(invite), ..row }), draft);
        }
        Ok(Verdict::Value(Value::User(by)))
    }

    fn restore(&mut self, name: &UserName, draft: &mut Draft<'_>) -> Done {
        if let Some(row) = self.row.clone()
            && let Some(mut invite) = row.invite.clone()
            && let Some(i) = invite.used.iter().position(|n| n == name)
        {
            invite.used.remove(i);
            invite.uses = invite.uses.saturating_add(1);
            self.set(Some(NameRow { invite: Some(invite), ..row }), draft);
        }
        Ok(Verdict::Silent)
    }

    fn register(
        &mut self,
        id: AccountId,
        name: &UserName,
        credential: &Octets,
        admin: bool,
        invite: Option<&Str>,
        draft: &mut Draft<'_>,
    ) -> Done {
        if self.key != NameKey::User(name.clone()) || id.is_transient() {
            return Err(Refusal::Invalid("not that name"));
        }
        if draft.entry.command.by != Actor::Server && (admin || !draft.settings.open_registration) {
            return Err(Refusal::Forbidden);
        }
        match &self.row {
            Some(row) if row.id == id.0 && !row.locked => {}
            // A guest's own name becomes its account's.
            Some(row) if AccountId(row.id).is_transient() && draft.entry.command.by.is(AccountId(row.id)) => {
                self.set(Some(NameRow { id: id.0, locked: false, invite: None }), draft);
            }
            Some(_) => {
                if let Some(hash) = invite {
                    let to = EntityId::Name(NameKey::Invite(hash.clone()));
                    draft.follow(to, Act::RestoreInvite { name: name.clone() });
                }
                return Err(Refusal::NameTaken);
            }
            None => self.set(Some(NameRow { id: id.0, locked: false, invite: None }), draft),
        }
        let act = Act::CreateAccount { name: name.clone(), credential: credential.clone(), admin };
        draft.pass_on(Command::by_server(EntityId::Account(id), act))
    }
}

/// Takes a use of an invitation; false: that name had it already.
fn take(invite: &mut Invite, name: &UserName, now: u64) -> Result<bool, Refusal> {
    if invite.until != 0 && now > invite.until {
        return Err(Refusal::BadInvite);
    }
    if invite.used.contains(name) {
        return Ok(false);
    }
    invite.uses = invite.uses.checked_sub(1).ok_or(Refusal::BadInvite)?;
    invite.used.push(name.clone());
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::testing::{Rig, guest, room_name, user},
        command::{Join, Seed},
        name::User,
    };
    use alloc::boxed::Box;

    fn rig(key: NameKey) -> Rig {
        Rig::new(EntityId::Name(key))
    }

    fn lobby() -> Rig {
        rig(NameKey::Room(room_name("lobby")))
    }

    fn join(create: bool) -> Box<Act> {
        let policy = crate::policy::Policy::default();
        let seed = Seed::new(Some(room_name("lobby")), policy, crate::policy::power::OWNER);
        Box::new(Act::Join(Box::new(Join { create: create.then_some(seed), ..Join::default() })))
    }

    fn held(rig: &Rig) -> Option<u64> {
        match &rig.entity {
            crate::chat::Entity::Name(n) => n.row.as_ref().map(|r| r.id),
            _ => None,
        }
    }

    #[test]
    fn a_free_room_name_is_taken_only_by_a_join_that_may_create() {
        let (alice, ghost) = (user(1), guest(2));
        let durable = 64;
        let transient = RoomId::fresh(1 << 20, crate::ids::ShardId(0), 64, true).0;
        // Who, the id claimed, whether the join creates, the setting; accepted? stored?
        type Case<'a> = (&'a User, Option<u64>, bool, WhoMay, bool, bool);
        let cases: [Case<'_>; 9] = [
            (&alice, Some(durable), true, WhoMay::Accounts, true, true),
            (&alice, Some(durable), true, WhoMay::Everybody, true, true),
            (&alice, Some(durable), true, WhoMay::Admins, false, false),
            (&alice, Some(durable), false, WhoMay::Accounts, false, false),
            (&alice, None, true, WhoMay::Accounts, false, false),
            (&ghost, Some(transient), true, WhoMay::Accounts, false, false),
            (&ghost, Some(transient), true, WhoMay::Everybody, true, false),
            (&ghost, Some(durable), true, WhoMay::Everybody, false, false),
            (&alice, Some(transient), true, WhoMay::Everybody, true, false),
        ];
        for (i, (who, claim, create, setting, accepted, stored)) in cases.into_iter().enumerate() {
            let mut r = lobby();
            r.settings.create_rooms = setting;
            let out = r.by(who, Act::Route { claim, then: join(create) });
            assert_eq!(matches!(out.verdict, Verdict::Follow), accepted, "case {i}");
            assert_eq!(!out.changes.is_empty(), stored, "case {i}");
            assert_eq!(held(&r), claim.filter(|_| accepted), "case {i}");
            if accepted {
                let follow = &out.follow[0];
                assert!(follow.answers);
                assert_eq!(follow.derived, !stored);
                assert_eq!(follow.command.to, EntityId::Room(RoomId(claim.unwrap())));
                assert_eq!(follow.command.by, Actor::User(who.clone()));
            }
        }
    }

    #[test]
    fn a_taken_name_is_followed_and_a_locked_one_is_not() {
        let alice = user(1);
        let mut r = lobby();
        r.by(&alice, Act::Route { claim: Some(64), then: join(true) });
        let out = r.by(&alice, Act::Route { claim: Some(128), then: join(true) });
        assert!(out.changes.is_empty() && out.follow[0].derived);
        assert_eq!(out.follow[0].command.to, EntityId::Room(RoomId(64)));
        assert!(matches!(r.by(&alice, Act::Claim { id: 128 }).verdict, Verdict::Value(Value::Id(64))));
        r.server(Act::Release { id: 128, lock: false });
        assert_eq!(held(&r), Some(64), "only its holder gives it back");
        r.server(Act::Release { id: 64, lock: true });
        r.refuses(&alice, Act::Route { claim: Some(128), then: join(true) }, Refusal::NoSuchRoom);
        r.refuses(&alice, Act::Claim { id: 128 }, Refusal::NameTaken);
    }

    #[test]
    fn claims_are_idempotent_and_released_names_are_free() {
        let mut r = rig(NameKey::User(UserName::new("bob").unwrap()));
        let ghost = guest(9);
        for _ in 0..2 {
            let out = r.server(Act::Claim { id: ghost.id.0 });
            assert!(matches!(out.verdict, Verdict::Value(Value::Id(id)) if id == ghost.id.0));
            assert!(out.changes.is_empty(), "a guest's name is not stored");
        }
        assert!(r.entity.is_pinned());
        let out = r.server(Act::Release { id: ghost.id.0, lock: false });
        assert!(out.changes.is_empty());
        assert!(r.entity.is_void() && !r.entity.is_pinned());
        assert_eq!(r.server(Act::Claim { id: 64 }).changes.len(), 1);
    }

    fn register(id: u64, invite: Option<Str>) -> Act {
        Act::Register {
            id: AccountId(id),
            name: UserName::new("bob").unwrap(),
            credential: Octets::from(b"c"),
            admin: false,
            invite,
        }
    }

    #[test]
    fn registration_takes_the_name_once() {
        let mut r = rig(NameKey::User(UserName::new("bob").unwrap()));
        let out = r.server(register(64, None));
        assert!(!out.follow[0].derived, "the claim is stored, so must be what follows");
        let out = r.server(register(64, None));
        assert!(out.changes.is_empty() && matches!(out.verdict, Verdict::Follow));
        let out = r.server(register(128, Some(Str::new("hash"))));
        assert!(matches!(out.verdict, Verdict::Refused(Refusal::NameTaken)));
        assert_eq!(out.follow[0].command.to, EntityId::Name(NameKey::Invite(Str::new("hash"))));
        r.refuses(&user(5), register(192, None), Refusal::Forbidden);
        let mut taken = rig(NameKey::User(UserName::new("bob").unwrap()));
        taken.server(Act::Claim { id: guest(1).id.0 });
        assert!(matches!(taken.server(register(64, None)).verdict, Verdict::Refused(Refusal::NameTaken)));
        taken.settings.open_registration = true;
        taken.refuses(&guest(2), register(64, None), Refusal::NameTaken);
        assert!(matches!(taken.by(&guest(1), register(64, None)).verdict, Verdict::Follow));
        assert_eq!(taken.server(Act::Claim { id: 7 }).changes.len(), 0);
    }

    fn redeem(name: &str, now: u64) -> Act {
        Act::RedeemInvite {
            name: UserName::new(name).unwrap(),
            id: AccountId(64),
            credential: Octets::default(),
            now,
        }
    }

    fn mint(uses: u32, until: u64) -> Act {
        Act::MintInvite { uses, admin: true, until, by: None, contact_only: false }
    }

    #[test]
    fn an_invitation_of_a_person_says_whose_it_is() {
        let mut r = rig(NameKey::Invite(Str::new("hash")));
        let by = Some(user(1));
        r.server(Act::MintInvite { uses: 1, admin: false, until: 100, by, contact_only: true });
        r.refuses_server(redeem("a", 1), Refusal::BadInvite);
        let up = |name: &str, now| Act::UseInvite { name: UserName::new(name).unwrap(), now };
        r.refuses(&user(2), up("a", 1), Refusal::Forbidden);
        r.refuses_server(up("a", 101), Refusal::BadInvite);
        for _ in 0..2 {
            let out = r.server(up("a", 100));
            assert!(matches!(out.verdict, Verdict::Value(Value::User(u)) if u == user(1)));
        }
        r.refuses_server(up("b", 100), Refusal::BadInvite);
        let mut r = rig(NameKey::Invite(Str::new("hash")));
        r.server(mint(1, 0));
        r.refuses_server(up("a", 1), Refusal::BadInvite);
    }

    #[test]
    fn invitations_count_their_uses() {
        let mut r = rig(NameKey::Invite(Str::new("hash")));
        r.refuses_server(redeem("a", 1), Refusal::BadInvite);
        r.refuses(&user(1), mint(9, 0), Refusal::Forbidden);
        r.server(mint(2, 100));
        r.refuses_server(mint(2, 100), Refusal::NameTaken);
        r.refuses_server(redeem("a", 101), Refusal::BadInvite);
        for (name, first) in [("a", true), ("A", false), ("b", true)] {
            let out = r.server(redeem(name, 100));
            let Act::Register { invite, admin, .. } = &out.follow[0].command.act else { unreachable!() };
            assert_eq!((invite.is_some(), *admin), (first, true), "{name}");
        }
        r.refuses_server(redeem("c", 100), Refusal::BadInvite);
        for _ in 0..2 {
            r.server(Act::RestoreInvite { name: UserName::new("b").unwrap() });
        }
        assert!(matches!(r.server(redeem("c", 100)).verdict, Verdict::Follow));
        r.refuses_server(redeem("d", 100), Refusal::BadInvite);
    }
}
