//! A built program as a service: what it tells whoever started it.

use std::{
    fs, io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// No state takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program started as systemd would, with a socket to tell its state to.
struct Service {
    child: Child,
    manager: UnixDatagram,
    folder: PathBuf,
}

impl Service {
    fn start(path: &Path) -> io::Result<Service> {
        let folder = std::env::temp_dir().join(format!("lavina-service-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let manager = UnixDatagram::bind(folder.join("notify.sock"))?;
        manager.set_read_timeout(Some(PATIENCE))?;
        fs::write(
            folder.join("lavina.toml"),
            "domain = \"localhost\"\n[[listen]]\naddress = \"127.0.0.1:0\"\nprotocol = \"irc\"\ntls = \"off\"\n",
        )?;
        let child = Command::new(path)
            .arg("--config")
            .arg(folder.join("lavina.toml"))
            .arg("--data-dir")
            .arg(folder.join("data"))
            .env("NOTIFY_SOCKET", folder.join("notify.sock"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Service { child, manager, folder })
    }

    fn state(&self) -> String {
        let mut buffer = [0; 200];
        let n = self.manager.recv(&mut buffer).expect("a state");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.expect("a command of the system").success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It is this one's child and has no other use.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The program at this path tells its manager when it is ready, reads its configuration again, and stops.
///
/// # Panics
/// When it does not.
pub fn tells_its_manager(path: &Path) {
    let mut service = Service::start(path).expect("a program");
    assert_eq!(service.state(), "READY=1");
    service.signal("-HUP");
    assert!(service.state().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(service.state(), "READY=1");
    // A configuration that cannot be used changes nothing.
    fs::write(service.folder.join("lavina.toml"), "nonsense").expect("written");
    service.signal("-HUP");
    assert!(service.state().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(service.state(), "READY=1");
    service.signal("-TERM");
    assert_eq!(service.state(), "STOPPING=1");
    assert!(service.child.wait().expect("an end").success());
}

/// `--self-test` of the program at this path tries the store, and each protocol plain and over TLS.
///
/// # Panics
/// When it does not, or finds something wrong.
pub fn tests_itself(path: &Path) {
    let output = Command::new(path).arg("--self-test").output().expect("a program");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for step in ["store: ", "IRC over loopback", "XMPP over loopback", "HTTP over loopback", "HTTP over TLS"]
    {
        assert!(text.lines().any(|line| line.starts_with(step) && line.ends_with(": ok")), "{step}: {text}");
    }
    assert_eq!(text.lines().last(), Some("all is well"));
}
