//! One rule.

use super::condition::{Condition, Reader, Subject};
use super::glob::Glob;
use super::predefined::OF_TEXT;
use crate::json::{Json, Map};
use crate::object;
use lavina_core::text::Str;

/// Bytes of a pattern; longer ones are refused.
pub const PATTERN_MAX: usize = 255;

/// Bytes of a rule; larger ones are refused.
pub const RULE_MAX: usize = 4096;

/// Kinds of rules, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Before all others.
    Override,
    /// By a pattern in the body.
    Content,
    /// By room.
    Room,
    /// By sender.
    Sender,
    /// After all others.
    Underride,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Kind; 5] = [Kind::Override, Kind::Content, Kind::Room, Kind::Sender, Kind::Underride];

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Override => "override",
            Kind::Content => "content",
            Kind::Room => "room",
            Kind::Sender => "sender",
            Kind::Underride => "underride",
        }
    }
}

/// Why a change of the rules is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// Names that are the server's, or hold what they must not.
    #[error("the id of a rule is 1 to 255 bytes, begins with no dot, and holds no slash and no backslash")]
    Id,
    /// A body that is no rule.
    #[error("{0}")]
    Body(&'static str),
    /// An action that does not exist.
    #[error("unrecognised action")]
    Action,
    /// A rule too large.
    #[error("a rule has at most {RULE_MAX} bytes")]
    TooLarge,
    /// Too many rules.
    #[error("too many rules")]
    TooMany,
    /// Before or after which it should stand.
    #[error("before/after rule not found: {0}")]
    NoNeighbour(String),
    /// No such rule.
    #[error("the push rule was not found")]
    NotFound,
}

impl BadRule {
    /// The error code of it.
    pub fn errcode(&self) -> &'static str {
        match self {
            BadRule::Id | BadRule::Action => "M_INVALID_PARAM",
            BadRule::Body(_) => "M_BAD_JSON",
            BadRule::TooLarge => "M_TOO_LARGE",
            BadRule::TooMany | BadRule::NoNeighbour(_) => "M_UNKNOWN",
            BadRule::NotFound => "M_NOT_FOUND",
        }
    }

    /// The HTTP status of it.
    pub fn status(&self) -> u16 {
        match self {
            BadRule::NotFound => 404,
            BadRule::TooLarge => 413,
            _ => 400,
        }
    }
}

/// What a rule does with an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actions(Vec<Json>);

impl Actions {
    /// Reads a list of actions. Those of older versions of the specification are kept, and do nothing.
    ///
    /// # Errors
    /// [`BadRule::Body`], [`BadRule::Action`].
    pub fn parse(json: Option<&Json>) -> Result<Actions, BadRule> {
        let list = json.and_then(Json::as_array).ok_or(BadRule::Body("`actions` must be a list"))?;
        let mut out = Vec::new();
        for action in list {
            match action.as_str() {
                Some("notify" | "dont_notify" | "coalesce") => out.push(action.clone()),
                None if action.str_of("set_tweak").is_some() => out.push(action.clone()),
                _ => return Err(BadRule::Action),
            }
        }
        Ok(Actions(out))
    }

    pub(super) fn of(notify: bool, sound: Option<&str>, highlight: bool) -> Actions {
        let mut out = Vec::new();
        out.extend(notify.then(|| Json::from("notify")));
        out.extend(sound.map(|s| object! { "set_tweak" => "sound", "value" => s }));
        out.extend(highlight.then(|| object! { "set_tweak" => "highlight" }));
        Actions(out)
    }

    /// Whether somebody is told.
    pub fn notify(&self) -> bool {
        self.0.iter().any(|a| a.as_str() == Some("notify"))
    }

    /// Whether it stands out. Without a value, the tweak says yes.
    pub fn highlight(&self) -> bool {
        self.tweak("highlight").is_some_and(|a| a.get("value").and_then(Json::as_bool).unwrap_or(true))
    }

    /// The sound to be played.
    pub fn sound(&self) -> Option<&str> {
        self.tweak("sound")?.str_of("value")
    }

    fn tweak(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|a| a.str_of("set_tweak") == Some(name))
    }

    /// The tweaks as a push gateway wants them.
    pub fn tweaks(&self) -> Json {
        let tweak = |a: &Json| Some((a.str_of("set_tweak")?.to_owned(), a.get("value").cloned()));
        let pairs = self.0.iter().filter_map(tweak);
        Json::Object(pairs.map(|(name, value)| (name, value.unwrap_or(Json::Bool(true)))).collect())
    }

    /// As clients have them.
    pub fn to_json(&self) -> Json {
        Json::Array(self.0.clone())
    }
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its id, unique among its kind.
    pub id: Str,
    /// Whether it is in force.
    pub enabled: bool,
    /// Whether it is one of the server's.
    pub default: bool,
    /// What it does.
    pub actions: Actions,
    /// As they were given; what is not known here survives. In predefined ones `null` stands for the reader's id.
    conditions: Vec<Json>,
    compiled: Vec<Condition>,
    pattern: Option<(Str, Glob)>,
}

impl Rule {
    /// Reads a rule that a client makes.
    ///
    /// # Errors
    /// [`BadRule`].
    pub fn parse(kind: Kind, id: &str, body: &Json) -> Result<Rule, BadRule> {
        if id.is_empty() || id.len() > 255 || id.starts_with('.') || id.contains(['/', '\\']) {
            return Err(BadRule::Id);
        }
        let map = body.as_object().ok_or(BadRule::Body("a rule must be an object"))?;
        if body.to_bytes().len() > RULE_MAX {
            return Err(BadRule::TooLarge);
        }
        let actions = Actions::parse(map.get("actions"))?;
        let mut rule = Rule::made(id, Vec::new(), actions);
        rule.default = false;
        match kind {
            Kind::Override | Kind::Underride => {
                let conditions = match map.get("conditions") {
                    None => &[],
                    Some(json) => json.as_array().ok_or(BadRule::Body("`conditions` must be a list"))?,
                };
                if !conditions.iter().all(|c| c.str_of("kind").is_some()) {
                    return Err(BadRule::Body("each condition must be an object with a `kind`"));
                }
                rule.compiled = conditions.iter().map(Condition::new).collect();
                rule.conditions = conditions.to_vec();
            }
            Kind::Content => {
                let pattern = map.get("pattern").and_then(Json::as_str).filter(|p| p.len() <= PATTERN_MAX);
                let pattern = pattern
                    .ok_or(BadRule::Body("a content rule must have a `pattern` of at most 255 bytes"))?;
                rule.pattern = Some((Str::new(pattern), Glob::new(pattern)));
            }
            Kind::Room | Kind::Sender => {}
        }
        Ok(rule)
    }

    /// One of the server's own.
    pub(super) fn made(id: &str, conditions: Vec<Json>, actions: Actions) -> Rule {
        let compiled = conditions.iter().map(Condition::predefined).collect();
        Rule { id: Str::new(id), enabled: true, default: true, actions, conditions, compiled, pattern: None }
    }

    fn is_of_text(&self) -> bool {
        self.default && OF_TEXT.contains(&self.id.as_str())
    }

    /// Whether the rule is in force and an event fits.
    pub(super) fn fits(&self, kind: Kind, subject: &Subject<'_>, reader: Reader<'_>) -> bool {
        self.enabled
            && !(self.is_of_text() && subject.says_mentions())
            && match kind {
                Kind::Override | Kind::Underride => self.compiled.iter().all(|c| c.holds(subject, reader)),
                Kind::Content => match &self.pattern {
                    Some((_, glob)) => subject.words(glob),
                    None => subject.words(&Glob::new(localpart(reader.id))),
                },
                Kind::Room => self.id == subject.room(),
                Kind::Sender => self.id == subject.sender(),
            }
    }

    /// As clients have it; `reader`: whose it is.
    pub fn to_json(&self, kind: Kind, reader: &str) -> Json {
        let mut out = Map::new();
        out.insert("actions", self.actions.to_json());
        if matches!(kind, Kind::Override | Kind::Underride) {
            let mut conditions = self.conditions.clone();
            for condition in conditions.iter_mut().filter(|_| self.default) {
                for key in ["pattern", "value"] {
                    if condition.get(key).is_some_and(Json::is_null) {
                        condition.set(key, reader);
                    }
                }
            }
            out.insert("conditions", Json::Array(conditions));
        }
        out.insert("default", self.default);
        out.insert("enabled", self.enabled);
        if let Some((pattern, _)) = &self.pattern {
            out.insert("pattern", pattern.clone());
        } else if kind == Kind::Content {
            out.insert("pattern", localpart(reader));
        }
        out.insert("rule_id", self.id.clone());
        Json::Object(out)
    }
}

fn localpart(id: &str) -> &str {
    id.strip_prefix('@').unwrap_or(id).split(':').next().unwrap_or_default()
}
