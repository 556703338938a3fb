//! A Matrix client, one device, for the tests of whole workers.

use super::Server;
use lavina_codecs::json::Json;
use lavina_codecs::object;
use lavina_codecs::settings::Protocol;
use lavina_core::ids::ConnId;

/// A device.
pub struct Client {
    conn: ConnId,
    pub token: String,
    pub id: String,
    pub refresh: Option<String>,
    /// The token of its last sync.
    pub since: String,
    next: u32,
}

fn call(s: &mut Server, conn: ConnId, token: &str, request: &str, body: &Json) -> (u16, Json) {
    let (method, path) = request.split_once(' ').unwrap();
    let body = match method {
        "GET" => String::new(),
        _ => String::from_utf8(body.to_bytes()).unwrap(),
    };
    let auth = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let length = body.len();
    let head = format!("{method} /_matrix{path} HTTP/1.1\r\nHost: localhost\r\n{auth}");
    let got = s.send(conn, &format!("{head}Content-Length: {length}\r\n\r\n{body}"));
    let (head, body) = got.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {got}"));
    s.last = format!("{head}\r\n");
    (head[9..12].parse().unwrap(), Json::parse(body.as_bytes()).unwrap_or_default())
}

impl Client {
    /// A new account's first device.
    pub fn new(s: &mut Server, name: &str) -> Client {
        Client::with(s, name, Json::object())
    }

    /// The same with more in the request.
    pub fn with(s: &mut Server, name: &str, more: Json) -> Client {
        let conn = Client::connection(s);
        let mut body = object! { "username" => name, "password" => "secret" };
        for (key, value) in more.as_object().unwrap().iter() {
            body.set(key.as_str(), value.clone());
        }
        let (_, asked) = call(s, conn, "", "POST /client/v3/register", &body);
        let session = asked.str_of("session").unwrap();
        body.set("auth", object! { "type" => "m.login.dummy", "session" => session });
        let (status, got) = call(s, conn, "", "POST /client/v3/register", &body);
        assert_eq!(status, 200, "{got:?}");
        Client::of(conn, &got)
    }

    /// Another device of an account.
    pub fn login(s: &mut Server, name: &str) -> Client {
        let conn = Client::connection(s);
        let body = object! {
            "type" => "m.login.password",
            "identifier" => object! { "type" => "m.id.user", "user" => name },
            "password" => "secret",
        };
        let (status, got) = call(s, conn, "", "POST /client/v3/login", &body);
        assert_eq!(status, 200, "{got:?}");
        Client::of(conn, &got)
    }

    fn of(conn: ConnId, got: &Json) -> Client {
        let text = |key: &str| got.str_of(key).unwrap().to_owned();
        let refresh = got.str_of("refresh_token").map(str::to_owned);
        Client {
            conn,
            token: text("access_token"),
            id: text("user_id"),
            refresh,
            since: String::new(),
            next: 0,
        }
    }

    fn connection(s: &mut Server) -> ConnId {
        s.open_from(Protocol::Http, Some(([192, 0, 2, 1], 4096).into()))
    }

    /// Connects again.
    pub fn connect(&mut self, s: &mut Server) {
        self.conn = Client::connection(s);
    }

    /// A request below `/_matrix`.
    pub fn call(&self, s: &mut Server, request: &str, body: Json) -> (u16, Json) {
        call(s, self.conn, &self.token, request, &body)
    }

    pub fn ok(&self, s: &mut Server, request: &str, body: Json) -> Json {
        let (status, got) = self.call(s, request, body);
        assert_eq!(status, 200, "{request}: {got:?}");
        got
    }

    pub fn get(&self, s: &mut Server, path: &str) -> Json {
        self.ok(s, &format!("GET /client{path}"), Json::object())
    }

    pub fn refused(&self, s: &mut Server, request: &str, body: Json, status: u16, code: &str) {
        let (got, answer) = self.call(s, request, body);
        assert_eq!((got, answer.str_of("errcode")), (status, Some(code)), "{request}: {answer:?}");
    }

    pub fn create(&self, s: &mut Server, body: Json) -> String {
        self.ok(s, "POST /client/v3/createRoom", body).str_of("room_id").unwrap().to_owned()
    }

    pub fn join(&self, s: &mut Server, room: &str) {
        self.ok(s, &format!("POST /client/v3/rooms/{room}/join"), Json::object());
    }

    /// Sends an event; its id.
    pub fn send(&mut self, s: &mut Server, room: &str, kind: &str, content: Json) -> String {
        self.next += 1;
        let path = format!("PUT /client/v3/rooms/{room}/send/{kind}/t{}", self.next);
        self.ok(s, &path, content).str_of("event_id").unwrap().to_owned()
    }

    /// Says something; the event's id.
    pub fn say(&mut self, s: &mut Server, room: &str, body: &str) -> String {
        self.send(s, room, "m.room.message", object! { "msgtype" => "m.text", "body" => body })
    }

    /// Syncs from where it was last.
    pub fn sync(&mut self, s: &mut Server) -> Json {
        self.sync_with(s, "")
    }

    /// The same with more parameters, each with `&` before it.
    pub fn sync_with(&mut self, s: &mut Server, more: &str) -> Json {
        let since = if self.since.is_empty() { String::new() } else { format!("&since={}", self.since) };
        let got = self.get(s, &format!("/v3/sync?timeout=0{since}{more}"));
        self.since = got.str_of("next_batch").unwrap().to_owned();
        got
    }
}

/// A room's part of a sync.
pub fn joined<'a>(sync: &'a Json, room: &str) -> &'a Json {
    sync.at(&["rooms", "join", room]).unwrap_or_else(|| panic!("no {room} in {sync:?}"))
}

/// The events of a section, as `timeline`.
pub fn events<'a>(room: &'a Json, section: &str) -> &'a [Json] {
    room.at(&[section, "events"]).and_then(Json::as_array).unwrap_or_default()
}
