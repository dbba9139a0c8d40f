//! The machine, or a folder that will become one (`--root`), on Windows: one agent a machine, the system's own.

use std::path::{Path, PathBuf};

use jos_runtime::disk::native;

pub(crate) use crate::root::{Place, SYSTEM_STATE};

impl Place {
    /// Who runs this program.
    pub(crate) fn caller(&self) -> Owner {
        Owner { live: self.is_live() }
    }
}

/// Whose data it is: the machine's.
pub(crate) struct Owner {
    live: bool,
}

impl Owner {
    /// Where the data of its agent lies by default, without the `--root` prefix.
    pub(crate) fn state_dir(&self) -> PathBuf {
        let path = Path::new(SYSTEM_STATE);
        if self.live { native(path) } else { path.to_owned() }
    }
}
