//! Judges the events of rooms by ruma's own functions: format, hashes, ids, signatures, authorisation rules.
//!
//! ```text
//! LAVINA_EVENTS=DIR cargo test -p lavina-fuzz --test matrix_chain
//! cargo run --manifest-path fuzz/ruma/Cargo.toml -- DIR/*.json
//! ```

use ruma_common::canonical_json::{CanonicalJsonObject, CanonicalJsonValue, redact};
use ruma_common::serde::Base64;
use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId,
    UserId,
};
use ruma_events::{StateEventType, TimelineEventType};
use ruma_signatures::{PublicKeyMap, Verified, reference_hash, verify_event};
use ruma_state_res::{
    Event, check_pdu_format, check_state_dependent_auth_rules, check_state_independent_auth_rules,
};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An event with what ruma asks of it.
struct Pdu {
    id: OwnedEventId,
    room: Option<OwnedRoomId>,
    sender: OwnedUserId,
    at: MilliSecondsSinceUnixEpoch,
    kind: TimelineEventType,
    content: Box<RawValue>,
    state_key: Option<String>,
    prev: Vec<OwnedEventId>,
    auth: Vec<OwnedEventId>,
    redacts: Option<OwnedEventId>,
}

impl Pdu {
    fn new(id: &str, json: &Value) -> Pdu {
        let text = |key: &str| json.get(key).and_then(Value::as_str);
        let ids = |key: &str| {
            let list = json[key].as_array().unwrap();
            list.iter().map(|id| EventId::parse(id.as_str().unwrap()).unwrap()).collect()
        };
        Pdu {
            id: EventId::parse(id).unwrap(),
            room: text("room_id").map(|id| RoomId::parse(id).unwrap()),
            sender: UserId::parse(text("sender").unwrap()).unwrap(),
            at: serde_json::from_value(json["origin_server_ts"].clone()).unwrap(),
            kind: text("type").unwrap().into(),
            content: RawValue::from_string(json["content"].to_string()).unwrap(),
            state_key: text("state_key").map(str::to_owned),
            prev: ids("prev_events"),
            auth: ids("auth_events"),
            redacts: text("redacts").map(|id| EventId::parse(id).unwrap()),
        }
    }
}

impl Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.room.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.at
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.prev.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.auth.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        false
    }
}

fn judge(path: &str) {
    let room: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let text = |key: &str| room[key].as_str().unwrap();
    let version = RoomVersionId::try_from(text("room_version")).unwrap();
    let rules = version.rules().unwrap();
    let key = BTreeMap::from([(text("key_id").to_owned(), Base64::parse(text("key")).unwrap())]);
    let keys = PublicKeyMap::from([(text("server").to_owned(), key)]);
    let mut events: BTreeMap<OwnedEventId, Arc<Pdu>> = BTreeMap::new();
    let mut state: BTreeMap<(StateEventType, String), Arc<Pdu>> = BTreeMap::new();
    let mut withdrawn = 0;
    for said in room["events"].as_array().unwrap() {
        let (id, json) = (said["event_id"].as_str().unwrap(), &said["pdu"]);
        let CanonicalJsonValue::Object(object) = CanonicalJsonValue::try_from(json.clone()).unwrap() else {
            panic!("{json}");
        };
        let object: CanonicalJsonObject = object;
        check_pdu_format(&object, &rules.event_format).unwrap_or_else(|why| panic!("{why}: {json}"));
        assert_eq!(format!("${}", reference_hash(&object, &rules).unwrap()), id, "{json}");
        match verify_event(&keys, &object, &rules) {
            Ok(Verified::All) => {}
            // What was withdrawn has the hash of what it said, and nothing else left.
            Ok(Verified::Signatures) => {
                withdrawn += 1;
                assert_eq!(redact(object.clone(), &rules.redaction, None).unwrap(), object);
            }
            Err(why) => panic!("{why}: {json}"),
        }
        let pdu = Arc::new(Pdu::new(id, json));
        let fetch = |id: &EventId| events.get(id).cloned();
        check_state_independent_auth_rules(&rules.authorization, &*pdu, fetch)
            .unwrap_or_else(|why| panic!("{why}: {json}"));
        let fetch = |kind: &StateEventType, key: &str| state.get(&(kind.clone(), key.to_owned())).cloned();
        check_state_dependent_auth_rules(&rules.authorization, &*pdu, fetch)
            .unwrap_or_else(|why| panic!("{why}: {json}"));
        if let Some(key) = &pdu.state_key {
            state.insert((pdu.kind.to_string().into(), key.clone()), pdu.clone());
        }
        events.insert(pdu.id.clone(), pdu);
    }
    println!("{path}: version {version}, {} events, {withdrawn} withdrawn: fine", events.len());
}

fn main() {
    for path in std::env::args().skip(1) {
        judge(&path);
    }
}
