//! Patience: what did not help before is done again after growing pauses, not at every turn.
//!
//! Owns `NAME/patience.json`, a cache like `state.json`: when it is missing or does not read, everything is tried at once
//! and the counting begins anew. Two things are counted:
//!
//! - **Flaps.** What was put right [`FLAPS`] times within [`WITHIN`] and differs again is changed by somebody else. It is
//!   reported, left alone for two minutes, put right once more, left alone for twice as long, up to an hour. Other drift is
//!   put right at once all the while. What then holds for [`WITHIN`], or for its last pause where that is longer, is
//!   forgotten.
//! - **Failures** that may pass: a full disk, a hub that does not answer, a power cut during a trial.

use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::own;
use jos_schemas::sorted::Map;
use jos_trust::{Digest, Verified};
use serde::{Deserialize, Serialize};

use super::{Plane, PlaneError};

const FORMAT: u32 = 1;
const LIMIT: u64 = 1024 * 1024;
/// So often put right,
const FLAPS: usize = 5;
/// in so many seconds, is a flap.
const WITHIN: i64 = 600;
/// The first pause, in seconds. Each is twice the one before.
const FIRST: i64 = 120;
/// The longest.
const LONGEST: i64 = 3600;
/// Things that are watched at most; a state that drifts in more places than that is put right as before.
const WATCHED: usize = 1000;

/// What is kept in mind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patience {
    format: u32,
    /// By what the plan calls the thing: a path, a service.
    #[serde(default)]
    flaps: Map<String, Flap>,
    /// By what was tried.
    #[serde(default)]
    failures: Map<String, Failure>,
}

/// Something that was put right.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flap {
    /// When, the last ones, in seconds since 1970.
    corrected: Vec<i64>,
    /// Pauses taken; 0 while it is only watched.
    #[serde(default)]
    pauses: u32,
    /// When it may be put right again.
    #[serde(default)]
    next: i64,
    /// This pause is in the ledger.
    #[serde(default)]
    told: bool,
}

/// Something that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    tries: u32,
    next: i64,
}

/// A state that is to come into force, as something that is tried.
pub(super) fn state(content: &Digest) -> String {
    format!("state {content}")
}

/// A set that drifted, as something that is tried.
pub(super) fn drift(set: Digest) -> String {
    format!("drift {set}")
}

/// The `n`-th pause, from 1.
fn pause(n: u32) -> i64 {
    FIRST.saturating_mul(1 << n.saturating_sub(1).min(10)).min(LONGEST)
}

/// Seconds until `next`. A clock that was set back since does not make it wait longer than the longest pause.
fn left(next: i64, now: i64) -> i64 {
    let left = next.saturating_sub(now);
    if left > LONGEST { 0 } else { left.max(0) }
}

impl Patience {
    /// Whether `what`, or something above it, is left alone for now.
    pub(super) fn holds(&self, what: &str, now: i64) -> bool {
        self.holding(what, now).is_some()
    }

    fn holding(&self, what: &str, now: i64) -> Option<&str> {
        let held = |name: &str, flap: &Flap| {
            let below = what
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            below && flap.pauses > 0 && left(flap.next, now) > 0
        };
        let found = self.flaps.iter().find(|(name, flap)| held(name, flap));
        found.map(|(name, _)| name.as_str())
    }

    /// `what` was put right.
    pub(super) fn corrected(&mut self, what: &str, now: i64) {
        if self.flaps.len() >= WATCHED && !self.flaps.contains_key(what) {
            return;
        }
        let flap = self.flaps.or_default(what.to_owned());
        flap.corrected.retain(|t| (0..WITHIN).contains(&(now - t)));
        flap.corrected.push(now);
        flap.corrected.drain(..flap.corrected.len().saturating_sub(FLAPS));
        if flap.pauses > 0 || flap.corrected.len() >= FLAPS {
            flap.pauses += 1;
            flap.next = now.saturating_add(pause(flap.pauses));
            flap.told = false;
        }
    }

    /// The pause that covers `what`, in words for the report, where it is not in the ledger yet.
    pub(super) fn tell(&mut self, what: &str, now: i64) -> Option<String> {
        let name = self.holding(what, now)?.to_owned();
        let flap = self.flaps.get_mut(&name).filter(|f| !f.told)?;
        flap.told = true;
        let (times, wait) = (flap.corrected.len().max(1), left(flap.next, now));
        Some(if flap.pauses == 1 {
            format!(
                "put right {times} times within {} minutes and changed again each time; next try in {wait} s",
                WITHIN / 60
            )
        } else {
            format!(
                "put right and changed again, for the {}th time; next try in {wait} s",
                FLAPS as u32 + flap.pauses - 1
            )
        })
    }

    /// What holds by now is forgotten.
    pub(super) fn settle(&mut self, now: i64) {
        self.flaps.retain(|_, flap| {
            let calm = if flap.pauses > 0 {
                pause(flap.pauses).max(WITHIN)
            } else {
                WITHIN
            };
            flap.corrected.last().is_some_and(|t| (0..=calm).contains(&(now - t)))
        });
        self.failures
            .retain(|_, f| (-LONGEST..=LONGEST).contains(&(now - f.next)));
    }

    /// Something failed that may go better later.
    pub(super) fn failed(&mut self, what: &str, now: i64) {
        let failure = self.failures.or_default(what.to_owned());
        failure.tries += 1;
        failure.next = now.saturating_add(pause(failure.tries));
    }

    /// It went well, or need not be tried again.
    pub(super) fn forget(&mut self, what: &str) {
        self.failures.remove(what);
    }

    /// Seconds until it is tried again.
    pub(super) fn waits(&self, what: &str, now: i64) -> i64 {
        self.failures.get(what).map_or(0, |f| left(f.next, now))
    }
}

impl Plane<'_> {
    /// Seconds that somebody who asks by himself leaves a state alone that could not be kept, through no fault of its
    /// own, when it was tried last. Whoever is told to apply it applies it.
    pub fn patience_with(&self, state: &Verified<DesiredState>) -> Result<u64, PlaneError> {
        let waits = self
            .patience()
            .waits(&self::state(&state.content()), self.now()?.unix());
        Ok(waits.unsigned_abs())
    }

    /// What is kept in mind; nothing where that does not read.
    pub(super) fn patience(&self) -> Patience {
        let path = self.at("patience.json");
        let read = |bytes: &[u8]| own::read::<Patience>(bytes).ok().filter(|p| p.format == FORMAT);
        match self.data.read(&path, LIMIT) {
            Ok((bytes, _)) => read(&bytes).unwrap_or_else(|| {
                log::warn!("{}: does not read; pauses begin anew", self.data.show(&path));
                Patience::default()
            }),
            Err(_) => Patience::default(),
        }
    }

    /// Changes it; written only where that makes a difference. A disk that cannot take it costs a pause, nothing else.
    pub(super) fn change_patience(&self, change: impl FnOnce(&mut Patience, i64)) -> Result<(), PlaneError> {
        let before = self.patience();
        let mut after = Patience {
            format: FORMAT,
            ..before.clone()
        };
        let now = self.now()?.unix();
        change(&mut after, now);
        after.settle(now);
        if after != before && !(after.flaps.is_empty() && after.failures.is_empty() && before.format == 0) {
            let bytes = own::write(&after).expect("plain data");
            if let Err(e) = self.data.write_private(&self.at("patience.json"), &bytes) {
                log::warn!("{e}");
            }
        }
        Ok(())
    }
}
