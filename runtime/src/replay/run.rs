//! A whole ledger through the machine.

use super::{Divergence, Machine, Watch};
use crate::ledger::{Archive, Extent, LedgerError};

/// What a ledger came to.
pub struct Run {
    /// The machine at its end, or before the first divergence.
    pub machine: Machine,
    /// What the ledger spans.
    pub extent: Extent,
    /// The first record that does not follow.
    pub divergence: Option<Divergence>,
}

/// Replays. Damage of the ledger itself is an error; a record that does not follow is a divergence. Reads only, locks
/// nothing.
pub fn run(archive: &Archive<'_>, watch: Watch) -> Result<Run, LedgerError> {
    let mut machine = Machine::watching(watch);
    let mut divergence = None;
    let extent = archive.lines(&mut |line| {
        if divergence.is_none() {
            divergence = machine
                .take_line(line, &mut |digest| archive.blob(digest).ok().flatten())
                .err();
        }
    })?;
    Ok(Run {
        machine,
        extent,
        divergence,
    })
}
