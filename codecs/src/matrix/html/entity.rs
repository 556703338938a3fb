//! Character references: those of HTML 4 that people's clients write. Others stay as they stand.

/// Names and what they mean, sorted by name.
const NAMED: [(&str, char); 65] = [
    ("Auml", 'Ä'),
    ("Ouml", 'Ö'),
    ("Uuml", 'Ü'),
    ("aacute", 'á'),
    ("acute", '´'),
    ("agrave", 'à'),
    ("amp", '&'),
    ("apos", '\''),
    ("auml", 'ä'),
    ("bdquo", '„'),
    ("brvbar", '¦'),
    ("bull", '•'),
    ("ccedil", 'ç'),
    ("cent", '¢'),
    ("copy", '©'),
    ("curren", '¤'),
    ("dagger", '†'),
    ("darr", '↓'),
    ("deg", '°'),
    ("divide", '÷'),
    ("eacute", 'é'),
    ("ecirc", 'ê'),
    ("egrave", 'è'),
    ("emsp", '\u{2003}'),
    ("ensp", '\u{2002}'),
    ("euro", '€'),
    ("frac12", '½'),
    ("ge", '≥'),
    ("gt", '>'),
    ("harr", '↔'),
    ("hellip", '…'),
    ("iexcl", '¡'),
    ("iquest", '¿'),
    ("laquo", '«'),
    ("larr", '←'),
    ("ldquo", '“'),
    ("le", '≤'),
    ("lsquo", '‘'),
    ("lt", '<'),
    ("mdash", '—'),
    ("micro", 'µ'),
    ("middot", '·'),
    ("minus", '−'),
    ("nbsp", '\u{a0}'),
    ("ndash", '–'),
    ("ne", '≠'),
    ("ntilde", 'ñ'),
    ("ouml", 'ö'),
    ("para", '¶'),
    ("plusmn", '±'),
    ("pound", '£'),
    ("quot", '"'),
    ("raquo", '»'),
    ("rarr", '→'),
    ("rdquo", '”'),
    ("reg", '®'),
    ("rsquo", '’'),
    ("sect", '§'),
    ("shy", '\u{ad}'),
    ("szlig", 'ß'),
    ("times", '×'),
    ("trade", '™'),
    ("uarr", '↑'),
    ("uuml", 'ü'),
    ("yen", '¥'),
];

/// Longest reference looked at, in bytes.
const LONGEST: usize = 12;

/// What the text, which begins with `&`, begins with: how many bytes, and the character if it is a reference that we
/// know.
pub(super) fn reference(text: &str) -> (usize, Option<char>) {
    let window = text.as_bytes().get(..LONGEST).unwrap_or(text.as_bytes());
    let Some(end) = window.iter().position(|b| *b == b';') else { return (1, None) };
    let found = match &text[1..end] {
        name if !name.starts_with('#') => {
            NAMED.binary_search_by(|(n, _)| (*n).cmp(name)).ok().and_then(|at| NAMED.get(at)).map(|(_, c)| *c)
        }
        number => numeric(&number[1..]),
    };
    if found.is_some() { (end + 1, found) } else { (1, None) }
}

/// A number's character; what is none becomes U+FFFD.
fn numeric(number: &str) -> Option<char> {
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(hex) => (hex, 16),
        None => (number, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(digits, radix).unwrap_or(0);
    Some(char::from_u32(code).filter(|c| *c != '\0').unwrap_or('\u{fffd}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted() {
        assert!(NAMED.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(NAMED.iter().all(|(n, _)| n.len() + 2 <= LONGEST));
    }

    #[test]
    fn references() {
        assert_eq!(reference("&lt;x"), (4, Some('<')));
        assert_eq!(reference("&yen;"), (5, Some('¥')));
        assert_eq!(reference("&#x1F600;"), (9, Some('😀')));
        assert_eq!(reference("&#99999999;"), (11, Some('\u{fffd}')));
        for none in ["&", "&lt", "&;", "&#;", "&#x;", "&#+1;", "&é;", "&abcdefghijklmnop;"] {
            assert_eq!(reference(none), (1, None), "{none}");
        }
    }
}
