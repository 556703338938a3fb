//! Listening sockets.

use socket2::{Domain, Protocol, Socket, Type};
use std::{
    fs::Permissions,
    io,
    net::{SocketAddr, TcpListener},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
};

/// Connections the system keeps until they are accepted: enough for everybody coming back at once.
const BACKLOG: i32 = 4_096;

/// A listening socket that does not block, and what it means.
#[derive(Debug)]
pub struct Door<L> {
    /// The socket.
    pub socket: DoorSocket,
    /// What it is to the protocols.
    pub listener: L,
    /// Each connection begins with a proxy's header.
    pub proxy: bool,
}

/// A listening socket.
#[derive(Debug)]
pub enum DoorSocket {
    /// TCP.
    Tcp(TcpListener),
    /// A path of this machine.
    Unix(UnixListener),
}

impl<L> Door<L> {
    /// Where it listens, for TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            DoorSocket::Tcp(socket) => socket.local_addr().ok(),
            DoorSocket::Unix(_) => None,
        }
    }
}

/// Listens on a TCP address; an IPv6 one takes IPv6 only.
///
/// # Errors
/// The system's: mostly that the address is in use, or that the port needs a privilege.
pub fn tcp(address: SocketAddr) -> io::Result<DoorSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restarted server may listen at once although old connections still linger in the system.
    socket.set_reuse_address(true)?;
    // Connections inherit this.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(DoorSocket::Tcp(socket.into()))
}

/// Listens on a path, for its owner only. Something old at that path is removed: whoever calls this
/// holds the data directory's lock.
///
/// # Errors
/// The system's.
pub fn unix(path: &Path) -> io::Result<DoorSocket> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // The directory is the owner's alone, so nobody slips in before the mode is set.
    let socket = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(DoorSocket::Unix(socket))
}
