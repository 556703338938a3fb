//! Data forms (XEP-0004): read what was submitted, write what is asked.

use crate::xmpp::ns;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Element;

/// Fields of one form that we look at; more are ignored.
const MAX_FIELDS: usize = 128;

/// A form as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form {
    /// `submit`, `cancel`, `form` or `result`.
    pub kind: String,
    /// Its fields, in order.
    pub fields: Vec<Field>,
}

/// A field and its values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Field {
    /// The name.
    pub var: String,
    /// The type; empty if not given.
    pub kind: String,
    /// The values, in order.
    pub values: Vec<String>,
}

impl Form {
    /// The form in `parent`, if there is one.
    pub fn in_element(parent: &Element) -> Option<Form> {
        parent.child("x", ns::DATA_FORMS).map(Form::read)
    }

    /// Reads an `<x/>`.
    pub fn read(x: &Element) -> Form {
        let text = |el: &Element, name| el.attr(name).unwrap_or_default().to_owned();
        let fields = x.children_named("field", ns::DATA_FORMS).take(MAX_FIELDS).map(|field| Field {
            var: text(field, "var"),
            kind: text(field, "type"),
            values: field.children_named("value", ns::DATA_FORMS).map(|v| v.text().into_owned()).collect(),
        });
        Form { kind: text(x, "type"), fields: fields.collect() }
    }

    /// Writes it as an `<x/>`.
    pub fn write(&self, out: &mut Writer<'_>) {
        out.start_ns("x", ns::DATA_FORMS).attr("type", &self.kind);
        let mut form = FormWriter { out };
        for field in &self.fields {
            let values: Vec<&str> = field.values.iter().map(String::as_str).collect();
            form.field(&field.var, &field.kind, "", &values);
        }
        form.end();
    }

    /// Whether it was filled in and sent.
    pub fn is_submit(&self) -> bool {
        self.kind == "submit"
    }

    /// Whether it was called off.
    pub fn is_cancel(&self) -> bool {
        self.kind == "cancel"
    }

    /// The value of `FORM_TYPE` (XEP-0068).
    pub fn form_type(&self) -> Option<&str> {
        self.value("FORM_TYPE")
    }

    /// The values of a field; none if there is no such field.
    pub fn values(&self, var: &str) -> Option<&[String]> {
        self.fields.iter().find(|f| f.var == var).map(|f| f.values.as_slice())
    }

    /// The first value of a field.
    pub fn value(&self, var: &str) -> Option<&str> {
        self.values(var)?.first().map(String::as_str)
    }

    /// The value of a yes-or-no field; none if it is missing or neither.
    pub fn flag(&self, var: &str) -> Option<bool> {
        match self.value(var)? {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        }
    }
}

/// Writes a form, field by field.
#[derive(Debug)]
pub struct FormWriter<'w, 'a> {
    out: &'w mut Writer<'a>,
}

impl<'w, 'a> FormWriter<'w, 'a> {
    /// Begins an `<x/>` of a kind (`form`, `result`, `submit`) with its `FORM_TYPE`.
    pub fn begin(out: &'w mut Writer<'a>, kind: &str, form_type: &str) -> Self {
        out.start_ns("x", ns::DATA_FORMS).attr("type", kind);
        let mut form = FormWriter { out };
        form.field("FORM_TYPE", "hidden", "", &[form_type]);
        form
    }

    /// Writes the title.
    pub fn title(&mut self, title: &str) -> &mut Self {
        self.out.leaf("title", title);
        self
    }

    /// Writes the instructions.
    pub fn instructions(&mut self, text: &str) -> &mut Self {
        self.out.leaf("instructions", text);
        self
    }

    /// Writes a field with its values; type and label are left out if empty.
    pub fn field(&mut self, var: &str, kind: &str, label: &str, values: &[&str]) -> &mut Self {
        self.open(var, kind, label);
        for value in values {
            self.out.leaf("value", value);
        }
        self.out.end();
        self
    }

    /// Writes a yes-or-no field.
    pub fn flag(&mut self, var: &str, label: &str, value: bool) -> &mut Self {
        self.field(var, "boolean", label, &[if value { "1" } else { "0" }])
    }

    /// Writes a field where one of some options (value and label) is chosen, or several.
    pub fn choice(
        &mut self,
        var: &str,
        kind: &str,
        label: &str,
        chosen: &[&str],
        options: &[(&str, &str)],
    ) -> &mut Self {
        self.open(var, kind, label);
        for value in chosen {
            self.out.leaf("value", value);
        }
        for (value, label) in options {
            self.out.start("option").attr("label", label).leaf("value", value).end();
        }
        self.out.end();
        self
    }

    /// Ends the form.
    pub fn end(self) {
        self.out.end();
    }

    fn open(&mut self, var: &str, kind: &str, label: &str) {
        let some = |text: &'_ str| !text.is_empty();
        self.out.start("field").attr("var", var);
        self.out.opt_attr("type", Some(kind).filter(|k| some(k)));
        self.out.opt_attr("label", Some(label).filter(|l| some(l)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::xmpp::framer::XmlLimits;
    use crate::xmpp::xml::Scope;

    #[test]
    fn a_form_reads_back() {
        let mut out = Vec::new();
        let mut w = Writer::within(&mut out, "");
        let mut form = FormWriter::begin(&mut w, "submit", ns::MUC_ROOMCONFIG);
        form.title("Room").instructions("Fill in");
        form.field("name", "text-single", "Name", &["a & b"]);
        form.flag("public", "", true).field("none", "", "", &[]);
        form.choice("whois", "list-single", "Who", &["anyone"], &[("anyone", "All"), ("moderators", "Some")]);
        form.end();
        drop(w);
        let x = Scope::default().parse(&out, &XmlLimits::MEMBER).unwrap();
        assert_eq!(x.elements().filter(|e| e.name == "field").count(), 5);
        let form = Form::in_element(&Element::new("query", "q").with_child(x)).unwrap();
        assert!(form.is_submit() && !form.is_cancel());
        assert_eq!(form.form_type(), Some(ns::MUC_ROOMCONFIG));
        assert_eq!(form.value("name"), Some("a & b"));
        assert_eq!(form.flag("public"), Some(true));
        assert_eq!((form.flag("name"), form.flag("missing")), (None, None));
        assert_eq!(form.values("none"), Some(&[][..]));
        assert_eq!(form.values("whois").unwrap(), ["anyone"]);
    }
}
