//! Servers that scenarios are played on: a simulated one of any number of workers, and one behind sockets.

use super::run::Place;
use crate::sim::{
    dice::Dice,
    world::{Noticed, World},
};
use lavina_codecs::{
    config::Config,
    session::Session,
    settings::{Listener, Protocol, Security, Settings},
};
use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

/// A simulated server: everything that can happen happens in an order that a seed draws.
pub struct Simulated {
    world: World<Session>,
    received: BTreeMap<usize, Vec<u8>>,
    closed: Vec<usize>,
}

impl Simulated {
    /// A server of so many workers.
    pub fn new(workers: u8, seed: u64) -> Simulated {
        let mut config = Config::default();
        config.registration.open = true;
        config.password.iterations = 4_096;
        // Scenarios say as much as they like.
        (config.limits.values.flood_burst, config.limits.values.flood_rate) = (0, 0);
        let settings = Arc::new(Settings::new(&config, 4, [7; 32]));
        let mut world = World::new(settings, workers, Dice::new(seed));
        world.chunk = 400;
        Simulated { world, received: BTreeMap::new(), closed: Vec::new() }
    }

    fn settle(&mut self) {
        loop {
            let more = self.world.advance();
            for noticed in self.world.noticed() {
                match noticed {
                    Noticed::Bytes(wire, bytes) => self.received.entry(wire).or_default().extend(bytes),
                    Noticed::Closed(wire) => self.closed.push(wire),
                }
            }
            if !more && !self.world.jump(5_000) {
                return;
            }
        }
    }
}

impl Place for Simulated {
    fn connect(&mut self, protocol: Protocol) -> usize {
        self.world.connect(Listener { protocol, security: Security::Off })
    }

    fn send(&mut self, client: usize, bytes: &[u8]) {
        self.world.send(client, bytes);
    }

    fn receive(&mut self, client: usize, _: Duration) -> Option<Vec<u8>> {
        self.settle();
        let bytes = self.received.remove(&client);
        bytes.or_else(|| self.closed.contains(&client).then(Vec::new))
    }

    fn close(&mut self, client: usize) {
        self.world.hang_up(client);
        self.settle();
    }
}

/// A server that listens on this machine.
pub struct Listening {
    irc: SocketAddr,
    xmpp: SocketAddr,
    http: SocketAddr,
    sockets: Vec<Option<TcpStream>>,
}

impl Listening {
    /// One that listens there, or will soon.
    pub fn new([irc, xmpp, http]: [SocketAddr; 3]) -> Listening {
        Listening { irc, xmpp, http, sockets: Vec::new() }
    }
}

impl Place for Listening {
    /// # Panics
    /// When the server does not listen within ten seconds.
    fn connect(&mut self, protocol: Protocol) -> usize {
        let to = match protocol {
            Protocol::Irc => self.irc,
            Protocol::Xmpp => self.xmpp,
            Protocol::Http | Protocol::Control => self.http,
        };
        let until = Instant::now() + Duration::from_secs(10);
        let socket = loop {
            match TcpStream::connect(to) {
                Ok(socket) => break socket,
                Err(e) if Instant::now() > until => panic!("{to}: {e}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        self.sockets.push(Some(socket));
        self.sockets.len() - 1
    }

    fn send(&mut self, client: usize, bytes: &[u8]) {
        if let Some(socket) = &mut self.sockets[client] {
            // A connection that the server closed tells so when it is read.
            let _ = socket.write_all(bytes);
        }
    }

    fn receive(&mut self, client: usize, within: Duration) -> Option<Vec<u8>> {
        let socket = self.sockets[client].as_mut()?;
        socket.set_read_timeout(Some(within)).expect("a time above zero");
        let mut buffer = vec![0; 16 * 1024];
        match socket.read(&mut buffer) {
            Ok(n) => {
                buffer.truncate(n);
                Some(buffer)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(_) => Some(Vec::new()),
        }
    }

    fn close(&mut self, client: usize) {
        self.sockets[client] = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{all, run::play};

    #[test]
    fn all_scenarios_come_true_with_any_number_of_workers() {
        let mut wrong = Vec::new();
        for (name, scenario) in all() {
            for workers in [1, 2, 4] {
                if let Err(why) = play(&scenario, &mut Simulated::new(workers, 7 + u64::from(workers))) {
                    wrong.push(format!("{name} with {workers} workers: {why}"));
                    break;
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }
}
