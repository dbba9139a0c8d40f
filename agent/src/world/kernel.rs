//! What every system gives in the same words: the time, random bytes, and when this program was built.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jos_runtime::world::Random;
use jos_schemas::text::Utc;

/// Seconds since 1970, by the system's clock.
#[expect(clippy::disallowed_methods, reason = "this is the Clock")]
pub(super) fn now() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

/// A clock that never goes back. Absolute values mean nothing; that the first reading is zero does no harm.
pub(super) fn monotonic() -> Duration {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed()
}

/// The system's random numbers.
pub(crate) struct Kernel;

impl Random for Kernel {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness a name could be guessed and a key would be no key: better no program.
        if let Err(e) = getrandom::fill(bytes) {
            panic!("the system gives no random bytes: {e}");
        }
    }
}

/// When this program was built: no clock that stands before it is believed.
pub(crate) fn built() -> Utc {
    let seconds = option_env!("SOURCE_DATE_EPOCH").and_then(|s| s.parse().ok());
    Utc::from_unix(seconds.unwrap_or(FIRST_RELEASE))
}

/// 2026-11-01T00:00:00Z.
const FIRST_RELEASE: i64 = 1_793_491_200;
