//! Waiting for a condition with a deadline. The only place in the tests that lets time pass.

use std::time::{Duration, Instant};

/// Calls `observe` until it gives `Ok`, and returns that; `Err` is what was seen instead.
///
/// # Panics
/// After `limit`, naming the condition and what was seen last.
pub fn until<T, S: std::fmt::Display>(
    condition: &str,
    limit: Duration,
    mut observe: impl FnMut() -> Result<T, S>,
) -> T {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        let seen = match observe() {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        assert!(
            begin.elapsed() < limit,
            "not within {limit:?}: {condition}; last seen: {seen}"
        );
        step(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// As [`until`] for a condition that is simply true or not yet.
pub fn until_true(condition: &str, limit: Duration, mut observe: impl FnMut() -> bool) {
    until(condition, limit, || if observe() { Ok(()) } else { Err("not so") });
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process' state gives no event to wait on; each step is bounded by until's deadline"
)]
fn step(pause: Duration) {
    std::thread::sleep(pause);
}
