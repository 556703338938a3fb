//! Glob-style matching (appendices): `*` for any characters, `?` for one; letter case does not matter.
//!
//! No regular expressions: a hostile pattern costs at most its length times the text's.

/// A text made ready to be matched, once for all patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folded(Vec<char>);

/// Characters; none: any one.
type Piece = Vec<Option<char>>;

/// A pattern: its pieces between the stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Vec<Piece>);

impl Folded {
    pub(super) fn new(text: &str) -> Folded {
        Folded(text.chars().map(fold).collect())
    }

    /// Whether a word can begin or end at a place: at an end of the text, or beside a character that is in no word.
    fn boundary(&self, at: usize) -> bool {
        let word = |c: Option<&char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_');
        at == 0 || !word(self.0.get(at - 1)) || !word(self.0.get(at))
    }
}

/// One character for one, so that places stay what they are.
fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Glob {
        let one = |c: char| (c != '?').then(|| fold(c));
        Glob(pattern.split('*').map(|piece| piece.chars().map(one).collect()).collect())
    }

    /// Stars and question marks stand for themselves.
    pub(super) fn literal(text: &str) -> Glob {
        Glob(vec![text.chars().map(|c| Some(fold(c))).collect()])
    }

    /// Whether the whole text fits.
    pub(super) fn fits(&self, text: &Folded) -> bool {
        let text = text.0.as_slice();
        let Some((first, rest)) = self.0.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else {
            return first.len() == text.len() && fits_at(first, text, 0);
        };
        if !fits_at(first, text, 0) || first.len() + last.len() > text.len() {
            return false;
        }
        let end = text.len() - last.len();
        let mut at = first.len();
        for piece in middle {
            // The leftmost place leaves the most for what follows.
            match find(piece, &text[..end], at, |_| true) {
                Some(found) => at = found + piece.len(),
                None => return false,
            }
        }
        at <= end && fits_at(last, text, end)
    }

    /// The same for a text that is not made ready: one that is looked at once.
    pub(super) fn fits_text(&self, text: &str) -> bool {
        let [piece] = self.0.as_slice() else { return self.fits(&Folded::new(text)) };
        let mut chars = text.chars().map(fold);
        piece.iter().all(|p| chars.next().is_some_and(|c| p.is_none_or(|p| p == c))) && chars.next().is_none()
    }

    /// Whether some part of the text that begins and ends at word boundaries fits.
    pub(super) fn fits_words(&self, text: &Folded) -> bool {
        let chars = text.0.as_slice();
        let Some((first, rest)) = self.0.split_first() else { return false };
        let starts = |at| text.boundary(at);
        let Some((last, middle)) = rest.split_last() else {
            return find(first, chars, 0, |at| starts(at) && text.boundary(at + first.len())).is_some();
        };
        let Some(found) = find(first, chars, 0, starts) else { return false };
        let mut at = found + first.len();
        for piece in middle {
            match find(piece, chars, at, |_| true) {
                Some(found) => at = found + piece.len(),
                None => return false,
            }
        }
        find(last, chars, at, |at| text.boundary(at + last.len())).is_some()
    }
}

fn fits_at(piece: &[Option<char>], text: &[char], at: usize) -> bool {
    let Some(part) = text.get(at..at + piece.len()) else { return false };
    piece.iter().zip(part).all(|(p, t)| p.is_none_or(|p| p == *t))
}

/// The leftmost place from `from` on where a piece fits and `legal` agrees.
fn find(piece: &[Option<char>], text: &[char], from: usize, legal: impl Fn(usize) -> bool) -> Option<usize> {
    let end = text.len().checked_sub(piece.len())?;
    // Most places are out by their first character, which is looked at for each message and each of its readers.
    let first = piece.first().copied().flatten();
    let begins = |at: usize| first.is_none_or(|first| text.get(at) == Some(&first));
    (from..=end).find(|at| begins(*at) && legal(*at) && fits_at(piece, text, *at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).fits(&Folded::new(text))
    }

    fn words(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).fits_words(&Folded::new(text))
    }

    #[test]
    fn whole_values_by_the_examples_of_the_specification() {
        for text in ["Lunch plans", "LUNCH"] {
            assert!(whole("lunc?*", text), "{text}");
        }
        for text in [" lunch", "lunc"] {
            assert!(!whole("lunc?*", text), "{text}");
        }
        assert!(
            whole("", "") && !whole("", "a") && whole("*", "") && whole("a*a", "aa") && !whole("a*a", "a")
        );
        assert!(whole("É?", "éx") && whole("a*b*c", "axbxbc") && !whole("a*b*c", "acb"));
    }

    #[test]
    fn words_by_the_examples_of_the_specification() {
        for text in ["An example event.", "exple", "An exciting triple-whammy"] {
            assert!(words("ex*ple", text), "{text}");
        }
        assert!(
            words("cake", "Cake!")
                && words("cake", "a (CAKE)")
                && !words("cake", "cakes")
                && !words("cake", "pancake")
        );
        assert!(words("cake*lie", "the cake is a lie") && !words("cake*lie", "the cake is liez"));
        assert!(words("@room", "hi @room!") && !words("ca?e", "a café") && words("caf?", "a café"));
        assert!(!words("a_", "a_b") && words("tea", "no_tea tea"));
    }

    #[test]
    fn hostile_patterns_cost_little() {
        let text = Folded::new(&"a".repeat(16_000));
        let pattern = Glob::new(&"a*".repeat(120));
        assert!(pattern.fits(&text) && pattern.fits_words(&text));
        assert!(!Glob::new(&format!("{}b", "a".repeat(250))).fits_words(&text));
    }

    /// The definition, for short texts.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
            Some((p, rest)) => {
                text.split_first().is_some_and(|(t, after)| (*p == '?' || p == t) && slow(rest, after))
            }
        }
    }

    proptest! {
        #[test]
        fn as_defined(pattern in "[ab *?_]{0,6}", text in "[ab _]{0,8}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(whole(&pattern, &text), slow(&p, &t));
            prop_assert_eq!(Glob::new(&pattern).fits_text(&text), slow(&p, &t));
            let folded = Folded::new(&text);
            let any = (0..=t.len()).filter(|from| folded.boundary(*from)).any(|from| {
                (from..=t.len()).filter(|to| folded.boundary(*to)).any(|to| slow(&p, &t[from..to]))
            });
            prop_assert_eq!(words(&pattern, &text), any);
        }
    }
}
