//! How what happens in a room looks as stanzas: once for all sessions, with holes for what differs.
//!
//! Only what the core hands in is used, so that one encoding serves everybody and no table has to be kept in step.

use super::admin::UNAFFILIATED;
use super::avatar;
use crate::session::XMPP_NATIVE;
use crate::settings::Settings;
use crate::xmpp::address::{ROOMS, bare_jid, resource_of};
use crate::xmpp::content::{build, shown};
use crate::xmpp::markers::shows_marker;
use crate::xmpp::message::{delay, stanza_id};
use crate::xmpp::ns;
use crate::xmpp::presence::write_content;
use crate::xmpp::session::HOLE_TO;
use crate::xmpp::writer::{Writer, escape_attr};
use data_encoding::BASE64URL_NOPAD;
use lavina_core::event::{Actor, Event, How, Live, LiveWhat, MemberChange, What};
use lavina_core::ids::{AccountId, MsgId, Pos, RoomId};
use lavina_core::name::{RoomName, User};
use lavina_core::policy::{Levels, Membership, Power, Standing, power};
use lavina_core::presence::{Presence, Show as Availability};
use lavina_core::projection::{Pieces, Shown, WireClass};
use lavina_core::text::Str;
use sha2::{Digest, Sha256};

/// Entries between two requests for an acknowledgement in a room's encoding.
const ASK_EVERY: u64 = 8;

/// Bytes of an occupant id before they are written as text.
const OCCUPANT_ID: usize = 12;

/// People in a room above which nobody is told who has read what (XEP-0333 §5).
const READERS: u32 = 50;

/// A room, for writing its stanzas.
pub(in crate::xmpp) struct Show<'a> {
    /// Its bare address.
    pub jid: String,
    settings: &'a Settings,
}

/// Somebody in a room at one moment.
#[derive(Clone, Copy)]
pub(in crate::xmpp) struct Occupant<'a> {
    pub room: RoomId,
    pub user: &'a User,
    pub standing: Standing,
    pub levels: Levels,
}

/// What else stands in a presence of a room.
#[derive(Clone, Copy, Default)]
pub(in crate::xmpp) struct Extra<'a> {
    pub codes: &'a [u16],
    pub actor: Option<&'a User>,
    pub reason: Option<&'a str>,
    /// The next nick of one who goes on under another.
    pub renamed: Option<&'a str>,
    /// The last words of one who goes.
    pub last: Option<&'a Presence>,
}

/// The affiliation that a standing is shown as.
pub(in crate::xmpp) fn affiliation(standing: Standing) -> &'static str {
    match standing.power {
        _ if standing.membership == Membership::Banned => "outcast",
        power::OWNER.. => "owner",
        power::MODERATOR.. => "admin",
        power::VOICE.. => "member",
        _ => "none",
    }
}

/// The role of somebody who is there.
pub(in crate::xmpp) fn role(own: Power, levels: &Levels) -> &'static str {
    if own >= power::MODERATOR || own >= levels.kick.max(power::HELPER) {
        "moderator"
    } else if own >= levels.speak {
        "participant"
    } else {
        "visitor"
    }
}

/// The nick of somebody as a room knows them; of one whom no room has named, the account's name.
pub(in crate::xmpp) fn nick_of(user: &User) -> String {
    // What a guest calls itself besides its name is no nick.
    let alias = user.alias.as_ref().filter(|_| !user.is_guest());
    resource_of(alias.map_or(user.name.as_str(), Str::as_str))
}

/// Encodes for all sessions of a class.
pub(in crate::xmpp) fn encode(
    class: WireClass,
    name: Option<&RoomName>,
    what: Shown<'_>,
    settings: &Settings,
    out: &mut Pieces,
) {
    let Some(name) = name else { return };
    let show = Show::new(name, settings);
    match what {
        Shown::Event(event, here) => {
            show.event(event, here, false, out);
            if class.0 & 1 == 1 && event.pos.0.is_multiple_of(ASK_EVERY) && !out.is_empty() {
                out.bytes().extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
                out.end(false);
            }
        }
        Shown::Live(live) => show.live(live, false, out),
    }
}

impl<'a> Show<'a> {
    pub(in crate::xmpp) fn new(name: &RoomName, settings: &'a Settings) -> Show<'a> {
        let domain = &settings.core.domain;
        Show { jid: format!("{name}@{ROOMS}{domain}"), settings }
    }

    /// An occupant's address in the room.
    pub(in crate::xmpp) fn address(&self, user: &User) -> String {
        format!("{}/{}", self.jid, nick_of(user))
    }

    fn by(&self, actor: &Actor) -> String {
        actor.user().map_or_else(|| self.jid.clone(), |user| self.address(user))
    }

    /// The same for one account in one room, different in the next (XEP-0421).
    fn occupant_id(&self, w: &mut Writer<'_>, room: RoomId, account: AccountId) {
        let mut hash = Sha256::new();
        hash.update(self.settings.core.secret);
        hash.update(b"occupant");
        hash.update(room.0.to_be_bytes());
        hash.update(account.0.to_be_bytes());
        let id = BASE64URL_NOPAD.encode(&hash.finalize()[..OCCUPANT_ID]);
        w.start_ns("occupant-id", ns::OCCUPANT_ID).attr("id", &id).end();
    }

    /// An entry of the log. `own`: for the session whose request it was, or whose account it is about.
    pub(in crate::xmpp) fn event(&self, event: &Event, here: Option<&Presence>, own: bool, out: &mut Pieces) {
        match &event.what {
            What::Member(change) => self.member(event, change, here, own, out),
            What::Policy { .. } => self.configured(event, out),
            What::Attr { key, .. } if *key == avatar::KEY => self.configured(event, out),
            // Told to each session under its own nick.
            What::Destroyed { .. } => {}
            _ => self.line(event, None, out),
        }
    }

    /// The room is not as it was (XEP-0045 §10.2.1, XEP-0486 §3.2).
    fn configured(&self, event: &Event, out: &mut Pieces) {
        let fragment = build("groupchat", &event.id().text(), |w| {
            w.start_ns("x", ns::MUC_USER).start("status").attr("code", "104").end().end();
        });
        self.message(&self.jid, &fragment, out, |_| {});
    }

    /// What was said or done to what was said. `late`: from the log, for one who comes in.
    pub(in crate::xmpp) fn line(&self, event: &Event, late: Option<&str>, out: &mut Pieces) {
        if let Some(reaction) = event.taken_back() {
            return self.line(&reaction, late, out);
        }
        let from = self.by(&event.by);
        let extra = |w: &mut Writer<'_>| {
            stanza_id(w, Some(event.id()), &self.jid);
            if let Some(user) = event.by.user() {
                self.occupant_id(w, event.room, user.id);
            }
            if let Some(by) = late {
                delay(w, event.at.0, by);
            }
        };
        match &event.what {
            What::Topic(text) => {
                let fragment = build("groupchat", &event.id().text(), |w| {
                    w.leaf("subject", &text.text);
                });
                self.message(&from, &fragment, out, extra);
            }
            What::Redacted { target, reason, author, .. } if *author != event.by => {
                let fragment = self.moderated(event, *target, reason.as_deref());
                self.message(&self.jid, &fragment, out, extra);
            }
            _ => {
                if let Some(fragment) = shown(event, "groupchat") {
                    self.message(&from, &fragment, out, extra);
                }
            }
        }
    }

    /// A moderator's withdrawal of somebody else's message (XEP-0425 §5).
    pub(in crate::xmpp) fn moderated(&self, event: &Event, target: Pos, reason: Option<&str>) -> Vec<u8> {
        let target = MsgId { room: event.room, pos: target }.text();
        build("groupchat", &event.id().text(), |w| {
            w.start_ns("retract", ns::RETRACT).attr("id", &target);
            self.moderated_by(w, event);
            if let Some(reason) = reason {
                w.leaf("reason", reason);
            }
            w.end();
        })
    }

    /// Who moderated.
    pub(in crate::xmpp) fn moderated_by(&self, w: &mut Writer<'_>, event: &Event) {
        w.start_ns("moderated", ns::MODERATE).attr("by", &self.by(&event.by));
        if let Some(user) = event.by.user() {
            self.occupant_id(w, event.room, user.id);
        }
        w.end();
    }

    /// An entry as it is forwarded from the archive; none if it shows nothing to XMPP.
    pub(in crate::xmpp) fn inner(&self, event: &Event) -> Option<Vec<u8>> {
        if let Some(reaction) = event.taken_back() {
            return self.inner(&reaction);
        }
        match &event.what {
            What::Redacted { target, reason, author, .. } if *author != event.by => {
                let fragment = self.moderated(event, *target, reason.as_deref());
                Some(self.inner_stanza(&self.jid, event, &fragment))
            }
            _ => shown(event, "groupchat").map(|fragment| self.archived(event, &fragment)),
        }
    }

    /// A fragment as it is forwarded from the archive, by who made the entry.
    pub(in crate::xmpp) fn archived(&self, event: &Event, fragment: &[u8]) -> Vec<u8> {
        self.inner_stanza(&self.by(&event.by), event, fragment)
    }

    fn inner_stanza(&self, from: &str, event: &Event, fragment: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(fragment.len() + 256);
        out.extend_from_slice(b"<message xmlns='jabber:client' from='");
        escape_attr(from, &mut out);
        out.push(b'\'');
        out.extend_from_slice(fragment);
        if let Some(user) = event.by.user() {
            let jid = bare_jid(&user.name, &self.settings.core.domain);
            let mut w = Writer::in_stream(&mut out);
            self.occupant_id(&mut w, event.room, user.id);
            // Nobody is anonymous here (XEP-0313 §6.1.3.2).
            w.start_ns("x", ns::MUC_USER).start("item").attr("jid", jid.as_str()).end().end();
        }
        out.extend_from_slice(b"</message>");
        out
    }

    /// The subject as it is, the last stanza of a join (XEP-0045 §7.2.15).
    pub(in crate::xmpp) fn subject(&self, topic: Option<&lavina_core::query::TopicSet>, out: &mut Pieces) {
        let from = topic.map_or_else(
            || self.jid.clone(),
            |t| {
                if t.by == self.settings.core.domain {
                    self.jid.clone()
                } else {
                    format!("{}/{}", self.jid, resource_of(t.alias.as_ref().unwrap_or(&t.by)))
                }
            },
        );
        let fragment = format!(" type='groupchat'><subject>{}</subject>", {
            let mut text = Vec::new();
            crate::xmpp::writer::escape_text(topic.map_or("", |t| &t.text.text), &mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        self.message(&from, fragment.as_bytes(), out, |w| {
            if let Some(topic) = topic {
                delay(w, topic.at.0, &self.jid);
            }
        });
    }

    /// A signal of the moment.
    pub(in crate::xmpp) fn live(&self, live: &Live, own: bool, out: &mut Pieces) {
        let who = |standing: Standing, levels: Levels| Occupant {
            room: live.room,
            user: &live.by,
            standing,
            levels,
        };
        let codes: &[u16] = if own { &[110] } else { &[] };
        let extra = Extra { codes, ..Extra::default() };
        match &live.what {
            LiveWhat::Here { presence, standing, levels, .. } => {
                self.presence(who(*standing, *levels), Some(presence), extra, out);
            }
            LiveWhat::Gone { standing, levels, presence } => {
                let last = Some(presence).filter(|last| last.show == Availability::Offline);
                self.presence(who(*standing, *levels), None, Extra { last, ..extra }, out);
            }
            LiveWhat::Typing(on) => {
                let state = if *on { "composing" } else { "paused" };
                let fragment = format!(" type='groupchat'><{state} xmlns='{}'/>", ns::CHAT_STATES);
                self.moment(live, fragment.as_bytes(), out);
            }
            LiveWhat::Signal(native) if native.protocol == XMPP_NATIVE => {
                self.moment(live, &native.bytes, out);
            }
            LiveWhat::Read { to, members } if *members <= READERS && shows_marker(to) => {
                let id = MsgId { room: live.room, pos: to.pos }.text();
                let fragment = format!(" type='groupchat'><displayed xmlns='{}' id='{id}'/>", ns::MARKERS);
                self.moment(live, fragment.as_bytes(), out);
            }
            LiveWhat::Signal(_) | LiveWhat::Display(_) | LiveWhat::Attrs(_) | LiveWhat::Read { .. } => {}
        }
    }

    fn moment(&self, live: &Live, fragment: &[u8], out: &mut Pieces) {
        self.message(&self.address(&live.by), fragment, out, |w| {
            self.occupant_id(w, live.room, live.by.id);
        });
    }

    fn member(
        &self,
        event: &Event,
        change: &MemberChange,
        here: Option<&Presence>,
        own: bool,
        out: &mut Pieces,
    ) {
        let inside = change.after.membership == Membership::Joined;
        let who =
            Occupant { room: event.room, user: &change.user, standing: change.after, levels: change.levels };
        let by_other = event.by.user().filter(|by| by.id != change.user.id);
        let mut codes = Vec::new();
        if own {
            codes.push(110);
        }
        match (change.how, here) {
            // The coming itself is shown by the presence that follows.
            (How::Join, _) => {}
            // Under a nick of one's own another name shows nowhere.
            (How::Rename, _) if change.user.alias.is_some() && !change.user.is_guest() => {}
            (How::Rename | How::Alias, Some(presence)) => {
                codes.push(303);
                let old = change.reason.as_deref().unwrap_or_default();
                let new = nick_of(&change.user);
                let from = format!("{}/{}", self.jid, resource_of(old));
                let extra = Extra { codes: &codes, renamed: Some(&new), ..Extra::default() };
                self.presence_from(&from, who, None, extra, out);
                let extra = Extra { codes: &codes[..codes.len() - 1], ..Extra::default() };
                self.presence(who, Some(presence), extra, out);
            }
            (how, Some(presence)) => {
                codes.extend(match how {
                    How::Kick if is_unaffiliated(change) => Some(321),
                    How::Kick => Some(307),
                    How::Ban => Some(301),
                    _ => None,
                });
                let reason = change.reason.as_deref();
                let extra = Extra { codes: &codes, actor: by_other, reason, ..Extra::default() };
                self.presence(who, Some(presence).filter(|_| inside), extra, out);
            }
            (How::Power | How::Ban | How::Unban, None) => self.affiliation_of_absent(change, event, out),
            (_, None) => {}
        }
    }

    /// A changed affiliation of somebody who is not there (XEP-0045 §9.3).
    fn affiliation_of_absent(&self, change: &MemberChange, event: &Event, out: &mut Pieces) {
        if affiliation(change.before) == affiliation(change.after) {
            return;
        }
        let jid = bare_jid(&change.user.name, &self.settings.core.domain);
        let fragment = build("normal", &event.id().text(), |w| {
            w.start_ns("x", ns::MUC_USER).start("item").attr("affiliation", affiliation(change.after));
            w.attr("jid", jid.as_str()).attr("role", "none").end().end();
        });
        self.message(&self.jid, &fragment, out, |_| {});
    }

    /// Everybody is out, each under his own nick (XEP-0045 §10.9).
    pub(in crate::xmpp) fn destroyed(
        &self,
        me: &User,
        reason: Option<&str>,
        instead: Option<&str>,
        out: &mut Pieces,
    ) {
        open("<presence from='", &self.address(me), out);
        out.bytes().extend_from_slice(b"' type='unavailable'>");
        let mut w = Writer::in_stream(out.bytes());
        w.start_ns("x", ns::MUC_USER);
        w.start("item").attr("affiliation", "none").attr("role", "none").end();
        w.start("destroy").opt_attr("jid", instead);
        if let Some(reason) = reason {
            w.leaf("reason", reason);
        }
        w.end().start("status").attr("code", "110").end().end();
        drop(w);
        out.bytes().extend_from_slice(b"</presence>");
        out.end(true);
    }

    /// Word for a client that has lost track of where it sits: it is out, by no fault of its own.
    pub(in crate::xmpp) fn not_there(&self, nick: &str, out: &mut Pieces) {
        open("<presence from='", &format!("{}/{nick}", self.jid), out);
        out.bytes().extend_from_slice(b"' type='unavailable'>");
        let mut w = Writer::in_stream(out.bytes());
        w.start_ns("x", ns::MUC_USER).start("item").attr("affiliation", "none").attr("role", "none").end();
        for code in [110, 307, 333] {
            w.start("status").attr_num("code", code).end();
        }
        w.end();
        drop(w);
        out.bytes().extend_from_slice(b"</presence>");
        out.end(true);
    }

    /// A presence of an occupant; without `presence`, his leaving.
    pub(in crate::xmpp) fn presence(
        &self,
        who: Occupant<'_>,
        presence: Option<&Presence>,
        extra: Extra<'_>,
        out: &mut Pieces,
    ) {
        self.presence_from(&self.address(who.user), who, presence, extra, out);
    }

    fn presence_from(
        &self,
        from: &str,
        who: Occupant<'_>,
        presence: Option<&Presence>,
        extra: Extra<'_>,
        out: &mut Pieces,
    ) {
        open("<presence from='", from, out);
        out.bytes().extend_from_slice(if presence.is_some() { b"'>" } else { b"' type='unavailable'>" });
        let mut w = Writer::in_stream(out.bytes());
        if let Some(presence) = presence.or(extra.last) {
            write_content(&mut w, presence);
        }
        let goes_on = presence.is_some() || extra.renamed.is_some();
        w.start_ns("x", ns::MUC_USER);
        w.start("item").attr("affiliation", affiliation(who.standing));
        w.attr("role", if goes_on { role(who.standing.power, &who.levels) } else { "none" });
        w.attr("jid", bare_jid(&who.user.name, &self.settings.core.domain).as_str());
        w.opt_attr("nick", extra.renamed);
        if let Some(actor) = extra.actor {
            w.start("actor").attr("nick", &nick_of(actor));
            w.attr("jid", bare_jid(&actor.name, &self.settings.core.domain).as_str()).end();
        }
        if let Some(reason) = extra.reason {
            w.leaf("reason", reason);
        }
        w.end();
        for code in extra.codes {
            w.start("status").attr_num("code", u64::from(*code)).end();
        }
        w.end();
        self.occupant_id(&mut w, who.room, who.user.id);
        drop(w);
        out.bytes().extend_from_slice(b"</presence>");
        out.end(true);
    }

    /// A message made of a fragment.
    fn message(&self, from: &str, fragment: &[u8], out: &mut Pieces, extra: impl FnOnce(&mut Writer<'_>)) {
        open("<message from='", from, out);
        out.bytes().push(b'\'');
        out.bytes().extend_from_slice(fragment);
        extra(&mut Writer::in_stream(out.bytes()));
        out.bytes().extend_from_slice(b"</message>");
        out.end(true);
    }

    /// The same as [`Show::message`], for an answer that stands for an entry made before.
    pub(in crate::xmpp) fn repeated(&self, by: &User, id: MsgId, fragment: &[u8], out: &mut Pieces) {
        self.message(&self.address(by), fragment, out, |w| {
            stanza_id(w, Some(id), &self.jid);
            self.occupant_id(w, id.room, by.id);
        });
    }
}

/// Whether somebody is out for being no member any more (XEP-0045 §9.4).
fn is_unaffiliated(change: &MemberChange) -> bool {
    let native = change.native.as_ref().filter(|native| native.protocol == XMPP_NATIVE);
    native.is_some_and(|native| *native.bytes == *UNAFFILIATED.as_bytes())
}

/// Everything of a stanza up to the value of `to`, which is a hole.
fn open(start: &str, from: &str, out: &mut Pieces) {
    let bytes = out.bytes();
    bytes.extend_from_slice(start.as_bytes());
    escape_attr(from, bytes);
    bytes.extend_from_slice(b"' to='");
    out.hole(HOLE_TO);
}

/// What the masks of rooms are compared with, the same on every protocol.
pub(in crate::xmpp) fn mask_subject(user: &User, domain: &str) -> Str {
    Str::new(format!("{}!{}@{domain}", user.name.as_str(), user.name.folded()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(power: Power) -> Standing {
        Standing { membership: Membership::Joined, power }
    }

    #[test]
    fn powers_are_affiliations_and_roles() {
        let levels = Levels::default();
        for (power, is, does) in [
            (100, "owner", "moderator"),
            (75, "admin", "moderator"),
            (50, "admin", "moderator"),
            (25, "member", "moderator"),
            (10, "member", "participant"),
            (0, "none", "participant"),
            (-1, "none", "visitor"),
        ] {
            assert_eq!((affiliation(at(power)), role(power, &levels)), (is, does), "{power}");
        }
        let moderated = Levels { speak: 10, ..levels };
        assert_eq!((role(0, &moderated), role(10, &moderated)), ("visitor", "participant"));
        assert_eq!(affiliation(Standing { membership: Membership::Banned, power: 0 }), "outcast");
    }
}
