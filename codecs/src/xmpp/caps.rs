//! Entity capabilities (XEP-0115): the hash that stands for what an entity can do.

use crate::xmpp::forms::Form;
use crate::xmpp::ns;
use crate::xmpp::xml::Element;
use data_encoding::BASE64;
use sha1::{Digest, Sha1};

/// An identity of service discovery (XEP-0030 §3.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Identity {
    /// The category, such as `server`.
    pub category: String,
    /// The type, such as `im`.
    pub kind: String,
    /// The language of the name; empty if none.
    pub lang: String,
    /// The name; may be empty.
    pub name: String,
}

impl Identity {
    /// An identity with an English name.
    pub fn new(category: &str, kind: &str, name: &str) -> Identity {
        Identity { category: category.into(), kind: kind.into(), lang: String::new(), name: name.into() }
    }
}

/// What an entity says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    /// Its identities.
    pub identities: Vec<Identity>,
    /// Its features.
    pub features: Vec<String>,
    /// Its extended information (XEP-0128).
    pub forms: Vec<Form>,
}

impl Info {
    /// Reads a disco#info result.
    pub fn read(query: &Element) -> Info {
        let text = |el: &Element, name| el.attr(name).unwrap_or_default().to_owned();
        Info {
            identities: query
                .children_named("identity", ns::DISCO_INFO)
                .map(|el| Identity {
                    category: text(el, "category"),
                    kind: text(el, "type"),
                    lang: el.lang().unwrap_or_default().to_owned(),
                    name: text(el, "name"),
                })
                .collect(),
            features: query.children_named("feature", ns::DISCO_INFO).map(|el| text(el, "var")).collect(),
            forms: query.children_named("x", ns::DATA_FORMS).map(Form::read).collect(),
        }
    }

    /// The `ver` of XEP-0115 §5.1 with SHA-1; none if the information is ill-formed (§5.4) and must not be trusted.
    pub fn ver(&self) -> Option<String> {
        let mut identities: Vec<[&str; 4]> =
            self.identities.iter().map(|i| [&*i.category, &*i.kind, &*i.lang, &*i.name]).collect();
        let mut features: Vec<&str> = self.features.iter().map(String::as_str).collect();
        let mut forms: Vec<(&str, &Form)> = self.forms.iter().filter_map(typed).collect();
        identities.sort_unstable();
        features.sort_unstable();
        forms.sort_unstable_by_key(|(form_type, _)| *form_type);
        let twice = identities.windows(2).any(|w| w[0] == w[1])
            || features.windows(2).any(|w| w[0] == w[1])
            || forms.windows(2).any(|w| w[0].0 == w[1].0);
        // A `<` inside would make two different inputs one string.
        let ambiguous =
            features.iter().copied().chain(identities.iter().flatten().copied()).any(|s| s.contains('<'));
        if twice || ambiguous {
            return None;
        }
        let mut hash = Sha1::new();
        for identity in identities {
            hash.update(identity.join("/"));
            hash.update("<");
        }
        for feature in features {
            hash.update(feature);
            hash.update("<");
        }
        for (form_type, form) in forms {
            update_form(&mut hash, form_type, form)?;
        }
        Some(BASE64.encode(&hash.finalize()))
    }
}

/// The form with its type, if the type is in a hidden field as XEP-0115 §5.4 wants it.
fn typed(form: &Form) -> Option<(&str, &Form)> {
    let field = form.fields.iter().find(|f| f.var == "FORM_TYPE")?;
    let value = field.values.first()?;
    (field.kind == "hidden" || field.kind.is_empty() && form.kind == "submit")
        .then_some((value.as_str(), form))
}

fn update_form(hash: &mut Sha1, form_type: &str, form: &Form) -> Option<()> {
    hash.update(form_type);
    hash.update("<");
    let mut fields: Vec<_> = form.fields.iter().filter(|f| f.var != "FORM_TYPE").collect();
    fields.sort_by(|a, b| a.var.cmp(&b.var));
    for field in fields {
        let mut values: Vec<&str> = field.values.iter().map(String::as_str).collect();
        values.sort_unstable();
        if field.var.contains('<') || values.iter().any(|v| v.contains('<')) {
            return None;
        }
        hash.update(&field.var);
        hash.update("<");
        for value in values {
            hash.update(value);
            hash.update("<");
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::xmpp::framer::XmlLimits;
    use crate::xmpp::xml::Scope;

    fn info(inner: &str) -> Info {
        let xml = format!("<query xmlns='{}'>{inner}</query>", ns::DISCO_INFO);
        Info::read(&Scope::default().parse(xml.as_bytes(), &XmlLimits::MEMBER).unwrap())
    }

    #[test]
    fn the_simple_example_of_the_xep() {
        let got = info(
            "<identity category='client' name='Exodus 0.9.1' type='pc'/><feature var='http://jabber.org/protocol/caps'/>\
             <feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/disco#info'/>\
             <feature var='http://jabber.org/protocol/muc'/>",
        );
        assert_eq!(got.ver().unwrap(), "QgayPKawpkPSDYmwT/WM94uAlu0=");
    }

    #[test]
    fn the_complex_example_of_the_xep() {
        let got = info(
            "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
             <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>\
             <feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>\
             <feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>\
             <x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'>\
             <value>urn:xmpp:dataforms:softwareinfo</value></field><field var='ip_version' type='text-multi'>\
             <value>ipv4</value><value>ipv6</value></field><field var='os'><value>Mac</value></field>\
             <field var='os_version'><value>10.5.1</value></field><field var='software'><value>Psi</value></field>\
             <field var='software_version'><value>0.11</value></field></x>",
        );
        assert_eq!(got.ver().unwrap(), "q07IKJEyjvHSyhy//CH0CxmKi8w=");
    }

    #[test]
    fn ill_formed_information_has_no_hash() {
        assert_eq!(info("<feature var='a'/><feature var='a'/>").ver(), None);
        assert_eq!(info("<feature var='a&lt;b'/>").ver(), None);
        assert_eq!(info("<identity category='a' type='b'/><identity category='a' type='b'/>").ver(), None);
    }
}
