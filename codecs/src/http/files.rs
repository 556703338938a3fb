//! Files that people share: `/file/<name of the upload>/<name for people>`. Whoever knows the address may read; whoever
//! has a [`Permit`] may write, once.

use super::content;
use super::request::{Head, Method};
use super::response::Response;
use super::session::{Http, Ticket};
use super::status::Status;
use super::stream::{Incoming, Kept, span};
use super::{body::Framing, settings::HttpSettings};
use crate::session::Cx;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use lavina_core::blob::BlobKey;
use lavina_core::command::{Act, Command, EntityId};
use lavina_core::ids::AccountId;
use lavina_core::media::{Content, Media, MediaId};
use lavina_core::query::{Query, Value};
use lavina_core::refusal::Refusal;
use lavina_core::text::Str;
use lavina_core::time::UnixMillis;
use sha2::Sha256;

/// The path that all of them are below.
pub const PATH: &str = "/file";

/// Milliseconds for which a permit is good.
pub const PERMIT_TIME: u64 = 10 * 60 * 1_000;

/// Sets these permits apart from everything else that the server's secret signs.
const LABEL: &[u8] = b"lavina file permit 1";

/// Bytes of the signature, and of the numbers after it.
const SIGNATURE: usize = 32;
const NUMBERS: usize = 16;

/// The address of an upload; none where nothing listens.
#[must_use]
pub fn address(settings: &HttpSettings, id: MediaId, name: &str) -> Option<String> {
    let name = if name.is_empty() { "file" } else { name };
    Some(format!("{}{PATH}/{}/{}", settings.base.as_deref()?, id.text(), content::escape(name)))
}

/// The upload that an address names, and its name for people, if it is one that [`address`] gives.
#[must_use]
pub fn named_by(settings: &HttpSettings, link: &str) -> Option<(MediaId, String)> {
    let rest = link.strip_prefix(settings.base.as_deref()?)?.strip_prefix(PATH)?.strip_prefix('/')?;
    let (id, name) = rest.split_once('/')?;
    if name.is_empty() || name.contains(['/', '?', '#']) || name.contains(char::is_whitespace) {
        return None;
    }
    let name = percent_encoding(name)?;
    Some((MediaId::parse(id)?, name))
}

/// What percent-encoding stands for (RFC 3986 section 2.1); none where it is no text.
fn percent_encoding(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            out.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// The right to upload one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The name of the upload.
    pub id: MediaId,
    /// The name for people.
    pub name: String,
    /// Whose it will be.
    pub owner: AccountId,
    /// How long it is.
    pub size: u64,
    /// Its media type; empty: what the request says.
    pub content_type: String,
    /// Good until then.
    pub until: UnixMillis,
}

impl Permit {
    /// The permit as the bearer shows it: a signature, owner, time and type. What else belongs to it is said by the
    /// request.
    #[must_use]
    pub fn token(&self, secret: &[u8; 32]) -> String {
        let mut bytes = self.mac(secret).finalize().into_bytes().to_vec();
        bytes.extend_from_slice(&self.owner.0.to_be_bytes());
        bytes.extend_from_slice(&self.until.0.to_be_bytes());
        bytes.extend_from_slice(self.content_type.as_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Reads a token for an upload of this name and size; none if it was not given for that, or is too old.
    fn read(
        token: &str,
        secret: &[u8; 32],
        id: MediaId,
        name: &str,
        size: u64,
        now: UnixMillis,
    ) -> Option<Permit> {
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (signature, rest) = bytes.split_at_checked(SIGNATURE)?;
        let (numbers, content_type) = rest.split_at_checked(NUMBERS)?;
        let number = |at: usize| numbers[at..at + 8].try_into().map(u64::from_be_bytes);
        let permit = Permit {
            id,
            name: name.to_owned(),
            owner: AccountId(number(0).ok()?),
            size,
            content_type: String::from_utf8(content_type.to_vec()).ok()?,
            until: UnixMillis(number(8).ok()?),
        };
        permit.mac(secret).verify_slice(signature).ok()?;
        (now < permit.until).then_some(permit)
    }

    fn mac(&self, secret: &[u8; 32]) -> Hmac<Sha256> {
        // A key shorter than a block is filled up with zeros (RFC 2104 §2).
        let mut key = [0; 64];
        key[..secret.len()].copy_from_slice(secret);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&key.into());
        mac.update(LABEL);
        mac.update(&self.id.0.to_be_bytes());
        for number in [self.owner.0, self.size, self.until.0, self.name.len() as u64] {
            mac.update(&number.to_be_bytes());
        }
        mac.update(self.name.as_bytes());
        mac.update(self.content_type.as_bytes());
        mac
    }
}

/// Serves all of them.
pub fn serve(http: &mut Http, incoming: Incoming, cx: &mut Cx<'_>) {
    let Some((id, name)) = named(&incoming.head) else {
        return http.decline(incoming, nothing(), cx);
    };
    if incoming.head.method == Method::Put {
        put(http, incoming, id, &name, cx)
    } else {
        get(http, incoming, id, cx)
    }
}

/// The upload that a path names.
fn named(head: &Head) -> Option<(MediaId, String)> {
    let mut segments = head.target.segments().skip(1);
    let id = MediaId::parse(&segments.next()?)?;
    let name = segments.next()?.into_owned();
    segments.next().is_none().then_some((id, name))
}

fn nothing() -> Response {
    Response::text(Status::NOT_FOUND, "there is no such file")
}

fn get(http: &mut Http, incoming: Incoming, id: MediaId, cx: &mut Cx<'_>) {
    let head = incoming.head.clone();
    let ticket = http.turn_down(incoming);
    http.ask(Query::Media(id), ticket, cx, move |http, ticket, reply, cx| match reply {
        Ok(Value::Media(media)) => give(http, ticket, &head, &media, cx),
        Err(Refusal::NoSuchItem) => http.respond(ticket, nothing(), cx),
        _ => http.respond(ticket, unavailable(), cx),
    });
}

fn give(http: &mut Http, ticket: Ticket, head: &Head, media: &Media, cx: &mut Cx<'_>) {
    let Some(content) = &media.content else { return http.respond(ticket, nothing(), cx) };
    let key = BlobKey::of(content.hash);
    let tag = content::etag(key);
    if let Some(response) = content::not_modified(head, &tag) {
        return http.respond(ticket, response, cx);
    }
    let response = content::response(content, None, &tag);
    http.send(ticket, key, response, span(head, &tag), cx, |http, ticket, why, cx| {
        let response = if why == Refusal::NoSuchItem { nothing() } else { unavailable() };
        http.respond(ticket, response, cx);
    });
}

fn put(http: &mut Http, incoming: Incoming, id: MediaId, name: &str, cx: &mut Cx<'_>) {
    let head = &incoming.head;
    let Framing::Length(size) = head.framing else {
        let why = "the length must be said before";
        return http.decline(incoming, Response::text(Status::LENGTH_REQUIRED, why), cx);
    };
    let (secret, now) = (cx.core_settings().secret, cx.now().wall);
    let permit = head.bearer().and_then(|token| Permit::read(token, &secret, id, name, size, now));
    let Some(permit) = permit else {
        let why = "the permit is missing, too old, or for another file";
        return http.decline(incoming, Response::text(Status::FORBIDDEN, why), cx);
    };
    let said = head.header("content-type").unwrap_or_default();
    let content_type = if permit.content_type.is_empty() { said } else { &permit.content_type };
    let content_type = Str::new(content::content_type(content_type));
    http.ask_first(Query::Media(id), incoming, cx, move |http, incoming, reply, cx| match reply {
        Err(Refusal::NoSuchItem) => http.take(incoming, size, cx, move |http, ticket, kept, cx| match kept {
            Ok(kept) => record(http, ticket, &permit, content_type, kept, cx),
            Err(why) => http.respond(ticket, refused(&why), cx),
        }),
        Ok(_) => http.decline(incoming, refused(&Refusal::Stale), cx),
        Err(_) => http.decline(incoming, unavailable(), cx),
    });
}

/// The content is kept; now it gets its owner and name.
fn record(http: &mut Http, ticket: Ticket, permit: &Permit, content_type: Str, kept: Kept, cx: &mut Cx<'_>) {
    let content = Content { hash: kept.hash, size: kept.size, content_type, name: Str::new(&permit.name) };
    let act = Act::AddMedia { id: permit.id, content, reserved: false };
    let req = cx.command(Command::by_server(EntityId::Account(permit.owner), act), false);
    http.when(req, ticket, |http, ticket, reply, cx| {
        let response = match reply {
            Ok(_) => Response::new(Status::CREATED),
            Err(why) => refused(&why),
        };
        http.respond(ticket, response, cx);
    });
}

fn refused(why: &Refusal) -> Response {
    let (status, why) = match why {
        Refusal::TooLong => (Status::CONTENT_TOO_LARGE, "the file is too large"),
        Refusal::TooMany => (Status::INSUFFICIENT_STORAGE, "you have no room left for files"),
        Refusal::StoreFull => (Status::INSUFFICIENT_STORAGE, "the server has no room left"),
        Refusal::Stale => (Status::CONFLICT, "this file is there already"),
        Refusal::NoSuchUser => (Status::FORBIDDEN, "there is no such account any more"),
        _ => return unavailable(),
    };
    Response::text(status, why)
}

fn unavailable() -> Response {
    Response::text(Status::SERVICE_UNAVAILABLE, "the store does not answer; try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8; 32] = &[7; 32];

    fn permit() -> Permit {
        Permit {
            id: MediaId(5),
            name: "\u{17d} x?#.txt".to_owned(),
            owner: AccountId(77),
            size: 1_000,
            content_type: "text/plain".to_owned(),
            until: UnixMillis(2_000),
        }
    }

    #[test]
    fn a_permit_is_for_one_file_and_not_for_ever() {
        let (p, now) = (permit(), UnixMillis(1_999));
        let token = p.token(SECRET);
        let read = |token: &str, id, name: &str, size, now| {
            Permit::read(token, SECRET, MediaId(id), name, size, now)
        };
        assert_eq!(read(&token, 5, &p.name, 1_000, now), Some(p.clone()));
        assert_eq!(read(&token, 6, &p.name, 1_000, now), None);
        assert_eq!(read(&token, 5, "other", 1_000, now), None);
        assert_eq!(read(&token, 5, &p.name, 1_001, now), None);
        assert_eq!(read(&token, 5, &p.name, 1_000, UnixMillis(2_000)), None);
        assert_eq!(Permit::read(&token, &[8; 32], p.id, &p.name, 1_000, now), None);
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).expect("ASCII");
            assert_eq!(read(&other, 5, &p.name, 1_000, now), None, "{at}");
        }
        assert_eq!(read(&token[..8], 5, &p.name, 1_000, now), None);
    }

    #[test]
    fn an_address_names_its_upload() {
        let settings = HttpSettings { base: Some("https://x.org".to_owned()), ..HttpSettings::default() };
        let p = permit();
        let url = address(&settings, p.id, &p.name).expect("somebody listens");
        assert_eq!(url, "https://x.org/file/AAAAAAAAAAAAAAAAAAAAAF/%C5%BD%20x%3F%23.txt");
        let head = Head::parse(format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", &url[13..]).as_bytes())
            .expect("a head");
        assert_eq!(named(&head), Some((p.id, p.name.clone())));
        for path in [
            "/file",
            "/file/",
            "/file/AAAAAAAAAAAAAAAAAAAAAF",
            "/file/AAAAAAAAAAAAAAAAAAAAAF/a/b",
            "/file/../a",
        ] {
            let head =
                Head::parse(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("a head");
            assert_eq!(named(&head), None, "{path}");
        }
        assert_eq!(named_by(&settings, &url), Some((p.id, p.name.clone())));
        for bad in
            [format!("{url}?x"), format!("{url}/x"), format!("x{url}"), format!("{url}%"), format!("{url} x")]
        {
            assert_eq!(named_by(&settings, &bad), None, "{bad}");
        }
        assert_eq!(address(&HttpSettings::default(), p.id, "a"), None);
    }
}
