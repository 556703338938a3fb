//! The conditions of LIST (ISUPPORT ELIST=CMNTU, modern.ircdocs.horse "LIST message").

use super::mask;

/// What LIST asks for. Everything given must hold; channels named are alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Channel names and masks, one of which must fit; none given: any.
    pub masks: Vec<String>,
    /// Masks that must not fit.
    pub not: Vec<String>,
    /// More members than this.
    pub over: Option<u32>,
    /// Fewer members than this.
    pub under: Option<u32>,
    /// Made more than so many milliseconds ago.
    pub older: Option<u64>,
    /// Made less than so many milliseconds ago.
    pub younger: Option<u64>,
    /// Topic set more than so many milliseconds ago.
    pub topic_older: Option<u64>,
    /// Topic set less than so many milliseconds ago.
    pub topic_younger: Option<u64>,
}

/// What a channel is judged by; times in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// Its name.
    pub channel: &'a str,
    /// Its members.
    pub members: u32,
    /// When it was made.
    pub made: u64,
    /// When its topic was set.
    pub topic: Option<u64>,
}

impl Conditions {
    /// Reads the first parameter of LIST. What cannot be read is passed over.
    #[must_use]
    pub fn parse(param: &str) -> Conditions {
        const MINUTE: u64 = 60_000;
        let mut out = Conditions::default();
        for word in param.split(',').filter(|word| !word.is_empty()) {
            let number = |at: usize| word.get(at..).and_then(|n| n.parse::<u32>().ok());
            let minutes = number(2).map(|n| u64::from(n) * MINUTE);
            match word.as_bytes() {
                [b'>', ..] => out.over = number(1),
                [b'<', ..] => out.under = number(1),
                [b'C' | b'c', b'>', ..] => out.older = minutes,
                [b'C' | b'c', b'<', ..] => out.younger = minutes,
                [b'T' | b't', b'>', ..] => out.topic_older = minutes,
                [b'T' | b't', b'<', ..] => out.topic_younger = minutes,
                [b'!', ..] => out.not.extend(word.get(1..).map(str::to_owned)),
                _ => out.masks.push(word.to_owned()),
            }
        }
        out
    }

    /// The one channel asked for by its name, if that is all: it can be looked up instead of searched.
    #[must_use]
    pub fn names(&self) -> Option<&[String]> {
        let plain = Conditions { masks: self.masks.clone(), ..Conditions::default() };
        let exact = !self.masks.is_empty() && !self.masks.iter().any(|m| m.contains(['*', '?']));
        (exact && plain == *self).then_some(self.masks.as_slice())
    }

    /// Whether a channel fits.
    #[must_use]
    pub fn fit(&self, listed: &Listed<'_>, now: u64) -> bool {
        let age = now.saturating_sub(listed.made);
        let topic = listed.topic.map(|at| now.saturating_sub(at));
        let fits = |glob: &String| mask::matches(glob, listed.channel);
        (self.masks.is_empty() || self.masks.iter().any(fits))
            && !self.not.iter().any(fits)
            && self.over.is_none_or(|n| listed.members > n)
            && self.under.is_none_or(|n| listed.members < n)
            && self.older.is_none_or(|n| age > n)
            && self.younger.is_none_or(|n| age < n)
            && self.topic_older.is_none_or(|n| topic.is_some_and(|age| age > n))
            && self.topic_younger.is_none_or(|n| topic.is_some_and(|age| age < n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(param: &str) -> bool {
        let listed = Listed { channel: "#chan", members: 3, made: 60_000 * 5, topic: Some(60_000 * 8) };
        Conditions::parse(param).fit(&listed, 60_000 * 10)
    }

    #[test]
    fn conditions() {
        for yes in
            ["", "#chan", "#CHAN,#x", "*an", "!*x", ">2", "<4", "C>4", "C<6", "T>1", "T<3", ">2,<4,#c*", ">x"]
        {
            assert!(fits(yes), "{yes}");
        }
        for no in ["#x", "!#ch*", ">3", "<3", "C<5", "C>5", "T<2", "T>2", "#chan,>3"] {
            assert!(!fits(no), "{no}");
        }
    }

    #[test]
    fn a_channel_without_topic_has_no_topic_time() {
        let listed = Listed { channel: "#c", members: 0, made: 0, topic: None };
        assert!(!Conditions::parse("T<10").fit(&listed, 0) && !Conditions::parse("T>0").fit(&listed, 9));
    }

    #[test]
    fn plain_names() {
        assert!(Conditions::parse("#a,#b").names().is_some());
        assert!(Conditions::parse("#a*").names().is_none());
        assert!(Conditions::parse("#a,>1").names().is_none());
        assert!(Conditions::parse("").names().is_none());
    }
}
