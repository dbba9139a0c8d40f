//! The clock as a turn of the agent reads it: once.
//!
//! A clock may be set at any moment, by the network's time or by hand. What a turn judges, records and reports stands on one
//! reading; from there on time passes as the monotonic clock has it, which nobody sets.

use std::cell::Cell;
use std::time::Duration;

use jos_runtime::world::Clock;

/// A clock that is read when a turn begins. Before the first turn, and where there are none, it is read whenever it is asked.
pub(crate) struct TurnClock {
    inner: Box<dyn Clock>,
    /// What it said when the turn began, and the monotonic time of then.
    reading: Cell<Option<(i64, Duration)>>,
}

impl TurnClock {
    pub(crate) fn over(inner: Box<dyn Clock>) -> Self {
        let reading = Cell::new(None);
        Self { inner, reading }
    }

    /// A turn begins: this is its reading.
    pub(crate) fn begin_turn(&self) {
        self.reading.set(Some((self.inner.now(), self.inner.monotonic())));
    }
}

impl Clock for TurnClock {
    fn now(&self) -> i64 {
        let Some((read, at)) = self.reading.get() else {
            return self.inner.now();
        };
        let since = self.inner.monotonic().saturating_sub(at).as_secs();
        read.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }

    fn pause(&self, how_long: Duration) {
        self.inner.pause(how_long);
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn boot(&self) -> Option<String> {
        self.inner.boot()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    use jos_runtime::world::Clock;

    use super::TurnClock;

    /// Set anew at every reading, and a minute later at every look at the monotonic one.
    #[derive(Default)]
    struct Restless {
        readings: Rc<Cell<i64>>,
        minutes: Cell<u64>,
    }

    impl Clock for Restless {
        fn now(&self) -> i64 {
            self.readings.set(self.readings.get() + 1);
            1_000_000 * self.readings.get()
        }
        fn pause(&self, _: Duration) {}
        fn monotonic(&self) -> Duration {
            self.minutes.set(self.minutes.get() + 1);
            Duration::from_secs(60 * self.minutes.get())
        }
        fn boot(&self) -> Option<String> {
            None
        }
    }

    #[test]
    fn within_a_turn_time_passes_as_nobody_can_set_it_and_the_next_turn_reads_anew() {
        let inner = Restless::default();
        let readings = Rc::clone(&inner.readings);
        let clock = TurnClock::over(Box::new(inner));
        assert_eq!((clock.now(), clock.now()), (1_000_000, 2_000_000), "no turn has begun");
        clock.begin_turn();
        assert_eq!((clock.now(), clock.now()), (3_000_060, 3_000_120));
        assert_eq!(readings.get(), 3);
        clock.begin_turn();
        assert_eq!(clock.now(), 4_000_060);
    }
}
