//! Whole connections of both protocols to a whole server with tiny limits, fed with any bytes.

use crate::{
    client::xml::Cutter,
    input::Input,
    scenario::run::PASSWORD,
    sim::{
        dice::Dice,
        world::{Noticed, World},
    },
};
use lavina_codecs::{
    config::Config,
    session::Session,
    settings::{Listener, Protocol, Security, Settings},
};
use lavina_core::{limits::Limits, settings::Guests};
use std::{collections::BTreeMap, sync::Arc};

/// Things done in one run.
const STEPS: usize = 80;
/// Connections at once.
const WIRES: usize = 4;
/// Events of the server between two things done; and after the last.
const EVENTS: usize = 400;
/// Accounts made and logins checked in one run: each costs a key derivation.
const DEAR: usize = 3;

const HEAD: &str = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// Any bytes: each two say what happens next, with a piece of the rest. Whatever comes, every answer is whole
/// and in its protocol's form, and everything comes to rest.
pub fn connection(data: &[u8]) {
    let mut input = Input::new(data);
    let mut run = Run::new(1 + input.byte() % 2, u64::from(input.byte()));
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        run.step(&mut input);
    }
    run.rest();
}

struct Run {
    world: World<Session>,
    wires: Vec<(usize, Protocol)>,
    said: BTreeMap<usize, Vec<u8>>,
    dear: usize,
}

impl Run {
    fn new(workers: u8, seed: u64) -> Run {
        let mut config = Config { guests: Guests::Free, ..Config::default() };
        config.registration.open = true;
        config.password.iterations = 4_096;
        config.limits.values = Limits {
            connections_per_address: 0,
            inbox: 2_000,
            outbox: 12_000,
            window: 2,
            text: 300,
            native: 400,
            topic: 60,
            alias: 12,
            masks: 3,
            members: 3,
            attrs: 300,
            attr_count: 3,
            contacts: 2,
            blocked: 2,
            rooms_per_session: 2,
            sessions_per_account: 2,
            tail: 2,
            page: 3,
            entities: 6,
            waiting: 4,
            mailbox: 8,
            turn: 4,
            ..Limits::SMALL
        };
        let settings = Arc::new(Settings::new(&config, 4, [7; 32]));
        let mut world = World::new(settings, workers, Dice::new(seed));
        world.chunk = 300;
        Run { world, wires: Vec::new(), said: BTreeMap::new(), dear: 0 }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let (what, which) = (input.byte(), usize::from(input.byte()));
        let wire = self.wires.get(which % self.wires.len().max(1)).copied();
        match (what % 8, wire) {
            (0, _) | (_, None) => self.open(if which % 2 == 0 { Protocol::Irc } else { Protocol::Xmpp }),
            (1, Some((wire, protocol))) => self.come_in(wire, protocol, which / WIRES),
            (2, Some((wire, _))) => match which / WIRES % 4 {
                0 => self.world.hang_up(wire),
                1 => self.world.cut(wire),
                n => self.world.stall(wire, n == 2),
            },
            (3, Some(_)) => drop(self.world.jump(400_000)),
            (_, Some((wire, _))) => self.world.send(wire, input.piece()),
        }
        self.events();
    }

    fn open(&mut self, protocol: Protocol) {
        if self.wires.len() < WIRES {
            let wire = self.world.connect(Listener { protocol, security: Security::Off });
            self.wires.push((wire, protocol));
        }
    }

    /// The usual words of somebody coming in, so that bytes reach what is behind.
    fn come_in(&mut self, wire: usize, protocol: Protocol, n: usize) {
        let name = ["alice", "bob", "carol"][n % 3];
        let words = match (protocol, n / 3 % 4) {
            (Protocol::Irc, 0) => format!("NICK {name}\r\nUSER {name} 0 * :{name}\r\n"),
            (Protocol::Irc, 1) => {
                "CAP REQ :message-tags batch labeled-response echo-message draft/chathistory\r\n".into()
            }
            (Protocol::Irc, 2) => {
                "JOIN #a\r\nJOIN #b\r\nPRIVMSG #a :hello\r\nPRIVMSG alice :hello\r\n".into()
            }
            (Protocol::Irc, _) => {
                "MODE #a +o alice\r\nCHATHISTORY LATEST #a * 10\r\nTOPIC #a :t\r\nPART #a\r\n".into()
            }
            _ if self.dear >= DEAR => return,
            (_, 0 | 1) => {
                self.dear += 1;
                self.register_or_log_in(name, (n / 12).is_multiple_of(2))
            }
            (_, _) => {
                "<presence to='a@rooms.localhost/x'><x xmlns='http://jabber.org/protocol/muc'/></presence>\
                 <message to='a@rooms.localhost' type='groupchat'><body>hi</body></message>\
                 <message to='bob@localhost' type='chat' id='1'><body>hi</body></message>"
                    .to_owned()
            }
        };
        self.world.send(wire, words.as_bytes());
    }

    fn register_or_log_in(&self, name: &str, register: bool) -> String {
        if register {
            return format!(
                "{HEAD}<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{name}</username>\
                 <password>{PASSWORD}</password></query></iq>"
            );
        }
        let proof = data_encoding::BASE64.encode(format!("\0{name}\0{PASSWORD}").as_bytes());
        format!(
            "{HEAD}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>{HEAD}\
             <iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>\
             <enable xmlns='urn:xmpp:sm:3' resume='true'/><presence/>"
        )
    }

    fn events(&mut self) {
        for _ in 0..EVENTS {
            if !self.world.advance() {
                break;
            }
        }
        self.notice();
    }

    fn notice(&mut self) {
        for noticed in self.world.noticed() {
            match noticed {
                Noticed::Bytes(wire, bytes) => self.said.entry(wire).or_default().extend(bytes),
                Noticed::Closed(wire) => self.wires.retain(|w| w.0 != wire),
            }
        }
        for (wire, protocol) in &self.wires {
            if let Some(said) = self.said.get_mut(wire) {
                check(*protocol, said);
            }
        }
    }

    /// Nobody says anything more: everything comes to rest.
    fn rest(&mut self) {
        for (wire, _) in &self.wires {
            self.world.stall(*wire, false);
        }
        for _ in 0..100 * EVENTS {
            if !self.world.advance() {
                return self.notice();
            }
        }
        panic!("it does not come to rest");
    }
}

/// Whole lines or elements are as they must be; they are taken out.
fn check(protocol: Protocol, said: &mut Vec<u8>) {
    match protocol {
        Protocol::Irc => {
            let Some(end) = said.iter().rposition(|b| *b == b'\n') else { return };
            let lines: Vec<u8> = said.drain(..=end).collect();
            for line in lines.split_inclusive(|b| *b == b'\n') {
                let line = line.strip_suffix(b"\r\n").expect("a line ends with both");
                assert!(!line.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "nothing breaks out of a line");
                let text = std::str::from_utf8(line).expect("lines are UTF-8");
                let body = text.strip_prefix('@').and_then(|l| l.split_once(' ')).map_or(text, |l| l.1);
                assert!(body.len() <= 510, "a line of {} bytes: {body}", body.len());
            }
        }
        _ => {
            // What is not whole stays in the cutter's hands only for this look.
            let text = std::str::from_utf8(said);
            assert!(text.map_or_else(|e| e.error_len().is_none(), |_| true), "elements are UTF-8");
            let mut cutter = Cutter::default();
            cutter.feed(said);
            for element in cutter {
                assert!(!element.contains('\0'), "what XML forbids is not said");
            }
        }
    }
}
