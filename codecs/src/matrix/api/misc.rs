//! What clients ask for and what there is none of here: the honest answers (client-server API, "Voice over IP",
//! "Third-party Networks", "Adding Account Administrative Contact Information").

use crate::json::Json;
use crate::matrix::error::Error;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/voip/turnServer" Must turn_server),
    route!(Get "/_matrix/client/v3/thirdparty/protocols" Must protocols),
    route!(Get "/_matrix/client/v3/thirdparty/protocol/{protocol}" Must protocol),
    route!(Get "/_matrix/client/v3/thirdparty/location" Must nothing_foreign),
    route!(Get "/_matrix/client/v3/thirdparty/location/{protocol}" Must nothing_foreign),
    route!(Get "/_matrix/client/v3/thirdparty/user" Must nothing_foreign),
    route!(Get "/_matrix/client/v3/thirdparty/user/{protocol}" Must nothing_foreign),
    route!(Get "/_matrix/client/v3/account/3pid" Must contacts),
    route!(Post "/_matrix/client/v3/account/3pid" Must no_contacts),
    route!(Post "/_matrix/client/v3/account/3pid/add" Must no_contacts),
    route!(Post "/_matrix/client/v3/account/3pid/bind" Must no_contacts),
    route!(Post "/_matrix/client/v3/account/3pid/delete" Must forget_contact),
    route!(Post "/_matrix/client/v3/account/3pid/unbind" Must forget_contact),
    route!(Post "/_matrix/client/v3/account/3pid/email/requestToken" No no_contacts),
    route!(Post "/_matrix/client/v3/account/3pid/msisdn/requestToken" No no_contacts),
    route!(Post "/_matrix/client/v3/account/password/email/requestToken" No no_contacts),
    route!(Post "/_matrix/client/v3/account/password/msisdn/requestToken" No no_contacts),
    route!(Post "/_matrix/client/v3/register/email/requestToken" No no_contacts),
    route!(Post "/_matrix/client/v3/register/msisdn/requestToken" No no_contacts),
];

/// There is no TURN server: clients go without.
async fn turn_server(_: Ctx, _: Request) -> Answer {
    Ok(Response::ok(&Json::object()))
}

/// IRC and XMPP are no foreign networks here.
async fn protocols(_: Ctx, _: Request) -> Answer {
    Ok(Response::ok(&Json::object()))
}

async fn protocol(_: Ctx, request: Request) -> Answer {
    Err(Error::not_found(format!("there is no bridge to {}", request.arg(0))))
}

/// Who looks for rooms and people of networks finds none.
async fn nothing_foreign(_: Ctx, _: Request) -> Answer {
    Ok(Response::ok(&Json::Array(Vec::new())))
}

/// No e-mail addresses and phone numbers are kept (`m.3pid_changes` says so).
async fn contacts(_: Ctx, _: Request) -> Answer {
    let none: Vec<Json> = Vec::new();
    Ok(Response::ok(&object! { "threepids" => none }))
}

async fn no_contacts(_: Ctx, request: Request) -> Answer {
    request.json()?;
    Err(Error::new(403, "M_THREEPID_DENIED", "this server keeps no e-mail addresses and phone numbers"))
}

/// What is not there is not there afterwards either; there is no identity server to be told.
async fn forget_contact(_: Ctx, request: Request) -> Answer {
    let body = request.json()?;
    for key in ["medium", "address"] {
        body.str_of(key).ok_or_else(|| Error::missing_param(format!("{key} is missing")))?;
    }
    Ok(Response::ok(&object! { "id_server_unbind_result" => "no-support" }))
}
