//! Holding a server to a scenario, wherever the server is.

use super::{
    Act, Scenario, Speaks,
    pattern::{Words, element_matches, fill, line_matches},
};
use crate::client::xml::Cutter;
use data_encoding::BASE64;
use lavina_codecs::settings::Protocol;
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    time::Duration,
};

/// The password of all accounts in scenarios.
pub const PASSWORD: &str = "secret-of-scenarios";

/// The domain of all servers in scenarios.
pub const DOMAIN: &str = "localhost";

/// How long a client waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Units shown of what came instead.
const SHOWN: usize = 30;

/// A server, as clients reach it.
pub trait Place {
    /// A client connects; gives back a number to speak of it.
    fn connect(&mut self, protocol: Protocol) -> usize;

    /// A client sends.
    fn send(&mut self, client: usize, bytes: &[u8]);

    /// What a client received, if anything comes within this time.
    fn receive(&mut self, client: usize, within: Duration) -> Option<Vec<u8>>;

    /// A client is gone.
    fn close(&mut self, client: usize);
}

/// Plays the scenario.
///
/// # Errors
/// The line that did not come true, and what came instead.
pub fn play(scenario: &Scenario, place: &mut impl Place) -> Result<(), String> {
    let mut stage = Stage::new(place);
    for (line, act) in &scenario.acts {
        stage.act(act).map_err(|why| format!("{}, line {line}: {why}", scenario.title))?;
    }
    Ok(())
}

/// A server, and who is connected to it.
pub(super) struct Stage<'a, P> {
    pub(super) place: &'a mut P,
    clients: BTreeMap<String, Client>,
    words: Words,
    syncs: u32,
}

struct Client {
    number: usize,
    speaks: Speaks,
    cutter: Cutter,
    bytes: Vec<u8>,
    /// Lines or elements not looked at yet.
    units: VecDeque<String>,
    /// The connection is over.
    gone: bool,
}

impl<'a, P: Place> Stage<'a, P> {
    pub(super) fn new(place: &'a mut P) -> Stage<'a, P> {
        Stage { place, clients: BTreeMap::new(), words: Words::new(), syncs: 0 }
    }

    fn act(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Account(name) => self.account(name),
            Act::Comes(client, Speaks::Irc, who, caps) => self.irc(client, who, caps),
            Act::Comes(client, Speaks::Xmpp, who, _) => self.xmpp(client, who),
            Act::Sends(client, text) => self.say(client, text),
            Act::Hears(client, pattern) => self.hears(client, &[pattern]).map(drop),
            Act::HearsNext(client, pattern) => self.hears_next(client, pattern),
            Act::HearsNot(client, pattern) => self.hears_not(client, pattern),
            Act::Goes(client) => {
                let client = self.clients.remove(client).ok_or("no such client")?;
                self.place.close(client.number);
                Ok(())
            }
        }
    }

    // --- coming in ---

    fn connect(&mut self, name: &str, speaks: Speaks) {
        let number = self.place.connect(match speaks {
            Speaks::Irc => Protocol::Irc,
            Speaks::Xmpp => Protocol::Xmpp,
        });
        let client = Client {
            number,
            speaks,
            cutter: Cutter::default(),
            bytes: Vec::new(),
            units: VecDeque::new(),
            gone: false,
        };
        self.clients.insert(name.to_owned(), client);
    }

    pub(super) fn account(&mut self, name: &str) -> Result<(), String> {
        let client = format!("the making of {name}");
        self.connect(&client, Speaks::Xmpp);
        self.send(&client, &head())?;
        self.hears(&client, &["<stream:features/>"])?;
        self.send(
            &client,
            &format!(
                "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{name}</username>\
                 <password>{PASSWORD}</password></query></iq>"
            ),
        )?;
        self.hears(&client, &["<iq type='result' id='r'/>"])?;
        self.act(&Act::Goes(client))
    }

    pub(super) fn irc(&mut self, client: &str, who: &str, caps: &[String]) -> Result<(), String> {
        self.connect(client, Speaks::Irc);
        let (caps, guest) = (caps.join(" "), who.starts_with("guest-"));
        let pass = if guest { String::new() } else { format!("PASS {who}:{PASSWORD}\r\n") };
        let say = format!("CAP REQ :{caps}\r\n{pass}NICK {who}\r\nUSER {who} 0 * :{who}\r\nCAP END\r\n");
        self.send(client, &say)?;
        if !caps.is_empty() {
            self.hears(client, &["* CAP * ACK *"])?;
        }
        self.hears(client, &[":* 376 *", ":* 422 *"]).map(drop)
    }

    pub(super) fn xmpp(&mut self, client: &str, who: &str) -> Result<(), String> {
        self.connect(client, Speaks::Xmpp);
        let (name, resource) = who.split_once('/').ok_or("NAME/RESOURCE is needed")?;
        let proof = BASE64.encode(format!("\0{name}\0{PASSWORD}").as_bytes());
        self.send(client, &head())?;
        self.hears(client, &["<stream:features/>"])?;
        self.send(
            client,
            &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>"),
        )?;
        self.hears(client, &["<success/>"])?;
        self.send(client, &head())?;
        self.hears(client, &["<stream:features/>"])?;
        self.send(
            client,
            &format!(
                "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                 <resource>{resource}</resource></bind></iq>"
            ),
        )?;
        self.hears(client, &["<iq type='result' id='bind'/>"])?;
        self.say(client, "<presence/>")
    }

    // --- speaking and hearing ---

    /// Sends a line or element of the scenario; when it goes on, the server has dealt with it.
    pub(super) fn say(&mut self, client: &str, text: &str) -> Result<(), String> {
        let text = fill(text, &self.words);
        let end = match self.client(client)?.speaks {
            Speaks::Irc => "\r\n",
            Speaks::Xmpp => "",
        };
        self.send(client, &format!("{text}{end}"))?;
        self.sync(client)
    }

    pub(super) fn send(&mut self, client: &str, text: &str) -> Result<(), String> {
        let number = self.client(client)?.number;
        self.place.send(number, text.as_bytes());
        Ok(())
    }

    /// Asks something that is answered after everything before. What came until then is kept.
    fn sync(&mut self, client: &str) -> Result<(), String> {
        self.syncs += 1;
        let token = format!("sync{}", self.syncs);
        let question = match self.client(client)?.speaks {
            Speaks::Irc => format!("PING {token}\r\n"),
            Speaks::Xmpp => {
                format!("<iq type='get' id='{token}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>")
            }
        };
        self.send(client, &question)?;
        let mut kept = std::mem::take(&mut self.client(client)?.units);
        loop {
            let Some(unit) = self.next(client)? else {
                let client = self.client(client)?;
                client.units = kept;
                return if client.gone { Ok(()) } else { Err("the server does not answer".to_owned()) };
            };
            let is_answer = match self.client(client)?.speaks {
                Speaks::Irc => unit.contains(" PONG ") && unit.ends_with(&token),
                Speaks::Xmpp => unit.starts_with("<iq ") && unit.contains(&format!("id='{token}'")),
            };
            if is_answer {
                kept.append(&mut self.client(client)?.units);
                self.client(client)?.units = kept;
                return Ok(());
            }
            kept.push_back(unit);
        }
    }

    /// Hears one of these, now or later.
    fn hears(&mut self, client: &str, patterns: &[&str]) -> Result<String, String> {
        let mut instead = Vec::new();
        while let Some(unit) = self.next(client)? {
            let speaks = self.client(client)?.speaks;
            if patterns.iter().any(|p| fits(speaks, p, &unit, &mut self.words)) {
                return Ok(unit);
            }
            instead.push(unit);
        }
        Err(told(client, "did not receive", patterns[0], &instead))
    }

    fn hears_next(&mut self, client: &str, pattern: &str) -> Result<(), String> {
        let Some(unit) = self.next(client)? else {
            return Err(told(client, "did not receive", pattern, &[]));
        };
        let speaks = self.client(client)?.speaks;
        match fits(speaks, pattern, &unit, &mut self.words) {
            true => Ok(()),
            false => Err(told(client, "did not next receive", pattern, &[unit])),
        }
    }

    fn hears_not(&mut self, client: &str, pattern: &str) -> Result<(), String> {
        let all: Vec<String> = self.clients.iter().filter(|c| !c.1.gone).map(|c| c.0.clone()).collect();
        // What others have said may be on its way through the server still.
        for other in all {
            self.sync(&other)?;
        }
        self.sync(client)?;
        let (words, here) = (self.words.clone(), self.client(client)?);
        let found = here.units.iter().find(|unit| fits(here.speaks, pattern, unit, &mut words.clone()));
        match found {
            None => Ok(()),
            Some(unit) => Err(told(client, "must not receive", pattern, std::slice::from_ref(unit))),
        }
    }

    fn client(&mut self, name: &str) -> Result<&mut Client, String> {
        self.clients.get_mut(name).ok_or_else(|| format!("there is no client {name}"))
    }

    /// The next line or element; none when nothing comes any more.
    pub(super) fn next(&mut self, name: &str) -> Result<Option<String>, String> {
        loop {
            let client = self.clients.get_mut(name).ok_or("no such client")?;
            if let Some(unit) = client.units.pop_front() {
                return Ok(Some(unit));
            }
            if client.gone {
                return Ok(None);
            }
            match self.place.receive(client.number, PATIENCE) {
                Some(bytes) if bytes.is_empty() => client.gone = true,
                Some(bytes) => client.take(&bytes),
                None => return Ok(None),
            }
        }
    }
}

impl Client {
    fn take(&mut self, bytes: &[u8]) {
        if self.speaks == Speaks::Xmpp {
            self.cutter.feed(bytes);
            self.units.extend(self.cutter.by_ref());
            return;
        }
        self.bytes.extend_from_slice(bytes);
        while let Some(end) = self.bytes.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            self.units.push_back(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
        }
    }
}

fn head() -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

fn fits(speaks: Speaks, pattern: &str, unit: &str, words: &mut Words) -> bool {
    match speaks {
        Speaks::Irc => line_matches(pattern, unit, words),
        Speaks::Xmpp => element_matches(&fill(pattern, words), unit, words),
    }
}

fn told(client: &str, what: &str, pattern: &str, units: &[String]) -> String {
    let mut text = format!("{client} {what} {pattern}");
    for unit in units.iter().rev().take(SHOWN).rev() {
        // Writing into a string does not fail.
        let _ = write!(text, "\n  {client} received {unit}");
    }
    text
}
