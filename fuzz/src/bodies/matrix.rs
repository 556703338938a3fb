//! Matrix: JSON, the HTML of messages, identifiers.

use lavina_codecs::json::Json;
use lavina_codecs::matrix::html::{Nameless, clean, read, write};
use lavina_codecs::matrix::{ids, uri};

/// Any bytes as JSON: what is read can be written, and reads back the same.
pub fn json(data: &[u8]) {
    let Ok(value) = Json::parse(data) else { return };
    let bytes = value.to_bytes();
    assert_eq!(Json::parse(&bytes).as_ref(), Ok(&value), "what is written reads back");
    assert_eq!(value.to_bytes(), bytes, "there is one spelling");
    assert_eq!(Json::is_canonical(&bytes), value.check_canonical().is_ok(), "canonical but for numbers");
}

/// Any text as a message's HTML: what is cleaned stays as it is, and says the same.
pub fn html(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let cleaned = clean(&text);
    assert_eq!(clean(&cleaned), cleaned, "cleaning twice changes nothing");
    assert!(cleaned.len() <= 6 * text.len() + 64 * 100, "it does not blow up");
    let rich = read(&text, &Nameless);
    assert_eq!(read(&cleaned, &Nameless), rich, "the same is read of it");
    for span in &rich.spans {
        assert!(span.from < span.to && rich.text.get(span.from as usize..span.to as usize).is_some());
    }
    if let Some(html) = write(&rich) {
        assert_eq!(clean(&html), html, "what we write is clean");
    }
}

/// Any text as an id or a link.
pub fn ids(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(plain) = ids::unesc(&text) {
        assert_eq!(ids::esc(&plain), text, "there is one form");
    }
    if let Some(ids::Who::Local(name)) = ids::who(&text, "x.org") {
        assert_eq!(ids::account_id(&name, "x.org"), text, "an account's id is that account's");
    }
    let key = ids::IdKey::new(&[0; 32]);
    assert_eq!(key.event(&text).map(|event| key.event_id(event)).unwrap_or(text.to_string()), text);
    let _ = ids::room_name(&text, "x.org");
    let _ = uri::link(&text);
}
