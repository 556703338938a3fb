//! Saying to a third party who one is (client-server API, "OpenID"; server-server API, "OpenID").
//!
//! Nothing is kept: the token says whose it is and until when, and only this server can have made it. It opens nothing
//! but the answer to that question.

use super::auth::{is_session, session};
use crate::matrix::error::Error;
use crate::matrix::ids;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::ids::AccountId;
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;

/// The endpoints of this part. The second is one of servers, which whoever has a token may ask.
pub const ROUTES: &[Route] = &[
    route!(Post "/_matrix/client/v3/user/{user}/openid/request_token" Must request_token),
    route!(Get "/_matrix/federation/v1/openid/userinfo" No userinfo),
];

/// Seconds that a token is good for.
pub const TOKEN_TIME: u64 = 3_600;

/// What tokens begin with.
const PREFIX: &str = "lvo_";

fn purpose(account: AccountId) -> String {
    format!("openid {:016x}", account.0)
}

async fn request_token(ctx: Ctx, request: Request) -> Answer {
    request.json()?;
    let user = ctx.user()?;
    if ids::user_id(user, ctx.domain()) != request.arg(0) {
        return Err(Error::forbidden("that is another user"));
    }
    let until = ctx.now().wall.0 + TOKEN_TIME * 1_000;
    let proof = session(&ctx.settings().core.secret, &purpose(user.id), until);
    Ok(Response::ok(&object! {
        "access_token" => format!("{PREFIX}{:016x}_{proof}", user.id.0),
        "token_type" => "Bearer",
        "matrix_server_name" => ctx.domain(),
        "expires_in" => TOKEN_TIME,
    }))
}

async fn userinfo(ctx: Ctx, request: Request) -> Answer {
    let token = request.param("access_token").ok_or_else(Error::missing_token)?;
    let unknown = || Error::unknown_token(false);
    let (account, proof) = token.strip_prefix(PREFIX).and_then(|t| t.split_once('_')).ok_or_else(unknown)?;
    let account = u64::from_str_radix(account, 16).map(AccountId).map_err(|_| unknown())?;
    if !is_session(&ctx.settings().core.secret, &purpose(account), proof, ctx.now().wall.0) {
        return Err(unknown());
    }
    let account = match ctx.query(Query::Account(account)).await {
        Ok(Value::Account(account)) => account,
        Ok(_) | Err(Refusal::NoSuchUser) => return Err(unknown()),
        Err(why) => return Err(why.into()),
    };
    let user = account.user().ok_or_else(unknown)?;
    Ok(Response::ok(&object! { "sub" => ids::user_id(&user, ctx.domain()) }))
}
