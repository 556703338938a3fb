//! Under construction.

pub mod sasl;
