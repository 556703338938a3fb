//! How much is unread: the user's push rules decide what counts (client-server API, "Receiving notifications").

use super::changes::{Change, Changes};
use crate::json::{Json, Map};
use crate::matrix::api::scene::{Related, Scene, Shown, history, message};
use crate::matrix::device::sync::Unread;
use crate::matrix::error::Error;
use crate::matrix::ids::user_id;
use crate::matrix::push::{Reader, Subject};
use crate::matrix::rooms;
use crate::matrix::task::Ctx;
use crate::object;
use lavina_core::event::What;
use lavina_core::ids::{Pos, RoomId};
use lavina_core::policy::power;
use lavina_core::query::{Bound, Only, Range, RoomView};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Entries looked at where nothing was counted before; older ones do not count.
const LOOK_BACK: u32 = 200;

/// The counts of a room.
pub struct Counts {
    unread: Unread,
    /// The ids of threads' roots.
    roots: BTreeMap<Pos, String>,
}

impl Counts {
    /// The keys of the answer.
    pub fn json(&self, threads: bool) -> Vec<(&'static str, Json)> {
        let object = |(n, high): (usize, usize)| -> Json {
            object! { "notification_count" => n, "highlight_count" => high }
        };
        if !threads {
            return vec![("unread_notifications", object(self.unread.counts(|_| true)))];
        }
        let of = |(root, id): (&Pos, &String)| (id.clone(), object(self.unread.counts(|t| t == Some(*root))));
        let by_thread: Map = self.roots.iter().map(of).collect();
        vec![
            ("unread_notifications", object(self.unread.counts(|t| t.is_none()))),
            ("unread_thread_notifications", Json::Object(by_thread)),
        ]
    }
}

/// Counts what is unread, and remembers it.
///
/// # Errors
/// The server cannot tell.
pub async fn count(
    ctx: &Ctx,
    id: RoomId,
    change: &Change,
    changes: &Changes,
    shown: &[Shown],
    view: Option<&Arc<RoomView>>,
) -> Result<Counts, Error> {
    let mut unread = change.room.unread.clone().unwrap_or_default();
    let me = ctx.user()?.clone();
    let old = change.room.unread.is_some();
    let mut events: Vec<Shown> = Vec::new();
    if old && !change.whole && change.gap.is_none() {
        if change.room.last <= unread.counted {
            return counts(ctx, id, unread).await;
        }
        let all = change.events.iter().filter(|e| e.pos > unread.counted);
        let missing = all.clone().any(|e| !shown.iter().any(|s| s.place.pos == e.pos));
        if missing {
            let left: Vec<_> = all.cloned().collect();
            let scene = Scene::new(ctx, id, &left, Related::These(change.events.clone()), None).await?;
            events.extend(left.iter().flat_map(|e| scene.show(e)));
        } else {
            events.extend(shown.iter().filter(|s| s.place.pos > unread.counted).cloned());
        }
    } else if change.room.last > change.read {
        unread = Unread::default();
        let range = Range {
            after: if change.read == Pos::ZERO { Bound::Open } else { Bound::Pos(change.read) },
            before: Bound::Pos(change.room.last.next()),
            only: Only::Said,
            ..Range::latest(LOOK_BACK)
        };
        let found = history(ctx, id, range).await?;
        let own = found.entries.iter().rposition(|e| matches!(e.what, What::Said(_)) && e.by.is(me.id));
        let rest = found.entries.get(own.map_or(0, |n| n + 1)..).unwrap_or_default();
        let rest: Vec<_> = rest.iter().filter(|e| e.pos >= change.room.moved).cloned().collect();
        let scene = Scene::new(ctx, id, &rest, Related::These(rest.clone()), view.cloned()).await?;
        events.extend(rest.iter().flat_map(|e| scene.show(e)));
    } else {
        unread = Unread::default();
    }
    judge(ctx, change, changes, &events, &mut unread)?;
    unread.counted = change.room.last;
    let kept = unread.clone();
    ctx.with(move |agent, _| {
        if let Some(room) = agent.sync().and_then(|s| s.rooms.get_mut(&id)) {
            room.unread = Some(kept);
        }
    })
    .await;
    counts(ctx, id, unread).await
}

async fn counts(ctx: &Ctx, room: RoomId, unread: Unread) -> Result<Counts, Error> {
    let mut roots = BTreeMap::new();
    let of: BTreeSet<Pos> = unread.items.iter().filter_map(|(_, _, t)| *t).collect();
    for root in of {
        roots.insert(root, rooms::entry_id(ctx, room, root).await?);
    }
    Ok(Counts { unread, roots })
}

fn judge(
    ctx: &Ctx,
    change: &Change,
    changes: &Changes,
    events: &[Shown],
    unread: &mut Unread,
) -> Result<(), Error> {
    let Some(rules) = &changes.rules else { return Ok(()) };
    let me = user_id(ctx.user()?, ctx.domain());
    let reader = Reader { id: &me, display: change.room.display.as_deref() };
    let levels = change.room.levels.as_deref();
    let joined = change.room.joined.unwrap_or(3);
    for shown in events {
        let said = message(&shown.entry);
        if said.is_some_and(|m| m.gone) || shown.entry.by.is(ctx.user()?.id) {
            continue;
        }
        let sender = shown.json.str_of("sender").unwrap_or_default();
        let subject = Subject::new(&shown.json, joined, power_of(change, sender), levels);
        if let Some((_, rule)) = rules.evaluate(&subject, reader)
            && rule.actions.notify()
        {
            let thread = said.and_then(|m| m.thread).map(|t| t.pos);
            unread.add(shown.place.pos, rule.actions.highlight(), thread);
        }
        if let What::Redacted { target, .. } = shown.entry.what {
            unread.items.retain(|(pos, ..)| *pos != target);
        }
    }
    Ok(())
}

fn power_of(change: &Change, sender: &str) -> i64 {
    if change.room.creators.iter().any(|c| c == sender) {
        return i64::MAX;
    }
    let Some(levels) = change.room.levels.as_deref() else { return power::NORMAL.into() };
    let own = levels.at(&["users", sender]).and_then(Json::as_int);
    own.or_else(|| levels.get("users_default").and_then(Json::as_int)).unwrap_or(0)
}
