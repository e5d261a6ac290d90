//! Feeds `entry::chunked_body`.

#![no_main]

#[path = "../entry.rs"]
#[allow(dead_code, reason = "each target feeds one entry")]
mod entry;

libfuzzer_sys::fuzz_target!(|input: &[u8]| entry::chunked_body(input));
