//! The machine, or a folder that will become one (`--root`). Whose homes are on it is `place.rs`' affair.

use std::path::{Path, PathBuf};

use jos_runtime::disk::native;
use jos_schemas::layout::Layout;

/// Data of the machine's own agents, as documents name it.
pub(crate) const SYSTEM_STATE: &str = Layout::HERE.state;

/// The running machine, or a folder that will become one.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    root: Option<PathBuf>,
}

impl Place {
    /// `None`: the running machine.
    pub(crate) fn new(root: Option<PathBuf>) -> Self {
        Self {
            root: root.filter(|r| r != Path::new("/")),
        }
    }

    /// Whether it runs now.
    pub(crate) fn is_live(&self) -> bool {
        self.root.is_none()
    }

    /// Where an absolute path of that machine lies here. On Windows one from `/` on lies on the drive that Windows is on,
    /// whatever the current one.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        match &self.root {
            None => native(path),
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        }
    }
}
