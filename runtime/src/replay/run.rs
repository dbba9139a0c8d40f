//! A whole ledger through the machine, from a folder or from an export.

use jos_trust::Digest;

use super::{Divergence, Machine, Watch};
use crate::disk::Disk;
use crate::ledger::{self, Blobs, Export, Extent, LedgerError, Line};

/// Where a ledger and its blobs are read from. Reading changes nothing and locks nothing.
pub enum Origin<'o> {
    /// Below a data folder.
    Folder {
        /// The folder.
        disk: &'o Disk,
        /// Where in it the ledger is.
        ledger: String,
        /// Where in it the blobs are.
        blobs: String,
    },
    /// One file.
    Export(&'o Export<'o>),
}

impl Origin<'_> {
    /// Every record, checked as the chain checks it.
    pub fn lines(&self, each: &mut dyn FnMut(&Line<'_>)) -> Result<Extent, LedgerError> {
        match self {
            Self::Folder { disk, ledger, .. } => ledger::read_lines(disk, ledger, each),
            Self::Export(export) => export.lines(each),
        }
    }

    /// The bytes of a blob, where they are kept and are what their name says.
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        match self {
            Self::Folder { disk, blobs, .. } => Blobs::at(disk, blobs).get(digest).ok().flatten(),
            Self::Export(export) => export.blob(digest).ok().flatten(),
        }
    }
}

/// What a ledger came to.
pub struct Run {
    /// The machine at its end, or before the first divergence.
    pub machine: Machine,
    /// What the ledger spans.
    pub extent: Extent,
    /// The first record that does not follow.
    pub divergence: Option<Divergence>,
}

/// Replays. Damage of the ledger itself is an error; a record that does not follow is a divergence.
pub fn run(origin: &Origin<'_>, watch: Watch) -> Result<Run, LedgerError> {
    let mut machine = Machine::watching(watch);
    let mut divergence = None;
    let extent = origin.lines(&mut |line| {
        if divergence.is_none() {
            divergence = machine.take_line(line, &mut |digest| origin.blob(digest)).err();
        }
    })?;
    Ok(Run {
        machine,
        extent,
        divergence,
    })
}
