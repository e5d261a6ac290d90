//! Passwords whose hash is made to be slow: verified away from the worker's thread, and remembered when right.
//!
//! Knows no files and no requests. Invariant: a worker never computes such a hash; so many are computed at once, so many
//! wait, and nothing but right answers is remembered.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use sha1::{Digest, Sha1};
use tokio::sync::Semaphore;

use super::password_hash::verify;

/// Hashes computed at once.
const AT_ONCE: usize = 2;
/// Requests that may wait for theirs.
const WAITING: usize = 256;
/// Right answers remembered.
const REMEMBERED: usize = 4096;

/// A password and the hash it is to be compared with.
pub struct SlowPassword {
    hash: Vec<u8>,
    password: Vec<u8>,
}

/// The password was not looked at: too many wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy;

/// Digests of right answers: of the hash and the password, under a secret of the process.
static RIGHT: LazyLock<Mutex<HashSet<[u8; 20]>>> = LazyLock::new(Mutex::default);
static SECRET: LazyLock<[u64; 2]> = LazyLock::new(|| [RandomState::new().hash_one(1), RandomState::new().hash_one(2)]);
static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);
static QUEUE: AtomicUsize = AtomicUsize::new(0);

/// Whether a hash takes so long that no worker may compute it.
pub(crate) fn is_slow(hash: &[u8]) -> bool {
    [&b"$2"[..], b"$5$", b"$6$"].iter().any(|scheme| hash.starts_with(scheme))
}

impl std::fmt::Debug for SlowPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SlowPassword")
    }
}

impl SlowPassword {
    pub(crate) fn new(hash: &[u8], password: &[u8]) -> Self {
        Self { hash: hash.to_vec(), password: password.to_vec() }
    }

    /// Whether it is known to be right.
    pub(crate) fn is_remembered(&self) -> bool {
        RIGHT.lock().contains(&self.digest())
    }

    /// Whether it is right.
    pub(crate) async fn verify(self) -> Result<bool, Busy> {
        let _waiting = Waiting::begin()?;
        // Never closed.
        let Ok(_place) = PLACES.acquire().await else { return Err(Busy) };
        if self.is_remembered() {
            return Ok(true);
        }
        let digest = self.digest();
        let right = tokio::task::spawn_blocking(move || verify(&self.hash, &self.password)).await.unwrap_or(false);
        if right {
            let mut known = RIGHT.lock();
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(digest);
        }
        Ok(right)
    }

    fn digest(&self) -> [u8; 20] {
        let [one, two] = *SECRET;
        let secret = Sha1::new().chain_update(one.to_ne_bytes()).chain_update(two.to_ne_bytes());
        secret.chain_update(&self.hash).chain_update([0]).chain_update(&self.password).finalize().into()
    }
}

/// One of those that wait.
struct Waiting;

impl Waiting {
    fn begin() -> Result<Self, Busy> {
        if QUEUE.fetch_add(1, Ordering::Relaxed) >= WAITING {
            QUEUE.fetch_sub(1, Ordering::Relaxed);
            return Err(Busy);
        }
        Ok(Self)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        QUEUE.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &[u8] = b"$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

    #[tokio::test(flavor = "current_thread")]
    async fn right_answers_are_remembered_and_wrong_ones_are_not() {
        let right = || SlowPassword::new(HASH, b"secret");
        let wrong = || SlowPassword::new(HASH, b"wrong");
        assert!(!right().is_remembered());
        assert_eq!((right().verify().await, wrong().verify().await), (Ok(true), Ok(false)));
        assert!(right().is_remembered() && !wrong().is_remembered());
        assert!(!SlowPassword::new(b"$2y$05$other", b"secret").is_remembered(), "another hash is another question");
    }

    #[test]
    fn slow_is_what_was_made_to_be_slow() {
        assert!(is_slow(HASH) && is_slow(b"$5$abc$def") && is_slow(b"$6$abc$def"));
        assert!(!is_slow(b"{SHA}x") && !is_slow(b"$apr1$x$y") && !is_slow(b"{PLAIN}x"));
    }
}
