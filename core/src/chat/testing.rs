//! What the tests of the state machine share: one entity with its rows beside it.

use super::{Entity, Entry, Outcome, Verdict};
use crate::{
    command::{Act, Command, EntityId},
    event::Actor,
    ids::{AccountId, Pos, ShardId},
    name::{RoomName, User, UserName},
    refusal::Refusal,
    settings::Settings,
    time::UnixMillis,
};
use alloc::format;

/// An entity, and the counters of its shard.
pub(super) struct Rig {
    pub(super) id: EntityId,
    pub(super) entity: Entity,
    pub(super) settings: Settings,
    pub(super) next: u64,
    pub(super) now: u64,
}

impl Rig {
    pub(super) fn new(id: EntityId) -> Rig {
        let settings = Settings { domain: "example.org".into(), ..Settings::default() };
        Rig { entity: Entity::fresh(&id), id, settings, next: 1, now: 1_000 }
    }

    /// Applies a command as the shard would.
    pub(super) fn run(&mut self, command: Command, again: bool) -> Outcome {
        self.now += 10;
        let at = UnixMillis(self.now.max(self.entity.last_at().0 + 1));
        let entry = Entry { command, first: Pos(self.next), at, again };
        let out = self.entity.apply(&entry, &self.settings);
        self.next += out.used();
        out
    }

    pub(super) fn by(&mut self, who: &User, act: Act) -> Outcome {
        let to = self.id.clone();
        self.run(Command { to, by: Actor::User(who.clone()), once: None, act }, false)
    }

    pub(super) fn server(&mut self, act: Act) -> Outcome {
        let to = self.id.clone();
        self.run(Command::by_server(to, act), false)
    }

    pub(super) fn refuses(&mut self, who: &User, act: Act, why: Refusal) {
        let out = self.by(who, act.clone());
        assert!(matches!(&out.verdict, Verdict::Refused(w) if *w == why), "{act:?}: {:?}", out.verdict);
    }

    pub(super) fn refuses_server(&mut self, act: Act, why: Refusal) {
        let out = self.server(act.clone());
        assert!(matches!(&out.verdict, Verdict::Refused(w) if *w == why), "{act:?}: {:?}", out.verdict);
    }
}

/// An account's user number `n`.
pub(super) fn user(n: u64) -> User {
    User::new(AccountId(n << 6), UserName::new(&format!("user{n}")).unwrap())
}

/// A guest.
pub(super) fn guest(n: u64) -> User {
    let id = AccountId::fresh(n << 6, ShardId(0), 64, true);
    User::new(id, UserName::new(&format!("guest-{n}")).unwrap())
}

pub(super) fn room_name(s: &str) -> RoomName {
    RoomName::new(s).unwrap()
}
