//! A whole ledger through the machine.

use jos_trust::Digest;

use super::{Divergence, Machine, Watch};
use crate::ledger::{Archive, Extent, LedgerError, Line};

/// What a ledger came to.
pub struct Run {
    /// The machine at its end, or before the first divergence.
    pub machine: Machine,
    /// What the ledger spans.
    pub extent: Extent,
    /// The first record that does not follow.
    pub divergence: Option<Divergence>,
}

/// One execution under way.
struct Execution {
    machine: Machine,
    divergence: Option<Divergence>,
}

impl Execution {
    fn new(watch: Watch) -> Self {
        Self {
            machine: Machine::watching(watch),
            divergence: None,
        }
    }

    fn take(&mut self, line: &Line<'_>, archive: &Archive<'_>) {
        if self.divergence.is_none() {
            let mut blob = |digest: &Digest| archive.blob(digest).ok().flatten();
            self.divergence = self.machine.take_line(line, &mut blob).err();
        }
    }

    fn ended(self, extent: Extent) -> Run {
        Run {
            machine: self.machine,
            extent,
            divergence: self.divergence,
        }
    }
}

/// Replays. Damage of the ledger itself is an error; a record that does not follow is a divergence. Reads only, locks
/// nothing.
pub fn run(archive: &Archive<'_>, watch: Watch) -> Result<Run, LedgerError> {
    let mut one = Execution::new(watch);
    let extent = archive.lines(&mut |line| one.take(line, archive))?;
    Ok(one.ended(extent))
}

/// Replays twice over one reading: two machines that share nothing but the bytes, each with what it parsed, looked up and
/// judged by itself. They must come to the same; that is for the caller to compare.
pub fn run_twice(archive: &Archive<'_>, watch: &Watch) -> Result<(Run, Run), LedgerError> {
    let (mut one, mut two) = (Execution::new(watch.clone()), Execution::new(watch.clone()));
    let extent = archive.lines(&mut |line| {
        one.take(line, archive);
        two.take(line, archive);
    })?;
    Ok((one.ended(extent.clone()), two.ended(extent)))
}
