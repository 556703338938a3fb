//! Masks: globs with `*` (any run) and `?` (one character) over `nick!user@host`.

/// Whether `text` fits `glob`, letters compared by ASCII case. Time is bounded by the product of the lengths and
/// memory is constant, whatever the pattern.
#[must_use]
pub fn matches(glob: &str, text: &str) -> bool {
    let (mut pattern, mut rest) = (glob.chars(), text.chars());
    // Where to go on if what follows the last `*` does not fit: the pattern after it, the text it swallows.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut ahead = pattern.clone();
        match ahead.next() {
            Some('*') => {
                pattern = ahead;
                retry = Some((pattern.clone(), rest.clone()));
                continue;
            }
            Some(want) => {
                let mut left = rest.clone();
                match left.next() {
                    Some(have) if want == '?' || want.eq_ignore_ascii_case(&have) => {
                        (pattern, rest) = (ahead, left);
                        continue;
                    }
                    None => return false,
                    Some(_) => {}
                }
            }
            None if rest.as_str().is_empty() => return true,
            None => {}
        }
        let Some((after, swallowed)) = &mut retry else { return false };
        swallowed.next();
        (pattern, rest) = (after.clone(), swallowed.clone());
    }
}

/// A mask in its full form: `x` means the nick `x!*@*`, `x@y` means `*!x@y`, an empty part means `*`; runs of
/// `*` become one.
#[must_use]
pub fn full(mask: &str) -> String {
    let (nick, rest) = match (mask.split_once('!'), mask.split_once('@')) {
        (Some((nick, rest)), _) => (nick, rest),
        (None, Some(_)) => ("*", mask),
        (None, None) => (mask, "*@*"),
    };
    let (user, host) = rest.split_once('@').unwrap_or((rest, "*"));
    let part = |s: &str| if s.is_empty() { "*".to_owned() } else { s.to_owned() };
    let mut out = String::new();
    for c in format!("{}!{}@{}", part(nick), part(user), part(host)).chars() {
        if c != '*' || !out.ends_with('*') {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs() {
        for (glob, text) in [
            ("*", ""),
            ("", ""),
            ("a*c", "abbc"),
            ("a*c", "acbc"),
            ("*!*@example.org", "alice!alice@Example.ORG"),
            ("?é*", "xéy"),
            ("**a**", "a"),
        ] {
            assert!(matches(glob, text), "{glob} {text}");
        }
        for (glob, text) in [("", "a"), ("?", ""), ("a*c", "acb"), ("a", "ab"), ("*a?", "a")] {
            assert!(!matches(glob, text), "{glob} {text}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let glob = "*a".repeat(100);
        assert!(!matches(&(glob + "b"), &"a".repeat(2000)));
    }

    #[test]
    fn full_masks() {
        for (mask, want) in [
            ("alice", "alice!*@*"),
            ("alice!", "alice!*@*"),
            ("a@h", "*!a@h"),
            ("@h", "*!*@h"),
            ("n!u", "n!u@*"),
            ("n!u@h", "n!u@h"),
            ("**!*@*", "*!*@*"),
            ("", "*!*@*"),
        ] {
            assert_eq!(full(mask), want);
        }
    }

    /// The plain recursive definition.
    fn model(glob: &[char], text: &[char]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|n| model(rest, &text[n..])),
            Some((c, rest)) => {
                text.split_first().is_some_and(|(d, left)| (*c == '?' || c == d) && model(rest, left))
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(glob in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let (g, t): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&glob, &text), model(&g, &t));
        }

        #[test]
        fn full_is_stable(mask in "[a!@*?]{0,8}") {
            prop_assert_eq!(full(&full(&mask)), full(&mask));
        }
    }
}
