//! What happened in a room, of whatever origin, as the content of an event.

use super::{HTML, MESSAGE, NEW_CONTENT, RELATES_TO, mentions, unpack};
use crate::json::Json;
use crate::matrix::api::media::content_uri;
use crate::matrix::chain;
use crate::matrix::html;
use crate::matrix::ids::{EventRef, IdKey};
use crate::object;
use lavina_core::event::{Event, File, Kind, Message, Native, What};
use lavina_core::ids::{MsgId, Pos, RoomId};
use lavina_core::name::UserName;
use lavina_core::seal::Seal;
use lavina_core::text::{Rich, Str, Style};

/// What writing a content needs to know.
pub struct Write<'a> {
    /// Makes ids.
    pub ids: &'a IdKey,
    /// The seals of events, where they are known and sealed.
    pub seal: &'a dyn Fn(EventRef) -> Option<Seal>,
    /// The server's domain.
    pub domain: &'a str,
    /// Whether somebody has that name: only such people are mentioned.
    pub known: &'a dyn Fn(&UserName) -> bool,
    /// Whether the sender may call everybody (`@room`).
    pub notify_room: bool,
}

/// Type and content of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The type.
    pub kind: Str,
    /// The content.
    pub content: Json,
}

impl Shown {
    fn new(kind: &str, content: Json) -> Shown {
        Shown { kind: Str::new(kind), content }
    }

    /// What is left of a message that was withdrawn: its type.
    pub fn hollow(message: &Message) -> Shown {
        Shown::new(message.sort.as_deref().unwrap_or(MESSAGE), Json::object())
    }
}

/// What an entry that is no state is shown as; none if Matrix does not show it (the payload of another protocol, or a
/// change of state).
///
/// A reaction taken back is the redaction of the event that had added it: `undone` is that, where it is known. What a
/// sealed entry says was settled when it was sealed.
pub fn write(event: &Event, undone: Option<EventRef>, with: &Write<'_>) -> Option<Shown> {
    if let Some(said) = chain::said(event) {
        return Some(said);
    }
    match &event.what {
        What::Said(message) | What::Edited { message, .. } if message.gone => Some(Shown::hollow(message)),
        What::Said(message) => own(&message.native).or_else(|| with.said(event.room, message)),
        What::Edited { target, message, .. } => {
            own(&message.native).or_else(|| with.edited(event.room, *target, message))
        }
        What::Reacted { native, target, key, on: true, .. } => {
            own(native).or_else(|| Some(with.reacted(event.room, *target, key)))
        }
        What::Reacted { on: false, .. } => undone.map(|target| with.redaction(target, None)),
        What::Redacted { native, target, reason, .. } => own(native)
            .or_else(|| Some(with.redaction(EventRef::new(event.room, *target), reason.as_deref()))),
        What::Withdrawn { native, target, reason, nth, .. } => own(native).or_else(|| {
            let target = EventRef { sub: nth.unwrap_or(0), ..EventRef::new(event.room, *target) };
            Some(with.redaction(target, reason.as_deref()))
        }),
        _ => None,
    }
}

fn own(native: &Option<Native>) -> Option<Shown> {
    native.as_ref().and_then(unpack).map(|(kind, content)| Shown { kind, content })
}

impl Write<'_> {
    fn id(&self, room: RoomId, pos: Pos) -> String {
        self.id_of(EventRef::new(room, pos))
    }

    /// The id of an event.
    pub fn id_of(&self, event: EventRef) -> String {
        self.ids.name(event, (self.seal)(event).as_ref())
    }

    fn said(&self, room: RoomId, message: &Message) -> Option<Shown> {
        let mut content = self.text(message)?;
        let here = |id: &Option<MsgId>| id.filter(|id| id.room == room).map(|id| self.id(room, id.pos));
        let (reply, thread) = (here(&message.reply), here(&message.thread));
        let replied = |id: &str| object! { "event_id" => id };
        let relation = match (thread, reply) {
            (Some(root), reply) => Some(object! {
                "rel_type" => "m.thread",
                "event_id" => &root,
                "is_falling_back" => reply.is_none(),
                "m.in_reply_to" => replied(reply.as_ref().unwrap_or(&root)),
            }),
            (None, Some(reply)) => Some(object! { "m.in_reply_to" => replied(&reply) }),
            (None, None) => None,
        };
        if let Some(relation) = relation {
            content.set(RELATES_TO, relation);
        }
        Some(Shown::new(MESSAGE, content))
    }

    fn edited(&self, room: RoomId, target: Pos, message: &Message) -> Option<Shown> {
        let new = self.text(message)?;
        let mut content = new.clone();
        for key in ["body", "formatted_body"] {
            if let Some(text) = new.str_of(key) {
                content.set(key, format!("* {text}"));
            }
        }
        // Who was mentioned before is not called again (client-server API, "Edits of events with mentions").
        content.set("m.mentions", Json::object());
        content.set(NEW_CONTENT, new);
        content.set(RELATES_TO, object! { "rel_type" => "m.replace", "event_id" => self.id(room, target) });
        Some(Shown::new(MESSAGE, content))
    }

    fn reacted(&self, room: RoomId, target: Pos, key: &str) -> Shown {
        let relation = object! {
            "rel_type" => "m.annotation",
            "event_id" => self.id(room, target),
            "key" => key,
        };
        Shown::new("m.reaction", object! { RELATES_TO => relation })
    }

    fn redaction(&self, target: EventRef, reason: Option<&str>) -> Shown {
        let mut content = object! { "redacts" => self.id_of(target) };
        if let Some(reason) = reason {
            content.set("reason", reason);
        }
        Shown::new("m.room.redaction", content)
    }

    /// The content of a file from elsewhere.
    fn file(&self, file: &File) -> Json {
        let msgtype = match file.kind.split('/').next() {
            Some("image") => "m.image",
            Some("video") => "m.video",
            Some("audio") => "m.audio",
            _ => "m.file",
        };
        let mut info = Json::object();
        if !file.kind.is_empty() {
            info.set("mimetype", &file.kind);
        }
        if file.size > 0 {
            info.set("size", file.size);
        }
        object! {
            "msgtype" => msgtype,
            "body" => &file.name,
            "filename" => &file.name,
            "url" => content_uri(file.id, self.domain),
            "info" => info,
            "m.mentions" => Json::object(),
        }
    }

    /// The content of a text from elsewhere; none if there is no text.
    fn text(&self, message: &Message) -> Option<Json> {
        if let Some(file) = &message.file {
            return Some(self.file(file));
        }
        let msgtype = msgtype(message)?;
        let mut content = object! {
            "msgtype" => msgtype,
            "body" => body(&message.body),
            "m.mentions" => mentions(&message.body.text, self.domain, self.known, self.notify_room),
        };
        if let Some(formatted) = html::write(&message.body) {
            content.set("format", HTML);
            content.set("formatted_body", formatted);
        }
        Some(content)
    }
}

/// How a text from elsewhere is meant; none if there is no text.
fn msgtype(message: &Message) -> Option<&'static str> {
    if message.body.text.is_empty() {
        return None;
    }
    match message.kind {
        Kind::Emote => Some("m.emote"),
        Kind::Notice => Some("m.notice"),
        Kind::Normal => Some("m.text"),
        Kind::Payload => None,
    }
}

/// A text from elsewhere that calls nobody, answers nothing and has no marks. This never changes: hashes depend on it.
pub fn plain(message: &Message) -> Option<Shown> {
    if message.file.is_some() {
        return None;
    }
    let content = object! {
        "msgtype" => msgtype(message)?,
        "body" => message.body.text.as_str(),
        "m.mentions" => Json::object(),
    };
    Some(Shown::new(MESSAGE, content))
}

/// The plain text for clients and notifications that show no HTML: quoted lines are marked, what is hidden is left out
/// (client-server API, "Spoiler messages").
fn body(rich: &Rich) -> String {
    let rich = rich.quoted();
    let mut out = String::with_capacity(rich.text.len());
    let mut at = 0;
    for hidden in rich.spans.iter().filter(|s| s.style == Style::Spoiler) {
        let (from, to) = ((hidden.from as usize).max(at), hidden.to as usize);
        if from < to {
            out.extend([rich.text.get(at..from).unwrap_or_default(), "[spoiler]"]);
            at = to;
        }
    }
    out.push_str(rich.text.get(at..).unwrap_or_default());
    out
}
