//! What clients ask for and what there is none of here: the honest answers (client-server API, "Voice over IP",
//! "Third-party Networks").

use crate::json::Json;
use crate::matrix::error::Error;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/v3/voip/turnServer" Must turn_server),
    route!(Get "/_matrix/client/v3/thirdparty/protocols" Must protocols),
    route!(Get "/_matrix/client/v3/thirdparty/protocol/{protocol}" Must protocol),
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
