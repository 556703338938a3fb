//! Accounts: making them, their password, their end (client-server API, "Account registration and management").

use super::auth::{self, Proof, confirm};
use super::login::{account, find, log_in, remove_devices};
use crate::account::{By, fresh_id, invite_key, register as register_command};
use crate::job::{Done, Job};
use crate::json::Json;
use crate::matrix::device::DeviceRow;
use crate::matrix::error::Error;
use crate::matrix::ids;
use crate::matrix::rate;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use crate::sasl::{Credential, Password};
use data_encoding::BASE32_NOPAD;
use lavina_core::command::{Act, EntityId};
use lavina_core::name::{BadName, UserName};
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Post "/_matrix/client/v3/register" No register),
    route!(Get "/_matrix/client/v3/register/available" No available),
    route!(Get "/_matrix/client/v1/register/m.login.registration_token/validity" No validity),
    route!(Post "/_matrix/client/v3/account/password" Must password),
    route!(Post "/_matrix/client/v3/account/deactivate" Must deactivate),
];

async fn register(ctx: Ctx, request: Request) -> Answer {
    if request.param("kind").is_some_and(|kind| kind == "guest") {
        return Err(Error::new(403, "M_GUEST_ACCESS_FORBIDDEN", "there are no guests here"));
    }
    if request.param("kind").is_some_and(|kind| kind != "user") {
        return Err(Error::invalid_param("kind must be user or guest"));
    }
    let body = request.json()?;
    if body.get("password").is_some_and(|password| !password.is_null() && password.as_str().is_none()) {
        return Err(Error::bad_json("password must be a string"));
    }
    let name = match body.get("username") {
        None | Some(Json::Null) => None,
        Some(Json::Str(name)) => Some(new_name(name)?),
        Some(_) => return Err(Error::bad_json("username must be a string")),
    };
    if let Some(name) = &name
        && find(&ctx, name).await?.is_some()
    {
        return Err(Error::user_in_use("the name is taken"));
    }
    let open = ctx.settings().core.open_registration;
    let stages: &[&'static str] = if open { &[auth::TOKEN, auth::DUMMY] } else { &[auth::TOKEN] };
    // Not bound to the name: clients ask what it takes with an empty request, before they ask for a name.
    let proof = confirm(&ctx, &body, "register", stages, None).await?;
    if let Some(peer) = rate::whose(request.peer) {
        ctx.spend(rate::What::Register, peer).await?;
    }
    let password = body.str_of("password").ok_or_else(|| Error::missing_param("password is missing"))?;
    let credential = new_credential(&ctx, password).await?;
    let name = match name {
        Some(name) => name,
        None => random_name(&ctx).await?,
    };
    let id = fresh_id(u64::from_be_bytes(ctx.random().await), ctx.settings().core.shards);
    let by = match &proof {
        Proof::Token(token) => By::Invite(token),
        Proof::Dummy | Proof::Password => By::Anybody,
    };
    let wrong_token =
        || Error::new(401, "M_UNAUTHORIZED", "the registration token is not, or no longer, good");
    let command = register_command(&name, id, &credential, by, ctx.now().wall).ok_or_else(wrong_token);
    let made = match command {
        Ok(command) => match ctx.command(command).await {
            Ok(Value::User(user)) => Ok(user),
            Ok(_) | Err(Refusal::BadInvite) => Err(wrong_token()),
            Err(Refusal::NameTaken) => return Err(Error::user_in_use("the name is taken")),
            Err(why) => return Err(why.into()),
        },
        Err(error) => Err(error),
    };
    let user = match made {
        Ok(user) => user,
        // The client may try again with another token.
        Err(error) => {
            auth::done(&ctx, &body).await;
            let blank = object! { "auth" => Json::Object(crate::json::Map::new()) };
            let again = confirm(&ctx, &blank, "register", stages, None).await.err();
            let again = again.unwrap_or_else(|| error.clone());
            return Err(Error { code: error.code, text: error.text, ..again });
        }
    };
    auth::done(&ctx, &body).await;
    if body.get("inhibit_login").and_then(Json::as_bool) == Some(true) {
        return Ok(Response::ok(&object! { "user_id" => ids::user_id(&user, ctx.domain()) }));
    }
    let Value::Account(account) = ctx.query(Query::Account(user.id)).await? else {
        return Err(Error::unavailable("the account is not there yet; log in"));
    };
    log_in(&ctx, &account, &user, &body).await
}

/// A name that a new account can have. Capital letters are how its owner spells it: ids have small ones.
fn new_name(said: &str) -> Result<UserName, Error> {
    let name = ids::unesc(said).unwrap_or_else(|| said.to_owned());
    match UserName::new_account(&name) {
        Ok(name) => Ok(name),
        Err(BadName::Reserved) => Err(Error::exclusive("the name is reserved")),
        Err(_) => Err(Error::invalid_username(
            "a name begins with a letter and goes on with letters, digits, - and _, 30 characters at most",
        )),
    }
}

async fn random_name(ctx: &Ctx) -> Result<UserName, Error> {
    let random = BASE32_NOPAD.encode(&ctx.random::<10>().await).to_ascii_lowercase();
    UserName::new_account(&format!("u{random}")).map_err(|_| Error::unavailable("no name could be found"))
}

/// The credential of a new password.
///
/// # Errors
/// A password that cannot be one, or too much work under way.
async fn new_credential(ctx: &Ctx, password: &str) -> Result<Credential, Error> {
    let password = Password::new(password)
        .map_err(|why| Error::new(400, "M_WEAK_PASSWORD", format!("the password cannot be used: {why}")))?;
    let (salt, iterations) = (ctx.random().await, ctx.settings().iterations);
    match ctx.job(Job::Credential { password, salt, iterations }).await {
        Some(Done::Credential(credential)) => Ok(credential),
        _ => Err(Refusal::Busy.into()),
    }
}

async fn available(ctx: Ctx, request: Request) -> Answer {
    let said = request.param("username").ok_or_else(|| Error::missing_param("username is missing"))?;
    let name = new_name(said)?;
    match find(&ctx, &name).await? {
        None => Ok(Response::ok(&object! { "available" => true })),
        Some(_) => Err(Error::user_in_use("the name is taken")),
    }
}

async fn validity(ctx: Ctx, request: Request) -> Answer {
    let token = request.param("token").ok_or_else(|| Error::missing_param("token is missing"))?;
    let valid = match invite_key(token) {
        Some(key) => ctx.query(Query::Resolve(key)).await.is_ok(),
        None => false,
    };
    Ok(Response::ok(&object! { "valid" => valid }))
}

async fn password(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let who = ctx.who()?.clone();
    let new = body.str_of("new_password").ok_or_else(|| Error::missing_param("new_password is missing"))?;
    confirm(&ctx, &body, "password", &[auth::PASSWORD], Some(&who.user)).await?;
    let credential = new_credential(&ctx, new).await?;
    let act = Act::SetCredential(Octets::from(credential.encode()));
    ctx.act(EntityId::Account(who.user.id), act).await?;
    auth::done(&ctx, &body).await;
    if body.get("logout_devices").and_then(Json::as_bool) != Some(false) {
        let account = account(&ctx).await?;
        let others =
            DeviceRow::all(&account).map(|(device, _)| Str::new(device)).filter(|d| *d != who.device);
        remove_devices(&ctx, &who.user, others.collect()).await?;
    }
    Ok(Response::done())
}

async fn deactivate(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let user = ctx.user()?.clone();
    confirm(&ctx, &body, "deactivate", &[auth::PASSWORD], Some(&user)).await?;
    ctx.act(EntityId::Account(user.id), Act::DeleteAccount).await?;
    Ok(Response::ok(&object! { "id_server_unbind_result" => "success" }))
}
