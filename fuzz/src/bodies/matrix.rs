//! Matrix: JSON, the HTML of messages, identifiers, events, filters and rules.

use lavina_codecs::json::Json;
use lavina_codecs::matrix::content::{self, Intent, LocalNames, Look, Write};
use lavina_codecs::matrix::filter::Filter;
use lavina_codecs::matrix::html::{Nameless, clean, read, write};
use lavina_codecs::matrix::push::{self, Ruleset};
use lavina_codecs::matrix::search::Search;
use lavina_codecs::matrix::{ids, pdu, uri};
use lavina_core::event::{Actor, Event, Message, What};
use lavina_core::ids::{Pos, RoomId};
use lavina_core::time::UnixMillis;

/// Any bytes as JSON: what is read can be written, and reads back the same.
pub fn json(data: &[u8]) {
    let Ok(value) = Json::parse(data) else { return };
    let bytes = value.to_bytes();
    assert_eq!(Json::parse(&bytes).as_ref(), Ok(&value), "what is written reads back");
    assert_eq!(value.to_bytes(), bytes, "there is one spelling");
    assert_eq!(Json::is_canonical(&bytes), value.check_canonical().is_ok(), "canonical but for numbers");
}

/// Any text as a message's HTML: what is cleaned stays as it is, and says the same.
pub fn html(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let cleaned = clean(&text);
    assert_eq!(clean(&cleaned), cleaned, "cleaning twice changes nothing");
    assert!(cleaned.len() <= 6 * text.len() + 64 * 100, "it does not blow up");
    let rich = read(&text, &Nameless);
    assert_eq!(read(&cleaned, &Nameless), rich, "the same is read of it");
    for span in &rich.spans {
        assert!(span.from < span.to && rich.text.get(span.from as usize..span.to as usize).is_some());
    }
    if let Some(html) = write(&rich) {
        assert_eq!(clean(&html), html, "what we write is clean");
    }
}

/// Any text as an id or a link.
pub fn ids(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(plain) = ids::unesc(&text) {
        assert_eq!(ids::esc(&plain), text, "there is one form");
    }
    if let Some(ids::Who::Local(name)) = ids::who(&text, "x.org") {
        assert_eq!(ids::account_id(&name, "x.org"), text, "an account's id is that account's");
    }
    let key = ids::IdKey::new(&[0; 32]);
    assert_eq!(
        key.coded_event(&text).map(|event| key.coded_event_id(event)).unwrap_or(text.to_string()),
        text
    );
    let _ = ids::room_name(&text, "x.org");
    let _ = uri::link(&text);
}

/// Any JSON as an event that a client sends: what is read of it is the same when it is read again.
pub fn event(data: &[u8]) {
    let Ok(json) = Json::parse(data) else { return };
    let key = ids::IdKey::new(&[0; 32]);
    let look = Look {
        room: RoomId(1),
        by: "alice",
        event: &|id| {
            key.coded_event(id).or_else(|| id.starts_with('$').then(|| ids::EventRef::new(RoomId(1), Pos(1))))
        },
        names: &LocalNames("x.org"),
        media: &|mxc, _| Some((lavina_core::media::MediaId(1), mxc.replace("mxc", "https"))),
        text_max: 4096,
        native_max: 16_384,
    };
    let kind = json.str_of("type").unwrap_or("m.room.message").to_owned();
    let content = json.get("content").unwrap_or(&json).clone();
    let Ok(intent) = content::read(&kind, content, &look) else { return };
    let native = match &intent {
        Intent::Say(message) | Intent::Edit { message, .. } => message.native.as_ref(),
        Intent::React { native, .. } | Intent::Redact { native, .. } => Some(native),
    };
    let (again, kept) = native.and_then(content::unpack).expect("what is kept can be read");
    assert_eq!(content::read(&again, kept, &look).as_ref(), Ok(&intent), "cleaning twice changes nothing");
    let message = match intent {
        Intent::Say(message) | Intent::Edit { message, .. } => message,
        _ => return,
    };
    let with = Write { ids: &key, seal: &|_| None, domain: "x.org", known: &|_| true, notify_room: true };
    let foreign = Message { native: None, ..*message };
    let what = What::Said(Box::new(foreign));
    let (by, at) = (Actor::Server, UnixMillis(1));
    let event = Event {
        room: RoomId(1),
        pos: Pos(1),
        prev: Pos(0),
        at,
        by,
        once: None,
        what,
        facts: Vec::new(),
        sealed: None,
    };
    if let Some(shown) = content::write(&event, None, &with) {
        assert!(shown.content.check_canonical().is_ok() && shown.content.get("m.mentions").is_some());
        assert!(content::read(&shown.kind, shown.content, &look).is_ok(), "what we write can be read");
    }
}

/// Any JSON as a filter, as a search, as a push rule, as what was kept of rules, and as an event under them; as an event of servers.
pub fn rules(data: &[u8]) {
    let Ok(json) = Json::parse(data) else { return };
    if let Ok(filter) = Filter::parse(&json) {
        let _ = filter.timeline.admits("!r", &json);
        let _ = filter.fields(json.clone());
    }
    let plain = push::Predefined::default();
    let mut rules = Ruleset::from_stored(&plain, "@a:x", &json);
    let again = Ruleset::from_stored(&plain, "@a:x", &rules.to_stored());
    assert_eq!(again, rules, "what is kept comes back");
    for kind in push::Kind::ALL {
        let _ = rules.put(kind, "mine", &json, push::Place::default());
    }
    let powers = || push::Powers { sender: 50, levels: Some(json.clone()) };
    let subject = push::Subject::new(&json, 2, &powers);
    let _ = rules.evaluate(&subject, push::Reader { id: "@a:x", display: Some("A") });
    if let Ok(Some(search)) = Search::parse(&json) {
        assert!(search.rank(&json).is_none_or(|rank| rank > 0) && search.terms().len() <= 20);
    }
    let part = |_: &str, key: &str| json.get(key).or(Some(&json));
    let state = pdu::State { get: &part, create_id: "$c", signed_by: &|_| true, third_party: &|_, _| true };
    for version in pdu::Version::ALL {
        let _ = pdu::check_format(&json, version);
        let _ = pdu::authorise(&json, version, &state);
        let once = pdu::redact(&json, version);
        assert_eq!(pdu::redact(&once, version), once, "redacting twice changes nothing");
        assert_eq!(pdu::event_id(&json, version), pdu::event_id(&once, version), "the id stays");
    }
}
