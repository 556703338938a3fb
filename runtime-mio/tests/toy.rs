//! The toy over loopback.

use lavina_host::testing;
use lavina_runtime_mio::Mio;

#[test]
fn echoes() {
    testing::echoes::<Mio>();
}

#[test]
fn slow_readers() {
    testing::slow_readers::<Mio>();
}

#[test]
fn ends() {
    testing::ends::<Mio>();
}

#[test]
fn proxies() {
    testing::proxies::<Mio>();
}

#[test]
fn seats() {
    testing::seats::<Mio>();
}
