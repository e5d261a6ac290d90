//! The real server for tests: a directory and ports of its own, a process that is watched, clients that hide nothing.
//!
//! [`Prefix`] is a directory with a configuration and the command in it, [`Server`] a server that runs in one, [`Client`] a
//! bare connection, [`Socket`] a websocket over it. No test of the real server has another way to one.

#![allow(
    unreachable_pub,
    clippy::missing_panics_doc,
    reason = "seen by the whole binary, and panicking is how a test fails"
)]

mod backend;
mod configuration;
mod door;
mod follower;
mod prefix;
mod property;
mod random;
mod server;
mod websocket;
mod wire;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub use backend::backend;
pub use configuration::{LOCATIONS, framed};
pub use door::Door;
pub use follower::{Follower, LAST, Seen, TEMPLATE};
pub use prefix::{Prefix, Running, binary, nginx, resident_kib, said};
pub use property::property;
pub use random::Random;
pub use server::{Server, test_configuration, test_whole};
pub use websocket::{Frame, Socket, masked};
pub use wire::{Client, Reply, exchange, percent_encoded, request};

/// How long something that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long it may take where nothing slows the server down.
pub const PROMPTLY: Duration = Duration::from_secs(10);

/// Waits until the condition holds.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(PATIENCE, what, condition);
}

/// The same with a limit of its own.
#[track_caller]
pub fn within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port nobody listens on, not given twice to the tests of one process; below those the system gives to connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + ((std::process::id() as u16).wrapping_mul(37).wrapping_add(offset)) % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A number of the environment, or another one.
pub fn number_from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}
