//! The endpoints, one file a part of the API: its rows of the table of routes, and their handlers.

pub mod auth;
pub mod backup;
pub mod basic;
pub mod create;
pub mod cross;
pub mod data;
pub mod devices;
pub mod directory;
pub mod keys;
pub mod login;
pub mod members;
pub mod misc;
pub mod people;
pub mod profile;
pub mod pushrules;
pub mod register;
pub mod spaces;
pub mod state;
pub mod todevice;
pub mod upgrade;
