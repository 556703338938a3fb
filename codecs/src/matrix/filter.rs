//! Filters of the client-server API ("Filtering"): read, and applied to events.

use crate::json::{Json, Map};
use crate::matrix::ids::split;
use lavina_core::text::Str;

/// Entries of one list of a filter; more are refused.
pub const LIST_MAX: usize = 1000;

/// Most events that one answer gives, whatever a filter says.
pub const LIMIT_MAX: u32 = 1000;

/// Why a filter is refused; the code is `M_BAD_JSON`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{at}` of the filter must be {what}")]
pub struct BadFilter {
    /// Which key.
    pub at: &'static str,
    /// What it must be.
    pub what: &'static str,
}

/// Which events are wanted, by type and sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// How many at most.
    pub limit: Option<u32>,
    types: Option<Vec<Str>>,
    not_types: Vec<Str>,
    senders: Option<Vec<Str>>,
    not_senders: Vec<Str>,
}

/// Which rooms are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rooms {
    only: Option<Vec<Str>>,
    not: Vec<Str>,
}

/// Which events of rooms are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomEventFilter {
    /// By type and sender.
    pub events: EventFilter,
    /// By room.
    pub rooms: Rooms,
    /// Only those with a `url` in the content, or only those without.
    pub contains_url: Option<bool>,
    /// Only the memberships of who sent something in the answer.
    pub lazy_load_members: bool,
    /// These every time, even if the client must know them.
    pub include_redundant_members: bool,
    /// Counts of unread messages by thread.
    pub unread_thread_notifications: bool,
}

/// A whole filter, as `/sync` takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The fields of events that are wanted, as paths of keys; none: all.
    pub event_fields: Option<Vec<Vec<Str>>>,
    /// Events as servers have them, for `/sync`.
    pub federation: bool,
    /// Presence.
    pub presence: EventFilter,
    /// The account's data.
    pub account_data: EventFilter,
    /// Rooms at all.
    pub rooms: Rooms,
    /// Also rooms that were left.
    pub include_leave: bool,
    /// Typing and receipts.
    pub ephemeral: RoomEventFilter,
    /// State.
    pub state: RoomEventFilter,
    /// What happened.
    pub timeline: RoomEventFilter,
    /// The account's data about rooms.
    pub room_account_data: RoomEventFilter,
}

impl Filter {
    /// Reads a filter. What it does not know is passed over.
    ///
    /// # Errors
    /// [`BadFilter`] where a key has a value of another kind than it must have.
    pub fn parse(json: &Json) -> Result<Filter, BadFilter> {
        let map = object("filter", Some(json))?;
        let room = object("room", map.get("room"))?;
        let fields = strings("event_fields", map.get("event_fields"), |_| true, "a list of strings")?;
        Ok(Filter {
            event_fields: fields.map(|f| f.iter().map(|path| keys(path)).collect()),
            federation: match map.get("event_format").map(Json::as_str) {
                None | Some(Some("client")) => false,
                Some(Some("federation")) => true,
                _ => return Err(BadFilter { at: "event_format", what: "`client` or `federation`" }),
            },
            presence: EventFilter::of("presence", map.get("presence"))?,
            account_data: EventFilter::of("account_data", map.get("account_data"))?,
            rooms: Rooms::of(room)?,
            include_leave: flag("include_leave", room)?.unwrap_or(false),
            ephemeral: RoomEventFilter::of("room.ephemeral", room.get("ephemeral"))?,
            state: RoomEventFilter::of("room.state", room.get("state"))?,
            timeline: RoomEventFilter::of("room.timeline", room.get("timeline"))?,
            room_account_data: RoomEventFilter::of("room.account_data", room.get("account_data"))?,
        })
    }

    /// The event with the wanted fields only.
    pub fn fields(&self, event: Json) -> Json {
        let Some(fields) = &self.event_fields else { return event };
        let mut out = Map::new();
        for path in fields {
            copy(&event, path, &mut out);
        }
        Json::Object(out)
    }
}

/// Copies what a path leads to.
fn copy(from: &Json, path: &[Str], to: &mut Map) {
    let Some((key, rest)) = path.split_first() else { return };
    let Some(value) = from.get(key) else { return };
    if rest.is_empty() {
        to.insert(key.clone(), value.clone());
        return;
    }
    if value.at(&rest.iter().map(Str::as_str).collect::<Vec<_>>()).is_none() {
        return;
    }
    if !to.contains(key) {
        to.insert(key.clone(), Json::object());
    }
    if let Some(Json::Object(inner)) = to.get_mut(key) {
        copy(value, rest, inner);
    }
}

impl RoomEventFilter {
    /// Reads a filter of room events, as `/messages`, `/context` and `/search` take it.
    ///
    /// # Errors
    /// As [`Filter::parse`].
    pub fn parse(json: &Json) -> Result<RoomEventFilter, BadFilter> {
        RoomEventFilter::of("filter", Some(json))
    }

    fn of(at: &'static str, json: Option<&Json>) -> Result<RoomEventFilter, BadFilter> {
        let map = object(at, json)?;
        Ok(RoomEventFilter {
            events: EventFilter::of(at, json)?,
            rooms: Rooms::of(map)?,
            contains_url: flag("contains_url", map)?,
            lazy_load_members: flag("lazy_load_members", map)?.unwrap_or(false),
            include_redundant_members: flag("include_redundant_members", map)?.unwrap_or(false),
            unread_thread_notifications: flag("unread_thread_notifications", map)?.unwrap_or(false),
        })
    }

    /// Whether an event of a room is wanted.
    pub fn admits(&self, room: &str, event: &Json) -> bool {
        let url = event.at(&["content", "url"]).is_some_and(|u| u.as_str().is_some());
        self.rooms.admit(room)
            && self.contains_url.is_none_or(|wanted| wanted == url)
            && self.events.admits(event)
    }
}

impl Rooms {
    fn of(map: &Map) -> Result<Rooms, BadFilter> {
        let room = |id: &str| id.starts_with('!');
        let list = |at: &'static str| strings(at, map.get(at), room, "a list of room ids");
        Ok(Rooms { only: list("rooms")?, not: list("not_rooms")?.unwrap_or_default() })
    }

    /// Whether a room is wanted.
    pub fn admit(&self, room: &str) -> bool {
        let named = |list: &Vec<Str>| list.iter().any(|r| r == room);
        self.only.as_ref().is_none_or(named) && !named(&self.not)
    }
}

impl EventFilter {
    /// Reads a filter of events.
    ///
    /// # Errors
    /// As [`Filter::parse`].
    pub fn parse(json: &Json) -> Result<EventFilter, BadFilter> {
        EventFilter::of("filter", Some(json))
    }

    fn of(at: &'static str, json: Option<&Json>) -> Result<EventFilter, BadFilter> {
        let map = object(at, json)?;
        let user = |id: &str| split('@', id).is_some();
        let senders = |at: &'static str| strings(at, map.get(at), user, "a list of user ids");
        let types = |at: &'static str| strings(at, map.get(at), |_| true, "a list of strings");
        let limit = match map.get("limit") {
            None => None,
            Some(Json::Int(n)) if *n >= 0 => Some(u32::try_from(*n).unwrap_or(LIMIT_MAX).min(LIMIT_MAX)),
            Some(_) => return Err(BadFilter { at: "limit", what: "a number above zero" }),
        };
        Ok(EventFilter {
            limit,
            types: types("types")?,
            not_types: types("not_types")?.unwrap_or_default(),
            senders: senders("senders")?,
            not_senders: senders("not_senders")?.unwrap_or_default(),
        })
    }

    /// Whether an event is wanted.
    pub fn admits(&self, event: &Json) -> bool {
        self.admits_type(event.str_of("type").unwrap_or_default())
            && self.admits_sender(event.str_of("sender").unwrap_or_default())
    }

    /// Whether events of a type are wanted.
    pub fn admits_type(&self, kind: &str) -> bool {
        let fits = |list: &Vec<Str>| list.iter().any(|pattern| matches(pattern, kind));
        self.types.as_ref().is_none_or(fits) && !fits(&self.not_types)
    }

    /// Whether events of a sender are wanted.
    pub fn admits_sender(&self, sender: &str) -> bool {
        let named = |list: &Vec<Str>| list.iter().any(|s| s == sender);
        self.senders.as_ref().is_none_or(named) && !named(&self.not_senders)
    }

    /// Whether nothing can pass: then nothing needs to be looked for.
    pub fn admits_nothing(&self) -> bool {
        let empty = |list: &Option<Vec<Str>>| list.as_ref().is_some_and(Vec::is_empty);
        self.limit == Some(0)
            || empty(&self.types)
            || empty(&self.senders)
            || self.not_types.iter().any(|t| t == "*")
    }
}

/// Whether a type fits a pattern, in which `*` stands for any characters.
fn matches(pattern: &str, kind: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = kind.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    // The leftmost place of each part leaves the most for those after it.
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The keys of a dot-separated path (appendices, "Dot-separated property paths"): a backslash before a dot or a backslash
/// takes its meaning away.
pub fn keys(path: &str) -> Vec<Str> {
    let (mut out, mut key, mut chars) = (Vec::new(), String::new(), path.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '.' => out.push(Str::new(std::mem::take(&mut key))),
            '\\' => key.push(chars.next_if(|next| matches!(next, '.' | '\\')).unwrap_or(c)),
            _ => key.push(c),
        }
    }
    out.push(Str::new(key));
    out
}

fn object<'a>(at: &'static str, json: Option<&'a Json>) -> Result<&'a Map, BadFilter> {
    const NOTHING: &Map = &Map::new();
    match json {
        None => Ok(NOTHING),
        Some(json) => json.as_object().ok_or(BadFilter { at, what: "an object" }),
    }
}

fn flag(at: &'static str, map: &Map) -> Result<Option<bool>, BadFilter> {
    let flag = |json: &Json| json.as_bool().ok_or(BadFilter { at, what: "true or false" });
    map.get(at).map(flag).transpose()
}

fn strings(
    at: &'static str,
    json: Option<&Json>,
    legal: impl Fn(&str) -> bool,
    what: &'static str,
) -> Result<Option<Vec<Str>>, BadFilter> {
    let Some(json) = json else { return Ok(None) };
    let bad = BadFilter { at, what };
    let list = json.as_array().filter(|list| list.len() <= LIST_MAX).ok_or(bad.clone())?;
    let string = |json: &Json| json.as_str().filter(|s| legal(s)).map(Str::new);
    list.iter().map(string).collect::<Option<Vec<Str>>>().map(Some).ok_or(bad)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::object;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    fn events(text: &str) -> RoomEventFilter {
        RoomEventFilter::parse(&json(text)).unwrap()
    }

    #[test]
    fn types_and_senders() {
        let event = |kind: &str, sender: &str| object! { "type" => kind, "sender" => sender };
        let message = event("m.room.message", "@a:x");
        for (filter, passes) in [
            ("{}", true),
            (r#"{"types":["m.room.message"]}"#, true),
            (r#"{"types":["m.room.*"]}"#, true),
            (r#"{"types":["*"]}"#, true),
            (r#"{"types":["*.message"]}"#, true),
            (r#"{"types":["m.*.mess*ge"]}"#, true),
            (r#"{"types":["m.room.messag"]}"#, false),
            (r#"{"types":["m.*.message*.x"]}"#, false),
            (r#"{"types":["m.room.message*message"]}"#, false),
            (r#"{"types":[]}"#, false),
            (r#"{"not_types":["m.*"]}"#, false),
            (r#"{"types":["m.*"],"not_types":["m.room.message"]}"#, false),
            (r#"{"senders":["@a:x"]}"#, true),
            (r#"{"senders":["@b:x"]}"#, false),
            (r#"{"senders":["@a:x"],"not_senders":["@a:x"]}"#, false),
            (r#"{"rooms":["!r"]}"#, true),
            (r#"{"rooms":["!q"]}"#, false),
            (r#"{"not_rooms":["!r"]}"#, false),
            (r#"{"contains_url":true}"#, false),
            (r#"{"contains_url":false}"#, true),
        ] {
            assert_eq!(events(filter).admits("!r", &message), passes, "{filter}");
        }
        let image = object! { "type" => "m.room.message", "sender" => "@a:x", "content" => object! { "url" => "mxc://x/y" } };
        assert!(events(r#"{"contains_url":true}"#).admits("!r", &image));
        assert!(events(r#"{"not_types":["*"]}"#).events.admits_nothing());
        assert!(events(r#"{"limit":0}"#).events.admits_nothing());
        assert!(!events(r#"{"limit":5}"#).events.admits_nothing());
    }

    #[test]
    fn a_whole_filter() {
        let filter = Filter::parse(&json(
            r#"{"event_fields":["content.body","type"],"event_format":"federation","org.example":1,
               "presence":{"not_types":["*"]},"room":{"rooms":["!r:x"],"include_leave":true,
               "timeline":{"limit":5000},"state":{"lazy_load_members":true}}}"#,
        ))
        .unwrap();
        assert!(filter.federation && filter.include_leave && filter.state.lazy_load_members);
        assert_eq!(filter.timeline.events.limit, Some(LIMIT_MAX));
        assert!(filter.rooms.admit("!r:x") && !filter.rooms.admit("!q:x"));
        assert!(filter.presence.admits_nothing());
        assert_eq!(Filter::parse(&json("{}")), Ok(Filter::default()));
    }

    #[test]
    fn bad_filters_are_refused() {
        for (bad, at) in [
            ("[]", "filter"),
            (r#"{"room":[]}"#, "room"),
            (r#"{"room":{"timeline":{"limit":-1}}}"#, "limit"),
            (r#"{"room":{"timeline":{"limit":"x"}}}"#, "limit"),
            (r#"{"room":{"timeline":{"types":"x"}}}"#, "types"),
            (r#"{"room":{"timeline":{"types":[1]}}}"#, "types"),
            (r#"{"room":{"timeline":{"senders":["alice"]}}}"#, "senders"),
            (r#"{"room":{"rooms":["x"]}}"#, "rooms"),
            (r#"{"room":{"include_leave":1}}"#, "include_leave"),
            (r#"{"event_format":"x"}"#, "event_format"),
            (r#"{"event_fields":[1]}"#, "event_fields"),
        ] {
            assert_eq!(Filter::parse(&json(bad)).unwrap_err().at, at, "{bad}");
        }
        let why = Filter::parse(&json(r#"{"event_format":"x"}"#)).unwrap_err().to_string();
        assert_eq!(why, "`event_format` of the filter must be `client` or `federation`");
    }

    #[test]
    fn fields_are_cut_out() {
        let event = json(r#"{"type":"t","content":{"body":"b","m.x":{"y":1,"z":2},"n":3},"sender":"s"}"#);
        let cut = |fields: &str| {
            let filter = Filter::parse(&json(&format!(r#"{{"event_fields":{fields}}}"#))).unwrap();
            String::from_utf8(filter.fields(event.clone()).to_bytes()).unwrap()
        };
        assert_eq!(cut(r#"["type","content.body"]"#), r#"{"content":{"body":"b"},"type":"t"}"#);
        assert_eq!(cut(r#"["content.m\\.x.y","content.n"]"#), r#"{"content":{"m.x":{"y":1},"n":3}}"#);
        assert_eq!(cut(r#"["content.none.deep","none","type.x"]"#), "{}");
        assert_eq!(cut("[]"), "{}");
        assert_eq!(keys(r"a\\.b\.c\d"), [r"a\", r"b.c\d"]);
    }
}
