//! What clients say, and what they wait for.

use super::options::{Case, Options, Protocol};
use data_encoding::BASE64;
use memchr::memmem;

/// The password of all clients.
const PASSWORD: &str = "load-password";

/// The head of an XMPP stream, without its domain.
const STREAM: &str = "version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// One step of coming in: what is said, and what the answer to it has in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Said.
    pub say: String,
    /// One of these comes.
    pub wait: &'static [&'static str],
}

/// How the client `n` comes in, as a member of a room, if of any.
pub fn entry(o: &Options, n: usize, room: Option<(usize, usize)>) -> Vec<Step> {
    match (o.protocol, o.case) {
        (Protocol::Irc, Case::Accounts) => irc_account(&name(o, n)),
        (Protocol::Irc, _) => irc(o, &name(o, n), room),
        (Protocol::Xmpp, Case::Accounts) => xmpp_account(o, &name(o, n)),
        (Protocol::Xmpp, _) => xmpp(o, &name(o, n), room),
    }
}

/// Signs of a refusal.
pub fn refusals(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Irc => &["\nERROR ", " 433 ", " 464 ", " 465 ", " 471 ", " 477 "],
        Protocol::Xmpp => &["<failure", "<stream:error"],
    }
}

/// The name of a client.
pub fn name(o: &Options, n: usize) -> String {
    format!("{}{n}", o.names)
}

fn step(say: String, wait: &'static [&'static str]) -> Step {
    Step { say, wait }
}

fn irc_account(name: &str) -> Vec<Step> {
    let say = format!("CAP LS 302\r\nNICK {name}\r\nUSER {name} 0 * :load\r\nREGISTER * * {PASSWORD}\r\n");
    vec![step(say, &["REGISTER SUCCESS", "ACCOUNT_EXISTS"])]
}

fn irc(o: &Options, name: &str, room: Option<(usize, usize)>) -> Vec<Step> {
    let pass = if o.login { format!("PASS {name}:{PASSWORD}\r\n") } else { String::new() };
    let say = format!("{pass}NICK {name}\r\nUSER {name} 0 * :load\r\n");
    let mut steps = vec![step(say, &[" 376 ", " 422 "])];
    if let Some((room, _)) = room {
        steps.push(step(format!("JOIN #{}\r\n", room_name(o, room)), &[" 366 "]));
    }
    steps
}

fn head(o: &Options) -> String {
    format!("<?xml version='1.0'?><stream:stream to='{}' {STREAM}", o.domain)
}

fn xmpp_account(o: &Options, name: &str) -> Vec<Step> {
    let say = format!(
        "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{name}</username>\
         <password>{PASSWORD}</password></query></iq>"
    );
    vec![
        step(head(o), &["</stream:features>"]),
        step(say, &["type='result'", "type=\"result\"", "<conflict"]),
        step("</stream:stream>".to_owned(), &["</stream:stream>"]),
    ]
}

fn xmpp(o: &Options, name: &str, room: Option<(usize, usize)>) -> Vec<Step> {
    let proof = BASE64.encode(format!("\0{name}\0{PASSWORD}").as_bytes());
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>");
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>load</resource>\
                </bind></iq>";
    // Its own presence comes back when the session is there.
    let mut steps = vec![
        step(head(o), &["</stream:features>"]),
        step(auth, &["<success"]),
        step(head(o), &["</stream:features>"]),
        step(bind.to_owned(), &["</jid>"]),
        step("<presence/>".to_owned(), &["<presence"]),
    ];
    if let Some((room, member)) = room {
        let to = room_address(o, room);
        let join = format!(
            "<presence to='{to}/{name}'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>\
             </presence>"
        );
        steps.push(step(join, &["<subject"]));
        if member == 0 {
            // Whoever came first may have made the room, and it opens with its configuration.
            let open = format!(
                "<iq type='set' to='{to}' id='cfg'><query xmlns='http://jabber.org/protocol/muc#owner'>\
                 <x xmlns='jabber:x:data' type='submit'/></query></iq>"
            );
            steps.push(step(open, &["id='cfg'", "id=\"cfg\""]));
        }
    }
    steps
}

fn room_name(o: &Options, room: usize) -> String {
    format!("{}-{room}", o.names)
}

fn room_address(o: &Options, room: usize) -> String {
    format!("{}@rooms.{}", room_name(o, room), o.domain)
}

/// A message to a room.
pub fn to_room(o: &Options, room: usize, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(
        match o.protocol {
            Protocol::Irc => format!("PRIVMSG #{} :{text}\r\n", room_name(o, room)).into_bytes(),
            Protocol::Xmpp => {
                let to = room_address(o, room);
                format!("<message to='{to}' type='groupchat'><body>{text}</body></message>").into_bytes()
            }
        }
        .as_slice(),
    );
}

/// A message to a person.
pub fn to_person(o: &Options, n: usize, text: &str, out: &mut Vec<u8>) {
    let to = name(o, n);
    out.extend_from_slice(
        match o.protocol {
            Protocol::Irc => format!("PRIVMSG {to} :{text}\r\n").into_bytes(),
            Protocol::Xmpp => {
                format!("<message to='{to}@{}' type='chat'><body>{text}</body></message>", o.domain)
                    .into_bytes()
            }
        }
        .as_slice(),
    );
}

/// The answer that keeps an IRC connection, if the bytes ask for it.
pub fn pong(protocol: Protocol, bytes: &[u8], out: &mut Vec<u8>) {
    if protocol == Protocol::Xmpp {
        return;
    }
    for line in bytes.split(|b| *b == b'\n') {
        let command = match line.first() {
            Some(b':') => line.iter().position(|b| *b == b' ').map_or(line, |at| &line[at + 1..]),
            _ => line,
        };
        if let Some(token) = command.strip_prefix(b"PING ") {
            out.extend_from_slice(b"PONG ");
            out.extend_from_slice(token);
            out.push(b'\n');
        }
    }
}

/// What a text says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The client that said it.
    pub sender: u32,
    /// Its how-manyeth message, from zero.
    pub number: u32,
    /// When, in microseconds of the run.
    pub at: u64,
}

/// Writes and finds the marks of one run; those of another one are nothing to it.
pub struct Marks {
    begin: Vec<u8>,
    finder: memmem::Finder<'static>,
}

/// Bytes that a mark may have.
const LONGEST: usize = 48;

impl Marks {
    /// The marks of the run of this number.
    pub fn new(run: u32) -> Marks {
        let begin = format!("qLq{run:x}.").into_bytes();
        let finder = memmem::Finder::new(&begin).into_owned();
        Marks { begin, finder }
    }

    /// A text of so many bytes with a mark.
    pub fn text(&self, mark: Mark, bytes: usize) -> String {
        let begin = String::from_utf8_lossy(&self.begin);
        let mut text = format!("{begin}{}.{}.{}. ", mark.sender, mark.number, mark.at);
        while text.len() < bytes {
            text.push_str(&"lorem ipsum "[..(bytes - text.len()).min(12)]);
        }
        text
    }

    /// Tells each mark in the bytes. Gives back how many bytes at the end may belong to one that is not
    /// complete yet.
    pub fn find(&self, bytes: &[u8], mut each: impl FnMut(Mark)) -> usize {
        let mut at = 0;
        while let Some(found) = self.finder.find(&bytes[at..]) {
            let begin = at + found + self.begin.len();
            let Some((mark, len)) = parse(&bytes[begin..]) else {
                return bytes.len() - at - found;
            };
            each(mark);
            at = begin + len;
        }
        // The beginning of a mark may be cut.
        (bytes.len() - at).min(self.begin.len() - 1)
    }
}

fn parse(bytes: &[u8]) -> Option<(Mark, usize)> {
    let (mut numbers, mut n, mut value) = ([0u64; 3], 0, 0u64);
    for (i, b) in bytes.iter().take(LONGEST).enumerate() {
        match b {
            b'0'..=b'9' => value = value.wrapping_mul(10).wrapping_add(u64::from(b - b'0')),
            _ => {
                numbers[n] = std::mem::take(&mut value);
                n += 1;
                if n == 3 {
                    let mark = Mark { sender: numbers[0] as u32, number: numbers[1] as u32, at: numbers[2] };
                    return Some((mark, i + 1));
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_wherever_the_bytes_are_cut() {
        let marks = Marks::new(0xabc);
        let mark = |n| Mark { sender: 7, number: n, at: 123_456 };
        let mut stream = Vec::new();
        for n in 0..5 {
            stream.extend_from_slice(b":x PRIVMSG #a :");
            let text = marks.text(mark(n), 100);
            assert_eq!(text.len(), 100);
            stream.extend_from_slice(text.as_bytes());
            stream.extend_from_slice(b"\r\n");
        }
        stream.extend_from_slice(Marks::new(0xabd).text(mark(9), 100).as_bytes());
        for size in [1, 3, 17, 64, 1_000] {
            let (mut held, mut found) = (Vec::new(), Vec::new());
            for chunk in stream.chunks(size) {
                held.extend_from_slice(chunk);
                let keep = marks.find(&held, |m| found.push(m));
                held.drain(..held.len() - keep);
            }
            assert_eq!(found, (0..5).map(mark).collect::<Vec<_>>(), "in pieces of {size}");
        }
    }

    #[test]
    fn pings_are_answered() {
        let mut out = Vec::new();
        pong(Protocol::Irc, b":s 001 x :PING no\r\nPING :a b\r\n:s PING c\r\n", &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "PONG :a b\r\nPONG c\r\n");
    }
}
