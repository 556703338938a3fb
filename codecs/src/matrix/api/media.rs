//! The content repository as far as it is JSON: reserving names, and what may be uploaded. Uploads and downloads
//! themselves are in [`crate::matrix::media`].

use crate::matrix::error::Error;
use crate::matrix::request::{Request, Response};
use crate::matrix::route::{Route, route};
use crate::matrix::task::{Answer, Ctx};
use crate::object;
use lavina_core::command::{Act, EntityId};
use lavina_core::media::{MediaId, RESERVED};
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;

/// The endpoints of this part. There is no `preview_url`: nothing foreign is fetched for a link.
pub const ROUTES: &[Route] = &[
    route!(Post "/_matrix/media/v1/create" Must create),
    route!(Get "/_matrix/client/v1/media/config" Must config),
    route!(Get "/_matrix/media/v3/config" Must config),
    route!(Get "/_matrix/media/v3/download/{server}/{id}" No without_token),
    route!(Get "/_matrix/media/v3/download/{server}/{id}/{name}" No without_token),
    route!(Get "/_matrix/media/v3/thumbnail/{server}/{id}" No without_token),
];

/// The address of an upload.
#[must_use]
pub fn content_uri(id: MediaId, domain: &str) -> String {
    format!("mxc://{domain}/{}", id.text())
}

/// The upload of ours that a server's name and a media id mean.
#[must_use]
pub fn name_of(server: &str, id: &str, domain: &str) -> Option<MediaId> {
    MediaId::parse(id).filter(|_| server == domain)
}

/// Reserves a name, to be filled within a day.
async fn create(ctx: Ctx, _: Request) -> Answer {
    let me = ctx.user()?.id;
    let id = ctx.with(|_, cx| MediaId::fresh(cx.random(), cx.random())).await;
    match ctx.act(EntityId::Account(me), Act::ReserveMedia(id)).await {
        Ok(_) => Ok(Response::ok(&object! {
            "content_uri" => content_uri(id, ctx.domain()),
            "unused_expires_at" => i64::try_from(ctx.now().wall.0 + RESERVED).unwrap_or(i64::MAX),
        })),
        // Those reserved go with time.
        Err(Refusal::TooMany) => {
            let error =
                Error::new(429, "M_LIMIT_EXCEEDED", "you have reserved too many names; fill them first");
            Err(error.with("retry_after_ms", 60_000))
        }
        Err(why) => Err(why.into()),
    }
}

/// The endpoints of before v1.11, which need no token: nothing that is uploaded here is given out by them, as it is with
/// files from after their end (client-server API, "Content repository").
async fn without_token(ctx: Ctx, request: Request) -> Answer {
    let missing =
        || Error::not_found("there is no such file, or it needs a token: use /_matrix/client/v1/media");
    let id = name_of(request.arg(0), request.arg(1), ctx.domain()).ok_or_else(missing)?;
    match ctx.query(Query::Media(id)).await {
        Ok(Value::Media(media)) if media.content.is_none() => {
            Err(Error::new(504, "M_NOT_YET_UPLOADED", "the file is not uploaded yet; try again later"))
        }
        Ok(_) | Err(Refusal::NoSuchItem) => Err(missing()),
        Err(why) => Err(why.into()),
    }
}

/// How large an upload may be.
async fn config(ctx: Ctx, _: Request) -> Answer {
    let size = ctx.settings().core.limits.media_size;
    Ok(Response::ok(&object! { "m.upload.size" => i64::try_from(size).unwrap_or(i64::MAX) }))
}
