//! Counts of `limit_conn` and `limit_req` by key: shared by all workers, kept over reloads.
//!
//! Knows keys as bytes and time as an argument (of its own monotone clock); what a key is made of and how a refusal is answered is the site's business.
//! Invariant: a zone never takes more memory than its size, and a connection that was counted is counted off when its
//! [`Hold`] is dropped, whatever the way out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::conf::settings::{LimitConn, LimitReq, LimitZone};

/// What a key costs beside its bytes.
const NODE: usize = 64;
/// Keys that have not been seen for this long and owe nothing are forgotten, milliseconds.
const FORGET: u64 = 60_000;
/// Keys longer than this are not counted.
pub(crate) const LONGEST_KEY: usize = 65_535;

/// The counts of all zones.
#[derive(Debug)]
pub struct Limiter {
    /// What the time of requests is counted from: no wall clock, which may be set back.
    began: Instant,
    connections: Mutex<HashMap<Box<str>, Connections>>,
    requests: Mutex<HashMap<Box<str>, Requests>>,
}

/// Connections of one zone by key.
#[derive(Debug, Default)]
struct Connections {
    counts: HashMap<Arc<[u8]>, u32>,
    used: usize,
}

/// A counted connection; dropping it counts it off.
#[derive(Debug)]
pub(crate) struct Hold {
    limiter: Arc<Limiter>,
    zone: Box<str>,
    key: Arc<[u8]>,
}

/// Leaky buckets of one zone by key.
#[derive(Debug, Default)]
struct Requests {
    buckets: HashMap<Arc<[u8]>, Bucket>,
    /// Keys with the moment they were last seen when they got their place here; the least recent first, more or less.
    queue: VecDeque<(Arc<[u8]>, u64)>,
    used: usize,
}

/// Requests of a key above its rate, in thousandths, and when that was counted (milliseconds).
#[derive(Clone, Copy, Debug)]
struct Bucket {
    excess: u64,
    last: u64,
}

/// What the rates have to say about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It may go on at once.
    Free,
    /// It may go on after so many milliseconds; also its excess and the place of the limit that delays it.
    Late {
        /// Milliseconds.
        wait: u64,
        /// Thousandths of a request.
        excess: u64,
        /// Place among the limits asked.
        limit: usize,
    },
    /// It is too much for the limit at this place.
    Over {
        /// Thousandths of a request.
        excess: u64,
        /// Place among the limits asked.
        limit: usize,
    },
}

/// A rate to be asked: the limit, its zone, the key of the request.
pub(crate) type Rated<'a> = (&'a LimitReq, &'a LimitZone, Arc<[u8]>);

impl Default for Limiter {
    fn default() -> Self {
        Self { began: Instant::now(), connections: Mutex::default(), requests: Mutex::default() }
    }
}

impl Limiter {
    /// The present as [`Limiter::pace`] counts it, milliseconds.
    pub(super) fn clock(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Counts a connection; `None` where its key has as many as the limit allows, or the zone is full.
    pub(crate) fn hold(self: &Arc<Self>, limit: &LimitConn, zone: &LimitZone, key: &[u8]) -> Option<Hold> {
        let mut zones = self.connections.lock();
        let counts = zones.entry_ref(&*zone.name).or_default();
        let key = counts.count(key, limit.most, zone.size)?;
        Some(Hold { limiter: Arc::clone(self), zone: zone.name.clone(), key })
    }

    fn release(&self, zone: &str, key: &[u8]) {
        if let Some(connections) = self.connections.lock().get_mut(zone) {
            connections.release(key);
        }
    }

    /// Asks all rates of a location at once: the request is counted by all of them or, if one refuses, by none.
    pub(crate) fn pace(&self, limits: &[Rated<'_>], now: u64) -> Pace {
        let mut zones = self.requests.lock();
        for (place, (limit, zone, key)) in limits.iter().enumerate() {
            let requests = zones.entry_ref(&*zone.name).or_default();
            requests.forget(zone.rate.unwrap_or_default(), now);
            let excess = requests.excess(key, zone.rate.unwrap_or_default(), now);
            if excess > thousandths(limit.burst) || !requests.has_room(key, zone.size) {
                return Pace::Over { excess, limit: place };
            }
        }
        let mut pace = Pace::Free;
        let mut longest = 0;
        for (place, (limit, zone, key)) in limits.iter().enumerate() {
            let rate = zone.rate.unwrap_or_default();
            let excess = zones.entry_ref(&*zone.name).or_default().count(key, rate, now);
            let wait = excess.saturating_sub(thousandths(limit.nodelay)).saturating_mul(1000) / rate.max(1);
            if wait > longest {
                longest = wait;
                pace = Pace::Late { wait, excess, limit: place };
            }
        }
        pace
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.limiter.release(&self.zone, &self.key);
    }
}

impl Connections {
    fn count(&mut self, key: &[u8], most: u32, size: u64) -> Option<Arc<[u8]>> {
        if let Some((known, count)) = self.counts.get_key_value_mut(key) {
            if *count >= most {
                return None;
            }
            *count += 1;
            return Some(Arc::clone(known));
        }
        let cost = key.len() + NODE;
        if (self.used + cost) as u64 > size {
            return None;
        }
        self.used += cost;
        let key: Arc<[u8]> = key.into();
        self.counts.insert(Arc::clone(&key), 1);
        Some(key)
    }

    fn release(&mut self, key: &[u8]) {
        let Some(count) = self.counts.get_mut(key) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(key);
            self.used = self.used.saturating_sub(key.len() + NODE);
        }
    }
}

impl Requests {
    /// What the key would owe with one more request.
    fn excess(&self, key: &[u8], rate: u64, now: u64) -> u64 {
        self.buckets.get(key).map_or(0, |bucket| bucket.with_one_more(rate, now))
    }

    /// Counts a request; what its key owes now.
    fn count(&mut self, key: &Arc<[u8]>, rate: u64, now: u64) -> u64 {
        let excess = self.excess(key, rate, now);
        if self.buckets.insert(Arc::clone(key), Bucket { excess, last: now }).is_none() {
            self.used += key.len() + NODE;
            self.queue.push_back((Arc::clone(key), now));
        }
        excess
    }

    /// Forgets up to two keys that have been quiet and owe nothing.
    fn forget(&mut self, rate: u64, now: u64) {
        for _ in 0..2 {
            let Some((key, seen)) = self.queue.pop_front() else { return };
            let Some(bucket) = self.buckets.get(&key).copied() else { continue };
            let quiet = now.saturating_sub(bucket.last) >= FORGET && bucket.owes(rate, now) == 0;
            if bucket.last == seen && !quiet {
                self.queue.push_front((key, seen));
                return;
            }
            if quiet {
                self.remove(&key);
            } else {
                self.queue.push_back((key, bucket.last));
            }
        }
    }

    /// Makes room for the key, if need be at the cost of one that has not been seen for long.
    fn has_room(&mut self, key: &[u8], size: u64) -> bool {
        let cost = key.len() + NODE;
        if self.buckets.contains_key(key) {
            return true;
        }
        while (self.used + cost) as u64 > size {
            let Some((oldest, seen)) = self.queue.pop_front() else { return false };
            match self.buckets.get(&oldest) {
                Some(bucket) if bucket.last != seen => {
                    let last = bucket.last;
                    self.queue.push_back((oldest, last));
                }
                _ => self.remove(&oldest),
            }
        }
        true
    }

    fn remove(&mut self, key: &[u8]) {
        if self.buckets.remove(key).is_some() {
            self.used = self.used.saturating_sub(key.len() + NODE);
        }
    }
}

impl Bucket {
    /// What is owed by now.
    fn owes(self, rate: u64, now: u64) -> u64 {
        self.excess.saturating_sub(paid(rate, now.saturating_sub(self.last)))
    }

    fn with_one_more(self, rate: u64, now: u64) -> u64 {
        let owed = self.excess.saturating_add(1000);
        owed.saturating_sub(paid(rate, now.saturating_sub(self.last)))
    }
}

/// What a rate has let through in this time.
fn paid(rate: u64, milliseconds: u64) -> u64 {
    rate.saturating_mul(milliseconds) / 1000
}

fn thousandths(requests: u32) -> u64 {
    u64::from(requests) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::variable::Complex;

    fn zone(rate: Option<u64>, size: u64) -> LimitZone {
        LimitZone { name: "z".into(), key: Complex::default(), rate, size }
    }

    fn limit(burst: u32, nodelay: u32) -> LimitReq {
        LimitReq { zone: 0, burst, nodelay, status: 503 }
    }

    fn asked(limiter: &Limiter, limit: &LimitReq, zone: &LimitZone, key: &[u8], now: u64) -> Pace {
        limiter.pace(&[(limit, zone, key.into())], now)
    }

    #[test]
    fn a_burst_is_delayed_and_what_exceeds_it_refused() {
        let (limiter, limit, zone) = (Limiter::default(), limit(2, 0), zone(Some(10_000), 1 << 20));
        let pace = |now| asked(&limiter, &limit, &zone, b"k", now);
        assert_eq!(pace(1000), Pace::Free);
        assert_eq!(pace(1000), Pace::Late { wait: 100, excess: 1000, limit: 0 });
        assert_eq!(pace(1000), Pace::Late { wait: 200, excess: 2000, limit: 0 });
        assert_eq!(pace(1000), Pace::Over { excess: 3000, limit: 0 });
        // A tenth of a second later one request has been let through, and a refusal was not counted.
        assert_eq!(pace(1100), Pace::Late { wait: 200, excess: 2000, limit: 0 });
        assert_eq!(pace(9000), Pace::Free);
        assert_eq!(asked(&limiter, &limit, &zone, b"other", 9000), Pace::Free);
    }

    #[test]
    fn what_nodelay_lets_pass_does_not_wait() {
        let (limiter, zone) = (Limiter::default(), zone(Some(1000), 1 << 20));
        let (free, partly) = (limit(3, u32::MAX), limit(3, 1));
        for _ in 0..4 {
            assert_eq!(asked(&limiter, &free, &zone, b"a", 5), Pace::Free);
        }
        assert!(matches!(asked(&limiter, &free, &zone, b"a", 5), Pace::Over { .. }));
        for expected in [Pace::Free, Pace::Free, Pace::Late { wait: 1000, excess: 2000, limit: 0 }] {
            assert_eq!(asked(&limiter, &partly, &zone, b"b", 5), expected);
        }
    }

    #[test]
    fn a_request_that_one_rate_refuses_is_counted_by_none() {
        let limiter = Limiter::default();
        let (slow, fast) =
            (zone(Some(1), 1 << 20), LimitZone { name: "fast".into(), ..zone(Some(1_000_000), 1 << 20) });
        let (strict, lax) = (limit(0, 0), limit(100, u32::MAX));
        let both = |now| limiter.pace(&[(&lax, &fast, b"k"[..].into()), (&strict, &slow, b"k"[..].into())], now);
        assert_eq!(both(0), Pace::Free);
        assert_eq!(both(0), Pace::Over { excess: 1000, limit: 1 });
        assert_eq!(limiter.requests.lock()["fast"].excess(b"k", 1_000_000, 0), 1000);
    }

    #[test]
    fn a_zone_of_rates_stays_within_its_size() {
        let (limiter, limit, zone) = (Limiter::default(), limit(1, 0), zone(Some(1000), 1000));
        for number in 0..1000_u32 {
            assert_eq!(asked(&limiter, &limit, &zone, &number.to_be_bytes(), 7), Pace::Free);
        }
        let zones = limiter.requests.lock();
        assert!(zones["z"].used <= 1000 && zones["z"].buckets.len() == zones["z"].queue.len());
    }

    #[test]
    fn quiet_keys_are_forgotten() {
        let (limiter, limit, zone) = (Limiter::default(), limit(1, 0), zone(Some(1000), 1 << 20));
        for number in 0..10_u8 {
            asked(&limiter, &limit, &zone, &[number], 0);
        }
        for step in 0..10 {
            asked(&limiter, &limit, &zone, b"busy", FORGET * (step + 1));
        }
        assert_eq!(limiter.requests.lock()["z"].buckets.len(), 1);
    }

    #[test]
    fn connections_are_counted_while_they_are_held() {
        let (limiter, zone) = (Arc::new(Limiter::default()), zone(None, 1 << 20));
        let limit = LimitConn { zone: 0, most: 2, status: 503 };
        let first = limiter.hold(&limit, &zone, b"k").unwrap();
        let _second = limiter.hold(&limit, &zone, b"k").unwrap();
        assert!(limiter.hold(&limit, &zone, b"k").is_none());
        assert!(limiter.hold(&limit, &zone, b"other").is_some());
        drop(first);
        assert!(limiter.hold(&limit, &zone, b"k").is_some());
    }

    #[test]
    fn a_full_zone_of_connections_refuses_new_keys() {
        let (limiter, zone) = (Arc::new(Limiter::default()), zone(None, 2 * NODE as u64 + 2));
        let limit = LimitConn { zone: 0, most: 9, status: 503 };
        let held = [limiter.hold(&limit, &zone, b"a"), limiter.hold(&limit, &zone, b"b")];
        assert!(held.iter().all(Option::is_some));
        assert!(limiter.hold(&limit, &zone, b"c").is_none() && limiter.hold(&limit, &zone, b"a").is_some());
        drop(held);
        assert!(limiter.hold(&limit, &zone, b"c").is_some());
        assert_eq!(limiter.connections.lock()["z"].used, 0);
    }
}
