//! What a client asks first: versions, well-known, capabilities, who it is.

use crate::json::Json;
use crate::matrix::error::Error;
use crate::matrix::ids;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;

/// The endpoints of this part.
pub const ROUTES: &[Route] = &[
    route!(Get "/_matrix/client/versions" No versions),
    route!(Get "/.well-known/matrix/client" No well_known),
    route!(Get "/_matrix/client/v3/capabilities" Must capabilities),
    route!(Get "/_matrix/client/v3/account/whoami" Must whoami),
];

/// Versions of the specification whose endpoints for clients are served.
const VERSIONS: &[&str] = &[
    "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11",
    "v1.12", "v1.13", "v1.14", "v1.15", "v1.16",
];

/// What clients ask for by an older name before they offer it, though the versions above have it too.
const FEATURES: &[&str] = &[
    // Element sets up a new account's cross-signing, and lets people verify each other, only with it (MSC1756, v1.1).
    "org.matrix.e2e_cross_signing",
    // Spaces can be listed, and found by the type of room (MSC3827, v1.4).
    "org.matrix.msc3827.stable",
    // Account data can be removed (MSC3391).
    "org.matrix.msc3391",
    // Devices that are asleep on the server (MSC3814).
    "org.matrix.msc3814",
    // Relations of relations at once (MSC3981, v1.10).
    "org.matrix.msc3981",
    // Invitations can be blocked (MSC4380, v1.18).
    "org.matrix.msc4380.stable",
    // Events that are sent later (MSC4140).
    "org.matrix.msc4140",
    // The rooms that one shares with somebody (MSC2666).
    "uk.half-shot.msc2666.query_mutual_rooms",
    // MSC4186.
    "org.matrix.simplified_msc3575",
];

/// Versions of rooms that can be made.
pub const ROOM_VERSIONS: &[&str] = &["12", "11", "10", "9", "8", "7", "6"];

async fn versions(_: Ctx, _: Request) -> Answer {
    let mut features = Json::object();
    for feature in FEATURES {
        features.set(*feature, true);
    }
    Ok(Response::ok(&object! { "versions" => VERSIONS.to_vec(), "unstable_features" => features }))
}

async fn well_known(_: Ctx, request: Request) -> Answer {
    let base =
        request.base.clone().ok_or_else(|| Error::not_found("the address of this server is not known"))?;
    Ok(Response::ok(&object! { "m.homeserver" => object! { "base_url" => base } }))
}

async fn capabilities(ctx: Ctx, _: Request) -> Answer {
    let mut available = Json::object();
    for version in ROOM_VERSIONS {
        available.set(*version, "stable");
    }
    let on = || object! { "enabled" => true };
    let off = || object! { "enabled" => false };
    Ok(Response::ok(&object! {
        "capabilities" => object! {
            "m.change_password" => on(),
            "m.room_versions" => object! { "default" => ctx.settings().room_version, "available" => available },
            "m.set_displayname" => on(),
            "m.set_avatar_url" => on(),
            "m.profile_fields" => on(),
            "m.3pid_changes" => off(),
            "m.get_login_token" => off(),
        },
    }))
}

async fn whoami(ctx: Ctx, _: Request) -> Answer {
    let who = ctx.who()?;
    Ok(Response::ok(&object! {
        "user_id" => ids::user_id(&who.user, ctx.domain()),
        "device_id" => &who.device,
        "is_guest" => false,
    }))
}
