//! `--self-test`: the parts of a built program that depend on the machine, tried in a folder that is thrown away.
//!
//! It shows that SQLite stores and finds again, that sockets and their readiness work over loopback, and that a TLS
//! client and this server's TLS understand each other: what may go wrong with a cross-compiled program.

use crate::{
    home::Home,
    launch::{Server, Trouble},
    runtime::Runtime,
    talk,
};
use lavina_codecs::{
    cli::{Admin, Exit},
    config::{Config, Listen, ListenAddress, ListenTls, Protocol as Configured},
    settings::{Listener, Protocol, Security},
};
use std::{
    io::{Read, Write, stdout},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long one answer may take; emulated processors are slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// PBKDF2 iterations of the test's account: the fewest that the configuration takes.
const ITERATIONS: u32 = 4_096;
/// Bytes of an answer that are looked through for the word.
const ANSWER: usize = 64 * 1024;
/// The account that is made, stored and found again.
const NAME: &str = "selftest";

/// Tries everything; one line a step to standard output.
///
/// # Errors
/// The first step that failed, with [`Exit::Software`] or the system's reason.
pub(crate) fn run<R: Runtime>() -> Result<u8, Trouble> {
    let home = Home::scratch()?;
    let done = steps::<R>(&home);
    // The folder goes whatever came out; what went wrong before is the better reason.
    let removed = std::fs::remove_dir_all(home.path()).map_err(|e| Trouble::io(home.path().display(), &e));
    done.and(removed)?;
    say("all is well")?;
    Ok(Exit::Ok.code())
}

fn steps<R: Runtime>(home: &Home) -> Result<(), Trouble> {
    let config = configuration();
    let server = Server::<R>::start(&config, home, 1, true)?;
    let add = Admin::UserAdd { name: NAME.to_owned(), admin: false };
    ask(home, &add, Some("correct horse battery staple"))?;
    let mut tried = 0;
    for (listener, address) in server.addresses() {
        tried += usize::from(try_listener(home, *listener, *address)?);
    }
    server.stop()?;
    // A second server on the same folder: what is found now was on the disk.
    let server = Server::<R>::start(&config, home, 1, false)?;
    let users = ask(home, &Admin::UserList, None)?;
    if !users.contains(NAME) {
        return Err(failed("store", format!("the account is gone after a restart; there is: {users:?}")));
    }
    server.stop()?;
    say("store: written, stopped, started, found again: ok")?;
    if tried == 0 { say("no protocol is built in: nothing to connect to") } else { Ok(()) }
}

/// Each protocol that is built in, plain and with TLS, on free ports of this machine.
fn configuration() -> Config {
    let mut config = Config { domain: "localhost".to_owned(), ..Config::default() };
    config.password.iterations = ITERATIONS;
    config.listen.clear();
    for protocol in [Configured::Irc, Configured::Xmpp, Configured::Http] {
        for tls in [ListenTls::Off, ListenTls::Direct] {
            if tls == ListenTls::Off || cfg!(feature = "tls") {
                let address = ListenAddress::At(SocketAddr::from(([127, 0, 0, 1], 0)));
                config.listen.push(Listen { address, protocol, tls, proxy: false });
            }
        }
    }
    config
}

fn ask(home: &Home, what: &Admin, password: Option<&str>) -> Result<String, Trouble> {
    let (text, progress) = talk::ask(&home.socket(), what, password.map(str::to_owned))?
        .ok_or_else(|| failed("control socket", "nobody answers"))?;
    match progress.exit {
        Some(code) if code == Exit::Ok.code() => Ok(text),
        _ => Err(failed("control socket", progress.complaint.unwrap_or_default())),
    }
}

/// What a client says first, and what the answer must contain.
fn greeting(protocol: Protocol) -> Option<(&'static str, &'static str, &'static str)> {
    match protocol {
        #[cfg(feature = "irc")]
        Protocol::Irc => Some(("IRC", "CAP LS 302\r\nQUIT\r\n", "CAP * LS")),
        #[cfg(feature = "xmpp")]
        Protocol::Xmpp => Some((
            "XMPP",
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'></stream:stream>",
            "<stream:features",
        )),
        #[cfg(feature = "http")]
        Protocol::Http => {
            Some(("HTTP", "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "HTTP/1.1 200"))
        }
        Protocol::Control => None,
    }
}

/// Talks to one listener. False: nobody talks to such a one.
fn try_listener(home: &Home, listener: Listener, address: SocketAddr) -> Result<bool, Trouble> {
    let Some((name, first, wanted)) = greeting(listener.protocol) else { return Ok(false) };
    let name = match listener.security {
        Security::Off => format!("{name} over loopback"),
        Security::Starttls | Security::Direct => format!("{name} over TLS"),
    };
    let socket = TcpStream::connect(address).map_err(|e| Trouble::io(&name, &e))?;
    let patient = socket
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| socket.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| socket.set_nodelay(true));
    patient.map_err(|e| Trouble::io(&name, &e))?;
    let secure = match listener.security {
        Security::Off => {
            converse(&name, socket, first, wanted)?;
            String::new()
        }
        Security::Starttls | Security::Direct => secured(home, &name, socket, first, wanted)?,
    };
    say(&format!("{name}: asked and answered{secure}: ok"))?;
    Ok(true)
}

/// Says `first` and reads until `wanted` has come.
fn converse(name: &str, mut stream: impl Read + Write, first: &str, wanted: &str) -> Result<(), Trouble> {
    stream.write_all(first.as_bytes()).and_then(|()| stream.flush()).map_err(|e| Trouble::io(name, &e))?;
    let (mut heard, mut buffer) = (Vec::new(), [0; 4_096]);
    while heard.len() < ANSWER {
        let n = stream.read(&mut buffer).map_err(|e| Trouble::io(name, &e))?;
        heard.extend_from_slice(&buffer[..n]);
        if heard.windows(wanted.len()).any(|piece| piece == wanted.as_bytes()) {
            return Ok(());
        }
        if n == 0 {
            break;
        }
    }
    Err(failed(name, format!("{wanted:?} is not in the answer {:?}", String::from_utf8_lossy(&heard))))
}

/// The same inside TLS, as a client that trusts the self-made certificate and nothing else; what was agreed on.
#[cfg(all(feature = "tls", any(feature = "irc", feature = "xmpp", feature = "http")))]
fn secured(
    home: &Home,
    name: &str,
    mut socket: TcpStream,
    first: &str,
    wanted: &str,
) -> Result<String, Trouble> {
    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
    let bad = |e: &dyn std::fmt::Display| failed(name, e);
    let certificate =
        CertificateDer::from_pem_file(home.path().join("certificate.pem")).map_err(|e| bad(&e))?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).map_err(|e| bad(&e))?;
    let config = rustls::ClientConfig::builder_with_provider(lavina_codecs::tls::ring())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerName::try_from("localhost").map_err(|e| bad(&e))?;
    let mut client = rustls::ClientConnection::new(config.into(), server).map_err(|e| bad(&e))?;
    converse(name, rustls::Stream::new(&mut client, &mut socket), first, wanted)?;
    let suite = client.negotiated_cipher_suite().map(|s| format!(" ({:?})", s.suite()));
    Ok(suite.unwrap_or_default())
}

#[cfg(not(all(feature = "tls", any(feature = "irc", feature = "xmpp", feature = "http"))))]
fn secured(_: &Home, name: &str, _: TcpStream, _: &str, _: &str) -> Result<String, Trouble> {
    Err(failed(name, "TLS is not built in"))
}

fn failed(step: &str, why: impl std::fmt::Display) -> Trouble {
    Trouble(Exit::Software, format!("self-test: {step}: {why}"))
}

fn say(line: &str) -> Result<(), Trouble> {
    stdout().write_all(format!("{line}\n").as_bytes()).map_err(|e| Trouble::io("standard output", &e))
}
