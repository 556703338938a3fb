//! All commands, in one table: name, least number of parameters, when they are allowed, what they cost, help.

/// When a command is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At any time.
    Always,
    /// Until registration is complete; later 462.
    Before,
    /// Once registration is complete; earlier 451.
    After,
}

/// Who may use a command where guests are not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everybody.
    Anyone,
    /// Who has logged in.
    Account,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What the code calls it.
    pub verb: Verb,
    /// Its name on the wire, in upper case.
    pub name: &'static str,
    /// Fewer parameters are answered with 461 (some commands have a numeric of their own and say 0 here).
    pub params: usize,
    /// When it is allowed.
    pub when: When,
    /// Who may use it.
    pub who: Who,
    /// What it takes from the connection's allowance, in units of one ordinary message.
    pub cost: u32,
    /// One line for HELP.
    pub help: &'static str,
}

macro_rules! commands {
    ($($name:literal $verb:ident $params:literal $when:ident $who:ident $cost:literal $help:literal;)*) => {
        commands!(@verbs [] $($verb)*);

        /// Every command, by name.
        pub const ROWS: &[Row] = &[$(Row {
            verb: Verb::$verb,
            name: $name,
            params: $params,
            when: When::$when,
            who: Who::$who,
            cost: $cost,
            help: $help,
        }),*];
    };
    (@verbs [] $($verb:ident)*) => {
        /// A command of the table. Aliases have a row each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the table says what each does")]
        pub enum Verb { $($verb),* }
    };
}

commands! {
    "ACCEPT"       Accept       0 After  Account 1 "ACCEPT [*|<nick>[,-<nick>...]]: whose private messages pass user mode R";
    "ADMIN"        Admin        0 After  Anyone  1 "ADMIN: who runs this server";
    "AUTHENTICATE" Authenticate 1 Always Anyone  1 "AUTHENTICATE <mechanism or data>: log in by SASL";
    "AWAY"         Away         0 Always Anyone  1 "AWAY [text]: say that you are away; without text that you are back";
    "BATCH"        Batch        1 After  Account 1 "BATCH <+ref or -ref> [type] [parameters]: bracket lines";
    "CAP"          Cap          1 Always Anyone  1 "CAP <LS|LIST|REQ|END> [capabilities]: negotiate capabilities";
    "CHANSERV"     Chanserv     0 After  Account 1 "CHANSERV <command>: the channel service; see CHANSERV HELP";
    "CHATHISTORY"  Chathistory  0 After  Account 2 "CHATHISTORY <subcommand> <target> <selectors> <limit>: read history";
    "CONNECT"      Connect      0 After  Account 1 "CONNECT: not for this server";
    "CS"           Cs           0 After  Account 1 "CS <command>: the channel service; see CS HELP";
    "HELP"         Help         0 After  Anyone  1 "HELP [subject]: this help";
    "HELPOP"       Helpop       0 After  Anyone  1 "HELPOP [subject]: this help";
    "INFO"         Info         0 After  Anyone  2 "INFO: about this server";
    "INVITE"       Invite       0 After  Account 2 "INVITE <nick> <channel>: invite somebody; without parameters, who invited you";
    "ISON"         Ison         1 After  Account 1 "ISON <nick> ...: which of these are here";
    "ISUPPORT"     Isupport     0 Always Anyone  2 "ISUPPORT: what this server supports";
    "JOIN"         Join         1 After  Anyone  2 "JOIN <channel>[,<channel>...] [key[,key...]]: enter channels";
    "KICK"         Kick         2 After  Account 1 "KICK <channel> <nick> [reason]: put somebody out";
    "KILL"         Kill         1 After  Account 1 "KILL <nick> [reason]: end all sessions of somebody (operators)";
    "KNOCK"        Knock        1 After  Account 3 "KNOCK <channel> [reason]: ask for an invitation";
    "LINKS"        Links        0 After  Account 1 "LINKS: the servers of this network";
    "LIST"         List         0 After  Account 3 "LIST [channels or conditions]: the public channels";
    "LUSERS"       Lusers       0 After  Account 1 "LUSERS: how many are here";
    "MARKREAD"     Markread     0 After  Account 1 "MARKREAD <target> [timestamp=<time>]: how far you have read";
    "METADATA"     Metadata     2 Always Anyone  1 "METADATA <target> <GET|LIST|SET|CLEAR|SYNC|SUB|UNSUB|SUBS> [keys or value]: public values";
    "MODE"         Mode         1 After  Account 1 "MODE <target> [modes [parameters]]: show or set modes";
    "MONITOR"      Monitor      1 After  Account 2 "MONITOR <+|-> <nick>[,<nick>...] or <C|L|S>: be told when somebody comes and goes";
    "MOTD"         Motd         0 After  Anyone  2 "MOTD: the message of the day";
    "NAMES"        Names        0 After  Account 1 "NAMES [channel]: who is in a channel";
    "NICK"         Nick         0 Always Anyone  2 "NICK <nick>: your nick";
    "NICKSERV"     Nickserv     0 After  Anyone  1 "NICKSERV <command>: the nick service; see NICKSERV HELP";
    "NOTICE"       Notice       0 After  Anyone  1 "NOTICE <target> <text>: a message that nothing answers by itself";
    "NS"           Ns           0 After  Anyone  1 "NS <command>: the nick service; see NS HELP";
    "OPER"         Oper         2 After  Account 3 "OPER <name> <password>: become an operator of the server";
    "PART"         Part         1 After  Account 1 "PART <channel>[,<channel>...] [reason]: leave channels";
    "PASS"         Pass         1 Before Anyone  1 "PASS <password>: the password, before NICK and USER";
    "PING"         Ping         0 Always Anyone  1 "PING <token>: answered by PONG";
    "PONG"         Pong         0 Always Anyone  0 "PONG <token>: the answer to PING";
    "PRIVMSG"      Privmsg      0 After  Anyone  1 "PRIVMSG <target>[,<target>...] <text>: speak to a channel or to somebody";
    "QUIT"         Quit         0 Always Anyone  0 "QUIT [reason]: end the connection";
    "REDACT"       Redact       2 After  Account 1 "REDACT <target> <msgid> [reason]: take a message back";
    "REGISTER"     Register     0 Always Anyone  2 "REGISTER <account or *> <email or *> <password>: make an account";
    "REHASH"       Rehash       0 After  Account 1 "REHASH: read the configuration again (operators)";
    "SETNAME"      Setname      0 After  Account 2 "SETNAME <name>: change your real name";
    "SILENCE"      Silence      0 After  Account 1 "SILENCE [+|-<nick>,...]: whom you do not want to hear of, on any protocol";
    "SQUIT"        Squit        0 After  Account 1 "SQUIT: not for this server";
    "STATS"        Stats        0 After  Account 1 "STATS <u>: how long the server has been up";
    "TAGMSG"       Tagmsg       0 After  Account 1 "TAGMSG <target>: tags without a message";
    "TIME"         Time         0 After  Anyone  1 "TIME: the server's time";
    "TOPIC"        Topic        1 After  Account 1 "TOPIC <channel> [text]: show or set the topic";
    "USER"         User         0 Before Anyone  1 "USER <name> 0 * <real name>: who you are";
    "USERHOST"     Userhost     1 After  Account 1 "USERHOST <nick> ...: user name and host of up to five";
    "VERIFY"       Verify       2 Always Anyone  2 "VERIFY <account> <code>: complete a registration";
    "VERSION"      Version      0 After  Anyone  1 "VERSION: the program and what it supports";
    "WALLOPS"      Wallops      1 After  Account 1 "WALLOPS <text>: speak to everybody with user mode w (operators)";
    "WHO"          Who          0 After  Account 2 "WHO <mask> [o|%fields]: who fits";
    "WHOIS"        Whois        0 After  Account 1 "WHOIS <nick>: about somebody";
    "WHOWAS"       Whowas       0 After  Account 1 "WHOWAS <nick> [count]: about somebody who left";
}

/// The row of a command, in any letter case.
#[must_use]
pub fn row(name: &str) -> Option<&'static Row> {
    let mut upper = [0u8; LONGEST];
    let upper = upper.get_mut(..name.len())?;
    upper.copy_from_slice(name.as_bytes());
    upper.make_ascii_uppercase();
    let at = ROWS.binary_search_by(|row| row.name.as_bytes().cmp(upper)).ok()?;
    ROWS.get(at)
}

/// Bytes of the longest name.
const LONGEST: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_short_enough() {
        assert!(ROWS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert_eq!(ROWS.iter().map(|row| row.name.len()).max(), Some(LONGEST));
    }

    #[test]
    fn help_begins_with_the_name() {
        for row in ROWS {
            let rest = row.help.strip_prefix(row.name).unwrap_or_default();
            assert!(rest.starts_with([' ', ':']), "{}", row.name);
        }
    }

    #[test]
    fn look_up() {
        assert_eq!(row("privmsg").map(|r| r.verb), Some(Verb::Privmsg));
        assert_eq!(row("PrivMsg").map(|r| r.name), Some("PRIVMSG"));
        assert!(row("").is_none() && row("PRIVMSGPRIVMSGPRIVMSG").is_none() && row("é").is_none());
    }
}
