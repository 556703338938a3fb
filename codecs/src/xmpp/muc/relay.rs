//! Requests from occupant to occupant (XEP-0045 §17.4): passed on to a client of the account that the nick stands for, in
//! the name of the asker's place in the room, and the answer likewise.
//!
//! Nothing is remembered of a request: the id that it is passed on with says which session asked, under which id.

use super::show::Show;
use crate::session::{Cx, XMPP_NATIVE};
use crate::xmpp::error::StanzaCondition;
use crate::xmpp::iq::Iq;
use crate::xmpp::session::Xmpp;
use crate::xmpp::xml::Element;
use data_encoding::BASE64URL_NOPAD;
use lavina_core::ids::Label;
use lavina_core::name::{RoomName, User};
use lavina_core::presence::Show as Availability;
use lavina_core::query::{Query, Value, Whois};
use lavina_core::text::Str;

/// What the id of a request that is passed on begins with.
const MARK: &str = "occupant.";

/// The id that a request is passed on with.
fn marked(asker: &str, id: &str) -> String {
    format!("{MARK}{}.{id}", BASE64URL_NOPAD.encode(asker.as_bytes()))
}

/// Who asked, under which id.
fn asker(id: &str) -> Option<(Label, &str)> {
    let (label, id) = id.strip_prefix(MARK)?.split_once('.')?;
    let label = String::from_utf8(BASE64URL_NOPAD.decode(label.as_bytes()).ok()?).ok()?;
    Some((Str::new(label), id))
}

/// The client that gets requests to the account: the available one with the highest priority.
fn client_of(whois: &Whois) -> Option<Label> {
    let speaks = |s: &&lavina_core::query::SessionView| {
        let native = s.presence.native.as_ref();
        s.presence.show != Availability::Offline && native.is_some_and(|n| n.protocol == XMPP_NATIVE)
    };
    let best = whois.sessions.iter().filter(speaks).max_by_key(|s| s.presence.priority);
    best.map(|s| s.label.clone())
}

impl Xmpp {
    /// Passes a request on to a client of an occupant.
    pub(super) fn relay(&mut self, iq: Iq, room: &RoomName, to: User, cx: &mut Cx<'_>) {
        let Some(me) = self.seated_as(room).cloned() else { return };
        let from = Show::new(room, cx.settings()).address(&me);
        self.ask(Query::WhoisOf(to.clone()), cx, move |session, reply, cx| {
            let client = match &reply {
                Ok(Value::Whois(whois)) => client_of(whois),
                _ => None,
            };
            let Some(client) = client else {
                return session.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx);
            };
            let mut stanza = iq.stanza.clone();
            let id = marked(cx.label(), stanza.attr("id").unwrap_or_default());
            stanza.set_attr("id", &id);
            stanza.set_attr("from", &from);
            session.signal_as(to.id, Some(client), &stanza, cx, move |session, outcome, cx| {
                match outcome.refusal() {
                    None => cx.done(iq.slot),
                    Some(_) => session.iq_error(&iq, &StanzaCondition::ServiceUnavailable.into(), cx),
                }
            });
        });
    }

    /// Passes an answer back to who asked; what answers nothing that was passed on is dropped.
    pub(in crate::xmpp) fn relay_answer(
        &mut self,
        mut stanza: Element,
        room: RoomName,
        nick: Str,
        cx: &mut Cx<'_>,
    ) {
        let asked = stanza.attr("id").and_then(asker).map(|(label, id)| (label, id.to_owned()));
        let (Some(me), Some((label, id))) = (self.seated_as(&room).cloned(), asked) else { return };
        stanza.set_attr("id", &id);
        stanza.set_attr("from", &Show::new(&room, cx.settings()).address(&me));
        self.with_occupant(room, nick, cx, move |session, user, cx| {
            if let Some(user) = user {
                session.signal_as(user.id, Some(label), &stanza, cx, |_, _, _| {});
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_who_asked() {
        assert_eq!(asker(&marked("my.phone 📱", "a.b")), Some((Str::new("my.phone 📱"), "a.b")));
        assert_eq!(asker(&marked("r", "")), Some((Str::new("r"), "")));
        for other in ["", "1", "occupant.", "occupant.??.1", "occupant.cg"] {
            assert_eq!(asker(other), None, "{other}");
        }
    }
}
