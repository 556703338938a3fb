//! The endpoints, one file a part of the API: its rows of the table of routes, and their handlers.

pub mod basic;
pub mod login;
