//! JSON as a value (RFC 8259): read strictly, written in one way only.
//!
//! Objects are sorted by key, so what is written is, but for numbers, already the *canonical* form of the Matrix
//! specification (appendices, "Canonical JSON"); [`Json::canonical`] is the same with the check of the numbers.

mod map;
mod parse;
mod write;

pub use map::Map;
pub use parse::{DEPTH, JsonError, Wrong};
pub use write::{NotCanonical, SAFE_INT};

use lavina_core::text::Str;

/// A JSON value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number written without fraction and exponent, within 64 bits.
    Int(i64),
    /// Any other number, `-0` among them; always finite.
    Float(f64),
    /// A string.
    Str(Str),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Map),
}

/// An object: `object! { "msgtype" => "m.text", "body" => text }`; later pairs replace earlier ones of the same key.
#[macro_export]
macro_rules! object {
    ($($key:expr => $value:expr),* $(,)?) => {
        $crate::json::Json::Object(
            $crate::json::Map::of([$(($crate::json::Key::key($key), $crate::json::Json::from($value))),*]),
        )
    };
}

pub use crate::object;

/// What can be the key of an [`object!`].
pub trait Key {
    /// As a key.
    fn key(self) -> Str;
}

impl<T: Into<Str>> Key for T {
    fn key(self) -> Str {
        self.into()
    }
}

impl Json {
    /// Reads one value, with white space around it, and nothing more; not deeper than [`DEPTH`].
    ///
    /// # Errors
    /// What RFC 8259 does not allow; and what it leaves to the reader: keys that come twice in an object, surrogates
    /// without their other half, numbers beyond the range of a double, too deep a nesting.
    pub fn parse(bytes: &[u8]) -> Result<Json, JsonError> {
        parse::parse(bytes, DEPTH)
    }

    /// The same with another limit of depth: 0 allows a single value, 1 an array or object of such, and so on.
    ///
    /// # Errors
    /// As [`Json::parse`].
    pub fn parse_within(bytes: &[u8], depth: usize) -> Result<Json, JsonError> {
        parse::parse(bytes, depth)
    }

    /// An empty object.
    pub fn object() -> Json {
        Json::Object(Map::new())
    }

    /// The value of a key, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.as_object()?.get(key)
    }

    /// The value behind several keys, one in the other: `at(&["info", "size"])`.
    pub fn at(&self, path: &[&str]) -> Option<&Json> {
        path.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The string behind keys divided by dots: `str_at("info.mimetype")`. Where keys hold dots: [`Json::at`].
    pub fn str_at(&self, path: &str) -> Option<&str> {
        self.dotted(path)?.as_str()
    }

    /// The integer behind keys divided by dots.
    pub fn int_at(&self, path: &str) -> Option<i64> {
        self.dotted(path)?.as_int()
    }

    fn dotted(&self, path: &str) -> Option<&Json> {
        path.split('.').try_fold(self, |value, key| value.get(key))
    }

    /// The string that is the value of `key`, which may hold dots.
    pub fn str_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Json::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Json::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The members, if it is an array.
    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Json::Array(a) => Some(a),
            _ => None,
        }
    }

    /// The pairs, if it is an object.
    pub fn as_object(&self) -> Option<&Map> {
        match self {
            Json::Object(m) => Some(m),
            _ => None,
        }
    }

    /// The pairs to be changed, if it is an object.
    pub fn as_object_mut(&mut self) -> Option<&mut Map> {
        match self {
            Json::Object(m) => Some(m),
            _ => None,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Json::Null)
    }

    /// Sets a key of an object; on anything else nothing happens.
    pub fn set(&mut self, key: impl Into<Str>, value: impl Into<Json>) {
        if let Json::Object(map) = self {
            map.insert(key, value);
        }
    }

    /// Takes a key out of an object.
    pub fn take(&mut self, key: &str) -> Option<Json> {
        self.as_object_mut()?.remove(key)
    }

    /// The shortest spelling, keys sorted.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.write(&mut out);
        out
    }

    /// Appends the shortest spelling, keys sorted.
    pub fn write(&self, out: &mut Vec<u8>) {
        write::write(self, out);
    }

    /// The canonical form.
    ///
    /// # Errors
    /// [`NotCanonical`]: a number in it is no integer, or beyond [`SAFE_INT`].
    pub fn canonical(&self) -> Result<Vec<u8>, NotCanonical> {
        self.check_canonical()?;
        Ok(self.to_bytes())
    }

    /// Whether it has a canonical form.
    ///
    /// # Errors
    /// As [`Json::canonical`].
    pub fn check_canonical(&self) -> Result<(), NotCanonical> {
        write::check(self)
    }

    /// Whether the bytes are a value in canonical form.
    pub fn is_canonical(bytes: &[u8]) -> bool {
        Json::parse(bytes)
            .and_then(|v| v.canonical().map_err(|_| JsonError::NUMBER))
            .is_ok_and(|c| c == bytes)
    }
}

impl From<&str> for Json {
    fn from(s: &str) -> Json {
        Json::Str(Str::new(s))
    }
}

impl From<String> for Json {
    fn from(s: String) -> Json {
        Json::Str(Str::new(s))
    }
}

impl From<&String> for Json {
    fn from(s: &String) -> Json {
        Json::Str(Str::new(s))
    }
}

impl From<Str> for Json {
    fn from(s: Str) -> Json {
        Json::Str(s)
    }
}

impl From<&Str> for Json {
    fn from(s: &Str) -> Json {
        Json::Str(s.clone())
    }
}

impl From<bool> for Json {
    fn from(b: bool) -> Json {
        Json::Bool(b)
    }
}

impl From<i64> for Json {
    fn from(n: i64) -> Json {
        Json::Int(n)
    }
}

impl From<i32> for Json {
    fn from(n: i32) -> Json {
        Json::Int(n.into())
    }
}

impl From<u32> for Json {
    fn from(n: u32) -> Json {
        Json::Int(n.into())
    }
}

impl From<u64> for Json {
    /// Above the range of `i64` it stays at its end.
    fn from(n: u64) -> Json {
        Json::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Json {
    /// Above the range of `i64` it stays at its end.
    fn from(n: usize) -> Json {
        Json::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<Map> for Json {
    fn from(m: Map) -> Json {
        Json::Object(m)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(a: Vec<T>) -> Json {
        Json::Array(a.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Json>, const N: usize> From<[T; N]> for Json {
    fn from(a: [T; N]) -> Json {
        Json::Array(a.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests;
