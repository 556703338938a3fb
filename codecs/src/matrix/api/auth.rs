//! User-interactive authentication (client-server API, "User-Interactive Authentication API"): one stage a flow.
//!
//! The session that a client names is a value that only this server can have made, and that is good for one purpose and
//! for a quarter of an hour. What was proved in it is remembered by who serves the client ([`Proved`]) until the request
//! has done what it was for: one that fails otherwise is made again without another proof.

use super::login::check_password;
use crate::json::Json;
use crate::matrix::error::Error;
use crate::matrix::ids;
use crate::matrix::rate::What;
use crate::matrix::task::Ctx;
use crate::object;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use lavina_core::name::User;
use lavina_core::text::Str;
use sha2::Sha256;
use std::collections::VecDeque;
use subtle::ConstantTimeEq;

/// Milliseconds that a session is good for.
pub const SESSION_TIME: u64 = 900_000;

/// The stage of a password.
pub const PASSWORD: &str = "m.login.password";

/// The stage that asks for nothing.
pub const DUMMY: &str = "m.login.dummy";

/// The stage of a registration token.
pub const TOKEN: &str = "m.login.registration_token";

/// Sessions of which it is remembered what was proved; above: the oldest is forgotten, and asked for again.
const PROVED: usize = 64;

/// What was proved in which session, the latest last.
#[derive(Default)]
pub struct Proved(VecDeque<(String, Proof)>);

impl Proved {
    fn put(&mut self, session: &str, proof: Proof) {
        self.forget(session);
        self.0.truncate(PROVED - 1);
        self.0.push_front((session.to_owned(), proof));
    }

    fn get(&self, session: &str) -> Option<Proof> {
        self.0.iter().find(|(s, _)| s == session).map(|(_, proof)| proof.clone())
    }

    fn forget(&mut self, session: &str) {
        self.0.retain(|(s, _)| s != session);
    }
}

/// The request of that body has done what it was for: what was proved for it counts no more.
pub async fn done(ctx: &Ctx, body: &Json) {
    if let Some(session) = body.at(&["auth", "session"]).and_then(Json::as_str).map(str::to_owned) {
        ctx.with(move |agent, _| agent.proved().forget(&session)).await;
    }
}

/// What was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The password.
    Password,
    /// Nothing was asked for.
    Dummy,
    /// A registration token, not looked at yet.
    Token(String),
}

/// Checks what the client says under `auth` for this purpose: one of the stages must be passed. Equal purposes are the
/// same request, made again.
///
/// # Errors
/// 401 with the flows and a session, until it is passed.
pub async fn confirm(
    ctx: &Ctx,
    body: &Json,
    purpose: &str,
    stages: &[&'static str],
    user: Option<&User>,
) -> Result<Proof, Error> {
    let now = ctx.now().wall.0;
    let key = ctx.settings().core.secret;
    let fresh = session(&key, purpose, now + SESSION_TIME);
    let Some(auth) = body.get("auth") else { return Err(ask(stages, &fresh, None)) };
    if auth.as_object().is_none() {
        return Err(Error::bad_json("auth must be an object"));
    }
    let said = auth.str_of("session");
    if said.is_some_and(|s| !is_session(&key, purpose, s, now)) {
        let why = Error::forbidden("the session is over, or was for something else");
        // Who is logged in and asks for another thing than at first is refused; who is not may begin anew.
        let again = user.is_none() || is_over(said.unwrap_or_default(), now);
        return Err(if again { ask(stages, &fresh, Some(why)) } else { why });
    }
    let session = said.unwrap_or(&fresh);
    let stage = auth.str_of("type").filter(|t| stages.contains(t));
    if let Some(session) = said.filter(|_| auth.get("type").is_none()).map(str::to_owned) {
        let before = ctx.with(move |agent, _| agent.proved().get(&session)).await;
        return before.ok_or_else(|| ask(stages, said.unwrap_or_default(), None));
    }
    let proof = prove(ctx, auth, stage, stages, session, user).await?;
    if let Some(session) = said.map(str::to_owned) {
        let kept = proof.clone();
        ctx.with(move |agent, _| agent.proved().put(&session, kept)).await;
    }
    Ok(proof)
}

/// One stage.
async fn prove(
    ctx: &Ctx,
    auth: &Json,
    stage: Option<&str>,
    stages: &[&'static str],
    session: &str,
    user: Option<&User>,
) -> Result<Proof, Error> {
    let fail = |why: Error| Err(ask(stages, session, Some(why)));
    match stage {
        // Who knows the flow beforehand need not ask for a session first.
        Some(DUMMY) => Ok(Proof::Dummy),
        Some(TOKEN) => match auth.str_of("token") {
            Some(token) => Ok(Proof::Token(token.to_owned())),
            None => fail(Error::missing_param("auth.token is missing")),
        },
        Some(PASSWORD) => {
            let identified =
                auth.at(&["identifier", "user"]).or_else(|| auth.get("user")).and_then(Json::as_str);
            let own = user.map(|u| u.name.clone());
            let name = identified.and_then(|said| ids::login_name(said, ctx.domain()));
            let (Some(own), Some(password)) = (own, auth.str_of("password")) else {
                return fail(Error::missing_param("auth.password is missing"));
            };
            if name.is_some_and(|name| name != own) {
                return Err(Error::forbidden("that is another user"));
            }
            ctx.spend(What::Confirm, Str::default()).await?;
            match check_password(ctx, Some(own.as_str()), password).await? {
                Some(_) => Ok(Proof::Password),
                None => fail(Error::forbidden("wrong password")),
            }
        }
        Some(_) => Err(ask(stages, session, None)),
        None if auth.get("type").is_none() => Err(ask(stages, session, None)),
        None => fail(Error::unknown("this stage is not among the flows")),
    }
}

/// The 401 that says what is asked for, and what was wrong with what was said: an `errcode` only if something was tried
/// ("User-Interactive API in the REST API"), since clients tell their user of a failure by it.
fn ask(stages: &[&'static str], session: &str, why: Option<Error>) -> Error {
    let flows: Vec<Json> = stages.iter().map(|stage| object! { "stages" => [*stage] }).collect();
    let (code, text) = why.map_or(("", String::new()), |e| (e.code, e.text));
    let none: Vec<Json> = Vec::new();
    Error::new(401, code, text)
        .with("flows", flows)
        .with("params", Json::object())
        .with("completed", none)
        .with("session", session)
}

/// A value that says that this server gave it for that purpose, until then (Unix milliseconds).
pub(super) fn session(key: &[u8; 32], purpose: &str, until: u64) -> String {
    let mut bytes = until.to_be_bytes().to_vec();
    bytes.extend_from_slice(&mac(key, purpose, until));
    BASE64URL_NOPAD.encode(&bytes)
}

/// Whether the time of a session is over, whatever it was for.
fn is_over(said: &str, now: u64) -> bool {
    let bytes = BASE64URL_NOPAD.decode(said.as_bytes()).unwrap_or_default();
    bytes.first_chunk::<8>().is_some_and(|until| u64::from_be_bytes(*until) <= now)
}

/// Whether this server gave that value for that purpose, and its time is not over.
pub(super) fn is_session(key: &[u8; 32], purpose: &str, said: &str, now: u64) -> bool {
    let Ok(bytes) = BASE64URL_NOPAD.decode(said.as_bytes()) else { return false };
    let Some((until, code)) = bytes.split_first_chunk::<8>() else { return false };
    let until = u64::from_be_bytes(*until);
    until > now && mac(key, purpose, until).ct_eq(code).into()
}

fn mac(key: &[u8; 32], purpose: &str, until: u64) -> [u8; 32] {
    // HMAC takes keys of any length.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) else { return [0; 32] };
    mac.update(b"lavina interactive auth 1\0");
    mac.update(&until.to_be_bytes());
    mac.update(purpose.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_for_one_purpose_and_for_a_time() {
        let key = [3; 32];
        let s = session(&key, "delete a", 1_000);
        assert!(is_session(&key, "delete a", &s, 999));
        assert!(!is_session(&key, "delete a", &s, 1_000));
        assert!(!is_session(&key, "delete b", &s, 1));
        assert!(!is_session(&[4; 32], "delete a", &s, 1));
        assert!(!is_session(&key, "delete a", &s[2..], 1));
        assert!(!is_session(&key, "delete a", "", 1));
    }

    #[test]
    fn what_was_proved_is_remembered_until_it_is_used() {
        let mut proved = Proved::default();
        proved.put("a", Proof::Dummy);
        assert_eq!((proved.get("a"), proved.get("b")), (Some(Proof::Dummy), None));
        proved.put("a", Proof::Password);
        assert_eq!(proved.get("a"), Some(Proof::Password));
        proved.forget("a");
        assert_eq!(proved.get("a"), None);
        for n in 0..=PROVED {
            proved.put(&n.to_string(), Proof::Dummy);
        }
        assert_eq!((proved.get("0"), proved.get("1")), (None, Some(Proof::Dummy)));
    }
}
