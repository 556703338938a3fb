#![allow(clippy::unwrap_used)]
//! Reading, round trips, and the same judgement as rxml, a parser made for XMPP by others.

use super::*;
use proptest::prelude::*;

const LIMITS: XmlLimits = XmlLimits::MEMBER;

fn parse(xml: &str) -> Result<Element, XmlFault> {
    Scope::default().parse(xml.as_bytes(), &LIMITS)
}

fn stream() -> Scope {
    let header = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
    Scope::open(header, &LIMITS).unwrap().1
}

#[test]
fn a_stanza_becomes_a_tree() {
    let el = stream()
        .parse(
            "<message to='a@b' xml:lang='en'>\r\n<body>1 &lt; 2 &#x26; <![CDATA[3 > ]]>2\r</body>\
             <e:x xmlns:e='urn:e' e:y=' a\tb&#10;'/></message>"
                .as_bytes(),
            &LIMITS,
        )
        .unwrap();
    assert!(el.is("message", ns::CLIENT));
    assert_eq!(el.attr("to"), Some("a@b"));
    assert_eq!(el.lang(), Some("en"));
    assert_eq!(el.child_text("body").unwrap(), "1 < 2 & 3 > 2\n");
    assert_eq!(el.text(), "\n");
    let x = el.child("x", "urn:e").unwrap();
    assert_eq!(x.attr_ns("y", "urn:e"), Some(" a b\n"));
    assert_eq!(x.attr("y"), None);
    assert_eq!(
        String::from_utf8(el.to_xml(ns::CLIENT)).unwrap(),
        "<message to='a@b' xml:lang='en'>\n<body>1 &lt; 2 &amp; 3 &gt; 2\n</body>\
         <x xmlns='urn:e' xmlns:ns0='urn:e' ns0:y=' a b&#10;'/></message>"
    );
}

#[test]
fn the_header_gives_the_scope() {
    let (header, scope) = Scope::open(
        b"<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns=\"jabber:&#x63;lient\" to='x' version='1.0'>",
        &LIMITS,
    )
    .unwrap();
    assert!(header.is("stream", ns::STREAM));
    assert_eq!(header.attr("to"), Some("x"));
    assert_eq!(scope.default_ns(), ns::CLIENT);
    assert!(scope.is_close(b"</s:stream >"));
    assert!(!scope.is_close(b"</s:streamer>"));
    assert!(!scope.is_close(b"</stream:stream>"));
    assert!(scope.parse(b"<s:features/>", &LIMITS).unwrap().is("features", ns::STREAM));
    assert!(matches!(scope.parse(b"<t:features/>", &LIMITS), Err(XmlFault::Prefix(_))));
}

#[test]
fn what_quick_xml_lets_pass_is_refused() {
    for bad in [
        "<a>\0</a>",
        "<a>\u{1}</a>",
        "<a>&#0;</a>",
        "<a>&#xFFFE;</a>",
        "<a>\u{FFFF}</a>",
        "<a>&#xD800;</a>",
        "<a>&#;</a>",
        "<a>&#+9;</a>",
        "<a>&#X41;</a>",
        "<1a/>",
        "<a!/>",
        "<a:b:c xmlns:a='u'/>",
        "<:a/>",
        "<a:/>",
        "<a b='<'/>",
        "<a b='1'c='2'/>",
        "<a b=1/>",
        "<a b/>",
        "<a b='1' b='2'/>",
        "<a x:b='1' y:b='2' xmlns:x='u' xmlns:y='u'/>",
        "<a xmlns='u' xmlns='u'/>",
        "<a xmlns:x='u' xmlns:x='v'/>",
        "<a>]]></a>",
        "<a/>b",
        "b<a/>",
        "<a/><b/>",
        "<a>",
        "<a><b></a>",
        "</a>",
        "",
        "&amp;<a/>",
        "<a>&b</a>",
        "<a>&</a>",
        "<a b='&'/>",
        "<a b='&x'/>",
        "<a></a b='c'>",
        "<a b='\u{B}'/>",
        "<a\u{A0}b='1'/>",
    ] {
        assert!(matches!(parse(bad), Err(XmlFault::Malformed(_))), "{bad:?}: {:?}", parse(bad));
    }
    for bad in ["<a>&foo;</a>", "<a b='&nbsp;'/>", "<a><!--x--></a>", "<a><?x?></a>", "<!DOCTYPE a><a/>"] {
        assert!(matches!(parse(bad), Err(XmlFault::Restricted(_))), "{bad:?}: {:?}", parse(bad));
    }
    for bad in [
        "<x:a/>",
        "<a x:b='1'/>",
        "<a xmlns:x=''/>",
        "<a xmlns:xml='u'/>",
        "<a xmlns:xmlns='u'/>",
        "<a xmlns:x='http://www.w3.org/XML/1998/namespace'/>",
        "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
        "<a><b xmlns:x='u'/><x:c/></a>",
    ] {
        assert!(matches!(parse(bad), Err(XmlFault::Prefix(_))), "{bad:?}: {:?}", parse(bad));
    }
    assert_eq!(Scope::default().parse(b"<a>\xC0\x80</a>", &LIMITS), Err(XmlFault::Encoding));
}

#[test]
fn declarations_end_with_their_element() {
    let el = parse("<a xmlns='u'><b xmlns='v'><c xmlns=''/></b><d/></a>").unwrap();
    let names: Vec<_> = el.elements().map(|e| (e.name.to_string(), e.ns.to_string())).collect();
    assert_eq!(names, [("b".into(), "v".into()), ("d".into(), "u".into())]);
    assert_eq!(el.elements().next().unwrap().elements().next().unwrap().ns, "");
    assert_eq!(el.to_xml(""), b"<a xmlns='u'><b xmlns='v'><c xmlns=''/></b><d/></a>");
}

#[test]
fn limits_hold_without_the_framer_too() {
    let limits = XmlLimits { depth: 3, elements: 5, attributes: 2, ..LIMITS };
    let scope = Scope::default();
    assert!(scope.parse(b"<a><b><c/></b></a>", &limits).is_ok());
    assert!(matches!(scope.parse(b"<a><b><c><d/></c></b></a>", &limits), Err(XmlFault::TooBig(_))));
    assert!(matches!(scope.parse(b"<a><b/><b/><b/><b/><b/></a>", &limits), Err(XmlFault::TooBig(_))));
    assert!(matches!(scope.parse(b"<a b='' c='' d=''/>", &limits), Err(XmlFault::TooBig(_))));
    let many: String = (0..65).map(|n| format!(" xmlns:p{n}='u'")).collect();
    assert!(matches!(parse(&format!("<a{many}/>")), Err(XmlFault::TooBig(_))));
}

fn any_name() -> impl Strategy<Value = String> {
    "[a-z_é][a-zA-Z0-9._-]{0,6}"
}

fn any_value() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just('<'),
            Just('&'),
            Just('>'),
            Just('\''),
            Just('"'),
            Just('\n'),
            Just('\t'),
            Just('\r'),
            Just(']'),
            any::<char>().prop_filter("allowed in XML", |c| is_xml_char(*c)),
        ],
        0..12,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

fn any_ns() -> impl Strategy<Value = SmolStr> {
    proptest::sample::select(vec!["", "jabber:client", "urn:x", "urn:y&'<"]).prop_map(ns::intern)
}

fn any_element() -> impl Strategy<Value = Element> {
    let attr = (proptest::sample::select(vec!["", ns::XML, "urn:x", "urn:z"]), any_name(), any_value())
        .prop_map(|(uri, name, value)| Attr { ns: ns::intern(uri), name: name.into(), value: value.into() });
    let attrs = proptest::collection::vec(attr, 0..4).prop_map(|mut attrs: Vec<Attr>| {
        attrs.retain(|a| a.name != "xmlns");
        attrs.sort_by(|a, b| (&a.ns, &a.name).cmp(&(&b.ns, &b.name)));
        attrs.dedup_by(|a, b| (&a.ns, &a.name) == (&b.ns, &b.name));
        attrs
    });
    let leaf = (any_ns(), any_name(), attrs).prop_map(|(ns, name, attrs)| Element {
        ns,
        name: name.into(),
        attrs,
        children: vec![],
    });
    leaf.prop_recursive(4, 24, 4, |inner| {
        let node = prop_oneof![
            inner.clone().prop_map(Node::Element),
            any_value().prop_map(|t| Node::Text(t.into()))
        ];
        (inner, proptest::collection::vec(node, 0..4)).prop_map(|(mut el, nodes)| {
            for node in nodes {
                match (&node, el.children.last()) {
                    (Node::Text(text), _) if text.is_empty() => {}
                    (Node::Text(_), Some(Node::Text(_))) => {}
                    _ => el.children.push(node),
                }
            }
            el
        })
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(el in any_element(), outer in any_ns()) {
        let xml = el.to_xml(&outer);
        let mut scope = Scope::default();
        if !outer.is_empty() {
            scope.bindings.push(Binding { prefix: SmolStr::default(), uri: outer.clone() });
        }
        prop_assert_eq!(scope.parse(&xml, &LIMITS), Ok(el), "{}", String::from_utf8_lossy(&xml));
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Scope::default().parse(&bytes, &LIMITS);
        let _ = Scope::open(&bytes, &LIMITS);
    }

    #[test]
    fn rxml_judges_alike(parts in proptest::collection::vec(proptest::sample::select(PARTS.to_vec()), 0..14)) {
        let xml = format!("<r xmlns='urn:r' xmlns:p='urn:p'>{}</r>", parts.concat());
        let (mut got, mut want) = (parse(&xml).ok(), by_rxml(&xml));
        sort_attrs(&mut got);
        sort_attrs(&mut want);
        prop_assert_eq!(got, want, "{}", xml);
    }

    #[test]
    fn rxml_reads_what_we_write(el in any_element()) {
        let xml = String::from_utf8(el.to_xml("")).unwrap();
        let mut got = by_rxml(&xml);
        let mut want = Some(el);
        sort_attrs(&mut got);
        sort_attrs(&mut want);
        prop_assert_eq!(got, want, "{}", xml);
    }
}

const PARTS: &[&str] = &[
    "<a>",
    "</a>",
    "<a/>",
    "<p:b>",
    "</p:b>",
    "<b p:x='1' x=\"2\">",
    "</b>",
    "<c xmlns='urn:c'",
    ">",
    "/>",
    " ",
    "x='1'",
    " p:x='3'",
    " xmlns:p='urn:q'",
    "<d",
    "</c>",
    "</d>",
    "text",
    "&amp;",
    "&#10;",
    "&lt;",
    "&",
    ";",
    "&foo;",
    "]]>",
    "]]",
    "<![CDATA[",
    "\r\n",
    "\t",
    "é",
    "'",
    "\"",
    "=",
    "<",
    "\u{1}",
    "&#0;",
    "&#x1F600;",
    "<q:e/>",
    "<1/>",
    "<a x='&quot;\n'/>",
];

fn sort_attrs(el: &mut Option<Element>) {
    fn sort(el: &mut Element) {
        el.attrs.sort_by(|a, b| (&a.ns, &a.name).cmp(&(&b.ns, &b.name)));
        for child in &mut el.children {
            if let Node::Element(el) = child {
                sort(el);
            }
        }
    }
    if let Some(el) = el {
        sort(el);
    }
}

/// The tree that rxml reads, or none if it finds a fault.
fn by_rxml(xml: &str) -> Option<Element> {
    use rxml::{Event, Parse};
    let mut parser = rxml::Parser::default();
    let mut input = xml.as_bytes();
    let (mut open, mut root): (Vec<Element>, Option<Element>) = (vec![], None);
    loop {
        match parser.parse(&mut input, true) {
            Ok(Some(Event::StartElement(_, (uri, name), attrs))) => {
                let attrs = attrs
                    .iter()
                    .map(|((uri, name), value)| Attr {
                        ns: ns::intern(uri),
                        name: SmolStr::new(name.as_str()),
                        value: SmolStr::new(value),
                    })
                    .collect();
                open.push(Element {
                    ns: ns::intern(&uri),
                    name: SmolStr::new(name.as_str()),
                    attrs,
                    children: vec![],
                });
            }
            Ok(Some(Event::EndElement(_))) => {
                let el = open.pop()?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(Node::Element(el)),
                    None => root = Some(el),
                }
            }
            Ok(Some(Event::Text(_, text))) => {
                let parent = open.last_mut()?;
                match parent.children.last_mut() {
                    Some(Node::Text(before)) => *before = format!("{before}{text}").into(),
                    _ => parent.children.push(Node::Text(text.into())),
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return root,
            Err(_) => return None,
        }
    }
}
