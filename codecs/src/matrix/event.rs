//! The format of events for clients (client-server API, "Room event format").

use crate::json::{DEPTH, Json, Map};
use crate::matrix::content::{Shown, Write, write};
use crate::matrix::ids::{EventRef, IdKey, server_id, user_id};
use crate::object;
use lavina_core::event::{Actor, Event, Fact, FactRef};
use lavina_core::ids::RoomId;
use lavina_core::row::FactRow;
use lavina_core::seal::Seal;
use lavina_core::text::Str;
use lavina_core::time::UnixMillis;

/// One of the events that an entry of a room's log is.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomEvent {
    /// Which.
    pub id: EventRef,
    /// Its seal, if it has one: then that is its id.
    pub seal: Option<Seal>,
    /// Its type.
    pub kind: Str,
    /// For state: the key.
    pub state_key: Option<Str>,
    /// Its content.
    pub content: Json,
    /// Who sent it.
    pub sender: String,
    /// Milliseconds since 1970.
    pub at: UnixMillis,
}

/// What a server adds for the client that asks. Nothing of it is part of the event.
#[derive(Clone, Debug, Default)]
pub struct Unsigned<'a> {
    /// The time now: makes `age`.
    pub now: Option<UnixMillis>,
    /// What the client called the request that made it; only for that client.
    pub transaction: Option<&'a str>,
    /// The content of the state event that it replaced.
    pub prev_content: Option<&'a Json>,
    /// Who sent that one. No specification has it, yet clients look there for who invites them to talk alone.
    pub prev_sender: Option<&'a str>,
    /// The state event that it replaced.
    pub replaces_state: Option<String>,
    /// The redaction of it, in the same format.
    pub redacted_because: Option<&'a Json>,
    /// What relates to it, aggregated by kind of relation.
    pub relations: Option<&'a Json>,
    /// The membership of who asks, at the event.
    pub membership: Option<&'a str>,
    /// The state that goes with an invitation or a knock.
    pub room_state: Option<(&'static str, &'a [Json])>,
}

/// The id of who did something.
pub fn sender(by: &Actor, domain: &str) -> String {
    match by {
        Actor::Server => server_id(domain),
        Actor::User(user) => user_id(user, domain),
    }
}

/// The events that an entry is: those of its facts, or the one that it shows. `undone`: see [`write`].
pub fn events(event: &Event, undone: Option<EventRef>, with: &Write<'_>) -> Vec<RoomEvent> {
    if event.facts.is_empty() {
        return message_event(event, undone, with).into_iter().collect();
    }
    let numbered = (0..=u8::MAX).zip(&event.facts);
    numbered
        .filter_map(|(nth, fact)| {
            let at = FactRef { pos: event.pos, nth };
            let by = fact.by.as_ref().unwrap_or(&event.by);
            let shown = fact_event(event.room, at, fact, by, event.at, with.domain)?;
            Some(RoomEvent { seal: event.seal(nth), ..shown })
        })
        .collect()
}

/// The state event that a fact is, as it holds now.
pub fn state_event(room: RoomId, row: &FactRow, domain: &str) -> Option<RoomEvent> {
    let shown = fact_event(room, row.at, &row.fact, &row.by, row.time, domain)?;
    Some(RoomEvent { seal: row.seal, ..shown })
}

/// The id of the state event that a fact took the place of.
pub fn replaced(room: RoomId, fact: &Fact, ids: &IdKey) -> Option<String> {
    Some(ids.name(fact_ref(room, fact.before?, &fact.kind), fact.replaces.as_ref()))
}

/// Which event a fact is.
pub fn fact_ref(room: RoomId, at: FactRef, kind: &str) -> EventRef {
    match kind {
        "m.room.create" => EventRef::create(room),
        _ => EventRef { room, pos: at.pos, sub: at.nth },
    }
}

fn fact_event(
    room: RoomId,
    at: FactRef,
    fact: &Fact,
    by: &Actor,
    time: UnixMillis,
    domain: &str,
) -> Option<RoomEvent> {
    Some(RoomEvent {
        id: fact_ref(room, at, &fact.kind),
        seal: None,
        kind: fact.kind.clone(),
        state_key: Some(fact.key.clone()),
        content: Json::parse_within(&fact.content, DEPTH + 1).ok()?,
        sender: sender(by, domain),
        at: time,
    })
}

/// The event that an entry is which is no change of state; none if Matrix does not show it. `undone`: see [`write`].
pub fn message_event(event: &Event, undone: Option<EventRef>, with: &Write<'_>) -> Option<RoomEvent> {
    let Shown { kind, content } = write(event, undone, with)?;
    Some(RoomEvent {
        id: EventRef::new(event.room, event.pos),
        seal: event.seal(0),
        kind,
        state_key: None,
        content,
        sender: sender(&event.by, with.domain),
        at: event.at,
    })
}

impl RoomEvent {
    /// The event for clients. `room`: the room's id; none where the answer says it elsewhere, as `/sync` does.
    pub fn to_client(&self, unsigned: &Unsigned<'_>, room: Option<&str>, with: &Write<'_>) -> Json {
        let mut out = Map::new();
        out.insert("content", self.content.clone());
        out.insert("event_id", with.ids.name(self.id, self.seal.as_ref()));
        out.insert("origin_server_ts", self.at.0);
        if self.kind == "m.room.redaction"
            && let Some(target) = self.content.str_of("redacts")
        {
            // For clients of rooms before version 11 (room version 11, "Moving the redacts property").
            out.insert("redacts", target);
        }
        if let Some(room) = room {
            out.insert("room_id", room);
        }
        out.insert("sender", self.sender.as_str());
        if let Some(key) = &self.state_key {
            out.insert("state_key", key.clone());
        }
        out.insert("type", self.kind.clone());
        let unsigned = self.unsigned(unsigned);
        if !unsigned.is_empty() {
            out.insert("unsigned", unsigned);
        }
        Json::Object(out)
    }

    fn unsigned(&self, unsigned: &Unsigned<'_>) -> Map {
        let mut out = Map::new();
        if let Some(now) = unsigned.now {
            out.insert("age", now.0.saturating_sub(self.at.0));
        }
        if let Some(relations) = unsigned.relations {
            out.insert("m.relations", relations.clone());
        }
        if let Some(membership) = unsigned.membership {
            out.insert("membership", membership);
        }
        if let Some(content) = unsigned.prev_content {
            out.insert("prev_content", content.clone());
        }
        if let Some(sender) = unsigned.prev_sender {
            out.insert("prev_sender", sender);
        }
        if let Some(because) = unsigned.redacted_because {
            out.insert("redacted_because", because.clone());
        }
        if let Some(before) = &unsigned.replaces_state {
            out.insert("replaces_state", before.as_str());
        }
        if let Some((key, state)) = unsigned.room_state {
            out.insert(key, state.to_vec());
        }
        if let Some(transaction) = unsigned.transaction {
            out.insert("transaction_id", transaction);
        }
        out
    }

    /// Stripped state: what somebody outside may see of the room (client-server API, "Stripped state").
    pub fn stripped(&self) -> Json {
        object! {
            "content" => self.content.clone(),
            "sender" => self.sender.as_str(),
            "state_key" => self.state_key.as_deref().unwrap_or_default(),
            "type" => self.kind.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use lavina_core::event::{Message, What};
    use lavina_core::ids::{AccountId, Pos, RoomId, ShardId};
    use lavina_core::name::{User, UserName};
    use lavina_core::text::Rich;

    fn said(by: Actor, message: Message) -> Event {
        let what = What::Said(Box::new(message));
        Event {
            room: RoomId(5),
            pos: Pos(9),
            prev: Pos(8),
            at: UnixMillis(1000),
            by,
            once: None,
            what,
            facts: vec![],
            sealed: None,
        }
    }

    fn alice() -> Actor {
        let id = AccountId::fresh(64, ShardId(0), 64, false);
        Actor::User(User::new(id, UserName::new("Alice").unwrap()))
    }

    #[test]
    fn an_event_for_clients() {
        let ids = IdKey::new(&[0; 32]);
        let with =
            Write { ids: &ids, seal: &|_| None, domain: "x.org", known: &|_| true, notify_room: false };
        let event = said(alice(), Message { body: Rich::plain("hi"), ..Message::default() });
        let event = message_event(&event, None, &with).unwrap();
        let unsigned =
            Unsigned { now: Some(UnixMillis(1500)), transaction: Some("t1"), ..Unsigned::default() };
        let expected = object! {
            "content" => object! { "msgtype" => "m.text", "body" => "hi", "m.mentions" => object! {} },
            "event_id" => ids.coded_event_id(EventRef::new(RoomId(5), Pos(9))),
            "origin_server_ts" => 1000,
            "room_id" => ids.coded_room_id(RoomId(5)),
            "sender" => "@alice:x.org",
            "type" => "m.room.message",
            "unsigned" => object! { "age" => 500, "transaction_id" => "t1" },
        };
        assert_eq!(event.to_client(&unsigned, Some(&ids.coded_room_id(RoomId(5))), &with), expected);
        let short = event.to_client(&Unsigned::default(), None, &with);
        assert_eq!((short.get("room_id"), short.get("unsigned")), (None, None));
    }

    #[test]
    fn a_redaction_and_what_it_leaves() {
        let ids = IdKey::new(&[0; 32]);
        let with =
            Write { ids: &ids, seal: &|_| None, domain: "x.org", known: &|_| true, notify_room: false };
        let gone = said(Actor::Server, Message { gone: true, ..Message::default() });
        let what = What::Redacted {
            target: gone.pos,
            reason: None,
            author: Actor::Server,
            target_client_id: None,
            native: None,
        };
        let redaction = Event { pos: Pos(10), what, ..gone.clone() };
        let because =
            message_event(&redaction, None, &with).unwrap().to_client(&Unsigned::default(), None, &with);
        let target = ids.coded_event_id(EventRef::new(RoomId(5), Pos(9)));
        assert_eq!(because.str_of("redacts"), Some(target.as_str()));
        assert_eq!(because.str_at("content.redacts"), Some(target.as_str()));
        assert_eq!(because.str_of("sender"), Some("@_server:x.org"));
        let unsigned = Unsigned { redacted_because: Some(&because), ..Unsigned::default() };
        let left = message_event(&gone, None, &with).unwrap().to_client(&unsigned, None, &with);
        assert_eq!(left.get("content"), Some(&Json::object()));
        assert_eq!(left.at(&["unsigned", "redacted_because"]), Some(&because));
    }

    #[test]
    fn facts_are_state_events() {
        let ids = IdKey::new(&[0; 32]);
        let with =
            Write { ids: &ids, seal: &|_| None, domain: "x.org", known: &|_| true, notify_room: false };
        let fact = |kind: &str, by, before| Fact {
            kind: Str::new(kind),
            key: Str::new(""),
            content: (*b"{\"a\":1}").into(),
            by,
            before,
            replaces: None,
            gone: false,
        };
        let facts = vec![fact("m.room.create", None, None), fact("m.room.name", Some(Actor::Server), None)];
        let opened = Event { what: What::Opened, facts, ..said(alice(), Message::default()) };
        let found = events(&opened, None, &with);
        let shown: Vec<_> = found.iter().map(|e| (e.id, e.kind.as_str(), e.sender.as_str())).collect();
        let second = EventRef { room: RoomId(5), pos: Pos(9), sub: 1 };
        assert_eq!(
            shown,
            [
                (EventRef::create(RoomId(5)), "m.room.create", "@alice:x.org"),
                (second, "m.room.name", "@_server:x.org"),
            ]
        );
        assert_eq!(found[1].content, object! { "a" => 1 });
        let at = FactRef { pos: Pos(9), nth: 1 };
        let by = Actor::Server;
        let row = FactRow {
            fact: opened.facts[1].clone(),
            at,
            time: UnixMillis(1000),
            by,
            seal: None,
            under: None,
        };
        assert_eq!(state_event(RoomId(5), &row, "x.org").as_ref(), Some(&found[1]));
        let message = said(alice(), Message { body: Rich::plain("hi"), ..Message::default() });
        assert_eq!(events(&message, None, &with).len(), 1);
    }

    #[test]
    fn stripped_state_has_four_keys() {
        let event = RoomEvent {
            id: EventRef::create(RoomId(5)),
            seal: None,
            kind: Str::new("m.room.name"),
            state_key: Some(Str::new("")),
            content: object! { "name" => "x" },
            sender: "@a:x.org".into(),
            at: UnixMillis(1),
        };
        let keys: Vec<String> = event.stripped().as_object().unwrap().keys().map(|k| k.to_string()).collect();
        assert_eq!(keys, ["content", "sender", "state_key", "type"]);
    }
}
