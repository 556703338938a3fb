#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lavina_fuzz::bodies::matrix_connection::connection(data));
