//! How much is unread: the user's push rules decide what counts (client-server API, "Receiving notifications").

use super::changes::{Change, Changes};
use crate::json::{Json, Map};
use crate::matrix::api::scene::{Related, Scene, Shown, history, message};
use crate::matrix::content::RELATES_TO;
use crate::matrix::device::sync::{Room, Unread};
use crate::matrix::error::Error;
use crate::matrix::ids::user_id;
use crate::matrix::push::{Actions, Reader, Ruleset, Subject};
use crate::matrix::task::Ctx;
use crate::object;
use lavina_core::event::{Event, What};
use lavina_core::ids::{Pos, RoomId};
use lavina_core::name::User;
use lavina_core::policy::power;
use lavina_core::query::{Bound, Only, Range, RoomView};
use lavina_core::text::Str;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Unread entries looked at where nothing was counted before: of more the newest are, and the counts stop there.
const LOOK_BACK: usize = 1_000;

/// The counts of a room.
pub struct Counts {
    unread: Unread,
}

impl Counts {
    /// Notifications and highlights of the room, threads included.
    pub fn numbers(&self) -> (usize, usize) {
        self.unread.counts(|_| true)
    }

    /// The keys of the answer.
    pub fn json(&self, threads: bool) -> Vec<(&'static str, Json)> {
        let object = |(n, high): (usize, usize)| -> Json {
            object! { "notification_count" => n, "highlight_count" => high }
        };
        if !threads {
            return vec![("unread_notifications", object(self.unread.counts(|_| true)))];
        }
        let roots: BTreeSet<&Str> = self.unread.items.iter().filter_map(|(_, _, t)| t.as_ref()).collect();
        let of = |root: &Str| (root.clone(), object(self.unread.counts(|t| t == Some(root))));
        let by_thread: Map = roots.into_iter().map(of).collect();
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
    let read = change.room.read_by(me.id, change.read);
    let mut events: Vec<Shown> = Vec::new();
    if old && !change.whole && change.gap.is_none() {
        if change.room.last <= unread.counted {
            return Ok(Counts { unread });
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
    } else if change.room.last > read.whole {
        unread = Unread::default();
        let rest = unread_entries(ctx, id, change, read.whole).await?;
        let scene = Scene::new(ctx, id, &rest, Related::These(rest.clone()), view.cloned()).await?;
        events.extend(rest.iter().flat_map(|e| scene.show(e)));
    } else {
        unread = Unread::default();
    }
    judge(ctx, change, changes, &events, &mut unread)?;
    unread.items.retain(|(pos, _, thread)| !read.has(*pos, thread.as_deref()));
    unread.counted = change.room.last;
    let kept = unread.clone();
    ctx.with(move |agent, _| {
        if let Some(room) = agent.sync().and_then(|s| s.rooms.get_mut(&id)) {
            room.unread = Some(kept);
        }
    })
    .await;
    Ok(Counts { unread })
}

/// The entries after a position and after the last that the user said, in order; of more than [`LOOK_BACK`] the newest.
async fn unread_entries(ctx: &Ctx, id: RoomId, change: &Change, read: Pos) -> Result<Vec<Arc<Event>>, Error> {
    let me = ctx.user()?.id;
    let after = read.max(change.room.moved.back());
    let after = if after == Pos::ZERO { Bound::Open } else { Bound::Pos(after) };
    let (mut out, mut before) = (Vec::new(), change.room.last.next());
    while out.len() < LOOK_BACK {
        let limit = u32::try_from(LOOK_BACK - out.len()).unwrap_or(u32::MAX);
        let range = Range { after, before: Bound::Pos(before), only: Only::All, ..Range::latest(limit) };
        let found = history(ctx, id, range).await?;
        let own = found.entries.iter().rposition(|e| matches!(e.what, What::Said(_)) && e.by.is(me));
        let rest = found.entries.get(own.map_or(0, |n| n + 1)..).unwrap_or_default();
        out.extend(rest.iter().rev().cloned());
        match found.entries.first() {
            Some(first) if own.is_none() && found.more => before = first.pos,
            _ => break,
        }
    }
    out.reverse();
    Ok(out)
}

fn judge(
    ctx: &Ctx,
    change: &Change,
    changes: &Changes,
    events: &[Shown],
    unread: &mut Unread,
) -> Result<(), Error> {
    let Some(rules) = changes.rules.clone() else { return Ok(()) };
    let me = ctx.user()?.clone();
    let judge = Judge { rules, id: user_id(&me, ctx.domain()), me, marks: BTreeMap::new() };
    for shown in events {
        if let Some(actions) = judge.actions(&change.room, shown).filter(|a| a.notify()) {
            unread.add(shown.place.pos, actions.highlight(), thread_of(shown));
        }
        if let What::Redacted { target, .. } | What::Withdrawn { target, .. } = shown.entry.what {
            unread.items.retain(|(pos, ..)| *pos != target);
        }
    }
    Ok(())
}

/// The root of the thread that an event lies in.
pub fn thread_of(shown: &Shown) -> Option<Str> {
    let root = shown.json.at(&["content", RELATES_TO, "event_id"]).and_then(Json::as_str);
    root.filter(|_| message(&shown.entry).is_some_and(|m| m.thread.is_some())).map(Str::new)
}

/// Who says what the user is told of.
pub struct Judge {
    rules: Arc<Ruleset>,
    id: String,
    /// The user.
    pub me: User,
    marks: BTreeMap<RoomId, Pos>,
}

impl Judge {
    /// For the device's user.
    ///
    /// # Errors
    /// The device is no more.
    pub async fn new(ctx: &Ctx) -> Result<Judge, Error> {
        let known = ctx.with(|agent, _| agent.sync().and_then(|s| Some((s.rules.clone()?, s.read.clone()))));
        let (rules, marks) = known.await.ok_or_else(|| Error::unknown_token(false))?;
        let me = ctx.user()?.clone();
        Ok(Judge { rules, id: user_id(&me, ctx.domain()), me, marks })
    }

    /// Up to where the account has read a room, as its mark says.
    pub fn mark(&self, room: RoomId) -> Pos {
        self.marks.get(&room).copied().unwrap_or(Pos::ZERO)
    }

    /// What is to be done about an event of a room; none for the user's own, and where no rule fits.
    pub fn actions(&self, room: &Room, shown: &Shown) -> Option<&Actions> {
        if message(&shown.entry).is_some_and(|m| m.gone) || shown.entry.by.is(self.me.id) {
            return None;
        }
        let reader = Reader { id: &self.id, display: room.display.as_deref() };
        let sender = shown.json.str_of("sender").unwrap_or_default();
        let (joined, levels) = (room.joined.unwrap_or(3), room.levels.as_deref());
        let subject = Subject::new(&shown.json, joined, power_of(room, sender), levels);
        self.rules.evaluate(&subject, reader).map(|(_, rule)| &rule.actions)
    }
}

fn power_of(room: &Room, sender: &str) -> i64 {
    if room.creators.iter().any(|c| c == sender) {
        return i64::MAX;
    }
    let Some(levels) = room.levels.as_deref() else { return power::NORMAL.into() };
    let own = levels.at(&["users", sender]).and_then(Json::as_int);
    own.or_else(|| levels.get("users_default").and_then(Json::as_int)).unwrap_or(0)
}
