//! What must hold of a run as a whole: what people saw against what is stored.

use super::run::{Run, Session};
use crate::{client::line::Shown, line::text_of};
use lavina_core::{
    ids::{AccountId, Pos, RoomId},
    query::{Bound, Only, Range},
    row::{Page, Read},
};
use std::collections::{BTreeMap, BTreeSet};

/// A room's log, as shown.
type Log = Vec<Shown>;

/// All checks. Says how many entries there are.
pub fn all(run: &Run) -> usize {
    let accounts = accounts(run);
    let logs = logs(run, &accounts);
    for (room, log) in &logs {
        chain(*room, log);
    }
    once(&logs);
    for session in &run.sessions {
        stored(session, &logs);
        allowed(session, &logs);
    }
    complete(run, &logs);
    feeds(run, &accounts, &logs);
    logs.values().map(Vec::len).sum()
}

fn everything() -> Range {
    Range {
        after: Bound::Open,
        before: Bound::Open,
        newest: false,
        limit: 100_000,
        count: false,
        only: Only::All,
        by: None,
    }
}

fn accounts(run: &Run) -> BTreeMap<String, AccountId> {
    match run.world.disk.view(&Read::Accounts { after: None, limit: 10_000 }) {
        Page::Accounts(list) => list.into_iter().map(|(id, head)| (head.name.folded(), id)).collect(),
        other => panic!("accounts: {other:?}"),
    }
}

/// The logs of all rooms that anybody saw or that the directory or a feed has.
fn logs(run: &Run, accounts: &BTreeMap<String, AccountId>) -> BTreeMap<u64, Log> {
    let mut rooms: BTreeSet<u64> =
        run.sessions.iter().flat_map(|s| &s.client.shown).map(|shown| shown.room).collect();
    if let Page::Directory(list) =
        run.world.disk.view(&Read::Directory { after: None, limit: 10_000, secret: true })
    {
        rooms.extend(list.iter().map(|listed| listed.room.0));
    }
    let shards = run.shards();
    for a in accounts.values() {
        rooms.extend(accounts.values().map(|b| RoomId::dialog(*a, *b, shards).0));
    }
    let read = |room: u64| {
        let page =
            run.world.disk.view(&Read::History { room: RoomId(room), floor: Pos::ZERO, range: everything() });
        match page {
            Page::Events(stretch) => stretch.entries.iter().map(|e| Shown::of(&text_of(e))).collect(),
            _ => Vec::new(),
        }
    };
    rooms.into_iter().map(|room| (room, read(room))).collect()
}

/// Positions rise and name the one before.
fn chain(room: u64, log: &Log) {
    let mut last = 0;
    for shown in log {
        assert_eq!(shown.room, room);
        assert!(shown.prev == last && shown.pos > last, "after {last} comes {shown:?}");
        last = shown.pos;
    }
}

/// Nothing said once is stored twice.
fn once(logs: &BTreeMap<u64, Log>) {
    let mut seen = BTreeMap::new();
    for shown in logs.values().flatten() {
        if let Some(token) = shown.token() {
            let before = seen.insert(token.to_owned(), shown);
            assert!(before.is_none(), "{token} is stored twice: {before:?} and {shown:?}");
        }
    }
}

/// Whatever was shown is stored, the same to everybody.
fn stored(session: &Session, logs: &BTreeMap<u64, Log>) {
    let lasting = |s: &&Shown| !RoomId(s.room).is_transient();
    for shown in session.client.shown.iter().filter(lasting) {
        let log = &logs[&shown.room];
        let at = log.binary_search_by_key(&shown.pos, |e| e.pos);
        assert!(
            at.is_ok_and(|i| log[i] == *shown),
            "{} saw what is not stored: {shown:?}; stored is {:?}",
            session.client.name,
            at.map(|i| &log[i])
        );
    }
}

/// Whoever saw an entry live was a member then.
fn allowed(session: &Session, logs: &BTreeMap<u64, Log>) {
    let name = session.client.name.as_str();
    for shown in &session.client.live {
        let mut member = false;
        for entry in logs[&shown.room].iter().take_while(|e| e.pos <= shown.pos) {
            let about = entry.member().filter(|(who, _)| *who == name);
            // The entry that ends a membership is still for the one it is about.
            let at_end = entry.pos == shown.pos && about.is_some();
            member = at_end || about.map_or(member, |(_, how)| how == "joined");
        }
        assert!(member, "{name} was not a member and saw {shown:?}: {:#?}", logs[&shown.room]);
    }
}

/// Who is still there has seen everything of the rooms it belongs to.
fn complete(run: &Run, logs: &BTreeMap<u64, Log>) {
    for session in run.sessions.iter().filter(|s| s.open && s.client.hello.is_some()) {
        let (client, name) = (&session.client, session.client.name.as_str());
        for (room, log) in logs {
            let own = log.iter().filter_map(|e| e.member().filter(|(who, _)| *who == name)).next_back();
            let joined = own.is_some_and(|(_, how)| how == "joined");
            let last = log.last().map_or(0, |e| e.pos);
            match client.attached.get(room) {
                Some(at) => {
                    assert!(joined, "{name} is attached to {room:x} and does not belong");
                    assert!(
                        *at == last,
                        "{name} was shown {room:x} up to {at}, it goes to {last}: {:?}",
                        log.last()
                    );
                }
                // A guest of that name may have been there before.
                None if joined
                    && !client.is_guest()
                    && !client.blind
                    && !client.refused.contains(room)
                    && !run.is_crowded() =>
                {
                    panic!("{name} belongs to {room:x} and is not attached: {:#?}", client.heard);
                }
                None => {}
            }
        }
        assert!(client.open.is_empty(), "{name} waits for answers: {:?}", client.open);
    }
}

/// Each dialog entry is in both feeds, once, and was shown to whoever was there.
fn feeds(run: &Run, accounts: &BTreeMap<String, AccountId>, logs: &BTreeMap<u64, Log>) {
    let shards = run.shards();
    for (name, account) in accounts {
        let page = run.world.disk.view(&Read::Feed { account: *account, with: None, range: everything() });
        let Page::Feed(stretch) = page else { panic!("feed: {page:?}") };
        let feed: Vec<(u64, Shown)> =
            stretch.entries.iter().map(|(pos, e)| (pos.0, Shown::of(&text_of(e)))).collect();
        let places: BTreeSet<(u64, u64)> = feed.iter().map(|(_, e)| (e.room, e.pos)).collect();
        assert_eq!(places.len(), feed.len(), "an entry is twice in the feed of {name}");
        let dialogs: BTreeSet<u64> =
            accounts.values().map(|b| RoomId::dialog(*account, *b, shards).0).collect();
        for room in dialogs {
            for entry in logs[&room].iter().filter(|e| e.token().is_some()) {
                assert!(places.contains(&(entry.room, entry.pos)), "{entry:?} is not in the feed of {name}");
            }
        }
        for session in run.sessions.iter().filter(|s| s.client.name == *name) {
            shown_feed(run, session, &feed);
        }
    }
}

fn shown_feed(run: &Run, session: &Session, feed: &[(u64, Shown)]) {
    let name = &session.client.name;
    // A dialog with a guest is in memory only.
    for (pos, shown) in session.client.fed.iter().filter(|f| !RoomId(f.1.room).is_transient()) {
        let at = feed.binary_search_by_key(pos, |f| f.0);
        assert!(
            at.is_ok_and(|i| feed[i].1 == *shown),
            "{name} saw at {pos} what its feed has not: {shown:?}"
        );
    }
    let (Some(hello), true) = (session.client.hello, session.open) else { return };
    let seen: BTreeSet<u64> = session.client.fed.iter().map(|f| f.0).collect();
    for (pos, entry) in feed {
        let said = entry.token().and_then(|t| run.said.get(t)).map_or(0, |s| s.1);
        assert!(
            said <= hello || seen.contains(pos),
            "{name} is there since {hello} and was not shown {entry:?} of {said}"
        );
    }
}
