//! Scenarios: conversations as text, each in a file of `fuzz/scenarios`, that any server can be held to.
//!
//! | line | meaning |
//! |---|---|
//! | `# text` | a remark; the first says what the scenario is about |
//! | `account NAME` | there is such an account |
//! | `irc A NAME [CAPABILITY …]` | client `A` logs in with IRC, and has these capabilities |
//! | `xmpp A NAME/RESOURCE` | client `A` logs in with XMPP and is available |
//! | `A > TEXT` | `A` sends a line or an element |
//! | `A < PATTERN` | `A` receives this now or later; what comes before it is left out |
//! | `A = PATTERN` | the next that `A` receives is this |
//! | `A ! PATTERN` | `A` has received nothing like it since what it last had to receive |
//! | `A .` | `A` is gone, without a word |
//!
//! A line that begins with space goes on with the one before. What patterns mean: [`pattern`].

pub mod mixed;
pub mod pattern;
pub mod places;
pub mod program;
pub mod run;

/// A protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// IRC.
    Irc,
    /// XMPP.
    Xmpp,
}

/// One line of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// There is an account.
    Account(String),
    /// A client logs in: its name here, its protocol, the account and resource, and what else it asks for.
    Comes(String, Speaks, String, Vec<String>),
    /// A client sends.
    Sends(String, String),
    /// A client receives, now or later.
    Hears(String, String),
    /// A client receives next.
    HearsNext(String, String),
    /// A client has not received.
    HearsNot(String, String),
    /// A client is gone.
    Goes(String),
}

/// A scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What it is about.
    pub title: String,
    /// Its lines, each with its number in the file.
    pub acts: Vec<(usize, Act)>,
}

impl Scenario {
    /// Reads it.
    ///
    /// # Errors
    /// The line that is not understood.
    pub fn parse(text: &str) -> Result<Scenario, String> {
        let mut lines: Vec<(usize, String)> = Vec::new();
        for (n, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line)) {
            match line.strip_prefix([' ', '\t']) {
                Some(more) => {
                    let (_, before) = lines.last_mut().ok_or(format!("line {n} goes on with nothing"))?;
                    before.push(' ');
                    before.push_str(more.trim());
                }
                None if !line.trim().is_empty() => lines.push((n, line.to_owned())),
                None => {}
            }
        }
        let title = lines.first().and_then(|l| l.1.strip_prefix("# ")).ok_or("no title")?.to_owned();
        let spoken = lines.iter().filter(|l| !l.1.starts_with('#'));
        let act = |(n, line): &(usize, String)| match act(line) {
            Some(act) => Ok((*n, act)),
            None => Err(format!("line {n} is not understood: {line}")),
        };
        Ok(Scenario { title, acts: spoken.map(act).collect::<Result<_, _>>()? })
    }
}

fn act(line: &str) -> Option<Act> {
    let (first, rest) = line.split_once(' ')?;
    let comes = |speaks| {
        let mut words = rest.split_whitespace().map(str::to_owned);
        Some(Act::Comes(words.next()?, speaks, words.next()?, words.collect()))
    };
    let name = first.to_owned();
    Some(match (first, rest.split_once(' ').unwrap_or((rest, ""))) {
        ("account", (name, "")) => Act::Account(name.to_owned()),
        ("irc", _) => comes(Speaks::Irc)?,
        ("xmpp", _) => comes(Speaks::Xmpp)?,
        (_, (">", text)) => Act::Sends(name, text.to_owned()),
        (_, ("<", pattern)) => Act::Hears(name, pattern.to_owned()),
        (_, ("=", pattern)) => Act::HearsNext(name, pattern.to_owned()),
        (_, ("!", pattern)) => Act::HearsNot(name, pattern.to_owned()),
        (_, (".", "")) => Act::Goes(name),
        _ => return None,
    })
}

/// All scenarios of the repository, by file name; with `LAVINA_SCENARIO=NAME` that one only.
///
/// # Panics
/// When a file cannot be read or understood.
pub fn all() -> Vec<(String, Scenario)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|f| f.expect("a file").path()).collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("readable");
        let scenario = Scenario::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (name, scenario)
    };
    let wanted = std::env::var("LAVINA_SCENARIO").ok();
    let named = |(name, _): &(String, Scenario)| wanted.as_ref().is_none_or(|wanted| wanted == name);
    files.iter().map(read).filter(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read() {
        let text = "# Hello\naccount a\nirc x a echo-message\n# remark\nx > PRIVMSG\n   a :b\n\nx < *\nx .\n";
        let s = Scenario::parse(text).unwrap();
        let x = || "x".to_owned();
        let acts = [
            (2, Act::Account("a".to_owned())),
            (3, Act::Comes(x(), Speaks::Irc, "a".to_owned(), vec!["echo-message".to_owned()])),
            (5, Act::Sends(x(), "PRIVMSG a :b".to_owned())),
            (8, Act::Hears(x(), "*".to_owned())),
            (9, Act::Goes(x())),
        ];
        assert_eq!(s, Scenario { title: "Hello".to_owned(), acts: acts.to_vec() });
        for bad in ["account a", " a\n# x", "# x\naccount", "# x\na ? b", "# x\nirc a"] {
            assert!(Scenario::parse(bad).is_err(), "{bad}");
        }
    }
}
