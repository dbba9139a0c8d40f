//! How often one device may call: a bucket that fills at a steady rate, so that a device that was away may hand in what it
//! has kept, and one that floods slows only itself down.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Calls that a full bucket holds.
const BURST: f64 = 120.0;
/// Calls that it gains in a second.
const RATE: f64 = 2.0;
/// Buckets after which the full ones are dropped.
const SWEEP: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at: i64,
}

/// The buckets of all devices that called lately.
#[derive(Debug, Default)]
pub struct Rates {
    buckets: Mutex<(HashMap<String, Bucket>, usize)>,
}

impl Rates {
    /// Takes one call of `who`, or says in how many seconds to come again.
    pub fn take(&self, who: &str, now: i64) -> Result<(), u32> {
        let mut held = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let (buckets, sweep_at) = &mut *held;
        if buckets.len() >= (*sweep_at).max(SWEEP) {
            buckets.retain(|_, bucket| filled(bucket, now) < BURST);
            *sweep_at = buckets.len() * 2;
        }
        let bucket = buckets
            .entry(who.to_owned())
            .or_insert(Bucket { level: BURST, at: now });
        bucket.level = filled(bucket, now);
        bucket.at = now;
        if bucket.level < 1.0 {
            return Err(((1.0 - bucket.level) / RATE).ceil().max(1.0) as u32);
        }
        bucket.level -= 1.0;
        Ok(())
    }
}

fn filled(bucket: &Bucket, now: i64) -> f64 {
    let since = now.saturating_sub(bucket.at).max(0) as f64;
    (bucket.level + since * RATE).min(BURST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_slowed_down_to_the_rate_and_a_neighbour_is_not() {
        let rates = Rates::default();
        let taken = (0..1000).filter(|_| rates.take("d-1", 50).is_ok()).count();
        assert_eq!(taken, 120);
        assert_eq!(rates.take("d-1", 50), Err(1));
        assert!(rates.take("d-2", 50).is_ok());
        let later = (0..1000).filter(|_| rates.take("d-1", 60).is_ok()).count();
        assert_eq!(later, 20);
    }

    #[test]
    fn devices_that_are_quiet_are_forgotten() {
        let rates = Rates::default();
        for n in 0..SWEEP + 10 {
            assert!(rates.take(&format!("d-{n}"), n as i64).is_ok());
        }
        assert!(rates.buckets.lock().expect("not poisoned").0.len() < SWEEP);
    }
}
