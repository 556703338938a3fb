//! People with IRC, XMPP and Matrix clients in the same rooms: a run like [`super::run`], through the real codecs.
//!
//! In the end every word that was heard is stored, once; everybody heard the words of a room in its one order
//! and with its ids; who was in a room heard everything said there since; nobody else heard anything.

use super::{
    dice::{Dice, Trace},
    swarm::Swarm,
    world::{Noticed, WireId, World},
};
use crate::{
    client::{
        line::Shown,
        member::{Member, Speaks},
        web::Changed,
    },
    line::text_of,
    scenario::run::PASSWORD,
};
use lavina_codecs::{
    config::Config,
    session::Session,
    settings::{Listener, Protocol, Security, Settings},
};
use lavina_core::{
    event::{Event, What},
    ids::{MsgId, Pos, RoomId},
    limits::Limits,
    row::{Page, Read},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Steps in which everything must have settled.
const SETTLE: usize = 400_000;

/// What a run reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The hash of all that happened.
    pub trace: Trace,
    /// Words said.
    pub said: usize,
    /// Words stored.
    pub stored: usize,
    /// Words heard.
    pub heard: usize,
    /// Of these by Matrix clients.
    pub heard_web: usize,
    /// Words edited and words withdrawn, as they are stored.
    pub changed: [usize; 2],
    /// How often Matrix clients came back, and how many gaps they filled.
    pub returned: [usize; 2],
    /// Crashes.
    pub crashes: usize,
    /// The log of each room, without ids.
    pub logs: BTreeMap<String, Vec<String>>,
}

impl Report {
    /// Adds another run's numbers.
    pub fn add(&mut self, other: &Report) {
        self.said += other.said;
        self.stored += other.stored;
        self.heard += other.heard;
        self.heard_web += other.heard_web;
        for n in 0..2 {
            self.changed[n] += other.changed[n];
            self.returned[n] += other.returned[n];
        }
        self.crashes += other.crashes;
    }
}

/// Everything of a run.
struct Rooms {
    world: World<Session>,
    clients: Vec<(Member, WireId, bool)>,
    by_wire: BTreeMap<WireId, usize>,
    /// The second connections of Matrix clients, for their sync loops.
    loops: BTreeMap<usize, WireId>,
    /// Matrix clients whose connection for what they ask was closed unused.
    unused: BTreeSet<usize>,
    /// Who said each word, where, and when.
    said: BTreeMap<String, (String, String, usize)>,
    swarm: Swarm,
    crashes: usize,
    /// Everything that a word leads to is over before the next is said.
    patient: bool,
    /// There are Matrix clients too.
    three: bool,
}

/// Runs a seed.
///
/// # Panics
/// When a rule is broken; the seed is printed.
pub fn run(seed: u64, workers: u8, three: bool) -> Report {
    let mut dice = Dice::new(seed);
    let swarm = Swarm::draw(&mut dice, workers);
    play(seed, swarm, dice, false, three)
}

/// The same people say the same, one after the other, whatever the number of workers.
///
/// # Panics
/// When a rule is broken; the seed is printed.
pub fn patient(seed: u64, workers: u8, three: bool) -> Report {
    let mut dice = Dice::new(seed);
    let swarm = Swarm::draw(&mut dice, workers);
    let swarm = Swarm { cut: 0, stall: 0, crash: 0, fail: 0, ..swarm };
    play(seed, swarm, dice, true, three)
}

fn play(seed: u64, swarm: Swarm, dice: Dice, patient: bool, three: bool) -> Report {
    let guard = super::run::Guard::new(seed, &swarm);
    let mut rooms = Rooms::new(swarm, dice, patient, three);
    rooms.accounts();
    if patient {
        rooms.take_turns(seed)
    } else {
        rooms.act()
    }
    rooms.settle();
    let logs = rooms.logs();
    rooms.check(&logs);
    let changed = |withdrawn| {
        let is = |e: &&Entry| rooms.change(e).is_some_and(|c| c.withdrawn == withdrawn);
        logs.values().flatten().filter(is).count()
    };
    let returned = |n: usize| rooms.clients.iter().map(|c| c.0.web.returned[n]).sum();
    std::mem::forget(guard);
    let plain = |log: &Vec<Entry>| log.iter().map(|e| e.shown.what.clone()).collect();
    Report {
        trace: rooms.world.trace,
        said: rooms.said.len(),
        stored: logs.values().flatten().filter(|e| e.token().is_some()).count(),
        heard: rooms.clients.iter().map(|c| c.0.heard.len()).sum(),
        heard_web: rooms.heard_web(),
        changed: [changed(false), changed(true)],
        returned: [returned(0), returned(1)],
        crashes: rooms.crashes,
        logs: logs.iter().map(|(name, log)| (name.clone(), plain(log))).collect(),
    }
}

/// Limits as drawn, though a stanza must fit and everybody may be in all rooms.
fn settings(swarm: &Swarm, patient: bool, three: bool) -> Settings {
    let mut config = Config::default();
    config.registration.open = true;
    let mut settings = Settings::new(&config, swarm.settings.shards, [7; 32]);
    settings.iterations = 1;
    let drawn = if patient { Limits::SMALL } else { swarm.settings.limits };
    settings.core.limits = Limits {
        inbox: drawn.inbox.max(4_000),
        // An answer to a sync holds a whole room.
        outbox: drawn.outbox.max(if three { 256 * 1024 } else { 16_000 }),
        flood_burst: 0,
        flood_rate: 0,
        rooms_per_session: 100,
        connections_per_address: 0,
        ..drawn
    };
    settings
}

impl Rooms {
    fn new(swarm: Swarm, dice: Dice, patient: bool, three: bool) -> Rooms {
        let settings = Arc::new(settings(&swarm, patient, three));
        let mut world = World::new(settings, swarm.workers, dice);
        world.chunk = swarm.chunk.max(20);
        Rooms {
            world,
            clients: Vec::new(),
            by_wire: BTreeMap::new(),
            loops: BTreeMap::new(),
            unused: BTreeSet::new(),
            said: BTreeMap::new(),
            swarm,
            crashes: 0,
            patient,
            three,
        }
    }

    /// Everybody's account is made.
    fn accounts(&mut self) {
        for n in 0..self.swarm.people {
            let wire = self.world.connect(on(Speaks::Xmpp));
            let head = Member::new(Speaks::Xmpp, "", "").connect();
            self.world.send(wire, head.as_bytes());
            self.quiet();
            let stanza = format!(
                "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>person{n}</username>\
                 <password>{PASSWORD}</password></query></iq>"
            );
            self.world.send(wire, stanza.as_bytes());
            self.quiet();
            self.world.hang_up(wire);
            self.quiet();
        }
        self.world.fail = self.swarm.fail;
    }

    fn heard_web(&self) -> usize {
        self.clients.iter().filter(|c| c.0.speaks == Speaks::Matrix).map(|c| c.0.heard.len()).sum()
    }

    fn act(&mut self) {
        let end = self.world.step + self.swarm.steps * 2;
        while self.world.step < end {
            let dice = &mut self.world.dice;
            if dice.once_in(self.swarm.crash * 2) {
                self.crashes += 1;
                self.world.crash();
            } else if dice.once_in(self.swarm.cut) {
                self.some_open().into_iter().for_each(|i| self.world.cut(self.clients[i].1));
            } else if dice.once_in(self.swarm.stall) {
                let on = dice.once_in(2);
                self.some_open().into_iter().for_each(|i| self.world.stall(self.clients[i].1, on));
            } else if dice.once_in(self.swarm.pace) || !self.world.advance() {
                let mut dice = Dice::new(self.world.dice.below(usize::MAX) as u64);
                self.ask(&mut dice);
            }
            self.notice();
        }
    }

    /// What is said comes from a seed of its own, for the world's dice fall otherwise with other workers.
    fn take_turns(&mut self, seed: u64) {
        let mut dice = Dice::new(seed ^ 0x5eed);
        for _ in 0..60 {
            self.ask(&mut dice);
            self.quiet();
        }
    }

    /// Somebody comes, joins, speaks or goes.
    fn ask(&mut self, dice: &mut Dice) {
        self.world.step += 1;
        let open: Vec<usize> = (0..self.clients.len()).filter(|i| self.clients[*i].2).collect();
        if open.len() < self.swarm.clients && (open.is_empty() || dice.once_in(4)) {
            return self.connect(dice);
        }
        let i = open[dice.below(open.len())];
        let (client, wire, open) = &mut self.clients[i];
        if client.failed || dice.once_in(if client.here { 60 } else { 20 }) {
            *open = false;
            self.world.hang_up(*wire);
            return self.hang_up_loop(i);
        }
        if !client.here {
            return;
        }
        let (room, token) =
            (format!("room{}", dice.below(self.swarm.rooms)), format!("token{}", self.said.len()));
        let (out, said) = client.act(dice, &room, &token);
        if said {
            self.said.insert(token, (client.name.clone(), room, self.world.step));
        }
        let wire = self.asking_wire(i);
        self.world.send(wire, out.as_bytes());
    }

    fn connect(&mut self, dice: &mut Dice) {
        if self.three && !self.patient && dice.once_in(2) && self.come_back(dice) {
            return;
        }
        let speaks = match self.three {
            true => dice.pick(&[Speaks::Irc, Speaks::Xmpp, Speaks::Matrix, Speaks::Matrix]),
            false if dice.once_in(2) => Speaks::Irc,
            false => Speaks::Xmpp,
        };
        let name = format!("person{}", dice.below(self.swarm.people));
        let mut client = Member::new(speaks, &name, &format!("device{}", self.clients.len()));
        let wire = self.world.connect(on(speaks));
        self.world.send(wire, client.connect().as_bytes());
        self.by_wire.insert(wire, self.clients.len());
        if speaks == Speaks::Matrix {
            let second = self.world.connect(on(speaks));
            self.by_wire.insert(second, self.clients.len());
            self.loops.insert(self.clients.len(), second);
        }
        self.clients.push((client, wire, true));
    }

    /// A Matrix client that lost its connections comes back with what it knew. False: there is none.
    fn come_back(&mut self, dice: &mut Dice) -> bool {
        let lost = |c: &(Member, WireId, bool)| !c.2 && c.0.web.may_return();
        let lost: Vec<usize> = (0..self.clients.len()).filter(|i| lost(&self.clients[*i])).collect();
        if lost.is_empty() {
            return false;
        }
        let i = lost[dice.below(lost.len())];
        let Some(out) = self.clients[i].0.come_back(dice) else { return false };
        let [wire, second] = [(); 2].map(|()| self.world.connect(on(Speaks::Matrix)));
        self.by_wire.retain(|_, client| *client != i);
        self.by_wire.extend([(wire, i), (second, i)]);
        self.loops.insert(i, second);
        self.unused.remove(&i);
        (self.clients[i].1, self.clients[i].2) = (wire, true);
        self.world.send(second, &out);
        true
    }

    fn some_open(&mut self) -> Option<usize> {
        let open: Vec<usize> = (0..self.clients.len()).filter(|i| self.clients[*i].2).collect();
        (!open.is_empty()).then(|| open[self.world.dice.below(open.len())])
    }

    fn notice(&mut self) {
        for noticed in self.world.noticed() {
            let (Noticed::Bytes(wire, _) | Noticed::Closed(wire)) = &noticed;
            let Some(i) = self.by_wire.get(wire) else { continue };
            let (i, from) = (*i, *wire);
            let (client, wire, open) = &mut self.clients[i];
            match noticed {
                Noticed::Bytes(_, bytes) if *open && client.speaks == Speaks::Matrix => {
                    let [asks, loops] = client.receive_web(from != *wire, &bytes, self.world.step);
                    if !asks.is_empty() {
                        let wire = self.asking_wire(i);
                        self.world.send(wire, &asks);
                    }
                    if let Some(second) = self.loops.get(&i) {
                        self.world.send(*second, &loops);
                    }
                }
                Noticed::Bytes(_, bytes) if *open => {
                    let out = client.receive(&bytes, self.world.step);
                    self.world.send(*wire, out.as_bytes());
                }
                Noticed::Bytes(..) => {}
                // Unused for long: it takes another when it needs one.
                Noticed::Closed(_)
                    if *open && client.speaks == Speaks::Matrix && from == *wire && client.web.is_idle() =>
                {
                    self.unused.insert(i);
                }
                Noticed::Closed(_) => {
                    *open = false;
                    if client.speaks == Speaks::Matrix {
                        self.world.hang_up(*wire);
                        self.hang_up_loop(i);
                    }
                }
            }
        }
    }

    /// The connection of what a client asks: another one where the last was closed unused.
    fn asking_wire(&mut self, i: usize) -> WireId {
        if self.unused.remove(&i) {
            let wire = self.world.connect(on(self.clients[i].0.speaks));
            self.by_wire.insert(wire, i);
            self.clients[i].1 = wire;
        }
        self.clients[i].1
    }

    fn hang_up_loop(&mut self, client: usize) {
        if let Some(wire) = self.loops.get(&client) {
            self.world.hang_up(*wire);
        }
    }

    fn quiet(&mut self) {
        for _ in 0..SETTLE {
            let more = self.world.advance();
            self.notice();
            if !more && (self.patient || !self.world.jump(5_000)) {
                return;
            }
        }
        panic!("it does not settle");
    }

    /// No more words and no more faults.
    fn settle(&mut self) {
        self.world.fail = 0;
        for i in 0..self.clients.len() {
            self.world.stall(self.clients[i].1, false);
        }
        self.quiet();
        for i in 0..self.clients.len() {
            let (client, _, open) = &mut self.clients[i];
            if *open && client.here && !client.failed && client.speaks == Speaks::Matrix {
                let out = client.web.ask_histories();
                let wire = self.asking_wire(i);
                self.world.send(wire, &out);
            }
        }
        self.quiet();
    }

    // --- the rules ---

    /// What an entry does to an earlier word.
    fn change(&self, entry: &Entry) -> Option<&Changed> {
        let token = entry.token()?;
        self.clients.iter().find_map(|c| c.0.web.changes.get(token))
    }

    /// Words of which no text is left: withdrawn ones, and those that stood for them.
    fn gone(&self, logs: &BTreeMap<String, Vec<Entry>>) -> BTreeSet<String> {
        let stored = || logs.values().flatten().filter_map(|e| self.change(e));
        let mut gone: BTreeSet<String> = stored().filter(|c| c.withdrawn).map(|c| c.word.clone()).collect();
        let changes = || self.clients.iter().flat_map(|c| &c.0.web.changes);
        loop {
            let more =
                changes().filter(|(word, c)| !c.withdrawn && gone.contains(&c.word) && !gone.contains(*word));
            let more: Vec<String> = more.map(|(word, _)| word.clone()).collect();
            if more.is_empty() {
                return gone;
            }
            gone.extend(more);
        }
    }

    fn logs(&self) -> BTreeMap<String, Vec<Entry>> {
        let page = self.world.disk.view(&Read::Directory { after: None, limit: 10_000, secret: true });
        let Page::Directory(list) = page else { panic!("directory: {page:?}") };
        let named = |room: &lavina_core::query::Listed| {
            Some((room.head.name.as_ref()?.as_str().to_owned(), room.room))
        };
        list.iter().filter_map(named).map(|(name, room)| (name, self.log(room))).collect()
    }

    fn log(&self, room: RoomId) -> Vec<Entry> {
        let range = super::check::everything();
        match self.world.disk.view(&Read::History { room, floor: Pos::ZERO, last: Pos::MAX, range }) {
            Page::Events(stretch) => stretch.entries.iter().map(|e| Entry::of(e)).collect(),
            page => panic!("history: {page:?}"),
        }
    }

    fn check(&self, logs: &BTreeMap<String, Vec<Entry>>) {
        let gone = self.gone(logs);
        let mut stored = BTreeMap::new();
        for (room, log) in logs {
            for entry in log {
                let Some(token) = entry.token() else { continue };
                assert!(stored.insert(token.to_owned(), room.clone()).is_none(), "{token} is stored twice");
                assert!(self.said.get(token).is_some_and(|s| s.1 == *room), "{token} was not said in {room}");
            }
        }
        for change in logs.values().flatten().filter_map(|e| self.change(e)).filter(|c| c.withdrawn) {
            assert!(!stored.contains_key(&change.word), "{} is withdrawn and still there", change.word);
        }
        let mut events = BTreeMap::new();
        for own in self.clients.iter().flat_map(|c| &c.0.web.sent) {
            events.insert(own.token.clone(), own.id.clone());
        }
        for (client, _, open) in &self.clients {
            self.heard(client, logs, &gone, &mut events);
            if *open && client.here && !client.failed {
                self.missed(client, logs, &gone);
                self.history(client, logs);
            }
        }
    }

    /// Everything heard is stored so, was heard in the room's order, once, and by a member.
    fn heard(
        &self,
        client: &Member,
        logs: &BTreeMap<String, Vec<Entry>>,
        gone: &BTreeSet<String>,
        events: &mut BTreeMap<String, String>,
    ) {
        let who = format!("{:?} of {}", client.speaks, client.name);
        let (mut last, mut once): (BTreeMap<&str, usize>, _) = (BTreeMap::new(), BTreeSet::new());
        for h in &client.heard {
            let log = logs.get(&h.room).unwrap_or_else(|| panic!("{who} hears of no room: {h:?}"));
            assert!(once.insert(&h.token), "{who} hears {h:?} twice: {:#?}", client.last);
            if let Some(speaker) = client.speaker(h) {
                assert_eq!(self.said[&h.token].0, speaker, "{who} hears somebody else say {h:?}");
            }
            // On Matrix a message has an id of its own, the same for everybody.
            let told = (client.speaks == Speaks::Matrix)
                .then(|| events.entry(h.token.clone()).or_insert_with(|| h.id.clone()));
            let at = log.iter().position(|e| e.token() == Some(&h.token));
            let Some(at) = at else {
                assert!(gone.contains(&h.token), "{who} hears what is not stored: {h:?}: {:#?}", client.last);
                continue;
            };
            let id = told.map_or(&log[at].id, |id| &*id);
            assert_eq!(*id, h.id, "{who} hears another id of {h:?}");
            let before = last.insert(&h.room, at);
            assert!(before.is_none_or(|b| b < at), "{who} hears {h:?} out of order: {:#?}", client.last);
            let mut member = false;
            for entry in &log[..at] {
                if let Some((_, how)) = entry.shown.member().filter(|(name, _)| *name == client.name) {
                    member = how == "joined";
                }
            }
            assert!(member, "{who} was no member and heard {h:?}");
        }
    }

    /// Who is in a room has heard all that was said there since, and on Matrix what was withdrawn.
    fn missed(&self, client: &Member, logs: &BTreeMap<String, Vec<Entry>>, gone: &BTreeSet<String>) {
        let heard: BTreeSet<&str> = client.heard.iter().map(|h| h.token.as_str()).collect();
        for (room, since) in &client.rooms {
            for entry in logs.get(room).into_iter().flatten() {
                let Some(token) = entry.token().filter(|token| !gone.contains(*token)) else { continue };
                let shown = match (client.speaks, self.change(entry)) {
                    (Speaks::Matrix, _) | (_, None) => true,
                    // IRC shows so many edits in a time and no more.
                    (Speaks::Irc, Some(_)) => false,
                    (Speaks::Xmpp, Some(change)) => !change.withdrawn,
                };
                assert!(
                    !shown || self.said[token].2 <= *since || heard.contains(token),
                    "{:?} of {} is in {room} since {since} and did not hear {token} of {}: {:#?}",
                    client.speaks,
                    client.name,
                    self.said[token].2,
                    client.last
                );
            }
        }
    }

    /// The history that a Matrix client is told in the end is that of the log: in its order, whole since it came, and with
    /// the last edits.
    fn history(&self, client: &Member, logs: &BTreeMap<String, Vec<Entry>>) {
        for (room, told) in &client.web.histories {
            let Some(since) = client.rooms.get(room) else { continue };
            let log = logs.get(room).map(Vec::as_slice).unwrap_or_default();
            let who = || format!("{} is told of {room}: {told:?}", client.name);
            let mut last = None;
            for word in told {
                let at = log.iter().position(|e| e.token() == Some(&word.token));
                assert!(at.is_some() && at > last, "{:?} is out of order: {}", word.token, who());
                last = at;
                let entry = at.map(|at| &log[at]);
                let edits = log.iter().filter(|e| e.edits.is_some() && e.edits == entry.map(|e| e.pos));
                let edited = edits.filter_map(Entry::token).next_back();
                assert_eq!(word.edited.as_deref(), edited, "of {:?}: {}", word.token, who());
            }
            for token in log.iter().filter_map(Entry::token) {
                let there = told.iter().any(|word| word.token == token);
                assert!(there || self.said[token].2 <= *since, "{token} is not there: {}", who());
            }
        }
    }
}

/// An entry of a room's log.
struct Entry {
    id: String,
    pos: Pos,
    shown: Shown,
    /// The word, where it is not said but stands for another, or says why one is withdrawn.
    instead: Option<String>,
    /// The entry that it edits.
    edits: Option<Pos>,
}

impl Entry {
    fn of(event: &Event) -> Entry {
        let (instead, edits) = match &event.what {
            What::Edited { target, message, .. } => (Some(message.body.text.to_string()), Some(*target)),
            What::Redacted { reason, .. } => (reason.as_ref().map(ToString::to_string), None),
            _ => (None, None),
        };
        let id = MsgId { room: event.room, pos: event.pos }.text().to_string();
        Entry { id, pos: event.pos, shown: Shown::of(&text_of(event)), instead, edits }
    }

    /// Its word; none if nothing is left of it.
    fn token(&self) -> Option<&str> {
        let word = self.instead.as_deref().or_else(|| self.shown.token());
        word.filter(|word| word.starts_with("token"))
    }
}

fn on(speaks: Speaks) -> Listener {
    let protocol = match speaks {
        Speaks::Irc => Protocol::Irc,
        Speaks::Xmpp => Protocol::Xmpp,
        Speaks::Matrix => Protocol::Http,
    };
    Listener { protocol, security: Security::Off }
}
