//! What stands in `agents/` and `tools/`, as cheaply as it can be told: names, sizes, times, file numbers.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jos_trust::Digest;

/// Files of one folder, at most.
const FILES: usize = 4096;

/// A file as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    pub(super) folder: &'static str,
    pub(super) name: String,
    size: u64,
    inode: u64,
    /// Seconds and nanoseconds of the last change, of content or of status.
    changed: (i64, i64, i64, i64),
}

impl Seen {
    /// Below the data directory.
    pub(super) fn file(&self) -> String {
        format!("{}/{}", self.folder, self.name)
    }

    pub(super) fn is_agent(&self) -> bool {
        self.folder == "agents"
    }

    /// Modules and scripts stand beside the documents that name them.
    pub(super) fn is_document(&self) -> bool {
        [".jos", ".json", ".toml"].iter().any(|end| self.name.ends_with(end))
    }
}

/// Both folders, in the order of names. A folder that is not there is empty.
pub(super) fn scan(root: &Path) -> Result<Vec<Seen>, String> {
    let mut all = Vec::new();
    for folder in ["agents", "tools"] {
        let entries = match fs::read_dir(root.join(folder)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(format!("{folder}/: {e}")),
        };
        let before = all.len();
        for entry in entries {
            let entry = entry.map_err(|e| format!("{folder}/: {e}"))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // Editors' and half-written files; links are not followed out of the folder.
            if name.starts_with('.') || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            let Ok(meta) = entry.metadata() else { continue };
            all.push(Seen {
                folder,
                name,
                size: meta.size(),
                inode: meta.ino(),
                changed: (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()),
            });
            if all.len() - before > FILES {
                return Err(format!("{folder}/: more than {FILES} files"));
            }
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// The hash of each file; `None` where one cannot be read now.
pub(super) fn contents(root: &Path, all: &[Seen]) -> Vec<Option<Digest>> {
    let one = |seen: &Seen| {
        fs::read(root.join(seen.file()))
            .ok()
            .map(|bytes| jos_trust::sha256(&bytes))
    };
    all.iter().map(one).collect()
}
