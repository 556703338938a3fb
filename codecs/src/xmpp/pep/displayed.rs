//! Displayed synchronisation (XEP-0490): the items of its node and the account's read positions, which every protocol moves,
//! are one thing seen from two sides. A published item moves the position; a position moved elsewhere is an item that is
//! newer than the one published.

use super::node::{Item, items};
use crate::session::Cx;
use crate::xmpp::address::bare_jid;
use crate::xmpp::framer::XmlLimits;
use crate::xmpp::message::stanza_id;
use crate::xmpp::muc::Show;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use crate::xmpp::writer::Writer;
use crate::xmpp::xml::Scope;
use lavina_core::chat::account::Account;
use lavina_core::command::Act;
use lavina_core::ids::{MsgId, Pos, RoomId};
use lavina_core::query::{Query, Value};
use lavina_core::time::UnixMillis;
use std::borrow::Cow;

/// The message that an item's payload names, and in whose archive it is.
fn named(xml: &[u8]) -> Option<(MsgId, String)> {
    let displayed = Scope::usual().parse(xml, &XmlLimits::MEMBER).ok()?;
    let id = displayed.child("stanza-id", ns::STANZA_ID).filter(|_| displayed.is("displayed", ns::MDS))?;
    Some((MsgId::parse(id.attr("id")?)?, id.attr("by").unwrap_or_default().to_owned()))
}

fn payload(id: MsgId, by: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::within(&mut out, "");
    w.start_ns("displayed", ns::MDS);
    stanza_id(&mut w, Some(id), by);
    w.end();
    drop(w);
    out
}

/// An item's payload as it is by now.
pub(super) fn current<'a>(account: &Account, item: &Item<'a>) -> Cow<'a, [u8]> {
    let newer = named(item.xml).and_then(|(id, by)| {
        let read = account.read.get(&id.room).filter(|mark| mark.pos > id.pos)?;
        Some(payload(MsgId { room: id.room, pos: read.pos }, &by))
    });
    newer.map_or(Cow::Borrowed(item.xml), Cow::Owned)
}

impl Xmpp {
    /// The client has published up to where its chat was displayed.
    pub(super) fn displayed_published(&mut self, xml: &[u8], cx: &mut Cx<'_>) {
        if let Some((MsgId { room, pos }, _)) = named(xml) {
            self.own(Act::MarkRead { room, pos, at: UnixMillis::default() }, cx, |_, _, _| {});
        }
    }

    /// A read position moved, perhaps by a session of another protocol: tells the client if it wants to know.
    pub(in crate::xmpp) fn read_elsewhere(&mut self, room: RoomId, pos: Pos, cx: &mut Cx<'_>) {
        let available = self.bound.as_ref().is_some_and(|b| b.available.is_some());
        let Some(me) = cx.user().map(|me| me.id).filter(|_| available && self.wants(ns::MDS)) else { return };
        self.ask(Query::Account(me), cx, move |session, reply, cx| {
            let Ok(Value::Account(account)) = reply else { return };
            let published = items(&account.attrs, ns::MDS);
            let known = published
                .iter()
                .filter_map(|item| named(item.xml))
                .any(|(id, _)| id.room == room && id.pos >= pos);
            if known {
                return;
            }
            session.ask(Query::Room(room), cx, move |session, reply, cx| {
                if let Ok(Value::Room(view)) = reply {
                    session.show_displayed(&view, MsgId { room, pos }, cx);
                }
            });
        });
    }

    fn show_displayed(&mut self, view: &lavina_core::query::RoomView, id: MsgId, cx: &mut Cx<'_>) {
        let Some(me) = cx.user().cloned() else { return };
        let bare = self.bare().to_owned();
        let (chat, by) = match (&view.parties, &view.head.name) {
            (Some((a, b)), _) => {
                let with = if a.id == me.id { b } else { a };
                (bare_jid(&with.name, &cx.core_settings().domain).to_string(), bare)
            }
            (None, Some(name)) => {
                let jid = Show::new(name, cx.settings()).jid;
                (jid.clone(), jid)
            }
            (None, None) => return,
        };
        let xml = payload(id, &by);
        self.write_event(&me, cx, |w| {
            w.start("items").attr("node", ns::MDS).start("item").attr("id", &chat).raw(&xml).end().end();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_reads_back() {
        let id = MsgId { room: RoomId(7), pos: Pos(9) };
        let xml = payload(id, "a@b");
        assert_eq!(named(&xml), Some((id, "a@b".to_owned())));
        assert_eq!(named(b"<displayed xmlns='urn:xmpp:mds:displayed:0'/>"), None);
        assert_eq!(named(b"<x xmlns='urn:x'/>"), None);
    }
}
