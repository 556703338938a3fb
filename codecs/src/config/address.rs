//! Where a listener listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Where a listener listens, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `*:6697`: every address of the machine, of both families.
    All(u16),
    /// `localhost:6667`: this machine only, both families.
    Localhost(u16),
    /// One address: `192.0.2.1:6697`, `[2001:db8::1]:6697`.
    At(SocketAddr),
}

impl ListenAddress {
    /// The port; 0: any free one.
    pub fn port(self) -> u16 {
        match self {
            Self::All(port) | Self::Localhost(port) => port,
            Self::At(address) => address.port(),
        }
    }

    /// Whether only this machine can connect.
    pub fn is_loopback(self) -> bool {
        match self {
            Self::All(_) => false,
            Self::Localhost(_) => true,
            Self::At(address) => address.ip().to_canonical().is_loopback(),
        }
    }

    /// The socket addresses to bind, IPv6 first. One of a pair may fail on a machine without that family; an IPv6
    /// socket is to be bound for IPv6 only.
    pub fn sockets(self) -> Vec<SocketAddr> {
        let pair = |six: Ipv6Addr, four: Ipv4Addr, port| {
            vec![SocketAddr::new(IpAddr::V6(six), port), SocketAddr::new(IpAddr::V4(four), port)]
        };
        match self {
            Self::All(port) => pair(Ipv6Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, port),
            Self::Localhost(port) => pair(Ipv6Addr::LOCALHOST, Ipv4Addr::LOCALHOST, port),
            Self::At(address) => vec![address],
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write it as \"*:6697\", \"localhost:6667\", \"192.0.2.1:6697\" or \"[2001:db8::1]:6697\"";
        let port = |p: &str| p.parse::<u16>().map_err(|_| format!("`{p}` is no port; {help}"));
        if let Some(p) = text.strip_prefix("*:") {
            return port(p).map(Self::All);
        }
        if let Some(p) = text.strip_prefix("localhost:") {
            return port(p).map(Self::Localhost);
        }
        text.parse().map(Self::At).map_err(|_| format!("`{text}` is no address with a port; {help}"))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(port) => write!(f, "*:{port}"),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::At(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, loopback, sockets) in [
            ("*:6697", false, 2),
            ("localhost:6667", true, 2),
            ("127.0.0.1:0", true, 1),
            ("[::1]:6667", true, 1),
            ("[::ffff:127.0.0.1]:6667", true, 1),
            ("192.0.2.1:5222", false, 1),
            ("[::]:5222", false, 1),
        ] {
            let address: ListenAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_loopback(), loopback, "{text}");
            assert_eq!(address.sockets().len(), sockets, "{text}");
            assert!(address.sockets().iter().all(|s| s.port() == address.port()));
        }
        for text in
            ["", "6667", ":6667", "*", "*:x", "localhost", "localhost:70000", "::1:6667", "example.org:1"]
        {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
