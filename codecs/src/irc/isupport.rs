//! ISUPPORT (005): what the server supports, as tokens from the limits and tables.

use super::limits::{
    AWAY_MAX, CHANNEL_MAX, CHATHISTORY_MAX, KEY_MAX, KICK_MAX, MODES_MAX, MONITOR_MAX, NICK_MAX, TARGETS_MAX,
    TOPIC_MAX,
};
use super::mode;

/// The user mode of bots (IRCv3 bot-mode), and the letter that WHO shows them with.
pub const BOT: &str = "B";

/// Tokens of one 005 line (modern.ircdocs.horse: at most 13).
pub const TOKENS_PER_LINE: usize = 13;

/// What of ISUPPORT is settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The network's name.
    pub network: &'a str,
    /// Bytes of a nick a client may choose.
    pub nick_max: usize,
    /// Channels an account may be in.
    pub channels_max: usize,
    /// Blocked accounts.
    pub silence_max: usize,
    /// Entries of a list mode.
    pub list_max: usize,
    /// Whether nobody gets anywhere without an account.
    pub account_required: bool,
}

/// All tokens.
#[must_use]
pub fn tokens(facts: &Facts<'_>) -> Vec<String> {
    let mut out: Vec<String> =
        ["CASEMAPPING=ascii", "CHANTYPES=#", "ELIST=CMNTU", "EXCEPTS=e", "INVEX=I", "SAFELIST"]
            .map(str::to_owned)
            .to_vec();
    out.extend(
        ["UTF8ONLY", "WHOX", "EXTBAN=,am", "ACCOUNTEXTBAN=a", "MSGREFTYPES=msgid,timestamp"]
            .map(str::to_owned),
    );
    out.push(format!("BOT={BOT}"));
    out.push(format!("MONITOR={MONITOR_MAX}"));
    out.push(format!("AWAYLEN={AWAY_MAX}"));
    out.push(format!("CHANLIMIT=#:{}", facts.channels_max));
    out.push(format!("CHANMODES={}", mode::chanmodes()));
    out.push(format!("CHANNELLEN={CHANNEL_MAX}"));
    out.push(format!("CHATHISTORY={CHATHISTORY_MAX}"));
    out.push(format!("HOSTLEN={NICK_MAX}"));
    out.push(format!("KEYLEN={KEY_MAX}"));
    out.push(format!("KICKLEN={KICK_MAX}"));
    out.push(format!("MAXLIST=beI:{}", facts.list_max));
    out.push(format!("MODES={MODES_MAX}"));
    out.push(format!("NETWORK={}", escape(facts.network)));
    out.push(format!("NICKLEN={}", facts.nick_max));
    out.push(format!("PREFIX={}", mode::prefix()));
    out.push(format!(
        "TARGMAX=INVITE:1,KICK:{TARGETS_MAX},NAMES:{TARGETS_MAX},NOTICE:{TARGETS_MAX},PRIVMSG:{TARGETS_MAX},TAGMSG:{TARGETS_MAX},WHOIS:1"
    ));
    out.push(format!("SILENCE={}", facts.silence_max));
    out.push(format!("STATUSMSG={}", mode::statusmsg()));
    out.push(format!("TOPICLEN={TOPIC_MAX}"));
    out.push(format!("USERLEN={NICK_MAX}"));
    if facts.account_required {
        out.push("draft/ACCOUNTREQUIRED".to_owned());
    }
    out
}

/// The escapes of a token's value: what is not printable, a space, `=` or a backslash becomes `\xHH`.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if c.is_ascii_graphic() && c != '=' && c != '\\' {
            out.push(c);
        } else if c.is_ascii() {
            out.push_str(&format!("\\x{:02X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_no_spaces_and_fit() {
        let facts = Facts {
            network: "My Net",
            nick_max: 30,
            channels_max: 200,
            silence_max: 200,
            list_max: 100,
            account_required: true,
        };
        let tokens = tokens(&facts);
        assert!(tokens.contains(&"NETWORK=My\\x20Net".to_owned()));
        assert!(tokens.iter().all(|t| !t.contains(' ') && !t.is_empty()));
        let longest = tokens.chunks(TOKENS_PER_LINE).map(|line| line.join(" ").len()).max();
        assert!(longest < Some(400), "{longest:?}");
    }
}
