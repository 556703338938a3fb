//! The fields of WHOX (IRCv3 whox): `WHO mask %fields,token`.

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields<'a> {
    letters: &'a str,
    /// The token, for field `t`; at most three digits.
    pub token: &'a str,
}

/// The values of one line of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Values<'a> {
    /// `c`: a channel both are in, or `*`.
    pub channel: &'a str,
    /// `u`
    pub user: &'a str,
    /// `h`
    pub host: &'a str,
    /// `s`
    pub server: &'a str,
    /// `n`
    pub nick: &'a str,
    /// `f`: `H` or `G`, then marks.
    pub flags: &'a str,
    /// `l`: seconds idle.
    pub idle: &'a str,
    /// `a`: the account, or `0`.
    pub account: &'a str,
    /// `r`
    pub real: &'a str,
}

/// The letters in the order of the answer.
const ORDER: &str = "tcuihsnfdlaor";

impl<'a> Fields<'a> {
    /// Reads the second parameter of WHO; `None` if it does not ask for fields.
    #[must_use]
    pub fn parse(param: &'a str) -> Option<Fields<'a>> {
        let (_, fields) = param.split_once('%')?;
        let (letters, token) = fields.split_once(',').unwrap_or((fields, ""));
        let good = !token.is_empty() && token.len() <= 3 && token.bytes().all(|b| b.is_ascii_digit());
        Some(Fields { letters, token: if good { token } else { "0" } })
    }

    /// The parameters of 354 after the target.
    #[must_use]
    pub fn pick<'v>(&self, v: &Values<'v>) -> Vec<&'v str>
    where
        'a: 'v,
    {
        let value = |letter| match letter {
            't' => self.token,
            'c' => v.channel,
            'u' => v.user,
            'i' => "255.255.255.255",
            'h' => v.host,
            's' => v.server,
            'n' => v.nick,
            'f' => v.flags,
            'd' => "0",
            'l' => v.idle,
            'a' => v.account,
            'o' => "n/a",
            _ => v.real,
        };
        ORDER.chars().filter(|letter| self.letters.contains(*letter)).map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn order_and_token() {
        let v = Values {
            channel: "#c",
            user: "u",
            host: "h",
            server: "s",
            nick: "n",
            flags: "H",
            idle: "0",
            account: "a",
            real: "r r",
        };
        assert_eq!(Fields::parse("%ant,42").unwrap().pick(&v), ["42", "n", "a"]);
        assert_eq!(Fields::parse("o%tr,4200").unwrap().pick(&v), ["0", "r r"]);
        assert_eq!(Fields::parse("%").unwrap().pick(&v), [""; 0]);
        assert!(Fields::parse("o").is_none());
    }
}
