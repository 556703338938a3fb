//! A client in rooms, with one of the protocols: it comes in, joins, speaks, changes the topic, leaves, and keeps
//! what it hears.

use super::web::Web;
use super::xml::{self, Cutter};
use crate::scenario::run::{DOMAIN, PASSWORD};
use crate::sim::dice::Dice;
use std::collections::{BTreeMap, VecDeque};

/// Lines or elements kept, to be printed with a failure.
const LAST: usize = 40;

/// Characters kept of an answer over HTTP.
const SHOWN: usize = 600;

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// IRC.
    Irc,
    /// XMPP.
    Xmpp,
    /// Matrix, over HTTP.
    Matrix,
}

/// A word heard in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The room's name.
    pub room: String,
    /// The word.
    pub token: String,
    /// Who said it; on XMPP, what he was called there, see [`Member::speaker`].
    pub from: String,
    /// On XMPP: the speaker's occupant id.
    pub occupant: Option<String>,
    /// Its id.
    pub id: String,
}

/// A connection of somebody.
pub struct Member {
    /// What it speaks.
    pub speaks: Speaks,
    /// Whose.
    pub name: String,
    /// It may speak.
    pub here: bool,
    /// It cannot go on.
    pub failed: bool,
    /// The rooms it is in, each since which step.
    pub rooms: BTreeMap<String, usize>,
    /// What it heard, in order.
    pub heard: Vec<Heard>,
    /// What came last.
    pub last: VecDeque<String>,
    resource: String,
    /// On XMPP: what it is called in each room it is in.
    nicks: BTreeMap<String, String>,
    /// On XMPP: whose each occupant id is (XEP-0421), as the presence of a room says.
    occupants: BTreeMap<String, String>,
    cutter: Cutter,
    line: Vec<u8>,
    proven: bool,
    /// What only a Matrix client has.
    pub web: Web,
}

impl Member {
    /// A connection of this account.
    pub fn new(speaks: Speaks, name: &str, resource: &str) -> Member {
        Member {
            speaks,
            name: name.to_owned(),
            here: false,
            failed: false,
            rooms: BTreeMap::new(),
            heard: Vec::new(),
            last: VecDeque::new(),
            resource: resource.to_owned(),
            nicks: BTreeMap::new(),
            occupants: BTreeMap::new(),
            cutter: Cutter::default(),
            line: Vec::new(),
            proven: false,
            web: Web::default(),
        }
    }

    /// What it says first.
    pub fn connect(&mut self) -> String {
        let name = &self.name;
        match self.speaks {
            Speaks::Irc => format!(
                "CAP REQ :message-tags echo-message draft/chathistory batch server-time\r\n\
                 PASS {name}:{PASSWORD}\r\nNICK {name}\r\nUSER {name} 0 * :{name}\r\nCAP END\r\n"
            ),
            Speaks::Xmpp => head(),
            Speaks::Matrix => text(self.web.connect(&self.name, &self.resource)),
        }
    }

    /// Something at random about one of the rooms; the word is said where something is said.
    pub fn act(&mut self, dice: &mut Dice, room: &str, token: &str) -> (String, bool) {
        if self.speaks == Speaks::Matrix {
            let (out, said) = self.web.act(dice, room, token);
            return (text(out), said);
        }
        let inside = self.rooms.contains_key(room);
        let what = dice.below(12);
        let said = inside && (2..12).contains(&what);
        let text = match (self.speaks, inside) {
            (Speaks::Irc, false) => format!("JOIN #{room}\r\n"),
            (Speaks::Irc, true) => match what {
                0 if dice.once_in(3) => format!("PART #{room}\r\n"),
                0 | 1 => format!("TOPIC #{room} :topic{token}\r\n"),
                _ => format!("PRIVMSG #{room} :{token}\r\n"),
            },
            (Speaks::Xmpp, false) => format!(
                "<presence to='{room}@rooms.{DOMAIN}/{}'><x xmlns='http://jabber.org/protocol/muc'>\
                 <history maxstanzas='0'/></x></presence>",
                self.some_nick(dice)
            ),
            (Speaks::Xmpp, true) => match what {
                0 if dice.once_in(3) => {
                    let nick = self.nicks.get(room).unwrap_or(&self.name);
                    format!("<presence to='{room}@rooms.{DOMAIN}/{nick}' type='unavailable'/>")
                }
                0 => format!("<presence to='{room}@rooms.{DOMAIN}/{}'/>", self.some_nick(dice)),
                1 => format!(
                    "<message to='{room}@rooms.{DOMAIN}' type='groupchat'><subject>topic{token}</subject></message>"
                ),
                _ => format!(
                    "<message to='{room}@rooms.{DOMAIN}' type='groupchat' id='{token}'><body>{token}</body></message>"
                ),
            },
            (Speaks::Matrix, _) => String::new(),
        };
        (text, said)
    }

    /// Takes what came to a Matrix client at a step, on the connection of what it asks or on that of its loop; what it
    /// sends on either.
    pub fn receive_web(&mut self, on_loop: bool, bytes: &[u8], step: usize) -> [Vec<u8>; 2] {
        let shown: String = String::from_utf8_lossy(bytes).chars().take(SHOWN).collect();
        self.keep(&shown);
        let out = self.web.receive(on_loop, bytes, step);
        self.know();
        out
    }

    /// A Matrix client comes back, see [`Web::come_back`].
    pub fn come_back(&mut self, dice: &mut Dice) -> Option<Vec<u8>> {
        let out = self.web.come_back(dice);
        self.know();
        out
    }

    fn know(&mut self) {
        (self.here, self.failed) = (self.web.here, self.web.failed);
        self.rooms.clone_from(&self.web.rooms);
        self.heard.clone_from(&self.web.heard);
    }

    /// Takes what came at a step; says what it answers.
    pub fn receive(&mut self, bytes: &[u8], step: usize) -> String {
        let mut out = String::new();
        if self.speaks == Speaks::Irc {
            self.line.extend_from_slice(bytes);
            while let Some(end) = self.line.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                self.keep(&line);
                out.push_str(&self.line(&line, step));
            }
            return out;
        }
        self.cutter.feed(bytes);
        while let Some(element) = self.cutter.next() {
            self.keep(&element);
            out.push_str(&self.element(&element, step));
        }
        out
    }

    fn keep(&mut self, unit: &str) {
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(unit.to_owned());
    }

    fn line(&mut self, line: &str, step: usize) -> String {
        let (tags, rest) = line.strip_prefix('@').and_then(|l| l.split_once(' ')).unwrap_or(("", line));
        let id = tags.split(';').find_map(|t| t.strip_prefix("msgid=")).unwrap_or_default();
        let (source, rest) = rest.strip_prefix(':').and_then(|l| l.split_once(' ')).unwrap_or(("", rest));
        let nick = source.split('!').next().unwrap_or_default();
        let mut words = rest.splitn(3, ' ');
        let (command, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let text = words.next().unwrap_or_default();
        let room = target.trim_start_matches('#').to_owned();
        let me = nick == self.name;
        match command {
            "PING" => return format!("PONG {target}\r\n"),
            "376" | "422" => self.here = true,
            "433" | "464" | "ERROR" => self.failed = true,
            "JOIN" if me => {
                self.rooms.entry(room).or_insert(step);
            }
            "PART" if me => drop(self.rooms.remove(&room)),
            "KICK" if text.split(' ').next() == Some(&self.name) => drop(self.rooms.remove(&room)),
            "PRIVMSG" if target.starts_with('#') => {
                // An edit says before its word what it changes.
                let token = text.trim_start_matches(':').rsplit(' ').next().unwrap_or_default().to_owned();
                if token.starts_with("token") {
                    let (from, id) = (nick.to_owned(), id.to_owned());
                    self.heard.push(Heard { room, token, from, occupant: None, id });
                }
            }
            _ => {}
        }
        String::new()
    }

    fn element(&mut self, element: &str, step: usize) -> String {
        let (id, kind) = (xml::attr(element, "id").unwrap_or_default(), xml::attr(element, "type"));
        match xml::name(element) {
            "stream:features" if !self.proven => {
                let proof = format!("\0{}\0{PASSWORD}", self.name);
                let proof = data_encoding::BASE64.encode(proof.as_bytes());
                format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>")
            }
            "stream:features" => format!(
                "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                 <resource>{}</resource></bind></iq>",
                self.resource
            ),
            "success" => {
                self.proven = true;
                self.cutter.clear();
                head()
            }
            "failure" | "stream:error" | "/stream:stream" => {
                self.failed = true;
                String::new()
            }
            "iq" if id == "bind" => {
                self.here = kind == Some("result");
                self.failed = !self.here;
                "<presence/>".to_owned()
            }
            "iq" if matches!(kind, Some("get" | "set")) => {
                let from = xml::attr(element, "from").map(|f| format!(" to='{f}'")).unwrap_or_default();
                format!("<iq type='result' id='{id}'{from}/>")
            }
            "presence" => {
                self.presence(element, kind, step);
                String::new()
            }
            "message" if kind == Some("groupchat") => {
                self.message(element, id);
                String::new()
            }
            _ => String::new(),
        }
    }

    fn presence(&mut self, element: &str, kind: Option<&str>, step: usize) {
        let Some((room, nick)) = occupant(element) else { return };
        let own = element.contains("code='110'") || self.nicks.get(&room) == Some(&nick);
        let jid = xml::child(element, "item").and_then(|item| xml::attr(item, "jid"));
        match kind {
            None => {
                if element.contains("code='110'") {
                    self.rooms.entry(room.clone()).or_insert(step);
                    self.nicks.insert(room.clone(), nick.clone());
                }
                if let (Some((name, _)), Some(id)) =
                    (jid.and_then(|jid| jid.split_once('@')), occupant_id(element))
                {
                    self.occupants.insert(id, name.to_owned());
                }
            }
            // Another nick follows (XEP-0045 §7.6).
            Some("unavailable") if own && !element.contains("code='303'") => {
                self.rooms.remove(&room);
                self.nicks.remove(&room);
            }
            _ => {}
        }
    }

    fn message(&mut self, element: &str, id: &str) {
        let (Some((room, nick)), Some(token)) = (occupant(element), xml::text(element, "body")) else {
            return;
        };
        let named = xml::child(element, "stanza-id").and_then(|s| xml::attr(s, "id")).unwrap_or(id);
        let token = token.rsplit(' ').next().unwrap_or_default();
        if token.starts_with("token") {
            let (token, id, occupant) = (token.to_owned(), named.to_owned(), occupant_id(element));
            self.heard.push(Heard { room, token, from: nick, occupant, id });
        }
    }

    /// Whose words they were; nothing if the room never showed who has that nick: words can come before the presence of
    /// who said them by another client of his, and the connection may end between the two.
    pub fn speaker<'h>(&'h self, heard: &'h Heard) -> Option<&'h str> {
        match &heard.occupant {
            Some(id) => self.occupants.get(id).map(String::as_str),
            None => Some(&heard.from),
        }
    }

    /// A nick to ask for: mostly one's own name, else one of a few that others want too, or somebody's name.
    fn some_nick(&self, dice: &mut Dice) -> String {
        match dice.below(6) {
            0 => format!("person{}", dice.below(4)),
            1 | 2 => format!("nick{}", dice.below(3)),
            _ => self.name.clone(),
        }
    }
}

/// What goes over the connection is ASCII.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn head() -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

fn occupant_id(element: &str) -> Option<String> {
    xml::child(element, "occupant-id").and_then(|id| xml::attr(id, "id")).map(str::to_owned)
}

/// The room and the nick that an element comes from.
fn occupant(element: &str) -> Option<(String, String)> {
    let (room, nick) = xml::attr(element, "from")?.split_once('/')?;
    let room = room.strip_suffix(&format!("@rooms.{DOMAIN}"))?;
    Some((room.to_owned(), nick.to_owned()))
}
