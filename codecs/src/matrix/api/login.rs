//! Logging in and out (client-server API, "Login", "Refreshing access tokens").

use crate::job::{Done, Job};
use crate::json::Json;
use crate::matrix::device::{DeviceRow, Pair, SEEN};
use crate::matrix::error::Error;
use crate::matrix::ids;
use crate::matrix::rate;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx, Who};
use crate::matrix::token::{DEVICE_MAX, Kind, Token};
use crate::object;
use crate::sasl::{ChannelBindings, Credential, Mechanism, Sasl, Setup, Step};
use data_encoding::BASE32_NOPAD;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience, Command, EntityId};
use lavina_core::ids::Pos;
use lavina_core::name::{User, UserName};
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};
use smol_str::SmolStr;
use std::sync::Arc;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/login" No flows),
    route!(Post "/_matrix/client/v3/login" No login),
    route!(Post "/_matrix/client/v3/refresh" No refresh),
    route!(Post "/_matrix/client/v3/logout" Must logout),
    route!(Post "/_matrix/client/v3/logout/all" Must logout_all),
];

/// Milliseconds that an access token holds which comes with a refresh token.
pub const TOKEN_TIME: u64 = 3_600_000;

/// Most devices of an account; a login beyond them is refused.
pub const DEVICES: usize = 200;

async fn flows(_: Ctx, _: Request) -> Answer {
    Ok(Response::ok(&object! { "flows" => [object! { "type" => "m.login.password" }] }))
}

async fn login(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let kind = body.str_of("type").ok_or_else(|| Error::missing_param("type is missing"))?;
    if kind != "m.login.password" {
        return Err(Error::unknown(format!("{kind} is not offered; m.login.password is")));
    }
    let said = login_id(&body)?;
    let password =
        body.str_of("password").ok_or_else(|| Error::missing_param("password is missing"))?.to_owned();
    if let Some(peer) = rate::whose(request.peer) {
        let name = said.as_deref().and_then(|said| ids::login_name(said, ctx.domain()));
        let name = name.as_ref().map_or("", |n| n.as_str());
        ctx.spend(rate::What::Password, Str::new(format!("{peer} {name}"))).await?;
    }
    let account = check_password(&ctx, said.as_deref(), &password).await?;
    let account = account.ok_or_else(|| Error::forbidden("wrong user name or password"))?;
    let user = account.user().ok_or_else(|| Error::forbidden("wrong user name or password"))?;
    log_in(&ctx, &account, &user, &body).await
}

/// Whom the client means, in the new form or in the old one. `None`: nobody of ours can be called so.
fn login_id(body: &Json) -> Result<Option<String>, Error> {
    let user = match body.get("identifier") {
        Some(identifier) => match identifier.str_of("type") {
            Some("m.id.user") => {
                identifier.str_of("user").ok_or_else(|| Error::missing_param("identifier.user is missing"))?
            }
            Some(_) => return Err(Error::forbidden("only user names identify people here")),
            None => return Err(Error::missing_param("identifier.type is missing")),
        },
        None => body.str_of("user").ok_or_else(|| Error::missing_param("identifier is missing"))?,
    };
    Ok(Some(user.to_owned()))
}

/// The account of that name, if this is its password. Takes as long for a name that nobody has.
///
/// # Errors
/// Only where the server cannot tell; a wrong name or password gives `None`.
pub async fn check_password(
    ctx: &Ctx,
    name: Option<&str>,
    password: &str,
) -> Result<Option<Arc<Account>>, Error> {
    let settings = ctx.settings();
    let name = name.and_then(|said| ids::login_name(said, &settings.core.domain));
    let mut setup = Setup {
        domain: SmolStr::new(&*settings.core.domain),
        channel: ChannelBindings::default(),
        nonce: Default::default(),
        secret: settings.core.secret,
        iterations: settings.iterations,
    };
    setup.nonce = ctx.random().await;
    let shown = name.as_ref().map_or("-", |n| n.as_str());
    let message = [b"\0", shown.as_bytes(), b"\0", password.as_bytes()].concat();
    let (mut sasl, step) = Sasl::start(Mechanism::Plain, Some(&message), setup);
    let Step::NeedCredential(_) = step else { return Ok(None) };
    let account = match name {
        Some(name) => find(ctx, &name).await?,
        None => None,
    };
    let head = account.as_ref().and_then(|a| a.head.as_ref()).filter(|h| !h.disabled);
    let credential = head.and_then(|h| Credential::decode(&h.credential).ok());
    let Step::NeedDerive(derivation) = sasl.credential(credential.as_ref()) else { return Ok(None) };
    match ctx.job(Job::Derive(derivation)).await {
        Some(Done::Keys(keys)) => match sasl.derived(&keys) {
            Step::Success { .. } => Ok(account),
            _ => Ok(None),
        },
        _ => Err(Refusal::Busy.into()),
    }
}

/// The account of that name.
///
/// # Errors
/// Only where the server cannot tell.
pub async fn find(ctx: &Ctx, name: &UserName) -> Result<Option<Arc<Account>>, Error> {
    match ctx.query(Query::AccountNamed(name.clone())).await {
        Ok(Value::Account(account)) => Ok(Some(account)),
        Ok(_) | Err(Refusal::NoSuchUser) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// Makes a device, or new tokens for one that is there (whose old ones end), as `/login` and `/register` do. The body
/// may have `device_id`, `initial_device_display_name` and `refresh_token`.
///
/// # Errors
/// A device id that is none, or too many devices.
pub async fn log_in(ctx: &Ctx, account: &Account, user: &User, body: &Json) -> Answer {
    let device = match body.str_of("device_id") {
        Some(id) if id.is_empty() || id.len() > DEVICE_MAX || id.contains('/') => {
            return Err(Error::invalid_param("device_id must have 1 to 255 bytes and no slash"));
        }
        Some(id) => Str::new(id),
        None => Str::new(BASE32_NOPAD.encode(&ctx.random::<6>().await).trim_end_matches('=')),
    };
    let old = DeviceRow::find(account, &device);
    if old.is_none() && DeviceRow::all(account).count() >= DEVICES {
        return Err(Error::forbidden("this account has too many devices; log some of them out"));
    }
    let wants_refresh = body.get("refresh_token").and_then(Json::as_bool) == Some(true);
    let (pair, access, refresh) = new_tokens(ctx, user, &device, wants_refresh).await;
    let now = ctx.now().wall;
    let name = body.str_of("initial_device_display_name").map(Str::new);
    let row = DeviceRow {
        name: old.as_ref().and_then(|o| o.name.clone()).or(name),
        tokens: pair.clone(),
        next: None,
        created: old.as_ref().map_or(now, |o| o.created),
        seen: now,
    };
    let who = Who { user: user.clone(), device: device.clone() };
    ctx.command(row.command(&who)).await?;
    if old.is_none() {
        super::keys::tell_changed(ctx, user).await?;
    }
    let mut answer = object! {
        "user_id" => ids::user_id(user, ctx.domain()),
        "access_token" => access,
        "device_id" => device,
        "home_server" => ctx.domain(),
    };
    if let Some(refresh) = refresh {
        answer.set("refresh_token", refresh);
        answer.set("expires_in_ms", TOKEN_TIME);
    }
    Ok(Response::ok(&answer))
}

/// New tokens: what is stored of them, the access token, and the refresh token if one is wanted.
async fn new_tokens(ctx: &Ctx, user: &User, device: &Str, refresh: bool) -> (Pair, String, Option<String>) {
    let access = Token::new(Kind::Access, user.id, device.clone(), ctx.random().await);
    let second = Token::new(Kind::Refresh, user.id, device.clone(), ctx.random().await);
    let refresh = refresh.then_some(second);
    let pair = Pair {
        access: access.hash(),
        until: refresh.as_ref().map(|_| lavina_core::time::UnixMillis(ctx.now().wall.0 + TOKEN_TIME)),
        refresh: refresh.as_ref().map(Token::hash),
    };
    (pair, access.text(), refresh.map(|t| t.text()))
}

async fn refresh(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let said =
        body.str_of("refresh_token").ok_or_else(|| Error::missing_param("refresh_token is missing"))?;
    let token = Token::parse(said).filter(|t| t.kind == Kind::Refresh);
    let token = token.ok_or_else(|| Error::unknown_token(false))?;
    let account = match ctx.query(Query::Account(token.account)).await {
        Ok(Value::Account(account)) => account,
        Ok(_) | Err(Refusal::NoSuchUser) => return Err(Error::unknown_token(false)),
        Err(why) => return Err(why.into()),
    };
    let row = DeviceRow::find(&account, &token.device);
    let (Some(mut row), Some(user)) = (row, account.user()) else { return Err(Error::unknown_token(false)) };
    let is = |pair: &Pair| pair.refresh.as_ref().is_some_and(|hash| token.is(hash));
    // Using the tokens of an answer says that it came; until then the one before asks again.
    if row.next.as_ref().is_some_and(is) {
        row.promote();
    } else if !is(&row.tokens) {
        return Err(Error::unknown_token(false));
    }
    let (pair, access, refresh) = new_tokens(&ctx, &user, &token.device, true).await;
    row.next = Some(pair);
    let who = Who { user, device: token.device.clone() };
    ctx.command(row.command(&who)).await?;
    Ok(Response::ok(&object! {
        "access_token" => access,
        "refresh_token" => refresh.unwrap_or_default(),
        "expires_in_ms" => TOKEN_TIME,
    }))
}

async fn logout(ctx: Ctx, _: Request) -> Answer {
    let who = ctx.who()?.clone();
    remove_devices(&ctx, &who.user, vec![who.device]).await?;
    Ok(Response::done())
}

async fn logout_all(ctx: Ctx, _: Request) -> Answer {
    let user = ctx.user()?.clone();
    let account = account(&ctx).await?;
    let devices = DeviceRow::all(&account).map(|(device, _)| Str::new(device)).collect();
    remove_devices(&ctx, &user, devices).await?;
    Ok(Response::done())
}

/// The account of whoever asks.
///
/// # Errors
/// Where the store does not answer.
pub async fn account(ctx: &Ctx) -> Result<Arc<Account>, Error> {
    match ctx.query(Query::Account(ctx.user()?.id)).await? {
        Value::Account(account) => Ok(account),
        _ => Err(Error::unknown_token(false)),
    }
}

/// Devices go, with all that is kept under their names: everything in the account whose name ends with the device's.
///
/// # Errors
/// Where the store does not answer.
pub async fn remove_devices(ctx: &Ctx, user: &User, devices: Vec<Str>) -> Result<(), Error> {
    let account = match ctx.query(Query::Account(user.id)).await? {
        Value::Account(account) => account,
        _ => return Ok(()),
    };
    let there = devices.iter().any(|device| account.attrs.contains_key(&DeviceRow::key(device)));
    let mut values = Vec::new();
    for device in &devices {
        values.push((DeviceRow::key(device), Octets::default()));
        let parts = account.attrs.keys().filter(|key| belongs(key, device));
        values.extend(parts.map(|key| (key.clone(), Octets::default())));
    }
    let to = EntityId::Account(user.id);
    for device in devices {
        let label = crate::matrix::agent::label(&device);
        ctx.command(Command::by(user, to.clone(), Act::Collect { label, upto: Pos::MAX })).await?;
    }
    let act = Act::SetAttrs { values, tell: Audience::Own, native: None };
    if there {
        super::keys::tell_changed(ctx, user).await?;
    }
    ctx.command(Command::by(user, to, act)).await?;
    Ok(())
}

/// Whether a named value is a device's: `m.KIND/DEVICE` or `m.KIND/DEVICE/…`, for the kinds that devices have.
fn belongs(key: &str, device: &str) -> bool {
    if key.strip_prefix(SETTINGS).is_some_and(|of| of == device) {
        return true;
    }
    DEVICE_VALUES.iter().any(|kind| {
        let rest = key.strip_prefix(kind).and_then(|rest| rest.strip_prefix(device));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// What the name of the account data begins with in which a client keeps how a device notifies (MSC3890); its id follows.
const SETTINGS: &str = "m.data/org.matrix.msc3890.local_notification_settings.";

/// What the names of values begin with that belong to a device, whose name follows.
pub const DEVICE_VALUES: &[&str] = &["m.keys/", "m.otk/", "m.fallback/", "m.pusher/", SEEN];
