//! People with XMPP clients: a run like [`super::run`], through the real codecs.
//!
//! Each device keeps what it said until it is acknowledged, and says it again in its next session if its old
//! one is gone. In the end nothing that was acknowledged may be missing, and nothing may be there twice.

use super::{
    dice::{Dice, Trace},
    swarm::Swarm,
    world::{Noticed, WireId, World},
};
use crate::client::xmpp::{DOMAIN, Heard, XmppClient};
use lavina_codecs::{
    config::Config,
    session::Session,
    settings::{Listener, Protocol, Security, Settings},
};
use lavina_core::{
    event::What,
    ids::{AccountId, RoomId},
    limits::Limits,
    row::{Page, Read},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Steps in which everything must have settled.
const SETTLE: usize = 400_000;

/// Rounds of asking what was acknowledged before it must be settled.
const ROUNDS: usize = 12;

/// A repeated message is known again if not more entries than these came between and the room was read anew.
const TAIL: usize = Limits::SMALL.tail;

/// What a run reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The hash of all that happened.
    pub trace: Trace,
    /// Words said.
    pub said: usize,
    /// Words acknowledged.
    pub taken: usize,
    /// Messages shown.
    pub heard: usize,
    /// Sessions taken up again.
    pub resumed: usize,
    /// Crashes.
    pub crashes: usize,
    /// Failed commits.
    pub failures: usize,
}

impl Report {
    /// Adds another run's numbers.
    pub fn add(&mut self, other: &Report) {
        self.said += other.said;
        self.taken += other.taken;
        self.heard += other.heard;
        self.resumed += other.resumed;
        self.crashes += other.crashes;
        self.failures += other.failures;
    }
}

/// A device and its connection.
struct Device {
    client: XmppClient,
    wire: Option<WireId>,
}

/// Everything of a run.
struct Talk {
    world: World<Session>,
    devices: Vec<Device>,
    by_wire: BTreeMap<WireId, usize>,
    /// Who said each word, to whom, and when first.
    said: BTreeMap<String, (String, String, usize)>,
    swarm: Swarm,
    crashes: usize,
}

/// Runs a seed.
///
/// # Panics
/// When a rule is broken; the seed is printed.
pub fn run(seed: u64, workers: u8) -> Report {
    let mut dice = Dice::new(seed);
    let swarm = Swarm::draw(&mut dice, workers);
    let guard = super::run::Guard::new(seed, &swarm);
    let mut talk = Talk::new(swarm, dice);
    talk.act();
    talk.settle();
    talk.check();
    std::mem::forget(guard);
    let sum = |f: fn(&XmppClient) -> usize| talk.devices.iter().map(|d| f(&d.client)).sum();
    Report {
        trace: talk.world.trace,
        said: talk.said.len(),
        taken: sum(|c| c.taken.len()),
        heard: sum(|c| c.heard.len()),
        resumed: sum(|c| c.resumed),
        crashes: talk.crashes,
        failures: talk.world.disk.failures,
    }
}

/// Limits as drawn, though a stanza must fit.
fn settings(swarm: &Swarm) -> Settings {
    let mut config = Config::default();
    config.registration.open = true;
    let mut settings = Settings::new(&config, swarm.settings.shards, [7; 32]);
    settings.iterations = 1;
    let drawn = swarm.settings.limits;
    settings.core.limits = Limits {
        inbox: drawn.inbox.max(4_000),
        outbox: drawn.outbox.max(16_000),
        flood_burst: 0,
        flood_rate: 0,
        login_tries: 100,
        tail: TAIL,
        ..drawn
    };
    settings
}

impl Talk {
    fn new(swarm: Swarm, dice: Dice) -> Talk {
        let settings = Arc::new(settings(&swarm));
        let mut world = World::new(settings, swarm.workers, dice);
        (world.chunk, world.fail) = (swarm.chunk.max(20), swarm.fail);
        let device = |n: usize| {
            let client = XmppClient::new(&format!("person{}", n % swarm.people), &format!("device{n}"));
            Device { client, wire: None }
        };
        let devices = (0..swarm.clients + 2).map(device).collect();
        Talk { world, devices, by_wire: BTreeMap::new(), said: BTreeMap::new(), swarm, crashes: 0 }
    }

    fn act(&mut self) {
        while self.world.step < self.swarm.steps * 2 {
            let dice = &mut self.world.dice;
            if dice.once_in(self.swarm.crash * 2) {
                self.crashes += 1;
                self.world.crash();
            } else if dice.once_in(self.swarm.cut) {
                let wire = self.some().and_then(|i| self.devices[i].wire);
                wire.into_iter().for_each(|wire| self.world.cut(wire));
            } else if dice.once_in(self.swarm.stall) {
                let on = dice.once_in(2);
                let wire = self.some().and_then(|i| self.devices[i].wire);
                wire.into_iter().for_each(|wire| self.world.stall(wire, on));
            } else if dice.once_in(self.swarm.pace) || !self.world.advance() {
                self.ask();
            }
            self.notice();
        }
    }

    fn some(&mut self) -> Option<usize> {
        Some(self.world.dice.below(self.devices.len()))
    }

    /// Some device connects, says something, or asks something.
    fn ask(&mut self) {
        self.world.step += 1;
        let i = self.world.dice.below(self.devices.len());
        let to = format!("person{}@{DOMAIN}", self.world.dice.below(self.swarm.people));
        let device = &mut self.devices[i];
        let Some(wire) = device.wire else {
            self.connect(i);
            return;
        };
        if !device.client.is_here() {
            return;
        }
        let out = if self.world.dice.below(3) > 0 && to != device.client.bare() {
            let token = format!("token{}", self.said.len());
            let out = device.client.say(&to, &token);
            self.said.insert(token, (device.client.bare(), to, self.world.step));
            out
        } else {
            device.client.act(&mut self.world.dice)
        };
        self.world.send(wire, out.as_bytes());
    }

    fn connect(&mut self, i: usize) {
        let on = Listener { protocol: Protocol::Xmpp, security: Security::Off };
        let wire = self.world.connect(on);
        let first = self.devices[i].client.connect();
        self.world.send(wire, first.as_bytes());
        self.devices[i].wire = Some(wire);
        self.by_wire.insert(wire, i);
    }

    fn notice(&mut self) {
        for noticed in self.world.noticed() {
            let (Noticed::Bytes(wire, _) | Noticed::Closed(wire)) = &noticed;
            let (wire, i) = (*wire, self.by_wire[wire]);
            let device = &mut self.devices[i];
            if device.wire != Some(wire) {
                continue;
            }
            match noticed {
                Noticed::Bytes(_, bytes) => {
                    let out = device.client.receive(&bytes, self.world.step);
                    self.world.send(wire, out.as_bytes());
                }
                Noticed::Closed(_) => {
                    self.world.tell(|| format!("lost {wire}"));
                    device.wire = None;
                    device.client.lost();
                }
            }
        }
    }

    /// No more faults: everybody comes back, and everything under way comes to its end.
    fn settle(&mut self) {
        self.world.fail = 0;
        for _ in 0..ROUNDS {
            for i in 0..self.devices.len() {
                match self.devices[i].wire {
                    Some(wire) => self.world.stall(wire, false),
                    None => self.connect(i),
                }
            }
            self.quiet();
            for i in 0..self.devices.len() {
                if let (Some(wire), true) = (self.devices[i].wire, self.devices[i].client.is_here()) {
                    let out = self.devices[i].client.ask_ack();
                    self.world.send(wire, out.as_bytes());
                }
            }
            self.quiet();
            if self.devices.iter().all(|d| d.client.is_here() && d.client.is_settled()) {
                return;
            }
        }
        let stuck = self.devices.iter().find(|d| !d.client.is_here() || !d.client.is_settled());
        let stuck = stuck.map(|d| (&d.client.name, d.client.stage, &d.client.open, &d.client.last));
        panic!("not settled: {stuck:#?}");
    }

    fn quiet(&mut self) {
        for _ in 0..SETTLE {
            let more = self.world.advance();
            self.notice();
            if !more && !self.world.jump(5_000) {
                return;
            }
        }
        panic!("it does not settle");
    }

    // --- the rules ---

    fn check(&self) {
        let feeds = self.feeds();
        for (token, (from, to, _)) in &self.said {
            for side in [from, to] {
                let stored = feeds.get(side).map_or(0, |feed| count(feed, token));
                let speaker = self.devices.iter().find(|d| d.client.taken.contains(token));
                assert!(stored <= 1, "{token} is {stored} times in the feed of {side}");
                if let Some(speaker) = speaker {
                    assert_eq!(
                        stored, 1,
                        "{token} was acknowledged and is not in the feed of {side}: {:#?}",
                        speaker.client.last
                    );
                }
            }
        }
        for device in &self.devices {
            self.shown(&device.client, feeds.get(&device.client.bare()).map_or(&[][..], Vec::as_slice));
        }
    }

    /// What a device was shown: of its own account, once, in the order of the feed, and everything since it was there.
    fn shown(&self, client: &XmppClient, feed: &[Word]) {
        for life in 1..=client.life {
            let heard: Vec<&Heard> = client.heard.iter().filter(|h| h.life == life).collect();
            // What was missed is shown while newer messages come; it carries its time.
            let (mut last, mut once) = ([None, None], BTreeSet::new());
            for h in &heard {
                let said = self.said.get(&h.token);
                assert_eq!(said.map(|s| (&s.0, &s.1)), Some((&h.from, &h.to)), "{h:?} was said otherwise");
                assert!(h.from == client.bare() || h.to == client.bare(), "{} hears {h:?}", client.name);
                let at = feed.iter().position(|w| w.id == h.id && w.token == h.token);
                assert!(at.is_some(), "{} hears what is not in its feed: {h:?}", client.name);
                let all: Vec<_> = heard.iter().map(|h| (h.token.as_str(), h.late)).collect();
                assert!(
                    at > last[usize::from(h.late)] && once.insert(&h.id),
                    "{}/{life} hears {h:?} out of order: {all:?}\n{feed:?}",
                    client.name
                );
                last[usize::from(h.late)] = at;
            }
        }
        let Some(since) = client.here_since else { return };
        for token in feed.iter().map(|w| &w.token) {
            let mine = self.devices.iter().any(|d| std::ptr::eq(&d.client, client) && d.client.said(token));
            let heard = client.heard.iter().any(|h| h.life == client.life && h.token == *token);
            let said = self.said.get(token).map_or(0, |s| s.2);
            assert!(
                said <= since || mine || heard,
                "{}/{} is there since {since} and was not shown {token} of {said}: {:#?}",
                client.name,
                client.resource,
                client.last
            );
        }
    }

    /// The words in the feed of each account, in their order.
    fn feeds(&self) -> BTreeMap<String, Vec<Word>> {
        let page = self.world.disk.view(&Read::Accounts { after: None, limit: 10_000 });
        let Page::Accounts(accounts) = page else { panic!("accounts: {page:?}") };
        let bare = |name: &str| format!("{name}@{DOMAIN}");
        accounts.iter().map(|(id, head)| (bare(&head.name.folded()), self.feed(*id))).collect()
    }

    fn feed(&self, account: AccountId) -> Vec<Word> {
        let range = super::check::everything();
        let page = self.world.disk.view(&Read::Feed { account, with: None, range });
        let Page::Feed(stretch) = page else { panic!("feed: {page:?}") };
        let word = |event: &lavina_core::event::Event| match &event.what {
            What::Said(message) => Some(Word {
                token: message.body.text.to_string(),
                id: event.id().text().to_string(),
                room: event.room,
            }),
            _ => None,
        };
        stretch.entries.iter().filter_map(|(_, event)| word(event)).collect()
    }
}

/// A word in a feed.
#[derive(Debug)]
struct Word {
    token: String,
    id: String,
    room: RoomId,
}

/// How often a word was taken for new. One repeated so late that it could not be known again counts once.
fn count(feed: &[Word], token: &str) -> usize {
    let Some(first) = feed.iter().find(|w| w.token == token) else { return 0 };
    let room: Vec<&str> = feed.iter().filter(|w| w.room == first.room).map(|w| w.token.as_str()).collect();
    let places: Vec<usize> = (0..room.len()).filter(|i| room[*i] == token).collect();
    1 + places.windows(2).filter(|w| w[1] - w[0] < TAIL).count()
}
