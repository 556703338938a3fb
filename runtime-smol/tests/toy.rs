//! The toy over loopback.

use lavina_host::testing;
use lavina_runtime_smol::Smol;

#[test]
fn echoes() {
    testing::echoes::<Smol>();
}

#[test]
fn slow_readers() {
    testing::slow_readers::<Smol>();
}

#[test]
fn ends() {
    testing::ends::<Smol>();
}

#[test]
fn proxies() {
    testing::proxies::<Smol>();
}

#[test]
fn seats() {
    testing::seats::<Smol>();
}
