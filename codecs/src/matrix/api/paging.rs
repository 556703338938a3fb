//! Pages of a room's log as events, and the state of a room at a place of its log.

use super::scene::{Related, Scene, Shown, former_at, history};
use crate::json::Json;
use crate::matrix::content::Write;
use crate::matrix::device::stamp::Place;
use crate::matrix::error::Error;
use crate::matrix::event::{RoomEvent, Unsigned, state_event};
use crate::matrix::filter::RoomEventFilter;
use crate::matrix::ids::IdKey;
use crate::matrix::rooms;
use crate::matrix::task::Ctx;
use lavina_core::event::FactRef;
use lavina_core::ids::{Pos, RoomId};
use lavina_core::query::{Bound, Only, Range, RoomView};
use lavina_core::row::FactRow;
use lavina_core::text::Str;
use std::sync::Arc;

/// Reads of one page: where a filter lets few events through, the page ends early and the next goes on.
const READS: usize = 8;

/// Entries of one read, at least.
const READ_LEAST: u32 = 20;

/// Former values that are followed back for the state of one place.
const STEPS: usize = 1_000;

/// A page.
pub struct Page {
    /// The events, in the order of the log.
    pub shown: Vec<Shown>,
    /// Where the next page begins.
    pub next: Place,
    /// Whether there is more beyond it.
    pub more: bool,
}

/// What is wanted of a room's log.
pub struct Want<'a> {
    /// Which room.
    pub room: RoomId,
    /// Where to begin.
    pub from: Place,
    /// Where to end, if before the end of the log.
    pub to: Option<Place>,
    /// Backwards or forwards.
    pub back: bool,
    /// How many events.
    pub limit: usize,
    /// Which.
    pub filter: &'a RoomEventFilter,
    /// The room, if it is known already.
    pub view: Option<Arc<RoomView>>,
}

/// Reads a page.
///
/// # Errors
/// The user may not read there, or the server cannot tell.
pub async fn page(ctx: &Ctx, want: Want<'_>) -> Result<Page, Error> {
    let mut out = Page { shown: Vec::new(), next: want.from, more: true };
    let room_id = rooms::room_id(ctx, want.room).await?;
    for _ in 0..READS {
        let missing = want.limit.saturating_sub(out.shown.len());
        if missing == 0 || !out.more {
            break;
        }
        let (found, more, end) = read(ctx, &want, out.next, missing).await?;
        (out.more, out.next) = (more, end.unwrap_or(out.next));
        let mut fits: Vec<Shown> = found
            .into_iter()
            .filter(|s| want.filter.admits(&room_id, &s.json) && within(&want, s.place))
            .collect();
        let over = fits.len().saturating_sub(missing);
        if want.back {
            fits.drain(..over);
            if over > 0 {
                out.next = fits.first().map_or(out.next, |s| s.place);
            }
            fits.append(&mut out.shown);
            out.shown = fits;
        } else {
            fits.truncate(missing);
            if over > 0 {
                out.next = fits.last().map_or(out.next, |s| behind(s.place));
            }
            out.shown.append(&mut fits);
        }
        out.more |= over > 0;
        if want.to.is_some_and(|to| if want.back { out.next <= to } else { out.next >= to }) {
            out.more = false;
        }
    }
    Ok(out)
}

fn behind(place: Place) -> Place {
    match place.sub.checked_add(1) {
        Some(sub) => Place { pos: place.pos, sub },
        None => Place::after(place.pos),
    }
}

fn within(want: &Want<'_>, place: Place) -> bool {
    let beyond = |to: Place| if want.back { place < to } else { place >= to };
    !want.to.is_some_and(beyond)
}

/// One read: the events, whether there are more, and where it ended.
async fn read(
    ctx: &Ctx,
    want: &Want<'_>,
    from: Place,
    missing: usize,
) -> Result<(Vec<Shown>, bool, Option<Place>), Error> {
    let limit = u32::try_from(missing).unwrap_or(u32::MAX).max(READ_LEAST);
    let range = Range { only: Only::All, newest: want.back, ..Range::latest(limit) };
    let range = match want.back {
        // An entry of several events may lie on both sides of the place.
        true => Range { before: Bound::Pos(if from.sub > 0 { from.pos.next() } else { from.pos }), ..range },
        false => Range { after: Bound::Pos(from.pos.back()), ..range },
    };
    let stretch = history(ctx, want.room, range).await?;
    let entries = &stretch.entries;
    let end = match want.back {
        true => entries.first().map(|e| Place { pos: e.pos, sub: 0 }),
        false => entries.last().map(|e| Place::after(e.pos)),
    };
    let scene = Scene::new(ctx, want.room, entries, Related::Ask, want.view.clone()).await?;
    let side = |s: &Shown| if want.back { s.place < from } else { s.place >= from };
    let shown = entries.iter().flat_map(|e| scene.show(e)).filter(side).collect();
    Ok((shown, stretch.more, end))
}

/// The state of the room before a place.
///
/// # Errors
/// The server cannot tell.
pub async fn state_at(
    ctx: &Ctx,
    view: &RoomView,
    place: Place,
    wanted: impl Fn(&str, &str) -> bool,
) -> Result<Vec<RoomEvent>, Error> {
    let before = |at: FactRef| Place { pos: at.pos, sub: at.nth } < place;
    let mut out = Vec::new();
    let mut later = Vec::new();
    for row in view.facts.values().filter(|row| wanted(&row.fact.kind, &row.fact.key)) {
        if before(row.at) {
            out.extend(state_event(view.id, row, ctx.domain()));
        } else if let Some(at) = row.fact.before {
            later.push((at, former_at(ctx, view.id, at.pos)));
        }
    }
    for (at, asked) in later {
        let (mut at, mut entry) = (at, asked.await?);
        for _ in 0..STEPS {
            let Some(row) = entry.as_ref().and_then(|e| FactRow::of(e, at.nth)) else { break };
            if before(at) {
                out.extend(state_event(view.id, &row, ctx.domain()));
                break;
            }
            let Some(earlier) = row.fact.before else { break };
            at = earlier;
            entry = former_at(ctx, view.id, at.pos).await?;
        }
    }
    Ok(out)
}

/// State events for a client. `room`: the room's id, unless the answer says it elsewhere.
pub fn state_json(ctx: &Ctx, state: &[RoomEvent], room: Option<&str>) -> Vec<Json> {
    let ids = IdKey::new(&ctx.settings().core.secret);
    let with =
        Write { ids: &ids, seal: &|_| None, domain: ctx.domain(), known: &|_| false, notify_room: false };
    let unsigned = Unsigned { now: Some(ctx.now().wall), ..Unsigned::default() };
    state.iter().map(|e| e.to_client(&unsigned, room, &with)).collect()
}

/// Whether a state event is wanted where only those members are that said something.
pub fn lazily(kind: &str, key: &str, senders: &std::collections::BTreeSet<Str>) -> bool {
    kind != "m.room.member" || senders.contains(key)
}

/// The last entry of everything.
pub fn end() -> Place {
    Place { pos: Pos(Pos::MAX.0 + 1), sub: 0 }
}
