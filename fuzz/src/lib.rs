//! Every generative test of Lavina: the simulator and the fuzz bodies.

pub mod bodies;
pub mod input;
pub mod secure;
pub mod tidy;
