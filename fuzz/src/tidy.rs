//! The repository's own rules, as tests: what may depend on what, which words stand where, how long a file is.

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    /// Lines a file may have.
    const LINES: usize = 800;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// All Rust files under a folder of the repository.
    fn files(under: &str) -> Vec<PathBuf> {
        let (mut out, mut folders) = (Vec::new(), vec![root().join(under)]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() && path.file_name().is_none_or(|n| n != "target") {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    out.push(path);
                }
            }
        }
        out.sort();
        out
    }

    /// The code of a file: without comments and tests, by line.
    fn code(file: &Path) -> Vec<(usize, String)> {
        let text = fs::read_to_string(file).expect("readable");
        text.lines()
            .enumerate()
            .take_while(|(_, line)| !line.contains("#[cfg(test)]"))
            .map(|(n, line)| (n + 1, line.split("//").next().unwrap_or_default().to_owned()))
            .collect()
    }

    /// Whole words of a line of code, `snake_case` and `CamelCase` taken apart, in lower case.
    fn words(line: &str) -> Vec<String> {
        let mut out = vec![String::new()];
        let mut before = ' ';
        for c in line.chars() {
            if !c.is_alphabetic() || (c.is_uppercase() && before.is_lowercase()) {
                out.push(String::new());
            }
            if c.is_alphabetic() {
                out.last_mut().expect("one at least").extend(c.to_lowercase());
            }
            before = c;
        }
        out.retain(|w| !w.is_empty());
        out
    }

    fn forbid(under: &str, forbidden: &[&str], why: &str) {
        let mut found = Vec::new();
        for file in files(under) {
            for (n, line) in code(&file) {
                if let Some(word) = words(&line).iter().find(|w| forbidden.contains(&w.as_str())) {
                    found.push(format!("{}:{n}: `{word}`", file.display()));
                }
            }
        }
        assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
    }

    #[test]
    fn the_core_knows_no_protocol() {
        let words =
            ["irc", "xmpp", "jid", "jids", "stanza", "stanzas", "muc", "nick", "nicks", "mxid", "privmsg"];
        forbid("core/src", &words, "the core names no protocol");
    }

    #[test]
    fn runtimes_name_no_protocol() {
        for folder in ["runtime-mio/src", "runtime-smol/src"] {
            forbid(
                folder,
                &["irc", "xmpp", "jid", "stanza", "muc"],
                "runtimes carry bytes, whatever they mean",
            );
        }
    }

    #[test]
    fn core_and_codecs_have_no_clock_thread_or_socket() {
        for folder in ["core/src", "codecs/src"] {
            for file in files(folder) {
                for (n, line) in code(&file) {
                    for bad in [
                        "time::Instant",
                        "SystemTime",
                        "std::thread",
                        "TcpStream",
                        "UdpSocket",
                        "std::fs",
                        "std::env",
                    ] {
                        assert!(!line.contains(bad), "{}:{n}: {bad} belongs to the runtimes", file.display());
                    }
                }
            }
        }
    }

    #[test]
    fn files_stay_short() {
        for folder in ["core", "codecs", "store", "runtime-mio", "runtime-smol", "fuzz", "benches"] {
            for file in files(folder) {
                let lines = fs::read_to_string(&file).expect("readable").lines().count();
                assert!(lines < LINES, "{} has {lines} lines; one noun a file", file.display());
            }
        }
    }

    #[test]
    fn nothing_is_left_for_later() {
        // Taken apart, or this file would find itself.
        let marks = [["TO", "DO"], ["FIX", "ME"], ["X", "XX"], ["todo", "!("], ["unimplemented", "!("]]
            .map(|m| m.concat());
        for folder in ["core", "codecs", "store", "runtime-mio", "runtime-smol", "fuzz", "benches"] {
            for file in files(folder) {
                let text = fs::read_to_string(&file).expect("readable");
                for (n, line) in text.lines().enumerate() {
                    let found = marks.iter().find(|m| line.contains(m.as_str()));
                    assert!(found.is_none(), "{}:{}: {found:?}", file.display(), n + 1);
                }
            }
        }
    }

    #[test]
    fn dependencies_point_inward() {
        let manifest =
            |member: &str| fs::read_to_string(root().join(member).join("Cargo.toml")).expect("a manifest");
        let product = |member: &str| {
            let text = manifest(member);
            let begin = text.find("\n[dependencies]").map_or(text.len(), |at| at + 15);
            let end = text[begin..].find("\n[").map_or(text.len(), |at| begin + at);
            let names = text[begin..end].lines().filter(|l| !l.starts_with('#'));
            let name = |l: &str| l.split(['.', ' ', '=']).next().unwrap_or_default().to_owned();
            names.map(name).filter(|n| !n.is_empty()).collect::<Vec<_>>()
        };
        let homes: [(&[&str], &[&str]); 3] = [
            (&["mio"], &["runtime-mio"]),
            (&["async-io", "async-executor", "async-channel", "futures-lite", "smol"], &["runtime-smol"]),
            (&["rusqlite"], &["store"]),
        ];
        let members =
            ["core", "codecs", "store", "store/host", "runtime-mio", "runtime-smol", "fuzz", "benches"];
        for member in members {
            let needs = product(member);
            for (crates, home) in homes {
                let stray = needs.iter().find(|n| crates.contains(&n.as_str()) && !home.contains(&member));
                assert!(stray.is_none(), "{member} must not need {stray:?}");
            }
            let inner: &[&str] = match member {
                "core" => &[],
                "codecs" | "store" => &["lavina-core"],
                _ => &["lavina-core", "lavina-codecs", "lavina-store", "lavina-host"],
            };
            let outward = needs.iter().find(|n| n.starts_with("lavina-") && !inner.contains(&n.as_str()));
            assert!(outward.is_none(), "{member} must not need {outward:?}");
        }
    }
}
