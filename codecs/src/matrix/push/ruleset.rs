//! All rules of a person: looked up, changed, kept, applied.

use super::condition::{Reader, Subject};
use super::predefined::{self, MASTER};
use super::rule::{Actions, BadRule, Kind, Rule};
use crate::json::{Json, Map};
use crate::object;
use std::fmt;
use std::sync::Arc;

/// Rules that one person can make; more are refused.
pub const RULES_MAX: usize = 500;

/// Rules by kind; among a kind the more important ones first.
type Rules = [Vec<Rule>; Kind::ALL.len()];

/// The predefined rules: one copy for all people who have no others.
#[derive(Clone, PartialEq)]
pub struct Predefined(Arc<Rules>);

impl Default for Predefined {
    fn default() -> Predefined {
        Predefined(Arc::new(Kind::ALL.map(predefined::rules)))
    }
}

impl fmt::Debug for Predefined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Predefined")
    }
}

/// All rules of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruleset {
    user: String,
    predefined: Predefined,
    /// The predefined ones' own, until something is changed.
    rules: Arc<Rules>,
}

/// Where a new rule stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// Right before that rule.
    pub before: Option<&'a str>,
    /// Right after that rule.
    pub after: Option<&'a str>,
}

impl Ruleset {
    /// The predefined rules only.
    pub fn new(predefined: &Predefined, user: &str) -> Ruleset {
        let (predefined, rules) = (predefined.clone(), predefined.0.clone());
        Ruleset { user: user.to_owned(), predefined, rules }
    }

    fn list(&self, kind: Kind) -> &[Rule] {
        self.rules.get(kind as usize).map_or(&[], Vec::as_slice)
    }

    fn list_mut(&mut self, kind: Kind) -> &mut Vec<Rule> {
        &mut Arc::make_mut(&mut self.rules)[kind as usize]
    }

    /// A rule.
    ///
    /// # Errors
    /// [`BadRule::NotFound`].
    pub fn get(&self, kind: Kind, id: &str) -> Result<&Rule, BadRule> {
        self.list(kind).iter().find(|r| r.id == id).ok_or(BadRule::NotFound)
    }

    /// A rule as clients have it.
    ///
    /// # Errors
    /// [`BadRule::NotFound`].
    pub fn rule_json(&self, kind: Kind, id: &str) -> Result<Json, BadRule> {
        Ok(self.get(kind, id)?.to_json(kind, &self.user))
    }

    fn get_mut(&mut self, kind: Kind, id: &str) -> Result<&mut Rule, BadRule> {
        self.list_mut(kind).iter_mut().find(|r| r.id == id).ok_or(BadRule::NotFound)
    }

    /// Makes or changes a rule of one's own (`PUT …/pushrules/global/{kind}/{ruleId}`). One that is there already stays
    /// switched on or off, and where it is, unless a place is given.
    ///
    /// # Errors
    /// [`BadRule`].
    pub fn put(&mut self, kind: Kind, id: &str, body: &Json, place: Place<'_>) -> Result<(), BadRule> {
        let mut rule = Rule::parse(kind, id, body)?;
        let own: usize = self.rules.iter().flatten().filter(|r| !r.default).count();
        let list = self.list_mut(kind);
        let old = list.iter().position(|r| r.id == id);
        if old.is_none() && own >= RULES_MAX {
            return Err(BadRule::TooMany);
        }
        let next_to = |id: &str| {
            let found = list.iter().position(|r| !r.default && r.id == id && Some(id) != Some(&rule.id));
            found.ok_or_else(|| BadRule::NoNeighbour(id.to_owned()))
        };
        // Both given, the one before which it stands counts; the other must be there.
        let after = place.after.map(next_to).transpose()?;
        let before = place.before.map(next_to).transpose()?;
        let mut at = match (before, after, old) {
            (Some(at), _, _) => at,
            (None, Some(at), _) => at + 1,
            (None, None, Some(at)) => at,
            (None, None, None) => list.iter().position(|r| r.id != MASTER).unwrap_or(list.len()),
        };
        if let Some(old) = old {
            rule.enabled = list.remove(old).enabled;
            at -= usize::from(old < at);
        }
        list.insert(at, rule);
        Ok(())
    }

    /// Takes a rule of one's own away.
    ///
    /// # Errors
    /// [`BadRule::NotFound`]; the server's rules cannot be taken away either.
    pub fn delete(&mut self, kind: Kind, id: &str) -> Result<(), BadRule> {
        let list = self.list_mut(kind);
        let at = list.iter().position(|r| r.id == id && !r.default).ok_or(BadRule::NotFound)?;
        list.remove(at);
        Ok(())
    }

    /// Switches a rule on or off: the body of `PUT …/enabled`, or what older clients send, a bare truth value.
    ///
    /// # Errors
    /// [`BadRule::Body`], [`BadRule::NotFound`].
    pub fn set_enabled(&mut self, kind: Kind, id: &str, body: &Json) -> Result<(), BadRule> {
        let enabled = body.get("enabled").unwrap_or(body).as_bool();
        let enabled = enabled.ok_or(BadRule::Body("`enabled` must be true or false"))?;
        self.get_mut(kind, id)?.enabled = enabled;
        Ok(())
    }

    /// Changes what a rule does: the body of `PUT …/actions`.
    ///
    /// # Errors
    /// [`BadRule::Body`], [`BadRule::Action`], [`BadRule::NotFound`].
    pub fn set_actions(&mut self, kind: Kind, id: &str, body: &Json) -> Result<(), BadRule> {
        let actions = Actions::parse(body.get("actions"))?;
        self.get_mut(kind, id)?.actions = actions;
        Ok(())
    }

    /// What this person is told of an event, and by which rule; none if no rule fits, or if it is the person's own.
    pub fn evaluate(&self, subject: &Subject<'_>, reader: Reader<'_>) -> Option<(Kind, &Rule)> {
        if subject.sender() == reader.id {
            return None;
        }
        let fitting =
            |kind: Kind| self.list(kind).iter().find(|r| r.fits(kind, subject, reader)).map(|r| (kind, r));
        Kind::ALL.into_iter().find_map(fitting)
    }

    /// As clients have it: the value of `global`.
    pub fn to_json(&self) -> Json {
        let kind = |kind: Kind| -> Json {
            Json::Array(self.list(kind).iter().map(|r| r.to_json(kind, &self.user)).collect())
        };
        Json::Object(Kind::ALL.into_iter().map(|k| (k.name(), kind(k))).collect())
    }

    /// As it is kept: what differs from the predefined rules.
    pub fn to_stored(&self) -> Json {
        let plain = Ruleset::new(&self.predefined, &self.user);
        let (mut own, mut changed) = (Map::new(), Map::new());
        for kind in Kind::ALL {
            let mine = self.list(kind).iter().filter(|r| !r.default).map(|r| r.to_json(kind, &self.user));
            let mine: Vec<Json> = mine.collect();
            if !mine.is_empty() {
                own.insert(kind.name(), mine);
            }
            for rule in self.list(kind).iter().filter(|r| r.default) {
                let same = plain.get(kind, &rule.id).is_ok_and(|p| p == rule);
                if !same {
                    let value = object! {
                        "kind" => kind.name(), "actions" => rule.actions.to_json(), "enabled" => rule.enabled,
                    };
                    changed.insert(rule.id.clone(), value);
                }
            }
        }
        object! { "own" => own, "changed" => changed }
    }

    /// Reads what was kept. What cannot be read any more is left out: rules must never keep a person from the rest.
    pub fn from_stored(predefined: &Predefined, user: &str, stored: &Json) -> Ruleset {
        let mut out = Ruleset::new(predefined, user);
        for kind in Kind::ALL {
            let mine = stored.at(&["own", kind.name()]).and_then(Json::as_array).unwrap_or_default();
            // The last becomes the most important.
            for json in mine.iter().rev() {
                let Some(id) = json.str_of("rule_id") else { continue };
                if out.put(kind, id, json, Place::default()).is_ok()
                    && let Ok(rule) = out.get_mut(kind, id)
                {
                    rule.enabled = json.get("enabled").and_then(Json::as_bool).unwrap_or(true);
                }
            }
        }
        for (id, change) in
            stored.get("changed").and_then(Json::as_object).map(Map::iter).into_iter().flatten()
        {
            let Some(kind) = change.str_of("kind").and_then(Kind::named) else { continue };
            // A predefined rule that is no more has no changes.
            let _ = out.set_enabled(kind, id, change);
            let _ = out.set_actions(kind, id, change);
        }
        out
    }
}

#[cfg(test)]
mod tests;
