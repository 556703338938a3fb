//! What clients keep on the server: account data, tags, filters (client-server API, "Client Config", "Room Tagging",
//! "Filtering").

use super::login::account;
use crate::json::Json;
use crate::matrix::error::Error;
use crate::matrix::filter::Filter;
use crate::matrix::ids;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use data_encoding::BASE64URL_NOPAD;
use lavina_core::command::{Act, Audience, EntityId};
use lavina_core::ids::RoomId;
use lavina_core::text::{Octets, Str};
use sha2::{Digest, Sha256};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/user/{user}/account_data/{type}" Must get),
    route!(Put "/_matrix/client/v3/user/{user}/account_data/{type}" Must put),
    route!(Delete "/_matrix/client/unstable/org.matrix.msc3391/user/{user}/account_data/{type}" Must delete),
    route!(Get "/_matrix/client/v3/user/{user}/rooms/{room}/account_data/{type}" Must get_of_room),
    route!(Put "/_matrix/client/v3/user/{user}/rooms/{room}/account_data/{type}" Must put_of_room),
    route!(Delete "/_matrix/client/unstable/org.matrix.msc3391/user/{user}/rooms/{room}/account_data/{type}" Must delete_of_room),
    route!(Get "/_matrix/client/v3/user/{user}/rooms/{room}/tags" Must tags),
    route!(Put "/_matrix/client/v3/user/{user}/rooms/{room}/tags/{tag}" Must tag),
    route!(Delete "/_matrix/client/v3/user/{user}/rooms/{room}/tags/{tag}" Must untag),
    route!(Post "/_matrix/client/v3/user/{user}/filter" Must filter),
    route!(Get "/_matrix/client/v3/user/{user}/filter/{filter}" Must get_filter),
];

/// What the names of account data begin with among the account's values: the type follows, and for a room's `/` and
/// the room's id.
pub const DATA: &str = "m.data/";

/// What the names of filters begin with; the filter's id follows.
pub const FILTER: &str = "m.filter/";

/// The type of a room's tags.
pub const TAGS: &str = "m.tag";

/// The type that is set by read markers only.
const FULLY_READ: &str = "m.fully_read";

/// The type that shows push rules.
const PUSH_RULES: &str = "m.push_rules";

/// Whom one does not want to hear.
const IGNORED: &str = "m.ignored_user_list";

/// The name of a value of account data.
pub fn key(kind: &str, room: Option<&str>) -> Str {
    match room {
        None => Str::new(format!("{DATA}{kind}")),
        Some(room) => Str::new(format!("{DATA}{kind}/{room}")),
    }
}

/// The type, and the room's id, of a value of account data by its name.
pub fn parts(key: &str) -> Option<(&str, Option<&str>)> {
    let rest = key.strip_prefix(DATA)?;
    Some(match rest.rfind("/!") {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    })
}

async fn get(ctx: Ctx, request: Request) -> Answer {
    own(&ctx, request.arg(0))?;
    if request.arg(1) == PUSH_RULES {
        let rules = super::pushrules::rules(&ctx).await?;
        return Ok(Response::ok(&object! { "global" => rules.to_json() }));
    }
    read(&ctx, &key(request.arg(1), None)).await
}

async fn get_of_room(ctx: Ctx, request: Request) -> Answer {
    own(&ctx, request.arg(0))?;
    room(&ctx, request.arg(1)).await?;
    read(&ctx, &key(request.arg(2), Some(request.arg(1)))).await
}

async fn read(ctx: &Ctx, key: &Str) -> Answer {
    let account = account(ctx).await?;
    let value = account.attrs.get(key).and_then(|value| Json::parse(value).ok());
    value.map(|v| Response::ok(&v)).ok_or_else(|| Error::not_found("nothing was set here"))
}

async fn put(ctx: Ctx, request: Request) -> Answer {
    own(&ctx, request.arg(0))?;
    writable(request.arg(1))?;
    let body = request.json()?;
    if request.arg(1) == IGNORED {
        ignore(&ctx, &body).await?;
    }
    set(&ctx, key(request.arg(1), None), &body).await
}

async fn put_of_room(ctx: Ctx, request: Request) -> Answer {
    own(&ctx, request.arg(0))?;
    room(&ctx, request.arg(1)).await?;
    writable(request.arg(2))?;
    set(&ctx, key(request.arg(2), Some(request.arg(1))), &request.json()?).await
}

/// Removes a value (MSC3391); devices are told of an empty one. Of one that is not there too, as said there.
async fn delete(ctx: Ctx, request: Request) -> Answer {
    own(&ctx, request.arg(0))?;
    writable(request.arg(1))?;
    if request.arg(1) == IGNORED {
        ignore(&ctx, &object! { "ignored_users" => Json::object() }).await?;
    }
    store(&ctx, key(request.arg(1), None), Octets::default()).await
}

async fn delete_of_room(ctx: Ctx, request: Request) -> Answer {
    own(&ctx, request.arg(0))?;
    room(&ctx, request.arg(1)).await?;
    writable(request.arg(2))?;
    store(&ctx, key(request.arg(2), Some(request.arg(1))), Octets::default()).await
}

fn writable(kind: &str) -> Result<(), Error> {
    match kind {
        FULLY_READ | PUSH_RULES => Err(Error::new(
            405,
            "M_BAD_JSON",
            format!("{kind} is not set this way, but by endpoints of its own"),
        )),
        _ => Ok(()),
    }
}

/// Stores a value, and tells the account's devices.
async fn set(ctx: &Ctx, key: Str, value: &Json) -> Answer {
    store(ctx, key, Octets::from(value.to_bytes())).await
}

/// The same with the value as it is kept; an empty one is removed.
async fn store(ctx: &Ctx, key: Str, value: Octets) -> Answer {
    let values = vec![(key, value)];
    ctx.act(EntityId::Account(ctx.user()?.id), Act::SetAttrs { values, tell: Audience::Own, native: None })
        .await?;
    Ok(Response::done())
}

/// Ignoring somebody hides him on every protocol. People of other servers are ignored by their ids.
async fn ignore(ctx: &Ctx, body: &Json) -> Result<(), Error> {
    let users = body.get("ignored_users").and_then(Json::as_object);
    let users = users.ok_or_else(|| Error::bad_json("ignored_users must be an object"))?;
    let address = |id: &str| match ids::who(id, ctx.domain()) {
        Some(ids::Who::Local(name)) => Some(Str::new(name.folded())),
        Some(_) => Some(Str::new(id)),
        None => None,
    };
    let add = users.iter().filter_map(|(id, _)| address(id)).collect();
    let act = Act::SetBlocked { add, remove: Vec::new(), all: true };
    ctx.act(EntityId::Account(ctx.user()?.id), act).await?;
    Ok(())
}

async fn tags(ctx: Ctx, request: Request) -> Answer {
    own(&ctx, request.arg(0))?;
    let tags = read_tags(&ctx, request.arg(1)).await?;
    Ok(Response::ok(&object! { "tags" => tags }))
}

async fn tag(ctx: Ctx, request: Request) -> Answer {
    own(&ctx, request.arg(0))?;
    room(&ctx, request.arg(1)).await?;
    let body = request.json()?;
    let order = body.get("order");
    let fits = |n: f64| (0.0..=1.0).contains(&n);
    let good = match order {
        None => true,
        Some(Json::Int(n)) => *n == 0 || *n == 1,
        Some(Json::Float(n)) => fits(*n),
        Some(_) => false,
    };
    if !good {
        return Err(Error::invalid_param("order must be a number from 0 to 1"));
    }
    let mut tags = read_tags(&ctx, request.arg(1)).await?;
    tags.set(request.arg(2), body);
    set(&ctx, key(TAGS, Some(request.arg(1))), &object! { "tags" => tags }).await
}

async fn untag(ctx: Ctx, request: Request) -> Answer {
    own(&ctx, request.arg(0))?;
    room(&ctx, request.arg(1)).await?;
    let mut tags = read_tags(&ctx, request.arg(1)).await?;
    tags.take(request.arg(2));
    set(&ctx, key(TAGS, Some(request.arg(1))), &object! { "tags" => tags }).await
}

async fn read_tags(ctx: &Ctx, room: &str) -> Result<Json, Error> {
    let account = account(ctx).await?;
    let value = account.attrs.get(&key(TAGS, Some(room))).and_then(|v| Json::parse(v).ok());
    Ok(value
        .and_then(|mut v| v.take("tags"))
        .filter(|t| t.as_object().is_some())
        .unwrap_or_else(Json::object))
}

async fn filter(ctx: Ctx, request: Request) -> Answer {
    own(&ctx, request.arg(0))?;
    let body = request.json()?;
    Filter::parse(&body).map_err(|why| Error::bad_json(why.to_string()))?;
    let bytes = body.to_bytes();
    // The same filter gets the same id, so clients that upload theirs at each start leave one.
    let id = BASE64URL_NOPAD.encode(&Sha256::digest(&bytes)[..9]);
    let key = Str::new(format!("{FILTER}{id}"));
    if !account(&ctx).await?.attrs.contains_key(&key) {
        let values = vec![(key, Octets::from(bytes))];
        let act = Act::SetAttrs { values, tell: Audience::Nobody, native: None };
        ctx.act(EntityId::Account(ctx.user()?.id), act).await?;
    }
    Ok(Response::ok(&object! { "filter_id" => id }))
}

async fn get_filter(ctx: Ctx, request: Request) -> Answer {
    own(&ctx, request.arg(0))?;
    read(&ctx, &Str::new(format!("{FILTER}{}", request.arg(1)))).await
}

/// Only one's own.
fn own(ctx: &Ctx, user: &str) -> Result<(), Error> {
    match ids::user_id(ctx.user()?, ctx.domain()) == user {
        true => Ok(()),
        false => Err(Error::forbidden("that is another user's")),
    }
}

/// The room of an id.
async fn room(ctx: &Ctx, id: &str) -> Result<RoomId, Error> {
    let room = crate::matrix::rooms::room_ref(ctx, id).await?;
    room.ok_or_else(|| Error::invalid_param("that is no room id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_account_data_tell_rooms_apart() {
        for (kind, room) in
            [("m.direct", None), ("a/b", None), ("m.tag", Some("!abc")), ("x/y", Some("!abc"))]
        {
            assert_eq!(parts(&key(kind, room)), Some((kind, room)));
        }
    }
}
