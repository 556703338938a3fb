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
pub type Log = Vec<Shown>;

/// What is stored at the end of a run.
pub struct Stored {
    /// Accounts by name.
    pub accounts: BTreeMap<String, AccountId>,
    /// The logs of all rooms that anybody saw or that there are.
    pub logs: BTreeMap<u64, Log>,
    /// The feeds of the accounts.
    pub feeds: BTreeMap<String, Vec<(u64, Shown)>>,
}

/// All checks. Says how many entries there are.
pub fn all(run: &Run) -> usize {
    let stored = Stored::read(run);
    against(run, &stored);
    stored.logs.values().map(Vec::len).sum()
}

/// Checks what people saw against what is stored.
pub fn against(run: &Run, stored: &Stored) {
    let Stored { accounts, logs, feeds } = stored;
    for (room, log) in logs {
        chain(*room, log);
    }
    once(logs);
    for session in &run.sessions {
        is_stored(session, logs);
        allowed(session, logs);
    }
    complete(run, logs);
    for (name, account) in accounts {
        in_feed(run, name, *account, stored);
        let feed = feeds.get(name).map(Vec::as_slice).unwrap_or_default();
        for session in run.sessions.iter().filter(|s| s.client.name == *name) {
            shown_feed(run, session, feed);
        }
    }
}

impl Stored {
    /// Reads everything.
    pub fn read(run: &Run) -> Stored {
        let accounts = accounts(run);
        let logs = logs(run, &accounts);
        let feeds = accounts.iter().map(|(name, id)| (name.clone(), feed(run, *id))).collect();
        Stored { accounts, logs, feeds }
    }
}

pub(super) fn everything() -> Range {
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
        let page = run.world.disk.view(&Read::History {
            room: RoomId(room),
            floor: Pos::ZERO,
            last: Pos::MAX,
            range: everything(),
        });
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
fn is_stored(session: &Session, logs: &BTreeMap<u64, Log>) {
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

fn feed(run: &Run, account: AccountId) -> Vec<(u64, Shown)> {
    let page = run.world.disk.view(&Read::Feed { account, with: None, range: everything() });
    let Page::Feed(stretch) = page else { panic!("feed: {page:?}") };
    stretch.entries.iter().map(|(pos, e)| (pos.0, Shown::of(&text_of(e)))).collect()
}

/// Each dialog entry is in the feeds of both, once.
fn in_feed(run: &Run, name: &str, account: AccountId, stored: &Stored) {
    let feed = stored.feeds.get(name).map(Vec::as_slice).unwrap_or_default();
    let places: BTreeSet<(u64, u64)> = feed.iter().map(|(_, e)| (e.room, e.pos)).collect();
    assert_eq!(places.len(), feed.len(), "an entry is twice in the feed of {name}");
    let shards = run.shards();
    let dialogs: BTreeSet<u64> =
        stored.accounts.values().map(|b| RoomId::dialog(account, *b, shards).0).collect();
    for entry in dialogs.iter().filter_map(|d| stored.logs.get(d)).flatten() {
        assert!(
            entry.token().is_none() || places.contains(&(entry.room, entry.pos)),
            "{entry:?} is not in the feed of {name}"
        );
    }
}

/// Whoever is there was shown its feed since, and nothing else.
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

#[cfg(test)]
mod tests {
    //! A checker that finds nothing proves nothing: each of these is a fault that it must see.

    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Not every run has something to spoil so, and not everybody's loss is one: who has no account is promised
    /// less. Some run is found to be wrong.
    fn finds(fault: &str, spoil: impl Fn(&mut Run, &mut Stored) -> bool) {
        for seed in 7..20 {
            let mut run = Run::quiet(seed);
            let mut stored = Stored::read(&run);
            against(&run, &stored);
            if spoil(&mut run, &mut stored) {
                let found = catch_unwind(AssertUnwindSafe(|| against(&run, &stored))).is_err();
                if found {
                    return;
                }
            }
        }
        panic!("not found: {fault}");
    }

    /// A session that is attached somewhere, with a room that has entries.
    fn attached(run: &mut Run) -> Option<(&mut Session, u64)> {
        let there = |s: &&mut Session| s.open && s.client.attached.values().any(|pos| *pos > 0);
        let session = run.sessions.iter_mut().find(there)?;
        let room = *session.client.attached.keys().next()?;
        Some((session, room))
    }

    #[test]
    fn what_people_saw_and_is_not_stored() {
        finds("another text", |run, _| {
            let shown = run.sessions.iter_mut().find_map(|s| s.client.shown.last_mut());
            shown.map(|s| s.what.push('x')).is_some()
        });
        finds("an entry that is lost", |run, stored| {
            let seen = run.sessions.iter().find_map(|s| s.client.live.last()).cloned();
            let log = seen.as_ref().and_then(|seen| stored.logs.get_mut(&seen.room));
            log.zip(seen).map(|(log, seen)| log.retain(|e| *e != seen)).is_some()
        });
        finds("a gap in a log", |_, stored| {
            let log = stored.logs.values_mut().find(|log| log.len() > 2);
            log.map(|log| log.remove(1)).is_some()
        });
        finds("a word stored twice", |_, stored| {
            let log = stored.logs.values_mut().find(|log| log.last().is_some_and(|e| e.token().is_some()));
            let Some(log) = log else { return false };
            let last = log.last().cloned();
            let twice = last.map(|l| Shown { pos: l.pos + 1, prev: l.pos, ..l });
            log.extend(twice);
            true
        });
    }

    #[test]
    fn what_people_must_not_see_and_what_they_missed() {
        finds("an entry for somebody outside", |run, stored| {
            let inside = |name: &str, log: &Log| {
                log.iter().any(|e| e.member().is_some_and(|(who, how)| who == name && how == "joined"))
            };
            for session in &mut run.sessions {
                let name = session.client.name.clone();
                let entry = stored.logs.values().find(|log| !log.is_empty() && !inside(&name, log));
                if let Some(entry) = entry.and_then(|log| log.last()) {
                    session.client.live.push(entry.clone());
                    return true;
                }
            }
            false
        });
        finds("a missed entry", |run, _| {
            let Some((session, room)) = attached(run) else { return false };
            session.client.attached.entry(room).and_modify(|pos| *pos -= 1);
            true
        });
        finds("a member who is not attached", |run, _| {
            let Some((session, room)) = attached(run) else { return false };
            session.client.attached.remove(&room).is_some()
        });
        finds("a request without an answer", |run, _| {
            let Some((session, _)) = attached(run) else { return false };
            session.client.open.insert(99, "say".to_owned()).is_none()
        });
    }

    #[test]
    fn what_is_wrong_with_feeds() {
        finds("a dialog entry that is in no feed", |_, stored| {
            stored.feeds.values_mut().find_map(Vec::pop).is_some()
        });
        finds("one that is there twice", |_, stored| {
            let feed = stored.feeds.values_mut().find(|f| !f.is_empty());
            let Some(feed) = feed else { return false };
            let again = feed.last().map(|(pos, e)| (pos + 1, e.clone()));
            feed.extend(again);
            true
        });
        finds("one that was shown elsewhere", |run, _| {
            let fed = run.sessions.iter_mut().find_map(|s| s.client.fed.last_mut());
            fed.map(|f| f.1.what.push('x')).is_some()
        });
        finds("one that was not shown", |run, stored| {
            let Some(session) = run.sessions.iter_mut().find(|s| s.open && !s.client.fed.is_empty()) else {
                return false;
            };
            session.client.hello = Some(0);
            let name = session.client.name.clone();
            session.client.fed.clear();
            stored.feeds.get(&name).is_some_and(|f| !f.is_empty())
        });
    }
}
