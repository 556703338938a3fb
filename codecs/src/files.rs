//! Files in what people say: a message that is nothing but the address of an upload is that file, whichever protocol it
//! came by, and each protocol shows it in its own form.

use crate::settings::Settings;
use lavina_core::event::File;

/// What the ends of names mean, where nobody says it.
const TYPES: &[(&str, &str)] = &[
    ("avif", "image/avif"),
    ("gif", "image/gif"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("m4a", "audio/mp4"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("txt", "text/plain"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
];

/// The media type that a file's name speaks of; empty: none.
pub fn type_of(name: &str) -> &'static str {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    TYPES.iter().find(|(e, _)| end.eq_ignore_ascii_case(e)).map_or("", |(_, kind)| kind)
}

/// The file that a text is, if it is nothing but the address of an upload here.
#[cfg(feature = "http")]
pub fn said(text: &str, settings: &Settings) -> Option<Box<File>> {
    use lavina_core::text::Str;
    let link = text.trim();
    let (id, name) = crate::http::files::named_by(&settings.http, link)?;
    Some(Box::new(File {
        id,
        kind: Str::new(type_of(&name)),
        name: Str::new(name),
        size: 0,
        link: Str::new(link),
    }))
}

/// Without HTTP there are no uploads.
#[cfg(not(feature = "http"))]
pub fn said(_: &str, _: &Settings) -> Option<Box<File>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_speak_of_types() {
        assert_eq!(
            (type_of("a.b.JPG"), type_of("a.PnG"), type_of("png"), type_of("")),
            ("image/jpeg", "image/png", "", "")
        );
        assert!(TYPES.is_sorted());
    }
}
