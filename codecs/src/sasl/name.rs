//! The name given at login.

use smol_str::SmolStr;

/// Longest login name in bytes, as sent.
const MAX_NAME: usize = 320;

/// Who wants to log in, read the same way on every protocol: in any letter case, as `alice`, as `alice@example.org`, as
/// `alice@example.org/phone` or as `alice@phone`. The last two name a *device*, for replaying what it missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginName {
    /// The account, with ASCII letters in lower case. Not yet validated: it may be no possible account at all.
    pub account: SmolStr,
    /// The device, as written.
    pub device: Option<SmolStr>,
}

impl LoginName {
    /// Reads a name on the server of `domain`. `None` when it is empty, longer than 320 bytes or holds a control
    /// character.
    pub fn parse(raw: &str, domain: &str) -> Option<Self> {
        if raw.len() > MAX_NAME || raw.chars().any(char::is_control) {
            return None;
        }
        let (local, device) = match raw.split_once('@') {
            None => (raw, None),
            Some((local, rest)) => {
                let (host, resource) = rest.split_once('/').map_or((rest, None), |(h, r)| (h, Some(r)));
                if host.eq_ignore_ascii_case(domain) { (local, resource) } else { (local, Some(rest)) }
            }
        };
        if local.is_empty() {
            return None;
        }
        let device = device.filter(|d| !d.is_empty()).map(SmolStr::new);
        Some(Self { account: SmolStr::new(local.to_ascii_lowercase()), device })
    }

    /// Whether an authorisation identity names this same account; an empty or absent one always does. `authcid` is the
    /// name as the client wrote it: saying the same twice is fine. Otherwise what follows an `@` must be our domain: the
    /// identity is the one place where `alice@elsewhere` would be a claim to be somebody of another server.
    pub(super) fn allows(&self, authzid: Option<&str>, authcid: &str, domain: &str) -> bool {
        match authzid {
            None | Some("") => true,
            Some(same) if same == authcid => true,
            Some(other) => {
                let (local, rest) = other.split_once('@').map_or((other, None), |(l, r)| (l, Some(r)));
                let host = rest.map(|r| r.split_once('/').map_or(r, |(h, _)| h));
                local.eq_ignore_ascii_case(&self.account)
                    && host.is_none_or(|h| h.eq_ignore_ascii_case(domain))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(raw: &str) -> Option<(String, Option<String>)> {
        LoginName::parse(raw, "example.org").map(|n| (n.account.to_string(), n.device.map(|d| d.to_string())))
    }

    #[test]
    fn all_ways_to_write_a_name() {
        let alice = |device: Option<&str>| Some(("alice".to_owned(), device.map(str::to_owned)));
        assert_eq!(parts("alice"), alice(None));
        assert_eq!(parts("ALICE"), alice(None));
        assert_eq!(parts("alice@Example.ORG"), alice(None));
        assert_eq!(parts("alice@example.org/Phone"), alice(Some("Phone")));
        assert_eq!(parts("alice@Phone"), alice(Some("Phone")));
        assert_eq!(parts("alice@"), alice(None));
        assert_eq!(parts("@example.org"), None);
        assert_eq!(parts(""), None);
        assert_eq!(parts("al\nice"), None);
        assert_eq!(parts(&"a".repeat(321)), None);
    }

    #[test]
    fn the_authorisation_identity_must_be_the_account() {
        let alice = LoginName::parse("alice@phone", "example.org").expect("a name");
        let allows = |authzid| alice.allows(authzid, "alice@phone", "example.org");
        for same in [None, Some(""), Some("alice"), Some("ALICE@example.org/x"), Some("alice@phone")] {
            assert!(allows(same), "{same:?}");
        }
        for other in
            ["bob", "alice2", "@", "bob@example.org", "alice@tablet", "alice@elsewhere.org", "alice@"]
        {
            assert!(!allows(Some(other)), "{other}");
        }
    }
}
