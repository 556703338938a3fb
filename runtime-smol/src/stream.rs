//! A connection: TCP, or a path of this machine.

use async_io::Async;
use lavina_host::socket::Socket;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    sync::Arc,
    task::{Context, Poll},
};

/// A connection. Shared between the pump, which reads and writes, and the task, which waits.
#[derive(Clone, Debug)]
pub enum Stream {
    /// TCP.
    Tcp(Arc<Async<TcpStream>>),
    /// A path of this machine.
    Unix(Arc<Async<UnixStream>>),
}

impl Stream {
    /// Waits for something to read.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(s) => s.poll_readable(cx),
            Stream::Unix(s) => s.poll_readable(cx),
        }
    }

    /// Waits for room to write.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(s) => s.poll_writable(cx),
            Stream::Unix(s) => s.poll_writable(cx),
        }
    }
}

impl Socket for Stream {
    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.get_ref().read(into),
            Stream::Unix(s) => s.get_ref().read(into),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.get_ref().write(bytes),
            Stream::Unix(s) => s.get_ref().write(bytes),
        }
    }

    fn finish(&self) {
        // Fails only when the other end is gone, which reading will tell.
        let _ = match self {
            Stream::Tcp(s) => s.get_ref().shutdown(Shutdown::Write),
            Stream::Unix(s) => s.get_ref().shutdown(Shutdown::Write),
        };
    }
}
