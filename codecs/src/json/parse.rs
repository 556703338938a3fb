//! The reader. One pass; memory is proportional to the input (an element of two bytes makes a value of 32).

use super::{Json, Map};
use lavina_core::text::Str;

/// How deep values may lie in each other. The reader, the writer and whatever walks a value recurse as deep.
pub const DEPTH: usize = 100;

/// Why bytes are no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wrong} at byte {at}")]
pub struct JsonError {
    /// Where.
    pub at: usize,
    /// What.
    pub wrong: Wrong,
}

impl JsonError {
    pub(super) const NUMBER: JsonError = JsonError { at: 0, wrong: Wrong::Number };
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// It ends too early.
    #[error("unexpected end")]
    End,
    /// A character that cannot stand there.
    #[error("unexpected character")]
    Character,
    /// An escape sequence that does not exist.
    #[error("unknown escape sequence")]
    Escape,
    /// A surrogate without its other half.
    #[error("surrogate without its other half")]
    Surrogate,
    /// A control character in a string that is not escaped.
    #[error("control character in a string")]
    Control,
    /// A number that is not well formed, or beyond the range of a double.
    #[error("number that is malformed or too large")]
    Number,
    /// A key a second time in the same object.
    #[error("key a second time in one object")]
    Duplicate,
    /// Deeper than allowed.
    #[error("nested too deeply")]
    Depth,
    /// Something after the value.
    #[error("something after the value")]
    Trailing,
}

pub(super) fn parse(bytes: &[u8], depth: usize) -> Result<Json, JsonError> {
    let text =
        std::str::from_utf8(bytes).map_err(|e| JsonError { at: e.valid_up_to(), wrong: Wrong::Utf8 })?;
    let mut reader = Reader { text, at: 0 };
    reader.space();
    let value = reader.value(depth)?;
    reader.space();
    if reader.at < text.len() { Err(reader.wrong(Wrong::Trailing)) } else { Ok(value) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, wrong: Wrong) -> JsonError {
        JsonError { at: self.at, wrong }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn need(&self) -> Result<u8, JsonError> {
        self.peek().ok_or(self.wrong(Wrong::End))
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.need()? != byte {
            return Err(self.wrong(Wrong::Character));
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        match self.need()? {
            b'"' => self.string().map(Json::Str),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(self.wrong(Wrong::Character)),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, JsonError> {
        for byte in word.bytes() {
            self.take(byte)?;
        }
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        let depth = depth.checked_sub(1).ok_or(self.wrong(Wrong::Depth))?;
        self.at += 1;
        let mut members = Vec::new();
        self.space();
        if self.need()? == b']' {
            self.at += 1;
            return Ok(Json::Array(members));
        }
        loop {
            self.space();
            members.push(self.value(depth)?);
            self.space();
            match self.need()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(self.wrong(Wrong::Character)),
            }
        }
        self.at += 1;
        Ok(Json::Array(members))
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        let depth = depth.checked_sub(1).ok_or(self.wrong(Wrong::Depth))?;
        let begin = self.at;
        self.at += 1;
        let mut pairs = Vec::new();
        self.space();
        if self.need()? == b'}' {
            self.at += 1;
            return Ok(Json::Object(Map::new()));
        }
        loop {
            self.space();
            if self.need()? != b'"' {
                return Err(self.wrong(Wrong::Character));
            }
            let key = self.string()?;
            self.space();
            self.take(b':')?;
            self.space();
            pairs.push((key, self.value(depth)?));
            self.space();
            match self.need()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(self.wrong(Wrong::Character)),
            }
        }
        self.at += 1;
        Map::strict(pairs).map(Json::Object).ok_or(JsonError { at: begin, wrong: Wrong::Duplicate })
    }

    /// A string, from its opening quote.
    fn string(&mut self) -> Result<Str, JsonError> {
        self.at += 1;
        let plain = self.plain()?;
        if self.need()? == b'"' {
            self.at += 1;
            return Ok(Str::new(plain));
        }
        let mut out = String::from(plain);
        while self.need()? == b'\\' {
            self.at += 1;
            out.push(self.escape()?);
            out.push_str(self.plain()?);
        }
        self.at += 1;
        Ok(Str::new(out))
    }

    /// Characters up to the next quote or backslash.
    fn plain(&mut self) -> Result<&'a str, JsonError> {
        let from = self.at;
        loop {
            match self.need()? {
                b'"' | b'\\' => return Ok(&self.text[from..self.at]),
                0..0x20 => return Err(self.wrong(Wrong::Control)),
                _ => self.at += 1,
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, JsonError> {
        let c = match self.need()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.wrong(Wrong::Escape)),
        };
        self.at += 1;
        Ok(c)
    }

    /// A `u` and four digits, or two of these that make one character.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let begin = self.at;
        let high = self.hex()?;
        let code = match high {
            0xD800..0xDC00 => {
                let lone = JsonError { at: begin, wrong: Wrong::Surrogate };
                if self.peek() != Some(b'\\') || self.text.as_bytes().get(self.at + 1) != Some(&b'u') {
                    return Err(lone);
                }
                self.at += 1;
                match self.hex()? {
                    low @ 0xDC00..0xE000 => 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00),
                    _ => return Err(lone),
                }
            }
            _ => high,
        };
        char::from_u32(code).ok_or(JsonError { at: begin, wrong: Wrong::Surrogate })
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.need()?).to_digit(16).ok_or(self.wrong(Wrong::Escape))?;
            code = code << 4 | digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let begin = self.at;
        let bad = JsonError { at: begin, wrong: Wrong::Number };
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let leading_zero = self.peek() == Some(b'0');
        let digits = self.digits();
        if digits == 0 || (leading_zero && digits > 1) {
            return Err(bad);
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            self.at += 1;
            whole = false;
            if self.digits() == 0 {
                return Err(bad);
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            whole = false;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(bad);
            }
        }
        let spelled = &self.text[begin..self.at];
        if whole
            && spelled != "-0"
            && let Ok(n) = spelled.parse()
        {
            return Ok(Json::Int(n));
        }
        match spelled.parse::<f64>() {
            Ok(n) if n.is_finite() => Ok(Json::Float(n)),
            _ => Err(bad),
        }
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - from
    }
}
