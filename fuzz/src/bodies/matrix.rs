//! Matrix: JSON.

use lavina_codecs::json::Json;

/// Any bytes as JSON: what is read can be written, and reads back the same.
pub fn json(data: &[u8]) {
    let Ok(value) = Json::parse(data) else { return };
    let bytes = value.to_bytes();
    assert_eq!(Json::parse(&bytes).as_ref(), Ok(&value), "what is written reads back");
    assert_eq!(value.to_bytes(), bytes, "there is one spelling");
    assert_eq!(Json::is_canonical(&bytes), value.check_canonical().is_ok(), "canonical but for numbers");
}
