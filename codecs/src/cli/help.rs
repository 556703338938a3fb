//! The texts of `--help` and `version`, made from the table.

use super::exit::Exit;
use super::table::{COMMANDS, CommandRow, OPTIONS, OptionRow, Topic};
use std::fmt::Write as _;

/// Columns of a terminal.
const WIDTH: usize = 80;
/// Where explanations begin.
const MARGIN: usize = 22;

/// The version and what is built in.
pub fn version(program: &str) -> String {
    let features =
        [("irc", cfg!(feature = "irc")), ("xmpp", cfg!(feature = "xmpp")), ("tls", cfg!(feature = "tls"))];
    let built: Vec<&str> = features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let version = env!("CARGO_PKG_VERSION");
    let with = if built.is_empty() { "nothing".to_owned() } else { built.join(", ") };
    format!("{program} {version}, with {with}\n")
}

/// The help text on a topic.
pub(super) fn help(program: &str, topic: Topic) -> String {
    match topic {
        Topic::Program => whole(program),
        Topic::Group(word) => {
            let mut out = format!("Commands of `{program} {word}`:\n\n");
            let rows = COMMANDS.iter().filter(|c| c.path.first() == Some(&word));
            rows.for_each(|c| entry(&mut out, &c.usage(), c.summary));
            out
        }
        Topic::Command(row) => one(program, row),
    }
}

fn whole(program: &str) -> String {
    let mut out = format!(
        "Lavina: one chat server for IRC and XMPP clients.\n\n\
         Usage: {program} [--config FILE] [--data-dir DIR] [COMMAND]\n\n\
         Without a command it is the server. It needs no configuration: just start it, and it\n\
         says where it listens and how to make the first account. The other commands work on\n\
         a running server and on a stopped one.\n\nCommands:\n"
    );
    for row in COMMANDS.iter().filter(|c| !c.path.is_empty()) {
        entry(&mut out, &row.usage(), row.summary);
    }
    out.push_str("\nOptions:\n");
    let server = |o: &&OptionRow| {
        o.global || COMMANDS.iter().any(|c| c.path.is_empty() && c.options.contains(&o.long))
    };
    OPTIONS.iter().filter(server).for_each(|o| option(&mut out, o));
    let _ = write!(
        out,
        "\nFirst steps:\n  {program}                            start the server\n  \
         {program} user add alice --admin     make an account, in another terminal\n  \
         {program} config example             see what can be configured\n  \
         {program} help user add              more on a command\n\nExit codes:\n"
    );
    for (exit, meaning) in Exit::TABLE {
        let _ = writeln!(out, "  {:<4}{meaning}", exit.code());
    }
    out
}

fn one(program: &str, row: &CommandRow) -> String {
    let mut out = format!("Usage: {program} {}\n\n", row.usage());
    paragraph(&mut out, row.summary);
    paragraph(&mut out, row.detail);
    for argument in row.arguments {
        entry(&mut out, argument.name, argument.doc);
    }
    OPTIONS.iter().filter(|o| row.options.contains(&o.long)).for_each(|o| option(&mut out, o));
    let _ = write!(out, "\nExample: {program} {}\n", row.example);
    out
}

fn option(out: &mut String, row: &OptionRow) {
    let short = row.short.map_or_else(|| "    ".to_owned(), |c| format!("-{c}, "));
    let value = row.value.map_or_else(String::new, |v| format!(" {v}"));
    entry(out, &format!("{short}--{}{value}", row.long), row.doc);
}

/// A term, and what it means beside or below it.
fn entry(out: &mut String, term: &str, meaning: &str) {
    let _ = write!(out, "  {term}");
    if term.len() + 4 > MARGIN {
        out.push('\n');
        out.push_str(&" ".repeat(MARGIN));
    } else {
        out.push_str(&" ".repeat(MARGIN - 2 - term.len()));
    }
    wrap(out, meaning, MARGIN);
}

fn paragraph(out: &mut String, text: &str) {
    if !text.is_empty() {
        wrap(out, text, 0);
        out.push('\n');
    }
}

/// Writes words, the first at the present column, lines after it from `margin`.
fn wrap(out: &mut String, text: &str, margin: usize) {
    let mut column = margin;
    for (n, word) in text.split_whitespace().enumerate() {
        if n > 0 && column + 1 + word.len() > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(margin));
            column = margin;
        } else if n > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out.push('\n');
}
