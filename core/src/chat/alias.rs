//! What an account is called in one room besides its name.
//!
//! An alias belongs to the membership: it comes with the join, stays for as long as the account is a member, whoever of
//! its sessions is there, and goes with it. It is for showing and decides nothing. In a room no two members are called
//! alike, and nobody is called as another member is named; that nobody is called as somebody *outside* is named is for
//! whoever asks to see to ([`Alias::free`]), as is the folding of what is compared. Where a name comes into a room after
//! an alias that is like it, the alias gives way. Guests have none: theirs is part of who they are.

use super::{DONE, Done, Draft, Verdict, at_most, room::Room};
use crate::{
    event::{Actor, How, MemberChange, What},
    ids::AccountId,
    name::{Alias, User},
    policy::{Member, Membership},
    refusal::Refusal,
    settings::Settings,
    text::Str,
};
use alloc::boxed::Box;

/// Refuses an alias that is none, or too long.
pub(super) fn check_alias(alias: Option<&Alias>, settings: &Settings) -> Result<(), Refusal> {
    let Some(alias) = alias else { return Ok(()) };
    if alias.text.is_empty() || alias.key.is_empty() {
        return Err(Refusal::Invalid("an empty alias"));
    }
    at_most(&alias.text, settings.limits.alias)?;
    at_most(&alias.key, 2 * settings.limits.alias)
}

impl Room {
    /// The alias that an account has here.
    pub(super) fn alias_of(&self, user: &User) -> Option<&Str> {
        self.members.get(&user.id).filter(|_| !user.is_guest())?.user.alias.as_ref()
    }

    /// Somebody as the room knows them.
    pub(crate) fn called(&self, user: &User) -> User {
        let alias = if user.is_guest() { user.alias.as_ref() } else { self.alias_of(user) };
        User { alias: alias.cloned(), ..user.clone() }
    }

    /// Who makes an entry, as the room knows them with it.
    pub(super) fn called_by(&self, by: &Actor, what: &What) -> Actor {
        match (by, what) {
            (Actor::User(user), What::Member(change)) if change.user.id == user.id => {
                Actor::User(change.user.clone())
            }
            (Actor::User(user), _) => Actor::User(self.called(user)),
            (Actor::Server, _) => Actor::Server,
        }
    }

    /// Somebody whose membership changes, as the change shows them and as the row keeps them. `new`: what one who comes
    /// in is called from then on.
    pub(super) fn called_then(&self, user: &User, after: Membership, new: Option<&Alias>) -> (User, User) {
        if user.is_guest() {
            return (user.clone(), user.clone());
        }
        let alias = new.map(|a| a.text.clone()).or_else(|| self.alias_of(user).cloned());
        let kept = alias.clone().filter(|_| after == Membership::Joined);
        (User { alias, ..user.clone() }, User { alias: kept, ..user.clone() })
    }

    /// What one who comes in is called of what they want to be called.
    pub(super) fn grant_alias(&self, user: &User, wanted: Option<&Alias>) -> Result<Option<Alias>, Refusal> {
        let own = |alias: &&Alias| user.is_guest() || user.name.as_str().eq_ignore_ascii_case(&alias.key);
        let Some(alias) = wanted.filter(|alias| !own(alias)) else { return Ok(None) };
        if self.is_called(alias, user.id) {
            Err(Refusal::NameTaken)
        } else {
            Ok(Some(alias.clone()).filter(|a| a.free))
        }
    }

    /// Whether another member is called so, or named so.
    fn is_called(&self, alias: &Alias, by: AccountId) -> bool {
        let named = |m: &Member| {
            m.standing.membership == Membership::Joined
                && m.user.id != by
                && m.user.name.as_str().eq_ignore_ascii_case(&alias.key)
        };
        let holder = self.aliases.get(&alias.key).filter(|holder| **holder != by);
        (holder.is_some() && !alias.idle) || self.members.values().any(named)
    }

    /// A member is called otherwise from here on.
    pub(super) fn set_alias(&mut self, wanted: Option<&Alias>, draft: &mut Draft<'_>) -> Done {
        check_alias(wanted, draft.settings)?;
        let user = draft.entry.command.by.user().cloned().ok_or(Refusal::NotMember)?;
        let row = self.members.get(&user.id).filter(|_| self.is_joined(user.id)).ok_or(Refusal::NotMember)?;
        let now = row.user.alias.clone();
        let alias = self.grant_alias(&user, wanted)?;
        if alias.is_none() && wanted.is_some_and(|a| !a.free) {
            return Err(Refusal::NameTaken);
        }
        if user.is_guest() || now.as_deref() == alias.as_ref().map(|a| a.text.as_str()) {
            return Ok(DONE);
        }
        let key = alias.as_ref().map_or_else(|| Str::new(user.name.folded()), |a| a.key.clone());
        self.end_alias(&key, user.id, draft);
        self.put_alias(user.id, alias, draft);
        Ok(Verdict::ByEvent)
    }

    /// Whoever else has this alias is called by the name from here on.
    pub(super) fn end_alias(&mut self, key: &str, but: AccountId, draft: &mut Draft<'_>) {
        if let Some(holder) = self.aliases.get(key).copied().filter(|holder| *holder != but) {
            self.put_alias(holder, None, draft);
        }
    }

    fn put_alias(&mut self, id: AccountId, alias: Option<Alias>, draft: &mut Draft<'_>) {
        let Some(row) = self.members.get(&id).cloned() else { return };
        let (text, key) = alias.map(|a| (a.text, a.key)).unzip();
        let user = User { alias: text, ..row.user.clone() };
        let change = MemberChange {
            user: user.clone(),
            before: row.standing,
            after: row.standing,
            how: How::Alias,
            reason: Some(row.user.alias.clone().unwrap_or_else(|| Str::new(row.user.name.as_str()))),
            display: row.display.clone(),
            levels: self.policy().levels,
            native: row.native.clone(),
        };
        self.emit(draft, What::Member(Box::new(change)));
        self.put_member(draft, id, Some(Member { user, alias_key: key, ..row }));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        chat::{Entity, Outcome, testing::*},
        command::{Act, EntityId, Join, Seed},
        event::Message,
        ids::RoomId,
        name::UserName,
        policy::{Policy, power},
        text::Rich,
    };
    use alloc::{vec, vec::Vec};

    pub(in crate::chat) fn alias(text: &str) -> Alias {
        Alias { text: Str::new(text), key: Str::new(text.to_lowercase()), free: true, idle: false }
    }

    pub(in crate::chat) fn come_as(alias: Alias) -> Act {
        let seed = Seed::new(Some(room_name("lobby")), Policy::default(), power::OWNER);
        Act::Join(Box::new(Join { create: Some(seed), alias: Some(alias), ..Join::default() }))
    }

    fn come() -> Act {
        Act::Join(Box::new(Join { create: None, ..Join::default() }))
    }

    fn say() -> Act {
        let message = Box::new(Message { body: Rich::plain("t"), ..Message::default() });
        Act::Say { message, subject: Str::default(), parties: None }
    }

    /// The first user's room, where he is called Owner.
    fn rig() -> Rig {
        let mut r = Rig::new(EntityId::Room(RoomId(64)));
        r.by(&user(1), come_as(alias("Owner")));
        r
    }

    /// What the member is called, as its row says.
    fn row(r: &Rig, who: &User) -> Option<Str> {
        let Entity::Room(room) = &r.entity else { unreachable!() };
        room.members.get(&who.id).and_then(|m| m.user.alias.clone())
    }

    /// Of each entry: how a member changed, what he was called and what he is called.
    fn changes(out: &Outcome) -> Vec<(How, Option<&str>, Option<&str>)> {
        let changes = out.events.iter().filter_map(|e| match &e.what {
            What::Member(m) => Some((m.how, m.reason.as_deref(), m.user.alias.as_deref())),
            _ => None,
        });
        changes.collect()
    }

    #[test]
    fn it_stands_in_every_entry_of_a_member_and_goes_with_it() {
        let mut r = rig();
        let out = r.by(&user(2), come_as(alias("Al")));
        assert_eq!(changes(&out), vec![(How::Join, None, Some("Al"))]);
        let by = |out: &Outcome| out.events[0].by.user().and_then(|u| u.alias.clone());
        assert_eq!(by(&out).as_deref(), Some("Al"));
        assert_eq!(by(&r.by(&user(2), say())).as_deref(), Some("Al"));
        let raised = Act::SetPower { user: user(2), power: 50, voiced: None, reason: None };
        let out = r.by(&user(1), raised);
        assert_eq!(by(&out).as_deref(), Some("Owner"));
        assert_eq!(changes(&out), vec![(How::Power, None, Some("Al"))]);
        let out = r.by(&user(2), Act::Leave { reason: None, quit: false, same: 0 });
        assert_eq!((changes(&out), by(&out).as_deref()), (vec![(How::Part, None, Some("Al"))], Some("Al")));
        // The rank outlives it, the alias does not.
        assert_eq!(row(&r, &user(2)), None);
        let out = r.by(&user(3), come_as(alias("Al")));
        assert_eq!(changes(&out), vec![(How::Join, None, Some("Al"))]);
        let out = r.by(&user(1), Act::Kick { user: user(3), reason: None, native: None });
        assert_eq!(changes(&out), vec![(How::Kick, None, Some("Al"))]);
    }

    #[test]
    fn no_two_are_called_alike() {
        let mut r = rig();
        r.refuses(&user(2), come_as(alias("owner")), Refusal::NameTaken);
        r.refuses(&user(2), come_as(alias("USER1")), Refusal::NameTaken);
        r.refuses(&user(2), come_as(Alias { free: false, ..alias("user1") }), Refusal::NameTaken);
        r.refuses(&user(2), come_as(alias("")), Refusal::Invalid("an empty alias"));
        r.refuses(&user(2), come_as(alias(&"x".repeat(129))), Refusal::TooLong);
        // One's own name needs no alias; that of somebody outside is not given.
        r.by(&user(2), come_as(alias("User2")));
        r.by(&user(3), come_as(Alias { free: false, ..alias("user9") }));
        assert_eq!((row(&r, &user(2)), row(&r, &user(3))), (None, None));
        // Whose holder is not there gives way.
        let out = r.by(&user(4), come_as(Alias { idle: true, ..alias("OWNER") }));
        assert_eq!(changes(&out), vec![(How::Alias, Some("Owner"), None), (How::Join, None, Some("OWNER"))]);
        assert_eq!(row(&r, &user(1)), None);
        r.refuses(&user(1), Act::Alias(Some(alias("owner"))), Refusal::NameTaken);
    }

    #[test]
    fn a_name_that_comes_takes_the_alias_away() {
        let mut r = rig();
        r.by(&user(2), come_as(alias("User3")));
        let out = r.by(&user(3), come());
        assert_eq!(changes(&out), vec![(How::Alias, Some("User3"), None), (How::Join, None, None)]);
        let ghost = guest(5);
        r.by(&user(2), Act::Alias(Some(alias("Spook"))));
        r.by(&ghost, come());
        let to = User { name: UserName::new("spook").unwrap(), ..ghost.clone() };
        let out = r.by(&ghost, Act::Rename { to, same: 1 });
        let old = Some(ghost.name.as_str());
        assert_eq!(changes(&out), vec![(How::Alias, Some("Spook"), None), (How::Rename, old, None)]);
    }

    #[test]
    fn a_member_is_called_otherwise() {
        let mut r = rig();
        r.refuses(&user(2), Act::Alias(Some(alias("Al"))), Refusal::NotMember);
        r.by(&user(2), come());
        let out = r.by(&user(2), Act::Alias(Some(alias("Al"))));
        assert_eq!(changes(&out), vec![(How::Alias, Some("user2"), Some("Al"))]);
        assert!(r.by(&user(2), Act::Alias(Some(alias("Al")))).events.is_empty());
        let out = r.by(&user(2), Act::Alias(Some(alias("AL"))));
        assert_eq!(changes(&out), vec![(How::Alias, Some("Al"), Some("AL"))]);
        r.refuses(&user(2), Act::Alias(Some(Alias { free: false, ..alias("user9") })), Refusal::NameTaken);
        // Another spelling of the name changes nothing of it.
        let to = User { name: UserName::new("USER2").unwrap(), ..user(2) };
        r.server(Act::Rename { to, same: 0 });
        assert_eq!(row(&r, &user(2)).as_deref(), Some("AL"));
        let out = r.by(&user(2), Act::Alias(None));
        assert_eq!(changes(&out), vec![(How::Alias, Some("AL"), None)]);
        let out = r.by(&user(1), Act::SetTopic(Rich::plain("u")));
        assert_eq!(out.events.len(), 1);
        let Entity::Room(room) = &r.entity else { unreachable!() };
        assert_eq!(room.topic.as_ref().and_then(|t| t.alias.as_deref()), Some("Owner"));
        // A guest's belongs to itself, in every room.
        let ghost = User { alias: Some(Str::new("ident")), ..guest(5) };
        let out = r.by(&ghost, come_as(alias("Ghost")));
        assert_eq!(changes(&out), vec![(How::Join, None, Some("ident"))]);
        assert!(r.by(&ghost, Act::Alias(Some(alias("Ghost")))).events.is_empty());
    }
}
