//! Internationalised names: the PRECIS framework (RFC 8264) with the profiles that addresses and nicks follow
//! (RFC 8265, RFC 8266).
//!
//! The tables are those of the current Unicode version, so that a picture that phones offer today can stand in a nick.
//! What a character is good for is derived as RFC 8264 §8 says; the few contextual rules (RFC 5892 appendix A) are below.

use std::borrow::Cow;
use unicode_bidi::{BidiClass, bidi_class};
use unicode_joining_type::{JoiningType, get_joining_type};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::{GeneralCategory as Category, UnicodeGeneralCategory};

/// How often the rules of a nick are applied until it stays the same (RFC 8266 §2.3).
const ROUNDS: usize = 4;

/// What a character is good for (RFC 8264 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Property {
    /// In all names.
    Valid,
    /// In free text, not in identifiers.
    Free,
    /// Where its neighbours allow it.
    Context,
    /// Nowhere, or not assigned yet.
    Never,
}

/// The characters a string may have (RFC 8264 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Identifier,
    Freeform,
}

/// A name of an account: width and case mapped, NFC, one direction (RFC 8265 §3.3); none if it cannot be one.
pub fn username(text: &str) -> Option<String> {
    let mapped: String = text.chars().flat_map(narrow).flat_map(char::to_lowercase).nfc().collect();
    let good = fits(&mapped, Class::Identifier) && !mapped.is_empty() && runs_one_way(&mapped);
    good.then_some(mapped)
}

/// Free text that is kept as it was written, but for its spaces, in NFC (RFC 8265 §4.2); none if it cannot be that.
pub fn opaque(text: &str) -> Option<Cow<'_, str>> {
    if !text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Some(Cow::Borrowed(text));
    }
    let mapped: String = text.chars().map(plain_space).nfc().collect();
    (!mapped.is_empty() && fits(&mapped, Class::Freeform)).then_some(Cow::Owned(mapped))
}

/// A nick as it is shown (RFC 8266 §2.3); none if it cannot be one.
pub fn nickname(text: &str) -> Option<String> {
    if !fits(text, Class::Freeform) {
        return None;
    }
    let text = steady(text, |text| tidied(text).nfkc().collect())?;
    (!text.is_empty() && fits(&text, Class::Freeform)).then_some(text)
}

/// What nicks are compared by (RFC 8266 §2.4), of one as it is shown.
pub fn nickname_key(nick: &str) -> Option<String> {
    steady(nick, |text| tidied(text).chars().flat_map(char::to_lowercase).nfkc().collect())
}

/// The string that a rule does not change any more; none if it does not come to rest.
fn steady(text: &str, rule: impl Fn(&str) -> String) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..ROUNDS {
        let next = rule(&text);
        if next == text {
            return Some(text);
        }
        text = next;
    }
    None
}

/// Spaces are plain, single, and not at the ends (RFC 8266 §2.1).
fn tidied(text: &str) -> String {
    let plain: String = text.chars().map(plain_space).collect();
    let words: Vec<&str> = plain.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn plain_space(c: char) -> char {
    if c.general_category() == Category::SpaceSeparator { ' ' } else { c }
}

/// A full-width or half-width character as the one it is a form of.
fn narrow(c: char) -> impl Iterator<Item = char> {
    let wide = matches!(c, '\u{3000}' | '\u{ff01}'..='\u{ffee}');
    let (mapped, same) = if wide { (Some(std::iter::once(c).nfkc()), None) } else { (None, Some(c)) };
    mapped.into_iter().flatten().chain(same)
}

/// Whether all characters are of the class, each where it is.
fn fits(text: &str, class: Class) -> bool {
    text.char_indices().all(|(at, c)| match property(c) {
        Property::Valid => true,
        Property::Free => class == Class::Freeform,
        Property::Context => fits_context(text, at, c),
        Property::Never => false,
    })
}

/// The derivation of RFC 8264 §8, in its order.
fn property(c: char) -> Property {
    use Category as G;
    if let Some(property) = exception(c) {
        return property;
    }
    let category = c.general_category();
    match c {
        _ if category == G::Unassigned => Property::Never,
        '!'..='~' => Property::Valid,
        '\u{200c}' | '\u{200d}' => Property::Context,
        // Conjoining jamo.
        '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97c}' | '\u{d7b0}'..='\u{d7fb}' => Property::Never,
        _ if is_ignorable(c) || category == G::Control => Property::Never,
        _ if !std::iter::once(c).nfkc().eq(std::iter::once(c)) => Property::Free,
        _ => match category {
            G::LowercaseLetter
            | G::UppercaseLetter
            | G::OtherLetter
            | G::DecimalNumber
            | G::ModifierLetter
            | G::NonspacingMark
            | G::SpacingMark => Property::Valid,
            G::TitlecaseLetter
            | G::LetterNumber
            | G::OtherNumber
            | G::EnclosingMark
            | G::SpaceSeparator
            | G::MathSymbol
            | G::CurrencySymbol
            | G::ModifierSymbol
            | G::OtherSymbol
            | G::ConnectorPunctuation
            | G::DashPunctuation
            | G::OpenPunctuation
            | G::ClosePunctuation
            | G::InitialPunctuation
            | G::FinalPunctuation
            | G::OtherPunctuation => Property::Free,
            _ => Property::Never,
        },
    }
}

/// RFC 8264 §9.6.
fn exception(c: char) -> Option<Property> {
    Some(match c {
        '\u{df}' | '\u{3c2}' | '\u{6fd}' | '\u{6fe}' | '\u{f0b}' | '\u{3007}' => Property::Valid,
        '\u{b7}' | '\u{375}' | '\u{5f3}' | '\u{5f4}' | '\u{30fb}' => Property::Context,
        '\u{660}'..='\u{669}' | '\u{6f0}'..='\u{6f9}' => Property::Context,
        '\u{640}' | '\u{7fa}' | '\u{302e}' | '\u{302f}' | '\u{3031}'..='\u{3035}' | '\u{303b}' => {
            Property::Never
        }
        _ => return None,
    })
}

/// Default_Ignorable_Code_Point; non-characters are unassigned already.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// RFC 5892 appendix A.
fn fits_context(text: &str, at: usize, c: char) -> bool {
    let before = text[..at].chars().next_back();
    let after = text[at + c.len_utf8()..].chars().next();
    let virama = before.is_some_and(|c| canonical_combining_class(c) == 9);
    match c {
        '\u{200d}' => virama,
        '\u{200c}' => virama || joins(text, at),
        '\u{b7}' => before == Some('l') && after == Some('l'),
        '\u{375}' => after.is_some_and(|c| matches!(c, '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}')),
        '\u{5f3}' | '\u{5f4}' => {
            before.is_some_and(|c| matches!(c, '\u{591}'..='\u{5f4}' | '\u{fb1d}'..='\u{fb4f}'))
        }
        '\u{30fb}' => text.chars().any(is_japanese),
        '\u{660}'..='\u{669}' => !text.chars().any(|c| matches!(c, '\u{6f0}'..='\u{6f9}')),
        '\u{6f0}'..='\u{6f9}' => !text.chars().any(|c| matches!(c, '\u{660}'..='\u{669}')),
        _ => false,
    }
}

/// Whether letters on both sides of a place join across it.
fn joins(text: &str, at: usize) -> bool {
    let kind = |c: &char| get_joining_type(*c);
    let unseen = |c: &char| kind(c) == JoiningType::Transparent;
    let left = text[..at].chars().rev().find(|c| !unseen(c));
    let right = text[at..].chars().skip(1).find(|c| !unseen(c));
    let joins_left =
        left.is_some_and(|c| matches!(kind(&c), JoiningType::LeftJoining | JoiningType::DualJoining));
    let joins_right =
        right.is_some_and(|c| matches!(kind(&c), JoiningType::RightJoining | JoiningType::DualJoining));
    joins_left && joins_right
}

/// Hiragana, Katakana or Han.
fn is_japanese(c: char) -> bool {
    matches!(c, '\u{3041}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}' | '\u{30fd}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}' | '\u{2e80}'..='\u{2fd5}' | '\u{3005}' | '\u{3007}' | '\u{3021}'..='\u{3029}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// The Bidi Rule (RFC 5893 §2); strings without a right-to-left character are none of its business.
fn runs_one_way(text: &str) -> bool {
    use BidiClass as B;
    let class = |c: char| bidi_class(c);
    if !text.chars().any(|c| matches!(class(c), B::R | B::AL | B::AN)) {
        return true;
    }
    let (Some(first), last) =
        (text.chars().next().map(class), text.chars().rev().map(class).find(|class| *class != B::NSM))
    else {
        return false;
    };
    let only = |allowed: &[BidiClass]| text.chars().all(|c| allowed.contains(&class(c)));
    match first {
        B::R | B::AL => {
            let numbers = |kind| text.chars().any(|c| class(c) == kind);
            only(&[B::R, B::AL, B::AN, B::EN, B::ES, B::CS, B::ET, B::ON, B::BN, B::NSM])
                && matches!(last, Some(B::R | B::AL | B::EN | B::AN))
                && !(numbers(B::EN) && numbers(B::AN))
        }
        B::L => {
            only(&[B::L, B::EN, B::ES, B::CS, B::ET, B::ON, B::BN, B::NSM])
                && matches!(last, Some(B::L | B::EN))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples_of_rfc_8265() {
        for (name, want) in [
            ("juliet", Some("juliet")),
            ("Juliet", Some("juliet")),
            ("fußball", Some("fußball")),
            ("π", Some("π")),
            ("Σ", Some("σ")),
            ("ς", Some("ς")),
            ("ｊｕｌｉｅｔ", Some("juliet")),
            ("foo bar", None),
            ("", None),
            ("henryⅣ", None),
            ("∞", None),
            ("l·l", Some("l·l")),
            ("a·b", None),
            ("אב1", Some("אב1")),
            ("אa", None),
            ("٠۰", None),
        ] {
            assert_eq!(username(name).as_deref(), want, "{name:?}");
        }
    }

    #[test]
    fn free_text_keeps_its_look() {
        for (text, want) in [
            ("correct horse", Some("correct horse")),
            ("Correct Horse", Some("Correct Horse")),
            ("πßå", Some("πßå")),
            ("Jack of ♦s", Some("Jack of ♦s")),
            ("foo\u{1680}bar", Some("foo bar")),
            ("", None),
            ("my cat is a \u{9}by", None),
            // Of Unicode 8, 14 and 16.
            ("🤖", Some("🤖")),
            ("🫨🫠", Some("🫨🫠")),
            ("\u{1fae9}", Some("\u{1fae9}")),
            ("\u{e0fff}", None),
            ("\u{ffff}", None),
            ("\u{378}", None),
            ("❤\u{fe0f}", None),
        ] {
            assert_eq!(opaque(text).as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn examples_of_rfc_8266() {
        for (nick, shown, key) in [
            ("Foo", "Foo", "foo"),
            ("Foo  Bar ", "Foo Bar", "foo bar"),
            ("Σ", "Σ", "σ"),
            ("ς", "ς", "ς"),
            ("♚", "♚", "♚"),
            ("Richard Ⅳ", "Richard IV", "richard iv"),
            ("🤖 R2", "🤖 R2", "🤖 r2"),
        ] {
            assert_eq!(nickname(nick).as_deref(), Some(shown), "{nick:?}");
            assert_eq!(nickname_key(shown).as_deref(), Some(key), "{nick:?}");
        }
        for bad in ["", "  ", "\u{202e}abc", "a\u{200b}b", "a\nb"] {
            assert_eq!(nickname(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_prepared_stays(text in "\\PC{0,12}") {
            if let Some(name) = username(&text) {
                prop_assert_eq!(username(&name), Some(name));
            }
            if let Some(free) = opaque(&text).map(Cow::into_owned) {
                prop_assert_eq!(opaque(&free).map(Cow::into_owned), Some(free));
            }
            if let Some(nick) = nickname(&text) {
                prop_assert_eq!(nickname(&nick), Some(nick));
            }
        }
    }
}
