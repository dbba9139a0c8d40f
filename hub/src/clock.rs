//! The hub's one reading of now. Tests move it; nothing else asks the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jos_schemas::text::Utc;

/// Seconds since 1970, the system's or a test's.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    ahead: Arc<AtomicI64>,
}

impl Clock {
    /// Now, in whole seconds.
    pub fn now(&self) -> i64 {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that asks the system for the time"
        )]
        let system = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 2));
        system.saturating_add(self.ahead.load(Ordering::Relaxed))
    }

    /// Now, as documents write it.
    pub fn utc(&self) -> Utc {
        Utc::from_unix(self.now())
    }

    /// Puts this clock and its copies `seconds` further ahead of the system's: a test lives through a month in a second.
    pub fn advance(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl rustls::time_provider::TimeProvider for Clock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let seconds = u64::try_from(self.now()).ok()?;
        Some(rustls::pki_types::UnixTime::since_unix_epoch(
            std::time::Duration::from_secs(seconds),
        ))
    }
}
