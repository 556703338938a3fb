//! A built program, started for a scenario.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A running server with a folder of its own; it ends, and the folder goes, when this is dropped.
pub struct Program {
    child: Child,
    folder: PathBuf,
    /// Where IRC, XMPP and HTTP are spoken.
    pub at: [SocketAddr; 3],
}

impl Program {
    /// Starts the program at this path, with open registration, in a folder of this name.
    ///
    /// # Errors
    /// The system's.
    pub fn start(path: &Path, name: &str) -> io::Result<Program> {
        let folder = std::env::temp_dir().join(format!("lavina-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder)?;
        // Ports that were free a moment ago.
        let bind = || TcpListener::bind(("127.0.0.1", 0));
        let ports = [bind()?, bind()?, bind()?];
        let at = [ports[0].local_addr()?, ports[1].local_addr()?, ports[2].local_addr()?];
        drop(ports);
        let config = folder.join("lavina.toml");
        let listen = |address, protocol| {
            format!("[[listen]]\naddress = \"{address}\"\nprotocol = \"{protocol}\"\ntls = \"off\"\n")
        };
        let text = format!(
            "domain = \"localhost\"\nworkers = 2\n[registration]\nopen = true\n[password]\niterations = 4096\n\
             [limits]\nflood = false\n{}{}{}",
            listen(at[0], "irc"),
            listen(at[1], "xmpp"),
            listen(at[2], "http")
        );
        fs::write(&config, text)?;
        let child = Command::new(path)
            .arg("--config")
            .arg(&config)
            .arg("--data-dir")
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log"))?)
            .spawn()?;
        Ok(Program { child, folder, at })
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It is this one's child and has no other use.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Plays all scenarios on this program, each on a fresh server; gives back what did not come true.
///
/// # Panics
/// When it cannot be started.
pub fn play_all(path: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, scenario) in super::all() {
        let program = Program::start(path, &name).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut place = super::places::Listening::new(program.at);
        if let Err(why) = super::run::play(&scenario, &mut place) {
            wrong.push(format!("{name}: {why}\n{}", program.log()));
        }
    }
    wrong
}
