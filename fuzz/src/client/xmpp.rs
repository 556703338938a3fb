//! An XMPP client: registers when it must, logs in, binds, enables stream management and carbons, talks to
//! people, and takes its session up again after a lost connection. What was not acknowledged it sends again.

use super::xml::{self, Cutter};
use crate::sim::dice::Dice;
use data_encoding::BASE64;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The server's name.
pub const DOMAIN: &str = "localhost";

const HEAD: &str = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const SM: &str = "urn:xmpp:sm:3";

/// Elements kept of what was heard.
const HEARD: usize = 30;

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No connection.
    Away,
    /// Waiting for the first features.
    Opening,
    /// Waiting for success or failure.
    Proving,
    /// Waiting for the account to be made.
    Registering,
    /// Waiting for the features after success.
    Proven,
    /// Waiting for the old session to go on.
    Resuming,
    /// Waiting for the address.
    Binding,
    /// Waiting for stream management.
    Enabling,
    /// Waiting for carbons and presence to be there.
    Settling,
    /// There.
    Here,
    /// The stream is over, on one side at least.
    Leaving,
}

/// A message as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// In which of the client's sessions; a resumption stays in one.
    pub life: usize,
    /// What was said.
    pub token: String,
    /// The sender's bare address.
    pub from: String,
    /// The recipient's bare address.
    pub to: String,
    /// Its id in the archive.
    pub id: String,
    /// It had come before.
    pub late: bool,
}

/// One device of somebody.
pub struct XmppClient {
    /// Whose.
    pub name: String,
    /// Which.
    pub resource: String,
    /// How far it is.
    pub stage: Stage,
    /// How many sessions it had.
    pub life: usize,
    /// Since which step its session sees everything.
    pub here_since: Option<usize>,
    /// All messages that it was shown.
    pub heard: Vec<Heard>,
    /// Words that the server took: acknowledged, and no error came.
    pub taken: BTreeSet<String>,
    /// Words that the server refused, and how.
    pub refused: BTreeMap<String, String>,
    /// Questions without an answer.
    pub open: BTreeSet<String>,
    /// How often a session was taken up again.
    pub resumed: usize,
    /// Words that it said itself.
    own: BTreeSet<String>,
    /// The last that it heard, to be printed with a failure.
    pub last: VecDeque<String>,
    /// Sent and not acknowledged: the bytes, the word in it, if it is a message.
    queue: VecDeque<(String, Option<String>)>,
    /// Words of an ended session that nobody acknowledged.
    again: Vec<(String, String)>,
    session: Option<String>,
    handled: u32,
    acked: u32,
    counting: bool,
    cutter: Cutter,
    number: usize,
}

impl XmppClient {
    /// A device that has never been there.
    pub fn new(name: &str, resource: &str) -> XmppClient {
        XmppClient {
            name: name.to_owned(),
            resource: resource.to_owned(),
            stage: Stage::Away,
            life: 0,
            here_since: None,
            heard: Vec::new(),
            taken: BTreeSet::new(),
            refused: BTreeMap::new(),
            open: BTreeSet::new(),
            resumed: 0,
            own: BTreeSet::new(),
            last: VecDeque::new(),
            queue: VecDeque::new(),
            again: Vec::new(),
            session: None,
            handled: 0,
            acked: 0,
            counting: false,
            cutter: Cutter::default(),
            number: 0,
        }
    }

    /// Its bare address.
    pub fn bare(&self) -> String {
        format!("{}@{DOMAIN}", self.name)
    }

    /// It has a new connection: what it says first.
    pub fn connect(&mut self) -> String {
        (self.stage, self.counting) = (Stage::Opening, false);
        self.cutter.clear();
        HEAD.to_owned()
    }

    /// The connection is gone.
    pub fn lost(&mut self) {
        if self.session.is_none() {
            self.ended();
        }
        (self.stage, self.counting) = (Stage::Away, false);
    }

    /// True: every word is acknowledged and every question answered.
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.open.is_empty() && self.again.is_empty()
    }

    /// True: it takes part.
    pub fn is_here(&self) -> bool {
        self.stage == Stage::Here
    }

    /// True: it said that word itself.
    pub fn said(&self, token: &str) -> bool {
        self.own.contains(token)
    }

    /// Asks what was taken.
    pub fn ask_ack(&self) -> String {
        format!("<r xmlns='{SM}'/>")
    }

    /// Says a word to somebody.
    pub fn say(&mut self, to: &str, token: &str) -> String {
        self.own.insert(token.to_owned());
        let stanza = format!(
            "<message to='{to}' type='chat' id='{token}'><body>{token}</body><origin-id xmlns='urn:xmpp:sid:0' id='origin-{token}'/></message>"
        );
        self.send(stanza, Some(token))
    }

    /// Something else at random.
    pub fn act(&mut self, dice: &mut Dice) -> String {
        match dice.below(8) {
            0..=2 => self.ping(),
            3 | 4 => self.ask_ack(),
            5 => format!("<a xmlns='{SM}' h='{}'/>", self.handled),
            6 => self.send("<presence><show>away</show></presence>".to_owned(), None),
            _ if dice.once_in(3) => {
                // A polite end: the session is over for both.
                self.ended();
                self.stage = Stage::Leaving;
                "</stream:stream>".to_owned()
            }
            _ => self.ping(),
        }
    }

    /// Takes what came at a step; says what it answers.
    pub fn receive(&mut self, bytes: &[u8], step: usize) -> String {
        let mut out = String::new();
        self.cutter.feed(bytes);
        while let Some(element) = self.cutter.next() {
            if self.last.len() == HEARD {
                self.last.pop_front();
            }
            self.last.push_back(element.clone());
            out.push_str(&self.element(&element, step));
        }
        out
    }

    fn ping(&mut self) -> String {
        self.number += 1;
        let id = format!("ping{}", self.number);
        let stanza = format!("<iq type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>");
        self.open.insert(id);
        self.send(stanza, None)
    }

    fn send(&mut self, stanza: String, token: Option<&str>) -> String {
        self.queue.push_back((stanza.clone(), token.map(str::to_owned)));
        stanza
    }

    /// The session is over. Words without an acknowledgement are said again in the next.
    fn ended(&mut self) {
        (self.session, self.here_since) = (None, None);
        self.open.clear();
        for (stanza, token) in self.queue.drain(..) {
            if let Some(token) = token.filter(|t| !self.refused.contains_key(t)) {
                self.again.push((stanza, token));
            }
        }
        (self.handled, self.acked) = (0, 0);
    }

    fn element(&mut self, element: &str, step: usize) -> String {
        let name = xml::name(element);
        if self.counting && matches!(name, "message" | "iq" | "presence") {
            self.handled = self.handled.wrapping_add(1);
        }
        match name {
            "stream:stream" | "proceed" => String::new(),
            "/stream:stream" | "stream:error" => {
                // The server ended the session; what it may still know of it is void.
                self.ended();
                self.stage = Stage::Leaving;
                String::new()
            }
            "stream:features" => self.features(),
            "success" => {
                assert_eq!(self.stage, Stage::Proving, "{} succeeds unasked", self.name);
                self.stage = Stage::Proven;
                self.cutter.clear();
                HEAD.to_owned()
            }
            "failure" => {
                self.stage = Stage::Registering;
                let (name, secret) = (&self.name, self.secret());
                format!(
                    "<iq type='set' id='register'><query xmlns='jabber:iq:register'><username>{name}</username><password>{secret}</password></query></iq>"
                )
            }
            "enabled" => {
                self.session = xml::attr(element, "id").map(str::to_owned);
                (self.counting, self.handled, self.acked) = (true, 0, 0);
                self.settle()
            }
            "resumed" => self.resumed(element),
            "failed" => {
                self.ended();
                self.bind()
            }
            "r" => format!("<a xmlns='{SM}' h='{}'/>", self.handled),
            "a" => {
                self.acknowledged(element);
                String::new()
            }
            "iq" => self.iq(element, step),
            "message" => {
                self.message(element);
                String::new()
            }
            "presence" => String::new(),
            _ => panic!("{} hears `{element}`", self.name),
        }
    }

    fn features(&mut self) -> String {
        match self.stage {
            Stage::Opening => self.prove(),
            Stage::Proven => match &self.session {
                Some(id) => {
                    self.stage = Stage::Resuming;
                    format!("<resume xmlns='{SM}' h='{}' previd='{id}'/>", self.handled)
                }
                None => self.bind(),
            },
            stage => panic!("{} gets features while {stage:?}", self.name),
        }
    }

    fn secret(&self) -> String {
        format!("secret of {}", self.name)
    }

    fn prove(&mut self) -> String {
        self.stage = Stage::Proving;
        let plain = BASE64.encode(format!("\0{}\0{}", self.name, self.secret()).as_bytes());
        format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>")
    }

    fn bind(&mut self) -> String {
        self.stage = Stage::Binding;
        self.life += 1;
        let resource = &self.resource;
        format!(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>"
        )
    }

    /// Carbons, presence, and a question behind them: once it is answered, all of it holds.
    fn settle(&mut self) -> String {
        self.stage = Stage::Settling;
        let carbons = "<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>";
        let settled = "<iq type='get' id='settled'><ping xmlns='urn:xmpp:ping'/></iq>";
        let all = [carbons, "<presence/>", settled];
        all.iter().map(|stanza| self.send((*stanza).to_owned(), None)).collect()
    }

    fn resumed(&mut self, element: &str) -> String {
        assert_eq!(xml::attr(element, "previd"), self.session.as_deref(), "another session is resumed");
        self.acknowledged(element);
        (self.counting, self.resumed) = (true, self.resumed + 1);
        self.stage = if self.here_since.is_some() { Stage::Here } else { Stage::Settling };
        self.queue.iter().map(|(stanza, _)| stanza.as_str()).collect()
    }

    fn acknowledged(&mut self, element: &str) {
        if self.stage == Stage::Leaving {
            return;
        }
        let h: u32 = xml::attr(element, "h").and_then(|h| h.parse().ok()).expect("a count");
        let more = h.wrapping_sub(self.acked) as usize;
        assert!(
            more <= self.queue.len(),
            "{} sent {} after {} and {h} are acknowledged: {:#?}",
            self.name,
            self.queue.len(),
            self.acked,
            self.last
        );
        self.acked = h;
        for (_, token) in self.queue.drain(..more) {
            if let Some(token) = token.filter(|t| !self.refused.contains_key(t)) {
                self.taken.insert(token);
            }
        }
    }

    fn iq(&mut self, element: &str, step: usize) -> String {
        let id = xml::attr(element, "id").unwrap_or_default();
        let kind = xml::attr(element, "type").unwrap_or_default();
        match (kind, id) {
            ("get" | "set", id) => {
                let from = xml::attr(element, "from").map(|f| format!(" to='{f}'")).unwrap_or_default();
                self.send(format!("<iq type='result' id='{id}'{from}/>"), None)
            }
            (_, "register") => self.prove(),
            ("result", "bind") => {
                self.stage = Stage::Enabling;
                format!("<enable xmlns='{SM}' resume='true'/>")
            }
            (_, "bind") => "</stream:stream>".to_owned(),
            (_, "settled") => {
                (self.stage, self.here_since) = (Stage::Here, Some(step));
                let again = std::mem::take(&mut self.again);
                again.into_iter().map(|(stanza, token)| self.send(stanza, Some(&token))).collect()
            }
            (_, "carbons") => String::new(),
            _ => {
                let wanted = self.open.remove(id) || self.stage == Stage::Leaving;
                assert!(wanted, "{} hears twice of {id}: {:#?}", self.name, self.last);
                String::new()
            }
        }
    }

    fn message(&mut self, element: &str) {
        if xml::attr(element, "type") == Some("error") {
            let id = xml::attr(element, "id").unwrap_or_default();
            let why = xml::child(element, "error").unwrap_or_default();
            // The acknowledgement with a resumption goes before the answers that wait for it.
            self.taken.remove(id);
            self.refused.insert(id.to_owned(), why.to_owned());
            return;
        }
        let inner =
            xml::child(element, "forwarded").and_then(|f| xml::child(f, "message")).unwrap_or(element);
        let bare = |a: Option<&str>| a.unwrap_or_default().split('/').next().unwrap_or_default().to_owned();
        let token = xml::text(inner, "body").expect("a body");
        assert!(
            inner == element || bare(xml::attr(element, "from")) == self.bare(),
            "{} takes a copy of somebody else",
            self.name
        );
        self.heard.push(Heard {
            life: self.life,
            token: token.to_owned(),
            from: bare(xml::attr(inner, "from")),
            to: bare(xml::attr(inner, "to")),
            id: xml::child(inner, "stanza-id")
                .and_then(|s| xml::attr(s, "id"))
                .unwrap_or_default()
                .to_owned(),
            late: xml::child(inner, "delay").is_some(),
        });
    }
}
