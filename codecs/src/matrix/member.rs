//! The content of `m.room.member`, made of a standing and of how the member shows itself.

use crate::json::{DEPTH, Json};
use crate::object;
use crate::session::MATRIX_NATIVE;
use lavina_core::event::{How, MemberChange, Native};
use lavina_core::name::User;
use lavina_core::policy::{Member, Membership};
use lavina_core::text::{Octets, Str};

/// The word for a membership.
pub fn word(membership: Membership) -> &'static str {
    match membership {
        Membership::Left => "leave",
        Membership::Invited => "invite",
        Membership::Joined => "join",
        Membership::Banned => "ban",
        Membership::Knocking => "knock",
    }
}

/// Keys that say what the entry itself says.
const OWN: &[&str] = &["membership", "reason"];

/// What is kept of the content that a client gave: all but the membership and the reason. Nothing of it: none.
pub fn native(content: &Json) -> Option<Native> {
    let mut kept = content.as_object()?.clone();
    kept.retain(|key, _| !OWN.contains(&key));
    if let Some(name) = display(content) {
        kept.insert("displayname", name);
    }
    let bytes = Octets::from(Json::Object(kept).to_bytes());
    Some(Native { protocol: MATRIX_NATIVE, bytes })
}

/// The display name that a client gave.
pub fn display(content: &Json) -> Option<Str> {
    content.str_of("displayname").map(Str::name)
}

/// The content that [`native`] keeps.
pub fn shown(native: Option<&Native>) -> Option<Json> {
    let native = native.filter(|n| n.protocol == MATRIX_NATIVE)?;
    Json::parse_within(&native.bytes, DEPTH + 1).ok()
}

/// The content that an entry states.
pub fn of_change(change: &MemberChange) -> Json {
    let reason = change.reason.as_ref().filter(|_| !matches!(change.how, How::Rename | How::Alias));
    make(change.after.membership, &change.user, change.native.as_ref(), change.display.as_ref(), reason)
}

/// The content that a row states.
pub fn of_row(row: &Member) -> Json {
    make(row.standing.membership, &row.user, row.native.as_ref(), row.display.as_ref(), row.reason.as_ref())
}

/// Nothing but membership and reason.
pub fn plain(membership: Membership, reason: Option<&Str>) -> Json {
    let mut content = object! { "membership" => word(membership) };
    if let Some(reason) = reason.filter(|r| !r.is_empty()) {
        content.set("reason", reason);
    }
    content
}

/// Whether an act is one that people do to themselves.
pub fn by_himself(how: How) -> bool {
    matches!(
        how,
        How::Join | How::Part | How::Quit | How::Decline | How::Knock | How::Rename | How::Shown | How::Alias
    )
}

/// People of other protocols are called as they call themselves there, else as they are called in the room, else by their
/// names as they spell them.
fn make(
    membership: Membership,
    user: &User,
    native: Option<&Native>,
    display: Option<&Str>,
    reason: Option<&Str>,
) -> Json {
    let mut content = plain(membership, reason);
    let there = matches!(membership, Membership::Joined | Membership::Knocking | Membership::Invited);
    match shown(native) {
        Some(Json::Object(kept)) => {
            for (key, value) in kept {
                if !OWN.contains(&key.as_str()) {
                    content.set(key, value);
                }
            }
        }
        _ if there => {
            let display = display.map(Str::as_str).filter(|d| !d.is_empty());
            let alias = user.alias.as_deref().filter(|_| !user.is_guest());
            content.set("displayname", display.or(alias).unwrap_or(user.name.as_str()));
        }
        _ => {}
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use lavina_core::ids::AccountId;
    use lavina_core::name::UserName;

    #[test]
    fn what_a_client_gave_is_kept_and_the_rest_is_made() {
        let user = User::new(AccountId(64), UserName::new("Alice").expect("a name"));
        let given = object! { "membership" => "ban", "reason" => "x", "displayname" => "A", "x.y" => [1] };
        let kept = native(&given);
        let made = make(Membership::Joined, &user, kept.as_ref(), None, None);
        assert_eq!(made, object! { "membership" => "join", "displayname" => "A", "x.y" => [1] });
        let made = make(Membership::Joined, &user, None, Some(&Str::new("Al")), None);
        assert_eq!(made, object! { "membership" => "join", "displayname" => "Al" });
        let called = User { alias: Some(Str::new("Ally")), ..user.clone() };
        for (display, shown) in [(None, "Ally"), (Some(Str::new("Al")), "Al")] {
            let made = make(Membership::Joined, &called, None, display.as_ref(), None);
            assert_eq!(made, object! { "membership" => "join", "displayname" => shown });
        }
        let made = make(Membership::Invited, &user, None, None, Some(&Str::new("come")));
        assert_eq!(made, object! { "membership" => "invite", "displayname" => "Alice", "reason" => "come" });
        assert_eq!(make(Membership::Left, &user, None, None, None), object! { "membership" => "leave" });
    }
}
