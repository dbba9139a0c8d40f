//! Files below the data directory, through descriptors: what is used is what was checked, and no link is followed.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::Path;

use jos_runtime::disk::{Attrs, Disk, DiskError};

use super::FILE_LIMIT;
use crate::contract::AgentError;

/// The data directory, opened once.
pub(super) struct Files {
    disk: Disk,
}

impl Files {
    pub(super) fn open(root: &Path) -> Result<Self, AgentError> {
        // The keys of the standard library's hashers come from the system's random numbers: temporary names nobody guesses.
        let tag = format!("{:016x}", RandomState::new().build_hasher().finish());
        Disk::open(root, &tag).map(|disk| Self { disk }).map_err(failed)
    }

    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>, AgentError> {
        let read = self.disk.read(path, FILE_LIMIT as u64);
        read.map(|(bytes, _)| bytes).map_err(failed)
    }

    pub(super) fn write(&self, path: &str, content: &[u8]) -> Result<(), AgentError> {
        if content.len() > FILE_LIMIT {
            let length = content.len();
            return Err(AgentError::Limit(format!(
                "{path}: {length} bytes, at most {FILE_LIMIT} are written"
            )));
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.disk.ensure_dir(above).map_err(failed)?;
        }
        let attrs = Attrs {
            mode: 0o644,
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        };
        self.disk.write_file(path, content, attrs, &Vec::new()).map_err(failed)
    }
}

fn failed(error: DiskError) -> AgentError {
    match error {
        DiskError::TooLarge { .. } => AgentError::Limit(error.to_string()),
        error => AgentError::Failed(error.to_string()),
    }
}
