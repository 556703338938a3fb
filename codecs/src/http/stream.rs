//! Bodies that are contents: requests whose body streams to where contents are kept, and responses that stream from
//! there. Neither is ever whole in memory ([`lavina_core::blob`]).
//!
//! Who serves a path by the head alone ([`super::route::Serve::Head`]) gets an [`Incoming`] and does one of two things with
//! it, at once or later: [`Http::take`] its body, or [`Http::decline`] it. Until then nothing of the body is read, and a
//! client that waits for `100 Continue` does not send it.

use super::limits::SEND_TIME;
use super::request::Head;
use super::response::{self, Response};
use super::session::{Http, Reading, Ticket};
use super::status::Status;
use super::{body::Framing, cors};
use crate::session::Cx;
use lavina_core::blob::{Blob, BlobKey, Hash};
use lavina_core::ids::ReqId;
use lavina_core::outbox::Slot;
use lavina_core::projection::Reason;
use lavina_core::query::{Query, Reply};
use lavina_core::refusal::Refusal;
use lavina_core::time::Mono;

/// The timer that ends a connection whose client takes nothing of a content.
pub(super) const SENDING: u8 = 1;

/// The timer for requests that wait.
pub(super) const LATER: u8 = 2;

/// A request whose head is there, and whose body may be yet to come.
#[derive(Debug)]
#[must_use = "a request without response blocks all that follow it"]
pub struct Incoming {
    /// Its head.
    pub head: Box<Head>,
    pub(super) ticket: Ticket,
    pub(super) has_body: bool,
}

/// A body that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its hash.
    pub hash: Hash,
    /// How long it is.
    pub size: u64,
}

/// A part of a content that is asked for (RFC 9110 §14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From a byte on; up to and including another, if that is said.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
}

type OnKept = Box<dyn FnOnce(&mut Http, Ticket, Result<Kept, Refusal>, &mut Cx<'_>) + Send>;
type OnGathered = Box<dyn FnOnce(&mut Http, Ticket, Result<Vec<u8>, Refusal>, &mut Cx<'_>) + Send>;
type OnTime = Box<dyn FnOnce(&mut Http, Ticket, &mut Cx<'_>) + Send>;
type OnMissing = Box<dyn FnOnce(&mut Http, Ticket, Refusal, &mut Cx<'_>) + Send>;

/// A request that waits until a time.
pub(super) struct Later(Mono, Ticket, OnTime);

/// A content on its way.
pub(super) enum Transfer {
    /// The body of a request.
    Up(Ticket, OnKept),
    /// The body of a response that has not begun.
    Asked(Box<Asked>),
    /// The body of a response whose head is sent.
    Down(Slot),
    /// Gathered in memory, so far.
    Gather(Ticket, Vec<u8>, OnGathered),
}

/// A content that is looked for.
pub(super) struct Asked {
    ticket: Ticket,
    response: Response,
    span: Option<Span>,
    missing: OnMissing,
}

// --- what those who serve use ---

impl Http {
    /// Takes the body of a request, of at most `limit` bytes; `then` gets what was kept, or why it was not, and must
    /// respond. Refused with `TooLong`, `StoreFull`, `StoreDown`, `Busy`.
    pub fn take(
        &mut self,
        incoming: Incoming,
        limit: u64,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Http, Ticket, Result<Kept, Refusal>, &mut Cx<'_>) + Send + 'static,
    ) {
        let Incoming { head, mut ticket, has_body } = incoming;
        let size = match head.framing {
            Framing::Length(size) => Some(size),
            Framing::Chunked => None,
        };
        if size.is_some_and(|size| size > limit) {
            self.read_no_more(&mut ticket);
            return then(self, ticket, Err(Refusal::TooLong), cx);
        }
        let transfer = cx.upload(size, limit);
        if head.expects_continue() {
            cx.answer(ticket.slot, response::CONTINUE, false);
        }
        if has_body {
            self.reading = Some(Reading::Streamed(transfer));
            self.reader.allow(limit);
        } else {
            cx.upload_end(transfer, None);
        }
        self.transfers.insert(transfer, Transfer::Up(ticket, Box::new(then)));
        self.watch(cx);
    }

    /// Asks before anything of the body is read; `then` must take or decline it.
    pub fn ask_first(
        &mut self,
        query: Query,
        incoming: Incoming,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Http, Incoming, Reply, &mut Cx<'_>) + Send + 'static,
    ) {
        let req = cx.query(query);
        self.when_first(req, incoming, then);
    }

    /// The same for what was asked in whatever way, see [`Http::when`].
    pub fn when_first(
        &mut self,
        req: ReqId,
        incoming: Incoming,
        then: impl FnOnce(&mut Http, Incoming, Reply, &mut Cx<'_>) + Send + 'static,
    ) {
        let Incoming { head, ticket, has_body } = incoming;
        self.when(req, ticket, move |http, ticket, reply, cx| {
            then(http, Incoming { head, ticket, has_body }, reply, cx);
        });
    }

    /// Answers a request without taking its body. If it has one, the connection ends with the answer.
    pub fn decline(&mut self, incoming: Incoming, response: Response, cx: &mut Cx<'_>) {
        let ticket = self.turn_down(incoming);
        self.respond(ticket, response, cx);
    }

    /// The place of the response to a request whose body is not taken. If it has one, the connection ends with it.
    pub fn turn_down(&mut self, incoming: Incoming) -> Ticket {
        let Incoming { mut ticket, has_body, .. } = incoming;
        if has_body {
            self.read_no_more(&mut ticket);
        }
        ticket
    }

    /// Reads a whole content into memory; it should be known to be small. `then` must respond.
    pub fn gather(
        &mut self,
        ticket: Ticket,
        key: BlobKey,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Http, Ticket, Result<Vec<u8>, Refusal>, &mut Cx<'_>) + Send + 'static,
    ) {
        let transfer = cx.download(key);
        self.transfers.insert(transfer, Transfer::Gather(ticket, Vec::new(), Box::new(then)));
    }

    /// Goes on with a request at a time; `then` must respond.
    pub fn later(
        &mut self,
        at: Mono,
        ticket: Ticket,
        cx: &mut Cx<'_>,
        then: impl FnOnce(&mut Http, Ticket, &mut Cx<'_>) + Send + 'static,
    ) {
        self.later.push(Later(at, ticket, Box::new(then)));
        self.watch_later(cx);
    }

    /// Responds with a content, or a part of it; `response` is what is said of it (its status becomes 206 for a part).
    /// `missing` must respond when it is not there.
    pub fn send(
        &mut self,
        ticket: Ticket,
        key: BlobKey,
        response: Response,
        span: Option<Span>,
        cx: &mut Cx<'_>,
        missing: impl FnOnce(&mut Http, Ticket, Refusal, &mut Cx<'_>) + Send + 'static,
    ) {
        let transfer = cx.download(key);
        let asked = Asked { ticket, response, span, missing: Box::new(missing) };
        self.transfers.insert(transfer, Transfer::Asked(Box::new(asked)));
    }
}

/// The part of a content that a request asks for; none: all of it. `etag` is the content's; several parts, or a part of
/// another version, are not given (RFC 9110 §13.1.5 and §14.2).
#[must_use]
pub fn span(head: &Head, etag: &str) -> Option<Span> {
    if head.header("if-range").is_some_and(|known| known != etag) {
        return None;
    }
    let (unit, set) = head.header("range")?.split_once('=')?;
    let (from, to) = set.trim().split_once('-')?;
    let number =
        |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    match (from, to) {
        ("", last) => Some(Span::Last(number(last)?)),
        (from, "") => Some(Span::From(number(from)?, None)),
        (from, to) => {
            let (from, to) = (number(from)?, number(to)?);
            (from <= to).then_some(Span::From(from, Some(to)))
        }
    }
}

impl Span {
    /// Its first byte and its length in a content of `size` bytes; none: there is nothing of it.
    fn within(self, size: u64) -> Option<(u64, u64)> {
        match self {
            Span::From(from, to) => {
                let end = to.map_or(size, |to| to.saturating_add(1)).min(size);
                (from < size).then(|| (from, end - from))
            }
            Span::Last(0) => None,
            Span::Last(n) => (size > 0).then(|| (size - n.min(size), n.min(size))),
        }
    }
}

// --- what the session calls ---

impl Http {
    /// Something came of a transfer.
    pub fn blob(&mut self, transfer: ReqId, what: Blob, cx: &mut Cx<'_>) {
        match (self.transfers.remove(&transfer), what) {
            (Some(Transfer::Up(ticket, then)), Blob::Stored { hash, size }) => {
                then(self, ticket, Ok(Kept { hash, size }), cx);
            }
            (Some(Transfer::Up(mut ticket, then)), Blob::Failed(why)) => {
                if matches!(self.reading, Some(Reading::Streamed(reading)) if reading == transfer) {
                    self.read_no_more(&mut ticket);
                }
                then(self, ticket, Err(why), cx);
            }
            (Some(Transfer::Asked(asked)), Blob::Opened(size)) => {
                self.opened_content(transfer, *asked, size, cx)
            }
            (Some(Transfer::Asked(asked)), Blob::Failed(why)) => {
                (asked.missing)(self, asked.ticket, why, cx);
            }
            (Some(Transfer::Down(slot)), Blob::Bytes { bytes, last }) => {
                cx.answer(slot, &bytes, false);
                if last {
                    self.answered(slot, cx);
                    self.feed(cx);
                } else {
                    self.transfers.insert(transfer, Transfer::Down(slot));
                }
                self.watch_sending(cx);
            }
            (Some(Transfer::Gather(ticket, bytes, then)), Blob::Opened(size)) => {
                cx.download_range(transfer, ticket.slot, 0, size);
                self.transfers.insert(transfer, Transfer::Gather(ticket, bytes, then));
            }
            (Some(Transfer::Gather(ticket, mut all, then)), Blob::Bytes { bytes, last }) => {
                all.extend_from_slice(&bytes);
                if last {
                    then(self, ticket, Ok(all), cx);
                } else {
                    self.transfers.insert(transfer, Transfer::Gather(ticket, all, then));
                }
            }
            (Some(Transfer::Gather(ticket, _, then)), Blob::Failed(why)) => then(self, ticket, Err(why), cx),
            // The length is promised: only the end of the connection can say that it is not kept.
            (Some(Transfer::Down(_)), Blob::Failed(_)) => cx.close(Reason::Io),
            (Some(other), _) => drop(self.transfers.insert(transfer, other)),
            (None, _) => {}
        }
    }

    fn opened_content(&mut self, transfer: ReqId, asked: Asked, size: u64, cx: &mut Cx<'_>) {
        let Asked { ticket, mut response, span, .. } = asked;
        let part = span.map(|span| span.within(size));
        let (from, len) = match part {
            None => (0, size),
            Some(Some((from, len))) => {
                response.status = Status::PARTIAL_CONTENT;
                response =
                    response.header("Content-Range", format!("bytes {from}-{}/{size}", from + len - 1));
                (from, len)
            }
            Some(None) => {
                cx.transfer_end(transfer);
                let response =
                    Response::text(Status::RANGE_NOT_SATISFIABLE, "there is nothing of that range");
                return self.respond(ticket, response.header("Content-Range", format!("bytes */{size}")), cx);
            }
        };
        let mut out = Vec::with_capacity(512);
        let response = cors::allow(response.header("Accept-Ranges", "bytes"));
        response::begin(&response, len, ticket.manner, cx.now().wall, &mut out);
        cx.answer(ticket.slot, &out, false);
        if ticket.manner.head_only {
            cx.transfer_end(transfer);
            self.answered(ticket.slot, cx);
            return self.feed(cx);
        }
        self.transfers.insert(transfer, Transfer::Down(ticket.slot));
        cx.download_range(transfer, ticket.slot, from, len);
        self.watch_sending(cx);
    }

    /// Its client must take some of a content soon.
    fn watch_sending(&mut self, cx: &mut Cx<'_>) {
        let at = self.half_sent().map(|_| cx.now().mono + SEND_TIME);
        cx.timer(SENDING, at);
    }

    /// The time for some of those who wait has come.
    pub(super) fn on_time(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now().mono;
        let all = std::mem::take(&mut self.later).into_iter();
        let (due, still): (Vec<Later>, Vec<Later>) = all.partition(|later| later.0 <= now);
        self.later = still;
        for Later(_, ticket, then) in due {
            then(self, ticket, cx);
        }
        self.watch_later(cx);
    }

    fn watch_later(&mut self, cx: &mut Cx<'_>) {
        let first = self.later.iter().map(|later| later.0).min();
        cx.timer(LATER, first);
    }

    /// The response of which a part may be sent.
    pub(super) fn half_sent(&self) -> Option<Slot> {
        let slots = self.transfers.values().filter_map(|transfer| match transfer {
            Transfer::Down(slot) => Some(*slot),
            Transfer::Up(..) | Transfer::Asked(_) | Transfer::Gather(..) => None,
        });
        slots.min()
    }

    /// The body that was being read is whole.
    pub(super) fn body_is_whole(&mut self, transfer: ReqId, cx: &mut Cx<'_>) {
        if let Some(Transfer::Up(ticket, _)) = self.transfers.get(&transfer)
            && ticket.manner.close
        {
            self.last = Some(Reason::Bye);
        }
        cx.upload_end(transfer, None);
    }

    /// The body that is being read is no body: its transfer is over.
    pub(super) fn give_up(&mut self, transfer: ReqId, cx: &mut Cx<'_>) -> Option<Ticket> {
        cx.transfer_end(transfer);
        match self.transfers.remove(&transfer) {
            Some(Transfer::Up(ticket, _)) => Some(ticket),
            other => {
                self.transfers.extend(other.map(|other| (transfer, other)));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &str) -> Option<Span> {
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        span(&Head::parse(head.as_bytes()).expect("a head"), "\"tag\"")
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(asked(""), None);
        assert_eq!(asked("Range: bytes=2-5\r\n"), Some(Span::From(2, Some(5))));
        assert_eq!(asked("Range: bytes=2-\r\n"), Some(Span::From(2, None)));
        assert_eq!(asked("Range: bytes=-3\r\n"), Some(Span::Last(3)));
        assert_eq!(asked("Range: bytes=-3\r\nIf-Range: \"tag\"\r\n"), Some(Span::Last(3)));
        assert_eq!(asked("Range: bytes=-3\r\nIf-Range: \"other\"\r\n"), None);
        for none in ["bytes=5-2", "bytes=a-", "bytes=-", "bytes=1-2,4-5", "lines=1-2", "bytes", "bytes=+1-2"]
        {
            assert_eq!(asked(&format!("Range: {none}\r\n")), None, "{none}");
        }
    }

    #[test]
    fn ranges_lie_within_the_content() {
        for (span, size, part) in [
            (Span::From(2, Some(5)), 10, Some((2, 4))),
            (Span::From(2, Some(99)), 10, Some((2, 8))),
            (Span::From(0, Some(u64::MAX)), 10, Some((0, 10))),
            (Span::From(9, None), 10, Some((9, 1))),
            (Span::From(10, None), 10, None),
            (Span::Last(3), 10, Some((7, 3))),
            (Span::Last(30), 10, Some((0, 10))),
            (Span::Last(0), 10, None),
            (Span::Last(1), 0, None),
            (Span::From(0, None), 0, None),
        ] {
            assert_eq!(span.within(size), part, "{span:?} of {size}");
        }
    }
}
