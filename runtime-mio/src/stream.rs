//! A connection: TCP, or a path of this machine.

use lavina_host::socket::Socket;
use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpStream, UnixStream},
};
use std::{
    io::{self, Read, Write},
    net::Shutdown,
};

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A path of this machine.
    Unix(UnixStream),
}

impl Socket for Stream {
    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => (&mut &*s).read(into),
            Stream::Unix(s) => (&mut &*s).read(into),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => (&mut &*s).write(bytes),
            Stream::Unix(s) => (&mut &*s).write(bytes),
        }
    }

    fn finish(&self) {
        // Fails only when the other end is gone, which reading will tell.
        let _ = match self {
            Stream::Tcp(s) => s.shutdown(Shutdown::Write),
            Stream::Unix(s) => s.shutdown(Shutdown::Write),
        };
    }
}

/// What a connection is watched for, always: edge-triggered, so it costs nothing while nothing happens.
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

impl Stream {
    /// Has it watched.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.register(registry, token, BOTH),
            Stream::Unix(s) => s.register(registry, token, BOTH),
        }
    }

    /// Has it watched no more.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.deregister(registry),
            Stream::Unix(s) => s.deregister(registry),
        }
    }
}
