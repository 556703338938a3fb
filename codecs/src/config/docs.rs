//! Documentation made from the key table: the example file and the reference page.

use super::keys::{ROOT, Row, SECTIONS, Section, rows};
use super::{Listen, ListenTls};
use std::fmt::Write as _;

/// Width of the comments.
const WIDTH: usize = 100;

/// A complete configuration file in which every key is explained and commented out: as it stands, it changes nothing.
/// Keys follow `#` at once, explanations after a space.
pub fn example() -> String {
    let mut out = String::new();
    comment(
        &mut out,
        "Lavina's configuration: every key with its meaning. A line that begins with `#` and no space is a key with its \
         default (or an example, where it says what holds without it): remove the `#` to set it. Check the file with \
         `lavina config check`; a running server reads it again at SIGHUP.",
    );
    out.push('\n');
    for row in rows(ROOT) {
        entry(&mut out, &row);
    }
    for section in SECTIONS {
        comment(&mut out, section.doc);
        if section.repeated {
            for row in (section.rows)() {
                comment(&mut out, &format!("{}: {}", row.name, explain(&row)));
            }
            repeated(&mut out, section);
        } else {
            let _ = write!(out, "{}\n\n", section.header());
            for row in (section.rows)() {
                entry(&mut out, &row);
            }
        }
    }
    out
}

/// The reference page: Markdown with one table a section.
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration reference\n\nMade by the program from the table that parses the file; `lavina config example` \
         prints the same as a file.\n",
    );
    let mut table = |title: &str, doc: &str, rows: Vec<Row>| {
        let _ = write!(
            out,
            "\n## {title}\n\n{doc}\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
        );
        for row in rows {
            let default = if row.is_default { format!("`{}`", row.value) } else { "–".to_owned() };
            let _ = writeln!(out, "| `{}` | {} | {default} | {} |", row.name, row.kind, row.doc);
        }
    };
    table("Top of the file", "Before the first `[table]`.", rows(ROOT));
    for section in SECTIONS {
        table(&format!("`{}`", section.header()), section.doc, (section.rows)());
    }
    out
}

fn entry(out: &mut String, row: &Row) {
    comment(out, &explain(row));
    let _ = write!(out, "#{} = {}\n\n", row.name, row.value);
}

/// The meaning, with the type where the meaning does not show it.
fn explain(row: &Row) -> String {
    match row.kind.as_str() {
        "a string" | "true or false" => row.doc.to_owned(),
        kind => format!("{} ({kind})", row.doc),
    }
}

/// The tables of a list: the default listeners, or one example.
fn repeated(out: &mut String, section: &Section) {
    if section.name == "listen" {
        for listen in Listen::defaults() {
            let _ = write!(
                out,
                "#[[listen]]\n#address = \"{}\"\n#protocol = \"{}\"\n#tls = \"{}\"\n\n",
                listen.address,
                listen.protocol.name(),
                tls(listen.tls)
            );
        }
        return;
    }
    let _ = writeln!(out, "#{}", section.header());
    for row in (section.rows)() {
        let _ = writeln!(out, "#{} = {}", row.name, row.value);
    }
    out.push('\n');
}

fn tls(tls: ListenTls) -> &'static str {
    match tls {
        ListenTls::Off => "off",
        ListenTls::Starttls => "starttls",
        ListenTls::Direct => "direct",
    }
}

/// Writes words as comment lines of at most [`WIDTH`] columns.
fn comment(out: &mut String, words: &str) {
    let mut column = 0;
    for word in words.split_whitespace() {
        let width = word.chars().count() + 1;
        if column == 0 || column + width > WIDTH {
            if column > 0 {
                out.push('\n');
            }
            out.push('#');
            column = 1;
        }
        out.push(' ');
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}
