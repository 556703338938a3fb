#![allow(clippy::unwrap_used)]
use super::*;
use crate::json::Json;
use crate::matrix::html::Nameless;
use crate::matrix::ids::{EventRef, IdKey};
use lavina_core::event::{Actor, Event, Kind, Message, What};
use lavina_core::ids::{AccountId, MsgId, Pos, RoomId};
use lavina_core::media::MediaId;
use lavina_core::name::{User, UserName};
use lavina_core::text::{Rich, Span, Str, Style};
use lavina_core::time::UnixMillis;

const ROOM: RoomId = RoomId(5);

fn key() -> IdKey {
    IdKey::new(&[1; 32])
}

fn id(pos: u64) -> String {
    key().coded_event_id(EventRef::new(ROOM, Pos(pos)))
}

fn msg(pos: u64) -> MsgId {
    MsgId { room: ROOM, pos: Pos(pos) }
}

fn parse(json: &str) -> Json {
    Json::parse(json.as_bytes()).unwrap()
}

fn try_read(kind: &str, content: &Json) -> Result<Intent, BadContent> {
    let look = Look {
        room: ROOM,
        by: "alice",
        event: &|id| key().coded_event(id),
        names: &LocalNames("x.org"),
        media: &|mxc, _| {
            let id = mxc.strip_prefix("mxc://x.org/")?;
            Some((MediaId(1), format!("https://x.org/f/{id}")))
        },
        text_max: 1000,
        native_max: 8000,
    };
    read(kind, content.clone(), &look)
}

fn said(kind: &str, content: &Json) -> Message {
    match try_read(kind, content) {
        Ok(Intent::Say(message)) => *message,
        other => panic!("{other:?}"),
    }
}

/// Text, kind and spans of a message.
#[track_caller]
fn check(kind: &str, content: &str, text: &str, how: Kind) {
    let message = said(kind, &parse(content));
    assert_eq!((message.body.text.as_str(), message.kind), (text, how), "{content}");
    let (native_kind, _) = unpack(message.native.as_ref().unwrap()).unwrap();
    assert_eq!(native_kind, kind);
    assert!(Json::is_canonical(&message.native.unwrap().bytes));
}

#[test]
fn texts() {
    use Kind::*;
    let check = |content: &str, text: &str, how: Kind| check("m.room.message", content, text, how);
    check(r#"{"msgtype":"m.text","body":"hi"}"#, "hi", Normal);
    check(r#"{"msgtype":"m.emote","body":"waves"}"#, "waves", Emote);
    check(r#"{"msgtype":"m.notice","body":"beep"}"#, "beep", Notice);
    check(r#"{"msgtype":"org.example.new","body":"a\r\nb\n"}"#, "a\nb", Normal);
    check(r#"{"msgtype":"m.text","body":""}"#, "", Payload);
    check(r#"{"msgtype":"m.key.verification.request","body":"verify?"}"#, "", Payload);
    check(
        r#"{"msgtype":"m.text","body":"Alice: x","format":"org.matrix.custom.html",
            "formatted_body":"<a href='https://matrix.to/#/@alice:x.org'>Alice</a>: <b>y</b>"}"#,
        "alice: y",
        Normal,
    );
    check(r#"{"msgtype":"m.text","body":"x","formatted_body":"<b>y</b>"}"#, "x", Normal);
    check(
        r#"{"msgtype":"m.text","body":"x","format":"org.matrix.custom.html","formatted_body":"<script>y</script>"}"#,
        "x",
        Normal,
    );
}

#[test]
fn files_and_other_things_are_told_in_words() {
    use Kind::*;
    check(
        "m.room.message",
        r#"{"msgtype":"m.image","body":"cat.jpg","url":"mxc://x.org/abc","info":{"size":27253,"w":4,"h":5}}"#,
        "cat.jpg (image, 27 kB) https://x.org/f/abc",
        Normal,
    );
    check(
        "m.room.message",
        r#"{"msgtype":"m.file","body":"look","filename":"a\nb.pdf","url":"mxc://x.org/abc","info":{"size":-1}}"#,
        "look\na b.pdf https://x.org/f/abc",
        Normal,
    );
    check(
        "m.room.message",
        r#"{"msgtype":"m.audio","body":"v.ogg","org.matrix.msc3245.voice":{},"info":{"duration":12000},"url":"http://evil/"}"#,
        "v.ogg (voice message, 0:12)",
        Normal,
    );
    check(
        "m.room.message",
        r#"{"msgtype":"m.video","body":"","file":{"url":"mxc://x.org/abc"}}"#,
        "a file (video, encrypted)",
        Normal,
    );
    check(
        "m.room.message",
        r#"{"msgtype":"m.location","body":"Big Ben","geo_uri":"geo:51.5,-0.1;u=3"}"#,
        "Big Ben (geo:51.5,-0.1;u=3)",
        Normal,
    );
    check("m.room.message", r#"{"msgtype":"m.location","body":"here","geo_uri":"geo:1 2"}"#, "here", Normal);
    check(
        "m.sticker",
        r#"{"body":"a cat","url":"mxc://x.org/abc","info":{}}"#,
        "a cat (sticker) https://x.org/f/abc",
        Normal,
    );
    check(
        "org.matrix.msc3381.poll.start",
        r#"{"org.matrix.msc3381.poll.start":{"question":{"org.matrix.msc1767.text":"Tea?"},
            "answers":[{"id":"1","org.matrix.msc1767.text":"Yes"},{"id":"2","m.text":[{"mimetype":"text/html","body":"x"},{"body":"No"}]}]}}"#,
        "Poll: Tea?\n1. Yes\n2. No",
        Normal,
    );
    check("m.poll.end", r#"{"m.text":[{"body":"Tea won"}]}"#, "Tea won", Notice);
    check("m.call.invite", r#"{"call_id":"1"}"#, "alice is calling (Matrix)", Notice);
    check("m.room.encrypted", r#"{"ciphertext":"abc"}"#, "", Payload);
    check("org.example.custom", r#"{"body":"x","n":[1,null]}"#, "", Payload);
}

#[test]
fn what_is_refused_and_why() {
    let errcode = |kind: &str, content: &str| try_read(kind, &parse(content)).unwrap_err().errcode();
    assert_eq!(errcode("m.room.message", r#"{"body":"x"}"#), "M_BAD_JSON");
    assert_eq!(errcode("m.room.message", r#"{"msgtype":"m.text","body":3}"#), "M_BAD_JSON");
    assert_eq!(errcode("x", "[]"), "M_BAD_JSON");
    assert_eq!(errcode("x", r#"{"a":1.5}"#), "M_BAD_JSON");
    assert_eq!(errcode("x", r#"{"a":9007199254740992}"#), "M_BAD_JSON");
    assert_eq!(errcode("", "{}"), "M_INVALID_PARAM");
    assert_eq!(errcode(&"x".repeat(256), "{}"), "M_INVALID_PARAM");
    assert_eq!(errcode("m.room.redaction", r#"{"redacts":"$nope"}"#), "M_NOT_FOUND");
    let long = object! { "msgtype" => "m.text", "body" => "x".repeat(1001) };
    assert_eq!(try_read("m.room.message", &long), Err(BadContent::TextTooLong(1000)));
    let large = object! { "a" => "x".repeat(8000) };
    assert_eq!(try_read("x", &large).map_err(|e| e.status()), Err(413));
}

#[test]
fn relations() {
    let with = |relation: Json| object! { "msgtype" => "m.text", "body" => "x", "m.relates_to" => relation };
    let replied = |pos: u64| object! { "event_id" => id(pos) };
    let of = |relation: Json| {
        let message = said("m.room.message", &with(relation));
        (message.reply, message.thread)
    };
    assert_eq!(of(object! { "m.in_reply_to" => replied(3) }), (Some(msg(3)), None));
    let thread = |back: bool| {
        object! {
            "rel_type" => "m.thread", "event_id" => id(2), "is_falling_back" => back, "m.in_reply_to" => replied(3),
        }
    };
    assert_eq!(of(thread(true)), (None, Some(msg(2))));
    assert_eq!(of(thread(false)), (Some(msg(3)), Some(msg(2))));
    let elsewhere = key().coded_event_id(EventRef::new(RoomId(6), Pos(3)));
    assert_eq!(of(object! { "m.in_reply_to" => object! { "event_id" => elsewhere } }), (None, None));
    assert_eq!(
        of(object! { "rel_type" => "m.replace", "event_id" => id(2) }),
        (None, None),
        "without new content"
    );
}

#[test]
fn edits_reactions_and_redactions() {
    let replace = object! { "rel_type" => "m.replace", "event_id" => id(2) };
    let edit = object! {
        "msgtype" => "m.text",
        "body" => "* new",
        "m.new_content" => object! { "msgtype" => "m.emote", "body" => "new" },
        "m.relates_to" => replace.clone(),
    };
    let Ok(Intent::Edit { target, message }) = try_read("m.room.message", &edit) else { panic!("no edit") };
    assert_eq!((target.pos, message.body.text.as_str(), message.kind), (Pos(2), "new", Kind::Emote));
    assert_eq!(unpack(&message.native.unwrap()).unwrap().1, edit);
    let secret = object! { "ciphertext" => "x", "m.relates_to" => replace };
    assert!(
        matches!(try_read("m.room.encrypted", &secret), Ok(Intent::Edit { message, .. }) if message.kind == Kind::Payload)
    );

    let reaction = |key: Json| {
        object! { "m.relates_to" => object! { "rel_type" => "m.annotation", "event_id" => id(2), "key" => key } }
    };
    let Ok(Intent::React { target, key, .. }) = try_read("m.reaction", &reaction("👍".into())) else {
        panic!("no reaction")
    };
    assert_eq!((target.pos, key.as_str()), (Pos(2), "👍"));
    assert_eq!(said("m.reaction", &reaction(3.into())).kind, Kind::Payload);
    for (name, shown) in [(":cat_wave:", ":cat_wave:"), ("a b", ":image:"), ("", ":image:")] {
        let mut picture = reaction("mxc://x.org/a".into());
        picture.set("shortcode", name);
        let read = try_read("m.reaction", &picture);
        assert!(matches!(&read, Ok(Intent::React { key, .. }) if key == shown), "{read:?}");
    }

    let redaction = object! { "redacts" => id(2), "reason" => "spam" };
    let Ok(Intent::Redact { target, reason, .. }) = try_read("m.room.redaction", &redaction) else {
        panic!("no redaction")
    };
    assert_eq!((target.pos, reason.as_deref()), (Pos(2), Some("spam")));
}

fn event(what: What) -> Event {
    let alice = User::new(AccountId(1), UserName::new("alice").unwrap());
    Event {
        room: ROOM,
        pos: Pos(9),
        prev: Pos(8),
        at: UnixMillis(1000),
        by: Actor::User(alice),
        once: None,
        what,
        facts: vec![],
        sealed: None,
    }
}

fn shown_with(what: What, undone: Option<EventRef>) -> Option<(String, String)> {
    let with = Write { ids: &key(), seal: &|_| None, domain: "x.org", known: &|_| true, notify_room: false };
    let shown = write(&event(what), undone, &with)?;
    Some((shown.kind.to_string(), String::from_utf8(shown.content.to_bytes()).unwrap()))
}

#[track_caller]
fn shows(what: What, kind: &str, content: &str) {
    let (found, json) = shown_with(what, None).unwrap();
    assert_eq!((found.as_str(), json), (kind, String::from_utf8(parse(content).to_bytes()).unwrap()));
}

fn message(text: &str) -> Message {
    Message { body: Rich::plain(text), ..Message::default() }
}

#[test]
fn what_others_say_becomes_messages() {
    let shows =
        |message: Message, content: &str| shows(What::Said(Box::new(message)), "m.room.message", content);
    shows(
        message("bob: hi"),
        r#"{"msgtype":"m.text","body":"bob: hi","m.mentions":{"user_ids":["@bob:x.org"]}}"#,
    );
    shows(
        Message { kind: Kind::Emote, ..message("waves") },
        r#"{"msgtype":"m.emote","body":"waves","m.mentions":{}}"#,
    );
    shows(
        Message { kind: Kind::Notice, reply: Some(msg(3)), ..message("x") },
        &format!(
            r#"{{"msgtype":"m.notice","body":"x","m.mentions":{{}},"m.relates_to":{{"m.in_reply_to":{{"event_id":"{}"}}}}}}"#,
            id(3)
        ),
    );
    shows(
        Message { thread: Some(msg(2)), ..message("x") },
        &format!(
            r#"{{"msgtype":"m.text","body":"x","m.mentions":{{}},"m.relates_to":{{"rel_type":"m.thread","event_id":"{0}",
               "is_falling_back":true,"m.in_reply_to":{{"event_id":"{0}"}}}}}}"#,
            id(2)
        ),
    );
    shows(
        Message { thread: Some(msg(2)), reply: Some(msg(3)), ..message("x") },
        &format!(
            r#"{{"msgtype":"m.text","body":"x","m.mentions":{{}},"m.relates_to":{{"rel_type":"m.thread","event_id":"{}",
               "is_falling_back":false,"m.in_reply_to":{{"event_id":"{}"}}}}}}"#,
            id(2),
            id(3)
        ),
    );
    let span = |from, to, style| Span { from, to, style };
    let spans = vec![span(0, 3, Style::Quote), span(4, 5, Style::Bold), span(6, 7, Style::Spoiler)];
    shows(
        Message { body: Rich { text: Str::new("q\nr\nb s"), spans }, ..Message::default() },
        r#"{"msgtype":"m.text","body":"> q\n> r\nb [spoiler]","m.mentions":{},"format":"org.matrix.custom.html",
           "formatted_body":"<blockquote>q<br>r</blockquote><strong>b</strong> <span data-mx-spoiler>s</span>"}"#,
    );
    shows(Message { gone: true, ..Message::default() }, "{}");
    assert_eq!(shown_with(What::Said(Box::new(Message { kind: Kind::Payload, ..message("x") })), None), None);
}

#[test]
fn what_others_do_becomes_events() {
    shows(
        What::Edited { target: Pos(2), message: Box::new(message("bob: hi")), target_client_id: None },
        "m.room.message",
        &format!(
            r#"{{"msgtype":"m.text","body":"* bob: hi","m.mentions":{{}},
               "m.new_content":{{"msgtype":"m.text","body":"bob: hi","m.mentions":{{"user_ids":["@bob:x.org"]}}}},
               "m.relates_to":{{"rel_type":"m.replace","event_id":"{}"}}}}"#,
            id(2)
        ),
    );
    let reacted = |on| What::Reacted {
        target: Pos(2),
        key: Str::new("👍"),
        on,
        now: vec![],
        native: None,
        target_client_id: None,
    };
    shows(
        reacted(true),
        "m.reaction",
        &format!(r#"{{"m.relates_to":{{"rel_type":"m.annotation","event_id":"{}","key":"👍"}}}}"#, id(2)),
    );
    assert_eq!(shown_with(reacted(false), None), None);
    let undone = shown_with(reacted(false), Some(EventRef::new(ROOM, Pos(4)))).unwrap();
    assert_eq!(undone, ("m.room.redaction".into(), format!(r#"{{"redacts":"{}"}}"#, id(4))));
    shows(
        What::Redacted {
            target: Pos(2),
            reason: Some(Str::new("spam")),
            author: Actor::Server,
            target_client_id: None,
            native: None,
        },
        "m.room.redaction",
        &format!(r#"{{"redacts":"{}","reason":"spam"}}"#, id(2)),
    );
    assert_eq!(shown_with(What::Topic(Rich::plain("x")), None), None);
}

#[test]
fn what_matrix_said_comes_back_as_it_was() {
    let content =
        object! { "msgtype" => "m.text", "body" => "hi", "org.example" => object! { "deep" => [1, 2] } };
    let message = said("m.room.message", &content);
    let (kind, json) = shown_with(What::Said(Box::new(message)), None).unwrap();
    assert_eq!((kind.as_str(), parse(&json)), ("m.room.message", content));
    let secret = said("m.room.encrypted", &object! { "ciphertext" => "x" });
    let gone = Message { gone: true, native: None, ..secret.clone() };
    assert_eq!(shown_with(What::Said(Box::new(secret)), None).unwrap().0, "m.room.encrypted");
    let left = shown_with(What::Said(Box::new(gone)), None);
    assert_eq!(left, Some(("m.room.encrypted".into(), "{}".into())), "a redaction leaves the type");
}

#[test]
fn the_type_is_found_without_reading_the_rest() {
    for kind in ["m.room.message", "m.room.encrypted", "odd\",\"type\":\"x"] {
        let native = pack(kind, &object! { "type" => "inner", "z" => ",\"type\":\"no\"" });
        assert_eq!(kind_of(&native).as_deref(), Some(kind));
        assert_eq!(is_encrypted(&native), kind == "m.room.encrypted");
        assert_eq!(kind_of(&Native { protocol: 1, ..native }), None);
    }
}

#[test]
fn names_without_a_resolver_stay_as_written() {
    let rich = html::read("<a href='https://matrix.to/#/@alice:x.org'>Alice</a>", &Nameless);
    assert_eq!(rich.text, "Alice");
}

use crate::matrix::html;
use crate::object;
