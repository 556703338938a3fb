//! Pushers, and what a user was notified of (client-server API, "Push notifications").
//!
//! Pushers are kept and listed, and go with the device that made them. Nothing is sent to their gateways: this server
//! opens no connections of its own accord. So a client gets its notifications while it syncs.

use super::login::account;
use super::scene::{Related, Scene, Shown, history};
use super::sync::unread::Judge;
use crate::json::{Json, Map};
use crate::matrix::device::sync::{Room, begin};
use crate::matrix::error::Error;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use data_encoding::BASE64URL_NOPAD;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Audience, EntityId};
use lavina_core::ids::RoomId;
use lavina_core::query::{Bound, Only, Range};
use lavina_core::text::{Octets, Str};
use lavina_core::time::UnixMillis;
use sha2::{Digest, Sha256};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/pushers" Must list),
    route!(Post "/_matrix/client/v3/pushers/set" Must set),
    route!(Get "/_matrix/client/v3/notifications" Must notifications),
];

/// What the names of pushers begin with among the account's values: the device's name follows, `/`, and a hash of the
/// application and the key.
pub const PUSHER: &str = "m.pusher/";

/// Pushers of one account; more are refused.
const PUSHERS: usize = 100;

/// Longest `app_id` and `pushkey`, in bytes.
const APP_MAX: usize = 64;
const KEY_MAX: usize = 512;

/// Longest of the other texts, and of `data`, in bytes.
const TEXT_MAX: usize = 4_096;

/// The path of every push gateway (push gateway API).
const GATEWAY: &str = "/_matrix/push/v1/notify";

// --- pushers ---

async fn list(ctx: Ctx, _: Request) -> Answer {
    let account = account(&ctx).await?;
    let pushers: Vec<Json> = kept(&account).filter_map(|(_, value)| Json::parse(value).ok()).collect();
    Ok(Response::ok(&object! { "pushers" => pushers }))
}

fn kept(account: &Account) -> impl Iterator<Item = (&Str, &Octets)> {
    account.attrs.range(Str::new(PUSHER)..).take_while(|(key, _)| key.starts_with(PUSHER))
}

async fn set(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let (app, key) = (text(&body, "app_id", APP_MAX)?, text(&body, "pushkey", KEY_MAX)?);
    let digest = Sha256::new().chain_update(app).chain_update([0]).chain_update(key).finalize();
    let name = BASE64URL_NOPAD.encode(&digest[..18]);
    let account = account(&ctx).await?;
    // The same may be another device's.
    let old = kept(&account).filter(|(key, _)| key.rsplit('/').next() == Some(&*name));
    let mut values: Vec<(Str, Octets)> = old.map(|(key, _)| (key.clone(), Octets::default())).collect();
    match body.get("kind") {
        Some(Json::Null) => {}
        Some(Json::Str(kind)) if kind == "http" => {
            let pusher = checked(&body)?;
            if values.is_empty() && kept(&account).count() >= PUSHERS {
                return Err(Error::new(400, "M_RESOURCE_LIMIT_EXCEEDED", "there are too many pushers"));
            }
            let place = Str::new(format!("{PUSHER}{}/{name}", ctx.who()?.device));
            values.retain(|(key, _)| *key != place);
            values.push((place, Octets::from(pusher.to_bytes())));
        }
        Some(Json::Str(_)) => return Err(Error::invalid_param("the only kind of pusher here is http")),
        Some(_) => return Err(Error::bad_json("kind must be a string or null")),
        None => return Err(Error::missing_param("kind is missing")),
    }
    if !values.is_empty() {
        let act = Act::SetAttrs { values, tell: Audience::Nobody, native: None };
        ctx.act(EntityId::Account(account.id), act).await?;
    }
    Ok(Response::done())
}

/// A text that must be there.
fn text<'a>(body: &'a Json, name: &str, max: usize) -> Result<&'a str, Error> {
    let value = body.get(name).ok_or_else(|| Error::missing_param(format!("{name} is missing")))?;
    let value = value.as_str().ok_or_else(|| Error::bad_json(format!("{name} must be a string")))?;
    match value.len() <= max {
        true => Ok(value),
        false => Err(Error::invalid_param(format!("{name} may have {max} bytes"))),
    }
}

/// A pusher as it is kept and listed.
fn checked(body: &Json) -> Result<Json, Error> {
    let mut out = object! { "kind" => "http" };
    for (name, max) in [
        ("app_id", APP_MAX),
        ("pushkey", KEY_MAX),
        ("app_display_name", TEXT_MAX),
        ("device_display_name", TEXT_MAX),
        ("lang", TEXT_MAX),
    ] {
        out.set(name, text(body, name, max)?);
    }
    if body.get("profile_tag").is_some_and(|tag| !tag.is_null()) {
        out.set("profile_tag", text(body, "profile_tag", TEXT_MAX)?);
    }
    let data = body.get("data").ok_or_else(|| Error::missing_param("data is missing"))?;
    if data.as_object().is_none() || data.to_bytes().len() > TEXT_MAX {
        return Err(Error::bad_json(format!("data must be an object of at most {TEXT_MAX} bytes")));
    }
    let url = data.str_of("url").ok_or_else(|| Error::missing_param("data.url is missing"))?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    if rest.find('/').is_none_or(|at| at == 0 || rest.get(at..) != Some(GATEWAY)) {
        return Err(Error::invalid_param(format!("data.url must be an address with the path {GATEWAY}")));
    }
    out.set("data", data.clone());
    Ok(out)
}

// --- notifications ---

/// Notifications of one page: where the client names no number, and at most.
const PAGE: usize = 20;
const PAGE_MAX: usize = 100;

/// Entries read of one room at a time.
const CHUNK: u32 = 50;

/// How often all rooms are read for one page; then it ends, and the next goes on from there.
const ROUNDS: usize = 4;

/// A place in the order of all rooms' entries: by time, and among equal ones by room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct When(u64, u64);

impl When {
    fn text(self) -> String {
        format!("n{}_{}", self.0, self.1)
    }

    fn parse(text: &str) -> Option<When> {
        let (at, room) = text.strip_prefix('n')?.split_once('_')?;
        Some(When(at.parse().ok()?, room.parse().ok()?))
    }
}

async fn notifications(ctx: Ctx, request: Request) -> Answer {
    let limit = request.number("limit")?.map_or(PAGE, |n| usize::try_from(n).unwrap_or(PAGE_MAX));
    let limit = limit.clamp(1, PAGE_MAX);
    let highlights = request.param("only") == Some("highlight");
    let mut before = match request.param("from").filter(|t| !t.is_empty()) {
        None => When(u64::MAX, 0),
        Some(text) => {
            When::parse(text).ok_or_else(|| Error::invalid_param("from is no token of this endpoint"))?
        }
    };
    begin::begin(&ctx).await?;
    begin::look_at_new_rooms(&ctx).await;
    let judge = Judge::new(&ctx).await?;
    let (mut found, mut more) = (Vec::new(), true);
    for _ in 0..ROUNDS {
        let (new, upto) = round(&ctx, &judge, before, highlights).await?;
        found.extend(new);
        more = upto.is_some();
        before = upto.unwrap_or(before);
        if !more || found.len() > limit {
            break;
        }
    }
    if found.len() > limit {
        found.truncate(limit);
        (more, before) = (true, found.last().map_or(before, |(when, _)| *when));
    }
    let all = found.into_iter().map(|(_, json)| json).collect();
    let mut out = object! { "notifications" => Json::Array(all) };
    if more {
        out.set("next_token", before.text());
    }
    Ok(Response::ok(&out))
}

/// The notifications before a place, the newest first, down to where all rooms are known; and that place, if there is
/// more below it.
async fn round(
    ctx: &Ctx,
    judge: &Judge,
    before: When,
    highlights: bool,
) -> Result<(Vec<(When, Json)>, Option<When>), Error> {
    let rooms = ctx.with(|agent, _| -> Vec<(RoomId, Room)> {
        let rooms = agent.sync().map(|s| &s.rooms).into_iter().flatten();
        rooms.filter(|(_, r)| r.is_joined()).map(|(id, r)| (*id, Room::clone(r))).collect()
    });
    let (mut found, mut upto) = (Vec::new(), None);
    for (id, room) in rooms.await {
        let bound = if before.0 == u64::MAX { Bound::Open } else { Bound::Time(UnixMillis(before.0 + 1)) };
        let range = Range { before: bound, only: Only::All, ..Range::latest(CHUNK) };
        let Ok(stretch) = history(ctx, id, range).await else { continue };
        if let Some(first) = stretch.entries.first().filter(|_| stretch.more) {
            upto = upto.max(Some(When(first.at.0, id.0)));
        }
        let entries = stretch.entries.iter().filter(|e| When(e.at.0, id.0) < before && e.pos > room.moved);
        let entries: Vec<_> = entries.cloned().collect();
        let scene = Scene::new(ctx, id, &entries, Related::Ask, None).await?;
        for shown in entries.iter().flat_map(|e| scene.show(e)) {
            if let Some(json) = judge.notification(&room, id, &shown, highlights) {
                found.push((When(shown.entry.at.0, id.0), json));
            }
        }
    }
    if let Some(upto) = upto {
        found.retain(|(when, _)| *when >= upto);
    }
    found.sort_by_key(|(when, _)| std::cmp::Reverse(*when));
    Ok((found, upto))
}

impl Judge {
    fn notification(&self, room: &Room, id: RoomId, shown: &Shown, highlights: bool) -> Option<Json> {
        let actions = self.actions(room, shown)?;
        if !actions.notify() || (highlights && !actions.highlight()) {
            return None;
        }
        let thread = super::sync::unread::thread_of(shown);
        let mut out = Map::new();
        out.insert("actions", actions.to_json());
        out.insert("read", room.read_by(self.me.id, self.mark(id)).has(shown.place.pos, thread.as_deref()));
        out.insert("room_id", shown.json.str_of("room_id").unwrap_or_default());
        out.insert("ts", shown.entry.at.0);
        out.insert("event", shown.clone().in_room());
        Some(Json::Object(out))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pushers_are_checked() {
        let pusher = |url: &str| {
            object! {
                "kind" => "http", "app_id" => "a.b", "pushkey" => "k", "app_display_name" => "a", "lang" => "en",
                "device_display_name" => "d", "data" => object! { "url" => url }, "append" => true,
            }
        };
        let kept = checked(&pusher("https://push.test:8443/_matrix/push/v1/notify")).unwrap();
        assert_eq!((kept.get("append"), kept.str_of("pushkey")), (None, Some("k")));
        for bad in [
            "",
            "x",
            "https:///_matrix/push/v1/notify",
            "https://push.test/other",
            "ftp://a/_matrix/push/v1/notify",
        ] {
            assert_eq!(checked(&pusher(bad)).unwrap_err().status, 400, "{bad}");
        }
        let mut long = pusher("https://push.test/_matrix/push/v1/notify");
        long.set("app_id", "x".repeat(65));
        assert_eq!(checked(&long).unwrap_err().code, "M_INVALID_PARAM");
    }

    #[test]
    fn places_read_back() {
        assert_eq!(When::parse(&When(7, 9).text()), Some(When(7, 9)));
        assert!(When(7, 9) < When(8, 0));
        for bad in ["", "n", "n1", "1_2", "nx_1"] {
            assert_eq!(When::parse(bad), None, "{bad}");
        }
    }
}
