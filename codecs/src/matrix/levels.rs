//! Power levels: the content of `m.room.power_levels` read, checked, and written from the room's own levels and powers
//! (client-server API, "m.room.power_levels").

use super::ids::{self, Who};
use crate::json::{Json, Map};
use crate::object;
use lavina_core::chat::room::Room;
use lavina_core::event::MemberChange;
use lavina_core::ids::AccountId;
use lavina_core::policy::{Levels, Member, Policy, Power, power};
use std::collections::BTreeMap;

/// The type.
pub const POWER_LEVELS: &str = "m.room.power_levels";

/// The highest power of somebody who is no creator.
pub const HIGHEST: Power = power::CREATOR - 1;

/// What holds for a key that is not there.
const DEFAULTS: &[(&str, Power)] = &[
    ("ban", 50),
    ("events_default", 0),
    ("invite", 0),
    ("kick", 50),
    ("redact", 50),
    ("state_default", 50),
    ("users_default", 0),
];

/// The level at that key, as it holds.
fn level(content: &Json, key: &str) -> Power {
    let default = DEFAULTS.iter().find(|(k, _)| *k == key).map_or(0, |(_, level)| *level);
    content.get(key).and_then(Json::as_int).map_or(default, clamp)
}

/// A level within the range of ours: clients may use 53 bits.
fn clamp(level: i64) -> Power {
    Power::try_from(level.clamp((-HIGHEST).into(), HIGHEST.into())).unwrap_or(0)
}

/// What it takes to send an event of that type.
pub fn needed(content: &Json, kind: &str, state: bool) -> Power {
    let own = content.at(&["events", kind]).and_then(Json::as_int).map(clamp);
    own.unwrap_or_else(|| level(content, if state { "state_default" } else { "events_default" }))
}

/// What it takes to notify everybody in a room.
pub fn notify_room(content: &Json) -> Power {
    content.at(&["notifications", "room"]).and_then(Json::as_int).map_or(50, clamp)
}

/// The levels of a room with that content.
pub fn read(content: &Json) -> Levels {
    Levels {
        speak: needed(content, "m.room.message", false),
        invite: level(content, "invite"),
        kick: level(content, "kick"),
        ban: level(content, "ban"),
        redact: level(content, "redact"),
        topic: needed(content, "m.room.topic", true),
        state: level(content, "state_default"),
        users: level(content, "users_default"),
    }
}

/// The power that the content gives to that id; none if it does not name it.
pub fn of_user(content: &Json, id: &str) -> Option<Power> {
    content.at(&["users", id]).and_then(Json::as_int).map(clamp)
}

/// The ids it names.
pub fn users(content: &Json) -> impl Iterator<Item = &str> {
    let users = content.get("users").and_then(Json::as_object);
    users.into_iter().flat_map(Map::keys).map(|k| k.as_str())
}

/// What is wrong with a content (room version 10, "Authorization rules", 9.1 to 9.3; version 12, creators). `creator`:
/// whether an id is a creator's that must not be named.
///
/// # Errors
/// In words.
pub fn check(content: &Json, creator: &dyn Fn(&str) -> bool) -> Result<(), String> {
    for (key, _) in DEFAULTS {
        if content.get(key).is_some_and(|v| v.as_int().is_none()) {
            return Err(format!("{key} must be an integer"));
        }
    }
    for key in ["events", "notifications", "users"] {
        let Some(map) = content.get(key) else { continue };
        let map = map.as_object().ok_or_else(|| format!("{key} must be an object"))?;
        if map.values().any(|v| v.as_int().is_none()) {
            return Err(format!("the values of {key} must be integers"));
        }
    }
    for id in users(content) {
        if ids::split('@', id).is_none_or(|(local, _)| local.is_empty()) {
            return Err(format!("{id} is no user id"));
        }
        if creator(id) {
            return Err("the creators of a room have more power than any number says".to_owned());
        }
    }
    Ok(())
}

/// Refuses what the authorisation rules of power levels do not let somebody of that power change (room version 10,
/// "Authorization rules", 9.5 to 9.9): levels above his own, and the power of equals. `me`: his id.
///
/// # Errors
/// In words.
pub fn check_change(old: &Json, new: &Json, own: Power, me: &str) -> Result<(), String> {
    let above = |v: Option<&Json>| v.and_then(Json::as_int).map(clamp).is_some_and(|n| n > own);
    let differs = |a: Option<&Json>, b: Option<&Json>| a.and_then(Json::as_int) != b.and_then(Json::as_int);
    for (key, _) in DEFAULTS {
        let (a, b) = (old.get(key), new.get(key));
        if differs(a, b) && (above(a) || above(b)) {
            return Err(format!("{key} is above your own power level"));
        }
    }
    for map in ["events", "notifications", "users"] {
        for key in keys(old.get(map)).chain(keys(new.get(map))) {
            let (a, b) = (old.at(&[map, key]), new.at(&[map, key]));
            if !differs(a, b) {
                continue;
            }
            if above(a) || above(b) {
                return Err(format!("the level of {key} is above your own"));
            }
            let equal = a.and_then(Json::as_int).map(clamp) == Some(own);
            if map == "users" && key != me && equal {
                return Err(format!("{key} has as much power as you"));
            }
        }
    }
    Ok(())
}

fn keys(map: Option<&Json>) -> impl Iterator<Item = &str> {
    map.and_then(Json::as_object).into_iter().flat_map(Map::keys).map(|k| k.as_str())
}

/// The content as it holds: `base` with the room's levels and powers laid over it. What `base` says of others stays.
/// `change`: a standing that is being changed.
pub fn write(base: Json, policy: &Policy, room: &Room, change: Option<&MemberChange>, domain: &str) -> Json {
    let mut content = base;
    let levels = Levels { invite: policy.invite_level(), ..policy.levels };
    for (key, wanted) in [
        ("ban", levels.ban),
        ("invite", levels.invite),
        ("kick", levels.kick),
        ("redact", levels.redact),
        ("state_default", levels.state),
        ("users_default", levels.users),
    ] {
        if level(&content, key) != wanted {
            content.set(key, wanted);
        }
    }
    if needed(&content, "m.room.message", false) != levels.speak {
        match content.at(&["events", "m.room.message"]) {
            Some(_) => set_in(&mut content, "events", "m.room.message", levels.speak),
            None => content.set("events_default", levels.speak),
        }
    }
    if needed(&content, "m.room.topic", true) != levels.topic {
        set_in(&mut content, "events", "m.room.topic", levels.topic);
    }
    lay_powers(&mut content, levels.users, room, change, domain);
    content
}

fn lay_powers(content: &mut Json, newcomer: Power, room: &Room, change: Option<&MemberChange>, domain: &str) {
    let named: Vec<String> =
        users(content).filter_map(|id| ids::who(id, domain)).filter_map(local_name).collect();
    let changed = change.map(|c| (c.user.id, c.after.power));
    let mut lay = |id: AccountId, user: &lavina_core::name::User, power: Power| {
        let power = changed.filter(|(who, _)| *who == id).map_or(power, |(_, power)| power);
        let listed = named.binary_search(&user.name.folded()).is_ok();
        if power == newcomer && !listed {
            return;
        }
        let id = ids::user_id(user, domain);
        if power == power::CREATOR {
            if let Some(Json::Object(users)) = content.as_object_mut().and_then(|c| c.get_mut("users")) {
                users.remove(&id);
            }
        } else if of_user(content, &id) != Some(power) && (listed || power != newcomer) {
            set_in(content, "users", &id, power);
        }
    };
    for (id, member) in room.members.iter() {
        lay(*id, &member.user, member.standing.power);
    }
    if let Some(change) = change.filter(|c| !room.members.contains_key(&c.user.id)) {
        lay(change.user.id, &change.user, change.after.power);
    }
}

fn local_name(who: Who) -> Option<String> {
    match who {
        Who::Local(name) => Some(name.folded()),
        _ => None,
    }
}

fn set_in(content: &mut Json, map: &str, key: &str, value: Power) {
    let Some(top) = content.as_object_mut() else { return };
    if top.get(map).and_then(Json::as_object).is_none() {
        top.insert(map, Json::object());
    }
    if let Some(Json::Object(inner)) = top.get_mut(map) {
        inner.insert(key, value);
    }
}

/// The powers that a content gives, where they are not what people have: those in the room with a row, and local people
/// whom it names. `known`: accounts by id. The higher ones come first, so that somebody is there to follow an owner
/// who steps down.
pub fn powers(
    content: &Json,
    members: &BTreeMap<AccountId, Member>,
    known: &BTreeMap<String, lavina_core::name::User>,
    domain: &str,
) -> Vec<(lavina_core::name::User, Power)> {
    let newcomer = level(content, "users_default");
    let mut out = Vec::new();
    for member in members.values().filter(|m| m.standing.power != power::CREATOR) {
        let wanted = of_user(content, &ids::user_id(&member.user, domain)).unwrap_or(newcomer);
        if wanted != member.standing.power {
            out.push((member.user.clone(), wanted));
        }
    }
    for (id, user) in known.iter().filter(|(_, user)| !members.contains_key(&user.id)) {
        if let Some(wanted) = of_user(content, id).filter(|p| *p != newcomer) {
            out.push((user.clone(), wanted));
        }
    }
    out.sort_by_key(|(_, power)| std::cmp::Reverse(*power));
    out
}

/// The content of a new room's levels before any override. `tombstone`: above the level of other state in rooms whose
/// creators are above all (createRoom, step 3).
pub fn fresh(creators: bool, public: bool) -> Json {
    object! {
        "ban" => 50,
        "events" => object! {
            "m.room.avatar" => 50,
            "m.room.canonical_alias" => 50,
            "m.room.encryption" => 100,
            "m.room.history_visibility" => 100,
            "m.room.name" => 50,
            "m.room.power_levels" => 100,
            "m.room.server_acl" => 100,
            "m.room.tombstone" => if creators { 150 } else { 100 },
        },
        "events_default" => 0,
        "invite" => if public { 50 } else { 0 },
        "kick" => 50,
        "notifications" => object! { "room" => 50 },
        "redact" => 50,
        "state_default" => 50,
        "users" => Json::object(),
        "users_default" => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_has_its_default() {
        let levels = read(&Json::object());
        let want =
            Levels { speak: 0, invite: 0, kick: 50, ban: 50, redact: 50, topic: 50, state: 50, users: 0 };
        assert_eq!(levels, want);
        let content = object! {
            "events" => object! { "m.room.message" => 10, "m.room.topic" => 0, "x" => 7 },
            "state_default" => 1_i64 << 40,
        };
        assert_eq!((read(&content).speak, read(&content).topic, read(&content).state), (10, 0, HIGHEST));
        assert_eq!((needed(&content, "x", true), needed(&content, "y", false)), (7, 0));
        assert_eq!(notify_room(&content), 50);
    }

    #[test]
    fn bad_contents() {
        let nobody = |_: &str| false;
        for bad in [
            object! { "ban" => "50" },
            object! { "users" => [1] },
            object! { "users" => object! { "nonsense" => 1 } },
            object! { "users" => object! { "@a:x.org" => "1" } },
            object! { "events" => object! { "x" => Json::Null } },
            object! { "users_default" => Json::Float(0.5) },
        ] {
            assert!(check(&bad, &nobody).is_err(), "{bad:?}");
        }
        let good = object! { "users" => object! { "@a:x.org" => 100 }, "custom" => "x" };
        assert_eq!(check(&good, &nobody), Ok(()));
        assert!(check(&good, &|id| id == "@a:x.org").is_err());
    }

    #[test]
    fn nobody_moves_what_is_above_him() {
        let old = object! {
            "ban" => 50,
            "events" => object! { "high" => 100, "low" => 10 },
            "users" => object! { "@me:x" => 50, "@equal:x" => 50, "@low:x" => 0 },
        };
        let with = |path: &[&str; 2], value: i32| {
            let mut new = old.clone();
            match path {
                ["", key] => new.set(*key, value),
                [map, key] => set_in(&mut new, map, key, value),
            }
            check_change(&old, &new, 50, "@me:x").is_ok()
        };
        for (path, value, fine) in [
            (["", "ban"], 40, true),
            (["", "ban"], 60, false),
            (["events", "high"], 10, false),
            (["events", "low"], 51, false),
            (["events", "low"], 50, true),
            (["users", "@me:x"], 10, true),
            (["users", "@me:x"], 51, false),
            (["users", "@equal:x"], 0, false),
            (["users", "@low:x"], 50, true),
            (["users", "@new:x"], 50, true),
            (["users", "@new:x"], 100, false),
        ] {
            assert_eq!(with(&path, value), fine, "{path:?} {value}");
        }
    }
}
