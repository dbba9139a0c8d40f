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

    /// How often it took so many microseconds, or a little less: what several processes measured is put together by this.
    fn histogram(&self) -> Vec<(u64, u64)> {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let filled = counts.enumerate().filter(|(_, count)| *count > 0);
        filled.map(|(at, count)| (upper(at), count)).collect()
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

/// A heartbeat that is on its way.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    began: Instant,
    in_push: bool,
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
    /// Those after all devices were to be there, while none of them had anything else to do.
    pub heartbeat_steady: Times,
    /// Those while some device took a version and reported it.
    pub heartbeat_push: Times,
    /// Devices that were told of a version and whose report is not acknowledged.
    pub applying: AtomicU64,
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
            heartbeat_steady: Times::default(),
            heartbeat_push: Times::default(),
            applying: AtomicU64::new(0),
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

    /// A heartbeat begins.
    pub fn beat(&self) -> Beat {
        Beat {
            began: Instant::now(),
            in_push: self.is_applied(),
        }
    }

    /// It was answered. `ramp` is how long the devices take to come up.
    pub fn beaten(&self, beat: &Beat, ramp: Duration) {
        let took = beat.began.elapsed();
        self.heartbeat.add(took);
        if beat.in_push || self.is_applied() {
            self.heartbeat_push.add(took);
        } else if beat.began.duration_since(self.began) >= ramp {
            self.heartbeat_steady.add(took);
        }
    }

    fn is_applied(&self) -> bool {
        self.applying.load(Ordering::Relaxed) > 0
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

    fn times(&self) -> [(&'static str, &Times); 6] {
        [
            ("connect", &self.connect),
            ("enrol", &self.enrol),
            ("heartbeat", &self.heartbeat),
            ("heartbeat_steady", &self.heartbeat_steady),
            ("heartbeat_push", &self.heartbeat_push),
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
                "up_to_us": times.histogram(),
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
    fn a_heartbeat_counts_to_the_push_that_it_met_and_to_the_steady_time_only_after_the_ramp() {
        let figures = Figures::default();
        let counts = || [&figures.heartbeat, &figures.heartbeat_steady, &figures.heartbeat_push].map(Times::count);
        figures.beaten(&figures.beat(), Duration::from_secs(60));
        assert_eq!(counts(), [1, 0, 0]);
        figures.beaten(&figures.beat(), Duration::ZERO);
        assert_eq!(counts(), [2, 1, 0]);
        let before = figures.beat();
        figures.applying.store(1, Ordering::Relaxed);
        let within = figures.beat();
        figures.beaten(&before, Duration::ZERO);
        figures.applying.store(0, Ordering::Relaxed);
        figures.beaten(&within, Duration::from_secs(60));
        assert_eq!(counts(), [4, 1, 2]);
    }

    #[test]
    fn a_histogram_has_what_was_counted() {
        let times = Times::default();
        for micros in [3, 3, 900] {
            times.add(Duration::from_micros(micros));
        }
        let found = times.histogram();
        assert_eq!(found[0], (3, 2));
        assert!(found.len() == 2 && (900..957).contains(&found[1].0), "{found:?}");
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
