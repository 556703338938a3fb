//! Devices (client-server API, "Device Management").

use super::auth::{self, confirm};
use super::keys::tell_changed;
use super::login::{account, remove_devices};
use crate::json::Json;
use crate::matrix::device::DeviceRow;
use crate::matrix::error::Error;
use crate::matrix::request::{Request, Response};
use crate::matrix::rooms;
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx, Who};
use crate::object;
use lavina_core::chat::account::Account;
use lavina_core::text::Str;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/devices" Must list),
    route!(Get "/_matrix/client/v3/devices/{device}" Must get),
    route!(Put "/_matrix/client/v3/devices/{device}" Must rename),
    route!(Delete "/_matrix/client/v3/devices/{device}" Must delete),
    route!(Post "/_matrix/client/v3/delete_devices" Must delete_several),
    route!(Get "/_matrix/client/v3/admin/whois/{user}" Must whois),
];

/// Longest name of a device for people, in bytes; above: 413.
const NAME_MAX: usize = 1_024;

async fn list(ctx: Ctx, _: Request) -> Answer {
    let account = account(&ctx).await?;
    let devices: Vec<Json> = DeviceRow::all(&account).map(|(id, row)| shown(&account, id, &row)).collect();
    Ok(Response::ok(&object! { "devices" => devices }))
}

async fn get(ctx: Ctx, request: Request) -> Answer {
    let account = account(&ctx).await?;
    let row = DeviceRow::find(&account, request.arg(0)).ok_or_else(missing)?;
    Ok(Response::ok(&shown(&account, request.arg(0), &row)))
}

/// A device as its owner sees it. Addresses are not kept.
fn shown(account: &Account, id: &str, row: &DeviceRow) -> Json {
    let mut device = object! { "device_id" => id, "last_seen_ts" => row.last_seen(account, id).0 };
    if let Some(name) = &row.name {
        device.set("display_name", name);
    }
    device
}

async fn row(ctx: &Ctx, device: &str) -> Result<DeviceRow, Error> {
    let account = account(ctx).await?;
    DeviceRow::find(&account, device).ok_or_else(missing)
}

fn missing() -> Error {
    Error::not_found("there is no such device")
}

async fn rename(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let mut row = row(&ctx, request.arg(0)).await?;
    let name = body.str_of("display_name").map(Str::new);
    if name.as_ref().is_some_and(|n| n.len() > NAME_MAX) {
        return Err(Error::too_large("the name is too long"));
    }
    row.name = name;
    let who = Who { user: ctx.user()?.clone(), device: Str::new(request.arg(0)) };
    ctx.command(row.command(&who)).await?;
    // The name goes with the device's keys.
    tell_changed(&ctx, &who.user).await?;
    Ok(Response::done())
}

async fn delete(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let user = ctx.user()?.clone();
    // One that is not there may have been removed before: that is no error (client-server API, "Device management").
    let purpose = format!("delete device {}", request.arg(0));
    confirm(&ctx, &body, &purpose, &[auth::PASSWORD], Some(&user)).await?;
    auth::done(&ctx, &body).await;
    remove_devices(&ctx, &user, vec![Str::new(request.arg(0))]).await?;
    Ok(Response::done())
}

async fn delete_several(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let user = ctx.user()?.clone();
    let wrong = || Error::bad_json("devices must be a list of device ids");
    let list = body.get("devices").and_then(Json::as_array).ok_or_else(wrong)?;
    let devices: Option<Vec<Str>> = list.iter().map(|d| d.as_str().map(Str::new)).collect();
    let devices = devices.ok_or_else(wrong)?;
    let purpose = format!("delete devices {}", devices.join("\n"));
    confirm(&ctx, &body, &purpose, &[auth::PASSWORD], Some(&user)).await?;
    auth::done(&ctx, &body).await;
    remove_devices(&ctx, &user, devices).await?;
    Ok(Response::done())
}

/// What is known of somebody's devices: for himself and for administrators (client-server API, "Server Administration").
/// Addresses are not kept.
async fn whois(ctx: Ctx, request: Request) -> Answer {
    let wanted = rooms::account_of(&ctx, request.arg(0)).await;
    let own = wanted.as_ref().is_ok_and(|a| ctx.user().is_ok_and(|me| me.id == a.id));
    if !own && !rooms::is_admin(&ctx).await? {
        return Err(Error::forbidden("only administrators may ask about others"));
    }
    let account = wanted?;
    let mut devices = Json::object();
    for (id, row) in DeviceRow::all(&account) {
        let connection = object! { "last_seen" => row.last_seen(&account, id).0 };
        devices.set(id, object! { "sessions" => [object! { "connections" => [connection] }] });
    }
    Ok(Response::ok(&object! { "user_id" => request.arg(0), "devices" => devices }))
}
