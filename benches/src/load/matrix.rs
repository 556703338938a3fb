//! Matrix clients: each waits in a long poll of `/sync` (client-server API, "Syncing"); the first one also sends.
//!
//! Accounts, their access tokens and the rooms are made before, by `benches/matrix_accounts.py`.

use super::{
    client::Wire,
    histogram::Histogram,
    options::{Case, Options},
    probe::usage,
    protocol::{Mark, Marks},
    run::Outcome,
};
use memchr::memmem;
use rustix::event::{Timespec, epoll};
use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Bytes read at once.
const BUFFER: usize = 64 * 1024;
/// Events taken at once.
const EVENTS: usize = 512;
/// Clients whose first answer is on its way at once.
const COMING: usize = 20;
/// Nothing came for so long: the server does not answer. Longer than a long poll.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a poll may wait at the server, in milliseconds.
const POLL: u32 = 30_000;
/// After the last one has come in, until the talk begins: polls reach the server.
const SETTLE: Duration = Duration::from_secs(2);

/// The file of accounts: the room on the first line, then an access token on each.
struct Accounts {
    room: String,
    tokens: Vec<String>,
}

fn accounts(path: &Path, clients: usize) -> Result<Accounts, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut lines = text.lines().map(str::to_owned);
    let room = lines.next().ok_or("the file of accounts is empty")?;
    let tokens: Vec<String> = lines.take(clients).collect();
    if tokens.len() < clients {
        return Err(format!("{} has {} tokens", path.display(), tokens.len()));
    }
    Ok(Accounts { room, tokens })
}

/// A connection that waits for one answer at a time.
struct Client {
    wire: Wire,
    token: String,
    held: Vec<u8>,
    since: Option<String>,
    /// The next mark expected.
    next: u32,
    writes: bool,
}

/// A room, where one message at a time is under way.
struct Talk {
    room: String,
    /// The connection that sends, once it is there.
    sender: Option<usize>,
    said: u32,
    /// How many have yet to hear what was said last.
    left: usize,
    /// The server has taken what was said last.
    taken: bool,
}

struct Run<'a> {
    o: &'a Options,
    talks: Vec<Talk>,
    epoll: OwnedFd,
    /// Those who poll, room by room, then the senders of the rooms.
    clients: Vec<Client>,
    marks: Marks,
    begun: Instant,
    last: Instant,
    /// Whose first answer has come.
    here: usize,
    out: Outcome,
}

/// Does it.
///
/// # Errors
/// What could not be done, for people.
pub fn run(o: &Options, paths: &[PathBuf]) -> Result<Outcome, String> {
    let each = o.clients / paths.len();
    let (mut talks, mut tokens) = (Vec::new(), Vec::new());
    for path in paths {
        let found = accounts(path, each)?;
        let room = found.room.replace('!', "%21").replace(':', "%3A");
        talks.push(Talk { room, sender: None, said: 0, left: 0, taken: true });
        tokens.extend(found.tokens);
    }
    let mut run = Run {
        o,
        talks,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?,
        clients: Vec::new(),
        marks: Marks::new(std::process::id()),
        begun: Instant::now(),
        last: Instant::now(),
        here: 0,
        out: Outcome { latency: Histogram::default(), ..Outcome::default() },
    };
    let own = || usage(std::process::id()).unwrap_or_default();
    let server = || o.pid.map(|pid| usage(pid).ok_or(format!("no process {pid}"))).transpose();
    let first = (server()?, own());
    run.come_in(&tokens)?;
    run.wait(SETTLE)?;
    run.out.entry = run.begun.elapsed();
    let second = (server()?, own());
    run.begun = Instant::now();
    match o.case {
        Case::Idle => run.wait(Duration::from_secs(o.seconds))?,
        _ => run.talk(&tokens, each)?,
    }
    run.out.took = run.begun.elapsed();
    let third = (server()?, own());
    run.out.own = [first.1, second.1, third.1];
    run.out.server = first.0.zip(second.0).zip(third.0).map(|((a, b), c)| [a, b, c]);
    run.out.missing = run.talks.iter().map(|talk| talk.left as u64).sum();
    Ok(run.out)
}

impl Run<'_> {
    fn connect(&mut self, token: &str) -> Result<usize, String> {
        let n = self.clients.len();
        let wire = Wire::connect(self.o.to, None, &self.o.domain)
            .map_err(|e| format!("client {n} cannot connect: {e}"))?;
        let data = epoll::EventData::new_u64(n as u64);
        epoll::add(&self.epoll, &wire.socket, data, epoll::EventFlags::IN).map_err(|e| e.to_string())?;
        let token = token.to_owned();
        self.clients.push(Client { wire, token, held: Vec::new(), since: None, next: 0, writes: false });
        Ok(n)
    }

    fn come_in(&mut self, tokens: &[String]) -> Result<(), String> {
        while self.here < tokens.len() {
            while self.clients.len() < tokens.len() && self.clients.len() - self.here < COMING {
                let n = self.connect(&tokens[self.clients.len()])?;
                self.poll(n)?;
            }
            self.events(100)?;
        }
        Ok(())
    }

    fn wait(&mut self, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.events(100)?;
        }
        Ok(())
    }

    fn talk(&mut self, tokens: &[String], each: usize) -> Result<(), String> {
        for n in 0..self.talks.len() {
            self.talks[n].sender = Some(self.connect(&tokens[n * each])?);
        }
        let end = Duration::from_secs(self.o.seconds);
        self.last = Instant::now();
        loop {
            let more = self.begun.elapsed() < end;
            let mut under_way = false;
            for n in 0..self.talks.len() {
                let talk = &self.talks[n];
                let done = talk.left == 0 && talk.taken;
                if done && more && talk.said < self.o.messages {
                    self.speak(n, each)?;
                }
                under_way |= self.talks[n].left > 0 || !self.talks[n].taken;
            }
            if !under_way {
                return Ok(());
            }
            self.events(100)?;
        }
    }

    fn poll(&mut self, n: usize) -> Result<(), String> {
        let client = &self.clients[n];
        let query = match &client.since {
            Some(since) => format!("since={since}&timeout={POLL}"),
            None => "timeout=0".to_owned(),
        };
        let say = format!(
            "GET /_matrix/client/v3/sync?{query} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
            self.o.domain, client.token
        );
        self.say(n, say.as_bytes())
    }

    fn speak(&mut self, room: usize, each: usize) -> Result<(), String> {
        let talk = &mut self.talks[room];
        let sender = talk.sender.ok_or("nobody is there to speak")?;
        let at = self.begun.elapsed().as_micros() as u64;
        let text = self.marks.text(Mark { sender: room as u32, number: talk.said, at }, self.o.bytes);
        let body = format!("{{\"msgtype\":\"m.text\",\"body\":\"{text}\"}}");
        let say = format!(
            "PUT /_matrix/client/v3/rooms/{}/send/m.room.message/{}-{} HTTP/1.1\r\nHost: {}\r\n\
             Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            talk.room,
            std::process::id(),
            talk.said,
            self.o.domain,
            self.clients[sender].token,
            body.len()
        );
        talk.said += 1;
        (talk.left, talk.taken) = (each, false);
        self.out.sent += 1;
        self.say(sender, say.as_bytes())
    }

    fn answered(&mut self, n: usize, body: &[u8]) -> Result<(), String> {
        if let Some(talk) = self.talks.iter_mut().find(|talk| talk.sender == Some(n)) {
            talk.taken = true;
            return Ok(());
        }
        let mut found = Vec::new();
        self.marks.find(body, |mark| found.push(mark));
        let client = &mut self.clients[n];
        for mark in found {
            if mark.number == client.next {
                client.next += 1;
                if let Some(talk) = self.talks.get_mut(mark.sender as usize) {
                    talk.left = talk.left.saturating_sub(1);
                }
            } else {
                self.out.disordered += 1;
            }
            self.out.delivered += 1;
            let now = self.begun.elapsed().as_micros() as u64;
            self.out.latency.add(now.saturating_sub(mark.at));
        }
        let next = next_batch(body).ok_or("an answer to /sync has no next_batch")?;
        if client.since.replace(next).is_none() {
            self.here += 1;
        }
        self.poll(n)
    }

    // --- bytes ---

    fn say(&mut self, n: usize, bytes: &[u8]) -> Result<(), String> {
        let client = &mut self.clients[n];
        client.wire.say(bytes).map_err(|e| format!("client {n}: {e}"))?;
        let blocked = client.wire.is_blocked();
        if std::mem::replace(&mut client.writes, blocked) != blocked {
            let out = if blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(n as u64);
            epoll::modify(&self.epoll, &client.wire.socket, data, epoll::EventFlags::IN | out)
                .map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn events(&mut self, millis: i64) -> Result<(), String> {
        let mut events = Vec::with_capacity(EVENTS);
        let timeout = Timespec { tv_sec: 0, tv_nsec: millis * 1_000_000 };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.to_string()),
        }
        if self.last.elapsed() > PATIENCE {
            return Err("nothing comes any more".to_owned());
        }
        let mut buffer = vec![0; BUFFER];
        for event in &events {
            // Copied out: the record is packed.
            let (n, flags) = (event.data.u64() as usize, event.flags);
            if flags.contains(epoll::EventFlags::OUT) {
                self.say(n, &[])?;
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.read(n, &mut buffer)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, n: usize, buffer: &mut [u8]) -> Result<(), String> {
        let client = &mut self.clients[n];
        let read = client.wire.read(buffer, &mut client.held);
        read.map_err(|e| format!("client {n}, after {} answers: {e}", self.here))?;
        self.last = Instant::now();
        while let Some(answer) = answer(&self.clients[n].held)? {
            let mut held = std::mem::take(&mut self.clients[n].held);
            if answer.status != 200 {
                return Err(format!("client {n} is refused: {}", String::from_utf8_lossy(&held)));
            }
            self.answered(n, &answer.body)?;
            held.drain(..answer.bytes);
            self.clients[n].held = held;
        }
        Ok(())
    }
}

/// An answer that has come completely.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    body: Vec<u8>,
    /// Its bytes, with everything around.
    bytes: usize,
}

/// The first answer in the bytes, if all of it is there.
fn answer(bytes: &[u8]) -> Result<Option<Answer>, String> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = (String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase(), &bytes[end + 4..]);
    let mut lines = head.lines();
    let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| format!("an answer without status: {head}"))?;
    let found = if lines.clone().any(|l| l == "transfer-encoding: chunked") {
        chunks(rest)
    } else {
        let length =
            lines.find_map(|l| l.strip_prefix("content-length:")).and_then(|n| n.trim().parse().ok());
        let length: usize = length.ok_or_else(|| format!("an answer without length: {head}"))?;
        rest.get(..length).map(|body| (body.to_vec(), length))
    };
    Ok(found.map(|(body, used)| Answer { status, body, bytes: end + 4 + used }))
}

/// A body in chunks (RFC 9112 §7.1) without trailers, and its bytes; nothing while it is not complete.
fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        // What follows a chunk may be cut off.
        let line = memmem::find(bytes.get(at..)?, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).ok()?, 16).ok()?;
        let from = at + line + 2;
        body.extend_from_slice(bytes.get(from..from + size)?);
        at = from + size + 2;
        if size == 0 {
            return (bytes.len() >= at).then_some((body, at));
        }
    }
}

fn next_batch(body: &[u8]) -> Option<String> {
    let key = b"\"next_batch\":";
    let rest = &body[memmem::find(body, key)? + key.len()..];
    let text = rest.trim_ascii_start().strip_prefix(b"\"")?;
    let end = text.iter().position(|b| *b == b'"')?;
    Some(String::from_utf8_lossy(&text[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_when_they_are_complete() {
        let plain = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 4\r\n\r\nbody".as_slice();
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n1\r\ny\r\n0\r\n\r\n"
            .as_slice();
        for bytes in [plain, chunked] {
            for cut in 0..bytes.len() {
                assert_eq!(answer(&bytes[..cut]), Ok(None), "{cut}");
            }
            let more = [bytes, b"HTTP/1.1"].concat();
            let found = answer(&more).expect("no error").expect("complete");
            assert_eq!((found.status, found.body.as_slice(), found.bytes), (200, &b"body"[..], bytes.len()));
        }
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn the_next_token_is_found() {
        assert_eq!(next_batch(b"{\"a\":1,\"next_batch\": \"s1_2\"}").as_deref(), Some("s1_2"));
        assert_eq!(next_batch(b"{\"next_batch\":3}"), None);
    }
}
