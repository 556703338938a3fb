//! PLAIN (RFC 4616): `[authzid] NUL authcid NUL passwd`.

use super::{Failure, LoginName, Password};

/// Reads the one message of the mechanism.
pub(super) fn parse(message: &[u8], domain: &str) -> Result<(LoginName, Password), Failure> {
    let text = std::str::from_utf8(message).map_err(|_| Failure::Malformed("not UTF-8"))?;
    let mut parts = text.split('\0');
    let (Some(authzid), Some(authcid), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::Malformed("not three parts with a NUL between"));
    };
    let name = LoginName::parse(authcid, domain).ok_or(Failure::Malformed("no usable user name"))?;
    if !name.allows(Some(authzid), authcid, domain) {
        return Err(Failure::InvalidAuthzid);
    }
    let password = Password::new(password).map_err(|_| Failure::NotAuthorized)?;
    Ok((name, password))
}
