//! The settings that the core itself reads. A new value is an input.

use crate::{
    chat::room::Room,
    event::{Event, Fact},
    limits::Limits,
    policy::Power,
    seal::Seal,
    text::Str,
};
use alloc::vec::Vec;

/// What the operator decided. `shards` is fixed when the store is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The server's domain, lower case.
    pub domain: Str,
    /// Logical shards: a power of two up to 64.
    pub shards: u8,
    /// Sizes and counts.
    pub limits: Limits,
    /// People without an account.
    pub guests: Guests,
    /// Whether anybody may make an account without an invitation.
    pub open_registration: bool,
    /// Who may make rooms.
    pub create_rooms: WhoMay,
    /// True: a room ends with its last member's leaving.
    pub ephemeral_rooms: bool,
    /// Known to this server only: keys what must look random but stay the same.
    pub secret: [u8; 32],
    /// How the facts of an open room are made; `None`: no protocol wants any.
    pub facts: Option<FactsOf>,
    /// How entries of an open room are sealed; `None`: no protocol wants that.
    pub seals: Option<SealsOf>,
    /// What it takes to set a named value of an open room, where its protocol has rules of its own for that.
    pub level: Option<LevelOf>,
}

/// The power that setting this named value of an open room takes; `None`: what any other takes. It is called inside
/// `apply`: it must be pure and quick.
#[derive(Clone, Copy, Debug)]
pub struct LevelOf(pub fn(&Room, &str) -> Option<Power>);

impl PartialEq for LevelOf {
    /// There is one such function in a program.
    fn eq(&self, _: &LevelOf) -> bool {
        true
    }
}

impl Eq for LevelOf {}

/// Makes the facts that an entry of an open room sets. It is called with the room as it was before the
/// entry, inside `apply`: it must be pure and quick. [`crate::event::Fact::before`] is filled in after.
#[derive(Clone, Copy, Debug)]
pub struct FactsOf(pub fn(&Room, &Event, &Settings) -> Vec<Fact>);

impl PartialEq for FactsOf {
    /// There is one such function in a program.
    fn eq(&self, _: &FactsOf) -> bool {
        true
    }
}

impl Eq for FactsOf {}

/// Seals entries of open rooms. Both are called inside `apply`: they must be pure and quick.
#[derive(Clone, Copy, Debug)]
pub struct SealsOf {
    /// Seals an entry that has its facts: fills in [`Event::sealed`]. It is called with the room as it was before the
    /// entry; what the entry is about is in its memory. The answer is what the room is called, if that is known from
    /// this entry on.
    pub seal: fn(&Room, &mut Event, &Settings) -> Option<Str>,
    /// What is to be kept of a piece of a sealed entry whose content is about to go, to know it again.
    pub left: fn(&Room, &Event, u8, &Settings) -> Option<Seal>,
}

impl PartialEq for SealsOf {
    /// There is one such pair in a program.
    fn eq(&self, _: &SealsOf) -> bool {
        true
    }
}

impl Eq for SealsOf {}

/// People without an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guests {
    /// None.
    #[default]
    Off,
    /// Under names marked as guests' (`guest-foo`).
    Named,
    /// Under any name unlike all accounts'.
    Free,
}

/// Who may do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhoMay {
    /// Administrators.
    Admins,
    /// Everybody with an account.
    #[default]
    Accounts,
    /// Guests too (their rooms live in memory only).
    Everybody,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            domain: Str::new("localhost"),
            shards: 64,
            limits: Limits::default(),
            guests: Guests::default(),
            open_registration: false,
            create_rooms: WhoMay::default(),
            ephemeral_rooms: false,
            secret: [0; 32],
            facts: None,
            seals: None,
            level: None,
        }
    }
}
