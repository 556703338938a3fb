//! The endpoints, one file a part of the API: its rows of the table of routes, and their handlers.

pub mod auth;
pub mod backup;
pub mod basic;
pub mod cross;
pub mod data;
pub mod devices;
pub mod keys;
pub mod login;
pub mod misc;
pub mod profile;
pub mod pushrules;
pub mod register;
pub mod todevice;
