//! A room's rules as channel modes, both ways.
//!
//! The table of interop: `+m` is a speaking level above the default, `+t` a topic level, `+i` a join rule, `+k` a
//! password, `+s` unlisted, `+n` always, except in a guest's room. Modes of IRC alone are kept as letters in [`Policy::modes`].

use lavina_core::policy::{JoinRule, Levels, Policy, power};
use lavina_core::text::Str;

use super::limits::KEY_MAX;

/// One change of a mode: on or off, the letter, its parameter or nothing.
pub type Change = (bool, char, String);

/// Letters kept in [`Policy::modes`].
const OWN: [char; 1] = ['C'];

/// The rules of a channel newly made from IRC: `+nt`.
#[must_use]
pub fn new_channel() -> Policy {
    Policy { levels: Levels { topic: power::HELPER, ..Levels::default() }, ..Policy::default() }
}

/// All modes set, with their parameters; keys are shown as `*` unless `with_key`.
#[must_use]
pub fn modes(policy: &Policy, with_key: bool) -> Vec<Change> {
    let mut out = Vec::new();
    let mut flag = |on: bool, letter: char| {
        if on {
            out.push((true, letter, String::new()));
        }
    };
    for letter in OWN {
        flag(policy.modes.contains(letter), letter);
    }
    flag(policy.accounts_speak, 'M');
    flag(policy.accounts_join, 'R');
    flag(policy.join != JoinRule::Public, 'i');
    flag(is_moderated(policy), 'm');
    flag(!policy.outsiders, 'n');
    flag(policy.secret, 's');
    flag(is_topic_protected(policy), 't');
    if let Some(key) = &policy.password {
        out.push((true, 'k', if with_key { key.to_string() } else { "*".to_owned() }));
    }
    if let Some(limit) = policy.limit {
        out.push((true, 'l', limit.to_string()));
    }
    out
}

/// What changed, as MODE says it.
#[must_use]
pub fn diff(before: &Policy, after: &Policy) -> Vec<Change> {
    let (old, new) = (modes(before, true), modes(after, true));
    let mut out: Vec<Change> = Vec::new();
    for (_, letter, param) in &old {
        if !new.iter().any(|(_, l, _)| l == letter) {
            let param = if *letter == 'k' { param.clone() } else { String::new() };
            out.push((false, *letter, param));
        }
    }
    out.extend(new.into_iter().filter(|change| !old.contains(change)));
    out
}

/// Carries out one change of a mode that is a rule. `None`: the parameter is no good (696).
#[must_use]
pub fn set(policy: &Policy, on: bool, letter: char, param: &str) -> Option<Policy> {
    let mut to = policy.clone();
    match letter {
        'i' => to.join = if on { JoinRule::Invite } else { JoinRule::Public },
        'm' if on => to.levels.speak = to.levels.speak.max(power::VOICE),
        'm' => to.levels.speak = to.levels.users,
        's' => to.secret = on,
        // A room that is stored is for its members; that is seen to where the room is known.
        'n' => to.outsiders = !on,
        'M' => to.accounts_speak = on,
        'R' => to.accounts_join = on,
        't' if on => to.levels.topic = to.levels.topic.max(power::HELPER),
        't' => to.levels.topic = to.levels.users,
        'k' if on => to.password = Some(key(param)?),
        'k' => to.password = None,
        'l' if on => to.limit = Some(param.parse().ok().filter(|n| *n > 0)?),
        'l' => to.limit = None,
        letter if OWN.contains(&letter) => {
            let mut letters: String = to.modes.chars().filter(|l| *l != letter).collect();
            if on {
                letters.push(letter);
            }
            to.modes = Str::new(letters);
        }
        _ => {}
    }
    Some(to)
}

/// Whether CTCP other than ACTION is refused.
#[must_use]
pub fn no_ctcp(modes: &str) -> bool {
    modes.contains('C')
}

fn is_moderated(policy: &Policy) -> bool {
    policy.levels.speak > policy.levels.users
}

fn is_topic_protected(policy: &Policy) -> bool {
    policy.levels.topic > policy.levels.users
}

/// A key: printable, without spaces, commas or a colon at the front.
fn key(param: &str) -> Option<Str> {
    let fine = |b: u8| b.is_ascii_graphic() && b != b',';
    let good =
        !param.is_empty() && param.len() <= KEY_MAX && !param.starts_with(':') && param.bytes().all(fine);
    good.then(|| Str::new(param))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn letters(policy: &Policy) -> String {
        modes(policy, false).iter().map(|(_, letter, _)| *letter).collect()
    }

    #[test]
    fn a_new_channel_is_nt() {
        assert_eq!(letters(&new_channel()), "nt");
    }

    #[test]
    fn keys_and_limits() {
        let policy = set(&new_channel(), true, 'k', "secret").unwrap();
        assert!(modes(&policy, false).contains(&(true, 'k', "*".to_owned())));
        assert!(modes(&policy, true).contains(&(true, 'k', "secret".to_owned())));
        assert_eq!(diff(&policy, &new_channel()), [(false, 'k', "secret".to_owned())]);
        for bad in ["", "a b", ":x", "a,b", "é"] {
            assert_eq!(set(&new_channel(), true, 'k', bad), None, "{bad}");
        }
        for bad in ["", "0", "-1", "x"] {
            assert_eq!(set(&new_channel(), true, 'l', bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn setting_shows_what_was_set(changes in prop::collection::vec((any::<bool>(), 0usize..10), 0..8)) {
            let mut policy = new_channel();
            for (on, at) in changes {
                let letter = ['i', 'm', 's', 't', 'k', 'l', 'C', 'n', 'M', 'R'][at];
                let after = set(&policy, on, letter, "7").unwrap();
                let was = letters(&policy).contains(letter);
                let shown = diff(&policy, &after);
                if was == on {
                    prop_assert!(shown.is_empty());
                } else {
                    prop_assert_eq!(shown.len(), 1);
                    prop_assert_eq!((shown[0].0, shown[0].1), (on, letter));
                }
                prop_assert_eq!(letters(&after).contains(letter), on);
                policy = after;
            }
        }
    }
}
