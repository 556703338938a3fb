//! A consistent copy while the server runs.

use super::schema::{self, key};
use crate::Fault;
use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};
use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Copies all that is committed into a new file at `path`, for the owner only, and marks it as a copy.
/// The file has its name only once it is complete and synced.
pub(super) fn copy(from: &Connection, path: &Path) -> Result<(), Fault> {
    if path.exists() {
        return Err(Fault::Exists(path.into()));
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let result = copy_to(from, &part).and_then(|()| name(&part, path));
    if result.is_err() && !matches!(result, Err(Fault::Exists(_))) {
        // What is left of it is of no use to anybody.
        let _ = fs::remove_file(&part);
    }
    result
}

fn copy_to(from: &Connection, part: &Path) -> Result<(), Fault> {
    let told = |e: std::io::Error| Fault::Io(format!("{}: {e}", part.display()));
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(part) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::AlreadyExists => return Err(Fault::Exists(part.into())),
        Err(e) => return Err(told(e)),
    }
    let mut to = Connection::open(part)?;
    // In one step: in smaller ones every commit in between would begin it anew.
    let step = Backup::new(from, &mut to)?.step(-1)?;
    if step != StepResult::Done {
        return Err(Fault::Io("the store was too busy to be copied; try again".into()));
    }
    // One file, without a log beside it.
    let _: String = to.pragma_update_and_check(None, "journal_mode", "DELETE", |r| r.get(0))?;
    let tx = to.transaction()?;
    schema::put_meta(&tx, key::COPY, 1)?;
    schema::put_meta(&tx, key::CLEAN, 1)?;
    tx.commit()?;
    to.close().map_err(|(_, e)| e)?;
    File::open(part).and_then(|f| f.sync_all()).map_err(told)
}

/// Gives the finished copy its name, and makes that durable.
fn name(part: &Path, path: &Path) -> Result<(), Fault> {
    let told = |e: std::io::Error| Fault::Io(format!("{}: {e}", path.display()));
    fs::rename(part, path).map_err(told)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|f| f.sync_all()).map_err(told)
}
