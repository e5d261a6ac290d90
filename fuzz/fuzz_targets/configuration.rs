//! Feeds `entry::configuration`.

#![no_main]

#[path = "../entry.rs"]
#[allow(dead_code, reason = "each target feeds one entry")]
mod entry;

libfuzzer_sys::fuzz_target!(|input: &[u8]| entry::configuration(input, &std::env::temp_dir()));
