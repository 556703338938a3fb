//! The tags and attributes that are let through (client-server API, "m.room.message msgtypes").

use super::token::decode;

/// How deep tags may lie in each other; deeper ones are dropped, their content stays.
pub(super) const DEPTH: usize = 100;

/// What links may begin with. Those of the specification and those of chat.
const SCHEMES: [&str; 9] = ["https", "http", "ftp", "mailto", "magnet", "xmpp", "irc", "ircs", "matrix"];

/// Longest value of an attribute kept, in bytes; longer ones are dropped.
const VALUE_MAX: usize = 4096;

/// An element that is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    A,
    Blockquote,
    Bold,
    Br,
    Caption,
    Code,
    Del,
    Details,
    Div,
    Em,
    Heading(u8),
    Hr,
    I,
    Img,
    Li,
    Ol,
    P,
    Pre,
    S,
    Span,
    Strong,
    Sub,
    Summary,
    Sup,
    Table,
    Tbody,
    Td,
    Th,
    Thead,
    Tr,
    U,
    Ul,
}

/// Names and elements. What stands twice is an older name of the same; the first one is written.
const TAGS: [(&str, Tag); 40] = [
    ("a", Tag::A),
    ("blockquote", Tag::Blockquote),
    ("b", Tag::Bold),
    ("br", Tag::Br),
    ("caption", Tag::Caption),
    ("code", Tag::Code),
    ("tt", Tag::Code),
    ("del", Tag::Del),
    ("details", Tag::Details),
    ("div", Tag::Div),
    ("em", Tag::Em),
    ("h1", Tag::Heading(1)),
    ("h2", Tag::Heading(2)),
    ("h3", Tag::Heading(3)),
    ("h4", Tag::Heading(4)),
    ("h5", Tag::Heading(5)),
    ("h6", Tag::Heading(6)),
    ("hr", Tag::Hr),
    ("i", Tag::I),
    ("img", Tag::Img),
    ("li", Tag::Li),
    ("ol", Tag::Ol),
    ("p", Tag::P),
    ("pre", Tag::Pre),
    ("s", Tag::S),
    ("strike", Tag::S),
    ("span", Tag::Span),
    ("font", Tag::Span),
    ("strong", Tag::Strong),
    ("sub", Tag::Sub),
    ("summary", Tag::Summary),
    ("sup", Tag::Sup),
    ("table", Tag::Table),
    ("tbody", Tag::Tbody),
    ("td", Tag::Td),
    ("th", Tag::Th),
    ("thead", Tag::Thead),
    ("tr", Tag::Tr),
    ("u", Tag::U),
    ("ul", Tag::Ul),
];

impl Tag {
    pub(super) fn named(name: &str) -> Option<Tag> {
        TAGS.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, tag)| *tag)
    }

    pub(super) fn name(self) -> &'static str {
        TAGS.iter().find(|(_, tag)| *tag == self).map_or("span", |(n, _)| n)
    }

    /// Without content and end tag.
    pub(super) fn is_void(self) -> bool {
        matches!(self, Tag::Br | Tag::Hr | Tag::Img)
    }

    /// Whether its start ends an open paragraph.
    pub(super) fn ends_paragraph(self) -> bool {
        matches!(
            self,
            Tag::P
                | Tag::Div
                | Tag::Heading(_)
                | Tag::Blockquote
                | Tag::Ul
                | Tag::Ol
                | Tag::Pre
                | Tag::Table
                | Tag::Hr
                | Tag::Details
        )
    }
}

/// An attribute with its value, references resolved.
pub(super) type Attribute = (&'static str, String);

/// The attributes of an element that are let through, in one order. `None`: without what it lacks, the element means
/// nothing and is dropped.
pub(super) fn attributes(tag: Tag, given: &[(&str, &str)]) -> Option<Vec<Attribute>> {
    let raw = |name: &str| given.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v);
    let value = |name: &str| raw(name).filter(|v| v.len() <= VALUE_MAX).map(decode);
    let mut out: Vec<Attribute> = Vec::new();
    let mut keep = |name: &'static str, value: Option<String>| out.extend(value.map(|v| (name, v)));
    match tag {
        Tag::A => {
            keep("href", Some(link(&value("href")?)?));
            keep("target", value("target").filter(|t| t == "_blank"));
        }
        Tag::Img => {
            keep("src", Some(value("src").filter(|src| is_mxc(src))?));
            keep("alt", value("alt"));
            keep("title", value("title"));
            keep("width", value("width").filter(|n| is_number(n)));
            keep("height", value("height").filter(|n| is_number(n)));
            keep("data-mx-emoticon", raw("data-mx-emoticon").map(|_| String::new()));
        }
        Tag::Span => {
            keep("data-mx-bg-color", value("data-mx-bg-color").filter(|c| is_colour(c)));
            let colour = value("data-mx-color").or_else(|| value("color"));
            keep("data-mx-color", colour.filter(|c| is_colour(c)));
            keep("data-mx-spoiler", value("data-mx-spoiler"));
            keep("data-mx-maths", value("data-mx-maths"));
        }
        Tag::Div => keep("data-mx-maths", value("data-mx-maths")),
        Tag::Ol => keep("start", value("start").filter(|n| is_number(n.strip_prefix('-').unwrap_or(n)))),
        Tag::Code => keep("class", value("class").and_then(|c| language(&c))),
        _ => {}
    }
    Some(out)
}

/// A link that may stay: absolute, of a known scheme, without control characters.
fn link(href: &str) -> Option<String> {
    let href = href.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    let (scheme, rest) = href.split_once(':')?;
    let known = SCHEMES.iter().any(|s| s.eq_ignore_ascii_case(scheme));
    if !known || rest.is_empty() || rest.contains(|c: char| c.is_control()) {
        return None;
    }
    Some(href.replace(' ', "%20"))
}

/// Whether it is the address of an object in a media repository: `mxc://server/object`.
pub fn is_mxc(uri: &str) -> bool {
    uri.strip_prefix("mxc://").and_then(|rest| rest.split_once('/')).is_some_and(|(server, object)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        crate::matrix::ids::is_server_name(server)
            && !object.is_empty()
            && object.len() <= 255
            && object.bytes().all(plain)
    })
}

fn is_number(s: &str) -> bool {
    (1..=6).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit())
}

fn is_colour(s: &str) -> bool {
    s.strip_prefix('#').is_some_and(|hex| hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The classes that name a language.
fn language(class: &str) -> Option<String> {
    let plain = |c: &str| c.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+#.".contains(&b));
    let kept: Vec<&str> =
        class.split_ascii_whitespace().filter(|c| c.starts_with("language-") && plain(c)).collect();
    (!kept.is_empty()).then(|| kept.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        assert_eq!(link(" https://x.org/a b ").as_deref(), Some("https://x.org/a%20b"));
        assert_eq!(link("MAILTO:a@x.org").as_deref(), Some("MAILTO:a@x.org"));
        for bad in [
            "javascript:x",
            "java\nscript:x",
            "https:",
            "/a",
            "//x.org",
            "data:text/html,x",
            "https:/\t/x",
            "vbscript:x",
            "",
        ] {
            assert_eq!(link(bad), None, "{bad}");
        }
    }

    #[test]
    fn images_are_ours() {
        assert!(is_mxc("mxc://x.org:8448/aB_-1"));
        for bad in [
            "mxc://x.org",
            "mxc://x.org/",
            "mxc:///a",
            "mxc://x.org/a/b",
            "mxc://x.org/..",
            "https://x.org/a",
        ] {
            assert!(!is_mxc(bad), "{bad}");
        }
    }

    #[test]
    fn each_tag_has_one_name() {
        for (name, tag) in TAGS {
            assert_eq!(Tag::named(tag.name()), Some(tag), "{name}");
        }
    }
}
