//! What devices measured, kept: five-minute steps for two days, hourly steps for ninety.
//!
//! The step that is being filled lives in the agent's own row, which each heartbeat writes anyway; a step that is over
//! becomes a row of its own. Older five-minute steps are merged into hours: count, sum, least, most and last add up, so
//! nothing but the moment within the hour is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jos_schemas::documents::hub::Sample;
use jos_schemas::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::fault::Done;
use crate::figures::numbers;
use crate::hub::Hub;
use crate::store::{history as stored, questions};

/// Seconds of a fine step.
pub const FINE: i64 = 300;
/// Seconds of a coarse step.
pub const COARSE: i64 = 3600;
/// Seconds that fine steps are kept.
pub const FINE_KEPT: i64 = 2 * 86_400;
/// Seconds that coarse steps are kept.
pub const COARSE_KEPT: i64 = 90 * 86_400;
/// Metrics of one agent, at most: a device that invents names fills no disk. An agent has a dozen of its own, 32 services and
/// 64 that its owner makes.
const MOST: usize = 128;
/// Between two mergers.
const MERGE: Duration = Duration::from_secs(600);
/// Rows merged in one transaction.
const BATCH: u32 = 1000;

/// One metric over one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stat {
    /// How often it was said.
    pub count: u64,
    /// Sum of all values; divided by `count`, the mean.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// The last one.
    pub last: f64,
}

impl Stat {
    fn of(value: f64) -> Self {
        Self {
            count: 1,
            sum: value,
            min: value,
            max: value,
            last: value,
        }
    }

    /// Takes in what came later.
    pub fn merge(&mut self, later: &Self) {
        self.count += later.count;
        self.sum += later.sum;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.last = later.last;
    }
}

/// The metrics of one agent over one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slot {
    /// When it begins, in seconds since 1970.
    pub start: i64,
    /// By name.
    pub metrics: BTreeMap<String, Stat>,
}

impl Slot {
    /// Takes in one heartbeat. Where it begins a new step, gives the one that is over.
    pub fn take_in(&mut self, telemetry: &BTreeMap<Name, Value>, now: i64) -> Option<Self> {
        let start = step_of(now);
        let over = (self.start != start).then(|| std::mem::replace(self, Self::begun(start)));
        self.add(telemetry);
        over.filter(|slot| !slot.metrics.is_empty())
    }

    /// Takes in what a device measured before, each at its own time; a device's clock may be wrong, and nothing is of later
    /// than `now`. Gives the steps that this fills and are over.
    pub fn take_in_late(&mut self, samples: &[Sample], now: i64) -> Vec<Self> {
        let mut over: BTreeMap<i64, Self> = BTreeMap::new();
        for sample in samples {
            let time = sample.time.unix().min(now);
            if time < now - COARSE_KEPT {
                continue;
            }
            let start = step_of(time);
            if start >= self.start {
                let full = self.take_in(&sample.telemetry, time);
                over.extend(full.map(|slot| (slot.start, slot)));
            } else {
                let slot = over.entry(start).or_insert_with(|| Self::begun(start));
                slot.add(&sample.telemetry);
            }
        }
        over.into_values().filter(|slot| !slot.metrics.is_empty()).collect()
    }

    fn begun(start: i64) -> Self {
        let metrics = BTreeMap::new();
        Self { start, metrics }
    }

    fn add(&mut self, telemetry: &BTreeMap<Name, Value>) {
        for (name, value) in numbers(telemetry) {
            let stat = Stat::of(value);
            if let Some(known) = self.metrics.get_mut(&name) {
                known.merge(&stat);
            } else if self.metrics.len() < MOST {
                self.metrics.insert(name, stat);
            }
        }
    }

    /// Takes in a later step.
    pub fn merge(&mut self, later: &Self) {
        for (name, stat) in &later.metrics {
            match self.metrics.get_mut(name) {
                Some(known) => known.merge(stat),
                None => {
                    self.metrics.insert(name.clone(), *stat);
                }
            }
        }
    }
}

/// The step that a time lies in.
fn step_of(time: i64) -> i64 {
    time - time.rem_euclid(FINE)
}

/// Merges what is old again and again until told to end.
pub async fn watch_over(hub: Arc<Hub>, mut ended: watch::Receiver<bool>) {
    loop {
        if let Err(fault) = age(&hub).await {
            tracing::error!(cause = fault.to_string(), "the history was not merged");
        }
        tokio::select! {
            _ = ended.wait_for(|ended| *ended) => return,
            () = tokio::time::sleep(MERGE) => {}
        }
    }
}

/// Merges fine steps that are old into hours, and forgets hours that are.
pub async fn age(hub: &Hub) -> Done<()> {
    let now = hub.clock.now();
    let until = (now - FINE_KEPT).div_euclid(COARSE) * COARSE;
    loop {
        let mut tx = hub.store.write().await?;
        let merged = stored::merge(&mut tx, until, BATCH).await?;
        if merged < BATCH {
            stored::forget(&mut tx, now - COARSE_KEPT).await?;
            questions::forget(&mut tx, now - questions::KEPT).await?;
        }
        tx.commit().await?;
        if merged < BATCH {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(value: Value) -> BTreeMap<Name, Value> {
        serde_json::from_value(value).expect("telemetry")
    }

    #[test]
    fn a_step_adds_up_and_is_given_when_the_next_begins() {
        let mut slot = Slot::default();
        assert_eq!(
            slot.take_in(&said(json!({ "load": 1.0, "network": { "rx": 10 }, "os": "x" })), 600),
            None
        );
        assert_eq!(slot.take_in(&said(json!({ "load": 4.0 })), 899), None);
        let over = slot.take_in(&said(json!({ "load": 9.0 })), 900).expect("it is over");
        assert_eq!(over.start, 600);
        let load = over.metrics["load"];
        assert_eq!(
            (load.count, load.sum, load.min, load.max, load.last),
            (2, 5.0, 1.0, 4.0, 4.0)
        );
        assert_eq!(over.metrics["network.rx"].last, 10.0);
        assert_eq!((over.metrics.len(), slot.metrics["load"].last), (2, 9.0));
    }

    #[test]
    fn merging_steps_is_taking_all_their_values_in_at_once() {
        let (mut whole, mut parts) = (Stat::of(3.0), Stat::of(3.0));
        let mut later = Stat::of(-1.0);
        for value in [7.0, 2.0] {
            later.merge(&Stat::of(value));
        }
        parts.merge(&later);
        for value in [-1.0, 7.0, 2.0] {
            whole.merge(&Stat::of(value));
        }
        assert_eq!(whole, parts);
    }

    #[test]
    fn a_device_that_invents_metrics_or_says_monstrous_numbers_is_cut_short() {
        let many: serde_json::Map<String, Value> = (0..300).map(|n| (format!("m{n}"), json!(n))).collect();
        let mut slot = Slot::default();
        slot.take_in(&said(many.into()), 0);
        slot.take_in(&said(json!({ "m0": 1e300 })), 1);
        assert_eq!((slot.metrics.len(), slot.metrics["m0"].max), (MOST, 0.0));
    }
}
