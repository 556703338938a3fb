//! Power levels of a room as servers see them (client-server API, `m.room.power_levels`; room versions 9 to 12).

use super::Version;
use crate::json::Json;

/// What the creators of a room from version 12 on have: more than anybody.
pub const INFINITE: i64 = i64::MAX;

/// The levels that hold in a room: its create event and its power levels, if it has some.
#[derive(Clone, Copy, Debug)]
pub struct Levels<'a> {
    version: Version,
    create: &'a Json,
    content: Option<&'a Json>,
}

impl<'a> Levels<'a> {
    /// By the create event and the power levels event.
    pub fn new(version: Version, create: &'a Json, levels: Option<&'a Json>) -> Levels<'a> {
        Levels { version, create, content: levels.and_then(|event| event.get("content")) }
    }

    /// Whether somebody made the room: its create event's sender, and from version 12 on who is named there.
    pub fn is_creator(&self, user: &str) -> bool {
        if self.version.room_id_is_hash() {
            let more = self.create.at(&["content", "additional_creators"]).and_then(Json::as_array);
            return self.create.str_of("sender") == Some(user)
                || more.is_some_and(|list| list.iter().any(|u| u.as_str() == Some(user)));
        }
        let creator = match self.version.creator_in_content() {
            true => self.create.at(&["content", "creator"]).and_then(Json::as_str),
            false => self.create.str_of("sender"),
        };
        creator == Some(user)
    }

    /// Somebody's power.
    pub fn of(&self, user: &str) -> i64 {
        if self.version.room_id_is_hash() && self.is_creator(user) {
            return INFINITE;
        }
        match self.content {
            None if self.is_creator(user) => 100,
            None => 0,
            Some(content) => {
                let own = content.at(&["users", user]).and_then(|level| number(level, self.version));
                own.or_else(|| self.int("users_default")).unwrap_or(0)
            }
        }
    }

    fn int(&self, key: &str) -> Option<i64> {
        number(self.content?.get(key)?, self.version)
    }

    /// The power that an act needs: `ban`, `kick`, `redact`, `invite`.
    pub fn needed(&self, act: &str) -> i64 {
        self.int(act).unwrap_or(if act == "invite" { 0 } else { 50 })
    }

    /// The power that sending an event of a type needs.
    pub fn to_send(&self, kind: &str, state: bool) -> i64 {
        let own = self.content.and_then(|c| c.at(&["events", kind]));
        let own = own.and_then(|level| number(level, self.version));
        own.unwrap_or_else(|| match state {
            true => self.int("state_default").unwrap_or(50),
            false => self.int("events_default").unwrap_or(0),
        })
    }
}

/// A power level (room versions 9 and 10, "Authorisation rules"): an integer, before version 10 also a string that says
/// one, with white space around it.
pub(super) fn number(level: &Json, version: Version) -> Option<i64> {
    let said = || level.as_str()?.trim_ascii().parse().ok();
    level.as_int().or_else(|| if version.integer_levels() { None } else { said() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object;
    use Version::*;

    #[test]
    fn defaults_and_creators() {
        let create = object! {
            "sender" => "@a:x",
            "content" => object! { "creator" => "@c:x", "additional_creators" => ["@b:x"] },
        };
        let plain = |version| Levels::new(version, &create, None);
        assert_eq!(["@a:x", "@b:x", "@c:x"].map(|u| plain(V10).of(u)), [0, 0, 100]);
        assert_eq!(["@a:x", "@b:x", "@c:x"].map(|u| plain(V11).of(u)), [100, 0, 0]);
        assert_eq!(["@a:x", "@b:x", "@c:x"].map(|u| plain(V12).of(u)), [INFINITE, INFINITE, 0]);
        assert_eq!((plain(V11).to_send("x", true), plain(V11).to_send("x", false)), (50, 0));
        let event = object! { "content" => object! {
            "users" => object! { "@d:x" => 7 }, "users_default" => 1, "events" => object! { "x" => 3 }, "kick" => 4,
        } };
        let levels = Levels::new(V11, &create, Some(&event));
        assert_eq!(["@a:x", "@d:x"].map(|u| levels.of(u)), [1, 7]);
        assert_eq!(
            (levels.to_send("x", true), levels.to_send("y", true), levels.to_send("y", false)),
            (3, 50, 0)
        );
        assert_eq!(["kick", "ban", "invite", "redact"].map(|a| levels.needed(a)), [4, 50, 0, 50]);
        assert_eq!(Levels::new(V12, &create, Some(&event)).of("@a:x"), INFINITE);
        let said = object! { "content" => object! {
            "users" => object! { "@d:x" => " 7 ", "@e:x" => "+8", "@f:x" => "much" }, "users_default" => "1",
        } };
        let levels = |version| {
            ["@a:x", "@d:x", "@e:x", "@f:x"].map(|u| Levels::new(version, &create, Some(&said)).of(u))
        };
        assert_eq!((levels(V9), levels(V10)), ([1, 7, 8, 1], [0; 4]));
    }
}
