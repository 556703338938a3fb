//! Cross-signing (client-server API, "Cross-signing"): keys of people, and signatures.

use super::auth::{self, confirm};
use super::keys::{DEVICE_KEYS, tell_changed};
use super::login::{account, find};
use crate::json::Json;
use crate::matrix::error::Error;
use crate::matrix::ids;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience, EntityId};
use lavina_core::text::{Octets, Str};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Post "/_matrix/client/v3/keys/device_signing/upload" Must upload),
    // As matrix-js-sdk still calls it.
    route!(Post "/_matrix/client/unstable/keys/device_signing/upload" Must upload),
    route!(Post "/_matrix/client/v3/keys/signatures/upload" Must sign),
];

/// The account's values of the three keys.
pub const MASTER: &str = "m.cross/master";
/// Signs one's own devices.
pub const SELF_SIGNING: &str = "m.cross/self_signing";
/// Signs other people's master keys.
pub const USER_SIGNING: &str = "m.cross/user_signing";

/// What the names of values begin with that hold one's signatures of others' keys: user and key follow. Only whoever
/// signed sees them.
pub const SIGNED: &str = "m.sign/";

/// Signatures kept of others' keys; above: the new one fails.
const SIGNED_MAX: usize = 2_000;

/// A key of somebody, with the reader's own signature of it.
pub fn key_of(account: &Account, kind: &str, user: &str, reader: &Account) -> Option<Json> {
    let mut key = Json::parse(account.attrs.get(&Str::new(kind))?).ok()?;
    if account.id != reader.id
        && let Some(name) = key_name(&key)
        && let Some(own) = reader.attrs.get(&Str::new(format!("{SIGNED}{user}/{name}")))
        && let Ok(own) = Json::parse(own)
    {
        merge(&mut key, &own);
    }
    Some(key)
}

/// The public key itself: the one value under `keys`.
fn key_name(key: &Json) -> Option<String> {
    let (_, value) = key.get("keys")?.as_object()?.iter().next()?;
    value.as_str().map(str::to_owned)
}

/// Adds the signatures of one copy of a thing to another.
fn merge(into: &mut Json, from: &Json) {
    let Some(from) = from.get("signatures").and_then(Json::as_object) else { return };
    let mut all = into.take("signatures").filter(|s| s.as_object().is_some()).unwrap_or_else(Json::object);
    for (user, signatures) in from.iter() {
        let mut of_user = all.take(user).filter(|s| s.as_object().is_some()).unwrap_or_else(Json::object);
        for (key, signature) in signatures.as_object().into_iter().flat_map(|s| s.iter()) {
            of_user.set(key.clone(), signature.clone());
        }
        all.set(user.clone(), of_user);
    }
    into.set("signatures", all);
}

async fn upload(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let user = ctx.user()?.clone();
    let own = ids::user_id(&user, ctx.domain());
    let account = account(&ctx).await?;
    let kinds =
        [("master_key", MASTER), ("self_signing_key", SELF_SIGNING), ("user_signing_key", USER_SIGNING)];
    let mut values = Vec::new();
    let mut replaced = false;
    let mut asked = false;
    for (name, place) in kinds {
        let Some(key) = body.get(name).filter(|k| !k.is_null()) else { continue };
        asked = true;
        if key.str_of("user_id") != Some(&own) || key_name(key).is_none() {
            return Err(Error::invalid_param(format!("{name} is not a key of yours")));
        }
        let old = account.attrs.get(&Str::new(place)).and_then(|v| Json::parse(v).ok());
        if old.as_ref().is_some_and(|old| key_name(old) == key_name(key)) {
            continue;
        }
        replaced |= old.is_some();
        values.push((Str::new(place), Octets::from(key.to_bytes())));
    }
    let has_master = account.attrs.contains_key(&Str::new(MASTER)) || values.iter().any(|(k, _)| k == MASTER);
    // Who sends none asks only whether the first ones need a proof (MSC3967), as Element does.
    if asked && !has_master {
        return Err(Error::invalid_param("there is no master key"));
    }
    // The first keys need no proof, nor does sending the same ones again.
    if replaced {
        confirm(&ctx, &body, "cross-signing", &[auth::PASSWORD], Some(&user)).await?;
    }
    if !values.is_empty() {
        let act = Act::SetAttrs { values, tell: Audience::Own, native: None };
        ctx.act(EntityId::Account(user.id), act).await?;
        auth::done(&ctx, &body).await;
        tell_changed(&ctx, &user).await?;
    }
    Ok(Response::done())
}

async fn sign(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let user = ctx.user()?.clone();
    let own = ids::user_id(&user, ctx.domain());
    let account = account(&ctx).await?;
    let mut values: Vec<(Str, Octets)> = Vec::new();
    let mut failures = Json::object();
    for (id, things) in body.as_object().into_iter().flat_map(|m| m.iter()) {
        let mut of_user = Json::object();
        for (key, signed) in things.as_object().into_iter().flat_map(|m| m.iter()) {
            let put = match **id == *own {
                true => sign_own(&account, key, signed),
                false => sign_other(&ctx, &account, id, key, signed, &own).await?,
            };
            match put {
                Ok(value) => values.push(value),
                Err(error) => {
                    let why = object! { "errcode" => error.code, "error" => error.text };
                    of_user.set(key.clone(), why);
                }
            }
        }
        if of_user.as_object().is_some_and(|m| m.iter().next().is_some()) {
            failures.set(id.clone(), of_user);
        }
    }
    if !values.is_empty() {
        let own_changed = values.iter().any(|(key, _)| !key.starts_with(SIGNED));
        let act = Act::SetAttrs { values, tell: Audience::Own, native: None };
        ctx.act(EntityId::Account(user.id), act).await?;
        // Nobody else sees what was signed of others' keys.
        if own_changed {
            tell_changed(&ctx, &user).await?;
        }
    }
    Ok(Response::ok(&object! { "failures" => failures }))
}

/// Signatures of one's own device or master key are kept with it, for everybody to see.
fn sign_own(account: &Account, key: &str, signed: &Json) -> Result<(Str, Octets), Error> {
    let device = Str::new(format!("{DEVICE_KEYS}{key}"));
    let place = match account.attrs.contains_key(&device) {
        true => device,
        false => Str::new(MASTER),
    };
    let mut kept = account.attrs.get(&place).and_then(|v| Json::parse(v).ok());
    let fits =
        kept.as_ref().is_some_and(|k| place.starts_with(DEVICE_KEYS) || key_name(k).as_deref() == Some(key));
    let Some(kept) = kept.as_mut().filter(|_| fits) else {
        return Err(Error::not_found("there is no such device or key"));
    };
    if !same_content(kept, signed) {
        return Err(Error::invalid_param("what was signed is not what is there"));
    }
    merge(kept, signed);
    Ok((place, Octets::from(kept.to_bytes())))
}

/// Signatures of another's master key are kept with whoever signed.
async fn sign_other(
    ctx: &Ctx,
    account: &Account,
    id: &str,
    key: &str,
    signed: &Json,
    own: &str,
) -> Result<Result<(Str, Octets), Error>, Error> {
    let missing = || Err(Error::not_found("there is no such key"));
    let Some(ids::Who::Local(name)) = ids::who(id, ctx.domain()) else { return Ok(missing()) };
    let Some(other) = find(ctx, &name).await? else { return Ok(missing()) };
    let master = other.attrs.get(&Str::new(MASTER)).and_then(|v| Json::parse(v).ok());
    let Some(master) = master.filter(|m| key_name(m).as_deref() == Some(key)) else { return Ok(missing()) };
    if !same_content(&master, signed) {
        return Ok(Err(Error::invalid_param("what was signed is not what is there")));
    }
    let Some(signatures) = signed.at(&["signatures", own]) else {
        return Ok(Err(Error::invalid_param("there is no signature of yours")));
    };
    if account.attrs.keys().filter(|k| k.starts_with(SIGNED)).count() >= SIGNED_MAX {
        return Ok(Err(Error::invalid_param("too many signatures")));
    }
    let mut of_own = Json::object();
    of_own.set(own, signatures.clone());
    let kept = object! { "signatures" => of_own };
    Ok(Ok((Str::new(format!("{SIGNED}{id}/{key}")), Octets::from(kept.to_bytes()))))
}

/// Whether two copies differ in nothing but signatures and what is unsigned.
fn same_content(a: &Json, b: &Json) -> bool {
    let bare = |json: &Json| {
        let mut json = json.clone();
        json.take("signatures");
        json.take("unsigned");
        json
    };
    bare(a) == bare(b)
}
