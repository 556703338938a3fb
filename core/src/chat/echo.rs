//! Who repeats what others say is most likely a bridge in a loop with another one. It is muted before the room is full of
//! it, and the room is told.

use super::{Draft, room::Room};
use crate::{
    act::Act,
    command::EntityId,
    event::{Actor, Event, Kind, Message, What},
    policy::power,
    text::{Rich, Str},
    time::UnixMillis,
};
use alloc::{boxed::Box, format};

/// Characters of a line up to which people say the same by chance.
pub const CHANCE: usize = 20;

/// How long after a line another one repeats it, in milliseconds; later it is a quotation.
pub const WITHIN: u64 = 2_000;

/// Lines in a row of one person that repeat somebody's; with the last of them the person is muted.
pub const TIMES: usize = 5;

impl Room {
    /// Whether this, about to be said, is the last of so many lines in a row in which the actor repeats others. Who has
    /// the power of a moderator is trusted, and in a dialog there is nobody else to be bothered.
    pub(super) fn loops(&self, text: &str, draft: &Draft<'_>) -> bool {
        let by = &draft.entry.command.by;
        let Some(user) = by.user() else { return false };
        let trusted = self.standing(user.id).power >= power::MODERATOR;
        if trusted
            || self.is_dialog()
            || !self.is_joined(user.id)
            || !self.repeats(text, by, draft.entry.at, self.tail.len())
        {
            return false;
        }
        let own = self.tail.iter().enumerate().rev().filter(|(_, e)| e.by == *by);
        let before = own.filter_map(|(i, e)| said(e).map(|text| (i, e.at, text))).take(TIMES - 1);
        before.take_while(|(i, at, text)| self.repeats(text, by, *at, *i)).count() == TIMES - 1
    }

    /// Whether a text holds a line that somebody else said shortly before it, among the first `upto` entries of the tail.
    fn repeats(&self, text: &str, by: &Actor, at: UnixMillis, upto: usize) -> bool {
        let latest = self.tail.range(..upto).rev().take_while(|e| e.at.0.saturating_add(WITHIN) >= at.0);
        let others = latest.filter(|e| e.by != *by).filter_map(|e| said(e));
        let mut lines = others.filter(|line| line.len() <= text.len() && line.chars().nth(CHANCE).is_some());
        lines.any(|line| text.contains(line))
    }

    /// Mutes the actor, by the server.
    pub(super) fn stop_loop(&self, draft: &mut Draft<'_>) {
        let Some(user) = draft.entry.command.by.user().cloned() else { return };
        let to = EntityId::Room(self.id);
        let words = format!(
            "{} repeats what others say and was muted. A moderator can give it voice.",
            user.name.as_str()
        );
        let reason = Some(Str::new("repeats what others say"));
        let mute = Act::SetPower { user, power: power::MUTED, voiced: Some(false), reason };
        draft.follow(to.clone(), mute);
        let message = Message { body: Rich::plain(words), kind: Kind::Notice, ..Message::default() };
        draft.follow(to, Act::Say { message: Box::new(message), subject: Str::default(), parties: None });
    }
}

fn said(event: &Event) -> Option<&str> {
    match &event.what {
        What::Said(message) => Some(&message.body.text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::testing::{Rig, room_name, user},
        command::{Join, Seed},
        ids::RoomId,
        name::User,
        policy::Policy,
        refusal::Refusal,
    };
    use alloc::{string::String, vec::Vec};

    const LINE: &str = "something longer than twenty characters";

    /// A room of user 1, who made it, and users 2 and 3.
    fn room() -> Rig {
        let mut r = Rig::new(EntityId::Room(RoomId(64)));
        for n in 1..=3 {
            let seed = Seed::new(Some(room_name("r")), Policy::default(), power::OWNER);
            let join = Join { create: (n == 1).then_some(seed), ..Join::default() };
            r.by(&user(n), Act::Join(Box::new(join)));
        }
        r
    }

    fn say(text: &str) -> Act {
        let message = Message { body: Rich::plain(text), ..Message::default() };
        Act::Say { message: Box::new(message), subject: Str::default(), parties: None }
    }

    /// User 2 says a line, and somebody says it again so much later; whether that had consequences.
    fn again(r: &mut Rig, line: &str, by: &User, later: u64) -> bool {
        r.by(&user(2), say(line));
        r.now += later;
        !r.by(by, say(&format!("<user2> {line}"))).follow.is_empty()
    }

    #[test]
    fn the_fifth_line_in_a_row_that_repeats_another_mutes() {
        let mut r = room();
        let bridge = user(3);
        for n in 1..TIMES {
            assert!(!again(&mut r, &format!("{LINE} {n}"), &bridge, 0));
        }
        r.by(&user(2), say(LINE));
        let out = r.by(&bridge, say(LINE));
        let acts: Vec<_> = out.follow.iter().map(|f| f.command.clone()).collect();
        assert!(acts.iter().all(|c| c.by == Actor::Server && c.to == r.id));
        for command in acts {
            assert!(!r.run(command, false).events.is_empty());
        }
        r.refuses(&bridge, say("x"), Refusal::Muted);
    }

    #[test]
    fn people_who_say_the_same_are_not_muted() {
        for (line, by, later) in [("yes", 3, 0), (LINE, 3, WITHIN), (LINE, 1, 0), (LINE, 2, 0)] {
            let mut r = room();
            let done = (0..2 * TIMES).any(|_| again(&mut r, line, &user(by), later));
            assert!(!done, "{line} by {by} after {later} ms");
        }
        // A line of one's own between them.
        let mut r = room();
        for n in 0..2 * TIMES {
            assert!(!again(&mut r, LINE, &user(3), 0), "{n}");
            if n % (TIMES - 1) == TIMES - 2 {
                r.now += WITHIN;
                r.by(&user(3), say(&String::from("my own opinion of that, at length")));
            }
        }
    }
}
