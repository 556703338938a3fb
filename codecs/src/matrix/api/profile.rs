//! Profiles: display name, picture, and fields of people's own (client-server API, "Profiles"; fields: v1.16).
//!
//! A field is a value of the account. Name and picture are shown in each room the person is in, so they go there too.

use super::login::{account, find};
use crate::json::Json;
use crate::matrix::error::Error;
use crate::matrix::ids;
use crate::matrix::member;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience, EntityId};
use lavina_core::event::Native;
use lavina_core::policy::Membership;
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/profile/{user}" May get),
    route!(Get "/_matrix/client/v3/profile/{user}/{field}" May get_field),
    route!(Put "/_matrix/client/v3/profile/{user}/{field}" Must put),
    route!(Delete "/_matrix/client/v3/profile/{user}/{field}" Must delete),
];

/// What the names of values begin with that hold fields of the profile; the field's name follows.
pub const FIELD: &str = "m.profile/";

/// The field of the display name.
pub const DISPLAYNAME: &str = "displayname";

/// The field of the picture.
pub const AVATAR: &str = "avatar_url";

/// Bytes of a whole profile as JSON; above: 400 `M_PROFILE_TOO_LARGE`.
pub const PROFILE_MAX: usize = 64 * 1024;

/// Bytes of a field's name; above: 400 `M_KEY_TOO_LARGE`.
const NAME_MAX: usize = 255;

/// Bytes of a display name or of a picture's address; above: 400.
const SHORT_MAX: usize = 1_000;

/// The fields of an account's profile. Who never set a name is called as he spells his account's.
pub fn fields(account: &Account) -> Json {
    let mut all = Json::object();
    if let Some(head) = &account.head {
        all.set(DISPLAYNAME, head.name.as_str());
    }
    for (key, value) in account.attrs.range(Str::new(FIELD)..).take_while(|(key, _)| key.starts_with(FIELD)) {
        if let Ok(value) = Json::parse(value) {
            all.set(&key[FIELD.len()..], value);
        }
    }
    all
}

/// What a member event shows of somebody.
pub fn content(account: &Account) -> Json {
    let all = fields(account);
    let mut content = Json::object();
    for name in [DISPLAYNAME, AVATAR] {
        if let Some(value) = all.get(name).filter(|v| v.as_str().is_some_and(|s| !s.is_empty())) {
            content.set(name, value.clone());
        }
    }
    content
}

/// How somebody shows himself in a room: display name and, in Matrix's form, everything.
pub fn shown(account: &Account) -> (Option<Str>, Option<Native>) {
    let content = content(account);
    (member::display(&content), member::native(&content))
}

async fn get(ctx: Ctx, request: Request) -> Answer {
    Ok(Response::ok(&profile(&ctx, request.arg(0)).await?))
}

async fn get_field(ctx: Ctx, request: Request) -> Answer {
    let mut all = profile(&ctx, request.arg(0)).await?;
    let value = all.take(request.arg(1));
    let value = match value {
        Some(value) => value,
        // A name or picture that was never set is there, and empty.
        None if request.arg(1) == AVATAR => return Ok(Response::done()),
        None => return Err(Error::not_found("the profile has no such field")),
    };
    let mut only = Json::object();
    only.set(request.arg(1), value);
    Ok(Response::ok(&only))
}

async fn profile(ctx: &Ctx, user: &str) -> Result<Json, Error> {
    let nobody = || Error::not_found("there is no such user");
    let name = match ids::who(user, ctx.domain()) {
        Some(ids::Who::Local(name)) => name,
        Some(_) => return Err(nobody()),
        None => return Err(Error::invalid_param("that is no user id")),
    };
    let account = find(ctx, &name).await?.ok_or_else(nobody)?;
    Ok(fields(&account))
}

async fn put(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let field = request.arg(1);
    let value = match body.get(field).cloned() {
        Some(Json::Str(name)) if field == DISPLAYNAME => Some(Json::Str(Str::name(&name))),
        Some(Json::Null) if field == DISPLAYNAME || field == AVATAR => None,
        Some(value) => Some(value),
        None => return Err(Error::missing_param(format!("{field} is missing"))),
    };
    if matches!(field, DISPLAYNAME | AVATAR)
        && value.as_ref().is_some_and(|v| v.as_str().is_none_or(|s| s.len() > SHORT_MAX))
    {
        return Err(Error::invalid_param(format!("{field} must be a string of at most {SHORT_MAX} bytes")));
    }
    set(&ctx, &request, value).await
}

async fn delete(ctx: Ctx, request: Request) -> Answer {
    set(&ctx, &request, None).await
}

async fn set(ctx: &Ctx, request: &Request, value: Option<Json>) -> Answer {
    let user = ctx.user()?.clone();
    if ids::user_id(&user, ctx.domain()) != request.arg(0) {
        return Err(Error::forbidden("that is another user's profile"));
    }
    let field = request.arg(1);
    if field.is_empty() || field.len() > NAME_MAX {
        return Err(Error::new(400, "M_KEY_TOO_LARGE", "the field's name must have 1 to 255 bytes"));
    }
    // Common namespaced identifiers (appendices, "Common Namespaced Identifier Grammar").
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if !field.starts_with(|c: char| c.is_ascii_lowercase()) || !field.bytes().all(fine) {
        return Err(Error::invalid_param("a field's name has small letters, digits and . _ -"));
    }
    let before = account(ctx).await?;
    if let Some(value) = &value {
        value.check_canonical().map_err(|why| Error::bad_json(why.to_string()))?;
    }
    let mut all = fields(&before);
    match &value {
        Some(value) => all.set(field, value.clone()),
        None => _ = all.take(field),
    }
    if all.to_bytes().len() > PROFILE_MAX {
        return Err(Error::new(400, "M_PROFILE_TOO_LARGE", "the profile would be too large"));
    }
    let bytes = value.map(|v| Octets::from(v.to_bytes())).unwrap_or_default();
    let values = vec![(Str::new(format!("{FIELD}{field}")), bytes)];
    let act = Act::SetAttrs { values, tell: Audience::Own, native: None };
    ctx.act(EntityId::Account(user.id), act).await?;
    if matches!(field, DISPLAYNAME | AVATAR) {
        show(ctx).await?;
    }
    Ok(Response::done())
}

/// The person's rooms learn how he shows himself now.
async fn show(ctx: &Ctx) -> Result<(), Error> {
    let user = ctx.user()?.clone();
    let account = account(ctx).await?;
    let (display, native) = shown(&account);
    let Value::Memberships(rooms) = ctx.query(Query::Memberships(user.id)).await? else { return Ok(()) };
    for belonging in rooms.iter().filter(|b| b.member.standing.membership == Membership::Joined) {
        let act = Act::Show { display: display.clone(), native: native.clone() };
        match ctx.act(EntityId::Room(belonging.room), act).await {
            // A room that he left meanwhile, or a dialog, which shows people as their profiles are.
            Ok(_) | Err(Refusal::NotMember | Refusal::NoSuchRoom | Refusal::Forbidden) => {}
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}
