//! A run: everybody comes in, then they talk.

use super::{
    client::{Wire, tls_config},
    histogram::Histogram,
    options::{Case, Options, Protocol},
    probe::{Usage, usage},
    protocol::{self, Mark, Marks, Step},
};
use memchr::memmem;
use rustix::event::{Timespec, epoll};
use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// Clients on their way in at once.
const COMING: usize = 50;
/// Bytes read at once.
const BUFFER: usize = 64 * 1024;
/// Events taken at once.
const EVENTS: usize = 512;
/// Nobody has come in or said anything for so long: the server does not answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Everything is quiet when nothing came for so long.
const QUIET: Duration = Duration::from_millis(400);
/// Bytes of an answer kept while coming in, to be printed when it is a refusal.
const HEARD: usize = 256 * 1024;

/// What came of a run.
#[derive(Default)]
pub struct Outcome {
    /// Messages sent.
    pub sent: u64,
    /// Deliveries, each to one client.
    pub delivered: u64,
    /// Deliveries that did not come.
    pub missing: u64,
    /// Deliveries twice, or out of the order of their sender.
    pub disordered: u64,
    /// Connections that the server closed.
    pub lost: usize,
    /// Microseconds from saying to hearing.
    pub latency: Histogram,
    /// How long it took.
    pub took: Duration,
    /// How long coming in took.
    pub entry: Duration,
    /// The server before anybody came, when all were there, and at the end.
    pub server: Option<[Usage; 3]>,
    /// This process, likewise.
    pub own: [Usage; 3],
}

impl Outcome {
    /// Everything was delivered, once, in order.
    pub fn is_right(&self) -> bool {
        self.missing == 0 && self.disordered == 0 && self.lost == 0
    }
}

struct Client {
    wire: Option<Wire>,
    /// Steps of coming in that are left.
    steps: VecDeque<Step>,
    held: Vec<u8>,
    room: usize,
    /// The next number expected from each speaker of its room.
    next: Vec<u32>,
    said: u32,
    /// Its messages on their way: to how many they have yet to come; the first has the number `first`.
    on_the_way: VecDeque<u32>,
    first: u32,
    writes: bool,
}

struct Run<'a> {
    o: &'a Options,
    epoll: OwnedFd,
    clients: Vec<Client>,
    marks: Marks,
    begun: Instant,
    /// Come in.
    here: usize,
    talking: bool,
    found: Vec<Mark>,
    /// Speakers that may say their next.
    ready: VecDeque<usize>,
    last: Instant,
    out: Outcome,
}

/// Does it.
///
/// # Errors
/// What could not be done, for people.
pub fn run(o: &Options) -> Result<Outcome, String> {
    let needed = o.clients as u64 + 64;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if files.maximum.is_some_and(|max| max < needed) {
        return Err(format!("{needed} files are needed; raise the limit (ulimit -n)"));
    }
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(needed.max(files.current.unwrap_or(0))), ..files },
    )
    .map_err(|e| e.to_string())?;
    let mut run = Run {
        o,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?,
        clients: Vec::new(),
        marks: Marks::new(std::process::id()),
        begun: Instant::now(),
        here: 0,
        talking: false,
        found: Vec::new(),
        ready: VecDeque::new(),
        last: Instant::now(),
        out: Outcome::default(),
    };
    let first = run.measure()?;
    run.come_in()?;
    run.quiet()?;
    let second = run.measure()?;
    run.out.entry = run.begun.elapsed();
    run.begun = Instant::now();
    match o.case {
        Case::Accounts => {}
        Case::Idle => run.wait()?,
        Case::Room | Case::Pairs => run.talk()?,
    }
    run.out.took = run.begun.elapsed();
    let third = run.measure()?;
    run.out.own = [first.1, second.1, third.1];
    run.out.server = first.0.zip(second.0).zip(third.0).map(|((a, b), c)| [a, b, c]);
    run.out.missing = run.clients.iter().flat_map(|c| &c.on_the_way).map(|n| u64::from(*n)).sum();
    Ok(run.out)
}

impl Run<'_> {
    fn measure(&self) -> Result<(Option<Usage>, Usage), String> {
        let server = match self.o.pid {
            Some(pid) => Some(usage(pid).ok_or(format!("no process {pid}"))?),
            None => None,
        };
        Ok((server, usage(std::process::id()).unwrap_or_default()))
    }

    // --- coming in ---

    fn come_in(&mut self) -> Result<(), String> {
        let tls = if self.o.tls { Some(tls_config()?) } else { None };
        let in_rooms = self.o.case == Case::Room || (self.o.case == Case::Idle && self.o.rooms > 0);
        let speakers = if self.o.case == Case::Pairs { 2 } else { self.o.senders };
        while self.here < self.o.clients {
            let n = self.clients.len();
            if n < self.o.clients && n - self.here < COMING {
                let wire = Wire::connect(self.o.to, tls.as_ref(), &self.o.domain)
                    .map_err(|e| format!("client {n} cannot connect: {e}"))?;
                let data = epoll::EventData::new_u64(n as u64);
                epoll::add(&self.epoll, &wire.socket, data, epoll::EventFlags::IN)
                    .map_err(|e| e.to_string())?;
                let room = n / self.o.members().max(1);
                let place = (in_rooms && room < self.o.rooms).then(|| (room, n % self.o.members()));
                self.clients.push(Client {
                    wire: Some(wire),
                    steps: protocol::entry(self.o, n, place).into(),
                    held: Vec::new(),
                    room,
                    next: vec![0; speakers],
                    said: 0,
                    on_the_way: VecDeque::new(),
                    first: 0,
                    writes: false,
                });
                self.say_step(n);
                self.last = Instant::now();
            }
            let timeout = if self.clients.len() - self.here < COMING { 0 } else { 100 };
            self.events(if n == self.o.clients { 100 } else { timeout })?;
            if self.out.lost > 0 {
                return Err("the server closed a connection of somebody coming in".to_owned());
            }
            if self.last.elapsed() > PATIENCE {
                return Err(self.stuck());
            }
        }
        Ok(())
    }

    fn stuck(&self) -> String {
        let Some((n, client)) = self.clients.iter().enumerate().find(|(_, c)| !c.steps.is_empty()) else {
            return "nothing comes any more".to_owned();
        };
        let heard = String::from_utf8_lossy(&client.held);
        format!("client {n} waits for {:?} and heard {heard:?}", client.steps[0].wait)
    }

    fn say_step(&mut self, n: usize) {
        let client = &mut self.clients[n];
        match client.steps.front() {
            Some(step) => {
                let say = step.say.clone().into_bytes();
                self.say(n, &say);
            }
            None => {
                client.held = Vec::new();
                self.here += 1;
                if self.o.case == Case::Accounts {
                    client.wire = None;
                }
            }
        }
    }

    fn answered(&mut self, n: usize) -> Result<(), String> {
        let client = &mut self.clients[n];
        let Some(step) = client.steps.front() else { return Ok(()) };
        let has = |text: &&&str| memmem::find(&client.held, text.as_bytes()).is_some();
        let end = |text: &&str| memmem::find(&client.held, text.as_bytes()).map(|at| at + text.len());
        if let Some(end) = step.wait.iter().find_map(end) {
            // What comes behind it may be what the next step waits for.
            client.held.drain(..end);
            client.steps.pop_front();
            self.say_step(n);
            self.answered(n)?;
        } else if let Some(sign) = protocol::refusals(self.o.protocol).iter().find(has) {
            let heard = String::from_utf8_lossy(&client.held);
            return Err(format!("client {n} is refused ({sign:?}): {heard}"));
        } else if client.held.len() > HEARD {
            client.held.drain(..HEARD / 2);
        }
        Ok(())
    }

    fn quiet(&mut self) -> Result<(), String> {
        while self.last.elapsed() < QUIET {
            self.events(50)?;
        }
        Ok(())
    }

    // --- talking ---

    fn wait(&mut self) -> Result<(), String> {
        while self.begun.elapsed() < Duration::from_secs(self.o.seconds) {
            self.events(100)?;
        }
        Ok(())
    }

    fn talk(&mut self) -> Result<(), String> {
        self.talking = true;
        let speakers: Vec<usize> = (0..self.clients.len()).filter(|n| self.is_first(*n)).collect();
        let expected = self.expected();
        let end = Duration::from_secs(self.o.seconds);
        match self.o.pace {
            Some(_) => {}
            None => self.ready = (0..self.o.window).flat_map(|_| speakers.iter().copied()).collect(),
        }
        let mut turn = 0u64;
        self.last = Instant::now();
        loop {
            if let Some(pace) = self.o.pace {
                let due = self.begun.elapsed().as_micros() as u64 * u64::from(pace) / 1_000_000;
                let all = speakers.len() as u64 * u64::from(self.o.messages);
                while turn < due.min(all) {
                    self.ready.push_back(speakers[(turn % speakers.len() as u64) as usize]);
                    turn += 1;
                }
            }
            let over = self.begun.elapsed() >= end;
            while let Some(n) = self.ready.pop_front() {
                if !over {
                    self.speak(n);
                }
            }
            let under_way = self.clients.iter().any(|c| !c.on_the_way.is_empty());
            if self.out.delivered >= expected || (over && !under_way) {
                return Ok(());
            }
            if self.last.elapsed() > PATIENCE {
                return Ok(()); // what is missing is counted
            }
            self.events(if self.o.pace.is_some() { 1 } else { 100 })?;
        }
    }

    /// One that speaks without being spoken to.
    fn is_first(&self, n: usize) -> bool {
        match self.o.case {
            Case::Pairs => n.is_multiple_of(2),
            _ => n % self.o.members() < self.o.senders && self.clients[n].room < self.o.rooms,
        }
    }

    /// Deliveries of one message.
    fn hearers(&self) -> u32 {
        match (self.o.case, self.o.protocol) {
            (Case::Pairs, _) => 1,
            // XMPP rooms tell the speaker too.
            (_, Protocol::Xmpp) => self.o.members() as u32,
            (_, Protocol::Irc) => self.o.members() as u32 - 1,
        }
    }

    fn expected(&self) -> u64 {
        let speakers = match self.o.case {
            Case::Pairs => self.o.clients,
            _ => self.o.rooms * self.o.senders,
        };
        speakers as u64 * u64::from(self.o.messages) * u64::from(self.hearers())
    }

    fn speak(&mut self, n: usize) {
        let hearers = self.hearers();
        let at = self.begun.elapsed().as_micros() as u64;
        let client = &mut self.clients[n];
        if client.said >= self.o.messages || client.wire.is_none() {
            return;
        }
        let text = self.marks.text(Mark { sender: n as u32, number: client.said, at }, self.o.bytes);
        client.said += 1;
        client.on_the_way.push_back(hearers);
        self.out.sent += 1;
        let mut bytes = Vec::new();
        match self.o.case {
            Case::Pairs => protocol::to_person(self.o, n ^ 1, &text, &mut bytes),
            _ => protocol::to_room(self.o, client.room, &text, &mut bytes),
        }
        self.say(n, &bytes);
    }

    fn heard(&mut self, n: usize, mark: Mark) {
        let (sender, now) = (mark.sender as usize, self.begun.elapsed().as_micros() as u64);
        self.out.delivered += 1;
        self.out.latency.add(now.saturating_sub(mark.at));
        let place = if self.o.case == Case::Pairs { sender % 2 } else { sender % self.o.members() };
        let hearer = &mut self.clients[n];
        match hearer.next.get_mut(place) {
            Some(next) if *next == mark.number => *next += 1,
            _ => self.out.disordered += 1,
        }
        let answer = self.o.case == Case::Pairs;
        let speaker = &mut self.clients[sender];
        let index = mark.number.wrapping_sub(speaker.first) as usize;
        if let Some(left) = speaker.on_the_way.get_mut(index) {
            *left = left.saturating_sub(1);
        }
        while speaker.on_the_way.front() == Some(&0) {
            speaker.on_the_way.pop_front();
            speaker.first += 1;
            if !answer && self.o.pace.is_none() {
                self.ready.push_back(sender);
            }
        }
        if answer && self.o.pace.is_none() {
            self.ready.push_back(n);
        }
    }

    // --- bytes ---

    fn events(&mut self, millis: u32) -> Result<(), String> {
        let mut events = Vec::with_capacity(EVENTS);
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(millis) * 1_000_000 };
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, spare, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.to_string()),
        }
        let (mut buffer, mut plain) = (vec![0; BUFFER], Vec::new());
        for event in &events {
            let n = event.data.u64() as usize;
            let flags = event.flags;
            if flags.contains(epoll::EventFlags::OUT) {
                self.say(n, &[]);
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.read(n, &mut buffer, &mut plain)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, n: usize, buffer: &mut [u8], plain: &mut Vec<u8>) -> Result<(), String> {
        let client = &mut self.clients[n];
        let Some(wire) = &mut client.wire else { return Ok(()) };
        plain.clear();
        plain.append(&mut client.held);
        let old = plain.len();
        if wire.read(buffer, plain).is_err() {
            self.out.lost += 1;
            client.wire = None;
            return Ok(());
        }
        if plain.len() == old {
            client.held.extend_from_slice(plain);
            return Ok(());
        }
        self.last = Instant::now();
        let mut answer = Vec::new();
        protocol::pong(self.o.protocol, &plain[old..], &mut answer);
        if self.talking {
            let mut found = std::mem::take(&mut self.found);
            let keep = self.marks.find(plain, |mark| found.push(mark));
            client.held.extend_from_slice(&plain[plain.len() - keep..]);
            found.drain(..).for_each(|mark| self.heard(n, mark));
            self.found = found;
        } else if !client.steps.is_empty() {
            client.held.extend_from_slice(plain);
            self.answered(n)?;
        }
        if !answer.is_empty() {
            self.say(n, &answer);
        }
        Ok(())
    }

    fn say(&mut self, n: usize, bytes: &[u8]) {
        let client = &mut self.clients[n];
        let Some(wire) = &mut client.wire else { return };
        if wire.say(bytes).is_err() {
            self.out.lost += 1;
            client.wire = None;
            return;
        }
        let blocked = wire.is_blocked();
        if std::mem::replace(&mut client.writes, blocked) != blocked {
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, blocked);
            let data = epoll::EventData::new_u64(n as u64);
            // Fails only for a socket that is closed, which reading tells.
            let _ = epoll::modify(&self.epoll, &wire.socket, data, flags);
        }
    }
}
