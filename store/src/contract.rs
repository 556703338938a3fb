//! The contract: one suite for every store.

#![allow(clippy::unwrap_used)]

use crate::{
    Fault, Memory, Store,
    memory::Fate,
    sample::{self, SHARDS, World, account, dialog_head, event, mix, room, room_head, said, user},
};
use lavina_core::{
    blob::Hash,
    ids::{MsgId, Pos, RoomId, ShardId},
    media::{Content, Held, Media, MediaId},
    query::{Bound, Only, Range, Stretch},
    row::{Change, Page, Read},
    time::UnixMillis,
};
use proptest::prelude::*;
use std::sync::Arc;

type Made = Box<dyn Store>;

/// What holds, and how it is tried.
type Rule = (&'static str, fn(Made));

/// What holds for every store.
const RULES: &[Rule] = &[
    ("an empty store answers every read", empty),
    ("nothing is seen before its commit", commit_shows),
    ("an entry must come after its room's last", order),
    ("pages have the right entries at both ends", pages),
    ("a bound that names a missing message is no such item", missing),
    ("an entry is fed once", fed_once),
    ("a feed's times never fall", feed_times),
    ("a dialog's entries wait to be followed", follows),
    ("an erased room leaves nothing", erased_room),
    ("uploads are found by name and go with their account", uploads),
    ("positions from outside do no harm", wild),
];

fn check(make: impl Fn() -> Made) {
    for (name, rule) in RULES {
        let kept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rule(make())));
        assert!(kept.is_ok(), "broken: {name}");
    }
}

fn put(store: &mut Made, batch: &[Change]) {
    store.append(batch).unwrap();
    store.commit().unwrap();
}

fn history(store: &mut Made, room: RoomId, range: Range) -> (Vec<u64>, bool, Option<u64>) {
    match store.page(&Read::History { room, floor: Pos::ZERO, last: Pos::MAX, range }) {
        Page::Events(Stretch { entries, more, total }) => {
            (entries.iter().map(|e| e.pos.0).collect(), more, total)
        }
        other => panic!("{other:?}"),
    }
}

fn feed(store: &mut Made, with: Option<RoomId>, range: Range) -> Vec<u64> {
    match store.page(&Read::Feed { account: account(0), with, range }) {
        Page::Feed(s) => s.entries.iter().map(|(p, _)| p.0).collect(),
        other => panic!("{other:?}"),
    }
}

fn empty(mut store: Made) {
    for read in World::default().reads(u64::MAX) {
        let page = store.page(&read);
        assert!(!matches!(page, Page::Failed(_)), "{read:?} {page:?}");
    }
    let Page::Heads(heads) = store.page(&Read::Heads(vec![ShardId(2)])) else { panic!() };
    assert_eq!((heads[0].shard, heads[0].next, heads[0].followed), (ShardId(2), Pos(1), Pos::ZERO));
}

fn commit_shows(mut store: Made) {
    let mut other = store.reader().unwrap();
    store.append(&[Change::Event(event(room(0), 1, 10, 0, said("a")))]).unwrap();
    assert!(history(&mut store, room(0), Range::latest(9)).0.is_empty());
    store.append(&[Change::Event(event(room(0), 2, 11, 0, said("b")))]).unwrap();
    store.commit().unwrap();
    assert_eq!(history(&mut store, room(0), Range::latest(9)).0, [1, 2]);
    let read = Read::History { room: room(0), floor: Pos(1), last: Pos::MAX, range: Range::latest(9) };
    let Page::Events(s) = other.page(&read) else { panic!() };
    assert_eq!(s.entries.len(), 1);
    store.commit().unwrap();
    store.close().unwrap();
}

fn order(mut store: Made) {
    put(&mut store, &[Change::Event(event(room(0), 5, 10, 0, said("a")))]);
    let wrong = [Change::Event(event(room(0), 5, 11, 0, said("b")))];
    let result = store.append(&wrong).and_then(|()| store.commit());
    assert!(matches!(result, Err(Fault::Misuse(_))), "{result:?}");
    assert_eq!(store.append(&[]), Err(Fault::Broken));
    assert_eq!(store.commit(), Err(Fault::Broken));
    assert_eq!(history(&mut store, room(0), Range::latest(9)).0, [5]);
}

/// A room whose entries 10, 20, … 100 are messages, with 300 others between 50 and 60.
fn long_room(store: &mut Made) {
    let mut batch = Vec::new();
    for n in 1..=10u64 {
        batch.push(Change::Event(event(room(1), n * 1000, n * 1000, n & 1, said("m"))));
        if n == 5 {
            for i in 1..=300 {
                let what = lavina_core::event::What::Created(None);
                batch.push(Change::Event(event(room(1), 5000 + i, 5000 + i, 0, what)));
            }
        }
    }
    // Neighbours in every order of storing.
    for other in [0, 2] {
        batch.push(Change::Event(event(room(other), 5000, 5000, 0, said("n"))));
    }
    put(store, &batch);
}

fn pages(mut store: Made) {
    long_room(&mut store);
    let at = |p| MsgId { room: room(1), pos: Pos(p) };
    let open = Range { only: Only::Messages, count: true, ..Range::latest(3) };
    let cases: &[(Range, &[u64], bool, u64)] = &[
        (open.clone(), &[8000, 9000, 10000], true, 10),
        (Range { newest: false, ..open.clone() }, &[1000, 2000, 3000], true, 10),
        (
            Range { limit: 10, ..open.clone() },
            &[1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000],
            false,
            10,
        ),
        (Range { limit: 0, ..open.clone() }, &[], true, 10),
        (Range { before: Bound::Msg(at(7000)), ..open.clone() }, &[4000, 5000, 6000], true, 6),
        (Range { before: Bound::From(at(7000)), ..open.clone() }, &[5000, 6000, 7000], true, 7),
        (Range { after: Bound::Msg(at(7000)), ..open.clone() }, &[8000, 9000, 10000], false, 3),
        (Range { after: Bound::From(at(7000)), ..open.clone() }, &[8000, 9000, 10000], true, 4),
        (Range { after: Bound::Msg(at(5001)), newest: false, limit: 1, ..open.clone() }, &[6000], true, 5),
        (Range { after: Bound::Time(UnixMillis(9000)), ..open.clone() }, &[10000], false, 1),
        (Range { after: Bound::Time(UnixMillis(8999)), ..open.clone() }, &[9000, 10000], false, 2),
        (Range { before: Bound::Time(UnixMillis(1000)), ..open.clone() }, &[], false, 0),
        (Range { before: Bound::Time(UnixMillis(1001)), ..open.clone() }, &[1000], false, 1),
        (
            Range { before: Bound::Pos(Pos(5000)), after: Bound::Pos(Pos(5000)), ..open.clone() },
            &[],
            false,
            0,
        ),
        (
            Range { after: Bound::Pos(Pos(9000)), before: Bound::Pos(Pos(2000)), ..open.clone() },
            &[],
            false,
            0,
        ),
        (
            Range { after: Bound::Pos(Pos(5298)), only: Only::All, newest: false, ..open.clone() },
            &[5299, 5300, 6000],
            true,
            7,
        ),
        (Range { by: Some(account(0)), ..open.clone() }, &[6000, 8000, 10000], true, 5),
        (Range { by: Some(account(3)), ..open }, &[], false, 0),
    ];
    for (range, entries, more, total) in cases {
        assert_eq!(
            history(&mut store, room(1), range.clone()),
            (entries.to_vec(), *more, Some(*total)),
            "{range:?}"
        );
    }
    assert_eq!(history(&mut store, room(1), Range::latest(1)).2, None);
    let floor = Read::History { room: room(1), floor: Pos(9000), last: Pos::MAX, range: Range::latest(9) };
    let Page::Events(s) = store.page(&floor) else { panic!() };
    assert_eq!((s.entries.len(), s.more), (1, false));
}

fn missing(mut store: Made) {
    long_room(&mut store);
    for id in [(room(1), 1001), (room(0), 5000), (room(3), 1)] {
        for bound in [
            Bound::Msg(MsgId { room: id.0, pos: Pos(id.1) }),
            Bound::From(MsgId { room: id.0, pos: Pos(id.1) }),
        ] {
            for range in
                [Range { after: bound, ..Range::latest(3) }, Range { before: bound, ..Range::latest(3) }]
            {
                let page = store.page(&Read::History {
                    room: room(1),
                    floor: Pos::ZERO,
                    last: Pos::MAX,
                    range: range.clone(),
                });
                assert!(matches!(page, Page::NoSuchItem), "{range:?} {page:?}");
                let page = store.page(&Read::Feed { account: account(0), with: None, range });
                assert!(matches!(page, Page::NoSuchItem), "{page:?}");
            }
        }
    }
}

fn fed(pos: u64, room: RoomId, entry: u64, at: u64) -> Change {
    Change::Feed { account: account(0), pos: Pos(pos), room, entry: Pos(entry), at: UnixMillis(at) }
}

/// Dialogs of account 0 with 1 and 2, two entries each.
fn two_dialogs(store: &mut Made) -> [RoomId; 2] {
    let rooms = [1, 2].map(|n| RoomId::dialog(account(0), account(n), SHARDS));
    let mut batch = vec![Change::Account(account(0), Some(sample::account_head(0, 0)))];
    for (i, room) in rooms.into_iter().enumerate() {
        batch.push(Change::Room(room, Some(dialog_head(0, i as u64 + 1))));
        for n in 1..=2 {
            let pos = 10 * (i as u64 + 1) + n;
            batch.push(Change::Event(event(room, pos, 100 * n + i as u64, 0, said("d"))));
        }
    }
    put(store, &batch);
    rooms
}

fn fed_once(mut store: Made) {
    let [a, b] = two_dialogs(&mut store);
    put(&mut store, &[fed(1, a, 11, 100), fed(2, b, 21, 101), fed(3, a, 11, 100), fed(4, a, 12, 200)]);
    put(&mut store, &[fed(5, b, 21, 101), fed(6, b, 22, 201)]);
    assert_eq!(feed(&mut store, None, Range::latest(9)), [1, 2, 4, 6]);
    assert_eq!(feed(&mut store, Some(b), Range::latest(9)), [2, 6]);
    let after = Bound::Msg(MsgId { room: b, pos: Pos(21) });
    assert_eq!(feed(&mut store, Some(a), Range { after, ..Range::latest(9) }), [4]);
    let Page::Account(Some(rows)) = store.page(&Read::Account(account(0))) else { panic!() };
    assert_eq!(rows.fed, [(a, Pos(11)), (b, Pos(21)), (a, Pos(12)), (b, Pos(22))]);
    let all = Read::Dialogs { account: account(0), after: UnixMillis(0), before: UnixMillis(999), limit: 9 };
    let Page::Dialogs(list) = store.page(&all) else { panic!() };
    let list: Vec<_> = list.iter().map(|(u, e)| (u.id, e.pos.0)).collect();
    assert_eq!(list, [(account(2), 22), (account(1), 12)]);
    let Page::Account(None) = store.page(&Read::Account(account(1))) else { panic!() };
}

fn feed_times(mut store: Made) {
    let [a, b] = two_dialogs(&mut store);
    // The second dialog's clock is behind: its entry counts as of the first's time.
    put(&mut store, &[fed(1, a, 11, 100), fed(2, b, 21, 90), fed(3, a, 12, 200)]);
    let after = |t| Range { after: Bound::Time(UnixMillis(t)), ..Range::latest(9) };
    assert_eq!(feed(&mut store, None, after(95)), [1, 2, 3]);
    assert_eq!(feed(&mut store, None, after(100)), [3]);
    let before = |t| Range { before: Bound::Time(UnixMillis(t)), ..Range::latest(9) };
    assert_eq!(feed(&mut store, None, before(100)), [] as [u64; 0]);
    assert_eq!(feed(&mut store, None, before(101)), [1, 2]);
}

fn follows(mut store: Made) {
    let [a, b] = two_dialogs(&mut store);
    let shard = a.shard(SHARDS);
    assert_eq!(shard, b.shard(SHARDS));
    put(
        &mut store,
        &[
            Change::Follow(shard, Pos(11), 1, Box::new(sample::command(1))),
            Change::Follow(shard, Pos(11), 0, Box::new(sample::command(0))),
            Change::Follow(shard, Pos(22), 0, Box::new(sample::command(2))),
            Change::Event(event(room(u64::from(shard.0)), 30, 30, 0, said("no dialog"))),
            Change::Head(shard, Pos(31)),
        ],
    );
    let head = |store: &mut Made| {
        let Page::Heads(mut heads) = store.page(&Read::Heads(vec![shard])) else { panic!() };
        let h = heads.remove(0);
        let follows: Vec<_> = h.follows.iter().map(|(p, n, _)| (p.0, *n)).collect();
        let events: Vec<_> = h.events.iter().map(|e| e.pos.0).collect();
        (h.next.0, h.followed.0, follows, events)
    };
    assert_eq!(head(&mut store), (31, 0, vec![(11, 0), (11, 1), (22, 0)], vec![11, 12, 21, 22]));
    put(&mut store, &[Change::Followed(shard, Pos(12))]);
    assert_eq!(head(&mut store), (31, 12, vec![(22, 0)], vec![21, 22]));
    put(&mut store, &[Change::Room(b, None)]);
    assert_eq!(head(&mut store), (31, 12, vec![(22, 0)], vec![]));
}

fn erased_room(mut store: Made) {
    let [a, b] = two_dialogs(&mut store);
    put(&mut store, &[fed(1, a, 11, 100), fed(2, b, 21, 101)]);
    let sealed =
        |store: &mut Made, room, pos, nth| match store.page(&Read::Sealed(sample::seal(room, pos, nth))) {
            Page::Sealed(found) => found.map(|p| (p.room, p.pos.0, p.nth)),
            other => panic!("{other:?}"),
        };
    assert_eq!(sealed(&mut store, a, 12, 2), Some((a, 12, 2)));
    assert_eq!(sealed(&mut store, b, 21, 0), Some((b, 21, 0)));
    assert_eq!((sealed(&mut store, a, 12, 1), sealed(&mut store, a, 11, 0)), (None, None));
    put(&mut store, &[Change::Room(a, None)]);
    assert_eq!(feed(&mut store, None, Range::latest(9)), [2]);
    assert!(matches!(store.page(&Read::Room(a, 9)), Page::Room(None)));
    assert!(history(&mut store, a, Range::latest(9)).0.is_empty());
    assert_eq!((sealed(&mut store, a, 12, 2), sealed(&mut store, b, 21, 2)), (None, Some((b, 21, 2))));
    // It can begin anew, lower positions included.
    put(
        &mut store,
        &[Change::Event(event(a, 3, 1, 0, said("again"))), Change::Room(a, Some(dialog_head(0, 1)))],
    );
    assert_eq!(history(&mut store, a, Range::latest(9)), (vec![3], false, None));
    assert_eq!(feed(&mut store, None, Range::latest(9)), [2]);
    put(&mut store, &[Change::Room(room(0), Some(room_head(Some("lobby"), 0)))]);
    put(&mut store, &[Change::Room(room(0), None), Change::Room(room(1), Some(room_head(Some("lobby"), 0)))]);
    let Page::Directory(list) = store.page(&Read::Directory { after: None, limit: 9, secret: true }) else {
        panic!()
    };
    assert_eq!(list.iter().map(|l| l.room).collect::<Vec<_>>(), [room(1)]);
}

fn uploads(mut store: Made) {
    let upload = |n: u64, owner: u64, size: Option<u64>| {
        let content = size.map(|size| Content {
            hash: Hash([n as u8; 32]),
            size,
            content_type: "text/plain".into(),
            name: "a.txt".into(),
        });
        Media { id: MediaId(n.into()), owner: account(owner), at: UnixMillis(n), content }
    };
    let put_all = |store: &mut Made, all: &[Media]| {
        put(store, &all.iter().map(|m| Change::Media(m.id, Some(m.clone()))).collect::<Vec<_>>());
    };
    let of = |store: &mut Made, owner, after: Option<u64>, limit| {
        let after = after.map(|n| MediaId(n.into()));
        match store.page(&Read::MediaOf { account: account(owner), after, limit }) {
            Page::MediaOf(list) => list.iter().map(|m| m.id.0 as u64).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    put(&mut store, &[Change::Account(account(0), Some(sample::account_head(0, 0)))]);
    put_all(
        &mut store,
        &[upload(3, 0, Some(30)), upload(1, 0, None), upload(2, 1, Some(20)), upload(9, 0, Some(0))],
    );
    assert_eq!(of(&mut store, 0, None, 9), [1, 3, 9]);
    assert_eq!((of(&mut store, 0, Some(1), 1), of(&mut store, 0, Some(9), 9)), (vec![3], vec![]));
    let found = |store: &mut Made, n: u64| match store.page(&Read::Media(MediaId(n.into()))) {
        Page::Media(found) => found.map(|m| *m),
        other => panic!("{other:?}"),
    };
    assert_eq!(found(&mut store, 1), Some(upload(1, 0, None)));
    assert_eq!(found(&mut store, 4), None);
    // A reservation is filled; an upload is no more.
    put_all(&mut store, &[upload(1, 0, Some(10))]);
    put(&mut store, &[Change::Media(MediaId(3), None)]);
    let Page::Account(Some(rows)) = store.page(&Read::Account(account(0))) else { panic!() };
    let held = |n, size| (MediaId(n), Held { size: Some(size), at: UnixMillis(n as u64) });
    assert_eq!(rows.media, [held(1, 10), held(9, 0)]);
    put(&mut store, &[Change::Account(account(0), None)]);
    assert_eq!((of(&mut store, 0, None, 9), of(&mut store, 1, None, 9)), (vec![], vec![2]));
}

fn wild(mut store: Made) {
    long_room(&mut store);
    let wild = [0, 1, Pos::MAX.0 - 1, Pos::MAX.0, Pos::MAX.0 + 1, 1 << 63, u64::MAX];
    for (a, b) in wild.iter().flat_map(|a| wild.iter().map(move |b| (*a, *b))) {
        for (after, before) in [
            (Bound::Pos(Pos(a)), Bound::Pos(Pos(b))),
            (Bound::Time(UnixMillis(a)), Bound::Time(UnixMillis(b))),
            (Bound::Msg(MsgId { room: RoomId(a), pos: Pos(b) }), Bound::Open),
            (Bound::From(MsgId { room: room(1), pos: Pos(a) }), Bound::Open),
        ] {
            let range = Range { after, before, limit: u32::MAX, count: true, ..Range::latest(1) };
            let reads = [
                Read::History { room: room(1), floor: Pos(b), last: Pos::MAX, range: range.clone() },
                Read::History { room: RoomId(a), floor: Pos::ZERO, last: Pos::MAX, range: range.clone() },
                Read::Feed { account: account(0), with: Some(RoomId(b)), range },
            ];
            for read in reads {
                let page = store.page(&read);
                assert!(
                    matches!(page, Page::Events(_) | Page::Feed(_) | Page::NoSuchItem),
                    "{read:?} {page:?}"
                );
            }
        }
    }
}

#[test]
fn memory_keeps_the_contract() {
    check(|| Box::new(Memory::new(SHARDS).unwrap()));
}

#[test]
fn a_memory_commit_fares_as_told() {
    let batches = |store: &mut Memory| {
        for n in 1..=3 {
            store.append(&[Change::Event(event(room(0), n, n, 0, said("x")))]).unwrap();
        }
    };
    let held = |store: &Memory| match store.view(&Read::Room(room(0), 9)) {
        Page::Room(Some(r)) => r.tail.len(),
        other => panic!("{other:?}"),
    };
    for (fate, landed) in
        [(Fate::Stored, 3), (Fate::Landed, 3), (Fate::Torn(2), 2), (Fate::Lost, 0), (Fate::Full, 0)]
    {
        let mut store = Memory::new(SHARDS).unwrap();
        store.append(&[Change::Room(room(0), Some(room_head(None, 0)))]).unwrap();
        store.commit().unwrap();
        batches(&mut store);
        store.arm(fate);
        let before = store.clone();
        assert_eq!(store.commit().is_ok(), fate == Fate::Stored);
        assert_eq!(store.append(&[]).is_ok(), fate == Fate::Stored);
        store.reopen();
        assert_eq!(held(&store), landed, "{fate:?}");
        assert_eq!((held(&before), before.waiting()), (0, 3), "a copy is its own");
        let mut crashed = before;
        crashed.crash(1);
        assert_eq!((held(&crashed), crashed.waiting()), (1, 0));
    }
}

#[test]
fn a_restored_store_begins_new_positions() {
    let mut store = Memory::new(SHARDS).unwrap();
    store.append(&[Change::Head(ShardId(1), Pos(77))]).unwrap();
    store.commit().unwrap();
    for epoch in 1..=63u64 {
        store.restore().unwrap();
        let Page::Heads(heads) = store.view(&Read::Heads(vec![ShardId(0), ShardId(1)])) else { panic!() };
        assert!(heads.iter().all(|h| h.next.0 == epoch << Pos::EPOCH_SHIFT));
    }
    assert!(matches!(store.restore(), Err(Fault::Full(_))));
    assert_eq!(user(0).id, account(0));
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    use crate::{
        Durability, Sqlite,
        sqlite::{Options, scratch::Scratch},
    };

    pub(super) fn options() -> Options {
        Options { shards: SHARDS, durability: Durability::Process, again: false }
    }

    #[test]
    fn sqlite_keeps_the_contract() {
        let scratch = Scratch::new("contract");
        let count = std::cell::Cell::new(0);
        check(|| {
            count.set(count.get() + 1);
            let path = scratch.path(&format!("{}.db", count.get()));
            Box::new(Sqlite::open(&path, &options()).unwrap())
        });
    }

    /// The stores say the same, whatever was done to them.
    fn same(a: &mut dyn Store, b: &mut dyn Store, world: &World, bits: u64) {
        for read in world.reads(bits) {
            let (left, right) = (sample::print(&a.page(&read)), sample::print(&b.page(&read)));
            assert_eq!(left, right, "{read:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn memory_and_sqlite_say_the_same(
            steps in prop::collection::vec((0..sample::STEPS, any::<u64>()), 1..120),
            bits in any::<u64>(),
            commits in any::<u32>(),
        ) {
            let scratch = Scratch::new("same");
            let mut memory = Memory::new(SHARDS).unwrap();
            let mut sqlite = Sqlite::open(&scratch.path("a.db"), &options()).unwrap();
            let mut world = World::default();
            for (i, step) in steps.iter().enumerate() {
                let mut batch = Vec::new();
                world.step(*step, &mut batch);
                // A second step in the same batch, so that batches hold what belongs together.
                world.step((step.0.wrapping_mul(7), mix(step.1)), &mut batch);
                world.step((21, step.1), &mut batch);
                memory.append(&batch).unwrap();
                sqlite.append(&batch).unwrap();
                if commits >> (i % 32) & 1 == 0 {
                    memory.commit().unwrap();
                    sqlite.commit().unwrap();
                    same(&mut memory, &mut sqlite, &world, mix(bits ^ i as u64));
                }
            }
            memory.commit().unwrap();
            sqlite.commit().unwrap();
            same(&mut memory, &mut sqlite, &world, bits);
            // And after a reopening.
            Box::new(sqlite).close().unwrap();
            let mut sqlite = Sqlite::open(&scratch.path("a.db"), &options()).unwrap();
            same(&mut memory, &mut sqlite, &world, mix(bits));
        }
    }

    #[test]
    fn a_shared_reader_outlives_the_store() {
        let scratch = Scratch::new("outlive");
        let mut store = Sqlite::open(&scratch.path("a.db"), &options()).unwrap();
        store.append(&[Change::Event(event(room(0), 1, 1, 0, said("x")))]).unwrap();
        store.commit().unwrap();
        let mut reader = store.reader().unwrap();
        drop(store);
        let read = Read::History { room: room(0), floor: Pos::ZERO, last: Pos::MAX, range: Range::latest(1) };
        assert!(matches!(reader.page(&read), Page::Events(s) if s.entries.len() == 1));
        let _: Arc<_> = event(room(0), 1, 1, 0, said("x"));
    }
}
