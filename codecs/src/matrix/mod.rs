//! Matrix: the client-server API.
//!
//! # How a request is served
//!
//! The connection ([`crate::http`]) reads a request and hands it over as a value ([`request::Request`]) to an *agent*
//! ([`agent`]): that of the device whose token it carries, on the account's worker, or the front of the same worker
//! where there is no token. The table of endpoints is [`route`]; a handler is an `async fn` in [`api`], run as a
//! coroutine by [`task`]: it asks the core, waits, and gives a [`request::Response`] or an [`error::Error`].
//!
//! # Where things are
//!
//! Pure functions over values: [`ids`], [`content`], [`event`], [`facts`], [`filter`], [`levels`], [`meaning`],
//! [`member`], [`push`], [`relations`], [`search`], [`html`], [`uri`], [`pdu`], [`chain`]. What handlers of room endpoints share:
//! [`rooms`]. State of a device: [`device`], with [`device::sync`] for what it has been told. Endpoints: [`api`], one
//! file a part, each with its own rows of the table.
//!
//! Media stream past the agents: [`media`] is served by the connection itself; smaller pictures are made by [`thumbnail`].
//!
//! # What is stored where
//!
//! | what | where |
//! |---|---|
//! | devices and tokens | the account's value `m.device/DEVICE` ([`device::DeviceRow`]); when one was last seen `m.seen/DEVICE` |
//! | account data | `m.data/TYPE`, of a room `m.data/TYPE/ROOM`; tags are the room's `m.tag` |
//! | device keys, one-time keys, fallback keys | `m.keys/DEVICE`, `m.otk/DEVICE/ALGORITHM/ID`, `m.fallback/DEVICE/ALGORITHM` |
//! | cross-signing keys and signatures | `m.cross/KIND`, `m.sign/…` |
//! | key backup | the account's shelf, `backup/VERSION/ROOM/SESSION`; versions in `m.backup/VERSION` |
//! | to-device messages | the account's letters, under the device's label |
//! | state of a room without a neutral meaning | the room's values |
//! | the events of an open room as other servers get them | its entries' seals ([`chain`]) |
//! | uploads | the account's uploads ([`lavina_core::media`]); `mxc://` ids are their names |
//! | display name and picture | the account's `m.profile/displayname`, `m.profile/avatar_url`; custom fields likewise |

pub mod agent;
pub mod api;
pub mod chain;
pub mod content;
pub mod device;
pub mod door;
pub mod error;
pub mod event;
pub mod facts;
pub mod filter;
pub mod html;
pub mod ids;
pub mod levels;
pub mod meaning;
pub mod media;
pub mod member;
pub mod pdu;
pub mod push;
pub mod rate;
pub mod relations;
pub mod request;
pub mod rooms;
pub mod route;
pub mod search;
pub mod task;
pub mod thumbnail;
pub mod token;
pub mod uri;
