//! The command line's end of the control socket.

use crate::launch::Trouble;
use lavina_codecs::{
    cli::{Admin, Exit},
    control::{Client, Progress},
};
use std::{
    io::{ErrorKind, IsTerminal, Read, Write, stderr, stdin, stdout},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How long an answer may take; a backup of a large store is slow.
const PATIENCE: Duration = Duration::from_secs(600);

/// Has a command carried out and prints what comes of it; the exit code, or `None` when no server answers there.
pub(crate) fn carry_out(
    socket: &Path,
    admin: &Admin,
    password: Option<String>,
) -> Result<Option<u8>, Trouble> {
    let Some((text, progress)) = ask(socket, admin, password)? else { return Ok(None) };
    stdout().write_all(text.as_bytes()).map_err(|e| Trouble::io("standard output", &e))?;
    if let Some(complaint) = progress.complaint {
        let _ = writeln!(stderr(), "{complaint}");
    }
    Ok(progress.exit)
}

/// For a server without accounts: an invitation for its first administrator, in words. Else nothing.
pub(crate) fn first_invitation(socket: &Path) -> Result<String, Trouble> {
    let empty = matches!(ask(socket, &Admin::UserList, None)?, Some((text, _)) if text.is_empty());
    if !empty {
        return Ok(String::new());
    }
    let invite = Admin::InviteCreate { uses: 1, days: 7, admin: true };
    let Some((token, _)) = ask(socket, &invite, None)? else { return Ok(String::new()) };
    Ok(format!(
        "There is no account yet. Make the first one, an administrator's, with `user add --admin NAME`,\n\
         or register from a client with this invitation: {}\n",
        token.trim()
    ))
}

/// The same without printing: the text of the answer, and how it ended.
pub(crate) fn ask(
    socket: &Path,
    admin: &Admin,
    password: Option<String>,
) -> Result<Option<(String, Progress)>, Trouble> {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(e) => return Err(Trouble::io(socket.display(), &e)),
    };
    let failed = |e: std::io::Error| Trouble::io("the control socket", &e);
    let here = std::env::current_dir().map_err(failed)?;
    let (mut client, first) = Client::new(admin, password, &here).map_err(|why| Trouble(Exit::Usage, why))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(&first).map_err(failed)?;
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut buffer).map_err(failed)?;
        let progress = if n == 0 { client.closed() } else { client.received(&buffer[..n]) };
        text.push_str(&progress.text);
        stream.write_all(&progress.send).map_err(failed)?;
        if progress.exit.is_some() {
            return Ok(Some((text, progress)));
        }
    }
}

/// A password: the first line of standard input. At a terminal it is asked for, and not shown.
pub(crate) fn password() -> Result<String, Trouble> {
    let input = stdin();
    let hidden = if input.is_terminal() {
        let _ = write!(stderr(), "Password: ");
        hide(&input)
    } else {
        None
    };
    let mut line = String::new();
    let read = input.read_line(&mut line);
    if let Some(shown) = hidden {
        let _ = rustix::termios::tcsetattr(&input, rustix::termios::OptionalActions::Now, &shown);
        let _ = writeln!(stderr());
    }
    read.map_err(|e| Trouble::io("standard input", &e))?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        Err(Trouble(Exit::Data, "no password was given".to_owned()))
    } else {
        Ok(password)
    }
}

/// Turns the echo off; what to set to turn it on again.
fn hide(input: &std::io::Stdin) -> Option<rustix::termios::Termios> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let shown = tcgetattr(input).ok()?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(input, OptionalActions::Now, &hidden).ok()?;
    Some(shown)
}
