//! The content repository (client-server API, "Content Repository"), as far as bytes stream: upload, download and
//! thumbnails. They are served by the connection itself, not by an agent, because their bytes must not pass through one.
//! What is only JSON (create, config) is in [`super::api::media`].
//!
//! Only authenticated downloads are served (`/_matrix/client/v1/media`); those of `/_matrix/media/v3` are frozen by
//! version 1.11, and nothing here was uploaded before that.

use super::api::media::{content_uri, name_of};
use super::device::DeviceRow;
use super::error::Error;
#[cfg(feature = "thumbnails")]
use super::thumbnail::Picture;
use super::thumbnail::{self, Spec};
use super::token::{Kind, Token};
use crate::http::content;
use crate::http::request::{Head, Method};
use crate::http::response::Response;
use crate::http::session::{Http, Ticket};
use crate::http::stream::{Incoming, Kept, span};
#[cfg(feature = "thumbnails")]
use crate::job::{Done, Job};
use crate::object;
use crate::session::Cx;
use lavina_core::blob::BlobKey;
use lavina_core::chat::account::Account;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::media::{Content, Media, MediaId};
use lavina_core::query::{Query, Reply, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::Str;
use lavina_core::time::{Mono, UnixMillis};

/// Where uploads go.
pub const UPLOAD: &str = "/_matrix/media/v3/upload";
/// What old clients call it.
pub const UPLOAD_R0: &str = "/_matrix/media/r0/upload";
/// Where downloads come from.
pub const DOWNLOAD: &str = "/_matrix/client/v1/media/download";
/// Where thumbnails come from.
pub const THUMBNAIL: &str = "/_matrix/client/v1/media/thumbnail";

/// Milliseconds for which a download waits for a content that is yet to come, unless it says otherwise; and at most.
const WAIT: u64 = 20_000;
const WAIT_MOST: u64 = 60_000;
/// Milliseconds after which it is looked again whether it came.
const LOOK: u64 = 250;

/// Serves all of it.
pub fn serve(http: &mut Http, incoming: Incoming, cx: &mut Cx<'_>) {
    let place = match Place::of(&incoming.head) {
        Ok(place) => place,
        Err(error) => return http.decline(incoming, error.response(), cx),
    };
    let token = match token(&incoming.head) {
        Ok(token) => token,
        Err(error) => return http.decline(incoming, error.response(), cx),
    };
    http.ask_first(
        Query::Account(token.account),
        incoming,
        cx,
        move |http, incoming, reply, cx| match allowed(reply, &token, cx.now().wall) {
            Ok(owner) => place.serve(http, incoming, owner, cx),
            Err(error) => http.decline(incoming, error.response(), cx),
        },
    );
}

/// What a request is about.
enum Place {
    /// A new upload.
    New,
    /// The content of a name that was reserved.
    Reserved { server: String, id: String },
    /// A content; under another name than its own, if one is said.
    Download { server: String, id: String, name: Option<String> },
    /// A smaller picture of one.
    Thumbnail { server: String, id: String },
}

impl Place {
    fn of(head: &Head) -> Result<Place, Error> {
        let segments: Vec<String> = head.target.segments().map(|s| s.into_owned()).collect();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let place = match parts.as_slice() {
            [_, "media", _, "upload"] => (Method::Post, Place::New),
            [_, "media", _, "upload", server, id] => {
                (Method::Put, Place::Reserved { server: (*server).into(), id: (*id).into() })
            }
            [_, "client", _, "media", "download", server, id, rest @ ..] if rest.len() < 2 => {
                let name = rest.first().map(|name| (*name).to_owned()).filter(|name| !name.is_empty());
                (Method::Get, Place::Download { server: (*server).into(), id: (*id).into(), name })
            }
            [_, "client", _, "media", "thumbnail", server, id] => {
                (Method::Get, Place::Thumbnail { server: (*server).into(), id: (*id).into() })
            }
            _ => return Err(Error::unrecognized("there is nothing like this here")),
        };
        let same = head.method == place.0 || (place.0 == Method::Get && head.method == Method::Head);
        same.then_some(place.1).ok_or_else(|| Error::wrong_method("this is there, but not with this method"))
    }

    fn serve(self, http: &mut Http, incoming: Incoming, owner: Owner, cx: &mut Cx<'_>) {
        match self {
            Place::New => upload(http, incoming, owner, cx),
            Place::Reserved { server, id } => fill(http, incoming, owner, &server, &id, cx),
            Place::Download { server, id, name } => {
                let (head, ticket) = (incoming.head.clone(), http.turn_down(incoming));
                find(http, ticket, &head, (&server, &id), cx, move |http, ticket, head, media, cx| {
                    download(http, ticket, head, &media, name.as_deref(), cx);
                });
            }
            Place::Thumbnail { server, id } => {
                let (head, ticket) = (incoming.head.clone(), http.turn_down(incoming));
                match Spec::read(&head) {
                    Ok(spec) => {
                        find(http, ticket, &head, (&server, &id), cx, move |http, ticket, head, media, cx| {
                            thumbnail(http, ticket, head, &media, spec, cx);
                        })
                    }
                    Err(error) => http.respond(ticket, error.response(), cx),
                }
            }
        }
    }
}

// --- who asks ---

/// Whose request it is.
#[derive(Clone, Copy)]
struct Owner(lavina_core::ids::AccountId);

/// The access token of a request.
fn token(head: &Head) -> Result<Token, Error> {
    let in_query = || head.target.parameter("access_token").map(std::borrow::Cow::into_owned);
    let said = match head.header("authorization") {
        Some(_) => Some(head.bearer().unwrap_or_default().to_owned()),
        None => in_query(),
    };
    let token = Token::parse(&said.ok_or_else(Error::missing_token)?);
    token.filter(|t| t.kind == Kind::Access).ok_or_else(|| Error::unknown_token(false))
}

/// Whether the token is that of one of the account's devices.
fn allowed(reply: Reply, token: &Token, now: UnixMillis) -> Result<Owner, Error> {
    let account = match reply {
        Ok(Value::Account(account)) => account,
        Ok(_) | Err(Refusal::NoSuchUser) => return Err(Error::unknown_token(false)),
        Err(why) => return Err(why.into()),
    };
    let disabled = |account: &Account| account.head.as_ref().is_none_or(|h| h.disabled || h.deleted);
    let row = DeviceRow::find(&account, &token.device).filter(|_| !disabled(&account));
    // That the token was used takes effect with the device's next request to its agent.
    row.ok_or(false).and_then(|row| row.accepts(token, now)).map_err(Error::unknown_token)?;
    Ok(Owner(account.id))
}

// --- uploads ---

/// `POST /_matrix/media/v3/upload`.
fn upload(http: &mut Http, incoming: Incoming, owner: Owner, cx: &mut Cx<'_>) {
    let id = MediaId::fresh(cx.random(), cx.random());
    take(http, incoming, owner, id, false, cx, move |cx| {
        Response::ok(&object! { "content_uri" => content_uri(id, &cx.core_settings().domain) })
    });
}

/// `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`: the content of a name that its owner has reserved.
fn fill(http: &mut Http, incoming: Incoming, owner: Owner, server: &str, id: &str, cx: &mut Cx<'_>) {
    let Some(id) = name_of(server, id, &cx.core_settings().domain) else {
        return http.decline(incoming, missing().response(), cx);
    };
    http.ask_first(Query::Media(id), incoming, cx, move |http, incoming, reply, cx| match reply {
        Ok(Value::Media(media)) if media.owner != owner.0 => {
            let error = Error::forbidden("only who reserved this may fill it");
            http.decline(incoming, error.response(), cx);
        }
        Ok(Value::Media(media)) if media.content.is_some() => {
            http.decline(incoming, refused(Refusal::Stale).response(), cx);
        }
        Ok(Value::Media(_)) => take(http, incoming, owner, id, true, cx, |_| Response::done()),
        Ok(_) | Err(Refusal::NoSuchItem) => http.decline(incoming, missing().response(), cx),
        Err(why) => http.decline(incoming, Error::from(why).response(), cx),
    });
}

/// Takes the body as an upload of that name.
fn take(
    http: &mut Http,
    incoming: Incoming,
    owner: Owner,
    id: MediaId,
    reserved: bool,
    cx: &mut Cx<'_>,
    answer: impl FnOnce(&Cx<'_>) -> Response + Send + 'static,
) {
    let head = &incoming.head;
    let content_type = Str::new(content::content_type(head.header("content-type").unwrap_or_default()));
    let name = head.target.parameter("filename").unwrap_or_default();
    let name = Str::new(shortened(&name));
    let limit = cx.core_settings().limits.media_size;
    http.take(incoming, limit, cx, move |http, ticket, kept, cx| {
        let Kept { hash, size } = match kept {
            Ok(kept) => kept,
            Err(why) => return http.respond(ticket, refused(why).response(), cx),
        };
        let content = Content { hash, size, content_type, name };
        let act = Act::AddMedia { id, content, reserved };
        let req = cx.command(Command::by_server(EntityId::Account(owner.0), act), false);
        http.when(req, ticket, move |http, ticket, reply, cx| {
            let response = match reply {
                Ok(_) => answer(cx),
                Err(why) => refused(why).response(),
            };
            http.respond(ticket, response, cx);
        });
    });
}

/// A name that can be kept.
fn shortened(name: &str) -> &str {
    let end = (0..=lavina_core::media::TEXT.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

/// Why an upload was not kept.
fn refused(why: Refusal) -> Error {
    match why {
        Refusal::TooLong => Error::too_large("the file is larger than this server takes"),
        Refusal::TooMany => Error::forbidden("there is no room left for your files"),
        Refusal::Stale => Error::new(409, "M_CANNOT_OVERWRITE_MEDIA", "this was uploaded already"),
        Refusal::NoSuchItem => missing(),
        other => other.into(),
    }
}

// --- downloads ---

fn missing() -> Error {
    Error::not_found("there is no such file")
}

type Found = Box<dyn FnOnce(&mut Http, Ticket, &Head, std::sync::Arc<Media>, &mut Cx<'_>) + Send>;

/// Looks for an upload; where its content is yet to come, as long as the client wants to wait.
fn find(
    http: &mut Http,
    ticket: Ticket,
    head: &Head,
    (server, id): (&str, &str),
    cx: &mut Cx<'_>,
    then: impl FnOnce(&mut Http, Ticket, &Head, std::sync::Arc<Media>, &mut Cx<'_>) + Send + 'static,
) {
    let Some(id) = name_of(server, id, &cx.core_settings().domain) else {
        return http.respond(ticket, missing().response(), cx);
    };
    let wait = match head.target.parameter("timeout_ms").map(|ms| ms.parse::<u64>()) {
        None => WAIT,
        Some(Ok(ms)) => ms.min(WAIT_MOST),
        Some(Err(_)) => {
            let error = Error::invalid_param("timeout_ms must be a number that is not negative");
            return http.respond(ticket, error.response(), cx);
        }
    };
    let until = cx.now().mono + wait;
    look(http, ticket, head.clone(), id, until, cx, Box::new(then));
}

fn look(http: &mut Http, ticket: Ticket, head: Head, id: MediaId, until: Mono, cx: &mut Cx<'_>, then: Found) {
    http.ask(Query::Media(id), ticket, cx, move |http, ticket, reply, cx| match reply {
        Ok(Value::Media(media)) if media.content.is_some() => then(http, ticket, &head, media, cx),
        Ok(Value::Media(_)) if cx.now().mono < until => {
            let at = until.min(cx.now().mono + LOOK);
            http.later(at, ticket, cx, move |http, ticket, cx| look(http, ticket, head, id, until, cx, then));
        }
        Ok(Value::Media(_)) => {
            let error =
                Error::new(504, "M_NOT_YET_UPLOADED", "the file is not uploaded yet; try again later");
            http.respond(ticket, error.response(), cx);
        }
        Ok(_) | Err(Refusal::NoSuchItem) => http.respond(ticket, missing().response(), cx),
        Err(why) => http.respond(ticket, Error::from(why).response(), cx),
    });
}

/// `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}[/{fileName}]`.
fn download(
    http: &mut Http,
    ticket: Ticket,
    head: &Head,
    media: &Media,
    name: Option<&str>,
    cx: &mut Cx<'_>,
) {
    let Some(content) = &media.content else { return http.respond(ticket, missing().response(), cx) };
    let tag = content::etag(BlobKey::of(content.hash));
    if let Some(response) = content::not_modified(head, &tag) {
        return http.respond(ticket, response, cx);
    }
    let response = content::response(content, name, &tag);
    http.send(ticket, BlobKey::of(content.hash), response, span(head, &tag), cx, |http, ticket, why, cx| {
        http.respond(ticket, lost(why).response(), cx);
    });
}

fn lost(why: Refusal) -> Error {
    if why == Refusal::NoSuchItem { missing() } else { why.into() }
}

// --- thumbnails ---

/// `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`: the one that was made before, or a new one, or the
/// picture itself where it is small or cannot be made smaller.
fn thumbnail(http: &mut Http, ticket: Ticket, head: &Head, media: &Media, spec: Spec, cx: &mut Cx<'_>) {
    let Some(content) = &media.content else { return http.respond(ticket, missing().response(), cx) };
    #[cfg(feature = "thumbnails")]
    if thumbnail::can_be_made(&content.content_type, content.size) {
        return smaller(http, ticket, head, content, spec, cx);
    }
    // Only asked for correctly.
    let _ = spec;
    original(http, ticket, head, content, cx);
}

#[cfg(feature = "thumbnails")]
fn smaller(http: &mut Http, ticket: Ticket, head: &Head, content: &Content, spec: Spec, cx: &mut Cx<'_>) {
    let key = BlobKey { hash: content.hash, made: spec.number() };
    let tag = content::etag(key);
    if let Some(response) = content::not_modified(head, &tag) {
        return http.respond(ticket, response, cx);
    }
    let made = Content {
        content_type: Str::new(thumbnail::type_for(&content.content_type)),
        name: thumbnail::name(&content.name),
        ..content.clone()
    };
    let response = content::response(&made, None, &tag);
    let (head, content) = (head.clone(), content.clone());
    http.send(ticket, key, response.clone(), None, cx, move |http, ticket, why, cx| match why {
        Refusal::NoSuchItem => make(http, ticket, head, content, spec, response, cx),
        why => http.respond(ticket, lost(why).response(), cx),
    });
}

/// Makes a thumbnail: the picture is read, a job makes it smaller, and what comes of it is kept for the next time.
#[cfg(feature = "thumbnails")]
fn make(
    http: &mut Http,
    ticket: Ticket,
    head: Head,
    content: Content,
    spec: Spec,
    response: Response,
    cx: &mut Cx<'_>,
) {
    http.gather(ticket, BlobKey::of(content.hash), cx, move |http, ticket, picture, cx| {
        let picture = match picture {
            Ok(picture) => picture,
            Err(why) => return http.respond(ticket, lost(why).response(), cx),
        };
        let job = Job::Thumbnail { picture: Picture(picture), said: content.content_type.clone(), spec };
        http.job(job, ticket, cx, move |http, ticket, done, cx| match done {
            Ok(Done::Thumbnail(Some(Picture(small)))) => {
                // Best effort: where it cannot be kept, it is made again.
                cx.upload_all(small.clone(), Some(BlobKey { hash: content.hash, made: spec.number() }));
                http.respond(ticket, Response { body: small, ..response }, cx);
            }
            // No picture after all, or larger than may be looked into, or small enough as it is.
            Ok(_) => original(http, ticket, &head, &content, cx),
            Err(why) => http.respond(ticket, Error::from(why).response(), cx),
        });
    });
}

/// The picture itself, if it is small enough to stand for its thumbnail.
fn original(http: &mut Http, ticket: Ticket, head: &Head, content: &Content, cx: &mut Cx<'_>) {
    if !content.content_type.starts_with("image/") || content.size > thumbnail::ORIGINAL {
        let error = Error::unknown("no thumbnail can be made of this");
        return http.respond(ticket, error.response(), cx);
    }
    let tag = content::etag(BlobKey::of(content.hash));
    if let Some(response) = content::not_modified(head, &tag) {
        return http.respond(ticket, response, cx);
    }
    let response = content::response(content, None, &tag);
    http.send(ticket, BlobKey::of(content.hash), response, span(head, &tag), cx, |http, ticket, why, cx| {
        http.respond(ticket, lost(why).response(), cx);
    });
}
