//! Limits of the IRC wire, each with what happens at it.

/// Bytes of a message without tags and without CR LF (RFC 1459 section 2.3: 512 with them). More from a
/// client is refused with 417; more of our own is cut between characters.
pub const BODY_MAX: usize = 510;

/// Bytes of tags a client may send, without the leading `@` and the space after (IRCv3 message-tags). More
/// is refused with 417.
pub const CLIENT_TAGS_MAX: usize = 4094;

/// Bytes of tags in all, with the leading `@` and the space after (IRCv3 message-tags).
pub const TAGS_MAX: usize = 8191;

/// Bytes a client may send without a line end. More closes the connection.
pub const LINE_MAX: usize = 16 * 1024;

/// Parameters of a message we build (RFC 2812 section 2.3.1). A client's message may hold as many as fit.
pub const PARAMS_USUAL: usize = 15;

/// Bytes of one nick, of an account or of its rendering for a remote person.
pub const NICK_MAX: usize = 64;

/// Bytes of a channel name with its `#`.
pub const CHANNEL_MAX: usize = 64;

/// Bytes of a topic. Longer ones are cut between characters.
pub const TOPIC_MAX: usize = 390;

/// Bytes of a kick's reason. Longer ones are cut between characters.
pub const KICK_MAX: usize = 390;

/// Bytes of an away text. Longer ones are cut between characters.
pub const AWAY_MAX: usize = 200;

/// Bytes of a channel key. A longer one is refused with 696.
pub const KEY_MAX: usize = 32;

/// Bytes of a mask of a list mode. A longer one is refused with 696.
pub const MASK_MAX: usize = 200;

/// Mode changes with a parameter in one MODE command. More are ignored, as RFC 2812 section 3.2.3 says.
pub const MODES_MAX: usize = 20;

/// Targets of one PRIVMSG, NOTICE or TAGMSG. More are refused with 407.
pub const TARGETS_MAX: usize = 4;

/// Nicks that one connection may watch with MONITOR. More are refused with 734.
pub const MONITOR_MAX: usize = 100;

/// Messages of one CHATHISTORY answer. Asking for more gives this many.
pub const CHATHISTORY_MAX: usize = 100;

/// Nicks of one ACCEPT list. More are refused with 456.
pub const ACCEPT_MAX: usize = 100;

/// Keys of metadata that one connection is subscribed to. More are refused.
pub const METADATA_SUBS: usize = 100;

/// Keys of metadata that an account sets. More are refused.
pub const METADATA_KEYS: usize = 50;

/// Bytes of a value (or key) of metadata. A longer one is refused.
pub const METADATA_VALUE: usize = 300;

/// Lines of one multiline message (IRCv3 draft/multiline). More are refused.
pub const MULTILINE_LINES: usize = 32;

/// Bytes of one multiline message. More are refused.
pub const MULTILINE_BYTES: usize = 4096;

/// Bytes of a label (IRCv3 labeled-response). A longer one is dropped.
pub const LABEL_MAX: usize = 64;

const _: () = assert!(CLIENT_TAGS_MAX + 2 + BODY_MAX + 2 < LINE_MAX, "a legal line must reach the parser");
const _: () = assert!(TAGS_MAX > CLIENT_TAGS_MAX + 2, "room is left for the server's own tags");
