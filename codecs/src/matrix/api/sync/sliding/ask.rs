//! What a client asks for.

use super::super::WAIT_MAX;
use crate::json::Json;
use crate::matrix::error::Error;
use crate::matrix::request::Request;
use crate::matrix::task::Ctx;
use lavina_core::presence::Show;
use lavina_core::text::Str;
use lavina_core::time::Mono;
use std::collections::BTreeSet;

/// Lists of one request (MSC4186), and rooms subscribed to; more are refused.
const LISTS: usize = 100;
const SUBSCRIPTIONS: usize = 1_000;

/// Events of one room, at most.
const TIMELINE_MAX: usize = 100;

/// Kinds of state asked for of one room; more are refused.
const REQUIRED: usize = 500;

/// Instead of a state key: the members that a timeline speaks of, and the user.
const LAZY: &str = "$LAZY";
const ME: &str = "$ME";
const ANY: &str = "*";

/// A request.
pub struct Ask {
    pub connection: Str,
    pub pos: Option<String>,
    pub until: Mono,
    pub show: Option<Show>,
    pub lists: Vec<(Str, List)>,
    pub rooms: Vec<(Str, Config)>,
    pub extensions: Json,
}

/// A list of rooms.
pub struct List {
    /// From and to, both in it; none: all.
    pub ranges: Option<Vec<(usize, usize)>>,
    pub config: Config,
    pub filters: Filters,
}

/// Which rooms are in a list.
#[derive(Default)]
pub struct Filters {
    pub is_dm: Option<bool>,
    pub is_encrypted: Option<bool>,
    pub is_invite: Option<bool>,
    pub room_types: Option<Vec<Option<Str>>>,
    pub not_room_types: Vec<Option<Str>>,
    pub tags: Option<Vec<Str>>,
    pub not_tags: Vec<Str>,
    pub spaces: Option<Vec<Str>>,
}

/// What is wanted of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// How many events.
    pub timeline: usize,
    required: BTreeSet<(Str, Str)>,
}

impl Config {
    fn read(json: &Json) -> Result<Config, Error> {
        let wrong = || Error::bad_json("required_state must be a list of pairs of strings");
        let mut required = BTreeSet::new();
        let pairs = match json.get("required_state") {
            None | Some(Json::Null) => &[],
            Some(pairs) => pairs.as_array().ok_or_else(wrong)?,
        };
        if pairs.len() > REQUIRED {
            return Err(Error::invalid_param(format!("required_state may have {REQUIRED} pairs")));
        }
        for pair in pairs {
            match pair.as_array() {
                Some([Json::Str(kind), Json::Str(key)]) => _ = required.insert((kind.clone(), key.clone())),
                _ => return Err(wrong()),
            }
        }
        let timeline = json.get("timeline_limit").and_then(Json::as_int).unwrap_or(0);
        Ok(Config { timeline: usize::try_from(timeline).unwrap_or(0).min(TIMELINE_MAX), required })
    }

    /// What both want.
    pub fn join(&mut self, other: &Config) {
        self.timeline = self.timeline.max(other.timeline);
        self.required.extend(other.required.iter().cloned());
    }

    /// Whether members are wanted as the timeline speaks of them.
    pub fn is_lazy(&self) -> bool {
        self.required.iter().any(|(kind, key)| kind == "m.room.member" && key == LAZY)
    }

    /// Whether a piece of state is wanted in any case.
    pub fn wants(&self, kind: &str, key: &str, me: &str) -> bool {
        let lazy = self.is_lazy() && kind == "m.room.member";
        self.required.iter().any(|(k, s)| {
            let kind_fits = k == kind || (k == ANY && !lazy);
            kind_fits && (s == key || (s == ANY && !(lazy && k == ANY)) || (s == ME && key == me))
        })
    }

    /// Whether this wants state that the other does not.
    pub fn is_wider(&self, other: &Config) -> bool {
        !self.required.is_subset(&other.required)
    }
}

impl Filters {
    fn read(json: &Json) -> Result<Filters, Error> {
        let wrong = |name: &str| Error::bad_json(format!("filters.{name} has the wrong form"));
        let flag = |name: &str| match json.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => value.as_bool().map(Some).ok_or_else(|| wrong(name)),
        };
        let list = |name: &str| match json.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => value.as_array().map(|all| Some(all.to_vec())).ok_or_else(|| wrong(name)),
        };
        let texts = |name: &str| -> Result<Option<Vec<Str>>, Error> {
            let Some(all) = list(name)? else { return Ok(None) };
            let all: Option<Vec<Str>> = all.iter().map(|v| v.as_str().map(Str::new)).collect();
            all.map(Some).ok_or_else(|| wrong(name))
        };
        let types = |name: &str| -> Result<Option<Vec<Option<Str>>>, Error> {
            let Some(all) = list(name)? else { return Ok(None) };
            if all.iter().any(|v| !v.is_null() && v.as_str().is_none()) {
                return Err(wrong(name));
            }
            Ok(Some(all.iter().map(|v| v.as_str().map(Str::new)).collect()))
        };
        Ok(Filters {
            is_dm: flag("is_dm")?,
            is_encrypted: flag("is_encrypted")?,
            is_invite: flag("is_invite")?.or(flag("is_invited")?),
            room_types: types("room_types")?,
            not_room_types: types("not_room_types")?.unwrap_or_default(),
            tags: texts("tags")?,
            not_tags: texts("not_tags")?.unwrap_or_default(),
            spaces: texts("spaces")?,
        })
    }
}

impl List {
    fn read(json: &Json) -> Result<List, Error> {
        let wrong =
            || Error::bad_json("ranges must be a list of pairs of numbers, the second not below the first");
        let number = |v: &Json| v.as_int().and_then(|n| usize::try_from(n).ok());
        let range = |v: &Json| match v.as_array() {
            Some([from, to]) => Some((number(from)?, number(to)?)).filter(|(from, to)| from <= to),
            _ => None,
        };
        let ranges = match (json.get("ranges"), json.get("range")) {
            (Some(all), _) => {
                let all = all.as_array().ok_or_else(wrong)?;
                Some(all.iter().map(|r| range(r).ok_or_else(wrong)).collect::<Result<Vec<_>, Error>>()?)
            }
            (None, Some(one)) => Some(vec![range(one).ok_or_else(wrong)?]),
            (None, None) => None,
        };
        let filters = json.get("filters").filter(|f| !f.is_null()).map(Filters::read).transpose()?;
        Ok(List { ranges, config: Config::read(json)?, filters: filters.unwrap_or_default() })
    }

    /// Whether the room at this place of the list is wanted.
    pub fn has(&self, at: usize) -> bool {
        self.ranges.as_ref().is_none_or(|all| all.iter().any(|(from, to)| (*from..=*to).contains(&at)))
    }
}

impl Ask {
    /// Reads a request.
    pub fn read(ctx: &Ctx, request: &Request) -> Result<Ask, Error> {
        let body = request.json()?;
        let timeout = match request.number("timeout")? {
            Some(ms) => ms,
            None => {
                body.get("timeout").and_then(Json::as_int).and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
            }
        };
        let said = request.param("set_presence").or(body.str_of("set_presence"));
        let show = match said {
            None | Some("online") => Some(Show::Online),
            Some("unavailable") => Some(Show::Away),
            Some("offline") => None,
            Some(_) => {
                return Err(Error::invalid_param("set_presence must be online, unavailable or offline"));
            }
        };
        let pos = request.param("pos").or(body.str_of("pos")).filter(|p| !p.is_empty()).map(str::to_owned);
        let object = |name: &str| match body.get(name) {
            None | Some(Json::Null) => Ok(Vec::new()),
            Some(value) => match value.as_object() {
                Some(map) => Ok(map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()),
                None => Err(Error::bad_json(format!("{name} must be an object"))),
            },
        };
        let (lists, rooms) = (object("lists")?, object("room_subscriptions")?);
        if lists.len() > LISTS || rooms.len() > SUBSCRIPTIONS {
            return Err(Error::invalid_param("too many lists or subscriptions"));
        }
        let lists = lists.iter().map(|(name, list)| Ok((name.clone(), List::read(list)?)));
        Ok(Ask {
            connection: Str::new(body.str_of("conn_id").unwrap_or_default()),
            pos,
            until: ctx.now().mono + timeout.min(WAIT_MAX),
            show,
            lists: lists.collect::<Result<_, Error>>()?,
            rooms: rooms
                .iter()
                .map(|(id, c)| Ok((id.clone(), Config::read(c)?)))
                .collect::<Result<_, Error>>()?,
            extensions: body.get("extensions").cloned().unwrap_or_else(Json::object),
        })
    }

    /// An extension, if it is wanted.
    pub fn extension(&self, name: &str) -> Option<&Json> {
        self.extensions.get(name).filter(|e| e.get("enabled").and_then(Json::as_bool) == Some(true))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(json: &str) -> Config {
        Config::read(&Json::parse(json.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn what_state_is_wanted() {
        let all = config(r#"{"timeline_limit":1000,"required_state":[["*","*"]]}"#);
        assert!(all.wants("m.room.name", "", "@a:x") && all.wants("m.room.member", "@b:x", "@a:x"));
        assert_eq!(all.timeline, TIMELINE_MAX);
        let lazy =
            config(r#"{"required_state":[["*","*"],["m.room.member","$LAZY"],["m.room.member","$ME"]]}"#);
        assert!(lazy.is_lazy() && lazy.wants("m.room.name", "", "@a:x"));
        assert!(lazy.wants("m.room.member", "@a:x", "@a:x") && !lazy.wants("m.room.member", "@b:x", "@a:x"));
        let one = config(r#"{"timeline_limit":3,"required_state":[["m.room.name",""]]}"#);
        assert!(!one.wants("m.room.topic", "", "@a:x") && lazy.is_wider(&one) && !one.is_wider(&one));
        let mut both = one.clone();
        both.join(&lazy);
        assert!(both.wants("m.room.topic", "", "@a:x") && both.timeline == 3);
        for bad in
            [r#"{"required_state":{}}"#, r#"{"required_state":[["a"]]}"#, r#"{"required_state":[["a",1]]}"#]
        {
            assert!(Config::read(&Json::parse(bad.as_bytes()).unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_have_ranges() {
        let list = |json: &str| List::read(&Json::parse(json.as_bytes()).unwrap());
        let two = list(r#"{"ranges":[[0,1],[5,5]]}"#).unwrap();
        assert_eq!((0..7).filter(|n| two.has(*n)).collect::<Vec<_>>(), [0, 1, 5]);
        assert!(list("{}").unwrap().has(1_000_000));
        for bad in [
            r#"{"ranges":[[1,0]]}"#,
            r#"{"ranges":[1]}"#,
            r#"{"ranges":[[0,-1]]}"#,
            r#"{"filters":{"is_dm":1}}"#,
        ] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }
}
