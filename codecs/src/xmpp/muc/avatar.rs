//! A room's picture (XEP-0486): the photo in a vCard that its owners may set, kept as a named value of the room.

use crate::session::Cx;
use crate::xmpp::avatar::{photo, stored};
use crate::xmpp::error::StanzaCondition;
use crate::xmpp::iq::Iq;
use crate::xmpp::ns;
use crate::xmpp::session::Xmpp;
use data_encoding::HEXLOWER;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::query::RoomView;
use lavina_core::text::{Octets, Str};
use sha1::{Digest, Sha1};

/// The name of the value.
pub(super) const KEY: &str = "xmpp.vcard";

/// The SHA-1 of the picture, as clients compare it (XEP-0153 §3); none if the room has none.
pub(super) fn hash(view: &RoomView) -> Option<String> {
    let vcard = stored(view.attrs.get(KEY).map(|xml| &**xml))?;
    photo(&vcard).map(|(_, bytes)| HEXLOWER.encode(&Sha1::digest(bytes)))
}

/// Reads the room's vCard, or sets it; an empty one takes it away.
pub(in crate::xmpp) fn vcard(session: &mut Xmpp, iq: Iq, cx: &mut Cx<'_>) {
    session.room_of(iq, cx, |session, iq, name, view, cx| {
        if !iq.set {
            return match stored(view.attrs.get(KEY).map(|xml| &**xml)) {
                Some(vcard) => session.iq_result(&iq, cx, |w| {
                    w.element(&vcard);
                }),
                None => session.iq_error(&iq, &StanzaCondition::ItemNotFound.into(), cx),
            };
        }
        let Some(me) = cx.user().cloned() else { return };
        let empty = iq.payload().elements().next().is_none();
        let value = if empty { Vec::new() } else { iq.payload().to_xml(ns::CLIENT) };
        let act = Act::SetRoomAttr { key: Str::new(KEY), value: Octets::from(value) };
        let command = Command::by(&me, EntityId::Room(view.id), act);
        session.command(command, false, cx, move |session, outcome, cx| {
            session.finish_in_room(&iq, &name, &outcome, cx);
        });
    });
}
