//! The machinery under the key table: reads TOML values into the fields that the rows name.

use super::diagnostic::{Diagnostic, Severity, closest, position};
use super::{Config, keys};
use toml_span::value::{Table, ValueInner};
use toml_span::{Span, Value};

/// One key: a row of the table.
pub(super) struct Key<T: 'static> {
    /// Its name in the file.
    pub name: &'static str,
    /// What it is, written as TOML: the default, or an example where there is none.
    pub value: &'static str,
    /// Whether `value` is the default. If not, the documentation says what holds without the key.
    pub is_default: bool,
    /// What it means.
    pub doc: &'static str,
    /// Its type, and how it is set.
    pub set: Set<T>,
}

/// The type of a key and what setting it does.
pub(super) enum Set<T: 'static> {
    /// `true` or `false`.
    Bool(fn(&mut T, bool)),
    /// A whole number within bounds.
    Integer { min: i64, max: i64, set: fn(&mut T, i64) },
    /// Any string; the error says what is wrong with it.
    Text(fn(&mut T, &str) -> Result<(), String>),
    /// One of these words; set by its place in the list.
    OneOf(&'static [&'static str], fn(&mut T, usize)),
}

impl<T> Set<T> {
    /// The type in words.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Bool(_) => "true or false".to_owned(),
            Self::Integer { min, max: i64::MAX, .. } => format!("a whole number from {min}"),
            Self::Integer { min, max, .. } => format!("a whole number from {min} to {max}"),
            Self::Text(_) => "a string".to_owned(),
            Self::OneOf(words, _) => format!("one of {}", quoted(words)),
        }
    }
}

/// Where things stand in the file, for checks that look at several keys: byte offsets.
#[derive(Default)]
pub(super) struct Spans {
    /// Each `[[listen]]`.
    pub listen: Vec<usize>,
    /// The `[tls]` table.
    pub tls: usize,
}

/// Reads one file and collects what is wrong with it.
pub(super) struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    diagnostics: Vec<Diagnostic>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, diagnostics: Vec::new() }
    }

    pub(super) fn finish(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    /// Reads the whole document; `None` when it is no TOML.
    pub(super) fn document(&mut self, config: &mut Config) -> Option<Spans> {
        let root = match toml_span::parse(self.text) {
            Ok(root) => root,
            Err(error) => {
                self.report(
                    Severity::Error,
                    error.span.start,
                    format!("not valid TOML: {}", error.kind),
                    None,
                );
                return None;
            }
        };
        let Some(table) = root.as_table() else { return Some(Spans::default()) };
        let mut spans = Spans::default();
        let sections: Vec<&str> = keys::SECTIONS.iter().map(|s| s.name).collect();
        self.keys(table, "", keys::ROOT, &sections, config);
        for section in keys::SECTIONS {
            if let Some(value) = table.get(section.name) {
                (section.read)(self, value, config, &mut spans);
            }
        }
        Some(spans)
    }

    /// Reads a `[table]`.
    pub(super) fn table<T>(
        &mut self,
        value: &Value<'_>,
        name: &str,
        rows: &'static [Key<T>],
        nested: &[&str],
        into: &mut T,
    ) {
        match value.as_table() {
            Some(table) => self.keys(table, name, rows, nested, into),
            None => {
                let message = format!("`{name}` must be a table");
                self.report(
                    Severity::Error,
                    value.span.start,
                    message,
                    Some(format!("write it as [{name}]")),
                );
            }
        }
    }

    /// Reads a `[[table]]`: calls `each` for every element.
    pub(super) fn tables(
        &mut self,
        value: &Value<'_>,
        name: &str,
        mut each: impl FnMut(&mut Self, &Value<'_>),
    ) {
        let Some(array) = value.as_array() else {
            let message = format!("`{name}` must be a list of tables");
            self.report(Severity::Error, value.span.start, message, Some(format!("write it as [[{name}]]")));
            return;
        };
        for element in array {
            each(self, element);
        }
    }

    /// Says that a key is missing.
    pub(super) fn missing(&mut self, at: Span, name: &str, key: &str) {
        let message = format!("this [[{name}]] has no `{key}`");
        self.report(Severity::Error, at.start, message, None);
    }

    pub(super) fn report(
        &mut self,
        severity: Severity,
        at: usize,
        message: String,
        suggestion: Option<String>,
    ) {
        let (line, column) = position(self.text, at);
        self.diagnostics.push(Diagnostic {
            severity,
            file: self.file.to_owned(),
            line,
            column,
            message,
            suggestion,
        });
    }

    fn keys<T>(
        &mut self,
        table: &Table<'_>,
        place: &str,
        rows: &'static [Key<T>],
        nested: &[&str],
        into: &mut T,
    ) {
        for key in table.keys() {
            let name = key.name.as_ref();
            if !rows.iter().any(|row| row.name == name) && !nested.contains(&name) {
                let known = rows.iter().map(|row| row.name).chain(nested.iter().copied());
                self.unknown(key.span.start, name, place, known);
            }
        }
        for row in rows {
            if let Some(value) = table.get(row.name) {
                self.set(row, value, into);
            }
        }
    }

    fn unknown<'k>(&mut self, at: usize, name: &str, place: &str, known: impl Iterator<Item = &'k str>) {
        let suggestion = match closest(name, known) {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None => elsewhere(name, place),
        };
        let message = if place.is_empty() {
            format!("unknown key `{name}`")
        } else {
            format!("unknown key `{name}` in [{place}]")
        };
        let all = "`lavina config example` shows all keys".to_owned();
        self.report(Severity::Error, at, message, suggestion.or(Some(all)));
    }

    fn set<T>(&mut self, row: &Key<T>, value: &Value<'_>, into: &mut T) {
        let mut suggestion = None;
        let outcome = match (&row.set, value.as_ref()) {
            (Set::Bool(set), ValueInner::Boolean(b)) => {
                set(into, *b);
                Ok(())
            }
            (Set::Integer { min, max, set }, ValueInner::Integer(n)) if (min..=max).contains(&n) => {
                set(into, *n);
                Ok(())
            }
            (Set::Text(set), ValueInner::String(text)) => set(into, text),
            (Set::OneOf(words, set), ValueInner::String(word)) => {
                match words.iter().position(|w| w == word) {
                    Some(place) => {
                        set(into, place);
                        Ok(())
                    }
                    None => {
                        suggestion =
                            closest(word, words.iter().copied()).map(|w| format!("did you mean \"{w}\"?"));
                        Err(format!("\"{word}\" is not {}", row.set.describe()))
                    }
                }
            }
            (set, found) => Err(format!("expected {}, found {}", set.describe(), found.type_str())),
        };
        if let Err(why) = outcome {
            self.report(Severity::Error, value.span.start, format!("`{}`: {why}", row.name), suggestion);
        }
    }
}

/// Where a key of this name does belong, if not here.
fn elsewhere(name: &str, place: &str) -> Option<String> {
    if !place.is_empty() && keys::ROOT.iter().any(|row| row.name == name) {
        return Some(format!("`{name}` belongs at the top of the file, before the first [table]"));
    }
    let section = keys::SECTIONS.iter().find(|s| (s.rows)().iter().any(|row| row.name == name))?;
    Some(format!("`{name}` belongs in {}", section.header()))
}

/// `"a", "b" or "c"`.
fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
