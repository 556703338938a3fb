//! Telling systemd how far the server is: `sd_notify(3)`, for units with `Type=notify` or `Type=notify-reload`.

use std::{ffi::OsString, io, os::unix::net::UnixDatagram};

/// The variable that names the manager's socket.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// How far the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// All listeners are open, or a reload is over.
    Ready,
    /// The configuration is being read again.
    Reloading,
    /// Clients are being told to go.
    Stopping,
}

/// The manager that started this process, if it wants to know.
#[derive(Debug)]
pub(crate) struct Manager(Option<OsString>);

impl Manager {
    /// As the environment says.
    pub fn of_environment() -> Manager {
        Manager(std::env::var_os(VARIABLE).filter(|path| !path.is_empty()))
    }

    /// Tells the manager.
    ///
    /// # Errors
    /// The system's. Nobody listening is none: nothing is told then.
    pub fn tell(&self, state: State) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let socket = UnixDatagram::unbound()?;
        send(&socket, path, text(state).as_bytes())
    }
}

fn text(state: State) -> String {
    match state {
        State::Ready => "READY=1".to_owned(),
        State::Stopping => "STOPPING=1".to_owned(),
        State::Reloading => {
            // `notify-reload` (systemd 253) tells an answer to this reload from an older one by the time.
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)
        }
    }
}

/// Sends to a path, or to a name in Linux's abstract namespace, which is written with `@` before it.
fn send(socket: &UnixDatagram, path: &OsString, bytes: &[u8]) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::{linux::net::SocketAddrExt, unix::ffi::OsStrExt, unix::net::SocketAddr};
        if let Some(name) = path.as_bytes().strip_prefix(b"@") {
            return socket.send_to_addr(bytes, &SocketAddr::from_abstract_name(name)?).map(drop);
        }
    }
    socket.send_to(bytes, path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::linux::net::SocketAddrExt, os::unix::net::SocketAddr, time::Duration};

    fn hear(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
        let mut buffer = [0; 200];
        let n = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    #[test]
    fn a_manager_hears_at_a_path() {
        let path = std::env::temp_dir().join(format!("lavina-notify-{}.sock", std::process::id()));
        let socket = UnixDatagram::bind(&path).expect("a path");
        let manager = Manager(Some(path.clone().into_os_string()));
        manager.tell(State::Ready).expect("told");
        assert_eq!(hear(&socket), "READY=1");
        manager.tell(State::Reloading).expect("told");
        let reloading = hear(&socket);
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
        assert!(time.parse::<u64>().expect("a number") > 0);
        manager.tell(State::Stopping).expect("told");
        assert_eq!(hear(&socket), "STOPPING=1");
        std::fs::remove_file(path).expect("it was there");
        assert!(manager.tell(State::Ready).is_err(), "nobody is there any more");
    }

    #[test]
    fn a_manager_hears_at_an_abstract_name() {
        let name = format!("lavina-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("free");
        Manager(Some(format!("@{name}").into())).tell(State::Stopping).expect("told");
        assert_eq!(hear(&socket), "STOPPING=1");
    }

    #[test]
    fn without_a_manager_nothing_is_told() {
        assert!(Manager(None).tell(State::Ready).is_ok());
    }
}
