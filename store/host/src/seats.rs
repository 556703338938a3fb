//! How many connections there are, and from where: each holds a seat, which it gives back when it ends.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

/// Descriptors left for everything that is no connection: the store, listeners, logs, the reload.
pub const RESERVED_DESCRIPTORS: u64 = 64;

/// The seats of the whole server.
pub struct Seats {
    taken: AtomicUsize,
    limit: AtomicUsize,
    per_network: AtomicUsize,
    networks: Mutex<HashMap<Network, usize>>,
    /// Somebody waits for a seat.
    wanted: AtomicBool,
    freed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// Where a connection comes from: an IPv4 address, or the /64 of an IPv6 one, which is one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    V6(u64),
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSeat {
    /// All are taken: accepting pauses until one is free.
    Full,
    /// Too many from one address: this one is closed.
    Address,
}

/// A connection's seat, free again when dropped.
pub struct Seat {
    seats: Arc<Seats>,
    network: Option<Network>,
}

impl Seats {
    /// So many seats, and so many of them for one address (zero: any number).
    pub fn new(limit: usize, per_address: usize) -> Arc<Seats> {
        Arc::new(Seats {
            taken: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            per_network: AtomicUsize::new(per_address),
            networks: Mutex::default(),
            wanted: AtomicBool::new(false),
            freed: OnceLock::new(),
        })
    }

    /// Other limits; who is seated stays.
    pub fn set_limits(&self, limit: usize, per_address: usize) {
        self.limit.store(limit, SeqCst);
        self.per_network.store(per_address, SeqCst);
        self.call();
    }

    /// Says whom to call when a seat is free again after [`NoSeat::Full`].
    pub fn on_free(&self, call: impl Fn() + Send + Sync + 'static) {
        assert!(self.freed.set(Box::new(call)).is_ok(), "one thread accepts");
    }

    /// True: another connection may be accepted. Else `on_free` is called once one may.
    pub fn is_free(&self) -> bool {
        let free = || self.taken.load(SeqCst) < self.limit.load(SeqCst);
        if free() {
            return true;
        }
        // Ask first, look again then: a seat given back in between calls for nothing, but is seen.
        self.wanted.store(true, SeqCst);
        free()
    }

    /// Seats a connection.
    ///
    /// # Errors
    /// [`NoSeat`].
    pub fn take(self: &Arc<Seats>, peer: Option<IpAddr>) -> Result<Seat, NoSeat> {
        if !self.is_free() {
            return Err(NoSeat::Full);
        }
        self.taken.fetch_add(1, SeqCst);
        let mut seat = Seat { seats: self.clone(), network: None };
        match peer {
            Some(peer) => seat.from(peer).map(|()| seat),
            None => Ok(seat),
        }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(SeqCst)
    }

    fn call(&self) {
        if self.wanted.swap(false, SeqCst)
            && let Some(call) = self.freed.get()
        {
            call();
        }
    }

    fn networks(&self) -> std::sync::MutexGuard<'_, HashMap<Network, usize>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The connection really comes from `peer` (a proxy said so). Loopback is not counted: it is a
    /// proxy, or this machine's own administrator.
    ///
    /// # Errors
    /// [`NoSeat::Address`].
    pub fn from(&mut self, peer: IpAddr) -> Result<(), NoSeat> {
        self.leave_network();
        let peer = peer.to_canonical();
        if peer.is_loopback() {
            return Ok(());
        }
        let network = match peer {
            IpAddr::V4(a) => Network::V4(a.to_bits()),
            IpAddr::V6(a) => Network::V6((a.to_bits() >> 64) as u64),
        };
        let most = self.seats.per_network.load(SeqCst);
        let mut networks = self.seats.networks();
        let count = networks.entry(network).or_default();
        if most != 0 && *count >= most {
            return Err(NoSeat::Address);
        }
        *count += 1;
        drop(networks);
        self.network = Some(network);
        Ok(())
    }

    fn leave_network(&mut self) {
        let Some(network) = self.network.take() else { return };
        let mut networks = self.seats.networks();
        if let Some(count) = networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&network);
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave_network();
        self.seats.taken.fetch_sub(1, SeqCst);
        self.seats.call();
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seat").field(&self.network).finish()
    }
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seats")
            .field("taken", &self.taken)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_seat_calls_once() {
        let seats = Seats::new(1, 0);
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        seats.on_free(move || {
            counted.fetch_add(1, SeqCst);
        });
        let seat = seats.take(None).expect("a seat");
        drop(seat);
        assert_eq!(calls.load(SeqCst), 0, "nobody waits");
        let seat = seats.take(None).expect("a seat");
        assert_eq!(seats.take(None).err(), Some(NoSeat::Full));
        drop(seat);
        assert_eq!(calls.load(SeqCst), 1);
        assert!(seats.is_free());
    }

    #[test]
    fn one_address_takes_its_share() {
        let seats = Seats::new(100, 2);
        let take = |ip: &str| seats.take(Some(ip.parse().expect("an address")));
        let (a, b) = (take("192.0.2.1").expect("first"), take("::ffff:192.0.2.1").expect("second"));
        assert_eq!(take("192.0.2.1").err(), Some(NoSeat::Address));
        drop(a);
        let c = take("192.0.2.1").expect("again");
        let d = [take("2001:db8::1"), take("2001:db8::2")];
        assert_eq!(take("2001:db8::3").err(), Some(NoSeat::Address), "one /64 is one");
        let e = [take("127.0.0.1"), take("127.0.0.1"), take("127.0.0.1")];
        assert!(e.iter().all(Result::is_ok));
        assert_eq!(seats.taken(), 7);
        drop((b, c, d, e));
        assert_eq!((seats.taken(), seats.networks().len()), (0, 0));
    }
}
