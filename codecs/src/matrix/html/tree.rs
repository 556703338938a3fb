//! The tree of a message's HTML: which elements are open, and the cleaning of it.

use super::tag::{Attribute, DEPTH, Tag, attributes};
use super::token::{Token, Tokens, decode};
use super::write::{escape, escape_attribute};

/// Takes an element with its content away: what older clients repeat of the message replied to.
const DROPPED: &str = "mx-reply";

/// Who wants to see a cleaned tree. Starts and ends are balanced, and at most [`DEPTH`] deep.
pub(super) trait Visit {
    /// An element begins; void elements have no end.
    fn start(&mut self, tag: Tag, attributes: &[Attribute]);
    /// The innermost open element ends.
    fn end(&mut self, tag: Tag);
    /// Characters.
    fn text(&mut self, text: &str);
}

/// The same HTML with nothing in it but what the specification allows. Cleaning twice changes nothing more.
pub fn clean(html: &str) -> String {
    let mut writer = Writer(String::with_capacity(html.len() + html.len() / 8));
    visit(html, &mut writer);
    writer.0
}

/// Shows the tree to a visitor.
pub(super) fn visit(html: &str, to: &mut impl Visit) {
    let mut open: Vec<Tag> = Vec::new();
    let mut dropping = 0usize;
    for token in Tokens::new(html) {
        match token {
            Token::Start(name, _) if name.eq_ignore_ascii_case(DROPPED) => dropping += 1,
            Token::End(name) if name.eq_ignore_ascii_case(DROPPED) => dropping = dropping.saturating_sub(1),
            _ if dropping > 0 => {}
            Token::Text(text) => {
                let text = decode(text);
                if !text.is_empty() {
                    to.text(&text);
                }
            }
            Token::Start(name, given) => {
                if let Some(tag) = Tag::named(name) {
                    begin(tag, &given, &mut open, to);
                }
            }
            Token::End(name) => {
                let at = Tag::named(name).and_then(|tag| open.iter().rposition(|o| *o == tag));
                close_to(at.unwrap_or(open.len()), &mut open, to);
            }
        }
    }
    close_to(0, &mut open, to);
}

fn begin(tag: Tag, given: &[(&str, &str)], open: &mut Vec<Tag>, to: &mut impl Visit) {
    let Some(kept) = attributes(tag, given) else {
        // An image from elsewhere is what it is called.
        let alt = given.iter().find(|(n, _)| tag == Tag::Img && n.eq_ignore_ascii_case("alt"));
        if let Some(alt) = alt.map(|(_, v)| decode(v)).filter(|alt| !alt.is_empty()) {
            to.text(&alt);
        }
        return;
    };
    if tag.ends_paragraph() && open.last() == Some(&Tag::P) {
        close_to(open.len() - 1, open, to);
    }
    if tag == Tag::Li {
        let item = open.iter().rposition(|o| matches!(o, Tag::Li | Tag::Ul | Tag::Ol));
        if let Some(at) = item.filter(|at| open.get(*at) == Some(&Tag::Li)) {
            close_to(at, open, to);
        }
    }
    if tag.is_void() {
        to.start(tag, &kept);
    } else if open.len() < DEPTH {
        to.start(tag, &kept);
        open.push(tag);
    }
}

/// Ends what is open until only `depth` elements are.
fn close_to(depth: usize, open: &mut Vec<Tag>, to: &mut impl Visit) {
    while open.len() > depth
        && let Some(tag) = open.pop()
    {
        to.end(tag);
    }
}

struct Writer(String);

impl Visit for Writer {
    fn start(&mut self, tag: Tag, attributes: &[Attribute]) {
        self.0.extend(["<", tag.name()]);
        for (name, value) in attributes {
            self.0.extend([" ", name]);
            if !value.is_empty() {
                self.0.push_str("=\"");
                escape_attribute(value, &mut self.0);
                self.0.push('"');
            }
        }
        self.0.push('>');
    }

    fn end(&mut self, tag: Tag) {
        self.0.extend(["</", tag.name(), ">"]);
    }

    fn text(&mut self, text: &str) {
        escape(text, &mut self.0);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(html: &str, cleaned: &str) {
        assert_eq!(clean(html), cleaned, "{html}");
        assert_eq!(clean(cleaned), cleaned);
    }

    #[test]
    fn what_is_allowed_stays() {
        for same in [
            "<strong>a</strong> &amp; <em>b</em>",
            "<a href=\"https://matrix.to/#/@alice:x.org\">Alice</a>",
            "<span data-mx-spoiler>x</span><span data-mx-color=\"#ff0000\" data-mx-spoiler=\"why\">y</span>",
            "<pre><code class=\"language-rust\">fn a() {\n}\n</code></pre>",
            "<img src=\"mxc://x.org/abc\" alt=\"a\" title=\"b\" width=\"3\" height=\"4\" data-mx-emoticon>",
            "<ol start=\"3\"><li>a</li><li>b</li></ol><hr>a<br>b",
            "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>b</td></tr></tbody></table>",
            "<details><summary>a</summary>b</details><div data-mx-maths=\"\\pi\">π</div><h6>c</h6>",
        ] {
            check(same, same);
        }
    }

    #[test]
    fn what_is_not_goes() {
        check("<b onclick=alert(1) style='x' class=y>a</b>", "<b>a</b>");
        check("a<script>alert(1)</script>b<STYLE>*{}</STYLE>c", "abc");
        check("<form><input value=x><marquee>a</marquee></form>", "a");
        check("<a href='javascript:alert(1)'>a</a>", "a");
        check("<a href='java&#10;script:alert(1)'>a</a>", "a");
        check("<a href='JaVaScRiPt&colon;alert(1)'>a</a>", "a");
        check(
            "<a href=\"https://x.org/&quot;><script>\">a</a>",
            "<a href=\"https://x.org/&quot;&gt;&lt;script&gt;\">a</a>",
        );
        check("<a href='/relative'>a</a><a>b</a>", "ab");
        check("<img src='https://x.org/pixel.png' alt='a<b'><img src='https://x.org/p'>c", "a&lt;bc");
        check("<svg><style><img src=x onerror=alert(1)></style></svg>a", "a");
        check("&lt;script&gt;&#60;b&#62;", "&lt;script&gt;&lt;b&gt;");
        check(
            "<code class='x language-c hljs'>a</code><code class=x>b</code>",
            "<code class=\"language-c\">a</code><code>b</code>",
        );
        check("<span data-mx-color='red' data-mx-bg-color='#12345g'>a</span>", "<span>a</span>");
        check("<b\0>a\0</b>", "a");
    }

    #[test]
    fn older_spellings_become_newer_ones() {
        check("<font color='#00ff00'>a</font>", "<span data-mx-color=\"#00ff00\">a</span>");
        check("<strike>a</strike><tt>b</tt>", "<s>a</s><code>b</code>");
        check("<mx-reply><blockquote>q <b>w</blockquote></mx-reply>a", "a");
        check("a<mx-reply>b", "a");
    }

    #[test]
    fn the_result_is_balanced() {
        check("<b>a<i>b</b>c</i>", "<b>a<i>b</i></b>c");
        check("<ul><li>a<li>b<ul><li>c</ul>d", "<ul><li>a</li><li>b<ul><li>c</li></ul>d</li></ul>");
        check("<p>a<p>b<div>c", "<p>a</p><p>b</p><div>c</div>");
        check("</b></p>a</br>", "a");
        check("<br/><hr/>", "<br><hr>");
        let deep = "<b>".repeat(500);
        assert_eq!(clean(&format!("{deep}x")).matches("<b>").count(), DEPTH);
        assert!(clean(&format!("{deep}x")).contains('x'));
    }

    #[test]
    fn time_is_linear() {
        for piece in [
            "<",
            "<b ",
            "<!--",
            "</",
            "&",
            "<b><i></b>",
            "<a href='",
            "<script>",
            "&#",
            "<li>",
            "<p>",
            "<mx-reply>",
        ] {
            let html = piece.repeat(400_000 / piece.len());
            assert!(clean(&html).len() <= 5 * html.len());
        }
    }

    pub(in crate::matrix::html) fn any_html() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "<b>",
            "</b>",
            "<i",
            ">",
            "<p>",
            "</p>",
            "<li>",
            "<ul>",
            "</ul>",
            "<a href=",
            "'",
            "\"",
            "https:",
            "javascript:",
            "//x",
            " ",
            "\n",
            "&",
            "lt;",
            "&#60;",
            "&amp;",
            "<script",
            "</script>",
            "<!--",
            "-->",
            "<img src=",
            "mxc://x/y",
            "mxc:",
            "=",
            "/",
            "a",
            "é",
            "<mx-reply>",
            "</mx-reply>",
            "<pre>",
            "</pre>",
            "<code>",
            "</code>",
            "<br>",
            "<blockquote>",
            "</blockquote>",
            "<span data-mx-spoiler",
            "<font color='#ffffff'",
            "<ol start=3>",
            "</ol>",
            "\0",
            "<td>",
            "<!",
            "<?",
            "<svg onload=",
            "</a>",
            "@x:y",
        ]);
        prop_oneof![proptest::collection::vec(piece, 0..30).prop_map(|p| p.concat()), ".{0,60}",]
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(html in any_html()) {
            let once = clean(&html);
            prop_assert_eq!(clean(&once), once);
        }

        /// By a reader of its own: only known tags, quoted attributes of known names, no scheme that runs.
        #[test]
        fn nothing_dangerous_survives(html in any_html()) {
            let cleaned = clean(&html);
            let mut rest = cleaned.as_str();
            while let Some(at) = rest.find('<') {
                prop_assert!(!rest[..at].contains('>'));
                let len = rest[at..].find('>').expect("tags are closed");
                let inner = &rest[at + 1..at + len];
                let name = inner.trim_start_matches('/').split(' ').next().unwrap_or_default();
                prop_assert!(Tag::named(name).is_some_and(|t| t.name() == name), "{}", inner);
                for attribute in inner.split(' ').skip(1).filter(|a| a.contains("=\"")) {
                    let (name, value) = attribute.split_once("=\"").expect("checked");
                    prop_assert!(!name.starts_with("on") && name != "style", "{}", inner);
                    prop_assert!(name != "src" || value.starts_with("mxc://"));
                    prop_assert!(name != "href" || !value.to_lowercase().starts_with("javascript"));
                }
                rest = &rest[at + len + 1..];
            }
            prop_assert!(!rest.contains('>'));
        }
    }
}
