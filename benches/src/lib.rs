//! What is measured of Lavina: the load generator (`cargo run --release -p lavina-benches --bin load -- --help`), and
//! the helpers of the benchmarks (`cargo bench -p lavina-benches`).

pub mod load;
