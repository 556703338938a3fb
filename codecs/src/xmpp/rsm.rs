//! Result set management (XEP-0059): which page is asked for, and what is told about it.

use crate::xmpp::ns;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;

/// Which page of a result is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Page {
    /// The first.
    #[default]
    First,
    /// What comes after this item.
    After(String),
    /// What comes right before this item.
    Before(String),
    /// The last.
    Last,
    /// From this item on, counted from 0.
    Index(u64),
}

/// A request for a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Items at most; none: as many as the service likes. 0 asks for the count only.
    pub max: Option<u32>,
    /// Which page.
    pub page: Page,
}

impl Request {
    /// The request in `parent` (its `<set/>`); the first page without limit if it has none.
    ///
    /// None if the request contradicts itself or is no number where one is due.
    pub fn read(parent: &Element) -> Option<Request> {
        let Some(set) = parent.child("set", ns::RSM) else { return Some(Request::default()) };
        let number = |name| set.child_text(name).map(|text| text.trim().parse::<u64>());
        let max = match number("max") {
            None => None,
            Some(max) => Some(u32::try_from(max.ok()?).unwrap_or(u32::MAX)),
        };
        let before = set.child_text("before").map(|id| match &*id {
            "" => Page::Last,
            id => Page::Before(id.to_owned()),
        });
        let after =
            set.child_text("after").filter(|id| !id.is_empty()).map(|id| Page::After(id.into_owned()));
        let index = match number("index") {
            None => None,
            Some(index) => Some(Page::Index(index.ok()?)),
        };
        let mut pages = [before, after, index].into_iter().flatten();
        let page = pages.next().unwrap_or_default();
        pages.next().is_none().then_some(Request { max, page })
    }
}

/// What is told about a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer<'a> {
    /// The ids of the first and the last item on the page; none if the page is empty.
    pub ends: Option<(&'a str, &'a str)>,
    /// Where the first item stands in the whole result.
    pub index: Option<u64>,
    /// How many items the whole result has.
    pub count: Option<u64>,
}

impl Answer<'_> {
    /// Writes the `<set/>`.
    pub fn write(&self, out: &mut Writer<'_>) {
        let number = |n: u64| n.to_string();
        out.start_ns("set", ns::RSM);
        if let Some((first, last)) = self.ends {
            out.start("first");
            if let Some(index) = self.index {
                out.attr_num("index", index);
            }
            out.text(first).end();
            out.leaf("last", last);
        }
        if let Some(count) = self.count {
            out.leaf("count", &number(count));
        }
        out.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(children: &[(&str, &str)]) -> Option<Request> {
        let set = children.iter().fold(Element::new("set", ns::RSM), |set, (n, t)| {
            set.with_child(Element::new(n, ns::RSM).with_text(t))
        });
        Request::read(&Element::new("query", ns::MAM).with_child(set))
    }

    #[test]
    fn each_page_can_be_asked_for() {
        let page = |max, page| Some(Request { max, page });
        assert_eq!(Request::read(&Element::new("query", ns::MAM)), Some(Request::default()));
        assert_eq!(request(&[("max", "10")]), page(Some(10), Page::First));
        assert_eq!(request(&[("max", "0"), ("after", "a")]), page(Some(0), Page::After("a".into())));
        assert_eq!(request(&[("before", "b")]), page(None, Page::Before("b".into())));
        assert_eq!(request(&[("before", "")]), page(None, Page::Last));
        assert_eq!(request(&[("index", "3")]), page(None, Page::Index(3)));
        assert_eq!(request(&[("max", "99999999999")]), page(Some(u32::MAX), Page::First));
    }

    #[test]
    fn nonsense_is_none() {
        assert_eq!(request(&[("max", "many")]), None);
        assert_eq!(request(&[("max", "-1")]), None);
        assert_eq!(request(&[("before", "a"), ("after", "b")]), None);
        assert_eq!(request(&[("index", "x")]), None);
    }

    #[test]
    fn the_answer_names_both_ends() {
        let mut out = Vec::new();
        let answer = Answer { ends: Some(("a", "z")), index: Some(0), count: Some(26) };
        answer.write(&mut Writer::in_stream(&mut out));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<set xmlns='http://jabber.org/protocol/rsm'><first index='0'>a</first><last>z</last>\
             <count>26</count></set>"
        );
    }
}
