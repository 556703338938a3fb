//! The XML namespaces we know: one table, from which names, interning and tests derive.

use smol_str::SmolStr;

macro_rules! namespaces {
    ($($(#[$doc:meta])* $name:ident = $uri:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $uri;)*
        /// Every namespace of the table, in the order of the source.
        pub const ALL: &[&str] = &[$($uri),*];
    };
}

namespaces! {
    /// Stanzas between a client and its server (RFC 6120 §4.8).
    CLIENT = "jabber:client";
    /// Stanzas between servers (RFC 6120 §4.8).
    SERVER = "jabber:server";
    /// The stream element, its features and errors (RFC 6120 §4.8.1).
    STREAM = "http://etherx.jabber.org/streams";
    /// Conditions of stream errors (RFC 6120 §4.9).
    STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams";
    /// Conditions of stanza errors (RFC 6120 §8.3).
    STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas";
    /// STARTTLS (RFC 6120 §5).
    TLS = "urn:ietf:params:xml:ns:xmpp-tls";
    /// SASL negotiation (RFC 6120 §6).
    SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
    /// Resource binding (RFC 6120 §7).
    BIND = "urn:ietf:params:xml:ns:xmpp-bind";
    /// The obsolete session request (RFC 3921 §3), answered for old clients.
    SESSION = "urn:ietf:params:xml:ns:xmpp-session";
    /// The `xml:` prefix, always bound (Namespaces in XML §3).
    XML = "http://www.w3.org/XML/1998/namespace";
    /// The `xmlns:` prefix, which nobody may bind (Namespaces in XML §3).
    XMLNS = "http://www.w3.org/2000/xmlns/";
    /// Framing over WebSocket (RFC 7395 §3.3).
    FRAMING = "urn:ietf:params:xml:ns:xmpp-framing";
    /// Contact list (RFC 6121 §2).
    ROSTER = "jabber:iq:roster";
    /// Roster versioning, a stream feature (RFC 6121 §2.6).
    ROSTER_VER = "urn:xmpp:features:rosterver";
    /// Subscription pre-approval, a stream feature (RFC 6121 §3.4).
    PRE_APPROVAL = "urn:xmpp:features:pre-approval";
    /// Data forms (XEP-0004).
    DATA_FORMS = "jabber:x:data";
    /// Last activity (XEP-0012).
    LAST = "jabber:iq:last";
    /// Service discovery: identity and features (XEP-0030).
    DISCO_INFO = "http://jabber.org/protocol/disco#info";
    /// Service discovery: items (XEP-0030).
    DISCO_ITEMS = "http://jabber.org/protocol/disco#items";
    /// Group chat: joining (XEP-0045).
    MUC = "http://jabber.org/protocol/muc";
    /// Group chat: users' view (XEP-0045).
    MUC_USER = "http://jabber.org/protocol/muc#user";
    /// Group chat: roles and affiliations (XEP-0045).
    MUC_ADMIN = "http://jabber.org/protocol/muc#admin";
    /// Group chat: configuration and destruction (XEP-0045).
    MUC_OWNER = "http://jabber.org/protocol/muc#owner";
    /// Group chat: form type of the configuration (XEP-0045).
    MUC_ROOMCONFIG = "http://jabber.org/protocol/muc#roomconfig";
    /// Group chat: form type of extended disco information (XEP-0045).
    MUC_ROOMINFO = "http://jabber.org/protocol/muc#roominfo";
    /// Group chat: form type of a request for voice (XEP-0045 §7.13).
    MUC_REQUEST = "http://jabber.org/protocol/muc#request";
    /// Group chat: the form type of registering with a room (XEP-0045 §7.10).
    MUC_REGISTER = "http://jabber.org/protocol/muc#register";
    /// Group chat: feature of rooms whose messages keep the sender's id (XEP-0045 §18).
    MUC_STABLE_ID = "http://jabber.org/protocol/muc#stable_id";
    /// Self-ping answered by the service itself (XEP-0410 §5).
    MUC_SELF_PING = "http://jabber.org/protocol/muc#self-ping-optimization";
    /// The node under which a user's reserved room name is asked for (XEP-0045 §6.7).
    MUC_NICK_NODE = "x-roomuser-item";
    /// Bookmarks in private XML storage (XEP-0048).
    BOOKMARKS_OLD = "storage:bookmarks";
    /// Private XML storage (XEP-0049).
    PRIVATE = "jabber:iq:private";
    /// vcard-temp (XEP-0054).
    VCARD = "vcard-temp";
    /// Result set management (XEP-0059).
    RSM = "http://jabber.org/protocol/rsm";
    /// Publish-subscribe (XEP-0060).
    PUBSUB = "http://jabber.org/protocol/pubsub";
    /// Publish-subscribe: own error conditions (XEP-0060).
    PUBSUB_ERRORS = "http://jabber.org/protocol/pubsub#errors";
    /// Publish-subscribe: notifications (XEP-0060).
    PUBSUB_EVENT = "http://jabber.org/protocol/pubsub#event";
    /// Publish-subscribe: nodes seen by their owner (XEP-0060).
    PUBSUB_OWNER = "http://jabber.org/protocol/pubsub#owner";
    /// Publish-subscribe: options given when publishing (XEP-0060 §7.1.5).
    PUBSUB_PUBLISH_OPTIONS = "http://jabber.org/protocol/pubsub#publish-options";
    /// Publish-subscribe: form type of a node's configuration (XEP-0060 §16.4.4).
    PUBSUB_NODE_CONFIG = "http://jabber.org/protocol/pubsub#node_config";
    /// Stateless file sharing (XEP-0447).
    SFS = "urn:xmpp:sfs:0";
    /// What a file is (XEP-0446).
    FILE_METADATA = "urn:xmpp:file:metadata:0";
    /// An address as the source of a file (XEP-0103).
    URL_DATA = "http://jabber.org/protocol/url-data";
    /// Out-of-band data (XEP-0066).
    OOB = "jabber:x:oob";
    /// In-band registration (XEP-0077).
    REGISTER = "jabber:iq:register";
    /// In-band registration, the stream feature (XEP-0077 §8).
    REGISTER_FEATURE = "http://jabber.org/features/iq-register";
    /// In-band registration with an invitation token (XEP-0401, XEP-0445).
    IBR_TOKEN = "urn:xmpp:ibr-token:0";
    /// The token that allows registering (XEP-0379, XEP-0445).
    PARS = "urn:xmpp:pars:0";
    /// Avatar data (XEP-0084).
    AVATAR_DATA = "urn:xmpp:avatar:data";
    /// Avatar metadata (XEP-0084).
    AVATAR_METADATA = "urn:xmpp:avatar:metadata";
    /// Chat state notifications (XEP-0085).
    CHAT_STATES = "http://jabber.org/protocol/chatstates";
    /// Software version (XEP-0092).
    VERSION = "jabber:iq:version";
    /// Entity capabilities (XEP-0115).
    CAPS = "http://jabber.org/protocol/caps";
    /// Avatar hash in presence (XEP-0153).
    VCARD_UPDATE = "vcard-temp:x:update";
    /// Nickname (XEP-0172).
    NICK = "http://jabber.org/protocol/nick";
    /// The feature of servers that keep messages for who is away (XEP-0160 §3).
    OFFLINE = "msgoffline";
    /// Publish-subscribe: form type of what a node is (XEP-0060 §5.4).
    PUBSUB_META_DATA = "http://jabber.org/protocol/pubsub#meta-data";
    /// Message receipts (XEP-0184).
    RECEIPTS = "urn:xmpp:receipts";
    /// Blocking (XEP-0191).
    BLOCKING = "urn:xmpp:blocking";
    /// The error condition for a stanza to somebody one has blocked (XEP-0191 §3.7).
    BLOCKING_ERRORS = "urn:xmpp:blocking:errors";
    /// Stream management (XEP-0198).
    SM = "urn:xmpp:sm:3";
    /// Ping (XEP-0199).
    PING = "urn:xmpp:ping";
    /// Entity time (XEP-0202).
    TIME = "urn:xmpp:time";
    /// Delayed delivery (XEP-0203).
    DELAY = "urn:xmpp:delay";
    /// Direct invitations to rooms (XEP-0249).
    CONFERENCE = "jabber:x:conference";
    /// Message carbons (XEP-0280).
    CARBONS = "urn:xmpp:carbons:2";
    /// Feature of servers that copy by the rules of XEP-0280 §6.1.
    CARBONS_RULES = "urn:xmpp:carbons:rules:0";
    /// Stanza forwarding (XEP-0297).
    FORWARD = "urn:xmpp:forward:0";
    /// Last message correction (XEP-0308).
    CORRECT = "urn:xmpp:message-correct:0";
    /// Message archive (XEP-0313).
    MAM = "urn:xmpp:mam:2";
    /// Message archive: filters by id, metadata, flipped pages (XEP-0313).
    MAM_EXTENDED = "urn:xmpp:mam:2#extended";
    /// Hats (XEP-0317).
    HATS = "urn:xmpp:hats:0";
    /// Chat markers (XEP-0333).
    MARKERS = "urn:xmpp:chat-markers:0";
    /// Announcing calls (XEP-0353).
    JINGLE_MESSAGE = "urn:xmpp:jingle-message:0";
    /// Message processing hints (XEP-0334).
    HINTS = "urn:xmpp:hints";
    /// Client state indication (XEP-0352).
    CSI = "urn:xmpp:csi:0";
    /// Unique and stable stanza ids (XEP-0359).
    STANZA_ID = "urn:xmpp:sid:0";
    /// References (XEP-0372).
    REFERENCE = "urn:xmpp:reference:0";
    /// Resource binding within SASL2 (XEP-0386).
    BIND2 = "urn:xmpp:bind:0";
    /// SASL2 (XEP-0388).
    SASL2 = "urn:xmpp:sasl:2";
    /// Logging in again by token (XEP-0484).
    FAST = "urn:xmpp:fast:0";
    /// Spoiler messages (XEP-0382).
    SPOILER = "urn:xmpp:spoiler:0";
    /// Explicit message encryption (XEP-0380).
    EME = "urn:xmpp:eme:0";
    /// Message styling (XEP-0393).
    STYLING = "urn:xmpp:styling:0";
    /// Bookmarks as PEP items (XEP-0402).
    BOOKMARKS = "urn:xmpp:bookmarks:1";
    /// Feature of servers that keep both kinds of bookmarks alike (XEP-0402 §5).
    BOOKMARKS_COMPAT = "urn:xmpp:bookmarks:1#compat";
    /// Feature of servers that convert avatars (XEP-0398).
    PEP_VCARD = "urn:xmpp:pep-vcard-conversion:0";
    /// Occupant identifiers (XEP-0421).
    OCCUPANT_ID = "urn:xmpp:occupant-id:0";
    /// Message retraction (XEP-0424).
    RETRACT = "urn:xmpp:message-retract:1";
    /// Moderation (XEP-0425).
    MODERATE = "urn:xmpp:message-moderate:1";
    /// Fallback indication (XEP-0428).
    FALLBACK = "urn:xmpp:fallback:0";
    /// Channel-binding types, in the stream features (XEP-0440).
    CHANNEL_BINDING = "urn:xmpp:sasl-cb:0";
    /// Message reactions (XEP-0444).
    REACTIONS = "urn:xmpp:reactions:0";
    /// Message replies (XEP-0461).
    REPLY = "urn:xmpp:reply:0";
    /// Stream limits, in the stream features (XEP-0478).
    STREAM_LIMITS = "urn:xmpp:stream-limits:0";
    /// Displayed synchronisation (XEP-0490).
    MDS = "urn:xmpp:mds:displayed:0";
    /// XHTML-IM (XEP-0071, obsolete): recognised so that it can be kept apart.
    XHTML_IM = "http://jabber.org/protocol/xhtml-im";
    /// Ad-hoc commands (XEP-0050).
    COMMANDS = "http://jabber.org/protocol/commands";
    /// The command that makes an invitation to become one's contact (XEP-0401).
    INVITE_CONTACT = "urn:xmpp:invite#invite";
    /// The command that makes an invitation to have an account (XEP-0401).
    INVITE_ACCOUNT = "urn:xmpp:invite#create-account";
    /// The form type of an invitation (XEP-0401).
    INVITATION = "urn:xmpp:invite#invitation";
    /// The form type of a server's contact addresses (XEP-0157).
    SERVER_INFO = "http://jabber.org/network/serverinfo";
    /// OMEMO as most clients speak it (XEP-0384 version 0.3).
    OMEMO_OLD = "eu.siacs.conversations.axolotl";
    /// OMEMO (XEP-0384 version 0.8 and later).
    OMEMO = "urn:xmpp:omemo:2";
    /// File upload (XEP-0363).
    UPLOAD = "urn:xmpp:http:upload:0";
    /// The prefixless, empty namespace of ordinary attributes.
    NONE = "";
}

/// The namespace as a string that owns no memory if it is one of [`ALL`].
pub fn intern(uri: &str) -> SmolStr {
    match ALL.iter().find(|known| **known == uri) {
        Some(known) => SmolStr::new_static(known),
        None => SmolStr::new(uri),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_namespace_is_listed_twice() {
        let mut all = ALL.to_vec();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), ALL.len());
    }

    #[test]
    fn known_names_own_nothing() {
        assert!(!intern(DISCO_INFO).is_heap_allocated());
        assert!(intern("urn:example:some-namespace-nobody-ever-heard-of").is_heap_allocated());
    }
}
