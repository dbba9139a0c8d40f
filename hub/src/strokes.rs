//! How often a batch is begun. Who comes after a pause is served at once; while many come, they share what one batch costs
//! (a commit, its fsync, each statement's way to the database's thread and back) instead of following each other one by one.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The beginnings of batches, with so much time between two of them, at least.
#[derive(Debug)]
pub struct Strokes {
    apart: Duration,
    next: Instant,
}

impl Strokes {
    /// The first comes at once.
    pub fn new(apart: Duration) -> Self {
        Self {
            apart,
            next: Instant::now(),
        }
    }

    /// Comes back when the next batch may begin.
    pub async fn next(&mut self) {
        let at = self.begin(Instant::now());
        sleep_until(at).await;
    }

    /// When the batch begins that could begin now.
    fn begin(&mut self, now: Instant) -> Instant {
        let at = self.next.max(now);
        self.next = at + self.apart;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_pause_a_batch_begins_at_once_and_in_a_crowd_so_much_after_the_one_before() {
        let (begun, apart) = (Instant::now(), Duration::from_millis(20));
        let ms = |ms| begun + Duration::from_millis(ms);
        let mut strokes = Strokes { apart, next: begun };
        assert_eq!(strokes.begin(ms(100)), ms(100));
        assert_eq!(strokes.begin(ms(101)), ms(120));
        assert_eq!(strokes.begin(ms(120)), ms(140));
        // A batch that takes longer than that is followed at once.
        assert_eq!(strokes.begin(ms(190)), ms(190));
    }
}
