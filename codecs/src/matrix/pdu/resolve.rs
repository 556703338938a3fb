//! State resolution (room versions 2 and 12, "State resolution"): which state follows from several.
//!
//! Pure and bounded: every look at an event is counted, and beyond the budget the resolution is given up.

use super::Version;
use super::auth_types;
use super::authorise::{State, authorise};
use super::levels::Levels;
use crate::json::Json;
use lavina_core::text::Str;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A room's state: ids of events by type and key.
pub type StateMap = BTreeMap<(Str, Str), Str>;

/// The events that a resolution may look at.
pub struct Graph<'a> {
    /// An event, in the servers' format.
    pub event: &'a dyn Fn(&str) -> Option<&'a Json>,
    /// Whether it was rejected.
    pub rejected: &'a dyn Fn(&str) -> bool,
    /// The id of the room's create event.
    pub create_id: &'a str,
    /// See [`State::signed_by`], for an event.
    pub signed_by: &'a dyn Fn(&Json, &str) -> bool,
    /// See [`State::third_party`].
    pub third_party: &'a dyn Fn(&Json, &Json) -> bool,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// An event that is needed is not there.
    #[error("event {0} is missing")]
    Missing(Str),
    /// The room's history is too tangled.
    #[error("the resolution looks at too many events")]
    Budget,
}

/// Resolves several states into one. `budget`: how many events may be looked at.
///
/// # Errors
/// [`Unresolved`].
pub fn resolve(
    version: Version,
    states: &[StateMap],
    graph: &Graph<'_>,
    budget: usize,
) -> Result<StateMap, Unresolved> {
    let (unconflicted, conflicted) = split(states);
    if conflicted.is_empty() {
        return Ok(unconflicted);
    }
    let mut work = Work { version, graph, left: budget };
    let mut full = work.auth_difference(states)?;
    if version.room_id_is_hash() {
        full.extend(work.subgraph(&conflicted)?);
    }
    full.extend(conflicted);
    let power = work.power_events(&full)?;
    let sorted = work.by_power(&power)?;
    let mut state = if version.room_id_is_hash() { StateMap::new() } else { unconflicted.clone() };
    work.iterate(&sorted, &mut state)?;
    let rest: BTreeSet<Str> = full.difference(&power).cloned().collect();
    let sorted = work.by_mainline(&rest, state.get(&key("m.room.power_levels", "")).cloned())?;
    work.iterate(&sorted, &mut state)?;
    state.extend(unconflicted);
    Ok(state)
}

fn key(kind: &str, state_key: &str) -> (Str, Str) {
    (Str::new(kind), Str::new(state_key))
}

/// What all states agree on, and the events of which they do not.
fn split(states: &[StateMap]) -> (StateMap, BTreeSet<Str>) {
    let keys: BTreeSet<&(Str, Str)> = states.iter().flat_map(BTreeMap::keys).collect();
    let (mut same, mut conflicted) = (StateMap::new(), BTreeSet::new());
    for key in keys {
        let values: BTreeSet<Option<&Str>> = states.iter().map(|s| s.get(key)).collect();
        match values.first() {
            Some(Some(only)) if values.len() == 1 => _ = same.insert(key.clone(), (*only).clone()),
            _ => conflicted.extend(values.into_iter().flatten().cloned()),
        }
    }
    (same, conflicted)
}

struct Work<'g, 'a> {
    version: Version,
    graph: &'g Graph<'a>,
    left: usize,
}

impl<'a> Work<'_, 'a> {
    fn event(&mut self, id: &str) -> Result<&'a Json, Unresolved> {
        self.left = self.left.checked_sub(1).ok_or(Unresolved::Budget)?;
        (self.graph.event)(id).ok_or_else(|| Unresolved::Missing(Str::new(id)))
    }

    fn auth_events(&mut self, id: &str) -> Result<Vec<Str>, Unresolved> {
        let list = self.event(id)?.get("auth_events").and_then(Json::as_array).unwrap_or_default();
        Ok(list.iter().filter_map(Json::as_str).map(Str::new).collect())
    }

    /// The auth chains of events together.
    fn chain<'s>(&mut self, of: impl Iterator<Item = &'s Str>) -> Result<BTreeSet<Str>, Unresolved> {
        let (mut found, mut todo) = (BTreeSet::new(), of.cloned().collect::<Vec<Str>>());
        while let Some(id) = todo.pop() {
            for auth in self.auth_events(&id)? {
                if found.insert(auth.clone()) {
                    todo.push(auth);
                }
            }
        }
        Ok(found)
    }

    fn auth_difference(&mut self, states: &[StateMap]) -> Result<BTreeSet<Str>, Unresolved> {
        let mut counts: BTreeMap<Str, usize> = BTreeMap::new();
        for state in states {
            for id in self.chain(state.values())? {
                *counts.entry(id).or_default() += 1;
            }
        }
        Ok(counts.into_iter().filter(|(_, n)| *n < states.len()).map(|(id, _)| id).collect())
    }

    /// Events on paths from one conflicted event to another.
    fn subgraph(&mut self, conflicted: &BTreeSet<Str>) -> Result<BTreeSet<Str>, Unresolved> {
        // Whether an event leads to a conflicted one; a parent is known before its children are asked again.
        let mut leads: BTreeMap<Str, bool> = BTreeMap::new();
        let mut todo: Vec<(Str, bool)> = conflicted.iter().map(|id| (id.clone(), false)).collect();
        while let Some((id, parents_known)) = todo.pop() {
            if leads.contains_key(&id) {
                continue;
            }
            let parents = self.auth_events(&id)?;
            if parents_known {
                let leading = conflicted.contains(&id) || parents.iter().any(|p| leads.get(p) == Some(&true));
                leads.insert(id, leading);
                continue;
            }
            todo.push((id, true));
            todo.extend(parents.into_iter().filter(|p| !leads.contains_key(p)).map(|p| (p, false)));
        }
        Ok(leads.into_iter().filter(|(_, leading)| *leading).map(|(id, _)| id).collect())
    }

    /// Events that can take power away, and what authorises them, as far as it is in the set.
    ///
    /// Chains are followed within the set only, as all widespread servers do; the specification could be read to go on
    /// beyond its gaps, and then states would differ.
    fn power_events(&mut self, full: &BTreeSet<Str>) -> Result<BTreeSet<Str>, Unresolved> {
        let (mut found, mut todo) = (BTreeSet::new(), Vec::new());
        for id in full {
            if is_power_event(self.event(id)?) {
                todo.push(id.clone());
            }
        }
        while let Some(id) = todo.pop() {
            if !found.contains(&id) {
                todo.extend(self.auth_events(&id)?.into_iter().filter(|auth| full.contains(auth)));
                found.insert(id);
            }
        }
        Ok(found)
    }

    /// The power of an event's sender by what authorises the event.
    fn sender_power(&mut self, event: &Json) -> Result<i64, Unresolved> {
        let auth: Vec<Str> = ids(event);
        let (mut levels, mut create) = (None, None);
        for id in &auth {
            let event = self.event(id)?;
            match event.str_of("type") {
                Some("m.room.power_levels") => levels = Some(event),
                Some("m.room.create") => create = Some(event),
                _ => {}
            }
        }
        let create = match create {
            Some(create) => create,
            None => self.event(self.graph.create_id)?,
        };
        Ok(Levels::new(self.version, create, levels).of(event.str_of("sender").unwrap_or_default()))
    }

    /// Reverse topological power ordering: what authorises comes first, then who has more power, then the earlier one.
    fn by_power(&mut self, events: &BTreeSet<Str>) -> Result<Vec<Str>, Unresolved> {
        let mut open: BTreeMap<Str, usize> = BTreeMap::new();
        let mut children: BTreeMap<Str, Vec<Str>> = BTreeMap::new();
        let mut ready: BTreeSet<(Reverse<i64>, i64, Str)> = BTreeSet::new();
        let mut ranks: BTreeMap<Str, (Reverse<i64>, i64, Str)> = BTreeMap::new();
        for id in events {
            let event = self.event(id)?;
            let parents: BTreeSet<Str> = ids(event).into_iter().filter(|p| events.contains(p)).collect();
            let rank = (
                Reverse(self.sender_power(event)?),
                event.int_at("origin_server_ts").unwrap_or(0),
                id.clone(),
            );
            if parents.is_empty() {
                ready.insert(rank.clone());
            }
            open.insert(id.clone(), parents.len());
            ranks.insert(id.clone(), rank);
            for parent in parents {
                children.entry(parent).or_default().push(id.clone());
            }
        }
        let mut out = Vec::with_capacity(events.len());
        while let Some((_, _, id)) = ready.pop_first() {
            for child in children.remove(&id).unwrap_or_default() {
                let left = open.entry(child.clone()).or_default();
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.extend(ranks.remove(&child));
                }
            }
            out.push(id);
        }
        Ok(out)
    }

    /// The power levels that authorise an event.
    fn levels_of(&mut self, id: &str) -> Result<Option<Str>, Unresolved> {
        for auth in self.auth_events(id)? {
            if self.event(&auth)?.str_of("type") == Some("m.room.power_levels") {
                return Ok(Some(auth));
            }
        }
        Ok(None)
    }

    /// Mainline ordering: those that hang on earlier power levels come first, then the earlier ones.
    fn by_mainline(&mut self, events: &BTreeSet<Str>, levels: Option<Str>) -> Result<Vec<Str>, Unresolved> {
        let mut mainline: BTreeMap<Str, usize> = BTreeMap::new();
        let mut next = levels;
        while let Some(id) = next.filter(|id| !mainline.contains_key(id)) {
            mainline.insert(id.clone(), mainline.len());
            next = self.levels_of(&id)?;
        }
        let mut sorted = Vec::with_capacity(events.len());
        for id in events {
            let mut next = self.levels_of(id)?;
            let mut position = usize::MAX;
            while let Some(levels) = next {
                if let Some(found) = mainline.get(&levels) {
                    position = *found;
                    break;
                }
                next = self.levels_of(&levels)?;
            }
            let at = self.event(id)?.int_at("origin_server_ts").unwrap_or(0);
            sorted.push((Reverse(position), at, id.clone()));
        }
        sorted.sort();
        Ok(sorted.into_iter().map(|(_, _, id)| id).collect())
    }

    /// Applies those events that the rules allow, one after the other.
    fn iterate(&mut self, sorted: &[Str], state: &mut StateMap) -> Result<(), Unresolved> {
        for id in sorted {
            let event = self.event(id)?;
            let (Some(kind), Some(state_key)) = (event.str_of("type"), event.str_of("state_key")) else {
                continue;
            };
            if self.allows(event, kind, state_key, state)? {
                state.insert(key(kind, state_key), id.clone());
            }
        }
        Ok(())
    }

    fn allows(
        &mut self,
        event: &Json,
        kind: &str,
        state_key: &str,
        state: &StateMap,
    ) -> Result<bool, Unresolved> {
        let mut known: BTreeMap<(Str, Str), &Json> = BTreeMap::new();
        for id in ids(event) {
            let auth = self.event(&id)?;
            if let (Some(kind), Some(state_key)) = (auth.str_of("type"), auth.str_of("state_key"))
                && !(self.graph.rejected)(&id)
            {
                known.insert(key(kind, state_key), auth);
            }
        }
        let empty = Json::Null;
        let content = event.get("content").unwrap_or(&empty);
        let sender = event.str_of("sender").unwrap_or_default();
        for (kind, state_key) in auth_types(kind, Some(state_key), sender, content, self.version) {
            if let Some(id) = state.get(&(Str::new(kind), state_key.clone())) {
                known.insert((Str::new(kind), state_key), self.event(id)?);
            }
        }
        if self.version.room_id_is_hash() {
            known.insert(key("m.room.create", ""), self.event(self.graph.create_id)?);
        }
        let known = State {
            get: &|kind, state_key| known.get(&key(kind, state_key)).copied(),
            create_id: self.graph.create_id,
            signed_by: &|server| (self.graph.signed_by)(event, server),
            third_party: self.graph.third_party,
        };
        Ok(authorise(event, self.version, &known).is_ok())
    }
}

fn ids(event: &Json) -> Vec<Str> {
    let list = event.get("auth_events").and_then(Json::as_array).unwrap_or_default();
    list.iter().filter_map(Json::as_str).map(Str::new).collect()
}

fn is_power_event(event: &Json) -> bool {
    let state_key = event.str_of("state_key");
    match event.str_of("type") {
        Some("m.room.create" | "m.room.power_levels" | "m.room.join_rules") => state_key == Some(""),
        Some("m.room.member") => {
            let membership = event.at(&["content", "membership"]).and_then(Json::as_str);
            matches!(membership, Some("leave" | "ban")) && state_key != event.str_of("sender")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
