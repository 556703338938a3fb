//! An element as a tree, read independently of the codecs. Prefixes stay as they are written.

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Its name, with its prefix.
    pub name: String,
    /// Its attributes, declarations of namespaces among them.
    pub attrs: Vec<(String, String)>,
    /// The elements in it.
    pub children: Vec<Tree>,
    /// All text in it, without that of its elements.
    pub text: String,
}

impl Tree {
    /// Reads one element; nothing if it is not whole. The tag of a stream is an element without content.
    pub fn parse(xml: &str) -> Option<Tree> {
        let mut stack: Vec<Tree> = Vec::new();
        let mut rest = xml;
        loop {
            let open = rest.find('<')?;
            if let Some(top) = stack.last_mut() {
                top.text.push_str(&plain(&rest[..open]));
            }
            let (tag, after) = cut_tag(&rest[open..])?;
            rest = after;
            if tag.starts_with("</") {
                let done = stack.pop()?;
                match stack.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => return Some(done),
                }
                continue;
            }
            let element = start(tag)?;
            let closed = tag.ends_with("/>") || element.name == "stream:stream";
            match (closed, stack.last_mut()) {
                (true, Some(parent)) => parent.children.push(element),
                (true, None) => return Some(element),
                (false, _) => stack.push(element),
            }
        }
    }

    /// An attribute.
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|a| a.0 == name).map(|a| a.1.as_str())
    }
}

/// The tag at the front, and what comes after it.
fn cut_tag(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (None, '>') => return Some(text.split_at(i + 1)),
            _ => {}
        }
    }
    None
}

fn start(tag: &str) -> Option<Tree> {
    let inner = tag.trim_start_matches('<').trim_end_matches('>').trim_end_matches('/');
    let (name, mut rest) = match inner.find(char::is_whitespace) {
        Some(at) => inner.split_at(at),
        None => (inner, ""),
    };
    let mut attrs = Vec::new();
    loop {
        rest = rest.trim_start();
        let Some((name, after)) = rest.split_once('=') else { break };
        let quote = after.trim_start().chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (value, after) = after.trim_start()[1..].split_once(quote)?;
        attrs.push((name.trim().to_owned(), plain(value)));
        rest = after;
    }
    Some(Tree { name: name.to_owned(), attrs, ..Tree::default() })
}

fn plain(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&apos;", "'"), ("&quot;", "\""), ("&#xA;", "\n")];
    named.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)).replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read() {
        let xml = "<message from='a@b/c' xmlns:x=\"y\"><body>1 &lt; 2 &amp;lt;</body><x:z/><a><b c='>'/></a> t</message>";
        let tree = Tree::parse(xml).unwrap();
        assert_eq!(
            (tree.name.as_str(), tree.attr("from"), tree.attr("to")),
            ("message", Some("a@b/c"), None)
        );
        assert_eq!(tree.attr("xmlns:x"), Some("y"));
        assert_eq!((tree.children[0].text.as_str(), tree.children[1].name.as_str()), ("1 < 2 &lt;", "x:z"));
        assert_eq!(tree.children[2].children[0].attr("c"), Some(">"));
        assert_eq!(tree.text, " t");
        assert_eq!(Tree::parse("<a><b></a>").map(|t| t.name), None);
        assert_eq!(Tree::parse("<stream:stream to='x'>").unwrap().attr("to"), Some("x"));
        assert!(Tree::parse("<a b='c").is_none() && Tree::parse("").is_none());
    }
}
