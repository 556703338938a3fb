//! Avatars (XEP-0084) for those who look into the vCard and at the hash in presence (XEP-0153), and the other way round
//! (XEP-0398): the nodes of personal eventing are the truth, the vCard's photo is made from them.

use crate::session::Cx;
use crate::xmpp::framer::XmlLimits;
use crate::xmpp::ns;
use crate::xmpp::pep::{self, Attrs};
use crate::xmpp::session::Xmpp;
use crate::xmpp::xml::{Element, Scope};
use data_encoding::{BASE64, HEXLOWER};
use lavina_core::chat::account::Account;
use lavina_core::projection::Notice;
use sha1::{Digest, Sha1};
use smol_str::SmolStr;

/// The id of the account's avatar, the SHA-1 of its data; none if it has none.
pub(super) fn current(attrs: &Attrs) -> Option<SmolStr> {
    let (id, info) = metadata(attrs)?;
    info.map(|_| id)
}

/// The latest metadata: its id and, unless the avatar was switched off, its first `<info/>`.
fn metadata(attrs: &Attrs) -> Option<(SmolStr, Option<Element>)> {
    let item = pep::last_item(attrs, ns::AVATAR_METADATA)?;
    let metadata = Scope::usual().parse(item.xml, &XmlLimits::MEMBER).ok()?;
    Some((SmolStr::new(item.id), metadata.child("info", ns::AVATAR_METADATA).cloned()))
}

/// The vCard as it was stored.
pub(super) fn stored(vcard: Option<&[u8]>) -> Option<Element> {
    Scope::usual().parse(vcard?, &XmlLimits::MEMBER).ok()
}

/// The vCard with the avatar as its photo.
pub(super) fn into_vcard(attrs: &Attrs, vcard: Option<&[u8]>) -> Option<Element> {
    let stored = stored(vcard);
    let photo = metadata(attrs).and_then(|(id, info)| {
        let info = info?;
        let data = Scope::usual().parse(pep::item(attrs, ns::AVATAR_DATA, &id)?, &XmlLimits::MEMBER).ok()?;
        let leaf = |name: &str, text: &str| Element::new(name, ns::VCARD).with_text(text);
        let kind = info.attr("type").unwrap_or("image/png");
        let data: String = data.text().split_ascii_whitespace().collect();
        Some(
            Element::new("PHOTO", ns::VCARD).with_child(leaf("TYPE", kind)).with_child(leaf("BINVAL", &data)),
        )
    });
    let Some(photo) = photo else { return stored };
    let mut vcard = stored.unwrap_or_else(|| Element::new("vCard", ns::VCARD));
    vcard.remove_children(|el| el.is("PHOTO", ns::VCARD));
    Some(vcard.with_child(photo))
}

/// The photo in a vCard: its type and its bytes.
pub(super) fn photo(vcard: &Element) -> Option<(String, Vec<u8>)> {
    let photo = vcard.child("PHOTO", ns::VCARD)?;
    let data: String = photo.child_text("BINVAL")?.split_ascii_whitespace().collect();
    let bytes = BASE64.decode(data.as_bytes()).ok().filter(|b| !b.is_empty())?;
    Some((photo.child_text("TYPE").map_or_else(|| "image/png".to_owned(), |t| t.trim().to_owned()), bytes))
}

impl Xmpp {
    /// The account has a new vCard: what it has as photo becomes the avatar; `then` goes on when it is.
    pub(super) fn vcard_stored(
        &mut self,
        account: &Account,
        vcard: &Element,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Xmpp, &mut Cx<'_>) + Send + 'static,
    ) {
        let Some((kind, bytes)) = photo(vcard) else { return then(self, cx) };
        let id = HEXLOWER.encode(&Sha1::digest(&bytes));
        if current(&account.attrs).as_deref() == Some(&id) {
            return then(self, cx);
        }
        let data = Element::new("data", ns::AVATAR_DATA).with_text(&BASE64.encode(&bytes));
        let info = Element::new("info", ns::AVATAR_METADATA)
            .with_attr("bytes", &bytes.len().to_string())
            .with_attr("id", &id)
            .with_attr("type", &kind);
        let metadata = Element::new("metadata", ns::AVATAR_METADATA).with_child(info);
        let now = cx.now().wall.0;
        let nodes = [(ns::AVATAR_DATA, data), (ns::AVATAR_METADATA, metadata)].into_iter();
        let changes = nodes.filter_map(|(node, payload)| {
            pep::publishing(&account.attrs, node, &id, &payload.to_xml(""), None, now).ok()
        });
        self.pep_changes(changes.collect(), cx, |session, _, cx| then(session, cx));
    }

    /// Notes another avatar of the own account.
    pub(super) fn avatar_noted(&mut self, notice: &Notice, cx: &Cx<'_>) {
        let Notice::Attrs { from, values, .. } = notice else { return };
        let Some(bound) = self.bound.as_mut().filter(|_| cx.user().is_some_and(|me| me.id == from.id)) else {
            return;
        };
        let told: Attrs = values.iter().filter(|(_, v)| !v.is_empty()).cloned().collect();
        if pep::last_item(&told, ns::AVATAR_METADATA).is_some() {
            bound.avatar = current(&told);
        }
    }

    /// Puts the avatar's hash into a presence, unless the client has put one there.
    pub(super) fn add_avatar(&self, presence: &mut Element) {
        let Some(avatar) = self.bound.as_ref().and_then(|b| b.avatar.as_ref()) else { return };
        let update = presence.child("x", ns::VCARD_UPDATE);
        if update.and_then(|x| x.child_text("photo")).is_some_and(|hash| !hash.is_empty()) {
            return;
        }
        presence.remove_children(|el| el.is("x", ns::VCARD_UPDATE));
        let photo = Element::new("photo", ns::VCARD_UPDATE).with_text(avatar);
        let update = Element::new("x", ns::VCARD_UPDATE).with_child(photo);
        *presence = std::mem::replace(presence, Element::new("presence", ns::CLIENT)).with_child(update);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn store(attrs: &mut Attrs, node: &str, id: &str, xml: &[u8]) {
        let change = pep::publishing(attrs, node, id, xml, None, 1).ok().unwrap();
        attrs.extend(change.values);
    }

    #[test]
    fn an_avatar_is_the_photo_of_the_vcard() {
        let mut attrs = Attrs::new();
        store(&mut attrs, ns::AVATAR_DATA, "h", b"<data xmlns='urn:xmpp:avatar:data'>Q\nUJD</data>");
        let metadata =
            "<metadata xmlns='urn:xmpp:avatar:metadata'><info id='h' type='image/gif' bytes='3'/></metadata>";
        store(&mut attrs, ns::AVATAR_METADATA, "h", metadata.as_bytes());
        assert_eq!(current(&attrs).as_deref(), Some("h"));
        let old = "<vCard xmlns='vcard-temp'><FN>Al</FN><PHOTO><BINVAL>WA==</BINVAL></PHOTO></vCard>";
        let vcard = into_vcard(&attrs, Some(old.as_bytes())).unwrap();
        assert_eq!(photo(&vcard), Some(("image/gif".to_owned(), b"ABC".to_vec())));
        assert_eq!((vcard.child_text("FN").unwrap(), vcard.elements().count()), ("Al".into(), 2));
        store(&mut attrs, ns::AVATAR_METADATA, "i", b"<metadata xmlns='urn:xmpp:avatar:metadata'/>");
        attrs.remove(&pep::item_key(ns::AVATAR_METADATA, "h"));
        assert_eq!(current(&attrs), None);
        assert_eq!(into_vcard(&Attrs::new(), None), None);
    }
}
