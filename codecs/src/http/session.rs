//! A connection that speaks HTTP: requests are read one at a time and given to whoever serves their path; responses
//! leave in the order of the requests, whenever they are ready.

use super::cors;
use super::limits::{
    BODY_LEAST, BODY_TIME, HEAD_TIME, IN_FLIGHT, KEEP_ALIVE, OUTPUT, PIECE, RESPONSES, SEND_TIME,
};
use super::reader::{Reader, Step};
use super::request::{Head, Method};
use super::response::{self, Manner, Response};
use super::route::{self, Found, Route, Serve};
use super::status::{Fault, Status};
use super::stream::{Incoming, LATER, Later, SENDING, Transfer};
use super::websocket::Spoken;
use crate::job::{Done, Job};
use crate::late::Late;
use crate::session::Cx;
use crate::settings::{Listener, Settings};
use lavina_core::event::{Event, Live};
use lavina_core::ids::ReqId;
use lavina_core::outbox::Slot;
use lavina_core::projection::{Hole, Mode, Parcel, Reason, Seen, Wake};
use lavina_core::query::{Query, Reply};
use lavina_core::refusal::Refusal;
use lavina_core::vecmap::VecMap;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Bytes of the heads of most responses.
const HEAD: usize = 256;

/// The timer that ends idle connections and slow requests.
const TIMER: u8 = 0;

/// A whole request, as it is served. It is a value: it can be sent to another worker.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its head.
    pub head: Box<Head>,
    /// Its body, the transfer coding undone.
    pub body: Vec<u8>,
    /// The address of the client; `None`: a local socket. Of a connection from this machine it is what a proxy there
    /// says last in `X-Forwarded-For`.
    pub peer: Option<SocketAddr>,
    /// It came over TLS.
    pub secure: bool,
}

/// The place of a request's response. It must be given back with [`Http::respond`], once; there is no other way to get rid
/// of it but the end of the connection.
#[derive(Debug)]
#[must_use = "a request without response blocks all that follow it"]
pub struct Ticket {
    pub(super) slot: Slot,
    pub(super) manner: Manner,
}

impl Request {
    /// The address under which the client reached this, without a slash at its end: the one that is configured, else the
    /// one it named. A proxy in front that does TLS tells so with `X-Forwarded-Proto`.
    #[must_use]
    pub fn base(&self, settings: &Settings) -> String {
        if let Some(url) = &settings.http.url {
            return url.clone();
        }
        let secure = self.secure || self.head.header("x-forwarded-proto") == Some("https");
        let scheme = if secure { "https" } else { "http" };
        let host = self.head.host().filter(|host| !host.is_empty()).unwrap_or(&settings.core.domain);
        format!("{scheme}://{host}")
    }
}

type OnReply = Box<dyn FnOnce(&mut Http, Ticket, Reply, &mut Cx<'_>) + Send>;
type OnDone = Box<dyn FnOnce(&mut Http, Ticket, Result<Done, Refusal>, &mut Cx<'_>) + Send>;

type OnAnswer = Box<dyn FnOnce(&mut Http, Ticket, Option<Parcel>, &mut Cx<'_>) + Send>;
type OnLost = Box<dyn FnOnce(&mut Cx<'_>) + Send>;

/// What is to happen with the answer to a question asked for a request.
enum Then {
    Reply(OnReply),
    Job(OnDone),
    /// The second: when the connection is lost before the answer comes.
    Answer(OnAnswer, OnLost),
}

/// A request whose body is being read.
pub(super) enum Reading {
    /// Gathered in memory.
    Whole { head: Box<Head>, ticket: Ticket, route: &'static Route, body: Vec<u8> },
    /// Nobody has said yet what is to become of it.
    Asked,
    /// Streamed; its ticket is in [`Http::transfers`].
    Streamed(ReqId),
}

/// A body that is sent piece by piece.
struct Sending {
    slot: Slot,
    body: Vec<u8>,
    /// Bytes that are written.
    at: usize,
}

/// What the timer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// Nothing: requests are being served.
    Off,
    /// The next request.
    Idle,
    /// The rest of a head.
    Head,
    /// The other end, to take what is sent.
    Sent,
    /// More of a body; so much has come since the timer was set.
    Body(usize),
}

/// A connection.
pub struct Http {
    pub(super) reader: Reader,
    pub(super) reading: Option<Reading>,
    /// The places given out and not answered.
    pub(super) open: Vec<Slot>,
    waiting: VecMap<ReqId, (Ticket, Then)>,
    sending: Vec<Sending>,
    /// A piece is on its way; the next waits until it is nearly sent.
    piece: bool,
    /// Contents on their way.
    pub(super) transfers: BTreeMap<ReqId, Transfer>,
    /// Requests that wait for a time, and until when.
    pub(super) later: Vec<Later>,
    clock: Clock,
    timer: Late,
    /// Nothing is read any more; the connection closes for this reason once everything is answered.
    pub(super) last: Option<Reason>,
    /// What is spoken from here on instead.
    switched: Option<Spoken>,
}

// --- what the one projection of the server calls ---

impl Http {
    /// A connection came in.
    #[must_use]
    pub fn accept(_: Listener) -> Http {
        Http {
            reader: Reader::default(),
            reading: None,
            open: Vec::new(),
            waiting: VecMap::new(),
            sending: Vec::new(),
            piece: false,
            transfers: BTreeMap::new(),
            later: Vec::new(),
            clock: Clock::Off,
            timer: Late::default(),
            last: None,
            switched: None,
        }
    }

    /// The client speaks first. It need not log in: the time for its requests is what is limited.
    pub fn opened(&mut self, cx: &mut Cx<'_>) {
        cx.login_deadline(false);
        cx.allow_output(OUTPUT);
        self.watch(cx);
    }

    /// Takes one request, or what is there of it.
    ///
    /// # Errors
    /// None: what is no request is answered, and the connection closes when everything is.
    pub fn recv(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> Result<usize, Reason> {
        if self.last.is_some() {
            return Ok(bytes.len());
        }
        if self.reading.is_none() && self.open.len() >= IN_FLIGHT {
            return Ok(0);
        }
        let mut at = 0;
        while self.last.is_none() {
            let room = match self.reading {
                Some(Reading::Asked) => break,
                Some(Reading::Streamed(transfer)) => cx.upload_room(transfer),
                _ => usize::MAX,
            };
            let rest = &bytes[at..];
            let (step, used) = match self.reader.next(&rest[..rest.len().min(room)]) {
                Ok(step) => step,
                Err(fault) => {
                    self.fault(fault, cx);
                    break;
                }
            };
            at += used;
            match step {
                Step::Wait => break,
                Step::Head(head) => self.begin(head, cx),
                Step::Data(data) => self.more(data, cx),
                Step::End => {
                    self.complete(cx);
                    break;
                }
            }
        }
        if self.switched.is_some() && at < bytes.len() {
            // Before the answer nothing can be meant for what is spoken after it (RFC 6455 §4.1).
            (self.switched, self.last) =
                (None, Some(Reason::Protocol("bytes before the handshake was done")));
            self.leave(cx);
        }
        self.watch(cx);
        Ok(if self.last.is_some() { bytes.len() } else { at })
    }

    /// It sees no rooms.
    pub fn seen(&mut self, _: &Arc<Event>, _: Seen, _: &mut Cx<'_>) {}

    /// It sees no rooms.
    pub fn seen_live(&mut self, _: &Arc<Live>, _: Option<ReqId>, _: &mut Cx<'_>) {}

    /// An answer.
    pub fn reply(&mut self, req: ReqId, reply: Reply, cx: &mut Cx<'_>) {
        match self.waiting.remove(&req) {
            Some((ticket, Then::Reply(then))) => then(self, ticket, reply, cx),
            Some((ticket, Then::Job(then))) => {
                then(self, ticket, Err(reply.err().unwrap_or(Refusal::Busy)), cx)
            }
            Some((_, Then::Answer(..))) | None => {}
        }
    }

    /// The answer to what was handed over.
    pub fn responded(&mut self, req: ReqId, parcel: Option<Parcel>, cx: &mut Cx<'_>) {
        if let Some((ticket, Then::Answer(then, _))) = self.waiting.remove(&req) {
            then(self, ticket, parcel, cx);
        }
    }

    /// A job's result.
    pub fn done(&mut self, req: ReqId, done: Done, cx: &mut Cx<'_>) {
        if let Some((ticket, Then::Job(then))) = self.waiting.remove(&req) {
            then(self, ticket, Ok(done), cx);
        }
    }

    /// Something else happened.
    pub fn wake(&mut self, why: Wake, cx: &mut Cx<'_>) {
        match why {
            Wake::Timer(TIMER) if self.timer.rings(TIMER, cx) => self.time_is_over(cx),
            Wake::Lost => {
                for (_, (_, then)) in std::mem::take(&mut self.waiting) {
                    if let Then::Answer(_, lost) = then {
                        lost(cx);
                    }
                }
            }
            Wake::Sent => {
                self.piece = false;
                self.feed(cx);
            }
            Wake::Moved => {
                (self.clock, self.timer) = (Clock::Off, Late::default());
                self.watch(cx);
            }
            Wake::Timer(LATER) => self.on_time(cx),
            Wake::Timer(SENDING) => cx.close(Reason::Timeout("response not read")),
            Wake::Drain => self.drain(cx),
            Wake::Overflow => cx.close(Reason::Limit("output not read")),
            _ => {}
        }
    }

    /// The head of a request was taken, and its body is to come.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        matches!(self.reading, Some(Reading::Whole { .. } | Reading::Streamed(_)))
    }

    /// It sees no rooms.
    #[must_use]
    pub fn mode(&self) -> Mode {
        Mode::Quiet
    }

    /// It has no holes.
    #[must_use]
    pub fn hole(&self, _: Hole) -> &[u8] {
        &[]
    }
}

// --- what those who serve use ---

impl Http {
    /// Answers a request. The response leaves when those before it have left.
    pub fn respond(&mut self, ticket: Ticket, response: Response, cx: &mut Cx<'_>) {
        let Ticket { slot, manner } = ticket;
        let (response, now) = (cors::allow(response), cx.now().wall);
        let large = response.body.len() > PIECE && response::has_body(&response, manner);
        cx.answer_with(slot, false, |out| {
            if large {
                response::write_head(&response, manner, now, out);
            } else {
                out.reserve(HEAD + response.body.len());
                response::write(&response, manner, now, out);
            }
        });
        if large && self.sending.iter().map(|s| s.body.len()).sum::<usize>() + response.body.len() > RESPONSES
        {
            return cx.close(Reason::Limit("responses not read"));
        }
        if large {
            self.sending.push(Sending { slot, body: response.body, at: 0 });
        } else {
            self.answered(slot, cx);
        }
        self.feed(cx);
    }

    /// Asks for a request; `then` gets the answer and must respond.
    pub fn ask(
        &mut self,
        query: Query,
        ticket: Ticket,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Http, Ticket, Reply, &mut Cx<'_>) + Send + 'static,
    ) {
        let req = cx.query(query);
        self.when(req, ticket, then);
    }

    /// Has a job done for a request; `then` gets the result and must respond.
    pub fn job(
        &mut self,
        job: Job,
        ticket: Ticket,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Http, Ticket, Result<Done, Refusal>, &mut Cx<'_>) + Send + 'static,
    ) {
        let req = cx.job(job);
        self.waiting.insert(req, (ticket, Then::Job(Box::new(then))));
    }

    /// What is to happen with the answer to `req`, which was asked for this request in whatever way.
    pub fn when(
        &mut self,
        req: ReqId,
        ticket: Ticket,
        then: impl FnOnce(&mut Http, Ticket, Reply, &mut Cx<'_>) + Send + 'static,
    ) {
        self.waiting.insert(req, (ticket, Then::Reply(Box::new(then))));
    }
}

impl Http {
    /// What is to happen when what was handed over as `req` ([`lavina_core::Cx::hand`]) is answered, or when the
    /// connection is lost before that.
    pub fn when_answered(
        &mut self,
        req: ReqId,
        ticket: Ticket,
        then: impl FnOnce(&mut Http, Ticket, Option<Parcel>, &mut Cx<'_>) + Send + 'static,
        lost: impl FnOnce(&mut Cx<'_>) + Send + 'static,
    ) {
        self.waiting.insert(req, (ticket, Then::Answer(Box::new(then), Box::new(lost))));
    }

    /// Answers a request with 101: from here on something else is spoken.
    pub fn switch(&mut self, ticket: Ticket, response: Response, spoken: Spoken, cx: &mut Cx<'_>) {
        if self.open.len() > 1 || self.last.is_some() {
            let why = "a WebSocket is opened on a connection that stays, with no request before it under way";
            return self.respond(ticket, Response::text(Status::BAD_REQUEST, why), cx);
        }
        self.respond(ticket, response, cx);
        self.switched = Some(spoken);
        cx.timer(TIMER, None);
    }

    /// What is spoken instead of HTTP now, told once; this session is at its end.
    pub fn switched(&mut self) -> Option<Spoken> {
        self.switched.take()
    }
}

// --- requests ---

impl Http {
    /// A head came: finds who serves it, and whether its body is wanted.
    fn begin(&mut self, head: Box<Head>, cx: &mut Cx<'_>) {
        let slot = cx.slot();
        self.open.push(slot);
        let ticket = Ticket { slot, manner: Manner::of(&head) };
        let found = if head.expects_more() {
            Err(Response::text(Status::EXPECTATION_FAILED, "only 100-continue can be expected"))
        } else if head.method == Method::Options {
            Err(cors::preflight(&head))
        } else {
            match route::find(&head) {
                Found::Route(route) => Ok(route),
                Found::Otherwise(methods) => Err(cors::method_not_allowed(methods)),
                Found::Nothing => Err(Response::text(Status::NOT_FOUND, "there is nothing here")),
            }
        };
        let route = match found {
            Ok(route) => route,
            Err(response) => return self.refuse(&head, ticket, response, cx),
        };
        if let (Serve::Head(serve), true) = (route.serve, head.framing != super::body::Framing::NONE) {
            self.reading = Some(Reading::Asked);
            return serve(self, Incoming { head, ticket, has_body: true }, cx);
        }
        let room = (route.room)(&head);
        if let super::body::Framing::Length(length) = head.framing
            && length > room
        {
            let response = Response::text(Status::CONTENT_TOO_LARGE, "the body is too large");
            return self.refuse(&head, ticket, response, cx);
        }
        self.reader.allow(room);
        if head.expects_continue() {
            cx.answer(slot, response::CONTINUE, false);
        }
        self.reading = Some(Reading::Whole { head, ticket, route, body: Vec::new() });
    }

    /// Answers a request at its head. If it has a body, nobody wants that, and the connection ends with the answer.
    fn refuse(&mut self, head: &Head, mut ticket: Ticket, response: Response, cx: &mut Cx<'_>) {
        if head.framing != super::body::Framing::NONE {
            self.read_no_more(&mut ticket);
        }
        if ticket.manner.close {
            self.last = Some(Reason::Bye);
        }
        self.respond(ticket, response, cx);
    }

    /// What is left of its body is not wanted: its response is the last.
    pub(super) fn read_no_more(&mut self, ticket: &mut Ticket) {
        (self.reading, ticket.manner.close) = (None, true);
        self.last = Some(Reason::Bye);
    }

    fn more(&mut self, data: &[u8], cx: &mut Cx<'_>) {
        if let Clock::Body(progress) = &mut self.clock {
            *progress += data.len();
        }
        match &mut self.reading {
            Some(Reading::Whole { body, .. }) => body.extend_from_slice(data),
            Some(Reading::Streamed(transfer)) => {
                let taken = cx.upload_bytes(*transfer, data);
                debug_assert_eq!(taken, data.len(), "no more was read than there is room for");
            }
            Some(Reading::Asked) | None => {}
        }
    }

    /// The request is whole: it is served.
    fn complete(&mut self, cx: &mut Cx<'_>) {
        let (head, ticket, route, body) = match self.reading.take() {
            Some(Reading::Whole { head, ticket, route, body }) => (head, ticket, route, body),
            Some(Reading::Streamed(transfer)) => return self.body_is_whole(transfer, cx),
            Some(Reading::Asked) | None => return,
        };
        if ticket.manner.close {
            self.last = Some(Reason::Bye);
        }
        match route.serve {
            Serve::Whole(serve) => {
                let peer = client(&head, cx.peer());
                let request = Request { head, body, peer, secure: cx.is_secure() };
                serve(self, request, ticket, cx);
            }
            Serve::Head(serve) => serve(self, Incoming { head, ticket, has_body: false }, cx),
        }
    }

    /// A request has its whole response.
    pub(super) fn answered(&mut self, slot: Slot, cx: &mut Cx<'_>) {
        cx.done(slot);
        self.open.retain(|open| *open != slot);
    }

    /// Writes the next piece of the body whose turn it is.
    pub(super) fn feed(&mut self, cx: &mut Cx<'_>) {
        while !self.piece
            && let Some(first) = self.open.first().copied()
            && let Some(at) = self.sending.iter().position(|sending| sending.slot == first)
        {
            let sending = &mut self.sending[at];
            let end = sending.body.len().min(sending.at + PIECE);
            cx.answer(first, &sending.body[sending.at..end], false);
            sending.at = end;
            // The next piece has its own time.
            self.clock = Clock::Off;
            if end < sending.body.len() {
                cx.when_sent(PIECE as u32);
                self.piece = true;
                break;
            }
            self.sending.swap_remove(at);
            self.sending.shrink_to_fit();
            self.answered(first, cx);
        }
        self.leave(cx);
        self.watch(cx);
    }

    /// What came is no request, or came too slowly: that is the last thing said.
    fn fault(&mut self, fault: Fault, cx: &mut Cx<'_>) {
        self.last = Some(Reason::Protocol(fault.why));
        let begun = match self.reading.take() {
            Some(Reading::Whole { ticket, .. }) => Some(ticket),
            Some(Reading::Streamed(transfer)) => self.give_up(transfer, cx),
            Some(Reading::Asked) | None => None,
        };
        let ticket = match begun {
            Some(ticket) => Ticket { manner: Manner { close: true, ..ticket.manner }, ..ticket },
            None => {
                let slot = cx.slot();
                self.open.push(slot);
                Ticket { slot, manner: Manner::FAULT }
            }
        };
        self.respond(ticket, Response::text(fault.status, fault.why), cx);
    }
}

// --- time, and the end ---

impl Http {
    /// Sets the timer for what is waited for now.
    pub(super) fn watch(&mut self, cx: &mut Cx<'_>) {
        if self.switched.is_some() {
            return;
        }
        let first = self.open.first();
        let wanted = match () {
            () if self.sending.iter().any(|sending| Some(&sending.slot) == first) => Clock::Sent,
            () if self.last.is_some() => Clock::Off,
            () if matches!(self.reading, Some(Reading::Asked)) => Clock::Off,
            () if self.reading.is_some() => Clock::Body(0),
            () if self.reader.is_in_head() => Clock::Head,
            () if self.open.is_empty() => Clock::Idle,
            () => Clock::Off,
        };
        let same = match (self.clock, wanted) {
            // One request after another is not idle.
            (Clock::Idle, Clock::Idle) => false,
            (Clock::Body(_), Clock::Body(_)) => true,
            (old, new) => old == new,
        };
        if same {
            return;
        }
        self.clock = wanted;
        let now = cx.now().mono;
        let due = match wanted {
            Clock::Off => None,
            Clock::Idle => Some(now + KEEP_ALIVE),
            Clock::Head => Some(now + HEAD_TIME),
            Clock::Body(_) => Some(now + BODY_TIME),
            Clock::Sent => Some(now + SEND_TIME),
        };
        self.timer.put(TIMER, due, cx);
    }

    fn time_is_over(&mut self, cx: &mut Cx<'_>) {
        match std::mem::replace(&mut self.clock, Clock::Off) {
            Clock::Off => {}
            Clock::Idle => {
                self.last = Some(Reason::Timeout("no request"));
                self.leave(cx);
            }
            Clock::Sent => cx.close(Reason::Timeout("response not read")),
            Clock::Body(progress) if progress >= BODY_LEAST => self.watch(cx),
            Clock::Head | Clock::Body(_) => {
                self.fault(Fault::new(Status::REQUEST_TIMEOUT, "the request came too slowly"), cx);
            }
        }
    }

    /// The server stops: what is not answered is told so.
    fn drain(&mut self, cx: &mut Cx<'_>) {
        self.last = Some(Reason::Drain);
        let response = cors::allow(Response::text(Status::SERVICE_UNAVAILABLE, "the server is stopping"));
        let begun = self.half_sent();
        for slot in std::mem::take(&mut self.open) {
            if begun == Some(slot) || self.sending.iter().any(|sending| sending.slot == slot) {
                // Its head is written; it cannot become another answer any more.
                break;
            }
            let mut out = Vec::new();
            response::write(&response, Manner::FAULT, cx.now().wall, &mut out);
            cx.answer(slot, &out, false);
            cx.done(slot);
        }
        (self.reading, self.waiting, self.transfers) = (None, VecMap::new(), BTreeMap::new());
        self.later = Vec::new();
    }

    /// Closes if the last word is said and everything answered.
    fn leave(&mut self, cx: &mut Cx<'_>) {
        if let (Some(reason), true) = (self.last, self.open.is_empty()) {
            cx.close(reason);
        }
    }
}

/// Where a request comes from. A proxy on this machine may say so; nobody else is believed.
fn client(head: &Head, peer: Option<SocketAddr>) -> Option<SocketAddr> {
    let own = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let told = head.headers.list("x-forwarded-for").last().filter(|_| own);
    let told = told.and_then(|told| told.trim_matches(['[', ']']).parse().ok());
    told.map(|ip: IpAddr| SocketAddr::new(ip, 0)).or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proxy_on_this_machine_is_believed() {
        let head = |fields: &str| {
            Head::parse(format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes()).expect("a head")
        };
        let at = |text: &str| Some(text.parse::<SocketAddr>().expect(text));
        let told = head("X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\nX-Forwarded-For: 2001:db8::1\r\n");
        for (head, peer, client_is) in [
            (&told, at("[::1]:5"), at("[2001:db8::1]:0")),
            (&told, at("[::ffff:127.0.0.1]:5"), at("[2001:db8::1]:0")),
            (&told, at("192.0.2.1:5"), at("192.0.2.1:5")),
            (&told, None, None),
            (&head("X-Forwarded-For: unknown\r\n"), at("127.0.0.1:5"), at("127.0.0.1:5")),
            (&head(""), at("127.0.0.1:5"), at("127.0.0.1:5")),
        ] {
            assert_eq!(client(head, peer), client_is, "{peer:?}");
        }
    }
}
