//! `GET /sync` (client-server API, "Syncing").
//!
//! What a token's numbers still say is answered from the agent's memory ([`crate::matrix::device::sync`]); else every
//! room is read from the token's positions on. A request with nothing to tell waits without costing anything.

mod changes;
mod elsewhere;
pub mod people;
mod raw;
mod room;
pub mod sliding;
pub mod unread;

use super::scene::view_of;
use crate::json::{Json, Map};
use crate::matrix::device::stamp::Stamp;
use crate::matrix::device::sync::begin;
use crate::matrix::error::Error;
use crate::matrix::filter::Filter;
use crate::matrix::ids::user_id;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use changes::Changes;
use lavina_core::command::{Act, EntityId};
use lavina_core::ids::Pos;
use lavina_core::presence::Show;
use lavina_core::query::{Query, Value};
use lavina_core::text::Str;
use lavina_core::time::Mono;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/sync" Must sync),
    route!(Get "/_matrix/client/v3/keys/changes" Must key_changes),
    route!(Post "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync" Must sliding::sync),
];

/// Longest that a request waits, in milliseconds; a longer timeout counts as this.
pub const WAIT_MAX: u64 = 120_000;

/// Events of a timeline where the filter names no number.
pub const TIMELINE: usize = 10;

/// Letters of one answer; the next has more.
const LETTERS: u32 = 100;

/// What a client wants to know.
pub struct Wish {
    /// What it has been told; none: nothing.
    pub since: Option<Stamp>,
    /// What is left out.
    pub filter: Arc<Filter>,
    /// Whole rooms, even where nothing happened.
    pub full: bool,
    /// The state as it is after the timeline, not before; and the name under which it is asked for.
    pub state_after: Option<&'static str>,
    until: Mono,
    show: Option<Show>,
}

impl Wish {
    async fn read(ctx: &Ctx, request: &Request) -> Result<Wish, Error> {
        let flag = |name| match request.param(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Error::invalid_param(format!("{name} must be true or false"))),
        };
        let since = match request.param("since").filter(|s| !s.is_empty()) {
            None => None,
            Some(text) => {
                let stamp = Stamp::parse(text);
                Some(stamp.ok_or_else(|| Error::invalid_param("since is no token of this server"))?)
            }
        };
        let timeout = request.number("timeout")?.unwrap_or(0).min(WAIT_MAX);
        let show = match request.param("set_presence") {
            None | Some("online") => Some(Show::Online),
            Some("unavailable") => Some(Show::Away),
            Some("offline") => None,
            Some(_) => {
                return Err(Error::invalid_param("set_presence must be online, unavailable or offline"));
            }
        };
        // Who asks under the name of before the specification is answered under it (MSC4222).
        let state_after = if flag("use_state_after")? {
            Some("state_after")
        } else {
            flag("org.matrix.msc4222.use_state_after")?.then_some("org.matrix.msc4222.state_after")
        };
        Ok(Wish {
            since,
            filter: filter(ctx, request.param("filter")).await?,
            full: flag("full_state")?,
            state_after,
            until: ctx.now().mono + timeout,
            show,
        })
    }
}

/// The filter that a request names: itself, or the id of one that is kept.
///
/// # Errors
/// 400 where it is none, 404 where nothing is kept under the id.
async fn filter(ctx: &Ctx, said: Option<&str>) -> Result<Arc<Filter>, Error> {
    let Some(said) = said.filter(|s| !s.is_empty()) else {
        return Ok(ctx.settings().no_filter.clone());
    };
    let name = Str::new(said);
    if let Some(known) = ctx.with(move |agent, _| agent.sync()?.filter(&name)).await {
        return Ok(known);
    }
    let json = match said.starts_with('{') {
        true => Json::parse(said.as_bytes()).map_err(|why| Error::not_json(format!("filter: {why}")))?,
        false => {
            let key = Str::new(format!("m.filter/{said}"));
            let Value::Account(account) = ctx.query(Query::Account(ctx.user()?.id)).await? else {
                return Err(Error::unavailable("the server cannot tell; try again"));
            };
            let stored = account.attrs.get(&key).and_then(|value| Json::parse(value).ok());
            stored.ok_or_else(|| Error::not_found("there is no filter with that id"))?
        }
    };
    let filter = Arc::new(Filter::parse(&json).map_err(|why| Error::bad_json(why.to_string()))?);
    let (name, kept) = (Str::new(said), filter.clone());
    ctx.with(move |agent, _| agent.sync().map(|s| s.keep_filter(name, kept))).await;
    Ok(filter)
}

async fn sync(ctx: Ctx, request: Request) -> Answer {
    // It may wait for long; what takes room is made anew when there is something to tell.
    let wish = Box::pin(Wish::read(&ctx, &request)).await?;
    drop(request);
    if !arrive(&ctx, &wish).await {
        Box::pin(begin::begin(&ctx)).await?;
        arrive(&ctx, &wish).await;
    }
    collect(&ctx, &wish).await?;
    loop {
        if ctx.now().mono < wish.until && is_quiet(&ctx, &wish).await {
            ctx.wait(wish.until).await;
            continue;
        }
        let (body, told, counts) = Box::pin(answer(&ctx, &wish)).await?;
        let over = ctx.now().mono >= wish.until;
        let news = body.as_object().is_some_and(|b| NEWS.iter().any(|key| b.contains(key)));
        if news || counts || over || wish.since.is_none() || wish.full {
            return Ok(Response::ok(&body));
        }
        let now = ctx.with(|agent, _| agent.sync().map_or(0, |s| s.seq())).await;
        if now == told {
            ctx.wait(wish.until).await;
        }
    }
}

/// The user is there, if the device follows its rooms; else false.
async fn arrive(ctx: &Ctx, wish: &Wish) -> bool {
    let (show, until) = (wish.show, wish.until);
    let there = ctx.with(move |agent, cx| {
        let ready = agent.sync().is_some_and(|s| s.is_ready());
        if ready {
            agent.present(show, until, cx);
        }
        ready
    });
    there.await
}

/// Whether there is nothing to tell: then nothing is made only to find that out.
async fn is_quiet(ctx: &Ctx, wish: &Wish) -> bool {
    let Some(since) = wish.since.clone().filter(|_| !wish.full) else { return false };
    ctx.with(move |agent, _| agent.sync().is_some_and(|s| s.is_quiet(&since))).await
}

/// Whose keys changed since a token. What changed after the second token is told too: to look once too often does no harm.
async fn key_changes(ctx: Ctx, request: Request) -> Answer {
    let token = |name: &str| -> Result<Stamp, Error> {
        let text = request.param(name).ok_or_else(|| Error::missing_param(format!("{name} is missing")))?;
        Stamp::parse(text).ok_or_else(|| Error::invalid_param(format!("{name} is no token of this server")))
    };
    let (from, _) = (token("from")?, token("to")?);
    begin::begin(&ctx).await?;
    let changes =
        ctx.with(move |agent, cx| agent.sync().map(|s| Changes::take(s, Some(&from), false, cx))).await;
    let mut changes = changes.ok_or_else(|| Error::unknown_token(false))?;
    changes.done = std::mem::take(&mut changes.rooms).into_iter().collect();
    let none = || object! { "changed" => Json::Array(Vec::new()), "left" => Json::Array(Vec::new()) };
    Ok(Response::ok(&people::device_lists(&ctx, &changes).await?.unwrap_or_else(none)))
}

/// The keys of an answer that a request does not go on waiting with.
const NEWS: &[&str] = &["rooms", "presence", "account_data", "to_device", "device_lists"];

/// The letters of the answer that this request says has arrived go.
async fn collect(ctx: &Ctx, wish: &Wish) -> Result<(), Error> {
    let Some(upto) = wish.since.as_ref().map(|s| s.letters).filter(|l| *l > Pos::ZERO) else { return Ok(()) };
    let label = ctx
        .with(move |agent, _| {
            let sync = agent.sync()?;
            (upto > sync.collected && upto <= sync.letters).then(|| {
                sync.collected = upto;
                sync.label.clone()
            })
        })
        .await;
    if let Some(label) = label {
        ctx.act(EntityId::Account(ctx.user()?.id), Act::Collect { label, upto }).await?;
    }
    Ok(())
}

/// One answer, the number of the last update in it, and whether the counts of keys in it are new.
async fn answer(ctx: &Ctx, wish: &Wish) -> Result<(Json, u64, bool), Error> {
    Box::pin(begin::look_at_new_rooms(ctx)).await;
    let since = wish.since.clone();
    let full = wish.full;
    let taken = ctx.with(move |agent, cx| agent.sync().map(|s| Changes::take(s, since.as_ref(), full, cx)));
    let changes = taken.await;
    let mut changes = changes.ok_or_else(|| Error::unknown_token(false))?;
    if changes.lost {
        Box::pin(elsewhere::read_again(ctx, wish, &mut changes)).await?;
    }
    if changes.initial {
        Box::pin(elsewhere::add_formerly(ctx, &mut changes, wish.filter.include_leave)).await?;
    }
    let told = changes.stamp.seq;
    let mut out = Map::new();
    let rooms = sections(ctx, wish, &mut changes).await?;
    if !rooms.is_empty() {
        out.insert("rooms", rooms);
    }
    if !wish.filter.presence.admits_nothing() {
        Box::pin(people::meet(ctx, &mut changes)).await?;
    }
    let presence = people::presence(ctx, wish, &changes);
    if !presence.is_empty() {
        out.insert("presence", object! { "events" => presence });
    }
    let data = Box::pin(people::account_data(ctx, wish, &changes)).await?;
    if !data.is_empty() {
        out.insert("account_data", object! { "events" => data });
    }
    let letters = letters(ctx, wish, &mut changes).await?;
    if !letters.is_empty() {
        out.insert("to_device", object! { "events" => letters });
    }
    if wish.since.is_some()
        && let Some(lists) = Box::pin(people::device_lists(ctx, &changes)).await?
    {
        out.insert("device_lists", lists);
    }
    let (counts, fallback) = people::keys(&changes);
    out.insert("device_one_time_keys_count", counts);
    out.insert("device_unused_fallback_key_types", fallback.clone());
    out.insert("org.matrix.msc2732.device_unused_fallback_key_types", fallback);
    out.insert("next_batch", changes.stamp.text());
    Ok((Json::Object(out), told, changes.counts))
}

/// `rooms`.
async fn sections(ctx: &Ctx, wish: &Wish, changes: &mut Changes) -> Result<Map, Error> {
    let mut found: [(&'static str, Map); 4] =
        ["join", "invite", "knock", "leave"].map(|name| (name, Map::new()));
    for (id, change) in std::mem::take(&mut changes.rooms) {
        let room_id = room::name(ctx, id, &change.room).await?;
        if !wish.filter.rooms.admit(&room_id) {
            continue;
        }
        let shown = match room::section(ctx, wish, id, &change, changes).await {
            Ok(shown) => shown,
            // A room that is no more, or was left meanwhile, must not keep the client from the others.
            Err(why) if matches!(why.status, 403 | 404) => None,
            Err(why) => return Err(why),
        };
        if let Some((name, section)) = shown
            && let Some((_, map)) = found.iter_mut().find(|(n, _)| *n == name)
        {
            map.insert(room_id, section);
        }
        changes.done.push((id, change));
    }
    let filled = found.into_iter().filter(|(_, map)| !map.is_empty());
    Ok(filled.map(|(name, map)| (name, Json::Object(map))).collect())
}

/// Letters for the device, and in the token up to where they were told.
async fn letters(ctx: &Ctx, wish: &Wish, changes: &mut Changes) -> Result<Vec<Json>, Error> {
    let after = wish.since.as_ref().map_or(Pos::ZERO, |s| s.letters);
    changes.stamp.letters = after;
    if changes.letters <= after {
        return Ok(Vec::new());
    }
    let query =
        Query::Letters { account: ctx.user()?.id, label: changes.label.clone(), after, limit: LETTERS };
    let Value::Letters(found) = ctx.query(query).await? else { return Ok(Vec::new()) };
    if let Some((last, _)) = found.last() {
        changes.stamp.letters = *last;
    }
    Ok(found.iter().filter_map(|(_, letter)| Json::parse(letter).ok()).collect())
}

/// The ids of the people in a room whom its members may want to send keys to.
async fn members_of(ctx: &Ctx, room: lavina_core::ids::RoomId) -> Result<BTreeSet<String>, Error> {
    let view = view_of(ctx, room).await?;
    let joined =
        |m: &&lavina_core::policy::Member| m.standing.membership == lavina_core::policy::Membership::Joined;
    Ok(view.members.values().filter(joined).map(|m| user_id(&m.user, ctx.domain())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a request takes of memory as long as it waits.
    fn size<F>(_: fn(Ctx, Request) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_that_waits_takes_little() {
        for size in [size(sync), size(sliding::sync)] {
            assert!(size <= 1_024, "{size}");
        }
    }
}
