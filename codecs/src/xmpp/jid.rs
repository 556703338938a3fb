//! Addresses (RFC 7622): `local@domain/resource`, prepared once, compared as bytes for ever after.
//!
//! The localpart follows PRECIS UsernameCaseMapped, the resource OpaqueString. Domains are kept as lower-case
//! A-labels, so that one domain has one spelling on every protocol.

use crate::xmpp::precis;
use smol_str::SmolStr;
use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Bytes of each of the three parts at most (RFC 7622 §3.1).
pub const MAX_PART: usize = 1023;

/// What is wrong with an address; always the fault of who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JidError {
    /// The localpart is empty, too long or has a forbidden character.
    #[error("bad localpart")]
    Local,
    /// The domain is empty, too long or no domain name.
    #[error("bad domain")]
    Domain,
    /// The resource is empty, too long or has a forbidden character.
    #[error("bad resource")]
    Resource,
}

/// An address, prepared: equal addresses are equal as bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jid {
    text: SmolStr,
    /// Bytes of the localpart; 0 if there is none.
    local: u16,
    /// Where the domain ends.
    bare: u16,
}

impl Jid {
    /// Reads and prepares an address.
    ///
    /// # Errors
    /// Which part is bad.
    pub fn new(text: &str) -> Result<Jid, JidError> {
        // The order of the splits is that of RFC 7622 §3.1: a resource may contain `@` and `/`.
        let (bare, resource) = match text.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (text, None),
        };
        let (local, domain) = match bare.split_once('@') {
            Some((local, domain)) => (Some(local), domain),
            None => (None, bare),
        };
        Jid::from_parts(local, domain, resource)
    }

    /// Prepares an address given in parts.
    ///
    /// # Errors
    /// Which part is bad.
    pub fn from_parts(local: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Jid, JidError> {
        let local = local.map(prepare_local).transpose()?;
        let domain = prepare_domain(domain)?;
        let resource = resource.map(prepare_resource).transpose()?;
        Ok(Jid::assemble(local.as_deref(), &domain, resource.as_deref()))
    }

    /// The bare address of a local part that is prepared already, at a domain that is prepared already.
    ///
    /// For names of our own making; nothing is checked.
    pub fn prepared(local: Option<&str>, domain: &str, resource: Option<&str>) -> Jid {
        Jid::assemble(local, domain, resource)
    }

    fn assemble(local: Option<&str>, domain: &str, resource: Option<&str>) -> Jid {
        let mut text = String::with_capacity(
            local.map_or(0, |l| l.len() + 1) + domain.len() + resource.map_or(0, |r| r.len() + 1),
        );
        if let Some(local) = local {
            text.push_str(local);
            text.push('@');
        }
        text.push_str(domain);
        let bare = text.len();
        if let Some(resource) = resource {
            text.push('/');
            text.push_str(resource);
        }
        let size = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        Jid { text: text.into(), local: size(local.map_or(0, str::len)), bare: size(bare) }
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The localpart.
    pub fn local(&self) -> Option<&str> {
        (self.local > 0).then(|| &self.text[..usize::from(self.local)])
    }

    /// The domain.
    pub fn domain(&self) -> &str {
        let from = if self.local > 0 { usize::from(self.local) + 1 } else { 0 };
        &self.text[from..usize::from(self.bare)]
    }

    /// The resource.
    pub fn resource(&self) -> Option<&str> {
        self.text.get(usize::from(self.bare) + 1..)
    }

    /// Whether there is no resource.
    pub fn is_bare(&self) -> bool {
        self.text.len() == usize::from(self.bare)
    }

    /// The address without resource, as text.
    pub fn bare_str(&self) -> &str {
        &self.text[..usize::from(self.bare)]
    }

    /// The address without resource.
    pub fn bare(&self) -> Jid {
        Jid { text: SmolStr::new(self.bare_str()), ..*self }
    }

    /// The same bare address with another resource.
    ///
    /// # Errors
    /// [`JidError::Resource`] if the resource is bad.
    pub fn with_resource(&self, resource: &str) -> Result<Jid, JidError> {
        let resource = prepare_resource(resource)?;
        Ok(Jid::assemble(self.local(), self.domain(), Some(&resource)))
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jid({})", self.text)
    }
}

impl FromStr for Jid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Jid, JidError> {
        Jid::new(text)
    }
}

/// A localpart by PRECIS UsernameCaseMapped, without the characters RFC 7622 §3.3.1 excludes.
///
/// # Errors
/// [`JidError::Local`].
pub fn prepare_local(text: &str) -> Result<Cow<'_, str>, JidError> {
    if text.len() > 4 * MAX_PART {
        return Err(JidError::Local);
    }
    // All of the common names are left as they are; the profile costs a few microseconds.
    let plain = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'+' | b'#' | b'=');
    let local = if text.as_bytes().iter().all(plain) {
        Cow::Borrowed(text)
    } else {
        let local = precis::username(text).ok_or(JidError::Local)?;
        if local.contains(['"', '&', '\'', '/', ':', '<', '>', '@']) {
            return Err(JidError::Local);
        }
        Cow::Owned(local)
    };
    if local.is_empty() || local.len() > MAX_PART { Err(JidError::Local) } else { Ok(local) }
}

/// A resource by PRECIS OpaqueString.
///
/// # Errors
/// [`JidError::Resource`].
pub fn prepare_resource(text: &str) -> Result<Cow<'_, str>, JidError> {
    if text.len() > 4 * MAX_PART {
        return Err(JidError::Resource);
    }
    let resource = precis::opaque(text).ok_or(JidError::Resource)?;
    if resource.is_empty() || resource.len() > MAX_PART { Err(JidError::Resource) } else { Ok(resource) }
}

/// A domain as lower-case A-labels without a final dot; or an address literal (`[…]` for IPv6).
///
/// # Errors
/// [`JidError::Domain`].
pub fn prepare_domain(text: &str) -> Result<Cow<'_, str>, JidError> {
    if let Some(v6) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        let address = Ipv6Addr::from_str(v6).map_err(|_| JidError::Domain)?;
        return Ok(Cow::Owned(format!("[{address}]")));
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let plain = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let domain = if text.len() <= MAX_NAME && text.as_bytes().iter().all(plain) && !text.contains("xn--") {
        Cow::Borrowed(text)
    } else if text.len() > MAX_PART {
        return Err(JidError::Domain);
    } else {
        Cow::Owned(idna::domain_to_ascii(text).map_err(|_| JidError::Domain)?)
    };
    if is_domain_name(&domain) { Ok(domain) } else { Err(JidError::Domain) }
}

/// Bytes of a domain name at most (RFC 1035 §2.3.4, without the root's byte).
const MAX_NAME: usize = 253;

fn is_domain_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= MAX_NAME && name.split('.').all(label) && (!numeric || Ipv4Addr::from_str(name).is_ok())
}

/// Writes a name of another protocol as a localpart: each byte that is not safe becomes `=` and two hex digits.
pub fn esc(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if is_safe(byte) {
            out.push(char::from(byte));
        } else {
            out.push('=');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

/// The name behind what [`esc`] wrote; none for any other text, so that a name has one escaped form only.
pub fn unesc(escaped: &str) -> Option<String> {
    let mut out = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'=' {
            let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
            out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            out.push(byte);
        }
    }
    let name = String::from_utf8(out).ok()?;
    (esc(&name) == escaped).then_some(name)
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn is_safe(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'+' | b'[' | b']' | b'^' | b'{' | b'}'
        | b'|' | b'#' | b'~' | b'!')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        assert_eq!(Jid::new(text).ok().map(|j| j.to_string()).as_deref(), want, "{text:?}");
    }

    #[test]
    fn the_parts_are_found() {
        let jid = Jid::new("Juliet@Example.COM./foo@bar/baz").unwrap();
        assert_eq!(jid.as_str(), "juliet@example.com/foo@bar/baz");
        assert_eq!(
            (jid.local(), jid.domain(), jid.resource()),
            (Some("juliet"), "example.com", Some("foo@bar/baz"))
        );
        assert_eq!(jid.bare().as_str(), "juliet@example.com");
        assert!(jid.bare().is_bare() && !jid.is_bare());
        assert_eq!(jid.bare(), Jid::new("juliet@example.com").unwrap());
        let server = Jid::new("example.com").unwrap();
        assert_eq!((server.local(), server.domain(), server.resource()), (None, "example.com", None));
        assert_eq!(server.with_resource("x").unwrap().as_str(), "example.com/x");
    }

    #[test]
    fn examples_of_rfc_7622() {
        for good in [
            "juliet@example.com",
            "juliet@example.com/foo",
            "juliet@example.com/foo bar",
            "juliet@example.com/foo@bar",
            "foo\\20bar@example.com",
            "fußball@example.com",
            "π@example.com",
            "π@example.com/♚",
            "king@example.com/♚",
            "example.com",
            "example.com/foobar",
            "a.example.com/b@example.net",
        ] {
            check(good, Some(good));
        }
        check("Σ@example.com/foo", Some("σ@example.com/foo"));
        check("ς@example.com/foo", Some("ς@example.com/foo"));
        for bad in [
            "\"juliet\"@example.com",
            "foo bar@example.com",
            "juliet@example.com/",
            "@example.com",
            "henryⅣ@example.com",
            "♚@example.com",
            "juliet@",
            "/foobar",
            "",
            "@",
            "a@b@c",
            "juliet@exa mple.com",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn domains_have_one_spelling() {
        check("a@MÜNCHEN.example", Some("a@xn--mnchen-3ya.example"));
        check("a@xn--mnchen-3ya.example", Some("a@xn--mnchen-3ya.example"));
        check("a@localhost", Some("a@localhost"));
        check("a@127.0.0.1/x", Some("a@127.0.0.1/x"));
        check("a@[2001:DB8::0:1]", Some("a@[2001:db8::1]"));
        check("a@[::1", None);
        check("a@1.2.3", None);
        check("a@-x.example", None);
        check("a@x..example", None);
        check("a@.", None);
        check(&format!("a@{}.example", "x".repeat(64)), None);
    }

    #[test]
    fn each_part_has_its_limit() {
        let long = "x".repeat(MAX_PART);
        check(&format!("{long}@x.org/{long}"), Some(&format!("{long}@x.org/{long}")));
        assert_eq!(Jid::new(&format!("{long}x@x.org")), Err(JidError::Local));
        assert_eq!(Jid::new(&format!("a@x.org/{long}x")), Err(JidError::Resource));
        assert_eq!(Jid::new(&format!("a@{long}")), Err(JidError::Domain));
    }

    #[test]
    fn emoji_are_resources_and_controls_are_not() {
        check("a@x.org/📱 phone", Some("a@x.org/📱 phone"));
        check("a@x.org/a\u{A0}b", Some("a@x.org/a b"));
        check("a@x.org/a\u{7}b", None);
    }

    #[test]
    fn escaping_has_one_form() {
        assert_eq!(esc("@Bob=2f:m.org"), "=40=42ob=3d2f=3am.org");
        assert_eq!(unesc("=40=42ob=3d2f=3am.org").as_deref(), Some("@Bob=2f:m.org"));
        for bad in ["=", "=4", "=4G", "=4A", "=61", "A", "a=ff"] {
            assert_eq!(unesc(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn escaping_reads_back(name in "\\PC{0,20}") {
            let escaped = esc(&name);
            prop_assert_eq!(unesc(&escaped), Some(name.clone()));
            if !escaped.is_empty() {
                prop_assert_eq!(prepare_local(&escaped).unwrap(), escaped.as_str());
            }
        }

        #[test]
        fn preparing_twice_changes_nothing(text in "\\PC{0,12}(@\\PC{0,12})?(/\\PC{0,12})?") {
            if let Ok(jid) = Jid::new(&text) {
                prop_assert_eq!(Jid::new(jid.as_str()), Ok(jid));
            }
        }
    }
}
