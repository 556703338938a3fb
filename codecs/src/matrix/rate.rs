//! How often things may be asked for that are costly, or that somebody could guess at (client-server API, "Rate
//! limiting"). Above: 429 `M_LIMIT_EXCEEDED`, which says when to try again.
//!
//! | what | of whom | at once | then one each |
//! |---|---|---|---|
//! | passwords at the login | address and name | 20 | 10 s |
//! | logins | address | 60 | 2 s |
//! | new accounts | address | 20 | 30 s |
//! | looking for names and tokens | address | 60 | 1 s |
//! | passwords that confirm something | device | 10 | 10 s |
//! | whatever a room or somebody else sees | device | `Limits::flood_burst` | `Limits::flood_rate` |
//!
//! The counts are each agent's own: those of addresses the front's of each worker. They go with it. Where flood control
//! is off, nothing is counted. The last row is what the other protocols' sessions may spend too.

use super::error::Error;
use super::route::Route;
use crate::http::request::Method;
use lavina_core::limits::Limits;
use lavina_core::text::Str;
use lavina_core::time::Mono;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Addresses and names counted at a time; above, those that owe least are forgotten.
pub const COUNTED: usize = 4_096;

/// What something costs that a room or somebody else sees, in the measure of `Limits::flood_burst`: with the usual limits
/// that is a hundred at once, and then ten a second. It is a fifth of what a stanza costs, because it is refused, not
/// slowed down.
pub const WRITE: u64 = 200;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A password at the login.
    Password,
    /// A login.
    Login,
    /// A new account.
    Register,
    /// A look whether a name or a token is there.
    Guess,
    /// A password that confirms something.
    Confirm,
    /// What others see.
    Write,
}

impl What {
    /// How much at once, the cost of one, and how much is earned in a second.
    fn rule(self, limits: &Limits) -> (u64, u64, u64) {
        // In thousandths: one each ten seconds is a hundred of them a second.
        match self {
            What::Password => (20_000, 1_000, 100),
            What::Login => (60_000, 1_000, 500),
            What::Register => (20_000, 1_000, 33),
            What::Guess => (60_000, 1_000, 1_000),
            What::Confirm => (10_000, 1_000, 100),
            What::Write => (limits.flood_burst.into(), WRITE, limits.flood_rate.into()),
        }
    }
}

/// What was spent.
#[derive(Debug, Default)]
pub struct Rates {
    owed: BTreeMap<(What, Str), (u64, Mono)>,
}

impl Rates {
    /// Spends one.
    ///
    /// # Errors
    /// 429 with the time after which it will do.
    pub fn spend(&mut self, what: What, whose: &Str, now: Mono, limits: &Limits) -> Result<(), Error> {
        let (burst, cost, rate) = what.rule(limits);
        if limits.flood_burst == 0 || limits.flood_rate == 0 {
            return Ok(());
        }
        let key = (what, whose.clone());
        let (owed, at) = self.owed.get(&key).copied().unwrap_or((0, now));
        let owed = owed.saturating_sub(now.since(at).saturating_mul(rate) / 1_000) + cost;
        if let Some(over) = owed.checked_sub(burst).filter(|over| *over > 0) {
            return Err(Error::limit_exceeded((over * 1_000).div_ceil(rate)));
        }
        if self.owed.len() >= COUNTED && !self.owed.contains_key(&key) {
            self.forget(now, limits);
        }
        self.owed.insert(key, (owed, now));
        Ok(())
    }

    /// Half of what is counted goes: whoever owes nothing any more, then whoever owes least.
    fn forget(&mut self, now: Mono, limits: &Limits) {
        let left = |what: What, owed: u64, at: Mono| {
            owed.saturating_sub(now.since(at).saturating_mul(what.rule(limits).2) / 1_000)
        };
        let mut all: Vec<u64> = self.owed.iter().map(|((w, _), (owed, at))| left(*w, *owed, *at)).collect();
        all.sort_unstable();
        let middle = all.get(all.len() / 2).copied().unwrap_or(0);
        self.owed.retain(|(w, _), (owed, at)| left(*w, *owed, *at) > middle);
    }
}

/// The endpoints whose use others see, or that cost much: the method and the end of the path.
const COUNTED_ROUTES: &[(Method, &str, What)] = &[
    (Method::Post, "/v3/login", What::Login),
    (Method::Get, "/v3/register/available", What::Guess),
    (Method::Get, "/v1/register/m.login.registration_token/validity", What::Guess),
    (Method::Post, "/v3/createRoom", What::Write),
    (Method::Post, "/v3/join/{room}", What::Write),
    (Method::Post, "/v3/knock/{room}", What::Write),
    (Method::Post, "/v3/rooms/{room}/join", What::Write),
    (Method::Post, "/v3/rooms/{room}/leave", What::Write),
    (Method::Post, "/v3/rooms/{room}/invite", What::Write),
    (Method::Post, "/v3/rooms/{room}/kick", What::Write),
    (Method::Post, "/v3/rooms/{room}/ban", What::Write),
    (Method::Post, "/v3/rooms/{room}/unban", What::Write),
    (Method::Post, "/v3/rooms/{room}/upgrade", What::Write),
    (Method::Put, "/v3/rooms/{room}/send/{type}/{txn}", What::Write),
    (Method::Put, "/v3/rooms/{room}/redact/{event}/{txn}", What::Write),
    (Method::Put, "/v3/rooms/{room}/state/{type}", What::Write),
    (Method::Put, "/v3/rooms/{room}/state/{type}/{key}", What::Write),
];

/// What a request to an endpoint counts as, if it counts.
pub fn of(route: &Route) -> Option<What> {
    let path = route.path.strip_prefix("/_matrix/client")?;
    COUNTED_ROUTES.iter().find(|(method, p, _)| *method == route.method && *p == path).map(|(.., what)| *what)
}

/// Who is counted as one: an address, of IPv6 its /64; none for a local socket, which is not counted.
pub fn whose(peer: Option<SocketAddr>) -> Option<Str> {
    Some(Str::new(match peer?.ip().to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_spent_comes_back_with_time() {
        let (mut rates, limits, who) = (Rates::default(), Limits::default(), Str::new("a"));
        let mut spend = |at, who: &Str| rates.spend(What::Password, who, Mono(at), &limits);
        for _ in 0..20 {
            spend(1_000, &who).unwrap();
        }
        let error = spend(1_000, &who).unwrap_err();
        assert_eq!((error.status, error.code), (429, "M_LIMIT_EXCEEDED"));
        assert_eq!(error.more, [("retry_after_ms", 10_000.into())]);
        // What is refused costs nothing.
        spend(11_000, &who).unwrap();
        assert!(spend(11_000, &who).is_err());
        spend(11_000, &Str::new("b")).unwrap();
    }

    #[test]
    fn without_flood_control_nothing_is_counted() {
        let limits = Limits { flood_burst: 0, ..Limits::default() };
        let mut rates = Rates::default();
        for _ in 0..1_000 {
            rates.spend(What::Write, &Str::new("a"), Mono(0), &limits).unwrap();
        }
        assert!(rates.owed.is_empty());
    }

    #[test]
    fn the_counts_are_bounded() {
        let (mut rates, limits) = (Rates::default(), Limits::default());
        let heavy = Str::new("heavy");
        for _ in 0..20 {
            rates.spend(What::Password, &heavy, Mono(0), &limits).unwrap();
        }
        for n in 0..3 * COUNTED {
            rates.spend(What::Password, &Str::new(n.to_string()), Mono(0), &limits).unwrap();
        }
        assert!(rates.owed.len() <= COUNTED);
        assert!(rates.spend(What::Password, &heavy, Mono(0), &limits).is_err());
    }

    #[test]
    fn what_counts_is_there() {
        let found = Route::all().filter(|route| of(route).is_some()).count();
        assert_eq!(found, COUNTED_ROUTES.len());
    }

    #[test]
    fn one_site_is_one() {
        let of = |s: &str| whose(Some(s.parse().unwrap()));
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::2]:1"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_eq!(of("192.0.2.1:5"), of("[::ffff:192.0.2.1]:6"));
        assert_eq!(whose(None), None);
    }
}
