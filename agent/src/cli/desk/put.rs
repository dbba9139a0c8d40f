//! Files as commands of the desk write them: whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use crate::cli::Failure;

/// How a file is put in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::desk) enum Put {
    /// Only where nothing is.
    New,
    /// In place of what is there; its permission bits stay.
    Replace,
}

/// Writes `bytes` so that a reader sees all of them or none: a file beside it, synced, then moved into place.
pub(in crate::cli::desk) fn write(path: &Path, bytes: &[u8], put: Put) -> Result<(), Failure> {
    let cannot = |e: io::Error| Failure::failed(format!("{}: cannot write: {e}", path.display()));
    // A link is followed, so that what it points to is replaced and the link stays.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = target
        .file_name()
        .ok_or_else(|| Failure::invalid(format!("{} is no file name", path.display())))?;
    let parent = target
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let unlike = crate::files::unlike_any_other().map_err(cannot)?;
    let temp = parent.join(format!(".{}.{unlike}", name.to_string_lossy()));
    let done = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temp)?;
        if let (Put::Replace, Ok(before)) = (put, fs::metadata(&target)) {
            file.set_permissions(before.permissions())?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        match put {
            Put::Replace => {}
            // The name is taken first, since a rename would silently replace what somebody else puts there.
            Put::New => drop(OpenOptions::new().write(true).create_new(true).open(&target)?),
        }
        fs::rename(&temp, &target)?;
        // Some file systems cannot sync a directory.
        let _ = File::open(parent).and_then(|dir| dir.sync_all());
        Ok(())
    })();
    done.map_err(|e: io::Error| {
        let _ = fs::remove_file(&temp);
        match (put, e.kind()) {
            (Put::New, io::ErrorKind::AlreadyExists) => Failure::invalid(format!("{} exists", path.display()))
                .help("choose another file with --out, or move this one away first"),
            _ => cannot(e),
        }
    })
}
