//! What only a store in a file can do wrong.

#![allow(clippy::unwrap_used)]

use super::{Options, Sqlite, schema, scratch::Scratch};
use crate::{
    Durability, Fault, Reader, Store,
    sample::{SHARDS, account, account_head, dialog_head, event, mix, room, room_head, said},
};
use lavina_core::{
    ids::{Pos, RoomId, ShardId},
    query::Range,
    row::{Change, Page, Read},
    text::Str,
    time::UnixMillis,
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

fn options() -> Options {
    Options { shards: SHARDS, durability: Durability::Process, again: false }
}

fn open(path: &Path) -> Result<Sqlite, Fault> {
    Sqlite::open(path, &options())
}

fn why(path: &Path) -> Fault {
    open(path).err().unwrap()
}

fn say(store: &mut Sqlite, from: u64, to: u64) {
    for n in from..=to {
        let head = Change::Head(ShardId(0), Pos(n + 1));
        store.append(&[Change::Event(event(room(0), n, n, 0, said("words"))), head]).unwrap();
    }
}

/// Positions in the room, all of them.
fn log(store: &mut Sqlite) -> Vec<u64> {
    match store.page(&Read::Room(room(0), u32::MAX)) {
        Page::Room(Some(r)) => r.tail.iter().map(|e| e.pos.0).collect(),
        Page::Room(None) => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn next(store: &mut Sqlite) -> u64 {
    let Page::Heads(heads) = store.page(&Read::Heads(vec![ShardId(0)])) else { panic!() };
    heads[0].next.0
}

fn made(path: &Path) -> Sqlite {
    let mut store = open(path).unwrap();
    store.append(&[Change::Room(room(0), Some(room_head(Some("lobby"), 0)))]).unwrap();
    store.commit().unwrap();
    store
}

#[test]
fn what_was_not_committed_is_gone() {
    let scratch = Scratch::new("drop");
    let path = scratch.path("a.db");
    let mut store = made(&path);
    say(&mut store, 1, 5);
    store.commit().unwrap();
    say(&mut store, 6, 9);
    drop(store);
    let mut store = open(&path).unwrap();
    assert!(store.opened().checked && !store.opened().created);
    assert_eq!(log(&mut store), [1, 2, 3, 4, 5]);
    Box::new(store).close().unwrap();
    assert!(!open(&path).unwrap().opened().checked);
}

#[test]
fn only_one_process_uses_it() {
    let scratch = Scratch::new("lock");
    let path = scratch.path("a.db");
    let store = made(&path);
    let fault = why(&path);
    assert!(matches!(fault, Fault::Locked { pid: Some(p), .. } if p == std::process::id()), "{fault}");
    drop(store);
    open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn other_files_are_refused() {
    let scratch = Scratch::new("refuse");
    let path = scratch.path("a.db");
    fs::write(&path, vec![b'x'; 9000]).unwrap();
    assert_eq!(why(&path), Fault::NotAStore(path.clone()));
    let path = scratch.path("b.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert_eq!(why(&path), Fault::NotAStore(path.clone()));
    let path = scratch.path("c.db");
    Box::new(made(&path)).close().unwrap();
    let other = Options { shards: 8, ..options() };
    assert_eq!(Sqlite::open(&path, &other).err(), Some(Fault::Shards { found: SHARDS, asked: 8 }));
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(why(&path), Fault::Newer { found: 99, known: schema::known() });
    let bad = Options { shards: 3, ..options() };
    assert_eq!(Sqlite::open(&path, &bad).err(), Some(Fault::BadShards(3)));
    assert!(matches!(why(&scratch.path("no/such/folder.db")), Fault::Io(_)));
}

#[test]
fn after_a_rest_everything_is_there_and_can_be_written() {
    let scratch = Scratch::new("rest");
    let mut store = made(&scratch.path("a.db"));
    let mut reader = store.reader().unwrap();
    say(&mut store, 1, 5);
    store.commit().unwrap();
    let before = log(&mut store);
    store.rest();
    reader.rest();
    assert_eq!(log(&mut store), before);
    say(&mut store, 6, 9);
    store.commit().unwrap();
    assert!(log(&mut store).len() > before.len());
}

#[test]
fn a_full_disk_is_told_and_loses_nothing_stored() {
    let scratch = Scratch::new("full");
    let path = scratch.path("a.db");
    let mut store = made(&path);
    say(&mut store, 1, 5);
    store.commit().unwrap();
    let pages: u32 = store.writer.conn().pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
    let max = |conn: &rusqlite::Connection, n: u32| {
        conn.query_row(&format!("PRAGMA max_page_count = {n}"), [], |r| r.get::<_, u32>(0)).unwrap();
    };
    max(store.writer.conn(), pages + 1);
    let mut fault = None;
    for n in 6..999 {
        let text = said(&"x".repeat(3000));
        let result = store.append(&[Change::Event(event(room(0), n, n, 0, text))]);
        if let Err(f) = result.and_then(|()| store.commit()) {
            fault = Some(f);
            break;
        }
    }
    assert!(matches!(fault, Some(Fault::Full(_))), "{fault:?}");
    assert_eq!(store.commit(), Err(Fault::Broken));
    let held = log(&mut store);
    drop(store);
    let mut store = Sqlite::open(&path, &Options { again: true, ..options() }).unwrap();
    assert!(!store.opened().checked);
    assert_eq!(log(&mut store), held);
    assert!(held.starts_with(&[1, 2, 3, 4, 5]));
}

#[test]
fn a_copy_opens_with_new_positions() {
    let scratch = Scratch::new("copy");
    let (path, copy) = (scratch.path("a.db"), scratch.path("copy.db"));
    let mut store = made(&path);
    say(&mut store, 1, 50);
    store.commit().unwrap();
    say(&mut store, 51, 60);
    let backup = Read::Backup(Str::new(copy.to_str().unwrap()));
    assert!(matches!(store.page(&backup), Page::Done));
    assert_eq!(store.read(&backup).err(), Some(Fault::Exists(copy.clone())));
    store.commit().unwrap();
    assert_eq!(next(&mut store), 61);
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let mut restored = open(&copy).unwrap();
    assert!(restored.opened().restored);
    assert_eq!(log(&mut restored), (1..=50).collect::<Vec<_>>());
    assert_eq!((next(&mut restored), restored.restored().unwrap()), (1 << Pos::EPOCH_SHIFT, 1));
    drop(restored);
    let mut again = open(&copy).unwrap();
    assert_eq!((again.opened().restored, next(&mut again)), (false, 1 << Pos::EPOCH_SHIFT));
}

#[test]
fn a_torn_log_leaves_a_clean_beginning() {
    let scratch = Scratch::new("torn");
    let path = scratch.path("a.db");
    let mut store = made(&path);
    for n in 0..20 {
        say(&mut store, n * 3 + 1, n * 3 + 3);
        store.commit().unwrap();
    }
    let (file, wal) = (fs::read(&path).unwrap(), fs::read(scratch.path("a.db-wal")).unwrap());
    for i in 0..40u64 {
        let copy = scratch.path(&format!("{i}.db"));
        fs::write(&copy, &file).unwrap();
        let at = (mix(i) % wal.len() as u64) as usize;
        let mut torn = wal.clone();
        if i & 1 == 0 {
            torn.truncate(at)
        } else {
            torn[at..].fill(0)
        }
        fs::write(scratch.path(&format!("{i}.db-wal")), torn).unwrap();
        let Ok(mut store) = open(&copy) else { panic!("cut at {at}") };
        let log = log(&mut store);
        assert_eq!(log, (1..=log.len() as u64).collect::<Vec<_>>());
        assert_eq!(log.len() % 3, 0, "a commit is all or none");
        assert!(log.is_empty() || next(&mut store) == log.len() as u64 + 1);
    }
}

/// Rows of entries and feeds that do not stand in their places yet.
fn recent(store: &Sqlite) -> u32 {
    store.writer.conn().query_row("SELECT count(*) FROM recent", [], |r| r.get(0)).unwrap()
}

/// What a dialog's entries leave: a line of the log, of two feeds, and what is still to follow.
fn dialog(store: &mut Sqlite, from: u64, to: u64) -> RoomId {
    let id = RoomId::dialog(account(0), account(1), SHARDS);
    for n in from..=to {
        let mut batch = vec![Change::Event(event(id, n, n, 0, said("hello")))];
        if n == 1 {
            batch.extend([0, 1].map(|n| Change::Account(account(n), Some(account_head(n, 0)))));
            batch.push(Change::Room(id, Some(dialog_head(0, 1))));
        }
        for party in [0, 1] {
            let (account, pos, at) = (account(party), Pos(1_000 + n), UnixMillis(n));
            batch.push(Change::Feed { account, pos, room: id, entry: Pos(n), at });
        }
        store.append(&batch).unwrap();
        store.commit().unwrap();
    }
    id
}

fn feed(reader: &mut dyn Reader) -> Vec<u64> {
    let read = Read::Feed { account: account(1), with: None, range: Range::latest(99) };
    match reader.page(&read) {
        Page::Feed(s) => s.entries.iter().map(|(_, e)| e.pos.0).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_recent_is_filed_for_who_reads_it_and_left_alone_by_others() {
    let scratch = Scratch::new("recent");
    let mut store = made(&scratch.path("a.db"));
    let id = dialog(&mut store, 1, 3);
    let mut reader = store.reader().unwrap();
    assert_eq!(recent(&store), 3);
    assert!(matches!(reader.page(&Read::Room(room(0), 9)), Page::Room(Some(_))));
    assert!(matches!(reader.page(&Read::Account(account(2))), Page::Account(None)));
    assert_eq!(recent(&store), 3);
    assert_eq!(feed(&mut *reader), [1, 2, 3]);
    assert_eq!(recent(&store), 0);
    dialog(&mut store, 4, 5);
    let Page::Heads(heads) = reader.page(&Read::Heads(vec![id.shard(SHARDS)])) else { panic!() };
    assert_eq!(heads[0].events.iter().map(|e| e.pos.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    // What is followed by then is not noted as waiting when it is filed.
    dialog(&mut store, 6, 7);
    store.append(&[Change::Followed(id.shard(SHARDS), Pos(6))]).unwrap();
    store.commit().unwrap();
    let Page::Heads(heads) = reader.page(&Read::Heads(vec![id.shard(SHARDS)])) else { panic!() };
    assert_eq!(heads[0].events.iter().map(|e| e.pos.0).collect::<Vec<_>>(), [7]);
    let unfollowed = "SELECT count(*) FROM unfollowed";
    assert_eq!(store.writer.conn().query_row(unfollowed, [], |r| r.get(0)), Ok(1));
}

#[test]
fn what_is_recent_survives_the_end_of_the_process() {
    let scratch = Scratch::new("recent-crash");
    let path = scratch.path("a.db");
    let mut store = made(&path);
    dialog(&mut store, 1, 40);
    assert!(recent(&store) > 0);
    drop(store);
    let mut store = open(&path).unwrap();
    assert_eq!(recent(&store), 0);
    assert_eq!(feed(&mut store), (1..=40).collect::<Vec<_>>());
    // And so it does when it is closed in order, where nothing recent is left.
    dialog(&mut store, 41, 42);
    Box::new(store).close().unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(conn.query_row("SELECT count(*) FROM recent", [], |r| r.get(0)), Ok(0));
    assert_eq!(conn.query_row("SELECT count(*) FROM feed", [], |r| r.get(0)), Ok(84));
}

#[test]
fn what_is_recent_is_filed_when_there_is_enough_of_it() {
    let scratch = Scratch::new("recent-enough");
    let mut store = made(&scratch.path("a.db"));
    let mut most = 0;
    for n in 1..=45 {
        say(&mut store, n * 200 - 199, n * 200);
        store.commit().unwrap();
        most = most.max(recent(&store));
    }
    assert!(recent(&store) < most, "{most}");
    assert_eq!(log(&mut store), (1..=9_000).collect::<Vec<_>>());
}

#[test]
fn what_is_recent_is_read_also_when_it_cannot_be_filed() {
    let scratch = Scratch::new("recent-full");
    let mut store = made(&scratch.path("a.db"));
    assert!(log(&mut store).is_empty());
    say(&mut store, 1, 50);
    store.commit().unwrap();
    // As on a full disk, where a commit cannot be written.
    let rows = store.rows.as_mut().unwrap();
    rows.conn_mut().commit_hook(Some(|| true)).unwrap();
    assert_eq!(log(&mut store).len(), 50);
    assert!(recent(&store) > 0);
    store.rows.as_mut().unwrap().conn_mut().commit_hook(None::<fn() -> bool>).unwrap();
    assert_eq!(log(&mut store).len(), 50);
    assert_eq!(recent(&store), 0);
}
