//! Capabilities (IRCv3 capability negotiation): one table.

macro_rules! caps {
    ($($variant:ident $name:literal $doc:literal;)*) => {
        /// A capability a client can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Cap {
            $(#[doc = concat!("`", $name, "`: ", $doc)] $variant),*
        }

        impl Cap {
            /// Every capability, in the order CAP LS names them.
            pub const ALL: &[Cap] = &[$(Cap::$variant),*];

            /// Its name in CAP.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Cap::$variant => $name),* }
            }
        }
    };
}

caps! {
    AccountNotify "account-notify" "ACCOUNT when somebody in a common channel logs in or out.";
    AccountTag "account-tag" "the sender's account as a tag.";
    AwayNotify "away-notify" "AWAY when somebody in a common channel goes or comes back.";
    Batch "batch" "lines that belong together are bracketed.";
    CapNotify "cap-notify" "CAP NEW and CAP DEL.";
    Chghost "chghost" "CHGHOST when somebody's user name or host changes.";
    EchoMessage "echo-message" "one's own messages come back.";
    ExtendedJoin "extended-join" "JOIN with account and real name.";
    ExtendedMonitor "extended-monitor" "away, names and accounts of watched nicks too.";
    InviteNotify "invite-notify" "INVITE of others, to those who may invite.";
    LabeledResponse "labeled-response" "answers carry the label of their command.";
    MessageTags "message-tags" "tags of other clients, TAGMSG, msgid.";
    MultiPrefix "multi-prefix" "all of a member's ranks in NAMES and WHO.";
    NoImplicitNames "no-implicit-names" "no NAMES after JOIN.";
    Sasl "sasl" "AUTHENTICATE; its value names the mechanisms.";
    ServerTime "server-time" "the time of each message as a tag.";
    Setname "setname" "SETNAME, and that of others.";
    StandardReplies "standard-replies" "FAIL, WARN and NOTE.";
    UserhostInNames "userhost-in-names" "NAMES with nick!user@host.";
    AccountRegistration "draft/account-registration" "REGISTER.";
    Chathistory "draft/chathistory" "CHATHISTORY.";
    EventPlayback "draft/event-playback" "history with joins, parts, topics and modes.";
    MessageRedaction "draft/message-redaction" "REDACT.";
    Metadata2 "draft/metadata-2" "METADATA; changes are told by METADATA.";
    Metadata3 "draft/metadata-3" "METADATA; changes are told by 761 and 766.";
    Multiline "draft/multiline" "messages of several lines.";
    PreAway "draft/pre-away" "AWAY before registration is complete.";
    ReadMarker "draft/read-marker" "MARKREAD.";
    SelfMessage "znc.in/self-message" "one's own messages to others, sent from another connection.";
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub struct Caps(u64);

impl Caps {
    /// None.
    pub const NONE: Caps = Caps(0);

    /// These.
    #[must_use]
    pub const fn of(caps: &[Cap]) -> Caps {
        let (mut bits, mut at) = (0, 0);
        while at < caps.len() {
            bits |= 1 << caps[at] as u8;
            at += 1;
        }
        Caps(bits)
    }

    /// Whether `cap` is among them.
    #[must_use]
    pub const fn has(self, cap: Cap) -> bool {
        self.0 & (1 << cap as u8) != 0
    }

    /// Whether any tag may be sent at all.
    #[must_use]
    pub const fn any(self, caps: Caps) -> bool {
        self.0 & caps.0 != 0
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, caps: Caps) -> Caps {
        Caps(self.0 & caps.0)
    }

    /// Those in either.
    #[must_use]
    pub const fn with(self, caps: Caps) -> Caps {
        Caps(self.0 | caps.0)
    }

    /// Those not in the other.
    #[must_use]
    pub const fn without(self, caps: Caps) -> Caps {
        Caps(self.0 & !caps.0)
    }

    /// Which of `order` are in it, as bits in that order: what goes into a wire class.
    #[must_use]
    pub fn bits(self, order: &[Cap]) -> u32 {
        order.iter().enumerate().fold(0, |bits, (at, cap)| bits | u32::from(self.has(*cap)) << at)
    }

    /// The set with these bits of `order`; unknown bits fall away.
    #[must_use]
    pub fn from_bits(bits: u32, order: &[Cap]) -> Caps {
        let set = order.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        set.fold(Caps::NONE, |caps, (_, cap)| caps.with(Caps::of(&[*cap])))
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Cap> {
        Cap::ALL.iter().copied().filter(move |cap| self.has(*cap))
    }
}

/// Reads the list of a CAP REQ: what to take in and what to leave off.
///
/// `None` (CAP NAK) if one name is unknown or not in `offered`: the whole list is refused.
#[must_use]
pub fn request(list: &str, offered: Caps) -> Option<(Caps, Caps)> {
    let (mut on, mut off) = (Caps::NONE, Caps::NONE);
    for word in list.split(' ').filter(|word| !word.is_empty()) {
        let (name, minus) = match word.strip_prefix('-') {
            Some(name) => (name, true),
            None => (word, false),
        };
        let cap = Cap::ALL.iter().copied().find(|cap| cap.name() == name)?;
        let one = Caps::of(&[cap]);
        if !offered.has(cap) {
            return None;
        }
        if minus {
            (on, off) = (on.without(one), off.with(one));
        } else {
            (on, off) = (on.with(one), off.without(one));
        }
    }
    Some((on, off))
}

/// Packs words into lines of at most `max` bytes.
#[must_use]
pub fn pack(words: impl IntoIterator<Item = String>, max: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in words {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(&word),
            Some(line) if line.len() + 1 + word.len() <= max => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

const _: () = assert!(Cap::ALL.len() <= 64, "a set is 64 bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_bare() {
        for (at, cap) in Cap::ALL.iter().enumerate() {
            assert!(!cap.name().contains([' ', '=']));
            assert!(Cap::ALL[..at].iter().all(|other| other.name() != cap.name()));
        }
    }

    #[test]
    fn requests() {
        let all = Caps::of(Cap::ALL);
        let (on, off) = request("batch -sasl  server-time", all).unwrap_or_default();
        assert_eq!(on, Caps::of(&[Cap::Batch, Cap::ServerTime]));
        assert_eq!(off, Caps::of(&[Cap::Sasl]));
        assert_eq!(request("batch nonsense", all), None);
        assert_eq!(request("batch=1", all), None);
        assert_eq!(request("BATCH", all), None);
        assert_eq!(request("sasl", Caps::NONE), None);
        assert_eq!(request("", all), Some((Caps::NONE, Caps::NONE)));
    }

    #[test]
    fn packing() {
        let words = ["aa", "bb", "cc"].map(str::to_owned);
        assert_eq!(pack(words, 5), ["aa bb", "cc"]);
        assert_eq!(pack([], 5), [""]);
    }
}
