//! Growing pauses with jitter, from a seed: a herd of devices does not come back at once, and a test sees the same pauses
//! each time.

/// A source of jitter (xorshift64*; no secrets hang on it).
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// Any seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Anything from 0 to `most`.
    pub fn up_to(&mut self, most: u64) -> u64 {
        self.next() % most.saturating_add(1).max(1)
    }

    /// `span` milliseconds, a tenth more or less.
    pub fn around(&mut self, span: u64) -> u64 {
        let tenth = span / 10;
        span - tenth + self.next() % (2 * tenth + 1)
    }
}

/// Pauses that double from `first` to `longest`.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: u64,
    longest: u64,
    tries: u32,
}

impl Backoff {
    /// Milliseconds; `first` at least 1, `longest` at least `first`.
    pub fn new(first: u64, longest: u64) -> Self {
        let first = first.max(1);
        Self {
            first,
            longest: longest.max(first),
            tries: 0,
        }
    }

    /// The next pause in milliseconds.
    pub fn next(&mut self, jitter: &mut Jitter) -> u64 {
        let span = self
            .first
            .saturating_mul(1u64.checked_shl(self.tries).unwrap_or(u64::MAX))
            .min(self.longest);
        self.tries = (self.tries + 1).min(63);
        jitter.around(span)
    }

    /// It works again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// Pauses since it last worked.
    pub fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_within_a_tenth() {
        let (mut backoff, mut jitter) = (Backoff::new(1000, 60_000), Jitter::new(7));
        for expected in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            let pause = backoff.next(&mut jitter);
            assert!(pause.abs_diff(expected) <= expected / 10, "{pause} for {expected}");
        }
        for _ in 0..1000 {
            assert!(backoff.next(&mut jitter) <= 66_000);
        }
        backoff.reset();
        assert!(backoff.next(&mut jitter) <= 1100);
    }
}
