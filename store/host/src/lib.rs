//! What both binaries of Lavina do with the operating system, readiness of sockets excepted.
//!
//! A runtime waits for sockets and tells the [`pump::Pump`] of each worker's thread which are ready; the
//! pump drives the worker. Everything else a server needs of its machine is here as well: the data
//! directory, the certificate, signals, the log, the command line.
#![deny(unsafe_code)]

pub mod alarm;
pub mod clock;
pub mod door;
mod home;
pub mod jobs;
pub mod launch;
pub mod log;
mod memory;
pub mod outside;
mod places;
pub mod post;
pub mod pump;
pub mod runtime;
pub mod seats;
mod selftest;
mod service;
pub mod slots;
pub mod socket;
mod talk;
pub mod testing;
