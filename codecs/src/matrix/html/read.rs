//! From a message's HTML to neutral text: blocks become lines, marks become spans, pills become names.

use super::tag::{Attribute, Tag};
use super::tree::{Visit, visit};
use crate::matrix::uri::{Link, link};
use lavina_core::text::{Rich, Span, Str, Style};

/// Spans kept of one message; styles beyond fall away.
pub const SPANS_MAX: usize = 500;

/// Line ends that breaks and blocks can make at one place.
const GAP_MAX: usize = 3;

/// Lists in lists that are indented; deeper ones stay at that depth.
const INDENT_MAX: usize = 8;

/// What people are called where the text is read.
pub trait Names {
    /// The name that a user id is mentioned by; `None`: as the sender wrote it.
    fn user(&self, id: &str) -> Option<String>;
}

/// Nobody has another name than the sender wrote.
#[derive(Clone, Copy, Debug)]
pub struct Nameless;

impl Names for Nameless {
    fn user(&self, _: &str) -> Option<String> {
        None
    }
}

/// What people read of a message's HTML.
pub fn read(html: &str, names: &dyn Names) -> Rich {
    let mut reader = Reader {
        names,
        out: String::with_capacity(html.len()),
        spans: Vec::new(),
        open: Vec::new(),
        lists: Vec::new(),
        marker: None,
        gap: 0,
        space: false,
        pre: 0,
        pre_begins: false,
        cell: false,
    };
    visit(html, &mut reader);
    reader.finish()
}

/// An open element.
struct Open {
    style: Option<Style>,
    /// Where a link leads.
    href: Option<String>,
    /// Where its text begins, once there is some.
    from: Option<usize>,
}

struct Reader<'a> {
    names: &'a dyn Names,
    out: String,
    spans: Vec<Span>,
    open: Vec<Open>,
    /// Open lists; the number of the next item, if numbered.
    lists: Vec<Option<i64>>,
    /// What comes before the next text, and how many elements are outside of it.
    marker: Option<(usize, String)>,
    /// Line ends wanted before the next text.
    gap: usize,
    /// Whether white space was seen since the last text.
    space: bool,
    /// Open preformatted elements.
    pre: usize,
    pre_begins: bool,
    /// Whether the table row has a cell already.
    cell: bool,
}

impl Reader<'_> {
    /// The next text is on another line, `lines` below.
    fn block(&mut self, lines: usize) {
        if !self.out.is_empty() && self.marker.is_none() {
            self.gap = self.gap.max(lines);
        }
        self.space = false;
    }

    /// Writes what was put off until there is text: line ends, a space, a list marker.
    fn flush(&mut self) {
        if self.gap > 0 {
            self.out.extend(std::iter::repeat_n('\n', self.gap));
        } else if self.space && !self.at_line_start() {
            self.out.push(' ');
        }
        (self.gap, self.space) = (0, false);
        let marker = self.marker.take();
        let outside = marker.as_ref().map_or(self.open.len(), |(depth, _)| *depth);
        self.begin_spans(outside);
        if let Some((_, marker)) = marker {
            self.out.push_str(&marker);
            self.begin_spans(self.open.len());
        }
    }

    fn at_line_start(&self) -> bool {
        self.out.is_empty() || self.out.ends_with('\n') || self.marker.is_some()
    }

    fn begin_spans(&mut self, count: usize) {
        let at = self.out.len();
        for open in self.open.iter_mut().take(count).rev().take_while(|o| o.from.is_none()) {
            open.from = Some(at);
        }
    }

    /// Text that stands as it is.
    fn literal(&mut self, text: &str) {
        if !text.is_empty() {
            self.flush();
            self.out.push_str(text);
        }
    }

    /// Text in which white space collapses.
    fn flowing(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                ' ' | '\n' | '\t' => self.space = true,
                _ => {
                    if self.space
                        || self.gap > 0
                        || self.out.is_empty()
                        || self.marker.is_some()
                        || self.unbegun()
                    {
                        self.flush();
                    }
                    self.out.push(if c == '\u{a0}' { ' ' } else { c });
                }
            }
        }
    }

    fn unbegun(&self) -> bool {
        self.open.last().is_some_and(|o| o.from.is_none())
    }

    fn start_list(&mut self, attributes: &[Attribute], numbered: bool) {
        let start = value(attributes, "start").and_then(|n| n.parse().ok());
        self.block(1);
        self.lists.push(numbered.then(|| start.unwrap_or(1)));
    }

    fn start_item(&mut self) {
        self.block(1);
        let depth = self.lists.len().saturating_sub(1).min(INDENT_MAX);
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                let mark = format!("{number}. ");
                *number += 1;
                mark
            }
            _ => String::from("• "),
        };
        self.marker = Some((self.open.len(), format!("{}{mark}", "  ".repeat(depth))));
    }

    fn image(&mut self, attributes: &[Attribute]) {
        let (alt, title) = (value(attributes, "alt"), value(attributes, "title"));
        let text = match value(attributes, "data-mx-emoticon") {
            Some(_) => title.or(alt).map(|t| format!(":{}:", t.trim_matches(':'))),
            None => alt.or(title).map(str::to_owned),
        };
        let text = text.filter(|t| !t.trim().is_empty());
        self.flowing(text.as_deref().unwrap_or("[image]"));
    }

    /// What a link's text becomes: the name it mentions, or the address behind it.
    fn end_link(&mut self, href: &str, from: usize) {
        let label = self.out.get(from..).unwrap_or_default().trim();
        let replacement = match link(href) {
            Some(Link::User(id)) => match self.names.user(&id) {
                Some(name) => Some(name),
                None => label.is_empty().then_some(id),
            },
            Some(Link::Room(room)) if label.is_empty() => Some(room),
            Some(Link::Room(room)) if room.starts_with('#') && room != label => {
                Some(format!("{label} ({room})"))
            }
            Some(Link::Room(_)) => None,
            _ => behind(label, href),
        };
        let Some(text) = replacement else { return };
        if let Some(more) = text.strip_prefix(label).filter(|_| !label.is_empty()) {
            let end = self.out.trim_end().len().max(from);
            self.out.truncate(end);
            self.out.push_str(more);
            return;
        }
        self.out.truncate(from);
        while self.spans.last().is_some_and(|s| s.from as usize >= from) {
            self.spans.pop();
        }
        self.out.push_str(&text);
    }

    fn end_pre(&mut self, from: usize) {
        self.pre = self.pre.saturating_sub(1);
        let end = from + self.out.get(from..).unwrap_or_default().trim_end_matches('\n').len();
        self.out.truncate(end);
        for span in self.spans.iter_mut().rev().take_while(|s| s.from as usize >= from) {
            span.to = span.to.min(offset(end));
        }
    }

    fn finish(mut self) -> Rich {
        let text = self.out.trim_end();
        let len = offset(text.len());
        for span in &mut self.spans {
            span.to = span.to.min(len);
        }
        self.spans.retain(|s| s.from < s.to);
        self.spans.sort_by_key(|s| (s.from, std::cmp::Reverse(s.to), s.style));
        Rich { text: Str::new(text), spans: self.spans }
    }
}

impl Visit for Reader<'_> {
    fn start(&mut self, tag: Tag, attributes: &[Attribute]) {
        self.pre_begins = false;
        let mut href = None;
        match tag {
            Tag::Br if self.pre > 0 => self.literal("\n"),
            Tag::Br => {
                self.space = false;
                if !self.out.is_empty() {
                    self.gap = (self.gap + 1).min(GAP_MAX);
                }
            }
            Tag::Hr => {
                self.block(1);
                self.literal("---");
                self.block(1);
            }
            Tag::Img => self.image(attributes),
            Tag::Li => self.start_item(),
            Tag::Ol => self.start_list(attributes, true),
            Tag::Ul => self.start_list(attributes, false),
            Tag::P | Tag::Heading(_) => self.block(2),
            Tag::Blockquote | Tag::Caption | Tag::Details | Tag::Div | Tag::Summary | Tag::Table => {
                self.block(1)
            }
            Tag::Pre => {
                self.block(1);
                (self.pre, self.pre_begins) = (self.pre + 1, true);
            }
            Tag::Tr => {
                self.block(1);
                self.cell = false;
            }
            Tag::Td | Tag::Th if std::mem::replace(&mut self.cell, true) => {
                self.space = false;
                self.literal(" | ");
            }
            Tag::A => href = value(attributes, "href").map(str::to_owned),
            Tag::Span => {
                if let Some(why) = value(attributes, "data-mx-spoiler").filter(|why| !why.trim().is_empty()) {
                    self.flowing(&format!("({}) ", why.trim()));
                }
            }
            _ => {}
        }
        if !tag.is_void() {
            let style = self.style(tag, attributes);
            self.open.push(Open { style, href, from: None });
        }
    }

    fn end(&mut self, tag: Tag) {
        let Some(open) = self.open.pop() else { return };
        if let Some(href) = &open.href {
            let from = open.from.unwrap_or_else(|| {
                self.flush();
                self.out.len()
            });
            self.end_link(href, from);
        }
        if tag == Tag::Pre {
            self.end_pre(open.from.unwrap_or(self.out.len()));
        }
        if let (Some(style), Some(from)) = (open.style, open.from)
            && from < self.out.len()
            && self.spans.len() < SPANS_MAX
        {
            self.spans.push(Span { from: offset(from), to: offset(self.out.len()), style });
        }
        match tag {
            Tag::P => self.block(2),
            Tag::Li => {
                self.marker = None;
                self.block(1);
            }
            Tag::Ul | Tag::Ol => {
                self.lists.pop();
                self.block(1);
            }
            Tag::Blockquote
            | Tag::Caption
            | Tag::Details
            | Tag::Div
            | Tag::Heading(_)
            | Tag::Pre
            | Tag::Summary
            | Tag::Table
            | Tag::Tr => self.block(1),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let begins = std::mem::take(&mut self.pre_begins);
        match self.pre {
            0 => self.flowing(text),
            // The line end right after the tag is not part of it.
            _ => self.literal(text.strip_prefix('\n').filter(|_| begins).unwrap_or(text)),
        }
    }
}

impl Reader<'_> {
    /// The style of an element, if it is not inside of one that has it already.
    fn style(&self, tag: Tag, attributes: &[Attribute]) -> Option<Style> {
        let style = match tag {
            Tag::Bold | Tag::Strong | Tag::Heading(_) | Tag::Th => Style::Bold,
            Tag::I | Tag::Em => Style::Italic,
            Tag::U => Style::Underline,
            Tag::S | Tag::Del => Style::Strike,
            Tag::Code if self.pre == 0 => Style::Code,
            Tag::Pre => Style::Block,
            Tag::Blockquote => Style::Quote,
            Tag::Span if value(attributes, "data-mx-spoiler").is_some() => Style::Spoiler,
            _ => return None,
        };
        let inside = style != Style::Quote && self.open.iter().any(|o| o.style == Some(style));
        (!inside).then_some(style)
    }
}

/// The label with the address after it, where the label does not tell the address.
fn behind(label: &str, href: &str) -> Option<String> {
    let (scheme, rest) = href.split_once(':')?;
    let place = rest.trim_start_matches('/').trim_end_matches('/');
    if label == href || (scheme.eq_ignore_ascii_case("mailto") && label == place) {
        None
    } else if label.is_empty() || label.trim_end_matches('/') == place {
        Some(href.to_owned())
    } else {
        Some(format!("{label} ({href})"))
    }
}

fn value<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
}

/// An offset as spans have it. Texts are far shorter than its range.
fn offset(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::any_html;
    use super::*;
    use proptest::prelude::*;

    struct Alice;

    impl Names for Alice {
        fn user(&self, id: &str) -> Option<String> {
            (id == "@alice:x.org").then(|| "alice".into())
        }
    }

    #[track_caller]
    fn check(html: &str, text: &str, spans: &[(Style, &str)]) {
        let rich = read(html, &Alice);
        let found: Vec<(Style, &str)> =
            rich.spans.iter().map(|s| (s.style, &rich.text[s.from as usize..s.to as usize])).collect();
        assert_eq!((rich.text.as_str(), found.as_slice()), (text, spans), "{html}");
    }

    use Style::*;

    #[test]
    fn marks_become_spans() {
        check(
            "a <b>b <i>c</i></b> <u>d</u> <del>e</del><s>f</s>",
            "a b c d ef",
            &[(Bold, "b c"), (Italic, "c"), (Underline, "d"), (Strike, "e"), (Strike, "f")],
        );
        check("<b>a <strong>b</strong></b>", "a b", &[(Bold, "a b")]);
        check("<b>a </b>b <code>c  d</code>", "a b c d", &[(Bold, "a"), (Code, "c d")]);
        check(
            "<span data-mx-spoiler>x</span> <span data-mx-spoiler='why'>y</span>",
            "x (why) y",
            &[(Spoiler, "x"), (Spoiler, "y")],
        );
        check("<b></b>a<b> </b>", "a", &[]);
    }

    #[test]
    fn blocks_become_lines() {
        check("<p>a</p>\n<p>b<br>c</p>\n", "a\n\nb\nc", &[]);
        check("<h1>t</h1><div>a</div>b", "t\na\nb", &[(Bold, "t")]);
        check(
            "a<blockquote>b<blockquote>c</blockquote></blockquote>d",
            "a\nb\nc\nd",
            &[(Quote, "b\nc"), (Quote, "c")],
        );
        check("<pre><code>a\n  b\n</code></pre>c", "a\n  b\nc", &[(Block, "a\n  b")]);
        check("<pre>\na<br>b</pre>", "a\nb", &[(Block, "a\nb")]);
        check(
            "<ul><li>a</li><li>b<ol start=3><li><b>c</b></li><li>d</li></ol></li></ul>e",
            "• a\n• b\n  3. c\n  4. d\ne",
            &[(Bold, "c")],
        );
        check("<blockquote><ul><li>a</li></ul></blockquote>", "• a", &[(Quote, "• a")]);
        check("<ul><li><p>a</p></li><li><p>b</p></li></ul>", "• a\n\n• b", &[]);
        check("a<hr>b", "a\n---\nb", &[]);
        check("<table><tr><td>a</td><td></td><td>b</td></tr><tr><td>c</td></tr></table>", "a |  | b\nc", &[]);
        check("<br><br>a<br><br><br><br><br>b<br>", "a\n\n\nb", &[]);
        check("a\n b\t\tc&nbsp;&nbsp;d", "a b c  d", &[]);
    }

    #[test]
    fn links_tell_where_they_lead() {
        check("<a href='https://x.org/'>https://x.org/</a>", "https://x.org/", &[]);
        check(
            "see <a href='https://x.org/a'>this <b>page</b></a>!",
            "see this page (https://x.org/a)!",
            &[(Bold, "page")],
        );
        check("<a href='https://x.org/'>x.org</a>", "https://x.org/", &[]);
        check("<a href='mailto:a@x.org'>a@x.org</a>", "a@x.org", &[]);
        check("<a href='https://x.org/a'></a>b", "https://x.org/ab", &[]);
        check("a <a href='https://x.org/a'><img src='mxc://x/y'></a>", "a [image] (https://x.org/a)", &[]);
    }

    #[test]
    fn pills_become_names() {
        check("<a href='https://matrix.to/#/@alice:x.org'>Alice <b>A</b></a>: hi", "alice: hi", &[]);
        check("<a href='matrix:u/alice:x.org'>Alice</a> hi", "alice hi", &[]);
        check("<a href='https://matrix.to/#/@bob:y.org'>Bob</a> hi", "Bob hi", &[]);
        check("<a href='https://matrix.to/#/@bob:y.org'></a> hi", "@bob:y.org hi", &[]);
        check("<a href='https://matrix.to/#/%23lobby:x.org'>#lobby:x.org</a>", "#lobby:x.org", &[]);
        check("<a href='https://matrix.to/#/#lobby:x.org'>here</a>", "here (#lobby:x.org)", &[]);
        check("<a href='https://matrix.to/#/!r:x.org?via=x.org'>here</a>", "here", &[]);
        check("<b><a href='https://matrix.to/#/@alice:x.org'>A</a></b>", "alice", &[(Bold, "alice")]);
    }

    #[test]
    fn images_are_called_something() {
        check(
            "<img src='mxc://x/y' alt='a cat'> <img src='mxc://x/y' data-mx-emoticon alt='w' title='wave'>",
            "a cat :wave:",
            &[],
        );
        check("<img src='https://x/y' alt='a cat'><img src='mxc://x/y'>", "a cat[image]", &[]);
    }

    #[test]
    fn time_and_space_are_bounded() {
        let html = "<ul><li>x".repeat(50_000);
        assert!(read(&html, &Nameless).text.len() <= 4 * html.len());
        let html = "<b>x</b>".repeat(50_000);
        assert_eq!(read(&html, &Nameless).spans.len(), SPANS_MAX);
    }

    proptest! {
        #[test]
        fn spans_are_within_the_text(html in any_html()) {
            let rich = read(&html, &Alice);
            for s in &rich.spans {
                prop_assert!(s.from < s.to && rich.text.get(s.from as usize..s.to as usize).is_some());
            }
            prop_assert!(rich.spans.is_sorted_by_key(|s| s.from));
            prop_assert_eq!(rich.text.trim_end(), rich.text.as_str());
            prop_assert_eq!(read(&super::super::clean(&html), &Alice), rich);
        }
    }
}
