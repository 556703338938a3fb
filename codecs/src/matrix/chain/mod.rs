//! The events of a room as a chain (server-server API, "PDUs"; rooms of ours are a line: each event comes after one).
//!
//! [`seal`] is called inside `apply`, for each entry of an open room that has its facts: it makes the event of each, once
//! and for ever, and gives its name, the reference hash. What it takes to make the same event again is stored with the
//! entry; [`pdu`] makes it, for other servers.
//!
//! What the authorisation rules do not allow is no link of the chain: somebody outside who speaks into a room, say. It
//! keeps the id that [`crate::matrix::ids`] makes, as entries from before the room was opened do.
//!
//! # What is stored
//!
//! | part of the event | where it is |
//! |---|---|
//! | content of a message | the native form of its author; a plain text; else [`Sealed::content`] |
//! | content of state | the fact |
//! | `prev_events`, `depth` | [`Sealed::before`], [`Sealed::depth`] |
//! | `auth_events` | [`Sealed::rest`], see [`Rest`] |
//! | content hash | made of the content; where that is gone, [`Sealed::gone`] |
//! | the rest | the entry |

mod authority;
mod rest;
mod sign;
#[cfg(test)]
mod tests;

pub use authority::{Authority, Plan};
pub use rest::Rest;
pub use sign::SigningKey;

use super::content::{Shown, Write, pack, plain, unpack, write};
use super::event::sender;
use super::facts::Opening;
use super::ids::{EventRef, IdKey};
use super::pdu::{self, Version};
use crate::json::{DEPTH, Json};
use crate::object;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use lavina_core::chat::room::Room;
use lavina_core::event::{Actor, Event, What};
use lavina_core::name::UserName;
use lavina_core::policy::{Membership, power};
use lavina_core::row::RoomHead;
use lavina_core::seal::{Seal, Sealed};
use lavina_core::settings::Settings;
use lavina_core::text::Str;

/// The id of a sealed event.
pub fn event_id(seal: &Seal) -> String {
    format!("${}", BASE64URL_NOPAD.encode(&seal.0))
}

/// The seal that a room or event id can be, whoever made it.
pub fn seal_of(id: &str) -> Option<Seal> {
    let bytes = BASE64URL_NOPAD.decode(id.strip_prefix(['$', '!'])?.as_bytes()).ok()?;
    bytes.try_into().ok().map(Seal)
}

/// The version of an open room.
pub fn version(head: &RoomHead) -> Option<Version> {
    match &head.known {
        // Only these have no server in them.
        Some(id) if !id.contains(':') => Some(Version::V12),
        _ => Version::named(&Opening::read(head.open.as_ref()?)?.version),
    }
}

/// Seals an entry, see [`lavina_core::settings::SealsOf`].
pub fn seal(room: &Room, event: &mut Event, settings: &Settings) -> Option<Str> {
    let head = room.head.as_ref()?;
    let creates = event.facts.first().is_some_and(|f| f.kind == "m.room.create");
    let link = room.link();
    if link.is_none() && !creates {
        return None;
    }
    let version = version(head)?;
    let known = match version.room_id_is_hash() {
        true => head.known.clone(),
        false => Some(Str::new(IdKey::new(&settings.secret).room_id_at(room.id, &settings.domain))),
    };
    let (before, depth) = link.map_or((None, 0), |l| (l.tip(), l.depth_after()));
    let mut maker = Maker {
        authority: Authority::new(room, version, &settings.domain),
        version,
        domain: &settings.domain,
        known,
        sealed: Sealed {
            names: Vec::new(),
            before,
            depth,
            rest: Default::default(),
            content: None,
            gone: Vec::new(),
        },
        rest: Rest::default(),
    };
    if event.facts.is_empty() {
        maker.message(room, event, settings);
    } else {
        maker.facts(event);
    }
    let Maker { mut sealed, rest, known, .. } = maker;
    sealed.rest = rest.write();
    event.sealed = Some(Box::new(sealed));
    known.filter(|_| creates)
}

/// The seals of an entry in the making.
struct Maker<'a> {
    authority: Authority<'a>,
    version: Version,
    domain: &'a str,
    known: Option<Str>,
    sealed: Sealed,
    rest: Rest,
}

impl Maker<'_> {
    fn facts(&mut self, event: &Event) {
        for fact in &event.facts {
            let by = sender(fact.by.as_ref().unwrap_or(&event.by), self.domain);
            let content = Json::parse_within(&fact.content, DEPTH + 1).ok();
            let name = content.as_ref().and_then(|content| {
                let plan = Plan { kind: &fact.kind, state_key: Some(&fact.key), sender: &by, content };
                self.link(plan, event)
            });
            if fact.kind == "m.room.create" && self.version.room_id_is_hash() {
                let hash = name.map(|seal| BASE64URL_NOPAD.encode(&seal.0));
                self.known = hash.map(|hash| Str::new(format!("!{hash}")));
            }
            self.sealed.names.push(name);
        }
    }

    fn message(&mut self, room: &Room, event: &Event, settings: &Settings) {
        let Some(shown) = shown(room, event, settings) else { return };
        if fixed(event).as_ref() != Some(&shown) {
            self.sealed.content = Some(pack(&shown.kind, &shown.content).bytes);
        }
        let by = sender(&event.by, self.domain);
        let plan = Plan { kind: &shown.kind, state_key: None, sender: &by, content: &shown.content };
        let name = self.link(plan, event);
        self.sealed.names.push(name);
    }

    /// The name of the event that is the chain's next link; none where the rules do not allow it.
    fn link(&mut self, plan: Plan<'_>, event: &Event) -> Option<Seal> {
        if !self.authority.allows(plan) {
            return None;
        }
        let auth = self.authority.names(plan);
        let (before, depth) = self.sealed.link(self.sealed.names.len());
        let form = Form { plan, at: event.at.0, before, depth, auth: &auth, version: self.version };
        let mut pdu = form.write(self.known.as_deref());
        let id = pdu::finish(&mut pdu, self.version).ok()?;
        pdu::check_format(&pdu, self.version).ok()?;
        let seal = seal_of(&id)?;
        self.rest.push(auth, &self.sealed.names);
        self.authority.put(plan, Some(seal));
        Some(seal)
    }
}

/// What an entry that is no state says, by what the room knows now.
fn shown(room: &Room, event: &Event, settings: &Settings) -> Option<Shown> {
    let ids = IdKey::new(&settings.secret);
    let there = |name: &UserName| {
        let is = |m: &lavina_core::policy::Member| {
            m.standing.membership == Membership::Joined && m.user.name == *name
        };
        room.members.values().any(is)
    };
    let power = event.by.user().map_or(0, |u| room.standing(u.id).power);
    let with = Write {
        ids: &ids,
        seal: &|e: EventRef| room.entry(e.pos)?.seal(e.sub),
        domain: &settings.domain,
        known: &there,
        notify_room: power >= power::MODERATOR,
    };
    write(event, undone(room, event), &with)
}

/// The reaction that this one takes back, if it is in memory.
fn undone(room: &Room, event: &Event) -> Option<EventRef> {
    let What::Reacted { target, key, on: false, .. } = &event.what else { return None };
    let adds = |e: &&std::sync::Arc<Event>| {
        e.by == event.by
            && matches!(&e.what, What::Reacted { target: t, key: k, on: true, .. } if t == target && k == key)
    };
    room.tail.iter().rev().find(adds).map(|e| EventRef::new(room.id, e.pos))
}

/// What an entry says that is no state, where that needs nothing else: what its author's client sent, or a plain text. This
/// never changes: hashes depend on it.
pub fn fixed(event: &Event) -> Option<Shown> {
    match &event.what {
        What::Said(m) | What::Edited { message: m, .. } => {
            let native = m.native.as_ref().and_then(unpack).map(|(kind, content)| Shown { kind, content });
            native.or_else(|| plain(m).filter(|_| matches!(event.what, What::Said(_))))
        }
        What::Reacted { native, on: true, .. }
        | What::Redacted { native, .. }
        | What::Withdrawn { native, .. } => {
            let (kind, content) = native.as_ref().and_then(unpack)?;
            Some(Shown { kind, content })
        }
        _ => None,
    }
}

/// What a sealed entry that is no state says, as it was sealed; what is left of it, once its content is gone.
pub fn said(event: &Event) -> Option<Shown> {
    let sealed = event.sealed.as_ref()?;
    match &event.what {
        What::Said(m) | What::Edited { message: m, .. } if m.gone => return Some(Shown::hollow(m)),
        _ => {}
    }
    match &sealed.content {
        Some(bytes) => {
            let (kind, content) = super::content::unpack_bytes(bytes)?;
            Some(Shown { kind, content })
        }
        None => fixed(event).filter(|_| !sealed.names.is_empty()),
    }
}

/// An event in the servers' format.
struct Form<'a> {
    plan: Plan<'a>,
    at: u64,
    before: Option<Seal>,
    depth: u64,
    auth: &'a [Seal],
    version: Version,
}

impl Form<'_> {
    /// `room`: the room's id.
    fn write(&self, room: Option<&str>) -> Json {
        let Plan { kind, state_key, sender, content } = self.plan;
        let mut content = content.clone();
        let mut out = object! {
            "auth_events" => self.auth.iter().map(event_id).collect::<Vec<_>>(),
            "depth" => self.depth,
            "hashes" => object! {},
            "origin_server_ts" => self.at,
            "prev_events" => self.before.iter().map(event_id).collect::<Vec<_>>(),
            "sender" => sender,
            "signatures" => object! {},
            "type" => kind,
        };
        if kind == "m.room.redaction"
            && !self.version.redacts_in_content()
            && let Some(target) = content.take("redacts")
        {
            out.set("redacts", target);
        }
        out.set("content", content);
        let hash = self.version.room_id_is_hash();
        if let Some(room) = room.filter(|_| !hash || kind != "m.room.create") {
            out.set("room_id", room);
        }
        if let Some(key) = state_key {
            out.set("state_key", key);
        }
        out
    }
}

/// The event that a piece of a sealed entry is, in the servers' format and without signatures; of one that was withdrawn
/// what is left. None if it is no link of the room's chain.
pub fn pdu(head: &RoomHead, event: &Event, nth: u8, domain: &str) -> Option<Json> {
    let sealed = event.sealed.as_ref()?;
    sealed.name(nth.into())?;
    let version = version(head)?;
    let (form, hash) = form(head, event, nth, version, domain)?;
    let mut form = form;
    form.set("hashes", object! { "sha256" => hash });
    match sealed.left(nth.into()) {
        Some(_) => Some(pdu::redact(&form, version)),
        None => Some(form),
    }
}

/// The event without its content hash, and that.
fn form(head: &RoomHead, event: &Event, nth: u8, version: Version, domain: &str) -> Option<(Json, String)> {
    let sealed = event.sealed.as_ref()?;
    let at = usize::from(nth);
    let (before, depth) = sealed.link(at);
    let auth = Rest::read(&sealed.rest)?.auth(at, &sealed.names)?;
    let fact = event.facts.get(at);
    let (kind, content, by): (Str, Json, &Actor) = match fact {
        Some(fact) => {
            let content = Json::parse_within(&fact.content, DEPTH + 1).ok()?;
            (fact.kind.clone(), content, fact.by.as_ref().unwrap_or(&event.by))
        }
        None => {
            let Shown { kind, content } = said(event)?;
            (kind, content, &event.by)
        }
    };
    let by = sender(by, domain);
    let state_key = fact.map(|f| f.key.as_str());
    let plan = Plan { kind: &kind, state_key, sender: &by, content: &content };
    let form = Form { plan, at: event.at.0, before, depth, auth: &auth, version };
    let form = form.write(head.known.as_deref());
    let hash = match sealed.left(at) {
        Some(left) => BASE64_NOPAD.encode(&left.0),
        None => pdu::content_hash(&form).ok()?,
    };
    Some((form, hash))
}

/// The content hash of a piece whose content is about to go, see [`lavina_core::settings::SealsOf`].
pub fn left(room: &Room, event: &Event, nth: u8, settings: &Settings) -> Option<Seal> {
    event.seal(nth)?;
    let head = room.head.as_ref()?;
    let (_, hash) = form(head, event, nth, version(head)?, &settings.domain)?;
    BASE64_NOPAD.decode(hash.as_bytes()).ok()?.try_into().ok().map(Seal)
}
