//! How often somebody may try to sign in. Tries are counted for a name from an address, for an address, and for a name:
//! guessing gets slow from everywhere, and who guesses does not lock the user out, who comes from elsewhere.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Tries that fail in a row before one has to wait, and seconds until one more is free.
#[derive(Clone, Copy, Debug)]
struct Rule {
    burst: f64,
    seconds: f64,
}

const NAME_FROM_ADDRESS: Rule = Rule {
    burst: 5.0,
    seconds: 60.0,
};
const ADDRESS: Rule = Rule {
    burst: 30.0,
    seconds: 20.0,
};
const NAME: Rule = Rule {
    burst: 100.0,
    seconds: 30.0,
};
/// Counts after which those that have run out are dropped.
const SWEEP: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Count {
    rule: Rule,
    failed: f64,
    at: i64,
}

impl Count {
    fn now(&self, now: i64) -> f64 {
        let since = now.saturating_sub(self.at).max(0) as f64;
        (self.failed - since / self.rule.seconds).max(0.0)
    }
}

/// The counts of everybody who failed lately.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    counts: Mutex<HashMap<String, Count>>,
}

impl Throttle {
    /// Counts a try as one that fails, or says in how many seconds to come again.
    pub(super) fn take(&self, name: &str, from: IpAddr, now: i64) -> Result<(), u32> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= SWEEP {
            counts.retain(|_, count| count.now(now) > 0.0);
        }
        let keys = keys(name, from);
        let wait = keys.iter().filter_map(|(key, rule)| {
            let failed = counts.get(key)?.now(now);
            let over = failed + 1.0 - rule.burst;
            (over > 0.0).then_some(over * rule.seconds)
        });
        if let Some(longest) = wait.reduce(f64::max) {
            return Err(longest.ceil().max(1.0) as u32);
        }
        for (key, rule) in keys {
            let count = counts.entry(key).or_insert(Count {
                rule,
                failed: 0.0,
                at: now,
            });
            count.failed = count.now(now) + 1.0;
            count.at = now;
        }
        Ok(())
    }

    /// It did not fail: the counts of this name from this address begin anew, and the others lose this try.
    pub(super) fn succeeded(&self, name: &str, from: IpAddr, now: i64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let [pair, others @ ..] = keys(name, from);
        counts.remove(&pair.0);
        for (key, _) in others {
            if let Some(count) = counts.get_mut(&key) {
                count.failed = (count.now(now) - 1.0).max(0.0);
                count.at = now;
            }
        }
    }
}

fn keys(name: &str, from: IpAddr) -> [(String, Rule); 3] {
    let from = match from.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        // A household has a network of its own.
        IpAddr::V6(address) => format!("{:x}", u128::from(address) >> 64),
    };
    let name: String = name.chars().take(64).collect();
    [
        (format!("both {from} {name}"), NAME_FROM_ADDRESS),
        (format!("from {from}"), ADDRESS),
        (format!("name {name}"), NAME),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn taken(throttle: &Throttle, name: &str, from: IpAddr, now: i64) -> usize {
        (0..1000).filter(|_| throttle.take(name, from, now).is_ok()).count()
    }

    #[test]
    fn guessing_gets_slow_and_the_user_comes_in_from_elsewhere() {
        let throttle = Throttle::default();
        assert_eq!(taken(&throttle, "ana", HERE, 100), 5);
        assert_eq!(throttle.take("ana", HERE, 100), Err(60));
        assert_eq!(taken(&throttle, "ana", THERE, 100), 5);
        assert_eq!(taken(&throttle, "ana", HERE, 220), 2);
    }

    #[test]
    fn one_address_does_not_try_one_name_after_the_other() {
        let throttle = Throttle::default();
        let taken: usize = (0..100)
            .map(|n| taken(&throttle, &format!("user-{n}"), HERE, 100))
            .sum();
        assert_eq!(taken, 30);
    }

    #[test]
    fn a_password_that_is_right_wipes_out_the_slips_before_it() {
        let throttle = Throttle::default();
        for _ in 0..9 {
            for _ in 0..4 {
                assert_eq!(throttle.take("ana", HERE, 100), Ok(()));
            }
            throttle.succeeded("ana", HERE, 100);
        }
        // The address has its own count, which slips do use up: three of four, nine times.
        assert_eq!(taken(&throttle, "ana", HERE, 100), 3);
    }
}
