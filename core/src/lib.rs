//! The pure core of Lavina: one chat server that speaks several protocols.
//!
//! This page is the project's architecture page: the first to read, the last to change. It says what
//! must stay true. Where a better idea comes up, its reason is written here and code and page change
//! together.
//!
//! # The picture
//!
//! ```text
//!    sockets, files, clock, entropy, signals    (only the runtimes, the host and the store's threads)
//!  +------------------------------------------+------------------------------------------+
//!  | runtime-mio: one poll loop a worker      | runtime-smol: executor threads           |
//!  +-----^------------------------------------+----------------------------------v-------+
//!        | Output, in order                                              Input   |
//!  +-----+--------------- Worker   (pure, one a CPU) ----------------------------v-------+
//!  | edge: connections, sessions, fan-out     | shards: the entities homed here          |
//!  |   layer (TLS) > projection (a protocol)  |   durable part: apply(entity, entry)     |
//!  |   bytes <-> Command / Event              |   live part: attached workers, presence  |
//!  +-----+------------------------------------+----------------------------------+-------+
//!        | Mail: first in first out between workers                              | Append, Fetch
//!    other workers                                              store: memory | SQLite
//! ```
//!
//! Dependencies point inwards: `core <- codecs <- {host, runtimes, fuzz, benches}` and
//! `core <- store <- the same`. The core names no protocol. Each protocol is one folder of the codecs, from its
//! wire format up to its [`projection::Projection`]. What both binaries do with the operating system
//! besides sockets is the host's (`store/host`); a runtime is only what differs between the two.
//!
//! # How it is driven
//!
//! Hand in every input at hand, take outputs until there is none and carry them out in order, wait until
//! the deadline or the next input. Breaking the rhythm costs time, never correctness. Here is a whole
//! server for a protocol that echoes lines:
//!
//! ```
//! use lavina_core::{Cx, Worker, drive::*, ids::*, projection::*, query::Reply, settings::Settings, time::*};
//! # use lavina_core::{event::*, name::RoomName, row::Page};
//! # use std::{net::SocketAddr, sync::Arc};
//! struct Echo;
//! # struct Plain;
//! # impl Layer for Plain {
//! #     fn read(&mut self, w: &[u8], p: &mut Vec<u8>, _: &mut Vec<u8>) -> Result<(), Reason> { p.extend(w); Ok(()) }
//! #     fn write(&mut self, p: &[u8], w: &mut Vec<u8>) { w.extend(p) }
//! #     fn close(&mut self, _: &mut Vec<u8>) {}
//! #     fn channel(&self) -> Option<&Channel> { None }
//! # }
//! # struct Own(Settings);
//! # impl AsRef<Settings> for Own { fn as_ref(&self) -> &Settings { &self.0 } }
//! impl Projection for Echo {
//! #   type Listener = (); type Layer = Plain; type Settings = Own; type Job = (); type Done = ();
//!     fn accept(_: (), _: Option<SocketAddr>, _: &Arc<Own>) -> (Echo, Option<Plain>) { (Echo, None) }
//!     // One message a call; zero: it is not complete yet.
//!     fn recv(&mut self, bytes: &[u8], cx: &mut Cx<'_, Echo>) -> Result<usize, Reason> {
//!         let Some(end) = bytes.iter().position(|b| *b == b'\n') else { return Ok(0) };
//!         cx.write(&bytes[..=end], false);
//!         Ok(end + 1)
//!     }
//! #   fn opened(&mut self, _: &mut Cx<'_, Echo>) {}
//! #   fn seen(&mut self, _: &Arc<Event>, _: Seen, _: &mut Cx<'_, Echo>) {}
//! #   fn seen_live(&mut self, _: &Arc<Live>, _: Option<ReqId>, _: &mut Cx<'_, Echo>) {}
//! #   fn reply(&mut self, _: ReqId, _: Reply, _: &mut Cx<'_, Echo>) {}
//! #   fn done(&mut self, _: ReqId, _: (), _: &mut Cx<'_, Echo>) {}
//! #   fn wake(&mut self, _: Wake, _: &mut Cx<'_, Echo>) {}
//! #   fn mode(&self) -> Mode { Mode::Quiet }
//! #   fn encode(_: WireClass, _: Option<&RoomName>, _: Shown<'_>, _: &Own, _: &mut Pieces) {}
//! #   fn hole(&self, _: Hole) -> &[u8] { &[] }
//! #   fn run(_: ()) {}
//! }
//!
//! let now = Now { mono: Mono(0), wall: UnixMillis(1_700_000_000_000) };
//! let settings = Arc::new(Own(Settings::default()));
//! let mut worker = Worker::<Echo>::new(WorkerId(0), 1, settings, [7; 32], now);
//! let conn = ConnId { slot: 0, generation: 0 };
//! worker.handle(now, Input::Opened(conn, (), Some(([127, 0, 0, 1], 4096).into())));
//! worker.handle(now, Input::Received(conn, b"hel"));
//! worker.handle(now, Input::Received(conn, b"lo\n"));
//! let mut wire = Vec::new();
//! while let Some(output) = worker.poll_output() {
//!     if let Output::Flush(conn) = output {
//!         wire.extend_from_slice(worker.transmit(conn));
//!         worker.handle(now, Input::Sent(conn, wire.len()));
//!     }
//! }
//! assert_eq!(wire, b"hello\n");
//! assert!(matches!(worker.poll_deadline(), Due::At(_, Why::Login)));
//! ```
//!
//! # A message's journey
//!
//! Bytes become a [`command::Command`] in a projection. The edge mails it to the worker that owns the
//! room's shard. There the room is read if it is not in memory; the command gets its number; the room's
//! `apply` makes an [`event::Event`], which is appended. Once it is stored, one [`mail::Mail`] goes to each
//! worker with attached sessions, which encodes it once for each wire class and copies it into each
//! session's [`outbox::Outbox`]; each connection is flushed once a turn. For the sender the event *is* the
//! answer: it sees it in its own way, in the room's order, instead of the shared encoding.
//!
//! A dialog is a room of two. Its entries follow into the *feeds* of both accounts, each homed on
//! its account's shard; all sessions of an account live on the worker that owns it, so what one's own
//! devices must see of each other is local.
//!
//! # Decisions, with their reasons
//!
//! 1. **Rows are the truth.** The store holds one log of events for each room, which is history too,
//!    and rows of entities beside it ([`row`]). No command is stored, except those that follow from an
//!    entry and are not carried out yet, so history can be redacted for real.
//! 2. **`apply` is pure and small.** It touches one entity and reads nothing but it, the entry and the
//!    settings. Everything not deterministic is in the command already.
//! 3. **Durable and live.** What is attached, present or typing is the live part: never stored, never read by `apply`.
//! 4. **Resident before numbered.** What concerns an entity that is not in memory waits, bounded, until it is.
//! 5. **Nothing is shown before it is stored.** All that shards emit waits in one queue behind the append
//!    it follows from. Follow-up commands alone go at once, because they append too. A store failure
//!    begins a new epoch: what waited is refused, entities are forgotten, and when the store answers
//!    again, what was stored but never shown is shown, what should have followed is derived again.
//! 6. **All sessions of an account live on its worker.** A connection moves there once, at its login.
//! 7. **Rooms know workers, workers know sessions.** Each attach gets a grant with a number; a worker's detach
//!    names the last it has seen, and the shard ignores one that a later grant has overtaken.
//! 8. **The event is the answer**, for the session that made it; only refusals, repeats and questions
//!    have answers of their own.
//! 9. **Answers leave in the order of the requests**; events do not wait for them.
//! 10. **A session is not its connection.** It can be parked and taken over; what counts and is not
//!     acknowledged is sent again.
//! 11. **Positions** are counted by the shard; an event names the one before it in its room; a message id
//!     is room and position in one printable form, the same on every protocol, for ever. The upper bits of
//!     a position are the restore epoch, so that an id given out before a restore from backup never names
//!     something else.
//! 12. **Names are entities.** A command to a name finds or claims what it stands for and is passed on.
//!     Guests are accounts whose ids say that they are never stored; rooms made by guests likewise.
//!     What somebody is called is not always a name: an account may have an *alias* in a room
//!     ([`name::Alias`]), kept with the membership and stamped on all that comes out of the room by it. It is for
//!     showing and decides nothing, so that a protocol whose people choose what they are called in each room can have
//!     that (clients of such a protocol wait for what they asked for, and take another answer for somebody else), while
//!     accounts, power and the other protocols know nobody but the account. It is nobody's name: no member's, and of
//!     nobody outside either when it is given; a name that comes later takes it away.
//! 13. **A message keeps its native payload** for speakers of the same protocol, beside neutral text for the others.
//! 14. **A worker never blocks**; it always consumes. A shard stops showing while another worker's
//!     mailbox is full; windows fill, reading pauses.
//! 15. **Facts.** A protocol whose rooms are made of state events needs each of them exactly as it was stated,
//!     for ever. A room that is *open* to such a protocol has, with each entry, the facts that the entry sets
//!     ([`event::Fact`]): a function of the codecs makes them inside `apply`, from the room as it is, once; they
//!     are stored with the entry and kept as they hold now ([`row::FactRow`]), each naming the one before it.
//!     So state at any moment is read, never made up again. Rooms that no such protocol has touched have none
//!     and pay nothing; the first touch opens them, with one entry that restates what holds. Where such a
//!     protocol names what it makes by hashes, each naming the one before, entries are *sealed* in the same
//!     step ([`seal`]): the names and what it takes to make the same form again are stored with the entry, an
//!     index leads from a name to it, and a withdrawal keeps the hash of what goes. Rooms in memory only are
//!     not sealed.
//! 16. **Agents.** Where connections carry requests of anybody, what belongs to a person's device lives in a
//!     session without a connection, an agent, on the account's worker, beside the account's other sessions.
//!     A connection whose requests go to one other worker twice in succession moves there when none is under way.
//!     Requests are handed to it as values ([`projection::Parcel`]); it logs in, is attached, sees events as
//!     they all do, and ends when nothing is asked of it. What it must not lose is stored: letters, which wait
//!     until they are collected, and big values on the account's *shelf*, which are never in memory.
//!
//! 17. **Media stream past the core** ([`blob`]). Their bytes pass through a session in both directions under
//!     a credit, and are kept outside by their hash. A download is read as its session's output drains, in
//!     the turn of its answer, so nobody needs to be told that there is room again. Whose a content is says
//!     a row of its own ([`media`]).
//!
//! # Deliberately absent
//!
//! Locks; a shared cache; a stored command log on one machine; a timer object per connection; zero-copy
//! as a rule (only what a whole room gets alike is shared, by sessions
//! with nothing else to send); any word of a protocol in this crate.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod act;
pub mod blob;
pub mod chat;
pub mod command;
pub mod cx;
pub mod drive;
pub mod edge;
pub mod event;
pub mod ids;
pub mod limits;
pub mod log;
pub mod mail;
pub mod media;
pub mod name;
pub mod outbox;
pub mod policy;
mod post;
pub mod presence;
pub mod projection;
pub mod query;
pub mod refusal;
pub mod rng;
pub mod row;
pub mod seal;
pub mod settings;
mod shard;
mod slab;
pub mod text;
pub mod time;
pub mod vecmap;
mod worker;

pub use cx::Cx;
pub use worker::Worker;
