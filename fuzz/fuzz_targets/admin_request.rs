//! See `evener_fuzz::TARGETS`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| evener_fuzz::run("admin_request", bytes));
