//! CTCP inside PRIVMSG and NOTICE: `\x01COMMAND text\x01` (modern.ircdocs.horse/ctcp). Only ACTION has a meaning
//! for the server.

/// Marks the two ends of a CTCP message.
pub const DELIMITER: char = '\u{1}';

/// What a message's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ctcp<'a> {
    /// No CTCP.
    Plain(&'a str),
    /// `/me`: what is done.
    Action(&'a str),
    /// Any other CTCP; passed on in dialogs between IRC clients only.
    Other(&'a str),
}

/// Takes a message's text apart. The closing mark may be missing.
#[must_use]
pub fn parse(text: &str) -> Ctcp<'_> {
    let Some(inner) = text.strip_prefix(DELIMITER) else { return Ctcp::Plain(text) };
    let inner = inner.strip_suffix(DELIMITER).unwrap_or(inner);
    let (command, rest) = inner.split_once(' ').unwrap_or((inner, ""));
    if command.eq_ignore_ascii_case("ACTION") { Ctcp::Action(rest) } else { Ctcp::Other(inner) }
}

/// Wraps the text of an action.
#[must_use]
pub fn action(text: &str) -> String {
    format!("\u{1}ACTION {text}\u{1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        assert_eq!(parse("hello"), Ctcp::Plain("hello"));
        assert_eq!(parse("\u{1}ACTION waves\u{1}"), Ctcp::Action("waves"));
        assert_eq!(parse("\u{1}action waves"), Ctcp::Action("waves"));
        assert_eq!(parse("\u{1}ACTION\u{1}"), Ctcp::Action(""));
        assert_eq!(parse("\u{1}VERSION\u{1}"), Ctcp::Other("VERSION"));
        assert_eq!(parse("\u{1}"), Ctcp::Other(""));
        assert_eq!(parse(&action("waves")), Ctcp::Action("waves"));
    }
}
