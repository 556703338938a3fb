//! Making accounts, the same way for every protocol: the commands that do it, and invitations.

use crate::sasl::Credential;
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::event::Actor;
use lavina_core::ids::{AccountId, ShardId};
use lavina_core::name::{NameKey, UserName};
use lavina_core::text::{Octets, Str};
use lavina_core::time::UnixMillis;
use sha2::{Digest, Sha256};

/// Bytes of randomness in an invitation.
pub const INVITE_BYTES: usize = 15;

/// Values of an account that everybody may see, the same on every protocol, are kept under keys that begin so.
pub const PUBLIC: &str = "public/";

/// The display name.
pub const DISPLAY_NAME: &str = "public/display-name";

/// The address of the avatar.
pub const AVATAR: &str = "public/avatar";

/// Longest invitation accepted, in bytes as typed.
const MAX_INVITE: usize = 64;

/// How an account comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By<'a> {
    /// Because registration is open to all.
    Anybody,
    /// With this invitation.
    Invite(&'a str),
    /// By the operator.
    Operator {
        /// Whether it is an administrator.
        admin: bool,
    },
}

/// A fresh id for an account, of 64 random bits.
pub fn fresh_id(random: u64, shards: u8) -> AccountId {
    // The shard comes from other bits than those that stay in the id.
    let shard = ShardId((random.rotate_left(8) & (u64::from(shards) - 1)) as u8);
    AccountId::fresh(random, shard, shards, false)
}

/// The command that makes an account; its answer is `Value::User`, or a refusal (`NameTaken`, `BadInvite`). `None` if
/// the invitation cannot be one.
pub fn register(
    name: &UserName,
    id: AccountId,
    credential: &Credential,
    by: By<'_>,
    now: UnixMillis,
) -> Option<Command> {
    let credential = Octets::from(credential.encode());
    let to_name = EntityId::Name(NameKey::User(name.clone()));
    let register =
        |admin| Act::Register { id, name: name.clone(), credential: credential.clone(), admin, invite: None };
    let (to, act) = match by {
        By::Anybody => (to_name, register(false)),
        By::Operator { admin } => (to_name, register(admin)),
        By::Invite(token) => {
            let credential = credential.clone();
            let act = Act::RedeemInvite { name: name.clone(), id, credential, now: now.0 };
            (EntityId::Name(invite_key(token)?), act)
        }
    };
    Some(Command { to, by: Actor::Server, once: None, act })
}

/// An invitation as people read, type and paste it: 24 letters and digits in groups of four.
pub fn invite_token(random: [u8; INVITE_BYTES]) -> String {
    let plain = BASE32_NOPAD.encode(&random).to_ascii_lowercase();
    let groups: Vec<&str> =
        (0..plain.len()).step_by(4).map(|at| &plain[at..(at + 4).min(plain.len())]).collect();
    groups.join("-")
}

/// The name under which an invitation is kept: a hash, so that the store does not betray it. Letter case, spaces and
/// dashes do not matter. `None` for what cannot be one.
pub fn invite_key(token: &str) -> Option<NameKey> {
    if token.len() > MAX_INVITE {
        return None;
    }
    let plain: String = token.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    if plain.is_empty() || !plain.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let digest = Sha256::digest(plain.to_ascii_lowercase());
    Some(NameKey::Invite(Str::new(HEXLOWER.encode(&digest))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invitations_may_be_typed_carelessly() {
        let token = invite_token([7; INVITE_BYTES]);
        assert_eq!(token.len(), 29, "{token}");
        let key = invite_key(&token).expect("a token");
        assert_eq!(invite_key(&token.to_uppercase()), Some(key.clone()));
        assert_eq!(invite_key(&token.replace('-', " ")), Some(key.clone()));
        assert_eq!(invite_key(&token.replace('-', "")), Some(key.clone()));
        assert_ne!(invite_key(&invite_token([8; INVITE_BYTES])), Some(key));
        for bad in ["", "--", "ab/cd", "ä", &"a".repeat(65)] {
            assert_eq!(invite_key(bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_spread_over_all_shards() {
        let mut seen = [false; 64];
        for n in 0..1000_u64 {
            let id = fresh_id(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), 64);
            assert!(!id.is_transient());
            seen[usize::from(id.shard(64).0)] = true;
        }
        assert!(seen.iter().all(|s| *s));
    }
}
