//! The state events that the entries of a room are (client-server API, "Room events").
//!
//! [`facts`] is called inside `apply`, for each entry of an open room: it says which state events the entry sets. What
//! people of other protocols change becomes the event that says the same here; a state event without a neutral meaning
//! is a named value of the room, under [`attr_key`].
//!
//! The first entry of a room that is born open states its making, the second the maker's join, and
//! [`What::Opened`] all the rest in the order of createRoom. A room that is opened later states everything then: by the
//! server's own user, which comes for that and leaves; people's own joins are theirs.
//!
//! Each is stated by somebody who may do so by the rules of Matrix, which differ from those of other protocols: see
//! [`Facts::state`].

use super::chain::{self, Authority, Plan};
use super::ids::user_id;
use super::levels::{self, POWER_LEVELS};
use super::meaning;
use super::member;
use super::pdu::Version;
use crate::json::{DEPTH, Json};
use crate::object;
use lavina_core::chat::room::Room;
use lavina_core::event::{Actor, Event, Fact, How, MemberChange, What};
use lavina_core::ids::{AccountId, RoomId};
use lavina_core::name::User;
use lavina_core::policy::{JoinRule, Levels, Member, Membership, Policy, Power, power};
use lavina_core::settings::Settings;
use lavina_core::text::{Octets, Rich, Str};
use std::collections::BTreeMap;

/// What the keys of a room's values begin with that are state events.
pub const PREFIX: &str = "m/";

/// Divides type and state key in the key of such a value.
const DIVIDER: char = '\u{1f}';

/// The most facts of one entry; what is not stated by then the next entry states.
pub const FACTS_MAX: usize = u8::MAX as usize;

/// Members who are asked whether they may state what another may not, at most.
const HANDS: usize = 16;

/// Types of state that are made here.
const MEMBER: &str = "m.room.member";
const JOIN_RULES: &str = "m.room.join_rules";

/// The key of the room's value that is this state event.
pub fn attr_key(kind: &str, state_key: &str) -> Str {
    Str::new(format!("{PREFIX}{kind}{DIVIDER}{state_key}"))
}

/// Type and state key, if the value of that key is a state event.
pub fn kind_and_key(attr: &str) -> Option<(&str, &str)> {
    attr.strip_prefix(PREFIX)?.split_once(DIVIDER)
}

/// The levels of a dialog: its two people speak, and that is all.
const NOBODY: Levels =
    Levels { speak: 0, invite: 100, kick: 100, ban: 100, redact: 100, topic: 100, state: 100, users: 0 };

/// How a room is open: what its create event says. Stored with the room, as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// The version of the room.
    pub version: Str,
    /// The create event's content but for version and creator.
    pub content: Json,
    /// The keys of values in the order in which they are first stated.
    pub order: Vec<Str>,
}

/// The key of a create event's content that tells rooms apart.
const NONCE: &str = "lavina.room";

impl Opening {
    /// A room that was not made by a Matrix client.
    pub fn plain(version: &str) -> Opening {
        Opening { version: Str::new(version), content: Json::object(), order: Vec::new() }
    }

    /// As it is stored.
    pub fn write(&self) -> Octets {
        let whole = object! {
            "room_version" => &self.version,
            "creation_content" => self.content.clone(),
            "order" => self.order.clone(),
        };
        Octets::from(whole.to_bytes())
    }

    /// As it was stored.
    pub fn read(bytes: &[u8]) -> Option<Opening> {
        let mut whole = Json::parse_within(bytes, DEPTH + 1).ok()?;
        let version = Str::new(whole.str_of("room_version")?);
        let order = whole.get("order").and_then(Json::as_array).unwrap_or_default();
        let order = order.iter().filter_map(|key| key.as_str().map(Str::new)).collect();
        Some(Opening { version, order, content: whole.take("creation_content")? })
    }

    /// The rules of its version.
    pub fn rules(&self) -> Version {
        Version::named(&self.version).unwrap_or(Version::V12)
    }

    /// Whether its creators are above all power levels (room version 12).
    pub fn has_creators(&self) -> bool {
        self.rules().room_id_is_hash()
    }

    /// The content of the create event. Where its hash is the room's id, rooms that one person makes in the same
    /// millisecond must differ in it.
    fn create(&self, creator: &str, room: RoomId) -> Json {
        let mut content = self.content.clone();
        if self.has_creators() {
            content.set(NONCE, format!("{:016x}", room.0));
        }
        content.set("room_version", &self.version);
        if self.rules().creator_in_content() {
            content.set("creator", creator);
        }
        content
    }
}

/// What it takes to set that value of an open room: the level of the state event that it is.
pub fn level(room: &Room, key: &str) -> Option<Power> {
    let (kind, _) = kind_and_key(key)?;
    let content = current(room, POWER_LEVELS, "")?;
    Some(levels::needed(&content, kind, true))
}

/// The state events that an entry sets. `room`: as it is before the entry, see
/// [`FactsOf`](lavina_core::settings::FactsOf).
pub fn facts(room: &Room, event: &Event, settings: &Settings) -> Vec<Fact> {
    let mut out =
        Facts { room, event, settings, domain: &settings.domain, facts: Vec::new(), authority: None };
    match &event.what {
        What::Created(_) => out.created(),
        What::Member(change) => out.member(change),
        What::Opened => out.opened(),
        What::Policy { after, .. } => out.policy(after),
        What::Topic(text) => out.differs("m.room.topic", "", meaning::topic_content(text)),
        What::Attr { key, value } => out.attr(key, value),
        What::Destroyed { reason, .. } => out.destroyed(reason.as_ref()),
        What::Said(_) | What::Edited { .. } | What::Redacted { .. } | What::Reacted { .. } => {}
        What::Masks { .. } | What::Withdrawn { .. } => {}
    }
    out.facts
}

/// The content of a state event as it holds.
fn current(room: &Room, kind: &str, key: &str) -> Option<Json> {
    let row = room.facts.get(&(Str::new(kind), Str::new(key)))?;
    Json::parse_within(&row.fact.content, DEPTH + 1).ok()
}

/// The facts of an entry in the making.
struct Facts<'a> {
    room: &'a Room,
    event: &'a Event,
    settings: &'a Settings,
    domain: &'a str,
    facts: Vec<Fact>,
    /// Who may state what; none before it is asked.
    authority: Option<Authority<'a>>,
}

impl<'a> Facts<'a> {
    /// States a fact. `by`: who, if it is not who made the entry.
    ///
    /// Who may not by the rules of Matrix, as whoever got a right by another protocol's, does it by the hand of somebody
    /// who may: of another member, or of the server's own user, which comes for it and leaves where it made the room. Who
    /// comes in without an invitation that the rules ask for is given one. What nobody may state is stated all the same,
    /// but is no link of the chain.
    fn push(&mut self, kind: &str, key: &str, content: &Json, by: Option<Actor>) {
        let by = by.unwrap_or_else(|| self.event.by.clone());
        if !self.is_sealed() {
            return self.put(kind, key, content, by);
        }
        if let Some(by) = self.hand(kind, key, content, &by) {
            return self.put(kind, key, content, by);
        }
        let membership = content.str_of("membership").unwrap_or_default();
        if kind == MEMBER && membership == "join" {
            let invite = member::plain(Membership::Invited, None);
            if let Some(host) = self.hand(MEMBER, key, &invite, &Actor::Server) {
                self.put(MEMBER, key, &invite, host);
            }
            return self.put(kind, key, content, by);
        }
        let server = super::ids::server_id(self.domain);
        let (comes, goes) = (member::plain(Membership::Joined, None), member::plain(Membership::Left, None));
        let makes = self.room.facts.get(&(Str::new("m.room.create"), Str::default()));
        let makes = makes.is_some_and(|row| row.by == Actor::Server) && key != server;
        if makes && self.allows(MEMBER, &server, &comes, &Actor::Server) {
            self.put(MEMBER, &server, &comes, Actor::Server);
            if self.allows(kind, key, content, &Actor::Server) {
                self.put(kind, key, content, Actor::Server);
            }
            self.put(MEMBER, &server, &goes, Actor::Server);
        } else {
            self.put(kind, key, content, by);
        }
    }

    fn put(&mut self, kind: &str, key: &str, content: &Json, by: Actor) {
        if self.facts.len() >= FACTS_MAX {
            return;
        }
        if self.is_sealed() && self.allows(kind, key, content, &by) {
            let sender = super::event::sender(&by, self.domain);
            let plan = Plan { kind, state_key: Some(key), sender: &sender, content };
            self.authority.as_mut().into_iter().for_each(|a| a.put(plan, None));
        }
        let by = Some(by).filter(|by| *by != self.event.by);
        let (kind, key, content) = (Str::new(kind), Str::new(key), Octets::from(content.to_bytes()));
        self.facts.push(Fact { kind, key, content, by, before: None, replaces: None, gone: false });
    }

    /// Whether the room is a chain of events, or begins to be one.
    fn is_sealed(&self) -> bool {
        let begins = || !self.room.facts.contains_key(&(Str::new("m.room.create"), Str::default()));
        self.settings.seals.is_some()
            && !self.room.id.is_transient()
            && (self.room.link().is_some() || begins())
    }

    fn allows(&mut self, kind: &str, key: &str, content: &Json, by: &Actor) -> bool {
        if self.authority.is_none() {
            let version = self.room.head.as_ref().and_then(chain::version);
            self.authority = version.map(|version| Authority::new(self.room, version, self.domain));
        }
        let sender = super::event::sender(by, self.domain);
        let plan = Plan { kind, state_key: Some(key), sender: &sender, content };
        self.authority.as_mut().is_some_and(|a| a.allows(plan))
    }

    /// Who may state it: who wants to, the server, or the mightiest who is there.
    fn hand(&mut self, kind: &str, key: &str, content: &Json, by: &Actor) -> Option<Actor> {
        if self.allows(kind, key, content, by) {
            return Some(by.clone());
        }
        if kind == MEMBER && matches!(content.str_of("membership"), Some("join" | "knock")) {
            return None;
        }
        let room = self.room;
        let there = room.members.values().filter(|m| m.standing.membership == Membership::Joined);
        let mut hands: Vec<&Member> = there.collect();
        hands.sort_by_key(|m| (std::cmp::Reverse(m.standing.power), m.since, m.user.id));
        let hands = hands.into_iter().take(HANDS).map(|m| Actor::User(m.user.clone()));
        [Actor::Server].into_iter().chain(hands).find(|by| self.allows(kind, key, content, by))
    }

    /// Stated before, or by this entry already.
    fn stated(&self, kind: &str, key: &str) -> bool {
        self.facts.iter().any(|f| f.kind == kind && f.key == key)
            || self.room.facts.contains_key(&(Str::new(kind), Str::new(key)))
    }

    /// States it if it is not stated yet.
    fn first(&mut self, kind: &str, key: &str, content: &Json, by: Option<Actor>) {
        if !self.stated(kind, key) {
            self.push(kind, key, content, by);
        }
    }

    /// States it if it is not so already.
    fn differs(&mut self, kind: &str, key: &str, content: Json) {
        if current(self.room, kind, key).as_ref() != Some(&content) {
            self.push(kind, key, &content, None);
        }
    }

    fn opening(&self) -> Option<Opening> {
        Opening::read(self.room.head.as_ref()?.open.as_ref()?)
    }

    /// What says how one comes in.
    fn join_rules(&self, policy: &Policy) -> Json {
        let version = self.opening().map_or(Version::V12, |opening| opening.rules());
        meaning::join_rules(policy, self.native(JOIN_RULES, ""), version)
    }

    /// What a client set, if the room keeps it.
    fn native(&self, kind: &str, key: &str) -> Option<Json> {
        let value = self.room.attrs.get(&attr_key(kind, key))?;
        Json::parse_within(value, DEPTH + 1).ok()
    }

    /// The rules. Nobody rules a dialog, and nobody comes into one.
    fn policy_now(&self) -> Policy {
        let Some(head) = &self.room.head else { return Policy::default() };
        let policy = head.policy.clone();
        match head.parties {
            None => policy,
            Some(_) => Policy { join: JoinRule::Invite, invites: true, levels: NOBODY, ..policy },
        }
    }

    fn created(&mut self) {
        let Some(opening) = self.opening() else { return };
        let by = self.event.by.clone();
        let creator = super::event::sender(&by, self.domain);
        self.push("m.room.create", "", &opening.create(&creator, self.event.room), None);
    }

    // --- people ---

    fn member(&mut self, change: &MemberChange) {
        let renamed = matches!(change.how, How::Rename | How::Shown | How::Alias);
        let moved = change.before.membership != change.after.membership;
        let again = matches!(change.how, How::Invite | How::Ban | How::Join | How::Kick);
        if renamed || moved || again {
            let content = member::of_change(change);
            let by = member::by_himself(change.how).then(|| Actor::User(change.user.clone()));
            let id = user_id(&change.user, self.domain);
            if !renamed || current(self.room, MEMBER, &id).as_ref() != Some(&content) {
                self.push(MEMBER, &id, &content, by);
            }
        }
        if change.before.power != change.after.power && self.stated(POWER_LEVELS, "") {
            self.powers(Some(change), &self.policy_now());
        }
    }

    /// The power levels, if they are not as they were. Who has no right to set them did so as the server's hand.
    fn powers(&mut self, change: Option<&MemberChange>, policy: &Policy) {
        let base = current(self.room, POWER_LEVELS, "").unwrap_or_else(Json::object);
        let needed = levels::needed(&base, POWER_LEVELS, true);
        let content = levels::write(base, policy, self.room, change, self.domain);
        let may = self.event.by.user().is_some_and(|u| self.room.standing(u.id).power >= needed);
        if current(self.room, POWER_LEVELS, "").as_ref() != Some(&content) {
            // Where nothing is sealed, the server does it.
            self.push(POWER_LEVELS, "", &content, (!may && !self.is_sealed()).then_some(Actor::Server));
        }
    }

    fn destroyed(&mut self, reason: Option<&Str>) {
        let gone = |m: &Membership| !matches!(m, Membership::Left | Membership::Banned);
        let room = self.room;
        let members = room.members.values().filter(|m| gone(&m.standing.membership));
        for member in members.take(FACTS_MAX) {
            let content = member::plain(Membership::Left, reason);
            let by = Actor::User(member.user.clone());
            self.push(MEMBER, &user_id(&member.user, self.domain), &content, Some(by));
        }
    }

    // --- the room's own things ---

    fn policy(&mut self, after: &Policy) {
        if !self.stated(POWER_LEVELS, "") {
            return;
        }
        self.differs(JOIN_RULES, "", self.join_rules(after));
        self.differs("m.room.history_visibility", "", meaning::history_visibility(after));
        let titled = current(self.room, "m.room.name", "").map_or(Str::default(), |c| meaning::title(&c));
        if titled != after.title {
            self.push("m.room.name", "", &meaning::name(&after.title), None);
        }
        self.powers(None, after);
    }

    fn attr(&mut self, key: &str, value: &[u8]) {
        let Some((kind, state_key)) = kind_and_key(key) else { return };
        let content = match value {
            [] => Json::object(),
            _ => Json::parse_within(value, DEPTH + 1).unwrap_or_else(|_| Json::object()),
        };
        let content = match kind {
            POWER_LEVELS if state_key.is_empty() => {
                levels::write(content, &self.policy_now(), self.room, None, self.domain)
            }
            _ => content,
        };
        self.push(kind, state_key, &content, None);
    }

    /// Everything that is not stated yet.
    fn opened(&mut self) {
        let Some(opening) = self.opening() else { return };
        let late = !self.stated("m.room.create", "");
        let server = super::ids::server_id(self.domain);
        if late {
            self.push("m.room.create", "", &opening.create(&server, self.event.room), None);
            self.push(MEMBER, &server, &member::plain(Membership::Joined, None), None);
        }
        self.restate_levels(&opening);
        let policy = self.policy_now();
        self.restate_joined();
        let head = self.room.head.as_ref();
        let native = self.native("m.room.canonical_alias", "");
        if let Some(alias) = native.or_else(|| head.and_then(|h| meaning::canonical_alias(h, self.domain))) {
            self.first("m.room.canonical_alias", "", &alias, None);
        }
        let listed = |kind: &str| opening.order.iter().any(|key| *key == attr_key(kind, ""));
        let join_rules = self.join_rules(&policy);
        let of_presets = [
            (JOIN_RULES, Some(join_rules)),
            ("m.room.history_visibility", Some(meaning::history_visibility(&policy))),
            ("m.room.guest_access", self.native("m.room.guest_access", "")),
        ];
        for (kind, content) in &of_presets {
            match content.as_ref().filter(|_| !listed(kind)) {
                Some(content) if *kind == JOIN_RULES => self.rules(content),
                Some(content) => self.first(kind, "", content, None),
                None => {}
            }
        }
        self.restate_values(&opening, &of_presets);
        if !policy.title.is_empty() {
            let native = self.native("m.room.name", "").filter(|n| meaning::title(n) == policy.title);
            self.first("m.room.name", "", &native.unwrap_or_else(|| meaning::name(&policy.title)), None);
        }
        let topic = self.room.topic.as_ref().map(|t| t.text.clone()).filter(|t| !t.text.is_empty());
        if let Some(topic) = topic {
            self.first("m.room.topic", "", &self.topic(&topic), None);
        }
        self.restate_members();
        self.server_leaves(&server);
        self.facts.truncate(FACTS_MAX);
    }

    fn topic(&self, text: &Rich) -> Json {
        let native = self.native("m.room.topic", "").filter(|n| meaning::topic(n).text == text.text);
        native.unwrap_or_else(|| meaning::topic_content(text))
    }

    fn restate_levels(&mut self, opening: &Opening) {
        if self.stated(POWER_LEVELS, "") {
            return;
        }
        let base = self.native(POWER_LEVELS, "").unwrap_or_else(|| {
            let mut fresh = levels::fresh(opening.has_creators(), true);
            fresh.set("events", Json::object());
            fresh
        });
        let content = levels::write(base, &self.policy_now(), self.room, None, self.domain);
        self.push(POWER_LEVELS, "", &content, None);
    }

    /// Values that are state events: first in the order in which they were given.
    fn restate_values(&mut self, opening: &Opening, of_presets: &[(&str, Option<Json>)]) {
        let rest = self.room.attrs.keys().filter(|key| !opening.order.contains(key)).cloned();
        let keys: Vec<Str> = opening.order.iter().cloned().chain(rest).collect();
        for key in keys {
            let Some((kind, state_key)) = kind_and_key(&key) else { continue };
            let of_presets = of_presets.iter().find(|(k, _)| *k == kind && state_key.is_empty());
            let content = of_presets.and_then(|(_, c)| c.clone()).or_else(|| self.native(kind, state_key));
            // Name and topic come last.
            let later = matches!(kind, "m.room.name" | "m.room.topic") && state_key.is_empty();
            if let Some(content) = content.filter(|_| !later || !self.is_neutral(kind)) {
                self.first(kind, state_key, &content, None);
            }
        }
    }

    /// Whether the room has a title or topic that says what such a value said once.
    fn is_neutral(&self, kind: &str) -> bool {
        match kind {
            "m.room.name" => !self.policy_now().title.is_empty(),
            _ => self.room.topic.is_some(),
        }
    }

    /// Who is there came in by the rules: the door is open for so long, whatever it is after.
    fn restate_joined(&mut self) {
        let rows = self.rows(|m| m == Membership::Joined);
        let rows: Vec<&Member> =
            rows.into_iter().filter(|m| !self.stated(MEMBER, &user_id(&m.user, self.domain))).collect();
        if rows.is_empty() {
            return;
        }
        self.first(JOIN_RULES, "", &object! { "join_rule" => "public" }, None);
        for row in rows {
            let by = Some(Actor::User(row.user.clone()));
            self.first(MEMBER, &user_id(&row.user, self.domain), &member::of_row(row), by);
        }
    }

    /// The join rules as they are, once everybody is there who is.
    fn rules(&mut self, content: &Json) {
        let mut said = self.facts.iter().rev().filter(|f| f.kind == JOIN_RULES && f.key.is_empty());
        let said = said.next().map(|f| Json::parse_within(&f.content, DEPTH + 1).ok());
        let now = said.unwrap_or_else(|| current(self.room, JOIN_RULES, ""));
        let late = now.is_none() || self.facts.iter().any(|f| f.kind == MEMBER) || self.came_first();
        if late && now.as_ref() != Some(content) {
            self.push(JOIN_RULES, "", content, None);
        }
    }

    /// Whether the server's own user is there to state the room.
    fn came_first(&self) -> bool {
        let server = super::ids::server_id(self.domain);
        current(self.room, MEMBER, &server).is_some_and(|c| c.str_of("membership") == Some("join"))
    }

    /// What others did to those who are not there, and who knocks.
    fn restate_members(&mut self) {
        for row in self.rows(|m| !matches!(m, Membership::Joined | Membership::Left)) {
            let by = match row.standing.membership {
                Membership::Knocking => Some(Actor::User(row.user.clone())),
                _ => row.by.as_deref().cloned().map(Actor::User),
            };
            let id = user_id(&row.user, self.domain);
            self.first(MEMBER, &id, &member::of_row(row), by);
        }
    }

    fn rows(&self, wanted: impl Fn(Membership) -> bool) -> Vec<&'a Member> {
        self.room.members.values().filter(|m| wanted(m.standing.membership)).collect()
    }

    /// The server's own user came for the restating alone.
    fn server_leaves(&mut self, server: &str) {
        let here = self.facts.iter().any(|f| f.kind == MEMBER && f.key == server) || self.came_first();
        if here && self.facts.len() < FACTS_MAX {
            self.push(MEMBER, server, &member::plain(Membership::Left, None), None);
        }
    }
}

/// The creators of a room, where they are above all power levels.
pub fn creators(members: &BTreeMap<AccountId, Member>) -> impl Iterator<Item = &User> {
    members.values().filter(|m| m.standing.power == power::CREATOR).map(|m| &m.user)
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
