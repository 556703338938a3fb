//! A room at a glance (client-server API, `GET /rooms/{roomId}/initialSync`, deprecated). Element asks for it before it
//! offers to join a room by its address, and waits for ever for an answer that is neither this nor `M_FORBIDDEN`.

use super::messages::limit;
use super::paging::{Want, end, page};
use crate::json::Json;
use crate::matrix::device::stamp::Place;
use crate::matrix::filter::RoomEventFilter;
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms::{self, Seen};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::ids::Pos;
use lavina_core::policy::Membership;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[route!(Get "/_matrix/client/v3/rooms/{room}/initialSync" Must glance)];

/// Events where the client names no number.
const LIMIT: usize = 20;

async fn glance(ctx: Ctx, request: Request) -> Answer {
    let limit = limit(&request, LIMIT)?;
    let Seen { view, state, last } = rooms::seen(&ctx, request.arg(0)).await?;
    let from = if last == Pos::MAX { end() } else { Place::after(last) };
    let filter = RoomEventFilter::default();
    let want =
        Want { room: view.id, from, to: None, back: true, limit, filter: &filter, view: Some(view.clone()) };
    let found = page(&ctx, want).await?;
    let behind = found.shown.last().map_or(found.next, |shown| Place::after(shown.place.pos));
    let messages = object! {
        "start" => found.next.text(),
        "end" => behind.text(),
        "chunk" => Json::Array(found.shown.into_iter().map(|shown| shown.json).collect()),
    };
    let none: Vec<Json> = Vec::new();
    let mut out = object! {
        "room_id" => rooms::name_of_view(&ctx, &view),
        "messages" => messages,
        "state" => rooms::state_events(&ctx, &view, state.values()),
        "visibility" => if view.policy().secret { "private" } else { "public" },
        "account_data" => none,
    };
    let word = match rooms::membership(&view, ctx.user()?) {
        Membership::Joined => Some("join"),
        Membership::Invited => Some("invite"),
        Membership::Banned => Some("ban"),
        _ if view.members.contains_key(&ctx.user()?.id) => Some("leave"),
        _ => None,
    };
    if let Some(word) = word {
        out.set("membership", word);
    }
    Ok(Response::ok(&out))
}
