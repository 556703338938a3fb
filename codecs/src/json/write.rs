//! The writer: no white space, keys sorted, the least of escapes.

use super::Json;
use std::io::Write;

/// The largest integer of canonical JSON: 2^53 - 1, and as much below zero.
pub const SAFE_INT: i64 = (1 << 53) - 1;

/// A number has no canonical form: it is no integer, or beyond [`SAFE_INT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("numbers must be integers between -(2^53)+1 and (2^53)-1")]
pub struct NotCanonical;

pub(super) fn check(value: &Json) -> Result<(), NotCanonical> {
    match value {
        Json::Float(_) => Err(NotCanonical),
        Json::Int(n) if !(-SAFE_INT..=SAFE_INT).contains(n) => Err(NotCanonical),
        Json::Array(members) => members.iter().try_for_each(check),
        Json::Object(map) => map.values().try_for_each(check),
        Json::Null | Json::Bool(_) | Json::Int(_) | Json::Str(_) => Ok(()),
    }
}

pub(super) fn write(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(true) => out.extend_from_slice(b"true"),
        Json::Bool(false) => out.extend_from_slice(b"false"),
        // Writing to a vector cannot fail.
        Json::Int(n) => _ = write!(out, "{n}"),
        // The debug form keeps a fraction or an exponent, so it reads back as a float.
        Json::Float(n) if n.is_finite() => out.extend_from_slice(format!("{n:?}").as_bytes()),
        Json::Float(_) => out.extend_from_slice(b"null"),
        Json::Str(s) => string(s, out),
        Json::Array(members) => {
            out.push(b'[');
            for (n, member) in members.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(member, out);
            }
            out.push(b']');
        }
        Json::Object(map) => {
            out.push(b'{');
            for (n, (key, member)) in map.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                string(key, out);
                out.push(b':');
                write(member, out);
            }
            out.push(b'}');
        }
    }
}

fn string(s: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut written = 0;
    for (at, byte) in s.bytes().enumerate() {
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            0x09 => b't',
            0x0a => b'n',
            0x0c => b'f',
            0x0d => b'r',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&s.as_bytes()[written..at]);
        written = at + 1;
        match short {
            0 => out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
            _ => out.extend_from_slice(&[b'\\', short]),
        }
    }
    out.extend_from_slice(&s.as_bytes()[written..]);
    out.push(b'"');
}
