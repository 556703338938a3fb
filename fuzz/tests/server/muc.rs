//! What is asked of a room over XMPP (XEP-0045).

/// The room that tests are in.
pub const ROOM: &str = "lobby@rooms.localhost";

/// A request of `muc#ns` to the room.
pub fn ask(kind: &str, ns: &str, content: &str) -> String {
    ask_of(ROOM, kind, ns, content)
}

/// A request of `muc#ns` to another room.
pub fn ask_of(room: &str, kind: &str, ns: &str, content: &str) -> String {
    format!(
        "<iq type='{kind}' id='q' to='{room}'><query xmlns='http://jabber.org/protocol/muc#{ns}'>{content}</query></iq>"
    )
}

/// The form of a room's rules, filled in.
pub fn submitted(fields: &[(&str, &str)]) -> String {
    let mut x = "<x xmlns='jabber:x:data' type='submit'>".to_owned();
    for (var, value) in fields {
        x.push_str(&format!("<field var='muc#roomconfig_{var}'><value>{value}</value></field>"));
    }
    x + "</x>"
}

/// Sets rules of the room.
pub fn configure(fields: &[(&str, &str)]) -> String {
    ask("set", "owner", &submitted(fields))
}
