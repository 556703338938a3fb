//! Rules of a room, and the standing of a person in it.

use crate::{
    event::Native,
    ids::{AccountId, Pos},
    name::User,
    seal::Seal,
    text::Str,
    time::UnixMillis,
};
use alloc::{boxed::Box, string::String, vec::Vec};
use minicbor::{Decode, Encode};

/// A person's power in a room: higher acts on lower. See the bands in [`power`].
pub type Power = i32;

/// The named powers; the bands between them are what protocols show.
pub mod power {
    use super::Power;

    /// Whoever made the room, where nobody can be above its maker; only another maker is equal.
    pub const CREATOR: Power = Power::MAX - 1;
    /// Owner: 100 and above.
    pub const OWNER: Power = 100;
    /// Administrator: 75 to 99.
    pub const ADMIN: Power = 75;
    /// Moderator, operator: 50 to 74.
    pub const MODERATOR: Power = 50;
    /// Half operator: 25 to 49.
    pub const HELPER: Power = 25;
    /// Voice: 10 to 24.
    pub const VOICE: Power = 10;
    /// Everybody else.
    pub const NORMAL: Power = 0;
    /// Below the default speaking level.
    pub const MUTED: Power = -1;

    /// The least power of the band that `p` lies in.
    pub fn band(p: Power) -> Power {
        [OWNER, ADMIN, MODERATOR, HELPER, VOICE, NORMAL]
            .into_iter()
            .find(|least| p >= *least)
            .unwrap_or(MUTED)
    }
}

/// How somebody belongs to a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Membership {
    /// Not at all, or no more.
    #[n(0)]
    #[default]
    Left,
    /// May come.
    #[n(1)]
    Invited,
    /// Belongs.
    #[n(2)]
    Joined,
    /// Shut out.
    #[n(3)]
    Banned,
    /// Asks to be let in.
    #[n(4)]
    Knocking,
}

/// Membership and power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Standing {
    /// How one belongs.
    #[n(0)]
    pub membership: Membership,
    /// What one may.
    #[n(1)]
    pub power: Power,
}

/// Somebody's row in a room.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// Who.
    #[n(0)]
    pub user: User,
    /// How.
    #[n(1)]
    pub standing: Standing,
    /// The entry that began the present membership.
    #[n(2)]
    pub since: Pos,
    /// When that was.
    #[n(3)]
    pub at: UnixMillis,
    /// Who invited, banned or admitted, if it was somebody else.
    #[n(4)]
    pub by: Option<Box<User>>,
    /// Why, for people.
    #[n(5)]
    pub reason: Option<Str>,
    /// True: voice was given while a higher band was held; it is where taking that band falls to.
    #[n(6)]
    pub voiced: bool,
    /// Display name at the join.
    #[n(7)]
    pub display: Option<Str>,
    /// The entry that invited to the present stay, if one did.
    #[n(8)]
    pub invited: Option<Pos>,
    /// The last stay that ended: its first entry (the invitation's, if there was one), the entry of the
    /// join, and its last. Kept in open rooms only.
    #[n(9)]
    pub stay: Option<Stay>,
    /// How one shows oneself, in the form of one protocol.
    #[n(10)]
    pub native: Option<Native>,
    /// Up to where one has read, as far as the others may know; one for each [`ReadTo::thread`].
    #[n(11)]
    #[cbor(default)]
    pub seen: Vec<ReadTo>,
    /// By what its alias in the room is compared ([`crate::name::Alias::key`]); `None`: it has none, or is a guest.
    #[n(12)]
    pub alias_key: Option<Str>,
}

/// How a member shows itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Shown {
    /// Who.
    #[n(0)]
    pub who: AccountId,
    /// Display name.
    #[n(1)]
    pub display: Option<Str>,
    /// The form of one protocol.
    #[n(2)]
    pub native: Option<Native>,
}

/// Up to where somebody has read, for others to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ReadTo {
    /// In which part of the room, as the reader's protocol calls it; empty: in the room as a whole.
    #[n(0)]
    pub thread: Str,
    /// The last entry read.
    #[n(1)]
    pub pos: Pos,
    /// What the reader's protocol calls that entry; may be empty.
    #[n(2)]
    pub name: Str,
    /// When.
    #[n(3)]
    pub at: UnixMillis,
    /// The seal of that entry, where entries are sealed and the reader's protocol gave no name.
    #[n(4)]
    pub seal: Option<Seal>,
}

impl Member {
    /// A row that says nothing but who stands how, and since when.
    pub fn new(user: User, standing: Standing, since: Pos, at: UnixMillis) -> Member {
        Member {
            user,
            standing,
            since,
            at,
            by: None,
            reason: None,
            voiced: false,
            display: None,
            invited: None,
            stay: None,
            native: None,
            seen: Vec::new(),
            alias_key: None,
        }
    }
}

/// A stay in a room that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Stay {
    /// The invitation, or the join.
    #[n(0)]
    pub invited: Pos,
    /// The join.
    #[n(1)]
    pub joined: Pos,
    /// The leaving.
    #[n(2)]
    pub left: Pos,
}

/// Who may come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum JoinRule {
    /// Anybody (with the password, where one is set).
    #[n(0)]
    #[default]
    Public,
    /// Who is invited.
    #[n(1)]
    Invite,
    /// Who is invited; others may ask.
    #[n(2)]
    Knock,
}

/// Who may read what was said earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Visibility {
    /// Members, everything.
    #[n(0)]
    #[default]
    Shared,
    /// Members, from their present join on.
    #[n(1)]
    Joined,
    /// Anybody.
    #[n(2)]
    World,
    /// Members, from the invitation to their present stay on.
    #[n(3)]
    Invited,
}

/// The power needed for each act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Levels {
    /// To speak.
    #[n(0)]
    pub speak: Power,
    /// To invite.
    #[n(1)]
    pub invite: Power,
    /// To kick.
    #[n(2)]
    pub kick: Power,
    /// To ban.
    #[n(3)]
    pub ban: Power,
    /// To withdraw others' messages.
    #[n(4)]
    pub redact: Power,
    /// To set the topic.
    #[n(5)]
    pub topic: Power,
    /// To change anything else.
    #[n(6)]
    pub state: Power,
    /// What a newcomer has.
    #[n(7)]
    pub users: Power,
}

impl Default for Levels {
    /// Rooms made by clients of line and stanza protocols: kick, redact 25; ban, state 50; the topic
    /// is free until protected (25).
    fn default() -> Levels {
        Levels { speak: 0, invite: 0, kick: 25, ban: 50, redact: 25, topic: 25, state: 50, users: 0 }
    }
}

/// The rules of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Policy {
    /// Who may come in.
    #[n(0)]
    pub join: JoinRule,
    /// What newcomers must know.
    #[n(1)]
    pub password: Option<Str>,
    /// True: not in the public list, and told to members only.
    #[n(2)]
    pub secret: bool,
    /// Who reads the past.
    #[n(3)]
    pub history: Visibility,
    /// Most members that may join.
    #[n(4)]
    pub limit: Option<u32>,
    /// The powers needed.
    #[n(5)]
    pub levels: Levels,
    /// A longer name for people.
    #[n(6)]
    pub title: Str,
    /// What it is about.
    #[n(7)]
    pub description: Str,
    /// Modes of one protocol without a neutral meaning, as that protocol writes them.
    #[n(8)]
    pub modes: Str,
    /// True: who is no member may speak. Only a room in memory can have this.
    #[n(9)]
    pub outsiders: bool,
    /// True: only who has an account comes in.
    #[n(10)]
    pub accounts_join: bool,
    /// True: only who has an account, or voice, speaks.
    #[n(11)]
    pub accounts_speak: bool,
    /// True: where only invited people come in, the level for inviting alone says who invites; else that needs the
    /// level for kicking too.
    #[n(12)]
    #[cbor(default)]
    pub invites: bool,
}

impl Policy {
    /// What `to` changes of `from`, done to `now`; `None` when both changed the same thing, differently.
    pub fn merge(from: &Policy, to: &Policy, now: &Policy) -> Option<Policy> {
        let (f, t, n) = (&from.levels, &to.levels, &now.levels);
        let levels = Levels {
            speak: merged(f.speak, t.speak, n.speak)?,
            invite: merged(f.invite, t.invite, n.invite)?,
            kick: merged(f.kick, t.kick, n.kick)?,
            ban: merged(f.ban, t.ban, n.ban)?,
            redact: merged(f.redact, t.redact, n.redact)?,
            topic: merged(f.topic, t.topic, n.topic)?,
            state: merged(f.state, t.state, n.state)?,
            users: merged(f.users, t.users, n.users)?,
        };
        Some(Policy {
            join: merged(from.join, to.join, now.join)?,
            password: merged(&from.password, &to.password, &now.password)?.clone(),
            secret: merged(from.secret, to.secret, now.secret)?,
            history: merged(from.history, to.history, now.history)?,
            limit: merged(from.limit, to.limit, now.limit)?,
            levels,
            title: merged(&from.title, &to.title, &now.title)?.clone(),
            description: merged(&from.description, &to.description, &now.description)?.clone(),
            modes: merged(&from.modes, &to.modes, &now.modes)?.clone(),
            outsiders: merged(from.outsiders, to.outsiders, now.outsiders)?,
            accounts_join: merged(from.accounts_join, to.accounts_join, now.accounts_join)?,
            accounts_speak: merged(from.accounts_speak, to.accounts_speak, now.accounts_speak)?,
            invites: merged(from.invites, to.invites, now.invites)?,
        })
    }

    /// What it takes to invite.
    pub fn invite_level(&self) -> Power {
        match self.join {
            JoinRule::Invite | JoinRule::Knock if !self.invites => self.levels.invite.max(self.levels.kick),
            _ => self.levels.invite,
        }
    }
}

/// One value of three: what a change makes of it, if nobody else has made something else of it.
fn merged<T: PartialEq>(from: T, to: T, now: T) -> Option<T> {
    match (from == to, from == now || to == now) {
        (true, _) => Some(now),
        (false, true) => Some(to),
        (false, false) => None,
    }
}

/// Which list a mask is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum MaskKind {
    /// Shut out.
    #[n(0)]
    Ban,
    /// Let in although a ban fits.
    #[n(1)]
    BanExcept,
    /// Let in although not invited.
    #[n(2)]
    InviteExcept,
    /// May come but not speak.
    #[n(3)]
    Mute,
    /// Speaks although a mute fits.
    #[n(4)]
    MuteExcept,
}

/// A pattern (`*` and `?`) on one of the lists.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MaskEntry {
    /// Which list.
    #[n(0)]
    pub kind: MaskKind,
    /// The pattern; compared with the subject of a join or message.
    #[n(1)]
    pub mask: Str,
    /// Who set it.
    #[n(2)]
    pub by: Str,
    /// When.
    #[n(3)]
    pub at: UnixMillis,
}

/// Compares a pattern (`*` any run, `?` any one character) with a text, ignoring ASCII case.
/// Linear in practice: only the last `*` is ever tried again.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (p, t) = (folded(pattern), folded(text));
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < t.len() {
        match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(c) if *c == '?' || *c == t[j] => {
                i += 1;
                j += 1;
            }
            _ => match star {
                Some((si, sj)) => {
                    star = Some((si, sj + 1));
                    i = si + 1;
                    j = sj + 1;
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

fn folded(s: &str) -> Vec<char> {
    let s: String = s.to_ascii_lowercase();
    s.chars().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (p, t, want) in [
            ("*", "", true),
            ("", "", true),
            ("?", "", false),
            ("a*c", "ABC", true),
            ("a*c", "abcd", false),
            ("*!*@host", "nick!user@host", true),
            ("b?b!*@*", "bob!x@y", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxcxxb", false),
        ] {
            assert_eq!(glob(p, t), want, "{p} {t}");
        }
    }

    #[test]
    fn bands() {
        assert_eq!(power::band(100), power::OWNER);
        assert_eq!(power::band(99), power::ADMIN);
        assert_eq!(power::band(9), power::NORMAL);
        assert_eq!(power::band(-5), power::MUTED);
    }
}
