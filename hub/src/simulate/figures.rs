//! What a simulation measures: how often, how long, what went wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Sixteen buckets to each doubling of microseconds: a quantile is exact to 6 %.
const BUCKETS: usize = 64 * 16;

/// How long something took, again and again.
#[derive(Debug)]
pub struct Times {
    buckets: Box<[AtomicU64]>,
    most: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            most: AtomicU64::new(0),
        }
    }
}

impl Times {
    /// It took so long.
    pub fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.most.fetch_max(micros, Ordering::Relaxed);
    }

    /// How often.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// In milliseconds, the time that this share did not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Ordering::Relaxed);
            if seen >= wanted {
                return upper(at).min(self.most.load(Ordering::Relaxed)) as f64 / 1e3;
            }
        }
        0.0
    }

    fn most(&self) -> f64 {
        self.most.load(Ordering::Relaxed) as f64 / 1e3
    }
}

/// The first sixteen are exact, then four bits of each number count.
fn bucket(micros: u64) -> usize {
    if micros < 16 {
        return micros as usize;
    }
    let exponent = 63 - micros.leading_zeros();
    let fraction = (micros >> (exponent - 4)) & 15;
    (exponent as usize - 3) * 16 + fraction as usize
}

/// The largest number in a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < 16 {
        return bucket as u64;
    }
    let (exponent, fraction) = (bucket / 16 + 3, (bucket % 16) as u64);
    let width = 1u64 << (exponent - 4);
    (16 + fraction).saturating_mul(width).saturating_add(width - 1)
}

/// How one version reached the fleet.
#[derive(Clone, Copy, Debug)]
struct Told {
    first: Instant,
    last: Instant,
    last_at: i64,
    devices: u64,
}

/// All figures of one simulation.
#[derive(Debug)]
pub struct Figures {
    began: Instant,
    ended: OnceLock<Instant>,
    /// Devices that are connected now.
    pub connected: AtomicU64,
    /// TLS handshakes with everything before and after.
    pub connect: Times,
    /// Enrolments.
    pub enrol: Times,
    /// Heartbeats.
    pub heartbeat: Times,
    /// Reports.
    pub report: Times,
    /// Long polls that were answered with nothing new.
    pub polls: AtomicU64,
    troubles: Mutex<BTreeMap<String, u64>>,
    told: Mutex<BTreeMap<u64, Told>>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            ended: OnceLock::new(),
            connected: AtomicU64::new(0),
            connect: Times::default(),
            enrol: Times::default(),
            heartbeat: Times::default(),
            report: Times::default(),
            polls: AtomicU64::new(0),
            troubles: Mutex::default(),
            told: Mutex::default(),
        }
    }
}

impl Figures {
    /// Something went wrong.
    pub fn trouble(&self, what: &str) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        *troubles.entry(what.to_owned()).or_default() += 1;
    }

    /// A device got a version.
    pub fn told(&self, version: u64) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let of = told.entry(version).or_insert(Told {
            first: now,
            last: now,
            last_at: 0,
            devices: 0,
        });
        of.last = now;
        of.last_at = unix_millis();
        of.devices += 1;
    }

    /// The time that counts is over.
    pub fn freeze(&self) {
        let _ = self.ended.set(Instant::now());
    }

    /// Whether that was said.
    pub fn is_frozen(&self) -> bool {
        self.ended.get().is_some()
    }

    fn seconds(&self) -> f64 {
        let end = self.ended.get().copied().unwrap_or_else(Instant::now);
        end.duration_since(self.began).as_secs_f64()
    }

    fn times(&self) -> [(&'static str, &Times); 4] {
        [
            ("connect", &self.connect),
            ("enrol", &self.enrol),
            ("heartbeat", &self.heartbeat),
            ("report", &self.report),
        ]
    }

    /// For scripts.
    pub fn value(&self) -> Value {
        let seconds = self.seconds();
        let times = self.times().map(|(name, times)| {
            let figures = json!({
                "count": times.count(), "per_second": times.count() as f64 / seconds, "p50_ms": times.quantile(0.5),
                "p99_ms": times.quantile(0.99), "max_ms": times.most(),
            });
            (name.to_owned(), figures)
        });
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told = told.iter().map(|(version, of)| {
            json!({
                "version": version, "devices": of.devices, "last_at_unix_ms": of.last_at,
                "first_to_last_ms": of.last.duration_since(of.first).as_secs_f64() * 1e3,
            })
        });
        json!({
            "seconds": seconds,
            "connected": self.connected.load(Ordering::Relaxed),
            "times": serde_json::Map::from_iter(times),
            "polls": self.polls.load(Ordering::Relaxed),
            "told": told.collect::<Vec<_>>(),
            "errors": *self.troubles.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }
}

/// The time on the wall, for whoever compares it with when something was pushed.
fn unix_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_within_a_sixteenth_of_the_truth() {
        let times = Times::default();
        for millis in 1..=1000 {
            times.add(Duration::from_millis(millis));
        }
        assert_eq!(times.count(), 1000);
        for (share, truth) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = times.quantile(share);
            assert!((found - truth).abs() <= truth / 16.0, "{share}: {found}");
        }
    }

    #[test]
    fn every_number_lies_at_or_below_the_upper_end_of_its_bucket() {
        for micros in (0..5000).chain([1 << 20, (1 << 40) + 12_345, u64::MAX]) {
            let at = bucket(micros);
            assert!(
                at < BUCKETS && micros <= upper(at) && (at == 0 || micros > upper(at - 1)),
                "{micros}"
            );
        }
    }
}
