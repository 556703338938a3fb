//! A device: a client that has logged in, as long as it is logged in.

pub mod stamp;
pub mod sync;

use super::task::Who;
use super::token::{Kind, Token};
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience, Command, EntityId};
use lavina_core::row;
use lavina_core::text::{Octets, Str};
use lavina_core::time::UnixMillis;
use minicbor::{Decode, Encode};
use std::collections::VecDeque;
use std::sync::Arc;
use sync::Sync;

/// What the records of devices are called among the account's named values.
pub const KEY: &str = "m.device/";

/// What the names of values begin with that say when a device was last seen. They are beside the records: who wrote one
/// of those anew at that moment could bring back a device that just ended.
pub const SEEN: &str = "m.seen/";

/// Milliseconds after which it is noted again that a device is seen.
pub const SEEN_STEP: u64 = 3_600_000;

/// Transactions remembered; above: the oldest is forgotten.
const TRANSACTIONS: usize = 128;

/// A device that is there.
pub struct Device {
    /// Whose, and which.
    pub who: Arc<Who>,
    /// Its record.
    pub row: DeviceRow,
    /// What happened, for `/sync`.
    pub sync: Sync,
    /// When it was last noted that it is seen.
    noted: UnixMillis,
    /// The latest transactions that leave no entry behind by which a repeat would be known.
    transactions: VecDeque<Str>,
}

impl Device {
    /// A device with its record. `seen`: when it was last noted that it is seen.
    pub fn new(who: Who, row: DeviceRow, seen: UnixMillis) -> Device {
        let sync = Sync::new(&who);
        Device { sync, who: Arc::new(who), row, noted: seen, transactions: VecDeque::new() }
    }

    /// It is seen: the command that notes it, if that was not done lately.
    pub fn is_seen(&mut self, now: UnixMillis) -> Option<Command> {
        if now.0.saturating_sub(self.noted.0) < SEEN_STEP {
            return None;
        }
        self.noted = now;
        let key = Str::new(format!("{SEEN}{}", self.who.device));
        let values = vec![(key, Octets::from(now.0.to_string().into_bytes()))];
        let act = Act::SetAttrs { values, tell: Audience::Nobody, native: None };
        Some(Command::by(&self.who.user, EntityId::Account(self.who.user.id), act))
    }

    /// False: this transaction was made before, and not long ago.
    pub fn first_time(&mut self, transaction: Str) -> bool {
        if self.transactions.contains(&transaction) {
            return false;
        }
        if self.transactions.len() >= TRANSACTIONS {
            self.transactions.pop_front();
        }
        self.transactions.push_back(transaction);
        true
    }
}

/// The record of a device: a named value of its account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct DeviceRow {
    /// The name for people.
    #[n(0)]
    pub name: Option<Str>,
    /// The tokens in use.
    #[n(1)]
    pub tokens: Pair,
    /// Tokens given out by a refresh and not used yet: with their first use they take the place of the others.
    #[n(2)]
    pub next: Option<Pair>,
    /// When it logged in.
    #[n(3)]
    pub created: UnixMillis,
    /// When it was last seen as of that record, see [`DeviceRow::last_seen`].
    #[n(4)]
    pub seen: UnixMillis,
}

/// An access token, and the refresh token that came with it: their hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Pair {
    /// Of the access token.
    #[n(0)]
    pub access: Octets,
    /// When the access token ends; never, where there is no refresh token.
    #[n(1)]
    pub until: Option<UnixMillis>,
    /// Of the refresh token.
    #[n(2)]
    pub refresh: Option<Octets>,
}

impl DeviceRow {
    /// The name of a device's record.
    pub fn key(device: &str) -> Str {
        Str::new(format!("{KEY}{device}"))
    }

    /// A device's record.
    pub fn find(account: &Account, device: &str) -> Option<DeviceRow> {
        account.attrs.get(&DeviceRow::key(device)).and_then(|value| DeviceRow::read(value))
    }

    /// All devices of an account with their records, by name.
    pub fn all(account: &Account) -> impl Iterator<Item = (&str, DeviceRow)> {
        let from = account.attrs.range(Str::new(KEY)..);
        from.map_while(|(key, value)| Some((key.strip_prefix(KEY)?, value)))
            .filter_map(|(device, value)| Some((device, DeviceRow::read(value)?)))
    }

    /// When the device was last seen, to an hour.
    pub fn last_seen(&self, account: &Account, device: &str) -> UnixMillis {
        let noted = account.attrs.get(&Str::new(format!("{SEEN}{device}")));
        let noted = noted.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).map(UnixMillis);
        noted.map_or(self.seen, |noted| noted.max(self.seen))
    }

    /// Reads a record; an empty one is none.
    pub fn read(value: &[u8]) -> Option<DeviceRow> {
        row::decode(value)
    }

    /// The command that stores it.
    pub fn command(&self, who: &Who) -> Command {
        let values = vec![(DeviceRow::key(&who.device), Octets::from(row::encode(self)))];
        let act = Act::SetAttrs { values, tell: Audience::Own, native: None };
        Command::by(&who.user, EntityId::Account(who.user.id), act)
    }

    /// Whether the token is one of this device that still holds.
    pub fn knows(&self, token: &Token, now: UnixMillis) -> bool {
        token.kind == Kind::Access && self.accepts(token, now).is_ok()
    }

    /// Whether an access token is good: true when it is one of [`DeviceRow::next`]. The error says whether a refresh
    /// token would help.
    ///
    /// # Errors
    /// It is not, or no longer.
    pub fn accepts(&self, token: &Token, now: UnixMillis) -> Result<bool, bool> {
        let ended = |pair: &Pair| pair.until.is_some_and(|until| until <= now);
        match &self.next {
            Some(next) if token.is(&next.access) => {
                if ended(next) {
                    Err(true)
                } else {
                    Ok(true)
                }
            }
            _ if token.is(&self.tokens.access) => {
                if ended(&self.tokens) {
                    Err(true)
                } else {
                    Ok(false)
                }
            }
            _ => Err(false),
        }
    }

    /// The tokens given out last are in use: those before them end.
    pub fn promote(&mut self) {
        if let Some(next) = self.next.take() {
            self.tokens = next;
        }
    }
}
