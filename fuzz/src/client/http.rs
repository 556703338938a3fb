//! Just enough HTTP/1.1 for a client with one connection: requests with JSON, and the answers in their order.

use lavina_codecs::json::Json;

/// A request as it goes over the connection.
pub fn request(method: &str, path: &str, token: &str, body: Option<&Json>) -> Vec<u8> {
    let body = body.map(Json::to_bytes).unwrap_or_default();
    let auth = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let mut out = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{auth}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend(body);
    out
}

/// Text in a path or a query.
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Cuts what comes into answers.
#[derive(Debug, Default)]
pub struct Answers {
    bytes: Vec<u8>,
}

impl Answers {
    /// Takes what came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

impl Iterator for Answers {
    /// The status and the body.
    type Item = (u16, Json);

    /// # Panics
    /// When the server writes what is no answer to such a request.
    fn next(&mut self) -> Option<(u16, Json)> {
        let end = self.bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.bytes[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.unwrap_or_else(|| panic!("a status line: {head}"));
        let length = head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok());
        let length: usize = length.unwrap_or_else(|| panic!("a length: {head}"));
        if self.bytes.len() < end + length {
            return None;
        }
        let body: Vec<u8> = self.bytes.drain(..end + length).skip(end).collect();
        Some((status, Json::parse(&body).unwrap_or_else(|e| panic!("JSON: {e}: {head}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_cut() {
        let mut answers = Answers::default();
        answers.feed(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\n{\"a",
        );
        assert_eq!(answers.next(), Some((200, Json::object())));
        assert_eq!(answers.next(), None);
        assert_eq!(escape("#a:b"), "%23a%3Ab");
    }
}
