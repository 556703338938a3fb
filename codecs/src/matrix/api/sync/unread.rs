//! How much is unread: the user's push rules decide what counts (client-server API, "Receiving notifications").

use super::changes::{Change, Changes};
use crate::json::{Json, Map};
use crate::matrix::api::scene::{Related, Scene, Shown, history, message};
use crate::matrix::content::RELATES_TO;
use crate::matrix::device::sync::{Read, Room, Unread};
use crate::matrix::error::Error;
use crate::matrix::ids::user_id;
use crate::matrix::push::{Actions, Powers, Reader, Ruleset, Subject};
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
    unread: Arc<Unread>,
}

/// What becomes of the counts.
enum News {
    /// One more: entry, whether it is a highlight, the root of its thread.
    More(Pos, bool, Option<Str>),
    /// That entry was withdrawn.
    Less(Pos),
}

impl Unread {
    /// Counts on, up to that entry; what is read falls away.
    fn go_on(&mut self, news: Vec<News>, read: &Read, counted: Pos) {
        for one in news {
            match one {
                // Another request may have counted it meanwhile.
                News::More(pos, ..) if pos <= self.counted => {}
                News::More(pos, highlight, thread) => self.add(pos, highlight, thread),
                News::Less(pos) => self.forget(pos),
            }
        }
        self.read(read);
        self.counted = counted.max(self.counted);
    }
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
        let roots: BTreeSet<&Str> = self.unread.threads().collect();
        let of = |root: &Str| (root.clone(), object(self.unread.counts(|t| t == Some(root))));
        let by_thread: Map = roots.into_iter().map(of).collect();
        let mut out = vec![("unread_notifications", object(self.unread.counts(|t| t.is_none())))];
        if !by_thread.is_empty() {
            out.push(("unread_thread_notifications", Json::Object(by_thread)));
        }
        out
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
    let me = ctx.user()?.clone();
    let read = change.room.read_by(me.id, change.read);
    let old = change.counted.filter(|_| !change.whole && change.gap.is_none());
    let news = match old {
        Some(counted) if change.room.last <= counted => Vec::new(),
        Some(counted) => {
            let new = |pos| pos > counted;
            let all = change.events.iter().filter(|e| new(e.pos));
            if all.clone().any(|e| !shown.iter().any(|s| s.place.pos == e.pos)) {
                let left: Vec<_> = all.cloned().collect();
                let scene = Scene::new(ctx, id, &left, Related::These(change.events.clone()), None).await?;
                let events: Vec<Shown> = left.iter().flat_map(|e| scene.show(e)).collect();
                judge(ctx, change, changes, events.iter())?
            } else {
                judge(ctx, change, changes, shown.iter().filter(|s| new(s.place.pos)))?
            }
        }
        None if change.room.last > read.whole => {
            let rest = unread_entries(ctx, id, change, read.whole).await?;
            let scene = Scene::new(ctx, id, &rest, Related::These(rest.clone()), view.cloned()).await?;
            let events: Vec<Shown> = rest.iter().flat_map(|e| scene.show(e)).collect();
            judge(ctx, change, changes, events.iter())?
        }
        None => Vec::new(),
    };
    let (counted, goes_on) = (change.room.last, old.is_some());
    let unread = ctx.with(move |agent, _| {
        let room = agent.sync().and_then(|s| s.rooms.get_mut(&id));
        let mut none = None;
        let unread = room.map_or(&mut none, |room| &mut room.unread);
        let mut counts = unread.take().filter(|_| goes_on).unwrap_or_default();
        Arc::make_mut(&mut counts).go_on(news, &read, counted);
        unread.insert(counts).clone()
    });
    Ok(Counts { unread: unread.await })
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

fn judge<'a>(
    ctx: &Ctx,
    change: &Change,
    changes: &Changes,
    events: impl Iterator<Item = &'a Shown>,
) -> Result<Vec<News>, Error> {
    let Some(rules) = changes.rules.clone() else { return Ok(Vec::new()) };
    let me = ctx.user()?.clone();
    let judge = Judge { rules, id: user_id(&me, ctx.domain()), me, marks: BTreeMap::new() };
    let mut out = Vec::new();
    for shown in events {
        if let Some(actions) = judge.actions(&change.room, shown).filter(|a| a.notify()) {
            out.push(News::More(shown.place.pos, actions.highlight(), thread_of(shown)));
        }
        if let What::Redacted { target, .. } | What::Withdrawn { target, .. } = shown.entry.what {
            out.push(News::Less(target));
        }
    }
    Ok(out)
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
        let powers = || powers(room, sender);
        let subject = Subject::new(&shown.json, room.joined.unwrap_or(3), &powers);
        self.rules.evaluate(&subject, reader).map(|(_, rule)| &rule.actions)
    }
}

fn powers(room: &Room, sender: &str) -> Powers {
    let levels = room.levels();
    let own = |levels: &Json| {
        let own = levels.at(&["users", sender]).and_then(Json::as_int);
        own.or_else(|| levels.get("users_default").and_then(Json::as_int)).unwrap_or(0)
    };
    let sender = match &levels {
        _ if room.creators.iter().any(|c| c == sender) => i64::MAX,
        Some(levels) => own(levels),
        None => power::NORMAL.into(),
    };
    Powers { sender, levels }
}
