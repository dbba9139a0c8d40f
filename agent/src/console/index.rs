//! Where in the ledger the records of a job are, so that a job's page reads these alone.
//!
//! A job is known by a hash of its id, and for each there is one run of records, from its first to its last: they are written
//! within moments. What comes long after (a run that goes on after a crash) is a run of its own. A hash that two ids share
//! costs a longer reading, no more: whoever reads looks at the id.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;

/// Records between two of a job from which on they are two runs.
const GAP: u64 = 2_000;

/// See the module.
#[derive(Default)]
pub(super) struct Index {
    hasher: RandomState,
    last: HashMap<u64, (u64, u64)>,
    before: HashMap<u64, Vec<(u64, u64)>>,
}

impl Index {
    /// A record of a job; they come in their order.
    pub(super) fn note(&mut self, job: &str, record: u64) {
        let hash = self.hasher.hash_one(job);
        match self.last.get_mut(&hash) {
            Some((_, last)) if record - *last <= GAP => *last = record,
            Some(run) => self
                .before
                .entry(hash)
                .or_default()
                .push(std::mem::replace(run, (record, record))),
            None => drop(self.last.insert(hash, (record, record))),
        }
    }

    /// Where to read for a job.
    pub(super) fn runs(&self, job: &str) -> Vec<Range<u64>> {
        let hash = self.hasher.hash_one(job);
        let before = self.before.get(&hash).into_iter().flatten();
        let all = before.chain(self.last.get(&hash));
        all.map(|(first, last)| *first..last + 1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_where_its_records_are_and_what_came_long_after_is_apart() {
        let mut index = Index::default();
        for (job, record) in [
            ("a", 3),
            ("b", 4),
            ("a", 5),
            ("a", 5 + GAP),
            ("a", 6 + 2 * GAP),
            ("a", 9 + 2 * GAP),
        ] {
            index.note(job, record);
        }
        assert_eq!(index.runs("a"), [3..6 + GAP, 6 + 2 * GAP..10 + 2 * GAP]);
        assert_eq!(index.runs("b"), std::slice::from_ref(&(4..5)));
        assert!(index.runs("c").is_empty());
    }
}
