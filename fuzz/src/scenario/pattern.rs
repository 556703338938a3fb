//! What must come, as a scenario writes it: `*` is any run of characters, `\*` a star, `{name}` is a word to be
//! remembered, or the one remembered.

use crate::client::tree::Tree;
use std::collections::BTreeMap;

/// Words remembered so far.
pub type Words = BTreeMap<String, String>;

/// Puts remembered words in. A name that stands for nothing stays as it is.
pub fn fill(text: &str, words: &Words) -> String {
    words.iter().fold(text.to_owned(), |text, (name, word)| text.replace(&format!("{{{name}}}"), word))
}

/// True when the whole text is as the pattern says; new words are remembered then.
pub fn matches(pattern: &str, text: &str, words: &mut Words) -> bool {
    let mut new = Words::new();
    let found = step(&fill(pattern, words), text, &mut new);
    if found {
        words.append(&mut new);
    }
    found
}

fn step(pattern: &str, text: &str, new: &mut Words) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    if let Some(rest) = pattern.strip_prefix('*') {
        return ends(text).any(|at| step(rest, &text[at..], new));
    }
    if let Some((name, rest)) = pattern.strip_prefix('{').and_then(|p| p.split_once('}')) {
        if let Some(word) = new.get(name).cloned() {
            return text.strip_prefix(&word).is_some_and(|text| step(rest, text, new));
        }
        for at in ends(text).filter(|at| *at > 0) {
            if text[..at].contains([' ', ';']) {
                return false;
            }
            new.insert(name.to_owned(), text[..at].to_owned());
            if step(rest, &text[at..], new) {
                return true;
            }
            new.remove(name);
        }
        return false;
    }
    // A star that is meant as one.
    let (first, rest) = match pattern.strip_prefix("\\*") {
        Some(rest) => ('*', rest),
        None => (first, &pattern[first.len_utf8()..]),
    };
    text.strip_prefix(first).is_some_and(|text| step(rest, text, new))
}

/// All places where the text can be divided.
fn ends(text: &str) -> impl Iterator<Item = usize> + '_ {
    (0..=text.len()).filter(|at| text.is_char_boundary(*at))
}

/// A line with tags: those of the pattern must be there, others may; without any in the pattern, all may.
pub fn line_matches(pattern: &str, line: &str, words: &mut Words) -> bool {
    let (tags, rest) = tags_of(line);
    let (wanted, body) = tags_of(pattern);
    let mut tried = words.clone();
    let has = |wanted: &&str, tried: &mut Words| tags.iter().any(|tag| matches(wanted, tag, tried));
    let fits = wanted.iter().all(|w| has(w, &mut tried)) && matches(body, rest, &mut tried);
    if fits {
        *words = tried;
    }
    fits
}

fn tags_of(line: &str) -> (Vec<&str>, &str) {
    match line.strip_prefix('@').and_then(|l| l.split_once(' ')) {
        Some((tags, rest)) => (tags.split(';').collect(), rest),
        None => (Vec::new(), line),
    }
}

/// An element: its name, the attributes and elements of the pattern must be there, others may; its text too,
/// where the pattern has text.
pub fn element_matches(pattern: &str, element: &str, words: &mut Words) -> bool {
    let (Some(wanted), Some(tree)) = (Tree::parse(pattern), Tree::parse(element)) else {
        return pattern == element;
    };
    let mut tried = words.clone();
    let fits = tree_matches(&wanted, &tree, &mut tried);
    if fits {
        *words = tried;
    }
    fits
}

fn tree_matches(wanted: &Tree, tree: &Tree, words: &mut Words) -> bool {
    let mut tried = words.clone();
    let text = wanted.text.trim();
    let fits = matches(&wanted.name, &tree.name, &mut tried)
        && (text.is_empty() || matches(text, tree.text.trim(), &mut tried))
        && wanted
            .attrs
            .iter()
            .all(|(name, value)| tree.attr(name).is_some_and(|found| matches(value, found, &mut tried)))
        && wanted
            .children
            .iter()
            .all(|child| tree.children.iter().any(|found| tree_matches(child, found, &mut tried)));
    if fits {
        *words = tried;
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let mut words = Words::new();
        assert!(matches(":alice!*@localhost JOIN #lobby", ":alice!alice@localhost JOIN #lobby", &mut words));
        assert!(!matches("JOIN", "JOINS", &mut words) && !matches("a*b", "acbd", &mut words));
        assert!(matches("*", "", &mut words) && matches("é*", "éé", &mut words));
        assert!(matches("id={id} x {id}", "id=a1 x a1", &mut words) && words["id"] == "a1");
        assert!(!matches("{id}", "a2", &mut words) && matches("{id}!", "a1!", &mut words));
        assert!(!matches("{word}", "two words", &mut words) && !words.contains_key("word"));
        assert_eq!(fill("<{id}> {none}", &words), "<a1> {none}");
        assert!(matches("\\*b\\*", "*b*", &mut words) && !matches("\\*b\\*", "abc", &mut words));
    }

    #[test]
    fn lines() {
        let mut words = Words::new();
        let line = "@time=2026;msgid=x1 :a!a@b PRIVMSG #c :hi";
        assert!(line_matches(":a!* PRIVMSG #c :hi", line, &mut words));
        assert!(line_matches("@msgid={id} * PRIVMSG *", line, &mut words) && words["id"] == "x1");
        assert!(!line_matches("@label=1 *", line, &mut words));
        assert!(!line_matches("@msgid={no} :z", line, &mut words) && !words.contains_key("no"));
    }

    #[test]
    fn elements() {
        let mut words = Words::new();
        let xml = "<message from='r@h/a' id='1'><body>hi</body><x xmlns='n'><s code='1'/><s code='2'/></x></message>";
        for fine in [
            "<message/>",
            "<message from='r@h/*'><body>h*</body></message>",
            "<message><x xmlns='n'><s code='2'/></x></message>",
            "<message><body/></message>",
            "<message id='{id}'/>",
        ] {
            assert!(element_matches(fine, xml, &mut words), "{fine}");
        }
        assert_eq!(words["id"], "1");
        for wrong in [
            "<presence/>",
            "<message to='x'/>",
            "<message><body>ho</body></message>",
            "<message><s/></message>",
            "<message><x xmlns='n'><s code='3'/></x></message>",
        ] {
            assert!(!element_matches(wrong, xml, &mut words), "{wrong}");
        }
    }
}
