//! Push rules (client-server API, "Push Notifications"): reading and changing them.

use super::login::account;
use crate::json::Json;
use crate::matrix::error::Error;
use crate::matrix::ids;
use crate::matrix::push::{BadRule, Kind, Place, Ruleset};
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::command::{Act, Audience, EntityId};
use lavina_core::text::{Octets, Str};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/pushrules" Must all),
    route!(Get "/_matrix/client/v3/pushrules/{empty}" Must all),
    route!(Get "/_matrix/client/v3/pushrules/global/{empty}" Must global),
    route!(Get "/_matrix/client/v3/pushrules/global/{kind}/{rule}" Must get),
    route!(Put "/_matrix/client/v3/pushrules/global/{kind}/{rule}" Must put),
    route!(Delete "/_matrix/client/v3/pushrules/global/{kind}/{rule}" Must delete),
    route!(Get "/_matrix/client/v3/pushrules/global/{kind}/{rule}/enabled" Must enabled),
    route!(Put "/_matrix/client/v3/pushrules/global/{kind}/{rule}/enabled" Must set_enabled),
    route!(Get "/_matrix/client/v3/pushrules/global/{kind}/{rule}/actions" Must actions),
    route!(Put "/_matrix/client/v3/pushrules/global/{kind}/{rule}/actions" Must set_actions),
];

/// The account's value with what it changed of its rules.
pub const RULES: &str = "m.push_rules";

/// The rules of whoever asks.
///
/// # Errors
/// Where the store does not answer.
pub async fn rules(ctx: &Ctx) -> Result<Ruleset, Error> {
    let account = account(ctx).await?;
    let user = ids::user_id(ctx.user()?, ctx.domain());
    let stored = account.attrs.get(&Str::new(RULES)).and_then(|value| Json::parse(value).ok());
    let predefined = &ctx.settings().push_rules;
    Ok(match stored {
        Some(stored) => Ruleset::from_stored(predefined, &user, &stored),
        None => Ruleset::new(predefined, &user),
    })
}

async fn save(ctx: &Ctx, rules: &Ruleset) -> Answer {
    let values = vec![(Str::new(RULES), Octets::from(rules.to_stored().to_bytes()))];
    let act = Act::SetAttrs { values, tell: Audience::Own, native: None };
    ctx.act(EntityId::Account(ctx.user()?.id), act).await?;
    Ok(Response::done())
}

async fn all(ctx: Ctx, request: Request) -> Answer {
    match request.arg(0) {
        "" => Ok(Response::ok(&object! { "global" => rules(&ctx).await?.to_json() })),
        "global" => Ok(Response::ok(&rules(&ctx).await?.to_json())),
        _ => Err(Error::unrecognized("the only scope is global")),
    }
}

async fn global(ctx: Ctx, request: Request) -> Answer {
    let rules = rules(&ctx).await?.to_json();
    match request.arg(0) {
        "" => Ok(Response::ok(&rules)),
        kind => {
            let kind = kind_of(kind)?;
            Ok(Response::ok(rules.get(kind.name()).unwrap_or(&Json::Array(Vec::new()))))
        }
    }
}

async fn get(ctx: Ctx, request: Request) -> Answer {
    let (kind, rules) = (kind_of(request.arg(0))?, rules(&ctx).await?);
    // A trailing slash after the kind asks for all of it.
    if request.arg(1).is_empty() {
        return Ok(Response::ok(rules.to_json().get(kind.name()).unwrap_or(&Json::Array(Vec::new()))));
    }
    Ok(Response::ok(&rules.rule_json(kind, request.arg(1))?))
}

async fn put(ctx: Ctx, request: Request) -> Answer {
    let (kind, mut rules) = (kind_of(request.arg(0))?, rules(&ctx).await?);
    let place = Place { before: request.param("before"), after: request.param("after") };
    rules.put(kind, request.arg(1), &request.json()?, place)?;
    save(&ctx, &rules).await
}

async fn delete(ctx: Ctx, request: Request) -> Answer {
    let (kind, mut rules) = (kind_of(request.arg(0))?, rules(&ctx).await?);
    rules.delete(kind, request.arg(1))?;
    save(&ctx, &rules).await
}

async fn enabled(ctx: Ctx, request: Request) -> Answer {
    let (kind, rules) = (kind_of(request.arg(0))?, rules(&ctx).await?);
    let rule = rules.rule_json(kind, request.arg(1))?;
    Ok(Response::ok(&object! { "enabled" => rule.get("enabled").cloned().unwrap_or(Json::Bool(true)) }))
}

async fn set_enabled(ctx: Ctx, request: Request) -> Answer {
    let (kind, mut rules) = (kind_of(request.arg(0))?, rules(&ctx).await?);
    rules.set_enabled(kind, request.arg(1), &request.json()?)?;
    save(&ctx, &rules).await
}

async fn actions(ctx: Ctx, request: Request) -> Answer {
    let (kind, rules) = (kind_of(request.arg(0))?, rules(&ctx).await?);
    let rule = rules.rule_json(kind, request.arg(1))?;
    let none = || Json::Array(Vec::new());
    Ok(Response::ok(&object! { "actions" => rule.get("actions").cloned().unwrap_or_else(none) }))
}

async fn set_actions(ctx: Ctx, request: Request) -> Answer {
    let (kind, mut rules) = (kind_of(request.arg(0))?, rules(&ctx).await?);
    rules.set_actions(kind, request.arg(1), &request.json()?)?;
    save(&ctx, &rules).await
}

fn kind_of(name: &str) -> Result<Kind, Error> {
    Kind::named(name).ok_or_else(|| Error::unrecognized("there is no such kind of rule"))
}

impl From<BadRule> for Error {
    fn from(why: BadRule) -> Error {
        Error::new(why.status(), why.errcode(), why.to_string())
    }
}
