//! Messages from device to device (client-server API, "Send-to-Device messaging"): letters, which wait until they are
//! collected.

use super::login::find;
use crate::json::Json;
use crate::matrix::agent;
use crate::matrix::device::DeviceRow;
use crate::matrix::error::Error;
use crate::matrix::ids;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::command::{Act, EntityId};
use lavina_core::refusal::Refusal;
use lavina_core::text::{Octets, Str};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[route!(Put "/_matrix/client/v3/sendToDevice/{type}/{txn}" Must send)];

/// Letters of one request; above: 400.
const LETTERS_MAX: usize = 5_000;

async fn send(ctx: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    let who = ctx.who()?.clone();
    let wrong = || Error::bad_json("messages must be an object of devices of users");
    let messages = body.get("messages").and_then(Json::as_object).ok_or_else(wrong)?;
    let transaction = Str::new(format!("{}/{}", request.arg(0), request.arg(1)));
    let fresh = ctx.with({
        let transaction = transaction.clone();
        move |agent, _| agent.device().is_none_or(|device| device.first_time(transaction))
    });
    if !fresh.await {
        return Ok(Response::done());
    }
    let sender = ids::user_id(&who.user, ctx.domain());
    let mut sent = 0;
    for (id, devices) in messages.iter() {
        let devices = devices.as_object().ok_or_else(wrong)?;
        let Some(ids::Who::Local(name)) = ids::who(id, ctx.domain()) else { continue };
        let Some(account) = find(&ctx, &name).await? else { continue };
        let known: Vec<&str> = DeviceRow::all(&account).map(|(device, _)| device).collect();
        for (device, content) in devices.iter() {
            let letter = object! {
                "sender" => &sender, "type" => request.arg(0), "content" => content.clone(),
            };
            let letter = Octets::from(letter.to_bytes());
            let all = **device == *"*";
            for to in known.iter().filter(|known| all || ***known == **device) {
                sent += 1;
                if sent > LETTERS_MAX {
                    return Err(Error::invalid_param("too many messages at once"));
                }
                let act = Act::Deliver { label: agent::label(to), letter: letter.clone() };
                match ctx.act(EntityId::Account(account.id), act).await {
                    // Who is hidden from is not told so.
                    Ok(_) | Err(Refusal::Blocked | Refusal::NoSuchUser) => {}
                    Err(why) => return Err(why.into()),
                }
            }
        }
    }
    Ok(Response::done())
}
