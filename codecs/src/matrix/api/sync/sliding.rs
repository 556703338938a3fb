//! Simplified sliding sync (MSC4186), in the form that clients use before it is part of the specification: `POST
//! /_matrix/client/unstable/org.matrix.simplified_msc3575/sync`.
//!
//! What a client was told on one of its connections is kept by the agent, for the answer that it has and the one under
//! way. Of a connection that is not known any more, after a restart or a long time, the client hears so
//! (`M_UNKNOWN_POS`) and begins anew.

mod ask;
mod extensions;
mod list;
mod room;

use super::changes::Changes;
use crate::json::{Json, Map};
use crate::matrix::device::stamp::Stamp;
use crate::matrix::device::sync::begin;
use crate::matrix::error::Error;
use crate::matrix::ids::IdKey;
use crate::matrix::request::{Request, Response};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use ask::Ask;
pub use ask::Config;
use lavina_core::ids::{Pos, RoomId};
use lavina_core::policy::Membership;
use lavina_core::text::Str;
use std::collections::{BTreeMap, BTreeSet};

/// Connections of one device; of more the one that sorts first is forgotten.
const CONNECTIONS: usize = 8;

/// People whose memberships a connection is known to have been told, of one room; of more they are told again.
const MEMBERS: usize = 1_000;

/// What a client has been told on a connection.
#[derive(Clone, Debug, Default)]
pub struct Told {
    stamp: Option<Stamp>,
    rooms: BTreeMap<RoomId, Sent>,
}

/// What it has been told of a room.
#[derive(Clone, Debug)]
pub struct Sent {
    upto: Pos,
    membership: Membership,
    config: Config,
    members: BTreeSet<Str>,
    bump: u64,
}

/// The connections of a device.
#[derive(Debug, Default)]
pub struct Connections {
    next: u64,
    all: BTreeMap<Str, Connection>,
}

/// A connection: what the client says it has, and the answer given to that.
#[derive(Debug)]
struct Connection {
    has: (u64, Told),
    given: Option<(u64, Told)>,
}

impl Connections {
    /// A client begins anew.
    fn open(&mut self, name: &Str) -> Told {
        if self.all.len() >= CONNECTIONS && !self.all.contains_key(name) {
            self.all.pop_first();
        }
        self.next += 1;
        self.all.insert(name.clone(), Connection { has: (self.next, Told::default()), given: None });
        Told::default()
    }

    /// What a client has been told that is at this place; none if that is not known any more.
    fn at(&mut self, name: &Str, pos: u64) -> Option<Told> {
        let connection = self.all.get_mut(name)?;
        if connection.given.as_ref().is_some_and(|(n, _)| *n == pos)
            && let Some(given) = connection.given.take()
        {
            connection.has = given;
        }
        (connection.has.0 == pos).then(|| connection.has.1.clone())
    }

    /// An answer is given; where the client is with it.
    fn give(&mut self, name: &Str, told: Told) -> u64 {
        self.next += 1;
        if let Some(connection) = self.all.get_mut(name) {
            connection.given = Some((self.next, told));
        }
        self.next
    }
}

/// An answer under way.
struct Made {
    body: Map,
    told: Told,
    news: bool,
    seq: u64,
}

/// The endpoint.
pub async fn sync(ctx: Ctx, request: Request) -> Answer {
    let ask = Ask::read(&ctx, &request)?;
    // It may wait for long; what takes room is made anew when there is something to tell.
    drop(request);
    Box::pin(begin::begin(&ctx)).await?;
    let (show, until) = (ask.show, ask.until);
    ctx.with(move |agent, cx| agent.present(show, until, cx)).await;
    let told = told(&ctx, &ask).await?;
    extensions::collect(&ctx, &ask).await?;
    loop {
        Box::pin(begin::look_at_new_rooms(&ctx)).await;
        let mut made = Box::pin(answer(&ctx, &ask, &told)).await?;
        if made.news || told.stamp.is_none() || ctx.now().mono >= ask.until {
            let name = ask.connection.clone();
            let given = ctx.with(move |agent, _| {
                let sync = agent.sync()?;
                Some(format!("{:x}/{}", sync.run(), sync.connections.give(&name, made.told)))
            });
            made.body.insert("pos", given.await.ok_or_else(|| Error::unknown_token(false))?);
            return Ok(Response::ok(&Json::Object(made.body)));
        }
        let now = ctx.with(|agent, _| agent.sync().map_or(0, |s| s.seq())).await;
        if now == made.seq {
            ctx.wait(ask.until).await;
        }
    }
}

fn unknown_pos() -> Error {
    Error::new(400, "M_UNKNOWN_POS", "this connection is not known any more; begin a new one without pos")
}

/// What the client has been told.
async fn told(ctx: &Ctx, ask: &Ask) -> Result<Told, Error> {
    let (name, pos) = (ask.connection.clone(), ask.pos.clone());
    let found = ctx.with(move |agent, _| {
        let sync = agent.sync()?;
        let Some(pos) = pos else { return Some(sync.connections.open(&name)) };
        let (run, n) = pos.split_once('/')?;
        let same = u64::from_str_radix(run, 16).ok()? == sync.run();
        sync.connections.at(&name, n.parse().ok().filter(|_| same)?)
    });
    found.await.ok_or_else(unknown_pos)
}

/// One answer.
async fn answer(ctx: &Ctx, ask: &Ask, told: &Told) -> Result<Made, Error> {
    let since = told.stamp.clone();
    let taken = ctx.with(move |agent, cx| {
        let sync = agent.sync()?;
        let now = sync.stamp(Pos::ZERO, cx.now().wall);
        let mut changes = Changes::take(sync, Some(since.as_ref().unwrap_or(&now)), false, cx);
        changes.initial = since.is_none();
        let ids = IdKey::new(&cx.core_settings().secret);
        Some((changes, now, list::entries(sync, &ids)))
    });
    let (mut changes, now, mut entries) = taken.await.ok_or_else(|| Error::unknown_token(false))?;
    if changes.lost {
        return Err(unknown_pos());
    }
    list::name_all(ctx, &mut entries).await?;
    let (lists, wanted) = list::wanted(ctx, ask, told, &entries).await?;
    let mut next = Told { stamp: Some(now), rooms: told.rooms.clone() };
    let (mut rooms, mut fresh) = (Map::new(), Vec::new());
    for (id, want) in wanted {
        let sent = told.rooms.get(&id);
        let shown = match room::section(ctx, id, &want, sent, &changes).await {
            Ok(shown) => shown,
            Err(why) if matches!(why.status, 403 | 404) => None,
            Err(why) => return Err(why),
        };
        let Some((json, sent_now)) = shown else { continue };
        if json.get("initial").is_some() {
            fresh.push(id);
        }
        rooms.insert(want.name.clone(), json);
        match sent_now.membership {
            Membership::Left | Membership::Banned => _ = next.rooms.remove(&id),
            _ => _ = next.rooms.insert(id, sent_now),
        }
    }
    let mut body = Map::new();
    let mut news = !rooms.is_empty();
    body.insert("lists", lists);
    body.insert("rooms", Json::Object(rooms));
    let seq = changes.stamp.seq;
    let (extensions, more) = extensions::all(ctx, ask, &next, &mut changes, &fresh).await?;
    news |= more;
    body.insert("extensions", Json::Object(extensions));
    Ok(Made { body, told: next, news, seq })
}

/// How many rooms a list has.
fn counted(count: usize) -> Json {
    object! { "count" => count }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_connection_goes_on_from_the_answer_that_came() {
        let (mut all, name) = (Connections::default(), Str::new("main"));
        assert!(all.at(&name, 1).is_none());
        all.open(&name);
        let told = |pos| Told { stamp: Some(Stamp { seq: pos, ..Stamp::default() }), ..Told::default() };
        let seq = |told: Option<Told>| told.and_then(|t| t.stamp).map(|s| s.seq);
        let one = all.give(&name, told(1));
        assert_eq!(seq(all.at(&name, one)), Some(1));
        let two = all.give(&name, told(2));
        // The answer was lost: the same again.
        assert_eq!(seq(all.at(&name, one)), Some(1));
        let again = all.give(&name, told(3));
        assert!(all.at(&name, two).is_none());
        assert_eq!(seq(all.at(&name, again)), Some(3));
        assert!(all.at(&name, one).is_none());
        all.open(&name);
        assert!(all.at(&name, again).is_none());
        for n in 0..2 * CONNECTIONS {
            all.open(&Str::new(n.to_string()));
        }
        assert_eq!(all.all.len(), CONNECTIONS);
    }
}
