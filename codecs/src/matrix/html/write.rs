//! From neutral text to the HTML of a message.

use lavina_core::text::{Rich, Style};

/// Quotes within quotes that are written.
const MAX_QUOTES: usize = 8;

/// Styles within a line and their tags, outermost first.
const INLINE: [(Style, &str, &str); 6] = [
    (Style::Spoiler, "<span data-mx-spoiler>", "</span>"),
    (Style::Bold, "<strong>", "</strong>"),
    (Style::Italic, "<em>", "</em>"),
    (Style::Underline, "<u>", "</u>"),
    (Style::Strike, "<del>", "</del>"),
    (Style::Code, "<code>", "</code>"),
];

/// Places in [`Depths`].
const BLOCK: usize = INLINE.len();
const QUOTE: usize = INLINE.len() + 1;

/// How many spans of each style hold at a place.
type Depths = [usize; INLINE.len() + 2];

/// Appends text with what means something in HTML made harmless.
pub fn escape(text: &str, out: &mut String) {
    escape_all(text, &['&', '<', '>'], out);
}

/// The same for a value in double quotes.
pub(super) fn escape_attribute(text: &str, out: &mut String) {
    escape_all(text, &['&', '<', '>', '"'], out);
}

fn escape_all(text: &str, special: &[char], out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(special) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            _ => "&quot;",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// The HTML that shows the text; none where plain text says as much. Spans may overlap; those out of bounds do nothing.
pub fn write(rich: &Rich) -> Option<String> {
    let text = rich.text.as_str();
    let mut marks: Vec<(usize, usize, bool)> = Vec::new();
    for span in &rich.spans {
        let (from, to) = (span.from as usize, span.to as usize);
        if from < to && text.get(from..to).is_some() {
            let place = place(span.style);
            marks.extend([(from, place, true), (to, place, false)]);
        }
    }
    if marks.is_empty() {
        return None;
    }
    marks.sort_unstable_by_key(|(at, place, begins)| (*at, *begins, *place));
    let mut writer = Writer {
        out: String::with_capacity(2 * text.len()),
        marks: &marks,
        depths: [0; _],
        open: Vec::new(),
    };
    writer.lines(text);
    Some(writer.out)
}

fn place(style: Style) -> usize {
    match style {
        Style::Block => BLOCK,
        Style::Quote => QUOTE,
        _ => INLINE.iter().position(|(s, ..)| *s == style).unwrap_or(BLOCK),
    }
}

struct Writer<'a> {
    out: String,
    /// Where spans begin and end, what is still to come.
    marks: &'a [(usize, usize, bool)],
    depths: Depths,
    /// Inline styles whose tags are open.
    open: Vec<usize>,
}

impl Writer<'_> {
    fn lines(&mut self, text: &str) {
        let (mut start, mut quotes, mut block, mut first) = (0, 0, false, true);
        for line in text.split('\n') {
            self.advance(start);
            let (want_quotes, want_block) = (self.depths[QUOTE].min(MAX_QUOTES), self.depths[BLOCK] > 0);
            if block && (!want_block || quotes != want_quotes) {
                self.out.push_str("</code></pre>");
                (block, first) = (false, true);
            }
            first |= quotes != want_quotes;
            for _ in quotes..want_quotes {
                self.out.push_str("<blockquote>");
            }
            for _ in want_quotes..quotes {
                self.out.push_str("</blockquote>");
            }
            quotes = want_quotes;
            if want_block && !block {
                self.out.push_str("<pre><code>");
                (block, first) = (true, true);
            }
            if !std::mem::take(&mut first) {
                self.out.push_str(if block { "\n" } else { "<br>" });
            }
            match block {
                true => escape(line, &mut self.out),
                false => self.line(text, start, start + line.len()),
            }
            start += line.len() + 1;
        }
        if block {
            self.out.push_str("</code></pre>");
        }
        for _ in 0..quotes {
            self.out.push_str("</blockquote>");
        }
    }

    /// Counts the spans that begin or end up to `at`.
    fn advance(&mut self, at: usize) {
        while let Some(((_, place, begins), rest)) = self.marks.split_first().filter(|((m, ..), _)| *m <= at)
        {
            if let Some(depth) = self.depths.get_mut(*place) {
                *depth = if *begins { *depth + 1 } else { depth.saturating_sub(1) };
            }
            self.marks = rest;
        }
    }

    /// Writes one line with its inline styles.
    fn line(&mut self, text: &str, start: usize, end: usize) {
        let mut at = start;
        while at < end {
            self.advance(at);
            self.open_wanted();
            let next = self.marks.first().map_or(end, |(m, ..)| (*m).min(end));
            self.flowing(&text[at..next], at == start);
            at = next;
        }
        self.close_to(0);
    }

    fn open_wanted(&mut self) {
        let wanted = |place: usize| self.depths.get(place).is_some_and(|d| *d > 0);
        let keep = self.open.iter().position(|p| !wanted(*p)).unwrap_or(self.open.len());
        let missing: Vec<usize> =
            (0..INLINE.len()).filter(|p| wanted(*p) && !self.open[..keep].contains(p)).collect();
        self.close_to(keep);
        for place in missing {
            self.out.push_str(INLINE[place].1);
            self.open.push(place);
        }
    }

    fn close_to(&mut self, depth: usize) {
        while self.open.len() > depth
            && let Some(place) = self.open.pop()
        {
            self.out.push_str(INLINE[place].2);
        }
    }

    /// Escapes text and keeps runs of spaces from collapsing.
    fn flowing(&mut self, text: &str, line_start: bool) {
        let mut rest = text;
        let mut after_space = line_start || self.out.ends_with([' ', '\u{a0}']);
        while let Some(at) = rest.find(' ') {
            let (head, tail) = rest.split_at(at);
            escape(head, &mut self.out);
            self.out.push(if head.is_empty() && after_space { '\u{a0}' } else { ' ' });
            after_space = true;
            rest = &tail[1..];
        }
        escape(rest, &mut self.out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Nameless, clean, read};
    use super::*;
    use Style::*;
    use lavina_core::text::{Span, Str};
    use proptest::prelude::*;

    fn rich(text: &str, spans: &[(u32, u32, Style)]) -> Rich {
        let spans =
            spans.iter().map(|(from, to, style)| Span { from: *from, to: *to, style: *style }).collect();
        Rich { text: Str::new(text), spans }
    }

    #[track_caller]
    fn check(text: &str, spans: &[(u32, u32, Style)], html: &str) {
        assert_eq!(write(&rich(text, spans)).as_deref(), Some(html));
        assert_eq!(clean(html), html);
    }

    #[test]
    fn spans_become_tags() {
        check("a b", &[(0, 1, Bold)], "<strong>a</strong> b");
        check("abc", &[(0, 2, Bold), (1, 3, Italic)], "<strong>a<em>b</em></strong><em>c</em>");
        check("a<b", &[(0, 3, Code)], "<code>a&lt;b</code>");
        check("a\nb", &[(0, 3, Strike)], "<del>a</del><br><del>b</del>");
        check("x", &[(0, 1, Spoiler), (0, 1, Underline)], "<span data-mx-spoiler><u>x</u></span>");
        check("ab", &[(0, 1, Bold), (1, 2, Bold)], "<strong>ab</strong>");
        check("a  b", &[(0, 1, Bold)], "<strong>a</strong> \u{a0}b");
    }

    #[test]
    fn lines_become_blocks() {
        check("a\nb\nc\nd", &[(2, 5, Quote)], "a<blockquote>b<br>c</blockquote>d");
        check("a\nb\nc", &[(0, 3, Block)], "<pre><code>a\nb</code></pre>c");
        check(
            "a\nb",
            &[(0, 3, Quote), (0, 1, Quote)],
            "<blockquote><blockquote>a</blockquote>b</blockquote>",
        );
        check("a\nb", &[(0, 3, Quote), (2, 3, Block)], "<blockquote>a<pre><code>b</code></pre></blockquote>");
    }

    #[test]
    fn plain_text_needs_none() {
        assert_eq!(write(&rich("a < b", &[])), None);
        assert_eq!(write(&rich("é", &[(0, 1, Bold), (1, 1, Bold), (0, 9, Bold)])), None);
    }

    proptest! {
        #[test]
        fn words_read_back(
            words in proptest::collection::vec(("[a-z<&é\"]{1,5}", 0usize..9, "[ \n]|  "), 1..14),
        ) {
            let (mut text, mut spans) = (String::new(), vec![]);
            for (n, (word, style, gap)) in words.iter().enumerate() {
                if n > 0 {
                    text.push_str(gap);
                }
                let from = text.len() as u32;
                text.push_str(word);
                if let Some((style, ..)) = INLINE.get(*style) {
                    spans.push(Span { from, to: text.len() as u32, style: *style });
                }
            }
            let rich = Rich { text: Str::new(text), spans };
            if let Some(html) = write(&rich) {
                prop_assert_eq!(&clean(&html), &html);
                prop_assert_eq!(read(&html, &Nameless), rich);
            }
        }

        #[test]
        fn any_spans_give_clean_html(
            text in "[a<& \né]{0,24}",
            spans in proptest::collection::vec((0u32..26, 0u32..26, 0usize..8), 0..8),
        ) {
            let all = [Bold, Italic, Underline, Strike, Code, Block, Quote, Spoiler];
            let spans: Vec<(u32, u32, Style)> = spans.iter().map(|(f, t, s)| (*f, *t, all[*s])).collect();
            if let Some(html) = write(&rich(&text, &spans)) {
                prop_assert_eq!(clean(&html), html);
            }
        }
    }
}
