//! Pauses after failures of the device itself: a plane that cannot even write its ledger (a full disk, a read-only file
//! system) is not asked to at every turn.
//!
//! In memory only, since nothing can be written then: a restart tries at once. What the plane can remember by itself (a
//! change that could not be kept, a file that flaps) it does.

use std::time::Duration;

/// The first pause; each is twice the one before.
const FIRST: Duration = Duration::from_secs(30);
/// The longest.
const LONGEST: Duration = Duration::from_secs(3600);

/// How often it failed in a row, and until when nothing is tried.
#[derive(Default)]
pub(super) struct Pause {
    tries: u32,
    until: Duration,
}

impl Pause {
    /// It failed `now`, on a clock that only goes forward.
    pub(super) fn failed(&mut self, now: Duration) {
        let pause = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries += 1;
        self.until = now + pause;
        log::warn!("tried again in {} s", pause.as_secs());
    }

    /// Whether nothing is tried yet.
    pub(super) fn lasts(&self, now: Duration) -> bool {
        now < self.until
    }

    /// It works, or somebody wants it tried.
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LONGEST, Pause};

    #[test]
    fn pauses_double_up_to_an_hour_and_end_with_the_first_success() {
        let (mut pause, mut now) = (Pause::default(), Duration::from_secs(1000));
        assert!(!pause.lasts(now));
        for seconds in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            pause.failed(now);
            assert!(pause.lasts(now + Duration::from_secs(seconds) - Duration::from_millis(1)));
            now += Duration::from_secs(seconds);
            assert!(!pause.lasts(now), "{seconds}");
        }
        pause.failed(now);
        pause.over();
        assert!(!pause.lasts(now) && LONGEST.as_secs() == 3600);
    }
}
