//! Cheap strings and octets, and text with neutral formatting.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::{fmt, ops::Deref};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use smol_str::SmolStr;

/// An immutable string that is cheap to clone (up to 23 bytes inline, else shared).
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Str(SmolStr);

impl Str {
    /// A copy of `s`.
    pub fn new(s: impl AsRef<str>) -> Str {
        Str(SmolStr::new(s))
    }

    /// A copy of what somebody or something is called, without what can make one name look like another: controls of the
    /// writing direction, and characters without a width. Joiners stay, since emoji and some scripts are written with them.
    pub fn name(s: &str) -> Str {
        let hidden = |c: char| {
            matches!(c, '\u{61C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
        };
        match s.contains(hidden) {
            true => Str::new(s.chars().filter(|c| !hidden(*c)).collect::<String>()),
            false => Str::new(s),
        }
    }

    /// The string itself.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl<T: AsRef<str>> From<T> for Str {
    fn from(s: T) -> Str {
        Str::new(s)
    }
}

impl core::borrow::Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<C> Encode<C> for Str {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Str {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Str, decode::Error> {
        d.str().map(Str::new)
    }
}

/// Immutable bytes that are cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Octets(Arc<[u8]>);

impl Default for Octets {
    fn default() -> Octets {
        Octets(Arc::from([]))
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<T: AsRef<[u8]>> From<T> for Octets {
    fn from(b: T) -> Octets {
        Octets(Arc::from(b.as_ref()))
    }
}

impl fmt::Debug for Octets {
    /// The length only: contents never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Octets({})", self.0.len())
    }
}

impl<C> Encode<C> for Octets {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(self)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Octets {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Octets, decode::Error> {
        d.bytes().map(Octets::from)
    }
}

/// How a stretch of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Style {
    /// Bold.
    #[n(0)]
    Bold,
    /// Italic.
    #[n(1)]
    Italic,
    /// Underlined.
    #[n(2)]
    Underline,
    /// Struck through.
    #[n(3)]
    Strike,
    /// Monospaced, within a line.
    #[n(4)]
    Code,
    /// A block of preformatted lines.
    #[n(5)]
    Block,
    /// A quotation, whole lines.
    #[n(6)]
    Quote,
    /// Hidden until asked for.
    #[n(7)]
    Spoiler,
}

/// A styled stretch: bytes `from..to` of the text, on character boundaries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Span {
    /// First byte.
    #[n(0)]
    pub from: u32,
    /// Byte after the last.
    #[n(1)]
    pub to: u32,
    /// What it looks like.
    #[n(2)]
    pub style: Style,
}

/// Quotations within quotations that are marked; deeper ones look like that many.
const QUOTES_MAX: usize = 8;

/// Plain text with neutral formatting beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Rich {
    /// The characters; lines are divided by `\n`. At most `Limits::text` bytes.
    #[n(0)]
    pub text: Str,
    /// Styled stretches, sorted by `from`.
    #[n(1)]
    pub spans: Vec<Span>,
}

impl Rich {
    /// The same with `> ` before each quoted line, once for each quotation it lies in, for those who have no other
    /// mark for quotations.
    pub fn quoted(&self) -> Rich {
        let quotes = || self.spans.iter().filter(|s| s.style == Style::Quote);
        if quotes().next().is_none() {
            return self.clone();
        }
        let mut text = String::with_capacity(self.text.len() + 64);
        // Where lines begin, and how many bytes stand before them by then.
        let mut shifts: Vec<(usize, usize)> = Vec::new();
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            let depth = quotes().filter(|s| (s.from as usize..s.to as usize).contains(&start)).count();
            text.extend(core::iter::repeat_n("> ", depth.min(QUOTES_MAX)));
            shifts.push((start, text.len() - start));
            text.push_str(line);
            start += line.len();
        }
        // A span that begins a line begins behind its mark; one that ends where a line begins ends before it.
        let shift = |at: u32, within: bool| {
            let before =
                shifts.partition_point(|(line, _)| *line < at as usize || (within && *line == at as usize));
            let by = before.checked_sub(1).and_then(|n| shifts.get(n)).map_or(0, |(_, by)| *by);
            at.saturating_add(u32::try_from(by).unwrap_or(u32::MAX))
        };
        let others = self.spans.iter().filter(|s| s.style != Style::Quote);
        let spans =
            others.map(|s| Span { from: shift(s.from, true), to: shift(s.to, false), ..s.clone() }).collect();
        Rich { text: Str::new(text), spans }
    }

    /// Text without any formatting.
    pub fn plain(text: impl AsRef<str>) -> Rich {
        Rich { text: Str::new(text), spans: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::ToString, vec};

    #[test]
    fn names_have_nothing_hidden() {
        assert_eq!(Str::name("ali\u{200B}ce\u{202E}x\u{2066}"), "alicex");
        assert_eq!(Str::name("Zoë 👩\u{200D}🔬"), "Zoë 👩\u{200D}🔬");
    }

    #[test]
    fn quotations_get_marks_and_other_spans_stay_on_their_words() {
        let span = |from, to, style| Span { from, to, style };
        let spans = vec![
            span(0, 5, Style::Quote),
            span(0, 3, Style::Bold),
            span(2, 5, Style::Quote),
            span(2, 3, Style::Italic),
            span(6, 7, Style::Code),
        ];
        let rich = Rich { text: Str::new("a\nbcd\ne"), spans };
        let quoted = rich.quoted();
        assert_eq!(quoted.text, "> a\n> > bcd\ne");
        let words: Vec<_> = quoted
            .spans
            .iter()
            .map(|s| (s.style, quoted.text[s.from as usize..s.to as usize].to_string()))
            .collect();
        assert_eq!(
            words,
            [
                (Style::Bold, "a\n> > b".to_string()),
                (Style::Italic, "b".to_string()),
                (Style::Code, "e".to_string())
            ]
        );
        let plain = Rich::plain("a\nb");
        assert_eq!(plain.quoted(), plain);
    }
}
