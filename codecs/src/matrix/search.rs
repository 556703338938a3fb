//! Search among events (client-server API, "Server Side Search"): the request, what fits it, the answer.

use crate::json::{Json, Map};
use crate::matrix::filter::{BadFilter, RoomEventFilter};
use crate::object;
use lavina_core::text::Str;

/// Words of one search that count; those beyond are passed over.
pub const TERMS_MAX: usize = 20;

/// Most events before or after a result that are shown with it.
pub const CONTEXT_MAX: u32 = 100;

/// Why a search is refused; the code is `M_BAD_JSON`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSearch {
    /// A key that is missing or has another kind of value.
    #[error("`{0}` of the search is missing or malformed")]
    Key(&'static str),
    /// The filter in it.
    #[error(transparent)]
    Filter(#[from] BadFilter),
}

/// What is searched, and where.
const FIELDS: [(&str, &str, &str); 3] = [
    ("content.body", "m.room.message", "body"),
    ("content.name", "m.room.name", "name"),
    ("content.topic", "m.room.topic", "topic"),
];

/// Events shown with a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// How many before it.
    pub before: u32,
    /// How many after it.
    pub after: u32,
    /// With names and pictures of who wrote them, as they were then.
    pub profiles: bool,
}

/// A search in the events of rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    terms: Vec<String>,
    /// Which of [`FIELDS`].
    fields: [bool; FIELDS.len()],
    /// Which rooms and events at all.
    pub filter: RoomEventFilter,
    /// The latest first, instead of those that fit best.
    pub recent: bool,
    /// Events around each result.
    pub context: Option<Context>,
    /// The state of the rooms of the results.
    pub include_state: bool,
    groups: Vec<Str>,
}

/// A result.
#[derive(Clone, Debug)]
pub struct Found {
    /// How well it fits, by [`Search::rank`].
    pub rank: u32,
    /// The event, in the client's format with `room_id`.
    pub event: Json,
    /// What is around it, if wanted.
    pub context: Option<Json>,
}

/// The rest of an answer.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// How many results there are, about.
    pub count: usize,
    /// State by room id, if wanted.
    pub state: Option<Map>,
    /// Where to go on.
    pub next_batch: Option<String>,
}

impl Search {
    /// Reads the body of a request; none if it searches in no rooms.
    ///
    /// # Errors
    /// [`BadSearch`].
    pub fn parse(body: &Json) -> Result<Option<Search>, BadSearch> {
        let key = |key| BadSearch::Key(key);
        let categories =
            body.get("search_categories").and_then(Json::as_object).ok_or(key("search_categories"))?;
        let Some(wanted) = categories.get("room_events") else { return Ok(None) };
        let term = wanted.str_of("search_term").ok_or(key("search_term"))?;
        let empty = Json::object();
        Ok(Some(Search {
            terms: words(term).take(TERMS_MAX).collect(),
            fields: fields(wanted.get("keys"))?,
            filter: RoomEventFilter::parse(wanted.get("filter").unwrap_or(&empty))?,
            recent: match wanted.get("order_by").map(Json::as_str) {
                None | Some(Some("rank")) => false,
                Some(Some("recent")) => true,
                _ => return Err(key("order_by")),
            },
            context: wanted.get("event_context").map(context).transpose()?,
            include_state: flag("include_state", wanted)?,
            groups: groups(wanted.at(&["groupings", "group_by"]))?,
        }))
    }

    /// The words that are looked for, lower case.
    pub fn terms(&self) -> &[String] {
        &self.terms
    }

    /// How well an event fits; none if not every word is in it. Words may be the beginnings of longer ones; whole ones
    /// count more.
    pub fn rank(&self, event: &Json) -> Option<u32> {
        let kind = event.str_of("type")?;
        let room = event.str_of("room_id").unwrap_or_default();
        let (at, field) = FIELDS.iter().enumerate().find(|(_, (_, k, _))| *k == kind)?;
        if !self.fields.get(at).is_some_and(|wanted| *wanted) || !self.filter.admits(room, event) {
            return None;
        }
        let text = event.at(&["content", field.2])?.as_str()?;
        if self.terms.is_empty() {
            return None;
        }
        let mut counts = vec![0u32; self.terms.len()];
        for word in words(text) {
            for (count, term) in counts.iter_mut().zip(&self.terms) {
                if word.starts_with(term.as_str()) {
                    *count += if word.len() == term.len() { 4 } else { 1 };
                }
            }
        }
        counts.iter().all(|n| *n > 0).then(|| counts.iter().sum())
    }

    /// The answer. `found` is in the order in which it is to be shown.
    pub fn answer(&self, found: Vec<Found>, around: Around) -> Json {
        let mut out = Map::new();
        out.insert("count", around.count);
        out.insert("highlights", self.terms.iter().map(String::as_str).collect::<Vec<_>>());
        if !self.groups.is_empty() {
            let group = |key: &Str| (key.clone(), group(key, &found));
            out.insert("groups", self.groups.iter().map(group).collect::<Map>());
        }
        if let Some(state) = around.state {
            out.insert("state", state);
        }
        if let Some(next) = around.next_batch {
            out.insert("next_batch", next);
        }
        let result = |found: Found| {
            let mut out = object! { "rank" => found.rank, "result" => found.event };
            if let Some(context) = found.context {
                out.set("context", context);
            }
            out
        };
        out.insert("results", found.into_iter().map(result).collect::<Vec<_>>());
        object! { "search_categories" => object! { "room_events" => out } }
    }
}

/// The ids of the results, by the value of a key; groups are ordered by their first result.
fn group(key: &str, found: &[Found]) -> Json {
    let mut groups: Vec<(Str, Vec<Json>)> = Vec::new();
    for found in found {
        let (Some(value), Some(id)) = (found.event.str_of(key), found.event.str_of("event_id")) else {
            continue;
        };
        match groups.iter_mut().find(|(v, _)| v == value) {
            Some((_, ids)) => ids.push(id.into()),
            None => groups.push((Str::new(value), vec![id.into()])),
        }
    }
    let numbered = groups.into_iter().enumerate();
    Json::Object(
        numbered.map(|(n, (value, ids))| (value, object! { "order" => n + 1, "results" => ids })).collect(),
    )
}

/// The words of a text, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

fn fields(keys: Option<&Json>) -> Result<[bool; FIELDS.len()], BadSearch> {
    let Some(keys) = keys else { return Ok([true; FIELDS.len()]) };
    let keys = keys.as_array().ok_or(BadSearch::Key("keys"))?;
    let known = |key: &Json| FIELDS.iter().any(|(name, ..)| key.as_str() == Some(name));
    if !keys.iter().all(known) {
        return Err(BadSearch::Key("keys"));
    }
    Ok(FIELDS.map(|(name, ..)| keys.iter().any(|key| key.as_str() == Some(name))))
}

fn context(json: &Json) -> Result<Context, BadSearch> {
    json.as_object().ok_or(BadSearch::Key("event_context"))?;
    let limit = |key: &'static str| -> Result<u32, BadSearch> {
        let Some(n) = json.get(key) else { return Ok(5) };
        let n = n.as_int().and_then(|n| u32::try_from(n).ok()).ok_or(BadSearch::Key(key))?;
        Ok(n.min(CONTEXT_MAX))
    };
    let profiles = flag("include_profile", json)?;
    Ok(Context { before: limit("before_limit")?, after: limit("after_limit")?, profiles })
}

fn groups(list: Option<&Json>) -> Result<Vec<Str>, BadSearch> {
    let bad = BadSearch::Key("group_by");
    let Some(list) = list else { return Ok(Vec::new()) };
    let key = |group: &Json| group.str_of("key").filter(|k| matches!(*k, "room_id" | "sender")).map(Str::new);
    let list = list.as_array().ok_or(bad.clone())?;
    let mut keys: Vec<Str> = list.iter().map(key).collect::<Option<_>>().ok_or(bad)?;
    keys.sort();
    keys.dedup();
    Ok(keys)
}

fn flag(key: &'static str, json: &Json) -> Result<bool, BadSearch> {
    json.get(key).map_or(Ok(false), |value| value.as_bool().ok_or(BadSearch::Key(key)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    fn search(room_events: &str) -> Result<Option<Search>, BadSearch> {
        Search::parse(&json(&format!(r#"{{"search_categories":{{"room_events":{room_events}}}}}"#)))
    }

    fn message(id: &str, sender: &str, body: &str) -> Json {
        object! {
            "type" => "m.room.message", "event_id" => id, "sender" => sender, "room_id" => "!r:x",
            "content" => object! { "body" => body },
        }
    }

    #[test]
    fn what_fits() {
        let rank =
            |search_: &str, body: &str| search(search_).unwrap().unwrap().rank(&message("$e", "@a:x", body));
        let term = |term: &str| format!(r#"{{"search_term":"{term}"}}"#);
        assert_eq!(rank(&term("Martians MEN"), "Men, and martians!"), Some(8));
        assert_eq!(rank(&term("martian"), "martians, martian"), Some(5));
        assert_eq!(rank(&term("martians"), "a martian"), None);
        assert_eq!(rank(&term("men women"), "men"), None);
        assert_eq!(rank(&term("café"), "le CAFÉ"), Some(4));
        assert_eq!(rank(&term("..."), "..."), None);
        assert_eq!(rank(r#"{"search_term":"a","keys":["content.name"]}"#, "a"), None);
        assert_eq!(rank(r#"{"search_term":"a","filter":{"senders":["@b:x"]}}"#, "a"), None);
        assert_eq!(rank(r#"{"search_term":"a","filter":{"rooms":["!r:x"]}}"#, "a"), Some(4));
        let topic = object! { "type" => "m.room.topic", "content" => object! { "topic" => "tea" } };
        assert_eq!(search(&term("tea")).unwrap().unwrap().rank(&topic), Some(4));
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(Search::parse(&json("{}")), Err(BadSearch::Key("search_categories")));
        assert_eq!(Search::parse(&json(r#"{"search_categories":{}}"#)), Ok(None));
        for (bad, key) in [
            ("{}", "search_term"),
            (r#"{"search_term":"a","order_by":"x"}"#, "order_by"),
            (r#"{"search_term":"a","keys":["content.x"]}"#, "keys"),
            (r#"{"search_term":"a","event_context":{"before_limit":-1}}"#, "before_limit"),
            (r#"{"search_term":"a","groupings":{"group_by":[{"key":"x"}]}}"#, "group_by"),
            (r#"{"search_term":"a","include_state":1}"#, "include_state"),
        ] {
            assert_eq!(search(bad), Err(BadSearch::Key(key)), "{bad}");
        }
        assert!(matches!(search(r#"{"search_term":"a","filter":[]}"#), Err(BadSearch::Filter(_))));
    }

    #[test]
    fn the_answer() {
        let search = search(
            r#"{"search_term":"Tea time","order_by":"recent","event_context":{"after_limit":1000},
                "groupings":{"group_by":[{"key":"sender"}]}}"#,
        );
        let search = search.unwrap().unwrap();
        assert_eq!(search.context, Some(Context { before: 5, after: CONTEXT_MAX, profiles: false }));
        let found =
            |id: &str, sender: &str| Found { rank: 8, event: message(id, sender, "tea time"), context: None };
        let around = Around { count: 3, next_batch: Some("n".into()), state: None };
        let answer =
            search.answer(vec![found("$2", "@b:x"), found("$1", "@a:x"), found("$0", "@b:x")], around);
        let events = answer.at(&["search_categories", "room_events"]).unwrap();
        let groups = json(
            r#"{"sender":{"@b:x":{"order":1,"results":["$2","$0"]},"@a:x":{"order":2,"results":["$1"]}}}"#,
        );
        assert_eq!(events.get("groups"), Some(&groups));
        assert_eq!(events.get("highlights"), Some(&json(r#"["tea","time"]"#)));
        assert_eq!((events.int_at("count"), events.str_of("next_batch")), (Some(3), Some("n")));
        assert_eq!(events.get("results").and_then(Json::as_array).unwrap().len(), 3);
    }
}
