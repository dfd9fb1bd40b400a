//! See crates/apiserver/tests/http_api/fuzz/targets.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| plimsoll_fuzz::run("patch", input));
