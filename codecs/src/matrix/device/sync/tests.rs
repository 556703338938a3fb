use super::*;
use lavina_core::name::UserName;

#[test]
fn what_was_told_is_not_kept() {
    let user = User::new(AccountId(1), UserName::new("alice").unwrap());
    let mut sync = Sync::new(&Who { user, device: Str::new("D") });
    sync.stage = Stage::Ready;
    let many = TOLD as u64 * 16;
    (0..many).for_each(|_| sync.push(Update::Counts));
    let at = |seq| Stamp { seq, ..sync_stamp() };
    fn sync_stamp() -> Stamp {
        Stamp {
            run: 0,
            seq: 0,
            feed: Pos::ZERO,
            letters: Pos::ZERO,
            at: UnixMillis(0),
            shards: VecMap::new(),
        }
    }
    let told = |news| match news {
        News::Updates(updates) => Some(updates.len() as u64),
        News::Lost => None,
    };
    assert_eq!(told(sync.news(&at(0))), Some(many), "nothing was told yet");
    assert_eq!(told(sync.news(&at(many - 2))), Some(2));
    assert_eq!(told(sync.news(&at(many - 2))), Some(2), "asked again");
    assert!(sync.updates.len() <= TOLD + 2 && sync.updates.capacity() < many as usize);
    assert_eq!(told(sync.news(&at(many - 12))), Some(12), "a little older");
    assert_eq!(told(sync.news(&at(0))), None, "read from the store");
}
