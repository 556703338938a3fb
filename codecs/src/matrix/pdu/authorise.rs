//! The authorisation rules of rooms (room versions 6 to 12, "Authorisation rules"): may this event be?
//!
//! The rules about an event's own `auth_events` are [`check_auth_events`]; those about a state are [`authorise`], to be
//! asked with the state that the event names, the state before it and the current state.

use super::levels::{INFINITE, Levels, number};
use super::{Version, auth_types};
use crate::json::{Json, Map};
use crate::matrix::ids::split;

/// Why an event may not be. The text names the rule, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub &'static str);

/// What the rules look at.
pub struct State<'a> {
    /// The state event of a type and key, in the servers' format.
    pub get: &'a dyn Fn(&str, &str) -> Option<&'a Json>,
    /// The id of the room's create event.
    pub create_id: &'a str,
    /// Whether the event is validly signed by a server: of who vouches for a join.
    pub signed_by: &'a dyn Fn(&str) -> bool,
    /// Whether some signature of a third-party invitation's `signed` is by a key of that invitation's event.
    pub third_party: &'a dyn Fn(&Json, &Json) -> bool,
}

fn need(holds: bool, why: &'static str) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused(why)) }
}

/// Whether an event names the events that authorise it, each once, none that was rejected, all of its room. `auth`: the
/// events that it names and whether they were rejected.
///
/// # Errors
/// [`Refused`].
pub fn check_auth_events<'a>(
    event: &Json,
    auth: impl IntoIterator<Item = (&'a Json, bool)>,
    version: Version,
) -> Result<(), Refused> {
    let (kind, sender) =
        (event.str_of("type").unwrap_or_default(), event.str_of("sender").unwrap_or_default());
    if is_create(event) {
        return Ok(());
    }
    let empty = Json::Null;
    let content = event.get("content").unwrap_or(&empty);
    let expected = auth_types(kind, event.str_of("state_key"), sender, content, version);
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (auth, rejected) in auth {
        let key = (auth.str_of("type").unwrap_or_default(), auth.str_of("state_key").unwrap_or_default());
        need(!seen.contains(&key), "an event is authorised by two events of the same type and key")?;
        let wanted = auth.get("state_key").is_some() && expected.iter().any(|(k, s)| (*k, s.as_str()) == key);
        need(wanted, "an event is authorised by an event that does not authorise it")?;
        need(!rejected, "an event is authorised by one that was rejected")?;
        let same = auth.str_of("room_id") == event.str_of("room_id");
        need(same, "an event is authorised by an event of another room")?;
        seen.push(key);
    }
    let create = version.room_id_is_hash() || seen.contains(&("m.room.create", ""));
    need(create, "an event is authorised without the create event")
}

fn is_create(event: &Json) -> bool {
    event.str_of("type") == Some("m.room.create") && event.str_of("state_key") == Some("")
}

/// Whether an event may be, after a state.
///
/// # Errors
/// [`Refused`].
pub fn authorise<'a>(event: &Json, version: Version, state: &State<'a>) -> Result<(), Refused> {
    let kind = event.str_of("type").ok_or(Refused("an event has a type"))?;
    if kind == "m.room.create" {
        return check_create(event, version);
    }
    let create = (state.get)("m.room.create", "").ok_or(Refused("the room has no create event"))?;
    let sender = event.str_of("sender").ok_or(Refused("an event has a sender"))?;
    let federate = create.at(&["content", "m.federate"]).and_then(Json::as_bool) != Some(false);
    let home = |user: &str| split('@', user).map(|(_, server)| server.to_owned());
    need(
        federate || home(sender) == create.str_of("sender").and_then(home),
        "the room is for users of one server only",
    )?;
    let levels = Levels::new(version, create, (state.get)("m.room.power_levels", ""));
    let rules = Rules { version, event, sender, create, levels, state };
    if kind == "m.room.member" {
        return rules.member();
    }
    need(rules.membership(sender) == "join", "the sender is not in the room")?;
    let own = levels.of(sender);
    if kind == "m.room.third_party_invite" {
        return need(own >= levels.needed("invite"), "the sender may not invite");
    }
    let state_key = event.str_of("state_key");
    need(own >= levels.to_send(kind, state_key.is_some()), "the sender may not send events of this type")?;
    let foreign = state_key.is_some_and(|key| key.starts_with('@') && key != sender);
    need(!foreign, "state under another user's id")?;
    if kind == "m.room.power_levels" { rules.power_levels() } else { Ok(()) }
}

fn check_create(event: &Json, version: Version) -> Result<(), Refused> {
    let first = event.get("prev_events").and_then(Json::as_array).is_none_or(<[Json]>::is_empty);
    need(first, "a create event is the first")?;
    let content = event.get("content");
    let server = |key: &str, sigil| Some(split(sigil, event.str_of(key)?)?.1.to_owned());
    match version.room_id_is_hash() {
        true => need(event.get("room_id").is_none(), "the create event has no room id")?,
        false => need(
            server("room_id", '!').is_some() && server("room_id", '!') == server("sender", '@'),
            "the room's id is of another server than its creator",
        )?,
    }
    if let Some(named) = content.and_then(|c| c.get("room_version")) {
        need(named.as_str().is_some(), "the room's version is no string")?;
    }
    if version.creator_in_content() {
        need(content.is_some_and(|c| c.get("creator").is_some()), "the create event names no creator")?;
    }
    match content.and_then(|c| c.get("additional_creators")) {
        Some(more) if version.room_id_is_hash() => {
            let user = |u: &Json| u.as_str().is_some_and(|u| split('@', u).is_some());
            need(more.as_array().is_some_and(|list| list.iter().all(user)), "a creator is no user")
        }
        _ => Ok(()),
    }
}

struct Rules<'e, 's, 'a> {
    version: Version,
    event: &'e Json,
    sender: &'e str,
    create: &'a Json,
    levels: Levels<'a>,
    state: &'s State<'a>,
}

impl<'e> Rules<'e, '_, '_> {
    fn content(&self, key: &str) -> Option<&'e Json> {
        self.event.at(&["content", key])
    }

    fn membership(&self, user: &str) -> &str {
        let member = (self.state.get)("m.room.member", user);
        member.and_then(|m| m.at(&["content", "membership"])).and_then(Json::as_str).unwrap_or("leave")
    }

    fn join_rule(&self) -> &str {
        let rules = (self.state.get)("m.room.join_rules", "");
        let rule = rules.and_then(|r| r.at(&["content", "join_rule"])).and_then(Json::as_str);
        match rule {
            None => "invite",
            // A rule that there is none of yet lets nobody in.
            Some(rule) if !self.version.has_join_rule(rule) => "",
            Some(rule) => rule,
        }
    }

    fn member(&self) -> Result<(), Refused> {
        let target = self.event.str_of("state_key").ok_or(Refused("a membership is somebody's"))?;
        let membership = self.content("membership").and_then(Json::as_str);
        let vouched = self.content("join_authorised_via_users_server");
        if let Some(by) = vouched.filter(|_| self.version.has_restricted()) {
            let server = by.as_str().and_then(|by| split('@', by)).map(|(_, server)| server);
            need(
                server.is_some_and(|s| (self.state.signed_by)(s)),
                "the server that vouches has not signed",
            )?;
        }
        match membership.ok_or(Refused("a membership is a string"))? {
            "join" => self.join(target),
            "invite" => self.invite(target),
            "leave" => self.leave(target),
            "ban" => {
                need(self.membership(self.sender) == "join", "the sender is not in the room")?;
                let own = self.levels.of(self.sender);
                let may = own >= self.levels.needed("ban") && self.levels.of(target) < own;
                need(may, "the sender may not ban this user")
            }
            "knock" if self.version.has_knock() => {
                need(matches!(self.join_rule(), "knock" | "knock_restricted"), "nobody can knock here")?;
                need(target == self.sender, "everybody knocks for themselves")?;
                let free = !matches!(self.membership(self.sender), "ban" | "invite" | "join");
                need(free, "who is banned, invited or in cannot knock")
            }
            _ => Err(Refused("an unknown membership")),
        }
    }

    fn join(&self, target: &str) -> Result<(), Refused> {
        if self.follows_create() && self.creator() == Some(target) {
            return Ok(());
        }
        need(target == self.sender, "everybody joins for themselves")?;
        let now = self.membership(target);
        need(now != "ban", "the sender is banned")?;
        let asked = matches!(now, "invite" | "join");
        match self.join_rule() {
            "public" => Ok(()),
            "invite" | "knock" => need(asked, "one must be invited to join"),
            "restricted" | "knock_restricted" if asked => Ok(()),
            "restricted" | "knock_restricted" => {
                let by = self.content("join_authorised_via_users_server").and_then(Json::as_str);
                let by = by.ok_or(Refused("nobody vouches for the join"))?;
                let may = self.membership(by) == "join" && self.levels.of(by) >= self.levels.needed("invite");
                need(may, "who vouches for the join may not invite")
            }
            _ => Err(Refused("the join rule lets nobody in")),
        }
    }

    /// Whether the only event before it is the create event.
    fn follows_create(&self) -> bool {
        let before = self.event.get("prev_events").and_then(Json::as_array).unwrap_or_default();
        matches!(before, [only] if only.as_str() == Some(self.state.create_id))
    }

    /// Who joins first.
    fn creator(&self) -> Option<&str> {
        match self.version.creator_in_content() {
            true => self.create.at(&["content", "creator"]).and_then(Json::as_str),
            false => self.create.str_of("sender"),
        }
    }

    fn invite(&self, target: &str) -> Result<(), Refused> {
        let now = self.membership(target);
        if let Some(invite) = self.content("third_party_invite") {
            need(now != "ban", "the user is banned")?;
            let signed = invite.get("signed").ok_or(Refused("a third-party invitation without signature"))?;
            let (mxid, token) = (signed.str_of("mxid"), signed.str_of("token"));
            let token = token.filter(|_| mxid == Some(target));
            let token = token.ok_or(Refused("a third-party invitation of somebody else"))?;
            let event = (self.state.get)("m.room.third_party_invite", token);
            let event = event.ok_or(Refused("there is no such third-party invitation"))?;
            need(event.str_of("sender") == Some(self.sender), "a third-party invitation by somebody else")?;
            return need(
                (self.state.third_party)(signed, event),
                "a third-party invitation with a wrong signature",
            );
        }
        need(self.membership(self.sender) == "join", "the sender is not in the room")?;
        need(!matches!(now, "join" | "ban"), "the user is in the room, or banned")?;
        need(self.levels.of(self.sender) >= self.levels.needed("invite"), "the sender may not invite")
    }

    fn leave(&self, target: &str) -> Result<(), Refused> {
        let (own, now) = (self.membership(self.sender), self.membership(target));
        if target == self.sender {
            let knocked = own == "knock" && self.version.has_knock();
            return need(knocked || matches!(own, "invite" | "join"), "who is not in cannot leave");
        }
        need(own == "join", "the sender is not in the room")?;
        let power = self.levels.of(self.sender);
        need(now != "ban" || power >= self.levels.needed("ban"), "the sender may not lift a ban")?;
        let may = power >= self.levels.needed("kick") && self.levels.of(target) < power;
        need(may, "the sender may not put this user out")
    }

    fn power_levels(&self) -> Result<(), Refused> {
        let empty = Map::new();
        let new = self.event.get("content").and_then(Json::as_object).unwrap_or(&empty);
        check_power_levels(new, self.version)?;
        let users = new.get("users").and_then(Json::as_object).unwrap_or(&empty);
        if self.version.room_id_is_hash() {
            need(!users.keys().any(|u| self.levels.is_creator(u)), "creators stand in no power levels")?;
        }
        let Some(old) = (self.state.get)("m.room.power_levels", "") else { return Ok(()) };
        let old = old.get("content").and_then(Json::as_object).unwrap_or(&empty);
        let own = self.levels.of(self.sender);
        if own == INFINITE {
            return Ok(());
        }
        // A level that is not stated, before or after, limits nobody: so the most widespread server has it, and servers
        // must judge alike.
        let level = |level: Option<&Json>| level.and_then(|level| number(level, self.version));
        for key in SINGLE {
            let (old, new) = (level(old.get(key)), level(new.get(key)));
            let within = [old, new].into_iter().flatten().all(|level| level <= own);
            need(old == new || within, "a level above the sender's own is changed")?;
        }
        for key in ["events", "notifications", "users"] {
            let of = |map: &Map, inner: &str| level(map.get(key).and_then(|m| m.get(inner)));
            let keys = |map: &'_ Map| -> Vec<String> {
                let inner = map.get(key).and_then(Json::as_object);
                inner.map(|m| m.keys().map(|k| k.to_string()).collect()).unwrap_or_default()
            };
            for inner in keys(old).iter().chain(&keys(new)) {
                let (before, after) = (of(old, inner), of(new, inner));
                if before == after {
                    continue;
                }
                let equal = key == "users" && inner != self.sender;
                let above = |level: i64| level > own || (equal && level == own);
                need(!before.is_some_and(above), "a level of the sender's own or above is changed")?;
                need(after.is_none_or(|level| level <= own), "a level above the sender's own is given")?;
            }
        }
        Ok(())
    }
}

/// Levels that are a number each.
const SINGLE: [&str; 7] =
    ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"];

/// Whether a content of power levels is well formed (rules 9.1 to 9.3 of version 10, 9.1 of version 9).
///
/// # Errors
/// [`Refused`].
pub fn check_power_levels(content: &Map, version: Version) -> Result<(), Refused> {
    let is_level = |level: &Json| number(level, version).is_some();
    if version.integer_levels() {
        need(SINGLE.iter().all(|key| content.get(key).is_none_or(is_level)), "power levels are integers")?;
    }
    for key in ["events", "notifications", "users"] {
        if key != "users" && !version.integer_levels() {
            continue;
        }
        let Some(inner) = content.get(key) else { continue };
        let inner = inner.as_object().ok_or(Refused("power levels by name are an object"))?;
        need(inner.values().all(is_level), "power levels are integers")?;
        need(key != "users" || inner.keys().all(|u| split('@', u).is_some()), "power levels are of users")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
