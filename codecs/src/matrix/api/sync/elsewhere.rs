//! What the agent's memory does not tell: after a restart, or a long time away, and rooms that were left long ago.

use super::Wish;
use super::changes::{Change, Changes};
use super::room::public_receipts;
use crate::matrix::api::scene::history;
use crate::matrix::device::stamp::Stamp;
use crate::matrix::device::sync::Room;
use crate::matrix::error::Error;
use crate::matrix::rooms;
use crate::matrix::task::Ctx;
use lavina_core::event::{Event, What};
use lavina_core::ids::{AccountId, Pos, RoomId};
use lavina_core::policy::Membership;
use lavina_core::query::{Belonging, Bound, Only, Query, Range, Value};
use std::sync::Arc;

/// Entries of the feed that are looked at for dialogs with something new.
const FEED: u32 = 1_000;

/// Entries shown of a room that was left.
const LEFT: u32 = 20;

/// Reads again what came after the client's token: of each room what is past its shard's position, dialogs past the
/// feed's.
///
/// # Errors
/// The server cannot tell.
pub async fn read_again(ctx: &Ctx, wish: &Wish, changes: &mut Changes) -> Result<(), Error> {
    let Some(since) = &wish.since else { return Ok(()) };
    let shards = ctx.settings().core.shards;
    let dialogs = dialogs_since(ctx, since).await?;
    changes.rooms.retain(|id, change| {
        let told = since.of(*id, shards);
        if change.room.with.is_some() {
            let Some(first) = dialogs.iter().find(|(room, _)| room == id).map(|(_, pos)| *pos) else {
                return false;
            };
            (change.whole, change.gap) = (false, Some(first.back()));
            return true;
        }
        match change.room.membership {
            Membership::Joined if change.room.moved > told => true,
            Membership::Joined => {
                (change.whole, change.gap) = (false, Some(told));
                true
            }
            _ => change.room.moved > told,
        }
    });
    // Where there is no new entry, somebody may have read.
    let same = |c: &Change| c.room.with.is_none() && c.gap.is_some_and(|told| c.room.last <= told);
    let quiet: Vec<RoomId> = changes.rooms.iter().filter(|(_, c)| same(c)).map(|(id, _)| *id).collect();
    for id in quiet {
        let read = public_receipts(ctx, id).await.unwrap_or_default();
        if let Some(change) = changes.rooms.get_mut(&id) {
            change.receipts.extend(read);
            change.all_receipts = false;
        }
        if changes.rooms.get(&id).is_some_and(|c| c.receipts.is_empty()) {
            changes.rooms.remove(&id);
        }
    }
    for left in formerly(ctx).await? {
        if left.member.since > since.of(left.room, shards) {
            add_left(ctx, changes, left).await?;
        }
    }
    Ok(())
}

/// The dialogs with something new: the first entry of each.
async fn dialogs_since(ctx: &Ctx, since: &Stamp) -> Result<Vec<(RoomId, Pos)>, Error> {
    let account = ctx.user()?.id;
    let after = Bound::Pos(since.feed);
    let range = Range { after, only: Only::All, ..Range::latest(FEED) };
    let Value::Feed(found) = ctx.query(Query::Feed { account, with: None, range }).await? else {
        return Ok(Vec::new());
    };
    let mut out: Vec<(RoomId, Pos)> = Vec::new();
    for (_, event) in &found.entries {
        if !out.iter().any(|(room, _)| *room == event.room) {
            out.push((event.room, event.pos));
        }
    }
    Ok(out)
}

/// Rooms that the user is out of, for a first sync: those that he was put out of, as he may not know it, and where it is
/// asked for (`leave`) those that he left.
///
/// # Errors
/// The server cannot tell.
pub async fn add_formerly(ctx: &Ctx, changes: &mut Changes, leave: bool) -> Result<(), Error> {
    for left in formerly(ctx).await? {
        if leave || left.member.by.is_some() {
            add_left(ctx, changes, left).await?;
        }
    }
    Ok(())
}

/// Rooms that the user left.
///
/// # Errors
/// The server cannot tell.
async fn formerly(ctx: &Ctx) -> Result<Vec<Belonging>, Error> {
    match ctx.query(Query::Formerly(ctx.user()?.id)).await? {
        Value::Memberships(rooms) => Ok(rooms.to_vec()),
        _ => Ok(Vec::new()),
    }
}

/// A room that was left, with the last that the user could see of it.
///
/// # Errors
/// The server cannot tell.
async fn add_left(ctx: &Ctx, changes: &mut Changes, left: Belonging) -> Result<(), Error> {
    let range = Range { only: Only::All, ..Range::latest(LEFT) };
    let me = ctx.user()?.id;
    let own = |e: &&Arc<Event>| is_own(e, me);
    let (mut entries, more) = match history(ctx, left.room, range).await {
        Ok(found) => (found.entries.clone(), found.more),
        Err(_) => (Vec::new(), false),
    };
    let mut own = entries.iter().rev().find(own).cloned();
    if own.is_none() {
        // Who was asked in and did not come sees of the room, whatever else may be read there, that he is out of it.
        own = rooms::entry(ctx, left.room, left.member.since).await?.filter(|e| is_own(e, me));
        entries.extend(own.clone());
        entries.sort_by_key(|e| e.pos);
    }
    let Some(own) = own else { return Ok(()) };
    let mut room = Room::new(Membership::Left, left.member.since);
    room.last = own.pos;
    let mut change = Change::bare(room);
    change.events = entries;
    change.own = Some(own);
    change.gap = more.then_some(Pos::ZERO);
    changes.rooms.insert(left.room, change);
    Ok(())
}

/// Whether an entry is a change of that person's own membership.
fn is_own(entry: &Event, me: AccountId) -> bool {
    matches!(&entry.what, What::Member(m) if m.user.id == me)
}
