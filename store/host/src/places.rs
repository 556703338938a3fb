//! Where things are when nothing is said (file-hierarchy standard for root, XDG base directories for others).

use std::{env, path::PathBuf};

/// The data directory: `/var/lib/lavina` for root, else `lavina` under `$XDG_DATA_HOME` (`~/.local/share`).
pub(crate) fn data() -> PathBuf {
    if is_root() {
        PathBuf::from("/var/lib/lavina")
    } else {
        below("XDG_DATA_HOME", ".local/share").join("lavina")
    }
}

/// The configuration file, if there is one at its place: `/etc/lavina.toml` for root, else `lavina.toml` under
/// `$XDG_CONFIG_HOME` (`~/.config`).
pub(crate) fn configuration() -> Option<PathBuf> {
    let path = if is_root() {
        PathBuf::from("/etc/lavina.toml")
    } else {
        below("XDG_CONFIG_HOME", ".config").join("lavina.toml")
    };
    path.exists().then_some(path)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The directory that a variable names absolutely, else this one of the home directory.
fn below(variable: &str, usual: &str) -> PathBuf {
    let named = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    named.unwrap_or_else(|| env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(usual))
}
