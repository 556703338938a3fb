//! Every generative test of Lavina: the simulator and the fuzz bodies.

pub mod bodies;
pub mod client;
pub mod input;
pub mod line;
pub mod scenario;
pub mod secure;
pub mod service;
pub mod sim;
pub mod tidy;
