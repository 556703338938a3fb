//! Channel modes: one table, the parser of a MODE command's parameters, and the writer of its changes.

use super::limits::MODES_MAX;

/// How a mode takes its parameter (the four groups of ISUPPORT CHANMODES, and PREFIX).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A list of masks; without parameter it is asked for. Group A.
    List,
    /// A parameter always. Group B.
    Key,
    /// A parameter when set. Group C.
    Limit,
    /// No parameter. Group D.
    Flag,
    /// A rank of a member, with the prefix shown in front of the nick.
    Rank(char),
}

/// One row of the table of channel modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// The letter.
    pub letter: char,
    /// How it takes its parameter.
    pub kind: Kind,
    /// What it does, for HELP.
    pub help: &'static str,
}

/// Every channel mode; ranks from the highest down.
pub const MODES: &[Mode] = &[
    row('b', Kind::List, "keeps out whoever fits the mask; m: in front of it mutes instead"),
    row('e', Kind::List, "lets in whoever fits the mask in spite of +b"),
    row('I', Kind::List, "lets in whoever fits the mask in spite of +i"),
    row('k', Kind::Key, "asks for a key at the door"),
    row('l', Kind::Limit, "limits the number of members"),
    row('C', Kind::Flag, "no CTCP but ACTION"),
    row('M', Kind::Flag, "only voiced members and those with an account may speak"),
    row('R', Kind::Flag, "only those with an account may join"),
    row('i', Kind::Flag, "only who is invited may join"),
    row('m', Kind::Flag, "only voiced members and above may speak"),
    row('n', Kind::Flag, "only members may speak"),
    row('s', Kind::Flag, "not listed"),
    row('t', Kind::Flag, "only half-operators and above set the topic"),
    row('q', Kind::Rank('~'), "owner"),
    row('a', Kind::Rank('&'), "administrator"),
    row('o', Kind::Rank('@'), "operator"),
    row('h', Kind::Rank('%'), "half-operator"),
    row('v', Kind::Rank('+'), "voice"),
];

/// Letters of user modes: `B` is a bot, `R` takes private messages of accounts only, `T` takes no CTCP, `i` invisible, `o` operator of the server, `r` logged in, `w` gets WALLOPS.
pub const USER_MODES: &str = "BRTiorw";

/// One change asked for, or what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// A change.
    Set {
        /// `+` or `-`.
        on: bool,
        /// The mode.
        mode: Mode,
        /// Its parameter; empty for a flag and for a limit taken away.
        param: &'a str,
    },
    /// A list mode without parameter: show the list.
    Show(Mode),
    /// A letter that is not in the table: 472.
    Unknown(char),
    /// A parameter is missing: 461 or 696.
    Missing(Mode),
}

/// The row of a letter.
#[must_use]
pub fn mode(letter: char) -> Option<Mode> {
    MODES.iter().copied().find(|m| m.letter == letter)
}

/// The row of a rank's prefix character.
#[must_use]
pub fn rank_of_prefix(prefix: char) -> Option<Mode> {
    MODES.iter().copied().find(|m| m.kind == Kind::Rank(prefix))
}

/// Reads the parameters of MODE after the target. Changes with a parameter beyond [`MODES_MAX`] are dropped. A key is
/// taken away with or without its parameter.
#[must_use]
pub fn parse<'a>(params: &[&'a str]) -> Vec<Change<'a>> {
    let Some((letters, rest)) = params.split_first() else { return Vec::new() };
    let (mut on, mut used, mut out) = (true, 0, Vec::new());
    let mut rest = rest.iter();
    for letter in letters.chars() {
        match letter {
            '+' => on = true,
            '-' => on = false,
            _ => {
                let Some(mode) = mode(letter) else {
                    out.push(Change::Unknown(letter));
                    continue;
                };
                let takes = match mode.kind {
                    Kind::Flag => false,
                    Kind::Limit => on,
                    Kind::List | Kind::Key | Kind::Rank(_) => true,
                };
                let param = if takes { rest.next().copied() } else { None };
                used += usize::from(param.is_some());
                if used > MODES_MAX {
                    break;
                }
                out.push(match param {
                    Some("") if mode.kind == Kind::List => Change::Show(mode),
                    Some(param) => Change::Set { on, mode, param },
                    None if !takes || (mode.kind == Kind::Key && !on) => Change::Set { on, mode, param: "" },
                    None if mode.kind == Kind::List => Change::Show(mode),
                    None => Change::Missing(mode),
                });
            }
        }
    }
    out
}

/// Writes changes as parameters: the letters with their signs, then what they take.
#[must_use]
pub fn compose<'a>(changes: &'a [(bool, char, &'a str)]) -> (String, Vec<&'a str>) {
    let (mut letters, mut params, mut sign) = (String::new(), Vec::new(), None);
    for (on, letter, param) in changes {
        if sign != Some(*on) {
            letters.push(if *on { '+' } else { '-' });
            sign = Some(*on);
        }
        letters.push(*letter);
        if !param.is_empty() {
            params.push(*param);
        }
    }
    (letters, params)
}

/// The value of ISUPPORT CHANMODES.
#[must_use]
pub fn chanmodes() -> String {
    let group = |kind| MODES.iter().filter(move |m| m.kind == kind).map(|m| m.letter).collect::<String>();
    [Kind::List, Kind::Key, Kind::Limit, Kind::Flag].map(group).join(",")
}

/// The value of ISUPPORT PREFIX.
#[must_use]
pub fn prefix() -> String {
    let (mut letters, mut prefixes) = (String::new(), String::new());
    for mode in MODES {
        if let Kind::Rank(prefix) = mode.kind {
            letters.push(mode.letter);
            prefixes.push(prefix);
        }
    }
    format!("({letters}){prefixes}")
}

/// All prefix characters, highest first: ISUPPORT STATUSMSG.
#[must_use]
pub fn statusmsg() -> String {
    MODES.iter().filter_map(|m| if let Kind::Rank(prefix) = m.kind { Some(prefix) } else { None }).collect()
}

const fn row(letter: char, kind: Kind, help: &'static str) -> Mode {
    Mode { letter, kind, help }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn set(on: bool, letter: char, param: &str) -> Change<'_> {
        Change::Set { on, mode: mode(letter).unwrap(), param }
    }

    #[test]
    fn tokens() {
        assert_eq!(chanmodes(), "beI,k,l,CMRimnst");
        assert_eq!(prefix(), "(qaohv)~&@%+");
        assert_eq!(statusmsg(), "~&@%+");
    }

    #[test]
    fn a_mixed_string() {
        assert_eq!(
            parse(&["+ob-l+x-k+kl", "alice", "*!*@h", "old", "new", "5"]),
            [
                set(true, 'o', "alice"),
                set(true, 'b', "*!*@h"),
                set(false, 'l', ""),
                Change::Unknown('x'),
                set(false, 'k', "old"),
                set(true, 'k', "new"),
                set(true, 'l', "5"),
            ]
        );
    }

    #[test]
    fn missing_parameters() {
        assert_eq!(parse(&["b"]), [Change::Show(mode('b').unwrap())]);
        assert_eq!(parse(&["+o"]), [Change::Missing(mode('o').unwrap())]);
        assert_eq!(parse(&["-k"]), [set(false, 'k', "")]);
        assert_eq!(parse(&["+l"]), [Change::Missing(mode('l').unwrap())]);
        assert_eq!(parse(&[]), []);
    }

    #[test]
    fn too_many_parameters_are_dropped() {
        let letters = "v".repeat(MODES_MAX + 5);
        let mut params = vec![letters.as_str()];
        params.extend(["x"; MODES_MAX + 5]);
        assert_eq!(parse(&params).len(), MODES_MAX);
    }

    #[test]
    fn writing() {
        let (letters, params) = compose(&[(false, 'o', "a"), (true, 'v', "a"), (true, 's', "")]);
        assert_eq!((letters.as_str(), params), ("-o+vs", vec!["a", "a"]));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(rows in prop::collection::vec((any::<bool>(), 0..MODES.len(), "[a-z]{1,5}"), 0..MODES_MAX)) {
            let changes: Vec<(bool, char, &str)> = rows.iter().map(|(on, at, param)| {
                let mode = MODES[*at];
                let takes = match mode.kind { Kind::Flag => false, Kind::Limit => *on, _ => true };
                (*on, mode.letter, if takes { param.as_str() } else { "" })
            }).collect();
            let (letters, mut params) = compose(&changes);
            params.insert(0, &letters);
            let back = parse(&params);
            let want: Vec<_> = changes.iter().map(|(on, letter, param)| set(*on, *letter, param)).collect();
            prop_assert_eq!(back, want);
        }
    }
}
