//! Preparation of passwords, so that one typed on another keyboard still fits.

use unicode_normalization::UnicodeNormalization;

/// Longest password in bytes, as typed.
const MAX_PASSWORD: usize = 1024;

/// A prepared password.
///
/// The rules are those of SASLprep (RFC 4013), which SCRAM prescribes and clients apply before they hash: other spaces
/// become a space, invisible characters go, the rest is normalised (NFKC), controls and the like are refused. Two
/// things differ on purpose: the tables are those of today's Unicode, not of version 3.2, so emoji are welcome; and
/// mixed writing directions are allowed. Neither changes what any password becomes that SASLprep accepts.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Why a password cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Nothing is left after preparation.
    #[error("the password is empty")]
    Empty,
    /// More than 1024 bytes.
    #[error("the password is longer than 1024 bytes")]
    TooLong,
    /// A control character or another that has no place in text.
    #[error("the password contains a control character or another that cannot be typed reliably")]
    Prohibited,
}

impl Password {
    /// Prepares what was typed or sent.
    ///
    /// # Errors
    /// [`PasswordError`] when it is empty, too long or holds a prohibited character.
    pub fn new(raw: &str) -> Result<Self, PasswordError> {
        if raw.len() > MAX_PASSWORD {
            return Err(PasswordError::TooLong);
        }
        let mapped = raw.chars().filter(|c| !vanishes(*c)).map(|c| if is_other_space(c) { ' ' } else { c });
        let prepared: String = mapped.nfkc().collect();
        if prepared.is_empty() {
            return Err(PasswordError::Empty);
        }
        if prepared.chars().any(is_prohibited) {
            return Err(PasswordError::Prohibited);
        }
        Ok(Self(prepared))
    }

    /// The prepared text: for derivation only, never for a log or a reply.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// RFC 3454 table B.1: commonly mapped to nothing.
fn vanishes(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{34F}' | '\u{1806}' | '\u{180B}'..='\u{180D}' | '\u{200B}'..='\u{200D}' | '\u{2060}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}')
}

/// RFC 3454 table C.1.2: spaces other than U+0020 (U+200B is in B.1 as well and goes first).
fn is_other_space(c: char) -> bool {
    matches!(c, '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}')
}

/// RFC 3454 tables C.2 to C.9: controls, private use, non-characters, what is inappropriate for plain text, and tags.
fn is_prohibited(c: char) -> bool {
    let code = u32::from(c);
    c.is_control()
        || matches!(c, '\u{6DD}' | '\u{70F}' | '\u{180E}' | '\u{200C}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2061}'..='\u{2063}' | '\u{206A}'..='\u{206F}' | '\u{2FF0}'..='\u{2FFB}' | '\u{340}' | '\u{341}'
            | '\u{E000}'..='\u{F8FF}' | '\u{FDD0}'..='\u{FDEF}' | '\u{FFF9}'..='\u{FFFD}' | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0001}' | '\u{E0020}'..='\u{E007F}' | '\u{F0000}'..)
        || code & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prepared(raw: &str) -> Result<String, PasswordError> {
        Password::new(raw).map(|p| p.expose().to_owned())
    }

    #[test]
    fn examples_of_rfc_4013() {
        assert_eq!(prepared("I\u{AD}X").as_deref(), Ok("IX"));
        assert_eq!(prepared("user").as_deref(), Ok("user"));
        assert_eq!(prepared("USER").as_deref(), Ok("USER"));
        assert_eq!(prepared("\u{AA}").as_deref(), Ok("a"));
        assert_eq!(prepared("\u{2168}").as_deref(), Ok("IX"));
        assert_eq!(prepared("\u{7}"), Err(PasswordError::Prohibited));
    }

    #[test]
    fn spaces_and_composed_letters_are_unified() {
        assert_eq!(prepared("correct\u{A0}horse").as_deref(), Ok("correct horse"));
        assert_eq!(prepared("e\u{301}"), prepared("é"));
    }

    #[test]
    fn emoji_are_welcome() {
        assert_eq!(prepared("🐎🔋").as_deref(), Ok("🐎🔋"));
    }

    #[test]
    fn limits() {
        assert_eq!(prepared(""), Err(PasswordError::Empty));
        assert_eq!(prepared("\u{200B}"), Err(PasswordError::Empty));
        assert_eq!(prepared(&"x".repeat(1025)), Err(PasswordError::TooLong));
        assert!(prepared(&"x".repeat(1024)).is_ok());
    }

    proptest! {
        #[test]
        fn preparing_twice_changes_nothing(raw in any::<String>()) {
            if let Ok(once) = prepared(&raw) {
                prop_assert_eq!(prepared(&once), Ok(once));
            }
        }

        #[test]
        fn printable_ascii_stays(raw in "[ -~]{1,64}") {
            prop_assert_eq!(prepared(&raw), Ok(raw));
        }
    }
}
