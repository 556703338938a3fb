//! Who may state what in a room, by the authorisation rules: over the state events that hold, and those that an entry
//! sets before the one in question.

use crate::json::{DEPTH, Json};
use crate::matrix::event::sender;
use crate::matrix::pdu::{State, Version, auth_types, authorise};
use crate::object;
use lavina_core::chat::room::Room;
use lavina_core::seal::Seal;
use lavina_core::text::Str;
use std::collections::BTreeMap;

/// The id that stands for the create event where only the rules look at it.
const CREATE: &str = "$create";

/// A room's sealed state events, as far as the rules look at them.
pub struct Authority<'a> {
    room: &'a Room,
    version: Version,
    domain: &'a str,
    known: BTreeMap<(Str, Str), Option<Held>>,
    /// Links of the room's chain so far.
    links: u64,
}

/// A state event that holds.
struct Held {
    event: Json,
    seal: Option<Seal>,
}

/// An event that somebody wants to make.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Its type.
    pub kind: &'a str,
    /// For state: the key.
    pub state_key: Option<&'a str>,
    /// Who sends it.
    pub sender: &'a str,
    /// What it says.
    pub content: &'a Json,
}

impl<'a> Authority<'a> {
    /// The state as it is in the room. `domain`: ours.
    pub fn new(room: &'a Room, version: Version, domain: &'a str) -> Authority<'a> {
        let links = room.link().map_or(0, lavina_core::seal::Sealed::depth_after);
        Authority { room, version, domain, known: BTreeMap::new(), links }
    }

    /// Whether the rules allow it.
    pub fn allows(&mut self, plan: Plan<'_>) -> bool {
        self.load("m.room.create", "");
        for (kind, key) in self.types(plan) {
            self.load(kind, &key);
        }
        let before = if self.links == 1 { CREATE } else { "$before" };
        let mut event = event(plan.kind, plan.state_key, plan.sender, plan.content.clone());
        if self.links > 0 {
            event.set("prev_events", [before]);
        }
        let create = plan.kind == "m.room.create";
        if create && !self.version.room_id_is_hash() {
            event.set("room_id", format!("!r:{}", self.domain));
        }
        let state = State {
            get: &|kind, key| {
                self.known.get(&(Str::new(kind), Str::new(key))).and_then(Option::as_ref).map(|h| &h.event)
            },
            create_id: CREATE,
            signed_by: &|server| server == self.domain,
            third_party: &|_, _| false,
        };
        authorise(&event, self.version, &state).is_ok()
    }

    /// The names of the events that authorise it.
    pub fn names(&mut self, plan: Plan<'_>) -> Vec<Seal> {
        let types = self.types(plan);
        let found = types.into_iter().filter_map(|(kind, key)| {
            self.load(kind, &key);
            self.known.get(&(Str::new(kind), key))?.as_ref()?.seal
        });
        found.collect()
    }

    /// It is made. Its name, where that is known already.
    pub fn put(&mut self, plan: Plan<'_>, seal: Option<Seal>) {
        self.links += 1;
        if let Some(key) = plan.state_key {
            let event = event(plan.kind, plan.state_key, plan.sender, plan.content.clone());
            self.known.insert((Str::new(plan.kind), Str::new(key)), Some(Held { event, seal }));
        }
    }

    fn types(&self, plan: Plan<'_>) -> Vec<(&'static str, Str)> {
        auth_types(plan.kind, plan.state_key, plan.sender, plan.content, self.version)
    }

    fn load(&mut self, kind: &str, key: &str) {
        let place = (Str::new(kind), Str::new(key));
        if self.known.contains_key(&place) {
            return;
        }
        let row = self.room.facts.get(&place).and_then(|row| row.sealed());
        let held = row.and_then(|row| {
            let content = Json::parse_within(&row.fact.content, DEPTH + 1).ok()?;
            let event = event(kind, Some(key), &sender(&row.by, self.domain), content);
            Some(Held { event, seal: row.seal })
        });
        self.known.insert(place, held);
    }
}

fn event(kind: &str, state_key: Option<&str>, sender: &str, content: Json) -> Json {
    let mut event = object! { "type" => kind, "sender" => sender, "content" => content };
    if let Some(key) = state_key {
        event.set("state_key", key);
    }
    event
}
