//! The program as a service.
#![allow(missing_docs)]

use lavina_fuzz::service;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lavina");

#[test]
fn it_tells_its_manager() {
    service::tells_its_manager(Path::new(PROGRAM));
}

#[test]
fn it_tests_itself() {
    service::tests_itself(Path::new(PROGRAM));
}
