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
    /// The latest transactions that leave no entry behind by which a repeat would be known.
    transactions: VecDeque<Str>,
}

impl Device {
    /// A device with its record.
    pub fn new(who: Who, row: DeviceRow) -> Device {
        Device { sync: Sync::new(&who), who: Arc::new(who), row, transactions: VecDeque::new() }
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
    /// When it was last seen, roughly.
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
