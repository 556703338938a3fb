//! The uploads of an account: reserved, made, dropped; how much of them there may be.

use super::{DONE, Done, Draft, account::Account, at_most};
use crate::{
    media::{Content, Held, Media, MediaId, RESERVATIONS, RESERVED, TEXT},
    refusal::Refusal,
    row::Change,
};
use alloc::vec::Vec;

impl Account {
    /// Bytes of all uploads of the account.
    pub fn uploaded(&self) -> u64 {
        self.media.values().filter_map(|held| held.size).sum()
    }

    /// A name is reserved. Those reserved too long ago go.
    pub(super) fn reserve_media(&mut self, id: MediaId, draft: &mut Draft<'_>) -> Done {
        let now = draft.entry.at;
        let over = |held: &Held| held.size.is_none() && held.at.0.saturating_add(RESERVED) <= now.0;
        let old: Vec<MediaId> = self.media.iter().filter(|(_, h)| over(h)).map(|(id, _)| *id).collect();
        let reserved = self.media.values().filter(|held| held.size.is_none()).count();
        let limit = draft.settings.limits.media;
        if self.media.contains_key(&id) {
            return Err(Refusal::Stale);
        }
        if reserved - old.len() >= RESERVATIONS || self.media.len() - old.len() >= limit {
            return Err(Refusal::TooMany);
        }
        for id in old {
            self.media.remove(&id);
            draft.change(Change::Media(id, None));
        }
        self.put_media(Media { id, owner: self.id, at: now, content: None }, draft);
        Ok(DONE)
    }

    /// An upload is made, under a name that is new or reserved.
    pub(super) fn add_media(
        &mut self,
        id: MediaId,
        content: &Content,
        reserved: bool,
        draft: &mut Draft<'_>,
    ) -> Done {
        let limits = draft.settings.limits;
        at_most(&content.content_type, TEXT)?;
        at_most(&content.name, TEXT)?;
        if content.size > limits.media_size {
            return Err(Refusal::TooLong);
        }
        let known = self.media.get(&id);
        match known {
            Some(Held { size: Some(_), .. }) => return Err(Refusal::Stale),
            Some(Held { size: None, at }) if at.0.saturating_add(RESERVED) <= draft.entry.at.0 => {
                return Err(Refusal::NoSuchItem);
            }
            None if reserved => return Err(Refusal::NoSuchItem),
            _ => {}
        }
        let crowded = known.is_none() && self.media.len() >= limits.media;
        if crowded || self.uploaded().saturating_add(content.size) > limits.media_bytes {
            return Err(Refusal::TooMany);
        }
        let at = draft.entry.at;
        self.put_media(Media { id, owner: self.id, at, content: Some(content.clone()) }, draft);
        Ok(DONE)
    }

    /// An upload or a reservation is no more.
    pub(super) fn drop_media(&mut self, id: MediaId, draft: &mut Draft<'_>) -> Done {
        self.media.remove(&id).ok_or(Refusal::NoSuchItem)?;
        draft.change(Change::Media(id, None));
        Ok(DONE)
    }

    fn put_media(&mut self, media: Media, draft: &mut Draft<'_>) {
        debug_assert_eq!(media.owner, self.id);
        self.media.insert(media.id, Held::of(&media));
        draft.change(Change::Media(media.id, Some(media)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        blob::Hash,
        chat::{
            Entity, Verdict,
            testing::{Rig, user},
        },
        command::{Act, EntityId},
        text::{Octets, Str},
    };
    use alloc::collections::BTreeMap;

    fn content(size: u64) -> Content {
        let name = Str::new("cat.png");
        Content { hash: Hash([size as u8; 32]), size, content_type: Str::new("image/png"), name }
    }

    fn add(id: u128, size: u64, reserved: bool) -> Act {
        Act::AddMedia { id: MediaId(id), content: content(size), reserved }
    }

    fn reserve(id: u128) -> Act {
        Act::ReserveMedia(MediaId(id))
    }

    /// A made account with small limits, and its rows.
    struct Uploader(Rig, BTreeMap<MediaId, Held>);

    impl Uploader {
        fn new() -> Uploader {
            let mut rig = Rig::new(EntityId::Account(user(1).id));
            rig.settings.limits.media = 3;
            rig.settings.limits.media_size = 60;
            rig.settings.limits.media_bytes = 100;
            let (name, credential) = (user(1).name, Octets::from(b"c"));
            rig.server(Act::CreateAccount { name, credential, admin: false });
            Uploader(rig, BTreeMap::new())
        }

        /// The refusal, if there was one; the rows are kept, and are what the account holds.
        fn act(&mut self, act: Act) -> Option<Refusal> {
            let out = self.0.by(&user(1), act);
            for change in out.rows() {
                match change {
                    Change::Media(id, Some(media)) => drop(self.1.insert(id, Held::of(&media))),
                    Change::Media(id, None) => drop(self.1.remove(&id)),
                    other => panic!("{other:?}"),
                }
            }
            let Entity::Account(account) = &self.0.entity else { panic!("an account") };
            assert_eq!(account.media, self.1);
            match out.verdict {
                Verdict::Refused(why) => Some(why),
                _ => None,
            }
        }
    }

    #[test]
    fn uploads_are_bounded_in_size_number_and_sum() {
        let mut u = Uploader::new();
        assert_eq!(u.act(add(1, 61, false)), Some(Refusal::TooLong));
        assert_eq!(u.act(add(1, 60, false)), None);
        assert_eq!(u.act(add(1, 60, false)), Some(Refusal::Stale), "a name is used once");
        assert_eq!(u.act(add(2, 41, false)), Some(Refusal::TooMany));
        assert_eq!(u.act(add(2, 40, false)), None);
        assert_eq!(u.act(add(3, 0, false)), None);
        assert_eq!(u.act(add(4, 0, false)), Some(Refusal::TooMany));
        assert_eq!(u.act(Act::DropMedia(MediaId(1))), None);
        assert_eq!(u.act(Act::DropMedia(MediaId(1))), Some(Refusal::NoSuchItem));
        assert_eq!(u.act(add(4, 60, false)), None);
        let long = Content { name: Str::new("x".repeat(TEXT + 1)), ..content(0) };
        let act = Act::AddMedia { id: MediaId(5), content: long, reserved: false };
        assert_eq!(u.act(act), Some(Refusal::TooLong));
    }

    #[test]
    fn a_reserved_name_is_filled_once_and_not_for_ever() {
        let mut u = Uploader::new();
        assert_eq!(u.act(add(1, 1, true)), Some(Refusal::NoSuchItem), "nobody reserved it");
        assert_eq!(u.act(reserve(1)), None);
        assert_eq!(u.act(reserve(1)), Some(Refusal::Stale));
        assert_eq!(u.act(add(1, 1, true)), None);
        assert_eq!(u.act(add(1, 2, true)), Some(Refusal::Stale));
        assert_eq!((u.act(reserve(2)), u.act(reserve(3))), (None, None));
        assert_eq!(u.act(reserve(4)), Some(Refusal::TooMany));
        u.0.now += RESERVED;
        assert_eq!(u.act(add(2, 1, true)), Some(Refusal::NoSuchItem), "too late");
        assert_eq!(u.act(reserve(4)), None);
        assert_eq!(u.1.keys().copied().collect::<Vec<_>>(), [MediaId(1), MediaId(4)]);
    }

    #[test]
    fn nobody_acts_on_the_uploads_of_others() {
        let mut u = Uploader::new();
        assert_eq!(u.act(add(1, 1, false)), None);
        for act in [add(2, 1, false), reserve(2), Act::DropMedia(MediaId(1))] {
            u.0.refuses(&user(2), act, Refusal::Forbidden);
        }
    }
}
