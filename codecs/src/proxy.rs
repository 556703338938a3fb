//! The PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`): the header by which a load balancer tells
//! where a connection really comes from.
//!
//! A listener either requires the header or does not know it: guessing would let any client lie about its address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest version 1 line, CR LF included (§2.1 of the specification).
pub const MAX_V1: usize = 107;
/// Longest version 2 header accepted here, additions (TLVs) included; the format allows 64 KiB, proxies send well under
/// one. Longer ones are refused with [`ProxyError::TooLong`].
pub const MAX_V2: usize = 2048;

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_FIXED: usize = 16;
/// The first bytes of version 1.
const V1_START: &[u8; 6] = b"PROXY ";

/// What a header said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Where the client comes from. `None` for the proxy's own connections (health checks, `LOCAL`) and for families
    /// without address (`UNKNOWN`, `UNSPEC`, Unix sockets): then the address of the connection itself holds.
    pub source: Option<SocketAddr>,
    /// How many bytes the header took; what follows is the client's.
    pub len: usize,
}

/// Why bytes are no PROXY header. The connection is to be closed without a word: whoever sent it is no proxy of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Neither version's first bytes: mostly a client that reached the listener without passing the proxy.
    #[error("no PROXY header, which this listener requires")]
    Missing,
    /// No end of line within [`MAX_V1`] bytes, or more than [`MAX_V2`].
    #[error("the PROXY header is too long")]
    TooLong,
    /// A version 1 line that breaks its grammar.
    #[error("the PROXY header is malformed: {0}")]
    Malformed(&'static str),
    /// A version other than 1 and 2.
    #[error("PROXY version {0} is unknown")]
    Version(u8),
    /// A version 2 command other than LOCAL and PROXY.
    #[error("PROXY command {0} is unknown")]
    Command(u8),
    /// A version 2 family or transport that does not exist.
    #[error("PROXY address family {0:#04x} is unknown")]
    Family(u8),
}

/// Reads the header at the start of `bytes`; `Ok(None)` when it is not complete yet. Keeps no state: it is called again
/// with more bytes, and the limits keep that cheap.
///
/// # Errors
/// [`ProxyError`], as early as the bytes at hand show it.
pub fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    if starts_alike(bytes, SIGNATURE) {
        v2(bytes)
    } else if starts_alike(bytes, V1_START) {
        v1(bytes)
    } else {
        Err(ProxyError::Missing)
    }
}

/// Whether one is the beginning of the other.
fn starts_alike(bytes: &[u8], start: &[u8]) -> bool {
    let n = bytes.len().min(start.len());
    bytes[..n] == start[..n]
}

fn v1(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let window = &bytes[..bytes.len().min(MAX_V1)];
    let Some(end) = window.windows(2).position(|w| w == b"\r\n") else {
        return if window.len() == MAX_V1 { Err(ProxyError::TooLong) } else { Ok(None) };
    };
    let line =
        std::str::from_utf8(&window[V1_START.len()..end]).map_err(|_| ProxyError::Malformed("not ASCII"))?;
    let header = |source| Ok(Some(ProxyHeader { source, len: end + 2 }));
    let mut words = line.split(' ');
    let family = words.next();
    if family == Some("UNKNOWN") {
        return header(None); // whatever follows is to be ignored
    }
    let (Some(source), Some(target), Some(port), Some(target_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(ProxyError::Malformed("not six words"));
    };
    let (source, target): (IpAddr, IpAddr) = match family {
        Some("TCP4") => (address::<Ipv4Addr>(source)?.into(), address::<Ipv4Addr>(target)?.into()),
        Some("TCP6") => (address::<Ipv6Addr>(source)?.into(), address::<Ipv6Addr>(target)?.into()),
        _ => return Err(ProxyError::Malformed("neither TCP4, TCP6 nor UNKNOWN")),
    };
    // The target is checked for form only: where the proxy listens is not our concern.
    let (_, port, _) = (target, v1_port(port)?, v1_port(target_port)?);
    header(Some(SocketAddr::new(canonical(source), port)))
}

fn address<T: std::str::FromStr>(word: &str) -> Result<T, ProxyError> {
    word.parse().map_err(|_| ProxyError::Malformed("not an address of its family"))
}

fn v1_port(word: &str) -> Result<u16, ProxyError> {
    let plain = word.bytes().all(|b| b.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| plain).ok_or(ProxyError::Malformed("not a port"))
}

fn v2(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else { return Ok(None) };
    let [.., version_command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if version_command >> 4 != 2 {
        return Err(ProxyError::Version(version_command >> 4));
    }
    if V2_FIXED + length > MAX_V2 {
        return Err(ProxyError::TooLong);
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let source = match version_command & 0xf {
        0 => None, // LOCAL: the addresses, if any, mean nothing
        1 => v2_source(family, body)?,
        command => return Err(ProxyError::Command(command)),
    };
    Ok(Some(ProxyHeader { source, len: V2_FIXED + length }))
}

fn v2_source(family: u8, body: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    const SHORT: ProxyError = ProxyError::Malformed("too short for its family");
    match family {
        0x11 | 0x12 => {
            let block = body.first_chunk::<12>().ok_or(SHORT)?;
            let [a, b, c, d, _, _, _, _, p, q, _, _] = *block;
            Ok(Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([p, q]))))
        }
        0x21 | 0x22 => {
            let block = body.first_chunk::<36>().ok_or(SHORT)?;
            let source = block.first_chunk::<16>().expect("36 bytes begin with 16");
            let port = u16::from_be_bytes([block[32], block[33]]);
            Ok(Some(SocketAddr::new(canonical(Ipv6Addr::from(*source).into()), port)))
        }
        0x31 | 0x32 if body.len() < 216 => Err(SHORT),
        0x00 | 0x31 | 0x32 => Ok(None),
        other => Err(ProxyError::Family(other)),
    }
}

/// `::ffff:192.0.2.1` is 192.0.2.1: limits per address must not be doubled by writing it twice.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(bytes: &[u8]) -> Result<Option<String>, ProxyError> {
        Ok(parse(bytes)?.expect("complete").source.map(|a| a.to_string()))
    }

    fn v2_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, body].concat()
    }

    fn v2_inet(address: [u8; 4], port: u16) -> Vec<u8> {
        [&address[..], &[10, 0, 0, 1], &port.to_be_bytes(), &[0, 80]].concat()
    }

    #[test]
    fn version_1() {
        let line = b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 6667\r\nNICK alice\r\n";
        assert_eq!(source(line), Ok(Some("192.0.2.7:40000".to_owned())));
        assert_eq!(parse(line).ok().flatten().map(|h| h.len), Some(42));
        assert_eq!(source(b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n"), Ok(Some("[2001:db8::7]:1".to_owned())));
        assert_eq!(source(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"), Ok(Some("192.0.2.7:1".to_owned())));
        assert_eq!(source(b"PROXY UNKNOWN\r\n"), Ok(None));
        assert_eq!(source(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), Ok(None));
    }

    #[test]
    fn version_1_refusals() {
        for line in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 40000 6667 9\r\n",
            "PROXY TCP4 ::1 10.0.0.1 40000 6667\r\n",
            "PROXY TCP6 192.0.2.7 ::1 40000 6667\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 6667\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 6667\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 01 6667\r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 1 6667\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY \r\n",
        ] {
            assert!(matches!(parse(line.as_bytes()), Err(ProxyError::Malformed(_))), "{line}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(parse(long.as_bytes()), Err(ProxyError::TooLong));
        assert_eq!(parse(&long.as_bytes()[..MAX_V1 - 1]), Ok(None));
    }

    #[test]
    fn version_2() {
        let inet = v2_inet([192, 0, 2, 7], 40000);
        assert_eq!(source(&v2_header(0x21, 0x11, &inet)), Ok(Some("192.0.2.7:40000".to_owned())));
        let with_tlv = [inet.as_slice(), &[3, 0, 4, 1, 2, 3, 4]].concat();
        assert_eq!(source(&v2_header(0x21, 0x11, &with_tlv)), Ok(Some("192.0.2.7:40000".to_owned())));
        let mut inet6 = [0u8; 36];
        inet6[15] = 1;
        inet6[33] = 99;
        assert_eq!(source(&v2_header(0x21, 0x21, &inet6)), Ok(Some("[::1]:99".to_owned())));
        assert_eq!(source(&v2_header(0x20, 0x00, &[])), Ok(None));
        assert_eq!(source(&v2_header(0x21, 0x00, &[])), Ok(None));
        assert_eq!(source(&v2_header(0x21, 0x31, &[0; 216])), Ok(None));
    }

    #[test]
    fn version_2_refusals() {
        let inet = v2_inet([1, 2, 3, 4], 5);
        assert_eq!(parse(&v2_header(0x11, 0x11, &inet)), Err(ProxyError::Version(1)));
        assert_eq!(parse(&v2_header(0x22, 0x11, &inet)), Err(ProxyError::Command(2)));
        assert_eq!(parse(&v2_header(0x21, 0x13, &inet)), Err(ProxyError::Family(0x13)));
        assert!(matches!(parse(&v2_header(0x21, 0x11, &inet[..11])), Err(ProxyError::Malformed(_))));
        assert!(matches!(parse(&v2_header(0x21, 0x31, &[0; 215])), Err(ProxyError::Malformed(_))));
        assert_eq!(parse(&v2_header(0x21, 0x11, &[0; MAX_V2])), Err(ProxyError::TooLong));
    }

    #[test]
    fn other_bytes_are_refused_at_once() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"N"), Err(ProxyError::Missing));
        assert_eq!(parse(b"PROXX"), Err(ProxyError::Missing));
        assert_eq!(parse(b"\r\n\r\nX"), Err(ProxyError::Missing));
        assert_eq!(parse(b"\r\n"), Ok(None));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in any::<Vec<u8>>()) {
            if let Ok(Some(header)) = parse(&bytes) {
                prop_assert!(header.len <= bytes.len());
            }
        }

        #[test]
        fn cutting_changes_nothing(which in 0usize..3, tail in any::<Vec<u8>>()) {
            let header = match which {
                0 => b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 6667\r\n".to_vec(),
                1 => b"PROXY TCP4 192.0.2.7 nonsense 40000 6667\r\n".to_vec(),
                _ => v2_header(0x21, 0x11, &v2_inet([9, 8, 7, 6], 5)),
            };
            let whole = parse(&[header.as_slice(), &tail].concat());
            prop_assert_eq!(whole, parse(&header));
            for cut in 0..header.len() {
                prop_assert_eq!(parse(&header[..cut]), Ok(None));
            }
        }
    }
}
