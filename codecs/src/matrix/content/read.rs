//! A client's event, read: what it wants, and what people on other protocols see of it.

use super::clean::clean;
use super::{BadContent, HTML, MESSAGE, NEW_CONTENT, RELATES_TO, TYPE_MAX, media, pack};
use crate::json::Json;
use crate::matrix::html::{self, Names};
use crate::matrix::ids::{EventRef, Who, who};
use lavina_core::chat::speech::REACTION_MAX;
use lavina_core::event::{Kind, Message, Native};
use lavina_core::ids::{MsgId, RoomId};
use lavina_core::media::MediaId;
use lavina_core::text::{Rich, Str};

/// Which upload an object of the media repository is, and the link under which anybody can fetch it; of the object's
/// address and the file's name.
pub type Links<'a> = dyn Fn(&str, &str) -> Option<(MediaId, String)> + 'a;

/// What reading a content needs to know.
pub struct Look<'a> {
    /// The room it is sent to.
    pub room: RoomId,
    /// The sender's name.
    pub by: &'a str,
    /// Which event an id means.
    pub event: &'a dyn Fn(&str) -> Option<EventRef>,
    /// What people are called.
    pub names: &'a dyn Names,
    /// The link under which anybody can fetch an object of the media repository, and which upload it is; of the object's
    /// address and the file's name.
    pub media: &'a Links<'a>,
    /// Bytes of text (`Limits::text`); above: refused.
    pub text_max: usize,
    /// Bytes of the native form (`Limits::native`); above: refused.
    pub native_max: usize,
}

/// Accounts of ours are called by their names.
#[derive(Clone, Copy, Debug)]
pub struct LocalNames<'a>(pub &'a str);

impl Names for LocalNames<'_> {
    fn user(&self, id: &str) -> Option<String> {
        match who(id, self.0) {
            Some(Who::Local(name)) => Some(name.as_str().to_owned()),
            _ => None,
        }
    }
}

/// What an event that a client sends wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// Say something.
    Say(Box<Message>),
    /// Replace an own message.
    Edit {
        /// Which.
        target: EventRef,
        /// By what.
        message: Box<Message>,
    },
    /// React to a message.
    React {
        /// To which.
        target: EventRef,
        /// How.
        key: Str,
        /// The event.
        native: Native,
    },
    /// Withdraw an event: a message, or what is an entry of its own, as a reaction.
    Redact {
        /// Which.
        target: EventRef,
        /// Why, for people.
        reason: Option<Str>,
        /// The event.
        native: Native,
    },
}

/// Reads the event that a client sends.
///
/// Relations that break the rules of their kind are passed over, as the specification wants it ("Forming relationships
/// between events"): then the event is shown for itself.
///
/// # Errors
/// [`BadContent`], with the code and the status of the answer.
pub fn read(kind: &str, mut content: Json, look: &Look<'_>) -> Result<Intent, BadContent> {
    if kind.is_empty() || kind.len() > TYPE_MAX {
        return Err(BadContent::Type);
    }
    if content.as_object().is_none() {
        return Err(BadContent::NotAnObject);
    }
    content.check_canonical()?;
    clean(&mut content);
    let native = pack(kind, &content);
    if native.bytes.len() > look.native_max {
        return Err(BadContent::TooLarge(look.native_max));
    }
    if kind == "m.room.redaction" {
        let target =
            content.str_of("redacts").and_then(|id| look.here(id)).ok_or(BadContent::NothingToRedact)?;
        let reason = content.str_of("reason").map(Str::new);
        return Ok(Intent::Redact { target, reason, native });
    }
    if kind == MESSAGE && (content.str_of("msgtype").is_none() || content.str_of("body").is_none()) {
        return Err(BadContent::NoBody);
    }
    let relation = content.get(RELATES_TO);
    let related = relation.and_then(|r| r.str_of("event_id")).and_then(|id| look.here(id));
    match (relation.and_then(|r| r.str_of("rel_type")), related) {
        (Some("m.annotation"), Some(target)) if kind == "m.reaction" => {
            // A longer one is no reaction to others, but still one on Matrix.
            let fits = |k: &&str| !k.is_empty() && (k.len() <= REACTION_MAX || k.starts_with("mxc://"));
            if let Some(key) = relation.and_then(|r| r.str_of("key")).filter(fits) {
                return Ok(Intent::React { target, key: reaction(key, &content), native });
            }
        }
        (Some("m.replace"), Some(target)) => {
            let new = content.get(NEW_CONTENT).filter(|new| new.as_object().is_some());
            if let Some(new) = new.or((kind == "m.room.encrypted").then_some(&content)) {
                let message = message(kind, new, native, look)?;
                return Ok(Intent::Edit { target, message: Box::new(message) });
            }
        }
        _ => {}
    }
    let mut message = message(kind, &content, native, look)?;
    if let Some(relation) = relation {
        relate(&mut message, relation, look);
    }
    Ok(Intent::Say(Box::new(message)))
}

/// A reaction as everybody can read it: of a picture, its name between colons.
fn reaction(key: &str, content: &Json) -> Str {
    if !key.starts_with("mxc://") {
        return Str::new(key);
    }
    let names = ["shortcode", "com.beeper.reaction.shortcode"];
    let name = names.iter().find_map(|name| content.str_of(name)).map(|name| name.trim_matches(':'));
    let plain = |name: &&str| {
        (1..=REACTION_MAX - 2).contains(&name.len())
            && !name.contains(|c: char| c.is_control() || c.is_whitespace())
    };
    Str::new(format!(":{}:", name.filter(plain).unwrap_or("image")))
}

impl Look<'_> {
    /// The event of this room that an id means.
    fn here(&self, id: &str) -> Option<EventRef> {
        (self.event)(id).filter(|event| event.room == self.room)
    }

    fn message(&self, id: Option<&Json>) -> Option<MsgId> {
        let event = self.here(id?.as_str()?).filter(|event| !event.is_create())?;
        Some(MsgId { room: event.room, pos: event.pos })
    }
}

/// Thread and reply. What a thread's event replies to only for clients that know no threads is no reply.
fn relate(message: &mut Message, relation: &Json, look: &Look<'_>) {
    if relation.str_of("rel_type") == Some("m.thread") {
        message.thread = look.message(relation.get("event_id"));
    }
    let falls_back =
        message.thread.is_some() && relation.get("is_falling_back").and_then(Json::as_bool).unwrap_or(false);
    if !falls_back {
        message.reply = look.message(relation.at(&["m.in_reply_to", "event_id"]));
    }
}

fn message(kind: &str, content: &Json, native: Native, look: &Look<'_>) -> Result<Message, BadContent> {
    let sort = (kind != MESSAGE).then(|| Str::new(kind));
    let (body, kind) = neutral(kind, content, look);
    if body.text.len() > look.text_max {
        return Err(BadContent::TextTooLong(look.text_max));
    }
    let kind = if body.text.is_empty() { Kind::Payload } else { kind };
    let file = media::shared(content, look).filter(|_| sort.is_none()).map(Box::new);
    Ok(Message { body, kind, sort, file, native: Some(native), ..Message::default() })
}

/// What everybody can read of an event, and how it is meant.
fn neutral(kind: &str, content: &Json, look: &Look<'_>) -> (Rich, Kind) {
    let hidden = || (Rich::default(), Kind::Payload);
    match kind {
        MESSAGE => {
            let file = |what| media::file(content, what, text(content, look), look);
            match content.str_of("msgtype").unwrap_or_default() {
                "m.emote" => (text(content, look), Kind::Emote),
                "m.notice" | "m.server_notice" => (text(content, look), Kind::Notice),
                "m.image" => (file("image"), Kind::Normal),
                "m.video" => (file("video"), Kind::Normal),
                "m.audio" => (file("audio"), Kind::Normal),
                "m.file" => (file(""), Kind::Normal),
                "m.location" => (media::location(content), Kind::Normal),
                "m.key.verification.request" => hidden(),
                _ => (text(content, look), Kind::Normal),
            }
        }
        "m.sticker" => (media::sticker(content, look), Kind::Normal),
        "m.poll.start" | "org.matrix.msc3381.poll.start" => {
            media::poll(content).map_or_else(hidden, |poll| (poll, Kind::Normal))
        }
        "m.poll.end" | "org.matrix.msc3381.poll.end" => (media::poll_end(content), Kind::Notice),
        "m.call.invite"
        | "m.call.notify"
        | "m.rtc.notification"
        | "org.matrix.msc4075.call.notify"
        | "org.matrix.msc4075.rtc.notification" => {
            (Rich::plain(format!("{} is calling (Matrix)", look.by)), Kind::Notice)
        }
        _ => hidden(),
    }
}

/// The text of a message: its HTML if it has some that says anything, else its plain body.
fn text(content: &Json, look: &Look<'_>) -> Rich {
    if content.str_of("format") == Some(HTML)
        && let Some(formatted) = content.str_of("formatted_body")
    {
        let rich = html::read(formatted, look.names);
        if !rich.text.is_empty() {
            return rich;
        }
    }
    let body = content.str_of("body").unwrap_or_default();
    match body.contains('\r') {
        true => Rich::plain(body.replace("\r\n", "\n").replace('\r', "\n").trim_end_matches('\n')),
        false => Rich::plain(body.trim_end_matches('\n')),
    }
}
