//! One room's part of an answer.

use super::list::Wanted;
use super::{MEMBERS, Sent};
use crate::json::Json;
use crate::matrix::api::paging::{Want, page, state_json};
use crate::matrix::api::scene::{Shown, view_of};
use crate::matrix::api::sync::changes::{Change, Changes};
use crate::matrix::api::sync::{room, unread};
use crate::matrix::device::stamp::Place;
use crate::matrix::device::sync::Room;
use crate::matrix::error::Error;
use crate::matrix::event::{RoomEvent, state_event};
use crate::matrix::filter::RoomEventFilter;
use crate::matrix::ids::user_id;
use crate::matrix::member;
use crate::matrix::rooms;
use crate::matrix::task::Ctx;
use crate::object;
use lavina_core::ids::{Pos, RoomId};
use lavina_core::policy::Membership;
use lavina_core::query::RoomView;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Events that make a room move up in a client's list (MSC4186, `bump_stamp`).
const BUMPS: &[&str] = &[
    "m.room.create",
    "m.room.message",
    "m.room.encrypted",
    "m.sticker",
    "m.call.invite",
    "m.poll.start",
    "org.matrix.msc3381.poll.start",
    "m.beacon_info",
    "org.matrix.msc3672.beacon_info",
];

/// What is to be told of a room, and what was told with it; none if there is nothing.
///
/// # Errors
/// The server cannot tell.
pub async fn section(
    ctx: &Ctx,
    id: RoomId,
    want: &Wanted,
    sent: Option<&Sent>,
    changes: &Changes,
) -> Result<Option<(Json, Sent)>, Error> {
    let known = ctx.with(move |agent, _| {
        let sync = agent.sync()?;
        let room = Room::clone(sync.rooms.get(&id)?);
        Some((room, sync.read.get(&id).copied().unwrap_or(Pos::ZERO)))
    });
    let Some((room, mark)) = known.await else { return Ok(None) };
    let now = Sent {
        upto: room.last,
        membership: room.membership,
        config: want.config.clone(),
        members: BTreeSet::new(),
        bump: room.at.0,
    };
    match room.membership {
        Membership::Joined => joined(ctx, id, want, (&room, mark), sent, changes, now).await,
        Membership::Invited | Membership::Knocking => {
            if sent.is_some_and(|s| s.membership == room.membership && s.upto >= room.moved) {
                return Ok(None);
            }
            let key = if room.membership == Membership::Invited { "invite_state" } else { "knock_state" };
            let mut out = common(want, &now, true);
            out.set(key, room::stripped(ctx, id).await?);
            Ok(Some((out, now)))
        }
        Membership::Left | Membership::Banned => left(ctx, id, want, (&room, sent), now).await.map(Some),
    }
}

fn common(want: &Wanted, now: &Sent, initial: bool) -> Json {
    let mut out = object! { "bump_stamp" => now.bump, "membership" => member::word(now.membership) };
    if initial {
        out.set("initial", true);
    }
    if want.is_dm {
        out.set("is_dm", true);
    }
    if !want.lists.is_empty() {
        out.set("lists", want.lists.clone());
    }
    out
}

async fn joined(
    ctx: &Ctx,
    id: RoomId,
    want: &Wanted,
    (room, mark): (&Room, Pos),
    sent: Option<&Sent>,
    changes: &Changes,
    mut now: Sent,
) -> Result<Option<(Json, Sent)>, Error> {
    let sent = sent.filter(|s| s.membership == Membership::Joined);
    let expanded = sent.is_some_and(|s| want.config.timeline > s.config.timeline);
    let wider = sent.is_some_and(|s| want.config.is_wider(&s.config));
    let fewer = changes.rooms.get(&id).or(find(changes, id)).is_some_and(|c| c.unread);
    let upto = sent.map_or(Pos::ZERO, |s| s.upto);
    if sent.is_some() && room.last <= upto && !expanded && !wider && !fewer {
        return Ok(None);
    }
    let view = view_of(ctx, id).await?;
    let filter = RoomEventFilter::default();
    let to = Some(Place::after(upto)).filter(|_| sent.is_some() && !expanded);
    let (from, limit) = (Place::after(room.last), want.config.timeline);
    let asked = Want { room: id, from, to, back: true, limit, filter: &filter, view: Some(view.clone()) };
    let found = page(ctx, asked).await?;
    let shown = found.shown;
    let gap = found.more && shown.first().is_none_or(|s| s.place.pos > upto);
    let bump = shown.iter().rev().find(|s| BUMPS.contains(&s.kind.as_str())).map(|s| s.entry.at.0);
    now.bump = bump.or(sent.map(|s| s.bump)).unwrap_or(room.at.0);
    // What was told with another width stays told.
    if let Some(sent) = sent {
        now.config.timeline = now.config.timeline.max(sent.config.timeline);
        now.members = sent.members.clone();
    }
    let state = state(ctx, &view, &want.config, (sent, upto), &shown, &mut now);
    let counts = counts(ctx, id, (room, mark), (sent, gap, upto), changes, &shown, &view).await?;
    let mut out = common(want, &now, sent.is_none());
    let moved = |kinds: &[&str]| {
        sent.is_none()
            || state.iter().any(|e| kinds.contains(&e.kind.as_str()))
            || shown.iter().any(|s| s.state_key.is_some() && kinds.contains(&s.kind.as_str()))
    };
    if moved(&["m.room.name", "m.room.avatar", "m.room.member"]) {
        names(ctx, &view, &mut out);
    }
    if expanded {
        out.set("expanded_timeline", true);
        out.set("unstable_expanded_timeline", true);
    }
    let live = if sent.is_some() { shown.iter().filter(|s| s.place.pos > upto).count() } else { 0 };
    let prev = shown.first().map_or(from, |s| s.place);
    out.set("required_state", Json::Array(state_json(ctx, &state, None)));
    out.set("timeline", Json::Array(shown.into_iter().map(Shown::in_room).collect()));
    out.set("prev_batch", prev.text());
    out.set("limited", gap);
    out.set("num_live", live);
    for (key, value) in counts {
        out.set(key, value);
    }
    Ok(Some((out, now)))
}

fn find(changes: &Changes, id: RoomId) -> Option<&Change> {
    changes.done.iter().find(|(room, _)| *room == id).map(|(_, change)| change)
}

/// The state that is wanted and not told yet.
fn state(
    ctx: &Ctx,
    view: &RoomView,
    config: &super::Config,
    (sent, upto): (Option<&Sent>, Pos),
    shown: &[Shown],
    now: &mut Sent,
) -> Vec<RoomEvent> {
    let me = ctx.user().map(|u| user_id(u, ctx.domain())).unwrap_or_default();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    if config.is_lazy() {
        let members = shown.iter().filter(|s| s.kind == "m.room.member");
        named.extend(members.filter_map(|s| s.state_key.as_deref()));
        named.extend(shown.iter().filter_map(|s| s.json.str_of("sender")));
    }
    let mut out = Vec::new();
    for ((kind, key), row) in view.facts.iter() {
        let fresh = row.at.pos > upto;
        let wanted = config.wants(kind, key, &me);
        let before = sent.is_some_and(|s| s.config.wants(kind, key, &me));
        let lazily =
            kind == "m.room.member" && named.contains(key.as_str()) && (fresh || !now.members.contains(key));
        if (wanted && (fresh || !before)) || lazily {
            out.extend(state_event(view.id, row, ctx.domain()));
            if kind == "m.room.member" && config.is_lazy() {
                now.members.insert(key.clone());
            }
        }
    }
    if now.members.len() > MEMBERS {
        now.members.clear();
    }
    out
}

/// What a room is called, or who is in it, and how many.
fn names(ctx: &Ctx, view: &RoomView, out: &mut Json) {
    let text = |kind: &str, key: &str| {
        let content = rooms::content(&view.facts, kind, "")?;
        content.str_of(key).filter(|t| !t.is_empty()).map(str::to_owned)
    };
    match text("m.room.name", "name") {
        Some(name) => out.set("name", name),
        None => {
            let heroes = room::heroes(view, ctx).into_iter().map(|m| {
                let mut hero = object! { "user_id" => user_id(&m.user, ctx.domain()) };
                let content = member::of_row(m);
                for (from, to) in [("displayname", "displayname"), ("avatar_url", "avatar_url")] {
                    if let Some(value) = content.get(from) {
                        hero.set(to, value.clone());
                    }
                }
                hero
            });
            out.set("heroes", Json::Array(heroes.collect()));
        }
    };
    if let Some(avatar) = text("m.room.avatar", "url") {
        out.set("avatar", avatar);
    }
    let count = |m: Membership| view.members.values().filter(|r| r.standing.membership == m).count();
    out.set("joined_count", count(Membership::Joined));
    out.set("invited_count", count(Membership::Invited));
}

/// How much is unread.
async fn counts(
    ctx: &Ctx,
    id: RoomId,
    (room, mark): (&Room, Pos),
    (sent, gap, upto): (Option<&Sent>, bool, Pos),
    changes: &Changes,
    shown: &[Shown],
    view: &Arc<RoomView>,
) -> Result<Vec<(&'static str, Json)>, Error> {
    let mut change = Change::bare(room.clone());
    change.read = mark;
    change.events = shown.iter().map(|s| s.entry.clone()).collect();
    change.events.dedup_by_key(|e| e.pos);
    let counted = room.unread.as_ref().map_or(Pos::ZERO, |u| u.counted);
    change.whole = sent.is_none() || gap || counted < upto;
    let counts = unread::count(ctx, id, &change, changes, shown, Some(view)).await?;
    let (all, high) = counts.numbers();
    Ok(vec![("notification_count", Json::from(all)), ("highlight_count", Json::from(high))])
}

/// A room that the user is out of: what told so.
async fn left(
    ctx: &Ctx,
    id: RoomId,
    want: &Wanted,
    (room, sent): (&Room, Option<&Sent>),
    now: Sent,
) -> Result<(Json, Sent), Error> {
    let filter = RoomEventFilter::default();
    let to = sent.map(|s| Place::after(s.upto));
    let limit = want.config.timeline.max(1);
    let asked =
        Want { room: id, from: Place::after(room.last), to, back: true, limit, filter: &filter, view: None };
    // Who may not even read that (a dialog that is hidden has nothing to read) is told the membership alone.
    let shown = page(ctx, asked).await.map(|found| found.shown).unwrap_or_default();
    let mut out = common(want, &now, false);
    out.set("required_state", Json::Array(Vec::new()));
    out.set("timeline", Json::Array(shown.into_iter().map(Shown::in_room).collect()));
    Ok((out, now))
}
