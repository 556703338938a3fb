//! Message styling (XEP-0393) to and from neutral text with spans.
//!
//! Reading takes the directives out of the text and tells where each style holds; writing puts them back where
//! XEP-0393 can express them and leaves the style out where it cannot (inside of a word, around white space).

/// How a stretch of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Style {
    /// Strong emphasis, `*`.
    Bold,
    /// Emphasis, `_`.
    Italic,
    /// Struck through, `~`.
    Strike,
    /// Monospace within a line, `` ` ``.
    Mono,
    /// A block of preformatted lines, between lines of three backticks.
    Code,
    /// A block of quoted lines, `>` before each; nested quotes are nested spans.
    Quote,
}

/// A style and the bytes of the text it holds for: `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub from: usize,
    /// The byte after the last.
    pub to: usize,
    /// What holds there.
    pub style: Style,
}

/// Quotes within quotes that are read as such; deeper ones stay text.
const MAX_QUOTES: usize = 8;

const FENCE: &str = "```";

/// The text without its directives, and the spans, those that begin first and are longest first.
pub fn read(body: &str) -> (String, Vec<Span>) {
    if !body.contains(['*', '_', '~', '`', '>']) {
        return (body.to_owned(), Vec::new());
    }
    let lines: Vec<&str> = body.split('\n').collect();
    let mut reader = Reader { text: String::with_capacity(body.len()), spans: Vec::new() };
    reader.blocks(&lines, 0);
    reader.spans.sort_by_key(|s| (s.from, std::cmp::Reverse(s.to), s.style));
    (reader.text, reader.spans)
}

/// Whether a reader of XEP-0393 would style this text: then text meant plainly needs `<unstyled/>`.
pub fn looks_styled(text: &str) -> bool {
    !read(text).1.is_empty()
}

/// The body that shows `text` with `spans`; spans may overlap, and those that are out of bounds do nothing.
pub fn write(text: &str, spans: &[Span]) -> String {
    let valid = |s: &&Span| s.from < s.to && text.get(s.from..s.to).is_some();
    let spans: Vec<Span> = spans.iter().filter(valid).copied().collect();
    if spans.is_empty() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 4 * spans.len());
    let mut start = 0;
    let mut in_code = false;
    for line in text.split_inclusive('\n') {
        let end = start + line.trim_end_matches('\n').len();
        let covers = |s: &&Span| s.from <= start && (end <= s.to) && (s.to > start || s.from == start);
        let quotes = spans.iter().filter(|s| s.style == Style::Quote).filter(covers).count().min(MAX_QUOTES);
        let code = spans.iter().filter(|s| s.style == Style::Code).find(covers);
        let mut prefix = ">".repeat(quotes);
        if quotes > 0 {
            prefix.push(' ');
        }
        if code.is_some() && !in_code {
            out.extend([&prefix, FENCE, "\n"]);
        }
        out.push_str(&prefix);
        match code {
            Some(_) => out.push_str(&text[start..end]),
            None => write_line(text, start..end, &spans, &mut out),
        }
        in_code = code.is_some();
        start += line.len();
        if in_code && code.is_some_and(|c| start >= c.to) {
            out.extend(["\n", &prefix, FENCE]);
            in_code = false;
        }
        if line.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

struct Reader {
    text: String,
    spans: Vec<Span>,
}

impl Reader {
    /// Reads the lines of one block; `quotes` is how deep it lies. Recursion ends at [`MAX_QUOTES`].
    fn blocks(&mut self, lines: &[&str], quotes: usize) {
        let mut at = 0;
        let mut first = true;
        while let Some(line) = lines.get(at) {
            if !std::mem::take(&mut first) {
                self.text.push('\n');
            }
            let from = self.text.len();
            if line.starts_with(FENCE) {
                let inner = &lines[at + 1..];
                let len = inner.iter().position(|l| *l == FENCE).unwrap_or(inner.len());
                self.text.push_str(&inner[..len].join("\n"));
                self.span(from, Style::Code);
                at += len + 2;
            } else if quotes < MAX_QUOTES && line.starts_with('>') {
                let quoted: Vec<&str> =
                    lines[at..].iter().map_while(|l| l.strip_prefix('>')).map(unindent).collect();
                at += quoted.len();
                self.blocks(&quoted, quotes + 1);
                self.span(from, Style::Quote);
            } else {
                self.line(line, None);
                at += 1;
            }
        }
    }

    fn span(&mut self, from: usize, style: Style) {
        let to = self.text.len();
        if from < to {
            self.spans.push(Span { from, to, style });
        }
    }

    /// Reads the spans of one line. Recursion ends because a span holds no other of its kind.
    fn line(&mut self, line: &str, opener: Option<char>) {
        let mut before = opener;
        let mut after_opener = opener.is_some();
        let mut hopeless: arrayvec::ArrayVec<char, 4> = arrayvec::ArrayVec::new();
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let opens = before.is_none_or(|b| b.is_whitespace() || (after_opener && b != c));
            let inner = &rest[c.len_utf8()..];
            if let Some(style) = style_of(c).filter(|_| opens && !hopeless.contains(&c)) {
                match closer(inner, c) {
                    Closer::At(len) => {
                        let from = self.text.len();
                        match style {
                            Style::Mono => self.text.push_str(&inner[..len]),
                            _ => self.line(&inner[..len], Some(c)),
                        }
                        self.span(from, style);
                        rest = &inner[len + 1..];
                        (before, after_opener) = (Some(c), false);
                        continue;
                    }
                    Closer::Adjacent => {
                        self.text.extend([c, c]);
                        rest = &inner[1..];
                        (before, after_opener) = (Some(c), false);
                        continue;
                    }
                    Closer::None => hopeless.push(c),
                    Closer::Space => {}
                }
            }
            self.text.push(c);
            rest = inner;
            (before, after_opener) = (Some(c), false);
        }
    }
}

/// Where a span ends.
enum Closer {
    /// After this many bytes.
    At(usize),
    /// At once: neither directive is valid.
    Adjacent,
    /// White space follows the opening directive: it is none.
    Space,
    /// Nowhere in this line; also not for later directives of this kind.
    None,
}

fn closer(inner: &str, directive: char) -> Closer {
    if inner.starts_with(directive) {
        return Closer::Adjacent;
    }
    if inner.starts_with(char::is_whitespace) {
        return Closer::Space;
    }
    inner
        .match_indices(directive)
        .map(|(n, _)| n)
        .find(|n| !inner[..*n].ends_with(char::is_whitespace))
        .map_or(Closer::None, Closer::At)
}

fn unindent(line: &str) -> &str {
    line.strip_prefix(char::is_whitespace).unwrap_or(line)
}

fn style_of(c: char) -> Option<Style> {
    match c {
        '*' => Some(Style::Bold),
        '_' => Some(Style::Italic),
        '~' => Some(Style::Strike),
        '`' => Some(Style::Mono),
        _ => None,
    }
}

fn directive_of(style: Style) -> Option<char> {
    match style {
        Style::Bold => Some('*'),
        Style::Italic => Some('_'),
        Style::Strike => Some('~'),
        Style::Mono => Some('`'),
        Style::Code | Style::Quote => None,
    }
}

/// Writes one line with the directives of the spans in it.
fn write_line(text: &str, line: std::ops::Range<usize>, spans: &[Span], out: &mut String) {
    let mut inline: Vec<(Span, char)> = spans
        .iter()
        .filter_map(|s| directive_of(s.style).map(|d| (clip(text, s, &line), d)))
        .filter(|(s, _)| s.from < s.to)
        .collect();
    inline.sort_by_key(|(s, _)| (s.from, std::cmp::Reverse(s.to), s.style));
    let mut open: Vec<(Span, char)> = Vec::new();
    let mut at = line.start;
    for (mut span, directive) in inline {
        close_until(text, span.from, &mut at, &mut open, out);
        if let Some((outer, _)) = open.last() {
            span.to = span.to.min(outer.to);
        }
        let content = text[span.from..span.to].trim_end();
        span.to = span.from + content.len();
        let opens = at < span.from && text[at..span.from].ends_with(char::is_whitespace)
            || span.from == line.start
            || at == span.from && open.last().is_some_and(|(o, _)| o.from == span.from)
            || at == span.from && out.ends_with(char::is_whitespace);
        let shadowed = open.iter().any(|(o, d)| *d == directive || o.style == Style::Mono);
        if !opens || shadowed || content.is_empty() || !matches!(closer(content, directive), Closer::None) {
            continue;
        }
        out.push_str(&text[at..span.from]);
        at = span.from;
        out.push(directive);
        open.push((span, directive));
    }
    close_until(text, usize::MAX, &mut at, &mut open, out);
    out.push_str(&text[at..line.end]);
}

/// The part of a span within a line, without white space at its ends.
fn clip(text: &str, span: &Span, line: &std::ops::Range<usize>) -> Span {
    let (from, to) = (span.from.max(line.start), span.to.min(line.end));
    let part = text.get(from..to).unwrap_or_default();
    let from = from + part.len() - part.trim_start().len();
    Span { from, to: from + part.trim().len(), style: span.style }
}

fn close_until(text: &str, until: usize, at: &mut usize, open: &mut Vec<(Span, char)>, out: &mut String) {
    while let Some((span, directive)) = open.last().filter(|(s, _)| s.to <= until).copied() {
        out.push_str(&text[*at..span.to]);
        out.push(directive);
        *at = span.to;
        open.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The text with each span shown as `<letter …>`.
    #[track_caller]
    fn check(body: &str, text: &str, spans: &[(Style, &str)]) {
        let (got, found) = read(body);
        let found: Vec<(Style, &str)> = found.iter().map(|s| (s.style, &got[s.from..s.to])).collect();
        assert_eq!((got.as_str(), found.as_slice()), (text, spans), "{body}");
    }

    use Style::*;

    #[test]
    fn spans_by_the_examples_of_the_xep() {
        check("plain span", "plain span", &[]);
        check("*strong span*", "strong span", &[(Bold, "strong span")]);
        check("plain _emphasis_ plain", "plain emphasis plain", &[(Italic, "emphasis")]);
        check("`pre` plain *strong*", "pre plain strong", &[(Mono, "pre"), (Bold, "strong")]);
        check("*strong*plain*", "strongplain*", &[(Bold, "strong")]);
        check("* plain *strong*", "* plain strong", &[(Bold, "strong")]);
        check("*this _is *a_ test*", "this is *a test", &[(Bold, "this is *a test"), (Italic, "is *a")]);
        check("_*both*_ ~gone~", "both gone", &[(Bold, "both"), (Italic, "both"), (Strike, "gone")]);
        check("`*a*`", "*a*", &[(Mono, "*a*")]);
        for plain in [
            "not strong*",
            "*not strong",
            "*not \n strong*",
            "*not *strong",
            "**",
            "***",
            "****",
            "a*b*c",
            "2 * 3 * 4",
        ] {
            check(plain, plain, &[]);
        }
    }

    #[test]
    fn blocks_by_the_examples_of_the_xep() {
        check("```ignored\n(*x*)\n```\n\nafter", "(*x*)\n\nafter", &[(Code, "(*x*)")]);
        check("> ```\n> (x)\n\nplain", "(x)\n\nplain", &[(Code, "(x)"), (Quote, "(x)")]);
        check(
            ">> That *is*.\n> Said\n\nWho?",
            "That is.\nSaid\n\nWho?",
            &[(Quote, "That is.\nSaid"), (Quote, "That is."), (Bold, "is")],
        );
        check("```", "", &[]);
        check("a\n```\nb", "a\nb", &[(Code, "b")]);
    }

    #[test]
    fn writing_puts_directives_where_they_can_stand() {
        let span = |from, to, style| Span { from, to, style };
        assert_eq!(write("bold and it", &[span(0, 4, Bold), span(9, 11, Italic)]), "*bold* and _it_");
        assert_eq!(write("a b", &[span(0, 3, Bold), span(0, 1, Italic)]), "*_a_ b*");
        assert_eq!(write("one\ntwo", &[span(0, 7, Bold)]), "*one*\n*two*");
        assert_eq!(write(" x ", &[span(0, 3, Bold)]), " *x* ");
        assert_eq!(write("believable", &[span(2, 5, Bold)]), "believable");
        assert_eq!(write("a*b", &[span(0, 3, Bold)]), "a*b");
        assert_eq!(write("code\nb", &[span(0, 4, Code)]), "```\ncode\n```\nb");
        assert_eq!(write("q\nb", &[span(0, 1, Quote)]), "> q\nb");
        assert_eq!(write("x", &[span(0, 9, Bold), span(1, 1, Bold)]), "x");
        assert_eq!(write("é b", &[span(1, 3, Bold)]), "é b");
        assert_eq!(write("a b c", &[span(0, 3, Bold), span(2, 5, Italic)]), "*a _b_* c");
    }

    #[test]
    fn plain_text_may_look_styled() {
        assert!(looks_styled("> quote") && looks_styled("x *y*"));
        assert!(!looks_styled("1 * 2 * 3") && !looks_styled("plain"));
    }

    #[test]
    fn many_openers_cost_little() {
        let body = "*a ".repeat(100_000);
        assert_eq!(read(&body).0, body);
    }

    proptest! {
        #[test]
        fn any_text_gives_spans_within_it(body in "([*_~`> \na-bé]|```\n){0,40}") {
            let (text, spans) = read(&body);
            for s in &spans {
                prop_assert!(s.from < s.to && text.get(s.from..s.to).is_some());
            }
            let _ = write(&text, &spans);
        }

        #[test]
        fn styles_of_whole_words_read_back(
            words in proptest::collection::vec(("[a-zé]{1,5}", proptest::option::of(0usize..4)), 1..12),
        ) {
            let (mut text, mut spans) = (String::new(), vec![]);
            for (word, style) in &words {
                if !text.is_empty() {
                    text.push(' ');
                }
                let from = text.len();
                text.push_str(word);
                if let Some(style) = style {
                    spans.push(Span { from, to: text.len(), style: [Bold, Italic, Strike, Mono][*style] });
                }
            }
            prop_assert_eq!(read(&write(&text, &spans)), (text, spans));
        }

        #[test]
        fn any_spans_can_be_written(
            text in "[a-c*_` \né]{0,24}",
            spans in proptest::collection::vec((0usize..26, 0usize..26, 0usize..6), 0..6),
        ) {
            let spans: Vec<Span> = spans
                .iter()
                .map(|(from, to, style)| Span { from: *from, to: *to, style: [Bold, Italic, Strike, Mono, Code, Quote][*style] })
                .collect();
            let body = write(&text, &spans);
            prop_assert!(body.len() >= text.len());
        }
    }
}
