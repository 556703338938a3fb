//! Room versions.

/// A room version that is served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The first whose events are written in one way only (canonical JSON).
    V6,
    /// One may knock; the widespread clients ask for it by this name where they want that.
    V7,
    /// Members of other rooms may join.
    V8,
    /// A redaction leaves who vouched for such a join; the widespread clients ask for it by this name where they want
    /// members of other rooms to join.
    V9,
    /// Power levels are integers; `knock_restricted`.
    V10,
    /// Another redaction algorithm; `redacts` in the content.
    V11,
    /// The room's id is the hash of its create event; creators stand above all.
    V12,
}

impl Version {
    /// All of them.
    pub const ALL: [Version; 7] =
        [Version::V6, Version::V7, Version::V8, Version::V9, Version::V10, Version::V11, Version::V12];

    /// The version of that name.
    pub fn named(name: &str) -> Option<Version> {
        Version::ALL.into_iter().find(|v| v.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Version::V6 => "6",
            Version::V7 => "7",
            Version::V8 => "8",
            Version::V9 => "9",
            Version::V10 => "10",
            Version::V11 => "11",
            Version::V12 => "12",
        }
    }

    /// Whether the room's id is the hash of its create event, which then has no `room_id` and authorises nothing by name.
    pub fn room_id_is_hash(self) -> bool {
        self >= Version::V12
    }

    /// Whether the create event's content says who made the room; else its sender did.
    pub fn creator_in_content(self) -> bool {
        self < Version::V11
    }

    /// Whether one can knock.
    pub fn has_knock(self) -> bool {
        self >= Version::V7
    }

    /// Whether members of other rooms may join, where somebody of the room vouches for them.
    pub fn has_restricted(self) -> bool {
        self >= Version::V8
    }

    /// Whether rooms of this version know that join rule.
    pub fn has_join_rule(self, rule: &str) -> bool {
        match rule {
            "knock" => self.has_knock(),
            "restricted" => self.has_restricted(),
            "knock_restricted" => self.has_knock_restricted(),
            _ => true,
        }
    }

    /// Whether there is the join rule `knock_restricted`.
    pub fn has_knock_restricted(self) -> bool {
        self >= Version::V10
    }

    /// Whether power levels are integers alone; before, strings that say one are levels too.
    pub fn integer_levels(self) -> bool {
        self >= Version::V10
    }

    /// Whether what a redaction redacts is said in its content.
    pub fn redacts_in_content(self) -> bool {
        self >= Version::V11
    }
}
